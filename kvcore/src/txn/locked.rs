//! Locked transaction: the engine's [`Txn`]. Invariant: until its locks are given back, no other thread reads any of its changes; if it is
//! not committed (an error, a panic), all of them are undone and none is logged. Entries of other shards that were evicted for
//! it stay removed: each was a transaction of its own.
//!
//! Changes are made in place, under the locks, with a note of how to undo each: a transaction of one write then costs no
//! allocation beyond the entry's own, and reads inside it are plain reads.

use std::cell::Cell;
use std::ops::Range;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::error::{Error, Result};
use crate::log::frame::RECORDS_BYTES_MAX;
use crate::log::record::Record;
use crate::observer::{ChangeKind, Origin};
use crate::sync::atomic::Ordering;
use crate::sync::{RwLockWriteGuard, thread};
use crate::table::access::{AccessTime, Usage};
use crate::table::entry::{Entry, LARGE_VALUE_BYTES};
use crate::table::keyspace::KeyspaceInner;
use crate::table::shard::{InPlace, Shard};
use crate::txn::context::{BEGINNING_SNAPSHOT, NO_SNAPSHOT, StoreContext};
use crate::txn::lock_set::LockSet;
use crate::txn::traits::{Lookup, Lookups, ReadTxn, Txn};
use crate::value::{Deadline, Value, ValueRef};
use undo::{Logged, Undo};

mod commit;
mod draft;
mod room;
mod shared;
mod undo;
mod whole;

pub(crate) use commit::Committed;
pub(crate) use draft::{Draft, Seen};
pub(crate) use shared::ReadLockedTxn;
pub(crate) use undo::UndoLog;

pub(crate) struct LockedTxn<'a> {
    context: &'a StoreContext,
    /// In the order (keyspace id, shard).
    held: SmallVec<[Held<'a>; 1]>,
    /// What it may speak of.
    scope: LockScope<'a>,
    /// The keyspace that calls speak of.
    space: &'a KeyspaceInner,
    /// The number in the log of what it holds.
    log_id: u32,
    /// 0 until somebody asks: most transactions need not know the time.
    now_ms: Cell<u64>,
    /// The latest deadline that was found to have passed; 0 for none.
    passed_ms: Cell<u64>,
    /// The time and rule by which uses are noted.
    access_time: AccessTime,
    /// Whether lookups and writes use their keys.
    uses_keys: bool,
    /// The hash of the key that a lookup has used last and that no write has followed yet; 0 for none.
    used: Cell<u64>,
    hits: Cell<u32>,
    misses: Cell<u32>,
    /// How many changes had been made when the current command began.
    begun_at: usize,
    /// How many more changes the commands count as than there are undo records.
    more_changes: i64,
    /// The same when the current command began.
    more_before: i64,
    /// The last key that was hashed, most often the next one too.
    hashed: Cell<(*const u8, usize, u64)>,
    /// Work that may still be charged, in units of about a nanosecond.
    work_left: Cell<u64>,
    undo_log: &'a mut UndoLog,
    committed: bool,
    /// What its observers are given.
    pub(crate) origin: Origin<'a>,
    /// The store was beyond a limit when this began, and nothing could be removed.
    pub(crate) is_exhausted: bool,
    /// What it holds are copies, which nobody else sees: the locks are taken later.
    is_draft: bool,
    /// How many bytes of records the log would not take; 0 if it takes them all.
    refused_bytes: usize,
    /// Entries to remove at most for what it adds; 0 while its changes do not count in the store's totals.
    room_wanted: u64,
    /// The room for its entries is made when the locks are given back.
    is_late: bool,
}

struct Held<'a> {
    space: &'a KeyspaceInner,
    shard: usize,
    guard: RwLockWriteGuard<'a, Shard>,
}

/// What a transaction may use.
#[derive(Clone, Copy)]
pub(crate) enum LockScope<'a> {
    /// The key with this hash, of the one keyspace it speaks of.
    Key(u64),
    Set(&'a LockSet<'a>),
}

