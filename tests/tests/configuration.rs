//! The configuration file: what it sets, what it is refused for, and how CONFIG REWRITE writes it back.

#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use kvtests::process::{Launch, ServerProcess};
use kvtests::server_program;
use kvtests::streams::Dice;
use kvtests::wait;
use kvtests::wire::Wire;
use tempfile::TempDir;

/// A directory for the file and the data.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        Home(TempDir::new().expect("a temporary directory"))
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("kv.conf")
    }

    fn write(&self, text: &str) -> PathBuf {
        fs::write(self.file(), text).expect("the file");
        self.file()
    }

    fn text(&self) -> String {
        fs::read_to_string(self.file()).expect("the file")
    }

    /// With the file and a listener; data in memory unless the file or `arguments` say more.
    fn launch(&self) -> Launch {
        let file = self.file().display().to_string();
        Launch::bare(server_program!()).working_dir(self.0.path()).arguments(["--config", &file]).resp()
    }

    fn start(&self) -> ServerProcess {
        self.launch().start()
    }
}

/// CONFIG GET of parameters with one word as their value.
fn get(wire: &mut Wire, name: &str) -> String {
    let reply = String::from_utf8(wire.try_command(&["CONFIG", "GET", name]).expect("a reply")).expect("text");
    let mut lines = reply.split("\r\n");
    assert_eq!(lines.next(), Some("*2"), "{name}: {reply:?}");
    lines.nth(3).unwrap_or_default().to_owned()
}

#[track_caller]
fn ask(wire: &mut Wire, words: &[&str], expected: &str) {
    let reply = wire.try_command(words).expect("a reply");
    assert_eq!(String::from_utf8_lossy(&reply), expected, "{words:?}");
}

#[test]
fn a_file_says_what_flags_and_clients_can() {
    let home = Home::new();
    home.write(
        "# what the shop needs\n\n  MaxMemory 100mb\r\nmaxclients 50\nrequirepass \"it's \\x73ecret\"\n\
         save 900 1\nsave 300 10\nappendfsync always\nloglevel verbose\nnotify-keyspace-events KEA\n\
         slave-read-only no\nclient-output-buffer-limit pubsub 1mb 512kb 10\nmaxmemory-policy allkeys-lru\n\
         dir 'the data'\ntimeout 1\ntimeout 0\nuser alice on >wonderland ~a:* +get\n",
    );
    let server = home.start();
    let mut wire = server.connect();
    wire.ask("PING", "-NOAUTH Authentication required.\r\n");
    ask(&mut wire, &["AUTH", "it's secret"], "+OK\r\n");
    for (name, value) in [
        ("maxmemory", "104857600"),
        ("maxclients", "50"),
        ("requirepass", "it's secret"),
        ("save", "900 1 300 10"),
        ("appendfsync", "always"),
        ("loglevel", "verbose"),
        ("notify-keyspace-events", "AKE"),
        ("replica-read-only", "no"),
        ("client-output-buffer-limit", "normal 0 0 0 slave 0 0 0 pubsub 1048576 524288 10"),
        ("maxmemory-policy", "allkeys-lru"),
        ("dir", &home.0.path().join("the data").display().to_string()),
        ("timeout", "0"),
    ] {
        assert_eq!(get(&mut wire, name), value, "{name}");
    }
    assert!(wire.text("INFO server").contains(&format!("\r\nconfig_file:{}\r\n", home.file().display())));
    wire.ask("SET k v", "+OK\r\n");
    assert!(home.0.path().join("the data").is_dir());
    ask(&mut wire, &["AUTH", "alice", "wonderland"], "+OK\r\n");
    wire.ask("GET a:1", "$-1\r\n");
    wire.ask("GET b", "-NOPERM this user has no permissions to access one of the keys used as arguments\r\n");
}

/// As in Redis: an empty one takes back those before it, and each that follows adds one.
#[test]
fn save_points_add_up_until_an_empty_line_takes_them_back() {
    for (lines, points) in [
        ("save 900 1\nsave 300 10\n", "900 1 300 10"),
        ("save 900 1\nsave \"\"\n", ""),
        ("save 900 1\nsave \"\"\nsave 300 10\n", "300 10"),
    ] {
        let home = Home::new();
        home.write(&format!("memory-only yes\n{lines}"));
        let server = home.start();
        let mut wire = server.connect();
        assert_eq!(get(&mut wire, "save"), points, "{lines}");
        wire.ask("CONFIG REWRITE", "+OK\r\n");
        assert_eq!(home.text(), format!("memory-only yes\n{lines}"), "nothing had changed");
    }
}

