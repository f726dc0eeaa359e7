//! Users: logging in, what each may do, and what becomes of connections when users change.

#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;

use kvtests::process::{Launch, ServerProcess};
use kvtests::server_program;
use kvtests::wait;
use kvtests::wire::{Wire, bulk};
use tempfile::TempDir;

fn launch() -> Launch {
    Launch::bare(server_program!()).arguments(["--memory-only", "--loops", "2"]).resp()
}

fn start() -> ServerProcess {
    launch().start()
}

const NOAUTH: &str = "-NOAUTH Authentication required.\r\n";
const WRONGPASS: &str = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";
const NOKEY: &str = "-NOPERM this user has no permissions to access one of the keys used as arguments\r\n";
const NOCHANNEL: &str = "-NOPERM this user has no permissions to access one of the channels used as arguments\r\n";

fn nocommand(user: &str, command: &str) -> String {
    format!("-NOPERM User {user} has no permissions to run the '{command}' command\r\n")
}

#[test]
fn with_a_password_nothing_is_done_before_it_was_given() {
    for flags in [&["--requirepass", "foobared"][..], &["--requirepass-file", "password"]] {
        let home = TempDir::new().expect("a temporary directory");
        fs::write(home.path().join("password"), "foobared\nanything else\n").expect("a file");
        let server = launch().working_dir(home.path()).arguments(flags.iter().copied()).start();
        let mut wire = server.connect();
        wire.ask("PING", NOAUTH);
        wire.ask("GET k", NOAUTH);
        wire.ask("MULTI", NOAUTH);
        wire.ask("ACL WHOAMI", NOAUTH);
        wire.ask("SUBSCRIBE c", NOAUTH);
        assert!(String::from_utf8_lossy(&wire.command("HELLO 3")).starts_with("-NOAUTH HELLO must be called"));
        wire.ask("AUTH wrong", WRONGPASS);
        wire.ask("AUTH default wrong", WRONGPASS);
        wire.ask("AUTH nobody foobared", WRONGPASS);
        wire.ask("AUTH a b c", "-ERR syntax error\r\n");
        wire.ask("AUTH foobared", "+OK\r\n");
        wire.ask("PING", "+PONG\r\n");
        wire.ask("RESET", "+RESET\r\n");
        wire.ask("PING", NOAUTH);
        assert!(wire.command("HELLO 3 AUTH default foobared").starts_with(b"%7\r\n"));
        wire.ask("PING", "+PONG\r\n");
        wire.ask("CONFIG SET requirepass other", "+OK\r\n");
        wire.ask("PING", "+PONG\r\n");
        let mut second = server.connect();
        second.ask("AUTH foobared", WRONGPASS);
        second.ask("AUTH other", "+OK\r\n");
        second.try_command(&["CONFIG", "SET", "requirepass", ""]).expect("a reply");
        server.connect().ask("PING", "+PONG\r\n");
    }
}

#[test]
fn who_does_not_log_in_is_closed() {
    let server = launch().arguments(["--login-timeout", "70"]).start();
    let (mut early, mut admin) = (server.connect(), server.connect());
    // Accepted while no password is needed.
    early.ask("PING", "+PONG\r\n");
    admin.ask("CONFIG GET login-timeout", "*2\r\n$13\r\nlogin-timeout\r\n$2\r\n70\r\n");
    admin.ask("CONFIG SET requirepass pw", "+OK\r\n");
    let mut known = server.connect();
    known.ask("AUTH pw", "+OK\r\n");
    let (mut silent, mut busy) = (server.connect(), server.connect());
    busy.ask("PING", NOAUTH);
    admin.ask("CONFIG SET login-timeout 1", "+OK\r\n");
    // It is refused for as long as it is there: asking is not logging in.
    wait::until_true("the end of a connection that does not log in", || {
        !busy.try_command(&["PING"]).is_ok_and(|reply| reply == NOAUTH.as_bytes())
    });
    silent.expect_closed();
    for wire in [&mut early, &mut known, &mut admin] {
        wire.ask("PING", "+PONG\r\n");
    }
}

