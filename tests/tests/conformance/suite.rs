//! The suite: everything `Store` promises, as generic code. Invariant: it knows nothing of the store but the trait.
//!
//! Deadlines lie in the past or far ahead, so that no test waits for one. Every failure names the seed or the step.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use fastrand::Rng;
use kvcore::{
    ChangeKind, Deadline, Entries, Error, Result, ScanPosition, SetOptions, Store, StoreExt, Transaction, Ttl, Value,
    Watch, WatchEvent, WatchOptions,
};
use kvtests::linearizability::{self, Operation, Outcome, Register};
use kvtests::model::{Model, NoInteger};

const THREADS: usize = 8;
/// Seeds of the random operations, always the same ones.
const SEEDS: [u64; 4] = [1, 2, 3, 4];
const OPERATIONS: usize = 1500;
/// A time of the model before every deadline ahead and after every one that has passed.
const NOW_MS: u64 = 2_000_000_000_000;
const PASSED_MS: u64 = 1_000_000_000_000;
const FAR_MS: u64 = 10_000_000_000_000;
/// About as long as it takes until then.
const CENTURIES: Duration = Duration::from_secs(300 * 365 * 86_400);

/// A change that has not come after this never will.
const PATIENCE: Duration = Duration::from_secs(60);

/// An error type of the caller's own.
#[derive(Debug)]
enum Own {
    Broke,
    Store(Error),
}

impl From<Error> for Own {
    fn from(error: Error) -> Self {
        Own::Store(error)
    }
}

/// What a store may promise beyond what every one must.
#[derive(Clone, Copy)]
pub struct Extras {
    /// It can watch keys. One that cannot must say so.
    pub watches: bool,
    /// Its iterators show a key that stays exactly once, also while others write. Those of other stores may show it again.
    pub iterates_once: bool,
}

/// Checks that each store that `make` makes, empty, keeps every promise of [`Store`], and these beside.
///
/// # Panics
///
/// If it does not.
pub fn conform(extras: Extras, make: impl Fn() -> Box<dyn Store>) {
    SEEDS.into_iter().for_each(|seed| does_as_the_model(&*make(), extras, seed));
    deadlines(&*make());
    transactions_are_all_or_nothing(&*make());
    a_panic_changes_nothing(&*make());
    views(&*make());
    errors(&*make());
    keyspaces_are_apart(&*make());
    a_scan_finds_what_stays(&*make(), extras);
    positions_are_a_keyspaces_own(&*make(), &*make());
    clearing(&*make());
    deferred_writes(&*make());
    match extras.watches {
        true => {
            watching(&*make());
            a_watch_in_order(&*make());
        }
        false => cannot_watch(&*make()),
    }
    each_key_is_linearizable(&*make());
    counters_lose_nothing(&*make());
    compare_and_set_elects_one(&*make());
    transfers_are_seen_whole(&*make());
    calls_inside_a_body_are_refused(&*make());
}

// --- against the model -----------------------------------------------------------------------------------------------

/// The key of an operation: few, so that operations meet.
fn key(dice: &mut Rng) -> Vec<u8> {
    let keys: [&[u8]; 8] = [b"", b"a", b"b", b"a:1", b"a:2", b"\0\xff\r\n", b"a longer key than the others", b"n"];
    keys[dice.usize(..keys.len())].to_vec()
}

/// Sometimes a number, sometimes large, sometimes empty.
fn value(dice: &mut Rng) -> Vec<u8> {
    match dice.u8(..10) {
        0 => Vec::new(),
        1..=4 => dice.i64(-1000..1000).to_string().into_bytes(),
        5 => i64::MAX.to_string().into_bytes(),
        6 => vec![dice.u8(..); 20_000],
        _ => (0..dice.usize(..40)).map(|_| dice.u8(..)).collect(),
    }
}

fn deadline(dice: &mut Rng) -> Option<u64> {
    match dice.u8(..6) {
        0 => Some(PASSED_MS + dice.u64(..1000)),
        1 | 2 => Some(FAR_MS + dice.u64(..1000)),
        _ => None,
    }
}

/// What both a transaction and the model can do.
#[derive(Debug)]
enum Write {
    Set(Vec<u8>, Vec<u8>),
    SetWith(Vec<u8>, Vec<u8>, SetOptions),
    Delete(Vec<u8>),
    ExpireAt(Vec<u8>, u64),
    ExpireNow(Vec<u8>),
    Persist(Vec<u8>),
    Increment(Vec<u8>, i64),
    Append(Vec<u8>, Vec<u8>),
    SetRange(Vec<u8>, usize, Vec<u8>),
    CompareAndSet(Vec<u8>, Option<Vec<u8>>, Vec<u8>),
    Rename(Vec<u8>, Vec<u8>),
    Copy(Vec<u8>, Vec<u8>),
}

/// The outcome of a write, as far as both have it.
#[derive(PartialEq, Debug)]
enum Done {
    Unit,
    Bool(bool),
    Number(i64),
    Old(bool, Option<Vec<u8>>),
    NotAnInteger,
    Overflow,
}

impl Write {
    fn random(dice: &mut Rng, model: &Model) -> Write {
        let (one, other) = (key(dice), key(dice));
        match dice.u8(..12) {
            0 => Write::Set(one, value(dice)),
            1 => {
                let mut options = SetOptions::new();
                options = match dice.u8(..4) {
                    0 => options.if_absent(),
                    1 => options.if_present(),
                    _ => options,
                };
                options = match deadline(dice) {
                    Some(ms) => options.expires_at(Deadline::at_ms(ms)),
                    None if dice.bool() => options.keep_deadline(),
                    None => options,
                };
                Write::SetWith(one, value(dice), if dice.bool() { options.return_old() } else { options })
            }
            2 => Write::Delete(one),
            3 => Write::ExpireAt(one, deadline(dice).unwrap_or(FAR_MS)),
            4 => Write::ExpireNow(one),
            5 => Write::Persist(one),
            6 | 7 => Write::Increment(one, if dice.u8(..8) == 0 { i64::MIN } else { dice.i64(-100..100) }),
            8 => Write::Append(one, value(dice)),
            9 => match dice.bool() {
                true => Write::SetRange(one, dice.usize(..30), value(dice)),
                false => {
                    // Half of the time it is what is expected.
                    let is = model.get(&one).map(|entry| entry.value.clone());
                    let expected = if dice.bool() { is } else { dice.bool().then(|| value(dice)) };
                    Write::CompareAndSet(one, expected, value(dice))
                }
            },
            10 => Write::Rename(one, other),
            _ => Write::Copy(one, other),
        }
    }

