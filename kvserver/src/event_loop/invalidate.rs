//! Tells clients of this loop what has changed of what they track.
//!
//! Invariant: a message that its receiver cannot get is not lost silently: if messages are redirected, who tracks is
//! told that this has come to an end.

use kvcore::hooks::Lsn;

use super::EventLoop;
use crate::event_loop::connection::Connection;
use crate::event_loop::execute::Executor;
use crate::notify::mailbox::{Invalidation, What};

impl EventLoop {
    pub(super) fn invalidate(&mut self, invalidation: Invalidation) {
        self.server().notify.mailboxes.delivered(invalidation.cost());
        match self.take_addressed(invalidation.to) {
            Some(mut connection) => {
                // That its redirection is broken may have been found after it turned tracking off.
                let is_late =
                    matches!(invalidation.what, What::RedirectBroken(_)) && connection.session.tracking.is_none();
                if !is_late && !connection.ends() {
                    self.executor.replies.begin(invalidation.to.slot);
                    self.executor.invalidate(&mut connection, &invalidation);
                }
                self.connections[invalidation.to.slot] = Some(connection);
            }
            None => {
                if let Some(tracker) = invalidation.tracker {
                    let broken = Invalidation::redirect_broken(tracker, invalidation.to.client_id);
                    self.server().notify.mailboxes.invalidate(broken);
                }
            }
        }
    }
}

impl Executor {
    /// Writes the message in the connection's language, if that has one for it.
    pub(crate) fn invalidate(&mut self, connection: &mut Connection, invalidation: &Invalidation) {
        let lsn = if self.server.awaits_durability() { invalidation.lsn } else { Lsn::ZERO };
        let (version, subscribed) = (connection.session.version, connection.session.is_subscribed());
        if let Some(reply) = connection.session.invalidated(invalidation, version, subscribed) {
            self.reply(connection, None, &reply, lsn);
        }
    }
}
