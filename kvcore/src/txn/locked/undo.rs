//! Undo: what a transaction has changed, for the log, for those who are told, and for the way back. Invariant: undone in
//! the opposite order, the changes leave everything as it was.

use std::cell::Cell;
use std::ops::Range;

use super::LockedTxn;
use crate::log::records::Records;
use crate::observer::ChangeKind;
use crate::table::disposal::{DISPOSED_BYTES_MIN, Disposal};
use crate::table::entry::Entry;
use crate::table::shard::{InPlace, Shard};
use crate::value::Deadline;

/// Working memory larger than this is not kept for the next transaction.
const KEPT_BYTES_MAX: usize = 64 * 1024;

/// What was done: its records for the log, and how to undo it.
#[derive(Default)]
pub(crate) struct UndoLog {
    pub(super) records: Records,
    pub(super) changes: Vec<UndoRecord>,
    /// Keys of changes and bytes that were overwritten.
    pub(super) saved: Vec<u8>,
    /// Keys of which the log was given the whole value while a snapshot is written.
    pub(super) logged: Vec<Logged>,
    /// Entries that were removed to make room, or whose change was undone, to be dropped when nothing is locked.
    pub(super) evicted: Vec<Entry>,
    /// Something was replaced, removed, flushed, evicted or undone: there may be values to drop.
    pub(super) has_removed: bool,
    /// By keyspace id, the number in the log of what it holds now. Only those that differ from what others see.
    pub(super) moved: Vec<(u32, u32)>,
}

/// A key of which the log was given the whole value while a snapshot is written.
pub(super) struct Logged {
    /// Index into `held`.
    pub(super) held: usize,
    pub(super) hash: u64,
    pub(super) key: Box<[u8]>,
    pub(super) snapshot: u64,
}

pub(super) struct UndoRecord {
    /// Index into `held`.
    pub(super) held: usize,
    pub(super) hash: u64,
    /// In `saved`.
    pub(super) key: Range<usize>,
    pub(super) kind: ChangeKind,
    pub(super) undo: Undo,
}

pub(super) enum Undo {
    /// Put back what was there, or take away what was not.
    Put(Option<Entry>),
    InPlace(InPlace, Range<usize>),
    Deadline(Option<Deadline>),
    /// Put back a shard that was emptied. The first of a keyspace stands for all of them.
    Flush {
        emptied: Box<Shard>,
        first: bool,
    },
    /// Exchange the shard with this one in `held`, again. The first of a pair of keyspaces stands for all of them.
    Swap {
        with: usize,
        first: bool,
    },
}

thread_local! {
    /// The last transaction's undo log, emptied, for the next one.
    static UNDO_LOG: Cell<Option<Box<UndoLog>>> = const { Cell::new(None) };
}

impl UndoLog {
    /// Lends `run` an empty undo log. What it still holds is dropped after it, when no lock is held any more, or goes to
    /// `disposal`.
    pub(crate) fn lend<R>(disposal: &Disposal, run: impl FnOnce(&mut UndoLog) -> R) -> R {
        // While a thread ends there may be none left, nor a place for them.
        let mut undo_log = UNDO_LOG.try_with(Cell::take).ok().flatten().unwrap_or_default();
        let outcome = run(&mut undo_log);
        if undo_log.has_removed {
            undo_log.dispose(disposal);
        }
        let UndoLog { records, changes, saved, logged, evicted: _, has_removed: _, moved } = &mut *undo_log;
        if !logged.is_empty() {
            logged.clear();
        }
        moved.clear();
        changes.clear();
        records.clear();
        saved.clear();
        if records.capacity() + saved.capacity() + changes.capacity() * size_of::<UndoRecord>() <= KEPT_BYTES_MAX {
            let _ = UNDO_LOG.try_with(|kept| kept.set(Some(undo_log)));
        }
        outcome
    }

    /// Hands over what was removed if that takes long to free.
    fn dispose(&mut self, disposal: &Disposal) {
        self.has_removed = false;
        let bytes = if disposal.is_on() { self.removed_bytes() } else { 0 };
        if bytes >= DISPOSED_BYTES_MIN {
            disposal.free(bytes, (std::mem::take(&mut self.changes), std::mem::take(&mut self.evicted)));
        }
        self.evicted.clear();
    }

    /// Returns what the removed entries take, in bytes.
    fn removed_bytes(&self) -> usize {
        let of_change = |done: &UndoRecord| match &done.undo {
            Undo::Put(Some(old)) => old.bytes(),
            Undo::Flush { emptied, .. } => emptied.bytes(),
            Undo::Put(None) | Undo::InPlace(..) | Undo::Deadline(_) | Undo::Swap { .. } => 0,
        };
        let changed: usize = self.changes.iter().map(of_change).sum();
        changed + self.evicted.iter().map(Entry::bytes).sum::<usize>()
    }
}

impl LockedTxn<'_> {
    #[inline]
    pub(super) fn note(&mut self, held: usize, hash: u64, key: &[u8], kind: ChangeKind, undo: Undo) {
        let at = self.undo_log.saved.len();
        self.undo_log.saved.extend_from_slice(key);
        if matches!(undo, Undo::Put(Some(_)) | Undo::Flush { .. }) {
            self.undo_log.has_removed = true;
        }
        self.undo_log.changes.push(UndoRecord { held, hash, key: at..at + key.len(), kind, undo });
    }

    fn roll_back(&mut self) {
        let hasher = &self.context.hasher;
        self.undo_log.has_removed = true;
        while let Some(UndoRecord { held, hash, key, undo, .. }) = self.undo_log.changes.pop() {
            if let Undo::Swap { with, .. } = undo {
                self.swap_shards(held, with);
                continue;
            }
            let UndoLog { saved: all_saved, evicted: dropped, .. } = &mut *self.undo_log;
            let (key, shard) = (&all_saved[key], &mut self.held[held].guard);
            match undo {
                Undo::Put(Some(entry)) => {
                    dropped.extend(shard.put_back(hasher, hash, entry, self.now_ms.get()));
                }
                Undo::Put(None) => dropped.extend(shard.take(hasher, hash, key)),
                Undo::InPlace(what, saved) => shard.undo_in_place(hash, key, &what, &all_saved[saved]),
                Undo::Deadline(deadline) => {
                    shard.set_deadline(hasher, hash, key, deadline, self.now_ms.get());
                }
                Undo::Flush { emptied, .. } => shard.restore(*emptied),
                Undo::Swap { .. } => {}
            }
        }
    }
}

impl Drop for LockedTxn<'_> {
    fn drop(&mut self) {
        if !self.committed {
            self.roll_back();
            self.publish();
            if self.passed_ms.get() != 0 {
                // Its body has seen that, whatever it does.
                self.context.mark_time(self.passed_ms.get(), self.now());
            }
        }
    }
}
