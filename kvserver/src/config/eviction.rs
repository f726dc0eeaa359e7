//! What Redis' words for eviction mean to the store, which does it.
//!
//! Invariant: clients' memory and what is kept for them count against `maxmemory` beside the data, and what the process needs by itself does not; an
//! embedder's own keyspaces count, and nothing of them is removed.

use std::sync::atomic::Ordering::Relaxed;

use kvcore::{Candidates, Error, Limits, Policy, Room};

use crate::databases;
use crate::state::{ServerState, WriteCheck};

/// Names of `maxmemory-policy`.
pub(crate) const POLICIES: [&str; 11] = [
    "volatile-lru",
    "volatile-lfu",
    "volatile-random",
    "volatile-ttl",
    "allkeys-lru",
    "allkeys-lfu",
    "allkeys-random",
    "noeviction",
    "allkeys-s3fifo",
    "volatile-lrm",
    "allkeys-lrm",
];

/// The place of `noeviction`.
pub(crate) const NO_EVICTION: usize = 7;
/// Keys that are removed in one iteration of a loop beside those that its requests remove.
const ITERATION_KEYS: u64 = 1024;

/// The place in [`POLICIES`] of what a store goes by already.
pub(crate) fn policy_of(limits: &Limits) -> usize {
    let volatile = limits.candidates == Candidates::WithDeadline;
    let name = match limits.policy {
        Policy::Lru if volatile => "volatile-lru",
        Policy::Lru => "allkeys-lru",
        Policy::Lrm if volatile => "volatile-lrm",
        Policy::Lrm => "allkeys-lrm",
        Policy::Lfu if volatile => "volatile-lfu",
        Policy::Lfu => "allkeys-lfu",
        Policy::Random if volatile => "volatile-random",
        Policy::Random => "allkeys-random",
        Policy::NearestDeadline => "volatile-ttl",
        Policy::S3Fifo => "allkeys-s3fifo",
        _ => "noeviction",
    };
    POLICIES.iter().position(|policy| *policy == name).unwrap_or(NO_EVICTION)
}

fn parse(policy: &str) -> (Policy, Candidates) {
    let (kind, by) = policy.split_once('-').unwrap_or_default();
    let candidates = if kind == "volatile" { Candidates::WithDeadline } else { Candidates::All };
    let policy = match by {
        "lru" => Policy::Lru,
        "lrm" => Policy::Lrm,
        "lfu" => Policy::Lfu,
        "random" => Policy::Random,
        "ttl" => Policy::NearestDeadline,
        "s3fifo" => Policy::S3Fifo,
        _ => Policy::None,
    };
    (policy, candidates)
}

impl ServerState {
    /// Gives the store the limits that the parameters say.
    pub(crate) fn apply_limits(&self) -> kvcore::Result<()> {
        let some = |limit: u64| (limit > 0).then_some(limit);
        let (policy, candidates) = parse(self.tuning.policy());
        let limits = Limits {
            max_entries: some(self.tuning.entries_max.load(Relaxed)),
            max_memory: some(self.tuning.memory_bytes_max.load(Relaxed)),
            policy,
            candidates,
            // What clients cannot reach is not theirs to displace.
            keyspaces: Some(|name| databases::index_of(name).is_some()),
            // Commands that need no memory are obeyed beyond the limit, too, as in Redis.
            refuses_writes: false,
        };
        self.count_kept_memory();
        match self.db.set_limits(limits) {
            Err(Error::Reentered) => {
                self.set_write_check(WriteCheck::Limits, true);
                return Ok(());
            }
            changed => changed?,
        }
        self.set_write_check(WriteCheck::Memory, limits.max_memory.is_some());
        self.tuning.touch();
        Ok(())
    }

    /// Counts what clients hold now against `maxmemory`, beside what was kept for them when it was last [looked
    /// at](Self::count_kept_memory).
    pub(crate) fn count_client_memory(&self) {
        self.db.hooks().reserve_memory(self.client_bytes() + self.counted_kept_bytes.load(Relaxed));
    }

    /// Counts what is kept for clients, and what they hold now, against `maxmemory`.
    fn count_kept_memory(&self) {
        self.counted_kept_bytes.store(self.kept_bytes(), Relaxed);
        self.count_client_memory();
    }

    /// Gives the store the limits that EXEC has changed.
    pub(crate) fn apply_late_limits(&self) {
        if self.has_write_check(WriteCheck::Limits) {
            self.set_write_check(WriteCheck::Limits, false);
            if let Err(error) = self.apply_limits() {
                tracing::error!(%error, "the limits could not be changed");
            }
        }
    }

    /// Brings the store closer to its limits, as what clients hold and what the limits are may have changed. Returns whether
    /// more is to do. Not from inside a transaction.
    pub(crate) fn keep_limits(&self) -> bool {
        self.count_kept_memory();
        matches!(self.db.make_room(ITERATION_KEYS), Ok(Room::Unfinished))
    }

    /// Whether a command that needs memory may run: there is room, or can be made. Not from inside a transaction.
    pub(crate) fn has_room(&self) -> bool {
        // A store that cannot be asked refuses the command itself.
        !matches!(self.db.make_room(ITERATION_KEYS), Ok(Room::Exhausted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_means_a_policy_of_its_own() {
        for (place, name) in POLICIES.iter().enumerate() {
            let (policy, candidates) = parse(name);
            assert_eq!(policy_of(&Limits { policy, candidates, ..Limits::default() }), place, "{name}");
        }
        assert_eq!(POLICIES[NO_EVICTION], "noeviction");
    }
}
