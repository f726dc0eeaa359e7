//! CONFIG, INFO, SLOWLOG, MONITOR, LATENCY, MEMORY, OBJECT and WAITAOF, as an operator's tools see them over TCP.

#![forbid(unsafe_code)]

use std::path::Path;

use kvtests::process::{Launch, ServerProcess};
use kvtests::server_program;
use kvtests::wait;
use kvtests::wire::{Wire, push_request, show};
use tempfile::TempDir;

fn start(dir: &Path) -> ServerProcess {
    Launch::new(server_program!(), dir).resp().arguments(["--loops", "1", "--enable-debug"]).durability("os").start()
}

/// A field of INFO; a section's fields are there once.
fn field(wire: &mut Wire, section: &str, name: &str) -> String {
    let text = wire.text(&format!("INFO {section}"));
    let mut found = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let value = found.next().unwrap_or_else(|| panic!("no {name} in {text}")).to_owned();
    assert_eq!(found.next(), None, "{name} twice");
    value
}

fn starts(wire: &mut Wire, line: &str, expected: &str) {
    let reply = wire.command(line);
    assert!(reply.starts_with(expected.as_bytes()), "{line}: {}", show(&reply));
}

#[test]
fn parameters_are_found_and_set_together_or_not_at_all() {
    let dir = TempDir::new().expect("a directory");
    let server = start(dir.path());
    let mut wire = server.connect();
    wire.ask("CONFIG GET slowlog-max-l*", "*2\r\n$15\r\nslowlog-max-len\r\n$3\r\n128\r\n");
    wire.ask("CONFIG GET nothing-of-this-name", "*0\r\n");
    wire.ask(
        "CONFIG GET timeout SLOWLOG-MAX-LEN timeout",
        "*4\r\n$7\r\ntimeout\r\n$1\r\n0\r\n$15\r\nSLOWLOG-MAX-LEN\r\n$3\r\n128\r\n",
    );
    wire.ask("CONFIG GET MaxMemory MAXMEMORY", "*2\r\n$9\r\nMaxMemory\r\n$1\r\n0\r\n");
    wire.ask("CONFIG GET MAXMEMORY-C* maxmemory-cl?ents", "*2\r\n$17\r\nmaxmemory-clients\r\n$1\r\n0\r\n");
    wire.ask("CONFIG SET slowlog-max-len 5 timeout 100", "+OK\r\n");
    wire.ask("CONFIG GET slowlog-max-len", "*2\r\n$15\r\nslowlog-max-len\r\n$1\r\n5\r\n");
    for (line, error) in [
        (
            "CONFIG SET slowlog-max-len 6 nothing 1",
            "-ERR Unknown option or number of arguments for CONFIG SET - 'nothing'",
        ),
        ("CONFIG SET slowlog-max-len 6 timeout x", "-ERR CONFIG SET failed (possibly related to argument 'timeout')"),
        ("CONFIG SET slowlog-max-len 6 slowlog-max-len 7", "-ERR CONFIG SET failed (possibly related to argument"),
        ("CONFIG SET slowlog-max-len 6 timeout", "-ERR"),
        (
            "CONFIG SET daemonize yes",
            "-ERR CONFIG SET failed (possibly related to argument 'daemonize') - can't set immutable config",
        ),
        ("CONFIG SET", "-ERR wrong number of arguments for 'config|set' command"),
        ("CONFIG NONSENSE", "-ERR unknown subcommand 'NONSENSE'. Try CONFIG HELP."),
    ] {
        starts(&mut wire, line, error);
        wire.ask("CONFIG GET slowlog-max-len", "*2\r\n$15\r\nslowlog-max-len\r\n$1\r\n5\r\n");
    }
    starts(&mut wire, "CONFIG HELP", "*");
}

/// Redis takes any number for it and keeps the nearest that makes sense.
#[test]
fn hz_is_clamped() {
    let dir = TempDir::new().expect("a directory");
    let server = start(dir.path());
    let mut wire = server.connect();
    for (set, kept) in [("0", "1"), ("1000", "500"), ("2147483647", "500"), ("500", "500"), ("1", "1"), ("77", "77")] {
        wire.ask(&format!("CONFIG SET hz {set}"), "+OK\r\n");
        wire.ask("CONFIG GET hz", format!("*2\r\n$2\r\nhz\r\n${}\r\n{kept}\r\n", kept.len()));
        assert_eq!(field(&mut wire, "server", "configured_hz"), kept);
    }
    for (wrong, why) in
        [("-1", "argument must be between 0 and 2147483647 inclusive"), ("x", "argument couldn't be parsed")]
    {
        let error = format!("-ERR CONFIG SET failed (possibly related to argument 'hz') - {why}");
        starts(&mut wire, &format!("CONFIG SET hz {wrong}"), &error);
    }
}

