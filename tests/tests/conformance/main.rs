//! Stores keep what `Store` promises: the engine on disk and in memory, through a wrapper that runs each body twice, as a
//! store that retries after a conflict does, and a second, simple store that shares no code with the engine.
//!
//! To test another store, write a `#[test]` here that calls [`suite::conform`].

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod map;
mod suite;
mod twice;

use std::sync::Mutex;

use kvcore::{Db, Durability, Options, Store};
use tempfile::TempDir;

use map::MapStore;
use suite::conform;
use twice::Twice;

/// Returns what makes a new store on disk with each call, and removes all of them in the end.
fn on_disk(durability: Durability) -> impl Fn() -> Box<dyn Store> {
    let dirs = Mutex::new(Vec::<TempDir>::new());
    move || {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let db = Options::new().durability(durability).key_bytes_max(4096).open(dir.path()).expect("opens");
        dirs.lock().expect("not poisoned").push(dir);
        Box::new(db)
    }
}

fn in_memory(shards: usize) -> Box<dyn Store> {
    Box::new(Options::new().shards(shards).in_memory().expect("opens"))
}

#[test]
fn on_disk_with_a_sync_for_each_write() {
    conform(on_disk(Durability::Always));
}

#[test]
fn on_disk_with_a_sync_a_second() {
    conform(on_disk(Durability::EverySecond));
}

#[test]
fn in_memory_with_one_lock_and_with_many() {
    conform(|| in_memory(1));
    conform(|| in_memory(256));
}

#[test]
fn as_a_keyspace_beside_others() {
    conform(|| {
        let db = Db::in_memory();
        db.set("default", "is not empty").expect("sets");
        Box::new(db.keyspace("a keyspace").expect("is made"))
    });
}

#[test]
fn with_each_body_run_twice() {
    conform(|| Box::new(Twice(in_memory(256))));
    let make = on_disk(Durability::EverySecond);
    conform(move || Box::new(Twice(make())));
}

#[test]
fn a_store_that_is_not_the_engine() {
    conform(|| Box::new(MapStore::new()));
    conform(|| Box::new(Twice(Box::new(MapStore::new()))));
}
