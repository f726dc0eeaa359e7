//! Fetch: reads what will be needed before it is, so that its memory is on its way. Invariant: nothing here waits for a
//! lock, compares a key, or changes anything but what is in the processor's cache.

use super::Shard;
use crate::table::entry::Entry;

/// As many cache lines of an entry are worth fetching; the processor sees for itself where a longer one goes on.
const LINES: usize = 4;

/// Reads a byte of each of the first cache lines, and the last byte, so that their memory is on its way.
#[inline]
pub(crate) fn touch(bytes: &[u8]) -> u8 {
    let last = bytes.last().copied().unwrap_or(0);
    bytes.iter().step_by(64).take(LINES).fold(last, |sum, byte| sum ^ byte)
}

impl Shard {
    /// Reads the slot in which the table looks first, before the control bytes that tell which one it is have arrived:
    /// in a large table one miss then hides behind the other.
    #[inline]
    pub(super) fn reach(&self, hash: u64) {
        let first = hash as usize & self.table.num_buckets().wrapping_sub(1);
        std::hint::black_box(matches!(self.table.get_bucket(first), Some(Entry::Packed(_))));
    }

    /// The bytes of the entry that the hash probably stands for. Compares no keys: that would wait for their memory.
    #[inline]
    pub(crate) fn near(&self, hash: u64) -> &[u8] {
        self.reach(hash);
        self.table.iter_hash(hash).next().map_or(&[], Entry::near)
    }

    /// Reads a byte of each entry in the next `buckets` buckets, so that their memory is on its way all at once instead
    /// of one after the other when the entries are looked at.
    pub(crate) fn warm(&self, from: usize, buckets: usize) {
        let until = from.saturating_add(buckets).min(self.table.num_buckets());
        let sum = (from..until)
            .filter_map(|bucket| self.table.get_bucket(bucket))
            .fold(0, |sum, entry| sum ^ touch(entry.near()));
        std::hint::black_box(sum);
    }
}
