//! What a store keeps when it is closed, dropped, copied away in the middle of its work, or damaged.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and looks at files itself"
)]

mod support;

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use kvcore::hooks::{TxnExt, lsn_of};
use kvcore::{Db, Durability, Error, LockSet, ManualClock, Options, SetOptions, Ttl};

const START_MS: u64 = 1_700_000_000_000;

use support::{after_a_kill, copy, files};

#[test]
fn a_write_that_returned_is_there_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    for i in 0..50 {
        db.set(format!("k{i}"), format!("v{i}")).unwrap();
        if i % 10 == 0 {
            let (_dir, again) = after_a_kill(dir.path());
            assert_eq!(again.len().unwrap(), i + 1);
            assert_eq!(again.get(format!("k{i}")).unwrap().unwrap(), format!("v{i}").as_str());
        }
    }
}

#[test]
fn closing_and_dropping_keep_everything_at_every_level() {
    for durability in [Durability::Always, Durability::EverySecond, Durability::Os] {
        for close in [true, false] {
            let dir = tempfile::tempdir().unwrap();
            let db = Options::new().durability(durability).open(dir.path()).unwrap();
            for i in 0..1_000 {
                db.set(format!("k{i}"), [i as u8; 100]).unwrap();
            }
            if close {
                db.close().unwrap();
            }
            drop(db);
            let db = Options::new().durability(durability).open(dir.path()).unwrap();
            assert_eq!(db.len().unwrap(), 1_000);
            assert_eq!(db.get("k7").unwrap().unwrap(), [7_u8; 100]);
            assert_eq!(db.stats().recovery.cut_bytes, 0);
        }
    }
}

#[test]
fn every_kind_of_change_is_replayed() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at(START_MS));
    let open = || Options::new().clock(clock.clone()).open(dir.path()).unwrap();
    let db = open();
    let mut big = vec![b'x'; 10_000];
    db.set("big", &big).unwrap();
    db.append("big", "tail").unwrap();
    db.transact(&["big"], |txn| txn.write_range(b"big", 20_000, b"far")).unwrap();
    db.transact(&["big"], |txn| txn.write_range(b"big", 3, b"abc")).unwrap();
    big.extend_from_slice(b"tail");
    big.resize(20_000, 0);
    big.extend_from_slice(b"far");
    big[3..6].copy_from_slice(b"abc");
    db.set("small", "1").unwrap();
    db.append("small", "23").unwrap();
    db.set("gone", "x").unwrap();
    db.delete("gone").unwrap();
    db.set("evicted", "x").unwrap();
    db.hooks().transact(&["evicted"], |txn| txn.evict(b"evicted")).unwrap();
    db.set_with("ttl", "x", SetOptions::new().expires_in(Duration::from_secs(100))).unwrap();
    db.set("later", "x").unwrap();
    db.expire("later", Duration::from_secs(50)).unwrap();
    db.set_with("kept", "x", SetOptions::new().expires_in(Duration::from_secs(1))).unwrap();
    db.persist("kept").unwrap();
    let other = db.keyspace("other").unwrap();
    other.set("before", "flush").unwrap();
    other.clear().unwrap();
    other.set("after", "flush").unwrap();
    db.keyspace("dropped").unwrap().set("x", "y").unwrap();
    db.drop_keyspace("dropped").unwrap();
    drop((db, other));
    for snapshot_first in [false, false, true, false] {
        clock.advance(1_000);
        let db = open();
        if snapshot_first {
            db.snapshot().unwrap();
        }
        assert_eq!(db.get("big").unwrap().unwrap(), big[..]);
        assert_eq!(db.get("small").unwrap().unwrap(), "123");
        assert_eq!(db.get("gone").unwrap(), None);
        assert_eq!(db.get("evicted").unwrap(), None);
        assert!(matches!(db.ttl("ttl").unwrap(), Some(Ttl::In(_))));
        assert!(matches!(db.ttl("later").unwrap(), Some(Ttl::In(_))));
        assert_eq!(db.ttl("kept").unwrap(), Some(Ttl::Never));
        let other = db.keyspace("other").unwrap();
        assert_eq!(other.get("before").unwrap(), None);
        assert_eq!(other.get("after").unwrap().unwrap(), "flush");
        assert_eq!(db.keyspaces().len(), 2);
    }
    clock.advance(60_000);
    assert_eq!(open().get("later").unwrap(), None, "deadlines are absolute: they pass while the store is closed");
}

