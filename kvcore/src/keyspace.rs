//! Keyspace: the handle everybody holds. Invariant: a handle is two pointers and a promise; cloning it is cheap, and the
//! store closes when the last one is dropped.

use std::fmt;
use std::sync::Arc;

use crate::durability::Durability;
use crate::engine::{Claimed, Engine};
use crate::entry::ValueRef;
use crate::error::Result;
use crate::lsn::Lsn;
use crate::space::Space;
use crate::store::{Store, commit_once};
use crate::ticket::Ticket;
use crate::txn::{SetOptions, SetOutcome, Txn, TxnExt};
use crate::walk::{self, Cursor, Walk};

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
    durability: Durability,
}

impl fmt::Debug for Keyspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyspace").field("name", &self.space.name).field("durability", &self.durability).finish()
    }
}

impl Keyspace {
    pub(crate) fn new(lease: Arc<Lease>, space: Arc<Space>, durability: Durability) -> Self {
        Keyspace { lease, space, durability }
    }

    fn engine(&self) -> &Engine {
        &self.lease.0
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.space.name
    }

    /// Its number in the log, never used again for another keyspace.
    pub fn id(&self) -> u32 {
        self.space.id
    }

    /// How many keys there are, those that have expired included until they are swept, and how many of them have a
    /// deadline.
    pub fn counts(&self) -> (u64, u64) {
        self.space.counts()
    }

    /// What a plain write through this handle has survived when it returns.
    pub fn durability(&self) -> Durability {
        self.durability
    }

    /// The same keyspace with another promise, for some of the writes.
    pub fn with_durability(&self, durability: Durability) -> Keyspace {
        Keyspace { durability, ..self.clone() }
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
        self.engine().commit(&self.space, keys, &mut |locked| body(locked))
    }

    fn wait(&self, lsn: Lsn) -> Result<()> {
        match &self.engine().base.wal {
            Some(wal) if self.durability == Durability::Always => wal.wait(lsn),
            _ => Ok(()),
        }
    }

    fn flush(&self) -> Result<u64> {
        let mut removed = 0;
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
        self.space.len()
    }

    fn walk(&self, cursor: Cursor, at_least: usize, each: &mut dyn FnMut(&[u8], ValueRef<'_>)) -> Result<Cursor> {
        let base = &self.engine().base;
        let _entered = base.enter()?;
        let now_ms = base.time.now_ms();
        Ok(walk::step(cursor, at_least, self.space.shard_count(), &mut |shard, place, budget, shown| {
            self.space.read(shard).walk(place, budget, &mut |entry| {
                if !entry.has_passed(now_ms) {
                    each(entry.key(), entry.value());
                    *shown += 1;
                }
                *shown < at_least
            })
        }))
    }

    fn for_each(&self, each: &mut dyn FnMut(&[u8], ValueRef<'_>)) -> Result<()> {
        let base = &self.engine().base;
        let _entered = base.enter()?;
        for shard in 0..self.space.shard_count() {
            let now_ms = base.time.now_ms();
            for entry in self.space.read(shard).iter().filter(|entry| !entry.has_passed(now_ms)) {
                each(entry.key(), entry.value());
            }
        }
        Ok(())
    }

    fn random_key(&self) -> Result<Option<Vec<u8>>> {
        let base = &self.engine().base;
        let _entered = base.enter()?;
        let now_ms = base.time.now_ms();
        Ok(walk::random(self.space.shard_count(), &mut |shard, bucket| {
            let guard = self.space.read(shard);
            let bucket = bucket.checked_rem(guard.buckets()).unwrap_or(0);
            guard.entry_from_bucket(bucket).map(|entry| (entry.key().to_vec(), entry.has_passed(now_ms)))
        }))
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
        // At the weaker levels the promise holds at once.
        let wal = self.0.engine().base.wal.clone().filter(|_| self.0.durability == Durability::Always);
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
