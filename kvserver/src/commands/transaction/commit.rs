//! EXEC's transaction: what it locks, how the queued commands run in it, and what follows its commit.
//!
//! Invariant: the store may run the commands several times, and only the last run counts. What a run changes of the session is a
//! part of [`SessionState`], which each run begins with; what it announces, counts and shows to monitors is collected in an
//! [`RunResult`], and follows the commit. What cannot be undone is done once: see [`Journal`].

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;

use kvcommands::{CommandFn, Databases, Needs};
use kvcore::hooks::{CrossTxn, Lookups, Lsn};
use kvcore::{Keyspace, LockSet};
use kvproto::resp::Version;
use kvproto::spec::Trait;
use kvproto::{Args, CommandError, OwnedRequest, Reply, Request, Spec, resp, spec};

use crate::acl::Access;
use crate::commands::{connection, monitor};
use crate::context::call_record::CallRecord;
use crate::context::{Context, DispatchTable, InExec, Next, ServerCommand};
use crate::notify::events;
use crate::notify::exec::{Queue, RanCommand};
use crate::notify::origin::Origin;
use crate::notify::pubsub::Announcement;
use crate::session::{Session, Subscriptions, Watched};
use crate::state::ServerState;
use kvcommands::events::EventTxn;
use kvcommands::outcome::Failure;
use kvcommands::outcome::REPLY_BYTES_MAX;

/// Where a transaction runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// On a loop, unless it takes more work than this.
    Loop(u64),
    /// On a loop, whatever work it takes: what it does concerns the connection or the server beside the store.
    LoopToTheEnd,
    /// On a thread for such work, on a draft.
    Draft,
}

/// Returns whether all that is queued can run on a draft: without the connection, and without a whole keyspace.
pub(super) fn may_run_elsewhere(queue: &Queue, table: &DispatchTable) -> bool {
    queue.commands.iter().all(|(_, request)| match run_of(request.as_request(), table) {
        Some(ServerCommand::Store(CommandFn::Scan(_))) => false,
        Some(ServerCommand::Store(CommandFn::Across(needs, _))) => {
            !matches!(needs(Args::new(request.as_request()), 0), Ok(Needs::Whole(_) | Needs::Everything))
        }
        Some(ServerCommand::Store(_)) => true,
        Some(ServerCommand::Session(_, in_exec)) => in_exec == InExec::Anywhere,
        None => false,
    })
}

/// What EXEC locks.
struct Locks<'q> {
    /// The keyspace that it starts in was added first.
    set: LockSet<'q>,
    /// What FLUSHALL empties, and DEBUG looks at, if they are among the commands: all keyspaces, locked whole.
    everything: Vec<Keyspace>,
}

/// Returns what the queued commands touch, following each SELECT on the way.
fn locks_of<'q>(
    queue: &'q Queue,
    session: &Session,
    server: &ServerState,
    table: &DispatchTable,
) -> kvcore::Result<Locks<'q>> {
    let mut set = LockSet::new();
    let mut keyspace = session.keyspace.clone();
    let mut database = session.database;
    let mut touches_everything = false;
    set.add_keys::<[u8]>(&keyspace, []);
    for (spec, request) in &queue.commands {
        let request = request.as_request();
        let keys = || spec.keys(request).map(|(_, key)| key);
        match run_of(request, table) {
            Some(ServerCommand::Store(CommandFn::Pure(_))) | None => {}
            Some(ServerCommand::Store(CommandFn::Scan(_))) => set.add_whole(&keyspace),
            Some(ServerCommand::Store(CommandFn::Across(needs, _))) => match needs(Args::new(request), database) {
                Ok(Needs::Everything) => touches_everything = true,
                Ok(needs) => drop(server.databases.lock(needs, &mut set)?),
                // It locks nothing: its reply is the error.
                Err(_) => {}
            },
            Some(ServerCommand::Store(CommandFn::Read(..) | CommandFn::Write(_) | CommandFn::Costly(..))) => {
                set.add_keys(&keyspace, keys());
            }
            Some(ServerCommand::Session(..)) => {
                if let Some(selected) = connection::selected(spec, request) {
                    database = selected;
                    keyspace = server.databases.open(database)?;
                    set.add_keys::<[u8]>(&keyspace, []);
                }
                touches_everything |= spec.traits.has(Trait::ForTests);
                set.add_keys(&keyspace, keys());
            }
        }
    }
    // Only now, so that databases which SELECT has just created are among them.
    let everything = if touches_everything { server.db.keyspaces() } else { Vec::new() };
    everything.iter().for_each(|keyspace| set.add_whole(keyspace));
    Ok(Locks { set, everything })
}

