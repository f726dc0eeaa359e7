//! No request stalls other clients: what every command of the table does on its event loop is bounded, on large values and
//! with as many words as 64 KiB hold.
//!
//! Invariant: nothing is measured by the clock on the wall. Commands that take much computing are held before they begin,
//! and others must be served meanwhile; of all others the loop's own processor time is measured, which the system counts.
//! One test, since it counts the time of the thread by its name.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test that cannot go on has failed")]

#[allow(dead_code, reason = "each test file uses a part of it")]
mod cases;
mod support;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::time::Duration;

use cases::Case;
use kvcore::{Db, Options};
use kvproto::Spec;
use kvproto::spec::{ArgKind, Group};
use kvserver::Server;
use support::Client;

/// A request may take this much.
const REQUEST_BYTES: usize = 64 * 1024;
const VALUE_BYTES: usize = 8 * 1024 * 1024;
/// LCS takes two values of 11,000 bytes, which cost thirty times as much; in a debug build seconds.
const LCS_BYTES: usize = 2_000;
/// The most that a request may take of its loop, in milliseconds of processor time.
const LOOP_MS_MAX: u64 = 50;

/// A value that is removed, and what removing it may take of the loop: about 45 ms if it freed it.
const FREED_BYTES: usize = 256 * 1024 * 1024;
const FREED_MS_MAX: u64 = 20;

/// Rows that may take longer, and why.
const EXCEPTIONS: &[(&str, &str)] = &[
    ("debug", "refused unless the server was started for it"),
    ("shutdown", "ends the server"),
    ("monitor", "its client is sent all that follows"),
    ("client|kill", "ends clients"),
    ("client|pause", "stops clients on purpose"),
    ("quit", "ends the connection"),
    ("reset", "has a reply of its own"),
    ("backup|start", "its archive follows"),
    ("psync", "is refused"),
    ("sync", "is refused"),
    ("pfselftest", "the same work each time, 15 ms in a release build"),
];

/// Commands that must have been parked: whose cost is known to be large here.
const PARKED: &[&str] = &[
    "append", "bitcount", "bitfield", "bitop", "bitpos", "delex", "digest", "dump", "getrange", "lcs", "pfcount",
    "pfmerge", "set", "setbit", "setrange", "substr",
];

/// Words of rows whose generic ones cost little. `{k}` and `{l}` are keys; `*` behind the last repeats it as often as the
/// request may hold.
const WORDS: &[(&str, &str)] = &[
    ("bitfield", "{k} SET u8 0 1"),
    ("bitop", "AND {k} {l} {k}*"),
    ("bitpos", "{k} 1"),
    ("delex", "{k} IFDEQ 0000000000000000"),
    ("getrange", "{k} 0 -2"),
    ("lcs", "{k} {l}"),
    ("set", "{k} v IFDEQ 0000000000000000"),
    ("setbit", "{k} 0 1"),
    ("setrange", "{k} 0 x"),
    ("substr", "{k} 0 -2"),
];

