//! Clients that wear the server out by connecting, by dawdling, by leaving at the wrong moment: the others are served all
//! the same, and nothing is left behind.
//!
//! Invariant: what is asserted is that all are answered and that all is given back. How long it takes is measured by
//! `bench/hostile.py`.

#![forbid(unsafe_code)]

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use kvtests::process::{Launch, ServerProcess, Signal};
use kvtests::wire::{Wire, request};
use kvtests::{server_program, usage, wait};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use tempfile::TempDir;

fn launch() -> Launch {
    Launch::bare(server_program!()).arguments(["--memory-only", "--loops", "2"]).resp()
}

fn field(wire: &mut Wire, section: &str, field: &str) -> u64 {
    let text = wire.text(&format!("INFO {section}"));
    let number = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')?.parse().ok());
    number.unwrap_or_else(|| panic!("no {field} in {text}"))
}

#[track_caller]
fn wait_for_clients(wire: &mut Wire, count: u64) {
    wait::until_true(&format!("{count} clients"), || field(wire, "clients", "connected_clients") == count);
}

/// A client that is served over and over while `disturb` goes on; answers how often it was.
fn serve_meanwhile(server: &ServerProcess, disturb: impl FnOnce()) -> u64 {
    let over = AtomicBool::new(false);
    let served = AtomicU64::new(0);
    thread::scope(|scope| {
        // Neighbouring connections lie on different loops.
        for _ in 0..2 {
            let mut wire = server.connect();
            let (over, served) = (&over, &served);
            scope.spawn(move || {
                let mut number = 0;
                while !over.load(Ordering::Relaxed) {
                    number += 1;
                    wire.ask(&format!("SET k {number}"), "+OK\r\n");
                    served.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        disturb();
        over.store(true, Ordering::Relaxed);
    });
    served.load(Ordering::Relaxed)
}

#[test]
fn a_thousand_clients_that_send_a_byte_at_a_time_are_served_and_so_are_all_others() {
    const SLOW: usize = 1000;
    let server = launch().start();
    let mut slow: Vec<Wire> = (0..SLOW).map(|_| server.connect()).collect();
    let whole = request(&["SET", "slow", "value"]);
    let served = serve_meanwhile(&server, || {
        for byte in &whole {
            for wire in &mut slow {
                wire.send([*byte]);
            }
        }
        for wire in &mut slow {
            wire.expect("+OK\r\n");
        }
    });
    println!("{served} requests of others were served meanwhile");
    assert!(served > 0);
}

#[test]
fn ten_thousand_connections_come_and_go_and_others_are_served() {
    let server = launch().start();
    let served = serve_meanwhile(&server, || {
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for number in 0..2500 {
                        // The system may be out of ports for a moment.
                        let mut wire = wait::until("a connection", || Wire::try_connect(server.address(0)).ok());
                        if number % 10 == 0 {
                            wire.ask("PING", "+PONG\r\n");
                        }
                    }
                });
            }
        });
    });
    println!("{served} requests of others were served meanwhile");
    let mut wire = server.connect();
    wait_for_clients(&mut wire, 1);
    assert!(field(&mut wire, "stats", "total_connections_received") >= 10_000);
}

/// A client of each kind that leaves something unfinished; when all are gone the server has no descriptor more.
#[test]
fn half_open_and_vanished_connections_are_given_back() {
    let server = launch().start();
    let mut wire = server.connect();
    wire.ask("SET k v", "+OK\r\n");
    wait_for_clients(&mut wire, 1);
    let files = usage::open_files(server.id());
    for _ in 0..5 {
        let mut leaving: Vec<Wire> = (0..100).map(|_| server.connect()).collect();
        wait_for_clients(&mut wire, 101);
        for (number, half) in leaving.iter_mut().enumerate() {
            match number % 6 {
                // Half closed: what was asked is answered, then it is closed from the other side.
                0 => {
                    half.send("GET k\r\nGET k\r\n");
                    half.finish_sending();
                    half.expect("$1\r\nv\r\n$1\r\nv\r\n");
                    half.expect_closed();
                }
                1 => {
                    half.send("*2\r\n$3\r\nGET\r\n$100\r\nhalf");
                    half.finish_sending();
                    half.expect_closed();
                }
                2 => half.send("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100\r\nhalf"),
                3 => half.send("MULTI\r\nSET k w\r\nWATCH k\r\n"),
                4 => half.send("SUBSCRIBE a b c\r\nPSUBSCRIBE *\r\n"),
                // Closed with replies unread: a reset.
                _ => half.send("GET k\r\n".repeat(1000)),
            }
        }
        drop(leaving);
        wait_for_clients(&mut wire, 1);
    }
    wire.ask("GET k", "$1\r\nv\r\n");
    wire.ask("PUBSUB NUMPAT", ":0\r\n");
    wait::until_true("the descriptors", || usage::open_files(server.id()) <= files);
}

