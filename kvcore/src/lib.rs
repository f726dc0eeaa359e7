//! An embedded key-value store: in memory, durable, with keys that expire.
//!
//! ```
//! use std::time::Duration;
//! use kvcore::{Db, SetOptions, StoreExt};
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
//! Where to look: [`Db`] opens a store and holds [`Keyspace`]s; [`StoreExt`] has what everyone calls; [`Txn`] is the
//! view inside a transaction; [`Options`] and [`Durability`] say what is promised, and
//! [`Options::inspect`] and [`Options::repair`] what to do with damaged files; [`Db::backup`] and
//! [`Options::begin_restore`] copy a store; [`Disk`] and [`Clock`] are the doors to files and time.
//!
//! Inside, a module knows only those in its own line of this list and in the lines above:
//!
//! - `sync clock lsn error durability entry hash padded`: the words
//! - `record frame disk file_disk`: bytes
//! - `manifest lanes location segment segment_reader unsettled wal syncer ticket`: the log
//! - `expiry eviction observer uses shard space base walk txn locked`: the tables, and the view a transaction has of them
//! - `stats options snapshot tables recovery schedule files salvage inspection repair engine keeper verify partial
//!   backup restore`: a whole store
//! - `store keyspace db`: what users hold
#![forbid(unsafe_code)]

mod backup;
mod base;
mod clock;
mod db;
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
mod inspection;
mod keeper;
mod keyspace;
mod lanes;
mod location;
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
mod txn;
mod unsettled;
mod uses;
mod verify;
mod wal;
mod walk;

pub use backup::{Backup, BackupFile, BackupReport};
pub use clock::{Clock, ManualClock, SystemClock};
pub use db::{Claim, Db, Scope};
pub use disk::{Directory, Disk, DiskFile, Location};
pub use durability::Durability;
pub use entry::{Deadline, Value, ValueRef};
pub use error::{Error, Result};
pub use eviction::{Candidates, Limits, Policy, Room};
pub use file_disk::FileDisk;
pub use inspection::{
    Contents, FileReport, Flaw, Inspection, ManifestReport, SegmentEnd, SegmentReport, SnapshotReport, Verdict,
};
pub use keyspace::{Deferred, Keyspace};
pub use lsn::Lsn;
pub use observer::{Change, ChangeKind, Observer, Swap};
pub use options::Options;
pub use repair::{Dropped, Kept, Repair, RepairOptions, RepairPlan, RepairWay, TimeReset};
pub use restore::Restore;
pub use salvage::SomeKeys;
pub use stats::{RecoveryReport, SnapshotStatus, Stats};
pub use store::{Store, StoreExt};
pub use ticket::Ticket;
pub use txn::{Condition, CrossTxn, Expiry, Lookup, Lookups, SetOptions, SetOutcome, Ttl, Txn, TxnExt, Usage};
pub use uses::UseCounter;
pub use walk::{Cursor, Walk};

// The README's program is compiled and run like any other example, so that it cannot grow old unseen.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
