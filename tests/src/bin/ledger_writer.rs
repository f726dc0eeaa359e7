//! A writer for cuts of the power on a real file system: `tests/ext4_cuts.py` runs it and cuts.
//!
//! Invariant: what a thread does is a function of the seed, the thread and the step's number, so how many steps were
//! acknowledged is all the ledger there has to be; it goes to standard output, outside the file system that is cut.
//!
//! ```text
//! ledger_writer write DIR DURABILITY SEED DONE...   goes on after DONE steps of each thread, prints "THREAD STEPS" each
//!                                                   time so many steps are durable, and ends when a write fails
//! ledger_writer check DIR SEED ACKNOWLEDGED...      prints how many steps of each thread are there; fails unless the
//!                                                   store is what a whole number of steps of each thread leaves
//! ```

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use kvcore::hooks::{CrossTxn, Lsn, Scan, TxnExt};
use kvcore::{Db, Deadline, Durability, Error, Keyspace, LockSet, Options, Result};

/// Steps that a thread has in flight at most: the threads with odd numbers wait once for so many.
const BATCH: u64 = 16;
/// Keys of a thread.
const KEYS: u64 = 24;
/// Counts the steps of all threads that change it together with keys of their own.
const TOTAL: &str = "total";
/// Far enough: no test runs until then.
const DEADLINE: Deadline = Deadline::at_ms(4_000_000_000_000);

/// One step of one thread, in the thread's own keyspace.
enum Step {
    Set {
        key: String,
        value: Vec<u8>,
        expires: bool,
    },
    Append {
        key: String,
        bytes: Vec<u8>,
    },
    Increment,
    Delete {
        key: String,
    },
    /// Two keys of its own, and the total: all of them or none.
    Transfer {
        keys: [String; 2],
        value: Vec<u8>,
    },
    /// Empties the thread's keyspace, leaves a mark there and counts the total up.
    Flush {
        mark: Vec<u8>,
    },
}

/// A thread's keyspace as it should be: values, and whether they have a deadline.
type Model = BTreeMap<Vec<u8>, (Vec<u8>, bool)>;

/// Returns the first number of a generator with this seed.
fn mix(seed: u64) -> u64 {
    fastrand::Rng::with_seed(seed).u64(..)
}

fn step(seed: u64, thread: u64, number: u64) -> Step {
    let dice = mix(mix(mix(seed) ^ thread) ^ number);
    let key = |dice: u64| format!("k{}", dice % KEYS);
    let value = || {
        let length = match dice >> 50 & 63 {
            // Longer than a segment is meant to be.
            0 => 40_000,
            1..8 => 3_000,
            other => other * 8,
        };
        let mut value = format!("{number}:").into_bytes();
        value.resize(value.len() + length as usize, b'a' + (number % 26) as u8);
        value
    };
    match dice % 100 {
        0..40 => Step::Set { key: key(dice >> 8), value: value(), expires: dice >> 20 & 3 == 0 },
        40..60 => Step::Append { key: key(dice >> 8), bytes: format!("+{number}").into_bytes() },
        60..70 => Step::Increment,
        70..80 => Step::Delete { key: key(dice >> 8) },
        80..99 => Step::Transfer { keys: [key(dice >> 8), key(dice >> 16)], value: value() },
        _ => Step::Flush { mark: number.to_string().into_bytes() },
    }
}

impl Step {
    fn counts_in_total(&self) -> bool {
        matches!(self, Step::Transfer { .. } | Step::Flush { .. })
    }

    /// Does it; answers the Lsn to wait for.
    fn run(self, db: &Db, own: &Keyspace) -> Result<Lsn> {
        match self {
            Step::Set { key, value, expires } => own
                .hooks()
                .commit(&[key.as_bytes()], &mut |txn| txn.set(key.as_bytes(), &value, expires.then_some(DEADLINE))),
            Step::Append { key, bytes } => {
                own.hooks().commit(&[key.as_bytes()], &mut |txn| txn.append(key.as_bytes(), &bytes).map(drop))
            }
            Step::Increment => own.hooks().commit(&[b"count"], &mut |txn| txn.increment(b"count", 1).map(drop)),
            Step::Delete { key } => {
                own.hooks().commit(&[key.as_bytes()], &mut |txn| txn.delete(key.as_bytes()).map(drop))
            }
            Step::Transfer { keys: [one, other], value } => {
                let keys = [one.as_bytes(), other.as_bytes()];
                with_total(db, LockSet::new().keys(own, &keys), &mut |txn| {
                    keys.iter().try_for_each(|key| txn.set(key, &value, None))
                })
            }
            Step::Flush { mark } => with_total(db, LockSet::new().whole(own), &mut |txn| {
                txn.clear()?;
                txn.set(b"flushed", &mark, None)
            }),
        }
    }

    fn apply(self, model: &mut Model) {
        match self {
            Step::Set { key, value, expires } => drop(model.insert(key.into(), (value, expires))),
            Step::Append { key, bytes } => model.entry(key.into()).or_default().0.extend(bytes),
            Step::Increment => {
                let count = &mut model.entry(b"count".to_vec()).or_default().0;
                let next = String::from_utf8_lossy(count).parse::<u64>().unwrap_or(0) + 1;
                *count = next.to_string().into_bytes();
            }
            Step::Delete { key } => drop(model.remove(key.as_bytes())),
            Step::Transfer { keys, value } => keys.into_iter().for_each(|key| {
                model.insert(key.into(), (value.clone(), false));
            }),
            Step::Flush { mark } => {
                model.clear();
                model.insert(b"flushed".to_vec(), (mark, false));
            }
        }
    }
}

