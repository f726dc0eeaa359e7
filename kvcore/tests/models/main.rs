//! Models of a store's threads: writers, syncer, tickets and those who wait, under every order of events that a seed draws.
//!
//! ```text
//! RUSTFLAGS="--cfg shuttle" cargo test --target-dir target/models -p kvcore --test models
//! ```
//!
//! The whole store runs, compiled onto `shuttle` (see `kvcore/src/sync.rs`), over a disk in memory. In each run: nobody
//! waits for ever (that is a deadlock, and told), nothing is acknowledged before it is durable, and everybody is told.
#![cfg(shuttle)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod disk;
mod explore;
mod names;
mod watches;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use kvcore::hooks::lsn_of;
use kvcore::{Clock, Db, Durability, Error, ManualClock, Options};
use shuttle::rand::Rng;
use shuttle::sync::{Condvar, Mutex};
use shuttle::thread::{self, JoinHandle};

use disk::ModelDisk;
use explore::explore;

/// A clock by which something lies between any two looks, so that what waits for a time to come sees it come.
struct Steps(ManualClock);

impl Clock for Steps {
    fn wall_ms(&self) -> u64 {
        self.0.wall_ms()
    }
    fn monotonic_ms(&self) -> u64 {
        self.0.advance(200);
        self.0.monotonic_ms()
    }
}

/// As [`Steps`]. While `pausing` is set, reading the clock lets other threads run for long, except on the thread `quick`.
struct Pauses {
    steps: Steps,
    quick: thread::ThreadId,
    pausing: Arc<AtomicBool>,
}

impl Clock for Pauses {
    fn wall_ms(&self) -> u64 {
        self.steps.wall_ms()
    }
    fn monotonic_ms(&self) -> u64 {
        if self.pausing.load(Ordering::SeqCst) && thread::current().id() != self.quick {
            (0..20).for_each(|_| thread::yield_now());
        }
        self.steps.monotonic_ms()
    }
}

fn open(disk: &ModelDisk, durability: Durability) -> Db {
    open_at(Steps(ManualClock::at(1_700_000_000_000)), disk, durability)
}

fn open_at(clock: impl Clock, disk: &ModelDisk, durability: Durability) -> Db {
    let options = Options::new().shards(2).segment_bytes(4096).durability(durability).clock(Arc::new(clock));
    options.disk(Arc::new(disk.clone())).open("model").unwrap()
}

fn value(writer: usize, step: usize) -> String {
    format!("<{writer}.{step}>")
}

/// Runs `body` on so many threads; answers what to join.
fn on_threads(count: usize, db: &Db, body: impl Fn(usize, Db) + Clone + Send + 'static) -> Vec<JoinHandle<()>> {
    (0..count)
        .map(|number| {
            let (db, body) = (db.clone(), body.clone());
            thread::spawn(move || body(number, db))
        })
        .collect()
}

