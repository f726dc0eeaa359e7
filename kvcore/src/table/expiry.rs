//! Expiry: a timing wheel of key hashes, one a shard. Invariant: every entry with a deadline has a record that fires no
//! later than the first tick after that deadline.
//!
//! After Varghese and Lauck, "Hashed and Hierarchical Timing Wheels" (1987): near deadlines are filed by the tick, far
//! ones by ever coarser slots, and filed again, finer, when their slot comes. Slots are kept in an ordered map rather
//! than in arrays, so an empty wheel costs nothing and the next deadline is its first key.
//!
//! A record is only the hash: 8 bytes. It may be stale (the key was deleted, or its deadline moved); the shard looks.

use std::collections::BTreeMap;

/// How finely deadlines are told apart when sweeping. Reads are exact to the millisecond.
pub(crate) const TICK_MS: u64 = 50;

/// Slots of one coarseness; the next level's are this many times as wide.
const FAN: u64 = 64;

/// The first tick at which a deadline has certainly passed.
pub(crate) fn tick_after(deadline_ms: u64) -> u64 {
    deadline_ms.div_ceil(TICK_MS)
}

/// The last tick that has begun at `now_ms`.
pub(crate) fn tick_at(now_ms: u64) -> u64 {
    now_ms / TICK_MS
}

#[derive(Default)]
pub(crate) struct Wheel {
    slots: BTreeMap<u64, Vec<u64>>,
    records: usize,
}

impl Wheel {
    /// Files a record that fires at or before `deadline_ms`; returns the tick at which it will.
    pub(crate) fn file(&mut self, hash: u64, deadline_ms: u64, now_ms: u64) -> u64 {
        let (due, now) = (tick_after(deadline_ms), tick_at(now_ms));
        let mut width = 1;
        while due.saturating_sub(now) >= width * FAN && width < u64::MAX / (FAN * FAN) {
            width *= FAN;
        }
        // Rounded down: a coarse slot must come early, so that its records can be filed again in time.
        let slot = due - due % width;
        self.slots.entry(slot).or_default().push(hash);
        self.records += 1;
        slot
    }

    /// The tick of the next slot.
    pub(crate) fn next_tick(&self) -> Option<u64> {
        self.slots.first_key_value().map(|(tick, _)| *tick)
    }

    /// Takes one record whose slot has come at `now_tick`.
    pub(crate) fn take_due(&mut self, now_tick: u64) -> Option<u64> {
        let mut slot = self.slots.first_entry()?;
        if *slot.key() > now_tick {
            return None;
        }
        let hash = slot.get_mut().pop();
        if slot.get().is_empty() {
            slot.remove();
        }
        self.records -= usize::from(hash.is_some());
        hash
    }

    /// How many records are filed, stale ones included.
    pub(crate) fn records(&self) -> usize {
        self.records
    }

    /// Bytes it takes, for memory statistics.
    pub(crate) fn bytes(&self) -> usize {
        self.records * size_of::<u64>() + self.slots.len() * 48
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_fires_early_enough_and_not_before_its_slot() {
        let mut wheel = Wheel::default();
        let now = 1_700_000_000_000;
        let deadlines = [0, 1, 49, 50, 51, 3_199, 3_200, 3_201, 204_800, 13_107_200, 86_400_000_000, u64::MAX / 2];
        for (i, ahead) in deadlines.iter().enumerate() {
            let slot = wheel.file(i as u64, now + ahead, now);
            assert!(slot <= tick_after(now + ahead), "{ahead} ms ahead is filed after its deadline");
            assert!(*ahead < 50 || slot > tick_at(now), "{ahead} ms ahead would fire at once, for ever");
        }
        assert_eq!(wheel.records(), deadlines.len());
        let mut fired = 0;
        while wheel.take_due(u64::MAX).is_some() {
            fired += 1;
        }
        assert_eq!((fired, wheel.records(), wheel.next_tick()), (deadlines.len(), 0, None));
    }

    #[test]
    fn filing_again_at_each_slot_ends_at_the_exact_tick() {
        let (mut wheel, deadline) = (Wheel::default(), 1_700_000_000_000_u64);
        let mut now = deadline - 40 * 86_400_000;
        let mut filings = 0;
        loop {
            let slot = wheel.file(1, deadline, now);
            filings += 1;
            now = slot * TICK_MS;
            assert_eq!(wheel.take_due(slot), Some(1));
            if now >= deadline {
                break;
            }
        }
        assert!(now - deadline < TICK_MS);
        assert!(filings <= 6, "40 days took {filings} filings");
    }
}
