//! What the server tells of itself and of its clients: INFO, CLIENT, snapshots and their outcome, the limit of clients.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::path::Path;

use kvtests::process::Launch;
use kvtests::server_program;
use kvtests::wait;
use kvtests::wire::Wire;
use tempfile::TempDir;

fn launch(dir: &Path) -> Launch {
    Launch::new(server_program!(), dir).resp()
}

/// INFO as `field: value`.
fn info(wire: &mut Wire) -> BTreeMap<String, String> {
    let text = wire.text("INFO everything");
    let fields = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(':'));
    fields.map(|(field, value)| (field.to_owned(), value.to_owned())).collect()
}

#[test]
fn info_tells_what_clients_and_operators_look_for() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = launch(dir.path()).durability("always").start();
    let mut wire = server.connect();
    wire.ask("SET k v", "+OK\r\n");
    wire.ask("SET t v EX 1000", "+OK\r\n");
    wire.ask("GET k", "$1\r\nv\r\n");
    wire.ask("GET nothing", "$-1\r\n");
    let fields = info(&mut wire);
    let port = server.address(0).port().to_string();
    let id = server.id().to_string();
    for (field, value) in [
        ("redis_version", "7.2.4"),
        ("kv_version", env!("CARGO_PKG_VERSION")),
        ("tcp_port", &port),
        ("process_id", &id),
        ("role", "master"),
        ("connected_slaves", "0"),
        ("loading", "0"),
        ("rdb_bgsave_in_progress", "0"),
        ("keyspace_hits", "1"),
        ("keyspace_misses", "1"),
    ] {
        assert_eq!(fields.get(field).map(String::as_str), Some(value), "{field} in {fields:#?}");
    }
    for field in [
        "uptime_in_seconds",
        "connected_clients",
        "used_memory",
        "rdb_last_save_time",
        "rdb_changes_since_last_save",
        "rdb_last_bgsave_status",
        "total_connections_received",
        "total_commands_processed",
        "expired_keys",
        "used_cpu_user",
    ] {
        assert!(fields.contains_key(field), "{field} is missing in {fields:#?}");
    }
    assert!(fields["db0"].starts_with("keys=2,expires=1,avg_ttl="), "{}", fields["db0"]);

    // Sections can be asked for one by one.
    let server_section = wire.text("INFO server");
    assert!(server_section.starts_with("# Server\r\n"), "{server_section}");
    assert!(!server_section.contains("# Clients"), "{server_section}");
}

#[test]
fn snapshots_are_taken_on_request_and_told_about() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = launch(dir.path()).start();
    let mut wire = server.connect();
    wire.ask("MSET a 1 b 2", "+OK\r\n");
    let before = wire.integer("LASTSAVE");
    wire.ask("SAVE", "+OK\r\n");
    let saved = wire.integer("LASTSAVE");
    assert!(saved >= before, "{before} {saved}");
    assert_eq!(info(&mut wire)["rdb_changes_since_last_save"], "0");
    // Repeated, because between BGSAVE's reply and its thread's first step there is a moment in which nothing may say
    // that no snapshot is under way.
    for number in 1..=30 {
        wire.ask(&format!("SET c {number}"), "+OK\r\n");
        wire.ask("BGSAVE", "+Background saving started\r\n");
        let fields = wait::until("the end of the background snapshot", || {
            Some(info(&mut wire)).filter(|fields| fields["rdb_bgsave_in_progress"] == "0")
        });
        assert_eq!(fields["rdb_last_bgsave_status"], "ok");
        assert_eq!(fields["rdb_changes_since_last_save"], "0", "after background snapshot {number}");
    }
    server.kill();
    let server = launch(dir.path()).start();
    server.connect().ask("MGET a b c", "*3\r\n$1\r\n1\r\n$1\r\n2\r\n$2\r\n30\r\n");
}

#[test]
fn clients_above_the_limit_are_told_so() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = launch(dir.path()).arguments(["--max-clients", "3"]).start();
    // The readiness check's connection may still be on its way out.
    let mut kept: Vec<Wire> = Vec::new();
    wait::until_true("three connections", || {
        let mut wire = server.connect();
        if wire.try_command(&["PING"]).is_ok_and(|reply| reply == b"+PONG\r\n") {
            kept.push(wire);
        }
        kept.len() == 3
    });
    let mut surplus = server.connect();
    surplus.expect("-ERR max number of clients reached\r\n");
    surplus.expect_closed();
    kept.pop();
    wait::until_true("a place that became free", || {
        let mut wire = server.connect();
        wire.try_command(&["PING"]).is_ok_and(|reply| reply == b"+PONG\r\n")
    });
    kept[0].ask("PING", "+PONG\r\n");
}