#[test]
fn what_was_seen_expired_stays_so_when_the_clock_is_set_back() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at(START_MS));
    let db = Options::new().clock(clock.clone()).open(dir.path()).unwrap();
    db.set_with("k", "v", SetOptions::new().expires_in(Duration::from_secs(10))).unwrap();
    db.set_with("lives", "v", SetOptions::new().expires_in(Duration::from_secs(100))).unwrap();
    clock.advance(11_000);
    assert_eq!(db.get_durable("k").unwrap(), None);
    let copied = copy(dir.path());
    let early = Arc::new(ManualClock::at(START_MS - 3_600_000));
    let again = Options::new().clock(early.clone()).open(copied.path()).unwrap();
    assert_eq!(again.get("k").unwrap(), None);
    assert_eq!(again.ttl("lives").unwrap(), Some(Ttl::In(Duration::from_secs(89))), "time goes on where it was");
    early.advance(89_000);
    assert_eq!(again.get("lives").unwrap(), None);
}

#[test]
fn what_a_failed_transaction_saw_expired_stays_so_when_the_clock_is_set_back() {
    for way in 0..4 {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(START_MS));
        let db = Options::new().clock(clock.clone()).open(dir.path()).unwrap();
        db.set_with("lease", "v", SetOptions::new().expires_in(Duration::from_secs(10))).unwrap();
        clock.advance(11_000);
        let gone = || Err::<(), _>(Error::aborted("the lease is gone"));
        let outcome = match way {
            0 => db.transact(&["lease"], |txn| txn.get("lease")?.map_or_else(gone, |_| Ok(()))),
            1 => db.transact(&["lease", "other"], |txn| txn.get("lease")?.map_or_else(gone, |_| Ok(()))),
            2 => db.view(&["lease"], |view| view.get("lease")?.map_or_else(gone, |_| Ok(()))),
            _ => db.view(&["lease", "other"], |view| view.get("lease")?.map_or_else(gone, |_| Ok(()))),
        };
        assert!(matches!(outcome, Err(Error::Aborted(_))), "{outcome:?}");
        db.sync().unwrap();
        let copied = copy(dir.path());
        let early = Arc::new(ManualClock::at(START_MS - 3_600_000));
        let again = Options::new().clock(early).open(copied.path()).unwrap();
        assert_eq!(again.get("lease").unwrap(), None, "way {way}");
    }
}

/// Every frame carries the time of its writing: nobody has seen anything expire, so nothing else does.
#[test]
fn time_goes_on_from_the_last_write_when_the_clock_is_set_back() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at(START_MS));
    let db = Options::new().clock(clock.clone()).open(dir.path()).unwrap();
    db.set_with("lives", "v", SetOptions::new().expires_in(Duration::from_secs(100))).unwrap();
    clock.advance(60_000);
    db.set("then", "v").unwrap();
    let copied = copy(dir.path());
    let early = Arc::new(ManualClock::at(START_MS - 3_600_000));
    let again = Options::new().clock(early).open(copied.path()).unwrap();
    assert_eq!(again.now_ms(), START_MS + 60_000);
    assert_eq!(again.ttl("lives").unwrap(), Some(Ttl::In(Duration::from_secs(40))));
}

