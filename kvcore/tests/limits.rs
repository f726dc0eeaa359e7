//! Limits on what a store holds: `max_entries`, `max_memory`, and what is removed to keep them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use kvcore::hooks::{Change, ChangeKind, Observer, Scan};
use kvcore::{Candidates, Db, Error, Limits, LockSet, Options, Policy, Room, SetOptions};

const EVICTING: [Policy; 5] = [Policy::Lru, Policy::Lrm, Policy::Lfu, Policy::S3Fifo, Policy::Random];

fn with_deadline() -> SetOptions {
    SetOptions::new().expires_in(Duration::from_secs(1000))
}

/// The keys that are there, of `keys`.
fn there<'k>(db: &Db, keys: &[&'k str]) -> Vec<&'k str> {
    keys.iter().copied().filter(|key| !db.scan_all().iter().all(|there| there != key.as_bytes())).collect()
}

trait ScanAll {
    fn scan_all(&self) -> Vec<Vec<u8>>;
}

impl ScanAll for Db {
    /// Looks without using anything.
    fn scan_all(&self) -> Vec<Vec<u8>> {
        let mut keys = Vec::new();
        self.for_each(&mut |key, _| keys.push(key.to_vec())).unwrap();
        keys
    }
}

#[test]
fn the_sixth_entry_replaces_the_least_recently_used_of_five() {
    for shards in [1, 256] {
        let db = Options::new().shards(shards).max_entries(5).eviction(Policy::Lru).in_memory().unwrap();
        let all = ["a", "b", "c", "d", "e", "f", "g", "h"];
        ["a", "b", "c", "d", "e"].iter().for_each(|key| db.set(key, "v").unwrap());
        // Reads of every kind are uses; so is a write over it, which needs no room.
        db.get("a").unwrap();
        db.get_with("b", |_| {}).unwrap();
        db.transact(&["c"], |txn| txn.get(b"c").map(drop)).unwrap();
        db.set("d", "another").unwrap();
        assert_eq!(there(&db, &all), ["a", "b", "c", "d", "e"]);
        db.set("f", "v").unwrap();
        assert_eq!(there(&db, &all), ["a", "b", "c", "d", "f"]);
        db.get("a").unwrap();
        db.set("g", "v").unwrap();
        assert_eq!(there(&db, &all), ["a", "c", "d", "f", "g"]);
        // What goes makes the room itself.
        db.delete("c").unwrap();
        db.set("h", "v").unwrap();
        assert_eq!(there(&db, &all), ["a", "d", "f", "g", "h"]);
        assert_eq!(db.stats().evicted, 2);
    }
}

/// Only a write keeps an entry, whether or not the transaction has looked it up before.
#[test]
fn the_sixth_entry_replaces_the_least_recently_modified_of_five() {
    for shards in [1, 256] {
        let db = Options::new().shards(shards).max_entries(5).eviction(Policy::Lrm).in_memory().unwrap();
        let all = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];
        ["a", "b", "c", "d", "e"].iter().for_each(|key| db.set(key, "v").unwrap());
        let read_all = || {
            for key in all {
                db.get(key).unwrap();
                db.get_with(key, |_| {}).unwrap();
                db.transact(&[key], |txn| txn.get(key.as_bytes()).map(drop)).unwrap();
            }
        };
        read_all();
        db.set("f", "v").unwrap();
        assert_eq!(there(&db, &all), ["b", "c", "d", "e", "f"]);
        // Another value of the same length, and of another; a deadline; a value that was read before.
        db.set("b", "w").unwrap();
        db.set("c", "another").unwrap();
        db.expire("d", Duration::from_secs(1000)).unwrap();
        read_all();
        db.set("g", "v").unwrap();
        assert_eq!(there(&db, &all), ["b", "c", "d", "f", "g"]);
        db.hooks()
            .transact(&["f"], |txn| {
                txn.get_to_write(b"f")?;
                txn.set(b"f", b"changed", None)
            })
            .unwrap();
        read_all();
        db.set("h", "v").unwrap();
        db.set("i", "v").unwrap();
        assert_eq!(there(&db, &all), ["d", "f", "g", "h", "i"]);
        assert_eq!(db.stats().evicted, 4);
    }
}

/// Beyond the number of entries up to which the order is exact.
#[test]
fn what_is_modified_stays_in_larger_stores_however_often_the_rest_is_read() {
    let db = Options::new().max_entries(6000).eviction(Policy::Lrm).in_memory().unwrap();
    (0..6000).for_each(|i| db.set(format!("k{i}"), "v").unwrap());
    // The last third is written again, the first is read.
    (4000..6000).for_each(|i| db.set(format!("k{i}"), "w").unwrap());
    (0..3).for_each(|_| (0..2000).for_each(|i| drop(db.get(format!("k{i}")).unwrap())));
    (0..1000).for_each(|i| db.set(format!("new{i}"), "v").unwrap());
    let there = |keys: std::ops::Range<u32>| {
        keys.filter(|i| db.hooks().peek(format!("k{i}").as_bytes(), &mut |_| {}).unwrap()).count()
    };
    assert_eq!(there(0..6000), 5000);
    // A sample is looked at, so that a few of the others may go.
    assert!(there(4000..6000) >= 1990, "{}", there(4000..6000));
    assert!(there(0..2000) < 1800, "reading keeps nothing: {}", there(0..2000));
}