#[test]
fn the_line_protocol_asks_for_the_password_too() {
    let server = launch().line("plain").arguments(["--requirepass", "foobared"]).start();
    let mut wire = Wire::connect(server.address(1));
    for (line, reply) in [
        ("GET k", "ERR NOAUTH Authentication required.\n"),
        ("AUTH foobared", "OK\n"),
        ("SET k v", "OK\n"),
        ("GET k", "v\n"),
    ] {
        wire.send(format!("{line}\n"));
        let got = String::from_utf8_lossy(&wire.line()).into_owned();
        assert!(got.trim_end().ends_with(reply.trim_start_matches("ERR ").trim_end()), "{line}: {got}");
    }
}

#[test]
fn what_a_stranger_may_send_is_bounded() {
    let server = launch().arguments(["--requirepass", "foobared"]).start();
    for (sent, error) in [
        ("*11\r\n".to_owned(), "-ERR Protocol error: unauthenticated multibulk length\r\n"),
        ("*1\r\n$16385\r\n".to_owned(), "-ERR Protocol error: unauthenticated bulk length\r\n"),
    ] {
        let mut wire = server.connect();
        wire.send(&sent);
        wire.expect(error);
        wire.expect_closed();
        let mut wire = server.connect();
        wire.ask("AUTH foobared", "+OK\r\n");
        wire.send(&sent);
        wire.send("$4\r\nPING\r\n");
        // Refused, it would be closed by now with an error in between.
        let mut other = server.connect();
        other.ask("AUTH foobared", "+OK\r\n");
    }
    // The pipeline of one packet: the limits rise with the login.
    let mut wire = server.connect();
    let words: String = (0..20).map(|_| "$1\r\nk\r\n").collect();
    wire.send(format!("*2\r\n$4\r\nAUTH\r\n$8\r\nfoobared\r\n*21\r\n$3\r\nDEL\r\n{words}"));
    wire.expect("+OK\r\n:0\r\n");
}

#[test]
fn a_user_does_what_its_rules_permit_and_the_log_tells_of_the_rest() {
    let server = start();
    let mut admin = server.connect();
    let mut user = server.connect();
    admin.ask("ACL SETUSER alice on >secret +@read +set +publish +multi +exec +select|0 ~a:* %R~b &news:*", "+OK\r\n");
    user.ask("AUTH alice wrong", WRONGPASS);
    user.ask("AUTH alice secret", "+OK\r\n");
    user.ask("SET a:1 v", "+OK\r\n");
    user.ask("GET b", "$-1\r\n");
    user.ask("SET b v", NOKEY);
    user.ask("MGET a:1 c", NOKEY);
    user.ask("INCR a:1", nocommand("alice", "incr"));
    user.ask("CLIENT LIST", nocommand("alice", "client|list"));
    user.ask("CONFIG HELP", nocommand("alice", "config|help"));
    user.ask("SELECT 0", "+OK\r\n");
    user.ask("SELECT 1", nocommand("alice", "select"));
    user.ask("PUBLISH news:1 x", ":0\r\n");
    user.ask("PUBLISH other x", NOCHANNEL);
    user.ask("MULTI", "+OK\r\n");
    user.ask("SET b v", NOKEY);
    user.ask("EXEC", "-EXECABORT Transaction discarded because of previous errors.\r\n");
    let log = String::from_utf8_lossy(&admin.command("ACL LOG 100")).into_owned();
    for object in ["AUTH", "incr", "client|list", "config|help", "select", "other", "b", "c", "multi"] {
        let item = String::from_utf8(bulk(object)).expect("text");
        assert!(log.contains(&item), "{object} is not in {log}");
    }
    let info = admin.text("INFO stats");
    for count in ["auth:1", "cmd:4", "key:3", "channel:1"] {
        assert!(info.contains(&format!("acl_access_denied_{count}\r\n")), "{count} is not in {info}");
    }
    admin.ask("ACL LOG RESET", "+OK\r\n");
    admin.ask("ACL LOG", "*0\r\n");
}

