//! Commands that are too much work for a loop: what they do elsewhere is what they would do there.
//!
//! Invariant: each is held before it begins, by DEBUG HOLD-COMPUTING, so that what happens meanwhile does happen meanwhile.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::sync::{Arc, Barrier};

use kvcore::{Db, Options};
use kvserver::Server;
use support::Client;

/// As many as BITCOUNT and its like may not look at on a loop.
const LARGE: usize = 8 * 1024 * 1024;

struct World {
    server: Server,
    db: Db,
    /// Holds and releases.
    control: Client,
}

impl World {
    /// A server with large values `a` and `b`, of one set bit in each byte.
    fn new() -> World {
        let db = Options::new().shards(1).in_memory().unwrap();
        let server = Server::builder()
            .store(db.clone())
            .listen("resp://127.0.0.1:0".parse().unwrap())
            .loops(1)
            .debug_commands(true)
            .start()
            .unwrap();
        db.set("a", vec![1; LARGE]).unwrap();
        db.set("b", vec![1; LARGE]).unwrap();
        let control = Client::of(&server);
        World { server, db, control }
    }

    fn client(&self) -> Client {
        Client::of(&self.server)
    }

    fn hold(&mut self) {
        self.control.ask("DEBUG HOLD-COMPUTING 1", "+OK\r\n");
    }

    fn release(&mut self) {
        self.control.ask("DEBUG HOLD-COMPUTING 0", "+OK\r\n");
    }

    fn info(&mut self, section: &str, field: &str) -> String {
        self.control.send(format!("INFO {section}\r\n"));
        let info = self.control.bulk();
        let value = info.lines().find_map(|line| line.strip_prefix(&format!("{field}:")));
        value.unwrap_or_else(|| panic!("no {field} in {info}")).to_owned()
    }

    fn drafts(&mut self) -> u64 {
        self.info("stats", "commands_run_on_drafts").parse().unwrap()
    }

    /// Waits until so many commands have been handed on.
    fn until_drafts(&mut self, count: u64) {
        while self.drafts() < count {}
    }
}

#[test]
fn replies_keep_the_order_of_requests() {
    let mut world = World::new();
    let mut client = world.client();
    world.hold();
    client.send("SET k 1\r\nBITCOUNT a\r\nINCR k\r\nBITCOUNT b\r\nINCR k\r\n");
    world.until_drafts(1);
    // What stands behind it is not executed before it.
    assert_eq!(world.db.get("k").unwrap().unwrap(), "1");
    world.release();
    client.expect(format!("+OK\r\n:{LARGE}\r\n:2\r\n:{LARGE}\r\n:3\r\n"));
    assert_eq!(world.drafts(), 2);
}

#[test]
fn each_is_counted_once() {
    let mut world = World::new();
    let mut client = world.client();
    world.control.ask("CONFIG SET slowlog-log-slower-than 0", "+OK\r\n");
    world.control.ask("CONFIG RESETSTAT", "+OK\r\n");
    world.control.ask("SLOWLOG RESET", "+OK\r\n");
    client.ask("BITCOUNT a", format!(":{LARGE}\r\n"));
    client.ask("LCS a b", "-ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len\r\n");
    client.send("MULTI\r\nBITCOUNT a\r\nGET none\r\nBITOP AND c a b\r\nINCR a\r\nEXEC\r\n");
    client.expect("+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n");
    client.expect(format!("*4\r\n:{LARGE}\r\n$-1\r\n:{LARGE}\r\n-ERR value is not an integer or out of range\r\n"));
    assert_eq!(world.drafts(), 2);
    let calls = |world: &mut World, command: &str| {
        let stat = world.info("commandstats", &format!("cmdstat_{command}"));
        let field = |name: &str| {
            let value = stat.split(',').find_map(|field| field.strip_prefix(&format!("{name}=")));
            value.unwrap().to_owned()
        };
        format!("{} {}", field("calls"), field("failed_calls"))
    };
    let wanted =
        [("bitcount", "2 0"), ("bitop", "1 0"), ("get", "1 0"), ("incr", "1 1"), ("exec", "1 0"), ("lcs", "1 1")];
    for (command, expected) in wanted {
        assert_eq!(calls(&mut world, command), expected, "{command}");
    }
    assert_eq!(world.info("stats", "keyspace_hits"), "6");
    assert_eq!(world.info("stats", "keyspace_misses"), "1");
    world.control.ask("CONFIG SET slowlog-log-slower-than -1", "+OK\r\n");
    world.control.send("SLOWLOG GET 100\r\n");
    // The end of the list is its oldest entry: the request that emptied it.
    let log = world.control.until("SLOWLOG") + &world.control.until("RESET");
    assert_eq!(log.matches("BITCOUNT").count(), 2, "{log}");
    assert_eq!(log.matches("BITOP").count(), 1, "{log}");
}

