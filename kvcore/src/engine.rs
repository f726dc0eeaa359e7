//! Engine: shards, log and snapshots wired together; the only file that knows them all. Invariant: a commit is applied and
//! logged under the locks of all its shards, or not at all.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::durability::Promise;
use crate::error::{Error, Result};
use crate::hash::KeyHash;
use crate::io::clock::Timeline;
use crate::io::directory;
use crate::log::record::Record;
use crate::log::wal::Wal;
use crate::lsn::Lsn;
use crate::observer::{Change, ChangeKind, Origin};
use crate::options::Options;
use crate::recovery::state::{LoadMode, RecoveredState};
use crate::recovery::{check, load};
use crate::reentrancy::ReentrancyGuard;
use crate::stats::{SnapshotStatus, Stats};
use crate::storage::StorageDirectory;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{Mutex, RwLock, thread};
use crate::table::entry::Entry;
use crate::table::expiry::{TICK_MS, tick_at};
use crate::table::keyspace::{DEFAULT_KEYSPACE, KeyspaceInner};
use crate::table::limits::{Limits, Policy, Room};
use crate::txn::context::StoreContext;
use crate::txn::evict::{Backlog, ROOM_STEP};
use crate::txn::lock_set::LockSet;
use crate::txn::locked::{Committed, Draft, LockedTxn, ReadLockedTxn, Seen, UndoLog};
use crate::txn::traits::CrossTxn;
use crate::value::ValueRef;

/// The sweeper handles at most this many records while it holds a shard.
const SWEEP_STEP: usize = 128;
/// How soon the sweeper looks again while the log cannot be told the time.
const REFUSED_PAUSE_MS: u64 = 500;

/// A store whose time is ahead of the wall clock by more than this is worth a warning: clocks are corrected by less all
/// the time.
const AHEAD_MS_MAX: u64 = 5_000;

fn warn_if_ahead(dir: &Path, ahead_ms: u64) {
    if ahead_ms > AHEAD_MS_MAX {
        tracing::warn!(
            "{}: the store's time is {} s ahead of this machine's clock: the store was open while the clock was ahead, or \
             the clock is behind now. Keys that are given a deadline by the date (EXPIREAT) expire so much too early. If the \
             clock is right, stop the server and run `kvserver repair --reset-time {}`",
            dir.display(),
            ahead_ms / 1000,
            dir.display()
        );
    }
}

pub(crate) struct Engine {
    pub(crate) context: StoreContext,
    pub(crate) registry: RwLock<Registry>,
    pub(crate) shards: usize,
    /// `None` for a store in memory only.
    pub(crate) storage: Option<StorageDirectory>,
    /// Joined when the store is closed.
    pub(crate) threads: Mutex<Vec<thread::JoinHandle<()>>>,
    /// A thread removes what has expired.
    has_sweeper: bool,
    closed: AtomicBool,
    /// Limits are changed by one at a time.
    limits_changing: Mutex<()>,
    /// How many entries had expired when the store was opened.
    expired_at_open: AtomicU64,
}

/// Which keyspaces there are. Names are given and taken, in the log too, under its write lock.
pub(crate) struct Registry {
    by_name: BTreeMap<Arc<str>, Arc<KeyspaceInner>>,
    pub(crate) next_id: u32,
}

impl Registry {
    pub(crate) fn spaces(&self) -> impl Iterator<Item = &Arc<KeyspaceInner>> {
        self.by_name.values()
    }

    /// The keyspace that now holds what has this number in the log.
    pub(crate) fn holding(&self, log_id: u32) -> Option<&Arc<KeyspaceInner>> {
        self.spaces().find(|space| space.log_id() == log_id)
    }
}

/// How often a draft is tried before the transaction runs under the locks.
const DRAFTS_MAX: usize = 8;

impl Engine {
    pub(crate) fn open(options: Options, dir: Option<&Path>) -> Result<Arc<Self>> {
        options.check()?;
        let time = Arc::new(Timeline::new(options.clock.clone()));
        let engine = match dir {
            Some(dir) => Self::open_dir(&options, dir, time)?,
            None => {
                let hasher = KeyHash::with_seed(KeyHash::random_seed());
                Engine::new(&options, hasher, time, None, 0, BTreeMap::new(), 0, None)
            }
        };
        if let Some(observer) = options.observer {
            engine.context.observe(observer)?;
        }
        let engine = Arc::new(engine);
        engine.space(DEFAULT_KEYSPACE)?;
        engine.spaces().iter().for_each(|space| space.find_due());
        engine.expired_at_open.store(engine.sweep(), Ordering::Relaxed);
        engine.set_limits(options.limits)?;
        Ok(engine)
    }

