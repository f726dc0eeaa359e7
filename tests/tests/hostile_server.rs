//! The program `kvclient` against a server that means no good: lengths nothing follows, nesting without end, lines
//! without end, commands for the terminal, replies in pieces, cut, out of turn, of the wrong kind.
//!
//! Invariant: the client neither crashes nor holds more than was sent, no control character of the server's reaches the
//! terminal, and every failure is one line on standard error that says what to do next, with exit code 1.

#![forbid(unsafe_code)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::thread::{self, JoinHandle};

use kvtests::program::{Program, has_terminal, prompt};
use kvtests::wait::PATIENCE;
use tempfile::TempDir;

const CLIENT: &str = env!("CARGO_BIN_EXE_kvclient_under_test");
/// Far less than the lengths that are announced, and enough for the program itself.
const MEMORY_KIB: u32 = 512 * 1024;

/// What a server that lies has to say.
struct Hostile {
    address: SocketAddr,
    server: Option<JoinHandle<()>>,
}

impl Hostile {
    /// Accepts one connection after the other and plays `part` on each; the connection is closed when it returns.
    fn start(connections: usize, part: impl Fn(&mut TcpStream, usize) + Send + 'static) -> Hostile {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
        let server = thread::spawn(move || {
            for number in 0..connections {
                let (mut stream, _) = listener.accept().expect("a connection");
                stream.set_nodelay(true).expect("a socket option");
                stream.set_read_timeout(Some(PATIENCE)).expect("a socket option");
                part(&mut stream, number);
            }
        });
        Hostile { address, server: Some(server) }
    }

    /// Answers each request of the one connection with the next of `answers`, then closes.
    fn answering(answers: &[&[u8]]) -> Hostile {
        let answers: Vec<Vec<u8>> = answers.iter().map(|answer| answer.to_vec()).collect();
        Hostile::start(1, move |stream, _| {
            for answer in &answers {
                hear_request(stream);
                // The client may have heard enough.
                let _ = stream.write_all(answer);
            }
        })
    }

    fn url(&self) -> String {
        format!("redis://{}", self.address)
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        if !thread::panicking()
            && let Some(server) = self.server.take()
        {
            server.join().expect("the server played its part");
        }
    }
}

/// Waits for a request, whatever it is: they are small, and come whole.
fn hear_request(stream: &mut TcpStream) {
    let read = stream.read(&mut [0; 4096]).expect("a request");
    assert!(read > 0, "the client left without a request");
}

/// Runs the client, held to little memory, to its end: the exit code, the output, the errors.
#[track_caller]
fn run(url: &str, words: &[&str]) -> (Option<i32>, String, String) {
    run_with(url, words, &[])
}

/// The same with lines on standard input: each is written when the reply to the last one has been shown.
#[track_caller]
fn run_with(url: &str, words: &[&str], input: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let mut program = Program::start(&mut client(url, words, MEMORY_KIB));
    for (line, shown) in input {
        program.say(format!("{line}\n"));
        program.hear(shown);
    }
    program.finish()
}

/// The client, held to so much memory.
fn client(url: &str, words: &[&str], memory_kib: u32) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -v {memory_kib}; exec \"$0\" \"$@\""), CLIENT, "-u", url]).args(words);
    command
}

/// The client must fail with this reason, and say what to do.
#[track_caller]
fn fails(url: &str, words: &[&str], reasons: &[&str]) {
    has_failed(run(url, words), reasons);
}

#[track_caller]
fn has_failed((code, output, errors): (Option<i32>, String, String), reasons: &[&str]) {
    assert_eq!((code, output.as_str()), (Some(1), ""), "{errors}");
    for reason in reasons {
        assert!(errors.contains(reason), "{reason:?} is not in {errors:?}");
    }
    assert!(errors.len() < 400 && errors.lines().count() == 1, "{errors:?}");
    assert_plain(&errors);
}

