//! Every command the server executes, with too few words, too many, and numbers that are none: an error, and the data
//! as it was.
//!
//! Invariant: the cases come from the command table, so a new row is tested without a word here.

#![forbid(unsafe_code)]

use kvproto::Spec;
use kvproto::spec::{Arg, ArgKind, COMMANDS};
use kvtests::process::Launch;
use kvtests::server_program;
use kvtests::wire::{Wire, push_request, show};
use tempfile::TempDir;

/// What stands where a number should. The empty word, blanks and signs are what a lenient parser lets through.
const NO_INTEGERS: [&str; 9] =
    ["", "abc", "1a", " 1", "1 ", "1.5", "99999999999999999999", "-99999999999999999999", "0x10"];
const NO_DOUBLES: [&str; 4] = ["", "abc", "1a", "nan"];

/// Commands some of whose numbers may be anything, each with the reason.
const LENIENT: [(&str, &str); 1] = [("scan", "Redis reads an empty cursor as 0")];

fn executed() -> impl Iterator<Item = &'static Spec> {
    let rows = COMMANDS.iter().flat_map(|top| top.subcommands.iter().chain(std::iter::once(top)));
    rows.filter(|spec| !spec.unsupported)
}

/// The words that name a command, as they are typed.
fn name(spec: &Spec) -> Vec<String> {
    spec.name.split('|').map(str::to_owned).collect()
}

/// The words of a well-formed argument, and, for each number in it, the same with words that are none.
fn spelled(arg: &Arg) -> (Vec<String>, Vec<Vec<String>>) {
    let mut words: Vec<String> = arg.token.iter().map(|token| (*token).to_owned()).collect();
    let mut bad = Vec::new();
    let mut number = |good: &str, none: &[&str]| {
        bad.extend(none.iter().map(|none| [words.clone(), vec![(*none).to_owned()]].concat()));
        words.push(good.to_owned());
    };
    match arg.kind {
        ArgKind::Integer | ArgKind::UnixTime => number("1", &NO_INTEGERS),
        ArgKind::Double => number("1", &NO_DOUBLES),
        ArgKind::Key => words.push("key".to_owned()),
        ArgKind::String | ArgKind::Pattern => words.push("word".to_owned()),
        ArgKind::PureToken => {}
        ArgKind::OneOf(members) => {
            for (at, member) in members.iter().enumerate() {
                let (good, wrong) = spelled(member);
                bad.extend(wrong.into_iter().map(|wrong| [words.clone(), wrong].concat()));
                if at + 1 == members.len() {
                    words.extend(good);
                }
            }
        }
        ArgKind::Block(members) => {
            let (good, wrong) = all(members);
            bad.extend(wrong.into_iter().map(|wrong| [words.clone(), wrong].concat()));
            words.extend(good);
        }
    }
    (words, bad)
}

/// The same for arguments that follow each other; optional ones are there only for the sake of what is wrong in them.
fn all(args: &[Arg]) -> (Vec<String>, Vec<Vec<String>>) {
    let mut words = Vec::new();
    let mut bad: Vec<Vec<String>> = Vec::new();
    for arg in args {
        let (good, wrong) = spelled(arg);
        let after = |start: &[String], end: &[String]| [start, end].concat();
        if !arg.optional {
            bad.iter_mut().for_each(|words| words.extend_from_slice(&good));
        }
        bad.extend(wrong.iter().map(|wrong| after(&words, wrong)));
        if !arg.optional {
            words.extend(good);
        }
    }
    (words, bad)
}

/// What must not change.
fn state(wire: &mut Wire) -> Vec<u8> {
    ["GET key", "PEXPIRETIME key", "GET word", "DBSIZE", "KEYS *", "CLIENT GETNAME"]
        .iter()
        .flat_map(|look| wire.command(look))
        .collect()
}

