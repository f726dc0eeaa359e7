//! Victims: the choice of the entry that is removed next, and its removal. Invariant: an entry is removed only as it was when it
//! was found, and no shard is waited for while another one is locked.
//!
//! Candidates come from runs of neighbouring buckets at random places, of which the best are kept in a [`Pool`]; up to
//! [`EXACT_ENTRIES_MAX`] entries all of them are looked at instead.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use smallvec::SmallVec;

use super::pool::{Candidate, Found, Pool};
use super::{Eviction, Limits, Policy};
use crate::base::Base;
use crate::entry::Entry;
use crate::error::Result;
use crate::hash::KeyHash;
use crate::lsn::Lsn;
use crate::observer::{Change, ChangeKind};
use crate::record::Record;
use crate::shard::{Growth, Shard};
use crate::space::Space;
use crate::sync::atomic::Ordering::Relaxed;
use crate::sync::{RwLockWriteGuard, thread};
use crate::uses::Moment;

/// Up to so many entries all of them are looked at, so that the order is exact.
const EXACT_ENTRIES_MAX: u64 = 1_000;
/// Of a look at all entries, so many candidates are kept by policies under which another entry may come to be the first to go
/// before these are removed.
const EXACT_KEPT: usize = 8;
/// Buckets that are looked at side by side: the stamps of so many lie in a few cache lines.
const RUN_BUCKETS: usize = 64;
/// The same where each entry's deadline must be looked at, which lies apart.
const RUN_BUCKETS_APART: usize = 16;
/// Entries that one removal looks at, at least; and runs, at most.
const SAMPLE_ENTRIES: usize = 32;
const SAMPLE_ENTRIES_APART: usize = 12;
const RUNS_MAX: usize = 8;
/// Buckets that are looked at while a shard is locked, where all of them are.
const WALK_BUCKETS: usize = 2_048;
/// Candidates that one removal tries.
const TRIES_MAX: usize = 256;
/// Entries that S3-FIFO lets stay, because they were accessed, before it takes the next whatever it is.
const REQUEUED_MAX: usize = 32;
/// Removals after which it is counted anew where most of the entries are.
const COUNTED_FOR: u32 = 1_024;
/// Removals after which the access statistics get the time, in a program that does not call `note_time`.
const TIME_EVERY: u64 = 256;
/// How often the shard of a candidate is tried before the next candidate is.
const WRITE_TRIES_MAX: usize = 64;
/// How often one removal looks at all entries again, without the shards that others have locked.
const BUSY_LOOKS_MAX: usize = 4;
/// One in so many entries is in the small queue of S3-FIFO.
const SMALL_QUEUE_PART: u64 = 10;

/// By what entries are compared.
pub(crate) struct Ranking {
    pub(crate) policy: Policy,
    pub(crate) needs_deadline: bool,
    /// The newest number of the access sequence.
    pub(crate) newest: u64,
    /// The length of S3-FIFO's small queue.
    pub(crate) small_queue: u64,
    pub(crate) now: Moment,
}

/// What a caller has locked, and what it does not want to be removed.
pub(crate) trait LockedShards {
    fn shard(&self, space_id: u32, shard: usize) -> Option<&Shard>;
    fn shard_mut(&mut self, space_id: u32, shard: usize) -> Option<&mut Shard>;
    /// Whether the entry with this hash must stay.
    fn spares(&self, space_id: u32, hash: u64) -> bool;
    /// How many of the entries that count in the store's totals must stay, at most.
    fn spared_max(&self) -> u64;
    /// Whether other shards may be waited for: nothing is locked.
    fn may_wait(&self) -> bool;
    /// Keeps what a removal from another shard has freed for the caller's own entries; returns what is free for all.
    fn keep_freed(&mut self, growth: Growth) -> Growth;
}

/// No shard is locked; these entries, by keyspace and hash, stay. They are sorted.
pub(crate) struct Unlocked<'a>(pub(crate) &'a [(u32, u64)]);