#[test]
fn changed_rules_reach_connections_of_every_loop_at_once() {
    let server = start();
    let mut admin = server.connect();
    admin.ask("ACL SETUSER alice on nopass ~* +@all", "+OK\r\n");
    // Connections are handed to the loops in turn.
    let mut users: Vec<Wire> = (0..4).map(|_| server.connect()).collect();
    for user in &mut users {
        user.ask("AUTH alice x", "+OK\r\n");
        user.ask("INCR n", format!(":{}\r\n", 1));
        user.ask("DEL n", ":1\r\n");
        user.ask("MULTI", "+OK\r\n");
        user.ask("INCR n", "+QUEUED\r\n");
    }
    admin.ask("ACL SETUSER alice -incr", "+OK\r\n");
    for user in &mut users {
        user.ask(
            "EXEC",
            "*1\r\n-NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This \
             command is no longer allowed for the following reason: no permission to execute the command or subcommand\r\n",
        );
        user.ask("INCR n", nocommand("alice", "incr"));
    }
    // The user everybody is, too.
    admin.ask("SET k v", "+OK\r\n");
    let mut other = server.connect();
    other.ask("GET k", bulk("v"));
    admin.ask("ACL SETUSER default -get", "+OK\r\n");
    other.ask("GET k", nocommand("default", "get"));
    admin.ask("ACL SETUSER default +get", "+OK\r\n");
    other.ask("GET k", bulk("v"));
}

#[test]
fn a_removed_user_is_disconnected_and_so_is_who_may_not_listen_any_more() {
    let server = start();
    let mut admin = server.connect();
    admin.ask("ACL SETUSER alice on nopass +@all &*", "+OK\r\n");
    let mut users: Vec<Wire> = (0..4).map(|_| server.connect()).collect();
    for user in &mut users {
        user.ask("AUTH alice x", "+OK\r\n");
        user.ask("CLIENT SETNAME condemned", "+OK\r\n");
    }
    users[0].ask("ACL DELUSER alice nobody", ":1\r\n");
    let left = admin.text("CLIENT LIST").matches("user=alice").count();
    assert!(left <= 1, "all but the one that was answered are gone from the list at once, not {left}");
    for user in &mut users {
        user.expect_closed();
    }
    admin.ask("PING", "+PONG\r\n");

    for (subscribe, kept, lost) in [
        ("SUBSCRIBE news", "&news", "&other"),
        ("SUBSCRIBE news", "&n*", "&o*"),
        ("PSUBSCRIBE n*", "&n*", "&news"),
        ("SSUBSCRIBE news", "&news", "&other"),
    ] {
        admin.ask("ACL SETUSER bob reset on nopass +@all &*", "+OK\r\n");
        let mut listener = server.connect();
        listener.ask("AUTH bob x", "+OK\r\n");
        listener.command(subscribe);
        admin.ask(&format!("ACL SETUSER bob resetchannels {kept}"), "+OK\r\n");
        assert!(admin.text("CLIENT LIST").contains("user=bob"));
        if !subscribe.starts_with("SS") {
            admin.ask("PUBLISH news hello", ":1\r\n");
            // It is let go at once, whatever is on its way to it.
            listener.reply();
        }
        admin.ask(&format!("ACL SETUSER bob resetchannels {lost}"), "+OK\r\n");
        assert!(!admin.text("CLIENT LIST").contains("user=bob"));
        listener.expect_closed();
    }
}

