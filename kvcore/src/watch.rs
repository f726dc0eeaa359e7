//! Watch: a stream of the changes of keys with a prefix. Invariant: what a watch returns is durable where the store promises so,
//! and the changes of a key come in their order; if some are left out, the watch says so before it returns a later one.
//!
//! Changes are put into the watch's queue under the locks of the transaction that makes them, so this must be quick: the queue
//! has a bound, and nothing waits for the watcher. While there is a watch, commits also pass one common lock from getting their
//! place in the log until they are in the queues, so that transactions are queued in the order of the log.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use futures_core::Stream;

use crate::durability::Durability;
use crate::entry::{Value, ValueRef};
use crate::error::Result;
use crate::lsn::Lsn;
use crate::observer::{Change, ChangeKind};
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Condvar, Mutex, MutexGuard, RwLock};
use crate::wal::Wal;

/// Changes that may wait to be read, unless [`WatchOptions`] say otherwise.
const WAITING_MAX: usize = 1024;

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
    pub const fn new() -> Self {
        WatchOptions { waiting_max: WAITING_MAX, with_values: false }
    }

    /// Lets at most so many changes wait to be read, at least 1. Beyond that the watch returns [`WatchEvent::Missed`].
    pub const fn waiting_max(mut self, changes: usize) -> Self {
        self.waiting_max = if changes == 0 { 1 } else { changes };
        self
    }

    /// Returns the new value of each key that was set. Large values are shared, not copied.
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
    events: VecDeque<(Lsn, WatchEvent)>,
    /// Changes were left out behind those that wait.
    has_missed: bool,
    is_closed: bool,
    waker: Option<Waker>,
}

struct Queue {
    keyspace_id: u32,
    prefix: Vec<u8>,
    options: WatchOptions,
    state: Mutex<State>,
    bell: Condvar,
}

impl Queue {
    fn wants(&self, change: &Change<'_>) -> bool {
        self.keyspace_id == change.keyspace_id && change.key.is_none_or(|key| key.starts_with(&self.prefix))
    }

    fn push(&self, change: &Change<'_>, value: Option<ValueRef<'_>>) {
        let mut state = self.state.lock();
        if state.has_missed || state.events.len() >= self.options.waiting_max {
            state.has_missed = true;
        } else {
            let event = WatchEvent::Change {
                keyspace: Arc::from(change.keyspace),
                key: change.key.map(Value::from),
                kind: change.kind,
                value: value.filter(|_| self.options.with_values).map(|value| value.to_value()),
            };
            state.events.push_back((change.lsn, event));
        }
        self.wake(state);
    }

    fn close(&self) {
        let mut state = self.state.lock();
        state.is_closed = true;
        self.wake(state);
    }

    fn wake(&self, mut state: MutexGuard<'_, State>) {
        let waker = state.waker.take();
        drop(state);
        self.bell.notify_all();
        waker.into_iter().for_each(Waker::wake);
    }
}

/// All watches of a store.
#[derive(Default)]
pub(crate) struct Watches {
    /// As many as there are in the list: read by every commit.
    count: AtomicUsize,
    list: RwLock<Vec<Arc<Queue>>>,
    /// Held by a commit from getting its place in the log until its changes are in the queues.
    order: Mutex<()>,
}

impl Watches {
    /// Waits for its turn to commit: until the returned guard is dropped, no other commit gets a place in the log and is queued.
    pub(crate) fn lock_order(&self) -> MutexGuard<'_, ()> {
        self.order.lock()
    }

    /// Returns whether there is no watch.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.count.load(Ordering::SeqCst) == 0
    }

    /// Queues a change. `value` is called where a watch wants to know the key's new value.
    pub(crate) fn push<'v>(&self, change: &Change<'_>, value: impl FnOnce() -> Option<ValueRef<'v>>) {
        if self.is_empty() {
            return;
        }
        let list = self.list.read();
        let wants = |queue: &&Arc<Queue>| queue.wants(change);
        let wants_value = |queue: &Arc<Queue>| queue.options.with_values;
        let value = if list.iter().filter(wants).any(wants_value) { value() } else { None };
        list.iter().filter(wants).for_each(|queue| queue.push(change, value));
    }

    /// Ends all watches, once what waits in them was read.
    pub(crate) fn close(&self) {
        self.list.read().iter().for_each(|queue| queue.close());
    }

    fn add(&self, queue: Arc<Queue>) {
        let mut list = self.list.write();
        list.push(queue);
        self.count.store(list.len(), Ordering::SeqCst);
    }

    fn remove(&self, queue: &Arc<Queue>) {
        let mut list = self.list.write();
        list.retain(|other| !Arc::ptr_eq(other, queue));
        self.count.store(list.len(), Ordering::SeqCst);
    }
}