#[test]
fn a_bad_request_is_an_error_and_changes_nothing() {
    let dir = TempDir::new().expect("a directory");
    let server = Launch::new(server_program!(), dir.path()).resp().durability("os").start();
    let mut wire = server.connect();
    wire.ask("SET key 10 EX 100000", "+OK\r\n");
    let before = state(&mut wire);
    let mut failures = Vec::new();
    let mut cases = 0;
    let mut check = |words: Vec<String>, wanted: &str| {
        cases += 1;
        let mut request = Vec::new();
        push_request(&words, &mut request);
        wire.send(request);
        let reply = wire.reply();
        let after = state(&mut wire);
        if !reply.starts_with(wanted.as_bytes()) || after != before {
            failures.push(format!("{words:?} -> {}, state {}", show(&reply), show(&after)));
        }
    };
    for spec in executed() {
        let wrong_arity = match spec.name {
            "exec" => "-EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' ".to_owned(),
            name => format!("-ERR wrong number of arguments for '{name}' command\r\n"),
        };
        let own = name(spec);
        let wanted = spec.arity.unsigned_abs() as usize;
        let padded = |count: usize| [own.clone(), vec!["word".to_owned(); count - own.len()]].concat();
        if spec.subcommands.is_empty() {
            if wanted > own.len() {
                check(padded(wanted - 1), &wrong_arity);
            }
            if spec.arity > 0 && spec.own_name() != "help" {
                check(padded(wanted + 1), &wrong_arity);
            }
        } else if spec.arity < -1 {
            check(own.clone(), &wrong_arity);
            check(padded(2), "-ERR unknown subcommand 'word'. Try ");
        }
        if LENIENT.iter().any(|(name, _)| *name == spec.name) {
            continue;
        }
        for rest in all(spec.args).1 {
            check([own.clone(), rest].concat(), "-");
        }
    }
    assert!(cases > 400, "only {cases} cases");
    assert!(failures.is_empty(), "{} of {cases}:\n{}", failures.len(), failures.join("\n"));
}