#[test]
fn which_percentiles_info_shows_can_be_set() {
    let dir = TempDir::new().expect("a directory");
    let server = start(dir.path());
    let mut wire = server.connect();
    wire.ask(
        "CONFIG GET latency-tracking-info-percentiles",
        "*2\r\n$33\r\nlatency-tracking-info-percentiles\r\n$10\r\n50 99 99.9\r\n",
    );
    let set = |wire: &mut Wire, value: &str| {
        let words = ["CONFIG", "SET", "latency-tracking-info-percentiles", value];
        String::from_utf8(wire.try_command(&words).expect("a reply")).expect("text")
    };
    assert_eq!(set(&mut wire, "0 50.5  100"), "+OK\r\n");
    let shown = field(&mut wire, "latencystats", "latency_percentiles_usec_config|get");
    let names: Vec<&str> = shown.split(',').map(|pair| pair.split_once('=').expect("a pair").0).collect();
    assert_eq!(names, ["p0", "p50.5", "p100"]);
    for wrong in ["101", "50 x", "-1"] {
        let reply = set(&mut wire, wrong);
        assert!(reply.starts_with("-ERR CONFIG SET failed"), "{wrong}: {reply}");
    }
}

#[test]
fn what_is_set_has_effect() {
    let dir = TempDir::new().expect("a directory");
    let server = start(dir.path());
    let mut wire = server.connect();
    wire.ask("SET k v", "+OK\r\n");
    wire.ask("CONFIG SET maxmemory 1", "+OK\r\n");
    wire.ask("SET k w", "-OOM command not allowed when used memory > 'maxmemory'.\r\n");
    wire.ask("GET k", "$1\r\nv\r\n");
    wire.ask("CONFIG SET maxmemory 0", "+OK\r\n");
    wire.ask("SET k w", "+OK\r\n");
    wire.ask("CONFIG SET requirepass secret", "+OK\r\n");
    server.connect().ask("GET k", "-NOAUTH Authentication required.\r\n");
    wire.ask("CONFIG SET requirepass \"\"", "+OK\r\n");
    wire.ask("CONFIG SET notify-keyspace-events KEA", "+OK\r\n");
    wire.ask("CONFIG GET notify-keyspace-events", "*2\r\n$22\r\nnotify-keyspace-events\r\n$3\r\nAKE\r\n");
    wire.ask("CONFIG SET proto-max-bulk-len 1048576", "+OK\r\n");
    wire.send("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1048577\r\n");
    wire.expect("-ERR Protocol error: invalid bulk length\r\n");
}

#[test]
fn info_counts_commands_and_errors_until_told_to_forget() {
    let dir = TempDir::new().expect("a directory");
    let server = start(dir.path());
    let mut wire = server.connect();
    wire.ask("SET k v", "+OK\r\n");
    wire.ask("GET k", "$1\r\nv\r\n");
    wire.ask("GET none", "$-1\r\n");
    starts(&mut wire, "INCR k", "-ERR value is not an integer");
    starts(&mut wire, "GET", "-ERR wrong number");
    assert!(field(&mut wire, "commandstats", "cmdstat_get").starts_with("calls=2,usec="));
    assert!(field(&mut wire, "commandstats", "cmdstat_get").ends_with(",rejected_calls=1,failed_calls=0"));
    assert!(field(&mut wire, "commandstats", "cmdstat_incr").ends_with(",rejected_calls=0,failed_calls=1"));
    assert_eq!(field(&mut wire, "errorstats", "errorstat_ERR"), "count=2");
    assert_eq!(field(&mut wire, "stats", "keyspace_hits"), "1");
    assert_eq!(field(&mut wire, "stats", "keyspace_misses"), "1");
    assert_eq!(field(&mut wire, "keyspace", "db0"), "keys=1,expires=0,avg_ttl=0");
    assert!(field(&mut wire, "latencystats", "latency_percentiles_usec_get").starts_with("p50="));
    let sections =
        |text: &str| text.lines().filter(|line| line.starts_with("# ")).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(sections(&wire.text("INFO memory cpu")), ["# Memory", "# CPU"]);
    assert_eq!(sections(&wire.text("INFO nothing")), [""; 0]);
    let default = sections(&wire.text("INFO"));
    assert!(default.contains(&"# Server".to_owned()) && !default.contains(&"# Commandstats".to_owned()), "{default:?}");
    assert!(sections(&wire.text("INFO everything")).contains(&"# Commandstats".to_owned()));
    wire.ask("CONFIG RESETSTAT", "+OK\r\n");
    assert!(!wire.text("INFO commandstats").contains("cmdstat_get:"));
    assert!(!wire.text("INFO errorstats").contains("errorstat_ERR"));
    assert_eq!(field(&mut wire, "stats", "keyspace_hits"), "0");
}

