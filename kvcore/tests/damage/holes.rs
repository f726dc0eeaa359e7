//! Histories of a store, with where each of its transactions stands in the log, and damage to some of them.
//!
//! Invariant: each transaction is a frame of its own.

use std::collections::{BTreeMap, BTreeSet};

use kvcore::{Db, Deadline, Durability, LockSet, Options, SetOptions};
use proptest::prelude::*;

use crate::disk::{Image, MemoryDisk, dir};
use crate::history::{NOW_MS, options};

/// Values of this length are logged in parts.
const LARGE: usize = 8 * 1024;

#[derive(Clone, Debug)]
pub enum Change {
    Set { keyspace: usize, key: u8, large: bool, deadline: bool },
    SetTwo { keyspace: usize, other: usize, key: u8 },
    Delete { keyspace: usize, key: u8 },
    Append { keyspace: usize, key: u8 },
    Deadline { keyspace: usize, key: u8, set: bool },
    Flush { keyspace: usize },
    Swap { one: usize, other: usize },
    Drop { keyspace: usize },
    Snapshot,
    Reopen,
}

const NAMES: [&str; 3] = ["0", "one", "two"];

/// What a transaction says of what has a number in the log.
#[derive(Clone, Debug)]
pub enum Effect {
    Whole {
        id: u32,
        key: u8,
    },
    /// Of a part of the value, or of the deadline.
    Part {
        id: u32,
        key: u8,
    },
    Clear {
        id: u32,
    },
    Name {
        id: u32,
        name: &'static str,
    },
    Drop {
        id: u32,
    },
}

pub type Entries = BTreeMap<u8, (Vec<u8>, Option<u64>)>;

/// What holds after a transaction.
#[derive(Clone, Default, Debug)]
pub struct Moment {
    pub names: BTreeMap<&'static str, u32>,
    pub entries: BTreeMap<u32, Entries>,
}

/// Where a transaction stands in the log.
#[derive(Clone, Debug)]
pub struct Place {
    pub file: String,
    pub from: usize,
}

#[derive(Default)]
pub struct Recorder {
    pub disk: MemoryDisk,
    now: Moment,
    next_id: u32,
    /// Of each transaction, from 1 on: its effects, what held after it, and its place.
    pub log: Vec<(Vec<Effect>, Moment, Place)>,
    /// What a snapshot stands for.
    pub start: usize,
    tokens: u32,
}

fn opened(disk: &MemoryDisk) -> Options {
    options(disk).durability(Durability::Always).segment_bytes(24 * 1024)
}

impl Recorder {
    fn token(&mut self) -> String {
        self.tokens += 1;
        format!("<{}>", self.tokens)
    }

    /// Runs what is one transaction, or none if it has nothing to change.
    fn step<R>(&mut self, db: &Db, effects: Vec<Effect>, run: impl FnOnce() -> R) {
        let (before, last) = (self.disk.image(), db.hooks().last_lsn().get());
        run();
        // A frame of its own.
        db.hooks().wait(db.hooks().last_lsn()).unwrap();
        let logged = db.hooks().last_lsn().get() - last;
        assert_eq!(logged, u64::from(!effects.is_empty()), "{effects:?}");
        if effects.is_empty() {
            return;
        }
        let (file, from) = self
            .disk
            .image()
            .into_iter()
            .find_map(|(name, after)| {
                let was = before.get(&name).map_or(&[][..], |was| was);
                // A new segment begins with a header.
                let from =
                    if was.is_empty() { 48 } else { (0..after.len()).find(|at| was.get(*at) != Some(&after[*at]))? };
                name.starts_with("wal-").then_some((name, from / 8 * 8))
            })
            .unwrap();
        self.log.push((effects, self.now.clone(), Place { file, from }));
    }

    fn keyspace(&mut self, db: &Db, index: usize) -> (kvcore::Keyspace, u32) {
        let name = NAMES[index];
        let id = match self.now.names.get(name) {
            Some(id) => {
                return (db.keyspace(name).unwrap(), *id);
            }
            None => self.next_id,
        };
        self.next_id += 1;
        self.now.names.insert(name, id);
        self.now.entries.insert(id, Entries::new());
        self.step(db, vec![Effect::Name { id, name }], || db.keyspace(name).unwrap());
        (db.keyspace(name).unwrap(), id)
    }