/// Against a list in which a use moves an entry to the end.
#[test]
fn the_order_is_exact_up_to_a_thousand_entries() {
    for (capacity, shards) in [(1, 256), (7, 4), (100, 256), (1000, 256)] {
        let db = Options::new().shards(shards).max_entries(capacity as u64).eviction(Policy::Lru).in_memory().unwrap();
        let mut model: VecDeque<String> = VecDeque::new();
        for _ in 0..capacity * 8 {
            let key = format!("k{}", fastrand::u64(..capacity as u64 * 3));
            let known = model.iter().position(|other| *other == key);
            let found = db.get(&key).unwrap().is_some();
            assert_eq!(found, known.is_some(), "{key} of {capacity}");
            match known {
                Some(at) => drop(model.remove(at)),
                None => {
                    db.set(&key, "v").unwrap();
                    if model.len() == capacity {
                        model.pop_front();
                    }
                }
            }
            model.push_back(key);
        }
        assert_eq!(db.len().unwrap(), capacity as u64);
    }
}

#[test]
fn no_write_leaves_more_entries_than_allowed_whoever_else_writes() {
    for (capacity, shards, policy) in [
        (1, 4, Policy::Lru),
        (1, 256, Policy::S3Fifo),
        (2, 16, Policy::Lfu),
        (2, 16, Policy::Random),
        (5, 16, Policy::Lru),
        (100, 16, Policy::S3Fifo),
        (100, 256, Policy::Lfu),
        (2000, 16, Policy::Lru),
    ] {
        let db = Options::new().shards(shards).max_entries(capacity).eviction(policy).in_memory().unwrap();
        let writer = |thread: u64| {
            let db = db.clone();
            move || {
                for i in 0..capacity.max(600) {
                    let key = |n: u64| format!("t{}k{}", (thread + n) % 4, fastrand::u64(..2 * capacity + 2));
                    match i % 4 {
                        0 => db.set(key(0), "v").unwrap(),
                        1 => db.set_with(key(1), "v", with_deadline()).map(drop).unwrap(),
                        2 => db.delete(key(1)).map(drop).unwrap(),
                        // Of one key more than fit it is an error, and nothing else.
                        _ => match db.set_many(&[(key(0), "v"), (key(1), "w")]) {
                            Err(Error::EntryLimit { .. }) if capacity == 1 => {}
                            done => done.unwrap(),
                        },
                    }
                    if i % 2 == 0 || capacity < 100 {
                        let len = db.len().unwrap();
                        assert!(len <= capacity, "{len} of {capacity}");
                    }
                }
            }
        };
        std::thread::scope(|scope| (0..4).for_each(|thread| drop(scope.spawn(writer(thread)))));
        assert!(db.stats().evicted > 0);
        // No entry is lost to the counting: there is room for all that are allowed.
        (0..capacity).for_each(|i| db.set(format!("last{i}"), "v").unwrap());
        assert_eq!(db.len().unwrap(), capacity);
    }
}

/// While one transaction holds the only entry that may go, another makes its room of what it has written itself.
#[test]
fn no_write_goes_beyond_the_limit_or_waits_for_what_another_transaction_holds() {
    let dir = tempfile::tempdir().unwrap();
    let options = || Options::new().max_entries(1).eviction(Policy::Lru);
    let db = options().open(dir.path()).unwrap();
    db.set("held", "v").unwrap();
    let (begin, begun) = mpsc::channel();
    let (end, ended) = mpsc::channel();
    let other = db.clone();
    let writer = std::thread::spawn(move || {
        begun.recv().unwrap();
        let written = (other.set("alone", "v"), other.set_many(&[("one of two", "v")]));
        // Nobody waits for it any more if the keys share a shard, and are written afterwards.
        let _ = end.send(());
        written
    });
    let beside = db.transact(&["held"], |txn| {
        begin.send(()).unwrap();
        let _ = ended.recv_timeout(Duration::from_secs(2));
        // Without what this transaction holds.
        assert!(txn.get(b"held")?.is_some());
        Ok(db.hooks().counts().0)
    });
    assert_eq!(beside.unwrap(), 0, "entries beside the one that is held");
    let (alone, together) = writer.join().unwrap();
    alone.unwrap();
    together.unwrap();
    assert_eq!(db.len().unwrap(), 1);
    let left = db.scan_all();
    drop(db);
    assert_eq!(options().open(dir.path()).unwrap().scan_all(), left, "what was removed stays gone");
}

/// As in a transfer between accounts of which each is a candidate of the other's transaction.
#[test]
fn two_transactions_that_hold_each_other_s_candidates_both_go_on() {
    let db = Options::new().max_entries(2).eviction(Policy::Lru).in_memory().unwrap();
    for _ in 0..10 {
        db.set_many(&[("a", "1"), ("c", "1")]).unwrap();
        let meeting = [mpsc::channel(), mpsc::channel()];
        let [(to_first, first), (to_second, second)] = meeting;
        let transfer = |keys: [&'static str; 2], say: mpsc::Sender<()>, hear: mpsc::Receiver<()>| {
            let db = db.clone();
            move || {
                db.transact(&keys, |txn| {
                    // Both hold their shards now, unless these are the same; then one comes after the other.
                    let _ = say.send(());
                    let _ = hear.recv_timeout(Duration::from_millis(200));
                    txn.increment(keys[0].as_bytes(), 1)?;
                    txn.set(keys[1].as_bytes(), b"v")
                })
                .unwrap();
                db.len().unwrap()
            }
        };
        let lens = std::thread::scope(|scope| {
            let threads = [
                scope.spawn(transfer(["a", "b"], to_second, first)),
                scope.spawn(transfer(["c", "d"], to_first, second)),
            ];
            threads.map(|thread| thread.join().unwrap())
        });
        assert!(lens.iter().all(|len| *len <= 2), "{lens:?}");
    }
}

