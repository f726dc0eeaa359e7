//! Commands about programs inside the server, of which there are none: those that a client sends to be sure of it.
//!
//! Invariant: arity, flags, categories and arguments are those clients know from Redis 7.2.

use super::{Arg, Flag, Group, Spec, indexed};

const FLUSH_TYPE: Arg =
    Arg::one_of("flush-type", &[Arg::token("async", "ASYNC"), Arg::token("sync", "SYNC")]).optional();

pub(super) const ROWS: &[Spec] = &[
    Spec::new("function", -2, Group::Scripting, "7.0.0")
        .in_categories(&[])
        .summary("Groups the commands about functions, of which this server has none.")
        .subcommands(&FUNCTION_SUBCOMMANDS),
    Spec::new("script", -2, Group::Scripting, "2.6.0")
        .in_categories(&[])
        .summary("Groups the commands about scripts, of which this server keeps none.")
        .subcommands(&SCRIPT_SUBCOMMANDS),
];

const FUNCTION_SUBCOMMANDS: [Spec; 9] = indexed([
    Spec::new("function|flush", -2, Group::Scripting, "7.0.0")
        .summary("Removes all functions; there are none.")
        .flags(&[Flag::NoScript, Flag::Write])
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .args(&[FLUSH_TYPE]),
    Spec::new("function|kill", 2, Group::Scripting, "7.0.0")
        .summary("Ends the function that runs; none ever does.")
        .flags(&[Flag::NoScript, Flag::AllowBusy])
        .tips(&["request_policy:all_shards", "response_policy:one_succeeded"]),
    Spec::new("function|list", -2, Group::Scripting, "7.0.0")
        .summary("Lists libraries of functions; there are none.")
        .flags(&[Flag::NoScript])
        .tips(&["nondeterministic_output_order"])
        .args(&[
            Arg::string("library-name-pattern").after("LIBRARYNAME").optional(),
            Arg::token("withcode", "WITHCODE").optional(),
        ]),
    Spec::new("function|stats", 2, Group::Scripting, "7.0.0")
        .summary("Tells which function runs; none ever does.")
        .flags(&[Flag::NoScript, Flag::AllowBusy])
        .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"]),
    Spec::help("function|help", Group::Scripting, "7.0.0"),
    Spec::unsupported("function|delete", 3, Group::Scripting, "7.0.0")
        .flags(&[Flag::NoScript, Flag::Write])
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"]),
    Spec::unsupported("function|dump", 2, Group::Scripting, "7.0.0").flags(&[Flag::NoScript]),
    Spec::unsupported("function|load", -3, Group::Scripting, "7.0.0")
        .flags(&[Flag::NoScript, Flag::Write, Flag::DenyOom])
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"]),
    Spec::unsupported("function|restore", -3, Group::Scripting, "7.0.0")
        .flags(&[Flag::NoScript, Flag::Write, Flag::DenyOom])
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"]),
]);

const SCRIPT_SUBCOMMANDS: [Spec; 7] = indexed([
    Spec::new("script|exists", -3, Group::Scripting, "2.6.0")
        .summary("Tells for each digest whether its script is kept; none is.")
        .complexity("O(N) in the digests")
        .flags(&[Flag::NoScript])
        .tips(&["request_policy:all_shards", "response_policy:agg_logical_and"])
        .args(&[Arg::string("sha1").multiple()]),
    Spec::new("script|flush", -2, Group::Scripting, "2.6.0")
        .summary("Forgets all scripts; none is kept.")
        .flags(&[Flag::NoScript])
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .args(&[FLUSH_TYPE.since("6.2.0")]),
    Spec::new("script|kill", 2, Group::Scripting, "2.6.0")
        .summary("Ends the script that runs; none ever does.")
        .flags(&[Flag::NoScript, Flag::AllowBusy])
        .tips(&["request_policy:all_shards", "response_policy:one_succeeded"]),
    Spec::help("script|help", Group::Scripting, "5.0.0"),
    Spec::unsupported("script|load", 3, Group::Scripting, "2.6.0")
        .flags(&[Flag::NoScript, Flag::Stale])
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
    Spec::unsupported("script|debug", 3, Group::Scripting, "3.2.0").flags(&[Flag::NoScript]),
    Spec::unsupported("script|show", 3, Group::Scripting, "8.0.0").flags(&[Flag::NoScript, Flag::Stale]),
]);
