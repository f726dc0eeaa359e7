//! What a store does while it is open, seen through its public door.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and looks at files itself"
)]

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kvcore::hooks::{Change, ChangeKind, Lookups, Observer, Origin, Scan, Txn, TxnExt};
use kvcore::{Db, Deadline, Error, LockSet, ManualClock, Options, SetOptions, Ttl};

const START_MS: u64 = 1_700_000_000_000;

fn with_clock() -> (Db, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(START_MS));
    (Options::new().clock(clock.clone()).in_memory().unwrap(), clock)
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn the_basics() {
    let db = Db::in_memory();
    assert_eq!(db.get("k").unwrap(), None);
    db.set("k", "v1").unwrap();
    assert_eq!(db.get("k").unwrap().unwrap(), "v1");
    db.set("k", "another length").unwrap();
    assert_eq!(db.get_with("k", |value| value.len()).unwrap(), Some(14));
    assert!(db.exists("k").unwrap());
    assert!(db.delete("k").unwrap());
    assert!(!db.delete("k").unwrap());
    db.set("", "").unwrap();
    assert_eq!(db.get("").unwrap().unwrap(), "", "empty keys and values are keys and values");
    assert_eq!(db.len().unwrap(), 1);
}

#[test]
fn many_keys_at_once_are_one_change() {
    let db = Db::in_memory();
    db.set_many(&[("a", "1"), ("b", "2"), ("a", "3")]).unwrap();
    let values = db.get_many(&["b", "missing", "a"]).unwrap();
    assert_eq!(values[0].as_deref(), Some(&b"2"[..]));
    assert_eq!(values[1], None);
    assert_eq!(values[2].as_deref(), Some(&b"3"[..]));
}

#[test]
fn set_options_do_what_they_say() {
    let (db, clock) = with_clock();
    let absent = SetOptions::new().if_absent();
    assert!(!db.set_with("k", "v", SetOptions::new().if_present()).unwrap().written);
    assert!(db.set_with("k", "v", absent).unwrap().written);
    let refused = db.set_with("k", "w", absent.return_old()).unwrap();
    assert!(!refused.written);
    assert_eq!(refused.old.unwrap(), "v");
    db.set_with("k", "x", SetOptions::new().expires_in(seconds(10))).unwrap();
    db.set_with("k", "y", SetOptions::new().keep_deadline()).unwrap();
    assert_eq!(db.ttl("k").unwrap(), Some(Ttl::In(seconds(10))));
    db.set_with("k", "z", SetOptions::new().expires_at(Deadline::at_ms(START_MS + 5_000))).unwrap();
    clock.advance(4_999);
    assert_eq!(db.get("k").unwrap().unwrap(), "z");
    clock.advance(1);
    assert_eq!(db.get("k").unwrap(), None);
    assert!(db.set_with("k", "again", absent).unwrap().written, "what has expired is absent");
    assert_eq!(db.ttl("k").unwrap(), Some(Ttl::Never));
}

#[test]
fn numbers_add_up_and_refuse_what_is_none() {
    let db = Db::in_memory();
    assert_eq!(db.increment("n", 5).unwrap(), 5);
    assert_eq!(db.increment("n", -7).unwrap(), -2);
    db.set("n", i64::MAX.to_string()).unwrap();
    assert!(matches!(db.increment("n", 1), Err(Error::Overflow)));
    assert_eq!(db.get("n").unwrap().unwrap(), i64::MAX.to_string().as_str());
    db.set("n", "abc").unwrap();
    assert!(matches!(db.increment("n", 1), Err(Error::NotAnInteger)));
}

#[test]
fn appending_grows_small_values_into_large_ones() {
    let db = Db::in_memory();
    let mut expected = Vec::new();
    for i in 0..4_000_u32 {
        expected.extend_from_slice(&i.to_le_bytes());
        assert_eq!(db.append("log", i.to_le_bytes()).unwrap(), expected.len());
    }
    assert_eq!(db.get("log").unwrap().unwrap(), expected[..]);
    let kept = db.get("log").unwrap().unwrap();
    db.append("log", "more").unwrap();
    assert_eq!(kept, expected[..], "a value that was taken out does not change");
}

#[test]
fn compare_and_set_compares() {
    let (db, _) = with_clock();
    assert!(db.compare_and_set("k", None, "1").unwrap());
    assert!(!db.compare_and_set("k", None, "2").unwrap());
    db.expire("k", seconds(9)).unwrap();
    assert!(!db.compare_and_set("k", Some(b"0"), "2").unwrap());
    assert!(db.compare_and_set("k", Some(b"1"), "2").unwrap());
    assert_eq!(db.ttl("k").unwrap(), Some(Ttl::In(seconds(9))), "the deadline stays");
}

