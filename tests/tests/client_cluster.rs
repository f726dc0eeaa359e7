//! `kvclient -c` on a cluster: redirections by real nodes, and by servers that redirect without end, to nowhere, or to what is
//! no address.
//!
//! Invariant: a command is done once, by the node that has its key, or it is shown why it was not redirected. Without
//! redis-server 7.0 the tests with real nodes say so and pass; without util-linux's `script`, those at the prompt.

#![forbid(unsafe_code)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::thread::{self, JoinHandle};

use kvtests::program::{Program, has_terminal, on_terminal};
use kvtests::reference::{Reference, node_id};
use kvtests::wire::Wire;
use tempfile::TempDir;

const CLIENT: &str = env!("CARGO_BIN_EXE_kvclient_under_test");
const CTRL_C: &str = "\x03";
/// Of slot 5061, which the first node has, and of slot 12182, which the second has.
const FIRST: &str = "bar";
const SECOND: &str = "foo";
const SECOND_SLOT: &str = "12182";

fn cluster() -> Option<Vec<Reference>> {
    let nodes = Reference::start_cluster(&["0-8191", "8192-16383"]);
    if nodes.is_none() {
        println!("skipped: redis-server 7.0 is not here");
    }
    nodes
}

/// Runs the client with `input` to its end: the exit code, the output, the errors.
#[track_caller]
fn run(url: &str, words: &[&str], input: &str) -> (Option<i32>, String, String) {
    let mut program = Program::start(Command::new(CLIENT).args(["-u", url]).args(words));
    if !input.is_empty() {
        program.say(input);
    }
    program.finish()
}

/// Types a line, waits for a text, and then for the prompt at a node; `state` is what stands behind its address.
#[track_caller]
fn types(client: &mut Program, line: &str, reply: &str, node: SocketAddr, state: &str) {
    client.say(format!("{line}\r"));
    client.hear(reply);
    client.hear(&format!("{node}{state}> "));
}

#[test]
fn the_prompt_goes_to_the_node_that_has_the_key() {
    let (Some(nodes), true) = (cluster(), has_terminal()) else { return };
    let [first, second] = [nodes[0].address(), nodes[1].address()];
    let mut admins = [first, second].map(Wire::connect);
    // The nodes share a login, which goes along.
    for admin in &mut admins {
        admin.ask("CONFIG SET requirepass pw", "+OK\r\n");
    }
    let dir = TempDir::new().expect("a temporary directory");
    let words = format!("-c -u redis://:pw@{first}");
    let mut client = Program::start(&mut on_terminal(CLIENT, &words, &dir.path().join("history")));
    client.hear(&format!("{first}> "));
    let moved = format!("\n-> Redirected to slot [{SECOND_SLOT}] located at {second}\r\nOK\r\n");
    types(&mut client, &format!("SET {SECOND} 1"), &moved, second, "");
    types(&mut client, &format!("SET {FIRST} a"), &format!("located at {first}\r\nOK\r\n"), first, "");
    // A transaction stays where it is, and so do watched keys.
    types(&mut client, "MULTI", "\nOK\r\n", first, "(TX)");
    let reason = format!("{second} (not followed: a transaction stays with one node, here {first}; DISCARD ends it)");
    types(&mut client, &format!("GET {SECOND}"), &reason, first, "(TX)");
    types(&mut client, "DISCARD", "\nOK\r\n", first, "");
    types(&mut client, &format!("WATCH {FIRST}"), "\nOK\r\n", first, "");
    let reason = format!("(not followed: keys are watched at {first}; UNWATCH ends that)");
    types(&mut client, &format!("GET {SECOND}"), &reason, first, "");
    types(&mut client, "UNWATCH", "\nOK\r\n", first, "");
    // What looks at a key or a channel by itself goes there first.
    types(&mut client, &format!("peek {SECOND}"), "value      \"1\"", second, "");
    client.say(format!("SSUBSCRIBE {FIRST}\r"));
    client.hear(&format!("located at {first}"));
    client.hear("\n3) (integer) 1\r\n");
    client.say(CTRL_C);
    client.hear(&format!("{first}> "));
    // A slot on its way: keys that are not there any more are where it goes.
    admins[0].ask(&format!("CLUSTER SETSLOT 5061 MIGRATING {}", node_id(1)), "+OK\r\n");
    admins[1].ask(&format!("CLUSTER SETSLOT 5061 IMPORTING {}", node_id(0)), "+OK\r\n");
    let tag = format!("{{{FIRST}}}new");
    let asked = format!("\n-> Redirected to slot [5061] located at {second}\r\nOK\r\n");
    types(&mut client, &format!("SET {tag} 2"), &asked, second, "");
    // From there it is redirected to the node that still has the slot, and back.
    types(&mut client, &format!("GET {tag}"), &format!("{first}\r\n"), second, "");
    assert!(client.output().contains(&format!("{second}\r\n\"2\"\r\n")), "{}", client.output());
    // Both have accepted the login.
    types(&mut client, "INFO server", "# Server", second, "");
    assert!(!client.output().contains("NOAUTH"), "{}", client.output());
}

