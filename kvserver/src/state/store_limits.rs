//! The limits of the store, as the parameters say, and what counts against them.
//!
//! Invariant: clients' memory and what is kept for them count against `maxmemory` beside the data, and what the process needs by itself does not; an
//! embedder's own keyspaces count, and nothing of them is removed.

use std::sync::atomic::Ordering::Relaxed;

use kvcore::{Error, Limits, Room};

use crate::databases;
use kvcommands::eviction_policy;

use crate::state::{ServerState, WriteCheck};

/// Keys that are removed in one iteration of a loop beside those that its requests remove.
const ITERATION_KEYS: u64 = 1024;

impl ServerState {
    /// Gives the store the limits that the parameters say.
    pub(crate) fn apply_limits(&self) -> kvcore::Result<()> {
        let some = |limit: u64| (limit > 0).then_some(limit);
        let (policy, candidates) = eviction_policy::parse(self.runtime.policy());
        let limits = Limits {
            max_entries: some(self.runtime.entries_max.load(Relaxed)),
            max_memory: some(self.runtime.memory_bytes_max.load(Relaxed)),
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
        self.runtime.touch();
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
