//! A number that one thread adds to and others read.
//!
//! Invariant: adding is a load and a store, never a locked instruction; so only the thread that owns it may add.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A number that one thread adds to and others read.
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
