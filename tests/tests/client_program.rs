//! The program `kvclient` against a real server: one command, commands from a pipe, a stream of messages, the prompt.
//!
//! Invariant: what a script relies on, the bytes on standard output and the exit code, is checked whole. The prompt runs
//! on a pseudo-terminal that util-linux's `script` makes; without that program its tests say so and pass.

#![forbid(unsafe_code)]

use std::fs;
use std::net::TcpListener;
use std::process::Command;

use kvtests::process::{Launch, ServerProcess};
use kvtests::program::{Program, has_terminal, prompt, until_disconnected};
use kvtests::server_program;
use kvtests::wait;
use tempfile::TempDir;

const CLIENT: &str = env!("CARGO_BIN_EXE_kvclient_under_test");

fn server(dir: &TempDir) -> ServerProcess {
    Launch::new(server_program!(), dir.path()).resp().line("terse").start()
}

fn client(url: &str, words: &[&str]) -> Command {
    let mut command = Command::new(CLIENT);
    command.args(["-u", url]).args(words);
    command
}

/// Runs the client with `input` to its end: the exit code, the output, the errors.
#[track_caller]
fn run(url: &str, words: &[&str], input: &str) -> (Option<i32>, String, String) {
    let mut program = Program::start(&mut client(url, words));
    if !input.is_empty() {
        program.say(input);
    }
    program.finish()
}

/// Runs the client, which must print exactly `output` and nothing else.
#[track_caller]
fn prints(url: &str, words: &[&str], output: &str) {
    assert_eq!(run(url, words, ""), (Some(0), output.to_owned(), String::new()), "{words:?}");
}

/// Runs the client, which must fail with exit code 1 and say why on standard error only.
#[track_caller]
fn fails(url: &str, words: &[&str], reason: &str) {
    let (code, output, errors) = run(url, words, "");
    assert_eq!((code, output.as_str()), (Some(1), ""), "{words:?}: {errors}");
    assert!(errors.contains(reason), "{words:?}: {errors}");
}

#[test]
fn one_command_is_sent_and_its_reply_printed_as_it_is() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let url = format!("redis://{}", server.address(0));
    prints(&url, &["SET", "greeting", "hello world"], "OK\n");
    prints(&url, &["GET", "greeting"], "hello world\n");
    prints(&url, &["--no-raw", "GET", "greeting"], "\"hello world\"\n");
    prints(&url, &["GET", "nothing"], "\n");
    prints(&url, &["--no-raw", "GET", "nothing"], "(nil)\n");
    prints(&url, &["-3", "MGET", "greeting", "greeting"], "hello world\nhello world\n");
    prints(&format!("{url}/3"), &["DBSIZE"], "0\n");
    // What a script takes for a value must not be an error's text.
    fails(&url, &["INCR", "greeting"], "ERR value is not an integer or out of range");
    fails(&url, &["NOSUCH"], "ERR unknown command 'NOSUCH'");
}

#[test]
fn the_line_protocol_is_spoken_when_the_address_says_so() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let url = format!("line://{}", server.address(1));
    prints(&url, &["PUT", "greeting", "hello"], "OK stored\n");
    prints(&url, &["GET", "greeting"], "OK hello\n");
    fails(&url, &["GET", "nothing"], "key not found");
}

#[test]
fn without_a_server_the_exit_code_is_1_and_with_bad_flags_2() {
    // A port that was free a moment ago.
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    let url = format!("redis://{free}");
    fails(&url, &["PING"], &free.to_string());
    let (code, output, errors) = run(&url, &[], "PING\nPING\n");
    assert_eq!((code, output.as_str()), (Some(1), ""), "{errors}");
    for (url, words) in [
        (url.as_str(), &["--no-such-flag"][..]),
        (&url, &["-x", "-X", "tag", "PING"]),
        ("http://127.0.0.1", &["PING"]),
        ("redis://127.0.0.1:port", &["PING"]),
    ] {
        let (code, output, errors) = run(url, words, "");
        assert_eq!((code, output.as_str()), (Some(2), ""), "{url} {words:?}: {errors}");
        assert!(!errors.is_empty(), "{url} {words:?}");
    }
}