    fn keys(&self) -> Vec<&[u8]> {
        match self {
            Write::Rename(one, other) | Write::Copy(one, other) => vec![one, other],
            Write::Set(key, _)
            | Write::SetWith(key, ..)
            | Write::Delete(key)
            | Write::ExpireAt(key, _)
            | Write::ExpireNow(key)
            | Write::Persist(key)
            | Write::Increment(key, _)
            | Write::Append(key, _)
            | Write::SetRange(key, ..)
            | Write::CompareAndSet(key, ..) => vec![key],
        }
    }

    /// Does it in a transaction.
    fn within(&self, txn: &mut Transaction<'_>) -> Result<Done> {
        match self {
            Write::Set(key, value) => txn.set(key, value).map(|()| Done::Unit),
            Write::SetWith(key, value, options) => txn.set_with(key, value, *options).map(old),
            Write::Delete(key) => txn.delete(key).map(Done::Bool),
            Write::ExpireAt(key, ms) => txn.expire_at(key, Deadline::at_ms(*ms)).map(Done::Bool),
            Write::ExpireNow(key) => txn.expire(key, Duration::ZERO).map(Done::Bool),
            Write::Persist(key) => txn.persist(key).map(Done::Bool),
            Write::Increment(key, by) => number(txn.increment(key, *by)),
            Write::Append(key, bytes) => txn.append(key, bytes).map(|len| Done::Number(len as i64)),
            Write::SetRange(key, at, bytes) => txn.write_range(key, *at, bytes).map(|len| Done::Number(len as i64)),
            Write::CompareAndSet(key, expected, new) => {
                txn.compare_and_set(key, expected.as_deref(), new).map(Done::Bool)
            }
            Write::Rename(from, to) => txn.rename(from, to).map(Done::Bool),
            Write::Copy(from, to) => txn.copy(from, to).map(Done::Bool),
        }
    }

    /// Does it by the store's own method.
    fn alone(&self, store: &dyn Store) -> Result<Done> {
        match self {
            Write::Set(key, value) => store.set(key, value).map(|()| Done::Unit),
            Write::SetWith(key, value, options) => store.set_with(key, value, *options).map(old),
            Write::Delete(key) => store.delete(key).map(Done::Bool),
            Write::ExpireAt(key, ms) => store.expire_at(key, Deadline::at_ms(*ms)).map(Done::Bool),
            Write::ExpireNow(key) => store.expire(key, Duration::ZERO).map(Done::Bool),
            Write::Persist(key) => store.persist(key).map(Done::Bool),
            Write::Increment(key, by) => number(store.increment(key, *by)),
            Write::Append(key, bytes) => store.append(key, bytes).map(|len| Done::Number(len as i64)),
            Write::SetRange(key, at, bytes) => {
                store.transact(&[key], |txn| txn.write_range(key, *at, bytes)).map(|len| Done::Number(len as i64))
            }
            Write::CompareAndSet(key, expected, new) => {
                store.compare_and_set(key, expected.as_deref(), new).map(Done::Bool)
            }
            Write::Rename(from, to) => store.rename(from, to).map(Done::Bool),
            Write::Copy(from, to) => store.copy(from, to).map(Done::Bool),
        }
    }

    /// Does it to the model.
    fn on(&self, model: &mut Model) -> Done {
        match self {
            Write::Set(key, value) => {
                model.set(key, value, None);
                Done::Unit
            }
            Write::SetWith(key, value, options) => {
                let there = model.get(key).cloned();
                let written = match options.condition {
                    kvcore::Condition::Any => true,
                    kvcore::Condition::Absent => there.is_none(),
                    kvcore::Condition::Present => there.is_some(),
                };
                let deadline_ms = match options.expiry {
                    kvcore::Expiry::Never => None,
                    kvcore::Expiry::At(deadline) => Some(deadline.as_ms()),
                    kvcore::Expiry::Keep => there.as_ref().and_then(|entry| entry.deadline_ms),
                    kvcore::Expiry::In(_) => unreachable!("no such operation is made"),
                };
                if written {
                    model.set(key, value, deadline_ms);
                }
                Done::Old(written, there.filter(|_| options.return_old).map(|entry| entry.value))
            }
            Write::Delete(key) => Done::Bool(model.delete(key).is_some()),
            Write::ExpireAt(key, ms) => Done::Bool(model.set_deadline(key, Some(*ms))),
            Write::ExpireNow(key) => Done::Bool(model.delete(key).is_some()),
            Write::Persist(key) => {
                let had = model.get(key).is_some_and(|entry| entry.deadline_ms.is_some());
                Done::Bool(had && model.set_deadline(key, None))
            }
            Write::Increment(key, by) => {
                let is_number = model.get(key).is_none_or(|entry| {
                    let text = std::str::from_utf8(&entry.value).unwrap_or("");
                    text.parse::<i64>().is_ok_and(|number| number.to_string() == text)
                });
                match model.increment(key, *by) {
                    Ok(sum) => Done::Number(sum),
                    Err(NoInteger) if is_number => Done::Overflow,
                    Err(NoInteger) => Done::NotAnInteger,
                }
            }
            Write::Append(key, bytes) => Done::Number(model.append(key, bytes) as i64),
            Write::SetRange(key, at, bytes) => {
                let (mut value, deadline_ms) =
                    model.get(key).map(|entry| (entry.value.clone(), entry.deadline_ms)).unwrap_or_default();
                if !bytes.is_empty() {
                    value.resize(value.len().max(at + bytes.len()), 0);
                    value[*at..at + bytes.len()].copy_from_slice(bytes);
                    model.set(key, &value, deadline_ms);
                }
                Done::Number(value.len() as i64)
            }
            Write::CompareAndSet(key, expected, new) => {
                let there = model.get(key).cloned();
                let holds = there.as_ref().map(|entry| &entry.value) == expected.as_ref();
                if holds {
                    model.set(key, new, there.and_then(|entry| entry.deadline_ms));
                }
                Done::Bool(holds)
            }
            Write::Rename(from, to) | Write::Copy(from, to) => {
                let Some(entry) = model.get(from).cloned() else { return Done::Bool(false) };
                if from != to {
                    model.set(to, &entry.value, entry.deadline_ms);
                    if matches!(self, Write::Rename(..)) {
                        model.delete(from);
                    }
                }
                Done::Bool(true)
            }
        }
    }
}

fn old(outcome: kvcore::SetOutcome) -> Done {
    Done::Old(outcome.written, outcome.old.map(Value::into_vec))
}

