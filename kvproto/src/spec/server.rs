//! Commands about the server as a whole.
//!
//! Invariant: arity, flags, categories, key positions and arguments are those clients know from Redis 7.2.

use super::{Arg, Category, Flag, Group, Secrets, Spec, Trait, indexed};

const FLUSH_TYPE: Arg = Arg::one_of(
    "flush-type",
    &[Arg::token("async", "ASYNC").since("4.0.0"), Arg::token("sync", "SYNC").since("6.2.0")],
)
.optional();

pub(super) const ROWS: &[Spec] = &[
    Spec::new("backup", -2, Group::Server, "0.1.0")
        .summary("Groups the commands that copy the whole store while it is used.")
        .subcommands(&BACKUP_SUBCOMMANDS),
    Spec::new("bgsave", -1, Group::Server, "1.0.0")
        .summary(
            "Starts writing a snapshot while commands go on being served, or gives up the one that is being written.",
        )
        .flags(&[Flag::NoAsyncLoading, Flag::Admin, Flag::NoScript])
        .args(&[Arg::one_of(
            "operation",
            &[Arg::token("schedule", "SCHEDULE").since("3.2.2"), Arg::token("cancel", "CANCEL").since("8.1.0")],
        )
        .optional()]),
    Spec::new("command", -1, Group::Server, "2.8.13")
        .summary("Describes every command of this server.")
        .complexity("O(N) in the commands of the server")
        .flags(&[Flag::Loading, Flag::Stale])
        .in_categories(&[Category::Connection])
        .tips(&["nondeterministic_output_order"])
        .subcommands(&COMMAND_SUBCOMMANDS),
    Spec::new("config", -2, Group::Server, "2.0.0")
        .summary("Groups the commands about the server's settings.")
        .subcommands(&CONFIG_SUBCOMMANDS),
    Spec::new("dbsize", 1, Group::Server, "1.0.0")
        .summary("Counts the keys of the selected keyspace.")
        .flags(&[Flag::ReadOnly, Flag::Fast])
        .in_categories(&[Category::Keyspace])
        .tips(&["request_policy:all_shards", "response_policy:agg_sum"]),
    Spec::new("debug", -2, Group::Server, "1.0.0")
        .traits(&[Trait::ForTests])
        .summary("Looks into the server, or disturbs it, for tests. Refused unless it was started for that.")
        .flags(&[Flag::Admin, Flag::NoScript, Flag::Loading, Flag::Stale])
        .args(&[Arg::string("subcommand"), Arg::string("arg").optional().multiple()]),
    Spec::new("flush", 1, Group::Server, "0.1.0")
        .summary("Empties the selected keyspace and tells how many keys it held.")
        .complexity("O(N) in the keys of the keyspace")
        .flags(&[Flag::Write])
        .in_categories(&[Category::Keyspace, Category::Dangerous])
        .tips(&["request_policy:all_shards", "response_policy:agg_sum"]),
    Spec::new("flushall", -1, Group::Server, "1.0.0")
        .summary("Empties every keyspace.")
        .complexity("O(N) in all the keys")
        .flags(&[Flag::Write])
        .in_categories(&[Category::Keyspace, Category::Dangerous])
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .args(&[FLUSH_TYPE]),
    Spec::new("flushdb", -1, Group::Server, "1.0.0")
        .equivalents(&["flush"])
        .summary("Empties the selected keyspace.")
        .complexity("O(N) in the keys of the keyspace")
        .flags(&[Flag::Write])
        .in_categories(&[Category::Keyspace, Category::Dangerous])
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .args(&[FLUSH_TYPE]),
    Spec::new("info", -1, Group::Server, "1.0.0")
        .summary("Reports how the server is and what it has done.")
        .flags(&[Flag::Loading, Flag::Stale])
        .in_categories(&[Category::Dangerous])
        .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"])
        .args(&[Arg::string("section").optional().multiple()]),
    Spec::new("lastsave", 1, Group::Server, "1.0.0")
        .summary("Tells the Unix time in seconds of the newest good snapshot.")
        .flags(&[Flag::Loading, Flag::Stale, Flag::Fast])
        .in_categories(&[Category::Admin, Category::Dangerous])
        .tips(&["nondeterministic_output"]),
    Spec::new("monitor", 1, Group::Server, "1.0.0")
        .summary("Shows every command the server carries out, as it is carried out.")
        .complexity("O(1), and O(N) in the monitors for every command from then on")
        .flags(&[Flag::Admin, Flag::NoScript, Flag::Loading, Flag::Stale]),
    Spec::new("save", 1, Group::Server, "1.0.0")
        .summary("Writes a snapshot and answers when it is durable.")
        .complexity("O(N) in all the keys")
        .flags(&[Flag::NoAsyncLoading, Flag::Admin, Flag::NoScript, Flag::NoMulti]),
    Spec::new("shutdown", -1, Group::Server, "1.0.0")
        .summary("Stops the server when the log is durable; with SAVE, after a snapshot.")
        .complexity("O(N) in all the keys when it saves, else O(1)")
        .flags(&[Flag::Admin, Flag::NoScript, Flag::Loading, Flag::Stale, Flag::NoMulti, Flag::AllowBusy])
        .args(&[
            Arg::one_of("save-selector", &[Arg::token("nosave", "NOSAVE"), Arg::token("save", "SAVE")]).optional(),
            Arg::token("now", "NOW").optional().since("7.0.0"),
            Arg::token("force", "FORCE").optional().since("7.0.0"),
            Arg::token("safe", "SAFE").optional().since("9.0.0"),
            Arg::token("failover", "FAILOVER").optional().since("9.0.0"),
            Arg::token("abort", "ABORT").optional().since("7.0.0"),
        ]),
    Spec::new("swapdb", 3, Group::Server, "4.0.0")
        .summary("Exchanges all that two databases hold, at one moment.")
        .complexity("O(N) in the watched keys of both databases")
        .flags(&[Flag::Write, Flag::Fast])
        .in_categories(&[Category::Keyspace, Category::Dangerous])
        .args(&[Arg::integer("index1"), Arg::integer("index2")]),
    Spec::new("time", 1, Group::Server, "2.6.0")
        .summary("Tells the server's clock: Unix seconds, and the microseconds within that second.")
        .flags(&[Flag::Loading, Flag::Stale, Flag::Fast])
        .tips(&["nondeterministic_output"]),
];

