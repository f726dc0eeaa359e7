//! MULTI, EXEC, DISCARD, WATCH: a transaction is executed as a whole or not at all, and nobody sees a half of it.

#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use kvtests::process::{Launch, ServerProcess};
use kvtests::server_program;
use kvtests::wait::Lifetime;
use kvtests::wire::{Wire, request, show};
use tempfile::TempDir;

/// Two loops, so that neighbouring connections are served by different threads.
fn server(dir: &TempDir) -> ServerProcess {
    Launch::new(server_program!(), dir.path()).resp().arguments(["--loops", "2"]).start()
}

#[test]
fn queued_commands_are_executed_together() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let (mut one, mut two) = (server.connect(), server.connect());
    one.ask("MULTI", "+OK\r\n");
    one.ask("SET a 1", "+QUEUED\r\n");
    one.ask("INCR a", "+QUEUED\r\n");
    one.ask("MGET a b", "+QUEUED\r\n");
    two.ask("GET a", "$-1\r\n");
    one.ask("EXEC", "*3\r\n+OK\r\n:2\r\n*2\r\n$1\r\n2\r\n$-1\r\n");
    two.ask("GET a", "$1\r\n2\r\n");
    one.ask("EXEC", "-ERR EXEC without MULTI\r\n");
    one.ask("MULTI", "+OK\r\n");
    one.ask("EXEC", "*0\r\n");
}

#[test]
fn discarded_commands_are_not_executed() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let mut wire = server.connect();
    wire.ask("MULTI", "+OK\r\n");
    wire.ask("SET a 1", "+QUEUED\r\n");
    wire.ask("DISCARD", "+OK\r\n");
    wire.ask("GET a", "$-1\r\n");
    wire.ask("MULTI", "+OK\r\n");
    wire.ask("MULTI", "-ERR MULTI calls can not be nested\r\n");
    wire.ask("WATCH a", "-ERR WATCH inside MULTI is not allowed\r\n");
    wire.ask("SET a 2", "+QUEUED\r\n");
    // Neither of the two errors above spoils the transaction.
    wire.ask("EXEC", "*1\r\n+OK\r\n");
}

#[test]
fn an_error_while_queueing_refuses_the_whole() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let mut wire = server.connect();
    for bad in ["SET onlykey", "NONSENSE"] {
        wire.ask("MULTI", "+OK\r\n");
        wire.ask("SET a 1", "+QUEUED\r\n");
        let error = wire.command(bad);
        assert!(error.starts_with(b"-ERR "), "{}", show(&error));
        wire.ask("EXEC", "-EXECABORT Transaction discarded because of previous errors.\r\n");
        wire.ask("GET a", "$-1\r\n");
    }
}

#[test]
fn an_error_while_executing_leaves_the_other_commands_standing() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let mut wire = server.connect();
    wire.ask("MULTI", "+OK\r\n");
    wire.ask("SET a text", "+QUEUED\r\n");
    wire.ask("INCR a", "+QUEUED\r\n");
    wire.ask("SET b 1", "+QUEUED\r\n");
    wire.ask("EXEC", "*3\r\n+OK\r\n-ERR value is not an integer or out of range\r\n+OK\r\n");
    wire.ask("MGET a b", "*2\r\n$4\r\ntext\r\n$1\r\n1\r\n");
}

#[test]
fn select_inside_a_transaction_works_on_the_other_database() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let mut wire = server.connect();
    wire.ask("MULTI", "+OK\r\n");
    wire.ask("SET k zero", "+QUEUED\r\n");
    wire.ask("SELECT 1", "+QUEUED\r\n");
    wire.ask("SET k one", "+QUEUED\r\n");
    wire.ask("DBSIZE", "+QUEUED\r\n");
    wire.ask("EXEC", "*4\r\n+OK\r\n+OK\r\n+OK\r\n:1\r\n");
    wire.ask("GET k", "$3\r\none\r\n");
    wire.ask("SELECT 0", "+OK\r\n");
    wire.ask("GET k", "$4\r\nzero\r\n");
}

#[test]
fn whole_keyspace_commands_work_inside_a_transaction() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let mut wire = server.connect();
    wire.ask("SET before 1", "+OK\r\n");
    wire.ask("MULTI", "+OK\r\n");
    wire.ask("KEYS *", "+QUEUED\r\n");
    wire.ask("FLUSHALL", "+QUEUED\r\n");
    wire.ask("SET after 1", "+QUEUED\r\n");
    wire.ask("DBSIZE", "+QUEUED\r\n");
    wire.ask("KEYS *", "+QUEUED\r\n");
    wire.ask("EXEC", "*5\r\n*1\r\n$6\r\nbefore\r\n+OK\r\n+OK\r\n:1\r\n*1\r\n$5\r\nafter\r\n");
}

