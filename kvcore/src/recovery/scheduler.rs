//! Snapshot scheduler: when a snapshot is due, and how the last one went; and when files that it stands for may be removed.
//! Invariant: a snapshot is wanted at most once at a time, and no file is removed that anyone holds.

use std::sync::Arc;

use crate::lsn::Lsn;
use crate::stats::SnapshotStatus;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Condvar, Mutex};
use crate::txn::context::BEGINNING_SNAPSHOT;

#[derive(Default)]
pub(crate) struct SnapshotScheduler {
    /// Held while one is written: there is one at a time.
    pub(crate) writing: Mutex<()>,
    pub(crate) state: Mutex<SnapshotState>,
    /// Wakes the snapshot thread.
    pub(crate) changed: Condvar,
    /// How many have begun.
    begun: AtomicU64,
    /// How many bytes of log there were when the last one began.
    pub(crate) log_mark: AtomicU64,
    /// From this many bytes of log since then the next is due.
    pub(crate) due_after: AtomicU64,
    /// Of each [hold](Hold), where its snapshot begins. Locked around each single removal; before `state` and the log's
    /// writer.
    holds: Mutex<Vec<Lsn>>,
}

/// Keeps a snapshot, and the log from its start on, from being removed until it is dropped.
pub(crate) struct Hold {
    snapshots: Arc<SnapshotScheduler>,
    start: Lsn,
}

#[derive(Default)]
pub(crate) struct SnapshotState {
    pub(crate) status: SnapshotStatus,
    /// When the one that is being written was begun, by the monotonic clock.
    pub(crate) started_ms: u64,
    /// The start of the last good one.
    pub(crate) start: Lsn,
    /// How many changes had been made since the store was opened when the last good one began.
    pub(crate) changes_before: u64,
    /// How many transactions of the log the last good one lacked when the store was opened; 0 once there is another.
    pub(crate) replayed: u64,
    pub(crate) wanted: bool,
    /// The one that is being written is to be given up.
    pub(crate) is_cancelled: bool,
    /// The one that is being written is about to be given its name: it can no longer be given up.
    pub(crate) is_whole: bool,
    pub(crate) closing: bool,
    /// Files were not removed because somebody held them.
    is_removal_deferred: bool,
    /// They can be removed now: the snapshot thread does it.
    pub(crate) is_removal_due: bool,
}

impl SnapshotScheduler {
    /// Called after each write of the log.
    pub(crate) fn note_log(&self, bytes_written: u64) {
        let since = bytes_written.saturating_sub(self.log_mark.load(Ordering::Relaxed));
        if since > self.due_after.load(Ordering::Relaxed) {
            self.request();
        }
    }

    /// Returns the number of the snapshot that begins: no other of this store, while it is open, has the same.
    pub(crate) fn next_number(&self) -> u64 {
        BEGINNING_SNAPSHOT + 1 + self.begun.fetch_add(1, Ordering::SeqCst)
    }

    /// Asks for a snapshot; false if one is being written or asked for already.
    pub(crate) fn request(&self) -> bool {
        let mut state = self.state.lock();
        if state.status.running || state.wanted {
            return false;
        }
        state.wanted = true;
        self.changed.notify_all();
        true
    }

    /// Takes back a request, and gives up the snapshot that is being written. Returns false if there is neither, or if the
    /// snapshot is whole already.
    pub(crate) fn cancel(&self) -> bool {
        let mut state = self.state.lock();
        let is_running = state.status.running && !state.is_whole && !state.is_cancelled;
        state.is_cancelled |= is_running;
        std::mem::take(&mut state.wanted) || is_running
    }

    /// Whether the snapshot that is being written has to be given up.
    pub(crate) fn must_stop(&self) -> bool {
        let state = self.state.lock();
        state.closing || state.is_cancelled
    }

    /// Keeps the newest snapshot, and the log from its start on, until the returned value is dropped. Waits for a removal
    /// that is under way.
    pub(crate) fn hold(self: &Arc<Self>) -> Hold {
        let mut holds = self.holds.lock();
        let start = self.state.lock().start;
        holds.push(start);
        Hold { snapshots: Arc::clone(self), start }
    }

    /// Runs `remove`, which removes at most one file. It is given the starts of the snapshots that are held: these, and
    /// the log from the first of them on, must stay. The snapshot thread is woken when the last hold ends.
    pub(crate) fn removing<R>(&self, remove: impl FnOnce(&[Lsn]) -> R) -> R {
        let holds = self.holds.lock();
        if !holds.is_empty() {
            self.state.lock().is_removal_deferred = true;
        }
        remove(&holds)
    }

    /// Ends the thread, and the snapshot it may be writing.
    pub(crate) fn end(&self) {
        self.state.lock().closing = true;
        self.changed.notify_all();
    }
}

impl Hold {
    /// Returns where the snapshot begins that is held; zero if there was none.
    pub(crate) fn start(&self) -> Lsn {
        self.start
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut holds = self.snapshots.holds.lock();
        if let Some(at) = holds.iter().position(|start| *start == self.start) {
            holds.swap_remove(at);
        }
        let mut state = self.snapshots.state.lock();
        if std::mem::take(&mut state.is_removal_deferred) {
            state.is_removal_due = true;
            self.snapshots.changed.notify_all();
        }
    }
}
