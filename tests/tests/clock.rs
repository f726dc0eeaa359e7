//! A wall clock that is stepped by an hour, either way, while the store is open and while it is not: nothing is served past
//! its deadline, nothing that expired comes back, and what TTL answers stays what was asked for or less.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use kvcore::{Db, ManualClock, Options, SetOptions, Ttl};
use kvserver::Server;
use kvtests::process::Launch;
use kvtests::server_program;
use kvtests::wait;
use kvtests::wire::{Wire, show};
use tempfile::TempDir;

const HOUR_MS: u64 = 3_600_000;
const START_MS: u64 = 1_700_000_000_000;

/// A server in this process, whose clock is ours.
struct Served {
    db: Db,
    server: Option<Server>,
}

impl Served {
    fn open(dir: &Path, clock: &Arc<ManualClock>) -> Served {
        let db = Options::new().clock(clock.clone()).open(dir).expect("a store");
        let url = "resp://127.0.0.1:0".parse().expect("a URL");
        let server = Server::builder().store(db.clone()).listen(url).loops(1).start().expect("a server");
        Served { db, server: Some(server) }
    }

    fn connect(&self) -> Wire {
        let server = self.server.as_ref().expect("a running server");
        Wire::connect(server.addresses()[0].tcp().expect("a TCP address"))
    }

    fn close(mut self) {
        self.server.take().expect("a running server").shutdown().expect("an orderly end");
        self.db.close().expect("a good end");
    }
}

/// What nobody may see once `gone` has expired.
fn expect_gone(wire: &mut Wire, gone: &str) {
    for (request, reply) in [
        (format!("GET {gone}"), "$-1\r\n"),
        (format!("EXISTS {gone}"), ":0\r\n"),
        (format!("TTL {gone}"), ":-2\r\n"),
        (format!("PEXPIRETIME {gone}"), ":-2\r\n"),
        (format!("PERSIST {gone}"), ":0\r\n"),
        (format!("KEYS {gone}"), "*0\r\n"),
        (format!("DUMP {gone}"), "$-1\r\n"),
        (format!("SCAN 0 MATCH {gone} COUNT 1000000"), "*2\r\n$1\r\n0\r\n*0\r\n"),
    ] {
        wire.ask(&request, reply);
    }
}

fn expect_ttl(wire: &mut Wire, key: &str, ms: std::ops::RangeInclusive<i64>) {
    let ttl = wire.integer(&format!("PTTL {key}"));
    assert!(ms.contains(&ttl), "PTTL {key}: {ttl}, not within {ms:?}");
}

/// A start in the year 2100 leaves the store's time there. That is what is promised, and has to be said: by INFO, and in
/// the log of the next start.
#[test]
fn a_store_whose_time_is_ahead_of_the_clock_says_so() {
    const YEAR_2100_MS: u64 = 4_102_444_800_000;
    let dir = TempDir::new().expect("a temporary directory");
    let ahead = |wire: &mut Wire| -> u64 {
        let text = wire.text("INFO server");
        let found = text.lines().find_map(|line| line.strip_prefix("server_time_ahead_ms:"));
        found.unwrap_or_else(|| panic!("not in {text}")).parse().expect("a number")
    };
    let clock = Arc::new(ManualClock::at(START_MS));
    let served = Served::open(dir.path(), &clock);
    let mut wire = served.connect();
    wire.ask("SET k v", "+OK\r\n");
    assert_eq!((ahead(&mut wire), served.db.stats().time_ahead_ms), (0, 0));
    // While it is open: forward, and back again.
    clock.set_wall(YEAR_2100_MS);
    wire.ask("SET k v EX 100", "+OK\r\n");
    assert_eq!(ahead(&mut wire), 0);
    clock.set_wall(START_MS + 5);
    let expected = YEAR_2100_MS - START_MS - 5;
    assert_eq!((ahead(&mut wire), served.db.stats().time_ahead_ms), (expected, expected));
    clock.advance(1_000);
    assert_eq!(ahead(&mut wire), expected, "both go on");
    served.close();

    // Started by the right time.
    let mut server = Launch::new(server_program!(), dir.path()).resp().start();
    let log = server.startup_log();
    let warning = log.lines().find(|line| line.contains("WARN") && line.contains("ahead of this machine's clock"));
    let warning = warning.unwrap_or_else(|| panic!("no warning in\n{log}"));
    for word in [&dir.path().display().to_string(), "EXPIREAT", "kvserver repair --reset-time"] {
        assert!(warning.contains(word), "{word:?} is not in: {warning}");
    }
    let mut wire = server.connect();
    assert!(ahead(&mut wire) > 1_000_000_000_000, "decades");
    wire.ask("SET dated v", "+OK\r\n");
    // A day of 2033.
    wire.ask("EXPIREAT dated 2000000000", ":1\r\n");
    wire.ask("GET dated", "$-1\r\n");
    wire.ask("SET k v EX 100", "+OK\r\n");
    expect_ttl(&mut wire, "k", 90_000..=100_000);

    // One that was never ahead says nothing of the kind.
    let sound = TempDir::new().expect("a temporary directory");
    for _ in 0..2 {
        let mut server = Launch::new(server_program!(), sound.path()).resp().start();
        assert!(!server.startup_log().contains("ahead of"), "{}", server.log());
        assert!(ahead(&mut server.connect()) < 1_000);
        server.terminate();
    }
}

