//! Executes the requests that lie in a piece of input and writes their replies into the reply batch.
//!
//! Invariant: replies come in the order of requests; a request is decoded and executed once, however its bytes arrived.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use kvcore::hooks::Lsn;
use kvproto::line::{self, LineDecoder, LineErrorKind};
use kvproto::resp::{self, RequestDecoder};
use kvproto::{Limits, ProtocolError, Reply, Request};

use crate::context::call_record::CallRecord;
use crate::context::jobs::{Job, Jobs};
use crate::context::{DispatchTable, Next};
use crate::dispatch::{self, CallResult, Rest};
use crate::event_loop::connection::{Connection, Decoder, Phase, Progress};
use crate::event_loop::reply_batch::ReplyBatch;
use crate::net::listener::{LineRules, Protocol};
use crate::notify::origin::Origin;
use crate::notify::tracking::ReadKeys;
use crate::session::Replies;
use crate::state::runtime_config::LoopLimits;
use crate::state::server_config::{ITERATION_REQUESTS_MAX, OUTPUT_PAUSE_BYTES, SLICE_TIME};
use crate::state::{ServerState, WriteCheck};
use kvcommands::outcome;
use kvcommands::outcome::REPLY_BYTES_MAX;
use kvstats::counters::Counters;

/// What executing needs of a loop.
pub(crate) struct Executor {
    pub(crate) server: Arc<ServerState>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) replies: ReplyBatch,
    pub(crate) table: DispatchTable,
    jobs: Arc<Jobs>,
    /// Of what this loop changes.
    pub(crate) origin: Origin,
    /// This loop's copy, and which one it is.
    pub(crate) bounds: LoopLimits,
    pub(crate) limits_generation: u64,
    /// A copy of the clock that commands are timed by, and what it showed last.
    pub(crate) clock: quanta::Clock,
    pub(crate) last_tick: u64,
    /// [`SLICE_TIME`] in ticks of the clock.
    slice_ticks: u64,
}

/// Returns how many ticks of a clock `time` lasts.
pub(crate) fn ticks_in(clock: &quanta::Clock, time: Duration) -> u64 {
    const TICKS: u64 = 1 << 20;
    let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    nanos.saturating_mul(TICKS) / clock.delta_as_nanos(0, TICKS).max(1)
}

/// One request read, or refused.
struct Step {
    bytes: usize,
    /// It was a whole request; otherwise the decoder may be in the middle of something that is refused.
    whole: bool,
}

impl Step {
    /// A request of `bytes`, unless it was postponed: then it is read again.
    fn over(bytes: usize, whole: bool, connection: &Connection) -> Step {
        let is_postponed = matches!(connection.phase, Phase::Paused | Phase::AwaitsRoom);
        Step { bytes: if is_postponed { 0 } else { bytes }, whole }
    }
}

impl Executor {
    pub(crate) fn new(
        server: Arc<ServerState>,
        counters: Arc<Counters>,
        table: DispatchTable,
        jobs: Arc<Jobs>,
    ) -> Executor {
        let clock = server.slow.clock().clone();
        let slice_ticks = ticks_in(&clock, SLICE_TIME);
        Executor {
            limits_generation: server.runtime.generation(),
            bounds: server.runtime.loop_limits(),
            clock,
            last_tick: 0,
            slice_ticks,
            origin: Origin::new(server.id),
            server,
            counters,
            replies: ReplyBatch::default(),
            table,
            jobs,
        }
    }

