//! A server at its limits: it makes room for what is written, and refuses only where it may remove nothing. Keys that were
//! removed stay removed: after a restart, and after SIGKILL whatever had been shown of them.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use fastrand::Rng;
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

/// Sets all keys, which then share a few syncs.
fn set_all(wire: &mut Wire) {
    let set = |number: usize| {
        // A deadline, so that every policy may remove it; far away, so that nothing else does.
        request(&[b"SET", format!("k{number}").as_bytes(), &[b'x'; VALUE_BYTES], b"EX", b"100000"])
    };
    wire.send((0..KEYS).flat_map(set).collect::<Vec<u8>>());
    (0..KEYS).for_each(|_| wire.expect("+OK\r\n"));
}

/// The keys that are there, as replies show it.
fn there(wire: &mut Wire, keys: usize) -> BTreeSet<usize> {
    wire.send((0..keys).map(|number| format!("EXISTS k{number}\r\n")).collect::<String>());
    (0..keys).filter(|_| wire.reply() == b":1\r\n").collect()
}

/// Makes the server remove some hundreds of `KEYS` keys by a policy, and then no more.
fn evict(wire: &mut Wire, policy: &str) {
    set_all(wire);
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
    set_all(&mut writer);
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

/// How a server keeps its data.
const KEEPING: [&[&str]; 3] = [&["--memory-only"], &["--durability", "everysec"], &["--durability", "always"]];

fn cache(dir: &TempDir, flags: &[&str]) -> ServerProcess {
    let launch = if flags.contains(&"--memory-only") {
        Launch::bare(server_program!())
    } else {
        Launch::new(server_program!(), dir.path())
    };
    launch.resp().arguments(flags.iter().copied()).start()
}

/// Whether a reply is an error; its text.
fn error(reply: &[u8]) -> Option<String> {
    reply.starts_with(b"-").then(|| String::from_utf8_lossy(reply).into_owned())
}

/// Reads through the server in batches: what is not there is set. Few keys are asked for often, many seldom.
fn read_through(wire: &mut Wire, batches: u64, seed: u64) -> Vec<String> {
    let mut dice = Rng::with_seed(seed);
    let mut next = || format!("key:{}", (dice.f64().powi(3) * 40_000.0) as u64);
    let mut errors = Vec::new();
    for _ in 0..batches {
        let keys: Vec<String> = (0..64).map(|_| next()).collect();
        wire.send(keys.iter().flat_map(|key| request(&["GET", key])).collect::<Vec<u8>>());
        let replies: Vec<Vec<u8>> = keys.iter().map(|_| wire.reply()).collect();
        let missed: Vec<&String> =
            keys.iter().zip(&replies).filter(|(_, reply)| reply.starts_with(b"$-1")).map(|(key, _)| key).collect();
        let value = "x".repeat(200);
        wire.send(missed.iter().flat_map(|key| request(&["SET", key, &value])).collect::<Vec<u8>>());
        errors.extend(replies.iter().filter_map(|reply| error(reply)));
        errors.extend(missed.iter().filter_map(|_| error(&wire.reply())));
    }
    errors
}

#[test]
fn a_cache_at_its_limit_refuses_no_write() {
    for loops in ["1", "3"] {
        for keeping in KEEPING {
            for policy in ["allkeys-lru", "allkeys-s3fifo"] {
                if policy == "allkeys-s3fifo" && keeping != KEEPING[0] {
                    continue;
                }
                let dir = TempDir::new().expect("a temporary directory");
                let server = cache(&dir, &[keeping, &["--loops", loops]].concat());
                let mut wire = server.connect();
                let limit = info(&mut wire, "used_memory") + 800_000;
                wire.ask(&format!("CONFIG SET maxmemory-policy {policy} maxmemory {limit}"), "+OK\r\n");
                let mut clients: Vec<Wire> = (0..3).map(|_| server.connect()).collect();
                std::thread::scope(|scope| {
                    for (seed, client) in clients.iter_mut().enumerate() {
                        scope.spawn(move || assert_eq!(read_through(client, 40, seed as u64), Vec::<String>::new()));
                    }
                    // Three batches of requests may lie in the server's buffers, and be on their way out of it.
                    for _ in 0..50 {
                        let used = info(&mut wire, "used_memory");
                        assert!(used <= limit + 6 * 64 * 300, "{used} bytes of {limit}");
                    }
                });
                assert!(info(&mut wire, "evicted_keys") > 100, "{policy}, {keeping:?}");
                assert!(wire.integer("DBSIZE") > 1000, "{policy}, {keeping:?}");
            }
        }
    }
}

#[test]
fn a_transaction_and_a_large_value_make_their_room() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = cache(&dir, &[]);
    let mut wire = server.connect();
    let limit = info(&mut wire, "used_memory") + 2_000_000;
    wire.ask(&format!("CONFIG SET maxmemory-policy allkeys-lru maxmemory {limit}"), "+OK\r\n");
    read_through(&mut wire, 250, 1);
    assert!(info(&mut wire, "evicted_keys") > 0);
    let value = "y".repeat(1000);
    wire.ask("MULTI", "+OK\r\n");
    for number in 0..100 {
        wire.send(request(&["SET", &format!("together:{number}"), &value]));
        wire.expect("+QUEUED\r\n");
    }
    wire.send("EXEC\r\n");
    assert_eq!(wire.reply(), [b"*100\r\n".to_vec(), b"+OK\r\n".repeat(100)].concat());
    assert!((0..100).all(|number| wire.integer(&format!("EXISTS together:{number}")) == 1));
    let large = "z".repeat(600_000);
    wire.send(request(&["SET", "large", &large]));
    wire.expect("+OK\r\n");
    assert_eq!(wire.integer("STRLEN large"), 600_000);
    assert!(info(&mut wire, "used_memory") <= limit + 64 * 1024);
}

