//! What a program that embeds the store sees: one text against `Db` and against `dyn Store`, iterators, views, sync,
//! transactions and deferred writes, through the public door.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and looks at files itself"
)]

use std::collections::BTreeMap;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use kvcore::hooks::Lsn;
use kvcore::{
    Db, Deadline, Durability, Error, LockSet, ManualClock, Options, Result, SetOptions, Store, Ticket, Ttl, Value,
};
use tempfile::TempDir;

#[allow(dead_code, reason = "the tests of damage need more of it")]
#[path = "damage/disk.rs"]
mod disk;

/// The program as most write it: nothing is imported but the store.
#[path = "api"]
mod on_db {
    use super::{KEY_BYTES_MAX, Own, START_MS, VALUE_BYTES_MAX};
    use kvcore::Db as Subject;
    pub mod program;
}

/// The same where the traits are in scope: they change nothing.
#[path = "api"]
#[allow(clippy::duplicate_mod, unused_imports, reason = "that it is the same text, and needs no import, is the test")]
mod on_db_beside_the_traits {
    use super::{KEY_BYTES_MAX, Own, START_MS, VALUE_BYTES_MAX};
    use kvcore::Db as Subject;
    use kvcore::{Store, StoreExt};
    pub mod program;
}

/// The same on a keyspace, which leads to others as any store does.
#[path = "api"]
#[allow(clippy::duplicate_mod, reason = "that it is the same text is the test")]
mod on_keyspace {
    use super::{KEY_BYTES_MAX, Own, START_MS, VALUE_BYTES_MAX};
    use kvcore::Keyspace as Subject;
    use kvcore::{Store, StoreExt};
    pub mod program;
}

/// The same file as generic code.
#[path = "api"]
#[allow(clippy::duplicate_mod, reason = "that it is the same text is the test")]
mod on_dyn_store {
    use super::{KEY_BYTES_MAX, Own, START_MS, VALUE_BYTES_MAX};
    use kvcore::StoreExt;
    type Subject = Box<dyn kvcore::Store>;
    pub mod program;
}

const START_MS: u64 = 1_700_000_000_000;
const KEY_BYTES_MAX: usize = 1000;
const VALUE_BYTES_MAX: usize = 4 << 20;
/// Long enough for any machine: what takes longer hangs.
const LIMIT: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// An error type of the caller's own.
#[derive(Debug, PartialEq)]
enum Own {
    Broke,
    Store(String),
}

impl From<Error> for Own {
    fn from(error: Error) -> Self {
        let name = format!("{error:?}");
        Own::Store(name.split(|c: char| !c.is_alphanumeric()).next().unwrap().to_owned())
    }
}

fn options() -> (Options, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(START_MS));
    let options = Options::new().clock(clock.clone()).key_bytes_max(KEY_BYTES_MAX).value_bytes_max(VALUE_BYTES_MAX);
    (options, clock)
}

fn on_disk(options: Options) -> (Db, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (options.open(dir.path()).unwrap(), dir)
}

/// Runs `body` on another thread; fails if it does not return.
fn within_limit<R: Send + 'static>(what: &str, body: impl FnOnce() -> R + Send + 'static) -> R {
    let (done, result) = mpsc::channel();
    thread::spawn(move || done.send(body()));
    result.recv_timeout(LIMIT).unwrap_or_else(|_| panic!("{what} does not return"))
}

/// The smallest executor there is.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let (waker, mut future) = (Waker::from(Arc::new(Unpark(thread::current()))), pin!(future));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

fn contents(db: &Db) -> BTreeMap<Vec<u8>, (Vec<u8>, Option<Ttl>)> {
    let entry = |entry: Result<(Value, Value)>| {
        let (key, value) = entry.unwrap();
        let ttl = db.ttl(&key).unwrap();
        (key.into_vec(), (value.into_vec(), ttl))
    };
    db.iter().unwrap().map(entry).collect()
}

// --- one program, two kinds of store ---------------------------------------------------------------------------------

