//! What DEBUG can change about the running server.
//!
//! Invariant: at their defaults they change nothing; the event loops look at them once a second.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::thread;
use std::time::Duration;

use crate::state::server_config::LOOP_WORK_MAX;

/// How often a held command looks whether it is held still.
const HOLD_STEP: Duration = Duration::from_millis(1);

/// One set a server.
#[derive(Debug)]
pub(crate) struct DebugFlags {
    /// What happens once a second (idle clients, save points) does not happen.
    pub(crate) cron_paused: AtomicBool,
    /// What a transaction on a loop may charge, in nanoseconds. 0: commands that may be costly do not run there at all.
    pub(crate) loop_work_max: AtomicU64,
    /// Commands that take much computing wait before they begin.
    pub(crate) computing_held: AtomicBool,
    /// How long CLIENT LIST remembers a client's largest reply, in milliseconds; `u64::MAX` for as long as it stays.
    pub(crate) peak_reset_ms: AtomicU64,
}

impl DebugFlags {
    pub(crate) const PEAK_RESET_MS: u64 = 5000;

    /// Waits until computing is not held any more, or the server stops.
    pub(crate) fn wait_to_compute(&self, stopping: &AtomicBool) {
        while self.computing_held.load(Relaxed) && !stopping.load(Relaxed) {
            thread::sleep(HOLD_STEP);
        }
    }
}

impl Default for DebugFlags {
    fn default() -> DebugFlags {
        DebugFlags {
            cron_paused: AtomicBool::new(false),
            loop_work_max: AtomicU64::new(LOOP_WORK_MAX),
            computing_held: AtomicBool::new(false),
            peak_reset_ms: AtomicU64::new(DebugFlags::PEAK_RESET_MS),
        }
    }
}
