//! Every body that the server gives to the store is repeatable: run twice, it has the replies, effects, messages and counts of
//! one run.
//!
//! Two servers are sent the same requests; the store of one runs each body, undoes what it did, and runs it again
//! ([`run_bodies_twice`](kvcore::hooks::DbHooks::run_bodies_twice)). The cases come from the command table (see [`cases`]), so a new
//! command is tested as soon as it has a row.
//!
//! Invariant: whatever differs between any two runs of a server (times, ports, the order of a hash table) is masked; all else must
//! be the same.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[allow(dead_code, reason = "each test file uses a part of it")]
mod cases;
mod support;

use std::fmt::Write as _;
use std::io::Read as _;

use cases::{Case, VALUE};
use kvcore::{Db, Options};
use kvproto::Spec;
use kvserver::Server;
use support::Client;

/// What ends everything that a request is followed by.
const END: &str = "end.of.replies";

/// Rows that are not sent: they end the server or their connection, wait for a file, or keep back what follows.
const NOT_SENT: &[&str] = &["backup|start", "bgrewriteaof", "bgsave", "monitor", "multi", "quit", "save", "shutdown"];

/// Rows whose replies differ between any two runs: random ones, and what they measure.
const RANDOM: &[&str] =
    &["acl|genpass", "debug", "hotkeys|get", "info", "latency|histogram", "lolwut", "randomkey", "time"];

/// Rows whose replies hold figures of time and memory.
const MEASURED: &[&str] = &[
    "acl|log",
    "client|info",
    "client|list",
    "commandlog|get",
    "expiretime",
    "lastsave",
    "object|idletime",
    "pexpiretime",
    "pttl",
    "role",
    "slowlog|get",
    "ttl",
];

/// A client that reads much at a time.
struct Peer {
    client: Client,
    unread: Vec<u8>,
}

impl Peer {
    fn of(server: &Server) -> Peer {
        Peer { client: Client::of(server), unread: Vec::new() }
    }

    /// Returns what is sent up to and including `end`.
    #[track_caller]
    fn until(&mut self, end: &str) -> String {
        let (end, mut searched) = (end.as_bytes(), 0);
        loop {
            let found = self.unread[searched..].windows(end.len()).position(|bytes| bytes == end);
            if let Some(at) = found {
                let text: Vec<u8> = self.unread.drain(..searched + at + end.len()).collect();
                return String::from_utf8_lossy(&text).into_owned();
            }
            searched = self.unread.len().saturating_sub(end.len());
            let mut piece = [0; 8192];
            match self.client.stream().read(&mut piece) {
                Ok(len) if len > 0 => self.unread.extend(&piece[..len]),
                other => panic!("no {:?} ({other:?}) in {:?}", end.escape_ascii(), self.unread.escape_ascii()),
            }
        }
    }

    /// Sends requests, and returns all that is sent for them.
    #[track_caller]
    fn ask(&mut self, requests: impl AsRef<[u8]>) -> String {
        self.client.send([requests.as_ref(), format!("\r\nPING {END}\r\n").as_bytes()].concat());
        self.until(&format!("{END}\r\n"))
    }
}