/// How a queued command is carried out.
fn run_of(request: Request<'_>, table: &DispatchTable) -> Option<ServerCommand> {
    table.of(spec::lookup(request.name())?)
}

/// What EXEC has done that is not done again if its transaction is run again, by the place in the queue: commands that are
/// carried out [once](InExec::Once), and refusals, which are in the log of ACL LOG.
#[derive(Default)]
pub(super) struct Journal(BTreeMap<usize, Done>);

/// One entry of the journal.
struct Done {
    /// Put into its place after the commit.
    reply: Reply,
    outcome: CommandOutcome,
    /// What the session is after it.
    session: SessionState,
}

/// What a queued command came to beside its reply.
#[derive(Clone)]
struct CommandOutcome {
    /// Replies to send before its own.
    before: Vec<Reply>,
    /// Of all its replies.
    reply_bytes: usize,
    announcements: Vec<Announcement>,
    /// The first announcement is of a PUBLISH, whose reply is the number of its receivers.
    publishes: bool,
    /// A subscription has ended.
    has_left: bool,
    revealed: Lsn,
    /// It was CLIENT KILL of its own client.
    closes: bool,
    ran: RanCommand,
}

/// What a run of the queued commands came to.
#[derive(Default)]
struct RunResult {
    /// None if a watched key has changed.
    replies: Option<Vec<Reply>>,
    reply_bytes: usize,
    /// Replies that are in the journal: their places, and those of their commands in the queue.
    journaled: Vec<(usize, usize)>,
    /// PUBLISH and SPUBLISH: which announcement each made, and the place of its reply.
    published: Vec<(usize, usize)>,
    announcements: Vec<Announcement>,
    /// The place of the reply before which a subscription ended first.
    left_at: Option<usize>,
    /// What its commands show besides what is locked.
    revealed: Lsn,
    closes: bool,
    ran: Vec<RanCommand>,
}

impl RunResult {
    /// Adds what a command came to. `reply`: none if it is in the journal.
    fn add(&mut self, reply: Option<Reply>, outcome: CommandOutcome) {
        let CommandOutcome { reply_bytes, mut before, mut announcements, publishes, has_left, revealed, closes, ran } =
            outcome;
        let replies = self.replies.get_or_insert_default();
        if has_left {
            self.left_at = self.left_at.or(Some(replies.len()));
        }
        replies.append(&mut before);
        if reply.is_none() {
            self.journaled.push((replies.len(), ran.at));
        }
        if publishes {
            self.published.push((self.announcements.len(), replies.len()));
        }
        replies.push(reply.unwrap_or_default());
        self.announcements.append(&mut announcements);
        self.reply_bytes += reply_bytes;
        self.revealed = self.revealed.max(revealed);
        self.closes |= closes;
        self.ran.push(ran);
        if self.reply_bytes > REPLY_BYTES_MAX {
            // The client can only be sent that it was done.
            replies.clear();
        }
    }

