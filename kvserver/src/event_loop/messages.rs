//! What other threads tell a loop, and what it does about it.
//!
//! Invariant: a message for a connection that is gone, or has another client by now, is for nobody.

use std::sync::Arc;

use kvcore::hooks::Lsn;
use mio::Token;

use super::EventLoop;
use crate::clients::Address;
use crate::commands::monitor;
use crate::event_loop::connection::{Connection, Phase};
use crate::net::listener::Protocol;
use crate::net::stream::Stream;
use crate::notify::mailbox::{Changed, Costly, Done, LoopMessage, Message};
use crate::notify::tracking::ReadKeys;
use crate::session::Session;

impl EventLoop {
    pub(super) fn handle(&mut self, message: LoopMessage) {
        match message {
            LoopMessage::Accepted(stream, protocol) => self.admit(stream, protocol),
            LoopMessage::Published(message, to) => self.push(&message, &to),
            LoopMessage::Done(done) => self.resume(*done),
            LoopMessage::Kill(address) => self.kill(address),
            LoopMessage::Invalidated(invalidation) => self.invalidate(*invalidation),
            LoopMessage::Changed => self.server().notify.tracking.invalidate_foreign(&self.server().clients),
            // It was only to wake this loop, which looks at the pause in each iteration.
            LoopMessage::Unpaused => {}
            LoopMessage::Users(changed) => self.disconnect_users(&changed),
            LoopMessage::Stop => self.begin_stop(),
        }
        self.bound_replies();
    }

    /// Ends the connections whose users do not let them go on.
    fn disconnect_users(&mut self, changed: &Changed) {
        for slot in 0..self.connections.len() {
            if let Some(connection) = self.connections[slot].as_deref_mut()
                && changed.accounts.iter().any(|account| Arc::ptr_eq(account, connection.session.access.account()))
                && connection.session.must_disconnect(&self.executor.server)
            {
                let answered = connection.session.client.id == changed.by;
                connection.phase = if answered { Phase::Closing } else { Phase::Broken };
                self.queues.closing.push(slot);
            }
        }
    }

    fn admit(&mut self, mut stream: Stream, protocol: Protocol) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() - 1
        });
        let registered = stream.register(self.poll.registry(), Token(slot));
        if registered.is_err() || self.stop_at.is_some() {
            self.free.push(slot);
            self.server().clients.leave();
            return;
        }
        let access = self.server().acl.newcomer();
        let client = self.server().clients.connect(&stream, self.index, slot, access.account().clone());
        let address = client.address;
        let keyspace = kvcore::Keyspace::clone(&self.server().db);
        let session = Session::new(client, address, keyspace, access);
        self.connections[slot] = Some(Box::new(Connection::new(stream, protocol, session)));
    }

    /// Takes a connection out of its place if it is still the one meant.
    pub(super) fn take_addressed(&mut self, address: Address) -> Option<Box<Connection>> {
        self.connections.get_mut(address.slot)?.take_if(|connection| connection.session.client.id == address.client_id)
    }

    fn push(&mut self, message: &Message, to: &[Address]) {
        self.server().notify.mailboxes.delivered(message.cost(to.len()));
        let reply = message.as_reply();
        let lsn = if self.server().awaits_durability() { message.lsn } else { Lsn::ZERO };
        for address in to {
            if let Some(mut connection) = self.take_addressed(*address) {
                // It is subscribed still: what was posted before a subscription ended was taken out when it did.
                if !connection.ends() && !connection.session.client.is_killed() {
                    self.executor.replies.begin(address.slot);
                    self.executor.reply(&mut connection, None, &reply, lsn);
                }
                self.connections[address.slot] = Some(connection);
                // For each of them: one message may be large, and its receivers many.
                self.bound_replies();
            }
        }
    }

    fn resume(&mut self, mut done: Done) {
        let costly = done.costly.take();
        let is_costly = costly.is_some();
        let Costly { changes, exec } = costly.unwrap_or_default();
        if !changes.is_empty() {
            self.executor.origin.add_changes(changes);
        }
        if let Some(mut connection) = self.take_addressed(done.to) {
            if connection.phase != Phase::Parked {
                // It was ended while it waited, and is not opened again: nobody is there to be answered.
                self.connections[done.to.slot] = Some(connection);
                self.queues.closing.push(done.to.slot);
                return self.invalidate_changes();
            }
            let request = done.request.as_request();
            let about = kvproto::spec::resolve(request).ok().map(|spec| (spec, request));
            self.executor.replies.begin(done.to.slot);
            self.executor.refresh_limits();
            let start = self.executor.replies.len();
            if let Some(exec) = exec {
                exec.apply(&mut connection.session, &self.executor.server);
            }
            self.executor.counters.count_lookups(done.lookups);
            self.executor.count(&connection, about, &done.reply, done.ticks);
            if is_costly
                && let Some((spec, request)) = about
                && self.server().notify.audience.wanted().is_monitored()
            {
                let session = &connection.session;
                monitor::show(spec, request, session.database, done.lsn, session, self.server());
            }
            self.executor.reply(&mut connection, about, &done.reply, done.lsn);
            self.executor.log_if_large(&connection, about, request.resp_bytes(), start, done.ticks);
            let again = match &connection.session.tracking {
                Some(tracking) if is_costly => {
                    let (server, own) = (&self.executor.server, connection.session.client.id);
                    server.notify.tracking.remember_again(&server.clients, own, &tracking.read)
                }
                _ => Vec::new(),
            };
            self.executor.after_request(&mut connection);
            for invalidation in again {
                self.executor.invalidate(&mut connection, &invalidation);
            }
            self.invalidate_changes();
            connection.phase = Phase::Open;
            connection.parked_bytes = 0;
            self.close_if_stopping(&mut connection);
            self.show(&mut connection);
            self.connections[done.to.slot] = Some(connection);
            self.schedule(done.to.slot);
            self.queues.closing.push(done.to.slot);
        } else {
            self.invalidate_changes();
        }
    }

    /// Looks up what a command has changed whose client tracks nothing, or is gone.
    fn invalidate_changes(&self) {
        let server = self.server();
        if server.notify.tracking.is_on() {
            server.notify.tracking.invalidate(&self.executor.origin, &server.clients, 0, &ReadKeys::new());
        }
    }

    pub(super) fn kill(&mut self, address: Address) {
        if let Some(mut connection) = self.take_addressed(address) {
            connection.phase = Phase::Broken;
            self.connections[address.slot] = Some(connection);
            self.queues.closing.push(address.slot);
        }
    }
}
