//! What a person sees while a line is typed at the prompt of `kvclient`: completions, hints, suggestions and colours, on a
//! screen of a given size; and that what is called wrong is what servers refuse.
//!
//! Invariant: the checker is compared with the servers' own replies, and the screen is what a terminal shows.

#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;

use kvclient::{Connection, Options, Reply};
use kvproto::quote::{HighBytes, write_quoted};
use kvtests::process::{Launch, ServerProcess, Signal};
use kvtests::program::has_terminal;
use kvtests::reference::Reference;
use kvtests::screen::{Screen, color};
use kvtests::server_program;
use kvtests::streams::{self, Dice, Words};
use kvtests::wait;
use program::syntax::check::{Part, check};
use program::syntax::line::{Quoting, split};
use program::syntax::{Arg, Catalog, Command, Kind, TABLE};
use tempfile::TempDir;

/// The module of the program itself: it is no part of the library.
#[path = "../../kvclient/src"]
mod program {
    #[allow(dead_code)]
    pub mod syntax;
}

const CLIENT: &str = env!("CARGO_BIN_EXE_kvclient_under_test");
const WIDE: (u16, u16) = (80, 24);
const NARROW: (u16, u16) = (40, 12);
const END: &str = "\x05";
const CLEAR: &str = "\x15";

/// A server with a few keys, and the client's prompt on a screen.
struct Stage {
    _dir: TempDir,
    server: ServerProcess,
    screen: Screen,
    prompt: String,
}

impl Stage {
    /// `None` without a terminal. `history` are lines typed on earlier days.
    #[track_caller]
    fn new(size: (u16, u16), variables: &str, history: &str) -> Option<Stage> {
        if !has_terminal() {
            return None;
        }
        let dir = TempDir::new().expect("a temporary directory");
        let server = Launch::new(server_program!(), dir.path()).resp().start();
        let mut admin = server.connect();
        let words = ["MSET", "user:1000", "a", "user:1001", "b", "two words", "c"];
        assert_eq!(admin.try_command(&words).expect("a reply"), b"+OK\r\n");
        let file = dir.path().join("history");
        if !history.is_empty() {
            fs::write(&file, format!("#V2\n{history}\n")).expect("a history");
        }
        let prompt = format!("{}> ", server.address(0));
        let screen = Screen::start(CLIENT, &format!("-u redis://{}", server.address(0)), &file, size, variables);
        screen.shows(&prompt, "");
        Some(Stage { _dir: dir, server, screen, prompt })
    }

    /// Types `keys` on an empty line and waits until the line is `expected`.
    #[track_caller]
    fn types(&mut self, keys: &str, expected: &str) {
        self.screen.press(&format!("{CLEAR}{keys}"));
        self.screen.shows(&self.prompt, expected);
    }
}

impl Stage {
    /// Types `keys` and Tab on an empty line until the line is `expected`: the prompt does not wait for a slow server, so what
    /// that says may be there for the next Tab only.
    #[track_caller]
    fn completes(&mut self, keys: &str, expected: &str) {
        wait::until_true(&format!("{keys:?} to become {expected:?}"), || {
            self.tab(keys, expected);
            self.screen.is(&self.prompt, expected)
        });
    }

    /// Types `keys` and Tab on an empty line, and waits until that was done: the line is `expected`, or the bell has rung.
    #[track_caller]
    fn tab(&mut self, keys: &str, expected: &str) {
        let bells = self.screen.bells();
        self.screen.press(&format!("{CLEAR}{keys}\t"));
        wait::until_true("a completion, or the bell", || {
            self.screen.is(&self.prompt, expected) || self.screen.bells() > bells
        });
    }

    /// Types `keys` and Tab, which has nothing to complete.
    #[track_caller]
    fn does_not_complete(&mut self, keys: &str) {
        let bells = self.screen.bells();
        self.screen.press(&format!("{CLEAR}{keys}\t"));
        self.screen.until("the bell", |_| self.screen.bells() > bells);
        self.screen.shows(&self.prompt, keys);
    }
}

