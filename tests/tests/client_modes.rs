//! The modes of `kvclient`, redis-cli's flags, its output formats and `--pipe`, against a real server, and against Redis 7.0
//! where that is installed.
//!
//! Invariant: what a script parses is checked byte for byte; no test depends on how fast anything is.

#![forbid(unsafe_code)]

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};

use kvtests::process::{Launch, ServerProcess};
use kvtests::program::Program;
use kvtests::reference::Reference;
use kvtests::server_program;
use kvtests::wait;
use tempfile::TempDir;

const CLIENT: &str = env!("CARGO_BIN_EXE_kvclient_under_test");

fn client(words: &[&str]) -> Command {
    let mut command = Command::new(CLIENT);
    command.env_remove("REDISCLI_AUTH").env_remove("KVCLIENT_URL").env("NO_COLOR", "1");
    command.args(words);
    command
}

fn run(words: &[&str], input: impl AsRef<[u8]>) -> (Option<i32>, String, String) {
    let mut program = Program::start(&mut client(words));
    if !input.as_ref().is_empty() {
        program.say(input);
    }
    program.finish()
}

fn server(dir: &TempDir) -> ServerProcess {
    Launch::new(server_program!(), dir.path()).resp().line("plain").start()
}

/// A client of one server.
struct At {
    url: String,
}

impl At {
    fn new(address: SocketAddr) -> At {
        At { url: format!("redis://{address}") }
    }

    fn run(&self, words: &[&str], input: impl AsRef<[u8]>) -> (Option<i32>, String, String) {
        run(&[&["-u", &self.url], words].concat(), input)
    }

    /// It must print exactly `output`, and nothing on standard error.
    #[track_caller]
    fn prints(&self, words: &[&str], output: &str) {
        assert_eq!(self.run(words, ""), (Some(0), output.to_owned(), String::new()), "{words:?}");
    }

    /// It must end with `code` and print nothing but `reason`, on standard error.
    #[track_caller]
    fn fails(&self, words: &[&str], code: i32, reason: &str) {
        let (ended, output, errors) = self.run(words, "");
        assert_eq!((ended, output.as_str()), (Some(code), ""), "{words:?}: {errors}");
        assert!(errors.contains(reason), "{words:?}: {errors}");
    }

    fn start(&self, words: &[&str]) -> Program {
        Program::start(&mut client(&[&["-u", &self.url], words].concat()))
    }

    /// Runs `check` here and, where it is installed, at Redis 7.0.
    fn here_and_at_redis(check: impl Fn(&At)) {
        let dir = TempDir::new().expect("a temporary directory");
        let server = server(&dir);
        check(&At::new(server.address(0)));
        if let Some(redis) = Reference::start(&[]) {
            check(&At::new(redis.address()));
        }
    }
}

#[test]
fn replies_are_shown_in_the_format_that_a_flag_names() {
    At::here_and_at_redis(|at| {
        // Each of the two bytes of the last character is `?` below.
        at.prints(&["SET", "k", "a \"b\"\u{e9}"], "OK\n");
        at.prints(&["--json", "GET", "k"], "\"a \\\"b\\\"??\"\n");
        at.prints(&["--quoted-json", "GET", "k"], "\"a \\\\\\\"b\\\\\\\"\\\\xc3\\\\xa9\"\n");
        at.prints(&["--csv", "MGET", "k", "none"], "\"a \\\"b\\\"\\xc3\\xa9\",NULL\n");
        at.prints(&["--table", "MGET", "k", "none"], "k     a \"b\"??\nnone  (nil)\n");
        at.prints(&["--json", "GET", "none"], "null\n");
        at.prints(&["--json", "STRLEN", "k"], "7\n");
        // RESP3 has maps; RESP2 only lists.
        at.prints(&["--json", "CONFIG", "GET", "maxmemory-policy"], "{\"maxmemory-policy\":\"noeviction\"}\n");
        at.prints(&["-2", "--json", "CONFIG", "GET", "maxmemory-policy"], "[\"maxmemory-policy\",\"noeviction\"]\n");
        at.prints(&["--csv", "CONFIG", "GET", "maxmemory-policy"], "\"maxmemory-policy\",\"noeviction\"\n");
        at.prints(&["--table", "CONFIG", "GET", "maxmemory-policy"], "maxmemory-policy  noeviction\n");
        // Errors are part of the output of a program that reads it, and give exit code 1.
        let (code, output, errors) = at.run(&["--json", "INCR", "k"], "");
        assert_eq!((code, errors.as_str()), (Some(1), ""));
        assert_eq!(output, "{\"error\":\"ERR value is not an integer or out of range\"}\n");
        let (code, output, _) = at.run(&["--csv", "INCR", "k"], "");
        assert_eq!((code, output.as_str()), (Some(1), "ERROR,\"ERR value is not an integer or out of range\"\n"));
        // From a pipe.
        let (code, output, _) = at.run(&["--json"], "MGET k none\nINCR k\nSTRLEN k\n");
        let expected = "[\"a \\\"b\\\"??\",null]\n{\"error\":\"ERR value is not an integer or out of range\"}\n7\n";
        assert_eq!((code, output.as_str()), (Some(1), expected));
        // Bytes that are not text are not lost.
        assert_eq!(at.run(&["-x", "SET", "bytes"], b"\xff\0").0, Some(0));
        at.prints(&["--json", "GET", "bytes"], "{\"base64\":\"/wA=\"}\n");
        at.prints(&["--csv", "GET", "bytes"], "\"\\xff\\x00\"\n");
    });
}

