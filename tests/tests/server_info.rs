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
    for line in ["READONLY", "readwrite", "ASKING", "CLUSTERSCAN 0", "CLUSTER SLOT-STATS SLOTSRANGE 0 1"] {
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

/// Fields that dashboards read: those of redis_exporter 1.69 and of Datadog's check that a Redis 7 without modules,
/// replicas and clusters has, and those of redis-server 7.0. Left out here, because nothing measures them:
/// `aof_buffer_length`, `aof_delayed_fsync`, `current_save_keys_*`, `mem_overhead_db_hashtable_rehashing`, `gcc_version`,
/// `atomicvar_api`, `redis_build_id`, `eventloop_duration_*`.
const READ_BY_DASHBOARDS: &str = "
    redis_version redis_mode os arch_bits monotonic_clock multiplexing_api process_id run_id tcp_port server_time_usec
    uptime_in_seconds uptime_in_days hz configured_hz lru_clock executable config_file io_threads_active
    connected_clients cluster_connections maxclients client_recent_max_input_buffer client_recent_max_output_buffer
    blocked_clients tracking_clients pubsub_clients watching_clients clients_in_timeout_table total_watched_keys
    total_blocking_keys total_blocking_keys_on_nokey
    used_memory used_memory_human used_memory_rss used_memory_rss_human used_memory_peak used_memory_peak_human
    used_memory_peak_perc used_memory_overhead used_memory_startup used_memory_dataset used_memory_dataset_perc
    allocator_allocated allocator_active allocator_resident total_system_memory total_system_memory_human used_memory_lua
    used_memory_vm_eval used_memory_lua_human used_memory_scripts_eval number_of_cached_scripts number_of_functions
    number_of_libraries used_memory_vm_functions used_memory_vm_total used_memory_vm_total_human used_memory_functions
    used_memory_scripts used_memory_scripts_human maxmemory maxmemory_human maxmemory_policy allocator_frag_ratio
    allocator_frag_bytes allocator_rss_ratio allocator_rss_bytes rss_overhead_ratio rss_overhead_bytes
    mem_fragmentation_ratio mem_fragmentation_bytes mem_not_counted_for_evict mem_replication_backlog
    mem_total_replication_buffers mem_clients_slaves mem_clients_normal mem_cluster_links mem_aof_buffer mem_allocator
    active_defrag_running lazyfree_pending_objects lazyfreed_objects
    loading async_loading current_cow_peak current_cow_size current_cow_size_age current_fork_perc
    rdb_changes_since_last_save rdb_bgsave_in_progress rdb_last_save_time rdb_last_bgsave_status rdb_last_bgsave_time_sec
    rdb_current_bgsave_time_sec rdb_saves rdb_last_cow_size rdb_last_load_keys_expired rdb_last_load_keys_loaded
    aof_enabled aof_rewrite_in_progress aof_rewrite_scheduled aof_last_rewrite_time_sec aof_current_rewrite_time_sec
    aof_last_bgrewrite_status aof_rewrites aof_rewrites_consecutive_failures aof_last_write_status aof_last_cow_size
    aof_current_size aof_base_size aof_pending_rewrite aof_pending_bio_fsync module_fork_in_progress
    module_fork_last_cow_size
    total_connections_received total_commands_processed instantaneous_ops_per_sec total_net_input_bytes
    total_net_output_bytes total_net_repl_input_bytes total_net_repl_output_bytes instantaneous_input_kbps
    instantaneous_output_kbps instantaneous_input_repl_kbps instantaneous_output_repl_kbps rejected_connections sync_full
    sync_partial_ok sync_partial_err expired_keys expired_stale_perc expired_time_cap_reached_count
    expire_cycle_cpu_milliseconds evicted_keys evicted_clients evicted_scripts total_eviction_exceeded_time
    current_eviction_exceeded_time keyspace_hits keyspace_misses pubsub_channels pubsub_patterns pubsubshard_channels
    latest_fork_usec total_forks migrate_cached_sockets slave_expires_tracked_keys active_defrag_hits
    active_defrag_misses active_defrag_key_hits active_defrag_key_misses total_active_defrag_time
    current_active_defrag_time tracking_total_keys tracking_total_items tracking_total_prefixes unexpected_error_replies
    total_error_replies dump_payload_sanitizations total_reads_processed total_writes_processed
    io_threaded_reads_processed io_threaded_writes_processed reply_buffer_shrinks reply_buffer_expands eventloop_cycles
    acl_access_denied_auth acl_access_denied_cmd acl_access_denied_key acl_access_denied_channel
    client_query_buffer_limit_disconnections client_output_buffer_limit_disconnections
    role connected_slaves master_failover_state master_replid master_replid2 master_repl_offset second_repl_offset
    repl_backlog_active repl_backlog_size repl_backlog_first_byte_offset repl_backlog_histlen
    used_cpu_sys used_cpu_user used_cpu_sys_children used_cpu_user_children used_cpu_sys_main_thread
    used_cpu_user_main_thread cluster_enabled";

/// Fields that are no numbers.
const WORDS: &str = "
    redis_version redis_mode os monotonic_clock multiplexing_api run_id executable config_file maxmemory_policy
    mem_allocator rdb_last_bgsave_status aof_last_bgrewrite_status aof_last_write_status role master_failover_state
    master_replid master_replid2";

#[test]
fn info_counts_the_keys_that_expired_while_the_server_was_down() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = launch(dir.path()).durability("always").arguments(["--enable-debug"]).start();
    let mut wire = server.connect();
    assert_eq!(info(&mut wire)["rdb_last_load_keys_expired"], "0");
    // Nothing removes them before the end.
    wire.ask("DEBUG SET-ACTIVE-EXPIRE 0", "+OK\r\n");
    wire.ask("SET a v PX 1", "+OK\r\n");
    wire.ask("SET b v PX 1", "+OK\r\n");
    wire.ask("SET c v PX 1000000", "+OK\r\n");
    wire.ask("DEBUG SLEEP 0.5", "+OK\r\n");
    server.kill();
    let server = launch(dir.path()).start();
    let mut wire = server.connect();
    wire.ask("DBSIZE", ":1\r\n");
    assert_eq!(info(&mut wire)["rdb_last_load_keys_expired"], "2");
}

