//! The event loop of a thread of the load test: it keeps its connections busy and counts their replies.
//!
//! Invariant: every request that was sent and is counted ends as exactly one reply or one error; no request allocates
//! memory once the buffers have grown. Times are nanoseconds since the start of the run.
//!
//! A closed loop sends a connection's next requests when the replies to its last ones are there. An open loop (`--rate`)
//! sends each request when it is due, to whichever connection is free, and counts its latency from then on.

use crate::bench::options::Settings;
use crate::bench::replies::{ReplyKind, ReplyScanner, Wire};
use crate::bench::socket::{Endpoint, Socket};
use crate::bench::stats::{INTERVAL_NS_MIN, Interval, OperationStats, Series};
use crate::bench::timer::Timer;
use crate::bench::workload::{Source, Workload};
use kvclient::format::write_visible_line;
use mio::{Events, Interest, Poll, Token};
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What the threads and the one that waits for them share.
#[derive(Debug)]
pub struct Shared {
    /// No more requests are to be sent.
    pub stop: AtomicBool,
    /// For the progress bar: requests that ended, and those of them that failed.
    pub requests: AtomicU64,
    pub errors: AtomicU64,
    /// What ended in intervals that were not shown yet.
    pub recent: Mutex<Interval>,
    pub series: Mutex<Series>,
}

impl Shared {
    /// Returns what is shared at the start.
    pub fn new() -> Shared {
        Shared {
            stop: AtomicBool::new(false),
            requests: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            recent: Mutex::default(),
            series: Mutex::new(Series::new()),
        }
    }
}

/// What every thread of a run needs to know.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    pub settings: &'a Settings,
    pub workload: &'a Workload,
    pub wire: Wire,
    pub endpoint: &'a Endpoint,
    pub shared: &'a Shared,
}

/// What a thread has counted.
#[derive(Debug)]
pub struct Counted {
    /// By the operations' numbers.
    pub operations: Vec<OperationStats>,
    /// When the last counted reply came, since counting began.
    pub elapsed: Duration,
    pub failure: Option<String>,
    /// Requests of an open loop that were due, and not sent when it ended.
    pub unsent: u64,
    /// Connections that were opened again.
    pub reconnects: u64,
}

/// How much is read at once, in bytes.
const READ_BYTES: usize = 256 * 1024;
/// How long is waited for replies once no more requests are sent, and while they are.
const GRACE: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(30);
/// How often at least the loop looks whether it has to end.
const TICK: Duration = Duration::from_millis(50);
/// The event of the timer.
const TIMER: Token = Token(usize::MAX);

/// A request that awaits its reply.
#[derive(Clone, Copy, Debug)]
struct Request {
    operation: usize,
    /// When it was sent or due.
    at: u64,
    is_counted: bool,
}

#[derive(Debug)]
struct Connection {
    socket: Socket,
    scanner: ReplyScanner,
    /// What the system has not taken yet: `unsent[sent..]`.
    unsent: Vec<u8>,
    sent: usize,
    in_flight: VecDeque<Request>,
    source: Source,
    /// Counted requests that a closed loop has still to send.
    left: u64,
    /// Of an open loop: it is among the free ones.
    is_free: bool,
    /// Requests that the socket has still to carry.
    budget: u64,
    /// Replies to the greeting that have not arrived.
    greeting_left: usize,
}

impl Connection {
    /// Whether another request may be sent now. A connection that has carried all that it may waits for their replies.
    fn can_take_more(&self, pipeline: usize) -> bool {
        self.in_flight.is_empty() || (self.budget > 0 && self.in_flight.len() < pipeline)
    }
}

