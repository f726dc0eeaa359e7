//! One event loop: a thread that serves its connections without ever waiting for one of them.
//!
//! A round: sleep until something happens, take in what happened, give each connection that has something to do one
//! turn (some are read from, then what they sent is executed, then the next some), then write all replies, one write a
//! connection. Readiness is
//! edge-triggered and registered once, so a connection costs no system call but its reads and writes.
//!
//! Invariant: nothing in a round waits for a lock held long, a file, or another thread's work.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use kvcore::Lsn;
use kvproto::resp::second_words;
use mio::event::Event;
use mio::{Events, Poll, Token};
use smallvec::SmallVec;

use crate::accept::{Accept, LISTENER_TOKENS};
use crate::connection::{Connection, Decoder, Input, Phase};
use crate::context::Runs;
use crate::counters::Counters;
use crate::execute::Executor;
use crate::listener::Protocol;
use crate::mailbox::{Address, Changed, Done, Mail, Mailbox, Message};
use crate::session::Session;
use crate::settings::{READ_BYTES, STOP_GRACE};
use crate::state::ServerState;
use crate::stream::Stream;
use crate::tracking::ReadKeys;
use crate::tuning::save_when_due;

mod flush;
mod invalidate;

/// The token of the mailbox's waker.
pub(crate) const WAKER: Token = Token(usize::MAX);
/// Readiness events taken in a round at most.
const EVENTS_MAX: usize = 1024;
/// How often counters are sampled and slow readers looked at.
const TICK: Duration = Duration::from_secs(1);
/// How often memory is measured while it is limited, even if nothing is written: clients' buffers count too.
const MEASURE_EVERY: Duration = Duration::from_millis(10);
/// How soon a loop looks again while the log cannot take more.
const BACKLOG_PAUSE: Duration = Duration::from_millis(5);

/// Connections that are read from before any of them is executed.
const GROUP_TURNS: usize = 16;
/// The last of them may bring [`READ_BYTES`].
const READ_BUFFER_BYTES: usize = READ_BYTES + 32 * 1024;

/// A connection in its turn, out of its place meanwhile.
struct Turn {
    slot: usize,
    connection: Box<Connection>,
    /// What was read now, in the loop's buffer.
    read: Range<usize>,
}

/// The state of one loop.
pub(crate) struct EventLoop {
    index: usize,
    poll: Poll,
    /// Only loop 0 listens.
    accept: Option<Accept>,
    connections: Vec<Option<Box<Connection>>>,
    /// Places of `connections` that are free.
    free: Vec<usize>,
    executor: Executor,
    read_buffer: Vec<u8>,
    /// Decoders for input that is whole at once, as nearly all is.
    resp_decoder: Option<Decoder>,
    line_decoder: Option<Decoder>,
    /// Connections that have something to do.
    turns: VecDeque<usize>,
    /// Connections whose output waits for the log.
    gated: Vec<usize>,
    /// Connections whose next request waits for the end of a pause.
    paused: Vec<usize>,
    /// [`Pause::changes`](crate::pause::Pause::changes) when they were last looked at.
    pause_changes: u64,
    /// Up to where the log was durable when `gated` was last looked at.
    released: Lsn,
    /// Connections that may be over.
    closing: Vec<usize>,
    now: Instant,
    next_tick: Instant,
    next_measure: Instant,
    /// The newest change when memory was last measured.
    measured: Lsn,
    last_sample: [u64; 3],
    /// When the clients' largest replies were last forgotten.
    peaks_since: Instant,
    /// Set once the loop was told to stop: when it closes what is left.
    stop_at: Option<Instant>,
}

impl EventLoop {
    pub(crate) fn new(
        index: usize,
        poll: Poll,
        server: Arc<ServerState>,
        accept: Option<Accept>,
        runs: Runs,
    ) -> EventLoop {
        let counters = server.counters[index].clone();
        let now = Instant::now();
        EventLoop {
            index,
            poll,
            accept,
            connections: Vec::new(),
            free: Vec::new(),
            executor: Executor {
                bounds_generation: server.tuning.generation(),
                bounds: server.tuning.bounds(),
                clock: server.slow.clock().clone(),
                last_tick: 0,
                server,
                counters,
                round: Default::default(),
                runs,
            },
            read_buffer: vec![0; READ_BUFFER_BYTES],
            resp_decoder: None,
            line_decoder: None,
            turns: VecDeque::new(),
            gated: Vec::new(),
            paused: Vec::new(),
            pause_changes: 0,
            released: Lsn::ZERO,
            closing: Vec::new(),
            now,
            next_tick: now + TICK,
            next_measure: now,
            measured: Lsn::ZERO,
            last_sample: [0; 3],
            peaks_since: now,
            stop_at: None,
        }
    }

    fn server(&self) -> &ServerState {
        &self.executor.server
    }