#[test]
fn users_are_kept_in_a_file() {
    let home = TempDir::new().expect("a temporary directory");
    let file = home.path().join("users.acl");
    fs::write(&file, "user default on nopass ~* &* +@all\nuser alice on >secret ~a:* +get\n").expect("a file");
    let path = file.display().to_string();
    let server = launch().arguments(["--acl-file", &path]).start();
    let mut admin = server.connect();
    let mut alice = server.connect();
    alice.ask("AUTH alice secret", "+OK\r\n");
    alice.ask("GET a:1", "$-1\r\n");
    admin.ask("ACL SETUSER bob on >builder (+set ~b)", "+OK\r\n");
    admin.ask("ACL SAVE", "+OK\r\n");
    let saved = fs::read_to_string(&file).expect("the file");
    assert_eq!(saved.lines().count(), 3, "{saved}");
    assert!(!saved.contains("secret") && !saved.contains("builder"), "{saved}");
    admin.ask("ACL DELUSER bob", ":1\r\n");
    admin.ask("ACL LOAD", "+OK\r\n");
    // Another thread has carried it out.
    let stats = admin.text("INFO commandstats");
    assert!(stats.contains("cmdstat_acl|load:calls=1,") && !stats.contains("cmdstat_acl:"), "{stats}");
    alice.expect_closed();
    let mut bob = server.connect();
    bob.ask("AUTH bob builder", "+OK\r\n");
    bob.ask("SET b 1", "+OK\r\n");
    bob.ask("GET b", nocommand("bob", "get"));
    // One who is not `default` reloads: the answer comes first.
    admin.ask("ACL SETUSER carol on nopass +@all", "+OK\r\n");
    let mut carol = server.connect();
    carol.ask("AUTH carol x", "+OK\r\n");
    carol.ask("ACL LOAD", "+OK\r\n");
    carol.expect_closed();

    fs::write(&file, "user default on nopass +@all\nuser alice nonsense\n").expect("a file");
    let error = String::from_utf8_lossy(&admin.command("ACL LOAD")).into_owned();
    assert!(error.contains(&format!("{path}:2: Syntax error. WARNING: ACL errors detected")), "{error}");
    bob.expect_closed();
    admin.ask("ACL USERS", [b"*3\r\n".to_vec(), bulk("alice"), bulk("bob"), bulk("default")].concat());

    let refused = launch().arguments(["--acl-file", &path]).run_to_end();
    let stderr = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(1) && stderr.contains("Syntax error"), "{stderr}");
}

/// Names that are not UTF-8 were shown with U+FFFD in the place of what they have.
#[test]
fn a_user_is_shown_by_the_bytes_of_its_name() {
    let home = TempDir::new().expect("a temporary directory");
    let file = home.path().join("users.acl");
    fs::write(&file, b"user default on nopass ~* &* +@all\nuser \xff\xfe on nopass +@all -get\n").expect("a file");
    let path = file.display().to_string();
    let server = launch().arguments(["--acl-file", &path]).start();
    let mut wire = server.connect();
    let mut ask = |words: &[&[u8]]| wire.try_command(words).expect("a reply");
    let holds = |reply: &[u8], part: &[u8]| reply.windows(part.len()).any(|window| window == part);
    assert_eq!(ask(&[b"AUTH", b"\xff\xfe", b"x"]), b"+OK\r\n");
    for request in ["INFO", "LIST"] {
        let shown = ask(&[b"CLIENT", request.as_bytes()]);
        assert!(holds(&shown, b" user=\xff\xfe redir="), "{}", shown.escape_ascii());
    }
    let shown = ask(&[b"CLIENT", b"LIST", b"USER", b"\xff\xfe"]);
    assert!(holds(&shown, b" user=\xff\xfe redir="), "{}", shown.escape_ascii());
    ask(&[b"GET", b"k"]);
    let logged = ask(&[b"ACL", b"LOG"]);
    assert!(holds(&logged, b" user=\xff\xfe redir="), "{}", logged.escape_ascii());

    for (line, error) in [
        (&b"user \xff\xfe +\xfc"[..], &b"Error in applying operation '+\xfc'"[..]),
        (b"user \xff\nuser \xff", b"Duplicate user '\xff' found on line 2"),
        (b"user a\xff\x0bb", b"username 'a\xff"),
    ] {
        fs::write(&file, line).expect("a file");
        let refused = ask(&[b"ACL", b"LOAD"]);
        assert!(refused.starts_with(b"-ERR ") && holds(&refused, error), "{}", refused.escape_ascii());
    }
    assert_eq!(ask(&[b"CLIENT", b"KILL", b"USER", b"\xff\xfe", b"SKIPME", b"no"]), b":1\r\n");
}

#[test]
fn a_password_opens_the_way_to_other_addresses() {
    let exposed = |flags: &[&str]| {
        let launch = Launch::bare(server_program!()).arguments(["--memory-only", "--listen", "resp://0.0.0.0:0"]);
        launch.arguments(flags.iter().copied())
    };
    let refused = exposed(&[]).run_to_end();
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--requirepass-file"));
    let mut server = exposed(&["--requirepass", "foobared"]).start_without_waiting();
    server.startup_log();
}

#[test]
fn a_password_file_without_a_password_is_refused() {
    let home = TempDir::new().expect("a temporary directory");
    let run = |path: &Path| launch().arguments(["--requirepass-file", &path.display().to_string()]).run_to_end();
    let empty = home.path().join("empty");
    fs::write(&empty, "\nfoobared\n").expect("a file");
    for path in [&empty, &home.path().join("absent")] {
        assert_eq!(run(path).status.code(), Some(1));
    }
}

