//! Concurrent clients see one store: histories of 50 of them on a few keys, of a server (with and without a SIGKILL in
//! the middle) and of an embedded store, are linearizable.
//!
//! A failure prints the seed of the operations and the part of the history that cannot have happened. `KV_SEED` gives the
//! seed; `KV_LINEARIZABLE_ROUNDS` does everything more than once, with a seed each.

#![forbid(unsafe_code)]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};
use std::thread;

use fastrand::Rng;
use kvcore::{Db, Durability, Error, Options};
use kvtests::linearizability::{Event, Model, Operation, Outcome, Register, Unproven, Watch, check};
use kvtests::process::Launch;
use kvtests::server_program;
use kvtests::wait;
use kvtests::wire::{Wire, push_request, show};
use tempfile::TempDir;

const CLIENTS: usize = 50;
const KEYS: usize = 4;
/// Operations of each client.
const OPERATIONS: usize = 60;

/// Runs a test with a new seed so many times.
fn rounds(run: impl Fn(u64)) {
    let number = |variable| std::env::var(variable).ok().map(|text: String| text.parse().expect("a number"));
    for round in 0..number("KV_LINEARIZABLE_ROUNDS").unwrap_or(1) {
        let seed = number("KV_SEED").unwrap_or_else(|| fastrand::u64(..)).wrapping_add(round);
        println!("KV_SEED={seed}");
        run(seed);
    }
}

/// What client `client` does as its operation `number`.
fn operation(dice: &mut Rng, client: usize, number: usize) -> Operation {
    // No two are the same, so a value that is read tells whose it is.
    let unique = (1 + client * OPERATIONS + number).to_string();
    match dice.u32(0..10) {
        0..4 => Operation::Get,
        4 => Operation::Set(unique),
        5 => Operation::Exchange(unique),
        6 | 7 => Operation::Increment,
        8 => Operation::Append(dice.u32(1..10).to_string()),
        _ => Operation::Delete,
    }
}

/// Checks the history of each key.
#[track_caller]
fn expect_linearizable<M: Model>(histories: Vec<Vec<Event<M>>>, what: &str, seed: u64) {
    let (mut known, mut unknown, mut given_up) = (0, 0, 0);
    for (key, history) in histories.iter().enumerate() {
        known += history.iter().filter(|event| event.outcome.is_some()).count();
        unknown += history.iter().filter(|event| event.outcome.is_none()).count();
        match check(history) {
            Ok(()) => {}
            Err(Unproven::Impossible(told)) => panic!("{what}, KV_SEED={seed}, key {key}: {told}"),
            // On a machine that is busy with other things all clients may be under way at once.
            Err(Unproven::GivenUp) => given_up += 1,
        }
    }
    println!("{what}: {known} operations with a known outcome, {unknown} without; {given_up} histories given up");
    assert!(given_up <= KEYS / 2, "{what}, KV_SEED={seed}: the histories are too large to be checked");
}

/// Lets 50 clients do their operations at once; `client` answers the events of one, each with its key.
fn record<M: Model>(client: impl Fn(usize, &Watch) -> Vec<(usize, Event<M>)> + Sync) -> Vec<Vec<Event<M>>>
where
    Event<M>: Send,
{
    let (watch, start) = (Watch::default(), Barrier::new(CLIENTS));
    let all = Mutex::new((0..KEYS).map(|_| Vec::new()).collect::<Vec<_>>());
    thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (client, watch, start, all) = (&client, &watch, &start, &all);
            scope.spawn(move || {
                start.wait();
                let events = client(number, watch);
                let mut all = all.lock().expect("no client failed");
                for (key, event) in events {
                    all[key].push(event);
                }
            });
        }
    });
    all.into_inner().expect("no client failed")
}

/// An operation as a request.
fn push(operation: &Operation, key: &str, out: &mut Vec<u8>) {
    match operation {
        Operation::Get => push_request(&["GET", key], out),
        Operation::Set(value) => push_request(&["SET", key, value], out),
        Operation::Exchange(value) => push_request(&["SET", key, value, "GET"], out),
        Operation::Increment => push_request(&["INCR", key], out),
        Operation::Append(tail) => push_request(&["APPEND", key, tail], out),
        Operation::Delete => push_request(&["DEL", key], out),
    }
}

