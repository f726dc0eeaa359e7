//! Access statistics: when, or how often, each entry of a shard's table was used. Invariant: there is a slot for each bucket of the table,
//! and what it tells is never later than now.
//!
//! A slot has 16 bits. By recency: seconds for what was used in the last hours, units of 17 minutes for what was not,
//! both as a clock that goes round; slots are renewed before it comes round, and what is older is kept at the
//! oldest it can tell. By frequency: a counter that grows by chance, ever more slowly, and fades with time, as in
//! Redis. Not durable. Written with plain stores, under the shard's lock.

use std::ops::Range;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering::Relaxed};

use crate::table::stamps::Stamps;

/// How much a key is used by transactions, by the clock that [`DbHooks::note_time`](crate::hooks::DbHooks::note_time) advances. Not durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// Seconds since it was read or written last, or since the store was opened; beyond some hours to about 17 minutes,
    /// and at most 194 days. 0 while uses are [counted](crate::hooks::DbHooks::count_accesses).
    pub idle_secs: u32,
    /// While uses are counted: how often it is used, from 0 to 255, if it was used at all. A counter that starts at 5,
    /// grows ever more slowly with each use, and fades: by [`LfuCounter`](crate::hooks::LfuCounter).
    pub frequency: Option<u8>,
}

/// How the counter of a key's uses grows and fades.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LfuCounter {
    /// A counter grows once in this many uses for each step it is above its first value. More than 65,535 is as much.
    pub factor: u32,
    /// A counter loses one each time that so many minutes have passed; never if 0. More than 32,767 is as much.
    pub decay_minutes: u32,
}

/// As in Redis (`lfu-log-factor`, `lfu-decay-time`).
impl Default for LfuCounter {
    fn default() -> Self {
        LfuCounter { factor: 10, decay_minutes: 1 }
    }
}

/// A time, and what is taken note of; nothing, before somebody has told the time.
///
/// The lowest 32 bits are seconds. The others are 0 unless uses are counted: then one is set, and above it are 16 bits
/// of the counter's factor and 15 of its decay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct AccessTime(u64);

const BY_FREQUENCY: u64 = 1 << 32;
const FACTOR_SHIFT: u32 = 33;
const DECAY_SHIFT: u32 = 49;
/// The greatest decay that has room.
const DECAY_MAX: u32 = (1 << 15) - 1;
/// In a slot: its clock counts [`OLD_UNIT_SECS`].
const OLD: u16 = 1 << 15;
/// Both clocks of recency come round after so many units.
const RING: u32 = 1 << 15;
/// About 17 minutes.
const OLD_UNIT_SECS: u32 = 1 << 10;
/// Uses no older than this (4.5 hours) are told to the second.
const RECENT_SECS_MAX: u32 = RING / 2;
/// The oldest use that is told of: 194 days ago.
const OLD_SECS_MAX: u32 = RING / 2 * OLD_UNIT_SECS;
/// Slots are renewed after so many seconds, well before a clock has come round.
const RENEW_EVERY_SECS: u64 = 3600;
/// The first second a store knows, so far from 0 that all that can be told of lies after it.
const FIRST_SECS: u32 = OLD_SECS_MAX + RECENT_SECS_MAX;
/// How often an entry counts as used when it has just been made.
const FREQUENCY_FIRST: u8 = 5;
/// What is not known about an entry.
const UNKNOWN: u16 = 0;

impl AccessTime {
    /// Nothing is taken note of.
    pub(crate) const NONE: AccessTime = AccessTime(0);

    /// `secs` after the store was opened.
    pub(crate) fn after_secs(secs: u32, counter: Option<LfuCounter>) -> AccessTime {
        let counter = counter.map_or(0, |LfuCounter { factor, decay_minutes }| {
            let (factor, decay) = (factor.min(u16::MAX.into()), decay_minutes.min(DECAY_MAX));
            BY_FREQUENCY | u64::from(factor) << FACTOR_SHIFT | u64::from(decay) << DECAY_SHIFT
        });
        AccessTime(u64::from(FIRST_SECS.saturating_add(secs)) | counter)
    }

