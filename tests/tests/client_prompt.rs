//! The prompt of `kvclient` on a pseudo-terminal: pasted lines, lines that are wrong, and connections that break.
//!
//! Invariant: nothing that was typed is lost, and nothing is sent to a connection that is not in the state in which it
//! was typed. Without util-linux's `script`, which makes the pseudo-terminal, the tests say so and pass.

#![forbid(unsafe_code)]

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use kvtests::process::{Launch, ServerProcess};
use kvtests::program::{Program, has_terminal, on_terminal, prompt, until_disconnected};
use kvtests::server_program;
use tempfile::TempDir;

const CLIENT: &str = env!("CARGO_BIN_EXE_kvclient_under_test");
const UP: &str = "\x1b[A";
const CTRL_C: &str = "\x03";

/// A server, and a client at its prompt.
struct Stage {
    dir: TempDir,
    server: ServerProcess,
    client: Program,
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
        let launch = Launch::new(server_program!(), dir.path()).resp().line("plain").line("terse");
        let server = launch.arguments(arguments.iter().copied()).start();
        let client = prompt(CLIENT, server.address(0), &dir.path().join("history"));
        Some(Stage { dir, server, client })
    }

    /// The client at the prompt of another listener.
    fn at(index: usize) -> Option<Stage> {
        let mut stage = Stage::new()?;
        let words = format!("-u line://{}", stage.server.address(index));
        stage.client = Program::start(&mut on_terminal(CLIENT, &words, &stage.history()));
        stage.client.hear(&format!("{}> ", stage.server.address(index)));
        Some(stage)
    }

    fn address(&self) -> SocketAddr {
        self.server.address(0)
    }

    fn history(&self) -> PathBuf {
        self.dir.path().join("history")
    }

    /// The lines of the history's file.
    fn kept(&self) -> Vec<String> {
        let kept = fs::read_to_string(self.history()).expect("the history");
        kept.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    }

    /// Types a line and waits for a text.
    #[track_caller]
    fn types(&mut self, line: &str, reply: &str) {
        self.client.say(format!("{line}\r"));
        self.client.hear(reply);
    }

    /// Waits for the prompt; `state` is what stands behind the address.
    #[track_caller]
    fn prompts(&mut self, state: &str) {
        self.client.hear(&format!("{}{state}> ", self.address()));
    }

    /// Sends a request of its own, as an administrator may.
    #[track_caller]
    fn admin(&self, words: &str, reply: &str) {
        self.server.connect().ask(words, reply);
    }

    /// Disconnects the client, wherever it is connected. (The administrator's connection is that of this request.)
    #[track_caller]
    fn disconnects(&self) {
        let mut admin = self.server.connect();
        assert!(admin.integer("CLIENT KILL TYPE normal SKIPME yes") > 0);
        for index in 0..3 {
            until_disconnected(self.server.address(index), &admin);
        }
    }
}

#[test]
fn pasted_lines_all_run_in_order() {
    let Some(mut stage) = Stage::new() else { return };
    stage.client.paste("SET a 1\nINCR a\n\n  # a comment, isn't it\nSTRLEN a\nSET b two");
    stage.client.say("\r");
    stage.client.hear("\nOK\r\n(integer) 2\r\n(integer) 1\r\nOK\r\n");
    stage.prompts("");
    // Windows' ends of lines, and one behind the last line.
    stage.client.say("\x1b[200~INCR a\r\nINCR a\r\n\x1b[201~\r");
    stage.client.hear("\n(integer) 3\r\n(integer) 4\r\n");
    stage.prompts("");
    // Behind what was typed, and before what is typed.
    stage.client.say("INCR");
    stage.client.paste(" a\nINCRBY a");
    stage.client.say(" 10\r");
    stage.client.hear("\n(integer) 5\r\n(integer) 15\r\n");
    stage.prompts("");
    stage.admin("GET b", "$3\r\ntwo\r\n");
    assert_eq!(stage.kept(), ["SET a 1", "INCR a", "STRLEN a", "SET b two", "INCR a", "INCRBY a 10"]);
}

