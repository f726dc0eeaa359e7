//! The server as its operator meets it: flags, start-up, refusals, signals, restarts.

#![forbid(unsafe_code)]

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Output;
use std::thread;

use kvtests::conversation::{Conversation, Delivery};
use kvtests::process::{Launch, ServerProcess, Signal};
use kvtests::server_program;
use kvtests::wait;
use kvtests::wire::{Wire, bulk, request};
use tempfile::TempDir;

fn launch(dir: &Path) -> Launch {
    Launch::new(server_program!(), dir).resp()
}

fn run(words: &[&str]) -> Output {
    let dir = TempDir::new().expect("a temporary directory");
    Launch::bare(server_program!()).working_dir(dir.path()).arguments(words.iter().copied()).run_to_end()
}

/// Expects a start that was refused with exit code 1 and one line on stderr that holds each of `words`.
#[track_caller]
fn expect_refusal(output: &Output, words: &[&str]) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "one line, not:\n{stderr}");
    for word in words {
        assert!(stderr.contains(word), "{word:?} is not in: {stderr}");
    }
}

#[test]
fn it_starts_without_any_configuration() {
    let home = TempDir::new().expect("a temporary directory");
    let launch = Launch::bare(server_program!()).working_dir(home.path());
    let defaults: [SocketAddr; 2] = [([127, 0, 0, 1], 6379).into(), ([127, 0, 0, 1], 7171).into()];
    if let Some(taken) = defaults.iter().find(|address| TcpListener::bind(address).is_err()) {
        println!("only the refusal is checked: another program of this machine listens on {taken}");
        expect_refusal(&launch.run_to_end(), &[&taken.port().to_string()]);
        return;
    }
    let mut server = launch.start_without_waiting();
    for (address, ping, pong) in
        [(defaults[0], "*1\r\n$4\r\nPING\r\n", "+PONG\r\n"), (defaults[1], "PING\n", "OK PONG\n")]
    {
        let mut wire = wait::until("the default listeners", || {
            assert!(server.is_running(), "the server ended:\n{}", server.log());
            Wire::try_connect(address).ok()
        });
        wire.send(ping);
        wire.expect(pong);
    }
    let mut wire = Wire::connect(defaults[0]);
    wire.ask("SET k v", "+OK\r\n");
    assert!(home.path().join("kvdata").is_dir(), "data lies in ./kvdata");
    // Both listeners share one store.
    Conversation::new().line("GET k", "OK v").play(&mut Wire::connect(defaults[1]), Delivery::EachRequest);
    let log = server.startup_log();
    for word in ["resp://127.0.0.1:6379", "line://127.0.0.1:7171", "kvdata", "everysec"] {
        assert!(log.contains(word), "{word:?} is not in the start-up log:\n{log}");
    }
    assert_eq!(server.terminate().code(), Some(0), "{}", server.log());
}

#[test]
fn a_port_in_use_is_refused_in_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let port = taken.local_addr().expect("its address").port().to_string();
    let dir = TempDir::new().expect("a temporary directory");
    for scheme in ["resp", "line"] {
        let url = format!("{scheme}://127.0.0.1:{port}");
        let launch = Launch::new(server_program!(), &dir.path().join("data")).arguments(["--listen", &url]);
        expect_refusal(&launch.run_to_end(), &[&port]);
    }
}

#[test]
fn a_file_in_the_way_is_refused_in_one_line() {
    let dir = TempDir::new().expect("a temporary directory");
    let file = dir.path().join("file");
    fs::write(&file, "no store").expect("a file");
    for data in [file.clone(), file.join("below")] {
        expect_refusal(&launch(&data).run_to_end(), &[&file.display().to_string()]);
    }
    assert_eq!(fs::read(&file).expect("the file"), b"no store");
}

#[test]
fn an_unwritable_directory_is_refused_in_one_line() {
    use std::os::unix::fs::PermissionsExt;
    let dir = TempDir::new().expect("a temporary directory");
    let data = dir.path().join("data");
    fs::create_dir(&data).expect("a directory");
    fs::set_permissions(&data, fs::Permissions::from_mode(0o555)).expect("its permissions");
    if fs::write(data.join("probe"), "").is_ok() {
        println!("not checked: this user may write wherever it likes (root)");
        return;
    }
    expect_refusal(&launch(&data).run_to_end(), &[&data.display().to_string()]);
}

