//! Connections whose next request waits: for the end of CLIENT PAUSE, or for room.
//!
//! Invariant: each of them is in the loop's list, and the loop does not sleep past the end of what it waits for.

use std::time::Instant;

use super::EventLoop;
use crate::event_loop::connection::Phase;

impl EventLoop {
    /// When paused connections go on, if there are any.
    pub(super) fn paused_until(&self) -> Option<Instant> {
        if self.queues.paused.is_empty() {
            None
        } else {
            Some(self.server().clients.pause.until(self.now).unwrap_or(self.now))
        }
    }

    /// Lets paused connections try again once the pause has ended or changed.
    pub(super) fn resume_paused(&mut self) {
        if self.queues.paused.is_empty() {
            return;
        }
        self.server().clients.pause.until(self.now);
        let changes = self.server().clients.pause.changes();
        if changes == self.pause_changes {
            return;
        }
        self.pause_changes = changes;
        for slot in std::mem::take(&mut self.queues.paused) {
            self.reopen(slot, Phase::Paused);
        }
    }

    /// Lets connections that wait for room try again once there is some.
    pub(super) fn resume_for_room(&mut self) {
        if self.queues.awaiting_room.is_empty() || self.server().is_backlogged() {
            return;
        }
        // The first may use up all the room, and would be the first again.
        self.queues.awaiting_room.rotate_left(1);
        for slot in std::mem::take(&mut self.queues.awaiting_room) {
            self.reopen(slot, Phase::AwaitsRoom);
        }
    }

    /// Lets a connection go on that waits, if it still does.
    fn reopen(&mut self, slot: usize, phase: Phase) {
        if let Some(connection) = self.connections.get_mut(slot).and_then(Option::as_deref_mut)
            && connection.phase == phase
        {
            connection.phase = Phase::Open;
            self.schedule(slot);
        }
    }
}
