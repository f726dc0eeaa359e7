//! Files: a store's directory and the threads that keep it: syncer, sweeper, snapshots. Invariant: when `close` returns the
//! threads are joined and the directory is free for the next opener.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::base::Base;
use crate::clock::Timeline;
use crate::disk::Disk;
use crate::durability::Durability;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::lsn::Lsn;
use crate::options::Options;
use crate::recovery::Recovered;
use crate::segment::Writer;
use crate::snapshot::{SnapshotWriter, Written, snapshot_start};
use crate::stats::{RecoveryReport, SnapshotStatus, Stats};
use crate::syncer;
use crate::wal::Wal;

/// More segments than this call for a snapshot, however short they are: each open begins a new one.
const SEGMENTS_MAX: usize = 128;

type DirLock = Box<dyn Send + Sync>;

pub(crate) struct Files {
    dir: PathBuf,
    disk: Arc<dyn Disk>,
    pub(crate) wal: Arc<Wal>,
    lock: Mutex<Option<DirLock>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    recovery: RecoveryReport,
    snapshot_log_bytes: u64,
    snapshot_every: Option<Duration>,
    snapshots: Arc<Snapshots>,
}

#[derive(Default)]
struct Snapshots {
    /// Held while one is written: there is one at a time.
    writing: Mutex<()>,
    state: Mutex<SnapshotState>,
    /// Wakes the snapshot thread.
    bell: Condvar,
    /// How many bytes of log there were when the last one began.
    log_mark: AtomicU64,
    /// From this many bytes of log since then the next is due.
    due_after: AtomicU64,
}

#[derive(Default)]
struct SnapshotState {
    status: SnapshotStatus,
    /// The start of the last good one.
    start: Lsn,
    wanted: bool,
    closing: bool,
}

impl Files {
    pub(crate) fn lock(disk: &dyn Disk, dir: &Path) -> Result<DirLock> {
        disk.create_dir(dir).map_err(|error| Error::io(format!("create the directory {}", dir.display()), error))?;
        disk.lock(dir).map_err(|error| match error.kind() {
            ErrorKind::WouldBlock => Error::Locked { dir: dir.to_owned(), holder: error.to_string() },
            _ => Error::io(format!("lock the directory {}", dir.display()), error),
        })
    }

    /// Begins a new segment of the log after what was recovered.
    pub(crate) fn new(
        options: &Options,
        dir: &Path,
        lock: DirLock,
        found: &mut Recovered,
        time: Arc<Timeline>,
    ) -> Result<Self> {
        let fill = options.durability == Durability::Always;
        let writer = Writer::begin(
            Arc::clone(&options.disk),
            dir.to_owned(),
            options.segment_bytes,
            fill,
            std::mem::take(&mut found.segments),
            found.next_segment,
            found.last,
        )
        .map_err(|error| Error::io(format!("begin a log segment in {}", dir.display()), error))?;
        let snapshots = Snapshots::default();
        let due_after = options.snapshot_log_bytes.max(found.snapshot_bytes);
        // What was replayed counts towards the next snapshot.
        snapshots.due_after.store(due_after.saturating_sub(writer.log_bytes()), Ordering::Relaxed);
        snapshots.state.lock().start = found.snapshot_start;
        if writer.segment_count() > SEGMENTS_MAX {
            snapshots.state.lock().wanted = true;
        }
        Ok(Files {
            dir: dir.to_owned(),
            disk: Arc::clone(&options.disk),
            wal: Arc::new(Wal::new(options.durability, time, writer, found.last)),
            lock: Mutex::new(Some(lock)),
            threads: Mutex::new(Vec::new()),
            recovery: found.report.clone(),
            snapshot_log_bytes: options.snapshot_log_bytes,
            snapshot_every: options.snapshot_every,
            snapshots: Arc::new(snapshots),
        })
    }

    pub(crate) fn start_threads(&self, engine: &Arc<Engine>) -> Result<()> {
        let failed = |error| Error::io("start a thread of the store", error);
        let mut threads = self.threads.lock();
        let snapshots = Arc::clone(&self.snapshots);
        let after_write = move |bytes_written: u64| snapshots.note_log(bytes_written);
        threads.push(syncer::start(Arc::clone(&self.wal), after_write).map_err(failed)?);
        // The threads hold the engine weakly between steps: a store that is dropped closes itself.
        let (weak, base) = (Arc::downgrade(engine), Arc::clone(&engine.base.sweeper));
        let sweeper = thread::Builder::new().name("kv-sweeper".into());
        threads.push(sweeper.spawn(move || sweep(&weak, &base)).map_err(failed)?);
        let (weak, snapshots, every) = (Arc::downgrade(engine), Arc::clone(&self.snapshots), self.snapshot_every);
        let thread = thread::Builder::new().name("kv-snapshots".into());
        threads.push(thread.spawn(move || take_snapshots(&weak, &snapshots, every)).map_err(failed)?);
        Ok(())
    }

    pub(crate) fn close(&self, base: &Base) -> Result<()> {
        self.snapshots.state.lock().closing = true;
        self.snapshots.bell.notify_all();
        base.sweeper.end();
        let health = self.wal.health();
        {
            let mut state = self.wal.state.lock();
            state.closing = true;
            self.wal.wake_syncer(&mut state);
        }
        let threads = std::mem::take(&mut *self.threads.lock());
        for thread in threads {
            // The last handle may be dropped on one of these threads, which cannot wait for itself.
            if thread.thread().id() != thread::current().id() {
                let _ = thread.join();
            }
        }
        *self.lock.lock() = None;
        health
    }

