//! HTTP, or TLS, that was sent to a listener: counted, and mentioned in the log.
//!
//! Invariant: whoever sends it cannot fill the log: there is one warning a minute at most.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::clients::Client;

/// The shortest time between two warnings.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// The connections that were closed because HTTP or TLS came on them.
#[derive(Debug, Default)]
pub(crate) struct HttpRefusals {
    count: AtomicU64,
    /// The count of the last warning, and the time from which the next may be written: milliseconds since the start.
    warned_count: AtomicU64,
    next_warning_ms: AtomicU64,
}

impl HttpRefusals {
    /// Counts a connection that is closed for it. `uptime`: since the server started.
    pub(crate) fn add(&self, client: &Client, uptime: Duration) {
        let count = self.count.fetch_add(1, Relaxed) + 1;
        let now_ms = u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX);
        let due_ms = self.next_warning_ms.load(Relaxed);
        let next_ms = now_ms.saturating_add(WARN_EVERY.as_millis() as u64);
        // Of several loops that come here at once, one warns.
        if now_ms >= due_ms && self.next_warning_ms.compare_exchange(due_ms, next_ms, Relaxed, Relaxed).is_ok() {
            let unmentioned = count.saturating_sub(self.warned_count.swap(count, Relaxed) + 1);
            tracing::warn!(
                client = client.shown_address(),
                unmentioned,
                "HTTP or TLS was sent to this server, perhaps by a web page that tries to reach it through a browser: \
                 nothing of it was executed, and the connection was closed"
            );
        }
    }

    /// Returns how many connections were closed for it since the counters were reset.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }

    /// Counts from zero again.
    pub(crate) fn reset(&self) {
        self.warned_count.store(0, Relaxed);
        self.count.store(0, Relaxed);
    }
}