/// What a reply says; nothing if it is an error that leaves the outcome open.
fn outcome(reply: &[u8]) -> Option<Outcome> {
    let text = String::from_utf8_lossy(reply);
    let line = text.lines().next().expect("a line");
    match line.split_at(1) {
        ("+", "OK") => Some(Outcome::Done),
        (":", number) => Some(Outcome::Number(number.parse().expect("a number"))),
        ("$", "-1") => Some(Outcome::Value(None)),
        ("$", _) => Some(Outcome::Value(Some(text.lines().nth(1).expect("a value").to_owned()))),
        ("-", error) if error.starts_with("ERR value is not an integer") || error.contains("overflow") => {
            Some(Outcome::NotAnInteger)
        }
        ("-", error) if error.starts_with("MISCONF ") => None,
        _ => panic!("{}", show(reply)),
    }
}

/// Where the server listens now, and how many operations were done.
struct Place {
    address: Mutex<SocketAddr>,
    done: AtomicUsize,
}

impl Place {
    /// A connection to the server, which may be about to start.
    fn connect(&self) -> Wire {
        wait::until("a server that takes connections", || {
            Wire::try_connect(*self.address.lock().expect("nobody failed")).ok()
        })
    }
}

fn client_of_server(place: &Place, client: usize, watch: &Watch, seed: u64) -> Vec<(usize, Event<Register>)> {
    let mut dice = Rng::with_seed(seed ^ (client as u64) << 32);
    let mut wire = place.connect();
    let mut events = Vec::new();
    for number in 0..OPERATIONS {
        let key = dice.usize(0..KEYS);
        let mut broken = false;
        events.push((
            key,
            watch.time(client, operation(&mut dice, client, number), |operation| {
                let mut request = Vec::new();
                push(operation, &format!("k{key}"), &mut request);
                let reply = wire.try_send(&request).and_then(|()| wire.try_reply());
                broken = reply.is_err();
                reply.ok().and_then(|reply| outcome(&reply))
            }),
        ));
        place.done.fetch_add(1, Ordering::Relaxed);
        if broken {
            wire = place.connect();
            // It listens, so the one before has ended.
            events.last_mut().expect("an event").1.returned = watch.now();
        }
    }
    events
}

/// `kills`: after so many operations of all clients the server is killed and started again.
fn server_histories(durability: &str, kills: &[usize], seed: u64) {
    let dir = TempDir::new().expect("a temporary directory");
    let launch = Launch::new(server_program!(), dir.path()).resp().durability(durability).arguments(["--loops", "3"]);
    let server = launch.start();
    let place = Place { address: Mutex::new(server.address(0)), done: AtomicUsize::new(0) };
    let histories = thread::scope(|scope| {
        let place = &place;
        let killer = scope.spawn(move || {
            let mut server = server;
            for &kill in kills {
                wait::until_true("operations", || place.done.load(Ordering::Relaxed) >= kill);
                server.kill();
                server = launch.start();
                *place.address.lock().expect("nobody failed") = server.address(0);
            }
            server
        });
        let histories = record(|client, watch| client_of_server(place, client, watch, seed));
        drop(killer.join().expect("a server"));
        histories
    });
    expect_linearizable(histories, &format!("a server, {durability}, {} kills", kills.len()), seed);
}

#[test]
fn clients_of_a_server_see_one_store() {
    rounds(|seed| {
        server_histories("always", &[], seed);
        server_histories("everysec", &[], seed);
    });
}

#[test]
fn clients_see_one_store_over_kills() {
    rounds(|seed| {
        let all = CLIENTS * OPERATIONS;
        server_histories("always", &[all / 5, all / 2, all * 4 / 5], seed);
    });
}

/// Two keys that are read and written together.
#[derive(Debug)]
struct Pair;

#[derive(Clone, Debug)]
enum OnPair {
    /// MULTI, GET, GET, EXEC.
    Get,
    /// MGET.
    GetMany,
    /// MULTI, SET, SET, EXEC.
    Set(String),
    /// MULTI, INCR of one, GET of the other, EXEC.
    Increment(usize),
    /// SET of one, alone.
    SetOne(usize, String),
}

type Two = [Option<String>; 2];

impl Model for Pair {
    type State = Two;
    type Operation = OnPair;
    /// The reply's bytes, which hold what is to be told apart.
    type Outcome = String;

