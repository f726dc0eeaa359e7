//! Shared: the engine's [`ReadTxn`], under shared locks. Invariant: all its keys are seen at one moment, and other readers
//! are not kept waiting.

use std::cell::Cell;

use smallvec::SmallVec;

use super::{Claims, missing_key};
use crate::base::Base;
use crate::entry::{Entry, ValueRef};
use crate::error::Result;
use crate::lsn::Lsn;
use crate::shard::Shard;
use crate::space::Space;
use crate::sync::RwLockReadGuard;
use crate::txn::{Lookup, ReadTxn};
use crate::uses::Moment;

pub(crate) struct SharedLocked<'a> {
    base: &'a Base,
    space: &'a Space,
    claims: Claims<'a>,
    /// In the order of the shards.
    held: SmallVec<[(usize, RwLockReadGuard<'a, Shard>); 1]>,
    /// What lookups note as the time of a use; `None` if no policy needs it.
    moment: Option<Moment>,
    /// 0 until it is needed.
    now_ms: Cell<u64>,
    /// The latest deadline that was found to have passed; 0 for none.
    passed_ms: Cell<u64>,
}

impl<'a> SharedLocked<'a> {
    /// Locks the shards in `wanted`, which are sorted and have no element twice: those of the keys that `claims` name.
    pub(crate) fn lock(
        base: &'a Base,
        space: &'a Space,
        claims: Claims<'a>,
        wanted: impl Iterator<Item = usize>,
    ) -> Self {
        SharedLocked {
            base,
            space,
            claims,
            held: wanted.map(|shard| (shard, space.read(shard))).collect(),
            moment: base.eviction.is_on().then(|| base.moment()),
            now_ms: Cell::new(0),
            passed_ms: Cell::new(0),
        }
    }

    /// Returns the newest Lsn that the view reveals, and whether a deadline was found to have passed. That is in the log
    /// then, or will be before the Lsn is durable.
    pub(crate) fn revealed(&self) -> (Lsn, bool) {
        let newest = self.held.iter().map(|(_, shard)| shard.last()).max().unwrap_or(Lsn::ZERO);
        match self.passed_ms.get() {
            0 => (newest, false),
            passed_ms => (newest.max(self.base.mark_time(passed_ms, self.now_ms())), true),
        }
    }

    fn shard(&self, hash: u64, key: &[u8]) -> Result<&Shard> {
        if !self.claims.has(self.space.id, hash) {
            return Err(missing_key(key));
        }
        let shard = self.space.shard_of(hash);
        let at = self.held.binary_search_by_key(&shard, |(shard, _)| *shard).map_err(|_| missing_key(key))?;
        Ok(&self.held[at].1)
    }

    fn has_passed(&self, entry: &Entry) -> bool {
        let passed = entry.deadline().filter(|deadline| deadline.has_passed(self.now_ms()));
        if let Some(deadline) = passed {
            self.passed_ms.set(self.passed_ms.get().max(deadline.as_ms()));
        }
        passed.is_some()
    }
}

impl ReadTxn for SharedLocked<'_> {
    fn now_ms(&self) -> u64 {
        if self.now_ms.get() == 0 {
            self.now_ms.set(self.base.time.now_ms());
        }
        self.now_ms.get()
    }

    fn lookup(&self, key: &[u8], kind: Lookup) -> Result<Option<ValueRef<'_>>> {
        let hash = self.base.hasher.hash(key);
        let shard = self.shard(hash, key)?;
        let found = match self.moment {
            Some(moment) if kind.is_use() => shard.find_to_use(hash, key, moment),
            _ => shard.find(hash, key),
        };
        Ok(found.filter(|entry| !self.has_passed(entry)).map(Entry::value))
    }
}
