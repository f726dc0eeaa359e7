//! Eviction: limits on what a store holds, and which entries are removed to keep them. Invariant: nobody who has a shard locked
//! waits for another one in order to evict.
//!
//! A write over a limit removes entries until the store is within it again ([`make_room`]), without any lock. What a
//! transaction adds to the number of entries is paid for when it commits, under its locks ([`Eviction::admit`]): by entries of
//! shards that are free, or of its own. What it frees in other shards is kept for its own entries, so that no other transaction
//! takes it.
//!
//! Which entry goes next is the business of [`search`]; [`evict`](crate::txn::evict) removes it.
//!
//! [`make_room`]: crate::txn::context::StoreContext::make_room

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use crate::sync::{CachePadded, Mutex};
use crate::table::access::{AccessStats, AccessTime};
use crate::table::keyspace::KeyspaceInner;
use crate::table::limits::{Limits, Policy};
use crate::table::shard::{Growth, Shard};
use crate::table::stamps::{AccessSequence, Ghost, Prepared, Recording, Stamps};

pub(crate) mod pool;
mod search;
mod step;

pub(crate) use search::{
    EXACT_ENTRIES_MAX, LockedShards, Search, Unlocked, count_buckets, end_step, is_wide, look_at_all, sample,
    scan_shards,
};
pub(crate) use step::{HASH_COST, REMOVAL_COST, SHARD_COST, Step};

use pool::Pool;

/// Up to so many, each access has a number of its own, so that there is an exact order by the time it is needed.
const NUMBERED_ENTRIES_MAX: u64 = 2_000;
/// Stamps of a shard that are looked at while it is locked.
pub(crate) const STAMPS_AT_ONCE: usize = 8_192;
/// How often the stamps of a shard are made in steps, before they are made at once.
const PREPARED_TRIES_MAX: usize = 3;

/// What the entries of a store come to.
#[derive(Default)]
struct Totals {
    entries: AtomicI64,
    bytes: AtomicI64,
}

/// The limits of a store, and what is needed to keep them.
pub(crate) struct Eviction {
    /// Anything is limited: totals are kept, and reads count as uses.
    on: AtomicBool,
    refuses_writes: AtomicBool,
    /// [`u64::MAX`]: none.
    max_entries: AtomicU64,
    max_bytes: AtomicU64,
    /// Of `max_bytes`, what the program needs for itself.
    reserved_bytes: AtomicU64,
    /// Stamps have been refreshed so many times.
    pub(crate) refreshes: AtomicU64,
    pub(crate) evicted: AtomicU64,
    /// The largest [`Step`] so far.
    pub(crate) step_max: AtomicU64,
    pub(crate) sequence: Arc<AccessSequence>,
    /// Written by every transaction that adds or removes.
    totals: CachePadded<Totals>,
    /// Shards are only tried while it is locked, never waited for.
    pub(crate) pool: Mutex<(Limits, Pool)>,
}

impl Eviction {
    pub(crate) fn new() -> Self {
        Eviction {
            on: AtomicBool::new(false),
            refuses_writes: AtomicBool::new(true),
            max_entries: AtomicU64::new(u64::MAX),
            max_bytes: AtomicU64::new(u64::MAX),
            reserved_bytes: AtomicU64::new(0),
            refreshes: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
            step_max: AtomicU64::new(0),
            sequence: Arc::new(AccessSequence::new()),
            totals: CachePadded::default(),
            pool: Mutex::new((Limits::default(), Pool::default())),
        }
    }

