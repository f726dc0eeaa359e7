//! Wal: the write-ahead log as writers see it: append, wait. Invariant: Lsns are given in the order of the buffer, and
//! the buffer reaches the disk in that order; `durable` never runs ahead of the disk.
//!
//! Writers append under their shard's lock to one buffer, which is the body of the next frame. The [syncer](crate::syncer)
//! writes it out. One `fdatasync` serves everybody who waits for it: group commit as in DeWitt et al., "Implementation
//! Techniques for Main Memory Database Systems" (1984).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::Waker;

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::clock::Timeline;
use crate::durability::Durability;
use crate::error::{Error, Result};
use crate::frame::{BODY_BYTES_MAX, FRAME_HEADER_BYTES};
use crate::lsn::Lsn;
use crate::segment::{Batch, Failure, Writer};

/// From here on the syncer does not linger: there is enough for a write worth its while.
const FLUSH_BYTES: usize = 256 * 1024;
/// From here on, writers wait before they take any lock.
const BACKLOG_BYTES_MAX: usize = 64 * 1024 * 1024;
/// An emptied buffer larger than this is given back.
const SPARE_BYTES_MAX: usize = 4 * 1024 * 1024;

pub(crate) struct Wal {
    pub(crate) durability: Durability,
    pub(crate) time: Arc<Timeline>,
    pub(crate) state: Mutex<State>,
    /// The syncer waits here for something to do.
    pub(crate) work: Condvar,
    /// Writers wait here for their Lsn, or for room in the buffer.
    settled: Condvar,
    durable: AtomicU64,
    backlogged: AtomicBool,
    /// Bytes in all segments, and how many they are: for statistics, which must not wait for a write.
    log_bytes: AtomicU64,
    segments: AtomicUsize,
    /// Held by whoever writes a frame: the syncer, or a caller who is alone.
    pub(crate) writer: Mutex<Writer>,
    listeners: Mutex<Vec<Arc<dyn Fn() + Send + Sync>>>,
}

pub(crate) struct State {
    /// Room for a frame's header, then the transactions not yet written.
    pub(crate) frame: Vec<u8>,
    /// The Lsn the next transaction gets.
    next: Lsn,
    /// Transactions in `frame`.
    pub(crate) count: u32,
    /// Somebody waits until this is durable.
    pub(crate) wanted: Lsn,
    /// Threads blocked on `settled`.
    waiting: usize,
    wakers: Vec<(Lsn, Waker)>,
    /// How many transactions the last batch had: a writer who was alone will probably be again.
    last_count: u32,
    /// The syncer sleeps until it is told of the next write.
    pub(crate) syncer_parked: bool,
    /// Nothing was written since the last seal.
    pub(crate) sealed: bool,
    /// The buffer was over its bound, and is not any more: whoever listens may write again.
    relieved: bool,
    pub(crate) closing: bool,
    pub(crate) failure: Option<Failure>,
    spare: Vec<u8>,
}

impl State {
    /// The newest transaction appended.
    pub(crate) fn last(&self) -> Lsn {
        Lsn::new(self.next.get() - 1)
    }

    /// Whether the buffer holds enough that gathering more gains nothing.
    pub(crate) fn is_worth_writing(&self) -> bool {
        self.frame.len() >= FLUSH_BYTES
    }
}

impl Wal {
    /// A log that goes on after `last`, everything up to which is durable.
    pub(crate) fn new(durability: Durability, time: Arc<Timeline>, writer: Writer, last: Lsn) -> Self {
        Wal {
            durability,
            time,
            state: Mutex::new(State {
                frame: vec![0; FRAME_HEADER_BYTES],
                next: last.next(),
                count: 0,
                wanted: Lsn::ZERO,
                waiting: 0,
                wakers: Vec::new(),
                last_count: 0,
                syncer_parked: false,
                sealed: true,
                relieved: false,
                closing: false,
                failure: None,
                spare: Vec::new(),
            }),
            work: Condvar::new(),
            settled: Condvar::new(),
            durable: AtomicU64::new(last.get()),
            backlogged: AtomicBool::new(false),
            log_bytes: AtomicU64::new(writer.log_bytes()),
            segments: AtomicUsize::new(writer.segment_count()),
            writer: Mutex::new(writer),
            listeners: Mutex::new(Vec::new()),
        }
    }