#[test]
fn tab_completes_commands_options_settings_and_keys() {
    let Some(mut stage) = Stage::new(WIDE, "", "") else { return };
    stage.completes("pers", "persist key");
    stage.completes("CLIENT TRACKINGI", "CLIENT TRACKINGINFO");
    stage.completes("SET k v KE", "SET k v KEEPTTL [NX|XX|IFEQ ifeq-value|IFNE...");
    stage.completes("config get maxmemory-p", "config get maxmemory-policy [parameter ...]");
    stage.completes("GET user:", "GET user:100");
    stage
        .screen
        .until("the keys", |rows| rows.iter().any(|row| row.starts_with("user:1000") && row.contains("user:1001")));
    // A key that needs quotes gets them, and is found by them.
    stage.completes("GET two", "GET \"two words\"");
    stage.screen.press("\r");
    stage.screen.until("the value", |rows| rows.iter().any(|row| row == "\"c\""));
    // Where no key stands, none is offered; nor when the user does not want it.
    stage.does_not_complete("ECHO user:");
    stage.types(":keys off\r", "");
    stage.does_not_complete("GET user:");
    stage.completes(":js", ":json on|off");
    // What may follow is listed, without what was given and what that excludes.
    stage.tab("SET k v NX ", "");
    stage.screen.until("the options and what they mean", |rows| {
        let options = ["EX ", "EXAT ", "GET ", "KEEPTTL ", "PX ", "PXAT "];
        options.iter().all(|option| rows.iter().any(|row| row.starts_with(option)))
            && !rows.iter().any(|row| row.starts_with("XX ") || row.starts_with("NX "))
            && rows.iter().any(|row| row == "EX       lives for so many seconds")
    });
}

#[test]
fn a_server_that_stands_still_does_not_hold_up_the_prompt() {
    let Some(mut stage) = Stage::new(WIDE, "", "") else { return };
    stage.server.signal(Signal::STOP);
    stage.does_not_complete("GET user:");
    stage.types("NOPE k", "NOPE k");
    stage.types("GET", "GET key");
    // What could not be fetched is fetched when the server goes on.
    stage.server.signal(Signal::CONT);
    stage.completes("GET user:", "GET user:100");
}

#[test]
fn the_newest_line_of_the_history_is_suggested_in_grey() {
    let Some(mut stage) = Stage::new(WIDE, "", "GET first\nGET user:1000\nSET k v") else { return };
    stage.types("GE", "GET user:1000");
    assert_eq!(stage.screen.color_of("T user:1000"), color::GREY);
    stage.screen.press(END);
    stage.screen.shows(&stage.prompt, "GET user:1000");
    stage.screen.press("\r");
    stage.screen.until("the value", |rows| rows.iter().any(|row| row == "\"a\""));
    stage.types("GET f", "GET first");
    stage.screen.press("\x1b[C\r");
    stage.screen.until("the reply", |rows| rows.iter().any(|row| row == "(nil)"));
    // What was not accepted is not sent, and leaves the screen.
    stage.types("GET fi\r", "");
    stage.screen.until("the line", |rows| rows.iter().any(|row| *row == format!("{}GET fi", stage.prompt)));
    // A password is no part of the history.
    stage.types("AUTH default secret\r", "");
    stage.types("AUTH de", "AUTH de password");
}

