//! Shared: the engine's [`ReadTxn`], under shared locks. Invariant: all its keys are seen at one moment, and other readers
//! are not kept waiting.

use std::cell::Cell;

use smallvec::SmallVec;

use super::{LockScope, charge, count_lookup, missing_key};
use crate::error::Result;
use crate::lsn::Lsn;
use crate::sync::RwLockReadGuard;
use crate::table::access::AccessTime;
use crate::table::entry::Entry;
use crate::table::keyspace::KeyspaceInner;
use crate::table::shard::Shard;
use crate::txn::context::StoreContext;
use crate::txn::lock_set::LockSet;
use crate::txn::traits::{Lookup, Lookups, ReadTxn};
use crate::value::ValueRef;

pub(crate) struct ReadLockedTxn<'a> {
    context: &'a StoreContext,
    space: &'a KeyspaceInner,
    scope: LockScope<'a>,
    /// In the order of the shards.
    held: SmallVec<[(usize, RwLockReadGuard<'a, Shard>); 1]>,
    /// What lookups record as the time of an access, if they do.
    access_time: AccessTime,
    /// 0 until it is needed.
    now_ms: Cell<u64>,
    /// The latest deadline that was found to have passed; 0 for none.
    passed_ms: Cell<u64>,
    /// The only key, if that is what it was locked for, and its hash.
    hashed: Option<(&'a [u8], u64)>,
    hits: Cell<u32>,
    misses: Cell<u32>,
    /// Work that may still be charged.
    work_left: Cell<u64>,
}

/// Locks a shard in which accesses can be recorded, if they are to be.
#[inline]
fn read(space: &KeyspaceInner, shard: usize, access_time: AccessTime) -> RwLockReadGuard<'_, Shard> {
    let guard = space.read(shard);
    if guard.lacks_access_stats(access_time) {
        drop(guard);
        return prepare_and_read(space, shard, access_time);
    }
    guard
}

#[cold]
fn prepare_and_read(space: &KeyspaceInner, shard: usize, access_time: AccessTime) -> RwLockReadGuard<'_, Shard> {
    space.write(shard).record_accesses(access_time);
    space.read(shard)
}

impl<'a> ReadLockedTxn<'a> {
    /// Locks the shards of a set, all of them of `space`. `uses_keys` is false if no lookup counts as an access.
    pub(crate) fn lock(
        context: &'a StoreContext,
        space: &'a KeyspaceInner,
        set: &'a LockSet<'a>,
        uses_keys: bool,
    ) -> Self {
        let access_time = if uses_keys { context.access_time() } else { AccessTime::NONE };
        let held = set.shards().map(|(_, shard)| (shard, read(space, shard, access_time))).collect();
        Self::holding(context, space, LockScope::Set(set), held, access_time)
    }

    /// Locks the shard of one key.
    #[inline]
    pub(crate) fn lock_one(
        context: &'a StoreContext,
        space: &'a KeyspaceInner,
        key: &'a [u8],
        uses_keys: bool,
    ) -> Self {
        let hash = context.hasher.hash(key);
        let access_time = if uses_keys { context.access_time() } else { AccessTime::NONE };
        let shard = space.shard_of(hash);
        let held = SmallVec::from_buf([(shard, read(space, shard, access_time))]);
        ReadLockedTxn {
            hashed: Some((key, hash)),
            ..Self::holding(context, space, LockScope::Key(hash), held, access_time)
        }
    }

    #[inline]
    fn holding(
        context: &'a StoreContext,
        space: &'a KeyspaceInner,
        scope: LockScope<'a>,
        held: SmallVec<[(usize, RwLockReadGuard<'a, Shard>); 1]>,
        access_time: AccessTime,
    ) -> Self {
        ReadLockedTxn {
            context,
            space,
            scope,
            held,
            access_time,
            now_ms: Cell::new(0),
            passed_ms: Cell::new(0),
            hashed: None,
            hits: Cell::new(0),
            misses: Cell::new(0),
            work_left: Cell::new(u64::MAX),
        }
    }

    /// Returns the newest Lsn that the view reveals, and whether a deadline was found to have passed. That is in the log
    /// then, or will be before the Lsn is durable.
    #[inline]
    pub(crate) fn revealed(&self) -> (Lsn, bool) {
        let newest = match &*self.held {
            [(_, shard)] => shard.last(),
            held => held.iter().map(|(_, shard)| shard.last()).max().unwrap_or(Lsn::ZERO),
        };
        match self.passed_ms.get() {
            0 => (newest, false),
            passed_ms => (newest.max(self.context.mark_time(passed_ms, self.now_ms())), true),
        }
    }

    #[inline]
    fn shard(&self, hash: u64, key: &[u8]) -> Result<&Shard> {
        if let LockScope::Key(named) = self.scope
            && named == hash
            && let [(_, shard)] = &*self.held
        {
            return Ok(shard);
        }
        if !self.scope.has(self.space.id, hash) {
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

impl ReadTxn for ReadLockedTxn<'_> {
    fn now_ms(&self) -> u64 {
        if self.now_ms.get() == 0 {
            self.now_ms.set(self.context.time.now_ms());
        }
        self.now_ms.get()
    }

    #[inline(always)]
    fn lookup(&self, key: &[u8], kind: Lookup) -> Result<Option<ValueRef<'_>>> {
        let hash = match self.hashed {
            // The same bytes in the same place.
            Some((named, hash)) if std::ptr::eq(named, key) => hash,
            _ => self.context.hasher.hash(key),
        };
        let shard = self.shard(hash, key)?;
        let entry = if kind.is_use() { shard.find_to_use(hash, key, self.access_time) } else { shard.find(hash, key) };
        let found = entry.filter(|entry| !self.has_passed(entry));
        if kind.is_counted() {
            count_lookup(&self.hits, &self.misses, found.is_some());
        }
        Ok(found.map(Entry::value))
    }

    // As provided, but without a call on to the lookup.
    fn get(&self, key: &[u8]) -> Result<Option<ValueRef<'_>>> {
        self.lookup(key, Lookup::Read)
    }

    fn lookups(&self) -> Lookups {
        Lookups { hits: self.hits.get(), misses: self.misses.get() }
    }

    fn limit_work(&self, work: u64) {
        self.work_left.set(work);
    }

    fn charge(&self, work: u64) -> Result<()> {
        charge(&self.work_left, work)
    }
}
