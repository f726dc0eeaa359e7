//! Evict: removes entries to keep the limits. Invariant: an entry is removed only as it was when it was found, and no shard is
//! waited for while another one is locked.
//!
//! Each removal from a shard that is free is a transaction of its own. All are logged, and observed as [`ChangeKind::Evict`].

use std::sync::Arc;

use crate::error::Result;
use crate::log::record::Record;
use crate::lsn::Lsn;
use crate::observer::{Change, ChangeKind, Origin};
use crate::sync::atomic::Ordering::Relaxed;
use crate::sync::{RwLockWriteGuard, thread};
use crate::table::entry::Entry;
use crate::table::eviction::pool::Candidate;
use crate::table::eviction::{
    EXACT_ENTRIES_MAX, LockedShards, REMOVAL_COST, STAMPS_AT_ONCE, Search, Step, Unlocked, count_buckets, end_step,
    is_wide, look_at_all, sample, scan_shards,
};
use crate::table::keyspace::KeyspaceInner;
use crate::table::limits::{Limits, Policy, Room};
use crate::table::shard::{Found, Ranking, Shard};
use crate::txn::context::StoreContext;

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
/// Removals after which it is seen to that more candidates can be found.
const PREPARED_FOR: u64 = 64;
/// Entries that a transaction removes at most before it runs. What it adds is less, as a rule, so that a store far beyond a
/// limit that was just lowered comes within it over some of them.
pub(crate) const ROOM_STEP: u64 = 1_024;
/// How often a removal is tried that other transactions are in the way of.
const BUSY_MAX: usize = 64;

/// What it means to who makes room that the log can take no more.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backlog {
    /// It ends. Whoever may wait for the log does so before its next transaction.
    Ends,
    /// It goes on.
    Ignored,
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

impl StoreContext {
    pub(crate) fn ranking(&self, limits: &Limits) -> Ranking {
        if limits.policy == Policy::S3Fifo {
            self.eviction.sequence.ghosts.set_entries(self.eviction.entries());
        }
        Ranking {
            policy: limits.policy,
            needs_deadline: limits.needs_deadline(),
            newest: self.eviction.sequence.newest(),
            small_queue: (self.eviction.entries() / SMALL_QUEUE_PART).max(1),
            now: self.access_time(),
        }
    }

    /// Finds candidates before a transaction locks anything, where that takes long. Returns false if there are none. Called
    /// without any lock.
    pub(crate) fn prepare_eviction(&self) -> bool {
        let (limits, spaces, version, is_small) = {
            let (limits, pool) = &mut *self.eviction.pool.lock();
            if limits.policy == Policy::None {
                return true;
            }
            let is_small = self.eviction.entries() <= EXACT_ENTRIES_MAX;
            let is_counted = is_small || pool.counted_for > 0 || pool.spaces.len() <= 1;
            // A transaction sees itself whether any of a few shards holds a candidate.
            let is_found = !pool.is_empty() || !(limits.all_may_go() && is_small || is_wide(&pool.spaces));
            if is_counted && (is_found || limits.all_may_go() && !is_small) {
                return true;
            }
            (*limits, Arc::clone(&pool.spaces), pool.version, is_small)
        };
        let unlocked = Unlocked { spared: &[], step: Step::new(&self.eviction.step_max) };
        if !is_small {
            let buckets = count_buckets(&spaces, &unlocked);
            let (_, pool) = &mut *self.eviction.pool.lock();
            if pool.version == version {
                (pool.buckets, pool.counted_for) = (buckets, COUNTED_FOR);
            }
            if limits.all_may_go() || !pool.is_empty() {
                return true;
            }
        }
        let (ranking, mut search) = (self.ranking(&limits), Search::new());
        let found = match is_small {
            true => look_at_all(&spaces, &ranking, &unlocked, &self.hasher, &mut search).unwrap_or_default(),
            false => scan_shards(&spaces, &ranking, &unlocked, None, &mut search),
        };
        let is_known = !search.is_busy && !search.is_cut && !limits.all_may_go();
        let is_empty = found.is_empty();
        !self.eviction.pool.lock().1.merge(found, version, is_small) || !is_known || !is_empty
    }

