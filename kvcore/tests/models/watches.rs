//! Models of watches: writers, watchers that read at once, too slowly or not at all, and the ends of a watch, in every order. Invariant:
//! what a watch shows is durable and in the order of the log, what it leaves out it says, and no watcher waits for ever.

use std::future::poll_fn;
use std::pin::Pin;

use futures_core::Stream;
use kvcore::{ChangeKind, Db, Durability, Error, Options, Watch, WatchEvent, WatchOptions};
use shuttle::rand::Rng;
use shuttle::thread;

use crate::disk::ModelDisk;
use crate::explore::{explore, explore_less};
use crate::{join, on_threads, open, value};

const WRITERS: usize = 2;
const STEPS: usize = 2;

/// Reads a watch to its end, as an iterator or as a stream.
struct Reader(Result<Watch, Pin<Box<dyn Stream<Item = kvcore::Result<WatchEvent>> + Send>>>);

impl Reader {
    fn of(watch: Watch, is_stream: bool) -> Reader {
        Reader(if is_stream { Err(Box::pin(watch.into_stream())) } else { Ok(watch) })
    }

    fn next(&mut self) -> Option<WatchEvent> {
        let event = match &mut self.0 {
            Ok(watch) => watch.next(),
            Err(stream) => shuttle::future::block_on(poll_fn(|context| stream.as_mut().poll_next(context))),
        };
        event.map(Result::unwrap)
    }
}

/// Writes a key of the writer's own and one that all share, in one transaction.
fn write(writer: usize, db: &Db) {
    let own = format!("w{writer}");
    for step in 0..STEPS {
        let ticket = db.deferred().transact(&[&*own, "sum"], |txn| {
            txn.set(&own, value(writer, step))?;
            txn.increment("sum", 1)
        });
        drop(ticket.unwrap());
    }
}

/// What a watch has shown so far, of what [`write`] writes.
#[derive(Default)]
struct Shown {
    changes: usize,
    sum: usize,
    has_own: bool,
    has_missed: bool,
}

impl Shown {
    fn see(&mut self, event: WatchEvent, disk: &ModelDisk) {
        let (key, value) = match event {
            WatchEvent::Change { key, value, kind: ChangeKind::Set, .. } => (key.unwrap(), value.unwrap()),
            WatchEvent::Missed => {
                self.has_missed = true;
                return;
            }
            event => panic!("{event:?}"),
        };
        self.changes += 1;
        if key == "sum" {
            let sum = value.as_str().unwrap().parse().unwrap();
            let is_next = sum == self.sum + 1 && self.has_own;
            assert!(is_next || self.has_missed && sum > self.sum, "after {} comes {sum}", self.sum);
            *self = Shown { sum, has_own: false, has_missed: false, ..*self };
        } else {
            assert!(disk.is_durable(value.as_str().unwrap()), "shown before it was durable");
            assert!(!self.has_own || self.has_missed, "a transaction within another");
            self.has_own = true;
        }
    }
}

#[test]
fn changes_are_shown_when_they_are_durable_in_the_order_of_the_log() {
    explore_less(|| {
        let disk = ModelDisk::default();
        let db = open(&disk, Durability::Always);
        let is_stream = shuttle::rand::thread_rng().gen_bool(0.5);
        let mut reader = Reader::of(db.watch_with("", WatchOptions::new().with_values()).unwrap(), is_stream);
        let looked = disk.clone();
        let watcher = thread::spawn(move || {
            let mut shown = Shown::default();
            while shown.changes < 2 * WRITERS * STEPS {
                shown.see(reader.next().unwrap(), &looked);
            }
            assert_eq!((shown.sum, shown.has_missed), (WRITERS * STEPS, false));
        });
        join(on_threads(WRITERS, &db, |writer, db| write(writer, &db)));
        watcher.join().unwrap();
        db.close().unwrap();
    });
}

/// As small as can be: so many more orders of its few steps are tried.
#[test]
fn a_watch_is_woken_for_the_only_change_and_for_the_end() {
    explore(|| {
        let db = Options::new().shards(1).in_memory().unwrap();
        let is_stream = shuttle::rand::thread_rng().gen_bool(0.5);
        let mut reader = Reader::of(db.watch("").unwrap(), is_stream);
        let watcher = thread::spawn(move || {
            assert!(matches!(reader.next(), Some(WatchEvent::Change { kind: ChangeKind::Set, .. })));
            assert_eq!(reader.next(), None);
        });
        db.set("k", "v").unwrap();
        thread::yield_now();
        db.close().unwrap();
        watcher.join().unwrap();
    });
}

#[test]
fn a_watch_that_falls_behind_says_so_and_one_that_is_dropped_stops_nobody() {
    explore_less(|| {
        let disk = ModelDisk::default();
        let db = open(&disk, Durability::Always);
        let options = WatchOptions::new().with_values().waiting_max(shuttle::rand::thread_rng().gen_range(1..4));
        let is_stream = shuttle::rand::thread_rng().gen_bool(0.5);
        let mut slow = Reader::of(db.watch_with("", options).unwrap(), is_stream);
        let mut dropped = Reader::of(db.watch("").unwrap(), is_stream);
        let looked = disk.clone();
        let watcher = thread::spawn(move || {
            let (mut shown, mut missed) = (Shown::default(), false);
            while let Some(event) = slow.next() {
                missed |= event == WatchEvent::Missed;
                shown.see(event, &looked);
            }
            assert!(missed || shown.changes == 2 * WRITERS * STEPS, "what was left out was not said");
        });
        let drops = thread::spawn(move || drop(dropped.next()));
        join(on_threads(WRITERS, &db, |writer, db| write(writer, &db)));
        drops.join().unwrap();
        db.close().unwrap();
        watcher.join().unwrap();
    });
}

#[test]
fn a_keyspace_that_is_dropped_ends_its_watches_behind_all_its_changes() {
    explore_less(|| {
        let disk = ModelDisk::default();
        let db = open(&disk, Durability::Always);
        let keyspace = db.keyspace("a").unwrap();
        let is_stream = shuttle::rand::thread_rng().gen_bool(0.5);
        let mut reader = Reader::of(keyspace.watch("").unwrap(), is_stream);
        let watcher = thread::spawn(move || {
            let mut kinds = Vec::new();
            while let Some(event) = reader.next() {
                match event {
                    WatchEvent::Change { kind, .. } => kinds.push(kind),
                    event => panic!("{event:?}"),
                }
            }
            kinds
        });
        let writer = thread::spawn(move || {
            let outcomes = (0..3).map(|step| keyspace.set("k", value(0, step)));
            let written = outcomes.filter(|outcome| match outcome {
                Ok(()) => true,
                Err(Error::KeyspaceDropped { .. }) => false,
                Err(other) => panic!("{other}"),
            });
            written.count()
        });
        db.keyspace("a").unwrap().clear().unwrap();
        assert!(db.drop_keyspace("a").unwrap());
        let (kinds, written) = (watcher.join().unwrap(), writer.join().unwrap());
        let of = |wanted| kinds.iter().filter(|kind| **kind == wanted).count();
        assert_eq!((of(ChangeKind::Set), of(ChangeKind::Clear)), (written, 2), "{kinds:?}");
        assert_eq!(kinds.last(), Some(&ChangeKind::Clear), "nothing comes after the drop");
        db.close().unwrap();
    });
}
