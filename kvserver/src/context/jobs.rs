//! Background jobs: what an event loop hands on because it takes long, waits for a file, or takes much computing.
//!
//! Invariant: an event loop never runs them. The connection that sent the request is parked until a message brings the reply,
//! so its own later requests wait and nobody else's do.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::available_parallelism;

use kvcore::hooks::{Lookups, Lsn};
use kvproto::{OwnedRequest, Reply, Request};
use parking_lot::Mutex;

use crate::acl::Account;
use crate::clients::Address;
use crate::context::DispatchTable;
use crate::notify::exec::ExecResult;
use crate::notify::origin::Origin;
use crate::state::ServerState;

/// What is left to do for a request.
pub(crate) struct Work {
    kind: Kind,
    /// What it holds in memory beside the request, in bytes.
    pub(crate) bytes: usize,
    run: Box<dyn FnOnce(&Worker<'_>) -> Finished + Send>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Reads whole keyspaces. Given up when nobody waits for it any more.
    Scan,
    /// Waits for files.
    Files,
    /// Takes much computing and waits for no file.
    Compute,
}

impl Work {
    /// Returns work that reads whole keyspaces; its reply reveals all of them.
    pub(crate) fn scan(run: impl FnOnce(&Worker<'_>) -> Reply + Send + 'static) -> Work {
        let run = |worker: &Worker<'_>| {
            let reply = run(worker);
            Finished { lsn: worker.server.newest(), ..Finished::from(reply) }
        };
        Work { kind: Kind::Scan, bytes: 0, run: Box::new(run) }
    }

    /// Returns work that waits for files. Its reply is sent although nothing becomes durable: it may say that a snapshot failed.
    pub(crate) fn files<F: Into<Finished>>(run: impl FnOnce(&ServerState) -> F + Send + 'static) -> Work {
        Work { kind: Kind::Files, bytes: 0, run: Box::new(|worker| run(worker.server).into()) }
    }

    /// Returns work that takes much computing, for which it holds `bytes` beside its request.
    pub(crate) fn compute(bytes: usize, run: impl FnOnce(&Worker<'_>) -> Finished + Send + 'static) -> Work {
        Work { kind: Kind::Compute, bytes, run: Box::new(run) }
    }

    /// Returns whether it takes much computing: it has changed nothing yet, and counts as a command of the store.
    pub(crate) fn is_compute(&self) -> bool {
        self.kind == Kind::Compute
    }

    /// Returns whether it only reads.
    pub(crate) fn is_scan(&self) -> bool {
        self.kind == Kind::Scan
    }

    /// Does it.
    pub(crate) fn run(self, worker: &Worker<'_>) -> Finished {
        (self.run)(worker)
    }
}

/// What a job may use.
pub(crate) struct Worker<'w> {
    pub(crate) server: &'w ServerState,
    pub(crate) table: &'w DispatchTable,
    pub(crate) origin: &'w Origin,
    pub(crate) request: Request<'w>,
}

/// What a job came to.
pub(crate) struct Finished {
    pub(crate) reply: Reply,
    pub(crate) lsn: Lsn,
    pub(crate) lookups: Lookups,
    /// Of an EXEC.
    pub(crate) exec: Option<ExecResult>,
    /// Users that have changed: connections that may not go on are ended after the reply.
    pub(crate) users: Vec<Arc<Account>>,
}

impl From<Reply> for Finished {
    fn from(reply: Reply) -> Finished {
        Finished { reply, lsn: Lsn::ZERO, lookups: Lookups::default(), exec: None, users: Vec::new() }
    }
}

/// Work for a parked connection.
pub(crate) struct Job {
    pub(crate) from: Address,
    pub(crate) request: OwnedRequest,
    pub(crate) work: Work,
}

/// The queues of the background threads.
pub(crate) struct Jobs {
    /// `None` ends the thread.
    waiting: Sender<Option<Job>>,
    /// Commands that take much computing. Each `None` ends one of the threads.
    computing: Sender<Option<Job>>,
    /// How many threads carry such commands out.
    pub(crate) computing_threads: usize,
}

/// The ends from which the threads take their jobs.
pub(crate) struct JobReceivers {
    pub(crate) waiting: Receiver<Option<Job>>,
    /// Taken from by one thread at a time.
    pub(crate) computing: Arc<Mutex<Receiver<Option<Job>>>>,
}

impl Jobs {
    pub(crate) fn new() -> (Jobs, JobReceivers) {
        let (waiting, received) = mpsc::channel();
        let (computing, received_computing) = mpsc::channel();
        // Half of the cores are left to the loops.
        let computing_threads = available_parallelism().map_or(1, |cores| cores.get().div_ceil(2));
        (
            Jobs { waiting, computing, computing_threads },
            JobReceivers { waiting: received, computing: Arc::new(Mutex::new(received_computing)) },
        )
    }

    pub(crate) fn start(&self, job: Job) {
        let jobs = if job.work.is_compute() { &self.computing } else { &self.waiting };
        // Fails only after the thread ended, which it does after the last loop.
        let _ = jobs.send(Some(job));
    }

    pub(crate) fn end(&self) {
        let _ = self.waiting.send(None);
        for _ in 0..self.computing_threads {
            let _ = self.computing.send(None);
        }
    }
}
