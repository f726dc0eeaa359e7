//! Holes that Redis, Valkey and their clients had, by their numbers: each test does what the hole was about and fails if it
//! were here.
//!
//! Invariant: of the numbers of 2021 to 2026 each is either a test here or elsewhere, or stands below with the reason.
//!
//! Elsewhere, by the same name: CVE-2021-32762 (a client that believes announced lengths) in `hostile_server.rs`,
//! CVE-2024-31227, CVE-2024-51741 and CVE-2023-36824 (rules, and the keys that are checked) in `acl.rs`.
//!
//! Not here, because what they are about is not here:
//! - scripts: CVE-2021-32626, -32672, CVE-2022-0543, -24735, -24736, -24834, CVE-2024-31449, -46981, CVE-2025-46817, -46818,
//!   -46819, -49844, CVE-2026-23631. (CVE-2025-67733 is about a script's error reply; what it did is tested all the same.)
//! - lists, hashes, sets, sorted sets, streams: CVE-2021-29478, -32627, -32628, -32687, CVE-2022-31144, -33105, -35951,
//!   CVE-2023-22458, -25155, CVE-2025-62507, CVE-2026-63639.
//! - modules: CVE-2026-21864, -25588, -25589, -62356. Replication and cluster: CVE-2021-31294, CVE-2026-21863.
//! - TLS: CVE-2026-56684, -81934, and names in certificates with a NUL in them (fixed in Redis 8.8.2).
//! - Redis' allocator, signal handler and Windows port: CVE-2021-3470, CVE-2022-3647, -3734. CVE-2023-31655 was withdrawn.
//! - `redis-check-aof`: CVE-2025-27151; the tools that read this store's files are tested with them.

#![forbid(unsafe_code)]

use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::thread;

use kvtests::process::{Launch, ServerProcess};
use kvtests::streams::Dice;
use kvtests::wire::{Wire, bulk, request, show};
use kvtests::{server_program, usage, wait};
use tempfile::TempDir;

const MEBIBYTE: u64 = 1 << 20;

fn launch() -> Launch {
    Launch::bare(server_program!()).arguments(["--memory-only", "--loops", "2"]).resp()
}

fn server() -> ServerProcess {
    launch().start()
}

fn guarded() -> ServerProcess {
    launch().arguments(["--requirepass", "foobared"]).start()
}

/// The server's memory did not grow by more than `bytes` while `act` went on.
#[track_caller]
fn assert_frugal(server: &ServerProcess, bytes: u64, act: impl FnOnce()) {
    usage::forget_peak(server.id());
    let before = usage::resident_bytes(server.id());
    act();
    let grown = usage::peak_bytes(server.id()).saturating_sub(before);
    println!("grew by {} KiB", grown / 1024);
    assert!(grown <= bytes, "grew by {} KiB", grown / 1024);
}

/// Unless they were bounded before the login: 10 words of 16 KiB, and 64 KiB in all.
#[test]
fn cve_2021_32675_unauthenticated_bulk_bombs() {
    let server = guarded();
    let words = |count: usize| format!("*{count}\r\n");
    let bulk_of = |bytes: usize| format!("${bytes}\r\n{}\r\n", "x".repeat(bytes));
    for (sent, error) in [
        (words(11), "unauthenticated multibulk length"),
        (words(1_048_576), "unauthenticated multibulk length"),
        (words(1) + "$16385\r\n", "unauthenticated bulk length"),
        (words(2) + "$4\r\nAUTH\r\n$536870912\r\n", "unauthenticated bulk length"),
        (words(9) + &bulk_of(16_384).repeat(3) + "$16384\r\n", "too big request"),
        ("x".repeat(64 * 1024 + 1), "too big inline request"),
        ("*".to_owned() + &"1".repeat(64 * 1024 + 1), "too big mbulk count string"),
    ] {
        let mut wire = server.connect();
        // What comes behind the error may meet a closed door.
        let _ = wire.try_send(sent.as_bytes());
        wire.expect(format!("-ERR Protocol error: {error}\r\n"));
        wire.expect_closed();
    }
    assert_frugal(&server, 64 * MEBIBYTE, || {
        let mut strangers: Vec<Wire> = (0..500).map(|_| server.connect()).collect();
        for (number, wire) in strangers.iter_mut().enumerate() {
            // As much as each is allowed, and never an end.
            match number % 3 {
                0 => wire.send("x".repeat(60_000)),
                1 => wire.send(words(10) + &bulk_of(16_000).repeat(3) + "$16000\r\nx"),
                _ => wire.send(words(10) + "$16384\r\n"),
            }
        }
        server.connect().ask("AUTH foobared", "+OK\r\n");
    });
}