    pub fn open(&mut self) -> Db {
        let disk = self.disk.clone();
        if self.next_id > 0 {
            return opened(&disk).open(dir()).unwrap();
        }
        // The first transaction of all names the default keyspace.
        let db = opened(&disk).open(dir()).unwrap();
        db.hooks().wait(db.hooks().last_lsn()).unwrap();
        self.next_id = 1;
        self.now.names.insert("0", 0);
        self.now.entries.insert(0, Entries::new());
        let file = disk.image().into_keys().find(|name| name.starts_with("wal-")).unwrap();
        self.log.push((vec![Effect::Name { id: 0, name: "0" }], self.now.clone(), Place { file, from: 48 }));
        assert_eq!(db.hooks().last_lsn().get(), 1);
        db
    }

    pub fn change(&mut self, db: &mut Db, change: &Change) {
        match *change {
            Change::Set { keyspace, key, large, deadline } => {
                let (space, id) = self.keyspace(db, keyspace);
                let value = format!("{}{}", self.token(), if large { "x".repeat(LARGE) } else { String::new() });
                let deadline = deadline.then_some(NOW_MS + 1_000_000 + u64::from(self.tokens));
                let options =
                    deadline.map_or(SetOptions::new(), |ms| SetOptions::new().expires_at(Deadline::at_ms(ms)));
                self.now.entries.get_mut(&id).unwrap().insert(key, (value.clone().into_bytes(), deadline));
                self.step(db, vec![Effect::Whole { id, key }], || {
                    drop(space.set_with([key], &value, options).unwrap())
                });
            }
            Change::SetTwo { keyspace, other, key } => {
                let ((one, one_id), (two, two_id)) = (self.keyspace(db, keyspace), self.keyspace(db, other));
                let value = self.token();
                let effects = vec![Effect::Whole { id: one_id, key }, Effect::Whole { id: two_id, key }];
                for id in [one_id, two_id] {
                    self.now.entries.get_mut(&id).unwrap().insert(key, (value.clone().into_bytes(), None));
                }
                let keys: [&[u8]; 1] = [&[key]];
                let claims = LockSet::new().keys(&one, &keys).keys(&two, &keys);
                self.step(db, effects, || {
                    db.hooks()
                        .transact_across(claims, |txn| {
                            txn.set(&[key], value.as_bytes(), None)?;
                            txn.select(two.hooks().id())?;
                            txn.set(&[key], value.as_bytes(), None)
                        })
                        .unwrap();
                });
            }
            Change::Delete { keyspace, key } => {
                let (space, id) = self.keyspace(db, keyspace);
                let was = self.now.entries.get_mut(&id).unwrap().remove(&key);
                let effects = was.iter().map(|_| Effect::Whole { id, key }).collect();
                self.step(db, effects, || space.delete([key]).unwrap());
            }
            Change::Append { keyspace, key } => {
                let (space, id) = self.keyspace(db, keyspace);
                let token = self.token();
                let entry = self.now.entries.get_mut(&id).unwrap().entry(key).or_default();
                let is_part = entry.0.len() >= LARGE;
                entry.0.extend_from_slice(token.as_bytes());
                let effect = if is_part { Effect::Part { id, key } } else { Effect::Whole { id, key } };
                self.step(db, vec![effect], || space.append([key], &token).unwrap());
            }
            Change::Deadline { keyspace, key, set } => {
                let (space, id) = self.keyspace(db, keyspace);
                self.tokens += 1;
                let deadline = NOW_MS + 1_000_000 + u64::from(self.tokens);
                let mut effects = Vec::new();
                if let Some((_, was)) = self.now.entries.get_mut(&id).unwrap().get_mut(&key)
                    && (set || was.is_some())
                {
                    *was = set.then_some(deadline);
                    effects.push(Effect::Part { id, key });
                }
                self.step(db, effects, || match set {
                    true => space.expire_at([key], Deadline::at_ms(deadline)).unwrap(),
                    false => space.persist([key]).unwrap(),
                });
            }
            Change::Flush { keyspace } => {
                let (space, id) = self.keyspace(db, keyspace);
                self.now.entries.insert(id, Entries::new());
                self.step(db, vec![Effect::Clear { id }], || space.clear().unwrap());
            }
            Change::Swap { one, other } => {
                if one == other {
                    return;
                }
                let ((_, one_id), (_, other_id)) = (self.keyspace(db, one), self.keyspace(db, other));
                let names = [(NAMES[one], other_id), (NAMES[other], one_id)];
                self.now.names.extend(names);
                let effects = names.map(|(name, id)| Effect::Name { id, name }).to_vec();
                self.step(db, effects, || db.swap(NAMES[one], NAMES[other]).unwrap());
            }
            Change::Drop { keyspace } => {
                if keyspace == 0 {
                    return;
                }
                let id = self.now.names.remove(NAMES[keyspace]);
                id.map(|id| self.now.entries.remove(&id));
                let effects = id.map(|id| Effect::Drop { id }).into_iter().collect();
                self.step(db, effects, || db.drop_keyspace(NAMES[keyspace]).unwrap());
            }
            Change::Snapshot => {
                db.snapshot().unwrap();
                self.start = self.log.len();
            }
            Change::Reopen => {
                db.close().unwrap();
                *db = self.open();
            }
        }
    }
}