    /// Returns the reply of EXEC. `receivers`: how many each announcement has; `posted`: what was sent to the client before
    /// its subscription ended, which becomes a part of the reply unless that is too large.
    fn into_reply(self, receivers: &[usize], mut journal: Journal, posted: &mut Vec<Reply>) -> Reply {
        let Some(mut replies) = self.replies else { return Reply::NilArray };
        let posted_bytes = posted.iter().map(Reply::payload_bytes).sum::<usize>();
        if self.reply_bytes + posted_bytes > REPLY_BYTES_MAX {
            return Reply::error(format!(
                "ERR the transaction was executed, but its replies are larger than {REPLY_BYTES_MAX} bytes"
            ));
        }
        for (at, command) in self.journaled {
            if let (Some(place), Some(done)) = (replies.get_mut(at), journal.0.remove(&command)) {
                *place = done.reply;
            }
        }
        for (announcement, at) in self.published {
            if let (Some(place), Some(count)) = (replies.get_mut(at), receivers.get(announcement)) {
                *place = Reply::count(*count);
            }
        }
        if let Some(at) = self.left_at {
            // Where Redis sends them: behind SUBSCRIBE's reply, and before that of UNSUBSCRIBE.
            replies.splice(at..at, posted.drain(..));
        }
        Reply::Array(replies)
    }
}

/// What each run of the queued commands goes by.
struct Exec<'e> {
    queue: &'e Queue,
    watched: Option<&'e Watched>,
    server: &'e ServerState,
    table: &'e DispatchTable,
    origin: &'e Origin,
    everything: &'e [Keyspace],
    place: Place,
    /// The session as it was before the first run.
    before: SessionState,
}

impl Exec<'_> {
    /// Runs the queued commands, as if they had not been run yet.
    ///
    /// # Errors
    ///
    /// Returns what ends the transaction: that it takes too much work for a loop, or that nobody waits for it.
    fn run(&self, session: &mut Session, txn: &mut dyn CrossTxn, journal: &mut Journal) -> kvcore::Result<RunResult> {
        // What a run before this one announced was not done.
        self.origin.announce(Vec::new());
        self.before.begin_again(session);
        if let Place::Loop(work_max) = self.place {
            txn.limit_work(work_max);
        }
        let mut result = RunResult::default();
        if let Some(watched) = self.watched
            && has_changed(watched, txn)?
        {
            return Ok(result);
        }
        txn.select(self.before.keyspace.hooks().id())?;
        result.replies = Some(Vec::with_capacity(self.queue.commands.len()));
        for (at, (spec, request)) in self.queue.commands.iter().enumerate() {
            if self.place == Place::Draft && (self.server.ended.load(Relaxed) || session.client.is_killed()) {
                return Err(kvcore::Error::aborted("nobody waits for it"));
            }
            if let Some(done) = journal.0.get(&at) {
                done.session.restore(session);
                result.add(None, done.outcome.clone());
                continue;
            }
            let (reply, outcome, is_done) = self.run_one(at, spec, request, session, txn)?;
            if is_done {
                let session = SessionState::of(session, self.before.subscriptions.is_some());
                journal.0.insert(at, Done { reply, outcome: outcome.clone(), session });
                result.add(None, outcome);
            } else {
                result.add(Some(reply), outcome);
            }
            if result.reply_bytes > REPLY_BYTES_MAX {
                journal.0.values_mut().for_each(|done| done.reply = Reply::Nothing);
            }
        }
        self.origin.announce(std::mem::take(&mut result.announcements));
        Ok(result)
    }

    /// Runs one command. Returns its reply, what it came to beside that, and whether it must not be run again.
    fn run_one(
        &self,
        at: usize,
        spec: &'static Spec,
        request: &OwnedRequest,
        session: &mut Session,
        txn: &mut dyn CrossTxn,
    ) -> kvcore::Result<(Reply, CommandOutcome, bool)> {
        let (server, words) = (self.server, request.as_request());
        txn.begin_command(session.uses_keys_of(spec));
        let looked_up = txn.lookups();
        let database_of = |id| server.databases.with_id(id);
        let mut noted =
            EventTxn::new(txn, spec, words, session.database, server.notify.audience.wanted().events(), &database_of);
        let mut one = Context::new(session, server, self.table, self.origin, spec);
        one.txn = Some(&mut noted);
        one.everything = self.everything;
        let begun = server.slow.clock().raw();
        let refusal = one.session.refused_at_exec(spec, words, server);
        let is_once = matches!(run_of(words, self.table), Some(ServerCommand::Session(_, InExec::Once)));
        let is_done = refusal.is_some() || is_once;
        let reply = match refusal {
            Some(error) => error.into(),
            None => execute(spec, request, &mut one)?,
        };
        let ticks = server.slow.clock().raw().saturating_sub(begun);
        let mut ran = RanCommand::new(at, &one, words, &reply, ticks);
        let Context { before, mut announcements, has_left, lsn, next, .. } = one;
        let publishes = matches!(announcements[..], [Announcement::Publish(_)]);
        announcements.extend(events::announcements(noted.finish()));
        ran.lookups = txn.lookups().since(looked_up);
        let reply_bytes = before.iter().chain([&reply]).map(Reply::payload_bytes).sum();
        let closes = matches!(next, Next::Close);
        Ok((
            reply,
            CommandOutcome { before, reply_bytes, announcements, publishes, has_left, revealed: lsn, closes, ran },
            is_done,
        ))
    }
}

