//! Options: how to open a store. Invariant: plain values, checked once, when the store is opened.

use std::sync::Arc;
use std::time::Duration;

use crate::durability::Durability;
use crate::error::{Error, Result};
use crate::io::clock::{Clock, SystemClock};
use crate::io::disk::Disk;
use crate::io::file_disk::FileDisk;
use crate::observer::Observer;
use crate::table::limits::{Candidates, Limits, Policy};

const MIB: usize = 1024 * 1024;

/// How to open a store.
///
/// ```no_run
/// use kvcore::{Durability, Options};
/// let db = Options::new().durability(Durability::EverySecond).open("data")?;
/// # Ok::<(), kvcore::Error>(())
/// ```
#[derive(Clone)]
pub struct Options {
    pub(crate) durability: Durability,
    pub(crate) shards: usize,
    pub(crate) key_bytes_max: usize,
    pub(crate) value_bytes_max: usize,
    pub(crate) segment_bytes: u64,
    pub(crate) snapshot_log_bytes: u64,
    pub(crate) snapshot_every: Option<Duration>,
    pub(crate) limits: Limits,
    pub(crate) sweeps_in_memory: bool,
    pub(crate) observer: Option<Arc<dyn Observer>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) disk: Arc<dyn Disk>,
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

impl Options {
    /// Returns the defaults, as each method names them.
    ///
    /// ```
    /// let db = kvcore::Options::new().in_memory()?;
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    pub fn new() -> Self {
        Options {
            durability: Durability::Always,
            shards: 256,
            key_bytes_max: 512 * MIB,
            value_bytes_max: 512 * MIB,
            segment_bytes: 16 * MIB as u64,
            snapshot_log_bytes: 64 * MIB as u64,
            snapshot_every: None,
            limits: Limits::default(),
            sweeps_in_memory: false,
            observer: None,
            clock: Arc::new(SystemClock::new()),
            disk: Arc::new(FileDisk),
        }
    }

    /// Sets what a plain write has survived when it returns. Default: [`Durability::Always`].
    ///
    /// ```
    /// use kvcore::{Durability, Options};
    /// let db = Options::new().durability(Durability::EverySecond).in_memory()?;
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Sets the number of locks of a keyspace: a power of two from 1 to 4096. Default: 256. May differ each time a store is opened.
    ///
    /// ```
    /// let db = kvcore::Options::new().shards(64).in_memory()?;
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    pub fn shards(mut self, shards: usize) -> Self {
        self.shards = shards;
        self
    }

    /// Sets the length of the longest key, in bytes. Default, and at most: 512 MiB.
    ///
    /// ```
    /// let db = kvcore::Options::new().key_bytes_max(1024).in_memory()?;
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    pub fn key_bytes_max(mut self, bytes: usize) -> Self {
        self.key_bytes_max = bytes;
        self
    }

    /// Sets the length of the longest value, in bytes. Default, and at most: 512 MiB.
    ///
    /// ```
    /// let db = kvcore::Options::new().value_bytes_max(1 << 20).in_memory()?;
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    pub fn value_bytes_max(mut self, bytes: usize) -> Self {
        self.value_bytes_max = bytes;
        self
    }

    /// Sets how long a segment of the log grows, in bytes, at least 4 KiB. Default: 16 MiB. A larger transaction gets a
    /// segment of its own.
    ///
    /// ```
    /// let db = kvcore::Options::new().segment_bytes(64 << 20).in_memory()?;
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    pub fn segment_bytes(mut self, bytes: u64) -> Self {
        self.segment_bytes = bytes;
        self
    }

    /// Writes a snapshot when the log since the last one has more bytes than this and than that snapshot.
    /// Default: 64 MiB.
    ///
    /// ```
    /// let db = kvcore::Options::new().snapshot_log_bytes(256 << 20).in_memory()?;
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    pub fn snapshot_log_bytes(mut self, bytes: u64) -> Self {
        self.snapshot_log_bytes = bytes;
        self
    }

    /// Writes a snapshot this often, too, if something changed. Default: `None`, never.
    ///
    /// ```
    /// let db = kvcore::Options::new().snapshot_every(Some(std::time::Duration::from_secs(3600))).in_memory()?;
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    pub fn snapshot_every(mut self, every: Option<Duration>) -> Self {
        self.snapshot_every = every;
        self
    }