/// A thread's event loop.
#[derive(Debug)]
pub struct EventLoop<'a> {
    plan: Plan<'a>,
    start: Instant,
    poll: Poll,
    connections: Vec<Connection>,
    /// Requests in flight on all connections.
    in_flight: usize,
    operations: Vec<OperationStats>,
    reads: Vec<bool>,
    /// What was counted in the interval that ends at `interval_end`, counted from `count_from`.
    interval: Interval,
    interval_end: u64,
    buffer: Vec<u8>,
    output: Vec<u8>,
    /// When counting begins, and when no more requests are sent.
    count_from: u64,
    deadline: u64,
    /// The latest reading of the clock, and when bytes last came or left, or requests were sent after a time without any.
    now: u64,
    progress_at: u64,
    last_counted: u64,
    /// Replies that are not in [`Shared`] yet.
    unpublished: (u64, u64),
    open: Option<OpenLoop>,
    timer: Timer,
    reconnects: u64,
}

/// The timetable of an open loop.
#[derive(Debug)]
struct OpenLoop {
    interval_ns: f64,
    /// When request number 0 is due.
    offset_ns: f64,
    next: u64,
    /// Counted requests that have still to be sent.
    left: u64,
    free: VecDeque<usize>,
}

impl OpenLoop {
    fn due(&self) -> u64 {
        (self.offset_ns + self.next as f64 * self.interval_ns) as u64
    }

