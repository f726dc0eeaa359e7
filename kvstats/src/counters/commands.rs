//! What each command has cost: how often it ran, how long, how often it was refused or failed.
//!
//! Invariant: only its own loop adds to these counters, so adding is a load and a store. Resetting is a new epoch: a
//! loop zeroes its own counters when it sees one, and readers leave out loops that have not.
//!
//! The histogram is an array of such counters and not one of `hdrhistogram`, whose counters cannot be read while another
//! thread adds to them: each loop would need a lock. Behind one, adding takes 80 instructions, two of them locked, and here it
//! takes 15.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use kvproto::spec::COMMANDS;
use kvproto::{Spec, Text};
use parking_lot::Mutex;

use super::Counter;

/// Durations are counted in buckets an eighth of an octave wide: the exponent and the first three digits of the
/// duration as a floating-point number.
const BUCKETS: usize = 288;
/// The exponent and digits of 64 ticks, the end of the first bucket.
const FIRST: u64 = (1023 + 6) << 3;
/// Codes of errors that are told apart; what comes after is counted as one.
const ERROR_CODES_MAX: usize = 128;
/// How much of a code is kept, in bytes.
const ERROR_CODE_BYTES_MAX: usize = 64;
/// What a code takes beside its bytes.
const ERROR_CODE_BYTES: usize = 64;

/// The commands one loop has carried out.
#[derive(Debug)]
pub struct CommandCounters {
    epoch: AtomicU64,
    /// By place in the command table; made when the command first comes.
    rows: Box<[OnceLock<Box<Row>>]>,
    subcommands: Mutex<BTreeMap<&'static str, Arc<Row>>>,
    /// Error replies by their code word.
    errors: Mutex<BTreeMap<Box<str>, u64>>,
    /// What all of it takes in memory.
    bytes: AtomicUsize,
}

/// One command.
#[derive(Debug)]
struct Row {
    name: &'static str,
    ticks: Counter,
    rejected: Counter,
    failed: Counter,
    durations: [Counter; BUCKETS],
}

impl Row {
    fn new(name: &'static str) -> Row {
        Row {
            name,
            ticks: Counter::default(),
            rejected: Counter::default(),
            failed: Counter::default(),
            durations: std::array::from_fn(|_| Counter::default()),
        }
    }

    fn add(&self, ticks: u64) {
        self.ticks.add(ticks);
        let place = ((ticks.cast_signed() as f64).to_bits() >> 49).saturating_sub(FIRST);
        self.durations[(place as usize).min(BUCKETS - 1)].add(1);
    }

    fn clear(&self) {
        for counter in [&self.ticks, &self.rejected, &self.failed].into_iter().chain(&self.durations) {
            counter.set(0);
        }
    }
}

impl Default for CommandCounters {
    fn default() -> CommandCounters {
        CommandCounters {
            epoch: AtomicU64::new(0),
            rows: COMMANDS.iter().map(|_| OnceLock::new()).collect(),
            subcommands: Mutex::default(),
            errors: Mutex::default(),
            bytes: AtomicUsize::new(0),
        }
    }
}

impl CommandCounters {
    /// A command ran for so many ticks. Only for the loop's own thread, as everything that adds.
    #[inline]
    pub fn ran(&self, spec: &'static Spec, ticks: u64) {
        if let Some(row) = self.rows.get(spec.index()).and_then(OnceLock::get)
            && std::ptr::eq(row.name.as_ptr(), spec.name.as_ptr())
        {
            return row.add(ticks);
        }
        self.with_row(spec, |row| row.add(ticks));
    }

    /// A command that ran answered with an error.
    pub fn failed(&self, spec: &'static Spec) {
        self.with_row(spec, |row| row.failed.add(1));
    }

    /// A command was refused before it ran.
    pub fn rejected(&self, spec: &'static Spec) {
        self.with_row(spec, |row| row.rejected.add(1));
    }

    /// The slow way: a command's first time, and subcommands, whose place is within their container.
    #[cold]
    fn with_row(&self, spec: &'static Spec, change: impl FnOnce(&Row)) {
        match COMMANDS.get(spec.index()) {
            Some(top) if top.name == spec.name => {
                if let Some(row) = self.rows.get(spec.index()) {
                    change(row.get_or_init(|| Box::new(self.new_row(spec.name))));
                }
            }
            _ => {
                let row = self
                    .subcommands
                    .lock()
                    .entry(spec.name)
                    .or_insert_with(|| Arc::new(self.new_row(spec.name)))
                    .clone();
                change(&row);
            }
        }
    }

    fn new_row(&self, name: &'static str) -> Row {
        self.bytes.fetch_add(size_of::<Row>(), Relaxed);
        Row::new(name)
    }

    /// Returns what the counters of commands and errors take in memory.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }

    /// Counts an error reply.
    pub fn error(&self, text: &Text) {
        let code = text.first_word();
        let code = String::from_utf8_lossy(&code[..code.len().min(ERROR_CODE_BYTES_MAX)]);
        let mut errors = self.errors.lock();
        if let Some(count) = errors.get_mut(&*code) {
            *count += 1;
        } else {
            let code = if errors.len() < ERROR_CODES_MAX { &*code } else { "OTHER" };
            *errors.entry(code.into()).or_insert_with(|| {
                self.bytes.fetch_add(code.len() + ERROR_CODE_BYTES, Relaxed);
                0
            }) += 1;
        }
    }

