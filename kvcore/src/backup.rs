//! Backup: the files of a store as they were at one moment, while the store goes on. Invariant: the files that a backup
//! names give back exactly what the store held at its Lsn, and the store's own files are only read.
//!
//! It consists of the newest snapshot, the segments that are replayed over it, each up to where it was written then, a
//! small segment of its own with nothing but a seal, and a manifest of its own. Bytes of a segment below that length never
//! change, and no snapshot or segment is removed while a backup [holds](crate::schedule::Hold) them: they keep their room
//! on the disk for so long.
//!
//! The bytes are copied or cloned (reflink). Never are they linked: who opens a store cuts and rewrites its files.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use crate::disk::{Directory, Disk, DiskFile};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::files::{DirLock, Files};
use crate::hash::KeyHash;
use crate::inspection::check_is_a_store;
use crate::lsn::Lsn;
use crate::manifest::{Known, MANIFEST, manifest_bytes};
use crate::options::Options;
use crate::partial::Partial;
use crate::recovery;
use crate::schedule::Hold;
use crate::segment::{Segment, replayed_after, sealed_bytes, segment_name};
use crate::snapshot::snapshot_name;
use crate::tables::Keep;

/// A consistent set of a store's files, open to be read; from [`Db::begin_backup`](crate::Db::begin_backup).
///
/// Until it is dropped no file of it is removed from the store's directory, so they take room there for so long, besides
/// what the store writes meanwhile.
pub struct Backup {
    lsn: Lsn,
    time_ms: u64,
    files: Vec<BackupFile>,
    _keeps: Keeps,
}

/// What keeps the files from being removed; for its drop alone.
#[expect(dead_code, reason = "it is there to be dropped")]
enum Keeps {
    /// An open store does not remove them.
    Hold(Hold),
    /// Nobody opens the store.
    Lock(DirLock),
}

/// A file of a [`Backup`].
pub struct BackupFile {
    name: String,
    bytes: u64,
    source: Source,
}

enum Source {
    /// The store's own, as far as its length then.
    Disk(Box<dyn DiskFile>),
    Memory(Vec<u8>),
}

/// What [`Db::backup`](crate::Db::backup) has written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct BackupReport {
    /// The backup holds every change up to here and none after it.
    pub lsn: Lsn,
    /// Its files.
    pub files: usize,
    /// Bytes in them.
    pub bytes: u64,
}

impl std::fmt::Debug for Backup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Backup").field("report", &self.report()).finish_non_exhaustive()
    }
}

impl Backup {
    /// Returns the newest change in it: it holds every change up to here and none after it.
    pub fn lsn(&self) -> Lsn {
        self.lsn
    }

    /// Returns the store's time when it began, in Unix milliseconds.
    pub fn time_ms(&self) -> u64 {
        self.time_ms
    }

    /// Returns its files. The manifest is the last, so that what was cut short is no store.
    pub fn files(&self) -> &[BackupFile] {
        &self.files
    }

    /// Returns what it is made of, in figures.
    pub fn report(&self) -> BackupReport {
        let bytes = self.files.iter().map(|file| file.bytes).sum();
        BackupReport { lsn: self.lsn, files: self.files.len(), bytes }
    }

    /// Writes it to a directory, durably.
    pub(crate) fn write_to(&self, disk: Arc<dyn Disk>, dest: &Path) -> Result<BackupReport> {
        let mut partial = Partial::create(disk, dest)?;
        for file in &self.files {
            partial.write(&file.name, |target| match &file.source {
                Source::Disk(source) => target.copy_from(&**source, file.bytes),
                Source::Memory(bytes) => target.write_at(bytes, 0),
            })?;
        }
        partial.finish()?;
        Ok(self.report())
    }
}

impl BackupFile {
    /// Returns its name in a store's directory.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns its length in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Reads from `offset` on until `buffer` is full or the file ends; returns how many bytes were read.
    ///
    /// # Errors
    ///
    /// An [`Error::Io`] if it cannot be read, or has become shorter: somebody else has cut it.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        let wanted = self.bytes.saturating_sub(offset).min(buffer.len() as u64) as usize;
        let buffer = &mut buffer[..wanted];
        match &self.source {
            Source::Memory(bytes) => {
                let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                buffer.copy_from_slice(&bytes[from..from + wanted]);
            }
            Source::Disk(file) => {
                let failed = |error| Error::io(format!("read {} for a backup", self.name), error);
                if file.read_at(buffer, offset).map_err(failed)? < wanted {
                    return Err(failed(ErrorKind::UnexpectedEof.into()));
                }
            }
        }
        Ok(wanted)
    }
}

