//! One request: find its command, see whether this client may run it now, run it, answer.
//!
//! Invariant: a store command runs under the locks of exactly the keys its row names, and its answer carries the
//! newest change those locks guard. The common case takes no allocation and touches nothing shared but those locks.

pub(crate) mod across;
pub(crate) mod costly;

use std::sync::atomic::Ordering::Relaxed;

use kvcommands::{BoundedScan, CommandFn, scans_many};
use kvcore::Keyspace;
use kvcore::hooks::{Lookups, Lsn, ReadTxn, Scan, Txn};
use kvproto::resp::Version;
use kvproto::spec::{self, Flag, KeyRule, Trait, Unresolved};
use kvproto::{Args, CommandError, OwnedRequest, Reply, Request, Spec, is_http_word, line};
use smallvec::SmallVec;

use crate::commands::{debug, monitor, transaction};
use crate::context::jobs::Work;
use crate::context::{Context, DispatchTable, Next, ServerCommand};
use crate::dispatch::costly::StoreCall;
use crate::net::listener::LineRules;
use crate::notify::events;
use crate::notify::origin::Origin;
use crate::session::{Refusal, Session};
use crate::state::ServerState;
use crate::state::server_config::{SCAN_INLINE_KEYS_MAX, SCAN_INLINE_STEPS_MAX};
use kvcommands::events::{Class, Classes, EventTxn};
use kvcommands::outcome::{Failure, Outcome, store_error};

/// What a request came to.
pub(crate) struct CallResult {
    pub(crate) spec: Option<&'static Spec>,
    pub(crate) reply: Reply,
    /// The newest change the answer reveals.
    pub(crate) lsn: Lsn,
    /// The key lookups that count.
    pub(crate) lookups: Lookups,
    /// What few answers have.
    pub(crate) rest: Option<Box<Rest>>,
}

/// Boxed, so that the answers that go without are quickly passed on.
#[derive(Default)]
pub(crate) struct Rest {
    /// Replies that go before the answer's own, in this version of the protocol.
    pub(crate) before: Vec<Reply>,
    pub(crate) version: Version,
    pub(crate) next: Next,
    /// It was refused before it ran.
    pub(crate) rejected: bool,
}

impl CallResult {
    fn new(spec: Option<&'static Spec>, reply: Reply, lsn: Lsn) -> CallResult {
        CallResult { spec, reply, lsn, lookups: Lookups::default(), rest: None }
    }

    pub(crate) fn nothing() -> CallResult {
        CallResult::new(None, Reply::Nothing, Lsn::ZERO)
    }

    pub(crate) fn refused(spec: &'static Spec, error: CommandError) -> CallResult {
        CallResult::new(Some(spec), error.into(), Lsn::ZERO)
    }

    fn counting(mut self, lookups: Lookups) -> CallResult {
        self.lookups = lookups;
        self
    }

    fn with(mut self, before: Vec<Reply>, version: Version, next: Next) -> CallResult {
        if !before.is_empty() || !matches!(next, Next::Continue) {
            self.rest = Some(Box::new(Rest { before, version, next, rejected: false }));
        }
        self
    }

    /// Whether it is not known yet what the request comes to: it has changed nothing, and is carried out elsewhere.
    fn is_postponed(&self) -> bool {
        let next = self.rest.as_ref().map(|rest| &rest.next);
        matches!(next, Some(Next::Park(work)) if work.is_compute())
    }

    fn then(self, next: Next) -> CallResult {
        self.with(Vec::new(), Version::default(), next)
    }
}