/// Whether the kernel probes a silent peer on the server's end of this connection: `/proc/net/tcp` names the timer, 02
/// being keepalive.
fn is_probed(server: SocketAddr, client: SocketAddr) -> Option<bool> {
    let end = |address: SocketAddr| format!("0100007F:{:04X}", address.port());
    let table = fs::read_to_string("/proc/net/tcp").expect("the table of connections");
    table.lines().find_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let ends = (fields.next()?.to_owned(), fields.next()?.to_owned());
        let timer = fields.nth(2)?;
        (ends == (end(server), end(client))).then(|| timer.starts_with("02:"))
    })
}

#[test]
fn silent_peers_are_probed_unless_that_is_turned_off() {
    let server = launch().start();
    let mut admin = server.connect();
    for (seconds, probed) in [("300", true), ("0", false), ("1", true)] {
        admin.ask(&format!("CONFIG SET tcp-keepalive {seconds}"), "+OK\r\n");
        let mut wire = server.connect();
        wire.ask("PING", "+PONG\r\n");
        let client = wire.writer().local_addr().expect("an address");
        // Before that, the timer may still be that of a segment to be acknowledged.
        wait::until_true(&format!("the timer of tcp-keepalive {seconds}"), || {
            is_probed(server.address(0), client) == Some(probed)
        });
    }
}

#[test]
fn idle_clients_are_dropped_after_the_timeout_and_subscribers_are_not() {
    let server = launch().start();
    let mut admin = server.connect();
    let mut subscriber = server.connect();
    subscriber.ask("SUBSCRIBE c", "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n");
    let mut idle = server.connect();
    idle.ask("PING", "+PONG\r\n");
    let mut never_spoke = server.connect();
    let mut half = server.connect();
    half.send("*2\r\n$3\r\nGET\r\n");
    // Told that it is closed, but not taking the replies before that: it would never be gone.
    let mut stuck = server.connect();
    stuck.send(request(&[b"SET".as_slice(), b"big", &vec![b'v'; 16 << 20]]));
    stuck.expect("+OK\r\n");
    stuck.send("GET big\r\nQUIT\r\n");
    wait_for_clients(&mut admin, 6);
    admin.ask("CONFIG SET timeout 1", "+OK\r\n");
    wait_for_clients(&mut admin, 2);
    idle.expect_closed();
    never_spoke.expect_closed();
    half.expect_closed();
    admin.ask("PUBLISH c still", ":1\r\n");
    subscriber.expect("*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$5\r\nstill\r\n");
}

/// No client is ever served with the last descriptors: the log and the snapshots need some.
#[test]
fn with_few_descriptors_few_clients_are_served_and_the_data_are_safe() {
    let dir = TempDir::new().expect("a temporary directory");
    let mut server = Launch::bare("sh")
        .arguments(["-c", "ulimit -n 80; exec \"$0\" \"$@\"", server_program!(), "--loops", "2"])
        .arguments(["--dir", &dir.path().display().to_string(), "--durability", "always"])
        .resp()
        .start();
    let log = server.startup_log();
    assert!(log.contains("fewer files may be open"), "{log}");
    let mut first = server.connect();
    let possible = field(&mut first, "clients", "maxclients");
    assert!((10..80).contains(&possible), "{possible}");
    let refused = String::from_utf8_lossy(&first.command("CONFIG SET maxclients 10000")).into_owned();
    assert!(refused.ends_with(&format!("specified number of clients, try with {possible}\r\n")), "{refused}");
    let mut served = Vec::new();
    let mut turned_away = 0;
    for _ in 0..200 {
        let mut wire = server.connect();
        match wire.try_command(&["PING"]) {
            Ok(reply) if reply == b"+PONG\r\n" => served.push(wire),
            Ok(reply) => {
                assert_eq!(reply, b"-ERR max number of clients reached\r\n");
                turned_away += 1;
            }
            // A reset, because its request was not read.
            Err(_) => turned_away += 1,
        }
    }
    assert_eq!((served.len() as u64 + 1, turned_away), (possible, 200 - served.len()));
    for number in 0..100 {
        first.ask(&format!("SET k{number} v"), "+OK\r\n");
    }
    first.ask("SAVE", "+OK\r\n");
    first.ask("SET after the-snapshot", "+OK\r\n");
    drop(served);
    wait_for_clients(&mut first, 1);
    server.connect().ask("PING", "+PONG\r\n");
}

