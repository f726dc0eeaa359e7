//! MULTI, EXEC, DISCARD, WATCH, UNWATCH.
//!
//! Invariant: EXEC is one transaction of the store over all databases it touches: others see all of it or nothing,
//! and so does a crash. What runs inside it is repeatable: only the last run counts. What concerns the server or the connection
//! and not the keys follows the commit, so that it is done once or not at all. Watched keys are compared under the same locks. What takes long runs on a draft, where that is
//! possible, and is counted, as a whole, once.

use std::fmt;
use std::sync::atomic::Ordering::Relaxed;

use kvcore::hooks::{CrossTxn, Lookups, Lsn};
use kvcore::{Keyspace, LockSet};
use kvproto::{Args, CommandError, OwnedRequest, Reply, Request, Spec, Text, resp, spec};

use super::{connection, databases, monitor};
use crate::acl::{Access, Denial};
use crate::context::{Context, Next, Run, Runs};
use crate::dispatch::check_writes;
use crate::events::Noted;
use crate::offload::Work;
use crate::origin::Origin;
use crate::outcome::{Failure, Outcome};
use crate::pubsub::Announcement;
use crate::ran::Ran;
use crate::session::{Queue, Session, Subscriptions, Watched, WatchedKeys};
use crate::settings::{QUEUED_COMMAND_BYTES, QUEUED_WORD_BYTES, REPLY_BYTES_MAX, WATCHED_BYTES_MAX, WATCHED_KEY_BYTES};
use crate::state::ServerState;

/// Whether a command is queued between MULTI and EXEC rather than executed.
pub(crate) fn is_queued(spec: &Spec) -> bool {
    !matches!(spec.name, "exec" | "discard" | "multi" | "watch" | "quit" | "reset")
}

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
        queue.absent.get_or_insert(spec);
    }
    // EXEC will refuse a spoiled transaction, so what comes after the error need not be kept.
    if !queue.spoiled && queue.absent.is_none() {
        queue.bytes += queued_bytes(request);
        if queue.bytes > server.tuning.query_bytes_max() {
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
        let existed = ctx.server.watch.watch(keyspace, key, mark);
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
    } else if let Some(spec) = queue.absent {
        Err(aborted(&CommandError::absent(spec.name).into_text()).into())
    } else {
        let place = match may_run_elsewhere(&queue, ctx.runs) {
            true => Place::Loop(ctx.server.switches.loop_work_max.load(Relaxed)),
            false => Place::LoopToTheEnd,
        };
        if place == Place::Loop(0) {
            remember_keys(&queue, ctx);
            return Ok(park(queue, watched, ctx));
        }
        match commit(&queue, watched.as_deref(), ctx, place) {
            Ok((reply, ran)) => {
                ran.iter().for_each(|ran| ran.count(&queue, ctx.session, ctx.server));
                Ok(reply)
            }
            Err(Failure::Store(kvcore::Error::TooMuchWork)) => return Ok(park(queue, watched, ctx)),
            Err(failure) => Err(failure),
        }
    };
    ctx.session.watched = watched;
    ctx.session.end_transaction(ctx.server);
    outcome
}

/// Where a transaction runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// On a loop, unless it takes more work than this.
    Loop(u64),
    /// On a loop, whatever work it takes: what it does concerns the connection or the server beside the store.
    LoopToTheEnd,
    /// On a thread for such work, on a draft.
    Draft,
}

/// Whether all that is queued can run without the connection, and without a whole keyspace: on a draft.
fn may_run_elsewhere(queue: &Queue, runs: &Runs) -> bool {
    queue.commands.iter().all(|(spec, request)| match run_of(request.as_request(), runs) {
        Some(Run::Read(..) | Run::Store(_) | Run::Costly(..)) => true,
        Some(Run::Session(_)) => matches!(
            container(spec),
            "select" | "copy" | "move" | "object" | "ping" | "echo" | "time" | "publish" | "spublish"
        ),
        _ => false,
    })
}

