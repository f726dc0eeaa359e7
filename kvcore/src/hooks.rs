//! Hooks: what a server that is built on the store needs. Programs that embed a store need none of it, and it may change
//! with any version.
//!
//! Invariant: nothing here weakens what [`Db`] and [`Keyspace`] promise, except where the caller
//! takes over a duty that is named.
//!
//! [`Db::hooks`](crate::Db::hooks) and [`Keyspace::hooks`](crate::Keyspace::hooks) lead here: commits that return their place in
//! the log ([`Lsn`]) instead of waiting, the primitives of a transaction ([`ReadTxn`], [`Txn`], [`CrossTxn`]), scans over a whole
//! keyspace ([`Scan`]), observers, access statistics, and suspending what the store does by itself.

use std::ops::Deref;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::db::Db;
use crate::error::{Error, Result};
use crate::keyspace::Keyspace;
use crate::log::ticket::Ticket;
use crate::store;
use crate::table::shard::touch;
use crate::transaction::Transaction;
use crate::txn::lock_set::LockSet;
use crate::value::ValueRef;

pub use crate::lsn::Lsn;
pub use crate::observer::{Change, ChangeKind, Observer, Origin, Swap};
pub use crate::table::access::LfuCounter;
pub use crate::table::access::Usage;
pub use crate::table::scan::{Cursor, Scan};
pub use crate::txn::traits::{CrossTxn, Lookup, Lookups, ReadTxn, Txn, TxnExt};

/// More keys than this at a time cost [`KeyspaceHooks::prefetch`] an allocation.
const PREFETCH_KEYS: usize = 16;

/// Returns the place in the log that must be durable before a ticket is good.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// let db = kvcore::Db::open(dir.path())?;
/// let ticket = db.deferred().set("key", "value")?;
/// let lsn = kvcore::hooks::lsn_of(&ticket);
/// ticket.wait()?;
/// assert!(db.hooks().durable_lsn() >= lsn);
/// # Ok::<(), kvcore::Error>(())
/// ```
pub fn lsn_of<T>(ticket: &Ticket<T>) -> Lsn {
    ticket.lsn()
}

/// Returns the primitives that a transaction is made of.
///
/// ```
/// let db = kvcore::Db::in_memory();
/// db.transact(&["key"], |transaction| {
///     let txn = kvcore::hooks::txn_of(transaction);
///     txn.set(b"key", b"value", None)
/// })?;
/// # Ok::<(), kvcore::Error>(())
/// ```
pub fn txn_of<'t>(transaction: &'t mut Transaction<'_>) -> &'t mut dyn Txn {
    transaction.primitives()
}

/// Ends the first of two runs of a body.
fn undo() -> Result<()> {
    Err(Error::aborted("the first of two runs"))
}

/// What a server needs of a keyspace.
#[derive(Clone, Copy, Debug)]
pub struct KeyspaceHooks<'a> {
    keyspace: &'a Keyspace,
    origin: Origin<'a>,
}

impl<'a> KeyspaceHooks<'a> {
    #[inline]
    pub(crate) fn new(keyspace: &'a Keyspace) -> Self {
        KeyspaceHooks { keyspace, origin: Origin::NONE }
    }

    /// Returns these hooks for transactions whose changes have this origin; [`DbHooks::with_origin`] shows what for.
    ///
    /// ```
    /// use kvcore::hooks::Origin;
    /// let db = kvcore::Db::in_memory();
    /// let request = 42_u64;
    /// let sessions = db.keyspace("sessions")?;
    /// let hooks = sessions.hooks().with_origin(Origin::new(&request));
    /// hooks.commit(&[b"key"], &mut |txn| txn.set(b"key", b"value", None))?;
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    #[inline]
    #[must_use]
    pub fn with_origin(self, origin: Origin<'a>) -> Self {
        KeyspaceHooks { origin, ..self }
    }
}

