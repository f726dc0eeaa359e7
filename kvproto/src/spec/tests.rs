//! Tests of the command table. Invariant: a rule about rows is checked on every row, so it binds new ones.

use super::*;
use crate::request::OwnedRequest;
use std::collections::BTreeSet;

#[test]
fn is_sorted_and_every_row_knows_its_place() {
    for (at, spec) in COMMANDS.iter().enumerate() {
        assert_eq!(spec.index(), at);
        for (sub_at, sub) in spec.subcommands.iter().enumerate() {
            assert_eq!(sub.index(), sub_at);
            assert_eq!(sub.name, format!("{}|{}", spec.name, sub.own_name()));
        }
        assert!(spec.subcommands.is_sorted_by_key(|sub| sub.name));
    }
    assert!(COMMANDS.is_sorted_by_key(|spec| spec.name));
}

#[test]
fn finds_every_name_and_alias_in_any_case_and_nothing_else() {
    let mut seen = BTreeSet::new();
    for spec in COMMANDS {
        for name in spec.aliases.iter().chain([&spec.name]) {
            assert!(name.len() <= NAME_BYTES_MAX);
            assert!(seen.insert(*name), "{name} is named twice");
            for typed in [name.to_string(), name.to_ascii_uppercase()] {
                let found = lookup(typed.as_bytes()).map(|found| found.name);
                assert_eq!(found, Some(spec.name));
            }
            assert!(lookup(format!("{name}x").as_bytes()).is_none_or(|found| found.name != spec.name));
        }
    }
    for absent in ["", "ge", "get ", "client|list", "\0", "zzzzzzzzzzzzzzzzzzzzzzzzzzzz"] {
        assert!(lookup(absent.as_bytes()).is_none(), "{absent:?}");
    }
}

#[test]
fn every_command_of_the_first_release_has_a_row() {
    let names = "append auth bgsave client command config dbsize decr decrby del discard echo exec exists \
        expire expireat expiretime flush flushall flushdb get getdel getex getset hello incr incrby incrbyfloat \
        info keys lastsave mget mset msetnx multi persist pexpire pexpireat pexpiretime ping print psetex \
        psubscribe pttl publish pubsub punsubscribe put quit randomkey rename save scan select set setex setnx \
        shutdown strlen subscribe time touch ttl type unlink unsubscribe unwatch watch";
    let table: Vec<&str> = COMMANDS.iter().map(|spec| spec.name).collect();
    for name in names.split_whitespace() {
        assert!(table.contains(&name), "{name}");
    }
    assert_eq!(lookup(b"DELETE").map(|spec| spec.name), Some("del"));
    assert_eq!(lookup(b"Remove").map(|spec| spec.name), Some("del"));
    for (container, names) in [
        ("client", "getname id info kill list pause reply setinfo setname tracking unpause"),
        ("command", "count docs info list"),
        ("config", "get"),
        ("pubsub", "channels numpat numsub"),
    ] {
        let spec = lookup(container.as_bytes()).unwrap();
        for name in names.split(' ') {
            assert!(spec.subcommand(name.as_bytes()).is_some(), "{container} {name}");
        }
    }
}

#[test]
fn every_row_is_complete_and_consistent() {
    for spec in COMMANDS.iter().flat_map(|spec| spec.subcommands.iter().chain([spec])) {
        let name = spec.name;
        assert_ne!(spec.arity, 0, "{name}");
        assert!(spec.summary.ends_with('.'), "{name}");
        assert!(!spec.complexity.is_empty() && !spec.since.is_empty(), "{name}");
        assert!(!(spec.is_write() && spec.is_read_only()), "{name}");
        // The required arguments and the arity are the same fact written twice.
        let required = spec.args.iter().filter(|arg| !arg.optional).map(words_of).sum::<usize>();
        let words = name.split('|').count() + required;
        assert!(
            spec.arity.unsigned_abs() as usize == words || spec.name == "client|list" || !spec.subcommands.is_empty(),
            "{name}: arity {} but {words} words",
            spec.arity
        );
        let open = spec.args.iter().any(|arg| arg.optional || arg.multiple);
        assert!(
            open == (spec.arity < 0)
                || ["quit", "client|list", "client|kill"].contains(&name)
                || !spec.subcommands.is_empty(),
            "{name}: arity {} but open is {open}",
            spec.arity
        );
        // Keys are arguments and arguments that are keys have a place.
        let key_args = spec.args.iter().map(keys_of).sum::<usize>();
        let key_specs = spec.key_specs.iter().filter(|keys| !keys.flags.has(KeyFlag::NotKey)).count();
        assert_eq!(key_args, key_specs, "{name}");
        assert_eq!(spec.keys == KeyRule::None, key_specs == 0, "{name}");
    }
}

