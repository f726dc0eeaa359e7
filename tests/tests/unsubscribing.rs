//! The end of a subscription: what was posted to a client before it is delivered before the reply that confirms it, so a
//! message that PUBLISH counted is never lost.
//!
//! Invariant: over all that a client published, the receivers that were counted are the messages that arrived.

#![forbid(unsafe_code)]

use std::fs;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use kvtests::process::{Launch, ServerProcess};
use kvtests::server_program;
use kvtests::wait;
use kvtests::wire::{Wire, bulk, request};

fn server(loops: &str) -> ServerProcess {
    let launch = Launch::bare(server_program!()).resp().line("plain");
    launch.arguments(["--memory-only", "--enable-debug", "--loops", loops]).start()
}

/// A client's own messages wait in its event loop's mailbox while it goes on: in one pipeline it would have left by the time
/// they are delivered.
#[test]
fn what_a_client_published_to_itself_arrives_before_it_has_left() {
    let server = server("2");
    for (join, publish, leave, message) in [
        ("SUBSCRIBE t", "PUBLISH t m", "UNSUBSCRIBE t", ">3 message t m"),
        ("SUBSCRIBE t", "PUBLISH t m", "UNSUBSCRIBE", ">3 message t m"),
        ("PSUBSCRIBE t*", "PUBLISH t m", "PUNSUBSCRIBE t*", ">4 pmessage t* t m"),
        ("SSUBSCRIBE t", "SPUBLISH t m", "SUNSUBSCRIBE t", ">3 smessage t m"),
        ("SUBSCRIBE t", "PUBLISH t m", "RESET", ">3 message t m"),
        ("SUBSCRIBE t", "PUBLISH t m", "QUIT", ">3 message t m"),
    ] {
        let mut wire = server.connect();
        wire.command("HELLO 3");
        let lines = [join, publish, leave].map(|line| request(&line.split(' ').collect::<Vec<_>>()));
        wire.send(lines.concat());
        wire.reply();
        wire.expect(":1\r\n");
        assert_eq!(spoken(&wire.reply()), message, "{leave}");
        let confirmed = wire.reply();
        let expected = match leave {
            "RESET" => "+RESET".to_owned(),
            "QUIT" => "+OK".to_owned(),
            _ => {
                format!(">3 {} {} 0", leave.split(' ').next().unwrap().to_lowercase(), join.split(' ').nth(1).unwrap())
            }
        };
        assert_eq!(spoken(&confirmed), expected);
        if leave == "QUIT" {
            wire.expect_closed();
        } else {
            wire.ask("PUBLISH t m", ":0\r\n");
        }
    }
}

/// A reply as words, with its first byte and count.
fn spoken(reply: &[u8]) -> String {
    let text = String::from_utf8_lossy(reply);
    let mut lines = text.lines();
    let head = lines.next().unwrap_or_default().to_owned();
    let rest = lines.filter(|line| !line.starts_with('$')).map(|line| line.trim_start_matches(':').to_owned());
    std::iter::once(head).chain(rest).collect::<Vec<_>>().join(" ")
}