/// Nothing in it commands a terminal.
#[track_caller]
fn assert_plain(text: &str) {
    let commands = |letter: char| letter.is_control() && !matches!(letter, '\n' | '\t');
    assert!(!text.contains(commands), "{text:?}");
}

/// CVE-2021-32762: a client that believed the count of an array allocated for it, and overflowed.
#[test]
fn cve_2021_32762_a_length_is_believed_when_its_bytes_are_there() {
    for header in [
        &b"$1073741000\r\n"[..],
        b"*300000000\r\n",
        b"%150000000\r\n",
        b"~300000000\r\n:1\r\n*300000000\r\n*300000000\r\n",
        b">300000000\r\n",
        b"|150000000\r\n",
        b"=1073741000\r\ntxt:",
        b"!1073741000\r\nERR",
    ] {
        let server = Hostile::answering(&[header]);
        // The rest never comes: the memory it would take was not set aside, or the client would have died of it.
        fails(&server.url(), &["GET", "k"], &["is closed; connect again"]);
    }
    for header in [
        &b"$9223372036854775807\r\n"[..],
        b"$1073741825\r\n",
        b"*9223372036854775807\r\n",
        b"*4611686018427387904\r\n",
        b"*1152921504606846976\r\n",
        b"%4611686018427387904\r\n",
    ] {
        let server = Hostile::answering(&[header]);
        fails(&server.url(), &["GET", "k"], &["larger than the client accepts", "ask for less at once"]);
    }
    for header in
        [&b"$-2\r\n"[..], b"$18446744073709551616\r\n", b"*x\r\n", b"$\r\n", b":1.5\r\n", b"#x\r\n", b"(1x\r\n"]
    {
        let server = Hostile::answering(&[header]);
        fails(&server.url(), &["GET", "k"], &["invalid length or number", "RESP port"]);
    }
}

#[test]
fn nesting_without_end_is_refused() {
    for header in [&b"*1\r\n"[..], b"%1\r\n+k\r\n", b"~1\r\n", b">1\r\n", b"*2\r\n:1\r\n"] {
        let server = Hostile::answering(&[&header.repeat(100_000)]);
        fails(&server.url(), &["GET", "k"], &["nested too deeply", "check what listens there"]);
    }
    // As deep as is accepted, and shown.
    let deep = [&b"*1\r\n".repeat(60)[..], b":7\r\n"].concat();
    let server = Hostile::answering(&[&deep]);
    let (code, output, _) = run(&server.url(), &["--no-raw", "GET", "k"]);
    assert_eq!(code, Some(0));
    assert_eq!(output, format!("{}(integer) 7\n", "1) ".repeat(60)));
}

#[test]
fn a_line_without_end_is_refused_before_it_fills_the_memory() {
    for begin in [&b"+"[..], b"-", b":", b"$", b"*", b",", b"("] {
        let begin = begin.to_vec();
        let server = Hostile::start(1, move |stream, _| {
            hear_request(stream);
            let _ = stream.write_all(&begin);
            // Until the client has had enough; far more than it may hold.
            let more = vec![b'1'; 1 << 20];
            let sent = (0..4096).take_while(|_| stream.write_all(&more).is_ok()).count();
            assert!(sent < 4096, "the client took 4 GiB of one line");
        });
        fails(&server.url(), &["GET", "k"], &["larger than the client accepts", "ask for less at once"]);
    }
}

/// Sends `begin`, then `more` for ever, or until the client has had enough.
fn flooding(begin: &[u8], more: &[u8]) -> Hostile {
    let (begin, more) = (begin.to_vec(), more.repeat((1 << 20) / more.len()));
    Hostile::start(1, move |stream, _| {
        hear_request(stream);
        let _ = stream.write_all(&begin);
        let sent = (0..4096).take_while(|_| stream.write_all(&more).is_ok()).count();
        assert!(sent < 4096, "the client took 4 GiB of one reply");
    })
}

