//! Syncer: the thread that writes what waits in the log's stripes and makes it durable. Invariant: after the first failed write or sync
//! nothing more is written, and everybody who waits is told.

use std::sync::Arc;
use std::time::Duration;

use crate::durability::Durability;
use crate::log::segment::{Failure, Writer};
use crate::log::wal::{State, Wal};
use crate::sync::MutexGuard;
use crate::sync::thread::{self, JoinHandle};

/// How long a write may gather company before it is handed to the operating system, when nobody waits for it.
const LINGER: Duration = Duration::from_millis(2);
/// The window of [`Durability::EverySecond`].
const SYNC_EVERY_MS: u64 = 1_000;
/// After this long without a write the log is sealed.
const IDLE: Duration = Duration::from_secs(2);
/// How often a log without space tries again.
const RETRY: Duration = Duration::from_millis(500);

/// What the thread found to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Task {
    Write,
    Sync,
    Seal,
    Close,
}

/// Starts the thread. `after_write` is told the bytes of log ever written.
pub(crate) fn start(wal: Arc<Wal>, after_write: impl Fn(u64) + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    let started_ms = wal.time.monotonic_ms();
    thread::Builder::new().name("kv-syncer".into()).spawn(move || run(&wal, started_ms, &after_write))
}

/// `last_sync_ms` is when the last sync began, so that what was written while it ran is not kept waiting for longer.
fn run(wal: &Wal, mut last_sync_ms: u64, after_write: &dyn Fn(u64)) {
    loop {
        let task = next_task(wal, last_sync_ms);
        let now_ms = wal.time.monotonic_ms();
        let mut writer = wal.writer.lock();
        match task {
            Task::Write | Task::Sync => wal.flush(&mut writer, task == Task::Sync),
            Task::Seal => seal(wal, &mut writer),
            Task::Close => {
                close(wal, &mut writer);
                return;
            }
        }
        if task != Task::Write {
            last_sync_ms = now_ms;
        }
        let bytes_written = writer.bytes_written;
        drop(writer);
        after_write(bytes_written);
    }
}

/// Waits until there is something to do.
fn next_task(wal: &Wal, last_sync_ms: u64) -> Task {
    let mut state = wal.state.lock();
    // What a write has lingered for: when that was written meanwhile, the next one lingers anew.
    let mut lingered = None;
    loop {
        if state.closing {
            return Task::Close;
        }
        match &state.failure {
            Some(failure) if failure.may_pass() => {
                // Try again now and then: whoever frees space need tell nobody.
                wal.work.wait_for(&mut state, RETRY);
                return if state.closing { Task::Close } else { Task::Sync };
            }
            Some(_) => {
                wait(wal, &mut state, None);
                continue;
            }
            None => {}
        }
        if state.wanted > wal.durable() {
            return Task::Sync;
        }
        let behind = wal.last() > wal.durable();
        let sync_in = match wal.durability() {
            Durability::Always => Some(0),
            Durability::Os if state.windowed <= wal.durable() => None,
            Durability::EverySecond | Durability::Os => {
                Some((last_sync_ms + SYNC_EVERY_MS).saturating_sub(wal.time.monotonic_ms()))
            }
        };
        if wal.is_dirty(&state) {
            if state.is_worth_writing || lingered == Some(wal.taken(&state)) {
                return if sync_in == Some(0) { Task::Sync } else { Task::Write };
            }
            let taken = wal.taken(&state);
            lingered = wait(wal, &mut state, Some(LINGER)).then_some(taken);
            continue;
        }
        let at_most = match sync_in {
            Some(0) if behind => return Task::Sync,
            Some(ms) if behind => Some(Duration::from_millis(ms)),
            _ if state.sealed => None,
            _ => Some(IDLE),
        };
        let timed_out = wal.park(&state) && wait(wal, &mut state, at_most);
        wal.unpark();
        if timed_out && at_most == Some(IDLE) && !wal.is_dirty(&state) {
            return Task::Seal;
        }
    }
}

/// Waits for work; returns whether the time ran out.
fn wait(wal: &Wal, state: &mut MutexGuard<'_, State>, at_most: Option<Duration>) -> bool {
    match at_most {
        Some(at_most) => wal.work.wait_for(state, at_most).timed_out(),
        None => {
            wal.work.wait(state);
            false
        }
    }
}

fn seal(wal: &Wal, writer: &mut Writer) {
    // A caller that was alone may have written and failed since this was decided: no sync is tried a second time.
    if wal.health().is_err() {
        return;
    }
    match writer.seal(wal.time.now_ms()) {
        Ok(()) => {
            wal.state.lock().sealed = true;
            wal.publish(Ok(writer.synced));
            // Nothing was written for a while: what a burst had grown is of no use now.
            wal.shrink(writer);
        }
        Err(failure) => wal.fail(failure),
    }
}

fn close(wal: &Wal, writer: &mut Writer) {
    // First the door, then the last look round: nothing slips in behind it.
    wal.refuse();
    wal.flush(writer, true);
    if wal.health().is_ok() {
        seal(wal, writer);
    }
    if wal.health().is_ok()
        && let Err(failure) = writer.trim()
    {
        wal.fail(failure);
    }
    wal.publish(Err((Failure::Closed, Vec::new())));
}
