//! Locked: the engine's [`Txn`]. Invariant: until `commit` returns, nobody else sees any of its changes; if it does not get
//! there (an error, a panic), all of them are undone and nothing is logged.
//!
//! Changes are made in place, under the locks, with a note of how to undo each: a transaction of one write then costs no
//! allocation beyond the entry's own, and reads inside it are plain reads.

use std::cell::Cell;
use std::ops::Range;

use smallvec::SmallVec;

use crate::base::Base;
use crate::entry::{Deadline, Entry, LARGE_VALUE_BYTES, ValueRef};
use crate::error::{Error, Result};
use crate::lsn::Lsn;
use crate::observer::{Change, ChangeKind, Swap};
use crate::record::Record;
use crate::shard::{InPlace, Shard};
use crate::space::Space;
use crate::sync::RwLockWriteGuard;
use crate::txn::{CrossTxn, Txn, Usage};
use crate::uses::Moment;
use crate::walk::{Cursor, Walk};

/// Working memory larger than this is not kept for the next transaction.
const KEPT_BYTES_MAX: usize = 64 * 1024;

pub(crate) struct Locked<'a> {
    base: &'a Base,
    /// In the order (keyspace id, shard).
    held: SmallVec<[Held<'a>; 1]>,
    /// What it may speak of.
    claims: Claims<'a>,
    /// The keyspace that calls speak of.
    space: &'a Space,
    /// The number in the log of what it holds.
    log_id: u32,
    /// 0 until somebody asks: most transactions need not know the time.
    now_ms: Cell<u64>,
    /// The latest deadline that was found to have passed; 0 for none.
    passed_ms: Cell<u64>,
    /// For noting who uses what; not for reads that do not count.
    moment: Moment,
    counts_reads: bool,
    /// The last key that was hashed, most often the next one too.
    hashed: Cell<(*const u8, usize, u64)>,
    notes: &'a mut Notes,
    committed: bool,
}

/// What became of a transaction.
pub(crate) struct Committed {
    /// The newest Lsn that the transaction, reads included, reveals.
    pub(crate) lsn: Lsn,
    /// It came upon an entry whose deadline had passed.
    pub(crate) met_expired: bool,
}

struct Held<'a> {
    space: &'a Space,
    shard: usize,
    guard: RwLockWriteGuard<'a, Shard>,
}

/// What a transaction named.
#[derive(Clone, Copy)]
pub(crate) enum Claims<'a> {
    /// The key with this hash.
    Key(u64),
    Many(&'a [Named<'a>]),
}

/// What a transaction named of one keyspace.
pub(crate) struct Named<'a> {
    pub(crate) space: &'a Space,
    /// The keys' hashes, sorted; `None` for all there are.
    pub(crate) hashes: Option<Vec<u64>>,
}

/// What was done: its records for the log, and how to undo it.
#[derive(Default)]
pub(crate) struct Notes {
    records: Vec<u8>,
    changes: Vec<Done>,
    /// Keys of changes and bytes that were overwritten.
    saved: Vec<u8>,
    /// By keyspace id, the number in the log of what it holds now. Only those that differ from what others see.
    moved: Vec<(u32, u32)>,
}

struct Done {
    /// Index into `held`.
    held: usize,
    hash: u64,
    /// In `saved`.
    key: Range<usize>,
    kind: ChangeKind,
    undo: Undo,
}

enum Undo {
    /// Put back what was there, or take away what was not.
    Put(Option<Entry>),
    InPlace(InPlace, Range<usize>),
    Deadline(Option<Deadline>),
    /// Put back a shard that was emptied. The first of a keyspace stands for all of them.
    Flush {
        emptied: Box<Shard>,
        first: bool,
    },
    /// Exchange the shard with this one in `held`, again. The first of a pair of keyspaces stands for all of them.
    Swap {
        with: usize,
        first: bool,
    },
}

thread_local! {
    /// The last transaction's notes, emptied, for the next one.
    static NOTES: Cell<Option<Box<Notes>>> = const { Cell::new(None) };
}

