//! Victims: the choice of the entry that is removed next, and its removal. Invariant: an entry is removed only as it was when it
//! was found, no shard is waited for while another one is locked, and what is done while the same locks are held is a bounded
//! [`Step`].
//!
//! Candidates come from runs of neighbouring buckets at random places, of which the best are kept in a [`Pool`]; up to
//! [`EXACT_ENTRIES_MAX`] entries all of them are looked at instead. The pool is locked only while a few runs are looked at: those
//! who wait for it may have locked shards.

use std::cell::Cell;
use std::sync::Arc;

use smallvec::SmallVec;

use super::pool::{Candidate, Found, Pool};
use super::{Eviction, Limits, Policy};
use crate::error::Result;
use crate::hash::KeyHash;
use crate::log::record::Record;
use crate::lsn::Lsn;
use crate::observer::{Change, ChangeKind, Origin};
use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};
use crate::sync::{RwLockWriteGuard, thread};
use crate::table::access::Moment;
use crate::table::entry::Entry;
use crate::table::keyspace::Space;
use crate::table::shard::{Growth, Shard};
use crate::txn::context::Base;

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
/// Buckets of a shard that are looked at side by side where all of them are, one after the other.
const WALK_BUCKETS: usize = 512;
/// The same of a store of so few entries that all are looked at: such a table is no larger.
const EXACT_WALK_BUCKETS: usize = 8_192;
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

/// What is done while the same locks are held, at most: a bucket that is looked at counts as 1. By `kvbench
/// room` about a quarter of a millisecond, with nothing in the processor's cache.
const STEP_MAX: u64 = 32_768;
/// What the search of a transaction may take of that. The rest is for removing entries of its own.
const SEARCH_MAX: u64 = STEP_MAX / 2;
/// A shard that is looked at counts as so many buckets, which take about as long.
pub(crate) const SHARD_COST: u64 = 8;
/// An entry whose deadline is looked at, which lies apart from the table.
pub(crate) const DEADLINE_COST: u64 = 8;
/// A key that is hashed, to see whether its entry must stay.
pub(crate) const HASH_COST: u64 = 16;
/// A candidate that is tried and, perhaps, removed.
pub(crate) const REMOVAL_COST: u64 = 192;

/// What is done to keep the limits while the same locks are held.
pub(crate) struct Step<'a> {
    /// The most that was done in any step so far.
    most: &'a AtomicU64,
    search_max: u64,
    done: Cell<u64>,
}

impl<'a> Step<'a> {
    /// Begins with a lock that is held for this step only.
    pub(crate) fn new(most: &'a AtomicU64) -> Self {
        Step { most, search_max: STEP_MAX, done: Cell::new(0) }
    }

    /// Begins when a transaction, which holds its locks, needs room.
    pub(crate) fn of_transaction(most: &'a AtomicU64) -> Self {
        Step { most, search_max: SEARCH_MAX, done: Cell::new(0) }
    }

    fn within(&self, max: u64, cost: u64) -> bool {
        let done = self.done.get().saturating_add(cost);
        let fits = done <= max;
        if fits {
            self.done.set(done);
        }
        fits
    }

    /// Counts what is about to be done; false if that is too much for this step, and must not be done.
    pub(crate) fn takes(&self, cost: u64) -> bool {
        self.within(STEP_MAX, cost)
    }

    /// As [`takes`](Self::takes), for the search of what may be removed.
    fn searches(&self, cost: u64) -> bool {
        self.within(self.search_max, cost)
    }

    /// Counts what has been done, and is bounded by itself.
    pub(crate) fn add(&self, cost: u64) {
        self.done.set(self.done.get().saturating_add(cost));
    }

    /// Begins anew: no lock is held any more.
    pub(crate) fn end(&self) {
        let done = self.done.replace(0);
        if done > self.most.load(Relaxed) {
            self.most.fetch_max(done, Relaxed);
        }
    }
}

impl Drop for Step<'_> {
    fn drop(&mut self) {
        self.end();
    }
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
    /// The [`Step`] is at its end, before anything was found. `is_busy`: some of it is locked by others.
    Unfinished { is_busy: bool },
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