    /// For an atomic.
    pub(crate) fn bits(self) -> u64 {
        self.0
    }

    pub(crate) fn from_bits(bits: u64) -> AccessTime {
        AccessTime(bits)
    }

    #[inline]
    pub(crate) fn is_none(self) -> bool {
        self == AccessTime::NONE
    }

    fn secs(self) -> u32 {
        self.0 as u32
    }

    fn is_by_frequency(self) -> bool {
        self.0 & BY_FREQUENCY != 0
    }

    fn factor(self) -> u64 {
        self.0 >> FACTOR_SHIFT & u64::from(u16::MAX)
    }

    /// The time, counted in what it takes a counter to lose one.
    fn decays(self) -> u32 {
        let minutes = (self.0 >> DECAY_SHIFT) as u32;
        (self.secs() / 60).checked_div(minutes).unwrap_or(0)
    }

    /// Another time, with the same taken note of.
    fn at_secs(self, secs: u32) -> AccessTime {
        AccessTime(self.0 & !u64::from(u32::MAX) | u64::from(secs))
    }
}

/// What is known of the entries of one table.
pub(crate) struct AccessStats {
    /// The time at which all slots were renewed last.
    renewed: AtomicU64,
    slots: Box<[AtomicU16]>,
    /// In which order the entries were accessed, while a limit needs that.
    stamps: Option<Stamps>,
}

impl AccessStats {
    /// For a table of so many buckets.
    pub(crate) fn new(buckets: usize, now: AccessTime) -> AccessStats {
        let slots = (0..buckets).map(|_| AtomicU16::new(UNKNOWN)).collect();
        AccessStats { renewed: AtomicU64::new(now.0), slots, stamps: None }
    }

    /// Returns how many buckets the table has.
    pub(crate) fn buckets(&self) -> usize {
        self.slots.len()
    }

    /// For another table in the place of this one's, of which nothing has been [moved](Self::move_from) there yet.
    pub(crate) fn emptied(&mut self, buckets: usize) -> AccessStats {
        let stamps = self.stamps.as_mut().map(|stamps| stamps.emptied(buckets));
        AccessStats { stamps, ..AccessStats::new(buckets, self.renewed()) }
    }

    /// Records the order of accesses in these stamps from now on, or no longer. Returns the stamps before.
    pub(crate) fn keep_order(&mut self, stamps: Option<Stamps>) -> Option<Stamps> {
        std::mem::replace(&mut self.stamps, stamps)
    }

    /// Writes into stamps when the entries in some buckets were used: what is known to the second is a beginning.
    pub(crate) fn fill_order(&self, stamps: &Stamps, buckets: Range<usize>, now: AccessTime) {
        let buckets = buckets.start..buckets.end.min(self.slots.len());
        for bucket in buckets.filter(|bucket| self.get(*bucket) != UNKNOWN) {
            stamps.age_by(bucket, self.usage(bucket, now).idle_secs);
        }
    }

    pub(crate) fn stamps(&self) -> Option<&Stamps> {
        self.stamps.as_ref()
    }

    pub(crate) fn stamps_mut(&mut self) -> Option<&mut Stamps> {
        self.stamps.as_mut()
    }

    /// Since when nothing is older than its slot can tell.
    pub(crate) fn renewed(&self) -> AccessTime {
        AccessTime(self.renewed.load(Relaxed))
    }

    pub(crate) fn bytes(&self) -> usize {
        // A table without memory has one bucket. Nothing counts then: a limit could not be kept by removing entries.
        if self.slots.len() <= 1 {
            return 0;
        }
        size_of::<AccessStats>() + size_of_val(&*self.slots) + self.stamps.as_ref().map_or(0, Stamps::bytes)
    }

