//! Keyspace: the handle everybody holds. Invariant: a handle is two pointers and a promise; cloning it is cheap, and the
//! store closes when the last one is dropped.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::base::{Base, Entered};
use crate::durability::Durability;
use crate::engine::{Claimed, Engine};
use crate::entry::{Entry, ValueRef};
use crate::error::Result;
use crate::lsn::Lsn;
use crate::shard::touch;
use crate::space::Space;
use crate::store::{Store, commit_once};
use crate::ticket::Ticket;
use crate::txn::{SetOptions, SetOutcome, Txn, TxnExt};
use crate::walk::{self, Cursor, Walk};

/// More keys than this at a time cost [`Keyspace::prefetch`] an allocation.
const PREFETCH_KEYS: usize = 16;

/// Closes the engine when the last handle goes.
pub(crate) struct Lease(pub(crate) Arc<Engine>);

impl Drop for Lease {
    fn drop(&mut self) {
        if let Err(error) = self.0.close() {
            tracing::warn!("the store was closed with an error: {error}");
        }
    }
}

/// A named set of keys of a [`Db`](crate::Db). Use it through [`StoreExt`](crate::StoreExt).
#[derive(Clone)]
pub struct Keyspace {
    pub(crate) lease: Arc<Lease>,
    pub(crate) space: Arc<Space>,
    /// `None`: the store's.
    durability: Option<Durability>,
    /// Whether transactions wait while the log's buffers are full.
    waits_for_room: bool,
}

impl fmt::Debug for Keyspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyspace").field("name", &self.space.name).field("durability", &self.durability()).finish()
    }
}

impl Keyspace {
    pub(crate) fn new(lease: Arc<Lease>, space: Arc<Space>) -> Self {
        Keyspace { lease, space, durability: None, waits_for_room: true }
    }

    /// Another keyspace's handle with the same promise.
    pub(crate) fn beside(&self, space: Arc<Space>) -> Self {
        Keyspace { space, ..self.clone() }
    }

    fn engine(&self) -> &Engine {
        &self.lease.0
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.space.name
    }

    /// Its number while the store is open, never used for another keyspace.
    pub fn id(&self) -> u32 {
        self.space.id
    }

    /// How many keys there are, those that have expired included until they are swept, and how many of them have a
    /// deadline. Called from inside a transaction it leaves out what that holds locked.
    pub fn counts(&self) -> (u64, u64) {
        let (mut entries, mut with_deadline) = (0, 0);
        let base = &self.engine().base;
        self.space.each_shard(base.is_entered(), |shard| {
            entries += shard.len() as u64;
            with_deadline += shard.with_deadline() as u64;
        });
        // Shards are looked at one after the other: an entry that went in one for one that came in another counted twice.
        let entries = entries.min(base.eviction.entries_max());
        (entries, with_deadline.min(entries))
    }

    /// Returns how long the keys that have a deadline have to live on average, in milliseconds; 0 if there are none. Called
    /// from inside a transaction it leaves out what that holds locked.
    pub fn average_ttl_ms(&self) -> u64 {
        let (mut with_deadline, mut sum_ms) = (0, 0_u128);
        self.space.each_shard(self.engine().base.is_entered(), |shard| {
            with_deadline += shard.with_deadline() as u128;
            sum_ms = sum_ms.saturating_add(shard.deadlines_ms());
        });
        let average_ms = u64::try_from(sum_ms.checked_div(with_deadline).unwrap_or(0)).unwrap_or(u64::MAX);
        average_ms.saturating_sub(self.engine().base.time.now_ms())
    }