#[test]
fn changes_are_told_once_and_after_they_were_made() {
    let mut world = World::new();
    world.control.ask("CONFIG SET notify-keyspace-events KEA", "+OK\r\n");
    let (mut client, mut subscriber, mut monitor, mut tracker) =
        (world.client(), world.client(), world.client(), world.client());
    subscriber.send("SUBSCRIBE __keyevent@0__:set __keyevent@0__:setbit\r\n");
    subscriber.until(":2\r\n");
    tracker.send("HELLO 3\r\nCLIENT TRACKING ON\r\nSTRLEN a\r\nSTRLEN c\r\n");
    tracker.until("+OK\r\n");
    tracker.until(":0\r\n");
    // A client is notified of its own changes as well, after their replies.
    client.send("HELLO 3\r\nCLIENT TRACKING ON\r\nSTRLEN c\r\n");
    client.until("+OK\r\n");
    client.until(":0\r\n");
    monitor.ask("MONITOR", "+OK\r\n");
    world.hold();
    client.send("BITOP AND c a b\r\nMULTI\r\nSETBIT a 0 1\r\nBITCOUNT a\r\nSET k v\r\nEXEC\r\n");
    world.until_drafts(1);
    assert_eq!(subscriber.arrived(), "");
    assert_eq!(tracker.arrived(), "");
    world.release();
    client.expect(format!(":{LARGE}\r\n>2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nc\r\n+OK\r\n"));
    client.expect("+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n");
    client.expect(format!("*3\r\n:0\r\n:{}\r\n+OK\r\n", LARGE + 1));
    for (event, key) in [("set", "c"), ("setbit", "a"), ("set", "k")] {
        let channel = format!("__keyevent@0__:{event}");
        let length = channel.len();
        subscriber.expect(format!("*3\r\n$7\r\nmessage\r\n${length}\r\n{channel}\r\n$1\r\n{key}\r\n"));
    }
    tracker.expect(">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nc\r\n>2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\na\r\n");
    client.ask("ECHO end", "$3\r\nend\r\n");
    let shown = monitor.until("\"ECHO\" \"end\"\r\n");
    let shown: Vec<&str> = shown.lines().filter(|line| !line.contains("INFO") && !line.contains("DEBUG")).collect();
    let words: Vec<&str> = shown.iter().map(|line| line.split_once("] ").unwrap().1).collect();
    let expected = [
        r#""BITOP" "AND" "c" "a" "b""#,
        r#""MULTI""#,
        r#""SETBIT" "a" "0" "1""#,
        r#""BITCOUNT" "a""#,
        r#""SET" "k" "v""#,
        r#""EXEC""#,
        r#""ECHO" "end""#,
    ];
    assert_eq!(words, expected);
}

/// The first commands of a transaction run on the loop, until it is found to take too long.
#[test]
fn a_key_read_before_the_rest_was_too_much_is_remembered() {
    let mut world = World::new();
    let mut client = world.client();
    let stale = ">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n";
    client.send("HELLO 3\r\nCLIENT TRACKING ON\r\nECHO end\r\n");
    client.until("end\r\n");
    world.hold();
    client.send("MULTI\r\nSTRLEN k\r\nBITCOUNT a\r\nEXEC\r\n");
    world.until_drafts(1);
    world.control.ask("SET k v", "+OK\r\n");
    client.until(stale);
    world.release();
    client.until(&format!("*2\r\n:1\r\n:{LARGE}\r\n"));
    // What it was sent before the reply may have been about what the reply shows.
    client.expect(stale);
    client.ask("STRLEN k", ":1\r\n");
    world.control.ask("SET k w", "+OK\r\n");
    client.expect(stale);
}

#[test]
fn inputs_that_change_meanwhile_are_looked_at_again() {
    let mut world = World::new();
    let (mut client, mut other) = (world.client(), world.client());
    // Between the look at the values and the end of the work: by as many others as it takes.
    let db = world.db.clone();
    let begun = Arc::new(Barrier::new(2));
    let first_sent = begun.clone();
    let changer = std::thread::spawn(move || {
        first_sent.wait();
        for number in 0..200_u32 {
            db.increment("n", 1).unwrap();
            db.transact(&["a"], |txn| txn.write_range(b"a", number as usize, [3]).map(|_| ())).unwrap();
        }
    });
    let mut ones = 0;
    let transaction = "MULTI\r\nINCR n\r\nBITOP OR c a a\r\nBITCOUNT c\r\nEXEC\r\n";
    client.send(transaction);
    begun.wait();
    loop {
        client.until("*3\r\n:");
        client.line();
        client.expect(format!(":{LARGE}\r\n"));
        let now: usize = client.line()[1..].parse().unwrap();
        assert!(now >= ones, "an older value after a newer one");
        (ones, _) = (now, world.drafts());
        if changer.is_finished() {
            break;
        }
        client.send(transaction);
    }
    changer.join().unwrap();
    other.send("GET n\r\n");
    let total: usize = other.bulk().parse().unwrap();
    client.ask("BITOP OR c a a", format!(":{LARGE}\r\n"));
    client.ask("BITCOUNT c", format!(":{}\r\n", LARGE + 200));
    world.control.send("INFO commandstats\r\n");
    let stats = world.control.bulk();
    let exec = stats.lines().find(|line| line.starts_with("cmdstat_exec:")).unwrap();
    let execs: usize = exec.split(['=', ',']).nth(1).unwrap().parse().unwrap();
    assert_eq!(total, 200 + execs, "an increment was lost or counted twice");
}

