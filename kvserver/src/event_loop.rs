//! One event loop: a thread that serves its connections without ever waiting for one of them.
//!
//! An iteration: sleep until something happens, take in what happened, give each connection that has something to do one
//! time slice (some are read from, then what they sent is executed, then the next some), then write all replies, one write a
//! connection. Readiness is edge-triggered and registered once, so a connection costs no system call but its reads and
//! writes.
//!
//! Invariant: nothing in an iteration waits for a lock held long, a file, or another thread's work.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use kvcore::hooks::Lsn;
use mio::event::Event;
use mio::{Events, Poll, Token};

use crate::context::DispatchTable;
use crate::context::jobs::Jobs;
use crate::event_loop::accept::{Accept, LISTENER_TOKENS};
use crate::event_loop::connection::{Connection, Decoder, Phase};
use crate::event_loop::execute::Executor;
use crate::notify::mailbox::Mailbox;
use crate::state::ServerState;
use crate::state::server_config::ITERATION_TIME;
use kvstats::counters::Counters;
use kvstats::process;
use slices::READ_BUFFER_BYTES;
use tick::TICK;

pub(crate) mod accept;
mod connection;
mod execute;
mod flush;
mod invalidate;
mod messages;
mod pause;
mod reply_batch;
mod slices;
mod stop;
mod tick;

/// The token of the mailbox's waker.
pub(crate) const WAKER: Token = Token(usize::MAX);
/// Readiness events taken in an iteration at most.
const EVENTS_MAX: usize = 1024;
/// How soon a loop looks again while the log cannot take more.
const BACKLOG_PAUSE: Duration = Duration::from_millis(5);

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
    /// [`ITERATION_TIME`] in ticks of the executor's clock.
    iteration_ticks: u64,
    read_buffer: Vec<u8>,
    decoders: Decoders,
    queues: Queues,
    /// [`Pause::changes`](crate::clients::pause::Pause::changes) when they were last looked at.
    pause_changes: u64,
    /// Up to where the log was durable when the connections that await durability were last looked at.
    durable_seen: Lsn,
    now: Instant,
    periodic: Periodic,
    /// The store is beyond its limits, and keys can be removed.
    makes_room: bool,
    /// Set once the loop was told to stop: when it closes what is left.
    stop_at: Option<Instant>,
}

/// Decoders for input that is whole at once, as nearly all is. Boxed: they change hands with every time slice.
#[derive(Default)]
struct Decoders {
    resp: Option<Box<Decoder>>,
    line: Option<Box<Decoder>>,
}

/// The places of connections by what they wait for.
#[derive(Default)]
struct Queues {
    /// Have something to do.
    ready: VecDeque<usize>,
    /// Had a time slice and have more to do: they come after the others.
    unfinished: VecDeque<usize>,
    /// Have output that is not durable yet.
    awaiting_durability: Vec<usize>,
    /// Have a request that waits for the end of a pause.
    paused: Vec<usize>,
    /// Have a request that waits until there is room for what it writes.
    awaiting_room: Vec<usize>,
    /// May be over.
    closing: Vec<usize>,
}

/// What a loop does by the clock.
struct Periodic {
    next_tick: Instant,
    next_eviction: Instant,
    /// The counters of the last tick, for rates.
    last_sample: [u64; 3],
    /// When the clients' largest replies were last forgotten.
    peaks_since: Instant,
}

impl EventLoop {
    pub(crate) fn new(
        index: usize,
        poll: Poll,
        server: Arc<ServerState>,
        accept: Option<Accept>,
        table: DispatchTable,
        jobs: Arc<Jobs>,
    ) -> EventLoop {
        let counters = server.statistics.loops[index].clone();
        let now = Instant::now();
        let executor = Executor::new(server, counters, table, jobs);
        EventLoop {
            index,
            poll,
            accept,
            connections: Vec::new(),
            free: Vec::new(),
            iteration_ticks: execute::ticks_in(&executor.clock, ITERATION_TIME),
            executor,
            read_buffer: vec![0; READ_BUFFER_BYTES],
            decoders: Decoders::default(),
            queues: Queues::default(),
            pause_changes: 0,
            durable_seen: Lsn::ZERO,
            now,
            periodic: Periodic { next_tick: now + TICK, next_eviction: now, last_sample: [0; 3], peaks_since: now },
            makes_room: false,
            stop_at: None,
        }
    }

