//! Watch: a stream of the changes of keys with a prefix. Invariant: what a watch returns is durable where the store promises so,
//! and the changes of a key come in their order; if some are left out, the watch says so before it returns a later one.
//!
//! Changes are put into the watch's queue under the locks of the transaction that makes them, so this must be quick: the queue
//! has a bound, and nothing waits for the watcher. While there is a watch, a commit holds the list of watches from getting its
//! place in the log until its changes are in the queues, so that transactions are queued whole and in the order of the log. What
//! is removed outside of transactions (expiry, eviction) keeps the order of its key alone.
//! Wakers run code of the program: they are called when no lock is held.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_core::Stream;

use crate::durability::Durability;
use crate::error::{Error, Result};
use crate::log::wal::Wal;
use crate::lsn::Lsn;
use crate::observer::{Change, ChangeKind};
use crate::reentrancy::ReentrancyGuard;
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sync::{Condvar, Mutex, MutexGuard};
use crate::value::{Value, ValueRef};

/// Changes that may wait to be read, unless [`WatchOptions`] say otherwise.
const WAITING_MAX: usize = 1024;

/// Bytes of values that may wait to be read in one watch.
const WAITING_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How to watch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WatchOptions {
    waiting_max: usize,
    with_values: bool,
}

impl Default for WatchOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl WatchOptions {
    /// Returns the defaults: at most 1,024 changes wait to be read, without values.
    ///
    /// ```
    /// use kvcore::WatchOptions;
    /// assert_eq!(WatchOptions::new(), WatchOptions::default());
    /// ```
    pub const fn new() -> Self {
        WatchOptions { waiting_max: WAITING_MAX, with_values: false }
    }

    /// Lets at most so many changes wait to be read, at least 1. Instead of what is beyond that the watch returns
    /// [`WatchEvent::Missed`].
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// let watch = db.watch_with("user:", kvcore::WatchOptions::new().waiting_max(100_000))?;
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    pub const fn waiting_max(mut self, changes: usize) -> Self {
        self.waiting_max = if changes == 0 { 1 } else { changes };
        self
    }

    /// Returns whether values are wanted: for implementations of [`Store`](crate::Store), which need not look for them otherwise.
    ///
    /// ```
    /// use kvcore::WatchOptions;
    /// assert!(WatchOptions::new().with_values().wants_values());
    /// ```
    pub const fn wants_values(&self) -> bool {
        self.with_values
    }

    /// Returns the new value of each key that was set. Large values are shared until the key is changed again, which copies them
    /// where it would have changed them in place. At most 64 MiB of values wait to be read.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// let watch = db.watch_with("user:", kvcore::WatchOptions::new().with_values())?;
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    pub const fn with_values(mut self) -> Self {
        self.with_values = true;
        self
    }
}

/// What a [`Watch`] returns.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum WatchEvent {
    /// A change.
    Change {
        /// The name of the keyspace.
        keyspace: Arc<str>,
        /// The key; `None` where the whole keyspace was cleared or swapped.
        key: Option<Value>,
        /// What happened.
        kind: ChangeKind,
        /// With [`WatchOptions::with_values`], and for [`ChangeKind::Set`]: the value after the transaction, unless that has
        /// removed the key again.
        value: Option<Value>,
    },
    /// The watch was read too slowly, and changes were left out here: read the keys themselves.
    Missed,
}

#[derive(Default)]
struct State {
    /// With the place in the log that must be durable before an event is shown.
    events: VecDeque<(Lsn, WatchEvent)>,
    /// Of the values in the events.
    bytes: usize,
    /// Changes were left out behind those that wait.
    has_missed: bool,
    /// There will be no more events.
    is_closed: bool,
    /// Why, if it was an error.
    error: Option<Error>,
    waker: Option<Waker>,
}

impl State {
    fn pop(&mut self) -> Option<WatchEvent> {
        let (_, event) = self.events.pop_front()?;
        self.bytes -= event.value_bytes();
        Some(event)
    }
}

impl WatchEvent {
    fn value_bytes(&self) -> usize {
        match self {
            WatchEvent::Change { value: Some(value), .. } => value.len(),
            _ => 0,
        }
    }
}

