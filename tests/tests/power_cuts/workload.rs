//! A random history of a store on a simulated disk, with a ledger: what was begun, what was promised, and what the store
//! must look like after each transaction.
//!
//! Invariant: a lane's transactions follow one another, so after a cut each lane must show exactly one of its states:
//! none before the last promised one, none after the last begun.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use fastrand::Rng;
use kvcore::{Claim, Db, Deadline, Durability, ManualClock, Options, Scope, Store, StoreExt, Txn, Walk};

use crate::disk::{Event, SimDisk};

pub const START_MS: u64 = 1_800_000_000_000;
const KEYS: u64 = 8;

/// What goes into the journal between the disk's operations. The number is that of the lane's transaction, from 1.
#[derive(Clone, Copy, Debug)]
pub enum Note {
    Begun { lane: usize, number: usize },
    Promised { lane: usize, number: usize },
    Time(u64),
}

/// A keyspace's name and a key; its value and deadline.
pub type State = BTreeMap<(String, Vec<u8>), (Vec<u8>, Option<u64>)>;

/// What happened.
pub struct History {
    pub events: Vec<Event>,
    /// For each lane, its states: before everything, after transaction 1, 2, ...
    pub lanes: Vec<Vec<State>>,
}

pub fn options(disk: &SimDisk, now_ms: u64) -> (Options, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(now_ms));
    let options = Options::new().shards(2).segment_bytes(4096).snapshot_log_bytes(u64::MAX).clock(clock.clone());
    (options.disk(Arc::new(disk.clone())), clock)
}

/// Where the store lies.
pub fn dir() -> &'static Path {
    Path::new("store")
}

/// The keyspaces of a lane.
fn spaces(lane: usize) -> [String; 2] {
    [format!("{lane}"), format!("{lane}b")]
}

/// Runs `lanes` threads of `steps` transactions each. `durability` is the store's; single writes of it may ask for more.
pub fn run(seed: u64, lanes: usize, steps: usize, durability: Durability) -> History {
    let disk = SimDisk::default();
    let mut rng = Rng::with_seed(seed);
    let mut now_ms = START_MS;
    let mut all: Vec<Lane> = (0..lanes).map(|lane| Lane::new(lane, rng.u64(..))).collect();
    // Each life of the store ends by being closed or dropped; the next one opens what it left.
    for _ in 0..rng.usize(1..=3) {
        let (options, clock) = options(&disk, now_ms);
        let db = options.durability(durability).open(dir()).unwrap();
        std::thread::scope(|scope| {
            for lane in &mut all {
                let (db, disk, clock) = (&db, &disk, &clock);
                scope.spawn(move || (0..steps).for_each(|_| lane.step(db, disk, clock, lanes == 1)));
            }
        });
        if rng.bool() {
            db.close().unwrap();
        }
        drop(db);
        now_ms = clock.now_ms();
        // A closed store has kept everything, whatever it promised before.
        all.iter().for_each(|lane| disk.note(Note::Promised { lane: lane.index, number: lane.states.len() - 1 }));
    }
    History { events: disk.journal(), lanes: all.into_iter().map(|lane| lane.states).collect() }
}

trait Now {
    fn now_ms(&self) -> u64;
}

impl Now for ManualClock {
    fn now_ms(&self) -> u64 {
        kvcore::Clock::wall_ms(self)
    }
}

struct Lane {
    index: usize,
    rng: Rng,
    states: Vec<State>,
    /// Transactions that were not promised when they were answered, and their places in the log.
    open: Vec<(usize, kvcore::Lsn)>,
}

impl Lane {
    fn new(index: usize, seed: u64) -> Lane {
        Lane { index, rng: Rng::with_seed(seed), states: vec![State::new()], open: Vec::new() }
    }

    fn key(&mut self) -> Vec<u8> {
        format!("key{}", self.rng.u64(..KEYS)).into_bytes()
    }

