//! The end of a loop.
//!
//! Invariant: what was read before the end is executed and answered; a client that does not take its last replies holds
//! the end up no longer than [`STOP_GRACE`].

use super::EventLoop;
use crate::event_loop::connection::{Connection, Phase};
use crate::state::server_config::STOP_GRACE;

impl EventLoop {
    /// From now on nothing is accepted or read; what was read is executed and answered.
    pub(super) fn begin_stop(&mut self) {
        self.stop_at = Some(self.now + STOP_GRACE);
        self.accept = None;
        for slot in 0..self.connections.len() {
            if let Some(mut connection) = self.connections[slot].take() {
                self.close_if_stopping(&mut connection);
                if connection.ends() {
                    connection.session.depart(self.server());
                }
                self.connections[slot] = Some(connection);
                self.queues.closing.push(slot);
            }
        }
    }

    pub(super) fn close_if_stopping(&self, connection: &mut Connection) {
        if self.stop_at.is_some()
            && (connection.phase == Phase::Paused
                || (connection.phase == Phase::Open && !connection.has_runnable_input()))
        {
            connection.phase = Phase::Closing;
        }
    }

    pub(super) fn is_finished(&self) -> bool {
        self.stop_at.is_some_and(|at| self.free.len() == self.connections.len() || self.now >= at)
    }
}
