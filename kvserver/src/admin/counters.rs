//! What one event loop counts for INFO.
//!
//! Invariant: only its own loop adds to a counter, so adding is a load and a store, never a locked instruction.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use kvcore::hooks::Lookups;

mod commands;

pub(crate) use commands::{CommandCounters, Totals, errors, totals};

/// A number that one thread adds to and others read. Adding is a load and a store, never a locked instruction.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Only for the thread that owns the counter.
    pub(crate) fn add(&self, count: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(count), Relaxed);
    }

    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// The counters of one loop, on cache lines of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Counters {
    pub(crate) connections: Counter,
    pub(crate) rejected: Counter,
    pub(crate) requests: Counter,
    pub(crate) errors: Counter,
    pub(crate) input_bytes: Counter,
    pub(crate) output_bytes: Counter,
    pub(crate) reads: Counter,
    pub(crate) writes: Counter,
    pub(crate) iterations: Counter,
    /// Keys that were looked up and found, and that were not.
    pub(crate) hits: Counter,
    pub(crate) misses: Counter,
    /// Over the last tick, per second.
    pub(crate) requests_per_second: Counter,
    pub(crate) input_per_second: Counter,
    pub(crate) output_per_second: Counter,
    /// What the loop's clients hold now.
    pub(crate) held_bytes: Counter,
    pub(crate) commands: CommandCounters,
}

impl Counters {
    /// Adds the lookups of a command, or of several.
    #[inline]
    pub(crate) fn count_lookups(&self, lookups: Lookups) {
        if lookups != Lookups::default() {
            self.hits.add(lookups.hits.into());
            self.misses.add(lookups.misses.into());
        }
    }

    /// Those that only grow; the others are figures of the moment.
    pub(crate) fn cumulative(&self) -> [&Counter; 11] {
        [
            &self.connections,
            &self.rejected,
            &self.requests,
            &self.errors,
            &self.input_bytes,
            &self.output_bytes,
            &self.reads,
            &self.writes,
            &self.iterations,
            &self.hits,
            &self.misses,
        ]
    }
}
