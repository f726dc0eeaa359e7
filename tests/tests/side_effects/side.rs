//! One of the two servers, with a client that carries out the cases and others that watch what it causes.
//!
//! Invariant: before each case the server holds the same keys, used alike, and the client is as newly connected.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use kvtests::streams::Words;
use kvtests::wire::{Wire, push_request};

use super::cases::{Case, EXPIRED};

/// What a case caused, by what is compared.
pub type Observed = BTreeMap<String, String>;

/// The keys there are, and how long they live in milliseconds; 0 for ever.
const KEYS: [(&str, &str); 4] = [("str", "0"), ("num", "0"), ("vol", "1000000000"), ("hll", "0")];
/// How often every key seems to be used, or since how many seconds it seems not to be.
const FREQUENCY: &str = "100";
const IDLE_SECS: i64 = 1000;
/// The channel on which a message says that there is no more to come.
const END: &str = "the-end";

pub struct Side {
    probe: Wire,
    actor: Wire,
    actor_id: i64,
    actor_address: String,
    tracker: Wire,
    subscriber: Wire,
    watchers: Vec<(&'static str, Wire)>,
    /// A payload for RESTORE for each of [`KEYS`].
    payloads: Vec<Vec<u8>>,
    by_frequency: Option<bool>,
}

impl Side {
    pub fn connect(address: SocketAddr) -> Side {
        let mut probe = Wire::connect(address);
        for line in [
            "config set maxmemory 1000000000",
            "config set lfu-log-factor 0",
            "config set lfu-decay-time 0",
            // Which commands are slow is a matter of the machine.
            "config set slowlog-log-slower-than -1",
            "config set notify-keyspace-events KEAmn",
            "debug set-active-expire 0",
            "set str hello",
            "set num 10",
            "set vol 12345",
            "pfadd hll a b c",
        ] {
            assert!(!probe.command(line).starts_with(b"-"), "{line}");
        }
        let payloads = KEYS.map(|(key, _)| bulk_of(&probe.command(&format!("dump {key}")))).to_vec();
        let mut actor = Wire::connect(address);
        let actor_id = actor.integer("client id");
        let actor_address = actor.writer().local_addr().expect("an address").to_string();
        let mut tracker = Wire::connect(address);
        tracker.command("hello 3");
        tracker.command("client tracking on");
        tracker.command(&format!("subscribe {END}"));
        let mut subscriber = Wire::connect(address);
        subscriber.command("psubscribe __key*__:*");
        subscriber.command(&format!("subscribe {END}"));
        let watchers = ["str", "num", "vol", "nope"].map(|key| (key, Wire::connect(address)));
        let watchers = watchers.into_iter().collect();
        let by_frequency = None;
        Side { probe, actor, actor_id, actor_address, tracker, subscriber, watchers, payloads, by_frequency }
    }

    /// The payload that stands for a value in a RESTORE of a case.
    pub fn payload(&self) -> Vec<u8> {
        self.payloads[0].clone()
    }

    /// Whether it has a command, or a subcommand.
    pub fn knows(&mut self, name: &str) -> bool {
        let reply = self.probe.command(&format!("command info {name}"));
        !reply.ends_with(b"*-1\r\n") && !reply.ends_with(b"$-1\r\n")
    }

    pub fn observe(&mut self, case: &Case) -> Observed {
        self.prepare(case);
        let before = self.begin_counting();
        let mut seen = Observed::new();
        let (replies, mut pushes) = self.act(case);
        let text = self.probe.text("info stats commandstats errorstats persistence");
        for (name, value) in counted(before, &fields(&text)) {
            seen.insert(name, value);
        }
        self.look_at_keys(case, &mut seen);
        self.look_at_client(&mut seen);
        self.probe.command(&format!("publish {END} now"));
        seen.insert("events".to_owned(), until_end(&mut self.subscriber).join(" "));
        let mut invalidations = until_end(&mut self.tracker);
        invalidations.sort();
        seen.insert("invalidations".to_owned(), invalidations.join(" "));
        let mut fired = Vec::new();
        for (_, wire) in &mut self.watchers {
            send(wire, &[&["multi"], &["exec"]]);
        }
        for (key, wire) in &mut self.watchers {
            wire.reply();
            if wire.reply() != b"*0\r\n" {
                fired.push(*key);
            }
        }
        seen.insert("watches that fail".to_owned(), fired.join(" "));
        // What is pushed to the client itself comes after its reply.
        if case.spec.name == "client|no-evict" {
            // RESET of Redis 7.0 leaves it as it is.
            send(&mut self.actor, &[&["client", "no-evict", "off"]]);
        }
        send(&mut self.actor, &[&["reset"]]);
        loop {
            match self.actor.reply() {
                reply if reply == b"+RESET\r\n" => break,
                push => pushes.push(push),
            }
        }
        pushes.sort();
        seen.insert("pushes".to_owned(), pushes.iter().map(|push| push.escape_ascii().to_string()).collect());
        let shapes: Vec<String> = replies.iter().map(|reply| shape(reply, case.in_multi)).collect();
        seen.insert("reply".to_owned(), shapes.join(" "));
        seen
    }

