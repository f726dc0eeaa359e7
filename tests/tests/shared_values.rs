//! RENAME, COPY and MOVE of large values cost what their requests do, in memory, in the log and in time for others.
//!
//! Invariant: after a crash every key has the value that its last reply says.

#![forbid(unsafe_code)]

use kvtests::process::{Launch, ServerProcess};
use kvtests::server_program;
use kvtests::wire::{Wire, bulk, request};
use tempfile::TempDir;

const LARGE: usize = 4 << 20;

/// A figure of INFO.
fn figure(wire: &mut Wire, field: &str) -> u64 {
    let info = wire.text("INFO");
    let value = info.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    value.unwrap_or_else(|| panic!("{field}")).trim().parse().expect("a number")
}

fn start(dir: &TempDir) -> (ServerProcess, Wire) {
    let server = Launch::new(server_program!(), dir.path()).resp().durability("always").start();
    let wire = server.connect();
    (server, wire)
}

/// 912 bytes of RENAME of a value of 64 MB kept others waiting for 3.2 s, and wrote 1.8 GiB.
#[test]
fn a_large_value_that_changes_its_name_is_logged_once() {
    const TIMES: usize = 100;
    let dir = TempDir::new().expect("a temporary directory");
    let (server, mut wire) = start(&dir);
    let value = vec![b'v'; LARGE];
    wire.send(request(&[b"SET".as_slice(), b"0", &value]));
    wire.expect("+OK\r\n");
    let before = figure(&mut wire, "aof_current_size");
    let renames = |from: usize| (from..from + TIMES).map(|n| format!("RENAME {n} {}\r\n", n + 1)).collect::<String>();
    wire.send(renames(0));
    wire.expect("+OK\r\n".repeat(TIMES));
    // To another database and back, and to another name.
    for _ in 0..TIMES {
        wire.send("MOVE 100 1\r\nSELECT 1\r\nMOVE 100 0\r\nSELECT 0\r\n");
        wire.expect(":1\r\n+OK\r\n:1\r\n+OK\r\n");
    }
    wire.send("COPY 100 copy\r\nCOPY 100 copy DB 1\r\nCOPY 100 gone\r\n");
    wire.expect(":1\r\n:1\r\n:1\r\n");
    let logged = figure(&mut wire, "aof_current_size") - before;
    assert!(logged < LARGE as u64 / 4, "{logged} bytes were logged for 403 commands");

    // A change of one is no change of another, and is logged as what it is.
    wire.send("APPEND copy +\r\nSETRANGE 100 0 V\r\nDEL gone\r\nRENAME copy renamed\r\n");
    wire.expect([&format!(":{}\r\n:{LARGE}\r\n", LARGE + 1), ":1\r\n+OK\r\n"].concat());
    let logged = figure(&mut wire, "aof_current_size") - before;
    assert!(logged < LARGE as u64 / 4, "{logged} bytes were logged");
    drop(wire);
    server.kill();

    let (_server, mut wire) = start(&dir);
    let (mut appended, mut changed) = (value.clone(), value.clone());
    appended.push(b'+');
    changed[0] = b'V';
    for (database, key, value) in [(0, "renamed", &appended), (0, "100", &changed), (1, "copy", &value)] {
        wire.ask(&format!("SELECT {database}"), "+OK\r\n");
        wire.send(request(&["GET", key]));
        wire.expect(bulk(value));
    }
    wire.ask("DBSIZE", ":1\r\n");
    wire.ask("SELECT 0", "+OK\r\n");
    wire.ask("DBSIZE", ":2\r\n");
}

/// A snapshot is written while the value goes from key to key: what it holds, and the log from its start, is the store.
#[test]
fn a_value_that_changes_its_name_beside_snapshots_is_kept() {
    let dir = TempDir::new().expect("a temporary directory");
    let mut name = 0;
    for _ in 0..3 {
        let (server, mut wire) = start(&dir);
        if name == 0 {
            wire.send(request(&[b"SET".as_slice(), b"0", &vec![b'v'; LARGE]]));
            wire.expect("+OK\r\n");
        }
        let mut saving = server.connect();
        saving.send("SAVE\r\n".repeat(3));
        for _ in 0..40 {
            wire.ask(&format!("RENAME {name} {}", name + 1), "+OK\r\n");
            name += 1;
        }
        saving.expect("+OK\r\n".repeat(3));
        wire.ask("DBSIZE", ":1\r\n");
        wire.ask(&format!("STRLEN {name}"), format!(":{LARGE}\r\n"));
        drop((wire, saving));
        server.kill();
    }
    let (_server, mut wire) = start(&dir);
    wire.ask("DBSIZE", ":1\r\n");
    wire.ask(&format!("STRLEN {name}"), format!(":{LARGE}\r\n"));
}
