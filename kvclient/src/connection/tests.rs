//! Tests of the client against a server of a few lines: it answers what the test says.
//!
//! Invariant: each test has a server and a port of its own, so that they run side by side.

use super::*;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::thread::{self, JoinHandle};

/// Accepts one connection, reads from it until it has seen `expected`, then sends `answer` and closes.
fn serve(expected: &'static [u8], answer: &'static [u8]) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut seen = vec![0; expected.len()];
        stream.read_exact(&mut seen).unwrap();
        assert_eq!(seen, expected);
        stream.write_all(answer).unwrap();
    });
    (format!("127.0.0.1:{port}"), server)
}

#[test]
fn a_command_gives_its_reply_and_an_error_reply_is_an_error() {
    let (place, server) = serve(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*1\r\n$4\r\nNOPE\r\n", b"$1\r\nv\r\n-ERR no\r\n");
    let mut client = Connection::connect(&format!("redis://{place}")).unwrap();
    // Both are sent at once, for the server above reads them at once.
    client.queue(["GET", "k"]);
    client.send(["NOPE"]).unwrap();
    assert_eq!(client.receive().unwrap(), Reply::bulk("v"));
    assert_eq!(client.receive().unwrap(), Reply::error("ERR no"));
    server.join().unwrap();
}

#[test]
fn an_error_reply_is_told_from_a_lost_connection() {
    let (place, server) = serve(b"*1\r\n$4\r\nNOPE\r\n", b"-ERR no\r\n");
    let mut client = Connection::connect(&format!("redis://{place}")).unwrap();
    let error = client.command(["NOPE"]).unwrap_err();
    assert!(matches!(&error, Error::Reply(text) if text == "ERR no"));
    assert!(!error.is_disconnect());
    server.join().unwrap();
    let error = client.receive().unwrap_err();
    assert!(matches!(error, Error::Closed { .. }));
    assert!(error.is_disconnect());
    assert!(!client.is_connected());
    assert!(matches!(client.command(["PING"]), Err(Error::NotConnected { .. })));
}

#[test]
fn logs_in_and_selects_as_the_address_says() {
    let (place, server) = serve(
        b"*5\r\n$5\r\nHELLO\r\n$1\r\n3\r\n$4\r\nAUTH\r\n$7\r\ndefault\r\n$2\r\npw\r\n",
        b"%1\r\n$5\r\nproto\r\n:3\r\n-ERR DB index is out of range\r\n",
    );
    let address = format!("redis://:pw@{place}/99").parse().unwrap();
    let options = Options { version: Version::Resp3, ..Options::default() };
    let error = Connection::connect_with(&address, options).unwrap_err();
    assert!(matches!(error, Error::Refused { text } if text == "ERR DB index is out of range"));
    server.join().unwrap();

    let (place, server) = serve(b"*3\r\n$4\r\nAUTH\r\n$2\r\nme\r\n$2\r\npw\r\n", b"+OK\r\n");
    Connection::connect(&format!("redis://me:pw@{place}")).unwrap();
    server.join().unwrap();
}

#[test]
fn a_pipeline_larger_than_every_buffer_between_does_not_block() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_nodelay(true).unwrap();
        let mut out = stream.try_clone().unwrap();
        let mut lines = BufReader::new(stream).split(b'\n');
        let mut served = 0;
        // *2, $4, ECHO, $n, the word: five lines a request. Answers each before it reads the next, as a server may.
        while let Some(Ok(_)) = lines.next() {
            let word = lines.by_ref().take(4).last().unwrap().unwrap();
            let mut answer = format!("${}\r\n", word.len() - 1).into_bytes();
            answer.extend_from_slice(&word);
            answer.push(b'\n');
            out.write_all(&answer).unwrap();
            served += 1;
        }
        served
    });
    let mut client = Connection::connect(&format!("redis://{place}")).unwrap();
    let word = "x".repeat(1_000);
    let replies = client.pipeline((0..20_000).map(|_| ["ECHO", &word])).unwrap();
    assert_eq!(replies.len(), 20_000);
    assert!(replies.iter().all(|reply| *reply == Reply::bulk(word.as_str())));
    drop(client);
    assert_eq!(server.join().unwrap(), 20_000);
}