#[test]
fn what_the_server_refuses_is_red_before_it_is_sent() {
    let Some(mut stage) = Stage::new(WIDE, "", "") else { return };
    stage.types("SET k v EX 10", "SET k v EX 10 [NX|XX|IFEQ ifeq-value|IFNE...");
    let color_of = |stage: &Stage, text: &str| stage.screen.color_of(text);
    assert_eq!(color_of(&stage, "SET k"), color::CYAN);
    assert_eq!(color_of(&stage, "k v EX"), color::BLUE);
    assert_eq!(color_of(&stage, "EX 10"), color::MAGENTA);
    // The server has to say which commands it has.
    wait::until_true("the reason why NOPE is wrong", || {
        stage.types("", "");
        stage.screen.press("NOPE k");
        stage.screen.until("the line", |rows| rows.last().is_some_and(|row| row.contains("NOPE k")));
        stage.screen.is(&stage.prompt, "NOPE k  <- no such command")
    });
    for (line, word, reason) in [
        ("SET k v FOO", "FOO", "no such option"),
        ("SET k v EX ten", "ten", "not an integer"),
        ("SET k v NX XX", "XX", "excludes NX"),
        ("GET k more", "more", "takes one argument"),
        ("NOPE k", "NOPE", "no such command"),
        ("CLIENT NOPE x", "NOPE", "no such subcommand"),
        ("LPUSH k v", "LPUSH", "this server does not execute it"),
        ("GET 'a'b", "'a'b", "a blank has to follow the quote"),
        (":nope x", ":nope", "no such directive, see :help"),
    ] {
        stage.types(line, &format!("{line}  <- {reason}"));
        assert_eq!(color_of(&stage, word), color::RED, "{line}");
        assert_eq!(color_of(&stage, "<- "), color::RED, "{line}");
    }
    // What may still become right is not wrong.
    for line in ["SET k v KEEP", "INCRBY n -", "GE", "CLIENT TRACKING", "5 INCR n", "GET k | wc -c"] {
        stage.types("", "");
        stage.screen.press(line);
        stage.screen.until(line, |rows| rows.last().is_some_and(|row| row.contains(line)));
        let last = line.rsplit(' ').next().unwrap_or(line);
        assert_ne!(color_of(&stage, last), color::RED, "{line}");
    }
}

#[test]
fn a_command_that_only_kv_has_is_red_at_once_at_another_server() {
    if !has_terminal() {
        return;
    }
    let Some(reference) = Reference::start(&[]) else {
        println!("skipped: redis-server 7.0 is not here");
        return;
    };
    let dir = TempDir::new().expect("a temporary directory");
    let words = format!("-u redis://{}", reference.address());
    let mut screen = Screen::start(CLIENT, &words, &dir.path().join("history"), WIDE, "");
    let prompt = format!("{}> ", reference.address());
    screen.shows(&prompt, "");
    wait::until_true("the reason why PUT is wrong", || {
        screen.press(CLEAR);
        screen.shows(&prompt, "");
        screen.press("PUT a b");
        screen.until("the line", |rows| rows.last().is_some_and(|row| row.contains("PUT a b")));
        screen.is(&prompt, "PUT a b  <- no such command")
    });
    assert_eq!(screen.color_of("PUT"), color::RED);
    // So are other names, of commands that every server has.
    for name in ["remove", "DELETE"] {
        screen.press(CLEAR);
        screen.shows(&prompt, "");
        screen.press(&format!("{name} a"));
        screen.shows(&prompt, &format!("{name} a  <- no such command"));
        assert_eq!(screen.color_of(name), color::RED);
    }
}

#[test]
fn a_hint_stays_in_its_row() {
    for (size, hint) in [(WIDE, true), (NARROW, true)] {
        let Some(mut stage) = Stage::new(size, "", "") else { return };
        let columns = usize::from(size.0);
        stage.screen.press("SET k v ");
        stage.screen.until("a hint", |rows| {
            rows.len() == 1 && rows[0].ends_with("...") == hint && rows[0].chars().count() < columns
        });
        assert_eq!(stage.screen.cursor_row(), 0);
        // Wide letters take two columns.
        stage.screen.press(&format!("{CLEAR}SET 寿司 寿司 "));
        stage.screen.until("a hint behind wide letters", |rows| rows.len() == 1 && rows[0].ends_with("..."));
        assert_eq!(stage.screen.cursor_row(), 0);
        // A line that takes more than one row.
        let long = "x".repeat(columns);
        stage.screen.press(&format!("{CLEAR}SET {long} "));
        stage.screen.until("a hint in the second row", |rows| rows.len() == 2);
        assert_eq!(stage.screen.cursor_row(), 1);
    }
}