fn number(outcome: Result<i64>) -> Result<Done> {
    match outcome {
        Ok(sum) => Ok(Done::Number(sum)),
        Err(Error::NotAnInteger) => Ok(Done::NotAnInteger),
        Err(Error::Overflow) => Ok(Done::Overflow),
        Err(error) => Err(error),
    }
}

/// Whether a key has the deadline that the model says, as far as a clock that goes on allows.
fn is_about(ttl: Option<Ttl>, entry: Option<&kvtests::model::Entry>) -> bool {
    match (ttl, entry.map(|entry| entry.deadline_ms)) {
        (None, None) | (Some(Ttl::Never), Some(None)) => true,
        (Some(Ttl::In(left)), Some(Some(ms))) => ms >= FAR_MS && left > CENTURIES / 2 && left < CENTURIES,
        _ => false,
    }
}

/// Gathers what an iterator has shown. No key is there twice if the store promises that.
fn gather<V: PartialEq>(shown: impl Iterator<Item = (Vec<u8>, V)>, extras: Extras, of: &str) -> BTreeMap<Vec<u8>, V> {
    let mut gathered = BTreeMap::new();
    for (key, value) in shown {
        let is_again = gathered.insert(key.clone(), value).is_some();
        assert!(!(is_again && extras.iterates_once), "{of}: {:?} again", key.escape_ascii().to_string());
    }
    gathered
}

fn shown(entries: Entries<'_>, extras: Extras, of: &str) -> BTreeMap<Vec<u8>, Vec<u8>> {
    gather(entries.map(|entry| entry.map(|(key, value)| (key.into_vec(), value.into_vec())).unwrap()), extras, of)
}

fn check_contents(store: &dyn Store, extras: Extras, model: &Model, of: &str) {
    let found = shown(store.iter().unwrap(), extras, of);
    let keys = store.keys().unwrap().map(|key| (key.unwrap().into_vec(), ()));
    let keys = gather(keys, extras, of);
    assert!(keys.keys().eq(found.keys()), "{of}");
    let expected: BTreeMap<_, _> = model.iter().map(|(key, entry)| (key.to_vec(), entry.value.clone())).collect();
    assert!(found.keys().eq(expected.keys()), "{of}: {:?}, {:?}", found.keys(), expected.keys());
    for (key, value) in &expected {
        // Values are long: only what differs is shown.
        let differs = found[key].iter().zip(value).position(|(one, other)| one != other);
        let differs = differs.or((found[key].len() != value.len()).then_some(value.len()));
        assert_eq!(differs, None, "{of}: {:?}: {}, {}", key.escape_ascii().to_string(), found[key].len(), value.len());
    }
    assert_eq!(store.len().unwrap(), model.len() as u64, "{of}");
    assert_eq!(store.is_empty().unwrap(), model.is_empty(), "{of}");
    let keys: Vec<_> = expected.keys().collect();
    let values: Vec<_> = store.get_many(&keys).unwrap().into_iter().map(|value| value.unwrap().into_vec()).collect();
    assert!(values.into_iter().eq(expected.into_values()), "{of}");
}

/// Random operations have the results that they have on a plain map.
fn does_as_the_model(store: &dyn Store, extras: Extras, seed: u64) {
    let (mut dice, mut model) = (Rng::with_seed(seed), Model::at(NOW_MS));
    for step in 0..OPERATIONS {
        let at = format!("seed {seed}, step {step}");
        match dice.u8(..20) {
            0..=9 => {
                let write = Write::random(&mut dice, &model);
                let expected = write.on(&mut model);
                assert_eq!(write.alone(store).unwrap(), expected, "{at}: {write:?}");
            }
            10..=13 => {
                // Several in a transaction, which in the end may give up.
                let mut after = model.clone();
                let writes: Vec<_> = (0..dice.usize(1..6)).map(|_| Write::random(&mut dice, &model)).collect();
                let gives_up = dice.u8(..4) == 0;
                let expected: Vec<_> = writes.iter().map(|write| write.on(&mut after)).collect();
                let keys: Vec<_> = writes.iter().flat_map(Write::keys).collect();
                let outcome = store.transact(&keys, |txn| {
                    let done: Vec<_> = writes.iter().map(|write| write.within(txn)).collect::<Result<_>>()?;
                    if gives_up { Err(Error::aborted("as planned")) } else { Ok(done) }
                });
                match outcome {
                    Ok(done) if !gives_up => assert_eq!(done, expected, "{at}: {writes:?}"),
                    Err(Error::Aborted(_)) if gives_up => {}
                    outcome => panic!("{at}: {writes:?}: {outcome:?}"),
                }
                if !gives_up {
                    model = after;
                }
            }
            14 => {
                let write = Write::random(&mut dice, &model);
                let expected = write.on(&mut model);
                let ticket = store.deferred().transact(&write.keys(), |txn| write.within(txn));
                assert_eq!(ticket.unwrap().wait().unwrap(), expected, "{at}: {write:?}");
            }
            15 => {
                let pairs: Vec<_> = (0..dice.usize(..6)).map(|_| (key(&mut dice), value(&mut dice))).collect();
                store.set_many(&pairs).unwrap();
                pairs.iter().for_each(|(key, value)| _ = model.set(key, value, None));
            }
            16..=18 => {
                let key = key(&mut dice);
                let entry = model.get(&key);
                let expected = entry.map(|entry| entry.value.as_slice());
                assert_eq!(store.get(&key).unwrap().as_deref(), expected, "{at}");
                assert_eq!(store.get_durable(&key).unwrap().as_deref(), expected, "{at}");
                assert_eq!(store.get_with(&key, |value| value.to_vec()).unwrap().as_deref(), expected, "{at}");
                assert_eq!(store.exists(&key).unwrap(), entry.is_some(), "{at}");
                assert!(is_about(store.ttl(&key).unwrap(), entry), "{at}: {:?}, {entry:?}", store.ttl(&key));
                let seen = store.view(&[&key], |view| {
                    Ok((view.get(&key)?.map(|value| value.to_vec()), view.exists(&key)?, view.ttl(&key)?))
                });
                let (value, exists, ttl) = seen.unwrap();
                assert_eq!((value.as_deref(), exists), (expected, entry.is_some()), "{at}");
                assert!(is_about(ttl, entry), "{at}");
            }
            _ if dice.u8(..10) == 0 => assert_eq!(store.clear().unwrap(), model.flush() as u64, "{at}"),
            _ => check_contents(store, extras, &model, &at),
        }
    }
    check_contents(store, extras, &model, &format!("seed {seed}, at the end"));
    store.sync().unwrap();
}

// --- one after the other ---------------------------------------------------------------------------------------------