#[test]
fn deadlines_come_move_and_go() {
    let (db, clock) = with_clock();
    assert!(!db.expire("k", seconds(1)).unwrap());
    db.set("k", "v").unwrap();
    assert!(db.expire("k", seconds(100)).unwrap());
    assert!(db.expire("k", seconds(1)).unwrap(), "sooner than before");
    clock.advance(1_000);
    assert!(!db.exists("k").unwrap());
    db.set("k", "v").unwrap();
    db.expire("k", seconds(1)).unwrap();
    assert!(db.expire("k", seconds(100)).unwrap(), "later than before");
    clock.advance(2_000);
    db.sweep();
    assert!(db.exists("k").unwrap());
    assert!(db.persist("k").unwrap());
    assert!(!db.persist("k").unwrap());
    clock.advance(200_000);
    db.sweep();
    assert!(db.exists("k").unwrap());
    assert!(db.expire_at("k", Deadline::at_ms(1)).unwrap(), "a deadline in the past removes the key");
    assert!(!db.exists("k").unwrap());
}

#[test]
fn sweeping_returns_the_memory_of_expired_keys_within_a_tick() {
    let (db, clock) = with_clock();
    let empty = db.stats().memory_bytes;
    for i in 0..20_000_u64 {
        let ttl = Duration::from_millis(1 + i * 37 % 3_600_000);
        db.set_with(format!("key{i}"), [7; 100], SetOptions::new().expires_in(ttl)).unwrap();
    }
    db.set("stays", "here").unwrap();
    let mut left = 20_001;
    for _ in 0..3_600 {
        clock.advance(1_000);
        db.sweep();
        assert!(db.len().unwrap() <= left);
        left = db.len().unwrap();
    }
    clock.advance(100);
    db.sweep();
    assert_eq!(db.len().unwrap(), 1);
    assert_eq!(db.stats().expired, 20_000);
    let after = db.stats().memory_bytes;
    assert!(after < empty + 256 * 64 * 20, "{after} bytes are still taken");
}

#[test]
fn a_later_deadline_again_and_again_does_not_fill_the_wheel() {
    let (db, clock) = with_clock();
    for _ in 0..50_000 {
        db.set_with("session", "x", SetOptions::new().expires_in(seconds(1800))).unwrap();
        db.set_with("flapping", "x", SetOptions::new().expires_in(seconds(1800))).unwrap();
        db.persist("flapping").unwrap();
        clock.advance(20);
    }
    let bytes = db.stats().memory_bytes;
    assert!(bytes < 100_000, "{bytes} bytes for two keys");
}

#[test]
fn a_failed_transaction_changes_nothing() {
    let (db, _) = with_clock();
    let big = vec![1; 20_000];
    db.set("same", "aaa").unwrap();
    db.set("other", "aaa").unwrap();
    db.set("big", &big).unwrap();
    db.set_with("ttl", "x", SetOptions::new().expires_in(seconds(5))).unwrap();
    let keys: [&[u8]; 6] = [b"same", b"other", b"big", b"ttl", b"new", b"gone"];
    let change = |txn: &mut dyn kvcore::hooks::Txn| -> kvcore::Result<()> {
        txn.set(b"same", b"bbb", None)?;
        txn.set(b"other", b"longer than before", None)?;
        txn.write_range(b"big", 19_990, &[2; 30])?;
        txn.write_range(b"big", 5, &[3; 3])?;
        txn.set_deadline(b"ttl", None)?;
        txn.set(b"new", b"n", None)?;
        txn.set(b"new", b"m", None)?;
        txn.delete(b"same")?;
        assert_eq!(txn.get(b"new")?.unwrap().bytes(), b"m", "a transaction sees its own changes");
        Ok(())
    };
    let unchanged = |db: &Db| {
        assert_eq!(db.get("same").unwrap().unwrap(), "aaa");
        assert_eq!(db.get("other").unwrap().unwrap(), "aaa");
        assert_eq!(db.get("big").unwrap().unwrap(), big[..]);
        assert_eq!(db.ttl("ttl").unwrap(), Some(Ttl::In(seconds(5))));
        assert_eq!(db.get("new").unwrap(), None);
        assert_eq!(db.len().unwrap(), 4);
    };
    let failed = db.hooks().transact(&keys, |txn| {
        change(txn)?;
        Err::<(), _>(Error::aborted("changed my mind"))
    });
    assert!(matches!(failed, Err(Error::Aborted(_))));
    unchanged(&db);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        db.hooks().transact(&keys, |txn| {
            change(txn)?;
            if txn.now_ms() > 0 {
                panic!("in the middle");
            }
            Ok(())
        })
    }));
    assert!(panicked.is_err());
    unchanged(&db);
    unchanged(&db);
    let flushed = db.hooks().transact_across(LockSet::new().whole(&db), |txn| {
        txn.set(b"new", b"n", None)?;
        assert_eq!(txn.clear()?, 5);
        Err::<(), _>(Error::aborted("no"))
    });
    assert!(flushed.is_err());
    unchanged(&db);
}