#[test]
fn a_lowered_limit_is_reached_in_steps() {
    let db = Db::in_memory();
    (0..6_000).for_each(|i| db.set(format!("k{i}"), "v").unwrap());
    let limits = Limits { max_entries: Some(10), policy: Policy::Lru, ..Limits::default() };
    db.set_limits(limits).unwrap();
    db.set("new", "v").unwrap();
    assert!((1_000..6_000).contains(&db.stats().entries), "one write removed {} entries", db.stats().evicted);
    (0..10).for_each(|i| db.set(format!("new{i}"), "v").unwrap());
    assert_eq!(db.len().unwrap(), 10);
}

#[test]
fn what_is_known_of_deadlines_leaves_with_the_entries() {
    let db = Options::new().max_entries(100).eviction(Policy::Lru).in_memory().unwrap();
    (0..1000).for_each(|i| drop(db.set_with(format!("k{i}"), "v", with_deadline()).unwrap()));
    assert!((900_000..=1_000_000).contains(&db.hooks().average_ttl_ms()), "{}", db.hooks().average_ttl_ms());
    (0..100).for_each(|i| db.set(format!("plain{i}"), "v").unwrap());
    assert_eq!((db.hooks().average_ttl_ms(), db.stats().entries_with_deadline), (0, 0));
}

#[test]
fn a_key_that_was_peeked_at_was_not_used() {
    let db = Options::new().max_entries(3).eviction(Policy::Lru).in_memory().unwrap();
    ["a", "b", "c"].iter().for_each(|key| db.set(key, "v").unwrap());
    assert!(db.hooks().peek(b"a", &mut |value| assert_eq!(value.len(), 1)).unwrap());
    assert!(db.get("b").unwrap().is_some());
    db.set("d", "v").unwrap();
    assert_eq!(there(&db, &["a", "b", "c", "d"]), ["b", "c", "d"]);
}

#[test]
fn memory_stays_within_its_limit_and_no_write_fails() {
    for policy in EVICTING {
        let max = 1_000_000;
        let db = Options::new().shards(64).max_memory(max).eviction(policy).in_memory().unwrap();
        for i in 0..10_000 {
            db.set(format!("key{i}"), [b'x'; 200]).unwrap();
            if i % 64 == 0 {
                let used = db.stats().memory_bytes;
                assert!(used <= max, "{policy:?}: {used}");
            }
        }
        let stats = db.stats();
        assert!(stats.entries > 2500, "{policy:?}: {} entries of 200 bytes", stats.entries);
        assert_eq!(stats.entries + stats.evicted, 10_000);
        assert!(db.exists("key9999").unwrap(), "{policy:?}: what was just written stays");
        // By every way to write.
        let deferred = db.deferred();
        (0..1000).for_each(|i| drop(deferred.set(format!("deferred{i}"), [b'x'; 200]).unwrap()));
        let keys: Vec<String> = (0..1000).map(|i| format!("together{i}")).collect();
        db.set_many(&keys.iter().map(|key| (key, [b'x'; 200])).collect::<Vec<_>>()).unwrap();
        assert!(keys.iter().all(|key| db.exists(key).unwrap()), "{policy:?}");
        assert!(db.stats().memory_bytes <= max, "{policy:?}");
    }
}

#[test]
fn one_large_value_displaces_many_small_ones_and_one_that_cannot_fit_displaces_none() {
    let max = 4_000_000;
    let db = Options::new().max_memory(max).eviction(Policy::Lru).in_memory().unwrap();
    (0..10_000).for_each(|i| db.set(format!("key{i}"), [b'x'; 200]).unwrap());
    let before = db.len().unwrap();
    let error = db.set("too large", vec![0; 5_000_000]).unwrap_err();
    assert!(matches!(error, Error::MemoryLimit { max: 4_000_000 }), "{error}");
    assert_eq!((db.len().unwrap(), db.exists("too large").unwrap()), (before, false));
    db.set("large", vec![1; 3_000_000]).unwrap();
    assert_eq!(db.get("large").unwrap().unwrap().len(), 3_000_000);
    assert!(db.len().unwrap() > 100 && db.stats().memory_bytes <= max, "{:?}", db.stats());
}

#[test]
fn without_a_policy_writes_that_need_room_fail_and_the_rest_goes_on() {
    let db = Options::new().max_entries(3).in_memory().unwrap();
    ["a", "b", "c"].iter().for_each(|key| db.set(key, "v").unwrap());
    let error = db.set("d", "v").unwrap_err();
    assert!(matches!(error, Error::EntryLimit { max: 3 }), "{error}");
    assert!(error.to_string().contains("max_entries") && error.to_string().contains("policy"), "{error}");
    assert_eq!((db.len().unwrap(), db.get("d").unwrap()), (3, None));
    db.set("a", "longer than before").unwrap();
    assert_eq!(db.get("a").unwrap().unwrap(), "longer than before");
    // What a transaction removes is room for what it adds.
    db.transact(&["a", "d"], |txn| {
        txn.set(b"d", b"v")?;
        txn.delete(b"a")
    })
    .unwrap();
    db.delete("b").unwrap();
    db.set("e", "v").unwrap();
    assert!(matches!(db.increment("f", 1), Err(Error::EntryLimit { .. })));

    let db = Options::new().max_memory(100_000).in_memory().unwrap();
    // The one that is refused may have needed a larger table for its shard, where others need none.
    let mut written = 0;
    let error = loop {
        match db.set(format!("key{written}"), [b'x'; 200]) {
            Ok(()) => written += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::MemoryLimit { max: 100_000 }), "{error}");
    assert!(error.to_string().contains("max_memory") && error.to_string().contains("policy"), "{error}");
    let stats = db.stats();
    // A table that has grown for what was then refused stays so.
    assert!(stats.memory_bytes <= 101_000 && stats.evicted == 0 && stats.entries == written, "{stats:?}");
    (0..10).for_each(|i| assert!(db.delete(format!("key{i}")).unwrap()));
    db.set("one more", [b'x'; 200]).unwrap();
}

