//! Salvage: what is provably good in files that recovery refuses. Invariant: nothing is changed on disk; no key gets a
//! value that it never had; what is kept is everything before the first damage, over a good snapshot if there is one.
//!
//! - The base is the newest snapshot that is good. If none is, and the log does not begin with the store's first
//!   transaction, it is what blocks are good of the newest that has a good head. If there is not even that, the log is
//!   all there is: then names of keyspaces may be missing, and such a keyspace is called `lost-` and its number.
//! - The log is replayed over it up to the first frame that is not whole or does not follow.
//! - If that is before the end of the snapshot, the snapshot holds changes that are later than the last one of the log. A
//!   change of a part of a value, or of a deadline, would then perhaps be made to a later value than its own. It is left
//!   out, unless what is left of the log has the whole value from before.
//! - Time goes on from the latest that anything was written at.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::disk::Directory;
use crate::error::{Error, Result};
use crate::frame::FrameHeader;
use crate::lsn::{Lsn, NUMBER_MAX};
use crate::manifest::{Known, Manifest};
use crate::record::Record;
use crate::recovery::{self, Listing, Recovered, open_snapshot, read_snapshot};
use crate::segment::segment_name;
use crate::segment_reader::SegmentReader;
use crate::snapshot::SnapshotReader;
use crate::tables::{self, Keep, Tables, transactions_of};

/// What was found, and where.
pub(crate) struct Salvaged {
    pub(crate) tables: Tables,
    /// The store's id, if any file knows one.
    pub(crate) store: Option<u64>,
    pub(crate) base: Base,
    /// The log was replayed up to here.
    pub(crate) reached: Lsn,
    pub(crate) replayed: u64,
    /// Of each segment that was replayed, up to which byte.
    pub(crate) used: BTreeMap<u64, u64>,
    /// Whether all is as it was after `reached`. Otherwise some keys are as they were later.
    pub(crate) is_one_moment: bool,
    /// The newest transaction that any file speaks of.
    pub(crate) newest: Lsn,
    /// No segment has had a greater id.
    pub(crate) newest_segment: u64,
}

/// What the log was replayed over.
#[derive(Default)]
pub(crate) struct Base {
    /// The snapshot's name; `None` if there is none.
    pub(crate) snapshot: Option<String>,
    pub(crate) start: Lsn,
    /// `None`: it is not known.
    end: Option<Lsn>,
    pub(crate) entries: u64,
    /// Bytes of it that are damaged.
    pub(crate) lost_bytes: u64,
    /// What came before the log is not all there.
    pub(crate) is_partial: bool,
}

/// A directory's files, and whose they are.
pub(crate) struct Identified<'a> {
    /// With a manifest that names the store, if anything does.
    pub(crate) listing: Listing<'a>,
    /// What the manifest says, if it can be read.
    known: Option<Known>,
    /// All ids of stores in other files.
    others: BTreeSet<u64>,
}

/// Looks whose files these are: as the manifest says; if it cannot be read, as most of the others say.
pub(crate) fn identify(dir: &dyn Directory) -> Result<Identified<'_>> {
    let mut listing = Listing::names(dir)?;
    let manifest = Manifest::read(dir, &listing.names).unwrap_or_default();
    let mut votes: BTreeMap<u64, (usize, u64)> = BTreeMap::new();
    for &id in &listing.ids {
        let segment = SegmentReader::open(dir, &segment_name(id)).ok();
        if let Some(store) = segment.and_then(|segment| segment.header.store) {
            let vote = votes.entry(store).or_default();
            *vote = (vote.0 + 1, id);
        }
    }
    for (_, name) in listing.snapshots() {
        if let Ok(SnapshotReader { head, .. }) = SnapshotReader::open(dir, name)
            && head.store != 0
        {
            votes.entry(head.store).or_default().0 += 1;
        }
    }
    let most = votes.iter().max_by_key(|(_, vote)| **vote).map(|(store, _)| *store);
    listing.manifest = manifest.or(most.map(Manifest::of_store));
    Ok(Identified { listing, known: manifest.map(|manifest| manifest.known), others: votes.into_keys().collect() })
}

