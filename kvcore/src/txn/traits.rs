//! Txn: the locked view inside which every read-modify-write runs. Invariant: a transaction applies and logs all of its
//! effects, as one group, or none.
//!
//! [`ReadTxn`] and [`Txn`] are the few primitives that read and change a store; [`TxnExt`] is everything that can be made of them, so that an
//! operation means the same called on a store, inside a transaction, or on the model that the tests compare with.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::table::access::Usage;
use crate::value::{Deadline, Value, ValueRef};

/// The keys that a transaction, or a read-only one, named. [`View::new`](crate::View::new) has an example of an implementation.
///
/// ```
/// use kvcore::hooks::{Lookup, ReadTxn};
/// let db = kvcore::Db::in_memory();
/// db.set("key", "value")?;
/// db.hooks().transact(&["key"], |txn| {
///     assert_eq!(txn.lookup(b"key", Lookup::Look)?.unwrap().bytes(), b"value");
///     assert!(txn.get(b"key")?.is_some());
///     Ok(())
/// })?;
/// # Ok::<(), kvcore::Error>(())
/// ```
pub trait ReadTxn {
    /// Returns the store's time in Unix milliseconds, the same throughout the transaction.
    fn now_ms(&self) -> u64;

    /// Returns the value of `key`, if it is there and has not expired. `kind` says what the lookup counts as.
    ///
    /// # Errors
    ///
    /// [`Error::KeyNotNamed`].
    fn lookup(&self, key: &[u8], kind: Lookup) -> Result<Option<ValueRef<'_>>>;

    /// Looks `key` up to read its value: [`Lookup::Read`].
    ///
    /// # Errors
    ///
    /// [`Error::KeyNotNamed`].
    fn get(&self, key: &[u8]) -> Result<Option<ValueRef<'_>>> {
        self.lookup(key, Lookup::Read)
    }

    /// Looks `key` up without using it: [`Lookup::Look`].
    ///
    /// # Errors
    ///
    /// [`Error::KeyNotNamed`].
    fn look(&self, key: &[u8]) -> Result<Option<ValueRef<'_>>> {
        self.lookup(key, Lookup::Look)
    }

    /// Looks `key` up without a trace: [`Lookup::Internal`].
    ///
    /// # Errors
    ///
    /// [`Error::KeyNotNamed`].
    fn peek(&self, key: &[u8]) -> Result<Option<ValueRef<'_>>> {
        self.lookup(key, Lookup::Internal)
    }

    /// Returns how many of the lookups so far were counted, and as what.
    fn lookups(&self) -> Lookups {
        Lookups::default()
    }

    /// Limits the work that may be [charged](Self::charge) from now on. Without a call it is not limited; a draft
    /// ([`DbHooks::commit_draft`](crate::hooks::DbHooks::commit_draft)) never is, since it holds no locks.
    fn limit_work(&self, work: u64) {
        let _ = work;
    }

    /// Adds work that is about to be done while the keys are locked, in units of about a nanosecond. The view itself
    /// charges for values that it copies or fills with zeros.
    ///
    /// # Errors
    ///
    /// [`Error::TooMuchWork`] if that is more than the transaction was limited to; the caller passes it on.
    fn charge(&self, work: u64) -> Result<()> {
        let _ = work;
        Ok(())
    }
}

/// What [`Txn::write_range`] writes up to at most on stores that have no bound of their own, in bytes: what the engine permits
/// by default.
const RANGE_END_MAX: usize = 512 << 20;