#[test]
fn entries_without_a_deadline_stay_where_only_others_may_go() {
    for policy in [Policy::Lru, Policy::Lrm, Policy::Lfu, Policy::S3Fifo, Policy::Random, Policy::NearestDeadline] {
        for (entries, shards) in [(50, 256), (3000, 16)] {
            let options = Options::new().shards(shards).max_entries(entries).eviction(policy);
            let db = options.eviction_candidates(Candidates::WithDeadline).in_memory().unwrap();
            let third = entries / 3;
            (0..entries - third).for_each(|i| db.set(format!("plain{i}"), "v").unwrap());
            (0..third).for_each(|i| drop(db.set_with(format!("mortal{i}"), "v", with_deadline()).unwrap()));
            (0..third).for_each(|i| db.set(format!("more{i}"), "v").unwrap());
            let gone = (0..third).filter(|i| !db.exists(format!("mortal{i}")).unwrap()).count();
            assert_eq!(gone as u64, third, "{policy:?}");
            assert!(matches!(db.set("one more", "v"), Err(Error::EntryLimit { .. })), "{policy:?}");
            assert!((0..entries - third).all(|i| db.exists(format!("plain{i}")).unwrap()), "{policy:?}");
        }
    }
}

#[test]
fn the_nearest_deadline_goes_first() {
    let options = Options::new().max_entries(100).eviction(Policy::NearestDeadline);
    let db = options.in_memory().unwrap();
    for i in (0..100).rev() {
        let ttl = SetOptions::new().expires_in(Duration::from_secs(1000 + i));
        db.set_with(format!("k{i}"), "v", ttl).unwrap();
    }
    (0..30).for_each(|i| db.set(format!("new{i}"), "v").unwrap());
    assert!(
        (0..30).all(|i| !db.exists(format!("k{i}")).unwrap()) && (30..100).all(|i| db.exists(format!("k{i}")).unwrap())
    );
}

#[test]
fn what_is_used_often_stays_with_lfu_and_s3_fifo() {
    for policy in [Policy::Lfu, Policy::S3Fifo] {
        for capacity in [200, 5000_u64] {
            let db = Options::new().max_entries(capacity).eviction(policy).in_memory().unwrap();
            let often = capacity / 4;
            (0..often).for_each(|i| db.set(format!("often{i}"), "v").unwrap());
            for _ in 0..20 {
                (0..often).for_each(|i| assert!(db.get(format!("often{i}")).unwrap().is_some()));
            }
            // A scan of keys that are used once.
            (0..4 * capacity).for_each(|i| db.set(format!("once{i}"), "v").unwrap());
            let left = (0..often).filter(|i| db.exists(format!("often{i}")).unwrap()).count() as u64;
            assert!(left >= often * 9 / 10, "{policy:?}: {left} of {often}");
        }
    }
}

#[derive(Default)]
struct Recorder(Mutex<Vec<(ChangeKind, Vec<u8>)>>);

impl Observer for Recorder {
    fn changed(&self, change: &Change<'_>) {
        self.0.lock().unwrap().push((change.kind, change.key.unwrap_or_default().to_vec()));
    }
}

#[test]
fn evictions_are_observed_and_counted_and_last() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Arc::new(Recorder::default());
    let options = || Options::new().max_entries(100).eviction(Policy::Lru);
    let db = options().observer(recorder.clone()).open(dir.path()).unwrap();
    let deferred = db.deferred();
    let tickets: Vec<_> = (0..300).map(|i| deferred.set(format!("k{i}"), "v").unwrap()).collect();
    tickets.into_iter().for_each(|ticket| ticket.wait().unwrap());
    let evicted: Vec<Vec<u8>> = {
        let told = recorder.0.lock().unwrap();
        told.iter().filter(|(kind, _)| *kind == ChangeKind::Evict).map(|(_, key)| key.clone()).collect()
    };
    assert_eq!(evicted, (0..200).map(|i| format!("k{i}").into_bytes()).collect::<Vec<_>>());
    assert_eq!(db.stats().evicted, 200);
    let mut before = db.scan_all();
    db.close().unwrap();
    drop(db);
    // Without limits: nothing is removed now.
    let db = Options::new().open(dir.path()).unwrap();
    let mut after = db.scan_all();
    before.sort();
    after.sort();
    assert_eq!((after.len(), after), (100, before));
}

#[test]
fn a_store_opened_with_a_lower_limit_comes_within_it_as_it_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    db.set_many(&(0..500).map(|i| (format!("k{i}"), "v")).collect::<Vec<_>>()).unwrap();
    drop(db);
    let db = Options::new().max_entries(50).eviction(Policy::Lru).open(dir.path()).unwrap();
    assert_eq!(db.len().unwrap(), 500);
    db.set("one more", "v").unwrap();
    assert!(db.len().unwrap() <= 51 && db.exists("one more").unwrap());
}

