//! Replay of what is left of a log. Invariant: a record that changes a part of something is applied only to the very value
//! that it was logged for.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use super::each_frame;
use super::log::Piece;
use crate::error::Result;
use crate::log::record::Record;
use crate::log::segment_reader::SegmentReader;
use crate::lsn::Lsn;
use crate::recovery::state::{self, RecoveredState};
use crate::table::keyspace::{DEFAULT_KEYSPACE, KeyspaceInner};

/// Keys that are shown as examples, at most.
const EXAMPLES_MAX: usize = 10;

/// Some keys of a store.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct SomeKeys {
    /// How many there are.
    pub count: u64,
    /// The first few of them in order: the keyspace's name, and the key.
    pub examples: Vec<(String, Vec<u8>)>,
}

/// Keys by their keyspaces' numbers.
#[derive(Default)]
struct Keys(BTreeMap<u32, HashSet<Vec<u8>>>);

impl Keys {
    fn insert(&mut self, keyspace: u32, key: &[u8]) {
        let keys = self.0.entry(keyspace).or_default();
        if !keys.contains(key) {
            keys.insert(key.to_vec());
        }
    }

    fn contains(&self, keyspace: u32, key: &[u8]) -> bool {
        self.0.get(&keyspace).is_some_and(|keys| keys.contains(key))
    }

    fn remove(&mut self, keyspace: u32, key: &[u8]) {
        self.0.get_mut(&keyspace).map(|keys| keys.remove(key));
    }
}

/// What is known of keys that the log has not set, deleted or cleared since the base or the last gap.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Others {
    /// They are as they were at this point of the log.
    AreRight,
    /// They may be as they were later: the base was written while others wrote, and the log does not reach its end.
    MayBeLater,
    /// They may have been changed by what is lost: they are as they were earlier, or nothing is known of them.
    MayBeEarlier,
}

/// What came of a replay.
#[derive(Default)]
pub(crate) struct Replayed {
    /// Transactions.
    pub(crate) count: u64,
    /// What is missing before the last of them.
    pub(crate) gaps: Vec<(Lsn, Lsn)>,
    pub(crate) left_out: SomeKeys,
    pub(crate) possibly_stale: SomeKeys,
    pub(crate) unsure_names: Vec<String>,
    /// Keys that a later change of a part was not made to, because the base may hold a later value.
    pub(crate) mixed_keys: SomeKeys,
}

pub(super) struct Replay<'a> {
    tables: &'a mut RecoveredState,
    /// The base stands for everything up to here.
    start: Lsn,
    next: Lsn,
    others: Others,
    /// Keys that have been set or deleted since the base or the last gap, and keyspaces that have been cleared.
    known: Keys,
    cleared: BTreeSet<u32>,
    /// Keys of which only a part is known.
    left_out: Keys,
    /// Keys of which a change was skipped because they may be as they were later.
    skipped: Keys,
    /// Keyspaces whose names are lost.
    unnamed: BTreeSet<u32>,
    /// Whether the base knows what keyspaces were called.
    names_are_known: bool,
    /// So many keyspaces there were at once.
    spaces_max: usize,
    /// Which transaction has last named a keyspace.
    named: BTreeMap<u32, Lsn>,
    replayed: Replayed,
}

impl<'a> Replay<'a> {
    pub(super) fn over(tables: &'a mut RecoveredState, start: Lsn, others: Others) -> Self {
        Replay {
            spaces_max: tables.spaces.len(),
            tables,
            start,
            next: start.next(),
            others,
            known: Keys::default(),
            cleared: BTreeSet::new(),
            left_out: Keys::default(),
            skipped: Keys::default(),
            unnamed: BTreeSet::new(),
            names_are_known: true,
            named: BTreeMap::new(),
            replayed: Replayed::default(),
        }
    }

    /// Sets which keyspaces of the base have lost their names, and whether the others' are known.
    pub(super) fn names(&mut self, unnamed: BTreeSet<u32>, are_known: bool) {
        (self.unnamed, self.names_are_known) = (unnamed, are_known);
    }

    /// Replays a piece of a segment.
    pub(super) fn piece(&mut self, segment: &mut SegmentReader, piece: &Piece) -> Result<()> {
        segment.seek(piece.from, piece.first);
        segment.len = segment.len.min(piece.to);
        let mut lsn = piece.first;
        each_frame(segment, &mut |header, transactions| {
            self.tables.floor_ms = self.tables.floor_ms.max(header.time_ms);
            for mut records in transactions.iter().copied() {
                if lsn > self.start {
                    if lsn > self.next {
                        self.pass_gap(lsn);
                    }
                    while !records.is_empty() {
                        self.apply(lsn, &state::decode(&mut records)?)?;
                    }
                    self.next = lsn.next();
                    self.replayed.count += 1;
                }
                lsn = lsn.next();
            }
            Ok(())
        })
    }

