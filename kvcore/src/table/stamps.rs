//! Stamps: in which order the entries of a shard were accessed. Invariant: a stamp is never newer than the access sequence,
//! and never so old that the sequence has come round since.
//!
//! A stamp has 32 bits for each bucket of the shard's table: the lowest 29 of a number of the access sequence, which all
//! shards share, and for S3-FIFO the queue that the entry is in and how often it was accessed there. Stamps are kept only
//! while a limit and a policy need them. Written with plain stores, under the shard's lock.

use std::sync::Arc;

use crate::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};

mod ghost;

pub(crate) use ghost::Ghost;

use ghost::GhostClock;

const NUMBER_BITS: u32 = 29;
const NUMBER: u32 = (1 << NUMBER_BITS) - 1;
/// Accesses in the S3-FIFO queue that the entry is in: 0 to 3.
const ACCESSES_SHIFT: u32 = NUMBER_BITS;
const ACCESSES_MAX: u32 = 3;
/// The entry is in the main queue of S3-FIFO.
const MAIN: u32 = 1 << 31;
/// A stamp older than this looks as if it were no older.
const AGE_MAX: u32 = 1 << (NUMBER_BITS - 1);
/// Stamps are refreshed each time the sequence has advanced by this much, long before it comes round.
pub(crate) const REFRESH_EVERY: u64 = 1 << (NUMBER_BITS - 3);
/// The first number: what was accessed before it has room below.
const FIRST: u64 = 1 << NUMBER_BITS;
/// While the order need not be exact, a shard advances the sequence once in so many accesses.
const ACCESSES_AT_ONCE: u32 = 16;

/// How accesses are recorded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Recording {
    /// Each access has a number of its own.
    Exact = 0,
    /// Accesses close to each other share one, so that threads seldom write to the same memory.
    Coarse = 1,
    /// An entry keeps the number of when it came into its queue, and counts accesses.
    Queues = 2,
    /// As the first two, but an entry keeps the number of its last write, and reads have none.
    ExactWrites = 3,
    CoarseWrites = 4,
}

/// The sequence in which the entries of a store are accessed.
pub(crate) struct AccessSequence {
    newest: AtomicU64,
    recording: AtomicU8,
    pub(crate) ghosts: GhostClock,
}

impl AccessSequence {
    pub(crate) fn new() -> Self {
        AccessSequence {
            newest: AtomicU64::new(FIRST),
            recording: AtomicU8::new(Recording::Exact as u8),
            ghosts: GhostClock::default(),
        }
    }

    pub(crate) fn newest(&self) -> u64 {
        self.newest.load(Relaxed)
    }

    /// As so many accesses do.
    #[cfg(test)]
    pub(crate) fn skip(&self, accesses: u64) {
        self.newest.fetch_add(accesses, Relaxed);
    }

    fn advance(&self) -> u64 {
        self.newest.fetch_add(1, Relaxed) + 1
    }

    pub(crate) fn recording(&self) -> Recording {
        match self.recording.load(Relaxed) {
            0 => Recording::Exact,
            1 => Recording::Coarse,
            2 => Recording::Queues,
            3 => Recording::ExactWrites,
            _ => Recording::CoarseWrites,
        }
    }

    pub(crate) fn record(&self, recording: Recording) {
        if self.recording() != recording {
            self.recording.store(recording as u8, Relaxed);
        }
    }

    /// Which refresh of all stamps is due by now, counted from the first.
    pub(crate) fn refreshes(&self) -> u64 {
        self.newest() / REFRESH_EVERY
    }
}

/// What a stamp says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stamp(u32);

impl Stamp {
    /// The number of the access sequence, which is `newest` now.
    pub(crate) fn number(self, newest: u64) -> u64 {
        newest.saturating_sub(u64::from(age(self.0, newest)))
    }

    pub(crate) fn is_in_main(self) -> bool {
        self.0 & MAIN != 0
    }

    pub(crate) fn accesses(self) -> u32 {
        self.0 >> ACCESSES_SHIFT & ACCESSES_MAX
    }

    /// Whether the entry was neither written nor moved since; counting an access does not move it.
    pub(crate) fn is_in_place_of(self, other: Stamp) -> bool {
        self.0 & (MAIN | NUMBER) == other.0 & (MAIN | NUMBER)
    }
}

fn age(stamp: u32, newest: u64) -> u32 {
    ((newest as u32).wrapping_sub(stamp) & NUMBER).min(AGE_MAX)
}

/// The stamps of one shard.
pub(crate) struct Stamps {
    sequence: Arc<AccessSequence>,
    stamps: Box<[AtomicU32]>,
    /// Accesses since the shard last advanced the sequence.
    unnumbered: AtomicU32,
    /// Keys that were removed of late, with S3-FIFO.
    ghost: Option<Ghost>,
}

/// Stamps for a table that has not changed its buckets since an epoch.
pub(crate) struct Prepared {
    pub(crate) stamps: Stamps,
    pub(crate) epoch: u16,
}

impl Stamps {
    /// For a table of so many buckets, none of which was accessed.
    pub(crate) fn new(buckets: usize, sequence: Arc<AccessSequence>) -> Self {
        let oldest = (sequence.newest() as u32).wrapping_sub(AGE_MAX) & NUMBER;
        let stamps = (0..buckets).map(|_| AtomicU32::new(oldest)).collect();
        Stamps { sequence, stamps, unnumbered: AtomicU32::new(0), ghost: None }
    }

