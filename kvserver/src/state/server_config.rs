//! What a server can be told about itself, apart from where it listens and which store it serves.
//!
//! Invariant: every amount a client can make the server hold has a limit here.

use std::path::PathBuf;
use std::time::Duration;

use kvproto::Limits;

use crate::admin::allocator::Allocator;

/// Seconds in which a connection has to log in, unless told otherwise.
pub(crate) const LOGIN_TIMEOUT_SECS: u64 = 30;
/// Unsent bytes at which a client's further requests are left unread until it has taken its replies.
pub(crate) const OUTPUT_PAUSE_BYTES: usize = 1024 * 1024;
/// Unsent bytes at which a client that still has to log in is disconnected, as in Redis.
pub(crate) const UNAUTHENTICATED_OUTPUT_BYTES_MAX: usize = 1024;
/// The longest name or library label that a client may give itself, and the longest name of a user, in bytes. They are shown
/// in CLIENT LIST, copied into logs, and kept for as long as the connection.
pub(crate) const LABEL_BYTES_MAX: usize = 256;
/// Bytes one connection may bring in one iteration.
pub(crate) const READ_BYTES: usize = 64 * 1024;
/// How long a connection's time slice lasts at most, so that nobody waits long for a busy neighbour. The request that is being
/// executed then is finished.
pub(crate) const SLICE_TIME: Duration = Duration::from_millis(2);
/// How long an iteration of a loop lasts until connections that had a time slice before get no other one. The first of them gets one.
pub(crate) const ITERATION_TIME: Duration = Duration::from_millis(10);
/// Requests one connection may have executed in one iteration, so that nobody waits long for a busy neighbour.
pub(crate) const ITERATION_REQUESTS_MAX: usize = 2048;
/// What a queued command takes beside its words: its place in a list that may be half empty, two allocations, and at
/// EXEC its reply.
pub(crate) const QUEUED_COMMAND_BYTES: usize = 192;
/// What a word of a queued command takes beside its bytes: where it lies and, if it is a key, its lock at EXEC.
pub(crate) const QUEUED_WORD_BYTES: usize = 64;
/// Keys a client can watch, in bytes of memory.
pub(crate) const WATCHED_BYTES_MAX: usize = 64 * 1024 * 1024;
/// What a watched key takes beside its bytes, which are kept twice: a place in the session's table and in the server's, and
/// at EXEC its lock.
pub(crate) const WATCHED_KEY_BYTES: usize = 256;
/// Channels and patterns a client can subscribe to, in bytes of memory.
pub(crate) const SUBSCRIPTION_BYTES_MAX: usize = 64 * 1024 * 1024;
/// What a subscription takes beside its name: a place in the session's set and a table of its own in the server's.
pub(crate) const SUBSCRIPTION_BYTES: usize = 256;
/// What a transaction on a loop may charge: about a millisecond, in nanoseconds.
pub(crate) const LOOP_WORK_MAX: u64 = 1_000_000;
/// A keyspace with at most this many keys is scanned (KEYS, PRINT) on the event loop, if that takes few steps; others elsewhere.
pub(crate) const SCAN_INLINE_KEYS_MAX: u64 = 1000;
/// What matching their keys may take there, in steps of about a nanosecond.
pub(crate) const SCAN_INLINE_STEPS_MAX: usize = 1_000_000;
/// How long a stopping server waits for clients to take their last replies.
pub(crate) const STOP_GRACE: Duration = Duration::from_secs(5);

/// Limits of a server.
#[derive(Clone, Debug)]
pub(crate) struct ServerConfig {
    /// Event loops; one thread each.
    pub(crate) loops: usize,
    /// Connections served at once; further ones are told so and closed.
    pub(crate) clients_max: usize,
    /// How large a request may be.
    pub(crate) limits: Limits,
    /// How large a request may be of a client that still has to log in.
    pub(crate) unauthenticated_limits: Limits,
    /// Whether listening beyond the loopback needs no password.
    pub(crate) exposed_ok: bool,
    /// Whether DEBUG is obeyed.
    pub(crate) debug_allowed: bool,
    /// Seconds in which a connection has to log in where that is needed; 0 for any number.
    pub(crate) login_timeout_secs: u64,
    /// How much a subscriber may leave unread.
    pub(crate) subscriber_output: OutputLimit,
    /// When snapshots are due, beside those the store writes by itself.
    pub(crate) save_points: Vec<SavePoint>,
    /// Where the data are, to be shown; empty if nobody said.
    pub(crate) dir: String,
    /// The program's.
    pub(crate) allocator: Allocator,
    /// What CONFIG REWRITE writes.
    pub(crate) config_file: Option<PathBuf>,
}

/// When a client that does not read is disconnected.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OutputLimit {
    /// At once, above this many unsent bytes; 0 for never.
    pub(crate) hard_bytes: usize,
    /// Above this many unsent bytes for `soft_for`; 0 for never.
    pub(crate) soft_bytes: usize,
    /// See `soft_bytes`.
    pub(crate) soft_for: Duration,
}

/// A snapshot is due when this long has passed since the last one and at least so much has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SavePoint {
    pub(crate) after: Duration,
    pub(crate) changes: u64,
}

impl Default for ServerConfig {
    fn default() -> ServerConfig {
        ServerConfig {
            // The other half is for the kernel's part of each request, the log, and snapshots. Measured on 2 cores: one
            // loop serves as much as two at any depth of pipeline, for less CPU a request.
            loops: std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2)),
            clients_max: 10_000,
            limits: Limits::default(),
            unauthenticated_limits: Limits::unauthenticated(),
            exposed_ok: false,
            debug_allowed: false,
            login_timeout_secs: LOGIN_TIMEOUT_SECS,
            subscriber_output: OutputLimit {
                hard_bytes: 32 * 1024 * 1024,
                soft_bytes: 8 * 1024 * 1024,
                soft_for: Duration::from_secs(60),
            },
            save_points: Vec::new(),
            dir: String::new(),
            allocator: Allocator::default(),
            config_file: None,
        }
    }
}