#[test]
fn the_slow_log_keeps_the_newest_and_no_secret() {
    let dir = TempDir::new().expect("a directory");
    let server = start(dir.path());
    let mut wire = server.connect();
    let mut monitor = server.connect();
    monitor.ask("MONITOR", "+OK\r\n");
    wire.ask("CONFIG SET slowlog-log-slower-than 0 slowlog-max-len 20", "+OK\r\n");
    wire.ask("CLIENT SETNAME slow", "+OK\r\n");
    wire.ask("CONFIG SET requirepass hidden1", "+OK\r\n");
    wire.ask("AUTH hidden1", "+OK\r\n");
    wire.ask("AUTH default hidden1", "+OK\r\n");
    starts(&mut wire, "HELLO 2 AUTH default hidden1 SETNAME slow", "*");
    starts(&mut wire, "HELLO 2 SETNAME slow AUTH default hidden1", "*");
    wire.ask("ACL SETUSER u >hidden2", "+OK\r\n");
    wire.ask("CONFIG SET requirepass \"\"", "+OK\r\n");
    wire.ask(&format!("SET long {}", "x".repeat(200)), "+OK\r\n");
    wire.ask(&format!("DEL {}", vec!["k"; 40].join(" ")), ":0\r\n");
    wire.ask("CONFIG SET slowlog-log-slower-than -1", "+OK\r\n");
    let kept = String::from_utf8_lossy(&wire.command("SLOWLOG GET -1")).into_owned();
    assert!(!kept.contains("hidden"), "{kept}");
    assert!(kept.contains("(redacted)") && kept.contains("slow\r\n"), "{kept}");
    assert!(kept.contains(&format!("{}... (72 more bytes)", "x".repeat(128))), "{kept}");
    assert!(kept.contains("... (10 more arguments)"), "{kept}");
    starts(&mut wire, "SLOWLOG GET 1", "*1\r\n*6\r\n:");
    assert!((9..=20).contains(&wire.integer("SLOWLOG LEN")));
    wire.ask("CONFIG SET slowlog-max-len 2", "+OK\r\n");
    wire.ask("SLOWLOG LEN", ":2\r\n");
    wire.ask("SLOWLOG RESET", "+OK\r\n");
    wire.ask("SLOWLOG GET", "*0\r\n");
    wire.ask("ECHO the-last", "$8\r\nthe-last\r\n");
    let mut seen = String::new();
    while !seen.contains("the-last") {
        seen += &String::from_utf8_lossy(&monitor.line());
    }
    assert!(!seen.contains("hidden") && seen.contains("\"AUTH\" \"(redacted)\""), "{seen}");
}