impl KeyspaceHooks<'_> {
    /// Returns the keyspace's number while the store is open; it is never used for another keyspace.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// assert_eq!(db.keyspace("other")?.hooks().id(), db.keyspace("other")?.hooks().id());
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    pub fn id(&self) -> u32 {
        self.keyspace.space.id
    }

    /// Runs `body` once, with the named keys locked. If it returns `Ok`, its changes are applied and logged as one group; if it
    /// fails or panics, nothing is changed. Returns the Lsn that must be durable before anything that `body` wrote *or read*
    /// may be revealed; [`wait`](Self::wait) waits for it.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// let lsn = db.hooks().commit(&[b"key"], &mut |txn| txn.set(b"key", b"value", None))?;
    /// db.hooks().wait(lsn)?;
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of `body`, and [`Error::Reentered`] if it calls the store.
    #[inline]
    pub fn commit(&self, keys: &[&[u8]], body: &mut dyn FnMut(&mut dyn Txn) -> Result<()>) -> Result<Lsn> {
        self.keyspace.wait_for_room()?;
        let (engine, space) = (self.keyspace.engine(), &self.keyspace.space);
        if engine.context.bodies_run_twice() {
            return self.commit_run_twice(keys, body);
        }
        engine.commit(space, keys, self.origin, &mut |locked| body(locked))
    }

    /// Runs `body` on the named keys as they are at one moment, under shared locks: other readers are not kept waiting.
    /// Returns the newest change that it reveals. `uses_keys` is false if no lookup counts as an access to its key.
    ///
    /// # Errors
    ///
    /// Those of `body`, and [`Error::Reentered`] if it calls the store.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// db.set("key", "value")?;
    /// let mut len = 0;
    /// db.hooks().view(&[b"key"], true, &mut |txn| {
    ///     len = txn.get(b"key")?.map_or(0, |value| value.len());
    ///     Ok(())
    /// })?;
    /// assert_eq!(len, 5);
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    pub fn view(
        &self,
        keys: &[&[u8]],
        uses_keys: bool,
        body: &mut dyn FnMut(&dyn ReadTxn) -> Result<()>,
    ) -> Result<Lsn> {
        let (engine, space) = (self.keyspace.engine(), &self.keyspace.space);
        if engine.context.bodies_run_twice() {
            let _ = self.run_view(keys, uses_keys, body);
        }
        engine.view(space, keys, uses_keys, self.origin, &mut |locked| body(locked))
    }

    /// Runs the body of a view once, out of the way of the usual case.
    #[cold]
    fn run_view(
        &self,
        keys: &[&[u8]],
        uses_keys: bool,
        body: &mut dyn FnMut(&dyn ReadTxn) -> Result<()>,
    ) -> Result<Lsn> {
        let (engine, space) = (self.keyspace.engine(), &self.keyspace.space);
        engine.view(space, keys, uses_keys, self.origin, &mut |locked| body(locked))
    }

    /// Runs `body` and undoes it; then commits as [`commit`](Self::commit) does.
    #[cold]
    fn commit_run_twice(&self, keys: &[&[u8]], body: &mut dyn FnMut(&mut dyn Txn) -> Result<()>) -> Result<Lsn> {
        let (engine, space) = (self.keyspace.engine(), &self.keyspace.space);
        let _ = engine.commit(space, keys, self.origin, &mut |locked| body(locked).and_then(|()| undo()));
        engine.commit(space, keys, self.origin, &mut |locked| body(locked))
    }

    /// Runs `body` as [`commit`](Self::commit) does, and returns when the outcome is as durable as the handle promises.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// db.hooks().transact(&["key"], |txn| txn.set(b"key", b"value", None))?;
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`commit`](Self::commit), and of the log.
    pub fn transact<K: AsRef<[u8]>, R>(
        &self,
        keys: &[K],
        mut body: impl FnMut(&mut dyn Txn) -> Result<R>,
    ) -> Result<R> {
        let mut result = None;
        let lsn = store::with_names(keys, |keys| {
            self.commit(keys, &mut |txn| {
                result = Some(body(txn)?);
                Ok(())
            })
        })?;
        self.wait(lsn)?;
        result.ok_or(Error::BodyNotRun)
    }

    /// Blocks until the handle's promise of durability holds for `lsn`.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// db.hooks().wait(db.hooks().last_lsn())?;
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of the log: then it is unknown what is on stable storage.
    pub fn wait(&self, lsn: Lsn) -> Result<()> {
        self.keyspace.wait_for(lsn)
    }

    /// Shows the value of `key` as [`Store::read`](crate::Store::read) does, and does not count as a use of it. Returns whether
    /// it is there.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// db.set("key", "value")?;
    /// assert!(db.hooks().peek(b"key", &mut |value| assert_eq!(value.bytes(), b"value"))?);
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [every read](Keyspace#errors).
    pub fn peek(&self, key: &[u8], show: &mut dyn FnMut(ValueRef<'_>)) -> Result<bool> {
        self.keyspace.engine().peek(&self.keyspace.space, key, show).map(|shown| shown.is_some())
    }

    /// Returns how many keys there are, those that have expired included until they are swept, and how many of them have a
    /// deadline. Called from inside a transaction it leaves out what that holds locked.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// db.set("key", "value")?;
    /// assert_eq!(db.hooks().counts(), (1, 0));
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    pub fn counts(&self) -> (u64, u64) {
        let (mut entries, mut with_deadline) = (0, 0);
        let context = &self.keyspace.engine().context;
        self.keyspace.space.each_shard(context.is_entered(), |shard| {
            entries += shard.len() as u64;
            with_deadline += shard.with_deadline() as u64;
        });
        // Shards are looked at one after the other: an entry that went in one for one that came in another counted twice.
        let entries = entries.min(context.eviction.entries_max());
        (entries, with_deadline.min(entries))
    }

    /// Returns how long the keys that have a deadline have to live on average, in milliseconds; 0 if there are none. Called
    /// from inside a transaction it leaves out what that holds locked.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// db.set("key", "value")?;
    /// assert_eq!(db.hooks().average_ttl_ms(), 0);
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    pub fn average_ttl_ms(&self) -> u64 {
        let (mut with_deadline, mut sum_ms) = (0, 0_u128);
        self.keyspace.space.each_shard(self.keyspace.engine().context.is_entered(), |shard| {
            with_deadline += shard.with_deadline() as u128;
            sum_ms = sum_ms.saturating_add(shard.deadlines_ms());
        });
        let average_ms = u64::try_from(sum_ms.checked_div(with_deadline).unwrap_or(0)).unwrap_or(u64::MAX);
        average_ms.saturating_sub(self.keyspace.engine().context.time.now_ms())
    }

    /// Fetches what is stored of these keys into the processor's cache, for a caller that is about to use them one after the
    /// other and would wait for the memory of each in turn. A hint: it changes nothing and never waits.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// let keys = ["a", "b", "c"];
    /// db.hooks().prefetch(keys.iter().map(|key| key.as_bytes()));
    /// for key in keys {
    ///     db.get(key)?;
    /// }
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    pub fn prefetch<'k>(&self, keys: impl Iterator<Item = &'k [u8]>) {
        let context = &self.keyspace.engine().context;
        let mut shards: SmallVec<[_; PREFETCH_KEYS]> = SmallVec::new();
        keys.for_each(|key| {
            let hash = context.hasher.hash(key);
            if let Some(shard) = self.keyspace.space.try_read(self.keyspace.space.shard_of(hash)) {
                shards.push((hash, shard));
            }
        });
        // All locks are taken: nothing orders these reads, so the processor has many of them under way at once. First the
        // tables of all keys, then what they point to: each of the second reads waits for one of the first.
        let entries: SmallVec<[&[u8]; PREFETCH_KEYS]> = shards.iter().map(|(hash, shard)| shard.near(*hash)).collect();
        std::hint::black_box(entries.iter().fold(0, |sum, entry| sum ^ touch(entry)));
    }

    /// Returns the same keyspace for a thread that must never wait, such as an event loop: its transactions do not wait
    /// while [the log's buffers are full](DbHooks::is_backlogged).
    ///
    /// The caller checks that before each write. If it does not, the log's buffers grow without a bound.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory().keyspace("sessions")?;
    /// let quick = db.hooks().without_waiting_for_room();
    /// quick.set("key", "value")?;
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    pub fn without_waiting_for_room(&self) -> Keyspace {
        self.keyspace.without_waiting_for_room()
    }
}

