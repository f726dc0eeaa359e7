//! Wal: the write-ahead log as writers see it: append, wait. Invariant: a frame holds every Lsn between its first and its
//! last, frames reach the disk in order, and `durable` never runs ahead of the disk.
//!
//! Writers append under their shard's lock to [stripes](crate::log::stripes), which together are the body of the next frame. The
//! [syncer](crate::log::syncer) writes it out. One `fdatasync` serves everybody who waits for it: group commit as in DeWitt et al., "Implementation
//! Techniques for Main Memory Database Systems" (1984).

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use crate::durability::{Durability, Promise};
use crate::error::{Error, Result};
use crate::io::clock::Timeline;
use crate::log::awaiting_durability::AwaitingDurability;
use crate::log::frame::RECORDS_BYTES_MAX;
use crate::log::record::Record;
use crate::log::records::Records;
use crate::log::segment::{Failure, Writer};
use crate::log::stripes::{Appended, Body, Fullness, Stripes};
use crate::lsn::Lsn;
use crate::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use crate::sync::{CachePadded, Condvar, Mutex, MutexGuard};

pub(crate) struct Wal {
    promise: Arc<Promise>,
    pub(crate) time: Arc<Timeline>,
    stripes: Stripes,
    /// Looked at by every write, changed rarely.
    signs: CachePadded<Signs>,
    pub(crate) state: Mutex<State>,
    /// The syncer waits here for something to do.
    pub(crate) work: Condvar,
    /// Writers wait here for their Lsn, or for room in the buffer.
    progress: Condvar,
    /// Sequentially consistent: who is about to sleep until it grows says so and then looks; who makes it grow stores it
    /// and then looks who sleeps. At least one of the two sees the other.
    durable: AtomicU64,
    /// Bytes in all segments, and how many they are: for statistics, which must not wait for a write.
    log_bytes: AtomicU64,
    segments: AtomicUsize,
    /// Held by whoever writes a frame: the syncer, or a caller who is alone.
    pub(crate) writer: Mutex<Writer>,
    listeners: Mutex<Vec<Arc<dyn Fn() + Send + Sync>>>,
}

#[derive(Default)]
struct Signs {
    /// The syncer sleeps until it is told of the next write.
    syncer_parked: AtomicBool,
    /// Writers wait before they take any lock.
    backlogged: AtomicBool,
    /// It takes no writes: it failed, or there is no space.
    refusing: AtomicBool,
}

#[derive(Default)]
pub(crate) struct State {
    /// Everything up to here has been taken out of the stripes.
    taken: Lsn,
    /// A stripe holds enough that gathering more gains nothing.
    pub(crate) is_worth_writing: bool,
    pub(crate) closing: bool,
    /// Nothing was written since the last seal.
    pub(crate) sealed: bool,
    /// A stripe was over its bound, and is not any more: whoever listens may write again.
    relieved: bool,
    pub(crate) failure: Option<Failure>,
    /// Somebody waits until this is durable.
    pub(crate) wanted: Lsn,
    /// Everything up to here was promised the window of [`Durability::EverySecond`], whatever the store promises now.
    pub(crate) windowed: Lsn,
    /// Threads blocked on `progress`.
    waiting: usize,
    wakers: Vec<(Lsn, Waker)>,
    /// What is in doubt while writes are refused.
    awaiting: Option<AwaitingDurability>,
    /// How many transactions the last batch had: a writer who was alone will probably be again.
    last_count: u64,
}

impl Wal {
    /// A log that goes on after `last`, everything up to which is durable.
    pub(crate) fn new(durability: Durability, time: Arc<Timeline>, mut writer: Writer, last: Lsn) -> Self {
        writer.noted_ms = time.monotonic_ms();
        Wal {
            promise: Arc::new(Promise::new(durability)),
            time,
            stripes: Stripes::new(last),
            signs: CachePadded::default(),
            state: Mutex::new(State { taken: last, sealed: true, ..State::default() }),
            work: Condvar::new(),
            progress: Condvar::new(),
            durable: AtomicU64::new(last.get()),
            log_bytes: AtomicU64::new(writer.log_bytes()),
            segments: AtomicUsize::new(writer.segment_count()),
            writer: Mutex::new(writer),
            listeners: Mutex::new(Vec::new()),
        }
    }

    /// Returns the level that the store promises, to be read elsewhere.
    pub(crate) fn promise(&self) -> Arc<Promise> {
        Arc::clone(&self.promise)
    }

    pub(crate) fn durability(&self) -> Durability {
        self.promise.get()
    }