fn deadlines(store: &dyn Store) {
    let passed = Deadline::at_ms(PASSED_MS);
    let outcome = store.set_with("k", "v", SetOptions::new().expires_at(passed)).unwrap();
    assert!(outcome.written, "a write whose deadline has passed is one");
    assert_eq!((store.get("k").unwrap(), store.ttl("k").unwrap(), store.len().unwrap()), (None, None, 0));
    store.set_with("k", "v", SetOptions::new().expires_in(CENTURIES)).unwrap();
    assert!(matches!(store.ttl("k").unwrap(), Some(Ttl::In(left)) if left <= CENTURIES && left > CENTURIES / 2));
    // What keeps the deadline, and what does not.
    store.set("n", "1").unwrap();
    store.expire("n", CENTURIES).unwrap();
    store.increment("n", 1).unwrap();
    store.append("n", "0").unwrap();
    store.compare_and_set("n", Some(b"20"), "21").unwrap();
    store.set_with("n", "22", SetOptions::new().keep_deadline()).unwrap();
    assert!(matches!(store.ttl("n").unwrap(), Some(Ttl::In(_))));
    store.set("n", "23").unwrap();
    assert_eq!(store.ttl("n").unwrap(), Some(Ttl::Never));
    // A deadline too far to count is one all the same.
    assert!(store.expire("n", Duration::MAX).unwrap());
    assert!(matches!(store.ttl("n").unwrap(), Some(Ttl::In(_))));
    assert!(store.expire_at("n", passed).unwrap());
    assert!(!store.exists("n").unwrap());
    // What has expired is not there for a transaction.
    let seen = store.transact(&["n"], |txn| {
        txn.set_with("n", "v", SetOptions::new().expires_at(passed))?;
        Ok((txn.exists("n")?, txn.ttl("n")?, txn.set_with("n", "w", SetOptions::new().if_absent())?.written))
    });
    assert_eq!(seen.unwrap(), (false, None, true));
}

fn transactions_are_all_or_nothing(store: &dyn Store) {
    store.set_many(&[("a", "1"), ("b", "2")]).unwrap();
    let failed = store.transact(&["a", "b", "c"], |txn| {
        txn.delete("a")?;
        txn.rename("b", "c")?;
        txn.increment("c", 1)?;
        Err::<(), _>(Error::aborted("changed my mind"))
    });
    assert!(matches!(failed, Err(Error::Aborted(reason)) if reason.to_string() == "changed my mind"));
    let failed = store.transact(&["a", "b"], |txn| {
        txn.set("a", "text")?;
        txn.delete("b")?;
        txn.increment("a", 1)
    });
    assert!(matches!(failed, Err(Error::NotAnInteger)));
    let failed = store.deferred().transact(&["a"], |txn| {
        txn.set("a", "9")?;
        Err::<(), _>(Error::aborted(""))
    });
    assert!(failed.is_err());
    #[derive(Debug, PartialEq)]
    struct Own;
    impl From<Error> for Own {
        fn from(_: Error) -> Self {
            Own
        }
    }
    let failed = store.try_transact(&["a"], |txn| {
        txn.set("a", "9")?;
        Err::<(), _>(Own)
    });
    assert_eq!(failed, Err(Own));
    let left: Vec<_> = store.get_many(&["a", "b", "c"]).unwrap();
    assert_eq!(left.iter().map(Option::as_deref).collect::<Vec<_>>(), [Some(&b"1"[..]), Some(b"2"), None]);
    // The same key named twice, and no key, are no faults.
    assert_eq!(store.transact(&["a", "b", "a"], |txn| txn.increment("a", 1)).unwrap(), 2);
    assert_eq!(store.transact(&[] as &[&str], |_| Ok("done")).unwrap(), "done");
    store.view(&[] as &[&str], |_| Ok(())).unwrap();
}

fn a_panic_changes_nothing(store: &dyn Store) {
    store.set("a", "1").unwrap();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        store.transact(&["a", "b"], |txn| -> Result<()> {
            txn.rename("a", "b")?;
            panic!("on purpose")
        })
    }));
    assert!(panicked.is_err());
    let panicked = catch_unwind(AssertUnwindSafe(|| store.view(&["a"], |_| -> Result<()> { panic!("on purpose") })));
    assert!(panicked.is_err());
    assert_eq!(store.get("a").unwrap().unwrap(), "1");
    assert!(!store.exists("b").unwrap());
    // Nor does it leave a lock behind, for this thread or for another.
    assert_eq!(store.increment("a", 1).unwrap(), 2);
    thread::scope(|scope| scope.spawn(|| store.increment("a", 1).unwrap()).join().unwrap());
}

fn views(store: &dyn Store) {
    store.set_many(&[("a", "1"), ("b", "2")]).unwrap();
    let seen = store.view(&["b", "a", "c"], |view| {
        let keys = ["a", "b", "c"];
        keys.iter().map(|key| Ok(view.get(key)?.map(|value| value.to_vec()))).collect::<Result<Vec<_>>>()
    });
    assert_eq!(seen.unwrap(), [Some(b"1".to_vec()), Some(b"2".to_vec()), None]);
    let failed = store.view(&["a"], |_| Err::<(), _>(Error::aborted("no")));
    assert!(matches!(failed, Err(Error::Aborted(_))));
}

fn errors(store: &dyn Store) {
    let not_named = |outcome: Result<()>| matches!(outcome, Err(Error::KeyNotNamed { key }) if key == r"not\nnamed");
    let key = "not\nnamed";
    assert!(not_named(store.transact(&["k"], |txn| txn.set(key, ""))));
    assert!(not_named(store.transact(&["k"], |txn| txn.get(key).map(drop))));
    assert!(not_named(store.transact(&["k"], |txn| txn.delete(key).map(drop))));
    assert!(not_named(store.transact(&["k"], |txn| txn.expire(key, CENTURIES).map(drop))));
    assert!(not_named(store.transact(&["k"], |txn| txn.append(key, "").map(drop))));
    assert!(not_named(store.view(&["k"], |view| view.get(key).map(drop))));
    assert!(not_named(store.view(&["k"], |view| view.ttl(key).map(drop))));
    store.set("k", "v").unwrap();
    assert!(not_named(store.transact(&["k"], |txn| txn.rename("k", key).map(drop))));
    assert!(not_named(store.transact(&["k"], |txn| txn.copy(key, "k").map(drop))));

    assert!(matches!(store.increment("k", 1), Err(Error::NotAnInteger)));
    for text in ["", " 1", "1 ", "+1", "01", "-0", "1.0", "9223372036854775808"] {
        store.set("k", text).unwrap();
        assert!(matches!(store.increment("k", 1), Err(Error::NotAnInteger)), "{text:?}");
        assert_eq!(store.get("k").unwrap().unwrap(), text);
    }
    for (edge, by) in [(i64::MAX, 1), (i64::MIN, -1)] {
        store.set("k", edge.to_string()).unwrap();
        assert!(matches!(store.increment("k", by), Err(Error::Overflow)));
        assert_eq!(store.increment("k", 0).unwrap(), edge);
    }
    // A store may limit its keys and values; it says so, and changes nothing.
    let (long, len) = (vec![b'k'; 100_000], store.len().unwrap());
    match store.set(&long, "v") {
        Ok(()) => assert!(store.delete(&long).unwrap()),
        Err(Error::KeyTooLong { len, max }) => assert!(len == long.len() && max < len),
        Err(error) => panic!("a long key: {error:?}"),
    }
    match store.set("large", &long) {
        Ok(()) => assert!(store.delete("large").unwrap()),
        Err(Error::ValueTooLong { len, max }) => assert!(len == long.len() && max < len),
        Err(error) => panic!("a large value: {error:?}"),
    }
    assert_eq!(store.len().unwrap(), len);
}

