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
            assert!(seen.insert(*name), "{name} is named twice");
            for typed in [name.to_string(), name.to_ascii_uppercase()] {
                let found = lookup(typed.as_bytes()).map(|found| found.name);
                assert_eq!(found, Some(spec.name));
            }
            assert!(lookup(format!("{name}x").as_bytes()).is_none_or(|found| found.name != spec.name));
        }
    }
    for unsupported in
        ["", "ge", "get ", "get\0", "\0get", "client|list", "\0", "eval\x7fro", "zzzzzzzzzzzzzzzzzzzzzzzzzzzz"]
    {
        assert!(lookup(unsupported.as_bytes()).is_none(), "{unsupported:?}");
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
        ("command", "count docs getkeys getkeysandflags info list"),
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
        assert_eq!(
            !spec.unsupported && !spec.subcommands.is_empty(),
            !spec.unsupported && spec.subcommand(b"help").is_some(),
            "{name}"
        );
        if spec.unsupported {
            continue;
        }
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
        let key_args = spec.args.iter().flat_map(keys_of).collect::<BTreeSet<usize>>().len();
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

/// The key specs of the keys an argument names.
fn keys_of(arg: &Arg) -> Vec<usize> {
    arg.key_spec.into_iter().chain(arg.kind.members().iter().flat_map(keys_of)).collect()
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
        "SET key value [NX|XX|IFEQ ifeq-value|IFNE ifne-value|IFDEQ ifdeq-digest|IFDNE ifdne-digest] [GET] [EX seconds|PX milliseconds|EXAT unix-time-seconds|\
         PXAT unix-time-milliseconds|KEEPTTL]"
    );
    assert_eq!(usage("mset"), "MSET key value [key value ...]");
    assert_eq!(usage("scan"), "SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]");
    assert_eq!(usage("hello"), "HELLO [protover [AUTH username password] [SETNAME clientname]]");
    assert_eq!(usage("unsubscribe"), "UNSUBSCRIBE [channel [channel ...]]");
    assert_eq!(usage("pubsub"), "PUBSUB CHANNELS|HELP|NUMPAT|NUMSUB|SHARDCHANNELS|SHARDNUMSUB");
    assert_eq!(usage("print"), "PRINT");
    assert_eq!(usage("bitpos"), "BITPOS key bit [start [end [BYTE|BIT]]]");
    assert_eq!(usage("bitfield_ro"), "BITFIELD_RO key [GET encoding offset [GET encoding offset ...]]");
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

/// Each key found, with what happens to it, in one line.
fn found(words: &str) -> String {
    let owned = OwnedRequest::from_words(words.split(' '));
    let request = owned.as_request();
    let top = lookup(request.name()).unwrap();
    let spec = if top.subcommands.is_empty() { top } else { top.subcommand(request.get(1).unwrap()).unwrap() };
    assert!(spec.arity_ok(request.len()), "{words}");
    let shown = spec.find_keys(request).into_iter().map(|(at, flags)| {
        let key = String::from_utf8_lossy(request.get(at).unwrap()).into_owned();
        format!("{key}: {}", flags.names().collect::<Vec<_>>().join(" "))
    });
    shown.collect::<Vec<_>>().join(", ")
}

#[test]
fn keys_that_move_are_found_by_rule() {
    for (words, keys) in [
        ("get k", "k: RO access"),
        ("set k v", "k: OW update"),
        ("set k v ex 1 get", "k: RW access update"),
        ("mset k1 v1 k2 v2", "k1: OW update, k2: OW update"),
        ("lmove k1 k2 left right", "k1: RW access delete, k2: RW insert"),
        ("sort k1 by store limit 1 2 store k2", "k1: RO access, k2: OW update"),
        ("sort k1 store k2 store k3", "k1: RO access, k3: OW update"),
        ("sort_ro k1 get #", "k1: RO access"),
        ("xgroup create k group $", "k: RW insert"),
        ("eval script 1 k arg", "k: RW access update"),
        ("eval script 0", ""),
        ("eval script 2 k", ""),
        ("eval script -1 k", ""),
        ("eval script 99999999999999999999 k", ""),
        ("eval script 9223372036854775807 k", ""),
        ("zunionstore t 2 a b weights 1 2", "t: OW update, a: RO access, b: RO access"),
        ("zunionstore t 3 a b", ""),
        ("xread count 1 streams a b 0 0", "a: RO access, b: RO access"),
        ("xread count 1 block 0", ""),
        ("xreadgroup group g c streams a 0", "a: RO access"),
        ("migrate host 1 k 0 10", "k: RW access delete"),
        ("migrate host 1 k 0 10 keys a", ""),
        ("georadius k 1 1 1 m store t", "k: RO access, t: OW update"),
        ("georadius k 1 1 1 m", "k: RO access"),
        ("blpop a b 0", "a: RW access delete, b: RW access delete"),
        ("cluster info", ""),
    ] {
        assert_eq!(found(words), keys, "{words}");
    }
    let words = ["migrate", "host", "1", "", "0", "10", "auth2", "keys", "keys", "keys", "a", "b"];
    let owned = OwnedRequest::from_words(words);
    let positions: Vec<usize> =
        lookup(b"migrate").unwrap().find_keys(owned.as_request()).into_iter().map(|(at, _)| at).collect();
    assert_eq!(positions, [10, 11]);
}

#[test]
fn no_length_makes_the_search_for_keys_leave_the_request() {
    let words = ["", "keys", "streams", "2", "-1", "store", "99999999999", "9223372036854775807", "get", "auth2"];
    for spec in COMMANDS.iter().flat_map(|top| top.subcommands.iter().chain([top])) {
        for start in 0..words.len() {
            for len in spec.arity.unsigned_abs() as usize..14 {
                let rest = (1..len).map(|at| words[(start + at) % words.len()]);
                let owned = OwnedRequest::from_words(std::iter::once(spec.name).chain(rest));
                let request = owned.as_request();
                assert!(spec.find_keys(request).iter().all(|(at, _)| *at < request.len()), "{} {len}", spec.name);
                assert!(spec.keys(request).all(|(at, _)| at < request.len()), "{} {len}", spec.name);
            }
        }
    }
}

#[test]
fn the_short_form_of_key_positions_says_when_it_is_not_all() {
    let of = |name: &str| {
        let keys = lookup(name.as_bytes()).unwrap().legacy_keys();
        (keys.first, keys.last, keys.step, keys.movable)
    };
    assert_eq!(of("get"), (1, 1, 1, false));
    assert_eq!(of("mset"), (1, -1, 2, false));
    assert_eq!(of("lmove"), (1, 2, 1, false));
    assert_eq!(of("blpop"), (1, -2, 1, false));
    assert_eq!(of("sort"), (1, 1, 1, true));
    assert_eq!(of("eval"), (0, 0, 0, true));
    assert_eq!(of("zunionstore"), (1, 1, 1, true));
    assert_eq!(of("migrate"), (3, 3, 1, true));
    assert_eq!(of("ping"), (0, 0, 0, false));
}

#[test]
fn a_row_that_is_not_executed_says_so_and_has_a_family() {
    let unsupported: Vec<&Spec> = COMMANDS.iter().filter(|spec| spec.unsupported).collect();
    assert!(unsupported.len() > 100);
    for spec in unsupported {
        assert!(spec.subcommands.iter().all(|sub| sub.unsupported), "{}", spec.name);
        assert!(spec.is_write() || !spec.takes_keys() || spec.is_read_only() || spec.flags.has(Flag::NoScript));
    }
}