#[test]
fn a_large_paste_runs_whole() {
    let Some(mut stage) = Stage::new() else { return };
    let lines: Vec<String> = (0..500).map(|at| format!("APPEND pasted {at:03}")).collect();
    stage.client.paste(&lines.join("\n"));
    stage.client.say("\r");
    stage.client.hear("\n(integer) 1500\r\n");
    stage.prompts("");
    stage.admin("GETRANGE pasted 1494 -1", "$6\r\n498499\r\n");
}

#[test]
fn quotes_hold_ends_of_lines() {
    let Some(mut stage) = Stage::new() else { return };
    stage.client.paste("SET a \"one\ntwo\n\"\nSET b 'three\n\n# four' \nGET a");
    stage.client.say("\r");
    stage.client.hear("\n\"one\\ntwo\\n\"\r\n");
    stage.prompts("");
    stage.types("GET b", "\n\"three\\n\\n# four\"\r\n");
    stage.prompts("");
    // Up brings back all lines of it.
    stage.client.say(format!("{UP}{UP}{UP}{UP}"));
    stage.types("", "\nOK\r\n");
    stage.prompts("");
    assert!(stage.kept()[0].starts_with("SET a \"one"));
}

#[test]
fn a_bad_line_of_a_paste_is_shown_and_kept_for_editing_with_those_after_it() {
    let Some(mut stage) = Stage::new() else { return };
    stage.client.paste("SET a 1\nSET b \"two\nSET c 3");
    stage.client.say("\r");
    stage.client.hear("\nOK\r\nline 2: unbalanced quotes in request: SET b \"two\r\n");
    stage.prompts("");
    stage.client.hear("SET b \"two");
    stage.client.hear("SET c 3");
    stage.admin("EXISTS a b c", ":1\r\n");
    // The cursor stands at the end of the bad line.
    stage.client.say("\"\r");
    stage.client.hear("\nOK\r\nOK\r\n");
    stage.prompts("");
    stage.admin("MGET b c", "*2\r\n$3\r\ntwo\r\n$1\r\n3\r\n");
    // What is wrong in itself does not swallow the lines after it.
    stage.client.paste("SET a 'x'y\nSET d it's\nSET e 5");
    stage.client.say("\r");
    stage.client.hear("line 1: unbalanced quotes in request: SET a 'x'y\r\n");
    stage.prompts("");
    // The user gives it up; it is in the history.
    stage.client.say(CTRL_C);
    stage.prompts("");
    stage.types("EXISTS d e", "\n(integer) 0\r\n");
    assert!(stage.kept().iter().any(|line| line.starts_with("SET a 'x'y")), "{:?}", stage.kept());
    // An error reply stops nothing.
    stage.prompts("");
    stage.client.paste("SET f six\nINCR f\nSTRLEN f");
    stage.client.say("\r");
    stage.client.hear("\nOK\r\n(error) ERR value is not an integer or out of range\r\n(integer) 3\r\n");
}

#[test]
fn a_line_that_cannot_be_read_is_in_the_history_unless_it_holds_a_password() {
    let Some(mut stage) = Stage::new() else { return };
    stage.types("AUTH \"topsecret", "unbalanced quotes in request; nothing was sent\r\n");
    stage.prompts("");
    stage.client.paste("SET b 'x'y\nAUTH othersecret");
    stage.types("", "line 1: unbalanced quotes");
    stage.prompts("");
    stage.client.say(CTRL_C);
    stage.prompts("");
    stage.types("SET a \"x", "unbalanced quotes in request; nothing was sent\r\n");
    stage.prompts("");
    stage.client.say(UP);
    stage.types("\"", "\nOK\r\n");
    stage.prompts("");
    assert_eq!(stage.kept(), ["SET a \"x", "SET a \"x\""]);
    stage.admin("GET a", "$1\r\nx\r\n");
}