    fn prepare(&mut self, case: &Case) {
        let mut requests: Vec<Words> = Vec::new();
        let mut add = |words: &[&[u8]]| requests.push(words.iter().map(|word| word.to_vec()).collect());
        if self.by_frequency != Some(case.by_frequency) {
            self.by_frequency = Some(case.by_frequency);
            let policy: &[u8] = if case.by_frequency { b"allkeys-lfu" } else { b"allkeys-lru" };
            add(&[b"config", b"set", b"maxmemory-policy", policy]);
        }
        let idle = IDLE_SECS.to_string();
        let usage: [&[u8]; 2] =
            if case.by_frequency { [b"freq", FREQUENCY.as_bytes()] } else { [b"idletime", idle.as_bytes()] };
        add(&[b"flushall"]);
        for ((key, ttl), payload) in KEYS.iter().zip(&self.payloads) {
            add(&[b"restore", key.as_bytes(), ttl.as_bytes(), payload, usage[0], usage[1]]);
        }
        if case.with_expired {
            add(&[b"restore", EXPIRED.as_bytes(), b"1", &self.payloads[0], usage[0], usage[1]]);
            add(&[b"debug", b"sleep", b"0.002"]);
        }
        for reply in ask(&mut self.probe, &requests) {
            assert!(reply == b"+OK\r\n", "{}", reply.escape_ascii());
        }
        send(&mut self.tracker, &[&["exists", "str"], &["exists", "num"], &["exists", "vol"], &["exists", "nope"]]);
        for _ in 0..4 {
            reply_after_pushes(&mut self.tracker);
        }
        for (key, wire) in &mut self.watchers {
            send(wire, &[&["watch", *key]]);
        }
        for (_, wire) in &mut self.watchers {
            wire.expect("+OK\r\n");
        }
        self.probe.command(&format!("publish {END} now"));
        until_end(&mut self.tracker);
        until_end(&mut self.subscriber);
        if case.resp3 {
            self.actor.command("hello 3");
        }
        if case.tracks && case.resp3 {
            self.actor.ask("client tracking on", "+OK\r\n");
        }
    }

    /// Sends the requests of a case and returns the replies, and what was pushed before them.
    fn act(&mut self, case: &Case) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
        let (mut replies, mut pushes) = (Vec::new(), Vec::new());
        for request in &case.requests {
            send(&mut self.actor, &[request.as_slice()]);
            let name = request[0].to_ascii_lowercase();
            if name.ends_with(b"subscribe") && !case.in_multi {
                // A message for each channel; an error is one too.
                for _ in 0..(request.len() - 1).max(1) {
                    let reply = self.actor.reply();
                    let failed = reply[0] == b'-';
                    replies.push(reply);
                    if failed {
                        break;
                    }
                }
                continue;
            }
            loop {
                let reply = self.actor.reply();
                if reply[0] == b'>' {
                    pushes.push(reply);
                } else {
                    replies.push(reply);
                    break;
                }
            }
        }
        (replies, pushes)
    }

    /// Lets everything be counted from zero, and returns what never is: the changes since the last save.
    fn begin_counting(&mut self) -> i64 {
        let requests = ["config resetstat", "info persistence"].map(super::cases::words);
        let replies = ask(&mut self.probe, &requests);
        number(&fields(&String::from_utf8_lossy(&replies[1])), CHANGES)
    }

    fn look_at_keys(&mut self, case: &Case, seen: &mut Observed) {
        let what = if case.by_frequency { "freq" } else { "idletime" };
        // Every key that a case may have named: Redis notices that one has expired when it is looked at.
        let mut keys = vec!["str", "num", "vol", "hll", "nope"];
        keys.extend(case.with_expired.then_some(EXPIRED));
        let requests: Vec<Words> =
            keys.iter().map(|key| super::cases::words(&format!("object {what} {key}"))).collect();
        let used: Vec<String> = keys
            .iter()
            .zip(ask(&mut self.probe, &requests))
            .map(|(key, reply)| {
                let reply = String::from_utf8_lossy(&reply).trim_end().to_owned();
                match reply.strip_prefix(':').and_then(|digits| digits.parse::<i64>().ok()) {
                    Some(number) if case.by_frequency => format!("{key}={number}"),
                    Some(number) => format!("{key}={}", if number >= IDLE_SECS { "idle" } else { "used" }),
                    None => format!("{key}={reply}"),
                }
            })
            .collect();
        seen.insert("use".to_owned(), used.join(" "));
    }

    fn look_at_client(&mut self, seen: &mut Observed) {
        let id = self.actor_id;
        let line = self.probe.text(&format!("client list id {id}"));
        for (name, value) in line.trim_end().split(' ').filter_map(|field| field.split_once('=')) {
            let value = match name {
                "addr" if value == self.actor_address => "its own",
                "name" | "addr" | "flags" | "db" | "sub" | "psub" | "ssub" | "multi" | "events" | "cmd" | "user"
                | "redir" | "resp" | "obl" | "oll" | "omem" | "qbuf" | "lib-name" | "lib-ver" => value,
                // What it takes in memory, ids, and what tells the time.
                _ => continue,
            };
            seen.insert(format!("client {name}"), value.to_owned());
        }
    }
}