/// Errors to a client that never logs in and never reads took all memory.
#[test]
fn cve_2025_21605_errors_unread_before_the_login() {
    const STRANGERS: usize = 60;
    let server = guarded();
    assert_frugal(&server, 64 * MEBIBYTE, || {
        let flood = request(&["GET", "k"]).repeat(2000);
        thread::scope(|scope| {
            for _ in 0..STRANGERS {
                scope.spawn(|| {
                    let wire = server.connect();
                    let mut writer = wire.writer();
                    // Until the connection is cut: it is not read on and on, and not kept either.
                    let cut = (0..20_000).any(|_| writer.write_all(&flood).is_err());
                    assert!(cut, "a stranger could send for ever");
                });
            }
        });
    });
    let mut wire = server.connect();
    wire.ask("AUTH foobared", "+OK\r\n");
    let clients = wire.text("INFO clients");
    assert!(clients.contains("connected_clients:1\r\n"), "{clients}");
}

/// Connections that send what is no request, one after the other and many at once, left no time for others.
#[test]
fn cve_2025_48367_protocol_errors_starve_nobody() {
    let server = guarded();
    let mut wire = server.connect();
    wire.ask("AUTH foobared", "+OK\r\n");
    let log = server.log().len();
    thread::scope(|scope| {
        let floods: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    for number in 0..1000 {
                        let mut stranger = wait::until("a connection", || Wire::try_connect(server.address(0)).ok());
                        let garbage: &[u8] = [&b"*1\r\nx\r\n"[..], b"*-x\r\n", b"*1\r\n$-5\r\n", b"\"\r\n"][number % 4];
                        stranger.send(garbage);
                        assert!(stranger.line().starts_with(b"-ERR Protocol error: "));
                        stranger.expect_closed();
                    }
                })
            })
            .collect();
        let mut served = 0;
        while floods.iter().any(|flood| !flood.is_finished()) {
            wire.ask("PING", "+PONG\r\n");
            served += 1;
        }
        println!("{served} requests were served meanwhile");
    });
    assert!(server.log().len() < log + 10_000, "a stranger can fill the log");
}

/// The state of the connection was not reset after an empty request, and the next one was read by it.
#[test]
fn cve_2026_27623_an_empty_request_and_a_crafted_one() {
    let server = server();
    let empty = ["*0\r\n", "*-1\r\n", "\r\n", "\n", "   \r\n", "*0\r\n*0\r\n\r\n", "*-2147483648\r\n"];
    let crafted: [(&str, &str); 7] = [
        ("PING\r\n", "+PONG\r\n"),
        ("*1\r\n$4\r\nPING\r\n", "+PONG\r\n"),
        ("*2\r\n$4\r\nECHO\r\n$0\r\n\r\n", "$0\r\n\r\n"),
        ("*1\r\n$4\r\nPING\r\nPING\r\n*0\r\nPING\r\n", "+PONG\r\n+PONG\r\n+PONG\r\n"),
        ("$4\r\n", "-ERR unknown command '$4', with args beginning with: \r\n"),
        ("*1\r\n*1\r\n", "-ERR Protocol error: expected '$', got '*'\r\n"),
        ("*1\r\n$-1\r\n", "-ERR Protocol error: invalid bulk length\r\n"),
    ];
    for empty in empty {
        for (crafted, reply) in crafted {
            let whole = format!("{empty}{crafted}");
            for cut in 0..=whole.len() {
                let mut wire = server.connect();
                wire.send(&whole[..cut]);
                wire.send(&whole[cut..]);
                wire.expect(reply);
            }
        }
    }
    server.connect().ask("PING", "+PONG\r\n");
}