#[test]
fn one_program_runs_on_a_db_and_on_any_store() {
    let (memory, clock) = options();
    on_db::program::run(&memory.in_memory().unwrap(), &clock).unwrap();
    let (memory, clock) = options();
    on_dyn_store::program::run(&(Box::new(memory.in_memory().unwrap()) as Box<dyn Store>), &clock).unwrap();
    for durability in [Durability::Always, Durability::EverySecond, Durability::Os] {
        let (options, clock) = self::options();
        let (db, _dir) = on_disk(options.durability(durability));
        on_db::program::run(&db, &clock).unwrap();
        on_db_beside_the_traits::program::run(&db, &clock).unwrap();
        on_keyspace::program::run(&db.keyspace("one of its own").unwrap(), &clock).unwrap();
        on_dyn_store::program::run(&(Box::new(db.clone()) as Box<dyn Store>), &clock).unwrap();
        // A keyspace is a store, too.
        on_dyn_store::program::run(&(Box::new(db.keyspace("other one").unwrap()) as Box<dyn Store>), &clock).unwrap();
        db.verify().unwrap();
    }
}

/// What the trait's methods return borrows the handle; what a `Db` and a `Keyspace` return does not.
#[test]
fn the_methods_of_a_db_and_of_a_keyspace_are_their_own() {
    use kvcore::{Deferred, Entries, Keys, StoreExt};
    fn of_db(db: Db) -> (Entries<'static>, Entries<'static>, Keys<'static>, Deferred) {
        (db.iter().unwrap(), db.prefix("").unwrap(), db.keys().unwrap(), db.deferred())
    }
    fn of_keyspace(keyspace: kvcore::Keyspace) -> (Entries<'static>, Keys<'static>, Deferred) {
        (keyspace.iter().unwrap(), keyspace.keys().unwrap(), keyspace.deferred())
    }
    let db = Db::in_memory();
    StoreExt::set(&db, "k", "v").unwrap();
    let (entries, prefix, keys, deferred) = of_db(db.clone());
    let (same, same_keys, _) = of_keyspace(db.keyspace("0").unwrap());
    drop(db);
    assert_eq!((entries.count(), prefix.count(), keys.count(), same.count(), same_keys.count()), (1, 1, 1, 1, 1));
    assert!(deferred.delete("k").unwrap().wait().unwrap());
}

// --- iterators -------------------------------------------------------------------------------------------------------

/// Counts how often each of the keys `k0` to `k4999`, which all stay, is shown while the loop's body does all sorts of things.
fn iterate_and_change(db: &Db) {
    const KEYS: usize = 5000;
    for i in 0..KEYS {
        let _unawaited = db.deferred().set(format!("k{i}"), format!("{i}")).unwrap();
    }
    db.set_many(&[("doomed:1", ""), ("doomed:2", "")]).unwrap();
    let (mut shown, mut others) = (vec![0; KEYS], BTreeMap::<Vec<u8>, usize>::new());
    for (turn, entry) in db.iter().unwrap().enumerate() {
        let (key, value) = entry.unwrap();
        match key.as_str().unwrap().strip_prefix('k') {
            Some(number) => {
                assert_eq!(value.as_str().unwrap().trim_end_matches('+'), number);
                shown[number.parse::<usize>().unwrap()] += 1;
                // The table of every shard is rebuilt several times meanwhile.
                for n in 0..4 {
                    let _unawaited = db.deferred().set(format!("new:{turn}:{n}"), "new").unwrap();
                }
                db.append(&key, "+").unwrap();
            }
            None => *others.entry(key.to_vec()).or_default() += 1,
        }
        db.delete("doomed:1").unwrap();
        db.delete(format!("new:{}:0", turn / 2)).unwrap();
        if turn % 512 == 0 {
            // The loop's body may do whatever else a program may.
            assert!(db.prefix("doomed:").unwrap().count() <= 1);
            assert!(db.len().unwrap() >= KEYS as u64);
            db.transact(&["doomed:2"], |txn| txn.set("doomed:2", "still here")).unwrap();
        }
        if turn > 100 * KEYS {
            panic!("the iteration does not end");
        }
    }
    assert!(shown.iter().all(|times| *times == 1), "each key that stays is shown exactly once");
    assert!(others.values().all(|times| *times == 1), "no key is shown twice");
    assert_eq!(others.get(&b"doomed:2"[..]), Some(&1));
}

#[test]
fn each_key_is_shown_once_while_the_loop_writes() {
    iterate_and_change(&Options::new().shards(1).in_memory().unwrap());
    iterate_and_change(&Db::in_memory());
    iterate_and_change(&on_disk(Options::new().durability(Durability::Os)).0);
}

