//! The commands on values, in conversation. Expected replies are those of redis-server 7.0.15.
//!
//! Invariant: the store's clock stands still unless a test moves it, so no test depends on how fast it runs.

use std::fmt::Write;

use kvcore::Options;

use crate::shell::Shell;

const NOT_AN_INTEGER: &str = "ERR value is not an integer or out of range";
const SYNTAX: &str = "ERR syntax error";

#[test]
fn set_and_get() {
    let shell = Shell::new();
    shell.converse(
        r#"
        GET k                   -> nil
        SET k v                 -> OK
        GET k                   -> "v"
        SET k ''                -> OK
        GET k                   -> ""
        SET '' x                -> OK
        GET ''                  -> "x"
        SET k v EX 10           -> OK
        PTTL k                  -> 10000
        SET k w                 -> OK
        PTTL k                  -> -1
        SET k v px 10           -> OK
        PTTL k                  -> 10
        SET k w KEEPTTL         -> OK
        PTTL k                  -> 10
        SET new w KeepTTL       -> OK
        PTTL new                -> -1
        SET k v EXAT 1700000005 -> OK
        PTTL k                  -> 5000
        SET k v PXAT 1700000000007 -> OK
        PTTL k                  -> 7
        SET k v EX 1 EX 2       -> OK
        PTTL k                  -> 2000
        SET k v PXAT 9223372036854775807 -> OK
        PEXPIRETIME k           -> 9223372036854775807
        SET k v EXAT 1          -> OK
        GET k                   -> nil
        "#,
    );
}

#[test]
fn set_on_conditions() {
    let shell = Shell::new();
    shell.converse(
        r#"
        SET k a XX           -> nil
        EXISTS k             -> 0
        SET k a XX GET       -> nil
        EXISTS k             -> 0
        SET k a NX EX 9      -> OK
        SET k b NX           -> nil
        SET k b NX GET       -> "a"
        GET k                -> "a"
        TTL k                -> 9
        SET k b xx get       -> "a"
        GET k                -> "b"
        TTL k                -> -1
        SET new a NX GET     -> nil
        GET new              -> "a"
        SET k c GET GET NX   -> "b"
        SET k c XX XX        -> OK
        SETNX k d            -> 0
        SETNX k2 d           -> 1
        MGET k k2            -> ["c", "d"]
        "#,
    );
}

/// Every option of SET beside every other: what contradicts itself is a syntax error, and nothing else is.
#[test]
fn options_of_set_agree_or_are_refused() {
    let shell = Shell::new();
    let presence = ["NX", "XX"];
    let lifetimes = ["KEEPTTL", "EX 10", "PX 10", "EXAT 1700000010", "PXAT 1700000000010"];
    let all = [&presence[..], &lifetimes[..], &["GET"]].concat();
    for a in &all {
        for b in &all {
            let both_in = |group: &[&str]| group.contains(a) && group.contains(b);
            let refused = a != b && (both_in(&presence) || both_in(&lifetimes));
            let answer = shell.run(&format!("SET k v {a} {b}"));
            assert_eq!(answer == SYNTAX, refused, "{a} {b}: {answer}");
        }
    }
}

#[test]
fn bad_options_of_set_change_nothing() {
    let shell = Shell::new();
    shell.run("SET k v EX 10");
    let expire = "ERR invalid expire time in 'set' command";
    shell.refuses(&[
        ("SET k", "ERR wrong number of arguments for 'set' command"),
        ("SET k w x", SYNTAX),
        ("SET k w ''", SYNTAX),
        ("SET k w EX", SYNTAX),
        ("SET k w PERSIST", SYNTAX),
        ("SET k w EX 10 NX XX", SYNTAX),
        ("SET k w EX x NX XX", SYNTAX),
        ("SET k w EX x", NOT_AN_INTEGER),
        ("SET k w EX 1.5", NOT_AN_INTEGER),
        ("SET k w EX +1", NOT_AN_INTEGER),
        ("SET k w EX ''", NOT_AN_INTEGER),
        ("SET k w EX 9223372036854775808", NOT_AN_INTEGER),
        ("SET k w EX 0", expire),
        ("SET k w EX -1", expire),
        ("SET k w PX 0", expire),
        ("SET k w EXAT 0", expire),
        ("SET k w PXAT -1", expire),
        ("SET k w EX 9223372036854775807", expire),
        ("SET k w EX 9223372036854775", expire),
        ("SET k w PX 9223372036854775807", expire),
        ("SET k w EXAT 9223372036854776", expire),
        ("SET k w GET EX 0", expire),
    ]);
}

