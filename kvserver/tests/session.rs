//! Sessions over RESP: errors, pipelines, transactions, publish/subscribe.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::time::{Duration, Instant};

use kvcore::{Db, SetOptions};
use support::{Client, serve};

#[test]
fn a_pipeline_is_answered_in_order_however_it_is_split() {
    let db = Db::in_memory();
    let server = serve(&db);
    let requests = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nvalue\r\nGET k\r\n*2\r\n$4\r\nINCR\r\n$1\r\nn\r\nPING\r\n";
    let replies = "+OK\r\n$5\r\nvalue\r\n:1\r\n+PONG\r\n";
    Client::of(&server).ask("FLUSHALL", "+OK\r\n");
    for size in [1, 2, 7, requests.len()] {
        let mut client = Client::of(&server);
        for piece in requests.chunks(size) {
            client.send(piece);
            std::thread::sleep(Duration::from_millis(1));
        }
        client.expect(replies);
        client.ask("DEL n", ":1\r\n");
    }
}

#[test]
fn errors_are_those_of_redis() {
    let db = Db::in_memory();
    let server = serve(&db);
    let mut client = Client::of(&server);
    for (request, reply) in [
        ("foo", "-ERR unknown command 'foo', with args beginning with: \r\n"),
        ("foo a b", "-ERR unknown command 'foo', with args beginning with: 'a' 'b' \r\n"),
        ("get", "-ERR wrong number of arguments for 'get' command\r\n"),
        ("client", "-ERR wrong number of arguments for 'client' command\r\n"),
        ("client setname", "-ERR wrong number of arguments for 'client|setname' command\r\n"),
        ("client nope", "-ERR unknown subcommand 'nope'. Try CLIENT HELP.\r\n"),
        ("client setname \"a b\"", "-ERR Client names cannot contain spaces, newlines or special characters.\r\n"),
        ("client list type x", "-ERR Unknown client type 'x'\r\n"),
        ("client list id x", "-ERR Invalid client ID\r\n"),
        ("select x", "-ERR value is not an integer or out of range\r\n"),
        ("select 16", "-ERR DB index is out of range\r\n"),
        ("hello 4", "-NOPROTO unsupported protocol version\r\n"),
        ("hello x", "-ERR Protocol version is not an integer or out of range\r\n"),
        ("hello 2 nope", "-ERR Syntax error in HELLO option 'nope'\r\n"),
        (
            "auth x",
            "-ERR AUTH <password> called without any password configured for the default user. Are you sure your \
             configuration is correct?\r\n",
        ),
        ("auth me x", "-WRONGPASS invalid username-password pair or user is disabled.\r\n"),
        ("auth default x", "+OK\r\n"),
        ("flushdb now", "-ERR syntax error\r\n"),
        ("shutdown abort", "-ERR No shutdown in progress.\r\n"),
        ("shutdown save nosave", "-ERR syntax error\r\n"),
        ("exec", "-ERR EXEC without MULTI\r\n"),
        ("discard", "-ERR DISCARD without MULTI\r\n"),
        ("command getkeys nope", "-ERR Invalid command specified\r\n"),
    ] {
        client.ask(request, reply);
    }
    client.ask("*1\r\n$3\r\nGET", "-ERR wrong number of arguments for 'get' command\r\n");
    client.ask("*1\r\nx", "-ERR Protocol error: expected '$', got 'x'\r\n");
    client.expect_end();
}

#[test]
fn hello_switches_the_version_and_quit_closes() {
    let db = Db::in_memory();
    let server = serve(&db);
    let mut client = Client::of(&server);
    client.ask("GET missing", "$-1\r\n");
    client.ask(
        "HELLO 3 SETNAME me",
        "%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n7.2.4\r\n$5\r\nproto\r\n:3\r\n$2\r\nid\r\n:1\r\n\
         $4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n",
    );
    client.ask("GET missing", "_\r\n");
    client.ask("CLIENT GETNAME", "$2\r\nme\r\n");
    client.ask("QUIT", "+OK\r\n");
    client.expect_end();
}