fn join(threads: Vec<JoinHandle<()>>) {
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// Somebody who sleeps until the log has gone on.
#[derive(Default)]
struct Bell(Mutex<()>, Condvar);

impl Bell {
    fn of(db: &Db) -> Arc<Bell> {
        let bell = Arc::<Bell>::default();
        let rung = bell.clone();
        db.hooks().on_durable(Arc::new(move || rung.ring()));
        bell
    }

    fn ring(&self) {
        let _look = self.0.lock().unwrap();
        self.1.notify_all();
    }

    fn sleep_until(&self, is_so: impl Fn() -> bool) {
        let mut look = self.0.lock().unwrap();
        while !is_so() {
            look = self.1.wait(look).unwrap();
        }
    }
}

#[test]
fn a_write_that_returned_is_durable_and_every_write_returns() {
    explore(|| {
        let disk = ModelDisk::default();
        let db = open(&disk, Durability::Always);
        let looked = disk.clone();
        join(on_threads(3, &db, move |writer, db| {
            for step in 0..2 {
                db.set(format!("k{writer}"), value(writer, step)).unwrap();
                assert!(looked.is_durable(&value(writer, step)), "acknowledged before it was durable");
            }
        }));
        db.close().unwrap();
    });
}

/// Between two writes the syncer may write, sync, seal or fall asleep: whichever it is, the next write is not missed.
#[test]
fn what_nobody_waits_for_becomes_durable_too() {
    explore(|| {
        let disk = ModelDisk::default();
        let db = open(&disk, Durability::Always);
        let bell = Bell::of(&db);
        let looked = disk.clone();
        join(on_threads(2, &db, move |writer, db| {
            for step in 0..2 {
                let lsn = lsn_of(&db.deferred().set(format!("k{writer}"), value(writer, step)).unwrap());
                bell.sleep_until(|| db.hooks().durable_lsn() >= lsn);
                assert!(looked.is_durable(&value(writer, step)));
            }
        }));
        db.close().unwrap();
    });
}

#[test]
fn every_second_and_os_reach_the_disk_without_being_asked() {
    explore(|| {
        let disk = ModelDisk::default();
        let db = open(&disk, Durability::EverySecond);
        let bell = Bell::of(&db);
        for step in 0..2 {
            db.set("k", value(0, step)).unwrap();
            bell.sleep_until(|| db.hooks().durable_lsn() == db.hooks().last_lsn());
            assert!(disk.is_durable(&value(0, step)));
        }
        // Nothing waits for these; whatever the syncer does meanwhile, closing makes them durable.
        db.set_durability(Durability::Os);
        join(on_threads(2, &db, |writer, db| db.set(format!("o{writer}"), value(9, writer)).unwrap()));
        db.close().unwrap();
        assert!(disk.is_durable(&value(9, 0)) && disk.is_durable(&value(9, 1)));
    });
}

#[test]
fn a_stronger_promise_holds_for_what_was_written_before() {
    explore(|| {
        let disk = ModelDisk::default();
        let db = open(&disk, Durability::Os);
        let bell = Bell::of(&db);
        let writers = on_threads(2, &db, |writer, db| db.set(format!("k{writer}"), value(writer, 0)).unwrap());
        db.set_durability(Durability::Always);
        db.set("after", value(9, 9)).unwrap();
        assert!(disk.is_durable(&value(9, 9)));
        join(writers);
        bell.sleep_until(|| db.hooks().durable_lsn() == db.hooks().last_lsn());
        assert!(disk.is_durable(&value(0, 0)) && disk.is_durable(&value(1, 0)));
        db.close().unwrap();
    });
}

/// Counts how often a task is told to look again.
#[derive(Default)]
struct Told(Mutex<u32>, Condvar);

impl Wake for Told {
    fn wake(self: Arc<Self>) {
        *self.0.lock().unwrap() += 1;
        self.1.notify_all();
    }
}

/// Drives a future as an executor does, and sees to it that it is told once if it had to wait, and otherwise never.
fn await_once<F: Future>(future: F) -> F::Output {
    let told = Arc::<Told>::default();
    let waker = Waker::from(told.clone());
    let mut future = pin!(future);
    if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
        assert_eq!(*told.0.lock().unwrap(), 0);
        return output;
    }
    let mut count = told.0.lock().unwrap();
    while *count == 0 {
        count = told.1.wait(count).unwrap();
    }
    drop(count);
    let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) else {
        panic!("told to look, and there is nothing")
    };
    thread::yield_now();
    assert_eq!(*told.0.lock().unwrap(), 1, "told twice");
    output
}

#[test]
fn tickets_are_waited_for_awaited_and_dropped() {
    explore(|| {
        let disk = ModelDisk::default();
        let db = open(&disk, Durability::Always);
        let looked = disk.clone();
        join(on_threads(3, &db, move |writer, db| {
            let set = |step| db.deferred().set(format!("k{step}"), value(writer, step)).unwrap();
            drop(set(0));
            match writer {
                0 => set(1).wait().unwrap(),
                1 => await_once(set(1)).unwrap(),
                _ => shuttle::future::block_on(set(1)).unwrap(),
            }
            assert!(looked.is_durable(&value(writer, 0)) && looked.is_durable(&value(writer, 1)));
        }));
        db.close().unwrap();
    });
}

