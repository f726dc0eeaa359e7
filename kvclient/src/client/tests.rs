//! Tests of the client against a server that follows a script: which requests come over which connection, and what becomes
//! of those whose reply does not come.
//!
//! Invariant: the server checks every byte that it reads, so a request that is sent twice, or too early, fails the test.

use super::*;
use crate::error::Outcome;
use crate::reconnect::Reconnect;
use kvproto::resp::{Version, encode_request};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Instant;

/// What happens on one connection: requests, each with its reply, which may be none. Then it is closed.
type Script = &'static [(&'static str, &'static str)];

/// A server of some connections, one after the other.
struct Scripted {
    place: String,
    server: JoinHandle<()>,
}

impl Scripted {
    fn start(scripts: &'static [Script]) -> Scripted {
        Scripted::start_with(scripts, |words, out| encode_request(words.split(' ').collect::<Vec<_>>(), out))
    }

    fn start_lines(scripts: &'static [Script]) -> Scripted {
        Scripted::start_with(scripts, |words, out| out.extend_from_slice(format!("{words}\n").as_bytes()))
    }

    fn start_with(scripts: &'static [Script], encode: fn(&str, &mut Vec<u8>)) -> Scripted {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let place = listener.local_addr().unwrap().to_string();
        let server = thread::spawn(move || {
            for script in scripts {
                let (mut stream, _) = listener.accept().unwrap();
                for (words, reply) in *script {
                    let mut expected = Vec::new();
                    encode(words, &mut expected);
                    let mut seen = vec![0; expected.len()];
                    stream.read_exact(&mut seen).unwrap();
                    assert_eq!(seen.escape_ascii().to_string(), expected.escape_ascii().to_string());
                    stream.write_all(reply.as_bytes()).unwrap();
                }
            }
        });
        Scripted { place, server }
    }

    fn connect(&self, url_login: &str, db: &str, options: Options) -> Result<Client> {
        Client::connect_with(&format!("redis://{url_login}{}{db}", self.place).parse()?, options)
    }

    /// Nothing that the script does not hold has come.
    fn finish(self) {
        self.server.join().unwrap();
    }
}

fn quick() -> Options {
    let wait = Duration::from_millis(1);
    let reconnect = Reconnect { attempts: 3, first_wait: wait, longest_wait: wait };
    Options { reconnect, reply_timeout: Some(Duration::from_secs(20)), ..Options::default() }
}

/// Waits until the end of the connection has arrived.
#[track_caller]
fn until_closed(client: &mut Client) {
    let begin = Instant::now();
    while client.is_connected() {
        assert!(begin.elapsed() < Duration::from_secs(20), "the connection is not closed");
        thread::yield_now();
    }
}

#[test]
fn a_connection_that_ended_between_requests_is_replaced_by_an_equal_one() {
    let server = Scripted::start(&[
        &[
            ("HELLO 3 AUTH me pw", "%0\r\n"),
            ("CLIENT SETNAME first", "+OK\r\n"),
            ("SELECT 2", "+OK\r\n"),
            ("SELECT 4", "+OK\r\n"),
            ("CLIENT SETNAME second", "+OK\r\n"),
            ("AUTH other secret", "+OK\r\n"),
        ],
        &[
            ("HELLO 3 AUTH other secret", "%0\r\n"),
            ("CLIENT SETNAME second", "+OK\r\n"),
            ("SELECT 4", "+OK\r\n"),
            ("GET k", "$1\r\nv\r\n"),
        ],
    ]);
    let options = Options { version: Version::Resp3, name: Some("first".to_owned()), ..quick() };
    let mut client = server.connect("me:pw@", "/2", options).unwrap();
    client.select(4).unwrap();
    client.set_name("second").unwrap();
    client.auth("other", "secret").unwrap();
    until_closed(&mut client);
    assert_eq!(client.get::<String>("k").unwrap().as_deref(), Some("v"));
    assert!(!format!("{client:?}").contains("secret"));
    server.finish();
}

