//! Durability `always`: what was acknowledged is there after SIGKILL, whenever it comes.
//!
//! Each client owns some keys and counts in each of them; a reply moves the count on. So after a kill a key's count
//! must be the last acknowledged one, or the one that was in flight: nothing older, nothing newer, nothing else.
//! Readers keep what they saw: a count that was once shown to anyone must not be taken back either.

#![forbid(unsafe_code)]

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use kvtests::process::{Launch, ServerProcess};
use kvtests::server_program;
use kvtests::wait;
use kvtests::wire::{Wire, push_request, show};
use tempfile::TempDir;

const CLIENTS: usize = 50;
/// Readers beside the writing clients.
const READERS: usize = 2;

/// How a client counts in a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// SET to the count, followed by filling so that records differ in length.
    Set,
    /// INCR.
    Increment,
    /// SET when the count is odd, DEL when it is even.
    Toggle,
    /// MULTI, SET of two keys to the count, EXEC: both or neither.
    Pair,
}

const WAYS: [Way; 8] = [Way::Set, Way::Set, Way::Set, Way::Set, Way::Set, Way::Increment, Way::Toggle, Way::Pair];

/// What a client knows of one of its keys.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    acknowledged: u64,
    /// At most one more.
    sent: u64,
}

/// What one client did, by the index of [`WAYS`].
type Ledger = [Count; WAYS.len()];

fn key(client: usize, index: usize) -> String {
    format!("client:{client}:{index}")
}

/// What a key that is counted in `way` holds when the count is `count`.
fn value(way: Way, count: u64) -> Option<Vec<u8>> {
    let filled = || format!("{count}:{}", "x".repeat(usize::try_from(count * 37 % 200).expect("a small number")));
    match way {
        _ if count == 0 => None,
        Way::Set | Way::Pair => Some(filled().into_bytes()),
        Way::Increment => Some(count.to_string().into_bytes()),
        Way::Toggle if count % 2 == 1 => Some(filled().into_bytes()),
        Way::Toggle => None,
    }
}

/// Writes in batches of one write a key, until the server is gone.
fn write_until_killed(wire: &mut Wire, client: usize, ledger: &mut Ledger, acknowledged: &AtomicU64) -> io::Error {
    loop {
        if let Err(error) = write_batch(wire, client, ledger, acknowledged) {
            return error;
        }
    }
}

