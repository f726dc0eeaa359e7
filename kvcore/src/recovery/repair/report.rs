//! What a repair did, or would do. Invariant: everything that is no longer in the store is named.

use std::fmt;
use std::path::PathBuf;

use super::aside::date;
use crate::log::segment::segment_id;
use crate::lsn::Lsn;
use crate::recovery::check::{Contents, FileReport, Inspection};
use crate::recovery::salvage::{Salvaged, SomeKeys, Used, Way};

/// What [`Options::repair`](crate::Options::repair) did.
#[derive(Debug)]
#[non_exhaustive]
pub struct Repair {
    /// The store as it was found.
    pub found: Inspection,
    /// The folder in the store's directory where the files are that were changed or removed, under their names; `None`
    /// if nothing was done.
    pub set_aside: Option<PathBuf>,
    /// The names of these files.
    pub files: Vec<String>,
    /// What the store holds now; `None` if nothing it holds was damaged, and its time was right.
    pub kept: Option<Kept>,
    /// What it no longer holds.
    pub dropped: Vec<Dropped>,
    /// How the store's time was set, if it was.
    pub time: Option<TimeReset>,
}

/// What [`Options::repair_with`](crate::Options::repair_with) would do.
#[derive(Debug)]
#[non_exhaustive]
pub struct RepairPlan {
    /// The store as it was found.
    pub found: Inspection,
    /// What would be kept of it up to the first damage; `None` if nothing that it holds would be written anew.
    pub plain: Option<RepairWay>,
    /// What would be kept of it by [`RepairOptions::salvage`](crate::RepairOptions::salvage).
    pub salvage: Option<RepairWay>,
    /// Whether a plain repair would stop with [`Error::RepairDropsMost`](crate::Error::RepairDropsMost).
    pub plain_stops: bool,
    /// Whether [`RepairOptions::salvage`](crate::RepairOptions::salvage) would stop with that error: it keeps nothing.
    pub salvage_stops: bool,
    /// The files that would be set aside.
    pub files: Vec<String>,
    /// How the store's time would be set, if it would.
    pub time: Option<TimeReset>,
}

/// What one way of repair would do.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RepairWay {
    /// What the store would hold.
    pub kept: Kept,
    /// What it would no longer hold.
    pub dropped: Vec<Dropped>,
}

/// What a repaired store holds.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Kept {
    /// Keys that have not expired.
    pub keys: u64,
    /// The snapshot it was taken from.
    pub snapshot: Option<String>,
    /// Keys in that, as far as it was good.
    pub snapshot_entries: u64,
    /// Transactions that were replayed from the log over it.
    pub replayed: u64,
    /// All changes up to here, unless it [`is_partial`](Self::is_partial) or has [`gaps`](Self::gaps).
    pub up_to: Lsn,
    /// The newest change that any file mentions: those from `up_to` to here are lost, or may be.
    pub newest: Lsn,
    /// Parts of the snapshot, or all there was before the log, are lost. What is there is right, but keys are missing.
    pub is_partial: bool,
    /// The snapshot was taken while others wrote, and the log does not reach its end: some keys are as they were at
    /// different moments after `up_to`, and a transaction of that time may be there in part.
    pub is_mixed: bool,
    /// The first and the last transaction of each part of the log that is missing before `up_to`.
    pub gaps: Vec<(Lsn, Lsn)>,
    /// Keys of which only a part is known, and which were left out: after a gap there was a change of a part of the
    /// value, or of the deadline, and what it was made to stands in the gap.
    pub left_out: SomeKeys,
    /// Keys that are as they were before a gap: what is missing there may have changed or removed them.
    pub possibly_stale: SomeKeys,
    /// Keys that are as they were at some moment between the snapshot's start and its end: it was taken while others
    /// wrote, and a change of a part of the value, or of the deadline, may be in what it holds or not.
    pub mixed_keys: SomeKeys,
    /// Keyspaces called as they were before a gap, or by their numbers, where the snapshot's list of names is lost: if
    /// they were exchanged in what is missing, each has the other's name.
    pub unsure_names: Vec<String>,
}

/// How a store's time was set back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct TimeReset {
    /// From this time, in Unix milliseconds.
    pub from_ms: u64,
    /// To this time: that of the wall clock.
    pub to_ms: u64,
    /// Keys that were removed because they had expired by the old time.
    pub expired: u64,
}

impl fmt::Display for TimeReset {
    /// Writes both times in UTC: `from 2100-01-01T00:00:00Z to 2026-11-25T22:47:13Z`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "from {} to {}", utc(self.from_ms), utc(self.to_ms))
    }
}

/// Returns a time as people write it.
fn utc(ms: u64) -> String {
    let date = date(ms);
    // The year may have more than four digits.
    let (year, rest) = date.split_at(date.len() - "0115T080000Z".len());
    let parts = [(0, "-"), (2, "-"), (4, ""), (5, ""), (7, ":"), (9, ":")].map(|(at, before)| (before, &rest[at..]));
    let lens = [2, 2, 1, 2, 2, 3];
    let parts = parts.iter().zip(lens).map(|((before, rest), len)| format!("{before}{}", &rest[..len]));
    format!("{year}{}", parts.collect::<String>())
}

