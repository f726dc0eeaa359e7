//! Transaction: what the body of a transaction works on. Invariant: every method is made of the primitives of
//! [`Txn`], so it does the same on every store.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::keyspace::{Keyspace, StoreHandle};
use crate::txn::traits::{CrossTxn, SetOptions, SetOutcome, Ttl, Txn, TxnExt};
use crate::value::{Deadline, ValueRef};
use crate::view::View;

/// The keys that a transaction named, for reading and writing.
///
/// Reads see the writes before them. If the body returns `Err` or panics, none of its writes is applied. A key that was
/// not named is [`Error::KeyNotNamed`](crate::Error::KeyNotNamed).
///
/// ```
/// use kvcore::Db;
/// let db = Db::in_memory();
/// db.set("stock", "3")?;
/// let left = db.transact(&["stock", "sold"], |txn| {
///     txn.increment("sold", 1)?;
///     txn.increment("stock", -1)
/// })?;
/// assert_eq!(left, 2);
/// # Ok::<(), kvcore::Error>(())
/// ```
pub struct Transaction<'a> {
    txn: &'a mut dyn Txn,
}

impl fmt::Debug for Transaction<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction").field("now_ms", &self.now_ms()).finish_non_exhaustive()
    }
}

impl<'a> Transaction<'a> {
    /// Returns a transaction over the primitives of a store: for implementations of [`Store`](crate::Store).
    ///
    /// ```
    /// use kvcore::hooks::{Lookup, ReadTxn, Txn};
    /// use kvcore::{Deadline, Error, Result, Transaction, ValueRef};
    ///
    /// /// The one key, and whether it is there, of a store that keeps no values.
    /// struct Flag(bool);
    ///
    /// impl ReadTxn for Flag {
    ///     fn now_ms(&self) -> u64 {
    ///         1_700_000_000_000
    ///     }
    ///
    ///     fn lookup(&self, _: &[u8], _: Lookup) -> Result<Option<ValueRef<'_>>> {
    ///         Ok(self.0.then(|| ValueRef::new(b"", None)))
    ///     }
    /// }
    ///
    /// impl Txn for Flag {
    ///     fn set(&mut self, _: &[u8], _: &[u8], _: Option<Deadline>) -> Result<()> {
    ///         self.0 = true;
    ///         Ok(())
    ///     }
    ///
    ///     fn delete(&mut self, _: &[u8]) -> Result<bool> {
    ///         Ok(std::mem::take(&mut self.0))
    ///     }
    /// }
    ///
    /// let mut flag = Flag(false);
    /// Transaction::new(&mut flag).set("flag", "")?;
    /// assert!(flag.0);
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    #[inline]
    pub fn new(txn: &'a mut dyn Txn) -> Self {
        Transaction { txn }
    }

    pub(crate) fn primitives(&mut self) -> &mut dyn Txn {
        self.txn
    }

    /// Returns the store's time in Unix milliseconds, the same throughout the transaction.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// db.transact(&["key"], |txn| {
    ///     assert!(txn.now_ms() > 1_700_000_000_000);
    ///     Ok(())
    /// })?;
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    pub fn now_ms(&self) -> u64 {
        self.txn.now_ms()
    }