#[test]
fn a_transaction_is_there_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let other = db.keyspace("other").unwrap();
    for i in 0..20 {
        let claims = LockSet::new().keys(&db, &[b"a", b"b"]).keys(&other, &[b"c"]);
        db.hooks()
            .transact_across(claims, |txn| {
                txn.set(b"a", format!("{i}").as_bytes(), None)?;
                txn.increment(b"b", 1)?;
                txn.select(other.hooks().id())?;
                txn.set(b"c", &vec![i as u8; 10_000], None)
            })
            .unwrap();
    }
    let dir = copy(dir.path());
    db.close().unwrap();
    let log = files(dir.path(), "wal-").pop().unwrap();
    let whole = fs::read(dir.path().join(log.file_name().unwrap())).unwrap();
    let end = whole.iter().rposition(|byte| *byte != 0).unwrap();
    for cut in (0..end).step_by(997) {
        let copied = copy(dir.path());
        // As a crash leaves it: the room that was reserved is there, and nothing was ever written to it.
        let torn = [&whole[..cut], &vec![0; whole.len() - cut]].concat();
        fs::write(copied.path().join(log.file_name().unwrap()), torn).unwrap();
        // Within its header it cannot be torn: that was durable before the segment had a name.
        let Ok(db) = Db::open(copied.path()) else {
            assert!(cut < 48, "cut at {cut}");
            continue;
        };
        let Some(a) = db.get("a").unwrap() else { continue };
        let i: i64 = std::str::from_utf8(&a).unwrap().parse().unwrap();
        assert_eq!(db.increment("b", 0).unwrap(), i + 1);
        assert_eq!(db.keyspace("other").unwrap().get("c").unwrap().unwrap(), vec![i as u8; 10_000][..]);
    }
}

#[test]
fn a_torn_end_is_cut_and_writing_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    db.set("k1", "v1").unwrap();
    db.set("k2", "v2").unwrap();
    let copied = copy(dir.path());
    drop(db);
    let log = files(copied.path(), "wal-").pop().unwrap();
    let mut bytes = fs::read(&log).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[end] ^= 1;
    fs::write(&log, &bytes).unwrap();
    for _ in 0..3 {
        let db = Db::open(copied.path()).unwrap();
        assert_eq!(db.get("k1").unwrap().unwrap(), "v1");
        assert_eq!(db.get("k2").unwrap(), None, "the last frame has no witness: it counts as never finished");
        db.set("k3", "v3").unwrap();
    }
    assert_eq!(Db::open(copied.path()).unwrap().stats().recovery.cut_bytes, 0);
}

#[test]
fn proven_damage_is_refused_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let db = Options::new().segment_bytes(8_192).open(dir.path()).unwrap();
    for i in 0..200 {
        db.set(format!("k{i}"), [1; 100]).unwrap();
    }
    db.close().unwrap();
    let logs = files(dir.path(), "wal-");
    assert!(logs.len() > 2, "several segments");
    for log in &logs {
        let whole = fs::read(log).unwrap();
        for at in [40, 200, whole.len() / 2] {
            let copied = copy(dir.path());
            let mut bytes = whole.clone();
            bytes[at] ^= 4;
            fs::write(copied.path().join(log.file_name().unwrap()), &bytes).unwrap();
            match Db::open(copied.path()) {
                Err(Error::Corrupt { file, .. }) => assert_eq!(file.file_name(), log.file_name()),
                other => panic!("byte {at} of {}: {other:?}", log.display()),
            }
        }
        if log != logs.last().unwrap() {
            let copied = copy(dir.path());
            fs::remove_file(copied.path().join(log.file_name().unwrap())).unwrap();
            assert!(matches!(Db::open(copied.path()), Err(Error::Corrupt { .. })), "{} is missing", log.display());
        }
    }
}