/// A selector or a pattern that permits nothing brought Redis down when it was shown. Here it is no rule.
#[test]
fn cve_2024_31227_a_malformed_selector_is_refused() {
    let server = start();
    let mut wire = server.connect();
    for rule in ["%~x", "%", "%~", "(%~x)", "(%)", "(", "(()", "( ( ) )", "(~a", "%R", "%W", "(%R)"] {
        let reply = wire.command(&format!("ACL SETUSER x {rule}"));
        assert!(reply.starts_with(b"-ERR "), "{rule}");
        wire.ask("ACL GETUSER x", "$-1\r\n");
    }
    wire.ask("ACL SETUSER x () )", "-ERR Error in ACL SETUSER modifier ')': Syntax error\r\n");
    wire.ask("PING", "+PONG\r\n");
}

/// Key permissions without a pattern, and rules of any length, end in an error and in nothing else.
#[test]
fn cve_2024_51741_malformed_and_huge_rules_do_no_harm() {
    let server = start();
    let mut wire = server.connect();
    let huge = "x".repeat(4 * 1024 * 1024);
    let deep = format!("{}~a{}", "(".repeat(100_000), ")".repeat(100_000));
    let many_words = format!("( {} )", "~a ".repeat(100_000));
    for rule in [
        format!("~{huge}"),
        format!("%R~{huge}"),
        format!("&{huge}"),
        format!("+{huge}"),
        format!("+select|{huge}"),
        format!("+{}", "get|".repeat(100_000)),
        format!(">{huge}"),
        format!("({huge})"),
        deep,
        "(%R ~a)".to_owned(),
        "%RR~a".to_owned(),
    ] {
        let reply = wire.try_command(&["ACL", "SETUSER", "x", &rule]).expect("a reply");
        assert!(reply.starts_with(b"-ERR ") && reply.len() < 4096, "{}", reply.len());
    }
    assert_eq!(wire.try_command(&["ACL", "SETUSER", "y", &many_words]).ok().map(|reply| reply[0]), Some(b'-'));
    let words: Vec<String> = ["ACL", "SETUSER", "y"]
        .map(str::to_owned)
        .into_iter()
        .chain((0..100_000).map(|at| format!("(~{at})")))
        .collect();
    assert_eq!(wire.try_command(&words).ok().map(|reply| reply[0]), Some(b'-'));
    let name = wire.try_command(&["ACL", "SETUSER", &huge]).expect("a reply");
    assert!(name.starts_with(b"-ERR "));
    wire.ask("ACL USERS", [b"*1\r\n".to_vec(), bulk("default")].concat());
    let stars = "*a".repeat(20_000);
    wire.try_command(&["ACL", "SETUSER", "z", "on", "nopass", "+@all", &format!("~{stars}")]).expect("a reply");
    wire.ask("AUTH z x", "+OK\r\n");
    let key = "a".repeat(20_000) + "b";
    let reply = wire.try_command(&["GET", &key]).expect("a reply");
    assert_eq!(String::from_utf8_lossy(&reply), NOKEY);
}

/// Keys that a request counts wrongly overran a buffer of Redis when rules on keys were checked, or keys asked for.
#[test]
fn cve_2023_36824_miscounted_keys_are_checked_within_the_request() {
    let server = start();
    let mut wire = server.connect();
    wire.ask("ACL SETUSER u on nopass +@all ~a*", "+OK\r\n");
    let counts = ["0", "-1", "1", "2", "99", "2147483648", "9223372036854775807", "-9223372036854775808", "x", ""];
    for count in counts {
        for head in [
            &["EVAL", "return 1"][..],
            &["ZUNIONSTORE", "dst"],
            &["SINTERCARD"],
            &["LMPOP"],
            &["BLMPOP", "0"],
            &["MSETEX"],
            &["XREADGROUP", "GROUP", "g", "c", "STREAMS"],
            &["GEORADIUS", "a", "1", "1", "1", "m", "STORE"],
            &["MIGRATE", "h", "1", "", "0", "1", "KEYS"],
            &["SORT", "a", "STORE"],
            &["BITFIELD", "a", "GET"],
            &["MSET", "a"],
        ] {
            for tail in [&[][..], &["a"], &["a", "b"]] {
                let words = [head, &[count], tail].concat();
                for asked in
                    [&["COMMAND", "GETKEYS"][..], &["COMMAND", "GETKEYSANDFLAGS"], &["ACL", "DRYRUN", "u"], &[]]
                {
                    wire.try_command(&[asked, &words].concat()).expect("a reply");
                }
            }
        }
    }
    wire.ask("AUTH u x", "+OK\r\n");
    for count in counts {
        wire.try_command(&["MSETEX", count, "a", "1", "b", "2"]).expect("a reply");
    }
    wire.ask("PING", "+PONG\r\n");
}

