//! Store: what every store can do. Invariant: everything in [`StoreExt`] is made of the few methods of [`Store`], so it means
//! the same on the engine and on any other implementation.

use std::sync::Arc;
use std::time::Duration;

use crate::db::Db;
use crate::deferred::Deferred;
use crate::error::{Error, Result};
use crate::iter::{Entries, Keys, ScanPage, ScanPosition};
use crate::log::ticket::Ticket;
use crate::transaction::Transaction;
use crate::txn::traits::{SetOptions, SetOutcome, Ttl};
use crate::value::{Deadline, Value, ValueRef};
use crate::view::View;
use crate::watch::{Watch, WatchOptions};

/// A keyspace of some store. Object-safe: programs that must work on several stores hold a `Box<dyn Store>` and call
/// [`StoreExt`].
///
/// ```
/// use kvcore::{Db, Store, StoreExt};
/// fn count_visit(store: &dyn Store, page: &str) -> kvcore::Result<i64> {
///     store.increment(page, 1)
/// }
/// let store: Box<dyn Store> = Box::new(Db::in_memory());
/// assert_eq!(count_visit(&*store, "/")?, 1);
/// # Ok::<(), kvcore::Error>(())
/// ```
pub trait Store: Send + Sync {
    /// Returns the keyspace with this name of the same store; it is made if it does not exist.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] from a store that has one keyspace only, [`Error::KeyTooLong`] for a name that is too long; what keeps
    /// a keyspace from being made.
    fn keyspace(&self, name: &str) -> Result<Box<dyn Store>>;