impl LockedShards for Unlocked<'_> {
    fn shard(&self, _: u32, _: usize) -> Option<&Shard> {
        None
    }

    fn shard_mut(&mut self, _: u32, _: usize) -> Option<&mut Shard> {
        None
    }

    fn spares(&self, space_id: u32, hash: u64) -> bool {
        self.0.binary_search(&(space_id, hash)).is_ok()
    }

    fn spared_max(&self) -> u64 {
        self.0.len() as u64
    }

    fn may_wait(&self) -> bool {
        true
    }

    fn keep_freed(&mut self, growth: Growth) -> Growth {
        growth
    }
}

/// What one removal came to.
pub(crate) enum Removal {
    /// The entry, for the caller to drop when it holds no lock.
    Done(Entry),
    /// Whatever could be removed is locked by others now.
    Busy,
    /// Only what the caller wants to keep could be removed.
    Spared,
    /// There is nothing that may be removed.
    Exhausted,
}

/// What became of one candidate.
enum Tried {
    Removed(Entry),
    /// It was changed since it was found.
    Stale,
    /// Entries of its shard have changed places since, and it may be any of them.
    Lost,
    /// It stays, by the policy.
    Requeued,
    /// It stays, by the caller's wish.
    Spared,
    Busy,
}

impl Eviction {
    pub(crate) fn ranking(&self, limits: &Limits, base: &Base) -> Ranking {
        if limits.policy == Policy::S3Fifo {
            self.sequence.ghosts.set_entries(self.entries());
        }
        Ranking {
            policy: limits.policy,
            needs_deadline: limits.needs_deadline(),
            newest: self.sequence.newest(),
            small_queue: (self.entries() / SMALL_QUEUE_PART).max(1),
            now: base.moment(),
        }
    }

    /// Removes the entry that the policy lets go first.
    pub(crate) fn remove_one(&self, base: &Base, locked: &mut dyn LockedShards) -> Result<Removal> {
        let (mut is_busy, mut is_spared, mut requeued, mut looks, mut progress) = (false, false, 0, 0, true);
        // What may go another time.
        let mut aside: SmallVec<[Candidate; 4]> = SmallVec::new();
        // Shards that others had locked.
        let mut busy: SmallVec<[(u32, usize); 4]> = SmallVec::new();
        let mut first_busy = None;
        let mut removal = None;
        for _ in 0..TRIES_MAX {
            let mut state = self.pool.lock();
            let (limits, pool) = &mut *state;
            if limits.policy == Policy::None {
                return Ok(Removal::Exhausted);
            }
            let ranking = self.ranking(limits, base);
            let is_small = self.entries() <= EXACT_ENTRIES_MAX;
            if is_small != pool.is_exact {
                pool.clear();
            }
            if !is_small {
                is_busy |= sample(pool, &ranking, locked, is_spared.then_some(&base.hasher));
            } else if pool.is_empty() && (looks == 0 || progress) {
                is_busy |= look_at_all(pool, &ranking, locked, &base.hasher, &busy, &mut aside);
                is_spared |= !aside.is_empty();
                (looks, progress) = (looks + 1, false);
            }
            let Some(candidate) = pool.pop() else { break };
            let Some(space) = pool.space(candidate.space_id).cloned() else { continue };
            pool.removals += 1;
            let tell_time = pool.removals % TIME_EVERY == 0;
            // Shards may be waited for now.
            drop(state);
            if tell_time {
                base.note_time();
            }
            let may_requeue = requeued < REQUEUED_MAX;
            match self.try_candidate(base, &space, &candidate, &ranking, locked, may_requeue, false)? {
                Tried::Removed(entry) => {
                    removal = Some(Removal::Done(entry));
                    break;
                }
                Tried::Stale => progress = true,
                Tried::Lost => {
                    progress = true;
                    if is_small {
                        self.forget_candidates();
                    }
                }
                Tried::Requeued => (requeued, progress) = (requeued + 1, true),
                Tried::Spared => {
                    is_spared = true;
                    // Of a sample none is needed: those that the same transaction spares would be tried again for each entry
                    // that it removes.
                    if is_small {
                        aside.push(candidate);
                    }
                }
                Tried::Busy => {
                    is_busy = true;
                    progress |= looks < BUSY_LOOKS_MAX;
                    busy.push((candidate.space_id, candidate.shard));
                    aside.push(candidate);
                    first_busy.get_or_insert((space, candidate));
                }
            }
        }
        if removal.is_none()
            && locked.may_wait()
            && let Some((space, candidate)) = first_busy
        {
            let ranking = self.ranking(&self.limits(), base);
            let tried = self.try_candidate(base, &space, &candidate, &ranking, locked, false, true)?;
            if let Tried::Removed(entry) = tried {
                removal = Some(Removal::Done(entry));
            }
        }
        if !aside.is_empty() {
            let (_, pool) = &mut *self.pool.lock();
            aside.into_iter().for_each(|candidate| pool.offer(candidate));
        }
        if let Some(done) = removal {
            return Ok(done);
        }
        let limits = self.limits();
        let all_may_go = !limits.needs_deadline() && limits.keyspaces.is_none();
        Ok(match (is_busy, is_spared) {
            (true, _) => Removal::Busy,
            // What others removed here they are adding there.
            _ if all_may_go && self.entries() > locked.spared_max() => Removal::Busy,
            (_, true) => Removal::Spared,
            _ => Removal::Exhausted,
        })
    }

