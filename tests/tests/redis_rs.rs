//! The Rust client that most programs use (`redis`), over RESP2 and RESP3, against the server.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread;

use kvtests::process::{Launch, ServerProcess};
use kvtests::server_program;
use kvtests::wait;
use redis::{Client, Connection, PushKind, RedisResult, TypedCommands};
use tempfile::TempDir;

const PROTOCOLS: [&str; 2] = ["resp2", "resp3"];

fn server(dir: &TempDir) -> ServerProcess {
    Launch::new(server_program!(), dir.path()).resp().arguments(["--loops", "2"]).start()
}

fn client(address: SocketAddr, database: usize, protocol: &str) -> Client {
    Client::open(format!("redis://{address}/{database}?protocol={protocol}")).expect("a client")
}

fn connect(address: SocketAddr, protocol: &str) -> Connection {
    let connection = client(address, 0, protocol).get_connection().expect("a connection");
    connection.set_read_timeout(Some(wait::PATIENCE)).expect("a time limit");
    connection
}

/// Runs `each` over a connection of each protocol, with an empty server.
fn over_both_protocols(each: impl Fn(&mut Connection, SocketAddr, &str) -> RedisResult<()>) {
    for protocol in PROTOCOLS {
        let dir = TempDir::new().expect("a temporary directory");
        let server = server(&dir);
        let mut connection = connect(server.address(0), protocol);
        let result = each(&mut connection, server.address(0), protocol);
        result.unwrap_or_else(|error| panic!("{protocol}: {error}\n{}", server.log()));
    }
}

#[test]
fn set_and_get() {
    over_both_protocols(|connection, _, _| {
        connection.set("k", "v")?;
        assert_eq!(connection.get("k")?, Some("v".to_owned()));
        assert_eq!(connection.get("nothing")?, None);
        connection.set("bytes", &[0_u8, 255, 13, 10][..])?;
        assert_eq!(redis::cmd("GET").arg("bytes").query::<Vec<u8>>(connection)?, [0, 255, 13, 10]);
        connection.mset(&[("a", 1), ("b", 2)])?;
        assert_eq!(connection.mget(&["a", "b", "c"])?, [Some("1".to_owned()), Some("2".to_owned()), None]);
        assert_eq!(connection.incr("a", 41)?, 42);
        assert_eq!(connection.append("k", "w")?, 2);
        assert!(!connection.set_nx("k", "other")?);
        assert!(connection.exists("k")?);
        assert_eq!(connection.del(&["k", "bytes", "nothing"])?, 2);
        let mut keys: Vec<String> = connection.scan::<String>()?.collect::<RedisResult<_>>()?;
        keys.sort();
        assert_eq!(keys, ["a", "b"]);
        Ok(())
    });
}

#[test]
fn expire() {
    over_both_protocols(|connection, _, _| {
        connection.set_ex("k", "v", 100)?;
        let ttl: i64 = redis::cmd("TTL").arg("k").query(connection)?;
        assert!((90..=100).contains(&ttl), "{ttl}");
        assert!(connection.persist("k")?);
        assert_eq!(redis::cmd("TTL").arg("k").query::<i64>(connection)?, -1);
        assert!(connection.pexpire("k", 50)?);
        wait::until_true("the end of a key", || !connection.exists("k").expect("EXISTS"));
        assert_eq!(redis::cmd("PTTL").arg("k").query::<i64>(connection)?, -2);
        Ok(())
    });
}

#[test]
fn pipeline() {
    over_both_protocols(|connection, _, _| {
        let mut pipeline = redis::pipe();
        for number in 0..500 {
            pipeline.cmd("SET").arg(format!("k{number}")).arg(number).ignore();
            pipeline.cmd("GET").arg(format!("k{number}"));
        }
        let values: Vec<usize> = pipeline.query(connection)?;
        assert_eq!(values, (0..500).collect::<Vec<_>>());
        Ok(())
    });
}

#[test]
fn transaction() {
    over_both_protocols(|connection, address, protocol| {
        let (length, value): (usize, String) =
            redis::pipe().atomic().cmd("APPEND").arg("k").arg("abc").cmd("GET").arg("k").query(connection)?;
        assert_eq!((length, value.as_str()), (3, "abc"));

        // The first try is disturbed after its WATCH; the library tries again.
        let mut other = connect(address, protocol);
        connection.set("n", 1)?;
        let mut tries = 0;
        let (sum,): (i64,) = redis::transaction(connection, &["n"], |connection, pipeline| {
            tries += 1;
            let old: i64 = redis::cmd("GET").arg("n").query(connection)?;
            if tries == 1 {
                other.set("n", 10)?;
            }
            pipeline.cmd("SET").arg("n").arg(old + 1).ignore().cmd("GET").arg("n").query(connection)
        })?;
        assert_eq!((sum, tries), (11, 2));
        Ok(())
    });
}

