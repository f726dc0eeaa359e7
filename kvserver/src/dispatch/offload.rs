//! Work that takes long or waits for a file, on its way to the thread that does it: SAVE, BACKUP, and KEYS over many
//! or long keys; and commands that take much computing, for which there are threads of their own: those wait for no file.
//!
//! Invariant: an event loop never runs them. The connection that asked is parked until a message brings the reply, so
//! its own later requests wait and nobody else's do.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::available_parallelism;

use kvcore::Keyspace;
use kvcore::hooks::Walk;
use kvproto::{Args, OwnedRequest};
use parking_lot::Mutex;

use crate::admin::backups::{Running, Step};
use crate::clients::Address;
use crate::commands::transaction::Execution;
use crate::dispatch::costly::StoreCall;
use kvcommands::outcome::Outcome;

/// What is done off the loop.
pub(crate) enum Work {
    /// A command that looks over a whole keyspace.
    Walk(fn(Args<'_>, &dyn Walk) -> Outcome, Keyspace),
    /// INFO with the sizes of all values.
    Info(Vec<String>),
    /// A store command that was too much work for the loop.
    Store(StoreCall),
    /// A transaction that was.
    Exec(Box<Execution>),
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
    /// Commands that take much computing. Each `None` ends one of the threads.
    computing: Sender<Option<Job>>,
    /// How many threads carry such commands out.
    pub(crate) computing_threads: usize,
}

/// The ends from which the threads take their jobs.
pub(crate) struct Jobs {
    pub(crate) jobs: Receiver<Option<Job>>,
    /// Taken from by one thread at a time.
    pub(crate) computing: Arc<Mutex<Receiver<Option<Job>>>>,
}

impl Offload {
    pub(crate) fn new() -> (Offload, Jobs) {
        let (jobs, received) = mpsc::channel();
        let (computing, received_computing) = mpsc::channel();
        // Half of the cores are left to the loops.
        let computing_threads = available_parallelism().map_or(1, |cores| cores.get().div_ceil(2));
        (
            Offload { jobs, computing, computing_threads },
            Jobs { jobs: received, computing: Arc::new(Mutex::new(received_computing)) },
        )
    }

    pub(crate) fn start(&self, job: Job) {
        let jobs = match job.work {
            Work::Store(_) | Work::Exec(_) => &self.computing,
            _ => &self.jobs,
        };
        // Fails only after the thread ended, which it does after the last loop.
        let _ = jobs.send(Some(job));
    }

    pub(crate) fn end(&self) {
        let _ = self.jobs.send(None);
        for _ in 0..self.computing_threads {
            let _ = self.computing.send(None);
        }
    }
}