/// The view of the keys that a transaction named, all of them locked.
///
/// Another implementation of [`Store`](crate::Store) has to write [`set`](Self::set) and [`delete`](Self::delete); the other
/// methods are made of these, or are hints that mean nothing to it. [`Transaction::new`](crate::Transaction::new) has an example.
///
/// ```
/// let db = kvcore::Db::in_memory();
/// db.hooks().transact(&["key"], |txn| {
///     txn.set(b"key", b"value", None)?;
///     assert_eq!(txn.write_range(b"key", 5, b"s")?, 6);
///     assert!(txn.delete(b"key")?);
///     Ok(())
/// })?;
/// # Ok::<(), kvcore::Error>(())
/// ```
pub trait Txn: ReadTxn {
    /// Looks `key` up to change it: [`Lookup::Write`].
    ///
    /// # Errors
    ///
    /// [`Error::KeyNotNamed`].
    fn get_to_write(&self, key: &[u8]) -> Result<Option<ValueRef<'_>>> {
        self.lookup(key, Lookup::Write)
    }

    /// Begins the next of several commands that run in this transaction: what it writes counts as a use of its own.
    /// `uses_keys` is false if no lookup and no write of it counts as a use.
    fn begin_command(&mut self, uses_keys: bool) {
        let _ = uses_keys;
    }

    /// Returns how `key` was used, as far as is known; `None` if it is not there.
    ///
    /// # Errors
    ///
    /// [`Error::KeyNotNamed`].
    fn usage(&self, key: &[u8]) -> Result<Option<Usage>> {
        Ok(self.peek(key)?.map(|_| Usage::default()))
    }

    /// Sets how `key`, which was just set, was used, where that is kept.
    ///
    /// # Errors
    ///
    /// [`Error::KeyNotNamed`].
    fn set_usage(&mut self, key: &[u8], usage: Usage) -> Result<()> {
        let _ = usage;
        self.peek(key).map(drop)
    }

    /// Gives `key` a value and a deadline, whatever it had before. A deadline that has passed removes the key; that is a
    /// change, of which observers are notified, even if the key was not there.
    ///
    /// # Errors
    ///
    /// [`Error::KeyNotNamed`], and those of [every write](crate::Keyspace#errors).
    fn set(&mut self, key: &[u8], value: &[u8], deadline: Option<Deadline>) -> Result<()>;

    /// Gives `to` the value that `from` has, and this deadline, as [`set`](Self::set) does; false if there is no `from`.
    ///
    /// Looking `from` up counts as [`Lookup::Internal`]. A large value is neither copied nor logged again, but for once while a
    /// snapshot is written: both keys share it until one of them is changed. It counts in full for each of them, is written in full for each to
    /// snapshots, and is shared no longer when the store is opened from one.
    ///
    /// # Errors
    ///
    /// [`Error::KeyNotNamed`], and those of [every write](crate::Keyspace#errors).
    fn copy(&mut self, from: &[u8], to: &[u8], deadline: Option<Deadline>) -> Result<bool> {
        let Some(value) = self.peek(from)?.map(|value| value.to_value()) else { return Ok(false) };
        self.set(to, &value, deadline)?;
        Ok(true)
    }

    /// Writes `bytes` into the value at `offset`, and returns its length afterwards. A missing key is created and a
    /// short value is filled with zeros; the deadline stays. No bytes change nothing. On large values the cost, in
    /// time and in log, is that of `bytes`.
    ///
    /// # Errors
    ///
    /// [`Error::KeyNotNamed`], [`Error::ValueTooLong`], and those of [every write](crate::Keyspace#errors).
    fn write_range(&mut self, key: &[u8], offset: usize, bytes: &[u8]) -> Result<usize> {
        let found = self.get_to_write(key)?.map(|value| (value.to_vec(), value.deadline()));
        let (mut value, deadline) = found.unwrap_or_default();
        let end = offset.saturating_add(bytes.len());
        if bytes.is_empty() {
            return Ok(value.len());
        }
        if end > RANGE_END_MAX {
            return Err(Error::ValueTooLong { len: end, max: RANGE_END_MAX });
        }
        value.resize(value.len().max(end), 0);
        value[offset..end].copy_from_slice(bytes);
        self.set(key, &value, deadline)?;
        Ok(value.len())
    }

    /// Gives `key` another deadline, or none; false if there is no such key. A deadline that has passed removes it.
    ///
    /// # Errors
    ///
    /// [`Error::KeyNotNamed`], and those of [every write](crate::Keyspace#errors).
    fn set_deadline(&mut self, key: &[u8], deadline: Option<Deadline>) -> Result<bool> {
        let Some(value) = self.get_to_write(key)?.map(|value| value.to_value()) else { return Ok(false) };
        self.set(key, &value, deadline)?;
        Ok(true)
    }

    /// Counts as a change of `key` that leaves its value and its deadline as they are: observers are notified. False if
    /// there is no such key.
    ///
    /// # Errors
    ///
    /// [`Error::KeyNotNamed`].
    fn mark_changed(&mut self, key: &[u8]) -> Result<bool> {
        Ok(self.peek(key)?.is_some())
    }

    /// Lets what the current command has changed so far count as `count` changes, in
    /// [`SnapshotStatus::changes_since`](crate::SnapshotStatus::changes_since). Otherwise each write counts as one.
    fn count_changes(&mut self, count: u64) {
        let _ = count;
    }

    /// Removes `key`; false if it was not there.
    ///
    /// # Errors
    ///
    /// [`Error::KeyNotNamed`], and those of [every write](crate::Keyspace#errors).
    fn delete(&mut self, key: &[u8]) -> Result<bool>;

    /// Removes `key` to make room, of which observers are notified as such. False if it was not there.
    ///
    /// # Errors
    ///
    /// [`Error::KeyNotNamed`], and those of [every write](crate::Keyspace#errors).
    fn evict(&mut self, key: &[u8]) -> Result<bool> {
        self.delete(key)
    }

    /// Removes every key of the keyspace and returns how many it had. Only where the transaction's lock set has it whole.
    ///
    /// # Errors
    ///
    /// [`Error::KeyspaceNotNamed`] if the lock set does not have the keyspace whole; [`Error::Unsupported`].
    fn clear(&mut self) -> Result<u64> {
        Err(Error::Unsupported { what: "clear a keyspace inside a transaction" })
    }
}

