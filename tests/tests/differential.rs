//! The same random commands to redis-server and to kvserver: the replies are the same, byte for byte.
//!
//! Invariant: what may differ is listed in [`Rule`], [`Story`] and [`next_command`], each with its reason;
//! everything else fails. Left out of the
//! streams are replies that are chance (RANDOMKEY, SCAN), tell of the server (INFO, most of COMMAND and CONFIG) or would
//! end the conversation (QUIT, SUBSCRIBE, MONITOR); and commands that Redis 7.0 does not have (SET IFEQ, MSETEX, INCREX).
//!
//! It needs `redis-server` of Redis 7.0 (Debian: `apt-get install redis-server`) and says so, and passes, where there
//! is none. `KV_DIFFERENTIAL_SEED` chooses another stream, `KV_DIFFERENTIAL_COMMANDS` its length.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::net::SocketAddr;

use kvtests::process::Launch;
use kvtests::reference::Reference;
use kvtests::server_program;
use kvtests::streams::{self, Dice, Words};
use kvtests::wire::{Wire, push_request, show};
use tempfile::TempDir;

const SEED: u64 = 20_260_101;
const COMMANDS: usize = 200_000;
/// Commands that are sent before a reply is read.
const BATCH: usize = 200;
/// After so many batches all the keys are compared.
const LOOK_EVERY: usize = 5;
/// What a failure shows of what went before.
const SHOWN: usize = 25;
/// So many different differences are collected before the test gives up.
const DIFFERENCES_MAX: usize = 25;

/// The beginning of an answer to a command that met a damaged sketch.
const SKETCH_REFUSED: &[u8] = b"-INVALIDOBJ ";

/// A version and a checksum.
const DUMP_FOOTER_BYTES: usize = 2 + 8;

/// How the replies to a command are compared, where it is not byte by byte.
enum Rule {
    Same,
    /// The two servers hand out deadlines at moments of their own; what is left in seconds, or milliseconds, may
    /// differ by so much.
    Within(i64),
    /// The order of elements is nobody's promise.
    AnyOrder,
    /// OBJECT ENCODING and REFCOUNT: Redis tells how the value came about (APPEND leaves `raw`), kv what it is. And
    /// IDLETIME: the second hand moves between the two.
    Kind,
    /// DUMP ends with a version, later here than in Redis 7.0, and a checksum over it. Redis writes numbers as such only
    /// where the value came about as one.
    Dump,
    /// Each element by the rule of the command it answers.
    Exec,
}

fn rule(words: &[Vec<u8>]) -> Rule {
    match words[0].to_ascii_lowercase().as_slice() {
        b"ttl" | b"expiretime" => Rule::Within(2),
        b"pttl" | b"pexpiretime" => Rule::Within(2_000),
        b"keys" | b"pubsub" => Rule::AnyOrder,
        b"object" => Rule::Kind,
        b"dump" => Rule::Dump,
        b"exec" => Rule::Exec,
        _ => Rule::Same,
    }
}

/// How a batch of the same commands ended.
enum Story {
    Same,
    Differs(Box<Difference>),
    /// Both refused a sketch that BITFIELD or the like had damaged. Redis notices after it has changed the value and
    /// leaves it so; with kv a command that fails has changed nothing. What follows cannot be compared.
    DamagedSketch,
    /// A BITFIELD that was told to fail rather than overflow did: the value was made as long as it would have needed all the
    /// same. Redis tells nobody who watches the key; with kv whatever changes a key does.
    GrownUnseen,
}

/// One client, connected to both.
struct Client {
    redis: Wire,
    kv: Wire,
    /// What is queued in its transaction.
    queued: Vec<Words>,
    /// It may watch keys.
    watches: bool,
    history: Vec<String>,
}

impl Client {
    fn new(redis: SocketAddr, kv: SocketAddr, version: &str) -> Client {
        let mut client = Client {
            redis: Wire::connect(redis),
            kv: Wire::connect(kv),
            queued: Vec::new(),
            watches: false,
            history: Vec::new(),
        };
        client.redis.command(&format!("HELLO {version}"));
        client.kv.command(&format!("HELLO {version}"));
        client
    }

