//! Draft: a transaction that runs without locks. Invariant: it takes effect only on the very values that it saw, all at one
//! moment; otherwise it has changed nothing.
//!
//! It is a [`LockedTxn`] over tables of its own, which hold the named keys as they were at one moment: so whatever it does
//! means the same there as under the locks. Large values are shared. To commit, the keys are locked and compared with what
//! the draft saw; then the entries it has changed take the places of the old ones, and its records go to the log as they are.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::undo::Undo;
use super::{Held, LockScope, LockedTxn, UndoLog};
use crate::error::Result;
use crate::lsn::Lsn;
use crate::table::access::{AccessTime, Usage};
use crate::table::entry::Entry;
use crate::table::keyspace::KeyspaceInner;
use crate::table::scan::Scan;
use crate::txn::context::StoreContext;
use crate::txn::lock_set::LockSet;
use crate::txn::traits::{CrossTxn, Lookup, Lookups, ReadTxn, Txn};
use crate::value::{Deadline, ValueRef};

/// What a draft sees: the named keys at one moment.
pub(crate) struct Seen<'k> {
    /// One for each keyspace, in the order of their ids, with one shard each. They hold what the draft works on.
    spaces: Vec<KeyspaceInner>,
    entries: Vec<SeenEntry<'k>>,
    now_ms: u64,
    /// The newest Lsn that the entries reveal.
    pub(crate) lsn: Lsn,
}

struct SeenEntry<'k> {
    space_id: u32,
    hash: u64,
    key: &'k [u8],
    entry: Option<Entry>,
}

impl<'k> Seen<'k> {
    /// Takes the values of `keys`, each with the keyspace it lies in, all of them named by `locked`.
    pub(crate) fn take(locked: &mut LockedTxn<'_>, keys: impl Iterator<Item = (u32, &'k [u8])>) -> Result<Self> {
        let mut spaces: Vec<KeyspaceInner> = Vec::new();
        let mut entries = Vec::new();
        let mut known = HashSet::new();
        let (hasher, access_time, now_ms) = (&locked.context.hasher, locked.access_time, locked.now());
        for (space_id, key) in keys {
            if !known.insert((space_id, key)) {
                continue;
            }
            let hash = hasher.hash(key);
            locked.select(space_id)?;
            let at = locked.place(hash, key)?;
            let shard = &locked.held[at].guard;
            let own = match spaces.binary_search_by_key(&space_id, |space| space.id) {
                Ok(own) => own,
                Err(own) => {
                    let space = KeyspaceInner::new(space_id, &locked.space.name, 1);
                    space.set_log_id(locked.log_id);
                    space.write(0).record_accesses(access_time);
                    spaces.insert(own, space);
                    own
                }
            };
            let entry = shard.find(hash, key);
            if let Some(entry) = entry {
                let mut table = spaces[own].write(0);
                table.put(hasher, hash, entry.share(), now_ms, access_time, AccessTime::NONE);
                if !access_time.is_none() {
                    table.set_usage(hash, key, shard.usage(hash, key, access_time), access_time);
                }
            }
            entries.push(SeenEntry { space_id, hash, key, entry: entry.map(Entry::share) });
        }
        // Of a keyspace of which no key is named there is a table, too: it can be selected.
        if let LockScope::Set(set) = locked.scope {
            for space in set.spaces() {
                if let Err(own) = spaces.binary_search_by_key(&space.id, |space| space.id) {
                    spaces.insert(own, KeyspaceInner::new(space.id, &space.name, 1));
                }
            }
        }
        Ok(Seen { spaces, entries, now_ms, lsn: locked.commit()?.lsn })
    }
}

/// A transaction over [`Seen`] keys.
pub(crate) struct Draft<'s> {
    locked: LockedTxn<'s>,
    uses: RefCell<Uses>,
}

/// The uses of keys, in their order: they are noted when the draft is over, once.
#[derive(Default)]
struct Uses {
    keys: Vec<u8>,
    list: Vec<UseOf>,
}

struct UseOf {
    space_id: u32,
    hash: u64,
    /// In `keys`.
    key: Range<usize>,
    kind: UseKind,
}

#[derive(Clone, Copy, PartialEq)]
enum UseKind {
    /// It was read or written.
    Used,
    /// It is to look as if it had been used so.
    As(Usage),
    /// It was made: what was known of its use before is of another.
    Made,
}

impl Uses {
    fn key(&self, one: &UseOf) -> (u32, &[u8]) {
        (one.space_id, &self.keys[one.key.clone()])
    }

    /// Where each key was made last, of those that were.
    fn made(&self) -> HashMap<(u32, &[u8]), usize> {
        let made = self.list.iter().enumerate().filter(|(_, one)| one.kind == UseKind::Made);
        made.map(|(at, one)| (self.key(one), at)).collect()
    }
}