fn keyspaces_are_apart(store: &dyn Store) {
    let (one, two) = (store.keyspace("suite:one").unwrap(), store.keyspace("suite:two").unwrap());
    for (at, keyspace) in [store, &*one, &*two].into_iter().enumerate() {
        keyspace.set("k", at.to_string()).unwrap();
        keyspace.set(format!("only in {at}"), "v").unwrap();
    }
    for (at, keyspace) in [store, &*one, &*two].into_iter().enumerate() {
        assert_eq!(keyspace.get("k").unwrap().unwrap(), at.to_string().as_str());
        assert_eq!(keyspace.len().unwrap(), 2);
        assert_eq!(keyspace.iter().unwrap().count(), 2);
    }
    assert_eq!(one.clear().unwrap(), 2);
    assert_eq!((store.len().unwrap(), two.len().unwrap()), (2, 2));
    assert_eq!(
        store.keyspace("suite:two").unwrap().get("k").unwrap().unwrap(),
        "2",
        "the same name is the same keyspace"
    );
    assert_eq!(two.keyspace("suite:one").unwrap().len().unwrap(), 0, "and one leads to all others");
}

/// Scans by pages. A key may be returned more than once.
fn scan_keys(store: &dyn Store, at_least: usize, prefix: &[u8]) -> BTreeSet<Vec<u8>> {
    let (mut keys, mut position) = (BTreeSet::new(), None);
    loop {
        let page = store.scan(position.as_ref(), at_least, prefix).unwrap();
        assert!(page.next.is_none() || page.entries.len() >= at_least, "a page that is not the last is full");
        keys.extend(page.entries.into_iter().map(|(key, _)| key.into_vec()));
        position = page.next;
        if position.is_none() {
            return keys;
        }
    }
}

fn a_scan_finds_what_stays(store: &dyn Store, extras: Extras) {
    const KEYS: usize = 300;
    assert!(scan_keys(store, 10, b"").is_empty());
    let stays: Vec<_> = (0..KEYS).map(|i| (format!("stays:{i:03}"), i.to_string())).collect();
    store.set_many(&stays).unwrap();
    store.set("other", "").unwrap();
    for at_least in [1, 7, KEYS, 10 * KEYS] {
        assert_eq!(scan_keys(store, at_least, b"stays:").len(), KEYS, "pages of {at_least}");
    }
    assert_eq!(scan_keys(store, 1, b"").len(), KEYS + 1);
    assert_eq!(scan_keys(store, 5, b"stays:29").len(), 10);
    assert!(scan_keys(store, 5, b"nothing").is_empty());
    for (prefix, count) in [("", KEYS + 1), ("stays:", KEYS), ("stays:29", 10), ("nothing", 0)] {
        assert_eq!(shown(store.prefix(prefix).unwrap(), extras, prefix).len(), count);
    }
    // While others write, and the loop itself does: at least once, or exactly once, and nothing that never was.
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for thread in 0..2 {
            let is_over = &is_over;
            scope.spawn(move || {
                let mut dice = Rng::with_seed(thread);
                while !is_over.load(Ordering::Relaxed) {
                    let key = format!("stirs:{}", dice.u16(..2000));
                    // What is not awaited comes in faster.
                    let _unawaited = match dice.bool() {
                        true => store.deferred().set(&key, "v").map(drop),
                        false => store.deferred().delete(&key).map(drop),
                    };
                }
            });
        }
        let looked = catch_unwind(AssertUnwindSafe(|| {
            for round in 0..5 {
                let mut count = 0;
                let entries = store.prefix("stays:").unwrap().map(|entry| {
                    let (key, value) = entry.unwrap();
                    assert_eq!(number_in(&key["stays:".len()..]), number_in(&value));
                    // Enough for tables to grow meanwhile, at first.
                    let added = [8, 1, 1, 1, 1][round];
                    let pairs: Vec<_> = (0..added).map(|i| (format!("stirs:{round}:{count}:{i}"), "v")).collect();
                    let _unawaited = store.deferred().set_many(&pairs).unwrap();
                    count += 1;
                    (key.into_vec(), ())
                });
                assert_eq!(gather(entries, extras, "while others write").len(), KEYS);
                assert!(
                    scan_keys(store, 100, b"")
                        .iter()
                        .all(|key| { key.starts_with(b"stays:") || key.starts_with(b"stirs:") || key == b"other" })
                );
            }
        }));
        is_over.store(true, Ordering::Relaxed);
        looked.unwrap();
    });
}

fn positions_are_a_keyspaces_own(store: &dyn Store, foreign: &dyn Store) {
    let name = "suite:other";
    let (other, same, elsewhere) =
        (store.keyspace(name).unwrap(), store.keyspace(name).unwrap(), foreign.keyspace(name).unwrap());
    let pairs: Vec<_> = (0..100).map(|i| (format!("k{i}"), "v")).collect();
    for store in [store, &*other, foreign, &*elsewhere] {
        store.set_many(&pairs).unwrap();
    }
    let of_store = store.scan(None, 1, b"").unwrap().next.unwrap();
    let of_other = other.scan(None, 1, b"").unwrap().next.unwrap();
    assert!(store.scan(Some(&of_store), 1, b"").is_ok());
    assert!(same.scan(Some(&of_other), 1, b"").is_ok(), "another handle of the same keyspace");
    let strange = ScanPosition::new(*b"of no store");
    for (scanned, position) in [
        (foreign, &of_store),
        (&*other, &of_store),
        (&*elsewhere, &of_other),
        (store, &of_other),
        (store, &strange),
        (&*other, &ScanPosition::new([])),
    ] {
        let refused = scanned.scan(Some(position), 1, b"");
        assert!(matches!(refused, Err(Error::ForeignPosition)), "{position:?}: {refused:?}");
    }
}