    fn step(&mut self, db: &Db, disk: &SimDisk, clock: &ManualClock, alone: bool) {
        match self.rng.u8(..40) {
            0 => return db.snapshot().unwrap(),
            // Time is everyone's: only a lane alone may move it.
            1..=3 if alone => {
                clock.advance(self.rng.u64(1..400));
                return disk.note(Note::Time(clock.now_ms()));
            }
            4 if alone => {
                db.sweep();
            }
            _ => {}
        }
        let number = self.states.len();
        let names = spaces(self.index);
        let keyspaces = names.each_ref().map(|name| db.keyspace(name).unwrap());
        let mut state = self.states[number - 1].clone();
        state.retain(|_, (_, deadline)| deadline.is_none_or(|deadline| deadline > clock.now_ms()));
        let what = self.rng.u8(..12);
        // A transaction over several keyspaces promises what its store does.
        let strong = self.rng.u8(..4) == 0 && !matches!(what, 1 | 2);
        disk.note(Note::Begun { lane: self.index, number });
        let which = self.rng.usize(..2);
        let keyspace =
            if strong { keyspaces[which].with_durability(Durability::Always) } else { keyspaces[which].clone() };
        match what {
            0 => {
                keyspace.flush().unwrap();
                state.retain(|(name, _), _| *name != names[which]);
            }
            1 | 2 => {
                // Over both keyspaces: all of it or nothing.
                let keys = [self.key(), self.key()];
                let named: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
                let scope = Scope::Keys(&named);
                let claims = keyspaces.each_ref().map(|keyspace| Claim { keyspace, scope });
                let rng = &mut self.rng;
                db.update_across(&claims, |txn| {
                    for (keyspace, name) in keyspaces.iter().zip(&names) {
                        txn.select(keyspace.id())?;
                        for key in &keys {
                            change(rng, txn, &mut state, name, key);
                        }
                    }
                    Ok(())
                })
                .unwrap();
            }
            _ => {
                let keys: Vec<Vec<u8>> = (0..self.rng.usize(1..=3)).map(|_| self.key()).collect();
                let rng = &mut self.rng;
                keyspace
                    .update(&keys, |txn| {
                        keys.iter().for_each(|key| change(rng, txn, &mut state, &names[which], key));
                        Ok(())
                    })
                    .unwrap();
            }
        }
        self.states.push(state);
        // At least as far as this the log had come when the call returned; what is durable up to there holds.
        self.open.push((number, db.last_lsn()));
        let durable = db.durable_lsn();
        let promised = self.open.iter().filter(|(_, lsn)| *lsn <= durable).map(|(number, _)| *number).max();
        let promised = if db.durability() == Durability::Always { Some(number) } else { promised };
        if let Some(promised) = promised {
            self.open.retain(|(number, _)| *number > promised);
            disk.note(Note::Promised { lane: self.index, number: promised });
        }
    }
}

/// One effect of a transaction, on the store and on its model.
fn change(rng: &mut Rng, txn: &mut (impl Txn + ?Sized), state: &mut State, name: &str, key: &[u8]) {
    let place = (name.to_owned(), key.to_vec());
    let now_ms = txn.now_ms();
    let value: Vec<u8> = std::iter::repeat_n(rng.alphanumeric() as u8, rng.usize(..200)).collect();
    let deadline = (rng.u8(..3) == 0).then(|| now_ms + rng.u64(1..1000));
    match rng.u8(..8) {
        0 => {
            txn.delete(key).unwrap();
            state.remove(&place);
        }
        1 if !value.is_empty() => {
            let offset = rng.usize(..300);
            txn.write_range(key, offset, &value).unwrap();
            let (old, _) = state.entry(place).or_default();
            old.resize(old.len().max(offset + value.len()), 0);
            old[offset..offset + value.len()].copy_from_slice(&value);
        }
        2 => {
            let there = txn.set_deadline(key, deadline.map(Deadline::at_ms)).unwrap();
            assert_eq!(there, state.contains_key(&place) && there, "the model has what the store has");
            if let Some((_, old)) = state.get_mut(&place) {
                *old = deadline;
            }
        }
        _ => {
            txn.set(key, &value, deadline.map(Deadline::at_ms)).unwrap();
            state.insert(place, (value, deadline));
        }
    }
}

/// What a store shows of one lane, as a state.
pub fn shown(db: &Db, lanes: usize) -> Vec<State> {
    let mut states = vec![State::new(); lanes];
    for keyspace in db.keyspaces() {
        let Ok(lane) = keyspace.name().trim_end_matches('b').parse::<usize>() else { continue };
        keyspace
            .for_each(&mut |key, value| {
                let entry = (value.bytes().to_vec(), value.deadline().map(Deadline::as_ms));
                states[lane].insert((keyspace.name().to_owned(), key.to_vec()), entry);
            })
            .unwrap();
    }
    states
}