#[test]
fn each_key_is_shown_once_while_the_table_shrinks() {
    for shards in [1, 256] {
        let db = Options::new().shards(shards).in_memory().unwrap();
        (0..20_000).try_for_each(|i| db.set(format!("x{i}"), "")).unwrap();
        (0..500).try_for_each(|i| db.set(format!("k{i}"), "")).unwrap();
        let mut shown = BTreeMap::<Vec<u8>, usize>::new();
        for (turn, key) in db.keys().unwrap().enumerate() {
            *shown.entry(key.unwrap().into_vec()).or_default() += 1;
            for i in turn * 100..turn * 100 + 100 {
                db.delete(format!("x{i}")).unwrap();
            }
        }
        assert!(shown.values().all(|times| *times == 1));
        assert_eq!(shown.keys().filter(|key| key.starts_with(b"k")).count(), 500);
        // The pages of a scan promise less: at least once.
        let (mut pages, mut position) = (BTreeMap::<Vec<u8>, usize>::new(), None);
        (0..20_000).try_for_each(|i| db.set(format!("x{i}"), "")).unwrap();
        for turn in 0.. {
            let page = db.scan(position.as_ref(), 10, b"k").unwrap();
            assert!(page.entries.iter().all(|(key, _)| key.starts_with(b"k")));
            page.entries.into_iter().for_each(|(key, _)| *pages.entry(key.into_vec()).or_default() += 1);
            (turn * 500..turn * 500 + 500).for_each(|i| _ = db.delete(format!("x{i}")).unwrap());
            position = page.next;
            if position.is_none() {
                break;
            }
        }
        assert_eq!(pages.len(), 500);
    }
}

#[test]
fn a_prefix_shows_what_begins_with_it() {
    let db = Db::in_memory();
    for key in ["", "u", "user", "user:", "user:1", "user:11", "User:1", "xuser:1"] {
        db.set(key, key).unwrap();
    }
    let found = |prefix: &str| {
        let mut keys: Vec<_> = db.prefix(prefix).unwrap().map(|entry| entry.unwrap().0.into_vec()).collect();
        keys.sort();
        keys.into_iter().map(|key| String::from_utf8(key).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(found("user:"), ["user:", "user:1", "user:11"]);
    assert_eq!(found("user:11"), ["user:11"]);
    assert_eq!(found("user:111"), [""; 0]);
    assert_eq!(found("").len(), 8);
}

#[test]
fn expired_keys_are_not_shown() {
    let (options, clock) = options();
    let db = options.in_memory().unwrap();
    db.set_with("goes", "v", SetOptions::new().expires_in(HOUR)).unwrap();
    db.set("stays", "v").unwrap();
    assert_eq!(db.iter().unwrap().count(), 2);
    clock.advance(HOUR.as_millis() as u64);
    assert_eq!(db.keys().unwrap().map(Result::unwrap).collect::<Vec<_>>(), ["stays"]);
    assert_eq!(db.scan(None, 10, b"").unwrap().entries.len(), 1);
}

#[test]
fn an_error_ends_the_iteration() {
    let db = Options::new().shards(1).in_memory().unwrap();
    (0..5000).try_for_each(|i| db.set(format!("k{i}"), "v")).unwrap();
    let store: Box<dyn Store> = Box::new(db.clone());
    let iterators = [db.iter().unwrap(), db.prefix("k").unwrap(), kvcore::StoreExt::iter(&*store).unwrap()];
    let mut keys = db.keys().unwrap();
    db.close().unwrap();
    for mut entries in iterators {
        assert!(matches!(entries.next(), Some(Err(Error::Closed))));
        assert!(entries.next().is_none());
    }
    assert!(matches!(keys.next(), Some(Err(Error::Closed))));
    assert!(keys.next().is_none());
    assert!(matches!(db.iter(), Err(Error::Closed)));

    // In the middle: what was read under the last lock comes first.
    let db = Options::new().shards(1).in_memory().unwrap();
    (0..5000).try_for_each(|i| db.set(format!("k{i}"), "v")).unwrap();
    let mut entries = db.iter().unwrap();
    assert!(entries.next().unwrap().is_ok());
    db.close().unwrap();
    let rest: Vec<_> = entries.by_ref().take(5001).collect();
    assert!(matches!(rest.last(), Some(Err(Error::Closed))));
    assert!(rest.len() < 5000 && rest[..rest.len() - 1].iter().all(Result::is_ok));
    assert!(entries.next().is_none());
}

#[test]
fn no_lock_is_held_between_two_entries() {
    let db = Options::new().shards(1).in_memory().unwrap();
    (0..1000).try_for_each(|i| db.set(format!("k{i}"), "v")).unwrap();
    for (turn, entry) in db.iter().unwrap().enumerate().step_by(100) {
        let (key, _) = entry.unwrap();
        let other = db.clone();
        within_limit("a write of the key that is shown", move || {
            other.set(&key, format!("{turn}")).unwrap();
            other.clear().map(drop).map_err(|_| ()).and_then(|()| other.set(key, "again").map_err(|_| ())).unwrap();
        });
    }
    // An iterator may outlive the handle that it came from, and go to another thread.
    let entries = db.iter().unwrap();
    drop(db);
    assert_eq!(within_limit("an iterator on another thread", move || entries.map(Result::unwrap).count()), 1);
}

// --- views -----------------------------------------------------------------------------------------------------------

#[test]
fn a_view_shows_one_moment() {
    const ACCOUNTS: [&str; 4] = ["a", "b", "c", "d"];
    let db = Db::in_memory();
    db.set_many(&ACCOUNTS.map(|account| (account, "1000"))).unwrap();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for turn in 0.. {
                let (from, to) = (ACCOUNTS[turn % 4], ACCOUNTS[(turn / 4) % 4]);
                let moved = db.transact(&[from, to], |txn| {
                    txn.increment(from, -3)?;
                    txn.increment(to, 3)
                });
                moved.unwrap();
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        let sum = |values: &mut dyn Iterator<Item = Vec<u8>>| -> i64 {
            values.map(|value| String::from_utf8(value).unwrap().parse::<i64>().unwrap()).sum()
        };
        // Whatever fails, the writer must end.
        let seen = catch_unwind(AssertUnwindSafe(|| {
            for _ in 0..20_000 {
                let total = db
                    .view(&ACCOUNTS, |view| {
                        let values = ACCOUNTS.map(|account| view.get(account).unwrap().unwrap().to_vec());
                        Ok(sum(&mut values.into_iter()))
                    })
                    .unwrap();
                assert_eq!(total, 4000);
                let values = db.get_many(&ACCOUNTS).unwrap();
                assert_eq!(sum(&mut values.into_iter().map(|value| value.unwrap().into_vec())), 4000);
            }
        }));
        is_over.store(true, Ordering::Relaxed);
        seen.unwrap();
    });
}

#[test]
fn two_views_of_a_key_run_at_the_same_time() {
    let db = Options::new().shards(1).in_memory().unwrap();
    db.set("hot", "value").unwrap();
    let both = Arc::new(Barrier::new(2));
    let (done, results) = mpsc::channel();
    for _ in 0..2 {
        let (db, both, done) = (db.clone(), Arc::clone(&both), done.clone());
        thread::spawn(move || {
            let seen = db.view(&["hot", "cold"], |view| {
                both.wait();
                Ok(view.get("hot")?.is_some() && !view.exists("cold")?)
            });
            done.send(seen.unwrap())
        });
    }
    for _ in 0..2 {
        assert!(results.recv_timeout(LIMIT).expect("one view keeps the other waiting"));
    }
}

#[test]
fn a_view_that_panics_leaves_the_store_usable() {
    let db = Options::new().shards(1).in_memory().unwrap();
    db.set("k", "v").unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| db.view(&["k"], |_| -> Result<()> { panic!("on purpose") }))).is_err());
    assert!(catch_unwind(AssertUnwindSafe(|| db.get_with("k", |_| panic!("on purpose")))).is_err());
    within_limit("a write after a panic", move || db.set("k", "w")).unwrap();
}