/// Milliseconds of processor time that the loop has used.
fn loop_ms() -> u64 {
    let threads = fs::read_dir("/proc/self/task").unwrap().flatten();
    let of_loop =
        |path: &std::path::Path| fs::read_to_string(path.join("comm")).is_ok_and(|name| name == "kv-loop-0\n");
    let used = |path: std::path::PathBuf| {
        let text = fs::read_to_string(path.join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    };
    threads.map(|thread| thread.path()).filter(|path| of_loop(path)).filter_map(used).sum::<u64>() / 1_000_000
}

/// Memory of this process.
fn resident_bytes() -> usize {
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    pages.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// A client that reads whole replies.
struct Reader(BufReader<TcpStream>);

impl Reader {
    fn of(server: &Server) -> (Client, Reader) {
        let mut client = Client::of(server);
        let stream = client.stream().try_clone().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        (client, Reader(BufReader::with_capacity(1 << 20, stream)))
    }

    /// Reads a reply, and returns the line that it begins with.
    fn reply(&mut self, what: &str) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap_or_else(|error| panic!("no reply to {what}: {error}"));
        assert!(line.ends_with("\r\n"), "{line:?}");
        let count = || line[1..].trim_end().parse::<i64>().unwrap();
        match &line[..1] {
            "$" | "=" if count() >= 0 => {
                let bytes = u64::try_from(count()).unwrap() + 2;
                assert_eq!(std::io::copy(&mut (&mut self.0).take(bytes), &mut std::io::sink()).unwrap(), bytes);
            }
            "*" | "~" | ">" => (0..count().max(0)).for_each(|_| drop(self.reply(what))),
            "%" => (0..2 * count()).for_each(|_| drop(self.reply(what))),
            _ => {}
        }
        line
    }
}

/// The largest request for a row, and its keys.
fn request(spec: &'static Spec) -> Case {
    let mut case = Case::new(spec, &spec.name.replace('|', "."), b"");
    let (k, l) = ("first", "second");
    if let Some((_, words)) = WORDS.iter().find(|(name, _)| *name == spec.name) {
        case.words = spec.name.split('|').map(|word| word.as_bytes().to_vec()).collect();
        for word in words.split(' ') {
            match word.strip_suffix('*').filter(|word| word.starts_with('{')) {
                Some(word) => repeat(&mut case, word.replace("{k}", k).replace("{l}", l).as_bytes()),
                None => case.words.push(word.replace("{k}", k).replace("{l}", l).into_bytes()),
            }
        }
        case.keys = vec![k.into(), l.into()];
        case.sources = case.keys.clone();
    } else if matches!(spec.name, "pfcount" | "pfmerge") {
        // A key that is named again costs nothing, so each is another one.
        case.sources = (0..100).map(|number| format!("sketch{number}")).collect();
        case.words.truncate(1);
        case.words.extend(case.sources.iter().map(|key| key.clone().into_bytes()));
        case.keys = case.sources.clone();
    } else if let Some(last) = spec.args.last()
        && last.multiple
        && !matches!(last.kind, ArgKind::Block(_) | ArgKind::OneOf(_))
        && last.token.is_none()
        && !matches!(spec.name, "acl|setuser")
    {
        let last = if spec.name == "config|get" { b"*a*b*".to_vec() } else { case.words.last().unwrap().clone() };
        repeat(&mut case, &last);
    }
    case
}

/// Adds a word as often as the request may hold it.
fn repeat(case: &mut Case, word: &[u8]) {
    let header = format!("${}\r\n\r\n", word.len()).len();
    let count = (REQUEST_BYTES - case.resp().len() - 16) / (header + word.len());
    case.words.extend(std::iter::repeat_n(word.to_vec(), count));
}

fn prepare(db: &Db, case: &Case) {
    db.clear_all().unwrap();
    for key in &case.sources {
        match (case.spec.group, case.spec.name) {
            (Group::HyperLogLog, _) => db.set(key, sketch()).unwrap(),
            (_, "lcs") => db.set(key, text(key)).unwrap(),
            _ => db.set(key, vec![0; VALUE_BYTES]).unwrap(),
        }
    }
}

/// A value of two letters, other for each key.
fn text(key: &str) -> Vec<u8> {
    let mut dice = fastrand::Rng::with_seed(key.len() as u64);
    (0..LCS_BYTES).map(|_| dice.u8(b'a'..=b'b')).collect()
}

/// A dense sketch, whose cardinality is not known.
fn sketch() -> Vec<u8> {
    let mut sketch = b"HYLL\0\0\0\0\0\0\0\0\0\0\0\x80".to_vec();
    sketch.resize(16 + 12_288, 0);
    sketch
}

#[test]
fn no_command_keeps_its_loop_from_other_clients() {
    let db = Options::new().shards(1).in_memory().unwrap();
    let server = Server::builder()
        .store(db.clone())
        .listen("resp://127.0.0.1:0".parse().unwrap())
        .loops(1)
        .debug_commands(true)
        .start()
        .unwrap();
    let mut other = Client::of(&server);
    let mut control = Client::of(&server);

    // To give memory back takes the system longer than everything else that these do.
    let large = vec![1; FREED_BYTES];
    for request in
        ["DEL large", "UNLINK large", "SET large v", "RENAME other large", "EXPIRE large 0", "FLUSHDB", "FLUSHALL"]
    {
        other.ask("SET other 1", "+OK\r\n");
        let resident = resident_bytes();
        db.set("large", &large).unwrap();
        let before = loop_ms();
        other.send(format!("{request}\r\n"));
        assert!([":1", "+OK"].contains(&other.line().as_str()), "{request}");
        // Served when the loop is done with what came before.
        other.ask("PING", "+PONG\r\n");
        let used = loop_ms() - before;
        assert!(used <= FREED_MS_MAX, "{request}: {used} ms to free {FREED_BYTES} bytes");
        // The next one would not find the thread free.
        while resident_bytes() > resident + FREED_BYTES / 2 {
            std::thread::yield_now();
        }
    }

    // Few keys, which take long to match: all of them repeat what the pattern repeats.
    let long_key = |number: usize| format!("{}{number:03}", "a".repeat(20_000));
    (0..300).for_each(|number| db.set(long_key(number), "v").unwrap());
    let pattern = format!("*{}b*", "a".repeat(1_000));
    for (request, reply) in [
        (format!("KEYS {pattern}\r\n"), "*0"),
        (format!("SCAN 0 COUNT 1000 MATCH {pattern}\r\n"), "*2"),
        ("PRINT\r\n".to_owned(), "*300"),
    ] {
        let (mut client, mut reader) = Reader::of(&server);
        let before = loop_ms();
        client.send(request);
        assert_eq!(reader.reply("a walk").trim_end(), reply);
        let used = loop_ms() - before;
        assert!(used <= LOOP_MS_MAX, "{used} ms to match 300 keys");
    }
    db.clear_all().unwrap();

    let (mut parked, mut slow, mut refused, mut counted) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for (name, _) in WORDS {
        assert!(cases::rows().any(|spec| spec.name == *name), "{name} is no row of the command table");
    }
    for spec in cases::rows().filter(|spec| !EXCEPTIONS.iter().any(|(name, _)| *name == spec.name)) {
        let case = request(spec);
        prepare(&db, &case);
        // Somebody holds the values, so that they are copied before they are changed.
        let held: Vec<_> = case.sources.iter().map(|key| db.get(key)).collect();
        let same = case.keys.first().map_or("no", String::as_str).to_owned();
        control.ask("DEBUG HOLD-COMPUTING 1", "+OK\r\n");
        control.ask("CONFIG RESETSTAT", "+OK\r\n");
        let (mut client, mut reader) = Reader::of(&server);
        let before = loop_ms();
        client.send(case.resp());
        // Sent behind it, and in the same iteration of the loop or a later one. Three times, since one may come before.
        for _ in 0..3 {
            other.ask("PING", "+PONG\r\n");
            other.ask("SET other 1", "+OK\r\n");
            other.ask("GET other", "$1\r\n1\r\n");
            other.send(format!("STRLEN {same}\r\n"));
            other.line();
        }
        let used = loop_ms() - before;
        if used > LOOP_MS_MAX {
            slow.push(format!("{}: {used} ms", spec.name));
        }
        let run = drafts(&mut control);
        if run > counted {
            parked.push(spec.name);
        }
        counted = run;
        control.ask("DEBUG HOLD-COMPUTING 0", "+OK\r\n");
        let reply = if spec.name.ends_with("subscribe") { String::new() } else { reader.reply(spec.name) };
        // What is refused has not done what it costs.
        if reply.starts_with('-') {
            refused.push(spec.name);
        }
        drop(held);
    }
    assert!(slow.is_empty(), "took more than {LOOP_MS_MAX} ms of their loop: {slow:?}");
    let missed: Vec<_> = PARKED.iter().filter(|name| !parked.contains(*name)).collect();
    assert!(missed.is_empty(), "ran on the loop although they cost much: {missed:?}; elsewhere: {parked:?}");
    println!("elsewhere: {parked:?}\nrefused: {refused:?}");
}

/// How many commands were run elsewhere.
fn drafts(client: &mut Client) -> u64 {
    client.send("INFO stats\r\n");
    let info = client.bulk();
    let field = info.lines().find_map(|line| line.strip_prefix("commands_run_on_drafts:"));
    field.unwrap().parse().unwrap()
}