    pub(super) fn time_is_at_least(&mut self, ms: u64) {
        self.tables.floor_ms = self.tables.floor_ms.max(ms);
    }

    /// All before this transaction is lost, from the next one on.
    fn pass_gap(&mut self, lsn: Lsn) {
        self.replayed.gaps.push((self.next, Lsn::new(lsn.get() - 1)));
        self.others = Others::MayBeEarlier;
        self.known = Keys::default();
        self.cleared.clear();
        // From here on they may be stale, as all others.
        self.skipped = Keys::default();
    }

    fn apply(&mut self, lsn: Lsn, record: &Record<'_>) -> Result<(), &'static str> {
        let keyspace = match *record {
            Record::Set { keyspace, .. }
            | Record::Delete { keyspace, .. }
            | Record::Deadline { keyspace, .. }
            | Record::Range { keyspace, .. }
            | Record::Copy { keyspace, .. }
            | Record::Flush { keyspace }
            | Record::Bind { keyspace, .. }
            | Record::Drop { keyspace } => keyspace,
            Record::Time { .. } => return self.tables.apply(record),
        };
        match record {
            Record::Bind { .. } => {
                self.unnamed.remove(&keyspace);
                self.named.insert(keyspace, lsn);
            }
            Record::Drop { .. } => {
                self.unnamed.remove(&keyspace);
                self.named.remove(&keyspace);
            }
            _ if !self.tables.spaces.contains_key(&keyspace) => {
                self.tables.bind(keyspace, "")?;
                self.unnamed.insert(keyspace);
            }
            _ => {}
        }
        let is_right = self.others == Others::AreRight;
        let applies = match record {
            Record::Range { .. } | Record::Deadline { .. } if is_right => true,
            Record::Copy { .. } => self.may_apply(record),
            _ => (is_right && self.left_out.0.is_empty()) || self.may_apply(record),
        };
        let applied = if applies { self.tables.apply(record) } else { Ok(()) };
        self.spaces_max = self.spaces_max.max(self.tables.spaces.len());
        applied
    }

    /// Notes what this record says all about. Returns whether it may be applied.
    fn may_apply(&mut self, record: &Record<'_>) -> bool {
        match *record {
            Record::Set { keyspace, key, .. } | Record::Delete { keyspace, key } => self.set_known(keyspace, key),
            Record::Flush { keyspace } | Record::Drop { keyspace } => {
                self.cleared.insert(keyspace);
                self.left_out.0.remove(&keyspace);
                self.skipped.0.remove(&keyspace);
            }
            Record::Range { keyspace, key, .. } | Record::Deadline { keyspace, key, .. } => {
                if self.is_known(keyspace, key) {
                    return true;
                }
                if self.others == Others::MayBeEarlier {
                    // What it had before is not what it has now, and what it has now is known in part.
                    self.leave_out(keyspace, key);
                } else {
                    self.skipped.insert(keyspace, key);
                }
                return false;
            }
            Record::Copy { keyspace, key, from_keyspace, from, .. } => {
                let is_known = self.others == Others::AreRight || self.is_known(from_keyspace, from);
                // It may be lost with a part of the base.
                if !is_known || self.tables.value(from_keyspace, from).is_none() {
                    self.leave_out(keyspace, key);
                    return false;
                }
                self.set_known(keyspace, key);
            }
            Record::Bind { .. } | Record::Time { .. } => {}
        }
        true
    }

    /// Returns whether a key is as it was at this point of the log.
    fn is_known(&self, keyspace: u32, key: &[u8]) -> bool {
        self.cleared.contains(&keyspace) || self.known.contains(keyspace, key)
    }

    fn set_known(&mut self, keyspace: u32, key: &[u8]) {
        self.known.insert(keyspace, key);
        self.left_out.remove(keyspace, key);
        self.skipped.remove(keyspace, key);
    }

    /// Removes a key whose value is not known from here on.
    fn leave_out(&mut self, keyspace: u32, key: &[u8]) {
        self.known.remove(keyspace, key);
        self.left_out.insert(keyspace, key);
        // A deletion always makes sense.
        let _ = self.tables.apply(&Record::Delete { keyspace, key });
    }

    /// Names what has no name, and counts.
    pub(super) fn finish(mut self) -> Replayed {
        self.name_the_default();
        self.forget_lost_names();
        self.name_the_unnamed();
        self.replayed.unsure_names = self.unsure_names();
        let mut replayed = std::mem::take(&mut self.replayed);
        for (id, keys) in &self.left_out.0 {
            keys.iter().for_each(|key| self.count(&mut replayed.left_out, *id, key));
        }
        let is_known = |id: u32, key: &[u8]| self.cleared.contains(&id) || self.known.contains(id, key);
        let has_doubts = !replayed.gaps.is_empty() || !self.skipped.0.is_empty();
        for (id, space) in self.tables.spaces.iter().filter(|_| has_doubts) {
            space.each_shard(false, |shard| {
                for entry in shard.iter().filter(|entry| !entry.has_passed(self.tables.floor_ms)) {
                    if !replayed.gaps.is_empty() && !is_known(*id, entry.key()) {
                        self.count(&mut replayed.possibly_stale, *id, entry.key());
                    }
                    if self.skipped.contains(*id, entry.key()) {
                        self.count(&mut replayed.mixed_keys, *id, entry.key());
                    }
                }
            });
        }
        replayed
    }

    /// The names that are right only if no exchange of keyspaces is lost.
    fn unsure_names(&self) -> Vec<String> {
        let gaps = &self.replayed.gaps;
        let last_gap = gaps.last().map(|(_, last)| *last);
        if last_gap.is_none() && self.names_are_known {
            return Vec::new();
        }
        // The only one there is can have been exchanged with one that is made and exchanged in what is missing.
        let missing = gaps.iter().map(|(first, last)| last.get() - first.get() + 1).sum::<u64>();
        if self.names_are_known && missing < 2 && self.spaces_max < 2 {
            return Vec::new();
        }
        let is_sure = |id: &u32| self.named.get(id).is_some_and(|named| last_gap.is_none_or(|last| *named > last));
        let spaces = self.tables.spaces.iter();
        let unsure = spaces.filter(|(id, _)| !is_sure(id) && !self.unnamed.contains(id));
        unsure.map(|(_, space)| space.name.to_string()).collect()
    }

    /// The examples are the first in order, so that the same store has the same ones each time.
    fn count(&self, keys: &mut SomeKeys, keyspace: u32, key: &[u8]) {
        keys.count += 1;
        let name = self.tables.spaces.get(&keyspace).map_or("", |space| &*space.name);
        let place = keys.examples.partition_point(|(other, before)| (other.as_str(), &before[..]) < (name, key));
        if place < EXAMPLES_MAX {
            keys.examples.insert(place, (name.to_owned(), key.to_vec()));
            keys.examples.truncate(EXAMPLES_MAX);
        }
    }

    /// A name means what was last given it. What had it before was dropped, or has another name, and that is lost.
    fn forget_lost_names(&mut self) {
        let mut newest: BTreeMap<&str, (Option<Lsn>, u32)> = BTreeMap::new();
        let spaces = || self.tables.spaces.iter().filter(|(id, _)| !self.unnamed.contains(id));
        for (id, space) in spaces() {
            let named = (self.named.get(id).copied(), *id);
            let newest = newest.entry(&space.name).or_insert(named);
            *newest = named.max(*newest);
        }
        let is_newest = |(id, space): &(&u32, &Arc<KeyspaceInner>)| newest[&*space.name].1 == **id;
        let lost: Vec<u32> = spaces().filter(|space| !is_newest(space)).map(|(id, _)| *id).collect();
        self.unnamed.extend(lost);
    }

    fn is_taken(&self, name: &str) -> bool {
        let mut named = self.tables.spaces.iter().filter(|(id, _)| !self.unnamed.contains(id));
        named.any(|(_, space)| *space.name == *name)
    }

    /// A store makes its default keyspace first of all. It can be exchanged with another, but then both are named: if one
    /// of these names is known, it is not called this.
    fn name_the_default(&mut self) {
        if self.unnamed.contains(&0) && !self.is_taken(DEFAULT_KEYSPACE) {
            self.unnamed.remove(&0);
            // Made here, and nobody else has it; so are those below.
            let _ = self.tables.bind(0, DEFAULT_KEYSPACE);
        }
    }

    fn name_the_unnamed(&mut self) {
        for id in self.unnamed.clone() {
            let mut name = format!("lost-{id}");
            while self.is_taken(&name) {
                name.push('+');
            }
            let _ = self.tables.bind(id, &name);
        }
    }
}