/// Sizes are those of RESP, as in Valkey 9.1, which gives the same for the same requests but for those of a transaction:
/// here they count each for itself.
#[test]
fn large_requests_and_replies_are_logged_with_their_sizes() {
    let dir = TempDir::new().expect("a directory");
    let server = start(dir.path());
    let mut wire = server.connect();
    let amounts = |wire: &mut Wire, kind: &str| -> Vec<String> {
        let entries = String::from_utf8_lossy(&wire.command(&format!("COMMANDLOG GET -1 {kind}"))).into_owned();
        // After the outer array each entry begins: its number, when, how much, and the words.
        let mut lines = entries.lines().skip(1);
        let mut all = Vec::new();
        while let Some(head) = lines.next() {
            assert_eq!(head, "*6", "{entries}");
            let amount = lines.nth(2).unwrap_or_default().trim_start_matches(':').to_owned();
            let words: usize = lines.next().unwrap_or_default()[1..].parse().expect("a number of words");
            let words: Vec<&str> = (0..words).filter_map(|_| lines.nth(1)).collect();
            all.push(format!("{amount} {}", words.join(" ")));
            lines.nth(3);
        }
        all
    };
    wire.ask("CONFIG GET commandlog-*-larger-than", "*4\r\n$28\r\ncommandlog-reply-larger-than\r\n$7\r\n1048576\r\n$30\r\ncommandlog-request-larger-than\r\n$7\r\n1048576\r\n");
    let long = "v".repeat(1024 * 1024);
    let send = |wire: &mut Wire, words: &[&str]| {
        let mut bytes = Vec::new();
        push_request(words, &mut bytes);
        wire.send(&bytes);
        wire.reply()
    };
    assert_eq!(send(&mut wire, &["SET", "long", &long]), b"+OK\r\n");
    send(&mut wire, &["GET", "long"]);
    let cut = format!("{}... (1048448 more bytes)", "v".repeat(128));
    assert_eq!(amounts(&mut wire, "large-request"), [format!("1048611 SET long {cut}")]);
    assert_eq!(amounts(&mut wire, "LARGE-REPLY"), ["1048588 GET long"]);
    wire.ask("COMMANDLOG RESET large-request", "+OK\r\n");
    wire.ask("COMMANDLOG LEN large-request", ":0\r\n");
    wire.ask("COMMANDLOG LEN large-reply", ":1\r\n");
    wire.ask("COMMANDLOG RESET large-reply", "+OK\r\n");
    wire.ask("CONFIG SET commandlog-request-larger-than 100 commandlog-reply-larger-than 60", "+OK\r\n");
    send(&mut wire, &["SET", "k", &"v".repeat(100)]);
    send(&mut wire, &["SET", "k", &"v".repeat(60)]);
    send(&mut wire, &["GET", "k"]);
    send(&mut wire, &["KEYS", &"*".repeat(80)]);
    // Refused, not run.
    send(&mut wire, &["NOSUCH", &"v".repeat(170)]);
    send(&mut wire, &["AUTH", &"v".repeat(170)]);
    // Those of a transaction each for itself.
    for words in [&["MULTI"][..], &["SET", "in", &"w".repeat(80)], &["GET", "in"], &["EXEC"]] {
        send(&mut wire, words);
    }
    wire.ask("CONFIG SET commandlog-request-larger-than -1 commandlog-reply-larger-than -1", "+OK\r\n");
    assert_eq!(
        amounts(&mut wire, "large-request"),
        [
            format!("108 SET in {}", "w".repeat(80)),
            "192 AUTH (redacted)".to_owned(),
            format!("101 KEYS {}", "*".repeat(80)),
            format!("128 SET k {}", "v".repeat(100)),
        ]
    );
    assert_eq!(amounts(&mut wire, "large-reply"), ["87 GET in", "127 AUTH (redacted)", "67 GET k"]);
    wire.ask("CONFIG SET commandlog-large-reply-max-len 1", "+OK\r\n");
    assert_eq!(amounts(&mut wire, "large-reply"), ["87 GET in"]);
    for (request, error) in [
        ("COMMANDLOG GET -2 slow", "-ERR count should be greater than or equal to -1\r\n"),
        ("COMMANDLOG GET x slow", "-ERR count should be greater than or equal to -1\r\n"),
        ("COMMANDLOG GET 1 fast", "-ERR type should be one of the following: slow, large-request, large-reply\r\n"),
        ("COMMANDLOG LEN", "-ERR wrong number of arguments for 'commandlog|len' command\r\n"),
        ("COMMANDLOG GET 1", "-ERR wrong number of arguments for 'commandlog|get' command\r\n"),
    ] {
        wire.ask(request, error);
    }
}

#[test]
fn slow_commands_are_those_of_slowlog_by_either_name() {
    let dir = TempDir::new().expect("a directory");
    let server = start(dir.path());
    let mut wire = server.connect();
    wire.ask("CONFIG SET commandlog-execution-slower-than 0", "+OK\r\n");
    wire.ask("ECHO seen", "$4\r\nseen\r\n");
    wire.ask("CONFIG SET slowlog-log-slower-than -1", "+OK\r\n");
    let by_slowlog = wire.command("SLOWLOG GET 1");
    assert!(String::from_utf8_lossy(&by_slowlog).contains("ECHO"), "{}", by_slowlog.escape_ascii());
    assert_eq!(wire.command("COMMANDLOG GET 1 slow"), by_slowlog);
    wire.ask(
        "CONFIG GET commandlog-execution-slower-than",
        "*2\r\n$32\r\ncommandlog-execution-slower-than\r\n$2\r\n-1\r\n",
    );
    wire.ask("CONFIG SET commandlog-slow-execution-max-len 1", "+OK\r\n");
    wire.ask("SLOWLOG LEN", ":1\r\n");
    wire.ask("COMMANDLOG RESET slow", "+OK\r\n");
    wire.ask("SLOWLOG LEN", ":0\r\n");
}

