//! Commands that tell what was slow, large or hot: COMMANDLOG, HOTKEYS, SLOWLOG and LATENCY.
//!
//! Invariant: arity, flags, categories and arguments are those clients know from Redis 7.2, those of COMMANDLOG from
//! Valkey 8.1, those of HOTKEYS from Redis 8.6.

use super::{Arg, Flag, Group, Spec, indexed};

const ADMIN: [Flag; 4] = [Flag::Admin, Flag::NoScript, Flag::Loading, Flag::Stale];
const ALL_NODES: [&str; 3] = ["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"];

pub(super) const ROWS: &[Spec] = &[
    Spec::new("hotkeys", -2, Group::Server, "8.6.0")
        .summary("Groups the commands about hot keys.")
        .subcommands(&HOTKEYS_SUBCOMMANDS),
    Spec::new("commandlog", -2, Group::Server, "8.1.0")
        .summary("Groups the commands about the logs of slow and large commands.")
        .subcommands(&COMMANDLOG_SUBCOMMANDS),
    Spec::new("latency", -2, Group::Server, "2.8.13")
        .summary("Groups the commands about how long commands took.")
        .subcommands(&LATENCY_SUBCOMMANDS),
    Spec::new("slowlog", -2, Group::Server, "2.2.12")
        .summary("Groups the commands about the log of slow commands.")
        .subcommands(&SLOWLOG_SUBCOMMANDS),
];

const FOR_HOTKEYS: &[Flag] = &[Flag::Admin, Flag::NoScript];

const HOTKEYS_SUBCOMMANDS: [Spec; 5] = indexed([
    Spec::new("hotkeys|get", 2, Group::Server, "8.6.0")
        .summary("Shows on which keys the most time was spent, and which had the most bytes of requests and replies.")
        .complexity("O(N log N) in the keys that are remembered, which are few")
        .flags(FOR_HOTKEYS),
    Spec::help("hotkeys|help", Group::Server, "8.6.1"),
    Spec::new("hotkeys|reset", 2, Group::Server, "8.6.0").summary("Forgets what was tracked.").flags(FOR_HOTKEYS),
    Spec::new("hotkeys|start", -5, Group::Server, "8.6.0")
        .summary("Begins to track what commands spend on keys.")
        .flags(FOR_HOTKEYS)
        .args(&[
            Arg::block(
                "metrics",
                &[
                    Arg::integer("count"),
                    Arg::one_of("metric", &[Arg::token("cpu", "CPU"), Arg::token("net", "NET")]).multiple(),
                ],
            )
            .after("METRICS"),
            Arg::integer("k").after("COUNT").optional(),
            Arg::integer("seconds").after("DURATION").optional(),
            Arg::integer("ratio").after("SAMPLE").optional(),
        ]),
    Spec::new("hotkeys|stop", 2, Group::Server, "8.6.0")
        .summary("Ends tracking; what is known is kept.")
        .flags(FOR_HOTKEYS),
]);

const LATENCY_SUBCOMMANDS: [Spec; 7] = indexed([
    Spec::new("latency|doctor", 2, Group::Server, "2.8.13")
        .summary("Explains what was slow, for people.")
        .flags(&ADMIN)
        .tips(&ALL_NODES),
    Spec::new("latency|graph", 3, Group::Server, "2.8.13")
        .summary("Draws the history of one event.")
        .flags(&ADMIN)
        .tips(&ALL_NODES)
        .args(&[Arg::string("event")]),
    Spec::help("latency|help", Group::Server, "2.8.13"),
    Spec::new("latency|histogram", -2, Group::Server, "7.0.0")
        .summary("Tells for each command how many calls took how long.")
        .complexity("O(N) in the commands asked for")
        .flags(&ADMIN)
        .tips(&ALL_NODES)
        .args(&[Arg::string("command").optional().multiple()]),
    Spec::new("latency|history", 3, Group::Server, "2.8.13")
        .summary("Tells when one event happened and how long it took.")
        .flags(&ADMIN)
        .tips(&ALL_NODES)
        .args(&[Arg::string("event")]),
    Spec::new("latency|latest", 2, Group::Server, "2.8.13")
        .summary("Tells the latest and the longest latency of each event.")
        .flags(&ADMIN)
        .tips(&ALL_NODES),
    Spec::new("latency|reset", -2, Group::Server, "2.8.13")
        .summary("Forgets what was noted of some events, or of all.")
        .flags(&ADMIN)
        .tips(&["request_policy:all_nodes", "response_policy:agg_sum"])
        .args(&[Arg::string("event").optional().multiple()]),
]);

const SLOWLOG_SUBCOMMANDS: [Spec; 4] = indexed([
    Spec::new("slowlog|get", -2, Group::Server, "2.2.12")
        .summary("Shows the newest slow commands.")
        .complexity("O(N) in the entries shown")
        .flags(&[Flag::Admin, Flag::Loading, Flag::Stale])
        .tips(&["request_policy:all_nodes", "nondeterministic_output"])
        .args(&[Arg::integer("count").optional()]),
    Spec::help("slowlog|help", Group::Server, "6.2.0"),
    Spec::new("slowlog|len", 2, Group::Server, "2.2.12")
        .summary("Counts the slow commands in the log.")
        .flags(&[Flag::Admin, Flag::Loading, Flag::Stale])
        .tips(&["request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"]),
    Spec::new("slowlog|reset", 2, Group::Server, "2.2.12")
        .summary("Empties the log of slow commands.")
        .complexity("O(N) in the entries")
        .flags(&[Flag::Admin, Flag::Loading, Flag::Stale])
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
]);

const LOG: Arg = Arg::one_of(
    "type",
    &[
        Arg::token("slow", "SLOW"),
        Arg::token("large-request", "LARGE-REQUEST"),
        Arg::token("large-reply", "LARGE-REPLY"),
    ],
);

const COMMANDLOG_SUBCOMMANDS: [Spec; 4] = indexed([
    Spec::new("commandlog|get", 4, Group::Server, "8.1.0")
        .summary("Shows the newest commands that ran long, or had a large request or reply.")
        .complexity("O(N) in the entries shown")
        .flags(&[Flag::Admin, Flag::Loading, Flag::Stale])
        .tips(&["request_policy:all_nodes", "nondeterministic_output"])
        .args(&[Arg::integer("count"), LOG]),
    Spec::help("commandlog|help", Group::Server, "8.1.0"),
    Spec::new("commandlog|len", 3, Group::Server, "8.1.0")
        .summary("Counts the commands in one of the logs.")
        .flags(&[Flag::Admin, Flag::Loading, Flag::Stale])
        .tips(&["request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"])
        .args(&[LOG]),
    Spec::new("commandlog|reset", 3, Group::Server, "8.1.0")
        .summary("Empties one of the logs.")
        .complexity("O(N) in the entries")
        .flags(&[Flag::Admin, Flag::Loading, Flag::Stale])
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .args(&[LOG]),
]);
