//! Room: what a transaction adds is counted, and paid for, when it commits. Invariant: no shard is waited for, and no
//! transaction takes the number of entries beyond the limit.
//!
//! Keys that the transaction named stay while anything else may go. If all of that is locked by others, the transaction removes
//! keys that it has changed itself, as its last changes: two transactions that each hold what the other would remove must both
//! go on. Of keyspaces that it claimed whole, those that it has not changed go first.

use std::collections::{BinaryHeap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use smallvec::SmallVec;

use super::notes::Undo;
use super::{Claims, Held, Locked, Named};
use crate::entry::Entry;
use crate::error::Result;
use crate::eviction::{Limits, LockedShards, Policy, ROOM_STEP, Removal};
use crate::observer::ChangeKind;
use crate::record::Record;
use crate::shard::{Growth, Shard};
use crate::sync::thread;

/// How often room is looked for that other transactions are in the way of, before the transaction's own entries go.
const YIELDS_MAX: usize = 64;
/// How often it is waited for if they may not.
const WAITS_MAX: usize = 50;
const WAIT: Duration = Duration::from_micros(200);
/// Entries come and go while they are looked for: so often nothing is found before that is believed.
const EXHAUSTED_MAX: usize = 16;
/// Entries of keyspaces that are claimed whole that are looked at, at least, for some that go.
const OWN_SAMPLE: usize = 4_096;
/// The smallest entry: for so many bytes that are added one entry is removed, at most.
const ENTRY_BYTES: u64 = 16;

/// Waits for another thread to let go.
fn pause(wait: Duration) {
    // A model decides itself who goes on.
    if cfg!(shuttle) { thread::yield_now() } else { std::thread::sleep(wait) }
}

/// The shards that a transaction holds, and what it named.
struct Own<'l, 'a> {
    held: &'l mut SmallVec<[Held<'a>; 1]>,
    claims: Claims<'a>,
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

impl Claims<'_> {
    fn any_whole(&self) -> bool {
        matches!(self, Claims::Many(claims) if claims.iter().any(|claim| claim.hashes.is_none()))
    }

    fn is_whole(&self, space_id: u32) -> bool {
        let is_it = |claim: &Named<'_>| claim.hashes.is_none() && claim.space.id == space_id;
        matches!(self, Claims::Many(claims) if claims.iter().any(is_it))
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
        match self.claims {
            Claims::Key(named) => named == hash && self.held.first().is_some_and(|held| held.space.id == space_id),
            Claims::Many(claims) => claims
                .iter()
                .filter(|claim| claim.space.id == space_id)
                .any(|claim| claim.hashes.as_ref().is_none_or(|hashes| hashes.binary_search(&hash).is_ok())),
        }
    }

    fn spared_max(&self) -> u64 {
        let named = match self.claims {
            Claims::Key(_) => 1,
            Claims::Many(claims) => {
                let count = |claim: &Named<'_>| claim.hashes.as_ref().map_or(u64::MAX, |hashes| hashes.len() as u64);
                claims.iter().map(count).fold(0, u64::saturating_add)
            }
        };
        if named == u64::MAX { named } else { named.saturating_add_signed(-self.added) }
    }

    fn may_wait(&self) -> bool {
        false
    }

    fn keep_freed(&mut self, growth: Growth) -> Growth {
        self.freed += growth.entries;
        Growth { entries: 0, ..growth }
    }
}

