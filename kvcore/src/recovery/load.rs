//! Recovery: from files to a store. Invariant: what was proven durable is loaded or the store refuses to open; only an
//! unfinished end of the log is cut, and that is said.
//!
//! At the first frame of the log that is not whole, these prove that it once was, and the store does not open:
//!
//! - a later segment, because one is begun only when all before it is durable;
//! - any later header of a frame in the same segment that says so: each names the newest Lsn that was durable when it
//!   was written. That is so for a frame whose writer waited for the one before, and for the seal that an idle or a
//!   closed log ends with;
//! - a snapshot that was begun later;
//! - the [manifest](crate::log::manifest), which knows what was durable when the segment was begun, at about every second
//!   under load, when the log was last idle, and when it was closed; which segment was the newest; and how long that was
//!   at least. One of its two parts is enough: all that it says was true when it was written, and only how long the newest
//!   segment is can have become less.
//!
//! If nothing does, the end is taken for what a crash left of writes that were never finished: it is cut, with a warning,
//! and [counted](crate::RecoveryReport::cut_bytes).
//!
//! **What cannot be told apart:** frames at the end of a crashed log that were synced, if every witness of theirs is
//! destroyed with them, as when the end is overwritten with zeros: that looks like a torn write, and is cut. Of a single
//! damaged frame this is true only if no frame was begun after its sync: any later one is its witness. Of many it is true
//! as far back as the last sync that the manifest notes: the first one after 0.9 s since it noted the one before, so
//! about one second under `Always`, and between one and two under `EverySecond`, which syncs once a second. Under `Os`
//! syncs come with new segments, snapshots, writes that ask for one, and idle times only; what was not synced was not
//! promised either. After a clean close, or two seconds without a write, there is no such case.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::hash::KeyHash;
use crate::io::disk::{Directory, DiskFile};
use crate::log::frame;
use crate::log::manifest::{Known, MANIFEST, Manifest, ManifestFile, UNNAMED_MANIFEST};
use crate::log::segment::{Segment, UNNAMED_SEGMENT, segment_id, segment_name};
use crate::log::segment_reader::{Rest, SegmentReader, corrupt};
use crate::lsn::Lsn;
use crate::recovery::snapshot::{Block, SnapshotReader, UNNAMED_SNAPSHOT, snapshot_start};
use crate::recovery::state::{self, LoadMode, RecoveredState};
use crate::stats::RecoveryReport;
use crate::sync::{Mutex, mpsc, thread};

/// Progress is told each time this many bytes of a file have been read.
const PROGRESS_BYTES: u64 = 256 * 1024 * 1024;
/// What is written again is so in steps of this many bytes.
const WRITE_AGAIN_BYTES: u64 = 1024 * 1024;

/// A thread for so much of a snapshot: the start of one takes longer than reading less.
const WORKER_BYTES: usize = 512 * 1024;

/// What the files held.
pub(crate) struct Recovered {
    pub(crate) tables: RecoveredState,
    pub(crate) segments: VecDeque<Segment>,
    pub(crate) last: Lsn,
    /// The start of the snapshot that was loaded.
    pub(crate) snapshot_start: Lsn,
    /// Up to here the log must reach: the snapshot holds part of what lies between.
    pub(crate) snapshot_end: Lsn,
    pub(crate) snapshot_bytes: u64,
    pub(crate) report: RecoveryReport,
    manifest: Option<Manifest>,
    /// Where the newest segment's frames end.
    pub(crate) end: Option<End>,
    /// A segment without frames, to be removed when another is there.
    pub(crate) superseded: Option<String>,
}

/// The end of the log.
pub(crate) struct End {
    pub(crate) segment: u64,
    pub(crate) path: PathBuf,
    file: Box<dyn DiskFile>,
    /// Up to here something proves that it is on the disk.
    proven: u64,
    pub(crate) at: u64,
    len: u64,
}

/// The files of a directory that have a store's names.
pub(crate) struct Listing<'a> {
    pub(crate) dir: &'a dyn Directory,
    pub(crate) names: Vec<String>,
    /// Of segments, oldest first.
    pub(crate) ids: Vec<u64>,
    pub(crate) manifest: Option<Manifest>,
}

/// What a store's files are called while they are being written. A crash may leave them; they never count.
pub(crate) const UNNAMED: [&str; 3] = [UNNAMED_SEGMENT, UNNAMED_SNAPSHOT, UNNAMED_MANIFEST];