    /// Takes over what another table's statistics say of an entry that has moved from there.
    pub(crate) fn move_from(&self, other: &AccessStats, from: usize, to: usize) {
        self.put(to, other.get(from));
        if let (Some(stamps), Some(stamp)) = (&self.stamps, other.stamps.as_ref().and_then(|stamps| stamps.get(from))) {
            stamps.put(to, stamp);
        }
    }

    fn get(&self, bucket: usize) -> u16 {
        self.slots.get(bucket).map_or(UNKNOWN, |slot| slot.load(Relaxed))
    }

    fn put(&self, bucket: usize, slot: u16) {
        if let Some(at) = self.slots.get(bucket) {
            at.store(slot, Relaxed);
        }
    }

    /// Records that a new entry is in a bucket; whatever was there before is forgotten.
    pub(crate) fn insert(&mut self, bucket: usize, hash: u64) {
        self.put(bucket, UNKNOWN);
        if let Some(stamps) = &mut self.stamps {
            stamps.insert(bucket, hash);
        }
    }

    /// Takes note that the entry in a bucket is used now.
    #[inline]
    pub(crate) fn note(&self, bucket: usize, now: AccessTime) {
        self.note_time(bucket, now);
        if let Some(stamps) = &self.stamps {
            stamps.access(bucket);
        }
    }

    /// Records that the entry in a bucket is written, apart from the use that this is.
    #[inline]
    pub(crate) fn note_write(&self, bucket: usize) {
        if let Some(stamps) = &self.stamps {
            stamps.write(bucket);
        }
    }

    /// As [`note`](Self::note), of an entry whose place in the order of accesses is recorded already.
    #[inline]
    pub(crate) fn note_time(&self, bucket: usize, now: AccessTime) {
        if now.0.wrapping_sub(self.renewed.load(Relaxed)) >= RENEW_EVERY_SECS {
            self.renew(now);
        }
        let Some(slot) = self.slots.get(bucket) else { return };
        if now.is_by_frequency() {
            slot.store(count(slot.load(Relaxed), now), Relaxed);
        } else {
            slot.store(recent(now.secs()), Relaxed);
        }
    }

    /// How the entry in a bucket was used; one that never was since the store was opened was not at `first`.
    pub(crate) fn usage(&self, bucket: usize, now: AccessTime) -> Usage {
        if now.0.wrapping_sub(self.renewed.load(Relaxed)) >= RENEW_EVERY_SECS {
            self.renew(now);
        }
        match self.get(bucket) {
            UNKNOWN => Usage { idle_secs: now.secs().saturating_sub(FIRST_SECS), frequency: None },
            slot if now.is_by_frequency() => Usage { idle_secs: 0, frequency: Some(counter(slot, now)) },
            slot => Usage { idle_secs: age(slot, now.secs()), frequency: None },
        }
    }

    /// Lets the entry in a bucket look as if it had been used so.
    pub(crate) fn set_usage(&self, bucket: usize, usage: Usage, now: AccessTime) {
        let secs = now.secs();
        self.put(
            bucket,
            match usage.frequency {
                Some(frequency) if now.is_by_frequency() => counted(frequency, now),
                _ if now.is_by_frequency() => counted(FREQUENCY_FIRST, now),
                _ => aged(usage.idle_secs, secs),
            },
        );
    }