impl Notes {
    /// Lends `run` an empty set of notes. What they still hold is dropped after it, when no lock is held any more.
    pub(crate) fn lend<R>(run: impl FnOnce(&mut Notes) -> R) -> R {
        // While a thread ends there may be none left, nor a place for them.
        let mut notes = NOTES.try_with(Cell::take).ok().flatten().unwrap_or_default();
        let outcome = run(&mut notes);
        let Notes { records, changes, saved, moved } = &mut *notes;
        moved.clear();
        changes.clear();
        records.clear();
        saved.clear();
        if records.capacity() + saved.capacity() + changes.capacity() * size_of::<Done>() <= KEPT_BYTES_MAX {
            let _ = NOTES.try_with(|kept| kept.set(Some(notes)));
        }
        outcome
    }
}

impl<'a> Locked<'a> {
    /// Locks the shard of one key, whose hash is `hash`.
    #[inline]
    pub(crate) fn lock_one(base: &'a Base, space: &'a Space, key: &[u8], hash: u64, notes: &'a mut Notes) -> Self {
        let shard = space.shard_of(hash);
        let mut guard = space.write(shard);
        guard.note_uses(base.moment());
        let held = SmallVec::from_buf([Held { space, shard, guard }]);
        let locked = Locked::new(base, space, Claims::Key(hash), held, notes);
        locked.hashed.set((key.as_ptr(), key.len(), hash));
        locked
    }

    /// Locks the shards in `wanted`, which is sorted by (keyspace id, shard), has no element twice, and holds what
    /// `claims` name. Calls speak of `space` first.
    pub(crate) fn lock(
        base: &'a Base,
        space: &'a Space,
        claims: &'a [Named<'a>],
        wanted: impl Iterator<Item = (&'a Space, usize)>,
        notes: &'a mut Notes,
    ) -> Self {
        let moment = base.moment();
        let lock = |(space, shard): (&'a Space, usize)| {
            let mut guard = space.write(shard);
            guard.note_uses(moment);
            Held { space, shard, guard }
        };
        let held = wanted.map(lock).collect();
        Locked::new(base, space, Claims::Many(claims), held, notes)
    }