/// The purpose of a lookup, from which follows what it counts as.
///
/// A key is *used* when access statistics note it, by which eviction chooses. A write uses its key too, unless it is the
/// key that the command looked up last: reading and then writing a key is one use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lookup {
    /// To read the value. Counted as a hit or a miss; the key is used.
    Read,
    /// To see whether the key is there, when it expires, or how it is kept. Counted; the key is not used.
    Look,
    /// To change the key. Not counted; the key is used.
    Write,
    /// For a purpose that is not the caller's: neither counted nor a use.
    Internal,
}

impl Lookup {
    /// Returns whether it is counted as a hit or a miss.
    ///
    /// ```
    /// use kvcore::hooks::Lookup;
    /// assert!(Lookup::Look.is_counted() && !Lookup::Write.is_counted());
    /// ```
    #[inline]
    pub const fn is_counted(self) -> bool {
        matches!(self, Lookup::Read | Lookup::Look)
    }

    /// Returns whether the key is used.
    ///
    /// ```
    /// use kvcore::hooks::Lookup;
    /// assert!(Lookup::Write.is_use() && !Lookup::Look.is_use());
    /// ```
    #[inline]
    pub const fn is_use(self) -> bool {
        matches!(self, Lookup::Read | Lookup::Write)
    }
}

/// The number of counted lookups of a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Lookups {
    /// Lookups that found a value.
    pub hits: u32,
    /// Lookups of keys that were missing, or had expired.
    pub misses: u32,
}

impl Lookups {
    /// Returns these without those of an earlier moment.
    ///
    /// ```
    /// use kvcore::hooks::Lookups;
    /// let (before, after) = (Lookups { hits: 1, misses: 0 }, Lookups { hits: 3, misses: 1 });
    /// assert_eq!(after.since(before), Lookups { hits: 2, misses: 1 });
    /// ```
    #[must_use]
    pub const fn since(self, earlier: Lookups) -> Lookups {
        Lookups { hits: self.hits.wrapping_sub(earlier.hits), misses: self.misses.wrapping_sub(earlier.misses) }
    }
}