impl Locked<'_> {
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
        let eviction = &self.base.eviction;
        self.held.iter_mut().for_each(|held| held.guard.free_if_empty());
        let bytes = u64::try_from(self.growth().bytes).unwrap_or(0);
        let (mut freed, mut own) = (0, 0);
        if let Err(error) = self.pay(&mut freed, &mut own) {
            eviction.give_back(freed);
            return Err(error);
        }
        for held in &mut self.held {
            held.guard.publish();
        }
        self.room_wanted = ROOM_STEP + bytes / ENTRY_BYTES;
        Ok(own)
    }

    /// Removes entries until the changes may count: `freed` of other shards, below zero, and `own` of its own.
    fn pay(&mut self, freed: &mut i64, own: &mut usize) -> Result<()> {
        let eviction = &self.base.eviction;
        let is_whole = self.claims.any_whole();
        let (mut yields, mut waits) = (0, 0);
        loop {
            let mut growth = self.growth();
            let added = growth.entries;
            growth.entries += *freed;
            if eviction.admit(growth, self.is_exhausted)? {
                return Ok(());
            }
            let mut shards = Own { held: &mut self.held, claims: self.claims, added, freed: *freed };
            let removal = eviction.remove_one(self.base, &mut shards);
            *freed = shards.freed;
            match removal? {
                Removal::Done(entry) => {
                    self.notes.evicted.push(entry);
                    yields = 0;
                }
                Removal::Busy if yields < YIELDS_MAX => {
                    yields += 1;
                    thread::yield_now();
                }
                Removal::Spared | Removal::Exhausted if !is_whole && yields < EXHAUSTED_MAX && eviction.removes() => {
                    yields += 1;
                    thread::yield_now();
                }
                Removal::Spared | Removal::Exhausted if !is_whole => return Err(eviction.entry_limit()),
                blocked => {
                    let evicted = self.evict_own(eviction.surplus(growth.entries).max(1));
                    *own += evicted;
                    if evicted > 0 {
                        continue;
                    }
                    if !matches!(blocked, Removal::Busy) || waits == WAITS_MAX {
                        return Err(eviction.entry_limit());
                    }
                    waits += 1;
                    pause(WAIT);
                }
            }
        }
    }

    /// Removes entries of the transaction's own shards as its last change, `count` at most: of keyspaces that it claimed whole,
    /// those that it has not changed; if there are none, what it has. Returns how many.
    fn evict_own(&mut self, count: usize) -> usize {
        let limits = self.base.eviction.limits();
        if limits.policy == Policy::None {
            return 0;
        }
        let mut victims = if self.claims.any_whole() { self.unchanged(count, &limits) } else { Vec::new() };
        if victims.is_empty() {
            victims = self.changed(count, &limits);
        }
        let mut evicted = 0;
        for (at, key) in victims {
            let (space, hash) = (self.held[at].space, self.base.hasher.hash(&key));
            let Some(entry) = self.held[at].guard.take(&self.base.hasher, hash, &key) else { continue };
            let keyspace = self.log_id_of(space);
            self.log(&Record::Delete { keyspace, key: &key });
            self.note(at, hash, &key, ChangeKind::Evict, Undo::Put(Some(entry)));
            // No change of the program's.
            self.more_changes -= 1;
            evicted += 1;
        }
        evicted
    }

    fn may_evict(held: &Held<'_>, entry: &Entry, limits: &Limits) -> bool {
        limits.may_evict_from(&held.space.name) && (!limits.needs_deadline() || entry.deadline().is_some())
    }

    /// Entries that the transaction has changed and that may go, in the order of the changes.
    fn changed(&self, count: usize, limits: &Limits) -> Vec<(usize, Vec<u8>)> {
        let (mut found, mut seen) = (Vec::new(), HashSet::new());
        for done in &self.notes.changes {
            let (held, key) = (&self.held[done.held], &self.notes.saved[done.key.clone()]);
            let may_go = |entry: &Entry| Self::may_evict(held, entry, limits);
            if found.len() < count
                && held.guard.find(done.hash, key).is_some_and(may_go)
                && seen.insert((done.held, key))
            {
                found.push((done.held, key.to_vec()));
            }
        }
        found
    }

    /// Entries that the policy lets go first, of a sample of those that the transaction has not changed, in the keyspaces that
    /// it claimed whole.
    fn unchanged(&self, count: usize, limits: &Limits) -> Vec<(usize, Vec<u8>)> {
        let mut changed: Vec<u64> = self.notes.changes.iter().map(|done| done.hash).collect();
        changed.sort_unstable();
        let ranking = self.base.eviction.ranking(limits, self.base);
        let mut best = BinaryHeap::new();
        let first = RandomState::new().hash_one(0) as usize % self.held.len().max(1);
        let (mut looked, mut found) = (0, 0);
        for at in (first..self.held.len()).chain(0..first) {
            let held = &self.held[at];
            if !self.claims.is_whole(held.space.id) || !limits.may_evict_from(&held.space.name) {
                continue;
            }
            looked += held.guard.find_candidates(0, held.guard.buckets(), &ranking, &mut |candidate| {
                let Some(entry) = held.guard.in_bucket(candidate.bucket) else { return };
                if changed.binary_search(&self.base.hasher.hash(entry.key())).is_err() {
                    found += 1;
                    best.push((candidate.rank, at, candidate.bucket));
                    if best.len() > count {
                        best.pop();
                    }
                }
            });
            if looked >= OWN_SAMPLE && found >= count {
                break;
            }
        }
        let key = |at: usize, bucket: usize| Some((at, self.held[at].guard.in_bucket(bucket)?.key().to_vec()));
        best.into_iter().filter_map(|(_, at, bucket)| key(at, bucket)).collect()
    }

    /// Counts what is left when the changes have been undone.
    pub(super) fn publish(&mut self) {
        for held in &mut self.held {
            self.base.eviction.publish(&mut held.guard);
        }
    }
}