    /// A store in memory with what a directory holds, which is left as it is.
    pub(crate) fn load(options: Options, dir: &Path) -> Result<Arc<Self>> {
        options.check()?;
        let time = Arc::new(Timeline::new(options.clock.clone()));
        let dir = directory::open(&*options.disk, dir)?;
        let _lock = directory::lock_to_read(&*dir)?;
        check::check_is_a_store(&*dir)?;
        let RecoveredState { spaces, next_keyspace, hasher, floor_ms, .. } =
            load::load(&*dir, options.shards, LoadMode::Entries)?.tables;
        time.at_least(floor_ms);
        let engine = Arc::new(Engine::new(&options, hasher, time, None, floor_ms, spaces, next_keyspace, None));
        engine.space(DEFAULT_KEYSPACE)?;
        engine.spaces().iter().for_each(|space| space.find_due());
        engine.sweep();
        Ok(engine)
    }

    fn open_dir(options: &Options, dir: &Path, time: Arc<Timeline>) -> Result<Self> {
        let started_ms = time.monotonic_ms();
        let dir = directory::create(&*options.disk, dir)?;
        let lock = directory::lock(&*dir)?;
        if let Some(exposure) = dir.exposure() {
            tracing::warn!("{exposure}");
        }
        let mut found = load::load(&*dir, options.shards, LoadMode::Entries)?;
        let manifest = load::make_durable(&*dir, &mut found)?;
        time.at_least(found.tables.floor_ms);
        warn_if_ahead(dir.path(), time.ahead_of_wall_ms());
        found.report.took = std::time::Duration::from_millis(time.monotonic_ms().saturating_sub(started_ms));
        tracing::info!(
            "opened {}: {} keys from the snapshot, {} transactions replayed, {} bytes cut, in {:?}",
            dir.path().display(),
            found.report.snapshot_entries,
            found.report.replayed,
            found.report.cut_bytes,
            found.report.took
        );
        let storage = StorageDirectory::new(options, dir, lock, &mut found, manifest, Arc::clone(&time))?;
        let RecoveredState { spaces, next_keyspace, hasher, floor_ms, .. } = found.tables;
        let wal = Some(Arc::clone(&storage.wal));
        Ok(Engine::new(options, hasher, time, wal, floor_ms, spaces, next_keyspace, Some(storage)))
    }

    #[allow(clippy::too_many_arguments, reason = "one call for each of the two ways to open")]
    fn new(
        options: &Options,
        hasher: KeyHash,
        time: Arc<Timeline>,
        wal: Option<Arc<Wal>>,
        floor_ms: u64,
        spaces: BTreeMap<u32, Arc<KeyspaceInner>>,
        next_id: u32,
        storage: Option<StorageDirectory>,
    ) -> Self {
        let by_name = spaces.into_values().map(|space| (Arc::clone(&space.name), space)).collect();
        let has_sweeper = storage.is_some() || options.sweeps_in_memory;
        let promise = wal.as_ref().map_or_else(|| Arc::new(Promise::new(options.durability)), |wal| wal.promise());
        Engine {
            context: StoreContext::new(
                hasher,
                time,
                options.key_bytes_max,
                options.value_bytes_max,
                promise,
                wal,
                floor_ms,
            ),
            registry: RwLock::new(Registry { by_name, next_id }),
            shards: options.shards,
            storage,
            threads: Mutex::new(Vec::new()),
            has_sweeper,
            closed: AtomicBool::new(false),
            limits_changing: Mutex::new(()),
            expired_at_open: AtomicU64::new(0),
        }
    }

