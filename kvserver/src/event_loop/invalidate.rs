//! Tells clients of this loop what has changed of what they track.
//!
//! Invariant: a message that its receiver cannot get is not lost silently: if messages are redirected, who tracks is
//! told that this has come to an end.

use std::sync::atomic::Ordering::Relaxed;

use kvcore::Lsn;
use kvproto::Reply;
use kvproto::resp::Version;

use super::EventLoop;
use crate::connection::Connection;
use crate::execute::Executor;
use crate::mailbox::{Invalidation, Stale, What};
use crate::tracking::CHANNEL;

impl EventLoop {
    pub(super) fn invalidate(&mut self, invalidation: Invalidation) {
        self.server().mailboxes.delivered(invalidation.cost());
        match self.take_addressed(invalidation.to) {
            Some(mut connection) => {
                // It may have turned tracking off meanwhile.
                let tracks = invalidation.tracker.is_some() || connection.session.tracking.is_some();
                if tracks && !connection.ends() {
                    self.executor.round.begin(invalidation.to.slot);
                    self.executor.invalidate(&mut connection, &invalidation);
                }
                self.connections[invalidation.to.slot] = Some(connection);
            }
            None => {
                if let Some(tracker) = invalidation.tracker {
                    let broken = Invalidation::redirect_broken(tracker, invalidation.to.client_id);
                    self.server().mailboxes.invalidate(broken);
                }
            }
        }
    }
}

impl Executor {
    /// Writes the message in the connection's language, if that has one for it.
    pub(crate) fn invalidate(&mut self, connection: &mut Connection, invalidation: &Invalidation) {
        let session = &connection.session;
        let resp3 = session.version == Version::Resp3;
        let words = match &invalidation.what {
            What::RedirectBroken(id) => {
                session.client.shown.redirect_broken.store(true, Relaxed);
                resp3.then(|| vec![Reply::bulk("tracking-redir-broken"), Reply::count(*id)])
            }
            What::Stale(stale) => {
                let keys = || match stale {
                    Stale::Keys(keys) => Reply::bulks(keys.iter().map(|key| &**key)),
                    Stale::All => Reply::Nil,
                };
                if resp3 {
                    Some(vec![Reply::bulk("invalidate"), keys()])
                } else if invalidation.tracker.is_some() && session.is_subscribed() {
                    Some(vec![Reply::bulk("message"), Reply::bulk(CHANNEL), keys()])
                } else {
                    None
                }
            }
        };
        if let Some(words) = words {
            let lsn = if self.server.is_gated() { invalidation.lsn } else { Lsn::ZERO };
            connection.session.was_told = true;
            self.reply(connection, None, &Reply::Push(words), lsn);
        }
    }
}
