//! Starting and stopping, parked commands, slow readers, limits, and replies that wait for the disk.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use kvcore::{Db, Durability, Options};
use kvserver::{Error, Server};
use support::{Client, serve, serve_at};

#[test]
fn shutdown_by_a_client_stops_the_server_and_leaves_the_store_open() {
    let db = Db::in_memory();
    let server = serve(&db);
    let mut client = Client::of(&server);
    client.send("SET k v\r\nSHUTDOWN NOSAVE\r\n");
    client.expect("+OK\r\n");
    client.expect_end();
    server.shutdown().unwrap();
    assert_eq!(db.get("k").unwrap().unwrap(), "v");
}

#[test]
fn what_was_sent_before_the_stop_is_answered() {
    let db = Db::in_memory();
    let server = serve(&db);
    let mut client = Client::of(&server);
    client.ask("PING", "+PONG\r\n");
    server.shutdown().unwrap();
    client.expect_end();
}

#[test]
fn a_port_in_use_says_so() {
    let db = Db::in_memory();
    let server = serve(&db);
    let url = format!("resp://{}", server.addresses()[0]);
    let error = Server::builder().store(db).listen(url.parse().unwrap()).start().err().unwrap();
    assert!(matches!(error, Error::Listen { .. }));
    assert!(error.to_string().contains(&url), "{error}");
}

#[test]
fn a_unix_socket_serves_and_vanishes() {
    let db = Db::in_memory();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kv.sock");
    let server = serve_at(&db, &format!("unix://{}", path.display()));
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(b"PING\r\nQUIT\r\n").unwrap();
    let mut replies = String::new();
    stream.read_to_string(&mut replies).unwrap();
    assert_eq!(replies, "+PONG\r\n+OK\r\n");
    drop(server);
    assert!(!path.exists());
}

#[test]
fn clients_beyond_the_limit_are_told_so() {
    let db = Db::in_memory();
    let url = "resp://127.0.0.1:0".parse().unwrap();
    let server = Server::builder().store(db).listen(url).max_clients(1).start().unwrap();
    let mut first = Client::of(&server);
    first.ask("PING", "+PONG\r\n");
    let mut second = Client::of(&server);
    second.expect("-ERR max number of clients reached\r\n");
    second.expect_end();
    drop(first);
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let mut third = Client::of(&server);
        third.send("PING\r\n");
        match third.line().as_str() {
            "+PONG" => return,
            refused => assert_eq!(refused, "-ERR max number of clients reached"),
        }
        assert!(Instant::now() < deadline, "the place of a closed connection is not free");
    }
}

#[test]
fn a_half_closed_client_gets_all_its_replies() {
    let db = Db::in_memory();
    let server = serve(&db);
    let mut client = Client::of(&server);
    client.send("SET k 1\r\nINCR k\r\nGET k\r\n");
    client.stream().shutdown(std::net::Shutdown::Write).unwrap();
    client.expect("+OK\r\n:2\r\n$1\r\n2\r\n");
    client.expect_end();
}

#[test]
fn a_parked_command_holds_back_its_own_client_only() {
    let dir = tempfile::tempdir().unwrap();
    let db = Options::new().durability(Durability::Os).open(dir.path()).unwrap();
    let many: Vec<(String, &str)> = (0..5_000).map(|number| (format!("key:{number}"), "v")).collect();
    db.set_many(&many).unwrap();
    let server = serve(&db);
    let mut client = Client::of(&server);
    client.send("SAVE\r\nKEYS key:77\r\nLASTSAVE\r\n*1\r\n$4\r\nPING\r\n");
    client.expect("+OK\r\n*1\r\n$6\r\nkey:77\r\n:");
    assert!(client.line().parse::<u64>().is_ok(), "LASTSAVE");
    client.expect("+PONG\r\n");
}

#[test]
fn a_client_that_does_not_read_is_not_executed_further() {
    let db = Db::in_memory();
    db.set("big", vec![b'x'; 100_000]).unwrap();
    let server = serve(&db);
    let mut client = Client::of(&server);
    let count = 500;
    client.send("GET big\r\n".repeat(count) + "SET done 1\r\n");
    let mut other = Client::of(&server);
    // Until as much waits as a client may leave unread.
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        other.send("CLIENT LIST\r\n");
        let list = other.bulk();
        let waiting =
            list.split(" omem=").skip(1).map(|rest| rest.split(' ').next().unwrap().parse::<usize>().unwrap());
        if waiting.max() > Some(1_000_000) {
            break;
        }
        assert!(Instant::now() < deadline, "the replies are nowhere");
    }
    for _ in 0..100 {
        Client::of(&server).ask("PING", "+PONG\r\n");
    }
    assert!(!db.exists("done").unwrap(), "50 MB of replies should not have been prepared");
    let reply = [&b"$100000\r\n"[..], &[b'x'; 100_000], b"\r\n"].concat();
    for _ in 0..count {
        client.expect(&reply);
    }
    client.expect("+OK\r\n");
}

#[test]
fn a_large_value_arrives_in_pieces() {
    let db = Db::in_memory();
    let server = serve(&db);
    let mut client = Client::of(&server);
    let value: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect();
    client.send(b"PING\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$3000000\r\n");
    client.send(&value);
    client.send(b"\r\nSTRLEN k\r\nGET k\r\n");
    client.expect("+PONG\r\n+OK\r\n:3000000\r\n$3000000\r\n");
    client.expect(&value);
    client.expect("\r\n");
}

#[test]
fn with_durability_always_an_acknowledged_write_is_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let db = Options::new().durability(Durability::Always).open(dir.path()).unwrap();
    let server = serve(&db);
    let threads: Vec<_> = (0..8)
        .map(|thread| {
            let mut client = Client::of(&server);
            std::thread::spawn(move || {
                for round in 0..50 {
                    client.ask(&format!("SET k{thread} {round}"), "+OK\r\n");
                    client.ask(&format!("INCR n{thread}"), format!(":{}\r\n", round + 1));
                    client.ask(&format!("GET k{thread}"), format!("${}\r\n{round}\r\n", round.to_string().len()));
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(db.hooks().durable_lsn(), db.hooks().last_lsn(), "something was answered before it was durable");
}
