//! A store that was opened while the clock was wrong, and whose time is set back.
//!
//! Invariant: what was seen to have expired stays gone.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and damages files itself"
)]

use std::path::Path;
use std::sync::Arc;

use kvcore::{Db, Deadline, Error, ManualClock, Options, RepairOptions, SetOptions};

const NOW_MS: u64 = 1_800_000_000_000;
/// In the year 2100.
const WRONG_MS: u64 = 4_102_444_800_000;
const HOUR_MS: u64 = 3_600_000;

fn at(wall_ms: u64) -> Options {
    Options::new().clock(Arc::new(ManualClock::at(wall_ms)))
}

fn open(dir: &Path, wall_ms: u64) -> Db {
    at(wall_ms).open(dir).unwrap()
}

fn reset() -> RepairOptions {
    RepairOptions::new().reset_time(true)
}

fn until(ms: u64) -> SetOptions {
    SetOptions::new().expires_at(Deadline::at_ms(ms))
}

/// How the wrong time comes into the files.
#[derive(Clone, Copy, Debug)]
enum Left {
    Frame,
    Snapshot,
    Seal,
    Mark,
}

/// Three keys; one of them expired when the clock showed the year 2100, and only then.
fn store(dir: &Path, left: Left) {
    let db = open(dir, NOW_MS);
    db.set("forever", "1").unwrap();
    db.set_with("until tomorrow", "1", until(NOW_MS + 24 * HOUR_MS)).unwrap();
    db.set_with("until 2200", "1", until(2 * WRONG_MS)).unwrap();
    db.close().unwrap();
    let db = open(dir, WRONG_MS);
    match left {
        Left::Frame => db.set("then", "1").unwrap(),
        Left::Snapshot => db.snapshot().unwrap(),
        Left::Seal => {}
        Left::Mark => assert!(!db.exists("until tomorrow").unwrap()),
    }
    db.close().unwrap();
}

#[test]
fn time_is_set_back_wherever_it_is_written() {
    for left in [Left::Frame, Left::Snapshot, Left::Seal, Left::Mark] {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        store(dir, left);
        let db = open(dir, NOW_MS);
        assert!(db.now_ms() >= WRONG_MS, "{left:?}: the time stays");
        db.set_with("today", "1", until(NOW_MS + HOUR_MS)).unwrap();
        assert!(!db.exists("today").unwrap(), "{left:?}: what is to end today has ended");
        drop(db);

        let plan = at(NOW_MS).plan_repair(dir, reset()).unwrap();
        let time = plan.time.unwrap();
        assert!(time.from_ms >= WRONG_MS && time.to_ms == NOW_MS, "{left:?}: {time:?}");
        assert!(!plan.plain_stops && plan.plain.unwrap().kept.keys >= 2);
        let repaired = at(NOW_MS).repair_with(dir, reset()).unwrap();
        assert_eq!(repaired.time, Some(time));
        assert!(repaired.found.is_sound() && repaired.dropped.is_empty(), "{left:?}: {:?}", repaired.dropped);
        for file in &repaired.files {
            assert!(repaired.set_aside.as_ref().unwrap().join(file).exists(), "{left:?}: {file} has no copy");
        }

        let db = open(dir, NOW_MS);
        assert_eq!(db.now_ms(), NOW_MS, "{left:?}");
        assert!(!db.exists("until tomorrow").unwrap(), "{left:?}: what had expired is back");
        assert!(db.exists("forever").unwrap() && db.exists("until 2200").unwrap(), "{left:?}");
        db.set_with("today", "1", until(NOW_MS + HOUR_MS)).unwrap();
        assert!(db.exists("today").unwrap(), "{left:?}");
        drop(db);
        assert!(open(dir, NOW_MS).exists("today").unwrap(), "{left:?}: and so it stays");
    }
}

/// A clock of 1970 was taken for right: whatever was given a deadline before it was set had expired when it was.
#[test]
fn time_is_not_set_back_to_that_of_a_clock_that_was_never_set() {
    let january_2026_ms = 1_767_225_600_000;
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    store(dir, Left::Frame);
    let names = || std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
    for wall_ms in [0, 1, HOUR_MS, january_2026_ms - 1] {
        let before = names();
        for refused in [
            at(wall_ms).plan_repair(dir, reset()).map(drop).unwrap_err(),
            at(wall_ms).repair_with(dir, reset()).map(drop).unwrap_err(),
        ] {
            assert!(matches!(refused, Error::NotRepairable { .. }), "{wall_ms}: {refused}");
            let told = refused.to_string();
            assert!(told.contains("from 2100-01-01T00:00:0") && told.contains("clock"), "{wall_ms}: {told}");
        }
        assert_eq!(names(), before, "{wall_ms}");
        assert!(open(dir, NOW_MS).now_ms() >= WRONG_MS, "{wall_ms}: the time was set back");
        // What is not about time is repaired whatever the clock shows.
        assert!(at(wall_ms).repair_with(dir, RepairOptions::new()).is_ok());
    }
    let repaired = at(january_2026_ms).repair_with(dir, reset()).unwrap();
    assert_eq!(repaired.time.map(|time| time.to_ms), Some(january_2026_ms));
}

#[test]
fn a_store_whose_time_is_right_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path(), NOW_MS);
    db.set("k", "v").unwrap();
    drop(db);
    for wall_ms in [NOW_MS, NOW_MS + HOUR_MS] {
        let plan = at(wall_ms).plan_repair(dir.path(), reset()).unwrap();
        assert!(plan.time.is_none() && plan.files.is_empty());
        let repaired = at(wall_ms).repair_with(dir.path(), reset()).unwrap();
        assert!(repaired.set_aside.is_none() && repaired.time.is_none());
    }
}

/// A damaged store is repaired, and its time set, in one go.
#[test]
fn the_time_of_a_damaged_store_is_set_back() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let db = open(dir, WRONG_MS);
    for i in 0..10 {
        db.set(format!("key{i}"), "value").unwrap();
    }
    db.close().unwrap();
    let paths = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let log = paths.filter(|path| path.extension().is_some_and(|ending| ending == "log")).max().unwrap();
    let mut bytes = std::fs::read(&log).unwrap();
    let at_byte = bytes.windows(4).position(|bytes| bytes == b"key2").unwrap();
    bytes[at_byte] ^= 1;
    std::fs::write(&log, bytes).unwrap();
    let repaired = at(NOW_MS).repair_with(dir, reset().salvage(true)).unwrap();
    assert_eq!(repaired.time.map(|time| (time.to_ms, time.expired)), Some((NOW_MS, 0)));
    let db = open(dir, NOW_MS);
    assert_eq!((db.now_ms(), db.stats().entries), (NOW_MS, 9));
}