#[test]
fn setex_and_psetex() {
    let shell = Shell::new();
    shell.converse(
        "
        SETEX k 10 v  -> OK
        PTTL k        -> 10000
        PSETEX k 10 v -> OK
        PTTL k        -> 10
        ",
    );
    shell.refuses(&[
        ("SETEX k 1", "ERR wrong number of arguments for 'setex' command"),
        ("SETEX k 1 v x", "ERR wrong number of arguments for 'setex' command"),
        ("SETEX k x v", NOT_AN_INTEGER),
        ("SETEX k 0 v", "ERR invalid expire time in 'setex' command"),
        ("SETEX k -5 v", "ERR invalid expire time in 'setex' command"),
        ("SETEX k 9223372036854775807 v", "ERR invalid expire time in 'setex' command"),
        ("PSETEX k x v", NOT_AN_INTEGER),
        ("PSETEX k 0 v", "ERR invalid expire time in 'psetex' command"),
        ("PSETEX k 9223372036854775807 v", "ERR invalid expire time in 'psetex' command"),
        ("SETNX k", "ERR wrong number of arguments for 'setnx' command"),
        ("SETNX k v x", "ERR wrong number of arguments for 'setnx' command"),
    ]);
}

#[test]
fn put_is_set_with_a_lifetime_in_seconds() {
    let shell = Shell::new();
    shell.converse(
        r#"
        PUT k v 60         -> OK
        PTTL k             -> 60000
        PUT k w            -> OK
        PTTL k             -> -1
        GET k              -> "w"
        PUT k w 2147483647 -> OK
        TTL k              -> 2147483647
        PUT k v 0          -> OK
        TTL k              -> -1
        "#,
    );
    let range = "ERR ttl must be an integer from 0 to 2147483647 seconds";
    let arity = "ERR wrong number of arguments for 'put' command";
    shell.refuses(&[
        ("PUT k", arity),
        ("PUT k w 1 2", arity),
        ("PUT k w -1", range),
        ("PUT k w abc", range),
        ("PUT k w ''", range),
        ("PUT k w 1.5", range),
        ("PUT k w 2147483648", range),
        ("PUT k w 9999999999999999999", range),
    ]);
}

#[test]
fn get_and_something_else() {
    let shell = Shell::new();
    shell.converse(
        r#"
        GETSET k a  -> nil
        PEXPIRE k 9 -> 1
        GETSET k b  -> "a"
        PTTL k      -> -1
        GETDEL k    -> "b"
        GETDEL k    -> nil
        EXISTS k    -> 0
        "#,
    );
    shell.refuses(&[
        ("GET", "ERR wrong number of arguments for 'get' command"),
        ("GET a b", "ERR wrong number of arguments for 'get' command"),
        ("GETSET k", "ERR wrong number of arguments for 'getset' command"),
        ("GETDEL k x", "ERR wrong number of arguments for 'getdel' command"),
        ("STRLEN", "ERR wrong number of arguments for 'strlen' command"),
        ("MGET", "ERR wrong number of arguments for 'mget' command"),
    ]);
}

