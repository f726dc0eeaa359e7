//! What came with Redis 8.0 to 8.12 and Valkey 8.0 to 9.2: examples of their documentation, and errors for what is not here.
//!
//! Invariant: each example is one that can be read in the documentation of the command, or follows from a sentence of it.

#![forbid(unsafe_code)]

use kvtests::process::{Launch, ServerProcess};
use kvtests::server_program;
use kvtests::wire::Wire;
use tempfile::TempDir;

fn start() -> (ServerProcess, Wire, TempDir) {
    let dir = TempDir::new().expect("a temporary directory");
    let server = Launch::new(server_program!(), dir.path()).resp().durability("os").start();
    let wire = server.connect();
    (server, wire, dir)
}

/// A request that this server does not carry out.
fn refused(wire: &mut Wire, line: &str, name: &str) {
    let why = "is not supported: this server keeps strings, on one node, and runs no scripts";
    wire.ask(line, format!("-ERR '{name}' {why}\r\n"));
}

/// They were unknown commands; now the error says the same as that of LPUSH.
#[test]
fn newer_commands_on_what_is_not_here_are_known_and_refused() {
    let (_server, mut wire, _dir) = start();
    for line in [
        "HEXPIRE h 1 FIELDS 1 f",
        "HTTL h FIELDS 1 f",
        "HPERSIST h FIELDS 1 f",
        "HGETDEL h FIELDS 1 f",
        "HGETEX h FIELDS 1 f",
        "HSETEX h FIELDS 1 f v",
        "LMOVEM a b LEFT RIGHT",
        "SDIFFCARD 1 a",
        "SUNIONCARD 1 a",
        "SEXPIRE s 1 MEMBERS 1 m",
        "ZMOVE a b MIN",
        "XACKDEL s g IDS 1 1-1",
        "XDELEX s IDS 1 1-1",
        "XCFGSET s",
        "VADD v VALUES 1 0 e",
        "VSIM v ELE e",
        "ARGET a 0",
        "ARSET a 0 v",
    ] {
        let name = line.split(' ').next().unwrap_or_default().to_lowercase();
        refused(&mut wire, line, &name);
    }
    for line in [
        "HIMPORT PREPARE x y",
        "BLESS SET k NO-EVICT",
        "BLESS GET k",
        "SCRIPT SHOW abc",
        "CLIENT IMPORT-SOURCE ON",
        "ACL SETROLE reader +get",
        "ACL ROLES",
    ] {
        let name = line.split(' ').take(2).collect::<Vec<_>>().join("|").to_lowercase();
        refused(&mut wire, line, &name);
    }
    // Arity comes first, as of any command.
    wire.ask("HGETDEL h", "-ERR wrong number of arguments for 'hgetdel' command\r\n");
    wire.ask("VCARD", "-ERR wrong number of arguments for 'vcard' command\r\n");
}

/// Valkey 9.1: CLUSTER KEYSLOT needs no cluster.
#[test]
fn the_slot_of_a_key_is_that_of_a_cluster() {
    let (_server, mut wire, _dir) = start();
    wire.ask("CLUSTER KEYSLOT somekey", ":11058\r\n");
    wire.ask("CLUSTER KEYSLOT foo{hash_tag}", ":2515\r\n");
    wire.ask("CLUSTER KEYSLOT bar{hash_tag}", ":2515\r\n");
    wire.ask("CLUSTER INFO", "-ERR This instance has cluster support disabled\r\n");
}

/// Valkey 9.2: any change of a user changes the digest, and taking it back restores it.
#[test]
fn the_digest_of_users_follows_from_their_rules_alone() {
    let (server, mut wire, _dir) = start();
    let before = wire.text("ACL DIGEST");
    assert!(before.len() == 64 && before.bytes().all(|digit| digit.is_ascii_hexdigit()), "{before}");
    wire.ask("ACL SETUSER alice on >alice ~key:* +get", "+OK\r\n");
    let with_alice = wire.text("ACL DIGEST");
    assert_ne!(with_alice, before);
    wire.ask("ACL SETUSER bob on nopass", "+OK\r\n");
    let with_both = wire.text("ACL DIGEST");
    wire.ask("ACL DELUSER alice bob", ":2\r\n");
    assert_eq!(wire.text("ACL DIGEST"), before);
    // In another order.
    wire.ask("ACL SETUSER bob on nopass", "+OK\r\n");
    wire.ask("ACL SETUSER alice on >alice ~key:* +get", "+OK\r\n");
    assert_eq!(wire.text("ACL DIGEST"), with_both);
    wire.ask("ACL SETUSER alice +set", "+OK\r\n");
    assert_ne!(wire.text("ACL DIGEST"), with_both);
    drop(server);
}
