//! Hashes: known, not executed.
//!
//! Invariant: arity, flags, categories and key positions are those clients know from Redis 7.2, and for what came later from
//! the version that the row names.

use super::effects::{CHANGE, INSERT, LOOK, READ, REMOVE, STORE, TAKE, UPDATE};
use crate::spec::Flag::{DenyOom, Fast, ReadOnly, Write};
use crate::spec::{Category, Flag, Group, KeySpec, Spec, indexed};

const fn row(name: &'static str, arity: i32, since: &'static str, flags: &[Flag], keys: &'static [KeySpec]) -> Spec {
    Spec::unsupported(name, arity, Group::Hash, since).flags(flags).in_categories(&[Category::Hash]).keys_at(keys)
}

pub(in crate::spec) const ROWS: &[Spec] = &[
    row("hdel", -3, "2.0.0", &[Write, Fast], &[KeySpec::one(1, REMOVE)]),
    row("hexists", 3, "2.0.0", &[ReadOnly, Fast], &[KeySpec::one(1, LOOK)]),
    row("hexpire", -6, "7.4.0", &[Write, DenyOom, Fast], &[KeySpec::one(1, UPDATE)]),
    row("hexpireat", -6, "7.4.0", &[Write, DenyOom, Fast], &[KeySpec::one(1, UPDATE)]),
    row("hexpiretime", -5, "7.4.0", &[ReadOnly, Fast], &[KeySpec::one(1, READ)]),
    row("hget", 3, "2.0.0", &[ReadOnly, Fast], &[KeySpec::one(1, READ)]),
    row("hgetall", 2, "2.0.0", &[ReadOnly], &[KeySpec::one(1, READ)]).tips(&["nondeterministic_output_order"]),
    row("hgetdel", -5, "8.0.0", &[Write, Fast], &[KeySpec::one(1, TAKE)]),
    row("hgetex", -5, "8.0.0", &[Write, Fast], &[KeySpec::one(1, CHANGE)]),
    row("himport", -2, "8.10.0", &[], &[]).subcommands(&HIMPORT_SUBCOMMANDS),
    row("hincrby", 4, "2.0.0", &[Write, DenyOom, Fast], &[KeySpec::one(1, CHANGE)]),
    row("hincrbyfloat", 4, "2.6.0", &[Write, DenyOom, Fast], &[KeySpec::one(1, CHANGE)]),
    row("hkeys", 2, "2.0.0", &[ReadOnly], &[KeySpec::one(1, READ)]).tips(&["nondeterministic_output_order"]),
    row("hlen", 2, "2.0.0", &[ReadOnly, Fast], &[KeySpec::one(1, LOOK)]),
    row("hmget", -3, "2.0.0", &[ReadOnly, Fast], &[KeySpec::one(1, READ)]),
    row("hmset", -4, "2.0.0", &[Write, DenyOom, Fast], &[KeySpec::one(1, UPDATE)]).deprecated("4.0.0", "`HSET`"),
    row("hpersist", -5, "7.4.0", &[Write, Fast], &[KeySpec::one(1, UPDATE)]),
    row("hpexpire", -6, "7.4.0", &[Write, DenyOom, Fast], &[KeySpec::one(1, UPDATE)]),
    row("hpexpireat", -6, "7.4.0", &[Write, DenyOom, Fast], &[KeySpec::one(1, UPDATE)]),
    row("hpexpiretime", -5, "7.4.0", &[ReadOnly, Fast], &[KeySpec::one(1, READ)]),
    row("hpttl", -5, "7.4.0", &[ReadOnly, Fast], &[KeySpec::one(1, READ)]),
    row("hrandfield", -2, "6.2.0", &[ReadOnly], &[KeySpec::one(1, READ)]).tips(&["nondeterministic_output"]),
    row("hscan", -3, "2.8.0", &[ReadOnly], &[KeySpec::one(1, READ)]).tips(&["nondeterministic_output"]),
    row("hset", -4, "2.0.0", &[Write, DenyOom, Fast], &[KeySpec::one(1, UPDATE)]),
    row("hsetex", -6, "8.0.0", &[Write, DenyOom, Fast], &[KeySpec::one(1, UPDATE)]),
    row("hsetnx", 4, "2.0.0", &[Write, DenyOom, Fast], &[KeySpec::one(1, INSERT)]),
    row("hstrlen", 3, "3.2.0", &[ReadOnly, Fast], &[KeySpec::one(1, LOOK)]),
    row("httl", -5, "7.4.0", &[ReadOnly, Fast], &[KeySpec::one(1, READ)]),
    row("hvals", 2, "2.0.0", &[ReadOnly], &[KeySpec::one(1, READ)]).tips(&["nondeterministic_output_order"]),
];

const HIMPORT_SUBCOMMANDS: [Spec; 4] = indexed([
    row("himport|discard", 3, "8.10.0", &[], &[]).tips(&["request_policy:all_shards"]),
    row("himport|discardall", 2, "8.10.0", &[], &[]).tips(&["request_policy:all_shards"]),
    row("himport|prepare", -4, "8.10.0", &[DenyOom], &[]).tips(&["request_policy:all_shards"]),
    row("himport|set", -5, "8.10.0", &[Write, DenyOom], &[KeySpec::one(2, STORE)]),
]);