/// A key that was not named used to pass when its shard was locked for another.
#[test]
fn only_named_keys_can_be_used_in_a_transaction() {
    let db = kvcore::Options::new().shards(1).in_memory().unwrap();
    db.set("other", "v").unwrap();
    let not_named = |outcome: kvcore::Result<()>| {
        assert!(matches!(outcome, Err(Error::KeyNotNamed { .. } | Error::KeyspaceNotNamed { .. })), "{outcome:?}")
    };
    for keys in [&["a"][..], &["a", "b", "a"]] {
        not_named(db.transact(keys, |txn| txn.get(b"other").map(drop)));
        not_named(db.transact(keys, |txn| txn.set(b"other", b"w")));
        not_named(db.transact(keys, |txn| txn.delete(b"other").map(drop)));
        not_named(db.hooks().transact(keys, |txn| txn.set_deadline(b"other", None).map(drop)));
        not_named(db.transact(keys, |txn| txn.write_range(b"other", 0, b"w").map(drop)));
        not_named(db.hooks().transact(keys, |txn| txn.clear().map(drop)));
    }
    assert_eq!(db.get("other").unwrap().as_deref(), Some(&b"v"[..]));
}

#[test]
fn a_call_back_into_the_store_is_an_error_not_a_deadlock() {
    let db = Db::in_memory();
    let other = Db::in_memory();
    db.set("k", "v").unwrap();
    let inner = db.transact(&["k"], |_| db.set("k", "w")).unwrap_err();
    assert!(matches!(inner, Error::Reentered));
    assert!(matches!(db.get_with("k", |_| db.get("k")).unwrap().unwrap(), Err(Error::Reentered)));
    db.transact(&["k"], |_| other.set("k", "w")).unwrap();
    // Whatever is called from inside answers: with an error, or leaving out what is locked.
    db.transact(&["k"], |_| {
        assert!(matches!(db.len(), Err(Error::Reentered)));
        assert_eq!(db.hooks().counts(), (0, 0));
        assert_eq!(db.stats().entries, 0);
        assert_eq!(db.sweep(), 0);
        assert_eq!(db.keyspaces().len(), 1);
        assert!(matches!(db.keyspace("new"), Err(Error::Reentered)));
        assert!(matches!(db.random_key(), Err(Error::Reentered)));
        assert!(matches!(db.scan(None, 1, b""), Err(Error::Reentered)));
        assert!(matches!(db.close(), Err(Error::Reentered)));
        Ok(())
    })
    .unwrap();
    db.set("k", "afterwards it works again").unwrap();
}

#[test]
fn keyspaces_are_apart_and_transactions_span_them() {
    let db = Db::in_memory();
    let sessions = db.keyspace("sessions").unwrap();
    db.set("k", "default").unwrap();
    sessions.set("k", "session").unwrap();
    assert_eq!(db.keyspace("sessions").unwrap().get("k").unwrap().unwrap(), "session");
    assert_eq!(db.keyspace("0").unwrap().get("k").unwrap().unwrap(), "default");
    let claims = LockSet::new().keys(&sessions, &[b"k"]).keys(&db, &[b"k", b"n"]);
    db.hooks()
        .transact_across(claims.clone(), |txn| {
            let value = txn.get(b"k")?.unwrap().to_vec();
            txn.select(db.hooks().id())?;
            txn.set(b"k", &value, None)?;
            txn.increment(b"n", 1)
        })
        .unwrap();
    assert_eq!(db.get("k").unwrap().unwrap(), "session");
    assert_eq!(db.clear_all().unwrap(), 3);
    sessions.set("k", "v").unwrap();
    assert!(db.drop_keyspace("sessions").unwrap());
    assert!(!db.drop_keyspace("sessions").unwrap());
    assert!(matches!(sessions.set("k", "v"), Err(Error::KeyspaceDropped { .. })));
    assert!(db.keyspace("sessions").unwrap().is_empty().unwrap(), "a new one has the name now");
    let foreign = Db::in_memory();
    let claim = LockSet::new().whole(&foreign);
    assert!(matches!(db.hooks().transact_across(claim, |_| Ok(())), Err(Error::ForeignKeyspace)));
}