    /// Sends the commands to both and compares the replies, up to the first difference. `others_watch`: another client may
    /// be told of what is changed.
    fn compare(&mut self, commands: &[Words], others_watch: bool) -> Story {
        let mut bytes = Vec::new();
        for words in commands {
            push_request(words, &mut bytes);
        }
        self.redis.send(&bytes);
        self.kv.send(&bytes);
        let replies: Vec<(Vec<u8>, Vec<u8>)> = commands.iter().map(|_| (self.redis.reply(), self.kv.reply())).collect();
        for (words, (redis, kv)) in commands.iter().zip(replies) {
            self.history.push(format!("{} -> {}", shown(words), show(&redis)));
            if !self.same(words, &redis, &kv) {
                let before = self.history[self.history.len().saturating_sub(SHOWN)..].join("\n  ");
                return Story::Differs(Box::new(Difference { words: words.clone(), redis, kv, before }));
            }
            if redis.windows(SKETCH_REFUSED.len()).any(|part| part == SKETCH_REFUSED) {
                return Story::DamagedSketch;
            }
            let queued = if words[0].eq_ignore_ascii_case(b"exec") { self.queued.as_slice() } else { &[] };
            if (self.watches || others_watch)
                && holds_nil(&redis)
                && queued.iter().chain([words]).any(may_fail_to_overflow)
            {
                return Story::GrownUnseen;
            }
            match words[0].to_ascii_lowercase().as_slice() {
                b"watch" => self.watches = true,
                b"unwatch" if redis == b"+OK\r\n" => self.watches = false,
                b"exec" | b"discard" | b"reset" if redis[0] != b'-' => self.watches = false,
                _ => {}
            }
            match words[0].to_ascii_lowercase().as_slice() {
                b"exec" | b"discard" | b"multi" if redis[0] != b'-' => self.queued.clear(),
                b"reset" => self.queued.clear(),
                b"exec" if redis.starts_with(b"-EXECABORT") => self.queued.clear(),
                _ if redis == b"+QUEUED\r\n" => self.queued.push(words.clone()),
                _ => {}
            }
        }
        Story::Same
    }

    fn same(&self, words: &Words, redis: &[u8], kv: &[u8]) -> bool {
        if redis == kv {
            return true;
        }
        match rule(words) {
            Rule::Same => false,
            Rule::Within(slack) => match (integer(redis), integer(kv)) {
                (Some(redis), Some(kv)) => redis > 0 && kv > 0 && redis.abs_diff(kv) <= slack.unsigned_abs(),
                _ => false,
            },
            Rule::Kind => redis[0] == kv[0] && redis[0] != b'-',
            Rule::Dump => {
                let body =
                    |reply: &[u8]| reply.len().checked_sub(2 + DUMP_FOOTER_BYTES).map(|end| reply[..end].to_vec());
                redis.starts_with(b"$") && kv.starts_with(b"$") && body(redis) == body(kv)
            }
            Rule::AnyOrder => match (elements(redis), elements(kv)) {
                (Some(mut redis), Some(mut kv)) => {
                    redis.sort_unstable();
                    kv.sort_unstable();
                    redis == kv
                }
                _ => false,
            },
            Rule::Exec => match (elements(redis), elements(kv)) {
                (Some(redis), Some(kv)) => {
                    redis.len() == kv.len()
                        && redis.len() == self.queued.len()
                        && self.queued.iter().zip(redis.iter().zip(&kv)).all(|(words, (redis, kv))| {
                            // A transaction holds no other.
                            !words[0].eq_ignore_ascii_case(b"exec") && self.same(words, redis, kv)
                        })
                }
                _ => false,
            },
        }
    }
}

struct Difference {
    words: Words,
    redis: Vec<u8>,
    kv: Vec<u8>,
    before: String,
}

fn integer(reply: &[u8]) -> Option<i64> {
    std::str::from_utf8(reply.strip_prefix(b":")?).ok()?.trim_end().parse().ok()
}