#[test]
fn a_command_is_repeated_in_every_style() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let at = At::new(server.address(0));
    for (flag, output) in [
        ("--raw", "1\n2\n"),
        ("--no-raw", "(integer) 3\n(integer) 4\n"),
        ("--json", "5\n6\n"),
        ("--quoted-json", "7\n8\n"),
        ("--csv", "9\n10\n"),
        ("--table", "11\n12\n"),
    ] {
        at.prints(&["-r", "2", "-i", "0.01", flag, "INCR", "n"], output);
    }
}

#[test]
fn redis_clis_flags_work() {
    At::here_and_at_redis(|at| {
        at.prints(&["-D", "", "SET", "k", "v"], "OK");
        at.prints(&["-d", ", ", "-D", ";", "MGET", "k", "k"], "v, v;");
        at.prints(&["--quoted-input", "SET", "\"a\\x00b\"", "'x y'"], "OK\n");
        at.prints(&["--no-raw", "KEYS", "a*"], "1) \"a\\x00b\"\n");
        let (code, output, _) = at.run(&["-X", "tag", "SET", "tagged", "tag"], "from\ninput");
        assert_eq!((code, output.as_str()), (Some(0), "OK\n"));
        at.prints(&["GET", "tagged"], "from\ninput\n");
        assert_eq!(at.run(&["-X", "tag", "SET", "tagged", "x"], "").0, Some(1));
        for flags in [
            &["-c"][..],
            &["-e"],
            &["--verbose"],
            &["--no-auth-warning"],
            &["-t", "0.5"],
            &["-2"],
            &["--show-pushes", "no"],
        ] {
            at.prints(&[flags, &["GET", "k"]].concat(), "v\n");
        }
        // A pushed message, between two replies.
        let input = "CLIENT TRACKING ON\nGET k\nSET k w\nGET k\n";
        let (code, output, _) = at.run(&["-3", "--show-pushes", "no"], input);
        assert_eq!((code, output.as_str()), (Some(0), "OK\nv\nOK\nw\n"));
        at.prints(&["SET", "k", "v"], "OK\n");
    });
    for flag in ["-v", "-V", "--version"] {
        let (code, output, _) = run(&[flag], "");
        assert_eq!((code, output.starts_with("kvclient ")), (Some(0), true), "{output}");
    }
}

#[test]
fn what_is_not_here_is_refused_with_what_to_use_instead() {
    let at = At { url: "redis://127.0.0.1:1".to_owned() };
    for (words, instead) in [
        (&["--rdb", "dump.rdb"][..], "kvclient backup"),
        (&["--functions-rdb", "dump.rdb"], "kvclient backup"),
        (&["--replica"], "MONITOR"),
        (&["--slave"], "MONITOR"),
        (&["--cluster", "info", "127.0.0.1:1", "--cluster-yes"], "no cluster"),
        (&["--eval", "script.lua", "key", ",", "argument"], "MULTI"),
        (&["--ldb", "--eval", "script.lua"], "MULTI"),
        (&["--lru-test", "1000"], "bench"),
        (&["--tls", "--sni", "host", "PING"], "stunnel"),
        (&["--top", "5"], "--keystats"),
        (&["--scan", "GET", "k"], "--scan"),
        (&["--pattern", "x"], "--scan"),
        (&["-i", "1"], "-i"),
        (&["--scan", "-r", "2"], "-r"),
        (&["--stat", "--latency"], "cannot be used with"),
        (&["--quoted-input", "GET", "\"k"], "quotes"),
    ] {
        at.fails(words, 2, instead);
    }
    // The line protocol has no replies that these can read.
    let line = At { url: "line://127.0.0.1:1".to_owned() };
    for mode in ["--stat", "--bigkeys", "--memkeys", "--hotkeys", "--scan", "--pipe"] {
        line.fails(&[mode], 2, "redis://");
    }
    for mode in ["--stat", "--bigkeys", "--scan", "--latency", "--pipe"] {
        at.fails(&[mode], 1, "127.0.0.1:1");
    }
}

#[test]
fn stat_prints_rows_until_ctrl_c() {
    At::here_and_at_redis(|at| {
        at.prints(&["SET", "k", "v"], "OK\n");
        at.prints(&["GET", "k"], "v\n");
        let (code, output, errors) = at.run(&["--stat", "-r", "2", "-i", "0.01"], "");
        assert_eq!((code, errors.as_str()), (Some(0), ""));
        let lines: Vec<Vec<&str>> = output.lines().map(|line| line.split_whitespace().collect()).collect();
        let heading = ["keys", "mem", "clients", "blocked", "requests", "connections", "ops/s", "hits", "work"];
        assert_eq!((lines.len(), &lines[0][..]), (3, &heading[..]), "{output}");
        assert_eq!((lines[1][0], lines[1][5], lines[1][8]), ("1", "(+0)", "100.0%"), "{output}");
        let (code, output, _) = at.run(&["--stat", "-r", "1", "--json"], "");
        assert_eq!(code, Some(0));
        assert!(output.contains("\"keys\":1,") && output.contains("\"hit_ratio\":1.0,"), "{output}");
        let (_, output, _) = at.run(&["--stat", "-r", "2", "-i", "0.01", "--csv"], "");
        let rows: Vec<&str> = output.lines().collect();
        assert!(rows.len() == 3 && rows[0].starts_with("keys,memory_bytes,clients,") && rows[1].starts_with("1,"));
        let mut program = at.start(&["--stat", "-i", "0.01"]);
        program.hear("keys ");
        program.hear("(+0)");
        program.interrupt();
        let (code, _, errors) = program.finish();
        assert_eq!(code, Some(0));
        assert!(errors.contains(" requests, ") && errors.contains("memory "), "{errors}");
    });
}

