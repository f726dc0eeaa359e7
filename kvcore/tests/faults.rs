//! A disk that fails: nothing hangs, nothing acknowledged is lost, and the caller is told what to do.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and looks at files itself"
)]

use std::io;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Wake};
use std::time::Duration;

use futures_core::Stream;
use kvcore::hooks::{CrossTxn, Txn, TxnExt};
use kvcore::{
    Db, Directory, Disk, DiskFile, Durability, Error, FileDisk, LockSet, ManualClock, Options, SetOptions, WatchEvent,
};

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until writes are taken again.
#[track_caller]
fn until_healthy(db: &Db) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while let Err(error) = db.health() {
        assert!(std::time::Instant::now() < deadline, "writes are not taken again: {error}");
        std::thread::yield_now();
    }
}

/// What fails from now on.
#[derive(Default)]
struct Faults {
    write: AtomicBool,
    sync: AtomicBool,
    no_space: AtomicBool,
    syncs: AtomicU64,
    writes: AtomicU64,
    /// Syncs wait while this is set.
    sync_held: AtomicBool,
}

#[derive(Clone, Default)]
struct FaultyDisk(Arc<Faults>);

struct FaultyFile(Box<dyn DiskFile>, Arc<Faults>);

/// A directory of the real disk whose files are [`FaultyFile`]s.
struct FaultyDirectory(Arc<dyn Directory>, Arc<Faults>);

impl Disk for FaultyDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        FileDisk.create_dir(path)
    }
    fn open_dir(&self, path: &Path) -> io::Result<Arc<dyn Directory>> {
        Ok(Arc::new(FaultyDirectory(FileDisk.open_dir(path)?, self.0.clone())))
    }
    fn rename_dir(&self, from: &Path, to: &Path) -> io::Result<()> {
        FileDisk.rename_dir(from, to)
    }
}

impl Directory for FaultyDirectory {
    fn path(&self) -> &Path {
        self.0.path()
    }
    fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
        self.0.lock()
    }
    fn list(&self) -> io::Result<Vec<String>> {
        self.0.list()
    }
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(FaultyFile(self.0.open(name)?, self.1.clone())))
    }
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(FaultyFile(self.0.create(name)?, self.1.clone())))
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
        self.0.sync()
    }
    fn sync_folder(&self, name: &str) -> io::Result<()> {
        self.0.sync_folder(name)
    }
}

impl DiskFile for FaultyFile {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if self.1.write.load(Ordering::SeqCst) {
            return Err(io::Error::other("the write failed"));
        }
        self.0.write_at(bytes, offset)?;
        self.1.writes.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        if self.1.no_space.load(Ordering::SeqCst) {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "the disk is full"));
        }
        self.0.allocate(offset, len)
    }
    fn sync(&self) -> io::Result<()> {
        self.1.syncs.fetch_add(1, Ordering::SeqCst);
        while self.1.sync_held.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        if self.1.sync.load(Ordering::SeqCst) {
            return Err(io::Error::other("the sync failed"));
        }
        self.0.sync()
    }
    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.truncate(len)
    }
}

fn open(dir: &Path, disk: &FaultyDisk) -> Db {
    Options::new().segment_bytes(8 * 1024).disk(Arc::new(disk.clone())).open(dir).unwrap()
}