#[test]
fn what_was_refused_is_not_restored() {
    let server = Scripted::start(&[
        &[("SELECT 99", "-ERR DB index is out of range\r\n"), ("AUTH me wrong", "-WRONGPASS no\r\n")],
        &[("PING", "+PONG\r\n")],
    ]);
    let mut client = server.connect("", "", quick()).unwrap();
    assert_eq!(client.select(99).unwrap_err().outcome(), Outcome::Refused);
    assert_eq!(client.auth("me", "wrong").unwrap_err().outcome(), Outcome::Refused);
    until_closed(&mut client);
    client.ping().unwrap();
    server.finish();
}

/// The reply did not come: the next request is another one, on another connection.
#[test]
fn a_request_whose_outcome_is_unknown_is_never_sent_again() {
    let server = Scripted::start(&[
        &[("INCR n", "")],
        &[("INCR n", ":1")],
        &[("INCR n", "HTTP/1.1 400\r\n")],
        &[("GET n", "$1\r\n3\r\n")],
    ]);
    let mut client = server.connect("", "", quick()).unwrap();
    let error = client.incr("n").unwrap_err();
    assert!(matches!(error, Error::Closed { .. }), "{error}");
    assert_eq!(error.outcome(), Outcome::Unknown);
    // Half a reply is none.
    let error = client.incr("n").unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
    let error = client.incr("n").unwrap_err();
    assert!(matches!(error, Error::Protocol(_)), "{error}");
    assert_eq!(error.outcome(), Outcome::Unknown);
    assert_eq!(client.get::<i64>("n").unwrap(), Some(3));
    server.finish();
}

#[test]
fn a_reply_that_comes_too_late_is_not_taken_for_another() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("redis://{}", listener.local_addr().unwrap()).parse().unwrap();
    let (give_up, given_up) = mpsc::channel();
    let server = thread::spawn(move || {
        let (mut slow, _) = listener.accept().unwrap();
        given_up.recv().unwrap();
        // The client may have closed it already.
        let _ = slow.write_all(b":1\r\n");
        let (mut quick, _) = listener.accept().unwrap();
        quick.read_exact(&mut [0; 22]).unwrap();
        quick.write_all(b":7\r\n").unwrap();
    });
    let options = Options { reply_timeout: Some(Duration::from_millis(50)), ..quick() };
    let mut client = Client::connect_with(&address, options).unwrap();
    let error = client.incr("n").unwrap_err();
    assert!(matches!(error, Error::TimedOut { .. }), "{error}");
    assert_eq!(error.outcome(), Outcome::Unknown);
    give_up.send(()).unwrap();
    client.set_reply_timeout(Some(Duration::from_secs(20)));
    assert_eq!(client.strlen("").unwrap(), 7);
    server.join().unwrap();
}

#[test]
fn without_reconnection_a_closed_client_sends_nothing() {
    let server = Scripted::start(&[&[("PING", "+PONG\r\n")]]);
    let mut client = server.connect("", "", Options { reconnect: Reconnect::never(), ..quick() }).unwrap();
    client.ping().unwrap();
    until_closed(&mut client);
    for _ in 0..2 {
        let error = client.set("k", "v").unwrap_err();
        assert!(matches!(error, Error::NotConnected { .. }), "{error}");
        assert_eq!(error.outcome(), Outcome::NotSent);
    }
    server.finish();
}

#[test]
fn reconnection_gives_up_after_its_attempts() {
    let server = Scripted::start(&[&[]]);
    let mut client = server.connect("", "", quick()).unwrap();
    server.finish();
    until_closed(&mut client);
    let error = client.set("k", "v").unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error}");
    assert_eq!(error.outcome(), Outcome::NotSent);
}

