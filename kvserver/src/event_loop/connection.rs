//! One client's socket and what lies between it and the session: input that is no whole request yet, output that has
//! not left.
//!
//! Invariant: an idle connection holds neither an input nor an output buffer. Nothing of a client is executed while
//! it is parked or paused, while it leaves too many replies unread, or after it was told that it is closed.

use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use kvcore::hooks::Lsn;
use kvproto::line::LineDecoder;
use kvproto::resp::RequestDecoder;

use crate::clients::Shown;
use crate::net::listener::Protocol;
use crate::net::outbox::{Outbox, Piece};
use crate::net::stream::Stream;
use crate::session::Session;
use crate::state::runtime_config::OutputLimits;
use crate::state::server_config::{OUTPUT_PAUSE_BYTES, READ_BYTES, UNAUTHENTICATED_OUTPUT_BYTES_MAX};

/// One client of an event loop.
pub(crate) struct Connection {
    pub(crate) stream: Stream,
    pub(crate) protocol: Protocol,
    pub(crate) session: Session,
    pub(crate) outbox: Outbox,
    pub(crate) input: Option<Box<Input>>,
    pub(crate) phase: Phase,
    /// When it was last seen to be logged in, or not to have to be; when it came, if never.
    pub(crate) known_until: Instant,
    /// The socket may hold input: edge-triggered, so it is only ever said once.
    pub(crate) readable: bool,
    /// The peer has sent its last byte; only a read of 0 bytes ends the connection, after all before it.
    pub(crate) peer_ended: bool,
    /// The socket took all that was written to it last time.
    pub(crate) writable: bool,
    /// In the loop's list of connections that have something to do.
    pub(crate) scheduled: bool,
    /// In the loop's list of connections whose output waits for the log.
    pub(crate) awaits_durability: bool,
    /// Of the request that runs elsewhere.
    pub(crate) parked_bytes: usize,
    over_soft_since: Option<Instant>,
    /// The most bytes of replies written at once, of late.
    reply_peak: usize,
    /// As it was last shown.
    held_bytes: usize,
}

/// Input that could not be executed at once.
pub(crate) struct Input {
    pub(crate) bytes: Vec<u8>,
    /// Up to here it has been executed.
    pub(crate) at: usize,
    pub(crate) decoder: Box<Decoder>,
    /// It holds, or may hold, a whole request; otherwise it waits for more bytes.
    pub(crate) runnable: bool,
}

/// How far executing what lies in a piece of input came.
pub(crate) struct Progress {
    /// Bytes of input that are done with.
    pub(crate) used: usize,
    /// Why the rest was left: false, it is no whole request; true, it may be one, but must wait for the next time slice.
    pub(crate) runnable: bool,
    /// The decoder remembers nothing of this connection.
    pub(crate) decoder_is_clean: bool,
}

impl Input {
    /// What executing left of `input`.
    pub(crate) fn rest(input: &[u8], progress: &Progress, decoder: Box<Decoder>) -> Input {
        let bytes = input[progress.used..].to_vec();
        Input { runnable: progress.runnable && !bytes.is_empty(), bytes, at: 0, decoder }
    }

    /// What executing left of this input; nothing if neither bytes nor the decoder's memory are needed any more.
    pub(crate) fn advanced(mut self: Box<Input>, progress: &Progress) -> Option<Box<Input>> {
        self.at += progress.used;
        if self.at == self.bytes.len() && progress.decoder_is_clean {
            return None;
        }
        // Moves no more bytes than were executed since the last time.
        if self.at >= self.bytes.len() / 2 {
            self.bytes.drain(..self.at);
            self.at = 0;
            if self.bytes.capacity() / 4 > self.bytes.len().max(READ_BYTES) {
                self.bytes.shrink_to(2 * self.bytes.len());
            }
        }
        self.runnable = progress.runnable && self.at < self.bytes.len();
        Some(self)
    }
}

