//! Every place in which bytes of a client outlive the command that brought them: how much fits into it, and that it counts.
//!
//! Invariant: each [`Place`] is filled with the largest items that a client may send, and with more than fit. What the
//! allocator has given out grows by no more than the place's bound, what INFO counts grows by no less than what is kept
//! there, and both go back when it is emptied.

#![forbid(unsafe_code)]

use kvtests::process::{Launch, ServerProcess};
use kvtests::wire::{Wire, request};
use kvtests::{server_program, usage, wait};

const KIBIBYTE: usize = 1 << 10;
const MEBIBYTE: usize = 1 << 20;
/// What an allocator takes for bytes that it was asked for, in eighths: it rounds sizes up by a quarter at most, and a
/// buffer that grew has room for more.
const ALLOCATED_EIGHTHS: usize = 12;
/// Buffers of the loop and of connections, which are not given back at once.
const SLACK: usize = 2 * MEBIBYTE;

/// A place in which something of a client is kept.
struct Place {
    name: &'static str,
    /// What it may hold, in bytes, with what its entries take beside what is in them.
    bound: usize,
    /// Fills it by clients that stay, and returns them, with how many of their bytes are kept.
    fill: fn(&ServerProcess, &mut Wire) -> (Vec<Wire>, usize),
}

/// What a client may be named, in each of three labels.
const LABEL: usize = 256;
/// Entries of a log.
const ENTRIES: usize = 128;
/// All names that one client subscribes to, watches, or tracks by prefix.
const INTERESTS: usize = 64 * MEBIBYTE;
/// The rules of a user.
const RULES: usize = MEBIBYTE;
/// An entry of SLOWLOG or COMMANDLOG: 32 words of 128 bytes and a note of 24 on what was cut off, each with its place; the
/// client's name and address.
const SLOW_ENTRY: usize = 32 * (128 + 32 + 24) + LABEL + 256;

const COMMANDS: &str = "commands by their name";
const USERS: usize = 8;
/// What empties the logs and sets the counters to zero.
const EMPTYING: [&str; 5] = [
    "ACL LOG RESET",
    "SLOWLOG RESET",
    "COMMANDLOG RESET large-request",
    "COMMANDLOG RESET large-reply",
    "CONFIG RESETSTAT",
];