/// Reads what is good.
pub(crate) fn salvage(dir: &dyn Directory, shards: usize) -> Result<Salvaged> {
    let Identified { listing, known, others } = identify(dir)?;
    let store = listing.manifest.map(|manifest| manifest.known.store);
    if let (Some(known), false) = (known, others.is_empty())
        && !others.contains(&known.store)
    {
        let why = "its manifest is of one store and all its other files are of another: take away what does not belong \
                   here, the manifest or the others, and repair again";
        return Err(Error::NotRepairable { dir: dir.path().to_owned(), why: why.to_owned() });
    }
    let (mut tables, base) = base(&listing, shards);
    let log = Log::trace(&listing, base.start);
    let is_one_moment = match base.end {
        Some(end) => log.reached >= end,
        // What was durable when the snapshot was finished is there, if the log ends where it should.
        None => log.is_whole(&listing, known)?,
    };
    let mut replay = Replay {
        tables: &mut tables,
        start: base.start,
        settled: (!is_one_moment).then(HashSet::new),
        unnamed: BTreeSet::new(),
        replayed: 0,
    };
    for (&id, &end) in &log.used {
        let mut segment = listing.segment(id)?;
        segment.len = segment.len.min(end);
        replay.segment(&mut segment)?;
    }
    let replayed = replay.replayed;
    replay.name_the_unnamed();
    // What was seen to have expired stays so, though the log of that time is lost.
    tables.floor_ms = tables.floor_ms.max(log.latest_ms);
    let newest = [Some(base.start), base.end, Some(log.newest), known.map(|known| known.durable)]
        .into_iter()
        .flatten()
        .filter(|lsn| lsn.get() <= NUMBER_MAX)
        .max()
        .unwrap_or_default();
    let newest_segment = known.map_or(0, |known| known.newest).min(NUMBER_MAX).max(log.newest_segment);
    let Log { reached, used, .. } = log;
    Ok(Salvaged { tables, store, base, reached, replayed, used, is_one_moment, newest, newest_segment })
}

/// What the log is to be replayed over.
fn base(listing: &Listing<'_>, shards: usize) -> (Tables, Base) {
    let snapshots = listing.snapshots();
    for (start, name) in snapshots.iter().rev() {
        if let Ok(state) = read_snapshot(listing, name, shards, Keep::Entries) {
            let Recovered { tables, snapshot_end, report, .. } = state;
            let (snapshot, end) = (Some((*name).to_owned()), Some(snapshot_end));
            return (
                tables,
                Base { snapshot, start: *start, end, entries: report.snapshot_entries, ..Base::default() },
            );
        }
    }
    let oldest = listing.ids.iter().find_map(|id| listing.segment(*id).ok()).map(|oldest| oldest.header.first);
    if oldest != Some(Lsn::ZERO.next())
        && let Some(part) = snapshots.iter().rev().find_map(|(_, name)| part_of(listing, name, shards))
    {
        return part;
    }
    let start = oldest.map_or(Lsn::ZERO, |first| Lsn::new(first.get() - 1));
    let is_partial = start > Lsn::ZERO || (oldest.is_none() && !snapshots.is_empty());
    (Tables::empty(shards, Keep::Entries), Base { start, end: Some(start), is_partial, ..Base::default() })
}

/// The good blocks of a damaged snapshot.
fn part_of(listing: &Listing<'_>, name: &str, shards: usize) -> Option<(Tables, Base)> {
    let reader = open_snapshot(listing, name).ok()?;
    let tables = Tables::of(&reader.head, shards, Keep::Entries);
    let (start, end_of_head, len) = (Lsn::new(reader.head.start), reader.at(), reader.len);
    let mut good_bytes = end_of_head;
    let foot = reader.read_what_is_there(&mut |block| {
        if tables.load_block(&block).is_ok() {
            good_bytes += block.len();
        }
    });
    let entries = tables.spaces.values().map(|space| {
        let mut entries = 0;
        space.each_shard(false, |shard| entries += shard.len() as u64);
        entries
    });
    let base = Base {
        snapshot: Some(name.to_owned()),
        start,
        end: foot.map(|foot| Lsn::new(foot.end)),
        entries: entries.sum(),
        lost_bytes: len - good_bytes,
        is_partial: true,
    };
    Some((tables, base))
}

/// Takes a frame's header and the records of its transactions.
type EachFrame<'a> = &'a mut dyn FnMut(&FrameHeader, &[&[u8]]) -> Result<(), String>;

/// Shows the good frames of a segment, each with its transactions. An error, also one of `each`, is about the frame at
/// [`SegmentReader::at`].
pub(crate) fn each_frame(segment: &mut SegmentReader, each: EachFrame<'_>) -> Result<()> {
    loop {
        let before = (segment.at, segment.expected);
        let Some(frame) = segment.next_frame()? else { return Ok(()) };
        if let Err(why) = transactions_of(&frame).and_then(|transactions| each(&frame.header, &transactions)) {
            (segment.at, segment.expected) = before;
            return Err(segment.corrupt(segment.at, &why));
        }
    }
}

/// How far the log goes on from the base without a gap.
struct Log {
    used: BTreeMap<u64, u64>,
    reached: Lsn,
    newest: Lsn,
    newest_segment: u64,
    /// The latest time in any segment, used or not.
    latest_ms: u64,
}