#[test]
fn commands_are_read_from_a_pipe() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let url = format!("redis://{}", server.address(0));
    let (code, output, errors) = run(&url, &[], "SET a \"1\"\n\nINCR a\r\nMGET a b\nGET a");
    assert_eq!((code, output.as_str(), errors.as_str()), (Some(0), "OK\n2\n2\n\n2\n", ""));
    // A failed command stops nothing, but is told of in the end.
    let (code, output, _) = run(&url, &[], "SET a x\nINCR a\nGET a\n");
    assert_eq!((code, output.as_str()), (Some(1), "OK\nERR value is not an integer or out of range\nx\n"));
}

#[test]
fn errors_of_a_pipe_name_the_line() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let url = format!("redis://{}", server.address(0));
    let (code, output, errors) = run(&url, &[], "SET a x\n# INCR isn't run\n\nINCR a\nSET b 'c'd\nSET b \"e\nGET a");
    assert_eq!((code, output.as_str()), (Some(1), "OK\nERR value is not an integer or out of range\nx\n"));
    let lines: Vec<&str> = errors.lines().collect();
    let [first, second, third] = lines[..] else { panic!("{errors}") };
    assert_eq!(first, "kvclient: line 4: ERR value is not an integer or out of range");
    assert_eq!(second, "kvclient: line 5: unbalanced quotes in request");
    assert_eq!(third, "kvclient: line 6: unbalanced quotes in request");
    let (code, output, errors) = run(&url, &[], "PING\nSUBSCRIBE\nAUTH x\nPING");
    let subscribe = "ERR wrong number of arguments for 'subscribe' command";
    assert_eq!((code, output.starts_with(&format!("PONG\n{subscribe}\nERR AUTH"))), (Some(1), true), "{output}");
    assert!(errors.starts_with(&format!("kvclient: line 2: {subscribe}\nkvclient: line 3: ERR AUTH")), "{errors}");
    // The line where a command begins, whatever it holds.
    let (code, output, errors) = run(&url, &[], "SET a 'one\n\ntwo'\nSET b \"x\n\n\"\nINCR a\nMGET a b");
    assert_eq!(
        (code, output.as_str()),
        (Some(1), "OK\nOK\nERR value is not an integer or out of range\none\n\ntwo\nx\n\n\n")
    );
    assert_eq!(errors, "kvclient: line 7: ERR value is not an integer or out of range\n");
}

#[test]
fn quit_ends_a_pipe_and_help_is_printed_in_its_place() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let url = format!("redis://{}", server.address(0));
    for quit in ["quit", "QUIT", "exit"] {
        let mut program = Program::start(&mut client(&url, &[]));
        program.say(format!("SET a 1\n{quit}\nSET a 2\n"));
        // Its input stays open.
        assert_eq!(program.end().code(), Some(0));
        assert_eq!(program.output(), "OK\n");
        prints(&url, &["GET", "a"], "1\n");
    }
    let (code, output, errors) = run(&url, &[], "PING\nHELP GET\nPING\n");
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    assert!(output.starts_with("PONG\n\n  GET key\n") && output.ends_with("PONG\n"), "{output}");
}

/// Only the server knows whether a line has quotes.
#[test]
fn lines_of_a_pipe_are_sent_as_they_are_over_the_line_protocol() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = Launch::new(server_program!(), dir.path()).resp().line("terse").line("plain").start();
    let terse = format!("line://{}", server.address(1));
    let (code, output, errors) = run(&terse, &[], "PUT a don't\r\nGET a\n# it's\nPUT b \"x y\"\nGET a");
    assert_eq!(
        (code, output.lines().take(2).collect::<Vec<_>>()),
        (Some(1), vec!["OK stored", "OK don't"]),
        "{output}"
    );
    assert!(output.ends_with("\nOK don't\n"), "{output}");
    assert!(errors.starts_with("kvclient: line 4: ERROR quotes are not accepted"), "{errors}");
    let plain = format!("line://{}/2", server.address(2));
    let (code, output, errors) = run(&plain, &[], "SET a 'x y'\nMULTI\nGET a\nSELECT 3\nEXEC\nDBSIZE");
    assert_eq!((code, output.as_str(), errors.as_str()), (Some(0), "OK\nOK\nQUEUED\nQUEUED\n\"x y\", OK\n0\n", ""));
}

