//! Candidates: which entries of a shard may be removed to make room, and what the shard adds to the store's totals.
//! Invariant: what is found by its bucket is looked at again, under the lock, before it is removed.

use super::Shard;
use crate::hash::KeyHash;
use crate::table::access::AccessTime;
use crate::table::entry::Entry;
use crate::table::limits::Policy;
use crate::table::stamps::{Stamp, Stamps};

/// A shard's part of the store's totals.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Published {
    pub(crate) entries: usize,
    pub(crate) bytes: usize,
}

/// How much a shard holds more than its part of the totals says.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Growth {
    pub(crate) entries: i64,
    pub(crate) bytes: i64,
}

/// By what entries are compared.
pub(crate) struct Ranking {
    pub(crate) policy: Policy,
    pub(crate) needs_deadline: bool,
    /// The newest number of the access sequence.
    pub(crate) newest: u64,
    /// The length of S3-FIFO's small queue.
    pub(crate) small_queue: u64,
    pub(crate) now: AccessTime,
}

/// An entry that was found by its bucket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub(crate) bucket: usize,
    pub(crate) epoch: u16,
    /// The lower, the sooner it goes.
    pub(crate) rank: u64,
    pub(crate) stamp: Option<Stamp>,
}

/// An entry whose deadline is looked at, which lies apart from the table.
const DEADLINE_COST: u64 = 8;
/// For S3-FIFO: entries that have passed through the small queue go first, then those of the main queue, then what has just
/// come.
const QUEUE_SHIFT: u32 = 60;
const PASSED_SMALL: u64 = 0;
const IN_MAIN: u64 = 1 << QUEUE_SHIFT;
const IN_SMALL: u64 = 2 << QUEUE_SHIFT;
/// A rank by frequency has the number of the last access below it.
const FREQUENCY_SHIFT: u32 = 48;
/// What an entry is taken for that was never used since its use is counted.
const FREQUENCY_UNKNOWN: u8 = 0;

impl Shard {
    /// How much the shard holds more than was published.
    pub(crate) fn growth(&self) -> Growth {
        let more = |now: usize, then: usize| (now as i64).wrapping_sub(then as i64);
        let Published { entries, bytes } = self.published;
        Growth { entries: more(self.len(), entries), bytes: more(self.bytes(), bytes) }
    }

    /// As [`growth`](Self::growth), which from now on is from here.
    pub(crate) fn publish(&mut self) -> Growth {
        let growth = self.growth();
        self.published = Published { entries: self.len(), bytes: self.bytes() };
        growth
    }

    /// Frees a table that has no entries left: a limit on memory must not be used up by such tables.
    pub(crate) fn free_if_empty(&mut self) {
        if self.table.is_empty() && self.is_allocated() {
            drop(self.clear());
        }
    }

    pub(crate) fn buckets(&self) -> usize {
        self.table.num_buckets()
    }

    /// The entry in a bucket.
    pub(crate) fn in_bucket(&self, bucket: usize) -> Option<&Entry> {
        self.table.get_bucket(bucket)
    }

    fn stamps(&self) -> Option<&Stamps> {
        self.access.as_ref()?.stamps()
    }

    pub(crate) fn stamps_mut(&mut self) -> Option<&mut Stamps> {
        self.access.as_mut()?.stamps_mut()
    }

    pub(crate) fn has_ghost(&self) -> bool {
        self.stamps().is_some_and(Stamps::has_ghost)
    }

    /// Keeps old stamps of `count` buckets from one on from looking young.
    pub(crate) fn refresh_stamps(&self, from: usize, count: usize) {
        self.stamps().into_iter().for_each(|stamps| stamps.refresh(from, count));
    }

    /// Whether any entry can be a candidate.
    pub(crate) fn has_candidates(&self, ranking: &Ranking) -> bool {
        if ranking.needs_deadline { self.with_deadline > 0 } else { !self.table.is_empty() }
    }

    /// What it takes to look at the deadlines of the entries in `count` buckets, if that must be done.
    pub(crate) fn cost_of_deadlines(&self, count: usize, ranking: &Ranking) -> u64 {
        if ranking.needs_deadline { count.min(self.len()) as u64 * DEADLINE_COST } else { 0 }
    }