fn number_in(value: &[u8]) -> usize {
    std::str::from_utf8(value).unwrap().parse().unwrap()
}

fn clearing(store: &dyn Store) {
    assert_eq!(store.clear().unwrap(), 0);
    let pairs: Vec<_> = (0..500).map(|i| (format!("k{i}"), vec![b'v'; i * 50])).collect();
    store.set_many(&pairs).unwrap();
    assert_eq!(store.clear().unwrap(), 500);
    assert_eq!(store.len().unwrap(), 0);
    assert!(store.is_empty().unwrap());
    assert!(store.iter().unwrap().next().is_none());
    assert_eq!(store.get("k7").unwrap(), None);
    store.set("k7", "again").unwrap();
    assert_eq!(store.len().unwrap(), 1);
}

fn deferred_writes(store: &dyn Store) {
    let deferred = store.deferred();
    let tickets: Vec<_> = (0..200).map(|i| deferred.increment("n", i).unwrap()).collect();
    assert_eq!(store.get("n").unwrap().unwrap(), "19900", "they are seen at once");
    let mut sum = 0;
    for (i, ticket) in tickets.into_iter().enumerate() {
        sum += i as i64;
        assert_eq!(ticket.wait().unwrap(), sum, "each has its own result");
    }
    drop(deferred.set("dropped", "v").unwrap());
    assert!(store.exists("dropped").unwrap(), "a ticket that is dropped takes nothing back");
    // Awaited instead of waited for.
    assert!(block_on(deferred.set_with("k", "v", SetOptions::new().if_absent()).unwrap()).unwrap().written);
    assert_eq!(block_on(deferred.append("k", "w").unwrap()).unwrap(), 2);
    assert!(block_on(deferred.rename("k", "l").unwrap()).unwrap());
    assert!(block_on(deferred.copy("l", "m").unwrap()).unwrap());
    assert!(!block_on(deferred.copy("k", "m").unwrap()).unwrap());
    assert_eq!(block_on(deferred.transact(&["m"], |txn| txn.append("m", "x")).unwrap()).unwrap(), 3);
    assert_eq!(store.get_many(&["l", "m"]).unwrap().into_iter().flatten().collect::<Vec<_>>(), ["vw", "vwx"]);
    let mut ticket = deferred.delete("l").unwrap();
    assert!(block_on(&mut ticket).unwrap());
    assert!(matches!(block_on(ticket), Err(Error::TicketUsed)), "it yields its result once");
    block_on(deferred.sync().unwrap()).unwrap();
    assert_eq!(block_on(deferred.clear().unwrap()).unwrap(), 3);
    store.sync().unwrap();
}

/// The smallest executor there is.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let (waker, mut future) = (Waker::from(Arc::new(Unpark(thread::current()))), pin!(future));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

/// The next change of a watch, without the keyspace.
fn next_change(watch: &mut Watch) -> (Option<String>, ChangeKind, Option<String>) {
    let text = |value: Value| value.as_str().unwrap().to_owned();
    match watch.next_within(PATIENCE).unwrap() {
        Some(WatchEvent::Change { key, kind, value, .. }) => (key.map(text), kind, value.map(text)),
        event => panic!("{event:?}"),
    }
}

fn cannot_watch(store: &dyn Store) {
    let options = WatchOptions::new().with_values();
    for refused in [store.watch("user:"), store.watch_with("", options), store.begin_watch(b"", options)] {
        assert!(matches!(refused, Err(Error::Unsupported { .. })), "{refused:?}");
    }
}

fn watching(store: &dyn Store) {
    let mut users = store.watch("user:").unwrap();
    let options = WatchOptions::new();
    let mut all = store.watch_with("", options.with_values()).unwrap();
    let mut short = store.watch_with("user:", options.waiting_max(2)).unwrap();
    let other = store.keyspace("suite:other").unwrap();
    let mut elsewhere = other.watch("").unwrap();
    store.set("user:1", "Ada").unwrap();
    store.set("visits", "7").unwrap();
    other.set("user:1", "nobody").unwrap();
    store
        .transact(&["user:2", "user:1"], |txn| {
            txn.set("user:2", "Bob")?;
            txn.delete("user:1")
        })
        .unwrap();
    let failed = store.transact(&["user:3"], |txn| txn.set("user:3", "").and(Err::<(), _>(Error::aborted("no"))));
    assert!(failed.is_err());
    store.rename("user:2", "user:4").unwrap();
    store.clear().unwrap();
    let of = |key: &str, kind| (Some(key.to_owned()), kind, None);
    let set = |key: &str, value: &str| (Some(key.to_owned()), ChangeKind::Set, Some(value.to_owned()));
    use ChangeKind::{Clear, Delete, Set};
    assert_eq!(next_change(&mut users), of("user:1", Set));
    assert_eq!(next_change(&mut users), of("user:2", Set));
    assert_eq!(next_change(&mut users), of("user:1", Delete), "nothing of other keys and keyspaces comes in between");
    let mut renamed = [next_change(&mut users), next_change(&mut users)];
    renamed.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(renamed, [of("user:2", Delete), of("user:4", Set)], "nothing of what was given up");
    assert_eq!(next_change(&mut users), (None, Clear, None), "a cleared keyspace is one change, of no key");
    assert!(users.next_within(Duration::ZERO).unwrap().is_none());

    assert_eq!(next_change(&mut all), set("user:1", "Ada"));
    assert_eq!(next_change(&mut all), set("visits", "7"));
    assert_eq!(next_change(&mut all), set("user:2", "Bob"));

    assert_eq!(next_change(&mut short), of("user:1", Set));
    assert_eq!(next_change(&mut short), of("user:2", Set));
    assert_eq!(short.next_within(PATIENCE).unwrap(), Some(WatchEvent::Missed), "what is read too slowly says so");
    assert!(short.next_within(Duration::ZERO).unwrap().is_none());
    store.set("user:5", "Eve").unwrap();
    assert_eq!(next_change(&mut short), of("user:5", Set), "and goes on");

    match elsewhere.next_within(PATIENCE).unwrap() {
        Some(WatchEvent::Change { keyspace, key, .. }) => {
            assert_eq!((&*keyspace, key.unwrap().as_str()), ("suite:other", Some("user:1")));
        }
        event => panic!("{event:?}"),
    }
    drop((users, all, short, elsewhere));
    store.set("user:6", "nobody watches").unwrap();
}