/// What a server needs of a store; with what it needs of the default keyspace.
#[derive(Clone, Copy, Debug)]
pub struct DbHooks<'a> {
    db: &'a Db,
    default: KeyspaceHooks<'a>,
}

impl<'a> Deref for DbHooks<'a> {
    type Target = KeyspaceHooks<'a>;

    fn deref(&self) -> &KeyspaceHooks<'a> {
        &self.default
    }
}

impl<'a> DbHooks<'a> {
    pub(crate) fn new(db: &'a Db) -> Self {
        DbHooks { db, default: KeyspaceHooks::new(&db.default) }
    }
}

impl<'a> DbHooks<'a> {
    /// Returns these hooks for transactions whose changes have this origin.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::cell::Cell;
    /// use std::sync::Arc;
    /// use kvcore::Db;
    /// use kvcore::hooks::{Change, Observer, Origin};
    ///
    /// /// A request, and how many keys it has changed.
    /// struct Request(Cell<u32>);
    ///
    /// struct Count;
    /// impl Observer for Count {
    ///     fn changed(&self, change: &Change<'_>) {
    ///         if let Some(Request(changes)) = change.origin.get() {
    ///             changes.set(changes.get() + 1);
    ///         }
    ///     }
    /// }
    ///
    /// let db = Db::in_memory();
    /// db.hooks().observe(Arc::new(Count))?;
    /// let request = Request(Cell::new(0));
    /// db.hooks().with_origin(Origin::new(&request)).commit(&[b"key"], &mut |txn| txn.set(b"key", b"value", None))?;
    /// db.set("key", "another")?;
    /// assert_eq!(request.0.get(), 1);
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    #[must_use]
    pub fn with_origin(self, origin: Origin<'a>) -> Self {
        DbHooks { default: self.default.with_origin(origin), ..self }
    }
}