#[test]
fn clients_are_named_and_listed() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = launch(dir.path()).start();
    let (mut one, mut two) = (server.connect(), server.connect());
    one.ask("CLIENT GETNAME", "$-1\r\n");
    one.ask("CLIENT SETNAME first", "+OK\r\n");
    two.ask("CLIENT SETNAME second", "+OK\r\n");
    one.ask("CLIENT GETNAME", "$5\r\nfirst\r\n");
    one.ask("CLIENT SETINFO lib-name test", "+OK\r\n");
    let id = one.integer("CLIENT ID");
    let list = two.text("CLIENT LIST");
    let line = list.lines().find(|line| line.contains(" name=first ")).unwrap_or_else(|| panic!("{list}"));
    assert!(line.starts_with(&format!("id={id} addr=127.0.0.1:")), "{line}");
    assert!(line.contains(" lib-name=test "), "{line}");
    assert!(list.contains(" name=second "), "{list}");
    assert!(two.text("CLIENT INFO").contains(" name=second "));
}

#[test]
fn snapshots_are_taken_as_often_as_asked_when_something_changed() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = launch(dir.path()).arguments(["--snapshot-every", "1"]).start();
    let mut wire = server.connect();
    assert_eq!(info(&mut wire)["aof_base_size"], "0", "there is a snapshot before anything changed");
    for round in 1..=2 {
        wire.ask(&format!("SET k{round} v"), "+OK\r\n");
        let fields = wait::until("a snapshot that nobody asked for", || {
            Some(info(&mut wire))
                .filter(|fields| fields["rdb_changes_since_last_save"] == "0" && fields["aof_base_size"] != "0")
        });
        assert_eq!(fields["rdb_last_bgsave_status"], "ok", "{fields:#?}");
    }
    server.kill();
    let server = launch(dir.path()).start();
    assert_eq!(info(&mut server.connect())["recovery_snapshot_keys"], "2");
}

/// Clients match these texts, and conclude that the server is one node.
#[test]
fn commands_of_clusters_are_refused_in_redis_words() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = launch(dir.path()).start();
    let mut wire = server.connect();
    let disabled = "-ERR This instance has cluster support disabled\r\n";
    let subcommands = [
        "INFO",
        "NODES",
        "SLOTS",
        "SHARDS",
        "MYID",
        "MYSHARDID",
        "LINKS",
        "HELP",
        "KEYSLOT k",
        "COUNTKEYSINSLOT 1",
        "RESET",
        "RESET SOFT",
        "MEET 127.0.0.1 1",
        "FAILOVER",
        "ADDSLOTS 1",
        "GETKEYSINSLOT 1 1",
        "REPLICAS x",
    ];
    for line in subcommands.map(|words| format!("CLUSTER {words}")) {
        wire.ask(&line, disabled);
    }
    for line in ["READONLY", "readwrite", "ASKING"] {
        wire.ask(line, disabled);
    }
    wire.ask("CLUSTER", "-ERR wrong number of arguments for 'cluster' command\r\n");
    wire.ask("CLUSTER INFO x", "-ERR wrong number of arguments for 'cluster|info' command\r\n");
    wire.ask("CLUSTER NONSENSE", "-ERR unknown subcommand 'NONSENSE'. Try CLUSTER HELP.\r\n");
    // As other commands that fail when they run, they do not spoil a transaction.
    wire.ask("MULTI", "+OK\r\n");
    wire.ask("SET k v", "+QUEUED\r\n");
    wire.ask("CLUSTER INFO", "+QUEUED\r\n");
    wire.ask("READONLY", "+QUEUED\r\n");
    wire.ask("REPLICAOF no one", "+QUEUED\r\n");
    wire.ask("EXEC", format!("*4\r\n+OK\r\n{disabled}{disabled}+OK\r\n"));
    let stats = wire.text("INFO commandstats");
    let line = stats.lines().find(|line| line.starts_with("cmdstat_cluster|info:")).expect("statistics of it");
    assert!(line.ends_with("rejected_calls=1,failed_calls=2"), "{line}");
}

#[test]
fn a_master_can_be_made_a_master_and_nothing_else() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = launch(dir.path()).start();
    let mut wire = server.connect();
    for line in ["REPLICAOF NO ONE", "replicaof no one", "SLAVEOF No One"] {
        wire.ask(line, "+OK\r\n");
    }
    wire.ask("REPLICAOF NO", "-ERR wrong number of arguments for 'replicaof' command\r\n");
    for line in ["REPLICAOF host port", "REPLICAOF host 65536", "SLAVEOF NO TWO"] {
        wire.ask(line, "-ERR Invalid master port\r\n");
    }
    wire.ask(
        "REPLICAOF 127.0.0.1 6379",
        "-ERR 'replicaof' is not supported: this server keeps strings, on one node, and runs no scripts\r\n",
    );
    assert_eq!(info(&mut wire)["role"], "master");
    for (line, reply) in [
        ("FAILOVER", "-ERR FAILOVER requires connected replicas.\r\n"),
        ("FAILOVER TO 127.0.0.1 1 FORCE TIMEOUT 5", "-ERR FAILOVER requires connected replicas.\r\n"),
        ("FAILOVER ABORT", "-ERR No failover in progress.\r\n"),
        ("FAILOVER ABORT FORCE", "-ERR syntax error\r\n"),
        ("FAILOVER TIMEOUT 0", "-ERR FAILOVER timeout must be greater than 0\r\n"),
        ("FAILOVER TIMEOUT x", "-ERR value is not an integer or out of range\r\n"),
    ] {
        wire.ask(line, reply);
    }
}
