//! A large value that is copied to another key is shared: in memory, and in the log.
//!
//! Invariant: that two keys share a value is seen in what it costs, and in nothing else.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and looks at files itself"
)]

use kvcore::hooks::Scan;
use kvcore::{Db, Deadline, Durability, Keyspace, LockSet, Options};
use tempfile::TempDir;

const LARGE: usize = 1 << 20;

fn open(dir: &TempDir) -> Db {
    // Without a snapshot that nobody has asked for.
    let options = Options::new().durability(Durability::Always).snapshot_log_bytes(u64::MAX);
    options.open(dir.path()).unwrap()
}

fn copy(db: &Db, from: &str, to: &str) -> bool {
    db.transact(&[from, to], |txn| txn.copy(from.as_bytes(), to.as_bytes())).unwrap()
}

fn written(dir: &TempDir) -> u64 {
    let db = Options::new().load(dir.path()).unwrap();
    drop(db);
    let files = std::fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap());
    let logs = files.filter(|file| file.file_name().to_string_lossy().starts_with("wal-"));
    // Segments are filled with zeros ahead of what is written.
    logs.map(|file| std::fs::read(file.path()).unwrap().iter().rposition(|byte| *byte != 0).unwrap_or(0) as u64).sum()
}

#[test]
fn a_copy_of_a_large_value_is_neither_copied_nor_logged_again() {
    let dir = TempDir::new().unwrap();
    let db = open(&dir);
    db.set("a", vec![7; LARGE]).unwrap();
    for to in 0..100 {
        assert!(copy(&db, if to == 0 { "a" } else { "0" }, &to.to_string()));
    }
    let [one, other] = ["a", "99"].map(|key| db.get(key).unwrap().unwrap());
    assert!(std::ptr::eq(one.as_ptr(), other.as_ptr()), "they are one");
    assert!(
        db.stats().memory_bytes > 100 * LARGE as u64,
        "each counts in full: a limit holds whatever is changed next"
    );
    drop((one, other));
    db.close().unwrap();
    drop(db);
    assert!(written(&dir) < 2 * LARGE as u64, "the log has it once");
    let db = open(&dir);
    assert_eq!(db.len().unwrap(), 101);
    db.for_each(&mut |_, value| assert_eq!(*value, *vec![7; LARGE])).unwrap();
}

#[test]
fn keys_that_share_a_value_change_alone() {
    let dir = TempDir::new().unwrap();
    let db = open(&dir);
    db.set("a", vec![7; LARGE]).unwrap();
    assert!(copy(&db, "a", "b") && copy(&db, "b", "c"));
    db.append("b", "end").unwrap();
    db.transact(&["a"], |txn| txn.write_range(b"a", 3, b"xyz")).unwrap();
    db.hooks()
        .transact(&["c", "d"], |txn| {
            txn.write_range(b"c", 0, b"first")?;
            txn.copy(b"c", b"d", Some(Deadline::at_ms(u64::MAX)))?;
            txn.write_range(b"d", 5, b"second")?;
            txn.delete(b"c")
        })
        .unwrap();
    let expect = |db: &Db| {
        let with = |at: usize, bytes: &[u8]| {
            let mut value = vec![7; LARGE.max(at + bytes.len())];
            value[at..at + bytes.len()].copy_from_slice(bytes);
            value
        };
        assert_eq!(db.get("a").unwrap().unwrap(), with(3, b"xyz"));
        assert_eq!(db.get("b").unwrap().unwrap(), with(LARGE, b"end"));
        assert_eq!(db.get("c").unwrap(), None);
        assert_eq!(db.get("d").unwrap().unwrap(), with(0, b"firstsecond"));
    };
    expect(&db);
    drop(db);
    let db = open(&dir);
    expect(&db);
    // Whoever has the same log, whole or from a snapshot on, has the same.
    db.snapshot().unwrap();
    assert!(copy(&db, "d", "e") && copy(&db, "a", "a"));
    drop(db);
    let db = open(&dir);
    expect(&db);
    assert_eq!(db.get("e").unwrap(), db.get("d").unwrap());
}

#[test]
fn a_transaction_that_is_given_up_has_copied_nothing() {
    let db = Db::in_memory();
    db.set("a", vec![7; LARGE]).unwrap();
    db.set("b", "old").unwrap();
    let given_up = db.transact(&["a", "b", "c"], |txn| {
        assert!(txn.copy(b"a", b"b")? && txn.copy(b"a", b"c")? && txn.copy(b"d", b"a").is_err());
        Err::<(), _>(kvcore::Error::aborted("of its own will"))
    });
    assert!(given_up.is_err());
    assert_eq!(db.len().unwrap(), 2);
    assert_eq!(db.get("b").unwrap().unwrap(), "old");
}

#[test]
fn a_copy_goes_from_keyspace_to_keyspace() {
    let dir = TempDir::new().unwrap();
    let db = open(&dir);
    let spaces: [Keyspace; 2] = ["one", "other"].map(|name| db.keyspace(name).unwrap());
    let [one, other] = &spaces;
    one.set("a", vec![7; LARGE]).unwrap();
    one.set("small", "7").unwrap();
    // What the log calls them is not what they are called any more.
    db.swap("one", "other").unwrap();
    let keys: [&[u8]; 3] = [b"a", b"b", b"small"];
    let claims = spaces.iter().fold(LockSet::new(), |locks, keyspace| locks.keys(keyspace, keys));
    db.hooks()
        .transact_across(claims, |txn| {
            txn.select(one.hooks().id())?;
            assert!(
                txn.copy_from(other.hooks().id(), b"a", b"b", None)?
                    && txn.copy_from(other.hooks().id(), b"small", b"small", None)?
            );
            assert!(!txn.copy_from(one.hooks().id(), b"a", b"b", None)?, "there is none");
            assert!(txn.copy_from(one.hooks().id(), b"b", b"a", None)?);
            assert!(
                txn.copy_from(other.hooks().id(), b"a", b"a", Some(Deadline::at_ms(1)))?,
                "a deadline that has passed"
            );
            assert!(txn.get(b"a")?.is_none());
            Ok(())
        })
        .unwrap();
    drop((spaces, db));
    let db = open(&dir);
    let [one, other] = ["one", "other"].map(|name| db.keyspace(name).unwrap());
    assert_eq!(one.get("b").unwrap().unwrap(), vec![7; LARGE]);
    assert_eq!(one.get("small").unwrap().unwrap(), "7");
    assert_eq!(other.get("a").unwrap().unwrap(), vec![7; LARGE]);
    assert_eq!((one.len().unwrap(), other.len().unwrap()), (2, 2));
}
