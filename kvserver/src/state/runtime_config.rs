//! What CONFIG SET can change while the server table, as far as no other part of the server keeps it.
//!
//! Invariant: a loop works with its own copy of what it needs for each request and looks for a newer one with one
//! relaxed load a time slice, so being changeable costs a request nothing.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use kvcore::Limits as StoreLimits;
use kvcore::hooks::LfuCounter;
use kvproto::Limits;
use parking_lot::Mutex;

use crate::state::server_config::{OutputLimit, SavePoint, ServerConfig};
use kvcommands::eviction_policy;
use kvcommands::{CommandConfig, HLL_SPARSE_BYTES};
use kvstats::slow::LARGE_BYTES;

/// What a loop needs for every request or every connection.
#[derive(Clone, Debug)]
pub(crate) struct LoopLimits {
    pub(crate) limits: Limits,
    pub(crate) output: OutputLimits,
    /// A command whose request or reply is as long may have to be logged.
    pub(crate) large_bytes: usize,
}

/// How much each class of clients may leave unread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OutputLimits {
    pub(crate) normal: OutputLimit,
    /// Shown and kept; there are no replicas.
    pub(crate) replica: OutputLimit,
    pub(crate) subscriber: OutputLimit,
}

impl OutputLimits {
    /// Those of a server that was told of none.
    pub(crate) fn at_start(settings: &ServerConfig) -> OutputLimits {
        let unlimited = OutputLimit { hard_bytes: 0, soft_bytes: 0, soft_for: Duration::ZERO };
        OutputLimits { normal: unlimited, replica: unlimited, subscriber: settings.subscriber_output }
    }
}

/// A parameter that has no effect but to be shown.
pub(crate) const AVAILABILITY_ZONE: &str = "availability-zone";
/// A lower limit on what clients may take could keep everybody out, whoever would raise it too. As in Redis.
const CLIENT_MEMORY_LEAST: u64 = 128 * 1024;

/// The changeable settings.
#[derive(Debug)]
pub(crate) struct RuntimeConfig {
    /// Counts changes of `bounds`.
    generation: AtomicU64,
    bounds: Mutex<LoopLimits>,
    /// The longest request and the largest queue of MULTI, in bytes: the copy for who has no copy of the bounds.
    query_bytes_max: AtomicUsize,
    /// 0 for no limit.
    pub(crate) memory_bytes_max: AtomicU64,
    /// Keys in all databases; 0 for no limit.
    pub(crate) entries_max: AtomicU64,
    /// What clients may take together: bytes, or if negative a percentage of `memory_bytes_max`; 0 for no limit.
    pub(crate) client_memory_max: AtomicI64,
    /// A place in [`kvcommands::eviction_policy::POLICIES`].
    pub(crate) policy: AtomicUsize,
    /// How a policy that asks how often keys are used counts that.
    pub(crate) lfu_factor: AtomicU32,
    pub(crate) lfu_decay_minutes: AtomicU32,
    /// Seconds after which an idle client is disconnected; 0 for never.
    pub(crate) timeout_secs: AtomicU64,
    /// Seconds in which a connection has to log in where that is needed; 0 for any number.
    pub(crate) login_timeout_secs: AtomicU64,
    /// Seconds of silence after which a TCP peer is probed; 0 for never.
    pub(crate) keepalive_secs: AtomicU64,
    /// Replicas without which writes are refused.
    pub(crate) replicas_min: AtomicU64,
    /// What a sparse HyperLogLog may take, in bytes, before it becomes dense.
    pub(crate) sparse_bytes_max: AtomicUsize,
    /// What a client made of `hz`; nothing goes by it.
    pub(crate) hz: AtomicU64,
    /// The percentages of calls whose longest duration INFO latencystats shows.
    pub(crate) percentiles: Mutex<Vec<f64>>,
    /// Whether INFO latencystats and LATENCY HISTOGRAM show anything.
    pub(crate) latency_tracking: AtomicBool,
    pub(crate) save_points: Mutex<Vec<SavePoint>>,
    pub(crate) last_save_try: Mutex<Option<Instant>>,
    /// Parameters that are kept for clients that set and read them, and have no effect here.
    pub(crate) inert: Mutex<BTreeMap<&'static str, String>>,
    /// What every parameter was before the configuration file or a client changed it.
    pub(crate) at_start: OnceLock<BTreeMap<&'static str, String>>,
}

impl RuntimeConfig {
    /// Returns the configuration of the commands as it is now.
    #[inline]
    pub(crate) fn of_commands(&self) -> CommandConfig {
        CommandConfig { hll_sparse_bytes_max: self.sparse_bytes_max.load(Relaxed) }
    }