/// A line end in the text of an error ended the reply, and what came behind it was read as the next one. Of all commands
/// and words: `hostile_requests.rs`.
#[test]
fn cve_2025_67733_a_line_end_or_a_nul_in_an_error() {
    let server = server();
    let mut wire = server.connect();
    for word in ["x\r\n+OK", "x\0\r\n+OK", "\r\n\r\n$3\r\nabc", "\n", "x\0y"] {
        for words in [
            &[word][..],
            &["GET", word, word],
            &["CLIENT", word],
            &["CONFIG", "SET", "maxmemory", word],
            &["CONFIG", "SET", word, "1"],
            &["ACL", "SETUSER", "u", word],
            &["ACL", "GETUSER", word, word],
            &["HELLO", word],
            &["OBJECT", word, "k"],
        ] {
            wire.send(request(words));
            wire.send(request(&["ECHO", "next"]));
            let error = wire.line();
            assert!(error.starts_with(b"-") && error.ends_with(b"\r\n"), "{words:?}: {}", show(&error));
            assert!(!error[..error.len() - 2].iter().any(|byte| matches!(byte, b'\r' | b'\n')), "{}", show(&error));
            wire.expect(bulk("next"));
        }
    }
}

/// A pattern nested a call for each of its stars; deep enough, and the stack was at its end. In every place that takes a
/// pattern, and as rules: `hostile_requests.rs`.
#[test]
fn cve_2024_31228_a_pattern_of_many_stars() {
    let server = server();
    let mut wire = server.connect();
    let key = "a".repeat(100_000);
    wire.send(request(&["SET", &key, "v"]));
    wire.expect("+OK\r\n");
    wire.send(request(&["KEYS", &format!("{}b", "*a".repeat(90_000))]));
    wire.expect("*0\r\n");
    wire.send(request(&["KEYS", &"*a".repeat(100_000)]));
    wire.expect([b"*1\r\n".to_vec(), bulk(&key)].concat());
}

/// A pattern for which every way was tried took time without end.
#[test]
fn cve_2022_36021_a_pattern_with_many_ways_to_match() {
    let server = server();
    let mut wire = server.connect();
    wire.ask(
        "PSUBSCRIBE a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b",
        b"*3\r\n$10\r\npsubscribe\r\n$41\r\na*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b\r\n:1\r\n",
    );
    let mut other = server.connect();
    other.send(request(&["PUBLISH", &"a".repeat(100_000), "m"]));
    other.expect(":0\r\n");
    other.send(request(&["MSET", &"a".repeat(10_000), "v", &("a".repeat(10_000) + "b"), "v"]));
    other.expect("+OK\r\n");
    let scan = other.try_command(&["SCAN", "0", "MATCH", &("a*".repeat(40) + "b"), "COUNT", "100"]).expect("a reply");
    assert!(scan.ends_with(&bulk("a".repeat(10_000) + "b")) && scan.len() < 11_000, "{}", show(&scan));
}

