//! Whole: what a transaction does with all of a keyspace: scans it, exchanges it for another. Invariant: only of a keyspace
//! that it claimed whole.

use super::undo::Undo;
use super::{LockScope, LockedTxn};
use crate::error::{Error, Result};
use crate::log::record::Record;
use crate::observer::ChangeKind;
use crate::table::keyspace::KeyspaceInner;
use crate::table::scan::{Cursor, Scan};
use crate::txn::traits::CrossTxn;
use crate::value::{Deadline, ValueRef};

impl LockedTxn<'_> {
    /// Whether keyspaces have exchanged what they hold. Then the registry must be locked before it is committed.
    pub(crate) fn has_swapped(&self) -> bool {
        !self.undo_log.moved.is_empty()
    }

    /// The number in the log of what a keyspace holds.
    pub(super) fn log_id_of(&self, space: &KeyspaceInner) -> u32 {
        let moved = self.undo_log.moved.iter().find(|(id, _)| *id == space.id);
        moved.map_or_else(|| space.log_id(), |(_, log_id)| *log_id)
    }

    fn set_log_id_of(&mut self, space: &KeyspaceInner, log_id: u32) {
        self.undo_log.moved.retain(|(id, _)| *id != space.id);
        self.undo_log.moved.push((space.id, log_id));
    }

    pub(super) fn swap_shards(&mut self, one: usize, other: usize) {
        let (low, high) = self.held.split_at_mut(one.max(other));
        if let (Some(low), Some(high)) = (low.get_mut(one.min(other)), high.first_mut()) {
            std::mem::swap(&mut *low.guard, &mut *high.guard);
        }
    }

    /// Lets everybody see which keyspace holds what.
    pub(super) fn publish_swaps(&mut self) -> bool {
        let mut sooner = false;
        for held in &self.held {
            if let Some((_, log_id)) = self.undo_log.moved.iter().find(|(id, _)| *id == held.space.id) {
                held.space.set_log_id(*log_id);
                // Filed where it was before.
                sooner |= held.guard.next_tick().is_some_and(|tick| held.space.note_due(tick));
            }
        }
        sooner
    }
}

impl Scan for LockedTxn<'_> {
    fn len(&self) -> u64 {
        self.held.iter().filter(|held| held.space.id == self.space.id).map(|held| held.guard.len() as u64).sum()
    }

    fn scan_step(&self, cursor: Cursor, at_least: usize, each: &mut dyn FnMut(&[u8], ValueRef<'_>)) -> Result<Cursor> {
        let whole = self.whole()?;
        Ok(crate::table::scan::step(cursor, at_least, whole.len(), &mut |shard, place, budget, shown| {
            self.held[whole.start + shard].guard.scan(place, budget, &mut |entry| {
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
        Ok(crate::table::scan::random(shards.len(), &self.space.widest, &mut |shard, pick| {
            shards[shard].guard.pick(pick, |entry| self.has_passed(entry.deadline()))
        }))
    }
}

impl CrossTxn for LockedTxn<'_> {
    fn select(&mut self, keyspace_id: u32) -> Result<()> {
        // A draft holds tables of its own, under the ids of the keyspaces.
        let held = self.held.iter().map(|held| held.space).find(|space| space.id == keyspace_id);
        let named = || match self.scope {
            LockScope::Key(_) => None,
            LockScope::Set(set) => set.space(keyspace_id),
        };
        self.space =
            held.or_else(named).ok_or_else(|| Error::KeyspaceNotNamed { name: format!("number {keyspace_id}") })?;
        self.log_id = self.log_id_of(self.space);
        // The same key hashes alike everywhere, but the shard is another keyspace's: nothing to forget.
        Ok(())
    }

    fn copy_from(&mut self, keyspace_id: u32, from: &[u8], to: &[u8], deadline: Option<Deadline>) -> Result<bool> {
        let here = self.space;
        self.select(keyspace_id)?;
        let found = self.source(from);
        let from_keyspace = self.log_id;
        self.select(here.id)?;
        let Some(value) = found? else { return Ok(false) };
        self.put_copy(&value, to, deadline, (from_keyspace, from))
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
        // What was noted of keys stands for where they were.
        self.undo_log.logged.clear();
        // One change, however many shards it is.
        self.more_changes += 1 - ours.len() as i64;
        for (one, other) in ours.clone().zip(theirs) {
            self.swap_shards(one, other);
            self.note(one, 0, &[], ChangeKind::Swap, Undo::Swap { with: other, first: one == ours.start });
        }
        for (space, log_id) in [(one, other_log_id), (other, one_log_id)] {
            self.log(&Record::Bind { keyspace: log_id, name: &space.name });
            self.set_log_id_of(space, log_id);
        }
        self.log_id = other_log_id;
        self.context.eviction.forget_candidates();
        Ok(())
    }

    fn as_scan(&self) -> &dyn Scan {
        self
    }
}