    /// Fetches what is stored of these keys into the processor's cache: for whoever is about to use them one after the
    /// other, and would wait for the memory of each in turn. A hint: changes and answers nothing, and never waits.
    pub fn prefetch<'k>(&self, keys: impl Iterator<Item = &'k [u8]>) {
        let base = &self.engine().base;
        let mut shards: SmallVec<[_; PREFETCH_KEYS]> = SmallVec::new();
        keys.for_each(|key| {
            let hash = base.hasher.hash(key);
            if let Some(shard) = self.space.try_read(self.space.shard_of(hash)) {
                shards.push((hash, shard));
            }
        });
        // All locks are taken: nothing orders these reads, so the processor has many of them under way at once. First the
        // tables of all keys, then what they point to: each of the second reads waits for one of the first.
        let entries: SmallVec<[&[u8]; PREFETCH_KEYS]> = shards.iter().map(|(hash, shard)| shard.near(*hash)).collect();
        std::hint::black_box(entries.iter().fold(0, |sum, entry| sum ^ touch(entry)));
    }

    /// Shows the value of `key` as [`Store::read`] does, and does not count as a use of it. Returns whether it is there.
    pub fn peek(&self, key: &[u8], show: &mut dyn FnMut(ValueRef<'_>)) -> Result<bool> {
        self.engine().peek(&self.space, key, show)
    }

    /// What a plain write through this handle has survived when it returns.
    #[inline]
    pub fn durability(&self) -> Durability {
        self.durability.unwrap_or_else(|| self.engine().base.promise.get())
    }

    /// The same keyspace with another promise, for some of the writes. It stays, whatever becomes of
    /// [the store's](crate::Db::set_durability).
    pub fn with_durability(&self, durability: Durability) -> Keyspace {
        Keyspace { durability: Some(durability), ..self.clone() }
    }

    /// Returns the same keyspace for a thread that must never wait, such as an event loop: its transactions do not wait
    /// while [the log's buffers are full](crate::Db::is_backlogged).
    ///
    /// The caller looks at that before each write. If it does not, the log's buffers grow without a bound.
    pub fn without_waiting_for_room(&self) -> Keyspace {
        Keyspace { waits_for_room: false, ..self.clone() }
    }

    /// Waits while the log's buffers are full, if this handle does.
    #[inline]
    pub(crate) fn wait_for_room(&self) -> Result<()> {
        if self.waits_for_room { self.engine().wait_for_room() } else { Ok(()) }
    }

    /// The same keyspace, whose writes return a [`Ticket`] at once, so that many of them can share one sync.
    pub fn deferred(&self) -> Deferred {
        Deferred(self.clone())
    }
}

impl Store for Keyspace {
    fn read(&self, key: &[u8], show: &mut dyn FnMut(ValueRef<'_>)) -> Result<bool> {
        self.engine().read(&self.space, key, show)
    }

    fn commit(&self, keys: &[&[u8]], body: &mut dyn FnMut(&mut dyn Txn) -> Result<()>) -> Result<Lsn> {
        self.wait_for_room()?;
        self.engine().commit(&self.space, keys, &mut |locked| body(locked))
    }

    fn wait(&self, lsn: Lsn) -> Result<()> {
        let Some(wal) = &self.engine().base.wal else { return Ok(()) };
        match self.durability() {
            Durability::Always => wal.wait(lsn),
            Durability::EverySecond => {
                wal.keep_window(lsn);
                Ok(())
            }
            Durability::Os => Ok(()),
        }
    }

    fn flush(&self) -> Result<u64> {
        let mut removed = 0;
        self.wait_for_room()?;
        let lsn = self.engine().commit_across(&[(&self.space, Claimed::Whole)], &mut |locked| {
            removed = locked.flush()?;
            Ok(())
        })?;
        self.wait(lsn)?;
        Ok(removed)
    }
}

impl Walk for Keyspace {
    fn len(&self) -> u64 {
        self.counts().0
    }

    fn walk(&self, cursor: Cursor, at_least: usize, each: &mut dyn FnMut(&[u8], ValueRef<'_>)) -> Result<Cursor> {
        let look = Look::begin(self.engine())?;
        Ok(walk::step(cursor, at_least, self.space.shard_count(), &mut |shard, place, budget, shown| {
            self.space.read(shard).walk(place, budget, &mut |entry| {
                if !look.has_passed(entry) {
                    each(entry.key(), entry.value());
                    *shown += 1;
                }
                *shown < at_least
            })
        }))
    }

    fn for_each(&self, each: &mut dyn FnMut(&[u8], ValueRef<'_>)) -> Result<()> {
        let look = Look::begin(self.engine())?;
        for shard in 0..self.space.shard_count() {
            for entry in self.space.read(shard).iter().filter(|entry| !look.has_passed(entry)) {
                each(entry.key(), entry.value());
            }
        }
        Ok(())
    }

    fn random_key(&self) -> Result<Option<Vec<u8>>> {
        let look = Look::begin(self.engine())?;
        Ok(walk::random(self.space.shard_count(), &self.space.widest, &mut |shard, pick| {
            self.space.read(shard).pick(pick, |entry| look.has_passed(entry))
        }))
    }
}

/// A look over a keyspace at one time. When it ends, the time is in the log if anything was passed over as expired: what
/// was seen to be gone stays gone.
struct Look<'a> {
    base: &'a Base,
    now_ms: u64,
    passed_ms: Cell<u64>,
    _entered: Entered,
}

impl<'a> Look<'a> {
    fn begin(engine: &'a Engine) -> Result<Self> {
        engine.check_open()?;
        let base = &engine.base;
        Ok(Look { base, now_ms: base.time.now_ms(), passed_ms: Cell::new(0), _entered: base.enter()? })
    }