#[test]
fn info_has_what_dashboards_read_once_and_as_numbers() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = launch(dir.path()).start();
    let mut wire = server.connect();
    wire.ask("SET k v EX 100", "+OK\r\n");
    wire.command("NONSENSE");
    for section in ["all", "everything", "default"] {
        let text = wire.text(&format!("INFO {section}"));
        let mut seen = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("{line}"));
            assert!(seen.insert(name.to_owned(), value.to_owned()).is_none(), "{name} stands twice in INFO {section}");
        }
        for name in READ_BY_DASHBOARDS.split_whitespace() {
            let value = seen.get(name).unwrap_or_else(|| panic!("no {name} in INFO {section}"));
            let number = value.trim_end_matches(['%', 'B', 'K', 'M', 'G', 'T']);
            let is_word = WORDS.split_whitespace().any(|word| word == name);
            assert!(is_word || number.parse::<f64>().is_ok_and(f64::is_finite), "{name}:{value}");
        }
    }
}

#[test]
fn what_info_measures_is_true() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = launch(dir.path()).arguments(["--loops", "2"]).start();
    let mut wire = server.connect();
    let fields = info(&mut wire);
    for name in ["rdb_last_bgsave_time_sec", "rdb_current_bgsave_time_sec", "aof_last_rewrite_time_sec"] {
        assert_eq!(fields[name], "-1", "{name} before there was one");
    }
    assert_eq!(fields["rdb_saves"], "0");
    let seconds: u64 = fields["server_time_usec"].parse::<u64>().expect("a number") / 1_000_000;
    let clock: u64 = fields["lru_clock"].parse().expect("a number");
    let behind = (seconds % (1 << 24)).abs_diff(clock);
    assert!(behind <= 1 || behind == (1 << 24) - 1, "{seconds} and {clock}");
    for saves in 1..=3 {
        wire.ask("SET k v", "+OK\r\n");
        wire.ask("SAVE", "+OK\r\n");
        let fields = info(&mut wire);
        assert_eq!(fields["rdb_saves"], saves.to_string());
        assert_ne!(fields["rdb_last_bgsave_time_sec"], "-1");
        assert_eq!(fields["rdb_current_bgsave_time_sec"], "-1");
    }
    wire.ask("WATCH a b", "+OK\r\n");
    server.connect().ask("WATCH b c", "+OK\r\n");
    wire.ask("WATCH d", "+OK\r\n");
    wait::until_true("only the keys of one client are watched", || info(&mut wire)["total_watched_keys"] == "3");
    wire.ask("UNWATCH", "+OK\r\n");
    assert_eq!(info(&mut wire)["total_watched_keys"], "0");

    // Connections are given to the loops in turn, so of two one is not the first loop's.
    let mut other = server.connect();
    let threaded =
        |fields: &BTreeMap<String, String>| fields["io_threaded_reads_processed"].parse::<u64>().expect("it");
    let before = threaded(&info(&mut wire));
    for _ in 0..10 {
        wire.ask("PING", "+PONG\r\n");
        other.ask("PING", "+PONG\r\n");
    }
    let fields = info(&mut wire);
    assert!(threaded(&fields) >= before + 10, "{before} and {}", threaded(&fields));
    assert_eq!(fields["io_threads_active"], "1");

    // The first loop's thread has used a part of what the process has.
    let used = |fields: &BTreeMap<String, String>, name: &str| fields[name].parse::<f64>().expect("a number");
    let own = used(&fields, "used_cpu_user_main_thread") + used(&fields, "used_cpu_sys_main_thread");
    let fields = info(&mut wire);
    let all = used(&fields, "used_cpu_user") + used(&fields, "used_cpu_sys");
    assert!(own <= all, "{own} of {all}");

    wire.ask("CONFIG RESETSTAT", "+OK\r\n");
    assert!(threaded(&info(&mut wire)) < 10);
}