    /// Starts from zero if `epoch` is a new one.
    pub fn begin(&self, epoch: u64) {
        if self.epoch.load(Relaxed) != epoch {
            for row in self.rows.iter().filter_map(OnceLock::get) {
                row.clear();
            }
            let subcommands = std::mem::take(&mut *self.subcommands.lock());
            let errors = std::mem::take(&mut *self.errors.lock());
            let codes: usize = errors.keys().map(|code| code.len() + ERROR_CODE_BYTES).sum();
            self.bytes.fetch_sub(subcommands.len() * size_of::<Row>() + codes, Relaxed);
            self.epoch.store(epoch, Relaxed);
        }
    }
}

/// What all loops counted of one command.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Its name.
    pub name: &'static str,
    /// How often it ran.
    pub calls: u64,
    /// How long it ran altogether.
    pub ticks: u64,
    /// How often it was refused before it ran.
    pub rejected: u64,
    /// How often it ran and replied with an error.
    pub failed: u64,
    durations: Vec<u64>,
}

impl Totals {
    /// The duration in ticks that this share of the calls did not exceed; an upper bound, an eighth too long at most.
    pub fn percentile(&self, share: f64) -> u64 {
        let wanted = (share * self.calls as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        let place = self.durations.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        end_of(place.unwrap_or(BUCKETS - 1))
    }

    /// Returns how many calls lie in buckets whose end, in ticks, `is_within` some bound.
    pub fn within(&self, is_within: impl Fn(u64) -> bool) -> u64 {
        self.durations.iter().zip(0..).take_while(|(_, place)| is_within(end_of(*place))).map(|(count, _)| count).sum()
    }
}

/// The first duration that is too long for a bucket, in ticks.
fn end_of(place: usize) -> u64 {
    f64::from_bits((FIRST + place as u64 + 1) << 49) as u64
}

/// What all loops counted, by name; commands that never came are left out.
pub fn totals<'c>(loops: impl Iterator<Item = &'c CommandCounters>, epoch: u64) -> Vec<Totals> {
    let mut all: BTreeMap<&'static str, Totals> = BTreeMap::new();
    for counters in loops.filter(|counters| counters.epoch.load(Relaxed) == epoch) {
        let subcommands: Vec<Arc<Row>> = counters.subcommands.lock().values().cloned().collect();
        let rows = counters.rows.iter().filter_map(OnceLock::get).map(|row| &**row);
        for row in rows.chain(subcommands.iter().map(|row| &**row)) {
            let total = all.entry(row.name).or_insert_with(|| Totals {
                name: row.name,
                durations: vec![0; BUCKETS],
                ..Totals::default()
            });
            for (sum, counter) in total.durations.iter_mut().zip(&row.durations) {
                *sum += counter.get();
                total.calls += counter.get();
            }
            total.ticks += row.ticks.get();
            total.rejected += row.rejected.get();
            total.failed += row.failed.get();
        }
    }
    all.into_values().filter(|total| total.calls + total.rejected + total.failed > 0).collect()
}

/// Error replies by their code word.
pub fn errors<'c>(loops: impl Iterator<Item = &'c CommandCounters>, epoch: u64) -> BTreeMap<Box<str>, u64> {
    let mut all = BTreeMap::new();
    for counters in loops.filter(|counters| counters.epoch.load(Relaxed) == epoch) {
        for (code, count) in &*counters.errors.lock() {
            *all.entry(code.clone()).or_default() += count;
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use kvproto::spec::lookup;

    #[test]
    fn durations_are_found_again_within_an_eighth() {
        let counters = CommandCounters::default();
        let get = lookup(b"get").unwrap();
        for ticks in [100, 1000, 1000, 1000, 1_000_000] {
            counters.ran(get, ticks);
        }
        let [total] = &totals([&counters].into_iter(), 0)[..] else { panic!("one command") };
        assert_eq!((total.calls, total.ticks), (5, 1_003_100));
        let median = total.percentile(0.5);
        assert!((1000..=1125).contains(&median), "{median}");
        let longest = total.percentile(1.0);
        assert!((1_000_000..=1_125_000).contains(&longest), "{longest}");
        assert_eq!([50, 2000, u64::MAX].map(|ticks| total.within(|end| end <= ticks)), [0, 4, 5]);
    }

    #[test]
    fn any_duration_has_a_bucket() {
        let row = Row::new("get");
        for ticks in [0, 1, 63, 64, u64::from(u32::MAX), i64::MAX as u64, u64::MAX] {
            row.add(ticks);
        }
        assert_eq!(row.durations.iter().map(Counter::get).sum::<u64>(), 7);
    }

    #[test]
    fn subcommands_are_counted_by_themselves_and_a_new_epoch_starts_from_zero() {
        let counters = CommandCounters::default();
        let client = lookup(b"client").unwrap();
        counters.ran(client.subcommand(b"list").unwrap(), 1);
        counters.rejected(client.subcommand(b"id").unwrap());
        counters.error(&"ERR no".into());
        counters.error(&"WRONGTYPE no".into());
        let names: Vec<_> = totals([&counters].into_iter(), 0).iter().map(|total| total.name).collect();
        assert_eq!(names, ["client|id", "client|list"]);
        assert_eq!(errors([&counters].into_iter(), 0).len(), 2);
        assert!(totals([&counters].into_iter(), 1).is_empty());
        counters.begin(1);
        assert!(totals([&counters].into_iter(), 1).is_empty() && errors([&counters].into_iter(), 1).is_empty());
    }
}