/// What an error quotes is the bytes that the client sent, UTF-8 or not, up to a NUL and with line ends as blanks.
#[test]
fn errors_quote_the_bytes_of_a_client() {
    let dir = TempDir::new().expect("a temporary directory");
    let launch = Launch::new(server_program!(), dir.path()).resp().arguments(["--enable-debug"]);
    let server = launch.line("plain").start();
    let mut wire = server.connect();
    const X: &[u8] = b"a\xff\r\xfeb\0c";
    let long = [b'\xff'; 200];
    let cases: [(&[&[u8]], &[u8]); 24] = [
        (&[X, X], b"-ERR unknown command 'a\xff \xfeb', with args beginning with: 'a\xff \xfeb' \r\n"),
        (&[b"CLIENT", X], b"-ERR unknown subcommand 'a\xff \xfeb'. Try CLIENT HELP.\r\n"),
        (&[b"CLUSTER", X], b"-ERR unknown subcommand 'a\xff \xfeb'. Try CLUSTER HELP.\r\n"),
        (
            &[b"CONFIG", b"SET", X, b"1"],
            b"-ERR Unknown option or number of arguments for CONFIG SET - 'a\xff \xfeb'\r\n",
        ),
        (&[b"CLIENT", b"KILL", b"USER", X], b"-ERR No such user 'a\xff \xfeb'\r\n"),
        (&[b"CLIENT", b"KILL", b"TYPE", X], b"-ERR Unknown client type 'a\xff \xfeb'\r\n"),
        (&[b"CLIENT", b"LIST", b"TYPE", X], b"-ERR Unknown client type 'a\xff \xfeb'\r\n"),
        (&[b"CLIENT", b"SETINFO", X, b"v"], b"-ERR Unrecognized option 'a\xff \xfeb'\r\n"),
        (&[b"HELLO", b"2", X], b"-ERR Syntax error in HELLO option 'a\xff \xfeb'\r\n"),
        (&[b"EXPIRE", b"k", b"1", X], b"-ERR Unsupported option a\xff \xfeb\r\n"),
        (&[b"EXPIRE", b"k", b"1", b"\xff\r\n"], b"-ERR Unsupported option \xff\r\n"),
        (&[b"LATENCY", b"GRAPH", X], b"-ERR No samples available for event 'a\xff \xfeb'\r\n"),
        (&[b"FUNCTION", b"LIST", X], b"-ERR Unknown argument a\xff \xfeb\r\n"),
        (&[b"DEBUG", b"ERROR", b"ERR \xff\n"], b"-ERR \xff \r\n"),
        (
            &[b"DEBUG", X],
            b"-ERR unknown subcommand or wrong number of arguments for 'a\xff \xfeb'. Try DEBUG HELP.\r\n",
        ),
        (&[b"ACL", b"CAT", X], b"-ERR Unknown category 'a\xff \xfeb'\r\n"),
        (&[b"ACL", b"SETUSER", b"u", X], b"-ERR Error in ACL SETUSER modifier 'a\xff \xfeb': Syntax error\r\n"),
        (&[b"ACL", b"SETUSER", b"u", b"(\xff"], b"-ERR Unmatched parenthesis in acl selector starting at '(\xff'.\r\n"),
        (&[b"ACL", b"DRYRUN", X, b"get"], b"-ERR User 'a\xff \xfeb' not found\r\n"),
        (&[b"ACL", b"DRYRUN", b"default", X], b"-ERR Command 'a\xff \xfeb' not found\r\n"),
        (
            &[b"CLIENT", b"TRACKING", b"ON", b"BCAST", b"PREFIX", b"\xff", b"PREFIX", b"\xff\xfe"],
            b"-ERR Prefix '\xff' overlaps with another provided prefix '\xff\xfe'. Prefixes for a single client must \
              not overlap.\r\n",
        ),
        (&[b"ACL", b"SETUSER", b"\xff", b"on", b"nopass", b"+@all", b"-get", b"~a"], b"+OK\r\n"),
        (
            &[b"ACL", b"DRYRUN", b"\xff", b"set", b"\xfe", b"v"],
            b"$50\r\nThis user has no permissions to access the '\xfe' key\r\n",
        ),
        (
            &[b"ACL", b"DRYRUN", b"\xff", b"get", b"k"],
            b"$53\r\nThis user has no permissions to run the 'get' command\r\n",
        ),
    ];
    for (words, expected) in cases {
        let reply = wire.try_command(words).expect("a reply");
        assert_eq!(show(&reply), show(expected), "{words:?}");
    }
    // The beginning of a long one, by bytes.
    let reply = wire.try_command(&[&long[..]]).expect("a reply");
    let expected = [b"-ERR unknown command '", &long[..128], b"', with args beginning with: \r\n"].concat();
    assert_eq!(show(&reply), show(&expected));
    assert_eq!(wire.try_command(&[&b"AUTH"[..], b"\xff", b"x"]).expect("a reply"), b"+OK\r\n");
    let reply = wire.try_command(&[&b"GET"[..], b"k"]).expect("a reply");
    assert_eq!(show(&reply), show(b"-NOPERM User \xff has no permissions to run the 'get' command\r\n"));
    // In the error that ends a transaction, too.
    wire.ask("MULTI", "+OK\r\n");
    let reply = wire.try_command(&[&b"EXEC"[..], b"\xff"]).expect("a reply");
    let expected = "-EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command\r\n";
    assert_eq!(show(&reply), show(expected.as_bytes()));
    // A byte where a string should begin.
    let mut other = server.connect();
    other.send(b"*1\r\n\xff1\r\n");
    other.expect(b"-ERR Protocol error: expected '$', got '\xff'\r\n");
    // The line protocol keeps its line.
    let mut line = Wire::connect(server.address(1));
    line.send(b"\"a\xff\\r\\n\xfeb\" \xff\n");
    assert_eq!(show(&line.line()), show(b"ERR unknown command 'a\xff  \xfeb', with args beginning with: '\xff' \n"));
}
