//! The rows of the table, in the order of their names.
//!
//! Invariant: a row that says it changes something changes it for the connections that exist, too, from their next time slice
//! on; only `tcp-keepalive` is for new ones.

use std::sync::atomic::Ordering::Relaxed;

use kvcore::Durability;

use super::lists;
use super::parameter::{Flag, InFile, Parameter, number, yes_or_no};
use crate::admin::logging::LogLevel;
use crate::databases::DATABASES;
use crate::net::listener::{BoundAddress, ListenUrl};
use crate::state::runtime_config::AVAILABILITY_ZONE;
use crate::state::{ServerState, WriteCheck};
use kvcommands::events::Classes;
use kvcommands::eviction_policy::POLICIES;
use kvconfig::Kind;
use kvconfig::value::{percentiles, show_percentiles};
use kvstats::process::clients_possible;
use kvstats::slow::Logged;

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
    })
    .flag(Flag::new(
        "acl-file",
        "FILE",
        "A file of users, one a line as ACL LIST shows them; ACL LOAD and ACL SAVE read and write it",
    )),
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
    )
    .flag(
        Flag::new(
            "durability",
            "WHEN",
            "When a write is acknowledged: always (it is on disk), everysec (it is on disk within a second), \
             os (the operating system decides)",
        )
        .default("everysec")
        .read(durability),
    ),
    // Seconds after which a backup that its client does not read is ended; Redis has no such thing.
    Parameter::number("backup-timeout", COUNT, |server| &server.backups.timeout_secs),
    // A client that needs no log is content with one; so `no` is taken, and the truth is shown.
    Parameter::new(
        "appendonly",
        Kind::Bool,
        |server| if server.db.is_in_memory() { "no" } else { "yes" }.to_owned(),
        |_, value| if value == "no" { Ok(()) } else { Err("this store keeps nothing on disk".to_owned()) },
    )
    .flag(Flag::new("memory-only", "", "Keep nothing on disk").line("memory-only").read(|_| Ok("yes".to_owned()))),
    Parameter::constant(
        "bind",
        Kind::Text,
        |server| {
            let mut hosts: Vec<String> =
                server.addresses.iter().filter_map(BoundAddress::tcp).map(|address| address.ip().to_string()).collect();
            hosts.dedup();
            hosts.join(" ")
        },
        "Failed to bind to specified addresses. Listeners are named by --listen when the server starts.",
    )
    .flag(
        Flag::new(
            "listen",
            "URL",
            "Where to listen; may be given several times. resp://HOST:PORT, \
             line://HOST:PORT[?style=terse|plain|verbose][&max_key=N][&max_value=N], unix:///PATH",
        )
        .line("listen")
        .default("resp://127.0.0.1:6379 line://127.0.0.1:7171")
        .read(|url| url.parse::<ListenUrl>().map(|_| url.to_owned()).map_err(|error| error.to_string())),
    ),
    Parameter::inert(AVAILABILITY_ZONE, Kind::Text, ""),
    Parameter::inert("busy-reply-threshold", LONG, "5000").alias("lua-time-limit"),
    Parameter::new(
        "client-output-buffer-limit",
        Kind::Text,
        |server| lists::show_output_limits(&server.runtime.loop_limits().output),
        |server, value| {
            let output = lists::output_limits(server.runtime.loop_limits().output, value)?;
            server.runtime.change_limits(|bounds| bounds.output = output);
            Ok(())
        },
    ),
    Parameter::limit("client-query-buffer-limit", Kind::Memory(MIB, LONG_MAX), |of| &mut of.limits.request_bytes_max),
    Parameter::log_length("commandlog-large-reply-max-len", LONG, Logged::Reply),
    Parameter::log_length("commandlog-large-request-max-len", LONG, Logged::Request),
    Parameter::log_from("commandlog-reply-larger-than", LONG_OR_NEVER, Logged::Reply),
    Parameter::log_from("commandlog-request-larger-than", LONG_OR_NEVER, Logged::Request),
    Parameter::inert("daemonize", Kind::Bool, "no")
        .immutable()
        .in_file(InFile::Only(&["no"], "the server stays in the foreground: let a service manager run it")),
    Parameter::fixed("databases", |_| DATABASES.to_string()).in_file(InFile::Only(&["16"], "there are 16 databases")),
    Parameter::fixed("dbfilename", |_| String::new()).protected().in_file(InFile::PassedOver),
    Parameter::fixed("dir", |server| server.config.dir.clone())
        .flag(Flag::new("dir", "DIR", "Where the data is kept; made if it does not exist").default("kvdata"))
        .protected(),
    // How often Redis does its housekeeping. There is no such timer here; the number is kept and shown.
    Parameter::new(
        "hz",
        COUNT,
        |server| server.runtime.hz.load(Relaxed).to_string(),
        |server, value| {
            server.runtime.hz.store(number::<u64>(value)?.clamp(HZ_MIN, HZ_MAX), Relaxed);
            Ok(())
        },
    )
    .in_file(InFile::PassedOver),
    Parameter::fixed("io-threads", |server| server.notify.mailboxes.len().to_string()).flag(
        Flag::new("loops", "N", "Event loops, one thread each [default: one for every two cores]")
            .read(|count| Kind::Integer(1, 256).normalize(count)),
    ),
    Parameter::fixed("enable-debug-command", |server| yes_or_no(server.config.debug_allowed)).flag(
        Flag::new("enable-debug", "", "Obey DEBUG, with which every client can bring the server to a halt: for tests")
            .read(|_| Ok("yes".to_owned())),
    ),
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
    Parameter::switch("latency-tracking", |server| &server.runtime.latency_tracking),
    Parameter::new(
        "latency-tracking-info-percentiles",
        Kind::Percentiles,
        |server| show_percentiles(&server.runtime.percentiles.lock()),
        |server, value| {
            *server.runtime.percentiles.lock() = percentiles(value).unwrap_or_default();
            Ok(())
        },
    ),
    Parameter::inert("lazyfree-lazy-eviction", Kind::Bool, "no"),
    Parameter::inert("lazyfree-lazy-expire", Kind::Bool, "no"),
    Parameter::inert("lazyfree-lazy-server-del", Kind::Bool, "no"),
    Parameter::inert("lazyfree-lazy-user-del", Kind::Bool, "no"),
    Parameter::inert("lazyfree-lazy-user-flush", Kind::Bool, "no"),
    Parameter::number("hll-sparse-max-bytes", Kind::Memory(0, LONG_MAX), |server| &server.runtime.sparse_bytes_max),
    Parameter::number("lfu-decay-time", COUNT, |server| &server.runtime.lfu_decay_minutes).then(count_accesses),
    Parameter::number("lfu-log-factor", COUNT, |server| &server.runtime.lfu_factor).then(count_accesses),
    // Of the line protocol, which Redis does not have.
    Parameter::limit("line-max-len", Kind::Memory(1024, MIB * 1024), |of| &mut of.limits.line_bytes_max),
    Parameter::number("login-timeout", COUNT, |server| &server.runtime.login_timeout_secs).flag(
        Flag::new(
            "login-timeout",
            "SECONDS",
            "Seconds in which a connection has to log in, where a password is needed, before it is closed; 0 \
             for any number",
        )
        .default("30"),
    ),
    Parameter::new(
        "loglevel",
        Kind::Word(&["debug", "verbose", "notice", "warning", "nothing"]),
        |server| server.logging.level().word().to_owned(),
        |server, word| {
            server.logging.set(LogLevel::of(word).ok_or("there is no such level")?);
            Ok(())
        },
    )
    .flag(
        Flag::new("log-level", "LEVEL", "How much to log to standard error: error, warn, info, debug or trace")
            .default("info")
            .read(log_level),
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
    )
    .flag(
        Flag::new("max-clients", "N", "Connections served at once; further ones are refused and closed")
            .default("10000"),
    ),
    // The limit on keys, which Redis does not have.
    Parameter::number("max-entries", LONG, |server| &server.runtime.entries_max)
        .flag(
            Flag::new(
                "max-entries",
                "N",
                "Keys in all databases; with more, one is evicted by the maxmemory-policy of the configuration \
                 file, allkeys-lru if that names none",
            )
            .read(|keys| Kind::Integer(1, i64::MAX).normalize(keys)),
        )
        .then(apply_limits),
    Parameter::number("maxmemory", Kind::Memory(0, u64::MAX), |server| &server.runtime.memory_bytes_max)
        .then(apply_limits),
    Parameter::new(
        "maxmemory-clients",
        Kind::MemoryOrPercent,
        |server| match server.runtime.client_memory_max.load(Relaxed) {
            percent @ ..0 => format!("{}%", percent.unsigned_abs()),
            bytes => bytes.to_string(),
        },
        |server, value| {
            let max = match value.strip_suffix('%') {
                Some(percent) => -number::<i64>(percent)?,
                None => number(value)?,
            };
            server.runtime.client_memory_max.store(max, Relaxed);
            Ok(())
        },
    ),
    Parameter::inert("maxmemory-eviction-tenacity", Kind::Integer(0, 100), "10"),
    Parameter::new(
        "maxmemory-policy",
        Kind::Word(&POLICIES),
        |server| server.runtime.policy().to_owned(),
        |server, value| {
            if let Some(place) = POLICIES.iter().position(|policy| *policy == value) {
                server.runtime.policy.store(place, Relaxed);
                count_accesses(server)?;
            }
            apply_limits(server)
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
    Parameter::number("min-replicas-to-write", COUNT, |server| &server.runtime.replicas_min)
        .then(|server| {
            server.set_write_check(WriteCheck::Replicas, server.runtime.replicas_min.load(Relaxed) != 0);
            Ok(())
        })
        .alias("min-slaves-to-write"),
    Parameter::constant(
        "port",
        Kind::Integer(0, 65_535),
        |server| {
            let tcp = server.addresses.iter().find_map(BoundAddress::tcp);
            tcp.map_or(0, |address| address.port()).to_string()
        },
        "Unable to listen on this port. Listeners are named by --listen when the server starts.",
    ),
    Parameter::limit("proto-max-bulk-len", Kind::Memory(MIB, LONG_MAX), |of| &mut of.limits.bulk_bytes_max),
    // Whether a password is needed to listen where other machines reach it is decided when the server starts. A client
    // that needs less protection is content with more, so `no` is taken, and the truth is shown.
    Parameter::new(
        "protected-mode",
        Kind::Bool,
        |server| yes_or_no(!server.config.exposed_ok),
        |_, value| {
            let why = "The server was started with --insecure-listen.";
            if value == "no" { Ok(()) } else { Err(why.to_owned()) }
        },
    )
    .flag(
        Flag::new(
            "insecure-listen",
            "",
            "Allow listening on addresses that other machines can reach, although no password protects the \
             data",
        )
        .read(|_| Ok("no".to_owned())),
    ),
    // These two are constants of Redis, by names of ours.
    Parameter::limit("proto-max-inline-len", Kind::Memory(1024, MIB * 1024), |of| &mut of.limits.inline_bytes_max),
    Parameter::limit("proto-max-multibulk-len", Kind::Integer(16, INT_MAX), |of| &mut of.limits.args_max),
    Parameter::inert("repl-backlog-size", Kind::Memory(1, LONG_MAX), "1048576"),
    Parameter::inert("repl-diskless-sync", Kind::Bool, "yes"),
    Parameter::inert("repl-diskless-sync-delay", COUNT, "5"),
    Parameter::inert("repl-ping-replica-period", Kind::Integer(1, INT_MAX), "10").alias("repl-ping-slave-period"),
    Parameter::inert("repl-timeout", Kind::Integer(1, INT_MAX), "60"),
    Parameter::inert("replica-priority", COUNT, "100").alias("slave-priority"),
    Parameter::inert("replica-read-only", Kind::Bool, "yes").alias("slave-read-only"),
    // `no` would be a promise about replicas, and this server never is one.
    Parameter::constant("replica-serve-stale-data", Kind::Bool, |_| "yes".to_owned(), "there is no replication here")
        .alias("slave-serve-stale-data"),
    Parameter::inert("replicaof", Kind::Text, "")
        .alias("slaveof")
        .immutable()
        .in_file(InFile::Refused("there is no replication here")),
    Parameter::new(
        "requirepass",
        Kind::Text,
        |server| String::from_utf8_lossy(&server.acl.password()).into_owned(),
        |server, value| {
            server.acl.set_password(value.as_bytes());
            Ok(())
        },
    )
    .flag(Flag::new(
        "requirepass",
        "PASSWORD",
        "The password clients have to send with AUTH. Every user of this machine can read it in the list \
         of processes: prefer --requirepass-file, or the environment variable KVSERVER_REQUIREPASS",
    ))
    .sensitive(),
    Parameter::new(
        "save",
        Kind::Text,
        |server| lists::show_save_points(&server.runtime.save_points.lock()),
        |server, value| {
            let points = lists::save_points(value)?;
            *server.runtime.save_points.lock() = points;
            Ok(())
        },
    )
    .flag(
        Flag::new(
            "snapshot-every",
            "SECONDS",
            "Write a snapshot every so many seconds if something changed; 0 for never by time",
        )
        .default("300")
        .read(snapshot_every),
    ),
    Parameter::number("slowlog-entry-max-argc", Kind::Integer(2, INT_MAX), |server| &server.slow.words_max),
    Parameter::number("slowlog-entry-max-string-len", COUNT, |server| &server.slow.word_bytes_max),
    Parameter::log_from("slowlog-log-slower-than", LONG_OR_NEVER, Logged::Time)
        .alias("commandlog-execution-slower-than"),
    Parameter::log_length("slowlog-max-len", LONG, Logged::Time).alias("commandlog-slow-execution-max-len"),
    Parameter::inert("stop-writes-on-bgsave-error", Kind::Bool, "yes"),
    Parameter::fixed("tcp-backlog", |_| "1024".to_owned()).in_file(InFile::PassedOver),
    Parameter::number("tcp-keepalive", COUNT, |server| &server.runtime.keepalive_secs),
    Parameter::number("timeout", COUNT, |server| &server.runtime.timeout_secs),
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
    })
    .in_file(InFile::Only(&["600", "700", "0600", "0700"], "a unix socket is its owner\'s alone")),
];

fn apply_limits(server: &ServerState) -> Result<(), String> {
    server.apply_limits().map_err(|error| error.to_string())
}

fn count_accesses(server: &ServerState) -> Result<(), String> {
    server.db.hooks().count_accesses(server.runtime.use_counter());
    Ok(())
}

fn durability(text: &str) -> Result<String, String> {
    match text {
        "always" | "everysec" => Ok(text.to_owned()),
        "os" => Ok("no".to_owned()),
        _ => Err("durability is always, everysec or os".to_owned()),
    }
}

/// Redis' words for levels are others: the start takes these as they are.
fn log_level(text: &str) -> Result<String, String> {
    let is_level = ["error", "warn", "info", "debug", "trace"].contains(&text);
    if is_level { Ok(text.to_owned()) } else { Err("a level is error, warn, info, debug or trace".to_owned()) }
}

fn snapshot_every(text: &str) -> Result<String, String> {
    match text.parse::<u32>() {
        Ok(0) => Ok(String::new()),
        Ok(seconds) => Ok(format!("{seconds} 1")),
        Err(_) => Err("a number of seconds".to_owned()),
    }
}