    pub(crate) fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Relaxed) { Err(Error::Closed) } else { Ok(()) }
    }

    /// The keyspace with this name, which is made if it is not there.
    pub(crate) fn space(&self, name: &str) -> Result<Arc<KeyspaceInner>> {
        self.check_open()?;
        if let Some(space) = self.registry.read().by_name.get(name) {
            return Ok(Arc::clone(space));
        }
        self.context.check_key(name.as_bytes())?;
        let _guard = self.context.enter()?;
        let mut registry = self.registry.write();
        if let Some(space) = registry.by_name.get(name) {
            return Ok(Arc::clone(space));
        }
        let space = Arc::new(KeyspaceInner::new(registry.next_id, name, self.shards));
        let lsn = self.log(&Record::Bind { keyspace: space.id, name })?;
        // That it is empty tells that another of this name is gone.
        (0..space.shard_count()).for_each(|shard| space.write(shard).reveals(lsn));
        registry.next_id = registry.next_id.saturating_add(1);
        self.context.eviction.adopt(&space, self.context.access_time());
        registry.by_name.insert(Arc::clone(&space.name), Arc::clone(&space));
        Ok(space)
    }

    pub(crate) fn spaces(&self) -> Vec<Arc<KeyspaceInner>> {
        self.registry.read().spaces().cloned().collect()
    }

    /// Empties a keyspace and forgets its name; false if there is none. Its handles are of no more use.
    pub(crate) fn drop_space(&self, name: &str) -> Result<(bool, Lsn)> {
        self.check_open()?;
        let _wakes = self.context.watches.wake_at_end();
        let entered = self.context.enter()?;
        let Some(space) = self.registry.read().by_name.get(name).cloned() else { return Ok((false, Lsn::ZERO)) };
        // With every shard locked no commit can be between its effects and its place in the log. Shards before the
        // registry, as in a transaction that asks for a keyspace's name.
        let mut emptied = Vec::with_capacity(space.shard_count());
        let mut guards: Vec<_> = (0..space.shard_count()).map(|shard| space.write(shard)).collect();
        let mut registry = self.registry.write();
        if space.is_dropped() {
            return Ok((false, Lsn::ZERO));
        }
        let lsn = self.log(&Record::Drop { keyspace: space.log_id() })?;
        space.set_dropped();
        for guard in &mut guards {
            // Freed when nothing is locked any more.
            emptied.push(guard.clear());
            guard.reveals(lsn);
            self.context.eviction.publish(guard);
        }
        self.context.eviction.forget(&space);
        let change = Change {
            keyspace_id: space.id,
            keyspace: &space.name,
            key: None,
            kind: ChangeKind::Clear,
            lsn,
            origin: Origin::NONE,
        };
        self.context.tell(&change);
        self.context.watches.close_keyspace(space.id);
        registry.by_name.remove(name);
        drop((registry, guards, entered));
        self.context.disposal.free(emptied.iter().map(|shard| shard.bytes()).sum(), emptied);
        Ok((true, lsn))
    }

    fn log(&self, record: &Record<'_>) -> Result<Lsn> {
        let Some(wal) = &self.context.wal else { return Ok(Lsn::ZERO) };
        let mut transaction = Vec::new();
        record.encode(&mut transaction);
        wal.append(&transaction)
    }

    /// Shows the value of a key, if it is there, under its shard's lock, and returns what `show` makes of it. Compiled anew for
    /// each `show`: a call through a pointer makes a read of a hot key a seventh slower, half as slow again without LTO.
    #[inline]
    pub(crate) fn read<R>(
        &self,
        space: &KeyspaceInner,
        key: &[u8],
        show: impl FnOnce(ValueRef<'_>) -> R,
    ) -> Result<Option<R>> {
        self.show(space, key, self.context.eviction.is_on(), show)
    }

    /// As [`read`](Self::read), which is no use of the key.
    #[inline]
    pub(crate) fn peek<R>(
        &self,
        space: &KeyspaceInner,
        key: &[u8],
        show: impl FnOnce(ValueRef<'_>) -> R,
    ) -> Result<Option<R>> {
        self.show(space, key, false, show)
    }

    #[inline]
    fn show<R>(
        &self,
        space: &KeyspaceInner,
        key: &[u8],
        uses: bool,
        show: impl FnOnce(ValueRef<'_>) -> R,
    ) -> Result<Option<R>> {
        self.check_open()?;
        let _guard = self.context.enter()?;
        let hash = self.context.hasher.hash(key);
        let guard = space.read(space.shard_of(hash));
        let found = if uses { guard.find_to_use(hash, key, self.context.access_time()) } else { guard.find(hash, key) };
        let Some(entry) = found else { return Ok(None) };
        let value = entry.value();
        if let Some(deadline) = value.deadline() {
            let now_ms = self.context.time.now_ms();
            if deadline.has_passed(now_ms) {
                self.context.mark_time(deadline.as_ms(), now_ms);
                return Ok(None);
            }
        }
        Ok(Some(show(value)))
    }

    /// Runs a read-only transaction over keys of one keyspace, under shared locks. Returns what must be durable before its
    /// outcome may be revealed. `uses_keys` is false if it counts as no access to the keys.
    #[inline]
    pub(crate) fn view(
        &self,
        space: &KeyspaceInner,
        keys: &[&[u8]],
        uses_keys: bool,
        origin: Origin<'_>,
        body: &mut impl FnMut(&ReadLockedTxn<'_>) -> Result<()>,
    ) -> Result<Lsn> {
        self.check_open()?;
        let _wakes = self.context.watches.wake_at_end();
        let entered = self.context.enter()?;
        let (lsn, met_expired) = if let [key] = keys {
            let locked = ReadLockedTxn::lock_one(&self.context, space, key, uses_keys);
            let outcome = body(&locked);
            // Marks the time of what the body has seen to be expired, even if it failed.
            let revealed = locked.revealed();
            outcome?;
            revealed
        } else {
            self.view_keys(space, keys, uses_keys, body)?
        };
        if met_expired && !self.context.expiry_held.load(Ordering::Relaxed) {
            keys.iter().for_each(|key| self.expire_now(space, key, origin));
        }
        drop(entered);
        Ok(self.revealed(lsn, met_expired, keys.iter().copied()))
    }

    /// Shows any number of keys to the body of a [`view`](Self::view).
    #[inline(never)]
    fn view_keys(
        &self,
        space: &KeyspaceInner,
        keys: &[&[u8]],
        uses_keys: bool,
        body: &mut dyn FnMut(&ReadLockedTxn<'_>) -> Result<()>,
    ) -> Result<(Lsn, bool)> {
        let set = LockSet::of_keys(self.context.store_id, space, &self.context.hasher, keys);
        let locked = ReadLockedTxn::lock(&self.context, space, &set, uses_keys);
        let outcome = body(&locked);
        let revealed = locked.revealed();
        outcome.map(|()| revealed)
    }

    /// Runs a transaction over keys of one keyspace. Returns what must be durable before its outcome may be revealed.
    #[inline]
    pub(crate) fn commit(
        &self,
        space: &KeyspaceInner,
        keys: &[&[u8]],
        origin: Origin<'_>,
        body: &mut impl FnMut(&mut LockedTxn<'_>) -> Result<()>,
    ) -> Result<Lsn> {
        let [key] = keys else { return self.commit_keys(space, keys, origin, body) };
        self.check_open()?;
        let _wakes = self.context.watches.wake_at_end();
        let entered = self.context.enter()?;
        let is_exhausted = self.context.eviction.is_on() && self.make_room(space);
        let hash = self.context.hasher.hash(key);
        let done = UndoLog::lend(&self.context.disposal, |undo_log| {
            let mut locked = LockedTxn::lock_one(&self.context, space, (key, hash), (origin, is_exhausted), undo_log);
            body(&mut locked)?;
            locked.commit()
        })?;
        if done.met_expired && !self.context.expiry_held.load(Ordering::Relaxed) {
            self.expire_now(space, key, origin);
        }
        if done.room_wanted > 0 {
            self.make_room_after(&done, &[(space.id, hash)]);
        }
        drop(entered);
        self.sweep_if_due(space);
        Ok(self.revealed(done.lsn, done.met_expired, std::iter::once(*key)))
    }

    /// As [`commit`](Self::commit), of any number of keys. Out of its way: most transactions name one.
    #[inline(never)]
    fn commit_keys(
        &self,
        space: &KeyspaceInner,
        keys: &[&[u8]],
        origin: Origin<'_>,
        body: &mut dyn FnMut(&mut LockedTxn<'_>) -> Result<()>,
    ) -> Result<Lsn> {
        self.commit_across(&LockSet::of_keys(self.context.store_id, space, &self.context.hasher, keys), origin, body)
    }

    /// Returns what must be durable before the outcome of a transaction over `keys` may be revealed.
    #[inline(always)]
    fn revealed<'k>(&self, lsn: Lsn, met_expired: bool, keys: impl Iterator<Item = &'k [u8]>) -> Lsn {
        match &self.context.wal {
            // A change of some other key, which the log may never take, does not keep these from being read.
            // Beyond the log lies what could not be logged: that keys of this shard were swept, perhaps these.
            Some(wal) if !met_expired && lsn <= wal.last() && wal.refuses_but_is_durable(keys) => Lsn::ZERO,
            _ => lsn,
        }
    }

    /// Runs a transaction over several keyspaces. Calls speak of the first one until another is selected.
    pub(crate) fn commit_across(
        &self,
        set: &LockSet<'_>,
        origin: Origin<'_>,
        body: &mut dyn FnMut(&mut LockedTxn<'_>) -> Result<()>,
    ) -> Result<Lsn> {
        self.check_open()?;
        let _wakes = self.context.watches.wake_at_end();
        let entered = self.context.enter()?;
        let is_exhausted = self.prepare(set)?;
        let done = UndoLog::lend(&self.context.disposal, |undo_log| {
            let mut locked = LockedTxn::lock(&self.context, set, undo_log)?;
            (locked.is_exhausted, locked.origin) = (is_exhausted, origin);
            body(&mut locked)?;
            // Which name means what changes together with the log's knowing it: a snapshot sees both or neither.
            let _names = locked.has_swapped().then(|| self.registry.write());
            let done = locked.commit();
            // Before the names are given back.
            drop(locked);
            done
        })?;
        Ok(self.finish(set, &done, origin, entered))
    }

    /// Runs a transaction over keys of several keyspaces on a draft, again if they have changed meanwhile.
    pub(crate) fn commit_draft(
        &self,
        set: &LockSet<'_>,
        origin: Origin<'_>,
        is_valid: &dyn Fn() -> bool,
        body: &mut dyn FnMut(&mut dyn CrossTxn) -> Result<()>,
    ) -> Result<Lsn> {
        if !set.has_whole() {
            for _ in 0..DRAFTS_MAX {
                self.check_open()?;
                let _wakes = self.context.watches.wake_at_end();
                let entered = self.context.enter()?;
                let is_exhausted = self.prepare(set)?;
                match self.try_draft(set, is_exhausted, origin, is_valid, body) {
                    Ok(Some(done)) => return Ok(self.finish(set, &done, origin, entered)),
                    Ok(None) => {}
                    // A draft logs copies of values whole; under the locks they may be named.
                    Err(Error::TransactionTooLarge { .. }) => break,
                    Err(error) => return Err(error),
                }
            }
        }
        self.commit_across(set, origin, &mut |locked| body(locked))
    }

    /// Runs a transaction once on a draft; `None` if its keys have changed meanwhile.
    fn try_draft(
        &self,
        set: &LockSet<'_>,
        is_exhausted: bool,
        origin: Origin<'_>,
        is_valid: &dyn Fn() -> bool,
        body: &mut dyn FnMut(&mut dyn CrossTxn) -> Result<()>,
    ) -> Result<Option<Committed>> {
        let keys = set.named_keys().map(|(space, key)| (space.id, key));
        let seen = UndoLog::lend(&self.context.disposal, |undo_log| {
            Seen::take(&mut LockedTxn::lock(&self.context, set, undo_log)?, keys)
        })?;
        let mut undo_log = UndoLog::default();
        let mut draft = Draft::new(&self.context, &seen, set, &mut undo_log)?;
        body(&mut draft)?;
        if draft.is_read_only() {
            if !is_valid() {
                return Ok(None);
            }
            let marked = draft.mark_time();
            if draft.has_uses() {
                UndoLog::lend(&self.context.disposal, |undo_log| -> Result<()> {
                    LockedTxn::lock(&self.context, set, undo_log)?.use_keys(&draft);
                    Ok(())
                })?;
            }
            let lsn = marked.map_or(seen.lsn, |lsn| lsn.max(seen.lsn));
            return Ok(Some(Committed { lsn, met_expired: marked.is_some(), room_wanted: 0, is_late: false }));
        }
        // No lock is held yet.
        self.context.wal.as_ref().map_or(Ok(()), |wal| wal.wait_for_room())?;
        UndoLog::lend(&self.context.disposal, |undo_log| {
            let mut locked = LockedTxn::lock(&self.context, set, undo_log)?;
            (locked.is_exhausted, locked.origin) = (is_exhausted, origin);
            if !locked.is_as_seen(&seen) || !is_valid() {
                return Ok(None);
            }
            locked.apply(&mut draft);
            locked.use_keys(&draft);
            locked.commit().map(Some)
        })
    }

    /// Checks a set, and makes room before anything is locked; returns whether that is not possible.
    fn prepare(&self, set: &LockSet<'_>) -> Result<bool> {
        if !set.is_of(self.context.store_id) {
            return Err(Error::ForeignKeyspace);
        }
        let first = set.first().ok_or(Error::EmptyLockSet)?;
        Ok(self.context.eviction.is_on() && self.make_room(first))
    }

    /// Does what follows a commit over several keyspaces. Returns what must be durable before its outcome may be revealed.
    fn finish(&self, set: &LockSet<'_>, done: &Committed, origin: Origin<'_>, entered: ReentrancyGuard) -> Lsn {
        if done.met_expired && !self.context.expiry_held.load(Ordering::Relaxed) {
            set.named_keys().for_each(|(space, key)| self.expire_now(space, key, origin));
            for space in set.whole_spaces() {
                let now_ms = self.context.time.now_ms();
                for shard in 0..space.shard_count() {
                    self.sweep_shard(space, shard, now_ms);
                }
            }
        }
        if done.room_wanted > 0 {
            self.make_room_after(done, &set.named_hashes());
        }
        drop(entered);
        set.first().into_iter().for_each(|first| self.sweep_if_due(first));
        match set.has_whole() {
            true => done.lsn,
            false => self.revealed(done.lsn, done.met_expired, set.named_keys().map(|(_, key)| key)),
        }
    }

    /// Waits while the log's buffers are full. From inside a transaction it returns at once: no lock is held meanwhile.
    #[inline]
    pub(crate) fn wait_for_room(&self) -> Result<()> {
        match &self.context.wal {
            Some(wal) if wal.is_backlogged() && !self.context.is_entered() => wal.wait_for_room(),
            _ => Ok(()),
        }
    }

    /// Brings the store within its limits before a transaction locks anything; returns whether that is not possible. What
    /// has expired goes first, where no thread removes it.
    #[cold]
    fn make_room(&self, space: &KeyspaceInner) -> bool {
        self.context.refresh_stamps_if_due();
        if !self.context.eviction.is_reached() {
            return false;
        }
        let due = space.due();
        if !self.has_sweeper && due != u64::MAX && due <= tick_at(self.context.time.now_ms()) {
            self.sweep_entered();
        }
        let is_exhausted = self.context.eviction.is_full() && !self.context.prepare_eviction();
        is_exhausted || self.context.make_room(ROOM_STEP, &[], Backlog::Ends) == Room::Exhausted
    }

    /// Makes the room that a transaction wants when it has given back its locks. What it named, `spared`, stays if anything
    /// else can go.
    #[cold]
    fn make_room_after(&self, done: &Committed, spared: &[(u32, u64)]) {
        let eviction = &self.context.eviction;
        // Although the log may be full: a removal is a small record, and what was added is in the log already.
        self.context.make_room(done.room_wanted, spared, Backlog::Ignored);
        if done.is_late && eviction.has_surplus() {
            self.context.make_room(done.room_wanted, &[], Backlog::Ignored);
        }
    }

    /// Changes the limits. Entries beyond them are removed by the writes that follow, or by [`room`](Self::room).
    pub(crate) fn set_limits(&self, limits: Limits) -> Result<()> {
        self.check_open()?;
        limits.check()?;
        let _guard = self.context.enter()?;
        let eviction = &self.context.eviction;
        let _changing = self.limits_changing.lock();
        if limits.is_limited() {
            self.context.note_time();
        }
        if limits.is_limited() && limits.policy == Policy::Lfu {
            self.context.count_accesses_by_default();
        }
        let spaces: Vec<_> = {
            // A keyspace that is made meanwhile is one of these, or finds the new limits.
            let registry = self.registry.read();
            eviction.change(limits, registry.spaces());
            registry.spaces().cloned().collect()
        };
        for space in spaces {
            for shard in 0..space.shard_count() {
                eviction.adopt_shard(&space, shard, &limits, self.context.access_time());
            }
        }
        eviction.finish(&limits);
        Ok(())
    }

    /// Lets the access statistics go on to the present time.
    pub(crate) fn note_time(&self) {
        self.context.note_time();
        // From inside a transaction it would wait for what that holds.
        if let Ok(_guard) = self.context.enter() {
            self.context.refresh_stamps_if_due();
        }
    }

    /// Removes entries, at most `at_most`, until the store is within its limits.
    pub(crate) fn room(&self, at_most: u64) -> Result<Room> {
        self.check_open()?;
        let _wakes = self.context.watches.wake_at_end();
        let _guard = self.context.enter()?;
        self.context.refresh_stamps_if_due();
        Ok(self.context.make_room(at_most, &[], Backlog::Ends))
    }

    /// A store without threads sweeps as it is written to.
    fn sweep_if_due(&self, space: &KeyspaceInner) {
        let due = space.due();
        if !self.has_sweeper && due != u64::MAX && due <= tick_at(self.context.time.now_ms()) {
            self.sweep();
        }
    }

    /// Removes an entry if its deadline has passed, to the millisecond: somebody has asked for it.
    fn expire_now(&self, space: &KeyspaceInner, key: &[u8], origin: Origin<'_>) {
        if !self.context.can_mark_time() {
            return;
        }
        let (hash, now_ms) = (self.context.hasher.hash(key), self.context.time.now_ms());
        let mut guard = space.write(space.shard_of(hash));
        let passed = guard.find(hash, key).and_then(Entry::deadline).filter(|deadline| deadline.has_passed(now_ms));
        let Some(deadline) = passed else { return };
        let taken = guard.take(&self.context.hasher, hash, key);
        self.context.eviction.publish(&mut guard);
        let lsn = self.context.mark_time(deadline.as_ms(), now_ms);
        guard.reveals(lsn);
        self.context.count_expired(1);
        let (keyspace_id, keyspace) = (space.id, &*space.name);
        let kind = ChangeKind::Expire;
        self.context.tell(&Change { keyspace_id, keyspace, key: Some(key), kind, lsn, origin });
        // In this order: to free a large value takes long.
        drop(guard);
        self.context.disposal.free_entries(SmallVec::<[Entry; 1]>::from_iter(taken));
    }

    /// Keeps expired entries even if somebody asks for them, or no longer does.
    pub(crate) fn suspend_expiry(&self, held: bool) {
        self.context.expiry_held.store(held, Ordering::SeqCst);
        if !held {
            self.context.sweeper.notify();
        }
    }

    fn keeps_expired(&self) -> bool {
        self.context.sweeping_paused.load(Ordering::Relaxed) || self.context.expiry_held.load(Ordering::Relaxed)
    }

    /// Keeps expired entries until somebody asks for them, or no longer does.
    pub(crate) fn pause_sweeping(&self, paused: bool) {
        self.context.sweeping_paused.store(paused, Ordering::SeqCst);
        if !paused {
            self.context.sweeper.notify();
        }
    }

    /// Removes every entry whose deadline has passed, as far as the wheels' ticks tell; returns how many.
    pub(crate) fn sweep(&self) -> u64 {
        let _wakes = self.context.watches.wake_at_end();
        let Ok(_guard) = self.context.enter() else { return 0 };
        self.context.refresh_stamps_if_due();
        self.sweep_entered()
    }

    /// As [`sweep`](Self::sweep), for who has entered the store already.
    fn sweep_entered(&self) -> u64 {
        let mut removed = 0;
        if self.keeps_expired() || !self.context.can_mark_time() {
            return 0;
        }
        let now_ms = self.context.time.now_ms();
        for space in self.spaces().iter().filter(|space| space.due() <= tick_at(now_ms)) {
            space.forget_due();
            for shard in 0..space.shard_count() {
                removed += self.sweep_shard(space, shard, now_ms);
            }
        }
        removed
    }

    fn sweep_shard(&self, space: &KeyspaceInner, shard: usize, now_ms: u64) -> u64 {
        let mut removed = 0;
        // Most shards have nothing due at any one tick: a shared lock tells.
        let due = |next: Option<u64>| next.is_some_and(|tick| tick <= tick_at(now_ms));
        let next = space.read(shard).next_tick();
        if !due(next) {
            next.map(|tick| space.note_due(tick));
            return 0;
        }
        loop {
            // Freed after the guard is dropped: large values take long.
            let mut expired = SmallVec::<[Entry; 0]>::new();
            let mut guard = space.write(shard);
            let (mut last_deadline, mut count) = (0, 0);
            let more = guard.sweep(&self.context.hasher, now_ms, SWEEP_STEP, &mut |entry| {
                last_deadline = last_deadline.max(entry.deadline().map_or(0, |deadline| deadline.as_ms()));
                count += 1;
                expired.push(entry);
            });
            if count > 0 {
                let lsn = self.context.mark_time(last_deadline, now_ms);
                guard.reveals(lsn);
                self.context.eviction.publish(&mut guard);
                for entry in expired.iter().filter(|_| self.context.is_observed()) {
                    let (keyspace_id, keyspace, key) = (space.id, &*space.name, Some(entry.key()));
                    let (kind, origin) = (ChangeKind::Expire, Origin::NONE);
                    self.context.tell(&Change { keyspace_id, keyspace, key, kind, lsn, origin });
                }
            }
            removed += count;
            if !more {
                // Noted under the lock, so that a deadline filed meanwhile is not missed.
                guard.next_tick().map(|tick| space.note_due(tick));
            }
            drop(guard);
            self.context.disposal.free_entries(expired);
            if !more {
                self.context.count_expired(removed);
                return removed;
            }
        }
    }

    /// Milliseconds until [`sweep`](Self::sweep) has something to do; `None` while there are no deadlines.
    pub(crate) fn sweep_due_in_ms(&self) -> Option<u64> {
        if self.keeps_expired() {
            return None;
        }
        let due = self.registry.read().spaces().map(|space| space.due()).min().filter(|due| *due != u64::MAX)?;
        let due_in_ms = due.saturating_mul(TICK_MS).saturating_sub(self.context.time.now_ms());
        Some(if self.context.can_mark_time() { due_in_ms } else { due_in_ms.max(REFUSED_PAUSE_MS) })
    }

    pub(crate) fn stats(&self) -> Stats {
        let mut stats = Stats {
            expired: self.context.expired.load(Ordering::Relaxed),
            evicted: self.context.eviction.evicted.load(Ordering::Relaxed),
            eviction_step_max: self.context.eviction.step_max.load(Ordering::Relaxed),
            time_ahead_ms: self.context.time.ahead_of_wall_ms(),
            ..Stats::default()
        };
        let inside = self.context.is_entered();
        for space in self.spaces() {
            space.each_shard(inside, |shard| {
                stats.entries += shard.len() as u64;
                stats.entries_with_deadline += shard.with_deadline() as u64;
                stats.memory_bytes += shard.bytes() as u64;
            });
        }
        stats.entries = stats.entries.min(self.context.eviction.entries_max());
        stats.entries_with_deadline = stats.entries_with_deadline.min(stats.entries);
        if let Some(storage) = &self.storage {
            storage.add_stats(&mut stats);
        }
        stats.recovery.expired = self.expired_at_open.load(Ordering::Relaxed);
        stats.snapshot = self.snapshot_status();
        stats
    }

    /// How many changes have been made since the store was opened. Called from inside a transaction it leaves out what
    /// that holds locked.
    pub(crate) fn changes(&self) -> u64 {
        let mut changes: u64 = 0;
        let inside = self.context.is_entered();
        for space in self.spaces() {
            space.each_shard(inside, |shard| changes = changes.wrapping_add(shard.changes()));
        }
        changes
    }

    pub(crate) fn snapshot_status(&self) -> SnapshotStatus {
        let changes = self.changes();
        match &self.storage {
            Some(storage) => storage.snapshot_status(changes, self.context.time.monotonic_ms()),
            None => SnapshotStatus { changes_since: changes, ..SnapshotStatus::default() },
        }
    }

    /// Makes everything durable, ends the threads and frees the directory. Only the first call does anything.
    pub(crate) fn close(&self) -> Result<()> {
        let _wakes = self.context.watches.wake_at_end();
        let _guard = self.context.enter()?;
        if self.closed.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        self.context.sweeper.end();
        if let Some(storage) = &self.storage {
            storage.end_threads();
        }
        let threads = std::mem::take(&mut *self.threads.lock());
        for thread in threads {
            // The last handle may be dropped on one of these threads, which cannot wait for itself.
            if thread.thread().id() != thread::current().id() {
                let _ = thread.join();
            }
        }
        // Behind all that the threads have done.
        self.context.watches.close();
        self.storage.as_ref().map_or(Ok(()), StorageDirectory::close)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }
}