/// Carries out one request that is not empty.
pub(crate) fn answer(
    request: Request<'_>,
    session: &mut Session,
    server: &ServerState,
    table: &DispatchTable,
    origin: &Origin,
) -> CallResult {
    let (top, spec) = match find(request) {
        Ok(found) => found,
        Err(_) if is_http_word(request.name()) => {
            server.statistics.http_refusals.add(&session.client, server.statistics.started.elapsed());
            return CallResult::new(None, Reply::Nothing, Lsn::ZERO).then(Next::Close);
        }
        Err(unresolved) => {
            session.last_command = unresolved.spec;
            return reject(unresolved.spec, unresolved.error, request, session, server);
        }
    };
    session.last_command = Some(spec);
    if !session.access.is_free(&server.acl) {
        match session.admit(spec, request, server) {
            Ok(()) => {}
            Err(Refusal::Error(error)) => return reject(Some(spec), error, request, session, server),
            Err(Refusal::Gone) => return CallResult::new(None, Reply::Nothing, Lsn::ZERO).then(Next::Close),
        }
    }
    if (session.transaction.is_some() || session.subscriptions.is_some())
        && let Err(error) = check_state(spec, session, server)
    {
        return reject(Some(spec), error, request, session, server);
    }
    if server.clients.pause.is_on() && server.clients.pause.blocks(spec, queued(session)) {
        return CallResult::new(Some(spec), Reply::Nothing, Lsn::ZERO).then(Next::AwaitPause);
    }
    if server.is_backlogged() && server.lacks_room(spec, queued(session)) {
        return CallResult::new(Some(spec), Reply::Nothing, Lsn::ZERO).then(Next::AwaitRoom);
    }
    if server.write_checks.load(Relaxed) != 0
        && let Err(error) = server.check_writes(spec, session.transaction.as_deref())
    {
        return reject(Some(spec), error, request, session, server);
    }
    if session.transaction.is_some() && !spec.traits.has(Trait::NotQueued) {
        let reply =
            transaction::enqueue(spec, table.of(top).is_some(), request, session, server).unwrap_or_else(Reply::from);
        return CallResult::new(Some(spec), reply, Lsn::ZERO);
    }
    if session.tracking.is_some() {
        session.remember_keys(spec, request, server);
    }
    let wanted = server.notify.audience.wanted();
    let call = |work_max| {
        let (database, uses_keys) = (session.database, session.uses_keys_of(spec));
        Call { spec, request, origin, database, uses_keys, events: wanted.events(), work_max }
    };
    let work_max = |words_min: u16| {
        let may_cost = request.len() >= words_min.into();
        may_cost.then(|| server.debug.loop_work_max.load(Relaxed))
    };
    let answer = match table.of(top) {
        Some(ServerCommand::Store(CommandFn::Read(run, words_min))) => {
            read(&call(work_max(words_min)), run, &session.keyspace, server)
        }
        Some(ServerCommand::Store(CommandFn::Write(run))) => store(&call(None), run, &session.keyspace, server),
        Some(ServerCommand::Store(CommandFn::Costly(run, words_min))) => {
            let run = |args: Args<'_>, txn: &mut dyn Txn| run(args, txn, &server.runtime.of_commands());
            store(&call(work_max(words_min)), run, &session.keyspace, server)
        }
        Some(ServerCommand::Store(CommandFn::Scan(run))) => scan(spec, run, request, session, server),
        Some(ServerCommand::Store(CommandFn::Across(needs, run))) => across::across(&call(None), needs, run, server),
        Some(ServerCommand::Store(CommandFn::Pure(run))) => {
            CallResult::new(Some(spec), run(Args::new(request), spec).unwrap_or_else(Reply::from), Lsn::ZERO)
        }
        Some(ServerCommand::Session(run, _)) => {
            let mut context = Context::new(session, server, table, origin, spec);
            let reply = run(Args::new(request), &mut context).unwrap_or_else(Reply::from);
            let Context { before, version, lsn, lookups, next, .. } = context;
            CallResult::new(Some(spec), reply, lsn).counting(lookups).with(before, version, next)
        }
        None => return reject(Some(spec), CommandError::unsupported(spec.name), request, session, server),
    };
    if wanted.is_monitored() && !answer.is_postponed() {
        monitor::show(spec, request, session.database, answer.lsn, session, server);
    }
    answer
}

