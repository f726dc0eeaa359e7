//! Schedule: when a snapshot is due, and how the last one went. Invariant: one is wanted at most once at a time.

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
}

#[derive(Default)]
pub(crate) struct SnapshotState {
    pub(crate) status: SnapshotStatus,
    /// The start of the last good one.
    pub(crate) start: Lsn,
    pub(crate) wanted: bool,
    pub(crate) closing: bool,
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

    /// Ends the thread, and the snapshot it may be writing.
    pub(crate) fn end(&self) {
        self.state.lock().closing = true;
        self.bell.notify_all();
    }
}
