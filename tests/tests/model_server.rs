//! Random commands against the plain model: the server answers what an ordered map with deadlines would answer,
//! and holds the same after a kill.

#![forbid(unsafe_code)]

use kvtests::model::Model;
use kvtests::process::Launch;
use kvtests::server_program;
use kvtests::wire::{Wire, bulk, push_request, show};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tempfile::TempDir;

/// Long gone, and so far away that no test run reaches it: time itself plays no part here.
const PAST_MS: u64 = 1_000;
const FUTURE_MS: u64 = 33_177_117_420_000;

#[derive(Clone, Debug)]
enum Command {
    Get(u8),
    Set { key: u8, value: Vec<u8>, deadline_ms: Option<u64>, keep: bool },
    Delete(u8),
    Exists(u8),
    Append { key: u8, tail: Vec<u8> },
    Increment { key: u8, by: i64 },
    ExpireAt { key: u8, deadline_ms: u64 },
    Persist(u8),
    ExpireTime(u8),
    Size,
    Flush,
}

fn commands() -> impl Strategy<Value = Vec<Command>> {
    let key = 0..12_u8;
    let value = prop_oneof![
        3 => proptest::collection::vec(any::<u8>(), 0..40),
        2 => any::<i32>().prop_map(|number| number.to_string().into_bytes()),
        1 => (2_000..40_000_usize).prop_map(|length| vec![b'L'; length]),
    ];
    let deadline = prop_oneof![Just(PAST_MS), FUTURE_MS..FUTURE_MS + 1000];
    let command = prop_oneof![
        4 => key.clone().prop_map(Command::Get),
        6 => (key.clone(), value.clone(), proptest::option::weighted(0.3, deadline.clone()), any::<bool>())
            .prop_map(|(key, value, deadline_ms, keep)| Command::Set { key, value, deadline_ms, keep }),
        2 => key.clone().prop_map(Command::Delete),
        1 => key.clone().prop_map(Command::Exists),
        3 => (key.clone(), value).prop_map(|(key, tail)| Command::Append { key, tail }),
        3 => (key.clone(), prop_oneof![any::<i64>(), -5..5_i64]).prop_map(|(key, by)| Command::Increment { key, by }),
        2 => (key.clone(), deadline).prop_map(|(key, deadline_ms)| Command::ExpireAt { key, deadline_ms }),
        1 => key.clone().prop_map(Command::Persist),
        2 => key.prop_map(Command::ExpireTime),
        1 => Just(Command::Size),
        1 => Just(Command::Flush),
    ];
    // FLUSH is rare enough not to keep the store empty.
    proptest::collection::vec(command, 1..120)
}

fn name(key: u8) -> Vec<u8> {
    format!("key:{key}").into_bytes()
}

fn integer(number: impl std::fmt::Display) -> Vec<u8> {
    format!(":{number}\r\n").into_bytes()
}