#[test]
fn a_second_opener_is_told_who_has_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    match Db::open(dir.path()) {
        Err(error @ Error::Locked { .. }) => {
            let text = error.to_string();
            assert!(text.contains(dir.path().to_str().unwrap()), "{text}");
            assert!(text.contains(&format!("process {}", std::process::id())), "{text}");
        }
        other => panic!("{other:?}"),
    }
    let keyspace = db.keyspace("k").unwrap();
    drop(db);
    assert!(Db::open(dir.path()).is_err(), "a keyspace handle keeps the store open");
    drop(keyspace);
    Db::open(dir.path()).unwrap().close().unwrap();
    Db::open(dir.path()).unwrap();
}

#[test]
fn tickets_share_syncs_and_can_be_awaited() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let deferred = db.deferred();
    let tickets: Vec<_> = (0..1_000).map(|i| deferred.increment(format!("n{}", i % 10), 1).unwrap()).collect();
    let last = lsn_of(tickets.last().unwrap());
    for (i, ticket) in tickets.into_iter().enumerate() {
        assert_eq!(ticket.wait().unwrap(), i as i64 / 10 + 1);
    }
    assert!(db.hooks().durable_lsn() >= last);
    let ticket = deferred.set("k", "v").unwrap();
    let lsn = lsn_of(&ticket);
    block_on(ticket).unwrap();
    assert!(db.hooks().durable_lsn() >= lsn);
}

/// The smallest executor: parks the thread until the future is woken.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut std::task::Context::from_waker(&waker)) {
            std::task::Poll::Ready(output) => return output,
            std::task::Poll::Pending => std::thread::park(),
        }
    }
}

#[test]
fn many_writers_are_all_kept() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    std::thread::scope(|scope| {
        for t in 0..16 {
            let db = db.clone();
            scope.spawn(move || {
                for i in 0..50 {
                    db.set(format!("{t}:{i}"), "v").unwrap();
                    assert!(db.hooks().durable_lsn() > kvcore::hooks::Lsn::ZERO);
                }
            });
        }
    });
    let (_dir, again) = after_a_kill(dir.path());
    assert_eq!(again.len().unwrap(), 800);
}

#[test]
fn a_promise_can_be_made_stronger_for_one_write() {
    let dir = tempfile::tempdir().unwrap();
    let db = Options::new().durability(Durability::Os).open(dir.path()).unwrap();
    db.with_durability(Durability::Always).set("k", "v").unwrap();
    assert_eq!(db.hooks().durable_lsn(), db.hooks().last_lsn());
}

#[test]
fn expired_keys_leave_by_themselves() {
    let dir = tempfile::tempdir().unwrap();
    let db = Options::new().durability(Durability::Os).open(dir.path()).unwrap();
    for i in 0..1_000 {
        db.set_with(format!("k{i}"), "v", SetOptions::new().expires_in(Duration::from_millis(50))).unwrap();
    }
    // No access: only the sweeper can make this end.
    while db.len().unwrap() > 0 {
        std::thread::yield_now();
    }
    assert_eq!(db.stats().expired, 1_000);
}

#[test]
fn expired_keys_leave_by_themselves_after_a_reopen_too() {
    for snapshot in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let options = Options::new().durability(Durability::Os);
        let db = options.clone().open(dir.path()).unwrap();
        for i in 0..1_000 {
            db.set_with(format!("k{i}"), "v", SetOptions::new().expires_in(Duration::from_millis(i))).unwrap();
        }
        if snapshot {
            db.snapshot().unwrap();
        }
        drop(db);
        let db = options.open(dir.path()).unwrap();
        while db.len().unwrap() > 0 {
            std::thread::yield_now();
        }
    }
}

#[test]
fn files_of_others_in_the_directory_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("notes.tmp"), "mine").unwrap();
    fs::create_dir(dir.path().join("x.tmp")).unwrap();
    fs::write(dir.path().join("snapshot.tmp"), "left by a crash").unwrap();
    Db::open(dir.path()).unwrap().set("k", "v").unwrap();
    assert_eq!(fs::read_to_string(dir.path().join("notes.tmp")).unwrap(), "mine");
    assert!(!dir.path().join("snapshot.tmp").exists());
}
