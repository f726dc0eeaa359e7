//! Backup: the files of a store as they were at one moment, while the store goes on. Invariant: the files that a backup
//! names give back exactly what the store held at its Lsn, and the store's own files are only read.
//!
//! It consists of the newest snapshot, the segments that are replayed over it, each up to where it was written then, a
//! small segment of its own with nothing but a seal, and a manifest of its own. Bytes of a segment below that length never
//! change, and no snapshot or segment is removed while a backup [holds](crate::recovery::scheduler::Hold) them: they keep their room
//! on the disk for so long.
//!
//! The bytes are copied or cloned (reflink). Never are they linked: who opens a store cuts and rewrites its files.
//!
//! At most two of the store's files are open at a time, however many segments there are: the log of a large store has
//! thousands between two snapshots.

mod partial;
pub(crate) mod restore;

use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;

use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::hash::KeyHash;
use crate::io::directory::{self, DirLock};
use crate::io::disk::{Directory, Disk, DiskFile};
use crate::log::manifest::{Known, MANIFEST, manifest_bytes};
use crate::log::segment::{Segment, replayed_after, sealed_bytes, segment_name};
use crate::lsn::Lsn;
use crate::options::Options;
use crate::recovery::check::check_is_a_store;
use crate::recovery::load;
use crate::recovery::scheduler::Hold;
use crate::recovery::snapshot::snapshot_name;
use crate::recovery::state::LoadMode;
use crate::storage::StorageDirectory;
use crate::sync::Mutex;

use partial::Partial;

/// A consistent set of a store's files, to be read; from [`Db::begin_backup`](crate::Db::begin_backup).
///
/// While the store is open, no file of it is removed from the store's directory until the backup is dropped, so they take
/// room there for so long, besides what the store writes meanwhile. Segments of the log are opened when they are read, one
/// at a time: once the store is closed, they can be read until somebody opens it again or removes them.
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
    /// The store's snapshot, as far as its length then. Open from the beginning: another may take its name.
    Snapshot(Arc<dyn DiskFile>),
    /// A segment of the store, as far as its length then. No other file ever has its name.
    Segment(Arc<Segments>),
    Memory(Vec<u8>),
}

/// The store's segments, of which the last one that was read is open.
struct Segments {
    dir: Arc<dyn Directory>,
    open: Mutex<Option<(String, Arc<dyn DiskFile>)>>,
}

impl Segments {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut open = self.open.lock();
        if let Some((_, file)) = open.as_ref().filter(|(is_open, _)| is_open == name) {
            return Ok(Arc::clone(file));
        }
        // Closed before the next is opened: it may be the last one that the process may have.
        *open = None;
        let file = Arc::from(self.dir.open(name)?);
        *open = Some((name.to_owned(), Arc::clone(&file)));
        Ok(file)
    }
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
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// let db = kvcore::Db::open(dir.path())?;
    /// db.set("key", "value")?;
    /// let backup = db.begin_backup()?;
    /// assert_eq!(backup.lsn(), db.hooks().last_lsn());
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    pub fn lsn(&self) -> Lsn {
        self.lsn
    }

    /// Returns the store's time when it began, in Unix milliseconds.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// let db = kvcore::Db::open(dir.path())?;
    /// db.set("key", "value")?;
    /// let backup = db.begin_backup()?;
    /// assert!(backup.time_ms() > 1_700_000_000_000);
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    pub fn time_ms(&self) -> u64 {
        self.time_ms
    }

    /// Returns its files. The manifest is the last, so that what was cut short is no store.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// let db = kvcore::Db::open(dir.path())?;
    /// db.set("key", "value")?;
    /// let backup = db.begin_backup()?;
    /// let manifest = backup.files().last().unwrap();
    /// assert_eq!(manifest.name(), "manifest");
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    pub fn files(&self) -> &[BackupFile] {
        &self.files
    }

    /// Returns what it is made of, in figures.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// let db = kvcore::Db::open(dir.path())?;
    /// db.set("key", "value")?;
    /// let backup = db.begin_backup()?;
    /// assert_eq!(backup.report().files, backup.files().len());
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    pub fn report(&self) -> BackupReport {
        let bytes = self.files.iter().map(|file| file.bytes).sum();
        BackupReport { lsn: self.lsn, files: self.files.len(), bytes }
    }

    /// Writes it to a directory, durably.
    pub(crate) fn write_to(&self, disk: Arc<dyn Disk>, dest: &Path) -> Result<BackupReport> {
        let mut partial = Partial::create(disk, dest)?;
        for file in &self.files {
            let source = file.open()?;
            partial.write(&file.name, |target| match &source {
                Opened::Disk(source) => target.copy_from(&**source, file.bytes),
                Opened::Memory(bytes) => target.write_at(bytes, 0),
            })?;
        }
        partial.finish()?;
        Ok(self.report())
    }
}