const PLACES: &[Place] = &[
    Place {
        name: "labels",
        bound: 100 * (3 * LABEL + CONNECTION),
        fill: |server, _| {
            let label = |bytes: usize| "n".repeat(bytes);
            let named = |_| {
                let mut wire = server.connect();
                for command in
                    ["CLIENT SETNAME", "HELLO 2 SETNAME", "CLIENT SETINFO LIB-NAME", "CLIENT SETINFO LIB-VER"]
                {
                    refused(&mut wire, &format!("{command} {}", label(LABEL + 1)), "cannot be longer than 256 bytes");
                    assert!(!wire.command(&format!("{command} {}", label(LABEL))).starts_with(b"-"));
                }
                refused(&mut wire, &format!("CLIENT SETNAME {}", label(MEBIBYTE)), "cannot be longer than 256 bytes");
                assert!(number(&wire.text("CLIENT INFO"), " tot-mem=") >= 1024 + 3 * LABEL);
                wire
            };
            ((0..100).map(named).collect(), 100 * 3 * LABEL)
        },
    },
    Place {
        name: "ACL LOG",
        // A command, a user, and a client as it is listed.
        bound: ENTRIES * (1024 + 1024 + 2048 + 256),
        fill: |server, _| {
            let mut wire = named(server);
            for at in 0..2 * ENTRIES {
                let user = format!("{at:06}{}", "u".repeat(100 * KIBIBYTE));
                wire.send(request(&["AUTH", &user, "wrong"]));
                assert!(wire.reply().starts_with(b"-WRONGPASS"));
            }
            wire.send(request(&["ACL", "LOG", "1000"]));
            let shown = wire.reply().len();
            assert!((ENTRIES * (1024 + 3 * LABEL)..ENTRIES * 4 * KIBIBYTE).contains(&shown), "{shown}");
            (vec![wire], ENTRIES * (1024 + 3 * LABEL))
        },
    },
    Place {
        name: "SLOWLOG",
        bound: ENTRIES * SLOW_ENTRY,
        fill: |server, admin| {
            admin.ask("CONFIG SET slowlog-log-slower-than 0", "+OK\r\n");
            let mut wire = named(server);
            send_large(&mut wire, 2 * ENTRIES);
            admin.ask("CONFIG SET slowlog-log-slower-than -1", "+OK\r\n");
            (vec![wire], (ENTRIES - 1) * (31 * 128 + LABEL))
        },
    },
    Place {
        name: "COMMANDLOG",
        bound: 2 * ENTRIES * SLOW_ENTRY,
        fill: |server, admin| {
            admin.ask("CONFIG SET commandlog-request-larger-than 1000 commandlog-reply-larger-than 1", "+OK\r\n");
            let mut wire = named(server);
            send_large(&mut wire, 2 * ENTRIES);
            admin.ask("CONFIG SET commandlog-request-larger-than -1 commandlog-reply-larger-than -1", "+OK\r\n");
            (vec![wire], 2 * (ENTRIES - 1) * (31 * 128 + LABEL))
        },
    },
    Place {
        name: "errors by their code",
        bound: 129 * (64 + 64),
        fill: |server, _| {
            let mut wire = server.connect();
            for at in 0..1000 {
                wire.send(request(&["DEBUG", "ERROR", &format!("E{at:06}{} text", "X".repeat(KIBIBYTE))]));
                assert!(wire.reply().starts_with(b"-E0"));
            }
            let shown = wire.text("INFO errorstats");
            assert!(shown.lines().count() <= 130 && shown.lines().all(|line| line.len() < 128), "{shown}");
            (vec![wire], 120 * 64)
        },
    },
    Place {
        name: COMMANDS,
        bound: 500 * (288 + 8) * 8,
        fill: |server, _| {
            let mut wire = server.connect();
            wire.send(request(&["COMMAND", "LIST"]));
            let names = String::from_utf8_lossy(&wire.reply()).into_owned();
            // Each is refused for its number of words, as far as it needs any.
            for name in names.lines().filter(|line| line.starts_with(|letter: char| letter.is_ascii_lowercase())) {
                if !["quit", "monitor", "shutdown", "multi", "reset", "sync", "psync"].contains(&name) {
                    wire.send(request(&name.split('|').collect::<Vec<_>>()));
                    wire.reply();
                }
            }
            (vec![wire], 100 * (288 + 3) * 8)
        },
    },
    Place {
        name: "subscriptions to channels, patterns and shard channels",
        bound: INTERESTS,
        fill: |server, _| {
            let mut wire = server.connect();
            assert!(wire.command("HELLO 3").starts_with(b"%"));
            let mut at = 0;
            for command in ["SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE"] {
                for _ in 0..21 {
                    at += 1;
                    wire.send(request(&[command, &large_name(at)]));
                    assert!(wire.reply().starts_with(b">3"));
                }
            }
            for command in ["SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE"] {
                wire.send(request(&[command, &large_name(0), &large_name(at + 1)]));
                assert!(wire.reply().starts_with(b"-ERR too many subscriptions"));
            }
            (vec![wire], 63 * LARGE_NAME)
        },
    },
    Place {
        name: "watched keys",
        bound: INTERESTS,
        fill: |server, _| {
            let mut wire = server.connect();
            for at in 0..32 {
                wire.send(request(&["WATCH", &large_name(at)]));
                wire.expect("+OK\r\n");
            }
            wire.send(request(&["WATCH", &large_name(32)]));
            assert!(wire.reply().starts_with(b"-ERR too many watched keys"));
            // Each is in the table of its client, and in that of all.
            (vec![wire], 2 * 31 * LARGE_NAME)
        },
    },
    Place {
        name: "tracked prefixes",
        bound: INTERESTS,
        fill: |server, _| {
            let mut wire = server.connect();
            assert!(wire.command("HELLO 3").starts_with(b"%"));
            let track = |at| request(&["CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", &large_name(at)]);
            for at in 0..32 {
                wire.send(track(at));
                wire.expect("+OK\r\n");
            }
            wire.send(track(32));
            assert!(wire.reply().starts_with(b"-ERR too many prefixes"));
            (vec![wire], 2 * 31 * LARGE_NAME)
        },
    },
    Place {
        name: "keys that are tracked because they were read",
        // 256 bytes for each key that may be remembered, and the key that was one too many.
        bound: 16 * KIBIBYTE * 256 + MEBIBYTE,
        fill: |server, admin| {
            admin.ask("CONFIG SET tracking-table-max-keys 16384", "+OK\r\n");
            let mut wire = server.connect();
            assert!(wire.command("HELLO 3").starts_with(b"%"));
            wire.ask("CLIENT TRACKING ON", "+OK\r\n");
            let mut invalidated = 0;
            for at in 0..100 {
                wire.send(request(&["GET", &large_name(at)]));
                while wire.reply() != b"_\r\n" {
                    invalidated += 1;
                }
            }
            assert!((90..=97).contains(&invalidated), "{invalidated}");
            (vec![wire], 3 * MEBIBYTE)
        },
    },
    Place {
        name: "commands between MULTI and EXEC",
        bound: 8 * MEBIBYTE,
        fill: |server, admin| {
            admin.ask("CONFIG SET client-query-buffer-limit 8mb", "+OK\r\n");
            let mut wire = server.connect();
            wire.ask("MULTI", "+OK\r\n");
            let set = request(&["SET", "k", &"v".repeat(MEBIBYTE)]);
            for _ in 0..7 {
                wire.send(&set);
                wire.expect("+QUEUED\r\n");
            }
            (vec![wire], 7 * MEBIBYTE)
        },
    },
    Place {
        name: "a request of which a part has come",
        // A buffer that doubles.
        bound: 4 * MEBIBYTE,
        fill: |server, _| {
            let mut wire = server.connect();
            let head = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${}\r\n", 64 * MEBIBYTE);
            wire.send([head.as_bytes(), &vec![b'v'; 2 * MEBIBYTE]].concat());
            // Of what came first, its head is read already.
            (vec![wire], 2 * MEBIBYTE - 64 * KIBIBYTE)
        },
    },
    Place {
        name: "commands that MONITOR shows to a client which does not read",
        bound: 16 * MEBIBYTE,
        fill: |server, admin| {
            admin.try_command(&["CONFIG", "SET", "client-output-buffer-limit", "pubsub 16mb 0 0"]).expect("a reply");
            let mut monitor = server.connect();
            monitor.ask("MONITOR", "+OK\r\n");
            let get = request(&["GET", &"k".repeat(256 * KIBIBYTE)]);
            wait::until_true("a client that holds much", || {
                admin.send(&get);
                admin.expect("$-1\r\n");
                number(&of_monitor(admin), " omem=") > 4 * MEBIBYTE
            });
            (vec![monitor], 4 * MEBIBYTE)
        },
    },
    Place {
        name: "users",
        bound: USERS * (RULES + 4 * LABEL),
        fill: |_, admin| {
            refused(admin, &format!("ACL SETUSER {}", "u".repeat(LABEL + 1)), "cannot be longer than 256 bytes");
            for name in (0..USERS).map(user_name) {
                let pattern = format!("~{}", "p".repeat(RULES - KIBIBYTE));
                admin.send(request(&["ACL", "SETUSER", &name, &pattern]));
                admin.expect("+OK\r\n");
                admin.send(request(&["ACL", "SETUSER", &name, &pattern.replace('p', "q")]));
                assert!(admin.reply().ends_with(b"The rules of a user may take 1048576 bytes\r\n"));
            }
            (Vec::new(), USERS * (RULES - KIBIBYTE + LABEL))
        },
    },
];