#[test]
fn the_first_failed_write_or_sync_poisons_the_log() {
    for fail_sync in [false, true] {
        let (dir, disk) = (tempfile::tempdir().unwrap(), FaultyDisk::default());
        let db = open(dir.path(), &disk);
        db.set("before", "v").unwrap();
        let fault = if fail_sync { &disk.0.sync } else { &disk.0.write };
        fault.store(true, Ordering::SeqCst);
        let told = Arc::new(AtomicBool::new(false));
        let tell = told.clone();
        db.hooks().on_durable(Arc::new(move || tell.store(true, Ordering::SeqCst)));
        assert!(matches!(db.set("during", "v"), Err(Error::LogFailed { .. })));
        // Listeners are told of the failure too, right after those who wait.
        while !told.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        // The disk works again, but what it dropped meanwhile nobody knows: only a reopen heals.
        fault.store(false, Ordering::SeqCst);
        let syncs = disk.0.syncs.load(Ordering::SeqCst);
        for _ in 0..10 {
            assert!(matches!(db.set("after", "v"), Err(Error::LogFailed { .. })));
            assert!(matches!(db.delete("before"), Err(Error::LogFailed { .. })));
        }
        assert_eq!(db.get_durable("before").unwrap().unwrap(), "v", "settled data is read as before");
        assert!(db.health().is_err());
        assert!(matches!(db.snapshot(), Err(Error::LogFailed { .. })), "a snapshot would hide what was lost");
        assert_eq!(disk.0.syncs.load(Ordering::SeqCst), syncs, "no sync is ever retried");
        assert!(matches!(db.close(), Err(Error::LogFailed { .. })));
        let db = open(dir.path(), &disk);
        assert_eq!(db.get("before").unwrap().unwrap(), "v");
        assert_eq!(db.get("after").unwrap(), None);
        db.set("after", "v").unwrap();
    }
}

#[test]
fn the_promise_changes_for_the_writes_that_begin_then() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), FaultyDisk::default());
    let options = Options::new().durability(Durability::Os).disk(Arc::new(disk.clone()));
    let db = options.open(dir.path()).unwrap();
    // Handles that were there before follow the store; one with a promise of its own does not.
    let (other, own) = (db.keyspace("other").unwrap(), db.with_durability(Durability::Os));

    disk.0.sync_held.store(true, Ordering::SeqCst);
    db.set("a", "1").unwrap();
    assert!(db.hooks().durable_lsn() < db.hooks().last_lsn(), "no sync can end");
    let syncs = disk.0.syncs.load(Ordering::SeqCst);
    db.set_durability(Durability::Always);
    assert_eq!((db.durability(), other.durability(), own.durability()), {
        (Durability::Always, Durability::Always, Durability::Os)
    });
    // What was written before is made durable although nobody waits for it.
    while disk.0.syncs.load(Ordering::SeqCst) == syncs {
        std::thread::yield_now();
    }
    own.set("c", "3").unwrap();
    let writer = std::thread::spawn({
        let other = other.clone();
        move || other.set("b", "2")
    });
    while other.get("b").unwrap().is_none() {
        std::thread::yield_now();
    }
    let ticket = db.deferred().set("d", "4").unwrap();
    assert!(!writer.is_finished(), "it is not durable");
    disk.0.sync_held.store(false, Ordering::SeqCst);
    writer.join().unwrap().unwrap();
    ticket.wait().unwrap();
    assert_eq!(db.hooks().durable_lsn(), db.hooks().last_lsn(), "with what came before it");

    disk.0.sync_held.store(true, Ordering::SeqCst);
    let waits = std::thread::spawn({
        let db = db.clone();
        move || db.set("e", "5")
    });
    while db.get("e").unwrap().is_none() {
        std::thread::yield_now();
    }
    db.set_durability(Durability::EverySecond);
    other.set("f", "6").unwrap();
    db.deferred().set("g", "7").unwrap().wait().unwrap();
    assert!(db.hooks().durable_lsn() < db.hooks().last_lsn());
    assert!(!waits.is_finished(), "it was promised more when it began");
    disk.0.sync_held.store(false, Ordering::SeqCst);
    waits.join().unwrap().unwrap();
    db.close().unwrap();
}

struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// A loop that skips errors would not end, and would keep a processor busy, if each call returned the refusal.
#[test]
fn a_watch_returns_once_that_writes_are_refused_and_goes_on_with_the_same_change() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), FaultyDisk::default());
    let db = open(dir.path(), &disk);
    let mut watch = db.watch("").unwrap();
    disk.0.no_space.store(true, Ordering::SeqCst);
    let mut written = 0;
    while db.set(format!("k{written}"), [1; 500]).is_ok() {
        written += 1;
    }
    let mut shown = 0;
    let refused = loop {
        match watch.next_within(Duration::ZERO) {
            Ok(event) => shown += usize::from(matches!(event.unwrap(), WatchEvent::Change { .. })),
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, Error::NoSpace { .. }), "{refused}");
    assert_eq!(shown, written, "what is durable is shown");
    assert!(watch.next_within(Duration::ZERO).unwrap().is_none());
    let mut watch = pin!(watch.into_stream());
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut context = Context::from_waker(&waker);
    assert!(watch.as_mut().poll_next(&mut context).is_pending());
    disk.0.no_space.store(false, Ordering::SeqCst);
    let event = loop {
        match watch.as_mut().poll_next(&mut context) {
            Poll::Ready(event) => break event,
            Poll::Pending => std::thread::park_timeout(Duration::from_secs(60)),
        }
    };
    let Some(Ok(WatchEvent::Change { key: Some(key), .. })) = event else { panic!("{event:?}") };
    assert_eq!(key, format!("k{written}").as_str());
    db.close().unwrap();
}

#[test]
fn a_full_disk_refuses_writes_until_there_is_space() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), FaultyDisk::default());
    let db = open(dir.path(), &disk);
    let mut acknowledged = 0;
    disk.0.no_space.store(true, Ordering::SeqCst);
    let refused = loop {
        match db.set(format!("k{acknowledged}"), [1; 500]) {
            Ok(()) => acknowledged += 1,
            Err(error) => break error,
        }
        assert!(acknowledged < 1_000, "segments of 8 KiB are full long before");
    };
    assert!(matches!(refused, Error::NoSpace { .. }), "{refused}");
    assert!(matches!(db.set("more", "v"), Err(Error::NoSpace { .. })), "refused at once, applied nowhere");
    assert_eq!(db.get("more").unwrap(), None);
    assert_eq!(db.get("k0").unwrap().unwrap(), [1; 500]);
    disk.0.no_space.store(false, Ordering::SeqCst);
    until_healthy(&db);
    db.set("after", "v").unwrap();
    db.close().unwrap();
    let db = open(dir.path(), &disk);
    assert_eq!(db.get("after").unwrap().unwrap(), "v");
    for i in 0..acknowledged {
        assert_eq!(db.get(format!("k{i}")).unwrap().unwrap(), [1; 500]);
    }
    assert!(db.len().unwrap() <= acknowledged + 2, "the one refused while it waited may be there, no other");
}

#[test]
fn starting_on_a_full_disk_says_what_is_needed() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), FaultyDisk::default());
    disk.0.no_space.store(true, Ordering::SeqCst);
    let options = Options::new().segment_bytes(8 * 1024).disk(Arc::new(disk.clone()));
    let error = options.clone().open(dir.path()).unwrap_err().to_string();
    for word in ["begin a log segment", "8192 bytes", "the disk is full", "free some disk space"] {
        assert!(error.contains(word), "{word:?} is not in: {error}");
    }
    disk.0.no_space.store(false, Ordering::SeqCst);
    options.open(dir.path()).unwrap();
}

#[test]
fn a_failed_snapshot_leaves_the_one_before_and_the_log() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), FaultyDisk::default());
    let db = open(dir.path(), &disk);
    db.set("k", "1").unwrap();
    db.snapshot().unwrap();
    db.set("k", "2").unwrap();
    db.set("big", vec![7; 100_000]).unwrap();
    // The log is not written to while this is set: only the snapshot meets it.
    let status = {
        disk.0.write.store(true, Ordering::SeqCst);
        let failed = db.snapshot();
        disk.0.write.store(false, Ordering::SeqCst);
        assert!(failed.is_err());
        db.snapshot_status()
    };
    assert!(status.last_error.is_some());
    // What it had written would take the room that the log needs.
    assert!(!dir.path().join("snapshot.tmp").exists(), "a piece of it is left");
    drop(db);
    let db = open(dir.path(), &disk);
    assert_eq!(db.get("k").unwrap().unwrap(), "2");
    assert_eq!(db.len().unwrap(), 2);
    db.snapshot().unwrap();
}

