//! Conversations in the line protocol's `plain` style, byte for byte.

#![forbid(unsafe_code)]

use std::time::Duration;

use kvtests::conversation::{Conversation, Delivery};
use kvtests::process::{Launch, ServerProcess};
use kvtests::server_program;
use kvtests::wait::Lifetime;
use tempfile::TempDir;

fn server(dir: &TempDir) -> ServerProcess {
    Launch::new(server_program!(), dir.path()).line("plain").start()
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
fn a_value_with_one_second_to_live_is_nil_after_it() {
    for delivery in Delivery::ALL {
        let dir = TempDir::new().expect("a temporary directory");
        let server = server(&dir);
        let mut wire = server.connect();
        println!("{delivery:?}");
        let lifetime = Lifetime::begin(Duration::from_secs(1), || {
            Conversation::new().line("SET key value EX 1", "OK").play(&mut wire, delivery);
        });
        lifetime.watch(|| {
            wire.send("GET key\n");
            match wire.line().as_slice() {
                b"value\n" => true,
                b"(nil)\n" => false,
                other => panic!("GET key: {}", kvtests::wire::show(other)),
            }
        });
        Conversation::new().line("GET key", "(nil)").line("EXISTS key", "0").play(&mut wire, delivery);
    }
}

/// The part of the conversation before the pause, also as one piece with its GET.
#[test]
fn a_value_is_set_and_read_back() {
    play(&Conversation::new().line("SET key value EX 100", "OK").line("GET key", "value"));
}

#[test]
fn large_keys_and_values_are_read_back() {
    let mut conversation = Conversation::new();
    for key_kb in [1, 5, 10] {
        for value_kb in [10, 50, 100] {
            let key = format!("{value_kb}-{}", "k".repeat(key_kb * 1024 - format!("{value_kb}-").len()));
            // Not one letter only, so that a piece that is lost, doubled or moved shows.
            let value: String =
                (0..value_kb * 1024 / 8).map(|number: usize| format!("{:08}", number * 7919 % 99_999_989)).collect();
            assert_eq!((key.len(), value.len()), (key_kb * 1024, value_kb * 1024));
            conversation = conversation.line(format!("SET {key} {value}"), "OK").line(format!("GET {key}"), value);
        }
    }
    play(&conversation.line("DBSIZE", "9"));
}

#[test]
fn every_kind_of_reply_is_one_line() {
    play(
        &Conversation::new()
            .line("PING", "PONG")
            .line("GET nothing", "(nil)")
            .line("SET k1 a", "OK")
            .line("SET k2 b", "OK")
            .line("EXISTS k1", "1")
            .line("EXISTS k3", "0")
            .line("PRINT", "k1, k2")
            .line("MGET k1 k2", "a, b")
            .line("MGET k1 nothing", "a, (nil)")
            .line("DELETE k1", "1")
            .line("DELETE k1", "0")
            .line("INCRBY n 41", "41")
            .line("INCR k2", "ERR value is not an integer or out of range")
            .line("GET", "ERR wrong number of arguments for 'get' command")
            .line("", "ERR empty command")
            .closes("QUIT\n"),
    );
}

#[test]
fn values_with_control_characters_and_list_elements_with_blanks_are_quoted() {
    play(
        &Conversation::new()
            .line(r#"SET k "two\r\nlines""#, "OK")
            .line("GET k", r#""two\r\nlines""#)
            .line(r#"SET b "two words""#, "OK")
            .line("GET b", "two words")
            .line("MGET b k", r#""two words", "two\r\nlines""#),
    );
}

/// A line without an end must not be kept for ever, and must not cost the other connections anything.
#[test]
fn a_line_longer_than_a_mebibyte_is_refused() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let mut endless = server.connect();
    let mut writer = endless.writer();
    let flood = std::thread::spawn(move || {
        use std::io::Write;
        let piece = [b'x'; 64 * 1024];
        (0..32).try_for_each(|_| writer.write_all(&piece)).and_then(|()| writer.write_all(b"\n"))
    });
    let line = endless.line();
    assert!(line.starts_with(b"ERR "), "{}", kvtests::wire::show(&line));
    // The line is read to its end, and only it is lost.
    flood.join().expect("the writer").expect("a flood that is read");
    Conversation::new().line("PING", "PONG").play(&mut endless, Delivery::EachRequest);
    Conversation::new().line("PING", "PONG").play(&mut server.connect(), Delivery::EachRequest);
}