    /// Offers the entries in `count` buckets from `from` on, over the table's end to its beginning; returns how many there
    /// were.
    pub(crate) fn find_candidates(
        &self,
        from: usize,
        count: usize,
        ranking: &Ranking,
        offer: &mut dyn FnMut(Found),
    ) -> usize {
        let buckets = self.table.num_buckets();
        if !self.has_candidates(ranking) {
            return 0;
        }
        let mut entries = 0;
        for offset in 0..count.min(buckets) {
            let bucket = (from + offset) % buckets;
            let Some(entry) = self.table.get_bucket(bucket) else { continue };
            entries += 1;
            if let Some(found) = self.rank(bucket, entry, ranking) {
                offer(found);
            }
        }
        entries
    }

    /// `None` for an entry that may not be removed.
    fn rank(&self, bucket: usize, entry: &Entry, ranking: &Ranking) -> Option<Found> {
        let deadline = if ranking.needs_deadline { Some(entry.deadline()?) } else { None };
        let stamp = self.stamps().and_then(|stamps| stamps.get(bucket));
        let number = stamp.map_or(0, |stamp| stamp.number(ranking.newest));
        let rank = match ranking.policy {
            Policy::None => return None,
            Policy::Random => 0,
            Policy::NearestDeadline => deadline.map_or(u64::MAX, |deadline| deadline.as_ms()),
            Policy::Lru | Policy::Lrm => number,
            Policy::Lfu => {
                let usage = self.access.as_ref().and_then(|access| access.usage(bucket, ranking.now).frequency);
                (u64::from(usage.unwrap_or(FREQUENCY_UNKNOWN)) << FREQUENCY_SHIFT) | (number % (1 << FREQUENCY_SHIFT))
            }
            Policy::S3Fifo => {
                let queue = match stamp {
                    Some(stamp) if stamp.is_in_main() => IN_MAIN,
                    Some(_) if ranking.newest.saturating_sub(number) < ranking.small_queue => IN_SMALL,
                    _ => PASSED_SMALL,
                };
                queue | (number % (1 << QUEUE_SHIFT))
            }
        };
        Some(Found { bucket, epoch: self.epoch, rank, stamp })
    }

    /// Whether entries have changed their buckets since one was found.
    pub(crate) fn has_moved(&self, found: &Found) -> bool {
        found.epoch != self.epoch
    }

    /// The entry that was found, if nothing has happened to it since and it [has not moved](Self::has_moved).
    pub(crate) fn found(&self, found: &Found, ranking: &Ranking) -> Option<&Entry> {
        let entry = self.table.get_bucket(found.bucket)?;
        let now = self.rank(found.bucket, entry, ranking)?;
        let unchanged = match (found.stamp, now.stamp) {
            (Some(then), Some(now)) => now.is_in_place_of(then),
            _ => found.rank == now.rank,
        };
        unchanged.then_some(entry)
    }

    /// With S3-FIFO, whether the entry that was found was accessed in its queue: then it stays, at the end of the main one.
    pub(crate) fn requeue(&self, found: &Found) -> bool {
        let Some(stamps) = self.stamps() else { return false };
        let Some(stamp) = stamps.get(found.bucket).filter(|stamp| stamp.accesses() > 0) else { return false };
        let left = if stamp.is_in_main() { stamp.accesses() - 1 } else { 0 };
        stamps.requeue(found.bucket, left);
        true
    }

    /// Takes out the entry in a bucket, whose hash is `hash`.
    pub(crate) fn take_at(&mut self, hasher: &KeyHash, bucket: usize, hash: u64, remember: bool) -> Option<Entry> {
        if remember && let Some(stamps) = self.stamps_mut().filter(|stamps| stamps.is_small(bucket)) {
            stamps.remember(hash);
        }
        let (entry, _) = self.table.get_bucket_entry(bucket).ok()?.remove();
        self.entry_bytes -= entry.bytes();
        self.count_deadlines(entry.deadline(), None);
        self.free_if_empty();
        self.shrink(hasher);
        Some(entry)
    }
}
