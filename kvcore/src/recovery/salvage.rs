//! Salvage: what is provably good in files that recovery refuses. Invariant: nothing is changed on disk; no key gets a
//! value that it never had.
//!
//! - The base is the newest snapshot that is good. If none is, and the log does not begin with the store's first
//!   transaction, it is what blocks are good of the newest that has a good head; to salvage, also of one that has none. If
//!   there is not even that, the log is all there is.
//! - A segment whose header is damaged is used to salvage, if a whole frame proves the salt that the header names, and
//!   the rest of it the store. Its id is that of its name.
//! - The log is replayed over it: [up to the first frame](Way::Prefix) that is not whole or does not follow; or
//!   [all whole frames](Way::Salvage), wherever they stand in the segment that they were written for, as long as their
//!   transactions come later than those before them. What is missing between them is a gap.
//! - If the log has a gap before the end of the snapshot, or ends there, the snapshot holds changes that are later than
//!   what is replayed. A change of a part of a value, or of a deadline, would then perhaps be made to a later value than
//!   its own. It is left out, unless what is left of the log has the whole value from before.
//! - After a gap nobody knows which keys it has changed. One that is set or deleted after it, or whose keyspace is
//!   cleared, is right again. Where only a part of its value or its deadline is changed, it is removed: what it had
//!   before is not what it had then. One that is not spoken of again keeps what it had, and counts as possibly stale.
//! - A keyspace is what has a number in the log. If its name is lost, it is called `lost-` and its number; but what has
//!   number 0, and never had a name that is known, is taken for the default keyspace, as long as no other has that name. A
//!   name that was given again after a gap means what it was given to. All others mean what they did before: if an exchange
//!   of keyspaces is lost, in the gap or with the names of the base, each has the other's name, so such names are told.
//! - Time goes on from the latest that anything was written at.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Error, Result};
use crate::io::disk::Directory;
use crate::log::frame::FrameHeader;
use crate::log::manifest::{Known, Manifest};
use crate::log::record::Record;
use crate::log::segment::segment_name;
use crate::log::segment_reader::SegmentReader;
use crate::lsn::{Lsn, NUMBER_MAX};
use crate::recovery::load::{Listing, Recovered, open_snapshot, read_snapshot};
use crate::recovery::snapshot::{Block, SnapshotReader};
use crate::recovery::state::{LoadMode, RecoveredState, transactions_of};
use log::Log;
use replay::{Others, Replay, Replayed};

mod log;
mod replay;

pub(crate) use log::Used;
pub use replay::SomeKeys;

/// How much of the log is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    /// What comes before the first damage.
    Prefix,
    /// Everything that is whole.
    Salvage,
}

/// What was found, and where.
pub(crate) struct Salvaged {
    pub(crate) way: Way,
    pub(crate) tables: RecoveredState,
    /// The store's id, if any file knows one.
    pub(crate) store: Option<u64>,
    pub(crate) base: Base,
    /// The log was replayed up to here.
    pub(crate) reached: Lsn,
    pub(crate) replayed: Replayed,
    /// What was replayed of each segment.
    pub(crate) used: BTreeMap<u64, Used>,
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
    /// Keyspaces whose names are lost.
    unnamed: BTreeSet<u32>,
    /// What keyspaces were called at `start` is not known.
    names_are_lost: bool,
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
        if let Some(segment) = segment {
            let vote = votes.entry(segment.header.store).or_default();
            *vote = (vote.0 + 1, id);
        }
    }
    for (_, name) in listing.snapshots() {
        if let Ok(SnapshotReader { head, .. }) = SnapshotReader::open(dir, name) {
            votes.entry(head.store).or_default().0 += 1;
        }
    }
    let most = votes.iter().max_by_key(|(_, vote)| **vote).map(|(store, _)| *store);
    listing.manifest = manifest.or(most.map(Manifest::of_store));
    Ok(Identified { listing, known: manifest.map(|manifest| manifest.known), others: votes.into_keys().collect() })
}

/// Opens a segment; to salvage, also one whose header is damaged.
fn segment(listing: &Listing<'_>, id: u64, way: Way) -> Result<SegmentReader> {
    listing.segment(id).or_else(|error| {
        let store = listing.manifest.map(|manifest| manifest.known.store);
        let damaged = (way == Way::Salvage).then(|| SegmentReader::open_damaged(listing.dir, id, store));
        damaged.flatten().ok_or(error)
    })
}

