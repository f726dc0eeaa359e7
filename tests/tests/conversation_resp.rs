//! Conversations in RESP over a raw socket, byte for byte: inline and multibulk requests, RESP2 and RESP3 replies.

#![forbid(unsafe_code)]

use std::time::Duration;

use kvtests::conversation::{Conversation, Delivery};
use kvtests::process::{Launch, ServerProcess};
use kvtests::server_program;
use kvtests::wait::Lifetime;
use kvtests::wire::{bulk, request};
use tempfile::TempDir;

fn server(dir: &TempDir) -> ServerProcess {
    Launch::new(server_program!(), dir.path()).resp().start()
}

/// Plays one conversation in every delivery, each against a server of its own.
#[track_caller]
fn play(conversation: &Conversation) {
    for delivery in Delivery::ALL {
        let dir = TempDir::new().expect("a temporary directory");
        println!("{delivery:?}");
        conversation.play(&mut server(&dir).connect(), delivery);
    }
}

#[test]
fn an_inline_set_with_quotes_and_px_is_read_back() {
    play(
        &Conversation::new()
            .bytes("SET mykey \"Hello World\" PX 5000\r\n", "+OK\r\n")
            .bytes("GET mykey\r\n", "$11\r\nHello World\r\n")
            .bytes("GET mykey\n", "$11\r\nHello World\r\n")
            .resp("GET mykey", "$11\r\nHello World\r\n"),
    );
}

#[test]
fn px_ends_a_key() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let mut wire = server.connect();
    Lifetime::begin(Duration::from_millis(300), || wire.ask("SET brief v PX 300", "+OK\r\n")).watch(|| {
        match wire.command("GET brief").as_slice() {
            b"$1\r\nv\r\n" => true,
            b"$-1\r\n" => false,
            other => panic!("GET brief: {}", kvtests::wire::show(other)),
        }
    });
    wire.ask("EXISTS brief", ":0\r\n");
}

#[test]
fn strings_counters_and_keys() {
    play(
        &Conversation::new()
            .resp("SET k v", "+OK\r\n")
            .resp("GET k", "$1\r\nv\r\n")
            .resp("GET nothing", "$-1\r\n")
            .resp("SET k w NX", "$-1\r\n")
            .resp("SET k w XX GET", "$1\r\nv\r\n")
            .resp("GETSET k x", "$1\r\nw\r\n")
            .resp("APPEND k yz", ":3\r\n")
            .resp("STRLEN k", ":3\r\n")
            .resp("INCR n", ":1\r\n")
            .resp("INCRBY n 9223372036854775806", ":9223372036854775807\r\n")
            .resp("INCR n", "-ERR increment or decrement would overflow\r\n")
            .resp("DECRBY n 9223372036854775807", ":0\r\n")
            .resp("INCR k", "-ERR value is not an integer or out of range\r\n")
            .resp("INCRBYFLOAT f 10.5", "$4\r\n10.5\r\n")
            .resp("MSET a 1 b 2", "+OK\r\n")
            .resp("MGET a b nothing", "*3\r\n$1\r\n1\r\n$1\r\n2\r\n$-1\r\n")
            .resp("MSETNX b 3 c 4", ":0\r\n")
            .resp("EXISTS a b c a", ":3\r\n")
            .resp("TYPE a", "+string\r\n")
            .resp("TYPE c", "+none\r\n")
            .resp("RENAME a d", "+OK\r\n")
            .resp("RENAME a d", "-ERR no such key\r\n")
            .resp("DEL d b c", ":2\r\n")
            .resp("DBSIZE", ":3\r\n")
            .resp("FLUSHALL", "+OK\r\n")
            .resp("KEYS *", "*0\r\n"),
    );
}

#[test]
fn errors_are_worded_as_redis_words_them() {
    play(
        &Conversation::new()
            .resp("GET", "-ERR wrong number of arguments for 'get' command\r\n")
            .resp("SET k v EX", "-ERR syntax error\r\n")
            .resp("SET k v EX 0", "-ERR invalid expire time in 'set' command\r\n")
            .resp("SET k v EX ten", "-ERR value is not an integer or out of range\r\n")
            .resp("EXPIRE k 1 XX NX", "-ERR NX and XX, GT or LT options at the same time are not compatible\r\n")
            .resp("nonsense a b", "-ERR unknown command 'nonsense', with args beginning with: 'a' 'b' \r\n")
            .resp("CLIENT nonsense", "-ERR unknown subcommand 'nonsense'. Try CLIENT HELP.\r\n")
            .resp("SELECT 16", "-ERR DB index is out of range\r\n")
            .resp("SELECT one", "-ERR value is not an integer or out of range\r\n")
            .resp("SCAN x", "-ERR invalid cursor\r\n")
            .resp("EXEC", "-ERR EXEC without MULTI\r\n")
            .resp("DISCARD", "-ERR DISCARD without MULTI\r\n")
            .resp(
                "AUTH password",
                "-ERR AUTH <password> called without any password configured for the default user. \
                 Are you sure your configuration is correct?\r\n",
            )
            .resp("HELLO 4", "-NOPROTO unsupported protocol version\r\n")
            .resp("PING", "+PONG\r\n"),
    );
}

#[test]
fn any_bytes_are_a_key_and_a_value() {
    let every_byte: Vec<u8> = (0..=255).collect();
    let empty: [&[u8]; 3] = [b"SET", b"", b""];
    play(
        &Conversation::new()
            .bytes(request(&[b"SET".as_slice(), &every_byte, &every_byte]), "+OK\r\n")
            .bytes(request(&[b"GET".as_slice(), &every_byte]), bulk(&every_byte))
            .bytes(request(&empty), "+OK\r\n")
            .bytes(request(&[b"GET".as_slice(), b""]), "$0\r\n\r\n")
            .bytes(request(&["ECHO", "a\r\nb"]), "$4\r\na\r\nb\r\n")
            .bytes("ECHO \"\\x00\\n\"\r\n", b"$2\r\n\x00\n\r\n"),
    );
}

