//! What came with Redis 8.0 to 8.12 and Valkey 8.0 to 9.2: examples of their documentation, and errors for what is not here.
//!
//! Invariant: each example is one that can be read in the documentation of the command, or follows from a sentence of it.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use kvtests::process::{Launch, ServerProcess};
use kvtests::server_program;
use kvtests::wait;
use kvtests::wire::{self, Wire};
use tempfile::TempDir;

fn start() -> (ServerProcess, Wire, TempDir) {
    let dir = TempDir::new().expect("a temporary directory");
    let server = Launch::new(server_program!(), dir.path()).resp().durability("os").start();
    let wire = server.connect();
    (server, wire, dir)
}

/// A request that this server does not carry out.
fn refused(wire: &mut Wire, line: &str, name: &str) {
    let why = "is not supported: this server keeps strings, on one node, and runs no scripts";
    wire.ask(line, format!("-ERR '{name}' {why}\r\n"));
}

/// They were unknown commands; now the error says the same as that of LPUSH.
#[test]
fn newer_commands_on_what_is_not_here_are_known_and_refused() {
    let (_server, mut wire, _dir) = start();
    for line in [
        "HEXPIRE h 1 FIELDS 1 f",
        "HTTL h FIELDS 1 f",
        "HPERSIST h FIELDS 1 f",
        "HGETDEL h FIELDS 1 f",
        "HGETEX h FIELDS 1 f",
        "HSETEX h FIELDS 1 f v",
        "LMOVEM a b LEFT RIGHT",
        "SDIFFCARD 1 a",
        "SUNIONCARD 1 a",
        "SEXPIRE s 1 MEMBERS 1 m",
        "ZMOVE a b MIN",
        "XACKDEL s g IDS 1 1-1",
        "XDELEX s IDS 1 1-1",
        "XCFGSET s",
        "VADD v VALUES 1 0 e",
        "VSIM v ELE e",
        "ARGET a 0",
        "ARSET a 0 v",
    ] {
        let name = line.split(' ').next().unwrap_or_default().to_lowercase();
        refused(&mut wire, line, &name);
    }
    for line in [
        "HIMPORT PREPARE x y",
        "BLESS SET k NO-EVICT",
        "BLESS GET k",
        "SCRIPT SHOW abc",
        "CLIENT IMPORT-SOURCE ON",
        "ACL SETROLE reader +get",
        "ACL ROLES",
    ] {
        let name = line.split(' ').take(2).collect::<Vec<_>>().join("|").to_lowercase();
        refused(&mut wire, line, &name);
    }
    // Arity comes first, as of any command.
    wire.ask("HGETDEL h", "-ERR wrong number of arguments for 'hgetdel' command\r\n");
    wire.ask("VCARD", "-ERR wrong number of arguments for 'vcard' command\r\n");
}

/// Valkey 9.1: CLUSTER KEYSLOT needs no cluster.
#[test]
fn the_slot_of_a_key_is_that_of_a_cluster() {
    let (_server, mut wire, _dir) = start();
    wire.ask("CLUSTER KEYSLOT somekey", ":11058\r\n");
    wire.ask("CLUSTER KEYSLOT foo{hash_tag}", ":2515\r\n");
    wire.ask("CLUSTER KEYSLOT bar{hash_tag}", ":2515\r\n");
    wire.ask("CLUSTER INFO", "-ERR This instance has cluster support disabled\r\n");
}

/// Valkey 9.2: any change of a user changes the digest, and taking it back restores it.
#[test]
fn the_digest_of_users_follows_from_their_rules_alone() {
    let (server, mut wire, _dir) = start();
    let before = wire.text("ACL DIGEST");
    assert!(before.len() == 64 && before.bytes().all(|digit| digit.is_ascii_hexdigit()), "{before}");
    wire.ask("ACL SETUSER alice on >alice ~key:* +get", "+OK\r\n");
    let with_alice = wire.text("ACL DIGEST");
    assert_ne!(with_alice, before);
    wire.ask("ACL SETUSER bob on nopass", "+OK\r\n");
    let with_both = wire.text("ACL DIGEST");
    wire.ask("ACL DELUSER alice bob", ":2\r\n");
    assert_eq!(wire.text("ACL DIGEST"), before);
    // In another order.
    wire.ask("ACL SETUSER bob on nopass", "+OK\r\n");
    wire.ask("ACL SETUSER alice on >alice ~key:* +get", "+OK\r\n");
    assert_eq!(wire.text("ACL DIGEST"), with_both);
    wire.ask("ACL SETUSER alice +set", "+OK\r\n");
    assert_ne!(wire.text("ACL DIGEST"), with_both);
    drop(server);
}