    /// Appends one transaction's records; they are in the buffer, not yet written.
    ///
    /// Called under the locks of the shards it changed, so that log order is key order.
    pub(crate) fn append(&self, records: &[u8]) -> Result<Lsn> {
        if records.len() + 4 > BODY_BYTES_MAX / 4 {
            return Err(Error::TransactionTooLarge { len: records.len(), max: BODY_BYTES_MAX / 4 });
        }
        let mut state = self.state.lock();
        if let Some(failure) = &state.failure {
            return Err(failure.error());
        }
        let before = state.frame.len();
        state.frame.extend_from_slice(&(records.len() as u32).to_le_bytes());
        state.frame.extend_from_slice(records);
        state.count += 1;
        let lsn = state.next;
        state.next = lsn.next();
        let after = state.frame.len();
        if after > BACKLOG_BYTES_MAX {
            self.backlogged.store(true, Ordering::Relaxed);
        }
        let enough = before < FLUSH_BYTES && after >= FLUSH_BYTES;
        if state.syncer_parked || enough {
            state.syncer_parked = false;
            drop(state);
            self.work.notify_one();
        }
        Ok(lsn)
    }

    /// Waits while the buffer is over its bound. Called before any shard is locked.
    pub(crate) fn wait_for_room(&self) -> Result<()> {
        if !self.is_backlogged() {
            return Ok(());
        }
        let mut state = self.state.lock();
        while self.is_backlogged() {
            if let Some(failure) = &state.failure {
                return Err(failure.error());
            }
            self.wake_syncer(&mut state);
            self.block(&mut state);
        }
        Ok(())
    }

    pub(crate) fn is_backlogged(&self) -> bool {
        self.backlogged.load(Ordering::Relaxed)
    }

    /// Everything up to here is on stable storage.
    pub(crate) fn durable(&self) -> Lsn {
        Lsn::new(self.durable.load(Ordering::Acquire))
    }

    /// The Lsn of the newest transaction in the buffer or beyond.
    pub(crate) fn last(&self) -> Lsn {
        self.state.lock().last()
    }

    pub(crate) fn health(&self) -> Result<()> {
        self.state.lock().failure.as_ref().map_or(Ok(()), |failure| Err(failure.error()))
    }

    /// Asks the syncer to make everything up to `lsn` durable, and returns at once.
    pub(crate) fn request_sync(&self, lsn: Lsn) {
        if self.durable() < lsn {
            let mut state = self.state.lock();
            state.wanted = state.wanted.max(lsn);
            self.wake_syncer(&mut state);
        }
    }

    /// Returns when everything up to `lsn` is durable, or cannot become so.
    pub(crate) fn wait(&self, lsn: Lsn) -> Result<()> {
        if self.durable() >= lsn {
            return Ok(());
        }
        let mut state = self.state.lock();
        // Alone, a caller saves two changes of thread by writing itself. With others about, that would split their
        // group: the syncer then serves all of them at once.
        if state.waiting == 0
            && state.last_count <= 1
            && state.failure.is_none()
            && let Some(mut writer) = self.writer.try_lock()
        {
            state.waiting += 1;
            drop(state);
            self.flush(&mut writer, true);
            drop(writer);
            state = self.state.lock();
            state.waiting -= 1;
        }
        loop {
            if self.durable() >= lsn {
                return Ok(());
            }
            if let Some(failure) = &state.failure {
                return Err(failure.error());
            }
            state.wanted = state.wanted.max(lsn);
            self.wake_syncer(&mut state);
            self.block(&mut state);
        }
    }

    /// `None` if `lsn` is not settled yet; then `waker` is called when that may have changed.
    pub(crate) fn poll(&self, lsn: Lsn, waker: &Waker) -> Option<Result<()>> {
        if self.durable() >= lsn {
            return Some(Ok(()));
        }
        let mut state = self.state.lock();
        if self.durable() >= lsn {
            return Some(Ok(()));
        }
        if let Some(failure) = &state.failure {
            return Some(Err(failure.error()));
        }
        state.wakers.retain(|(_, other)| !other.will_wake(waker));
        state.wakers.push((lsn, waker.clone()));
        state.wanted = state.wanted.max(lsn);
        self.wake_syncer(&mut state);
        None
    }

    /// `listener` is called, by whoever wrote, each time `durable` has advanced or the log has failed.
    pub(crate) fn listen(&self, listener: Arc<dyn Fn() + Send + Sync>) {
        self.listeners.lock().push(listener);
    }

    fn block(&self, state: &mut MutexGuard<'_, State>) {
        state.waiting += 1;
        self.settled.wait(state);
        state.waiting -= 1;
    }