    /// Removes a candidate if it is what was found. `waits`: until its shard can be had.
    #[allow(clippy::too_many_arguments, reason = "which entry, where, and by what rule: all plain values")]
    fn try_candidate(
        &self,
        base: &Base,
        space: &Space,
        candidate: &Candidate,
        ranking: &Ranking,
        locked: &mut dyn LockedShards,
        may_requeue: bool,
        waits: bool,
    ) -> Result<Tried> {
        let Candidate { shard: at, found, .. } = candidate;
        let hash_of = |shard: &Shard| shard.found(found, ranking).map(|entry| base.hasher.hash(entry.key()));
        if let Some(shard) = locked.shard(space.id, *at) {
            if shard.has_moved(found) {
                return Ok(Tried::Lost);
            }
            let Some(hash) = hash_of(shard) else { return Ok(Tried::Stale) };
            if locked.spares(space.id, hash) {
                return Ok(Tried::Spared);
            }
            let Some(shard) = locked.shard_mut(space.id, *at) else { return Ok(Tried::Stale) };
            return self.remove(base, space, shard, found, hash, ranking, may_requeue);
        }
        let guard = match (waits, locked.may_wait()) {
            (true, _) => Some(space.write(*at)),
            (_, true) => write_soon(space, *at),
            _ => space.try_write(*at),
        };
        let Some(mut guard) = guard else { return Ok(Tried::Busy) };
        if guard.has_moved(found) {
            return Ok(Tried::Lost);
        }
        let Some(hash) = hash_of(&guard) else { return Ok(Tried::Stale) };
        if locked.spares(space.id, hash) {
            return Ok(Tried::Spared);
        }
        let tried = self.remove(base, space, &mut guard, found, hash, ranking, may_requeue)?;
        if self.is_on() {
            self.add(locked.keep_freed(guard.publish()));
        }
        Ok(tried)
    }

