//! Backups: of a store under load and of one that is closed, what they hold, and that the store itself is never harmed.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and looks at files itself"
)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use kvcore::hooks::Lsn;
use kvcore::{
    Backup, Db, Directory, Disk, DiskFile, Durability, Error, FileDisk, Inspection, ManualClock, Options, Verdict,
};

const PATIENCE: Duration = Duration::from_secs(60);

/// Small segments and frequent snapshots, so that files come and go all the time.
fn options() -> Options {
    Options::new().segment_bytes(4096).snapshot_log_bytes(16 * 1024)
}

fn number(db: &Db, key: &str) -> u64 {
    db.get(key).unwrap().map_or(0, |value| std::str::from_utf8(&value).unwrap().parse().unwrap())
}

#[track_caller]
fn assert_sound(dir: &Path) {
    let found = Options::new().inspect(dir).unwrap();
    assert!(found.is_sound() && matches!(found.verdict, Verdict::Opens), "{found:?}");
}

/// Every file below a directory, with its bytes and its inode.
fn contents(dir: &Path) -> BTreeMap<String, (Vec<u8>, u64)> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let metadata = entry.metadata().unwrap();
        assert_eq!(metadata.nlink(), 1, "{:?} has another name", entry.path());
        let name = entry.file_name().into_string().unwrap();
        found.insert(name, (fs::read(entry.path()).unwrap(), metadata.ino()));
    }
    found
}