    /// Finds the entry that the policy lets go first; `None` if there is none, or if the step is at its end.
    fn next_candidate(
        &self,
        locked: &dyn LockedShards,
        search: &mut Search,
    ) -> Option<(Arc<KeyspaceInner>, Candidate, Ranking)> {
        let mut state = self.eviction.pool.lock();
        let (limits, pool) = &mut *state;
        if limits.policy == Policy::None {
            return None;
        }
        let ranking = self.ranking(limits);
        let is_small = self.eviction.entries() <= EXACT_ENTRIES_MAX;
        if is_small != pool.is_exact {
            pool.clear();
        }
        let hasher = search.is_spared.then_some(&self.hasher);
        if !is_small {
            sample(pool, &ranking, locked, hasher, search);
        }
        if pool.is_empty() && !(is_small && search.looks > 0 && !search.progress) {
            let (spaces, version) = (Arc::clone(&pool.spaces), pool.version);
            drop(state);
            let found = match is_small {
                true => look_at_all(&spaces, &ranking, locked, &self.hasher, search)?,
                false => scan_shards(&spaces, &ranking, locked, hasher, search),
            };
            (search.looks, search.progress) = (search.looks + 1, false);
            state = self.eviction.pool.lock();
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
            self.note_time();
        }
        Some((space, candidate, ranking))
    }