    fn step(state: &Two, operation: &OnPair) -> (String, Two) {
        let bulk = |value: &Option<String>| match value {
            Some(value) => format!("${}\r\n{value}\r\n", value.len()),
            None => "$-1\r\n".to_owned(),
        };
        let mut after = state.clone();
        let told = match operation {
            OnPair::Get | OnPair::GetMany => format!("*2\r\n{}{}", bulk(&state[0]), bulk(&state[1])),
            OnPair::Set(value) => {
                after = [Some(value.clone()), Some(value.clone())];
                "*2\r\n+OK\r\n+OK\r\n".to_owned()
            }
            OnPair::Increment(which) => {
                let number = state[*which].as_deref().unwrap_or("0").parse::<i64>().expect("numbers only") + 1;
                after[*which] = Some(number.to_string());
                format!("*2\r\n:{number}\r\n{}", bulk(&state[1 - which]))
            }
            OnPair::SetOne(which, value) => {
                after[*which] = Some(value.clone());
                "+OK\r\n".to_owned()
            }
        };
        (told, after)
    }

    fn observes(operation: &OnPair) -> bool {
        matches!(operation, OnPair::Get | OnPair::GetMany)
    }

    fn forgets(operation: &OnPair) -> bool {
        matches!(operation, OnPair::Set(_))
    }
}

impl OnPair {
    fn push(&self, keys: [&str; 2], out: &mut Vec<u8>) {
        let mut transaction = |one: &[&str], other: &[&str]| {
            push_request(&["MULTI"], out);
            push_request(one, out);
            push_request(other, out);
            push_request(&["EXEC"], out);
        };
        match self {
            OnPair::Get => transaction(&["GET", keys[0]], &["GET", keys[1]]),
            OnPair::Set(value) => transaction(&["SET", keys[0], value], &["SET", keys[1], value]),
            OnPair::Increment(which) => transaction(&["INCR", keys[*which]], &["GET", keys[1 - which]]),
            OnPair::GetMany => push_request(&["MGET", keys[0], keys[1]], out),
            OnPair::SetOne(which, value) => push_request(&["SET", keys[*which], value], out),
        }
    }

    /// How many replies come, of which the last one counts.
    fn replies(&self) -> usize {
        if matches!(self, OnPair::GetMany | OnPair::SetOne(..)) { 1 } else { 4 }
    }
}

#[test]
fn transactions_over_two_keys_are_one_step() {
    rounds(|seed| {
        let dir = TempDir::new().expect("a temporary directory");
        let launch = Launch::new(server_program!(), dir.path()).resp().durability("always");
        let server = launch.arguments(["--loops", "3"]).start();
        let histories = record(|client, watch| {
            let mut dice = Rng::with_seed(seed ^ (client as u64) << 32);
            let mut wire = server.connect();
            let mut events = Vec::new();
            for number in 0..OPERATIONS {
                let pair = dice.usize(0..KEYS);
                let unique = (1_000_000 * (1 + client * OPERATIONS + number)).to_string();
                let operation = match dice.u32(0..10) {
                    0..3 => OnPair::Get,
                    3 => OnPair::GetMany,
                    4 | 5 => OnPair::Set(unique),
                    6..9 => OnPair::Increment(dice.usize(0..2)),
                    _ => OnPair::SetOne(dice.usize(0..2), unique),
                };
                events.push((
                    pair,
                    watch.time::<Pair>(client, operation, |operation| {
                        let mut request = Vec::new();
                        operation.push([&format!("a{pair}"), &format!("b{pair}")], &mut request);
                        wire.send(request);
                        let replies: Vec<_> = (0..operation.replies()).map(|_| wire.reply()).collect();
                        replies.last().map(|reply| String::from_utf8_lossy(reply).into_owned())
                    }),
                ));
            }
            events
        });
        expect_linearizable(histories, "transactions over two keys", seed);
    });
}

/// One operation of an embedded store.
fn run_embedded(db: &Db, key: &str, operation: &Operation) -> Result<Outcome, Error> {
    let text = |value: Option<kvcore::Value>| value.map(|value| String::from_utf8_lossy(&value).into_owned());
    Ok(match operation {
        Operation::Get => Outcome::Value(text(db.get(key)?)),
        Operation::Set(value) => {
            db.set(key, value)?;
            Outcome::Done
        }
        Operation::Exchange(value) => Outcome::Value(db.transact(&[key], |txn| {
            let old = txn.get(key.as_bytes())?.map(|old| String::from_utf8_lossy(old.bytes()).into_owned());
            txn.set(key.as_bytes(), value.as_bytes())?;
            Ok(old)
        })?),
        Operation::Increment => match db.increment(key, 1) {
            Ok(number) => Outcome::Number(number),
            Err(Error::NotAnInteger | Error::Overflow) => Outcome::NotAnInteger,
            Err(other) => return Err(other),
        },
        // Deferred and then waited for, for once.
        Operation::Append(tail) => Outcome::Number(db.deferred().append(key, tail)?.wait()? as i64),
        Operation::Delete => Outcome::Number(i64::from(db.delete(key)?)),
    })
}