/// At `Always` nobody, not even a reader who waits, learns of a change that a crash could still take back.
#[test]
fn a_settled_read_reveals_nothing_that_a_crash_can_take_back() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), FaultyDisk::default());
    let db = open(dir.path(), &disk);
    db.set("k", "old").unwrap();
    disk.0.sync.store(true, Ordering::SeqCst);
    let ticket = db.deferred().set("k", "new").unwrap();
    assert_eq!(db.get("k").unwrap().unwrap(), "new", "a plain read does not wait");
    assert!(matches!(db.get_durable("k"), Err(Error::LogFailed { .. })), "a settled one tells nothing");
    assert!(matches!(ticket.wait(), Err(Error::LogFailed { .. })));
}

/// A keyspace that was made anew is empty because the one before it was dropped: who sees that has seen the drop.
#[test]
fn a_keyspace_made_anew_reveals_that_the_old_one_is_gone() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), FaultyDisk::default());
    let db = open(dir.path(), &disk);
    db.keyspace("a").unwrap().set("k", "old").unwrap();
    disk.0.sync_held.store(true, Ordering::SeqCst);
    let dropper = std::thread::spawn({
        let db = db.clone();
        move || db.drop_keyspace("a")
    });
    while db.keyspaces().iter().any(|keyspace| keyspace.name() == "a") {
        std::thread::yield_now();
    }
    let anew = db.keyspace("a").unwrap();
    let mut is_there = true;
    let look = &mut |txn: &mut dyn Txn| {
        is_there = txn.get(b"k")?.is_some();
        Ok(())
    };
    let revealed = anew.hooks().commit(&[b"k"], look).unwrap();
    assert!(!is_there);
    let durable = db.hooks().durable_lsn();
    disk.0.sync_held.store(false, Ordering::SeqCst);
    assert!(revealed > durable, "{revealed:?} may be told, although only {durable:?} is durable");
    dropper.join().unwrap().unwrap();
}

/// Whichever of two swapped keyspaces is read, the read has seen the swap.
#[test]
fn a_swap_is_revealed_by_both_keyspaces() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), FaultyDisk::default());
    let db = open(dir.path(), &disk);
    let other = db.keyspace("other").unwrap();
    db.set("k", "mine").unwrap();
    other.set("k", "theirs").unwrap();
    disk.0.sync_held.store(true, Ordering::SeqCst);
    let swapper = std::thread::spawn({
        let db = db.clone();
        move || db.swap("0", "other")
    });
    while db.get("k").unwrap().unwrap() != "theirs" && !swapper.is_finished() {
        std::thread::yield_now();
    }
    let revealed =
        [&*db, &other].map(|keyspace| keyspace.hooks().commit(&[b"k"], &mut |txn| txn.get(b"k").map(drop)).unwrap());
    let durable = db.hooks().durable_lsn();
    disk.0.sync_held.store(false, Ordering::SeqCst);
    swapper.join().unwrap().unwrap();
    assert_eq!(db.get("k").unwrap().unwrap(), "theirs");
    for (revealed, name) in revealed.into_iter().zip(["0", "other"]) {
        assert!(revealed > durable, "{name}: {revealed:?} may be told, although only {durable:?} is durable");
    }
}

