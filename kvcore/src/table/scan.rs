//! Scan: looking over a whole keyspace, step by step or at once. Invariant: a key that is there from a scan's first step
//! to its last is shown at least once, however the table grows or shrinks meanwhile.

use crate::error::Result;
use crate::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use crate::value::ValueRef;

/// Looks over a whole keyspace; on a keyspace handle shard by shard, inside a transaction at one moment.
///
/// ```
/// use kvcore::hooks::Scan;
/// let db = kvcore::Db::in_memory();
/// db.set("key", "value")?;
/// let mut keys = Vec::new();
/// db.for_each(&mut |key, _value| keys.push(key.to_vec()))?;
/// assert_eq!((keys, db.random_key()?), (vec![b"key".to_vec()], Some(b"key".to_vec())));
/// # Ok::<(), kvcore::Error>(())
/// ```
pub trait Scan {
    /// Returns how many keys there are; one that has expired counts until it is swept.
    fn len(&self) -> u64;

    /// Returns whether there is no key.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Shows about `at_least` keys from `cursor` on and returns where to go on. Start with [`Cursor::START`] and stop
    /// when that [is the end](Cursor::is_end). A key may be shown more than once.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`](crate::Error::Closed), [`Error::Reentered`](crate::Error::Reentered).
    fn scan_step(&self, cursor: Cursor, at_least: usize, each: &mut dyn FnMut(&[u8], ValueRef<'_>)) -> Result<Cursor>;

    /// Shows every live key exactly once, each shard as it is at one moment. `each` must not call the store.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`](crate::Error::Closed), [`Error::Reentered`](crate::Error::Reentered).
    fn for_each(&self, each: &mut dyn FnMut(&[u8], ValueRef<'_>)) -> Result<()>;

    /// Returns some key, each about as likely as the others; `None` if there is none.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`](crate::Error::Closed), [`Error::Reentered`](crate::Error::Reentered).
    fn random_key(&self) -> Result<Option<Vec<u8>>>;
}

/// Where a scan over a shard stands.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub(crate) struct ShardPosition {
    pub(crate) bucket: usize,
    pub(crate) epoch: u16,
    pub(crate) restarted: bool,
}

/// Where a scan stands. As a number it is less than 2^53, so that every client can carry it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Cursor(u64);

/// An epoch has twelve bits, so that it fits into a scan's cursor.
pub(crate) const EPOCH_BITS: u32 = 12;

const BUCKET_BITS: u32 = 28;
const RESTARTED_AT: u32 = BUCKET_BITS + EPOCH_BITS;
const SHARD_AT: u32 = RESTARTED_AT + 1;

impl Cursor {
    /// Before the first key.
    pub const START: Cursor = Cursor(0);

    /// Returns whether the scan is over.
    ///
    /// ```
    /// use kvcore::hooks::{Cursor, Scan};
    /// let db = kvcore::Db::in_memory();
    /// db.set("key", "value")?;
    /// let mut cursor = Cursor::START;
    /// loop {
    ///     cursor = db.scan_step(cursor, 10, &mut |key, _value| assert_eq!(key, b"key"))?;
    ///     if cursor.is_end() {
    ///         break;
    ///     }
    /// }
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    pub const fn is_end(self) -> bool {
        self.0 == 0
    }

    /// Returns the cursor as a number.
    ///
    /// ```
    /// use kvcore::hooks::Cursor;
    /// assert_eq!(Cursor::START.get(), 0);
    /// ```
    pub const fn get(self) -> u64 {
        self.0
    }

    fn new(shard: usize, position: ShardPosition) -> Self {
        let bucket = (position.bucket as u64).min((1 << BUCKET_BITS) - 1);
        Cursor(
            bucket
                | u64::from(position.epoch) << BUCKET_BITS
                | u64::from(position.restarted) << RESTARTED_AT
                | (shard as u64) << SHARD_AT,
        )
    }

    fn parts(self) -> (usize, ShardPosition) {
        let position = ShardPosition {
            bucket: (self.0 & ((1 << BUCKET_BITS) - 1)) as usize,
            epoch: (self.0 >> BUCKET_BITS) as u16 % (1 << EPOCH_BITS),
            restarted: self.0 >> RESTARTED_AT & 1 == 1,
        };
        ((self.0 >> SHARD_AT) as usize, position)
    }
}

impl From<u64> for Cursor {
    fn from(number: u64) -> Self {
        Cursor(number)
    }
}

impl From<Cursor> for u64 {
    fn from(cursor: Cursor) -> Self {
        cursor.0
    }
}

/// Mostly empty tables are crossed in steps, too: of so many buckets for each key that is wanted.
pub(crate) const BUCKETS_A_KEY: usize = 10;

/// Looks at one shard from a place on, for at most so many buckets, counting what it shows; returns where to go on, or
/// `None` at the shard's end.
pub(crate) type ShardScan<'a> = dyn FnMut(usize, ShardPosition, usize, &mut usize) -> Option<ShardPosition> + 'a;

/// One step of a scan over `shards` shards.
pub(crate) fn step(cursor: Cursor, at_least: usize, shards: usize, look: &mut ShardScan<'_>) -> Cursor {
    let (mut shard, mut position) = cursor.parts();
    let at_least = at_least.max(1);
    let budget = at_least.saturating_mul(BUCKETS_A_KEY);
    let mut shown = 0;
    while shard < shards {
        match look(shard, position, budget, &mut shown) {
            Some(position) => return Cursor::new(shard, position),
            None => (shard, position) = (shard + 1, ShardPosition::default()),
        }
        if shown >= at_least && shard < shards {
            return Cursor::new(shard, position);
        }
    }
    Cursor::START
}

/// Which entry of a shard is looked at.
#[derive(Clone, Copy)]
pub(crate) enum Pick {
    /// The one in this bucket, which may be empty or not there.
    Bucket(usize),
    /// The one that so many others come before.
    Nth(usize),
    /// The first that has not expired.
    Live,
}

/// A shard as a random pick finds it.
pub(crate) struct Picked {
    pub(crate) len: usize,
    pub(crate) buckets: usize,
    /// The key of the entry looked at, and whether it has expired.
    pub(crate) entry: Option<(Vec<u8>, bool)>,
}

/// So often a bucket is looked at, blindly, before all entries are counted.
const BLIND_TRIES: usize = 64;
/// Expired entries are swept within a tick, as a rule, so a few tries find a live one if there is any to speak of.
const TRIES: usize = 8;

/// Picks a random key: a bucket of a shard, each as likely as the others, and another if nothing is there. (To take the next
/// entry instead would favour those behind empty stretches.) `widest` is kept from call to call: the buckets of the largest
/// shard, of which each is taken to have as many.
pub(crate) fn random(
    shards: usize,
    widest: &AtomicUsize,
    look: &mut dyn FnMut(usize, Pick) -> Picked,
) -> Option<Vec<u8>> {
    let random = || fastrand::usize(..);
    for _ in 0..BLIND_TRIES {
        let (position, buckets) = (random(), widest.load(Relaxed));
        let Some(bucket) = (position / shards).checked_rem(buckets) else { break };
        let picked = look(position % shards, Pick::Bucket(bucket));
        if picked.buckets > buckets {
            widest.fetch_max(picked.buckets, Relaxed);
        }
        if let Some((key, false)) = picked.entry {
            return Some(key);
        }
    }
    // Few keys in many places, or smaller tables than before: they are counted.
    for _ in 0..TRIES {
        let counted: Vec<Picked> = (0..shards).map(|shard| look(shard, Pick::Nth(usize::MAX))).collect();
        widest.store(counted.iter().map(|shard| shard.buckets).max().unwrap_or(0), Relaxed);
        let mut nth = random().checked_rem(counted.iter().map(|shard| shard.len).sum())?;
        for (shard, Picked { len, .. }) in counted.iter().enumerate() {
            if nth < *len {
                match look(shard, Pick::Nth(nth)).entry {
                    Some((key, false)) => return Some(key),
                    _ => break,
                }
            }
            nth -= len;
        }
    }
    // Next to none of them is live: the first is as good as any.
    let start = random() % shards;
    (0..shards).find_map(|shard| look((start + shard) % shards, Pick::Live).entry.map(|(key, _)| key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_carries_its_parts_in_53_bits() {
        let position = ShardPosition { bucket: (1 << BUCKET_BITS) - 1, epoch: (1 << EPOCH_BITS) - 1, restarted: true };
        let cursor = Cursor::new(4095, position);
        assert!(cursor.get() < 1 << 53);
        assert_eq!(cursor.parts(), (4095, position));
    }

    #[test]
    fn any_number_is_a_cursor() {
        let mut looks = 0;
        for number in [u64::MAX, 1 << 53, 1 << SHARD_AT, 12345] {
            let next = step(Cursor::from(number), 10, 4, &mut |_, _, _, _| {
                looks += 1;
                None
            });
            assert!(next.is_end());
        }
        assert!(looks <= 8);
    }
}