    /// Changes it from its next look on, which is now.
    pub(crate) fn set_durability(&self, durability: Durability) {
        let mut state = self.state.lock();
        let is_weaker = durability == Durability::Os && self.durability() != Durability::Os;
        self.promise.set(durability);
        if is_weaker {
            // What was written until now was promised more. Read after the promise is set: see `keep_window`.
            state.windowed = self.last();
        }
        self.wake_syncer(&mut state, false);
    }

    /// Makes everything up to `lsn` durable within the window of [`Durability::EverySecond`], although the store may
    /// promise less. Returns at once.
    #[inline]
    pub(crate) fn keep_window(&self, lsn: Lsn) {
        // If the store promises less only after this look, `set_durability` includes `lsn`.
        if self.durability() == Durability::Os && lsn > self.durable() {
            let mut state = self.state.lock();
            // Once for each window: the syncer then knows when it ends.
            let is_first = state.windowed <= self.durable();
            state.windowed = state.windowed.max(lsn);
            if is_first {
                self.wake_syncer(&mut state, false);
            }
        }
    }

    /// Appends one transaction's records; they wait in a stripe, not yet written.
    ///
    /// Called under the locks of the shards it changed, so that log order is key order.
    #[inline(always)]
    pub(crate) fn append(&self, records: &[u8]) -> Result<Lsn> {
        self.append_by(records.len(), |stripes| stripes.append(records))
    }

    /// Appends one transaction's records as [`append`](Self::append) does, without copying values that they share.
    #[cold]
    pub(crate) fn append_shared(&self, records: &Records) -> Result<Lsn> {
        self.append_by(records.len(), |stripes| stripes.append_shared(records))
    }

    #[inline(always)]
    fn append_by(&self, len: usize, append: impl Fn(&Stripes) -> Appended) -> Result<Lsn> {
        if len > RECORDS_BYTES_MAX {
            return Err(Error::TransactionTooLarge { len, max: RECORDS_BYTES_MAX });
        }
        let (lsn, fullness) = loop {
            match append(&self.stripes) {
                Appended::At(lsn, fullness) => break (lsn, fullness),
                // The stripes may have been opened again meanwhile: then once more.
                Appended::Refused => self.refusal()?,
            }
        };
        match fullness {
            Fullness::Little => {}
            Fullness::Enough => self.wake_syncer(&mut self.state.lock(), true),
            Fullness::TooMuch => {
                // Unless it was taken meanwhile, or the log has failed: then nobody would take the sign back.
                let state = self.state.lock();
                if lsn > state.taken && state.failure.is_none() {
                    self.signs.backlogged.store(true, Ordering::Relaxed);
                }
            }
        }
        // Sequentially consistent, as the counter of Lsns and the syncer's own look at it are: either the syncer sees
        // this transaction before it sleeps, or it is seen to sleep here.
        if self.signs.syncer_parked.load(Ordering::SeqCst) && self.signs.syncer_parked.swap(false, Ordering::SeqCst) {
            self.wake_syncer(&mut self.state.lock(), false);
        }
        Ok(lsn)
    }

    /// Why appends are refused, unless they no longer are.
    fn refusal(&self) -> Result<()> {
        let state = self.state.lock();
        match &state.failure {
            Some(failure) => Err(failure.error()),
            None if state.closing => Err(Error::Closed),
            None => Ok(()),
        }
    }

    /// For the syncer, before it sleeps: whether there is nothing to write. From then on the next append wakes it.
    pub(crate) fn park(&self, state: &State) -> bool {
        self.signs.syncer_parked.store(true, Ordering::SeqCst);
        !self.is_dirty(state)
    }

    pub(crate) fn unpark(&self) {
        self.signs.syncer_parked.store(false, Ordering::SeqCst);
    }

    /// Whether a transaction waits to be written.
    pub(crate) fn is_dirty(&self, state: &State) -> bool {
        self.last() > state.taken
    }

    /// Everything before this has been taken to be written.
    pub(crate) fn taken(&self, state: &State) -> Lsn {
        state.taken
    }

    /// Refuses whatever is not in the stripes yet.
    pub(crate) fn refuse(&self) {
        self.stripes.set_closed(true);
    }

    /// Waits while a stripe is over its bound. Called before any shard is locked.
    #[inline]
    pub(crate) fn wait_for_room(&self) -> Result<()> {
        if self.is_backlogged() { self.wait_for_relief() } else { Ok(()) }
    }

    #[cold]
    fn wait_for_relief(&self) -> Result<()> {
        let mut state = self.state.lock();
        while self.is_backlogged() {
            if let Some(failure) = &state.failure {
                return Err(failure.error());
            }
            self.wake_syncer(&mut state, false);
            self.block(&mut state);
        }
        Ok(())
    }

    pub(crate) fn is_backlogged(&self) -> bool {
        self.signs.backlogged.load(Ordering::Relaxed)
    }