/// A transaction of a parked connection.
pub(crate) struct Execution {
    pub(crate) queue: Box<Queue>,
    /// As the connection's is: what the commands that [may run elsewhere](may_run_elsewhere) need of it.
    session: Session,
}

/// What became of an [`Execution`].
pub(crate) struct Executed {
    queue: Box<Queue>,
    ran: Vec<RanCommand>,
    database: usize,
    keyspace: Keyspace,
}

impl fmt::Debug for Executed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executed").field("commands", &self.queue.commands.len()).finish_non_exhaustive()
    }
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
fn park(queue: Box<Queue>, watched: Option<Box<Watched>>, ctx: &mut Context<'_>) -> Reply {
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
    ctx.next = Next::Park(Work::Exec(Box::new(Execution { queue, session: copy })));
    Reply::Nothing
}

impl Execution {
    /// Carries the transaction out on a draft.
    pub(crate) fn run(self, server: &ServerState, runs: &Runs, origin: &Origin) -> (Reply, Lsn, Executed) {
        let Execution { queue, mut session } = self;
        let watched = session.watched.take();
        let exec = session.last_command.unwrap_or(&spec::COMMANDS[0]);
        // Others may have used up the room since it was parked.
        if let Err(error) = check_writes(exec, Some(&queue), server) {
            session.watched = watched;
            session.unwatch(server);
            let (database, keyspace) = (session.database, session.keyspace.clone());
            let reply = aborted(&error.into_text()).into();
            return (reply, Lsn::ZERO, Executed { queue, ran: Vec::new(), database, keyspace });
        }
        let mut ctx = Context::new(&mut session, server, runs, origin, exec);
        let (reply, ran) = match commit(&queue, watched.as_deref(), &mut ctx, Place::Draft) {
            Ok(done) => done,
            Err(failure) => (failure.into(), Vec::new()),
        };
        let lsn = ctx.lsn;
        session.watched = watched;
        session.unwatch(server);
        (reply, lsn, Executed { queue, ran, database: session.database, keyspace: session.keyspace.clone() })
    }
}

impl Executed {
    /// Tells the connection, on its loop, what has changed for it.
    pub(crate) fn finish(&self, session: &mut Session, server: &ServerState) {
        self.ran.iter().for_each(|ran| ran.count(&self.queue, session, server));
        (session.database, session.keyspace) = (self.database, self.keyspace.clone());
    }
}

/// Returns the error of an EXEC that is refused because of `why`.
pub(crate) fn aborted(why: &Text) -> CommandError {
    CommandError::custom(Text::join(&[b"EXECABORT Transaction discarded because of: ", why.without_err()]))
}

/// What EXEC locks.
struct Locks<'q> {
    /// The keyspace that it starts in was added first.
    set: LockSet<'q>,
    /// What FLUSHALL empties, and DEBUG looks at, if they are among the commands: all keyspaces, locked whole.
    everything: Vec<Keyspace>,
}

/// Returns what the queued commands touch, following each SELECT on the way.
fn locks_of<'q>(queue: &'q Queue, session: &Session, server: &ServerState, runs: &Runs) -> kvcore::Result<Locks<'q>> {
    let mut set = LockSet::new();
    let mut keyspace = session.keyspace.clone();
    let mut touches_everything = false;
    set.add_keys::<[u8]>(&keyspace, []);
    for (spec, request) in &queue.commands {
        let request = request.as_request();
        match (container(spec), run_of(request, runs)) {
            ("select", _) => {
                if let Some(database) = databases::selected(request) {
                    keyspace = server.databases.open(database)?;
                    set.add_keys::<[u8]>(&keyspace, []);
                }
            }
            ("flushall" | "debug", _) => touches_everything = true,
            ("flushdb" | "flush", _) | (_, Some(Run::Walk(_))) => set.add_whole(&keyspace),
            ("swapdb", _) => {
                for other in databases::others(spec.name, request, server)? {
                    set.add_whole(&other);
                }
            }
            (_, Some(Run::Read(..) | Run::Store(_) | Run::Costly(..) | Run::Session(_))) => {
                for other in databases::others(spec.name, request, server)? {
                    set.add_keys(&other, spec.keys(request).map(|(_, key)| key));
                }
                set.add_keys(&keyspace, spec.keys(request).map(|(_, key)| key));
            }
            (_, None) => {}
        }
    }
    // Only now, so that databases which SELECT has just created are among them.
    let everything = if touches_everything { server.db.keyspaces() } else { Vec::new() };
    everything.iter().for_each(|keyspace| set.add_whole(keyspace));
    Ok(Locks { set, everything })
}