#[test]
fn limits_are_errors_that_change_nothing() {
    let db = Options::new().key_bytes_max(4).value_bytes_max(8).in_memory().unwrap();
    db.set("1234", "12345678").unwrap();
    assert!(matches!(db.set("12345", ""), Err(Error::KeyTooLong { len: 5, max: 4 })));
    assert!(matches!(db.set("k", "123456789"), Err(Error::ValueTooLong { len: 9, max: 8 })));
    assert!(matches!(db.append("1234", "x"), Err(Error::ValueTooLong { len: 9, max: 8 })));
    assert!(db.transact(&["1234"], |txn| txn.write_range(b"1234", usize::MAX, b"x")).is_err());
    assert_eq!(db.get("1234").unwrap().unwrap(), "12345678");
    assert!(matches!(Options::new().shards(3).in_memory(), Err(Error::InvalidOption(_))));
}

#[test]
fn a_scan_shows_what_stays_while_the_table_grows_and_shrinks() {
    for shards in [1, 256] {
        let db = Options::new().shards(shards).in_memory().unwrap();
        for i in 0..5_000 {
            db.set(format!("stays:{i}"), "").unwrap();
        }
        let (mut position, mut seen, mut round) = (None, std::collections::HashSet::new(), 0);
        loop {
            let page = db.scan(position.as_ref(), 100, b"stays:").unwrap();
            seen.extend(page.entries.into_iter().map(|(key, _)| key));
            position = page.next;
            if position.is_none() {
                break;
            }
            // Grow for a while, then remove what was added: both move entries to other buckets.
            for i in 0..400 {
                if round < 40 {
                    db.set(format!("comes:{round}:{i}"), "").unwrap();
                } else if round < 80 {
                    db.delete(format!("comes:{}:{i}", round - 40)).unwrap();
                }
            }
            round += 1;
        }
        assert_eq!(seen.len(), 5_000, "with {shards} shards");
        let mut each = 0;
        db.for_each(&mut |key, _| each += usize::from(key.starts_with(b"stays:"))).unwrap();
        assert_eq!(each, 5_000);
    }
}

/// Two keys among many shards, most of them empty, had been as likely as the stretch of empty ones before them was long.
/// While the sweeper is held up, next to all keys may have expired.
#[test]
fn a_random_key_is_found_among_any_number_that_have_expired() {
    let db = Db::in_memory();
    db.hooks().pause_sweeping(true);
    db.set("live", "").unwrap();
    for i in 0..3_000 {
        db.set_with(format!("{i}"), "", SetOptions::new().expires_in(Duration::from_millis(1))).unwrap();
    }
    while db.exists("2999").unwrap() {
        std::thread::yield_now();
    }
    for _ in 0..50 {
        assert_eq!(db.random_key().unwrap().as_deref(), Some(&b"live"[..]));
    }
}

#[test]
fn a_random_key_is_any_key_about_as_often_as_any_other() {
    for (keys, draws) in [(1, 10), (2, 2_000), (10, 10_000), (3_000, 600_000)] {
        let db = Db::in_memory();
        assert_eq!(db.random_key().unwrap(), None);
        for i in 0..keys {
            db.set(format!("{i}"), "").unwrap();
        }
        let mut counts = std::collections::HashMap::new();
        let mut draw = |key: Option<Vec<u8>>| *counts.entry(key.unwrap()).or_insert(0) += 1;
        for _ in 0..draws / 2 {
            draw(db.random_key().unwrap());
        }
        // Inside a transaction too.
        db.hooks()
            .commit_across(LockSet::new().whole(&db), &mut |txn| {
                for _ in 0..draws / 2 {
                    draw(txn.as_scan().random_key()?);
                }
                Ok(())
            })
            .unwrap();
        assert_eq!(counts.len(), keys);
        let mean = draws / keys;
        for (key, count) in counts {
            assert!((mean / 2..=mean * 2).contains(&count), "{keys} keys: {key:?} {count} times instead of {mean}");
        }
    }
}

#[derive(Default)]
struct Seen(Mutex<Vec<Told>>);

/// Keyspace, key, kind.
type Told = (String, Option<Vec<u8>>, ChangeKind);

impl Observer for Seen {
    fn changed(&self, change: &Change<'_>) {
        let key = change.key.map(<[u8]>::to_vec);
        self.0.lock().unwrap().push((change.keyspace.to_owned(), key, change.kind));
    }
}

