//! MULTI, EXEC, DISCARD, WATCH, UNWATCH.
//!
//! Invariant: EXEC is one transaction of the store over all databases it touches: others see all of it or nothing,
//! and so does a crash. Watched keys are compared under the same locks. What takes long runs on a draft, where that is possible,
//! and is counted, as a whole, once.

mod commit;

use std::sync::atomic::Ordering::Relaxed;

use kvcore::hooks::Lsn;
use kvproto::{Args, CommandError, Reply, Request, Spec, Text, spec};

#[cfg(shuttle)]
pub(crate) use self::commit::has_changed;
use self::commit::{Journal, Place, commit, may_run_elsewhere};
use crate::context::jobs::{Finished, Work, Worker};
use crate::context::{Context, Next};
use crate::notify::exec::{ExecResult, Queue};
use crate::session::{Session, Watched, WatchedKeys};
use crate::state::ServerState;
use crate::state::server_config::{QUEUED_COMMAND_BYTES, QUEUED_WORD_BYTES, WATCHED_BYTES_MAX, WATCHED_KEY_BYTES};
use kvcommands::outcome::{Failure, Outcome};

/// Puts a command into the session's queue. `is_known`: there is a function that carries it out, or refuses it.
pub(crate) fn enqueue(
    spec: &'static Spec,
    is_known: bool,
    request: Request<'_>,
    session: &mut Session,
    server: &ServerState,
) -> Outcome {
    let Some(queue) = &mut session.transaction else {
        return Ok(Reply::Nothing);
    };
    // The client learns of it by EXEC, which names it and ends the transaction: who stops at an error here, as with a
    // command that Redis does not know, stays inside, and all that it asks next is queued. (Tried: of the 540 tests of
    // Redis' suite that pass, 22 then fail for what a test before them left so.)
    if !is_known {
        queue.unsupported.get_or_insert(spec);
    }
    // EXEC will refuse a spoiled transaction, so what comes after the error need not be kept.
    if !queue.spoiled && queue.unsupported.is_none() {
        queue.bytes += queued_bytes(request);
        if queue.bytes > server.runtime.query_bytes_max() {
            queue.spoiled = true;
            queue.commands = Vec::new();
            queue.bytes = 0;
            session.client.shown.queued_bytes.store(0, Relaxed);
            return Err(CommandError::custom("ERR the transaction is too large to be queued").into());
        }
        queue.commands.push((spec, request.to_owned()));
    }
    session.client.shown.queued.store(queue.commands.len() + 1, Relaxed);
    session.client.shown.queued_bytes.store(queue.bytes, Relaxed);
    Ok(Reply::simple("QUEUED"))
}

/// What a queued command takes in memory, with what EXEC adds to lock its keys and to hold its reply.
fn queued_bytes(request: Request<'_>) -> usize {
    QUEUED_COMMAND_BYTES + request.iter().map(|word| QUEUED_WORD_BYTES + word.len()).sum::<usize>()
}

pub(crate) fn multi(_: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    if ctx.session.transaction.is_some() {
        return Err(CommandError::custom("ERR MULTI calls can not be nested").into());
    }
    ctx.session.transaction = Some(Box::default());
    ctx.session.client.shown.queued.store(1, Relaxed);
    Ok(Reply::Ok)
}

pub(crate) fn discard(_: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    if ctx.session.transaction.is_none() {
        return Err(CommandError::custom("ERR DISCARD without MULTI").into());
    }
    ctx.session.end_transaction(ctx.server);
    Ok(Reply::Ok)
}

pub(crate) fn watch(mut args: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    if ctx.session.transaction.is_some() {
        return Err(CommandError::custom("ERR WATCH inside MULTI is not allowed").into());
    }
    let session = &mut *ctx.session;
    let keyspace = &session.keyspace;
    let watched = session.watched.get_or_insert_default();
    session.client.shown.watching.store(true, Relaxed);
    let Watched { mark, bytes, keys } = &mut **watched;
    let (_, keys) = keys.entry(keyspace.hooks().id()).or_insert_with(|| (keyspace.clone(), WatchedKeys::new()));
    while let Some(key) = args.next_opt() {
        if keys.contains_key(key) {
            continue;
        }
        let more = WATCHED_KEY_BYTES + 2 * key.len();
        if *bytes + more > WATCHED_BYTES_MAX {
            // A transaction that relied on the key must not go through.
            mark.set();
            return Err(CommandError::custom(format!(
                "ERR too many watched keys: all that a client watches may take {WATCHED_BYTES_MAX} bytes"
            ))
            .into());
        }
        *bytes += more;
        let existed = ctx.server.notify.watch.watch(keyspace, key, mark);
        keys.insert(key.into(), existed);
        session.client.shown.watched_keys.fetch_add(1, Relaxed);
    }
    Ok(Reply::Ok)
}