    /// Returns the value of `key`, in place.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// db.transact(&["key"], |txn| {
    ///     assert!(txn.get("key")?.is_none());
    ///     Ok(())
    /// })?;
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::KeyNotNamed`](crate::Error::KeyNotNamed), as from every method here.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<ValueRef<'_>>> {
        self.txn.get(key.as_ref())
    }

    /// Returns whether there is such a key.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// db.transact(&["key"], |txn| {
    ///     assert!(!txn.exists("key")?);
    ///     Ok(())
    /// })?;
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::KeyNotNamed`](crate::Error::KeyNotNamed).
    pub fn exists(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        Ok(self.txn.look(key.as_ref())?.is_some())
    }

    /// Returns how long `key` has to live; `None` if there is no such key.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// db.transact(&["key"], |txn| {
    ///     txn.set("key", "value")?;
    ///     assert_eq!(txn.ttl("key")?, Some(kvcore::Ttl::Never));
    ///     Ok(())
    /// })?;
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::KeyNotNamed`](crate::Error::KeyNotNamed).
    pub fn ttl(&self, key: impl AsRef<[u8]>) -> Result<Option<Ttl>> {
        View::new(&*self.txn).ttl(key)
    }

    /// Gives `key` a value and no deadline.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// db.transact(&["key"], |txn| {
    ///     txn.set("key", "value")
    /// })?;
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::KeyTooLong`](crate::Error::KeyTooLong), [`Error::ValueTooLong`](crate::Error::ValueTooLong).
    #[inline]
    pub fn set(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        self.txn.set(key.as_ref(), value.as_ref(), None)
    }

    /// Sets `key` in the way that `options` describe.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// db.transact(&["lock"], |txn| {
    ///     assert!(txn.set_with("lock", "me", kvcore::SetOptions::new().if_absent())?.written);
    ///     Ok(())
    /// })?;
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::KeyNotNamed`](crate::Error::KeyNotNamed), and those of [every write](crate::Keyspace#errors).
    pub fn set_with(
        &mut self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        options: SetOptions,
    ) -> Result<SetOutcome> {
        self.txn.set_with(key.as_ref(), value.as_ref(), options)
    }

    /// Removes `key`; returns whether it was there.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// db.transact(&["key"], |txn| {
    ///     assert!(!txn.delete("key")?);
    ///     Ok(())
    /// })?;
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::KeyNotNamed`](crate::Error::KeyNotNamed), and those of [every write](crate::Keyspace#errors).
    pub fn delete(&mut self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.txn.delete(key.as_ref())
    }

    /// Lets `key` expire this long from now; returns whether it was there.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// db.transact(&["key"], |txn| {
    ///     txn.set("key", "value")?;
    ///     assert!(txn.expire("key", std::time::Duration::from_secs(60))?);
    ///     Ok(())
    /// })?;
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::KeyNotNamed`](crate::Error::KeyNotNamed), and those of [every write](crate::Keyspace#errors).
    pub fn expire(&mut self, key: impl AsRef<[u8]>, ttl: Duration) -> Result<bool> {
        self.txn.expire(key.as_ref(), ttl)
    }

    /// Lets `key` expire at `deadline`; returns whether it was there. A deadline that has passed removes it.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// db.transact(&["key"], |txn| {
    ///     txn.set("key", "value")?;
    ///     assert!(txn.expire_at("key", kvcore::Deadline::at_ms(4_102_444_800_000))?);
    ///     Ok(())
    /// })?;
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::KeyNotNamed`](crate::Error::KeyNotNamed), and those of [every write](crate::Keyspace#errors).
    pub fn expire_at(&mut self, key: impl AsRef<[u8]>, deadline: Deadline) -> Result<bool> {
        self.txn.set_deadline(key.as_ref(), Some(deadline))
    }

    /// Removes the deadline of `key`; returns whether it had one.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// db.transact(&["key"], |txn| {
    ///     assert!(!txn.persist("key")?);
    ///     Ok(())
    /// })?;
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::KeyNotNamed`](crate::Error::KeyNotNamed), and those of [every write](crate::Keyspace#errors).
    pub fn persist(&mut self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.txn.persist(key.as_ref())
    }

    /// Adds `by` to the decimal integer in `key` (0 if missing), keeps its deadline, and returns the sum.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// db.transact(&["visits"], |txn| {
    ///     assert_eq!(txn.increment("visits", 1)?, 1);
    ///     Ok(())
    /// })?;
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NotAnInteger`](crate::Error::NotAnInteger), [`Error::Overflow`](crate::Error::Overflow).
    pub fn increment(&mut self, key: impl AsRef<[u8]>, by: i64) -> Result<i64> {
        self.txn.increment(key.as_ref(), by)
    }

    /// Appends `bytes` to the value (empty if missing) and returns its new length.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// db.transact(&["log"], |txn| {
    ///     assert_eq!(txn.append("log", "line")?, 4);
    ///     Ok(())
    /// })?;
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::KeyNotNamed`](crate::Error::KeyNotNamed), and those of [every write](crate::Keyspace#errors).
    pub fn append(&mut self, key: impl AsRef<[u8]>, bytes: impl AsRef<[u8]>) -> Result<usize> {
        self.txn.append(key.as_ref(), bytes.as_ref())
    }

    /// Writes `bytes` into the value at `offset` and returns its new length. A missing key is created, and a value that is
    /// too short is filled with zeros; the deadline stays.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// db.transact(&["key"], |txn| {
    ///     txn.set("key", "Hello")?;
    ///     assert_eq!(txn.write_range("key", 5, " world")?, 11);
    ///     Ok(())
    /// })?;
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::KeyNotNamed`](crate::Error::KeyNotNamed), and those of [every write](crate::Keyspace#errors).
    pub fn write_range(&mut self, key: impl AsRef<[u8]>, offset: usize, bytes: impl AsRef<[u8]>) -> Result<usize> {
        self.txn.write_range(key.as_ref(), offset, bytes.as_ref())
    }

    /// Sets `key` to `new`, keeping its deadline, if it now is `expected` (`None`: missing); returns whether it was.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// db.transact(&["state"], |txn| {
    ///     assert!(txn.compare_and_set("state", None, "new")?);
    ///     Ok(())
    /// })?;
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::KeyNotNamed`](crate::Error::KeyNotNamed), and those of [every write](crate::Keyspace#errors).
    pub fn compare_and_set(
        &mut self,
        key: impl AsRef<[u8]>,
        expected: Option<&[u8]>,
        new: impl AsRef<[u8]>,
    ) -> Result<bool> {
        self.txn.compare_and_set(key.as_ref(), expected, new.as_ref())
    }

    /// Gives `to` the value and the deadline of `from`, whatever it had before; returns whether there was a `from`. Large
    /// values are shared, not copied.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// db.transact(&["from", "to"], |txn| {
    ///     txn.set("from", "text")?;
    ///     assert!(txn.copy("from", "to")?);
    ///     Ok(())
    /// })?;
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::KeyNotNamed`](crate::Error::KeyNotNamed), and those of [every write](crate::Keyspace#errors).
    pub fn copy(&mut self, from: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> Result<bool> {
        self.txn.copy_entry(from.as_ref(), to.as_ref())
    }

    /// Gives `to` the value and the deadline of `from`, and removes `from`; returns whether there was a `from`.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// db.transact(&["from", "to"], |txn| {
    ///     txn.set("from", "text")?;
    ///     assert!(txn.rename("from", "to")?);
    ///     Ok(())
    /// })?;
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::KeyNotNamed`](crate::Error::KeyNotNamed), and those of [every write](crate::Keyspace#errors).
    pub fn rename(&mut self, from: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> Result<bool> {
        self.txn.rename(from.as_ref(), to.as_ref())
    }
}

/// The keyspaces and keys in the [lock set](crate::LockSet) of a transaction over several keyspaces.
///
/// See [`Db::transact_across`](crate::Db::transact_across).
pub struct CrossTransaction<'a> {
    txn: &'a mut dyn CrossTxn,
    /// Of the store: keyspaces of two stores may have the same number.
    handle: &'a Arc<StoreHandle>,
}

impl fmt::Debug for CrossTransaction<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CrossTransaction").field("now_ms", &self.txn.now_ms()).finish_non_exhaustive()
    }
}

impl<'a> CrossTransaction<'a> {
    #[inline]
    pub(crate) fn new(txn: &'a mut dyn CrossTxn, handle: &'a Arc<StoreHandle>) -> Self {
        CrossTransaction { txn, handle }
    }

    /// Returns the part of the transaction that lies in `keyspace`.
    ///
    /// ```
    /// use kvcore::{Db, LockSet};
    /// let db = Db::in_memory();
    /// db.transact_across(LockSet::new().keys(&db, &[b"key"]), |txn| txn.keyspace(&db)?.set("key", "value"))?;
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::KeyspaceNotNamed`](crate::Error::KeyspaceNotNamed) if nothing of it is in the lock set;
    /// [`Error::ForeignKeyspace`](crate::Error::ForeignKeyspace) for a keyspace of another store, as from every method here.
    pub fn keyspace(&mut self, keyspace: &Keyspace) -> Result<Transaction<'_>> {
        self.select(keyspace)?;
        Ok(Transaction::new(self.txn))
    }

    /// Gives the key `to` of one keyspace the value and the deadline that the key `from` has in another; returns whether
    /// there was a `from`. Large values are shared, not copied. Onto itself nothing is changed.
    ///
    /// ```
    /// use kvcore::{Db, LockSet};
    /// let db = Db::in_memory();
    /// let archive = db.keyspace("archive")?;
    /// let locks = LockSet::new().keys(&db, &[b"order"]).keys(&archive, &[b"order"]);
    /// assert!(!db.transact_across(locks, |txn| txn.copy((&db, "order"), (&archive, "order")))?);
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`keyspace`](Self::keyspace), [`Error::KeyNotNamed`](crate::Error::KeyNotNamed), and those of [every
    /// write](crate::Keyspace#errors).
    pub fn copy(
        &mut self,
        (source, from): (&Keyspace, impl AsRef<[u8]>),
        (target, to): (&Keyspace, impl AsRef<[u8]>),
    ) -> Result<bool> {
        let (from, to) = (from.as_ref(), to.as_ref());
        self.select(source)?;
        let Some(deadline) = self.txn.peek(from)?.map(|value| value.deadline()) else { return Ok(false) };
        self.select(target)?;
        // Onto itself nothing changes.
        let is_itself = source.space.id == target.space.id && from == to;
        if is_itself { Ok(true) } else { self.txn.copy_from(source.space.id, from, to, deadline) }
    }

    /// Removes every key of a keyspace that is locked whole, and returns how many there were.
    ///
    /// ```
    /// use kvcore::{Db, LockSet};
    /// let db = Db::in_memory();
    /// db.set("key", "value")?;
    /// assert_eq!(db.transact_across(LockSet::new().whole(&db), |txn| txn.clear(&db))?, 1);
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::KeyspaceNotNamed`](crate::Error::KeyspaceNotNamed) if the lock set does not have it whole.
    pub fn clear(&mut self, keyspace: &Keyspace) -> Result<u64> {
        self.select(keyspace)?;
        self.txn.clear()
    }

    /// Shows every key of a keyspace that is locked whole, with its value.
    ///
    /// ```
    /// use kvcore::{Db, LockSet};
    /// let db = Db::in_memory();
    /// db.set("key", "value")?;
    /// let mut keys = Vec::new();
    /// db.transact_across(LockSet::new().whole(&db), |txn| txn.for_each(&db, |key, _value| keys.push(key.to_vec())))?;
    /// assert_eq!(keys, [b"key"]);
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::KeyspaceNotNamed`](crate::Error::KeyspaceNotNamed) if the lock set does not have it whole.
    pub fn for_each(&mut self, keyspace: &Keyspace, mut show: impl FnMut(&[u8], ValueRef<'_>)) -> Result<()> {
        self.select(keyspace)?;
        self.txn.as_scan().for_each(&mut show)
    }

    fn select(&mut self, keyspace: &Keyspace) -> Result<()> {
        if !Arc::ptr_eq(&keyspace.handle, self.handle) {
            return Err(Error::ForeignKeyspace);
        }
        self.txn.select(keyspace.space.id).map_err(|error| match error {
            // The store knows it by its number alone.
            Error::KeyspaceNotNamed { .. } => Error::KeyspaceNotNamed { name: keyspace.name().to_owned() },
            error => error,
        })
    }
}
