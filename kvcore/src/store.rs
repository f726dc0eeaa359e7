//! Store: what every store can do. Invariant: everything in [`StoreExt`] is made of the few methods of [`Store`], so it means
//! the same on the engine and on any other implementation.

use std::time::Duration;

use crate::entry::{Deadline, Value, ValueRef};
use crate::error::Result;
use crate::lsn::Lsn;
use crate::txn::{SetOptions, SetOutcome, Ttl, Txn, TxnExt};
use crate::walk::{Cursor, Walk};

/// A keyspace that can be read, changed and walked over. Object-safe.
pub trait Store: Walk + Send + Sync {
    /// Shows the value of `key`, in place and under its lock, if it is there; answers whether it was. `show` must
    /// return soon and must not call the store.
    fn read(&self, key: &[u8], show: &mut dyn FnMut(ValueRef<'_>)) -> Result<bool>;

    /// Runs `body` once, with the named keys locked. If it answers `Ok`, its changes are applied and logged as one
    /// group; if it fails or panics, nothing is changed. Answers the Lsn that must be durable before anything that
    /// `body` wrote *or read* may be relied on; [`wait`](Self::wait) waits for it.
    ///
    /// `body` must not call the store: it gets [`Error::Reentered`](crate::Error::Reentered).
    fn commit(&self, keys: &[&[u8]], body: &mut dyn FnMut(&mut dyn Txn) -> Result<()>) -> Result<Lsn>;

    /// Returns when this store's promise of durability holds for `lsn`.
    fn wait(&self, lsn: Lsn) -> Result<()>;

    /// Removes every key, and answers how many there were. Returns when that is as durable as any write.
    fn flush(&self) -> Result<u64>;
}

/// What everybody calls. Keys and values are any bytes; both may be empty.
///
/// A write returns when the store's promise of [durability](crate::Durability) holds for it. An error on a write means
/// that its outcome is unknown, unless the error is about the arguments.
pub trait StoreExt: Store {
    /// The value of `key`. Does not wait: under [`Durability::Always`](crate::Durability::Always) a value just written
    /// by another thread may still be lost in a crash; see [`get_settled`](Self::get_settled).
    fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Value>> {
        let mut value = None;
        self.read(key.as_ref(), &mut |found| value = Some(found.to_value()))?;
        Ok(value)
    }

    /// The value of `key`, once it is as durable as the store promises.
    fn get_settled(&self, key: impl AsRef<[u8]>) -> Result<Option<Value>> {
        let key = key.as_ref();
        self.update(&[key], |txn| Ok(txn.get(key)?.map(|value| value.to_value())))
    }

    /// What `look` makes of the value of `key`, without copying it. `look` runs under the key's lock: it must return
    /// soon and must not call the store.
    fn get_with<R>(&self, key: impl AsRef<[u8]>, look: impl FnOnce(&[u8]) -> R) -> Result<Option<R>> {
        let (mut look, mut answer) = (Some(look), None);
        self.read(key.as_ref(), &mut |value| answer = look.take().map(|look| look(value.bytes())))?;
        Ok(answer)
    }

    /// Gives `key` a value and no deadline.
    fn set(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        let (key, value) = (key.as_ref(), value.as_ref());
        self.update(&[key], |txn| txn.set(key, value, None))
    }

    /// Sets a key as `options` say.
    fn set_with(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>, options: SetOptions) -> Result<SetOutcome> {
        let (key, value) = (key.as_ref(), value.as_ref());
        self.update(&[key], |txn| txn.set_with(key, value, options))
    }

    /// Removes `key`; false if it was not there.
    fn delete(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        let key = key.as_ref();
        self.update(&[key], |txn| txn.delete(key))
    }

    /// Whether `key` is there.
    fn exists(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.read(key.as_ref(), &mut |_| {})
    }

    /// Lets `key` expire this long from now; false if there is no such key.
    fn expire(&self, key: impl AsRef<[u8]>, ttl: Duration) -> Result<bool> {
        let key = key.as_ref();
        self.update(&[key], |txn| txn.expire(key, ttl))
    }

    /// Lets `key` expire then; false if there is no such key. A deadline that has passed removes it.
    fn expire_at(&self, key: impl AsRef<[u8]>, deadline: Deadline) -> Result<bool> {
        let key = key.as_ref();
        self.update(&[key], |txn| txn.set_deadline(key, Some(deadline)))
    }

    /// Takes the deadline off `key`; false if there is no such key or it had none.
    fn persist(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        let key = key.as_ref();
        self.update(&[key], |txn| txn.persist(key))
    }

    /// How long `key` has to live; `None` if there is no such key.
    fn ttl(&self, key: impl AsRef<[u8]>) -> Result<Option<Ttl>> {
        let (key, mut ttl) = (key.as_ref(), None);
        self.commit(&[key], &mut |txn| {
            ttl = txn.ttl(key)?;
            Ok(())
        })?;
        Ok(ttl)
    }

    /// The values of several keys at one moment.
    fn get_many<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Vec<Option<Value>>> {
        let keys: Vec<&[u8]> = keys.iter().map(AsRef::as_ref).collect();
        let mut values = Vec::with_capacity(keys.len());
        self.commit(&keys, &mut |txn| {
            for key in &keys {
                values.push(txn.get(key)?.map(|value| value.to_value()));
            }
            Ok(())
        })?;
        Ok(values)
    }

    /// Gives several keys values and no deadlines: all of them, or after an error or a crash none.
    fn set_many<K: AsRef<[u8]>, V: AsRef<[u8]>>(&self, pairs: &[(K, V)]) -> Result<()> {
        let keys: Vec<&[u8]> = pairs.iter().map(|(key, _)| key.as_ref()).collect();
        self.update(&keys, |txn| pairs.iter().try_for_each(|(key, value)| txn.set(key.as_ref(), value.as_ref(), None)))
    }

    /// Adds `by` to the decimal integer in `key` (0 if missing) and answers the sum; the deadline stays.
    fn increment(&self, key: impl AsRef<[u8]>, by: i64) -> Result<i64> {
        let key = key.as_ref();
        self.update(&[key], |txn| txn.increment(key, by))
    }

    /// Appends to the value (empty if missing) and answers its length afterwards, in bytes.
    fn append(&self, key: impl AsRef<[u8]>, bytes: impl AsRef<[u8]>) -> Result<usize> {
        let (key, bytes) = (key.as_ref(), bytes.as_ref());
        self.update(&[key], |txn| txn.append(key, bytes))
    }

    /// Sets `key` to `new`, keeping its deadline, if it now is `expected` (`None`: missing); answers whether it was.
    fn compare_and_set(&self, key: impl AsRef<[u8]>, expected: Option<&[u8]>, new: impl AsRef<[u8]>) -> Result<bool> {
        let (key, new) = (key.as_ref(), new.as_ref());
        self.update(&[key], |txn| txn.compare_and_set(key, expected, new))
    }

    /// Runs `body` once with the named keys locked, atomically; see [`Store::commit`]. Returns when its outcome is as
    /// durable as the store promises.
    ///
    /// ```
    /// use kvcore::{Db, StoreExt, TxnExt};
    /// let db = Db::in_memory();
    /// db.set("alice", "10")?;
    /// let left = db.update(&["alice", "bob"], |txn| {
    ///     txn.increment(b"bob", 3)?;
    ///     txn.increment(b"alice", -3)
    /// })?;
    /// assert_eq!(left, 7);
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    fn update<K: AsRef<[u8]>, R>(&self, keys: &[K], body: impl FnOnce(&mut dyn Txn) -> Result<R>) -> Result<R> {
        let mut answer = None;
        let lsn = commit_once(self, keys, body, &mut answer)?;
        self.wait(lsn)?;
        // `commit` answered Ok, so the body ran.
        answer.ok_or(crate::Error::Closed)
    }

    /// One step of a walk over the keys that begin with `prefix` (empty for all): some of them, and where to go on. A
    /// key may come twice, and keys written or removed meanwhile may or may not be among them; see [`Walk::walk`].
    fn scan(&self, cursor: Cursor, at_least: usize, prefix: &[u8]) -> Result<(Vec<Vec<u8>>, Cursor)> {
        let mut keys = Vec::new();
        let next = self.walk(cursor, at_least, &mut |key, _| {
            if key.starts_with(prefix) {
                keys.push(key.to_vec());
            }
        })?;
        Ok((keys, next))
    }
}

impl<S: Store + ?Sized> StoreExt for S {}

/// Runs a transaction whose body can be called only once.
pub(crate) fn commit_once<S: Store + ?Sized, K: AsRef<[u8]>, R>(
    store: &S,
    keys: &[K],
    body: impl FnOnce(&mut dyn Txn) -> Result<R>,
    answer: &mut Option<R>,
) -> Result<Lsn> {
    let mut body = Some(body);
    let mut run = |txn: &mut dyn Txn| {
        if let Some(body) = body.take() {
            *answer = Some(body(txn)?);
        }
        Ok(())
    };
    match keys {
        [key] => store.commit(&[key.as_ref()], &mut run),
        _ => store.commit(&keys.iter().map(AsRef::as_ref).collect::<Vec<_>>(), &mut run),
    }
}