#[test]
fn latency_is_one_line_in_a_pipe() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let at = At::new(server.address(0));
    let fields = |output: &str, mark: char| output.trim_end().split(mark).map(str::to_owned).collect::<Vec<_>>();
    for (at, mark, flag) in
        [(&at, ' ', "--raw"), (&at, ',', "--csv"), (&At { url: format!("line://{}", server.address(1)) }, ' ', "--raw")]
    {
        let (code, output, errors) = at.run(&["--latency", flag, "-i", "0.05"], "");
        assert_eq!((code, errors.as_str(), output.lines().count()), (Some(0), "", 1), "{output}");
        let fields: Vec<f64> = fields(&output, mark).iter().map(|field| field.parse().expect(&output)).collect();
        let [min, max, average, count, p50, p99] = fields[..] else { panic!("{output}") };
        assert!(min <= average && average <= max && p50 <= p99 && count >= 1.0, "{output}");
    }
    let (code, output, _) = at.run(&["--latency", "--json", "-i", "0.05"], "");
    assert!(code == Some(0) && output.starts_with("{\"min\":") && output.contains("\"p99\":"), "{output}");
    // No time at all is the time that it takes by itself.
    let (code, output, errors) = at.run(&["--latency", "--raw", "-i", "0"], "");
    assert_eq!((code, errors.as_str(), output.split(' ').count()), (Some(0), "", 6), "{output}");
    let (code, output, _) = at.run(&["--latency", "--raw", "-i", "1e-9"], "");
    assert_eq!((code, output.split(' ').count()), (Some(0), 6), "{output}");
    at.fails(&["--latency", "-i", "1e19"], 2, "seconds");
    // Ctrl-C does not lose what was measured.
    let program = at.start(&["--latency", "--no-raw", "-i", "1000"]);
    wait::until_true("the program's requests", || at.run(&["CLIENT", "LIST"], "").1.contains("cmd=ping"));
    program.interrupt();
    let (code, output, _) = program.finish();
    assert_eq!(code, Some(0));
    assert!(output.starts_with("min: ") && output.ends_with(" samples)\n"), "{output}");
}

#[test]
fn latency_history_and_spectrum_print_a_row_for_each_interval_until_ctrl_c() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let at = At::new(server.address(0));
    for (words, row) in [
        (&["--latency-history", "-i", "0.03", "--no-raw"][..], " seconds range\n"),
        (&["--latency-history", "-i", "0.03", "--csv"], "\n"),
        (&["--latency-dist", "-i", "0.03"], " all of the samples\n"),
        (&["--latency-dist", "-i", "0.03"], "\n"),
    ] {
        let mut program = at.start(words);
        program.hear(row);
        program.hear("\n");
        program.interrupt();
        let (code, output, _) = program.finish();
        assert_eq!(code, Some(0), "{words:?}");
        // Nothing moves a cursor.
        assert!(!output.contains('\x1b') && !output.contains('\r'), "{output:?}");
    }
    let (code, output, _) = run(&["--intrinsic-latency", "0.01"], "");
    assert!(code == Some(0) && output.contains(" total runs (avg latency: "), "{output}");
    let (code, output, _) = run(&["--intrinsic-latency", "0.01", "--json"], "");
    assert!(code == Some(0) && output.starts_with("{\"max\":"), "{output}");
}

#[test]
fn the_biggest_keys_are_found() {
    At::here_and_at_redis(|at| {
        let input = "SET short 1\nSET \"lo ng\" 1234567890\nSETRANGE longer 19 x\n";
        assert_eq!(at.run(&[], input).0, Some(0));
        let (code, output, errors) = at.run(&["--bigkeys"], "");
        assert_eq!((code, errors.as_str()), (Some(0), ""));
        let summary = "\n-------- summary -------\n\n\
            Sampled 3 keys in the keyspace!\n\
            Total key length in bytes is 16 (avg len 5.33)\n\n\
            Biggest string found \"longer\" has 20 bytes\n\n\
            3 strings with 31 bytes (100.00% of keys, avg size 10.33)\n";
        assert!(output.ends_with(summary), "{output}");
        assert!(output.contains("Biggest string found so far \"longer\" with 20 bytes\n"), "{output}");
        at.prints(
            &["--bigkeys", "--csv", "--pattern", "lo*"],
            "type,keys,size,unit,biggest_size,biggest_key\nstring,2,30,bytes,20,\"longer\"\n",
        );
        let (_, output, _) = at.run(&["--bigkeys", "--json", "--count", "1"], "");
        assert!(output.contains("\"sampled\":3,") && output.contains("\"complete\":true,"), "{output}");
        for words in [&["--memkeys"][..], &["--memkeys", "--memkeys-samples", "0"], &["--memkeys-samples", "5"]] {
            let (code, output, errors) = at.run(words, "");
            assert_eq!((code, errors.as_str()), (Some(0), ""), "{words:?}");
            assert!(output.contains("\nSampled 3 keys in the keyspace!\n"), "{output}");
            assert!(output.contains("Biggest string found \"lo") && output.contains("3 strings with "), "{output}");
        }
        let (code, output, errors) = at.run(&["--keystats", "--top", "1"], "");
        assert_eq!((code, errors.as_str()), (Some(0), ""));
        assert!(output.contains("B string \"longer\", 20 bytes\n") && !output.contains("\"short\","), "{output}");
        assert!(output.contains(", with 31 bytes; most: 20 in \"longer\"\n"), "{output}");
        let (_, output, _) = at.run(&["--keystats", "--csv"], "");
        assert!(
            output.starts_with("memory,type,elements,key\n") && output.contains(",string,1,\"short\"\n"),
            "{output}"
        );
        let (_, output, _) = at.run(&["--keystats", "--json", "--keystats-samples", "0"], "");
        assert!(output.contains("\"elements\":31,") && output.contains("\"memory_quantiles\":{"), "{output}");
        let (_, output, _) = at.run(&["--bigkeys", "--type", "list"], "");
        assert!(output.contains("\nSampled 0 keys in the keyspace!\n"), "{output}");
    });
}

