//! Search: which entry is removed next. Invariant: no shard is waited for, and what is done while the same locks are held is a
//! bounded [`Step`].
//!
//! Candidates come from runs of neighbouring buckets at random places, of which the best are kept in a [`Pool`]; up to
//! [`EXACT_ENTRIES_MAX`] entries all of them are looked at instead. The pool is locked only while a few runs are looked at: those
//! who wait for it may have locked shards.

use std::sync::Arc;

use smallvec::SmallVec;

use super::pool::{Candidate, Pool};
use super::step::{HASH_COST, SEARCH_MAX, SHARD_COST, Step};
use crate::hash::KeyHash;
use crate::table::entry::Entry;
use crate::table::keyspace::KeyspaceInner;
use crate::table::limits::Policy;
use crate::table::shard::{Growth, Ranking, Shard};

/// Up to so many entries all of them are looked at, so that the order is exact.
pub(crate) const EXACT_ENTRIES_MAX: u64 = 1_000;
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
/// Buckets of a shard that are looked at side by side where all of them are, one after the other.
const SCAN_BUCKETS: usize = 512;
/// The same of a store of so few entries that all are looked at: such a table is no larger.
const EXACT_SCAN_BUCKETS: usize = 8_192;

/// What a caller has locked, and what it does not want to be removed.
pub(crate) trait LockedShards {
    fn shard(&self, space_id: u32, shard: usize) -> Option<&Shard>;
    fn shard_mut(&mut self, space_id: u32, shard: usize) -> Option<&mut Shard>;
    /// Whether the entry with this hash must stay.
    fn spares(&self, space_id: u32, hash: u64) -> bool;
    /// Whether all entries of a keyspace must stay.
    fn spares_all(&self, space_id: u32) -> bool;
    /// How many of the entries that count in the store's totals must stay, at most.
    fn spared_max(&self) -> u64;
    /// Whether other shards may be waited for: nothing is locked.
    fn may_wait(&self) -> bool;
    /// What is done with the locks that are held. If none is, it ends with each that is given back.
    fn step(&self) -> &Step<'_>;
    /// Keeps what a removal from another shard has freed for the caller's own entries; returns what is free for all.
    fn keep_freed(&mut self, growth: Growth) -> Growth;
}

/// No shard is locked; these entries, by keyspace and hash, stay. They are sorted.
pub(crate) struct Unlocked<'a> {
    pub(crate) spared: &'a [(u32, u64)],
    pub(crate) step: Step<'a>,
}

impl LockedShards for Unlocked<'_> {
    fn shard(&self, _: u32, _: usize) -> Option<&Shard> {
        None
    }

    fn shard_mut(&mut self, _: u32, _: usize) -> Option<&mut Shard> {
        None
    }

    fn spares(&self, space_id: u32, hash: u64) -> bool {
        self.spared.binary_search(&(space_id, hash)).is_ok()
    }

    fn spares_all(&self, _: u32) -> bool {
        false
    }

    fn spared_max(&self) -> u64 {
        self.spared.len() as u64
    }

    fn may_wait(&self) -> bool {
        true
    }

    fn step(&self) -> &Step<'_> {
        &self.step
    }

    fn keep_freed(&mut self, growth: Growth) -> Growth {
        growth
    }
}

/// The state of one removal's search.
#[derive(Default)]
pub(crate) struct Search {
    /// Shards were locked by others.
    pub(crate) is_busy: bool,
    /// There are entries that the caller wants to keep.
    pub(crate) is_spared: bool,
    /// All of some keyspace is to be kept, so that not all entries have been looked at.
    pub(crate) is_partial: bool,
    /// There was more to look at than the step allows.
    pub(crate) is_cut: bool,
    pub(crate) requeued: usize,
    /// Looks at all entries, and whether anything is different since the last.
    pub(crate) looks: usize,
    pub(crate) progress: bool,
    /// What may go another time.
    pub(crate) aside: SmallVec<[Candidate; 4]>,
    /// Shards that others had locked.
    pub(crate) busy: SmallVec<[(u32, usize); 4]>,
}

impl Search {
    pub(crate) fn new() -> Self {
        Search { progress: true, ..Search::default() }
    }

    /// Whether nothing of a keyspace may go.
    fn passes_over(&mut self, space: &KeyspaceInner, locked: &dyn LockedShards) -> bool {
        let passes = locked.spares_all(space.id);
        self.is_spared |= passes;
        self.is_partial |= passes;
        passes
    }
}

/// Shows a shard, if it can be had without waiting; returns whether it could not.
fn look(space: &KeyspaceInner, shard: usize, locked: &dyn LockedShards, show: &mut dyn FnMut(&Shard)) -> bool {
    match locked.shard(space.id, shard) {
        Some(shard) => show(shard),
        None => match space.try_read(shard) {
            Some(shard) => show(&shard),
            None => return true,
        },
    }
    false
}