/// How many words an argument has at least.
fn words_of(arg: &Arg) -> usize {
    let token = usize::from(arg.token.is_some() && !matches!(arg.kind, ArgKind::PureToken));
    token
        + match arg.kind {
            ArgKind::OneOf(members) => members.iter().map(words_of).min().unwrap_or(0),
            ArgKind::Block(members) => members.iter().map(words_of).sum(),
            _ => 1,
        }
}

/// How many keys an argument names, counting repetitions once.
fn keys_of(arg: &Arg) -> usize {
    usize::from(matches!(arg.kind, ArgKind::Key)) + arg.kind.members().iter().map(keys_of).sum::<usize>()
}

fn keys(words: &[&str]) -> Vec<(usize, String)> {
    let owned = OwnedRequest::from_words(words);
    let request = owned.as_request();
    let keys = lookup(request.name()).unwrap().keys(request);
    let count = keys.len();
    let keys: Vec<_> = keys.map(|(at, key)| (at, String::from_utf8_lossy(key).into_owned())).collect();
    assert_eq!(keys.len(), count);
    keys
}

#[test]
fn keys_are_found_where_the_rows_say() {
    let at = |at: usize, key: &str| (at, key.to_owned());
    assert_eq!(keys(&["GET", "k"]), [at(1, "k")]);
    assert_eq!(keys(&["SET", "k", "v", "EX", "1"]), [at(1, "k")]);
    assert_eq!(keys(&["DEL", "a", "b"]), [at(1, "a"), at(2, "b")]);
    assert_eq!(keys(&["MSET", "a", "1", "b", "2"]), [at(1, "a"), at(3, "b")]);
    assert_eq!(keys(&["MSET", "a", "1", "b"]), [at(1, "a"), at(3, "b")]);
    assert_eq!(keys(&["RENAME", "a", "b"]), [at(1, "a"), at(2, "b")]);
    assert_eq!(keys(&["PING", "a"]), []);
    // Too short for its row: no keys, no panic.
    assert_eq!(keys(&["RENAME", "a"]), [at(1, "a")]);
    assert_eq!(keys(&["GET"]), []);
    assert_eq!(keys(&["DEL"]), []);
}

fn resolved(words: &[&str]) -> Result<&'static str, String> {
    let owned = OwnedRequest::from_words(words);
    resolve(owned.as_request()).map(|spec| spec.name).map_err(|error| error.to_string())
}

#[test]
fn resolves_requests_as_redis_does() {
    assert_eq!(resolved(&["get", "k"]), Ok("get"));
    assert_eq!(resolved(&["CLIENT", "list"]), Ok("client|list"));
    assert_eq!(resolved(&["COMMAND"]), Ok("command"));
    for (words, error) in [
        (&["get"][..], "ERR wrong number of arguments for 'get' command"),
        (&["CLIENT"], "ERR wrong number of arguments for 'client' command"),
        (&["client", "id", "x"], "ERR wrong number of arguments for 'client|id' command"),
        (&["Client", "x"], "ERR unknown subcommand 'x'. Try CLIENT HELP."),
        (&["nope", "x"], "ERR unknown command 'nope', with args beginning with: 'x' "),
    ] {
        assert_eq!(resolved(words), Err(error.to_owned()));
    }
}

#[test]
fn a_usage_line_shows_options_choices_and_repetition() {
    let usage = |name: &str| lookup(name.as_bytes()).unwrap().usage();
    assert_eq!(
        usage("set"),
        "SET key value [NX|XX] [GET] [EX seconds|PX milliseconds|EXAT unix-time-seconds|\
         PXAT unix-time-milliseconds|KEEPTTL]"
    );
    assert_eq!(usage("mset"), "MSET key value [key value ...]");
    assert_eq!(usage("scan"), "SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]");
    assert_eq!(usage("hello"), "HELLO [protover [AUTH username password] [SETNAME clientname]]");
    assert_eq!(usage("unsubscribe"), "UNSUBSCRIBE [channel [channel ...]]");
    assert_eq!(usage("pubsub"), "PUBSUB CHANNELS|NUMPAT|NUMSUB|SHARDCHANNELS|SHARDNUMSUB");
    assert_eq!(usage("print"), "PRINT");
}

#[test]
fn categories_follow_from_flags() {
    let names = |name: &str| lookup(name.as_bytes()).unwrap().categories().names().collect::<Vec<_>>();
    assert_eq!(names("get"), ["read", "string", "fast"]);
    assert_eq!(names("set"), ["write", "string", "slow"]);
    assert_eq!(names("save"), ["admin", "slow", "dangerous"]);
    assert_eq!(names("publish"), ["pubsub", "fast"]);
    let flags: Vec<_> = lookup(b"incr").unwrap().flags.names().collect();
    assert_eq!(flags, ["write", "denyoom", "fast"]);
}
