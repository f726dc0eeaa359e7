//! `Db::verify`: that the files give back what memory holds, and that it is noticed when they do not.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and looks at files itself"
)]

mod support;

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kvcore::{Db, Durability, Error, Options, SetOptions};

use support::{after_a_kill, copy, files};

#[test]
fn what_was_written_is_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let db = Options::new().durability(Durability::Os).segment_bytes(64 * 1024).open(dir.path()).unwrap();
    assert_eq!(db.verify().unwrap(), 0);
    let other = db.keyspace("other").unwrap();
    for i in 0..2_000 {
        db.set(format!("k{i}"), [i as u8; 100]).unwrap();
        other.set_with(format!("k{i}"), "v", SetOptions::new().expires_in(Duration::from_secs(1000))).unwrap();
    }
    db.append("large", [7; 100_000]).unwrap();
    assert_eq!(db.verify().unwrap(), 4_001);
    db.snapshot().unwrap();
    db.swap("0", "other").unwrap();
    db.append("k1", "more").unwrap();
    db.delete("k2").unwrap();
    db.set_with("brief", "v", SetOptions::new().expires_in(Duration::from_millis(1))).unwrap();
    db.drop_keyspace("none").unwrap();
    let keys = db.verify().unwrap();
    assert!(keys == 4_000 || keys == 4_001, "{keys}");
    other.clear().unwrap();
    db.keyspace("made since").unwrap();
    db.verify().unwrap();
    let (_dir, again) = after_a_kill(dir.path());
    assert_eq!(again.verify().unwrap(), 1_999);
}

#[test]
fn writers_may_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let db = Options::new().durability(Durability::Os).segment_bytes(64 * 1024).open(dir.path()).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let (db, done) = (&db, &done);
            scope.spawn(move || {
                for i in 0.. {
                    if done.load(Ordering::Relaxed) {
                        break;
                    }
                    db.set(format!("k{}", i % 500), format!("{thread} {i}")).unwrap();
                    if i % 1000 == 0 {
                        db.keyspace(&format!("{thread} {}", i % 3000)).unwrap();
                        db.snapshot().unwrap();
                    }
                }
            });
        }
        let verified: Vec<_> = (0..30).map(|_| db.verify()).collect();
        done.store(true, Ordering::Relaxed);
        for keys in verified {
            assert!(keys.unwrap() <= 500);
        }
    });
}

#[test]
fn files_of_another_state_are_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    db.set("k", "old").unwrap();
    let before = copy(dir.path());
    for change in ["another value", "one more key", "one key less", "a deadline"] {
        match change {
            "another value" => db.set("k", "new").unwrap(),
            "one more key" => db.set("more", "v").unwrap(),
            "one key less" => drop(db.delete("k").unwrap()),
            _ => drop(db.set_with("k", "old", SetOptions::new().expires_in(Duration::from_secs(1000))).unwrap()),
        }
        db.verify().unwrap();
        let now = copy(dir.path());
        let put_back = |from: &std::path::Path| {
            for file in files(from, "").iter().filter(|file| !file.ends_with("LOCK")) {
                fs::write(dir.path().join(file.file_name().unwrap()), fs::read(file).unwrap()).unwrap();
            }
        };
        put_back(before.path());
        assert!(matches!(db.verify(), Err(Error::NotAsWritten { .. })), "{change}: {:?}", db.verify());
        put_back(now.path());
        db.set("k", "old").unwrap();
        db.delete("more").unwrap();
        db.verify().unwrap();
    }
}

#[test]
fn a_store_in_memory_says_that_it_has_no_files() {
    assert!(matches!(Db::in_memory().verify(), Err(Error::InMemory { .. })));
}

/// Ids come in the order of creation, names are another: both must be locked in the one order that everybody uses.
#[test]
fn writers_across_keyspaces_may_go_on_too() {
    let dir = tempfile::tempdir().unwrap();
    let db = Options::new().durability(Durability::Os).shards(1).open(dir.path()).unwrap();
    for name in ["5", "2", "10"] {
        db.keyspace(name).unwrap().set("k", name).unwrap();
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (swapping, done) = (&db, &done);
        scope.spawn(move || {
            while !done.load(Ordering::Relaxed) {
                swapping.swap("5", "2").unwrap();
                swapping.swap("10", "5").unwrap();
            }
        });
        for _ in 0..200 {
            assert_eq!(db.verify().unwrap(), 3);
        }
        done.store(true, Ordering::Relaxed);
    });
}