#[test]
fn a_watched_key_that_changes_refuses_the_transaction() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    for change in ["SET k new", "DEL k", "APPEND k x", "EXPIRE k 100", "FLUSHALL", "MSET other 1 k 2", "RENAME k l"] {
        // Whichever loop each of the two is served by: the other one's turn comes with the next pair.
        let mut other = server.connect();
        let mut watcher = server.connect();
        other.ask("SET k old", "+OK\r\n");
        watcher.ask("WATCH unrelated k", "+OK\r\n");
        watcher.ask("MULTI", "+OK\r\n");
        watcher.ask("SET result 1", "+QUEUED\r\n");
        other.command(change);
        watcher.ask("EXEC", "*-1\r\n");
        watcher.ask("GET result", "$-1\r\n");
        // EXEC ended the watch too.
        watcher.ask("MULTI", "+OK\r\n");
        watcher.ask("EXEC", "*0\r\n");
    }
}

#[test]
fn what_does_not_concern_a_watched_key_lets_the_transaction_pass() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let (mut watcher, mut other) = (server.connect(), server.connect());
    other.ask("SET k old", "+OK\r\n");
    watcher.ask("WATCH k", "+OK\r\n");
    other.ask("GET k", "$3\r\nold\r\n");
    other.ask("SET other 1", "+OK\r\n");
    other.ask("SET k new NX", "$-1\r\n");
    other.ask("DEL missing", ":0\r\n");
    other.ask("SELECT 1", "+OK\r\n");
    other.ask("SET k elsewhere", "+OK\r\n");
    watcher.ask("MULTI", "+OK\r\n");
    watcher.ask("GET k", "+QUEUED\r\n");
    watcher.ask("EXEC", "*1\r\n$3\r\nold\r\n");

    other.ask("SELECT 0", "+OK\r\n");
    watcher.ask("WATCH k", "+OK\r\n");
    other.ask("SET k changed", "+OK\r\n");
    watcher.ask("UNWATCH", "+OK\r\n");
    watcher.ask("MULTI", "+OK\r\n");
    watcher.ask("EXEC", "*0\r\n");
}

/// Watched keys are compared first, in their own databases; what was queued runs in the one that was selected last.
#[test]
fn a_transaction_runs_in_the_selected_database_wherever_keys_are_watched() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let mut wire = server.connect();
    for (watched, selected) in [(&[0, 1][..], 0), (&[0, 1], 1), (&[5, 2], 3), (&[2], 7)] {
        for database in watched {
            wire.ask(&format!("SELECT {database}"), "+OK\r\n");
            wire.ask("WATCH k", "+OK\r\n");
        }
        wire.ask(&format!("SELECT {selected}"), "+OK\r\n");
        wire.ask("MULTI", "+OK\r\n");
        wire.ask(&format!("SET k {selected}"), "+QUEUED\r\n");
        wire.ask("DBSIZE", "+QUEUED\r\n");
        wire.ask("EXEC", "*2\r\n+OK\r\n:1\r\n");
        wire.ask("GET k", format!("$1\r\n{selected}\r\n"));
        wire.ask("FLUSHDB", "+OK\r\n");
        for database in watched {
            wire.ask(&format!("SELECT {database}"), "+OK\r\n");
            wire.ask("DBSIZE", ":0\r\n");
        }
    }
}

#[test]
fn a_client_s_own_change_counts_and_resp3_says_null() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let mut wire = server.connect();
    wire.command("HELLO 3");
    wire.ask("WATCH k", "+OK\r\n");
    wire.ask("SET k 1", "+OK\r\n");
    wire.ask("MULTI", "+OK\r\n");
    wire.ask("SET k 2", "+QUEUED\r\n");
    wire.ask("EXEC", "_\r\n");
    wire.ask("GET k", "$1\r\n1\r\n");
}

#[test]
fn a_watched_key_that_expires_refuses_the_transaction() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let (mut watcher, mut other) = (server.connect(), server.connect());
    let lifetime = Lifetime::begin(Duration::from_millis(300), || other.ask("SET k v PX 300", "+OK\r\n"));
    watcher.ask("WATCH k", "+OK\r\n");
    // On a machine too slow to watch it in time there is nothing to see: the key was gone when WATCH came.
    let watched_in_time = other.command("EXISTS k") == b":1\r\n";
    watcher.ask("MULTI", "+OK\r\n");
    watcher.ask("SET result 1", "+QUEUED\r\n");
    lifetime.watch(|| other.command("EXISTS k") == b":1\r\n");
    if watched_in_time {
        watcher.ask("EXEC", "*-1\r\n");
    } else {
        println!("not checked: the key expired before it was watched");
    }
}

