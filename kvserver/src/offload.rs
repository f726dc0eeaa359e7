//! Work that takes long or waits for a file, on its way to the thread that does it: SAVE, BACKUP, and KEYS over a large
//! keyspace.
//!
//! Invariant: an event loop never runs them. The connection that asked is parked until its answer comes by mail, so
//! its own later requests wait and nobody else's do.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};

use kvcore::{Keyspace, Walk};
use kvproto::{Args, OwnedRequest};

use crate::backups::{Running, Step};
use crate::mailbox::Address;
use crate::outcome::Outcome;

/// What is done off the loop.
pub(crate) enum Work {
    /// A command that looks over a whole keyspace.
    Walk(fn(Args<'_>, &dyn Walk) -> Outcome, Keyspace),
    /// INFO with the sizes of all values.
    Info(Vec<String>),
    /// A snapshot.
    Save,
    /// BACKUP START and BACKUP READ
    Backup(Arc<Running>, Step),
    /// DEBUG RELOAD, with a snapshot first, or LOADAOF: what the files give back is compared with what is held.
    Verify { snapshot: bool },
    /// A snapshot and, if it succeeds, the end of the server.
    SaveAndStop,
    /// ACL LOAD
    LoadUsers,
    /// ACL SAVE
    SaveUsers,
    /// CONFIG REWRITE
    RewriteConfig,
}

/// Work for a parked connection.
pub(crate) struct Job {
    pub(crate) from: Address,
    pub(crate) request: OwnedRequest,
    pub(crate) work: Work,
}

/// The way to the thread.
pub(crate) struct Offload {
    /// `None` ends the thread.
    jobs: Sender<Option<Job>>,
}

impl Offload {
    pub(crate) fn new() -> (Offload, Receiver<Option<Job>>) {
        let (jobs, received) = mpsc::channel();
        (Offload { jobs }, received)
    }

    pub(crate) fn start(&self, job: Job) {
        // Fails only after the thread ended, which it does after the last loop.
        let _ = self.jobs.send(Some(job));
    }

    pub(crate) fn end(&self) {
        let _ = self.jobs.send(None);
    }
}
