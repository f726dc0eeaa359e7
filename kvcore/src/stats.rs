//! Stats: what a store tells about itself. Invariant: plain values, all taken within one call.

use std::time::Duration;

use crate::lsn::Lsn;

/// Figures about a store at one moment.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Keys in all keyspaces, expired ones included until they are swept.
    pub entries: u64,
    /// Of these, keys with a deadline.
    pub entries_with_deadline: u64,
    /// Bytes that entries, tables and wheels take.
    pub memory_bytes: u64,
    /// Keys removed because their deadline passed, since the store was opened.
    pub expired: u64,
    /// Keys removed to make room, since the store was opened.
    pub evicted: u64,
    /// The most work that was done at once to keep the limits, while shards were locked, counted in places of a table that are
    /// looked at. Never more than 32,768, which takes a fraction of a millisecond: transactions that need more room make the
    /// rest when they have given back their locks.
    pub eviction_step_max: u64,
    /// Bytes in the log's segments.
    pub log_bytes: u64,
    /// The log's segments.
    pub log_segments: usize,
    /// How many milliseconds the store's time is ahead of the wall clock, because that was ahead once and time never runs
    /// backwards; 0 if it is not. So much sooner do deadlines pass that were computed from the wall clock. See
    /// [`Db::time_ahead_ms`](crate::Db::time_ahead_ms).
    pub time_ahead_ms: u64,
    /// The newest change.
    pub last_lsn: Lsn,
    /// The newest change on stable storage.
    pub durable_lsn: Lsn,
    /// What opening the store found.
    pub recovery: RecoveryReport,
    /// The last snapshot, and whether one is being written.
    pub snapshot: SnapshotStatus,
}

/// What opening a store found and did.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// Keys read from the snapshot.
    pub snapshot_entries: u64,
    /// Transactions replayed from the log.
    pub replayed: u64,
    /// Keys of the snapshot and the log that had expired by then, and were removed.
    pub expired: u64,
    /// Bytes of an unfinished write cut from the log's end, without the room that was only reserved for it.
    pub cut_bytes: u64,
    /// How long it took.
    pub took: Duration,
}

/// The state of snapshots.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct SnapshotStatus {
    /// Whether one is being written now.
    pub running: bool,
    /// For how long; zero if none is.
    pub running_for: Duration,
    /// How many were written since the store was opened.
    pub saves: u64,
    /// When the last good one was finished, in Unix milliseconds; 0 for never since the store was opened.
    pub last_good_ms: u64,
    /// How long the last one took, good or not.
    pub last_took: Duration,
    /// Why the last one failed, if it did.
    pub last_error: Option<String>,
    /// Keys in the last good one.
    pub last_entries: u64,
    /// Bytes of the last good one.
    pub last_bytes: u64,
    /// Changes since the last good one was begun, or since the store was opened; those that were only in the log then
    /// included, each transaction as one. A write of a key is a change, a flush one for each key.
    pub changes_since: u64,
}
