//! Room: what a transaction adds is counted, and paid for, when it commits. Invariant: no shard is waited for, what is done is
//! one bounded step, and no transaction takes the number of entries beyond the limit, but for what is left to do after that step:
//! it is done when the locks have been given back, before the transaction returns.
//!
//! Keys that the transaction named stay while anything else may go. If all of that is locked by others, the transaction removes
//! keys that it has changed itself, as its last changes: two transactions that each hold what the other would remove must both
//! go on. Of keyspaces that it claimed whole, those that it has not changed go first.

use std::collections::{BinaryHeap, HashSet};

use smallvec::SmallVec;

use super::undo::Undo;
use super::{Held, LockScope, LockedTxn};
use crate::error::Result;
use crate::log::record::Record;
use crate::observer::ChangeKind;
use crate::sync::thread;
use crate::table::entry::Entry;
use crate::table::eviction::{HASH_COST, LockedShards, REMOVAL_COST, SHARD_COST, Step};
use crate::table::limits::{Limits, Policy};
use crate::table::shard::{Growth, Shard};
use crate::txn::evict::{ROOM_STEP, Removal};

/// How often room is looked for that other transactions are in the way of, before the transaction's own entries go.
const YIELDS_MAX: usize = 64;
/// What such a pause counts as.
const YIELD_COST: u64 = 256;
/// For so many shards that are held one bucket is counted each time that all of them are added up.
const SHARDS_ADDED_UP: usize = 4;
/// How often nothing is found before that is believed.
const EXHAUSTED_MAX: usize = 16;
/// Entries of keyspaces that are claimed whole that are looked at, at least, for some that go.
const OWN_SAMPLE: usize = 1_024;
/// Buckets of a shard that are looked at side by side for that.
const OWN_RUN_BUCKETS: usize = 256;
/// So many of a transaction's own entries go at once, before it is seen whether others can go now.
const OWN_AT_ONCE: usize = 128;
/// The same of those that it has changed.
const CHANGED_AT_ONCE: usize = 8;
/// What a change counts as that is looked up again.
const CHANGE_COST: u64 = 24;
/// The same of one that is only hashed, and sorted.
const SORTED_COST: u64 = 8;
/// The smallest entry: for so many bytes that are added one entry is removed, at most.
const ENTRY_BYTES: u64 = 16;

/// The shards that a transaction holds, and what it named.
struct Own<'l, 'a> {
    step: &'l Step<'a>,
    held: &'l mut SmallVec<[Held<'a>; 1]>,
    scope: LockScope<'a>,
    /// Entries that are new: they count in no total yet.
    added: i64,
    /// Entries removed from other shards, below zero: they count in the total until the transaction's own do.
    freed: i64,
}

impl Own<'_, '_> {
    fn at(&self, space_id: u32, shard: usize) -> Option<usize> {
        self.held.binary_search_by_key(&(space_id, shard), |held| (held.space.id, held.shard)).ok()
    }
}

impl LockedShards for Own<'_, '_> {
    fn shard(&self, space_id: u32, shard: usize) -> Option<&Shard> {
        self.at(space_id, shard).map(|at| &*self.held[at].guard)
    }

    fn shard_mut(&mut self, space_id: u32, shard: usize) -> Option<&mut Shard> {
        self.at(space_id, shard).map(|at| &mut *self.held[at].guard)
    }

    fn spares(&self, space_id: u32, hash: u64) -> bool {
        match self.scope {
            LockScope::Key(named) => named == hash && self.held.first().is_some_and(|held| held.space.id == space_id),
            LockScope::Set(set) => set.has(space_id, hash),
        }
    }

    fn spares_all(&self, space_id: u32) -> bool {
        self.scope.is_whole(space_id)
    }

    fn spared_max(&self) -> u64 {
        let named = match self.scope {
            LockScope::Key(_) => 1,
            LockScope::Set(set) => set.keys_max(),
        };
        if named == u64::MAX { named } else { named.saturating_add_signed(-self.added) }
    }

    fn may_wait(&self) -> bool {
        false
    }

    fn step(&self) -> &Step<'_> {
        self.step
    }

    fn keep_freed(&mut self, growth: Growth) -> Growth {
        self.freed += growth.entries;
        Growth { entries: 0, ..growth }
    }
}

