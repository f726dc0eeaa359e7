//! Keyspace: the handle everybody holds. Invariant: a handle is two pointers and a promise; cloning it is cheap, and the
//! store closes when the last one is dropped.

use std::fmt;
use std::sync::Arc;

use crate::durability::Durability;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::hooks::KeyspaceHooks;
use crate::iter::{Entries, ScanPage, ScanPosition};
use crate::log::ticket::Ticket;
use crate::lsn::Lsn;
use crate::observer::Origin;
use crate::store::{self, Store};
use crate::table::keyspace::KeyspaceInner;
use crate::transaction::Transaction;
use crate::txn::lock_set::LockSet;
use crate::txn::locked::LockedTxn;
use crate::txn::traits::Txn;
use crate::value::ValueRef;
use crate::view::View;
use crate::watch::{Watch, WatchOptions};

mod everyday;
mod scan;

/// Whose methods those of `everyday` are.
type Subject = Keyspace;

/// Closes the engine when the last handle goes.
pub(crate) struct StoreHandle(pub(crate) Arc<Engine>);

impl Drop for StoreHandle {
    fn drop(&mut self) {
        if let Err(error) = self.0.close() {
            tracing::warn!("the store was closed with an error: {error}");
        }
    }
}

/// A named set of keys of a [`Db`](crate::Db).
///
/// Keys and values are any bytes; both may be empty. A write returns when the store's promise of [durability](Durability)
/// holds for it; [`deferred`](Self::deferred) returns before that. A handle is cheap to clone, `Send` and `Sync`.
///
/// # Errors
///
/// Every method can return [`Error::Closed`], [`Error::KeyspaceDropped`] and, called from inside a closure that the
/// same store runs, [`Error::Reentered`]. Every write can return [`Error::KeyTooLong`], [`Error::ValueTooLong`],
/// [`Error::MemoryLimit`], [`Error::EntryLimit`], and the errors of the log: [`Error::LogFailed`], [`Error::NoSpace`],
/// [`Error::TooManyOpenFiles`]. After an error of the log the outcome of the write is unknown, as it is after [`Error::Closed`] if
/// another thread closed the store while the write waited to be durable; after any other error nothing was changed.
#[derive(Clone)]
pub struct Keyspace {
    pub(crate) handle: Arc<StoreHandle>,
    pub(crate) space: Arc<KeyspaceInner>,
    /// `None`: the store's.
    pub(crate) durability: Option<Durability>,
    /// Whether transactions wait while the log's buffers are full.
    waits_for_room: bool,
}

impl fmt::Debug for Keyspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyspace").field("name", &self.space.name).field("durability", &self.durability()).finish()
    }
}

/// The handle.
impl Keyspace {
    pub(crate) fn new(handle: Arc<StoreHandle>, space: Arc<KeyspaceInner>) -> Self {
        Keyspace { handle, space, durability: None, waits_for_room: true }
    }

    /// Returns another keyspace's handle with the same promise.
    pub(crate) fn beside(&self, space: Arc<KeyspaceInner>) -> Self {
        Keyspace { space, ..self.clone() }
    }

    pub(crate) fn without_waiting_for_room(&self) -> Keyspace {
        Keyspace { waits_for_room: false, ..self.clone() }
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.handle.0
    }

    /// Returns the keyspace's name.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// assert_eq!(db.keyspace("sessions")?.name(), "sessions");
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    pub fn name(&self) -> &str {
        &self.space.name
    }

    /// Returns what a write through this handle has survived when it returns.
    ///
    /// ```
    /// use kvcore::{Db, Durability};
    /// assert_eq!(Db::in_memory().durability(), Durability::Always);
    /// ```
    #[inline]
    pub fn durability(&self) -> Durability {
        self.durability.unwrap_or_else(|| self.engine().context.promise.get())
    }

    /// Returns a handle of the same keyspace with another promise, for some of the writes. It stays, whatever becomes of
    /// [the store's](crate::Db::set_durability).
    ///
    /// ```
    /// use kvcore::{Db, Durability};
    /// let db = Db::in_memory();
    /// let clicks = db.with_durability(Durability::EverySecond);
    /// clicks.increment("clicks", 1)?; // does not wait for the disk
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    pub fn with_durability(&self, durability: Durability) -> Keyspace {
        Keyspace { durability: Some(durability), ..self.clone() }
    }

