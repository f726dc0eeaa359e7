//! Slow and large commands: the logs that COMMANDLOG and SLOWLOG show and the events that LATENCY shows.
//!
//! Invariant: a command that is neither slow nor large costs one relaxed load and two comparisons; what is kept is bounded,
//! and secrets among its words are not kept.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

use kvproto::spec::Flag;
use kvproto::spec::Trait;
use kvproto::{Reply, Request, Spec};
use parking_lot::Mutex;

use crate::newest::{self, Newest};

/// Words of a logged command that are kept, unless a parameter says otherwise.
pub const WORDS_MAX: usize = 32;
/// Bytes of a word that are kept, unless a parameter says otherwise.
pub const WORD_BYTES_MAX: usize = 128;
/// A request or a reply of this length is logged, unless a parameter says otherwise.
pub const LARGE_BYTES: u32 = 1024 * 1024;
/// Columns of a graph.
const GRAPH_COLUMNS: usize = 80;
/// Samples of an event that are kept.
const SAMPLES_MAX: usize = 160;

/// The client whose command is logged.
pub trait Caller {
    /// Returns its address.
    fn peer(&self) -> &str;
    /// Returns the name that it gave itself; empty if none.
    fn name(&self) -> Box<str>;
}

/// What commands are logged for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logged {
    /// How long they ran, in microseconds.
    Time,
    /// How long the request was, in bytes.
    Request,
    /// How long the reply was, in bytes.
    Reply,
}

impl Logged {
    /// As COMMANDLOG names it, in any case.
    pub fn named(word: &[u8]) -> Option<Logged> {
        let all = [("slow", Logged::Time), ("large-request", Logged::Request), ("large-reply", Logged::Reply)];
        all.into_iter().find(|(name, _)| name.as_bytes().eq_ignore_ascii_case(word)).map(|(_, logged)| logged)
    }
}

/// A logged command.
#[derive(Debug)]
pub struct Entry {
    /// Its number, counted from 0.
    pub id: u64,
    /// Unix seconds.
    pub at_secs: u64,
    /// Microseconds or bytes.
    pub amount: u64,
    /// The words of the request, as far as they are kept.
    pub words: Vec<Vec<u8>>,
    /// The client's address.
    pub peer: Box<str>,
    /// The client's name.
    pub name: Box<str>,
}

impl Entry {
    /// Returns it as SLOWLOG GET shows it.
    #[must_use]
    pub fn to_reply(&self) -> Reply {
        Reply::Array(vec![
            Reply::count(self.id),
            Reply::count(self.at_secs),
            Reply::count(self.amount),
            Reply::Array(self.words.iter().map(|word| Reply::bulk(&word[..])).collect()),
            Reply::bulk(self.peer.as_bytes()),
            Reply::bulk(self.name.as_bytes()),
        ])
    }
}

impl newest::Entry for Entry {
    fn bytes(&self) -> usize {
        let words: usize = self.words.iter().map(|word| size_of::<Vec<u8>>() + word.capacity()).sum();
        size_of::<Entry>() + words + self.peer.len() + self.name.len()
    }
}

/// What was noted of one kind of event.
#[derive(Clone, Debug, Default)]
pub struct Event {
    /// Unix seconds and milliseconds it took, oldest first; one a second at most, the longest.
    pub samples: VecDeque<(u64, u64)>,
    /// The longest that was noted, in milliseconds.
    pub longest_ms: u64,
}

impl Event {
    /// Returns its history as a line of columns, the oldest to the left, for LATENCY GRAPH.
    #[must_use]
    pub fn graph(&self, name: &str) -> String {
        const LEVELS: [char; 4] = ['_', 'o', '#', '|'];
        let newest = self.samples.len().saturating_sub(GRAPH_COLUMNS);
        let samples: Vec<(u64, u64)> = self.samples.iter().skip(newest).copied().collect();
        let high = samples.iter().map(|sample| sample.1).max().unwrap_or(0);
        let low = samples.iter().map(|sample| sample.1).min().unwrap_or(0);
        let mut text = format!("{name} - high {high} ms, low {low} ms (all time high {} ms)\n", self.longest_ms);
        text.push_str(&"-".repeat(GRAPH_COLUMNS));
        text.push('\n');
        for (_, ms) in &samples {
            let level = (ms - low) * (LEVELS.len() as u64 - 1) / (high - low).max(1);
            text.push(LEVELS[level as usize]);
        }
        if let (Some(first), Some(last)) = (samples.first(), samples.last()) {
            let _ = write!(text, "\n\n{} samples from Unix second {} to {}\n", samples.len(), first.0, last.0);
        }
        text
    }
}

