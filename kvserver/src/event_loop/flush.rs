//! The last part of an iteration: what was answered leaves, or waits in its connection's outbox for the socket or the log.
//!
//! Invariant: a connection with something in its outbox is in one of three lists of the loop until that is empty:
//! awaiting durability (the log will tell), or known to the poll (the socket will tell), or closing.

use std::sync::atomic::Ordering::Relaxed;

use kvcore::hooks::Lsn;

use super::EventLoop;
use crate::event_loop::connection::{Connection, Phase};
use kvcommands::outcome::store_error;

/// Replies gathered before they are written, in bytes: those of many clients, so that they are written together, and not
/// of all clients, who may each have asked for much.
const REPLY_BATCH_BYTES_MAX: usize = 1024 * 1024;

impl EventLoop {
    /// Writes the replies gathered so far if they are many.
    #[inline]
    pub(super) fn bound_replies(&mut self) {
        if self.executor.replies.len() > REPLY_BATCH_BYTES_MAX {
            self.write_replies();
        }
    }

    /// Writes the gathered replies, one write a connection, and asks the log for what they wait for.
    pub(super) fn write_replies(&mut self) {
        if self.executor.replies.len() == 0 {
            self.executor.replies.clear();
            return;
        }
        let batch = std::mem::take(&mut self.executor.replies);
        let durable = self.durable();
        let parts = batch.parts();
        let mut newest = Lsn::ZERO;
        let mut at = 0;
        while at < parts.len() {
            let slot = parts[at].slot;
            let end = parts[at..].iter().position(|part| part.slot != slot).map_or(parts.len(), |next| at + next);
            let waiting = parts[at..end].iter().position(|part| part.lsn > durable).map_or(end, |first| at + first);
            if let Some(mut connection) = self.connections.get_mut(slot).and_then(Option::take) {
                let mut ready = batch.pieces(at..waiting).peekable();
                if ready.peek().is_some() {
                    let sent = connection.send(ready);
                    self.counters().writes.add(1);
                    self.counters().output_bytes.add(sent as u64);
                }
                for (index, part) in parts.iter().enumerate().take(end).skip(waiting) {
                    batch.pieces(index..index + 1).for_each(|piece| connection.outbox.push(piece, part.lsn));
                    newest = newest.max(part.lsn);
                }
                self.put_back(slot, connection);
            }
            at = end;
        }
        if newest > durable {
            self.server().db.hooks().request_sync(newest);
        }
        self.executor.replies = batch;
        self.executor.replies.clear();
    }

    /// Up to where replies may leave.
    fn durable(&self) -> Lsn {
        self.server().sendable_lsn()
    }

    /// Puts a connection back after its output changed, into the lists it now belongs to.
    fn put_back(&mut self, slot: usize, mut connection: Box<Connection>) {
        if !connection.outbox.is_empty() {
            let known = connection.session.access.is_authenticated(&self.executor.server.acl);
            if connection.enforce(&self.executor.bounds.output, known, self.now) {
                self.server().statistics.ended_by_output_limit.fetch_add(1, Relaxed);
            }
            if !connection.awaits_durability && connection.outbox.waits_for().is_some() {
                connection.awaits_durability = true;
                self.queues.awaiting_durability.push(slot);
            }
            self.show(&mut connection);
        }
        if connection.phase != Phase::Open {
            self.queues.closing.push(slot);
        }
        self.connections[slot] = Some(connection);
    }

    /// Sends what a connection's outbox may send now.
    pub(super) fn flush(&mut self, slot: usize) {
        let durable = self.durable();
        if let Some(mut connection) = self.connections.get_mut(slot).and_then(Option::take) {
            if !connection.outbox.is_empty() {
                let sent = connection.flush(durable);
                self.counters().writes.add(1);
                self.counters().output_bytes.add(sent as u64);
                self.show(&mut connection);
            }
            self.put_back(slot, connection);
            self.schedule(slot);
        }
    }

    /// Sends what became durable. If the log has failed or has no space, what is left may never be: say so and close.
    pub(super) fn send_durable(&mut self) {
        if self.queues.awaiting_durability.is_empty() {
            return;
        }
        let durable = self.durable();
        let failure = if durable > self.durable_seen { None } else { self.server().log_failure() };
        self.durable_seen = durable;
        for slot in std::mem::take(&mut self.queues.awaiting_durability) {
            let Some(connection) = self.connections.get_mut(slot).and_then(Option::as_deref_mut) else {
                continue;
            };
            connection.awaits_durability = false;
            if connection.outbox.waits_from().is_some_and(|lsn| lsn <= durable) {
                self.flush(slot);
            } else if connection.outbox.waits_for().is_some() {
                connection.awaits_durability = true;
                self.queues.awaiting_durability.push(slot);
            }
        }
        if let Some(error) = failure {
            // Replies and messages of this iteration go behind what waits for the log already, and are lost with it. Sent later,
            // the reply of a job would be taken for that of the write before it.
            self.write_replies();
            for slot in std::mem::take(&mut self.queues.awaiting_durability) {
                self.fail_awaiting(slot, &error);
            }
        }
    }

    /// What was answered may be lost, so the answer is not sent; that it may be lost is. An answer that is durable, and
    /// waits for the socket alone, is kept.
    fn fail_awaiting(&mut self, slot: usize, error: &kvcore::Error) {
        // More may have become durable since the log was asked.
        self.flush(slot);
        if let Some(mut connection) = self.connections.get_mut(slot).and_then(Option::take) {
            connection.awaits_durability = false;
            if connection.outbox.waits_for().is_none() || connection.phase == Phase::Broken {
                return self.put_back(slot, connection);
            }
            connection.outbox.discard_awaiting();
            connection.phase = Phase::Closing;
            self.executor.replies.begin(slot);
            self.executor.reply(&mut connection, None, &store_error(error), Lsn::ZERO);
            self.put_back(slot, connection);
        }
    }

    /// Forgets the connections that are over.
    pub(super) fn close_finished(&mut self) {
        for slot in std::mem::take(&mut self.queues.closing) {
            let Some(connection) = self.connections.get_mut(slot).and_then(Option::as_deref_mut) else { continue };
            if connection.is_over() {
                self.forget(slot);
            } else if connection.ends() {
                connection.session.depart(&self.executor.server);
            }
        }
    }

    pub(super) fn forget(&mut self, slot: usize) {
        if let Some(mut connection) = self.connections.get_mut(slot).and_then(Option::take) {
            connection.session.end(&self.executor.server);
            let held = &self.counters().held_bytes;
            held.set(held.get().saturating_sub(connection.held_bytes() as u64));
            if connection.scheduled {
                // Whoever has this place next must not get its time slice.
                self.queues.ready.retain(|queued| *queued != slot);
                self.queues.unfinished.retain(|queued| *queued != slot);
            }
            // Not used again before the iteration is over: an event of the old connection may still be in the list.
            self.free.push(slot);
        }
    }
}
