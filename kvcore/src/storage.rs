//! Storage directory: a store's directory, its log and its snapshots' state. Invariant: when `close` returns the threads are joined and
//! the directory is free for the next opener.

use std::sync::Arc;
use std::time::Duration;

use crate::durability::Durability;
use crate::error::{Error, Result};
use crate::io::clock::Timeline;
use crate::io::directory::DirLock;
use crate::io::disk::{Directory, Disk};
use crate::log::manifest::ManifestFile;
use crate::log::segment::{Writer, room_to_begin};
use crate::log::wal::Wal;
use crate::options::Options;
use crate::recovery::load::Recovered;
use crate::recovery::scheduler::SnapshotScheduler;
use crate::stats::{RecoveryReport, SnapshotStatus, Stats};
use crate::sync::Mutex;
use crate::sync::atomic::Ordering;

/// More segments than this call for a snapshot, however short they are: each open begins a new one.
const SEGMENTS_MAX: usize = 128;

pub(crate) struct StorageDirectory {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: Arc<dyn Directory>,
    /// The store's id, the same in all its files.
    pub(crate) store: u64,
    pub(crate) wal: Arc<Wal>,
    lock: Mutex<Option<DirLock>>,
    recovery: RecoveryReport,
    pub(crate) snapshot_log_bytes: u64,
    pub(crate) snapshot_every: Option<Duration>,
    pub(crate) snapshots: Arc<SnapshotScheduler>,
}

impl StorageDirectory {
    /// Begins a new segment of the log after what was recovered.
    pub(crate) fn new(
        options: &Options,
        dir: Arc<dyn Directory>,
        lock: DirLock,
        found: &mut Recovered,
        manifest: ManifestFile,
        time: Arc<Timeline>,
    ) -> Result<Self> {
        let store = manifest.store();
        let fill = options.durability == Durability::Always;
        let writer = Writer::begin(
            Arc::clone(&dir),
            options.segment_bytes,
            fill,
            std::mem::take(&mut found.segments),
            found.last,
            manifest,
        )
        .map_err(|error| {
            let room = room_to_begin(options.segment_bytes);
            Error::io(format!("begin a log segment in {}, which takes {room} bytes", dir.path().display()), error)
        })?;
        if let Some(name) = &found.superseded {
            let removing = |error| Error::io(format!("remove {}", dir.path().join(name).display()), error);
            dir.remove(name).map_err(removing)?;
        }
        let snapshots = SnapshotScheduler::default();
        let due_after = options.snapshot_log_bytes.max(found.snapshot_bytes);
        // What was replayed counts towards the next snapshot.
        snapshots.due_after.store(due_after.saturating_sub(writer.log_bytes()), Ordering::Relaxed);
        {
            let mut state = snapshots.state.lock();
            state.start = found.snapshot_start;
            state.replayed = found.last.get().saturating_sub(found.snapshot_start.get());
        }
        if writer.segment_count() > SEGMENTS_MAX {
            snapshots.state.lock().wanted = true;
        }
        Ok(StorageDirectory {
            disk: Arc::clone(&options.disk),
            dir,
            store,
            wal: Arc::new(Wal::new(options.durability, time, writer, found.last)),
            lock: Mutex::new(Some(lock)),
            recovery: found.report.clone(),
            snapshot_log_bytes: options.snapshot_log_bytes,
            snapshot_every: options.snapshot_every,
            snapshots: Arc::new(snapshots),
        })
    }

    /// Lets the threads that write end, when what they have to do is done.
    pub(crate) fn end_threads(&self) {
        self.snapshots.end();
        let mut state = self.wal.state.lock();
        state.closing = true;
        self.wal.wake_syncer(&mut state, false);
    }

    /// Frees the directory. The threads have ended.
    pub(crate) fn close(&self) -> Result<()> {
        // A snapshot that some other thread writes gives up now; its files must not change under the next opener.
        drop(self.snapshots.writing.lock());
        *self.lock.lock() = None;
        match self.wal.health() {
            Ok(()) | Err(Error::Closed) => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn add_stats(&self, stats: &mut Stats) {
        (stats.log_bytes, stats.log_segments) = self.wal.sizes();
        stats.last_lsn = self.wal.last();
        stats.durable_lsn = self.wal.durable();
        stats.recovery = self.recovery.clone();
    }

    /// Whether the log has gone on since the last good snapshot began.
    pub(crate) fn has_unsaved(&self) -> bool {
        self.wal.last() > self.snapshots.state.lock().start
    }

    /// `changes`: how many have been made since the store was opened; `now_ms`: by the monotonic clock.
    pub(crate) fn snapshot_status(&self, changes: u64, now_ms: u64) -> SnapshotStatus {
        let state = self.snapshots.state.lock();
        let changes_since = changes.saturating_sub(state.changes_before) + state.replayed;
        // One that was asked for counts as running: whoever asked must not see it as over before it begins.
        let running = state.status.running || state.wanted;
        let running_ms = if state.status.running { now_ms.saturating_sub(state.started_ms) } else { 0 };
        let running_for = Duration::from_millis(running_ms);
        SnapshotStatus { changes_since, running, running_for, ..state.status.clone() }
    }
}