    #[allow(clippy::too_many_arguments, reason = "which entry, where, and by what rule: all plain values")]
    fn remove(
        &self,
        base: &Base,
        space: &Space,
        shard: &mut Shard,
        found: &Found,
        hash: u64,
        ranking: &Ranking,
        may_requeue: bool,
    ) -> Result<Tried> {
        let has_queues = ranking.policy == Policy::S3Fifo;
        if space.is_dropped() {
            return Ok(Tried::Stale);
        }
        if has_queues && may_requeue && shard.requeue(found) {
            return Ok(Tried::Requeued);
        }
        let Some(entry) = shard.found(found, ranking) else { return Ok(Tried::Stale) };
        let mut lsn = Lsn::ZERO;
        if let Some(wal) = &base.wal {
            let mut records = Vec::with_capacity(entry.key().len() + 16);
            Record::Delete { keyspace: space.log_id(), key: entry.key() }.encode(&mut records);
            lsn = wal.append(&records)?;
        }
        let Some(entry) = shard.take_at(&base.hasher, found.bucket, hash, has_queues) else { return Ok(Tried::Stale) };
        shard.reveals(lsn);
        self.evicted.fetch_add(1, Relaxed);
        let (keyspace_id, keyspace, key) = (space.id, &*space.name, Some(entry.key()));
        base.tell(&Change { keyspace_id, keyspace, key, kind: ChangeKind::Evict, lsn });
        Ok(Tried::Removed(entry))
    }
}

/// Locks a shard, unless another thread holds it for longer than most do.
fn write_soon(space: &Space, shard: usize) -> Option<RwLockWriteGuard<'_, Shard>> {
    for _ in 0..WRITE_TRIES_MAX {
        if let Some(guard) = space.try_write(shard) {
            return Some(guard);
        }
        thread::yield_now();
    }
    None
}

/// Shows a shard, if it can be had without waiting; returns whether it could not.
fn look(space: &Space, shard: usize, locked: &dyn LockedShards, show: &mut dyn FnMut(&Shard)) -> bool {
    match locked.shard(space.id, shard) {
        Some(shard) => show(shard),
        None => match space.try_read(shard) {
            Some(shard) => show(&shard),
            None => return true,
        },
    }
    false
}

/// Puts the first of all entries into the pool, and those among them that the caller spares `aside`: they must not take the
/// places of what may go. Passes over `busy` shards. Returns whether shards were locked by others.
fn look_at_all(
    pool: &mut Pool,
    ranking: &Ranking,
    locked: &dyn LockedShards,
    hasher: &KeyHash,
    busy: &[(u32, usize)],
    aside: &mut SmallVec<[Candidate; 4]>,
) -> bool {
    let spaces = std::mem::take(&mut pool.spaces);
    let mut is_busy = false;
    for space in &spaces {
        for shard in 0..space.shard_count() {
            if busy.contains(&(space.id, shard)) {
                is_busy = true;
                continue;
            }
            is_busy |= look(space, shard, locked, &mut |inside| {
                let offer = &mut |found: Found| {
                    let candidate = Candidate { space_id: space.id, shard, found };
                    if !pool.takes(&candidate) {
                        return;
                    }
                    match is_spared(inside, &candidate, locked, hasher) {
                        true => aside.push(candidate),
                        false => pool.offer(candidate),
                    }
                };
                inside.find_candidates(0, inside.buckets(), ranking, offer);
            });
        }
    }
    pool.spaces = spaces;
    pool.is_exact = true;
    // What was locked may hold the second. By frequency, or by deadline, what comes may be worth less than what was found;
    // what is accessed later is newer than all that was found, so the order of accesses stays.
    if is_busy {
        pool.keep(1);
    } else if !matches!(ranking.policy, Policy::Lru | Policy::Lrm) || ranking.needs_deadline {
        pool.keep(EXACT_KEPT);
    }
    // What is put back must not come before entries that were left out.
    if let Some(highest) = pool.highest_rank() {
        aside.retain(|candidate| candidate.found.rank <= highest);
    }
    is_busy
}

/// Whether the caller wants an entry of a shard to stay.
fn is_spared(inside: &Shard, candidate: &Candidate, locked: &dyn LockedShards, hasher: &KeyHash) -> bool {
    let spares = |entry: &Entry| locked.spares(candidate.space_id, hasher.hash(entry.key()));
    inside.in_bucket(candidate.found.bucket).is_some_and(spares)
}

