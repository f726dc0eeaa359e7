//! What a session command sees: its client's session, the server, and inside EXEC the locked stores.
//!
//! Invariant: a context lives for one command. What the command leaves in it takes effect when the command has ended.

use kvcore::{CrossTxn, Keyspace, Lsn};
use kvproto::{Reply, Spec};

use crate::offload::Work;
use crate::pubsub::Publication;
use crate::session::Session;
use crate::state::ServerState;

/// Everything a session command may look at and change.
pub(crate) struct Context<'c> {
    pub(crate) session: &'c mut Session,
    pub(crate) server: &'c ServerState,
    /// The command, or subcommand, that runs.
    pub(crate) spec: &'static Spec,
    /// Inside EXEC: the locked view. What it locks must not be looked at any other way: the store refuses most such
    /// calls, and the rest, [`kvcore::Db::keyspaces`] and [`kvcore::Db::stats`] among them, could wait for ever.
    pub(crate) txn: Option<&'c mut dyn CrossTxn>,
    /// Inside EXEC: all keyspaces the transaction claims; if it has a FLUSHALL or DEBUG, claimed whole.
    pub(crate) claimed: &'c [Keyspace],
    /// Replies to send before the one the command returns; SUBSCRIBE answers once a channel.
    pub(crate) before: Vec<Reply>,
    /// Inside EXEC: channels and messages to publish once it is committed.
    pub(crate) publications: Vec<Publication>,
    /// The newest change the answer reveals.
    pub(crate) lsn: Lsn,
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
    /// The request was not executed: it is executed when the pause is over.
    Postpone,
}

impl<'c> Context<'c> {
    pub(crate) fn new(session: &'c mut Session, server: &'c ServerState, spec: &'static Spec) -> Context<'c> {
        Context {
            session,
            server,
            spec,
            txn: None,
            claimed: &[],
            before: Vec::new(),
            publications: Vec::new(),
            lsn: Lsn::ZERO,
            next: Next::Continue,
        }
    }
}