#[test]
fn a_large_value_travels_whole() {
    let value: Vec<u8> = (0..3_000_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let conversation = Conversation::new()
        .bytes(request(&[b"SET".as_slice(), b"large", &value]), "+OK\r\n")
        .bytes(request(&["GET", "large"]), bulk(&value))
        .resp("STRLEN large", ":3000000\r\n");
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    // Three million writes of one byte prove no more than the smaller conversations do.
    for delivery in [Delivery::EachRequest, Delivery::AtOnce] {
        conversation.play(&mut server.connect(), delivery);
    }
}

#[test]
fn empty_requests_are_skipped() {
    play(&Conversation::new().bytes("\r\n\r\n*0\r\n*-1\r\nPING\r\n", "+PONG\r\n"));
}

#[test]
fn quit_is_answered_and_closes() {
    play(&Conversation::new().resp("PING", "+PONG\r\n").resp("QUIT", "+OK\r\n").closes(""));
}

#[test]
fn a_client_that_finishes_sending_still_gets_its_replies() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let mut wire = server.connect();
    wire.send(request(&["SET", "k", "v"]).repeat(1000));
    wire.finish_sending();
    wire.expect("+OK\r\n".repeat(1000));
    wire.expect_closed();
}

#[test]
fn what_is_no_resp_is_refused_and_closes_only_its_own_connection() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let mut bystander = server.connect();
    bystander.ask("PING", "+PONG\r\n");
    for (bytes, error) in [
        ("*1\r\n:1\r\n", "-ERR Protocol error: expected '$', got ':'\r\n"),
        ("*x\r\n", "-ERR Protocol error: invalid multibulk length\r\n"),
        ("*3000000000\r\n", "-ERR Protocol error: invalid multibulk length\r\n"),
        ("*1\r\n$-1\r\n", "-ERR Protocol error: invalid bulk length\r\n"),
        ("*1\r\n$99999999999\r\n", "-ERR Protocol error: invalid bulk length\r\n"),
        ("SET \"unbalanced\r\n", "-ERR Protocol error: unbalanced quotes in request\r\n"),
    ] {
        for delivery in Delivery::ALL {
            // What came before the error is answered first.
            let mut wire = server.connect();
            Conversation::new().resp("PING", "+PONG\r\n").bytes(bytes, error).closes("").play(&mut wire, delivery);
        }
        bystander.ask("PING", "+PONG\r\n");
    }
}

#[test]
fn resp3_is_spoken_after_hello() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let mut wire = server.connect();
    let hello = wire.command("HELLO 3");
    assert!(hello.starts_with(b"%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n"), "{}", kvtests::wire::show(&hello));
    let hello = String::from_utf8_lossy(&hello).into_owned();
    assert!(hello.contains("$5\r\nproto\r\n:3\r\n"), "{hello}");
    assert!(hello.contains("$4\r\nrole\r\n$6\r\nmaster\r\n"), "{hello}");
    wire.ask("GET nothing", "_\r\n");
    wire.ask("MGET nothing", "*1\r\n_\r\n");
    let configuration = wire.command("CONFIG GET maxclients");
    assert!(configuration.starts_with(b"%1\r\n$10\r\nmaxclients\r\n"), "{}", kvtests::wire::show(&configuration));
    let hello = wire.command("HELLO 2");
    assert!(hello.starts_with(b"*14\r\n"), "{}", kvtests::wire::show(&hello));
    wire.ask("GET nothing", "$-1\r\n");
}

#[test]
fn a_subscriber_receives_what_a_client_on_another_loop_publishes() {
    for delivery in Delivery::ALL {
        let dir = TempDir::new().expect("a temporary directory");
        let server = Launch::new(server_program!(), dir.path()).resp().arguments(["--loops", "2"]).start();
        // Connections are handed out in turn, so of three neighbours two are on different loops.
        let mut subscribers = [server.connect(), server.connect()];
        for subscriber in &mut subscribers {
            Conversation::new()
                .resp("SUBSCRIBE news", "*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n")
                .play(subscriber, delivery);
        }
        Conversation::new().resp("PUBLISH news hello", ":2\r\n").play(&mut server.connect(), delivery);
        for subscriber in &mut subscribers {
            subscriber.expect("*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$5\r\nhello\r\n");
        }
    }
}

#[test]
fn the_names_of_the_line_protocol_are_known_in_resp_too() {
    play(
        &Conversation::new()
            .resp("PUT k v", "+OK\r\n")
            .resp("PUT t v 100", "+OK\r\n")
            .resp("TTL t", ":100\r\n")
            .resp("PRINT", "*2\r\n$1\r\nk\r\n$1\r\nt\r\n")
            .resp("DELETE k", ":1\r\n")
            .resp("REMOVE k", ":0\r\n")
            .resp("FLUSH", ":1\r\n")
            .resp("DBSIZE", ":0\r\n"),
    );
}

#[test]
fn a_thousand_requests_in_one_write_are_answered_in_order() {
    let mut requests = Vec::new();
    let mut replies = Vec::new();
    for number in 0..1000 {
        let (key, value) = (format!("k{}", number % 10), format!("v{number}"));
        requests.extend(request(&["SET", &key, &value]));
        replies.extend_from_slice(b"+OK\r\n");
        requests.extend(request(&["GET", &key]));
        replies.extend(bulk(&value));
    }
    play(&Conversation::new().bytes(requests, replies));
}
