//! Stores keep what `Store` promises: the engine on disk and in memory, a second, simple store that shares no code with the
//! engine, and both within a wrapper that runs each body again, with other data in all runs but the last, as a store that retries
//! after a conflict does.
//!
//! To test another store, write a `#[test]` here that calls [`suite::conform`].

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod contended;
mod failing;
mod map;
mod suite;

use std::sync::Mutex;

use kvcore::{Db, Durability, Error, Options, Store};
use tempfile::TempDir;

use contended::{Contended, RUNS_MAX};
use failing::Failing;
use map::MapStore;
use suite::{Extras, conform, every_call_fails, transactions_fail};

const ENGINE: Extras = Extras { watches: true, iterates_once: true };
/// What the others do: their iterators are made of scans.
const OTHERS: Extras = Extras { iterates_once: false, ..ENGINE };

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
    conform(ENGINE, on_disk(Durability::Always));
}

#[test]
fn on_disk_with_a_sync_a_second() {
    conform(ENGINE, on_disk(Durability::EverySecond));
}

#[test]
fn in_memory_with_one_lock_and_with_many() {
    conform(ENGINE, || in_memory(1));
    conform(ENGINE, || in_memory(256));
}

#[test]
fn as_a_keyspace_beside_others() {
    conform(ENGINE, || {
        let db = Db::in_memory();
        db.set("default", "is not empty").expect("sets");
        Box::new(db.keyspace("a keyspace").expect("is made"))
    });
}

#[test]
fn with_each_body_run_again_after_a_conflict() {
    conform(OTHERS, || Box::new(Contended(in_memory(256), 1)));
    let make = on_disk(Durability::EverySecond);
    conform(OTHERS, move || Box::new(Contended(make(), RUNS_MAX - 1)));
}

#[test]
fn a_store_that_is_not_the_engine() {
    conform(OTHERS, || Box::new(MapStore::new()));
    conform(OTHERS, || Box::new(Contended(Box::new(MapStore::new()), 1)));
    conform(Extras { watches: false, ..OTHERS }, || Box::new(MapStore::without_watches()));
}

#[test]
fn a_conflict_in_each_run_is_an_error() {
    let is_conflict = |error: &Error| matches!(error, Error::Conflict { runs: RUNS_MAX });
    transactions_fail(&Contended(in_memory(1), RUNS_MAX), &*in_memory(1), is_conflict);
    let shared = MapStore::new();
    transactions_fail(&Contended(shared.keyspace("").expect("is made"), RUNS_MAX), &shared, is_conflict);
}

#[test]
fn errors_of_a_remote_store_are_returned_as_they_are() {
    let unavailable = || Error::Unavailable { why: "127.0.0.1:7000: connection refused".to_owned() };
    every_call_fails(&Failing(unavailable), |error| matches!(error, Error::Unavailable { .. }));
    let unknown = || Error::OutcomeUnknown { why: "127.0.0.1:7000: connection reset".to_owned() };
    every_call_fails(&Failing(unknown), |error| matches!(error, Error::OutcomeUnknown { .. }));
    let apart = || Error::KeysApart { one: "a".to_owned(), other: "b".to_owned() };
    every_call_fails(&Failing(apart), |error| matches!(error, Error::KeysApart { .. }));
    let unsupported = || Error::Unsupported { what: "hold more than one keyspace" };
    every_call_fails(&Failing(unsupported), |error| matches!(error, Error::Unsupported { .. }));
}