#[test]
fn a_transaction_that_cannot_fit_changes_nothing() {
    for policy in [Policy::None, Policy::Lru] {
        let db = Options::new().max_entries(5).eviction(policy).in_memory().unwrap();
        db.set("a", "1").unwrap();
        let keys: Vec<String> = (0..6).map(|i| format!("k{i}")).collect();
        let pairs: Vec<_> = keys.iter().map(|key| (key, "v")).collect();
        assert!(matches!(db.set_many(&pairs), Err(Error::EntryLimit { max: 5 })));
        assert_eq!(db.len().unwrap(), 1);
        assert_eq!(db.get("a").unwrap().unwrap(), "1");
        db.set_many(&pairs[..4]).unwrap();
        assert_eq!(db.len().unwrap(), 5);
        // Nor is a key removed that the transaction itself relies on.
        if policy == Policy::Lru {
            let sum = db.transact(&["a", "new"], |txn| {
                let sum = txn.increment(b"a", 1)?;
                txn.set(b"new", b"v")?;
                Ok(sum)
            });
            assert_eq!((sum.unwrap(), db.len().unwrap(), db.exists("a").unwrap()), (2, 5, true));
        }
    }
}

#[test]
fn a_transaction_over_whole_keyspaces_leaves_the_store_within_its_limits() {
    let db = Options::new().max_entries(10).eviction(Policy::Lru).in_memory().unwrap();
    (0..10).for_each(|i| db.set(format!("k{i}"), "v").unwrap());
    let claims = LockSet::new().whole(&db);
    db.hooks()
        .transact_across(claims, |txn| {
            txn.set(b"one", b"v", None)?;
            txn.set(b"two", b"v", None)
        })
        .unwrap();
    assert_eq!(db.len().unwrap(), 10);
    assert!(db.exists("one").unwrap() && db.exists("two").unwrap());
    db.clear().unwrap();
    (0..10).for_each(|i| db.set(format!("k{i}"), "v").unwrap());
    assert_eq!((db.len().unwrap(), db.stats().evicted), (10, 2));
}

#[test]
fn limits_are_changed_while_the_store_is_used() {
    let db = Db::in_memory();
    (0..1000).for_each(|i| db.set(format!("k{i}"), [b'x'; 100]).unwrap());
    assert!(!db.limits().refuses_writes || db.limits().max_entries.is_none());
    let limits = Limits { max_entries: Some(100), policy: Policy::Lru, ..Limits::default() };
    db.set_limits(limits).unwrap();
    (0..50).for_each(|i| drop(db.get(format!("k{i}")).unwrap()));
    assert_eq!(db.make_room(10).unwrap(), Room::Unfinished);
    assert_eq!(db.len().unwrap(), 990);
    assert_eq!(db.make_room(u64::MAX).unwrap(), Room::Enough);
    assert!(db.len().unwrap() == 100 && (0..50).all(|i| db.exists(format!("k{i}")).unwrap()), "what was used stays");
    db.set_limits(Limits { policy: Policy::None, ..limits }).unwrap();
    assert!(matches!(db.set("new", "v"), Err(Error::EntryLimit { .. })));
    assert_eq!(db.make_room(u64::MAX).unwrap(), Room::Enough);
    db.set_limits(Limits::default()).unwrap();
    (0..1000).for_each(|i| db.set(format!("free{i}"), "v").unwrap());
    // Counted anew, after it was not for a while.
    db.set_limits(Limits { max_memory: Some(60_000), policy: Policy::Random, ..limits }).unwrap();
    db.make_room(u64::MAX).unwrap();
    let stats = db.stats();
    assert!((1..=100).contains(&stats.entries) && stats.memory_bytes <= 60_000, "{stats:?}");
    db.set_limits(Limits { max_memory: Some(1), policy: Policy::None, ..limits }).unwrap();
    assert_eq!(db.make_room(u64::MAX).unwrap(), Room::Exhausted);
    assert!(db.set_limits(Limits { max_entries: Some(0), ..limits }).is_err());
}

#[test]
fn only_the_named_keyspaces_are_evicted_from() {
    let db = Db::in_memory();
    let (cache, own) = (db.keyspace("cache").unwrap(), db.keyspace("own").unwrap());
    let keyspaces: Option<fn(&str) -> bool> = Some(|name| name != "own");
    let limits = Limits { max_entries: Some(100), policy: Policy::Lru, keyspaces, ..Limits::default() };
    db.set_limits(limits).unwrap();
    (0..50).for_each(|i| own.set(format!("k{i}"), "v").unwrap());
    (0..200).for_each(|i| cache.set(format!("k{i}"), "v").unwrap());
    assert_eq!((own.len().unwrap(), cache.len().unwrap()), (50, 50));
    let late = db.keyspace("late").unwrap();
    (0..30).for_each(|i| late.set(format!("k{i}"), "v").unwrap());
    assert_eq!((own.len().unwrap(), cache.len().unwrap(), late.len().unwrap()), (50, 20, 30));
    db.swap("cache", "late").unwrap();
    (0..30).for_each(|i| late.set(format!("new{i}"), "v").unwrap());
    assert_eq!(own.len().unwrap() + cache.len().unwrap() + late.len().unwrap(), 100);
    assert!(db.drop_keyspace("late").unwrap() && db.drop_keyspace("cache").unwrap());
    (0..50).for_each(|i| own.set(format!("more{i}"), "v").unwrap());
    assert!(matches!(own.set("one more", "v"), Err(Error::EntryLimit { .. })), "nothing of it may go");
}