    pub(crate) fn add_stats(&self, stats: &mut Stats) {
        {
            let writer = self.wal.writer.lock();
            stats.log_bytes = writer.log_bytes();
            stats.log_segments = writer.segment_count();
        }
        stats.last_lsn = self.wal.last();
        stats.durable_lsn = self.wal.durable();
        stats.recovery = self.recovery.clone();
        stats.snapshot = self.snapshot_status();
    }

    pub(crate) fn snapshot_status(&self) -> SnapshotStatus {
        let state = self.snapshots.state.lock();
        let changes_since = self.wal.last().get().saturating_sub(state.start.get());
        SnapshotStatus { changes_since, ..state.status.clone() }
    }

    /// Asks for a snapshot; false if one is being written or asked for already.
    pub(crate) fn request_snapshot(&self) -> bool {
        let mut state = self.snapshots.state.lock();
        if state.status.running || state.wanted {
            return false;
        }
        state.wanted = true;
        self.snapshots.bell.notify_all();
        true
    }

    /// Writes a snapshot, and drops what it makes superfluous.
    pub(crate) fn snapshot(&self, engine: &Engine) -> Result<()> {
        let _writing = self.snapshots.writing.lock();
        {
            let mut state = self.snapshots.state.lock();
            state.wanted = false;
            state.status.running = true;
        }
        let time = &engine.base.time;
        let started_ms = time.monotonic_ms();
        let outcome = self.write_snapshot(engine);
        let mut state = self.snapshots.state.lock();
        state.status.running = false;
        state.status.last_took = Duration::from_millis(time.monotonic_ms().saturating_sub(started_ms));
        match outcome {
            Ok((start, written)) => {
                state.start = start;
                state.status.last_good_ms = time.now_ms();
                state.status.last_error = None;
                state.status.last_entries = written.entries;
                state.status.last_bytes = written.bytes;
                self.snapshots.due_after.store(self.snapshot_log_bytes.max(written.bytes), Ordering::Relaxed);
                tracing::info!("snapshot: {} keys, {} bytes", written.entries, written.bytes);
                Ok(())
            }
            Err(error) => {
                tracing::error!("the snapshot failed, the log goes on: {error}");
                state.status.last_error = Some(error.to_string());
                Err(error)
            }
        }
    }

    fn write_snapshot(&self, engine: &Engine) -> Result<(Lsn, Written)> {
        {
            let mut writer = self.wal.writer.lock();
            syncer::flush_and_rotate(&self.wal, &mut writer);
            self.snapshots.log_mark.store(writer.bytes_written, Ordering::Relaxed);
        }
        // Names are given and taken under this lock, so the list is that of the start Lsn exactly.
        let (start, spaces, next_keyspace) = {
            let registry = engine.registry.read();
            (self.wal.last(), registry.spaces().cloned().collect::<Vec<_>>(), registry.next_id)
        };
        let names = spaces.iter().map(|space| (space.id, space.name.to_string())).collect();
        let base = &engine.base;
        let mut writer = SnapshotWriter::begin(
            Arc::clone(&self.disk),
            &self.dir,
            start,
            base.hasher.seed(),
            base.time.now_ms(),
            names,
            next_keyspace,
        )?;
        for space in &spaces {
            writer.write_space(space)?;
            if self.snapshots.state.lock().closing {
                return Err(Error::Closed);
            }
        }
        // Nothing may be in a snapshot that a crash could still take from the log.
        let end = self.wal.last();
        self.wal.wait(end)?;
        let written = writer.finish(end)?;
        self.remove_before(start)?;
        Ok((start, written))
    }

    fn remove_before(&self, start: Lsn) -> Result<()> {
        let failed = |error| Error::io(format!("remove old files of {}", self.dir.display()), error);
        for name in self.disk.list(&self.dir).map_err(failed)? {
            if snapshot_start(&name).is_some_and(|older| older < start) {
                self.disk.remove(&self.dir.join(name)).map_err(failed)?;
            }
        }
        self.wal.writer.lock().drop_before(start).map_err(failed)
    }
}

impl Snapshots {
    /// Called after each write of the log.
    fn note_log(&self, bytes_written: u64) {
        let since = bytes_written.saturating_sub(self.log_mark.load(Ordering::Relaxed));
        if since > self.due_after.load(Ordering::Relaxed) {
            let mut state = self.state.lock();
            if !state.status.running && !state.wanted {
                state.wanted = true;
                self.bell.notify_all();
            }
        }
    }
}

/// The sweeper's thread: sleeps until the next deadline.
fn sweep(engine: &Weak<Engine>, alarm: &crate::base::Alarm) {
    loop {
        let Some(due_in_ms) = engine.upgrade().map(|engine| {
            engine.sweep();
            engine.sweep_due_in_ms()
        }) else {
            return;
        };
        if !alarm.sleep(due_in_ms.map(Duration::from_millis)) {
            return;
        }
    }
}

/// The snapshot thread: one when asked, when the log has grown, and every so often if something changed.
fn take_snapshots(engine: &Weak<Engine>, snapshots: &Snapshots, every: Option<Duration>) {
    let mut state = snapshots.state.lock();
    loop {
        if state.closing {
            return;
        }
        if !state.wanted {
            let waited_out = match every {
                Some(every) => snapshots.bell.wait_for(&mut state, every).timed_out(),
                None => {
                    snapshots.bell.wait(&mut state);
                    false
                }
            };
            if !(state.wanted || waited_out) {
                continue;
            }
        }
        let asked = std::mem::take(&mut state.wanted);
        drop(state);
        let Some(engine) = engine.upgrade() else { return };
        if let Some(files) = &engine.files {
            if !engine.is_closed() && (asked || files.snapshot_status().changes_since > 0) {
                // The outcome is in the status and in the log of the program.
                let _ = files.snapshot(&engine);
            }
        }
        drop(engine);
        state = snapshots.state.lock();
    }
}