pub(crate) fn unwatch(_: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    // Inside EXEC the keys are let go when it ends.
    if ctx.txn.is_none() {
        ctx.session.unwatch(ctx.server);
    }
    Ok(Reply::Ok)
}

pub(crate) fn exec(_: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    let Some(queue) = ctx.session.transaction.take() else {
        return Err(CommandError::custom("ERR EXEC without MULTI").into());
    };
    let watched = ctx.session.watched.take();
    let outcome = if queue.spoiled {
        Err(CommandError::custom("EXECABORT Transaction discarded because of previous errors.").into())
    } else if let Some(spec) = queue.unsupported {
        Err(aborted(&CommandError::unsupported(spec.name).into_text()).into())
    } else {
        let place = match may_run_elsewhere(&queue, ctx.table) {
            true => Place::Loop(ctx.server.debug.loop_work_max.load(Relaxed)),
            false => Place::LoopToTheEnd,
        };
        let mut journal = Journal::default();
        let committed = match place {
            Place::Loop(0) => Err(kvcore::Error::TooMuchWork.into()),
            _ => commit(&queue, watched.as_deref(), ctx, place, &mut journal),
        };
        match committed {
            Ok((reply, ran)) => {
                ran.iter().for_each(|ran| ran.count(&queue, ctx.session, ctx.server));
                Ok(reply)
            }
            Err(Failure::Store(kvcore::Error::TooMuchWork)) => return Ok(park(queue, watched, journal, ctx)),
            Err(failure) => Err(failure),
        }
    };
    ctx.session.watched = watched;
    ctx.session.end_transaction(ctx.server);
    outcome
}

/// A transaction of a parked connection.
struct Execution {
    queue: Box<Queue>,
    /// As the connection's is: what the commands that [may run elsewhere](may_run_elsewhere) need of it.
    session: Session,
    journal: Journal,
}

/// Has a client that tracks remember the keys of the queued commands, before they are read.
fn remember_keys(queue: &Queue, ctx: &mut Context<'_>) {
    if ctx.session.tracking.is_some() {
        for (spec, request) in &queue.commands {
            ctx.session.remember_keys(spec, request.as_request(), ctx.server);
        }
    }
}

/// Has the transaction run elsewhere. It has changed nothing yet.
#[cold]
fn park(queue: Box<Queue>, watched: Option<Box<Watched>>, journal: Journal, ctx: &mut Context<'_>) -> Reply {
    remember_keys(&queue, ctx);
    let session = &mut *ctx.session;
    let mut copy =
        Session::new(session.client.clone(), session.address, session.keyspace.clone(), session.access.clone());
    copy.version = session.version;
    copy.database = session.database;
    copy.leaves_untouched = session.leaves_untouched;
    copy.seen = session.seen;
    copy.last_command = session.last_command;
    copy.watched = watched;
    session.client.shown.queued.store(0, Relaxed);
    session.client.shown.queued_bytes.store(0, Relaxed);
    let bytes = queue.bytes;
    let execution = Execution { queue, session: copy, journal };
    ctx.next = Next::Park(Work::compute(bytes, |worker| execution.run(worker)));
    Reply::Nothing
}

impl Execution {
    /// Carries the transaction out on a draft.
    fn run(self, worker: &Worker<'_>) -> Finished {
        let Execution { queue, mut session, mut journal } = self;
        let server = worker.server;
        let watched = session.watched.take();
        let exec = session.last_command.unwrap_or(&spec::COMMANDS[0]);
        // Others may have used up the room since it was parked.
        let (reply, lsn, ran) = match server.check_writes(exec, Some(&queue)) {
            Err(error) => (aborted(&error.into_text()).into(), Lsn::ZERO, Vec::new()),
            Ok(()) => {
                let mut ctx = Context::new(&mut session, server, worker.table, worker.origin, exec);
                match commit(&queue, watched.as_deref(), &mut ctx, Place::Draft, &mut journal) {
                    Ok((reply, ran)) => (reply, ctx.lsn, ran),
                    Err(failure) => (failure.into(), ctx.lsn, Vec::new()),
                }
            }
        };
        session.watched = watched;
        session.unwatch(server);
        let exec = ExecResult { queue, ran, database: session.database, keyspace: session.keyspace.clone() };
        Finished { lsn, exec: Some(exec), ..Finished::from(reply) }
    }
}

impl ExecResult {
    /// Applies it to its connection, on the loop of that.
    pub(crate) fn apply(&self, session: &mut Session, server: &ServerState) {
        self.ran.iter().for_each(|ran| ran.count(&self.queue, session, server));
        (session.database, session.keyspace) = (self.database, self.keyspace.clone());
    }
}

/// Returns the error of an EXEC that is refused because of `why`.
pub(crate) fn aborted(why: &Text) -> CommandError {
    CommandError::custom(Text::join(&[b"EXECABORT Transaction discarded because of: ", why.without_err()]))
}