/// Offers an entry that was found, unless the caller spares it, which is looked for with a `hasher` only.
fn offer(pool: &mut Pool, inside: &Shard, candidate: Candidate, locked: &dyn LockedShards, hasher: Option<&KeyHash>) {
    if hasher.is_none_or(|hasher| pool.takes(&candidate) && !is_spared(inside, &candidate, locked, hasher)) {
        pool.offer(candidate);
    }
}

/// Puts the best of a sample into the pool; where none is found, as where few entries have a deadline, the first that are
/// come upon. With a `hasher`, none that the caller spares: to look at the keys of all takes longer, and few transactions name
/// so many of a large store. Returns whether shards were locked by others.
fn sample(pool: &mut Pool, ranking: &Ranking, locked: &dyn LockedShards, hasher: Option<&KeyHash>) -> bool {
    let spaces = std::mem::take(&mut pool.spaces);
    let mut is_busy = false;
    if pool.counted_for == 0 {
        let mut sum = 0;
        let count = |space: &Arc<Space>| {
            for shard in 0..space.shard_count() {
                look(space, shard, locked, &mut |shard| sum += shard.buckets() as u64);
            }
            sum
        };
        pool.buckets = spaces.iter().map(count).collect();
        pool.counted_for = COUNTED_FOR;
    }
    pool.counted_for -= 1;
    let (run, wanted) = match ranking.needs_deadline {
        true => (RUN_BUCKETS_APART, SAMPLE_ENTRIES_APART),
        false => (RUN_BUCKETS, SAMPLE_ENTRIES),
    };
    let mut entries = 0;
    for _ in 0..RUNS_MAX {
        let Some((space, random)) = pick(&spaces, &pool.buckets) else { break };
        let shard = (random >> 40) as usize % space.shard_count();
        is_busy |= look(space, shard, locked, &mut |inside| {
            let offer =
                &mut |found| offer(pool, inside, Candidate { space_id: space.id, shard, found }, locked, hasher);
            if let Some(from) = (random as usize).checked_rem(inside.buckets()) {
                entries += inside.find_candidates(from, run, ranking, offer);
            }
        });
        if entries >= wanted {
            break;
        }
    }
    if pool.is_empty() {
        is_busy |= walk(pool, &spaces, ranking, locked, hasher);
    }
    pool.spaces = spaces;
    is_busy
}

/// Picks a keyspace, as likely as it is large, and returns what is left of the random number.
fn pick<'s>(spaces: &'s [Arc<Space>], buckets: &[u64]) -> Option<(&'s Arc<Space>, u64)> {
    let random = RandomState::new().hash_one(0);
    let at = match spaces {
        [_] => 0,
        _ => {
            let nth = RandomState::new().hash_one(1).checked_rem(*buckets.last()?)?;
            buckets.partition_point(|sum| *sum <= nth)
        }
    };
    Some((spaces.get(at)?, random))
}

/// Looks at one shard after the other, from a random one on, until anything is found.
fn walk(
    pool: &mut Pool,
    spaces: &[Arc<Space>],
    ranking: &Ranking,
    locked: &dyn LockedShards,
    hasher: Option<&KeyHash>,
) -> bool {
    let random = RandomState::new().hash_one(0) as usize;
    let mut is_busy = false;
    for nth in 0..spaces.len() {
        let space = &spaces[random.wrapping_add(nth) % spaces.len()];
        for shard in 0..space.shard_count() {
            let shard = random.wrapping_add(shard) % space.shard_count();
            let (mut from, mut buckets) = (0, 1);
            while from < buckets {
                is_busy |= look(space, shard, locked, &mut |inside| {
                    buckets = inside.buckets();
                    let count = WALK_BUCKETS.min(buckets.saturating_sub(from));
                    let offer = &mut |found| {
                        offer(pool, inside, Candidate { space_id: space.id, shard, found }, locked, hasher)
                    };
                    inside.find_candidates(from, count, ranking, offer);
                });
                from += WALK_BUCKETS;
            }
            if !pool.is_empty() {
                return is_busy;
            }
        }
    }
    is_busy
}