#[test]
fn an_observer_is_told_of_changes_of_every_origin() {
    let (db, clock) = with_clock();
    let seen = Arc::new(Seen::default());
    db.hooks().observe(seen.clone()).unwrap();
    db.set("a", "1").unwrap();
    db.append("a", "2").unwrap();
    db.expire("a", seconds(1)).unwrap();
    db.set("b", "1").unwrap();
    db.delete("b").unwrap();
    db.delete("b").unwrap();
    let _ = db.transact(&["c"], |txn| {
        txn.set(b"c", b"")?;
        Err::<(), _>(Error::aborted("nobody is told of this"))
    });
    clock.advance(1_100);
    db.sweep();
    db.keyspace("x").unwrap().clear().unwrap();
    let mut expected = Vec::new();
    for (key, kind) in [
        (Some("a"), ChangeKind::Set),
        (Some("a"), ChangeKind::Set),
        (Some("a"), ChangeKind::Deadline),
        (Some("b"), ChangeKind::Set),
        (Some("b"), ChangeKind::Delete),
        (Some("a"), ChangeKind::Expire),
    ] {
        expected.push(("0".to_owned(), key.map(|key| key.as_bytes().to_vec()), kind));
    }
    expected.push(("x".to_owned(), None, ChangeKind::Clear));
    assert_eq!(*seen.0.lock().unwrap(), expected);
}

/// A caller of transactions, and what observers left with it.
#[derive(Default)]
struct Caller(RefCell<Vec<(String, ChangeKind)>>);

/// Leaves each change with its caller, or keeps it if there is none.
#[derive(Default)]
struct ByOrigin(Mutex<Vec<(String, ChangeKind)>>);

impl Observer for ByOrigin {
    fn changed(&self, change: &Change<'_>) {
        let seen = (String::from_utf8_lossy(change.key.unwrap_or_default()).into_owned(), change.kind);
        match change.origin.get::<Caller>() {
            Some(Caller(changes)) => changes.borrow_mut().push(seen),
            None => self.0.lock().unwrap().push(seen),
        }
    }
}

#[test]
fn observers_are_given_the_origin_of_a_transaction() {
    let (db, clock) = with_clock();
    let other = db.keyspace("other").unwrap();
    let others = Arc::new(ByOrigin::default());
    db.hooks().observe(others.clone()).unwrap();
    let caller = Caller::default();
    let hooks = db.hooks().with_origin(Origin::new(&caller));
    let seen = |key: &str, kind| (key.to_owned(), kind);

    hooks.commit(&[b"one"], &mut |txn| txn.set(b"one", b"v", None)).unwrap();
    hooks.transact(&["two"], |txn| txn.set(b"two", b"v", None)).unwrap();
    let claims = LockSet::new().keys(&db, &[b"a", b"b"]);
    hooks.commit_across(claims.clone(), &mut |txn| txn.set(b"a", b"v", None)).unwrap();
    hooks.commit_draft(claims.clone(), &|| true, &mut |txn| txn.set(b"b", b"v", None)).unwrap();
    let whole = LockSet::new().whole(&db).whole(&other);
    hooks.commit_across(whole, &mut |txn| txn.swap(other.hooks().id())).unwrap();
    let of_other = other.hooks().with_origin(Origin::new(&caller));
    of_other.commit(&[b"one"], &mut |txn| txn.delete(b"one").map(drop)).unwrap();
    let set = ["one", "two", "a", "b"].map(|key| seen(key, ChangeKind::Set));
    let rest = [seen("", ChangeKind::Clear), seen("", ChangeKind::Clear), seen("one", ChangeKind::Delete)];
    assert_eq!(caller.0.take(), [&set[..], &rest].concat());
    assert_eq!(*others.0.lock().unwrap(), []);

    // What a transaction meets that had expired comes with its own changes; what is swept has no origin.
    for key in ["met", "swept"] {
        db.set_with(key, "v", SetOptions::new().expires_in(seconds(1))).unwrap();
    }
    let long = [seen("met", ChangeKind::Set), seen("swept", ChangeKind::Set)];
    assert_eq!(std::mem::take(&mut *others.0.lock().unwrap()), long);
    db.hooks().pause_sweeping(true);
    clock.advance(2_000);
    hooks.commit(&[b"met"], &mut |txn| txn.get(b"met").map(drop)).unwrap();
    db.hooks().pause_sweeping(false);
    db.sweep();
    assert_eq!(caller.0.take(), [seen("met", ChangeKind::Expire)]);
    assert_eq!(*others.0.lock().unwrap(), [seen("swept", ChangeKind::Expire)]);
}