/// Reads what is good.
pub(crate) fn salvage(dir: &dyn Directory, shards: usize, way: Way) -> Result<Salvaged> {
    let Identified { listing, known, others } = identify(dir)?;
    let store = listing.manifest.map(|manifest| manifest.known.store);
    if let (Some(known), false) = (known, others.is_empty())
        && !others.contains(&known.store)
    {
        let why = "its manifest is of one store and all its other files are of another: take away what does not belong \
                   here, the manifest or the others, and repair again";
        return Err(Error::NotRepairable { dir: dir.path().to_owned(), why: why.to_owned() });
    }
    let (mut tables, mut base) = base(&listing, shards, way);
    if way == Way::Salvage && base.snapshot.is_none() {
        // What came before the log is a gap like any other.
        base.start = Lsn::ZERO;
    }
    let log = Log::trace(&listing, base.start, way);
    let is_one_moment = match base.end {
        Some(end) => log.whole_to >= end || base.snapshot.is_none(),
        // What was durable when the snapshot was finished is there, if the log ends where it should.
        None => log.is_whole(&listing, known)?,
    };
    let others = if is_one_moment { Others::AreRight } else { Others::MayBeLater };
    let mut replay = Replay::over(&mut tables, base.start, others);
    replay.names(std::mem::take(&mut base.unnamed), !base.names_are_lost);
    for (&id, used) in &log.used {
        for piece in &used.pieces {
            replay.piece(&mut segment(&listing, id, way)?, piece)?;
        }
    }
    // What was seen to have expired stays so, though the log of that time is lost.
    replay.time_is_at_least(log.latest_ms);
    let replayed = replay.finish();
    let newest = [Some(base.start), base.end, Some(log.newest), known.map(|known| known.durable)]
        .into_iter()
        .flatten()
        .filter(|lsn| lsn.get() <= NUMBER_MAX)
        .max()
        .unwrap_or_default();
    let newest_segment = known.map_or(0, |known| known.newest).min(NUMBER_MAX).max(log.newest_segment);
    let Log { reached, used, .. } = log;
    Ok(Salvaged { way, tables, store, base, reached, replayed, used, is_one_moment, newest, newest_segment })
}

/// What the log is to be replayed over.
fn base(listing: &Listing<'_>, shards: usize, way: Way) -> (RecoveredState, Base) {
    let snapshots = listing.snapshots();
    for (start, name) in snapshots.iter().rev() {
        if let Ok(state) = read_snapshot(listing, name, shards, LoadMode::Entries) {
            let Recovered { tables, snapshot_end, report, .. } = state;
            let (snapshot, end) = (Some((*name).to_owned()), Some(snapshot_end));
            return (
                tables,
                Base { snapshot, start: *start, end, entries: report.snapshot_entries, ..Base::default() },
            );
        }
    }
    let oldest = listing.ids.iter().find_map(|id| segment(listing, *id, way).ok()).map(|oldest| oldest.header.first);
    if oldest != Some(Lsn::ZERO.next())
        && let Some(part) = snapshots.iter().rev().find_map(|(_, name)| part_of(listing, name, shards, way))
    {
        return part;
    }
    let start = oldest.map_or(Lsn::ZERO, |first| Lsn::new(first.get() - 1));
    let is_partial = start > Lsn::ZERO || (oldest.is_none() && !snapshots.is_empty());
    let names_are_lost = start > Lsn::ZERO;
    let base = Base { start, end: Some(start), is_partial, names_are_lost, ..Base::default() };
    (RecoveredState::empty(shards, LoadMode::Entries), base)
}

/// The good blocks of a damaged snapshot. If its head is not good, nothing proves whose it is, or what its keyspaces were
/// called: it is used only to salvage.
fn part_of(listing: &Listing<'_>, name: &str, shards: usize, way: Way) -> Option<(RecoveredState, Base)> {
    let (reader, has_head) = match open_snapshot(listing, name) {
        Ok(reader) => (reader, true),
        Err(_) => SnapshotReader::open_damaged(listing.dir, name)?,
    };
    let is_ours = !has_head || listing.check_store(&reader.path, reader.head.store).is_ok();
    if !is_ours || (way == Way::Prefix && !has_head) {
        return None;
    }
    let mut tables = match has_head {
        true => RecoveredState::of(&reader.head, shards, LoadMode::Entries),
        false => RecoveredState::empty(shards, LoadMode::Entries),
    };
    let mut unnamed = BTreeSet::new();
    let (start, end_of_head, len) = (Lsn::new(reader.head.start), reader.at(), reader.len);
    let (mut given_bytes, mut good_bytes) = (0, 0);
    let foot = reader.read_what_is_there(&mut |block| {
        given_bytes += block.len();
        let keyspaces = if has_head { BTreeSet::new() } else { keyspaces_of(&block) };
        for id in keyspaces {
            if !tables.spaces.contains_key(&id) && tables.bind(id, "").is_ok() {
                unnamed.insert(id);
            }
        }
        if tables.load_block(&block).is_ok() {
            good_bytes += block.len();
        }
    });
    let entries = tables.spaces.values().map(|space| {
        let mut entries = 0;
        space.each_shard(false, |shard| entries += shard.len() as u64);
        entries
    });
    let behind = if foot.is_some() { 0 } else { len.saturating_sub(end_of_head + given_bytes) };
    let lost_bytes = given_bytes - good_bytes + behind + if has_head { 0 } else { end_of_head };
    // Cut between two blocks it has no bytes that are damaged, and no foot.
    let is_partial = lost_bytes > 0 || foot.is_none();
    let base = Base {
        snapshot: Some(name.to_owned()),
        start,
        end: foot.map(|foot| Lsn::new(foot.end)),
        entries: entries.sum(),
        lost_bytes,
        is_partial,
        unnamed,
        names_are_lost: !has_head,
    };
    Some((tables, base))
}

/// The keyspaces of the entries in a block; none if it is not good.
fn keyspaces_of(block: &Block) -> BTreeSet<u32> {
    let mut keyspaces = BTreeSet::new();
    let mut records = block.records().unwrap_or_default();
    while let Ok(Record::Set { keyspace, .. }) = Record::decode(&mut records) {
        keyspaces.insert(keyspace);
    }
    keyspaces
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

#[cfg(test)]
mod tests;
