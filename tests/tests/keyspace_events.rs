//! Keyspace events and MONITOR: what others are told of a client's commands, in which words, order and place.

#![forbid(unsafe_code)]

use std::thread;

use kvtests::process::{Launch, ServerProcess};
use kvtests::server_program;
use kvtests::wire::{Wire, request};
use tempfile::TempDir;

fn server(dir: &TempDir) -> ServerProcess {
    Launch::new(server_program!(), dir.path()).resp().durability("always").arguments(["--loops", "2"]).start()
}

/// A subscriber of everything, and the client whose commands it hears of.
struct Listening {
    listener: Wire,
    client: Wire,
    markers: usize,
}

impl Listening {
    fn to(classes: &str, server: &ServerProcess) -> Listening {
        let (mut listener, mut client) = (server.connect(), server.connect());
        client.ask(&format!("CONFIG SET notify-keyspace-events {classes}"), "+OK\r\n");
        listener.ask("PSUBSCRIBE *", "*3\r\n$10\r\npsubscribe\r\n$1\r\n*\r\n:1\r\n");
        Listening { listener, client, markers: 0 }
    }

    /// The next message, as its channel, a blank and its text.
    fn next(&mut self) -> String {
        let reply = String::from_utf8(self.listener.reply()).expect("text");
        let words: Vec<&str> = reply.split("\r\n").collect();
        assert_eq!(words[2], "pmessage", "{reply}");
        format!("{} {}", words[6], words[8])
    }

    /// All that was published since the last time. What comes later is later than the marker.
    fn heard(&mut self) -> Vec<String> {
        self.markers += 1;
        let marker = format!("marker {}", self.markers);
        self.client.ask(&format!("PUBLISH {marker}"), ":1\r\n");
        let mut heard = Vec::new();
        loop {
            match self.next() {
                message if message == marker => return heard,
                message => heard.push(message),
            }
        }
    }

    /// Carries out a command and expects these events about keys of a database, `event key` each.
    #[track_caller]
    fn hears(&mut self, command: &str, expected: &str) {
        self.client.command(command);
        let heard: Vec<String> = self.heard();
        let expected: Vec<String> = expected
            .split(", ")
            .filter(|event| !event.is_empty())
            .map(|event| match event.split_once('@') {
                Some((database, event)) => format!("__keyevent@{database}__:{event}"),
                None => format!("__keyevent@0__:{event}"),
            })
            .collect();
        assert_eq!(heard, expected, "{command}");
    }
}

#[test]
fn every_change_has_the_name_redis_gives_it() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let mut listening = Listening::to("EAn", &server);
    for (command, events) in [
        ("SET k v", "new k, set k"),
        ("SET k v EX 100", "set k, expire k"),
        ("SET k v KEEPTTL", "set k"),
        ("SET k v NX", ""),
        ("SETEX k 100 v", "set k, expire k"),
        ("GETSET k 1", "set k"),
        ("INCR k", "incrby k"),
        ("DECRBY k 3", "incrby k"),
        ("INCRBYFLOAT k 1.5", "incrbyfloat k"),
        ("INCREX k BYFLOAT 1.5", "incrbyfloat k"),
        ("INCREX n", "new n, incrby n"),
        ("INCREX n EX 100", "incrby n, expire n"),
        ("INCREX n EX 200 ENX", "incrby n"),
        ("INCREX n UBOUND 0", ""),
        ("INCREX n PERSIST", "incrby n, persist n"),
        ("INCREX n EXAT 1", "del n"),
        ("APPEND k x", "append k"),
        ("APPEND a x", "new a, append a"),
        ("MSET a 1 b 2", "set a, new b, set b"),
        ("MSETNX a 1 c 2", ""),
        ("EXPIRE a 100", "expire a"),
        ("GETEX a PERSIST", "persist a"),
        ("PERSIST a", ""),
        ("GETEX a EX 100", "expire a"),
        ("EXPIREAT a 1", "del a"),
        ("RENAME k b", "new b, rename_from k, rename_to b"),
        ("RENAME b b", ""),
        ("GETDEL b", "del b"),
        ("MSET a 1 b 2", "new a, set a, new b, set b"),
        ("DEL a b c", "del a, del b"),
        ("SET a 1", "new a, set a"),
        ("COPY a b", "new b, copy_to b"),
        ("COPY a b REPLACE", "new b, copy_to b"),
        ("COPY a b DB 3", "3@new b, 3@copy_to b"),
        ("RENAMENX b c", "new c, rename_from b, rename_to c"),
        ("MOVE a 3", "3@new a, move_from a, 3@move_to a"),
        ("MOVE a 3", ""),
        ("SETRANGE c 2 x", "setrange c"),
        ("SETBIT bits 1 1", "new bits, setbit bits"),
        ("BITOP NOT inverse bits", "new inverse, set inverse"),
        ("BITOP AND inverse nobody", "del inverse"),
        ("BITFIELD bits SET u8 0 5 SET u8 800 5", "setbit bits"),
        ("PFADD hll a", "new hll, pfadd hll"),
        ("PFCOUNT hll", ""),
        ("SELECT 3", ""),
        ("SET k v", "3@new k, 3@set k"),
        ("FLUSHALL", ""),
    ] {
        listening.hears(command, events);
    }
}