/// The histogram kept nothing beyond its first bounds: most quantiles were 2 bytes.
#[test]
fn the_quantiles_of_memory_are_those_of_the_keys() {
    At::here_and_at_redis(|at| {
        let sizes = (1..=100).map(|index| index * 100);
        let input: String = sizes.clone().map(|size| format!("SETRANGE k{size} {} x\n", size - 1)).collect();
        assert_eq!(at.run(&[], input).0, Some(0));
        let input: String = sizes.map(|size| format!("MEMORY USAGE k{size}\n")).collect();
        let (_, output, _) = at.run(&[], input);
        let mut memory: Vec<u64> = output.lines().map(|line| line.parse().expect("a number of bytes")).collect();
        memory.sort_unstable();
        let (code, output, _) = at.run(&["--keystats", "--json"], "");
        assert_eq!(code, Some(0));
        let quantile = |name: &str| -> u64 {
            let (_, quantiles) = output.split_once("\"memory_quantiles\":{").expect("quantiles");
            let (_, value) = quantiles.split_once(&format!("\"{name}\":")).expect("the quantile");
            value.split([',', '}']).next().and_then(|digits| digits.parse().ok()).expect("its digits")
        };
        assert_eq!((quantile("0"), quantile("1")), (memory[0], memory[99]), "{output}");
        for (name, at) in [("0.25", 24), ("0.5", 49), ("0.75", 74), ("0.9", 89), ("0.99", 98)] {
            // Three digits of them are kept.
            assert!(quantile(name).abs_diff(memory[at]) <= memory[at] / 500, "{name}: {}: {output}", memory[at]);
        }
    });
}

/// What was found so far is shown, and the exit code says that it is not all.
#[test]
fn a_search_that_ends_early_shows_what_it_has_found() {
    At::here_and_at_redis(|at| {
        let input: String = (0..1000).map(|at| format!("SET key:{at} v\n")).collect();
        assert_eq!(at.run(&[], input).0, Some(0));
        let search = ["--bigkeys", "--count", "10", "-i", "0.5"];
        let mut program = at.start(&search);
        program.hear("Biggest string found so far");
        program.interrupt();
        let (code, output, errors) = program.finish();
        assert!(code == Some(1) && output.contains("Biggest string found \"key:"), "{output}");
        assert_eq!(errors, "kvclient: interrupted: not all keys were seen\n");
        let mut program = at.start(&search);
        program.hear("Biggest string found so far");
        assert_eq!(at.run(&["CLIENT", "KILL", "TYPE", "normal"], "").0, Some(0));
        let (code, output, errors) = program.finish();
        assert!(code == Some(1) && output.contains("Biggest string found \"key:"), "{output}");
        assert!(errors.contains("not all keys were seen"), "{errors}");
    });
}

#[test]
fn keys_are_json_as_replies_are() {
    At::here_and_at_redis(|at| {
        for (key, plain, escaped) in
            [("\"a b\"", "\"a b\"", "\"a b\""), ("\"\\xff\"", "{\"base64\":\"/w==\"}", "\"\\\\xff\"")]
        {
            at.prints(&["FLUSHALL"], "OK\n");
            at.prints(&["--quoted-input", "SET", key, "v"], "OK\n");
            for mode in ["--bigkeys", "--memkeys", "--keystats"] {
                for (style, shown) in [("--json", plain), ("--quoted-json", escaped)] {
                    let (_, output, _) = at.run(&[mode, style], "");
                    assert!(output.contains(&format!("_key\":{shown},")), "{mode}: {output}");
                }
            }
        }
    });
}

/// A server's figures may be anything.
#[test]
fn figures_of_any_size_are_shown_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = At::new(listener.local_addr().expect("an address"));
    let program = at.start(&["--stat", "-r", "1"]);
    let (mut stream, _) = listener.accept().expect("the program's connection");
    stream.read_exact(&mut [0]).expect("a request");
    let largest = i64::MAX;
    let info = format!(
        "# Keyspace\r\ndb0:keys={largest}\r\ndb1:keys=1\r\nconnected_clients:{largest}\r\nkeyspace_hits:{largest}\r\n\
         keyspace_misses:{largest}\r\n"
    );
    write!(stream, "${}\r\n{info}\r\n", info.len()).expect("a reply");
    let (code, output, errors) = program.finish();
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    let row: Vec<&str> = output.lines().nth(1).expect("a row").split_whitespace().collect();
    let largest = largest.to_string();
    assert_eq!((row[0], row[2], row[7]), (largest.as_str(), largest.as_str(), "50.0%"), "{output}");
}