impl LockScope<'_> {
    #[inline]
    fn has(&self, space_id: u32, hash: u64) -> bool {
        match self {
            LockScope::Key(named) => *named == hash,
            LockScope::Set(set) => set.has(space_id, hash),
        }
    }

    fn is_whole(&self, space_id: u32) -> bool {
        matches!(self, LockScope::Set(set) if set.is_whole(space_id))
    }

    fn has_whole(&self) -> bool {
        matches!(self, LockScope::Set(set) if set.has_whole())
    }
}

/// More of a key is not shown in an error.
const SHOWN_KEY_BYTES: usize = 64;

/// Returns the error for a key that was not named.
#[cold]
fn missing_key(key: &[u8]) -> Error {
    let shown = &key[..key.len().min(SHOWN_KEY_BYTES)];
    let rest = if shown.len() < key.len() { "..." } else { "" };
    Error::KeyNotNamed { key: format!("{}{rest}", shown.escape_ascii()) }
}

/// Takes `work` from what may still be charged; `u64::MAX` is no limit.
fn charge(work_left: &Cell<u64>, work: u64) -> Result<()> {
    match work_left.get() {
        u64::MAX => {}
        left => work_left.set(left.checked_sub(work).ok_or(Error::TooMuchWork)?),
    }
    Ok(())
}

/// Adds a lookup to the counts of those that found a value, and of those that did not.
#[inline]
fn count_lookup(hits: &Cell<u32>, misses: &Cell<u32>, is_hit: bool) {
    let count = if is_hit { hits } else { misses };
    count.set(count.get().wrapping_add(1));
}

/// Bytes of a large value that are copied, or filled with zeros, in a unit of work. Fresh pages cost more than the copying.
const BYTES_PER_WORK: u64 = 2;

/// How often all shards are tried together before they are waited for one after the other.
const TRIES_MAX: usize = 64;

/// Locks all shards, without waiting for any while it holds others: a transaction that commits may need what is in them to make
/// room. Returns `None` if some of them stay locked.
fn lock_without_waiting<'a>(set: &'a LockSet<'a>) -> Option<SmallVec<[Held<'a>; 1]>> {
    for _ in 0..TRIES_MAX {
        let mut held = SmallVec::new();
        for (space, shard) in set.shards() {
            let guard = if held.is_empty() { Some(space.write(shard)) } else { space.try_write(shard) };
            let Some(guard) = guard else { break };
            held.push(Held { space, shard, guard });
        }
        if held.len() == set.shards().len() {
            return Some(held);
        }
        drop(held);
        thread::yield_now();
    }
    None
}

