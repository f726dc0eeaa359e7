//! Slow commands: the log that SLOWLOG shows and the events that LATENCY shows.
//!
//! Invariant: a command that is not slow costs one relaxed load and one comparison here; what is kept is bounded, and
//! secrets among its words are not kept.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

use kvproto::spec::Flag;
use kvproto::{Request, Spec};
use parking_lot::Mutex;

use crate::clients::Client;

/// Words of a slow command that are kept.
const WORDS_MAX: usize = 32;
/// Bytes of a word that are kept.
const WORD_BYTES_MAX: usize = 128;
/// Samples of an event that are kept.
const SAMPLES_MAX: usize = 160;

/// A slow command.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) id: u64,
    pub(crate) at_secs: u64,
    pub(crate) micros: u64,
    pub(crate) words: Vec<Vec<u8>>,
    pub(crate) peer: Box<str>,
    pub(crate) name: Box<str>,
}

/// What was noted of one kind of event.
#[derive(Clone, Debug, Default)]
pub(crate) struct Event {
    /// Unix seconds and milliseconds it took, oldest first; one a second at most, the longest.
    pub(crate) samples: VecDeque<(u64, u64)>,
    pub(crate) longest_ms: u64,
}

#[derive(Debug, Default)]
struct Log {
    next_id: u64,
    entries: VecDeque<Entry>,
}

/// What is slow, and what was.
#[derive(Debug)]
pub(crate) struct Slow {
    clock: quanta::Clock,
    /// From this many ticks on a command is looked at closely.
    threshold_ticks: AtomicU64,
    slower_than_us: AtomicI64,
    latency_ms: AtomicU64,
    length_max: AtomicUsize,
    log: Mutex<Log>,
    events: Mutex<BTreeMap<&'static str, Event>>,
}

impl Slow {
    pub(crate) fn new() -> Slow {
        let slow = Slow {
            clock: quanta::Clock::new(),
            threshold_ticks: AtomicU64::new(u64::MAX),
            slower_than_us: AtomicI64::new(10_000),
            latency_ms: AtomicU64::new(0),
            length_max: AtomicUsize::new(128),
            log: Mutex::default(),
            events: Mutex::default(),
        };
        slow.set_threshold();
        slow
    }

    /// The clock that ticks are counted by.
    pub(crate) fn clock(&self) -> &quanta::Clock {
        &self.clock
    }

    /// Whether a command that ran for so long has to be [noted](Slow::note).
    #[inline]
    pub(crate) fn is_slow(&self, ticks: u64) -> bool {
        ticks >= self.threshold_ticks.load(Relaxed)
    }

    pub(crate) fn slower_than_us(&self) -> i64 {
        self.slower_than_us.load(Relaxed)
    }

    pub(crate) fn set_slower_than_us(&self, micros: i64) {
        self.slower_than_us.store(micros, Relaxed);
        self.set_threshold();
    }

    pub(crate) fn latency_ms(&self) -> u64 {
        self.latency_ms.load(Relaxed)
    }

    pub(crate) fn set_latency_ms(&self, milliseconds: u64) {
        self.latency_ms.store(milliseconds, Relaxed);
        self.set_threshold();
    }

    pub(crate) fn length_max(&self) -> usize {
        self.length_max.load(Relaxed)
    }

    pub(crate) fn set_length_max(&self, length: usize) {
        self.length_max.store(length, Relaxed);
        self.log.lock().entries.truncate(length);
    }

    pub(crate) fn nanos(&self, ticks: u64) -> u64 {
        self.clock.delta_as_nanos(0, ticks)
    }

    /// About how many ticks that is.
    pub(crate) fn ticks(&self, nanos: u64) -> u64 {
        const MANY: u64 = 1 << 32;
        (nanos as f64 * MANY as f64 / self.clock.delta_as_nanos(0, MANY).max(1) as f64) as u64
    }

    fn set_threshold(&self) {
        let log = u64::try_from(self.slower_than_us()).ok().map(|micros| micros.saturating_mul(1000));
        let latency = Some(self.latency_ms()).filter(|ms| *ms > 0).map(|ms| ms.saturating_mul(1_000_000));
        let ticks = log.into_iter().chain(latency).min().map_or(u64::MAX, |nanos| self.ticks(nanos));
        // A little early: what is really slow is decided in nanoseconds.
        self.threshold_ticks.store(if ticks == u64::MAX { ticks } else { ticks - ticks / 1000 }, Relaxed);
    }