/// While the replies before it are unread, a server may not read on: a large request behind them must wait for them.
#[test]
fn a_large_request_behind_large_replies_does_not_block() {
    const LARGE: usize = 8 << 20;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut out = stream.try_clone().unwrap();
        let mut lines = BufReader::new(stream).split(b'\n');
        let mut reply = format!("${LARGE}\r\n").into_bytes();
        reply.resize(reply.len() + LARGE, b'x');
        reply.extend_from_slice(b"\r\n");
        for _ in 0..5 {
            // *2, $4, ECHO, $n, the word. Each reply is sent whole before the next request is read.
            assert_eq!(lines.by_ref().take(5).map(std::result::Result::unwrap).count(), 5);
            out.write_all(&reply).unwrap();
        }
    });
    let options = Options { reply_timeout: Some(Duration::from_secs(20)), ..Options::default() };
    let mut client = Connection::connect_with(&format!("redis://{place}").parse().unwrap(), options).unwrap();
    let large = "y".repeat(LARGE);
    let words = ["a", "b", "c", large.as_str(), "d"];
    assert_eq!(client.pipeline(words.iter().map(|word| ["ECHO", *word])).unwrap().len(), 5);
    server.join().unwrap();
}

#[test]
fn a_reply_that_does_not_come_closes_the_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("redis://{}", listener.local_addr().unwrap()).parse().unwrap();
    let options = Options { reply_timeout: Some(Duration::from_millis(50)), ..Options::default() };
    let mut client = Connection::connect_with(&address, options).unwrap();
    assert!(matches!(client.receive_within(Duration::from_millis(10)), Ok(None)));
    assert!(client.is_connected());
    assert!(matches!(client.command(["PING"]), Err(Error::TimedOut { .. })));
    // A reply that comes late must not be taken for the answer to the next request.
    assert!(matches!(client.command(["PING"]), Err(Error::NotConnected { .. })));
}

#[test]
fn bytes_that_are_no_resp_say_what_to_try() {
    let (place, server) = serve(b"*1\r\n$4\r\nPING\r\n", b"HTTP/1.1 400 Bad Request\r\n");
    let mut client = Connection::connect(&format!("redis://{place}")).unwrap();
    let error = client.command(["PING"]).unwrap_err();
    assert!(error.to_string().contains("is this a RESP port?"), "{error}");
    server.join().unwrap();
}

#[test]
fn nobody_listening_is_told_with_the_address() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = listener.local_addr().unwrap();
    drop(listener);
    let error = Connection::connect(&format!("redis://{place}")).unwrap_err();
    assert!(matches!(error, Error::Connect { .. }));
    assert!(error.to_string().contains(&place.to_string()));
}

#[test]
fn messages_arrive_in_order_without_their_confirmations() {
    let (place, server) = serve(
        b"*3\r\n$9\r\nSUBSCRIBE\r\n$1\r\na\r\n$1\r\nb\r\n",
        b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n\
          *3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi\r\n>4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$1\r\nb\r\n$2\r\nho\r\n",
    );
    let client = Connection::connect(&format!("redis://{place}")).unwrap();
    let mut messages = client.subscribe(["a", "b"]).unwrap();
    let message = messages.next().unwrap().unwrap();
    assert_eq!((message.channel, message.payload), (b"a".to_vec(), b"hi".to_vec()));
    let message = messages.next().unwrap().unwrap();
    assert_eq!((message.pattern, message.payload), (Some(b"*".to_vec()), b"ho".to_vec()));
    assert!(matches!(messages.next(), Some(Err(Error::Closed { .. }))));
    assert!(messages.next().is_none());
    server.join().unwrap();
}

