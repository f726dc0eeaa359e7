//! Watches: what a program is shown of the changes of keys, in which order, and when.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, Wake};
use std::thread;
use std::time::Duration;

use futures_core::Stream;
use kvcore::hooks::lsn_of;
use kvcore::{
    ChangeKind, Db, Deadline, Durability, Error, Limits, ManualClock, Options, Policy, SetOptions, Watch, WatchEvent,
    WatchOptions,
};

/// A test that would wait for ever fails after this.
const PATIENCE: Duration = Duration::from_secs(60);

/// Returns the key and the kind of the next change.
fn next(watch: &mut Watch) -> (Option<String>, ChangeKind) {
    match watch.next_within(PATIENCE).expect("no error").expect("a change comes") {
        WatchEvent::Change { key, kind, .. } => (key.map(|key| key.as_str().expect("text").to_owned()), kind),
        event => panic!("{event:?}"),
    }
}

fn of(key: &str, kind: ChangeKind) -> (Option<String>, ChangeKind) {
    (Some(key.to_owned()), kind)
}

fn is_quiet(watch: &mut Watch) -> bool {
    watch.next_within(Duration::ZERO).expect("no error").is_none()
}

#[test]
fn every_kind_of_change_of_a_key_with_the_prefix_is_shown() {
    let clock = Arc::new(ManualClock::at(1_000_000));
    let db = Options::new().clock(clock.clone()).in_memory().unwrap();
    let other = db.keyspace("other").unwrap();
    db.set("user:before", "v").unwrap();
    let mut watch = db.watch("user:").unwrap();
    db.set("user:1", "v").unwrap();
    db.set("visits", "1").unwrap();
    other.set("user:elsewhere", "v").unwrap();
    db.expire_at("user:1", Deadline::at_ms(1_010_000)).unwrap();
    db.rename("user:before", "user:after").unwrap();
    db.delete("user:after").unwrap();
    clock.advance(60_000);
    assert_eq!(db.sweep(), 1);
    assert_eq!(next(&mut watch), of("user:1", ChangeKind::Set));
    assert_eq!(next(&mut watch), of("user:1", ChangeKind::Deadline));
    assert_eq!(next(&mut watch), of("user:after", ChangeKind::Set));
    assert_eq!(next(&mut watch), of("user:before", ChangeKind::Delete));
    assert_eq!(next(&mut watch), of("user:after", ChangeKind::Delete));
    assert_eq!(next(&mut watch), of("user:1", ChangeKind::Expire));
    db.clear().unwrap();
    assert_eq!(next(&mut watch), (None, ChangeKind::Clear));
    db.swap("0", "other").unwrap();
    assert_eq!(next(&mut watch), (None, ChangeKind::Swap));
    assert!(db.transact(&["user:1"], |txn| txn.set("user:1", "v").and(Err::<(), _>(Error::aborted("no")))).is_err());
    assert!(is_quiet(&mut watch), "what is undone is no change");
}

#[test]
fn the_value_is_that_after_the_transaction() {
    let db = Db::in_memory();
    let mut watch = db.watch_with("", WatchOptions::new().with_values()).unwrap();
    db.transact(&["k", "gone"], |txn| {
        txn.set("k", "first")?;
        txn.set("gone", "soon")?;
        txn.set("k", "last")?;
        txn.delete("gone")
    })
    .unwrap();
    let mut values = Vec::new();
    for _ in 0..4 {
        match watch.next_within(PATIENCE).unwrap().unwrap() {
            WatchEvent::Change { value, .. } => values.push(value.map(|value| value.to_vec())),
            event => panic!("{event:?}"),
        }
    }
    assert_eq!(values, [Some(b"last".to_vec()), None, Some(b"last".to_vec()), None]);
}

#[test]
fn a_watch_that_is_not_read_says_what_it_missed_and_goes_on() {
    let db = Db::in_memory();
    let mut watch = db.watch_with("", WatchOptions::new().waiting_max(3)).unwrap();
    for i in 0..10 {
        db.set(format!("k{i}"), "v").unwrap();
    }
    for i in 0..3 {
        assert_eq!(next(&mut watch), of(&format!("k{i}"), ChangeKind::Set));
    }
    // Until it has been said that some are missing, no later one is shown.
    db.set("later", "v").unwrap();
    assert_eq!(watch.next_within(PATIENCE).unwrap().unwrap(), WatchEvent::Missed);
    assert!(is_quiet(&mut watch));
    db.set("after", "v").unwrap();
    assert_eq!(next(&mut watch), of("after", ChangeKind::Set));
}