    #[inline]
    fn new(
        base: &'a Base,
        space: &'a Space,
        claims: Claims<'a>,
        held: SmallVec<[Held<'a>; 1]>,
        notes: &'a mut Notes,
    ) -> Self {
        Locked {
            base,
            held,
            claims,
            space,
            // Of a keyspace of which nothing is locked this may be out of date, but then nothing of it can be written.
            log_id: space.log_id(),
            now_ms: Cell::new(0),
            passed_ms: Cell::new(0),
            moment: base.moment(),
            counts_reads: true,
            hashed: Cell::new((std::ptr::null(), 0, 0)),
            notes,
            committed: false,
        }
    }

    fn hash(&self, key: &[u8]) -> u64 {
        let (ptr, len, hash) = self.hashed.get();
        // The same bytes in the same place, borrowed by the caller throughout the transaction.
        if std::ptr::eq(ptr, key.as_ptr()) && len == key.len() { hash } else { self.base.hasher.hash(key) }
    }

    fn now(&self) -> u64 {
        if self.now_ms.get() == 0 {
            self.now_ms.set(self.base.time.now_ms());
        }
        self.now_ms.get()
    }

    /// Whether a key was named. That its shard is locked is not enough: which keys share a shard is chance.
    fn is_named(&self, hash: u64) -> bool {
        match self.claims {
            Claims::Key(named) => named == hash,
            Claims::Many(claims) => claims
                .iter()
                .filter(|claim| claim.space.id == self.space.id)
                .any(|claim| claim.hashes.as_ref().is_none_or(|hashes| hashes.binary_search(&hash).is_ok())),
        }
    }

    /// Where in `held` the shard of a hash is.
    fn place(&self, hash: u64) -> Result<usize> {
        if !self.is_named(hash) {
            return Err(Error::KeyNotNamed);
        }
        if self.held.len() == 1 {
            return Ok(0);
        }
        let wanted = (self.space.id, self.space.shard_of(hash));
        self.held.binary_search_by_key(&wanted, |held| (held.space.id, held.shard)).map_err(|_| Error::KeyNotNamed)
    }

    /// The current keyspace's part of `held`, which must be all of it.
    fn whole(&self) -> Result<Range<usize>> {
        let is_whole = |claim: &Named<'_>| claim.space.id == self.space.id && claim.hashes.is_none();
        if !matches!(self.claims, Claims::Many(claims) if claims.iter().any(is_whole)) {
            return Err(Error::KeyNotNamed);
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
        let at = self.place(hash)?;
        if self.find(at, hash, key).is_none() {
            return Ok(false);
        }
        let taken = self.held[at].guard.take(&self.base.hasher, hash, key);
        self.log(&Record::Delete { keyspace: self.log_id, key });
        self.note(at, hash, key, why, Undo::Put(taken));
        Ok(true)
    }

    fn log(&mut self, record: &Record<'_>) {
        if self.base.wal.is_some() {
            record.encode(&mut self.notes.records);
        }
    }

    #[inline]
    fn note(&mut self, held: usize, hash: u64, key: &[u8], kind: ChangeKind, undo: Undo) {
        let at = self.notes.saved.len();
        self.notes.saved.extend_from_slice(key);
        self.notes.changes.push(Done { held, hash, key: at..at + key.len(), kind, undo });
    }

    /// Whether keyspaces have exchanged what they hold. Then the registry must be locked before it is committed.
    pub(crate) fn has_swapped(&self) -> bool {
        !self.notes.moved.is_empty()
    }

    /// The number in the log of what a keyspace holds.
    fn log_id_of(&self, space: &Space) -> u32 {
        let moved = self.notes.moved.iter().find(|(id, _)| *id == space.id);
        moved.map_or_else(|| space.log_id(), |(_, log_id)| *log_id)
    }

    fn set_log_id_of(&mut self, space: &Space, log_id: u32) {
        self.notes.moved.retain(|(id, _)| *id != space.id);
        self.notes.moved.push((space.id, log_id));
    }

    fn swap_shards(&mut self, one: usize, other: usize) {
        let (low, high) = self.held.split_at_mut(one.max(other));
        if let (Some(low), Some(high)) = (low.get_mut(one.min(other)), high.first_mut()) {
            std::mem::swap(&mut *low.guard, &mut *high.guard);
        }
    }

    /// Lets everybody see which keyspace holds what.
    fn publish_swaps(&mut self) -> bool {
        let mut sooner = false;
        for held in &self.held {
            if let Some((_, log_id)) = self.notes.moved.iter().find(|(id, _)| *id == held.space.id) {
                held.space.set_log_id(*log_id);
                // Filed where it was before.
                sooner |= held.guard.next_tick().is_some_and(|tick| held.space.note_due(tick));
            }
        }
        sooner
    }

    /// Logs the changes as one group and lets everybody see them.
    pub(crate) fn commit(mut self) -> Result<Committed> {
        let mut own = Lsn::ZERO;
        if !self.notes.changes.is_empty() {
            if self.held.iter().any(|held| held.space.is_dropped()) {
                let name = self.space.name.to_string();
                return Err(Error::KeyspaceDropped { name });
            }
            if let Some(wal) = &self.base.wal {
                own = wal.append(&self.notes.records)?;
            }
        }
        self.committed = true;
        let mut revealed = own;
        if self.passed_ms.get() != 0 {
            revealed = revealed.max(self.base.mark_time(self.passed_ms.get(), self.now()));
        }
        for done in &self.notes.changes {
            self.held[done.held].guard.reveals(own);
            if let Undo::Swap { with, .. } = done.undo {
                self.held[with].guard.reveals(own);
            }
        }
        let mut sooner = self.has_swapped() && self.publish_swaps();
        self.tell(own);
        for held in &mut self.held {
            revealed = revealed.max(held.guard.last());
            if let Some(tick) = held.guard.take_soonest_filed() {
                sooner |= held.space.note_due(tick);
            }
        }
        if sooner {
            self.base.sweeper.ring();
        }
        Ok(Committed { lsn: revealed, met_expired: self.passed_ms.get() != 0 })
    }

    fn tell(&self, lsn: Lsn) {
        if !self.base.is_observed() {
            return;
        }
        self.tell_of_the_dead(lsn);
        for (at, done) in self.notes.changes.iter().enumerate() {
            let key = match done.undo {
                Undo::Flush { first: false, .. } | Undo::Swap { first: false, .. } => continue,
                Undo::Swap { first: true, with } => {
                    self.tell_swap(at, [done.held, with], lsn);
                    continue;
                }
                Undo::Flush { first: true, .. } => None,
                _ => Some(&self.notes.saved[done.key.clone()]),
            };
            let space = self.held[done.held].space;
            self.base.tell(&Change { keyspace_id: space.id, keyspace: &space.name, key, kind: done.kind, lsn });
        }
    }

    /// What a value was put over had expired, perhaps, and no sweep will find it now. It is told of first: it was gone
    /// before the transaction began.
    fn tell_of_the_dead(&self, lsn: Lsn) {
        for done in &self.notes.changes {
            let deadline = match &done.undo {
                Undo::Put(Some(old)) => old.deadline(),
                Undo::InPlace(InPlace::Overwritten { old_deadline }, _) => *old_deadline,
                _ => continue,
            };
            if deadline.is_some_and(|deadline| deadline.has_passed(self.now())) {
                let (space, key) = (self.held[done.held].space, Some(&self.notes.saved[done.key.clone()]));
                let kind = ChangeKind::Expire;
                self.base.tell(&Change { keyspace_id: space.id, keyspace: &space.name, key, kind, lsn });
                self.base.count_expired(1);
            }
        }
    }

    /// `firsts` are the first shards of two keyspaces, exchanged by the change `at` and those of the other shards that
    /// follow it.
    fn tell_swap(&self, at: usize, firsts: [usize; 2], lsn: Lsn) {
        let spaces = firsts.map(|first| self.held[first].space);
        let later = self.notes.changes.get(at + spaces[0].shard_count()..).unwrap_or_default();
        let holds = |key: &[u8]| {
            let hash = self.base.hasher.hash(key);
            let shard = spaces[0].shard_of(hash);
            firsts.iter().any(|first| self.held_before(later, first + shard, hash, key))
        };
        let keyspaces = spaces.map(|space| (space.id, &*space.name));
        self.base.tell_swap(&Swap { keyspaces, lsn, holds: &holds });
    }

    /// Whether a shard held a key that had not expired before the changes `later`, the last of this transaction.
    fn held_before(&self, later: &[Done], mut shard: usize, hash: u64, key: &[u8]) -> bool {
        let is_live = |deadline: Option<Deadline>| deadline.is_none_or(|deadline| !deadline.has_passed(self.now()));
        let is_live_entry = |entry: &Entry| is_live(entry.deadline());
        for done in later {
            match &done.undo {
                Undo::Swap { with, .. } if done.held == shard => shard = *with,
                Undo::Swap { with, .. } if *with == shard => shard = done.held,
                Undo::Swap { .. } => {}
                _ if done.held != shard => {}
                Undo::Flush { emptied, .. } => return emptied.find(hash, key).is_some_and(is_live_entry),
                _ if self.notes.saved[done.key.clone()] != *key => {}
                Undo::Put(old) => return old.as_ref().is_some_and(is_live_entry),
                Undo::InPlace(InPlace::Overwritten { old_deadline }, _) | Undo::Deadline(old_deadline) => {
                    return is_live(*old_deadline);
                }
                // The deadline stayed as it was.
                Undo::InPlace(InPlace::Range { .. }, _) => break,
            }
        }
        self.held[shard].guard.find(hash, key).is_some_and(is_live_entry)
    }

    fn roll_back(&mut self) {
        let hasher = &self.base.hasher;
        while let Some(Done { held, hash, key, undo, .. }) = self.notes.changes.pop() {
            if let Undo::Swap { with, .. } = undo {
                self.swap_shards(held, with);
                continue;
            }
            let (key, shard) = (&self.notes.saved[key], &mut self.held[held].guard);
            match undo {
                Undo::Put(Some(entry)) => drop(shard.put(hasher, hash, entry, self.now_ms.get(), Moment::NONE)),
                Undo::Put(None) => drop(shard.take(hasher, hash, key)),
                Undo::InPlace(what, saved) => shard.undo_in_place(hash, key, &what, &self.notes.saved[saved]),
                Undo::Deadline(deadline) => {
                    shard.set_deadline(hasher, hash, key, deadline, self.now_ms.get());
                }
                Undo::Flush { emptied, .. } => shard.restore(*emptied),
                Undo::Swap { .. } => {}
            }
        }
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        if !self.committed {
            self.roll_back();
        }
    }
}

impl Txn for Locked<'_> {
    fn now_ms(&self) -> u64 {
        self.now()
    }

    fn get(&self, key: &[u8]) -> Result<Option<ValueRef<'_>>> {
        let hash = self.hash(key);
        let at = self.place(hash)?;
        let moment = if self.counts_reads { self.moment } else { Moment::NONE };
        let found = self.held[at].guard.find_to_use(hash, key, moment);
        Ok(found.filter(|entry| !self.has_passed(entry.deadline())).map(Entry::value))
    }

