//! Who may do what, and clients that end at the wrong moment.
//!
//! Invariant: what was not permitted, or asked for by a client that is gone, is not done.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;

use kvtests::process::Launch;
use kvtests::server_program;
use kvtests::wait;
use kvtests::wire::{Wire, bulk, show};
use tempfile::TempDir;

use crate::server;

/// Keys that were used were not those that rules had been checked for. Each key of each command in turn is one that the
/// user has no right to; the command touches none then.
#[test]
fn cve_2023_41053_every_key_that_is_used_is_checked() {
    let server = server();
    let mut admin = server.connect();
    admin.ask("ACL SETUSER u on nopass +@all ~ok*", "+OK\r\n");
    admin.ask("SET secret sesame", "+OK\r\n");
    let mut user = server.connect();
    user.ask("AUTH u x", "+OK\r\n");
    // K stands for a key.
    for command in [
        "GET K",
        "GETEX K PERSIST",
        "GETDEL K",
        "GETSET K v",
        "SET K v GET",
        "SETNX K v",
        "SETEX K 9 v",
        "PSETEX K 9 v",
        "APPEND K v",
        "STRLEN K",
        "SETRANGE K 0 v",
        "GETRANGE K 0 -1",
        "SUBSTR K 0 -1",
        "INCR K",
        "DECR K",
        "INCRBY K 1",
        "DECRBY K 1",
        "INCRBYFLOAT K 1",
        "MGET K K K",
        "MSET K v K v K v",
        "MSETNX K v K v",
        "MSETEX 2 K v K v",
        "LCS K K",
        "LCS K K IDX",
        "DIGEST K",
        "DELEX K",
        "SETBIT K 0 1",
        "GETBIT K 0",
        "BITCOUNT K",
        "BITPOS K 1",
        "BITOP AND K K K",
        "BITOP NOT K K",
        "BITFIELD K GET u8 0",
        "BITFIELD K SET u8 0 1",
        "BITFIELD_RO K GET u8 0",
        "PFADD K v",
        "PFCOUNT K K K",
        "PFMERGE K K K",
        "DEL K K K",
        "UNLINK K K",
        "EXISTS K K K",
        "TOUCH K K",
        "TYPE K",
        "RENAME K K",
        "RENAMENX K K",
        "COPY K K",
        "COPY K K DB 1 REPLACE",
        "MOVE K 1",
        "DUMP K",
        "RESTORE K 0 v REPLACE",
        "EXPIRE K 9",
        "PEXPIRE K 9",
        "EXPIREAT K 1",
        "PEXPIREAT K 1",
        "TTL K",
        "PTTL K",
        "EXPIRETIME K",
        "PEXPIRETIME K",
        "PERSIST K",
        "OBJECT ENCODING K",
        "OBJECT IDLETIME K",
        "OBJECT REFCOUNT K",
        "MEMORY USAGE K",
        "WATCH K K",
        "PUT K v",
        "REMOVE K K",
        "DELETE K",
    ] {
        let places: Vec<usize> = command
            .match_indices('K')
            .filter(|(at, _)| {
                let alone = |byte: Option<&u8>| byte.is_none_or(|byte| *byte == b' ');
                alone(command.as_bytes().get(at.wrapping_sub(1))) && alone(command.as_bytes().get(at + 1))
            })
            .map(|(at, _)| at)
            .collect();
        assert!(!places.is_empty(), "{command}");
        for forbidden in &places {
            let mut words = String::new();
            let mut from = 0;
            for (number, at) in places.iter().enumerate() {
                words.push_str(&command[from..*at]);
                words.push_str(&if at == forbidden { "secret".to_owned() } else { format!("ok{number}") });
                from = at + 1;
            }
            words.push_str(&command[from..]);
            let reply = user.command(&words);
            assert!(reply.starts_with(b"-NOPERM "), "{words}: {}", show(&reply));
            // Nor in a transaction.
            user.ask("MULTI", "+OK\r\n");
            if !command.starts_with("WATCH") {
                assert!(user.command(&words).starts_with(b"-NOPERM "), "{words} in MULTI");
            }
            assert!(user.command("DISCARD").starts_with(b"+OK"));
        }
    }
    admin.ask("GET secret", bulk("sesame"));
    admin.ask("KEYS *", [b"*1\r\n".to_vec(), bulk("secret")].concat());
    // Every command with a key has a line above, except those that are refused altogether.
}

/// A client that waited was freed while the command it waited for was carried out. Here nothing waits but a pause and what
/// runs elsewhere; a client that is killed then is not executed for. More moments: `hostile_connections.rs`.
#[test]
fn cve_2026_23479_a_client_killed_while_it_waits() {
    let server = server();
    let mut admin = server.connect();
    for _ in 0..50 {
        let mut waiting: Vec<Wire> = (0..8).map(|_| server.connect()).collect();
        let ids: Vec<i64> = waiting.iter_mut().map(|wire| wire.integer("CLIENT ID")).collect();
        admin.ask("CLIENT PAUSE 100000 WRITE", "+OK\r\n");
        for wire in &mut waiting {
            wire.send("MULTI\r\nINCR k\r\nINCR k\r\nEXEC\r\nINCR k\r\n");
        }
        wait::until_true("all wait", || admin.text("INFO clients").contains("blocked_clients:8\r\n"));
        // Together with the end of the pause, in either order.
        admin.send(format!("CLIENT KILL ID {}\r\nCLIENT UNPAUSE\r\nCLIENT KILL ID {}\r\n", ids[0], ids[1]));
        admin.expect(":1\r\n+OK\r\n");
        let second_killed = admin.reply() == b":1\r\n";
        for (number, wire) in waiting.iter_mut().enumerate() {
            if number == 0 || (number == 1 && second_killed) {
                continue;
            }
            wire.expect("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n");
        }
        drop(waiting);
        wait::until_true("all are gone", || admin.text("INFO clients").contains("connected_clients:1\r\n"));
        // Whole transactions, and nothing of the first.
        let count = admin.text("GET k").parse::<u64>().expect("a number");
        assert!((18..=24).contains(&count), "{count}");
        admin.ask("DEL k", ":1\r\n");
    }
}

/// Before its permissions were narrowed a unix socket was open to all.
#[test]
fn cve_2023_45145_a_unix_socket_is_never_open_to_others() {
    let dir = TempDir::new().expect("a temporary directory");
    for round in 0..10 {
        let path = dir.path().join(format!("{round}.sock"));
        // The widest a process can ask for.
        let mut starting = Launch::bare("sh")
            .arguments(["-c", "umask 0; exec \"$0\" \"$@\"", server_program!(), "--memory-only"])
            .arguments(["--listen", &format!("unix://{}", path.display())])
            .start_without_waiting();
        let first = wait::until("the socket", || fs::symlink_metadata(&path).ok());
        assert!(first.file_type().is_socket());
        assert_eq!(first.permissions().mode() & 0o777, 0o600);
        let mut client = wait::until("an answer", || UnixStream::connect(&path).ok());
        client.write_all(b"PING\r\n").expect("a server");
        let mut pong = [0; 7];
        std::io::Read::read_exact(&mut client, &mut pong).expect("a pong");
        assert_eq!(&pong, b"+PONG\r\n");
        assert!(starting.terminate().success());
        // Nothing else is left beside it, either.
        assert_eq!(fs::read_dir(dir.path()).expect("the directory").count(), 0);
    }
}