pub fn any_change() -> impl Strategy<Value = Change> {
    let (keyspace, key) = (0..NAMES.len(), 0..4_u8);
    prop_oneof![
        8 => (keyspace.clone(), key.clone(), prop::bool::weighted(0.3), any::<bool>())
            .prop_map(|(keyspace, key, large, deadline)| Change::Set { keyspace, key, large, deadline }),
        2 => (keyspace.clone(), keyspace.clone(), key.clone())
            .prop_filter_map("two", |(keyspace, other, key)| (keyspace != other)
                .then_some(Change::SetTwo { keyspace, other, key })),
        3 => (keyspace.clone(), key.clone()).prop_map(|(keyspace, key)| Change::Delete { keyspace, key }),
        5 => (keyspace.clone(), key.clone()).prop_map(|(keyspace, key)| Change::Append { keyspace, key }),
        4 => (keyspace.clone(), key, any::<bool>())
            .prop_map(|(keyspace, key, set)| Change::Deadline { keyspace, key, set }),
        1 => keyspace.clone().prop_map(|keyspace| Change::Flush { keyspace }),
        1 => (keyspace.clone(), keyspace.clone()).prop_map(|(one, other)| Change::Swap { one, other }),
        1 => keyspace.prop_map(|keyspace| Change::Drop { keyspace }),
        1 => Just(Change::Snapshot),
        1 => Just(Change::Reopen),
    ]
}

#[derive(Clone, Debug)]
pub enum Damage {
    /// A byte of a transaction's frame, header or body.
    Flip(prop::sample::Index, usize),
    /// A byte of the header of the segment that holds the transaction.
    Header(prop::sample::Index, usize),
    /// That segment.
    Remove(prop::sample::Index),
}

pub fn any_damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        6 => (any::<prop::sample::Index>(), 0..56_usize).prop_map(|(which, byte)| Damage::Flip(which, byte)),
        1 => (any::<prop::sample::Index>(), 0..48_usize).prop_map(|(which, byte)| Damage::Header(which, byte)),
        1 => any::<prop::sample::Index>().prop_map(Damage::Remove),
    ]
}

/// Damages the image, and returns which transactions are lost by that.
pub fn damage(recorder: &Recorder, image: &mut Image, all: &[Damage]) -> BTreeSet<u64> {
    let mut lost = BTreeSet::new();
    for damage in all {
        let (Damage::Flip(index, _) | Damage::Header(index, _) | Damage::Remove(index)) = damage;
        let at = index.index(recorder.log.len());
        let Place { file, from } = &recorder.log[at].2;
        // Its segment may be gone after a snapshot.
        let Some(bytes) = image.get_mut(file) else { continue };
        if let Damage::Flip(_, byte) = damage {
            // Twice the same byte would be none at all.
            if lost.insert(at as u64 + 1) {
                bytes[from + byte] ^= 0x41;
            }
            continue;
        }
        match damage {
            Damage::Header(_, byte) => {
                bytes[*byte] ^= 0x41;
                // All but the salt can be told without it.
                if !(32..40).contains(byte) {
                    break;
                }
            }
            _ => drop(image.remove(file)),
        }
        lost.extend((1..).zip(&recorder.log).filter(|(_, (_, _, place))| place.file == *file).map(|(lsn, _)| lsn));
        if matches!(damage, Damage::Header(..)) {
            // Once is enough.
            break;
        }
    }
    lost
}
