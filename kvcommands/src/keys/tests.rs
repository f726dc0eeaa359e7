//! The commands on keys, in conversation. Expected replies are those of redis-server 7.0.15.
//!
//! Invariant: the store's clock stands still unless a test moves it, so no test depends on how fast it runs.

use std::collections::BTreeSet;

use kvproto::Reply;

use crate::shell::Shell;

#[test]
fn del_exists_and_type() {
    let shell = Shell::new();
    shell.converse(
        "
        MSET a 1 b 2 c 3 d 4 -> OK
        EXISTS a b x a       -> 3
        TOUCH a x            -> 1
        TYPE a               -> string
        TYPE x               -> none
        DEL a x a            -> 1
        UNLINK b             -> 1
        DELETE c x           -> 1
        REMOVE d             -> 1
        REMOVE d             -> 0
        DBSIZE               -> 0
        ",
    );
    shell.refuses(&[
        ("DEL", "ERR wrong number of arguments for 'del' command"),
        ("EXISTS", "ERR wrong number of arguments for 'exists' command"),
        ("TYPE", "ERR wrong number of arguments for 'type' command"),
        ("TYPE a b", "ERR wrong number of arguments for 'type' command"),
        ("RENAME a", "ERR wrong number of arguments for 'rename' command"),
        ("KEYS", "ERR wrong number of arguments for 'keys' command"),
        ("KEYS a b", "ERR wrong number of arguments for 'keys' command"),
        ("DBSIZE x", "ERR wrong number of arguments for 'dbsize' command"),
        ("RANDOMKEY x", "ERR wrong number of arguments for 'randomkey' command"),
    ]);
}

#[test]
fn rename_takes_value_and_deadline_along() {
    let shell = Shell::new();
    shell.converse(
        r#"
        RENAME a b    -> ERR no such key
        RENAME a a    -> ERR no such key
        SET a 1 EX 10 -> OK
        RENAME a a    -> OK
        TTL a         -> 10
        SET b 2       -> OK
        RENAME a b    -> OK
        MGET a b      -> [nil, "1"]
        TTL b         -> 10
        SET c 3       -> OK
        RENAME c b    -> OK
        TTL b         -> -1
        RENAME b ''   -> OK
        GET ''        -> "3"
        "#,
    );
}

#[test]
fn an_expired_key_is_gone_for_every_command() {
    let shell = Shell::new();
    for command in [
        "EXISTS k",
        "DEL k",
        "TYPE k",
        "GET k",
        "RENAME k k",
        "KEYS *",
        "PRINT",
        "SCAN 0",
        "RANDOMKEY",
        "STRLEN k",
        "GETDEL k",
        "PERSIST k",
        "TTL k",
        "SET k v XX",
        "EXPIRE k 1",
    ] {
        shell.run("SET k v PX 5");
        shell.advance(5);
        let expected = match command {
            "TYPE k" => "none",
            "RENAME k k" => "ERR no such key",
            "KEYS *" | "PRINT" => "[]",
            "SCAN 0" => r#"["0", []]"#,
            "RANDOMKEY" | "GET k" | "GETDEL k" | "SET k v XX" => "nil",
            "TTL k" => "-2",
            _ => "0",
        };
        assert_eq!(shell.run(command), expected, "{command}");
    }
}

#[test]
fn keys_selects_by_pattern() {
    let shell = Shell::new();
    shell.run("MSET user:1 a user:2 b item:1 c '' d");
    assert_eq!(names(&shell.reply(["KEYS", "user:*"])), ["user:1", "user:2"]);
    assert_eq!(names(&shell.reply(["KEYS", "*:1"])), ["item:1", "user:1"]);
    assert_eq!(names(&shell.reply(["KEYS", "?ser:[13]"])), ["user:1"]);
    assert_eq!(names(&shell.reply(["KEYS", "*"])), ["", "item:1", "user:1", "user:2"]);
    assert_eq!(names(&shell.reply(["KEYS", "**"])), ["item:1", "user:1", "user:2"]);
    assert_eq!(shell.run("KEYS nothing"), "[]");
}

