//! Observer: notified of each change, whatever its origin. Invariant: once a change, under its shard's lock, for each key in log
//! order.

use crate::lsn::Lsn;

/// Watches the store's changes: commands, embedded calls, expiry, eviction and clearing alike.
///
/// `changed` runs while the shard is locked: it must return soon, must not block and must not call the store.
pub trait Observer: Send + Sync + 'static {
    /// One change, already applied and logged, perhaps not yet durable.
    fn changed(&self, change: &Change<'_>);

    /// Two keyspaces have exchanged what they hold. Who does not say otherwise is told that both were emptied.
    fn swapped(&self, swap: &Swap<'_>) {
        for (keyspace_id, keyspace) in swap.keyspaces {
            self.changed(&Change { keyspace_id, keyspace, key: None, kind: ChangeKind::Clear, lsn: swap.lsn });
        }
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
    /// The keyspace has exchanged all it held with another; told by [`Observer::swapped`].
    Swap,
}