/// kv has strings alone.
#[test]
fn the_biggest_keys_of_other_types_are_found() {
    let Some(redis) = Reference::start(&[]) else { return };
    let at = At::new(redis.address());
    let input = "SET s 12345\nRPUSH l a b c\nRPUSH l2 a\nSADD set a b\nHSET h f v\nZADD z 1 a\nXADD x * f v\n";
    assert_eq!(at.run(&[], input).0, Some(0));
    at.prints(
        &["--bigkeys", "--csv"],
        "type,keys,size,unit,biggest_size,biggest_key\nhash,1,1,fields,1,\"h\"\nlist,2,4,items,3,\"l\"\n\
         set,1,2,members,2,\"set\"\nstream,1,1,entries,1,\"x\"\nstring,1,5,bytes,5,\"s\"\nzset,1,1,members,1,\"z\"\n",
    );
    let (_, output, _) = at.run(&["--table", "HGETALL", "h"], "");
    assert_eq!(output, "f  v\n");
    let (_, output, _) = at.run(&["--json", "HGETALL", "h"], "");
    assert_eq!(output, "{\"f\":\"v\"}\n");
    let (_, output, _) = at.run(&["--scan", "--type", "list", "--no-raw"], "");
    let mut keys: Vec<&str> = output.lines().collect();
    keys.sort_unstable();
    assert_eq!(keys, ["\"l\"", "\"l2\""]);
}

/// An old server, or one whose commands are renamed.
#[test]
fn searches_work_without_the_commands_that_a_server_lacks() {
    let renamed = ["--rename-command", "TYPE", "", "--rename-command", "MEMORY", ""];
    let Some(redis) = Reference::start(&renamed) else { return };
    let at = At::new(redis.address());
    at.prints(&["SET", "k", "12345"], "OK\n");
    let (code, output, _) = at.run(&["--bigkeys"], "");
    assert_eq!(code, Some(0));
    assert!(output.contains("Biggest string found \"k\" has 5 bytes\n"), "{output}");
    let (code, _, errors) = at.run(&["--memkeys"], "");
    assert!(code == Some(1) && errors.contains("--bigkeys"), "{errors}");
}

#[test]
fn hot_keys_need_a_policy_that_counts_uses() {
    At::here_and_at_redis(|at| {
        assert_eq!(at.run(&[], "SET cold 1\nSET hot 1\n").0, Some(0));
        let (code, _, errors) = at.run(&["--hotkeys"], "");
        assert_eq!(code, Some(1));
        assert!(errors.contains("maxmemory-policy allkeys-lfu"), "{errors}");
        at.prints(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lfu"], "OK\n");
        // What a key counted under another policy means nothing, and in Redis small numbers share a counter.
        assert_eq!(at.run(&[], "FLUSHALL\nSET cold x\nSET hot x\n").0, Some(0));
        assert_eq!(at.run(&["-r", "500", "GET", "hot"], "").0, Some(0));
        let (code, output, errors) = at.run(&["--hotkeys"], "");
        assert_eq!((code, errors.as_str()), (Some(0), ""));
        assert!(output.contains("\nSampled 2 keys in the keyspace!\nhot key found with counter: "), "{output}");
        let hottest = output.lines().find(|line| line.starts_with("hot key")).expect("a hot key");
        assert!(hottest.ends_with("\tkeyname: \"hot\""), "{output}");
        let (_, output, _) = at.run(&["--hotkeys", "--csv"], "");
        assert!(output.starts_with("counter,key\n") && output.contains(",\"hot\"\n"), "{output}");
        let (_, output, _) = at.run(&["--hotkeys", "--json"], "");
        assert!(output.contains("\"key\":\"hot\""), "{output}");
    });
}

#[test]
fn scan_prints_every_key_once_on_a_line() {
    At::here_and_at_redis(|at| {
        let input: String = (0..3000).map(|at| format!("SET key:{at} v\n")).collect();
        assert_eq!(at.run(&[], input).0, Some(0));
        let sorted = |words: &[&str]| {
            let (code, output, errors) = at.run(words, "");
            assert_eq!((code, errors.as_str()), (Some(0), ""), "{words:?}");
            let mut keys: Vec<String> = output.lines().map(str::to_owned).collect();
            keys.sort_unstable();
            keys.dedup();
            keys
        };
        assert_eq!(sorted(&["--scan"]).len(), 3000);
        assert_eq!(sorted(&["--scan", "--count", "7", "--pattern", "key:299?"]).len(), 10);
        assert_eq!(sorted(&["--scan", "--pattern", "key:7", "--quoted"]), ["\"key:7\""]);
        assert_eq!(sorted(&["--scan", "--pattern", "key:7", "--json"]), ["\"key:7\""]);
        assert_eq!(sorted(&["--scan", "--quoted-pattern", "\"key:\\x37\"", "-i", "0.001"]), ["key:7"]);
        assert_eq!(sorted(&["--scan", "--type", "list"]), [] as [&str; 0]);
        at.prints(&["--scan", "--pattern", "key:7", "-D", ";"], "key:7;");
        // What was not printed is not missed: Ctrl-C says where to go on.
        let mut program = at.start(&["--scan", "--count", "100", "-i", "1000"]);
        program.hear("key:");
        program.interrupt();
        let (code, output, errors) = program.finish();
        assert_eq!(code, Some(1));
        let cursor = errors.split_whitespace().nth_back(2).expect("a cursor");
        let rest = sorted(&["--scan", "--cursor", cursor]);
        let mut all: Vec<String> = output.lines().map(str::to_owned).chain(rest).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 3000, "{errors}");
        // Who reads no more gets no more.
        let mut reader = client(&["-u", &at.url, "--scan"]).stdout(Stdio::piped()).spawn().expect("the client");
        drop(reader.stdout.take());
        let status = wait::until("the client's end", || reader.try_wait().expect("the state of a child"));
        assert_eq!(status.code(), Some(0));
    });
}

