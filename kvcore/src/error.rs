//! What can go wrong in the store. Invariant: each message says what happened and what to do next.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The result of a call into the store.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call into the store failed.
///
/// A write that failed with [`Error::LogFailed`], [`Error::NoSpace`], [`Error::TooManyOpenFiles`] or [`Error::Closed`] *while
/// waiting* for its durability has an unknown outcome: it may or may not be there after the next open. So has one that failed
/// with [`Error::OutcomeUnknown`].
///
/// [`Error::Conflict`], [`Error::Unavailable`], [`Error::OutcomeUnknown`], [`Error::KeysApart`] and [`Error::Unsupported`] are for
/// other implementations of [`Store`](crate::Store): [`Db`](crate::Db) returns none of them.
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
    /// A transaction used a key that it did not name when it began.
    #[error("the transaction did not name the key \"{key}\": name every key that it uses when it begins")]
    KeyNotNamed {
        /// The key, escaped, and cut after 64 bytes.
        key: String,
    },
    /// A transaction used a keyspace, or all of one, that is not in its [`LockSet`](crate::LockSet).
    #[error("what the transaction used of the keyspace {name:?} is not in its lock set: add it before it begins")]
    KeyspaceNotNamed {
        /// The keyspace's name.
        name: String,
    },
    /// The [`LockSet`](crate::LockSet) of a transaction over keyspaces is empty.
    #[error("the transaction's lock set is empty: add at least one keyspace")]
    EmptyLockSet,
    /// A closure running under the store's locks called back into the store.
    #[error("a closure that runs inside the store called the store again: use the transaction it was given")]
    Reentered,
    /// The closure of a transaction gave up; nothing was changed.
    #[error("the transaction was given up: {0}")]
    Aborted(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The store was closed, by this handle or another.
    #[error("the store is closed: open it again")]
    Closed,
    /// The watch has ended, and no event will come any more: its store was closed, its keyspace was dropped, or the log failed.
    #[error("the watch has ended: begin another one")]
    WatchEnded,
    /// The snapshot was given up because of [`Db::cancel_snapshot`](crate::Db::cancel_snapshot).
    #[error("the snapshot was cancelled: begin another when it is wanted")]
    SnapshotCancelled,
    /// The keyspace was dropped; its handles are of no more use.
    #[error("the keyspace {name:?} was dropped: ask the Db for it again")]
    KeyspaceDropped {
        /// Its name.
        name: String,
    },
    /// Two keyspaces of different stores in one transaction, or a lock set of another store.
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
    #[error("cannot {what}: {source}{}", remedy(source))]
    Io {
        /// What was being done, with the path.
        what: String,
        /// The operating system's word.
        source: io::Error,
    },
    /// A file of the store is damaged where it is proven to have been whole, or missing, or another.
    #[error("{}. Nothing was changed: {}", flaw(file, *offset, why), after_damage(why))]
    Corrupt {
        /// The damaged file.
        file: PathBuf,
        /// Where, in bytes from its start.
        offset: u64,
        /// What is wrong with it. Where it begins with "it", as in "it is missing", it speaks of the file as a whole, and
        /// the offset is 0 and means nothing.
        why: String,
    },
    /// There is nothing in the directory that a store has written.
    #[error("{dir} holds no store: name the directory that one was opened in")]
    NoStore {
        /// The directory.
        dir: PathBuf,
    },
    /// What the files were is not known, so nothing was changed.
    #[error("{dir} cannot be repaired: {why}")]
    NotRepairable {
        /// The store's directory.
        dir: PathBuf,
        /// Why, and what to do.
        why: String,
    },
    /// A plain repair would have dropped more than it keeps, so nothing was changed; see
    /// [`Options::repair`](crate::Options::repair).
    #[error(
        "{dir} was not repaired, and nothing was changed. A plain repair would keep {} and drop {}{}; `--salvage` \
         (`RepairOptions::salvage`) would keep {}. Choose `--salvage`, or `--accept-loss` (`RepairOptions::accept_loss`) \
         to drop the rest; `--dry-run` (`Options::plan_repair`) shows both",
        counted(*kept_keys, "key"),
        counted(*dropped, "good transaction"),
        also_lost(*lost, *dropped),
        counted(*salvaged_keys, "key")
    )]
    RepairDropsMost {
        /// The store's directory.
        dir: PathBuf,
        /// The keys that it would have kept.
        kept_keys: u64,
        /// The good transactions that it would have dropped.
        dropped: u64,
        /// All transactions behind what it would have kept, good or not, as far as the files speak of them.
        lost: u64,
        /// The keys that would be kept if these were used, too.
        salvaged_keys: u64,
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
    /// The log needs a new file, and the process, or the system, has too many open. Writes resume by themselves when it can
    /// be opened.
    #[error(
        "too many files are open to go on with the log ({why}); writes are refused until there are fewer, and one that \
         waited may or may not be there: raise the limit of open files (ulimit -n), or close connections"
    )]
    TooManyOpenFiles {
        /// The operating system's word.
        why: Arc<str>,
    },
    /// A backup or a restore would not write over what is there.
    #[error("{dest} exists and is not an empty directory: name one that does not exist")]
    DestinationTaken {
        /// What was to be written.
        dest: PathBuf,
    },
    /// What was to be restored is not a whole backup. Nothing was left behind.
    #[error("this is not a whole backup: {why}; restore another one")]
    NotABackup {
        /// What is wrong with it.
        why: String,
    },
    /// The store holds as many bytes as it may, and nothing can be removed to make room. Nothing of the write that fails
    /// is applied; entries that were evicted for it before stay removed.
    #[error(
        "the store may hold {max} bytes (max_memory), and nothing can be removed to make room: raise the limit, set an \
         eviction policy under which entries may go, or delete some"
    )]
    MemoryLimit {
        /// [`Limits::max_memory`](crate::Limits::max_memory).
        max: u64,
    },
    /// The store holds as many entries as it may, and none can be removed to make room. Nothing of the write that fails is
    /// applied; entries that were evicted for it before stay removed.
    #[error(
        "the store may hold {max} entries (max_entries), and none can be removed to make room: raise the limit, set an \
         eviction policy under which entries may go, or delete some"
    )]
    EntryLimit {
        /// [`Limits::max_entries`](crate::Limits::max_entries).
        max: u64,
    },
    /// The transaction would take more work than it was [limited](crate::hooks::ReadTxn::limit_work) to. Nothing was changed.
    #[error("the transaction takes more work than it was limited to: run it on a draft (DbHooks::commit_draft)")]
    TooMuchWork,
    /// What was called needs files, and a store in memory has none.
    #[error("a store in memory has no files to {what}: open a store in a directory")]
    InMemory {
        /// What was to be done.
        what: &'static str,
    },
    /// The default keyspace cannot be dropped.
    #[error("the default keyspace cannot be dropped: clear it")]
    DefaultKeyspace,
    /// The store reported success without having run the transaction's body: a fault of the store.
    #[error("the store did not run the transaction: report this as a fault of the store")]
    BodyNotRun,
    /// A scan was to go on at a position that another store or keyspace has returned, or this one before it was opened again.
    #[error("the position of the scan is of another store or keyspace, or of another opening: begin without one")]
    ForeignPosition,
    /// A store has as many observers as it can have.
    #[error("a store has at most {max} observers: watch keys with Keyspace::watch")]
    TooManyObservers {
        /// The limit.
        max: usize,
    },
    /// A ticket was polled again after it had yielded its result.
    #[error("the ticket has yielded its result already: await it once")]
    TicketUsed,
    /// Others changed the keys of a transaction during each of its runs, and the store does not try again by itself. Nothing was
    /// changed.
    #[error(
        "others changed the transaction's keys in each of its {runs} runs, and nothing was written: try again, after a pause"
    )]
    Conflict {
        /// How often the body ran.
        runs: u32,
    },
    /// The store could not be reached. Nothing was changed.
    #[error("the store cannot be reached ({why}), and nothing was written: try again when it is up")]
    Unavailable {
        /// What failed, with the address.
        why: String,
    },
    /// The connection to the store was lost after a write had been sent.
    #[error(
        "the store did not confirm the write ({why}), which may or may not be there: read the keys before trying again"
    )]
    OutcomeUnknown {
        /// What failed, with the address.
        why: String,
    },
    /// The keys of one transaction lie on different machines of the store. Nothing was changed.
    #[error(
        "the keys {one:?} and {other:?} lie on different machines, and one transaction cannot have both: give them the same \
         hash tag, as in \"{{user:1}}:name\", or use two transactions"
    )]
    KeysApart {
        /// One of the keys, escaped.
        one: String,
        /// One that lies elsewhere, escaped.
        other: String,
    },
    /// This kind of store cannot do what was called.
    #[error("this kind of store cannot {what}: use one that can, such as kvcore::Db")]
    Unsupported {
        /// What was to be done.
        what: &'static str,
    },
    /// An option is out of its range.
    #[error("invalid option: {0}")]
    InvalidOption(String),
}

