//! Inspection: what the files of a store are, one by one, and what opening it would do. Invariant: nothing is changed, and
//! the verdict is recovery's own.

use std::io::ErrorKind;
use std::path::Path;

use crate::error::{Error, Result};
use crate::io::disk::Directory;
use crate::io::file_disk::LOCK;
use crate::log::manifest::{MANIFEST, Manifest};
use crate::log::segment::segment_id;
use crate::log::segment_reader::{Rest, SegmentReader};
use crate::lsn::Lsn;
use crate::recovery::load::{self, Listing, UNNAMED, read_snapshot};
use crate::recovery::salvage::{each_frame, identify};
use crate::recovery::snapshot::snapshot_start;
use crate::recovery::state::LoadMode;

/// What the folders are called, with a date behind it, in which [`Options::repair`](crate::Options::repair) leaves files.
pub(crate) const SET_ASIDE: &str = "damaged-";

/// What [`Options::inspect`](crate::Options::inspect) found.
#[derive(Debug)]
#[non_exhaustive]
pub struct Inspection {
    /// Everything in the directory, in the order of names, and what is known to be missing.
    pub files: Vec<FileReport>,
    /// What opening the store would do.
    pub verdict: Verdict,
}

/// What opening a store would do.
#[derive(Debug)]
#[non_exhaustive]
pub enum Verdict {
    /// It opens, with everything that was ever written.
    Opens,
    /// It opens, after cutting what looks like a write that a crash interrupted.
    Cuts {
        /// The log's newest segment.
        file: String,
        /// Where its last good frame ends, in bytes from its start.
        offset: u64,
        /// How many bytes follow there.
        bytes: u64,
    },
    /// It does not open, with this error.
    Refuses(Error),
}

/// One file of a directory.
#[derive(Debug)]
#[non_exhaustive]
pub struct FileReport {
    /// Its name in the directory.
    pub name: String,
    /// Its length; `None` if there is no such file, or it cannot be opened.
    pub bytes: Option<u64>,
    /// What it holds, as far as that is good.
    pub contents: Contents,
    /// What is wrong with it.
    pub flaw: Option<Flaw>,
}

/// What a file holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Contents {
    /// A part of the log.
    Segment(SegmentReport),
    /// A snapshot.
    Snapshot(SnapshotReport),
    /// The manifest.
    Manifest(ManifestReport),
    /// What says who has the directory.
    Lock,
    /// What a crash left of a file that never counted; opening the store removes it.
    Leftover,
    /// A folder with files that a repair has left there.
    SetAside,
    /// Nothing of the store's; it is left alone.
    Foreign,
}

/// What is wrong with a file.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Flaw {
    /// Where, in bytes from its start.
    pub offset: u64,
    /// What it is, and what proves it.
    pub why: String,
    /// Whether the file could not be opened or read: then nothing is known of its bytes.
    pub is_unreadable: bool,
}

/// What a segment holds; all zero if its header is not good.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct SegmentReport {
    /// The Lsn of the first transaction it was made for.
    pub first: Lsn,
    /// Its good frames, seals included.
    pub frames: u64,
    /// Transactions in them, from `first` on.
    pub transactions: u64,
    /// Where the last good frame ends, in bytes from the start of the file.
    pub good_bytes: u64,
    /// How it ends.
    pub end: SegmentEnd,
}

/// How a segment ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum SegmentEnd {
    /// With a seal: all before it was durable when it was written.
    Sealed,
    /// With a frame, after which nothing was written.
    #[default]
    Open,
    /// With something that is no whole frame, and of which nothing in this file proves that it ever was one.
    Torn,
}

/// What a snapshot holds; all zero if it is not good.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct SnapshotReport {
    /// It holds all changes up to here,
    pub start: Lsn,
    /// and some of those from there to here.
    pub end: Lsn,
    /// Keys in it.
    pub entries: u64,
    /// Keyspaces in it.
    pub keyspaces: usize,
}