#[test]
fn a_pipe_executes_no_part_of_a_transaction_with_a_bad_line() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let url = format!("redis://{}", server.address(0));
    let (code, output, errors) = run(&url, &[], "MULTI\nSET a 1\nSET b 'x'y\nSET c 3\nEXEC\nSET d 4\n");
    assert_eq!((code, output.as_str()), (Some(1), "OK\nQUEUED\n"), "{errors}");
    assert!(
        errors.starts_with("kvclient: line 3: unbalanced quotes in request; the transaction was given up"),
        "{errors}"
    );
    prints(&url, &["DBSIZE"], "0\n");
}

/// A login in the pipe, and a database that must wait for it.
#[test]
fn a_pipe_may_log_in() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = Launch::new(server_program!(), dir.path()).resp().arguments(["--requirepass", "pw"]).start();
    let url = format!("redis://{}/5", server.address(0));
    let (code, output, errors) =
        run(&url, &[], "AUTH pw\nSET here 5\nSELECT 0\nDBSIZE\nCLIENT REPLY SKIP\nPING\nPING\n");
    assert_eq!((code, output.as_str()), (Some(0), "OK\nOK\nOK\n0\nPONG\n"), "{errors}");
    let (code, output, errors) = run(&url, &[], "SET here 0\nSET there 0\n");
    assert_eq!((code, output.as_str()), (Some(1), ""));
    assert!(errors.contains("NOAUTH") && errors.contains("line 1: not sent"), "{errors}");
}

/// Replies are shown when there is nothing more to send, though the input stays open.
#[test]
fn a_pipe_that_pauses_has_its_replies_at_once() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let mut program = Program::start(&mut client(&format!("redis://{}", server.address(0)), &[]));
    program.say("PING\nINCR a\nINC");
    program.hear("PONG\n1\n");
    program.say("R a\n");
    program.hear("2\n");
    // A connection that was lost between two lines is opened again, in the same database.
    program.say("SELECT 5\nMULTI\n");
    program.hear("OK\nOK\n");
    let mut admin = server.connect();
    assert!(admin.integer("CLIENT KILL TYPE normal SKIPME yes") > 0);
    until_disconnected(server.address(0), &admin);
    program.say("SET a 1\nSET b 2\nEXEC\n");
    let (code, _, errors) = program.finish();
    assert_eq!(code, Some(1));
    assert!(errors.contains("line 6") && errors.contains("was not sent"), "{errors}");
    admin.ask("SELECT 5", "+OK\r\n");
    admin.ask("DBSIZE", ":0\r\n");
}

/// Neither side waits for the other when replies, or requests, are larger than everything between them.
#[test]
fn a_pipe_of_large_requests_and_replies_flows() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let url = format!("redis://{}", server.address(0));
    let value = "v".repeat(3 << 20);
    let mut input = format!("SET large {value}\n");
    for _ in 0..30 {
        input += "GET large\n";
    }
    input += &format!("SET other {value}\nSTRLEN other");
    let (code, output, errors) = run(&url, &[], &input);
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines.len(), 33);
    assert!(lines[1..31].iter().all(|line| *line == value));
    assert_eq!((lines[0], lines[31], lines[32]), ("OK", "OK", "3145728"));
}

/// 100,000 lines are no round trip each: they all run, and a fault in the middle is named.
#[test]
fn a_long_pipe_runs_whole() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let url = format!("redis://{}", server.address(0));
    let mut input = String::new();
    for at in 0..20_000 {
        input += &if at == 12_345 { "INCR k0\n".to_owned() } else { format!("SET k{at} v{at}\n") };
    }
    let (code, output, errors) = run(&url, &[], &input);
    assert_eq!(code, Some(1));
    assert_eq!(output.matches("OK\n").count(), 19_999);
    assert_eq!(errors, "kvclient: line 12346: ERR value is not an integer or out of range\n");
    prints(&url, &["DBSIZE"], "19999\n");
}