impl Log {
    fn trace(listing: &Listing<'_>, start: Lsn) -> Log {
        // One file is open at a time: there may be more of them than a process may open.
        let open = |id: u64| listing.segment(id).ok();
        let segments: Vec<(u64, Lsn)> =
            listing.ids.iter().filter_map(|&id| Some((id, open(id)?.header.first))).collect();
        let from = segments.iter().rposition(|(_, first)| *first <= start.next());
        let mut log = Log { used: BTreeMap::new(), reached: start, newest: start, newest_segment: 0, latest_ms: 0 };
        // Where the next segment must begin; `None` after a gap, on which nothing follows.
        let mut expected = from.map(|from| segments[from].1);
        for (i, (id, _)) in segments.into_iter().enumerate() {
            let Some(mut segment) = open(id) else { continue };
            log.newest_segment = log.newest_segment.max(id);
            // Whatever is wrong with a frame, it ends here.
            let _ = each_frame(&mut segment, &mut |header, _| {
                log.latest_ms = log.latest_ms.max(header.time_ms);
                Ok(())
            });
            if from.is_some_and(|from| i >= from) {
                expected = expected.filter(|expected| *expected == segment.header.first).map(|_| segment.expected);
                if let Some(expected) = expected.filter(|expected| expected.get() <= NUMBER_MAX) {
                    log.used.insert(id, segment.at);
                    log.reached = log.reached.max(Lsn::new(expected.get() - 1));
                }
            }
            let (newest, latest_ms) = segment.newest_named().unwrap_or_default();
            if newest.get() <= NUMBER_MAX {
                log.newest = log.newest.max(newest);
            }
            log.latest_ms = log.latest_ms.max(latest_ms);
        }
        log
    }

    /// Whether recovery would find nothing wrong with its end.
    fn is_whole(&self, listing: &Listing<'_>, known: Option<Known>) -> Result<bool> {
        let Some((&id, &at)) = self.used.last_key_value() else { return Ok(false) };
        if listing.ids.last() != Some(&id) || known.is_some_and(|known| known.newest > id) {
            return Ok(false);
        }
        let mut segment = listing.segment(id)?;
        while segment.at < at && segment.next_frame()?.is_some() {}
        Ok(recovery::end(segment, known, &mut Recovered::of(Tables::empty(1, Keep::Nothing))).is_ok())
    }
}

/// Replays what is left of the log.
struct Replay<'a> {
    tables: &'a mut Tables,
    start: Lsn,
    /// Where the base may hold later changes than the log: what the log has said all about.
    settled: Option<HashSet<(u32, Vec<u8>)>>,
    /// Keyspaces whose names are lost.
    unnamed: BTreeSet<u32>,
    replayed: u64,
}

impl Replay<'_> {
    fn segment(&mut self, segment: &mut SegmentReader) -> Result<()> {
        let mut lsn = segment.header.first;
        each_frame(segment, &mut |header, transactions| {
            self.tables.floor_ms = self.tables.floor_ms.max(header.time_ms);
            for mut records in transactions.iter().copied() {
                if lsn > self.start {
                    while !records.is_empty() {
                        self.apply(&tables::decode(&mut records)?)?;
                    }
                    self.replayed += 1;
                }
                lsn = lsn.next();
            }
            Ok(())
        })
    }

    fn apply(&mut self, record: &Record<'_>) -> Result<(), &'static str> {
        let (keyspace, key) = match *record {
            Record::Set { keyspace, key, .. }
            | Record::Delete { keyspace, key }
            | Record::Deadline { keyspace, key, .. }
            | Record::Range { keyspace, key, .. } => (keyspace, Some(key)),
            Record::Flush { keyspace } | Record::Bind { keyspace, .. } | Record::Drop { keyspace } => (keyspace, None),
            Record::Time { .. } => return self.tables.apply(record),
        };
        match record {
            Record::Bind { .. } | Record::Drop { .. } => drop(self.unnamed.remove(&keyspace)),
            _ if !self.tables.spaces.contains_key(&keyspace) => {
                self.tables.bind(keyspace, "")?;
                self.unnamed.insert(keyspace);
            }
            _ => {}
        }
        if let (Some(settled), Some(key)) = (&mut self.settled, key) {
            let place = (keyspace, key.to_vec());
            match record {
                Record::Set { .. } | Record::Delete { .. } => drop(settled.insert(place)),
                _ if !settled.contains(&place) => return Ok(()),
                _ => {}
            }
        }
        self.tables.apply(record)
    }

    fn name_the_unnamed(self) {
        for id in self.unnamed {
            let mut name = format!("lost-{id}");
            while self.tables.spaces.values().any(|space| *space.name == *name) {
                name.push('+');
            }
            // Made here, and nobody else has it.
            let _ = self.tables.bind(id, &name);
        }
    }
}

#[cfg(test)]
mod tests;