/// What a store lost of one file.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Dropped {
    /// The file's name; it is in the folder that was set aside.
    pub file: String,
    /// How many bytes of it were not used.
    pub bytes: u64,
    /// The first and the last transaction in them, as far as that can be told.
    pub lsns: Option<(Lsn, Lsn)>,
    /// Why, or what it was.
    pub why: String,
}

pub(super) fn kept(salvaged: &Salvaged, keys: u64) -> Kept {
    Kept {
        keys,
        snapshot: salvaged.base.snapshot.clone(),
        snapshot_entries: salvaged.base.entries,
        replayed: salvaged.replayed.count,
        up_to: salvaged.reached,
        newest: salvaged.newest,
        is_partial: salvaged.base.is_partial,
        is_mixed: !salvaged.is_one_moment,
        gaps: salvaged.replayed.gaps.clone(),
        left_out: salvaged.replayed.left_out.clone(),
        possibly_stale: salvaged.replayed.possibly_stale.clone(),
        mixed_keys: salvaged.replayed.mixed_keys.clone(),
        unsure_names: salvaged.replayed.unsure_names.clone(),
    }
}

/// What was not used of each file.
pub(super) fn dropped(found: &Inspection, salvaged: &Salvaged) -> Vec<Dropped> {
    let mut dropped = Vec::new();
    for file in &found.files {
        match file.contents {
            Contents::Segment(report) => {
                let start = salvaged.base.start;
                let last = Lsn::new(report.first.get().saturating_add(report.transactions).saturating_sub(1));
                let used = segment_id(&file.name).and_then(|id| Some((id, salvaged.used.get(&id)?)));
                match used {
                    Some((id, used)) => drop_holes(file, report.good_bytes, (id, used), salvaged, &mut dropped),
                    // What the snapshot stands for, or nothing.
                    None if file.flaw.is_none() && (last <= start || report.frames == 0) => {}
                    None if report.frames == 0 => dropped.push(drop_of(file, 0, None, "nothing in it could be used")),
                    None if last <= start => dropped.push(drop_of(file, 0, None, "the snapshot holds what was in it")),
                    None => {
                        let lsns = (report.transactions > 0).then_some((report.first, last));
                        dropped.push(drop_of(file, 0, lsns, "what comes before it in the log is missing"));
                    }
                }
            }
            Contents::Snapshot(_) => {
                let is_base = salvaged.base.snapshot.as_ref() == Some(&file.name);
                if is_base && salvaged.base.is_partial {
                    let why = "keys are missing that stood here in the snapshot";
                    let bytes = salvaged.base.lost_bytes;
                    dropped.push(Dropped { bytes, ..drop_of(file, 0, None, why) });
                } else if !is_base && file.flaw.is_some() {
                    dropped.push(drop_of(file, 0, None, "the snapshot could not be used"));
                }
            }
            Contents::Manifest(_) if file.flaw.is_some() => {
                dropped.push(drop_of(file, 0, None, "it was written anew"));
            }
            _ => {}
        }
    }
    dropped
}

/// What lies before, between and behind the used pieces of a segment.
fn drop_holes(
    file: &FileReport,
    good_bytes: u64,
    (id, used): (u64, &Used),
    salvaged: &Salvaged,
    dropped: &mut Vec<Dropped>,
) {
    let between = |next: Lsn, first: Lsn| (next < first).then(|| (next, Lsn::new(first.get() - 1)));
    let (mut at, mut next) = (used.begins, used.first);
    for piece in &used.pieces {
        if piece.from > at {
            let why = format!("it is damaged from byte {at} to byte {}", piece.from);
            let lsns = between(next, piece.first);
            dropped.push(Dropped { file: file.name.clone(), bytes: piece.from - at, lsns, why });
        }
        (at, next) = (piece.to, piece.next);
    }
    let is_damaged_here = match salvaged.way {
        Way::Prefix => file.flaw.is_some(),
        Way::Salvage => used.has_rest || file.flaw.as_ref().is_some_and(|flaw| flaw.offset >= at),
    };
    if at < good_bytes || is_damaged_here {
        let mut later = salvaged.used.range(id + 1..).map(|(_, later)| later.first);
        let lsns = match salvaged.way {
            Way::Prefix => between(salvaged.reached.next(), salvaged.newest.next()),
            Way::Salvage => between(next, later.next().unwrap_or(salvaged.newest.next())),
        };
        dropped.push(drop_of(file, at, lsns, "it is damaged here"));
    }
}

pub(super) fn drop_of(file: &FileReport, used: u64, lsns: Option<(Lsn, Lsn)>, why: &str) -> Dropped {
    let why = file.flaw.as_ref().map_or_else(|| why.to_owned(), |flaw| format!("{why}: {}", flaw.why));
    Dropped { file: file.name.clone(), bytes: file.bytes.map_or(0, |bytes| bytes - used.min(bytes)), lsns, why }
}

#[cfg(test)]
mod tests {
    use super::TimeReset;

    #[test]
    fn times_are_shown_in_utc() {
        let time = TimeReset { from_ms: 4_102_444_800_999, to_ms: 1_800_000_000_000, expired: 0 };
        assert_eq!(time.to_string(), "from 2100-01-01T00:00:00Z to 2027-01-15T08:00:00Z");
        let last = TimeReset { from_ms: u64::MAX, ..time };
        assert_eq!(last.to_string(), "from 584556019-04-03T14:25:51Z to 2027-01-15T08:00:00Z");
    }
}