#[test]
fn transactions_of_many_threads_do_not_mix() {
    let db = Options::new().shards(4).in_memory().unwrap();
    let accounts: Vec<String> = (0..16).map(|i| format!("account{i}")).collect();
    for account in &accounts {
        db.set(account, "1000").unwrap();
    }
    std::thread::scope(|scope| {
        for t in 0..4_usize {
            let (db, accounts) = (db.clone(), &accounts);
            scope.spawn(move || {
                for i in 0..5_000_usize {
                    let (from, to) = (&accounts[(i * 7 + t) % 16], &accounts[(i * 5 + t * 3 + 1) % 16]);
                    db.transact(&[from, to], |txn| {
                        txn.increment(from.as_bytes(), -1)?;
                        txn.increment(to.as_bytes(), 1)
                    })
                    .unwrap();
                    if i % 100 == 0 {
                        let sum: i64 = db.get_many(accounts).unwrap().iter().flatten().map(number).sum();
                        assert_eq!(sum, 16_000);
                    }
                }
            });
        }
    });
    fn number(value: &kvcore::Value) -> i64 {
        std::str::from_utf8(value).unwrap().parse().unwrap()
    }
}

#[test]
fn a_closed_store_says_so() {
    let db = Db::in_memory();
    let keyspace = db.keyspace("k").unwrap();
    db.close().unwrap();
    db.close().unwrap();
    assert!(matches!(keyspace.set("k", "v"), Err(Error::Closed)));
    assert!(matches!(db.get("k"), Err(Error::Closed)));
}

#[test]
fn a_store_in_memory_sweeps_as_it_is_written_to() {
    let (db, clock) = with_clock();
    for i in 0..1_000 {
        db.set_with(format!("k{i}"), "v", SetOptions::new().expires_in(seconds(1))).unwrap();
    }
    clock.advance(1_100);
    assert_eq!(db.len().unwrap(), 1_000);
    db.set("another", "v").unwrap();
    assert_eq!(db.len().unwrap(), 1);
}

#[test]
fn dropping_a_keyspace_and_transactions_that_ask_for_names_do_not_wait_for_each_other() {
    let db = Db::in_memory();
    std::thread::scope(|scope| {
        let dropper = db.clone();
        scope.spawn(move || {
            for _ in 0..2_000 {
                dropper.keyspace("comes and goes").unwrap();
                dropper.drop_keyspace("comes and goes").unwrap();
            }
        });
        for _ in 0..2_000 {
            let keyspace = db.keyspace("comes and goes").unwrap();
            // Dropped meanwhile or not: it must only end.
            let _ = keyspace.transact(&["k"], |txn| {
                txn.set(b"k", b"v")?;
                Ok(db.keyspaces().len())
            });
        }
    });
}

#[test]
fn a_swap_that_is_taken_back_changes_nothing() {
    let db = Db::in_memory();
    let other = db.keyspace("other").unwrap();
    db.set("k", "mine").unwrap();
    other.set("k", "theirs").unwrap();
    let claims = LockSet::new().whole(&db).whole(&other);
    let failed = db.hooks().transact_across(claims.clone(), |txn| {
        txn.set(b"before", b"", None)?;
        txn.swap(other.hooks().id())?;
        assert_eq!(txn.get(b"k")?.unwrap().bytes(), b"theirs");
        assert!(txn.get(b"before")?.is_none());
        txn.set(b"after", b"", None)?;
        txn.select(other.hooks().id())?;
        assert!(txn.get(b"before")?.is_some());
        Err::<(), _>(Error::aborted("not this time"))
    });
    assert!(failed.is_err());
    assert_eq!(db.get("k").unwrap().unwrap(), "mine");
    assert_eq!(other.get("k").unwrap().unwrap(), "theirs");
    assert_eq!((db.len().unwrap(), other.len().unwrap()), (1, 1));
    let one = LockSet::new().whole(&db).keys(&other, &[b"k"]);
    let refused = db.hooks().transact_across(one, |txn| txn.swap(other.hooks().id()));
    assert!(matches!(refused, Err(Error::KeyspaceNotNamed { .. })), "it must have claimed both whole");
    db.swap("0", "0").unwrap();
    assert_eq!(db.get("k").unwrap().unwrap(), "mine");
}

#[test]
fn deadlines_go_with_a_swap() {
    let (db, clock) = with_clock();
    db.set_with("k", "v", SetOptions::new().expires_in(seconds(1))).unwrap();
    db.swap("0", "other").unwrap();
    clock.advance(2_000);
    assert_eq!(db.sweep(), 1);
    assert_eq!(db.keyspace("other").unwrap().len().unwrap(), 0);
}

