//! Numbers, sizes and patterns that commands compute with.
//!
//! Invariant: a command is refused or right, and refused it has changed nothing.

use kvtests::wire::{bulk, request, show};

use crate::{MEBIBYTE, assert_frugal, server};

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