/// A transaction over several keyspaces of one store.
///
/// ```
/// use kvcore::{Db, LockSet};
/// let db = Db::in_memory();
/// let archive = db.keyspace("archive")?;
/// db.set("order", "42")?;
/// let locks = LockSet::new().keys(&db, &[b"order"]).keys(&archive, &[b"order"]);
/// db.hooks().transact_across(locks, |txn| {
///     txn.select(archive.hooks().id())?;
///     txn.copy_from(db.hooks().id(), b"order", b"order", None)
/// })?;
/// assert_eq!(archive.get("order")?.unwrap(), "42");
/// # Ok::<(), kvcore::Error>(())
/// ```
pub trait CrossTxn: Txn {
    /// Selects the keyspace with this [id](crate::hooks::KeyspaceHooks::id), which must be in the
    /// lock set.
    ///
    /// # Errors
    ///
    /// [`Error::KeyspaceNotNamed`].
    fn select(&mut self, keyspace_id: u32) -> Result<()>;

    /// Copies as [`copy`](Txn::copy) does, from the keyspace with this id, which must be in the lock set, to the current one.
    ///
    /// # Errors
    ///
    /// [`Error::KeyspaceNotNamed`], [`Error::KeyNotNamed`], and those of [every write](crate::Keyspace#errors).
    fn copy_from(&mut self, keyspace_id: u32, from: &[u8], to: &[u8], deadline: Option<Deadline>) -> Result<bool>;

    /// Exchanges all that the current keyspace and the one with this id hold. Only where the lock set has both
    /// whole. Handles keep their names: what they see is the other keyspace's from then on.
    ///
    /// # Errors
    ///
    /// [`Error::KeyspaceNotNamed`] if the lock set does not have both whole; the errors of the log.
    fn swap(&mut self, keyspace_id: u32) -> Result<()>;

    /// Returns the current keyspace as a whole. Only what is in the lock set is seen.
    fn as_scan(&self) -> &dyn crate::table::scan::Scan;
}

/// When [`TxnExt::set_with`] writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Condition {
    /// Always.
    #[default]
    Any,
    /// Only if the key is not there.
    Absent,
    /// Only if the key is there.
    Present,
}

/// What becomes of the deadline in [`TxnExt::set_with`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Expiry {
    /// The key has none afterwards.
    #[default]
    Never,
    /// It is this long from now, to the millisecond.
    In(Duration),
    /// It is this.
    At(Deadline),
    /// It stays what it was.
    Keep,
}

/// How to set a key.
///
/// ```
/// use std::time::Duration;
/// use kvcore::{Db, SetOptions};
/// let db = Db::in_memory();
/// let once = SetOptions::new().if_absent().expires_in(Duration::from_secs(30));
/// assert!(db.set_with("lock", "me", once)?.written);
/// assert!(!db.set_with("lock", "you", once)?.written);
/// # Ok::<(), kvcore::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SetOptions {
    /// When to write.
    pub condition: Condition,
    /// What becomes of the deadline.
    pub expiry: Expiry,
    /// Whether to return the value that was there.
    pub return_old: bool,
}

impl SetOptions {
    /// Returns options that set in any case, with no deadline, and returns no old value.
    ///
    /// ```
    /// use kvcore::SetOptions;
    /// assert_eq!(SetOptions::new(), SetOptions::default());
    /// ```
    pub const fn new() -> Self {
        SetOptions { condition: Condition::Any, expiry: Expiry::Never, return_old: false }
    }

    /// Sets the key only if it is not there.
    ///
    /// ```
    /// use kvcore::SetOptions;
    /// let options = SetOptions::new().if_absent();
    /// ```
    pub const fn if_absent(mut self) -> Self {
        self.condition = Condition::Absent;
        self
    }

    /// Sets the key only if it is there.
    ///
    /// ```
    /// use kvcore::SetOptions;
    /// let options = SetOptions::new().if_present();
    /// ```
    pub const fn if_present(mut self) -> Self {
        self.condition = Condition::Present;
        self
    }