/// How many commands were logged for the time they took, and that time.
#[derive(Clone, Copy, Debug, Default)]
pub struct SlowTotals {
    /// How many.
    pub count: u64,
    /// How long they took altogether, in microseconds.
    pub micros: u64,
    /// How long the longest took.
    pub longest_micros: u64,
}

impl SlowTotals {
    fn add(&mut self, micros: u64) {
        self.count += 1;
        self.micros += micros;
        self.longest_micros = self.longest_micros.max(micros);
    }
}

/// The newest commands that were logged for one reason.
#[derive(Debug)]
pub struct CommandLog {
    /// From this many microseconds or bytes on a command is logged; negative for never.
    from: AtomicI64,
    length_max: AtomicUsize,
    kept: Mutex<Kept>,
    /// What the entries take in memory.
    bytes: AtomicUsize,
}

#[derive(Debug, Default)]
struct Kept {
    next_id: u64,
    entries: Newest<Entry>,
}

impl CommandLog {
    fn new(from: i64) -> CommandLog {
        CommandLog {
            from: AtomicI64::new(from),
            length_max: AtomicUsize::new(128),
            kept: Mutex::default(),
            bytes: AtomicUsize::new(0),
        }
    }

    /// Returns from which amount on a command is logged; negative for never.
    pub fn from(&self) -> i64 {
        self.from.load(Relaxed)
    }

    /// From how much on a command is logged, if one is at all.
    fn threshold(&self) -> Option<u64> {
        u64::try_from(self.from()).ok()
    }

    fn takes(&self, amount: u64) -> bool {
        self.threshold().is_some_and(|from| amount >= from)
    }

    /// Returns how many entries it may have.
    pub fn length_max(&self) -> usize {
        self.length_max.load(Relaxed)
    }

    /// Sets how many entries it may have, and drops the oldest beyond that.
    pub fn set_length_max(&self, length: usize) {
        self.length_max.store(length, Relaxed);
        self.shorten(length);
    }

    /// Drops the oldest entries until there are at most `length`.
    fn shorten(&self, length: usize) {
        let entries = &mut self.kept.lock().entries;
        entries.shorten(length);
        self.bytes.store(entries.bytes(), Relaxed);
    }

    /// Returns what the entries take in memory.
    fn bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }

    fn push(&self, mut entry: Entry) {
        let length_max = self.length_max();
        let mut kept = self.kept.lock();
        entry.id = kept.next_id;
        kept.next_id += 1;
        kept.entries.push(entry, length_max);
        self.bytes.store(kept.entries.bytes(), Relaxed);
    }

    /// Calls `each` with the newest entries, newest first.
    pub fn for_newest(&self, count: usize, each: impl FnMut(&Entry)) {
        self.kept.lock().entries.iter().take(count).for_each(each);
    }

    /// Returns how many entries it has.
    pub fn count(&self) -> usize {
        self.kept.lock().entries.count()
    }

    /// Drops all entries.
    pub fn clear(&self) {
        self.shorten(0);
    }
}

/// What is slow or large, and what was.
#[derive(Debug)]
pub struct Slow {
    clock: quanta::Clock,
    /// From this many ticks on a command is looked at closely.
    threshold_ticks: AtomicU64,
    latency_ms: AtomicU64,
    by_time: CommandLog,
    by_request: CommandLog,
    by_reply: CommandLog,
    /// Every command is looked at as if it were large.
    watches_all: AtomicBool,
    /// Of the commands in `by_time`, those that it no longer holds included, by name.
    totals: Mutex<BTreeMap<&'static str, SlowTotals>>,
    /// Words of a logged command that are kept.
    pub words_max: AtomicUsize,
    /// Bytes of a word that are kept.
    pub word_bytes_max: AtomicUsize,
    events: Mutex<BTreeMap<&'static str, Event>>,
    /// What they take in memory.
    event_bytes: AtomicUsize,
}

impl Default for Slow {
    fn default() -> Slow {
        let slow = Slow {
            clock: quanta::Clock::new(),
            threshold_ticks: AtomicU64::new(u64::MAX),
            latency_ms: AtomicU64::new(0),
            by_time: CommandLog::new(10_000),
            by_request: CommandLog::new(LARGE_BYTES.into()),
            by_reply: CommandLog::new(LARGE_BYTES.into()),
            watches_all: AtomicBool::new(false),
            totals: Mutex::default(),
            words_max: AtomicUsize::new(WORDS_MAX),
            word_bytes_max: AtomicUsize::new(WORD_BYTES_MAX),
            events: Mutex::default(),
            event_bytes: AtomicUsize::new(0),
        };
        slow.set_threshold();
        slow
    }
}