#[test]
fn getex_reads_and_changes_the_deadline() {
    let shell = Shell::new();
    shell.converse(
        r#"
        GETEX k                    -> nil
        SET k v EX 10              -> OK
        GETEX k                    -> "v"
        PTTL k                     -> 10000
        GETEX k PERSIST            -> "v"
        PTTL k                     -> -1
        GETEX k persist persist    -> "v"
        GETEX k EX 20              -> "v"
        PTTL k                     -> 20000
        GETEX k PX 20              -> "v"
        PTTL k                     -> 20
        GETEX k EXAT 1700000001    -> "v"
        PTTL k                     -> 1000
        GETEX k PXAT 1700000000002 -> "v"
        PTTL k                     -> 2
        GETEX k PXAT 1700000000000 -> "v"
        GETEX k                    -> nil
        GETEX k EX 0               -> nil
        GETEX k EX x               -> nil
        GETEX k EX                 -> ERR syntax error
        "#,
    );
    shell.run("SET k v EX 10");
    shell.refuses(&[
        ("GETEX", "ERR wrong number of arguments for 'getex' command"),
        ("GETEX k NX", SYNTAX),
        ("GETEX k KEEPTTL", SYNTAX),
        ("GETEX k EX", SYNTAX),
        ("GETEX k EX 1 PERSIST", SYNTAX),
        ("GETEX k PERSIST PX 1", SYNTAX),
        ("GETEX k EX 1 PX 1", SYNTAX),
        ("GETEX k EX x", NOT_AN_INTEGER),
        ("GETEX k EX 0", "ERR invalid expire time in 'getex' command"),
        ("GETEX k PXAT -1", "ERR invalid expire time in 'getex' command"),
        ("GETEX k EX 9223372036854775807", "ERR invalid expire time in 'getex' command"),
    ]);
}

#[test]
fn many_at_once() {
    let shell = Shell::new();
    shell.converse(
        r#"
        MSET a 1 b 2 a 3   -> OK
        MGET a b c a       -> ["3", "2", nil, "3"]
        MSETNX c 1 a 9     -> 0
        MGET a c           -> ["3", nil]
        MSETNX d 1 e 2 d 3 -> 1
        MGET d e           -> ["3", "2"]
        EXPIRE a 5         -> 1
        MSET a 1           -> OK
        TTL a              -> -1
        "#,
    );
    shell.refuses(&[
        ("MSET", "ERR wrong number of arguments for 'mset' command"),
        ("MSET k", "ERR wrong number of arguments for 'mset' command"),
        ("MSET k v new", "ERR wrong number of arguments for 'mset' command"),
        ("MSETNX k v new", "ERR wrong number of arguments for 'msetnx' command"),
    ]);
}

#[test]
fn append_and_strlen() {
    let shell = Shell::new();
    shell.converse(
        r#"
        STRLEN k        -> 0
        APPEND k ''     -> 0
        EXISTS k        -> 1
        APPEND k ab     -> 2
        PEXPIRE k 50    -> 1
        APPEND k cd     -> 4
        APPEND k ''     -> 4
        GET k           -> "abcd"
        STRLEN k        -> 4
        PTTL k          -> 50
        "#,
    );
    shell.refuses(&[
        ("APPEND k", "ERR wrong number of arguments for 'append' command"),
        ("APPEND k v x", "ERR wrong number of arguments for 'append' command"),
    ]);
}

#[test]
fn a_long_value_grows_in_place_and_is_read_whole() {
    let shell = Shell::new();
    let mut expected = String::new();
    for number in 0..4000 {
        let piece = format!("{number}:");
        write!(expected, "{piece}").unwrap();
        assert_eq!(shell.run(&format!("APPEND k {piece}")), expected.len().to_string());
    }
    assert_eq!(shell.run("GET k"), format!("\"{expected}\""));
    assert_eq!(shell.run("RENAME k to"), "OK");
    assert_eq!(shell.run("GETDEL to"), format!("\"{expected}\""));
}

#[test]
fn a_value_that_would_grow_too_long_stays_as_it_was() {
    let shell = Shell::with_options(Options::new().value_bytes_max(10));
    shell.run("SET k 0123456789");
    let too_long = "ERR string exceeds maximum allowed size (proto-max-bulk-len)";
    shell.refuses(&[
        ("APPEND k x", too_long),
        ("SET k 0123456789x", too_long),
        ("MSET k 1 b 0123456789x", too_long),
        ("GETSET k 0123456789x", too_long),
        ("INCRBYFLOAT k 0.5", too_long),
    ]);
    shell.converse("SET k 01234567 -> OK\n APPEND k 89 -> 10");
}

