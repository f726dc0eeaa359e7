//! Clients that want the server to hold much for them: they send and never read, or announce and never send, or ask for
//! more than anyone could take.
//!
//! Invariant: the server's memory stays within what the limits of these clients add up to, plus a tenth, plus [`SLACK`];
//! measured is the most it ever held (`VmHWM`), so what is given back at once counts as well.

#![forbid(unsafe_code)]

use std::io::Write;

use kvtests::process::{Launch, ServerProcess};
use kvtests::wire::{Wire, bulk, request};
use kvtests::{server_program, usage, wait};

const MEBIBYTE: usize = 1 << 20;
/// What is not counted as any client's: the loop's own buffers, one reply on its way into them, a buffer that grows
/// while its bytes are moved, and what the allocator keeps for the next round.
const SLACK: usize = 48 * MEBIBYTE;

fn server() -> ServerProcess {
    Launch::bare(server_program!()).arguments(["--memory-only", "--loops", "2"]).resp().start()
}

/// What a server's memory grew by since this was made.
struct Growth {
    id: u32,
    before: u64,
}

impl Growth {
    fn of(server: &ServerProcess) -> Growth {
        usage::forget_peak(server.id());
        Growth { id: server.id(), before: usage::resident_bytes(server.id()) }
    }

    /// It never grew by more than a tenth above `limit` and the slack.
    #[track_caller]
    fn assert_within(&self, limit: usize) {
        let most = usage::peak_bytes(self.id).saturating_sub(self.before);
        println!("grew by {} KiB at most, {} KiB are allowed", most / 1024, limit / 1024);
        let allowed = (limit + limit / 10 + SLACK) as u64;
        assert!(most <= allowed, "grew by {} KiB, and {} KiB are allowed", most / 1024, allowed / 1024);
    }
}

/// A server holds a value of so many bytes under this key.
#[track_caller]
fn store(wire: &mut Wire, key: &str, bytes: usize) -> Vec<u8> {
    let value = vec![b'v'; bytes];
    wire.send(request(&[b"SET", key.as_bytes(), &value]));
    wire.expect("+OK\r\n");
    value
}

fn field(wire: &mut Wire, section: &str, field: &str) -> u64 {
    let text = wire.text(&format!("INFO {section}"));
    let number = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')?.parse().ok());
    number.unwrap_or_else(|| panic!("no {field} in {text}"))
}

/// How many clients have at least `bytes` waiting to leave.
fn held_up(wire: &mut Wire, bytes: usize) -> usize {
    let unsent = |line: &str| line.split_once(" omem=")?.1.split(' ').next()?.parse::<usize>().ok();
    wire.text("CLIENT LIST").lines().filter_map(unsent).filter(|unsent| *unsent >= bytes).count()
}