    /// Everything up to here is on stable storage.
    pub(crate) fn durable(&self) -> Lsn {
        Lsn::new(self.durable.load(Ordering::SeqCst))
    }

    /// The Lsn of the newest transaction, written or not.
    pub(crate) fn last(&self) -> Lsn {
        self.stripes.last()
    }

    pub(crate) fn health(&self) -> Result<()> {
        self.state.lock().failure.as_ref().map_or(Ok(()), |failure| Err(failure.error()))
    }

    /// Asks the syncer to make everything up to `lsn` durable, and returns at once.
    pub(crate) fn request_sync(&self, lsn: Lsn) {
        if self.durable() < lsn {
            let mut state = self.state.lock();
            state.wanted = state.wanted.max(lsn);
            self.wake_syncer(&mut state, false);
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
            self.wake_syncer(&mut state, false);
            self.block(&mut state);
        }
    }

    /// Returns when everything up to `lsn` is durable or cannot become so, or when `timeout` is over; whether it is durable. A
    /// refusal that may pass is waited for.
    pub(crate) fn wait_through(&self, lsn: Lsn, timeout: Option<Duration>) -> Result<bool> {
        let mut state = self.state.lock();
        let mut is_late = timeout == Some(Duration::ZERO);
        loop {
            if self.durable() >= lsn {
                return Ok(true);
            }
            if let Some(failure) = state.failure.as_ref().filter(|failure| !failure.may_pass() || state.closing) {
                return Err(failure.error());
            }
            if is_late {
                return Ok(false);
            }
            state.wanted = state.wanted.max(lsn);
            self.wake_syncer(&mut state, false);
            state.waiting += 1;
            match timeout {
                Some(timeout) => is_late = self.progress.wait_for(&mut state, timeout).timed_out(),
                None => self.progress.wait(&mut state),
            }
            state.waiting -= 1;
        }
    }

    /// `None` if `lsn` is not durable yet; then `waker` is called when that may have changed. `through_refusal`: it is not durable
    /// while writes are refused either, if that may pass.
    pub(crate) fn poll(&self, lsn: Lsn, waker: &Waker, through_refusal: bool) -> Option<Result<()>> {
        if self.durable() >= lsn {
            return Some(Ok(()));
        }
        let mut state = self.state.lock();
        if self.durable() >= lsn {
            return Some(Ok(()));
        }
        if let Some(failure) = &state.failure
            && !(through_refusal && failure.may_pass() && !state.closing)
        {
            return Some(Err(failure.error()));
        }
        // A task that waits for several is woken for the first of them, and asks for the others again.
        let mut earliest = lsn;
        state.wakers.retain(|(other_lsn, other)| {
            let is_same = other.will_wake(waker);
            earliest = if is_same { earliest.min(*other_lsn) } else { earliest };
            !is_same
        });
        state.wakers.push((earliest, waker.clone()));
        state.wanted = state.wanted.max(lsn);
        self.wake_syncer(&mut state, false);
        None
    }

    /// `listener` is called, by whoever wrote, each time `durable` has advanced or the log has failed.
    pub(crate) fn listen(&self, listener: Arc<dyn Fn() + Send + Sync>) {
        self.listeners.lock().push(listener);
    }

    fn block(&self, state: &mut MutexGuard<'_, State>) {
        state.waiting += 1;
        self.progress.wait(state);
        state.waiting -= 1;
    }

    pub(crate) fn wake_syncer(&self, state: &mut State, is_worth_writing: bool) {
        state.is_worth_writing |= is_worth_writing;
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

    /// Writes what waits in the stripes and, if asked, makes it durable. Tells everybody the outcome.
    pub(crate) fn flush(&self, writer: &mut Writer, sync: bool) {
        if matches!(self.state.lock().failure, Some(Failure::Poisoned(_) | Failure::Closed)) {
            return;
        }
        writer.fill = self.durability() == Durability::Always;
        self.collect(writer);
        let begun_ms = self.time.monotonic_ms();
        let located = writer.check_location(begun_ms);
        let written = located.and_then(|()| writer.write(self.time.now_ms()));
        let outcome = written.and_then(|()| if sync { writer.sync() } else { Ok(()) });
        self.note_sizes(writer);
        match outcome {
            Ok(()) => {
                writer.body.clear();
                self.publish(Ok(writer.synced));
                // After others were notified: it is for the next start, not for them.
                if sync && let Err(failure) = writer.note_durable(begun_ms) {
                    self.fail(failure);
                }
            }
            // What is in doubt is found out once: trying again for space adds nothing to it.
            Err(failure) if self.is_refusing() => self.fail(failure),
            Err(failure) => self.fail_with(failure, writer.body.parts().collect::<Vec<_>>().concat()),
        }
    }

    /// Whether it takes no writes now.
    pub(crate) fn is_refusing(&self) -> bool {
        self.signs.refusing.load(Ordering::Relaxed)
    }

    /// Whether the log refuses writes, and nothing that it has not made durable concerns these keys.
    #[inline(always)]
    pub(crate) fn refuses_but_is_durable<'k>(&self, mut keys: impl Iterator<Item = &'k [u8]>) -> bool {
        self.is_refusing() && self.are_durable(&mut keys)
    }