impl Command {
    /// Appends the request, applies the command to `model`, and answers the reply it must have.
    fn apply(&self, model: &mut Model, requests: &mut Vec<u8>) -> Vec<u8> {
        let digits = |number: &dyn std::fmt::Display| number.to_string().into_bytes();
        match self {
            Command::Get(key) => {
                push_request(&[b"GET".to_vec(), name(*key)], requests);
                model.get(&name(*key)).map_or(b"$-1\r\n".to_vec(), |entry| bulk(&entry.value))
            }
            Command::Set { key, value, deadline_ms, keep } => {
                let mut words = vec![b"SET".to_vec(), name(*key), value.clone()];
                let mut deadline = *deadline_ms;
                match deadline {
                    Some(at_ms) => words.extend([b"PXAT".to_vec(), digits(&at_ms)]),
                    None if *keep => {
                        deadline = model.get(&name(*key)).and_then(|entry| entry.deadline_ms);
                        words.push(b"KEEPTTL".to_vec());
                    }
                    None => {}
                }
                push_request(&words, requests);
                model.set(&name(*key), value, deadline);
                b"+OK\r\n".to_vec()
            }
            Command::Delete(key) => {
                push_request(&[b"DEL".to_vec(), name(*key)], requests);
                integer(u8::from(model.delete(&name(*key)).is_some()))
            }
            Command::Exists(key) => {
                push_request(&[b"EXISTS".to_vec(), name(*key)], requests);
                integer(u8::from(model.get(&name(*key)).is_some()))
            }
            Command::Append { key, tail } => {
                push_request(&[b"APPEND".to_vec(), name(*key), tail.clone()], requests);
                integer(model.append(&name(*key), tail))
            }
            Command::Increment { key, by } => {
                push_request(&[b"INCRBY".to_vec(), name(*key), digits(by)], requests);
                let is_integer = model.clone().increment(&name(*key), 0).is_ok();
                match model.increment(&name(*key), *by) {
                    Ok(sum) => integer(sum),
                    Err(_) if is_integer => b"-ERR increment or decrement would overflow\r\n".to_vec(),
                    Err(_) => b"-ERR value is not an integer or out of range\r\n".to_vec(),
                }
            }
            Command::ExpireAt { key, deadline_ms } => {
                push_request(&[b"PEXPIREAT".to_vec(), name(*key), digits(deadline_ms)], requests);
                integer(u8::from(model.set_deadline(&name(*key), Some(*deadline_ms))))
            }
            Command::Persist(key) => {
                push_request(&[b"PERSIST".to_vec(), name(*key)], requests);
                let had = model.get(&name(*key)).is_some_and(|entry| entry.deadline_ms.is_some());
                model.set_deadline(&name(*key), None);
                integer(u8::from(had))
            }
            Command::ExpireTime(key) => {
                push_request(&[b"PEXPIRETIME".to_vec(), name(*key)], requests);
                match model.get(&name(*key)).map(|entry| entry.deadline_ms) {
                    None => integer(-2),
                    Some(None) => integer(-1),
                    Some(Some(deadline_ms)) => integer(deadline_ms),
                }
            }
            Command::Size => {
                push_request(&["DBSIZE"], requests);
                integer(model.len())
            }
            Command::Flush => {
                push_request(&["FLUSH"], requests);
                integer(model.flush())
            }
        }
    }
}

/// Compares everything the server holds with `model`.
fn compare(wire: &mut Wire, model: &Model) -> Result<(), TestCaseError> {
    prop_assert_eq!(wire.integer("DBSIZE"), i64::try_from(model.len()).expect("a small number"));
    for (key, entry) in model.iter() {
        let key = String::from_utf8_lossy(key);
        let value = wire.command(&format!("GET {key}"));
        prop_assert!(value == bulk(&entry.value), "{}: {}", key, show(&value));
        let deadline = wire.integer(&format!("PEXPIRETIME {key}"));
        prop_assert_eq!(deadline, entry.deadline_ms.map_or(-1, |at_ms| i64::try_from(at_ms).expect("a small number")));
    }
    Ok(())
}

/// Runs `commands` pipelined, and compares each reply.
fn run(wire: &mut Wire, model: &mut Model, commands: &[Command]) -> Result<(), TestCaseError> {
    let mut requests = Vec::new();
    let replies: Vec<_> = commands.iter().map(|command| command.apply(model, &mut requests)).collect();
    wire.send(requests);
    for (command, expected) in commands.iter().zip(replies) {
        let reply = wire.reply();
        prop_assert!(reply == expected, "{command:?}: expected {}, received {}", show(&expected), show(&reply));
    }
    Ok(())
}

fn runner(cases: u32) -> TestRunner {
    // No file of failures is kept: the message shows the smallest failing commands.
    TestRunner::new(Config { cases, failure_persistence: None, max_shrink_iters: 500, ..Config::default() })
}

/// An empty model, at a time between the two deadlines that commands use.
fn empty() -> Model {
    Model::at(PAST_MS + 1)
}

#[test]
fn every_reply_is_the_model_s() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = Launch::new(server_program!(), dir.path()).resp().durability("os").start();
    let result = runner(200).run(&commands(), |commands| {
        let mut wire = server.connect();
        wire.ask("FLUSHALL", "+OK\r\n");
        let mut model = empty();
        run(&mut wire, &mut model, &commands)?;
        compare(&mut wire, &model)
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn a_kill_changes_nothing_that_was_answered() {
    let dir = TempDir::new().expect("a temporary directory");
    let launch = Launch::new(server_program!(), dir.path()).resp().durability("always");
    // The second half is run on what the restart found, with a snapshot between the two for every other case.
    let result = runner(12).run(&(commands(), commands(), any::<bool>()), |(first, second, snapshot)| {
        let mut model = empty();
        let server = launch.start();
        let mut wire = server.connect();
        wire.ask("FLUSHALL", "+OK\r\n");
        run(&mut wire, &mut model, &first)?;
        if snapshot {
            wire.ask("SAVE", "+OK\r\n");
        }
        run(&mut wire, &mut model, &second)?;
        server.kill();
        let server = launch.start();
        compare(&mut server.connect(), &model)
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}