    /// Executes what `input` holds, as far as it is whole and the connection may go on.
    pub(crate) fn execute(
        &mut self,
        slot: usize,
        connection: &mut Connection,
        decoder: &mut Decoder,
        input: &[u8],
    ) -> Progress {
        self.refresh_limits();
        self.last_tick = self.clock.raw();
        let slice_end = self.last_tick.saturating_add(self.slice_ticks);
        let start = self.replies.len();
        self.replies.begin(slot);
        self.origin.set_client(connection.session.client.id);
        let mut requests = 0;
        let mut progress = Progress { used: 0, runnable: true, decoder_is_clean: true };
        while progress.used < input.len()
            && requests < ITERATION_REQUESTS_MAX
            && connection.phase == Phase::Open
            && self.last_tick < slice_end
            && connection.outbox.len() + (self.replies.len() - start) <= OUTPUT_PAUSE_BYTES
        {
            let rest = &input[progress.used..];
            let step = match (&mut *decoder, connection.protocol) {
                (Decoder::Resp(decoder), _) => self.resp_request(connection, decoder, rest),
                (Decoder::Line(decoder), Protocol::Line(rules)) => self.line_request(connection, decoder, rules, rest),
                (Decoder::Line(_), Protocol::Resp) => None,
            };
            let Some(step) = step else {
                progress.runnable = false;
                progress.decoder_is_clean = false;
                break;
            };
            progress.used += step.bytes;
            progress.decoder_is_clean = step.whole;
            // One that was postponed is read again.
            requests += usize::from(step.bytes > 0);
        }
        self.counters.requests.add(requests as u64);
        if self.server.notify.tracking.is_on() {
            // A client that tracks has settled after each of its requests.
            self.server.notify.tracking.invalidate(&self.origin, &self.server.clients, 0, &ReadKeys::new());
        } else {
            // Nobody is left whom they concern.
            self.origin.forget_changes();
        }
        progress
    }

    /// Takes note of what CONFIG SET may have changed.
    pub(crate) fn refresh_limits(&mut self) {
        let newest = self.server.runtime.generation();
        if newest != self.limits_generation {
            self.bounds = self.server.runtime.loop_limits();
            self.limits_generation = newest;
            self.counters.commands.begin(self.server.statistics.epoch());
        }
    }

    /// One RESP request; `None` when the input holds no whole one.
    fn resp_request(
        &mut self,
        connection: &mut Connection,
        decoder: &mut RequestDecoder,
        input: &[u8],
    ) -> Option<Step> {
        match decoder.decode(input, self.limits(connection)) {
            Ok(used) => {
                let bytes = used?;
                if decoder.is_ahead() {
                    // For most commands, the key.
                    let keys = decoder.ahead(input).filter_map(|request| request.get(1));
                    connection.session.keyspace.hooks().prefetch(keys);
                }
                let request = decoder.request(input);
                let whole = !request.is_empty();
                if whole {
                    let (server, table, origin) = (&self.server, &self.table, &self.origin);
                    let answer = dispatch::answer(request, &mut connection.session, server, table, origin);
                    self.finish(connection, request, bytes, answer);
                }
                if connection.phase != Phase::Open {
                    // Perhaps the request is read again.
                    decoder.forget_ahead();
                }
                Some(Step::over(bytes, whole, connection))
            }
            Err(ProtocolError::OtherProtocol) => {
                self.refuse_other_protocol(connection);
                Some(Step { bytes: input.len(), whole: false })
            }
            Err(error) => {
                if error == ProtocolError::RequestTooLong {
                    self.server.statistics.ended_by_query_limit.fetch_add(1, Relaxed);
                }
                // There is no telling where the next request would start.
                self.reply(connection, None, &Reply::from(error), Lsn::ZERO);
                connection.phase = Phase::Closing;
                Some(Step { bytes: input.len(), whole: false })
            }
        }
    }

    /// One line; `None` when the input holds no whole one.
    fn line_request(
        &mut self,
        connection: &mut Connection,
        decoder: &mut LineDecoder,
        rules: LineRules,
        input: &[u8],
    ) -> Option<Step> {
        match decoder.decode(input, rules.style, self.limits(connection)) {
            Ok(used) => {
                let bytes = used?;
                let request = decoder.request(input);
                let whole = !request.is_empty();
                if whole {
                    let answer = match dispatch::refused_by_line_rules(request, rules) {
                        Some(refusal) => refusal,
                        None => {
                            let (server, table, origin) = (&self.server, &self.table, &self.origin);
                            dispatch::answer(request, &mut connection.session, server, table, origin)
                        }
                    };
                    self.finish(connection, request, bytes, answer);
                }
                Some(Step::over(bytes, whole, connection))
            }
            Err(error) => {
                if error.kind == LineErrorKind::OtherProtocol {
                    self.refuse_other_protocol(connection);
                } else {
                    self.reply(connection, None, &error.reply(), Lsn::ZERO);
                }
                Some(Step { bytes: error.skip, whole: false })
            }
        }
    }