    #[cold]
    fn are_durable(&self, keys: &mut dyn Iterator<Item = &[u8]>) -> bool {
        let state = self.state.lock();
        let Some(awaiting) = &state.awaiting else { return false };
        for key in keys {
            if awaiting.has(key) {
                return false;
            }
        }
        true
    }

    /// Writes everything and begins a new segment, so that a snapshot begun now lets the ones before go.
    pub(crate) fn flush_and_rotate(&self, writer: &mut Writer) {
        self.flush(writer, false);
        if self.health().is_ok() {
            match writer.rotate_if_used() {
                Ok(()) => self.publish(Ok(writer.synced)),
                Err(failure) => self.fail(failure),
            }
        }
    }

    pub(crate) fn fail(&self, failure: Failure) {
        self.fail_with(failure, Vec::new());
    }

    /// `pending` holds the transactions that were taken from the stripes and are not durable.
    fn fail_with(&self, failure: Failure, pending: Vec<u8>) {
        match &failure {
            Failure::Poisoned(why) => tracing::error!("the log failed, writes are refused from now on: {why}"),
            Failure::NoSpace(why) => tracing::warn!("no space for the log, writes are refused until there is: {why}"),
            Failure::NoFiles(why) => {
                tracing::warn!("too many files are open, writes are refused until there are fewer: {why}");
            }
            Failure::Closed => {}
        }
        self.publish(Err((failure, pending)));
    }

    /// Gives back large buffers in which nothing waits.
    pub(crate) fn shrink(&self, writer: &mut Writer) {
        if writer.collected == writer.written {
            writer.body = Body::default();
        }
        self.stripes.shrink();
    }

    /// Takes what waits in the stripes. The caller holds the writer's lock, so frames are written in order.
    fn collect(&self, writer: &mut Writer) {
        let before = writer.collected;
        writer.collected = self.stripes.collect(&mut writer.body);
        let count = writer.collected.get() - before.get();
        let mut state = self.state.lock();
        state.taken = writer.collected;
        state.is_worth_writing = false;
        if count > 0 {
            state.last_count = count;
            state.sealed = false;
        }
        state.relieved |= self.signs.backlogged.swap(false, Ordering::Relaxed);
    }

    /// Tells everybody what became of a flush: what is durable now, or why nothing is and what was to become so.
    pub(crate) fn publish(&self, outcome: std::result::Result<Lsn, (Failure, Vec<u8>)>) {
        let mut state = self.state.lock();
        let mut changed = std::mem::take(&mut state.relieved);
        match outcome {
            Ok(durable) => {
                if durable > self.durable() {
                    self.durable.store(durable.get(), Ordering::SeqCst);
                    changed = true;
                }
                if state.failure.as_ref().is_some_and(Failure::may_pass) {
                    tracing::info!("the log can be written again; writes resume");
                    // Before anything new is appended.
                    (state.failure, state.awaiting) = (None, None);
                    self.signs.refusing.store(false, Ordering::Relaxed);
                    self.stripes.set_closed(state.closing);
                    // What was seen to expire meanwhile waits for the first Lsn after the refusal.
                    let mut time = Vec::with_capacity(16);
                    Record::Time { ms: self.time.now_ms() }.encode(&mut time);
                    self.stripes.append(&time);
                    changed = true;
                }
            }
            Err((failure, mut pending)) => {
                // The first failure is the one to tell, unless it might have passed and now cannot any more.
                let may_pass = state.failure.as_ref().is_some_and(Failure::may_pass);
                let worse = may_pass && matches!(failure, Failure::Poisoned(_));
                if state.failure.is_none() || worse {
                    state.failure = Some(failure);
                    // Writers are refused from now on; none must wait for room.
                    self.signs.backlogged.store(false, Ordering::Relaxed);
                    self.signs.refusing.store(true, Ordering::Relaxed);
                    self.stripes.set_closed(true);
                    let last = self.stripes.copy_to(&mut pending);
                    state.awaiting.get_or_insert_with(|| AwaitingDurability::of(&pending, self.durable(), last));
                    changed = true;
                }
            }
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
            self.progress.notify_all();
        }
        ready.into_iter().for_each(Waker::wake);
        if changed {
            let listeners = self.listeners.lock().clone();
            listeners.iter().for_each(|listener| listener());
        }
    }
}