impl BackupFile {
    /// Returns its name in a store's directory.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// let db = kvcore::Db::open(dir.path())?;
    /// db.set("key", "value")?;
    /// let backup = db.begin_backup()?;
    /// backup.files().iter().for_each(|file| println!("{}", file.name()));
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns its length in bytes.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// let db = kvcore::Db::open(dir.path())?;
    /// db.set("key", "value")?;
    /// let backup = db.begin_backup()?;
    /// let bytes: u64 = backup.files().iter().map(|file| file.bytes()).sum();
    /// assert_eq!(bytes, backup.report().bytes);
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Reads from `offset` on until `buffer` is full or the file ends; returns how many bytes were read.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// let db = kvcore::Db::open(dir.path())?;
    /// db.set("key", "value")?;
    /// let backup = db.begin_backup()?;
    /// let mut bytes = [0; 4];
    /// let read = backup.files()[0].read_at(&mut bytes, 0)?;
    /// assert_eq!(read, 4);
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// An [`Error::Io`] if it cannot be opened or read, or has become shorter: somebody else has removed or cut it.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        let wanted = self.bytes.saturating_sub(offset).min(buffer.len() as u64) as usize;
        let buffer = &mut buffer[..wanted];
        match self.open()? {
            Opened::Memory(bytes) => {
                let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                buffer.copy_from_slice(&bytes[from..from + wanted]);
            }
            Opened::Disk(file) => {
                let failed = |error| Error::io(format!("read {} for a backup", self.name), error);
                if file.read_at(buffer, offset).map_err(failed)? < wanted {
                    return Err(failed(ErrorKind::UnexpectedEof.into()));
                }
            }
        }
        Ok(wanted)
    }

    fn open(&self) -> Result<Opened<'_>> {
        match &self.source {
            Source::Snapshot(file) => Ok(Opened::Disk(Arc::clone(file))),
            Source::Segment(segments) => {
                let opened =
                    segments.open(&self.name).map_err(|error| open_failed(&*segments.dir, &self.name, error))?;
                Ok(Opened::Disk(opened))
            }
            Source::Memory(bytes) => Ok(Opened::Memory(bytes)),
        }
    }
}

/// What a file's bytes are read from.
enum Opened<'a> {
    Disk(Arc<dyn DiskFile>),
    Memory(&'a [u8]),
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
pub(crate) fn begin(engine: &Engine, storage: &StorageDirectory) -> Result<Backup> {
    // From inside a transaction it would miss what that has acknowledged to its own body.
    let _guard = engine.context.enter()?;
    if engine.is_closed() {
        return Err(Error::Closed);
    }
    // Before it is decided which files these are: from here on none is removed.
    let hold = storage.snapshots.hold();
    let start = hold.start();
    // Before the log's end is: another snapshot with the same start may take its name, and end later. What has the name now
    // ends where the log is durable already.
    let snapshot = open_snapshot(&*storage.dir, start)?;
    let point = {
        let mut writer = storage.wal.writer.lock();
        storage.wal.flush(&mut writer, true);
        storage.wal.health()?;
        let segments = writer.replayed_after(start);
        let newest = segments.last().map_or(0, |segment| segment.id);
        let (store, end, time_ms) = (writer.store(), writer.synced, engine.context.time.now_ms());
        BackupPoint { store, snapshot, segments, newest, end, time_ms }
    };
    Ok(assemble(&storage.dir, point, Keeps::Hold(hold)))
}

/// Begins a backup of a store that no process has open, which must be sound. What a crash left of unfinished writes is
/// not in it.
pub(crate) fn of_closed(options: &Options, path: &Path) -> Result<Backup> {
    let dir = directory::open(&*options.disk, path)?;
    let lock = directory::lock_to_read(&*dir)?;
    check_is_a_store(&*dir)?;
    let found = load::load(&*dir, 1, LoadMode::Nothing)?;
    let known = found.known();
    let newest_file = load::Listing::names(&*dir)?.ids.last().copied();
    let point = BackupPoint {
        store: known.map_or_else(KeyHash::random_seed, |known| known.store),
        snapshot: open_snapshot(&*dir, found.snapshot_start)?,
        segments: replayed_after(&found.segments, found.snapshot_start),
        newest: newest_file.max(known.map(|known| known.newest)).unwrap_or(0),
        end: found.last,
        // Not the clock of this machine: nothing of a later time has happened.
        time_ms: found.tables.floor_ms,
    };
    Ok(assemble(&dir, point, Keeps::Lock(lock)))
}

/// Opens the newest good snapshot, which begins at `start`; `None` if there is none and the log begins with the store.
fn open_snapshot(dir: &dyn Directory, start: Lsn) -> Result<Option<BackupFile>> {
    let name = snapshot_name(start);
    let file = match dir.open(&name) {
        Err(error) if error.kind() == ErrorKind::NotFound && start == Lsn::ZERO => return Ok(None),
        opened => opened.map_err(|error| open_failed(dir, &name, error))?,
    };
    let bytes = file.len().map_err(|error| open_failed(dir, &name, error))?;
    Ok(Some(BackupFile { name, bytes, source: Source::Snapshot(Arc::from(file)) }))
}

fn open_failed(dir: &dyn Directory, name: &str, error: io::Error) -> Error {
    Error::io(format!("open {} for a backup", dir.path().join(name).display()), error)
}

/// Puts together what a backup consists of.
fn assemble(dir: &Arc<dyn Directory>, point: BackupPoint, keeps: Keeps) -> Backup {
    let BackupPoint { store, snapshot, segments, newest, end, time_ms } = point;
    let mut files = Vec::with_capacity(segments.len() + 3);
    files.extend(snapshot);
    let sources = Arc::new(Segments { dir: Arc::clone(dir), open: Mutex::new(None) });
    files.extend(segments.into_iter().map(|Segment { id, bytes, .. }| BackupFile {
        name: segment_name(id),
        bytes,
        source: Source::Segment(Arc::clone(&sources)),
    }));
    let mut push = |name: String, bytes: Vec<u8>| {
        files.push(BackupFile { name, bytes: bytes.len() as u64, source: Source::Memory(bytes) });
    };
    let seal = sealed_bytes(newest + 1, end.next(), store, time_ms);
    let known = Known { store, newest: newest + 1, durable: end, newest_bytes: seal.len() as u64 };
    push(segment_name(newest + 1), seal);
    push(MANIFEST.to_owned(), manifest_bytes(&known).to_vec());
    Backup { lsn: end, time_ms, files, _keeps: keeps }
}