/// The elements of an array or a set, as their bytes.
fn elements(reply: &[u8]) -> Option<Vec<&[u8]>> {
    let line = |from: usize| reply[from..].iter().position(|byte| *byte == b'\n').map(|at| from + at + 1);
    let length =
        |from: usize, to: usize| std::str::from_utf8(&reply[from + 1..to]).ok()?.trim_end().parse::<i64>().ok();
    if !matches!(reply.first()?, b'*' | b'~' | b'%') {
        return None;
    }
    let mut at = line(0)?;
    let mut all = Vec::new();
    while at < reply.len() {
        let start = at;
        let mut owed = 1_i64;
        while owed > 0 {
            owed -= 1;
            let end = line(at)?;
            match reply[at] {
                b'$' | b'=' => at = end + usize::try_from(length(at, end)?).map_or(0, |bytes| bytes + 2),
                kind @ (b'*' | b'~' | b'%') => {
                    owed += length(at, end)?.max(0) * if kind == b'%' { 2 } else { 1 };
                    at = end;
                }
                _ => at = end,
            }
        }
        all.push(&reply[start..at]);
    }
    Some(all)
}

fn may_fail_to_overflow(words: &Words) -> bool {
    words[0].eq_ignore_ascii_case(b"bitfield") && words.iter().any(|word| word.eq_ignore_ascii_case(b"fail"))
}

/// Whether there is a nil in an answer, of either version of the protocol.
fn holds_nil(reply: &[u8]) -> bool {
    reply.split(|byte| *byte == b'\n').any(|line| line == b"$-1\r" || line == b"_\r")
}

fn shown(words: &[Vec<u8>]) -> String {
    let words: Vec<String> = words.iter().map(|word| show(word)).collect();
    words.join(" ")
}

