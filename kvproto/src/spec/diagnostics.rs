//! Commands that tell how the server is doing: its memory, its place among others.
//!
//! Invariant: arity, flags, categories, key positions and arguments are those clients know from Redis 7.2.

use super::{Arg, Category, Flag, Group, KeyFlag, KeySpec, Spec, indexed};

const ALL_SHARDS: [&str; 3] = ["nondeterministic_output", "request_policy:all_shards", "response_policy:special"];

pub(super) const ROWS: &[Spec] = &[
    Spec::new("bgrewriteaof", 1, Group::Server, "1.0.0")
        .summary("Starts writing a snapshot, which makes the log before it superfluous.")
        .flags(&[Flag::NoAsyncLoading, Flag::Admin, Flag::NoScript]),
    Spec::new("lolwut", -1, Group::Server, "5.0.0")
        .summary("Draws something and tells the version.")
        .flags(&[Flag::ReadOnly, Flag::Fast])
        .args(&[Arg::integer("version").after("VERSION").optional()]),
    Spec::new("memory", -2, Group::Server, "4.0.0")
        .summary("Groups the commands about memory.")
        .subcommands(&MEMORY_SUBCOMMANDS),
    Spec::new("module", -2, Group::Server, "4.0.0")
        .summary("Groups the commands about modules, of which this server has none.")
        .subcommands(&MODULE_SUBCOMMANDS),
    Spec::new("role", 1, Group::Server, "2.8.12")
        .summary("Tells the server's role in replication: a master without replicas.")
        .flags(&[Flag::NoScript, Flag::Loading, Flag::Stale, Flag::Fast])
        .in_categories(&[Category::Admin, Category::Dangerous]),
    Spec::new("wait", 3, Group::Generic, "3.0.0")
        .summary("Waits for replicas to have this client's writes; there are none, so it answers 0.")
        .in_categories(&[Category::Connection])
        .tips(&["request_policy:all_shards", "response_policy:agg_min"])
        .args(&[Arg::integer("numreplicas"), Arg::integer("timeout")]),
    Spec::new("waitaof", 4, Group::Generic, "7.2.0")
        .summary("Waits until what was written is on this server's stable storage; there are no replicas to wait for.")
        .flags(&[Flag::NoScript])
        .in_categories(&[Category::Connection])
        .tips(&["request_policy:all_shards", "response_policy:agg_min"])
        .args(&[Arg::integer("numlocal"), Arg::integer("numreplicas"), Arg::integer("timeout")]),
];

const MEMORY_SUBCOMMANDS: [Spec; 6] = indexed([
    Spec::new("memory|doctor", 2, Group::Server, "4.0.0")
        .summary("Explains what takes the memory, for people.")
        .tips(&ALL_SHARDS),
    Spec::new("memory|malloc-stats", 2, Group::Server, "4.0.0")
        .summary("Tells what the allocator knows.")
        .tips(&ALL_SHARDS),
    Spec::new("memory|purge", 2, Group::Server, "4.0.0")
        .summary("Gives back memory the allocator can do without; it does so by itself.")
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"]),
    Spec::new("memory|stats", 2, Group::Server, "4.0.0").summary("Tells what takes how much memory.").tips(&ALL_SHARDS),
    Spec::new("memory|usage", -3, Group::Server, "4.0.0")
        .summary("Tells how many bytes of memory a key and its value take.")
        .flags(&[Flag::ReadOnly])
        .keys_at(&[KeySpec::one(2, &[KeyFlag::ReadOnly])])
        .args(&[Arg::key("key"), Arg::integer("count").after("SAMPLES").optional()]),
    Spec::help("memory|help", Group::Server, "4.0.0"),
]);

const MODULE_SUBCOMMANDS: [Spec; 5] = indexed([
    Spec::new("module|list", 2, Group::Server, "4.0.0")
        .summary("Lists modules; there are none.")
        .flags(&[Flag::Admin, Flag::NoScript])
        .tips(&["nondeterministic_output_order"]),
    Spec::help("module|help", Group::Server, "5.0.0"),
    Spec::unsupported("module|load", -3, Group::Server, "4.0.0").flags(&[
        Flag::NoAsyncLoading,
        Flag::Admin,
        Flag::NoScript,
    ]),
    Spec::unsupported("module|loadex", -3, Group::Server, "7.0.0").flags(&[
        Flag::NoAsyncLoading,
        Flag::Admin,
        Flag::NoScript,
    ]),
    Spec::unsupported("module|unload", 3, Group::Server, "4.0.0").flags(&[
        Flag::NoAsyncLoading,
        Flag::Admin,
        Flag::NoScript,
    ]),
]);
