//! Commands that reach from one database into another, and what becomes of that when the process is killed; DUMP and
//! RESTORE; DEBUG.

#![forbid(unsafe_code)]

use kvtests::process::{Launch, ServerProcess};
use kvtests::server_program;
use kvtests::wire::Wire;
use tempfile::TempDir;

fn server(dir: &TempDir) -> ServerProcess {
    let arguments = ["--loops", "2", "--enable-debug"];
    Launch::new(server_program!(), dir.path()).resp().durability("always").arguments(arguments).start()
}

/// Sends command lines and compares their replies; each line is a command, an arrow and the reply without its last
/// line end, `|` standing for those within.
fn converse(wire: &mut Wire, script: &str) {
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (command, reply) = line.split_once("->").expect("a command and its reply");
        wire.ask(command.trim(), reply.trim().replace('|', "\r\n") + "\r\n");
    }
}

#[test]
fn keys_are_copied_and_moved_between_databases() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    converse(
        &mut server.connect(),
        "
        SET k v PXAT 99999999999999 -> +OK
        COPY k k -> -ERR source and destination objects are the same
        COPY k k DB 0 -> -ERR source and destination objects are the same
        COPY k other -> :1
        COPY k other -> :0
        COPY k k DB 3 -> :1
        COPY none k DB 3 REPLACE -> :0
        COPY k k DB 3 REPLACE -> :1
        COPY k k DB 16 -> -ERR DB index is out of range
        COPY k k DB -1 -> -ERR DB index is out of range
        COPY k k DB x -> -ERR value is not an integer or out of range
        COPY k k DB 2147483648 -> -ERR value is out of range, value must between -2147483648 and 2147483647
        COPY k k DB -> -ERR syntax error
        COPY k k REPLACE more -> -ERR syntax error
        MOVE k 3 -> :0
        MOVE none 3 -> :0
        MOVE k 0 -> -ERR source and destination objects are the same
        MOVE k 99 -> -ERR DB index is out of range
        MOVE k x -> -ERR value is not an integer or out of range
        MOVE other 3 -> :1
        DBSIZE -> :1
        SELECT 3 -> +OK
        MGET k other -> *2|$1|v|$1|v
        PEXPIRETIME k -> :99999999999999
        PEXPIRETIME other -> :99999999999999
        DBSIZE -> :2
        MULTI -> +OK
        MOVE other 4 -> +QUEUED
        COPY k other DB 4 -> +QUEUED
        COPY k other DB 4 REPLACE -> +QUEUED
        EXISTS other -> +QUEUED
        SELECT 4 -> +QUEUED
        GET other -> +QUEUED
        MOVE other 0 -> +QUEUED
        COPY other x DB y -> +QUEUED
        EXEC -> *8|:1|:0|:1|:0|+OK|$1|v|:1|-ERR value is not an integer or out of range
        DBSIZE -> :0
        ",
    );
}

#[test]
fn swapped_databases_are_swapped_for_every_client_and_after_a_crash() {
    let dir = TempDir::new().expect("a temporary directory");
    let process = server(&dir);
    let (mut one, mut two) = (process.connect(), process.connect());
    converse(&mut two, "SELECT 1 -> +OK");
    converse(
        &mut one,
        "
        SET k zero -> +OK
        SWAPDB 0 1 -> +OK
        GET k -> $-1
        SET k one -> +OK
        SWAPDB 0 0 -> +OK
        SWAPDB x 1 -> -ERR invalid first DB index
        SWAPDB 99 x -> -ERR invalid second DB index
        SWAPDB 0 16 -> -ERR DB index is out of range
        MULTI -> +OK
        SWAPDB 0 1 -> +QUEUED
        GET k -> +QUEUED
        APPEND k ! -> +QUEUED
        SWAPDB 1 5 -> +QUEUED
        SELECT 5 -> +QUEUED
        GET k -> +QUEUED
        EXEC -> *6|+OK|$4|zero|:5|+OK|+OK|$3|one
        ",
    );
    converse(&mut two, "GET k -> $-1");
    process.kill();
    let process = server(&dir);
    let mut wire = process.connect();
    converse(
        &mut wire,
        "
        GET k -> $5|zero!
        SELECT 5 -> +OK
        GET k -> $3|one
        SAVE -> +OK
        SWAPDB 5 0 -> +OK
        GET k -> $5|zero!
        ",
    );
    process.kill();
    let process = server(&dir);
    converse(&mut process.connect(), "GET k -> $3|one");
}