/// Where the search for the end of the next request stands.
pub(crate) enum Decoder {
    Resp(RequestDecoder),
    Line(LineDecoder),
}

impl Decoder {
    pub(crate) fn new(protocol: Protocol) -> Decoder {
        match protocol {
            Protocol::Resp => Decoder::Resp(RequestDecoder::new()),
            Protocol::Line(_) => Decoder::Line(LineDecoder::new()),
        }
    }

    fn held_bytes(&self) -> usize {
        match self {
            Decoder::Resp(decoder) => decoder.held_bytes(),
            Decoder::Line(decoder) => decoder.held_bytes(),
        }
    }
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Open,
    /// A command of it runs elsewhere.
    Parked,
    /// Its next request waits for the end of a pause.
    Paused,
    /// Its next request waits until the log, or the other loops, can take what it writes.
    AwaitsRoom,
    /// It is closed once its output has left.
    Closing,
    /// It is closed at once: the socket failed, or the client left too much unread.
    Broken,
}

impl Connection {
    pub(crate) fn new(stream: Stream, protocol: Protocol, session: Session) -> Connection {
        let known_until = session.client.connected();
        Connection {
            stream,
            protocol,
            session,
            outbox: Outbox::default(),
            input: None,
            phase: Phase::Open,
            known_until,
            readable: false,
            peer_ended: false,
            writable: true,
            scheduled: false,
            awaits_durability: false,
            parked_bytes: 0,
            over_soft_since: None,
            reply_peak: 0,
            held_bytes: 0,
        }
    }

    pub(crate) fn has_runnable_input(&self) -> bool {
        self.input.as_ref().is_some_and(|input| input.runnable)
    }

    /// There is something to read or execute, and nothing forbids it.
    pub(crate) fn is_ready_to_run(&self) -> bool {
        self.phase == Phase::Open
            && (self.readable || self.has_runnable_input())
            && self.outbox.len() <= OUTPUT_PAUSE_BYTES
    }

    /// Nothing more is said to it but what waits already.
    pub(crate) fn ends(&self) -> bool {
        matches!(self.phase, Phase::Closing | Phase::Broken)
    }

    /// It can be forgotten.
    pub(crate) fn is_over(&self) -> bool {
        self.phase == Phase::Broken || (self.phase == Phase::Closing && self.outbox.is_empty())
    }