/// Sizes near the end of what an integer holds wrapped around, and a buffer was too small. With the limits of the protocol
/// as high as they go the values still have one.
#[test]
fn cve_2021_21309_and_2021_41099_lengths_that_overflow() {
    let server = server();
    let mut admin = server.connect();
    admin.ask(
        "CONFIG SET proto-max-bulk-len 9223372036854775807 client-query-buffer-limit 9223372036854775807",
        "+OK\r\n",
    );
    assert_frugal(&server, 64 * MEBIBYTE, || {
        for length in
            ["9223372036854775807", "9223372036854775806", "4294967296", "4294967295", "18446744073709551615", "-1"]
        {
            let mut wire = server.connect();
            wire.send(format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${length}\r\nvalue"));
            // Either it is refused, or it is waited for; nobody has so much to send.
            wire.finish_sending();
            let reply = wire.try_line().unwrap_or_default();
            assert!(reply.is_empty() || reply.starts_with(b"-ERR Protocol error: "), "{length}: {}", show(&reply));
        }
    });
    admin.ask("SET k value", "+OK\r\n");
    for command in ["SETRANGE k 9223372036854775806 xx", "SETRANGE k 536870911 xx", "SETRANGE k 9223372036854775807 x"]
    {
        let reply = admin.command(command);
        assert_eq!(
            show(&reply),
            show(b"-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n"),
            "{command}"
        );
    }
    admin.ask("GET k", bulk("value"));
}

/// The sum of offset and length wrapped around.
#[test]
fn cve_2022_35977_setrange_beyond_the_end_of_integers() {
    let server = server();
    let mut wire = server.connect();
    for limit in ["536870912", "9223372036854775807"] {
        wire.ask(&format!("CONFIG SET proto-max-bulk-len {limit}"), "+OK\r\n");
        for offset in
            ["9223372036854775807", "9223372036854775804", "4294967295", "2147483647", "536870912", "536870909"]
        {
            wire.ask(
                &format!("SETRANGE k {offset} abcd"),
                "-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n",
            );
        }
        for offset in ["-1", "-9223372036854775808"] {
            wire.ask(&format!("SETRANGE k {offset} abcd"), "-ERR offset is out of range\r\n");
        }
        wire.ask("EXISTS k", ":0\r\n");
    }
}

/// The table of LCS was as large as the product of the lengths, which wrapped around.
#[test]
fn cve_2021_29477_and_2021_32625_lcs_of_long_values() {
    let server = server();
    let mut wire = server.connect();
    assert_frugal(&server, 256 * MEBIBYTE, || {
        for bytes in [65_535_usize, 65_536, 1 << 20] {
            for key in ["a", "b"] {
                wire.send(request(&[b"SET", key.as_bytes(), &vec![b'x'; bytes]]));
                wire.expect("+OK\r\n");
            }
            for rest in ["", " LEN", " IDX", " IDX MINMATCHLEN 9223372036854775807 WITHMATCHLEN"] {
                wire.ask(
                    &format!("LCS a b{rest}"),
                    "-ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len\r\n",
                );
            }
        }
    });
}

/// Offsets of bits wrapped around where they were turned into bytes.
#[test]
fn cve_2021_32761_bits_far_out() {
    let server = server();
    let mut wire = server.connect();
    wire.ask("CONFIG SET proto-max-bulk-len 9223372036854775807", "+OK\r\n");
    wire.ask("SET k value", "+OK\r\n");
    for offset in ["4294967296", "9223372036854775807", "34359738368", "-1", "#9223372036854775807", "#67108864"] {
        for command in ["BITFIELD k SET i64", "BITFIELD k INCRBY i64", "BITFIELD k OVERFLOW FAIL INCRBY i64"] {
            let reply = wire.command(&format!("{command} {offset} 1"));
            assert_eq!(
                show(&reply),
                show(b"-ERR bit offset is not an integer or out of range\r\n"),
                "{command} {offset}"
            );
        }
        assert!(wire.command(&format!("SETBIT k {offset} 1")).starts_with(b"-ERR "));
        assert!(wire.command(&format!("GETBIT k {offset}")).starts_with(b"-ERR "));
    }
    wire.ask("GET k", bulk("value"));
}

/// A client's buffer was resized while a request in it was still in use. Words of all sizes, cut everywhere, in front of
/// and behind each other, give what they hold.
#[test]
fn cve_2023_41056_buffers_that_grow_and_shrink_while_in_use() {
    let server = server();
    let mut wire = server.connect();
    let mut dice = Dice::new(41_056);
    let sizes = [0, 1, 100, 16_383, 16_384, 32_768, 65_535, 65_536, 65_537, 200_000, 1_000_000];
    for round in 0..150 {
        let mut requests = Vec::new();
        let mut replies = Vec::new();
        for _ in 0..=dice.below(6) {
            let size = sizes[dice.below(sizes.len() as u64) as usize];
            let word: Vec<u8> = (0..size).map(|at: usize| (at as u8).wrapping_mul(31).wrapping_add(round)).collect();
            requests.extend(request(&[b"ECHO".as_slice(), &word]));
            replies.extend(bulk(&word));
        }
        let mut writer = wire.writer();
        let cuts: Vec<usize> = (0..dice.below(8)).map(|_| dice.below(requests.len() as u64) as usize).collect();
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut cuts = [cuts, vec![0, requests.len()]].concat();
                cuts.sort_unstable();
                for pair in cuts.windows(2) {
                    writer.write_all(&requests[pair[0]..pair[1]]).expect("a server");
                }
            });
            wire.expect(&replies);
        });
    }
}