#[test]
fn a_transaction_spans_databases_and_is_seen_whole() {
    let db = Db::in_memory();
    let server = serve(&db);
    let mut client = Client::of(&server);
    client.ask("MULTI", "+OK\r\n");
    for line in ["SET a 1", "SELECT 3", "SET a 2", "INCR a", "KEYS *", "GET a", "PING", "INCRBY a x"] {
        client.ask(line, "+QUEUED\r\n");
    }
    client.ask(
        "EXEC",
        "*8\r\n+OK\r\n+OK\r\n+OK\r\n:3\r\n*1\r\n$1\r\na\r\n$1\r\n3\r\n+PONG\r\n\
         -ERR value is not an integer or out of range\r\n",
    );
    client.ask("GET a", "$1\r\n3\r\n");
    client.ask("SELECT 0", "+OK\r\n");
    client.ask("GET a", "$1\r\n1\r\n");
    client.ask("MULTI", "+OK\r\n");
    client.ask("SET c 1", "+QUEUED\r\n");
    client.ask("FLUSHALL", "+QUEUED\r\n");
    client.ask("DBSIZE", "+QUEUED\r\n");
    client.ask("SET d 1", "+QUEUED\r\n");
    client.ask("EXEC", "*4\r\n+OK\r\n+OK\r\n:0\r\n+OK\r\n");
    client.ask("DBSIZE", ":1\r\n");
}

#[test]
fn a_spoiled_transaction_is_refused() {
    let db = Db::in_memory();
    let server = serve(&db);
    let mut client = Client::of(&server);
    client.ask("MULTI", "+OK\r\n");
    client.ask("MULTI", "-ERR MULTI calls can not be nested\r\n");
    client.ask("WATCH k", "-ERR WATCH inside MULTI is not allowed\r\n");
    client.ask("SET k 1", "+QUEUED\r\n");
    client.ask("EXEC", "*1\r\n+OK\r\n");
    for mistake in ["nope", "GET", "SAVE"] {
        client.ask("MULTI", "+OK\r\n");
        client.send(format!("{mistake}\r\n"));
        assert!(client.line().starts_with("-ERR "));
        client.ask("SET k 2", "+QUEUED\r\n");
        client.ask("EXEC", "-EXECABORT Transaction discarded because of previous errors.\r\n");
    }
    client.ask("MULTI", "+OK\r\n");
    client.ask(
        "EXEC now",
        "-EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command\r\n",
    );
    client.ask("EXEC", "-ERR EXEC without MULTI\r\n");
    client.ask("GET k", "$1\r\n1\r\n");
}

#[test]
fn watch_notices_every_change_and_no_other() {
    let db = Db::in_memory();
    let server = serve(&db);
    let mut client = Client::of(&server);
    let mut other = Client::of(&server);
    let exec = |client: &mut Client, applied: bool| {
        client.ask("MULTI", "+OK\r\n");
        client.ask("PING", "+QUEUED\r\n");
        client.ask("EXEC", if applied { "*1\r\n+PONG\r\n" } else { "*-1\r\n" });
    };
    // By another client, by the embedding program, by itself, by expiry, by a flush, in another database.
    client.ask("WATCH k", "+OK\r\n");
    other.ask("SET k 1", "+OK\r\n");
    exec(&mut client, false);
    exec(&mut client, true);

    client.ask("WATCH k", "+OK\r\n");
    db.set("k", "2").unwrap();
    exec(&mut client, false);

    client.ask("WATCH k", "+OK\r\n");
    client.ask("EXPIRE k 100", ":1\r\n");
    exec(&mut client, false);

    db.set_with("k", "3", SetOptions::new().expires_in(Duration::from_millis(30))).unwrap();
    client.ask("WATCH k", "+OK\r\n");
    std::thread::sleep(Duration::from_millis(60));
    exec(&mut client, false);

    db.set("k", "4").unwrap();
    client.ask("WATCH k", "+OK\r\n");
    other.ask("FLUSHALL", "+OK\r\n");
    exec(&mut client, false);

    client.ask("WATCH missing", "+OK\r\n");
    other.ask("FLUSHALL", "+OK\r\n");
    other.ask("SET unrelated 1", "+OK\r\n");
    exec(&mut client, true);

    client.ask("SELECT 5", "+OK\r\n");
    client.ask("WATCH k", "+OK\r\n");
    client.ask("SELECT 0", "+OK\r\n");
    other.ask("SET k 1", "+OK\r\n");
    exec(&mut client, true);
    client.ask("SELECT 5", "+OK\r\n");
    client.ask("WATCH k", "+OK\r\n");
    client.ask("SELECT 0", "+OK\r\n");
    other.ask("SELECT 5", "+OK\r\n");
    other.ask("SET k 1", "+OK\r\n");
    exec(&mut client, false);

    client.ask("WATCH k", "+OK\r\n");
    client.ask("UNWATCH", "+OK\r\n");
    db.set("k", "5").unwrap();
    exec(&mut client, true);
}

