//! Store context: what every transaction of a store uses. Invariant: what was seen to have expired has a time mark in the log before
//! anybody acts on it, so it stays expired after a crash and a clock that was set back.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::durability::Promise;
use crate::error::{Error, Result};
use crate::hash::KeyHash;
use crate::io::clock::Timeline;
use crate::log::record::Record;
use crate::log::wal::Wal;
use crate::lsn::Lsn;
use crate::observer::{Change, Observer, Swap};
use crate::reentrancy::{self, ReentrancyGuard};
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{Condvar, Mutex};
use crate::table::access::{AccessTime, LfuCounter};
use crate::table::disposal::Disposal;
use crate::table::eviction::Eviction;
use crate::watch::Watches;

/// A handful: the server's own, and those of the program around it.
const OBSERVERS_MAX: usize = 8;

/// No snapshot is being written. Numbers of snapshots are greater than these two.
pub(crate) const NO_SNAPSHOT: u64 = 0;
/// A snapshot is about to note its start.
pub(crate) const BEGINNING_SNAPSHOT: u64 = 1;

pub(crate) struct StoreContext {
    /// Tells this store from others in the process.
    pub(crate) store_id: u64,
    /// Tells what it returns to be given back later, as the position of a scan, from what another process, or this store before it
    /// was opened again, has returned.
    pub(crate) opening_id: u64,
    pub(crate) hasher: KeyHash,
    pub(crate) time: Arc<Timeline>,
    pub(crate) key_bytes_max: usize,
    pub(crate) value_bytes_max: usize,
    /// Filled from the front. Observers are only ever added, so a commit reads them without a lock.
    observers: [OnceLock<Arc<dyn Observer>>; OBSERVERS_MAX],
    pub(crate) watches: Arc<Watches>,
    /// What a plain write has survived when it returns, unless its handle says otherwise.
    pub(crate) promise: Arc<Promise>,
    /// `None` for a store in memory only.
    pub(crate) wal: Option<Arc<Wal>>,
    /// The newest time in the log that a read may rely on, and its Lsn.
    mark: Mutex<(u64, Lsn)>,
    /// How uses are counted, if they are.
    counter: Mutex<Option<LfuCounter>>,
    pub(crate) eviction: Eviction,
    pub(crate) disposal: Disposal,
    /// Entries removed because their deadline passed.
    pub(crate) expired: AtomicU64,
    /// A [`AccessTime`]: the time when somebody last told it. Good enough for who uses what, and free to read.
    noted: AtomicU64,
    /// When the store was opened.
    opened_ms: u64,
    /// Whether entries whose deadline has passed stay until somebody asks for them.
    pub(crate) sweeping_paused: AtomicBool,
    /// Bodies of transactions are run once for nothing before they count: for tests.
    bodies_run_twice: AtomicBool,
    /// Whether they stay even then.
    pub(crate) expiry_held: AtomicBool,
    /// The number of the snapshot that is being written, [`NO_SNAPSHOT`], or [`BEGINNING_SNAPSHOT`] until its start is noted.
    pub(crate) snapshot: AtomicU64,
    /// Wakes the sweeper when a deadline comes sooner than it sleeps.
    pub(crate) sweeper: Arc<Notifier>,
}

/// Something to sleep on until told otherwise.
#[derive(Default)]
pub(crate) struct Notifier {
    state: Mutex<NotifierState>,
    changed: Condvar,
}

#[derive(Default)]
struct NotifierState {
    notified: bool,
    ended: bool,
}

impl Notifier {
    /// Ends this sleep, or the next.
    pub(crate) fn notify(&self) {
        self.state.lock().notified = true;
        self.changed.notify_all();
    }

    /// Ends this sleep and all that follow.
    pub(crate) fn end(&self) {
        self.state.lock().ended = true;
        self.changed.notify_all();
    }

    /// Sleeps until it is notified or `at_most` has passed; returns whether to go on.
    pub(crate) fn sleep(&self, at_most: Option<Duration>) -> bool {
        let mut state = self.state.lock();
        while !state.notified && !state.ended {
            match at_most {
                Some(at_most) if self.changed.wait_for(&mut state, at_most).timed_out() => break,
                Some(_) => {}
                None => self.changed.wait(&mut state),
            }
        }
        state.notified = false;
        !state.ended
    }
}

impl StoreContext {
    pub(crate) fn new(
        hasher: KeyHash,
        time: Arc<Timeline>,
        key_bytes_max: usize,
        value_bytes_max: usize,
        promise: Arc<Promise>,
        wal: Option<Arc<Wal>>,
        floor_ms: u64,
    ) -> Self {
        let opened_ms = time.now_ms();
        // Shared by all stores of the process, and waited for by nobody.
        static NEXT_ID: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
        StoreContext {
            store_id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            opening_id: fastrand::u64(..),
            hasher,
            time,
            key_bytes_max,
            value_bytes_max,
            observers: Default::default(),
            watches: Arc::default(),
            promise,
            wal,
            mark: Mutex::new((floor_ms, Lsn::ZERO)),
            counter: Mutex::new(None),
            eviction: Eviction::new(),
            disposal: Disposal::default(),
            expired: AtomicU64::new(0),
            noted: AtomicU64::new(AccessTime::NONE.bits()),
            opened_ms,
            sweeping_paused: AtomicBool::new(false),
            bodies_run_twice: AtomicBool::new(false),
            expiry_held: AtomicBool::new(false),
            snapshot: AtomicU64::new(NO_SNAPSHOT),
            sweeper: Arc::default(),
        }
    }

