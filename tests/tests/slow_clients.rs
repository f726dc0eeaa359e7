//! Clients that do not read, do not finish, or vanish: they cost the others nothing, and the server little.

#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use kvtests::process::{Launch, ServerProcess};
use kvtests::server_program;
use kvtests::wait;
use kvtests::wire::{Wire, bulk, request};
use tempfile::TempDir;

const MEBIBYTE: usize = 1 << 20;

/// Two loops; some tests care that both go on.
fn server(dir: &TempDir) -> ServerProcess {
    Launch::new(server_program!(), dir.path()).resp().arguments(["--loops", "2"]).start()
}

fn connected_clients(wire: &mut Wire) -> u64 {
    let text = wire.text("INFO clients");
    let number = text.lines().find_map(|line| line.strip_prefix("connected_clients:"));
    number.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{text}"))
}

#[test]
fn a_client_that_does_not_read_stops_nobody_and_loses_nothing() {
    const REPLIES: usize = 64;
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let value: Vec<u8> = (0..MEBIBYTE).map(|at| (at % 251) as u8).collect();
    let mut stalled = server.connect();
    stalled.send(request(&[b"SET".as_slice(), b"big", &value]));
    stalled.expect("+OK\r\n");
    stalled.send(request(&["GET", "big"]).repeat(REPLIES));
    // Neighbouring connections lie on different loops, so one of these shares the stalled one's.
    for other in [&mut server.connect(), &mut server.connect()] {
        for _ in 0..100 {
            other.ask("PING", "+PONG\r\n");
        }
        other.ask("STRLEN big", format!(":{MEBIBYTE}\r\n"));
    }
    let reply = bulk(&value);
    for _ in 0..REPLIES {
        stalled.expect(&reply);
    }
    stalled.ask("PING", "+PONG\r\n");
}

#[test]
fn a_subscriber_that_does_not_read_is_cut_off() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let mut stalled = server.connect();
    stalled.ask("SUBSCRIBE flood", "*3\r\n$9\r\nsubscribe\r\n$5\r\nflood\r\n:1\r\n");
    let mut publisher = server.connect();
    let publish = request(&[b"PUBLISH".as_slice(), b"flood", &vec![b'm'; MEBIBYTE]]);
    let mut published = 0;
    wait::until_true("the end of a subscriber that takes nothing", || {
        publisher.send(&publish);
        published += 1;
        publisher.reply() == b":0\r\n"
    });
    println!("cut off after {published} MiB were published");
    publisher.ask("PUBSUB NUMSUB flood", "*2\r\n$5\r\nflood\r\n:0\r\n");
}

/// A limit may be exceeded for so many seconds at a time: who has caught up has them all again.
fn the_time_above_the_soft_limit_begins_anew(limit_bytes: usize, is_caught_up: impl Fn(usize) -> bool) {
    const LIMIT: Duration = Duration::from_secs(4);
    /// More than the limit and all that the sockets may hold.
    const MESSAGES: usize = 24;
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let mut publisher = server.connect();
    let limits = format!("pubsub 0 {limit_bytes} {}", LIMIT.as_secs());
    publisher.send(request(&["CONFIG", "SET", "client-output-buffer-limit", &limits]));
    publisher.expect("+OK\r\n");
    let payload = vec![b'm'; MEBIBYTE];
    let message = [b"*3\r\n$7\r\nmessage\r\n$5\r\nflood\r\n".as_slice(), &bulk(&payload)].concat();
    let mut reader = server.connect();
    reader.ask("CLIENT SETNAME reader", "+OK\r\n");
    reader.ask("SUBSCRIBE flood", "*3\r\n$9\r\nsubscribe\r\n$5\r\nflood\r\n:1\r\n");
    let unread = |observer: &mut Wire| -> usize {
        let list = observer.text("CLIENT LIST");
        let line = list.lines().find(|line| line.contains(" name=reader "));
        let bytes = line.and_then(|line| line.split_once(" omem=")).and_then(|(_, rest)| rest.split(' ').next());
        bytes.and_then(|bytes| bytes.parse().ok()).unwrap_or_else(|| panic!("the reader is gone:\n{list}"))
    };
    let publish = |publisher: &mut Wire| {
        for _ in 0..MESSAGES {
            publisher.send(request(&[b"PUBLISH".as_slice(), b"flood", &payload]));
            publisher.expect(":1\r\n");
        }
    };

    let first = Instant::now();
    publish(&mut publisher);
    wait::until_true("more unread than the limit", || unread(&mut publisher) > limit_bytes);
    let mut left = MESSAGES;
    while left > 0 && !is_caught_up(unread(&mut publisher)) {
        reader.expect(&message);
        left -= 1;
    }
    if first.elapsed() > LIMIT / 2 {
        return println!("not checked: too slow to catch up within the limit");
    }
    // Until the time above the limit would be over if it had gone on.
    while first.elapsed() < LIMIT + Duration::from_millis(200) {
        std::thread::sleep(Duration::from_millis(50));
    }
    let second = Instant::now();
    publish(&mut publisher);
    for _ in 0..left + MESSAGES {
        let read = reader.compare(&message);
        if second.elapsed() > LIMIT / 2 {
            return println!("not checked: too slow to read within the limit");
        }
        read.unwrap_or_else(|why| panic!("cut off, or worse: {why}"));
    }
}

#[test]
fn who_has_fallen_below_the_soft_limit_has_the_whole_time_again() {
    const LIMIT_BYTES: usize = 4 * MEBIBYTE;
    the_time_above_the_soft_limit_begins_anew(LIMIT_BYTES, |unread| unread < LIMIT_BYTES / 2);
}

/// One who takes all at once is never seen between the limit and nothing.
#[test]
fn who_has_read_everything_has_the_whole_time_again() {
    the_time_above_the_soft_limit_begins_anew(1, |_| false);
}

#[test]
fn an_unfinished_request_stops_nobody() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let whole = request(&["SET", "k", "value"]);
    let mut unfinished: Vec<(usize, Wire)> = (0..whole.len()).map(|cut| (cut, server.connect())).collect();
    for (cut, wire) in &mut unfinished {
        wire.send(&whole[..*cut]);
    }
    let mut other = server.connect();
    other.ask("GET k", "$-1\r\n");
    for (cut, wire) in &mut unfinished {
        wire.send(&whole[*cut..]);
        wire.expect("+OK\r\n");
    }
    other.ask("GET k", "$5\r\nvalue\r\n");
}

#[test]
fn clients_that_vanish_leave_nothing_behind() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let mut observer = server.connect();
    observer.ask("SET big 1", "+OK\r\n");
    for round in 0..5 {
        let mut leavers: Vec<Wire> = (0..100).map(|_| server.connect()).collect();
        for wire in &mut leavers {
            // Only now is it sure that the server has accepted it, and can see it go.
            wire.ask("PING", "+PONG\r\n");
        }
        for (number, wire) in leavers.iter_mut().enumerate() {
            match number % 5 {
                0 => wire.send("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100000\r\nhalf a value"),
                1 => wire.send(request(&["GET", "big"]).repeat(1000)),
                2 => wire.send("MULTI\r\nSET queued 1\r\n"),
                3 => wire.send("WATCH big\r\nSUBSCRIBE news\r\n"),
                _ => {}
            }
        }
        drop(leavers);
        wait::until_true("the end of all connections but one", || connected_clients(&mut observer) == 1);
        observer.ask("EXISTS queued k", ":0\r\n");
        observer.ask("PUBLISH news round", ":0\r\n");
        println!("round {round}");
    }
}