    /// Closes a connection on which HTTP or TLS came. It gets no reply, so that a web page learns nothing.
    fn refuse_other_protocol(&self, connection: &mut Connection) {
        self.server.statistics.http_refusals.add(&connection.session.client, self.server.statistics.started.elapsed());
        connection.phase = Phase::Closing;
    }

    /// How large a request of this client may be.
    fn limits(&self, connection: &Connection) -> &Limits {
        if connection.session.access.is_authenticated(&self.server.acl) {
            &self.bounds.limits
        } else {
            &self.server.config.unauthenticated_limits
        }
    }

    /// What follows a request of `bytes` that was executed or refused.
    fn finish(&mut self, connection: &mut Connection, request: Request<'_>, bytes: usize, answer: CallResult) {
        let CallResult { spec, reply, lsn, lookups, rest } = answer;
        self.counters.count_lookups(lookups);
        let ticks = self.ticks();
        let about = spec.map(|spec| (spec, request));
        let start = self.replies.len();
        let Some(rest) = rest else {
            self.count(connection, about, &reply, ticks);
            self.reply(connection, about, &reply, lsn);
            self.log_if_large(connection, about, bytes, start, ticks);
            return self.after_request(connection);
        };
        let ran = about.filter(|_| !rest.rejected);
        if self.finish_rest(connection, request, about, &reply, lsn, *rest, ticks) {
            self.log_if_large(connection, ran, bytes, start, ticks);
            self.after_request(connection);
        }
    }

    /// Finishes a request whose answer is more than one reply. Returns whether the request is over.
    #[cold]
    #[allow(clippy::too_many_arguments, reason = "the parts of an answer, taken apart by the only caller")]
    fn finish_rest(
        &mut self,
        connection: &mut Connection,
        request: Request<'_>,
        about: Option<(&'static kvproto::Spec, Request<'_>)>,
        reply: &Reply,
        lsn: Lsn,
        rest: Rest,
        ticks: u64,
    ) -> bool {
        let spec = about.map(|(spec, _)| spec);
        if rest.rejected {
            if let Some(spec) = spec {
                self.counters.commands.rejected(spec);
            }
        } else if matches!(rest.next, Next::Continue | Next::Close) {
            self.count(connection, about, reply, ticks);
        }
        // RESET has changed the version, and what goes before its reply was posted before it.
        let version = std::mem::replace(&mut connection.session.version, rest.version);
        for reply in &rest.before {
            self.reply(connection, None, reply, lsn);
        }
        connection.session.version = version;
        match rest.next {
            Next::Continue => {
                // What was rejected for its number of words has a name all the same.
                let named = about.or_else(|| kvproto::spec::lookup(request.name()).map(|spec| (spec, request)));
                self.reply(connection, named, reply, lsn);
            }
            Next::Close => {
                self.reply(connection, about, reply, lsn);
                connection.phase = Phase::Closing;
            }
            Next::Park(work) => {
                connection.phase = Phase::Parked;
                let bytes = work.bytes + request.iter().map(<[u8]>::len).sum::<usize>();
                // As on a loop: it is about to become data, and would count twice.
                let becomes_data = work.is_compute();
                if becomes_data {
                    self.server.statistics.drafts.fetch_add(1, Relaxed);
                }
                let counts = !becomes_data || !self.server.has_write_check(WriteCheck::Memory);
                connection.parked_bytes = if counts { bytes } else { 0 };
                let from = connection.session.address;
                self.jobs.start(Job { from, request: request.to_owned(), work });
                return false;
            }
            Next::AwaitPause => {
                connection.phase = Phase::Paused;
                return false;
            }
            Next::AwaitRoom => {
                connection.phase = Phase::AwaitsRoom;
                return false;
            }
        }
        true
    }

