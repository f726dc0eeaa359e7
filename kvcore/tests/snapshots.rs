//! Snapshots: when they are written, what they stand for, and what is refused.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and looks at files itself"
)]

mod support;

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kvcore::hooks::{Lsn, Scan};
use kvcore::{Contents, Db, Durability, Error, Options};

use support::{after_a_kill, copy, files};

#[test]
fn a_snapshot_stands_for_the_log_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let db = Options::new().segment_bytes(64 * 1024).open(dir.path()).unwrap();
    for i in 0..3_000 {
        drop(db.deferred().set(format!("k{i}"), [i as u8; 100]).unwrap());
    }
    db.set("big", vec![9; 100_000]).unwrap();
    let before = db.stats().log_bytes;
    db.snapshot().unwrap();
    assert!(db.stats().log_bytes < before / 10);
    assert_eq!(db.snapshot_status().last_entries, 3_001);
    assert_eq!(db.snapshot_status().changes_since, 0);
    db.set("after", "it").unwrap();
    db.delete("k0").unwrap();
    let (_dir, again) = after_a_kill(dir.path());
    assert_eq!(again.stats().recovery.snapshot_entries, 3_001);
    assert_eq!(again.stats().recovery.replayed, 2);
    assert_eq!(again.len().unwrap(), 3_001);
    assert_eq!(again.get("big").unwrap().unwrap(), vec![9_u8; 100_000][..]);
    assert_eq!(again.get("k0").unwrap(), None);
    assert_eq!(files(dir.path(), "snapshot-").len(), 1);
    db.snapshot().unwrap();
    assert_eq!(files(dir.path(), "snapshot-").len(), 1, "the one before is gone");
}

#[test]
fn a_damaged_snapshot_is_refused_when_nothing_stands_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    for i in 0..100 {
        db.set(format!("k{i}"), "v").unwrap();
    }
    db.snapshot().unwrap();
    db.close().unwrap();
    let snapshot = files(dir.path(), "snapshot-").pop().unwrap();
    let whole = fs::read(&snapshot).unwrap();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 16;
        fs::write(&snapshot, &bytes).unwrap();
        assert!(matches!(Db::open(dir.path()), Err(Error::Corrupt { .. })), "byte {at}");
        fs::write(&snapshot, &whole[..at]).unwrap();
        assert!(matches!(Db::open(dir.path()), Err(Error::Corrupt { .. })), "cut at {at}");
    }
    fs::write(&snapshot, &whole).unwrap();
    assert_eq!(Db::open(dir.path()).unwrap().len().unwrap(), 100);
}

#[test]
fn snapshots_under_load_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options::new().durability(Durability::EverySecond).segment_bytes(256 * 1024).shards(16);
    let db = options.clone().open(dir.path()).unwrap();
    std::thread::scope(|scope| {
        for t in 0..2_u32 {
            let db = db.clone();
            scope.spawn(move || {
                for i in 0..40_000_u32 {
                    let key = format!("{t}:{}", i % 10_000);
                    match i % 7 {
                        0 => drop(db.delete(&key).unwrap()),
                        1 => drop(db.append(&key, [b'a'; 3]).unwrap()),
                        _ => db.set(&key, format!("{i}")).unwrap(),
                    }
                    if i % 500 == 0 {
                        db.append(format!("large{t}"), [t as u8; 2_000]).unwrap();
                    }
                }
            });
        }
        for _ in 0..8 {
            db.snapshot().unwrap();
        }
    });
    let contents = |db: &Db| {
        let mut all = std::collections::BTreeMap::new();
        db.for_each(&mut |key, value| assert!(all.insert(key.to_vec(), value.to_vec()).is_none())).unwrap();
        all
    };
    let expected = contents(&db);
    db.snapshot().unwrap();
    db.close().unwrap();
    assert_eq!(contents(&options.clone().open(dir.path()).unwrap()), expected);
    // Another number of shards reads the same files.
    assert_eq!(contents(&options.shards(64).open(dir.path()).unwrap()), expected);
}

#[test]
fn the_log_calls_for_a_snapshot_when_it_has_grown() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options::new().durability(Durability::Os).snapshot_log_bytes(200_000).segment_bytes(64 * 1024);
    let db = options.open(dir.path()).unwrap();
    let mut i = 0_u64;
    while db.snapshot_status().last_good_ms == 0 {
        db.set(format!("k{}", i % 100), [0; 1000]).unwrap();
        i += 1;
        assert!(i < 10_000_000, "no snapshot after {i} writes");
    }
}