#[test]
fn a_held_lock_is_refused_in_one_line_and_its_holder_goes_on() {
    let dir = TempDir::new().expect("a temporary directory");
    let holder = launch(dir.path()).start();
    holder.connect().ask("SET k v", "+OK\r\n");
    let holder_id = holder.id().to_string();
    expect_refusal(&launch(dir.path()).run_to_end(), &[&dir.path().display().to_string(), &holder_id]);
    holder.connect().ask("GET k", "$1\r\nv\r\n");
    // A killed holder holds nothing.
    holder.kill();
    launch(dir.path()).start().connect().ask("PING", "+PONG\r\n");
}

#[test]
fn bad_flags_exit_with_2() {
    for words in [
        &["--bogus"] as &[&str],
        &["surplus"],
        &["--durability", "sometimes"],
        &["--listen", "nonsense"],
        &["--listen", "http://127.0.0.1:80"],
        &["--listen", "line://127.0.0.1:0?style=chatty"],
        &["--loops", "many"],
        &["--loops"],
        &["--max-clients", "-1"],
        &["--log-level", "loudest"],
    ] {
        let output = run(words);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {stderr}");
        assert!(!stderr.trim().is_empty(), "{words:?} is refused without a word");
        assert!(output.stdout.is_empty(), "{words:?} prints its error to stdout");
    }
}

#[test]
fn version_and_help_are_told() {
    let version = run(&["--version"]);
    assert_eq!(version.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&version.stdout), format!("kvserver {}\n", env!("CARGO_PKG_VERSION")));
    let help = run(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    for flag in
        ["--dir", "--listen", "--durability", "--loops", "--max-clients", "--log-level", "--snapshot-every", "SIGHUP"]
    {
        assert!(help.contains(flag), "{flag} is not in --help");
    }
}

#[test]
fn a_signal_ends_it_with_0_and_the_data_is_there_after_a_restart() {
    let dir = TempDir::new().expect("a temporary directory");
    for (round, (signal, durability)) in
        [(Signal::TERM, "os"), (Signal::INT, "os"), (Signal::TERM, "everysec"), (Signal::TERM, "always")]
            .into_iter()
            .enumerate()
    {
        let mut server = launch(dir.path()).durability(durability).start();
        let mut wire = server.connect();
        wire.ask("DBSIZE", format!(":{}\r\n", round * 100));
        for key in 0..round * 100 {
            wire.ask(&format!("GET k{key}"), bulk(format!("v{key}")));
        }
        let mut requests = Vec::new();
        for key in round * 100..(round + 1) * 100 {
            requests.extend(request(&["SET", &format!("k{key}"), &format!("v{key}")]));
        }
        wire.send(requests);
        wire.expect("+OK\r\n".repeat(100));
        server.signal(signal);
        assert_eq!(server.wait().code(), Some(0), "{}", server.log());
        wire.expect_closed();
        assert!(Wire::try_connect(server.address(0)).is_err(), "nobody listens any more");
    }
}

#[test]
fn shutdown_ends_it_with_0_and_the_data_is_there_after_a_restart() {
    let dir = TempDir::new().expect("a temporary directory");
    for words in ["SHUTDOWN", "SHUTDOWN NOSAVE"] {
        let mut server = launch(dir.path()).start();
        let mut wire = server.connect();
        wire.ask(&format!("SET {} v", words.len()), "+OK\r\n");
        wire.send(request(&words.split(' ').collect::<Vec<_>>()));
        wire.expect_closed();
        assert_eq!(server.wait().code(), Some(0), "{}", server.log());
    }
    launch(dir.path()).start().connect().ask("DBSIZE", ":2\r\n");
}

/// The handlers of the signals were once set after the event loops had begun: a signal in the first moments killed the
/// process. A unix socket is bound under a name known beforehand, so that the first answer can be had at once.
#[test]
fn a_signal_right_after_the_first_answer_stops_it_in_order() {
    use std::io::{Read, Write};
    for _ in 0..20 {
        let dir = TempDir::new().expect("a temporary directory");
        let socket = dir.path().join("kv.sock");
        let url = format!("unix://{}", socket.display());
        let mut server = Launch::new(server_program!(), &dir.path().join("data"))
            .arguments(["--listen", &url])
            .start_without_waiting();
        let mut stream = loop {
            match UnixStream::connect(&socket) {
                Ok(stream) => break stream,
                Err(_) => assert!(server.is_running(), "the server ended:\n{}", server.log()),
            }
        };
        stream.write_all(b"PING\r\n").expect("a request");
        stream.read_exact(&mut [0; 7]).expect("an answer");
        assert_eq!(server.terminate().code(), Some(0), "{}", server.log());
    }
}