#[test]
fn expired_entries_go_before_live_ones_in_a_store_without_threads() {
    let clock = Arc::new(kvcore::ManualClock::at(1_700_000_000_000));
    let db = Options::new().clock(clock.clone()).max_entries(10).eviction(Policy::Lru).in_memory().unwrap();
    (0..5).for_each(|i| db.set(format!("old{i}"), "v").unwrap());
    for i in 0..5 {
        db.set_with(format!("mortal{i}"), "v", SetOptions::new().expires_in(Duration::from_secs(1))).unwrap();
    }
    clock.advance(2000);
    db.set("new", "v").unwrap();
    (0..4).for_each(|i| db.set(format!("new{i}"), "v").unwrap());
    assert!((0..5).all(|i| db.exists(format!("old{i}")).unwrap()));
}

#[test]
fn a_key_of_the_same_name_in_another_keyspace_makes_room() {
    let db = Options::new().max_entries(1).eviction(Policy::Lru).in_memory().unwrap();
    let (first, second) = (db.keyspace("first").unwrap(), db.keyspace("second").unwrap());
    first.set("a", "1").unwrap();
    second.set("a", "2").unwrap();
    assert_eq!((first.get("a").unwrap(), second.get("a").unwrap().as_deref()), (None, Some(&b"2"[..])));
}

#[test]
fn a_transaction_keeps_its_new_keys_while_others_may_go() {
    let mortal = |txn: &mut dyn kvcore::hooks::Txn, i: u32| {
        let deadline = kvcore::Deadline::at_ms(txn.now_ms() + 1_000_000);
        txn.set(format!("new{i}").as_bytes(), b"v", Some(deadline))
    };
    let may_go: Option<fn(&str) -> bool> = Some(|_| true);
    for (policy, candidates, keyspaces) in [
        (Policy::Lfu, Candidates::All, None),
        (Policy::Lfu, Candidates::All, may_go),
        (Policy::Lfu, Candidates::WithDeadline, None),
        (Policy::NearestDeadline, Candidates::All, None),
        (Policy::Random, Candidates::All, None),
        (Policy::Lru, Candidates::All, None),
        (Policy::S3Fifo, Candidates::All, None),
    ] {
        for (entries, new) in [(100, 8), (100, 30), (1200, 1100)] {
            let db = Options::new().in_memory().unwrap();
            let limits = Limits { max_entries: Some(entries), policy, candidates, keyspaces, ..Limits::default() };
            db.set_limits(limits).unwrap();
            let later = SetOptions::new().expires_in(Duration::from_secs(2_000));
            (0..entries).for_each(|i| drop(db.set_with(format!("old{i}"), "v", later).unwrap()));
            (0..entries).for_each(|i| assert!(db.get(format!("old{i}")).unwrap().is_some()));
            let keys: Vec<String> = (0..new).map(|i| format!("new{i}")).collect();
            db.hooks().transact(&keys, |txn| (0..new).try_for_each(|i| mortal(txn, i))).unwrap();
            let kept = keys.iter().filter(|key| db.exists(key).unwrap()).count();
            assert_eq!((kept, db.len().unwrap()), (new as usize, entries), "{policy:?}, {candidates:?}");
        }
    }
}

#[test]
fn memory_is_made_free_though_the_new_keys_are_the_least_used() {
    let db = Options::new().max_memory(100_000).eviction(Policy::Lfu).in_memory().unwrap();
    (0..500).for_each(|i| db.set(format!("old{i}"), [b'x'; 300]).unwrap());
    db.scan_all().iter().for_each(|key| drop(db.get(key).unwrap()));
    let keys: Vec<String> = (0..16).map(|i| format!("new{i}")).collect();
    db.set_many(&keys.iter().map(|key| (key, [b'x'; 300])).collect::<Vec<_>>()).unwrap();
    assert!(db.stats().memory_bytes <= 100_000, "{:?}", db.stats());
    assert!(keys.iter().all(|key| db.exists(key).unwrap()));
}

#[test]
fn no_write_fails_while_limits_are_lifted() {
    let db = Options::new().max_entries(2).max_memory(100_000).eviction(Policy::Lru).in_memory().unwrap();
    db.set("held", "v").unwrap();
    db.set("b", "v").unwrap();
    let (begin, begun) = mpsc::channel();
    let (end, ended) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let holding = db.clone();
        scope.spawn(move || {
            holding
                .transact(&["held"], |_| {
                    begin.send(()).unwrap();
                    // Should a key below be in the same shard, it is written afterwards.
                    let _ = ended.recv_timeout(Duration::from_secs(2));
                    Ok(())
                })
                .unwrap();
        });
        begun.recv().unwrap();
        let lifting = scope.spawn(|| db.set_limits(Limits::default()).unwrap());
        while db.limits().max_entries.is_some() {
            std::thread::yield_now();
        }
        (0..4).for_each(|i| db.set(format!("new{i}"), [b'x'; 50_000]).unwrap());
        let _ = end.send(());
        lifting.join().unwrap();
    });
    assert_eq!(db.len().unwrap(), 6);
}

#[test]
fn an_empty_store_takes_no_memory_from_its_limit() {
    for policy in EVICTING {
        let db = Options::new().max_memory(12_000).eviction(policy).in_memory().unwrap();
        assert_eq!(db.stats().memory_bytes, 0, "{policy:?}");
        db.set("a", "v").unwrap();
        assert!(db.exists("a").unwrap(), "{policy:?}");
        // Nor do the tables of keys that are gone, however they went.
        for i in 0..1000 {
            let key = format!("k{i}");
            match i % 3 {
                0 => drop((db.set(&key, "v").unwrap(), db.delete(&key).unwrap())),
                1 => drop(db.transact(&[&key], |txn| txn.set(key.as_bytes(), b"v").and(Err::<(), _>(Error::Closed)))),
                _ => db
                    .transact(&[&key], |txn| {
                        txn.set(key.as_bytes(), b"v")?;
                        txn.delete(key.as_bytes()).map(drop)
                    })
                    .unwrap(),
            }
        }
        assert!(db.exists("a").unwrap() && db.delete("a").unwrap(), "{policy:?}");
        assert_eq!((db.stats().memory_bytes, db.stats().evicted), (0, 0), "{policy:?}");
    }
}

