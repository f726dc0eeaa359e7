//! Conversations in the line protocol's `terse` style, byte for byte.

#![forbid(unsafe_code)]

use std::time::Duration;

use kvtests::conversation::{Conversation, Delivery};
use kvtests::process::{Launch, ServerProcess};
use kvtests::server_program;
use kvtests::wait::Lifetime;
use tempfile::TempDir;

fn server(dir: &TempDir) -> ServerProcess {
    Launch::new(server_program!(), dir.path()).line("terse").start()
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
fn a_key_is_stored_read_and_deleted() {
    play(
        &Conversation::new()
            .line("PUT foo bar 60", "OK stored")
            .line("GET foo", "OK bar")
            .line("EXISTS foo", "OK 1")
            .line("DELETE foo", "OK deleted")
            .line("GET foo", "ERROR key not found")
            .line("EXISTS foo", "OK 0")
            .line("DELETE foo", "ERROR key not found"),
    );
}

#[test]
fn bad_requests_are_errors_and_the_connection_stays_usable() {
    let long = "k".repeat(257);
    play(
        &Conversation::new()
            .line_beginning("PUT k v -1", "ERROR ")
            .line("PING", "OK PONG")
            .line_beginning("PUT k v abc", "ERROR ")
            .line("PING", "OK PONG")
            .line_beginning("PUT onlykey", "ERROR ")
            .line("PING", "OK PONG")
            .line_beginning(format!("PUT {long} v"), "ERROR ")
            .line_beginning(format!("GET {long}"), "ERROR ")
            .line("PING", "OK PONG")
            .line("", "ERROR empty command")
            .bytes("\r\n", "ERROR empty command\n")
            .line("PING", "OK PONG")
            .line("GET k", "ERROR key not found"),
    );
}

#[test]
fn keys_and_values_hold_1_to_256_printable_characters() {
    let most = "m".repeat(256);
    let more = "m".repeat(257);
    play(
        &Conversation::new()
            .line(format!("PUT {most} {most}"), "OK stored")
            .line(format!("GET {most}"), format!("OK {most}"))
            .line_beginning(format!("PUT k {more}"), "ERROR ")
            .line("EXISTS k", "OK 0")
            .line_beginning(b"PUT caf\xc3\xa9 v".as_slice(), "ERROR ")
            .line_beginning(b"PUT k \x01".as_slice(), "ERROR ")
            .line("PRINT", format!("OK {most}")),
    );
}

#[test]
fn ttls_range_from_0_to_2147483647_seconds_and_0_is_none() {
    play(
        &Conversation::new()
            .line("PUT k v 0", "OK stored")
            .line("TTL k", "OK -1")
            .line("PUT k v 2147483647", "OK stored")
            .line("TTL k", "OK 2147483647")
            .line_beginning("PUT k other 2147483648", "ERROR ")
            .line_beginning("PUT k other 60 61", "ERROR ")
            .line("GET k", "OK v"),
    );
}

#[test]
fn words_are_never_unquoted() {
    play(
        &Conversation::new()
            .line(r#"PUT "k" 'v'"#, "OK stored")
            .line(r#"GET "k""#, "OK 'v'")
            .line("GET k", "ERROR key not found")
            .line("PUT  spaced   out\t7", "OK stored")
            .line("get spaced", "OK out"),
    );
}

#[test]
fn keys_are_printed_and_flushed() {
    play(
        &Conversation::new()
            .line("PUT k2 b", "OK stored")
            .line("PUT k1 a", "OK stored")
            .line("PRINT", "OK k1 k2")
            .line("FLUSH", "OK 2")
            .line("EXISTS k1", "OK 0")
            .line("INCR n", "OK 1")
            .closes("QUIT\n"),
    );
}

#[test]
fn a_ttl_of_one_second_ends_after_one_second() {
    for delivery in Delivery::ALL {
        let dir = TempDir::new().expect("a temporary directory");
        let server = server(&dir);
        let mut wire = server.connect();
        println!("{delivery:?}");
        let lifetime = Lifetime::begin(Duration::from_secs(1), || {
            Conversation::new().line("PUT t v 1", "OK stored").play(&mut wire, delivery);
        });
        lifetime.watch(|| {
            wire.send("EXISTS t\n");
            match wire.line().as_slice() {
                b"OK 1\n" => true,
                b"OK 0\n" => false,
                other => panic!("EXISTS t: {}", kvtests::wire::show(other)),
            }
        });
        Conversation::new()
            .line("EXISTS t", "OK 0")
            .line("GET t", "ERROR key not found")
            .line("DELETE t", "ERROR key not found")
            .play(&mut wire, delivery);
    }
}
