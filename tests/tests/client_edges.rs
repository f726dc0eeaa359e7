//! `kvclient` at its edges: text on a terminal, servers without RESP3, RESP where commands belong, an output that is closed,
//! a server that does not come back, pastes that are too long or no text.
//!
//! Invariant: what cannot be done is said, with an exit code that is not 0, and nothing is run that was not meant so.
//! Without util-linux's `script`, which makes the pseudo-terminal, the tests of the prompt say so and pass.

#![forbid(unsafe_code)]

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::thread::{self, JoinHandle};

use kvtests::process::{Launch, ServerProcess};
use kvtests::program::{Program, has_terminal, on_terminal, prompt};
use kvtests::server_program;
use kvtests::wire::request;
use tempfile::TempDir;

const CLIENT: &str = env!("CARGO_BIN_EXE_kvclient_under_test");
const UP: &str = "\x1b[A";

fn server(dir: &TempDir) -> ServerProcess {
    Launch::new(server_program!(), dir.path()).resp().line("plain").start()
}

fn client(url: &str, words: &[&str]) -> Command {
    let mut command = Command::new(CLIENT);
    command.args(["-u", url]).args(words);
    command
}

/// Runs the client with `input` to its end: the exit code, the output, the errors.
#[track_caller]
fn run(url: &str, words: &[&str], input: &[u8]) -> (Option<i32>, String, String) {
    let mut program = Program::start(&mut client(url, words));
    if !input.is_empty() {
        program.say(input);
    }
    program.finish()
}

#[test]
fn a_terminal_shows_text_as_text() {
    if !has_terminal() {
        return;
    }
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let mut admin = server.connect();
    admin.send(request(&[b"SET".as_slice(), b"k", "Gr\u{fc}n\x1b\u{202e}".as_bytes()]));
    admin.expect("+OK\r\n");
    let shown = |flags: &str| {
        let words = format!("-u redis://{} {flags} GET k", server.address(0));
        let mut program = Program::start(&mut on_terminal(CLIENT, &words, &dir.path().join("history")));
        assert_eq!(program.end().code(), Some(0));
        // The test sees each byte beyond ASCII as a question mark.
        program.output()
    };
    assert_eq!(shown(""), "\"Gr??n\\x1b\\xe2\\x80\\xae\"\r\n");
    assert_eq!(shown("--no-raw"), "\"Gr\\xc3\\xbcn\\x1b\\xe2\\x80\\xae\"\r\n");
}

/// A server that knows no HELLO, on as many connections, and replies OK to everything else; what it was sent.
fn old_server(connections: usize) -> (SocketAddr, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address");
    let served = thread::spawn(move || {
        let mut heard = String::new();
        for _ in 0..connections {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = stream.read(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
                let reply = match text.contains("HELLO") {
                    true => "-ERR unknown command `HELLO`, with args beginning with: `3`, \r\n",
                    false => "+OK\r\n",
                };
                heard += &text;
                stream.write_all(reply.as_bytes()).expect("a reply");
            }
        }
        heard
    });
    (address, served)
}

#[test]
fn json_speaks_resp2_to_a_server_that_knows_no_resp3() {
    let (address, served) = old_server(3);
    let url = format!("redis://me:pw@{address}");
    for flag in ["--json", "--table"] {
        let (code, output, errors) = run(&url, &[flag, "PING"], b"");
        assert_eq!((code, errors.as_str()), (Some(0), ""), "{output}");
        assert!(output.contains("OK"), "{output}");
    }
    // -3 says that it has to be RESP3.
    let (code, _, errors) = run(&url, &["-3", "--json", "PING"], b"");
    assert_eq!(code, Some(1));
    assert!(errors.contains("unknown command `HELLO`"), "{errors}");
    let heard = served.join().expect("the server");
    assert_eq!(heard.matches("AUTH\r\n$2\r\nme\r\n$2\r\npw\r\n").count(), 5, "{heard}");
}

#[test]
fn resp_is_not_taken_for_commands() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let input = b"*1\r\n$8\r\nFLUSHALL\r\n";
    server.connect().ask("SET k v", "+OK\r\n");
    for (scheme, index) in [("redis", 0), ("line", 1)] {
        let (code, output, errors) = run(&format!("{scheme}://{}", server.address(index)), &[], input);
        assert_eq!((code, output.as_str()), (Some(1), ""), "{errors}");
        assert_eq!(
            errors,
            "kvclient: line 1: the input is RESP, not commands; kvclient --pipe sends it. Nothing was sent\n"
        );
    }
    server.connect().ask("EXISTS k", ":1\r\n");
    // What is no RESP is a command as ever.
    let (code, output, errors) = run(&format!("redis://{}", server.address(0)), &[], b"*1\nPING\n");
    assert!(code == Some(1) && output.contains("unknown command") && output.ends_with("PONG\n"), "{output} {errors}");
}

#[test]
fn errors_before_the_output_is_closed_give_exit_code_1() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let url = format!("redis://{}", server.address(0));
    for (input, code) in [("NOSUCH\nPING\n", 1), ("PING\nPING\n", 0)] {
        let (reader, writer) = io::pipe().expect("a pipe");
        drop(reader);
        let mut command = client(&url, &[]);
        let mut child =
            command.stdin(Stdio::piped()).stdout(writer).stderr(Stdio::null()).spawn().expect("the client's program");
        // It may have ended before it has read all of it.
        let _ = child.stdin.take().expect("its input").write_all(input.as_bytes());
        assert_eq!(child.wait().expect("its end").code(), Some(code), "{input}");
    }
}

#[test]
fn stat_ends_where_nobody_watches_and_no_server_comes_back() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let url = format!("redis://{}", server.address(0));
    let mut program = Program::start(&mut client(&url, &["--stat", "--csv", "-i", "0.02"]));
    program.hear("\n0,");
    drop(server);
    assert_eq!(program.end().code(), Some(1));
}

#[test]
fn a_paste_that_is_no_text_is_dropped_to_its_end_and_a_long_one_is_run() {
    if !has_terminal() {
        return;
    }
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let address = server.address(0);
    let mut client = prompt(CLIENT, address, &dir.path().join("history"));
    // More than a terminal holds at once: the rest comes when the first line was refused already.
    client.say([b"\x1b[200~SET k \xff\r".as_slice(), &b"SET k v\r".repeat(5_000), b"\x1b[201~"].concat());
    client.hear("What was typed is not UTF-8; nothing of it was sent.");
    client.hear(&format!("{address}> "));
    client.types(address, "EXISTS k", "\n(integer) 0\r\n");
    // Longer than the editor can count columns, and walked row by row.
    let value = "x".repeat(70_000);
    client.paste(&format!("SET k {value}\nSTRLEN k"));
    client.say(format!("{UP}\r"));
    client.hear("\nOK\r\n(integer) 70000\r\n");
    client.hear(&format!("{address}> "));
}

#[test]
fn looks_at_a_key_need_resp_and_say_so() {
    if !has_terminal() {
        return;
    }
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let address = server.address(1);
    let words = format!("-u line://{address}");
    let mut client = Program::start(&mut on_terminal(CLIENT, &words, &dir.path().join("history")));
    client.hear(&format!("{address}> "));
    client.types(address, "peek k", "PEEK needs the server's redis:// port; :connect goes there.");
    client.types(address, "watch k", "Changes are watched over the server's redis:// port; :connect goes there.");
    client.types(address, ":watch k", "Changes are watched over the server's redis:// port; :connect goes there.");
    client.types(address, "WATCH k", "OK");
}
