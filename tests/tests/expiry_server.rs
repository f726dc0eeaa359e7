//! Keys with a time to live, seen from a client: what the commands answer, when keys vanish, and that deadlines
//! are kept across restarts.

#![forbid(unsafe_code)]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kvtests::process::{Launch, ServerProcess};
use kvtests::server_program;
use kvtests::wait::{self, Lifetime};
use tempfile::TempDir;

fn launch(dir: &TempDir) -> Launch {
    Launch::new(server_program!(), dir.path()).resp().durability("always")
}

fn server(dir: &TempDir) -> ServerProcess {
    launch(dir).start()
}

/// The wall clock, in Unix milliseconds; the server runs on the same machine.
fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    i64::try_from(since.as_millis()).expect("a clock before the year 292 million")
}

#[test]
fn deadlines_are_set_shown_and_removed() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let mut wire = server.connect();
    wire.ask("TTL k", ":-2\r\n");
    wire.ask("EXPIRETIME k", ":-2\r\n");
    wire.ask("EXPIRE k 100", ":0\r\n");
    wire.ask("SET k v", "+OK\r\n");
    wire.ask("TTL k", ":-1\r\n");
    wire.ask("PEXPIRETIME k", ":-1\r\n");
    wire.ask("PERSIST k", ":0\r\n");
    wire.ask("EXPIREAT k 33177117420", ":1\r\n");
    wire.ask("EXPIRETIME k", ":33177117420\r\n");
    wire.ask("PEXPIRETIME k", ":33177117420000\r\n");
    wire.ask("PEXPIREAT k 33177117420123", ":1\r\n");
    wire.ask("PEXPIRETIME k", ":33177117420123\r\n");
    wire.ask("PERSIST k", ":1\r\n");
    wire.ask("TTL k", ":-1\r\n");
    wire.ask("GET k", "$1\r\nv\r\n");
}

#[test]
fn a_relative_ttl_is_counted_from_now() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let mut wire = server.connect();
    for (set, ttl_ms) in [
        ("SET k v EX 100", 100_000),
        ("SET k v PX 100001", 100_001),
        ("SETEX k 100 v", 100_000),
        ("PSETEX k 100001 v", 100_001),
        ("GETEX k EX 50", 50_000),
        ("EXPIRE k 200", 200_000),
        ("PEXPIRE k 200001", 200_001),
        ("PUT k v 300", 300_000),
    ] {
        let before = now_ms();
        let reply = wire.command(set);
        let after = now_ms();
        assert!(!reply.starts_with(b"-"), "{set}: {}", kvtests::wire::show(&reply));
        let deadline = wire.integer("PEXPIRETIME k");
        // The server's clock never runs backwards, the test's may be set; within a loop of microseconds it is not.
        assert!((before - 15..=after + 15).contains(&(deadline - ttl_ms)), "{set}: {deadline}, now {before}..{after}");
    }
}

#[test]
fn conditions_decide_whether_a_deadline_is_changed() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let mut wire = server.connect();
    wire.ask("SET k v", "+OK\r\n");
    wire.ask("EXPIREAT k 33177117420 XX", ":0\r\n");
    wire.ask("EXPIREAT k 33177117420 GT", ":0\r\n");
    wire.ask("EXPIREAT k 33177117420 LT", ":1\r\n");
    wire.ask("EXPIREAT k 33177117421 NX", ":0\r\n");
    wire.ask("EXPIREAT k 33177117421 LT", ":0\r\n");
    wire.ask("EXPIREAT k 33177117421 GT", ":1\r\n");
    wire.ask("EXPIREAT k 33177117419 XX", ":1\r\n");
    wire.ask("EXPIRETIME k", ":33177117419\r\n");
}

#[test]
fn writes_keep_or_clear_a_deadline_as_redis_says() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let mut wire = server.connect();
    for (write, kept) in [
        ("SET k 1", false),
        ("SET k 1 KEEPTTL", true),
        ("GETSET k 1", false),
        ("MSET k 1", false),
        ("APPEND k 1", true),
        ("INCR k", true),
        ("INCRBYFLOAT k 1", true),
        ("GETEX k", true),
        ("GETEX k PERSIST", false),
        ("TOUCH k", true),
    ] {
        wire.ask("SET k 1 EXAT 33177117420", "+OK\r\n");
        let reply = wire.command(write);
        assert!(!reply.starts_with(b"-"), "{write}: {}", kvtests::wire::show(&reply));
        wire.ask("EXPIRETIME k", if kept { ":33177117420\r\n" } else { ":-1\r\n" });
    }
    wire.ask("SET k 1 EXAT 33177117420", "+OK\r\n");
    wire.ask("SET l other", "+OK\r\n");
    wire.ask("RENAME k l", "+OK\r\n");
    wire.ask("EXPIRETIME l", ":33177117420\r\n");
}