impl<'s> Draft<'s> {
    /// Begins a transaction over what `seen` has of `set`.
    pub(crate) fn new(
        context: &'s StoreContext,
        seen: &'s Seen<'_>,
        set: &'s LockSet<'s>,
        undo_log: &'s mut UndoLog,
    ) -> Result<Self> {
        let held = seen.spaces.iter().map(|space| Held { space, shard: 0, guard: space.write(0) }).collect();
        let mut locked = LockedTxn::holding(context, set, held, undo_log)?;
        // Its own table of the keyspace, not that of the store.
        locked.select(locked.space.id)?;
        locked.now_ms.set(seen.now_ms);
        locked.is_draft = true;
        Ok(Draft { locked, uses: RefCell::default() })
    }

    /// Whether there is nothing to apply, so that it does not matter what became of the keys.
    pub(crate) fn is_read_only(&self) -> bool {
        self.locked.undo_log.changes.is_empty() && self.locked.more_changes == 0
    }

    /// Whether keys were used, and that is to be noted.
    pub(crate) fn has_uses(&self) -> bool {
        !self.uses.borrow().list.is_empty()
    }

    /// Whether it came upon an entry whose deadline had passed. If so, the time of that is in the log before the Lsn.
    pub(crate) fn mark_time(&self) -> Option<Lsn> {
        let passed_ms = self.locked.passed_ms.get();
        (passed_ms != 0).then(|| self.locked.context.mark_time(passed_ms, self.locked.now()))
    }

    fn note_use(&self, hash: u64, key: &[u8], kind: UseKind) {
        let mut uses = self.uses.borrow_mut();
        let at = uses.keys.len();
        uses.keys.extend_from_slice(key);
        let space_id = self.locked.space.id;
        uses.list.push(UseOf { space_id, hash, key: at..at + key.len(), kind });
    }

    /// Whether a key is there. That it has expired counts as seen only where the body looks.
    fn has(&self, key: &[u8]) -> bool {
        let (locked, hash) = (&self.locked, self.locked.hash(key));
        let is_live = |entry: &Entry| !entry.has_passed(locked.now());
        locked.place(hash, key).is_ok_and(|at| locked.held[at].guard.find(hash, key).is_some_and(is_live))
    }

    /// Runs a write of `key`, and notes the use that it is.
    fn write<R>(&mut self, key: &[u8], write: impl FnOnce(&mut LockedTxn<'_>) -> Result<R>) -> Result<R> {
        let hash = self.locked.hash(key);
        let kind = match self.has(key) {
            true if self.locked.use_by_writing(hash).is_none() => None,
            true => Some(UseKind::Used),
            false => Some(UseKind::Made),
        };
        let written = write(&mut self.locked)?;
        kind.into_iter().for_each(|kind| self.note_use(hash, key, kind));
        Ok(written)
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        // Its tables go with it: there is nothing to undo, and nothing that counts in the store's totals.
        self.locked.committed = true;
    }
}

impl LockedTxn<'_> {
    fn held_at(&self, space_id: u32, hash: u64) -> Option<usize> {
        let any = self.held.binary_search_by_key(&space_id, |held| held.space.id).ok()?;
        let space = self.held[any].space;
        let wanted = (space_id, space.shard_of(hash));
        self.held.binary_search_by_key(&wanted, |held| (held.space.id, held.shard)).ok()
    }

    /// Whether the keys, which this holds locked, are as a draft saw them, in keyspaces that are what they were.
    pub(crate) fn is_as_seen(&self, seen: &Seen<'_>) -> bool {
        let is_same_space = |own: &KeyspaceInner| {
            self.held.iter().find(|held| held.space.id == own.id).is_none_or(|held| held.space.log_id() == own.log_id())
        };
        // By now others may have seen that it has expired.
        let has_expired = |deadline: Option<Deadline>| {
            deadline.is_some_and(|deadline| deadline.has_passed(self.now()) && !deadline.has_passed(seen.now_ms))
        };
        let is_same_entry = |seen: &SeenEntry<'_>| {
            let Some(at) = self.held_at(seen.space_id, seen.hash) else { return false };
            match (self.held[at].guard.find(seen.hash, seen.key), &seen.entry) {
                (None, None) => true,
                (Some(now), Some(then)) => now.is_same(then) && !has_expired(then.deadline()),
                _ => false,
            }
        };
        seen.spaces.iter().all(is_same_space) && seen.entries.iter().all(is_same_entry)
    }

    /// Makes the changes of a draft this transaction's own. The keys [are as it saw them](Self::is_as_seen).
    pub(crate) fn apply(&mut self, draft: &mut Draft<'_>) {
        let from = &mut draft.locked;
        std::mem::swap(&mut self.undo_log.records, &mut from.undo_log.records);
        (self.more_changes, self.refused_bytes) = (from.more_changes, from.refused_bytes);
        self.passed_ms.set(self.passed_ms.get().max(from.passed_ms.get()));
        let uses = draft.uses.borrow();
        let made = uses.made();
        let mut known = HashSet::new();
        let (context, access_time) = (self.context, self.access_time);
        for done in &from.undo_log.changes {
            let (held, key) = (&mut from.held[done.held], &from.undo_log.saved[done.key.clone()]);
            let (space_id, hash) = (held.space.id, done.hash);
            let Some(at) = self.held_at(space_id, hash) else { continue };
            if !known.insert((space_id, key)) {
                // It has what the draft left there. Undoing goes back to the first change, which puts the old entry there.
                self.note(at, hash, key, done.kind, Undo::Put(None));
                continue;
            }
            let new = held.guard.take(&context.hasher, hash, key);
            let now_ms = self.now_for(new.as_ref().and_then(Entry::deadline));
            let shard = &mut self.held[at].guard;
            // What was made is another to access statistics than what was there.
            let is_other = new.is_none() || made.contains_key(&(space_id, key));
            let taken = if is_other { shard.take(&context.hasher, hash, key) } else { None };
            let replaced =
                new.and_then(|new| shard.put(&context.hasher, hash, new, now_ms, access_time, AccessTime::NONE));
            self.note(at, hash, key, done.kind, Undo::Put(taken.or(replaced)));
        }
    }

    /// Notes the uses of a draft, as far as the keys are there.
    pub(crate) fn use_keys(&mut self, draft: &Draft<'_>) {
        let (uses, access_time) = (draft.uses.borrow(), self.access_time);
        let made = uses.made();
        for (number, one) in uses.list.iter().enumerate() {
            let (_, key) = uses.key(one);
            if made.get(&(one.space_id, key)).is_some_and(|made| number < *made) {
                continue;
            }
            let Some(at) = self.held_at(one.space_id, one.hash) else { continue };
            let shard = &mut self.held[at].guard;
            match one.kind {
                UseKind::Used => drop(shard.find_to_use(one.hash, key, access_time)),
                UseKind::As(usage) => shard.set_usage(one.hash, key, usage, access_time),
                UseKind::Made => {}
            }
        }
    }
}

