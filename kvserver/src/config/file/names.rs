//! Names of Redis' configuration files that are no parameters here.
//!
//! Invariant: a line whose neglect would leave the data, or access to it, other than its author believes is refused;
//! only what concerns Redis' inner workings is passed over.

/// Why a line with this name cannot be obeyed.
pub(crate) fn refusal(name: &str) -> Option<&'static str> {
    Some(match name {
        "include" => "other files are not read in: put their lines here",
        "rename-command" => "commands cannot be renamed: take them away from a user, as in `user default -flushall`",
        "loadmodule" => "there are no modules here",
        "replicaof" | "slaveof" => "there is no replication here",
        "requirepass-file" => "that is a flag of the program only",
        name if name.starts_with("tls-") => "there is no TLS here",
        name if name.starts_with("sentinel") => "this is no sentinel",
        name if name.starts_with("syslog-") => "the log goes to standard error",
        _ => return None,
    })
}

/// What a line with this name may say, if that is what holds here anyway.
pub(crate) fn only(name: &str) -> Option<(&'static [&'static str], &'static str)> {
    Some(match name {
        "cluster-enabled" => (&["no"], "a server is one node"),
        "databases" => (&["16"], "there are 16 databases"),
        "daemonize" => (&["no"], "the server stays in the foreground: let a service manager run it"),
        "supervised" => (&["no", "auto"], "no service manager is told of the start"),
        "unixsocketperm" => (&["600", "700", "0600", "0700"], "a unix socket is its owner's alone"),
        "logfile" => (&[""], "the log goes to standard error"),
        _ => return None,
    })
}

/// Whether a line with this name means nothing here and takes nothing from anybody.
pub(crate) fn is_passed_over(name: &str) -> bool {
    PASSED_OVER.contains(&name) || name.starts_with("active-defrag-")
}

const PASSED_OVER: &[&str] = &[
    "activedefrag",
    "activerehashing",
    "always-show-logo",
    "aof-load-truncated",
    "aof-rewrite-incremental-fsync",
    "aof-timestamp-enabled",
    "appenddirname",
    "appendfilename",
    "auto-aof-rewrite-min-size",
    "auto-aof-rewrite-percentage",
    "crash-log-enabled",
    "crash-memcheck-enabled",
    "dbfilename",
    "disable-thp",
    "dynamic-hz",
    "enable-module-command",
    "enable-protected-configs",
    "hash-max-listpack-entries",
    "hash-max-listpack-value",
    "hash-max-ziplist-entries",
    "hash-max-ziplist-value",
    "hz",
    "io-threads-do-reads",
    "jemalloc-bg-thread",
    "list-compress-depth",
    "list-max-listpack-size",
    "list-max-ziplist-size",
    "locale-collate",
    "no-appendfsync-on-rewrite",
    "oom-score-adj",
    "oom-score-adj-values",
    "pidfile",
    "proc-title-template",
    "rdb-del-sync-files",
    "rdb-save-incremental-fsync",
    "rdbchecksum",
    "rdbcompression",
    "repl-disable-tcp-nodelay",
    "repl-diskless-load",
    "repl-diskless-sync-max-replicas",
    "repl-diskless-sync-period",
    "replica-lazy-flush",
    "sanitize-dump-payload",
    "set-max-intset-entries",
    "set-max-listpack-entries",
    "set-max-listpack-value",
    "set-proc-title",
    "shutdown-on-sigint",
    "shutdown-on-sigterm",
    "shutdown-timeout",
    "stream-node-max-bytes",
    "stream-node-max-entries",
    "tcp-backlog",
    "zset-max-listpack-entries",
    "zset-max-listpack-value",
    "zset-max-ziplist-entries",
    "zset-max-ziplist-value",
];
