//! The commands on deadlines, in conversation. Expected replies are those of redis-server 7.0.15.
//!
//! Invariant: the store's clock stands still unless a test moves it, so no test depends on how fast it runs.

use crate::shell::{NOW_MS, Shell};

#[test]
fn each_notation_sets_the_same_deadline() {
    let shell = Shell::new();
    shell.run("SET k v");
    for command in ["EXPIRE k 100", "PEXPIRE k 100000", "EXPIREAT k 1700000100", "PEXPIREAT k 1700000100000"] {
        shell.converse(&format!("PERSIST k -> {}", i32::from(shell.run("TTL k") != "-1")));
        assert_eq!(shell.run(command), "1", "{command}");
        shell.converse(
            "
            TTL k         -> 100
            PTTL k        -> 100000
            EXPIRETIME k  -> 1700000100
            PEXPIRETIME k -> 1700000100000
            ",
        );
    }
}

#[test]
fn without_a_key_or_a_deadline() {
    let shell = Shell::new();
    shell.converse(
        "
        EXPIRE k 1    -> 0
        EXPIRE k 1 XX -> 0
        PERSIST k     -> 0
        TTL k         -> -2
        PTTL k        -> -2
        EXPIRETIME k  -> -2
        PEXPIRETIME k -> -2
        SET k v       -> OK
        PERSIST k     -> 0
        TTL k         -> -1
        PTTL k        -> -1
        EXPIRETIME k  -> -1
        PEXPIRETIME k -> -1
        ",
    );
}

#[test]
fn seconds_are_rounded() {
    let shell = Shell::new();
    shell.converse(
        "
        SET k v PX 1499              -> OK
        TTL k                        -> 1
        PEXPIRE k 1500               -> 1
        TTL k                        -> 2
        PEXPIRE k 499                -> 1
        TTL k                        -> 0
        PEXPIREAT k 1700000000500    -> 1
        EXPIRETIME k                 -> 1700000001
        PEXPIREAT k 9223372036854775807 -> 1
        EXPIRETIME k                 -> 9223372036854776
        PEXPIRETIME k                -> 9223372036854775807
        ",
    );
}

#[test]
fn a_key_ends_at_its_deadline_and_not_before() {
    let shell = Shell::new();
    shell.run("SET k v PX 100");
    shell.advance(99);
    shell.converse("PTTL k -> 1");
    shell.advance(1);
    shell.converse("PTTL k -> -2");
}

#[test]
fn a_deadline_that_has_passed_removes_the_key() {
    let shell = Shell::new();
    for command in [
        "EXPIRE k 0",
        "EXPIRE k -1",
        "PEXPIRE k -1",
        "EXPIRE k -9223372036854775",
        "PEXPIRE k -9223372036854775808",
        "EXPIREAT k 0",
        "EXPIREAT k -1",
        "EXPIREAT k 1700000000",
        "PEXPIREAT k 1700000000000",
        "PEXPIREAT k -9223372036854775808",
        "EXPIRE k -1 LT",
        "EXPIRE k -1 NX",
    ] {
        shell.run("SET k v");
        assert_eq!(shell.run(command), "1", "{command}");
        assert_eq!(shell.run("EXISTS k"), "0", "{command}");
        assert_eq!(shell.run("DBSIZE"), "0", "{command}");
    }
    shell.run("SET k v");
    shell.converse("EXPIRE k -1 XX -> 0\n EXPIRE k -1 GT -> 0\n GET k -> \"v\"");
}

/// Each condition against a key without a deadline and with one of 100 s, for 50, 100 and 200 s.
#[test]
fn conditions_hold_or_not() {
    let shell = Shell::new();
    for (conditions, without, with) in [
        ("", "111", "111"),
        ("NX", "111", "000"),
        ("XX", "000", "111"),
        ("GT", "000", "001"),
        ("LT", "111", "100"),
        ("XX GT", "000", "001"),
        ("gt xx", "000", "001"),
        ("XX LT", "000", "100"),
        ("NX NX", "111", "000"),
    ] {
        for (start, expected) in [("SET k v", without), ("SET k v EX 100", with)] {
            for (seconds, expected) in [50, 100, 200].into_iter().zip(expected.chars()) {
                shell.run(start);
                let before = shell.run("TTL k");
                let command = format!("EXPIRE k {seconds} {conditions}");
                assert_eq!(shell.run(&command), expected.to_string(), "{start}, {command}");
                let after = if expected == '1' { seconds.to_string() } else { before };
                assert_eq!(shell.run("TTL k"), after, "{start}, {command}");
            }
        }
    }
}

#[test]
fn what_cannot_be_a_deadline_changes_nothing() {
    let shell = Shell::new();
    let nx = "ERR NX and XX, GT or LT options at the same time are not compatible";
    let gt = "ERR GT and LT options at the same time are not compatible";
    let integer = "ERR value is not an integer or out of range";
    shell.run("SET k v EX 10");
    shell.refuses(&[
        ("EXPIRE k", "ERR wrong number of arguments for 'expire' command"),
        ("PEXPIRE k", "ERR wrong number of arguments for 'pexpire' command"),
        ("EXPIREAT k", "ERR wrong number of arguments for 'expireat' command"),
        ("PEXPIREAT k", "ERR wrong number of arguments for 'pexpireat' command"),
        ("TTL", "ERR wrong number of arguments for 'ttl' command"),
        ("PTTL k x", "ERR wrong number of arguments for 'pttl' command"),
        ("EXPIRETIME k x", "ERR wrong number of arguments for 'expiretime' command"),
        ("PEXPIRETIME", "ERR wrong number of arguments for 'pexpiretime' command"),
        ("PERSIST", "ERR wrong number of arguments for 'persist' command"),
        ("EXPIRE k x", integer),
        ("EXPIRE k 1.5", integer),
        ("EXPIRE k ''", integer),
        ("EXPIRE k 9223372036854775808", integer),
        ("EXPIRE none x", integer),
        ("EXPIRE k 1 NX XX", nx),
        ("EXPIRE k 1 GT NX", nx),
        ("EXPIRE k 1 NX LT", nx),
        ("EXPIRE k 1 NX GT LT", nx),
        ("EXPIRE k 1 GT LT", gt),
        ("EXPIRE k x GT LT", gt),
        ("EXPIRE k 1 GT LT foo", "ERR Unsupported option foo"),
        ("EXPIRE k 1 ''", "ERR Unsupported option "),
    ]);
    for (command, too_far) in [
        ("expire", ["9223372036854775807", "9223372036854776", "-9223372036854776", "9223372036854775"]),
        ("expireat", ["9223372036854775807", "9223372036854776", "-9223372036854776", "-9223372036854775808"]),
    ] {
        for amount in too_far {
            let error = format!("ERR invalid expire time in '{command}' command");
            shell.refuses(&[(&format!("{command} k {amount}"), &error), (&format!("{command} none {amount}"), &error)]);
        }
    }
    let error = "ERR invalid expire time in 'pexpire' command";
    let first_too_far = i64::MAX as u64 - NOW_MS + 1;
    shell.refuses(&[("PEXPIRE k 9223372036854775807", error), (&format!("PEXPIRE k {first_too_far}"), error)]);
    assert_eq!(shell.run(&format!("PEXPIRE k {}", first_too_far - 1)), "1");
}

#[test]
fn an_option_unknown_is_named_on_one_line() {
    let shell = Shell::new();
    let reply = shell.reply(["EXPIRE", "k", "1", "foo\r\n"]);
    assert_eq!(reply, kvproto::Reply::error("ERR Unsupported option foo"));
}
