//! A session at the prompt of `kvclient` on a pseudo-terminal: pipes and files, values as text, the pager, directives, peek,
//! watch, streams, questions, and Ctrl-C.
//!
//! Invariant: the session outlives everything but leaving it. Without util-linux's `script`, which makes the
//! pseudo-terminal, the tests say so and pass.

#![forbid(unsafe_code)]

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use kvtests::process::{Launch, ServerProcess, Signal};
use kvtests::program::{Program, has_terminal, on_screen, on_terminal, prompt};
use kvtests::reference::Reference;
use kvtests::screen::Screen;
use kvtests::wire::{Wire, bulk, request};
use kvtests::{server_program, wait};
use tempfile::TempDir;

const CLIENT: &str = env!("CARGO_BIN_EXE_kvclient_under_test");
const CTRL_C: &str = "\x03";

/// A server, and a client at its prompt.
struct Stage {
    dir: TempDir,
    server: ServerProcess,
    client: Program,
    address: SocketAddr,
}

impl Stage {
    /// `None` without a terminal.
    fn new() -> Option<Stage> {
        Stage::with(&[])
    }

    fn with(arguments: &[&str]) -> Option<Stage> {
        if !has_terminal() {
            return None;
        }
        let dir = TempDir::new().expect("a temporary directory");
        let launch = Launch::new(server_program!(), dir.path()).resp().line("terse");
        let server = launch.arguments(arguments.iter().copied()).start();
        let address = server.address(0);
        let client = prompt(CLIENT, address, &dir.path().join("history"));
        Some(Stage { dir, server, client, address })
    }

    /// A file beside the server's.
    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The history's file.
    fn kept(&self) -> String {
        fs::read_to_string(self.file("history")).expect("the history")
    }

    /// Types a line, and waits for a text and the prompt behind it.
    #[track_caller]
    fn types(&mut self, line: &str, reply: &str) {
        self.client.say(format!("{line}\r"));
        self.client.hear(reply);
        self.prompts("");
    }

    /// Types a line and waits for a text.
    #[track_caller]
    fn begins(&mut self, line: &str, reply: &str) {
        self.client.say(format!("{line}\r"));
        self.client.hear(reply);
    }

    /// Waits for the prompt; `state` is what stands behind the address.
    #[track_caller]
    fn prompts(&mut self, state: &str) {
        self.client.hear(&format!("{}{state}> ", self.address));
    }

    /// Sends a request of its own, as an administrator may.
    #[track_caller]
    fn admin(&self, words: &str, reply: &str) {
        Wire::connect(self.address).ask(words, reply);
    }

    /// Stops the server and starts it again at the same address.
    #[track_caller]
    fn restarts(&mut self) {
        assert!(self.server.terminate().success());
        self.starts_again();
    }

    #[track_caller]
    fn starts_again(&mut self) {
        let launch = Launch::new(server_program!(), self.dir.path()).listener(&format!("resp://{}", self.address));
        self.server = launch.start();
    }
}

#[test]
fn a_first_session() {
    let Some(mut stage) = Stage::new() else { return };
    stage.types("SET greeting 'hello world'", "\nOK\r\n");
    stage.types("GET greeting", "\n\"hello world\"\r\n");
    stage.types("INCR greeting", "\n(error) ERR value is not an integer or out of range\r\n");
    stage.types("3 INCR visits", "\n(integer) 1\r\n(integer) 2\r\n(integer) 3\r\n");
    stage.types(":help", "  :connect URL ");
    stage.types(":nope", "No directive is named :nope. There are :clear :confirm :connect ");
    stage.types(":history 2", " :nope\r\n");
    stage.begins(":quit", "Goodbye.");
    assert_eq!(stage.client.end().code(), Some(0));
    // No directive was ever sent.
    let errors = stage.server.connect().text("INFO errorstats");
    assert!(errors.contains("errorstat_ERR:count=1"), "{errors}");
}

