//! Random histories on the engine and on a plain map: the same answers, also after reopening and snapshots.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and looks at files itself"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kvcore::hooks::Scan;
use kvcore::{Db, Durability, ManualClock, Options, SetOptions, Ttl};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Set(u8, usize),
    SetTtl(u8, usize, u64),
    SetIfAbsent(u8, usize),
    Keep(u8, usize),
    Delete(u8),
    Append(u8, usize),
    WriteRange(u8, usize, usize),
    Expire(u8, u64),
    Persist(u8),
    Move(u8, u8),
    GiveUp(u8, u8),
    Flush,
    Pass(u64),
    Sweep,
    Snapshot,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0..12_u8;
    // Lengths around the border between small and large values.
    let len = prop_oneof![0..20_usize, 8_180..8_200_usize, 20_000..20_010_usize];
    let ttl = prop_oneof![0..200_u64, 0..100_000_u64];
    prop_oneof![
        4 => (key.clone(), len.clone()).prop_map(|(k, n)| Step::Set(k, n)),
        3 => (key.clone(), len.clone(), ttl.clone()).prop_map(|(k, n, t)| Step::SetTtl(k, n, t)),
        1 => (key.clone(), len.clone()).prop_map(|(k, n)| Step::SetIfAbsent(k, n)),
        1 => (key.clone(), len.clone()).prop_map(|(k, n)| Step::Keep(k, n)),
        2 => key.clone().prop_map(Step::Delete),
        3 => (key.clone(), len.clone()).prop_map(|(k, n)| Step::Append(k, n)),
        3 => (key.clone(), len.clone(), 0..30_usize).prop_map(|(k, at, n)| Step::WriteRange(k, at, n)),
        3 => (key.clone(), ttl.clone()).prop_map(|(k, t)| Step::Expire(k, t)),
        1 => key.clone().prop_map(Step::Persist),
        2 => (key.clone(), key.clone()).prop_map(|(a, b)| Step::Move(a, b)),
        2 => (key.clone(), key.clone()).prop_map(|(a, b)| Step::GiveUp(a, b)),
        1 => Just(Step::Flush),
        3 => ttl.prop_map(Step::Pass),
        1 => Just(Step::Sweep),
        1 => Just(Step::Snapshot),
        1 => Just(Step::Reopen),
    ]
}

#[derive(Default)]
struct Model {
    entries: BTreeMap<Vec<u8>, (Vec<u8>, Option<u64>)>,
    now_ms: u64,
}

impl Model {
    fn expire(&mut self) {
        let now_ms = self.now_ms;
        self.entries.retain(|_, (_, deadline)| deadline.is_none_or(|deadline| deadline > now_ms));
    }

    fn set(&mut self, key: &[u8], value: Vec<u8>, deadline: Option<u64>) {
        self.entries.insert(key.to_vec(), (value, deadline));
        self.expire();
    }
}

fn key(k: u8) -> Vec<u8> {
    format!("key{k}").into_bytes()
}

