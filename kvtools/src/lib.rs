//! Work on the files of a store that no server runs on: check them, repair them, copy them, write them out as JSON lines and
//! read such lines in. These are the subcommands of the `kvserver` program; each prints its report to standard output.
//!
//! Also what a server shares with them: the [`archive`] that a backup is sent as, and files that are [replaced as a
//! whole](durable_file).
//!
//! Invariant: a store that some process holds is left alone, and the error names that process.
#![forbid(unsafe_code)]

pub mod archive;
#[cfg(feature = "commands")]
mod commands;
pub mod durable_file;

#[cfg(feature = "commands")]
pub use commands::{Error, RepairArguments, Result, backup, check, dump, load, repair, restore};