/// A counter became NaN, or infinite, and the value could not be read any more.
#[test]
fn cve_2023_28856_increments_to_nan_or_infinity() {
    let server = server();
    let mut wire = server.connect();
    for value in ["1.7e308", "-1.7e308", "inf", "-inf", "nan", "1e5000", "0"] {
        for increment in ["nan", "inf", "-inf", "+inf", "infinity", "1.7e4932", "-1.7e4932", "1e99999", "0x1p99999"] {
            wire.ask(&format!("SET k {value}"), "+OK\r\n");
            let reply = wire.command(&format!("INCRBYFLOAT k {increment}"));
            let text = String::from_utf8_lossy(&reply).to_lowercase();
            if reply.starts_with(b"-ERR ") {
                wire.ask("GET k", bulk(value));
            } else {
                let after = wire.text("GET k");
                assert!(!text.contains("nan") && !text.contains("inf"), "{value} + {increment} = {text}");
                assert!(after.bytes().all(|byte| byte.is_ascii_digit() || b"-.".contains(&byte)), "{after}");
                assert!(wire.command("INCRBYFLOAT k 0").starts_with(b"$"));
            }
        }
    }
    wire.ask("PING", "+PONG\r\n");
}

/// A key that MSETNX was given twice was taken for one that is there already, after it was set.
#[test]
fn cve_2023_28425_msetnx_with_a_key_twice() {
    let server = server();
    let mut wire = server.connect();
    wire.ask("MSETNX k 1 k 2 l 3 k 4", ":1\r\n");
    wire.ask("MGET k l", "*2\r\n$1\r\n4\r\n$1\r\n3\r\n");
    wire.ask("MSETNX m 1 m 2 k 5", ":0\r\n");
    wire.ask("MGET k m", "*2\r\n$1\r\n4\r\n$-1\r\n");
    wire.ask("MSETEX 3 n 1 n 2 n 3 NX EX 100", ":1\r\n");
    wire.ask("GET n", "$1\r\n3\r\n");
    wire.ask("DBSIZE", ":3\r\n");
}