/// A client that takes none of its replies keeps a server from finishing in peace; the second signal asks no more.
#[test]
fn a_second_signal_ends_it_at_once() {
    let dir = TempDir::new().expect("a temporary directory");
    let mut server = launch(dir.path()).start();
    let mut wire = server.connect();
    let value = vec![b'v'; 1 << 20];
    wire.send(request(&[b"SET".as_slice(), b"big", &value]));
    wire.expect("+OK\r\n");
    wire.send(request(&["GET", "big"]).repeat(64));
    // The first answer has begun, so the requests were read: what was not read need not be answered.
    wire.expect("$1048576\r\n");
    server.signal(Signal::INT);
    // Two signals that are sent at once are one; so the second waits until the first has had an effect.
    let address = server.address(0);
    wait::until_true("the end of listening", || Wire::try_connect(address).is_err());
    if !server.is_running() {
        println!("not checked: it ended although its client has not taken the replies");
        return;
    }
    server.signal(Signal::INT);
    assert_eq!(server.wait().code(), Some(128 + 2), "{}", server.log());
}

/// A hangup once ended the process with code 129 and without a word.
#[test]
fn a_hangup_reloads_the_users_and_the_log_level() {
    let dir = TempDir::new().expect("a temporary directory");
    let (file, users) = (dir.path().join("kv.conf"), dir.path().join("users.acl"));
    let configure = |level: &str, more: &str| {
        let text = format!("aclfile {}\nmemory-only yes\nloglevel {level}\n{more}", users.display());
        fs::write(&file, text).expect("the configuration");
    };
    configure("notice", "");
    fs::write(&users, "user default on nopass ~* +@all\nuser old on >old ~* +@all\n").expect("the users");
    let server = Launch::bare(server_program!()).arguments(["--config", &file.display().to_string()]).resp();
    let mut server = server.start();
    let mut wire = server.connect();
    let mut of_old = server.connect();
    of_old.ask("AUTH old old", "+OK\r\n");

    configure("verbose", "maxmemory 100mb\nport 1\n");
    fs::write(&users, "user default on nopass ~* +@all\nuser new on >new ~* +@all\n").expect("the users");
    server.signal(Signal::HUP);
    let level = bulk("loglevel");
    let verbose = [&b"*2\r\n"[..], level.as_slice(), bulk("verbose").as_slice()].concat();
    wait::until_true("the new log level", || {
        wire.try_command(&["CONFIG", "GET", "loglevel"]).is_ok_and(|reply| reply == verbose)
    });
    of_old.expect_closed();
    wire.ask("AUTH old old", "-WRONGPASS invalid username-password pair or user is disabled.\r\n");
    wire.ask("AUTH new new", "+OK\r\n");
    let log =
        wait::until("the last word about the reload", || Some(server.log()).filter(|log| log.contains("maxmemory")));
    for word in ["users were reloaded", "log level", "port", "CONFIG SET"] {
        assert!(log.contains(word), "{word:?} is not in the log:\n{log}");
    }

    // A fault in either file leaves everything as it is, and is named.
    fs::write(&users, "user default off\nuser new nonsense\n").expect("the users");
    fs::write(&file, "loglevel warning\nnonsense\n").expect("the configuration");
    server.signal(Signal::HUP);
    wait::until_true("word of both faults", || {
        let log = server.log();
        log.contains("users.acl:2") && log.contains("kv.conf:2")
    });
    wire.ask("AUTH new new", "+OK\r\n");
    wire.send(request(&["CONFIG", "GET", "loglevel"]));
    wire.expect(&verbose);
    server.connect().ask("PING", "+PONG\r\n");
    assert_eq!(server.terminate().code(), Some(0), "{}", server.log());
}

