//! What one event loop counts for INFO.
//!
//! Invariant: only its own loop adds to a counter, so adding is a load and a store, never a locked instruction.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use kvcore::hooks::Lookups;

mod commands;

pub use commands::{CommandCounters, Totals, errors, totals};

/// A number that one thread adds to and others read. Adding is a load and a store, never a locked instruction.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Only for the thread that owns the counter.
    #[inline]
    pub fn add(&self, count: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(count), Relaxed);
    }

    /// Replaces the number.
    pub fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    /// Returns the number.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// The counters of one loop, on cache lines of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Counters {
    /// Connections that were accepted.
    pub connections: Counter,
    /// Connections that were refused.
    pub rejected: Counter,
    /// Requests that were carried out.
    pub requests: Counter,
    /// Error replies.
    pub errors: Counter,
    /// Bytes received.
    pub input_bytes: Counter,
    /// Bytes sent.
    pub output_bytes: Counter,
    /// Reads from sockets.
    pub reads: Counter,
    /// Writes to sockets.
    pub writes: Counter,
    /// Iterations of the loop.
    pub iterations: Counter,
    /// Keys that were looked up and found, and that were not.
    pub hits: Counter,
    /// Keys that were looked up and not found.
    pub misses: Counter,
    /// Over the last tick, per second.
    pub requests_per_second: Counter,
    /// Bytes received, likewise.
    pub input_per_second: Counter,
    /// Bytes sent, likewise.
    pub output_per_second: Counter,
    /// What the loop's clients hold now.
    pub held_bytes: Counter,
    /// Each command by itself.
    pub commands: CommandCounters,
}

impl Counters {
    /// Adds the lookups of a command, or of several.
    #[inline]
    pub fn count_lookups(&self, lookups: Lookups) {
        if lookups != Lookups::default() {
            self.hits.add(lookups.hits.into());
            self.misses.add(lookups.misses.into());
        }
    }

    /// Those that only grow; the others are figures of the moment.
    pub fn cumulative(&self) -> [&Counter; 11] {
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
