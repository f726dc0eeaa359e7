//! A random history of a store on a simulated disk: several lives, each ended by a close, a drop, a kill or a power cut, on a
//! disk that may fail on the way.
//!
//! Invariant: the journal of the disk and the courses of the lanes are all that is needed to judge any cut of it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use kvcore::{Clock, Db, Durability, Error, ManualClock, Options};

use crate::disk::World;
use crate::ledger::{Course, Ledger, Note, show};
use crate::sim::{Event, Fault, Plan, SimDisk};
use crate::theme::Theme;
use crate::workload::{Lane, any_durability};

pub const START_MS: u64 = 1_800_000_000_000;
const STEPS: usize = 20;
/// Whoever waits longer than this waits for ever.
const PATIENCE: Duration = Duration::from_secs(20);

/// What happened.
pub struct History {
    pub events: Vec<Event>,
    pub courses: Vec<Course>,
    /// In short.
    pub kind: String,
    /// Whether the disk has failed.
    pub has_failed: bool,
}

pub fn options(disk: &SimDisk, wall_ms: u64) -> (Options, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(wall_ms));
    let options = Options::new().shards(2).segment_bytes(4096).snapshot_log_bytes(u64::MAX).clock(clock.clone());
    (options.disk(Arc::new(disk.clone())), clock)
}

/// What is on a disk, which is left as it is.
pub fn load(world: &World, wall_ms: u64) -> Result<Db, Error> {
    let (options, _) = options(&SimDisk::of(world.clone()), wall_ms);
    match options.clone().load(dir()) {
        // Before anything was durable: it begins anew, on a disk that nobody looks at.
        Err(Error::NoStore { .. }) => options.open(dir()),
        loaded => loaded,
    }
}

/// Where the store lies.
pub fn dir() -> &'static Path {
    Path::new("store")
}

/// A clock that is right, behind or ahead.
pub fn any_wall(rng: &mut Rng, wall_ms: u64) -> u64 {
    match rng.u8(..8) {
        0 | 1 => START_MS,
        2 => wall_ms + 3_600_000,
        _ => wall_ms,
    }
}

/// Some failure, among the first `at_most` operations or so.
pub fn any_plan(rng: &mut Rng, at_most: u64) -> Plan {
    let (fault, at_most) = match rng.u8(..8) {
        0 | 1 => (Fault::Error, at_most),
        2 => (Fault::Full, at_most),
        // There are fewer of these.
        3 | 4 => (Fault::Sync, at_most / 2),
        5 => (Fault::Read, at_most / 4),
        _ => (Fault::Names, at_most / 8),
    };
    Plan { fault, at: rng.u64(1..=at_most), for_good: rng.u8(..3) == 0 }
}

/// A store from its opening to its end.
pub struct Life<'a> {
    pub db: &'a Db,
    pub disk: &'a SimDisk,
    clock: &'a ManualClock,
    /// Time, and what is promised, are everyone's: only a lane alone may change them.
    pub alone: bool,
}

impl Life<'_> {
    /// An error is accepted only from a disk that has failed.
    pub fn excuse(&self, error: &Error) {
        let may_be = matches!(error, Error::LogFailed { .. } | Error::NoSpace { .. } | Error::Io { .. });
        assert!(may_be && self.disk.failures() > 0, "with {} failures: {error}", self.disk.failures());
    }

    pub fn pass(&self, ms: u64) {
        self.clock.advance(ms);
        self.disk.note(Note::Time(self.clock.wall_ms()));
    }

    /// A snapshot fails with the log or with the disk, and not because an earlier one did.
    pub fn snapshot(&self) {
        let failures = self.disk.failures();
        if let Err(error) = self.db.snapshot() {
            self.excuse(&error);
            let is_the_disk = self.disk.failures() > failures || !matches!(error, Error::Io { .. });
            assert!(is_the_disk, "a snapshot fails on a disk that works: {error}");
        }
    }

    /// Lets the store's threads come to the disk, if they want to.
    pub fn breathe(&self) {
        let (before, until) = (self.disk.events(), Instant::now() + Duration::from_millis(4));
        while self.disk.events() == before && Instant::now() < until {
            std::thread::yield_now();
        }
    }

    pub fn wait_until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let until = Instant::now() + PATIENCE;
        while !holds() {
            assert!(Instant::now() < until, "never: {what}");
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

/// Opens the store. It may fail on a disk that fails; then it does not on one that works again.
fn open(disk: &SimDisk, options: &Options) -> Db {
    options.clone().open(dir()).unwrap_or_else(|error| {
        assert!(disk.failures() > 0, "does not open in the next life: {error}");
        disk.heal();
        options.clone().open(dir()).unwrap_or_else(|error| panic!("does not open on a disk that works again: {error}"))
    })
}

/// Whether a store that was opened shows which transactions are there. What it does not show because it has expired it
/// may show in another life, whose clock is behind.
fn is_sure(courses: &[Course], found: &[Vec<usize>]) -> bool {
    let same = |(course, numbers): (&Course, &Vec<usize>)| {
        numbers.iter().all(|number| course.states[*number] == course.states[numbers[0]])
    };
    courses.iter().zip(found).all(same)
}

/// Makes durable what time it is, if the disk lets it: then what has expired is not shown any more.
fn will_be_sure(db: &Db, disk: &SimDisk) -> bool {
    let now_ms = db.now_ms();
    let time = db.keyspace("time").map(|keyspace| keyspace.with_durability(Durability::Always));
    let is_kept = time.and_then(|time| time.set("time", "is")).is_ok();
    if is_kept {
        disk.note(Note::Seen { deadline_ms: now_ms });
    }
    is_kept
}

/// How a life ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Close,
    Drop,
    Kill,
    Cut,
}