impl Slow {
    /// Returns what LATENCY DOCTOR says.
    #[must_use]
    pub fn doctor(&self) -> String {
        if self.latency_ms() == 0 {
            return "Latency monitoring is off: CONFIG SET latency-monitor-threshold <milliseconds> turns it on.\n"
                .to_owned();
        }
        let events = self.events();
        if events.is_empty() {
            return format!("Nothing took {} ms or longer since monitoring began.\n", self.latency_ms());
        }
        let mut text = format!("Events of {} ms or longer:\n", self.latency_ms());
        for (name, event) in &events {
            let count = event.samples.len() as u64;
            let mean = event.samples.iter().map(|sample| sample.1).sum::<u64>() / count.max(1);
            let _ = writeln!(text, "- {name}: {count} noted, {mean} ms on average, {} ms at most.", event.longest_ms);
        }
        text.push_str(
            "SLOWLOG GET shows which commands these were. Commands that look at many keys (KEYS, large DEL, MGET) \
                   can be split; a slow disk shows in INFO persistence.\n",
        );
        text
    }

    /// Returns the log of what is logged for this reason.
    pub fn log(&self, logged: Logged) -> &CommandLog {
        match logged {
            Logged::Time => &self.by_time,
            Logged::Request => &self.by_request,
            Logged::Reply => &self.by_reply,
        }
    }

    /// Returns what the logs and the events take in memory.
    pub fn bytes(&self) -> usize {
        [&self.by_time, &self.by_request, &self.by_reply].map(CommandLog::bytes).iter().sum::<usize>()
            + self.event_bytes.load(Relaxed)
    }

    /// Sets from how much on commands are logged. Of bytes, the loops must be told by their bounds.
    pub fn log_from(&self, logged: Logged, from: i64) {
        self.log(logged).from.store(from, Relaxed);
        self.set_threshold();
    }

    /// The fewest bytes of a request or a reply for which a command may be logged.
    pub fn large_bytes(&self) -> usize {
        if self.watches_all.load(Relaxed) {
            return 0;
        }
        let thresholds = [&self.by_request, &self.by_reply].into_iter().filter_map(CommandLog::threshold);
        thresholds.min().and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(usize::MAX)
    }

    /// Sets whether every command is looked at as if it were large. Loops see it when their bounds are next read.
    pub fn watch_all(&self, watches_all: bool) {
        self.watches_all.store(watches_all, Relaxed);
    }

    /// The clock that ticks are counted by.
    pub fn clock(&self) -> &quanta::Clock {
        &self.clock
    }

    /// Whether a command that ran for so long has to be [noted](Slow::note).
    #[inline]
    pub fn is_slow(&self, ticks: u64) -> bool {
        ticks >= self.threshold_ticks.load(Relaxed)
    }

    /// Returns from how many milliseconds on a command is an event of LATENCY; 0 for never.
    pub fn latency_ms(&self) -> u64 {
        self.latency_ms.load(Relaxed)
    }

    /// Sets from how many milliseconds on a command is an event of LATENCY; 0 for never.
    pub fn set_latency_ms(&self, milliseconds: u64) {
        self.latency_ms.store(milliseconds, Relaxed);
        self.set_threshold();
    }

    /// Returns how many nanoseconds so many ticks are.
    pub fn nanos(&self, ticks: u64) -> u64 {
        self.clock.delta_as_nanos(0, ticks)
    }

    /// About how many ticks that is.
    fn ticks(&self, nanos: u64) -> u64 {
        const MANY: u64 = 1 << 32;
        (nanos as f64 * MANY as f64 / self.clock.delta_as_nanos(0, MANY).max(1) as f64) as u64
    }

    fn set_threshold(&self) {
        let log = self.by_time.threshold().map(|micros| micros.saturating_mul(1000));
        let latency = Some(self.latency_ms()).filter(|ms| *ms > 0).map(|ms| ms.saturating_mul(1_000_000));
        let ticks = log.into_iter().chain(latency).min().map_or(u64::MAX, |nanos| self.ticks(nanos));
        // A little early: what is really slow is decided in nanoseconds.
        self.threshold_ticks.store(if ticks == u64::MAX { ticks } else { ticks - ticks / 1000 }, Relaxed);
    }