/// The changes of keys with a prefix, from [`Keyspace::watch`](crate::Keyspace::watch) on: an iterator that blocks, and a
/// [`Stream`] for asynchronous code. Both end when the store is closed. Dropping it ends the watch.
pub struct Watch {
    queue: Arc<Queue>,
    watches: Arc<Watches>,
    /// `None` where nothing has to be durable first.
    wal: Option<Arc<Wal>>,
    is_over: bool,
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = self.queue.prefix.escape_ascii().to_string();
        f.debug_struct("Watch").field("prefix", &prefix).finish_non_exhaustive()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.watches.remove(&self.queue);
    }
}

impl Watch {
    pub(crate) fn begin(
        watches: &Arc<Watches>,
        keyspace_id: u32,
        prefix: &[u8],
        options: WatchOptions,
        wal: Option<Arc<Wal>>,
        durability: Durability,
    ) -> Self {
        let queue = Arc::new(Queue {
            keyspace_id,
            prefix: prefix.to_vec(),
            options,
            state: Mutex::default(),
            bell: Condvar::new(),
        });
        watches.add(Arc::clone(&queue));
        let wal = wal.filter(|_| durability == Durability::Always);
        Watch { queue, watches: Arc::clone(watches), wal, is_over: false }
    }

    /// Returns the next event if it comes within `timeout`. A change that has come is waited for until it is durable.
    ///
    /// ```
    /// use std::time::Duration;
    /// let db = kvcore::Db::in_memory();
    /// let mut watch = db.watch("user:")?;
    /// assert!(watch.next_within(Duration::from_millis(1)).is_none());
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    pub fn next_within(&mut self, timeout: Duration) -> Option<Result<WatchEvent>> {
        self.wait(Instant::now().checked_add(timeout))
    }

    /// Returns the next event, or `None` when it has not come by `until`, or none will come.
    fn wait(&mut self, until: Option<Instant>) -> Option<Result<WatchEvent>> {
        if self.is_over {
            return None;
        }
        let queue = Arc::clone(&self.queue);
        let mut state = queue.state.lock();
        loop {
            if let Some((lsn, _)) = state.events.front() {
                let lsn = *lsn;
                drop(state);
                // Nobody else takes it from the front meanwhile.
                if let Some(Err(error)) = self.wal.as_ref().map(|wal| wal.wait(lsn)) {
                    self.is_over = true;
                    return Some(Err(error));
                }
                return queue.state.lock().events.pop_front().map(|(_, event)| Ok(event));
            }
            if std::mem::take(&mut state.has_missed) {
                return Some(Ok(WatchEvent::Missed));
            }
            if state.is_closed {
                return None;
            }
            match until.map(|until| until.saturating_duration_since(Instant::now())) {
                None => queue.bell.wait(&mut state),
                Some(Duration::ZERO) => return None,
                Some(left) => drop(queue.bell.wait_for(&mut state, left)),
            }
        }
    }
}

impl Iterator for Watch {
    type Item = Result<WatchEvent>;

    fn next(&mut self) -> Option<Self::Item> {
        self.wait(None)
    }
}

impl Stream for Watch {
    type Item = Result<WatchEvent>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let queue = Arc::clone(&self.queue);
        let mut state = queue.state.lock();
        if let Some((lsn, _)) = state.events.front() {
            let lsn = *lsn;
            drop(state);
            match self.wal.as_ref().map_or(Some(Ok(())), |wal| wal.poll(lsn, context.waker())) {
                None => return Poll::Pending,
                Some(Err(error)) => {
                    self.is_over = true;
                    return Poll::Ready(Some(Err(error)));
                }
                Some(Ok(())) => return Poll::Ready(queue.state.lock().events.pop_front().map(|(_, event)| Ok(event))),
            }
        }
        if std::mem::take(&mut state.has_missed) {
            return Poll::Ready(Some(Ok(WatchEvent::Missed)));
        }
        if state.is_closed {
            return Poll::Ready(None);
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }
}