/// The time that a store's thread, or in memory the server itself, takes to remove what has expired.
#[test]
fn the_time_that_expiry_takes_is_counted() {
    let dir = TempDir::new().expect("a temporary directory");
    for server in [launch(dir.path()), Launch::bare(server_program!()).arguments(["--memory-only"]).resp()] {
        let server = server.start();
        let mut wire = server.connect();
        let mut number = 0;
        wait::until_true("a millisecond of expiry", || {
            let sets: String = (number..number + 5000).map(|key| format!("SET {key} v PX 1\r\n")).collect();
            number += 5000;
            wire.send(sets);
            (0..5000).for_each(|_| wire.expect("+OK\r\n"));
            info(&mut wire)["expire_cycle_cpu_milliseconds"] != "0"
        });
    }
}

#[test]
fn clients_that_pass_a_limit_are_counted() {
    let dir = TempDir::new().expect("a temporary directory");
    let server = launch(dir.path()).start();
    let mut wire = server.connect();
    wire.ask("CONFIG SET client-query-buffer-limit 1mb", "+OK\r\n");
    let mut large = server.connect();
    let word = "x".repeat(600_000);
    large.send(format!("*4\r\n$4\r\nMSET\r\n$1\r\nk\r\n${0}\r\n{word}\r\n${0}\r\n{word}\r\n", word.len()));
    large.expect("-ERR Protocol error: too big request\r\n");
    assert_eq!(info(&mut wire)["client_query_buffer_limit_disconnections"], "1");
    assert_eq!(info(&mut wire)["client_output_buffer_limit_disconnections"], "0");
}