impl<'a> LockedTxn<'a> {
    /// Locks the shard of one key, which comes with its hash. `given` are the origin, and whether the store is exhausted.
    #[inline]
    pub(crate) fn lock_one(
        context: &'a StoreContext,
        space: &'a KeyspaceInner,
        (key, hash): (&[u8], u64),
        given: (Origin<'a>, bool),
        undo_log: &'a mut UndoLog,
    ) -> Self {
        let shard = space.shard_of(hash);
        let mut guard = space.write(shard);
        let access_time = context.access_time();
        guard.record_accesses(access_time);
        let held = SmallVec::from_buf([Held { space, shard, guard }]);
        let locked = LockedTxn::new(context, space, LockScope::Key(hash), (held, access_time), given, undo_log);
        locked.hashed.set((key.as_ptr(), key.len(), hash));
        locked
    }

    /// Locks everything in a set.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyLockSet`] if it is empty.
    pub(crate) fn lock(context: &'a StoreContext, set: &'a LockSet<'a>, undo_log: &'a mut UndoLog) -> Result<Self> {
        let held = if context.eviction.limits_entries() { lock_without_waiting(set) } else { None };
        let lock = |(space, shard): (&'a KeyspaceInner, usize)| Held { space, shard, guard: space.write(shard) };
        Self::holding(context, set, held.unwrap_or_else(|| set.shards().map(lock).collect()), undo_log)
    }

    fn holding(
        context: &'a StoreContext,
        set: &'a LockSet<'a>,
        mut held: SmallVec<[Held<'a>; 1]>,
        undo_log: &'a mut UndoLog,
    ) -> Result<Self> {
        let first = set.first().ok_or(Error::EmptyLockSet)?;
        let access_time = context.access_time();
        held.iter_mut().for_each(|held| held.guard.record_accesses(access_time));
        Ok(LockedTxn::new(context, first, LockScope::Set(set), (held, access_time), (Origin::NONE, false), undo_log))
    }

    #[inline]
    fn new(
        context: &'a StoreContext,
        space: &'a KeyspaceInner,
        scope: LockScope<'a>,
        (held, access_time): (SmallVec<[Held<'a>; 1]>, AccessTime),
        (origin, is_exhausted): (Origin<'a>, bool),
        undo_log: &'a mut UndoLog,
    ) -> Self {
        LockedTxn {
            context,
            held,
            scope,
            space,
            // Of a keyspace of which nothing is locked this may be out of date, but then nothing of it can be written.
            log_id: space.log_id(),
            now_ms: Cell::new(0),
            passed_ms: Cell::new(0),
            access_time,
            uses_keys: true,
            used: Cell::new(0),
            hits: Cell::new(0),
            misses: Cell::new(0),
            begun_at: 0,
            more_changes: 0,
            more_before: 0,
            hashed: Cell::new((std::ptr::null(), 0, 0)),
            work_left: Cell::new(u64::MAX),
            undo_log,
            committed: false,
            origin,
            is_exhausted,
            is_draft: false,
            refused_bytes: 0,
            room_wanted: 0,
            is_late: false,
        }
    }

    fn hash(&self, key: &[u8]) -> u64 {
        let (ptr, len, hash) = self.hashed.get();
        // The same bytes in the same place, borrowed by the caller throughout the transaction.
        if std::ptr::eq(ptr, key.as_ptr()) && len == key.len() { hash } else { self.context.hasher.hash(key) }
    }

    fn now(&self) -> u64 {
        if self.now_ms.get() == 0 {
            self.now_ms.set(self.context.time.now_ms());
        }
        self.now_ms.get()
    }

    /// Where in `held` the shard of a hash is.
    #[inline]
    fn place(&self, hash: u64, key: &[u8]) -> Result<usize> {
        match self.scope {
            // Then one shard is held, that key's.
            LockScope::Key(named) if named == hash => Ok(0),
            _ => self.place_among(hash, key),
        }
    }

    fn place_among(&self, hash: u64, key: &[u8]) -> Result<usize> {
        if !self.scope.has(self.space.id, hash) {
            return Err(missing_key(key));
        }
        if self.held.len() == 1 {
            return Ok(0);
        }
        let wanted = (self.space.id, self.space.shard_of(hash));
        self.held.binary_search_by_key(&wanted, |held| (held.space.id, held.shard)).map_err(|_| missing_key(key))
    }

    /// The current keyspace's part of `held`, which must be all of it.
    fn whole(&self) -> Result<Range<usize>> {
        if !self.scope.is_whole(self.space.id) {
            return Err(Error::KeyspaceNotNamed { name: self.space.name.to_string() });
        }
        let first = self.held.partition_point(|held| held.space.id < self.space.id);
        let end = self.held.partition_point(|held| held.space.id <= self.space.id);
        Ok(first..end)
    }

    /// Whether a deadline has passed; if so, the time has to be in the log before this transaction is revealed.
    fn has_passed(&self, deadline: Option<Deadline>) -> bool {
        match deadline {
            Some(deadline) if deadline.has_passed(self.now()) => {
                self.passed_ms.set(self.passed_ms.get().max(deadline.as_ms()));
                true
            }
            _ => false,
        }
    }

    fn find(&self, at: usize, hash: u64, key: &[u8]) -> Option<&Entry> {
        self.held[at].guard.find(hash, key).filter(|entry| !self.has_passed(entry.deadline()))
    }

    /// The time, where a deadline needs it for being filed.
    fn now_for(&self, deadline: Option<Deadline>) -> u64 {
        if deadline.is_some() { self.now() } else { 0 }
    }

    fn remove(&mut self, key: &[u8], why: ChangeKind) -> Result<bool> {
        let hash = self.hash(key);
        let at = self.place(hash, key)?;
        if self.find(at, hash, key).is_none() {
            return Ok(false);
        }
        let taken = self.held[at].guard.take(&self.context.hasher, hash, key);
        self.log(&Record::Delete { keyspace: self.log_id, key });
        self.note(at, hash, key, why, Undo::Put(taken));
        Ok(true)
    }

    /// Gives `key` a value that expires at once. Even where no key was, that is a change: a key was made and is gone.
    #[cold]
    fn store_for_no_time(&mut self, at: usize, hash: u64, key: &[u8]) {
        // Notes the deadline of what was there, if that had passed.
        self.find(at, hash, key);
        let taken = self.held[at].guard.take(&self.context.hasher, hash, key);
        self.log(&Record::Delete { keyspace: self.log_id, key });
        self.note(at, hash, key, ChangeKind::Delete, Undo::Put(taken));
    }

    /// Returns the value of `from` to be copied. If the log could not copy it by the key's name alone, it is given the value.
    fn source(&mut self, from: &[u8]) -> Result<Option<Value>> {
        let Some(found) = self.peek(from)? else { return Ok(None) };
        let (value, deadline) = (found.to_value(), found.deadline());
        // Looked at with the shard locked: a snapshot that begins waits for the lock.
        let snapshot = self.context.snapshot.load(Ordering::SeqCst);
        if let Some(shared) = value.shared()
            && self.context.wal.is_some()
            && !self.is_draft
            && snapshot != NO_SNAPSHOT
        {
            let hash = self.hash(from);
            let at = self.place(hash, from)?;
            let is_logged = self.held[at].guard.find(hash, from).is_some_and(|entry| entry.logged_in() == snapshot);
            if !is_logged
                && !self.undo_log.logged.iter().any(|one| one.held == at && one.hash == hash && *one.key == *from)
            {
                self.check_records(shared.len())?;
                self.undo_log.records.push_set(self.log_id, from, shared, deadline);
                self.note_logged(at, hash, from, snapshot);
            }
        }
        Ok(Some(value))
    }

    /// Notes that the log is given the whole value of a key.
    fn note_logged(&mut self, held: usize, hash: u64, key: &[u8], snapshot: u64) {
        // Before the snapshot's start is noted it is not known to come after that.
        if snapshot > BEGINNING_SNAPSHOT {
            self.undo_log.logged.push(Logged { held, hash, key: key.into(), snapshot });
        }
    }

    /// Gives `to` the value that another key, `from`, has.
    fn put_copy(&mut self, value: &Value, to: &[u8], deadline: Option<Deadline>, from: (u32, &[u8])) -> Result<bool> {
        match value.shared() {
            Some(shared) => self.share(to, shared, deadline, Some(from))?,
            None => self.set(to, value, deadline)?,
        }
        Ok(true)
    }

    /// Returns where `key` is to be stored: its shard, its hash and the time for its deadline; `None` if that has passed, and
    /// all is done.
    #[inline(always)]
    fn begin_storing(&mut self, key: &[u8], deadline: Option<Deadline>) -> Result<Option<(usize, u64, u64)>> {
        let hash = self.hash(key);
        let at = self.place(hash, key)?;
        let now_ms = self.now_for(deadline);
        if deadline.is_some_and(|deadline| deadline.has_passed(now_ms)) {
            self.store_for_no_time(at, hash, key);
            self.used.set(0);
            return Ok(None);
        }
        Ok(Some((at, hash, now_ms)))
    }

    /// Gives `key` a large value that is shared: that of the key `from` of a keyspace, by its number in the log, or a new one.
    fn share(
        &mut self,
        key: &[u8],
        value: &Arc<Vec<u8>>,
        deadline: Option<Deadline>,
        from: Option<(u32, &[u8])>,
    ) -> Result<()> {
        self.context.check_key(key)?;
        if self.is_draft {
            self.check_records(value.len())?;
        }
        let Some((at, hash, now_ms)) = self.begin_storing(key, deadline)? else { return Ok(()) };
        let (access_time, use_now) = (self.access_time, self.use_by_writing(hash));
        let entry = Entry::large(key, Arc::clone(value), deadline);
        let old = self.held[at].guard.put(&self.context.hasher, hash, entry, now_ms, access_time, use_now);
        self.begin_use_if_gone(at, hash, key, old.as_ref().and_then(Entry::deadline));
        match from {
            // Of a draft it is not known whether a snapshot will be written when its shards are locked.
            Some((from_keyspace, from)) if !self.is_draft => {
                let (keyspace, deadline) = (self.log_id, deadline.map_or(0, Deadline::as_ms));
                self.log(&Record::Copy { keyspace, key, from_keyspace, from, deadline });
                self.note_logged(at, hash, key, self.context.snapshot.load(Ordering::SeqCst));
            }
            _ if self.context.wal.is_some() => self.undo_log.records.push_set(self.log_id, key, value, deadline),
            _ => {}
        }
        self.note(at, hash, key, ChangeKind::Set, Undo::Put(old));
        self.used.set(0);
        Ok(())
    }

    /// Notes `key` as just made, if what it was put over had expired.
    #[inline]
    fn begin_use_if_gone(&mut self, at: usize, hash: u64, key: &[u8], old_deadline: Option<Deadline>) {
        if old_deadline.is_some_and(|deadline| deadline.has_passed(self.now())) {
            let access_time = self.access_time;
            self.held[at].guard.begin_use(hash, key, access_time);
        }
    }

    /// The use that writing the key with this hash is: none if the command has looked it up before.
    #[inline]
    fn use_by_writing(&self, hash: u64) -> AccessTime {
        if self.uses_keys && self.used.get() != hash { self.access_time } else { AccessTime::NONE }
    }

    /// Refuses a value, and the transaction, if the log would not take it with what was logged so far. Looked at before it is
    /// copied: a transaction of some bytes can make many large values.
    #[inline]
    fn check_records(&mut self, value_len: usize) -> Result<()> {
        let len = self.undo_log.records.len() + value_len;
        if len > RECORDS_BYTES_MAX { self.refuse_records(len) } else { Ok(()) }
    }

    #[cold]
    fn refuse_records(&mut self, len: usize) -> Result<()> {
        if self.context.wal.is_none() {
            return Ok(());
        }
        // Even if the body goes on: a part of what it did must not be all that is done.
        self.refused_bytes = len;
        Err(Error::TransactionTooLarge { len, max: RECORDS_BYTES_MAX })
    }

    /// Charges what writing `offset..end` of a value costs beside the bytes themselves.
    fn charge_range(&self, old: Option<&Entry>, offset: usize, end: usize) -> Result<()> {
        let old = old.map(Entry::value);
        let len = old.map_or(0, |old| old.len());
        let is_copied = |buffer: &Arc<Vec<u8>>| Arc::strong_count(buffer) > 1 || end > buffer.capacity();
        let copied = if old.and_then(|old| old.shared()).is_some_and(is_copied) { len } else { 0 };
        self.charge((copied + offset.saturating_sub(len)) as u64 / BYTES_PER_WORK)
    }

    #[inline]
    fn log(&mut self, record: &Record<'_>) {
        if self.context.wal.is_some() {
            self.undo_log.records.push(record);
        }
    }
}

impl ReadTxn for LockedTxn<'_> {
    fn now_ms(&self) -> u64 {
        self.now()
    }

    #[inline(always)]
    fn lookup(&self, key: &[u8], kind: Lookup) -> Result<Option<ValueRef<'_>>> {
        let hash = self.hash(key);
        let at = self.place(hash, key)?;
        let shard = &self.held[at].guard;
        let entry = if kind.is_use() && self.uses_keys {
            self.used.set(hash);
            shard.find_to_use(hash, key, self.access_time)
        } else {
            shard.find(hash, key)
        };
        let found = entry.filter(|entry| !self.has_passed(entry.deadline()));
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

impl Txn for LockedTxn<'_> {
    fn begin_command(&mut self, uses_keys: bool) {
        self.uses_keys = uses_keys;
        self.used.set(0);
        (self.begun_at, self.more_before) = (self.undo_log.changes.len(), self.more_changes);
    }

    fn count_changes(&mut self, count: u64) {
        let made = (self.undo_log.changes.len() - self.begun_at) as u64;
        self.more_changes = self.more_before + count.cast_signed() - made.cast_signed();
    }

    fn usage(&self, key: &[u8]) -> Result<Option<Usage>> {
        let hash = self.hash(key);
        let at = self.place(hash, key)?;
        let used = |_: &Entry| self.held[at].guard.usage(hash, key, self.access_time);
        Ok(self.find(at, hash, key).map(used))
    }

    fn set_usage(&mut self, key: &[u8], usage: Usage) -> Result<()> {
        let hash = self.hash(key);
        let at = self.place(hash, key)?;
        let access_time = self.access_time;
        self.held[at].guard.set_usage(hash, key, usage, access_time);
        Ok(())
    }

    fn set(&mut self, key: &[u8], value: &[u8], deadline: Option<Deadline>) -> Result<()> {
        self.context.check_key(key)?;
        self.context.check_value(value.len())?;
        self.check_records(value.len())?;
        if self.is_draft && value.len() >= LARGE_VALUE_BYTES {
            // So that nothing is copied when the shards are locked.
            return self.share(key, &Arc::new(value.to_vec()), deadline, None);
        }
        let Some((at, hash, now_ms)) = self.begin_storing(key, deadline)? else { return Ok(()) };
        let hasher = &self.context.hasher;
        let saved_from = self.undo_log.saved.len();
        let (access_time, use_now) = (self.access_time, self.use_by_writing(hash));
        let shard = &mut self.held[at].guard;
        let (undo, old_deadline) =
            match shard.overwrite(hasher, hash, key, value, deadline, now_ms, use_now, &mut self.undo_log.saved) {
                Some(old_deadline) => {
                    let undo = InPlace::Overwritten { old_deadline };
                    (Undo::InPlace(undo, saved_from..self.undo_log.saved.len()), old_deadline)
                }
                None => {
                    let old = shard.put(hasher, hash, Entry::new(key, value, deadline), now_ms, access_time, use_now);
                    let old_deadline = old.as_ref().and_then(Entry::deadline);
                    (Undo::Put(old), old_deadline)
                }
            };
        self.begin_use_if_gone(at, hash, key, old_deadline);
        // After the table, so that the processor encodes while it waits for the entry's memory.
        self.log(&Record::Set { keyspace: self.log_id, key, value, deadline: deadline.map_or(0, Deadline::as_ms) });
        self.note(at, hash, key, ChangeKind::Set, undo);
        // Another value for the same key is another use.
        self.used.set(0);
        Ok(())
    }

    fn copy(&mut self, from: &[u8], to: &[u8], deadline: Option<Deadline>) -> Result<bool> {
        let Some(value) = self.source(from)? else { return Ok(false) };
        self.put_copy(&value, to, deadline, (self.log_id, from))
    }

    fn write_range(&mut self, key: &[u8], offset: usize, bytes: &[u8]) -> Result<usize> {
        self.context.check_key(key)?;
        let hash = self.hash(key);
        let at = self.place(hash, key)?;
        let (old_len, deadline) = self.find(at, hash, key).map_or((0, None), |old| (old.value().len(), old.deadline()));
        if bytes.is_empty() {
            return Ok(old_len);
        }
        let end = offset.saturating_add(bytes.len());
        self.context.check_value(end)?;
        let new_len = end.max(old_len);
        self.charge_range(self.find(at, hash, key), offset, end)?;
        let saved_from = self.undo_log.saved.len();
        let is_there = self.find(at, hash, key).is_some();
        if !is_there && new_len >= LARGE_VALUE_BYTES {
            // Begun empty, so that the log holds the bytes alone and not the zeros before them.
            self.set(key, &[], None)?;
            self.used.set(hash);
            return self.write_range(key, offset, bytes);
        }
        let use_now = self.use_by_writing(hash);
        let (shard, saved) = (&mut self.held[at].guard, &mut self.undo_log.saved);
        if is_there && let Some(in_place) = shard.write_range(hash, key, offset, bytes, use_now, saved) {
            let undo = Undo::InPlace(in_place, saved_from..self.undo_log.saved.len());
            let (keyspace, offset, len) = (self.log_id, offset as u64, new_len as u64);
            self.log(&Record::Range { keyspace, key, offset, bytes, len });
            self.note(at, hash, key, ChangeKind::Set, undo);
        } else {
            let mut value = Vec::with_capacity(new_len);
            value.extend(self.find(at, hash, key).into_iter().flat_map(|old| old.value().bytes()));
            value.resize(new_len, 0);
            value[offset..end].copy_from_slice(bytes);
            self.set(key, &value, deadline)?;
        }
        // However many pieces a command writes, it uses the key once.
        self.used.set(hash);
        Ok(new_len)
    }

    fn set_deadline(&mut self, key: &[u8], deadline: Option<Deadline>) -> Result<bool> {
        let hash = self.hash(key);
        let at = self.place(hash, key)?;
        let now_ms = self.now_for(deadline);
        if deadline.is_some_and(|deadline| deadline.has_passed(now_ms)) {
            return self.delete(key);
        }
        if self.find(at, hash, key).is_none() {
            return Ok(false);
        }
        let changed = self.held[at].guard.set_deadline(&self.context.hasher, hash, key, deadline, now_ms);
        if let Some(old) = changed {
            self.log(&Record::Deadline { keyspace: self.log_id, key, deadline: deadline.map_or(0, Deadline::as_ms) });
            self.note(at, hash, key, ChangeKind::Deadline, Undo::Deadline(old));
        }
        Ok(changed.is_some())
    }

    fn mark_changed(&mut self, key: &[u8]) -> Result<bool> {
        let hash = self.hash(key);
        let at = self.place(hash, key)?;
        let Some(deadline) = self.find(at, hash, key).map(Entry::deadline) else { return Ok(false) };
        self.log(&Record::Deadline { keyspace: self.log_id, key, deadline: deadline.map_or(0, Deadline::as_ms) });
        self.note(at, hash, key, ChangeKind::Set, Undo::Deadline(deadline));
        Ok(true)
    }

    fn delete(&mut self, key: &[u8]) -> Result<bool> {
        self.remove(key, ChangeKind::Delete)
    }

    fn evict(&mut self, key: &[u8]) -> Result<bool> {
        self.remove(key, ChangeKind::Evict)
    }

    fn clear(&mut self) -> Result<u64> {
        let whole = self.whole()?;
        let held: usize = whole.clone().map(|at| self.held[at].guard.len()).sum();
        let live: u64 = whole.clone().map(|at| self.held[at].guard.live_len(&|| self.now()) as u64).sum();
        for at in whole.clone() {
            let emptied = Box::new(self.held[at].guard.clear());
            self.note(at, 0, &[], ChangeKind::Clear, Undo::Flush { emptied, first: at == whole.start });
        }
        // One change for each key that goes, those that had expired included.
        self.more_changes += held as i64 - whole.len() as i64;
        self.log(&Record::Flush { keyspace: self.log_id });
        Ok(live)
    }
}
