//! How a command is carried out, and what a session command sees of its surroundings: its client's session, the
//! server, and inside EXEC the locked stores.
//!
//! Invariant: a context lives for one command. What the command leaves in it takes effect when the command has ended.

pub(crate) mod call_record;
pub(crate) mod jobs;
pub(crate) mod secrets;

use kvcommands::CommandFn;
use kvcore::Keyspace;
use kvcore::hooks::{CrossTxn, Lookups, Lsn};
use kvproto::resp::Version;
use kvproto::{Args, Reply, Spec, spec};

use crate::context::jobs::Work;
use crate::notify::mailbox::Posted;
use crate::notify::origin::Origin;
use crate::notify::pubsub::Announcement;
use crate::session::Session;
use crate::state::ServerState;
use kvcommands::outcome::Outcome;

/// How a command is carried out.
#[derive(Clone, Copy)]
pub enum ServerCommand {
    /// Concerns the keys of a database alone.
    Store(CommandFn),
    /// Concerns the session or the server.
    Session(fn(Args<'_>, &mut Context<'_>) -> Outcome, InExec),
}

/// How EXEC carries out a command that concerns the session or the server. What the store runs may be run again, and only the
/// last run counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InExec {
    /// It is repeatable, and needs no more than the keys that it names: it may run on a draft, away from its connection.
    Anywhere,
    /// It is repeatable, but needs its connection, or whole keyspaces.
    OnLoop,
    /// It is carried out once, at its place among the others: a transaction that is run again takes the reply of the first
    /// run, and one that fails does not undo it. (So the second run of a command before a CONFIG SET goes by what that has set.)
    Once,
}

/// The dispatch table: how each command is carried out.
pub(crate) struct DispatchTable(Vec<Option<ServerCommand>>);

impl DispatchTable {
    /// `run_of`: the function behind the row of that name; none if the row is marked unsupported.
    pub(crate) fn new(run_of: fn(&str) -> Option<ServerCommand>) -> DispatchTable {
        DispatchTable(spec::COMMANDS.iter().map(|spec| run_of(spec.name)).collect())
    }

    /// `top`: a row of the table, not one of a subcommand.
    #[inline]
    pub(crate) fn of(&self, top: &Spec) -> Option<ServerCommand> {
        self.0.get(top.index()).copied().flatten()
    }
}

/// Everything a session command may look at and change.
pub(crate) struct Context<'c> {
    pub(crate) session: &'c mut Session,
    pub(crate) server: &'c ServerState,
    /// How EXEC carries out what was queued.
    pub(crate) table: &'c DispatchTable,
    /// Of what the command changes.
    pub(crate) origin: &'c Origin,
    /// The command, or subcommand, that runs.
    pub(crate) spec: &'static Spec,
    /// Inside EXEC: the locked view. What it locks must not be looked at any other way: the store refuses most such
    /// calls, and the rest, [`kvcore::Db::keyspaces`] and [`kvcore::Db::stats`] among them, could wait for ever.
    pub(crate) txn: Option<&'c mut dyn CrossTxn>,
    /// Inside EXEC, if it has a FLUSHALL or DEBUG: all keyspaces, which it has locked whole.
    pub(crate) everything: &'c [Keyspace],
    /// Replies to send before the one the command returns, in the protocol version that was spoken when it began;
    /// SUBSCRIBE replies once a channel.
    pub(crate) before: Vec<Reply>,
    /// What the client was when the command began.
    pub(crate) version: Version,
    pub(crate) subscribed: bool,
    /// Inside EXEC: what subscribers and the table of subscriptions learn once it is committed.
    pub(crate) announcements: Vec<Announcement>,
    /// Inside EXEC: a subscription has ended, and [`Context::take_posted`] is due.
    pub(crate) has_left: bool,
    /// The newest change the answer reveals.
    pub(crate) lsn: Lsn,
    /// The key lookups that count, outside EXEC.
    pub(crate) lookups: Lookups,
    pub(crate) next: Next,
}

/// What happens to the connection after the reply.
#[derive(Default)]
pub(crate) enum Next {
    /// Its next request is executed.
    #[default]
    Continue,
    /// It is closed once its replies have left.
    Close,
    /// It waits, and nothing more of it is executed, until the work is done elsewhere.
    Park(Work),
    /// The request was not executed: it is read again when the pause is over.
    AwaitPause,
    /// The request was not executed: it is read again when there is room for what it writes.
    AwaitRoom,
}

impl<'c> Context<'c> {
    /// Notes that the reply shows something of all that was written. Once writes are refused the newest change may never
    /// become durable, and such a reply is how an operator learns why: it is then sent at once.
    ///
    /// Called after the store was looked at, so that no change comes in between.
    pub(crate) fn reveal_everything(&mut self) {
        if self.server.db.health().is_ok() {
            self.lsn = self.lsn.max(self.server.newest());
        }
    }

    /// Delivers what was posted to this client before the reply; inside EXEC, when that is committed. Called when a
    /// subscription has ended: PUBLISH counted this client as a receiver of what was posted before, and no more can follow.
    pub(crate) fn deliver_posted(&mut self) {
        if self.txn.is_some() {
            self.has_left = true;
        } else {
            let posted = self.take_posted();
            self.before.extend(posted);
        }
    }

    /// Takes what was posted to this client, as it is sent; the reply waits for what that may rest on.
    pub(crate) fn take_posted(&mut self) -> Vec<Reply> {
        let session = &mut *self.session;
        let mut replies = Vec::new();
        for posted in self.server.notify.mailboxes.take_of(session.address, &mut session.searched) {
            if session.client.is_killed() {
                continue;
            }
            let (reply, lsn) = match posted {
                Posted::Message(message) => (Some(message.as_reply()), message.lsn),
                Posted::Invalidation(invalidation) => {
                    (session.invalidated(&invalidation, self.version, self.subscribed), invalidation.lsn)
                }
            };
            if let Some(reply) = reply {
                replies.push(reply);
                self.lsn = if self.server.awaits_durability() { self.lsn.max(lsn) } else { self.lsn };
            }
        }
        replies
    }

    pub(crate) fn new(
        session: &'c mut Session,
        server: &'c ServerState,
        table: &'c DispatchTable,
        origin: &'c Origin,
        spec: &'static Spec,
    ) -> Context<'c> {
        Context {
            version: session.version,
            subscribed: session.is_subscribed(),
            session,
            server,
            table,
            origin,
            spec,
            txn: None,
            everything: &[],
            before: Vec::new(),
            announcements: Vec::new(),
            has_left: false,
            lsn: Lsn::ZERO,
            lookups: Lookups::default(),
            next: Next::Continue,
        }
    }
}