/// The name of the command that a row, or its container, is.
fn container(spec: &Spec) -> &'static str {
    spec.name.split_once('|').map_or(spec.name, |(container, _)| container)
}

/// How a queued command is carried out.
fn run_of(request: Request<'_>, runs: &Runs) -> Option<Run> {
    runs.of(spec::lookup(request.name())?)
}

/// Executes the queue as one transaction; `NilArray` if a watched key has changed.
fn commit(
    queue: &Queue,
    watched: Option<&Watched>,
    ctx: &mut Context<'_>,
    place: Place,
) -> Result<(Reply, Vec<RanCommand>), Failure> {
    let Locks { set: mut locks, everything } = locks_of(queue, ctx.session, ctx.server, ctx.runs)?;
    for (keyspace, keys) in watched.iter().flat_map(|watched| watched.keys.values()) {
        locks.add_keys(keyspace, keys.keys().map(|key| &**key));
    }
    let before = Before::of(ctx.session, queue);
    let (session, server, runs, origin) = (&mut *ctx.session, ctx.server, ctx.runs, ctx.origin);
    let wanted = server.audience.wanted();
    let mut replies = None;
    let mut closes = false;
    // PUBLISH and SPUBLISH: which announcement each made, and which reply it has.
    let mut published = Vec::new();
    // The reply before which a subscription ended first.
    let mut left_at = None;
    // What its commands show besides what is locked.
    let mut revealed = Lsn::ZERO;
    // What to show monitors: the database after each command, as Redis does.
    let mut databases = Vec::new();
    let mut ran = Vec::new();
    let mut body = |txn: &mut dyn CrossTxn| {
        // It may run several times, and what it announced before was not done.
        origin.announce(Vec::new());
        before.restore(session);
        (replies, closes, left_at, revealed) = (None, false, None, Lsn::ZERO);
        published.clear();
        databases.clear();
        ran.clear();
        if let Place::Loop(work_max) = place {
            txn.limit_work(work_max);
        }
        if let Some(watched) = watched
            && has_changed(watched, txn)?
        {
            return Ok(());
        }
        txn.select(before.keyspace.hooks().id())?;
        let mut answered = Vec::with_capacity(queue.commands.len());
        let mut answered_bytes = 0;
        let mut announcements = Vec::new();
        for (at, (spec, request)) in queue.commands.iter().enumerate() {
            let words = request.as_request();
            if place == Place::Draft && (server.offload.has_ended() || session.client.is_killed()) {
                return Err(kvcore::Error::aborted("nobody waits for it"));
            }
            txn.begin_command(session.uses_keys_of(spec));
            let looked_up = txn.lookups();
            let mut noted = Noted::new(&mut *txn, spec, words, session.database, wanted.events(), &server.databases);
            let mut one = Context::new(session, server, runs, origin, spec);
            one.txn = Some(&mut noted);
            one.everything = &everything;
            let begun = server.slow.clock().raw();
            let (mut denial, mut is_late) = (None, false);
            let reply = if let Some(refusal) = one.session.refused_at_exec(spec, words, server) {
                denial = refusal.denial;
                refusal.error.into()
            } else if runs_after_commit(spec, words, runs) {
                is_late = true;
                if let Some((name, password)) = connection::login(spec, words, server) {
                    one.session.act_as(name, password, server);
                }
                Reply::Nothing
            } else {
                execute(spec, request, &mut one)?
            };
            let ticks = server.slow.clock().raw().saturating_sub(begun);
            let mut this = RanCommand::new(at, &one, words, &reply, ticks);
            this.denial = denial;
            let Context { mut before, announcements: mut said, has_left, lsn, next, .. } = one;
            revealed = revealed.max(lsn);
            // CLIENT KILL of itself.
            closes |= matches!(next, Next::Close);
            answered_bytes += before.iter().chain([&reply]).map(Reply::payload_bytes).sum::<usize>();
            if has_left {
                left_at = left_at.or(Some(answered.len()));
            }
            answered.append(&mut before);
            if matches!(said[..], [Announcement::Publish(_)]) {
                published.push((announcements.len(), answered.len()));
            }
            announcements.append(&mut said);
            announcements.extend(noted.finish());
            this.lookups = txn.lookups().since(looked_up);
            this.late_reply = is_late.then_some(answered.len());
            ran.push(this);
            answered.push(reply);
            if answered_bytes > REPLY_BYTES_MAX {
                // It can only be told that it was done.
                answered = Vec::new();
            }
            if wanted.is_monitored() {
                databases.push(session.database);
            }
        }
        origin.announce(announcements);
        replies = Some(if answered_bytes > REPLY_BYTES_MAX { replies_too_large() } else { Reply::Array(answered) });
        Ok(())
    };
    let hooks = server.db.hooks().with_origin(origin.for_store());
    let committed = match place {
        Place::Loop(_) | Place::LoopToTheEnd => hooks.commit_across(locks, &mut body),
        // That a watched key has changed since it was looked at must be seen, whatever its value is.
        Place::Draft => {
            let is_unchanged = || watched.is_none_or(|watched| !watched.mark.is_set());
            hooks.commit_draft(locks, &is_unchanged, &mut body)
        }
    };
    // A message may rest on what the client did before, as with a PUBLISH of its own.
    let seen = session.seen;
    let receivers = server.audience.settle(origin, committed.as_ref().ok().map(|lsn| seen.max(*lsn)));
    if let Some(Reply::Array(replies)) = &mut replies {
        for (announcement, reply) in published {
            if let (Some(count), Some(reply)) = (receivers.get(announcement), replies.get_mut(reply)) {
                *reply = Reply::count(*count);
            }
        }
    }
    match committed {
        Ok(lsn) => {
            ctx.lsn = if server.is_gated() { revealed.max(lsn) } else { revealed };
            if closes {
                ctx.next = Next::Close;
            }
            let mut replies = replies.unwrap_or(Reply::NilArray);
            // What is sent before which reply: where Redis sends it, behind SUBSCRIBE's reply, and before that of UNSUBSCRIBE.
            let mut inserted = Vec::new();
            if let Some(at) = left_at {
                inserted.push((at, ctx.take_posted()));
            }
            ctx.session.access = before.access;
            finish_commands(queue, &mut ran, ctx, &mut replies, &mut inserted);
            for ((spec, request), database) in queue.commands.iter().zip(databases) {
                monitor::show(spec, request.as_request(), database, ctx.lsn, ctx.session, server);
            }
            inserted.sort_by_key(|(at, _)| *at);
            for (at, more) in inserted.into_iter().rev() {
                match &mut replies {
                    Reply::Array(replies) => drop(replies.splice(at..at, more)),
                    _ => ctx.before.extend(more),
                }
            }
            if replies.payload_bytes() > REPLY_BYTES_MAX {
                replies = replies_too_large();
            }
            Ok((replies, ran))
        }
        Err(error) => {
            // Nothing was done, so SELECT and SUBSCRIBE were not either.
            before.restore(ctx.session);
            if matches!(error, kvcore::Error::TooMuchWork) {
                remember_keys(queue, ctx);
            }
            Err(error.into())
        }
    }
}