    fn peek(&self, key: &[u8]) -> Result<Option<ValueRef<'_>>> {
        let hash = self.hash(key);
        let at = self.place(hash)?;
        Ok(self.find(at, hash, key).map(Entry::value))
    }

    fn count_reads(&mut self, count: bool) {
        self.counts_reads = count;
    }

    fn usage(&self, key: &[u8]) -> Result<Option<Usage>> {
        let hash = self.hash(key);
        let at = self.place(hash)?;
        let used = |_: &Entry| self.held[at].guard.usage(hash, key, self.moment);
        Ok(self.find(at, hash, key).map(used))
    }

    fn set_usage(&mut self, key: &[u8], usage: Usage) -> Result<()> {
        let hash = self.hash(key);
        let at = self.place(hash)?;
        let moment = self.moment;
        self.held[at].guard.set_usage(hash, key, usage, moment);
        Ok(())
    }

    fn set(&mut self, key: &[u8], value: &[u8], deadline: Option<Deadline>) -> Result<()> {
        self.base.check_key(key)?;
        self.base.check_value(value.len())?;
        let hash = self.hash(key);
        let at = self.place(hash)?;
        let now_ms = self.now_for(deadline);
        if deadline.is_some_and(|deadline| deadline.has_passed(now_ms)) {
            return self.delete(key).map(|_| ());
        }
        let hasher = &self.base.hasher;
        let saved_from = self.notes.saved.len();
        let shard = &mut self.held[at].guard;
        let moment = self.moment;
        let undo = match shard.overwrite(hasher, hash, key, value, deadline, now_ms, moment, &mut self.notes.saved) {
            Some(in_place) => Undo::InPlace(in_place, saved_from..self.notes.saved.len()),
            None => Undo::Put(shard.put(hasher, hash, Entry::new(key, value, deadline), now_ms, moment)),
        };
        // After the table, so that the processor encodes while it waits for the entry's memory.
        self.log(&Record::Set { keyspace: self.log_id, key, value, deadline: deadline.map_or(0, Deadline::as_ms) });
        self.note(at, hash, key, ChangeKind::Set, undo);
        Ok(())
    }

    fn write_range(&mut self, key: &[u8], offset: usize, bytes: &[u8]) -> Result<usize> {
        self.base.check_key(key)?;
        let hash = self.hash(key);
        let at = self.place(hash)?;
        let (old_len, deadline) = self.find(at, hash, key).map_or((0, None), |old| (old.value().len(), old.deadline()));
        if bytes.is_empty() {
            return Ok(old_len);
        }
        let end = offset.saturating_add(bytes.len());
        self.base.check_value(end)?;
        let new_len = end.max(old_len);
        let saved_from = self.notes.saved.len();
        let is_there = self.find(at, hash, key).is_some();
        if !is_there && new_len >= LARGE_VALUE_BYTES {
            // Begun empty, so that the log holds the bytes alone and not the zeros before them.
            self.set(key, &[], None)?;
            return self.write_range(key, offset, bytes);
        }
        let (shard, now, saved) = (&mut self.held[at].guard, self.moment, &mut self.notes.saved);
        if is_there && let Some(in_place) = shard.write_range(hash, key, offset, bytes, now, saved) {
            let undo = Undo::InPlace(in_place, saved_from..self.notes.saved.len());
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
        Ok(new_len)
    }

    fn set_deadline(&mut self, key: &[u8], deadline: Option<Deadline>) -> Result<bool> {
        let hash = self.hash(key);
        let at = self.place(hash)?;
        let now_ms = self.now_for(deadline);
        if deadline.is_some_and(|deadline| deadline.has_passed(now_ms)) {
            return self.delete(key);
        }
        if self.find(at, hash, key).is_none() {
            return Ok(false);
        }
        let changed = self.held[at].guard.set_deadline(&self.base.hasher, hash, key, deadline, now_ms);
        if let Some(old) = changed {
            self.log(&Record::Deadline { keyspace: self.log_id, key, deadline: deadline.map_or(0, Deadline::as_ms) });
            self.note(at, hash, key, ChangeKind::Deadline, Undo::Deadline(old));
        }
        Ok(changed.is_some())
    }

    fn delete(&mut self, key: &[u8]) -> Result<bool> {
        self.remove(key, ChangeKind::Delete)
    }

    fn evict(&mut self, key: &[u8]) -> Result<bool> {
        self.remove(key, ChangeKind::Evict)
    }

    fn flush(&mut self) -> Result<u64> {
        let whole = self.whole()?;
        let live = whole.clone().map(|at| self.held[at].guard.live_len(&|| self.now()) as u64).sum();
        for at in whole.clone() {
            let emptied = Box::new(self.held[at].guard.clear());
            self.note(at, 0, &[], ChangeKind::Flush, Undo::Flush { emptied, first: at == whole.start });
        }
        self.log(&Record::Flush { keyspace: self.log_id });
        Ok(live)
    }
}

