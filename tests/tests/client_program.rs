//! The program `kvclient` against a real server: one command, commands from a pipe, a stream of messages, the prompt.
//!
//! Invariant: what a script relies on, the bytes on standard output and the exit code, is checked whole. The prompt runs
//! on a pseudo-terminal that util-linux's `script` makes; without that program its tests say so and pass.

#![forbid(unsafe_code)]

use std::fs;
use std::net::TcpListener;
use std::process::Command;

use kvtests::process::{Launch, ServerProcess};
use kvtests::program::{Program, has_terminal, prompt};
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
        (&url, &["--raw", "--no-raw", "PING"]),
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
