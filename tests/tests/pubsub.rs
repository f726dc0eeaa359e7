//! Publish and subscribe: what is published reaches every subscriber once, in order, whichever event loop serves
//! it, and subscriptions end with their connection.

#![forbid(unsafe_code)]

use std::thread;

use kvtests::process::{Launch, ServerProcess};
use kvtests::server_program;
use kvtests::wait;
use kvtests::wire::{Wire, request};
use tempfile::TempDir;

/// Two loops, so that neighbouring connections are served by different threads.
fn server(dir: &TempDir) -> ServerProcess {
    Launch::new(server_program!(), dir.path()).resp().arguments(["--loops", "2"]).start()
}

fn message(channel: &str, text: &str) -> String {
    format!("*3\r\n$7\r\nmessage\r\n${}\r\n{channel}\r\n${}\r\n{text}\r\n", channel.len(), text.len())
}

#[test]
fn channels_are_counted_as_they_are_joined_and_left() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let mut subscriber = server.connect();
    subscriber.ask("SUBSCRIBE a b", "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n");
    subscriber.expect("*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n");
    subscriber.ask("PSUBSCRIBE n*", "*3\r\n$10\r\npsubscribe\r\n$2\r\nn*\r\n:3\r\n");
    subscriber.ask("SUBSCRIBE a", "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:3\r\n");

    let mut observer = server.connect();
    observer.ask("PUBSUB NUMSUB a b c", "*6\r\n$1\r\na\r\n:1\r\n$1\r\nb\r\n:1\r\n$1\r\nc\r\n:0\r\n");
    observer.ask("PUBSUB CHANNELS b*", "*1\r\n$1\r\nb\r\n");
    observer.ask("PUBSUB NUMPAT", ":1\r\n");

    subscriber.ask("UNSUBSCRIBE a", "*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:2\r\n");
    subscriber.ask("UNSUBSCRIBE", "*3\r\n$11\r\nunsubscribe\r\n$1\r\nb\r\n:1\r\n");
    subscriber.ask("PUNSUBSCRIBE", "*3\r\n$12\r\npunsubscribe\r\n$2\r\nn*\r\n:0\r\n");
    subscriber.ask("UNSUBSCRIBE", "*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n");
    observer.ask("PUBSUB CHANNELS", "*0\r\n");
    observer.ask("PUBLISH a nobody", ":0\r\n");
    subscriber.ask("GET k", "$-1\r\n");
}

#[test]
fn a_subscribed_resp2_client_may_only_manage_its_subscriptions() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let mut subscriber = server.connect();
    subscriber.ask("SUBSCRIBE a", "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n");
    subscriber.ask(
        "GET k",
        "-ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this \
         context\r\n",
    );
    subscriber.ask("PING", "*2\r\n$4\r\npong\r\n$0\r\n\r\n");
    subscriber.ask("PING hey", "*2\r\n$4\r\npong\r\n$3\r\nhey\r\n");
    subscriber.ask("QUIT", "+OK\r\n");
    subscriber.expect_closed();
}

#[test]
fn patterns_receive_what_they_match() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let mut subscriber = server.connect();
    subscriber.ask("PSUBSCRIBE news.* h[ae]llo", "*3\r\n$10\r\npsubscribe\r\n$6\r\nnews.*\r\n:1\r\n");
    subscriber.expect("*3\r\n$10\r\npsubscribe\r\n$8\r\nh[ae]llo\r\n:2\r\n");
    subscriber.ask("SUBSCRIBE news.art", "*3\r\n$9\r\nsubscribe\r\n$8\r\nnews.art\r\n:3\r\n");
    for publisher in [&mut server.connect(), &mut server.connect()] {
        publisher.ask("PUBLISH news.art one", ":2\r\n");
        subscriber.expect(message("news.art", "one"));
        subscriber.expect("*4\r\n$8\r\npmessage\r\n$6\r\nnews.*\r\n$8\r\nnews.art\r\n$3\r\none\r\n");
        publisher.ask("PUBLISH hallo two", ":1\r\n");
        subscriber.expect("*4\r\n$8\r\npmessage\r\n$8\r\nh[ae]llo\r\n$5\r\nhallo\r\n$3\r\ntwo\r\n");
        publisher.ask("PUBLISH hillo three", ":0\r\n");
    }
}

#[test]
fn a_resp3_client_gets_pushes_between_its_replies() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let mut client = server.connect();
    client.command("HELLO 3");
    client.ask("SUBSCRIBE a", ">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n");
    client.ask("SET k v", "+OK\r\n");
    server.connect().ask("PUBLISH a hello", ":1\r\n");
    client.expect(">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$5\r\nhello\r\n");
    client.ask("GET k", "$1\r\nv\r\n");
    client.ask("PING", "+PONG\r\n");
    client.ask("UNSUBSCRIBE a", ">3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:0\r\n");
}

