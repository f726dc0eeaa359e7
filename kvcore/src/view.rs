//! View: what the body of a read-only transaction works on. Invariant: it shows all keys as they are at one moment.

use std::fmt;
use std::time::Duration;

use crate::error::Result;
use crate::txn::traits::{ReadTxn, Ttl};
use crate::value::ValueRef;

/// The keys that a read-only transaction named, all at one moment.
///
/// ```
/// use kvcore::Db;
/// let db = Db::in_memory();
/// db.set_many(&[("from", "10"), ("to", "20")])?;
/// let both = db.view(&["from", "to"], |view| Ok((view.get("from")?.is_some(), view.get("to")?.is_some())))?;
/// assert_eq!(both, (true, true));
/// # Ok::<(), kvcore::Error>(())
/// ```
pub struct View<'a> {
    txn: &'a dyn ReadTxn,
}

impl fmt::Debug for View<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").field("now_ms", &self.now_ms()).finish_non_exhaustive()
    }
}

impl<'a> View<'a> {
    /// Returns a view over the primitives of a store: for implementations of [`Store`](crate::Store).
    ///
    /// ```
    /// use kvcore::hooks::{Lookup, ReadTxn};
    /// use kvcore::{Result, ValueRef, View};
    ///
    /// /// A store whose every key has the same value.
    /// struct Same;
    ///
    /// impl ReadTxn for Same {
    ///     fn now_ms(&self) -> u64 {
    ///         1_700_000_000_000
    ///     }
    ///
    ///     fn lookup(&self, _: &[u8], _: Lookup) -> Result<Option<ValueRef<'_>>> {
    ///         Ok(Some(ValueRef::new(b"value", None)))
    ///     }
    /// }
    ///
    /// assert!(View::new(&Same).exists("key")?);
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    #[inline]
    pub fn new(txn: &'a dyn ReadTxn) -> Self {
        View { txn }
    }

    /// Returns the store's time in Unix milliseconds, the same throughout the view.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// db.set("key", "value")?;
    /// db.view(&["key"], |view| {
    ///     assert!(view.now_ms() > 1_700_000_000_000);
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
    /// db.set("key", "value")?;
    /// db.view(&["key"], |view| {
    ///     assert_eq!(view.get("key")?.unwrap().bytes(), b"value");
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
    /// db.set("key", "value")?;
    /// db.view(&["key"], |view| {
    ///     assert!(view.exists("key")?);
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
    /// db.set("key", "value")?;
    /// db.view(&["key"], |view| {
    ///     assert_eq!(view.ttl("key")?, Some(kvcore::Ttl::Never));
    ///     Ok(())
    /// })?;
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::KeyNotNamed`](crate::Error::KeyNotNamed).
    pub fn ttl(&self, key: impl AsRef<[u8]>) -> Result<Option<Ttl>> {
        let now_ms = self.txn.now_ms();
        Ok(self.txn.look(key.as_ref())?.map(|value| match value.deadline() {
            Some(deadline) => Ttl::In(Duration::from_millis(deadline.as_ms().saturating_sub(now_ms))),
            None => Ttl::Never,
        }))
    }
}
