//! Step: what is done to keep the limits while the same locks are held. Invariant: it is bounded, however large the store is.

use std::cell::Cell;

use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What is done while the same locks are held, at most: a bucket that is looked at counts as 1. By `kvbench
/// room` about a quarter of a millisecond, with nothing in the processor's cache.
const STEP_MAX: u64 = 32_768;
/// What the search of a transaction may take of that. The rest is for removing entries of its own.
pub(crate) const SEARCH_MAX: u64 = STEP_MAX / 2;
/// A shard that is looked at counts as so many buckets, which take about as long.
pub(crate) const SHARD_COST: u64 = 8;
/// A key that is hashed, to see whether its entry must stay.
pub(crate) const HASH_COST: u64 = 16;
/// A candidate that is tried and, perhaps, removed.
pub(crate) const REMOVAL_COST: u64 = 192;

/// What is done to keep the limits while the same locks are held.
pub(crate) struct Step<'a> {
    /// The most that was done in any step so far.
    most: &'a AtomicU64,
    search_max: u64,
    done: Cell<u64>,
}

impl<'a> Step<'a> {
    /// Begins with a lock that is held for this step only.
    pub(crate) fn new(most: &'a AtomicU64) -> Self {
        Step { most, search_max: STEP_MAX, done: Cell::new(0) }
    }

    /// Begins when a transaction, which holds its locks, needs room.
    pub(crate) fn of_transaction(most: &'a AtomicU64) -> Self {
        Step { most, search_max: SEARCH_MAX, done: Cell::new(0) }
    }

    fn within(&self, max: u64, cost: u64) -> bool {
        let done = self.done.get().saturating_add(cost);
        let fits = done <= max;
        if fits {
            self.done.set(done);
        }
        fits
    }

    /// Counts what is about to be done; false if that is too much for this step, and must not be done.
    pub(crate) fn takes(&self, cost: u64) -> bool {
        self.within(STEP_MAX, cost)
    }

    /// As [`takes`](Self::takes), for the search of what may be removed.
    pub(crate) fn searches(&self, cost: u64) -> bool {
        self.within(self.search_max, cost)
    }

    /// Counts what has been done, and is bounded by itself.
    pub(crate) fn add(&self, cost: u64) {
        self.done.set(self.done.get().saturating_add(cost));
    }

    /// Begins anew: no lock is held any more.
    pub(crate) fn end(&self) {
        let done = self.done.replace(0);
        if done > self.most.load(Relaxed) {
            self.most.fetch_max(done, Relaxed);
        }
    }
}

impl Drop for Step<'_> {
    fn drop(&mut self) {
        self.end();
    }
}
