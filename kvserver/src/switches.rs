//! What DEBUG can change about the running server.
//!
//! Invariant: at their defaults they change nothing; the event loops look at them once a second.

use std::sync::atomic::{AtomicBool, AtomicU64};

/// One set a server.
#[derive(Debug)]
pub(crate) struct Switches {
    /// What happens once a second (idle clients, save points) does not happen.
    pub(crate) cron_paused: AtomicBool,
    /// How long CLIENT LIST remembers a client's largest reply, in milliseconds; `u64::MAX` for as long as it stays.
    pub(crate) peak_reset_ms: AtomicU64,
}

impl Switches {
    pub(crate) const PEAK_RESET_MS: u64 = 5000;
}

impl Default for Switches {
    fn default() -> Switches {
        Switches { cron_paused: AtomicBool::new(false), peak_reset_ms: AtomicU64::new(Switches::PEAK_RESET_MS) }
    }
}