/// One of the two servers, and its clients.
struct Side {
    db: Db,
    server: Server,
    controller: Peer,
    /// They are sent what others do: messages and events, invalidations, every command.
    observers: [(&'static str, Peer); 3],
    dump: Vec<u8>,
    /// The last that was sent requests.
    last: Option<Peer>,
}

impl Side {
    fn new(twice: bool) -> Side {
        let db = Options::new().shards(2).in_memory().unwrap();
        db.hooks().run_bodies_twice(twice);
        let server = Server::builder()
            .store(db.clone())
            .listen("resp://127.0.0.1:0".parse().unwrap())
            .loops(1)
            .debug_commands(true)
            .start()
            .unwrap();
        let mut controller = Peer::of(&server);
        controller.ask("CONFIG SET notify-keyspace-events KEAnm slowlog-log-slower-than 0");
        controller.ask("ACL SETUSER reader on >pass ~* &* +@all -@write");
        controller.ask(format!("SET dumped {VALUE}"));
        controller.client.send("DUMP dumped\r\n");
        let dump = controller.client.bulk_bytes();
        controller.ask("FLUSHALL");
        let [mut subscriber, mut tracker, mut monitor] = [(); 3].map(|()| Peer::of(&server));
        subscriber.ask("PSUBSCRIBE *");
        tracker.ask("HELLO 3\r\nCLIENT TRACKING ON BCAST");
        monitor.ask("MONITOR");
        let observers = [("subscriber", subscriber), ("tracker", tracker), ("monitor", monitor)];
        Side { db, server, controller, observers, dump, last: None }
    }

    /// Sends requests as a client of their own. Returns what it is sent for them.
    fn send(&mut self, requests: &[u8]) -> String {
        self.leave();
        let last = self.last.insert(Peer::of(&self.server));
        // What is pushed may come behind the replies.
        let replies = last.ask(requests) + &last.ask("");
        if !["subscribe", "invalidate"].iter().any(|pushes| replies.contains(pushes)) {
            return replies;
        }
        // Between which of them it comes is a matter of time.
        let mut lines: Vec<&str> = replies.split("\r\n").collect();
        lines.sort_unstable();
        lines.join("\r\n")
    }

    /// Returns all that others see of what was done since the last time.
    fn shown(&mut self) -> String {
        let log = without_numbers(&self.controller.ask("ACL LOG"));
        let looks = "ACL LIST\r\nPUBSUB CHANNELS\r\nPUBSUB NUMPAT\r\nSLOWLOG LEN\r\nCLIENT LIST";
        let mut shown = masked(&log, true) + &masked(&self.controller.ask(looks), true);
        let counted = [
            "cmdstat_",
            "errorstat_",
            "keyspace_",
            "total_error",
            "tracking_",
            "pubsub",
            "db",
            "acl_",
            "instantaneous_hits",
        ];
        let info = self.controller.ask("INFO clients stats commandstats errorstats keyspace");
        let counts = info.lines().filter(|line| counted.iter().any(|start| line.starts_with(start)));
        // How long they took is no matter of the body.
        let is_untimed = |part: &&str| !part.contains("usec") && !part.contains("time_ms") && !part.contains("avg_ttl");
        shown.extend(counts.map(|line| line.split(',').filter(is_untimed).collect::<Vec<_>>().join(",") + "\n"));
        for keyspace in self.db.keyspaces() {
            let mut entries = Vec::new();
            for entry in keyspace.iter().unwrap() {
                let (key, value) = entry.unwrap();
                let has_deadline = keyspace.ttl(&key).unwrap().is_some();
                entries.push(format!("{}: {key:?} {value:?} {has_deadline}\n", keyspace.name()));
            }
            entries.sort_unstable();
            shown.extend(entries);
        }
        // The last that each observer is sent.
        self.controller.ask(format!("SELECT 0\r\nSET {END} 1\r\nPUBLISH news {END}"));
        for (what, observer) in &mut self.observers {
            let seen = match *what {
                "subscriber" => observer.until(&format!("news\r\n${}\r\n{END}\r\n", END.len())),
                "tracker" => observer.until(&format!("*1\r\n${}\r\n{END}\r\n", END.len())),
                _ => observer.until(&format!("\"PUBLISH\" \"news\" \"{END}\"\r\n")),
            };
            let mut seen: Vec<String> = masked(&seen, false).lines().map(str::to_owned).collect();
            if *what == "tracker" {
                // How many keys a message has is a matter of how many requests are read at once.
                seen.retain(|line| !line.starts_with(['>', '*', '$']) && line.trim_end() != "invalidate");
                seen.sort_unstable();
                seen.dedup();
            }
            shown += &format!("{what}: {}\n", seen.join("\n"));
        }
        self.controller.ask(format!("DEL {END}\r\nCONFIG RESETSTAT\r\nSLOWLOG RESET\r\nACL LOG RESET"));
        self.leave();
        shown
    }

    /// Ends the last client that was sent requests: it is gone before the next one comes.
    fn leave(&mut self) {
        if let Some(mut last) = self.last.take() {
            last.client.send("QUIT\r\n");
            last.client.stream().read_to_end(&mut Vec::new()).unwrap();
        }
    }
}

/// Leaves out numbers.
fn without_numbers(text: &str) -> String {
    text.split_inclusive("\r\n")
        .filter(|line| !line.starts_with(':') && line.trim_end().parse::<f64>().is_err())
        .collect()
}

/// Masks times, ports and figures that are measured. `figures`: lengths, too.
fn masked(text: &str, figures: bool) -> String {
    let mut masked = String::new();
    let mut lines: Vec<&str> = text.split("\r\n").flat_map(|line| line.split('\n')).collect();
    if figures {
        lines.retain(|line| !line.starts_with(['$', '=']) && !line.contains(" bytes"));
    }
    for line in lines {
        for word in line.split(' ') {
            let is_time = word.starts_with('+') && word.contains('.');
            let is_measured = [
                "addr",
                "laddr",
                "fd",
                "cmd",
                "age",
                "idle",
                "tot-",
                "qbuf",
                "rb",
                "rbs",
                "rbp",
                "omem",
                "obl",
                "oll",
                "argv",
                "multi-mem",
            ]
            .iter()
            .any(|name| word.starts_with(name) && word.contains('='));
            let word = match word.split_once('=') {
                _ if is_time || word.contains("127.0.0.1:") => "-",
                Some((name, _)) if is_measured => name,
                _ => word,
            };
            let _ = write!(masked, "{word} ");
        }
        masked.push('\n');
    }
    masked
}

/// Returns what must be the same of the replies to a row's request.
fn comparable(spec: &Spec, replies: &str) -> String {
    if RANDOM.contains(&spec.name) {
        return String::new();
    }
    let is_measured = MEASURED.contains(&spec.name) || spec.name.starts_with("memory|");
    let replies = if is_measured { masked(&without_numbers(replies), true) } else { masked(replies, false) };
    // A table's order is another in each store.
    let is_ordered = !matches!(spec.name, "keys" | "print" | "scan" | "config|get");
    let mut lines: Vec<&str> = replies.lines().collect();
    if !is_ordered {
        lines.sort_unstable();
    }
    lines.join("\n")
}

fn both() -> [Side; 2] {
    [false, true].map(Side::new)
}

/// Adds to `differences` where two servers differ first, if they do.
fn compare([once, twice]: [String; 2], what: &str, differences: &mut Vec<String>) {
    if once != twice {
        let lines = |text: &str| text.lines().map(str::to_owned).chain(["(end)".to_owned()]).collect::<Vec<_>>();
        let (once, twice) = (lines(&once), lines(&twice));
        let first = once.iter().zip(&twice).find(|(once, twice)| once != twice);
        differences.push(format!("{what}: once and twice: {first:#?}"));
    }
}

#[track_caller]
fn expect_none(differences: &[String]) {
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}

#[test]
fn each_command_has_one_outcome_however_often_its_body_runs() {
    let (mut sides, mut differences) = (both(), Vec::new());
    for spec in cases::rows().filter(|spec| !NOT_SENT.contains(&spec.name)) {
        for side in &mut sides {
            side.controller.ask("FLUSHALL");
        }
        // On a draft, too, what touches data.
        let loop_works = if spec.is_write() || spec.is_read_only() { &["-1", "0"][..] } else { &["-1"] };
        let done = sides.each_mut().map(|side| {
            let mut outcome = String::new();
            for (loop_work, exec) in loop_works.iter().flat_map(|loop_work| [(loop_work, false), (loop_work, true)]) {
                let tag = format!("{}.{exec}{loop_work}", spec.name.replace('|', "."));
                let case = Case::new(spec, &tag, &side.dump);
                let request = match exec {
                    false => case.resp(),
                    true if !case.can_be_queued() => continue,
                    true => {
                        let begin = b"MULTI\r\nSELECT 2\r\nINCR n\r\nSELECT 0\r\n";
                        [begin, &*case.resp(), b"GET absent\r\nEXEC\r\n"].concat()
                    }
                };
                side.controller.ask(format!("DEBUG LOOP-WORK {loop_work}\r\nSET another 1\r\n{}", case.fixture()));
                let replies = comparable(spec, &side.send(&request));
                outcome += &format!("in EXEC: {exec}, LOOP-WORK {loop_work}: {replies}\n");
            }
            outcome + &side.shown()
        });
        compare(done, spec.name, &mut differences);
    }
    expect_none(&differences);
}

/// Transactions whose commands change what those behind them, or others, go by.
const SCENARIOS: &[&str] = &[
    "SELECT 3|SET k v|SELECT 4|SET k v",
    "SUBSCRIBE c d|PUBLISH c one|UNSUBSCRIBE c|PUBLISH d two|PUBSUB CHANNELS",
    "PSUBSCRIBE x*|PUBLISH x1 one|PUNSUBSCRIBE|PUBSUB NUMPAT",
    "UNSUBSCRIBE|SUBSCRIBE c|SUBSCRIBE c",
    "PUBLISH a 1|SET k v|PUBLISH a 2|APPEND k w",
    "PUBLISH a 1|PUBLISH a 2",
    "CLIENT SETNAME me|CLIENT GETNAME|CLIENT INFO",
    "CLIENT NO-TOUCH ON|GET k|CLIENT NO-TOUCH OFF",
    "CLIENT TRACKING ON|GET k|SET k 2|CLIENT TRACKINGINFO",
    "CLIENT TRACKING ON OPTIN|CLIENT CACHING YES|GET k|CLIENT TRACKING OFF",
    "CLIENT TRACKING ON BCAST PREFIX a|CLIENT TRACKING ON BCAST PREFIX b",
    "CLIENT REPLY SKIP|GET k",
    "AUTH reader pass|SET k v|GET k",
    "AUTH reader wrong|SET k v",
    "HELLO 3 AUTH reader pass SETNAME you|SET k v|ACL WHOAMI",
    "SUBSCRIBE c|AUTH reader pass|ACL WHOAMI",
    "ACL SETUSER one|ACL DELUSER one|ACL DELUSER one",
    "ACL DELUSER victim|ACL DELUSER victim",
    "ACL LOG RESET|ACL LOG",
    "CONFIG SET maxclients 999|CONFIG GET maxclients|CONFIG SET maxclients 1000",
    "CONFIG RESETSTAT|GET absent|INCR n",
    "SLOWLOG LEN|SLOWLOG RESET|SLOWLOG LEN",
    "LATENCY RESET|LATENCY LATEST",
    "CLIENT KILL ID 999999|CLIENT LIST",
    "CLIENT KILL SKIPME no TYPE pubsub ID 999999|GET k",
    "CLIENT UNPAUSE|CLIENT PAUSE 0",
    "SET k text|INCR k|APPEND k more|GET absent|MGET k absent",
    "FLUSHALL|SET k v|DBSIZE|FLUSH|FLUSHDB",
    "SET k v|SWAPDB 0 1|GET k|SWAPDB 0 1|MOVE k 1|COPY n k DB 1 REPLACE",
    "SET e 1 PX 1|GET e|PERSIST e|DEL e",
    "DEBUG DIGEST|DEBUG DIGEST-VALUE k n|DEBUG OBJECT k",
    "GET k|SET k 2|GET k",
    "SET k 2|GET k",
    "HOTKEYS START METRICS 1 CPU|GET k|HOTKEYS STOP|HOTKEYS RESET",
    "UNWATCH|PING|ECHO x|NOSUCH|GETRANGE k 0",
];

#[test]
fn transactions_are_carried_out_once() {
    let (mut sides, mut differences) = (both(), Vec::new());
    for scenario in SCENARIOS {
        for begin in ["", "HELLO 3\r\nCLIENT TRACKING ON\r\nGET n\r\n", "WATCH k n\r\n", "WATCH k\r\nSET k changed\r\n"]
        {
            let done = sides.each_mut().map(|side| {
                side.controller.ask("SET k v\r\nSET n 1\r\nACL SETUSER victim");
                let queue: String = scenario.split('|').map(|command| format!("{command}\r\n")).collect();
                let request = format!("{begin}MULTI\r\n{queue}EXEC\r\nCLIENT INFO\r\nSET k after\r\nSET n 2");
                let replies = masked(&side.send(request.as_bytes()), true);
                (replies, side.shown())
            });
            let [once, twice] = done;
            compare([once.0, twice.0], &format!("{begin:?}, {scenario}: replies"), &mut differences);
            compare([once.1, twice.1], &format!("{begin:?}, {scenario}: what others see"), &mut differences);
        }
    }
    expect_none(&differences);
}