const DONE: &str = "All data transferred. Waiting for the last reply...\nLast reply received from server.\n";

fn resp(requests: &[&[&str]]) -> String {
    let mut text = String::new();
    for request in requests {
        text += &format!("*{}\r\n", request.len());
        for word in *request {
            text += &format!("${}\r\n{word}\r\n", word.len());
        }
    }
    text
}

#[test]
fn a_pipe_takes_every_format_and_ends_like_redis_clis() {
    At::here_and_at_redis(|at| {
        let expected = |replies: usize| (Some(0), format!("{DONE}errors: 0, replies: {replies}\n"), String::new());
        let requests = resp(&[&["SET", "a", "1"], &["SET", "b", "x\r\ny"], &["PING"], &["GET", "a"]]);
        assert_eq!(at.run(&["--pipe"], &requests), expected(4));
        assert_eq!(at.run(&["--pipe"], "SET a 2\n# a comment\n\nSET b 'x y' EX 100\nMGET a b"), expected(3));
        let rows = "key,value,ttl\r\na,3,\r\n\"b,\",\"x \"\"y\"\"\n\",100\r\n";
        assert_eq!(at.run(&["--pipe", "--pipe-format", "csv"], rows), expected(2));
        at.prints(&["MGET", "a", "b,"], "3\nx \"y\"\n\n");
        let lines = "{\"key\":\"a\",\"value\":4}\n{\"key\":{\"base64\":\"Yg==\"},\"value\":\"z\",\"ttl\":100}\n";
        assert_eq!(at.run(&["--pipe"], lines), expected(2));
        at.prints(&["MGET", "a", "b"], "4\nz\n");
        let (_, ttl, _) = at.run(&["TTL", "b"], "");
        assert!(ttl.trim().parse::<i64>().is_ok_and(|ttl| ttl > 0), "{ttl}");
        assert_eq!(at.run(&["--pipe"], ""), expected(0));
        assert_eq!(at.run(&["--pipe", "--pipe-format", "resp"], "SET inline 1\r\nPING"), expected(2));
        // In the database of the URL.
        let other = At { url: format!("{}/5", at.url) };
        assert_eq!(other.run(&["--pipe"], "SET there 5\n"), expected(1));
        other.prints(&["DBSIZE"], "1\n");
    });
}

/// A server that does not reply does not keep the program.
#[test]
fn ctrl_c_ends_every_mode_at_a_server_that_hangs() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = At::new(listener.local_addr().expect("an address"));
    for (words, code) in [
        (&["--latency"][..], 1),
        (&["--stat"], 0),
        (&["--scan"], 1),
        (&["--bigkeys"], 1),
        (&["--keystats"], 1),
        (&["--hotkeys"], 1),
        (&["--pipe"], 1),
    ] {
        let mut program = at.start(words);
        if words == ["--pipe"] {
            program.say("PING\n");
        }
        let (mut stream, _) = listener.accept().expect("the program's connection");
        // Its first request: from there on Ctrl-C is the mode's.
        stream.read_exact(&mut [0]).expect("a request");
        program.interrupt();
        assert_eq!(program.end().code(), Some(code), "{words:?}");
    }
}

#[test]
fn a_pipe_counts_errors_and_names_their_lines() {
    At::here_and_at_redis(|at| {
        at.prints(&["SET", "text", "x"], "OK\n");
        let (code, output, errors) = at.run(&["--pipe"], "SET a 1\n\nINCR text\nGET 'x\nSET b 2\n");
        assert_eq!((code, output), (Some(1), format!("{DONE}errors: 2, replies: 3\n")));
        let mut lines: Vec<&str> = errors.lines().collect();
        lines.sort_unstable();
        assert_eq!(
            lines,
            [
                "kvclient: line 3: ERR value is not an integer or out of range",
                "kvclient: line 4: unbalanced quotes in request"
            ]
        );
        let (code, output, errors) = at.run(&["--pipe", "--pipe-format", "csv"], "a,1\nb\nc,1,-1\nd,1\n");
        assert_eq!((code, output), (Some(1), format!("{DONE}errors: 2, replies: 2\n")), "{errors}");
        assert!(errors.contains("kvclient: line 2: ") && errors.contains("kvclient: line 3: "), "{errors}");
        let requests = resp(&[&["PING"], &["INCR", "text"], &["PING"]]);
        let (code, output, errors) = at.run(&["--pipe"], &requests);
        assert_eq!((code, output), (Some(1), format!("{DONE}errors: 1, replies: 3\n")));
        assert_eq!(errors, "kvclient: command 2: ERR value is not an integer or out of range\n");
        // Many errors are counted, and a few shown.
        let (code, output, errors) = at.run(&["--pipe"], "INCR text\n".repeat(1000));
        assert_eq!((code, output), (Some(1), format!("{DONE}errors: 1000, replies: 1000\n")));
        assert!(
            errors.lines().count() == 11 && errors.ends_with("kvclient: 990 more errors are not shown\n"),
            "{errors}"
        );
    });
}