/// A flag wins over the file, at a reload as at the start.
#[test]
fn a_hangup_does_not_overrule_a_flag() {
    let dir = TempDir::new().expect("a temporary directory");
    let file = dir.path().join("kv.conf");
    fs::write(&file, "loglevel notice\n").expect("the configuration");
    let mut server = Launch::new(server_program!(), &dir.path().join("data"))
        .arguments(["--config", &file.display().to_string(), "--log-level", "info"])
        .resp()
        .start();
    fs::write(&file, "loglevel debug\n").expect("the configuration");
    server.signal(Signal::HUP);
    wait::until_true("word of the flag", || server.log().contains("--log-level"));
    let mut wire = server.connect();
    wire.send(request(&["CONFIG", "GET", "loglevel"]));
    wire.expect([&b"*2\r\n"[..], bulk("loglevel").as_slice(), bulk("notice").as_slice()].concat());
}

#[test]
fn a_signal_that_asks_for_nothing_is_survived_and_named() {
    let dir = TempDir::new().expect("a temporary directory");
    let mut server = launch(dir.path()).start();
    for (signal, name) in
        [(Signal::HUP, "SIGHUP"), (Signal::USR1, "SIGUSR1"), (Signal::USR2, "SIGUSR2"), (Signal::HUP, "SIGHUP")]
    {
        let said = |log: &str| log.matches(name).count();
        let before = said(&server.log());
        server.signal(signal);
        wait::until_true(name, || {
            assert!(server.is_running(), "{name} ended the server");
            said(&server.log()) > before
        });
    }
    server.signal(Signal::PIPE);
    server.connect().ask("PING", "+PONG\r\n");
    assert_eq!(server.terminate().code(), Some(0), "{}", server.log());
}

/// The password comes through a pipe, so that the start stands still until the test goes on.
#[test]
fn a_hangup_while_it_starts_is_survived() {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let dir = TempDir::new().expect("a temporary directory");
    let pipe = dir.path().join("password");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo");
    assert!(made.success());
    let launch = launch(&dir.path().join("data")).arguments(["--requirepass-file", &pipe.display().to_string()]);
    let mut server = launch.start_without_waiting();
    // Fails until somebody reads.
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let mut password = wait::until("the server at its password", || {
        assert!(server.is_running(), "the server ended:\n{}", server.log());
        fs::OpenOptions::new().write(true).custom_flags(nonblocking).open(&pipe).ok()
    });
    for signal in [Signal::HUP, Signal::USR1, Signal::USR2] {
        server.signal(signal);
    }
    password.write_all(b"secret\n").expect("a reader");
    drop(password);
    // What came before it was up is acted on then.
    let log = server.startup_log();
    wait::until_true("word of the signals", || {
        assert!(server.is_running(), "the server ended:\n{}", server.log());
        ["SIGHUP", "SIGUSR1", "SIGUSR2"].iter().all(|name| server.log().contains(name))
    });
    assert!(log.contains("listening"), "{log}");
    assert_eq!(server.terminate().code(), Some(0), "{}", server.log());
}

/// Standard error may be a file on a full disk, or a pipe that nobody reads any more: a thread that panics because it
/// cannot write its line would end the server.
#[test]
fn a_log_that_cannot_be_written_ends_nothing() {
    let dir = TempDir::new().expect("a temporary directory");
    let socket = dir.path().join("kv.sock");
    let mut server = Launch::new(server_program!(), &dir.path().join("data"))
        .arguments(["--listen", &format!("unix://{}", socket.display())])
        .within(["sh", "-c", "exec \"$0\" \"$@\" 2>/dev/full"])
        .start_without_waiting();
    let mut ask = |words: &[&str], expected: &str| {
        use std::io::{Read, Write};
        let mut stream = wait::until("a connection", || {
            assert!(server.is_running(), "the server ended:\n{}", server.log());
            UnixStream::connect(&socket).ok()
        });
        stream.set_read_timeout(Some(wait::PATIENCE)).expect("a time limit");
        stream.write_all(&request(words)).expect("a request");
        let mut reply = vec![0; expected.len()];
        stream.read_exact(&mut reply).expect("a reply");
        assert_eq!(String::from_utf8_lossy(&reply), expected);
    };
    // Both are told in the log.
    ask(&["CONFIG", "SET", "timeout", "7"], "+OK\r\n");
    ask(&["BGSAVE"], "+Background saving started\r\n");
    ask(&["PING"], "+PONG\r\n");
    assert_eq!(server.terminate().code(), Some(0));
    let file = dir.path().join("file");
    fs::write(&file, "no store").expect("a file");
    let refused = launch(&file).within(["sh", "-c", "exec \"$0\" \"$@\" 2>/dev/full"]).run_to_end();
    assert_eq!(refused.status.code(), Some(1), "the reason cannot be said, the exit code can");
}

