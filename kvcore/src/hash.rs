//! Key hashing. Invariant: the seed is random per store, so nobody outside can choose keys that collide.

use std::hash::{BuildHasher, Hasher};

use foldhash::SharedSeed;
use foldhash::quality::SeedableRandomState;

/// The store's keyed hash (foldhash, `quality` variant).
///
/// The seed is kept in snapshots: a snapshot then lists keys in the order of the shards it is loaded into, which keeps
/// one shard's table in the cache while it fills.
pub(crate) struct KeyHash {
    seed: u64,
    state: SeedableRandomState,
}

impl KeyHash {
    pub(crate) fn with_seed(seed: u64) -> Self {
        // A reference to a 'static is what foldhash wants; its process-wide seed adds to ours only in memory, so a
        // fixed one is used here: order must be the same after a restart.
        static SHARED: SharedSeed = SharedSeed::from_u64(0x6b76_5f68_6173_685f);
        KeyHash { seed, state: SeedableRandomState::with_seed(seed, &SHARED) }
    }

    /// A seed nobody can guess: the standard library keys its own maps from the operating system's randomness.
    pub(crate) fn random_seed() -> u64 {
        std::collections::hash_map::RandomState::new().build_hasher().finish()
    }

    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    #[inline]
    pub(crate) fn hash(&self, key: &[u8]) -> u64 {
        let mut hasher = self.state.build_hasher();
        hasher.write(key);
        hasher.finish()
    }
}
