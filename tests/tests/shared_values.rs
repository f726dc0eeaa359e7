//! RENAME, COPY and MOVE of large values cost what their requests do, in memory, in the log and in time for others.
//!
//! Invariant: after a crash every key has the value that its last reply says.

#![forbid(unsafe_code)]

use kvtests::process::{Launch, ServerProcess};
use kvtests::server_program;
use kvtests::wait::until_true;
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

/// Twenty clients that ask for a value of 32 MiB, and do not read, made the server hold 640 MiB.
#[test]
fn a_large_value_is_not_copied_for_those_that_read_it() {
    const CLIENTS: usize = 20;
    const VALUE: usize = 32 << 20;
    let dir = TempDir::new().expect("a temporary directory");
    let (server, mut wire) = start(&dir);
    let value: Vec<u8> = (0..VALUE).map(|at| (at / 1000) as u8).collect();
    wire.send(request(&[b"SET".as_slice(), b"large", &value]));
    wire.expect("+OK\r\n");
    wire.ask("SET small s", "+OK\r\n");
    let mut readers: Vec<Wire> = (0..CLIENTS).map(|_| server.connect()).collect();
    for (number, reader) in readers.iter_mut().enumerate() {
        if number % 2 == 1 {
            assert!(reader.command("HELLO 3").starts_with(b"%7\r\n"));
        }
    }
    let before = figure(&mut wire, "allocator_allocated");
    let replies = |number: usize| {
        let large = bulk(&value);
        // The first bytes, then what may follow them while the socket is full.
        let parts: Vec<&[u8]> = match number % 4 {
            0 => vec![b"$1\r\ns\r\n", &large],
            1 => vec![b"*2\r\n", &large, b"$1\r\ns\r\n"],
            2 => vec![b"+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:2\r\n", &large],
            _ => vec![&large],
        };
        parts.concat()
    };
    for (number, reader) in readers.iter_mut().enumerate() {
        reader.send(match number % 4 {
            0 => "GET small\r\nGET large\r\nPING\r\n".to_owned(),
            1 => "MGET large small\r\nPING\r\n".to_owned(),
            2 => "MULTI\r\nEXISTS large small\r\nGET large\r\nEXEC\r\nPING\r\n".to_owned(),
            _ => format!("GETEX large EX {}\r\nPING\r\n", 1000 + number),
        });
        assert!(reader.try_take(1).is_ok());
    }
    // Their first bytes have come, so each has its reply.
    let held = figure(&mut wire, "allocator_allocated").saturating_sub(before);
    assert!(held < VALUE as u64, "{held} bytes for {CLIENTS} clients that read a value of {VALUE}");
    // Once a second the shares of those that hold it are counted anew.
    until_true("a value that many hold counts once among them", || {
        figure(&mut wire, "used_memory") < figure(&mut wire, "allocator_allocated") + VALUE as u64 * 5 / 4
    });
    wire.ask("SETRANGE large 0 changed", format!(":{VALUE}\r\n"));
    wire.ask("DEL large", ":1\r\n");
    for (number, mut reader) in readers.into_iter().enumerate() {
        let rest = &replies(number)[1..];
        let read = reader.try_take(rest.len()).expect("a whole reply");
        assert!(read == rest, "client {number}: the value as it was");
        reader.expect("+PONG\r\n");
    }
}