#[test]
fn a_flood_of_items_is_refused_before_it_fills_the_memory() {
    // So little that it is filled in a moment.
    let refused = |url: &str| {
        let ended = Program::start(&mut client(url, &["GET", "k"], 40 * 1024)).finish();
        has_failed(ended, &["larger than the client accepts", "ask for less at once"]);
    };
    let text = [b"$1000\r\n", &*vec![b'x'; 1000], b"\r\n"].concat();
    for (begin, item) in [
        (&b"*1000000\r\n"[..], &*text),
        (b"*300000000\r\n", b"_\r\n"),
        (b"*300000000\r\n", b"*0\r\n"),
        (b"*300000000\r\n", b"*1\r\n+x\r\n"),
        (b"%150000000\r\n", b"$40\r\n0123456789012345678901234567890123456789\r\n"),
        (b">300000000\r\n", b"+0123456789012345678901234567890123456789\r\n"),
        (b"|150000000\r\n", b":1\r\n"),
    ] {
        let server = flooding(begin, item);
        refused(&server.url());
    }
    let server = flooding(b"$1073741000\r\n", b"x");
    refused(&server.url());
    let server = flooding(b"", b"x");
    refused(&server.url().replace("redis://", "line://"));
}

#[test]
fn what_is_no_reply_is_told_from_one() {
    for (answer, reason) in [
        (&b"SSH-2.0-OpenSSH_9.2\r\n"[..], "unexpected byte 0x53"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "unexpected byte 0x48"),
        (b"\x16\x03\x01\x02\0", "unexpected byte 0x16"),
        (b"+no carriage return\n", "unexpected byte 0x2b"),
        (b"\r\n", "unexpected byte 0x0d"),
        (b"\0", "unexpected byte 0x00"),
        (b"\x1b[2J\r\n", "unexpected byte 0x1b"),
    ] {
        let server = Hostile::answering(&[answer]);
        fails(&server.url(), &["GET", "k"], &[reason, "RESP port"]);
    }
}

#[test]
fn a_reply_that_is_cut_anywhere_is_a_lost_connection() {
    let reply = b"*3\r\n$5\r\nhello\r\n:1\r\n%1\r\n+a\r\n_\r\n";
    for cut in 0..reply.len() {
        let server = Hostile::answering(&[&reply[..cut]]);
        let reasons = ["is closed; connect again", "whether the last command was done is unknown"];
        fails(&server.url(), &["-3", "GET", "k"][1..], &reasons);
    }
}

#[test]
fn a_reply_byte_by_byte_is_the_same_reply() {
    let server = Hostile::start(1, |stream, _| {
        hear_request(stream);
        for byte in b"*3\r\n$5\r\nhello\r\n:1\r\n*2\r\n+a\r\n$-1\r\n" {
            stream.write_all(&[*byte]).expect("the client reads on");
        }
    });
    let (code, output, errors) = run(&server.url(), &["--no-raw", "GET", "k"]);
    assert_eq!(output, "1) \"hello\"\n2) (integer) 1\n3) 1) a\n   2) (nil)\n");
    assert_eq!((code, errors.as_str()), (Some(0), ""));

    let server = Hostile::start(1, |stream, _| {
        hear_request(stream);
        for byte in b"OK a long line, in pieces\r\n" {
            stream.write_all(&[*byte]).expect("the client reads on");
        }
    });
    let (code, output, _) = run(&format!("line://{}", server.address), &["GET", "k"]);
    assert_eq!((code, output.as_str()), (Some(0), "OK a long line, in pieces\n"));
}

/// What terminals obey: titles, colours, clearing, in 7 and 8 bits, alone and in UTF-8; and text that runs backwards.
const ATTACK: &str = "\x1b]0;owned\x07\x1b[2J\u{9b}31m\r\u{8}\u{7f}\u{202e}x";