#[test]
fn what_is_known_of_a_keys_use_goes_where_the_key_goes() {
    let clock = Arc::new(ManualClock::at(1_000_000_000_000));
    let db = Options::new().clock(clock.clone()).shards(1).in_memory().unwrap();
    let idle = |key: &str| {
        let mut idle = None;
        let look = &mut |txn: &mut dyn kvcore::hooks::Txn| {
            idle = txn.usage(key.as_bytes())?.map(|usage| usage.idle_secs);
            Ok(())
        };
        db.hooks().commit(&[key.as_bytes()], look).unwrap();
        idle
    };
    let read = |key: &str, counts: bool| {
        let look = &mut |txn: &mut dyn kvcore::hooks::Txn| {
            txn.begin_command(counts);
            txn.get(key.as_bytes()).map(drop)
        };
        db.hooks().commit(&[key.as_bytes()], look).unwrap();
    };
    db.set("before anybody asked", "v").unwrap();
    db.hooks().note_time();
    // Each key a second after the one before, through all the sizes of the table.
    for i in 0..3000 {
        db.set(format!("k{i}"), "v").unwrap();
        clock.advance(1000);
        db.hooks().note_time();
    }
    let expected = |i: u64| Some(3000 - i as u32);
    assert!((0..3000).all(|i| idle(&format!("k{i}")) == expected(i)));
    assert_eq!((idle("before anybody asked"), idle("none")), (Some(3000), None));
    for i in (0..3000).filter(|i| i % 30 != 0) {
        db.delete(format!("k{i}")).unwrap();
    }
    assert!((0..3000).step_by(30).all(|i| idle(&format!("k{i}")) == expected(i)), "after the table has shrunk");
    db.set("k0", "longer than before").unwrap();
    db.set("k30", "w").unwrap();
    read("k60", true);
    read("k90", false);
    let seen = ["k0", "k30", "k60", "k90"].map(|key| idle(key).unwrap());
    assert_eq!(seen, [0, 0, 0, 2910]);
    let other = db.keyspace("other").unwrap();
    db.swap("0", "other").unwrap();
    assert_eq!(idle("k90"), None);
    db.swap("0", "other").unwrap();
    assert_eq!(idle("k90"), Some(2910));
    drop(other);
    db.clear().unwrap();
    db.set("k90", "v").unwrap();
    assert_eq!(idle("k90"), Some(0));
}

#[test]
fn lookups_are_counted_by_their_purpose_and_a_command_uses_a_key_once() {
    let clock = Arc::new(ManualClock::at(1_000_000_000_000));
    let db = Options::new().clock(clock.clone()).in_memory().unwrap();
    db.hooks().count_accesses(Some(kvcore::hooks::LfuCounter { factor: 0, decay_minutes: 0 }));
    db.hooks().note_time();
    db.set("k", "v").unwrap();
    db.set_with("gone", "v", SetOptions::new().expires_in(seconds(1))).unwrap();
    clock.advance(1_000);
    type Body<'b> = &'b mut dyn FnMut(&mut dyn Txn) -> kvcore::Result<()>;
    let uses = || {
        let mut uses = None;
        let look = &mut |txn: &mut dyn Txn| {
            uses = txn.usage(b"k")?.and_then(|usage| usage.frequency);
            Ok(())
        };
        db.hooks().commit(&[b"k"], look).unwrap();
        uses.unwrap()
    };
    let mut expected = uses();
    let mut check = |hits: u32, misses: u32, used: u8, body: Body<'_>| {
        let mut lookups = Lookups::default();
        db.hooks()
            .commit(&[b"k", b"gone", b"none"], &mut |txn| {
                body(txn)?;
                lookups = txn.lookups();
                Ok(())
            })
            .unwrap();
        expected += used;
        assert_eq!((lookups, uses()), (Lookups { hits, misses }, expected));
    };
    check(1, 0, 1, &mut |txn| txn.get(b"k").map(drop));
    check(1, 0, 0, &mut |txn| txn.look(b"k").map(drop));
    check(0, 0, 1, &mut |txn| txn.get_to_write(b"k").map(drop));
    check(0, 0, 0, &mut |txn| txn.peek(b"k").map(drop));
    check(0, 2, 0, &mut |txn| {
        txn.get(b"gone")?;
        txn.look(b"none").map(drop)
    });
    check(0, 0, 1, &mut |txn| txn.set(b"k", b"w", None));
    check(0, 0, 1, &mut |txn| txn.append(b"k", b"longer").map(drop));
    check(1, 0, 1, &mut |txn| {
        txn.get(b"k")?;
        txn.write_range(b"k", 0, b"a")?;
        txn.write_range(b"k", 300, b"b").map(drop)
    });
    // Two commands are two uses.
    check(1, 0, 2, &mut |txn| {
        txn.get(b"k")?;
        txn.begin_command(true);
        txn.set(b"k", b"v", None)
    });
    check(1, 0, 0, &mut |txn| {
        txn.begin_command(false);
        txn.get(b"k")?;
        txn.set(b"k", b"v", None)
    });
}