/// What the manifest holds; all zero if it is not good.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct ManifestReport {
    /// The number of the newest segment.
    pub newest_segment: u64,
    /// The log was durable up to here.
    pub durable: Lsn,
    /// Where one of its two parts is not good, as an interrupted write leaves it; the other is used.
    pub torn_at: Option<u64>,
}

impl Inspection {
    /// Returns whether opening the store succeeds, and no file of it is damaged.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// kvcore::Db::open(dir.path())?.set("key", "value")?;
    /// assert!(kvcore::Options::new().inspect(dir.path())?.is_sound());
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    pub fn is_sound(&self) -> bool {
        !matches!(self.verdict, Verdict::Refuses(_)) && self.files.iter().all(|file| file.flaw.is_none())
    }
}

/// Looks at every file of a directory. The caller keeps others from changing it.
pub(crate) fn inspect(dir: &dyn Directory) -> Result<Inspection> {
    check_is_a_store(dir)?;
    let identified = identify(dir)?;
    let listing = &identified.listing;
    let mut files: Vec<FileReport> = listing.names.iter().map(|name| file(listing, name)).collect();
    let verdict = match load::load(dir, 1, LoadMode::Nothing) {
        Ok(state) => match state.end {
            Some(end) if state.report.cut_bytes > 0 => {
                Verdict::Cuts { file: name_of(&end.path), offset: end.at, bytes: state.report.cut_bytes }
            }
            _ => Verdict::Opens,
        },
        Err(error) => Verdict::Refuses(error),
    };
    let verdict = match files.iter().find(|file| file.contents == Contents::Leftover && file.flaw.is_some()) {
        Some(file) if !matches!(verdict, Verdict::Refuses(_)) => Verdict::Refuses(not_a_file(dir, &file.name)),
        _ => verdict,
    };
    if let Verdict::Refuses(Error::Corrupt { file, offset, why }) = &verdict
        && file != dir.path()
    {
        blame(&mut files, name_of(file), Flaw { offset: *offset, why: why.clone(), is_unreadable: false });
    }
    Ok(Inspection { files, verdict })
}

/// An error if nothing in the directory has a name that a store gives.
pub(crate) fn check_is_a_store(dir: &dyn Directory) -> Result<()> {
    let is_ours = |name: &String| !matches!(nature(name), Nature::SetAside | Nature::Foreign);
    match Listing::names(dir)?.names.iter().any(is_ours) {
        true => Ok(()),
        false => Err(Error::NoStore { dir: dir.path().to_owned() }),
    }
}

/// Writes down what recovery found wrong with a file, where the file by itself looked good or is missing.
fn blame(files: &mut Vec<FileReport>, name: String, flaw: Flaw) {
    match files.iter_mut().find(|file| file.name == name) {
        Some(file) => drop(file.flaw.get_or_insert(flaw)),
        None => {
            let contents = match nature(&name) {
                Nature::Manifest => Contents::Manifest(ManifestReport::default()),
                _ => Contents::Segment(SegmentReport::default()),
            };
            files.push(FileReport { name, bytes: None, contents, flaw: Some(flaw) });
            files.sort_by(|one, other| one.name.cmp(&other.name));
        }
    }
}

/// What a name promises.
pub(crate) enum Nature {
    Segment(u64),
    Snapshot,
    Manifest,
    Lock,
    Leftover,
    SetAside,
    Foreign,
}