#[test]
fn flags_win_over_the_file() {
    let home = Home::new();
    home.write(
        "listen resp://127.0.0.1:1\nmaxclients 50\nappendfsync always\ndir elsewhere\nrequirepass x\nsave 900 1\n\
         loglevel warning\nio-threads 3\nmemory-only yes\n",
    );
    let server = home
        .launch()
        .arguments(["--max-clients", "60", "--durability", "os", "--dir", "here", "--requirepass", "y"])
        .arguments(["--snapshot-every", "7", "--log-level", "debug", "--loops", "2"])
        .start();
    let mut wire = server.connect();
    ask(&mut wire, &["AUTH", "y"], "+OK\r\n");
    for (name, value) in [
        ("maxclients", "60"),
        ("appendfsync", "no"),
        ("dir", &*home.0.path().join("here").display().to_string()),
        ("save", "7 1"),
        ("loglevel", "verbose"),
        ("io-threads", "2"),
        ("appendonly", "yes"),
    ] {
        assert_eq!(get(&mut wire, name), value, "{name}");
    }
}

/// Where it listens is in the file alone: a port that was free a moment ago.
#[test]
fn the_file_says_where_to_listen() {
    let free = || {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
        taken.local_addr().expect("its address").port()
    };
    for words in ["bind 127.0.0.1 -::1\nport PORT", "port PORT", "listen resp://127.0.0.1:PORT"] {
        let home = Home::new();
        let port = free();
        let words = words.replace("PORT", &port.to_string());
        let file = home.write(&format!("{words}\nunixsocket kv.sock\nunixsocketperm 700\nmemory-only yes\n"));
        let mut server = Launch::bare(server_program!())
            .working_dir(home.0.path())
            .arguments(["--config", &file.display().to_string()])
            .start_without_waiting();
        let address = ([127, 0, 0, 1], port).into();
        let mut wire = wait::until("the listener of the file", || {
            assert!(server.is_running(), "the server ended:\n{}", server.log());
            Wire::try_connect(address).ok()
        });
        wire.ask("PING", "+PONG\r\n");
        assert_eq!(get(&mut wire, "port"), port.to_string());
        assert!(home.0.path().join("kv.sock").exists());
        let log = server.startup_log();
        assert!(!log.contains("7171"), "the default listeners are replaced:\n{log}");
        assert_eq!(server.terminate().code(), Some(0));
    }
}

/// The lines of the file that Redis 7.0 comes with, without its comments.
const STOCK: &str = include_str!("data/redis.conf");

#[test]
fn the_file_that_redis_comes_with_is_obeyed() {
    let home = Home::new();
    home.write(STOCK);
    let server = home.launch().arguments(["--dir", "data"]).start();
    let mut wire = server.connect();
    assert_eq!(
        get(&mut wire, "client-output-buffer-limit"),
        "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60"
    );
    assert_eq!(get(&mut wire, "tcp-keepalive"), "300");
    assert_eq!(get(&mut wire, "oom-score-adj-values"), "0 200 800");
    assert_eq!(get(&mut wire, "proc-title-template"), "{title} {listen-addr} {server-mode}");
    // Nothing of it has changed, so nothing is.
    wire.ask("CONFIG REWRITE", "+OK\r\n");
    assert_eq!(home.text(), STOCK);
}