#[test]
fn leaving_says_goodbye_and_what_was_not_run() {
    for leave in ["quit\r", "QUIT\r", "exit\r", "\x04"] {
        let Some(mut stage) = Stage::new() else { return };
        stage.client.say(leave);
        stage.client.hear("Goodbye.");
        assert_eq!(stage.client.end().code(), Some(0));
    }
    let Some(mut stage) = Stage::new() else { return };
    stage.client.paste("SET a 1\nQUIT\nSET b 2");
    stage.client.say("\r");
    stage.client.hear("1 line after it was not run");
    assert_eq!(stage.client.end().code(), Some(0));
    stage.admin("EXISTS a b", ":1\r\n");
}

#[test]
fn login_database_name_and_protocol_are_restored_on_every_new_connection() {
    let Some(mut stage) = Stage::with(&["--requirepass", "pw"]) else { return };
    let mut admin = stage.server.connect();
    admin.ask("AUTH pw", "+OK\r\n");
    admin.ask("ACL SETUSER ann on >secret ~* &* +@all", "+OK\r\n");
    stage.types("SELECT 3", "NOAUTH");
    stage.prompts("");
    stage.types("AUTH pw", "\nOK\r\n");
    stage.prompts("");
    stage.types("SELECT 3", "\nOK\r\n");
    stage.prompts("[3]");
    stage.types("SUBSCRIBE news", "3) (integer) 1\r\n");
    stage.client.say(CTRL_C);
    stage.prompts("[3]");
    stage.types("SET here 3", "\nOK\r\n");
    stage.prompts("[3]");
    // Another login, a name, another protocol; the connection is lost, not left.
    stage.types("HELLO 3 AUTH ann secret SETNAME first", "\"proto\" => (integer) 3\r\n");
    stage.prompts("[3]");
    stage.types("CLIENT SETNAME second", "\nOK\r\n");
    stage.prompts("[3]");
    assert!(admin.integer("CLIENT KILL USER ann") > 0);
    until_disconnected(stage.address(), &admin);
    stage.types("CLIENT INFO", "Reconnected to ");
    stage.client.hear("name=second ");
    stage.client.hear("db=3 ");
    stage.client.hear("user=ann ");
    stage.client.hear("resp=3 ");
    stage.prompts("[3]");
    // RESET forgets all of it.
    stage.types("RESET", "\nRESET\r\n");
    stage.prompts("");
    stage.types("AUTH pw", "\nOK\r\n");
    stage.prompts("");
    stage.types("MONITOR", "\nOK\r\n");
    stage.client.say(CTRL_C);
    stage.prompts("");
    stage.types("CLIENT INFO", " name= ");
    stage.client.hear("db=0 ");
    stage.client.hear("user=default ");
    stage.client.hear("resp=2 ");
    stage.prompts("");
}

#[test]
fn a_subscription_that_breaks_goes_on_and_leaves_a_connection_in_the_same_state() {
    let Some(mut stage) = Stage::new() else { return };
    stage.types("SELECT 3", "\nOK\r\n");
    stage.prompts("[3]");
    for stream in ["SUBSCRIBE news", "PSUBSCRIBE n*", "MONITOR"] {
        let confirmation = if stream == "MONITOR" { "\nOK\r\n" } else { "3) (integer) 1\r\n" };
        stage.types(stream, "Receiving messages");
        stage.client.hear(confirmation);
        let mut admin = stage.server.connect();
        let kind = if stream == "MONITOR" { "normal" } else { "pubsub" };
        assert!(admin.integer(&format!("CLIENT KILL TYPE {kind} SKIPME yes")) > 0, "{stream}");
        stage.client.hear("Receiving messages again; those in between were missed.");
        stage.client.hear(confirmation);
        admin.ask("PUBLISH news rain", if stream == "MONITOR" { ":0\r\n" } else { ":1\r\n" });
        stage.client.hear("\"rain\"\r\n");
        stage.client.say(CTRL_C);
        stage.prompts("[3]");
        stage.types("CLIENT INFO", " db=3 ");
        stage.prompts("[3]");
    }
}