/// Executes the queue as one transaction; `NilArray` if a watched key has changed.
pub(super) fn commit(
    queue: &Queue,
    watched: Option<&Watched>,
    ctx: &mut Context<'_>,
    place: Place,
    journal: &mut Journal,
) -> Result<(Reply, Vec<RanCommand>), Failure> {
    let Locks { set: mut locks, everything } = locks_of(queue, ctx.session, ctx.server, ctx.table)?;
    for (keyspace, keys) in watched.iter().flat_map(|watched| watched.keys.values()) {
        locks.add_keys(keyspace, keys.keys().map(|key| &**key));
    }
    let changes_subscriptions = |spec: &Spec| spec.traits.has(Trait::ChangesSubscriptions);
    let keeps_subscriptions = queue.commands.iter().any(|(spec, _)| changes_subscriptions(spec));
    let (server, origin) = (ctx.server, ctx.origin);
    let exec = Exec {
        queue,
        watched,
        server,
        table: ctx.table,
        origin,
        everything: &everything,
        place,
        before: SessionState::of(ctx.session, keeps_subscriptions),
    };
    let mut result = RunResult::default();
    let session = &mut *ctx.session;
    let mut body = |txn: &mut dyn CrossTxn| {
        result = exec.run(session, txn, journal)?;
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
    let seen = ctx.session.seen;
    let receivers = server.notify.audience.publish(origin, committed.as_ref().ok().map(|lsn| seen.max(*lsn)));
    let lsn = match committed {
        Ok(lsn) => lsn,
        Err(error) => {
            exec.before.begin_again(ctx.session);
            return Err(error.into());
        }
    };
    ctx.lsn = if server.awaits_durability() { result.revealed.max(lsn) } else { result.revealed };
    if result.closes {
        ctx.next = Next::Close;
    }
    if server.notify.audience.wanted().is_monitored() {
        for this in &result.ran {
            let Some((spec, request)) = queue.commands.get(this.at) else { continue };
            monitor::show(spec, request.as_request(), this.database, ctx.lsn, ctx.session, server);
        }
    }
    let ran = std::mem::take(&mut result.ran);
    let mut posted = if result.left_at.is_some() { ctx.take_posted() } else { Vec::new() };
    let reply = result.into_reply(&receivers, std::mem::take(journal), &mut posted);
    ctx.before.append(&mut posted);
    Ok((reply, ran))
}

/// What the queued commands may change of their session, except for what is in the journal: each run begins with it, and so does
/// what follows a failure.
struct SessionState {
    database: usize,
    keyspace: Keyspace,
    access: Access,
    version: Version,
    /// Of a transaction that changes them.
    subscriptions: Option<Option<Box<Subscriptions>>>,
    leaves_untouched: bool,
    /// By CLIENT CACHING.
    announced: bool,
}

impl SessionState {
    fn of(session: &Session, keeps_subscriptions: bool) -> SessionState {
        SessionState {
            database: session.database,
            keyspace: session.keyspace.clone(),
            access: session.access.clone(),
            version: session.version,
            subscriptions: keeps_subscriptions.then(|| session.subscriptions.clone()),
            leaves_untouched: session.leaves_untouched,
            announced: session.tracking.as_ref().is_some_and(|tracking| tracking.announced),
        }
    }

    /// Makes the session what it was before the transaction was run.
    fn begin_again(&self, session: &mut Session) {
        self.restore(session);
        if let Some(tracking) = &mut session.tracking {
            tracking.begin_reads_again();
        }
    }

    fn restore(&self, session: &mut Session) {
        (session.database, session.keyspace) = (self.database, self.keyspace.clone());
        if session.access.account().name != self.access.account().name {
            session.client.act_as(self.access.account());
        }
        session.access = self.access.clone();
        session.version = self.version;
        session.leaves_untouched = self.leaves_untouched;
        let shown = &session.client.shown;
        shown.database.store(self.database, Relaxed);
        shown.resp3.store(self.version == Version::Resp3, Relaxed);
        shown.no_touch.store(self.leaves_untouched, Relaxed);
        if let Some(subscriptions) = &self.subscriptions {
            session.subscriptions = subscriptions.clone();
            session.show_subscriptions();
        }
        if let Some(tracking) = &mut session.tracking {
            tracking.announced = self.announced;
        }
    }
}

impl RanCommand {
    fn new(at: usize, ctx: &Context<'_>, request: Request<'_>, reply: &Reply, ticks: u64) -> RanCommand {
        // Its encoded reply is never longer.
        let request_bytes = request.resp_bytes();
        let is_large = request_bytes.max(reply.payload_bytes()) >= ctx.server.slow.large_bytes();
        let large = is_large.then(|| [request_bytes, resp::encoded_len(reply, ctx.session.version)]);
        let error = if let Reply::Error(text) = reply { Some(text.clone()) } else { None };
        let database = ctx.session.database;
        RanCommand { at, database, ticks, lookups: Lookups::default(), error, large }
    }

    /// Counts it. Only on the client's loop.
    pub(super) fn count(&self, queue: &Queue, session: &Session, server: &ServerState) {
        let Some((spec, request)) = queue.commands.get(self.at) else { return };
        let Some(counters) = server.statistics.loops.get(session.address.loop_index) else { return };
        session.count_command();
        let ran = CallRecord { spec, request: request.as_request(), client: &session.client, ticks: self.ticks };
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
    let outcome = match (run_of(request.as_request(), ctx.table), &mut ctx.txn) {
        (Some(ServerCommand::Store(CommandFn::Read(run, _))), Some(txn)) => run(args, &**txn),
        (Some(ServerCommand::Store(CommandFn::Write(run))), Some(txn)) => run(args, &mut **txn),
        (Some(ServerCommand::Store(CommandFn::Costly(run, _))), Some(txn)) => {
            run(args, &mut **txn, &ctx.server.runtime.of_commands())
        }
        (Some(ServerCommand::Store(CommandFn::Scan(run))), Some(txn)) => run(args, txn.as_scan()),
        (Some(ServerCommand::Store(CommandFn::Across(_, run))), Some(txn)) => {
            let all: Vec<u32> = ctx.everything.iter().map(|keyspace| keyspace.hooks().id()).collect();
            let id_of = |index| ctx.server.databases.id_of(index);
            let databases = Databases { selected: ctx.session.database, id_of: &id_of, all: &all };
            let outcome = run(args, &mut **txn, &databases);
            // Whatever came of it, what follows is about the session's own database.
            txn.select(ctx.session.keyspace.hooks().id())?;
            outcome
        }
        (Some(ServerCommand::Store(CommandFn::Pure(run))), _) => run(args, spec),
        (Some(ServerCommand::Session(run, _)), _) => run(args, ctx),
        _ => Err(CommandError::unknown_command(request.as_request()).into()),
    };
    match outcome {
        Err(Failure::Store(error @ kvcore::Error::TooMuchWork)) => Err(error),
        outcome => Ok(outcome.unwrap_or_else(Reply::from)),
    }
}