/// What a client has sent counts as its memory until it is executed, and then as data, never as both.
#[test]
fn a_large_value_displaces_as_much_as_it_needs() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = cache(&dir, &["--memory-only"]);
    let mut wire = server.connect();
    let limit = 8_000_000;
    wire.ask(&format!("CONFIG SET maxmemory-policy allkeys-lru maxmemory {limit}"), "+OK\r\n");
    read_through(&mut wire, 300, 1);
    for (large, percent) in [30, 30, 30, 60, 90, 90].into_iter().enumerate() {
        let value = "z".repeat(limit / 100 * percent);
        wire.send(request(&["SET", &format!("large:{large}"), &value]));
        wire.expect("+OK\r\n");
        assert_eq!(wire.integer(&format!("STRLEN large:{large}")), value.len() as i64, "{percent} %");
        assert!(info(&mut wire, "used_memory") <= limit + 64 * 1024);
        if large == 2 {
            let there: Vec<i64> = (0..3).map(|large| wire.integer(&format!("EXISTS large:{large}"))).collect();
            assert_eq!(there, [1, 1, 1], "nine tenths of the limit");
            assert!(wire.integer("DBSIZE") > 100);
        }
    }
    // Queued, it counts as the client's until EXEC.
    wire.ask("MULTI", "+OK\r\n");
    for key in ["queued:1", "queued:2"] {
        wire.send(request(&["SET", key, &"q".repeat(limit / 100 * 40)]));
        wire.expect("+QUEUED\r\n");
    }
    wire.send("EXEC\r\n");
    assert_eq!(wire.reply(), b"*2\r\n+OK\r\n+OK\r\n");
    assert_eq!(wire.integer("EXISTS queued:1 queued:2"), 2);
    // What can never fit is refused.
    wire.send(request(&["SET", "too large", &"z".repeat(limit + 1)]));
    assert!(error(&wire.reply()).is_some_and(|text| text.starts_with("-OOM ")));
}

#[test]
fn writes_are_refused_where_nothing_may_be_removed() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = cache(&dir, &[]);
    let mut wire = server.connect();
    let limit = info(&mut wire, "used_memory") + 300_000;
    wire.ask(&format!("CONFIG SET maxmemory {limit}"), "+OK\r\n");
    let oom = "-OOM command not allowed when used memory > 'maxmemory'.\r\n";
    for policy in ["noeviction", "volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"] {
        wire.ask(&format!("CONFIG SET maxmemory-policy {policy}"), "+OK\r\n");
        let value = "x".repeat(1000);
        let refused = (0..2000).find(|number| {
            wire.send(request(&["SET", &format!("{policy}:{number}"), &value]));
            wire.reply() == oom.as_bytes()
        });
        assert!(refused.is_some_and(|number| number > 100), "{policy}: {refused:?}");
        // What needs no memory is obeyed, and a transaction that needs some is not. By more than the buffers of a client: these
        // shrink when it pauses, and a store that is over its limit by a byte has room then.
        wire.ask(&format!("CONFIG SET maxmemory {}", limit - 100_000), "+OK\r\n");
        wire.ask(&format!("RENAME {policy}:0 {policy}:00"), "+OK\r\n");
        assert_eq!(wire.integer(&format!("EXISTS {policy}:00")), 1);
        wire.ask("MULTI", "+OK\r\n");
        wire.ask("SET k v", oom);
        wire.ask("EXEC", "-EXECABORT Transaction discarded because of previous errors.\r\n");
        assert_eq!(info(&mut wire, "evicted_keys"), 0);
        wire.ask("FLUSHALL", "+OK\r\n");
        wire.ask(&format!("CONFIG SET maxmemory {limit}"), "+OK\r\n");
        wire.ask("SET k v", "+OK\r\n");
    }
    // With candidates there is room.
    wire.ask("CONFIG SET maxmemory-policy volatile-ttl", "+OK\r\n");
    let value = "x".repeat(1000);
    for number in 0..1000 {
        wire.send(request(&["SET", &format!("mortal:{number}"), &value, "EX", &(1000 + number).to_string()]));
        wire.expect("+OK\r\n");
    }
    assert!(info(&mut wire, "evicted_keys") > 500);
    assert_eq!(wire.integer("EXISTS k"), 1);
}