/// While several threads write, the changes of each key come in their order, and none is left out.
fn a_watch_in_order(store: &dyn Store) {
    const EACH: usize = 50;
    let mut watch = store.watch_with("w:", WatchOptions::new().with_values()).unwrap();
    thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || {
                let (own, shared) = (format!("w:{thread}"), "w:sum");
                for i in 0..EACH {
                    store
                        .transact(&[&*own, shared], |txn| {
                            txn.set(&own, i.to_string())?;
                            txn.increment(shared, 1)
                        })
                        .unwrap();
                }
            });
        }
        let mut next = BTreeMap::<String, usize>::from([("w:sum".to_owned(), 1)]);
        for _ in 0..2 * 4 * EACH {
            let (key, kind, value) = next_change(&mut watch);
            let next = next.entry(key.unwrap()).or_default();
            assert_eq!((kind, number_in(value.unwrap().as_bytes())), (ChangeKind::Set, *next));
            *next += 1;
        }
        assert!(watch.next_within(Duration::ZERO).unwrap().is_none());
    });
}

/// Checks that transactions fail with such an error and change nothing; `within` shows the same keys, without the errors.
pub fn transactions_fail(store: &dyn Store, within: &dyn Store, is_so: impl Fn(&Error) -> bool) {
    let mut runs = 0;
    let outcome = store.transact(&["k"], |txn| {
        runs += 1;
        txn.set("k", "v")
    });
    assert!(outcome.as_ref().is_err_and(&is_so), "{outcome:?}");
    assert!(runs > 0);
    assert!(store.set("k", "v").is_err_and(|error| is_so(&error)));
    assert!(store.increment("n", 1).is_err_and(|error| is_so(&error)));
    assert!(store.deferred().append("k", "v").is_err_and(|error| is_so(&error)));
    assert!(store.deferred().set_many(&[("k", "v")]).is_err_and(|error| is_so(&error)));
    // It is no error of the body, whatever the body returned.
    let own = store.try_transact(&["k"], |_| Err::<(), _>(Own::Broke));
    assert!(matches!(&own, Err(Own::Store(error)) if is_so(error)), "{own:?}");
    assert!(store.get("k").is_err_and(|error| is_so(&error)));
    assert!(within.is_empty().unwrap());
}

/// Checks that every call fails with such an error.
pub fn every_call_fails(store: &dyn Store, is_so: impl Fn(&Error) -> bool) {
    let (deferred, deadline, with) = (store.deferred(), Deadline::at_ms(FAR_MS), SetOptions::new().return_old());
    let mut calls: Vec<(&str, Option<Error>)> = vec![
        ("keyspace", store.keyspace("suite:other").err()),
        ("get", store.get("k").err()),
        ("get_with", store.get_with("k", <[u8]>::len).err()),
        ("get_durable", store.get_durable("k").err()),
        ("get_many", store.get_many(&["k"]).err()),
        ("exists", store.exists("k").err()),
        ("ttl", store.ttl("k").err()),
        ("view", store.view(&["k"], |view| view.exists("k")).err()),
        ("read", store.read(b"k", &mut |_| {}).err()),
        ("len", store.len().err()),
        ("is_empty", store.is_empty().err()),
        ("set", store.set("k", "v").err()),
        ("set_with", store.set_with("k", "v", with).err()),
        ("set_many", store.set_many(&[("k", "v")]).err()),
        ("expire", store.expire("k", CENTURIES).err()),
        ("expire_at", store.expire_at("k", deadline).err()),
        ("persist", store.persist("k").err()),
        ("increment", store.increment("k", 1).err()),
        ("append", store.append("k", "v").err()),
        ("compare_and_set", store.compare_and_set("k", None, "v").err()),
        ("transact", store.transact(&["k"], |txn| txn.set("k", "v")).err()),
        ("try_transact", store.try_transact(&["k"], |txn| txn.set("k", "v")).err()),
        ("rename", store.rename("k", "l").err()),
        ("copy", store.copy("k", "l").err()),
        ("delete", store.delete("k").err()),
        ("clear", store.clear().err()),
        ("sync", store.sync().err()),
        ("scan", store.scan(None, 1, b"").err()),
        ("deferred set", deferred.set("k", "v").err()),
        ("deferred set_with", deferred.set_with("k", "v", with).err()),
        ("deferred set_many", deferred.set_many(&[("k", "v")]).err()),
        ("deferred delete", deferred.delete("k").err()),
        ("deferred expire", deferred.expire("k", CENTURIES).err()),
        ("deferred expire_at", deferred.expire_at("k", deadline).err()),
        ("deferred persist", deferred.persist("k").err()),
        ("deferred increment", deferred.increment("k", 1).err()),
        ("deferred append", deferred.append("k", "v").err()),
        ("deferred compare_and_set", deferred.compare_and_set("k", None, "v").err()),
        ("deferred rename", deferred.rename("k", "l").err()),
        ("deferred copy", deferred.copy("k", "l").err()),
        ("deferred transact", deferred.transact(&["k"], |txn| txn.set("k", "v")).err()),
        ("deferred try_transact", deferred.try_transact(&["k"], |txn| txn.set("k", "v")).err()),
        ("deferred sync", deferred.sync().err()),
        ("deferred clear", block_on(deferred.clear().unwrap()).err()),
    ];
    calls.push(("iter", store.iter().unwrap().next().and_then(Result::err)));
    calls.push(("prefix", store.prefix("k").unwrap().next().and_then(Result::err)));
    calls.push(("keys", store.keys().unwrap().next().and_then(Result::err)));
    let mut watch = store.watch("").unwrap();
    calls.push(("watch", watch.next().and_then(Result::err)));
    assert!(watch.next().is_none(), "an error ends a watch");
    for (call, error) in calls {
        assert!(error.as_ref().is_some_and(&is_so), "{call}: {error:?}");
    }
}

// --- by many threads -------------------------------------------------------------------------------------------------