/// Each attempt is a connection that breaks in the greeting; nothing but the greeting is sent on it.
#[test]
fn a_greeting_that_breaks_is_tried_again_so_often_as_is_allowed() {
    let server = Scripted::start(&[
        &[("AUTH pw", "+OK\r\n")],
        &[("AUTH pw", "")],
        &[("AUTH pw", "-LOADING the store\r\n")],
        &[("AUTH pw", "+OK\r\n"), ("PING", "+PONG\r\n")],
        &[("AUTH pw", "")],
        &[("AUTH pw", "")],
        &[("AUTH pw", "")],
        &[("AUTH pw", "+OK\r\n"), ("PING", "+PONG\r\n")],
    ]);
    let mut client = server.connect(":pw@", "", quick()).unwrap();
    until_closed(&mut client);
    client.ping().unwrap();
    until_closed(&mut client);
    let error = client.ping().unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error}");
    assert_eq!(error.outcome(), Outcome::NotSent);
    client.ping().unwrap();
    server.finish();
}

#[test]
fn a_login_that_is_refused_is_not_tried_again() {
    let server = Scripted::start(&[&[("AUTH pw", "+OK\r\n")], &[("AUTH pw", "-WRONGPASS changed\r\n")]]);
    let mut client = server.connect(":pw@", "", quick()).unwrap();
    until_closed(&mut client);
    let error = client.ping().unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error}");
    assert_eq!(error.outcome(), Outcome::Refused);
    server.finish();
}

#[test]
fn what_a_lost_transaction_or_watch_was_meant_for_is_not_sent() {
    let server = Scripted::start(&[
        &[("MULTI", "+OK\r\n"), ("INCR n", "+QUEUED\r\n")],
        &[("WATCH k", "+OK\r\n")],
        &[("MULTI", "+OK\r\n"), ("INCR n", "+QUEUED\r\n"), ("EXEC", "")],
        &[("PING", "+PONG\r\n")],
    ]);
    let mut client = server.connect("", "", quick()).unwrap();
    client.execute::<()>(["MULTI"]).unwrap();
    let error = client.incr("n").unwrap_err();
    assert!(matches!(error, Error::Queued), "{error}");
    until_closed(&mut client);
    let error = client.incr("n").unwrap_err();
    assert!(matches!(error, Error::SessionLost { .. }), "{error}");
    assert_eq!(error.outcome(), Outcome::NotSent);
    // It was said once.
    client.watch(["k"]).unwrap();
    until_closed(&mut client);
    let error = client.transaction().add(["INCR", "n"]).exec::<()>().unwrap_err();
    assert_eq!(error.outcome(), Outcome::NotSent, "{error}");
    let error = client.transaction().add(["INCR", "n"]).exec::<()>().unwrap_err();
    assert!(matches!(error, Error::Closed { .. }), "{error}");
    assert_eq!(error.outcome(), Outcome::Unknown);
    // A transaction that failed leaves nothing behind for the next request.
    client.ping().unwrap();
    server.finish();
}

#[test]
fn each_request_of_a_pipeline_has_an_outcome_of_its_own() {
    let server = Scripted::start(&[
        &[("SET a 1", "+OK\r\n"), ("INCR b", "-ERR no\r\n"), ("INCR c", ""), ("INCR d", "")],
        &[("SET a 1", "+OK\r\n"), ("INCR b", "")],
        &[("INCR a", "-ERR no\r\n"), ("INCR b", "-ERR no\r\n"), ("PING", "+PONG\r\n")],
    ]);
    let mut client = server.connect("", "", quick()).unwrap();
    let mut pipeline = client.pipeline();
    pipeline.add(["SET", "a", "1"]).add(["INCR", "b"]).add(["INCR", "c"]).add(["INCR", "d"]);
    let outcomes: Vec<_> = pipeline
        .results()
        .unwrap()
        .into_iter()
        .map(|result| result.map_or_else(|error| error.outcome(), |_| Outcome::Done))
        .collect();
    assert_eq!(outcomes, [Outcome::Done, Outcome::Refused, Outcome::Unknown, Outcome::Unknown]);
    let error = client.pipeline().add(["SET", "a", "1"]).add(["INCR", "b"]).run::<()>().unwrap_err();
    assert!(matches!(error, Error::Batch { at: 2, of: 2, outcome: Outcome::Unknown, .. }), "{error}");
    assert!(error.is_disconnect());
    let error = client.pipeline().add(["INCR", "a"]).add(["INCR", "b"]).run::<()>().unwrap_err();
    assert_eq!((error.outcome(), error.is_disconnect()), (Outcome::Refused, false));
    client.ping().unwrap();
    server.finish();
}