/// The fields of a line of CLIENT LIST.
fn fields(line: &str) -> BTreeMap<String, String> {
    let pairs = line.trim_end().split(' ').filter_map(|field| field.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// The newer fields of CLIENT LIST and CLIENT INFO: `capa`, `watch`, `io-thread`, `tot-net-in`, `tot-net-out`, `tot-cmds`.
#[test]
fn a_client_is_listed_with_what_it_did() {
    let (_server, mut wire, _dir) = start();
    let own = |wire: &mut Wire, names: &[&str]| -> Vec<String> {
        let found = fields(&wire.text("CLIENT INFO"));
        names.iter().map(|name| found[*name].clone()).collect()
    };
    assert_eq!(own(&mut wire, &["capa", "watch", "io-thread", "tot-cmds"]), ["", "0", "0", "0"]);
    wire.ask("CLIENT CAPA redirect", "+OK\r\n");
    // A key counts once.
    wire.ask("WATCH a b a", "+OK\r\n");
    assert_eq!(own(&mut wire, &["capa", "watch", "tot-cmds"]), ["r", "2", "3"]);
    // What is refused or queued is not carried out; EXEC and what it carries out are.
    wire.ask("GET", "-ERR wrong number of arguments for 'get' command\r\n");
    wire.ask("MULTI", "+OK\r\n");
    wire.ask("SET a 1", "+QUEUED\r\n");
    wire.ask("SET b 1", "+QUEUED\r\n");
    wire.ask("EXEC", "*2\r\n+OK\r\n+OK\r\n");
    assert_eq!(own(&mut wire, &["watch", "tot-cmds"]), ["0", "8"]);
    wire.ask("WATCH a", "+OK\r\n");
    assert_eq!(own(&mut wire, &["watch", "tot-cmds"]), ["1", "10"]);
    wire.ask("RESET", "+RESET\r\n");
    assert_eq!(own(&mut wire, &["watch"]), ["0"]);
}

#[test]
fn the_bytes_of_a_client_are_counted() {
    let (server, mut wire, _dir) = start();
    let mut other = server.connect();
    let id = other.integer("CLIENT ID");
    let mut bytes = || {
        let found = fields(&wire.text(&format!("CLIENT LIST ID {id}")));
        ["tot-net-in", "tot-net-out"].map(|name| found[name].parse::<usize>().expect("a number"))
    };
    // What is counted when a reply has left may be shown a moment later.
    let mut before = [0, 0];
    wait::until_true("the bytes of CLIENT ID are shown", || {
        before = bytes();
        before[1] >= format!(":{id}\r\n").len()
    });
    let value = "x".repeat(10_000);
    other.ask(&format!("SET k {value}"), "+OK\r\n");
    other.ask("GET k", format!("$10000\r\n{value}\r\n"));
    let sent = wire::request(&["SET", "k", &value]).len() + wire::request(&["GET", "k"]).len();
    let replied = "+OK\r\n".len() + format!("$10000\r\n{value}\r\n").len();
    wait::until_true("all bytes are shown", || bytes() == [before[0] + sent, before[1] + replied]);
}

/// INFO's fields of Valkey 8.1 about CLIENT PAUSE, and of Redis 8.2 and 8.8 about memory and slow commands.
#[test]
fn info_has_newer_fields() {
    let (_server, mut wire, _dir) = start();
    let paused = |wire: &mut Wire| {
        let text = wire.text("INFO clients");
        let of = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).expect("a field").to_owned();
        (
            of("paused_reason:"),
            of("paused_actions:"),
            of("paused_timeout_milliseconds:").parse::<u64>().expect("a number"),
        )
    };
    let none = ("none".to_owned(), "none".to_owned(), 0);
    assert_eq!(paused(&mut wire), none);
    wire.ask("CLIENT PAUSE 1000000 WRITE", "+OK\r\n");
    let (reason, actions, left) = paused(&mut wire);
    assert_eq!((reason.as_str(), actions.as_str()), ("client_pause", "write"));
    assert!((1..=1_000_000).contains(&left), "{left}");
    wire.ask("CLIENT UNPAUSE", "+OK\r\n");
    assert_eq!(paused(&mut wire), none);

    let text = wire.text("INFO memory");
    let peak = text.lines().find_map(|line| line.strip_prefix("used_memory_peak_time:")).expect("a field");
    assert!(peak.parse::<u64>().is_ok_and(|secs| secs > 1_600_000_000), "{peak}");

    let slow = |wire: &mut Wire| {
        let (stats, commands) = (wire.text("INFO stats"), wire.text("INFO commandstats"));
        let count = stats.lines().find_map(|line| line.strip_prefix("slowlog_commands_count:")).expect("a field");
        let set = commands.lines().find(|line| line.starts_with("cmdstat_set:")).map(str::to_owned);
        (count.to_owned(), set.unwrap_or_default())
    };
    wire.ask("SET k v", "+OK\r\n");
    let (count, set) = slow(&mut wire);
    assert!(count == "0" && !set.contains("slowlog_count"), "{count} {set}");
    wire.ask("CONFIG SET slowlog-log-slower-than 0", "+OK\r\n");
    wire.ask("SET k v", "+OK\r\n");
    wire.ask("SET k v", "+OK\r\n");
    wire.ask("CONFIG SET slowlog-log-slower-than -1", "+OK\r\n");
    let (count, set) = slow(&mut wire);
    // CONFIG SET that began it was timed before it had begun, or after.
    assert!(count == "2" || count == "3", "{count}");
    assert!(set.contains(",slowlog_count=2,slowlog_time_ms_sum=") && set.contains(",slowlog_time_ms_max="), "{set}");
    wire.ask("CONFIG RESETSTAT", "+OK\r\n");
    assert_eq!(slow(&mut wire), ("0".to_owned(), String::new()));
}

/// Redis 8.8: how much of a command is kept in SLOWLOG.
#[test]
fn the_length_of_entries_in_the_slow_log_can_be_set() {
    let (_server, mut wire, _dir) = start();
    wire.ask("CONFIG GET slowlog-entry-max-argc", "*2\r\n$22\r\nslowlog-entry-max-argc\r\n$2\r\n32\r\n");
    wire.ask("CONFIG GET slowlog-entry-max-string-len", "*2\r\n$28\r\nslowlog-entry-max-string-len\r\n$3\r\n128\r\n");
    let refusal = "-ERR CONFIG SET failed (possibly related to argument 'slowlog-entry-max-argc') - argument must be between \
                   2 and 2147483647 inclusive\r\n";
    wire.ask("CONFIG SET slowlog-entry-max-argc 1", refusal);
    wire.ask("CONFIG SET slowlog-entry-max-argc 3 slowlog-entry-max-string-len 4 slowlog-log-slower-than 0", "+OK\r\n");
    wire.ask("DEL abcdefgh b c d", ":0\r\n");
    let entry = String::from_utf8(wire.command("SLOWLOG GET 1")).expect("text");
    let words = "*3\r\n$3\r\nDEL\r\n$22\r\nabcd... (4 more bytes)\r\n$22\r\n... (3 more arguments)\r\n";
    assert!(entry.contains(words), "{entry}");
    // COMMANDLOG of Valkey keeps as much.
    let entry = String::from_utf8(wire.command("COMMANDLOG GET 10 SLOW")).expect("text");
    assert!(entry.contains(words), "{entry}");
}

/// Valkey 9.0: on one node alone SAFE forbids nothing.
#[test]
fn shutdown_takes_the_words_of_valkey() {
    let (mut server, mut wire, _dir) = start();
    wire.ask("SHUTDOWN ABORT SAFE", "-ERR syntax error\r\n");
    wire.send("SHUTDOWN NOSAVE SAFE FAILOVER\r\n");
    assert!(server.wait().success());
}

/// Redis 8.2: the class `o` of keyspace events, of values that are replaced as a whole. They are in no other class.
#[test]
fn keys_that_are_overwritten_have_an_event() {
    let (server, mut wire, _dir) = start();
    let mut listener = server.connect();
    let mut expect_events = |line: &str, classes: &str, events: &[&str], wire: &mut Wire| {
        wire.ask(&format!("CONFIG SET notify-keyspace-events {classes}"), "+OK\r\n");
        listener.send("PSUBSCRIBE __keyevent@0__:*\r\n");
        listener.reply();
        assert_ne!(wire.command(line)[0], b'-', "{line}");
        // Ends what came of it.
        wire.ask("PUBLISH __keyevent@0__:end x", ":1\r\n");
        let mut seen = Vec::new();
        loop {
            let message = String::from_utf8(listener.reply()).expect("text");
            let words: Vec<&str> = message.split("\r\n").collect();
            let event = words[6].trim_start_matches("__keyevent@0__:");
            if event == "end" {
                break;
            }
            seen.push(format!("{event} {}", words[8]));
        }
        assert_eq!(seen, events, "{line} with {classes}");
        listener.send("PUNSUBSCRIBE\r\n");
        listener.reply();
    };
    wire.ask("MSET a 1 b 2 c 3", "+OK\r\n");
    let payload = wire.command("DUMP c");
    for (line, events) in [
        ("SET a x", vec!["overwritten a"]),
        ("SET new x", vec![]),
        ("SETEX a 100 x", vec!["overwritten a"]),
        ("GETSET a y", vec!["overwritten a"]),
        ("MSET a 1 fresh 1 b 2", vec!["overwritten a", "overwritten b"]),
        ("COPY a b REPLACE", vec!["overwritten b"]),
        ("COPY a other", vec![]),
        ("RENAME other b", vec!["overwritten b"]),
        ("RENAME b unheard-of", vec![]),
        ("BITOP NOT a c", vec!["overwritten a"]),
        // Parts of values, deadlines, keys that go.
        ("APPEND a x", vec![]),
        ("SETRANGE a 0 x", vec![]),
        ("INCR c", vec![]),
        ("EXPIRE a 100", vec![]),
        ("DEL a", vec![]),
    ] {
        expect_events(line, "Eo", &events, &mut wire);
    }
    expect_events("SET c x", "EA", &["set c"], &mut wire);
    expect_events("SET c x", "EAo", &["overwritten c", "set c"], &mut wire);
    // No value here is of another type.
    expect_events("SET c x", "Ec", &[], &mut wire);
    wire.ask("CONFIG GET notify-keyspace-events", "*2\r\n$22\r\nnotify-keyspace-events\r\n$2\r\nEc\r\n");
    wire.ask("CONFIG SET notify-keyspace-events Eo", "+OK\r\n");
    listener.send("PSUBSCRIBE __keyevent@0__:*\r\n");
    listener.reply();
    let body = &payload[payload.iter().position(|byte| *byte == b'\n').expect("a line") + 1..payload.len() - 2];
    let restored = wire.try_command(&[&b"RESTORE"[..], b"c", b"0", body, b"REPLACE"]).expect("a reply");
    assert_eq!(restored, b"+OK\r\n");
    let message = String::from_utf8(listener.reply()).expect("text");
    assert!(message.contains(":overwritten\r\n$1\r\nc\r\n"), "{message}");
}

/// Redis 8.0: INFO keysizes, the lengths of values by powers of two.
#[test]
fn the_lengths_of_values_are_shown_by_powers_of_two() {
    let (_server, mut wire, _dir) = start();
    assert_eq!(wire.text("INFO keysizes").trim_end(), "# Keysizes");
    for (key, len) in [("a", 1), ("b", 3), ("c", 4), ("d", 5), ("e", 7), ("f", 1000), ("g", 1024), ("h", 3_000_000)] {
        wire.ask(&format!("SETRANGE {key} {} x", len - 1), format!(":{len}\r\n"));
    }
    assert_eq!(wire.try_command(&["SET", "empty", ""]).expect("a reply"), b"+OK\r\n");
    wire.ask("SELECT 3", "+OK\r\n");
    wire.ask("SET k vv PX 1", "+OK\r\n");
    wire.ask("SET n 1234567890", "+OK\r\n");
    // What has expired has no size.
    wait::until_true("the key expires", || wire.integer("EXISTS k") == 0);
    let sizes =
        "# Keysizes\r\ndb0_distrib_strings_sizes:0=1,1=1,2=1,4=3,512=1,1K=1,2M=1\r\ndb3_distrib_strings_sizes:8=1";
    assert_eq!(wire.text("INFO keysizes").trim_end(), sizes);
    // With other sections, of which only the one that is named walks over the keys.
    let both = wire.text("INFO cluster KEYSIZES");
    assert!(both.starts_with("# Cluster") && both.trim_end().ends_with(sizes), "{both}");
    assert!(!wire.text("INFO everything").contains("distrib"));
    // Inside EXEC the keys are not walked over.
    wire.ask("MULTI", "+OK\r\n");
    wire.ask("INFO keysizes", "+QUEUED\r\n");
    wire.ask("EXEC", "*1\r\n$12\r\n# Keysizes\r\n\r\n");
}

/// What HOTKEYS GET shows, by name. In RESP3 it is a map.
fn hot_keys(wire: &mut Wire) -> BTreeMap<String, Vec<String>> {
    let text = String::from_utf8(wire.command("HOTKEYS GET")).expect("text");
    let words: Vec<&str> =
        text.split("\r\n").filter(|word| !word.starts_with(['$', '%', '*']) && !word.is_empty()).collect();
    let mut fields: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut name = String::new();
    let names = ["by-", "all-", "net-", "tracking-", "sample-", "selected-", "collection-", "total-"];
    for word in words {
        if names.iter().any(|start| word.starts_with(start)) {
            name = word.to_owned();
            fields.entry(name.clone()).or_default();
        } else {
            fields.entry(name.clone()).or_default().push(word.trim_start_matches(':').to_owned());
        }
    }
    fields
}

/// Redis 8.6: HOTKEYS.
#[test]
fn hot_keys_are_those_that_commands_were_about() {
    let (server, mut wire, _dir) = start();
    wire.ask("HOTKEYS GET", "$-1\r\n");
    wire.ask("HOTKEYS STOP", "-ERR no hotkeys tracking session in progress\r\n");
    wire.ask("HOTKEYS RESET", "+OK\r\n");
    for (line, error) in [
        ("HOTKEYS START CPU NET COUNT", "METRICS parameter is required"),
        ("HOTKEYS START METRICS 2 CPU", "METRICS count does not match number of metric types provided"),
        ("HOTKEYS START METRICS 1 CPU NET", "METRICS count does not match number of metric types provided"),
        ("HOTKEYS START METRICS 1 MEM", "METRICS count does not match number of metric types provided"),
        ("HOTKEYS START METRICS 1 NET COUNT 0", "COUNT must be between 1 and 64"),
        ("HOTKEYS START METRICS 1 NET COUNT 65", "COUNT must be between 1 and 64"),
        ("HOTKEYS START METRICS 1 NET DURATION 0", "DURATION must be between 1 and 1000000"),
        ("HOTKEYS START METRICS 1 NET SAMPLE x", "value is not an integer or out of range"),
        ("HOTKEYS START METRICS 1 NET SLOTS 1 0", "SLOTS parameter cannot be used in non-cluster mode"),
        ("HOTKEYS START METRICS 1 NET NONSENSE", "syntax error"),
    ] {
        wire.ask(line, format!("-ERR {error}\r\n"));
    }
    wire.ask("HOTKEYS START METRICS 2 CPU NET COUNT 2", "+OK\r\n");
    wire.ask("HOTKEYS START METRICS 1 NET", "-ERR hotkeys tracking session already in progress\r\n");
    wire.ask("HOTKEYS RESET", "-ERR hotkeys tracking session in progress, stop tracking first\r\n");
    // Sends a request; returns how many bytes it and its reply had.
    let send = |words: &[&str], reply: &str, wire: &mut Wire| {
        assert_eq!(wire.try_command(words).expect("a reply"), reply.as_bytes());
        wire::request(words).len() + reply.len()
    };
    let value = "x".repeat(1000);
    let large = send(&["SET", "large", &value], "+OK\r\n", &mut wire)
        + send(&["GET", "large"], &format!("$1000\r\n{value}\r\n"), &mut wire);
    let mut small = 0;
    for number in 1..10 {
        small += send(&["INCR", "small"], &format!(":{number}\r\n"), &mut wire);
    }
    let tiny = send(&["GET", "tiny"], "$-1\r\n", &mut wire);
    // What a command with several keys is given is shared by them.
    let both = send(&["EXISTS", "large", "tiny"], ":1\r\n", &mut wire);
    let none = send(&["PING"], "+PONG\r\n", &mut wire);
    let found = hot_keys(&mut wire);
    let number = |name: &str| found[name][0].parse::<usize>().expect("a number");
    assert_eq!(found["by-net-bytes"], ["large", &(large + both / 2).to_string(), "small", &small.to_string()]);
    assert_eq!(number("total-net-bytes"), large + small + tiny + both);
    // Those that begin tracking and show what came of it may count, too.
    assert!(number("net-bytes-all-commands-all-slots") >= large + small + tiny + both + none);
    assert_eq!((number("tracking-active"), number("sample-ratio")), (1, 1));
    assert_eq!(found["selected-slots"], ["0", "16383"]);
    assert!(number("collection-start-time-unix-ms") > 1_600_000_000_000);
    let by_time = &found["by-cpu-time-us"];
    assert_eq!(by_time.len(), 4, "two keys with their times: {by_time:?}");
    for name in ["collection-duration-ms", "total-cpu-time-user-ms", "total-cpu-time-sys-ms"] {
        assert!(found[name][0].parse::<u64>().is_ok(), "{name}");
    }
    let info = wire.text("INFO hotkeys");
    assert!(info.starts_with("# Hotkeys\r\ntracking_active:1\r\nused_memory:"), "{info}");

    // What is known is kept when it ends, and nothing is added.
    wire.ask("HOTKEYS STOP", "+OK\r\n");
    wire.ask("HOTKEYS STOP", "-ERR no hotkeys tracking session in progress\r\n");
    (0..100).for_each(|_| wire.ask("GET tiny", "$-1\r\n"));
    let ended = hot_keys(&mut wire);
    assert_eq!(ended["by-net-bytes"], found["by-net-bytes"]);
    assert_eq!(ended["tracking-active"], ["0"]);

    // A new one begins at zero; commands of a transaction count one by one, and only what was wanted is shown.
    wire.ask("HOTKEYS START METRICS 1 NET", "+OK\r\n");
    wire.ask("MULTI", "+OK\r\n");
    wire.ask("SET a 1", "+QUEUED\r\n");
    wire.ask("SET b 22", "+QUEUED\r\n");
    wire.ask("EXEC", "*2\r\n+OK\r\n+OK\r\n");
    // In RESP3 it is a map.
    wire.send("HELLO 3\r\n");
    wire.reply();
    assert!(wire.command("HOTKEYS GET").starts_with(b"*1\r\n%9\r\n$15\r\ntracking-active\r\n:1\r\n"));
    wire.send("HELLO 2\r\n");
    wire.reply();
    let found = hot_keys(&mut wire);
    let bytes = |words: &[&str]| (wire::request(words).len() + "+OK\r\n".len()).to_string();
    assert_eq!(found["by-net-bytes"], ["b", &bytes(&["SET", "b", "22"]), "a", &bytes(&["SET", "a", "1"])]);
    assert!(!found.contains_key("by-cpu-time-us") && !found.contains_key("total-cpu-time-user-ms"));
    wire.ask("HOTKEYS STOP", "+OK\r\n");
    wire.ask("HOTKEYS RESET", "+OK\r\n");
    wire.ask("HOTKEYS GET", "$-1\r\n");
    // It ends by itself.
    wire.ask("HOTKEYS START METRICS 1 CPU DURATION 1 SAMPLE 1000000000", "+OK\r\n");
    wire.ask("GET a", "$1\r\n1\r\n");
    wait::until_true("its time is over", || hot_keys(&mut wire)["tracking-active"] == ["0"]);
    let found = hot_keys(&mut wire);
    assert_eq!(
        (&found["collection-duration-ms"], &found["sample-ratio"]),
        (&vec!["1000".to_owned()], &vec!["1000000000".to_owned()])
    );
    assert_eq!(found["by-cpu-time-us"], [""; 0], "one key in so many is tracked");
    wire.ask("HOTKEYS STOP", "-ERR no hotkeys tracking session in progress\r\n");
    wire.ask("HOTKEYS RESET", "+OK\r\n");
    drop(server);
}

/// Redis 8.6: `allkeys-lrm` and `volatile-lrm`, under which only writes keep a key.
#[test]
fn keys_that_were_not_modified_go_first() {
    let (_server, mut wire, _dir) = start();
    wire.ask("CONFIG SET maxmemory-policy allkeys-lrm max-entries 3", "+OK\r\n");
    wire.ask("CONFIG GET maxmemory-policy", "*2\r\n$16\r\nmaxmemory-policy\r\n$11\r\nallkeys-lrm\r\n");
    let is_there = |wire: &mut Wire| {
        let reply = String::from_utf8(wire.command("PRINT")).expect("text");
        reply.split("\r\n").filter(|word| word.len() == 1).collect::<String>()
    };
    wire.ask("MSET a 1 b 1 c 1", "+OK\r\n");
    (0..10).for_each(|_| wire.ask("GET a", "$1\r\n1\r\n"));
    wire.ask("SET d 1", "+OK\r\n");
    assert_eq!(is_there(&mut wire), "bcd");
    // Commands that read a value in order to write it.
    wire.ask("INCR b", ":2\r\n");
    wire.ask("SETRANGE c 0 x", ":1\r\n");
    wire.ask("SET e 1", "+OK\r\n");
    assert_eq!(is_there(&mut wire), "bce");
    wire.ask("EXPIRE b 1000", ":1\r\n");
    wire.ask("TTL c", ":-1\r\n");
    wire.ask("TOUCH c", ":1\r\n");
    wire.ask("SET f 1", "+OK\r\n");
    assert_eq!(is_there(&mut wire), "bef");
    // Of the others, only those with a deadline.
    wire.ask("CONFIG SET maxmemory-policy volatile-lrm", "+OK\r\n");
    wire.ask("SET g 1", "+OK\r\n");
    assert_eq!(is_there(&mut wire), "efg");
    assert!(wire.command("SET h 1").starts_with(b"-OOM"));
}

/// Valkey 8.1: where the server runs, for clients that choose the nearest.
#[test]
fn clients_learn_the_availability_zone() {
    let (_server, mut wire, _dir) = start();
    assert!(!wire.command("HELLO 2").windows(17).any(|bytes| bytes == b"availability_zone"));
    assert!(wire.text("INFO server").contains("\r\navailability_zone:\r\n"));
    wire.ask("CONFIG SET availability-zone eu-1a", "+OK\r\n");
    wire.ask("CONFIG GET availability-zone", "*2\r\n$17\r\navailability-zone\r\n$5\r\neu-1a\r\n");
    assert!(wire.command("HELLO 2").ends_with(b"$17\r\navailability_zone\r\n$5\r\neu-1a\r\n"));
    assert!(wire.text("INFO server").contains("\r\navailability_zone:eu-1a\r\n"));
}