#[test]
fn a_background_snapshot_tells_how_it_went() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    db.set("k", "v").unwrap();
    assert!(db.snapshot_in_background().unwrap());
    while db.snapshot_status().running {
        std::thread::yield_now();
    }
    assert_eq!(db.snapshot_status().last_entries, 1, "when it no longer runs it is done, not about to begin");
    assert_eq!(db.snapshot_status().last_error, None);
}

/// The bytes of a segment's header.
const SEGMENT_HEADER_BYTES: usize = 48;

/// Where the newest snapshot of a closed store begins and ends in the log.
fn range_of_snapshot(dir: &Path) -> (Lsn, Lsn) {
    let inspection = Options::new().inspect(dir).unwrap();
    let snapshots = inspection.files.into_iter().filter_map(|file| match file.contents {
        Contents::Snapshot(snapshot) => Some((snapshot.start, snapshot.end)),
        _ => None,
    });
    snapshots.max().unwrap()
}

/// Why a store does not open.
fn refusal(dir: &Path) -> String {
    match Db::open(dir) {
        Err(Error::Corrupt { why, .. }) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_log_that_ends_before_its_snapshot_does_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options::new().durability(Durability::Os).shards(1);
    // Writes go on while the snapshot is written, so that it ends later in the log than it began; on a machine that is
    // busy with something else perhaps not the first time.
    let mut tries = 0;
    let end = loop {
        let db = options.clone().open(dir.path()).unwrap();
        for i in 0..20_000 {
            db.set(format!("k{i}"), [1; 100]).unwrap();
        }
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut i = 0;
                // Not for ever: beside a slow snapshot a second segment would be begun.
                while i < 100 || (i < 100_000 && !done.load(Ordering::Relaxed)) {
                    db.set(format!("new{i}"), [2; 100]).unwrap();
                    i += 1;
                }
            });
            let written = db.snapshot();
            done.store(true, Ordering::Relaxed);
            written.unwrap();
        });
        db.close().unwrap();
        let (start, end) = range_of_snapshot(dir.path());
        if start < end {
            break end;
        }
        tries += 1;
        assert!(tries < 100, "nothing is written while a snapshot is");
    };
    // One segment is left, which the snapshot began.
    let logs = files(dir.path(), "wal-");
    let [log] = &logs[..] else { panic!("{logs:?}") };
    let whole = fs::read(log).unwrap();
    let cut_at = |bytes: usize| {
        let copied = copy(dir.path());
        fs::write(copied.path().join(log.file_name().unwrap()), &whole[..bytes]).unwrap();
        copied
    };
    let last_in = |dir: &Path| {
        let inspection = Options::new().inspect(dir).unwrap();
        let last = inspection.files.into_iter().find_map(|file| match file.contents {
            Contents::Segment(segment) => Some(segment.first.get() + segment.transactions - 1),
            _ => None,
        });
        Lsn::new(last.unwrap())
    };
    // Behind its header, in its first frame, and further on wherever a frame is torn: as long as what is left ends before
    // the snapshot does.
    let mut inside = 0;
    for bytes in (SEGMENT_HEADER_BYTES..whole.len()).step_by(whole.len() / 40).chain([SEGMENT_HEADER_BYTES + 1]) {
        let copied = cut_at(bytes);
        let last = last_in(copied.path());
        if last < end {
            let why = refusal(copied.path());
            assert!(why.contains("a snapshot proves that it went on"), "cut at byte {bytes}: {why}");
            assert_eq!(fs::read(copied.path().join(log.file_name().unwrap())).unwrap().len(), bytes, "it was changed");
            inside += 1;
        } else {
            // The snapshot has nothing to say of it. Something else has: the store was closed.
            let why = refusal(copied.path());
            assert!(!why.contains("snapshot"), "cut at byte {bytes}: {why}");
        }
    }
    assert!(inside >= 2);
    // Nor may the segment be missing.
    let copied = cut_at(SEGMENT_HEADER_BYTES);
    fs::remove_file(copied.path().join(log.file_name().unwrap())).unwrap();
    let why = refusal(copied.path());
    assert!(why.contains("it is missing"), "{why}");
    // A header that is cut is no header, whatever a snapshot says.
    let why = refusal(cut_at(SEGMENT_HEADER_BYTES - 16).path());
    assert!(!why.contains("snapshot"), "{why}");
}