    pub(crate) fn wake_syncer(&self, state: &mut State) {
        state.syncer_parked = false;
        self.work.notify_one();
    }

    /// Bytes in all segments, and how many they are.
    pub(crate) fn sizes(&self) -> (u64, usize) {
        (self.log_bytes.load(Ordering::Relaxed), self.segments.load(Ordering::Relaxed))
    }

    pub(crate) fn note_sizes(&self, writer: &Writer) {
        self.log_bytes.store(writer.log_bytes(), Ordering::Relaxed);
        self.segments.store(writer.segment_count(), Ordering::Relaxed);
    }

    /// Writes what is in the buffer and, if asked, makes it durable. Tells everybody the outcome.
    pub(crate) fn flush(&self, writer: &mut Writer, sync: bool) {
        if matches!(self.state.lock().failure, Some(Failure::Poisoned(_) | Failure::Closed)) {
            return;
        }
        let batch = self.take_batch();
        let outcome = writer.write(batch, self.time.now_ms()).and_then(|emptied| {
            if sync {
                writer.sync()?;
            }
            Ok(emptied)
        });
        self.note_sizes(writer);
        match outcome {
            Ok(emptied) => self.publish(Ok(writer.synced), emptied),
            Err(failure) => self.fail(failure),
        }
    }

    /// Writes everything and begins a new segment, so that a snapshot begun now lets the ones before go.
    pub(crate) fn flush_and_rotate(&self, writer: &mut Writer) {
        self.flush(writer, false);
        if self.health().is_ok() {
            match writer.rotate_if_used() {
                Ok(()) => self.publish(Ok(writer.synced), Vec::new()),
                Err(failure) => self.fail(failure),
            }
        }
    }

    pub(crate) fn fail(&self, failure: Failure) {
        match &failure {
            Failure::Poisoned(why) => tracing::error!("the log failed, writes are refused from now on: {why}"),
            Failure::NoSpace(why) => tracing::warn!("no space for the log, writes are refused until there is: {why}"),
            Failure::Closed => {}
        }
        self.publish(Err(failure), Vec::new());
    }

    /// Takes what is in the buffer. The caller holds the writer's lock, so batches are written in order.
    fn take_batch(&self) -> Batch {
        let mut state = self.state.lock();
        let mut fresh = std::mem::take(&mut state.spare);
        fresh.resize(FRAME_HEADER_BYTES, 0);
        let frame = std::mem::replace(&mut state.frame, fresh);
        let count = std::mem::take(&mut state.count);
        if count > 0 {
            state.last_count = count;
            state.sealed = false;
        }
        state.relieved |= self.backlogged.swap(false, Ordering::Relaxed);
        Batch { frame, first: Lsn::new(state.next.get() - u64::from(count)), count }
    }

    /// Tells everybody what became of a flush: what is durable now, or why nothing is.
    pub(crate) fn publish(&self, outcome: std::result::Result<Lsn, Failure>, mut emptied: Vec<u8>) {
        let mut state = self.state.lock();
        let mut changed = std::mem::take(&mut state.relieved);
        match outcome {
            Ok(durable) => {
                if durable > self.durable() {
                    self.durable.store(durable.get(), Ordering::Release);
                    changed = true;
                }
                if matches!(state.failure, Some(Failure::NoSpace(_))) {
                    tracing::info!("there is space for the log again; writes resume");
                    state.failure = None;
                    changed = true;
                }
            }
            Err(failure) => {
                // The first failure is the one to tell; a closed log stays closed.
                if !matches!(state.failure, Some(Failure::Poisoned(_) | Failure::Closed)) {
                    state.failure = Some(failure);
                    // Writers are refused from now on; none must wait for room.
                    self.backlogged.store(false, Ordering::Relaxed);
                    changed = true;
                }
            }
        }
        if emptied.capacity() <= SPARE_BYTES_MAX {
            emptied.clear();
            state.spare = emptied;
        }
        let durable = self.durable();
        let failed = state.failure.is_some();
        let mut ready = Vec::new();
        state.wakers.retain(|(lsn, waker)| {
            let done = failed || *lsn <= durable;
            if done {
                ready.push(waker.clone());
            }
            !done
        });
        let blocked = state.waiting > 0;
        drop(state);
        if blocked {
            self.settled.notify_all();
        }
        ready.into_iter().for_each(Waker::wake);
        if changed {
            let listeners = self.listeners.lock().clone();
            listeners.iter().for_each(|listener| listener());
        }
    }
}