/// Runs the history with this seed.
pub fn run(seed: u64) -> History {
    let disk = SimDisk::default();
    let mut rng = Rng::with_seed(seed);
    let theme = Arc::new(Theme::of(seed, &mut rng));
    let lanes = theme.lanes;
    let mut all: Vec<Lane> = (0..lanes).map(|lane| Lane::new(lane, rng.u64(..), Arc::clone(&theme))).collect();
    let mut ledger = Ledger::new(lanes, START_MS);
    let (mut taken, mut has_failed) = (0, false);
    let mut kind = format!("{}, {lanes} lanes", theme.name);
    // Who writes is likely to be met between any two operations of a snapshot.
    disk.dawdle(lanes > 1);
    for life in 0..rng.usize(2..=4) {
        let wall_ms = if life == 0 { START_MS } else { any_wall(&mut rng, ledger.wall_ms) };
        disk.note(Note::Time(wall_ms));
        let (options, clock) = options(&disk, wall_ms);
        let waits = theme.disk_fails && rng.u8(..4) > 0;
        let options = options.durability(if waits { Durability::Always } else { any_durability(&mut rng) });
        if theme.disk_fails || rng.u8(..3) > 0 {
            let mut plan = any_plan(&mut rng, 70);
            if theme.disk_fails {
                // Early, and in the log.
                let (fault, at) =
                    if rng.bool() { (Fault::Sync, rng.u64(5..13)) } else { (Fault::Error, rng.u64(12..28)) };
                plan = Plan { fault, at, ..plan };
            }
            kind += &format!(", {plan:?}");
            disk.plan(plan, rng.u64(..));
        }
        for event in disk.journal(taken) {
            if let Event::Note(note) = event {
                ledger.take(note);
            }
        }
        taken = disk.events();
        let courses: Vec<Course> = all.iter_mut().map(|lane| std::mem::take(&mut lane.course)).collect();
        let (db, found) = loop {
            let db = open(&disk, &options);
            let found =
                ledger.judge(&courses, &show(&db, lanes)).unwrap_or_else(|wrong| panic!("opened again: {wrong}"));
            if is_sure(&courses, &found) || will_be_sure(&db, &disk) {
                break (db, found);
            }
            drop(db);
            disk.heal();
        };
        let life = Life { db: &db, disk: &disk, clock: &clock, alone: lanes == 1 };
        for ((lane, course), numbers) in all.iter_mut().zip(courses).zip(found) {
            lane.course = course;
            lane.adopt(numbers[0], &life);
        }
        run_lanes(&mut all, &life);
        let end = [End::Close, End::Drop, End::Kill, End::Cut][rng.usize(..4)];
        kind += &format!(", {end:?}");
        has_failed |= disk.failures() > 0;
        end_life(&mut all, &life, end);
        drop(db);
        if end == End::Drop && disk.failures() == 0 {
            all.iter_mut().for_each(|lane| lane.all_is_promised(&disk));
        }
        disk.thaw();
        if end == End::Cut {
            disk.cut(rng.u64(..));
        }
        if rng.u8(..4) > 0 {
            disk.heal();
        }
    }
    History { events: disk.journal(0), courses: all.into_iter().map(|lane| lane.course).collect(), kind, has_failed }
}

fn run_lanes(all: &mut [Lane], life: &Life<'_>) {
    if let [lane] = all {
        return (0..STEPS).for_each(|_| lane.step(life));
    }
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            all.iter_mut().map(|lane| scope.spawn(move || (0..STEPS).for_each(|_| lane.step(life)))).collect();
        for thread in threads {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    });
}

/// Ends it as far as a store that is still held can.
fn end_life(all: &mut [Lane], life: &Life<'_>, end: End) {
    match end {
        End::Close => match life.db.close() {
            // A closed store has kept everything, whatever it promised before.
            Ok(()) => all.iter_mut().for_each(|lane| lane.all_is_promised(life.disk)),
            Err(error) => life.excuse(&error),
        },
        End::Drop => {}
        End::Kill | End::Cut => {
            // More may be written than is synced.
            life.breathe();
            life.disk.freeze();
        }
    }
}