fn replies_too_large() -> Reply {
    Reply::error(format!("ERR the transaction was executed, but its replies are larger than {REPLY_BYTES_MAX} bytes"))
}

/// What a run of the commands may change of its session: each run begins with it, and so does what follows a failure.
struct Before {
    database: usize,
    keyspace: Keyspace,
    access: Access,
    /// Of a transaction that changes them.
    subscriptions: Option<Option<Box<Subscriptions>>>,
    leaves_untouched: bool,
    /// By CLIENT CACHING.
    announced: bool,
}

impl Before {
    fn of(session: &Session, queue: &Queue) -> Before {
        let subscribes = queue.commands.iter().any(|(spec, _)| spec.name.ends_with("subscribe"));
        Before {
            database: session.database,
            keyspace: session.keyspace.clone(),
            access: session.access.clone(),
            subscriptions: subscribes.then(|| session.subscriptions.clone()),
            leaves_untouched: session.leaves_untouched,
            announced: session.tracking.as_ref().is_some_and(|tracking| tracking.announced),
        }
    }

    fn restore(&self, session: &mut Session) {
        (session.database, session.keyspace) = (self.database, self.keyspace.clone());
        session.access = self.access.clone();
        session.leaves_untouched = self.leaves_untouched;
        let shown = &session.client.shown;
        shown.database.store(self.database, Relaxed);
        shown.no_touch.store(self.leaves_untouched, Relaxed);
        if let Some(subscriptions) = &self.subscriptions {
            session.subscriptions = subscriptions.clone();
            session.show_subscriptions();
        }
        if let Some(tracking) = &mut session.tracking {
            tracking.announced = self.announced;
            tracking.begin_reads_again();
        }
    }
}