    /// Takes note of a command that may have been slow. `is_secret`: whether the word at that place must not be kept.
    #[cold]
    pub(crate) fn note(
        &self,
        spec: &'static Spec,
        request: Request<'_>,
        ticks: u64,
        client: &Client,
        is_secret: impl Fn(usize) -> bool,
    ) {
        let micros = self.nanos(ticks) / 1000;
        let at_secs = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let threshold = self.slower_than_us();
        if threshold >= 0 && micros >= threshold.unsigned_abs() && !spec.flags.has(Flag::SkipSlowLog) {
            let words = kept_words(request, is_secret);
            let (peer, name) = (client.peer().into(), client.labels().name);
            let length_max = self.length_max();
            let mut log = self.log.lock();
            let id = log.next_id;
            log.next_id += 1;
            log.entries.push_front(Entry { id, at_secs, micros, words, peer, name });
            log.entries.truncate(length_max);
        }
        let latency_ms = self.latency_ms();
        if latency_ms > 0 && micros / 1000 >= latency_ms && spec.name != "exec" {
            let event = if spec.flags.has(Flag::Fast) { "fast-command" } else { "command" };
            self.note_event(event, at_secs, micros / 1000);
        }
    }

    fn note_event(&self, name: &'static str, at_secs: u64, milliseconds: u64) {
        let mut events = self.events.lock();
        let event = events.entry(name).or_default();
        event.longest_ms = event.longest_ms.max(milliseconds);
        match event.samples.back_mut() {
            Some((second, longest)) if *second == at_secs => *longest = milliseconds.max(*longest),
            _ => event.samples.push_back((at_secs, milliseconds)),
        }
        if event.samples.len() > SAMPLES_MAX {
            event.samples.pop_front();
        }
    }

    /// The newest entries, newest first.
    pub(crate) fn newest(&self, count: usize) -> Vec<Entry> {
        self.log.lock().entries.iter().take(count).cloned().collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.log.lock().entries.len()
    }

    pub(crate) fn clear(&self) {
        self.log.lock().entries.clear();
    }

    pub(crate) fn events(&self) -> BTreeMap<&'static str, Event> {
        self.events.lock().clone()
    }

    /// Forgets the events `chosen` picks; answers how many.
    pub(crate) fn forget_events(&self, chosen: impl Fn(&str) -> bool) -> usize {
        let mut events = self.events.lock();
        let before = events.len();
        events.retain(|name, _| !chosen(name));
        before - events.len()
    }
}

/// The words as they may be shown: not too many, not too long, no secrets.
fn kept_words(request: Request<'_>, is_secret: impl Fn(usize) -> bool) -> Vec<Vec<u8>> {
    let shown = if request.len() > WORDS_MAX { WORDS_MAX - 1 } else { request.len() };
    let mut words: Vec<Vec<u8>> = Vec::with_capacity(shown + 1);
    for (index, word) in request.iter().take(shown).enumerate() {
        words.push(match word.len().checked_sub(WORD_BYTES_MAX) {
            _ if is_secret(index) => b"(redacted)".to_vec(),
            Some(more @ 1..) => [&word[..WORD_BYTES_MAX], format!("... ({more} more bytes)").as_bytes()].concat(),
            _ => word.to_vec(),
        });
    }
    if shown < request.len() {
        words.push(format!("... ({} more arguments)", request.len() - shown).into_bytes());
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use kvproto::OwnedRequest;

    fn kept(words: &[&str]) -> String {
        let request = OwnedRequest::from_words(words);
        let words = kept_words(request.as_request(), |at| at == 3);
        words.iter().map(|word| String::from_utf8_lossy(word)).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn secrets_are_not_kept() {
        assert_eq!(kept(&["acl", "setuser", "me", ">pass", "on"]), "acl setuser me (redacted) on");
    }

    #[test]
    fn long_commands_are_cut() {
        let long = "x".repeat(130);
        assert_eq!(kept(&["set", "k", &long]), format!("set k {}... (2 more bytes)", "x".repeat(128)));
        let many: Vec<String> = (0..40).map(|number| number.to_string()).collect();
        let words: Vec<&str> = std::iter::once("del").chain(many.iter().map(String::as_str)).collect();
        assert!(kept(&words).ends_with(" 29 ... (10 more arguments)"), "{}", kept(&words));
    }
}