/// Where a backup is taken.
struct BackupPoint {
    store: u64,
    /// `None` if the log begins with the store.
    snapshot: Option<BackupFile>,
    /// What is replayed over it.
    segments: Vec<Segment>,
    /// No segment has had a greater id.
    newest: u64,
    end: Lsn,
    time_ms: u64,
}

/// Begins a backup of an open store: everything that was acknowledged is in it.
pub(crate) fn begin(engine: &Engine, files: &Files) -> Result<Backup> {
    // From inside a transaction it would miss what that has acknowledged to its own body.
    let _entered = engine.base.enter()?;
    if engine.is_closed() {
        return Err(Error::Closed);
    }
    // Before it is decided which files these are: from here on none is removed.
    let hold = files.snapshots.hold();
    let start = hold.start();
    // Before the log's end is: another snapshot with the same start may take its name, and end later. What has the name now
    // ends where the log is durable already.
    let snapshot = open_snapshot(&*files.dir, start)?;
    let point = {
        let mut writer = files.wal.writer.lock();
        files.wal.flush(&mut writer, true);
        files.wal.health()?;
        let segments = writer.replayed_after(start);
        let newest = segments.last().map_or(0, |segment| segment.id);
        let (store, end, time_ms) = (writer.store(), writer.synced, engine.base.time.now_ms());
        BackupPoint { store, snapshot, segments, newest, end, time_ms }
    };
    open(&*files.dir, point, Keeps::Hold(hold))
}

/// Begins a backup of a store that no process has open, which must be sound. What a crash left of unfinished writes is
/// not in it.
pub(crate) fn of_closed(options: &Options, path: &Path) -> Result<Backup> {
    let dir = Files::open_dir(&*options.disk, path)?;
    let lock = Files::lock_to_read(&*dir)?;
    check_is_a_store(&*dir)?;
    let found = recovery::load(&*dir, 1, Keep::Nothing)?;
    let known = found.known();
    let newest_file = recovery::Listing::names(&*dir)?.ids.last().copied();
    let point = BackupPoint {
        store: known.map_or_else(KeyHash::random_seed, |known| known.store),
        snapshot: open_snapshot(&*dir, found.snapshot_start)?,
        segments: replayed_after(&found.segments, found.snapshot_start),
        newest: newest_file.max(known.map(|known| known.newest)).unwrap_or(0),
        end: found.last,
        // Not the clock of this machine: nothing of a later time has happened.
        time_ms: found.tables.floor_ms,
    };
    open(&*dir, point, Keeps::Lock(lock))
}

/// Opens the newest good snapshot, which begins at `start`; `None` if there is none and the log begins with the store.
fn open_snapshot(dir: &dyn Directory, start: Lsn) -> Result<Option<BackupFile>> {
    match open_file(dir, snapshot_name(start)) {
        Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound && start == Lsn::ZERO => Ok(None),
        opened => opened.map(Some),
    }
}

fn open_file(dir: &dyn Directory, name: String) -> Result<BackupFile> {
    let opening = |error| Error::io(format!("open {} for a backup", dir.path().join(&name).display()), error);
    let file = dir.open(&name).map_err(opening)?;
    let bytes = file.len().map_err(opening)?;
    Ok(BackupFile { name, bytes, source: Source::Disk(file) })
}

/// Opens the segments, all at once: whatever becomes of their names, their bytes can be read.
fn open(dir: &dyn Directory, point: BackupPoint, keeps: Keeps) -> Result<Backup> {
    let BackupPoint { store, snapshot, segments, newest, end, time_ms } = point;
    let mut files = Vec::with_capacity(segments.len() + 3);
    files.extend(snapshot);
    for Segment { id, bytes, .. } in segments {
        files.push(BackupFile { bytes, ..open_file(dir, segment_name(id))? });
    }
    let mut push = |name: String, bytes: Vec<u8>| {
        files.push(BackupFile { name, bytes: bytes.len() as u64, source: Source::Memory(bytes) });
    };
    let seal = sealed_bytes(newest + 1, end.next(), store, time_ms);
    let known = Known { store, newest: newest + 1, durable: end, newest_bytes: seal.len() as u64 };
    push(segment_name(newest + 1), seal);
    push(MANIFEST.to_owned(), manifest_bytes(&known).to_vec());
    Ok(Backup { lsn: end, time_ms, files, _keeps: keeps })
}