#[test]
fn counters() {
    let shell = Shell::new();
    shell.converse(
        r#"
        INCR k                          -> 1
        GET k                           -> "1"
        EXPIRE k 7                      -> 1
        INCRBY k 41                     -> 42
        TTL k                           -> 7
        DECR k                          -> 41
        DECRBY k 50                     -> -9
        DECRBY k -9                     -> 0
        GET k                           -> "0"
        INCRBY k -9223372036854775808   -> -9223372036854775808
        INCRBY k 9223372036854775807    -> -1
        DECR new                        -> -1
        "#,
    );
}

#[test]
fn counters_refuse_what_they_cannot_count() {
    let shell = Shell::new();
    let overflow = "ERR increment or decrement would overflow";
    shell.run("SET k 9223372036854775807 EX 10");
    shell.refuses(&[
        ("INCR", "ERR wrong number of arguments for 'incr' command"),
        ("INCR k 1", "ERR wrong number of arguments for 'incr' command"),
        ("DECR k 1", "ERR wrong number of arguments for 'decr' command"),
        ("INCRBY k", "ERR wrong number of arguments for 'incrby' command"),
        ("DECRBY k 1 2", "ERR wrong number of arguments for 'decrby' command"),
        ("INCR k", overflow),
        ("INCRBY k 1", overflow),
        ("DECRBY k -1", overflow),
        ("INCRBY k x", NOT_AN_INTEGER),
        ("INCRBY k 1.0", NOT_AN_INTEGER),
        ("INCRBY k +1", NOT_AN_INTEGER),
        ("INCRBY k 9223372036854775808", NOT_AN_INTEGER),
        ("DECRBY k -9223372036854775809", NOT_AN_INTEGER),
        ("DECRBY k -9223372036854775808", "ERR decrement would overflow"),
    ]);
    shell.run("SET k -9223372036854775808");
    shell.refuses(&[("DECR k", overflow), ("INCRBY k -1", overflow)]);
    for value in ["''", "x", "1.0", "007", "-0", "+1", "9223372036854775808", "-"] {
        shell.run(&format!("SET k {value}"));
        shell.refuses(&[("INCR k", NOT_AN_INTEGER), ("DECRBY k 5", NOT_AN_INTEGER)]);
    }
    for value in [" 1", "1 ", "1\n", "1\0"] {
        shell.reply(["SET", "k", value]);
        shell.refuses(&[("INCR k", NOT_AN_INTEGER)]);
    }
}

#[test]
fn incrbyfloat_counts_as_redis_does() {
    let shell = Shell::new();
    shell.converse(
        r#"
        INCRBYFLOAT k 1                  -> "1"
        EXPIRE k 7                       -> 1
        INCRBYFLOAT k 0.25               -> "1.25"
        GET k                            -> "1.25"
        TTL k                            -> 7
        INCRBYFLOAT k -2.35              -> "-1.1"
        INCRBYFLOAT k 1.1e0              -> "0"
        SET k 5.0e3                      -> OK
        INCRBYFLOAT k 2.0e2              -> "5200"
        INCR k                           -> 5201
        "#,
    );
    let float = "ERR value is not a valid float";
    shell.refuses(&[
        ("INCRBYFLOAT k", "ERR wrong number of arguments for 'incrbyfloat' command"),
        ("INCRBYFLOAT k 1 2", "ERR wrong number of arguments for 'incrbyfloat' command"),
        ("INCRBYFLOAT k x", float),
        ("INCRBYFLOAT k ''", float),
        ("INCRBYFLOAT k nan", float),
        ("INCRBYFLOAT k 1e5000", float),
        ("INCRBYFLOAT k +inf", "ERR increment would produce NaN or Infinity"),
    ]);
    for value in [" 1", "1 ", "abc", "1\0", ""] {
        shell.reply(["SET", "k", value]);
        shell.refuses(&[("INCRBYFLOAT k 1", float)]);
    }
}