impl DbHooks<'_> {
    /// Runs `body` as [`commit_across`](Self::commit_across) does, and returns when the outcome is as durable as the store
    /// promises.
    ///
    /// ```
    /// use kvcore::{Db, LockSet};
    /// let db = Db::in_memory();
    /// db.hooks().transact_across(LockSet::new().keys(&db, &[b"key"]), |txn| txn.set(b"key", b"value", None))?;
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of `body`; [`Error::ForeignKeyspace`], [`Error::EmptyLockSet`], [`Error::Reentered`]; those of the log.
    pub fn transact_across<R>(
        &self,
        locks: LockSet<'_>,
        mut body: impl FnMut(&mut dyn CrossTxn) -> Result<R>,
    ) -> Result<R> {
        let mut result = None;
        let lsn = self.commit_across(locks, &mut |txn| {
            result = Some(body(txn)?);
            Ok(())
        })?;
        self.db.wait_for(lsn)?;
        result.ok_or(Error::BodyNotRun)
    }

    /// Runs `body` once with everything in `locks` locked. Calls concern the keyspace that was added first until `body`
    /// [selects](CrossTxn::select) another. Does not wait.
    ///
    /// ```
    /// use kvcore::{Db, LockSet};
    /// let db = Db::in_memory();
    /// let locks = LockSet::new().keys(&db, &[b"key"]);
    /// let lsn = db.hooks().commit_across(locks, &mut |txn| txn.set(b"key", b"value", None))?;
    /// db.hooks().wait(lsn)?;
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of `body`; [`Error::ForeignKeyspace`], [`Error::EmptyLockSet`], [`Error::Reentered`].
    pub fn commit_across(
        &self,
        mut locks: LockSet<'_>,
        body: &mut dyn FnMut(&mut dyn CrossTxn) -> Result<()>,
    ) -> Result<Lsn> {
        locks.order();
        self.db.wait_for_room()?;
        let (engine, origin) = (self.db.engine(), self.default.origin);
        if engine.context.bodies_run_twice() {
            let _ = engine.commit_across(&locks, origin, &mut |locked| body(locked).and_then(|()| undo()));
        }
        engine.commit_across(&locks, origin, &mut |locked| body(locked))
    }

    /// Runs `body` as [`commit_across`](Self::commit_across) does, but without locks while it runs: for what takes long.
    /// If it has changed anything, waits while [the log's buffers are full](Self::is_backlogged), whichever handle it is, before
    /// it locks the keys. Does not wait until anything is durable.
    ///
    /// `body` works on a draft: it sees all the keys as they were at one moment, that of `now_ms`, and its own
    /// changes. If it has changed anything, the keys are then locked and compared with what it saw: if they are the same,
    /// its changes are applied and logged as one transaction; if they are not, it runs again on what they are now, and
    /// after eight runs under the locks. So it must be repeatable: only the last run counts. A body that changes nothing
    /// runs once. Large values are neither copied nor compared under the locks.
    ///
    /// `is_valid` is called under the locks, too, before changes are applied; where it returns false, `body` runs again. It
    /// must return soon and must not call the store.
    ///
    /// Where `locks` has a whole keyspace, it runs under the locks.
    ///
    /// ```
    /// use kvcore::{Db, LockSet};
    /// let db = Db::in_memory();
    /// db.set("text", "a long text")?;
    /// db.hooks().commit_draft(LockSet::new().keys(&db, ["text", "length"]), &|| true, &mut |txn| {
    ///     let length = txn.get(b"text")?.map_or(0, |text| text.len());
    ///     txn.set(b"length", length.to_string().as_bytes(), None)
    /// })?;
    /// assert_eq!(db.get("length")?.unwrap(), "11");
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of `body`; [`Error::ForeignKeyspace`], [`Error::EmptyLockSet`], [`Error::Reentered`].
    pub fn commit_draft(
        &self,
        mut locks: LockSet<'_>,
        is_valid: &dyn Fn() -> bool,
        body: &mut dyn FnMut(&mut dyn CrossTxn) -> Result<()>,
    ) -> Result<Lsn> {
        locks.order();
        let (engine, origin) = (self.db.engine(), self.default.origin);
        if engine.context.bodies_run_twice() {
            let _ = engine.commit_draft(&locks, origin, is_valid, &mut |txn| body(txn).and_then(|()| undo()));
        }
        engine.commit_draft(&locks, origin, is_valid, body)
    }

    /// Returns the place of the newest change, durable or not.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// let db = kvcore::Db::open(dir.path())?;
    /// db.set("key", "value")?;
    /// assert_eq!(db.hooks().last_lsn(), db.hooks().durable_lsn());
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    pub fn last_lsn(&self) -> Lsn {
        self.db.wal().map_or(Lsn::ZERO, |wal| wal.last())
    }

    /// Returns the place of the newest change on stable storage: all before it are, too.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// let db = kvcore::Db::open(dir.path())?;
    /// db.set("key", "value")?;
    /// assert!(db.hooks().durable_lsn() > kvcore::hooks::Lsn::ZERO);
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    pub fn durable_lsn(&self) -> Lsn {
        self.db.wal().map_or(Lsn::ZERO, |wal| wal.durable())
    }

    /// Requests that everything up to `lsn` be made durable, and returns at once.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// let db = kvcore::Db::open(dir.path())?;
    /// db.set("key", "value")?;
    /// db.hooks().request_sync(db.hooks().last_lsn());
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    pub fn request_sync(&self, lsn: Lsn) {
        if let Some(wal) = self.db.wal() {
            wal.request_sync(lsn);
        }
    }

    /// Calls `listener` each time [`durable_lsn`](Self::durable_lsn) has advanced or the log has failed, on whichever
    /// thread wrote. It must return soon.
    ///
    /// ```
    /// use std::sync::Arc;
    /// # let dir = tempfile::tempdir().unwrap();
    /// let db = kvcore::Db::open(dir.path())?;
    /// db.set("key", "value")?;
    /// db.hooks().on_durable(Arc::new(|| println!("the log is durable up to somewhere else")));
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    pub fn on_durable(&self, listener: Arc<dyn Fn() + Send + Sync>) {
        if let Some(wal) = self.db.wal() {
            wal.listen(listener);
        }
    }

    /// Starts a thread of the store that frees large values, and keyspaces that are emptied or dropped. Without it the thread that
    /// removes, overwrites or evicts them does so before its call returns: about 0.2 ms a MiB.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// db.hooks().free_in_background()?;
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When the thread cannot be started.
    pub fn free_in_background(&self) -> Result<()> {
        self.db.engine().context.disposal.start()
    }

    /// Notifies `observer` of each change from now on. A store has at most eight observers.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use kvcore::hooks::{Change, Observer};
    ///
    /// struct Prints;
    ///
    /// impl Observer for Prints {
    ///     fn changed(&self, change: &Change<'_>) {
    ///         println!("{:?}: {:?}", change.key, change.kind);
    ///     }
    /// }
    ///
    /// let db = kvcore::Db::in_memory();
    /// db.hooks().observe(Arc::new(Prints))?;
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::TooManyObservers`].
    pub fn observe(&self, observer: Arc<dyn Observer>) -> Result<()> {
        self.db.engine().context.observe(observer)
    }

    /// Returns the same store for threads that must never wait; see [`KeyspaceHooks::without_waiting_for_room`].
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// let quick = db.hooks().without_waiting_for_room();
    /// if !db.hooks().is_backlogged() {
    ///     quick.set("key", "value")?;
    /// }
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    #[must_use]
    pub fn without_waiting_for_room(&self) -> Db {
        Db { default: self.db.default.without_waiting_for_room() }
    }

    /// Waits while [the log's buffers are full](Self::is_backlogged), for threads whose handle does not wait by itself.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// let quick = db.hooks().without_waiting_for_room();
    /// db.hooks().await_room()?;
    /// quick.set("key", "value")?;
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The log takes no writes.
    pub fn await_room(&self) -> Result<()> {
        self.db.engine().wait_for_room()
    }

    /// Returns whether so much waits to be written that the next write would wait, too.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// assert!(!db.hooks().is_backlogged());
    /// ```
    pub fn is_backlogged(&self) -> bool {
        self.db.wal().is_some_and(|wal| wal.is_backlogged())
    }

    /// Counts so many bytes, which the program needs for something else, against [`max_memory`](crate::Limits::max_memory).
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// db.hooks().reserve_memory(10 << 20);
    /// ```
    pub fn reserve_memory(&self, bytes: u64) {
        self.db.engine().context.eviction.set_reserved(bytes);
    }

    /// Returns how many keys were removed to make room since the store was opened.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// assert_eq!(db.hooks().evicted(), 0);
    /// ```
    pub fn evicted(&self) -> u64 {
        self.db.engine().context.eviction.evicted.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Advances the access clock to now: [`Usage::idle_secs`] counts by it. Call it about once a second to know how long keys were
    /// not used. From the first call on, transactions record the keys that they use, in two bytes for each place of the tables.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// db.hooks().note_time();
    /// ```
    pub fn note_time(&self) {
        self.db.engine().note_time();
    }

    /// Records how often keys are used, or with `None` again when. What was recorded by the other measure is discarded.
    ///
    /// ```
    /// use kvcore::hooks::LfuCounter;
    /// let db = kvcore::Db::in_memory();
    /// db.hooks().count_accesses(Some(LfuCounter::default()));
    /// ```
    pub fn count_accesses(&self, counter: Option<LfuCounter>) {
        self.db.engine().context.count_accesses(counter);
    }

    /// Pauses or resumes the removal of expired entries: while paused, they are removed only when a transaction meets them.
    /// No reader sees them in any case, but they are counted and take memory. For tests.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// db.hooks().pause_sweeping(true);
    /// ```
    pub fn pause_sweeping(&self, paused: bool) {
        self.db.engine().pause_sweeping(paused);
    }

    /// Has each body that is given to these hooks run twice, or once again: whatever comes of its first run is undone. A body that
    /// is repeatable, as those of a store that runs them again after a conflict must be, has the same outcome: for tests.
    ///
    /// # Examples
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// db.hooks().run_bodies_twice(true);
    /// let mut runs = 0;
    /// db.hooks().commit(&[b"key"], &mut |txn| {
    ///     runs += 1;
    ///     txn.write_range(b"key", 0, b"value").map(drop)
    /// })?;
    /// assert_eq!(runs, 2);
    /// assert_eq!(db.get("key")?.unwrap(), "value");
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    pub fn run_bodies_twice(&self, twice: bool) {
        self.db.engine().context.run_bodies_twice(twice);
    }

    /// Suspends or resumes expiry: while suspended, entries whose deadline has passed are seen by no reader and yet removed by
    /// nobody, so nothing is logged and no observer is notified. For a time in which a store must not change.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// db.hooks().suspend_expiry(true);
    /// ```
    pub fn suspend_expiry(&self, held: bool) {
        self.db.engine().suspend_expiry(held);
    }
}