#[test]
fn without_colours_nothing_is_coloured_and_nothing_suggested() {
    let Some(mut stage) = Stage::new(WIDE, "NO_COLOR=1", "GET user:1000") else { return };
    stage.types("GET", "GET key");
    assert_eq!(stage.screen.color_of("GET"), color::PLAIN);
    stage.types("SET k v FOO", "SET k v FOO  <- no such option");
    assert_eq!(stage.screen.color_of("FOO"), color::PLAIN);
    stage.types("GET user:1000\r", "");
    stage.screen.until("the value", |rows| rows.iter().any(|row| row == "\"a\""));
    drop(stage.server);
}

#[test]
fn help_is_broken_at_the_width_of_the_terminal() {
    let Some(mut stage) = Stage::new(NARROW, "KVCLIENT_PAGER=cat PAGER=cat", "") else { return };
    stage.types("HELP STRLEN\r", "");
    stage.screen.until("the example", |rows| rows.iter().any(|row| row.contains("example: STRLEN greeting")));
    assert!(stage.screen.rows().iter().all(|row| row.chars().count() < 40));
}

/// Commands that end the server or the conversation, wait, or change how others are replied to.
const SKIPPED: &[&str] = &[
    "shutdown",
    "quit",
    "monitor",
    "subscribe",
    "psubscribe",
    "ssubscribe",
    "unsubscribe",
    "punsubscribe",
    "sunsubscribe",
    "reset",
    "debug",
    "auth",
    "hello",
    "save",
    "bgsave",
    "bgrewriteaof",
    "wait",
    "waitaof",
    "sync",
    "psync",
    "replicaof",
    "slaveof",
    "failover",
    "multi",
    "exec",
    "discard",
    "select",
    "backup",
    "acl",
    "pfselftest",
    "help",
    "config",
    "latency",
    "module",
    "role",
    "hotkeys",
    "swapdb",
    "move",
];
const SKIPPED_SUBCOMMANDS: &[&str] = &[
    "CLIENT REPLY",
    "CLIENT KILL",
    "CLIENT PAUSE",
    "CLIENT UNPAUSE",
    "CLIENT TRACKING",
    "CLIENT CACHING",
    "SCRIPT KILL",
    "FUNCTION KILL",
];

/// How many lines are made of each command.
const LINES: usize = 40;
const STREAM_LINES: usize = 2_000;
const SEED: u64 = 13;
/// So many lines are shown that are called wrong and are not.
const WRONG_MAX: usize = 20;

/// Words that fit nowhere, or nearly do.
const ODD: &[&str] =
    &["xyz", "007", "+5", "-0", "1.5", "9223372036854775808", "-1", "0", "", "NX", "1e3", "0x10", " 1", "GET", "EX"];

/// Appends words for an argument: most often such as it takes.
fn fill(arg: &Arg, dice: &mut Dice, words: &mut Words) {
    let mut times = 1;
    if arg.optional {
        times = dice.below(2);
    }
    if arg.multiple {
        times += dice.below(3).min(times);
    }
    for time in 0..times {
        if let Some(token) = arg.token.as_ref().filter(|_| time == 0 || arg.multiple_token) {
            words.push(token.as_bytes().to_vec());
        }
        match &arg.kind {
            Kind::Token => {}
            Kind::OneOf(members) => {
                let at = usize::try_from(dice.below(members.len() as u64)).expect("an index");
                fill(&Arg { optional: false, ..members[at].clone() }, dice, words);
            }
            Kind::Block(members) => members.iter().for_each(|member| fill(member, dice, words)),
            Kind::Integer | Kind::Cursor => words.push(dice.pick(&["1", "2", "10", "0"]).as_bytes().to_vec()),
            Kind::Double => words.push(dice.pick(&["1", "0.5", "-3"]).as_bytes().to_vec()),
            Kind::Key => words.push(dice.pick(&["k1", "k2", "two words"]).as_bytes().to_vec()),
            Kind::String => words.push(dice.pick(&["v", "1", "string", "u8", "it's"]).as_bytes().to_vec()),
        }
    }
}

