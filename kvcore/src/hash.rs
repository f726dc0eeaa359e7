//! Key hashing. Invariant: all of the seed is random per store, so nobody outside can choose keys that collide.

use std::hash::{BuildHasher, Hasher};

use foldhash::SharedSeed;
use foldhash::quality::FoldHasher;

/// The store's keyed hash (foldhash, `quality` variant).
///
/// The seed is kept in snapshots: a snapshot then lists keys in the order of the shards it is loaded into, which keeps
/// one shard's table in the cache while it fills.
pub(crate) struct KeyHash {
    seed: u64,
    /// What the words of a key are combined with before they are multiplied. Whoever knows it can write words that
    /// become a factor of zero, and with it the whole hash, whatever `seed` is; so it comes from the seed as well.
    mixed: SharedSeed,
}

impl KeyHash {
    pub(crate) fn with_seed(seed: u64) -> Self {
        KeyHash { seed, mixed: SharedSeed::from_u64(seed) }
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
        let mut hasher = FoldHasher::with_seed(self.seed, &self.mixed);
        hasher.write(key);
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const KEYS: u64 = 10_000;

    /// The numbers that come of a seed, as anyone can compute them.
    fn mixed(seed: u64) -> Vec<[u8; 8]> {
        let shown = format!("{:?}", SharedSeed::from_u64(seed));
        let numbers = shown.split(|letter: char| !letter.is_ascii_digit()).filter_map(|digits| digits.parse().ok());
        numbers.map(u64::to_ne_bytes).collect()
    }

    /// Keys of 16 and of 24 bytes, all different, each with a factor of zero in every product under the seed `known`.
    fn made_to_collide(known: u64) -> [Vec<Vec<u8>>; 2] {
        let mixed = mixed(known);
        let numbers = 0..KEYS;
        [
            numbers.clone().map(|number| [number.to_ne_bytes(), mixed[1]].concat()).collect(),
            numbers.map(|number| [number.to_ne_bytes(), mixed[0], mixed[0]].concat()).collect(),
        ]
    }

    /// Once part of the seed was fixed, so that the keys of one program's attack collided in every store: each GET among
    /// 10,000 of them compared them all.
    #[test]
    fn keys_made_to_collide_under_a_known_seed_do_not_under_another() {
        let distinct =
            |hasher: &KeyHash, keys: &[Vec<u8>]| keys.iter().map(|key| hasher.hash(key)).collect::<HashSet<_>>().len();
        for known in [0x6b76_5f68_6173_685f, 1, u64::MAX] {
            for keys in made_to_collide(known) {
                assert_eq!(distinct(&KeyHash::with_seed(known), &keys), 1, "the attack works where the seed is known");
                for _ in 0..10 {
                    let unknown = KeyHash::with_seed(KeyHash::random_seed());
                    assert_eq!(distinct(&unknown, &keys) as u64, KEYS);
                }
            }
        }
    }

    #[test]
    fn two_stores_have_two_seeds() {
        assert_ne!(KeyHash::random_seed(), KeyHash::random_seed());
    }
}