    /// Lets the key expire this long from now.
    ///
    /// ```
    /// use kvcore::SetOptions;
    /// let options = SetOptions::new().expires_in(std::time::Duration::from_secs(60));
    /// ```
    pub const fn expires_in(mut self, ttl: Duration) -> Self {
        self.expiry = Expiry::In(ttl);
        self
    }

    /// Lets the key expire then.
    ///
    /// ```
    /// use kvcore::SetOptions;
    /// let options = SetOptions::new().expires_at(kvcore::Deadline::at_ms(4_102_444_800_000));
    /// ```
    pub const fn expires_at(mut self, deadline: Deadline) -> Self {
        self.expiry = Expiry::At(deadline);
        self
    }

    /// Keeps the deadline that the key has.
    ///
    /// ```
    /// use kvcore::SetOptions;
    /// let options = SetOptions::new().keep_deadline();
    /// ```
    pub const fn keep_deadline(mut self) -> Self {
        self.expiry = Expiry::Keep;
        self
    }

    /// Returns the old value, too.
    ///
    /// ```
    /// use kvcore::SetOptions;
    /// let options = SetOptions::new().return_old();
    /// ```
    pub const fn return_old(mut self) -> Self {
        self.return_old = true;
        self
    }
}

/// What [`TxnExt::set_with`] did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SetOutcome {
    /// Whether the condition held and the value was written.
    pub written: bool,
    /// The value before, if [`SetOptions::return_old`] was set and there was one.
    pub old: Option<Value>,
}

/// How long a key has to live.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ttl {
    /// It has no deadline.
    Never,
    /// It expires after this long.
    In(Duration),
}

/// Everything made of [`Txn`]'s primitives.
///
/// ```
/// use kvcore::hooks::TxnExt;
/// let db = kvcore::Db::in_memory();
/// assert_eq!(db.hooks().transact(&["visits"], |txn| txn.increment(b"visits", 1))?, 1);
/// # Ok::<(), kvcore::Error>(())
/// ```
pub trait TxnExt: Txn {
    /// Sets a key as `options` say.
    ///
    /// # Errors
    ///
    /// [`Error::KeyNotNamed`], and those of [every write](crate::Keyspace#errors).
    fn set_with(&mut self, key: &[u8], value: &[u8], options: SetOptions) -> Result<SetOutcome> {
        let (present, old_deadline, old) = match self.get_to_write(key)? {
            Some(old) => (true, old.deadline(), options.return_old.then(|| old.to_value())),
            None => (false, None, None),
        };
        let written = match options.condition {
            Condition::Any => true,
            Condition::Absent => !present,
            Condition::Present => present,
        };
        if written {
            let deadline = match options.expiry {
                Expiry::Never => None,
                Expiry::In(ttl) => Some(deadline_in(self.now_ms(), ttl)),
                Expiry::At(deadline) => Some(deadline),
                Expiry::Keep => old_deadline,
            };
            self.set(key, value, deadline)?;
        }
        Ok(SetOutcome { written, old })
    }

    /// Lets `key` expire this long from now; false if there is no such key.
    ///
    /// # Errors
    ///
    /// [`Error::KeyNotNamed`], and those of [every write](crate::Keyspace#errors).
    fn expire(&mut self, key: &[u8], ttl: Duration) -> Result<bool> {
        let deadline = deadline_in(self.now_ms(), ttl);
        self.set_deadline(key, Some(deadline))
    }

    /// Takes the deadline off `key`; false if there is no such key or it had none.
    ///
    /// # Errors
    ///
    /// [`Error::KeyNotNamed`], and those of [every write](crate::Keyspace#errors).
    fn persist(&mut self, key: &[u8]) -> Result<bool> {
        match self.get_to_write(key)? {
            Some(value) if value.deadline().is_some() => self.set_deadline(key, None),
            _ => Ok(false),
        }
    }