/// Commands on the key `w`, in every form in which a write-only user might learn something of its value.
const ON_A_VALUE: &[&str] = &[
    "SET w {v}",
    "SET w {v} NX",
    "SET w {v} XX",
    "SET w {v} GET",
    "SET w {v} IFEQ {v}",
    "SET w {v} ifne {v}",
    "SET w {v} EX 9 IFEQ {v}",
    "SET w {v} IFDEQ {d}",
    "SET w {v} IFDNE {d} KEEPTTL",
    "DELEX w",
    "DELEX w IFEQ {v}",
    "DELEX w IFNE {v}",
    "DELEX w IFDEQ {d}",
    "DELEX w ifdne {d}",
    "DELIFEQ w {v}",
    "DIGEST w",
    "GET w",
    "GETSET w {v}",
    "GETDEL w",
    "GETEX w",
    "GETEX w EX 9",
    "MGET w",
    "SUBSTR w 0 0",
    "GETRANGE w 0 0",
    "GETBIT w 7",
    "SETBIT w 7 1",
    "BITCOUNT w",
    "BITPOS w 1",
    "BITFIELD w GET u8 0",
    "BITFIELD w SET u8 0 7",
    "BITFIELD w INCRBY u8 0 1",
    "BITFIELD_RO w GET u8 0",
    "BITOP NOT w2 w",
    "BITOP AND w2 w w",
    "INCR w",
    "DECR w",
    "INCRBY w 1",
    "DECRBY w 1",
    "INCRBYFLOAT w 0.5",
    "INCREX w BYINT 1",
    "APPEND w x",
    "SETRANGE w 1 x",
    "STRLEN w",
    "SETNX w {v}",
    "SETEX w 9 {v}",
    "PSETEX w 9000 {v}",
    "PUT w {v}",
    "MSET w {v}",
    "MSETNX w {v}",
    "MSETEX 1 w {v} EX 9",
    "COPY w w2",
    "RENAME w w2",
    "RENAMENX w w2",
    "MOVE w 1",
    "DUMP w",
    "RESTORE w 0 x REPLACE",
    "LCS w w",
    "LCS w k LEN",
    "PFCOUNT w",
    "PFMERGE w2 w",
    "SORT w",
    "EXPIRE w 9",
    "PERSIST w",
    "TTL w",
    "TYPE w",
    "EXISTS w",
    "TOUCH w",
    "DEL w",
    "UNLINK w",
    "OBJECT ENCODING w",
];

#[test]
fn who_may_only_write_learns_nothing_of_a_value() {
    let server = start();
    let (mut admin, mut writer) = (server.connect(), server.connect());
    admin.ask("ACL SETUSER writer on nopass %W~w %W~w2 ~k +@all", "+OK\r\n");
    writer.ask("AUTH writer x", "+OK\r\n");
    let digest = String::from_utf8(admin.command("SET w 17")).map(|_| admin.text("DIGEST w")).expect("text");
    let mut permitted = 0;
    for form in ON_A_VALUE {
        let command = form.replace("{v}", "17").replace("{d}", digest.trim());
        let [first, second] = ["17", "29"].map(|value| {
            admin.ask("FLUSHALL", "+OK\r\n");
            admin.command(&format!("MSET w {value} k 17"));
            String::from_utf8_lossy(&writer.command(&command)).into_owned()
        });
        assert_eq!(first, second, "{command}: the reply tells two values apart");
        permitted += usize::from(!first.starts_with('-'));
    }
    assert!(permitted >= 15, "most commands that only write are permitted: {permitted}");
}