// --- sync ------------------------------------------------------------------------------------------------------------

/// The store that is found after the power went.
fn without_power(disk: &disk::MemoryDisk) -> Db {
    Options::new().disk(Arc::new(disk::MemoryDisk::of(&disk.image_without_power()))).open(disk::dir()).unwrap()
}

#[test]
fn sync_makes_every_write_so_far_durable() {
    for durability in [Durability::Always, Durability::EverySecond, Durability::Os] {
        for through_trait in [false, true] {
            let disk = disk::MemoryDisk::default();
            let db = Options::new().durability(durability).disk(Arc::new(disk.clone())).open(disk::dir()).unwrap();
            let other = db.keyspace("other").unwrap();
            for i in 0..1000 {
                let _unawaited = db.deferred().set(format!("k{i}"), "v").unwrap();
            }
            other.increment("n", 1).unwrap();
            if durability == Durability::Os {
                assert_eq!(without_power(&disk).len().unwrap(), 0, "otherwise this test shows nothing");
            }
            let last = db.hooks().last_lsn();
            if through_trait {
                kvcore::StoreExt::sync(&db).unwrap()
            } else {
                db.sync().unwrap()
            }
            assert!(last > Lsn::ZERO && db.hooks().durable_lsn() >= last);
            let left = without_power(&disk);
            assert_eq!(left.len().unwrap(), 1000);
            assert_eq!(left.keyspace("other").unwrap().get("n").unwrap().unwrap(), "1");
        }
    }
    let memory = Db::in_memory();
    memory.sync().unwrap();
    memory.close().unwrap();
    assert!(matches!(memory.sync(), Err(Error::Closed)));
}

