//! Conversations in the line protocol's `verbose` style, byte for byte.

#![forbid(unsafe_code)]

use kvtests::conversation::{Conversation, Delivery};
use kvtests::process::{Launch, ServerProcess};
use kvtests::server_program;
use tempfile::TempDir;

fn server(dir: &TempDir) -> ServerProcess {
    Launch::new(server_program!(), dir.path()).line("verbose").start()
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
fn a_user_is_added_shown_and_removed() {
    play(
        &Conversation::new()
            .line("PING", "PONG")
            .line("SET user:42 Brian", "Added key 'user:42' with value 'Brian'")
            .line("GET user:42", "Brian")
            .line("PRINT", "user:42")
            .line("REMOVE user:42", "Removed key 'user:42'.")
            .line("GET", "ERR wrong number of arguments for 'get' command")
            .closes("QUIT\n"),
    );
}

#[test]
fn what_is_not_there_is_said_so() {
    play(
        &Conversation::new()
            .line("GET nobody", "ERR key 'nobody' not found")
            .line("REMOVE nobody", "ERR key 'nobody' not found")
            .line("DELETE nobody", "ERR key 'nobody' not found")
            .line("EXISTS nobody", "0")
            .line("PRINT", "Store is empty.")
            .line("PUT one 1", "Added key 'one' with value '1'")
            .line("EXISTS one", "1")
            .line("FLUSH", "1")
            .line("PRINT", "Store is empty."),
    );
}

#[test]
fn commands_are_known_in_any_case_and_lines_may_end_in_both_ways() {
    play(
        &Conversation::new()
            .line("ping", "PONG")
            .bytes("set Key One\r\n", "Added key 'Key' with value 'One'\n")
            .bytes("gEt Key\r\n", "One\n")
            .line("get key", "ERR key 'key' not found")
            .line("incr counter", "1")
            .line("PRINT", "Key, counter")
            .bytes("quit\r\n", "")
            .closes(""),
    );
}

#[test]
fn quotes_hold_blanks_and_replies_stay_one_line() {
    play(
        &Conversation::new()
            .line(r#"SET greeting "hello world""#, "Added key 'greeting' with value 'hello world'")
            .line("GET greeting", "hello world")
            .line(r#"SET greeting 'it''s'"#.replace("''", "\\'"), "Added key 'greeting' with value 'it's'")
            .line("GET greeting", "it's")
            .line(r#"SET two "a\nb""#, r"Added key 'two' with value 'a\nb'")
            .line("GET two", r#""a\nb""#)
            .line_beginning(r#"GET "unbalanced"#, "ERR ")
            .line("PING", "PONG"),
    );
}

#[test]
fn an_empty_line_and_an_unknown_command_leave_the_connection_usable() {
    play(
        &Conversation::new()
            .line("", "ERR empty command")
            .bytes("\r\n", "ERR empty command\n")
            .line("   ", "ERR empty command")
            .line_beginning("NONSENSE 1 2", "ERR unknown command 'NONSENSE'")
            .line("PING", "PONG"),
    );
}
