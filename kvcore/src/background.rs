//! Background threads, which keep a store on disk: syncer, sweeper, snapshots. Invariant: between two steps they hold the
//! engine weakly, so a store that nobody uses any more closes itself.

use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::log::{segment, syncer};
use crate::lsn::Lsn;
use crate::recovery::scheduler::SnapshotScheduler;
use crate::recovery::snapshot::{self, Head, SnapshotWriter, Written, snapshot_start};
use crate::storage::StorageDirectory;
use crate::sync::atomic::Ordering;
use crate::sync::thread;
use crate::txn::context::{BEGINNING_SNAPSHOT, NO_SNAPSHOT, Notifier, StoreContext};

/// Starts the threads of a store. One in memory has a sweeper, if that `sweeps`, and no other.
pub(crate) fn start(engine: &Arc<Engine>, sweeps: bool) -> Result<()> {
    let failed = |error| Error::io("start a thread of the store", error);
    let named = |name: &str| thread::Builder::new().name(name.to_owned());
    let mut threads = engine.threads.lock();

    if sweeps || engine.storage.is_some() {
        let (weak, notifier) = (Arc::downgrade(engine), Arc::clone(&engine.context.sweeper));
        threads.push(named("kv-sweeper").spawn(move || sweep(&weak, &notifier)).map_err(failed)?);
    }
    let Some(storage) = &engine.storage else { return Ok(()) };

    let snapshots = Arc::clone(&storage.snapshots);
    let after_write = move |bytes_written: u64| snapshots.note_log(bytes_written);
    threads.push(syncer::start(Arc::clone(&storage.wal), after_write).map_err(failed)?);

    let (weak, snapshots, every) = (Arc::downgrade(engine), Arc::clone(&storage.snapshots), storage.snapshot_every);
    threads.push(named("kv-snapshots").spawn(move || take_snapshots(&weak, &snapshots, every)).map_err(failed)?);
    Ok(())
}

/// The sweeper's thread: sleeps until the next deadline.
fn sweep(engine: &Weak<Engine>, notifier: &Notifier) {
    loop {
        let due_in_ms = match engine.upgrade() {
            Some(engine) => {
                engine.sweep();
                engine.sweep_due_in_ms()
            }
            None => return,
        };
        if !notifier.sleep(due_in_ms.map(Duration::from_millis)) {
            return;
        }
    }
}

/// The snapshot thread: one when asked, when the log has grown, and every so often if something changed.
fn take_snapshots(engine: &Weak<Engine>, snapshots: &SnapshotScheduler, every: Option<Duration>) {
    loop {
        let (asked, waited_out, is_removal_due) = {
            let mut state = snapshots.state.lock();
            let mut waited_out = false;
            while !state.closing && !state.wanted && !state.is_removal_due && !waited_out {
                match every {
                    Some(every) => waited_out = snapshots.changed.wait_for(&mut state, every).timed_out(),
                    None => snapshots.changed.wait(&mut state),
                }
            }
            if state.closing {
                return;
            }
            // Left standing until `snapshot` says that it runs, so that at no moment the status says neither.
            (state.wanted, waited_out, std::mem::take(&mut state.is_removal_due))
        };
        let Some(engine) = engine.upgrade().filter(|engine| !engine.is_closed()) else { return };
        let Some(storage) = &engine.storage else { return };
        if is_removal_due && let Err(error) = remove_deferred(&engine, storage) {
            tracing::warn!("{error}; the next snapshot tries again");
        }
        if asked || (waited_out && storage.has_unsaved()) {
            // The outcome is in the status and in the log of the program.
            let _ = snapshot(&engine, storage, asked);
        }
    }
}

/// Writes a snapshot, and drops what it makes superfluous. `asked`: only if it is still asked for.
pub(crate) fn snapshot(engine: &Engine, storage: &StorageDirectory, asked: bool) -> Result<()> {
    let _writing = storage.snapshots.writing.lock();
    // Another store may have the directory by now.
    if engine.is_closed() {
        return Err(Error::Closed);
    }
    let time = &engine.context.time;
    let started_ms = time.monotonic_ms();
    {
        let mut state = storage.snapshots.state.lock();
        if asked && !state.wanted {
            // It was cancelled, or another that began later stands for it.
            return Err(Error::SnapshotCancelled);
        }
        state.wanted = false;
        (state.is_cancelled, state.is_whole) = (false, false);
        state.status.running = true;
        state.started_ms = started_ms;
    }
    // What is changed from here on counts towards the next snapshot, though this one may hold it.
    let changes = engine.changes();
    let outcome = write_snapshot(engine, storage);
    let mut state = storage.snapshots.state.lock();
    state.status.running = false;
    if !matches!(outcome, Err(Error::SnapshotCancelled)) {
        state.status.last_took = Duration::from_millis(time.monotonic_ms().saturating_sub(started_ms));
    }
    match outcome {
        Ok(written) => {
            state.status.last_good_ms = time.now_ms();
            state.status.saves += 1;
            state.status.last_error = None;
            state.status.last_entries = written.entries;
            state.status.last_bytes = written.bytes;
            (state.changes_before, state.replayed) = (changes, 0);
            storage.snapshots.due_after.store(storage.snapshot_log_bytes.max(written.bytes), Ordering::Relaxed);
            tracing::info!("snapshot: {} keys, {} bytes", written.entries, written.bytes);
            Ok(())
        }
        // It was wanted so: no failure, and the outcome of the last one stands.
        Err(Error::SnapshotCancelled) => {
            tracing::info!("the snapshot was cancelled");
            Err(Error::SnapshotCancelled)
        }
        Err(error) => {
            if !matches!(error, Error::Closed) {
                match storage.wal.health() {
                    Ok(()) => tracing::error!("the snapshot failed; the log goes on, nothing is lost: {error}"),
                    // Its failure was told when it failed.
                    Err(_) => tracing::error!("no snapshot could be written: {error}"),
                }
            }
            state.status.last_error = Some(error.to_string());
            Err(error)
        }
    }
}

