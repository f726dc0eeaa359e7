//! Scan: looking over the whole of a keyspace, shard by shard. Invariant: what was passed over as expired is in the log before
//! the scan's outcome is known, so that it stays expired.

use std::cell::Cell;

use super::Keyspace;
use crate::engine::Engine;
use crate::error::Result;
use crate::reentrancy::ReentrancyGuard;
use crate::table::entry::Entry;
use crate::table::scan::{self, Cursor, Scan, ShardPosition};
use crate::txn::context::StoreContext;
use crate::value::ValueRef;

impl Keyspace {
    /// Shows some entries of one shard from a place on, under its lock: about `at_least`, in a table that is mostly empty
    /// fewer. Returns where to go on, or `None` at the shard's end.
    pub(crate) fn read_shard(
        &self,
        shard: usize,
        position: ShardPosition,
        at_least: usize,
        show: &mut dyn FnMut(&[u8], ValueRef<'_>),
    ) -> Result<Option<ShardPosition>> {
        let guard = ScanGuard::begin(self.engine())?;
        let mut shown = 0;
        Ok(self.space.read(shard).scan(position, at_least.saturating_mul(scan::BUCKETS_A_KEY), &mut |entry| {
            if !guard.has_passed(entry) {
                show(entry.key(), entry.value());
                shown += 1;
            }
            shown < at_least
        }))
    }
}

impl Scan for Keyspace {
    fn len(&self) -> u64 {
        self.hooks().counts().0
    }

    fn scan_step(&self, cursor: Cursor, at_least: usize, each: &mut dyn FnMut(&[u8], ValueRef<'_>)) -> Result<Cursor> {
        let guard = ScanGuard::begin(self.engine())?;
        Ok(scan::step(cursor, at_least, self.space.shard_count(), &mut |shard, position, budget, shown| {
            self.space.read(shard).scan(position, budget, &mut |entry| {
                if !guard.has_passed(entry) {
                    each(entry.key(), entry.value());
                    *shown += 1;
                }
                *shown < at_least
            })
        }))
    }

    fn for_each(&self, each: &mut dyn FnMut(&[u8], ValueRef<'_>)) -> Result<()> {
        let guard = ScanGuard::begin(self.engine())?;
        for shard in 0..self.space.shard_count() {
            for entry in self.space.read(shard).iter().filter(|entry| !guard.has_passed(entry)) {
                each(entry.key(), entry.value());
            }
        }
        Ok(())
    }

    fn random_key(&self) -> Result<Option<Vec<u8>>> {
        let guard = ScanGuard::begin(self.engine())?;
        Ok(scan::random(self.space.shard_count(), &self.space.widest, &mut |shard, pick| {
            self.space.read(shard).pick(pick, |entry| guard.has_passed(entry))
        }))
    }
}

/// The time of a scan, and the guard against calls back. When it ends, the time is in the log if anything was passed over as expired: what
/// was seen to be gone stays gone.
struct ScanGuard<'a> {
    context: &'a StoreContext,
    now_ms: u64,
    passed_ms: Cell<u64>,
    _guard: ReentrancyGuard,
}

impl<'a> ScanGuard<'a> {
    fn begin(engine: &'a Engine) -> Result<Self> {
        engine.check_open()?;
        let context = &engine.context;
        Ok(ScanGuard { context, now_ms: context.time.now_ms(), passed_ms: Cell::new(0), _guard: context.enter()? })
    }

    fn has_passed(&self, entry: &Entry) -> bool {
        let passed = entry.deadline().filter(|deadline| deadline.has_passed(self.now_ms));
        if let Some(deadline) = passed {
            self.passed_ms.set(self.passed_ms.get().max(deadline.as_ms()));
        }
        passed.is_some()
    }
}

impl Drop for ScanGuard<'_> {
    fn drop(&mut self) {
        if self.passed_ms.get() != 0 {
            self.context.mark_time(self.passed_ms.get(), self.now_ms);
        }
    }
}
