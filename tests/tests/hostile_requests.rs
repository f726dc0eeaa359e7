//! Requests made to break something: texts that end a line early, patterns and numbers at their worst.
//!
//! Invariant: after each of them the next reply is the one to the next request, the data are as the reply says, and the
//! server is as quick as before.

#![forbid(unsafe_code)]

use kvproto::Spec;
use kvproto::spec::COMMANDS;
use kvtests::process::{Launch, ServerProcess};
use kvtests::server_program;
use kvtests::wire::{Wire, bulk, request, show};

fn launch() -> Launch {
    Launch::bare(server_program!()).arguments(["--memory-only", "--loops", "1"]).resp().line("plain")
}

fn server() -> ServerProcess {
    launch().start()
}

/// Each would be read as the end of a reply and the beginning of another if it got into one as it is.
const SMUGGLED: [&str; 4] = ["x\r\n+OK\r\n", "\r\n$5\r\nhello\r\n", "\n:1\n", "\r"];

/// Ends the server, or the connection, or makes it answer with more than one reply, or with none.
fn is_left_out(spec: &Spec) -> bool {
    [
        "shutdown",
        "debug",
        "multi",
        "monitor",
        "subscribe",
        "psubscribe",
        "ssubscribe",
        "quit",
        "client|reply",
        "client|kill",
    ]
    .contains(&spec.name)
        || ["unsubscribe", "punsubscribe", "sunsubscribe", "hello", "reset", "client|pause"].contains(&spec.name)
}

#[test]
fn a_line_end_in_a_request_ends_no_reply() {
    let server = server();
    let mut wire = server.connect();
    let mut asked = 0;
    let mut check = |words: &[String]| {
        wire.send(request(words));
        wire.send(request(&["ECHO", "next"]));
        let reply = wire.try_reply().unwrap_or_else(|error| panic!("{words:?}: {error}"));
        let next = wire.try_reply().unwrap_or_else(|error| panic!("{words:?}: {error} after {}", show(&reply)));
        assert_eq!(show(&next), show(&bulk("next")), "after {words:?} -> {}", show(&reply));
        asked += 1;
    };
    let rows = COMMANDS.iter().flat_map(|top| top.subcommands.iter().chain([top]));
    for spec in rows.filter(|spec| !is_left_out(spec)) {
        let name: Vec<String> = spec.name.split('|').map(str::to_owned).collect();
        let least = spec.arity.unsigned_abs() as usize;
        for smuggled in SMUGGLED {
            for count in [least, least + 1, least + 3] {
                // All of the words, and each alone among harmless ones.
                check(&[name.clone(), vec![smuggled.to_owned(); count.saturating_sub(name.len())]].concat());
                for at in name.len()..count {
                    let mut words = [name.clone(), vec!["1".to_owned(); count - name.len()]].concat();
                    words[at] = smuggled.to_owned();
                    check(&words);
                }
            }
            check(&[format!("{}{smuggled}", spec.name)]);
            check(&[name[0].clone(), smuggled.to_owned()]);
        }
    }
    for smuggled in SMUGGLED {
        for words in [
            vec!["HELLO", smuggled],
            vec!["HELLO", "2", "AUTH", smuggled, smuggled],
            vec!["HELLO", "2", "SETNAME", smuggled],
            vec!["CLIENT", "KILL", smuggled],
            vec!["CLIENT", "KILL", "USER", smuggled],
            vec!["CLIENT", "PAUSE", smuggled],
            vec!["AUTH", smuggled, smuggled],
            vec!["CONFIG", "SET", "save", smuggled],
            vec!["CONFIG", "SET", smuggled, smuggled],
            vec!["ACL", "SETUSER", smuggled, smuggled],
            vec!["SET", smuggled, smuggled, smuggled],
        ] {
            check(&words.into_iter().map(str::to_owned).collect::<Vec<_>>());
        }
    }
    println!("{asked} requests");
    assert!(asked > 5000);
}

/// The same for lines: what a key or a value holds is shown on one line.
#[test]
fn a_line_end_in_a_value_is_shown_within_the_line() {
    let server = server();
    let mut wire = server.connect();
    let mut line = Wire::connect(server.address(1));
    for smuggled in SMUGGLED {
        wire.send(request(&["SET", smuggled, smuggled]));
        wire.expect("+OK\r\n");
    }
    for ask in ["KEYS *\n", "GET \"\\r\"\n", "NOSUCH \"a\\r\\nOK\"\n", "\"GET\\r\\nOK\" k\n", "CLIENT \"x\\ny\"\n"] {
        line.send(ask);
        line.line();
        line.send("ECHO next\n");
        line.expect("next\n");
    }
}