struct Queue {
    options: WatchOptions,
    state: Mutex<State>,
    /// Notified when there is something new in the state.
    changed: Condvar,
}

impl Queue {
    fn new(options: WatchOptions) -> Arc<Self> {
        Arc::new(Queue { options, state: Mutex::default(), changed: Condvar::new() })
    }

    /// Queues an event with a value of so many bytes, unless too much waits; returns whether a stream is to be woken.
    fn push(&self, lsn: Lsn, value_bytes: usize, event: impl FnOnce() -> WatchEvent) -> bool {
        let mut state = self.state.lock();
        let bytes = state.bytes + value_bytes;
        if state.has_missed || state.events.len() >= self.options.waiting_max || bytes > WAITING_BYTES_MAX {
            state.has_missed = true;
        } else {
            state.bytes = bytes;
            state.events.push_back((lsn, event()));
        }
        self.changed.notify_all();
        state.waker.is_some()
    }

    fn close(&self) {
        self.state.lock().is_closed = true;
        self.changed.notify_all();
    }

    /// Wakes the stream, if one waits. The caller holds no lock.
    fn wake(&self) {
        let waker = self.state.lock().waker.take();
        waker.into_iter().for_each(Waker::wake);
    }
}

/// A watch of the engine.
struct Watcher {
    keyspace_id: u32,
    prefix: Vec<u8>,
    queue: Arc<Queue>,
}

impl Watcher {
    fn wants(&self, change: &Change<'_>) -> bool {
        self.keyspace_id == change.keyspace_id && change.key.is_none_or(|key| key.starts_with(&self.prefix))
    }

    /// Queues a change; returns whether a stream is to be woken.
    fn push(&self, change: &Change<'_>, value: Option<ValueRef<'_>>) -> bool {
        let value = value.filter(|_| self.queue.options.with_values);
        self.queue.push(change.lsn, value.map_or(0, |value| value.len()), || WatchEvent::Change {
            keyspace: Arc::from(change.keyspace),
            key: change.key.map(Value::from),
            kind: change.kind,
            value: value.map(|value| value.to_value()),
        })
    }
}

/// All watches of a store.
#[derive(Default)]
pub(crate) struct Watches {
    /// As many as there are in the list: read by every commit.
    count: AtomicUsize,
    list: Mutex<WatchList>,
    /// Some stream is to be woken.
    wakes: AtomicBool,
}

/// Wakes streams when it is dropped.
pub(crate) struct WakeAtEnd<'w>(&'w Watches);

impl Drop for WakeAtEnd<'_> {
    #[inline]
    fn drop(&mut self) {
        if !self.0.is_empty() {
            self.0.wake_streams();
        }
    }
}

/// The watches, while their lock is held.
#[derive(Default)]
pub(crate) struct WatchList {
    watchers: Vec<Watcher>,
    is_closed: bool,
}

