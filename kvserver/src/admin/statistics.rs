//! Figures of the whole server since its start, or since CONFIG RESETSTAT.
//!
//! Invariant: what belongs to a loop is added up only when it is read; a reset stores from where to count, because only its
//! loop may change a loop's counter.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use kvcore::Db;

use crate::admin::http_refusals::HttpRefusals;
use kvstats::counters::{self, Counter, Counters, Totals};
use kvstats::process;

/// How the store names its thread that removes expired keys.
const SWEEPER_THREAD: &str = "kv-sweeper";

/// The statistics of a server.
pub(crate) struct Statistics {
    pub(crate) started: Instant,
    pub(crate) started_at_ms: u64,
    /// Forty hexadecimal digits that no other run has.
    pub(crate) run_id: String,
    /// The counters of each loop.
    pub(crate) loops: Vec<Arc<Counters>>,
    /// Commands that ran beside the loops because they take much computing, since the start.
    pub(crate) drafts: AtomicU64,
    /// Clients disconnected because all of them took too much memory, because one left too many replies unread, and because
    /// a request was too large.
    pub(crate) evicted_clients: AtomicU64,
    pub(crate) ended_by_output_limit: AtomicU64,
    pub(crate) ended_by_query_limit: AtomicU64,
    pub(crate) http_refusals: HttpRefusals,
    pub(crate) peak_memory_bytes: AtomicU64,
    /// When that was, in Unix seconds.
    pub(crate) peak_memory_secs: AtomicU64,
    /// The system's number of the first loop's thread; 0 if it is not known.
    pub(crate) main_thread: AtomicU32,
    /// How long this server has swept a store that has no thread for it, in nanoseconds.
    pub(crate) swept_ns: AtomicU64,
    /// Counts resets.
    epoch: AtomicU64,
    /// What was shown at the last reset.
    baseline: Baseline,
}

#[derive(Default)]
struct Baseline {
    counters: Counters,
    /// Reads and writes of the loops but the first.
    threaded: [AtomicU64; 2],
    expired: AtomicU64,
    evicted: AtomicU64,
    swept_ms: AtomicU64,
}

impl Statistics {
    pub(crate) fn new(loops: usize, now_ms: u64) -> Statistics {
        Statistics {
            started: Instant::now(),
            started_at_ms: now_ms,
            run_id: run_id(),
            loops: (0..loops).map(|_| Arc::default()).collect(),
            drafts: AtomicU64::new(0),
            evicted_clients: AtomicU64::new(0),
            ended_by_output_limit: AtomicU64::new(0),
            ended_by_query_limit: AtomicU64::new(0),
            http_refusals: HttpRefusals::default(),
            peak_memory_bytes: AtomicU64::new(0),
            peak_memory_secs: AtomicU64::new(0),
            main_thread: AtomicU32::new(0),
            swept_ns: AtomicU64::new(0),
            epoch: AtomicU64::new(0),
            baseline: Baseline::default(),
        }
    }

    /// Returns one of the counters, over all loops.
    pub(crate) fn total(&self, counter: impl Fn(&Counters) -> &Counter) -> u64 {
        self.sum(&counter).saturating_sub(counter(&self.baseline.counters).get())
    }

    fn sum(&self, counter: impl Fn(&Counters) -> &Counter) -> u64 {
        self.loops.iter().map(|counters| counter(counters).get()).sum()
    }

    /// Returns how many keys were removed because their deadline passed.
    pub(crate) fn expired(&self, db: &Db) -> u64 {
        db.stats().expired.saturating_sub(self.baseline.expired.load(Relaxed))
    }

    /// Returns how many keys were removed to make room.
    pub(crate) fn evicted(&self, db: &Db) -> u64 {
        db.hooks().evicted().saturating_sub(self.baseline.evicted.load(Relaxed))
    }

    /// Returns the milliseconds that removing expired keys has taken: the processor's time of the store's thread, or how long
    /// this server has swept itself.
    pub(crate) fn swept_ms(&self, db: &Db) -> u64 {
        self.all_swept_ms(db).saturating_sub(self.baseline.swept_ms.load(Relaxed))
    }

    fn all_swept_ms(&self, db: &Db) -> u64 {
        if db.is_in_memory() {
            self.swept_ns.load(Relaxed) / 1_000_000
        } else {
            process::milliseconds_of_threads(SWEEPER_THREAD)
        }
    }

    /// Returns the reads and the writes of the loops but the first: those that Redis calls threaded.
    pub(crate) fn threaded(&self) -> [u64; 2] {
        let all = self.all_threaded();
        [0, 1].map(|at| all[at].saturating_sub(self.baseline.threaded[at].load(Relaxed)))
    }

    fn all_threaded(&self) -> [u64; 2] {
        let sum = |counter: fn(&Counters) -> &Counter| {
            self.loops.iter().skip(1).map(|counters| counter(counters).get()).sum()
        };
        [sum(|of| &of.reads), sum(|of| &of.writes)]
    }

    /// Returns the number of resets: loops begin to count commands anew when it changes.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Relaxed)
    }

    /// Returns what all loops counted of each command that was sent.
    pub(crate) fn commands(&self) -> Vec<Totals> {
        counters::totals(self.loops.iter().map(|counters| &counters.commands), self.epoch())
    }

    /// Returns the number of error replies by their code word.
    pub(crate) fn errors(&self) -> BTreeMap<Box<str>, u64> {
        counters::errors(self.loops.iter().map(|counters| &counters.commands), self.epoch())
    }

    /// Returns what the clients' buffers hold, in bytes.
    pub(crate) fn held_bytes(&self) -> u64 {
        self.sum(|of| &of.held_bytes)
    }

    /// Returns what the statistics of commands and errors take, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.loops.iter().map(|counters| counters.commands.bytes()).sum()
    }

    /// Starts counting from zero. Called on the loop `loop_index`, whose counters may therefore be changed here. `locked`:
    /// inside EXEC, where the store's own figures cannot be read.
    pub(crate) fn reset(&self, loop_index: usize, db: &Db, locked: bool) {
        let epoch = self.epoch.fetch_add(1, Relaxed) + 1;
        if let Some(counters) = self.loops.get(loop_index) {
            counters.commands.begin(epoch);
        }
        for counter in
            [&self.peak_memory_bytes, &self.evicted_clients, &self.ended_by_output_limit, &self.ended_by_query_limit]
        {
            counter.store(0, Relaxed);
        }
        self.http_refusals.reset();
        let baseline = &self.baseline;
        baseline.evicted.store(db.hooks().evicted(), Relaxed);
        baseline.swept_ms.store(self.all_swept_ms(db), Relaxed);
        for (before, now) in baseline.threaded.iter().zip(self.all_threaded()) {
            before.store(now, Relaxed);
        }
        for (index, before) in baseline.counters.cumulative().into_iter().enumerate() {
            before.set(self.loops.iter().map(|counters| counters.cumulative()[index].get()).sum());
        }
        if !locked {
            baseline.expired.store(db.stats().expired, Relaxed);
        }
    }
}

fn run_id() -> String {
    let digits: String = (0..3).map(|_| format!("{:016x}", RandomState::new().build_hasher().finish())).collect();
    digits[..40].to_owned()
}
