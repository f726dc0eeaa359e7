//! What a loop looks after by the clock: figures for INFO, slow and idle clients, memory.
//!
//! Invariant: it costs the requests of an iteration nothing but the look at the clock that the iteration needs anyway.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::EventLoop;
use crate::event_loop::connection::{Connection, Phase};
use crate::notify::tracking::ReadKeys;
use crate::state::WriteCheck;
use crate::state::runtime_config::save_when_due;
use kvstats::counters::Counters;

/// How often counters are sampled and slow readers looked at.
pub(super) const TICK: Duration = Duration::from_secs(1);
/// How soon clients are looked at again when none may be ended although they take too much.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

impl EventLoop {
    /// With limits on the store, looks whether they are kept: what clients hold counts, too, and a limit may have been
    /// lowered. In steps: the rest follows in the next iteration.
    pub(super) fn keep_limits(&mut self) {
        self.executor.refresh_limits();
        self.server().apply_late_limits();
        let tuning = &self.server().runtime;
        if tuning.memory_bytes_max.load(Relaxed) == 0 && tuning.entries_max.load(Relaxed) == 0 {
            self.makes_room = false;
            return;
        }
        let is_unfinished = self.server().keep_limits();
        // With a log that takes no removals there is nothing to go on with; the next iteration tries again.
        let takes_removals = self.server().log_failure().is_none() && !self.server().db.hooks().is_backlogged();
        self.makes_room = is_unfinished && takes_removals;
        if self.server().notify.tracking.is_on() {
            let origin = &self.executor.origin;
            self.server().notify.tracking.invalidate(origin, &self.server().clients, 0, &ReadKeys::new());
        }
    }

    /// Shows others what a connection holds.
    pub(super) fn show(&self, connection: &mut Connection) {
        let before = connection.held_bytes();
        connection.show(self.now);
        count_held(connection, before, self.counters());
    }

    /// With a limit on memory, no longer counts what a connection has sent, as it is about to become data: a large value would
    /// count twice, and displace as much again. What is not executed counts again when the connection is [shown](Self::show).
    pub(super) fn count_requests_as_executed(&self, connection: &mut Connection) {
        if self.server().has_write_check(WriteCheck::Memory) {
            let bytes = connection.take_request_bytes();
            let held = &self.counters().held_bytes;
            held.set(held.get().saturating_sub(bytes as u64));
            self.server().count_client_memory();
        }
    }

    /// With a limit on what clients take, ends those that take most where it is not kept. All connections are in their
    /// places.
    pub(super) fn bound_clients(&mut self) {
        let Some(limit) = self.server().runtime.client_bytes_max() else { return };
        // The clock itself: an iteration in which much is answered takes long.
        if self.server().client_bytes() <= limit || Instant::now() < self.periodic.next_eviction {
            return;
        }
        // Who is closed below has been sent all that was said to it.
        self.write_replies();
        let ended = self.server().evict_clients(limit);
        if ended.is_empty() {
            // Those that may not be ended take that much: not worth a look in every iteration.
            self.periodic.next_eviction = Instant::now() + LOOK_AGAIN;
        }
        // Its own without waiting for the message: their memory is wanted now.
        for address in ended {
            if address.loop_index == self.index {
                self.kill(address);
            }
        }
        self.close_finished();
    }

    /// Once a second: rates for INFO, and subscribers that have not read for long.
    pub(super) fn tick(&mut self) {
        if self.now < self.periodic.next_tick {
            return;
        }
        self.periodic.next_tick = self.now + TICK;
        let counters = self.counters();
        let sample = [counters.requests.get(), counters.input_bytes.get(), counters.output_bytes.get()];
        let rates = [&counters.requests_per_second, &counters.input_per_second, &counters.output_per_second];
        for ((rate, now), before) in rates.into_iter().zip(sample).zip(self.periodic.last_sample) {
            rate.set(now - before);
        }
        self.periodic.last_sample = sample;
        self.executor.refresh_limits();
        self.server().db.hooks().note_time();
        if self.server().debug.cron_paused.load(Relaxed) {
            return;
        }
        let peak_reset = Duration::from_millis(self.server().debug.peak_reset_ms.load(Relaxed));
        let forget_peaks = self.now.saturating_duration_since(self.periodic.peaks_since) >= peak_reset;
        if forget_peaks {
            self.periodic.peaks_since = self.now;
        }
        // If nobody waits for its end, this is who notices it.
        self.server().clients.pause.until(self.now);
        let limits = self.executor.bounds.output;
        let idle_max = self.server().runtime.timeout_secs.load(Relaxed);
        let login_max = match self.server().runtime.login_timeout_secs.load(Relaxed) {
            0 => Duration::MAX,
            seconds => Duration::from_secs(seconds),
        };
        for (slot, connection) in self.connections.iter_mut().enumerate() {
            if let Some(connection) = connection {
                let known = connection.session.access.is_authenticated(&self.executor.server.acl);
                if forget_peaks {
                    connection.note_reply_peak(0);
                }
                if !connection.outbox.is_empty() {
                    // Its share of a large value depends on how many others have that.
                    let before = connection.held_bytes();
                    connection.show_output();
                    count_held(connection, before, &self.executor.counters);
                    if connection.enforce(&limits, known, self.now) {
                        self.executor.server.statistics.ended_by_output_limit.fetch_add(1, Relaxed);
                    }
                    self.queues.closing.push(slot);
                }
                if known {
                    connection.known_until = self.now;
                }
                // Whatever it asks for meanwhile: what is refused costs it nothing.
                if self.now.saturating_duration_since(connection.known_until) > login_max {
                    connection.phase = Phase::Broken;
                    self.queues.closing.push(slot);
                }
                if idle_max > 0 && connection.is_idle_for(Duration::from_secs(idle_max), self.now) {
                    connection.phase = Phase::Broken;
                    self.queues.closing.push(slot);
                }
            }
        }
        if self.index == 0 && self.stop_at.is_none() {
            let server = self.server();
            server.backups.end_stalled(self.now);
            save_when_due(&server.db, &server.runtime, server.statistics.started_at_ms, self.now);
        }
    }
}

/// Counts what a connection holds now, and no longer what it held before.
fn count_held(connection: &Connection, before: usize, counters: &Counters) {
    let held = &counters.held_bytes;
    held.set((held.get() + connection.held_bytes() as u64).saturating_sub(before as u64));
}
