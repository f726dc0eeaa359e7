//! Ghost: the keys that S3-FIFO has removed from a shard of late, as far as there are slots for them. Invariant: a key is found
//! only once, and only until as many keys were removed after it as nine tenths of the store's entries.
//!
//! It may err: about one key in 8,000 is taken for another, by 15 bits of its hash in a set of four slots; and the clock comes
//! round, so that a slot that was filled long ago may look as if it had just been.
//!
//! A table of sets of four slots. A slot holds 16 bits of a hash and 16 of when it was put there, by a clock that all shards
//! share and that counts such keys.

use crate::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

const WAYS: usize = 4;
/// So that a shard of a few entries, which is empty now and then, does not forget.
const SLOTS_MIN: usize = 16;
/// The clock's range is some times what a key is remembered for: a quarter of what 16 bits hold.
const SPAN_BITS: u32 = 14;

/// Counts the keys that were put into any ghost.
#[derive(Default)]
pub(crate) struct GhostClock {
    puts: AtomicU64,
    /// A key is remembered for so many.
    span: AtomicU64,
    /// A slot's time counts 2 to the power of this many.
    shift: AtomicU8,
}

impl GhostClock {
    /// Suits the clock to a store of so many entries.
    pub(crate) fn set_entries(&self, entries: u64) {
        // The main queue has nine tenths of the entries, and the ghost as many keys.
        let span = entries.saturating_sub(entries / 10);
        if self.span.load(Relaxed) != span {
            self.span.store(span, Relaxed);
            let needed = (span.checked_ilog2().map_or(0, |log| log + 1)).saturating_sub(SPAN_BITS) as u8;
            // Seldom: what is remembered gets another age by it.
            let shift = self.shift.load(Relaxed);
            if needed > shift || needed + 2 < shift {
                self.shift.store(needed, Relaxed);
            }
        }
    }

    fn in_slots(&self, puts: u64) -> u16 {
        (puts >> self.shift.load(Relaxed)) as u16
    }

    fn advance(&self) -> u16 {
        self.in_slots(self.puts.fetch_add(1, Relaxed) + 1)
    }

    fn now(&self) -> u16 {
        self.in_slots(self.puts.load(Relaxed))
    }

    fn span(&self) -> u16 {
        self.in_slots(self.span.load(Relaxed))
    }
}

pub(crate) struct Ghost {
    slots: Box<[u32]>,
}

fn fingerprint(hash: u64) -> u16 {
    // Not 0, which with a time of 0 would look like an empty slot.
    (hash >> 48) as u16 | 1
}

impl Ghost {
    pub(crate) fn new(buckets: usize) -> Self {
        let slots = buckets.max(SLOTS_MIN).next_multiple_of(WAYS);
        Ghost { slots: vec![0; slots].into_boxed_slice() }
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

    /// How long ago a slot was filled.
    fn age(slot: u32, now: u16) -> u16 {
        now.wrapping_sub(slot as u16)
    }

    /// Notes that a key is removed.
    pub(crate) fn put(&mut self, hash: u64, clock: &GhostClock) {
        let now = clock.advance();
        let filled = u32::from(fingerprint(hash)) << 16 | u32::from(now);
        let oldest =
            self.set(hash).iter_mut().max_by_key(|slot| if **slot == 0 { u16::MAX } else { Self::age(**slot, now) });
        if let Some(slot) = oldest {
            *slot = filled;
        }
    }

    /// Whether a key was removed of late. It is forgotten.
    pub(crate) fn take(&mut self, hash: u64, clock: &GhostClock) -> bool {
        let (now, span, wanted) = (clock.now(), clock.span(), fingerprint(hash));
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
    fn keys_are_known_for_about_as_many_removals_as_the_store_has_entries() {
        for (entries, shards) in [(100, 1), (10_000, 1), (100_000, 1), (300, 256), (30_000, 256)] {
            let (clock, state) = (GhostClock::default(), RandomState::new());
            clock.set_entries(entries as u64);
            let mut ghosts: Vec<Ghost> = (0..shards).map(|_| Ghost::new(entries * 8 / 7 / shards)).collect();
            let hashes: Vec<u64> = (0..3 * entries as u64).map(|i| state.hash_one(i)).collect();
            let shard = |hash: u64| hash as usize % shards;
            hashes.iter().for_each(|hash| ghosts[shard(*hash)].put(*hash, &clock));
            let found = |ghosts: &mut [Ghost], keys: &[u64]| {
                keys.iter().filter(|hash| ghosts[shard(**hash)].take(**hash, &clock)).count()
            };
            let strangers: Vec<u64> = (0..entries as u64).map(|i| state.hash_one(u64::MAX - i)).collect();
            assert!(found(&mut ghosts, &strangers) <= 2 + entries / 1000);
            assert!(found(&mut ghosts, &hashes[..2 * entries]) <= 1 + entries / 1000, "{entries}: forgotten");
            let late = &hashes[3 * entries - entries / 2..];
            let known = found(&mut ghosts, late);
            assert!(known >= late.len() * 4 / 5, "{entries} in {shards}: {known} of {} known", late.len());
            assert!(found(&mut ghosts, late) <= 1 + entries / 1000, "{entries}: each is found once");
        }
    }
}