    /// Returns how many requests were due before `end` and have not been sent.
    fn overdue(&self, end: u64) -> u64 {
        let due = ((end as f64 - self.offset_ns) / self.interval_ns).ceil().max(0.0) as u64;
        due.saturating_sub(self.next).min(self.left)
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl<'a> EventLoop<'a> {
    /// Returns the loop of thread number `thread`; `sockets` are logged in, each with its number among all connections.
    ///
    /// # Errors
    ///
    /// A message for the user: the system has no event queue, or no memory for a histogram.
    pub fn new(plan: Plan<'a>, thread: usize, sockets: Vec<(usize, Socket)>) -> Result<EventLoop<'a>, String> {
        let failed = |error: io::Error| format!("the system's event queue failed: {error}");
        let settings = plan.settings;
        let poll = Poll::new().map_err(failed)?;
        let mut connections = Vec::with_capacity(sockets.len());
        for (index, (number, mut socket)) in sockets.into_iter().enumerate() {
            let interests = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut socket, Token(index), interests).map_err(failed)?;
            connections.push(Connection {
                socket,
                scanner: ReplyScanner::new(plan.wire),
                unsent: Vec::new(),
                sent: 0,
                in_flight: VecDeque::with_capacity(settings.pipeline),
                source: plan.workload.source(settings, number),
                left: settings.requests.unwrap_or(u64::MAX),
                is_free: true,
                budget: settings.reconnect.unwrap_or(u64::MAX),
                greeting_left: 0,
            });
        }
        let timer = Timer::new(poll.registry(), TIMER).map_err(failed)?;
        let count_from = nanos(settings.warmup);
        let open = settings.rate.map(|rate| OpenLoop {
            interval_ns: 1e9 * settings.threads as f64 / rate,
            // Threads take turns.
            offset_ns: 1e9 * thread as f64 / rate,
            next: 0,
            left: settings.requests.map_or(u64::MAX, |requests| requests.saturating_mul(connections.len() as u64)),
            free: (0..connections.len()).collect(),
        });
        let operations = plan.workload.names().map(|_| OperationStats::new()).collect::<Result<Vec<_>, _>>();
        let operations = operations.map_err(|error| format!("no histogram: {error}"))?;
        Ok(EventLoop {
            plan,
            start: Instant::now(),
            poll,
            connections,
            in_flight: 0,
            reads: (0..operations.len()).map(|operation| plan.workload.reads(operation)).collect(),
            operations,
            interval: Interval::default(),
            interval_end: INTERVAL_NS_MIN,
            buffer: vec![0; READ_BYTES],
            output: Vec::new(),
            count_from,
            deadline: settings.duration.map_or(u64::MAX, |time| count_from.saturating_add(nanos(time))),
            now: 0,
            progress_at: 0,
            last_counted: count_from,
            unpublished: (0, 0),
            open,
            timer,
            reconnects: 0,
        })
    }

    /// Runs to the end: all requests were replied to, the time is over, the user has interrupted it, or it failed.
    ///
    /// All times are counted from `start`.
    pub fn run(mut self, start: Instant) -> Counted {
        self.start = start;
        let failure = self.run_to_end().err();
        if failure.is_some() {
            self.plan.shared.stop.store(true, Ordering::Relaxed);
        }
        self.end_in_flight(failure.as_deref().unwrap_or("no reply"));
        self.publish();
        self.end_interval(0);
        let end = self.now.min(self.deadline);
        // An open loop takes as long as its timetable, however soon the last reply comes.
        let is_cut = self.plan.shared.stop.load(Ordering::Relaxed);
        let timetable = self.open.as_ref().filter(|_| !is_cut).map_or(0, |open| open.due().min(self.deadline));
        Counted {
            unsent: self.open.as_ref().filter(|_| end > self.count_from).map_or(0, |open| open.overdue(end)),
            operations: self.operations,
            reconnects: self.reconnects,
            elapsed: Duration::from_nanos(self.last_counted.max(timetable).saturating_sub(self.count_from)),
            failure,
        }
    }

    fn run_to_end(&mut self) -> Result<(), String> {
        let mut events = Events::with_capacity(1024);
        self.read_clock();
        self.progress_at = self.now;
        if self.open.is_none() {
            for index in 0..self.connections.len() {
                // To encode and send for all takes long: each begins at its own time.
                self.read_clock();
                self.send_batch(index)?;
            }
        }
        let mut stopped_at = None;
        loop {
            let stops = self.stops();
            if !stops {
                self.send_due()?;
            }
            let has_more = !stops && self.open.as_ref().is_some_and(|open| open.left > 0 && open.due() < self.deadline);
            if self.in_flight == 0 && !has_more {
                return Ok(());
            }
            let waited = |since: u64| self.now.saturating_sub(since);
            match stops.then(|| *stopped_at.get_or_insert(self.now)) {
                None if self.in_flight > 0 && waited(self.progress_at) > nanos(PATIENCE) => {
                    return Err(format!("no reply within {} s", PATIENCE.as_secs()));
                }
                Some(at) if waited(at.max(self.progress_at)) > nanos(GRACE) || waited(at) > nanos(PATIENCE) => {
                    return Err(format!("no reply within {} s of the end", GRACE.as_secs()));
                }
                _ => {}
            }
            let timeout = self.timeout(stops)?;
            match self.poll.poll(&mut events, Some(timeout)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                polled => polled.map_err(|error| format!("the system's event queue failed: {error}"))?,
            }
            let before = self.now;
            for event in &events {
                let index = event.token().0;
                if event.token() == TIMER {
                    continue;
                }
                if event.is_writable() {
                    self.flush(index)?;
                }
                if event.is_readable() || event.is_read_closed() || event.is_error() {
                    self.read(index, event.is_read_closed())?;
                }
            }
            if self.now == before {
                self.read_clock();
            }
            self.publish();
        }
    }

    /// Whether no more requests are to be sent.
    fn stops(&self) -> bool {
        self.now >= self.deadline || self.plan.shared.stop.load(Ordering::Relaxed)
    }

    fn read_clock(&mut self) {
        self.now = nanos(self.start.elapsed());
        if let Some(at) = self.now.checked_sub(self.count_from)
            && at >= self.interval_end
        {
            self.end_interval(at);
        }
    }

    /// Adds the interval to those of the other threads, and begins the one that `at` lies in.
    fn end_interval(&mut self, at: u64) {
        let begin = self.interval_end - INTERVAL_NS_MIN;
        self.plan.shared.recent.lock().unwrap_or_else(PoisonError::into_inner).merge(&self.interval);
        self.plan.shared.series.lock().unwrap_or_else(PoisonError::into_inner).add(begin, &self.interval);
        self.interval.clear();
        self.interval_end = (at / INTERVAL_NS_MIN + 1) * INTERVAL_NS_MIN;
    }

    /// Returns how long to wait for an event, and has the timer end the wait when a request is due.
    fn timeout(&mut self, stops: bool) -> Result<Duration, String> {
        match &self.open {
            Some(open) if !stops && open.left > 0 && !open.free.is_empty() => self
                .timer
                .wait(open.due(), self.now, TICK)
                .map_err(|error| format!("the system's timer failed: {error}")),
            _ => Ok(TICK),
        }
    }

    /// Reads what has arrived on a connection, counts the replies, and sends what can be sent now.
    ///
    /// `is_closed`: the end of the stream has arrived as well, and is not reported again.
    fn read(&mut self, index: usize, is_closed: bool) -> Result<(), String> {
        loop {
            let Some(connection) = self.connections.get_mut(index) else { return Ok(()) };
            let count = match connection.socket.read(&mut self.buffer) {
                Ok(0) => return Err("the server closed the connection".to_owned()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(format!("the connection failed: {error}")),
            };
            self.read_clock();
            self.progress_at = self.now;
            self.count(index, count)?;
            if self.open.is_some() {
                self.set_free(index);
                self.send_due()?;
            } else if self.connections.get(index).is_some_and(|connection| connection.in_flight.is_empty()) {
                self.send_batch(index)?;
            }
            // The queue reports what arrives after this.
            if count < self.buffer.len() && !is_closed {
                return Ok(());
            }
        }
    }

    /// Counts the replies in the first `count` bytes of the buffer.
    fn count(&mut self, index: usize, count: usize) -> Result<(), String> {
        let EventLoop { connections, operations, reads, interval, buffer, now, last_counted, .. } = self;
        let Some(connection) = connections.get_mut(index) else { return Ok(()) };
        let (mut ended, mut counted, mut errors, mut is_unexpected, mut refused) = (0, 0, 0, false, None);
        let Connection { in_flight, greeting_left, scanner, .. } = connection;
        let scanned = scanner.feed(buffer.get(..count).unwrap_or_default(), |kind, text| {
            if *greeting_left > 0 {
                *greeting_left -= 1;
                if kind == ReplyKind::Error && refused.is_none() {
                    let mut visible = Vec::new();
                    write_visible_line(text, &mut visible);
                    refused = Some(String::from_utf8_lossy(&visible).into_owned());
                }
                return;
            }
            let Some(request) = in_flight.pop_front() else {
                is_unexpected = true;
                return;
            };
            ended += 1;
            if request.is_counted {
                let latency = now.saturating_sub(request.at);
                let is_error = kind == ReplyKind::Error;
                counted += 1;
                errors += u64::from(is_error);
                interval.record(is_error, latency);
                if let (Some(stats), Some(&reads)) =
                    (operations.get_mut(request.operation), reads.get(request.operation))
                {
                    stats.record(kind, text, reads, latency);
                }
            }
        });
        if counted > 0 {
            *last_counted = *now;
        }
        self.in_flight -= ended;
        self.unpublished.0 += counted;
        self.unpublished.1 += errors;
        scanned.map_err(|error| format!("the protocol was violated: {error}"))?;
        if let Some(text) = refused {
            return Err(format!("a new connection was refused: {text}"));
        }
        if is_unexpected {
            return Err("the protocol was violated: the server sent a reply too many".to_owned());
        }
        Ok(())
    }

    /// Closed loop: sends a connection's next requests, if there are more.
    fn send_batch(&mut self, index: usize) -> Result<(), String> {
        if self.stops() {
            return Ok(());
        }
        let is_counted = self.now >= self.count_from;
        let Some(connection) = self.connections.get(index) else { return Ok(()) };
        let left = if is_counted { connection.left } else { u64::MAX };
        if left == 0 {
            return Ok(());
        }
        self.renew_if_used_up(index, is_counted)?;
        let Some(connection) = self.connections.get_mut(index) else { return Ok(()) };
        let most = left.min(connection.budget);
        let count = self.plan.settings.pipeline.min(usize::try_from(most).unwrap_or(usize::MAX));
        connection.budget -= count as u64;
        if is_counted {
            connection.left -= count as u64;
        }
        for _ in 0..count {
            let operation = self.plan.workload.encode(&mut connection.source, &mut self.output);
            connection.in_flight.push_back(Request { operation, at: self.now, is_counted });
        }
        self.note_sent(count);
        self.write(index)
    }

    /// Opens the connection again if it has carried as many requests as it may; no reply is awaited on it then.
    fn renew_if_used_up(&mut self, index: usize, is_counted: bool) -> Result<(), String> {
        let failed = |error: io::Error| format!("the connection cannot be opened again: {error}");
        let Some(connection) = self.connections.get_mut(index) else { return Ok(()) };
        if connection.budget > 0 {
            return Ok(());
        }
        let mut socket = self.plan.endpoint.connect().map_err(failed)?;
        // The old one is closed when it is replaced, and with that leaves the queue.
        self.poll.registry().deregister(&mut connection.socket).map_err(failed)?;
        let interests = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut socket, Token(index), interests).map_err(failed)?;
        connection.socket = socket;
        connection.unsent.clear();
        connection.sent = 0;
        connection.scanner = ReplyScanner::new(self.plan.wire);
        connection.budget = self.plan.settings.reconnect.unwrap_or(u64::MAX);
        connection.greeting_left = self.plan.endpoint.greeting_replies;
        self.output.extend_from_slice(&self.plan.endpoint.greeting);
        self.reconnects += u64::from(is_counted);
        Ok(())
    }

    /// Counts requests as in flight.
    fn note_sent(&mut self, count: usize) {
        if self.in_flight == 0 {
            self.progress_at = self.now;
        }
        self.in_flight += count;
    }

    /// Open loop: sends the requests that are due, as long as there are connections for them.
    fn send_due(&mut self) -> Result<(), String> {
        loop {
            let has_ended = self.stops();
            let (now, count_from, deadline, pipeline) =
                (self.now, self.count_from, self.deadline, self.plan.settings.pipeline);
            let Some(open) = &mut self.open else { return Ok(()) };
            let due = open.due();
            if open.left == 0 || due > now || has_ended {
                return Ok(());
            }
            if due >= deadline {
                return Ok(());
            }
            let Some(index) = open.free.pop_front() else { return Ok(()) };
            let is_counted = due >= count_from;
            open.next += 1;
            open.left -= u64::from(is_counted);
            self.renew_if_used_up(index, is_counted)?;
            let (Some(open), Some(connection)) = (&mut self.open, self.connections.get_mut(index)) else {
                return Ok(());
            };
            let operation = self.plan.workload.encode(&mut connection.source, &mut self.output);
            connection.in_flight.push_back(Request { operation, at: due, is_counted });
            connection.budget -= 1;
            connection.is_free = connection.can_take_more(pipeline);
            if connection.is_free {
                open.free.push_back(index);
            }
            self.note_sent(1);
            self.write(index)?;
        }
    }

    /// Open loop: a connection can take requests again.
    fn set_free(&mut self, index: usize) {
        let pipeline = self.plan.settings.pipeline;
        if let (Some(open), Some(connection)) = (&mut self.open, self.connections.get_mut(index))
            && !connection.is_free
            && connection.can_take_more(pipeline)
        {
            connection.is_free = true;
            open.free.push_back(index);
        }
    }

    /// Sends the output, and keeps what the system does not take.
    fn write(&mut self, index: usize) -> Result<(), String> {
        let Some(connection) = self.connections.get_mut(index) else { return Ok(()) };
        let mut sent = 0;
        if connection.unsent.is_empty() {
            sent = write_some(&mut connection.socket, &self.output)?;
        } else if connection.sent > connection.unsent.len() / 2 {
            // Moves no more bytes than were sent since the last time.
            connection.unsent.drain(..connection.sent);
            connection.sent = 0;
        }
        connection.unsent.extend_from_slice(self.output.get(sent..).unwrap_or_default());
        self.output.clear();
        Ok(())
    }

    /// Sends what the system has not taken before.
    fn flush(&mut self, index: usize) -> Result<(), String> {
        let Some(connection) = self.connections.get_mut(index) else { return Ok(()) };
        if !connection.unsent.is_empty() {
            let rest = connection.unsent.get(connection.sent..).unwrap_or_default();
            let sent = write_some(&mut connection.socket, rest)?;
            connection.sent += sent;
            if sent > 0 {
                self.progress_at = self.now;
            }
            if connection.sent == connection.unsent.len() {
                connection.unsent.clear();
                connection.sent = 0;
            }
        }
        Ok(())
    }

    /// Counts the requests whose replies do not come any more as errors.
    fn end_in_flight(&mut self, why: &str) {
        for connection in &mut self.connections {
            for request in connection.in_flight.drain(..).filter(|request| request.is_counted) {
                if let Some(stats) = self.operations.get_mut(request.operation) {
                    stats.record_unanswered(why);
                }
                self.interval.record_unanswered();
                self.unpublished.0 += 1;
                self.unpublished.1 += 1;
                self.last_counted = self.last_counted.max(self.now);
            }
        }
        self.in_flight = 0;
    }

    fn publish(&mut self) {
        let (requests, errors) = std::mem::take(&mut self.unpublished);
        if requests > 0 {
            self.plan.shared.requests.fetch_add(requests, Ordering::Relaxed);
            self.plan.shared.errors.fetch_add(errors, Ordering::Relaxed);
        }
    }
}

/// Writes what the system takes; returns how much that is.
fn write_some(socket: &mut Socket, bytes: &[u8]) -> Result<usize, String> {
    let mut sent = 0;
    while let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
        match socket.write(rest) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(format!("the connection failed: {error}")),
        }
    }
    Ok(sent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::options::{Distribution, Ttl, ValueSizes};

    #[test]
    fn a_request_allocates_nothing_once_the_buffers_have_grown() {
        let settings = Settings {
            connections: 1,
            requests: None,
            duration: None,
            warmup: Duration::ZERO,
            ratio: 0.5,
            key_size: 16,
            value_sizes: ValueSizes::Range(10, 1000),
            ttl: Ttl { min: 60, max: 600 },
            keys: 1000,
            distribution: Distribution::Zipf(0.99),
            pipeline: 16,
            threads: 1,
            rate: None,
            reconnect: None,
            idle: 0,
            seed: 1,
            commands: Vec::new(),
        };
        for (wire, reply) in [(Wire::Resp, &b"$5\r\nvalue\r\n"[..]), (Wire::Line, b"OK value\n")] {
            let workload = Workload::new(&settings, wire).unwrap();
            let mut source = workload.source(&settings, 0);
            let mut scanner = ReplyScanner::new(wire);
            let mut stats = OperationStats::new().unwrap();
            let mut interval = Interval::default();
            // Enough for sixteen of the longest requests.
            let mut output = Vec::with_capacity(32 * 1024);
            let (mut hits, mut time) = (0, 0);
            let mut run = |requests: u64| {
                for _ in 0..requests {
                    output.clear();
                    let operation = workload.encode(&mut source, &mut output);
                    let reads = workload.reads(operation);
                    hits += u64::from(reads);
                    time += 1_000;
                    // In two pieces: what is held of a line has its room, too.
                    for piece in [&reply[..4], &reply[4..]] {
                        let scanned = scanner.feed(piece, |kind, text| {
                            stats.record(kind, text, reads, time);
                            interval.record(false, time);
                        });
                        scanned.unwrap();
                    }
                }
            };
            run(100);
            let allocated = allocation_counter::measure(|| run(5_000));
            assert_eq!(allocated.count_total, 0, "{wire:?}");
            let summary = stats.summary(Duration::from_secs(1));
            assert_eq!((summary.count, summary.hits), (5_100, hits), "{wire:?}");
        }
    }

    #[test]
    fn a_timetable_counts_what_it_owes() {
        let mut open = OpenLoop { interval_ns: 1000.0, offset_ns: 500.0, next: 0, left: 10, free: VecDeque::new() };
        assert_eq!((open.due(), open.overdue(500), open.overdue(501), open.overdue(2_501)), (500, 0, 1, 3));
        open.next = 2;
        assert_eq!((open.due(), open.overdue(2_501), open.overdue(1)), (2_500, 1, 0));
        assert_eq!(open.overdue(1_000_000), 10);
    }
}