    /// Runs `body` on the named keys as they are at one moment. It may run more than once. The ticket is good when all that
    /// `body` has seen is as durable as the store promises.
    ///
    /// # Errors
    ///
    /// Those of `body`; [`Error::Reentered`].
    fn run_view(&self, keys: &[&[u8]], body: &mut dyn FnMut(&View<'_>) -> Result<()>) -> Result<Ticket<()>>;

    /// Runs `body` as a transaction over the named keys: if it returns `Ok`, all its changes are applied at one moment; if it
    /// fails or panics, none. It may run more than once: only its last run counts. Returns before anything is durable; the
    /// ticket is good when all that `body` has written and read is as durable as the store promises.
    ///
    /// `body` must not call the store.
    ///
    /// # Errors
    ///
    /// Those of `body`; [`Error::Reentered`]; from a store of several machines [`Error::Conflict`], [`Error::KeysApart`],
    /// [`Error::Unavailable`], [`Error::OutcomeUnknown`].
    fn run_transaction(
        &self,
        keys: &[&[u8]],
        body: &mut dyn FnMut(&mut Transaction<'_>) -> Result<()>,
    ) -> Result<Ticket<()>>;

    /// Returns at least `at_least` of the entries whose keys begin with `prefix`, fewer at the end, and where to go on. Start
    /// with `None`.
    ///
    /// A key that is there from the first call to the last is returned at least once; it may be returned more than once, and
    /// one that is written or removed meanwhile may be missing. Any number of other calls may come in between.
    ///
    /// # Errors
    ///
    /// [`Error::ForeignPosition`] for a position that another store, or another keyspace, has returned: a store puts something into
    /// its positions by which it knows them.
    fn scan(&self, position: Option<&ScanPosition>, at_least: usize, prefix: &[u8]) -> Result<ScanPage>;

    /// Returns how many keys there are; one that has expired may be counted until it is swept.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`], and what keeps the store from being read.
    fn len(&self) -> Result<u64>;

    /// Removes every key; the ticket's value is how many there were.
    ///
    /// # Errors
    ///
    /// Those of a write.
    fn run_clear(&self) -> Result<Ticket<u64>>;

    /// Returns a ticket that is good when every write so far is on stable storage, whatever the store's durability.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`]; [`Error::Unsupported`] from a store that cannot find out.
    fn begin_sync(&self) -> Result<Ticket<()>>;

    /// Watches the keys that begin with `prefix`. A store makes the returned value with [`Watch::channel`]. This one returns
    /// [`Error::Unsupported`].
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] from a store that cannot watch.
    fn begin_watch(&self, prefix: &[u8], options: WatchOptions) -> Result<Watch> {
        let _ = (prefix, options);
        Err(Error::Unsupported { what: "watch keys" })
    }

    /// Shows the value of `key`, in place, if it is there; returns whether it was. `show` must return soon and must not call the
    /// store, and may run more than once. This one is made of [`run_view`](Self::run_view).
    ///
    /// # Errors
    ///
    /// Those of [`run_view`](Self::run_view).
    fn read(&self, key: &[u8], show: &mut dyn FnMut(ValueRef<'_>)) -> Result<bool> {
        look(self, &[key], |view| Ok(view.get(key)?.map(&mut *show).is_some())).map(|(found, _)| found)
    }

    /// Adds to the integer in `key`; see [`Transaction::increment`]. This one, and the three that follow, are made of
    /// [`run_transaction`](Self::run_transaction): for stores that have no command of their own for it.
    ///
    /// # Errors
    ///
    /// Those of a transaction; [`Error::NotAnInteger`], [`Error::Overflow`].
    fn run_increment(&self, key: &[u8], by: i64) -> Result<Ticket<i64>> {
        run(self, &[key], |txn| txn.increment(key, by))
    }

    /// Appends to the value of `key`; see [`Transaction::append`].
    ///
    /// # Errors
    ///
    /// Those of a transaction; [`Error::ValueTooLong`].
    fn run_append(&self, key: &[u8], bytes: &[u8]) -> Result<Ticket<usize>> {
        run(self, &[key], |txn| txn.append(key, bytes))
    }

    /// Moves a value to another key; see [`Transaction::rename`].
    ///
    /// # Errors
    ///
    /// Those of a transaction.
    fn run_rename(&self, from: &[u8], to: &[u8]) -> Result<Ticket<bool>> {
        run(self, &[from, to], |txn| txn.rename(from, to))
    }

    /// Copies a value to another key; see [`Transaction::copy`].
    ///
    /// # Errors
    ///
    /// Those of a transaction.
    fn run_copy(&self, from: &[u8], to: &[u8]) -> Result<Ticket<bool>> {
        run(self, &[from, to], |txn| txn.copy(from, to))
    }

    /// Iterates over the entries whose keys begin with `prefix`, in no order. A key that is there from beginning to end is shown at
    /// least once; whether it may be shown again is the store's to say. This one is made of [`scan`](Self::scan), and may show it
    /// again.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`], and what keeps the store from being read.
    fn entries<'a>(&'a self, prefix: &[u8]) -> Result<Entries<'a>> {
        Ok(Entries::scanning(self, prefix))
    }

    /// Returns whether there is no key.
    ///
    /// # Errors
    ///
    /// Those of [`len`](Self::len).
    fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// Makes a store of what dereferences to one.
macro_rules! forward_store {
    ([$($generics:tt)*] $type:ty) => {
        impl<$($generics)*> Store for $type {
            fn keyspace(&self, name: &str) -> Result<Box<dyn Store>> {
                Store::keyspace(&**self, name)
            }

            fn run_view(&self, keys: &[&[u8]], body: &mut dyn FnMut(&View<'_>) -> Result<()>) -> Result<Ticket<()>> {
                Store::run_view(&**self, keys, body)
            }

            fn run_transaction(
                &self,
                keys: &[&[u8]],
                body: &mut dyn FnMut(&mut Transaction<'_>) -> Result<()>,
            ) -> Result<Ticket<()>> {
                Store::run_transaction(&**self, keys, body)
            }

            fn scan(&self, position: Option<&ScanPosition>, at_least: usize, prefix: &[u8]) -> Result<ScanPage> {
                Store::scan(&**self, position, at_least, prefix)
            }

            fn len(&self) -> Result<u64> {
                Store::len(&**self)
            }

            fn run_clear(&self) -> Result<Ticket<u64>> {
                Store::run_clear(&**self)
            }

            fn begin_sync(&self) -> Result<Ticket<()>> {
                Store::begin_sync(&**self)
            }

            fn begin_watch(&self, prefix: &[u8], options: WatchOptions) -> Result<Watch> {
                Store::begin_watch(&**self, prefix, options)
            }

            fn read(&self, key: &[u8], show: &mut dyn FnMut(ValueRef<'_>)) -> Result<bool> {
                Store::read(&**self, key, show)
            }

            fn run_increment(&self, key: &[u8], by: i64) -> Result<Ticket<i64>> {
                Store::run_increment(&**self, key, by)
            }

            fn run_append(&self, key: &[u8], bytes: &[u8]) -> Result<Ticket<usize>> {
                Store::run_append(&**self, key, bytes)
            }

            fn run_rename(&self, from: &[u8], to: &[u8]) -> Result<Ticket<bool>> {
                Store::run_rename(&**self, from, to)
            }

            fn run_copy(&self, from: &[u8], to: &[u8]) -> Result<Ticket<bool>> {
                Store::run_copy(&**self, from, to)
            }

            fn entries<'a>(&'a self, prefix: &[u8]) -> Result<Entries<'a>> {
                Store::entries(&**self, prefix)
            }

            fn is_empty(&self) -> Result<bool> {
                Store::is_empty(&**self)
            }
        }
    };
}

forward_store!([S: Store + ?Sized] &S);
forward_store!([S: Store + ?Sized] Box<S>);
forward_store!([S: Store + ?Sized] Arc<S>);
forward_store!([] Db);

/// The methods of [`Keyspace`](crate::Keyspace) for code that is generic over [`Store`]: same names, same signatures, same
/// meaning. Programs that use [`Db`](crate::Db) alone need not import it.
///
/// ```
/// use std::time::Duration;
/// use kvcore::{Db, SetOptions, Store, StoreExt};
/// let store: Box<dyn Store> = Box::new(Db::in_memory());
/// store.set_with("session", "42", SetOptions::new().expires_in(Duration::from_secs(3600)))?;
/// assert_eq!(store.get("session")?.unwrap(), "42");
/// assert_eq!(store.deferred().increment("visits", 1)?.wait()?, 1);
/// assert_eq!(store.clear()?, 2);
/// # Ok::<(), kvcore::Error>(())
/// ```
pub trait StoreExt: Store {
    /// Returns the value of `key`; see [`Keyspace::get`](crate::Keyspace::get).
    ///
    /// # Errors
    ///
    /// Those of [`Keyspace::get`](crate::Keyspace::get), and those of [`Store`].
    fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Value>> {
        let mut value = None;
        let found = self.read(key.as_ref(), &mut |found| value = Some(found.to_value()))?;
        // An earlier run may have found one.
        Ok(value.filter(|_| found))
    }

    /// Returns what `look` makes of the value; see [`Keyspace::get_with`](crate::Keyspace::get_with). `look` runs once, after the
    /// store has read: on a copy of what the last run of [`Store::read`] has seen. A large value may be shared instead of copied.
    ///
    /// # Errors
    ///
    /// Those of [`Keyspace::get_with`](crate::Keyspace::get_with), and those of [`Store`].
    fn get_with<R>(&self, key: impl AsRef<[u8]>, look: impl FnOnce(&[u8]) -> R) -> Result<Option<R>> {
        Ok(self.get(key)?.map(|value| look(&value)))
    }

    /// Returns the value once it is durable; see [`Keyspace::get_durable`](crate::Keyspace::get_durable).
    ///
    /// # Errors
    ///
    /// Those of [`Keyspace::get_durable`](crate::Keyspace::get_durable), and those of [`Store`].
    fn get_durable(&self, key: impl AsRef<[u8]>) -> Result<Option<Value>> {
        let (value, seen) = look(self, &[&key], |view| Ok(view.get(&key)?.map(|value| value.to_value())))?;
        seen.wait()?;
        Ok(value)
    }

    /// Returns whether there is such a key; see [`Keyspace::exists`](crate::Keyspace::exists).
    ///
    /// # Errors
    ///
    /// Those of [`Keyspace::exists`](crate::Keyspace::exists), and those of [`Store`].
    fn exists(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.view(&[&key], |view| view.exists(&key))
    }

    /// Returns how long `key` has to live; see [`Keyspace::ttl`](crate::Keyspace::ttl).
    ///
    /// # Errors
    ///
    /// Those of [`Keyspace::ttl`](crate::Keyspace::ttl), and those of [`Store`].
    fn ttl(&self, key: impl AsRef<[u8]>) -> Result<Option<Ttl>> {
        self.view(&[&key], |view| view.ttl(&key))
    }

    /// Returns several values at one moment; see [`Keyspace::get_many`](crate::Keyspace::get_many).
    ///
    /// # Errors
    ///
    /// Those of [`Keyspace::get_many`](crate::Keyspace::get_many), and those of [`Store`].
    fn get_many<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Vec<Option<Value>>> {
        self.view(keys, |view| values(view, keys))
    }

    /// Gives `key` a value and no deadline; see [`Keyspace::set`](crate::Keyspace::set).
    ///
    /// # Errors
    ///
    /// Those of [`Keyspace::set`](crate::Keyspace::set), and those of [`Store`].
    fn set(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        self.transact(&[&key], |txn| txn.set(&key, &value))
    }

    /// Sets `key` in the way that `options` describe; see [`Keyspace::set_with`](crate::Keyspace::set_with).
    ///
    /// # Errors
    ///
    /// Those of [`Keyspace::set_with`](crate::Keyspace::set_with), and those of [`Store`].
    fn set_with(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>, options: SetOptions) -> Result<SetOutcome> {
        self.transact(&[&key], |txn| txn.set_with(&key, &value, options))
    }

    /// Gives several keys values; see [`Keyspace::set_many`](crate::Keyspace::set_many).
    ///
    /// # Errors
    ///
    /// Those of [`Keyspace::set_many`](crate::Keyspace::set_many), and those of [`Store`].
    fn set_many<K: AsRef<[u8]>, V: AsRef<[u8]>>(&self, pairs: &[(K, V)]) -> Result<()> {
        self.transact(&names(pairs), |txn| set_all(txn, pairs))
    }

    /// Removes `key`; see [`Keyspace::delete`](crate::Keyspace::delete).
    ///
    /// # Errors
    ///
    /// Those of [`Keyspace::delete`](crate::Keyspace::delete), and those of [`Store`].
    fn delete(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.transact(&[&key], |txn| txn.delete(&key))
    }

    /// Lets `key` expire this long from now; see [`Keyspace::expire`](crate::Keyspace::expire).
    ///
    /// # Errors
    ///
    /// Those of [`Keyspace::expire`](crate::Keyspace::expire), and those of [`Store`].
    fn expire(&self, key: impl AsRef<[u8]>, ttl: Duration) -> Result<bool> {
        self.transact(&[&key], |txn| txn.expire(&key, ttl))
    }

    /// Lets `key` expire then; see [`Keyspace::expire_at`](crate::Keyspace::expire_at).
    ///
    /// # Errors
    ///
    /// Those of [`Keyspace::expire_at`](crate::Keyspace::expire_at), and those of [`Store`].
    fn expire_at(&self, key: impl AsRef<[u8]>, deadline: Deadline) -> Result<bool> {
        self.transact(&[&key], |txn| txn.expire_at(&key, deadline))
    }

    /// Removes the deadline of `key`; see [`Keyspace::persist`](crate::Keyspace::persist).
    ///
    /// # Errors
    ///
    /// Those of [`Keyspace::persist`](crate::Keyspace::persist), and those of [`Store`].
    fn persist(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.transact(&[&key], |txn| txn.persist(&key))
    }

    /// Adds to an integer; see [`Keyspace::increment`](crate::Keyspace::increment).
    ///
    /// # Errors
    ///
    /// Those of [`Keyspace::increment`](crate::Keyspace::increment), and those of [`Store`].
    fn increment(&self, key: impl AsRef<[u8]>, by: i64) -> Result<i64> {
        self.run_increment(key.as_ref(), by)?.wait()
    }

    /// Appends to a value; see [`Keyspace::append`](crate::Keyspace::append).
    ///
    /// # Errors
    ///
    /// Those of [`Keyspace::append`](crate::Keyspace::append), and those of [`Store`].
    fn append(&self, key: impl AsRef<[u8]>, bytes: impl AsRef<[u8]>) -> Result<usize> {
        self.run_append(key.as_ref(), bytes.as_ref())?.wait()
    }

    /// Sets `key` if it is what the caller expects; see [`Keyspace::compare_and_set`](crate::Keyspace::compare_and_set).
    ///
    /// # Errors
    ///
    /// Those of [`Keyspace::compare_and_set`](crate::Keyspace::compare_and_set), and those of [`Store`].
    fn compare_and_set(&self, key: impl AsRef<[u8]>, expected: Option<&[u8]>, new: impl AsRef<[u8]>) -> Result<bool> {
        self.transact(&[&key], |txn| txn.compare_and_set(&key, expected, &new))
    }

    /// Moves a value to another key; see [`Keyspace::rename`](crate::Keyspace::rename).
    ///
    /// # Errors
    ///
    /// Those of [`Keyspace::rename`](crate::Keyspace::rename), and those of [`Store`].
    fn rename(&self, from: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> Result<bool> {
        self.run_rename(from.as_ref(), to.as_ref())?.wait()
    }

    /// Copies a value to another key; see [`Keyspace::copy`](crate::Keyspace::copy).
    ///
    /// # Errors
    ///
    /// Those of [`Keyspace::copy`](crate::Keyspace::copy), and those of [`Store`].
    fn copy(&self, from: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> Result<bool> {
        self.run_copy(from.as_ref(), to.as_ref())?.wait()
    }

    /// Runs a transaction; see [`Keyspace::transact`](crate::Keyspace::transact).
    ///
    /// # Errors
    ///
    /// Those of [`Keyspace::transact`](crate::Keyspace::transact), and those of [`Store`].
    fn transact<K: AsRef<[u8]>, R>(
        &self,
        keys: &[K],
        body: impl FnMut(&mut Transaction<'_>) -> Result<R>,
    ) -> Result<R> {
        run(self, keys, body)?.wait()
    }

    /// Runs a transaction with the caller's own error type; see [`Keyspace::try_transact`](crate::Keyspace::try_transact).
    ///
    /// # Errors
    ///
    /// Those of [`Keyspace::try_transact`](crate::Keyspace::try_transact), and those of [`Store`].
    fn try_transact<K: AsRef<[u8]>, R, E: From<Error>>(
        &self,
        keys: &[K],
        body: impl FnMut(&mut Transaction<'_>) -> Result<R, E>,
    ) -> Result<R, E> {
        keeping_error(body, |body| self.transact(keys, body))
    }

    /// Runs a read-only transaction; see [`Keyspace::view`](crate::Keyspace::view).
    ///
    /// # Errors
    ///
    /// Those of [`Keyspace::view`](crate::Keyspace::view), and those of [`Store`].
    fn view<K: AsRef<[u8]>, R>(&self, keys: &[K], body: impl FnMut(&View<'_>) -> Result<R>) -> Result<R> {
        look(self, keys, body).map(|(result, _)| result)
    }

    /// Iterates over all entries; see [`Keyspace::iter`](crate::Keyspace::iter). On other stores a key that is there from beginning to
    /// end may be shown more than once: [`Store::entries`] promises at least once.
    ///
    /// # Errors
    ///
    /// Those of [`Keyspace::iter`](crate::Keyspace::iter), and those of [`Store`].
    fn iter(&self) -> Result<Entries<'_>> {
        self.entries(b"")
    }

    /// Iterates over all keys; see [`Keyspace::keys`](crate::Keyspace::keys). Each is shown at least once, as by [`iter`](Self::iter).
    ///
    /// # Errors
    ///
    /// Those of [`Keyspace::keys`](crate::Keyspace::keys), and those of [`Store`].
    fn keys(&self) -> Result<Keys<'_>> {
        self.entries(b"").map(Keys)
    }

    /// Iterates over the entries whose keys begin with `prefix`; see [`Keyspace::prefix`](crate::Keyspace::prefix). Each is shown at
    /// least once, as by [`iter`](Self::iter).
    ///
    /// # Errors
    ///
    /// Those of [`Keyspace::prefix`](crate::Keyspace::prefix), and those of [`Store`].
    fn prefix(&self, prefix: impl AsRef<[u8]>) -> Result<Entries<'_>> {
        self.entries(prefix.as_ref())
    }

    /// Removes every key and returns how many there were; see [`Keyspace::clear`](crate::Keyspace::clear).
    ///
    /// # Errors
    ///
    /// Those of [`Keyspace::clear`](crate::Keyspace::clear), and those of [`Store`].
    fn clear(&self) -> Result<u64> {
        self.run_clear()?.wait()
    }

    /// Blocks until every write so far is on stable storage; see [`Keyspace::sync`](crate::Keyspace::sync).
    ///
    /// # Errors
    ///
    /// Those of [`Keyspace::sync`](crate::Keyspace::sync), and those of [`Store`].
    fn sync(&self) -> Result<()> {
        self.begin_sync()?.wait()
    }

    /// Watches the keys that begin with `prefix`; see [`Keyspace::watch`](crate::Keyspace::watch).
    ///
    /// # Errors
    ///
    /// Those of [`Keyspace::watch`](crate::Keyspace::watch), and those of [`Store`].
    fn watch(&self, prefix: impl AsRef<[u8]>) -> Result<Watch> {
        self.begin_watch(prefix.as_ref(), WatchOptions::new())
    }

    /// Watches keys in the way that `options` describe; see [`Keyspace::watch_with`](crate::Keyspace::watch_with).
    ///
    /// # Errors
    ///
    /// Those of [`Keyspace::watch_with`](crate::Keyspace::watch_with), and those of [`Store`].
    fn watch_with(&self, prefix: impl AsRef<[u8]>, options: WatchOptions) -> Result<Watch> {
        self.begin_watch(prefix.as_ref(), options)
    }

    /// Returns a handle whose writes return tickets; see [`Keyspace::deferred`](crate::Keyspace::deferred).
    fn deferred(&self) -> Deferred<&Self> {
        Deferred(self)
    }
}

impl<S: Store + ?Sized> StoreExt for S {}

/// Runs a transaction of any store, and returns its result before it is durable.
pub(crate) fn run<S: Store + ?Sized, K: AsRef<[u8]>, R>(
    store: &S,
    keys: &[K],
    mut body: impl FnMut(&mut Transaction<'_>) -> Result<R>,
) -> Result<Ticket<R>> {
    let mut result = None;
    let ticket = with_names(keys, |keys| {
        store.run_transaction(keys, &mut |txn| {
            result = Some(body(txn)?);
            Ok(())
        })
    })?;
    result.map(|result| ticket.map(|()| result)).ok_or(Error::BodyNotRun)
}

/// Runs a read-only transaction of any store, and returns its result, and when what it has seen is durable.
fn look<S: Store + ?Sized, K: AsRef<[u8]>, R>(
    store: &S,
    keys: &[K],
    mut body: impl FnMut(&View<'_>) -> Result<R>,
) -> Result<(R, Ticket<()>)> {
    let mut result = None;
    let ticket = with_names(keys, |keys| {
        store.run_view(keys, &mut |view| {
            result = Some(body(view)?);
            Ok(())
        })
    })?;
    result.map(|result| (result, ticket)).ok_or(Error::BodyNotRun)
}

/// Calls `run` with the keys as bytes; for a single one without an allocation.
#[inline]
pub(crate) fn with_names<K: AsRef<[u8]>, R>(keys: &[K], run: impl FnOnce(&[&[u8]]) -> R) -> R {
    match keys {
        [key] => run(&[key.as_ref()]),
        _ => run(&keys.iter().map(AsRef::as_ref).collect::<Vec<_>>()),
    }
}

/// Calls `transact` with a body that may fail with an error of its own, which is returned as it is.
pub(crate) fn keeping_error<R, T, E: From<Error>>(
    mut body: impl FnMut(&mut Transaction<'_>) -> Result<R, E>,
    transact: impl FnOnce(&mut dyn FnMut(&mut Transaction<'_>) -> Result<R>) -> Result<T>,
) -> Result<T, E> {
    let mut own = None;
    let result = transact(&mut |txn| {
        own = None;
        body(txn).map_err(|error| {
            own = Some(error);
            Error::aborted("its body returned an error")
        })
    });
    result.map_err(|error| match (error, own) {
        (Error::Aborted(_), Some(own)) => own,
        // The store failed after a run of the body that it does not count.
        (error, _) => error.into(),
    })
}

/// Returns the keys of `pairs`.
pub(crate) fn names<K: AsRef<[u8]>, V>(pairs: &[(K, V)]) -> Vec<&[u8]> {
    pairs.iter().map(|(key, _)| key.as_ref()).collect()
}

/// Sets every pair.
pub(crate) fn set_all<K: AsRef<[u8]>, V: AsRef<[u8]>>(txn: &mut Transaction<'_>, pairs: &[(K, V)]) -> Result<()> {
    pairs.iter().try_for_each(|(key, value)| txn.set(key, value))
}

/// Returns the values of `keys`.
pub(crate) fn values<K: AsRef<[u8]>>(view: &View<'_>, keys: &[K]) -> Result<Vec<Option<Value>>> {
    keys.iter().map(|key| Ok(view.get(key)?.map(|value| value.to_value()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::Db;

    #[derive(Debug, PartialEq)]
    enum Own {
        Broke,
        Closed,
    }

    impl From<Error> for Own {
        fn from(error: Error) -> Self {
            assert!(matches!(error, Error::Closed));
            Own::Closed
        }
    }

    #[test]
    fn an_error_of_a_run_that_does_not_count_is_not_returned() {
        let db = Db::in_memory();
        let body = |_: &mut Transaction<'_>| Err::<(), _>(Own::Broke);
        // A store that runs the body, wants to run it again, and cannot.
        let failed = keeping_error(body, |body| {
            assert!(db.transact(&["k"], body).is_err());
            Err::<(), _>(Error::Closed)
        });
        assert_eq!(failed, Err(Own::Closed));
        assert_eq!(keeping_error(body, |body| db.transact(&["k"], body)), Err(Own::Broke));
    }
}