/// Names below `root`, to see that nothing was left behind.
fn names(root: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(root).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Waits until something is so.
#[track_caller]
fn wait_for(what: &str, is_so: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// One writer: its counter as it began each step and as each step was acknowledged.
#[derive(Default)]
struct Writer {
    begun: AtomicU64,
    acknowledged: AtomicU64,
}

const WRITERS: usize = 4;

/// Step `n` of writer `w`, as one transaction: both of its keys become `n`, and the number of all steps grows by one.
fn step(db: &Db, writer: usize, writers: &[Writer]) {
    let n = writers[writer].begun.fetch_add(1, Ordering::SeqCst) + 1;
    let (left, right) = (format!("left:{writer}"), format!("right:{writer}"));
    let text = n.to_string();
    db.transact(&[left.as_str(), right.as_str(), "steps"], |txn| {
        txn.set(left.as_bytes(), text.as_bytes())?;
        txn.set(right.as_bytes(), text.as_bytes())?;
        txn.increment(b"steps", 1)
    })
    .unwrap();
    writers[writer].acknowledged.store(n, Ordering::SeqCst);
}

/// Checks that a backup is a prefix of the history that holds at least `floor` and at most `ceiling` of each writer.
fn check_prefix(db: &Db, floor: &[u64], ceiling: &[u64]) {
    let mut steps = 0;
    for writer in 0..WRITERS {
        let (left, right) = (number(db, &format!("left:{writer}")), number(db, &format!("right:{writer}")));
        assert_eq!(left, right, "half of a transaction of writer {writer}");
        assert!(left >= floor[writer], "LOST: writer {writer} had {} acknowledged, not {left}", floor[writer]);
        assert!(left <= ceiling[writer], "writer {writer} had begun {}, not {left}", ceiling[writer]);
        steps += left;
    }
    assert_eq!(number(db, "steps"), steps, "some steps are there and earlier ones are not");
}

/// `pause` after each step keeps writers who wait for no disk from writing thousands of segments a second.
fn hundred_backups(options: Options, pause: Duration) {
    let root = tempfile::tempdir().unwrap();
    let db = options.open(root.path().join("data")).unwrap();
    let writers: [Writer; WRITERS] = Default::default();
    let is_over = AtomicBool::new(false);
    let values = |field: fn(&Writer) -> &AtomicU64| -> Vec<u64> {
        writers.iter().map(|writer| field(writer).load(Ordering::SeqCst)).collect()
    };
    // Ends the writers when a check fails, too.
    struct Over<'a>(&'a AtomicBool);
    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    std::thread::scope(|scope| {
        let _over = Over(&is_over);
        for writer in 0..WRITERS {
            let (db, writers, is_over) = (&db, &writers, &is_over);
            scope.spawn(move || {
                while !is_over.load(Ordering::SeqCst) {
                    step(db, writer, writers);
                    std::thread::sleep(pause);
                }
            });
        }
        let mut last = Lsn::ZERO;
        for round in 0..100 {
            if round % 10 == 0 {
                db.snapshot_in_background().unwrap();
            }
            let before = values(|writer| &writer.acknowledged);
            // Each is of another moment.
            wait_for("the writers go on", || {
                let now = values(|writer| &writer.acknowledged);
                now.iter().zip(&before).all(|(now, before)| now > before)
            });
            let floor = values(|writer| &writer.acknowledged);
            let copy = root.path().join(format!("backup-{round}"));
            let report = db.backup(&copy).unwrap();
            let ceiling = values(|writer| &writer.begun);
            assert!(report.lsn > last);
            last = report.lsn;
            assert_sound(&copy);
            assert_eq!(report.files, names(&copy).len());
            assert_eq!(report.bytes, contents(&copy).values().map(|(bytes, _)| bytes.len() as u64).sum::<u64>());
            // In memory, so that the next look at it is at what was written.
            check_prefix(&Options::new().load(&copy).unwrap(), &floor, &ceiling);
            let opened = Db::open(&copy).unwrap();
            check_prefix(&opened, &floor, &ceiling);
            assert_eq!(opened.stats().recovery.cut_bytes, 0);
            opened.set("after", "the backup").unwrap();
            opened.close().unwrap();
            assert_sound(&copy);
            fs::remove_dir_all(copy).unwrap();
        }
    });
    assert!(db.snapshot_status().last_good_ms > 0, "no snapshot was ever taken");
    db.verify().unwrap();
    db.close().unwrap();
    assert_sound(&root.path().join("data"));
    assert_eq!(names(root.path()), ["data"], "nothing is left over");
}

#[test]
fn a_hundred_backups_under_load_are_prefixes_with_all_that_was_acknowledged() {
    hundred_backups(options(), Duration::ZERO);
}

/// What is acknowledged before it is written is in a backup all the same.
#[test]
fn a_hundred_backups_under_load_of_a_store_that_syncs_every_second() {
    let options = Options::new().segment_bytes(32 * 1024).snapshot_log_bytes(128 * 1024);
    hundred_backups(options.durability(Durability::EverySecond), Duration::from_millis(1));
}

/// What the log's buffer holds would be missing from files that are only copied.
#[test]
fn what_is_not_written_yet_is_in_a_backup() {
    let root = tempfile::tempdir().unwrap();
    let db = Options::new().durability(Durability::Os).open(root.path().join("data")).unwrap();
    for i in 0..200 {
        db.set(format!("k{i}"), "v").unwrap();
        let copy = root.path().join("copy");
        assert_eq!(db.backup(&copy).unwrap().lsn, db.hooks().last_lsn());
        assert_eq!(Options::new().load(&copy).unwrap().len().unwrap(), i + 1);
        fs::remove_dir_all(copy).unwrap();
    }
}

/// Makes a store of a backup's files as a caller does who was sent them.
fn restore(backup: &Backup, dest: &Path) -> Inspection {
    let mut restore = Options::new().begin_restore(dest).unwrap();
    for file in backup.files() {
        let mut bytes = vec![0; file.bytes() as usize + 7];
        // In odd pieces, and beyond the end.
        let (mut at, mut step) = (0, 1);
        while at < file.bytes() as usize {
            let end = bytes.len().min(at + step);
            at += file.read_at(&mut bytes[at..end], at as u64).unwrap();
            step = step * 3 + 1;
        }
        assert_eq!(file.read_at(&mut [0; 8], file.bytes()).unwrap(), 0);
        assert_eq!(file.read_at(&mut [0; 8], u64::MAX).unwrap(), 0);
        restore.add(file.name(), file.bytes(), &mut &bytes[..at]).unwrap();
    }
    restore.finish().unwrap()
}

#[test]
fn files_are_held_back_from_removal_while_a_backup_lasts_and_removed_after_it() {
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("data");
    let db = options().snapshot_log_bytes(u64::MAX / 2).open(&data).unwrap();
    let write = |from: u64| (from..from + 100).for_each(|i| db.set(format!("k{i}"), [b'v'; 200]).unwrap());
    write(0);
    db.snapshot().unwrap();
    write(100);
    let (backup, other) = (db.begin_backup().unwrap(), db.begin_backup().unwrap());
    let of_backup: Vec<String> = backup.files().iter().map(|file| file.name().to_owned()).collect();
    // But for the two that it has in memory.
    let held = &of_backup[..of_backup.len() - 2];
    assert!(held.len() > 3, "{held:?}");
    for round in 2..5 {
        write(round * 100);
        db.snapshot().unwrap();
    }
    let there = || names(&data);
    assert!(held.iter().all(|name| there().contains(name)), "{held:?} of {:?}", there());
    // A crash now leaves more than is needed, and that opens.
    let (_dir, killed) = support::after_a_kill(&data);
    assert_eq!(killed.len().unwrap(), 500);
    let inspected = restore(&backup, &root.path().join("restored"));
    assert!(inspected.is_sound());
    let restored = Db::open(root.path().join("restored")).unwrap();
    assert_eq!((restored.len().unwrap(), restored.get("k199").unwrap().is_some()), (200, true));
    drop(backup);
    // The other one still needs them.
    db.snapshot().unwrap();
    assert!(held.iter().all(|name| there().contains(name)), "{held:?} of {:?}", there());
    drop(other);
    wait_for("the files that were held back go", || !there().iter().any(|name| held.contains(name)));
    wait_for("one snapshot is left", || support::files(&data, "snapshot-").len() == 1);
    assert_eq!(db.verify().unwrap(), 500);
    // And the next snapshot removes as ever.
    write(500);
    db.snapshot().unwrap();
    assert_eq!(support::files(&data, "snapshot-").len(), 1);
    db.close().unwrap();
    assert_sound(&data);
}

/// What is not open by then is found where the directory has been moved to, and what was removed is an error.
#[test]
fn a_backup_outlives_the_store_it_is_of() {
    let root = tempfile::tempdir().unwrap();
    let (data, moved) = (root.path().join("data"), root.path().join("moved"));
    let db = options().open(&data).unwrap();
    (0..300).for_each(|i| db.set(format!("k{i}"), [b'v'; 200]).unwrap());
    let backup = db.begin_backup().unwrap();
    db.close().unwrap();
    drop(db);
    fs::rename(&data, &moved).unwrap();
    drop(Db::open(&data).unwrap());
    restore(&backup, &root.path().join("restored"));
    assert_eq!(Db::open(root.path().join("restored")).unwrap().len().unwrap(), 300);
    fs::remove_dir_all(&moved).unwrap();
    let refused = backup.files().iter().find_map(|file| file.read_at(&mut [0; 8], 0).err()).unwrap();
    assert!(matches!(refused, Error::Io { .. }), "{refused}");
}

/// All segments of a backup were open at once: that of a large store used up what the process may have open.
#[test]
fn a_backup_of_many_segments_has_few_of_them_open() {
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("data");
    let db = options().snapshot_log_bytes(u64::MAX / 2).open(&data).unwrap();
    (0..400).for_each(|i| db.set(format!("k{i}"), [b'v'; 1000]).unwrap());
    let data = data.canonicalize().unwrap();
    let open_segments = || {
        let targets = fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        targets.filter(|target| target.starts_with(&data) && target.to_string_lossy().contains("wal-")).count()
    };
    let before = open_segments();
    assert!(before >= 1, "the segment that is written is not counted");
    let backup = db.begin_backup().unwrap();
    assert!(backup.files().len() > 100, "{} files", backup.files().len());
    for _ in 0..2 {
        for file in backup.files() {
            file.read_at(&mut [0; 8], 0).unwrap();
            assert!(open_segments() <= before + 1, "{} segments are open", open_segments());
        }
    }
    db.backup(root.path().join("copy")).unwrap();
    drop(backup);
    assert_eq!(open_segments(), before);
    db.close().unwrap();
    drop(db);
    let closed = Options::new().backup(&data, root.path().join("closed")).unwrap();
    assert!(closed.files > 100, "{closed:?}");
    assert_eq!(open_segments(), 0);
}

#[test]
fn nothing_that_is_done_to_a_backup_changes_a_byte_of_the_store() {
    let root = tempfile::tempdir().unwrap();
    let (data, copy) = (root.path().join("data"), root.path().join("copy"));
    let db = options().open(&data).unwrap();
    (0..300).for_each(|i| db.set(format!("k{i}"), [b'v'; 200]).unwrap());
    db.backup(&copy).unwrap();
    db.close().unwrap();
    let before = contents(&data);
    let copied = contents(&copy);
    assert!(copied.values().all(|(_, inode)| before.values().all(|(_, other)| other != inode)));
    assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o700);
    for name in copied.keys() {
        let mode = fs::metadata(copy.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }

    // Opened, written to until it has replaced every file it came with, and closed.
    let opened = options().open(&copy).unwrap();
    (0..300).for_each(|i| opened.set(format!("k{i}"), [b'w'; 200]).unwrap());
    opened.snapshot().unwrap();
    opened.close().unwrap();
    assert!(contents(&data) == before);

    // Damaged and repaired.
    let again = root.path().join("again");
    options().backup(&data, &again).unwrap();
    let segment = support::files(&again, "wal-").remove(0);
    let mut bytes = fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&segment, bytes).unwrap();
    options().repair(&again).unwrap();
    assert_sound(&again);
    assert!(contents(&data) == before);
}