#[test]
fn with_room_for_five_keys_the_sixth_replaces_the_least_recently_used() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = cache(&dir, &["--max-entries", "5"]);
    let mut wire = server.connect();
    for key in ["a", "b", "c", "d", "e"] {
        wire.ask(&format!("SET {key} v"), "+OK\r\n");
    }
    wire.ask("GET a", "$1\r\nv\r\n");
    wire.ask("SET b again", "+OK\r\n");
    wire.ask("SET f v", "+OK\r\n");
    wire.ask("MGET a b c d e f", "*6\r\n$1\r\nv\r\n$5\r\nagain\r\n$-1\r\n$1\r\nv\r\n$1\r\nv\r\n$1\r\nv\r\n");
    assert_eq!((wire.integer("DBSIZE"), info(&mut wire, "evicted_keys")), (5, 1));
    wire.ask("CONFIG GET max-entries", "*2\r\n$11\r\nmax-entries\r\n$1\r\n5\r\n");
    // The limits change while it runs, inside a transaction, too.
    wire.ask("MULTI", "+OK\r\n");
    wire.ask("CONFIG SET max-entries 6", "+QUEUED\r\n");
    wire.ask("EXEC", "*1\r\n+OK\r\n");
    wire.ask("SET g v", "+OK\r\n");
    assert_eq!((wire.integer("DBSIZE"), info(&mut wire, "evicted_keys")), (6, 1));
    wire.ask("CONFIG SET maxmemory-policy noeviction", "+OK\r\n");
    wire.send("SET h v\r\n");
    assert!(error(&wire.reply()).is_some_and(|text| text.starts_with("-OOM ") && text.contains("max-entries")));
    wire.ask("CONFIG SET maxmemory-policy allkeys-lru", "+OK\r\n");
    wire.ask("SET g w", "+OK\r\n");
    wire.ask("CONFIG SET max-entries 2", "+OK\r\n");
    wait::until_true("keys are evicted", || wire.integer("DBSIZE") == 2);
    wire.ask("GET g", "$1\r\nw\r\n");
    for policy in [
        "allkeys-s3fifo",
        "allkeys-lfu",
        "allkeys-random",
        "volatile-ttl",
        "volatile-lrm",
        "allkeys-lrm",
        "allkeys-lru",
    ] {
        wire.ask(&format!("CONFIG SET maxmemory-policy {policy} max-entries 100"), "+OK\r\n");
        let refuses = policy.starts_with("volatile");
        for number in 0..300 {
            wire.send(request(&["SET", &format!("{policy}:{number}"), "v"]));
            let reply = wire.reply();
            assert!(reply == b"+OK\r\n" || refuses, "{policy}: {}", String::from_utf8_lossy(&reply));
        }
        assert_eq!(wire.integer("DBSIZE"), 100, "{policy}");
    }
    wire.ask("CONFIG SET max-entries 0", "+OK\r\n");
    (0..300).for_each(|number| wire.ask(&format!("SET free:{number} v"), "+OK\r\n"));
}

#[test]
fn an_empty_server_has_room_whatever_it_needs_itself() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = cache(&dir, &[]);
    let mut wire = server.connect();
    wire.ask("CONFIG SET maxmemory 5mb", "+OK\r\n");
    let value = "x".repeat(1000);
    for number in 0..4000 {
        wire.send(request(&["SET", &format!("k{number}"), &value]));
        wire.expect("+OK\r\n");
    }
    let (used, allocated) = (info(&mut wire, "used_memory"), info(&mut wire, "allocator_allocated"));
    assert!((4_000_000..5 << 20).contains(&used) && used <= allocated, "{used} of {allocated}");
}
