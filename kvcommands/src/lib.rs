//! What each command does to a store: functions of the request's words and a transaction, or a read-only scan, of kvcore.
//!
//! They know neither sockets nor sessions, so they are tested without a server, and another one can have the same commands. What
//! a command reports as an error is a reply; an error of the store ends its transaction.
#![forbid(unsafe_code)]

pub mod acl;
mod bitmap;
mod bounded_scan;
mod command;
mod command_fn;
mod config;
mod cost;
mod databases;
pub mod debug;
mod dump;
pub mod events;
pub mod eviction_policy;
mod expiry;
pub mod gather;
pub mod glob;
mod help;
mod hyperloglog;
mod key_sizes;
mod keys;
mod object;
pub mod outcome;
pub mod rdb;
mod refused;
#[cfg(test)]
mod shell;
mod standalone;
mod string;

pub use bounded_scan::{BoundedScan, scans_many};
pub use command_fn::{AcrossFn, CommandFn, command_fn};
pub use config::{CommandConfig, HLL_SPARSE_BYTES};
pub use databases::{DATABASES, Databases, Needs};
pub use help::help;
pub use key_sizes::{KeySizes, key_sizes};
pub use object::object;
pub use outcome::{Failure, Outcome};
pub use standalone::REDIS_VERSION;