#[test]
fn shard_channels_are_apart_from_channels_and_patterns() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let mut subscriber = server.connect();
    subscriber.ask("PSUBSCRIBE *", "*3\r\n$10\r\npsubscribe\r\n$1\r\n*\r\n:1\r\n");
    subscriber.ask("SSUBSCRIBE s t", "*3\r\n$10\r\nssubscribe\r\n$1\r\ns\r\n:1\r\n");
    subscriber.expect("*3\r\n$10\r\nssubscribe\r\n$1\r\nt\r\n:2\r\n");

    let mut observer = server.connect();
    observer.ask("SPUBLISH s one", ":1\r\n");
    subscriber.expect("*3\r\n$8\r\nsmessage\r\n$1\r\ns\r\n$3\r\none\r\n");
    observer.ask("PUBLISH s two", ":1\r\n");
    subscriber.expect("*4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$1\r\ns\r\n$3\r\ntwo\r\n");
    observer.ask("PUBSUB SHARDNUMSUB s x", "*4\r\n$1\r\ns\r\n:1\r\n$1\r\nx\r\n:0\r\n");
    observer.ask("PUBSUB SHARDCHANNELS s*", "*1\r\n$1\r\ns\r\n");
    observer.ask("PUBSUB CHANNELS", "*0\r\n");

    subscriber.ask("SUNSUBSCRIBE t", "*3\r\n$12\r\nsunsubscribe\r\n$1\r\nt\r\n:1\r\n");
    subscriber.ask("PUNSUBSCRIBE", "*3\r\n$12\r\npunsubscribe\r\n$1\r\n*\r\n:0\r\n");
    subscriber.ask("PING", "*2\r\n$4\r\npong\r\n$0\r\n\r\n");
    subscriber.ask("SUNSUBSCRIBE", "*3\r\n$12\r\nsunsubscribe\r\n$1\r\ns\r\n:0\r\n");
    subscriber.ask("PING", "+PONG\r\n");
    subscriber.ask("SUNSUBSCRIBE", "*3\r\n$12\r\nsunsubscribe\r\n$-1\r\n:0\r\n");
    observer.ask("SPUBLISH s nobody", ":0\r\n");
}

#[test]
fn exec_publishes_to_shard_channels_and_refuses_to_join_them() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let mut subscriber = server.connect();
    subscriber.ask("SSUBSCRIBE s", "*3\r\n$10\r\nssubscribe\r\n$1\r\ns\r\n:1\r\n");
    let mut client = server.connect();
    client.ask("MULTI", "+OK\r\n");
    for command in ["SPUBLISH s m", "SSUBSCRIBE s", "SUBSCRIBE c"] {
        client.ask(command, "+QUEUED\r\n");
    }
    client.ask(
        "EXEC",
        "*3\r\n:1\r\n-ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n\
         :1\r\n",
    );
    subscriber.expect("*3\r\n$8\r\nsmessage\r\n$1\r\ns\r\n$1\r\nm\r\n");
}

#[test]
fn a_thousand_messages_of_each_publisher_arrive_in_order() {
    const PUBLISHERS: usize = 4;
    const MESSAGES: usize = 1000;
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let mut subscribers: Vec<Wire> = (0..4).map(|_| server.connect()).collect();
    for subscriber in &mut subscribers {
        subscriber.ask("SUBSCRIBE feed", "*3\r\n$9\r\nsubscribe\r\n$4\r\nfeed\r\n:1\r\n");
    }
    thread::scope(|scope| {
        for publisher in 0..PUBLISHERS {
            let mut wire = server.connect();
            scope.spawn(move || {
                for batch in (0..MESSAGES).collect::<Vec<_>>().chunks(50) {
                    let mut requests = Vec::new();
                    for number in batch {
                        requests.extend(request(&["PUBLISH", "feed", &format!("{publisher}:{number}")]));
                    }
                    wire.send(requests);
                    wire.expect(":4\r\n".repeat(batch.len()));
                }
            });
        }
        for subscriber in &mut subscribers {
            scope.spawn(move || {
                let mut next = [0; PUBLISHERS];
                for _ in 0..PUBLISHERS * MESSAGES {
                    let reply = String::from_utf8(subscriber.reply()).expect("text");
                    let text = reply.trim_end().rsplit("\r\n").next().expect("the message");
                    let (publisher, number) = text.split_once(':').expect("publisher:number");
                    let publisher: usize = publisher.parse().expect("a publisher's number");
                    assert_eq!(number, next[publisher].to_string(), "the next message of publisher {publisher}");
                    next[publisher] += 1;
                }
                assert_eq!(next, [MESSAGES; PUBLISHERS]);
            });
        }
    });
}

#[test]
fn a_subscription_ends_with_its_connection() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let mut observer = server.connect();
    let mut leaver = server.connect();
    leaver.ask("SUBSCRIBE a", "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n");
    leaver.ask("PSUBSCRIBE a*", "*3\r\n$10\r\npsubscribe\r\n$2\r\na*\r\n:2\r\n");
    observer.ask("PUBLISH a x", ":2\r\n");
    drop(leaver);
    wait::until_true("the end of a dead client's subscriptions", || observer.command("PUBLISH a x") == b":0\r\n");
    observer.ask("PUBSUB NUMPAT", ":0\r\n");
}

#[test]
fn messages_published_in_a_transaction_leave_when_it_is_executed() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let mut subscriber = server.connect();
    subscriber.ask("SUBSCRIBE a", "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n");
    let mut publisher = server.connect();
    publisher.ask("MULTI", "+OK\r\n");
    publisher.ask("PUBLISH a early", "+QUEUED\r\n");
    server.connect().ask("PUBLISH a late", ":1\r\n");
    publisher.ask("EXEC", "*1\r\n:1\r\n");
    subscriber.expect(message("a", "late"));
    subscriber.expect(message("a", "early"));
}

#[test]
fn a_line_client_hears_one_line_a_message() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = Launch::new(server_program!(), dir.path()).resp().line("plain").arguments(["--loops", "2"]).start();
    let mut subscriber = Wire::connect(server.address(1));
    subscriber.send("SUBSCRIBE news\n");
    subscriber.expect("subscribe, news, 1\n");
    server.connect().ask("PUBLISH news hello", ":1\r\n");
    subscriber.expect("message, news, hello\n");
}
