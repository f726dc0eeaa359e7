//! The flags of `kvclient`, redis-cli's among them, and its variables: where it connects, as whom, and what it sends.
//!
//! Invariant: a script's command line either does what it says or ends with an exit code that is not 0.

#![forbid(unsafe_code)]

use std::process::Command;

use kvtests::process::{Launch, ServerProcess};
use kvtests::program::{Program, has_terminal, on_terminal};
use kvtests::server_program;
use tempfile::TempDir;

const CLIENT: &str = env!("CARGO_BIN_EXE_kvclient_under_test");

fn client(words: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(CLIENT);
    command.env_remove("REDISCLI_AUTH").env_remove("KVCLIENT_URL");
    command.args(words).envs(variables.iter().copied());
    command
}

fn run(words: &[&str], variables: &[(&str, &str)], input: &[u8]) -> (Option<i32>, String, String) {
    let mut program = Program::start(&mut client(words, variables));
    if !input.is_empty() {
        program.say(input);
    }
    program.finish()
}

#[track_caller]
fn prints(words: &[&str], variables: &[(&str, &str)], output: &str) {
    assert_eq!(run(words, variables, b""), (Some(0), output.to_owned(), String::new()), "{words:?}");
}

/// It must end with `code`, print nothing on standard output, and give the reason on standard error.
#[track_caller]
fn fails(words: &[&str], variables: &[(&str, &str)], code: i32, reason: &str) {
    let (ended, output, errors) = run(words, variables, b"");
    assert_eq!((ended, output.as_str()), (Some(code), ""), "{words:?}: {errors}");
    assert!(errors.contains(reason), "{words:?}: {errors}");
}

fn server(dir: &TempDir, arguments: &[&str]) -> ServerProcess {
    Launch::new(server_program!(), dir.path()).resp().arguments(arguments.iter().copied()).start()
}

#[test]
fn host_port_and_database_are_redis_clis_flags() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir, &[]);
    let port = server.address(0).port().to_string();
    let bare = server.address(0).to_string();
    prints(&["-h", "127.0.0.1", "-p", &port, "PING"], &[], "PONG\n");
    prints(&["-p", &port, "-n", "3", "SET", "here", "3"], &[], "OK\n");
    prints(&["-hlocalhost", &format!("-p{port}"), "-n3", "GET", "here"], &[], "3\n");
    prints(&["-u", &bare, "-n", "3", "GET", "here"], &[], "3\n");
    prints(&["-u", &format!("redis://{bare}/7"), "-n", "3", "GET", "here"], &[], "3\n");
    // From a variable; a flag that names another server leaves nothing of it.
    prints(&["GET", "here"], &[("KVCLIENT_URL", &format!("redis://{bare}/3"))], "3\n");
    prints(&["PING"], &[("KVCLIENT_URL", &bare)], "PONG\n");
    prints(&["-n", "3", "GET", "here"], &[("KVCLIENT_URL", &bare)], "3\n");
    prints(&["-p", &port, "GET", "here"], &[("KVCLIENT_URL", "redis://:pw@nowhere.invalid:1/3")], "\n");
    prints(&["-u", &bare, "PING"], &[("KVCLIENT_URL", "http://wrong")], "PONG\n");
    fails(&["PING"], &[("KVCLIENT_URL", "http://wrong")], 2, "KVCLIENT_URL");
    // What no flag may be is no success.
    for words in [
        &["-h"][..],
        &["-h", "-p", &port, "PING"],
        &["-p", "PING"],
        &["-p", "70000", "PING"],
        &["-n", "x", "PING"],
        &["-n", "-1", "PING"],
        &["-u", &bare, "-p", &port, "PING"],
        &["-s", "/s", "-h", "h", "PING"],
        &["-r", "x", "PING"],
        &["-i", "x", "PING"],
        &["-i", "-1", "PING"],
    ] {
        fails(words, &[], 2, "--help");
    }
    for (words, reason) in [
        (&["-u", "rediss://h", "PING"][..], "TLS"),
        (&["-p", &port, "-x"], "-x"),
        (&["-p", &port, "-r", "3"], "-r"),
        (&["-p", &port, "--user", "ann", "PING"], "--user"),
    ] {
        fails(words, &[], 2, reason);
    }
    // Help is for who asks for it.
    let (code, output, errors) = run(&["--help"], &[], b"");
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    for flag in
        ["-h, --host", "-p, --port", "-n, --db", "-a, --pass", "--user", "--askpass", "-s, --socket", "-x", "-r"]
    {
        assert!(output.contains(flag), "{flag}: {output}");
    }
    for variable in ["REDISCLI_AUTH", "KVCLIENT_URL", "KVCLIENT_HISTORY"] {
        assert!(output.contains(variable), "{variable}: {output}");
    }
}