/// While this exists, the log copies the value of another key only from one whose whole value it was given since the
/// snapshot's start. Replayed over a snapshot that is as old as the record for one of the keys and newer for the other, it
/// would copy the wrong value, or none.
struct WholeValues<'a>(&'a StoreContext);

impl<'a> WholeValues<'a> {
    /// On return, what is appended to the log and copies a value holds the value, too.
    fn begin(engine: &'a Engine) -> Self {
        engine.context.snapshot.store(BEGINNING_SNAPSHOT, Ordering::SeqCst);
        let begun = WholeValues(&engine.context);
        // A transaction that has not seen this holds its locks until its records are in the log.
        for space in engine.spaces() {
            space.each_shard(false, |_| ());
        }
        begun
    }

    /// From here on a value that the log is given comes after the snapshot's start, so it need not be given again.
    fn number(&self, number: u64) {
        self.0.snapshot.store(number, Ordering::SeqCst);
    }
}

impl Drop for WholeValues<'_> {
    fn drop(&mut self) {
        self.0.snapshot.store(NO_SNAPSHOT, Ordering::SeqCst);
    }
}

fn write_snapshot(engine: &Engine, storage: &StorageDirectory) -> Result<Written> {
    let (wal, context) = (&storage.wal, &engine.context);
    let whole_values = WholeValues::begin(engine);
    {
        let mut writer = wal.writer.lock();
        wal.flush_and_rotate(&mut writer);
        storage.snapshots.log_mark.store(writer.bytes_written, Ordering::Relaxed);
    }
    // Names are given and taken under this lock, so the list is that of the start Lsn exactly.
    let (start, names, next_keyspace) = {
        let registry = engine.registry.read();
        let names: Vec<_> = registry.spaces().map(|space| (space.log_id(), space.name.to_string())).collect();
        (wal.last(), names, registry.next_id)
    };
    whole_values.number(storage.snapshots.next_number());
    let keyspaces: Vec<u32> = names.iter().map(|(log_id, _)| *log_id).collect();
    let head = Head {
        version: snapshot::VERSION,
        hash_seed: context.hasher.seed(),
        start: start.get(),
        time_ms: context.time.now_ms(),
        keyspaces: names,
        next_keyspace,
        store: storage.store,
    };
    let mut writer = SnapshotWriter::begin(Arc::clone(&storage.dir), &head)?;
    for log_id in keyspaces {
        let holding = || engine.registry.read().holding(log_id).cloned();
        writer.write_keyspace(log_id, &holding, &|| storage.snapshots.must_stop()).map_err(|error| {
            let is_cancelled = matches!(error, Error::Closed) && storage.snapshots.state.lock().is_cancelled;
            if is_cancelled { Error::SnapshotCancelled } else { error }
        })?;
    }
    // What is logged from here on comes after everything in the snapshot.
    drop(whole_values);
    // Nothing may be in a snapshot that a crash could still take from the log.
    let end = wal.last();
    wal.wait(end)?;
    {
        let mut state = storage.snapshots.state.lock();
        if state.is_cancelled {
            return Err(Error::SnapshotCancelled);
        }
        state.is_whole = true;
    }
    let written = writer.finish(end)?;
    // Before anything is removed: a backup that begins now is of this snapshot.
    storage.snapshots.state.lock().start = start;
    remove_before(storage, start)?;
    Ok(written)
}

/// Removes what a backup has kept from being removed.
fn remove_deferred(engine: &Engine, storage: &StorageDirectory) -> Result<()> {
    let _writing = storage.snapshots.writing.lock();
    // Another store may have the directory by now.
    if engine.is_closed() {
        return Ok(());
    }
    let start = storage.snapshots.state.lock().start;
    remove_before(storage, start)
}

/// Removes the snapshots and the log that a durable snapshot stands for, as far as no backup needs them. Called with
/// `writing` locked: nobody else removes a segment.
fn remove_before(storage: &StorageDirectory, start: Lsn) -> Result<()> {
    let failed = |error| Error::io(format!("remove old files of {}", storage.dir.path().display()), error);
    for name in storage.dir.list().map_err(failed)? {
        let Some(older) = snapshot_start(&name).filter(|older| *older < start) else { continue };
        let remove = |held: &[Lsn]| if held.contains(&older) { Ok(()) } else { storage.dir.remove(&name) };
        storage.snapshots.removing(remove).map_err(failed)?;
    }
    // Oldest first and each for good before the next, so that a crash in between leaves no gap.
    let remove = |held: &[Lsn]| remove_oldest_segment(storage, held.iter().copied().fold(start, Lsn::min));
    while storage.snapshots.removing(remove).map_err(failed)? {}
    Ok(())
}

/// Removes the oldest segment if a snapshot that begins at `start` stands for it; returns whether it did.
fn remove_oldest_segment(storage: &StorageDirectory, start: Lsn) -> io::Result<bool> {
    let Some(oldest) = storage.wal.writer.lock().covered_by(start) else { return Ok(false) };
    // Without the lock: to remove a large file takes longer than writers can be kept waiting.
    segment::remove(&*storage.dir, oldest)?;
    let mut writer = storage.wal.writer.lock();
    writer.forget_oldest();
    storage.wal.note_sizes(&writer);
    Ok(true)
}