/// A shard knows one Lsn for all its keys; that one of them is in doubt must not keep the others from being read.
#[test]
fn keys_that_are_not_in_doubt_are_read_although_they_share_a_shard_with_one_that_is() {
    for fault in ["sync", "write", "no space"] {
        let (dir, disk) = (tempfile::tempdir().unwrap(), FaultyDisk::default());
        let options = Options::new().shards(1).segment_bytes(8 * 1024).disk(Arc::new(disk.clone()));
        let db = options.open(dir.path()).unwrap();
        db.set("settled", "v").unwrap();
        db.set("changed", "old").unwrap();
        let flag = match fault {
            "sync" => &disk.0.sync,
            "write" => &disk.0.write,
            _ => &disk.0.no_space,
        };
        flag.store(true, Ordering::SeqCst);
        let refused = db.set("changed", vec![1; 10_000]).unwrap_err();
        let is_refusal = |error: &Error| matches!(error, Error::LogFailed { .. } | Error::NoSpace { .. });
        assert!(is_refusal(&refused), "{fault}: {refused}");
        assert_eq!(db.get_durable("settled").unwrap().unwrap(), "v");
        assert_eq!(db.get_durable("absent").unwrap(), None);
        let both = db.transact(&["settled", "absent"], |txn| {
            Ok((txn.get(b"settled")?.is_some(), txn.get(b"absent")?.is_some()))
        });
        assert_eq!(both.unwrap(), (true, false));
        assert!(is_refusal(&db.get_durable("changed").unwrap_err()), "{fault}: it may be lost");
        let with_it = db.transact(&["settled", "changed"], |txn| Ok(txn.get(b"changed")?.is_some()));
        assert!(is_refusal(&with_it.unwrap_err()), "{fault}: and so may this");
        if fault == "no space" {
            flag.store(false, Ordering::SeqCst);
            until_healthy(&db);
            assert_eq!(db.get_durable("changed").unwrap().unwrap(), vec![1; 10_000][..]);
            db.set("changed", "new").unwrap();
            assert_eq!(db.get_durable("changed").unwrap().unwrap(), "new");
        }
    }
}

#[test]
fn the_weaker_levels_report_a_failed_log_too() {
    for durability in [Durability::EverySecond, Durability::Os] {
        let (dir, disk) = (tempfile::tempdir().unwrap(), FaultyDisk::default());
        let db = Options::new().durability(durability).disk(Arc::new(disk.clone())).open(dir.path()).unwrap();
        disk.0.write.store(true, Ordering::SeqCst);
        // The write that meets the fault was acknowledged within its window; the next ones are refused.
        let deadline = std::time::Instant::now() + PATIENCE;
        while db.set("k", "v").is_ok() {
            assert!(std::time::Instant::now() < deadline, "{durability}: writes go on although the log has failed");
            std::thread::yield_now();
        }
        assert!(matches!(db.set("k", "v"), Err(Error::LogFailed { .. })));
    }
}

#[test]
fn closing_tells_when_the_newest_writes_are_lost() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), FaultyDisk::default());
    let db = Options::new().durability(Durability::Os).disk(Arc::new(disk.clone())).open(dir.path()).unwrap();
    disk.0.sync.store(true, Ordering::SeqCst);
    db.set("k", "v").unwrap();
    assert!(matches!(db.close(), Err(Error::LogFailed { .. })));
}

/// What was seen to expire while the disk was full waits for a time mark; once there is room again that comes by itself.
#[test]
fn reads_of_what_expired_on_a_full_disk_go_on_when_there_is_room_though_nobody_writes() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), FaultyDisk::default());
    let clock = Arc::new(ManualClock::at(1_000_000));
    let options = Options::new().shards(1).segment_bytes(8 * 1024).disk(Arc::new(disk.clone()));
    let db = options.clock(clock.clone()).open(dir.path()).unwrap();
    db.set("settled", "v").unwrap();
    db.set_with("short", "lived", SetOptions::new().expires_in(Duration::from_millis(50))).unwrap();
    disk.0.no_space.store(true, Ordering::SeqCst);
    assert!(db.set("large", vec![1; 10_000]).is_err());
    clock.advance(1_000);
    assert_eq!(db.get("short").unwrap(), None);
    assert!(db.get_durable("short").is_err(), "that it is gone is not in the log");
    assert_eq!(db.get_durable("settled").unwrap().unwrap(), "v", "another key of its shard");
    disk.0.no_space.store(false, Ordering::SeqCst);
    until_healthy(&db);
    assert_eq!(db.get_durable("short").unwrap(), None);
    assert_eq!(db.get_durable("settled").unwrap().unwrap(), "v");
}