#[test]
fn what_was_read_before_the_signal_is_answered() {
    let dir = TempDir::new().expect("a temporary directory");
    let mut server = launch(dir.path()).durability("always").start();
    let address = server.address(0);
    let clients: Vec<_> = (0..8)
        .map(|client| {
            thread::spawn(move || {
                let mut wire = Wire::connect(address);
                let mut acknowledged = 0_u64;
                // Until the server hangs up; a reply that was cut would not be counted.
                while wire.try_command(&["SET", &format!("k{client}"), &(acknowledged + 1).to_string()]).is_ok() {
                    acknowledged += 1;
                }
                acknowledged
            })
        })
        .collect();
    let mut observer = server.connect();
    wait::until_true("all clients' first writes", || observer.integer("DBSIZE") == 8);
    assert_eq!(server.terminate().code(), Some(0), "{}", server.log());
    let acknowledged: Vec<u64> = clients.into_iter().map(|client| client.join().expect("a client")).collect();

    let server = launch(dir.path()).start();
    let mut wire = server.connect();
    for (client, acknowledged) in acknowledged.into_iter().enumerate() {
        let found: u64 = wire.text(&format!("GET k{client}")).parse().expect("a number");
        assert!(found == acknowledged || found == acknowledged + 1, "{acknowledged} acknowledged, {found} found");
    }
}

#[test]
fn sixteen_databases_are_kept_apart_and_survive_a_restart() {
    let dir = TempDir::new().expect("a temporary directory");
    let mut server = launch(dir.path()).start();
    let mut wire = server.connect();
    for database in 0..16 {
        wire.ask(&format!("SELECT {database}"), "+OK\r\n");
        wire.ask("DBSIZE", ":0\r\n");
        wire.ask(&format!("SET k {database}"), "+OK\r\n");
    }
    wire.ask("FLUSHDB", "+OK\r\n");
    assert_eq!(server.terminate().code(), Some(0));
    let server = launch(dir.path()).start();
    let mut wire = server.connect();
    for database in 0..15 {
        wire.ask(&format!("SELECT {database}"), "+OK\r\n");
        wire.ask("GET k", bulk(database.to_string()));
    }
    wire.ask("SELECT 15", "+OK\r\n");
    wire.ask("GET k", "$-1\r\n");
    wire.ask("FLUSHALL", "+OK\r\n");
    wire.ask("SELECT 3", "+OK\r\n");
    wire.ask("DBSIZE", ":0\r\n");
}

#[test]
fn a_unix_socket_is_served_and_removed() {
    use std::io::{Read, Write};
    let dir = TempDir::new().expect("a temporary directory");
    let socket = dir.path().join("kv.sock");
    let url = format!("unix://{}", socket.display());
    let mut server = launch(&dir.path().join("data")).arguments(["--listen", &url]).start();
    let mut stream = UnixStream::connect(&socket).expect("a connection");
    stream.set_read_timeout(Some(wait::PATIENCE)).expect("a time limit");
    stream.write_all(b"*1\r\n$4\r\nPING\r\n").expect("a request");
    let mut reply = [0; 7];
    stream.read_exact(&mut reply).expect("a reply");
    assert_eq!(&reply, b"+PONG\r\n");
    assert_eq!(server.terminate().code(), Some(0), "{}", server.log());
    assert!(!socket.exists(), "the socket is left behind");
}

#[test]
fn a_memory_only_server_writes_nothing() {
    let home = TempDir::new().expect("a temporary directory");
    let server: ServerProcess =
        Launch::bare(server_program!()).working_dir(home.path()).arguments(["--memory-only"]).resp().start();
    let mut wire = server.connect();
    wire.ask("SET k v", "+OK\r\n");
    wire.ask("GET k", "$1\r\nv\r\n");
    assert_eq!(fs::read_dir(home.path()).expect("the directory").count(), 0);
}

#[test]
fn a_listener_for_strangers_without_a_password_is_refused() {
    let dir = TempDir::new().expect("a temporary directory");
    let launch = Launch::new(server_program!(), dir.path()).arguments(["--listen", "resp://0.0.0.0:0"]);
    let output = launch.run_to_end();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(1 | 2)), "{stderr}");
    assert!(stderr.contains("0.0.0.0"), "{stderr}");
}