#[test]
fn calls_inside_a_body_are_refused() {
    let (db, _dir) = on_disk(Options::new());
    db.set("k", "v").unwrap();
    let calls: [(&str, &dyn Fn() -> Result<()>); 12] = [
        ("sync", &|| db.sync()),
        ("get", &|| db.get("other").map(drop)),
        ("ttl", &|| db.ttl("other").map(drop)),
        ("set", &|| db.set("other", "")),
        ("len", &|| db.len().map(drop)),
        ("clear", &|| db.clear().map(drop)),
        ("view", &|| db.view(&["other"], |_| Ok(()))),
        ("scan", &|| db.scan(None, 1, b"").map(drop)),
        ("iter", &|| db.iter()?.next().map_or(Ok(()), |entry| entry.map(drop))),
        ("deferred", &|| db.deferred().set("other", "").map(drop)),
        ("deferred clear", &|| db.deferred().clear().map(drop)),
        ("deferred sync", &|| db.deferred().sync().map(drop)),
    ];
    for (name, call) in calls {
        for outcome in [
            db.transact(&["k"], |_| call()),
            db.view(&["k"], |_| call()),
            db.get_with("k", |_| call()).unwrap().unwrap(),
        ] {
            assert!(matches!(outcome, Err(Error::Reentered)), "{name}: {outcome:?}");
        }
    }
}

// --- transactions ----------------------------------------------------------------------------------------------------

#[test]
fn a_body_that_fails_or_panics_changes_nothing() {
    let (options, _clock) = options();
    let (db, dir) = on_disk(options.clone());
    db.set_with("a", "1", SetOptions::new().expires_in(HOUR)).unwrap();
    db.set("large", vec![b'x'; 100_000]).unwrap();
    let before = contents(&db);
    let change = |txn: &mut kvcore::Transaction<'_>| -> Result<()> {
        txn.append("large", "more")?;
        txn.rename("a", "b")?;
        txn.persist("b")?;
        txn.increment("b", 1)?;
        txn.copy("large", "a")?;
        txn.delete("large")?;
        txn.set_with("c", "new", SetOptions::new().expires_in(HOUR))?;
        Ok(())
    };
    let keys = ["a", "b", "c", "large"];
    let own = db.try_transact(&keys, |txn| {
        change(txn)?;
        Err::<(), _>(Own::Broke)
    });
    assert_eq!(own, Err(Own::Broke));
    let own = db.deferred().try_transact(&keys, |txn| {
        change(txn)?;
        Err::<(), _>(Own::Broke)
    });
    assert_eq!(own.unwrap_err(), Own::Broke);
    let failed = db.transact(&keys, |txn| {
        change(txn)?;
        txn.set("not named", "")
    });
    assert!(matches!(failed, Err(Error::KeyNotNamed { key }) if key == "not named"));
    for deferred in [false, true] {
        let body = |txn: &mut kvcore::Transaction<'_>| -> Result<()> {
            change(txn)?;
            panic!("on purpose")
        };
        let outcome = catch_unwind(AssertUnwindSafe(|| match deferred {
            true => db.deferred().transact(&keys, body).and_then(Ticket::wait),
            false => db.transact(&keys, body),
        }));
        assert!(outcome.is_err());
    }
    assert_eq!(contents(&db), before);
    db.close().unwrap();
    assert_eq!(contents(&options.open(dir.path()).unwrap()), before, "nor in the log");
}

