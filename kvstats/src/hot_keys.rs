//! HOTKEYS: the keys on which commands spend most time, and those whose requests and replies have most bytes.
//!
//! Invariant: a command costs nothing more while nothing is tracked, and what is kept of keys is bounded. To track is to lower to
//! 0 the size from which on a command is looked at after it ran, which is compared in any case.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use kvproto::spec::Trait;
use kvproto::{Args, CommandError, Reply, Request, Spec};
use parking_lot::Mutex;

use crate::process::Usage;
use crate::slow::Slow;

/// When there are twice as many keys in a [`Summary`], the lesser half is dropped. Well above the most that are reported.
const KEYS_KEPT: usize = 1024;
/// A longer key is not tracked.
const KEY_BYTES_MAX: usize = 1024;

/// What HOTKEYS START was given.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// By the time that their commands take.
    pub by_time: bool,
    /// By the bytes of their requests and replies.
    pub by_bytes: bool,
    /// How many keys are reported.
    pub keys: usize,
    /// After which it ends by itself.
    pub duration: Option<Duration>,
    /// One key in so many is tracked.
    pub sample: u64,
}

/// Keys that are shown, unless the client wants more or less.
const KEYS: i64 = 10;
const KEYS_MAX: i64 = 64;
const DURATION_SECS_MAX: i64 = 1_000_000;
/// Slots of a cluster: the first and the last.
const SLOTS: [i64; 2] = [0, 16_383];