#[test]
fn values_are_shown_as_a_person_reads_them() {
    let Some(mut stage) = Stage::new() else { return };
    let mut admin = stage.server.connect();
    let mut set = |value: &[u8]| {
        admin.send(request(&[b"SET".as_slice(), b"k", value]));
        admin.expect("+OK\r\n");
    };
    // The test sees each byte beyond ASCII as a question mark; escaped it would be four characters.
    set("Gr\u{fc}n".as_bytes());
    stage.types("GET k", "\n\"Gr??n\"\r\n");
    set("\x1b[2Ja\u{9b}b\u{202e}c\n".as_bytes());
    stage.types("GET k", "\n\"\\x1b[2Ja\\xc2\\x9bb\\xe2\\x80\\xaec\\n\"\r\n");
    stage.types(":format json", "\n:format json\r\n");
    stage.types("GET k", "\n\"\\u001b[2Ja\\u009bb\\u202ec\\n\"\r\n");
    stage.types(":format default", "\n:format pretty\r\n");
    set(&[0xff, 0, b'a']);
    stage.types("GET k", "\n\"\\xff\\x00a\"\r\n");
    set(&(0..=255).cycle().skip(0x30).take(600).collect::<Vec<u8>>());
    stage.begins("GET k", "\n00000000  30 31 32 33 34 35 36 37  38 39 3a 3b 3c 3d 3e 3f  |0123456789:;<=>?|\r\n");
    stage.client.hear("\n000000f0  ");
    stage.client.hear("\n... 344 more bytes\r\n");
    stage.prompts("");
    set(br#"{"b":[1.50,"x"],"a":{}}"#);
    stage.types("GET k", r#""{\"b\":[1.50,\"x\"],\"a\":{}}""#);
    let pretty = "\n{\r\n  \"b\": [\r\n    1.50,\r\n    \"x\"\r\n  ],\r\n  \"a\": {}\r\n}\r\n";
    stage.types(":pretty", pretty);
    stage.types(":json on", "\n:json on\r\n");
    stage.types("GET k", pretty);
}

#[test]
fn a_reply_goes_to_a_shell_command_or_a_file_byte_for_byte() {
    let Some(mut stage) = Stage::new() else { return };
    let (to, from) = (stage.file("to"), stage.file("from"));
    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    fs::write(&from, &bytes).expect("a file");
    stage.types(&format!("SET k < {}", from.display()), "\nOK\r\n");
    stage.types("STRLEN k", "\n(integer) 100000\r\n");
    stage.types(&format!("GET k > '{}'", to.display()), "100,000 bytes written to ");
    assert!(fs::read(&to).expect("the file") == bytes);
    stage.types("SET k 'a b'", "\nOK\r\n");
    stage.types(&format!("GET k > {}", to.display()), "3 bytes written");
    stage.types(&format!("GET k >> {}", to.display()), "3 bytes written");
    assert_eq!(fs::read_to_string(&to).expect("the file"), "a ba b");
    stage.types("GET k | tr ab xy | sed s/'y'/\"z\"/", "\nx z");
    stage.types("MGET k k | wc -l", "\n2\r\n");
    // A list is a list to other programs as well.
    stage.types(":format json", "\n:format json\r\n");
    stage.types("MGET k nothing | tr , ';'", "\n[\"a b\";null]\r\n");
    stage.types("GET k | cat; echo", "\na b\r\n");
    stage.types(":format default", "\n:format pretty\r\n");
    stage.begins("MULTI", "\nOK\r\n");
    stage.prompts("(TX)");
    stage.begins("GET k | cat", "\nQUEUED\r\nThe shell command was not run.");
    stage.prompts("(TX)");
    stage.types("EXEC | tr ab xy", "\nx y\r\n");
    stage.types("GET k | exit 3", "The shell command ended with exit status 3.");
    // Errors, and no value, stay on the terminal.
    stage.types(&format!("INCR k > {}", to.display()), "(error) ERR value is not an integer");
    stage.client.say(format!("GET nothing | tee {}\r", to.display()));
    stage.client.hear("(nil)\r\nThe shell command was not run.");
    stage.prompts("");
    assert_eq!(fs::read_to_string(&to).expect("the file"), "a ba b");
    let missing = stage.file("missing");
    stage.types(&format!("SET k < {}", missing.display()), "No such file or directory (os error 2); nothing was sent");
    stage.types(&format!("GET k > {}/x", missing.display()), "choose another file");
    stage.types("GET k >", "one file name must stand after >");
    // Only an unquoted word of its own counts.
    stage.types("SET q \"|\"", "\nOK\r\n");
    stage.types("SET r a|b>c", "\nOK\r\n");
    stage.types("MGET q r", "\n1) \"|\"\r\n2) \"a|b>c\"\r\n");
    // In a paste, too.
    stage.client.paste("SET k 1\nGET k | cat\nINCR k");
    stage.client.say("\r");
    stage.client.hear("\nOK\r\n1");
    stage.client.hear(" \r(integer) 2\r\n");
    stage.prompts("");
}

#[test]
fn the_output_of_a_shell_command_stays_on_the_screen() {
    let Some(stage) = Stage::new() else { return };
    stage.admin(&format!("MSET k v wide {} lines a", "x".repeat(60)), "+OK\r\n");
    let words = format!("-u redis://{}", stage.address);
    let mut screen = Screen::start(CLIENT, &words, &stage.file("other"), (60, 20), "NO_COLOR=1");
    let prompt = format!("{}>", stage.address);
    screen.shows(&prompt, "");
    let mut wanted = vec![prompt.clone()];
    for (line, output) in [
        ("GET k | cat", "v".to_owned()),
        ("MGET k | cat", "v".to_owned()),
        ("GET wide | cat", "x".repeat(60)),
        ("GET k | cat; exit 3", "v\nThe shell command ended with exit status 3.".to_owned()),
    ] {
        screen.press(&format!("{line}\r"));
        wanted.pop();
        wanted.push(format!("{prompt} {line}"));
        wanted.extend(output.lines().map(str::to_owned));
        wanted.push(prompt.clone());
        screen.until(line, |rows| rows == wanted);
        // No row is empty.
        assert_eq!(usize::from(screen.cursor_row()), wanted.len() - 1, "{line}");
    }
}

#[test]
fn a_shell_command_is_killed_by_ctrl_c_and_the_session_is_not() {
    let Some(mut stage) = Stage::new() else { return };
    stage.types("SET k v", "\nOK\r\n");
    let id = stage.server.connect().integer("CLIENT ID") - 1;
    stage.client.say("GET k | cat; echo begun; exec sleep 1000\r");
    stage.client.hear("vbegun\r\n");
    stage.client.say(CTRL_C);
    stage.client.hear("The shell command was ended: signal: 2");
    stage.prompts("");
    stage.types("CLIENT ID", &format!("\n(integer) {id}\r\n"));
    // So does what is repeated, without end.
    let mut admin = stage.server.connect();
    stage.client.say("1000000000 INCR n\r");
    wait::until_true("a command that is repeated", || admin.command("GET n") != b"$-1\r\n");
    stage.client.say(CTRL_C);
    stage.prompts("");
    stage.types("EXISTS n", "\n(integer) 1\r\n");
}

#[test]
fn output_longer_than_the_screen_is_paged() {
    let Some(mut stage) = Stage::new() else { return };
    let words = format!("-u redis://{}", stage.address);
    let mut command = on_screen(CLIENT, &words, &stage.file("history"), 12, 60);
    stage.client = Program::start(command.env("PAGER", "sed 's/^/paged: /'"));
    stage.prompts("");
    stage.types("SET k v", "\nOK\r\n");
    let many = |count: usize| format!("MGET{}", " k".repeat(count));
    stage.types(&many(11), "\n 1) \"v\"\r\n");
    stage.begins(&many(12), "\npaged:  1) \"v\"\r\n");
    stage.types("", "paged: 12) \"v\"\r\n");
    // A line that takes several rows.
    let long = "x".repeat(700);
    stage.admin(&format!("SET k {long}"), "+OK\r\n");
    stage.types("GET k", "\npaged: \"xxx");
    stage.types("DEL k", "\n(integer) 1\r\n");
    stage.types(":pager off", "\n:pager off\r\n");
    stage.types(&many(12), "\n 1) (nil)\r\n");
    // One that reads no further does not end the session; one that cannot be run hides nothing.
    stage.types("SET k v", "\nOK\r\n");
    stage.types(":pager head -n 1", "\n:pager head -n 1\r\n");
    stage.types(&many(500), "\n  1) \"v\"\r\n");
    stage.types(":pager /no/such/pager", "\n:pager /no/such/pager\r\n");
    stage.types(&many(12), "12) \"v\"\r\n");
    assert!(!stage.client.output().contains("500) \"v\""));
}

#[test]
fn errors_are_red_unless_the_user_wants_no_colours() {
    let Some(mut stage) = Stage::new() else { return };
    stage.types("NOPE", "\n(error) ERR unknown command");
    let words = format!("-u redis://{}", stage.address);
    let mut command = on_screen(CLIENT, &words, &stage.file("history"), 24, 80);
    stage.client = Program::start(command.env_remove("NO_COLOR"));
    stage.prompts("");
    stage.types("NOPE", "\x1b[31m(error) ERR unknown command 'NOPE'");
    stage.types("PING", "\nPONG\r\n");
}

#[test]
fn a_paste_of_a_thousand_lines_runs_in_order() {
    let Some(mut stage) = Stage::new() else { return };
    let lines: Vec<String> = (0..1000).map(|at| format!("APPEND pasted {at:03}.")).collect();
    stage.client.paste(&lines.join("\n"));
    stage.client.say("\r");
    stage.client.hear("\n(integer) 4000\r\n");
    stage.prompts("");
    stage.admin("GETRANGE pasted 3988 -1", "$12\r\n997.998.999.\r\n");
}

#[test]
fn a_paste_ends_at_a_server_or_a_database_that_it_cannot_have() {
    let Some(mut stage) = Stage::new() else { return };
    for (line, why) in [
        (":connect 127.0.0.1:1", " stays\r\n"),
        ("connect a b c", "\nType :connect URL"),
        (":connect", "\nType :connect URL"),
        ("connect h 1 | cat", "\nCONNECT is the prompt's own command"),
        ("SELECT 99", "\n(error) ERR DB index is out of range\r\n"),
        ("2 SELECT 99", "\n(error) ERR DB index is out of range\r\n"),
        ("AUTH nobody wrong", "\n(error) WRONGPASS"),
        ("HELLO 9", "\n(error) NOPROTO"),
    ] {
        // The rest was meant for that one. It is kept for editing, and not run.
        stage.client.paste(&format!("{line}\nSET here wrong"));
        stage.begins("", why);
        stage.client.hear("SET here wrong");
        stage.client.say(CTRL_C);
        stage.prompts("");
    }
    stage.types("EXISTS here", "\n(integer) 0\r\n");
}

#[test]
fn a_restart_within_a_transaction_is_said_and_nothing_of_it_is_done() {
    let Some(mut stage) = Stage::new() else { return };
    stage.begins("SELECT 2", "\nOK\r\n");
    stage.prompts("[2]");
    stage.begins("MULTI", "\nOK\r\n");
    stage.prompts("[2](TX)");
    stage.begins("SET a 1", "\nQUEUED\r\n");
    stage.prompts("[2](TX)");
    stage.restarts();
    stage.begins("SET b 2", "Reconnected to ");
    stage.client.hear("The open transaction was lost with the old connection; 'SET' was not sent.");
    stage.prompts("[2]");
    stage.begins("EXISTS a b", "\n(integer) 0\r\n");
    stage.prompts("[2]");
}

#[test]
fn a_login_is_not_kept_in_the_history() {
    let Some(mut stage) = Stage::with(&["--requirepass", "sesame"]) else { return };
    stage.types("GET k", "\n(error) NOAUTH");
    stage.types("AUTH sesame", "\nOK\r\n");
    let address = stage.address;
    stage.types(&format!(":connect redis://:sesame@{address}"), "Connected to ");
    stage.types("DBSIZE", "\n(integer) 0\r\n");
    // A login that fails leaves the connection as it was.
    stage.types(&format!(":connect redis://:wrong@{address}"), "stays");
    stage.types("DBSIZE", "\n(integer) 0\r\n");
    // However it is typed.
    stage.types(&format!("::connect redis://:sesame@{address}"), "Connected to ");
    stage.types(&format!(": \"connect\" redis://:sesame@{address}"), "Connected to ");
    stage.types(&format!("help connect redis://:sesame@{address}"), "\n");
    stage.types("-1 AUTH sesame", "\n(error) ERR unknown command");
    stage.types("GET k > x; AUTH sesame", "one file name must stand after >");
    stage.types("GET k | cat 'x; AUTH sesame", "\n(nil)\r\n");
    stage.types(":history", "  :history\r\n");
    assert!(!stage.kept().contains("sesame") && !stage.kept().contains("wrong"), "{}", stage.kept());
}

#[test]
fn a_stream_leaves_the_connection_as_it_is() {
    let Some(mut stage) = Stage::new() else { return };
    let mut admin = stage.server.connect();
    stage.begins("SELECT 3", "\nOK\r\n");
    stage.prompts("[3]");
    stage.begins("CLIENT SETNAME me", "\nOK\r\n");
    stage.prompts("[3]");
    stage.begins("SET k 1", "\nOK\r\n");
    stage.prompts("[3]");
    stage.begins("WATCH k", "\nOK\r\n");
    stage.prompts("[3]");
    let clients = admin.text("CLIENT LIST");
    let id = clients.lines().find(|line| line.contains(" name=me ")).and_then(|line| line.split(' ').next());
    let id = id.expect("the client").to_owned();
    for (stream, message) in
        [("SUBSCRIBE news", "  \"news\"  \"rain\"\r\n"), ("MONITOR", "\"PUBLISH\" \"news\" \"rain\"\r\n")]
    {
        stage.begins(stream, if stream == "MONITOR" { "\nOK\r\n" } else { "\n3) (integer) 1\r\n" });
        admin.command("PUBLISH news rain");
        stage.client.hear(message);
        stage.client.say(CTRL_C);
        stage.prompts("[3]");
    }
    stage.begins("CLIENT INFO", &format!("\n{id} "));
    stage.client.hear(" name=me ");
    stage.client.hear(" watch=1 ");
    stage.prompts("[3]");
    // The watched key counts still.
    admin.ask("SELECT 3", "+OK\r\n");
    admin.ask("SET k 2", "+OK\r\n");
    stage.begins("MULTI", "\nOK\r\n");
    stage.prompts("[3](TX)");
    stage.begins("GET k", "\nQUEUED\r\n");
    stage.prompts("[3](TX)");
    stage.begins("EXEC", "\n(nil)\r\n");
    stage.prompts("[3]");
    wait::until_true("the end of the streams", || admin.integer("PUBLISH news none") == 0);
}

#[test]
fn a_stream_goes_on_after_the_server_was_restarted() {
    let Some(mut stage) = Stage::new() else { return };
    stage.begins("SUBSCRIBE news", "\n3) (integer) 1\r\n");
    assert!(stage.server.terminate().success());
    stage.client.hear("Connecting again; Ctrl-C ends it.");
    stage.starts_again();
    stage.client.hear("Receiving messages again; those in between were missed.");
    stage.client.hear("\n3) (integer) 1\r\n");
    stage.admin("PUBLISH news rain", ":1\r\n");
    stage.client.hear("  \"news\"  \"rain\"\r\n");
    stage.client.say(CTRL_C);
    stage.prompts("");
    stage.types("PING", "\nPONG\r\n");
}

#[test]
fn a_stream_ends_with_its_terminal() {
    let Some(mut stage) = Stage::new() else { return };
    // Not by the signal: it is ignored, as under nohup.
    let words = format!("-c 'trap \"\" HUP; echo pid $$.; exec \"{CLIENT}\" -u redis://{}'", stage.address);
    let begins = |line: &str, reply: &str| {
        let mut client = Program::start(&mut on_terminal("sh", &words, &stage.file("other")));
        client.hear(&format!("{}> ", stage.address));
        client.say(format!("{line}\r"));
        client.hear(reply);
        let output = client.output();
        let id = output.split_once("pid ").and_then(|(_, rest)| rest.split_once('.'));
        (client, id.expect("the client's id").0.to_owned())
    };
    // A process that nobody has waited for yet has no command line any more.
    let runs = |id: &str| fs::read(format!("/proc/{id}/cmdline")).is_ok_and(|line| !line.is_empty());
    let ends = |client: &Program, id: &str| {
        assert!(runs(id), "{}", client.output());
        client.signal(Signal::KILL);
        wait::until_true("the end of a client without a terminal", || !runs(id));
    };
    let (quiet, id) = begins("SUBSCRIBE news", "(integer) 1\r\n");
    ends(&quiet, &id);
    let mut streams = [begins("SUBSCRIBE news", "(integer) 1\r\n"), begins("watch k", "(no such key)\r\n")];
    assert!(stage.server.terminate().success());
    for (client, id) in &mut streams {
        client.hear("Connecting again");
        ends(client, id);
    }
}

#[test]
fn changes_of_a_key_are_shown_as_they_happen() {
    let Some(mut stage) = Stage::new() else { return };
    let mut admin = stage.server.connect();
    // A user who may not have changes reported.
    admin.ask("ACL SETUSER ann on nopass ~* &* +@all -client", "+OK\r\n");
    stage.types("AUTH ann x", "\nOK\r\n");
    stage.begins("watch k", "Changes of \"k\", by a look every 200 ms");
    stage.client.hear("  is         (no such key)\r\n");
    admin.ask("SET k one", "+OK\r\n");
    stage.client.hear("  new        \"one\"\r\n");
    admin.ask("SET k two EX 1000", "+OK\r\n");
    stage.client.hear("  changed    \"two\"  ttl 16 min ");
    admin.ask("DEL k", ":1\r\n");
    stage.client.hear("  gone       (no such key)\r\n");
    stage.client.say(CTRL_C);
    stage.prompts("");
    stage.types("AUTH default x", "\nOK\r\n");
    stage.begins("watch k", "Changes of \"k\", by client tracking");
    stage.client.hear("  is         (no such key)\r\n");
    let is = stage.client.output().len();
    // Another key, and a key of that name in another database.
    admin.ask("SET k2 other", "+OK\r\n");
    admin.ask("SELECT 7", "+OK\r\n");
    admin.ask("SET k other", "+OK\r\n");
    admin.ask("SELECT 0", "+OK\r\n");
    admin.ask("SET k one", "+OK\r\n");
    stage.client.hear("  new        \"one\"\r\n");
    let shown = stage.client.output().split_off(is);
    // (The look that the other database's change caused may have found this one's.)
    assert!(!["(no such key)", "other"].iter().any(|other| shown.contains(other)), "{shown}");
    admin.ask("SET k one", "+OK\r\n");
    stage.client.hear("  written    \"one\"\r\n");
    admin.ask("FLUSHALL", "+OK\r\n");
    stage.client.hear("  gone       (no such key)\r\n");
    stage.client.say(CTRL_C);
    stage.prompts("");
    admin.ask("CONFIG SET notify-keyspace-events KA", "+OK\r\n");
    stage.begins(":watch k", "Changes of \"k\", by keyspace notifications");
    stage.client.hear("  is         (no such key)\r\n");
    admin.ask("SET k three", "+OK\r\n");
    stage.client.hear("  set        \"three\"\r\n");
    admin.ask("APPEND k !", ":6\r\n");
    stage.client.hear("  append     \"three!\"\r\n");
    stage.client.say(CTRL_C);
    stage.prompts("");
    // In capitals, with several keys, or in a transaction it is the server's.
    stage.types("WATCH k", "\nOK\r\n");
    stage.types("watch k l", "\nOK\r\n");
    stage.client.paste("watch k\nPING");
    stage.client.say("\r");
    stage.client.hear("\nOK\r\nPONG\r\n");
    stage.prompts("");
}

#[test]
fn peek_shows_everything_about_a_key() {
    let Some(mut stage) = Stage::new() else { return };
    stage.types("peek k", "\"k\" does not exist.");
    stage.types("SET k 'some text' EX 1000", "\nOK\r\n");
    stage.begins("peek k", "\nkey        \"k\"\r\ntype       string\r\nttl        16 min ");
    stage.client.hear("\nsize       9 bytes\r\nmemory     ");
    stage.client.hear("\nencoding   embstr\r\n");
    stage.client.hear("\nvalue      \"some text\"\r\n");
    stage.prompts("");
    stage.types("SETRANGE long 1999 x", "\n(integer) 2000\r\n");
    stage.begins(":peek long", "\nttl        none");
    stage.client.hear("\nsize       2,000 bytes\r\n");
    stage.client.hear("... 976 more bytes\r\n");
    stage.prompts("");
    // Between MULTI and EXEC it reads beside the transaction.
    stage.begins("MULTI", "\nOK\r\n");
    stage.prompts("(TX)");
    stage.begins("peek k", "\nvalue      \"some text\"\r\n");
    stage.prompts("(TX)");
    stage.types("EXEC", "\n(empty array)\r\n");
}

#[test]
fn peek_knows_the_types_of_redis() {
    if !has_terminal() {
        return;
    }
    let Some(redis) = Reference::start(&["--maxmemory-policy", "allkeys-lfu"]) else {
        println!("skipped: no redis-server 7.0 here");
        return;
    };
    let dir = TempDir::new().expect("a temporary directory");
    let address = redis.address();
    let mut admin = Wire::connect(address);
    admin.ask("HSET h f v g w", ":2\r\n");
    admin.ask("ZADD z 1.5 a", ":1\r\n");
    admin.ask("SADD s 1", ":1\r\n");
    let list: Vec<String> = (0..25).map(|at| format!("e{at}")).collect();
    admin.ask(&format!("RPUSH l {}", list.join(" ")), ":25\r\n");
    admin.ask("XADD x 1-1 f v", "$3\r\n1-1\r\n");
    let mut client = prompt(CLIENT, address, &dir.path().join("history"));
    for (key, kind, size, value) in [
        ("h", "hash", "2 fields", "\"f\"  \"v\"\r\n           \"g\"  \"w\"\r\n"),
        ("z", "zset", "1 member", "\"a\"  \"1.5\"\r\n"),
        ("s", "set", "1 member", "\"1\"\r\n"),
        ("l", "list", "25 elements", "\"e0\"\r\n           \"e1\"\r\n"),
        ("x", "stream", "1 entry", "\"1-1\"  \"f\" \"v\"\r\n"),
    ] {
        client.say(format!("peek {key}\r"));
        client.hear(&format!("\ntype       {kind}\r\n"));
        client.hear(&format!("\nsize       {size}\r\n"));
        client.hear("\nfrequency  ");
        client.hear(&format!("\nvalue      {value}"));
        client.hear(&format!("{address}> "));
    }
    assert!(client.output().contains("\"e9\"\r\n           ... 15 more elements\r\n"));
}

#[test]
fn what_removes_everything_or_stops_the_server_asks_first() {
    let Some(mut stage) = Stage::new() else { return };
    stage.types("SET k v", "\nOK\r\n");
    stage.begins("FLUSHALL", "FLUSHALL removes all keys of all databases");
    stage.types("n", "'FLUSHALL' was not sent.");
    stage.begins("flushdb", "FLUSHDB removes all keys (1 keys) of database 0");
    stage.types("", "'FLUSHDB' was not sent.");
    stage.begins("SHUTDOWN", "SHUTDOWN stops the server");
    stage.client.say(CTRL_C);
    stage.client.hear("'SHUTDOWN' was not sent.");
    stage.prompts("");
    stage.types("EXISTS k", "\n(integer) 1\r\n");
    // In a paste each asks; a no keeps the lines from there on.
    stage.client.paste("SET a 1\nFLUSHALL\nSET b 2");
    stage.begins("", "Go on? [y/N] ");
    stage.types("no", "'FLUSHALL' was not sent.");
    stage.client.hear("SET b 2");
    stage.client.say(CTRL_C);
    stage.prompts("");
    stage.types("EXISTS a b", "\n(integer) 1\r\n");
    stage.begins("FLUSHALL", "Go on? [y/N] ");
    stage.types("y", "\nOK\r\n");
    stage.types("DBSIZE", "\n(integer) 0\r\n");
    // KEYS of a small database does not ask.
    stage.types("KEYS *", "\n(empty array)\r\n");
    let mut admin = stage.server.connect();
    let words: Vec<String> = (0..10_001).flat_map(|at| [format!("k{at}"), "v".to_owned()]).collect();
    admin.ask(&format!("MSET {}", words.join(" ")), "+OK\r\n");
    stage.begins(
        "KEYS k1234*",
        "KEYS reads all keys (10,001 keys) of database 0; SCAN reads a page at a time. Go on? [y/N] ",
    );
    stage.types("y", "k1234");
    stage.types(":confirm off", "\n:confirm off\r\n");
    stage.types("FLUSHALL", "\nOK\r\n");
    stage.types("DBSIZE", "\n(integer) 0\r\n");
    stage.types(":confirm on", "\n:confirm on\r\n");
    stage.begins("SHUTDOWN NOSAVE", "Go on? [y/N] ");
    stage.begins("y", "not connected> ");
    assert!(stage.server.wait().success());
    // An answer is no line that was typed.
    assert!(!stage.kept().lines().any(|line| matches!(line, "y" | "n" | "no")), "{}", stage.kept());
}

#[test]
fn formats_times_and_other_servers_are_chosen_by_directives() {
    let Some(mut stage) = Stage::new() else { return };
    stage.types("SET k v", "\nOK\r\n");
    stage.types(":format json", "\n:format json\r\n");
    stage.types("MGET k nothing", "\n[\"v\",null]\r\n");
    stage.types(":format csv", "\n:format csv\r\n");
    stage.types("MGET k nothing", "\n\"v\",");
    stage.types(":format raw", "\n:format raw\r\n");
    stage.types("MGET k k", "\nv\r\nv\r\n");
    stage.types(":format nope", "The formats are raw, pretty, json, ");
    stage.types(":format default", "\n:format pretty\r\n");
    stage.types("MGET k nothing", "\n1) \"v\"\r\n2) (nil)\r\n");
    stage.types(":timing on", "\n:timing on\r\n");
    stage.types("GET k", "s)\r\n");
    stage.types(":timing off", "\n:timing off\r\n");
    stage.types("GET k", "\n\"v\"\r\n");
    // A server that is not there: the connection stays.
    let nobody = {
        let probe = TcpListener::bind("127.0.0.1:0").expect("a port");
        probe.local_addr().expect("a port")
    };
    stage.types(&format!(":connect {nobody}"), &format!("the connection to {} stays", stage.address));
    let other = TempDir::new().expect("a temporary directory");
    let other = (Launch::new(server_program!(), other.path()).resp().line("terse").start(), other);
    let first = stage.address;
    stage.begins("MULTI", "\nOK\r\n");
    stage.prompts("(TX)");
    stage.address = other.0.address(0);
    stage.types(&format!("connect 127.0.0.1 {}", stage.address.port()), "The open transaction was dropped.");
    stage.types("GET k", "\n(nil)\r\n");
    // Over the line protocol its own lines are shown.
    stage.address = other.0.address(1);
    stage.types(&format!(":connect line://{}", stage.address), "Connected to ");
    stage.types("PUT k w", "\nOK stored\r\n");
    stage.types("PUT k a b | c", "Over the line protocol a line is sent as it is typed");
    stage.address = first;
    stage.types(&format!(":connect {first}"), "Connected to ");
    stage.types("GET k", "\n\"v\"\r\n");
}

#[test]
fn ctrl_c_ends_the_wait_for_a_reply_and_a_late_reply_is_nobodys() {
    if !has_terminal() {
        return;
    }
    let dir = TempDir::new().expect("a temporary directory");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("a port");
    let words = format!("-u redis://{address}");
    let mut client = Program::start(&mut on_screen(CLIENT, &words, &dir.path().join("history"), 24, 200));
    let (mut first, _) = listener.accept().expect("the client");
    client.hear(&format!("{address}> "));
    let received = |stream: &mut std::net::TcpStream, words: &[&str]| {
        let mut bytes = vec![0; request(words).len()];
        stream.read_exact(&mut bytes).expect("a request");
        assert_eq!(bytes, request(words));
    };
    client.say("GET slow\r");
    received(&mut first, &["GET", "slow"]);
    client.say(CTRL_C);
    client.hear("Cancelled: 'GET' may still be done, its reply is not awaited any longer.");
    client.hear(&format!("{address}> "));
    // It comes after all; the client may have closed the connection.
    let _ = first.write_all(&bulk("late"));
    client.say("GET next\r");
    let (mut second, _) = listener.accept().expect("the client's second connection");
    received(&mut second, &["GET", "next"]);
    second.write_all(&bulk("own")).expect("a connection");
    client.hear("\n\"own\"\r\n");
    client.hear(&format!("{address}> "));
    assert!(!client.output().contains("late"));
    // Nor is a login waited for.
    let mut other = Program::start(&mut on_screen(
        CLIENT,
        &format!("-u redis://:pw@{address}"),
        &dir.path().join("other"),
        24,
        200,
    ));
    let (mut third, _) = listener.accept().expect("the other client");
    received(&mut third, &["AUTH", "pw"]);
    other.say(CTRL_C);
    other.hear("Cancelled: the server has not replied to the login.");
    other.hear("not connected> ");
    // A request that the server does not take.
    let large = dir.path().join("large");
    fs::write(&large, vec![b'x'; 64 << 20]).expect("a file");
    client.say(format!("SET large < {}\r", large.display()));
    let mut begun = [0; 8];
    second.read_exact(&mut begun).expect("the beginning of a request");
    client.say(CTRL_C);
    client.hear("Cancelled: 'SET' may still be done");
    client.hear(&format!("{address}> "));
    client.say("\x04");
    assert_eq!(client.end().code(), Some(0));
}

#[test]
fn ctrl_c_while_clients_are_paused_loses_a_transaction_and_says_so() {
    let Some(mut stage) = Stage::new() else { return };
    let mut admin = stage.server.connect();
    stage.begins("SELECT 3", "\nOK\r\n");
    stage.prompts("[3]");
    stage.begins("MULTI", "\nOK\r\n");
    stage.prompts("[3](TX)");
    stage.begins("SET k 1", "\nQUEUED\r\n");
    stage.prompts("[3](TX)");
    admin.ask("CLIENT PAUSE 1000000 WRITE", "+OK\r\n");
    stage.client.say("EXEC\r");
    wait::until_true("a client that is paused", || admin.text("INFO clients").contains("blocked_clients:1"));
    stage.client.say(CTRL_C);
    stage.client.hear("Cancelled: 'EXEC' may still be done");
    // The next command has a connection with the same database, and no transaction.
    stage.prompts("[3]");
    stage.begins("CLIENT INFO", " db=3 ");
    stage.client.hear(" multi=-1 ");
    stage.prompts("[3]");
    admin.ask("CLIENT UNPAUSE", "+OK\r\n");
    stage.begins("PING", "\nPONG\r\n");
}

#[test]
fn what_the_server_refuses_is_not_read_as_a_later_reply() {
    let Some(mut stage) = Stage::new() else { return };
    stage.admin("ACL SETUSER ann on nopass ~* &* +@all -client|reply", "+OK\r\n");
    stage.types("AUTH ann x", "\nOK\r\n");
    for line in ["CLIENT REPLY OFF", "CLIENT REPLY SKIP"] {
        stage.types(line, "\n(error) NOPERM");
        stage.types("ECHO own", "\n\"own\"\r\n");
    }
    // Between MULTI and EXEC these would have other than one reply, or turn the connection into another one.
    stage.begins("MULTI", "\nOK\r\n");
    stage.prompts("(TX)");
    for line in ["SUBSCRIBE news", "UNSUBSCRIBE a b", "CLIENT REPLY OFF"] {
        stage.begins(line, "was not sent: its replies cannot be told apart in those to EXEC.");
        stage.prompts("(TX)");
    }
    stage.types("EXEC", "\n(empty array)\r\n");
    stage.types("ECHO own", "\n\"own\"\r\n");
}

#[test]
fn what_no_command_has_asked_for_is_not_read_as_a_reply() {
    if !has_terminal() {
        return;
    }
    let dir = TempDir::new().expect("a temporary directory");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("a port");
    let mut client = Program::start(&mut on_terminal(CLIENT, &format!("-u redis://{address}"), &dir.path().join("h")));
    let (mut server, _) = listener.accept().expect("the client");
    client.hear(&format!("{address}> "));
    client.say("GET a\r");
    receive(&mut server, &["GET", "a"]);
    server.write_all(&[bulk("one"), bulk("stray")].concat()).expect("a connection");
    client.hear("\n\"one\"\r\n");
    client.hear(&format!("{address}> "));
    client.say("GET b\r");
    receive(&mut server, &["GET", "b"]);
    server.write_all(&bulk("two")).expect("a connection");
    client.hear("The server sent what no command had asked for:\r\n\"stray\"\r\n\"two\"\r\n");
}

/// Reads a request from a client of this test's own server.
#[track_caller]
fn receive(stream: &mut impl Read, words: &[&str]) {
    let mut bytes = vec![0; request(words).len()];
    stream.read_exact(&mut bytes).expect("a request");
    assert_eq!(bytes, request(words));
}

#[test]
fn ctrl_c_while_keys_are_counted_cancels_the_command_that_would_have_asked() {
    if !has_terminal() {
        return;
    }
    let dir = TempDir::new().expect("a temporary directory");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("a port");
    let mut client = Program::start(&mut on_terminal(CLIENT, &format!("-u redis://{address}"), &dir.path().join("h")));
    let (mut server, _) = listener.accept().expect("the client");
    client.hear(&format!("{address}> "));
    client.say("FLUSHDB\r");
    receive(&mut server, &["DBSIZE"]);
    client.say(CTRL_C);
    client.hear("Cancelled: 'FLUSHDB' was not sent.\r\n");
    client.hear("> ");
    assert!(!client.output().contains("Go on?"));
}

#[test]
fn ctrl_c_ends_the_wait_for_a_connection() {
    if !has_terminal() {
        return;
    }
    let dir = TempDir::new().expect("a temporary directory");
    let path = dir.path().join("socket");
    let listener = UnixListener::bind(&path).expect("a socket");
    let words = format!("-s {}", path.display());
    let mut client = Program::start(&mut on_terminal(CLIENT, &words, &dir.path().join("h")));
    let (mut server, _) = listener.accept().expect("the client");
    client.hear("socket> ");
    // With one connection that nobody accepts, connecting waits without end.
    rustix::net::listen(&listener, 0).expect("a shorter queue");
    let waiting = UnixStream::connect(&path).expect("a connection");
    client.say("GET slow\r");
    receive(&mut server, &["GET", "slow"]);
    client.say(CTRL_C);
    client.hear("Cancelled: 'GET' may still be done, its reply is not awaited any longer.");
    client.hear("not connected> ");
    client.say("GET next\r");
    wait::until_true("the end of the wait", || {
        // While the prompt reads a line, this only clears it.
        client.say(CTRL_C);
        client.output().contains("Cancelled: not connected to ")
    });
    drop(waiting);
    listener.set_nonblocking(true).expect("a socket");
    let mut server = wait::until("a request on a new connection", || {
        // Keys that come together with a Ctrl-C are lost.
        client.say("\x15GET other\r");
        // What was cancelled connects, too, and is closed then.
        let (mut server, _) = listener.accept().ok()?;
        let mut bytes = vec![0; request(&["GET", "other"]).len()];
        server.read_exact(&mut bytes).ok()?;
        assert_eq!(bytes, request(&["GET", "other"]));
        Some(server)
    });
    server.write_all(&bulk("own")).expect("a connection");
    client.hear("\n\"own\"\r\n");
}

#[test]
fn a_line_that_is_not_utf8_is_refused_and_the_session_goes_on() {
    let Some(mut stage) = Stage::new() else { return };
    stage.client.say(b"SET k \xff");
    stage.client.hear("What was typed is not UTF-8; nothing of it was sent.");
    stage.prompts("");
    stage.types("EXISTS k", "\n(integer) 0\r\n");
    // Nor is the rest of a paste run.
    stage.client.say([b"\x1b[200~SET k \xff\r".as_slice(), &b"SET k v\r".repeat(150), b"\x1b[201~"].concat());
    stage.client.hear("What was typed is not UTF-8; nothing of it was sent.");
    stage.prompts("");
    stage.types("EXISTS k", "\n(integer) 0\r\n");
    stage.begins("FLUSHALL", "Go on? [y/N] ");
    stage.client.say(b"\xff");
    stage.client.hear("'FLUSHALL' was not sent.");
    stage.prompts("");
    stage.types("PING", "\nPONG\r\n");
}

#[test]
fn a_pipe_or_a_terminal_is_no_file_to_read_or_write() {
    let Some(mut stage) = Stage::new() else { return };
    let pipe = stage.file("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
    stage.types("SET k v", "\nOK\r\n");
    for path in [pipe.as_path(), std::path::Path::new("/dev/tty"), stage.dir.path().to_owned().as_path()] {
        stage.types(&format!("SET k < {}", path.display()), "is no regular file; nothing was sent");
    }
    stage.types(&format!("GET k > {}", pipe.display()), "it is a pipe; choose a file");
    stage.types("GET k > /dev/null", "1 bytes written to /dev/null.");
}

#[test]
fn what_a_new_connection_does_not_have_is_said() {
    let Some(mut stage) = Stage::new() else { return };
    stage.types("HELLO 3", "\"proto\" => (integer) 3\r\n");
    stage.types("CLIENT TRACKING ON", "\nOK\r\n");
    stage.types("CLIENT NO-EVICT ON", "\nOK\r\n");
    stage.types("CLIENT NO-TOUCH ON", "\nOK\r\n");
    stage.types("CLIENT NO-TOUCH OFF", "\nOK\r\n");
    stage.restarts();
    stage.begins("PING", "Reconnected to ");
    stage.client.hear("The new connection is without CLIENT TRACKING, CLIENT NO-EVICT of the old one.\r\nPONG\r\n");
    stage.prompts("");
    // Once.
    stage.restarts();
    stage.types("PING", ".\r\nPONG\r\n");
    stage.types("CLIENT TRACKING ON", "\nOK\r\n");
    stage.types("WATCH k", "\nOK\r\n");
    stage.begins(&format!(":connect {}", stage.address), "The watched keys were dropped with the old connection.\r\n");
    stage.client.hear("The new connection is without CLIENT TRACKING of the old one.\r\nConnected to ");
    stage.prompts("");
    stage.types("PING", "\nPONG\r\n");
}