/// Someone else in the process, or the administrator, may leave it without descriptors all the same.
#[test]
fn without_descriptors_accepting_rests_and_goes_on_when_there_are_some() {
    let server = launch().start();
    let mut wire = server.connect();
    wire.ask("PING", "+PONG\r\n");
    wait_for_clients(&mut wire, 1);
    let pid = Pid::from_raw(i32::try_from(server.id()).expect("a process id"));
    // The server has what this process may have.
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = |files: Option<u64>| {
        prlimit(pid, Resource::Nofile, Rlimit { current: files, maximum }).expect("a new limit");
    };
    let spare = 5;
    limit(Some(usage::open_files(server.id()) as u64 + spare));
    let mut waiting: Vec<Wire> = (0..50).map(|_| server.connect()).collect();
    for wire in &mut waiting {
        wire.send("PING\r\n");
    }
    wait::until_true("a word in the log", || server.log().contains("cannot accept connections"));
    let served = field(&mut wire, "clients", "connected_clients");
    assert!((2..40).contains(&served), "{served} are served");
    // A server that tries again and again uses a core; this one may use a fifth of it.
    let (begun, used) = (Instant::now(), usage::processor_ms(server.id()));
    wait::until_true("two seconds", || begun.elapsed() >= Duration::from_secs(2));
    let used = usage::processor_ms(server.id()) - used;
    println!("{used} ms of processor time in {:?}", begun.elapsed());
    assert!(used < 400, "{used} ms of processor time while it could not accept");
    wire.ask("SET k v", "+OK\r\n");
    // Who was served leaves, and the next come in.
    for mut served in waiting.drain(..40) {
        served.expect("+PONG\r\n");
    }
    limit(maximum);
    for wire in &mut waiting {
        wire.expect("+PONG\r\n");
    }
    wait_for_clients(&mut wire, 1 + waiting.len() as u64);
    let complaints = server.log().matches("cannot accept connections").count();
    assert!(complaints < 50, "{complaints} lines in the log");
}