#[test]
fn only_the_wanted_classes_are_told_on_the_wanted_channels() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let mut listening = Listening::to("Kg", &server);
    listening.client.command("SET k v EX 100");
    assert_eq!(listening.heard(), ["__keyspace@0__:k expire"]);
    listening.client.ask("CONFIG SET notify-keyspace-events KEm", "+OK\r\n");
    listening.client.ask("CONFIG GET notify-keyspace-events", "*2\r\n$22\r\nnotify-keyspace-events\r\n$3\r\nKEm\r\n");
    listening.client.command("MGET k x");
    listening.client.command("SET k v");
    assert_eq!(listening.heard(), ["__keyspace@0__:x keymiss", "__keyevent@0__:keymiss x"]);
    listening.client.ask(
        "CONFIG SET notify-keyspace-events KEq",
        "-ERR CONFIG SET failed (possibly related to argument 'notify-keyspace-events') - Invalid event class \
         character. Use 'Ag$lshzxeKEtmdnoc'.\r\n",
    );
    listening.client.ask("CONFIG SET notify-keyspace-events KEA", "+OK\r\n");
    listening.client.send(request(&["CONFIG", "SET", "notify-keyspace-events", ""]));
    listening.client.expect("+OK\r\n");
    listening.client.command("DEL k");
    assert_eq!(listening.heard(), [""; 0]);
}

#[test]
fn exec_tells_of_each_command_in_its_place() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let mut listening = Listening::to("EA", &server);
    for command in ["MULTI", "SET a 1", "PUBLISH said now", "SELECT 2", "INCR a", "SELECT 0", "DEL a"] {
        listening.client.command(command);
    }
    assert_eq!(listening.client.command("DISCARD"), b"+OK\r\n");
    assert_eq!(listening.heard(), [""; 0]);
    for command in ["MULTI", "SET a 1", "PUBLISH said now", "SELECT 2", "INCR a", "SELECT 0", "DEL a"] {
        listening.client.command(command);
    }
    listening.client.ask("EXEC", "*6\r\n+OK\r\n:1\r\n+OK\r\n:1\r\n+OK\r\n:1\r\n");
    assert_eq!(
        listening.heard(),
        ["__keyevent@0__:set a", "said now", "__keyevent@2__:incrby a", "__keyevent@0__:del a"]
    );
}

#[test]
fn the_events_of_a_key_come_in_the_order_of_its_changes_whichever_loop_made_them() {
    const COMMANDS: usize = 200;
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let mut listening = Listening::to("E$gn", &server);
    thread::scope(|scope| {
        for command in ["SETNX k v", "DEL k", "SETNX k v", "DEL k"] {
            let mut wire = server.connect();
            scope.spawn(move || {
                for _ in 0..COMMANDS {
                    wire.command(command);
                }
            });
        }
    });
    let heard = listening.heard();
    assert!(!heard.is_empty());
    // A key is made only where it is not, and removed only where it is.
    let expected = ["new k", "set k", "del k"].map(|event| format!("__keyevent@0__:{event}"));
    for (heard, expected) in heard.iter().zip(expected.iter().cycle()) {
        assert_eq!(heard, expected);
    }
}