/// Each way to change an entry in place meets each other, whatever the entry is kept as in between.
#[test]
fn whatever_follows_what_in_a_body_that_fails_nothing_is_changed() {
    type Change = (&'static str, fn(&mut kvcore::Transaction<'_>) -> Result<()>);
    let changes: [Change; 9] = [
        ("set, the length as before", |txn| txn.set("k", "wxyz")),
        ("set, longer", |txn| txn.set("k", "vwxyz")),
        ("set, with a deadline", |txn| txn.set_with("k", "wxyz", SetOptions::new().expires_in(2 * HOUR)).map(drop)),
        ("delete", |txn| txn.delete("k").map(drop)),
        ("append", |txn| txn.append("k", "z").map(drop)),
        ("append much", |txn| txn.append("k", [b'z'; 20_000]).map(drop)),
        ("write a large range", |txn| txn.write_range("k", 1, [b'z'; 20_000]).map(drop)),
        ("expire", |txn| txn.expire("k", 3 * HOUR).map(drop)),
        ("persist", |txn| txn.persist("k").map(drop)),
    ];
    let (options, _clock) = options();
    let db = options.in_memory().unwrap();
    let bases = [
        ("small", "abcd".to_owned(), SetOptions::new()),
        ("with a deadline", "abcd".to_owned(), SetOptions::new().expires_in(HOUR)),
        ("large", "a".repeat(20_000), SetOptions::new()),
    ];
    for (base, value, options) in bases {
        for sequence in 0..changes.len().pow(3) {
            let [first, second, third] = [1, 9, 81].map(|each| &changes[sequence / each % changes.len()]);
            db.set_with("k", &value, options).unwrap();
            let before = (db.get("k").unwrap(), db.ttl("k").unwrap());
            let failed = db.transact(&["k"], |txn| {
                [first, second, third].into_iter().try_for_each(|(_, change)| change(txn))?;
                Err::<(), _>(Error::aborted("given up"))
            });
            assert!(matches!(failed, Err(Error::Aborted(_))));
            let after = (db.get("k").unwrap(), db.ttl("k").unwrap());
            let what = format!("{base}: {}, {}, {}", first.0, second.0, third.0);
            assert!(after == before, "{what}: {:?} instead of {:?}", after.1, before.1);
        }
    }
}

#[test]
fn a_transaction_over_keyspaces_is_whole_and_names_what_it_lacks() {
    let db = Db::in_memory();
    let [one, other, third] = ["one", "other", "third"].map(|name| db.keyspace(name).unwrap());
    one.set_with("k", "v", SetOptions::new().expires_in(HOUR)).unwrap();
    third.set_many(&[("x", "1"), ("y", "2")]).unwrap();
    let claims = LockSet::new().keys(&one, &[b"k"]).keys(&other, &[b"k"]).whole(&third);
    let moved = db.transact_across(claims.clone(), |txn| {
        let mut seen = Vec::new();
        txn.for_each(&third, |key, value| seen.push((key.to_vec(), value.to_vec())))?;
        assert_eq!(seen.len(), 2);
        txn.copy((&one, "k"), (&other, "k"))?;
        txn.keyspace(&one)?.delete("k")?;
        txn.clear(&third)
    });
    assert_eq!(moved.unwrap(), 2);
    assert_eq!((one.len().unwrap(), other.get("k").unwrap().unwrap().as_str()), (0, Some("v")));
    assert!(matches!(other.ttl("k").unwrap(), Some(Ttl::In(_))), "with its deadline");
    let claims = LockSet::new().keys(&one, &[b"k"]);
    let lacking = db.transact_across(claims.clone(), |txn| txn.keyspace(&other)?.set("k", ""));
    assert!(matches!(lacking, Err(Error::KeyspaceNotNamed { name }) if name == "other"));
    let lacking = db.transact_across(claims.clone(), |txn| txn.clear(&one));
    assert!(matches!(lacking, Err(Error::KeyspaceNotNamed { name }) if name == "one"));
    let lacking = db.transact_across(claims.clone(), |txn| txn.keyspace(&one)?.set("l", ""));
    assert!(matches!(lacking, Err(Error::KeyNotNamed { key }) if key == "l"));
    assert!(matches!(db.transact_across(LockSet::new(), |_| Ok(())), Err(Error::EmptyLockSet)));
    let foreign = Db::in_memory();
    let claims = LockSet::new().keys(&db, &[b"k"]).keys(&foreign, &[b"k"]);
    assert!(matches!(db.transact_across(claims.clone(), |_| Ok(())), Err(Error::ForeignKeyspace)));
    // A handle of another store in the body is a keyspace that was not claimed, whatever its number.
    let claims = LockSet::new().keys(&db, &[b"k"]);
    let strange = db.transact_across(claims.clone(), |txn| txn.keyspace(&foreign)?.set("k", "v"));
    assert!(matches!(strange, Err(Error::ForeignKeyspace)), "a foreign handle wrote to this store");
    let strange = db.transact_across(claims.clone(), |txn| txn.copy((&db, "k"), (&foreign, "k")));
    assert!(matches!(strange, Ok(false) | Err(Error::ForeignKeyspace)));
    // Onto itself a copy changes nothing, and nobody is told of a change.
    db.set_with("k", "v", SetOptions::new().expires_in(HOUR)).unwrap();
    let (mut watch, changes) = (db.watch("").unwrap(), db.snapshot_status().changes_since);
    assert!(db.transact_across(claims.clone(), |txn| txn.copy((&db, "k"), (&db, "k"))).unwrap());
    assert!(db.transact(&["k"], |txn| txn.copy("k", "k")).unwrap());
    assert_eq!(watch.next_within(Duration::ZERO).unwrap(), None);
    assert_eq!(db.snapshot_status().changes_since, changes);
    assert!(matches!(db.ttl("k").unwrap(), Some(Ttl::In(_))));
    assert!(db.delete("k").unwrap());
    assert!(!db.exists("k").unwrap() && !foreign.exists("k").unwrap());
}