/// Writes steadily, while the store's clock stands still, until `holds`.
///
/// The writes are so many that the syncer has had its turn many times over; and they are too few to fill a stripe of the
/// log or a segment, either of which would have them written or synced for another reason.
fn under_steady_writes(db: &Db, what: &str, holds: impl Fn() -> bool) {
    let busy = db.with_durability(Durability::Os);
    for _ in 0..8_000 {
        if holds() {
            return;
        }
        busy.set("busy", "").unwrap();
        std::thread::sleep(Duration::from_micros(200));
    }
    panic!("never under steady writes: {what}");
}

/// A store at `durability` whose clock stands still, with its disk and the clock.
fn at_a_standstill(dir: &Path, durability: Durability) -> (Db, FaultyDisk, Arc<ManualClock>) {
    let (disk, clock) = (FaultyDisk::default(), Arc::new(ManualClock::at(1_000_000)));
    let options = Options::new().durability(durability).disk(Arc::new(disk.clone())).clock(clock.clone());
    (options.open(dir).unwrap(), disk, clock)
}

/// However steadily it is written to, and whatever was written meanwhile.
#[test]
fn everysecond_makes_durable_what_is_older_than_a_second() {
    let dir = tempfile::tempdir().unwrap();
    let (db, disk, clock) = at_a_standstill(dir.path(), Durability::EverySecond);
    let mut written = std::collections::VecDeque::new();
    for step in 0..60 {
        let writes = disk.0.writes.load(Ordering::SeqCst);
        db.set(format!("k{}", step % 7), "v").unwrap();
        written.push_back(db.hooks().last_lsn());
        // The syncer comes to the log at each of these moments, and time goes on only then.
        under_steady_writes(&db, "it is handed to the operating system", || {
            disk.0.writes.load(Ordering::SeqCst) > writes
        });
        clock.advance(100);
        if written.len() >= 10 {
            // Written a second ago.
            let lsn = written.pop_front().unwrap();
            under_steady_writes(&db, "what is older than a second is durable", || db.hooks().durable_lsn() >= lsn);
        }
    }
}

#[test]
fn os_hands_over_what_is_written_and_does_not_sync_it() {
    let dir = tempfile::tempdir().unwrap();
    let (db, disk, clock) = at_a_standstill(dir.path(), Durability::Os);
    let (durable, syncs) = (db.hooks().durable_lsn(), disk.0.syncs.load(Ordering::SeqCst));
    for _ in 0..20 {
        let writes = disk.0.writes.load(Ordering::SeqCst);
        db.set("k", "v").unwrap();
        under_steady_writes(&db, "it is handed to the operating system", || {
            disk.0.writes.load(Ordering::SeqCst) > writes
        });
        clock.advance(1_000);
    }
    assert_eq!((db.hooks().durable_lsn(), disk.0.syncs.load(Ordering::SeqCst)), (durable, syncs));
}

/// What was written before the store was set to a weaker level keeps the window that it was promised.
#[test]
fn what_was_promised_within_a_second_is_durable_then_although_the_store_is_set_to_os() {
    for before in [Durability::EverySecond, Durability::Always] {
        let dir = tempfile::tempdir().unwrap();
        let (db, _disk, clock) = at_a_standstill(dir.path(), before);
        // Nobody waits for it.
        drop(db.deferred().set("k", "v").unwrap());
        let lsn = db.hooks().last_lsn();
        db.set_durability(Durability::Os);
        clock.advance(1_000);
        under_steady_writes(&db, "what was written before is durable", || db.hooks().durable_lsn() >= lsn);
    }
}

/// A handle with a promise of its own keeps it in a store that promises less.
#[test]
fn a_handle_at_everysecond_keeps_its_window_in_a_store_at_os() {
    let dir = tempfile::tempdir().unwrap();
    let (db, _disk, clock) = at_a_standstill(dir.path(), Durability::Os);
    let strong = db.with_durability(Durability::EverySecond);
    let deferred = db.with_durability(Durability::Always).deferred();
    for round in 0..6 {
        match round % 3 {
            0 => strong.set("k", "v").unwrap(),
            1 => drop(strong.deferred().set("k", "v").unwrap()),
            // A ticket that is dropped is good soon after.
            _ => drop(deferred.set("k", "v").unwrap()),
        }
        let lsn = db.hooks().last_lsn();
        clock.advance(1_000);
        under_steady_writes(&db, "it is durable after a second", || db.hooks().durable_lsn() >= lsn);
    }
}