    /// What follows the reply of a request.
    #[inline]
    pub(crate) fn after_request(&mut self, connection: &mut Connection) {
        connection.session.after_request();
        if connection.session.tracking.is_some() {
            let read = connection.session.take_read_keys();
            let (tracking, own) = (&self.server.notify.tracking, connection.session.client.id);
            for invalidation in tracking.invalidate(&self.origin, &self.server.clients, own, &read) {
                self.invalidate(connection, &invalidation);
            }
        }
    }

    /// Ticks since it was last asked: one look at the clock is the end of one command and the beginning of the next, so
    /// reading and answering a command counts as its own.
    fn ticks(&mut self) -> u64 {
        let now = self.clock.raw();
        let ticks = now.saturating_sub(self.last_tick);
        self.last_tick = now;
        ticks
    }

    /// Takes note of a command that ran.
    #[inline(always)]
    pub(crate) fn count(
        &self,
        connection: &Connection,
        about: Option<(&'static kvproto::Spec, Request<'_>)>,
        reply: &Reply,
        ticks: u64,
    ) {
        let Some((spec, request)) = about else { return };
        if connection.session.transaction.is_some() && !spec.traits.has(kvproto::spec::Trait::NotQueued) {
            // EXEC will count it.
            return;
        }
        connection.session.count_command();
        let ran = CallRecord { spec, request, client: &connection.session.client, ticks };
        ran.count(&self.counters, &self.server.slow);
        if matches!(reply, Reply::Error(_)) {
            self.counters.commands.failed(spec);
        }
    }

    /// Logs a command that ran if its request of `bytes`, or what it has added to the reply batch since `start`, was large; and
    /// counts it for its keys while hot keys are tracked.
    #[inline]
    pub(crate) fn log_if_large(
        &self,
        connection: &Connection,
        about: Option<(&'static kvproto::Spec, Request<'_>)>,
        bytes: usize,
        start: usize,
        ticks: u64,
    ) {
        let reply_bytes = self.replies.len() - start;
        if bytes.max(reply_bytes) < self.bounds.large_bytes {
            return;
        }
        let Some((spec, request)) = about else { return };
        if connection.session.transaction.is_some() && !spec.traits.has(kvproto::spec::Trait::NotQueued) {
            // EXEC will log it.
            return;
        }
        let ran = CallRecord { spec, request, client: &connection.session.client, ticks };
        ran.note_size([bytes, reply_bytes], &self.server);
    }

    /// Writes one reply in the connection's language.
    pub(crate) fn reply(
        &mut self,
        connection: &mut Connection,
        about: Option<(&'static kvproto::Spec, Request<'_>)>,
        reply: &Reply,
        lsn: Lsn,
    ) {
        if let Reply::Error(text) = reply {
            self.counters.errors.add(1);
            self.counters.commands.error(text);
        }
        // Even if nothing is sent: the client has written, and what it publishes may rest on that.
        connection.session.seen = connection.session.seen.max(lsn);
        if connection.session.replies != Replies::On
            && connection.session.replies.are_silent()
            && !matches!(reply, Reply::Push(_))
        {
            return;
        }
        if matches!(reply, Reply::Array(_) | Reply::Map(_)) {
            let bytes = reply.payload_bytes();
            if bytes > REPLY_BYTES_MAX {
                return self.reply(connection, about, &outcome::reply_too_large().into(), lsn);
            }
            // Once, rather than by doubling what is large already.
            let is_resp = matches!(connection.protocol, Protocol::Resp);
            self.replies.bytes.reserve(if is_resp { reply.copied_bytes() } else { bytes });
        }
        if lsn > Lsn::ZERO {
            self.replies.await_durable(lsn);
        }
        match connection.protocol {
            Protocol::Resp => resp::encode(reply, connection.session.version, &mut self.replies),
            Protocol::Line(rules) => line::speak(rules.style, about, reply, &mut self.replies.bytes),
        }
    }
}