/// The server takes the first part of a large pipeline and closes: the last part never leaves this side.
#[test]
fn what_a_broken_pipeline_did_not_send_is_known() {
    let server = Scripted::start(&[&[("ECHO first", "")]]);
    let mut client = server.connect("", "", quick()).unwrap();
    let large = "x".repeat(64 * 1024);
    let results = client.pipeline().add(["ECHO", "first"]).add(["ECHO", &large]).results().unwrap();
    let outcomes: Vec<_> = results.iter().map(|result| result.as_ref().unwrap_err().outcome()).collect();
    assert_eq!(outcomes, [Outcome::Unknown, Outcome::NotSent]);
    server.finish();
}

/// EXEC was not sent, so nothing of the transaction was done.
#[test]
fn a_transaction_that_broke_before_exec_was_not_sent() {
    let server = Scripted::start(&[&[("MULTI", "+OK\r\n")], &[("PING", "+PONG\r\n")]]);
    let mut client = server.connect("", "", quick()).unwrap();
    let large = "x".repeat(64 * 1024);
    let error = client.transaction().add(["SET", "k", "v"]).add(["SET", "l", &large]).exec::<()>().unwrap_err();
    assert!(matches!(error, Error::NotSent { .. }), "{error}");
    assert_eq!(error.outcome(), Outcome::NotSent);
    client.ping().unwrap();
    server.finish();
}

#[test]
fn what_would_break_the_step_of_requests_and_replies_is_not_sent() {
    let server = Scripted::start(&[&[("PING", "+PONG\r\n")]]);
    let mut client = server.connect("", "", quick()).unwrap();
    for words in [
        vec![],
        vec!["SUBSCRIBE", "c"],
        vec!["psubscribe", "c"],
        vec!["Monitor"],
        vec!["CLIENT", "reply", "OFF"],
        vec!["UNSUBSCRIBE"],
    ] {
        let error = client.execute::<Reply>(&words).unwrap_err();
        assert!(matches!(error, Error::Empty | Error::NoSingleReply { .. }), "{error}");
        let error = client.pipeline().add(["PING"]).add(&words).run::<()>().unwrap_err();
        assert_eq!(error.outcome(), Outcome::NotSent);
        let error = client.transaction().add(&words).exec::<()>().unwrap_err();
        assert_eq!((error.outcome(), error.is_disconnect()), (Outcome::NotSent, false));
    }
    client.ping().unwrap();
    server.finish();
}

#[test]
fn a_reply_of_another_type_and_a_log_that_failed_are_told_from_a_refusal() {
    let server = Scripted::start(&[&[
        ("GET k", "$3\r\nabc\r\n"),
        ("SET k v", "-MISCONF the log failed\r\n"),
        ("SET k v", "-OOM no room\r\n"),
    ]]);
    let mut client = server.connect("", "", quick()).unwrap();
    let error = client.get::<i64>("k").unwrap_err();
    assert_eq!(error.to_string(), "the reply is a text, which cannot be read as i64; ask for another type");
    assert_eq!(error.outcome(), Outcome::Done);
    assert_eq!(client.set("k", "v").unwrap_err().outcome(), Outcome::Unknown);
    assert_eq!(client.set("k", "v").unwrap_err().outcome(), Outcome::Refused);
    server.finish();
}