#[test]
fn names_change_and_values_stay() {
    let (options, clock) = options();
    let (db, dir) = on_disk(options.clone());
    let large = vec![7; 1 << 20];
    db.set_with("large", &large, SetOptions::new().expires_in(HOUR)).unwrap();
    db.set("small", "s").unwrap();
    assert!(db.copy("large", "copy").unwrap());
    assert!(db.rename("large", "small").unwrap(), "what has the new name is replaced");
    assert!(db.rename("small", "small").unwrap() && db.copy("small", "small").unwrap());
    assert_eq!(db.append("copy", "!").unwrap(), large.len() + 1, "a copy is a value of its own");
    assert!(!db.rename("large", "copy").unwrap());
    let check = |db: &Db| {
        assert_eq!(db.len().unwrap(), 2);
        assert_eq!(db.get("small").unwrap().unwrap(), large);
        assert_eq!(db.get_with("copy", |value| value.len()).unwrap(), Some(large.len() + 1));
        assert_eq!([db.ttl("small").unwrap(), db.ttl("copy").unwrap()], [Some(Ttl::In(HOUR)); 2]);
    };
    check(&db);
    db.close().unwrap();
    let db = options.open(dir.path()).unwrap();
    check(&db);
    clock.advance(HOUR.as_millis() as u64);
    assert!(!db.rename("small", "new").unwrap() && !db.copy("copy", "new").unwrap(), "what has expired is missing");
    assert!(!db.exists("new").unwrap());
}

// --- deferred writes -------------------------------------------------------------------------------------------------

/// Every write, blocking on one store and deferred on the other; each result as text.
fn both_ways(db: &Db, deferred: &Db) -> Vec<(String, String)> {
    let awaited = deferred.deferred();
    let at = Deadline::at_ms(START_MS + 5000);
    let set = SetOptions::new().expires_in(HOUR).return_old();
    let mut results = Vec::new();
    macro_rules! both {
        ($($call:ident($($argument:expr),*);)+) => {$(
            let (blocking, ticket) = (db.$call($($argument),*), awaited.$call($($argument),*));
            let ticket = ticket.and_then(block_on);
            results.push((format!("{blocking:?}"), format!("{ticket:?}")));
        )+};
    }
    both! {
        set("k", "v");
        set_with("k", "w", set);
        set_with("k", "x", SetOptions::new().if_absent());
        set_with([0; KEY_BYTES_MAX + 1], "", set);
        set_many(&[("a", "1"), ("b", "2")]);
        delete("b");
        delete("b");
        expire("a", HOUR);
        expire("nothing", HOUR);
        expire_at("k", at);
        persist("a");
        persist("a");
        increment("a", 41);
        increment("k", 1);
        append("k", "yz");
        compare_and_set("k", Some(b"wyz"), "done");
        compare_and_set("k", Some(b"wyz"), "undone");
        compare_and_set("c", None, "new");
        rename("c", "d");
        rename("c", "d");
        copy("d", "e");
        copy("c", "e");
        transact(&["a", "d"], |txn| { txn.rename("d", "a")?; txn.exists("d") });
        transact(&["a"], |txn| txn.exists("d"));
    }
    let body = |txn: &mut kvcore::Transaction<'_>| Ok::<_, Own>(txn.append("e", "+")?);
    let ticket = awaited.try_transact(&["e"], body).map(|ticket| block_on(ticket).unwrap());
    results.push((format!("{:?}", db.try_transact(&["e"], body)), format!("{ticket:?}")));
    results
}