    /// Whether anything is limited.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.on.load(Relaxed)
    }

    pub(crate) fn limits(&self) -> Limits {
        self.pool.lock().0
    }

    /// Whether anything is ever removed.
    pub(crate) fn removes(&self) -> bool {
        self.limits().policy != Policy::None
    }

    pub(crate) fn limits_entries(&self) -> bool {
        self.max_entries.load(Relaxed) != u64::MAX
    }

    /// More entries than this the store does not hold now, if their number is limited.
    pub(crate) fn entries_max(&self) -> u64 {
        if self.limits_entries() { self.entries() } else { u64::MAX }
    }

    /// Begins to change the limits: from now on totals are kept, and limits that become higher are in force. `spaces` are all
    /// there are; their shards must then each be [adopted](Self::adopt_shard), and the change [finished](Self::finish).
    pub(crate) fn change<'s>(&self, limits: Limits, spaces: impl Iterator<Item = &'s Arc<KeyspaceInner>>) {
        if limits.is_limited() {
            self.on.store(true, Relaxed);
        }
        // A limit that is lifted is lifted before the policy that kept it is gone.
        self.max_entries.fetch_max(limits.max_entries.unwrap_or(u64::MAX), Relaxed);
        self.max_bytes.fetch_max(limits.max_memory.unwrap_or(u64::MAX), Relaxed);
        self.refuses_writes.fetch_and(limits.refuses_writes, Relaxed);
        let mut state = self.pool.lock();
        let (kept, pool) = &mut *state;
        *kept = limits;
        pool.invalidate();
        pool.spaces = Arc::new(spaces.filter(|space| limits.may_evict_from(&space.name)).cloned().collect());
        self.choose_recording(kept);
    }

    /// Brings a shard under the limits, and to what their policy needs to know. The memory for that is taken without a lock: a
    /// transaction that removes from many shards would hold them all meanwhile.
    pub(crate) fn adopt_shard(&self, space: &KeyspaceInner, at: usize, limits: &Limits, now: AccessTime) {
        if limits.is_limited() {
            self.prepare_access_stats(space, at, now);
        }
        let mut prepared = None;
        if limits.needs_order() {
            prepared = (0..PREPARED_TRIES_MAX).find_map(|_| self.prepare_order(space, at, now));
        }
        let ghost = self.prepare_ghost(space, at, limits);
        let step = Step::new(&self.step_max);
        let mut shard = space.write(at);
        let old = match limits.needs_order() {
            false => shard.forget_order(),
            true => {
                step.add(shard.keep_order(&self.sequence, prepared, now) as u64);
                None
            }
        };
        let old_ghost = match limits.policy {
            Policy::S3Fifo if ghost.is_none() => None,
            _ => shard.stamps_mut().and_then(|stamps| stamps.keep_ghost(ghost)),
        };
        self.publish(&mut shard);
        drop(shard);
        drop((old, old_ghost));
    }

    /// Lets a shard record uses of its entries, if it does not yet.
    fn prepare_access_stats(&self, space: &KeyspaceInner, at: usize, now: AccessTime) {
        let buckets = {
            let shard = space.read(at);
            if shard.records_accesses() {
                return;
            }
            shard.buckets()
        };
        let access = Box::new(AccessStats::new(buckets, now));
        let not_needed = space.write(at).record_accesses_in(access);
        drop(not_needed);
    }

    /// Makes a ghost for a shard that needs one and has none.
    fn prepare_ghost(&self, space: &KeyspaceInner, at: usize, limits: &Limits) -> Option<Ghost> {
        if !limits.needs_order() || limits.policy != Policy::S3Fifo {
            return None;
        }
        let buckets = {
            let shard = space.read(at);
            if shard.has_ghost() {
                return None;
            }
            shard.buckets()
        };
        Some(Ghost::new(buckets))
    }

    /// Makes the stamps of a large shard in steps, as far as is known when its entries were used; `None` if it has some, or
    /// changes its table meanwhile, or is small.
    fn prepare_order(&self, space: &KeyspaceInner, at: usize, now: AccessTime) -> Option<Prepared> {
        let (buckets, epoch, has_order) = {
            let shard = space.read(at);
            (shard.buckets(), shard.epoch(), shard.has_order())
        };
        if has_order || buckets <= STAMPS_AT_ONCE {
            return None;
        }
        let stamps = Stamps::new(buckets, Arc::clone(&self.sequence));
        for from in (0..buckets).step_by(STAMPS_AT_ONCE) {
            let step = Step::new(&self.step_max);
            let shard = space.read(at);
            if shard.has_order() || shard.epoch() != epoch {
                return None;
            }
            step.add(STAMPS_AT_ONCE as u64);
            shard.fill_order(&stamps, from..from + STAMPS_AT_ONCE, now);
        }
        Some(Prepared { stamps, epoch })
    }

    /// Puts the limits into force that all shards have been brought under.
    pub(crate) fn finish(&self, limits: &Limits) {
        self.max_entries.store(limits.max_entries.unwrap_or(u64::MAX), Relaxed);
        self.max_bytes.store(limits.max_memory.unwrap_or(u64::MAX), Relaxed);
        self.refuses_writes.store(limits.refuses_writes, Relaxed);
        self.on.store(limits.is_limited(), Relaxed);
        self.choose_recording(&self.pool.lock().0);
    }

    /// Brings a new keyspace under the limits. Called with the registry locked for writing.
    pub(crate) fn adopt(&self, space: &Arc<KeyspaceInner>, now: AccessTime) {
        let limits = {
            let mut state = self.pool.lock();
            let (limits, pool) = &mut *state;
            if limits.may_evict_from(&space.name) {
                Arc::make_mut(&mut pool.spaces).push(Arc::clone(space));
                pool.counted_for = 0;
            }
            *limits
        };
        if limits.is_limited() {
            (0..space.shard_count()).for_each(|shard| self.adopt_shard(space, shard, &limits, now));
        }
    }

    pub(crate) fn forget(&self, space: &KeyspaceInner) {
        let (_, pool) = &mut *self.pool.lock();
        Arc::make_mut(&mut pool.spaces).retain(|other| other.id != space.id);
        pool.invalidate();
    }

    /// Forgets what was found: entries have changed places.
    pub(crate) fn forget_candidates(&self) {
        self.pool.lock().1.invalidate();
    }

    pub(crate) fn set_reserved(&self, bytes: u64) {
        self.reserved_bytes.store(bytes, Relaxed);
    }

    /// Adds to the totals what a shard has gained or lost.
    pub(crate) fn publish(&self, shard: &mut Shard) {
        if self.is_on() {
            shard.free_if_empty();
            let growth = shard.publish();
            self.add(growth);
        }
    }

    pub(crate) fn add(&self, growth: Growth) {
        if growth.bytes != 0 {
            self.totals.bytes.fetch_add(growth.bytes, Relaxed);
        }
        if growth.entries != 0 {
            let before = self.totals.entries.fetch_add(growth.entries, Relaxed);
            self.entries_changed(before, before + growth.entries);
        }
    }

    /// Chooses anew how accesses are recorded, if the number of entries has passed what decides that.
    fn entries_changed(&self, before: i64, after: i64) {
        let is_few = |entries: i64| entries <= NUMBERED_ENTRIES_MAX as i64;
        if is_few(before) != is_few(after) {
            self.choose_recording(&self.pool.lock().0);
        }
    }

    /// The pool is locked, so that of several that choose the last one knows all changes of the total.
    fn choose_recording(&self, limits: &Limits) {
        self.sequence.record(match limits.policy {
            Policy::S3Fifo => Recording::Queues,
            Policy::Lrm if self.entries() <= NUMBERED_ENTRIES_MAX => Recording::ExactWrites,
            Policy::Lrm => Recording::CoarseWrites,
            _ if self.entries() <= NUMBERED_ENTRIES_MAX => Recording::Exact,
            _ => Recording::Coarse,
        });
    }

    pub(crate) fn entries(&self) -> u64 {
        u64::try_from(self.totals.entries.load(Relaxed)).unwrap_or(0)
    }

    pub(crate) fn bytes(&self) -> u64 {
        u64::try_from(self.totals.bytes.load(Relaxed)).unwrap_or(0)
    }

    /// Whether one more entry, or byte, would be beyond a limit.
    pub(crate) fn is_reached(&self) -> bool {
        self.is_full() || self.is_exceeded()
    }

    /// Whether one more entry would be beyond the limit.
    pub(crate) fn is_full(&self) -> bool {
        self.entries() >= self.max_entries.load(Relaxed)
    }

    /// Whether the store holds more entries than it may.
    pub(crate) fn has_surplus(&self) -> bool {
        self.entries() > self.max_entries.load(Relaxed)
    }

    /// Whether the store holds more than a limit allows.
    pub(crate) fn is_exceeded(&self) -> bool {
        self.has_surplus()
            || self.bytes().saturating_add(self.reserved_bytes.load(Relaxed)) > self.max_bytes.load(Relaxed)
    }

    /// Lets a transaction's changes count: `growth` is what the shards it has locked gained, without the entries that it had
    /// removed elsewhere. Returns false if the store would then hold more entries than it may; an error if the changes are
    /// not to be allowed. `was_exhausted`: nothing could be removed before it began. `is_late`: the room for its entries is made
    /// afterwards.
    ///
    /// The shards must be [published](Shard::publish) by the caller at once.
    pub(crate) fn admit(&self, growth: Growth, was_exhausted: bool, is_late: bool) -> Result<bool> {
        let max = self.max_bytes.load(Relaxed);
        if growth.bytes > 0 && max != u64::MAX {
            let (more, reserved) = (growth.bytes.unsigned_abs(), self.reserved_bytes.load(Relaxed));
            let fits = self.bytes().saturating_add(reserved).saturating_add(more) <= max;
            let refuses =
                || self.refuses_writes.load(Relaxed) && (was_exhausted || self.limits().policy == Policy::None);
            if more > max || (!fits && refuses()) {
                return Err(Error::MemoryLimit { max });
            }
        }
        let max_entries = self.max_entries.load(Relaxed);
        if growth.entries > 0 && max_entries != u64::MAX {
            if growth.entries.unsigned_abs() > max_entries {
                return Err(self.entry_limit());
            }
            let admitted = |entries: i64| {
                let after = entries + growth.entries;
                (is_late || u64::try_from(after).is_ok_and(|after| after <= max_entries)).then_some(after)
            };
            let Ok(before) = self.totals.entries.fetch_update(Relaxed, Relaxed, admitted) else { return Ok(false) };
            self.entries_changed(before, before + growth.entries);
            self.add(Growth { entries: 0, ..growth });
        } else {
            self.add(growth);
        }
        Ok(true)
    }

    /// Returns what a transaction that failed had [kept](LockedShards::keep_freed) for itself.
    pub(crate) fn give_back(&self, entries: i64) {
        self.add(Growth { entries, bytes: 0 });
    }

    pub(crate) fn count_evicted(&self, count: usize) {
        if count > 0 {
            self.evicted.fetch_add(count as u64, Relaxed);
        }
    }

    /// How many of so many new entries are more than the store may hold.
    pub(crate) fn surplus(&self, entries: i64) -> usize {
        let max = i64::try_from(self.max_entries.load(Relaxed)).unwrap_or(i64::MAX);
        let after = self.totals.entries.load(Relaxed).saturating_add(entries);
        usize::try_from(after.saturating_sub(max).min(entries)).unwrap_or(0)
    }

    pub(crate) fn entry_limit(&self) -> Error {
        Error::EntryLimit { max: self.max_entries.load(Relaxed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Db, Options};

    #[test]
    fn accesses_are_numbered_one_by_one_while_entries_are_few_however_many_come_or_go_at_once() {
        let (eviction, many) = (Eviction::new(), 3 * NUMBERED_ENTRIES_MAX as i64);
        let limits = Limits { max_entries: Some(1_000_000), policy: Policy::Lru, ..Limits::default() };
        eviction.change(limits, [].iter());
        eviction.finish(&limits);
        for step in [1, 100, many] {
            assert_eq!(eviction.sequence.recording(), Recording::Exact);
            for _ in 0..many / step {
                assert!(eviction.admit(Growth { entries: step, bytes: 0 }, false, false).unwrap());
            }
            assert_eq!(eviction.sequence.recording(), Recording::Coarse, "by {step}");
            eviction.add(Growth { entries: -(many / step * step), bytes: 0 });
        }
    }

    /// A store that stays below its limits has no room to make, and yet its access sequence comes round.
    #[test]
    fn what_was_accessed_long_ago_goes_first_though_nothing_was_evicted_since() {
        let sweep = |db: &Db| assert_eq!(db.sweep(), 0);
        let set = |db: &Db| db.set("e", "v").unwrap();
        let ways: [&dyn Fn(&Db); 3] = [&|db| db.hooks().note_time(), &sweep, &set];
        for as_time_goes_by in ways {
            let db = Options::new().max_entries(5).eviction(Policy::Lru).in_memory().unwrap();
            db.set("a", "v").unwrap();
            let sequence = &db.engine().context.eviction.sequence;
            let first = sequence.newest();
            let round = 8 * crate::table::stamps::REFRESH_EVERY;
            for _ in 0..7 {
                sequence.skip(crate::table::stamps::REFRESH_EVERY);
                as_time_goes_by(&db);
            }
            sequence.skip(round - 3 - (sequence.newest() - first));
            ["b", "c", "d", "e", "f"].iter().for_each(|key| db.set(key, "v").unwrap());
            assert!(!db.exists("a").unwrap() && db.exists("b").unwrap());
        }
    }
}