#[test]
fn what_a_server_says_cannot_command_the_terminal() {
    let attack = ATTACK.as_bytes();
    let broken = [attack, b"\x9b31m\xff"].concat();
    let bulk =
        |kind: u8, text: &[u8]| [&[kind][..], text.len().to_string().as_bytes(), b"\r\n", text, b"\r\n"].concat();
    for text in [attack, &broken[..]] {
        for reply in [
            [b"+", text, b"\r\n"].concat(),
            bulk(b'$', text),
            bulk(b'=', &[b"txt:", text].concat()),
            [&b"*2\r\n"[..], &bulk(b'$', text), b"+", text, b"\r\n"].concat(),
            [&b"%1\r\n"[..], &bulk(b'$', text), &bulk(b'=', &[b"txt:", text].concat())].concat(),
        ] {
            for command in ["GET", "INFO"] {
                let server = Hostile::answering(&[&reply]);
                let (code, output, errors) = run(&server.url(), &["--no-raw", command, "k"]);
                assert_eq!((code, errors.as_str()), (Some(0), ""));
                assert_plain(&output);
                assert!(output.contains("\\x1b]0;owned"), "{output:?}");
                // What is not ASCII shows as `?` here: nothing is left of it, but the mark for bytes that are no text.
                assert!(text == &broken[..] || !output.contains('?'), "{output:?}");
            }
        }
        // An error goes to the terminal even if the output is in a pipe, as in $(kvclient GET k).
        for reply in [[b"-ERR ", text, b"\r\n"].concat(), bulk(b'!', &[b"ERR ", text].concat())] {
            for style in ["--no-raw", "--raw"] {
                let server = Hostile::answering(&[&reply]);
                let (code, output, errors) = run(&server.url(), &[style, "GET", "k"]);
                let shown = if style == "--raw" { &errors } else { &output };
                assert_eq!(code, Some(1), "{shown:?}");
                assert_plain(&output);
                assert_plain(&errors);
                assert!(shown.contains("ERR \\x1b]0;owned"), "{shown:?}");
            }
        }
        // The server refuses the greeting in such words.
        let server = Hostile::answering(&[&[b"-ERR ", text, b"\r\n"].concat()]);
        fails(&format!("{}/3", server.url()), &["GET", "k"], &["ERR \\x1b]0;owned", "check user, password"]);
        // The line protocol's lines.
        let server = Hostile::answering(&[&[b"OK ", text, b"\n"].concat()]);
        let (_, output, _) = run(&format!("line://{}", server.address), &["--no-raw", "GET", "k"]);
        assert_plain(&output);
        assert!(output.starts_with("OK \\x1b]0;owned"), "{output:?}");
    }
}

#[test]
fn an_error_of_several_lines_cannot_pass_for_several_replies() {
    let text = "ERR no\n127.0.0.1:6379> GET secret\n\"forged\"";
    let server = Hostile::answering(&[format!("!{}\r\n{text}\r\n", text.len()).as_bytes()]);
    let (code, output, _) = run(&server.url(), &["--no-raw", "GET", "k"]);
    assert_eq!(code, Some(1));
    assert_eq!(output, "(error) ERR no\\n127.0.0.1:6379> GET secret\\n\"forged\"\n");
}

#[test]
fn replies_of_the_wrong_kind_are_shown_for_what_they_are() {
    let answers: [&[u8]; 6] = [b":5\r\n", b"*0\r\n", b"$-1\r\n", b"#t\r\n", b"+QUEUED\r\n", b"*-1\r\n"];
    let server = Hostile::answering(&answers);
    let input = [
        ("SELECT 3", "(integer) 5"),
        ("MULTI", "(empty array)"),
        ("INFO", "(nil)"),
        ("EXEC", "(true)"),
        ("CLIENT LIST", "QUEUED"),
        ("PING", "(nil)"),
    ];
    let (code, output, errors) = run_with(&server.url(), &["--no-raw"], &input);
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    assert_eq!(output, "(integer) 5\n(empty array)\n(nil)\n(true)\nQUEUED\n(nil)\n");
}

