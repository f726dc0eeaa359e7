//! What each command does to a store: functions of the request's words and a transaction, or a read-only scan, of kvcore.
//!
//! They know neither sockets nor sessions, so they are tested without a server, and another one can have the same commands. What
//! a command reports as an error is a reply; an error of the store ends its transaction.
#![forbid(unsafe_code)]

pub mod acl;
mod bitmap;
mod command_fn;
mod config;
mod cost;
mod dump;
mod expiry;
pub mod gather;
pub mod glob;
mod hyperloglog;
mod keys;
pub mod outcome;
pub mod rdb;
#[cfg(test)]
mod shell;
mod string;

pub use command_fn::{CommandFn, command_fn};
pub use config::{CommandConfig, HLL_SPARSE_BYTES};
pub use hyperloglog::debug::pfselftest;
pub use outcome::{Failure, Outcome};