    /// Reads once. `Ok(0)` means that there is nothing now.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> usize {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => {
                    self.readable = false;
                    self.phase = Phase::Closing;
                    return 0;
                }
                Ok(count) => {
                    // A short read has emptied the socket, so the next one would only say so. The end of the stream
                    // is the exception: its edge may have come together with these bytes.
                    self.readable = count == buffer.len() || self.peer_ended;
                    Shown::add(&self.session.client.shown.received_bytes, count as u64);
                    return count;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.readable = false;
                    return 0;
                }
                Err(_) => {
                    self.phase = Phase::Broken;
                    return 0;
                }
            }
        }
    }

    /// Sends what may leave at once, behind what waits already. Returns how many bytes left now.
    pub(crate) fn send<'p>(&mut self, pieces: impl Iterator<Item = Piece<'p>>) -> usize {
        let (mut given, mut sent) = (0, 0);
        for piece in pieces {
            if self.phase == Phase::Broken {
                break;
            }
            let bytes = piece.as_bytes();
            given += bytes.len();
            let now = if self.outbox.is_empty() { self.write(bytes) } else { 0 };
            self.outbox.push_rest(piece, now, Lsn::ZERO);
            sent += now;
        }
        if given > self.reply_peak {
            self.note_reply_peak(given);
        }
        sent
    }

    /// Shows others the most bytes of replies written at once, of late.
    pub(crate) fn note_reply_peak(&mut self, bytes: usize) {
        self.reply_peak = bytes;
        self.session.client.shown.reply_peak.store(bytes, Relaxed);
    }

    /// Sends what may leave of what waits. Answers how many bytes left.
    pub(crate) fn flush(&mut self, durable: Lsn) -> usize {
        let mut outbox = std::mem::take(&mut self.outbox);
        // Even if the socket takes nothing now: what waits for it alone waits for the log no more.
        outbox.advance(durable);
        let mut sent = 0;
        while self.writable && self.phase != Phase::Broken {
            let count = self.write(outbox.ready(durable));
            if count == 0 {
                break;
            }
            outbox.mark_sent(count);
            sent += count;
        }
        self.outbox = outbox;
        if self.outbox.is_empty() {
            // Limits are only enforced on clients that have something to read.
            self.over_soft_since = None;
        }
        sent
    }

    fn write(&mut self, mut bytes: &[u8]) -> usize {
        let mut sent = 0;
        while self.writable && !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(count) => {
                    // The socket is full when it takes less than it was given; an event tells when it is not.
                    self.writable = count == bytes.len();
                    Shown::add(&self.session.client.shown.sent_bytes, count as u64);
                    sent += count;
                    bytes = &bytes[count..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                Err(_) => {
                    self.phase = Phase::Broken;
                    return sent;
                }
            }
        }
        sent
    }

    /// Breaks the connection of a client that does not read, and returns whether it did so because of `limits`. `known`: it
    /// has logged in, or need not.
    pub(crate) fn enforce(&mut self, limits: &OutputLimits, known: bool, now: Instant) -> bool {
        let limit = if self.session.is_told_unasked() { &limits.subscriber } else { &limits.normal };
        let unsent = self.outbox.len();
        let above = |bytes: usize| bytes > 0 && unsent > bytes;
        let too_long = if above(limit.soft_bytes) {
            now.duration_since(*self.over_soft_since.get_or_insert(now)) >= limit.soft_for
        } else {
            self.over_soft_since = None;
            false
        };
        if above(limit.hard_bytes) || too_long {
            tracing::warn!(client = self.session.client.id, unsent, "a client that does not read is disconnected");
            self.give_up();
            return true;
        }
        if !known && unsent > UNAUTHENTICATED_OUTPUT_BYTES_MAX {
            // No warning: anyone could fill the log with it.
            self.give_up();
        }
        false
    }

    /// It is closed at once, and nothing more is sent.
    fn give_up(&mut self) {
        self.phase = Phase::Broken;
        // Now, not when it is forgotten: one message can break many.
        self.outbox = Outbox::default();
    }

    /// Whether it has asked for nothing, and taken nothing that it was sent, for so long. Subscribers wait for others, so
    /// they are never idle; nor is who waits for a command.
    pub(crate) fn is_idle_for(&self, longest: Duration, now: Instant) -> bool {
        let client = &self.session.client;
        let active = client.connected() + Duration::from_millis(client.shown.active_ms.load(Relaxed));
        matches!(self.phase, Phase::Open | Phase::Closing)
            && !self.session.is_listening()
            && now.saturating_duration_since(active) > longest
    }

    /// What it holds, as last shown.
    pub(crate) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Takes what it sent, as last shown, out of what it holds; returns how many bytes that is.
    pub(crate) fn take_request_bytes(&mut self) -> usize {
        let shown = &self.session.client.shown;
        let sent = shown.input_bytes.load(Relaxed) + shown.queued_bytes.load(Relaxed);
        let taken = sent.min(self.held_bytes);
        self.held_bytes -= taken;
        taken
    }

    /// Shows others what this connection holds.
    pub(crate) fn show(&mut self, now: Instant) {
        let client = &self.session.client;
        let command = self.session.last_command.map(|spec| spec.name);
        if command != self.session.shown_command {
            self.session.shown_command = command;
            client.show_command(command);
        }
        let active = now.saturating_duration_since(client.connected());
        client.shown.active_ms.store(u64::try_from(active.as_millis()).unwrap_or(u64::MAX), Relaxed);
        // Of the bytes, not of the room for more of them, which takes no memory before it is used.
        let input = self.input.as_ref().map_or(0, |input| input.bytes.len() + input.decoder.held_bytes());
        client.shown.input_bytes.store(input + self.parked_bytes, Relaxed);
        client.shown.parked.store(matches!(self.phase, Phase::Parked | Phase::Paused | Phase::AwaitsRoom), Relaxed);
        client.shown.commands.store(self.session.commands.get(), Relaxed);
        client.shown.interest_bytes.store(self.session.interest_bytes(), Relaxed);
        self.show_output();
    }

    /// Shows others what its unsent replies take. It is no sign of life of the client.
    pub(crate) fn show_output(&mut self) {
        let shown = &self.session.client.shown;
        shown.output_bytes.store(self.outbox.capacity(), Relaxed);
        shown.shared_bytes.store(self.outbox.shared_bytes(), Relaxed);
        self.held_bytes = shown.held_bytes();
    }
}

