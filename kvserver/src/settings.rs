//! What a server can be told about itself, apart from where it listens and which store it serves.
//!
//! Invariant: every amount a client can make the server hold has a limit here.

use std::time::Duration;

use kvproto::Limits;

/// Unsent bytes at which a client's further requests are left unread until it has taken its replies.
pub(crate) const OUTPUT_PAUSE_BYTES: usize = 1024 * 1024;
/// Bytes one connection may bring in one round, and the size of a loop's read buffer.
pub(crate) const READ_BYTES: usize = 64 * 1024;
/// Requests one connection may have executed in one round, so that nobody waits long for a busy neighbour.
pub(crate) const ROUND_REQUESTS_MAX: usize = 2048;
/// Requests a client can queue in MULTI, in bytes.
pub(crate) const QUEUE_BYTES_MAX: usize = 1024 * 1024 * 1024;
/// A keyspace with at most this many keys is walked (KEYS, PRINT) on the event loop; a larger one elsewhere.
pub(crate) const WALK_INLINE_KEYS_MAX: u64 = 1000;
/// How long a stopping server waits for clients to take their last replies.
pub(crate) const STOP_GRACE: Duration = Duration::from_secs(5);

/// Limits of a server.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Event loops; one thread each.
    pub(crate) loops: usize,
    /// Connections served at once; further ones are told so and closed.
    pub(crate) clients_max: usize,
    /// How large a request may be.
    pub(crate) limits: Limits,
    /// Whether listening beyond the loopback needs no password.
    pub(crate) exposed_ok: bool,
    /// How much a subscriber may leave unread.
    pub(crate) subscriber_output: OutputLimit,
}

/// When a client that does not read is disconnected.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OutputLimit {
    /// At once, above this many unsent bytes.
    pub(crate) hard_bytes: usize,
    /// Above this many unsent bytes for `soft_for`.
    pub(crate) soft_bytes: usize,
    /// See `soft_bytes`.
    pub(crate) soft_for: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            loops: std::thread::available_parallelism().map_or(1, usize::from),
            clients_max: 10_000,
            limits: Limits::default(),
            exposed_ok: false,
            subscriber_output: OutputLimit {
                hard_bytes: 32 * 1024 * 1024,
                soft_bytes: 8 * 1024 * 1024,
                soft_for: Duration::from_secs(60),
            },
        }
    }
}
