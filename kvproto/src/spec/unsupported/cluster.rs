//! Clusters: known, not executed.
//!
//! Invariant: arity, flags, categories and key positions are those clients know from Redis 7.2, and for what came later from
//! the version that the row names.

use crate::spec::Flag::{Admin, Fast, Loading, NoAsyncLoading, NoScript, ReadOnly, Stale, Write};
use crate::spec::{Category, Flag, Group, KeyFlag, KeySpec, Spec, indexed};

const fn row(name: &'static str, arity: i32, since: &'static str, flags: &[Flag], keys: &'static [KeySpec]) -> Spec {
    Spec::unsupported(name, arity, Group::Cluster, since).flags(flags).keys_at(keys)
}

pub(in crate::spec) const ROWS: &[Spec] = &[
    row("asking", 1, "3.0.0", &[Fast], &[]).in_categories(&[Category::Connection]),
    row("cluster", -2, "3.0.0", &[], &[]).subcommands(&CLUSTER_SUBCOMMANDS),
    row("clusterscan", -2, "9.1.0", &[ReadOnly], &[KeySpec::one(1, &[KeyFlag::NotKey])])
        .in_categories(&[Category::Keyspace])
        .tips(&["nondeterministic_output", "request_policy:special", "response_policy:special"]),
    row("readonly", 1, "3.0.0", &[Loading, Stale, Fast], &[]).in_categories(&[Category::Connection]),
    row("readwrite", 1, "3.0.0", &[Loading, Stale, Fast], &[]).in_categories(&[Category::Connection]),
];

const CLUSTER_SUBCOMMANDS: [Spec; 35] = indexed([
    row("cluster|addslots", -3, "3.0.0", &[Admin, Stale, NoAsyncLoading], &[]),
    row("cluster|addslotsrange", -4, "7.0.0", &[Admin, Stale, NoAsyncLoading], &[]),
    row("cluster|bumpepoch", 2, "3.0.0", &[Admin, Stale, NoAsyncLoading], &[]).tips(&["nondeterministic_output"]),
    row("cluster|count-failure-reports", 3, "3.0.0", &[Admin, Stale], &[]).tips(&["nondeterministic_output"]),
    row("cluster|countkeysinslot", 3, "3.0.0", &[Stale], &[]),
    row("cluster|delslots", -3, "3.0.0", &[Admin, Stale, NoAsyncLoading], &[]),
    row("cluster|delslotsrange", -4, "7.0.0", &[Admin, Stale, NoAsyncLoading], &[]),
    row("cluster|failover", -2, "3.0.0", &[Admin, Stale, NoAsyncLoading], &[]),
    row("cluster|flushslots", 2, "3.0.0", &[Admin, Stale, NoAsyncLoading], &[]),
    row("cluster|forget", 3, "3.0.0", &[Admin, Stale, NoAsyncLoading], &[]),
    row("cluster|getkeysinslot", 4, "3.0.0", &[Stale], &[]).tips(&["nondeterministic_output"]),
    row("cluster|help", 2, "5.0.0", &[Loading, Stale], &[]),
    row("cluster|info", 2, "3.0.0", &[Stale], &[]).tips(&["nondeterministic_output"]),
    row("cluster|keyslot", 3, "3.0.0", &[Stale], &[]),
    row("cluster|links", 2, "7.0.0", &[Stale], &[]).tips(&["nondeterministic_output"]),
    row("cluster|meet", -4, "3.0.0", &[Admin, Stale, NoAsyncLoading], &[]),
    row("cluster|myid", 2, "3.0.0", &[Stale], &[]),
    row("cluster|myshardid", 2, "7.2.0", &[Stale], &[]).tips(&["nondeterministic_output"]),
    row("cluster|nodes", 2, "3.0.0", &[Stale], &[]).tips(&["nondeterministic_output"]),
    row("cluster|replicas", 3, "5.0.0", &[Admin, Stale], &[]).tips(&["nondeterministic_output"]),
    row("cluster|replicate", 3, "3.0.0", &[Admin, Stale, NoAsyncLoading], &[]),
    row("cluster|reset", -2, "3.0.0", &[Admin, NoScript, Stale], &[]),
    row("cluster|saveconfig", 2, "3.0.0", &[Admin, Stale, NoAsyncLoading], &[]),
    row("cluster|set-config-epoch", 3, "3.0.0", &[Admin, Stale, NoAsyncLoading], &[]),
    row("cluster|setslot", -4, "3.0.0", &[Admin, Stale, NoAsyncLoading], &[]),
    row("cluster|shards", 2, "7.0.0", &[Loading, Stale], &[]).tips(&["nondeterministic_output"]),
    row("cluster|slaves", 3, "3.0.0", &[Admin, Stale], &[])
        .tips(&["nondeterministic_output"])
        .deprecated("5.0.0", "`CLUSTER REPLICAS`"),
    row("cluster|slots", 2, "3.0.0", &[Loading, Stale], &[])
        .tips(&["nondeterministic_output"])
        .deprecated("7.0.0", "`CLUSTER SHARDS`"),
    row("cluster|cancelslotmigrations", 2, "9.0.0", &[Admin, Stale, NoAsyncLoading], &[]),
    row("cluster|flushslot", -3, "9.0.0", &[Write, Admin, NoAsyncLoading], &[]).in_categories(&[Category::Keyspace]),
    row("cluster|getslotmigrations", 2, "9.0.0", &[Admin, Stale, NoAsyncLoading], &[]),
    row("cluster|migrateslots", -4, "9.0.0", &[Admin, Stale, NoAsyncLoading], &[]),
    row("cluster|migration", -4, "8.4.0", &[Admin, Stale, NoAsyncLoading], &[]),
    row("cluster|slot-stats", -4, "8.0.0", &[Loading, Stale], &[])
        .tips(&["nondeterministic_output", "request_policy:all_shards"]),
    row("cluster|syncslots", -3, "9.0.0", &[Admin, Stale, NoAsyncLoading], &[]),
]);
