//! Observer: notified of each change, whatever its origin. Invariant: once a change, under its shard's lock, for each key in log
//! order.

use std::any::Any;
use std::fmt;

use crate::lsn::Lsn;

/// Watches the store's changes: commands, embedded calls, expiry, eviction and clearing alike.
///
/// `changed` runs while the shard is locked: it must return soon, must not block and must not call the store.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use kvcore::hooks::{Change, Observer};
///
/// #[derive(Default)]
/// struct Counts(AtomicU64);
///
/// impl Observer for Counts {
///     fn changed(&self, _: &Change<'_>) {
///         self.0.fetch_add(1, Ordering::Relaxed);
///     }
/// }
///
/// let counts = Arc::new(Counts::default());
/// let db = kvcore::Options::new().observer(counts.clone()).in_memory()?;
/// db.set("key", "value")?;
/// assert_eq!(counts.0.load(Ordering::Relaxed), 1);
/// # Ok::<(), kvcore::Error>(())
/// ```
pub trait Observer: Send + Sync + 'static {
    /// Returns whether it wants to be notified of the changes that are committed now. Called with each transaction, under its
    /// locks; where no observer is interested, less work is done. By default, it is.
    fn is_interested(&self) -> bool {
        true
    }

    /// Receives a change, already applied and logged, perhaps not yet durable. It may come although
    /// [`is_interested`](Self::is_interested) returned false.
    fn changed(&self, change: &Change<'_>);

    /// Receives an exchange of what two keyspaces hold. By default, as two keyspaces that were emptied.
    fn swapped(&self, swap: &Swap<'_>) {
        for (keyspace_id, keyspace) in swap.keyspaces {
            let Swap { lsn, origin, .. } = *swap;
            self.changed(&Change { keyspace_id, keyspace, key: None, kind: ChangeKind::Clear, lsn, origin });
        }
    }
}

/// What the caller of a transaction gave to it, and the store hands to the observers of its changes: a reference to anything. The
/// store does not look at it.
///
/// Observers run on the thread that commits, while the caller waits: so they can leave something for the caller in it.
///
/// # Examples
///
/// ```
/// use std::cell::Cell;
/// use kvcore::hooks::Origin;
///
/// struct Request { changes: Cell<u32> }
/// let request = Request { changes: Cell::new(0) };
/// let origin = Origin::new(&request);
/// assert!(origin.get::<Request>().is_some());
/// assert!(origin.get::<String>().is_none());
/// assert!(Origin::NONE.get::<Request>().is_none());
/// ```
#[derive(Clone, Copy, Default)]
pub struct Origin<'a>(Option<&'a dyn Any>);

impl<'a> Origin<'a> {
    /// No origin: that of what the store does by itself, and of calls that give none.
    pub const NONE: Origin<'static> = Origin(None);

    /// Returns `what` as an origin.
    ///
    /// ```
    /// let client_id = 7_u64;
    /// let origin = kvcore::hooks::Origin::new(&client_id);
    /// ```
    pub fn new<T: Any>(what: &'a T) -> Self {
        Origin(Some(what))
    }

    /// Returns what was given as the origin, if it is a `T`.
    ///
    /// ```
    /// let client_id = 7_u64;
    /// assert_eq!(kvcore::hooks::Origin::new(&client_id).get(), Some(&7_u64));
    /// ```
    pub fn get<T: Any>(self) -> Option<&'a T> {
        self.0.and_then(|what| what.downcast_ref())
    }
}

impl fmt::Debug for Origin<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Origin(..)" } else { "Origin::NONE" })
    }
}

/// Two keyspaces that have exchanged what they hold.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Swap<'a> {
    /// Their [ids](crate::hooks::KeyspaceHooks::id) and names, which they keep.
    pub keyspaces: [(u32, &'a str); 2],
    /// The exchange's place in the log.
    pub lsn: Lsn,
    /// That of the transaction which exchanged them.
    pub origin: Origin<'a>,
    /// Whether either of them held a key that had not expired when they were exchanged.
    pub holds: &'a dyn Fn(&[u8]) -> bool,
}

/// What changed.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Change<'a> {
    /// The keyspace's [id](crate::hooks::KeyspaceHooks::id).
    pub keyspace_id: u32,
    /// The keyspace's name.
    pub keyspace: &'a str,
    /// The key; `None` when the whole keyspace was emptied.
    pub key: Option<&'a [u8]>,
    /// What happened to it.
    pub kind: ChangeKind,
    /// Its place in the log.
    pub lsn: Lsn,
    /// That of the transaction which made the change, met the expired key, or evicted a key among those that it had locked. What
    /// the store removes otherwise, for room or by its sweeper, has none.
    pub origin: Origin<'a>,
}

/// What happened to a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ChangeKind {
    /// It has a new value (and perhaps a new deadline).
    Set,
    /// Its deadline changed or went; the value is as it was.
    Deadline,
    /// It was deleted.
    Delete,
    /// Its deadline passed, and it was seen or swept.
    Expire,
    /// It made room for others.
    Evict,
    /// The whole keyspace was emptied.
    Clear,
    /// The keyspace has exchanged all it held with another; see [`Observer::swapped`].
    Swap,
}
