//! Deferred: writes that return before they are durable. Invariant: a write has been applied when its ticket is returned, and
//! is seen by every read that follows.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::keyspace::Keyspace;
use crate::log::ticket::Ticket;
use crate::store::{self, Store};
use crate::transaction::Transaction;
use crate::txn::traits::{SetOptions, SetOutcome};
use crate::value::Deadline;

/// A store whose writes return at once, each with a [`Ticket`]: many writes share one sync, and asynchronous code never
/// blocks on the disk.
///
/// A ticket is waited for, or awaited on any executor:
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
///
/// ```no_run
/// async fn save(db: &kvcore::Db) -> kvcore::Result<()> {
///     db.deferred().set("user:1", "Ada")?.await?; // on stable storage here
///     Ok(())
/// }
/// ```
///
/// A write blocks only while the log's buffers are full: when the disk is slower than the writers for long.
#[derive(Clone, Debug)]
pub struct Deferred<S = Keyspace>(pub(crate) S);

impl<S: Store> Deferred<S> {
    /// Runs a transaction; see [`Keyspace::transact`].
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// let ticket = db.deferred().transact(&["a", "b"], |txn| txn.rename("a", "b"))?;
    /// assert!(!ticket.wait()?);
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of the body, and those of the log. Here and in all other methods: an error that is returned instead of a ticket
    /// means that nothing was changed, except [`Error::OutcomeUnknown`], which other stores than [`Db`](crate::Db) return where
    /// they lost the connection before they knew.
    pub fn transact<K: AsRef<[u8]>, R>(
        &self,
        keys: &[K],
        body: impl FnMut(&mut Transaction<'_>) -> Result<R>,
    ) -> Result<Ticket<R>> {
        store::run(&self.0, keys, body)
    }

    /// Runs a transaction with the caller's own error type; see [`Keyspace::try_transact`].
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// let body = |txn: &mut kvcore::Transaction<'_>| txn.increment("visits", 1);
    /// assert_eq!(db.deferred().try_transact(&["visits"], body)?.wait()?, 1);
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of the body, as they are; those of the store, converted.
    pub fn try_transact<K: AsRef<[u8]>, R, E: From<Error>>(
        &self,
        keys: &[K],
        body: impl FnMut(&mut Transaction<'_>) -> Result<R, E>,
    ) -> Result<Ticket<R>, E> {
        store::keeping_error(body, |body| store::run(&self.0, keys, body))
    }

    /// Gives `key` a value and no deadline; see [`Keyspace::set`].
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// db.deferred().set("key", "value")?.wait()?;
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [every write](Keyspace#errors), with nothing changed.
    pub fn set(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<Ticket<()>> {
        self.transact(&[&key], |txn| txn.set(&key, &value))
    }

    /// Sets `key` in the way that `options` describe; see [`Keyspace::set_with`].
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// assert!(db.deferred().set_with("key", "value", kvcore::SetOptions::new().if_absent())?.wait()?.written);
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [every write](Keyspace#errors), with nothing changed.
    pub fn set_with(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        options: SetOptions,
    ) -> Result<Ticket<SetOutcome>> {
        self.transact(&[&key], |txn| txn.set_with(&key, &value, options))
    }

    /// Gives several keys values; see [`Keyspace::set_many`].
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// db.deferred().set_many(&[("a", "1"), ("b", "2")])?.wait()?;
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [every write](Keyspace#errors), with nothing changed.
    pub fn set_many<K: AsRef<[u8]>, V: AsRef<[u8]>>(&self, pairs: &[(K, V)]) -> Result<Ticket<()>> {
        self.transact(&store::names(pairs), |txn| store::set_all(txn, pairs))
    }

    /// Removes `key`; see [`Keyspace::delete`].
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// assert!(!db.deferred().delete("key")?.wait()?);
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [every write](Keyspace#errors), with nothing changed.
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<Ticket<bool>> {
        self.transact(&[&key], |txn| txn.delete(&key))
    }

    /// Lets `key` expire this long from now; see [`Keyspace::expire`].
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// assert!(!db.deferred().expire("key", std::time::Duration::from_secs(60))?.wait()?);
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [every write](Keyspace#errors), with nothing changed.
    pub fn expire(&self, key: impl AsRef<[u8]>, ttl: Duration) -> Result<Ticket<bool>> {
        self.transact(&[&key], |txn| txn.expire(&key, ttl))
    }

    /// Lets `key` expire then; see [`Keyspace::expire_at`].
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// assert!(!db.deferred().expire_at("key", kvcore::Deadline::at_ms(4_102_444_800_000))?.wait()?);
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [every write](Keyspace#errors), with nothing changed.
    pub fn expire_at(&self, key: impl AsRef<[u8]>, deadline: Deadline) -> Result<Ticket<bool>> {
        self.transact(&[&key], |txn| txn.expire_at(&key, deadline))
    }

    /// Removes the deadline of `key`; see [`Keyspace::persist`].
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// assert!(!db.deferred().persist("key")?.wait()?);
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [every write](Keyspace#errors), with nothing changed.
    pub fn persist(&self, key: impl AsRef<[u8]>) -> Result<Ticket<bool>> {
        self.transact(&[&key], |txn| txn.persist(&key))
    }

    /// Adds to an integer; see [`Keyspace::increment`].
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// assert_eq!(db.deferred().increment("visits", 1)?.wait()?, 1);
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NotAnInteger`], [`Error::Overflow`], and those of [every write](Keyspace#errors), with nothing changed.
    pub fn increment(&self, key: impl AsRef<[u8]>, by: i64) -> Result<Ticket<i64>> {
        self.0.run_increment(key.as_ref(), by)
    }

    /// Appends to a value; see [`Keyspace::append`].
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// assert_eq!(db.deferred().append("log", "line")?.wait()?, 4);
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [every write](Keyspace#errors), with nothing changed.
    pub fn append(&self, key: impl AsRef<[u8]>, bytes: impl AsRef<[u8]>) -> Result<Ticket<usize>> {
        self.0.run_append(key.as_ref(), bytes.as_ref())
    }

    /// Sets `key` if it is what the caller expects; see [`Keyspace::compare_and_set`].
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// assert!(db.deferred().compare_and_set("state", None, "new")?.wait()?);
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [every write](Keyspace#errors), with nothing changed.
    pub fn compare_and_set(
        &self,
        key: impl AsRef<[u8]>,
        expected: Option<&[u8]>,
        new: impl AsRef<[u8]>,
    ) -> Result<Ticket<bool>> {
        self.transact(&[&key], |txn| txn.compare_and_set(&key, expected, &new))
    }

    /// Moves a value to another key; see [`Keyspace::rename`].
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// assert!(!db.deferred().rename("from", "to")?.wait()?);
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [every write](Keyspace#errors), with nothing changed.
    pub fn rename(&self, from: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> Result<Ticket<bool>> {
        self.0.run_rename(from.as_ref(), to.as_ref())
    }

    /// Copies a value to another key; see [`Keyspace::copy`].
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// assert!(!db.deferred().copy("from", "to")?.wait()?);
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [every write](Keyspace#errors), with nothing changed.
    pub fn copy(&self, from: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> Result<Ticket<bool>> {
        self.0.run_copy(from.as_ref(), to.as_ref())
    }

    /// Removes every key and returns how many there were; see [`Keyspace::clear`].
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// db.set("key", "value")?;
    /// assert_eq!(db.deferred().clear()?.wait()?, 1);
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [every write](Keyspace#errors), with nothing changed.
    pub fn clear(&self) -> Result<Ticket<u64>> {
        self.0.run_clear()
    }

    /// Returns a ticket that is good when every write so far is on stable storage, whatever the durability; see
    /// [`Keyspace::sync`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// let db = kvcore::Db::open(dir.path())?;
    /// db.deferred().sync()?.wait()?; // or `.await?`
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Closed`]; [`Error::Reentered`].
    pub fn sync(&self) -> Result<Ticket<()>> {
        self.0.begin_sync()
    }
}
