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
//! Inside, the folders and files stand in an order, and import only what stands below them: `docs/design.md` has it.
#![forbid(unsafe_code)]
#![warn(clippy::missing_errors_doc)]

mod background;
mod backup;
mod db;
mod deferred;
mod durability;
mod engine;
mod error;
mod hash;
pub mod hooks;
mod io;
mod iter;
mod keyspace;
mod log;
mod lsn;
mod observer;
mod options;
mod recovery;
mod reentrancy;
mod stats;
mod storage;
mod store;
mod sync;
mod table;
mod transaction;
mod txn;
mod value;
mod verify;
mod view;
mod watch;

pub use backup::restore::Restore;
pub use backup::{Backup, BackupFile, BackupReport};
pub use db::Db;
pub use deferred::Deferred;
pub use durability::Durability;
pub use error::{Error, Result};
pub use io::clock::{Clock, ManualClock, SystemClock};
pub use io::disk::{Directory, Disk, DiskFile, Location};
pub use io::file_disk::FileDisk;
pub use iter::{Entries, Keys, ScanPage, ScanPosition};
pub use keyspace::Keyspace;
pub use log::ticket::Ticket;
pub use observer::ChangeKind;
pub use options::Options;
pub use recovery::check::{
    Contents, FileReport, Flaw, Inspection, ManifestReport, SegmentEnd, SegmentReport, SnapshotReport, Verdict,
};
pub use recovery::repair::{Dropped, Kept, Repair, RepairOptions, RepairPlan, RepairWay, TimeReset};
pub use recovery::salvage::SomeKeys;
pub use stats::{RecoveryReport, SnapshotStatus, Stats};
pub use store::{Store, StoreExt};
pub use table::limits::{Candidates, Limits, Policy, Room};
pub use transaction::{CrossTransaction, Transaction};
pub use txn::lock_set::LockSet;
pub use txn::traits::{Condition, Expiry, SetOptions, SetOutcome, Ttl};
pub use value::{Deadline, Value, ValueRef};
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