#[test]
fn a_rule_on_a_command_is_one_on_what_does_the_same_by_another_name() {
    let server = start();
    let (mut admin, mut user) = (server.connect(), server.connect());
    admin.ask("ACL SETUSER joe on nopass ~* +@all -flushall -flushdb -set -keys -del", "+OK\r\n");
    user.ask("AUTH joe x", "+OK\r\n");
    for (line, name) in [
        ("FLUSH", "flush"),
        ("PUT k v", "put"),
        ("PRINT", "print"),
        ("DELETE k", "del"),
        ("REMOVE k", "del"),
        ("FLUSHDB", "flushdb"),
    ] {
        user.ask(line, nocommand("joe", name));
    }
    admin.ask("ACL SETUSER joe +set +flush", "+OK\r\n");
    user.ask("PUT k v", "+OK\r\n");
    user.ask("FLUSH", ":1\r\n");
    user.ask("FLUSHDB", nocommand("joe", "flushdb"));
    // The rules that are shown make the same user again.
    let shown = String::from_utf8(admin.command("ACL LIST")).expect("text");
    let rules = shown.lines().find_map(|line| line.strip_prefix("user joe ")).expect("joe's rules").to_owned();
    admin.ask(&format!("ACL SETUSER joe reset {rules}"), "+OK\r\n");
    user.ask("FLUSHDB", nocommand("joe", "flushdb"));
    user.ask("PRINT", nocommand("joe", "print"));
    user.ask("PUT k v", "+OK\r\n");
    user.ask("FLUSH", ":1\r\n");
}

#[test]
fn what_needs_a_right_ends_with_the_right() {
    let server = start();
    let mut admin = server.connect();
    for (begin, lost) in [
        ("MONITOR", "-monitor"),
        ("MONITOR", "-@all +get"),
        ("CLIENT TRACKING ON BCAST", "-client|tracking"),
        ("CLIENT TRACKING ON", "-client"),
        ("SUBSCRIBE c", "-subscribe"),
        ("PSUBSCRIBE c*", "-@pubsub"),
        ("SSUBSCRIBE c", "resetchannels"),
    ] {
        admin.ask("ACL SETUSER eve reset on nopass ~* &* +@all", "+OK\r\n");
        let mut user = server.connect();
        user.command("HELLO 3 AUTH eve x");
        user.command(begin);
        admin.ask("ACL SETUSER eve -incr", "+OK\r\n");
        assert!(admin.text("CLIENT LIST").contains("user=eve"), "{begin}: it may still");
        admin.ask(&format!("ACL SETUSER eve {lost}"), "+OK\r\n");
        assert!(!admin.text("CLIENT LIST").contains("user=eve"), "{begin}: {lost}");
        // What it was sent before that may still come.
        while user.try_reply().is_ok() {}
    }
}

#[test]
fn a_login_as_a_lesser_user_ends_what_that_one_may_not_have() {
    let server = start();
    let mut admin = server.connect();
    admin.ask("ACL SETUSER less on nopass ~* +@all -monitor -client|tracking", "+OK\r\n");
    admin.ask("ACL SETUSER more on nopass ~* &* +@all", "+OK\r\n");
    for begin in ["MONITOR", "CLIENT TRACKING ON BCAST", "SUBSCRIBE c", "PSUBSCRIBE c*", "SSUBSCRIBE c"] {
        for login in ["AUTH {} x", "HELLO 3 AUTH {} x"] {
            let mut user = server.connect();
            user.command("HELLO 3 AUTH more x");
            let id = user.integer("CLIENT ID");
            user.command(begin);
            let shown = |admin: &mut Wire| {
                let line = admin.text(&format!("CLIENT LIST ID {id}"));
                let fields = line.split(' ').filter(|field| field.starts_with("flags=") || field.contains("sub="));
                fields.collect::<Vec<_>>().join(" ")
            };
            let before = shown(&mut admin);
            assert_ne!(before, "flags=N sub=0 psub=0 ssub=0", "{begin}");
            user.send(format!("{}\r\n", login.replace("{}", "more")));
            user.send(format!("{}\r\nECHO done\r\n", login.replace("{}", "less")));
            while user.reply() != bulk("done") {}
            assert_eq!(shown(&mut admin), "flags=N sub=0 psub=0 ssub=0", "{begin}, {login}");
            admin.ask("SET k v", "+OK\r\n");
            admin.ask("PUBLISH c m", ":0\r\n");
            admin.ask("SPUBLISH c m", ":0\r\n");
            user.ask("PING", "+PONG\r\n");
        }
    }
}