#[test]
fn print_lists_in_the_order_of_bytes() {
    let shell = Shell::new();
    assert_eq!(shell.run("PRINT"), "[]");
    shell.run("MSET b 1 a 1 B 1 10 1 9 1 aa 1 '' 1");
    shell.reply(["SET", "\u{e9}", "1"]);
    assert_eq!(shell.run("PRINT"), r#"["", "10", "9", "B", "a", "aa", "b", "\xc3\xa9"]"#);
}

#[test]
fn randomkey_and_dbsize() {
    let shell = Shell::new();
    shell.converse(
        r#"
        RANDOMKEY -> nil
        DBSIZE    -> 0
        SET k v   -> OK
        RANDOMKEY -> "k"
        DBSIZE    -> 1
        "#,
    );
}

#[test]
fn scan_finds_every_key() {
    let shell = Shell::new();
    let keys: BTreeSet<String> = (0..1000).map(|number| format!("key:{number}")).collect();
    for key in &keys {
        shell.run(&format!("SET {key} v"));
    }
    for (options, expected) in [
        ("", 1000),
        ("COUNT 1", 1000),
        ("count 100", 1000),
        ("COUNT 9223372036854775807", 1000),
        ("COUNT 50 MATCH key:1*", 111),
        ("MATCH x*", 0),
        ("TYPE STRING", 1000),
        ("TYPE hash", 0),
        ("TYPE hash TYPE string MATCH x MATCH key:?", 10),
    ] {
        let mut found = BTreeSet::new();
        let mut cursor = "0".to_owned();
        loop {
            let line = format!("SCAN {cursor} {options}");
            let Reply::Array(answer) = shell.reply(line.split_whitespace()) else {
                panic!("{line}");
            };
            found.extend(names(&answer[1]));
            cursor = names(&answer[..1])[0].clone();
            if cursor == "0" {
                break;
            }
        }
        assert_eq!(found.len(), expected, "{options}");
        assert!(found.is_subset(&keys));
    }
}

#[test]
fn scan_refuses_what_it_cannot_read() {
    let shell = Shell::new();
    let integer = "ERR value is not an integer or out of range";
    let cursor = "ERR invalid cursor";
    shell.refuses(&[
        ("SCAN", "ERR wrong number of arguments for 'scan' command"),
        ("SCAN x", cursor),
        ("SCAN +", cursor),
        ("SCAN 1x", cursor),
        ("SCAN 1.0", cursor),
        ("SCAN 18446744073709551616", cursor),
        ("SCAN x COUNT 0", cursor),
        ("SCAN 0 COUNT", "ERR syntax error"),
        ("SCAN 0 MATCH", "ERR syntax error"),
        ("SCAN 0 TYPE", "ERR syntax error"),
        ("SCAN 0 x", "ERR syntax error"),
        ("SCAN 0 COUNT 0", "ERR syntax error"),
        ("SCAN 0 COUNT -1", "ERR syntax error"),
        ("SCAN 0 COUNT x", integer),
        ("SCAN 0 COUNT 9223372036854775808", integer),
        ("SCAN 0 COUNT x MATCH", integer),
    ]);
}

/// A cursor that no SCAN gave out ends somewhere; it is not an error, as in Redis.
#[test]
fn scan_takes_any_number_for_a_cursor() {
    let shell = Shell::new();
    shell.run("SET k v");
    for cursor in ["", "+0", "-1", "1", "9007199254740993", "18446744073709551615"] {
        let reply = shell.reply(["SCAN", cursor]);
        assert!(matches!(&reply, Reply::Array(parts) if parts.len() == 2), "{cursor}: {reply:?}");
    }
}

fn names(list: &(impl AsReplies + ?Sized)) -> Vec<String> {
    let mut names: Vec<String> = list
        .replies()
        .iter()
        .map(|reply| match reply {
            Reply::Bulk(name) => String::from_utf8(name.to_vec()).unwrap(),
            other => panic!("{other:?} is no name"),
        })
        .collect();
    names.sort();
    names
}

#[test]
fn renamenx_never_replaces() {
    let shell = Shell::new();
    shell.converse(
        "
        RENAMENX none k -> ERR no such key
        SET k v PX 1000 -> OK
        RENAMENX k k -> 0
        RENAMENX k other -> 1
        GET k -> nil
        PTTL other -> 1000
        SET k w -> OK
        RENAMENX k other -> 0
        MGET k other -> [\"w\", \"v\"]
        PTTL other -> 1000
        ",
    );
}

#[test]
fn restore_takes_what_dump_gives_and_its_deadline_decides() {
    let shell = Shell::new();
    shell.run("SET k 12345");
    let Reply::Bulk(payload) = shell.reply(["DUMP", "k"]) else { panic!("no payload") };
    let restore = |key: &str, ttl: &str, option: &str| {
        shell.reply([b"RESTORE", key.as_bytes(), ttl.as_bytes(), &payload[..], option.as_bytes()])
    };
    assert_eq!(restore("k", "5000", "REPLACE"), Reply::Ok);
    assert_eq!(shell.run("PTTL k"), "5000");
    assert_eq!(restore("new", "1", "ABSTTL"), Reply::Ok);
    assert_eq!(shell.run("EXISTS new"), "0", "it came too late");
    assert_eq!(restore("new", "9223372036854775807", "REPLACE"), Reply::Ok);
    assert_eq!(shell.run("GET new"), "\"12345\"");
    shell.refuses(&[
        ("RESTORE k 0 abc", "BUSYKEY Target key name already exists."),
        ("RESTORE k 0 abc REPLACE", "ERR DUMP payload version or checksum are wrong"),
        ("RESTORE k -1 abc REPLACE", "ERR Invalid TTL value, must be >= 0"),
        ("RESTORE k 0 abc IDLETIME", "ERR syntax error"),
        ("RESTORE k 0 abc FREQ x", "ERR value is not an integer or out of range"),
    ]);
}

trait AsReplies {
    fn replies(&self) -> &[Reply];
}

impl AsReplies for [Reply] {
    fn replies(&self) -> &[Reply] {
        self
    }
}

impl AsReplies for Reply {
    fn replies(&self) -> &[Reply] {
        match self {
            Reply::Array(items) => items,
            other => panic!("{other:?} is no list"),
        }
    }
}