#[test]
fn a_dropped_watch_keeps_nothing() {
    let db = Db::in_memory();
    let shares = || {
        let mut shares = 0;
        let count = &mut |value: kvcore::ValueRef<'_>| shares = Arc::strong_count(value.shared().unwrap());
        assert!(db.hooks().peek(b"large", count).unwrap());
        shares
    };
    let watch = db.watch_with("", WatchOptions::new().with_values()).unwrap();
    db.set("large", vec![1; 1 << 20]).unwrap();
    assert_eq!(shares(), 2);
    drop(watch);
    assert_eq!(shares(), 1);
    db.set("large", vec![2; 1 << 20]).unwrap();
    assert_eq!(shares(), 1);
}

#[test]
fn a_change_is_shown_when_it_is_durable() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let mut watch = db.watch("").unwrap();
    for i in 0..100 {
        let ticket = db.deferred().set("k", i.to_string()).unwrap();
        assert_eq!(next(&mut watch), of("k", ChangeKind::Set));
        assert!(db.hooks().durable_lsn() >= lsn_of(&ticket));
        ticket.wait().unwrap();
    }
}

#[test]
fn closing_the_store_ends_the_watch_behind_what_waits_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let db = Options::new().durability(Durability::EverySecond).open(dir.path()).unwrap();
    let mut read = db.watch("").unwrap();
    let mut blocked = db.watch("nothing").unwrap();
    let thread = thread::spawn(move || blocked.next().is_none());
    db.set("k", "v").unwrap();
    db.close().unwrap();
    assert!(thread.join().unwrap());
    assert_eq!(next(&mut read), of("k", ChangeKind::Set));
    assert!(read.next().is_none());
    assert!(matches!(read.next_within(PATIENCE), Err(Error::WatchEnded)), "a loop that counts on time-outs ends, too");
    assert!(matches!(db.watch(""), Err(Error::Closed)));
}

/// Two keys of different shards, written together: whatever other threads commit meanwhile, their changes come together.
#[test]
fn the_changes_of_a_transaction_come_together_and_those_of_a_key_in_their_order() {
    const THREADS: usize = 4;
    const ROUNDS: usize = 2_000;
    let db = Db::in_memory();
    let mut watch = db.watch_with("", WatchOptions::new().waiting_max(2 * THREADS * ROUNDS).with_values()).unwrap();
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let db = &db;
            scope.spawn(move || {
                let keys = [format!("one:{thread}"), format!("two:{thread}")];
                for round in 0..ROUNDS {
                    db.transact(&keys, |txn| keys.iter().try_for_each(|key| txn.set(key, round.to_string()))).unwrap();
                }
            });
        }
    });
    let mut next = || match watch.next_within(PATIENCE).unwrap().unwrap() {
        WatchEvent::Change { key: Some(key), value: Some(value), .. } => {
            let (name, thread) = key.as_str().unwrap().split_once(':').unwrap();
            (name.to_owned(), thread.parse::<usize>().unwrap(), value.as_str().unwrap().parse::<usize>().unwrap())
        }
        event => panic!("{event:?}"),
    };
    let mut rounds = [0; THREADS];
    for _ in 0..THREADS * ROUNDS {
        let (one, thread, round) = next();
        assert_eq!((one.as_str(), round), ("one", rounds[thread]));
        assert_eq!(next(), ("two".to_owned(), thread, round));
        rounds[thread] += 1;
    }
}