#[test]
fn a_pipe_that_breaks_off_says_where() {
    At::here_and_at_redis(|at| {
        let whole = resp(&[&["SET", "a", "1"]]);
        let (code, output, errors) = at.run(&["--pipe"], format!("{whole}*2\r\n$3\r\nGET\r\n$1"));
        assert_eq!((code, output.as_str()), (Some(1), "errors: 1, replies: 1\n"));
        assert_eq!(errors, "kvclient: the input ends within command 2, which was not executed\n");
        let (code, output, errors) = at.run(&["--pipe"], format!("{whole}*1\r\nGET\r\n{whole}"));
        assert_eq!((code, output.as_str()), (Some(1), "errors: 1, replies: 1\n"));
        assert!(errors.starts_with(&format!("kvclient: byte {}, in command 2: ", whole.len() + 4)), "{errors}");
        // A reply that does not come.
        let (code, output, errors) = at.run(&["--pipe", "--pipe-timeout", "1"], "PING\nCLIENT REPLY OFF\n");
        assert_eq!(code, Some(1));
        assert!(output.ends_with("errors: 1, replies: 1\n"), "{output}");
        assert_eq!(errors, "No replies for 1 seconds: exiting.\n");
        // A server that goes away.
        let (code, output, errors) = at.run(&["--pipe"], "PING\nCLIENT KILL TYPE normal SKIPME no\nPING\n");
        assert_eq!(code, Some(1));
        assert!(errors.contains("unknown"), "{errors}");
        assert!(output.lines().last().is_some_and(|line| line.starts_with("errors: 1, replies: ")), "{output}");
    });
}

#[test]
fn ctrl_c_ends_a_pipe_whose_input_stays_open() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let at = At::new(server.address(0));
    let mut program = at.start(&["--pipe"]);
    program.say("SET a 1\nSET b 2\n");
    let mut admin = server.connect();
    wait::until_true("the commands of the pipe", || admin.integer("DBSIZE") == 2);
    program.interrupt();
    assert_eq!(program.end().code(), Some(1));
    assert_eq!(program.output(), "errors: 0, replies: 2\n");
}

/// Words of requests were executed as commands: `FLUSHALL`.
#[test]
fn resp_behind_inline_commands_is_not_executed_word_by_word() {
    At::here_and_at_redis(|at| {
        at.prints(&["SET", "kept", "1"], "OK\n");
        for first in ["SELECT 0\r\n", "#TS:1700000000\r\n"] {
            let input = first.to_owned() + &resp(&[&["SET", "mx", "FLUSHALL"], &["INCR", "mx"]]);
            let (code, output, errors) = at.run(&["--pipe"], &input);
            let replies = input.starts_with('S') as usize + 2;
            assert_eq!((code, output), (Some(1), format!("{DONE}errors: 1, replies: {replies}\n")), "{errors}");
            assert!(errors.starts_with(&format!("kvclient: command {replies}: ERR value is not")), "{errors}");
            at.prints(&["MGET", "kept", "mx"], "1\nFLUSHALL\n");
        }
    });
}

#[test]
fn a_bad_line_gives_up_the_transaction() {
    At::here_and_at_redis(|at| {
        let (code, output, errors) = at.run(&["--pipe"], "MULTI\nSET a 1\nSET b 'x'y\nEXEC\nSET c 1\n");
        assert_eq!((code, output.as_str()), (Some(1), "errors: 1, replies: 2\n"));
        assert!(errors.starts_with("kvclient: line 3: ") && errors.contains("transaction was given up"), "{errors}");
        at.prints(&["EXISTS", "a", "b", "c"], "0\n");
    });
}

#[test]
fn errors_of_a_pipe_give_exit_code_1_though_nobody_reads_the_output() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let mut command = client(&["-u", &format!("redis://{}", server.address(0)), "--pipe"]);
    let mut program = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the client");
    drop(program.stdout.take());
    program.stdin.take().expect("a pipe").write_all(b"SET k x\nINCR k\n").expect("the client's input");
    let status = wait::until("the client's end", || program.try_wait().expect("the state of a child"));
    assert_eq!(status.code(), Some(1));
}

/// More was read until twice as much was there, while whole requests waited.
#[test]
fn whole_requests_of_a_pipe_do_not_wait_for_more() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let at = At::new(server.address(0));
    let mut admin = server.connect();
    let value = "v".repeat(200_000);
    for (format, input) in [
        ("commands", format!("SET big {value}\nSET after 1\n")),
        ("csv", format!("big,\"{value}\"\nafter,1\n")),
        ("json", format!("{{\"key\":\"big\",\"value\":\"{value}\"}}\n{{\"key\":\"after\",\"value\":1}}\n")),
    ] {
        at.prints(&["FLUSHALL"], "OK\n");
        let mut program = at.start(&["--pipe", "--pipe-format", format]);
        program.say(input);
        wait::until_true(format, || admin.integer("DBSIZE") == 2);
        assert_eq!(program.finish().0, Some(0));
    }
}