#[test]
fn a_line_that_cannot_be_obeyed_is_refused_with_its_number() {
    let home = Home::new();
    for (line, word) in [
        ("maxmemroy 1gb", "no such parameter"),
        ("maxmemory lots", "memory value"),
        ("maxmemory", "missing"),
        ("maxmemory 1 2", "one value"),
        ("maxclients 0", "between 1 and"),
        ("timeout \"1", "unbalanced quotes"),
        ("appendfsync sometimes", "must be one of"),
        ("save 900", "Invalid save parameters"),
        ("client-output-buffer-limit nobody 0 0 0", "Invalid client class"),
        ("notify-keyspace-events Q", "Invalid event class"),
        ("port 66000", "between 0 and 65535"),
        ("port 0", "nowhere to listen"),
        ("listen http://127.0.0.1", "scheme"),
        ("daemonize yes", "foreground"),
        ("databases 17", "16 databases"),
        ("cluster-enabled yes", "one node"),
        ("unixsocketperm 777", "owner"),
        ("logfile /var/log/kv.log", "standard error"),
        ("tls-port 6380", "TLS"),
        ("include other.conf", "not read in"),
        ("rename-command FLUSHALL \"\"", "cannot be renamed"),
        ("replicaof 10.0.0.1 6379", "no replication"),
        ("replica-serve-stale-data no", "no replication"),
        ("user alice nonsense", "Syntax error"),
        ("user", "missing"),
        ("\\xff", "no such parameter"),
    ] {
        let file = home.write(&format!("# first\nmaxmemory 1mb\n{line}\n"));
        let launch = Launch::bare(server_program!())
            .working_dir(home.0.path())
            .arguments(["--config", &file.display().to_string()]);
        // Found out before anything listens, or else before the data are opened: the default port does not matter.
        let launch = if line.starts_with("port") || line.starts_with("listen") { launch } else { launch.resp() };
        let output = launch.run_to_end();
        let stderr = String::from_utf8_lossy(&output.stderr);
        let last = stderr.lines().last().unwrap_or_default();
        assert_eq!(output.status.code(), Some(1), "{line:?}: {stderr}");
        assert!(last.contains(&format!("{}:3", file.display())), "{line:?}: {stderr}");
        assert!(last.contains(word), "{line:?}: {stderr}");
        assert_eq!(stderr.lines().filter(|line| line.starts_with("kvserver: ")).count(), 1, "{line:?}: {stderr}");
    }
    // Nor is a file that is not there, or is none.
    for path in [home.0.path().join("nothing.conf"), home.0.path().to_owned()] {
        let output = Launch::bare(server_program!()).arguments(["--config", &path.display().to_string()]).run_to_end();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.lines().count() == 1 && stderr.contains(&path.display().to_string()), "{stderr}");
    }
}

#[test]
fn a_secret_is_in_no_error() {
    let home = Home::new();
    home.write("requirepass hush more\n");
    let output = home.launch().run_to_end();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(!stderr.contains("hush"), "{stderr}");
}

