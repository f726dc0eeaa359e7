//! Models of snapshots against what the log says of names and other keys: what is exchanged, dropped, made anew and copied
//! while a snapshot begins, is written and ends. Invariant: a snapshot and the log from its start are the store as it was,
//! whichever came first.

use std::collections::BTreeMap;

use kvcore::hooks::Scan;
use kvcore::{Db, Durability, Error};
use shuttle::rand::Rng;
use shuttle::thread;

use crate::disk::ModelDisk;
use crate::explore::explore;
use crate::{join, on_threads, open};

/// By the names of the keyspaces.
type Contents = BTreeMap<String, BTreeMap<Vec<u8>, Vec<u8>>>;

/// Returns everything in the store. A keyspace that holds nothing counts, too: one that was dropped must not be listed again.
fn contents(db: &Db) -> Contents {
    let mut all = Contents::new();
    for keyspace in db.keyspaces() {
        let held = all.entry(keyspace.name().to_owned()).or_default();
        keyspace.for_each(&mut |key, value| drop(held.insert(key.to_vec(), value.to_vec()))).unwrap();
    }
    all
}

/// Fills two keyspaces, runs `change` while a snapshot is written, and opens the store again.
fn model(change: impl Fn(&Db) + Clone + Send + Sync + 'static) {
    explore(move || {
        let disk = ModelDisk::default();
        let db = open(&disk, Durability::Os);
        for name in ["a", "b"] {
            let keyspace = db.keyspace(name).unwrap();
            (0..4).for_each(|key| keyspace.set(format!("{key}"), name).unwrap());
        }
        let change = change.clone();
        let threads = on_threads(2, &db, move |number, db| match number {
            0 => db.snapshot().unwrap(),
            _ => change(&db),
        });
        join(threads);
        let before = contents(&db);
        db.close().unwrap();
        drop(db);
        let again = open(&disk, Durability::Os);
        assert_eq!(contents(&again), before, "opened again");
        again.close().unwrap();
    });
}

fn set(db: &Db, name: &str, key: &str) {
    match db.keyspace(name).unwrap().set(key, "new") {
        // Another thread has dropped it in between.
        Ok(()) | Err(Error::KeyspaceDropped { .. }) => {}
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn a_snapshot_that_meets_an_exchange_holds_both_keyspaces_whole() {
    model(|db| {
        for _ in 0..shuttle::rand::thread_rng().gen_range(1..3) {
            db.swap("a", "b").unwrap();
            set(db, "a", "0");
        }
    });
}

#[test]
fn a_snapshot_that_meets_a_drop_does_not_bring_anything_back() {
    model(|db| {
        // The log then speaks of it before it is gone.
        set(db, "a", "2");
        db.drop_keyspace("a").unwrap();
        if shuttle::rand::thread_rng().gen_bool(0.5) {
            set(db, "a", "1");
        }
    });
}

#[test]
fn a_snapshot_that_meets_new_names_knows_them() {
    model(|db| {
        set(db, "c", "0");
        db.swap("c", "b").unwrap();
        thread::yield_now();
        db.drop_keyspace("c").unwrap();
        set(db, "d", "0");
    });
}

#[test]
fn a_snapshot_that_meets_copies_of_large_values_has_them_all() {
    // Large enough to be shared, and then to be logged by the name of another key.
    const LARGE: usize = 8 * 1024;
    model(|db| {
        let mut rng = shuttle::rand::thread_rng();
        let a = db.keyspace("a").unwrap();
        a.set("0", vec![b'0'; LARGE]).unwrap();
        for from in 0..rng.gen_range(1..5) {
            let (from, to) = (from.to_string(), (from + 1).to_string());
            let moved = a.transact(&[&from, &to], |txn| {
                txn.copy(from.as_bytes(), to.as_bytes())?;
                txn.delete(from.as_bytes())
            });
            assert!(moved.unwrap());
            if rng.gen_bool(0.3) {
                thread::yield_now();
            }
        }
    });
}