/// What a connection takes while it holds nothing: what is counted for it, and what a loop has of it.
const CONNECTION: usize = 4 * KIBIBYTE;

#[track_caller]
fn refused(wire: &mut Wire, line: &str, why: &str) {
    let reply = String::from_utf8_lossy(&wire.command(line)).into_owned();
    assert!(reply.starts_with("-ERR ") && reply.trim_end().ends_with(why), "{reply}");
}

/// The length of a [`large_name`], in bytes.
const LARGE_NAME: usize = MEBIBYTE - 506;

/// A mebibyte, less what a name takes beside its bytes.
fn large_name(at: usize) -> String {
    format!("{at:06}{}", "x".repeat(LARGE_NAME - 6))
}

/// The longest name of a user.
fn user_name(at: usize) -> String {
    format!("{at}{}", "u".repeat(LABEL - 1))
}

/// A client whose labels are as long as they may be.
fn named(server: &ServerProcess) -> Wire {
    let mut wire = server.connect();
    for command in ["CLIENT SETNAME", "CLIENT SETINFO LIB-NAME", "CLIENT SETINFO LIB-VER"] {
        wire.ask(&format!("{command} {}", "n".repeat(LABEL)), "+OK\r\n");
    }
    wire
}

/// Sends commands of many large words, of which nothing is left but what logs keep.
fn send_large(wire: &mut Wire, count: usize) {
    let word = "w".repeat(2 * KIBIBYTE);
    let exists = request(&[vec!["EXISTS"], vec![word.as_str(); 40]].concat());
    for _ in 0..count {
        wire.send(&exists);
        wire.expect(":0\r\n");
    }
}