#[cfg(test)]
mod tests {
    use kvcore::{Db, Keyspace};
    use mio::net::UnixStream;

    use super::*;
    use crate::server::Server;
    use crate::state::server_config::OutputLimit;

    const LIMIT: OutputLimit = OutputLimit { hard_bytes: 1000, soft_bytes: 50, soft_for: Duration::from_secs(10) };

    /// Calls `test` with a connection, and with what enforces its limits at a second and tells whether it stands.
    fn with_limits(test: impl FnOnce(&mut Connection, &dyn Fn(&mut Connection, u64) -> bool)) {
        let server = Server::builder().store(Db::in_memory()).loops(1).start().unwrap();
        let state = server.state();
        let (own, _peer) = UnixStream::pair().unwrap();
        let stream = Stream::Unix(own);
        let access = state.acl.newcomer();
        let client = state.clients.connect(&stream, 0, 0, access.account().clone());
        let address = client.address;
        let session = Session::new(client, address, Keyspace::clone(&state.db), access);
        let mut connection = Connection::new(stream, Protocol::Resp, session);
        let limits = OutputLimits { normal: LIMIT, replica: LIMIT, subscriber: LIMIT };
        let begun = Instant::now();
        test(&mut connection, &|connection, second| {
            connection.enforce(&limits, true, begun + Duration::from_secs(second));
            !connection.ends()
        });
        connection.session.end(state);
    }

    #[test]
    fn a_client_may_be_above_the_soft_limit_for_so_long_and_above_the_hard_one_never() {
        with_limits(|connection, stands_at| {
            connection.outbox.push(&[b'x'; 51], Lsn::ZERO);
            assert!(stands_at(connection, 0) && stands_at(connection, 9));
            assert!(!stands_at(connection, 10) && connection.outbox.is_empty());
        });
        with_limits(|connection, stands_at| {
            connection.outbox.push(&[b'x'; 1001], Lsn::ZERO);
            assert!(!stands_at(connection, 0));
        });
    }

    #[test]
    fn the_time_above_the_soft_limit_begins_anew_for_who_has_caught_up() {
        // Below the limit, with something left to read.
        with_limits(|connection, stands_at| {
            connection.outbox.push(&[b'x'; 100], Lsn::ZERO);
            assert!(stands_at(connection, 0));
            connection.outbox.mark_sent(60);
            assert!(stands_at(connection, 5));
            connection.outbox.push(&[b'x'; 100], Lsn::ZERO);
            assert!(stands_at(connection, 11) && stands_at(connection, 20));
            assert!(!stands_at(connection, 21));
        });
        // All of it at once: limits are not enforced on who has nothing to read.
        with_limits(|connection, stands_at| {
            connection.outbox.push(&[b'x'; 100], Lsn::ZERO);
            assert!(stands_at(connection, 0));
            assert_eq!(connection.flush(Lsn::ZERO), 100);
            connection.outbox.push(&[b'x'; 100], Lsn::ZERO);
            assert!(stands_at(connection, 11) && stands_at(connection, 20));
            assert!(!stands_at(connection, 21));
        });
    }
}
