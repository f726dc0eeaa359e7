//! Everyday: what programs call. Invariant: a write returns when its promise of durability holds, and every method does the
//! same as the one of this name in [`StoreExt`](crate::StoreExt).
//!
//! This file is compiled twice, as methods of `Keyspace` and of `Db`: so a `Db` has them itself, on its own page, and a call means them
//! even where the trait is in scope.

use std::time::Duration;

use super::Subject;
use crate::deferred::Deferred;
use crate::error::{Error, Result};
use crate::iter::{Entries, Keys, ScanPage, ScanPosition, ShardEntries};
use crate::keyspace::Keyspace;
use crate::store::{self, Store};
use crate::table::scan::{Cursor, Scan};
use crate::transaction::Transaction;
use crate::txn::traits::{SetOptions, SetOutcome, Ttl, Txn, TxnExt};
use crate::value::{Deadline, Value};
use crate::view::View;
use crate::watch::{Watch, WatchOptions};

/// Reading.
impl Subject {
    /// Returns the value of `key`. Does not wait: under [`Durability::Always`](crate::Durability::Always) a value that another
    /// thread has just written may still be lost in a crash; see [`get_durable`](Self::get_durable).
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// db.set("greeting", "hello")?;
    /// assert_eq!(db.get("greeting")?.unwrap(), "hello");
    /// assert_eq!(db.get("nothing")?, None);
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [every read](crate::Keyspace#errors).
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Value>> {
        self.engine().read(&self.space, key.as_ref(), |value| value.to_value())
    }

    /// Returns what `look` makes of the value of `key`, without copying it. `look` runs under the key's lock: it must return
    /// soon and must not call the store.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// db.set("page", "a long text")?;
    /// assert_eq!(db.get_with("page", |text| text.len())?, Some(11));
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [every read](crate::Keyspace#errors).
    pub fn get_with<R>(&self, key: impl AsRef<[u8]>, look: impl FnOnce(&[u8]) -> R) -> Result<Option<R>> {
        self.engine().read(&self.space, key.as_ref(), |value| look(value.bytes()))
    }

    /// Returns the value of `key` once it is as durable as the store promises: no crash can take back what was seen.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// db.set("balance", "10")?;
    /// assert_eq!(db.get_durable("balance")?.unwrap(), "10");
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [every read](crate::Keyspace#errors), and of the log.
    pub fn get_durable(&self, key: impl AsRef<[u8]>) -> Result<Option<Value>> {
        let key = key.as_ref();
        let (value, lsn) = self.look(&[key], |view| Ok(view.get(key)?.map(|value| value.to_value())))?;
        self.wait_for(lsn)?;
        Ok(value)
    }

    /// Returns whether there is such a key. Does not count as a use of it.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// assert!(!db.exists("key")?);
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [every read](crate::Keyspace#errors).
    pub fn exists(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.engine().peek(&self.space, key.as_ref(), |_| {}).map(|seen| seen.is_some())
    }

    /// Returns how long `key` has to live, in milliseconds' precision; `None` if there is no such key.
    ///
    /// ```
    /// use kvcore::{Db, Ttl};
    /// let db = Db::in_memory();
    /// db.set("key", "value")?;
    /// assert_eq!(db.ttl("key")?, Some(Ttl::Never));
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [every read](crate::Keyspace#errors).
    pub fn ttl(&self, key: impl AsRef<[u8]>) -> Result<Option<Ttl>> {
        let key = key.as_ref();
        self.view(&[key], |view| view.ttl(key))
    }

    /// Returns the values of several keys at one moment, in the order of `keys`.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// db.set("a", "1")?;
    /// let values = db.get_many(&["a", "b"])?;
    /// assert_eq!((values[0].as_deref(), values[1].as_deref()), (Some(&b"1"[..]), None));
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [every read](crate::Keyspace#errors).
    pub fn get_many<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Vec<Option<Value>>> {
        self.view(keys, |view| store::values(view, keys))
    }

    /// Runs `body` on the named keys as they are at one moment, and returns its result. Other readers are not kept waiting;
    /// writers of these keys are. Does not wait for durability.
    ///
    /// `body` must return soon, must not call the store, and must be repeatable: other stores than this may run it again.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// db.set_many(&[("first", "Ada"), ("last", "Lovelace")])?;
    /// let name = db.view(&["first", "last"], |view| {
    ///     let word = |key| view.get(key).map(|value| value.map(|value| value.to_vec()).unwrap_or_default());
    ///     Ok([word("first")?, word("last")?].join(&b' '))
    /// })?;
    /// assert_eq!(name, b"Ada Lovelace");
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of `body`, such as [`Error::KeyNotNamed`].
    pub fn view<K: AsRef<[u8]>, R>(&self, keys: &[K], body: impl FnMut(&View<'_>) -> Result<R>) -> Result<R> {
        self.look(keys, body).map(|(result, _)| result)
    }

    /// Returns how many keys there are. One that has expired is counted until it is swept, soon after.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// db.set("key", "value")?;
    /// assert_eq!(db.len()?, 1);
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [every read](crate::Keyspace#errors).
    pub fn len(&self) -> Result<u64> {
        self.engine().check_open()?;
        // Inside a transaction it would leave out what that holds locked.
        drop(self.engine().context.enter()?);
        Ok(self.hooks().counts().0)
    }

    /// Returns whether there is no key.
    ///
    /// ```
    /// assert!(kvcore::Db::in_memory().is_empty()?);
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [every read](crate::Keyspace#errors).
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// Writing.
impl Subject {
    /// Gives `key` a value and no deadline.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// db.set("key", "value")?;
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [every write](crate::Keyspace#errors).
    pub fn set(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        let (key, value) = (key.as_ref(), value.as_ref());
        self.write(key, |locked| locked.set(key, value, None))
    }

    /// Sets `key` in the way that `options` describe: with a deadline, only if it is there or is not, returning the old value.
    ///
    /// ```
    /// use std::time::Duration;
    /// use kvcore::{Db, SetOptions};
    /// let db = Db::in_memory();
    /// let lock = SetOptions::new().if_absent().expires_in(Duration::from_secs(30));
    /// assert!(db.set_with("lock", "me", lock)?.written);
    /// assert!(!db.set_with("lock", "you", lock)?.written);
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [every write](crate::Keyspace#errors).
    pub fn set_with(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>, options: SetOptions) -> Result<SetOutcome> {
        let (key, value) = (key.as_ref(), value.as_ref());
        self.write(key, |locked| locked.set_with(key, value, options))
    }

    /// Gives several keys values and no deadlines: all of them, or after an error or a crash none.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// db.set_many(&[("a", "1"), ("b", "2")])?;
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [every write](crate::Keyspace#errors).
    pub fn set_many<K: AsRef<[u8]>, V: AsRef<[u8]>>(&self, pairs: &[(K, V)]) -> Result<()> {
        self.transact(&store::names(pairs), |txn| store::set_all(txn, pairs))
    }

    /// Removes `key`; returns whether it was there.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// db.set("key", "value")?;
    /// assert!(db.delete("key")?);
    /// assert!(!db.delete("key")?);
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [every write](crate::Keyspace#errors).
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        let key = key.as_ref();
        self.write(key, |locked| locked.delete(key))
    }

    /// Lets `key` expire this long from now; returns whether it was there.
    ///
    /// ```
    /// use std::time::Duration;
    /// let db = kvcore::Db::in_memory();
    /// db.set("session", "42")?;
    /// assert!(db.expire("session", Duration::from_secs(3600))?);
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [every write](crate::Keyspace#errors).
    pub fn expire(&self, key: impl AsRef<[u8]>, ttl: Duration) -> Result<bool> {
        let key = key.as_ref();
        self.write(key, |locked| locked.expire(key, ttl))
    }

    /// Lets `key` expire at `deadline`; returns whether it was there. A deadline that has passed removes it.
    ///
    /// ```
    /// use kvcore::{Db, Deadline};
    /// let db = Db::in_memory();
    /// db.set("offer", "half price")?;
    /// assert!(db.expire_at("offer", Deadline::at_ms(4_102_444_800_000))?);
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [every write](crate::Keyspace#errors).
    pub fn expire_at(&self, key: impl AsRef<[u8]>, deadline: Deadline) -> Result<bool> {
        let key = key.as_ref();
        self.write(key, |locked| locked.set_deadline(key, Some(deadline)))
    }

    /// Removes the deadline of `key`; returns whether it had one.
    ///
    /// ```
    /// use std::time::Duration;
    /// let db = kvcore::Db::in_memory();
    /// db.set("key", "value")?;
    /// db.expire("key", Duration::from_secs(10))?;
    /// assert!(db.persist("key")?);
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [every write](crate::Keyspace#errors).
    pub fn persist(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        let key = key.as_ref();
        self.write(key, |locked| locked.persist(key))
    }

    /// Adds `by` to the decimal integer in `key` (0 if missing), keeps its deadline, and returns the sum.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// assert_eq!(db.increment("visits", 1)?, 1);
    /// assert_eq!(db.increment("visits", 10)?, 11);
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NotAnInteger`] and [`Error::Overflow`], with nothing changed; those of [every write](crate::Keyspace#errors).
    pub fn increment(&self, key: impl AsRef<[u8]>, by: i64) -> Result<i64> {
        let key = key.as_ref();
        self.write(key, |locked| locked.increment(key, by))
    }

    /// Appends to the value (empty if missing) and returns its new length, in bytes.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// assert_eq!(db.append("log", "line\n")?, 5);
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [every write](crate::Keyspace#errors).
    pub fn append(&self, key: impl AsRef<[u8]>, bytes: impl AsRef<[u8]>) -> Result<usize> {
        let (key, bytes) = (key.as_ref(), bytes.as_ref());
        self.write(key, |locked| locked.append(key, bytes))
    }

    /// Sets `key` to `new`, keeping its deadline, if it now is `expected` (`None`: missing); returns whether it was.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// assert!(db.compare_and_set("state", None, "new")?);
    /// assert!(!db.compare_and_set("state", Some(b"old"), "done")?);
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [every write](crate::Keyspace#errors).
    pub fn compare_and_set(
        &self,
        key: impl AsRef<[u8]>,
        expected: Option<&[u8]>,
        new: impl AsRef<[u8]>,
    ) -> Result<bool> {
        let (key, new) = (key.as_ref(), new.as_ref());
        self.write(key, |locked| locked.compare_and_set(key, expected, new))
    }

    /// Gives `to` the value and the deadline of `from`, and removes `from`; returns whether there was a `from`. Large values
    /// are not copied.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// db.set("draft", "text")?;
    /// assert!(db.rename("draft", "final")?);
    /// assert_eq!(db.get("final")?.unwrap(), "text");
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [every write](crate::Keyspace#errors).
    pub fn rename(&self, from: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> Result<bool> {
        let (from, to) = (from.as_ref(), to.as_ref());
        self.transact(&[from, to], |txn| txn.rename(from, to))
    }

    /// Gives `to` the value and the deadline of `from`; returns whether there was a `from`. Large values are shared until one
    /// of the two is changed.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// db.set("template", "text")?;
    /// assert!(db.copy("template", "page")?);
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [every write](crate::Keyspace#errors).
    pub fn copy(&self, from: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> Result<bool> {
        let (from, to) = (from.as_ref(), to.as_ref());
        self.transact(&[from, to], |txn| txn.copy(from, to))
    }

    /// Runs `body` on the named keys, atomically: others see all of its writes or none, and after a crash all or none are
    /// there. Returns its result when that is as durable as the store promises.
    ///
    /// If `body` returns `Err` or panics, nothing is changed. It must not call the store, and must be repeatable: this store
    /// runs it once, others may run it again after a conflict, so what it does besides the transaction may happen twice.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// db.set("alice", "10")?;
    /// let left = db.transact(&["alice", "bob"], |txn| {
    ///     txn.increment("bob", 3)?;
    ///     txn.increment("alice", -3)
    /// })?;
    /// assert_eq!(left, 7);
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of `body`: give up with [`Error::aborted`], or with an error of your own in [`try_transact`](Self::try_transact).
    /// [`Error::KeyNotNamed`] if it uses a key that is not in `keys`.
    pub fn transact<K: AsRef<[u8]>, R>(
        &self,
        keys: &[K],
        mut body: impl FnMut(&mut Transaction<'_>) -> Result<R>,
    ) -> Result<R> {
        self.transact_locked(keys, |locked| body(&mut Transaction::new(locked)))
    }

    /// Runs a transaction as [`transact`](Self::transact) does, with an error type of the caller's own.
    ///
    /// ```
    /// use kvcore::Db;
    /// #[derive(Debug)]
    /// enum Payment {
    ///     Overdrawn,
    ///     Store(kvcore::Error),
    /// }
    /// impl From<kvcore::Error> for Payment {
    ///     fn from(error: kvcore::Error) -> Self {
    ///         Payment::Store(error)
    ///     }
    /// }
    /// let db = Db::in_memory();
    /// let paid = db.try_transact(&["balance"], |txn| match txn.increment("balance", -5)? {
    ///     left if left < 0 => Err(Payment::Overdrawn), // nothing is changed
    ///     left => Ok(left),
    /// });
    /// assert!(matches!(paid, Err(Payment::Overdrawn)));
    /// assert!(!db.exists("balance")?);
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of `body`, as they are; those of the store, converted.
    pub fn try_transact<K: AsRef<[u8]>, R, E: From<Error>>(
        &self,
        keys: &[K],
        body: impl FnMut(&mut Transaction<'_>) -> Result<R, E>,
    ) -> Result<R, E> {
        store::keeping_error(body, |body| self.transact(keys, body))
    }

    /// Returns the same keyspace for asynchronous code and for bulk writes: its writes return a [`Ticket`](crate::Ticket) at once, which is
    /// awaited or waited for.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// let one = db.deferred().set("a", "1")?;
    /// let two = db.deferred().set("b", "2")?;
    /// one.wait()?;
    /// two.wait()?; // both shared one sync
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    pub fn deferred(&self) -> Deferred {
        Deferred(Keyspace::clone(self))
    }

    /// Removes every key and returns how many there were. Returns when that is as durable as any write.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// db.set("key", "value")?;
    /// assert_eq!(db.clear()?, 1);
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [every write](crate::Keyspace#errors).
    pub fn clear(&self) -> Result<u64> {
        let (removed, lsn) = self.apply_clear()?;
        self.wait_for(lsn)?;
        Ok(removed)
    }

    /// Blocks until every write so far, of all keyspaces of the store, is on stable storage, whatever the durability. A store
    /// in memory returns at once.
    ///
    /// ```
    /// use kvcore::{Durability, Options};
    /// # let dir = tempfile::tempdir().unwrap();
    /// let db = Options::new().durability(Durability::EverySecond).open(dir.path())?;
    /// (0..1000).try_for_each(|i| db.set(format!("imported:{i}"), "..."))?;
    /// db.sync()?; // a power cut from here on takes none of them
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The errors of the log: then it is unknown what is on stable storage.
    pub fn sync(&self) -> Result<()> {
        self.begin_sync()?.wait()
    }
}

/// Iterating, and watching.
impl Subject {
    /// Watches the keys that begin with `prefix`: returns a bounded stream of their changes from now on, whoever makes them,
    /// expiry and eviction included. It is an iterator that blocks; [`Watch::into_stream`] is for asynchronous code.
    ///
    /// Each change is returned when it is as durable as the handle promises; those of a key in their order, transactions whole and
    /// in the order of the log, among which expiries and evictions may come late. A watch that is read too slowly returns [`WatchEvent::Missed`](crate::WatchEvent::Missed) instead of
    /// what it left out. While a store has watches, its commits take turns: that costs writers on several threads some speed.
    ///
    /// ```
    /// use kvcore::{ChangeKind, Db, WatchEvent};
    /// let db = Db::in_memory();
    /// let mut watch = db.watch("user:")?;
    /// db.set("user:1", "Ada")?;
    /// let Some(Ok(WatchEvent::Change { key, kind, .. })) = watch.next() else { panic!("no change") };
    /// assert_eq!((key.unwrap().as_str(), kind), (Some("user:1"), ChangeKind::Set));
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Closed`], [`Error::KeyspaceDropped`].
    pub fn watch(&self, prefix: impl AsRef<[u8]>) -> Result<Watch> {
        self.watch_with(prefix, WatchOptions::new())
    }

    /// Watches keys as [`watch`](Self::watch) does, in the way that `options` describe: with values, or with more changes that may
    /// wait to be read.
    ///
    /// ```
    /// use kvcore::{Db, WatchEvent, WatchOptions};
    /// let db = Db::in_memory();
    /// let mut watch = db.watch_with("", WatchOptions::new().with_values())?;
    /// db.set("greeting", "hello")?;
    /// let Some(Ok(WatchEvent::Change { value, .. })) = watch.next() else { panic!("no change") };
    /// assert_eq!(value.unwrap(), "hello");
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Closed`], [`Error::KeyspaceDropped`].
    pub fn watch_with(&self, prefix: impl AsRef<[u8]>, options: WatchOptions) -> Result<Watch> {
        self.engine().check_open()?;
        let context = &self.engine().context;
        let (ids, wal) = ((context.store_id, self.space.id), context.wal.as_ref().cloned());
        let watch = Watch::begin(&context.watches, ids, prefix.as_ref(), options, wal, self.durability)?;
        if self.space.is_dropped() {
            return Err(Error::KeyspaceDropped { name: self.name().to_owned() });
        }
        Ok(watch)
    }

    /// Iterates over all entries, in no order.
    ///
    /// Between two calls of `next` no lock is held: the loop's body may read and write the same store. A key that is there
    /// from beginning to end is shown exactly once, with a value that it had meanwhile. A key that is created or removed
    /// meanwhile may be shown or not, but not twice, unless keyspaces are [swapped](crate::Db::swap). For a view of a single
    /// moment use [`Db::transact_across`](crate::Db::transact_across) with the whole keyspace.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// db.set_many(&[("a", "1"), ("b", "2")])?;
    /// for entry in db.iter()? {
    ///     let (key, value) = entry?;
    ///     db.set([&key[..], b".old"].concat(), value)?;
    ///     db.delete(key)?;
    /// }
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [every read](crate::Keyspace#errors).
    pub fn iter(&self) -> Result<Entries<'static>> {
        self.prefix("")
    }

    /// Iterates over all keys, in no order, as [`iter`](Self::iter) does.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// db.set("key", "value")?;
    /// let keys: Vec<_> = db.keys()?.collect::<Result<_, _>>()?;
    /// assert_eq!(keys, ["key"]);
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [every read](crate::Keyspace#errors).
    pub fn keys(&self) -> Result<Keys<'static>> {
        self.iter().map(Keys)
    }

    /// Iterates over the entries whose keys begin with `prefix`, in no order, as [`iter`](Self::iter) does.
    ///
    /// The keys are not sorted, so this looks at every key of the keyspace: about 0.1 us each. Where that is too slow, keep
    /// what belongs together in a [keyspace](crate::Db::keyspace) of its own.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// db.set_many(&[("user:1", "Ada"), ("user:2", "Bob"), ("visits", "7")])?;
    /// for entry in db.prefix("user:")? {
    ///     let (key, value) = entry?;
    ///     db.append(&key, format!(" was {value:?}"))?; // the loop's body may write
    /// }
    /// assert_eq!(db.prefix("user:")?.count(), 2);
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [every read](crate::Keyspace#errors).
    pub fn prefix(&self, prefix: impl AsRef<[u8]>) -> Result<Entries<'static>> {
        self.engine().check_open()?;
        Ok(Entries::new(ShardEntries::new(Keyspace::clone(self), prefix.as_ref())))
    }

    /// Returns at least `at_least` of the entries whose keys begin with `prefix`, fewer at the end, and where to go on. For
    /// reading on in another call, as a page of a listing; otherwise use [`prefix`](Self::prefix).
    ///
    /// A key that is there from the first call to the last is returned at least once. It may be returned twice if the table
    /// grows or shrinks meanwhile.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// (0..100).try_for_each(|i| db.set(format!("key{i}"), "value"))?;
    /// let (mut keys, mut position) = (Vec::new(), None);
    /// loop {
    ///     let page = db.scan(position.as_ref(), 10, b"key")?;
    ///     keys.extend(page.entries.into_iter().map(|(key, _)| key));
    ///     position = page.next;
    ///     if position.is_none() {
    ///         break;
    ///     }
    /// }
    /// assert_eq!(keys.len(), 100);
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::ForeignPosition`] for a position of another store or keyspace, or of this one before it was opened again; those of [every read](crate::Keyspace#errors).
    pub fn scan(&self, position: Option<&ScanPosition>, at_least: usize, prefix: &[u8]) -> Result<ScanPage> {
        let (opening_id, space_id) = (self.engine().context.opening_id, self.space.id);
        let mut cursor = match position {
            Some(position) => position.cursor_of(opening_id, space_id)?,
            None => Cursor::START,
        };
        let mut entries = Vec::new();
        loop {
            cursor = self.scan_step(cursor, at_least.saturating_sub(entries.len()), &mut |key, value| {
                if key.starts_with(prefix) {
                    entries.push((Value::from(key), value.to_value()));
                }
            })?;
            if cursor.is_end() {
                return Ok(ScanPage { entries, next: None });
            }
            if entries.len() >= at_least {
                let next = Some(ScanPosition::of_cursor(opening_id, space_id, cursor));
                return Ok(ScanPage { entries, next });
            }
        }
    }
}