#[test]
fn a_login_that_is_refused_leaves_a_connection_on_which_auth_works() {
    let Some(mut stage) = Stage::with(&["--requirepass", "pw"]) else { return };
    // A database, but no login.
    let address = stage.address();
    let words = format!("-h 127.0.0.1 -p {} -n 5", address.port());
    stage.client = Program::start(&mut on_terminal(CLIENT, &words, &stage.history()));
    stage.client.hear("NOAUTH");
    stage.prompts("[5](refused)");
    // In another database than the one chosen it must not be executed.
    stage.types("SET a 1", "not sent");
    stage.prompts("[5](refused)");
    stage.types("AUTH wrong", "\n(error) WRONGPASS");
    stage.prompts("[5](refused)");
    stage.types("AUTH pw", "\nOK\r\n");
    stage.prompts("[5]");
    stage.types("CLIENT INFO", "db=5 ");
    stage.prompts("[5]");
    // A password that changes while the client is away.
    let mut admin = stage.server.connect();
    admin.ask("AUTH pw", "+OK\r\n");
    admin.ask("CONFIG SET requirepass new", "+OK\r\n");
    assert!(admin.integer("CLIENT KILL TYPE normal SKIPME yes") > 0);
    until_disconnected(stage.address(), &admin);
    stage.types("SET a 1", "WRONGPASS");
    stage.prompts("[5](refused)");
    stage.types("AUTH new", "\nOK\r\n");
    stage.prompts("[5]");
    stage.types("SET a 1", "\nOK\r\n");
    stage.prompts("[5]");
}

#[test]
fn a_command_of_a_lost_transaction_is_not_sent() {
    let Some(mut stage) = Stage::new() else { return };
    stage.types("MULTI", "\nOK\r\n");
    stage.prompts("(TX)");
    stage.types("SET a 1", "\nQUEUED\r\n");
    stage.prompts("(TX)");
    stage.disconnects();
    stage.types("SET b 2", "Reconnected to ");
    stage.client.hear("The open transaction was lost with the old connection; 'SET' was not sent.");
    stage.prompts("");
    stage.types("MGET a b", "\n1) (nil)\r\n2) (nil)\r\n");
    stage.prompts("");
    // Nor are the lines of a paste after it; they are kept.
    stage.types("MULTI", "\nOK\r\n");
    stage.prompts("(TX)");
    stage.disconnects();
    stage.client.paste("SET c 3\nSET d 4\nEXEC");
    stage.client.say("\r");
    stage.client.hear("'SET' was not sent.");
    stage.prompts("");
    stage.client.hear("SET c 3");
    stage.client.hear("EXEC");
    stage.client.say(CTRL_C);
    stage.prompts("");
    stage.types("MGET c d", "\n1) (nil)\r\n2) (nil)\r\n");
    stage.prompts("");
    // A login is no part of it.
    stage.types("MULTI", "\nOK\r\n");
    stage.prompts("(TX)");
    stage.disconnects();
    stage.types("AUTH wrong", "\n(error) ");
    stage.prompts("");
    stage.types("SET e 5", "'SET' was not sent.");
    stage.prompts("");
    // A transaction that was watched over.
    stage.types("WATCH a", "\nOK\r\n");
    stage.prompts("");
    stage.disconnects();
    stage.types("MULTI", "The watched keys were lost with the old connection; 'MULTI' was not sent.");
    stage.prompts("");
    // What has ended is not lost.
    stage.types("WATCH a", "\nOK\r\n");
    stage.prompts("");
    stage.types("MULTI", "\nOK\r\n");
    stage.prompts("(TX)");
    stage.types("DISCARD", "\nOK\r\n");
    stage.prompts("");
    stage.disconnects();
    stage.types("INCR a", "\n(integer) 1\r\n");
    stage.prompts("");
}

