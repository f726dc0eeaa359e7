//! Commit: the changes become one transaction of the log, and whoever observes the store is told. Invariant: all that an
//! observer is told lies at one Lsn, in the order in which it was done, before the locks are given back.

use super::Locked;
use super::notes::{Done, Logged, Undo};
use crate::entry::{Deadline, Entry, ValueRef};
use crate::error::{Error, Result};
use crate::frame::RECORDS_BYTES_MAX;
use crate::lsn::Lsn;
use crate::observer::{Change, ChangeKind, Swap};
use crate::shard::InPlace;
use crate::watch::InOrder;

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

impl Locked<'_> {
    /// Logs the changes as one group. The locks are given back when this is dropped, and other threads then see the changes.
    pub(crate) fn commit(&mut self) -> Result<Committed> {
        let mut own = Lsn::ZERO;
        let mut in_order = None;
        if !self.notes.changes.is_empty() {
            if self.refused_bytes > 0 {
                return Err(Error::TransactionTooLarge { len: self.refused_bytes, max: RECORDS_BYTES_MAX });
            }
            if self.held.iter().any(|held| held.space.is_dropped()) {
                let name = self.space.name.to_string();
                return Err(Error::KeyspaceDropped { name });
            }
            in_order = self.base.watches.begin();
            own = if self.base.eviction.is_on() { self.append_within_limits()? } else { self.append()? };
        }
        if !self.notes.logged.is_empty() {
            self.mark_logged();
        }
        let changes = self.notes.changes.len() as i64 + self.more_changes;
        if changes != 0
            && let Some(held) = self.held.first_mut()
        {
            held.guard.count_changes(changes.unsigned_abs());
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
        self.tell(own, in_order);
        for held in &mut self.held {
            revealed = revealed.max(held.guard.last());
            if let Some(tick) = held.guard.take_soonest_filed() {
                sooner |= held.space.note_due(tick);
            }
        }
        if sooner {
            self.base.sweeper.ring();
        }
        let is_exceeded = self.room_wanted > 0 && self.base.eviction.is_exceeded();
        let room_wanted = if is_exceeded { self.room_wanted } else { 0 };
        Ok(Committed { lsn: revealed, met_expired: self.passed_ms.get() != 0, room_wanted, is_late: self.is_late })
    }

    /// Marks the keys whose whole values the log now has.
    #[cold]
    fn mark_logged(&mut self) {
        for Logged { held, hash, key, snapshot } in self.notes.logged.drain(..) {
            self.held[held].guard.set_logged_in(hash, &key, snapshot);
        }
    }

    #[inline]
    fn append(&self) -> Result<Lsn> {
        let (Some(wal), records) = (&self.base.wal, &self.notes.records) else { return Ok(Lsn::ZERO) };
        match records.as_bytes() {
            Some(bytes) => wal.append(bytes),
            None => wal.append_shared(records),
        }
    }

    #[cold]
    fn append_within_limits(&mut self) -> Result<Lsn> {
        let evicted = self.take_room()?;
        let lsn = self.append()?;
        // If the log had refused them, they would be put back.
        self.base.eviction.count_evicted(evicted);
        Ok(lsn)
    }

    /// Notifies observers, and watches if the commit has passed their lock: otherwise they began after it.
    fn tell(&self, lsn: Lsn, in_order: Option<InOrder<'_>>) {
        if !self.base.is_observed() {
            return;
        }
        // `held` is where the key has a new value, if it has one.
        let tell = |change: &Change<'_>, held: Option<usize>| {
            self.base.tell_observers(change);
            if in_order.is_some() {
                self.base.watches.push(change, || self.new_value(held?, change.key?));
            }
        };
        self.tell_of_the_dead(lsn, &|change| tell(change, None));
        for (at, done) in self.notes.changes.iter().enumerate() {
            let key = match done.undo {
                Undo::Flush { first: false, .. } | Undo::Swap { first: false, .. } => continue,
                Undo::Swap { first: true, with } => {
                    self.tell_swap(at, [done.held, with], lsn, in_order.is_some());
                    continue;
                }
                Undo::Flush { first: true, .. } => None,
                _ => Some(&self.notes.saved[done.key.clone()]),
            };
            let space = self.held[done.held].space;
            let change = Change { keyspace_id: space.id, keyspace: &space.name, key, kind: done.kind, lsn };
            tell(&change, (done.kind == ChangeKind::Set).then_some(done.held));
        }
    }

    /// Returns the value that a key has after the transaction.
    fn new_value(&self, held: usize, key: &[u8]) -> Option<ValueRef<'_>> {
        self.held[held].guard.find(self.base.hasher.hash(key), key).map(Entry::value)
    }

    /// What a value was put over had expired, perhaps, and no sweep will find it now. It is told of first: it was gone
    /// before the transaction began.
    fn tell_of_the_dead(&self, lsn: Lsn, tell: &dyn Fn(&Change<'_>)) {
        // Observers have it as evicted, whatever its deadline.
        for done in self.notes.changes.iter().filter(|done| done.kind != ChangeKind::Evict) {
            let deadline = match &done.undo {
                Undo::Put(Some(old)) => old.deadline(),
                Undo::InPlace(InPlace::Overwritten { old_deadline }, _) => *old_deadline,
                _ => continue,
            };
            if deadline.is_some_and(|deadline| deadline.has_passed(self.now())) {
                let (space, key) = (self.held[done.held].space, Some(&self.notes.saved[done.key.clone()]));
                let kind = ChangeKind::Expire;
                tell(&Change { keyspace_id: space.id, keyspace: &space.name, key, kind, lsn });
                self.base.count_expired(1);
            }
        }
    }

    /// `firsts` are the first shards of two keyspaces, exchanged by the change `at` and those of the other shards that
    /// follow it.
    fn tell_swap(&self, at: usize, firsts: [usize; 2], lsn: Lsn, is_in_order: bool) {
        let spaces = firsts.map(|first| self.held[first].space);
        let later = self.notes.changes.get(at + spaces[0].shard_count()..).unwrap_or_default();
        let holds = |key: &[u8]| {
            let hash = self.base.hasher.hash(key);
            let shard = spaces[0].shard_of(hash);
            firsts.iter().any(|first| self.held_before(later, first + shard, hash, key))
        };
        let keyspaces = spaces.map(|space| (space.id, &*space.name));
        for (keyspace_id, keyspace) in keyspaces.into_iter().filter(|_| is_in_order) {
            let change = Change { keyspace_id, keyspace, key: None, kind: ChangeKind::Swap, lsn };
            self.base.watches.push(&change, || None);
        }
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
}