const CHANGES: &str = "rdb_changes_since_last_save";

fn fields(text: &str) -> BTreeMap<&str, &str> {
    text.lines().filter_map(|line| line.split_once(':')).collect()
}

fn number(fields: &BTreeMap<&str, &str>, name: &str) -> i64 {
    fields.get(name).and_then(|value| value.parse().ok()).unwrap_or(0)
}

/// What INFO says of what was counted; `before`: the changes that were there already.
fn counted(before: i64, info: &BTreeMap<&str, &str>) -> Vec<(String, String)> {
    let mut all = vec![(CHANGES.to_owned(), (number(info, CHANGES) - before).to_string())];
    for name in ["keyspace_hits", "keyspace_misses", "total_error_replies", "expired_keys"] {
        all.push((name.to_owned(), number(info, name).to_string()));
    }
    // Times differ.
    let is_count = |part: &&str| {
        ["calls=", "rejected_calls=", "failed_calls=", "count="].iter().any(|name| part.starts_with(name))
    };
    for (kind, name) in [("cmdstat_", "commandstats"), ("errorstat_", "errorstats")] {
        let rows = info.iter().filter_map(|(row, value)| Some((row.strip_prefix(kind)?, value)));
        let rows = rows.filter(|(row, _)| !matches!(*row, "info" | "config|resetstat"));
        let rows = rows
            .map(|(row, value)| format!("{row}:{}", value.split(',').filter(is_count).collect::<Vec<_>>().join(",")));
        all.push((name.to_owned(), rows.collect::<Vec<_>>().join(" ")));
    }
    all
}

fn send<W: AsRef<[u8]>>(wire: &mut Wire, requests: &[&[W]]) {
    let mut bytes = Vec::new();
    requests.iter().for_each(|words| push_request(words, &mut bytes));
    wire.send(&bytes);
}

fn ask(wire: &mut Wire, requests: &[Words]) -> Vec<Vec<u8>> {
    let requests: Vec<&[Vec<u8>]> = requests.iter().map(Vec::as_slice).collect();
    send(wire, &requests);
    requests.iter().map(|_| wire.reply()).collect()
}

fn reply_after_pushes(wire: &mut Wire) -> Vec<u8> {
    loop {
        let reply = wire.reply();
        if reply[0] != b'>' {
            return reply;
        }
    }
}

/// What a wire was told before the message of the end.
fn until_end(wire: &mut Wire) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let message = wire.reply();
        if message.windows(END.len()).any(|part| part == END.as_bytes()) {
            return all;
        }
        let text = String::from_utf8_lossy(&message).into_owned();
        // The words of it, without what frames them.
        let framing = ['$', '*', '>', '+'];
        let words: Vec<&str> = text.lines().filter(|line| !line.starts_with(framing)).collect();
        let what = if words[0] == "pmessage" { 2 } else { 1 };
        all.push(words[what..].join("|"));
    }
}

fn bulk_of(reply: &[u8]) -> Vec<u8> {
    let start = reply.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    reply[start..reply.len() - 2].to_vec()
}

/// The types a reply is made of. Of an array, in which all may be alike, each type once; `whole`: of the outermost array
/// every element.
fn shape(reply: &[u8], whole: bool) -> String {
    fn one(reply: &[u8], at: &mut usize, whole: bool) -> String {
        let end = reply[*at..].iter().position(|byte| *byte == b'\n').map_or(reply.len(), |end| *at + end + 1);
        let head = &reply[*at..end];
        let length =
            || std::str::from_utf8(&head[1..]).ok().and_then(|text| text.trim_end().parse::<i64>().ok()).unwrap_or(0);
        *at = end;
        match head[0] {
            b'-' => {
                let code = head.split(|byte| matches!(byte, b' ' | b'\r')).next().unwrap_or_default();
                String::from_utf8_lossy(code).into_owned()
            }
            kind @ (b'$' | b'=' | b'*' | b'_') if head[1..].starts_with(b"-1") || kind == b'_' => {
                String::from_utf8_lossy(head).trim_end().to_owned()
            }
            kind @ (b'$' | b'=' | b'!') => {
                *at += usize::try_from(length()).unwrap_or(0) + 2;
                char::from(kind).to_string()
            }
            kind @ (b'*' | b'~' | b'>' | b'%') => {
                let times = if kind == b'%' { 2 } else { 1 };
                let mut parts: Vec<String> = (0..length() * times).map(|_| one(reply, at, false)).collect();
                if !whole {
                    parts.sort();
                    parts.dedup();
                }
                format!("{}({})", char::from(kind), parts.join(" "))
            }
            kind => char::from(kind).to_string(),
        }
    }
    one(reply, &mut 0, whole)
}