fn write_batch(wire: &mut Wire, client: usize, ledger: &mut Ledger, acknowledged: &AtomicU64) -> io::Result<()> {
    let mut requests = Vec::new();
    for (index, (way, count)) in WAYS.into_iter().zip(ledger.iter_mut()).enumerate() {
        count.sent = count.acknowledged + 1;
        let key = key(client, index);
        let value = value(way, count.sent);
        match (way, &value) {
            (Way::Increment, _) => push_request(&["INCR", &key], &mut requests),
            (Way::Pair, Some(value)) => {
                push_request(&["MULTI"], &mut requests);
                push_request(&[b"SET", key.as_bytes(), value], &mut requests);
                push_request(&[b"SET", format!("{key}:twin").as_bytes(), value], &mut requests);
                push_request(&["EXEC"], &mut requests);
            }
            (_, Some(value)) => push_request(&[b"SET", key.as_bytes(), value], &mut requests),
            (_, None) => push_request(&["DEL", &key], &mut requests),
        }
    }
    wire.try_send(&requests)?;
    for (way, count) in WAYS.into_iter().zip(ledger.iter_mut()) {
        let expected = match way {
            Way::Increment => format!(":{}\r\n", count.sent),
            Way::Toggle if count.sent % 2 == 0 => ":1\r\n".to_owned(),
            Way::Pair => "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n+OK\r\n".to_owned(),
            Way::Set | Way::Toggle => "+OK\r\n".to_owned(),
        };
        let reply = wire.try_take(expected.len())?;
        assert_eq!(show(&reply), show(expected.as_bytes()), "client {client}, {way:?}");
        count.acknowledged = count.sent;
        acknowledged.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Reads the first key of every client, over and over, until the server is gone; answers the highest counts seen.
fn read_until_killed(wire: &mut Wire) -> Vec<u64> {
    let mut words = vec!["MGET".to_owned()];
    words.extend((0..CLIENTS).map(|client| key(client, 0)));
    let mut seen = vec![0; CLIENTS];
    loop {
        let Ok(reply) = wire.try_command(&words) else {
            return seen;
        };
        for (seen, count) in seen.iter_mut().zip(counts_in(&reply)) {
            *seen = (*seen).max(count);
        }
    }
}

/// The counts in an MGET's reply; 0 for a key that is not there.
fn counts_in(reply: &[u8]) -> Vec<u64> {
    let text = String::from_utf8_lossy(reply);
    let mut lines = text.split("\r\n").skip(1);
    let mut counts = Vec::new();
    while let Some(header) = lines.next() {
        match header {
            "" => break,
            "$-1" => counts.push(0),
            _ => {
                let value = lines.next().expect("a value");
                let count = value.split(':').next().expect("a count");
                counts.push(count.parse().expect("a number"));
            }
        }
    }
    counts
}

/// Compares every key with the ledgers; what is found is what the clients go on from.
fn verify(wire: &mut Wire, ledgers: &mut [Ledger], what: &str) {
    let mut requests = Vec::new();
    for client in 0..ledgers.len() {
        for (index, way) in WAYS.into_iter().enumerate() {
            push_request(&["GET", &key(client, index)], &mut requests);
            if way == Way::Pair {
                push_request(&["GET", &format!("{}:twin", key(client, index))], &mut requests);
            }
        }
    }
    wire.send(requests);
    for (client, ledger) in ledgers.iter_mut().enumerate() {
        for (index, (way, count)) in WAYS.into_iter().zip(ledger.iter_mut()).enumerate() {
            let found = wire.reply();
            let is = |count| match value(way, count) {
                Some(value) => found == kvtests::wire::bulk(value),
                None => found == b"$-1\r\n",
            };
            let key = key(client, index);
            let Some(found_count) = [count.sent, count.acknowledged].into_iter().find(|&count| is(count)) else {
                panic!("{what}: {key} ({way:?}): {count:?}, but found {}", show(&found));
            };
            if way == Way::Pair {
                let twin = wire.reply();
                assert_eq!(show(&found), show(&twin), "{what}: {key} and its twin");
            }
            *count = Count { acknowledged: found_count, sent: found_count };
        }
    }
}

/// Loads the server until it has acknowledged `target` writes and `now` says so, kills it, and answers what the
/// readers saw.
fn load_and_kill(
    server: ServerProcess,
    ledgers: &mut [Ledger],
    target: u64,
    now: impl FnOnce(&ServerProcess),
) -> Vec<u64> {
    let acknowledged = AtomicU64::new(0);
    let seen = Mutex::new(vec![0; CLIENTS]);
    thread::scope(|scope| {
        for (client, ledger) in ledgers.iter_mut().enumerate() {
            let mut wire = server.connect();
            let acknowledged = &acknowledged;
            scope.spawn(move || write_until_killed(&mut wire, client, ledger, acknowledged));
        }
        for _ in 0..READERS {
            let mut wire = server.connect();
            let seen = &seen;
            scope.spawn(move || {
                let mine = read_until_killed(&mut wire);
                let mut all = seen.lock().expect("no reader failed");
                for (all, mine) in all.iter_mut().zip(mine) {
                    *all = (*all).max(mine);
                }
            });
        }
        wait::until_true("acknowledged writes", || acknowledged.load(Ordering::Relaxed) >= target);
        now(&server);
        server.kill();
    });
    seen.into_inner().expect("no reader failed")
}

fn expect_seen(ledgers: &[Ledger], seen: &[u64], what: &str) {
    for (client, (ledger, &seen)) in ledgers.iter().zip(seen).enumerate() {
        let found = ledger[0].acknowledged;
        assert!(found >= seen, "{what}: {}: a reader saw {seen}, after the restart it is {found}", key(client, 0));
    }
}

#[test]
fn every_acknowledged_write_survives_twenty_kills() {
    let dir = TempDir::new().expect("a temporary directory");
    let launch = Launch::new(server_program!(), dir.path()).resp().durability("always");
    let mut ledgers = vec![Ledger::default(); CLIENTS];
    for kill in 1..=20_u64 {
        let server = launch.start();
        // From "hardly anyone has written" to "everyone is in full swing", and the moments between two syncs.
        let target = kill * kill * 40;
        let seen = load_and_kill(server, &mut ledgers, target, |_| {
            thread::sleep(Duration::from_micros(kill * 137 % 1000));
        });
        let what = format!("kill {kill}");
        let server = launch.start();
        verify(&mut server.connect(), &mut ledgers, &what);
        expect_seen(&ledgers, &seen, &what);
        // Having been shown, it is settled: a second kill right after the restart takes nothing back.
        if kill % 5 == 0 {
            server.kill();
            verify(&mut launch.start().connect(), &mut ledgers, &format!("{what}, and another at once"));
        }
    }
    let total: u64 = ledgers.iter().flatten().map(|count| count.acknowledged).sum();
    println!("{total} writes were acknowledged and found over 20 kills");
}

/// A field of INFO persistence.
fn persistence(wire: &mut Wire, field: &str) -> String {
    let text = wire.text("INFO persistence");
    let found = text.lines().find_map(|line| line.strip_prefix(field).and_then(|rest| rest.strip_prefix(':')));
    found.unwrap_or_else(|| panic!("no {field} in {text}")).to_owned()
}

#[test]
fn every_acknowledged_write_survives_a_kill_during_a_background_snapshot() {
    /// So much that writing it takes longer than asking whether it is being written.
    const FILLING_KEYS: usize = 150_000;
    const FILLING_VALUE_BYTES: usize = 300;
    const BATCH: usize = 5_000;
    let dir = TempDir::new().expect("a temporary directory");
    let launch = Launch::new(server_program!(), dir.path()).resp().durability("always");
    let mut ledgers = vec![Ledger::default(); CLIENTS];

    let server = launch.start();
    let mut wire = server.connect();
    let filling = "f".repeat(FILLING_VALUE_BYTES);
    for batch in 0..FILLING_KEYS / BATCH {
        let mut requests = Vec::new();
        for number in 0..BATCH {
            push_request(&["SET", &format!("filling:{}", batch * BATCH + number), &filling], &mut requests);
        }
        wire.send(requests);
        wire.expect("+OK\r\n".repeat(BATCH));
    }
    drop(wire);

    let mut server = Some(server);
    let mut during = 0;
    for kill in 1..=3_u64 {
        let running = server.take().unwrap_or_else(|| launch.start());
        let seen = load_and_kill(running, &mut ledgers, 1000, |server| {
            let mut wire = server.connect();
            // Another snapshot may be running by itself: then that one is as good.
            let reply = wire.command("BGSAVE");
            println!("kill {kill}: BGSAVE: {}", show(&reply));
            thread::sleep(Duration::from_millis(10 * (kill - 1)));
            if persistence(&mut wire, "rdb_bgsave_in_progress") == "1" {
                during += 1;
            }
        });
        let restarted = launch.start();
        let mut wire = restarted.connect();
        let what = format!("kill {kill} during a snapshot");
        verify(&mut wire, &mut ledgers, &what);
        expect_seen(&ledgers, &seen, &what);
        for number in (0..FILLING_KEYS).step_by(997) {
            wire.ask(&format!("GET filling:{number}"), kvtests::wire::bulk(&filling));
        }
        server = Some(restarted);
    }
    println!("{during} of 3 kills came while the snapshot was running");
    assert!(during > 0, "no kill came while a snapshot was running");

    // After all that a snapshot can still be finished, and be all that a restart needs.
    let last = server.take().expect("the last server");
    let mut wire = last.connect();
    wire.ask("SAVE", "+OK\r\n");
    let size = wire.integer("DBSIZE");
    last.kill();
    let server = launch.start();
    let mut wire = server.connect();
    assert_eq!(wire.integer("DBSIZE"), size);
    verify(&mut wire, &mut ledgers, "a kill after a snapshot");
}

/// Below `always` a kill may take the newest writes; what is left must be all writes up to some moment.
#[test]
fn what_a_kill_leaves_of_weaker_promises_is_a_prefix_of_the_history() {
    const BATCH: usize = 200;
    for durability in ["everysec", "os"] {
        for writes in [BATCH, 5 * BATCH, 50 * BATCH] {
            let dir = TempDir::new().expect("a temporary directory");
            let launch = Launch::new(server_program!(), dir.path()).resp().durability(durability);
            let server = launch.start();
            let mut wire = server.connect();
            for start in (0..writes).step_by(BATCH) {
                let mut requests = Vec::new();
                for number in start..start + BATCH {
                    // Each key is written twice, so what is left of it tells its two moments apart.
                    push_request(&["SET", &format!("k{}", number / 2), &number.to_string()], &mut requests);
                }
                wire.send(requests);
                wire.expect("+OK\r\n".repeat(BATCH));
            }
            server.kill();

            let server = launch.start();
            let mut wire = server.connect();
            let found = usize::try_from(wire.integer("DBSIZE")).expect("a count");
            println!("{durability}: of {} keys {found} are left", writes / 2);
            for key in 0..found {
                let value = wire.command(&format!("GET k{key}"));
                let is = |number: usize| value == kvtests::wire::bulk(number.to_string());
                // Only the newest one left may lack its second write.
                let right = is(2 * key + 1) || (key + 1 == found && is(2 * key));
                assert!(right, "{durability}: k{key} is {}, {found} keys are left", show(&value));
            }
        }
    }
}