#[test]
fn the_login_is_the_flags_then_the_urls_then_the_variables() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir, &["--requirepass", "pw"]);
    let port = server.address(0).port().to_string();
    let url = |login: &str| format!("redis://{login}127.0.0.1:{port}");
    fails(&["-p", &port, "PING"], &[], 1, "NOAUTH");
    prints(&["-p", &port, "-a", "pw", "ACL", "SETUSER", "ann", "on", ">-secret", "+@all"], &[], "OK\n");
    prints(&["-p", &port, "--pass", "pw", "--no-auth-warning", "PING"], &[], "PONG\n");
    prints(&["-p", &port, "--user", "ann", "-a", "-secret", "ACL", "WHOAMI"], &[], "ann\n");
    prints(&["-p", &port, "--user", "ann", "ACL", "WHOAMI"], &[("REDISCLI_AUTH", "-secret")], "ann\n");
    prints(&["-p", &port, "PING"], &[("REDISCLI_AUTH", "pw")], "PONG\n");
    prints(&["-p", &port, "-a", "pw", "PING"], &[("REDISCLI_AUTH", "wrong")], "PONG\n");
    prints(&["-u", &url(":pw@"), "PING"], &[("REDISCLI_AUTH", "wrong")], "PONG\n");
    prints(&["-u", &url(""), "PING"], &[("REDISCLI_AUTH", "pw")], "PONG\n");
    prints(&["-u", &url(":wrong@"), "-a", "pw", "PING"], &[], "PONG\n");
    prints(&["-u", &url("ann:-secret@"), "ACL", "WHOAMI"], &[("REDISCLI_AUTH", "pw")], "ann\n");
    prints(&["ACL", "WHOAMI"], &[("KVCLIENT_URL", &url("ann:-secret@")), ("REDISCLI_AUTH", "pw")], "ann\n");
    fails(&["-p", &port, "-a", "wrong", "PING"], &[], 1, "WRONGPASS");
    fails(&["-p", &port, "PING"], &[("REDISCLI_AUTH", "")], 1, "NOAUTH");
    fails(&["-p", &port, "-a", "pw", "--askpass", "PING"], &[], 2, "--help");
    if !has_terminal() {
        return;
    }
    let words = format!("-p {port} --askpass PING");
    // What is typed between the prompt and the end of the echo is shown by the terminal: on a busy machine that may be all of it.
    let is_hidden = || {
        let mut program = Program::start(&mut on_terminal(CLIENT, &words, &dir.path().join("history")));
        program.hear("assword:");
        program.say("pw\r");
        program.hear("PONG\r\n");
        assert_eq!(program.end().code(), Some(0));
        !program.output().contains("pw")
    };
    assert!((0..5).any(|_| is_hidden()), "the password was shown each time");
}

#[test]
fn a_unix_socket_is_named_by_its_path() {
    let dir = TempDir::new().expect("a temporary directory");
    let socket = dir.path().join("kv.sock").display().to_string();
    let line = dir.path().join("line.sock").display().to_string();
    let listen = [format!("unix://{socket}"), format!("unix://{line}?style=plain")];
    let _server = server(&dir, &["--listen", &listen[0], "--listen", &listen[1]]);
    prints(&["-s", &socket, "PING"], &[], "PONG\n");
    prints(&["-u", &listen[0], "-n", "2", "SET", "here", "2"], &[], "OK\n");
    prints(&["-u", &format!("{}?db=2", listen[0]), "GET", "here"], &[], "2\n");
    prints(&["GET", "here"], &[("KVCLIENT_URL", &format!("{}?db=2", listen[0]))], "2\n");
    prints(&["-u", &listen[1], "-n", "2", "GET", "here"], &[], "2\n");
    fails(&["-s", &format!("{socket}.not"), "PING"], &[], 1, "kv.sock.not");
}

#[test]
fn the_last_word_may_come_from_standard_input() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir, &[]);
    let port = server.address(0).port().to_string();
    let bytes = b"one\r\n\"two\"\0\xff\n";
    let set = run(&["-p", &port, "-x", "SET", "k"], &[], bytes);
    assert_eq!(set, (Some(0), "OK\n".to_owned(), String::new()));
    server.connect().ask("STRLEN k", format!(":{}\r\n", bytes.len()).as_str());
    let shown = run(&["-p", &port, "--no-raw", "GET", "k"], &[], b"");
    assert_eq!(shown.1, "\"one\\r\\n\\\"two\\\"\\x00\\xff\\n\"\n");
    // Larger than every buffer on the way; and nothing is a word, too.
    let large = vec![b'x'; 3 << 20];
    assert_eq!(run(&["-p", &port, "-x", "SET", "k"], &[], &large).0, Some(0));
    prints(&["-p", &port, "STRLEN", "k"], &[], &format!("{}\n", large.len()));
    assert_eq!(run(&["-p", &port, "-x", "SET", "k"], &[], b"").0, Some(0));
    prints(&["-p", &port, "STRLEN", "k"], &[], "0\n");
}

#[test]
fn a_command_is_repeated() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir, &[]);
    let port = server.address(0).port().to_string();
    prints(&["-p", &port, "-r", "3", "INCR", "a"], &[], "1\n2\n3\n");
    prints(&["-p", &port, "-r", "2", "-i", "0.01", "INCR", "a"], &[], "4\n5\n");
    // An error does not end it, but counts.
    let (code, output, errors) = run(&["-p", &port, "-r", "2", "NOSUCH"], &[], b"");
    assert_eq!((code, output.as_str()), (Some(1), ""));
    assert_eq!(errors.matches("unknown command").count(), 2, "{errors}");
    // For ever, until it is interrupted.
    let mut program = Program::start(&mut client(&["-p", &port, "-r", "-1", "-i", "0.01", "INCR", "a"], &[]));
    program.hear("8\n");
    program.interrupt();
    assert_ne!(program.end().code(), Some(0));
}

#[test]
fn help_needs_no_server() {
    for words in [&["HELP", "SET"][..], &["help", "set"]] {
        let (code, output, errors) = run(words, &[("KVCLIENT_URL", "127.0.0.1:1")], b"");
        assert_eq!((code, errors.as_str()), (Some(0), ""));
        assert!(output.contains("SET key value [NX|XX"), "{output}");
    }
    let (code, output, _) = run(&["HELP"], &[], b"");
    assert_eq!(code, Some(0));
    assert!(output.contains("HELP @string"), "{output}");
    fails(&["HELP", "NOSUCH"], &[], 1, "No command is named NOSUCH");
}