/// Whether a command is carried out once the transaction is committed: one that changes or shows the server or the session, and
/// has nothing to do with what the transaction locks. So it is carried out once, and not at all if the transaction fails. The
/// others must be repeatable, and what they change of the session must be a part of [`Before`].
fn runs_after_commit(spec: &Spec, request: Request<'_>, runs: &Runs) -> bool {
    matches!(run_of(request, runs), Some(Run::Session(_)))
        && !spec.is_write()
        && !spec.is_read_only()
        && !spec.name.ends_with("subscribe")
        && !matches!(spec.name, "select" | "ping" | "echo" | "publish" | "spublish" | "debug" | "unwatch")
        && !matches!(spec.name, "client|caching" | "client|no-touch")
        && container(spec) != "pubsub"
}

/// Does what was left for after the commit: carries out the commands that [run then](runs_after_commit), and notes what was
/// refused. Both in the order of the queue.
fn finish_commands(
    queue: &Queue,
    ran: &mut [RanCommand],
    ctx: &mut Context<'_>,
    replies: &mut Reply,
    inserted: &mut Vec<(usize, Vec<Reply>)>,
) {
    let mut tracks_anew = false;
    for this in ran {
        let Some((spec, request)) = queue.commands.get(this.at) else { continue };
        let words = request.as_request();
        if let Some(denial) = this.denial {
            ctx.session.note_denial(denial, true, spec, words, ctx.server);
        }
        // It was read without being remembered.
        if tracks_anew && spec.is_read_only() {
            ctx.server.tracking.post_all_stale(ctx.session.client.id);
            tracks_anew = false;
        }
        let Some(at) = this.late_reply else { continue };
        let Some(Run::Session(run)) = run_of(words, ctx.runs) else { continue };
        let mut one = Context::new(ctx.session, ctx.server, ctx.runs, ctx.origin, spec);
        one.follows_exec = true;
        let tracked = one.session.tracking.is_some();
        let begun = ctx.server.slow.clock().raw();
        let reply = run(Args::new(words), &mut one).unwrap_or_else(Reply::from);
        let ticks = ctx.server.slow.clock().raw().saturating_sub(begun);
        *this = RanCommand::new(this.at, &one, words, &reply, ticks);
        let Context { before, lsn, next, .. } = one;
        ctx.lsn = ctx.lsn.max(lsn);
        if matches!(next, Next::Close) {
            // CLIENT KILL of itself.
            ctx.next = Next::Close;
        }
        tracks_anew |= spec.name == "client|tracking" && !tracked && ctx.session.tracking.is_some();
        inserted.push((at, before));
        if let Reply::Array(replies) = &mut *replies
            && let Some(place) = replies.get_mut(at)
        {
            *place = reply;
        }
    }
}