fn is_refusal<T: std::fmt::Debug>(outcome: &Result<T, Error>) -> bool {
    matches!(outcome, Err(Error::LogFailed { .. } | Error::NoSpace { .. }))
}

/// A change whose outcome is in doubt, and which keyspaces and keys are so with it.
type Doubtful =
    (&'static str, fn(&mut dyn CrossTxn, [u32; 2]) -> kvcore::Result<()>, &'static [(&'static str, &'static str)]);

const EACH_IN_DOUBT: [Doubtful; 7] = [
    ("a new deadline", |txn, _| txn.expire(b"k", Duration::from_secs(5)).map(drop), &[("0", "k")]),
    ("no deadline", |txn, _| txn.persist(b"mortal").map(drop), &[("0", "mortal")]),
    ("a deletion", |txn, _| txn.delete(b"k").map(drop), &[("0", "k")]),
    ("an eviction", |txn, _| txn.evict(b"k").map(drop), &[("0", "k")]),
    ("a part of a value", |txn, _| txn.write_range(b"large", 5_000, b"x").map(drop), &[("0", "large")]),
    (
        "a clear",
        |txn, _| txn.clear().map(drop),
        &[("0", "k"), ("0", "mortal"), ("0", "large"), ("0", "settled"), ("0", "no")],
    ),
    (
        "an exchange",
        |txn, [_, other]| txn.swap(other),
        &[("0", "k"), ("0", "mortal"), ("0", "settled"), ("0", "no"), ("1", "k"), ("1", "settled"), ("1", "no")],
    ),
];

/// What a settled read shows of a key: its value and its deadline.
fn settled(db: &Db, (name, key): (&str, &str)) -> kvcore::Result<Option<(Vec<u8>, Option<u64>)>> {
    let shown = |value: kvcore::ValueRef<'_>| (value.bytes().to_vec(), value.deadline().map(kvcore::Deadline::as_ms));
    db.keyspace(name)?.transact(&[key], |txn| Ok(txn.get(key.as_bytes())?.map(shown)))
}

/// The outcome of a change is unknown from the moment the log fails until the store is opened again: no settled read shows
/// it. All others go on, and show what the next opener finds.
#[test]
fn a_change_in_doubt_is_not_shown_whatever_its_kind() {
    let keys = ["k", "mortal", "large", "settled", "no"];
    for fault in ["sync", "write", "no space"] {
        for (what, change, doubtful) in EACH_IN_DOUBT {
            let (dir, disk) = (tempfile::tempdir().unwrap(), FaultyDisk::default());
            let clock = Arc::new(ManualClock::at(1_000_000));
            let open = || {
                let options = Options::new().shards(1).segment_bytes(64 * 1024).disk(Arc::new(disk.clone()));
                options.clock(clock.clone()).open(dir.path()).unwrap()
            };
            let db = open();
            let spaces = ["0", "1", "2", "filler"].map(|name| db.keyspace(name).unwrap());
            for space in &spaces[..3] {
                space.set("k", space.name()).unwrap();
                space.set_with("mortal", "v", SetOptions::new().expires_in(Duration::from_secs(1_000))).unwrap();
                space.set("large", vec![1; 10_000]).unwrap();
                space.set("settled", space.name()).unwrap();
            }
            let flag = match fault {
                "sync" => &disk.0.sync,
                "write" => &disk.0.write,
                _ => &disk.0.no_space,
            };
            flag.store(true, Ordering::SeqCst);
            // With more than the segment has room for, so that all of it waits for space.
            let filler: &[&[u8]] = &[b"filler"];
            let claims = LockSet::new().whole(&spaces[0]).whole(&spaces[1]).keys(&spaces[3], filler);
            let refused = db.hooks().transact_across(claims, |txn| {
                change(txn, [spaces[0].hooks().id(), spaces[1].hooks().id()])?;
                txn.select(spaces[3].hooks().id())?;
                txn.set(b"filler", &vec![2; 70_000], None)
            });
            assert!(is_refusal(&refused), "{what}, {fault}: {refused:?}");
            let mut shown = Vec::new();
            for (name, key) in ["0", "1", "2"].into_iter().flat_map(|name| keys.map(|key| (name, key))) {
                let outcome = settled(&db, (name, key));
                assert!(
                    is_refusal(&outcome) || !doubtful.contains(&(name, key)),
                    "{what}, {fault}: it may be lost, and {name}/{key} shows it: {outcome:?}"
                );
                match outcome {
                    Ok(outcome) => shown.push(((name, key), outcome)),
                    Err(_) => assert!(is_refusal(&outcome), "{what}, {fault}: {outcome:?}"),
                }
            }
            // One keyspace has nothing to do with it.
            assert!(shown.len() >= keys.len(), "{what}, {fault}: only {shown:?} is shown");
            flag.store(false, Ordering::SeqCst);
            if fault == "no space" {
                while db.health().is_err() {
                    std::thread::yield_now();
                }
                for place in doubtful {
                    settled(&db, *place).unwrap();
                }
            }
            drop((spaces, db));
            let db = open();
            for (place, before) in shown {
                assert_eq!(settled(&db, place).unwrap(), before, "{what}, {fault}: {place:?} was shown");
            }
        }
    }
}