#[test]
fn a_closed_store_is_backed_up_and_not_touched() {
    let root = tempfile::tempdir().unwrap();
    let (data, copy) = (root.path().join("data"), root.path().join("copy"));
    let db = Options::new().segment_bytes(4096).open(&data).unwrap();
    (0..100).for_each(|i| db.set(format!("k{i}"), [b'v'; 200]).unwrap());
    assert!(matches!(Options::new().backup(&data, &copy), Err(Error::Locked { .. })));
    let lsn = db.hooks().last_lsn();
    // As a killed process leaves it, in the middle of a write.
    let killed = support::copy(&data);
    db.close().unwrap();
    let newest = support::files(killed.path(), "wal-").pop().unwrap();
    let mut bytes = fs::read(&newest).unwrap();
    let written = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let torn = (written + 8).next_multiple_of(8);
    bytes.resize(bytes.len().max(torn + 100), 0);
    bytes[torn..torn + 100].fill(0xaa);
    fs::write(&newest, bytes).unwrap();
    assert!(matches!(Options::new().inspect(killed.path()).unwrap().verdict, Verdict::Cuts { .. }));

    for (dir, copy) in [(data.as_path(), "copy"), (killed.path(), "copy-of-killed")] {
        let (before, copy) = (contents(dir), root.path().join(copy));
        let report = Options::new().backup(dir, &copy).unwrap();
        assert!(contents(dir) == before);
        assert_eq!(report.lsn, lsn);
        assert_sound(&copy);
        assert_eq!(Db::open(&copy).unwrap().len().unwrap(), 100);
        // A backup of a backup is one.
        let again = root.path().join("again");
        assert_eq!(Options::new().backup(&copy, &again).unwrap().lsn, Db::open(&copy).unwrap().hooks().last_lsn());
        assert_sound(&again);
        fs::remove_dir_all(again).unwrap();
    }

    // A damaged store is refused, with nothing left behind.
    let first = support::files(&data, "wal-").remove(0);
    let mut bytes = fs::read(&first).unwrap();
    bytes[60] ^= 1;
    fs::write(&first, bytes).unwrap();
    let listed = names(root.path());
    let (before, refused) = (contents(&data), root.path().join("refused"));
    assert!(matches!(Options::new().backup(&data, refused), Err(Error::Corrupt { .. })));
    assert!(contents(&data) == before);
    assert!(matches!(Options::new().backup(root.path(), root.path().join("no")), Err(Error::NoStore { .. })));
    assert_eq!(names(root.path()), listed);
}

