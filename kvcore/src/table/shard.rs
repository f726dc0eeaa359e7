//! Shard: what one lock protects: a table of entries and the wheel of their deadlines. Invariant: the counts of bytes and
//! of entries with a deadline are those of the table, and no entry moves to another bucket without a new epoch and without
//! taking along what is known of its use.

use std::ops::Range;
use std::sync::Arc;

use hashbrown::HashTable;

use crate::hash::KeyHash;
use crate::lsn::Lsn;
use crate::table::access::{AccessStats, AccessTime, Usage};
use crate::table::entry::{Entry, LARGE_VALUE_BYTES};
use crate::table::expiry::{Wheel, tick_at};
use crate::table::scan::{EPOCH_BITS, Pick, Picked, ShardPosition};
use crate::table::stamps::{AccessSequence, Prepared, Stamps};
use crate::value::Deadline;

mod candidates;
mod fetch;

pub(crate) use candidates::{Found, Growth, Published, Ranking};
pub(crate) use fetch::touch;

/// What the table takes for each entry: the slot and its control byte.
const SLOT_BYTES: usize = size_of::<Entry>() + 1;

fn next_epoch(epoch: u16) -> u16 {
    (epoch + 1) % (1 << EPOCH_BITS)
}

/// In this order so that with the lock before it, what every transaction touches shares one cache line.
#[derive(Default)]
#[repr(C)]
pub(crate) struct Shard {
    table: HashTable<Entry>,
    /// The Lsn that must be durable before this shard's state may be revealed.
    last: Lsn,
    /// The soonest tick filed since the sweeper was last told.
    soonest_filed: u64,
    /// How each entry was used, if that is taken note of.
    access: Option<Box<AccessStats>>,
    entry_bytes: usize,
    with_deadline: usize,
    wheel: Option<Box<Wheel>>,
    /// The sum of all deadlines.
    deadlines_ms: u128,
    /// Changes made since the store was opened, by transactions of which this was the first shard. Shards are exchanged
    /// and emptied: only the sum over all of them means anything.
    changes: u64,
    /// Counts the times that entries changed their buckets, so that a scan notices.
    epoch: u16,
    /// The shard's part of the store's totals.
    published: Published,
}

/// How an entry was changed in place, and what it takes to change it back.
pub(crate) enum InPlace {
    /// The value was overwritten by one of the same length; the old one was saved.
    Overwritten { old_deadline: Option<Deadline> },
    /// Bytes of a large value were overwritten or appended; the old ones were saved.
    Range { offset: usize, old_len: usize },
}