/// Sends what fits into the sockets between here and a server that reads no more; answers whether it was cut off.
fn send_until_refused(wire: &Wire, bytes: &[u8], most: usize) -> bool {
    let mut writer = wire.writer();
    writer.set_nonblocking(true).expect("a socket option");
    let (mut sent, mut full, mut refused) = (0, 0, false);
    while sent < most && full < 1000 && !refused {
        match writer.write(&bytes[sent % bytes.len()..]) {
            Ok(count) => {
                sent += count;
                full = 0;
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                full += 1;
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            Err(_) => refused = true,
        }
    }
    writer.set_nonblocking(false).expect("a socket option");
    refused
}

#[test]
fn clients_that_never_read_are_held_at_a_mebibyte_and_a_reply() {
    const CLIENTS: usize = 60;
    let server = server();
    let mut observer = server.connect();
    let value = store(&mut observer, "big", MEBIBYTE);
    let growth = Growth::of(&server);
    let mut stalled: Vec<Wire> = (0..CLIENTS).map(|_| server.connect()).collect();
    for wire in &mut stalled {
        wire.send(request(&["GET", "big"]).repeat(40));
    }
    wait::until_true("clients with a mebibyte that waits", || held_up(&mut observer, MEBIBYTE) == CLIENTS);
    for _ in 0..100 {
        observer.ask("PING", "+PONG\r\n");
    }
    growth.assert_within(CLIENTS * 2 * MEBIBYTE);
    // Held, not dropped: nothing is lost.
    let reply = bulk(&value);
    for _ in 0..40 {
        stalled[0].expect(&reply);
    }
    drop(stalled);
    wait::until_true("the end of all but one", || field(&mut observer, "clients", "connected_clients") == 1);
}

/// All replies of a round lay in one buffer, and then again in the buffers of who did not take them at once.
#[test]
fn what_many_ask_for_at_once_is_not_held_twice() {
    const CLIENTS: usize = 300;
    let server = server();
    let mut observer = server.connect();
    let value = store(&mut observer, "big", MEBIBYTE);
    let growth = Growth::of(&server);
    // They are let go together, so that a loop finds them all at once.
    observer.ask("CLIENT PAUSE 100000 WRITE", "+OK\r\n");
    let mut clients: Vec<Wire> = (0..CLIENTS).map(|_| server.connect()).collect();
    for wire in &mut clients {
        wire.send(request(&["GETEX", "big", "PERSIST"]));
    }
    wait::until_true("all of them wait", || field(&mut observer, "clients", "blocked_clients") == CLIENTS as u64);
    observer.ask("CLIENT UNPAUSE", "+OK\r\n");
    wait::until_true("none of them waits", || field(&mut observer, "clients", "blocked_clients") == 0);
    growth.assert_within(CLIENTS * MEBIBYTE);
    for wire in &mut clients {
        wire.expect(bulk(&value));
    }
}

#[test]
fn subscribers_that_never_read_are_dropped_at_their_limit() {
    const SUBSCRIBERS: usize = 20;
    let server = server();
    let mut publisher = server.connect();
    publisher.try_command(&["CONFIG", "SET", "client-output-buffer-limit", "pubsub 8mb 0 0"]).expect("a reply");
    let growth = Growth::of(&server);
    let mut stalled: Vec<Wire> = (0..SUBSCRIBERS).map(|_| server.connect()).collect();
    for wire in &mut stalled {
        wire.ask("SUBSCRIBE flood", "*3\r\n$9\r\nsubscribe\r\n$5\r\nflood\r\n:1\r\n");
    }
    let publish = request(&[b"PUBLISH".as_slice(), b"flood", &vec![b'm'; 64 * 1024]]);
    wait::until_true("the end of subscribers that take nothing", || {
        publisher.send(&publish);
        publisher.reply() == b":0\r\n"
    });
    growth.assert_within(SUBSCRIBERS * 8 * MEBIBYTE);
    wait::until_true("the end of all but one", || field(&mut publisher, "clients", "connected_clients") == 1);
}

/// One message took as much memory as it has receivers, before any of it was sent and any limit was looked at.
#[test]
fn one_large_message_to_many_who_may_not_hold_it_takes_no_more_than_one_of_them() {
    const SUBSCRIBERS: usize = 200;
    const MESSAGE: usize = 8 * MEBIBYTE;
    let server = server();
    let mut publisher = server.connect();
    publisher.try_command(&["CONFIG", "SET", "client-output-buffer-limit", "pubsub 1mb 0 0"]).expect("a reply");
    let mut stalled: Vec<Wire> = (0..SUBSCRIBERS).map(|_| server.connect()).collect();
    for wire in &mut stalled {
        wire.ask("SUBSCRIBE flood", "*3\r\n$9\r\nsubscribe\r\n$5\r\nflood\r\n:1\r\n");
    }
    let growth = Growth::of(&server);
    publisher.send(request(&[b"PUBLISH".as_slice(), b"flood", &vec![b'm'; MESSAGE]]));
    publisher.expect(format!(":{SUBSCRIBERS}\r\n"));
    wait::until_true("the end of all but one", || field(&mut publisher, "clients", "connected_clients") == 1);
    // The request while it grows, the message, and what one connection has of it on each of two loops.
    growth.assert_within(8 * MESSAGE);
}

/// Who tracks keys is told of them unasked, as a subscriber is, and so is held to the same limits.
#[test]
fn who_tracks_and_never_reads_is_dropped_like_a_subscriber() {
    let server = server();
    let mut writer = server.connect();
    writer.try_command(&["CONFIG", "SET", "client-output-buffer-limit", "pubsub 1mb 0 0"]).expect("a reply");
    let mut redirected = server.connect();
    let mut stalled = server.connect();
    assert!(stalled.command("HELLO 3").starts_with(b"%7\r\n"));
    stalled.ask("CLIENT TRACKING on BCAST", "+OK\r\n");
    assert!(redirected.command("HELLO 3").starts_with(b"%7\r\n"));
    let id = redirected.integer("CLIENT ID");
    let mut teller = server.connect();
    teller.ask(&format!("CLIENT TRACKING on BCAST REDIRECT {id}"), "+OK\r\n");
    let growth = Growth::of(&server);
    let key = "k".repeat(256 * 1024);
    let mut written = 0;
    wait::until_true("the end of clients that take nothing", || {
        writer.send(request(&["SET", &key, "v"]));
        writer.expect("+OK\r\n");
        written += 1;
        assert!(written < 400, "nobody was dropped");
        field(&mut writer, "clients", "connected_clients") == 2
    });
    growth.assert_within(8 * MEBIBYTE);
}

#[test]
fn announced_lengths_cost_nothing_until_their_bytes_are_there() {
    const CLIENTS: usize = 500;
    let server = server();
    let growth = Growth::of(&server);
    let mut bombs: Vec<Wire> = (0..CLIENTS).map(|_| server.connect()).collect();
    for (number, wire) in bombs.iter_mut().enumerate() {
        match number % 4 {
            0 => wire.send("*1048576\r\n$536870912\r\nS"),
            1 => wire.send("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\nhalf"),
            2 => wire.send("*1048576\r\n"),
            _ => wire.send("*1048576\r\n$4\r\nMGET\r\n"),
        }
    }
    let mut other = server.connect();
    wait::until_true("all of them", || field(&mut other, "clients", "connected_clients") > CLIENTS as u64);
    other.ask("SET k v", "+OK\r\n");
    growth.assert_within(0);
    // A million words, of which none has come, is no more than that for the one that sends them either.
    let mut words = server.connect();
    words.send("*1048576\r\n$4\r\nMGET\r\n");
    words.send("$0\r\n\r\n".repeat(1_048_575));
    words.expect("*1048575\r\n");
    words.expect("$-1\r\n".repeat(1_048_575));
    growth.assert_within(128 * MEBIBYTE);
}

/// A request of some kilobytes could ask for more than any machine has, and end the server.
#[test]
fn a_reply_larger_than_a_gibibyte_is_refused() {
    let server = server();
    let mut wire = server.connect();
    store(&mut wire, "big", 4 * MEBIBYTE);
    // Small ones are copied, not shared.
    store(&mut wire, "small", 8000);
    let growth = Growth::of(&server);
    let too_large = "-ERR the reply would be larger than 1073741824 bytes; ask for less at a time\r\n";
    let mget = |key: &str, count: usize| request(&[&["MGET"], vec![key; count].as_slice()].concat());
    wire.send(mget("big", 1000));
    wire.expect(too_large);
    wire.send(mget("small", 150_000));
    wire.expect(too_large);
    // It is known to be too large before it is there.
    growth.assert_within(64 * MEBIBYTE);
    // What ran has run; only its reply is left out.
    wire.ask("MULTI", "+OK\r\n");
    for _ in 0..1000 {
        wire.send(request(&["GET", "big"]));
        wire.expect("+QUEUED\r\n");
    }
    wire.ask("INCR counter", "+QUEUED\r\n");
    wire.send(request(&["EXEC"]));
    wire.expect("-ERR the transaction was executed, but its replies are larger than 1073741824 bytes\r\n");
    wire.ask("GET counter", bulk("1"));
    growth.assert_within(1100 * MEBIBYTE);
}

#[test]
fn what_is_queued_in_multi_counts_against_the_query_buffer() {
    let server = server();
    let mut wire = server.connect();
    let mut other = server.connect();
    wire.ask("CONFIG SET client-query-buffer-limit 1mb", "+OK\r\n");
    let growth = Growth::of(&server);
    let set = request(&[b"SET".as_slice(), b"k", &vec![b'v'; 100_000]]);
    for _ in 0..3 {
        wire.ask("MULTI", "+OK\r\n");
        for _ in 0..10 {
            wire.send(&set);
            wire.expect("+QUEUED\r\n");
        }
        wire.send(&set);
        wire.expect("-ERR the transaction is too large to be queued\r\n");
        // What comes after it is not kept.
        for _ in 0..200 {
            wire.send(&set);
            wire.expect("+QUEUED\r\n");
        }
        wire.ask("EXEC", "-EXECABORT Transaction discarded because of previous errors.\r\n");
        other.ask("EXISTS k", ":0\r\n");
    }
    growth.assert_within(2 * MEBIBYTE);
}

#[test]
fn a_request_above_the_query_buffer_is_refused_and_its_client_dropped() {
    let server = server();
    let mut admin = server.connect();
    admin.ask("CONFIG SET client-query-buffer-limit 1mb", "+OK\r\n");
    let growth = Growth::of(&server);
    for words in [vec![vec![b'w'; 2 * MEBIBYTE]], vec![vec![b'w'; 300_000]; 20], vec![Vec::new(); 1_000_000]] {
        let mut wire = server.connect();
        let request = request(&words);
        let refused = send_until_refused(&wire, &request, request.len());
        if !refused {
            wire.expect("-ERR Protocol error: too big request\r\n");
        }
        wait::until_true("the end of the client", || field(&mut admin, "clients", "connected_clients") == 1);
    }
    growth.assert_within(16 * MEBIBYTE);
}

/// The soft limit is for readers that are slow, not for those that are gone: it counts in seconds.
#[test]
fn a_subscriber_above_its_soft_limit_for_too_long_is_dropped_and_one_below_it_is_not() {
    let server = server();
    let mut publisher = server.connect();
    publisher.try_command(&["CONFIG", "SET", "client-output-buffer-limit", "pubsub 512mb 16mb 1"]).expect("a reply");
    let mut below = server.connect();
    below.ask("SUBSCRIBE little", "*3\r\n$9\r\nsubscribe\r\n$6\r\nlittle\r\n:1\r\n");
    let mut above = server.connect();
    above.ask("SUBSCRIBE much", "*3\r\n$9\r\nsubscribe\r\n$4\r\nmuch\r\n:1\r\n");
    let message = vec![b'm'; 4 * MEBIBYTE];
    for channel in ["little", "much", "much", "much", "much", "much", "much", "much", "much", "much"] {
        publisher.send(request(&[b"PUBLISH".as_slice(), channel.as_bytes(), &message]));
        publisher.expect(":1\r\n");
    }
    wait::until_true("the end of the one above", || field(&mut publisher, "clients", "connected_clients") == 2);
    publisher.ask("PUBSUB NUMSUB little much", "*4\r\n$6\r\nlittle\r\n:1\r\n$4\r\nmuch\r\n:0\r\n");
    below.expect(format!("*3\r\n$7\r\nmessage\r\n$6\r\nlittle\r\n${}\r\n", message.len()));
}

/// Normal clients have no limit of their own unless they are given one, as in Redis.
#[test]
fn a_normal_client_is_dropped_at_the_limit_it_is_given() {
    let server = server();
    let mut wire = server.connect();
    store(&mut wire, "big", 16 * MEBIBYTE);
    wire.try_command(&["CONFIG", "SET", "client-output-buffer-limit", "normal 1mb 0 0"]).expect("a reply");
    let mut stalled = server.connect();
    stalled.send(request(&["GET", "big"]));
    wait::until_true("its end", || field(&mut wire, "clients", "connected_clients") == 1);
    wire.ask("STRLEN big", format!(":{}\r\n", 16 * MEBIBYTE));
}

/// Announces a value of `MEBIBYTE` bytes and sends `bytes` of it: the server holds them until the rest comes. It may end
/// this client for it before all is sent.
fn half_sent(server: &ServerProcess, name: &str, bytes: usize) -> Wire {
    let mut wire = server.connect();
    wire.ask(&format!("CLIENT SETNAME {name}"), "+OK\r\n");
    let head = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${MEBIBYTE}\r\n");
    let _ = wire.try_send(&[head.as_bytes(), &vec![b'v'; bytes]].concat());
    wire
}

/// The names of clients that hold at least `bytes` of what they sent.
fn holding(wire: &mut Wire, bytes: usize) -> Vec<String> {
    let held = |line: &str| line.split_once(" qbuf=")?.1.split(' ').next()?.parse::<usize>().ok();
    let name = |line: &str| line.split_once(" name=")?.1.split(' ').next().map(str::to_owned);
    wire.text("CLIENT LIST").lines().filter(|line| held(line) >= Some(bytes)).filter_map(name).collect()
}

#[test]
fn of_clients_that_hold_too_much_together_the_largest_goes() {
    let server = server();
    let mut wire = server.connect();
    // A queue is held until EXEC, byte for byte.
    let queueing = |bytes: usize| {
        let mut wire = server.connect();
        wire.ask("MULTI", "+OK\r\n");
        wire.send(request(&[b"SET", &b"k"[..], &vec![b'v'; bytes]]));
        wire.expect("+QUEUED\r\n");
        wire
    };
    let (mut large, mut small) = (queueing(MEBIBYTE / 2), queueing(MEBIBYTE / 8));
    let held = field(&mut wire, "memory", "mem_clients_normal");
    assert!((MEBIBYTE * 5 / 8..MEBIBYTE * 3 / 4).contains(&(held as usize)), "{held}");
    wire.ask(&format!("CONFIG SET maxmemory-clients {}", held + 64 * 1024), "+OK\r\n");
    wire.ask("PING", "+PONG\r\n");
    assert_eq!(field(&mut wire, "stats", "evicted_clients"), 0);
    let mut last = queueing(MEBIBYTE / 8);
    large.expect_closed();
    for stays in [&mut small, &mut last] {
        stays.ask("EXEC", "*1\r\n+OK\r\n");
    }
    assert_eq!(field(&mut wire, "stats", "evicted_clients"), 1);
    assert!(field(&mut wire, "memory", "mem_clients_normal") < 64 * 1024, "what was held is given back");
}

#[test]
fn a_crowd_holds_no_more_than_all_clients_may() {
    let server = server();
    let mut wire = server.connect();
    wire.ask("CLIENT NO-EVICT on", "+OK\r\n");
    wire.ask("CONFIG SET maxmemory-clients 4mb", "+OK\r\n");
    let growth = Growth::of(&server);
    // Each alone is within every other limit; together they would hold 150 MiB.
    let crowd: Vec<Wire> = (0..200).map(|i| half_sent(&server, &format!("c{i}"), MEBIBYTE * 3 / 4)).collect();
    wait::until_true("most are gone", || field(&mut wire, "stats", "evicted_clients") >= 190);
    growth.assert_within(4 * MEBIBYTE);
    drop(crowd);
}

/// All of them ask in the same moment, so one round of the loop answers them all: a limit that is looked at after the round
/// would come a gigabyte late. (One loop: what allocators keep for themselves grows with the threads.)
#[test]
fn a_crowd_that_asks_for_much_at_once_is_ended_before_it_is_answered() {
    // Too short to be shared among those who read it, and asked for so often that a reply has 8 MiB.
    const VALUE: usize = 60_000;
    const TIMES: usize = 140;
    const BIG: usize = TIMES * VALUE;
    const CROWD: usize = 250;
    let server = Launch::bare(server_program!()).arguments(["--memory-only", "--loops", "1"]).resp().start();
    let mut wire = server.connect();
    wire.ask("CLIENT NO-EVICT on", "+OK\r\n");
    wire.send(request(&[b"SET", &b"big"[..], &vec![b'v'; VALUE]]));
    wire.expect("+OK\r\n");
    wire.ask("CONFIG SET maxmemory-clients 16mb", "+OK\r\n");
    let growth = Growth::of(&server);
    wire.ask("CLIENT PAUSE 100000 WRITE", "+OK\r\n");
    let crowd: Vec<Wire> = (0..CROWD)
        .map(|_| {
            let mut one = server.connect();
            one.send(format!("MULTI\r\n{}EXEC\r\n", "GETEX big\r\n".repeat(TIMES)));
            one
        })
        .collect();
    wait::until_true("all wait", || wire.text("CLIENT LIST").matches(" cmd=getex").count() == CROWD);
    wire.ask("CLIENT UNPAUSE", "+OK\r\n");
    wait::until_true("most are gone", || field(&mut wire, "stats", "evicted_clients") > CROWD as u64 / 2);
    // It may answer a group of 16 before it looks, and an answer is copied on its way.
    growth.assert_within(16 * MEBIBYTE + 2 * 16 * BIG);
    drop(crowd);
}

/// What a client asked for is its own while another thread carries it out.
#[test]
fn a_request_that_runs_elsewhere_is_counted() {
    let server = server();
    let mut wire = server.connect();
    wire.ask("CLIENT NO-EVICT on", "+OK\r\n");
    for batch in 0..100 {
        let many: Vec<_> = (0..1000).map(|n| request(&["SET", &format!("k:{batch}:{n}"), "v"])).collect();
        wire.send(many.concat());
        wire.expect("+OK\r\n".repeat(many.len()));
    }
    wire.ask("CONFIG SET maxmemory-clients 4mb", "+OK\r\n");
    // All keys are looked over for each, one client's after the other's: most wait, as a rule, before the last has asked.
    let keys = request(&["KEYS", &"n".repeat(MEBIBYTE - 100)]);
    wait::until_true("some are gone", || {
        let crowd: Vec<Wire> = (0..40)
            .map(|_| {
                let mut one = server.connect();
                let _ = one.try_send(&keys);
                one
            })
            .collect();
        drop(crowd);
        field(&mut wire, "stats", "evicted_clients") > 0
    });
}

#[test]
fn who_must_not_be_ended_stays_and_a_percentage_is_one_of_maxmemory() {
    let server = server();
    let mut wire = server.connect();
    wire.ask("CONFIG SET maxmemory 100mb maxmemory-clients 1%", "+OK\r\n");
    wire.ask("CONFIG GET maxmemory-clients", "*2\r\n$17\r\nmaxmemory-clients\r\n$2\r\n1%\r\n");
    let mut staying = server.connect();
    staying.ask("CLIENT NO-EVICT on", "+OK\r\n");
    let head = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${}\r\n", 3 * MEBIBYTE);
    staying.send([head.as_bytes(), &vec![b'v'; 2 * MEBIBYTE]].concat());
    let crowd: Vec<Wire> = (0..3).map(|i| half_sent(&server, &format!("c{i}"), MEBIBYTE * 3 / 4)).collect();
    wait::until_true("others go in its place", || field(&mut wire, "stats", "evicted_clients") >= 2);
    drop(crowd);
    staying.send([&vec![b'v'; MEBIBYTE][..], b"\r\n"].concat());
    staying.expect("+OK\r\n");
    // Without maxmemory, a percentage of it is no limit.
    wire.ask("CONFIG SET maxmemory 0", "+OK\r\n");
    let ended = field(&mut wire, "stats", "evicted_clients");
    let crowd: Vec<Wire> = (0..3).map(|i| half_sent(&server, &format!("c{i}"), MEBIBYTE * 3 / 4)).collect();
    wait::until_true("all are held", || holding(&mut wire, MEBIBYTE / 2).len() == crowd.len());
    assert_eq!(field(&mut wire, "stats", "evicted_clients"), ended);
}