fn number_from(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn random_commands_are_answered_as_redis_answers_them() {
    // What both can write alike is compared.
    let Some(redis) = Reference::start(&["--rdbcompression", "no"]) else {
        println!("skipped: no redis-server of version 7.0 in PATH");
        return;
    };
    let dir = TempDir::new().expect("a directory");
    let kv = Launch::new(server_program!(), dir.path()).resp().durability("os").arguments(["--enable-debug"]).start();
    let seed = number_from("KV_DIFFERENTIAL_SEED", SEED);
    let commands = number_from("KV_DIFFERENTIAL_COMMANDS", COMMANDS as u64) as usize;
    let mut dice = Dice::new(seed);
    // Each in its own version of the protocol; they take turns, so that what one watches the other changes.
    let mut clients =
        [Client::new(redis.address(), kv.address(0), "2"), Client::new(redis.address(), kv.address(0), "3")];
    let mut seen = BTreeSet::new();
    let mut told = String::new();
    let mut sent = 0;
    while sent < commands {
        let batch: Vec<Words> = (0..BATCH).map(|_| streams::command(&mut dice)).collect();
        let turn = (sent / BATCH) % clients.len();
        sent += BATCH;
        // Not after every batch: to look, a client has to let go of what it watches.
        let looks = sent % (LOOK_EVERY * BATCH) == 0;
        let others_watch = clients.iter().enumerate().any(|(at, client)| at != turn && client.watches);
        let story = match clients[turn].compare(&batch, others_watch) {
            Story::Same if looks => clients[turn].compare_keys(),
            story => story,
        };
        match story {
            Story::Same => continue,
            Story::DamagedSketch | Story::GrownUnseen => {}
            Story::Differs(difference) => {
                let Difference { words, redis, kv, before } = *difference;
                // The same difference once; it is the first word and the kind of both replies.
                let head = |reply: &[u8]| String::from_utf8_lossy(&reply[..reply.len().min(24)]).into_owned();
                if seen.insert((words[0].to_ascii_lowercase(), head(&redis), head(&kv))) {
                    told.push_str(&format!(
                        "\n{} (before command {sent}):\n  redis {}\n  kv    {}\n  after\n  {before}\n",
                        shown(&words),
                        show(&redis),
                        show(&kv)
                    ));
                }
            }
        }
        if seen.len() >= DIFFERENCES_MAX {
            break;
        }
        // From here on the two would tell different stories: start anew.
        for client in &mut clients {
            client.start_anew();
        }
    }
    assert!(seen.is_empty(), "KV_DIFFERENTIAL_SEED={seed}: {} differences{told}", seen.len());
}

/// Parameters whose values are not those of Redis, each with the reason.
const OTHER_VALUES: &[&str] = &[
    // Said when the servers start.
    "acl-pubsub-default",
    "aclfile",
    "appendonly",
    "bind",
    "dir",
    "enable-debug-command",
    "io-threads",
    "port",
    "appendfsync",
    "save",
    "rdbcompression",
    // There are no such files.
    "appenddirname",
    "appendfilename",
    "dbfilename",
    // Ours.
    "client-output-buffer-limit",
    "tcp-backlog",
];

/// Parameters that Redis lets clients change and this server does not: where it listens, and what it does not have.
const NOT_CHANGED: &[&str] = &["bind"];

#[test]
fn every_parameter_of_redis_is_here_with_its_value_and_can_be_set_if_it_can_there() {
    let Some(redis) = Reference::start(&[]) else {
        println!("skipped: no redis-server of version 7.0 in PATH");
        return;
    };
    let dir = TempDir::new().expect("a directory");
    let kv = Launch::new(server_program!(), dir.path()).resp().arguments(["--enable-debug"]).start();
    let (mut redis, mut kv) = (Wire::connect(redis.address()), Wire::connect(kv.address(0)));
    let names = redis.command("CONFIG GET *");
    let names: Vec<String> = elements(&names).expect("a list").iter().step_by(2).map(|name| text(name)).collect();
    assert!(names.len() > 150, "{names:?}");
    let mut told = Vec::new();
    for name in &names {
        let asked = name.to_ascii_uppercase();
        let (theirs, ours) =
            (redis.command(&format!("CONFIG GET {asked}")), kv.command(&format!("CONFIG GET {asked}")));
        let is_missing = ours == b"*0\r\n";
        if is_missing || theirs != ours && !OTHER_VALUES.contains(&name.as_str()) {
            told.push(format!("CONFIG GET {asked}: redis {}, kv {}", show(&theirs), show(&ours)));
        }
        // What a server shows it takes, or it says why not.
        let set = |wire: &mut Wire, shown: &[u8]| {
            let value = elements(shown).and_then(|found| found.get(1).map(|value| text(value))).unwrap_or_default();
            show(&wire.try_command(&["CONFIG", "SET", name, &value]).expect("a reply"))
        };
        let (theirs, ours) = (set(&mut redis, &theirs), set(&mut kv, &ours));
        if theirs != ours && !NOT_CHANGED.contains(&name.as_str()) {
            told.push(format!("CONFIG SET {name}: redis {theirs}, kv {ours}"));
        }
    }
    assert!(told.is_empty(), "{}", told.join("\n"));
}

/// The text of a bulk string.
fn text(bulk: &[u8]) -> String {
    let text = String::from_utf8_lossy(bulk);
    text.split_once("\r\n").map_or("", |(_, rest)| rest.trim_end_matches("\r\n")).to_owned()
}

impl Client {
    /// Compares all that the selected database holds; inside a transaction nothing can be looked at.
    fn compare_keys(&mut self) -> Story {
        if self.redis.command("MULTI").starts_with(b"-") {
            self.kv.command("MULTI");
            return Story::Same;
        }
        self.redis.command("DISCARD");
        self.kv.command("MULTI");
        self.kv.command("DISCARD");
        let words = |line: String| line.split(' ').map(|word| word.as_bytes().to_vec()).collect::<Words>();
        let looks = (0..14).flat_map(|key| [format!("get k{key}"), format!("pexpiretime k{key}")]);
        let looks: Vec<Words> =
            looks.chain(["keys *".to_owned(), "dbsize".to_owned(), "debug digest".to_owned()]).map(words).collect();
        self.compare(&looks, false)
    }

    fn start_anew(&mut self) {
        for wire in [&mut self.redis, &mut self.kv] {
            wire.command("DISCARD");
            wire.command("UNWATCH");
            wire.command("FLUSHALL");
            wire.command("SELECT 0");
        }
        self.queued.clear();
        self.watches = false;
        self.history.clear();
    }
}