/// What became of a look at buckets of a shard.
enum Looked {
    /// There are so many buckets, and so many entries in those that were looked at.
    At { buckets: usize, entries: usize },
    /// The shard is locked by others.
    Busy,
    /// The step does not allow it.
    Cut,
}

/// Offers the entries in `count` buckets of a shard from one on.
fn look_at_run(
    (space, shard): (&KeyspaceInner, usize),
    (from, count): (usize, usize),
    ranking: &Ranking,
    locked: &dyn LockedShards,
    offer: &mut dyn FnMut(&Shard, Candidate),
) -> Looked {
    let step = locked.step();
    if !step.searches(SHARD_COST) {
        return Looked::Cut;
    }
    let mut looked = Looked::Busy;
    look(space, shard, locked, &mut |inside| {
        let buckets = inside.buckets();
        let count = count.min(buckets);
        let cost = count as u64 + inside.cost_of_deadlines(count, ranking);
        looked = if !inside.has_candidates(ranking) {
            Looked::At { buckets, entries: 0 }
        } else if step.searches(cost) {
            let offer = &mut |found| offer(inside, Candidate { space_id: space.id, shard, found });
            let entries = inside.find_candidates(from % buckets, count, ranking, offer);
            Looked::At { buckets, entries }
        } else {
            Looked::Cut
        };
    });
    looked
}

/// Returns the first of all entries, and puts those among them that the caller spares aside: they must not take the places of
/// what may go. Passes over shards that were busy. `None` if the step ends before.
pub(crate) fn look_at_all(
    spaces: &[Arc<KeyspaceInner>],
    ranking: &Ranking,
    locked: &dyn LockedShards,
    hasher: &KeyHash,
    search: &mut Search,
) -> Option<Pool> {
    let mut pool = Pool::default();
    let mut is_busy = false;
    // Without locks, and with nothing to spare, every entry may go.
    let hashes = !locked.may_wait() || locked.spared_max() > 0;
    for space in spaces {
        if search.passes_over(space, locked) {
            continue;
        }
        for shard in 0..space.shard_count() {
            if search.busy.contains(&(space.id, shard)) {
                is_busy = true;
                continue;
            }
            let (mut from, mut end) = (0, 1);
            while from < end {
                let (aside, is_cut) = (&mut search.aside, &mut search.is_cut);
                let offer = &mut |inside: &Shard, candidate: Candidate| {
                    if !pool.takes(&candidate) {
                        return;
                    }
                    match if hashes { is_spared(inside, &candidate, locked, hasher) } else { Some(false) } {
                        Some(true) => aside.push(candidate),
                        Some(false) => pool.offer(candidate),
                        None => *is_cut = true,
                    }
                };
                let looked = look_at_run((space, shard), (from, EXACT_SCAN_BUCKETS), ranking, locked, offer);
                match looked {
                    _ if search.is_cut => return None,
                    Looked::At { buckets, .. } => end = buckets,
                    Looked::Busy => (is_busy, end) = (true, 0),
                    Looked::Cut => {
                        search.is_cut = true;
                        return None;
                    }
                }
                end_step(locked);
                from += EXACT_SCAN_BUCKETS;
            }
        }
    }
    // What was locked may hold the second. By frequency, or by deadline, what comes may be worth less than what was found;
    // what is accessed later is newer than all that was found, so the order of accesses stays.
    if is_busy {
        pool.keep(1);
    } else if !matches!(ranking.policy, Policy::Lru | Policy::Lrm) || ranking.needs_deadline {
        pool.keep(EXACT_KEPT);
    }
    // What is put back must not come before entries that were left out.
    if let Some(highest) = pool.highest_rank() {
        search.aside.retain(|candidate| candidate.found.rank <= highest);
    }
    search.is_busy |= is_busy;
    search.is_spared |= !search.aside.is_empty();
    Some(pool)
}

/// Ends the step of a caller that has no lock now.
pub(crate) fn end_step(locked: &dyn LockedShards) {
    if locked.may_wait() {
        locked.step().end();
    }
}

/// Whether the caller wants an entry of a shard to stay; `None` if the step does not allow to see.
fn is_spared(inside: &Shard, candidate: &Candidate, locked: &dyn LockedShards, hasher: &KeyHash) -> Option<bool> {
    if !locked.step().searches(HASH_COST) {
        return None;
    }
    let spares = |entry: &Entry| locked.spares(candidate.space_id, hasher.hash(entry.key()));
    Some(inside.in_bucket(candidate.found.bucket).is_some_and(spares))
}