/// Writers on several threads note the places of their changes in the log: a watch shows the changes in this order.
#[test]
fn changes_come_in_the_order_of_the_log() {
    const THREADS: usize = 4;
    const ROUNDS: usize = 5_000;
    let dir = tempfile::tempdir().unwrap();
    let db = Options::new().durability(Durability::Os).open(dir.path()).unwrap();
    let mut watch = db.watch_with("", WatchOptions::new().waiting_max(THREADS * ROUNDS)).unwrap();
    let write = |thread: usize| {
        let writes = (0..ROUNDS).map(|round| {
            let key = format!("{thread}:{round}");
            (lsn_of(&db.deferred().set(&key, "v").unwrap()), key)
        });
        writes.collect::<Vec<_>>()
    };
    let mut written: Vec<_> = thread::scope(|scope| {
        let threads = [0, 1, 2, 3].map(|thread| scope.spawn(move || write(thread)));
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    written.sort();
    assert_eq!(written.len(), THREADS * ROUNDS);
    for (_, key) in written {
        assert_eq!(next(&mut watch), of(&key, ChangeKind::Set));
    }
}

#[test]
fn a_dropped_keyspace_ends_its_watches() {
    let db = Db::in_memory();
    let cache = db.keyspace("cache").unwrap();
    let (mut watch, mut other) = (cache.watch("").unwrap(), db.watch("").unwrap());
    db.drop_keyspace("cache").unwrap();
    assert_eq!(next(&mut watch), (None, ChangeKind::Clear));
    assert!(watch.next().is_none());
    assert!(matches!(cache.watch(""), Err(Error::KeyspaceDropped { .. })));
    db.set("k", "v").unwrap();
    assert_eq!(next(&mut other), of("k", ChangeKind::Set));
}

#[test]
fn values_that_wait_to_be_read_are_bounded() {
    let db = Db::in_memory();
    let mut watch = db.watch_with("", WatchOptions::new().with_values()).unwrap();
    for i in 0..5 {
        db.set(format!("k{i}"), vec![0; 20 << 20]).unwrap();
    }
    for i in 0..3 {
        assert_eq!(next(&mut watch), of(&format!("k{i}"), ChangeKind::Set));
    }
    assert_eq!(watch.next_within(PATIENCE).unwrap().unwrap(), WatchEvent::Missed);
    db.set("after", vec![0; 20 << 20]).unwrap();
    assert_eq!(next(&mut watch), of("after", ChangeKind::Set));
}

#[test]
fn a_watch_follows_the_durability_of_its_store() {
    let dir = tempfile::tempdir().unwrap();
    let db = Options::new().durability(Durability::Os).open(dir.path()).unwrap();
    let mut watch = db.watch("").unwrap();
    db.set_durability(Durability::Always);
    for i in 0..100 {
        let ticket = db.deferred().set("k", i.to_string()).unwrap();
        assert_eq!(next(&mut watch), of("k", ChangeKind::Set));
        assert!(db.hooks().durable_lsn() >= lsn_of(&ticket));
    }
}

/// A waker that works at once on the thread that wakes it: reads the store, writes to it, and ends a watch.
struct AtOnce(Db, std::sync::Mutex<Option<Watch>>);

impl Wake for AtOnce {
    fn wake(self: Arc<Self>) {
        assert_eq!(self.0.get("k").expect("a value").expect("the key"), "v");
        drop(self.1.lock().expect("no panic").take());
        self.0.set("woken", "yes").expect("written");
    }
}

#[test]
fn a_waker_may_use_the_store_and_end_a_watch() {
    let db = Db::in_memory();
    let mut watch = pin!(db.watch("k").unwrap().into_stream());
    let waker = Arc::new(AtOnce(db.clone(), std::sync::Mutex::new(Some(db.watch("").unwrap())))).into();
    assert!(watch.as_mut().poll_next(&mut Context::from_waker(&waker)).is_pending());
    let writer = db.clone();
    let (done, written) = std::sync::mpsc::channel();
    thread::spawn(move || done.send(writer.set("k", "v").is_ok()));
    assert!(written.recv_timeout(PATIENCE).expect("the writer does not wait for itself"));
    assert_eq!(db.get("woken").unwrap().unwrap(), "yes");
}

#[test]
fn a_watch_is_not_waited_for_inside_a_transaction() {
    let db = Db::in_memory();
    let mut watch = db.watch("").unwrap();
    let outcome = db.transact(&["k"], |_| watch.next().transpose().map(drop));
    assert!(matches!(outcome, Err(Error::Reentered)), "{outcome:?}");
    db.set("k", "v").unwrap();
    assert_eq!(next(&mut watch), of("k", ChangeKind::Set));
}

/// Counts how often it is woken.
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

/// Evictions stay when the transaction that needed the room fails; a stream that nobody wakes would learn of them with the next
/// write that succeeds, or never.
#[test]
fn a_stream_is_woken_for_what_a_failed_transaction_has_evicted() {
    let db = Db::in_memory();
    db.set("text", "v").unwrap();
    for i in 0..100 {
        db.set(format!("k{i}"), "v").unwrap();
    }
    let mut watch = pin!(db.watch("").unwrap().into_stream());
    let count = Arc::new(Count(AtomicUsize::new(0)));
    let waker = count.clone().into();
    let mut context = Context::from_waker(&waker);
    assert!(watch.as_mut().poll_next(&mut context).is_pending());
    db.set_limits(Limits { max_entries: Some(50), policy: Policy::Lru, ..Limits::default() }).unwrap();
    assert!(db.transact(&["text"], |_| Err::<(), _>(Error::aborted("no"))).is_err());
    assert!(db.len().unwrap() < 101, "some were evicted for it");
    assert_eq!(count.0.load(SeqCst), 1);
    let Poll::Ready(Some(Ok(WatchEvent::Change { kind, .. }))) = watch.as_mut().poll_next(&mut context) else {
        panic!("an eviction is shown");
    };
    assert_eq!(kind, ChangeKind::Evict);
}

struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[test]
fn a_watch_is_a_stream() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let mut watch = pin!(db.watch("").unwrap().into_stream());
    let writer = db.clone();
    let thread = thread::spawn(move || {
        for i in 0..100 {
            writer.set_with("k", i.to_string(), SetOptions::new()).unwrap();
        }
        writer.close().unwrap();
    });
    let waker = Arc::new(Unpark(thread::current())).into();
    let (mut context, mut shown) = (Context::from_waker(&waker), 0);
    loop {
        match watch.as_mut().poll_next(&mut context) {
            Poll::Pending => thread::park_timeout(PATIENCE),
            Poll::Ready(Some(event)) => shown += usize::from(matches!(event.unwrap(), WatchEvent::Change { .. })),
            Poll::Ready(None) => break,
        }
    }
    thread.join().unwrap();
    assert_eq!(shown, 100);
}

/// What another store makes: the same bounds, the same ends, and a stream that is woken.
#[test]
fn a_watch_of_another_store_is_bounded_and_ends() {
    let set = |key: &str| WatchEvent::Change {
        keyspace: Arc::from("0"),
        key: Some(key.as_bytes().into()),
        kind: ChangeKind::Set,
        value: Some(b"v".as_slice().into()),
    };
    let (sender, mut watch) = Watch::channel(WatchOptions::new().waiting_max(2));
    (0..5).for_each(|i| assert!(sender.send(set(&format!("k{i}")))));
    assert_eq!(next(&mut watch), of("k0", ChangeKind::Set));
    assert_eq!(next(&mut watch), of("k1", ChangeKind::Set));
    assert_eq!(watch.next_within(PATIENCE).unwrap(), Some(WatchEvent::Missed));
    sender.send(set("later"));
    match watch.next_within(PATIENCE).unwrap() {
        Some(WatchEvent::Change { value, .. }) => assert_eq!(value, None, "values were not wanted"),
        event => panic!("{event:?}"),
    }
    sender.send(set("last"));
    sender.fail(Error::Unavailable { why: "gone".to_owned() });
    assert_eq!(next(&mut watch), of("last", ChangeKind::Set), "what waits comes before the error");
    assert!(matches!(watch.next(), Some(Err(Error::Unavailable { .. }))));
    assert!(watch.next().is_none());
    assert!(matches!(watch.next_within(PATIENCE), Err(Error::WatchEnded)));

    // Another thread's events wake the stream, and so does the end.
    let (sender, watch) = Watch::channel(WatchOptions::new());
    let writer = thread::spawn(move || (0..100).for_each(|i| assert!(sender.send(set(&format!("k{i}"))))));
    let mut stream = pin!(watch.into_stream());
    let mut seen = 0;
    // The smallest executor there is.
    struct Unpark(thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(thread::current())).into();
    loop {
        let event = match stream.as_mut().poll_next(&mut Context::from_waker(&waker)) {
            Poll::Pending => {
                thread::park();
                continue;
            }
            Poll::Ready(Some(event)) => event,
            Poll::Ready(None) => break,
        };
        assert!(matches!(event.unwrap(), WatchEvent::Change { .. }));
        seen += 1;
    }
    assert_eq!(seen, 100);
    writer.join().unwrap();
}