    /// Removes the entry that the policy lets go first.
    pub(crate) fn evict_one(&self, locked: &mut dyn LockedShards) -> Result<Removal> {
        let mut search = Search::new();
        let mut first_busy = None;
        let mut removal = None;
        for _ in 0..TRIES_MAX {
            if !locked.step().searches(REMOVAL_COST) {
                search.is_cut = true;
                break;
            }
            let Some((space, candidate, ranking)) = self.next_candidate(locked, &mut search) else { break };
            let may_requeue = search.requeued < REQUEUED_MAX;
            match self.try_candidate(&space, &candidate, &ranking, locked, may_requeue, false)? {
                Tried::Removed(entry) => {
                    removal = Some(Removal::Done(entry));
                    break;
                }
                Tried::Stale => search.progress = true,
                Tried::Lost => {
                    search.progress = true;
                    if self.eviction.entries() <= EXACT_ENTRIES_MAX {
                        self.eviction.pool.lock().1.clear();
                    }
                }
                Tried::Requeued => (search.requeued, search.progress) = (search.requeued + 1, true),
                Tried::Spared => {
                    search.is_spared = true;
                    // Of a sample none is needed: those that the same transaction spares would be tried again for each entry
                    // that it removes.
                    if self.eviction.entries() <= EXACT_ENTRIES_MAX {
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
            let ranking = self.ranking(&self.eviction.limits());
            let tried = self.try_candidate(&space, &candidate, &ranking, locked, false, true)?;
            if let Tried::Removed(entry) = tried {
                removal = Some(Removal::Done(entry));
            }
        }
        if search.is_partial || !search.aside.is_empty() {
            let (_, pool) = &mut *self.eviction.pool.lock();
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
        let limits = self.eviction.limits();
        Ok(match (search.is_busy, search.is_spared) {
            _ if limits.policy == Policy::None => Removal::Exhausted,
            (is_busy, _) if search.is_cut => Removal::Unfinished { is_busy },
            (true, _) => Removal::Busy,
            // Others count the entries that they add before those that they remove.
            _ if limits.all_may_go() && self.eviction.entries() > locked.spared_max() => Removal::Busy,
            (_, true) => Removal::Spared,
            _ => Removal::Exhausted,
        })
    }

    /// Removes a candidate if it is what was found. `waits`: until its shard can be had.
    #[allow(clippy::too_many_arguments, reason = "which entry, where, and by what rule: all plain values")]
    fn try_candidate(
        &self,
        space: &KeyspaceInner,
        candidate: &Candidate,
        ranking: &Ranking,
        locked: &mut dyn LockedShards,
        may_requeue: bool,
        waits: bool,
    ) -> Result<Tried> {
        let Candidate { shard: at, found, .. } = candidate;
        let hash_of = |shard: &Shard| shard.found(found, ranking).map(|entry| self.hasher.hash(entry.key()));
        if let Some(shard) = locked.shard(space.id, *at) {
            if shard.has_moved(found) {
                return Ok(Tried::Lost);
            }
            let Some(hash) = hash_of(shard) else { return Ok(Tried::Stale) };
            if locked.spares(space.id, hash) {
                return Ok(Tried::Spared);
            }
            let Some(shard) = locked.shard_mut(space.id, *at) else { return Ok(Tried::Stale) };
            return self.evict(space, shard, found, hash, ranking, may_requeue);
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
        let tried = self.evict(space, &mut guard, found, hash, ranking, may_requeue)?;
        if self.eviction.is_on() {
            self.eviction.add(locked.keep_freed(guard.publish()));
        }
        drop(guard);
        end_step(locked);
        Ok(tried)
    }

    #[allow(clippy::too_many_arguments, reason = "which entry, where, and by what rule: all plain values")]
    fn evict(
        &self,
        space: &KeyspaceInner,
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
        if let Some(wal) = &self.wal {
            let mut records = Vec::with_capacity(entry.key().len() + 16);
            Record::Delete { keyspace: space.log_id(), key: entry.key() }.encode(&mut records);
            lsn = wal.append(&records)?;
        }
        let Some(entry) = shard.take_at(&self.hasher, found.bucket, hash, has_queues) else { return Ok(Tried::Stale) };
        shard.reveals(lsn);
        self.eviction.evicted.fetch_add(1, Relaxed);
        let (keyspace_id, keyspace, key) = (space.id, &*space.name, Some(entry.key()));
        let (kind, origin) = (ChangeKind::Evict, Origin::NONE);
        self.tell(&Change { keyspace_id, keyspace, key, kind, lsn, origin });
        Ok(Tried::Removed(entry))
    }

    /// Removes entries, at most `at_most`, until the store is within its limits; those in `spared`, which is
    /// sorted, stay. Called without any lock.
    pub(crate) fn make_room(&self, at_most: u64, spared: &[(u32, u64)], backlog: Backlog) -> Room {
        let (mut removed, mut busy) = (0, 0);
        while self.eviction.is_exceeded() {
            if removed == at_most || busy == BUSY_MAX {
                return Room::Unfinished;
            }
            if removed % PREPARED_FOR == 0 {
                self.prepare_eviction();
            }
            let mut unlocked = Unlocked { spared, step: Step::new(&self.eviction.step_max) };
            match self.evict_one(&mut unlocked) {
                Ok(Removal::Done(entry)) => {
                    // Without any lock: a large one takes long.
                    self.disposal.free_entries([entry]);
                    (removed, busy) = (removed + 1, 0);
                }
                Ok(Removal::Busy | Removal::Unfinished { .. }) => {
                    busy += 1;
                    thread::yield_now();
                }
                Ok(Removal::Spared) => return Room::Unfinished,
                Ok(Removal::Exhausted) => return Room::Exhausted,
                // A log that takes nothing takes no write either, and says so to whoever tries.
                Err(_) => return Room::Unfinished,
            }
            if backlog == Backlog::Ends && self.wal.as_ref().is_some_and(|wal| wal.is_backlogged()) {
                return Room::Unfinished;
            }
        }
        Room::Enough
    }

    /// Refreshes the stamps of all shards, once in a long while. Called without any lock.
    #[inline]
    pub(crate) fn refresh_stamps_if_due(&self) {
        if self.eviction.is_on() && self.eviction.refreshes.load(Relaxed) != self.eviction.sequence.refreshes() {
            self.refresh_stamps();
        }
    }

    #[cold]
    fn refresh_stamps(&self) {
        let due = self.eviction.sequence.refreshes();
        if self.eviction.refreshes.swap(due, Relaxed) == due {
            return;
        }
        self.note_time();
        let spaces = self.eviction.pool.lock().1.spaces.clone();
        for space in spaces.iter() {
            for shard in 0..space.shard_count() {
                let (mut from, mut end) = (0, 1);
                while from < end {
                    let step = Step::new(&self.eviction.step_max);
                    let shard = space.read(shard);
                    step.add(STAMPS_AT_ONCE as u64);
                    shard.refresh_stamps(from, STAMPS_AT_ONCE);
                    (from, end) = (from + STAMPS_AT_ONCE, shard.buckets());
                }
            }
        }
    }
}

/// Locks a shard, unless another thread holds it for longer than most do.
fn write_soon(space: &KeyspaceInner, shard: usize) -> Option<RwLockWriteGuard<'_, Shard>> {
    for _ in 0..WRITE_TRIES_MAX {
        if let Some(guard) = space.try_write(shard) {
            return Some(guard);
        }
        thread::yield_now();
    }
    None
}