/// Offers an entry that was found, unless the caller spares it, which is looked for with a `hasher` only.
fn offer(pool: &mut Pool, inside: &Shard, candidate: Candidate, locked: &dyn LockedShards, hasher: Option<&KeyHash>) {
    let may_go = |hasher| pool.takes(&candidate) && is_spared(inside, &candidate, locked, hasher) == Some(false);
    if hasher.is_none_or(may_go) {
        pool.offer(candidate);
    }
}

/// Puts the best of a sample into the pool. With a `hasher`, none that the caller spares: to look at the keys of all takes
/// longer, and few transactions name so many of a large store.
pub(crate) fn sample(
    pool: &mut Pool,
    ranking: &Ranking,
    locked: &dyn LockedShards,
    hasher: Option<&KeyHash>,
    search: &mut Search,
) {
    let spaces = Arc::clone(&pool.spaces);
    pool.counted_for = pool.counted_for.saturating_sub(1);
    let (run, wanted) = match ranking.needs_deadline {
        true => (RUN_BUCKETS_APART, SAMPLE_ENTRIES_APART),
        false => (RUN_BUCKETS, SAMPLE_ENTRIES),
    };
    let mut sampled = 0;
    for _ in 0..RUNS_MAX {
        let Some((space, random)) = pick(&spaces, &pool.buckets) else { break };
        if search.passes_over(space, locked) {
            continue;
        }
        let shard = (random >> 40) as usize % space.shard_count();
        let offer = &mut |inside: &Shard, candidate| offer(pool, inside, candidate, locked, hasher);
        match look_at_run((space, shard), (random as usize, run), ranking, locked, offer) {
            Looked::At { entries, .. } => sampled += entries,
            Looked::Busy => search.is_busy = true,
            Looked::Cut => break,
        }
        if sampled >= wanted {
            break;
        }
    }
}

/// Picks a keyspace, as likely as it was large when the `buckets` were counted, and returns what is left of the random number.
fn pick<'s>(spaces: &'s [Arc<KeyspaceInner>], buckets: &[u64]) -> Option<(&'s Arc<KeyspaceInner>, u64)> {
    let random = fastrand::u64(..);
    let at = match (spaces, buckets.last()) {
        ([_], _) => 0,
        (_, Some(&sum)) if sum > 0 && buckets.len() == spaces.len() => {
            let nth = fastrand::u64(..sum);
            buckets.partition_point(|sum| *sum <= nth)
        }
        _ => fastrand::usize(..).checked_rem(spaces.len())?,
    };
    Some((spaces.get(at)?, random))
}

/// Whether there are more shards than a transaction can look at, with some left to do.
pub(crate) fn is_wide(spaces: &[Arc<KeyspaceInner>]) -> bool {
    let shards: usize = spaces.iter().map(|space| space.shard_count()).sum();
    shards as u64 * SHARD_COST > SEARCH_MAX / 2
}

/// Counts the buckets of all keyspaces: for each, how many there are up to its end.
pub(crate) fn count_buckets(spaces: &[Arc<KeyspaceInner>], locked: &dyn LockedShards) -> Vec<u64> {
    let mut sum = 0;
    let count = |space: &Arc<KeyspaceInner>| {
        for shard in 0..space.shard_count() {
            locked.step().add(SHARD_COST);
            look(space, shard, locked, &mut |shard| sum += shard.buckets() as u64);
            end_step(locked);
        }
        sum
    };
    spaces.iter().map(count).collect()
}

/// Looks at one shard after the other, from a random one on, and returns what the first of them holds that holds anything: as
/// where few entries have a deadline.
pub(crate) fn scan_shards(
    spaces: &[Arc<KeyspaceInner>],
    ranking: &Ranking,
    locked: &dyn LockedShards,
    hasher: Option<&KeyHash>,
    search: &mut Search,
) -> Pool {
    let mut pool = Pool::default();
    let random = fastrand::usize(..);
    for nth in 0..spaces.len() {
        let space = &spaces[random.wrapping_add(nth) % spaces.len()];
        if search.passes_over(space, locked) {
            continue;
        }
        for shard in 0..space.shard_count() {
            let shard = random.wrapping_add(shard) % space.shard_count();
            let (mut from, mut end) = (0, 1);
            while from < end {
                let offer = &mut |inside: &Shard, candidate| offer(&mut pool, inside, candidate, locked, hasher);
                match look_at_run((space, shard), (from, SCAN_BUCKETS), ranking, locked, offer) {
                    Looked::At { buckets, .. } => end = buckets,
                    Looked::Busy => (search.is_busy, end) = (true, 0),
                    Looked::Cut => {
                        search.is_cut = pool.is_empty();
                        return pool;
                    }
                }
                end_step(locked);
                from += SCAN_BUCKETS;
            }
            if !pool.is_empty() {
                return pool;
            }
        }
    }
    pool
}