fn counters_lose_nothing(store: &dyn Store) {
    const EACH: i64 = 200;
    let results: Vec<i64> = thread::scope(|scope| {
        let count = || {
            let sums: Vec<i64> = (0..EACH)
                .map(|i| match i % 3 {
                    0 => store.increment("n", 1).unwrap(),
                    1 => store.deferred().increment("n", 1).unwrap().wait().unwrap(),
                    _ => store.transact(&["n", "other"], |txn| txn.increment("n", 1)).unwrap(),
                })
                .collect();
            assert!(sums.is_sorted(), "a thread's own increments are in order");
            sums
        };
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(count)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let total = THREADS as i64 * EACH;
    assert_eq!(store.get("n").unwrap().unwrap(), total.to_string().as_str());
    let mut results = results;
    results.sort_unstable();
    assert!(results.into_iter().eq(1..=total), "no two have seen the same sum");
}

fn compare_and_set_elects_one(store: &dyn Store) {
    for round in 0..20 {
        let (all, winners) = (Barrier::new(THREADS), AtomicUsize::new(0));
        let key = format!("leader:{round}");
        thread::scope(|scope| {
            for candidate in 0..THREADS {
                let (all, winners, key) = (&all, &winners, &key);
                scope.spawn(move || {
                    all.wait();
                    let wins = match candidate % 2 {
                        0 => store.compare_and_set(key, None, candidate.to_string()).unwrap(),
                        _ => store.set_with(key, candidate.to_string(), SetOptions::new().if_absent()).unwrap().written,
                    };
                    if wins {
                        winners.fetch_add(1, Ordering::Relaxed);
                        assert_eq!(store.get(key).unwrap().unwrap(), candidate.to_string().as_str());
                    }
                });
            }
        });
        assert_eq!(winners.into_inner(), 1, "round {round}");
    }
}

/// Transactions move amounts between keys, in both directions, and some give up: no view and no transaction ever sees another
/// sum.
fn transfers_are_seen_whole(store: &dyn Store) {
    const ACCOUNTS: [&str; 3] = ["a", "b", "c"];
    store.set_many(&ACCOUNTS.map(|account| (account, "100"))).unwrap();
    thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || {
                let mut dice = Rng::with_seed(thread);
                for _ in 0..100 {
                    let (from, to) = (ACCOUNTS[dice.usize(..3)], ACCOUNTS[dice.usize(..3)]);
                    let (amount, gives_up) = (dice.i64(0..50), dice.u8(..4) == 0);
                    let moved = store.transact(&[from, to], |txn| {
                        txn.increment(to, amount)?;
                        let left = txn.increment(from, -amount)?;
                        if gives_up || left < 0 { Err(Error::aborted("not enough")) } else { Ok(()) }
                    });
                    assert!(matches!(moved, Ok(()) | Err(Error::Aborted(_))), "{moved:?}");
                }
            });
        }
        for thread in 0..2 {
            scope.spawn(move || {
                for _ in 0..200 {
                    let sum = match thread {
                        0 => store.view(&ACCOUNTS, |view| {
                            ACCOUNTS
                                .iter()
                                .map(|key| Ok(view.get(key)?.map_or(0, |value| number_in(&value))))
                                .sum::<Result<usize>>()
                        }),
                        _ => store.transact(&ACCOUNTS, |txn| {
                            ACCOUNTS
                                .iter()
                                .map(|key| Ok(txn.get(key)?.map_or(0, |value| number_in(&value))))
                                .sum::<Result<usize>>()
                        }),
                    };
                    assert_eq!(sum.unwrap(), 300);
                }
            });
        }
    });
}

/// Each operation on a key has happened at one moment between its call and its return.
fn each_key_is_linearizable(store: &dyn Store) {
    const KEYS: usize = 2;
    const EACH: usize = 40;
    let (clock, histories) = (linearizability::Watch::default(), Mutex::new(vec![Vec::new(); KEYS]));
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (clock, histories) = (&clock, &histories);
            scope.spawn(move || {
                let mut dice = Rng::with_seed(thread as u64);
                for number in 0..EACH {
                    // No two are the same, so a value that is read tells whose it is.
                    let unique = (1 + thread * EACH + number).to_string();
                    let operation = match dice.u8(..10) {
                        0..4 => Operation::Get,
                        4 => Operation::Set(unique),
                        5 => Operation::Exchange(unique),
                        6 | 7 => Operation::Increment,
                        8 => Operation::Append(dice.u32(1..10).to_string()),
                        _ => Operation::Delete,
                    };
                    let key = dice.usize(..KEYS);
                    let run =
                        |operation: &Operation| Some(do_to_key(store, &format!("k{key}"), operation, number % 2 == 0));
                    let event = clock.time::<Register>(thread, operation, run);
                    histories.lock().unwrap()[key].push(event);
                }
            });
        }
    });
    for history in histories.into_inner().unwrap() {
        linearizability::check(&history).unwrap_or_else(|unproven| panic!("{unproven:?}"));
    }
}

/// Does an operation by a method of its own, or by a transaction.
fn do_to_key(store: &dyn Store, key: &str, operation: &Operation, is_transaction: bool) -> Outcome {
    let text = |value: Option<Value>| Outcome::Value(value.map(|value| value.as_str().unwrap().to_owned()));
    let exchange = SetOptions::new().return_old();
    match operation {
        Operation::Get if is_transaction => text(store.get_durable(key).unwrap()),
        Operation::Get => text(store.get(key).unwrap()),
        Operation::Set(value) => {
            store.set(key, value).unwrap();
            Outcome::Done
        }
        Operation::Exchange(value) => text(store.set_with(key, value, exchange).unwrap().old),
        Operation::Increment => {
            let sum = match is_transaction {
                true => store.transact(&[key], |txn| txn.increment(key, 1)),
                false => store.increment(key, 1),
            };
            match sum {
                Ok(sum) => Outcome::Number(sum),
                Err(Error::NotAnInteger | Error::Overflow) => Outcome::NotAnInteger,
                Err(error) => panic!("{error:?}"),
            }
        }
        Operation::Append(tail) => Outcome::Number(store.append(key, tail).unwrap() as i64),
        Operation::Delete => Outcome::Number(i64::from(store.delete(key).unwrap())),
    }
}

fn calls_inside_a_body_are_refused(store: &dyn Store) {
    store.set("k", "v").unwrap();
    let in_transaction = store.transact(&["k"], |_| store.get("k"));
    assert!(matches!(in_transaction, Err(Error::Reentered)), "{in_transaction:?}");
    let in_transaction = store.transact(&["k"], |_| store.len());
    assert!(matches!(in_transaction, Err(Error::Reentered)), "{in_transaction:?}");
    let in_view = store.view(&["k"], |_| store.set("k", "w"));
    assert!(matches!(in_view, Err(Error::Reentered)), "{in_view:?}");
    let mut in_read = None;
    assert!(store.read(b"k", &mut |_| in_read = Some(store.exists("k"))).unwrap());
    assert!(matches!(in_read, Some(Err(Error::Reentered))), "{in_read:?}");
    assert_eq!(store.get("k").unwrap().unwrap(), "v", "and the store goes on");
}