#[test]
fn changes_are_counted_by_key_and_expiries_are_none() {
    let (db, clock) = with_clock();
    let changes = || db.snapshot_status().changes_since;
    db.set("a", "v").unwrap();
    assert_eq!(changes(), 1);
    db.set_many(&[("b", "v"), ("c", "v")]).unwrap();
    assert_eq!(changes(), 3);
    db.set_with("d", "v", SetOptions::new().expires_in(seconds(1))).unwrap();
    clock.advance(2_000);
    assert_eq!((db.sweep(), changes()), (1, 4));
    assert!(db.transact(&["a"], |txn| txn.set(b"a", b"w").and(Err::<(), _>(kvcore::Error::aborted("no")))).is_err());
    assert!(!db.delete("nothing").unwrap());
    assert_eq!(changes(), 4, "what is undone, or does nothing, is no change");
    db.hooks()
        .transact(&["a"], |txn| {
            txn.set(b"a", b"w", None)?;
            txn.set_deadline(b"a", None)?;
            txn.count_changes(1);
            Ok(())
        })
        .unwrap();
    assert_eq!(changes(), 5);
    assert_eq!((db.clear().unwrap(), changes()), (3, 8));
}

#[test]
fn the_average_time_to_live_is_that_of_keys_with_a_deadline() {
    let (db, clock) = with_clock();
    assert_eq!(db.hooks().average_ttl_ms(), 0);
    db.set("plain", "v").unwrap();
    for (key, secs) in [("a", 10), ("b", 20), ("c", 60)] {
        db.set_with(key, "v", SetOptions::new().expires_in(seconds(secs))).unwrap();
    }
    assert_eq!(db.hooks().average_ttl_ms(), 30_000);
    db.expire("a", seconds(40)).unwrap();
    assert_eq!(db.hooks().average_ttl_ms(), 40_000);
    // Overwritten in place, and so undone.
    assert!(
        db.hooks()
            .transact(&["b"], |txn| {
                txn.set(b"b", b"w", Some(Deadline::at_ms(txn.now_ms() + 1_000)))?;
                Err::<(), _>(kvcore::Error::aborted("no"))
            })
            .is_err()
    );
    assert_eq!(db.hooks().average_ttl_ms(), 40_000);
    db.persist("b").unwrap();
    assert_eq!(db.hooks().average_ttl_ms(), 50_000);
    clock.advance(40_000);
    db.sweep();
    assert_eq!(db.hooks().average_ttl_ms(), 20_000);
    db.clear().unwrap();
    assert_eq!(db.hooks().average_ttl_ms(), 0);
}

#[test]
fn a_store_in_memory_sweeps_by_itself_where_it_is_to() {
    let db = Options::new().sweep_in_memory().in_memory().unwrap();
    db.set_with("k", "v", SetOptions::new().expires_in(Duration::from_millis(1))).unwrap();
    // Nobody reads or writes it: only the sweeper can take it out of the count.
    let swept = || db.stats().expired == 1 && db.stats().entries == 0;
    let give_up = std::time::Instant::now() + Duration::from_secs(60);
    while !swept() {
        assert!(std::time::Instant::now() < give_up, "nobody has swept");
        std::thread::yield_now();
    }
    db.close().unwrap();
}

/// A failed transaction used to put a key back into another bucket without saying so: an iterator between the two missed it.
#[test]
fn each_key_is_shown_though_transactions_fail_meanwhile() {
    for round in 0..20 {
        let db = Options::new().shards(1).in_memory().unwrap();
        let keys: Vec<_> = (0..400).map(|i| format!("{round}:{i}")).collect();
        keys.iter().for_each(|key| db.set(key, "v").unwrap());
        let mut entries = db.iter().unwrap();
        let mut shown: Vec<_> = entries.by_ref().take(64).map(|entry| entry.unwrap().0).collect();
        // Makes room in front of others, which then are taken out and put back.
        for key in keys.iter().step_by(7) {
            db.delete(key).unwrap();
        }
        for key in &keys {
            let failed = db.transact(&[key], |txn| txn.delete(key).and(Err::<(), _>(Error::aborted("no"))));
            assert!(failed.is_err());
        }
        shown.extend(entries.map(|entry| entry.unwrap().0));
        let shown: std::collections::HashSet<_> = shown.iter().map(|key| key.as_str().unwrap()).collect();
        for (i, key) in keys.iter().enumerate().filter(|(i, _)| i % 7 != 0) {
            assert!(shown.contains(key.as_str()), "round {round}: key {i} is missing");
        }
    }
}
