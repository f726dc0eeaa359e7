//! Small stores with all that was ever true of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use kvcore::hooks::Scan;
use kvcore::{Db, Deadline, Durability, ManualClock, Options, SetOptions};

use crate::disk::{Image, MemoryDisk, dir};

pub const NOW_MS: u64 = 1_800_000_000_000;

/// A keyspace's name and a key; its value and deadline.
pub type State = BTreeMap<(String, Vec<u8>), (Vec<u8>, Option<u64>)>;

/// A store's files at one moment, and what led there.
pub struct Case {
    pub name: &'static str,
    pub image: Image,
    /// What it showed after each change; the last is what it shows now.
    pub history: Vec<State>,
    /// The state before the last frame, if nothing was written after that; else the last.
    pub last_frame_from: usize,
    /// The state when the newest segment was begun, or when the log was last sealed.
    pub segment_from: usize,
    /// A store with the same files, in which every value is another.
    pub foreign: Image,
    /// The same files before each change.
    moments: Vec<Image>,
    /// The same files when they held a state and all those before it.
    pub complete: Vec<(usize, Image)>,
    /// The state when the newest snapshot was taken, if there is one.
    pub snapshot_from: Option<usize>,
}

impl Case {
    /// The same files before: a few moments are enough.
    pub fn earlier(&self) -> impl Iterator<Item = &Image> {
        self.moments.iter().step_by(self.moments.len().div_ceil(6))
    }

    /// Where in a file the last byte lies that is not zero.
    pub fn written(&self, name: &str) -> usize {
        self.image[name].iter().rposition(|byte| *byte != 0).unwrap_or(0)
    }

    pub fn is_newest(&self, name: &str) -> bool {
        self.image.keys().rfind(|name| name.starts_with("wal-")).is_some_and(|newest| newest == name)
    }
}

pub fn options(disk: &MemoryDisk) -> Options {
    let clock = Arc::new(ManualClock::at(NOW_MS));
    let options = Options::new().shards(1).segment_bytes(4096).snapshot_log_bytes(u64::MAX).clock(clock);
    options.disk(Arc::new(disk.clone()))
}

pub fn shown(db: &Db) -> State {
    let mut state = State::new();
    for keyspace in db.keyspaces() {
        keyspace
            .for_each(&mut |key, value| {
                let entry = (value.bytes().to_vec(), value.deadline().map(Deadline::as_ms));
                state.insert((keyspace.name().to_owned(), key.to_vec()), entry);
            })
            .unwrap();
    }
    state
}

/// Writes a history and keeps its states.
struct Recorder {
    disk: MemoryDisk,
    flavour: &'static str,
    history: Vec<State>,
    moments: Vec<Image>,
    complete: Vec<(usize, Image)>,
    segment_from: usize,
    snapshot_from: Option<usize>,
}

impl Recorder {
    fn new(flavour: &'static str) -> Recorder {
        let (disk, history) = (MemoryDisk::default(), vec![State::new()]);
        let (moments, complete) = (Vec::new(), Vec::new());
        Recorder { disk, flavour, history, moments, complete, segment_from: 0, snapshot_from: None }
    }

    fn open(&mut self, durability: Durability) -> Db {
        self.segment_from = self.history.len() - 1;
        options(&self.disk).durability(durability).open(dir()).unwrap()
    }

    fn step(&mut self, db: &Db, change: impl FnOnce(&Db)) {
        let (before, image) = (db.stats().log_segments, self.disk.image());
        if db.hooks().durable_lsn() == db.hooks().last_lsn() {
            self.complete.push((self.history.len() - 1, image.clone()));
        }
        change(db);
        self.history.push(shown(db));
        self.moments.push(image);
        if db.stats().log_segments != before {
            // The change itself may stand in the new one.
            self.segment_from = self.history.len() - 2;
        }
    }