const BACKUP_SUBCOMMANDS: [Spec; 4] = indexed([
    Spec::new("backup|start", 2, Group::Server, "0.1.0")
        .summary("Begins a backup of every keyspace as it is now, for this connection to read; tells how long it is.")
        .complexity("O(N) in the files of the store")
        .flags(&[Flag::Admin, Flag::NoScript, Flag::NoMulti]),
    Spec::new("backup|read", 2, Group::Server, "0.1.0")
        .summary("Sends the next bytes of this connection's backup, a tar archive; none at its end.")
        .complexity("O(1), at most 1 MiB")
        .flags(&[Flag::Admin, Flag::NoScript, Flag::NoMulti]),
    Spec::new("backup|stop", 2, Group::Server, "0.1.0")
        .summary("Ends this connection's backup before it is read to its end.")
        .flags(&[Flag::Admin, Flag::NoScript, Flag::NoMulti]),
    Spec::help("backup|help", Group::Server, "0.1.0"),
]);

const COMMAND_SUBCOMMANDS: [Spec; 7] = indexed([
    Spec::new("command|count", 2, Group::Server, "2.8.13")
        .summary("Counts the commands this server knows.")
        .flags(&[Flag::Loading, Flag::Stale])
        .in_categories(&[Category::Connection]),
    Spec::new("command|docs", -2, Group::Server, "7.0.0")
        .summary("Explains commands: what they do, their arguments, their cost.")
        .complexity("O(N) in the commands asked for")
        .flags(&[Flag::Loading, Flag::Stale])
        .in_categories(&[Category::Connection])
        .tips(&["nondeterministic_output_order"])
        .args(&[Arg::string("command-name").optional().multiple()]),
    Spec::new("command|getkeys", -3, Group::Server, "2.8.13")
        .secrets(Secrets::OfRequestAt(2))
        .summary("Tells which words of a command are keys.")
        .complexity("O(N) in the words of the command")
        .flags(&[Flag::Loading, Flag::Stale])
        .in_categories(&[Category::Connection])
        .args(&[Arg::string("command"), Arg::string("arg").optional().multiple()]),
    Spec::new("command|getkeysandflags", -3, Group::Server, "7.0.0")
        .secrets(Secrets::OfRequestAt(2))
        .summary("Tells which words of a command are keys, and what it does to them.")
        .complexity("O(N) in the words of the command")
        .flags(&[Flag::Loading, Flag::Stale])
        .in_categories(&[Category::Connection])
        .args(&[Arg::string("command"), Arg::string("arg").optional().multiple()]),
    Spec::new("command|info", -2, Group::Server, "2.8.13")
        .summary("Describes commands as a client library needs them: arity, flags, key positions.")
        .complexity("O(N) in the commands asked for")
        .flags(&[Flag::Loading, Flag::Stale])
        .in_categories(&[Category::Connection])
        .tips(&["nondeterministic_output_order"])
        .args(&[Arg::string("command-name").optional().multiple()]),
    Spec::new("command|list", -2, Group::Server, "7.0.0")
        .summary("Lists command names, all or those a filter lets through.")
        .complexity("O(N) in the commands of the server")
        .flags(&[Flag::Loading, Flag::Stale])
        .in_categories(&[Category::Connection])
        .tips(&["nondeterministic_output_order"])
        .args(&[Arg::one_of(
            "filterby",
            &[
                Arg::string("module-name").after("MODULE"),
                Arg::string("category").after("ACLCAT"),
                Arg::pattern("pattern").after("PATTERN"),
            ],
        )
        .after("FILTERBY")
        .optional()]),
    Spec::help("command|help", Group::Server, "5.0.0").in_categories(&[Category::Connection]),
]);

const CONFIG_SUBCOMMANDS: [Spec; 5] = indexed([
    Spec::new("config|get", -3, Group::Server, "2.0.0")
        .summary("Shows the settings whose names match the patterns.")
        .complexity("O(N) in the patterns given")
        .flags(&[Flag::Admin, Flag::NoScript, Flag::Loading, Flag::Stale])
        .args(&[Arg::string("parameter").multiple()]),
    Spec::new("config|resetstat", 2, Group::Server, "2.0.0")
        .summary("Lets the counters that INFO shows begin at zero again.")
        .flags(&[Flag::Admin, Flag::NoScript, Flag::Loading, Flag::Stale])
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
    Spec::new("config|rewrite", 2, Group::Server, "2.8.0")
        .summary("Writes the settings as they are now into the configuration file.")
        .flags(&[Flag::Admin, Flag::NoScript, Flag::Loading, Flag::Stale])
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
    Spec::new("config|set", -4, Group::Server, "2.0.0")
        .secrets(Secrets::SensitiveValues)
        .summary("Changes settings, all of those named or none.")
        .complexity("O(N) in the settings named")
        .flags(&[Flag::Admin, Flag::NoScript, Flag::Loading, Flag::Stale])
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .args(&[Arg::block("data", &[Arg::string("parameter"), Arg::string("value")]).multiple()]),
    Spec::help("config|help", Group::Server, "5.0.0"),
]);