/// The state of one removal's search.
struct Search {
    /// Shards were locked by others.
    is_busy: bool,
    /// There are entries that the caller wants to keep.
    is_spared: bool,
    /// All of some keyspace is to be kept, so that not all entries have been looked at.
    is_partial: bool,
    /// There was more to look at than the step allows.
    is_cut: bool,
    requeued: usize,
    /// Looks at all entries, and whether anything is different since the last.
    looks: usize,
    progress: bool,
    /// What may go another time.
    aside: SmallVec<[Candidate; 4]>,
    /// Shards that others had locked.
    busy: SmallVec<[(u32, usize); 4]>,
}

impl Search {
    fn new() -> Self {
        Search {
            is_busy: false,
            is_spared: false,
            is_partial: false,
            is_cut: false,
            requeued: 0,
            looks: 0,
            progress: true,
            aside: SmallVec::new(),
            busy: SmallVec::new(),
        }
    }

    /// Whether nothing of a keyspace may go.
    fn passes_over(&mut self, space: &Space, locked: &dyn LockedShards) -> bool {
        let passes = locked.spares_all(space.id);
        self.is_spared |= passes;
        self.is_partial |= passes;
        passes
    }
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

    /// Finds candidates before a transaction locks anything, where that takes long. Returns false if there are none. Called
    /// without any lock.
    pub(crate) fn prepare(&self, base: &Base) -> bool {
        let (limits, spaces, version, is_small) = {
            let (limits, pool) = &mut *self.pool.lock();
            if limits.policy == Policy::None {
                return true;
            }
            let is_small = self.entries() <= EXACT_ENTRIES_MAX;
            let is_counted = is_small || pool.counted_for > 0 || pool.spaces.len() <= 1;
            // A transaction sees itself whether any of a few shards holds a candidate.
            let is_found = !pool.is_empty() || !(limits.all_may_go() && is_small || is_wide(&pool.spaces));
            if is_counted && (is_found || limits.all_may_go() && !is_small) {
                return true;
            }
            (*limits, Arc::clone(&pool.spaces), pool.version, is_small)
        };
        let unlocked = Unlocked { spared: &[], step: Step::new(&self.step_max) };
        if !is_small {
            let buckets = count_buckets(&spaces, &unlocked);
            let (_, pool) = &mut *self.pool.lock();
            if pool.version == version {
                (pool.buckets, pool.counted_for) = (buckets, COUNTED_FOR);
            }
            if limits.all_may_go() || !pool.is_empty() {
                return true;
            }
        }
        let (ranking, mut search) = (self.ranking(&limits, base), Search::new());
        let found = match is_small {
            true => look_at_all(&spaces, &ranking, &unlocked, &base.hasher, &mut search).unwrap_or_default(),
            false => walk(&spaces, &ranking, &unlocked, None, &mut search),
        };
        let is_known = !search.is_busy && !search.is_cut && !limits.all_may_go();
        let is_empty = found.is_empty();
        !self.pool.lock().1.merge(found, version, is_small) || !is_known || !is_empty
    }

    /// Finds the entry that the policy lets go first; `None` if there is none, or if the step is at its end.
    fn next_candidate(
        &self,
        base: &Base,
        locked: &dyn LockedShards,
        search: &mut Search,
    ) -> Option<(Arc<Space>, Candidate, Ranking)> {
        let mut state = self.pool.lock();
        let (limits, pool) = &mut *state;
        if limits.policy == Policy::None {
            return None;
        }
        let ranking = self.ranking(limits, base);
        let is_small = self.entries() <= EXACT_ENTRIES_MAX;
        if is_small != pool.is_exact {
            pool.clear();
        }
        let hasher = search.is_spared.then_some(&base.hasher);
        if !is_small {
            sample(pool, &ranking, locked, hasher, search);
        }
        if pool.is_empty() && !(is_small && search.looks > 0 && !search.progress) {
            let (spaces, version) = (Arc::clone(&pool.spaces), pool.version);
            drop(state);
            let found = match is_small {
                true => look_at_all(&spaces, &ranking, locked, &base.hasher, search)?,
                false => walk(&spaces, &ranking, locked, hasher, search),
            };
            (search.looks, search.progress) = (search.looks + 1, false);
            state = self.pool.lock();
            // Else it is not known any more what goes first.
            search.is_busy |= !state.1.merge(found, version, is_small);
        }
        let (_, pool) = &mut *state;
        let (space, candidate) = pool.pop_known()?;
        pool.removals += 1;
        let tell_time = pool.removals % TIME_EVERY == 0;
        // Shards may be waited for now.
        drop(state);
        end_step(locked);
        if tell_time {
            base.note_time();
        }
        Some((space, candidate, ranking))
    }