#[test]
fn rewrite_changes_what_changed_and_nothing_else() {
    let home = Home::new();
    let before = "# The shop's cache.\nmemory-only yes\n\n   maxmemory   100mb\n# how long\ntimeout 0\nMAXCLIENTS 50\n\
                  save 900 1\nsave 300 10\n# names as they were once\nslave-read-only yes\nrdbcompression yes\n\
                  client-output-buffer-limit pubsub 32mb 8mb 60\n\nmaxmemory-policy allkeys-lru\n# the end";
    home.write(before);
    fs::set_permissions(home.file(), fs::Permissions::from_mode(0o640)).expect("its permissions");
    let server = home.start();
    let mut wire = server.connect();
    wire.ask("CONFIG REWRITE", "+OK\r\n");
    assert_eq!(home.text(), before, "nothing had changed");
    for words in [
        &["maxclients", "60", "timeout", "9", "save", "60 1000"][..],
        &["slave-read-only", "no", "appendonly", "no"],
        &["client-output-buffer-limit", "normal 1mb 1mb 5"],
        &["requirepass", "two \"words\""],
        &["slowlog-max-len", "7"],
        // There and back.
        &["slowlog-log-slower-than", "1"],
        &["slowlog-log-slower-than", "10000"],
    ] {
        ask(&mut wire, &[&["CONFIG", "SET"], words].concat(), "+OK\r\n");
    }
    wire.ask("CONFIG REWRITE", "+OK\r\n");
    let after = "# The shop's cache.\nmemory-only yes\n\n   maxmemory   100mb\n# how long\ntimeout 9\nmaxclients 60\n\
                 save 60 1000\n# names as they were once\nreplica-read-only no\nrdbcompression yes\n\
                 client-output-buffer-limit normal 1048576 1048576 5\nclient-output-buffer-limit slave 0 0 0\n\
                 client-output-buffer-limit pubsub 33554432 8388608 60\n\nmaxmemory-policy allkeys-lru\n# the end\n\
                 # Generated by CONFIG REWRITE\nrequirepass \"two \\\"words\\\"\"\nslowlog-max-len 7\n";
    assert_eq!(home.text(), after);
    let mode = fs::metadata(home.file()).expect("the file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "it holds a password now");
    assert_eq!(fs::read_dir(home.0.path()).expect("the directory").count(), 1, "nothing is left beside it");

    wire.ask("CONFIG REWRITE", "+OK\r\n");
    assert_eq!(home.text(), after, "rewritten twice");
    ask(&mut wire, &["CONFIG", "SET", "save", "", "requirepass", ""], "+OK\r\n");
    wire.ask("CONFIG REWRITE", "+OK\r\n");
    assert_eq!(home.text(), after.replace("save 60 1000", "save \"\"").replace("\"two \\\"words\\\"\"", "\"\""));
}

#[test]
fn a_start_from_what_was_rewritten_is_as_before() {
    let home = Home::new();
    home.write("user alice on >wonderland ~a:* +get\nmemory-only yes\n");
    let server = home.start();
    let mut wire = server.connect();
    wire.ask("CONFIG REWRITE", "+OK\r\n");
    assert_eq!(home.text(), "user alice on >wonderland ~a:* +get\nmemory-only yes\n", "that is still true");
    for (name, value) in SET {
        ask(&mut wire, &["CONFIG", "SET", name, value], "+OK\r\n");
    }
    ask(&mut wire, &["ACL", "SETUSER", "alice", "+set", "%R~b"], "+OK\r\n");
    ask(&mut wire, &["ACL", "SETUSER", "bob", "on", "nopass", "+@all", "(~x +get)"], "+OK\r\n");
    let shown = wire.try_command(&["CONFIG", "GET", "*"]).expect("a reply");
    let users = wire.try_command(&["ACL", "LIST"]).expect("a reply");
    wire.ask("CONFIG REWRITE", "+OK\r\n");
    assert!(!home.text().contains("wonderland"), "a password is written as its hash:\n{}", home.text());
    server.kill();

    let server = home.start();
    let mut wire = server.connect();
    assert_eq!(wire.try_command(&["ACL", "LIST"]).expect("a reply"), users);
    let again = wire.try_command(&["CONFIG", "GET", "*"]).expect("a reply");
    let without_port = |reply: &[u8]| {
        let text = String::from_utf8_lossy(reply).into_owned();
        let mut lines: Vec<String> = text.split("\r\n").map(str::to_owned).collect();
        let at = lines.iter().position(|line| line == "port").expect("the port");
        lines.drain(at..at + 3);
        lines
    };
    assert_eq!(without_port(&again), without_port(&shown));
    ask(&mut wire, &["AUTH", "alice", "wonderland"], "+OK\r\n");
}

/// One of each kind of parameter, and the difficult ones.
const SET: [(&str, &str); 26] = [
    ("maxmemory", "1gb"),
    ("maxmemory-policy", "volatile-ttl"),
    ("maxmemory-clients", "5%"),
    ("notify-keyspace-events", "Kx$"),
    ("latency-monitor-threshold", "25"),
    ("latency-tracking", "no"),
    ("slowlog-log-slower-than", "-1"),
    ("timeout", "100"),
    ("tcp-keepalive", "10"),
    ("proto-max-bulk-len", "2mb"),
    ("client-query-buffer-limit", "3mb"),
    ("proto-max-multibulk-len", "1000"),
    ("proto-max-inline-len", "4kb"),
    ("line-max-len", "2mb"),
    ("tracking-table-max-keys", "12"),
    ("acllog-max-len", "9"),
    ("acl-pubsub-default", "allchannels"),
    ("masterauth", " # \t'\"\\\u{e9}\u{1}"),
    ("lua-time-limit", "77"),
    ("save", "10 20 30 40"),
    ("client-output-buffer-limit", "pubsub 5 4 3"),
    ("loglevel", "debug"),
    ("hz", "600"),
    ("latency-tracking-info-percentiles", "50 99.99"),
    ("oom-score-adj-values", "1 2 3"),
    ("rdbcompression", "no"),
];

/// A word for a name or a pattern: with all that a line of a file might take for something else.
fn odd_word(dice: &mut Dice) -> Vec<u8> {
    const PARTS: [&[u8]; 16] = [
        b"\"",
        b"'",
        b"\\",
        b"*",
        b"#",
        b"a",
        b"(",
        b"~",
        b"&",
        b"\\x41",
        b"\xff",
        b"\x01",
        b"\xc3\xa9",
        b"|",
        b"%",
        b">",
    ];
    (0..=dice.below(4)).flat_map(|_| dice.pick(&PARTS).to_vec()).collect()
}

/// A rule that ACL SETUSER may take.
fn odd_rule(dice: &mut Dice) -> Vec<u8> {
    const PLAIN: [&[u8]; 22] = [
        b"on",
        b"off",
        b"nopass",
        b"resetpass",
        b"allkeys",
        b"resetkeys",
        b"allchannels",
        b"resetchannels",
        b"+@all",
        b"-@all",
        b"+@read",
        b"-@dangerous",
        b"+get",
        b"-set",
        b"+client|id",
        b"-client|kill",
        b"+config|get",
        b"-flushdb",
        b"+flush",
        b"skip-sanitize-payload",
        b"clearselectors",
        b"-@pubsub",
    ];
    const SIGNS: [&[u8]; 8] = [b"~", b"%R~", b"%W~", b"&", b">", b"+select|", b"+get|", b"<"];
    let (sign, word) = (dice.pick(&SIGNS).to_vec(), odd_word(dice));
    match dice.below(6) {
        0 | 1 => dice.pick(&PLAIN).to_vec(),
        2 => [b"(", &*sign, &*word, b" +set -get ~x)"].concat(),
        _ => [sign, word].concat(),
    }
}

#[test]
fn any_users_and_passwords_survive_rewrite_and_restart_and_save_and_load() {
    let mut dice = Dice::new(12);
    for round in 0..12 {
        let with_file = round % 2 == 1;
        let home = Home::new();
        home.write("memory-only yes\n");
        let users = home.0.path().join("users.acl");
        fs::write(&users, "").expect("a file of users");
        let flag = ["--acl-file", users.to_str().expect("a path in UTF-8")];
        let start = || home.launch().arguments(flag.into_iter().filter(|_| with_file)).start();
        let seen = |wire: &mut Wire| {
            [&["ACL", "LIST"][..], &["CONFIG", "GET", "*auth"], &["CONFIG", "GET", "requirepass"]]
                .map(|words| wire.try_command(words).expect("a reply").escape_ascii().to_string())
        };
        let server = start();
        let mut wire = server.connect();
        let mut taken = 0;
        for _ in 0..30 {
            // What is refused has changed nothing.
            let mut words = vec![b"ACL".to_vec(), b"SETUSER".to_vec(), odd_word(&mut dice)];
            words.extend((0..dice.below(5)).map(|_| odd_rule(&mut dice)));
            taken += usize::from(wire.try_command(&words).expect("a reply") == b"+OK\r\n");
        }
        assert!(taken > 10, "{taken}");
        let password: Vec<u8> = odd_word(&mut dice).iter().map(|byte| byte & 0x7f).collect();
        for name in ["masterauth", "requirepass"] {
            let words = [&b"CONFIG"[..], b"SET", name.as_bytes(), &*password];
            assert_eq!(wire.try_command(&words).expect("a reply"), b"+OK\r\n", "{}", password.escape_ascii());
        }
        let login = [&b"AUTH"[..], &*password];
        wire.try_command(&login).expect("a reply");
        let before = seen(&mut wire);
        wire.ask("CONFIG REWRITE", "+OK\r\n");
        if with_file {
            wire.ask("ACL SAVE", "+OK\r\n");
            wire.ask("ACL LOAD", "+OK\r\n");
            assert_eq!(seen(&mut wire), before, "round {round}");
        }
        server.kill();
        let server = start();
        let mut wire = server.connect();
        assert_eq!(wire.try_command(&login).expect("a reply"), b"+OK\r\n", "round {round}");
        assert_eq!(seen(&mut wire), before, "round {round}");
    }
}

#[test]
fn a_file_that_gets_a_password_is_its_owners_alone() {
    let mode = |home: &Home| fs::metadata(home.file()).expect("the file").permissions().mode() & 0o777;
    for (words, narrowed) in [
        (&["CONFIG", "SET", "requirepass", "pw"][..], 0o600),
        (&["CONFIG", "SET", "masterauth", "pw"], 0o600),
        (&["ACL", "SETUSER", "eve", "on", ">pw"], 0o600),
        (&["CONFIG", "SET", "timeout", "9"], 0o644),
    ] {
        let home = Home::new();
        home.write("memory-only yes\n");
        fs::set_permissions(home.file(), fs::Permissions::from_mode(0o644)).expect("its permissions");
        let mut server = home.start();
        let mut wire = server.connect();
        ask(&mut wire, words, "+OK\r\n");
        wire.try_command(&["AUTH", "pw"]).expect("a reply");
        wire.ask("CONFIG REWRITE", "+OK\r\n");
        assert_eq!(mode(&home), narrowed, "{words:?}");
        // Another time too, with nothing to write.
        fs::set_permissions(home.file(), fs::Permissions::from_mode(0o644)).expect("its permissions");
        wire.ask("CONFIG REWRITE", "+OK\r\n");
        assert_eq!(mode(&home), narrowed, "{words:?}");
        server.terminate();
        assert_eq!(server.log().contains("its permissions were 0644 and are now 0600"), narrowed == 0o600);
    }
}

#[test]
fn passwords_that_others_can_read_are_warned_of_at_start() {
    let warning = "can be read by others";
    for (text, mode, warned) in [
        ("requirepass pw\nmemory-only yes\n", 0o644, true),
        ("user eve on >pw\nmemory-only yes\n", 0o640, true),
        ("requirepass pw\nmemory-only yes\n", 0o600, false),
        ("requirepass \"\"\nmemory-only yes\n", 0o644, false),
    ] {
        let home = Home::new();
        home.write(text);
        fs::set_permissions(home.file(), fs::Permissions::from_mode(mode)).expect("its permissions");
        let mut server = home.start();
        server.terminate();
        assert_eq!(server.log().contains(warning), warned, "{text} {mode:o}");
    }
    let home = Home::new();
    home.write("memory-only yes\n");
    let mut server = home.launch().arguments(["--requirepass", "pw"]).start();
    server.terminate();
    let log = server.log();
    for words in ["--requirepass", "--requirepass-file", "KVSERVER_REQUIREPASS"] {
        assert!(log.contains(words), "{words}: {log}");
    }
}

#[test]
fn without_a_file_or_without_a_place_for_it_rewrite_says_so() {
    let server = Launch::bare(server_program!()).arguments(["--memory-only"]).resp().start();
    let mut wire = server.connect();
    wire.ask("CONFIG REWRITE", "-ERR The server is running without a config file\r\n");
    assert!(wire.text("INFO server").contains("\r\nconfig_file:\r\n"));

    let home = Home::new();
    let below = home.0.path().join("below");
    fs::create_dir(&below).expect("a directory");
    fs::write(below.join("kv.conf"), "memory-only yes\n").expect("the file");
    let path = below.join("kv.conf").display().to_string();
    let server = Launch::bare(server_program!()).arguments(["--config", &path]).resp().start();
    let mut wire = server.connect();
    wire.ask("CONFIG SET timeout 9", "+OK\r\n");
    fs::remove_dir_all(&below).expect("the directory");
    ask(&mut wire, &["CONFIG", "REWRITE"], "-ERR Rewriting config file: No such file or directory (os error 2)\r\n");
    wire.ask("PING", "+PONG\r\n");
    // The directory is back: so is the file.
    fs::create_dir(&below).expect("a directory");
    wire.ask("CONFIG REWRITE", "+OK\r\n");
    assert_eq!(fs::read_to_string(&path).expect("the file"), "# Generated by CONFIG REWRITE\ntimeout 9\n");
    // What it has become meanwhile is not understood: it stays.
    fs::write(&path, "timeout \"9\n").expect("the file");
    let reply = String::from_utf8(wire.try_command(&["CONFIG", "REWRITE"]).expect("a reply")).expect("text");
    assert_eq!(reply, format!("-ERR Rewriting config file: {path}:1: unbalanced quotes\r\n"));
    assert_eq!(fs::read_to_string(&path).expect("the file"), "timeout \"9\n");
}

#[test]
fn a_link_to_a_file_stays_one() {
    let home = Home::new();
    let target = home.0.path().join("kept.conf");
    fs::write(&target, "memory-only yes\n").expect("the file");
    symlink(&target, home.file()).expect("a link");
    let server = home.start();
    let mut wire = server.connect();
    wire.ask("CONFIG SET timeout 9", "+OK\r\n");
    wire.ask("CONFIG REWRITE", "+OK\r\n");
    assert!(fs::symlink_metadata(home.file()).expect("the link").is_symlink());
    assert_eq!(
        fs::read_to_string(&target).expect("the file"),
        "memory-only yes\n# Generated by CONFIG REWRITE\ntimeout 9\n"
    );
}

/// Killed at any moment, the server leaves the old file or the new one.
#[test]
fn a_kill_leaves_a_whole_file() {
    let home = Home::new();
    let long = "#".repeat(60_000);
    home.write(&format!("{long}\nmemory-only yes\ntimeout 1\n{long}\n"));
    for _ in 0..5 {
        let server = home.start();
        let mut wire = server.connect();
        let writer = std::thread::spawn(move || {
            for timeout in (2..).map(|number: u32| number.to_string()) {
                let set = wire.try_command(&["CONFIG", "SET", "timeout", &timeout]);
                match set.and_then(|_| wire.try_command(&["CONFIG", "REWRITE"])) {
                    Ok(reply) => assert_eq!(reply, b"+OK\r\n"),
                    Err(_) => break,
                }
            }
        });
        wait::until_true("some rewriting", || !home.text().contains("\ntimeout 1\n"));
        server.kill();
        writer.join().expect("the writer");
        let text = home.text();
        assert!(text.starts_with(&long) && text.ends_with(&format!("{long}\n")), "{} bytes", text.len());
        assert_eq!(text.lines().count(), 4);
        home.write(&format!("{long}\nmemory-only yes\ntimeout 1\n{long}\n"));
    }
}

#[test]
fn users_of_a_file_of_their_own_are_not_in_this_one() {
    let home = Home::new();
    let users = home.0.path().join("users.acl");
    fs::write(&users, "user default on nopass ~* &* +@all\n").expect("a file");
    home.write("memory-only yes\naclfile users.acl\n");
    let server = home.start();
    let mut wire = server.connect();
    wire.ask("ACL SETUSER carol on nopass +get", "+OK\r\n");
    wire.ask("CONFIG REWRITE", "+OK\r\n");
    assert_eq!(home.text(), "memory-only yes\naclfile users.acl\n");
    drop(server);
    home.write("memory-only yes\naclfile users.acl\nuser alice on\n");
    let output = home.launch().run_to_end();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr.contains("kv.conf:3: 'user'"), "{stderr}");
}