/// Keys that were used were not those that rules had been checked for. Each key of each command in turn is one that the
/// user has no right to; the command touches none then.
#[test]
fn cve_2023_41053_every_key_that_is_used_is_checked() {
    let server = server();
    let mut admin = server.connect();
    admin.ask("ACL SETUSER u on nopass +@all ~ok*", "+OK\r\n");
    admin.ask("SET secret sesame", "+OK\r\n");
    let mut user = server.connect();
    user.ask("AUTH u x", "+OK\r\n");
    // K stands for a key.
    for command in [
        "GET K",
        "GETEX K PERSIST",
        "GETDEL K",
        "GETSET K v",
        "SET K v GET",
        "SETNX K v",
        "SETEX K 9 v",
        "PSETEX K 9 v",
        "APPEND K v",
        "STRLEN K",
        "SETRANGE K 0 v",
        "GETRANGE K 0 -1",
        "SUBSTR K 0 -1",
        "INCR K",
        "DECR K",
        "INCRBY K 1",
        "DECRBY K 1",
        "INCRBYFLOAT K 1",
        "MGET K K K",
        "MSET K v K v K v",
        "MSETNX K v K v",
        "MSETEX 2 K v K v",
        "LCS K K",
        "LCS K K IDX",
        "DIGEST K",
        "DELEX K",
        "SETBIT K 0 1",
        "GETBIT K 0",
        "BITCOUNT K",
        "BITPOS K 1",
        "BITOP AND K K K",
        "BITOP NOT K K",
        "BITFIELD K GET u8 0",
        "BITFIELD K SET u8 0 1",
        "BITFIELD_RO K GET u8 0",
        "PFADD K v",
        "PFCOUNT K K K",
        "PFMERGE K K K",
        "DEL K K K",
        "UNLINK K K",
        "EXISTS K K K",
        "TOUCH K K",
        "TYPE K",
        "RENAME K K",
        "RENAMENX K K",
        "COPY K K",
        "COPY K K DB 1 REPLACE",
        "MOVE K 1",
        "DUMP K",
        "RESTORE K 0 v REPLACE",
        "EXPIRE K 9",
        "PEXPIRE K 9",
        "EXPIREAT K 1",
        "PEXPIREAT K 1",
        "TTL K",
        "PTTL K",
        "EXPIRETIME K",
        "PEXPIRETIME K",
        "PERSIST K",
        "OBJECT ENCODING K",
        "OBJECT IDLETIME K",
        "OBJECT REFCOUNT K",
        "MEMORY USAGE K",
        "WATCH K K",
        "PUT K v",
        "REMOVE K K",
        "DELETE K",
    ] {
        let places: Vec<usize> = command
            .match_indices('K')
            .filter(|(at, _)| {
                let alone = |byte: Option<&u8>| byte.is_none_or(|byte| *byte == b' ');
                alone(command.as_bytes().get(at.wrapping_sub(1))) && alone(command.as_bytes().get(at + 1))
            })
            .map(|(at, _)| at)
            .collect();
        assert!(!places.is_empty(), "{command}");
        for forbidden in &places {
            let mut words = String::new();
            let mut from = 0;
            for (number, at) in places.iter().enumerate() {
                words.push_str(&command[from..*at]);
                words.push_str(&if at == forbidden { "secret".to_owned() } else { format!("ok{number}") });
                from = at + 1;
            }
            words.push_str(&command[from..]);
            let reply = user.command(&words);
            assert!(reply.starts_with(b"-NOPERM "), "{words}: {}", show(&reply));
            // Nor in a transaction.
            user.ask("MULTI", "+OK\r\n");
            if !command.starts_with("WATCH") {
                assert!(user.command(&words).starts_with(b"-NOPERM "), "{words} in MULTI");
            }
            assert!(user.command("DISCARD").starts_with(b"+OK"));
        }
    }
    admin.ask("GET secret", bulk("sesame"));
    admin.ask("KEYS *", [b"*1\r\n".to_vec(), bulk("secret")].concat());
    // Every command with a key has a line above, except those that are refused altogether.
}

/// A client that waited was freed while the command it waited for was carried out. Here nothing waits but a pause and what
/// runs elsewhere; a client that is killed then is not executed for. More moments: `hostile_connections.rs`.
#[test]
fn cve_2026_23479_a_client_killed_while_it_waits() {
    let server = server();
    let mut admin = server.connect();
    for _ in 0..50 {
        let mut waiting: Vec<Wire> = (0..8).map(|_| server.connect()).collect();
        let ids: Vec<i64> = waiting.iter_mut().map(|wire| wire.integer("CLIENT ID")).collect();
        admin.ask("CLIENT PAUSE 100000 WRITE", "+OK\r\n");
        for wire in &mut waiting {
            wire.send("MULTI\r\nINCR k\r\nINCR k\r\nEXEC\r\nINCR k\r\n");
        }
        wait::until_true("all wait", || admin.text("INFO clients").contains("blocked_clients:8\r\n"));
        // Together with the end of the pause, in either order.
        admin.send(format!("CLIENT KILL ID {}\r\nCLIENT UNPAUSE\r\nCLIENT KILL ID {}\r\n", ids[0], ids[1]));
        admin.expect(":1\r\n+OK\r\n");
        let second_killed = admin.reply() == b":1\r\n";
        for (number, wire) in waiting.iter_mut().enumerate() {
            if number == 0 || (number == 1 && second_killed) {
                continue;
            }
            wire.expect("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n");
        }
        drop(waiting);
        wait::until_true("all are gone", || admin.text("INFO clients").contains("connected_clients:1\r\n"));
        // Whole transactions, and nothing of the first.
        let count = admin.text("GET k").parse::<u64>().expect("a number");
        assert!((18..=24).contains(&count), "{count}");
        admin.ask("DEL k", ":1\r\n");
    }
}