/// The connection breaks in the middle: which lines are done is unknown, and those after them are not sent.
#[test]
fn a_pipe_says_which_lines_have_no_reply() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let url = format!("redis://{}", server.address(0));
    let (code, output, errors) = run(&url, &[], "SET a 1\nCLIENT KILL TYPE normal SKIPME no\nSET a 2\nSET a 3\n");
    assert_eq!(code, Some(1));
    assert!(output.starts_with("OK\n"), "{output}");
    assert!(errors.contains("lines ") && errors.contains("unknown"), "{errors}");
}

#[test]
fn subscribe_prints_messages_as_they_are_published_until_ctrl_c() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let url = format!("redis://{}", server.address(0));
    let mut subscriber = Program::start(&mut client(&url, &["subscribe", "news"]));
    subscriber.hear("subscribe\nnews\n1\n");
    let mut publisher = server.connect();
    for text in ["first", "second"] {
        publisher.ask(&format!("PUBLISH news {text}"), ":1\r\n");
        subscriber.hear(&format!("message\nnews\n{text}\n"));
    }
    subscriber.interrupt();
    let (code, _, errors) = subscriber.finish();
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    wait::until_true("the end of the subscription", || publisher.integer("PUBLISH news third") == 0);
}

#[test]
fn the_prompt_formats_replies_keeps_a_history_and_is_left_by_exit_or_ctrl_d() {
    if !has_terminal() {
        return;
    }
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let address = server.address(0);
    let history = dir.path().join("client").join("history");
    let mut program = prompt(CLIENT, address, &history);
    program.types(address, "SET greeting 'hello world'", "\nOK\r\n");
    program.types(address, "MGET greeting nothing", "\n1) \"hello world\"\r\n2) (nil)\r\n");
    program.types(address, "INCR greeting", "\n(error) ERR value is not an integer or out of range\r\n");
    program.types(address, "AUTH topsecret", "\n(error) ERR");
    program.say("exit\r");
    assert_eq!(program.end().code(), Some(0));
    let kept = fs::read_to_string(&history).expect("the history");
    let lines: Vec<&str> = kept.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(lines, ["SET greeting 'hello world'", "MGET greeting nothing", "INCR greeting", "exit"], "{kept}");

    let mut program = prompt(CLIENT, address, &history);
    // Ctrl-C clears the line.
    program.say("SET greeting lost\u{3}");
    program.hear("\n");
    program.hear(&format!("{address}> "));
    program.types(address, "STRLEN greeting", "\n(integer) 11\r\n");
    program.say("\u{4}");
    assert_eq!(program.end().code(), Some(0));
    let kept = fs::read_to_string(&history).expect("the history");
    assert!(kept.contains("INCR greeting\n") && kept.ends_with("STRLEN greeting\n"), "{kept}");
}

/// Whoever pastes some lines, or types while a command runs, means all of them.
#[test]
fn lines_that_came_all_at_once_are_run_one_after_the_other() {
    if !has_terminal() {
        return;
    }
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let mut program = prompt(CLIENT, server.address(0), &dir.path().join("history"));
    program.say("SET a 1\rINCR a\rSTRLEN a\rexit\r");
    program.hear("\nOK\r\n");
    program.hear("\n(integer) 2\r\n");
    program.hear("\n(integer) 1\r\n");
    assert_eq!(program.end().code(), Some(0));
}

#[test]
fn the_prompt_connects_again_after_the_server_was_restarted() {
    if !has_terminal() {
        return;
    }
    let dir = TempDir::new().expect("a temporary directory");
    let mut first = server(&dir);
    let address = first.address(0);
    let mut program = prompt(CLIENT, address, &dir.path().join("history"));
    program.say("SELECT 3\r");
    program.hear("\nOK\r\n");
    program.hear(&format!("{address}[3]> "));
    program.say("SET kept value\r");
    program.hear("\nOK\r\n");
    program.hear(&format!("{address}[3]> "));
    assert!(first.terminate().success());
    let second = Launch::new(server_program!(), dir.path()).listener(&format!("resp://{address}")).start();
    assert_eq!(second.address(0), address);
    program.say("GET kept\r");
    program.hear(&format!("Reconnected to {address}."));
    // In the database that was selected before.
    program.hear("\n\"value\"\r\n");
    program.hear(&format!("{address}[3]> "));
    program.say("\u{4}");
    assert_eq!(program.end().code(), Some(0));
}