    /// Claims the store for this thread; an error if a closure it runs has called it again.
    #[inline]
    pub(crate) fn enter(&self) -> Result<ReentrancyGuard> {
        ReentrancyGuard::new(self.store_id)
    }

    pub(crate) fn note_time(&self) {
        // Computed and stored by one at a time, so that it never runs back.
        let counter = self.counter.lock();
        let secs = u32::try_from(self.time.now_ms().saturating_sub(self.opened_ms) / 1000).unwrap_or(u32::MAX);
        let access_time = AccessTime::after_secs(secs, *counter);
        self.noted.store(access_time.bits(), Ordering::Relaxed);
    }

    /// Takes note of how often entries are used, or again of when.
    pub(crate) fn count_accesses(&self, counter: Option<LfuCounter>) {
        *self.counter.lock() = counter;
        self.note_time();
    }

    /// Counts how often entries are used, unless that is counted already.
    pub(crate) fn count_accesses_by_default(&self) {
        self.counter.lock().get_or_insert_default();
        self.note_time();
    }

    #[inline]
    pub(crate) fn access_time(&self) -> AccessTime {
        AccessTime::from_bits(self.noted.load(Ordering::Relaxed))
    }

    /// Whether this thread runs a closure under this store's locks.
    pub(crate) fn is_entered(&self) -> bool {
        reentrancy::is_held(self.store_id)
    }

    pub(crate) fn observe(&self, mut observer: Arc<dyn Observer>) -> Result<()> {
        for slot in &self.observers {
            match slot.set(observer) {
                Ok(()) => return Ok(()),
                Err(back) => observer = back,
            }
        }
        Err(Error::TooManyObservers { max: OBSERVERS_MAX })
    }

    #[inline]
    pub(crate) fn bodies_run_twice(&self) -> bool {
        self.bodies_run_twice.load(Ordering::Relaxed)
    }

    pub(crate) fn run_bodies_twice(&self, twice: bool) {
        self.bodies_run_twice.store(twice, Ordering::Relaxed);
    }

    pub(crate) fn is_observed(&self) -> bool {
        self.observers[0].get().is_some() || !self.watches.is_empty()
    }

    /// Notifies every observer and every watch. The shard concerned is locked.
    pub(crate) fn tell(&self, change: &Change<'_>) {
        self.tell_observers(change);
        self.watches.push(change);
    }

    /// Returns whether some observer wants to be notified of changes. The shards concerned are locked.
    pub(crate) fn is_anyone_interested(&self) -> bool {
        self.observers.iter().map_while(OnceLock::get).any(|observer| observer.is_interested())
    }

    /// Notifies every observer. The shard concerned is locked.
    pub(crate) fn tell_observers(&self, change: &Change<'_>) {
        self.observers.iter().map_while(OnceLock::get).for_each(|observer| observer.changed(change));
    }

    /// As [`tell`](Self::tell); all shards concerned are locked.
    pub(crate) fn tell_swap(&self, swap: &Swap<'_>) {
        self.observers.iter().map_while(OnceLock::get).for_each(|observer| observer.swapped(swap));
    }

    pub(crate) fn count_expired(&self, n: u64) {
        self.expired.fetch_add(n, Ordering::Relaxed);
    }

    /// The Lsn of a time mark at or after `deadline_ms`, which has been seen to have passed at `now_ms`.
    ///
    /// When the log takes no writes the result is the first Lsn after the refusal, which the log gives to a time mark of
    /// its own if it ever takes writes again.
    pub(crate) fn mark_time(&self, deadline_ms: u64, now_ms: u64) -> Lsn {
        let Some(wal) = &self.wal else { return Lsn::ZERO };
        let mut mark = self.mark.lock();
        if mark.0 < deadline_ms {
            let mut transaction = Vec::with_capacity(16);
            Record::Time { ms: now_ms }.encode(&mut transaction);
            match wal.append(&transaction) {
                Ok(lsn) => *mark = (now_ms, lsn),
                Err(_) => return wal.last().next(),
            }
        }
        mark.1
    }

    /// Whether the log can be told what the time is. While it cannot, expired entries stay: of each that is asked for it is
    /// seen that it has expired, and that nobody may be told yet; a shard from which some are gone tells it of none.
    pub(crate) fn can_mark_time(&self) -> bool {
        self.wal.as_ref().is_none_or(|wal| !wal.is_refusing())
    }

    pub(crate) fn check_key(&self, key: &[u8]) -> Result<()> {
        if key.len() > self.key_bytes_max {
            return Err(Error::KeyTooLong { len: key.len(), max: self.key_bytes_max });
        }
        Ok(())
    }

    pub(crate) fn check_value(&self, len: usize) -> Result<()> {
        if len > self.value_bytes_max {
            return Err(Error::ValueTooLong { len, max: self.value_bytes_max });
        }
        Ok(())
    }
}
