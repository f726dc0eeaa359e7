//! An embedded key-value store: in memory, durable, with keys that expire.
//!
//! ```
//! use std::time::Duration;
//! use kvcore::{Db, SetOptions};
//!
//! # let dir = tempfile::tempdir().unwrap();
//! # let dir = dir.path();
//! let db = Db::open(dir)?;
//! db.set("greeting", "hello")?; // returns when it is on stable storage
//! assert_eq!(db.get("greeting")?.unwrap(), "hello");
//! db.set_with("session", "42", SetOptions::new().expires_in(Duration::from_secs(3600)))?;
//! db.increment("visits", 1)?;
//! # Ok::<(), kvcore::Error>(())
//! ```
//!
//! [`Db`] is all that everyday work needs: it opens a store, and its page shows [`Keyspace`]'s methods for reading, writing,
//! transactions and iteration. Asynchronous programs write through [`Keyspace::deferred`] and await the [`Ticket`].
//! [`Options`] and [`Durability`] say what is promised; [`Options::inspect`] and [`Options::repair`] what to do with damaged
//! files; [`Db::backup`] and [`Options::begin_restore`] copy a store. [`Store`] is what other engines can implement and
//! [`StoreExt`] what can be called on any of them; [`Disk`] and [`Clock`] are the doors to files and time; [`hooks`] is for
//! servers.
//!
//! Inside, a module knows only those in its own line of this list and in the lines above:
//!
//! - `sync clock lsn error durability entry hash padded`: the words
//! - `record frame disk file_disk`: bytes
//! - `manifest lanes location segment segment_reader unsettled wal syncer ticket`: the log
//! - `expiry eviction observer watch uses shard space base walk txn locked`: the tables, and the view a transaction has of them
//! - `stats options snapshot tables recovery schedule files salvage inspection repair engine keeper verify partial
//!   backup restore`: a whole store
//! - `view transaction iter store deferred keyspace db hooks`: what users hold
#![forbid(unsafe_code)]
#![warn(clippy::missing_errors_doc)]

mod backup;
mod base;
mod clock;
mod db;
mod deferred;
mod disk;
mod disposal;
mod durability;
mod engine;
mod entry;
mod error;
mod eviction;
mod expiry;
mod file_disk;
mod files;
mod frame;
mod hash;
pub mod hooks;
mod inspection;
mod iter;
mod keeper;
mod keyspace;
mod lanes;
mod location;
mod lock_set;
mod locked;
mod lsn;
mod manifest;
mod observer;
mod options;
mod padded;
mod partial;
mod record;
mod records;
mod recovery;
mod repair;
mod restore;
mod salvage;
mod schedule;
mod segment;
mod segment_reader;
mod shard;
mod snapshot;
mod space;
mod stats;
mod store;
mod sync;
mod syncer;
mod tables;
mod ticket;
mod transaction;
mod txn;
mod unsettled;
mod uses;
mod verify;
mod view;
mod wal;
mod walk;
mod watch;

pub use backup::{Backup, BackupFile, BackupReport};
pub use clock::{Clock, ManualClock, SystemClock};
pub use db::Db;
pub use deferred::Deferred;
pub use disk::{Directory, Disk, DiskFile, Location};
pub use durability::Durability;
pub use entry::{Deadline, Value, ValueRef};
pub use error::{Error, Result};
pub use eviction::{Candidates, Limits, Policy, Room};
pub use file_disk::FileDisk;
pub use inspection::{
    Contents, FileReport, Flaw, Inspection, ManifestReport, SegmentEnd, SegmentReport, SnapshotReport, Verdict,
};
pub use iter::{Entries, Keys, ScanPage, ScanPosition};
pub use keyspace::Keyspace;
pub use lock_set::LockSet;
pub use observer::ChangeKind;
pub use options::Options;
pub use repair::{Dropped, Kept, Repair, RepairOptions, RepairPlan, RepairWay, TimeReset};
pub use restore::Restore;
pub use salvage::SomeKeys;
pub use stats::{RecoveryReport, SnapshotStatus, Stats};
pub use store::{Store, StoreExt};
pub use ticket::Ticket;
pub use transaction::{CrossTransaction, Transaction};
pub use txn::{Condition, Expiry, SetOptions, SetOutcome, Ttl};
pub use view::View;
pub use watch::{Watch, WatchEvent, WatchOptions, WatchSender, WatchStream};

// The README's program is compiled and run like any other example, so that it cannot grow old unseen.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

// So are those of the guide.
#[cfg(doctest)]
#[doc = include_str!("../../docs/embedding.md")]
struct Embedding;