#[test]
fn scripts_get_the_reply_and_nothing_else() {
    let Some(nodes) = cluster() else { return };
    let url = format!("redis://{}", nodes[0].address());
    let done = |words: &[&str], input: &str, output: &str| {
        assert_eq!(run(&url, words, input), (Some(0), output.to_owned(), String::new()), "{words:?} {input}");
    };
    done(&["-c", "SET", SECOND, "1"], "", "OK\n");
    done(&["-c", "--json", "GET", SECOND], "", "\"1\"\n");
    done(&["-c", "-r", "2", "INCR", SECOND], "", "2\n3\n");
    let lines: String = (0..50).map(|n| format!("SET {n} {n}\nGET {n}\n")).collect();
    let replies: String = (0..50).map(|n| format!("OK\n{n}\n")).collect();
    done(&["-c"], &lines, &replies);
    // Without -c it is an error as any.
    let (code, output, errors) = run(&url, &["GET", SECOND], "");
    assert_eq!((code, output.as_str()), (Some(1), ""), "{errors}");
    assert!(errors.contains(&format!("MOVED {SECOND_SLOT} {}", nodes[1].address())), "{errors}");
}

/// A server that replies to every request with one text, `{own}` in it being its own port; it serves as many connections.
fn redirecting(connections: usize, text: &str) -> (SocketAddr, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address");
    let reply = format!("-{}\r\n", text.replace("{own}", &address.port().to_string()));
    let served = thread::spawn(move || {
        let mut heard = String::new();
        for _ in 0..connections {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = stream.read(&mut bytes) {
                heard += &String::from_utf8_lossy(&bytes[..count]);
                stream.write_all(reply.as_bytes()).expect("a reply");
            }
        }
        heard
    });
    (address, served)
}

#[test]
fn redirections_that_lead_nowhere_end_with_the_reason() {
    for (text, shown) in [
        ("MOVED 1 127.0.0.1:{own}", "(not followed: it was redirected 8 times)"),
        ("MOVED 1 :{own}", "(not followed: it was redirected 8 times)"),
        // A port that a test may take is soon another test's.
        ("MOVED 1 127.0.0.1:1", "Connection refused"),
        ("MOVED 1 \x1b[2J:1", "MOVED 1 \\x1b[2J:1"),
        ("MOVED 1 user:pw@127.0.0.1:1", "MOVED 1 user:pw@127.0.0.1:1"),
        ("MOVED 1 127.0.0.1:99999", "MOVED 1 127.0.0.1:99999"),
        ("MOVED 99999 127.0.0.1:{own}", "MOVED 99999"),
        ("ASK 1 :{own}", "(not followed: ASKING: ASK 1 :"),
    ] {
        let (address, served) = redirecting(1, text);
        let (code, output, errors) = run(&format!("redis://{address}"), &["-c", "GET", "k"], "");
        assert_eq!((code, output.as_str()), (Some(1), ""), "{text}: {errors}");
        assert!(errors.contains(shown) && !errors.contains('\x1b'), "{text}: {errors}");
        let heard = served.join().expect("the server");
        assert!(heard.matches("GET").count() <= 9, "{text}: {heard}");
    }
}

/// The error of a script is the words of its author, who may be another user: it does not choose who is sent the password.
#[test]
fn a_script_does_not_choose_who_is_sent_the_login() {
    let Some(server) = Reference::start(&[]) else {
        println!("skipped: redis-server 7.0 is not here");
        return;
    };
    Wire::connect(server.address()).ask("CONFIG SET requirepass pw", "+OK\r\n");
    let trap = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let script = format!("return redis.error_reply('MOVED 0 {}')", trap.local_addr().expect("an address"));
    let url = format!("redis://:pw@{}", server.address());
    let (code, output, errors) = run(&url, &["-c", "EVAL", &script, "0"], "");
    assert_eq!((code, output.as_str()), (Some(1), ""), "{errors}");
    assert!(errors.contains("MOVED 0"), "{errors}");
    trap.set_nonblocking(true).expect("a listener");
    assert!(trap.accept().is_err(), "the client went where the script said");
}

#[test]
fn a_login_is_never_redirected() {
    let other = TcpListener::bind("127.0.0.1:0").expect("a free port");
    other.set_nonblocking(true).expect("a socket option");
    let text = format!("MOVED 1 {}", other.local_addr().expect("its address"));
    let (address, served) = redirecting(1, &text);
    let (code, _, errors) = run(&format!("redis://{address}"), &["-c"], "AUTH secret\n");
    assert_eq!(code, Some(1), "{errors}");
    assert!(errors.contains("MOVED 1"), "{errors}");
    served.join().expect("the server");
    assert!(other.accept().is_err(), "the client has connected there");
    let (address, served) = redirecting(1, &text);
    let (code, _, errors) = run(&format!("redis://:secret@{address}"), &["-c", "GET", "k"], "");
    assert_eq!(code, Some(1), "{errors}");
    served.join().expect("the server");
    assert!(other.accept().is_err(), "the client has connected there");
}