#[test]
fn a_message_reaches_subscribers_on_every_loop() {
    let db = Db::in_memory();
    let server = serve(&db);
    let mut subscribers: Vec<Client> = (0..4).map(|_| Client::of(&server)).collect();
    for client in &mut subscribers {
        client.ask("SUBSCRIBE news", "*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n");
    }
    let mut publisher = Client::of(&server);
    publisher.ask("PUBLISH news hello", ":4\r\n");
    publisher.ask("PUBSUB CHANNELS", "*1\r\n$4\r\nnews\r\n");
    publisher.ask("PUBSUB NUMSUB news other", "*4\r\n$4\r\nnews\r\n:4\r\n$5\r\nother\r\n:0\r\n");
    for client in &mut subscribers {
        client.expect("*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$5\r\nhello\r\n");
    }
    publisher.ask("MULTI", "+OK\r\n");
    publisher.ask("PUBLISH news again", "+QUEUED\r\n");
    publisher.ask("EXEC", "*1\r\n:4\r\n");
    for client in &mut subscribers {
        client.expect("*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$5\r\nagain\r\n");
    }
    drop(subscribers);
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        publisher.send("PUBSUB CHANNELS\r\n");
        let count: usize = publisher.line().trim_start_matches('*').parse().unwrap();
        if count == 0 {
            return;
        }
        publisher.reply_lines(2 * count);
        assert!(Instant::now() < deadline, "a closed connection is still subscribed");
    }
}

#[test]
fn a_subscriber_in_resp2_can_do_little_and_in_resp3_all() {
    let db = Db::in_memory();
    let server = serve(&db);
    let mut client = Client::of(&server);
    client.ask("PSUBSCRIBE n?ws", "*3\r\n$10\r\npsubscribe\r\n$4\r\nn?ws\r\n:1\r\n");
    client.ask("SUBSCRIBE a b", "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:2\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:3\r\n");
    client.ask(
        "GET k",
        "-ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this \
         context\r\n",
    );
    client.ask("PING", "*2\r\n$4\r\npong\r\n$0\r\n\r\n");
    client.ask("PING x", "*2\r\n$4\r\npong\r\n$1\r\nx\r\n");
    let mut other = Client::of(&server);
    other.ask("PUBLISH news x", ":1\r\n");
    client.expect("*4\r\n$8\r\npmessage\r\n$4\r\nn?ws\r\n$4\r\nnews\r\n$1\r\nx\r\n");
    client.ask(
        "UNSUBSCRIBE",
        "*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:2\r\n*3\r\n$11\r\nunsubscribe\r\n$1\r\nb\r\n:1\r\n",
    );
    client.ask("UNSUBSCRIBE", "*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:1\r\n");
    client.ask("PUNSUBSCRIBE n?ws", "*3\r\n$12\r\npunsubscribe\r\n$4\r\nn?ws\r\n:0\r\n");
    client.ask("GET k", "$-1\r\n");
    client.send("HELLO 3\r\n");
    client.reply_lines(26);
    client.ask("SUBSCRIBE a", ">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n");
    client.ask("GET k", "_\r\n");
    other.ask("PUBLISH a x", ":1\r\n");
    client.expect(">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nx\r\n");
}