/// The number behind `field` in what CLIENT LIST shows of a client.
#[track_caller]
fn number(line: &str, field: &str) -> usize {
    let number = line.split_once(field).and_then(|(_, rest)| rest.split([' ', '\r', '\n']).next()?.parse().ok());
    number.unwrap_or_else(|| panic!("no {field} in {line}"))
}

fn of_monitor(admin: &mut Wire) -> String {
    let list = admin.text("CLIENT LIST");
    list.lines().find(|line| line.contains(" cmd=monitor")).expect("a client that monitors").to_owned()
}

/// A field of INFO's section on memory.
fn memory(wire: &mut Wire, field: &str) -> usize {
    let text = wire.text("INFO memory");
    let number = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')?.parse().ok());
    number.unwrap_or_else(|| panic!("no {field} in {text}"))
}

/// MEMORY STATS' figure of what is no data.
fn overhead(wire: &mut Wire) -> usize {
    let stats = String::from_utf8_lossy(&wire.command("MEMORY STATS")).into_owned();
    let number = stats.split_once("overhead.total\r\n:").and_then(|(_, rest)| rest.lines().next()?.parse().ok());
    number.unwrap_or_else(|| panic!("no overhead in {stats}"))
}

#[test]
fn whatever_is_kept_for_clients_is_bounded_and_counted() {
    for Place { name, bound, fill } in PLACES {
        let server = Launch::bare(server_program!())
            .arguments(["--memory-only", "--loops", "1", "--enable-debug"])
            .resp()
            .start();
        let mut admin = server.connect();
        // What the first use of a command takes is no part of it.
        for command in ["CONFIG SET hz 10", "CLIENT LIST", "ACL SETUSER x", "MEMORY STATS", "CONFIG RESETSTAT"] {
            admin.command(command);
        }
        let (_, _) = (memory(&mut admin, "used_memory"), overhead(&mut admin));
        let used = memory(&mut admin, "used_memory");
        let allocated = memory(&mut admin, "allocator_allocated");

        let (clients, kept) = fill(&server, &mut admin);
        wait::until_true(&format!("{name}: {kept} bytes are counted"), || {
            memory(&mut admin, "used_memory").saturating_sub(used) >= kept && overhead(&mut admin) >= used + kept
        });
        let counted = memory(&mut admin, "used_memory") - used;
        let grown = memory(&mut admin, "allocator_allocated").saturating_sub(allocated);
        println!("{name}: {kept} bytes are kept, {counted} counted, {grown} allocated, {bound} allowed");
        assert!(counted <= bound + bound / 8 + SLACK, "{name}: {counted} bytes are counted, {bound} are allowed");
        let allowed = bound * ALLOCATED_EIGHTHS / 8 + SLACK;
        assert!(grown <= allowed, "{name}: it took {grown} bytes, {allowed} are allowed");

        drop(clients);
        for command in EMPTYING {
            assert!(!admin.command(command).starts_with(b"-"), "{name}");
        }
        for user in 0..USERS {
            admin.command(&format!("ACL DELUSER {}", user_name(user)));
        }
        // Counters of commands stay, and are zero.
        let stays = if *name == COMMANDS { *bound } else { 64 * KIBIBYTE };
        wait::until_true(&format!("{name}: it is given back"), || {
            memory(&mut admin, "used_memory").saturating_sub(used) < stays
        });
    }
}