#[test]
fn latency_is_watched_above_the_threshold() {
    let dir = TempDir::new().expect("a directory");
    let server = start(dir.path());
    let mut wire = server.connect();
    wire.ask("DEBUG SLEEP 0.002", "+OK\r\n");
    wire.ask("LATENCY LATEST", "*0\r\n");
    wire.ask("CONFIG SET latency-monitor-threshold 1", "+OK\r\n");
    wire.ask("DEBUG SLEEP 0.005", "+OK\r\n");
    starts(&mut wire, "LATENCY LATEST", "*1\r\n*4\r\n$7\r\ncommand\r\n:");
    starts(&mut wire, "LATENCY HISTORY command", "*1\r\n*2\r\n:");
    wire.ask("LATENCY HISTORY nothing", "*0\r\n");
    assert!(wire.text("LATENCY GRAPH command").starts_with("command - high"));
    starts(&mut wire, "LATENCY GRAPH nothing", "-ERR No samples available for event 'nothing'");
    assert!(!wire.text("LATENCY DOCTOR").is_empty());
    starts(&mut wire, "LATENCY HISTOGRAM debug", "*2\r\n$5\r\ndebug\r\n*4\r\n$5\r\ncalls\r\n:2\r\n");
    wire.ask("LATENCY RESET command", ":1\r\n");
    wire.ask("LATENCY LATEST", "*0\r\n");
}

#[test]
fn memory_tells_what_a_value_takes_and_what_the_allocator_knows() {
    let dir = TempDir::new().expect("a directory");
    let server = start(dir.path());
    let mut wire = server.connect();
    wire.ask("MEMORY USAGE none", "$-1\r\n");
    wire.ask("SET small v", "+OK\r\n");
    let small = wire.integer("MEMORY USAGE small");
    assert!((10..200).contains(&small), "{small}");
    let allocated = |wire: &mut Wire| field(wire, "memory", "allocator_allocated").parse::<i64>().expect("bytes");
    let (before, used) = (allocated(&mut wire), field(&mut wire, "memory", "used_memory"));
    wire.ask("SETRANGE large 9999999 x", ":10000000\r\n");
    let large = wire.integer("MEMORY USAGE large SAMPLES 0");
    assert!((10_000_000..10_500_000).contains(&large), "{large}");
    let grown = allocated(&mut wire) - before;
    assert!((10_000_000..50_000_000).contains(&grown), "{grown}");
    wait::until_true("the memory is measured", || field(&mut wire, "memory", "used_memory") != used);
    assert!(field(&mut wire, "memory", "mem_allocator").starts_with("jemalloc-"));
    let stats = String::from_utf8_lossy(&wire.command("MEMORY STATS")).into_owned();
    for name in ["total.allocated", "keys.count\r\n:2\r\n", "dataset.bytes", "allocator.resident", "fragmentation"] {
        assert!(stats.contains(name), "{name}: {stats}");
    }
    assert!(wire.text("MEMORY MALLOC-STATS").starts_with("jemalloc-"));
    assert!(!wire.text("MEMORY DOCTOR").is_empty());
    wire.ask("MEMORY PURGE", "+OK\r\n");
    starts(&mut wire, "MEMORY USAGE small SAMPLES -1", "-ERR syntax error");
}

/// What DUMP gives for a key.
fn dumped(wire: &mut Wire, key: &str) -> Vec<u8> {
    let reply = wire.command(&format!("DUMP {key}"));
    let start = reply.iter().position(|byte| *byte == b'\n').expect("a bulk reply") + 1;
    reply[start..reply.len() - 2].to_vec()
}