/// Lines of all commands that are not skipped, good and bad.
fn generated(dice: &mut Dice) -> Vec<Words> {
    let mut lines = Vec::new();
    let commands = TABLE.iter().flat_map(|command| [command].into_iter().chain(&command.subcommands));
    let is_used = |command: &&Command| {
        let top = command.title.split(' ').next().unwrap_or_default().to_ascii_lowercase();
        !SKIPPED.contains(&top.as_str()) && !SKIPPED_SUBCOMMANDS.contains(&command.title.as_str())
    };
    for command in commands.filter(is_used) {
        let count = if command.is_executed { LINES } else { 3 };
        for _ in 0..count {
            let mut words: Words = command.title.split(' ').map(|word| word.as_bytes().to_vec()).collect();
            let named = words.len();
            let (fixed, mut options): (Vec<&Arg>, Vec<&Arg>) = command.args.iter().partition(|arg| !arg.optional);
            fixed.iter().for_each(|arg| fill(arg, dice, &mut words));
            // Options in any order, and now and then twice.
            for _ in 0..dice.below(4) {
                if options.is_empty() {
                    break;
                }
                let at = usize::try_from(dice.below(options.len() as u64)).expect("an index");
                fill(&Arg { optional: false, ..options[at].clone() }, dice, &mut words);
                if !dice.once_in(4) {
                    options.remove(at);
                }
            }
            let at =
                |dice: &mut Dice, words: &Words| usize::try_from(dice.below(words.len() as u64)).expect("an index");
            match dice.below(8) {
                0 if words.len() > named => {
                    let at = at(dice, &words).max(named);
                    words[at] = dice.pick(ODD).as_bytes().to_vec();
                }
                1 => words.push(dice.pick(ODD).as_bytes().to_vec()),
                2 if words.len() > named => {
                    let at = at(dice, &words).max(named);
                    words.remove(at);
                }
                3 if words.len() > named + 1 => {
                    let (one, other) = (at(dice, &words).max(named), at(dice, &words).max(named));
                    words.swap(one, other);
                }
                4 => words[0].push(b'x'),
                _ => {}
            }
            lines.push(words);
        }
    }
    lines
}

/// Whether an error says that the words make no sense to the command, whatever the server holds.
fn is_of_syntax(error: &str) -> bool {
    [
        "syntax",
        "Unsupported option",
        "only support",
        "unknown type name",
        "No such user",
        "wrong number of arguments",
        "not an integer",
        "not a valid float",
        "unknown command",
        "nknown subcommand",
        "out of range",
        "invalid",
        "Invalid",
        "must be",
        "Unrecognized",
        "nrecognized",
        "not executed",
        "does not support",
        "not supported",
        "cannot be",
        "can't be",
        "not allowed",
        "incompatible",
        "not compatible",
        "should be",
        "negative",
        "unsupported",
        "Unknown",
        "This instance has cluster support disabled",
        "only one",
        "No such client",
        "not valid",
        "not float",
        "does not execute",
        "not implemented",
        "protocol",
    ]
    .iter()
    .any(|part| error.contains(part))
}

/// Whether a line that was taken is refused where its keys have values: some commands do not look at the rest of the line if
/// there is nothing at the key.
fn is_refused_of_a_value(connection: &mut Connection, words: &Words) -> bool {
    for key in &words[1..] {
        connection.command([b"SET", key.as_slice(), b"10"]).expect("a key with a value");
    }
    matches!(connection.command(words), Err(kvclient::Error::Reply(text)) if is_of_syntax(&text))
}