/// That a key has expired is told when the time mark is durable, whoever found it: a read, a write that came to it, the
/// sweeper. Until then the time may run back for the next opener.
#[test]
fn an_expiry_in_doubt_is_not_shown() {
    for found_by in ["a read", "a write", "the sweeper", "who is not to show it"] {
        for fail_sync in [false, true] {
            let (dir, disk) = (tempfile::tempdir().unwrap(), FaultyDisk::default());
            let clock = Arc::new(ManualClock::at(1_000_000));
            let options = Options::new().shards(1).disk(Arc::new(disk.clone())).clock(clock.clone());
            let db = options.open(dir.path()).unwrap();
            // Until it is looked for.
            db.hooks().pause_sweeping(true);
            let other = db.keyspace("other").unwrap();
            other.set("settled", "v").unwrap();
            for key in ["short", "as short"] {
                db.set_with(key, "v", SetOptions::new().expires_in(Duration::from_millis(50))).unwrap();
            }
            let fault = if fail_sync { &disk.0.sync } else { &disk.0.write };
            fault.store(true, Ordering::SeqCst);
            clock.advance(1_000);
            match found_by {
                "a read" => assert_eq!(db.get("short").unwrap(), None),
                "a write" => drop(db.deferred().delete("short")),
                "who is not to show it" => {}
                _ => {
                    db.hooks().pause_sweeping(false);
                    db.sweep();
                }
            }
            for key in ["short", "as short"] {
                let outcome = settled(&db, ("0", key));
                assert!(is_refusal(&outcome), "{found_by} found {key:?} expired, and it is told: {outcome:?}");
            }
            assert_eq!(other.get_durable("settled").unwrap().unwrap(), "v");
        }
    }
}

/// A keyspace that was dropped in doubt is neither shown to be empty nor made anew.
#[test]
fn a_drop_in_doubt_is_not_shown() {
    for fail_sync in [false, true] {
        let (dir, disk) = (tempfile::tempdir().unwrap(), FaultyDisk::default());
        let db = open(dir.path(), &disk);
        let (gone, other) = (db.keyspace("gone").unwrap(), db.keyspace("other").unwrap());
        gone.set("k", "v").unwrap();
        other.set("k", "v").unwrap();
        let fault = if fail_sync { &disk.0.sync } else { &disk.0.write };
        fault.store(true, Ordering::SeqCst);
        assert!(is_refusal(&db.drop_keyspace("gone")));
        assert!(is_refusal(&gone.get_durable("k")));
        assert!(is_refusal(&db.keyspace("gone").map(|anew| anew.len())));
        assert_eq!(other.get_durable("k").unwrap().unwrap(), "v");
    }
}