#[test]
fn the_line_protocol_sends_words_and_reads_lines() {
    let (place, server) = serve(b"SET k \"a b\"\nGET nope\n", b"Added key 'k'\r\nERR key 'nope' not found\n");
    let mut client = Connection::connect(&format!("line://{place}")).unwrap();
    client.queue(["SET", "k", "a b"]);
    client.send_line("GET nope").unwrap();
    assert_eq!(client.receive().unwrap(), Reply::simple("Added key 'k'"));
    assert_eq!(client.receive().unwrap(), Reply::error("ERR key 'nope' not found"));
    server.join().unwrap();
}

/// A wait that found nothing must not shorten those that follow.
#[test]
fn a_short_wait_leaves_the_time_for_replies_as_it_was() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("redis://{}", listener.local_addr().unwrap()).parse().unwrap();
    let (ask, asked) = std::sync::mpsc::channel();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 14];
        stream.read_exact(&mut request).unwrap();
        // Longer than the short wait, and far from the limit for replies.
        asked.recv().unwrap();
        thread::sleep(Duration::from_millis(200));
        stream.write_all(b"+PONG\r\n").unwrap();
    });
    let mut client = Connection::connect_with(&address, Options::default()).unwrap();
    assert!(matches!(client.receive_within(Duration::from_millis(5)), Ok(None)));
    ask.send(()).unwrap();
    assert_eq!(client.command(["PING"]).unwrap(), Reply::simple("PONG"));
    server.join().unwrap();
}

/// Where the end of one line was looked for says nothing about the next.
#[test]
fn a_short_line_behind_one_that_came_in_pieces_is_read() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("line://{}", listener.local_addr().unwrap()).parse().unwrap();
    let (go_on, going_on) = std::sync::mpsc::channel();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"OK the first piece of a line").unwrap();
        going_on.recv().unwrap();
        stream.write_all(b" and its end\nOK\nERROR no\n").unwrap();
        // Open until the client has read it all.
        let _ = going_on.recv();
    });
    let options = Options { reply_timeout: Some(Duration::from_secs(10)), ..Options::default() };
    let mut client = Connection::connect_with(&address, options).unwrap();
    while client.input.is_empty() {
        assert!(matches!(client.receive_within(Duration::from_millis(50)), Ok(None)));
    }
    go_on.send(()).unwrap();
    assert_eq!(client.receive().unwrap(), Reply::simple("OK the first piece of a line and its end"));
    assert_eq!(client.receive().unwrap(), Reply::simple("OK"));
    assert_eq!(client.receive().unwrap(), Reply::error("ERROR no"));
    drop(go_on);
    server.join().unwrap();
}

/// What waits for the server, for a reply or for a request to be taken, ends when it is interrupted.
#[test]
fn a_connection_that_is_interrupted_fails_and_is_closed() {
    for request in
        [vec!["GET".to_owned(), "k".to_owned()], vec!["SET".to_owned(), "k".to_owned(), "x".repeat(64 << 20)]]
    {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("redis://{}", listener.local_addr().unwrap()).parse().unwrap();
        let options = Options { reply_timeout: None, ..Options::default() };
        let mut client = Connection::open(&address, options).unwrap();
        let interrupt = Arc::new(AtomicBool::new(false));
        client.set_interrupt(Arc::clone(&interrupt)).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let waiting = thread::spawn(move || (client.command(&request), client.command(["PING"])));
        // It has been sent, at least in part.
        server.read_exact(&mut [0; 8]).unwrap();
        interrupt.store(true, Ordering::Relaxed);
        let (interrupted, next) = waiting.join().unwrap();
        assert!(matches!(interrupted, Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::Interrupted));
        assert!(matches!(next, Err(Error::NotConnected { .. })));
    }
}