    fn server(&self) -> &ServerState {
        &self.executor.server
    }

    fn mailbox(&self) -> &Mailbox {
        self.server().notify.mailboxes.of(self.index)
    }

    fn counters(&self) -> &Counters {
        &self.executor.counters
    }

    /// Serves until the server stops.
    pub(crate) fn run(mut self) {
        if self.index == 0 {
            self.server().statistics.main_thread.store(process::this_thread().unwrap_or(0), Relaxed);
        }
        let mut events = Events::with_capacity(EVENTS_MAX);
        let mut messages = Vec::new();
        while !self.is_finished() {
            if let Err(error) = self.sleep(&mut events)
                && error.kind() != io::ErrorKind::Interrupted
            {
                tracing::error!(%error, "an event loop cannot wait for events");
                break;
            }
            self.counters().iterations.add(1);
            self.now = Instant::now();
            for event in &events {
                self.take_event(event);
            }
            if let Some(accept) = &mut self.accept {
                accept.run(self.now, &self.executor.server, &self.executor.counters);
            }
            // Before the messages are taken: clients that track what is evicted are notified before anything that is answered now.
            self.keep_limits();
            self.mailbox().take(&mut messages);
            for message in messages.drain(..) {
                self.handle(message);
            }
            self.resume_paused();
            self.resume_for_room();
            self.send_durable();
            self.serve_ready();
            self.write_replies();
            self.bound_clients();
            self.close_finished();
            self.tick();
        }
        for slot in 0..self.connections.len() {
            self.forget(slot);
        }
    }

    /// Waits for events, unless there is something to do already.
    fn sleep(&mut self, events: &mut Events) -> io::Result<()> {
        let awaits_room = !self.queues.awaiting_room.is_empty();
        // What CONFIG SET has just changed is in force although nothing comes.
        let changed = self.server().runtime.generation() != self.executor.limits_generation;
        let runnable =
            !self.queues.ready.is_empty() || !self.queues.unfinished.is_empty() || self.makes_room || changed;
        let awaits_log = awaits_room || !self.queues.awaiting_durability.is_empty();
        let has_room = || awaits_room && !self.server().is_backlogged();
        let ready = self.mailbox().fall_asleep(awaits_log, || runnable || has_room() || self.has_log_advanced());
        let timeout = if ready {
            Duration::ZERO
        } else if awaits_room {
            BACKLOG_PAUSE
        } else {
            let accepts = self.accept.as_ref().and_then(Accept::resumes_at);
            let wanted = [Some(self.periodic.next_tick), self.stop_at, accepts, self.paused_until()];
            // From when this iteration began, so later by as long as it took: nothing here is due to the millisecond.
            wanted.into_iter().flatten().min().map_or(TICK, |at| at.saturating_duration_since(self.now))
        };
        let result = self.poll.poll(events, Some(timeout));
        self.mailbox().set_awake();
        result
    }

    /// Whether the log went on, or failed, since connections that await durability were last looked at.
    fn has_log_advanced(&self) -> bool {
        !self.queues.awaiting_durability.is_empty()
            && (self.server().db.hooks().durable_lsn() > self.durable_seen || self.server().log_failure().is_some())
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
                self.queues.closing.push(slot);
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

    /// Queues a connection for a time slice if it has something to do.
    fn schedule(&mut self, slot: usize) {
        if let Some(connection) = self.connections.get_mut(slot).and_then(Option::as_deref_mut)
            && !connection.scheduled
            && connection.is_ready_to_run()
        {
            connection.scheduled = true;
            self.queues.ready.push_back(slot);
        }
    }
}