#[test]
fn a_watched_key_that_changes_meanwhile_ends_the_transaction() {
    for (change, commits) in [("SET w 1\r\n", false), ("SET other 1\r\n", true)] {
        let mut world = World::new();
        let (mut client, mut other) = (world.client(), world.client());
        client.ask("SET w 1", "+OK\r\n");
        client.ask("WATCH w", "+OK\r\n");
        world.hold();
        let before = world.drafts();
        client.send("MULTI\r\nBITOP AND c a b\r\nSELECT 3\r\nEXEC\r\n");
        client.expect("+OK\r\n+QUEUED\r\n+QUEUED\r\n");
        world.until_drafts(before + 1);
        // The same bytes as before: it was written all the same.
        other.ask(change.trim_end(), "+OK\r\n");
        world.release();
        if commits {
            client.expect(format!("*2\r\n:{LARGE}\r\n+OK\r\n"));
            client.ask("DBSIZE", ":0\r\n");
        } else {
            client.expect("*-1\r\n");
            client.ask("STRLEN a", format!(":{LARGE}\r\n"));
        }
    }
}

/// A key was forgotten when it changed meanwhile, and the reply that came then, of before or after, was kept for ever.
#[test]
fn a_client_that_tracks_is_sent_again_what_changed_meanwhile() {
    const CHANGED: &str = ">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\na\r\n";
    let mut world = World::new();
    let (mut client, mut other) = (world.client(), world.client());
    client.send("HELLO 3\r\n");
    while client.line() != "*0" {}
    client.ask("CLIENT TRACKING ON", "+OK\r\n");
    world.hold();
    let before = world.drafts();
    client.send("BITCOUNT a\r\n");
    world.until_drafts(before + 1);
    other.ask("SETBIT a 0 1", ":0\r\n");
    client.expect(CHANGED);
    world.release();
    client.expect(format!(":{}\r\n{CHANGED}", LARGE + 1));
    // What does not change is not sent.
    client.ask("BITCOUNT b", format!(":{LARGE}\r\n"));
    other.ask("SETBIT b 0 1", ":0\r\n");
    client.expect(CHANGED.replace("\r\na\r\n", "\r\nb\r\n"));
}

/// Many that were admitted one after the other took more than there was.
#[test]
fn room_is_looked_for_again_before_a_command_runs_elsewhere() {
    let mut world = World::new();
    let (mut client, mut exec) = (world.client(), world.client());
    world.hold();
    let before = world.drafts();
    client.send("BITOP AND c a b\r\n");
    exec.send("MULTI\r\nBITOP AND d a b\r\nEXEC\r\n");
    world.until_drafts(before + 2);
    world.control.ask("CONFIG SET maxmemory 1mb", "+OK\r\n");
    world.release();
    client.expect("-OOM command not allowed when used memory > 'maxmemory'.\r\n");
    exec.expect("+OK\r\n+QUEUED\r\n-EXECABORT Transaction discarded because of: OOM");
    exec.line();
    exec.ask("EXISTS c d", ":0\r\n");
}

#[test]
fn a_client_that_goes_meanwhile_is_not_waited_for() {
    let mut world = World::new();
    let (mut killed, mut gone) = (world.client(), world.client());
    killed.send("CLIENT ID\r\n");
    let id = killed.line()[1..].to_owned();
    world.hold();
    killed.send("BITOP AND c a b\r\n");
    gone.send("MULTI\r\nBITOP AND d a b\r\nEXEC\r\n");
    world.until_drafts(2);
    world.control.ask(&format!("CLIENT KILL ID {id}"), ":1\r\n");
    killed.expect_end();
    drop(gone);
    world.control.ask("PING", "+PONG\r\n");
    world.release();
    // Its thread goes on with what comes next. What had begun is done, and nothing by half.
    let mut next = world.client();
    next.ask("BITCOUNT a", format!(":{LARGE}\r\n"));
    for key in ["c", "d"] {
        if world.db.exists(key).unwrap() {
            next.ask(&format!("BITCOUNT {key}"), format!(":{LARGE}\r\n"));
        }
    }
}

/// A transaction that concerns its connection runs on the loop, whatever it costs: once, and all of it.
#[test]
fn a_transaction_that_concerns_its_connection_runs_on_the_loop() {
    let mut world = World::new();
    let mut client = world.client();
    client.send("MULTI\r\nCLIENT SETNAME me\r\nBITCOUNT a\r\nDBSIZE\r\nEXEC\r\n");
    client.expect("+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n");
    client.expect(format!("*3\r\n+OK\r\n:{LARGE}\r\n:2\r\n"));
    assert_eq!(world.drafts(), 0);
}