#[test]
fn watched_keys_that_change_are_tried_again() {
    let server = Scripted::start(&[&[
        ("WATCH k", "+OK\r\n"),
        ("GET k", "$1\r\n1\r\n"),
        ("MULTI", "+OK\r\n"),
        ("SET k 2", "+QUEUED\r\n"),
        ("EXEC", "*-1\r\n"),
        ("WATCH k", "+OK\r\n"),
        ("GET k", "$1\r\n5\r\n"),
        ("MULTI", "+OK\r\n"),
        ("SET k 6", "+QUEUED\r\n"),
        ("EXEC", "*1\r\n+OK\r\n"),
        // The body gives up.
        ("WATCH k", "+OK\r\n"),
        ("UNWATCH", "+OK\r\n"),
    ]]);
    let mut client = server.connect("", "", quick()).unwrap();
    let body = |client: &mut Client, commands: &mut Commands| {
        let value: i64 = client.get("k")?.unwrap_or(0);
        commands.add(["SET", "k", &(value + 1).to_string()]);
        Ok(())
    };
    client.transact::<()>(["k"], body).unwrap();
    let error = client.transact::<()>(["k"], |_, _| Err(Error::Empty)).unwrap_err();
    assert!(matches!(error, Error::Empty));
    server.finish();
}

#[test]
fn lines_are_read_in_the_style_that_the_server_speaks() {
    let server = Scripted::start_lines(&[
        &[
            ("PING", "OK PONG\n"),
            ("SET k v", "OK stored\n"),
            ("MGET k", "OK v\n"),
            ("MGET k", "OK (nil)\n"),
            ("STRLEN k", "OK 0\n"),
            ("UNLINK k", "OK 1\n"),
            ("MGET k", "ERROR NOPERM no\n"),
        ],
        &[
            ("PING", "PONG\n"),
            ("SET k v NX", "(nil)\n"),
            ("MGET a b c", "\"x, \\\"y\", (nil), (nil)\n"),
            ("STRLEN b", "5\n"),
            ("STRLEN c", "0\n"),
            ("FLUSH", "12\n"),
        ],
    ]);
    let mut client = Client::connect_with(&format!("line://{}", server.place).parse().unwrap(), quick()).unwrap();
    client.set("k", "v").unwrap();
    assert_eq!(client.get::<String>("k").unwrap().as_deref(), Some("v"));
    assert_eq!(client.get::<String>("k").unwrap(), None);
    assert!(client.delete("k").unwrap());
    assert_eq!(client.get::<String>("k").unwrap_err().outcome(), Outcome::Refused);
    until_closed(&mut client);
    assert!(!client.set_with("k", "v", &SetOptions::new().if_absent()).unwrap());
    let values = client.mget::<String>(["a", "b", "c"]).unwrap();
    assert_eq!(values, [Some("x, \"y".to_owned()), Some("(nil)".to_owned()), None]);
    assert_eq!(client.flush().unwrap(), 12);
    for error in [
        client.get_del::<String>("k").unwrap_err(),
        client.transaction().exec::<()>().unwrap_err(),
        client.scan().next().unwrap().unwrap_err(),
        client.subscribe(["c"]).unwrap_err(),
    ] {
        assert!(matches!(error, Error::LineProtocol { .. }), "{error}");
    }
    server.finish();
}

/// A message may come in pieces, and the wait for it has an end.
#[test]
fn a_subscription_waits_as_long_as_it_may_and_ends_with_its_connection() {
    let server = Scripted::start(&[
        &[],
        &[(
            "SUBSCRIBE c",
            "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$2\r\nhi\r\n*3\r\n",
        )],
    ]);
    let client = server.connect("", "", quick()).unwrap();
    let mut messages = client.subscribe(["c"]).unwrap();
    let long = Duration::from_secs(20);
    assert_eq!(messages.next_within(long).unwrap().unwrap().payload, b"hi");
    assert!(matches!(messages.next_within(long), Err(Error::Closed { .. })));
    assert!(matches!(messages.next_within(long), Err(Error::NotConnected { .. })));
    assert!(messages.next().is_none());
    server.finish();
}