/// `maxmemory` sees what is kept for clients: data go, or writes are refused, before it takes more.
#[test]
fn what_is_kept_counts_against_maxmemory() {
    let server = Launch::bare(server_program!()).arguments(["--memory-only", "--loops", "1"]).resp().start();
    let mut admin = server.connect();
    let used = memory(&mut admin, "used_memory");
    admin.ask(&format!("CONFIG SET maxmemory {}", used + 4 * MEBIBYTE), "+OK\r\n");
    admin.ask("SET k v", "+OK\r\n");
    for at in 0..8 {
        let pattern = format!("~{}", "p".repeat(RULES - KIBIBYTE));
        let reply = admin.try_command(&["ACL", "SETUSER", &format!("u{at}"), &pattern]).expect("a reply");
        assert_eq!(String::from_utf8_lossy(&reply), "+OK\r\n");
    }
    wait::until_true("writes are refused", || admin.command("SET k v").starts_with(b"-OOM"));
    admin.ask("ACL DELUSER u0 u1 u2 u3 u4 u5 u6 u7", ":8\r\n");
    wait::until_true("writes are executed", || admin.command("SET k v") == b"+OK\r\n");
}

/// A user without any right could have the server keep gigabytes, by a name and refused passwords.
#[test]
fn a_user_without_rights_cannot_make_the_server_keep_much() {
    let server = Launch::bare(server_program!()).arguments(["--memory-only", "--loops", "1"]).resp().start();
    let mut admin = server.connect();
    admin.ask("ACL SETUSER nobody on nopass resetchannels -@all", "+OK\r\n");
    let before = usage::resident_bytes(server.id());
    let mut clients: Vec<Wire> = (0..25).map(|_| server.connect()).collect();
    for wire in &mut clients {
        wire.ask("AUTH nobody x", "+OK\r\n");
        wire.send(request(&["HELLO", "2", "SETNAME", &"n".repeat(12 * MEBIBYTE)]));
        wire.expect("-ERR Client names cannot be longer than 256 bytes\r\n");
        assert!(wire.command(&format!("HELLO 2 SETNAME {}", "n".repeat(LABEL))).starts_with(b"*"));
        for at in 0..128 {
            wire.send(request(&["AUTH", &format!("user-{at}"), "wrong"]));
            assert!(wire.reply().starts_with(b"-WRONGPASS"));
        }
    }
    let list = admin.text("CLIENT LIST");
    assert_eq!((list.lines().count(), list.len() < 64 * KIBIBYTE), (26, true));
    admin.send(request(&["ACL", "LOG", "1000"]));
    assert!(admin.reply().len() < MEBIBYTE);
    let grown = usage::resident_bytes(server.id()).saturating_sub(before) as usize;
    assert!(grown < 100 * MEBIBYTE, "{grown}");
}

/// A list that is too large was built before it was refused: the memory for it was taken all the same.
#[test]
fn a_list_that_is_too_large_is_refused_before_it_takes_memory() {
    let server = Launch::bare(server_program!()).arguments(["--memory-only", "--loops", "1"]).resp().start();
    let mut wire = server.connect();
    for at in 0..65 {
        wire.send(request(&["SET", &format!("{at:02}{}", "k".repeat(16 * MEBIBYTE)), "v"]));
        wire.expect("+OK\r\n");
    }
    let (before, most) = (usage::resident_bytes(server.id()), 100 * MEBIBYTE as u64);
    usage::forget_peak(server.id());
    let too_large = "-ERR the reply would be larger than 1073741824 bytes; ask for less at a time\r\n";
    for command in ["KEYS *", "SCAN 0 COUNT 1000", "PRINT"] {
        wire.ask(command, too_large);
    }
    wire.ask("MULTI", "+OK\r\n");
    wire.ask("KEYS *", "+QUEUED\r\n");
    wire.ask("EXEC", format!("*1\r\n{too_large}"));
    let grown = usage::peak_bytes(server.id()).saturating_sub(before);
    assert!(grown <= most, "grew by {} KiB", grown / 1024);
    // What fits is shown.
    wire.ask("DBSIZE", ":65\r\n");
    wire.send(request(&["KEYS", "07*"]));
    assert!((16 * MEBIBYTE..17 * MEBIBYTE).contains(&wire.reply().len()));
}
