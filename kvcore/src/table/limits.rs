//! Limits: how much a store may hold, and what is removed to keep it so. Invariant: plain values, checked when they are
//! set.

use crate::error::{Error, Result};

/// Which entry is removed first when a store has reached a limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Policy {
    /// No entry is removed: a write that needs room fails.
    #[default]
    None,
    /// The least recently used one. Exact while the store holds 1,000 entries or fewer, with reads and writes ordered by a
    /// sequence, not by time; in larger stores the oldest of a sample.
    Lru,
    /// The least recently modified one: as [`Lru`](Policy::Lru), but only writes count, to the value or to the deadline.
    Lrm,
    /// The least frequently used one, by a counter that grows ever more slowly and fades with time
    /// ([`LfuCounter`](crate::hooks::LfuCounter)); of equals the least recently used one.
    Lfu,
    /// By S3-FIFO (Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023): an entry that is not used
    /// again soon after it came leaves soon, so that a scan does not displace what is used often.
    S3Fifo,
    /// Any one.
    Random,
    /// The one whose deadline comes first. Entries without a deadline stay.
    NearestDeadline,
}

/// Which entries may be removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Candidates {
    /// All entries.
    #[default]
    All,
    /// Entries with a deadline.
    WithDeadline,
}

/// How much a store may hold; see [`Db::set_limits`](crate::Db::set_limits).
///
/// Both limits are for all keyspaces together.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// At most this many entries, those that have expired and are not swept yet included. `None`: any number.
    pub max_entries: Option<u64>,
    /// At most this many bytes, as [`Stats::memory_bytes`](crate::Stats::memory_bytes) counts them. `None`: any number.
    pub max_memory: Option<u64>,
    /// Which entry is removed first.
    pub policy: Policy,
    /// Which entries may be removed.
    pub candidates: Candidates,
    /// The keyspaces whose entries may be removed, by their names. `None`: all of them.
    pub keyspaces: Option<fn(&str) -> bool>,
    /// Whether a write that needs memory fails when none can be made free. If not, `max_memory` is kept only by removing
    /// entries, and the program refuses writes itself, by what [`Db::make_room`](crate::Db::make_room) returns. A write
    /// that alone needs more than `max_memory` fails in any case.
    pub refuses_writes: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            max_entries: None,
            max_memory: None,
            policy: Policy::None,
            candidates: Candidates::All,
            keyspaces: None,
            refuses_writes: true,
        }
    }
}

/// What became of [`Db::make_room`](crate::Db::make_room).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Room {
    /// The store is within its limits.
    Enough,
    /// It is not yet, and more entries can be removed.
    Unfinished,
    /// It is not, and nothing can be removed.
    Exhausted,
}

impl Limits {
    pub(crate) fn check(&self) -> Result<()> {
        if self.max_entries == Some(0) || self.max_memory == Some(0) {
            return Err(Error::InvalidOption("a limit of 0 allows nothing; None is no limit".to_owned()));
        }
        Ok(())
    }

    pub(crate) fn is_limited(&self) -> bool {
        self.max_entries.is_some() || self.max_memory.is_some()
    }

    /// Whether only entries with a deadline may be removed.
    pub(crate) fn needs_deadline(&self) -> bool {
        self.candidates == Candidates::WithDeadline || self.policy == Policy::NearestDeadline
    }

    /// Whether any entry may be removed.
    pub(crate) fn all_may_go(&self) -> bool {
        !self.needs_deadline() && self.keyspaces.is_none()
    }

    /// Whether the order of accesses decides.
    pub(crate) fn needs_order(&self) -> bool {
        self.is_limited() && matches!(self.policy, Policy::Lru | Policy::Lrm | Policy::Lfu | Policy::S3Fifo)
    }

    pub(crate) fn may_evict_from(&self, keyspace: &str) -> bool {
        self.keyspaces.is_none_or(|may| may(keyspace))
    }
}