#[test]
fn the_time_and_the_keyspaces_of_a_store_are_in_its_backup() {
    let root = tempfile::tempdir().unwrap();
    let (data, copy) = (root.path().join("data"), root.path().join("copy"));
    let at = |wall_ms: u64| Options::new().clock(Arc::new(ManualClock::at(wall_ms)));
    let db = at(2_000_000_000_000).open(&data).unwrap();
    db.keyspace("sessions").unwrap().set("k", "v").unwrap();
    db.swap("sessions", "archive").unwrap();
    db.backup(&copy).unwrap();
    // On a machine whose clock is behind.
    let opened = at(1_000_000_000_000).open(&copy).unwrap();
    assert!(opened.now_ms() >= 2_000_000_000_000);
    assert_eq!(opened.keyspace("archive").unwrap().get("k").unwrap().unwrap(), "v");
    assert_eq!(opened.keyspace("sessions").unwrap().get("k").unwrap(), None);
    // An empty store is one, too.
    let empty = Db::open(root.path().join("empty")).unwrap();
    empty.backup(root.path().join("copy-of-empty")).unwrap();
    assert_sound(&root.path().join("copy-of-empty"));
}

#[test]
fn a_destination_that_holds_anything_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let db = Db::open(root.path().join("data")).unwrap();
    db.set("k", "v").unwrap();
    fs::create_dir_all(root.path().join("taken/inside")).unwrap();
    fs::write(root.path().join("file"), "mine").unwrap();
    std::os::unix::fs::symlink("nowhere", root.path().join("dangling")).unwrap();
    let listed = names(root.path());
    for taken in ["taken", "file", "data", "/", "taken/.."] {
        // A path without a name of its own cannot be made either.
        let is_refusal = |error: &Error| match taken {
            "/" | "taken/.." => matches!(error, Error::DestinationTaken { .. } | Error::InvalidOption(_)),
            _ => matches!(error, Error::DestinationTaken { .. }),
        };
        let refused = db.backup(root.path().join(taken)).unwrap_err();
        assert!(is_refusal(&refused), "{taken}: {refused:?}");
        let refused = Options::new().begin_restore(root.path().join(taken)).map(drop).unwrap_err();
        assert!(is_refusal(&refused), "{taken}: {refused:?}");
    }
    assert!(db.backup(root.path().join("dangling")).is_err());
    assert_eq!(names(root.path()), listed, "nothing was left behind");
    assert_eq!(fs::read(root.path().join("file")).unwrap(), b"mine");
    // An empty directory is replaced, and missing ones above are made.
    fs::create_dir(root.path().join("empty")).unwrap();
    for free in ["empty", "new/deep/copy"] {
        db.backup(root.path().join(free)).unwrap();
        assert_sound(&root.path().join(free));
    }
    let in_memory = Db::in_memory();
    assert!(matches!(in_memory.backup(root.path().join("none")), Err(Error::InMemory { .. })));
    db.close().unwrap();
    assert!(matches!(db.begin_backup(), Err(Error::Closed)));
}

