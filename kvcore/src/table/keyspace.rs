//! Keyspace: the shards of one. Invariant: a key's shard is a function of its hash alone, and locks of several shards are
//! taken in the order (keyspace id, shard).

use std::sync::Arc;

use crate::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use crate::sync::{CachePadded, RwLock, RwLockReadGuard, RwLockWriteGuard};
use crate::table::shard::Shard;

/// The name of the keyspace that a [`Db`](crate::Db) itself speaks of.
pub(crate) const DEFAULT_KEYSPACE: &str = "0";

pub(crate) struct KeyspaceInner {
    pub(crate) id: u32,
    pub(crate) name: Arc<str>,
    /// The number in the log of what the shards hold. It goes where they go when two spaces exchange them, so it changes
    /// only while all of them are locked and the registry is, too; either lock makes it stand still.
    log_id: AtomicU32,
    /// A reader-writer lock: long looks at a value (`get_with`, snapshots, scans) then do not stop other readers.
    shards: Box<[CachePadded<RwLock<Shard>>]>,
    /// The soonest tick at which any shard's wheel fires; `u64::MAX` for none.
    due: AtomicU64,
    dropped: AtomicBool,
    /// Buckets of the largest shard, as far as random picks have seen.
    pub(crate) widest: AtomicUsize,
}

impl KeyspaceInner {
    /// `shards` is a power of two.
    pub(crate) fn new(id: u32, name: &str, shards: usize) -> Self {
        KeyspaceInner {
            id,
            name: name.into(),
            log_id: AtomicU32::new(id),
            shards: (0..shards).map(|_| CachePadded(RwLock::new(Shard::new()))).collect(),
            due: AtomicU64::new(u64::MAX),
            dropped: AtomicBool::new(false),
            widest: AtomicUsize::new(0),
        }
    }

    #[inline]
    pub(crate) fn log_id(&self) -> u32 {
        self.log_id.load(Ordering::Acquire)
    }

    /// All shards and the registry are locked.
    pub(crate) fn set_log_id(&self, log_id: u32) {
        self.log_id.store(log_id, Ordering::Release);
    }

    pub(crate) fn shard_count(&self) -> usize {
        self.shards.len()
    }

    /// The table uses the hash's lowest and highest bits; the shard comes from between them.
    #[inline]
    pub(crate) fn shard_of(&self, hash: u64) -> usize {
        (hash >> 40) as usize & (self.shards.len() - 1)
    }

    #[inline]
    pub(crate) fn read(&self, shard: usize) -> RwLockReadGuard<'_, Shard> {
        self.shards[shard].0.read()
    }

    #[inline]
    pub(crate) fn write(&self, shard: usize) -> RwLockWriteGuard<'_, Shard> {
        self.shards[shard].0.write()
    }

    /// `None` if that would have to wait.
    #[inline]
    pub(crate) fn try_read(&self, shard: usize) -> Option<RwLockReadGuard<'_, Shard>> {
        self.shards[shard].0.try_read()
    }

    /// `None` if that would have to wait.
    #[inline]
    pub(crate) fn try_write(&self, shard: usize) -> Option<RwLockWriteGuard<'_, Shard>> {
        self.shards[shard].0.try_write()
    }

    /// Looks at one shard after the other. Where the caller runs `inside` a transaction, the shards that this holds are
    /// passed over: waiting for them would be waiting for oneself.
    pub(crate) fn each_shard(&self, inside: bool, mut look: impl FnMut(&Shard)) {
        for CachePadded(shard) in &self.shards {
            let guard = if inside { shard.try_read() } else { Some(shard.read()) };
            guard.as_deref().into_iter().for_each(&mut look);
        }
    }

    pub(crate) fn due(&self) -> u64 {
        self.due.load(Ordering::Acquire)
    }

    /// Notes that a wheel fires at `tick`; returns whether that is sooner than anything known.
    pub(crate) fn note_due(&self, tick: u64) -> bool {
        tick < self.due() && tick < self.due.fetch_min(tick, Ordering::AcqRel)
    }

    /// Looks at every wheel for when it fires: for a space filled other than by commits.
    pub(crate) fn find_due(&self) {
        for shard in 0..self.shard_count() {
            if let Some(tick) = self.read(shard).next_tick() {
                self.note_due(tick);
            }
        }
    }

    /// Forgets when wheels fire: whoever calls this looks at every wheel next and notes what it finds.
    pub(crate) fn forget_due(&self) {
        self.due.store(u64::MAX, Ordering::Release);
    }

    pub(crate) fn is_dropped(&self) -> bool {
        self.dropped.load(Ordering::Acquire)
    }

    pub(crate) fn set_dropped(&self) {
        self.dropped.store(true, Ordering::Release);
    }
}