#[test]
fn a_settled_read_reveals_nothing_that_is_not_durable() {
    explore(|| {
        let disk = ModelDisk::default();
        let db = open(&disk, Durability::Always);
        let writers = on_threads(1, &db, |writer, db| {
            for step in 0..2 {
                drop(db.deferred().set("k", value(writer, step)).unwrap());
            }
        });
        for _ in 0..2 {
            if let Some(seen) = db.get_durable("k").unwrap() {
                assert!(disk.is_durable(&String::from_utf8_lossy(&seen)));
            }
        }
        join(writers);
        db.close().unwrap();
    });
}

#[test]
fn when_a_sync_fails_everybody_is_told_and_none_is_tried_again() {
    explore(|| {
        let disk = ModelDisk::default();
        let db = open(&disk, Durability::Always);
        let bell = Bell::of(&db);
        disk.fail_sync_after(shuttle::rand::thread_rng().gen_range(0..3));
        let looked = disk.clone();
        let writers = on_threads(3, &db, move |writer, db| {
            let mut failed = false;
            for step in 0..3 {
                let outcome = db.deferred().set(format!("k{writer}"), value(writer, step));
                let outcome = outcome.and_then(|ticket| match writer {
                    0 => ticket.wait(),
                    1 => await_once(ticket),
                    _ => db.set("other", "v"),
                });
                match outcome {
                    Ok(()) => assert!(!failed && looked.is_durable(&value(writer, step)), "told that it is durable"),
                    Err(Error::LogFailed { .. }) => failed = true,
                    Err(other) => panic!("{other}"),
                }
            }
        });
        for _ in 0..2 {
            if let Ok(Some(seen)) = db.get_durable("k0") {
                assert!(disk.is_durable(&String::from_utf8_lossy(&seen)), "read, and not durable");
            }
        }
        // Whoever only listens is told as well, of durability or of failure.
        bell.sleep_until(|| db.health().is_err() || db.hooks().durable_lsn() == db.hooks().last_lsn());
        join(writers);
        let syncs = disk.syncs();
        let failed = db.health().is_err();
        assert_eq!(db.close().is_err(), failed || db.health().is_err());
        if failed {
            assert_eq!(disk.syncs(), syncs, "a sync after one that failed");
        }
    });
}

/// The syncer decides to seal an idle log and reads the clock; before it goes on, a caller that is alone writes, and fails.
#[test]
fn an_idle_log_is_not_sealed_over_a_failed_sync() {
    explore(|| {
        let (disk, pausing) = (ModelDisk::default(), Arc::<AtomicBool>::default());
        let steps = Steps(ManualClock::at(1_700_000_000_000));
        let clock = Pauses { steps, quick: thread::current().id(), pausing: pausing.clone() };
        let db = open_at(clock, &disk, Durability::Always);
        // The first is written together with the keyspace's name. The second is alone, so the third writer takes itself for
        // alone, too, and does not leave the write to the syncer.
        db.set("first", "v").unwrap();
        db.set("before", "v").unwrap();
        let last = db.hooks().last_lsn();
        // The syncer finds nothing to do, and then, often, that the log is idle.
        (0..10).for_each(|_| thread::yield_now());
        pausing.store(true, Ordering::SeqCst);
        (0..10).for_each(|_| thread::yield_now());
        disk.fail_sync_after(0);
        // Alone, so it writes by itself; a seal may come first, and fail.
        let outcome = db.set("during", value(0, 0));
        assert!(matches!(outcome, Err(Error::LogFailed { .. })), "told that it is durable: {outcome:?}");
        let syncs = disk.syncs();
        shuttle::thread::yield_now();
        // If a seal failed before it, nothing was appended.
        assert!(
            db.hooks().last_lsn() == last || db.hooks().durable_lsn() < db.hooks().last_lsn(),
            "called durable, and it is not"
        );
        assert!(db.close().is_err());
        assert_eq!(disk.syncs(), syncs, "a sync after one that failed");
    });
}

