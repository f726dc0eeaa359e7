//! The thread for commands that take long or wait for a file: SAVE, and KEYS over a large keyspace.
//!
//! Invariant: an event loop never runs them. The connection that asked is parked until its answer comes by mail, so
//! its own later requests wait and nobody else's do.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use kvcore::{Keyspace, Walk};
use kvproto::{Args, OwnedRequest, Reply};

use crate::commands::Outcome;
use crate::configuration::rewrite;
use crate::mailbox::{Address, Done, Mail};
use crate::state::ServerState;

/// How soon expired keys of a store in memory are removed.
const SWEEP_EVERY: Duration = Duration::from_millis(100);

/// What is done off the loop.
pub(crate) enum Work {
    /// A command that looks over a whole keyspace.
    Walk(fn(Args<'_>, &dyn Walk) -> Outcome, Keyspace),
    /// A snapshot.
    Save,
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

/// The thread's whole life.
pub(crate) fn run(server: &Arc<ServerState>, jobs: &Receiver<Option<Job>>) {
    while let Some(job) = next(server, jobs) {
        let Job { from, request, work } = job;
        let mut users = Vec::new();
        let begun = server.slow.clock().raw();
        let reply = match work {
            Work::Walk(walk, keyspace) => match walk(Args::new(request.as_request()), &keyspace) {
                Ok(reply) => reply,
                Err(failure) => failure.into(),
            },
            Work::Save => save(server),
            Work::SaveAndStop => match save(server) {
                Reply::Ok => {
                    server.stop();
                    Reply::Nothing
                }
                _ => Reply::error("ERR Errors trying to SHUTDOWN. Check logs."),
            },
            Work::LoadUsers => match server.acl.load() {
                Ok(changed) => {
                    users = changed;
                    Reply::Ok
                }
                Err(why) => Reply::error(format!("ERR {why}")),
            },
            Work::RewriteConfig => match rewrite::rewrite(server) {
                Ok(()) => Reply::Ok,
                Err(why) => Reply::error(format!("ERR {why}")),
            },
            Work::SaveUsers => match server.acl.save() {
                Ok(()) => Reply::Ok,
                Err(error) => {
                    tracing::error!(%error, "the users could not be saved");
                    Reply::error(
                        "ERR There was an error trying to save the ACLs. Please check the server logs for more \
                         information",
                    )
                }
            },
        };
        let lsn = server.newest();
        let ticks = server.slow.clock().raw().saturating_sub(begun);
        let done = Done { to: from, request, reply, lsn, ticks };
        server.mailboxes[from.loop_index].post(Mail::Done(Box::new(done)));
        // After the answer, which the one who asked gets before it has to go with the others.
        if !users.is_empty() {
            server.expel(users, from.client_id);
        }
    }
}

/// The next job; `None` to end. A store in memory has no thread that removes what expired, so this one does.
fn next(server: &ServerState, jobs: &Receiver<Option<Job>>) -> Option<Job> {
    if !server.db.is_in_memory() {
        return jobs.recv().ok().flatten();
    }
    loop {
        match jobs.recv_timeout(SWEEP_EVERY) {
            Err(RecvTimeoutError::Timeout) => server.db.sweep(),
            received => return received.ok().flatten(),
        };
    }
}

fn save(server: &ServerState) -> Reply {
    match server.db.snapshot() {
        Ok(_) => Reply::Ok,
        Err(error) => {
            tracing::error!(%error, "the snapshot failed");
            crate::commands::store_error(&error)
        }
    }
}