#[test]
fn a_snapshot_is_written_every_so_often_if_something_changed() {
    let dir = tempfile::tempdir().unwrap();
    let every = Some(Duration::from_millis(20));
    let db = Options::new().durability(Durability::Os).snapshot_every(every).open(dir.path()).unwrap();
    db.set("k", "v").unwrap();
    while db.snapshot_status().changes_since > 0 || db.snapshot_status().running {
        std::thread::yield_now();
    }
    assert_eq!(db.snapshot_status().last_entries, 1);
}

/// What the keyspaces "0" and "1" hold of the key `k`.
fn both(db: &Db) -> [Option<String>; 2] {
    ["0", "1"].map(|name| {
        let value = db.keyspace(name).unwrap().get("k").unwrap();
        value.map(|value| String::from_utf8(value.into_vec()).unwrap())
    })
}

fn some(one: &str, other: &str) -> [Option<String>; 2] {
    [one, other].map(|value| Some(value.to_owned()))
}

#[test]
fn swapped_keyspaces_stay_swapped_after_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let other = db.keyspace("1").unwrap();
    db.set("k", "zero").unwrap();
    other.set("k", "one").unwrap();
    db.swap("0", "1").unwrap();
    assert_eq!(both(&db), some("one", "zero"));
    // Handles keep their names, and what is written through them lands where their names say.
    db.append("k", "!").unwrap();
    other.append("k", "?").unwrap();
    let (copied, again) = after_a_kill(dir.path());
    assert_eq!(both(&again), some("one!", "zero?"));
    again.set("more", "x").unwrap();
    again.swap("1", "0").unwrap();
    again.append("k", ".").unwrap();
    again.close().unwrap();
    drop(again);
    // Twice over: opening replays the same log again.
    for _ in 0..2 {
        let again = Db::open(copied.path()).unwrap();
        assert_eq!(both(&again), some("zero?.", "one!"));
        assert_eq!(again.keyspace("1").unwrap().get("more").unwrap().unwrap(), "x");
        assert_eq!(again.keyspaces().len(), 2);
        again.close().unwrap();
    }
}

#[test]
fn swapped_keyspaces_stay_swapped_with_a_snapshot_before_between_or_after() {
    for snapshot_at in 0..4 {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(dir.path()).unwrap();
        let snapshot = |step: usize| {
            if step == snapshot_at {
                db.snapshot().unwrap()
            }
        };
        db.set("k", "zero").unwrap();
        db.keyspace("1").unwrap().set("k", "one").unwrap();
        snapshot(0);
        db.swap("0", "1").unwrap();
        snapshot(1);
        db.append("k", "+").unwrap();
        db.swap("1", "new").unwrap();
        snapshot(2);
        db.keyspace("new").unwrap().append("k", "-").unwrap();
        snapshot(3);
        let (_copied, again) = after_a_kill(dir.path());
        assert_eq!(both(&again), [Some("one+".to_owned()), None], "snapshot at {snapshot_at}");
        assert_eq!(again.keyspace("new").unwrap().get("k").unwrap().unwrap(), "zero-");
        // A name that was given and taken is free for something new.
        assert!(again.drop_keyspace("new").unwrap());
        assert_eq!(again.keyspace("new").unwrap().len().unwrap(), 0);
    }
}

#[test]
fn a_snapshot_that_is_written_while_keyspaces_are_swapped_holds_both_whole() {
    let dir = tempfile::tempdir().unwrap();
    let db = Options::new().durability(Durability::Os).open(dir.path()).unwrap();
    let other = db.keyspace("1").unwrap();
    for i in 0..20_000 {
        db.set(format!("a{i}"), "zero").unwrap();
        other.set(format!("b{i}"), "one").unwrap();
    }
    let swaps = std::thread::scope(|scope| {
        let writing = scope.spawn(|| (0..5).for_each(|_| db.snapshot().unwrap()));
        let mut swaps = 0;
        while !writing.is_finished() {
            db.swap("0", "1").unwrap();
            swaps += 1;
        }
        swaps
    });
    // Not killed: at this durability the last swaps may not have reached the operating system.
    db.close().unwrap();
    let again = Db::open(dir.path()).unwrap();
    let [mine, theirs] = if swaps % 2 == 0 { ["a", "b"] } else { ["b", "a"] };
    for (keyspace, prefix) in [("0", mine), ("1", theirs)] {
        let keyspace = again.keyspace(keyspace).unwrap();
        assert_eq!(keyspace.len().unwrap(), 20_000, "after {swaps} swaps");
        keyspace.for_each(&mut |key, _| assert!(key.starts_with(prefix.as_bytes()))).unwrap();
    }
}