    /// For another table in the place of this one, of which nothing has been moved there yet.
    pub(crate) fn emptied(&mut self, buckets: usize) -> Self {
        let ghost = match self.ghost.take() {
            Some(ghost) if !ghost.is_for(buckets) => {
                self.ghost = Some(ghost);
                Some(Ghost::new(buckets))
            }
            ghost => ghost,
        };
        Stamps { ghost, ..Stamps::new(buckets, Arc::clone(&self.sequence)) }
    }

    /// Remembers removed keys from now on, in this ghost if there is none yet; or no longer. Returns a ghost that is not needed.
    pub(crate) fn keep_ghost(&mut self, ghost: Option<Ghost>) -> Option<Ghost> {
        match (&self.ghost, ghost) {
            (Some(_), Some(second)) => Some(second),
            (_, ghost) => std::mem::replace(&mut self.ghost, ghost),
        }
    }

    pub(crate) fn has_ghost(&self) -> bool {
        self.ghost.is_some()
    }

    /// Takes the place of others that were [made of it](Self::emptied), with what they remember.
    pub(crate) fn replace(&mut self, emptied: &mut Stamps) {
        if self.ghost.is_none() {
            self.ghost = emptied.ghost.take();
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.stamps) + self.ghost.as_ref().map_or(0, Ghost::bytes)
    }

    pub(crate) fn get(&self, bucket: usize) -> Option<Stamp> {
        self.stamps.get(bucket).map(|stamp| Stamp(stamp.load(Relaxed)))
    }

    /// Whether the entry in a bucket has not been moved to the main queue of S3-FIFO.
    pub(crate) fn is_small(&self, bucket: usize) -> bool {
        self.get(bucket).is_some_and(|stamp| !stamp.is_in_main())
    }

    pub(crate) fn put(&self, bucket: usize, stamp: Stamp) {
        if let Some(at) = self.stamps.get(bucket) {
            at.store(stamp.0, Relaxed);
        }
    }

    /// Lets the entry in a bucket look as if it had been accessed before all others, so many steps ago.
    pub(crate) fn age_by(&self, bucket: usize, steps: u32) {
        let steps = steps.min(AGE_MAX);
        self.put(bucket, Stamp((self.sequence.newest() as u32).wrapping_sub(steps) & NUMBER));
    }

    /// Records an access of the entry in a bucket.
    #[inline]
    pub(crate) fn access(&self, bucket: usize) {
        let Some(stamp) = self.stamps.get(bucket) else { return };
        match self.sequence.recording() {
            Recording::Exact => stamp.store(self.next(), Relaxed),
            Recording::Coarse => stamp.store(self.next_of_several(), Relaxed),
            Recording::ExactWrites | Recording::CoarseWrites => {}
            Recording::Queues => {
                let old = stamp.load(Relaxed);
                if Stamp(old).accesses() < ACCESSES_MAX {
                    stamp.store(old + (1 << ACCESSES_SHIFT), Relaxed);
                }
            }
        }
    }

    /// Records a write of the entry in a bucket, where that is not an access like others.
    #[inline]
    pub(crate) fn write(&self, bucket: usize) {
        let Some(stamp) = self.stamps.get(bucket) else { return };
        match self.sequence.recording() {
            Recording::ExactWrites => stamp.store(self.next(), Relaxed),
            Recording::CoarseWrites => stamp.store(self.next_of_several(), Relaxed),
            Recording::Exact | Recording::Coarse | Recording::Queues => {}
        }
    }

    /// A number for one access alone.
    fn next(&self) -> u32 {
        self.sequence.advance() as u32 & NUMBER
    }

    /// A number that accesses close to each other share.
    fn next_of_several(&self) -> u32 {
        let unnumbered = self.unnumbered.load(Relaxed) + 1;
        let is_due = unnumbered >= ACCESSES_AT_ONCE;
        self.unnumbered.store(if is_due { 0 } else { unnumbered }, Relaxed);
        let number = if is_due { self.sequence.advance() } else { self.sequence.newest() };
        number as u32 & NUMBER
    }

    /// Records that a new entry is in a bucket.
    pub(crate) fn insert(&mut self, bucket: usize, hash: u64) {
        let number = self.sequence.advance() as u32 & NUMBER;
        let returns = self.sequence.recording() == Recording::Queues
            && self.ghost.as_mut().is_some_and(|ghost| ghost.take(hash, &self.sequence.ghosts));
        self.put(bucket, Stamp(number | if returns { MAIN } else { 0 }));
    }

    /// Moves the entry in a bucket to the end of the main queue, with so many accesses.
    pub(crate) fn requeue(&self, bucket: usize, accesses: u32) {
        let number = self.sequence.newest() as u32 & NUMBER;
        self.put(bucket, Stamp(MAIN | accesses.min(ACCESSES_MAX) << ACCESSES_SHIFT | number));
    }

    /// Remembers the key of an entry that leaves the small queue: if it comes back soon, it goes to the main one.
    pub(crate) fn remember(&mut self, hash: u64) {
        if let Some(ghost) = &mut self.ghost {
            ghost.put(hash, &self.sequence.ghosts);
        }
    }

    /// Writes old ones of `count` stamps from one on anew, before the sequence comes round and makes them look young.
    pub(crate) fn refresh(&self, from: usize, count: usize) {
        let newest = self.sequence.newest();
        for stamp in self.stamps.iter().skip(from).take(count) {
            let old = stamp.load(Relaxed);
            if age(old, newest) >= AGE_MAX {
                stamp.store(old & !NUMBER | (newest as u32).wrapping_sub(AGE_MAX) & NUMBER, Relaxed);
            }
        }
    }
}
