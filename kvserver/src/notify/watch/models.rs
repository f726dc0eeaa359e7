//! Models of WATCH against commits, under every order of events that a seed draws. Invariant: what EXEC writes rests on what
//! its client read, whoever changed the key and in whichever way: no update is lost.
//!
//! ```text
//! RUSTFLAGS="--cfg shuttle" cargo test --target-dir target/models -p kvserver --lib models
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use kvcore::{Db, Keyspace, LockSet, Options};
use shuttle::sync::atomic::{AtomicI64, Ordering};
use shuttle::thread;

use super::{Mark, WatchTable};
use crate::commands::transaction::has_changed;
use crate::session::Watched;

#[path = "../../../../kvcore/tests/models/explore.rs"]
mod explore;

use explore::explore;

const KEY: &[u8] = b"n";

fn number(keyspace: &Keyspace) -> i64 {
    let value = keyspace.get(KEY).expect("a value");
    value.map_or(0, |value| String::from_utf8_lossy(&value).parse().expect("a number"))
}

/// Adds one as a client does: WATCH, GET, MULTI, SET, EXEC, and again until it goes through.
fn add_one(db: &Db, keyspace: &Keyspace, table: &WatchTable) {
    loop {
        let mark = Mark::default();
        let existed = table.watch(keyspace, KEY, &mark);
        let keys = (keyspace.clone(), [(Box::from(KEY), existed)].into());
        let watched = Watched { mark, bytes: 0, keys: BTreeMap::from([(keyspace.hooks().id(), keys)]) };
        let next = number(keyspace) + 1;
        let mut changed = false;
        let locks = LockSet::new().keys(keyspace, &[KEY]);
        db.hooks()
            .commit_across(locks, &mut |txn| {
                changed = has_changed(&watched, txn)?;
                if changed {
                    return Ok(());
                }
                txn.select(keyspace.hooks().id())?;
                txn.set(KEY, next.to_string().as_bytes(), None)
            })
            .expect("a transaction");
        table.remove(keyspace.hooks().id(), KEY, &watched.mark);
        if !changed {
            return;
        }
    }
}

/// Some clients add two ones each while `other` does something else; then `check` looks at both keyspaces.
fn model(
    clients: usize,
    other: impl Fn(&Db, &AtomicI64) + Clone + Send + Sync + 'static,
    check: impl Fn([&Keyspace; 2], i64) + Send + Sync + Clone + 'static,
) {
    explore(move || {
        let table = Arc::<WatchTable>::default();
        let observer = Arc::clone(&table);
        let db = Options::new().shards(1).observer(observer).in_memory().expect("a store");
        let (zero, one) = (db.keyspace("0").expect("0"), db.keyspace("1").expect("1"));
        let taken = Arc::new(AtomicI64::new(0));
        let mut threads: Vec<_> = (0..clients)
            .map(|_| {
                let (db, zero, table) = (db.clone(), zero.clone(), Arc::clone(&table));
                thread::spawn(move || (0..2).for_each(|_| add_one(&db, &zero, &table)))
            })
            .collect();
        threads.push({
            let (db, taken, other) = (db.clone(), Arc::clone(&taken), other.clone());
            thread::spawn(move || other(&db, &taken))
        });
        threads.into_iter().for_each(|thread| thread.join().expect("a client"));
        check([&zero, &one], taken.load(Ordering::SeqCst));
        assert_eq!(table.count.load(Ordering::SeqCst), 0, "nobody watches any more");
    });
}

/// Takes what is there with one command, and puts it aside.
fn take(db: &Db, taken: &AtomicI64, remove: impl Fn(&mut dyn kvcore::hooks::CrossTxn) -> kvcore::Result<()>) {
    let locks = LockSet::new().whole(db);
    let mut found = 0;
    db.hooks()
        .commit_across(locks, &mut |txn| {
            found = txn.get(KEY)?.map_or(0, |value| String::from_utf8_lossy(value.bytes()).parse().expect("a number"));
            remove(txn)
        })
        .expect("a transaction");
    taken.fetch_add(found, Ordering::SeqCst);
}

#[test]
fn no_update_is_lost_between_clients_that_watch_and_one_that_does_not() {
    model(
        2,
        |db, _| {
            db.increment(KEY, 1).expect("a number");
        },
        |[zero, _], _| assert_eq!(number(zero), 5, "an update was lost"),
    );
}

#[test]
fn no_update_is_lost_when_the_key_is_removed() {
    model(
        2,
        |db, taken| take(db, taken, |txn| txn.delete(KEY).map(drop)),
        |[zero, _], taken| assert_eq!(number(zero) + taken, 4, "an update was lost, or came back"),
    );
}

#[test]
fn no_update_is_lost_when_the_database_is_emptied() {
    model(
        2,
        |db, taken| take(db, taken, |txn| txn.clear().map(drop)),
        |[zero, _], taken| assert_eq!(number(zero) + taken, 4, "an update was lost, or came back"),
    );
}

/// A key that was not there when WATCH looked, and came before it was read, is marked although it is gone again.
#[test]
fn no_update_is_lost_when_the_key_comes_and_the_database_is_emptied() {
    model(
        1,
        |db, taken| {
            db.increment(KEY, 1).expect("a number");
            take(db, taken, |txn| txn.clear().map(drop));
        },
        |[zero, _], taken| assert_eq!(number(zero) + taken, 3, "an update was lost, or came back"),
    );
}

/// Both databases hold the key: that it exists before and after the exchange proves nothing to EXEC.
#[test]
fn no_update_is_lost_when_databases_are_exchanged() {
    model(
        2,
        |db, _| {
            db.keyspace("1").expect("1").set(KEY, "100").expect("a value");
            db.swap("0", "1").expect("an exchange");
        },
        |[zero, one], _| assert_eq!(number(zero) + number(one), 104, "an update was lost, or came twice"),
    );
}