#[test]
fn a_deadline_in_the_past_removes_the_key() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let mut wire = server.connect();
    for command in ["EXPIRE k -1", "EXPIRE k 0", "PEXPIRE k -1", "EXPIREAT k 1", "PEXPIREAT k 1"] {
        wire.ask("SET k v", "+OK\r\n");
        wire.ask(command, ":1\r\n");
        wire.ask("EXISTS k", ":0\r\n");
    }
    wire.ask("SET k v", "+OK\r\n");
    wire.ask("EXPIRE k 9223372036854775807", "-ERR invalid expire time in 'expire' command\r\n");
    wire.ask("EXPIRE k x", "-ERR value is not an integer or out of range\r\n");
    wire.ask("TTL k", ":-1\r\n");
}

#[test]
fn every_command_sees_a_key_end_at_its_deadline() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let mut wire = server.connect();
    for (ask, gone) in [
        ("GET k", "$-1\r\n"),
        ("EXISTS k", ":0\r\n"),
        ("TTL k", ":-2\r\n"),
        ("STRLEN k", ":0\r\n"),
        ("TYPE k", "+none\r\n"),
        ("KEYS *", "*0\r\n"),
        ("MGET k", "*1\r\n$-1\r\n"),
        ("GETEX k", "$-1\r\n"),
        ("TOUCH k", ":0\r\n"),
        ("RANDOMKEY", "$-1\r\n"),
        ("SCAN 0", "*2\r\n$1\r\n0\r\n*0\r\n"),
    ] {
        let ttl = Duration::from_millis(150);
        println!("{ask}");
        Lifetime::begin(ttl, || wire.ask("SET k v PX 150", "+OK\r\n")).watch(|| wire.command(ask) != gone.as_bytes());
    }
}

#[test]
fn expired_keys_are_removed_without_being_touched() {
    const KEYS: usize = 5000;
    let dir = TempDir::new().expect("a temporary directory");
    let server = Launch::new(server_program!(), dir.path()).resp().start();
    let mut wire = server.connect();
    wire.ask("SET stays v", "+OK\r\n");
    let mut requests = Vec::new();
    for key in 0..KEYS {
        kvtests::wire::push_request(&["SET", &format!("k{key}"), "v", "PX", "200"], &mut requests);
    }
    wire.send(requests);
    wire.expect("+OK\r\n".repeat(KEYS));
    // DBSIZE counts what is held, not what is alive: only removal lowers it.
    wait::until_true("the removal of expired keys", || wire.integer("DBSIZE") == 1);
    wire.ask("GET stays", "$1\r\nv\r\n");
}

#[test]
fn deadlines_survive_a_kill_and_keys_that_end_meanwhile_stay_away() {
    let dir = TempDir::new().expect("a temporary directory");
    let first = server(&dir);
    let mut wire = first.connect();
    wire.ask("SET long v EXAT 33177117420", "+OK\r\n");
    wire.ask("SET never v", "+OK\r\n");
    wire.ask("SET persisted v EX 1", "+OK\r\n");
    let persisted = wire.integer("PERSIST persisted");
    wire.ask("SET brief v PX 400", "+OK\r\n");
    let brief_ends_ms = now_ms() + 400;
    first.kill();
    wait::until_true("the deadline of a key, while no server runs", || now_ms() > brief_ends_ms);

    let second = server(&dir);
    let mut wire = second.connect();
    wire.ask("EXPIRETIME long", ":33177117420\r\n");
    wire.ask("TTL never", ":-1\r\n");
    wire.ask("GET brief", "$-1\r\n");
    if persisted == 1 {
        wire.ask("TTL persisted", ":-1\r\n");
    } else {
        println!("not checked: PERSIST came after the deadline");
    }
}

/// What was once seen expired must not come back with a crash.
#[test]
fn a_key_seen_expired_stays_expired_after_a_kill() {
    let dir = TempDir::new().expect("a temporary directory");
    for _ in 0..3 {
        let server = server(&dir);
        let mut wire = server.connect();
        wire.ask("GET k", "$-1\r\n");
        Lifetime::begin(Duration::from_millis(100), || wire.ask("SET k v PX 100", "+OK\r\n"))
            .watch(|| wire.command("GET k") == b"$1\r\nv\r\n");
        server.kill();
    }
}