#[test]
fn pubsub_with_a_connection_of_its_own() {
    over_both_protocols(|connection, address, protocol| {
        let (ready, subscribed) = mpsc::channel();
        let protocol = protocol.to_owned();
        let subscriber = thread::spawn(move || -> RedisResult<Vec<(String, String)>> {
            let mut connection = connect(address, &protocol);
            let mut pubsub = connection.as_pubsub();
            pubsub.subscribe("news")?;
            pubsub.psubscribe("weather.*")?;
            ready.send(()).expect("the test waits");
            let mut heard = Vec::new();
            for _ in 0..3 {
                let message = pubsub.get_message()?;
                heard.push((message.get_channel_name().to_owned(), message.get_payload()?));
            }
            pubsub.unsubscribe("news")?;
            Ok(heard)
        });
        // An error means that the subscriber failed; joining it tells how.
        let _ = subscribed.recv();
        for (channel, text) in [("news", "one"), ("weather.sea", "two"), ("news", "three")] {
            connection.publish(channel, text)?;
        }
        let heard = subscriber.join().expect("the subscriber")?;
        let heard: Vec<(&str, &str)> = heard.iter().map(|(channel, text)| (channel.as_str(), text.as_str())).collect();
        assert_eq!(heard, [("news", "one"), ("weather.sea", "two"), ("news", "three")]);
        Ok(())
    });
}

#[test]
fn pubsub_among_other_commands_over_resp3() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let mut subscriber = connect(server.address(0), "resp3");
    let (sender, pushes) = mpsc::channel();
    subscriber.set_push_sender(sender);
    subscriber.subscribe_resp3("news").expect("SUBSCRIBE");
    // SUBSCRIBE's reply is a push, so the library does not wait for it; it comes before that of a later command.
    assert_eq!(subscriber.get("k").expect("GET"), None);
    assert_eq!(pushes.try_recv().expect("the subscription").kind, PushKind::Subscribe);
    let mut publisher = connect(server.address(0), "resp3");
    assert_eq!(publisher.publish("news", "hello").expect("PUBLISH"), 1);
    // The message comes with, or before, the reply to a later command.
    let heard = wait::until("the message", || {
        subscriber.set("k", "v").expect("SET");
        pushes.try_iter().find(|push| push.kind == PushKind::Message)
    });
    let words: Vec<String> = heard.data.iter().map(|word| redis::from_redis_value_ref(word).expect("text")).collect();
    assert_eq!(words, ["news", "hello"]);
    assert_eq!(subscriber.get("k").expect("GET"), Some("v".to_owned()));
}

#[test]
fn databases_and_server_commands() {
    over_both_protocols(|connection, address, protocol| {
        let mut other = client(address, 3, protocol).get_connection()?;
        other.set("k", "three")?;
        assert_eq!(connection.get("k")?, None);
        assert_eq!(redis::cmd("DBSIZE").query::<i64>(&mut other)?, 1);
        let info: redis::InfoDict = redis::cmd("INFO").query(connection)?;
        assert_eq!(info.get::<String>("redis_version"), Some("7.2.4".to_owned()));
        let configuration: HashMap<String, String> =
            redis::cmd("CONFIG").arg("GET").arg("maxclients").query(connection)?;
        assert!(configuration.contains_key("maxclients"));
        let commands: i64 = redis::cmd("COMMAND").arg("COUNT").query(connection)?;
        assert!(commands > 50, "{commands}");
        redis::cmd("FLUSHALL").exec(connection)?;
        assert_eq!(other.get("k")?, None);
        Ok(())
    });
}

/// The library does not connect anew by itself: it says that the connection is gone, and the next one finds the data.
#[test]
fn a_restarted_server_is_found_again() {
    for protocol in PROTOCOLS {
        let dir = TempDir::new().expect("a directory");
        let mut before = server(&dir);
        let address = before.address(0);
        let client = client(address, 0, protocol);
        let mut old = client.get_connection().expect("a connection");
        old.set_read_timeout(Some(wait::PATIENCE)).expect("a time limit");
        old.set("kept", "v").expect("SET");
        before.terminate();
        let gone = old.get("kept").expect_err("the server is gone");
        assert!(gone.is_connection_dropped() || gone.is_io_error(), "{protocol}: {gone}");
        let _after = Launch::new(server_program!(), dir.path()).listener(&format!("resp://{address}")).start();
        let mut new = client.get_connection().expect("another connection");
        new.set_read_timeout(Some(wait::PATIENCE)).expect("a time limit");
        assert_eq!(new.get("kept").expect("GET").as_deref(), Some("v"), "{protocol}");
        let (n,): (i64,) = redis::pipe().atomic().cmd("INCR").arg("n").query(&mut new).expect("EXEC");
        assert_eq!(n, 1, "{protocol}");
    }
}