#[test]
fn a_swap_changes_the_watched_keys_that_either_database_holds() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let (mut one, mut other) = (server.connect(), server.connect());
    converse(&mut other, "SELECT 9 -> +OK\nSET there v -> +OK");
    for (watched, outcome) in [("here", "*-1"), ("there", "*-1"), ("nowhere", "*1|+PONG")] {
        converse(
            &mut one,
            &format!("FLUSHDB -> +OK\nSET here v -> +OK\nWATCH {watched} -> +OK\nMULTI -> +OK\nPING -> +QUEUED"),
        );
        converse(&mut other, "SWAPDB 0 9 -> +OK");
        converse(&mut one, &format!("EXEC -> {outcome}"));
        converse(&mut other, "SWAPDB 0 9 -> +OK");
    }
}

/// What the transaction did before the swap and after it is told apart: a change in one database is none in the other.
#[test]
fn a_swap_in_a_transaction_changes_what_the_databases_held_at_that_moment() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let (mut one, mut other) = (server.connect(), server.connect());
    converse(&mut one, "SELECT 9 -> +OK");
    for (commands, outcome) in [
        (&["SWAPDB 0 9", "SET k v"][..], "*1|+PONG"),
        (&["SET k v", "SWAPDB 0 9"], "*-1"),
        (&["SWAPDB 0 9", "SET k v", "SWAPDB 0 5"], "*1|+PONG"),
        (&["SET k v", "SWAPDB 0 5", "SWAPDB 0 9", "SWAPDB 0 5"], "*1|+PONG"),
        (&["SET k v", "SWAPDB 0 9", "FLUSHALL"], "*-1"),
        (&["SET k v", "DEL k", "SWAPDB 0 9", "SET k v"], "*1|+PONG"),
        (&["SET k v", "SWAPDB 0 9", "APPEND k w", "SWAPDB 0 9"], "*-1"),
    ] {
        converse(&mut other, "FLUSHALL -> +OK\nMULTI -> +OK");
        converse(&mut one, "WATCH k -> +OK\nMULTI -> +OK\nPING -> +QUEUED");
        for command in commands {
            converse(&mut other, &format!("{command} -> +QUEUED"));
        }
        assert!(other.command("EXEC").starts_with(b"*"), "{commands:?}");
        assert_eq!(one.command("EXEC"), (outcome.replace('|', "\r\n") + "\r\n").into_bytes(), "{commands:?}");
    }
}