#[test]
fn within_a_transaction_messages_and_events_come_before_the_subscription_has_ended() {
    let server = server("1");
    server.connect().ask("CONFIG SET notify-keyspace-events KEA", "+OK\r\n");
    for (version, kind) in [("2", "*"), ("3", ">")] {
        for (join, cause, leave, message, result) in [
            ("SUBSCRIBE t", "PUBLISH t m", "UNSUBSCRIBE t", "message t m", "1"),
            ("PSUBSCRIBE t*", "PUBLISH t m", "PUNSUBSCRIBE", "pmessage t* t m", "1"),
            ("SUBSCRIBE __keyspace@0__:k", "SET k v", "UNSUBSCRIBE", "message __keyspace@0__:k set", "+OK"),
        ] {
            let mut wire = server.connect();
            wire.command(&format!("HELLO {version}"));
            wire.ask("MULTI", "+OK\r\n");
            for command in [join, cause, leave] {
                wire.ask(command, "+QUEUED\r\n");
            }
            wire.send(request(&["EXEC"]));
            let words = message.split(' ').count();
            let (joined, left) = (join.to_lowercase(), leave.split(' ').next().unwrap().to_lowercase());
            let channel = join.split(' ').nth(1).unwrap();
            assert_eq!(
                spoken(&wire.reply()),
                format!("*4 {kind}3 {joined} 1 {result} {kind}{words} {message} {kind}3 {left} {channel} 0")
            );
            wire.ask("PING", "+PONG\r\n");
        }
    }
    // A client that subscribes behind the PUBLISH does not receive it.
    let mut wire = server.connect();
    wire.command("HELLO 3");
    wire.ask("MULTI", "+OK\r\n");
    for command in ["PUBLISH t early", "SUBSCRIBE t", "PUBLISH t late", "PUBSUB NUMSUB t", "PUBSUB CHANNELS"] {
        wire.ask(command, "+QUEUED\r\n");
    }
    wire.send(request(&["EXEC"]));
    assert_eq!(spoken(&wire.reply()), "*5 0 >3 subscribe t 1 1 *2 t 1 *1 t");
    assert_eq!(spoken(&wire.reply()), ">3 message t late");
}

/// Of a transaction that was not executed nothing takes effect.
#[test]
fn a_discarded_transaction_subscribes_to_nothing() {
    let server = server("1");
    let mut wire = server.connect();
    wire.command("HELLO 3");
    wire.ask("WATCH k", "+OK\r\n");
    wire.ask("SET k v", "+OK\r\n");
    wire.ask("MULTI", "+OK\r\n");
    wire.ask("SUBSCRIBE t", "+QUEUED\r\n");
    wire.ask("EXEC", "_\r\n");
    wire.ask("PUBLISH t m", ":0\r\n");
}

#[test]
fn a_monitor_sees_what_was_done_before_it_left() {
    let server = server("1");
    for leave in ["RESET", "QUIT"] {
        let mut wire = server.connect();
        wire.send([request(&["MONITOR"]), request(&["SET", "k", "v"]), request(&[leave])].concat());
        wire.expect("+OK\r\n+OK\r\n");
        let line = String::from_utf8(wire.line()).unwrap();
        assert!(line.ends_with("\"SET\" \"k\" \"v\"\r\n"), "{line}");
        wire.expect(if leave == "RESET" { "+RESET\r\n" } else { "+OK\r\n" });
    }
}

#[test]
fn a_line_client_receives_its_messages_before_it_has_left() {
    let server = server("1");
    let mut wire = Wire::connect(server.address(1));
    wire.send("SUBSCRIBE t\nUNSUBSCRIBE t\nSUBSCRIBE t\n");
    wire.expect("subscribe, t, 1\nunsubscribe, t, 0\nsubscribe, t, 1\n");
    server.connect().ask("PUBLISH t m", ":1\r\n");
    wire.send("QUIT\n");
    wire.expect("message, t, m\n");
    wire.expect_closed();
}

/// Returns whether the server's end of a connection has not received the client's FIN yet.
fn is_open(server: SocketAddr, client: SocketAddr) -> bool {
    const ESTABLISHED: &str = "01";
    let end = |address: SocketAddr| format!("0100007F:{:04X}", address.port());
    let connection = format!("{} {} {ESTABLISHED} ", end(server), end(client));
    fs::read_to_string("/proc/net/tcp").expect("the list of connections").contains(&connection)
}

