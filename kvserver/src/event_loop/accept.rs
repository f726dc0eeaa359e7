//! Accepting connections, on loop 0 for all loops: they are handed out in turn.
//!
//! Invariant: running out of file descriptors pauses accepting; it neither spins nor ends the server.

use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use kvproto::{Reply, line, resp};
use mio::{Interest, Registry, Token};

use crate::net::listener::{ListenSocket, Listener, Protocol};
use crate::net::stream::Stream;
use crate::notify::mailbox::LoopMessage;
use crate::state::ServerState;
use kvstats::counters::Counters;

/// Tokens of listeners start here; those of connections stay below.
pub(crate) const LISTENER_TOKENS: usize = usize::MAX / 2;
/// Connections accepted in one iteration.
const ROUND_MAX: usize = 256;
/// How long accepting rests when there is no file descriptor left.
const PAUSE: Duration = Duration::from_millis(100);

/// The listeners and where accepting stands.
pub(crate) struct Accept {
    listeners: Vec<Door>,
    next_loop: usize,
    paused_until: Option<Instant>,
    /// The last attempt failed, and the log says so.
    failing: bool,
}

struct Door {
    listener: Listener,
    /// Someone may wait: edge-triggered, so it is only said once.
    ready: bool,
}

impl Accept {
    pub(crate) fn new(listeners: Vec<Listener>, registry: &Registry) -> io::Result<Accept> {
        let mut doors = Vec::new();
        for (index, mut listener) in listeners.into_iter().enumerate() {
            let token = Token(LISTENER_TOKENS + index);
            match &mut listener.socket {
                ListenSocket::Tcp(socket) => registry.register(socket, token, Interest::READABLE)?,
                ListenSocket::Unix(socket) => registry.register(socket, token, Interest::READABLE)?,
            }
            doors.push(Door { listener, ready: true });
        }
        Ok(Accept { listeners: doors, next_loop: 0, paused_until: None, failing: false })
    }

    /// Takes note of an event.
    pub(crate) fn is_ready(&mut self, token: usize) {
        if let Some(door) = self.listeners.get_mut(token - LISTENER_TOKENS) {
            door.ready = true;
        }
    }

    /// When accepting goes on without an event, if it does.
    pub(crate) fn resumes_at(&self) -> Option<Instant> {
        self.paused_until
    }

    /// Accepts who waits.
    pub(crate) fn run(&mut self, now: Instant, server: &ServerState, counters: &Counters) {
        if self.paused_until.is_some_and(|until| now < until) {
            return;
        }
        self.paused_until = None;
        for door in &mut self.listeners {
            let mut left = ROUND_MAX;
            while door.ready && left > 0 {
                left -= 1;
                match accept(&door.listener.socket) {
                    Ok(stream) => {
                        counters.connections.add(1);
                        self.failing = false;
                        if server.clients.admit(server.clients.max.load(Relaxed)) {
                            let keepalive = server.runtime.keepalive_secs.load(Relaxed);
                            stream.prepare(Duration::from_secs(keepalive));
                            let message = LoopMessage::Accepted(stream, door.listener.protocol);
                            server.notify.mailboxes.of(self.next_loop).post(message);
                            self.next_loop = (self.next_loop + 1) % server.notify.mailboxes.len();
                        } else {
                            counters.rejected.add(1);
                            refuse(stream, door.listener.protocol);
                        }
                    }
                    Err(error) => match error.kind() {
                        io::ErrorKind::WouldBlock => door.ready = false,
                        io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => {}
                        _ => {
                            if !self.failing {
                                tracing::warn!(%error, "cannot accept connections; trying again until it works");
                            }
                            self.failing = true;
                            self.paused_until = Some(now + PAUSE);
                            return;
                        }
                    },
                }
            }
            if left == 0 {
                // The other listeners come first.
                self.paused_until = Some(now);
            }
        }
    }
}

fn accept(socket: &ListenSocket) -> io::Result<Stream> {
    Ok(match socket {
        ListenSocket::Tcp(socket) => Stream::Tcp(socket.accept()?.0),
        ListenSocket::Unix(socket) => Stream::Unix(socket.accept()?.0),
    })
}

/// Says why and hangs up. A fresh socket's buffer takes so little without waiting.
fn refuse(stream: Stream, protocol: Protocol) {
    let reply = Reply::error("ERR max number of clients reached");
    let mut bytes = Vec::new();
    match protocol {
        Protocol::Resp => resp::encode(&reply, resp::Version::Resp2, &mut bytes),
        Protocol::Line(rules) => line::speak(rules.style, None, &reply, &mut bytes),
    }
    let _ = stream.write(&bytes);
}