#[test]
fn a_key_that_expires_is_told_of_swept_or_overwritten() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let mut listening = Listening::to("Ex", &server);
    listening.client.command("PSETEX swept 20 v");
    assert_eq!(listening.next(), "__keyevent@0__:expired swept");
    // Written again as soon as it is seen to be gone: whether the sweep was faster or not, it is told of once.
    for round in 0..20 {
        listening.client.command(&format!("SET over {round} PX 1"));
        while listening.client.command("SET over x NX PX 5000") == b"$-1\r\n" {}
        assert_eq!(listening.heard(), ["__keyevent@0__:expired over"], "round {round}");
        listening.client.command("DEL over");
    }
}

#[test]
fn a_read_that_meets_an_expired_key_tells_of_it_and_of_misses_if_they_are_wanted() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let mut listening = Listening::to("EA", &server);
    for (classes, tells_misses) in [("KEA", false), ("KEAm", true)] {
        listening.client.ask(&format!("CONFIG SET notify-keyspace-events {classes}"), "+OK\r\n");
        for round in 0..20 {
            listening.client.command(&format!("SET gone {round} PX 1"));
            // Whether the sweep or a read is the first to see it: it is told of once, and before the reply.
            while listening.client.command("GET gone") != b"$-1\r\n" {}
            let heard = listening.heard();
            let told = |event: &str| heard.iter().filter(|heard| heard.contains(event)).count();
            assert_eq!((told(":expired gone"), told(":gone expired")), (1, 1), "{classes}, round {round}: {heard:?}");
            assert_eq!(told(":keymiss gone") > 0, tells_misses, "{classes}, round {round}: {heard:?}");
        }
    }
}

#[test]
fn monitors_see_what_is_carried_out_and_no_passwords() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let mut monitor = server.connect();
    monitor.ask("MONITOR", "+OK\r\n");
    let mut client = server.connect();
    for command in [
        "SELECT 3",
        "SET k 'a b'",
        "AUTH default secret",
        "HELLO 2 AUTH default secret SETNAME n",
        "CONFIG GET port",
        "NOSUCH",
        "GET",
        "MULTI",
        "SET k v",
        "SELECT 4",
        "EXEC",
        "MULTI",
        "NOSUCH",
        "EXEC",
    ] {
        client.command(command);
    }
    for expected in [
        r#"[3 ] "SELECT" "3""#,
        r#"[3 ] "SET" "k" "'a" "b'""#,
        r#"[3 ] "AUTH" "(redacted)" "(redacted)""#,
        r#"[3 ] "HELLO" "2" "AUTH" "(redacted)" "(redacted)" "SETNAME" "n""#,
        r#"[3 ] "MULTI""#,
        r#"[3 ] "SET" "k" "v""#,
        r#"[4 ] "SELECT" "4""#,
        r#"[4 ] "EXEC""#,
        r#"[4 ] "MULTI""#,
        r#"[4 ] "EXEC""#,
    ] {
        let line = String::from_utf8(monitor.reply()).expect("text");
        let (time, rest) = line.trim_end().split_once(' ').expect("a time");
        let (seconds, micros) = time.strip_prefix('+').and_then(|time| time.split_once('.')).expect("seconds.micros");
        assert!(seconds.len() == 10 && micros.len() == 6, "{line}");
        let (from, command) = rest.split_once("] ").expect("an address");
        let (database, address) = from.split_once(' ').expect("a database and an address");
        assert!(address.starts_with("127.0.0.1:"), "{line}");
        assert_eq!(format!("{database} ] {command}"), expected);
    }
}

#[test]
fn a_monitor_may_go_on_working_and_leaves_with_its_connection() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let mut monitor = server.connect();
    monitor.ask("MULTI", "+OK\r\n");
    monitor.ask("MONITOR", "+QUEUED\r\n");
    monitor.ask("EXEC", "*1\r\n-ERR MONITOR isn't allowed for DENY BLOCKING client\r\n");
    monitor.ask("MONITOR", "+OK\r\n");
    monitor.ask("PING", "+PONG\r\n");
    assert!(monitor.reply().ends_with(b"] \"PING\"\r\n"));
    monitor.ask("QUIT", "+OK\r\n");
    server.connect().ask("PING", "+PONG\r\n");
}