/// A queued command that ran, to be counted once it is certain that the transaction is.
struct RanCommand {
    /// In the queue.
    at: usize,
    ticks: u64,
    lookups: Lookups,
    error: Option<Text>,
    /// How many bytes its request and its reply had, if either was large.
    large: Option<[usize; 2]>,
    /// Why it was refused, if that is to be in the log of ACL LOG.
    denial: Option<Denial>,
    /// The place of its reply, if it runs after the commit.
    late_reply: Option<usize>,
}

impl RanCommand {
    fn new(at: usize, ctx: &Context<'_>, request: Request<'_>, reply: &Reply, ticks: u64) -> RanCommand {
        // Its encoded reply is never longer.
        let request_bytes = request.resp_bytes();
        let is_large = request_bytes.max(reply.payload_bytes()) >= ctx.server.slow.large_bytes();
        let large = is_large.then(|| [request_bytes, resp::encoded_len(reply, ctx.session.version)]);
        let error = if let Reply::Error(text) = reply { Some(text.clone()) } else { None };
        RanCommand { at, ticks, lookups: Lookups::default(), error, large, denial: None, late_reply: None }
    }

    /// Counts it. Only on the client's loop.
    fn count(&self, queue: &Queue, session: &Session, server: &ServerState) {
        let Some((spec, request)) = queue.commands.get(self.at) else { return };
        let Some(counters) = server.counters.get(session.address.loop_index) else { return };
        session.count_command();
        let ran = Ran { spec, request: request.as_request(), client: &session.client, ticks: self.ticks };
        ran.count(counters, &server.slow);
        if let Some(bytes) = self.large {
            ran.note_size(bytes, server);
        }
        if let Some(text) = &self.error {
            counters.errors.add(1);
            counters.commands.error(text);
            counters.commands.failed(spec);
        }
        counters.count_lookups(self.lookups);
    }
}

/// Whether anything watched has changed. The keys are locked.
pub(crate) fn has_changed(watched: &Watched, txn: &mut dyn CrossTxn) -> kvcore::Result<bool> {
    for (keyspace, keys) in watched.keys.values() {
        txn.select(keyspace.hooks().id())?;
        for (key, _) in keys.iter().filter(|(_, existed)| **existed) {
            if txn.peek(key)?.is_none() {
                return Ok(true);
            }
        }
    }
    Ok(watched.mark.is_set())
}

/// One queued command, under the locks of all.
///
/// # Errors
///
/// Only that the transaction takes too much work for a loop: any other failure is the command's reply.
fn execute(spec: &'static Spec, request: &OwnedRequest, ctx: &mut Context<'_>) -> kvcore::Result<Reply> {
    if ctx.session.tracking.is_some() {
        ctx.session.remember_keys(spec, request.as_request(), ctx.server);
    }
    let args = Args::new(request.as_request());
    let outcome = match (run_of(request.as_request(), ctx.runs), &mut ctx.txn) {
        (Some(Run::Read(run, _)), Some(txn)) => run(args, &**txn),
        (Some(Run::Store(run)), Some(txn)) => run(args, &mut **txn),
        (Some(Run::Costly(run, _)), Some(txn)) => run(args, &mut **txn, &ctx.server.tuning),
        (Some(Run::Walk(run)), Some(txn)) => run(args, txn.as_walk()),
        (Some(Run::Session(run)), _) => run(args, ctx),
        _ => Err(CommandError::unknown_command(request.as_request()).into()),
    };
    match outcome {
        Err(Failure::Store(error @ kvcore::Error::TooMuchWork)) => Err(error),
        outcome => Ok(outcome.unwrap_or_else(Reply::from)),
    }
}
