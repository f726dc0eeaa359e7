//! The rows of the table, in the order of their names.
//!
//! Invariant: a row that says it changes something changes it for the connections that exist, too, from their next time slice
//! on; only `tcp-keepalive` is for new ones.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use kvcore::Durability;

use super::kind::{Kind, percentiles, show_percentiles};
use super::lists;
use super::parameter::Parameter;
use crate::admin::logging::LogLevel;
use crate::admin::process::clients_possible;
use crate::admin::slow::Logged;
use crate::config::eviction::POLICIES;
use crate::config::tuning::AVAILABILITY_ZONE;
use crate::databases::DATABASES;
use crate::net::listener::BoundAddress;
use crate::state::{ServerState, WriteCheck};
use kvcommands::events::Classes;

const INT_MAX: i64 = i32::MAX as i64;
const LONG_MAX: u64 = i64::MAX as u64;
const COUNT: Kind = Kind::Integer(0, INT_MAX);
const LONG: Kind = Kind::Integer(0, i64::MAX);
const LONG_OR_NEVER: Kind = Kind::Integer(-1, i64::MAX);
const MIB: u64 = 1024 * 1024;
const HZ_MIN: u64 = 1;
const HZ_MAX: u64 = 500;

/// Every parameter.
pub(crate) const ROWS: &[Parameter] = &[
    Parameter::inert("active-expire-effort", Kind::Integer(1, 10), "1"),
    Parameter::fixed("aclfile", |server| {
        server.acl.file.as_ref().map_or_else(String::new, |path| path.display().to_string())
    }),
    Parameter::new(
        "acllog-max-len",
        LONG,
        |server| server.acl.log.entries_max.load(Relaxed).to_string(),
        |server, value| {
            server.acl.log.set_entries_max(number(value)?);
            Ok(())
        },
    ),
    Parameter::new(
        "acl-pubsub-default",
        Kind::Word(&["allchannels", "resetchannels"]),
        |server| {
            let all = server.acl.all_channels.load(Relaxed);
            if all { "allchannels" } else { "resetchannels" }.to_owned()
        },
        |server, value| {
            server.acl.all_channels.store(value == "allchannels", Relaxed);
            Ok(())
        },
    ),
    Parameter::inert("aof-use-rdb-preamble", Kind::Bool, "yes"),
    Parameter::new(
        "appendfsync",
        Kind::Word(&["everysec", "always", "no"]),
        |server| match server.db.durability() {
            Durability::Always => "always".to_owned(),
            Durability::EverySecond => "everysec".to_owned(),
            Durability::Os => "no".to_owned(),
        },
        |server, word| {
            server.set_durability(word.parse().map_err(|error: kvcore::Error| error.to_string())?);
            Ok(())
        },
    ),
    // Seconds after which a backup that its client does not read is ended; Redis has no such thing.
    Parameter::new(
        "backup-timeout",
        COUNT,
        |server| server.backups.timeout_secs.load(Relaxed).to_string(),
        |server, value| store(&server.backups.timeout_secs, value),
    ),
    // A client that needs no log is content with one; so `no` is taken, and the truth is shown.
    Parameter::new(
        "appendonly",
        Kind::Bool,
        |server| if server.db.is_in_memory() { "no" } else { "yes" }.to_owned(),
        |_, value| if value == "no" { Ok(()) } else { Err("this store keeps nothing on disk".to_owned()) },
    ),
    Parameter::settled(
        "bind",
        Kind::Text,
        |server| {
            let mut hosts: Vec<String> =
                server.addresses.iter().filter_map(BoundAddress::tcp).map(|address| address.ip().to_string()).collect();
            hosts.dedup();
            hosts.join(" ")
        },
        "Failed to bind to specified addresses. Listeners are named by --listen when the server starts.",
    ),
    Parameter::inert(AVAILABILITY_ZONE, Kind::Text, ""),
    Parameter::inert("busy-reply-threshold", LONG, "5000").alias("lua-time-limit"),
    Parameter::new(
        "client-output-buffer-limit",
        Kind::Text,
        |server| lists::show_output_limits(&server.tuning.bounds().output),
        |server, value| {
            let output = lists::output_limits(server.tuning.bounds().output, value)?;
            server.tuning.change_bounds(|bounds| bounds.output = output);
            Ok(())
        },
    ),
    Parameter::new(
        "client-query-buffer-limit",
        Kind::Memory(MIB, LONG_MAX),
        |server| server.tuning.bounds().limits.request_bytes_max.to_string(),
        |server, value| {
            let bytes = number(value)?;
            server.tuning.change_bounds(|bounds| bounds.limits.request_bytes_max = bytes);
            Ok(())
        },
    ),
    Parameter::new(
        "commandlog-large-reply-max-len",
        LONG,
        |server| log_length(server, Logged::Reply),
        |server, value| set_log_length(server, Logged::Reply, value),
    ),
    Parameter::new(
        "commandlog-large-request-max-len",
        LONG,
        |server| log_length(server, Logged::Request),
        |server, value| set_log_length(server, Logged::Request, value),
    ),
    Parameter::new(
        "commandlog-reply-larger-than",
        LONG_OR_NEVER,
        |server| log_from(server, Logged::Reply),
        |server, value| set_log_from(server, Logged::Reply, value),
    ),
    Parameter::new(
        "commandlog-request-larger-than",
        LONG_OR_NEVER,
        |server| log_from(server, Logged::Request),
        |server, value| set_log_from(server, Logged::Request, value),
    ),
    Parameter::inert("daemonize", Kind::Bool, "no").immutable(),
    Parameter::fixed("databases", |_| DATABASES.to_string()),
    Parameter::fixed("dbfilename", |_| String::new()).protected(),
    Parameter::fixed("dir", |server| server.settings.dir.clone()).protected(),
    // How often Redis does its housekeeping. There is no such timer here; the number is kept and shown.
    Parameter::new(
        "hz",
        COUNT,
        |server| server.tuning.hz.load(Relaxed).to_string(),
        |server, value| store(&server.tuning.hz, &number::<u64>(value)?.clamp(HZ_MIN, HZ_MAX).to_string()),
    ),
    Parameter::fixed("io-threads", |server| server.notify.mailboxes.len().to_string()),
    Parameter::fixed("enable-debug-command", |server| yes_or_no(server.settings.debug_allowed)),
    Parameter::inert("key-load-delay", Kind::Integer(-INT_MAX, INT_MAX), "0").hidden(),
    Parameter::new(
        "latency-monitor-threshold",
        LONG,
        |server| server.slow.latency_ms().to_string(),
        |server, value| {
            server.slow.set_latency_ms(number(value)?);
            Ok(())
        },
    ),
    Parameter::new(
        "latency-tracking",
        Kind::Bool,
        |server| if server.tuning.latency_tracking.load(Relaxed) { "yes" } else { "no" }.to_owned(),
        |server, value| {
            server.tuning.latency_tracking.store(value == "yes", Relaxed);
            Ok(())
        },
    ),
    Parameter::new(
        "latency-tracking-info-percentiles",
        Kind::Percentiles,
        |server| show_percentiles(&server.tuning.percentiles.lock()),
        |server, value| {
            *server.tuning.percentiles.lock() = percentiles(value).unwrap_or_default();
            Ok(())
        },
    ),
    Parameter::inert("lazyfree-lazy-eviction", Kind::Bool, "no"),
    Parameter::inert("lazyfree-lazy-expire", Kind::Bool, "no"),
    Parameter::inert("lazyfree-lazy-server-del", Kind::Bool, "no"),
    Parameter::inert("lazyfree-lazy-user-del", Kind::Bool, "no"),
    Parameter::inert("lazyfree-lazy-user-flush", Kind::Bool, "no"),
    Parameter::new(
        "hll-sparse-max-bytes",
        Kind::Memory(0, LONG_MAX),
        |server| server.tuning.sparse_bytes_max.load(Relaxed).to_string(),
        |server, value| {
            server.tuning.sparse_bytes_max.store(number(value)?, Relaxed);
            Ok(())
        },
    ),
    Parameter::new(
        "lfu-decay-time",
        COUNT,
        |server| server.tuning.lfu_decay_minutes.load(Relaxed).to_string(),
        |server, value| {
            server.tuning.lfu_decay_minutes.store(number(value)?, Relaxed);
            server.db.hooks().count_accesses(server.tuning.use_counter());
            Ok(())
        },
    ),
    Parameter::new(
        "lfu-log-factor",
        COUNT,
        |server| server.tuning.lfu_factor.load(Relaxed).to_string(),
        |server, value| {
            server.tuning.lfu_factor.store(number(value)?, Relaxed);
            server.db.hooks().count_accesses(server.tuning.use_counter());
            Ok(())
        },
    ),
    // Of the line protocol, which Redis does not have.
    Parameter::new(
        "line-max-len",
        Kind::Memory(1024, MIB * 1024),
        |server| server.tuning.bounds().limits.line_bytes_max.to_string(),
        |server, value| {
            let bytes = number(value)?;
            server.tuning.change_bounds(|bounds| bounds.limits.line_bytes_max = bytes);
            Ok(())
        },
    ),
    Parameter::new(
        "login-timeout",
        COUNT,
        |server| server.tuning.login_timeout_secs.load(Relaxed).to_string(),
        |server, value| store(&server.tuning.login_timeout_secs, value),
    ),
    Parameter::new(
        "loglevel",
        Kind::Word(&["debug", "verbose", "notice", "warning", "nothing"]),
        |server| server.logging.level().word().to_owned(),
        |server, word| {
            server.logging.set(LogLevel::of(word).ok_or("there is no such level")?);
            Ok(())
        },
    ),
    Parameter::inert("masterauth", Kind::Text, "").sensitive(),
    Parameter::inert("masteruser", Kind::Text, "").sensitive(),
    Parameter::new(
        "maxclients",
        Kind::Integer(1, u32::MAX as i64),
        |server| server.clients.max.load(Relaxed).to_string(),
        |server, value| {
            let (wanted, possible) = (number(value)?, clients_possible(server.notify.mailboxes.len()));
            if wanted > possible {
                return Err(format!(
                    "The operating system is not able to handle the specified number of clients, try with {possible}"
                ));
            }
            server.clients.max.store(wanted, Relaxed);
            Ok(())
        },
    ),
    // The limit on keys, which Redis does not have.
    Parameter::new(
        "max-entries",
        LONG,
        |server| server.tuning.entries_max.load(Relaxed).to_string(),
        |server, value| {
            store(&server.tuning.entries_max, value)?;
            server.apply_limits().map_err(|error| error.to_string())
        },
    ),
    Parameter::new(
        "maxmemory",
        Kind::Memory(0, u64::MAX),
        |server| server.tuning.memory_bytes_max.load(Relaxed).to_string(),
        |server, value| {
            store(&server.tuning.memory_bytes_max, value)?;
            server.apply_limits().map_err(|error| error.to_string())
        },
    ),
    Parameter::new(
        "maxmemory-clients",
        Kind::MemoryOrPercent,
        |server| match server.tuning.client_memory_max.load(Relaxed) {
            percent @ ..0 => format!("{}%", percent.unsigned_abs()),
            bytes => bytes.to_string(),
        },
        |server, value| {
            let max = match value.strip_suffix('%') {
                Some(percent) => -number::<i64>(percent)?,
                None => number(value)?,
            };
            server.tuning.client_memory_max.store(max, Relaxed);
            Ok(())
        },
    ),
    Parameter::inert("maxmemory-eviction-tenacity", Kind::Integer(0, 100), "10"),
    Parameter::new(
        "maxmemory-policy",
        Kind::Word(&POLICIES),
        |server| server.tuning.policy().to_owned(),
        |server, value| {
            if let Some(place) = POLICIES.iter().position(|policy| *policy == value) {
                server.tuning.policy.store(place, Relaxed);
                server.db.hooks().count_accesses(server.tuning.use_counter());
            }
            server.apply_limits().map_err(|error| error.to_string())
        },
    ),
    Parameter::inert("maxmemory-samples", Kind::Integer(1, INT_MAX), "5"),
    Parameter::inert("min-replicas-max-lag", COUNT, "10").alias("min-slaves-max-lag"),
    Parameter::new(
        "notify-keyspace-events",
        Kind::Text,
        |server| server.notify.audience.wanted().events().show(),
        |server, letters| {
            let unknown = "Invalid event class character. Use 'Ag$lshzxeKEtmdnoc'.";
            let classes = Classes::parse(letters).ok_or(unknown)?;
            server.notify.audience.want(classes, &server.db).map_err(|error| error.to_string())
        },
    ),
    // There are no replicas, so any number but 0 refuses every write.
    Parameter::new(
        "min-replicas-to-write",
        COUNT,
        |server| server.tuning.replicas_min.load(Relaxed).to_string(),
        |server, value| {
            store(&server.tuning.replicas_min, value)?;
            server.set_write_check(WriteCheck::Replicas, value != "0");
            Ok(())
        },
    )
    .alias("min-slaves-to-write"),
    Parameter::settled(
        "port",
        Kind::Integer(0, 65_535),
        |server| {
            let tcp = server.addresses.iter().find_map(BoundAddress::tcp);
            tcp.map_or(0, |address| address.port()).to_string()
        },
        "Unable to listen on this port. Listeners are named by --listen when the server starts.",
    ),
    Parameter::new(
        "proto-max-bulk-len",
        Kind::Memory(MIB, LONG_MAX),
        |server| server.tuning.bounds().limits.bulk_bytes_max.to_string(),
        |server, value| {
            let bytes = number(value)?;
            server.tuning.change_bounds(|bounds| bounds.limits.bulk_bytes_max = bytes);
            Ok(())
        },
    ),
    // Whether a password is needed to listen where other machines reach it is decided when the server starts. A client
    // that needs less protection is content with more, so `no` is taken, and the truth is shown.
    Parameter::new(
        "protected-mode",
        Kind::Bool,
        |server| yes_or_no(!server.settings.exposed_ok),
        |_, value| {
            let why = "The server was started with --insecure-listen.";
            if value == "no" { Ok(()) } else { Err(why.to_owned()) }
        },
    ),
    // These two are constants of Redis, by names of ours.
    Parameter::new(
        "proto-max-inline-len",
        Kind::Memory(1024, MIB * 1024),
        |server| server.tuning.bounds().limits.inline_bytes_max.to_string(),
        |server, value| {
            let bytes = number(value)?;
            server.tuning.change_bounds(|bounds| bounds.limits.inline_bytes_max = bytes);
            Ok(())
        },
    ),
    Parameter::new(
        "proto-max-multibulk-len",
        Kind::Integer(16, INT_MAX),
        |server| server.tuning.bounds().limits.args_max.to_string(),
        |server, value| {
            let words = number(value)?;
            server.tuning.change_bounds(|bounds| bounds.limits.args_max = words);
            Ok(())
        },
    ),
    Parameter::inert("repl-backlog-size", Kind::Memory(1, LONG_MAX), "1048576"),
    Parameter::inert("repl-diskless-sync", Kind::Bool, "yes"),
    Parameter::inert("repl-diskless-sync-delay", COUNT, "5"),
    Parameter::inert("repl-ping-replica-period", Kind::Integer(1, INT_MAX), "10").alias("repl-ping-slave-period"),
    Parameter::inert("repl-timeout", Kind::Integer(1, INT_MAX), "60"),
    Parameter::inert("replica-priority", COUNT, "100").alias("slave-priority"),
    Parameter::inert("replica-read-only", Kind::Bool, "yes").alias("slave-read-only"),
    // `no` would be a promise about replicas, and this server never is one.
    Parameter::settled("replica-serve-stale-data", Kind::Bool, |_| "yes".to_owned(), "there is no replication here")
        .alias("slave-serve-stale-data"),
    Parameter::inert("replicaof", Kind::Text, "").alias("slaveof").immutable(),
    Parameter::new(
        "requirepass",
        Kind::Text,
        |server| String::from_utf8_lossy(&server.acl.password()).into_owned(),
        |server, value| {
            server.acl.set_password(value.as_bytes());
            Ok(())
        },
    )
    .sensitive(),
    Parameter::new(
        "save",
        Kind::Text,
        |server| lists::show_save_points(&server.tuning.save_points.lock()),
        |server, value| {
            let points = lists::save_points(value)?;
            *server.tuning.save_points.lock() = points;
            Ok(())
        },
    ),
    Parameter::new(
        "slowlog-entry-max-argc",
        Kind::Integer(2, INT_MAX),
        |server| server.slow.words_max.load(Relaxed).to_string(),
        |server, value| {
            server.slow.words_max.store(number(value)?, Relaxed);
            Ok(())
        },
    ),
    Parameter::new(
        "slowlog-entry-max-string-len",
        COUNT,
        |server| server.slow.word_bytes_max.load(Relaxed).to_string(),
        |server, value| {
            server.slow.word_bytes_max.store(number(value)?, Relaxed);
            Ok(())
        },
    ),
    Parameter::new(
        "slowlog-log-slower-than",
        LONG_OR_NEVER,
        |server| log_from(server, Logged::Time),
        |server, value| set_log_from(server, Logged::Time, value),
    )
    .alias("commandlog-execution-slower-than"),
    Parameter::new(
        "slowlog-max-len",
        LONG,
        |server| log_length(server, Logged::Time),
        |server, value| set_log_length(server, Logged::Time, value),
    )
    .alias("commandlog-slow-execution-max-len"),
    Parameter::inert("stop-writes-on-bgsave-error", Kind::Bool, "yes"),
    Parameter::fixed("tcp-backlog", |_| "1024".to_owned()),
    Parameter::new(
        "tcp-keepalive",
        COUNT,
        |server| server.tuning.keepalive_secs.load(Relaxed).to_string(),
        |server, value| store(&server.tuning.keepalive_secs, value),
    ),
    Parameter::new(
        "timeout",
        COUNT,
        |server| server.tuning.timeout_secs.load(Relaxed).to_string(),
        |server, value| store(&server.tuning.timeout_secs, value),
    ),
    Parameter::new(
        "tracking-table-max-keys",
        LONG,
        |server| server.notify.tracking.keys_max().to_string(),
        |server, value| {
            server.notify.tracking.set_keys_max(number(value)?);
            Ok(())
        },
    ),
    Parameter::fixed("unixsocket", |server| {
        let unix = server.addresses.iter().find(|address| address.tcp().is_none());
        unix.map_or_else(String::new, ToString::to_string)
    }),
    Parameter::fixed("unixsocketperm", |server| {
        let has_unix = server.addresses.iter().any(|address| address.tcp().is_none());
        if has_unix { "600" } else { "0" }.to_owned()
    }),
];

fn log_from(server: &ServerState, logged: Logged) -> String {
    server.slow.log(logged).from().to_string()
}

fn set_log_from(server: &ServerState, logged: Logged, value: &str) -> Result<(), String> {
    server.slow.log_from(logged, number(value)?);
    server.tuning.change_bounds(|bounds| bounds.large_bytes = server.slow.large_bytes());
    Ok(())
}

fn log_length(server: &ServerState, logged: Logged) -> String {
    server.slow.log(logged).length_max().to_string()
}

fn set_log_length(server: &ServerState, logged: Logged, value: &str) -> Result<(), String> {
    server.slow.log(logged).set_length_max(number(value)?);
    Ok(())
}

fn yes_or_no(is_so: bool) -> String {
    if is_so { "yes" } else { "no" }.to_owned()
}

/// A normalized number. It can only fail where the machine's numbers are shorter than 64 bits.
fn number<T: std::str::FromStr>(value: &str) -> Result<T, String> {
    value.parse().map_err(|_| "argument couldn't be parsed into an integer".to_owned())
}

fn store(into: &AtomicU64, value: &str) -> Result<(), String> {
    into.store(number(value)?, Relaxed);
    Ok(())
}