#[test]
fn a_backup_from_inside_a_transaction_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let db = Db::open(root.path().join("data")).unwrap();
    let refused = db.transact(&["k"], |_| db.backup(root.path().join("copy")).map(|_| ()));
    assert!(matches!(refused, Err(Error::Reentered)), "{refused:?}");
}

/// A disk on which the operation with this number fails, of those that change anything in a directory that is not yet
/// whole.
#[derive(Clone, Default)]
struct FullDisk(Arc<AtomicU64>);

struct FullDirectory(Arc<dyn Directory>, Option<FullDisk>);

struct FullFile(Box<dyn DiskFile>, Option<FullDisk>);

impl FullDisk {
    fn spend(&self) -> io::Result<()> {
        // 0 is no limit.
        match self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)) {
            Ok(1) => Err(io::Error::new(io::ErrorKind::StorageFull, "the disk is full")),
            _ => Ok(()),
        }
    }
}

fn spend(disk: &Option<FullDisk>) -> io::Result<()> {
    disk.as_ref().map_or(Ok(()), FullDisk::spend)
}

impl Disk for FullDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        FileDisk.create_dir(path)
    }
    fn open_dir(&self, path: &Path) -> io::Result<Arc<dyn Directory>> {
        let is_partial = path.to_string_lossy().contains(".partial-");
        Ok(Arc::new(FullDirectory(FileDisk.open_dir(path)?, is_partial.then(|| self.clone()))))
    }
    fn rename_dir(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.spend()?;
        FileDisk.rename_dir(from, to)
    }
    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        FileDisk.remove_dir(path)
    }
}