impl ReadTxn for Draft<'_> {
    fn now_ms(&self) -> u64 {
        self.locked.now_ms()
    }

    fn lookup(&self, key: &[u8], kind: Lookup) -> Result<Option<ValueRef<'_>>> {
        let found = self.locked.lookup(key, kind)?;
        if kind.is_use() && self.locked.uses_keys && !self.locked.access_time.is_none() && found.is_some() {
            self.note_use(self.locked.hash(key), key, UseKind::Used);
        }
        Ok(found)
    }

    fn lookups(&self) -> Lookups {
        self.locked.lookups()
    }
}

impl Txn for Draft<'_> {
    fn begin_command(&mut self, uses_keys: bool) {
        self.locked.begin_command(uses_keys);
    }

    fn count_changes(&mut self, count: u64) {
        self.locked.count_changes(count);
    }

    fn usage(&self, key: &[u8]) -> Result<Option<Usage>> {
        self.locked.usage(key)
    }

    fn set_usage(&mut self, key: &[u8], usage: Usage) -> Result<()> {
        self.locked.set_usage(key, usage)?;
        if self.has(key) {
            self.note_use(self.locked.hash(key), key, UseKind::As(usage));
        }
        Ok(())
    }

    fn set(&mut self, key: &[u8], value: &[u8], deadline: Option<Deadline>) -> Result<()> {
        self.write(key, |locked| locked.set(key, value, deadline))
    }

    fn copy(&mut self, from: &[u8], to: &[u8], deadline: Option<Deadline>) -> Result<bool> {
        self.copy_from(self.locked.space.id, from, to, deadline)
    }

    fn write_range(&mut self, key: &[u8], offset: usize, bytes: &[u8]) -> Result<usize> {
        match bytes {
            [] => self.locked.write_range(key, offset, bytes),
            _ => self.write(key, |locked| locked.write_range(key, offset, bytes)),
        }
    }

    fn set_deadline(&mut self, key: &[u8], deadline: Option<Deadline>) -> Result<bool> {
        self.locked.set_deadline(key, deadline)
    }

    fn mark_changed(&mut self, key: &[u8]) -> Result<bool> {
        self.locked.mark_changed(key)
    }

    fn delete(&mut self, key: &[u8]) -> Result<bool> {
        self.locked.delete(key)
    }

    fn evict(&mut self, key: &[u8]) -> Result<bool> {
        self.locked.evict(key)
    }

    fn clear(&mut self) -> Result<u64> {
        self.locked.clear()
    }
}

impl CrossTxn for Draft<'_> {
    fn select(&mut self, keyspace_id: u32) -> Result<()> {
        self.locked.select(keyspace_id)
    }

    fn copy_from(&mut self, keyspace_id: u32, from: &[u8], to: &[u8], deadline: Option<Deadline>) -> Result<bool> {
        let here = self.locked.space.id;
        self.locked.select(keyspace_id)?;
        let is_there = self.locked.peek(from).map(|value| value.is_some());
        self.locked.select(here)?;
        if !is_there? {
            return Ok(false);
        }
        self.write(to, |locked| locked.copy_from(keyspace_id, from, to, deadline))
    }

    fn swap(&mut self, keyspace_id: u32) -> Result<()> {
        self.locked.swap(keyspace_id)
    }

    fn as_scan(&self) -> &dyn Scan {
        self.locked.as_scan()
    }
}
