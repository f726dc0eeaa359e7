//! A transaction between MULTI and the end of EXEC: the commands that were queued, and what became of them.
//!
//! Invariant: a result is of the queue that it carries; it is applied once, on the loop of its client.

use std::fmt;

use kvcore::Keyspace;
use kvcore::hooks::Lookups;
use kvproto::{OwnedRequest, Spec, Text};

/// Commands queued between MULTI and EXEC.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    pub(crate) commands: Vec<(&'static Spec, OwnedRequest)>,
    /// What they take in memory.
    pub(crate) bytes: usize,
    /// A command could not be queued: EXEC will refuse.
    pub(crate) spoiled: bool,
    /// The first of its commands that this server does not have: EXEC will refuse, and name it.
    pub(crate) unsupported: Option<&'static Spec>,
}

/// A queued command that ran, to be counted once it is certain that the transaction is.
#[derive(Clone)]
pub(crate) struct RanCommand {
    /// In the queue.
    pub(crate) at: usize,
    /// After it, as monitors are shown.
    pub(crate) database: usize,
    pub(crate) ticks: u64,
    pub(crate) lookups: Lookups,
    pub(crate) error: Option<Text>,
    /// How many bytes its request and its reply had, if either was large.
    pub(crate) large: Option<[usize; 2]>,
}

/// What became of an EXEC that ran beside the loops.
pub(crate) struct ExecResult {
    pub(crate) queue: Box<Queue>,
    pub(crate) ran: Vec<RanCommand>,
    /// The database that its client has selected since.
    pub(crate) database: usize,
    pub(crate) keyspace: Keyspace,
}

impl fmt::Debug for ExecResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecResult").field("commands", &self.queue.commands.len()).finish_non_exhaustive()
    }
}