/// A client that is killed, or that has closed its connection, is no receiver any more.
#[test]
fn a_client_that_is_gone_is_not_counted() {
    let server = server("1");
    let mut admin = server.connect();
    for kill in [true, false] {
        let mut subscriber = server.connect();
        let id = subscriber.integer("CLIENT ID");
        subscriber.command("SUBSCRIBE t");
        subscriber.command("PSUBSCRIBE t*");
        if kill {
            let (id, kill) = (id.to_string(), ["CLIENT", "KILL", "ID"]);
            admin.send([request(&[&kill[..], &[&id]].concat()), request(&["PUBLISH", "t", "m"])].concat());
            admin.expect(":1\r\n:0\r\n");
            subscriber.expect_closed();
        } else {
            // While the loop is busy, the end of the one connection and the request of the other arrive, in this order:
            // the system may take its time to bring an end even over the loopback device.
            let mut busy = server.connect();
            busy.send(request(&["DEBUG", "SLEEP", "0.3"]));
            let client = subscriber.writer().local_addr().unwrap();
            assert!(is_open(server.address(0), client));
            drop(subscriber);
            wait::until_true("the end of the connection", || !is_open(server.address(0), client));
            admin.ask("PUBLISH t m", ":0\r\n");
            busy.expect("+OK\r\n");
        }
    }
}

/// Rounds of one client that leaves while another publishes.
const ROUNDS: usize = 150;

/// One thread publishes without a pause; the client joins and leaves by `leave`. Every message that was counted arrives
/// before the reply that confirms the leaving.
fn leaves_while_others_publish(loops: &str, join: &str, publish: &str, leave: &str) {
    let server = server(loops);
    let ended = AtomicBool::new(false);
    let (counted, arrived) = thread::scope(|scope| {
        let publisher = scope.spawn(|| {
            let mut wire = server.connect();
            let mut counted = 0;
            while !ended.load(Ordering::Relaxed) {
                counted += wire.integer(publish);
            }
            counted
        });
        let mut arrived = 0;
        let mut wire = server.connect();
        for round in 0..ROUNDS {
            wire.send(request(&join.split(' ').collect::<Vec<_>>()));
            // Some messages come in between, in some rounds.
            let mut left = round % 4;
            wire.reply();
            while left > 0 {
                wire.reply();
                arrived += 1;
                left -= 1;
            }
            wire.send(request(&leave.split(' ').collect::<Vec<_>>()));
            loop {
                let reply = wire.reply();
                let text = String::from_utf8_lossy(&reply);
                if text.contains("unsubscribe") || text.starts_with('+') {
                    break;
                }
                arrived += 1;
            }
            if leave == "QUIT" {
                wire.expect_closed();
                wire = server.connect();
            }
        }
        ended.store(true, Ordering::Relaxed);
        (publisher.join().expect("the publisher went on"), arrived)
    });
    assert_eq!(arrived, counted, "{loops} loops, {leave}");
    assert!(arrived > 0);
}

#[test]
fn every_message_that_was_counted_arrives() {
    for loops in ["1", "2"] {
        leaves_while_others_publish(loops, "SUBSCRIBE t", "PUBLISH t m", "UNSUBSCRIBE t");
        leaves_while_others_publish(loops, "PSUBSCRIBE t*", "PUBLISH t m", "PUNSUBSCRIBE");
        leaves_while_others_publish(loops, "SSUBSCRIBE t", "SPUBLISH t m", "SUNSUBSCRIBE t");
        leaves_while_others_publish(loops, "SUBSCRIBE t", "PUBLISH t m", "RESET");
        leaves_while_others_publish(loops, "SUBSCRIBE t", "PUBLISH t m", "QUIT");
    }
}

/// An invalidation was posted when the write that caused it was replied to.
#[test]
fn an_invalidation_arrives_before_tracking_has_ended() {
    for loops in ["1", "2"] {
        let server = server(loops);
        let mut writer = server.connect();
        for round in 0..ROUNDS {
            let mut reader = server.connect();
            reader.command("HELLO 3");
            reader.ask("CLIENT TRACKING ON", "+OK\r\n");
            writer.ask("SET k v", "+OK\r\n");
            reader.ask("GET k", bulk("v"));
            writer.ask("SET k v", "+OK\r\n");
            let (leave, confirmed) =
                [("CLIENT TRACKING OFF", "+OK\r\n"), ("RESET", "+RESET\r\n"), ("QUIT", "+OK\r\n")][round % 3];
            reader.send(request(&leave.split(' ').collect::<Vec<_>>()));
            assert_eq!(spoken(&reader.reply()), ">2 invalidate *1 k", "{leave}");
            reader.expect(confirmed);
        }
    }
}