/// Why a file by another version is refused.
pub(crate) const OTHER_VERSION: &str = "it was written by another version of the store";

/// Returns a number of things in words.
fn counted(count: u64, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

/// Returns what is said of transactions that no repair can keep.
fn also_lost(lost: u64, dropped: u64) -> String {
    match lost.saturating_sub(dropped) {
        0 => String::new(),
        more => format!(" ({more} more cannot be kept in any way)"),
    }
}

/// What is wrong with a file, as the beginning of a sentence.
fn flaw(file: &Path, offset: u64, why: &str) -> String {
    match why.strip_prefix("it ") {
        Some(why) if offset == 0 => format!("{} {why}", file.display()),
        _ => format!("{} is damaged at byte {offset}: {why}", file.display()),
    }
}

/// What to do about it.
fn after_damage(why: &str) -> &'static str {
    match why == OTHER_VERSION {
        // A repair would drop what this version cannot read.
        true => "open it with the version that wrote it",
        false => {
            "restore the directory from a backup, or keep what is provably good with `kvserver repair` or \
             `Options::repair`"
        }
    }
}

/// What to do about an error of the operating system, where that is known.
fn remedy(source: &io::Error) -> &'static str {
    match source.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "; free some disk space and try again",
        ErrorKind::ReadOnlyFilesystem => "; the disk can only be read: mount it for writing",
        ErrorKind::PermissionDenied => "; give this user the right to the directory and its files",
        _ if is_out_of_files(source) => "; raise the limit of open files (ulimit -n)",
        _ => "",
    }
}

/// Whether the process, or the system, has too many files open.
pub(crate) fn is_out_of_files(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::MFILE, Errno::NFILE].iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

impl Error {
    pub(crate) fn io(what: impl Into<String>, source: io::Error) -> Self {
        Error::Io { what: what.into(), source }
    }

    /// Gives up a transaction for a reason of the caller's own; see [`Error::Aborted`].
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// let failed = db.transact(&["key"], |_| Err::<(), _>(kvcore::Error::aborted("changed my mind")));
    /// assert_eq!(failed.unwrap_err().to_string(), "the transaction was given up: changed my mind");
    /// ```
    pub fn aborted(reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Error::Aborted(reason.into())
    }
}

pub(crate) fn is_out_of_space(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}