/// As in Redis, which goes to its directory before it opens anything.
#[test]
fn other_files_are_named_from_the_directory_that_was_told() {
    let home = Home::new();
    let data = home.0.path().join("data");
    fs::create_dir(&data).expect("a directory");
    fs::write(data.join("users.acl"), "user default on nopass ~* &* +@all\nuser dora on nopass +get\n")
        .expect("a file");
    for (lines, flags) in [
        ("aclfile users.acl\nunixsocket kv.sock\ndir data\n", &[][..]),
        ("dir elsewhere\naclfile users.acl\nunixsocket kv.sock\n", &["--dir", "data"][..]),
    ] {
        home.write(lines);
        let mut server = home.launch().arguments(flags.iter().copied()).start();
        let mut wire = server.connect();
        wire.ask("AUTH dora any", "+OK\r\n");
        // The flag that says where to listen wins over the socket.
        assert!(server.terminate().success());
        let alone = Launch::bare(server_program!()).working_dir(home.0.path()).arguments(["--config", "kv.conf"]);
        let mut server = alone.arguments(flags.iter().copied()).start();
        assert!(server.startup_log().contains(&format!("unix://{}", data.join("kv.sock").display())));
        assert!(server.terminate().success());
    }
}

#[test]
fn the_log_says_as_much_as_it_was_told_to() {
    /// Whether a change is logged at `level`.
    fn is_logged(server: &ServerProcess, wire: &mut Wire, level: &str, value: &str) -> bool {
        wire.ask(&format!("CONFIG SET loglevel {level}"), "+OK\r\n");
        wire.ask(&format!("CONFIG SET timeout {value}"), "+OK\r\n");
        wire.ask("CONFIG SET loglevel notice", "+OK\r\n");
        wire.ask(&format!("CONFIG SET tcp-keepalive {value}"), "+OK\r\n");
        let has = |name: &str| {
            let words = [format!("\"{name}\""), format!("new=\"{value}\"")];
            server.log().lines().any(|line| words.iter().all(|word| line.contains(word)))
        };
        // The log is in order, so when the second has come, so has the first.
        wait::until_true("what comes after it", || has("tcp-keepalive"));
        has("timeout")
    }
    let server = Launch::bare(server_program!()).arguments(["--memory-only"]).resp().start();
    let mut wire = server.connect();
    assert!(is_logged(&server, &mut wire, "notice", "101"), "{}", server.log());
    assert!(!is_logged(&server, &mut wire, "warning", "102"), "{}", server.log());
    assert!(is_logged(&server, &mut wire, "debug", "103"), "{}", server.log());
    assert!(!is_logged(&server, &mut wire, "nothing", "104"), "{}", server.log());
    assert_eq!(get(&mut wire, "loglevel"), "notice");
}