    fn has_passed(&self, entry: &Entry) -> bool {
        let passed = entry.deadline().filter(|deadline| deadline.has_passed(self.now_ms));
        if let Some(deadline) = passed {
            self.passed_ms.set(self.passed_ms.get().max(deadline.as_ms()));
        }
        passed.is_some()
    }
}

impl Drop for Look<'_> {
    fn drop(&mut self) {
        if self.passed_ms.get() != 0 {
            self.base.mark_time(self.passed_ms.get(), self.now_ms);
        }
    }
}

/// A [`Keyspace`] whose writes return at once, with a [`Ticket`] that is good when they are as durable as it promises.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// let db = kvcore::Db::open(dir.path())?;
/// let deferred = db.deferred();
/// let tickets: Vec<_> = (0..1000).map(|i| deferred.set(format!("key{i}"), "value")).collect::<Result<_, _>>()?;
/// for ticket in tickets {
///     ticket.wait()?; // the first waits for one sync, which serves all
/// }
/// # Ok::<(), kvcore::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Deferred(Keyspace);

impl Deferred {
    /// As [`StoreExt::update`](crate::StoreExt::update).
    pub fn update<K: AsRef<[u8]>, R>(
        &self,
        keys: &[K],
        body: impl FnOnce(&mut dyn Txn) -> Result<R>,
    ) -> Result<Ticket<R>> {
        let mut answer = None;
        let lsn = commit_once(&self.0, keys, body, &mut answer)?;
        let durability = self.0.durability();
        let wal = self.0.engine().base.wal.as_ref();
        if durability != Durability::Os {
            // Perhaps the ticket is never waited for.
            wal.into_iter().for_each(|wal| wal.keep_window(lsn));
        }
        // At the weaker levels nobody waits.
        let wal = wal.filter(|_| durability == Durability::Always).cloned();
        answer.map(|answer| Ticket::new(answer, lsn, wal)).ok_or(crate::Error::Closed)
    }

    /// As [`StoreExt::set`](crate::StoreExt::set).
    pub fn set(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<Ticket<()>> {
        let (key, value) = (key.as_ref(), value.as_ref());
        self.update(&[key], |txn| txn.set(key, value, None))
    }

    /// As [`StoreExt::set_with`](crate::StoreExt::set_with).
    pub fn set_with(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        options: SetOptions,
    ) -> Result<Ticket<SetOutcome>> {
        let (key, value) = (key.as_ref(), value.as_ref());
        self.update(&[key], |txn| txn.set_with(key, value, options))
    }

    /// As [`StoreExt::delete`](crate::StoreExt::delete).
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<Ticket<bool>> {
        let key = key.as_ref();
        self.update(&[key], |txn| txn.delete(key))
    }

    /// As [`StoreExt::increment`](crate::StoreExt::increment).
    pub fn increment(&self, key: impl AsRef<[u8]>, by: i64) -> Result<Ticket<i64>> {
        let key = key.as_ref();
        self.update(&[key], |txn| txn.increment(key, by))
    }

    /// As [`StoreExt::append`](crate::StoreExt::append).
    pub fn append(&self, key: impl AsRef<[u8]>, bytes: impl AsRef<[u8]>) -> Result<Ticket<usize>> {
        let (key, bytes) = (key.as_ref(), bytes.as_ref());
        self.update(&[key], |txn| txn.append(key, bytes))
    }
}