    /// Writes every slot anew, so that its clock is far from coming round; forgets all if something else is noted now.
    #[cold]
    fn renew(&self, now: AccessTime) {
        let renewed = AccessTime(self.renewed.swap(now.0, Relaxed));
        let same = renewed.is_by_frequency() == now.is_by_frequency();
        // Nothing was noted later than this, or the slots would have been renewed then.
        let noted = now.secs().min(renewed.secs().saturating_add(RENEW_EVERY_SECS as u32));
        let since = now.secs() - noted;
        for slot in self.slots.iter().filter(|slot| slot.load(Relaxed) != UNKNOWN) {
            let anew = match slot.load(Relaxed) {
                _ if !same => UNKNOWN,
                old if now.is_by_frequency() => {
                    // Each in its own terms: how a counter fades may have changed between the two.
                    let (then, faded) = (renewed.at_secs(noted), renewed.at_secs(now.secs()));
                    let lost = u8::try_from(faded.decays() - then.decays()).unwrap_or(u8::MAX);
                    counted(counter(old, then).saturating_sub(lost), now)
                }
                old => aged(age(old, noted).saturating_add(since), now.secs()),
            };
            slot.store(anew, Relaxed);
        }
    }
}

/// The slot of what is used at `secs`.
#[inline]
fn recent(secs: u32) -> u16 {
    // The one second in nine hours that would look like nothing known counts as the one before.
    match (secs % RING) as u16 {
        UNKNOWN => (RING - 1) as u16,
        slot => slot,
    }
}

/// The slot of what was used `age` seconds before `now`.
fn aged(age: u32, now: u32) -> u16 {
    if age <= RECENT_SECS_MAX {
        recent(now.saturating_sub(age))
    } else {
        OLD | (now.saturating_sub(age.min(OLD_SECS_MAX)) / OLD_UNIT_SECS % RING) as u16
    }
}

/// How many seconds before `now` it was used.
fn age(slot: u16, now: u32) -> u32 {
    let at = u32::from(slot & !OLD);
    if slot & OLD == 0 {
        now.wrapping_sub(at) % RING
    } else {
        (now / OLD_UNIT_SECS).wrapping_sub(at) % RING * OLD_UNIT_SECS
    }
}

/// The slot of a counter that is `frequency` now.
fn counted(frequency: u8, now: AccessTime) -> u16 {
    match u16::from_le_bytes([frequency, now.decays() as u8]) {
        // A counter of 0 loses nothing by looking older.
        UNKNOWN => u16::from_le_bytes([0, u8::MAX]),
        slot => slot,
    }
}

/// The counter in a slot now.
fn counter(slot: u16, now: AccessTime) -> u8 {
    let [frequency, then] = slot.to_le_bytes();
    frequency.saturating_sub((now.decays() as u8).wrapping_sub(then))
}