#[test]
fn a_ticket_yields_what_the_blocking_call_returns() {
    for durability in [Durability::Always, Durability::EverySecond, Durability::Os] {
        let (options, _clock) = options();
        let (db, _dir) = on_disk(options.clone().durability(durability));
        let (deferred, dir) = on_disk(options.clone().durability(durability));
        for (number, (blocking, ticket)) in both_ways(&db, &deferred).into_iter().enumerate() {
            assert_eq!(blocking, ticket, "call {number}");
        }
        assert_eq!(contents(&db), contents(&deferred));
        assert_eq!(db.len().unwrap(), 3);
        // All of it is in the log.
        deferred.close().unwrap();
        assert_eq!(contents(&options.open(dir.path()).unwrap()), contents(&db));
    }
    let (options, _clock) = options();
    let (db, deferred) = (options.clone().in_memory().unwrap(), options.in_memory().unwrap());
    both_ways(&db, &deferred).into_iter().for_each(|(blocking, ticket)| assert_eq!(blocking, ticket));
}

#[test]
fn an_awaited_write_is_durable() {
    let disk = disk::MemoryDisk::default();
    let db = Options::new().disk(Arc::new(disk.clone())).open(disk::dir()).unwrap();
    for i in 0..20 {
        block_on(db.deferred().increment("n", 1).unwrap()).unwrap();
        assert_eq!(without_power(&disk).get("n").unwrap().unwrap(), format!("{}", i + 1).as_str());
    }
    // A ticket that is dropped takes nothing back, and one that has yielded says so.
    drop(db.deferred().set("dropped", "v").unwrap());
    assert_eq!(db.get_durable("dropped").unwrap().unwrap(), "v");
    assert!(without_power(&disk).exists("dropped").unwrap());
    let mut ticket = db.deferred().set("k", "v").unwrap();
    block_on(&mut ticket).unwrap();
    assert!(matches!(block_on(&mut ticket), Err(Error::TicketUsed)));
}

#[test]
fn a_pointer_to_a_store_is_a_store() {
    use kvcore::StoreExt;
    fn visits<S: Store>(store: S) -> i64 {
        store.increment("visits", 1).unwrap();
        assert!(!store.is_empty().unwrap());
        store.deferred().increment("visits", 1).unwrap().wait().unwrap()
    }
    let db = Db::in_memory();
    let boxed: Box<dyn Store> = Box::new(db.clone());
    let shared: Arc<dyn Store> = Arc::new(db.clone());
    assert_eq!((visits(&db), visits(boxed), visits(shared)), (2, 4, 6));
}

#[test]
fn what_is_deferred_can_be_cleared_and_synced() {
    let dir = tempfile::tempdir().unwrap();
    let db = Options::new().durability(Durability::Os).open(dir.path()).unwrap();
    let deferred = db.deferred();
    drop(deferred.set_many(&[("a", "1"), ("b", "2")]).unwrap());
    assert_eq!(deferred.clear().unwrap().wait().unwrap(), 2);
    drop(deferred.set("c", "3").unwrap());
    deferred.sync().unwrap().wait().unwrap();
    assert_eq!(db.hooks().durable_lsn(), db.hooks().last_lsn());
    assert_eq!(db.len().unwrap(), 1);
}

#[test]
fn a_ticket_of_another_store_waits_for_its_future() {
    // Ready on another thread, later.
    let later = |outcome: fn() -> Result<()>| {
        let shared = Arc::new(std::sync::Mutex::new((None, None::<Waker>)));
        let sets = Arc::clone(&shared);
        thread::spawn(move || {
            let waker = {
                let mut shared = sets.lock().unwrap();
                shared.0 = Some(outcome());
                shared.1.take()
            };
            waker.into_iter().for_each(Waker::wake);
        });
        std::future::poll_fn(move |context| {
            let mut shared = shared.lock().unwrap();
            shared.1 = Some(context.waker().clone());
            shared.0.take().map_or(Poll::Pending, Poll::Ready)
        })
    };
    let lost = || Err(Error::OutcomeUnknown { why: "connection reset".to_owned() });
    for _ in 0..20 {
        let ticket = Ticket::after(later(|| Ok(())), 7);
        assert_eq!(within_limit("a ticket", move || ticket.map(|number| number + 1).wait()).unwrap(), 8);
        assert_eq!(block_on(Ticket::after(later(|| Ok(())), 7)).unwrap(), 7);
        assert!(matches!(Ticket::after(later(lost), ()).wait(), Err(Error::OutcomeUnknown { .. })));
        let mut ticket = Ticket::after(later(lost), ());
        assert!(matches!(block_on(&mut ticket), Err(Error::OutcomeUnknown { .. })));
        assert!(matches!(block_on(&mut ticket), Err(Error::TicketUsed)), "an error is a result, too");
    }
}