impl<'a> Listing<'a> {
    fn read(dir: &'a dyn Directory) -> Result<Self> {
        let mut listing = Self::names(dir)?;
        listing.manifest = Manifest::read(dir, &listing.names)?;
        if let Some(at) = listing.manifest.and_then(|manifest| manifest.damaged_at) {
            tracing::warn!(
                "{}: the part at byte {at} is damaged, the other is used",
                dir.path().join(MANIFEST).display()
            );
        }
        Ok(listing)
    }

    /// The names alone, in order, as if there were no manifest.
    pub(crate) fn names(dir: &'a dyn Directory) -> Result<Self> {
        let mut names = dir.list().map_err(|error| Error::io(format!("list {}", dir.path().display()), error))?;
        names.sort_unstable();
        let mut ids: Vec<u64> = names.iter().filter_map(|name| segment_id(name)).collect();
        ids.sort_unstable();
        Ok(Listing { dir, names, ids, manifest: None })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The snapshots, oldest first.
    pub(crate) fn snapshots(&self) -> Vec<(Lsn, &str)> {
        let mut snapshots: Vec<_> =
            self.names.iter().filter_map(|name| Some((snapshot_start(name)?, name.as_str()))).collect();
        snapshots.sort_unstable();
        snapshots
    }

    pub(crate) fn segment(&self, id: u64) -> Result<SegmentReader> {
        let segment = SegmentReader::open(self.dir, &segment_name(id))?;
        if segment.header.id != id {
            return Err(segment.corrupt(0, "its header names another segment: files were swapped or renamed"));
        }
        self.check_store(&segment.path, segment.header.store)?;
        Ok(segment)
    }

    /// Whether a file that names `store` as its own is one of this store's.
    pub(crate) fn check_store(&self, path: &Path, store: u64) -> Result<()> {
        match &self.manifest {
            Some(manifest) if manifest.known.store == store => Ok(()),
            Some(_) => Err(corrupt(path, 0, "it belongs to another store")),
            None => Err(corrupt(&self.path(MANIFEST), 0, "it is missing, although the store had one")),
        }
    }
}

/// Loads the newest good snapshot and replays the log over it. Changes nothing on disk.
pub(crate) fn load(dir: &dyn Directory, shards: usize, mode: LoadMode) -> Result<Recovered> {
    let listing = Listing::read(dir)?;
    let mut state = load_snapshot(&listing, shards, mode)?;
    replay(&listing, &mut state)?;
    state.manifest = listing.manifest;
    Ok(state)
}

/// Makes what was loaded the state of the files: an unfinished end of the log is cut, leftovers are removed. What was
/// loaded is durable from then on.
pub(crate) fn make_durable(dir: &dyn Directory, found: &mut Recovered) -> Result<ManifestFile> {
    let manifest = match &found.manifest {
        Some(manifest) => manifest.reopen(dir),
        None => {
            let known = Known { store: KeyHash::random_seed(), newest: 0, durable: Lsn::ZERO, newest_bytes: 0 };
            ManifestFile::create(dir, known)
        }
    };
    let writing = |error| Error::io(format!("write {}", dir.path().join(MANIFEST).display()), error);
    let mut manifest = manifest.map_err(writing)?;
    // The names that were read, too, may never have reached the disk; what is written from here on relies on them.
    dir.sync().map_err(|error| Error::io(format!("sync {}", dir.path().display()), error))?;
    if let Some(End { segment, path, file, proven, at, len }) = found.end.take() {
        let cutting = |error| Error::io(format!("cut {}", path.display()), error);
        // After the end of a process alone, what was read may never have reached the disk.
        write_again(&*file, proven, at).and_then(|()| file.sync()).map_err(cutting)?;
        manifest.note_segment(segment, 0, found.last).map_err(writing)?;
        if at < len {
            file.truncate(at).and_then(|()| file.sync()).map_err(cutting)?;
        }
    }
    // Files that a crash left unfinished; they never had a name that counts.
    let names = dir.list().map_err(|error| Error::io(format!("list {}", dir.path().display()), error))?;
    for leftover in names.iter().filter(|name| UNNAMED.contains(&name.as_str())) {
        let removing = |error| Error::io(format!("remove {}", dir.path().join(leftover).display()), error);
        dir.remove(leftover).map_err(removing)?;
    }
    Ok(manifest)
}

/// Writes once more what a file holds between two bytes: where a sync has failed, what was to be written may stand in
/// memory, clean by name, and no later sync looks at it.
fn write_again(file: &dyn DiskFile, mut from: u64, to: u64) -> io::Result<()> {
    let mut step = vec![0; to.saturating_sub(from).min(WRITE_AGAIN_BYTES) as usize];
    while from < to {
        let len = step.len().min((to - from) as usize);
        let read = file.read_at(&mut step[..len], from)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        file.write_at(&step[..read], from)?;
        from += read as u64;
    }
    Ok(())
}

impl Recovered {
    /// Returns what the manifest says, if there is one.
    pub(crate) fn known(&self) -> Option<Known> {
        self.manifest.map(|manifest| manifest.known)
    }