/// A client that ends at the worst moment: inside EXEC by its own hand, with a queue, while it is subscribed and messages
/// are on their way, while it is paused, while its command runs elsewhere.
#[test]
fn clients_killed_in_the_middle_of_something_leave_nothing_half_done() {
    let mut server = launch().start();
    let mut admin = server.connect();
    for round in 0..20 {
        admin.ask("FLUSHALL", "+OK\r\n");
        // By its own EXEC: all of it is done, and it is told.
        let mut suicide = server.connect();
        let id = suicide.integer("CLIENT ID");
        suicide.send(format!("MULTI\r\nSET a 1\r\nCLIENT KILL ID {id} SKIPME no\r\nSET b 1\r\nEXEC\r\n"));
        suicide.expect("+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n+OK\r\n:1\r\n+OK\r\n");
        suicide.expect_closed();
        admin.ask("EXISTS a b", ":2\r\n");
        // With a queue and watched keys.
        let mut queue = server.connect();
        let id = queue.integer("CLIENT ID");
        queue.send("WATCH a\r\nMULTI\r\nSET c 1\r\n");
        queue.expect("+OK\r\n+OK\r\n+QUEUED\r\n");
        admin.ask(&format!("CLIENT KILL ID {id}"), ":1\r\n");
        queue.expect_closed();
        admin.ask("SET a 2", "+OK\r\n");
        admin.ask("EXISTS c", ":0\r\n");
        // While it is subscribed in every way, with messages on their way to it.
        let mut subscriber = server.connect();
        let id = subscriber.integer("CLIENT ID");
        subscriber.send("SUBSCRIBE ch\r\nPSUBSCRIBE c*\r\nSSUBSCRIBE ch\r\n");
        wait::until_true("three subscriptions", || {
            admin.command("PUBSUB SHARDNUMSUB ch") == b"*2\r\n$2\r\nch\r\n:1\r\n"
        });
        admin.send(format!("{}CLIENT KILL ID {id}\r\n", "PUBLISH ch m\r\nSPUBLISH ch m\r\n".repeat(100)));
        admin.expect(":2\r\n:1\r\n".repeat(100));
        admin.expect(":1\r\n");
        wait::until_true("the end of its subscriptions", || {
            admin.command("PUBSUB NUMSUB ch") == b"*2\r\n$2\r\nch\r\n:0\r\n"
        });
        admin.ask("PUBSUB NUMPAT", ":0\r\n");
        // While it is paused: what it asked for is not done afterwards.
        admin.ask("CLIENT PAUSE 100000 WRITE", "+OK\r\n");
        let mut paused = server.connect();
        let id = paused.integer("CLIENT ID");
        paused.send("SET d 1\r\n");
        let mut leaver = server.connect();
        leaver.send("SET e 1\r\n");
        wait::until_true("two that wait", || field(&mut admin, "clients", "blocked_clients") == 2);
        admin.ask(&format!("CLIENT KILL ID {id}"), ":1\r\n");
        drop(leaver);
        paused.expect_closed();
        wait::until_true("none that waits", || field(&mut admin, "clients", "blocked_clients") == 0);
        admin.ask("CLIENT UNPAUSE", "+OK\r\n");
        admin.ask("EXISTS d e", ":0\r\n");
        // While its command runs elsewhere.
        if round == 0 {
            for start in 0..20 {
                let pairs: Vec<String> = (0..200).map(|number| format!("{} v", start * 200 + number)).collect();
                admin.ask(&format!("MSET {}", pairs.join(" ")), "+OK\r\n");
            }
            for _ in 0..50 {
                let mut parked = server.connect();
                let id = parked.integer("CLIENT ID");
                parked.send("KEYS *\r\nSET f 1\r\n");
                admin.command(&format!("CLIENT KILL ID {id}"));
                drop(parked);
            }
        }
        wait_for_clients(&mut admin, 1);
    }
    admin.ask("PING", "+PONG\r\n");
    assert!(server.is_running());
    assert_eq!(server.terminate().code(), Some(0));
}

/// Its command goes on elsewhere, and when that is done nobody is there to be answered.
#[test]
fn who_is_killed_while_its_command_runs_elsewhere_is_not_opened_again() {
    let server = Launch::bare(server_program!()).arguments(["--memory-only", "--loops", "1"]).resp().start();
    let mut wire = server.connect();
    let keys: Vec<String> = (0..100_000).flat_map(|i| [format!("key:{i}"), "v".to_owned()]).collect();
    for some in keys.chunks(20_000) {
        let words: Vec<&str> = ["MSET"].into_iter().chain(some.iter().map(String::as_str)).collect();
        wire.send(request(&words));
        wire.expect("+OK\r\n");
    }
    // One at a time is looked over, so the last waits for all before it.
    let mut before: Vec<Wire> = (0..30).map(|_| server.connect()).collect();
    let mut victim = server.connect();
    let id = victim.integer("CLIENT ID");
    before.iter_mut().for_each(|wire| wire.send(request(&["KEYS", "*9999"])));
    victim.send([request(&["KEYS", "*9999"]), request(&["SET", "from", "the dead"])].concat());
    let list = format!("CLIENT LIST ID {id}");
    wait::until_true("it waits", || wire.text(&list).contains(" flags=b "));
    wire.ask(&format!("CLIENT KILL ID {id}"), ":1\r\n");
    victim.expect_closed();
    for wire in &mut before {
        assert!(wire.reply().starts_with(b"*10\r\n"));
    }
    drop(before);
    wait_for_clients(&mut wire, 1);
    wire.ask("GET from", "$-1\r\n");
}

/// Connections that are gone before they are accepted are no reason to stop accepting.
#[test]
fn connections_gone_before_they_are_accepted_do_no_harm() {
    let mut server = launch().start();
    let address = server.address(0);
    server.signal(Signal::STOP);
    let gone: Vec<TcpStream> = (0..200).filter_map(|_| TcpStream::connect(address).ok()).collect();
    assert!(gone.len() > 100, "only {} connections wait to be accepted", gone.len());
    drop(gone);
    server.signal(Signal::CONT);
    let mut wire = server.connect();
    wire.ask("PING", "+PONG\r\n");
    wait_for_clients(&mut wire, 1);
}