/// Before its permissions were narrowed a unix socket was open to all.
#[test]
fn cve_2023_45145_a_unix_socket_is_never_open_to_others() {
    let dir = TempDir::new().expect("a temporary directory");
    for round in 0..10 {
        let path = dir.path().join(format!("{round}.sock"));
        // The widest a process can ask for.
        let mut starting = Launch::bare("sh")
            .arguments(["-c", "umask 0; exec \"$0\" \"$@\"", server_program!(), "--memory-only"])
            .arguments(["--listen", &format!("unix://{}", path.display())])
            .start_without_waiting();
        let first = wait::until("the socket", || fs::symlink_metadata(&path).ok());
        assert!(first.file_type().is_socket());
        assert_eq!(first.permissions().mode() & 0o777, 0o600);
        let mut client = wait::until("an answer", || UnixStream::connect(&path).ok());
        client.write_all(b"PING\r\n").expect("a server");
        let mut pong = [0; 7];
        std::io::Read::read_exact(&mut client, &mut pong).expect("a pong");
        assert_eq!(&pong, b"+PONG\r\n");
        assert!(starting.terminate().success());
        // Nothing else is left beside it, either.
        assert_eq!(fs::read_dir(dir.path()).expect("the directory").count(), 0);
    }
}

/// The checksum of DUMP: CRC-64 of Jones.
fn crc64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |crc: u64, byte| {
        (0..8).fold(
            crc ^ u64::from(*byte),
            |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0x95ac_9329_ac4b_c9b5 } else { crc >> 1 },
        )
    })
}

fn payload(body: &[u8]) -> Vec<u8> {
    let mut payload = [body, &10_u16.to_le_bytes()].concat();
    let crc = crc64(&payload);
    payload.extend(crc.to_le_bytes());
    payload
}

/// A payload that lies about lengths, or whose compressed bytes point out of what there is, with a checksum that is right.
/// The same for snapshots is with the files' own tests; random payloads against a model are in `fuzz_corpus.rs`.
#[test]
fn cve_2026_25243_crafted_payloads_for_restore() {
    let server = server();
    let mut wire = server.connect();
    let mut restore = |payload: &[u8]| {
        wire.send(request(&[b"RESTORE", b"k".as_slice(), b"0", payload, b"REPLACE"]));
        wire.reply()
    };
    assert_eq!(restore(&payload(b"\0\x05value")), b"+OK\r\n");
    // An LZF literal of five bytes, then a reference to them.
    let compressed = b"\0\xc3\x08\x0a\x04value\x60\x04";
    assert_eq!(show(&restore(&payload(compressed))), show(b"+OK\r\n"));
    assert_frugal(&server, 64 * MEBIBYTE, || {
        let bad = b"-ERR Bad data format\r\n";
        for body in [
            &b""[..],
            b"\0",
            b"\0\x06value",
            b"\0\x80\xff\xff\xff\xffvalue",
            b"\0\x81\xff\xff\xff\xff\xff\xff\xff\xffvalue",
            b"\0\x81\x7f\xff\xff\xff\xff\xff\xff\xffvalue",
            b"\0\x82value",
            b"\0\xc0",
            b"\0\xc2\0\0",
            b"\0\xc4xxxx",
            b"\0\xc3\x80\xff\xff\xff\xff\x80\xff\xff\xff\xff",
            b"\0\xc3\x03\x80\x20\0\0\0\x00\x61\xe0",
            b"\0\xc3\x03\x05\x20\x00\x00",
            b"\0\xc3\x04\x08\x00a\x20\xff",
            b"\0\xc3\x04\x80\xff\xff\xff\xff\x00a\xe0\xff",
            b"\x01\x05value",
            b"\xff\xff\xff\xff",
        ] {
            let reply = restore(&payload(body));
            assert!(reply == bad || reply.starts_with(b"-ERR DUMP payload"), "{body:02x?}: {}", show(&reply));
        }
        // Every byte of two good ones changed to every other, with the checksum put right.
        for good in [&b"\0\x05value"[..], compressed] {
            for at in 0..good.len() {
                for byte in 0..=255 {
                    let mut body = good.to_vec();
                    body[at] = byte;
                    let reply = restore(&payload(&body));
                    assert!(reply == b"+OK\r\n" || reply == bad, "{body:02x?}: {}", show(&reply));
                    let cut = restore(&payload(&body[..at]));
                    assert!(cut.starts_with(b"-ERR ") || cut == b"+OK\r\n");
                }
            }
        }
    });
    wire.ask("DEL k", ":1\r\n");
}