/// Patterns for which a matcher that tries every way, or nests a call for each star, needs longer than this test may take
/// or more stack than there is; in every place that takes a pattern.
#[test]
fn patterns_built_to_explode_are_matched_or_not_and_that_is_all() {
    let server = server();
    let mut wire = server.connect();
    let long = "a".repeat(1 << 20);
    wire.send(request(&["SET", &long, "v"]));
    wire.expect("+OK\r\n");
    let patterns = [
        format!("{}#", "a*".repeat(100_000)),
        format!("{}#", "*a".repeat(100_000)),
        format!("{}#", "*".repeat(500_000)),
        format!("*{}#*", "a".repeat(1 << 19)),
        format!("*{}#*", "?".repeat(1 << 19)),
        format!("*[{}]", "+".repeat(1 << 19)),
        format!("*{}", "[".repeat(1 << 19)),
        format!("{}#", "*?".repeat(100_000)),
        format!("{}#", "[a-z]*".repeat(50_000)),
        "\\".repeat(1 << 19),
    ];
    let mut subscriber = server.connect();
    for pattern in &patterns {
        wire.send(request(&["KEYS", pattern]));
        wire.expect("*0\r\n");
        wire.send(request(&["SCAN", "0", "MATCH", pattern, "COUNT", "1000"]));
        assert!(wire.reply().ends_with(b"*0\r\n"));
        subscriber.send(request(&["PSUBSCRIBE", pattern]));
        subscriber.reply();
        for words in [
            &["PUBSUB", "CHANNELS", pattern][..],
            &["CONFIG", "GET", pattern],
            &["COMMAND", "LIST", "FILTERBY", "PATTERN", pattern],
        ] {
            wire.send(request(words));
            wire.expect("*0\r\n");
        }
    }
    wire.send(request(&["PUBLISH", &long, "m"]));
    wire.expect(":0\r\n");
    wire.send(request(&["PUBSUB", "CHANNELS", "*"]));
    wire.expect("*0\r\n");
    // And as a rule of a user: the key is not permitted, and that is known soon.
    for pattern in &patterns {
        wire.command("ACL DELUSER u");
        let rule = format!("~{}#", &pattern[..pattern.len().min(48_000)]);
        wire.try_command(&["ACL", "SETUSER", "u", "on", "nopass", "+@all", &rule, "allchannels"]).expect("a reply");
        let mut user = server.connect();
        if user.command("AUTH u x") == b"+OK\r\n" {
            let reply = user.try_command(&["GET", &long]).expect("a reply");
            assert!(reply.starts_with(b"-NOPERM "), "{}", show(&reply));
        }
    }
}

/// Every number a command takes, at the ends of what 64 bits and 32 bits hold and just beyond.
#[test]
fn numbers_at_their_ends_are_refused_or_right() {
    let server = server();
    let mut wire = server.connect();
    const EDGES: [&str; 18] = [
        "9223372036854775807",
        "9223372036854775806",
        "-9223372036854775808",
        "-9223372036854775807",
        "9223372036854775808",
        "-9223372036854775809",
        "18446744073709551615",
        "18446744073709551616",
        "4294967295",
        "4294967296",
        "2147483647",
        "2147483648",
        "-2147483648",
        "536870911",
        "536870912",
        "9223372036854775",
        "92233720368547758070",
        "-1",
    ];
    let reset = |wire: &mut Wire| wire.ask("SET k value", "+OK\r\n");
    for edge in EDGES {
        for (words, allowed) in [
            (format!("SETRANGE k {edge} x"), ":536870912\r\n"),
            (format!("SETBIT k {edge} 1"), ":0\r\n"),
            (format!("BITFIELD k SET u8 {edge} 1"), "*1\r\n:0\r\n"),
            // Redis' clients know the product of a number of fields and their width to wrap.
            (format!("BITFIELD k SET i64 #{edge} 1"), "*1\r\n:"),
            (format!("BITFIELD k INCRBY i64 {edge} {edge}"), "*1\r\n:"),
            (format!("EXPIRE k {edge}"), ":1\r\n"),
            (format!("PEXPIRE k {edge}"), ":1\r\n"),
            (format!("EXPIREAT k {edge}"), ":1\r\n"),
            (format!("PEXPIREAT k {edge}"), ":1\r\n"),
            (format!("SET k v EX {edge}"), "+OK\r\n"),
            (format!("SET k v PXAT {edge}"), "+OK\r\n"),
            (format!("GETEX k EX {edge}"), "$5\r\nvalue\r\n"),
            (format!("SCAN {edge}"), "*2\r\n"),
            (format!("SCAN 0 COUNT {edge}"), "*2\r\n"),
            (format!("RESTORE r {edge} x"), "-"),
        ] {
            reset(&mut wire);
            let reply = wire.command(&words);
            let right = reply.starts_with(b"-ERR ") || reply.starts_with(allowed.as_bytes());
            assert!(right, "{words}: {}", show(&reply));
            if reply.starts_with(b"-ERR ") {
                wire.ask("GET k", bulk("value"));
                wire.ask("TTL k", ":-1\r\n");
            } else if words.contains("EX") && edge.starts_with('-') {
                wire.ask("EXISTS k", ":0\r\n");
            }
            wire.command("DEL k");
        }
        for words in [
            format!("GETRANGE k {edge} {edge}"),
            format!("GETRANGE k -1 {edge}"),
            format!("GETRANGE k {edge} -1"),
            format!("BITCOUNT k {edge} {edge} BIT"),
            format!("BITPOS k 1 {edge} {edge}"),
            format!("GETBIT k {edge}"),
            format!("BITFIELD k GET u63 {edge}"),
            format!("BITFIELD_RO k GET i64 #{edge}"),
            format!("LCS k k MINMATCHLEN {edge} IDX"),
        ] {
            reset(&mut wire);
            let reply = wire.command(&words);
            assert!(reply.len() < 200, "{words}: {}", show(&reply));
            wire.ask("GET k", bulk("value"));
        }
        for words in [
            format!("BITFIELD k OVERFLOW FAIL INCRBY i64 0 {edge}"),
            format!("INCRBY n {edge}"),
            format!("DECRBY n {edge}"),
            format!("INCRBYFLOAT n {edge}"),
            format!("SELECT {edge}"),
            format!("OBJECT FREQ {edge}"),
            format!("CLIENT KILL ID {edge}"),
            format!("CLIENT LIST ID {edge}"),
            format!("SLOWLOG GET {edge}"),
            format!("ACL LOG {edge}"),
            format!("LATENCY HISTORY {edge}"),
            format!("MSETEX {edge} a b"),
            format!("WAIT 0 {edge}"),
        ] {
            wire.command(&words);
            wire.ask("SELECT 0", "+OK\r\n");
            wire.ask("SET n 9223372036854775806", "+OK\r\n");
        }
    }
}
