//! What can go wrong in the store. Invariant: each message says what happened and what to do next.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// The result of a call into the store.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call into the store failed.
///
/// A write that failed with [`Error::LogFailed`], [`Error::NoSpace`] or [`Error::Closed`] *while waiting* for its
/// durability has an unknown outcome: it may or may not be there after the next open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The key is longer than [`Options::key_bytes_max`](crate::Options::key_bytes_max).
    #[error("the key has {len} bytes, and at most {max} are allowed: use a shorter key or raise key_bytes_max")]
    KeyTooLong {
        /// Its length in bytes.
        len: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// The value is, or would become, longer than [`Options::value_bytes_max`](crate::Options::value_bytes_max).
    #[error("the value would have {len} bytes, and at most {max} are allowed: split it or raise value_bytes_max")]
    ValueTooLong {
        /// The length it would have, in bytes.
        len: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// One transaction's effects do not fit into one log frame.
    #[error("the transaction's changes take {len} bytes of log, and at most {max} are allowed: split it")]
    TransactionTooLarge {
        /// Bytes of log it would take.
        len: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// An increment met a value that is not the decimal form of a 64-bit signed integer.
    #[error("the value is not an integer in the range of 64 bits: set the key to one first")]
    NotAnInteger,
    /// An increment would leave the range of 64-bit signed integers; the value is as it was.
    #[error("the increment would overflow 64 bits: the value was left as it was")]
    Overflow,
    /// A transaction touched a key, or the whole keyspace, that it did not name when it began.
    #[error("the transaction did not name this key: name every key it touches when it begins")]
    KeyNotNamed,
    /// A closure running under the store's locks called back into the store.
    #[error("a closure that runs inside the store called the store again: use the transaction it was given")]
    Reentered,
    /// The closure of a transaction gave up; nothing was changed.
    #[error("the transaction was given up: {0}")]
    Aborted(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The store was closed, by this handle or another.
    #[error("the store is closed: open it again")]
    Closed,
    /// The keyspace was dropped; its handles are of no more use.
    #[error("the keyspace {name:?} was dropped: ask the Db for it again")]
    KeyspaceDropped {
        /// Its name.
        name: String,
    },
    /// Two keyspaces of different stores in one transaction, or a claim that does not fit.
    #[error("a transaction can only span keyspaces of one store: use handles of the same Db")]
    ForeignKeyspace,
    /// Another process, or another `Db` of this one, has the directory open.
    #[error("{dir} is in use by {holder}: close it there first, or open another directory")]
    Locked {
        /// The store's directory.
        dir: PathBuf,
        /// Who holds it, as far as known.
        holder: String,
    },
    /// The operating system refused a file operation outside the log's own writes.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was being done, with the path.
        what: String,
        /// The operating system's word.
        source: io::Error,
    },
    /// A file of the store is damaged where it is proven to have been whole.
    #[error(
        "{file} is damaged at byte {offset}: {why}. Nothing was changed: restore the directory from a backup, or keep \
         what is provably good with `kvserver repair` or `Options::repair`"
    )]
    Corrupt {
        /// The damaged file.
        file: PathBuf,
        /// Where, in bytes from its start.
        offset: u64,
        /// What is wrong with it.
        why: String,
    },
    /// There is nothing in the directory that a store has written.
    #[error("{dir} holds no store: name the directory that one was opened in")]
    NoStore {
        /// The directory.
        dir: PathBuf,
    },
    /// What the files were cannot be told, so nothing was changed.
    #[error("{dir} cannot be repaired: {why}")]
    NotRepairable {
        /// The store's directory.
        dir: PathBuf,
        /// Why, and what to do.
        why: String,
    },
    /// The files do not give back what memory holds; see [`Db::verify`](crate::Db::verify).
    #[error(
        "the files in {dir} do not give back what the keyspace {keyspace:?} holds: keep this process running, copy its \
         keys somewhere else, and look at the disk"
    )]
    NotAsWritten {
        /// The store's directory.
        dir: PathBuf,
        /// The first keyspace that differs.
        keyspace: String,
    },
    /// A write or sync of the log failed; the log takes no more writes until the store is opened again.
    #[error(
        "the log failed ({why}); writes are refused, and one that waited may or may not be there: repair the disk and open \
         the store again"
    )]
    LogFailed {
        /// The first failure.
        why: Arc<str>,
    },
    /// There is no room for more log. Writes resume by themselves when there is.
    #[error(
        "no space for the log ({why}); writes are refused until there is, and one that waited may or may not be there: \
         free some disk space"
    )]
    NoSpace {
        /// The operating system's word.
        why: Arc<str>,
    },
    /// An option is out of its range.
    #[error("invalid option: {0}")]
    InvalidOption(String),
}

impl Error {
    pub(crate) fn io(what: impl Into<String>, source: io::Error) -> Self {
        Error::Io { what: what.into(), source }
    }

    /// Gives up a transaction for a reason of the caller's own; see [`Error::Aborted`].
    pub fn aborted(reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Error::Aborted(reason.into())
    }
}