    /// Removes the entry that the policy lets go first.
    pub(crate) fn remove_one(&self, base: &Base, locked: &mut dyn LockedShards) -> Result<Removal> {
        let mut search = Search::new();
        let mut first_busy = None;
        let mut removal = None;
        for _ in 0..TRIES_MAX {
            if !locked.step().searches(REMOVAL_COST) {
                search.is_cut = true;
                break;
            }
            let Some((space, candidate, ranking)) = self.next_candidate(base, locked, &mut search) else { break };
            let may_requeue = search.requeued < REQUEUED_MAX;
            match self.try_candidate(base, &space, &candidate, &ranking, locked, may_requeue, false)? {
                Tried::Removed(entry) => {
                    removal = Some(Removal::Done(entry));
                    break;
                }
                Tried::Stale => search.progress = true,
                Tried::Lost => {
                    search.progress = true;
                    if self.entries() <= EXACT_ENTRIES_MAX {
                        self.pool.lock().1.clear();
                    }
                }
                Tried::Requeued => (search.requeued, search.progress) = (search.requeued + 1, true),
                Tried::Spared => {
                    search.is_spared = true;
                    // Of a sample none is needed: those that the same transaction spares would be tried again for each entry
                    // that it removes.
                    if self.entries() <= EXACT_ENTRIES_MAX {
                        search.aside.push(candidate);
                    }
                }
                Tried::Busy => {
                    search.is_busy = true;
                    search.progress |= search.looks < BUSY_LOOKS_MAX;
                    search.busy.push((candidate.space_id, candidate.shard));
                    search.aside.push(candidate);
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
        if search.is_partial || !search.aside.is_empty() {
            let (_, pool) = &mut *self.pool.lock();
            if search.is_partial && pool.is_exact {
                // What was passed over may be the first to go for all others.
                pool.clear();
            } else {
                search.aside.into_iter().for_each(|candidate| pool.offer(candidate));
            }
        }
        if let Some(done) = removal {
            return Ok(done);
        }
        let limits = self.limits();
        Ok(match (search.is_busy, search.is_spared) {
            _ if limits.policy == Policy::None => Removal::Exhausted,
            (is_busy, _) if search.is_cut => Removal::Unfinished { is_busy },
            (true, _) => Removal::Busy,
            // Others count the entries that they add before those that they remove.
            _ if limits.all_may_go() && self.entries() > locked.spared_max() => Removal::Busy,
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
        drop(guard);
        end_step(locked);
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
        let (kind, origin) = (ChangeKind::Evict, Origin::NONE);
        base.tell(&Change { keyspace_id, keyspace, key, kind, lsn, origin });
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
    (space, shard): (&Space, usize),
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
fn look_at_all(
    spaces: &[Arc<Space>],
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
                let looked = look_at_run((space, shard), (from, EXACT_WALK_BUCKETS), ranking, locked, offer);
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
                from += EXACT_WALK_BUCKETS;
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
fn end_step(locked: &dyn LockedShards) {
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
fn sample(
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
fn pick<'s>(spaces: &'s [Arc<Space>], buckets: &[u64]) -> Option<(&'s Arc<Space>, u64)> {
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
fn is_wide(spaces: &[Arc<Space>]) -> bool {
    let shards: usize = spaces.iter().map(|space| space.shard_count()).sum();
    shards as u64 * SHARD_COST > SEARCH_MAX / 2
}

/// Counts the buckets of all keyspaces: for each, how many there are up to its end.
fn count_buckets(spaces: &[Arc<Space>], locked: &dyn LockedShards) -> Vec<u64> {
    let mut sum = 0;
    let count = |space: &Arc<Space>| {
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
fn walk(
    spaces: &[Arc<Space>],
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
                match look_at_run((space, shard), (from, WALK_BUCKETS), ranking, locked, offer) {
                    Looked::At { buckets, .. } => end = buckets,
                    Looked::Busy => (search.is_busy, end) = (true, 0),
                    Looked::Cut => {
                        search.is_cut = pool.is_empty();
                        return pool;
                    }
                }
                end_step(locked);
                from += WALK_BUCKETS;
            }
            if !pool.is_empty() {
                return pool;
            }
        }
    }
    pool
}