/// Both keys are always written together, so no reader may ever see them differ.
#[test]
fn nobody_sees_half_a_transaction() {
    const ROUNDS: usize = 500;
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    server.connect().ask("MSET left start right start", "+OK\r\n");
    let writing = AtomicBool::new(true);
    thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let mut wire = server.connect();
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        let value = format!("{writer}:{round}");
                        if writer % 2 == 0 {
                            let mut batch = request(&["MULTI"]);
                            batch.extend(request(&["SET", "left", &value]));
                            batch.extend(request(&["SET", "right", &value]));
                            batch.extend(request(&["EXEC"]));
                            wire.send(batch);
                            wire.expect("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n+OK\r\n");
                        } else {
                            wire.send(request(&["MSET", "right", &value, "left", &value]));
                            wire.expect("+OK\r\n");
                        }
                    }
                })
            })
            .collect();
        for reader in 0..2 {
            let mut wire = server.connect();
            let writing = &writing;
            scope.spawn(move || {
                while writing.load(Ordering::Relaxed) {
                    let (left, right) =
                        if reader == 0 { read_both_in_one(&mut wire) } else { read_both_in_exec(&mut wire) };
                    assert_eq!(left, right);
                }
            });
        }
        let results: Vec<_> = writers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        // The readers end before a writer's panic goes on, else the scope would wait for them for ever.
        writing.store(false, Ordering::Relaxed);
        for result in results {
            result.expect("a writer");
        }
    });
}

fn read_both_in_one(wire: &mut Wire) -> (Vec<u8>, Vec<u8>) {
    wire.send(request(&["MGET", "left", "right"]));
    wire.expect("*2\r\n");
    (wire.reply(), wire.reply())
}

fn read_both_in_exec(wire: &mut Wire) -> (Vec<u8>, Vec<u8>) {
    wire.send("MULTI\r\nGET left\r\nGET right\r\nEXEC\r\n");
    wire.expect("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n");
    (wire.reply(), wire.reply())
}

/// Money that is moved between accounts under WATCH is neither made nor lost.
#[test]
fn optimistic_transfers_keep_the_sum() {
    const ACCOUNTS: usize = 4;
    const CLIENTS: usize = 6;
    const TRANSFERS: usize = 100;
    let dir = TempDir::new().expect("a temporary directory");
    let server = server(&dir);
    let mut teller = server.connect();
    for account in 0..ACCOUNTS {
        teller.ask(&format!("SET account:{account} 1000"), "+OK\r\n");
    }
    let refused = AtomicU64::new(0);
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let mut wire = server.connect();
            let refused = &refused;
            scope.spawn(move || {
                for transfer in 0..TRANSFERS {
                    let from = format!("account:{}", (client + transfer) % ACCOUNTS);
                    let to = format!("account:{}", (client + 2 * transfer + 1) % ACCOUNTS);
                    if from == to {
                        continue;
                    }
                    let amount = i64::try_from(transfer % 7).expect("a small number");
                    while !transfer_once(&mut wire, &from, &to, amount) {
                        refused.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    println!("{} transfers were refused and tried again", refused.into_inner());
    let sum: i64 = (0..ACCOUNTS)
        .map(|account| teller.text(&format!("GET account:{account}")).parse::<i64>().expect("a balance"))
        .sum();
    assert_eq!(sum, 1000 * i64::try_from(ACCOUNTS).expect("a small number"));
}

fn transfer_once(wire: &mut Wire, from: &str, to: &str, amount: i64) -> bool {
    wire.ask(&format!("WATCH {from} {to}"), "+OK\r\n");
    let balance = |text: String| text.parse::<i64>().expect("a balance");
    let (from_balance, to_balance) =
        (balance(wire.text(&format!("GET {from}"))), balance(wire.text(&format!("GET {to}"))));
    wire.send(format!("MULTI\r\nSET {from} {}\r\nSET {to} {}\r\nEXEC\r\n", from_balance - amount, to_balance + amount));
    wire.expect("+OK\r\n+QUEUED\r\n+QUEUED\r\n");
    match wire.reply().as_slice() {
        b"*2\r\n+OK\r\n+OK\r\n" => true,
        b"*-1\r\n" => false,
        other => panic!("EXEC: {}", show(other)),
    }
}

#[test]
fn a_command_of_redis_that_is_not_here_is_told_of_and_spoils_a_transaction() {
    let dir = TempDir::new().expect("a directory");
    let server = Launch::new(server_program!(), dir.path()).resp().start();
    let mut wire = server.connect();
    let absent = "'lpush' is not supported: this server keeps strings, on one node, and runs no scripts\r\n";
    wire.ask("LPUSH list a", format!("-ERR {absent}"));
    wire.ask("LPUSH list", "-ERR wrong number of arguments for 'lpush' command\r\n");
    wire.ask("MULTI", "+OK\r\n");
    wire.ask("SET k v", "+QUEUED\r\n");
    wire.ask("LPUSH list a", "+QUEUED\r\n");
    wire.ask("EXEC", format!("-EXECABORT Transaction discarded because of: {absent}"));
    wire.ask("EXISTS k", ":0\r\n");
    // The transaction is over.
    wire.ask("EXEC", "-ERR EXEC without MULTI\r\n");
}

#[test]
fn a_key_behind_a_subcommand_is_locked_too() {
    let dir = TempDir::new().expect("a directory");
    let server = Launch::new(server_program!(), dir.path()).resp().start();
    let mut wire = server.connect();
    wire.ask("SET k 1", "+OK\r\n");
    wire.ask("MULTI", "+OK\r\n");
    wire.ask("OBJECT ENCODING k", "+QUEUED\r\n");
    wire.ask("EXEC", "*1\r\n$3\r\nint\r\n");
}