pub(crate) fn nature(name: &str) -> Nature {
    match name {
        MANIFEST => Nature::Manifest,
        LOCK => Nature::Lock,
        _ if UNNAMED.contains(&name) => Nature::Leftover,
        _ if name.starts_with(SET_ASIDE) => Nature::SetAside,
        _ if snapshot_start(name).is_some() => Nature::Snapshot,
        _ => segment_id(name).map_or(Nature::Foreign, Nature::Segment),
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn file(listing: &Listing<'_>, name: &str) -> FileReport {
    // What is not the store's is not even opened.
    let is_read = !matches!(nature(name), Nature::Lock | Nature::SetAside | Nature::Foreign);
    let bytes = if is_read { listing.dir.open(name).and_then(|file| file.len()).ok() } else { None };
    let (contents, checked) = match nature(name) {
        Nature::Segment(id) => {
            let mut report = SegmentReport::default();
            let checked = segment(listing, id, &mut report);
            (Contents::Segment(report), checked)
        }
        Nature::Snapshot => {
            let mut report = SnapshotReport::default();
            let checked = snapshot(listing, name, &mut report);
            (Contents::Snapshot(report), checked)
        }
        Nature::Manifest => {
            let mut report = ManifestReport::default();
            let checked = manifest(listing, &mut report);
            (Contents::Manifest(report), checked)
        }
        Nature::Lock => (Contents::Lock, Ok(())),
        Nature::Leftover => (Contents::Leftover, leftover(listing.dir, name)),
        Nature::SetAside => (Contents::SetAside, Ok(())),
        Nature::Foreign => (Contents::Foreign, Ok(())),
    };
    let flaw = checked.err().map(|error| match error {
        Error::Corrupt { offset, why, .. } => Flaw { offset, why, is_unreadable: false },
        error => Flaw { offset: 0, why: error.to_string(), is_unreadable: matches!(error, Error::Io { .. }) },
    });
    FileReport { name: name.to_owned(), bytes, contents, flaw }
}

fn segment(listing: &Listing<'_>, id: u64, report: &mut SegmentReport) -> Result<()> {
    let mut segment = listing.segment(id)?;
    report.first = segment.header.first;
    let mut is_sealed = false;
    let read = each_frame(&mut segment, &mut |header, transactions| {
        report.frames += 1;
        report.transactions += transactions.len() as u64;
        is_sealed = header.count == 0;
        Ok(())
    });
    report.good_bytes = segment.at;
    report.end = if is_sealed { SegmentEnd::Sealed } else { SegmentEnd::Open };
    read?;
    match segment.rest()? {
        Rest::Empty => Ok(()),
        Rest::Unproven(_) => {
            report.end = SegmentEnd::Torn;
            Ok(())
        }
        // Only a seal is damaged.
        Rest::Proven(_) if goes_on(listing, &segment) => {
            report.end = SegmentEnd::Torn;
            Ok(())
        }
        Rest::Proven(at) => {
            report.end = SegmentEnd::Torn;
            Err(segment.corrupt(segment.at, &format!("a frame is damaged, and one at byte {at} proves it was whole")))
        }
    }
}

/// Whether the segment after this one begins where this one's good frames end, so that nothing is lost between them.
fn goes_on(listing: &Listing<'_>, segment: &SegmentReader) -> bool {
    let next = listing.ids.iter().find(|id| **id > segment.header.id);
    next.and_then(|id| listing.segment(*id).ok()).is_some_and(|next| next.header.first == segment.expected)
}

fn snapshot(listing: &Listing<'_>, name: &str, report: &mut SnapshotReport) -> Result<()> {
    let state = read_snapshot(listing, name, 1, LoadMode::Nothing)?;
    *report = SnapshotReport {
        start: state.snapshot_start,
        end: state.snapshot_end,
        entries: state.report.snapshot_entries,
        keyspaces: state.tables.spaces.len(),
    };
    Ok(())
}

fn manifest(listing: &Listing<'_>, report: &mut ManifestReport) -> Result<()> {
    if let Some(Manifest { known, damaged_at, .. }) = Manifest::read(listing.dir, &listing.names)? {
        *report = ManifestReport { newest_segment: known.newest, durable: known.durable, torn_at: damaged_at };
    }
    Ok(())
}

/// What is no file cannot be removed as one.
fn leftover(dir: &dyn Directory, name: &str) -> Result<()> {
    match dir.open(name) {
        Err(error) if error.kind() == ErrorKind::IsADirectory => Err(not_a_file(dir, name)),
        _ => Ok(()),
    }
}

fn not_a_file(dir: &dyn Directory, name: &str) -> Error {
    Error::io(format!("remove {}", dir.path().join(name).display()), ErrorKind::IsADirectory.into())
}
