//! Connections whose next request waits for the end of CLIENT PAUSE.
//!
//! Invariant: each of them is in the loop's list, and the loop does not sleep past the end of the pause.

use std::time::Instant;

use super::EventLoop;
use crate::connection::Phase;

impl EventLoop {
    /// When paused connections go on, if there are any.
    pub(super) fn paused_until(&self) -> Option<Instant> {
        if self.paused.is_empty() { None } else { Some(self.server().pause.until(self.now).unwrap_or(self.now)) }
    }

    /// Lets paused connections try again once the pause has ended or changed.
    pub(super) fn resume_paused(&mut self) {
        if self.paused.is_empty() {
            return;
        }
        self.server().pause.until(self.now);
        let changes = self.server().pause.changes();
        if changes == self.pause_changes {
            return;
        }
        self.pause_changes = changes;
        for slot in std::mem::take(&mut self.paused) {
            if let Some(connection) = self.connections.get_mut(slot).and_then(Option::as_deref_mut)
                && connection.phase == Phase::Paused
            {
                connection.phase = Phase::Open;
                self.schedule(slot);
            }
        }
    }
}