#[test]
fn what_is_dumped_can_be_restored() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let mut wire = server.connect();
    for value in [&b"12345"[..], b"-7", b"text", &[0, 13, 10, 255], &[b'x'; 70_000], b""] {
        wire.command("FLUSHALL");
        wire.try_command(&[b"SET", &b"k"[..], value]).expect("a reply");
        let dumped = wire.try_command(&["DUMP", "k"]).expect("a reply");
        let start = dumped.iter().position(|byte| *byte == b'\n').expect("a bulk reply") + 1;
        let payload = &dumped[start..dumped.len() - 2];
        let mut restore = |words: &[&[u8]]| {
            let words = [&[&b"RESTORE"[..], b"k", words[0], payload], &words[1..]].concat();
            String::from_utf8(wire.try_command(&words).expect("a reply")).expect("text")
        };
        assert_eq!(restore(&[b"0"]), "-BUSYKEY Target key name already exists.\r\n");
        assert_eq!(restore(&[b"-1", b"REPLACE"]), "-ERR Invalid TTL value, must be >= 0\r\n");
        assert_eq!(restore(&[b"x", b"REPLACE"]), "-ERR value is not an integer or out of range\r\n");
        assert_eq!(restore(&[b"0", b"nonsense"]), "-ERR syntax error\r\n");
        assert_eq!(restore(&[b"0", b"FREQ", b"256"]), "-ERR Invalid FREQ value, must be >= 0 and <= 255\r\n");
        assert_eq!(restore(&[b"0", b"IDLETIME", b"-1"]), "-ERR Invalid IDLETIME value, must be >= 0\r\n");
        assert_eq!(restore(&[b"0", b"IDLETIME", b"1", b"FREQ", b"1"]), "-ERR syntax error\r\n");
        assert_eq!(restore(&[b"99999999999999", b"REPLACE", b"ABSTTL", b"IDLETIME", b"50"]), "+OK\r\n");
        wire.ask("PEXPIRETIME k", ":99999999999999\r\n");
        let idle = wire.integer("OBJECT IDLETIME k");
        assert!((50..60).contains(&idle), "{idle}");
        assert_eq!(wire.try_command(&["DUMP", "k"]).expect("a reply"), dumped);
    }
    wire.ask("RESTORE k 0 abc REPLACE", "-ERR DUMP payload version or checksum are wrong\r\n");
}

#[test]
fn debug_is_refused_unless_it_was_allowed() {
    let dir = TempDir::new().expect("a temporary directory");
    let refusing = Launch::new(server_program!(), dir.path()).resp().start();
    let mut wire = refusing.connect();
    let refusal = "-ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it \
                   from a local connection, otherwise you need to set this option in the configuration file, and then \
                   restart the server.\r\n";
    wire.ask("DEBUG SLEEP 1000", refusal);
    wire.ask("MULTI", "+OK\r\n");
    wire.ask("DEBUG DIGEST", refusal);
    wire.ask("EXEC", "-EXECABORT Transaction discarded because of previous errors.\r\n");
}

#[test]
fn debug_shows_and_steers() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let mut wire = server.connect();
    // What redis-server 7.0.15 answers for the same data.
    converse(
        &mut wire,
        "
        SET k v -> +OK
        DEBUG DIGEST-VALUE k -> *1|+d79ee9fe5d5ad902d7f6620efc3b07b75ddd742f
        DEBUG DIGEST -> +264ccf65edec66bccfa7cc659414ccca432057d2
        MULTI -> +OK
        SELECT 1 -> +QUEUED
        SET k v -> +QUEUED
        SELECT 0 -> +QUEUED
        DEBUG DIGEST -> +QUEUED
        EXEC -> *4|+OK|+OK|+OK|+794cf907ddc694cc1d15645a71582e3d0a57d2a0
        DEBUG RELOAD -> +OK
        DEBUG LOADAOF -> +OK
        DEBUG SLEEP 0 -> +OK
        DEBUG PROTOCOL bignum -> $37|1234567999999999999999999999999999999
        DEBUG PROTOCOL attrib -> $39|Some real reply following the attribute
        DEBUG STRINGMATCH-LEN a*c abc -> :1
        DEBUG POPULATE 3 p 5 -> +OK
        GET p:2 -> $5|value
        DEBUG SEGFAULT -> -ERR unknown subcommand or wrong number of arguments for 'SEGFAULT'. Try DEBUG HELP.
        DEBUG SET-ACTIVE-EXPIRE 0 -> +OK
        FLUSHALL -> +OK
        SET k v PX 1 -> +OK
        ",
    );
    // Nothing removes it, however long it is; asking for it does.
    std::thread::sleep(std::time::Duration::from_millis(120));
    converse(&mut wire, "DBSIZE -> :1\nGET k -> $-1\nDBSIZE -> :0");
}