#[test]
fn a_served_store_whose_clock_is_stepped_by_an_hour() {
    let dir = TempDir::new().expect("a temporary directory");
    let clock = Arc::new(ManualClock::at(START_MS));
    let served = Served::open(dir.path(), &clock);
    let mut wire = served.connect();
    wire.ask("SET minute v EX 60", "+OK\r\n");
    wire.ask("SET hours v EX 7200", "+OK\r\n");
    wire.ask("SET always v", "+OK\r\n");

    // Back: time stands, and goes on from where it was.
    clock.set_wall(START_MS - HOUR_MS);
    expect_ttl(&mut wire, "minute", 60_000..=60_000);
    clock.advance(10_000);
    expect_ttl(&mut wire, "minute", 50_000..=50_000);
    wire.ask("SET since v EX 60", "+OK\r\n");
    expect_ttl(&mut wire, "since", 60_000..=60_000);
    clock.advance(51_000);
    expect_gone(&mut wire, "minute");
    expect_ttl(&mut wire, "since", 9_000..=9_000);

    // Forward while it is closed: what lies in between has passed.
    wire.ask("SET half v EX 1800", "+OK\r\n");
    served.close();
    clock.set_wall(START_MS + HOUR_MS);
    let served = Served::open(dir.path(), &clock);
    let mut wire = served.connect();
    expect_gone(&mut wire, "half");
    expect_gone(&mut wire, "since");
    expect_ttl(&mut wire, "hours", 3_600_000..=3_600_000);
    wire.ask("DBSIZE", ":2\r\n");
    wire.ask("SET late v EX 600", "+OK\r\n");

    // Back by two hours while it is closed: it knows better.
    served.close();
    let clock = Arc::new(ManualClock::at(START_MS - HOUR_MS));
    let served = Served::open(dir.path(), &clock);
    let mut wire = served.connect();
    for gone in ["minute", "since", "half"] {
        expect_gone(&mut wire, gone);
    }
    expect_ttl(&mut wire, "late", 600_000..=600_000);
    expect_ttl(&mut wire, "hours", 3_600_000..=3_600_000);
    clock.advance(601_000);
    expect_gone(&mut wire, "late");

    // Forward by more than any deadline, and back at once, with nobody there to see it: as if it had not been.
    clock.set_wall(START_MS + 10 * HOUR_MS);
    clock.set_wall(START_MS);
    expect_ttl(&mut wire, "hours", 2_999_000..=2_999_000);
    // Once somebody has seen it, it has been.
    clock.set_wall(START_MS + 10 * HOUR_MS);
    expect_gone(&mut wire, "hours");
    clock.set_wall(START_MS);
    expect_gone(&mut wire, "hours");
    wire.ask("SET new v EX 60", "+OK\r\n");
    expect_ttl(&mut wire, "new", 60_000..=60_000);
    wire.ask("GET always", "$1\r\nv\r\n");
    wire.ask("DBSIZE", ":2\r\n");
    served.close();
}