/// The slot after one more use.
#[cold]
fn count(slot: u16, now: AccessTime) -> u16 {
    if slot == UNKNOWN {
        return counted(FREQUENCY_FIRST, now);
    }
    let frequency = counter(slot, now);
    let above = u64::from(frequency.saturating_sub(FREQUENCY_FIRST));
    let grows = fastrand::u64(..=above * now.factor()) == 0;
    counted(frequency.saturating_add(u8::from(grows)), now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u32) -> AccessTime {
        AccessTime::after_secs(secs, None)
    }

    fn idle(access: &AccessStats, secs: u32) -> u32 {
        access.usage(0, at(secs)).idle_secs
    }

    #[test]
    fn a_use_is_told_to_the_second_for_hours_and_roughly_for_months() {
        for used in [0, 1, 77, 32_767, 32_768, 65_536, 1_000_000, 40_000_000] {
            for since in [0, 1, 59, 3_599, 3_600, 16_000, 16_384, 20_000, 70_000, 1_000_000, 16_000_000, 100_000_000] {
                for step in [since.max(1), 1_000, 3_600, 5_000, 1_000_000] {
                    let access = AccessStats::new(1, at(used));
                    access.note(0, at(used));
                    let mut now = used;
                    while now < used + since && since / step < 100_000 {
                        now = (now + step).min(used + since);
                        idle(&access, now);
                    }
                    let (told, limit) = (idle(&access, used + since), since.min(OLD_SECS_MAX));
                    let slack = if since < 3_600 { 1 } else { 5 * OLD_UNIT_SECS };
                    assert!(told.abs_diff(limit) <= slack, "used {used}, idle {since}, by {step}: {told}");
                }
            }
        }
    }

    #[test]
    fn what_was_never_used_is_idle_since_the_store_was_opened() {
        let access = AccessStats::new(1, at(0));
        assert_eq!(idle(&access, 50_000_000), 50_000_000);
    }

    #[test]
    fn idleness_can_be_given() {
        let access = AccessStats::new(1, at(5));
        for secs in [0, 1, 1_000, 16_384, 100_000, 10_000_000] {
            access.set_usage(0, Usage { idle_secs: secs, frequency: None }, at(5));
            assert!(idle(&access, 5).abs_diff(secs) <= OLD_UNIT_SECS, "{secs}: {}", idle(&access, 5));
        }
    }

    #[test]
    fn frequency_grows_ever_more_slowly_and_fades() {
        let at = |secs| AccessTime::after_secs(secs, Some(LfuCounter::default()));
        let frequency = |access: &AccessStats, secs| access.usage(0, at(secs)).frequency;
        let access = AccessStats::new(1, at(0));
        assert_eq!(frequency(&access, 0), None);
        access.note(0, at(0));
        assert_eq!(frequency(&access, 0), Some(FREQUENCY_FIRST));
        (0..1_000).for_each(|_| access.note(0, at(0)));
        let often = frequency(&access, 0).unwrap();
        assert!((12..30).contains(&often), "{often}");
        assert_eq!(frequency(&access, 120), Some(often - 2));
        assert_eq!(frequency(&access, 10_000_000), Some(0));
        access.set_usage(0, Usage { idle_secs: 0, frequency: Some(200) }, at(10_000_000));
        assert_eq!(frequency(&access, 10_000_000), Some(200));
        assert_eq!(frequency(&access, 10_000_000 + 100 * 60), Some(100));
    }

    #[test]
    fn a_counter_grows_and_fades_as_it_is_told_to() {
        let of = |factor, decay_minutes| Some(LfuCounter { factor, decay_minutes });
        let used = |counter, times| {
            let access = AccessStats::new(1, AccessTime::after_secs(0, counter));
            (0..times).for_each(|_| access.note(0, AccessTime::after_secs(0, counter)));
            access
        };
        let frequency =
            |access: &AccessStats, secs, counter| access.usage(0, AccessTime::after_secs(secs, counter)).frequency;
        let each = of(0, 1);
        assert_eq!(frequency(&used(each, 100), 0, each), Some(FREQUENCY_FIRST + 99), "every use counts");
        let hardly = of(u32::MAX, 1);
        assert!(frequency(&used(hardly, 100), 0, hardly) <= Some(FREQUENCY_FIRST + 3));
        for (decay, hours, lost) in [(1, 1, 60), (30, 1, 2), (90, 6, 4), (600, 30, 3), (0, 1_000_000, 0)] {
            let counter = of(0, decay);
            let access = used(counter, 100);
            // Looked at each hour, as when it is in use.
            for hour in 0..hours.min(100) {
                let _ = frequency(&access, hour * 3600, counter);
            }
            assert_eq!(frequency(&access, hours * 3600, counter), Some(FREQUENCY_FIRST + 99 - lost), "{decay} minutes");
        }
        // What was counted goes on when its rule is changed.
        let access = used(of(0, 1), 100);
        assert_eq!(frequency(&access, 600, of(0, 10)), Some(FREQUENCY_FIRST + 99 - 10));
        assert_eq!(frequency(&access, 1_200, of(5, 10)), Some(FREQUENCY_FIRST + 99 - 11));
    }

    #[test]
    fn what_was_noted_in_one_way_says_nothing_in_the_other() {
        let access = AccessStats::new(1, at(0));
        access.note(0, at(0));
        let counting = AccessTime::after_secs(9, Some(LfuCounter::default()));
        assert_eq!(access.usage(0, counting).frequency, None);
        access.note(0, counting);
        assert_eq!(idle(&access, 10), 10);
    }
}