/// Returns the commands since MULTI.
fn queued(session: &Session) -> Option<&[(&'static Spec, OwnedRequest)]> {
    session.transaction.as_ref().map(|queue| queue.commands.as_slice())
}

/// Returns the rows that a request names; a subcommand that is not here is an error.
#[inline]
fn find(request: Request<'_>) -> Result<(&'static Spec, &'static Spec), Box<Unresolved>> {
    let (top, spec) = spec::resolve_rows(request)?;
    if spec.unsupported && !top.unsupported {
        return Err(Box::new(Unresolved { spec: Some(spec), error: CommandError::unsupported(spec.name) }));
    }
    Ok((top, spec))
}

/// What a client may do depends on what it did before.
fn check_state(spec: &Spec, session: &Session, server: &ServerState) -> Result<(), CommandError> {
    if session.transaction.is_some() && spec.flags.has(Flag::NoMulti) {
        return Err(CommandError::custom("ERR Command not allowed inside a transaction"));
    }
    if spec.traits.has(Trait::ForTests) && !server.config.debug_allowed {
        return Err(CommandError::custom(debug::NOT_ALLOWED));
    }
    // RESP2 cannot tell a pushed message from a reply.
    if session.subscriptions.is_some() && session.version == Version::Resp2 && !spec.traits.has(Trait::WhileSubscribed)
    {
        return Err(CommandError::custom(format!(
            "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this \
             context",
            spec.name
        )));
    }
    Ok(())
}

/// Refuses a request; inside MULTI that spoils the transaction.
#[cold]
#[inline(never)]
fn reject(
    spec: Option<&'static Spec>,
    error: CommandError,
    request: Request<'_>,
    session: &mut Session,
    server: &ServerState,
) -> CallResult {
    let mut reply = Reply::from(error);
    if let Some(exec) = spec.filter(|spec| spec.traits.has(Trait::RunsQueue)) {
        session.end_transaction(server);
        // Monitors have seen MULTI, so they see the end of it.
        if server.notify.audience.wanted().is_monitored() {
            monitor::show(exec, request, session.database, Lsn::ZERO, session, server);
        }
        if let Reply::Error(text) = &reply {
            reply = transaction::aborted(text).into();
        }
    }
    session.spoil_transaction();
    let rest = Rest { rejected: true, ..Rest::default() };
    CallResult { rest: Some(Box::new(rest)), ..CallResult::new(spec, reply, Lsn::ZERO) }
}

/// Carries out a command that only reads. Not part of its caller, where it would take registers from the writes.
#[inline(never)]
fn read(
    call: &Call<'_>,
    run: fn(Args<'_>, &dyn ReadTxn) -> Outcome,
    keyspace: &Keyspace,
    server: &ServerState,
) -> CallResult {
    let Call { spec, request, uses_keys, work_max, .. } = *call;
    if call.events.has(Class::KeyMiss) || work_max == Some(0) {
        // It may have to notify of a key that is missing, with the key locked. No other event follows from reading, but that a
        // key has expired, of which the store notifies.
        return store(call, |args: Args<'_>, txn: &mut dyn Txn| run(args, txn), keyspace, server);
    }
    let (mut reply, mut lookups) = (None, Lookups::default());
    let hooks = keyspace.hooks().with_origin(call.origin.for_store());
    let outcome = with_keys(spec, request, |keys| {
        hooks.view(keys, uses_keys, &mut |txn| {
            if let Some(work_max) = work_max {
                txn.limit_work(work_max);
            }
            keep_reply(run(Args::new(request), txn), &mut reply)?;
            lookups = txn.lookups();
            Ok(())
        })
    });
    conclude(outcome, spec, reply, lookups, server).unwrap_or_else(|| park(call, keyspace))
}

/// A store command, and what it needs to know of its client.
pub(crate) struct Call<'r> {
    pub(crate) spec: &'static Spec,
    pub(crate) request: Request<'r>,
    pub(crate) origin: &'r Origin,
    pub(crate) database: usize,
    pub(crate) uses_keys: bool,
    /// The events that are wanted.
    pub(crate) events: Classes,
    /// What it may charge, if that is limited.
    pub(crate) work_max: Option<u64>,
}

fn store(
    call: &Call<'_>,
    run: impl Fn(Args<'_>, &mut dyn Txn) -> Outcome,
    keyspace: &Keyspace,
    server: &ServerState,
) -> CallResult {
    let hooks = keyspace.hooks().with_origin(call.origin.for_store());
    let answer = match call.work_max {
        Some(0) => None,
        _ => carry_out(call, run, server, |keys, body| hooks.commit(keys, body)),
    };
    answer.unwrap_or_else(|| park(call, keyspace))
}

/// Returns what has a command carried out elsewhere, which is too much work for a loop.
#[cold]
#[inline(never)]
fn park(call: &Call<'_>, keyspace: &Keyspace) -> CallResult {
    let Call { spec, database, uses_keys, .. } = *call;
    let call = StoreCall { keyspace: keyspace.clone(), database, uses_keys };
    let work = Work::compute(0, move |worker| costly::run_store(worker, &call));
    CallResult::new(Some(spec), Reply::Nothing, Lsn::ZERO).then(Next::Park(work))
}

/// Carries out a store command in a transaction that `commit` runs; `None` if that is more work than it may be.
#[inline]
pub(crate) fn carry_out(
    call: &Call<'_>,
    run: impl Fn(Args<'_>, &mut dyn Txn) -> Outcome,
    server: &ServerState,
    commit: impl FnOnce(&[&[u8]], &mut Body<'_>) -> kvcore::Result<Lsn>,
) -> Option<CallResult> {
    let (mut reply, mut lookups) = (None, Lookups::default());
    let mut body = |txn: &mut dyn Txn| {
        if let Some(work_max) = call.work_max {
            txn.limit_work(work_max);
        }
        if !call.uses_keys {
            txn.begin_command(false);
        }
        let args = Args::new(call.request);
        let outcome = if call.events.is_empty() {
            run(args, txn)
        } else {
            let database_of = |id| server.databases.with_id(id);
            let mut noted = EventTxn::new(txn, call.spec, call.request, call.database, call.events, &database_of);
            let outcome = run(args, &mut noted);
            call.origin.announce(events::announcements(noted.finish()).collect());
            outcome
        };
        keep_reply(outcome, &mut reply)?;
        lookups = txn.lookups();
        Ok(())
    };
    let outcome = with_keys(call.spec, call.request, |keys| commit(keys, &mut body));
    if !call.events.is_empty() {
        server.notify.audience.publish(call.origin, outcome.as_ref().ok().copied());
    }
    conclude(outcome, call.spec, reply, lookups, server)
}

/// Calls `run` with the keys that a request names.
#[inline]
fn with_keys<R>(spec: &Spec, request: Request<'_>, run: impl FnOnce(&[&[u8]]) -> R) -> R {
    match spec.keys {
        KeyRule::Range { first, last, .. } if last == first.cast_signed() => {
            run(&[request.get(first).unwrap_or_default()])
        }
        _ => run(&spec.keys(request).map(|(_, key)| key).collect::<SmallVec<[&[u8]; 16]>>()),
    }
}

/// Keeps the reply of a command that is part of a transaction; only the store's own failures end that.
#[inline(always)]
fn keep_reply(outcome: Outcome, reply: &mut Option<Reply>) -> kvcore::Result<()> {
    match outcome {
        Ok(replied) => *reply = Some(replied),
        // It has changed nothing, and what it says about the keys is as true, and as new, as any reply.
        Err(Failure::Command(error)) => *reply = Some(error.into()),
        Err(Failure::Store(error)) => return Err(error),
    }
    Ok(())
}

/// Returns what a store command came to; `None` if that is more work than it may be.
#[inline(always)]
fn conclude(
    outcome: kvcore::Result<Lsn>,
    spec: &'static Spec,
    reply: Option<Reply>,
    lookups: Lookups,
    server: &ServerState,
) -> Option<CallResult> {
    match outcome {
        Ok(lsn) => {
            let lsn = if server.awaits_durability() { lsn } else { Lsn::ZERO };
            Some(CallResult::new(Some(spec), reply.unwrap_or_default(), lsn).counting(lookups))
        }
        Err(kvcore::Error::TooMuchWork) => None,
        Err(error) => {
            // Refused because of what the key holds: the only such error that the store itself finds.
            let shows_value = matches!(error, kvcore::Error::ValueTooLong { .. });
            let lsn = if shows_value { server.newest() } else { Lsn::ZERO };
            Some(CallResult::new(Some(spec), store_error(&error), lsn))
        }
    }
}

/// What a transaction does.
type Body<'b> = dyn FnMut(&mut dyn Txn) -> kvcore::Result<()> + 'b;

fn scan(
    spec: &'static Spec,
    run: fn(Args<'_>, &dyn Scan) -> Outcome,
    request: Request<'_>,
    session: &mut Session,
    server: &ServerState,
) -> CallResult {
    let outcome = if scans_many(spec, request) && Scan::len(&session.keyspace) > SCAN_INLINE_KEYS_MAX {
        Err(kvcore::Error::TooMuchWork.into())
    } else {
        run(Args::new(request), &BoundedScan::new(spec, request, &session.keyspace, SCAN_INLINE_STEPS_MAX))
    };
    if let Err(Failure::Store(kvcore::Error::TooMuchWork)) = outcome {
        let keyspace = session.keyspace.clone();
        let next =
            Next::Park(Work::scan(move |worker| run(Args::new(worker.request), &keyspace).unwrap_or_else(Reply::from)));
        return CallResult::new(Some(spec), Reply::Nothing, Lsn::ZERO).then(next);
    }
    CallResult::new(Some(spec), outcome.unwrap_or_else(Reply::from), server.newest())
}

/// A line listener's own limits on words.
pub(crate) fn refused_by_line_rules(request: Request<'_>, rules: LineRules) -> Option<CallResult> {
    if rules.style != line::Style::Terse {
        return None;
    }
    let spec = spec::lookup(request.name())?;
    let error = line::check_terse(spec, request, rules.key_bytes_max, rules.value_bytes_max).err()?;
    Some(CallResult::new(Some(spec), error.into(), Lsn::ZERO))
}