    /// Holds at most so many entries, in all keyspaces together. Default: any number. [`eviction`](Self::eviction) says which
    /// entry is removed for one more; without a policy a write that would add one fails. The limit holds whoever writes at the
    /// same time: while other transactions hold every entry that may go, one that adds some gives up what it has written itself.
    ///
    /// ```
    /// use kvcore::{Options, Policy};
    /// let cache = Options::new().max_entries(2).eviction(Policy::Lru).in_memory()?;
    /// cache.set("a", "1")?;
    /// cache.set("b", "2")?;
    /// cache.get("a")?;
    /// cache.set("c", "3")?; // b was used least recently
    /// assert_eq!((cache.exists("a")?, cache.exists("b")?, cache.exists("c")?), (true, false, true));
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    pub fn max_entries(mut self, entries: u64) -> Self {
        self.limits.max_entries = Some(entries);
        self
    }

    /// Holds at most so many bytes, as [`Stats::memory_bytes`](crate::Stats::memory_bytes) counts them: entries, tables, and
    /// what is recorded for the limits. Default: any number. A write may take the store beyond it by what it adds, and removes
    /// entries before it returns until the store is within the limit again: about a thousand, and one for every 16 bytes that it
    /// adds. What it leaves, as when other transactions hold the entries that may go, is removed by the writes that follow.
    /// Without a policy, or if no entry may go, a write that adds bytes beyond the limit fails.
    ///
    /// ```
    /// let db = kvcore::Options::new().max_memory(100 << 20).eviction(kvcore::Policy::Lru).in_memory()?;
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    pub fn max_memory(mut self, bytes: u64) -> Self {
        self.limits.max_memory = Some(bytes);
        self
    }

    /// Sets which entry is removed when a limit is reached. Default: [`Policy::None`].
    ///
    /// ```
    /// let db = kvcore::Options::new().max_entries(1000).eviction(kvcore::Policy::S3Fifo).in_memory()?;
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    pub fn eviction(mut self, policy: Policy) -> Self {
        self.limits.policy = policy;
        self
    }

    /// Sets which entries may be removed. Default: [`Candidates::All`].
    ///
    /// ```
    /// let db = kvcore::Options::new().max_entries(1000).eviction(kvcore::Policy::Lru).eviction_candidates(kvcore::Candidates::WithDeadline).in_memory()?;
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    pub fn eviction_candidates(mut self, candidates: Candidates) -> Self {
        self.limits.candidates = candidates;
        self
    }

    /// Starts a thread that removes expired keys of a store in memory soon after their deadlines, as a store on disk always does.
    /// Default: none, and their memory is returned by the writes that follow.
    ///
    /// ```
    /// let db = kvcore::Options::new().sweep_in_memory().in_memory()?;
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    pub fn sweep_in_memory(mut self) -> Self {
        self.sweeps_in_memory = true;
        self
    }

    /// Notifies `observer` of each change; for programs there is [`Keyspace::watch`](crate::Keyspace::watch).
    ///
    /// ```
    /// use std::sync::Arc;
    /// use kvcore::Options;
    /// use kvcore::hooks::{Change, Observer};
    ///
    /// struct Prints;
    ///
    /// impl Observer for Prints {
    ///     fn changed(&self, change: &Change<'_>) {
    ///         println!("{:?}: {:?}", change.key, change.kind);
    ///     }
    /// }
    ///
    /// let db = Options::new().observer(Arc::new(Prints)).in_memory()?;
    /// db.set("key", "value")?;
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Takes the time from `clock`. Default: [`SystemClock`].
    ///
    /// ```
    /// use std::sync::Arc;
    /// use kvcore::{ManualClock, Options};
    /// let clock = Arc::new(ManualClock::at(1_800_000_000_000));
    /// let db = Options::new().clock(clock.clone()).in_memory()?;
    /// clock.advance(1000); // a second later
    /// assert_eq!(db.now_ms(), 1_800_000_001_000);
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Keeps files on `disk`. Default: [`FileDisk`].
    ///
    /// ```
    /// use std::sync::Arc;
    /// use kvcore::{FileDisk, Options};
    /// let options = Options::new().disk(Arc::new(FileDisk));
    /// ```
    pub fn disk(mut self, disk: Arc<dyn Disk>) -> Self {
        self.disk = disk;
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        let wrong = |what: &str| Err(Error::InvalidOption(what.to_owned()));
        if !self.shards.is_power_of_two() || self.shards > 4096 {
            return wrong("shards must be a power of two from 1 to 4096");
        }
        if self.key_bytes_max > 512 * MIB || self.value_bytes_max > 512 * MIB {
            return wrong("keys and values can be limited to at most 512 MiB");
        }
        if self.snapshot_every == Some(Duration::ZERO) {
            return wrong("snapshot_every must be longer than nothing; None is never");
        }
        if self.segment_bytes < 4096 {
            return wrong("segment_bytes must be at least 4096");
        }
        self.limits.check()
    }
}