/// A loop reads with a decoder that its connections share. One that was left in the middle of a broken request used to
/// be handed to the next connection, whose first request then never ended.
#[test]
fn a_broken_request_of_one_client_does_not_reach_the_next() {
    let db = Db::in_memory();
    let server = serve(&db);
    for broken in ["*abc\r\n", "*1\r\nx\r\n", "*1\r\n$-5\r\n", "'unbalanced\r\n"] {
        for _ in 0..4 {
            let mut client = Client::of(&server);
            client.send(broken);
            let error = client.line();
            assert!(error.starts_with("-ERR Protocol error"), "{broken}: {error}");
            client.expect_end();
            Client::of(&server).ask("PING", "+PONG\r\n");
        }
    }
    let mut empty = Client::of(&server);
    empty.send("\r\n*0\r\n*-1\r\n");
    empty.ask("PING", "+PONG\r\n");
}

/// The flush used to list the keyspaces again at execution, among them one that the transaction had created without
/// claiming it whole: it failed halfway, with half of it done.
#[test]
fn a_flush_in_a_transaction_is_whole_though_a_database_appears_in_it() {
    let db = Db::in_memory();
    let server = serve(&db);
    let mut client = Client::of(&server);
    client.ask("SET x 1", "+OK\r\n");
    client.ask("MULTI", "+OK\r\n");
    for line in ["FLUSHALL", "SET y 2", "SELECT 9", "SET z 1"] {
        client.ask(line, "+QUEUED\r\n");
    }
    client.ask("EXEC", "*4\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n");
    client.ask("KEYS *", "*1\r\n$1\r\nz\r\n");
    client.ask("MULTI", "+OK\r\n");
    for line in ["SELECT 7", "SET a 1", "FLUSHALL", "SET b 2"] {
        client.ask(line, "+QUEUED\r\n");
    }
    client.ask("EXEC", "*4\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n");
    client.ask("KEYS *", "*1\r\n$1\r\nb\r\n");
    client.ask("SELECT 9", "+OK\r\n");
    client.ask("DBSIZE", ":0\r\n");
    client.ask("SELECT 0", "+OK\r\n");
    client.ask("DBSIZE", ":0\r\n");
}

#[test]
fn what_a_queue_takes_in_memory_is_counted_and_not_its_words_alone() {
    let db = Db::in_memory();
    let server = serve(&db);
    let mut client = Client::of(&server);
    client.ask("MULTI", "+OK\r\n");
    for _ in 0..100 {
        client.ask("GET k", "+QUEUED\r\n");
    }
    let mut other = Client::of(&server);
    other.send("CLIENT LIST ID 1\r\n");
    let line = other.bulk();
    let bytes: usize = line.split("multi-mem=").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!(bytes >= 100 * 100, "{line}");
}

#[test]
fn many_keys_are_watched_in_no_time_and_too_many_refused() {
    let db = Db::in_memory();
    let server = serve(&db);
    let mut client = Client::of(&server);
    let request = |count: usize, name: &str, length: usize| {
        let mut bytes = format!("*{}\r\n${}\r\n{name}\r\n", count + 1, name.len()).into_bytes();
        for index in 0..count {
            bytes.extend_from_slice(format!("${length}\r\n{index:08}{}\r\n", "x".repeat(length - 8)).as_bytes());
        }
        bytes
    };
    let start = std::time::Instant::now();
    client.send(request(100_000, "WATCH", 8));
    client.expect("+OK\r\n");
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    client.ask("UNWATCH", "+OK\r\n");
    for _ in 0..3 {
        client.send(request(70, "WATCH", 1_000_000));
        client.expect("-ERR too many watched keys: all that a client watches may take 67108864 bytes\r\n");
        client.ask("UNWATCH", "+OK\r\n");
        client.send(request(70, "SUBSCRIBE", 1_000_000));
        client.expect("-ERR too many subscriptions: all of a client may take 67108864 bytes\r\n");
    }
    client.ask("GET k", "$-1\r\n");
    // What was given up counts no more.
    for _ in 0..5 {
        client.send(request(1, "WATCH", 20_000_000));
        client.expect("+OK\r\n");
        client.ask("UNWATCH", "+OK\r\n");
        client.send(request(1, "SUBSCRIBE", 20_000_000));
        let mut pushed = vec![0; 20_000_000 + 36];
        std::io::Read::read_exact(client.stream(), &mut pushed).unwrap();
        client.send("UNSUBSCRIBE\r\n");
        let mut pushed = vec![0; 20_000_000 + 39];
        std::io::Read::read_exact(client.stream(), &mut pushed).unwrap();
    }
    client.ask("PING", "+PONG\r\n");
}