impl Walk for Locked<'_> {
    fn len(&self) -> u64 {
        self.held.iter().filter(|held| held.space.id == self.space.id).map(|held| held.guard.len() as u64).sum()
    }

    fn walk(&self, cursor: Cursor, at_least: usize, each: &mut dyn FnMut(&[u8], ValueRef<'_>)) -> Result<Cursor> {
        let whole = self.whole()?;
        Ok(crate::walk::step(cursor, at_least, whole.len(), &mut |shard, place, budget, shown| {
            self.held[whole.start + shard].guard.walk(place, budget, &mut |entry| {
                if !self.has_passed(entry.deadline()) {
                    each(entry.key(), entry.value());
                    *shown += 1;
                }
                *shown < at_least
            })
        }))
    }

    fn for_each(&self, each: &mut dyn FnMut(&[u8], ValueRef<'_>)) -> Result<()> {
        for at in self.whole()? {
            for entry in self.held[at].guard.iter().filter(|entry| !self.has_passed(entry.deadline())) {
                each(entry.key(), entry.value());
            }
        }
        Ok(())
    }

    fn random_key(&self) -> Result<Option<Vec<u8>>> {
        let whole = self.whole()?;
        let shards = &self.held[whole];
        Ok(crate::walk::random(shards.len(), &mut |shard, bucket| {
            let guard = &shards[shard].guard;
            let bucket = bucket.checked_rem(guard.buckets()).unwrap_or(0);
            guard.entry_from_bucket(bucket).map(|entry| (entry.key().to_vec(), self.has_passed(entry.deadline())))
        }))
    }
}

impl CrossTxn for Locked<'_> {
    fn select(&mut self, keyspace_id: u32) -> Result<()> {
        let mut spaces = match self.claims {
            Claims::Key(_) => [].iter(),
            Claims::Many(claims) => claims.iter(),
        };
        self.space = spaces.find(|claim| claim.space.id == keyspace_id).ok_or(Error::KeyNotNamed)?.space;
        self.log_id = self.log_id_of(self.space);
        // The same key hashes alike everywhere, but the shard is another keyspace's: nothing to forget.
        Ok(())
    }

    fn swap(&mut self, keyspace_id: u32) -> Result<()> {
        let (one, one_log_id, ours) = (self.space, self.log_id, self.whole()?);
        self.select(keyspace_id)?;
        let (other, other_log_id, theirs) = (self.space, self.log_id, self.whole());
        self.select(one.id)?;
        let theirs = theirs?;
        if one.id == other.id {
            return Ok(());
        }
        for (one, other) in ours.clone().zip(theirs) {
            self.swap_shards(one, other);
            self.note(one, 0, &[], ChangeKind::Swap, Undo::Swap { with: other, first: one == ours.start });
        }
        for (space, log_id) in [(one, other_log_id), (other, one_log_id)] {
            self.log(&Record::Bind { keyspace: log_id, name: &space.name });
            self.set_log_id_of(space, log_id);
        }
        self.log_id = other_log_id;
        Ok(())
    }

    fn as_walk(&self) -> &dyn Walk {
        self
    }
}