/// A string that looks like a HyperLogLog made PFADD and its kin write out of it. Every form with every kind of damage is
/// refused or counted, and the value stays what it is.
#[test]
fn cve_2025_32023_crafted_hyperloglogs() {
    let server = server();
    let mut wire = server.connect();
    wire.ask("PFADD good a b c", ":1\r\n");
    wire.send(request(&["GET", "good"]));
    let reply = wire.reply();
    let start = reply.iter().position(|byte| *byte == b'\n').expect("a line") + 1;
    let sparse = reply[start..reply.len() - 2].to_vec();
    assert!(sparse.starts_with(b"HYLL\x01"));
    let header = |encoding: u8| [b"HYLL", &[encoding, 0, 0, 0][..], &[0; 8]].concat();
    let dense = [header(0), vec![0; 12_288]].concat();
    let mut values = vec![
        header(0),
        header(1),
        header(2),
        dense[..dense.len() - 1].to_vec(),
        [dense.clone(), vec![0]].concat(),
        // Runs that go far beyond the last register, which made its count negative.
        [header(1), b"\x7f\xff".repeat(20_000)].concat(),
        [header(1), b"\x7f\xff\x84".repeat(100)].concat(),
        [header(1), b"\xff".repeat(20_000)].concat(),
        [header(1), vec![0x3f; 300]].concat(),
        [header(1), vec![0x7f]].concat(),
        [header(1), b"\x7f\xff\x7f".to_vec()].concat(),
        [header(1), b"\x7f\xff".repeat(1 << 18)].concat(),
    ];
    let mut dice = Dice::new(32_023);
    for _ in 0..2000 {
        let mut value = sparse.clone();
        for _ in 0..=dice.below(4) {
            let at = dice.below(value.len() as u64) as usize;
            value[at] = dice.below(256) as u8;
        }
        value.truncate(value.len() - dice.below(3) as usize);
        values.push(value);
    }
    let (mut refused, mut counted) = (0, 0);
    for value in values {
        for command in [
            &["PFADD", "k", "x", "y", "z"][..],
            &["PFCOUNT", "k"],
            &["PFCOUNT", "k", "good"],
            &["PFMERGE", "good", "k"],
            &["PFMERGE", "k", "good"],
        ] {
            wire.send(request(&[b"SET", b"k".as_slice(), &value]));
            wire.expect("+OK\r\n");
            let reply = wire.try_command(command).expect("a reply");
            match reply.first() {
                Some(b'-') => refused += 1,
                Some(b':' | b'+') => counted += 1,
                _ => panic!("{command:?}: {}", show(&reply)),
            }
            if reply.starts_with(b"-") {
                wire.send(request(&["GET", "k"]));
                wire.expect(bulk(&value));
            }
        }
        wire.send(request(&[b"SET", b"good".as_slice(), &sparse]));
        wire.expect("+OK\r\n");
        wire.ask("PFCOUNT good", ":3\r\n");
    }
    println!("{refused} refused, {counted} counted");
    assert!(refused > 100 && counted > 100);
}

/// All words of a command were kept although its user may not run it. Here they are kept while the request is incomplete,
/// within the query buffer's limit, and are gone with the refusal.
#[test]
fn cve_2025_46686_many_words_of_a_command_that_is_not_permitted() {
    let server = server();
    let mut admin = server.connect();
    admin.ask("ACL SETUSER u on nopass +auth +ping", "+OK\r\n");
    admin.ask("CONFIG SET client-query-buffer-limit 8mb", "+OK\r\n");
    assert_frugal(&server, 160 * MEBIBYTE, || {
        let mut users: Vec<Wire> = (0..20).map(|_| server.connect()).collect();
        let words = [b"*500000\r\n$4\r\nMGET\r\n".to_vec(), b"$1\r\nk\r\n".repeat(499_999)].concat();
        for wire in &mut users {
            wire.ask("AUTH u x", "+OK\r\n");
            for _ in 0..3 {
                wire.send(&words);
                assert!(wire.reply().starts_with(b"-NOPERM "));
            }
        }
        for wire in &mut users {
            wire.ask("PING", "+PONG\r\n");
        }
    });
}
