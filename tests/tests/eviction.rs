//! Keys that were removed to make room stay removed: after a restart, and after SIGKILL whatever had been shown of them.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use kvtests::process::{Launch, ServerProcess};
use kvtests::server_program;
use kvtests::wait;
use kvtests::wire::{Wire, request};
use tempfile::TempDir;

const KEYS: usize = 1_000;
const VALUE_BYTES: usize = 1_000;

fn server(dir: &TempDir) -> ServerProcess {
    Launch::new(server_program!(), dir.path()).resp().durability("always").start()
}

/// A field of INFO, as a number.
fn info(wire: &mut Wire, field: &str) -> usize {
    let text = wire.text("INFO everything");
    let found = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')?.trim().parse().ok());
    found.unwrap_or_else(|| panic!("no {field} in {text}"))
}

fn set(wire: &mut Wire, number: usize) {
    let key = format!("k{number}");
    // A deadline, so that every policy may remove it; far away, so that nothing else does.
    wire.send(request(&[b"SET", key.as_bytes(), &[b'x'; VALUE_BYTES], b"EX", b"100000"]));
    wire.expect("+OK\r\n");
}

/// The keys that are there, as replies show it.
fn there(wire: &mut Wire, keys: usize) -> BTreeSet<usize> {
    (0..keys).filter(|number| wire.integer(&format!("EXISTS k{number}")) == 1).collect()
}

/// Makes the server remove some hundreds of `KEYS` keys by a policy, and then no more.
fn evict(wire: &mut Wire, policy: &str) {
    (0..KEYS).for_each(|number| set(wire, number));
    let limit = info(wire, "used_memory") - 400 * VALUE_BYTES;
    wire.ask(&format!("CONFIG SET maxmemory-policy {policy}"), "+OK\r\n");
    wire.ask(&format!("CONFIG SET maxmemory {limit}"), "+OK\r\n");
    wait::until_true("keys are evicted", || info(wire, "evicted_keys") >= 100);
    wire.ask("CONFIG SET maxmemory 0", "+OK\r\n");
}

#[test]
fn evicted_keys_stay_gone_after_a_restart_and_after_a_kill() {
    for policy in ["allkeys-lru", "allkeys-random", "volatile-lfu", "volatile-ttl"] {
        for kill in [true, false] {
            let dir = TempDir::new().expect("a temporary directory");
            let mut first = server(&dir);
            let mut wire = first.connect();
            evict(&mut wire, policy);
            let left = there(&mut wire, KEYS);
            assert!(left.len() <= KEYS - 100, "{policy}: {} of {KEYS} keys are there", left.len());
            if kill {
                first.kill();
            } else {
                assert!(first.terminate().success());
            }
            let second = server(&dir);
            let mut wire = second.connect();
            let now = there(&mut wire, KEYS);
            let (back, lost) = (now.difference(&left).count(), left.difference(&now).count());
            assert_eq!((back, lost), (0, 0), "{policy}, killed: {kill}: keys that came back, and that were lost");
            assert_eq!(wire.integer("DBSIZE"), i64::try_from(left.len()).expect("a small number"));
        }
    }
}

/// The number of the key that an `evicted` event names.
fn evicted(message: &[u8]) -> usize {
    let text = String::from_utf8_lossy(message);
    let key = text.trim_end().rsplit("\r\n").next().and_then(|key| key.strip_prefix('k')?.parse().ok());
    key.unwrap_or_else(|| panic!("not an event of a key: {text}"))
}

/// An event reveals the eviction as a reply would: whoever was told has seen what a kill does not take back.
#[test]
fn a_key_that_was_announced_as_evicted_does_not_come_back_after_a_kill() {
    let dir = TempDir::new().expect("a temporary directory");
    let first = server(&dir);
    let (mut writer, mut listener) = (first.connect(), first.connect());
    writer.ask("CONFIG SET notify-keyspace-events Ee", "+OK\r\n");
    listener.send("SUBSCRIBE __keyevent@0__:evicted\r\n");
    listener.reply();
    (0..KEYS).for_each(|number| set(&mut writer, number));
    let limit = info(&mut writer, "used_memory");
    writer.ask("CONFIG SET maxmemory-policy allkeys-random", "+OK\r\n");
    writer.ask(&format!("CONFIG SET maxmemory {limit}"), "+OK\r\n");
    // Keys come and go until the kill; each is written once, so that none comes back by being written again.
    let address = first.address(0);
    let writing = std::thread::spawn(move || {
        let mut wire = Wire::connect(address);
        (KEYS..KEYS * 1_000).find(|number| {
            let key = format!("k{number}");
            let words: [&[u8]; 3] = [b"SET", key.as_bytes(), &[b'x'; VALUE_BYTES]];
            // While it waits for room it refuses; when it is gone there is no reply.
            wire.try_command(&words).is_err()
        })
    });
    let announced: Vec<usize> = (0..300).map(|_| evicted(&listener.reply())).collect();
    first.kill();
    writing.join().expect("the writer").expect("it is gone before so many keys are written");
    let second = server(&dir);
    let mut wire = second.connect();
    let back: Vec<usize> =
        announced.into_iter().filter(|number| wire.integer(&format!("EXISTS k{number}")) == 1).collect();
    assert!(back.is_empty(), "{} keys that were announced as evicted are back, k{} first", back.len(), back[0]);
}