impl Options {
    /// Reads `METRICS count [CPU] [NET] [COUNT k] [DURATION seconds] [SAMPLE ratio] [SLOTS count slot [slot ...]]`.
    ///
    /// # Errors
    ///
    /// If the words are not in order.
    pub fn read(mut args: Args<'_>) -> Result<Options, CommandError> {
        if !args.eat("metrics") {
            return Err(CommandError::custom("ERR METRICS parameter is required"));
        }
        let metrics = args.integer()?;
        let (mut by_time, mut by_bytes) = (false, false);
        loop {
            if !by_time && args.eat("cpu") {
                by_time = true;
            } else if !by_bytes && args.eat("net") {
                by_bytes = true;
            } else {
                break;
            }
        }
        if metrics != i64::from(by_time) + i64::from(by_bytes) || metrics == 0 {
            return Err(CommandError::custom("ERR METRICS count does not match number of metric types provided"));
        }
        let (mut keys, mut duration, mut sample) = (None, None, None);
        while !args.is_empty() {
            if keys.is_none() && args.eat("count") {
                keys = Some(within(args.integer()?, KEYS_MAX, "COUNT")?);
            } else if duration.is_none() && args.eat("duration") {
                duration = Some(within(args.integer()?, DURATION_SECS_MAX, "DURATION")?);
            } else if sample.is_none() && args.eat("sample") {
                sample = Some(within(args.integer()?, i64::MAX, "SAMPLE")?);
            } else if args.eat("slots") {
                return Err(CommandError::custom("ERR SLOTS parameter cannot be used in non-cluster mode"));
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(Options {
            by_time,
            by_bytes,
            keys: usize::try_from(keys.unwrap_or(KEYS)).unwrap_or(usize::MAX),
            duration: duration.map(|seconds| Duration::from_secs(seconds.unsigned_abs())),
            sample: sample.unwrap_or(1).unsigned_abs(),
        })
    }
}

fn within(number: i64, max: i64, name: &str) -> Result<i64, CommandError> {
    if (1..=max).contains(&number) {
        return Ok(number);
    }
    Err(CommandError::custom(format!("ERR {name} must be between 1 and {max}")))
}

/// The tracking of hot keys, from START to RESET.
#[derive(Default)]
pub struct HotKeys {
    /// It may be under way. Changed under the lock.
    is_on: AtomicBool,
    tracked: Mutex<Option<Box<Tracked>>>,
}

struct Tracked {
    options: Options,
    started: Instant,
    started_at_ms: u64,
    /// Once it has ended: for how long it was under way, and what the process had used then.
    ended: Option<(Duration, Usage)>,
    usage: Usage,
    /// The time and the bytes of all commands.
    nanos: u64,
    bytes: u64,
    /// The bytes of commands with keys that are tracked.
    tracked_bytes: u64,
    by_time: Summary,
    by_bytes: Summary,
    hasher: RandomState,
    /// What tracking itself took.
    spent: Duration,
}

/// The keys with the greatest weights, as far as they can be known with little memory.
///
/// What a key is given is exact as long as there are few keys. When the lesser half is dropped, the weight of the greatest
/// of these is taken from all others and remembered: a key is shown with it, so that no weight is shown too small.
#[derive(Default)]
struct Summary {
    weights: HashMap<Box<[u8]>, u64>,
    taken: u64,
    /// What the keys take in memory.
    key_bytes: usize,
}

impl Summary {
    fn add(&mut self, key: &[u8], weight: u64) {
        if weight == 0 {
            return;
        }
        if let Some(sum) = self.weights.get_mut(key) {
            *sum += weight;
            return;
        }
        self.key_bytes += key.len();
        self.weights.insert(key.into(), weight);
        if self.weights.len() > 2 * KEYS_KEPT {
            self.drop_lesser_half();
        }
    }

    fn drop_lesser_half(&mut self) {
        let mut all: Vec<u64> = self.weights.values().copied().collect();
        let (_, median, _) = all.select_nth_unstable(KEYS_KEPT);
        let median = *median;
        self.taken += median;
        self.weights.retain(|_, weight| {
            *weight = weight.saturating_sub(median);
            *weight > 0
        });
        self.key_bytes = self.weights.keys().map(|key| key.len()).sum();
    }

    /// Returns the `count` greatest, greatest first.
    fn top(&self, count: usize) -> Vec<(Box<[u8]>, u64)> {
        let mut all: Vec<_> = self.weights.iter().map(|(key, weight)| (key.clone(), weight + self.taken)).collect();
        all.sort_unstable_by(|(key, weight), (other, than)| than.cmp(weight).then_with(|| key.cmp(other)));
        all.truncate(count);
        all
    }

    /// Returns what it takes in memory.
    fn bytes(&self) -> usize {
        self.key_bytes + self.weights.capacity() * size_of::<(Box<[u8]>, u64)>()
    }
}

/// What HOTKEYS GET shows.
pub struct Report {
    /// What tracking was started with.
    pub options: Options,
    /// Whether it is under way.
    pub is_active: bool,
    /// Unix milliseconds.
    pub started_at_ms: u64,
    /// For how long it has been, or was, under way.
    pub duration: Duration,
    /// The time of all commands.
    pub nanos: u64,
    /// The bytes of all commands.
    pub bytes: u64,
    /// The bytes of commands with keys that are tracked.
    pub tracked_bytes: u64,
    /// Seconds of the process while it was under way.
    pub user_seconds: f64,
    /// Its time in the kernel, likewise.
    pub system_seconds: f64,
    /// Nanoseconds and bytes.
    pub by_time: Vec<(Box<[u8]>, u64)>,
    /// The same by bytes.
    pub by_bytes: Vec<(Box<[u8]>, u64)>,
}

impl Tracked {
    fn is_active(&self) -> bool {
        self.ended.is_none()
    }

    /// Ends it if its time is over.
    fn end_if_due(&mut self) {
        if let Some(duration) = self.options.duration.filter(|duration| self.started.elapsed() >= *duration) {
            self.end(duration);
        }
    }

    fn end(&mut self, duration: Duration) {
        if self.is_active() {
            self.ended = Some((duration, Usage::now()));
        }
    }

    fn note(&mut self, spec: &Spec, request: Request<'_>, nanos: u64, bytes: u64) {
        self.nanos += nanos;
        self.bytes += bytes;
        let count = spec.keys(request).len() as u64;
        let mut is_tracked = false;
        for (_, key) in spec.keys(request) {
            if key.len() > KEY_BYTES_MAX || !self.hasher.hash_one(key).is_multiple_of(self.options.sample) {
                continue;
            }
            is_tracked = true;
            if self.options.by_time {
                self.by_time.add(key, nanos / count);
            }
            if self.options.by_bytes {
                self.by_bytes.add(key, bytes / count);
            }
        }
        if is_tracked {
            self.tracked_bytes += bytes;
        }
    }

    fn bytes(&self) -> usize {
        size_of::<Tracked>() + self.by_time.bytes() + self.by_bytes.bytes()
    }
}

impl Report {
    /// Returns it as HOTKEYS GET shows it, which is one of several where there are several nodes.
    #[must_use]
    pub fn into_reply(self) -> Reply {
        let number = |number: u64| Reply::Integer(i64::try_from(number).unwrap_or(i64::MAX));
        let milliseconds = |duration: Duration| number(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
        let cpu = |seconds: f64| milliseconds(Duration::try_from_secs_f64(seconds).unwrap_or_default());
        let ranks = |keys: Vec<(Box<[u8]>, u64)>, unit: u64| {
            Reply::Array(
                keys.into_iter().flat_map(|(key, weight)| [Reply::bulk(&*key), number(weight / unit)]).collect(),
            )
        };
        let mut fields = vec![
            ("tracking-active", Reply::flag(self.is_active)),
            ("sample-ratio", number(self.options.sample)),
            ("selected-slots", Reply::Array(vec![Reply::Array(SLOTS.map(Reply::Integer).to_vec())])),
            ("all-commands-all-slots-us", number(self.nanos / 1000)),
            ("net-bytes-all-commands-all-slots", number(self.bytes)),
            ("collection-start-time-unix-ms", number(self.started_at_ms)),
            ("collection-duration-ms", milliseconds(self.duration)),
        ];
        if self.options.by_time {
            fields.push(("total-cpu-time-user-ms", cpu(self.user_seconds)));
            fields.push(("total-cpu-time-sys-ms", cpu(self.system_seconds)));
        }
        if self.options.by_bytes {
            fields.push(("total-net-bytes", number(self.tracked_bytes)));
        }
        if self.options.by_time {
            fields.push(("by-cpu-time-us", ranks(self.by_time, 1000)));
        }
        if self.options.by_bytes {
            fields.push(("by-net-bytes", ranks(self.by_bytes, 1)));
        }
        Reply::Map(fields.into_iter().map(|(name, value)| (Reply::bulk(name), value)).collect())
    }
}

impl HotKeys {
    /// Begins to track, which each loop does from its next iteration on. Returns false if it is under way already.
    pub fn start(&self, options: Options, now_ms: u64, measure: &dyn Fn(bool)) -> bool {
        let mut tracked = self.tracked.lock();
        if let Some(tracked) = &mut *tracked {
            tracked.end_if_due();
            if tracked.is_active() {
                return false;
            }
        }
        *tracked = Some(Box::new(Tracked {
            options,
            started: Instant::now(),
            started_at_ms: now_ms,
            ended: None,
            usage: Usage::now(),
            nanos: 0,
            bytes: 0,
            tracked_bytes: 0,
            by_time: Summary::default(),
            by_bytes: Summary::default(),
            hasher: RandomState::new(),
            spent: Duration::ZERO,
        }));
        self.turn(true, measure);
        true
    }

    /// Ends it; what is known is kept. Returns false if it was not under way.
    pub fn stop(&self, measure: &dyn Fn(bool)) -> bool {
        let mut tracked = self.tracked.lock();
        let Some(tracked) = &mut *tracked else { return false };
        tracked.end_if_due();
        let was_active = tracked.is_active();
        tracked.end(tracked.started.elapsed());
        self.turn(false, measure);
        was_active
    }

    /// Forgets what is known. Returns false if it is under way.
    pub fn reset(&self, measure: &dyn Fn(bool)) -> bool {
        let mut tracked = self.tracked.lock();
        if let Some(tracked) = &mut *tracked {
            tracked.end_if_due();
            if tracked.is_active() {
                return false;
            }
        }
        *tracked = None;
        self.turn(false, measure);
        true
    }

    /// Begins or ends the counting of commands. Called with the lock held.
    fn turn(&self, is_on: bool, measure: &dyn Fn(bool)) {
        if self.is_on.swap(is_on, Relaxed) != is_on {
            measure(is_on);
        }
    }

    /// Returns what is known, unless nothing was tracked since the last RESET.
    pub fn report(&self, measure: &dyn Fn(bool)) -> Option<Report> {
        let mut tracked = self.tracked.lock();
        let tracked = tracked.as_mut()?;
        tracked.end_if_due();
        if !tracked.is_active() {
            self.turn(false, measure);
        }
        let (duration, usage) = tracked.ended.unwrap_or_else(|| (tracked.started.elapsed(), Usage::now()));
        let count = tracked.options.keys;
        Some(Report {
            options: tracked.options,
            is_active: tracked.is_active(),
            started_at_ms: tracked.started_at_ms,
            duration,
            nanos: tracked.nanos,
            bytes: tracked.bytes,
            tracked_bytes: tracked.tracked_bytes,
            user_seconds: usage.user_seconds - tracked.usage.user_seconds,
            system_seconds: usage.system_seconds - tracked.usage.system_seconds,
            by_time: tracked.by_time.top(count),
            by_bytes: tracked.by_bytes.top(count),
        })
    }

    /// Counts a command that took so many ticks, and the bytes of its request and its reply. EXEC does not count: the commands
    /// that it carried out do.
    #[inline]
    pub fn note(
        &self,
        spec: &Spec,
        request: Request<'_>,
        ticks: u64,
        bytes: [usize; 2],
        slow: &Slow,
        measure: &dyn Fn(bool),
    ) {
        if self.is_on.load(Relaxed) && !spec.traits.has(Trait::RunsQueue) {
            self.note_now(spec, request, ticks, bytes, slow, measure);
        }
    }

    #[cold]
    fn note_now(
        &self,
        spec: &Spec,
        request: Request<'_>,
        ticks: u64,
        bytes: [usize; 2],
        slow: &Slow,
        measure: &dyn Fn(bool),
    ) {
        let begun = slow.clock().raw();
        let mut tracked = self.tracked.lock();
        let Some(tracked) = &mut *tracked else { return };
        tracked.end_if_due();
        if !tracked.is_active() {
            return self.turn(false, measure);
        }
        tracked.note(spec, request, slow.nanos(ticks), bytes.iter().map(|bytes| *bytes as u64).sum());
        let took = slow.clock().raw().saturating_sub(begun);
        tracked.spent += Duration::from_nanos(slow.nanos(took));
    }

    /// Returns whether it is under way, what it takes in memory, and how long it has taken; nothing before the first START.
    pub fn status(&self) -> Option<(bool, usize, Duration)> {
        let mut tracked = self.tracked.lock();
        let tracked = tracked.as_mut()?;
        tracked.end_if_due();
        Some((tracked.is_active(), tracked.bytes(), tracked.spent))
    }

    /// Returns what it takes in memory.
    pub fn bytes(&self) -> usize {
        self.tracked.lock().as_ref().map_or(0, |tracked| tracked.bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_exact_as_long_as_there_are_few_keys() {
        let mut summary = Summary::default();
        for key in 0..KEYS_KEPT as u64 {
            (0..2).for_each(|_| summary.add(&key.to_be_bytes(), key));
        }
        let top: Vec<u64> = summary.top(3).into_iter().map(|(_, weight)| weight).collect();
        assert_eq!(top, [2 * 1023, 2 * 1022, 2 * 1021]);
    }

    #[test]
    fn keys_that_are_hot_are_found_among_many_and_memory_is_bounded() {
        let mut summary = Summary::default();
        let mut most = 0;
        for round in 0..100_000u64 {
            summary.add(&round.to_be_bytes(), 1);
            if round % 10 == 0 {
                summary.add(b"hot", 3);
            }
            if round % 20 == 0 {
                summary.add(b"warm", 3);
            }
            most = most.max(summary.weights.len());
        }
        let top = summary.top(2);
        assert_eq!(top[0].0[..], *b"hot");
        assert_eq!(top[1].0[..], *b"warm");
        // Never too small, and too large by no more than was taken.
        assert!((30_000..=30_000 + summary.taken).contains(&top[0].1), "{}", top[0].1);
        assert!((15_000..=15_000 + summary.taken).contains(&top[1].1), "{}", top[1].1);
        assert!(most <= 2 * KEYS_KEPT + 1 && summary.taken < 1000, "{most} {}", summary.taken);
    }
}