impl Watches {
    /// Returns whether there is no watch.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.count.load(Ordering::SeqCst) == 0
    }

    /// Waits for a commit's turn: until the returned guard is dropped, no other commit gets a place in the log.
    pub(crate) fn lock(&self) -> MutexGuard<'_, WatchList> {
        self.list.lock()
    }

    /// Queues a change that has no turn of its own.
    pub(crate) fn push(&self, change: &Change<'_>) {
        if !self.is_empty() {
            self.push_to(&self.lock(), change, || None);
        }
    }

    /// Queues a change. `value` is called where a watch wants the key's new value.
    pub(crate) fn push_to<'v>(
        &self,
        list: &WatchList,
        change: &Change<'_>,
        value: impl FnOnce() -> Option<ValueRef<'v>>,
    ) {
        let wants = |watcher: &&Watcher| watcher.wants(change);
        let wants_value = |watcher: &Watcher| watcher.queue.options.with_values;
        let value = if list.watchers.iter().filter(wants).any(wants_value) { value() } else { None };
        for watcher in list.watchers.iter().filter(wants) {
            if watcher.push(change, value) {
                self.wakes.store(true, Ordering::SeqCst);
            }
        }
    }

    /// Returns a guard that, when it is dropped, wakes the streams that have something new. It is made before the store is entered
    /// and anything is locked, so that it is dropped after that has ended, by whichever way.
    #[inline]
    pub(crate) fn wake_at_end(&self) -> WakeAtEnd<'_> {
        WakeAtEnd(self)
    }

    #[cold]
    fn wake_streams(&self) {
        if self.wakes.swap(false, Ordering::SeqCst) {
            let take = |watcher: &Watcher| watcher.queue.state.lock().waker.take();
            let wakers: Vec<Waker> = self.lock().watchers.iter().filter_map(take).collect();
            wakers.into_iter().for_each(Waker::wake);
        }
    }

    /// Ends the watches of a keyspace that was dropped, once what waits in them was read.
    pub(crate) fn close_keyspace(&self, keyspace_id: u32) {
        let list = self.lock();
        let of_keyspace = list.watchers.iter().filter(|watcher| watcher.keyspace_id == keyspace_id);
        of_keyspace.for_each(|watcher| watcher.queue.close());
        self.wakes.store(true, Ordering::SeqCst);
    }

    /// Ends all watches, once what waits in them was read, and lets no other begin.
    pub(crate) fn close(&self) {
        let mut list = self.lock();
        list.is_closed = true;
        list.watchers.iter().for_each(|watcher| watcher.queue.close());
        self.wakes.store(true, Ordering::SeqCst);
    }

    fn add(&self, watcher: Watcher) -> Result<()> {
        let mut list = self.lock();
        if list.is_closed {
            return Err(Error::Closed);
        }
        list.watchers.push(watcher);
        self.count.store(list.watchers.len(), Ordering::SeqCst);
        Ok(())
    }

    fn remove(&self, queue: &Arc<Queue>) {
        let mut list = self.lock();
        list.watchers.retain(|watcher| !Arc::ptr_eq(&watcher.queue, queue));
        self.count.store(list.watchers.len(), Ordering::SeqCst);
    }
}

/// The changes of keys with a prefix, from [`Keyspace::watch`](crate::Keyspace::watch) on: an iterator that blocks.
/// [`into_stream`](Self::into_stream) is the form for asynchronous code. Dropping it ends the watch.
///
/// It ends when the store is closed, or the keyspace is dropped, and what waited was read; and after an error of the log for good.
/// [`Error::NoSpace`] and [`Error::TooManyOpenFiles`] are returned once; then the watch goes on with the same change, as soon as the
/// log takes writes again.
pub struct Watch {
    queue: Arc<Queue>,
    /// `None` for a watch of another store.
    engine: Option<Watched>,
    is_over: bool,
    /// It has returned that the log refuses writes, and waits until that is over.
    is_refused: bool,
}

/// What a watch of the engine needs of it.
struct Watched {
    watches: Arc<Watches>,
    store_id: u64,
    /// `None` for a store in memory.
    wal: Option<Arc<Wal>>,
    /// That of the handle, if it has one of its own.
    durability: Option<Durability>,
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("options", &self.queue.options).finish_non_exhaustive()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.unregister();
    }
}

impl Watch {
    pub(crate) fn begin(
        watches: &Arc<Watches>,
        (store_id, keyspace_id): (u64, u32),
        prefix: &[u8],
        options: WatchOptions,
        wal: Option<Arc<Wal>>,
        durability: Option<Durability>,
    ) -> Result<Self> {
        let queue = Queue::new(options);
        watches.add(Watcher { keyspace_id, prefix: prefix.to_vec(), queue: Arc::clone(&queue) })?;
        let engine = Some(Watched { watches: Arc::clone(watches), store_id, wal, durability });
        Ok(Watch { queue, engine, is_over: false, is_refused: false })
    }

    /// Returns a watch and what puts events into it: for implementations of [`Store`](crate::Store). The bounds of `options` hold
    /// for it as they do for every watch.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use kvcore::{ChangeKind, Watch, WatchEvent, WatchOptions};
    /// let (sender, mut watch) = Watch::channel(WatchOptions::new());
    /// let (keyspace, key) = (Arc::from("0"), Some(b"user:1".as_slice().into()));
    /// assert!(sender.send(WatchEvent::Change { keyspace, key, kind: ChangeKind::Set, value: None }));
    /// drop(sender);
    /// assert!(matches!(watch.next(), Some(Ok(WatchEvent::Change { kind: ChangeKind::Set, .. }))));
    /// assert!(watch.next().is_none());
    /// ```
    pub fn channel(options: WatchOptions) -> (WatchSender, Watch) {
        let queue = Queue::new(options);
        (
            WatchSender { queue: Arc::downgrade(&queue) },
            Watch { queue, engine: None, is_over: false, is_refused: false },
        )
    }