impl Directory for FullDirectory {
    fn path(&self) -> &Path {
        self.0.path()
    }
    fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
        self.0.lock()
    }
    fn lock_to_read(&self) -> io::Result<Box<dyn Send + Sync>> {
        self.0.lock_to_read()
    }
    fn list(&self) -> io::Result<Vec<String>> {
        self.0.list()
    }
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(FullFile(self.0.open(name)?, self.1.clone())))
    }
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        spend(&self.1)?;
        Ok(Box::new(FullFile(self.0.create(name)?, self.1.clone())))
    }
    fn create_folder(&self, name: &str) -> io::Result<()> {
        self.0.create_folder(name)
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }
    fn sync(&self) -> io::Result<()> {
        spend(&self.1)?;
        self.0.sync()
    }
    fn sync_folder(&self, name: &str) -> io::Result<()> {
        self.0.sync_folder(name)
    }
}

impl DiskFile for FullFile {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        spend(&self.1)?;
        self.0.write_at(bytes, offset)
    }
    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.0.allocate(offset, len)
    }
    fn sync(&self) -> io::Result<()> {
        spend(&self.1)?;
        self.0.sync()
    }
    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.truncate(len)
    }
}

#[test]
fn a_backup_that_fails_anywhere_leaves_nothing_and_the_store_goes_on() {
    let root = tempfile::tempdir().unwrap();
    let (data, copy) = (root.path().join("data"), root.path().join("copy"));
    let disk = FullDisk::default();
    let options = Options::new().segment_bytes(4096).disk(Arc::new(disk.clone()));
    let db = options.open(&data).unwrap();
    let mut keys = 0;
    let mut write = || {
        db.set(format!("k{keys}"), [b'v'; 200]).unwrap();
        keys += 1;
    };
    (0..100).for_each(|_| write());
    for operation in 1.. {
        disk.0.store(operation, Ordering::SeqCst);
        let outcome = db.backup(&copy);
        let is_beyond_the_last = disk.0.swap(0, Ordering::SeqCst) > 0;
        write();
        db.snapshot().unwrap();
        assert_eq!(support::files(&data, "snapshot-").len(), 1, "nothing is held any more");
        match outcome {
            Ok(_) => {
                assert!(is_beyond_the_last && operation > 10, "only {operation} operations could fail");
                break;
            }
            Err(error) => {
                assert!(matches!(error, Error::Io { .. }), "{error}");
                assert_eq!(names(root.path()), ["data"], "operation {operation} failed");
            }
        }
    }
    assert_sound(&copy);
    db.verify().unwrap();
}