    /// Changes of every kind.
    fn changes(&mut self, db: &Db) {
        let flavour = self.flavour;
        self.step(db, |db| db.set("a", flavour).unwrap());
        self.step(db, |db| db.set("b", [flavour.as_bytes(), &[0, 255, 7]].concat()).unwrap());
        let hour = SetOptions::new().expires_at(Deadline::at_ms(NOW_MS + 3_600_000));
        self.step(db, |db| drop(db.set_with("c", flavour, hour).unwrap()));
        self.step(db, |db| {
            db.transact(&["a", "d"], |txn| {
                txn.append(b"a", b"+")?;
                txn.set(b"d", flavour.as_bytes())
            })
            .unwrap()
        });
        self.step(db, |db| assert!(db.expire_at("a", Deadline::at_ms(NOW_MS + 60_000)).unwrap()));
        self.step(db, |db| assert!(db.delete("b").unwrap()));
        self.step(db, |db| db.keyspace("other").unwrap().set("a", flavour).unwrap());
    }

    fn values(&mut self, db: &Db, from: usize, to: usize) {
        for i in from..to {
            let value = format!("{}{i:0>300}", self.flavour);
            self.step(db, |db| db.set(format!("k{}", i % 5), &value).unwrap());
        }
    }

    fn case(self, name: &'static str, image: Image, last_frame_from: usize, foreign: Image) -> Case {
        let Recorder { history, moments, complete, segment_from, snapshot_from, .. } = self;
        Case { name, image, history, last_frame_from, segment_from, foreign, moments, complete, snapshot_from }
    }
}

fn killed(flavour: &'static str) -> (Recorder, Image) {
    let mut recorder = Recorder::new(flavour);
    let db = recorder.open(Durability::Always);
    recorder.changes(&db);
    let image = recorder.disk.image();
    drop(db);
    (recorder, image)
}

fn rotated(flavour: &'static str) -> (Recorder, Image) {
    let mut recorder = Recorder::new(flavour);
    let db = recorder.open(Durability::Always);
    recorder.values(&db, 0, 26);
    let image = recorder.disk.image();
    drop(db);
    (recorder, image)
}

fn closed(flavour: &'static str) -> (Recorder, Image) {
    let mut recorder = Recorder::new(flavour);
    for _ in 0..2 {
        let db = recorder.open(Durability::Os);
        recorder.changes(&db);
        db.close().unwrap();
    }
    let image = recorder.disk.image();
    (recorder, image)
}

fn with_snapshot(flavour: &'static str, close: bool) -> (Recorder, Image) {
    let mut recorder = Recorder::new(flavour);
    let db = recorder.open(Durability::Always);
    recorder.changes(&db);
    recorder.values(&db, 0, 3);
    db.snapshot().unwrap();
    recorder.segment_from = recorder.history.len() - 1;
    recorder.snapshot_from = Some(recorder.segment_from);
    recorder.values(&db, 3, 5);
    drop(db);
    let db = recorder.open(Durability::Always);
    recorder.values(&db, 5, 8);
    if close {
        db.close().unwrap();
    }
    let image = recorder.disk.image();
    drop(db);
    (recorder, image)
}

fn with_snapshot_alone(flavour: &'static str) -> (Recorder, Image) {
    let mut recorder = Recorder::new(flavour);
    let db = recorder.open(Durability::Always);
    recorder.changes(&db);
    db.snapshot().unwrap();
    recorder.segment_from = recorder.history.len() - 1;
    recorder.snapshot_from = Some(recorder.segment_from);
    let image = recorder.disk.image();
    drop(db);
    (recorder, image)
}

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |name, make: &dyn Fn(&'static str) -> (Recorder, Image), has_open_end: bool| {
        let ((recorder, image), (_, foreign)) = (make("mine"), make("your"));
        let whole = recorder.history.len() - 1;
        cases.push(recorder.case(name, image, whole - usize::from(has_open_end), foreign));
    };
    add("killed", &killed, true);
    add("rotated", &rotated, true);
    add("closed", &closed, false);
    add("snapshot, killed", &|flavour| with_snapshot(flavour, false), true);
    add("snapshot, closed", &|flavour| with_snapshot(flavour, true), false);
    add("snapshot alone", &with_snapshot_alone, false);
    cases
}
