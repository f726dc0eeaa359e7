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
struct Moment {
    store: u64,
    /// Where the newest good snapshot begins; 0 if there may be none.
    start: Lsn,
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
    let start = files.snapshots.state.lock().start;
    let moment = {
        let mut writer = files.wal.writer.lock();
        files.wal.flush(&mut writer, true);
        files.wal.health()?;
        let segments = writer.replayed_after(start);
        let newest = segments.last().map_or(0, |segment| segment.id);
        let (store, end, time_ms) = (writer.store(), writer.synced, engine.base.time.now_ms());
        Moment { store, start, segments, newest, end, time_ms }
    };
    open(&*files.dir, moment, Keeps::Hold(hold))
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
    let moment = Moment {
        store: known.map_or_else(KeyHash::random_seed, |known| known.store),
        start: found.snapshot_start,
        segments: replayed_after(&found.segments, found.snapshot_start),
        newest: newest_file.max(known.map(|known| known.newest)).unwrap_or(0),
        end: found.last,
        // Not the clock of this machine: nothing of a later time has happened.
        time_ms: found.tables.floor_ms,
    };
    open(&*dir, moment, Keeps::Lock(lock))
}

/// Opens the files of a moment, all at once: whatever becomes of their names, their bytes can be read.
fn open(dir: &dyn Directory, moment: Moment, keeps: Keeps) -> Result<Backup> {
    let Moment { store, start, segments, newest, end, time_ms } = moment;
    let mut files = Vec::with_capacity(segments.len() + 3);
    let reading = |name: &str| {
        let what = format!("open {} for a backup", dir.path().join(name).display());
        move |error| Error::io(what, error)
    };
    let name = snapshot_name(start);
    match dir.open(&name) {
        Ok(file) => {
            let bytes = file.len().map_err(reading(&name))?;
            files.push(BackupFile { name, bytes, source: Source::Disk(file) });
        }
        // The log begins with the store.
        Err(error) if error.kind() == ErrorKind::NotFound && start == Lsn::ZERO => {}
        Err(error) => return Err(reading(&name)(error)),
    }
    for Segment { id, bytes, .. } in segments {
        let name = segment_name(id);
        let file = dir.open(&name).map_err(reading(&name))?;
        files.push(BackupFile { name, bytes, source: Source::Disk(file) });
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