#[test]
fn pushes_out_of_turn_are_no_answers() {
    let push = b">2\r\n+invalidate\r\n*1\r\n$4\r\n\x1b[2J\r\n";
    let server = Hostile::start(1, move |stream, _| {
        // Before anything was asked, before the answer, behind it.
        stream.write_all(push).expect("the client reads");
        hear_request(stream);
        stream.write_all(&[&push[..], b"%0\r\n", push].concat()).expect("the client reads");
        hear_request(stream);
        stream.write_all(&[&push[..], b"$1\r\nv\r\n", push].concat()).expect("the client reads");
        hear_request(stream);
        stream.write_all(&[b">0\r\n", &push[..], b"+PONG\r\n"].concat()).expect("the client reads");
    });
    let (code, output, errors) = run_with(&server.url(), &["-3", "--no-raw"], &[("GET k", "\"v\""), ("PING", "PONG")]);
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    assert_plain(&output);
    let answers: Vec<&str> =
        output.lines().filter(|line| !line.contains("invalidate") && !line.contains("2)")).collect();
    assert_eq!(answers, ["\"v\"", "(empty push)", "PONG"], "{output}");
}

#[test]
fn a_subscription_shows_whatever_comes_escaped_and_says_how_it_ended() {
    let server = Hostile::start(1, |stream, _| {
        hear_request(stream);
        let confirmed = b"*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n";
        let message = [&b"*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$4\r\n\x1b[2J\r\n"[..]].concat();
        // A confirmation, a message, and what none of the three is.
        stream.write_all(&[&confirmed[..], &message, b":5\r\n-ERR \x1b[2J\r\n$-1\r\n*0\r\n"].concat()).expect("sent");
        for byte in &message[..] {
            stream.write_all(&[*byte]).expect("the client reads on");
        }
        stream.write_all(b"*3\r\n$7\r\nmessa").expect("the client reads on");
    });
    let (code, output, errors) = run(&server.url(), &["--no-raw", "SUBSCRIBE", "news"]);
    assert_eq!(code, Some(1));
    assert_plain(&output);
    let message = "1) \"message\"\n2) \"news\"\n3) \"\\x1b[2J\"\n";
    let between = "(integer) 5\n(error) ERR \\x1b[2J\n(nil)\n(empty array)\n";
    let confirmed = "1) \"subscribe\"\n2) \"news\"\n3) (integer) 1\n";
    assert_eq!(output, format!("{confirmed}{message}{between}{message}"));
    assert!(errors.contains("is closed; connect again"), "{errors}");
}

#[test]
fn the_prompt_comes_back_whatever_the_server_does() {
    if !has_terminal() {
        return;
    }
    let dir = TempDir::new().expect("a temporary directory");
    let server = Hostile::start(4, |stream, number| {
        let answers: &[&[u8]] = match number {
            0 => &[b"-ERR \x1b]0;owned\x07\r\n", b"$11\r\n\x1b[2J\x1b]0;x\x07\xff\r\n", b"?what is this\r\n"],
            1 => &[b"*1000\r\n:1\r\n"],
            2 => &[&[b'*', b'1', b'\r', b'\n'].repeat(100)],
            _ => &[b"+fine\r\n"],
        };
        for answer in answers {
            hear_request(stream);
            stream.write_all(answer).expect("the client reads");
        }
        if number == 3 {
            // Until the user leaves.
            let _ = stream.read(&mut [0; 64]);
        }
    });
    let address = server.address;
    let mut program = prompt(CLIENT, address, &dir.path().join("history"));
    program.types(address, "GET k", "\n(error) ERR \\x1b]0;owned\\x07\r\n");
    program.types(address, "GET k", "\n\"\\x1b[2J\\x1b]0;x\\a\\xff\"\r\n");
    for reason in ["RESP port", "connect again", "check what listens there"] {
        program.say("GET k\r");
        program.hear(reason);
        program.hear("not connected> ");
    }
    program.types(address, "GET k", "\nfine\r\n");
    // What the line editor itself sends to the terminal is its own: the server's titles and clearing are not there.
    let output = program.output();
    assert!(!output.contains("\x1b]0;") && !output.contains('\x07'), "{output:?}");
    program.say("\u{4}");
    assert_eq!(program.end().code(), Some(0));
}
