//! The line protocol's three styles, over a socket.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use kvcore::Db;
use support::{Client, serve_at};

#[track_caller]
fn converse(style: &str, conversation: &[(&str, &str)]) {
    for split in [1, usize::MAX] {
        let db = Db::in_memory();
        let server = serve_at(&db, &format!("line://127.0.0.1:0?style={style}"));
        let mut client = Client::of(&server);
        let (mut asked, mut answered) = (String::new(), String::new());
        for (line, reply) in conversation {
            asked += &format!("{line}\r\n");
            answered += &format!("{reply}\n");
        }
        for piece in asked.as_bytes().chunks(split.min(asked.len())) {
            client.send(piece);
        }
        client.expect(answered);
        client.send("QUIT\n");
        client.expect_end();
    }
}

#[test]
fn terse() {
    let long = format!("PUT {} v", "k".repeat(257));
    converse(
        "terse",
        &[
            ("PUT foo bar 60", "OK stored"),
            ("GET foo", "OK bar"),
            ("EXISTS foo", "OK 1"),
            ("DELETE foo", "OK deleted"),
            ("GET foo", "ERROR key not found"),
            ("", "ERROR empty command"),
            ("PUT onlykey", "ERROR wrong number of arguments for 'put' command"),
            ("PUT a \"quoted\"", "OK stored"),
            ("GET a", "OK \"quoted\""),
            ("FLUSH", "OK 1"),
        ],
    );
    // Words that were meant to be one.
    let quotes = "quotes are not accepted: this style splits at blanks, and";
    let blanks = "blanks are not accepted in a value: this style splits at them, and";
    let word = "is a word with a quote in it";
    converse(
        "terse",
        &[
            ("SET k \"hello world\"", &format!("ERROR {quotes} \"hello {word}")),
            ("PUT k 'hello big world'", &format!("ERROR {quotes} 'hello {word}")),
            ("EXPIRE k \"10\"", &format!("ERROR {quotes} \"10\" {word}")),
            ("GET \"a b\"", &format!("ERROR {quotes} \"a {word}")),
            ("SET k hello world", &format!("ERROR {blanks} world is a word of its own")),
            ("PUT k hello world", &format!("ERROR {blanks} world is a word of its own")),
            ("PUT k hello big world", &format!("ERROR {blanks} big is a word of its own")),
            (
                "APPEND k hello world",
                "ERROR wrong number of arguments for 'append' command: \
                 blanks are not accepted in a word, and quotes do not change that",
            ),
            // These are wrong for another reason.
            ("SET k v EX", "ERROR syntax error"),
            ("SET k v NX XX", "ERROR syntax error"),
            ("PUT k v -1", "ERROR ttl must be an integer from 0 to 2147483647 seconds"),
            ("EXPIRE k x", "ERROR value is not an integer or out of range"),
            ("APPEND k", "ERROR wrong number of arguments for 'append' command"),
        ],
    );
    converse("plain", &[("SET k \"hello world\"", "OK"), ("SET k hello world", "ERR syntax error")]);
    let db = Db::in_memory();
    let server = serve_at(&db, "line://127.0.0.1:0");
    let mut client = Client::of(&server);
    for line in ["PUT k v -1", "PUT k v abc", &long, "nope"] {
        client.send(format!("{line}\n"));
        let reply = client.line();
        assert!(reply.starts_with("ERROR "), "{line}: {reply}");
    }
    client.ask("PING", "OK PONG\n");
}

#[test]
fn help_is_one_line_in_every_style() {
    for (style, ok, error) in [("terse", "OK ", "ERROR "), ("plain", "", "ERR "), ("verbose", "", "ERR ")] {
        converse(
            style,
            &[
                ("HELP ttl", &format!("{ok}{}", explained(&["ttl"]))),
                ("help client setname", &format!("{ok}{}", explained(&["client", "setname"]))),
                ("HELP NOSUCH", &format!("{error}unknown command 'NOSUCH'; HELP lists the commands")),
                ("HELP client nosuch", &format!("{error}unknown subcommand 'nosuch'; HELP lists the commands")),
                (
                    "HELP lpush",
                    &format!(
                        "{error}'lpush' is not supported: \
                         this server keeps strings, on one node, and runs no scripts"
                    ),
                ),
                ("HELP a b c", &format!("{error}unknown command 'a'; HELP lists the commands")),
            ],
        );
        let db = Db::in_memory();
        let server = serve_at(&db, &format!("line://127.0.0.1:0?style={style}"));
        let mut client = Client::of(&server);
        client.send("HELP\n");
        let list = client.line();
        let between = if style == "terse" { " " } else { ", " };
        let names: Vec<&str> = list[ok.len()..].trim_end().split(between).collect();
        let commands = kvproto::spec::COMMANDS.iter().filter(|spec| !spec.unsupported);
        assert!(names.iter().copied().eq(commands.map(|spec| spec.name.to_ascii_uppercase())), "{list}");
        client.ask("PING", format!("{ok}PONG\n"));
    }
}

/// How a command is typed, and what it does.
fn explained(words: &[&str]) -> String {
    let spec =
        kvproto::spec::resolve(kvproto::OwnedRequest::from_words(words.iter().chain(&["x"])).as_request()).unwrap();
    format!("{}: {}", spec.usage(), spec.summary)
}

#[test]
fn verbose() {
    converse(
        "verbose",
        &[
            ("PING", "PONG"),
            ("SET user:42 Brian", "Added key 'user:42' with value 'Brian'"),
            ("GET user:42", "Brian"),
            ("PRINT", "user:42"),
            ("REMOVE user:42", "Removed key 'user:42'."),
            ("GET", "ERR wrong number of arguments for 'get' command"),
            ("GET user:42", "ERR key 'user:42' not found"),
            ("PRINT", "Store is empty."),
        ],
    );
}

#[test]
fn plain() {
    converse(
        "plain",
        &[
            ("SET key \"two words\"", "OK"),
            ("GET key", "two words"),
            ("GET none", "(nil)"),
            ("MSET a 1 b 2", "OK"),
            ("MGET a none b", "1, (nil), 2"),
            ("DEL key none", "1"),
            ("SUBSCRIBE news", "subscribe, news, 1"),
        ],
    );
}

#[test]
fn the_rest_of_an_overlong_line_is_dropped_whole_and_only_there() {
    let db = Db::in_memory();
    let limits = kvproto::Limits { line_bytes_max: 100_000, ..kvproto::Limits::default() };
    let url = "line://127.0.0.1:0?style=plain".parse().unwrap();
    let server = kvserver::Server::builder().store(db).listen(url).loops(1).limits(limits).start().unwrap();
    let mut client = Client::of(&server);
    client.send(vec![b'x'; 300_000]);
    assert!(client.line().starts_with("ERR "));
    Client::of(&server).ask("PING", "PONG\n");
    client.send("still the same line\nPING\n");
    client.expect("PONG\n");
}

#[test]
fn a_refused_client_is_told_so_in_the_style_of_the_listener() {
    for (style, told) in
        [("terse", "ERROR max number of clients reached\n"), ("plain", "ERR max number of clients reached\n")]
    {
        let db = Db::in_memory();
        let url = format!("line://127.0.0.1:0?style={style}").parse().unwrap();
        let server = kvserver::Server::builder().store(db).listen(url).max_clients(1).start().unwrap();
        let mut first = Client::of(&server);
        first.ask("GET a-key", if style == "terse" { "ERROR key not found\n" } else { "(nil)\n" });
        let mut second = Client::of(&server);
        second.expect(told);
        second.expect_end();
    }
}