    fn mailbox(&self) -> &Mailbox {
        self.server().mailboxes.of(self.index)
    }

    fn counters(&self) -> &Counters {
        &self.executor.counters
    }

    /// Serves until the server stops.
    pub(crate) fn run(mut self) {
        self.server().tracking.adopt_thread();
        let mut events = Events::with_capacity(EVENTS_MAX);
        let mut mails = Vec::new();
        while !self.is_finished() {
            if let Err(error) = self.sleep(&mut events)
                && error.kind() != io::ErrorKind::Interrupted
            {
                tracing::error!(%error, "an event loop cannot wait for events");
                break;
            }
            self.counters().rounds.add(1);
            self.now = Instant::now();
            for event in &events {
                self.take_event(event);
            }
            if let Some(accept) = &mut self.accept {
                accept.run(self.now, &self.executor.server, &self.executor.counters);
            }
            // Before the mail is taken: who tracks what goes is told before anything that is answered now.
            self.measure_memory();
            self.mailbox().take(&mut mails);
            for mail in mails.drain(..) {
                self.take_mail(mail);
            }
            self.resume_paused();
            self.release_gated();
            self.give_turns();
            self.write_round();
            self.close_finished();
            self.tick();
        }
        for slot in 0..self.connections.len() {
            self.forget(slot);
        }
    }

    /// Waits for events, unless there is something to do already.
    fn sleep(&mut self, events: &mut Events) -> io::Result<()> {
        let backlogged = !self.turns.is_empty() && self.server().is_backlogged();
        self.mailbox().set_asleep(backlogged || !self.gated.is_empty());
        let ready = (!self.turns.is_empty() && !backlogged) || !self.mailbox().is_empty() || self.gate_opened();
        let timeout = if ready {
            Duration::ZERO
        } else if backlogged {
            BACKLOG_PAUSE
        } else {
            let now = Instant::now();
            let accepts = self.accept.as_ref().and_then(Accept::resumes_at);
            let wanted = [Some(self.next_tick), self.stop_at, accepts, self.paused_until()];
            wanted.into_iter().flatten().min().map_or(TICK, |at| at.saturating_duration_since(now))
        };
        let result = self.poll.poll(events, Some(timeout));
        self.mailbox().set_awake();
        result
    }

    /// With a limit on memory, looks whether it is kept, if anything was written since it last did. (What is kept in
    /// memory only has no log that would tell.)
    fn measure_memory(&mut self) {
        let limited = self.server().tuning.memory_bytes_max.load(Relaxed) > 0;
        if limited && !self.turns.is_empty() {
            let newest = self.server().db.last_lsn();
            if newest != self.measured || self.server().db.is_in_memory() || self.now >= self.next_measure {
                self.server().measure_memory();
                if self.server().tracking.is_on() {
                    self.server().tracking.settle(&self.server().clients, 0, &ReadKeys::new());
                }
                self.measured = newest;
                self.next_measure = self.now + MEASURE_EVERY;
            }
        }
    }

    /// Whether the log went on, or failed, since gated connections were last looked at.
    fn gate_opened(&self) -> bool {
        !self.gated.is_empty()
            && (self.server().db.durable_lsn() > self.released || self.server().log_failure().is_some())
    }

    fn take_event(&mut self, event: &Event) {
        let slot = match event.token() {
            WAKER => return,
            Token(token) if token >= LISTENER_TOKENS => {
                if let Some(accept) = &mut self.accept {
                    accept.is_ready(token);
                }
                return;
            }
            Token(slot) => slot,
        };
        let Some(connection) = self.connections.get_mut(slot).and_then(Option::as_deref_mut) else {
            return;
        };
        if event.is_read_closed() || event.is_error() {
            connection.peer_ended = true;
            if connection.phase == Phase::Paused {
                // What it asked for is not done any more.
                connection.phase = Phase::Broken;
                self.closing.push(slot);
                return;
            }
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            connection.readable = true;
        }
        if event.is_writable() && !connection.writable {
            connection.writable = true;
            self.flush(slot);
        }
        self.schedule(slot);
    }

    /// Gives a connection a turn in this round if it has something to do.
    fn schedule(&mut self, slot: usize) {
        if let Some(connection) = self.connections.get_mut(slot).and_then(Option::as_deref_mut)
            && !connection.scheduled
            && connection.wants_turn()
        {
            connection.scheduled = true;
            self.turns.push_back(slot);
        }
    }

