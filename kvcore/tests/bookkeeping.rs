//! What a store keeps beside its values: deadlines and their wheel, how keys are used, which keyspace is which, and what
//! observers are told. Each test was written for a bug that the others did not find.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and looks at files itself"
)]

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kvcore::hooks::{Change, ChangeKind, Cursor, Observer, Scan, Swap};
use kvcore::{Db, Deadline, Error, LockSet, ManualClock, Options, SetOptions, Ttl};

const START_MS: u64 = 1_700_000_000_000;

fn with_clock(shards: usize) -> (Db, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(START_MS));
    (Options::new().clock(clock.clone()).shards(shards).in_memory().unwrap(), clock)
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn in_seconds(n: u64) -> SetOptions {
    SetOptions::new().expires_in(seconds(n))
}

/// Undoing an overwritten value must also undo its deadline, whether that was later or sooner.
#[test]
fn a_transaction_that_is_given_up_gives_the_deadline_back_with_the_value() {
    let (db, clock) = with_clock(1);
    db.set_with("k", "old", in_seconds(5)).unwrap();
    for new in [1, 100] {
        let given_up = db.hooks().transact(&["k"], |txn| {
            txn.set(b"k", b"new", Some(Deadline::at_ms(START_MS + new * 1000)))?;
            Err::<(), _>(Error::aborted("not now"))
        });
        assert!(given_up.is_err());
        assert_eq!(db.get("k").unwrap().unwrap(), "old");
        assert_eq!(db.ttl("k").unwrap(), Some(Ttl::In(seconds(5))));
    }
    clock.advance(4_900);
    assert_eq!(db.sweep(), 0);
    clock.advance(200);
    assert_eq!(db.sweep(), 1);
}