/// The store after SIGKILL: what was handed to the operating system is there.
fn copy(dir: &Path) -> TempDir {
    let to = TempDir::new().expect("a temporary directory");
    for entry in fs::read_dir(dir).expect("a directory") {
        let entry = entry.expect("a name");
        fs::copy(entry.path(), to.path().join(entry.file_name())).expect("a copy");
    }
    to
}

/// A key as it was written, and whether anybody has seen that it expired.
struct Written {
    ttl_ms: u64,
    deadline_ms: u64,
    seen_expired: bool,
}

/// Whatever the clock does and however the store ends, over random histories of writes, looks, steps and restarts.
#[test]
fn any_history_of_clocks_and_restarts() {
    let seed = std::env::var("KV_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("KV_SEED={seed}");
    for round in 0..60 {
        walk(&mut Rng::with_seed(seed.wrapping_add(round)), seed.wrapping_add(round));
    }
}

fn walk(dice: &mut Rng, seed: u64) {
    let mut dir = TempDir::new().expect("a temporary directory");
    let mut clock = Arc::new(ManualClock::at(START_MS));
    let open = |dir: &Path, clock: &Arc<ManualClock>| {
        Options::new().shards(4).segment_bytes(8 * 1024).clock(clock.clone()).open(dir).expect("a store")
    };
    let mut db = open(dir.path(), &clock);
    let mut keys: BTreeMap<String, Written> = BTreeMap::new();
    let mut now_before = 0;
    for step in 0..80 {
        match dice.u32(0..20) {
            0..6 => {
                let key = format!("k{step}");
                let ttl_ms = [500, 30_000, HOUR_MS / 2, HOUR_MS + 1_000, 3 * HOUR_MS][dice.usize(0..5)];
                let before = db.now_ms();
                let options = SetOptions::new().expires_in(Duration::from_millis(ttl_ms));
                db.set_with(&key, "v", options).expect("a write");
                assert_eq!(db.now_ms(), before, "the clock stands");
                keys.insert(key, Written { ttl_ms, deadline_ms: before + ttl_ms, seen_expired: false });
            }
            6..9 => clock.advance(dice.u64(0..2 * HOUR_MS)),
            9 => clock.set_wall(kvcore::Clock::wall_ms(&*clock).saturating_sub(HOUR_MS)),
            10 => clock.set_wall(kvcore::Clock::wall_ms(&*clock) + HOUR_MS),
            11 => db.snapshot().expect("a snapshot"),
            12 | 13 => {
                // Closed, or killed; the clock of the next run may be anything.
                if dice.bool() {
                    db.close().expect("a good end");
                } else {
                    let killed = copy(dir.path());
                    drop(db);
                    dir = killed;
                }
                let wall = kvcore::Clock::wall_ms(&*clock);
                let steps = [wall.saturating_sub(HOUR_MS), wall, wall + HOUR_MS];
                clock = Arc::new(ManualClock::at(steps[dice.usize(0..3)]));
                db = open(dir.path(), &clock);
                // What was logged last holds; what was not, nobody has relied upon.
                now_before = 0;
            }
            14 => drop(db.sweep()),
            _ => {
                let now = db.now_ms();
                assert!(now >= now_before, "seed {seed}: time ran backwards");
                now_before = now;
                for (key, written) in &mut keys {
                    let value = db.get_durable(key).expect("a read");
                    let ttl = db.ttl(key).expect("a read");
                    if written.seen_expired || now >= written.deadline_ms {
                        assert_eq!(value, None, "seed {seed}, step {step}: {key} is served after its deadline");
                        assert_eq!(ttl, None, "seed {seed}, step {step}: {key}");
                        written.seen_expired = true;
                    } else {
                        assert!(value.is_some(), "seed {seed}, step {step}: {key} is lost");
                        let Some(Ttl::In(left)) = ttl else { panic!("seed {seed}, step {step}: {key}: {ttl:?}") };
                        assert_eq!(left.as_millis() as u64, written.deadline_ms - now, "seed {seed}, step {step}");
                        assert!(left <= Duration::from_millis(written.ttl_ms), "seed {seed}, step {step}: {key}");
                    }
                }
                let live = keys.values().filter(|written| !written.seen_expired).count();
                assert_eq!(db.len().expect("an open store"), live as u64, "seed {seed}, step {step}");
            }
        }
    }
}

/// Where Debian and Ubuntu put it.
fn faketime() -> Option<PathBuf> {
    let dirs =
        ["x86_64-linux-gnu", "aarch64-linux-gnu"].map(|arch| format!("/usr/lib/{arch}/faketime/libfaketime.so.1"));
    dirs.map(PathBuf::from).into_iter().find(|path| path.exists())
}

/// The program itself, and the operating system's clock as it sees it.
#[test]
fn the_server_when_the_systems_clock_is_stepped() {
    let Some(library) = faketime() else {
        println!("skipped: no libfaketime here, by which another program's clock is stepped");
        return;
    };
    let dir = TempDir::new().expect("a temporary directory");
    let offset = dir.path().join("offset");
    let step = |seconds: i64| {
        let written = dir.path().join("offset.new");
        fs::write(&written, format!("{seconds:+}\n")).and_then(|()| fs::rename(&written, &offset)).expect("an offset");
    };
    step(0);
    let data = dir.path().join("data");
    let launch = Launch::new(server_program!(), &data).resp().durability("always").within([
        "env".to_owned(),
        format!("LD_PRELOAD={}", library.display()),
        format!("FAKETIME_TIMESTAMP_FILE={}", offset.display()),
        "FAKETIME_NO_CACHE=1".to_owned(),
        // A step of the wall clock leaves the monotonic one alone.
        "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
        "DONT_FAKE_MONOTONIC=1".to_owned(),
    ]);
    let server = launch.start();
    let mut wire = server.connect();
    let seconds = |wire: &mut Wire| {
        let reply = wire.command("TIME");
        let text = String::from_utf8_lossy(&reply).into_owned();
        text.lines().nth(2).and_then(|line| line.parse::<i64>().ok()).unwrap_or_else(|| panic!("{}", show(&reply)))
    };
    let started = seconds(&mut wire);
    wire.ask("SET half v EX 1800", "+OK\r\n");
    wire.ask("SET two v EX 7200", "+OK\r\n");

    step(-3600);
    expect_ttl(&mut wire, "half", 1_700_000..=1_800_000);
    assert!(seconds(&mut wire) >= started, "it went back with the clock");
    step(3600);
    wait::until_true("the step to be seen", || seconds(&mut wire) >= started + 3600);
    expect_gone(&mut wire, "half");
    expect_ttl(&mut wire, "two", 3_500_000..=3_600_000);
    wire.ask("SET late v EX 1800", "+OK\r\n");
    step(0);
    expect_gone(&mut wire, "half");
    expect_ttl(&mut wire, "late", 1_700_000..=1_800_000);
    // Killed, and started by a clock that is an hour behind what it knows.
    server.kill();
    let server = launch.start();
    let mut wire = server.connect();
    assert!(seconds(&mut wire) >= started + 3600, "what was seen to have passed has passed");
    expect_gone(&mut wire, "half");
    expect_ttl(&mut wire, "late", 1_600_000..=1_800_000);
    expect_ttl(&mut wire, "two", 3_400_000..=3_600_000);
    step(7200);
    wait::until_true("the step to be seen", || wire.integer("TTL two") == -2);
    expect_gone(&mut wire, "late");
    wire.ask("DBSIZE", ":0\r\n");
}