    fn take_mail(&mut self, mail: Mail) {
        match mail {
            Mail::Accepted(stream, protocol) => self.admit(stream, protocol),
            Mail::Published(message, to) => self.push(&message, &to),
            Mail::Done(done) => self.resume(&done),
            Mail::Kill(address) => self.kill(address),
            Mail::Invalidated(invalidation) => self.invalidate(*invalidation),
            Mail::Changed => self.server().tracking.settle_foreign(&self.server().clients),
            // It was only to wake this loop, which looks at the pause in each round.
            Mail::Unpaused => {}
            Mail::Users(changed) => self.expel(&changed),
            Mail::Stop => self.begin_stop(),
        }
    }

    /// Ends the connections whose users do not let them go on.
    fn expel(&mut self, changed: &Changed) {
        for slot in 0..self.connections.len() {
            if let Some(connection) = self.connections[slot].as_deref_mut()
                && changed.accounts.iter().any(|account| Arc::ptr_eq(account, connection.session.access.account()))
                && connection.session.is_expelled(&self.executor.server)
            {
                let answered = connection.session.client.id == changed.by;
                connection.phase = if answered { Phase::Closing } else { Phase::Broken };
                self.closing.push(slot);
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
    fn take_addressed(&mut self, address: Address) -> Option<Box<Connection>> {
        self.connections.get_mut(address.slot)?.take_if(|connection| connection.session.client.id == address.client_id)
    }

    fn push(&mut self, message: &Message, to: &[Address]) {
        self.server().mailboxes.delivered(message.cost());
        let reply = message.as_reply();
        let lsn = if self.server().is_gated() { message.lsn } else { Lsn::ZERO };
        for address in to {
            if let Some(mut connection) = self.take_addressed(*address) {
                // It may have been told meanwhile that it is subscribed no more.
                if connection.session.receives(message) {
                    self.executor.round.begin(address.slot);
                    self.executor.reply(&mut connection, None, &reply, lsn);
                }
                self.connections[address.slot] = Some(connection);
            }
        }
    }

    fn resume(&mut self, done: &Done) {
        if let Some(mut connection) = self.take_addressed(done.to) {
            let request = done.request.as_request();
            let about = kvproto::spec::lookup(request.name()).map(|spec| (spec, request));
            self.executor.round.begin(done.to.slot);
            self.executor.refresh_bounds();
            self.executor.count(&connection, about, &done.reply, done.ticks);
            self.executor.reply(&mut connection, about, &done.reply, done.lsn);
            self.executor.after_request(&mut connection);
            connection.phase = Phase::Open;
            self.close_if_stopping(&mut connection);
            connection.show(self.now);
            self.connections[done.to.slot] = Some(connection);
            self.schedule(done.to.slot);
            self.closing.push(done.to.slot);
        }
    }

    /// Reads from some connections, fetches what the first request of each will need, executes; then the next some.
    fn give_turns(&mut self) {
        let mut left = self.turns.len();
        let mut buffer = std::mem::take(&mut self.read_buffer);
        while left > 0 && !self.server().is_backlogged() {
            let mut group: SmallVec<[Turn; GROUP_TURNS]> = SmallVec::new();
            let mut filled = 0;
            while left > 0 && group.len() < GROUP_TURNS && filled + READ_BYTES <= buffer.len() {
                left -= 1;
                let Some(slot) = self.turns.pop_front() else { continue };
                let Some(mut connection) = self.connections[slot].take() else { continue };
                connection.scheduled = false;
                if connection.session.client.is_killed() {
                    connection.phase = Phase::Broken;
                    self.end_turn(slot, connection);
                } else if connection.wants_turn() {
                    let read = self.read(&mut connection, &mut buffer[filled..][..READ_BYTES]);
                    group.push(Turn { slot, connection, read: filled..filled + read });
                    filled += read;
                } else {
                    self.end_turn(slot, connection);
                }
            }
            prefetch(&group, &buffer);
            for Turn { slot, mut connection, read } in group {
                self.execute(slot, &mut connection, &buffer[read]);
                self.end_turn(slot, connection);
            }
        }
        self.read_buffer = buffer;
    }

    /// Reads once, unless there is something to execute already. Answers how many bytes.
    fn read(&self, connection: &mut Connection, buffer: &mut [u8]) -> usize {
        if connection.has_runnable_input() {
            return 0;
        }
        let count = connection.read(buffer);
        self.counters().reads.add(1);
        self.counters().input_bytes.add(count as u64);
        count
    }

    /// Executes what a connection left last time and what was `read` now.
    fn execute(&mut self, slot: usize, connection: &mut Connection, read: &[u8]) {
        if let Some(mut input) = connection.input.take() {
            input.bytes.extend_from_slice(read);
            let Input { bytes, at, decoder, .. } = &mut *input;
            let progress = self.executor.execute(slot, connection, decoder, &bytes[*at..]);
            connection.input = input.advanced(&progress);
        } else if !read.is_empty() {
            let mut decoder =
                self.spare_decoder(connection.protocol).take().unwrap_or_else(|| Decoder::new(connection.protocol));
            let progress = self.executor.execute(slot, connection, &mut decoder, read);
            if progress.used == read.len() && progress.decoder_is_clean {
                *self.spare_decoder(connection.protocol) = Some(decoder);
            } else {
                connection.input = Some(Box::new(Input::rest(read, &progress, decoder)));
            }
        }
    }

    fn end_turn(&mut self, slot: usize, mut connection: Box<Connection>) {
        self.close_if_stopping(&mut connection);
        connection.show(self.now);
        match connection.phase {
            Phase::Open => {}
            Phase::Paused => self.paused.push(slot),
            Phase::Parked | Phase::Closing | Phase::Broken => self.closing.push(slot),
        }
        self.connections[slot] = Some(connection);
        self.schedule(slot);
    }

    /// When paused connections go on, if there are any.
    fn paused_until(&self) -> Option<Instant> {
        if self.paused.is_empty() { None } else { Some(self.server().pause.until(self.now).unwrap_or(self.now)) }
    }

    /// Lets paused connections try again once the pause has ended or changed.
    fn resume_paused(&mut self) {
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

    fn kill(&mut self, address: Address) {
        if let Some(mut connection) = self.take_addressed(address) {
            connection.phase = Phase::Broken;
            self.connections[address.slot] = Some(connection);
            self.closing.push(address.slot);
        }
    }

    fn spare_decoder(&mut self, protocol: Protocol) -> &mut Option<Decoder> {
        match protocol {
            Protocol::Resp => &mut self.resp_decoder,
            Protocol::Line(_) => &mut self.line_decoder,
        }
    }

    /// From now on nothing is accepted or read; what was read is executed and answered.
    fn begin_stop(&mut self) {
        self.stop_at = Some(self.now + STOP_GRACE);
        self.accept = None;
        for slot in 0..self.connections.len() {
            if let Some(mut connection) = self.connections[slot].take() {
                self.close_if_stopping(&mut connection);
                self.connections[slot] = Some(connection);
                self.closing.push(slot);
            }
        }
    }

    fn close_if_stopping(&self, connection: &mut Connection) {
        if self.stop_at.is_some()
            && (connection.phase == Phase::Paused
                || (connection.phase == Phase::Open && !connection.has_runnable_input()))
        {
            connection.phase = Phase::Closing;
        }
    }

    fn is_finished(&self) -> bool {
        self.stop_at.is_some_and(|at| self.free.len() == self.connections.len() || self.now >= at)
    }

    /// Once a second: rates for INFO, and subscribers that have not read for long.
    fn tick(&mut self) {
        if self.now < self.next_tick {
            return;
        }
        self.next_tick = self.now + TICK;
        let counters = self.counters();
        let sample = [counters.requests.get(), counters.input_bytes.get(), counters.output_bytes.get()];
        let rates = [&counters.requests_per_second, &counters.input_per_second, &counters.output_per_second];
        for ((rate, now), before) in rates.into_iter().zip(sample).zip(self.last_sample) {
            rate.set(now - before);
        }
        self.last_sample = sample;
        self.executor.refresh_bounds();
        self.server().db.note_time();
        if self.server().switches.cron_paused.load(Relaxed) {
            return;
        }
        let peak_reset = Duration::from_millis(self.server().switches.peak_reset_ms.load(Relaxed));
        let forget_peaks = self.now.saturating_duration_since(self.peaks_since) >= peak_reset;
        if forget_peaks {
            self.peaks_since = self.now;
        }
        // If nobody waits for its end, this is who notices it.
        self.server().pause.until(self.now);
        let limits = self.executor.bounds.output;
        let idle_max = self.server().tuning.timeout_secs.load(Relaxed);
        for (slot, connection) in self.connections.iter_mut().enumerate() {
            if let Some(connection) = connection {
                if forget_peaks {
                    connection.note_reply_peak(0);
                }
                if !connection.outbox.is_empty() {
                    connection.enforce(&limits, self.now);
                    self.closing.push(slot);
                }
                if idle_max > 0 && connection.is_idle_for(Duration::from_secs(idle_max), self.now) {
                    connection.phase = Phase::Broken;
                    self.closing.push(slot);
                }
            }
        }
        if self.index == 0 && self.stop_at.is_none() {
            let server = self.server();
            server.note_client_bytes();
            save_when_due(&server.db, &server.tuning, server.started_at_ms, self.now);
        }
    }
}

/// Fetches the keys of the first request of each, so that executing waits for the memory of all of them at once.
fn prefetch(group: &[Turn], buffer: &[u8]) {
    if let [first, _, ..] = group {
        let same = group.iter().filter(|turn| turn.connection.session.database == first.connection.session.database);
        let keys = same.filter_map(|turn| second_words(&buffer[turn.read.clone()]).next());
        first.connection.session.keyspace.prefetch(keys);
    }
}