#[test]
fn threads_of_an_embedded_store_see_one_store() {
    rounds(|seed| {
        let dir = TempDir::new().expect("a temporary directory");
        let durable = |name: &str, durability| {
            // Short segments, so that the log goes from one to the next; snapshots run beside it.
            let options = Options::new().durability(durability).segment_bytes(16 * 1024).snapshot_log_bytes(32 * 1024);
            options.open(dir.path().join(name)).expect("a store")
        };
        for (what, db) in [
            ("embedded, in memory", Db::in_memory()),
            ("embedded, always", durable("always", Durability::Always)),
            ("embedded, every second", durable("everysec", Durability::EverySecond)),
        ] {
            let histories = record::<Register>(|client, watch| {
                let mut dice = Rng::with_seed(seed ^ (client as u64) << 32);
                (0..OPERATIONS)
                    .map(|number| {
                        let key = dice.usize(0..KEYS);
                        let operation = operation(&mut dice, client, number);
                        let run = |operation: &Operation| {
                            // Without it each would be done before the next begins.
                            thread::yield_now();
                            Some(run_embedded(&db, &format!("k{key}"), operation).expect("a store that works"))
                        };
                        (key, watch.time(client, operation, run))
                    })
                    .collect()
            });
            expect_linearizable(histories, what, seed);
        }
    });
}

/// What the tests above would say if a store answered from before, or forgot: a history that was recorded, spoilt.
#[test]
fn a_stale_read_or_a_lost_update_in_a_real_history_is_caught() {
    let db = Db::in_memory();
    let record_once = || {
        db.clear_all().expect("a store that works");
        record::<Register>(|client, watch| {
            let mut dice = Rng::with_seed(client as u64);
            (0..OPERATIONS)
                .map(|number| {
                    let (key, operation) = (dice.usize(0..KEYS), operation(&mut dice, client, number));
                    let run = |operation: &Operation| run_embedded(&db, &format!("k{key}"), operation).ok();
                    (key, watch.time(client, operation, run))
                })
                .collect()
        })
    };
    // On a busy machine all clients may be under way at once, which leaves too many orders to try: then the history of
    // another key is taken, or of another run.
    let can_be_checked = |history: &Vec<Event<Register>>| match check(history) {
        Ok(()) => true,
        Err(Unproven::GivenUp) => false,
        Err(Unproven::Impossible(told)) => panic!("{told}"),
    };
    let recorded = (0..10).flat_map(|_| record_once()).find(can_be_checked).expect("a history that can be checked");
    // As if an increment had been lost: two that did not overlap answer the same number, with nothing in between.
    let end = recorded.iter().map(|event| event.returned).max().expect("a history") + 1;
    let after = |operation, outcome, at: u64| Event::<Register> {
        client: 0,
        operation,
        outcome: Some(outcome),
        called: end + 2 * at,
        returned: end + 2 * at + 1,
    };
    let lost = [
        after(Operation::Set("7".to_owned()), Outcome::Done, 0),
        after(Operation::Increment, Outcome::Number(8), 1),
        after(Operation::Increment, Outcome::Number(8), 2),
    ];
    let with = |more: &[Event<Register>]| [&recorded[..], more].concat();
    assert_eq!(check(&with(&lost[..2])), Ok(()));
    assert!(check(&with(&lost)).is_err());
    // As if a replica that lags had answered.
    let stale = [
        after(Operation::Set("7".to_owned()), Outcome::Done, 0),
        after(Operation::Set("8".to_owned()), Outcome::Done, 1),
        after(Operation::Get, Outcome::Value(Some("7".to_owned())), 2),
    ];
    let Err(Unproven::Impossible(told)) = check(&with(&stale)) else { panic!("a stale read") };
    assert!(told.contains("Get -> Value(Some(\"7\"))"), "{told}");
}
