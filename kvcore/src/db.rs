//! Db: a whole store, with all its keyspaces. Invariant: it adds nothing to the engine but names.

use std::fmt;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

use crate::background;
use crate::backup::restore::Restore;
use crate::backup::{self, Backup, BackupReport};
use crate::durability::Durability;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::hooks::DbHooks;
use crate::io::directory;
use crate::io::disk::Location;
use crate::keyspace::{Keyspace, StoreHandle};
use crate::log::wal::Wal;
use crate::options::Options;
use crate::recovery::check::{self, Inspection};
use crate::recovery::repair::{self, Repair, RepairOptions, RepairPlan};
use crate::stats::{SnapshotStatus, Stats};
use crate::table::keyspace::{DEFAULT_KEYSPACE, KeyspaceInner};
use crate::table::limits::{Limits, Room};
use crate::transaction::CrossTransaction;
use crate::txn::lock_set::LockSet;
use crate::verify;

/// The everyday methods. What else a [`Keyspace`] has, a `Db` has through it.
#[path = "keyspace/everyday.rs"]
#[allow(clippy::duplicate_mod, reason = "the same methods for another type")]
mod everyday;

/// Whose methods those of `everyday` are.
type Subject = Db;

/// A store: named keyspaces with one log. It reads as its default keyspace, which is named `0`.
///
/// Handles are cheap to clone, `Send` and `Sync`. [`close`](Db::close), or dropping the last handle, makes everything
/// durable, ends the threads and frees the directory.
#[derive(Clone)]
pub struct Db {
    pub(crate) default: Keyspace,
}

impl fmt::Debug for Db {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Db").field("durability", &self.durability()).finish_non_exhaustive()
    }
}

impl Deref for Db {
    type Target = Keyspace;

    fn deref(&self) -> &Keyspace {
        &self.default
    }
}