fn check(steps: Vec<Step>, shards: usize) {
    const START_MS: u64 = 1_700_000_000_000;
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at(START_MS));
    let options =
        Options::new().durability(Durability::Os).clock(clock.clone()).shards(shards).segment_bytes(64 * 1024);
    let mut db = options.clone().open(dir.path()).unwrap();
    let mut model = Model { now_ms: START_MS, ..Model::default() };
    for (i, step) in steps.into_iter().enumerate() {
        let value = |n: usize| vec![i as u8; n];
        match step {
            Step::Set(k, n) => {
                db.set(key(k), value(n)).unwrap();
                model.set(&key(k), value(n), None);
            }
            Step::SetTtl(k, n, ttl) => {
                let options = SetOptions::new().expires_in(Duration::from_millis(ttl)).return_old();
                let old = db.set_with(key(k), value(n), options).unwrap().old;
                assert_eq!(old.as_deref(), model.entries.get(&key(k)).map(|(value, _)| &value[..]));
                model.set(&key(k), value(n), Some(model.now_ms + ttl));
            }
            Step::SetIfAbsent(k, n) => {
                let written = db.set_with(key(k), value(n), SetOptions::new().if_absent()).unwrap().written;
                assert_eq!(written, !model.entries.contains_key(&key(k)));
                if written {
                    model.set(&key(k), value(n), None);
                }
            }
            Step::Keep(k, n) => {
                db.set_with(key(k), value(n), SetOptions::new().keep_deadline()).unwrap();
                let deadline = model.entries.get(&key(k)).and_then(|(_, deadline)| *deadline);
                model.set(&key(k), value(n), deadline);
            }
            Step::Delete(k) => {
                assert_eq!(db.delete(key(k)).unwrap(), model.entries.remove(&key(k)).is_some());
            }
            Step::Append(k, n) => {
                let (old, deadline) = model.entries.get(&key(k)).cloned().unwrap_or_default();
                let new = [old, value(n)].concat();
                assert_eq!(db.append(key(k), value(n)).unwrap(), new.len());
                model.set(&key(k), new, deadline);
            }
            Step::WriteRange(k, at, n) => {
                let len = db.transact(&[key(k)], |txn| txn.write_range(key(k), at, value(n))).unwrap();
                if n > 0 {
                    let (mut new, deadline) = model.entries.get(&key(k)).cloned().unwrap_or_default();
                    new.resize(new.len().max(at + n), 0);
                    new[at..at + n].copy_from_slice(&value(n));
                    model.set(&key(k), new, deadline);
                }
                assert_eq!(len, model.entries.get(&key(k)).map_or(0, |(value, _)| value.len()));
            }
            Step::Expire(k, ttl) => {
                let there = db.expire(key(k), Duration::from_millis(ttl)).unwrap();
                assert_eq!(there, model.entries.contains_key(&key(k)));
                let now_ms = model.now_ms;
                if let Some((_, deadline)) = model.entries.get_mut(&key(k)) {
                    *deadline = Some(now_ms + ttl);
                }
                model.expire();
            }
            Step::Persist(k) => {
                let had = model.entries.get_mut(&key(k)).is_some_and(|(_, deadline)| deadline.take().is_some());
                assert_eq!(db.persist(key(k)).unwrap(), had);
            }
            Step::Move(a, b) => {
                db.hooks()
                    .transact(&[key(a), key(b)], |txn| {
                        if let Some(value) = txn.get(&key(a))? {
                            let (value, deadline) = (value.to_vec(), value.deadline());
                            txn.delete(&key(a))?;
                            txn.set(&key(b), &value, deadline)?;
                        }
                        Ok(())
                    })
                    .unwrap();
                if let Some((value, deadline)) = model.entries.remove(&key(a)) {
                    model.set(&key(b), value, deadline);
                }
            }
            Step::GiveUp(a, b) => {
                let given_up = db.transact(&[key(a), key(b)], |txn| {
                    txn.append(key(a), value(9_000))?;
                    txn.set(key(b), value(5))?;
                    txn.expire(key(a), Duration::from_secs(9))?;
                    txn.delete(key(b))?;
                    Err::<(), _>(kvcore::Error::aborted("given up"))
                });
                assert!(given_up.is_err());
            }
            Step::Flush => {
                assert_eq!(db.clear().unwrap(), model.entries.len() as u64);
                model.entries.clear();
            }
            Step::Pass(ms) => {
                clock.advance(ms);
                model.now_ms += ms;
                model.expire();
            }
            Step::Sweep => {
                db.sweep();
            }
            Step::Snapshot => db.snapshot().unwrap(),
            Step::Reopen => {
                drop(db);
                db = options.clone().open(dir.path()).unwrap();
            }
        }
        compare(&db, &model);
    }
    drop(db);
    compare(&options.shards(shards * 4).open(dir.path()).unwrap(), &model);
}

fn compare(db: &Db, model: &Model) {
    let mut found = BTreeMap::new();
    db.for_each(&mut |key, value| {
        let deadline = value.deadline().map(|deadline| deadline.as_ms());
        found.insert(key.to_vec(), (value.to_vec(), deadline));
    })
    .unwrap();
    assert!(found == model.entries, "the store and the model differ");
    for k in 0..12 {
        let expected = model.entries.get(&key(k));
        assert_eq!(db.get(key(k)).unwrap().as_deref(), expected.map(|(value, _)| &value[..]));
        let ttl = expected.map(|(_, deadline)| match deadline {
            Some(deadline) => Ttl::In(Duration::from_millis(deadline - model.now_ms)),
            None => Ttl::Never,
        });
        assert_eq!(db.ttl(key(k)).unwrap(), ttl);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn any_history_reads_as_the_model_does(
        steps in prop::collection::vec(step(), 1..120),
        shards in prop_oneof![Just(1_usize), Just(8)],
    ) {
        check(steps, shards);
    }
}