#[test]
fn what_a_file_says_reaches_no_terminal_unescaped() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let at = At::new(server.address(0));
    let (code, _, errors) = at.run(&["--pipe"], "{\"key\":\"k\",\"\\u001b[31m\":1}\n");
    assert!(code == Some(1) && errors.contains("\\x1b[31m") && !errors.contains('\x1b'), "{errors:?}");
}

/// Large requests and large replies at once, and more of them than fits between the two sides.
#[test]
fn a_pipe_flows_whatever_the_sizes() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let at = At::new(server.address(0));
    let value = "v".repeat(1 << 20);
    let mut input = format!("SET large {value}\n");
    for index in 0..40 {
        input += &format!("GET large\nSET k{index} {}\n", &value[..100_000]);
    }
    let (code, output, errors) = at.run(&["--pipe"], &input);
    assert_eq!((code, output, errors.as_str()), (Some(0), format!("{DONE}errors: 0, replies: 81\n"), ""));
    let input: String = (0..20_000).map(|index| format!("key:{index},\"{index}\"\n")).collect();
    let (code, output, _) = at.run(&["--pipe", "--pipe-format", "csv"], &input);
    assert_eq!((code, output), (Some(0), format!("{DONE}errors: 0, replies: 20000\n")));
    at.prints(&["DBSIZE"], "20041\n");
}

#[test]
fn completions_are_scripts_of_their_shells() {
    let dir = TempDir::new().expect("a temporary directory");
    for (shell, check) in
        [("bash", Some("bash")), ("zsh", Some("zsh")), ("fish", Some("fish")), ("elvish", None), ("powershell", None)]
    {
        let (code, script, errors) = run(&["completions", shell], "");
        assert_eq!((code, errors.as_str()), (Some(0), ""), "{shell}");
        for word in ["kvclient", "bigkeys", "pipe-format", "bench"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
        let path = dir.path().join(shell);
        fs::write(&path, script).expect("a file");
        // Where the shell is installed.
        if let Some(Ok(checked)) = check.map(|shell| Command::new(shell).arg("-n").arg(&path).output()) {
            assert!(checked.status.success(), "{shell}: {}", String::from_utf8_lossy(&checked.stderr));
        }
    }
    let (code, _, errors) = run(&["completions", "tcsh"], "");
    assert!(code == Some(2) && errors.contains("bash, elvish, fish, powershell, zsh"), "{errors}");
}

#[test]
fn manual_pages_are_written() {
    let dir = TempDir::new().expect("a temporary directory");
    let pages = dir.path().join("man");
    assert_eq!(run(&["man", pages.to_str().expect("a path")], ""), (Some(0), String::new(), String::new()));
    for page in ["kvclient.1", "kvclient-bench.1", "kvclient-backup.1"] {
        let path = pages.join(page);
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{page}: {error}"));
        assert!(text.contains(".SH NAME") && text.contains(".SH OPTIONS"), "{page}: {text}");
        // Where groff is installed.
        if let Ok(checked) = Command::new("groff").args(["-man", "-ww", "-z"]).arg(&path).output() {
            let problems = String::from_utf8_lossy(&checked.stderr).into_owned();
            assert!(checked.status.success() && problems.is_empty(), "{page}: {problems}");
        }
    }
    let (code, page, _) = run(&["man"], "");
    assert_eq!(code, Some(0));
    assert!(page.contains("\\-\\-pipe\\-format") && !page.contains("functions"), "{page}");
}

/// A URL before the name of a task counts as much as one behind it.
#[test]
fn the_servers_of_a_load_test_may_stand_before_its_name_and_behind_it() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let (resp, line) = (format!("redis://{}", server.address(0)), format!("line://{}", server.address(1)));
    let bench = ["--connections", "1", "--requests", "20"];
    let (code, output, errors) = run(&[&["-u", &resp, "bench", "-u", &line, "--rounds", "1"], &bench[..]].concat(), "");
    assert_eq!(code, Some(0), "{errors}");
    for address in [server.address(0), server.address(1)] {
        assert!(output.contains(&address.to_string()), "{output}");
    }
    let failing = |words: &[&str], code, reason: &str| {
        let (ended, _, errors) = run(words, "");
        assert!(ended == Some(code) && errors.contains(reason), "{words:?}: {errors}");
    };
    failing(&["-u", &resp, "bench", "-u", &line, "-u", &resp], 2, "once or twice");
    failing(&["-u", &resp, "backup", "f", "-u", &line], 2, "once");
    failing(&["-u", &resp, "bench", "-p", "1"], 2, "-u cannot be used with");
    failing(&["-p", "1", "bench", "-u", &resp], 2, "-u cannot be used with");
    // A variable that names a server wins over where a load test goes otherwise.
    let mut program = Program::start(client(&["bench"]).args(bench).env("KVCLIENT_URL", &resp));
    assert_eq!(program.end().code(), Some(0));
    assert!(program.output().contains(&server.address(0).to_string()), "{}", program.output());
    let (_, help, _) = run(&["bench", "--help"], "");
    assert!(help.contains("KVCLIENT_URL"), "{help}");
}