#[test]
fn closing_while_others_write_and_wait_tells_each_of_them() {
    explore(|| {
        let disk = ModelDisk::default();
        let db = open(&disk, Durability::Always);
        let looked = disk.clone();
        let writers = on_threads(3, &db, move |writer, db| {
            for step in 0..2 {
                let ticket = db.deferred().set(format!("k{writer}"), value(writer, step));
                let outcome = ticket.and_then(|ticket| if writer == 0 { await_once(ticket) } else { ticket.wait() });
                match outcome {
                    Ok(()) => assert!(looked.is_durable(&value(writer, step))),
                    Err(error) => assert!(matches!(error, Error::Closed), "{error}"),
                }
            }
        });
        if shuttle::rand::thread_rng().gen_bool(0.5) {
            thread::yield_now();
        }
        db.close().unwrap();
        // The directory is free at once.
        let again = open(&disk, Durability::Always);
        again.set("again", "v").unwrap();
        drop(again);
        join(writers);
    });
}

/// Below `always` nobody waits: what was taken before the store was closed must be in what closing makes durable.
#[test]
fn a_write_that_meets_the_end_is_durable_or_refused() {
    explore(|| {
        let disk = ModelDisk::default();
        let db = open(&disk, Durability::Os);
        let taken = Arc::<std::sync::Mutex<Vec<String>>>::default();
        let notes = taken.clone();
        let writers = on_threads(2, &db, move |writer, db| {
            for step in 0..2 {
                match db.set(format!("k{writer}"), value(writer, step)) {
                    Ok(()) => notes.lock().unwrap().push(value(writer, step)),
                    Err(error) => assert!(matches!(error, Error::Closed), "{error}"),
                }
            }
        });
        db.close().unwrap();
        join(writers);
        for value in taken.lock().unwrap().iter() {
            assert!(disk.is_durable(value), "{value} was taken, and closing lost it");
        }
    });
}

#[test]
fn the_last_handle_that_is_dropped_closes_the_store() {
    explore(|| {
        let disk = ModelDisk::default();
        let db = open(&disk, Durability::Always);
        let writers = on_threads(2, &db, |writer, db| drop(db.deferred().set("k", value(writer, 0)).unwrap()));
        drop(db);
        join(writers);
        assert!(disk.is_durable(&value(0, 0)) && disk.is_durable(&value(1, 0)));
        drop(open(&disk, Durability::Always));
    });
}

#[test]
fn without_space_writes_are_refused_and_with_space_they_resume() {
    explore(|| {
        let disk = ModelDisk::default();
        let db = open(&disk, Durability::Always);
        let looked = disk.clone();
        let writers = on_threads(2, &db, move |writer, db| {
            // Each is as long as a segment: there is none without new room.
            let long = |step| value(writer, step) + &"x".repeat(3000);
            for step in 0..2 {
                loop {
                    match db.set(format!("k{writer}"), long(step)) {
                        Ok(()) => break,
                        Err(Error::NoSpace { .. }) => thread::yield_now(),
                        Err(other) => panic!("{other}"),
                    }
                }
                assert!(looked.is_durable(&value(writer, step)));
            }
        });
        disk.set_full(true);
        thread::sleep(Duration::from_millis(1));
        disk.set_full(false);
        join(writers);
        db.close().unwrap();
    });
}

#[test]
fn snapshots_writes_and_closing_do_not_stop_each_other() {
    explore(|| {
        let disk = ModelDisk::default();
        let db = open(&disk, Durability::Always);
        let looked = disk.clone();
        let others = on_threads(3, &db, move |number, db| match number {
            0 => match db.snapshot() {
                Ok(()) | Err(Error::Closed) => {}
                Err(other) => panic!("{other}"),
            },
            1 => drop(db.snapshot_in_background()),
            _ => match db.set("k", value(number, 0)) {
                Ok(()) => assert!(looked.is_durable(&value(number, 0))),
                Err(error) => assert!(matches!(error, Error::Closed), "{error}"),
            },
        });
        if shuttle::rand::thread_rng().gen_bool(0.5) {
            join(others);
            db.close().unwrap();
        } else {
            db.close().unwrap();
            join(others);
        }
    });
}
