//! The subcommands of the program, which work on a store that no server runs on. What they do is in `kvtools`.
//!
//! Invariant: the exit code is 0 if all is
//! well, 1 if the store is damaged or the command failed or was stopped, 2 for bad flags.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use kvtools::RepairArguments;

/// The commands beside running a server.
#[derive(Debug, Subcommand)]
pub(crate) enum Offline {
    /// Say of every file of a store what is good and what is not, and whether a server would start on it
    ///
    /// Changes nothing. Exit code 0: the store is sound, 1: it is damaged, or cannot be read.
    Check {
        /// The store's directory
        dir: PathBuf,
        /// Write one JSON object instead of text
        #[arg(long)]
        json: bool,
    },
    /// Make a damaged store one that opens, with everything that is provably good
    ///
    /// Copies every file that it changes or removes into a folder of the store's directory first, named damaged- and the
    /// date. A sound store is left as it is. Keeps what was written before the first damage; if good parts of the log behind
    /// it hold more than that, if more is lost than that, or if nothing would be kept, it stops, changes nothing, and says
    /// what each way would keep. A file that cannot be read at the moment (too many open files, no right to it, a second
    /// name) is an error, and nothing is changed.
    ///
    /// Exit code 0: the store is sound, now or before; or the plan is written, and this repair would be done. 1: it was
    /// stopped, or would be; or it failed. 2: bad flags. --json writes an object where the store was repaired, was sound, or
    /// the repair stopped; other errors are text on standard error.
    Repair {
        /// The store's directory
        dir: PathBuf,
        #[command(flatten)]
        flags: RepairFlags,
    },
    /// Copy a store that no server runs on
    ///
    /// A server's own store is copied while it runs: kvclient backup FILE. A damaged store is refused.
    Backup {
        /// The store's directory
        dir: PathBuf,
        /// The directory to make; it must not exist, or be empty
        dest: PathBuf,
    },
    /// Make a store from a backup
    ///
    /// The store appears when all of it is on disk and was found to be sound.
    Restore {
        /// What kvclient backup has written, or - for standard input; or a directory that is a backup
        file: PathBuf,
        /// The directory to make; it must not exist, or be empty
        dir: PathBuf,
    },
    /// Write a store as JSON lines, one a key, in the order of keyspaces and keys
    ///
    /// {"keyspace":"0","key":"greeting","value":"hello","deadline_ms":1800000000000}; what is not plain text stands in
    /// key_base64 and value_base64. Takes as much memory as the store, and the keys of one keyspace once more.
    Dump {
        /// The store's directory
        dir: PathBuf,
        /// The file to write, which is replaced when all is written [default: standard output]
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
    },
    /// Read JSON lines as dump writes them into a store, which is made if it is not there
    ///
    /// Keys that the store has besides stay; keys whose deadline has passed are left out. Everything is on disk when it
    /// says so. At a line that cannot be read it stops; what stands before it is in the store.
    Load {
        /// The store's directory
        dir: PathBuf,
        /// The file to read [default: standard input]
        #[arg(long, value_name = "FILE")]
        from: Option<PathBuf>,
    },
}

/// How to repair a store.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct RepairFlags {
    /// Only say what each way would keep and drop; changes nothing
    #[arg(long)]
    dry_run: bool,
    /// Write one JSON object instead of text
    #[arg(long)]
    json: bool,
    /// Also keep what is good behind the first damage of the log
    ///
    /// No key gets a value that it never had. Keys of which only a part is known after a gap are left out. Keys that what is
    /// lost may have changed or removed keep what they had, and are counted as possibly stale. After a lost SWAPDB the names
    /// of databases may be exchanged: those are listed.
    #[arg(long, conflicts_with = "accept_loss")]
    salvage: bool,
    /// Set the store's time back to that of this machine's clock, if it is ahead of it
    ///
    /// For a store that was opened while the clock was wrong. What had expired by the old time is removed first. Also
    /// done to a sound store, which is written anew.
    #[arg(long)]
    reset_time: bool,
    /// Drop what comes after the first damage even if that is more than what is kept, or if nothing is kept
    #[arg(long)]
    accept_loss: bool,
}

impl RepairFlags {
    fn arguments(self) -> RepairArguments {
        let RepairFlags { dry_run, json, salvage, reset_time, accept_loss } = self;
        RepairArguments { dry_run, json, salvage, reset_time, accept_loss }
    }
}

impl Offline {
    pub(crate) fn run(&self) -> ExitCode {
        let done = match self {
            Offline::Check { dir, json } => kvtools::check(dir, *json),
            Offline::Repair { dir, flags } => kvtools::repair(dir, flags.arguments()),
            Offline::Backup { dir, dest } => kvtools::backup(dir, dest).map(|()| true),
            Offline::Restore { file, dir } => kvtools::restore(file, dir).map(|()| true),
            Offline::Dump { dir, to } => kvtools::dump(dir, to.as_deref()).map(|()| true),
            Offline::Load { dir, from } => kvtools::load(dir, from.as_deref()).map(|()| true),
        };
        match done {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(failure) => {
                eprintln!("kvserver: {failure}");
                ExitCode::FAILURE
            }
        }
    }
}