#[test]
fn expired_entries_leave_no_tables() {
    let clock = Arc::new(kvcore::ManualClock::at(1_700_000_000_000));
    let db = Options::new().clock(clock.clone()).max_memory(1_000_000).eviction(Policy::Lru).in_memory().unwrap();
    (0..500).for_each(|i| drop(db.set_with(format!("k{i}"), "v", with_deadline()).unwrap()));
    clock.advance(1_100_000);
    db.sweep();
    assert_eq!((db.len().unwrap(), db.stats().memory_bytes), (0, 0));
}

#[test]
fn what_a_transaction_has_only_named_stays_though_it_claims_another_keyspace_whole() {
    for _ in 0..20 {
        let db = Options::new().max_entries(4).eviction(Policy::Lru).in_memory().unwrap();
        let other = db.keyspace("other").unwrap();
        other.set("read", "v").unwrap();
        ["a", "b", "c"].iter().for_each(|key| db.set(key, "v").unwrap());
        let read: &[u8] = b"read";
        let claims = LockSet::new().whole(&db).keys(&other, [read]);
        db.hooks().transact_across(claims, |txn| txn.set(b"d", b"v", None)).unwrap();
        assert!(other.exists("read").unwrap() && db.exists("d").unwrap());
        assert_eq!((db.len().unwrap(), other.len().unwrap()), (3, 1));
    }
}

#[test]
fn an_expired_entry_that_makes_room_is_observed_once() {
    let clock = Arc::new(kvcore::ManualClock::at(1_700_000_000_000));
    let recorder = Arc::new(Recorder::default());
    let options = Options::new().clock(clock.clone()).observer(recorder.clone());
    let db = options.max_entries(2).eviction(Policy::Lru).in_memory().unwrap();
    db.set_with("mortal", "v", SetOptions::new().expires_in(Duration::from_secs(1))).unwrap();
    db.set("b", "v").unwrap();
    let claims = LockSet::new().whole(&db);
    db.hooks()
        .transact_across(claims, |txn| {
            clock.advance(2000);
            txn.set(b"new", b"v", None)
        })
        .unwrap();
    let seen = recorder.0.lock().unwrap();
    let of_mortal: Vec<_> = seen.iter().filter(|(_, key)| key == b"mortal").map(|(kind, _)| *kind).collect();
    assert_eq!(of_mortal, [ChangeKind::Set, ChangeKind::Evict]);
}

#[test]
fn room_is_made_beside_a_shard_that_is_held_for_long() {
    let db = Options::new().max_memory(1_000_000).eviction(Policy::Lru).in_memory().unwrap();
    (0..20).for_each(|i| db.set(format!("k{i}"), "v").unwrap());
    db.hooks().reserve_memory(1_000_001 - db.stats().memory_bytes);
    assert_eq!(db.make_room(u64::MAX).unwrap(), Room::Enough);
    assert!(!db.exists("k0").unwrap());
    let left = db.stats().memory_bytes;
    let (begin, begun) = mpsc::channel();
    let (end, ended) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let holding = db.clone();
        let holder = scope.spawn(move || {
            holding
                .transact(&["k1"], |_| {
                    begin.send(()).unwrap();
                    Ok(ended.recv_timeout(Duration::from_secs(2)).is_ok())
                })
                .unwrap()
        });
        begun.recv().unwrap();
        db.hooks().reserve_memory(1_000_001 - left);
        assert_eq!(db.make_room(u64::MAX).unwrap(), Room::Enough);
        let _ = end.send(());
        assert!(holder.join().unwrap(), "it waited");
    });
    assert!(db.exists("k1").unwrap());
}

/// Work at once is bounded, however much a transaction claims, adds or displaces: all others wait for it.
const STEP_MAX: u64 = 32_768;

