//! Commit: the changes become one transaction of the log, and whoever observes the store is told. Invariant: all that an
//! observer is told lies at one Lsn, in the order in which it was done, before the locks are given back.

use super::LockedTxn;
use super::undo::{Logged, Undo, UndoRecord};
use crate::error::{Error, Result};
use crate::log::frame::RECORDS_BYTES_MAX;
use crate::lsn::Lsn;
use crate::observer::{Change, ChangeKind, Swap};
use crate::table::entry::Entry;
use crate::table::shard::InPlace;
use crate::value::Deadline;
use crate::watch::WatchList;

/// What became of a transaction.
pub(crate) struct Committed {
    /// The newest Lsn that the transaction, reads included, reveals.
    pub(crate) lsn: Lsn,
    /// It came upon an entry whose deadline had passed.
    pub(crate) met_expired: bool,
    /// Entries to remove at most because the store now holds more than a limit allows; 0 if it does not.
    pub(crate) room_wanted: u64,
    /// Some of them are entries that were added beyond the limit, whose room the transaction owes.
    pub(crate) is_late: bool,
}

impl LockedTxn<'_> {
    /// Logs the changes as one group. The locks are given back when this is dropped, and other threads then see the changes.
    #[inline]
    pub(crate) fn commit(&mut self) -> Result<Committed> {
        if self.undo_log.changes.is_empty() {
            return self.commit_changes(0, None);
        }
        if self.refused_bytes > 0 {
            return Err(Error::TransactionTooLarge { len: self.refused_bytes, max: RECORDS_BYTES_MAX });
        }
        if let Some(dropped) = self.held.iter().find(|held| held.space.is_dropped()) {
            return Err(Error::KeyspaceDropped { name: dropped.space.name.to_string() });
        }
        // Before it takes its turn among the watched: whoever holds the room that it needs may be waiting for a turn.
        let evicted = if self.context.eviction.is_on() { self.take_room()? } else { 0 };
        if self.context.watches.is_empty() { self.commit_changes(evicted, None) } else { self.commit_watched(evicted) }
    }

    /// Commits while no other commit is between its place in the log and the queues of the watches.
    #[cold]
    fn commit_watched(&mut self, evicted: usize) -> Result<Committed> {
        let watches = self.context.watches.lock();
        self.commit_changes(evicted, Some(&watches))
    }

    /// Logs the changes, `evicted` entries that were removed for room among them, and notifies observers and `watches`.
    fn commit_changes(&mut self, evicted: usize, watches: Option<&WatchList>) -> Result<Committed> {
        let mut own = Lsn::ZERO;
        if !self.undo_log.changes.is_empty() {
            own = self.append()?;
            if evicted > 0 {
                // If the log had refused them, they would be put back.
                self.context.eviction.count_evicted(evicted);
            }
        }
        if !self.undo_log.logged.is_empty() {
            self.mark_logged();
        }
        let changes = self.undo_log.changes.len() as i64 + self.more_changes;
        if changes != 0
            && let Some(held) = self.held.first_mut()
        {
            held.guard.count_changes(changes.unsigned_abs());
        }
        self.committed = true;
        let mut revealed = own;
        if self.passed_ms.get() != 0 {
            revealed = revealed.max(self.context.mark_time(self.passed_ms.get(), self.now()));
        }
        for done in &self.undo_log.changes {
            self.held[done.held].guard.reveals(own);
            if let Undo::Swap { with, .. } = done.undo {
                self.held[with].guard.reveals(own);
            }
        }
        let mut sooner = self.has_swapped() && self.publish_swaps();
        self.tell(own, watches);
        for held in &mut self.held {
            revealed = revealed.max(held.guard.last());
            if let Some(tick) = held.guard.take_soonest_filed() {
                sooner |= held.space.note_due(tick);
            }
        }
        if sooner {
            self.context.sweeper.notify();
        }
        let is_exceeded = self.room_wanted > 0 && self.context.eviction.is_exceeded();
        let room_wanted = if is_exceeded { self.room_wanted } else { 0 };
        Ok(Committed { lsn: revealed, met_expired: self.passed_ms.get() != 0, room_wanted, is_late: self.is_late })
    }

    /// Marks the keys whose whole values the log now has.
    #[cold]
    fn mark_logged(&mut self) {
        for Logged { held, hash, key, snapshot } in self.undo_log.logged.drain(..) {
            self.held[held].guard.set_logged_in(hash, &key, snapshot);
        }
    }

    #[inline]
    fn append(&self) -> Result<Lsn> {
        let (Some(wal), records) = (&self.context.wal, &self.undo_log.records) else { return Ok(Lsn::ZERO) };
        match records.as_bytes() {
            Some(bytes) => wal.append(bytes),
            None => wal.append_shared(records),
        }
    }

    /// Notifies observers and `watches`.
    fn tell(&self, lsn: Lsn, watches: Option<&WatchList>) {
        if !self.context.is_observed() {
            return;
        }
        self.tell_of_the_dead(lsn, watches);
        if watches.is_none() && !self.context.is_anyone_interested() {
            return;
        }
        for (at, done) in self.undo_log.changes.iter().enumerate() {
            let key = match done.undo {
                Undo::Flush { first: false, .. } | Undo::Swap { first: false, .. } => continue,
                Undo::Swap { first: true, with } => {
                    self.tell_swap(at, [done.held, with], lsn, watches);
                    continue;
                }
                Undo::Flush { first: true, .. } => None,
                _ => Some(&self.undo_log.saved[done.key.clone()]),
            };
            let space = self.held[done.held].space;
            let (kind, origin) = (done.kind, self.origin);
            let change = Change { keyspace_id: space.id, keyspace: &space.name, key, kind, lsn, origin };
            self.context.tell_observers(&change);
            if let Some(watches) = watches {
                self.queue(watches, &change, (done.kind == ChangeKind::Set).then_some(done.held));
            }
        }
    }

    /// Queues a change for the watches; with the key's value after the transaction, if it has one in the shard `held`.
    #[cold]
    fn queue(&self, watches: &WatchList, change: &Change<'_>, held: Option<usize>) {
        let value = |held: usize, key: &[u8]| self.held[held].guard.find(self.context.hasher.hash(key), key);
        self.context.watches.push_to(watches, change, || value(held?, change.key?).map(Entry::value));
    }

    /// What a value was put over had expired, perhaps, and no sweep will find it now. It is told of first: it was gone
    /// before the transaction began.
    fn tell_of_the_dead(&self, lsn: Lsn, watches: Option<&WatchList>) {
        // Observers have it as evicted, whatever its deadline.
        for done in self.undo_log.changes.iter().filter(|done| done.kind != ChangeKind::Evict) {
            let deadline = match &done.undo {
                Undo::Put(Some(old)) => old.deadline(),
                Undo::InPlace(InPlace::Overwritten { old_deadline }, _) => *old_deadline,
                _ => continue,
            };
            if deadline.is_some_and(|deadline| deadline.has_passed(self.now())) {
                let (space, key) = (self.held[done.held].space, Some(&self.undo_log.saved[done.key.clone()]));
                let (kind, origin) = (ChangeKind::Expire, self.origin);
                let change = Change { keyspace_id: space.id, keyspace: &space.name, key, kind, lsn, origin };
                self.context.tell_observers(&change);
                if let Some(watches) = watches {
                    self.queue(watches, &change, None);
                }
                self.context.count_expired(1);
            }
        }
    }

    /// `firsts` are the first shards of two keyspaces, exchanged by the change `at` and those of the other shards that
    /// follow it.
    fn tell_swap(&self, at: usize, firsts: [usize; 2], lsn: Lsn, watches: Option<&WatchList>) {
        let spaces = firsts.map(|first| self.held[first].space);
        let later = self.undo_log.changes.get(at + spaces[0].shard_count()..).unwrap_or_default();
        let holds = |key: &[u8]| {
            let hash = self.context.hasher.hash(key);
            let shard = spaces[0].shard_of(hash);
            firsts.iter().any(|first| self.held_before(later, first + shard, hash, key))
        };
        let keyspaces = spaces.map(|space| (space.id, &*space.name));
        if let Some(watches) = watches {
            for (keyspace_id, keyspace) in keyspaces {
                let (kind, origin) = (ChangeKind::Swap, self.origin);
                let change = Change { keyspace_id, keyspace, key: None, kind, lsn, origin };
                self.queue(watches, &change, None);
            }
        }
        self.context.tell_swap(&Swap { keyspaces, lsn, origin: self.origin, holds: &holds });
    }

    /// Whether a shard held a key that had not expired before the changes `later`, the last of this transaction.
    fn held_before(&self, later: &[UndoRecord], mut shard: usize, hash: u64, key: &[u8]) -> bool {
        let is_live = |deadline: Option<Deadline>| deadline.is_none_or(|deadline| !deadline.has_passed(self.now()));
        let is_live_entry = |entry: &Entry| is_live(entry.deadline());
        for done in later {
            match &done.undo {
                Undo::Swap { with, .. } if done.held == shard => shard = *with,
                Undo::Swap { with, .. } if *with == shard => shard = done.held,
                Undo::Swap { .. } => {}
                _ if done.held != shard => {}
                Undo::Flush { emptied, .. } => return emptied.find(hash, key).is_some_and(is_live_entry),
                _ if self.undo_log.saved[done.key.clone()] != *key => {}
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
}