    /// Lets no more events be queued by the engine.
    fn unregister(&self) {
        if let Some(engine) = &self.engine {
            engine.watches.remove(&self.queue);
        }
    }

    /// Returns the next event, or `None` if it has not come within `timeout`. A change that has come is waited for until it is
    /// durable.
    ///
    /// ```
    /// use std::time::Duration;
    /// let db = kvcore::Db::in_memory();
    /// let mut watch = db.watch("user:")?;
    /// assert!(watch.next_within(Duration::from_millis(1))?.is_none());
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::WatchEnded`] when no event will come any more; [`Error::Reentered`] inside a transaction of the store; those of
    /// the log.
    pub fn next_within(&mut self, timeout: Duration) -> Result<Option<WatchEvent>> {
        self.wait(Some(timeout))
    }

    /// Returns the watch for asynchronous code.
    ///
    /// ```no_run
    /// use kvcore::Db;
    /// use std::{future::poll_fn, pin::pin};
    /// use futures_core::Stream;
    ///
    /// async fn follow(db: Db) -> kvcore::Result<()> {
    ///     let mut changes = pin!(db.watch("user:")?.into_stream());
    ///     // With the crates `futures` or `tokio-stream`: `changes.next().await`.
    ///     while let Some(event) = poll_fn(|context| changes.as_mut().poll_next(context)).await {
    ///         println!("{:?}", event?);
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub fn into_stream(self) -> WatchStream {
        WatchStream(self)
    }

    /// Returns the log, if a change has to be durable before it is shown.
    fn awaited_log(&self) -> Option<&Arc<Wal>> {
        let Watched { wal, durability, .. } = self.engine.as_ref()?;
        let wal = wal.as_ref()?;
        (durability.unwrap_or_else(|| wal.durability()) == Durability::Always).then_some(wal)
    }

    /// Sees to it that a change that is shown becomes durable as soon as the durability of the handle promises.
    fn keep_promise(&self, lsn: Lsn) {
        if let Some(Watched { wal: Some(wal), durability: Some(Durability::EverySecond), .. }) = &self.engine {
            wal.keep_window(lsn);
        }
    }

    /// Returns an error of the log; the watch goes on if the log may.
    fn failed(&mut self, error: Error) -> Error {
        self.is_refused = matches!(error, Error::NoSpace { .. } | Error::TooManyOpenFiles { .. });
        if !self.is_refused {
            self.is_over = true;
            self.unregister();
        }
        error
    }

    /// Returns the next event, or `None` when it has not come within `timeout`; [`Error::WatchEnded`] when none will come.
    fn wait(&mut self, timeout: Option<Duration>) -> Result<Option<WatchEvent>> {
        if self.is_over {
            return Err(Error::WatchEnded);
        }
        if let Some(engine) = &self.engine {
            // What it waits for could wait for the caller's locks.
            drop(ReentrancyGuard::new(engine.store_id)?);
        }
        let queue = Arc::clone(&self.queue);
        let mut state = queue.state.lock();
        let mut is_late = timeout == Some(Duration::ZERO);
        loop {
            if let Some((lsn, _)) = state.events.front() {
                let lsn = *lsn;
                drop(state);
                // Nobody else takes it from the front meanwhile.
                let outcome = match self.awaited_log() {
                    Some(wal) if self.is_refused => wal.wait_through(lsn, timeout),
                    Some(wal) => wal.wait(lsn).map(|()| true),
                    None => {
                        self.keep_promise(lsn);
                        Ok(true)
                    }
                };
                return match outcome {
                    Ok(true) => {
                        self.is_refused = false;
                        Ok(queue.state.lock().pop())
                    }
                    Ok(false) => Ok(None),
                    Err(Error::Closed) => Err(Error::WatchEnded),
                    Err(error) => Err(self.failed(error)),
                };
            }
            if std::mem::take(&mut state.has_missed) {
                return Ok(Some(WatchEvent::Missed));
            }
            if state.is_closed {
                self.is_over = state.error.is_some();
                return Err(state.error.take().unwrap_or(Error::WatchEnded));
            }
            if is_late {
                return Ok(None);
            }
            match timeout {
                // What wakes it is an event, or the end.
                Some(timeout) => is_late = queue.changed.wait_for(&mut state, timeout).timed_out(),
                None => queue.changed.wait(&mut state),
            }
        }
    }
}