/// Compares the checker with what the server at `address` replies to every line.
fn compare_with(address: SocketAddr, what: &str) {
    let mut connection =
        Connection::connect_with(&format!("redis://{address}").parse().expect("an address"), Options::default())
            .expect("a connection");
    let list = connection.command(["COMMAND"]).expect("the list of commands");
    let docs = connection.command(["COMMAND", "DOCS"]).unwrap_or_default();
    let server = program::syntax::server::commands(&list, &docs);
    assert!(server.len() > 100, "{what}: {}", server.len());
    let described = Catalog { server: Some(Arc::new(server)), is_own: false };
    let mut dice = Dice::new(SEED);
    let mut lines = generated(&mut dice);
    let is_skipped = |words: &Words| {
        let name = String::from_utf8_lossy(&words[0]).to_ascii_lowercase();
        SKIPPED.contains(&name.as_str()) || name == "client" || name == "watch"
    };
    lines.extend((0..STREAM_LINES).map(|_| streams::command(&mut dice)).filter(|words| !is_skipped(words)));
    let (mut red, mut refused, mut wrong, mut seen) = (0, 0, Vec::new(), HashSet::new());
    for (at, words) in lines.iter().enumerate() {
        if at % 50 == 0 {
            connection.command(["FLUSHALL"]).expect("an empty server");
        }
        let reply = match connection.command(words) {
            Ok(reply) => reply,
            Err(kvclient::Error::Reply(text)) => Reply::error(text),
            Err(error) => panic!("{what}: {words:?}: {error}"),
        };
        let mut typed = Vec::new();
        for word in words {
            write_quoted(word, HighBytes::Escape, &mut typed);
            typed.push(b' ');
        }
        let typed = String::from_utf8(typed).expect("escaped bytes");
        let line = split(&typed, Quoting::Quoted).remove(0);
        assert_eq!(line.words.iter().map(|word| &word.bytes).collect::<Vec<_>>(), words.iter().collect::<Vec<_>>());
        let error = match &reply {
            Reply::Error(text) => Some(text.to_string()),
            _ => None,
        };
        refused += usize::from(error.as_ref().is_some_and(|error| is_of_syntax(error)));
        for catalog in [&described, &Catalog::default()] {
            let checked = check(&line, catalog, false);
            let is_red = checked.parts.contains(&Part::Wrong);
            assert_eq!(is_red, checked.fault.is_some(), "{typed}");
            red += usize::from(is_red && catalog.server.is_some());
            let is_good = match &error {
                _ if !is_red => true,
                Some(error) => is_of_syntax(error),
                None => is_refused_of_a_value(&mut connection, words),
            };
            // One of each command.
            if !is_good && wrong.len() < WRONG_MAX && seen.insert(words[..words.len().min(2)].to_vec()) {
                let reason = checked.fault.map(|fault| format!("word {}: {}", fault.word, fault.reason));
                wrong.push(format!("{typed}\n   {reason:?} but the server: {reply:?}"));
            }
        }
    }
    println!("{what}: {} lines, {red} red, {refused} refused", lines.len());
    assert!(wrong.is_empty(), "{what}: called wrong, and taken:\n{}", wrong.join("\n"));
    // Most of what is refused for its words is seen; the rest depends on values.
    assert!(red * 2 > refused, "{what}: only {red} of {refused} lines that are refused are red");
}

#[test]
fn what_is_red_the_server_refuses() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = Launch::new(server_program!(), dir.path()).resp().durability("os").start();
    compare_with(server.address(0), "kv");
}

#[test]
fn what_is_red_redis_refuses() {
    let Some(redis) = Reference::start(&[]) else {
        println!("skipped: no redis-server of version 7.0 in PATH");
        return;
    };
    compare_with(redis.address(), "redis");
}