/// Bytes that can be asked for only once: what is read beyond them fails the test.
struct Endless;

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        buffer.fill(0);
        Ok(buffer.len())
    }
}

#[test]
fn what_is_no_whole_backup_is_not_restored() {
    let root = tempfile::tempdir().unwrap();
    let db = Options::new().segment_bytes(4096).open(root.path().join("data")).unwrap();
    (0..100).for_each(|i| db.set(format!("k{i}"), [b'v'; 200]).unwrap());
    db.snapshot().unwrap();
    (0..100).for_each(|i| db.set(format!("k{i}"), [b'w'; 200]).unwrap());
    let backup = db.begin_backup().unwrap();
    let files: Vec<(String, Vec<u8>)> = backup
        .files()
        .iter()
        .map(|file| {
            let mut bytes = vec![0; file.bytes() as usize];
            file.read_at(&mut bytes, 0).unwrap();
            (file.name().to_owned(), bytes)
        })
        .collect();
    let dest = root.path().join("restored");
    let listed = names(root.path());
    let restore = |files: &[(String, Vec<u8>)]| -> Result<Inspection, Error> {
        let mut restore = Options::new().begin_restore(&dest)?;
        for (name, bytes) in files {
            restore.add(name, bytes.len() as u64, &mut &bytes[..])?;
        }
        restore.finish()
    };
    let refused = |what: &str, outcome: Result<Inspection, Error>| {
        assert!(matches!(outcome, Err(Error::NotABackup { .. })), "{what}: {outcome:?}");
        assert_eq!(names(root.path()), listed, "{what}: nothing is left behind");
    };
    for missing in 0..files.len() {
        let mut fewer = files.clone();
        let (name, _) = fewer.remove(missing);
        refused(&name, restore(&fewer));
    }
    for (at, (name, bytes)) in files.iter().enumerate() {
        let mut damaged = files.clone();
        damaged[at].1[bytes.len() / 2] ^= 1;
        refused(&format!("{name} damaged"), restore(&damaged));
        let mut shorter = files.clone();
        shorter[at].1.truncate(bytes.len() * 3 / 4);
        match name.as_str() {
            // What was cut off says nothing.
            "manifest" => {
                restore(&shorter).unwrap();
                fs::remove_dir_all(&dest).unwrap();
            }
            _ => refused(&format!("{name} cut"), restore(&shorter)),
        }
        let mut twice = files.clone();
        twice.push(files[at].clone());
        refused(&format!("{name} twice"), restore(&twice));
    }
    let names_of_others = [
        "../x",
        "/tmp/x",
        "x",
        "lock",
        "",
        ".",
        "manifest.tmp",
        "wal.tmp",
        "damaged-1/manifest",
        "wal-1.log",
        "a/manifest",
        "wal-000000000000000A.log",
    ];
    for name in names_of_others {
        let mut more = files.clone();
        more.insert(0, (name.to_owned(), b"x".to_vec()));
        refused(name, restore(&more));
    }
    {
        let mut restore = Options::new().begin_restore(&dest).unwrap();
        let cut = restore.add("manifest", u64::MAX, &mut &b"short"[..]);
        assert!(matches!(cut, Err(Error::NotABackup { .. })), "{cut:?}");
        // No more is taken than belongs to the file.
        restore.add(&files[0].0, 10, &mut Endless).unwrap();
    }
    assert_eq!(names(root.path()), listed);
    restore(&files).unwrap();
    assert_eq!(Db::open(&dest).unwrap().get("k99").unwrap().unwrap(), [b'w'; 200]);
    let taken: PathBuf = dest.clone();
    assert!(matches!(Options::new().begin_restore(taken), Err(Error::DestinationTaken { .. })));
}
