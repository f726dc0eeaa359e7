//! Ghost: which keys S3-FIFO has removed from a shard of late. Invariant: a key that is found was removed no longer ago than
//! about as many removals as the shard has entries; of two keys in some ten thousand one is taken for the other.
//!
//! A table of sets of four slots. A slot holds 16 bits of a hash and 16 of when it was put there, counted in removals.

const WAYS: usize = 4;
/// So that a shard of a few entries, which is empty now and then, does not forget.
const SLOTS_MIN: usize = 16;

pub(crate) struct Ghost {
    slots: Box<[u32]>,
    removals: u64,
}

fn fingerprint(hash: u64) -> u16 {
    // Not 0, which with a time of 0 would look like an empty slot.
    (hash >> 48) as u16 | 1
}

/// How many removals one step of a slot's time stands for, so that a shard's entries fit into half of its range.
fn unit(entries: usize) -> u64 {
    1 + (entries as u64 >> 14)
}

impl Ghost {
    pub(crate) fn new(buckets: usize) -> Self {
        let slots = buckets.max(SLOTS_MIN).next_multiple_of(WAYS);
        Ghost { slots: vec![0; slots].into_boxed_slice(), removals: 0 }
    }

    /// Whether its size suits a table of so many buckets.
    pub(crate) fn is_for(&self, buckets: usize) -> bool {
        buckets <= self.slots.len() && (self.slots.len() <= 4 * SLOTS_MIN || self.slots.len() <= 8 * buckets)
    }

    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.slots)
    }

    fn set(&mut self, hash: u64) -> &mut [u32] {
        let sets = (self.slots.len() / WAYS).max(1);
        let first = (hash >> 12) as usize % sets * WAYS;
        self.slots.get_mut(first..first + WAYS).unwrap_or_default()
    }

    /// How long ago a slot was filled, in units.
    fn age(slot: u32, now: u16) -> u16 {
        now.wrapping_sub(slot as u16)
    }

    /// Notes that a key is removed from a shard of so many entries.
    pub(crate) fn put(&mut self, hash: u64, entries: usize) {
        self.removals += 1;
        let now = (self.removals / unit(entries)) as u16;
        let filled = u32::from(fingerprint(hash)) << 16 | u32::from(now);
        let oldest =
            self.set(hash).iter_mut().max_by_key(|slot| if **slot == 0 { u16::MAX } else { Self::age(**slot, now) });
        if let Some(slot) = oldest {
            *slot = filled;
        }
    }

    /// Whether a key was removed of late. It is forgotten.
    pub(crate) fn take(&mut self, hash: u64, entries: usize) -> bool {
        let unit = unit(entries);
        let (now, wanted) = ((self.removals / unit) as u16, fingerprint(hash));
        // The main queue has nine tenths of the entries, and the ghost as many keys.
        let span = (entries as u64 * 9 / 10 / unit) as u16;
        let is_it = |slot: &&mut u32| (**slot >> 16) as u16 == wanted && Self::age(**slot, now) <= span;
        let found = self.set(hash).iter_mut().find(is_it);
        found.map(|slot| *slot = 0).is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher, RandomState};

    use super::*;

    #[test]
    fn keys_are_known_for_about_as_many_removals_as_there_are_entries() {
        for entries in [4, 100, 10_000, 100_000] {
            let (mut ghost, state) = (Ghost::new(entries * 8 / 7), RandomState::new());
            let hashes: Vec<u64> = (0..3 * entries as u64).map(|i| state.hash_one(i)).collect();
            hashes.iter().for_each(|hash| ghost.put(*hash, entries));
            let found =
                |ghost: &mut Ghost, keys: &[u64]| keys.iter().filter(|hash| ghost.take(**hash, entries)).count();
            let strangers: Vec<u64> = (0..entries as u64).map(|i| state.hash_one(u64::MAX - i)).collect();
            assert!(found(&mut ghost, &strangers) <= 2 + entries / 1000);
            assert!(found(&mut ghost, &hashes[..2 * entries]) <= 1 + entries / 1000, "{entries}: forgotten");
            let late = &hashes[3 * entries - entries / 2..];
            assert!(found(&mut ghost, late) >= late.len() / 2, "{entries}: known");
            assert!(found(&mut ghost, late) <= entries / 1000, "{entries}: each is found once");
        }
    }
}