#[test]
fn the_use_of_each_key_is_known_by_itself() {
    let dir = TempDir::new().expect("a directory");
    let server = start(dir.path());
    let mut wire = server.connect();
    wire.ask("SET k v", "+OK\r\n");
    let payload = dumped(&mut wire, "k");
    let restore = |wire: &mut Wire, key: &str, what: &str, value: &str| {
        let words: [&[u8]; 7] =
            [b"RESTORE", key.as_bytes(), b"0", &payload, b"REPLACE", what.as_bytes(), value.as_bytes()];
        assert_eq!(wire.try_command(&words).expect("a reply"), b"+OK\r\n");
    };
    let idle = |wire: &mut Wire, key: &str| wire.integer(&format!("OBJECT IDLETIME {key}"));
    // Among many others, some of which share whatever is shared.
    for i in 0..1000 {
        restore(&mut wire, &format!("old{i}"), "IDLETIME", "1000");
        wire.ask(&format!("SET new{i} v"), "+OK\r\n");
    }
    assert!(
        (0..1000).all(|i| idle(&mut wire, &format!("old{i}")) >= 1000 && idle(&mut wire, &format!("new{i}")) < 500)
    );
    wire.ask("GET old1", "$1\r\nv\r\n");
    wire.ask("EXISTS old2", ":1\r\n");
    wire.ask("TTL old2", ":-1\r\n");
    wire.ask("CLIENT NO-TOUCH ON", "+OK\r\n");
    wire.ask("GET old3", "$1\r\nv\r\n");
    wire.ask("TOUCH old4", ":1\r\n");
    wire.ask("SET old5 w", "+OK\r\n");
    wire.ask("MULTI", "+OK\r\n");
    wire.ask("GET old6", "+QUEUED\r\n");
    wire.ask("TOUCH old7", "+QUEUED\r\n");
    wire.ask("EXEC", "*2\r\n$1\r\nv\r\n:1\r\n");
    wire.ask("CLIENT NO-TOUCH OFF", "+OK\r\n");
    wire.ask("GET old8", "$1\r\nv\r\n");
    let used: Vec<_> = (1..=8).filter(|i| idle(&mut wire, &format!("old{i}")) < 500).collect();
    // A SET does not use its key either.
    assert_eq!(used, [1, 4, 7, 8]);

    starts(&mut wire, "OBJECT FREQ k", "-ERR An LFU maxmemory policy is not selected");
    wire.ask("CONFIG SET maxmemory-policy allkeys-lfu", "+OK\r\n");
    starts(&mut wire, "OBJECT IDLETIME k", "-ERR An LFU maxmemory policy is selected");
    restore(&mut wire, "often", "FREQ", "200");
    wire.ask("SET fresh v", "+OK\r\n");
    wire.ask("OBJECT FREQ often", ":200\r\n");
    wire.ask("OBJECT FREQ fresh", ":5\r\n");
    for _ in 0..300 {
        wire.ask("GET fresh", "$1\r\nv\r\n");
    }
    let frequency = wire.integer("OBJECT FREQ fresh");
    assert!((6..40).contains(&frequency), "{frequency}");
}

#[test]
fn waitaof_answers_when_what_was_written_is_on_disk() {
    let dir = TempDir::new().expect("a directory");
    let server = start(dir.path());
    let mut wire = server.connect();
    let durable = |wire: &mut Wire| field(wire, "persistence", "log_durable_lsn").parse::<u64>().expect("a number");
    for i in 0..20 {
        wire.ask(&format!("SET k {i}"), "+OK\r\n");
        let last = field(&mut wire, "persistence", "log_last_lsn").parse::<u64>().expect("a number");
        wire.ask("WAITAOF 1 0 0", "*2\r\n:1\r\n:0\r\n");
        assert!(durable(&mut wire) >= last);
        wire.ask("WAITAOF 0 0 0", "*2\r\n:1\r\n:0\r\n");
    }
    for (line, error) in [
        ("WAITAOF 2 0 0", "-ERR value is out of range, value must between 0 and 1\r\n"),
        ("WAITAOF 1 -1 0", "-ERR value is out of range, must be positive\r\n"),
        ("WAITAOF 1 0 -1", "-ERR timeout is negative\r\n"),
        ("WAITAOF 1 0 x", "-ERR timeout is not an integer or out of range\r\n"),
        ("WAITAOF x 0 0", "-ERR value is not an integer or out of range\r\n"),
    ] {
        wire.ask(line, error);
    }
    // It holds up nothing afterwards, and what follows comes in order.
    wire.send("SET a 1\r\nWAITAOF 1 0 0\r\nGET a\r\n");
    wire.expect("+OK\r\n*2\r\n:1\r\n:0\r\n$1\r\n1\r\n");
    let memory = Launch::bare(server_program!()).resp().arguments(["--memory-only"]).start();
    let mut wire = memory.connect();
    starts(&mut wire, "WAITAOF 1 0 0", "-ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.");
    wire.ask("WAITAOF 0 0 0", "*2\r\n:0\r\n:0\r\n");
}