/// One transaction over the thread's keyspace and the total.
fn with_total(db: &Db, own: LockSet<'_>, body: &mut dyn FnMut(&mut dyn CrossTxn) -> Result<()>) -> Result<Lsn> {
    db.hooks().commit_across(own.keys(db, [TOTAL]), &mut |txn| {
        body(txn)?;
        txn.select(db.hooks().id())?;
        txn.increment(TOTAL.as_bytes(), 1).map(drop)
    })
}

/// A store that rotates its log and writes snapshots all the time.
fn open(dir: &str, durability: Durability) -> Result<Db> {
    Options::new().durability(durability).shards(8).segment_bytes(32 * 1024).snapshot_log_bytes(128 * 1024).open(dir)
}

/// Goes on for ever; only an error ends it.
fn write(dir: &str, durability: Durability, seed: u64, done: &[u64]) -> Result<()> {
    let db = open(dir, durability)?;
    thread::scope(|scope| {
        for (thread, &done) in (0..).zip(done) {
            let db = &db;
            scope.spawn(move || {
                if let Err(error) = write_steps(db, seed, thread, done) {
                    eprintln!("thread {thread}: {error}");
                }
            });
        }
    });
    db.close()
}

fn write_steps(db: &Db, seed: u64, thread: u64, mut done: u64) -> Result<()> {
    let own = db.keyspace(&format!("thread{thread}"))?;
    loop {
        let batch = if thread % 2 == 1 { 1 + mix(done) % BATCH } else { 1 };
        let mut last = Lsn::ZERO;
        for _ in 0..batch {
            // A step that finds nothing to change has the Lsn of what it saw, which may be an older one.
            last = last.max(step(seed, thread, done).run(db, &own)?);
            done += 1;
        }
        own.hooks().wait(last)?;
        // One write a line, so that a line is there whole or not at all, and none is there too early.
        let told = std::io::stdout().lock().write_all(format!("{thread} {done}\n").as_bytes());
        told.expect("standard output takes the ledger");
        if own.durability() != Durability::Always {
            // Without syncs to wait for, the log would outgrow the small disk before a snapshot can shorten it.
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// What is in a keyspace.
fn contents(keyspace: &Keyspace) -> Result<Model> {
    let mut model = Model::new();
    keyspace.for_each(&mut |key, value| {
        model.insert(key.to_vec(), (value.bytes().to_vec(), value.deadline().is_some()));
    })?;
    Ok(model)
}

/// Prints how many steps of each thread are there.
fn check(dir: &str, seed: u64, acknowledged: &[u64]) -> std::result::Result<(), String> {
    let db = open(dir, Durability::Always).map_err(|error| error.to_string())?;
    let mut total = 0;
    let mut there = Vec::new();
    for (thread, &acknowledged) in (0..).zip(acknowledged) {
        let own = db.keyspace(&format!("thread{thread}")).map_err(|error| error.to_string())?;
        let found = contents(&own).map_err(|error| error.to_string())?;
        let (mut model, mut counted, mut right) = (Model::new(), 0, None);
        for number in 0..=acknowledged + BATCH {
            // Two numbers of steps can leave the same only if the steps between them undid each other.
            if model == found {
                right = Some((number, counted));
            }
            let step = step(seed, thread, number);
            counted += u64::from(step.counts_in_total());
            step.apply(&mut model);
        }
        let Some((steps, counted)) = right else {
            return Err(format!(
                "thread {thread}: what is there is left by no number of steps up to {acknowledged} and {BATCH} more"
            ));
        };
        total += counted;
        there.push(steps.to_string());
    }
    let found = db.get(TOTAL).map_err(|error| error.to_string())?.map_or(0, |value| {
        // Anything but a number is as wrong as a wrong number.
        String::from_utf8_lossy(&value).parse().unwrap_or(u64::MAX)
    });
    if found != total {
        return Err(format!("the total is {found}, what the threads did makes {total}: half a transaction"));
    }
    println!("{}", there.join(" "));
    db.close().map_err(|error| error.to_string())
}

fn run(words: &[&str]) -> std::result::Result<(), String> {
    let numbers = |words: &[&str]| words.iter().map(|word| word.parse()).collect::<std::result::Result<Vec<u64>, _>>();
    let usage = || "usage: ledger_writer write DIR DURABILITY SEED DONE... | check DIR SEED ACKNOWLEDGED...".to_owned();
    match words {
        ["write", dir, durability, rest @ ..] => {
            let durability = match *durability {
                "always" => Durability::Always,
                "everysec" => Durability::EverySecond,
                "os" => Durability::Os,
                _ => return Err(usage()),
            };
            let rest = numbers(rest).map_err(|_| usage())?;
            let (seed, done) = rest.split_first().ok_or_else(usage)?;
            write(dir, durability, *seed, done).map_err(|error: Error| error.to_string())
        }
        ["check", dir, rest @ ..] => {
            let rest = numbers(rest).map_err(|_| usage())?;
            let (seed, acknowledged) = rest.split_first().ok_or_else(usage)?;
            check(dir, *seed, acknowledged)
        }
        _ => Err(usage()),
    }
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match run(&words.iter().map(String::as_str).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}