/// The promise changes under writers, who all go on; what was answered before `always` is, or after it, survives a kill.
#[test]
fn the_promise_of_replies_changes_while_clients_write() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    let home = Home::new();
    home.write("appendfsync no\ndir data\nsave \"\"\n");
    for round in 0..3 {
        let server = home.launch().arguments(["--loops", "2"]).start();
        let over = Arc::new(AtomicBool::new(false));
        let mut writers = Vec::new();
        for writer in 0..3 {
            let (mut wire, over) = (server.connect(), over.clone());
            let answered = Arc::new(AtomicU64::new(0));
            let told = answered.clone();
            let handle = std::thread::spawn(move || {
                for number in 1..u64::MAX {
                    let key = format!("{round}:{writer}");
                    match wire.try_command(&["SET", &key, &number.to_string()]) {
                        Ok(reply) => assert_eq!(reply, b"+OK\r\n"),
                        Err(_) if over.load(Ordering::SeqCst) => return,
                        Err(error) => panic!("{error}"),
                    }
                    told.store(number, Ordering::SeqCst);
                }
            });
            writers.push((handle, answered));
        }
        let mut wire = server.connect();
        for level in ["always", "everysec", "always", "no", "everysec", "always"] {
            ask(&mut wire, &["CONFIG", "SET", "appendfsync", level], "+OK\r\n");
            assert_eq!(get(&mut wire, "appendfsync"), level);
            let before: Vec<u64> = writers.iter().map(|(_, answered)| answered.load(Ordering::SeqCst)).collect();
            wait::until_true("every writer to go on", || {
                writers.iter().zip(&before).all(|((_, answered), before)| answered.load(Ordering::SeqCst) > before + 20)
            });
        }
        over.store(true, Ordering::SeqCst);
        server.kill();
        let mut answered = Vec::new();
        for (handle, told) in writers {
            handle.join().expect("a writer");
            answered.push(told.load(Ordering::SeqCst));
        }
        let server = home.start();
        let mut wire = server.connect();
        for (writer, answered) in answered.into_iter().enumerate() {
            let kept: u64 = wire.text(&format!("GET {round}:{writer}")).parse().expect("a number");
            assert!(kept == answered || kept == answered + 1, "{answered} was answered, {kept} is there");
        }
        // What was answered under a weaker promise is safe once `always` is answered.
        ask(&mut wire, &["CONFIG", "SET", "appendfsync", "no"], "+OK\r\n");
        let keys: Vec<String> = (0..500).map(|number| format!("{round}:many:{number}")).collect();
        for key in &keys {
            ask(&mut wire, &["SET", key, "v"], "+OK\r\n");
        }
        ask(&mut wire, &["CONFIG", "SET", "timeout", "0", "appendfsync", "always"], "+OK\r\n");
        server.kill();
        let server = home.start();
        let mut wire = server.connect();
        for key in &keys {
            ask(&mut wire, &["GET", key], "$1\r\nv\r\n");
        }
    }
}