/// The sweeper sleeps until the soonest deadline it knows. A transaction must wake it for a sooner one in any of its
/// shards, not only in the last.
#[test]
fn the_soonest_deadline_of_a_transaction_wakes_the_sweeper_whichever_shard_it_lies_in() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let keys: Vec<String> = (0..64).map(|i| format!("key{i}")).collect();
    for soonest in &keys[..4] {
        db.hooks()
            .transact(&keys, |txn| {
                for key in &keys {
                    let ms = if key == soonest { 30 } else { 1_000_000 };
                    txn.set(key.as_bytes(), b"v", Some(Deadline::at_ms(txn.now_ms() + ms)))?;
                }
                Ok(())
            })
            .unwrap();
        let begun = Instant::now();
        // Nothing here touches the key: only the sweeper can remove it.
        while db.len().unwrap() == 64 {
            assert!(begun.elapsed() < seconds(30), "{soonest} is kept after its deadline");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// The wheel is rebuilt when most of its records are stale: compared with the keys that have a deadline, not with all.
#[test]
fn deadlines_brought_forward_do_not_fill_the_wheel_of_a_shard_with_many_other_keys() {
    let (db, _) = with_clock(1);
    for i in 0..20_000 {
        db.set(format!("plain{i}"), "v").unwrap();
    }
    db.set_with("k", "v", in_seconds(100_000)).unwrap();
    let before = db.stats().memory_bytes;
    for i in 0..20_000 {
        db.expire("k", seconds(90_000) - Duration::from_millis(i)).unwrap();
    }
    let grown = db.stats().memory_bytes.saturating_sub(before);
    assert!(grown < 10_000, "{grown} bytes for one deadline");
}

/// Writing into a large value in place is a use of its key.
#[test]
fn a_range_written_into_a_large_value_counts_as_a_use() {
    let (db, clock) = with_clock(1);
    let idle_secs = || {
        let mut idle_secs = None;
        let look = &mut |txn: &mut dyn kvcore::hooks::Txn| {
            idle_secs = txn.usage(b"large")?.map(|usage| usage.idle_secs);
            Ok(())
        };
        db.hooks().commit(&[b"large"], look).unwrap();
        idle_secs
    };
    db.hooks().note_time();
    db.set("large", vec![1; 20_000]).unwrap();
    clock.advance(60_000);
    db.hooks().note_time();
    assert_eq!(idle_secs(), Some(60));
    db.transact(&["large"], |txn| txn.write_range(b"large", 5, b"x")).unwrap();
    assert_eq!(idle_secs(), Some(0));
}

/// Keys move to other buckets when a table shrinks, as when it grows: a walk that has begun must notice.
#[test]
fn a_walk_shows_what_stays_while_the_table_shrinks() {
    // Where uses are noted the table is built anew in another way.
    for notes_uses in [false, true] {
        let (db, _) = with_clock(1);
        if notes_uses {
            db.hooks().note_time();
        }
        for i in 0..8_000 {
            db.set(format!("k{i}"), "v").unwrap();
        }
        let (mut cursor, mut seen) = (Cursor::START, BTreeSet::new());
        let step = |cursor: Cursor, seen: &mut BTreeSet<Vec<u8>>| {
            db.scan_step(cursor, 50, &mut |key, _| {
                seen.insert(key.to_vec());
            })
            .unwrap()
        };
        while seen.len() < 4_000 {
            cursor = step(cursor, &mut seen);
        }
        assert!(!cursor.is_end());
        for i in (0..8_000).filter(|i| i % 100 != 0) {
            db.delete(format!("k{i}")).unwrap();
        }
        while !cursor.is_end() {
            cursor = step(cursor, &mut seen);
        }
        let missed: Vec<u32> = (0..8_000).step_by(100).filter(|i| !seen.contains(format!("k{i}").as_bytes())).collect();
        assert!(missed.is_empty(), "{notes_uses}: {} of 80 are missed", missed.len());
    }
}

/// A walk inside a transaction over several keyspaces shows the selected one, whichever came first.
#[test]
fn a_walk_in_a_transaction_shows_the_selected_keyspace() {
    let db = Db::in_memory();
    let other = db.keyspace("other").unwrap();
    for i in 0..300 {
        db.set(format!("mine{i}"), "v").unwrap();
        other.set(format!("theirs{i}"), "v").unwrap();
    }
    let claims = LockSet::new().whole(&db).whole(&other);
    db.hooks()
        .transact_across(claims, |txn| {
            for (id, prefix) in [(other.hooks().id(), "theirs"), (db.hooks().id(), "mine")] {
                txn.select(id)?;
                let (mut cursor, mut keys) = (Cursor::START, BTreeSet::new());
                loop {
                    cursor = txn.as_scan().scan_step(cursor, 10, &mut |key, _| {
                        keys.insert(key.to_vec());
                    })?;
                    if cursor.is_end() {
                        break;
                    }
                }
                assert_eq!(keys.len(), 300);
                assert!(keys.iter().all(|key| key.starts_with(prefix.as_bytes())), "{prefix}");
            }
            Ok(())
        })
        .unwrap();
}

/// The log would name a keyspace that is gone, and the store could not be opened again.
#[test]
fn a_transaction_over_several_keyspaces_refuses_to_write_to_one_that_was_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let [kept, dropped] = ["kept", "dropped"].map(|name| db.keyspace(name).unwrap());
    db.drop_keyspace("dropped").unwrap();
    // Whichever of them is spoken of last.
    for last in [kept.hooks().id(), dropped.hooks().id()] {
        let claims = LockSet::new().keys(&kept, &[b"k"]).keys(&dropped, &[b"k"]);
        let refused = db.hooks().transact_across(claims, |txn| {
            for id in [kept.hooks().id() + dropped.hooks().id() - last, last] {
                txn.select(id)?;
                txn.set(b"k", b"v", None)?;
            }
            Ok(())
        });
        assert!(matches!(refused, Err(Error::KeyspaceDropped { .. })), "{refused:?}");
        assert_eq!(kept.get("k").unwrap(), None, "the part that could be written is taken back");
    }
    drop((kept, dropped, db));
    let db = Db::open(dir.path()).unwrap();
    assert_eq!(db.keyspace("kept").unwrap().len().unwrap(), 0);
}

/// What observers are notified of, in order: keys of changes, and whether a swap held each of some keys.
#[derive(Default)]
struct Told(Mutex<Vec<(String, ChangeKind)>>, Mutex<Vec<(&'static str, bool)>>);

impl Observer for Told {
    fn changed(&self, change: &Change<'_>) {
        let key = String::from_utf8(change.key.unwrap_or_default().to_vec()).unwrap();
        self.0.lock().unwrap().push((key, change.kind));
    }

    fn swapped(&self, swap: &Swap<'_>) {
        let held = ["live", "expired", "absent"].map(|key| (key, (swap.holds)(key.as_bytes())));
        self.1.lock().unwrap().extend(held);
    }
}

#[test]
fn a_key_that_had_expired_is_not_held_by_a_swap() {
    let (db, clock) = with_clock(4);
    let told = Arc::new(Told::default());
    db.hooks().observe(told.clone()).unwrap();
    db.keyspace("other").unwrap();
    db.set("live", "v").unwrap();
    db.set_with("expired", "v", in_seconds(1)).unwrap();
    // It stays in the table until somebody asks for it.
    db.hooks().pause_sweeping(true);
    clock.advance(2_000);
    db.swap("0", "other").unwrap();
    assert_eq!(*told.1.lock().unwrap(), [("live", true), ("expired", false), ("absent", false)]);
}

/// The value that was replaced had expired before: told afterwards, that would say that the new one is gone.
#[test]
fn that_a_value_had_expired_is_told_before_what_replaced_it() {
    let (db, clock) = with_clock(4);
    let told = Arc::new(Told::default());
    db.hooks().observe(told.clone()).unwrap();
    // In place, and by another entry.
    for new in ["same", "longer than before"] {
        db.set_with("k", "same", in_seconds(1)).unwrap();
        db.hooks().pause_sweeping(true);
        clock.advance(2_000);
        told.0.lock().unwrap().clear();
        db.hooks().transact(&["k"], |txn| txn.set(b"k", new.as_bytes(), Some(Deadline::at_ms(u64::MAX)))).unwrap();
        let kinds = [ChangeKind::Expire, ChangeKind::Set].map(|kind| ("k".to_owned(), kind));
        assert_eq!(*told.0.lock().unwrap(), kinds, "{new}");
    }
}