/// Numbers of places that are looked at, shards and removals: the bound holds for every policy and every kind of transaction.
#[test]
fn room_is_made_in_bounded_steps_whatever_is_claimed() {
    for policy in [Policy::Lru, Policy::Lfu, Policy::S3Fifo, Policy::Random, Policy::NearestDeadline] {
        for candidates in [Candidates::All, Candidates::WithDeadline] {
            for (entries, shards, keyspaces) in [(900, 256, 12), (5_000, 64, 1)] {
                let db = Options::new().shards(shards).in_memory().unwrap();
                let other = db.keyspace("other").unwrap();
                (1..keyspaces).for_each(|i| drop(db.keyspace(&format!("empty{i}")).unwrap()));
                (0..entries).for_each(|i| drop(db.set_with(format!("k{i}"), [b'x'; 40], with_deadline()).unwrap()));
                (0..50).for_each(|i| drop(other.set_with(format!("o{i}"), "v", with_deadline()).unwrap()));
                let step = |what: &str| {
                    let stats = db.stats();
                    let done = stats.eviction_step_max;
                    assert!(
                        done <= STEP_MAX,
                        "{policy:?}, {candidates:?}, {entries} entries, {shards} shards, {what}: {done}"
                    );
                    stats
                };
                let max_entries = Some(entries + 50);
                let limits = Limits { max_entries, policy, candidates, ..Limits::default() };
                db.set_limits(limits).unwrap();
                step("limits are set");
                (0..100).for_each(|i| drop(db.set_with(format!("one{i}"), "v", with_deadline()).unwrap()));
                step("single keys");
                // Many new keys, named.
                let names: Vec<String> = (0..600).map(|i| format!("many{i}")).collect();
                let mortal = |txn: &mut dyn kvcore::hooks::Txn, key: &str| {
                    let deadline = kvcore::Deadline::at_ms(txn.now_ms() + 1_000_000);
                    txn.set(key.as_bytes(), b"v", Some(deadline))
                };
                db.hooks().transact(&names, |txn| names.iter().try_for_each(|key| mortal(txn, key))).unwrap();
                assert_eq!(step("many keys").entries, entries + 50);
                assert!(names.iter().all(|key| db.exists(key).unwrap()), "{policy:?}: what was named stays");
                // The whole keyspace, one and many new keys.
                let whole = LockSet::new().whole(&db);
                for new in [1, 10, 600] {
                    let more = |txn: &mut dyn kvcore::hooks::CrossTxn| {
                        (0..new).try_for_each(|i| mortal(txn, &format!("w{new}.{i}")))
                    };
                    db.hooks().transact_across(whole.clone(), more).unwrap();
                    assert_eq!(step("a whole keyspace").entries, entries + 50);
                }
                // All keyspaces; what is removed makes the room for half of what is new.
                let all = LockSet::new().whole(&db).whole(&other);
                db.hooks()
                    .transact_across(all, |txn| {
                        (0..100).try_for_each(|i| txn.delete(format!("w600.{i}").as_bytes()).map(drop))?;
                        (0..200).try_for_each(|i| mortal(txn, &format!("a{i}")))
                    })
                    .unwrap();
                assert!(step("all keyspaces").entries <= entries + 50);
                // Emptied and filled anew.
                db.hooks()
                    .transact_across(whole.clone(), |txn| {
                        txn.clear()?;
                        (0..entries / 2).try_for_each(|i| mortal(txn, &format!("f{i}")))
                    })
                    .unwrap();
                step("a flush");
                // Entries that may not go, among which few may.
                (0..entries / 2 - 100).for_each(|i| db.set(format!("plain{i}"), "v").unwrap());
                step("few candidates");
                // Lowered limits, and one value that displaces thousands.
                db.set_limits(Limits { max_entries: Some(entries / 2 + 40), ..limits }).unwrap();
                while db.make_room(500).unwrap() == Room::Unfinished {}
                step("a lower limit");
                let memory = db.stats().memory_bytes;
                db.set_limits(Limits { max_entries: None, max_memory: Some(memory), ..limits }).unwrap();
                let _ = db.set_with("large", vec![0; memory as usize / 8], with_deadline());
                step("a large value");
            }
        }
    }
}

/// Memory that a policy needs for its own is taken when the limits are set: a transaction that removes from many shards would
/// hold its locks while it is taken for each of them.
#[test]
fn what_a_policy_remembers_has_its_memory_before_entries_are_removed() {
    for (policy, entries) in EVICTING.into_iter().flat_map(|policy| [(policy, 20), (policy, 5_000)]) {
        let db = Options::new().shards(1).in_memory().unwrap();
        (0..entries).for_each(|i| db.set(format!("k{i:05}"), "v").unwrap());
        db.set_limits(Limits { max_entries: Some(entries), policy, ..Limits::default() }).unwrap();
        let memory = db.stats().memory_bytes;
        (entries..entries + 500).for_each(|i| db.set(format!("k{i:05}"), "v").unwrap());
        let stats = db.stats();
        assert_eq!((stats.entries, stats.evicted), (entries, 500), "{policy:?}");
        // Few entries need a larger table when they have all been replaced.
        assert!(entries < 100 || stats.memory_bytes == memory, "{policy:?}: {} after {memory}", stats.memory_bytes);
        // A transaction that is given up takes nothing of it away.
        let whole = LockSet::new().whole(&db);
        let refused = db.hooks().transact_across(whole.clone(), |txn| {
            txn.clear()?;
            Err::<(), _>(Error::Closed)
        });
        assert!(refused.is_err());
        assert_eq!((db.len().unwrap(), db.stats().memory_bytes), (entries, stats.memory_bytes), "{policy:?}");
    }
}

/// To see that no keyspace holds a candidate takes more than a transaction does under its locks.
#[test]
fn a_store_of_many_keyspaces_without_candidates_is_never_beyond_its_limit() {
    for entries in [20, 2_000] {
        let db = Options::new().in_memory().unwrap();
        (0..40).for_each(|i| drop(db.keyspace(&format!("empty{i}")).unwrap()));
        (0..entries).for_each(|i| db.set(format!("plain{i}"), "v").unwrap());
        let candidates = Candidates::WithDeadline;
        let limits = Limits { max_entries: Some(entries), policy: Policy::Lru, candidates, ..Limits::default() };
        db.set_limits(limits).unwrap();
        assert!(matches!(db.set("new", "v"), Err(Error::EntryLimit { .. })));
        assert_eq!(db.len().unwrap(), entries);
        db.set("plain0", "written over").unwrap();
        // Where there is one it is found.
        let last = db.keyspace("empty39").unwrap();
        assert!(db.delete("plain1").unwrap());
        last.set_with("mortal", "v", with_deadline()).unwrap();
        db.set("new", "v").unwrap();
        assert_eq!((db.len().unwrap(), last.len().unwrap()), (entries, 0));
    }
}