    /// What these hold and nothing else.
    pub(crate) fn of(tables: RecoveredState) -> Self {
        Recovered {
            tables,
            segments: VecDeque::new(),
            last: Lsn::ZERO,
            snapshot_start: Lsn::ZERO,
            snapshot_end: Lsn::ZERO,
            snapshot_bytes: 0,
            report: RecoveryReport::default(),
            manifest: None,
            end: None,
            superseded: None,
        }
    }
}

/// The state in the newest snapshot that is good; an older one only if the log reaches back to its start.
fn load_snapshot(listing: &Listing<'_>, shards: usize, mode: LoadMode) -> Result<Recovered> {
    let mut first_error = None;
    let reaches = |start: Lsn| match listing.ids.first() {
        Some(id) => Ok(listing.segment(*id)?.header.first <= start.next()),
        None => Ok(false),
    };
    for (start, name) in listing.snapshots().into_iter().rev() {
        if first_error.is_some() && !reaches(start)? {
            break;
        }
        match read_snapshot(listing, name, shards, mode) {
            Ok(state) => return Ok(state),
            Err(error @ Error::Corrupt { .. }) => {
                tracing::warn!("{error}");
                first_error.get_or_insert(error);
            }
            Err(error) => return Err(error),
        }
    }
    match first_error {
        Some(error) if !reaches(Lsn::ZERO)? => Err(error),
        _ => Ok(Recovered::of(RecoveredState::empty(shards, mode))),
    }
}

/// Opens a snapshot that is one of this store's.
pub(crate) fn open_snapshot(listing: &Listing<'_>, name: &str) -> Result<SnapshotReader> {
    let reader = SnapshotReader::open(listing.dir, name)?;
    listing.check_store(&reader.path, reader.head.store)?;
    Ok(reader)
}

pub(crate) fn read_snapshot(listing: &Listing<'_>, name: &str, shards: usize, mode: LoadMode) -> Result<Recovered> {
    tracing::info!("loading {}", listing.path(name).display());
    let reader = open_snapshot(listing, name)?;
    let bytes = reader.len;
    let tables = RecoveredState::of(&reader.head, shards, mode);
    let start = Lsn::new(reader.head.start);
    // One thread reads; the others check, decode and insert, as many as there are processors.
    let workers =
        std::thread::available_parallelism().map_or(1, usize::from).min(8).min(1 + bytes as usize / WORKER_BYTES);
    let foot = thread::scope(|scope| {
        let (sender, receiver) = mpsc::sync_channel::<Block>(workers * 4);
        let receiver = Arc::new(Mutex::new(receiver));
        let mut loaders = Vec::with_capacity(workers);
        for _ in 0..workers {
            let (receiver, tables) = (Arc::clone(&receiver), &tables);
            loaders.push(scope.spawn(move || -> Result<()> {
                let mut outcome = Ok(());
                loop {
                    let next = receiver.lock().recv();
                    let Ok(block) = next else { return outcome };
                    // After a failure the rest is still taken, so that the reader does not wait for ever.
                    if outcome.is_ok() {
                        outcome = tables.load_block(&block);
                    }
                }
            }));
        }
        let mut told = 0;
        let foot = reader.read(&mut |block| {
            if block.offset() >= told + PROGRESS_BYTES {
                told = block.offset();
                tracing::info!("loading the snapshot: {told} of {bytes} bytes");
            }
            // The receivers outlive the sender: this can only fail after one of them panicked, which is told below.
            let _ = sender.send(block);
        });
        drop(sender);
        for loader in loaders {
            loader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        foot
    })?;
    let mut state = Recovered {
        last: start,
        snapshot_start: start,
        snapshot_end: Lsn::new(foot.end),
        snapshot_bytes: bytes,
        ..Recovered::of(tables)
    };
    state.report.snapshot_entries = foot.entries;
    Ok(state)
}

/// Replays the log over what the snapshot gave, and looks where it ends.
fn replay(listing: &Listing<'_>, state: &mut Recovered) -> Result<()> {
    let (start, known) = (state.last, listing.manifest.map(|manifest| manifest.known));
    if let Some(known) = known.filter(|known| listing.ids.last().copied().unwrap_or(0) < known.newest) {
        return Err(corrupt(
            &listing.path(&segment_name(known.newest)),
            0,
            "it is missing, and it was the newest of the log",
        ));
    }
    // What the snapshot stands for is not looked at again.
    let mut from = listing.ids.len();
    while from > 0 {
        from -= 1;
        if listing.segment(listing.ids[from])?.header.first <= start.next() {
            break;
        }
    }
    // But those that begin there as well: they hold no transaction, and perhaps a seal, whose time counts.
    let begins_there = |id: u64| listing.segment(id).is_ok_and(|segment| segment.header.first == start.next());
    while from > 0 && from < listing.ids.len() && begins_there(listing.ids[from]) && begins_there(listing.ids[from - 1])
    {
        from -= 1;
    }
    for &id in &listing.ids[..from] {
        state.segments.push_back(Segment { id, first: Lsn::ZERO, bytes: 0 });
    }
    let (mut before, mut told): (Option<SegmentReader>, u64) = (None, 0);
    for (i, &id) in listing.ids.iter().enumerate().skip(from) {
        let mut segment = listing.segment(id)?;
        match &mut before {
            None if segment.header.first > start.next() => {
                return Err(segment
                    .corrupt(0, "it follows on nothing: the log before it is missing, and no snapshot covers it"));
            }
            Some(before) if before.expected != segment.header.first => {
                return Err(gap(before, &segment)?);
            }
            _ => {}
        }
        let path = segment.path.clone();
        let mut expected = segment.header.first;
        while let Some(frame) = segment.next_frame()? {
            let corrupt = |why: &str| corrupt(&path, frame.at, why);
            let mut transactions = Vec::new();
            frame::transactions(&frame.header, frame.body, &mut transactions).map_err(corrupt)?;
            state.tables.floor_ms = state.tables.floor_ms.max(frame.header.time_ms);
            for &(_, mut records) in &transactions {
                if expected > start {
                    while !records.is_empty() {
                        let record = state::decode(&mut records).map_err(|why| corrupt(&why))?;
                        state.tables.apply(&record).map_err(corrupt)?;
                    }
                    state.report.replayed += 1;
                }
                expected = expected.next();
            }
        }
        state.segments.push_back(Segment { id, first: segment.header.first, bytes: segment.at });
        told += segment.at;
        if told >= PROGRESS_BYTES {
            told = 0;
            tracing::info!("replaying the log: segment {} of {}", i + 1, listing.ids.len());
        }
        before = Some(segment);
    }
    match before {
        Some(newest) => end(newest, known, state),
        None if state.snapshot_end > start => {
            Err(corrupt(listing.dir.path(), 0, "it lacks the log that goes with the snapshot"))
        }
        None => Ok(()),
    }
}

/// Why a segment does not follow on the one before.
fn gap(before: &mut SegmentReader, segment: &SegmentReader) -> Result<Error> {
    if segment.header.first < before.expected {
        return Ok(segment.corrupt(0, "it holds again what the segment before it holds"));
    }
    let why = match before.rest()? {
        Rest::Empty => "the log ends here, but a later segment proves that it went on",
        _ => "a frame is damaged, and a later segment proves that it was whole",
    };
    Ok(before.corrupt(before.at, why))
}

/// Looks at the end of the newest segment: whether what is there may be all that ever was.
pub(crate) fn end(mut newest: SegmentReader, known: Option<Known>, state: &mut Recovered) -> Result<()> {
    let (at, len, lost, id) = (newest.at, newest.len, newest.expected, newest.header.id);
    let rest = newest.rest()?;
    if let Rest::Proven(proof) = rest {
        return Err(newest.corrupt(at, &format!("a frame is damaged, and one at byte {proof} proves it was whole")));
    }
    if lost <= state.snapshot_end {
        return Err(newest.corrupt(at, "the log ends here, but a snapshot proves that it went on"));
    }
    if let Some(known) = known {
        if lost <= known.durable {
            return Err(newest.corrupt(at, "the log ends here, but the manifest proves that it went on"));
        }
        if known.newest == id && len < known.newest_bytes {
            let why = format!("the file ends here, but the manifest proves that it had {} bytes", known.newest_bytes);
            return Err(newest.corrupt(len, &why));
        }
    }
    if let Rest::Unproven(end) = rest {
        let cut = end - at;
        tracing::warn!("{}: an unfinished write, {cut} bytes at byte {at}, is cut", newest.path.display());
        state.report.cut_bytes += cut;
    }
    state.last = Lsn::new(lost.get() - 1);
    if at == frame::SEGMENT_HEADER_BYTES as u64 {
        state.segments.pop_back();
        state.superseded = Some(segment_name(id));
    }
    // Not what the manifest knows: it does not speak of a seal, and the time in that counts, too.
    let proven = newest.proven;
    state.end = Some(End { segment: id, path: newest.path, file: newest.file, proven, at, len });
    Ok(())
}