    /// Returns what a server that is built on the store needs beyond this page.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// let sessions = db.keyspace("sessions")?;
    /// assert_ne!(sessions.hooks().id(), db.hooks().id());
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    #[inline]
    pub fn hooks(&self) -> KeyspaceHooks<'_> {
        KeyspaceHooks::new(self)
    }

    /// Waits while the log's buffers are full, if this handle does.
    #[inline]
    pub(crate) fn wait_for_room(&self) -> Result<()> {
        if self.waits_for_room { self.engine().wait_for_room() } else { Ok(()) }
    }

    /// Returns when this handle's promise holds for `lsn`.
    #[inline]
    pub(crate) fn wait_for(&self, lsn: Lsn) -> Result<()> {
        let Some(wal) = &self.engine().context.wal else { return Ok(()) };
        match self.durability() {
            Durability::Always => wal.wait(lsn),
            Durability::EverySecond => {
                wal.keep_window(lsn);
                Ok(())
            }
            Durability::Os => Ok(()),
        }
    }

    /// Returns a ticket that is good when this handle's promise holds for `lsn`.
    fn ticket<T>(&self, value: T, lsn: Lsn) -> Ticket<T> {
        let durability = self.durability();
        let wal = self.engine().context.wal.as_ref();
        if durability != Durability::Os {
            // Perhaps the ticket is never waited for.
            wal.into_iter().for_each(|wal| wal.keep_window(lsn));
        }
        // At the weaker levels there is nothing to wait for.
        Ticket::new(value, lsn, wal.filter(|_| durability == Durability::Always).cloned())
    }

    /// Runs a transaction, and returns its result before it is durable.
    #[inline]
    fn apply<R>(&self, keys: &[&[u8]], mut body: impl FnMut(&mut LockedTxn<'_>) -> Result<R>) -> Result<(R, Lsn)> {
        let mut result = None;
        self.wait_for_room()?;
        let lsn = self.engine().commit(&self.space, keys, Origin::NONE, &mut |locked| {
            result = Some(body(locked)?);
            Ok(())
        })?;
        result.map(|result| (result, lsn)).ok_or(Error::BodyNotRun)
    }

    /// Runs a transaction, and returns its result when it is durable.
    #[inline]
    pub(crate) fn transact_locked<K: AsRef<[u8]>, R>(
        &self,
        keys: &[K],
        body: impl FnMut(&mut LockedTxn<'_>) -> Result<R>,
    ) -> Result<R> {
        let (result, lsn) = store::with_names(keys, |keys| self.apply(keys, body))?;
        self.wait_for(lsn)?;
        Ok(result)
    }

    /// Removes every key, and returns how many there were before that is durable.
    pub(crate) fn apply_clear(&self) -> Result<(u64, Lsn)> {
        let mut removed = 0;
        self.wait_for_room()?;
        let whole = LockSet::of_space(self.engine().context.store_id, &self.space);
        let lsn = self.engine().commit_across(&whole, Origin::NONE, &mut |locked| {
            removed = locked.clear()?;
            Ok(())
        })?;
        Ok((removed, lsn))
    }

    /// Runs a transaction over one key, and returns its result when it is durable.
    #[inline]
    pub(crate) fn write<R>(&self, key: &[u8], body: impl FnMut(&mut LockedTxn<'_>) -> Result<R>) -> Result<R> {
        let (result, lsn) = self.apply(&[key], body)?;
        self.wait_for(lsn)?;
        Ok(result)
    }

    /// Runs a read-only transaction, and returns its result before what it has seen is durable.
    pub(crate) fn look<K: AsRef<[u8]>, R>(
        &self,
        keys: &[K],
        mut body: impl FnMut(&View<'_>) -> Result<R>,
    ) -> Result<(R, Lsn)> {
        let mut result = None;
        let lsn = store::with_names(keys, |keys| {
            self.engine().view(&self.space, keys, true, Origin::NONE, &mut |locked| {
                result = Some(body(&View::new(locked))?);
                Ok(())
            })
        })?;
        result.map(|result| (result, lsn)).ok_or(Error::BodyNotRun)
    }
}

/// Adding keyspaces.
impl<'k> LockSet<'k> {
    /// Adds keys of a keyspace.
    ///
    /// # Examples
    ///
    /// ```
    /// use kvcore::{Db, LockSet};
    /// let db = Db::in_memory();
    /// db.transact_across(LockSet::new().keys(&db, ["counter"]), |txn| txn.keyspace(&db)?.increment("counter", 1))?;
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    pub fn keys<K: AsRef<[u8]> + ?Sized + 'k>(
        mut self,
        keyspace: &Keyspace,
        keys: impl IntoIterator<Item = &'k K>,
    ) -> Self {
        self.add_keys(keyspace, keys);
        self
    }

    /// Adds a whole keyspace.
    ///
    /// # Examples
    ///
    /// ```
    /// use kvcore::{Db, LockSet};
    /// let db = Db::in_memory();
    /// db.set("key", "value")?;
    /// assert_eq!(db.transact_across(LockSet::new().whole(&db), |txn| txn.clear(&db))?, 1);
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    pub fn whole(mut self, keyspace: &Keyspace) -> Self {
        self.add_whole(keyspace);
        self
    }

    /// Adds keys as [`keys`](Self::keys) does, to a set that is at hand.
    ///
    /// # Examples
    ///
    /// ```
    /// use kvcore::{Db, LockSet};
    /// let db = Db::in_memory();
    /// let keyspaces = [db.keyspace("orders")?, db.keyspace("stock")?];
    /// let mut locks = LockSet::new();
    /// keyspaces.iter().for_each(|keyspace| locks.add_keys(keyspace, ["42"]));
    /// db.transact_across(locks, |txn| txn.keyspace(&keyspaces[1])?.set("42", "3"))?;
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    pub fn add_keys<K: AsRef<[u8]> + ?Sized + 'k>(
        &mut self,
        keyspace: &Keyspace,
        keys: impl IntoIterator<Item = &'k K>,
    ) {
        let context = &keyspace.engine().context;
        self.lock_keys(context.store_id, &keyspace.space, &context.hasher, keys.into_iter().map(AsRef::as_ref));
    }

    /// Adds a keyspace as [`whole`](Self::whole) does, to a set that is at hand.
    ///
    /// # Examples
    ///
    /// ```
    /// use kvcore::{Db, LockSet};
    /// let db = Db::in_memory();
    /// let keyspaces = db.keyspaces();
    /// let mut locks = LockSet::new();
    /// keyspaces.iter().for_each(|keyspace| locks.add_whole(keyspace));
    /// db.transact_across(locks, |txn| keyspaces.iter().try_for_each(|keyspace| txn.clear(keyspace).map(drop)))?;
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    pub fn add_whole(&mut self, keyspace: &Keyspace) {
        self.lock_whole(keyspace.engine().context.store_id, &keyspace.space);
    }
}

impl Store for Keyspace {
    fn keyspace(&self, name: &str) -> Result<Box<dyn Store>> {
        Ok(Box::new(self.beside(self.engine().space(name)?)))
    }

    fn run_view(&self, keys: &[&[u8]], body: &mut dyn FnMut(&View<'_>) -> Result<()>) -> Result<Ticket<()>> {
        let lsn = self.engine().view(&self.space, keys, true, Origin::NONE, &mut |locked| body(&View::new(locked)))?;
        Ok(self.ticket((), lsn))
    }

    fn run_transaction(
        &self,
        keys: &[&[u8]],
        body: &mut dyn FnMut(&mut Transaction<'_>) -> Result<()>,
    ) -> Result<Ticket<()>> {
        self.wait_for_room()?;
        let lsn =
            self.engine().commit(&self.space, keys, Origin::NONE, &mut |locked| body(&mut Transaction::new(locked)))?;
        Ok(self.ticket((), lsn))
    }

    fn scan(&self, position: Option<&ScanPosition>, at_least: usize, prefix: &[u8]) -> Result<ScanPage> {
        Keyspace::scan(self, position, at_least, prefix)
    }

    fn len(&self) -> Result<u64> {
        Keyspace::len(self)
    }

    fn run_clear(&self) -> Result<Ticket<u64>> {
        let (removed, lsn) = self.apply_clear()?;
        Ok(self.ticket(removed, lsn))
    }

    fn begin_sync(&self) -> Result<Ticket<()>> {
        self.engine().check_open()?;
        // Under the locks of a transaction its caller would wait for writes that wait for these.
        drop(self.engine().context.enter()?);
        let wal = self.engine().context.wal.as_ref();
        Ok(Ticket::new((), wal.map_or(Lsn::ZERO, |wal| wal.last()), wal.cloned()))
    }

    fn begin_watch(&self, prefix: &[u8], options: WatchOptions) -> Result<Watch> {
        self.watch_with(prefix, options)
    }

    fn read(&self, key: &[u8], show: &mut dyn FnMut(ValueRef<'_>)) -> Result<bool> {
        self.engine().read(&self.space, key, show).map(|shown| shown.is_some())
    }

    fn entries<'a>(&'a self, prefix: &[u8]) -> Result<Entries<'a>> {
        self.prefix(prefix)
    }
}
