//! Deferred: writes that return before they are durable. Invariant: a write has been applied when its ticket is returned, and
//! is seen by every read that follows.

use std::time::Duration;

use crate::entry::Deadline;
use crate::error::{Error, Result};
use crate::keyspace::Keyspace;
use crate::store::{self, Store};
use crate::ticket::Ticket;
use crate::transaction::Transaction;
use crate::txn::{SetOptions, SetOutcome};

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
    /// # Errors
    ///
    /// Those of the body, and those of the log. Here and in all other methods: an error that is returned instead of a ticket
    /// means that nothing was changed.
    pub fn transact<K: AsRef<[u8]>, R>(
        &self,
        keys: &[K],
        body: impl FnMut(&mut Transaction<'_>) -> Result<R>,
    ) -> Result<Ticket<R>> {
        store::run(&self.0, keys, body)
    }

    /// Runs a transaction with the caller's own error type; see [`Keyspace::try_transact`].
    pub fn try_transact<K: AsRef<[u8]>, R, E: From<Error>>(
        &self,
        keys: &[K],
        body: impl FnMut(&mut Transaction<'_>) -> Result<R, E>,
    ) -> Result<Ticket<R>, E> {
        store::keeping_error(body, |body| store::run(&self.0, keys, body))
    }

    /// Gives `key` a value and no deadline; see [`Keyspace::set`].
    pub fn set(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<Ticket<()>> {
        self.transact(&[&key], |txn| txn.set(&key, &value))
    }

    /// Sets `key` in the way that `options` describe; see [`Keyspace::set_with`].
    pub fn set_with(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        options: SetOptions,
    ) -> Result<Ticket<SetOutcome>> {
        self.transact(&[&key], |txn| txn.set_with(&key, &value, options))
    }

    /// Gives several keys values; see [`Keyspace::set_many`].
    pub fn set_many<K: AsRef<[u8]>, V: AsRef<[u8]>>(&self, pairs: &[(K, V)]) -> Result<Ticket<()>> {
        self.transact(&store::names(pairs), |txn| store::set_all(txn, pairs))
    }

    /// Removes `key`; see [`Keyspace::delete`].
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<Ticket<bool>> {
        self.transact(&[&key], |txn| txn.delete(&key))
    }

    /// Lets `key` expire this long from now; see [`Keyspace::expire`].
    pub fn expire(&self, key: impl AsRef<[u8]>, ttl: Duration) -> Result<Ticket<bool>> {
        self.transact(&[&key], |txn| txn.expire(&key, ttl))
    }

    /// Lets `key` expire then; see [`Keyspace::expire_at`].
    pub fn expire_at(&self, key: impl AsRef<[u8]>, deadline: Deadline) -> Result<Ticket<bool>> {
        self.transact(&[&key], |txn| txn.expire_at(&key, deadline))
    }

    /// Removes the deadline of `key`; see [`Keyspace::persist`].
    pub fn persist(&self, key: impl AsRef<[u8]>) -> Result<Ticket<bool>> {
        self.transact(&[&key], |txn| txn.persist(&key))
    }

    /// Adds to an integer; see [`Keyspace::increment`].
    pub fn increment(&self, key: impl AsRef<[u8]>, by: i64) -> Result<Ticket<i64>> {
        self.0.run_increment(key.as_ref(), by)
    }

    /// Appends to a value; see [`Keyspace::append`].
    pub fn append(&self, key: impl AsRef<[u8]>, bytes: impl AsRef<[u8]>) -> Result<Ticket<usize>> {
        self.0.run_append(key.as_ref(), bytes.as_ref())
    }

    /// Sets `key` if it is what the caller expects; see [`Keyspace::compare_and_set`].
    pub fn compare_and_set(
        &self,
        key: impl AsRef<[u8]>,
        expected: Option<&[u8]>,
        new: impl AsRef<[u8]>,
    ) -> Result<Ticket<bool>> {
        self.transact(&[&key], |txn| txn.compare_and_set(&key, expected, &new))
    }

    /// Moves a value to another key; see [`Keyspace::rename`].
    pub fn rename(&self, from: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> Result<Ticket<bool>> {
        self.0.run_rename(from.as_ref(), to.as_ref())
    }

    /// Copies a value to another key; see [`Keyspace::copy`].
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
    pub fn sync(&self) -> Result<Ticket<()>> {
        self.0.begin_sync()
    }
}
