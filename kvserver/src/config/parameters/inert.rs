//! The parameters of Redis 7.2 that mean nothing here: its inner workings, clusters, replicas, TLS.
//!
//! Invariant: each shows Redis' default until a client sets it, and takes what Redis takes, so that tools which read or
//! set it go on; none promises what this server does not do: what would be such a promise is refused.

use super::parameter::{InFile, Parameter};
use crate::state::ServerState;
use kvconfig::Kind;

const INT_MAX: i64 = i32::MAX as i64;
const LONG_MAX: u64 = i64::MAX as u64;
const COUNT: Kind = Kind::Integer(0, INT_MAX);
const LONG: Kind = Kind::Integer(0, i64::MAX);

/// What a file says of the system's log.
const NO_SYSLOG: InFile = InFile::Refused("the log goes to standard error");

/// A parameter of a listener that does not exist.
const fn tls(name: &'static str, kind: Kind, show: fn(&ServerState) -> String) -> Parameter {
    Parameter::constant(name, kind, show, "there is no TLS here").in_file(InFile::Refused("there is no TLS here"))
}

/// The rows, in the order of their names.
pub(super) const ROWS: &[Parameter] = &[
    Parameter::inert("active-defrag-cycle-max", Kind::Integer(1, 99), "25"),
    Parameter::inert("active-defrag-cycle-min", Kind::Integer(1, 99), "1"),
    Parameter::inert("active-defrag-ignore-bytes", Kind::Memory(1, LONG_MAX), "104857600"),
    Parameter::inert("active-defrag-max-scan-fields", Kind::Integer(1, i64::MAX), "1000"),
    Parameter::inert("active-defrag-threshold-lower", Kind::Integer(0, 1000), "10"),
    Parameter::inert("active-defrag-threshold-upper", Kind::Integer(0, 1000), "100"),
    Parameter::constant(
        "activedefrag",
        Kind::Bool,
        |_| "no".to_owned(),
        "Active defragmentation cannot be enabled: there is none here",
    )
    .in_file(InFile::PassedOver),
    Parameter::inert("activerehashing", Kind::Bool, "yes"),
    Parameter::inert("always-show-logo", Kind::Bool, "no").immutable(),
    Parameter::inert("aof-disable-auto-gc", Kind::Bool, "no").hidden(),
    Parameter::inert("aof-load-truncated", Kind::Bool, "yes"),
    Parameter::inert("aof-rewrite-cpulist", Kind::Text, "").alias("aof_rewrite_cpulist").immutable(),
    Parameter::inert("aof-rewrite-incremental-fsync", Kind::Bool, "yes"),
    Parameter::inert("aof-timestamp-enabled", Kind::Bool, "no"),
    Parameter::inert("appenddirname", Kind::Text, "").immutable(),
    Parameter::inert("appendfilename", Kind::Text, "").immutable(),
    Parameter::inert("auto-aof-rewrite-min-size", Kind::Memory(0, LONG_MAX), "67108864"),
    Parameter::inert("auto-aof-rewrite-percentage", COUNT, "100"),
    Parameter::inert("bgsave-cpulist", Kind::Text, "").alias("bgsave_cpulist").immutable(),
    Parameter::inert("bind-source-addr", Kind::Text, ""),
    Parameter::inert("bio-cpulist", Kind::Text, "").alias("bio_cpulist").immutable(),
    Parameter::inert("client-default-resp", Kind::Integer(2, 3), "2")
        .immutable()
        .hidden()
        .in_file(InFile::Only(&["2"], "clients choose their protocol by HELLO")),
    Parameter::inert("cluster-allow-pubsubshard-when-down", Kind::Bool, "yes"),
    Parameter::inert("cluster-allow-reads-when-down", Kind::Bool, "no"),
    Parameter::inert("cluster-allow-replica-migration", Kind::Bool, "yes"),
    Parameter::inert("cluster-announce-bus-port", Kind::Integer(0, 65535), "0"),
    Parameter::inert("cluster-announce-hostname", Kind::Text, ""),
    Parameter::inert("cluster-announce-human-nodename", Kind::Text, ""),
    Parameter::inert("cluster-announce-ip", Kind::Text, ""),
    Parameter::inert("cluster-announce-port", Kind::Integer(0, 65535), "0"),
    Parameter::inert("cluster-announce-tls-port", Kind::Integer(0, 65535), "0"),
    Parameter::inert("cluster-config-file", Kind::Text, "nodes.conf").immutable(),
    Parameter::inert("cluster-enabled", Kind::Bool, "no")
        .immutable()
        .in_file(InFile::Only(&["no"], "a server is one node")),
    Parameter::inert("cluster-link-sendbuf-limit", Kind::Memory(0, u64::MAX), "0"),
    Parameter::inert("cluster-migration-barrier", COUNT, "1"),
    Parameter::inert("cluster-node-timeout", LONG, "15000"),
    Parameter::inert("cluster-ping-interval", LONG, "0").hidden(),
    Parameter::inert("cluster-port", Kind::Integer(0, 65535), "0").immutable(),
    Parameter::inert("cluster-preferred-endpoint-type", Kind::Word(&["ip", "hostname", "unknown-endpoint"]), "ip"),
    Parameter::inert("cluster-replica-no-failover", Kind::Bool, "no").alias("cluster-slave-no-failover"),
    Parameter::inert("cluster-replica-validity-factor", COUNT, "10").alias("cluster-slave-validity-factor"),
    Parameter::inert("cluster-require-full-coverage", Kind::Bool, "yes"),
    Parameter::inert("crash-log-enabled", Kind::Bool, "yes"),
    Parameter::inert("crash-memcheck-enabled", Kind::Bool, "yes"),
    Parameter::inert("disable-thp", Kind::Bool, "yes").immutable(),
    Parameter::inert("dynamic-hz", Kind::Bool, "yes"),
    Parameter::inert("enable-module-command", Kind::Word(&["no", "yes", "local"]), "no").immutable(),
    Parameter::inert("enable-protected-configs", Kind::Word(&["no", "yes", "local"]), "no").immutable(),
    Parameter::inert("hash-max-listpack-entries", LONG, "512").alias("hash-max-ziplist-entries"),
    Parameter::inert("hash-max-listpack-value", Kind::Memory(0, LONG_MAX), "64").alias("hash-max-ziplist-value"),
    Parameter::inert("ignore-warnings", Kind::Text, ""),
    Parameter::inert("io-threads-do-reads", Kind::Bool, "no").immutable(),
    Parameter::inert("jemalloc-bg-thread", Kind::Bool, "yes"),
    Parameter::inert("list-compress-depth", COUNT, "0"),
    Parameter::inert("list-max-listpack-size", Kind::Integer(i32::MIN as i64, INT_MAX), "-2")
        .alias("list-max-ziplist-size"),
    Parameter::inert("loading-process-events-interval-bytes", Kind::Integer(1024, INT_MAX), "2097152").hidden(),
    Parameter::inert("locale-collate", Kind::Text, ""),
    Parameter::inert("logfile", Kind::Text, "")
        .immutable()
        .in_file(InFile::Only(&[""], "the log goes to standard error")),
    Parameter::inert("no-appendfsync-on-rewrite", Kind::Bool, "no"),
    Parameter::inert("oom-score-adj", Kind::Word(&["no", "yes", "relative", "absolute"]), "no"),
    Parameter::inert("oom-score-adj-values", Kind::Integers { count: 3, min: -2000, max: 2000 }, "0 200 800"),
    Parameter::inert("pidfile", Kind::Text, "").immutable(),
    Parameter::inert("proc-title-template", Kind::Text, "{title} {listen-addr} {server-mode}"),
    Parameter::inert("propagation-error-behavior", Kind::Word(&["ignore", "panic", "panic-on-replicas"]), "ignore"),
    Parameter::inert("rdb-del-sync-files", Kind::Bool, "no"),
    Parameter::inert("rdb-key-save-delay", Kind::Integer(i32::MIN as i64, INT_MAX), "0").hidden(),
    Parameter::inert("rdb-save-incremental-fsync", Kind::Bool, "yes"),
    Parameter::inert("rdbchecksum", Kind::Bool, "yes").immutable(),
    Parameter::inert("rdbcompression", Kind::Bool, "yes"),
    Parameter::inert("repl-backlog-ttl", LONG, "3600"),
    Parameter::inert("repl-disable-tcp-nodelay", Kind::Bool, "no"),
    Parameter::inert("repl-diskless-load", Kind::Word(&["disabled", "on-empty-db", "swapdb"]), "disabled"),
    Parameter::inert("repl-diskless-sync-max-replicas", COUNT, "0"),
    Parameter::inert("repl-diskless-sync-period", COUNT, "5").hidden(),
    Parameter::inert("replica-announce-ip", Kind::Text, "").alias("slave-announce-ip"),
    Parameter::inert("replica-announce-port", Kind::Integer(0, 65535), "0").alias("slave-announce-port"),
    Parameter::inert("replica-announced", Kind::Bool, "yes"),
    Parameter::inert("replica-ignore-disk-write-errors", Kind::Bool, "no"),
    Parameter::inert("replica-ignore-maxmemory", Kind::Bool, "yes").alias("slave-ignore-maxmemory"),
    Parameter::inert("replica-lazy-flush", Kind::Bool, "no").alias("slave-lazy-flush"),
    Parameter::inert("req-res-logfile", Kind::Text, "").immutable().hidden(),
    Parameter::inert("sanitize-dump-payload", Kind::Word(&["no", "yes", "clients"]), "no"),
    Parameter::inert("server-cpulist", Kind::Text, "").alias("server_cpulist").immutable(),
    Parameter::inert("set-max-intset-entries", LONG, "512"),
    Parameter::inert("set-max-listpack-entries", LONG, "128"),
    Parameter::inert("set-max-listpack-value", LONG, "64"),
    Parameter::inert("set-proc-title", Kind::Bool, "yes").immutable(),
    Parameter::inert("shutdown-on-sigint", Kind::Words(&["default", "save", "nosave", "now", "force"]), "default"),
    Parameter::inert("shutdown-on-sigterm", Kind::Words(&["default", "save", "nosave", "now", "force"]), "default"),
    Parameter::inert("shutdown-timeout", COUNT, "10"),
    Parameter::inert("socket-mark-id", Kind::Integer(0, u32::MAX as i64), "0").immutable(),
    Parameter::inert("stream-node-max-bytes", Kind::Memory(0, LONG_MAX), "4096"),
    Parameter::inert("stream-node-max-entries", LONG, "100"),
    Parameter::inert("supervised", Kind::Word(&["upstart", "systemd", "auto", "no"]), "no")
        .immutable()
        .in_file(InFile::Only(&["no", "auto"], "no service manager is told of the start")),
    Parameter::inert("syslog-enabled", Kind::Bool, "no").immutable().in_file(NO_SYSLOG),
    Parameter::inert(
        "syslog-facility",
        Kind::Word(&["user", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"]),
        "local0",
    )
    .immutable()
    .in_file(NO_SYSLOG),
    Parameter::inert("syslog-ident", Kind::Text, "redis").immutable().in_file(NO_SYSLOG),
    Parameter::inert("use-exit-on-panic", Kind::Bool, "no").hidden(),
    Parameter::inert("watchdog-period", COUNT, "0").hidden(),
    Parameter::inert("zset-max-listpack-entries", LONG, "128").alias("zset-max-ziplist-entries"),
    Parameter::inert("zset-max-listpack-value", Kind::Memory(0, LONG_MAX), "64").alias("zset-max-ziplist-value"),
    tls("tls-auth-clients", Kind::Word(&["no", "yes", "optional"]), |_| "yes".to_owned()),
    tls("tls-ca-cert-dir", Kind::Text, |_| "".to_owned()),
    tls("tls-ca-cert-file", Kind::Text, |_| "".to_owned()),
    tls("tls-cert-file", Kind::Text, |_| "".to_owned()),
    tls("tls-ciphers", Kind::Text, |_| "".to_owned()),
    tls("tls-ciphersuites", Kind::Text, |_| "".to_owned()),
    tls("tls-client-cert-file", Kind::Text, |_| "".to_owned()),
    tls("tls-client-key-file", Kind::Text, |_| "".to_owned()),
    tls("tls-client-key-file-pass", Kind::Text, |_| "".to_owned()),
    tls("tls-cluster", Kind::Bool, |_| "no".to_owned()),
    tls("tls-dh-params-file", Kind::Text, |_| "".to_owned()),
    tls("tls-key-file", Kind::Text, |_| "".to_owned()),
    tls("tls-key-file-pass", Kind::Text, |_| "".to_owned()),
    tls("tls-port", Kind::Integer(0, 65535), |_| "0".to_owned()),
    tls("tls-prefer-server-ciphers", Kind::Bool, |_| "no".to_owned()),
    tls("tls-protocols", Kind::Text, |_| "".to_owned()),
    tls("tls-replication", Kind::Bool, |_| "no".to_owned()),
    tls("tls-session-cache-size", COUNT, |_| "20480".to_owned()),
    tls("tls-session-cache-timeout", COUNT, |_| "300".to_owned()),
    tls("tls-session-caching", Kind::Bool, |_| "yes".to_owned()),
];