#[test]
fn what_a_transaction_changes_of_the_connection_counts_when_it_is_executed() {
    let Some(mut stage) = Stage::new() else { return };
    stage.types("MULTI", "\nOK\r\n");
    stage.prompts("(TX)");
    stage.types("SELECT 4", "\nQUEUED\r\n");
    stage.prompts("(TX)");
    stage.types("DISCARD", "\nOK\r\n");
    stage.prompts("");
    stage.types("MULTI", "\nOK\r\n");
    stage.prompts("(TX)");
    stage.types("PING", "\nQUEUED\r\n");
    stage.types("SELECT 4", "\nQUEUED\r\n");
    stage.prompts("(TX)");
    stage.types("EXEC", "2) OK\r\n");
    stage.prompts("[4]");
    stage.types("SET here 4", "\nOK\r\n");
    stage.prompts("[4]");
    stage.disconnects();
    stage.types("GET here", "\n\"4\"\r\n");
    stage.prompts("[4]");
}

#[test]
fn the_line_protocol_restores_and_refuses_too() {
    let Some(mut stage) = Stage::at(1) else { return };
    let address = stage.server.address(1);
    let prompt = |state: &str| format!("{address}{state}> ");
    stage.types("SELECT 3", "\nOK\r\n");
    stage.client.hear(&prompt("[3]"));
    stage.types("SET a 'x y'", "\nOK\r\n");
    stage.client.hear(&prompt("[3]"));
    stage.disconnects();
    stage.types("GET a", "\nx y\r\n");
    stage.client.hear(&prompt("[3]"));
    stage.types("MULTI", "\nOK\r\n");
    stage.client.hear(&prompt("[3](TX)"));
    stage.disconnects();
    stage.types("SET a z", "'SET' was not sent.");
    stage.client.hear(&prompt("[3]"));
    stage.types("GET a", "\nx y\r\n");
    // The terse style has no quotes: what it is sent is what was typed.
    let Some(mut stage) = Stage::at(2) else { return };
    let address = stage.server.address(2);
    stage.client.paste("PUT a don't\nPUT b \"x\nGET a\nGET b");
    stage.types("", "\nOK stored\r\nOK stored\r\nOK don't\r\nOK \"x\r\n");
    stage.client.hear(&format!("{address}> "));
}

/// Each confirmation is a reply of its own; the next command must not be given the second one.
#[test]
fn several_replies_to_one_command_are_all_read() {
    let Some(mut stage) = Stage::new() else { return };
    stage.types("UNSUBSCRIBE a b", "2) \"b\"\r\n");
    stage.prompts("");
    stage.types("ECHO next", "\n\"next\"\r\n");
    stage.prompts("");
    stage.types("CLIENT REPLY SKIP", "\n");
    stage.prompts("");
    stage.types("ECHO silent", "\n");
    stage.prompts("");
    stage.types("ECHO loud", "\n\"loud\"\r\n");
    stage.prompts("");
    stage.types("CLIENT REPLY OFF", "\n");
    stage.prompts("");
    stage.types("SET a 1", "\n");
    stage.prompts("");
    stage.types("CLIENT REPLY ON", "\nOK\r\n");
    stage.prompts("");
    stage.types("GET a", "\n\"1\"\r\n");
    // Inside of a transaction a subscription is one more command that waits.
    stage.prompts("");
    stage.types("HELLO 3", "\"proto\" => (integer) 3\r\n");
    stage.prompts("");
    stage.types("UNSUBSCRIBE a b", "2) \"b\"\r\n");
    stage.prompts("");
    stage.types("ECHO last", "\n\"last\"\r\n");
}