    /// Adds `by` to the decimal integer in `key` (0 if missing), keeps its deadline, and returns the sum. A value that
    /// is no such integer, or a sum that does not fit 64 bits, is an error and changes nothing.
    ///
    /// # Errors
    ///
    /// [`Error::NotAnInteger`], [`Error::Overflow`]; [`Error::KeyNotNamed`], and those of [every
    /// write](crate::Keyspace#errors).
    fn increment(&mut self, key: &[u8], by: i64) -> Result<i64> {
        let (old, deadline) = match self.get_to_write(key)? {
            Some(value) => (parse_i64(&value).ok_or(Error::NotAnInteger)?, value.deadline()),
            None => (0, None),
        };
        let new = old.checked_add(by).ok_or(Error::Overflow)?;
        self.set(key, new.to_string().as_bytes(), deadline)?;
        Ok(new)
    }

    /// Appends `bytes` to the value (empty if missing) and returns its length afterwards.
    ///
    /// # Errors
    ///
    /// [`Error::KeyNotNamed`], and those of [every write](crate::Keyspace#errors).
    fn append(&mut self, key: &[u8], bytes: &[u8]) -> Result<usize> {
        match self.get_to_write(key)?.map(|value| value.len()) {
            Some(len) => self.write_range(key, len, bytes),
            None => self.set(key, bytes, None).map(|()| bytes.len()),
        }
    }

    /// Sets `key` to `new`, keeping its deadline, if it now is `expected` (`None`: missing); returns whether it was.
    ///
    /// # Errors
    ///
    /// [`Error::KeyNotNamed`], and those of [every write](crate::Keyspace#errors).
    fn compare_and_set(&mut self, key: &[u8], expected: Option<&[u8]>, new: &[u8]) -> Result<bool> {
        let deadline = match (self.get_to_write(key)?, expected) {
            (Some(value), Some(expected)) if value.bytes() == expected => value.deadline(),
            (None, None) => None,
            _ => return Ok(false),
        };
        self.set(key, new, deadline)?;
        Ok(true)
    }

    /// Gives `to` the value and the deadline of `from`; returns whether there was a `from`.
    ///
    /// # Errors
    ///
    /// [`Error::KeyNotNamed`], and those of [every write](crate::Keyspace#errors).
    fn copy_entry(&mut self, from: &[u8], to: &[u8]) -> Result<bool> {
        let Some(deadline) = self.peek(from)?.map(|value| value.deadline()) else { return Ok(false) };
        // Onto itself nothing changes.
        if from == to { Ok(true) } else { self.copy(from, to, deadline) }
    }

    /// Gives `to` the value and the deadline of `from`, and removes `from`; returns whether there was a `from`.
    ///
    /// # Errors
    ///
    /// [`Error::KeyNotNamed`], and those of [every write](crate::Keyspace#errors).
    fn rename(&mut self, from: &[u8], to: &[u8]) -> Result<bool> {
        Ok(self.copy_entry(from, to)? && (from == to || self.delete(from)?))
    }
}

impl<T: Txn + ?Sized> TxnExt for T {}

/// The deadline this long from `now_ms`; one too far to count in milliseconds is the last there is.
pub(crate) fn deadline_in(now_ms: u64, ttl: Duration) -> Deadline {
    let ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
    Deadline::at_ms(now_ms.saturating_add(ms))
}

/// The integer that `text` is the canonical decimal form of: no plus sign, no needless zeros, no blanks.
fn parse_i64(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let canonical = match digits {
        [] => false,
        [b'0'] => digits.len() == text.len(),
        [first, ..] => *first != b'0' && digits.iter().all(u8::is_ascii_digit),
    };
    if canonical { std::str::from_utf8(text).ok()?.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::parse_i64;

    #[test]
    fn only_canonical_integers_count() {
        for (text, number) in
            [("0", 0), ("-1", -1), ("9223372036854775807", i64::MAX), ("-9223372036854775808", i64::MIN)]
        {
            assert_eq!(parse_i64(text.as_bytes()), Some(number));
        }
        for text in ["", "-", "+1", "01", "-0", " 1", "1 ", "1.0", "9223372036854775808", "x"] {
            assert_eq!(parse_i64(text.as_bytes()), None, "{text:?}");
        }
    }
}