impl Iterator for Watch {
    type Item = Result<WatchEvent>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.wait(None) {
            Err(Error::WatchEnded) => None,
            event => event.transpose(),
        }
    }
}

/// What another store puts the events of a [`Watch`] into; made by [`Watch::channel`]. Dropping it ends the watch, once what
/// waits in it was read.
#[derive(Debug)]
pub struct WatchSender {
    queue: Weak<Queue>,
}

impl WatchSender {
    /// Queues an event and returns at once; returns false if the watch was dropped, so that nobody reads it. Where too much waits,
    /// the event is left out, and the watch returns [`WatchEvent::Missed`]. So it does if that is what is sent, for a
    /// store that has missed changes itself.
    ///
    /// ```
    /// use kvcore::{Watch, WatchEvent, WatchOptions};
    /// let (sender, watch) = Watch::channel(WatchOptions::new());
    /// assert!(sender.send(WatchEvent::Missed));
    /// drop(watch);
    /// assert!(!sender.send(WatchEvent::Missed));
    /// ```
    pub fn send(&self, mut event: WatchEvent) -> bool {
        let Some(queue) = self.queue.upgrade() else { return false };
        match &mut event {
            WatchEvent::Missed => {
                queue.state.lock().has_missed = true;
                queue.changed.notify_all();
            }
            WatchEvent::Change { value, .. } => {
                if !queue.options.with_values {
                    *value = None;
                }
                queue.push(Lsn::ZERO, event.value_bytes(), || event);
            }
        }
        queue.wake();
        true
    }

    /// Ends the watch with an error, which it returns once what waits in it was read.
    ///
    /// ```
    /// use kvcore::{Error, Watch, WatchOptions};
    /// let (sender, mut watch) = Watch::channel(WatchOptions::new());
    /// sender.fail(Error::Unavailable { why: "127.0.0.1:7000: connection refused".to_owned() });
    /// assert!(matches!(watch.next(), Some(Err(Error::Unavailable { .. }))));
    /// assert!(watch.next().is_none());
    /// ```
    pub fn fail(self, error: Error) {
        // It is closed when `self` is dropped.
        if let Some(queue) = self.queue.upgrade() {
            queue.state.lock().error = Some(error);
        }
    }
}

impl Drop for WatchSender {
    fn drop(&mut self) {
        if let Some(queue) = self.queue.upgrade() {
            queue.close();
            queue.wake();
        }
    }
}

/// A [`Watch`] for asynchronous code: its `Stream`. Dropping it ends the watch.
#[derive(Debug)]
pub struct WatchStream(Watch);

impl Stream for WatchStream {
    type Item = Result<WatchEvent>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let watch = &mut self.0;
        if watch.is_over {
            return Poll::Ready(None);
        }
        let queue = Arc::clone(&watch.queue);
        let mut state = queue.state.lock();
        if let Some((lsn, _)) = state.events.front() {
            let lsn = *lsn;
            drop(state);
            let through_refusal = watch.is_refused;
            let poll = |wal: &Arc<Wal>| wal.poll(lsn, context.waker(), through_refusal);
            return match watch.awaited_log().map_or(Some(Ok(())), poll) {
                None => Poll::Pending,
                Some(Err(Error::Closed)) => Poll::Ready(None),
                Some(Err(error)) => Poll::Ready(Some(Err(watch.failed(error)))),
                Some(Ok(())) => {
                    watch.keep_promise(lsn);
                    watch.is_refused = false;
                    Poll::Ready(queue.state.lock().pop().map(Ok))
                }
            };
        }
        if std::mem::take(&mut state.has_missed) {
            return Poll::Ready(Some(Ok(WatchEvent::Missed)));
        }
        if state.is_closed {
            watch.is_over = true;
            return Poll::Ready(state.error.take().map(Err));
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }
}
