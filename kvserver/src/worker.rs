//! The threads that do what event loops hand on: one for commands that take long or wait for a file, and some for those
//! that take much computing.
//!
//! Invariant: a thread takes jobs in the order in which they came, and each is followed by its reply, unless the client is gone
//! or the server stops before it begins.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use kvcore::hooks::{Lookups, Lsn};
use kvproto::{Args, Reply, Text};
use parking_lot::Mutex;

use crate::commands::info;
use crate::config::file::rewrite;
use crate::dispatch::context::Runs;
use crate::dispatch::costly;
use crate::dispatch::offload::{Job, Work};
use crate::notify::mailbox::{Costly, Done, LoopMessage};
use crate::notify::origin::Origin;
use crate::state::ServerState;
use kvcommands::outcome::store_error;

/// How soon expired keys of a store in memory are removed.
const SWEEP_EVERY: Duration = Duration::from_millis(100);

/// The thread's whole life.
pub(crate) fn run(server: &Arc<ServerState>, jobs: &Receiver<Option<Job>>) {
    while let Some(job) = next(server, jobs) {
        let Job { from, request, work } = job;
        if server.has_ended() && matches!(work, Work::Walk(..) | Work::Info(_)) {
            // Its connection is gone, and it changes nothing.
            continue;
        }
        let mut users = Vec::new();
        let begun = server.slow.clock().raw();
        // Only what looked at the keys reveals any: that a snapshot failed is told although nothing becomes durable.
        let reveals = matches!(work, Work::Walk(..) | Work::Info(_));
        let reply = match work {
            // These go to the other threads.
            Work::Store(_) | Work::Exec(_) => Reply::Nothing,
            Work::Walk(walk, keyspace) => match walk(Args::new(request.as_request()), &keyspace) {
                Ok(reply) => reply,
                Err(failure) => failure.into(),
            },
            Work::Info(wanted) => match info::key_sizes(server) {
                Ok(sizes) => Reply::text(info::text(server, &wanted, false, &sizes)),
                Err(error) => store_error(&error),
            },
            Work::Save => save(server),
            // Whatever is in a backup is durable.
            Work::Backup(one, step) => server.backups.step(&server.db, &one, step),
            Work::Verify { snapshot } => match if snapshot { save(server) } else { Reply::Ok } {
                Reply::Ok => verify(server),
                failed => failed,
            },
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
                Err(why) => Reply::Error(Text::join(&[b"ERR ", why.as_bytes()])),
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
        let lsn = if reveals { server.newest() } else { Lsn::ZERO };
        let ticks = server.slow.clock().raw().saturating_sub(begun);
        let done = Done { to: from, request, reply, lsn, ticks, lookups: Lookups::default(), costly: None };
        server.notify.mailboxes.of(from.loop_index).post(LoopMessage::Done(Box::new(done)));
        // After the answer, which the one who asked gets before it has to go with the others.
        if !users.is_empty() {
            server.expel(users, from.client_id);
        }
    }
}

/// The whole life of a thread that carries out commands that take much computing.
pub(crate) fn compute(server: &ServerState, jobs: &Mutex<Receiver<Option<Job>>>, runs: &Runs) {
    let origin = Origin::new(server.id);
    loop {
        let next = jobs.lock().recv();
        let Ok(Some(Job { from, request, work })) = next else { return };
        if server.has_ended() || server.clients.find(from.client_id).is_none_or(|client| client.is_killed()) {
            // Its connection is gone, and it has changed nothing yet.
            continue;
        }
        server.switches.wait_to_compute(&server.stopping);
        let begun = server.slow.clock().raw();
        origin.set_client(from.client_id);
        let (reply, lsn, lookups, executed) = match work {
            Work::Store(call) => {
                let answer = costly::run_store(&request, &call, server, runs, &origin);
                (answer.reply, answer.lsn, answer.lookups, None)
            }
            Work::Exec(execution) => {
                let (reply, lsn, executed) = execution.run(server, runs, &origin);
                (reply, lsn, Lookups::default(), Some(executed))
            }
            // The rest goes to the other thread.
            _ => continue,
        };
        let ticks = server.slow.clock().raw().saturating_sub(begun);
        let costly = Some(Costly { changes: origin.take_changes(), executed });
        let done = Done { to: from, request, reply, lsn, ticks, lookups, costly };
        server.notify.mailboxes.of(from.loop_index).post(LoopMessage::Done(Box::new(done)));
    }
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

fn save(server: &ServerState) -> Reply {
    match server.db.snapshot() {
        Ok(_) => Reply::Ok,
        Err(error) => {
            if !matches!(error, kvcore::Error::SnapshotCancelled) {
                tracing::error!(%error, "the snapshot failed");
            }
            store_error(&error)
        }
    }
}

fn verify(server: &ServerState) -> Reply {
    match server.db.verify() {
        Ok(keys) => {
            tracing::info!("read back {keys} keys, as they were written");
            Reply::Ok
        }
        Err(error) => {
            tracing::error!(%error, "what was written could not be read back");
            store_error(&error)
        }
    }
}