impl Options {
    /// Opens the store in a directory, which is made if it is not there.
    ///
    /// ```
    /// use kvcore::{Durability, Options};
    /// # let dir = tempfile::tempdir().unwrap();
    /// let db = Options::new().durability(Durability::EverySecond).open(dir.path())?;
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::InvalidOption`]; those of [`Db::open`].
    pub fn open(self, dir: impl AsRef<Path>) -> Result<Db> {
        open(self, Some(dir.as_ref()))
    }

    /// Loads what the store in `dir` holds into a store in memory, to look at it or to take it
    /// somewhere else. Nothing in `dir` is changed. It must not be open elsewhere. [`Error::NoStore`]
    /// if there is none.
    ///
    /// ```
    /// use kvcore::{Db, Options};
    /// # let dir = tempfile::tempdir().unwrap();
    /// Db::open(dir.path())?.set("key", "value")?;
    /// let db = Options::new().load(dir.path())?;
    /// assert_eq!(db.get("key")?.unwrap(), "value");
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NoStore`], [`Error::Locked`], [`Error::Corrupt`], [`Error::Io`].
    pub fn load(self, dir: impl AsRef<Path>) -> Result<Db> {
        let handle = Arc::new(StoreHandle(Engine::load(self, dir.as_ref())?));
        let space = handle.0.space(DEFAULT_KEYSPACE)?;
        Ok(Db { default: Keyspace::new(handle, space) })
    }

    /// Inspects every file of the store in `dir`, and at what opening it would do. Nothing is changed, and no more memory
    /// is taken than the largest write that is in the files. The store must not be open elsewhere
    /// ([`Error::Locked`] says by whom it is); while this runs, it cannot be opened.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// let dir = dir.path();
    /// kvcore::Db::open(dir)?.set("key", "value")?;
    /// assert!(kvcore::Options::new().inspect(dir)?.is_sound());
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NoStore`], [`Error::Locked`], [`Error::Io`]. Damage is none: it is in the report.
    pub fn inspect(self, dir: impl AsRef<Path>) -> Result<Inspection> {
        let dir = directory::open(&*self.disk, dir.as_ref())?;
        let _lock = directory::lock_to_read(&*dir)?;
        check::inspect(&*dir)
    }

    /// Makes the store in `dir` one that opens, with everything that is provably good. A store that is
    /// [sound](Inspection::is_sound) is left as it is, byte for byte.
    ///
    /// Every file that is going to be changed or removed is first copied into a folder `damaged-` and the date in `dir`.
    /// That needs as much room on the disk as they have, and as much memory as opening the store. The copies are durable
    /// before anything else is changed. To undo a repair, move them back in the place of what it left.
    ///
    /// What is kept is the history up to the first damage, over the newest snapshot that is good. If that snapshot is
    /// all there is, and it was written while others wrote, then keys are as they were at different moments of it.
    /// Of a damaged snapshot without which nothing would be left, the good parts are kept. No key ever gets a value that
    /// it did not have.
    ///
    /// After a crash in the middle of it the store is as damaged as before, or repaired: repair it again.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// kvcore::Db::open(dir.path())?.set("key", "value")?;
    /// let repair = kvcore::Options::new().repair(dir.path())?;
    /// println!("{repair:?}");
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::RepairDropsMost`], with nothing changed, if what is good or lost behind the first damage of the log is more
    /// than would be kept, or if nothing would be: [`repair_with`](Self::repair_with) can keep what is good, or drop all the
    /// same. [`Error::Io`], with nothing changed, if a file cannot be read at the moment.
    /// [`Error::NotRepairable`], with nothing changed, if the manifest is of one store and all other files are of another.
    pub fn repair(self, dir: impl AsRef<Path>) -> Result<Repair> {
        self.repair_with(dir, RepairOptions::new())
    }

    /// Repairs the store in `dir` as [`repair`](Self::repair) does, in the way that `how` describes.
    ///
    /// ```no_run
    /// use kvcore::{Options, RepairOptions};
    /// let how = RepairOptions::new().salvage(true);
    /// let plan = Options::new().plan_repair("data", how)?;
    /// for way in [&plan.plain, &plan.salvage].into_iter().flatten() {
    ///     println!("would keep {} keys", way.kept.keys);
    /// }
    /// Options::new().repair_with("data", how)?;
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`repair`](Self::repair).
    pub fn repair_with(self, dir: impl AsRef<Path>, how: RepairOptions) -> Result<Repair> {
        repair::repair(&self, dir.as_ref(), how)
    }

    /// Returns what [`repair_with`](Self::repair_with) would keep in each way, without changing a byte. Takes the memory
    /// of a store. The store must not be open elsewhere.
    ///
    /// ```
    /// use kvcore::{Db, Options, RepairOptions};
    /// # let dir = tempfile::tempdir().unwrap();
    /// Db::open(dir.path())?.set("key", "value")?;
    /// let plan = Options::new().plan_repair(dir.path(), RepairOptions::new())?;
    /// println!("{plan:?}");
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NoStore`], [`Error::Locked`], [`Error::NotRepairable`], [`Error::Io`].
    pub fn plan_repair(self, dir: impl AsRef<Path>, how: RepairOptions) -> Result<RepairPlan> {
        repair::plan(&self, dir.as_ref(), how)
    }

    /// Copies the store in `dir`, which no process may have open, to the directory `dest`. Nothing in `dir` is changed; a
    /// write that a crash interrupted is not copied. A damaged store is refused. For a store that is open there is
    /// [`Db::backup`], which says what holds for `dest`.
    ///
    /// ```
    /// use kvcore::{Db, Options};
    /// # let root = tempfile::tempdir().unwrap();
    /// # let (dir, copy) = (root.path().join("data"), root.path().join("copy"));
    /// Db::open(&dir)?.set("key", "value")?;
    /// Options::new().backup(&dir, &copy)?;
    /// assert_eq!(Db::open(copy)?.get("key")?.unwrap(), "value");
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NoStore`], [`Error::Locked`], [`Error::Corrupt`], [`Error::DestinationTaken`], [`Error::Io`].
    pub fn backup(self, dir: impl AsRef<Path>, dest: impl AsRef<Path>) -> Result<BackupReport> {
        let backup = backup::of_closed(&self, dir.as_ref())?;
        backup.write_to(self.disk, dest.as_ref())
    }

    /// Begins to make the store of a backup whose files come one by one, as those of a [`Backup`] do. `dest` must not
    /// exist or be an empty directory; it appears when [`Restore::finish`] has found the store sound. To restore a
    /// directory that [`Db::backup`] has written, copy it, or [open](Self::open) it.
    ///
    /// ```
    /// use kvcore::{Db, Options};
    /// # let root = tempfile::tempdir().unwrap();
    /// # let (dir, copy) = (root.path().join("data"), root.path().join("copy"));
    /// let db = Db::open(dir)?;
    /// db.set("key", "value")?;
    /// let backup = db.begin_backup()?;
    /// let mut restore = Options::new().begin_restore(&copy)?;
    /// for file in backup.files() {
    ///     let mut bytes = vec![0; file.bytes() as usize];
    ///     file.read_at(&mut bytes, 0)?;
    ///     restore.add(file.name(), file.bytes(), &mut &bytes[..])?;
    /// }
    /// restore.finish()?;
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::DestinationTaken`], [`Error::InvalidOption`], [`Error::Io`].
    pub fn begin_restore(self, dest: impl AsRef<Path>) -> Result<Restore> {
        Restore::begin(&self, dest.as_ref())
    }

    /// Opens a store that keeps nothing on disk. It starts no threads: the memory of expired keys is returned by the writes that
    /// follow, or by [`Db::sweep`]; with [`sweep_in_memory`](Self::sweep_in_memory) a thread of its own does so.
    ///
    /// ```
    /// let db = kvcore::Options::new().max_entries(1000).in_memory()?;
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::InvalidOption`]; [`Error::Io`] if the thread that sweeps cannot be started.
    pub fn in_memory(self) -> Result<Db> {
        open(self, None)
    }
}

fn open(options: Options, dir: Option<&Path>) -> Result<Db> {
    let sweeps = options.sweeps_in_memory;
    let handle = Arc::new(StoreHandle(Engine::open(options, dir)?));
    background::start(&handle.0, sweeps)?;
    let space = handle.0.space(DEFAULT_KEYSPACE)?;
    Ok(Db { default: Keyspace::new(handle, space) })
}

impl Db {
    /// Opens the store in a directory, with the default [`Options`]. The directory is made if it is not there.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// let db = kvcore::Db::open(dir.path())?;
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] if another process, or another `Db`, has it open; [`Error::Corrupt`] if a file is damaged where it is
    /// proven to have been whole; [`Error::Io`].
    pub fn open(dir: impl AsRef<Path>) -> Result<Db> {
        Options::new().open(dir)
    }

    /// Opens a store that keeps nothing on disk and starts no threads.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// db.set("key", "value")?;
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    pub fn in_memory() -> Db {
        // The default options are in range and memory has no files, so nothing can fail here.
        match Options::new().in_memory() {
            Ok(db) => db,
            Err(error) => unreachable!("an empty store in memory: {error}"),
        }
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.handle.0
    }

    pub(crate) fn wal(&self) -> Option<&Arc<Wal>> {
        self.engine().context.wal.as_ref()
    }

    fn handle(&self, space: Arc<KeyspaceInner>) -> Keyspace {
        self.default.beside(space)
    }

    /// Returns the keyspace with this name, which is made if it does not exist.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// let sessions = db.keyspace("sessions")?;
    /// sessions.set("42", "Ada")?;
    /// assert!(!db.exists("42")?);
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Closed`]; if the keyspace is new [`Error::Reentered`], [`Error::KeyTooLong`] for a name that is longer than a key may
    /// be, and the errors of the log.
    pub fn keyspace(&self, name: &str) -> Result<Keyspace> {
        Ok(self.handle(self.engine().space(name)?))
    }

    /// Returns all keyspaces, in the order of their names.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// db.keyspace("sessions")?;
    /// let names: Vec<_> = db.keyspaces().iter().map(|keyspace| keyspace.name().to_owned()).collect();
    /// assert_eq!(names, ["0", "sessions"]);
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    pub fn keyspaces(&self) -> Vec<Keyspace> {
        self.engine().spaces().into_iter().map(|space| self.handle(space)).collect()
    }

    /// Removes a keyspace and all its keys; false if there was none. Writes through handles of it fail from then on.
    /// The default keyspace can only be [cleared](Keyspace::clear).
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// db.keyspace("old")?;
    /// assert!(db.drop_keyspace("old")?);
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::DefaultKeyspace`]; those of [every write](Keyspace#errors).
    pub fn drop_keyspace(&self, name: &str) -> Result<bool> {
        if name == DEFAULT_KEYSPACE {
            return Err(Error::DefaultKeyspace);
        }
        let (dropped, lsn) = self.engine().drop_space(name)?;
        self.wait_for(lsn)?;
        Ok(dropped)
    }

    /// Runs `body` on parts of several keyspaces, atomically, as [`Keyspace::transact`] does for one.
    ///
    /// ```
    /// use kvcore::{Db, LockSet};
    /// let db = Db::in_memory();
    /// let archive = db.keyspace("archive")?;
    /// db.set("order", "42")?;
    /// let locks = LockSet::new().keys(&db, ["order"]).keys(&archive, ["order"]);
    /// db.transact_across(locks, |txn| {
    ///     txn.copy((&db, "order"), (&archive, "order"))?;
    ///     txn.keyspace(&db)?.delete("order")
    /// })?;
    /// assert_eq!(archive.get("order")?.unwrap(), "42");
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of `body`; [`Error::ForeignKeyspace`] for a keyspace of another store, [`Error::EmptyLockSet`] if the set is empty.
    pub fn transact_across<R>(
        &self,
        locks: LockSet<'_>,
        mut body: impl FnMut(&mut CrossTransaction<'_>) -> Result<R>,
    ) -> Result<R> {
        self.hooks().transact_across(locks, |txn| body(&mut CrossTransaction::new(txn, &self.handle)))
    }

    /// Returns what a server that is built on the store needs beyond this page.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// db.set("key", "value")?;
    /// assert_eq!(db.hooks().counts(), (1, 0));
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    pub fn hooks(&self) -> DbHooks<'_> {
        DbHooks::new(self)
    }

    /// Exchanges, at one moment, all that two keyspaces hold; what is not there yet is made. Handles keep their names.
    /// Costs no more than locking both.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// db.keyspace("new")?.set("page", "second edition")?;
    /// db.swap("0", "new")?;
    /// assert_eq!(db.get("page")?.unwrap(), "second edition");
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [every write](Keyspace#errors).
    pub fn swap(&self, one: &str, other: &str) -> Result<()> {
        let (one, other) = (self.keyspace(one)?, self.keyspace(other)?);
        self.hooks().transact_across(LockSet::new().whole(&one).whole(&other), |txn| txn.swap(other.space.id))
    }

    /// Removes every key of every keyspace at one moment, and returns how many there were.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// db.set("key", "value")?;
    /// db.keyspace("other")?.set("key", "value")?;
    /// assert_eq!(db.clear_all()?, 2);
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [every write](Keyspace#errors).
    pub fn clear_all(&self) -> Result<u64> {
        loop {
            let keyspaces = self.keyspaces();
            let locks = keyspaces.iter().fold(LockSet::new(), LockSet::whole);
            let cleared = self.transact_across(locks, |txn| {
                // One that was made meanwhile is not locked: it may hold a key that was seen beside those that go now.
                // What is made from here on comes after this.
                let is_new = |space: &Arc<KeyspaceInner>| keyspaces.iter().all(|known| known.space.id != space.id);
                if self.engine().spaces().iter().any(is_new) {
                    return Ok(None);
                }
                keyspaces.iter().map(|keyspace| txn.clear(keyspace)).sum::<Result<u64>>().map(Some)
            });
            match cleared {
                Ok(Some(removed)) => return Ok(removed),
                // One was made or dropped meanwhile.
                Ok(None) | Err(Error::KeyspaceDropped { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes a snapshot and returns when it is durable and what it makes superfluous is gone. Reads and writes go on
    /// meanwhile.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// let db = kvcore::Db::open(dir.path())?;
    /// db.set("key", "value")?;
    /// db.snapshot()?;
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::InMemory`], [`Error::Closed`], [`Error::Reentered`], [`Error::SnapshotCancelled`], [`Error::Io`], and the errors of the
    /// log.
    pub fn snapshot(&self) -> Result<()> {
        match &self.engine().storage {
            Some(_) if self.engine().is_closed() => Err(Error::Closed),
            Some(storage) => {
                // From inside a transaction it would wait for the very locks that this holds.
                let _guard = self.engine().context.enter()?;
                background::snapshot(self.engine(), storage, false)
            }
            None => Err(Error::InMemory { what: "write a snapshot to" }),
        }
    }

    /// Requests a snapshot and returns; false if one is under way. [`snapshot_status`](Self::snapshot_status) shows what
    /// became of it.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// let db = kvcore::Db::open(dir.path())?;
    /// assert!(db.snapshot_in_background()?);
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::InMemory`], [`Error::Closed`].
    pub fn snapshot_in_background(&self) -> Result<bool> {
        match &self.engine().storage {
            Some(_) if self.engine().is_closed() => Err(Error::Closed),
            Some(storage) => Ok(storage.snapshots.request()),
            None => Err(Error::InMemory { what: "write a snapshot to" }),
        }
    }

    /// Gives up the snapshot that is being written, by whomever it was begun, and withdraws one that was only requested;
    /// returns whether there was one. Its writer returns [`Error::SnapshotCancelled`]; what the files hold stays as it was, and
    /// [`snapshot_status`](Self::snapshot_status) shows the outcome of the snapshot before it.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// use kvcore::Db;
    /// let db = Db::open(dir.path())?;
    /// assert!(!db.cancel_snapshot());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn cancel_snapshot(&self) -> bool {
        self.engine().storage.as_ref().is_some_and(|storage| storage.snapshots.cancel())
    }

    /// Makes everything durable, reads it back from the files as an opener would after a crash now, compares it with
    /// what memory holds, and returns how many keys there are. Costs the time of an open and, for that long, the memory
    /// of a second store; transactions wait. Nothing is changed.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// use kvcore::Db;
    /// let db = Db::open(dir.path())?;
    /// db.set("k", "v")?;
    /// assert_eq!(db.verify()?, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NotAsWritten`]; [`Error::InMemory`], [`Error::Closed`], [`Error::Corrupt`], [`Error::Io`], and the errors of
    /// the log.
    pub fn verify(&self) -> Result<u64> {
        match &self.engine().storage {
            Some(_) if self.engine().is_closed() => Err(Error::Closed),
            Some(storage) => verify::verify(self.engine(), storage),
            None => Err(Error::InMemory { what: "read back" }),
        }
    }

    /// Copies the store to the directory `dest`, and returns when the copy is durable. It opens as a store of its own,
    /// with every change that was acknowledged before this was called, and is a moment of the history: no change in it
    /// is later than one that is not. Reads, writes and snapshots go on meanwhile.
    ///
    /// `dest` must not exist or be an empty directory, and appears only when all of it is there. Until then the copy is
    /// in a directory beside it named `DEST.partial-` and 16 hexadecimal digits; a crash may leave that, and it can be
    /// deleted. Where the file system can, the copy shares its blocks with the store (reflink) until one of the two changes
    /// them. Snapshots and log that the store no longer needs stay until the copy is done.
    ///
    /// ```
    /// # let root = tempfile::tempdir()?;
    /// # let (data, copy) = (root.path().join("data"), root.path().join("copy"));
    /// use kvcore::Db;
    /// let db = Db::open(data)?;
    /// db.set("k", "v")?;
    /// db.backup(&copy)?;
    /// assert_eq!(Db::open(copy)?.get("k")?.unwrap(), "v");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::DestinationTaken`]; [`Error::InMemory`]; the error of the log if it takes no
    /// writes; [`Error::Io`] if the copy cannot be written: nothing is left of it, and the store goes on.
    pub fn backup(&self, dest: impl AsRef<Path>) -> Result<BackupReport> {
        let backup = self.begin_backup()?;
        match &self.engine().storage {
            Some(storage) => backup.write_to(Arc::clone(&storage.disk), dest.as_ref()),
            None => Err(Error::Closed),
        }
    }

    /// Begins a backup whose files the caller reads, to send them somewhere; see [`backup`](Self::backup) for what it
    /// holds. [`Options::begin_restore`] makes a store of them. Until the returned value is dropped, the store removes
    /// no file: a backup that is read slowly costs room on the disk.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// let db = kvcore::Db::open(dir.path())?;
    /// let backup = db.begin_backup()?;
    /// let bytes: u64 = backup.files().iter().map(|file| file.bytes()).sum();
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::InMemory`], [`Error::Closed`], [`Error::Io`], and the errors of the log.
    pub fn begin_backup(&self) -> Result<Backup> {
        match &self.engine().storage {
            Some(storage) => backup::begin(self.engine(), storage),
            None => Err(Error::InMemory { what: "back up" }),
        }
    }

    /// Returns whether a snapshot is being written, and how the last one ended.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// assert!(!db.snapshot_status().running);
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    pub fn snapshot_status(&self) -> SnapshotStatus {
        self.engine().snapshot_status()
    }

    /// Returns figures about the store. Reads every shard; called from inside a transaction it leaves out what that holds.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// db.set("key", "value")?;
    /// assert_eq!(db.stats().entries, 1);
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    pub fn stats(&self) -> Stats {
        self.engine().stats()
    }

    /// Returns where the store's directory is now: it stays in use when it is moved. A store in memory is
    /// [unchanged](Location::Unchanged).
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// assert_eq!(db.location(), kvcore::Location::Unchanged);
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    pub fn location(&self) -> Location {
        self.engine().storage.as_ref().map(|storage| storage.dir.location()).unwrap_or_default()
    }

    /// Returns whether the store keeps nothing on disk.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// assert!(db.is_in_memory());
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    pub fn is_in_memory(&self) -> bool {
        self.engine().storage.is_none()
    }

    /// Returns the store's time in Unix milliseconds, which never runs backwards.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// assert!(db.now_ms() > 1_700_000_000_000);
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    pub fn now_ms(&self) -> u64 {
        self.engine().context.time.now_ms()
    }

    /// Returns how many milliseconds the store's time is ahead of the wall clock; 0 if it is not.
    ///
    /// The store's time never runs backwards: where it was open while the clock was set too far ahead, it stays there
    /// until the clock has caught up. Until then absolute deadlines that lie between the two have passed.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// assert_eq!(db.time_ahead_ms(), 0);
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    pub fn time_ahead_ms(&self) -> u64 {
        self.engine().context.time.ahead_of_wall_ms()
    }

    /// Changes what plain writes have survived when they return, through every handle but those made by
    /// [`with_durability`](Keyspace::with_durability). Does not wait, and costs writes nothing.
    ///
    /// A write that begins after this has returned keeps the new promise; one that is under way keeps either. To
    /// [`Always`](Durability::Always): what was written before is made durable as soon as the disk can, and since the
    /// log is durable from its beginning on, the first write that returns proves all those before it. To a weaker level:
    /// who waits for its sync goes on waiting until it is done, and what was written before keeps at least the window of
    /// [`EverySecond`](Durability::EverySecond).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// use kvcore::{Db, Durability, Options};
    /// let db = Options::new().durability(Durability::EverySecond).open(dir.path())?;
    /// (0..1000).try_for_each(|i| db.set(format!("imported:{i}"), "..."))?;
    /// db.set_durability(Durability::Always);
    /// db.set("imported", "yes")?;
    /// assert_eq!(db.hooks().durable_lsn(), db.hooks().last_lsn()); // the whole import is on stable storage
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_durability(&self, durability: Durability) {
        match self.wal() {
            Some(wal) => wal.set_durability(durability),
            None => self.engine().context.promise.set(durability),
        }
    }

    /// Returns `Ok` if writes are taken; otherwise the error that they would get.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// db.health()?;
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::LogFailed`], [`Error::NoSpace`], [`Error::TooManyOpenFiles`], [`Error::Closed`].
    pub fn health(&self) -> Result<()> {
        self.wal().map_or(Ok(()), |wal| wal.health())
    }

    /// Changes how much the store may hold, and what is removed to keep it so. From then on transactions and reads are counted
    /// as uses where the policy needs it; keys used before count as used when that was, as far as
    /// [`DbHooks::note_time`] has recorded it.
    ///
    /// What is beyond the new limits is removed by the writes that follow, up to some thousand entries by each, or by
    /// [`make_room`](Self::make_room).
    ///
    /// ```
    /// use kvcore::{Db, Limits, Policy};
    /// let db = Db::in_memory();
    /// (0..100).try_for_each(|i| db.set(format!("key{i}"), "value"))?;
    /// db.set_limits(Limits { max_entries: Some(10), policy: Policy::Lru, ..db.limits() })?;
    /// db.get("key7")?;
    /// db.make_room(u64::MAX)?;
    /// assert_eq!((db.stats().entries, db.stats().evicted), (10, 90));
    /// assert!(db.exists("key7")?);
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::InvalidOption`] for a limit out of its range, [`Error::Closed`], [`Error::Reentered`], all with nothing changed.
    pub fn set_limits(&self, limits: Limits) -> Result<()> {
        self.engine().set_limits(limits)
    }

    /// Returns how much the store may hold.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// assert_eq!(db.limits().max_entries, None);
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    pub fn limits(&self) -> Limits {
        self.engine().context.eviction.limits()
    }

    /// Removes entries until the store is within its limits, at most `at_most` of them. Writes do so by themselves.
    ///
    /// ```
    /// use kvcore::{Db, Limits, Policy};
    /// let db = Db::in_memory();
    /// (0..100).try_for_each(|i| db.set(format!("key{i}"), "value"))?;
    /// db.set_limits(Limits { max_entries: Some(10), policy: Policy::Lru, ..db.limits() })?;
    /// db.make_room(u64::MAX)?;
    /// assert_eq!(db.len()?, 10);
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::MemoryLimit`], [`Error::EntryLimit`] if nothing can be removed; the errors of the log.
    pub fn make_room(&self, at_most: u64) -> Result<Room> {
        self.engine().room(at_most)
    }

    /// Removes entries whose deadline has passed and returns how many. A store on disk does so by itself.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// assert_eq!(db.sweep(), 0);
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    pub fn sweep(&self) -> u64 {
        self.engine().sweep()
    }

    /// Makes everything durable, ends the threads and frees the directory; every handle is of no more use. An error
    /// means that the newest writes may be lost.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// db.close()?;
    /// assert!(matches!(db.get("key"), Err(kvcore::Error::Closed)));
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Reentered`], with nothing done; the errors of the log.
    pub fn close(&self) -> Result<()> {
        self.engine().close()
    }
}