    /// `limits`: those that the store has.
    pub(crate) fn new(settings: &ServerConfig, limits: &StoreLimits) -> RuntimeConfig {
        let output = OutputLimits::at_start(settings);
        RuntimeConfig {
            generation: AtomicU64::new(0),
            query_bytes_max: AtomicUsize::new(settings.limits.request_bytes_max),
            bounds: Mutex::new(LoopLimits {
                limits: settings.limits.clone(),
                output,
                large_bytes: LARGE_BYTES as usize,
            }),
            memory_bytes_max: AtomicU64::new(limits.max_memory.unwrap_or(0)),
            entries_max: AtomicU64::new(limits.max_entries.unwrap_or(0)),
            client_memory_max: AtomicI64::new(0),
            policy: AtomicUsize::new(eviction_policy::policy_of(limits)),
            lfu_factor: AtomicU32::new(LfuCounter::default().factor),
            lfu_decay_minutes: AtomicU32::new(LfuCounter::default().decay_minutes),
            timeout_secs: AtomicU64::new(0),
            login_timeout_secs: AtomicU64::new(settings.login_timeout_secs),
            keepalive_secs: AtomicU64::new(300),
            replicas_min: AtomicU64::new(0),
            sparse_bytes_max: AtomicUsize::new(HLL_SPARSE_BYTES),
            hz: AtomicU64::new(10),
            percentiles: Mutex::new(vec![50.0, 99.0, 99.9]),
            latency_tracking: AtomicBool::new(true),
            save_points: Mutex::new(settings.save_points.clone()),
            last_save_try: Mutex::new(None),
            inert: Mutex::default(),
            at_start: OnceLock::new(),
        }
    }

    /// Returns the value of `availability-zone`: where the server table, for clients that choose the nearest one.
    pub(crate) fn availability_zone(&self) -> String {
        self.inert.lock().get(AVAILABILITY_ZONE).cloned().unwrap_or_default()
    }

    /// Which copy of the bounds is the newest.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Relaxed)
    }

    pub(crate) fn loop_limits(&self) -> LoopLimits {
        self.bounds.lock().clone()
    }

    /// Lets every loop look for what is new in its next iteration.
    pub(crate) fn touch(&self) {
        self.generation.fetch_add(1, Relaxed);
    }

    pub(crate) fn change_limits(&self, change: impl FnOnce(&mut LoopLimits)) {
        let mut bounds = self.bounds.lock();
        change(&mut bounds);
        self.query_bytes_max.store(bounds.limits.request_bytes_max, Relaxed);
        drop(bounds);
        self.touch();
    }

    /// What a client may let the server keep of its requests, in bytes.
    pub(crate) fn query_bytes_max(&self) -> usize {
        self.query_bytes_max.load(Relaxed)
    }

    /// What clients may take together, in bytes, if that is limited.
    pub(crate) fn client_bytes_max(&self) -> Option<u64> {
        let set = self.client_memory_max.load(Relaxed);
        let bytes = match set {
            0 => return None,
            1.. => set.unsigned_abs(),
            _ => match self.memory_bytes_max.load(Relaxed) {
                0 => return None,
                memory => memory / 100 * set.unsigned_abs(),
            },
        };
        Some(bytes.max(CLIENT_MEMORY_LEAST))
    }

    /// How uses of keys are counted, if the policy asks for that.
    pub(crate) fn use_counter(&self) -> Option<LfuCounter> {
        self.policy().ends_with("lfu").then(|| LfuCounter {
            factor: self.lfu_factor.load(Relaxed),
            decay_minutes: self.lfu_decay_minutes.load(Relaxed),
        })
    }

    /// The name of the policy.
    pub(crate) fn policy(&self) -> &'static str {
        eviction_policy::POLICIES.get(self.policy.load(Relaxed)).copied().unwrap_or("noeviction")
    }
}

/// How long after a failed snapshot the next is tried.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Starts a snapshot if one of the save points asks for it. Called about once a second.
pub(crate) fn save_when_due(db: &kvcore::Db, tuning: &RuntimeConfig, started_at_ms: u64, now: Instant) {
    let points = tuning.save_points.lock();
    if points.is_empty() || db.is_in_memory() {
        return;
    }
    let status = db.snapshot_status();
    let last_ms = status.last_good_ms.max(started_at_ms);
    let since = Duration::from_millis(db.now_ms().saturating_sub(last_ms));
    let due = points.iter().any(|point| since > point.after && status.changes_since >= point.changes.max(1));
    let mut last_try = tuning.last_save_try.lock();
    let rested = last_try.is_none_or(|at| now.saturating_duration_since(at) >= RETRY_AFTER);
    if due && rested && !status.running {
        *last_try = Some(now);
        if let Err(error) = db.snapshot_in_background() {
            tracing::error!(%error, "a snapshot is due and cannot be begun");
        }
    }
}