impl LockedTxn<'_> {
    fn growth(&self) -> Growth {
        let add = |sum: Growth, held: &Held<'_>| {
            let growth = held.guard.growth();
            Growth { entries: sum.entries + growth.entries, bytes: sum.bytes + growth.bytes }
        };
        self.held.iter().fold(Growth::default(), add)
    }

    /// Counts the changes in the store's totals, and removes an entry for each that the store may not hold more. Returns
    /// how many of the transaction's own entries that are; an error if that is not possible.
    pub(super) fn take_room(&mut self) -> Result<usize> {
        let eviction = &self.context.eviction;
        self.held.iter_mut().for_each(|held| held.guard.free_if_empty());
        let Growth { entries, bytes } = self.growth();
        let wanted = |count: i64| u64::try_from(count).unwrap_or(0);
        let (mut freed, mut own) = (0, 0);
        if let Err(error) = self.pay(&mut freed, &mut own) {
            eviction.give_back(freed);
            return Err(error);
        }
        for held in &mut self.held {
            held.guard.publish();
        }
        self.room_wanted = ROOM_STEP + wanted(bytes) / ENTRY_BYTES + wanted(entries);
        Ok(own)
    }

    /// Removes entries until the changes may count: `freed` of other shards, below zero, and `own` of its own. What is more
    /// than one step is left for later.
    fn pay(&mut self, freed: &mut i64, own: &mut usize) -> Result<()> {
        let eviction = &self.context.eviction;
        let step = Step::of_transaction(&eviction.step_max);
        let is_whole = self.scope.has_whole();
        // `is_known`: all there is has been looked at, and of that nothing could be removed.
        let (mut yields, mut is_busy, mut is_known) = (0, false, false);
        loop {
            let mut growth = self.growth();
            let added = growth.entries;
            growth.entries += *freed;
            if eviction.admit(growth, self.is_exhausted, self.is_late)? {
                return Ok(());
            }
            let removal = if step.takes((self.held.len() / SHARDS_ADDED_UP) as u64) {
                let mut shards = Own { held: &mut self.held, scope: self.scope, added, freed: *freed, step: &step };
                let removal = self.context.evict_one(&mut shards);
                *freed = shards.freed;
                removal?
            } else {
                Removal::Unfinished { is_busy: false }
            };
            match removal {
                Removal::Done(entry) => {
                    self.undo_log.evicted.push(entry);
                    self.undo_log.has_removed = true;
                    (yields, is_busy, is_known) = (0, false, false);
                    continue;
                }
                Removal::Busy => (is_busy, is_known) = (true, false),
                Removal::Spared | Removal::Exhausted => (is_busy, is_known) = (false, true),
                Removal::Unfinished { is_busy: some } => is_busy |= some,
            }
            // Entries come and go while they are looked for.
            let yields_max = match is_busy {
                true => YIELDS_MAX,
                false if is_known && !is_whole && eviction.removes() => EXHAUSTED_MAX,
                false => 0,
            };
            if yields < yields_max && !matches!(removal, Removal::Unfinished { .. }) && step.takes(YIELD_COST) {
                yields += 1;
                thread::yield_now();
                continue;
            }
            let at_once = if is_whole { OWN_AT_ONCE } else { CHANGED_AT_ONCE };
            let evicted = match is_whole || is_busy {
                true => self.evict_own(eviction.surplus(growth.entries).clamp(1, at_once), &step),
                false if is_known => Some(0),
                false => None,
            };
            match evicted {
                Some(0) if is_known && !is_busy => return Err(eviction.entry_limit()),
                // What another has added late could not be removed either: it must not become more.
                Some(0) if is_busy && eviction.has_surplus() => return Err(eviction.entry_limit()),
                // Nothing could be removed without any lock.
                None | Some(0) if self.is_exhausted => return Err(eviction.entry_limit()),
                None | Some(0) => self.is_late = true,
                Some(evicted) => *own += evicted,
            }
        }
    }

    /// Removes entries of the transaction's own shards as its last change, `count` at most: of keyspaces that it claimed whole,
    /// those that it has not changed; if there are none, what it has. Returns how many; `None` if the step is at its end
    /// before any is found.
    fn evict_own(&mut self, count: usize, step: &Step<'_>) -> Option<usize> {
        let limits = self.context.eviction.limits();
        if limits.policy == Policy::None {
            return Some(0);
        }
        let mut victims = if self.scope.has_whole() { self.unchanged(count, &limits, step)? } else { Vec::new() };
        if victims.is_empty() {
            victims = self.changed(count, &limits, step)?;
        }
        let mut evicted = 0;
        for (at, key) in victims {
            if !step.takes(REMOVAL_COST) {
                return (evicted > 0).then_some(evicted);
            }
            let (space, hash) = (self.held[at].space, self.context.hasher.hash(&key));
            let Some(entry) = self.held[at].guard.take(&self.context.hasher, hash, &key) else { continue };
            let keyspace = self.log_id_of(space);
            self.log(&Record::Delete { keyspace, key: &key });
            self.note(at, hash, &key, ChangeKind::Evict, Undo::Put(Some(entry)));
            // No change of the program's.
            self.more_changes -= 1;
            evicted += 1;
        }
        Some(evicted)
    }

    fn may_evict(held: &Held<'_>, entry: &Entry, limits: &Limits) -> bool {
        limits.may_evict_from(&held.space.name) && (!limits.needs_deadline() || entry.deadline().is_some())
    }

    /// Returns entries that the transaction has changed and that may go, in the order of the changes; `None` if the step is at
    /// its end before any is found.
    fn changed(&self, count: usize, limits: &Limits, step: &Step<'_>) -> Option<Vec<(usize, Vec<u8>)>> {
        let (mut found, mut seen) = (Vec::new(), HashSet::new());
        for done in &self.undo_log.changes {
            if found.len() == count {
                break;
            }
            if !step.takes(CHANGE_COST) {
                return (!found.is_empty()).then_some(found);
            }
            let (held, key) = (&self.held[done.held], &self.undo_log.saved[done.key.clone()]);
            let may_go = |entry: &Entry| Self::may_evict(held, entry, limits);
            if held.guard.find(done.hash, key).is_some_and(may_go) && seen.insert((done.held, key)) {
                found.push((done.held, key.to_vec()));
            }
        }
        Some(found)
    }

    /// Returns entries that the policy lets go first, of a sample of those that the transaction has not changed, in the
    /// keyspaces that it claimed whole; `None` if the step is at its end before any is found.
    fn unchanged(&self, count: usize, limits: &Limits, step: &Step<'_>) -> Option<Vec<(usize, Vec<u8>)>> {
        if !step.takes((self.undo_log.changes.len() + self.held.len()) as u64 * SORTED_COST) {
            return None;
        }
        let mut changed: Vec<u64> = self.undo_log.changes.iter().map(|done| done.hash).collect();
        changed.sort_unstable();
        let ranking = self.context.ranking(limits);
        let may_look = |held: &Held<'_>| {
            self.scope.is_whole(held.space.id)
                && limits.may_evict_from(&held.space.name)
                && held.guard.has_candidates(&ranking)
        };
        let first = fastrand::usize(..self.held.len().max(1));
        let mut shards: Vec<usize> = (first..self.held.len()).chain(0..first).collect();
        shards.retain(|at| may_look(&self.held[*at]));
        let mut best = BinaryHeap::new();
        let (mut from, mut looked, mut is_cut) = (0, 0, false);
        'all: while !shards.is_empty() {
            for &at in &shards {
                let shard = &self.held[at].guard;
                let run = OWN_RUN_BUCKETS.min(shard.buckets().saturating_sub(from));
                is_cut = !step.takes(SHARD_COST + run as u64 + shard.cost_of_deadlines(run, &ranking));
                if is_cut {
                    break 'all;
                }
                looked += shard.find_candidates(from, run, &ranking, &mut |candidate| {
                    let Some(entry) = shard.in_bucket(candidate.bucket) else { return };
                    let place = (candidate.rank, at, candidate.bucket);
                    if best.len() == count && best.peek().is_some_and(|last| *last <= place) {
                        return;
                    }
                    is_cut |= !step.takes(HASH_COST);
                    if !is_cut && changed.binary_search(&self.context.hasher.hash(entry.key())).is_err() {
                        best.push(place);
                        if best.len() > count {
                            best.pop();
                        }
                    }
                });
                if is_cut {
                    break 'all;
                }
                if looked >= OWN_SAMPLE && best.len() >= count {
                    break 'all;
                }
            }
            from += OWN_RUN_BUCKETS;
            shards.retain(|at| self.held[*at].guard.buckets() > from);
        }
        if is_cut && best.is_empty() {
            return None;
        }
        let key = |at: usize, bucket: usize| Some((at, self.held[at].guard.in_bucket(bucket)?.key().to_vec()));
        Some(best.into_iter().filter_map(|(_, at, bucket)| key(at, bucket)).collect())
    }

    /// Counts what is left when the changes have been undone.
    pub(super) fn publish(&mut self) {
        for held in &mut self.held {
            self.context.eviction.publish(&mut held.guard);
        }
    }
}