    /// Takes note of a command that may have been slow. `is_secret`: whether the word at that place must not be kept.
    #[cold]
    pub fn note(
        &self,
        spec: &'static Spec,
        request: Request<'_>,
        ticks: u64,
        client: &dyn Caller,
        is_secret: impl Fn(usize) -> bool,
    ) {
        let micros = self.nanos(ticks) / 1000;
        let at_secs = seconds_since_1970();
        if self.by_time.takes(micros) && !spec.flags.has(Flag::SkipSlowLog) {
            self.totals.lock().entry(spec.name).or_default().add(micros);
            self.by_time.push(self.entry(micros, at_secs, request, client, is_secret));
        }
        let latency_ms = self.latency_ms();
        if latency_ms > 0 && micros / 1000 >= latency_ms && !spec.traits.has(Trait::RunsQueue) {
            let event = if spec.flags.has(Flag::Fast) { "fast-command" } else { "command" };
            self.note_event(event, at_secs, micros / 1000);
        }
    }

    /// Logs a command whose request or reply may have been large. `is_secret`: as in [`Slow::note`].
    #[cold]
    pub fn note_size(
        &self,
        spec: &'static Spec,
        request: Request<'_>,
        [request_bytes, reply_bytes]: [usize; 2],
        client: &dyn Caller,
        is_secret: impl Fn(usize) -> bool,
    ) {
        if spec.flags.has(Flag::SkipSlowLog) {
            return;
        }
        for (log, bytes) in [(&self.by_request, request_bytes as u64), (&self.by_reply, reply_bytes as u64)] {
            if log.takes(bytes) {
                log.push(self.entry(bytes, seconds_since_1970(), request, client, &is_secret));
            }
        }
    }

    /// Returns an entry, whose log has yet to give it its number.
    fn entry(
        &self,
        amount: u64,
        at_secs: u64,
        request: Request<'_>,
        client: &dyn Caller,
        is_secret: impl Fn(usize) -> bool,
    ) -> Entry {
        let words = kept_words(request, self.words_max.load(Relaxed), self.word_bytes_max.load(Relaxed), is_secret);
        Entry { id: 0, at_secs, amount, words, peer: client.peer().into(), name: client.name() }
    }

    /// Returns how many commands of each name were logged for the time they took, since they were last reset.
    pub fn totals(&self) -> BTreeMap<&'static str, SlowTotals> {
        self.totals.lock().clone()
    }

    /// Lets the totals begin at zero again; the logs stay as they are.
    pub fn reset_totals(&self) {
        self.totals.lock().clear();
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
        self.count_events(&events);
    }

    fn count_events(&self, events: &BTreeMap<&'static str, Event>) {
        let of_one = |event: &Event| size_of::<Event>() + event.samples.len() * size_of::<(u64, u64)>();
        self.event_bytes.store(events.values().map(of_one).sum(), Relaxed);
    }

    /// Returns the events of LATENCY by name.
    pub fn events(&self) -> BTreeMap<&'static str, Event> {
        self.events.lock().clone()
    }

    /// Forgets the events `chosen` picks; answers how many.
    pub fn forget_events(&self, chosen: impl Fn(&str) -> bool) -> usize {
        let mut events = self.events.lock();
        let before = events.len();
        events.retain(|name, _| !chosen(name));
        self.count_events(&events);
        before - events.len()
    }
}

fn seconds_since_1970() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The words as they may be shown: not too many, not too long, no secrets. Of too many, the last one says how many more there
/// were.
fn kept_words(
    request: Request<'_>,
    words_max: usize,
    word_bytes_max: usize,
    is_secret: impl Fn(usize) -> bool,
) -> Vec<Vec<u8>> {
    let shown = if request.len() > words_max { words_max.saturating_sub(1) } else { request.len() };
    let mut words: Vec<Vec<u8>> = Vec::with_capacity(shown + 1);
    for (index, word) in request.iter().take(shown).enumerate() {
        words.push(match word.len().checked_sub(word_bytes_max) {
            _ if is_secret(index) => b"(redacted)".to_vec(),
            Some(more @ 1..) => [&word[..word_bytes_max], format!("... ({more} more bytes)").as_bytes()].concat(),
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
        let words = kept_words(request.as_request(), WORDS_MAX, WORD_BYTES_MAX, |at| at == 3);
        words.iter().map(|word| String::from_utf8_lossy(word)).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn secrets_are_not_kept() {
        assert_eq!(kept(&["acl", "setuser", "me", ">pass", "on"]), "acl setuser me (redacted) on");
    }

    #[test]
    fn events_are_bounded_and_counted() {
        let slow = Slow::default();
        (0..1000).for_each(|second| slow.note_event("command", second, 1));
        let bytes = SAMPLES_MAX * size_of::<(u64, u64)>() + size_of::<Event>();
        assert_eq!((slow.events()["command"].samples.len(), slow.bytes()), (SAMPLES_MAX, bytes));
        slow.forget_events(|_| true);
        assert_eq!(slow.bytes(), 0);
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