impl Shard {
    pub(crate) fn new() -> Self {
        Shard { soonest_filed: u64::MAX, ..Shard::default() }
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// How many entries have not expired; asks the time only if any can have.
    pub(crate) fn live_len(&self, now_ms: &dyn Fn() -> u64) -> usize {
        if self.with_deadline == 0 {
            return self.len();
        }
        let now_ms = now_ms();
        self.iter().filter(|entry| !entry.has_passed(now_ms)).count()
    }

    pub(crate) fn with_deadline(&self) -> usize {
        self.with_deadline
    }

    /// The sum of all deadlines, in Unix milliseconds.
    pub(crate) fn deadlines_ms(&self) -> u128 {
        self.deadlines_ms
    }

    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    #[inline]
    pub(crate) fn count_changes(&mut self, count: u64) {
        self.changes = self.changes.wrapping_add(count);
    }

    /// Keeps the counts of deadlines when one takes the place of another.
    fn count_deadlines(&mut self, old: Option<Deadline>, new: Option<Deadline>) {
        let ms = |deadline: Option<Deadline>| deadline.map_or(0, |deadline| u128::from(deadline.as_ms()));
        self.with_deadline = self.with_deadline + usize::from(new.is_some()) - usize::from(old.is_some());
        self.deadlines_ms = self.deadlines_ms.wrapping_add(ms(new)).wrapping_sub(ms(old));
    }

    /// Whether the table takes memory. One that does not says that it has one bucket.
    fn is_allocated(&self) -> bool {
        self.table.num_buckets() > 1
    }

    /// Bytes of memory that entries, table and wheel take.
    pub(crate) fn bytes(&self) -> usize {
        let buckets = if self.is_allocated() { self.table.num_buckets() } else { 0 };
        self.entry_bytes
            + buckets * SLOT_BYTES
            + self.wheel.as_ref().map_or(0, |wheel| wheel.bytes())
            + self.access.as_ref().map_or(0, |access| access.bytes())
    }

    pub(crate) fn last(&self) -> Lsn {
        self.last
    }

    pub(crate) fn reveals(&mut self, lsn: Lsn) {
        self.last = self.last.max(lsn);
    }

    /// From now on the uses of entries are taken note of.
    #[inline]
    pub(crate) fn record_accesses(&mut self, now: AccessTime) {
        if self.lacks_access_stats(now) {
            self.begin_to_record_accesses(now);
        }
    }

    /// Returns whether uses are to be recorded that this cannot record yet: [`record_accesses`](Self::record_accesses) is due.
    #[inline]
    pub(crate) fn lacks_access_stats(&self, now: AccessTime) -> bool {
        self.access.is_none() && !now.is_none()
    }

    /// Returns whether uses of entries are recorded.
    pub(crate) fn records_accesses(&self) -> bool {
        self.access.is_some()
    }

    /// Takes note of access from now on, in `access`, if nothing else has begun to and they are of this table's size. Returns them
    /// otherwise.
    pub(crate) fn record_accesses_in(&mut self, access: Box<AccessStats>) -> Option<Box<AccessStats>> {
        if self.records_accesses() || access.buckets() != self.table.num_buckets() {
            return Some(access);
        }
        self.access = Some(access);
        None
    }

    #[cold]
    fn begin_to_record_accesses(&mut self, now: AccessTime) {
        self.access = Some(Box::new(AccessStats::new(self.table.num_buckets(), now)));
    }

    /// Records the order of accesses by `sequence` from now on, which begins with what was `prepared`, if nothing has changed
    /// since. Returns how many buckets were looked at.
    pub(crate) fn keep_order(
        &mut self,
        sequence: &Arc<AccessSequence>,
        prepared: Option<Prepared>,
        now: AccessTime,
    ) -> usize {
        self.record_accesses(now);
        let (buckets, epoch) = (self.table.num_buckets(), self.epoch);
        let Some(access) = self.access.as_mut().filter(|access| access.stamps().is_none()) else { return 0 };
        if let Some(prepared) = prepared.filter(|prepared| prepared.epoch == epoch) {
            access.keep_order(Some(prepared.stamps));
            return 0;
        }
        let stamps = Stamps::new(buckets, Arc::clone(sequence));
        access.fill_order(&stamps, 0..buckets, now);
        access.keep_order(Some(stamps));
        buckets
    }

    /// No longer records the order of accesses, and returns what was recorded.
    pub(crate) fn forget_order(&mut self) -> Option<Stamps> {
        self.access.as_mut()?.keep_order(None)
    }

    pub(crate) fn has_order(&self) -> bool {
        self.access.as_ref().is_some_and(|access| access.stamps().is_some())
    }

    /// Writes into stamps of this table what is known of when entries were used.
    pub(crate) fn fill_order(&self, stamps: &Stamps, buckets: Range<usize>, now: AccessTime) {
        self.access.iter().for_each(|access| access.fill_order(stamps, buckets.clone(), now));
    }

    /// Changes when entries change their buckets.
    pub(crate) fn epoch(&self) -> u16 {
        self.epoch
    }

    /// How an entry was used, as far as is known.
    pub(crate) fn usage(&self, hash: u64, key: &[u8], now: AccessTime) -> Usage {
        let bucket = self.table.find_bucket_index(hash, |entry| entry.key() == key);
        self.access.as_ref().zip(bucket).map(|(access, bucket)| access.usage(bucket, now)).unwrap_or_default()
    }

    pub(crate) fn set_usage(&mut self, hash: u64, key: &[u8], usage: Usage, now: AccessTime) {
        let bucket = self.table.find_bucket_index(hash, |entry| entry.key() == key);
        if let (Some(access), Some(bucket)) = (&self.access, bucket) {
            access.set_usage(bucket, usage, now);
        }
    }

    /// The soonest tick filed since this was last asked, if any.
    pub(crate) fn take_soonest_filed(&mut self) -> Option<u64> {
        let tick = std::mem::replace(&mut self.soonest_filed, u64::MAX);
        (tick != u64::MAX).then_some(tick)
    }

    #[inline]
    pub(crate) fn find(&self, hash: u64, key: &[u8]) -> Option<&Entry> {
        self.reach(hash);
        self.table.find(hash, |entry| entry.is_of(key))
    }

    /// As [`find`](Self::find), and takes note that the entry is used now.
    #[inline(always)]
    pub(crate) fn find_to_use(&self, hash: u64, key: &[u8], now: AccessTime) -> Option<&Entry> {
        match &self.access {
            Some(access) if !now.is_none() => {
                self.reach(hash);
                let bucket = self.table.find_bucket_index(hash, |entry| entry.is_of(key))?;
                access.note(bucket, now);
                self.table.get_bucket(bucket)
            }
            _ => self.find(hash, key),
        }
    }

    /// Records that the entry in a bucket is written now; `used`: the use that this is, if it is one of its own.
    #[inline(always)]
    fn note_write(&self, bucket: usize, used: AccessTime) {
        if let Some(access) = &self.access {
            if !used.is_none() {
                access.note(bucket, used);
            }
            access.note_write(bucket);
        }
    }

    /// Notes that an entry has just been made, whatever was known before.
    #[cold]
    pub(crate) fn begin_use(&mut self, hash: u64, key: &[u8], now: AccessTime) {
        let bucket = self.table.find_bucket_index(hash, |entry| entry.key() == key);
        if let (Some(access), Some(bucket)) = (&mut self.access, bucket) {
            access.insert(bucket, hash);
            if !now.is_none() {
                access.note_time(bucket, now);
            }
        }
    }

    /// Puts back an entry that was taken out, and returns the one that it replaces.
    pub(crate) fn put_back(&mut self, hasher: &KeyHash, hash: u64, entry: Entry, now_ms: u64) -> Option<Entry> {
        let changed = self.put(hasher, hash, entry, now_ms, AccessTime::NONE, AccessTime::NONE);
        if changed.is_none() {
            // It may lie in another bucket now: a scan between the two would miss it.
            self.epoch = next_epoch(self.epoch);
        }
        changed
    }

    /// Puts an entry in and returns the one it replaced. `now_ms` only matters for an entry with a deadline. A new entry
    /// is noted as made at `made`; one that replaces another is used at `used`.
    pub(crate) fn put(
        &mut self,
        hasher: &KeyHash,
        hash: u64,
        entry: Entry,
        now_ms: u64,
        made: AccessTime,
        used: AccessTime,
    ) -> Option<Entry> {
        let deadline = entry.deadline();
        self.entry_bytes += entry.bytes();
        let bucket = self.table.find_bucket_index(hash, |other| other.key() == entry.key());
        let old = match bucket.and_then(|bucket| Some((bucket, self.table.get_bucket_mut(bucket)?))) {
            Some((bucket, slot)) => {
                let old = std::mem::replace(slot, entry);
                self.note_write(bucket, used);
                Some(old)
            }
            None => {
                if self.table.len() == self.table.capacity() {
                    self.grow(hasher);
                }
                let bucket = self.table.insert_unique(hash, entry, |entry| hasher.hash(entry.key())).bucket_index();
                if let Some(access) = &mut self.access {
                    access.insert(bucket, hash);
                    if !made.is_none() {
                        access.note_time(bucket, made);
                    }
                }
                None
            }
        };
        let old_deadline = old.as_ref().and_then(Entry::deadline);
        if let Some(old) = &old {
            self.entry_bytes -= old.bytes();
        }
        self.file(hasher, hash, old_deadline, deadline, now_ms);
        old
    }

    pub(crate) fn take(&mut self, hasher: &KeyHash, hash: u64, key: &[u8]) -> Option<Entry> {
        let (entry, _) = self.table.find_entry(hash, |entry| entry.key() == key).ok()?.remove();
        self.entry_bytes -= entry.bytes();
        self.count_deadlines(entry.deadline(), None);
        self.shrink(hasher);
        Some(entry)
    }

    /// Gives memory back once most of the table is empty. Amortized: it takes as many removals to get here again.
    fn shrink(&mut self, hasher: &KeyHash) {
        if self.table.num_buckets() > 64 && self.table.len() * 8 < self.table.num_buckets() {
            if self.access.is_some() {
                self.rebuild(hasher, self.table.len() * 2);
            } else {
                self.table.shrink_to(self.table.len() * 2, |entry| hasher.hash(entry.key()));
            }
            self.epoch = next_epoch(self.epoch);
        }
        if self.with_deadline == 0 {
            self.wheel = None;
        }
    }

    /// Makes room for one more entry.
    #[cold]
    fn grow(&mut self, hasher: &KeyHash) {
        if self.access.is_some() {
            // As the table itself would: what was removed may have left room enough.
            let full = self.table.num_buckets() / 8 * 7;
            let needed = self.table.len() + 1;
            self.rebuild(hasher, if needed * 2 <= full { full } else { needed.max(full + 1) });
        } else {
            self.table.reserve(1, |entry| hasher.hash(entry.key()));
        }
        self.epoch = next_epoch(self.epoch);
    }

    /// Moves the entries, and what is known of their use, to a new table.
    fn rebuild(&mut self, hasher: &KeyHash, capacity: usize) {
        let mut table = HashTable::with_capacity(capacity);
        let Some(access) = &mut self.access else { return };
        let moved = access.emptied(table.num_buckets());
        for bucket in 0..self.table.num_buckets() {
            if let Ok(entry) = self.table.get_bucket_entry(bucket) {
                let (entry, _) = entry.remove();
                let hash = hasher.hash(entry.key());
                let to = table.insert_unique(hash, entry, |entry| hasher.hash(entry.key())).bucket_index();
                moved.move_from(access, bucket, to);
            }
        }
        self.table = table;
        self.access = Some(Box::new(moved));
    }

    /// Overwrites a value by one of the same length without moving anything, and returns the deadline it had; `None` if
    /// that cannot be done.
    #[allow(clippy::too_many_arguments, reason = "what is written, where, when, and how to undo it: all plain values")]
    pub(crate) fn overwrite(
        &mut self,
        hasher: &KeyHash,
        hash: u64,
        key: &[u8],
        value: &[u8],
        deadline: Option<Deadline>,
        now_ms: u64,
        now: AccessTime,
        saved: &mut Vec<u8>,
    ) -> Option<Option<Deadline>> {
        self.reach(hash);
        let bucket = self.table.find_bucket_index(hash, |entry| entry.is_of(key))?;
        let entry = self.table.get_bucket_mut(bucket)?;
        let old_deadline = entry.deadline();
        if !entry.overwrite(value, deadline, saved) {
            return None;
        }
        self.note_write(bucket, now);
        self.file(hasher, hash, old_deadline, deadline, now_ms);
        Some(old_deadline)
    }

    /// Notes that the log has the whole value of a key, which was given to it while this snapshot was written.
    pub(crate) fn set_logged_in(&mut self, hash: u64, key: &[u8], snapshot: u64) {
        if let Some(entry) = self.table.find_mut(hash, |entry| entry.key() == key) {
            entry.set_logged_in(snapshot);
        }
    }

    /// Writes `bytes` at `offset` of a value that is, or by this becomes, large; `None` if there is no such entry or
    /// it stays small.
    pub(crate) fn write_range(
        &mut self,
        hash: u64,
        key: &[u8],
        offset: usize,
        bytes: &[u8],
        now: AccessTime,
        saved: &mut Vec<u8>,
    ) -> Option<InPlace> {
        let bucket = self.table.find_bucket_index(hash, |entry| entry.key() == key)?;
        self.note_write(bucket, now);
        let entry = self.table.get_bucket_mut(bucket)?;
        let old_len = entry.value().len();
        let end = offset + bytes.len();
        if old_len.max(end) < LARGE_VALUE_BYTES {
            return None;
        }
        let before = entry.bytes();
        if matches!(entry, Entry::Packed(_)) {
            let value = entry.value().to_vec();
            *entry = Entry::large(entry.key(), Arc::new(value), entry.deadline());
        }
        let value = entry.large_value_mut()?;
        saved.extend_from_slice(&value[offset.min(old_len)..end.min(old_len)]);
        if end > old_len {
            value.resize(end, 0);
        }
        value[offset..end].copy_from_slice(bytes);
        let after = entry.bytes();
        self.entry_bytes = self.entry_bytes + after - before;
        Some(InPlace::Range { offset, old_len })
    }

    /// Applies a byte range from the log: afterwards the value, if it is there, is `len` bytes long.
    pub(crate) fn replay_range(&mut self, hash: u64, key: &[u8], offset: usize, bytes: &[u8], len: usize) {
        let Some(entry) = self.table.find_mut(hash, |entry| entry.key() == key) else { return };
        let before = entry.bytes();
        if matches!(entry, Entry::Packed(_)) {
            *entry = Entry::large(entry.key(), Arc::new(entry.value().to_vec()), entry.deadline());
        }
        if let Some(value) = entry.large_value_mut() {
            value.resize(len, 0);
            value[offset..offset + bytes.len()].copy_from_slice(bytes);
        }
        self.entry_bytes = self.entry_bytes + entry.bytes() - before;
    }

    /// Takes back what [`overwrite`](Self::overwrite) or [`write_range`](Self::write_range) did.
    pub(crate) fn undo_in_place(&mut self, hash: u64, key: &[u8], what: &InPlace, saved: &[u8]) {
        let Some(entry) = self.table.find_mut(hash, |entry| entry.key() == key) else { return };
        match *what {
            InPlace::Overwritten { old_deadline } => {
                let (deadline, before) = (entry.deadline(), entry.bytes());
                if !entry.overwrite(saved, old_deadline, &mut Vec::new()) {
                    // A range that was written after it, and is undone, has made it a large value.
                    if let Some(value) = entry.large_value_mut() {
                        value.clear();
                        value.extend_from_slice(saved);
                    }
                    entry.set_deadline(old_deadline);
                }
                self.entry_bytes = self.entry_bytes + entry.bytes() - before;
                self.count_deadlines(deadline, old_deadline);
            }
            InPlace::Range { offset, old_len } => {
                let before = entry.bytes();
                if let Some(value) = entry.large_value_mut() {
                    value.truncate(old_len);
                    value[offset.min(old_len)..][..saved.len()].copy_from_slice(saved);
                }
                let after = entry.bytes();
                self.entry_bytes = self.entry_bytes + after - before;
            }
        }
    }

    /// Changes a deadline; returns the one before, or `None` if there is no such entry.
    pub(crate) fn set_deadline(
        &mut self,
        hasher: &KeyHash,
        hash: u64,
        key: &[u8],
        deadline: Option<Deadline>,
        now_ms: u64,
    ) -> Option<Option<Deadline>> {
        let bucket = self.table.find_bucket_index(hash, |entry| entry.key() == key)?;
        // The use that it is was noted when the entry was looked up.
        self.note_write(bucket, AccessTime::NONE);
        let entry = self.table.get_bucket_mut(bucket)?;
        let (old, before) = (entry.deadline(), entry.bytes());
        entry.set_deadline(deadline);
        self.entry_bytes = self.entry_bytes + entry.bytes() - before;
        self.file(hasher, hash, old, deadline, now_ms);
        Some(old)
    }

    /// Counts a deadline that takes the place of another, and files a record for it, unless one that fires early enough is
    /// already there: an entry that had an earlier deadline has its record still, and when that fires the entry is filed
    /// again.
    #[inline(always)]
    fn file(&mut self, hasher: &KeyHash, hash: u64, old: Option<Deadline>, new: Option<Deadline>, now_ms: u64) {
        if old.is_some() || new.is_some() {
            self.file_deadline(hasher, hash, old, new, now_ms);
        }
    }

    fn file_deadline(
        &mut self,
        hasher: &KeyHash,
        hash: u64,
        old: Option<Deadline>,
        new: Option<Deadline>,
        now_ms: u64,
    ) {
        self.count_deadlines(old, new);
        if let Some(new) = new.filter(|new| old.is_none_or(|old| old > *new)) {
            self.file_anew(hasher, hash, new, now_ms);
        }
    }

    fn file_anew(&mut self, hasher: &KeyHash, hash: u64, new: Deadline, now_ms: u64) {
        let wheel = self.wheel.get_or_insert_default();
        self.soonest_filed = self.soonest_filed.min(wheel.file(hash, new.as_ms(), now_ms));
        // Stale records never outnumber live ones by much.
        if wheel.records() > 2 * self.with_deadline + 64 {
            let mut fresh = Wheel::default();
            for entry in &self.table {
                if let Some(deadline) = entry.deadline() {
                    fresh.file(hasher.hash(entry.key()), deadline.as_ms(), now_ms);
                }
            }
            **wheel = fresh;
        }
    }

    /// Handles at most `max` wheel records that are due: removes what has expired, passing each to `expired`, which drops it when
    /// the shard is not locked any more, and files
    /// again what has not. Returns whether more are due now.
    pub(crate) fn sweep(&mut self, hasher: &KeyHash, now_ms: u64, max: usize, expired: &mut dyn FnMut(Entry)) -> bool {
        let now_tick = tick_at(now_ms);
        let Some(mut wheel) = self.wheel.take() else { return false };
        for _ in 0..max {
            let Some(hash) = wheel.take_due(now_tick) else { break };
            let found =
                self.table.find_entry(hash, |entry| entry.deadline().is_some() && hasher.hash(entry.key()) == hash);
            let Ok(occupied) = found else { continue };
            match occupied.get().deadline() {
                Some(deadline) if !deadline.has_passed(now_ms) => {
                    wheel.file(hash, deadline.as_ms(), now_ms);
                }
                _ => {
                    let (entry, _) = occupied.remove();
                    self.entry_bytes -= entry.bytes();
                    self.count_deadlines(entry.deadline(), None);
                    expired(entry);
                }
            }
        }
        let more = wheel.next_tick().is_some_and(|tick| tick <= now_tick);
        self.wheel = Some(wheel);
        self.shrink(hasher);
        more
    }

    /// The next tick at which [`sweep`](Self::sweep) has something to do.
    pub(crate) fn next_tick(&self) -> Option<u64> {
        self.wheel.as_ref()?.next_tick()
    }

    /// Empties the shard and returns what it held.
    pub(crate) fn clear(&mut self) -> Shard {
        let mut emptied = Shard::new();
        emptied.epoch = next_epoch(self.epoch);
        emptied.last = self.last;
        emptied.changes = std::mem::take(&mut self.changes);
        emptied.access = self.access.as_mut().map(|access| Box::new(access.emptied(emptied.table.num_buckets())));
        emptied.published = self.published;
        std::mem::replace(self, emptied)
    }

    /// Puts back what [`clear`](Self::clear) returned.
    pub(crate) fn restore(&mut self, mut cleared: Shard) {
        if let (Some(stamps), Some(emptied)) = (cleared.stamps_mut(), self.stamps_mut()) {
            stamps.replace(emptied);
        }
        let (epoch, changes, published) = (next_epoch(self.epoch), self.changes, self.published);
        *self = cleared;
        (self.epoch, self.changes, self.published) = (epoch, changes, published);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.table.iter()
    }

    /// The entry that is picked, and whether it `has_passed`.
    pub(crate) fn pick(&self, pick: Pick, has_passed: impl Fn(&Entry) -> bool) -> Picked {
        let (len, buckets) = (self.table.len(), self.table.num_buckets());
        let entry = match pick {
            Pick::Bucket(bucket) if bucket < buckets => self.table.get_bucket(bucket),
            Pick::Nth(n) if n < len => self.table.iter().nth(n),
            Pick::Live => self.table.iter().find(|entry| !has_passed(entry)),
            _ => None,
        };
        Picked { len, buckets, entry: entry.map(|entry| (entry.key().to_vec(), has_passed(entry))) }
    }

    /// One step of a scan: shows entries from `position` on, stops after about `budget` buckets or when `each` returns
    /// false, and returns where to go on, or `None` at the end.
    ///
    /// Entries that are there from the scan's start to its end are shown at least once: when buckets have moved since
    /// the last step the shard is scanned again from its start, and when they moved a second time it is shown whole.
    pub(crate) fn scan(
        &self,
        position: ShardPosition,
        budget: usize,
        each: &mut dyn FnMut(&Entry) -> bool,
    ) -> Option<ShardPosition> {
        let buckets = self.table.num_buckets();
        let (mut bucket, mut restarted, mut end) =
            (position.bucket, position.restarted, position.bucket.saturating_add(budget));
        if bucket != 0 && position.epoch != self.epoch {
            bucket = 0;
            end = if restarted { usize::MAX } else { budget };
            restarted = true;
        }
        while bucket < buckets {
            if bucket >= end {
                return Some(ShardPosition { bucket, epoch: self.epoch, restarted });
            }
            let goes_on = self.table.get_bucket(bucket).is_none_or(&mut *each);
            bucket += 1;
            if !goes_on && end != usize::MAX {
                end = bucket;
            }
        }
        None
    }
}
