//! The progress bar.
//!
//! Invariant: it is drawn on standard error, and only if that is a terminal.

use crate::bench::connections::Shared;
use crate::bench::options::Settings;
use crate::bench::report::time;
use crate::bench::stats::Interval;
use crate::output::grouped;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{self, IsTerminal};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// The bar of a run.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
    limit: Option<Duration>,
    warmup: Duration,
    start: Instant,
    drawn: Instant,
    /// Requests when it was last drawn, and the times since then.
    requests: u64,
    times: String,
}

/// How often the bar is drawn.
const EVERY: Duration = Duration::from_millis(200);

impl Progress {
    /// Returns the bar of a run that begins now.
    pub fn new(settings: &Settings, title: &str) -> Progress {
        let total = match (settings.duration, settings.requests) {
            (Some(duration), _) => u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
            (None, requests) => requests.unwrap_or(0).saturating_mul(settings.connections as u64),
        };
        let bar = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template("{prefix} {bar:10} {percent:>3}% {wide_msg}") {
                bar.set_style(style);
            }
            bar.set_prefix(title.to_owned());
            bar
        });
        let now = Instant::now();
        Progress {
            bar,
            limit: settings.duration,
            warmup: settings.warmup,
            start: now,
            drawn: now,
            requests: 0,
            times: String::new(),
        }
    }

    /// Shows what happened since the last time, if that was long enough ago.
    pub fn update(&mut self, shared: &Shared) {
        let Some(bar) = &self.bar else { return };
        let since = self.drawn.elapsed();
        if since < EVERY {
            return;
        }
        self.drawn = Instant::now();
        let elapsed = self.start.elapsed();
        if elapsed < self.warmup {
            bar.set_message("warming up");
            return;
        }
        let requests = shared.requests.load(Ordering::Relaxed);
        let errors = shared.errors.load(Ordering::Relaxed);
        let rate = (requests - self.requests) as f64 / since.as_secs_f64();
        self.requests = requests;
        let recent = std::mem::take(&mut *shared.recent.lock().unwrap_or_else(PoisonError::into_inner));
        self.show_times(&recent);
        if let Some(bar) = &self.bar {
            let done = (elapsed - self.warmup).as_millis();
            bar.set_position(if self.limit.is_some() { u64::try_from(done).unwrap_or(u64::MAX) } else { requests });
            let rate = grouped(rate.round() as u64);
            bar.set_message(format!("{rate}/s, {} errors, {}", grouped(errors), self.times));
        }
    }

    fn show_times(&mut self, recent: &Interval) {
        if let (Some(p50), Some(p99)) = (recent.latency_us(0.5), recent.latency_us(0.99)) {
            self.times = format!("p50 {} p99 {}", time(p50), time(p99));
        }
    }

    /// Removes the bar.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
