//! The threads that do what event loops hand on: one for commands that take long or wait for a file, and some for those
//! that take much computing.
//!
//! Invariant: a thread takes jobs in the order in which they came, and each is followed by its reply, unless the client is gone
//! or the server stops before it begins.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::acl::Account;
use crate::context::DispatchTable;
use crate::context::jobs::{Finished, Job, Worker};
use crate::notify::mailbox::{Costly, Done, LoopMessage};
use crate::notify::origin::Origin;
use crate::state::ServerState;

/// How soon expired keys of a store in memory are removed.
const SWEEP_EVERY: Duration = Duration::from_millis(100);

/// Does the jobs that take long or wait for a file, one after the other.
pub(crate) fn run(server: &ServerState, jobs: &Receiver<Option<Job>>, table: &DispatchTable) {
    let origin = Origin::new(server.id);
    while let Some(job) = next(server, jobs) {
        if server.ended.load(Relaxed) && job.work.is_scan() {
            // Its connection is gone, and it changes nothing.
            continue;
        }
        let client = job.from.client_id;
        let users = finish(server, job, table, &origin);
        // After the reply, which the client that changed them gets before it has to go with the others.
        if !users.is_empty() {
            server.disconnect_users(users, client);
        }
    }
}

/// Carries out commands that take much computing: the whole life of one of several threads.
pub(crate) fn compute(server: &ServerState, jobs: &Mutex<Receiver<Option<Job>>>, table: &DispatchTable) {
    let origin = Origin::new(server.id);
    loop {
        let next = jobs.lock().recv();
        let Ok(Some(job)) = next else { return };
        if server.ended.load(Relaxed) || server.clients.find(job.from.client_id).is_none_or(|client| client.is_killed())
        {
            // Its connection is gone, and it has changed nothing yet.
            continue;
        }
        server.debug.wait_to_compute(&server.stopping);
        finish(server, job, table, &origin);
    }
}

/// Does a job and posts what it came to. Returns the users that have changed.
fn finish(server: &ServerState, job: Job, table: &DispatchTable, origin: &Origin) -> Vec<Arc<Account>> {
    let Job { from, request, work } = job;
    origin.set_client(from.client_id);
    let is_compute = work.is_compute();
    let begun = server.slow.clock().raw();
    let worker = Worker { server, table, origin, request: request.as_request() };
    let Finished { reply, lsn, lookups, exec, users } = work.run(&worker);
    let ticks = server.slow.clock().raw().saturating_sub(begun);
    let costly = is_compute.then(|| Costly { changes: origin.take_changes(), exec });
    let done = Done { to: from, request, reply, lsn, ticks, lookups, costly };
    server.notify.mailboxes.of(from.loop_index).post(LoopMessage::Done(Box::new(done)));
    users
}

/// The next job; `None` to end. A store in memory has no thread that removes what expired, so this one does.
fn next(server: &ServerState, jobs: &Receiver<Option<Job>>) -> Option<Job> {
    if !server.db.is_in_memory() {
        return jobs.recv().ok().flatten();
    }
    loop {
        match jobs.recv_timeout(SWEEP_EVERY) {
            Err(RecvTimeoutError::Timeout) => sweep(server),
            received => return received.ok().flatten(),
        };
    }
}

/// Removes what has expired, and notes how long that took.
fn sweep(server: &ServerState) -> u64 {
    let started = Instant::now();
    let removed = server.db.sweep();
    let took = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
    server.statistics.swept_ns.fetch_add(took, Relaxed);
    removed
}
