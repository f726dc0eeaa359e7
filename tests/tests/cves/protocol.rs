//! Lengths, buffers and errors on the way to a command and back.
//!
//! Invariant: no request, whole or not, takes more than the limits, or another one's reply.

use std::io::Write;
use std::thread;

use kvtests::streams::Dice;
use kvtests::wait;
use kvtests::wire::{Wire, bulk, request, show};

use crate::{MEBIBYTE, assert_frugal, guarded, server};

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
            // That it falls silent and stays would be neither.
            let reply = wire.try_line().unwrap_or_else(|error| {
                let closed = [std::io::ErrorKind::UnexpectedEof, std::io::ErrorKind::ConnectionReset];
                assert!(closed.contains(&error.kind()), "{length}: {error}");
                Vec::new()
            });
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