#[test]
fn a_subscription_needs_the_command_and_the_channel_of_one_selector() {
    let server = start();
    let mut admin = server.connect();
    admin.ask("ACL SETUSER more on nopass ~* &* +@all", "+OK\r\n");
    for (rules, keeps) in [
        ("resetchannels -@all +subscribe +client (&ch -@all +get)", false),
        ("resetchannels -@all +client (&ch -@all +subscribe)", true),
        ("&ch -@all +client +subscribe|ch", true),
    ] {
        let rules: Vec<&str> =
            ["ACL", "SETUSER", "b", "reset", "on", "nopass"].into_iter().chain(rules.split(' ')).collect();
        assert_eq!(admin.try_command(&rules).expect("a reply"), b"+OK\r\n");
        let mut user = server.connect();
        user.command("HELLO 3 AUTH more x");
        user.command("SUBSCRIBE ch");
        user.ask("AUTH b x", "+OK\r\n");
        assert_eq!(admin.integer("PUBLISH ch m"), i64::from(keeps), "{rules:?}");
        // Another right, or the same again, ends nothing.
        admin.ask("ACL SETUSER b +ping", "+OK\r\n");
        assert_eq!(admin.integer("PUBLISH ch m"), i64::from(keeps), "{rules:?}");
    }
}

#[test]
fn a_login_in_a_transaction_counts_only_if_that_is_committed() {
    let server = launch().arguments(["--max-entries", "1"]).start();
    let mut admin = server.connect();
    admin.ask("CONFIG SET maxmemory-policy noeviction", "+OK\r\n");
    admin.ask("ACL SETUSER less on nopass ~* +@all", "+OK\r\n");
    let mut user = server.connect();
    user.command("HELLO 3");
    user.command("SUBSCRIBE ch");
    for line in ["MULTI", "AUTH less x", "SET a 1", "SET b 2"] {
        user.command(line);
    }
    let failed = String::from_utf8(user.command("EXEC")).expect("text");
    assert!(failed.starts_with("-OOM"), "{failed}");
    user.ask("ACL WHOAMI", bulk("default"));
    admin.ask("PUBSUB NUMSUB ch", "*2\r\n$2\r\nch\r\n:1\r\n");
    // What is behind it runs as its user, and the subscription ends, which that one may not have.
    admin.ask("ACL SETUSER less -set", "+OK\r\n");
    for line in ["MULTI", "AUTH less x", "SET a 1"] {
        user.command(line);
    }
    user.ask("EXEC", "*2\r\n+OK\r\n-NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. \
        This command is no longer allowed for the following reason: no permission to execute the command or subcommand\r\n");
    user.ask("ACL WHOAMI", bulk("less"));
    admin.ask("PUBSUB NUMSUB ch", "*2\r\n$2\r\nch\r\n:0\r\n");
    admin.ask("EXISTS a", ":0\r\n");
}

#[test]
fn hello_with_a_bad_option_changes_nothing() {
    let server = start();
    let mut wire = server.connect();
    wire.ask("ACL SETUSER less on nopass +@all", "+OK\r\n");
    for line in ["HELLO 3 AUTH less x NONSENSE", "HELLO 3 SETNAME me AUTH less", "HELLO 3 SETNAME me NONSENSE"] {
        assert!(wire.command(line).starts_with(b"-ERR Syntax error in HELLO option"), "{line}");
    }
    wire.ask("HELLO 3 SETNAME me AUTH less y NONSENSE", "-ERR Syntax error in HELLO option 'NONSENSE'\r\n");
    wire.ask("ACL WHOAMI", bulk("default"));
    wire.ask("CLIENT GETNAME", "$-1\r\n");
    wire.command("HELLO 3 SETNAME me AUTH less x");
    wire.ask("ACL WHOAMI", bulk("less"));
    wire.ask("CLIENT GETNAME", bulk("me"));
}
