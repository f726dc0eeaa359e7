//! Schedule: when a snapshot is due, and how the last one went; and when files that it stands for may be removed.
//! Invariant: a snapshot is wanted at most once at a time, and no file is removed while anyone holds them.

use std::sync::Arc;

use crate::lsn::Lsn;
use crate::stats::SnapshotStatus;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Condvar, Mutex};

#[derive(Default)]
pub(crate) struct Snapshots {
    /// Held while one is written: there is one at a time.
    pub(crate) writing: Mutex<()>,
    pub(crate) state: Mutex<SnapshotState>,
    /// Wakes the snapshot thread.
    pub(crate) bell: Condvar,
    /// How many bytes of log there were when the last one began.
    pub(crate) log_mark: AtomicU64,
    /// From this many bytes of log since then the next is due.
    pub(crate) due_after: AtomicU64,
    /// How many [holds](Hold) there are. Locked around each single removal; before `state` and the log's writer.
    holds: Mutex<usize>,
}

/// Keeps the store from removing snapshots and segments, until it is dropped.
pub(crate) struct Hold(Arc<Snapshots>);

#[derive(Default)]
pub(crate) struct SnapshotState {
    pub(crate) status: SnapshotStatus,
    /// The start of the last good one.
    pub(crate) start: Lsn,
    pub(crate) wanted: bool,
    pub(crate) closing: bool,
    /// Files were not removed because somebody held them.
    is_removal_deferred: bool,
    /// They can be removed now: the snapshot thread does it.
    pub(crate) is_removal_due: bool,
}

impl Snapshots {
    /// Called after each write of the log.
    pub(crate) fn note_log(&self, bytes_written: u64) {
        let since = bytes_written.saturating_sub(self.log_mark.load(Ordering::Relaxed));
        if since > self.due_after.load(Ordering::Relaxed) {
            self.request();
        }
    }

    /// Asks for a snapshot; false if one is being written or asked for already.
    pub(crate) fn request(&self) -> bool {
        let mut state = self.state.lock();
        if state.status.running || state.wanted {
            return false;
        }
        state.wanted = true;
        self.bell.notify_all();
        true
    }

    /// Keeps all files that are there now. Waits for a removal that is under way.
    pub(crate) fn hold(self: &Arc<Self>) -> Hold {
        *self.holds.lock() += 1;
        Hold(Arc::clone(self))
    }

    /// Runs `remove`, which removes one file, unless somebody holds the files: then returns `None`, and the snapshot
    /// thread is woken when nobody does.
    pub(crate) fn unless_held<R>(&self, remove: impl FnOnce() -> R) -> Option<R> {
        let holds = self.holds.lock();
        if *holds > 0 {
            self.state.lock().is_removal_deferred = true;
            return None;
        }
        Some(remove())
    }

    /// Ends the thread, and the snapshot it may be writing.
    pub(crate) fn end(&self) {
        self.state.lock().closing = true;
        self.bell.notify_all();
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut holds = self.0.holds.lock();
        *holds -= 1;
        if *holds == 0 {
            let mut state = self.0.state.lock();
            if std::mem::take(&mut state.is_removal_deferred) {
                state.is_removal_due = true;
                self.0.bell.notify_all();
            }
        }
    }
}
