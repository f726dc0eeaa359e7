//! Sorted sets: known, not executed.
//!
//! Invariant: arity, flags, categories and key positions are those clients know from Redis 7.2, and for what came later from
//! the version that the row names.

use super::effects::{CHANGE, LOOK, READ, REMOVE, STORE, TAKE, UPDATE};
use crate::spec::Flag::{Blocking, DenyOom, Fast, ReadOnly, Write};
use crate::spec::{Category, Flag, Group, KeySpec, Spec};

const fn row(name: &'static str, arity: i32, since: &'static str, flags: &[Flag], keys: &'static [KeySpec]) -> Spec {
    Spec::unsupported(name, arity, Group::SortedSet, since)
        .flags(flags)
        .in_categories(&[Category::SortedSet])
        .keys_at(keys)
}

pub(in crate::spec) const ROWS: &[Spec] = &[
    row("bzmove", -5, "8.12.0", &[Write, DenyOom, Blocking], &[KeySpec::one(1, TAKE), KeySpec::one(2, UPDATE)]),
    row("bzmpop", -5, "7.0.0", &[Write, Blocking], &[KeySpec::counted(2, 1, TAKE)]),
    row("bzpopmax", -3, "5.0.0", &[Write, Blocking, Fast], &[KeySpec::range(1, -2, TAKE)]),
    row("bzpopmin", -3, "5.0.0", &[Write, Blocking, Fast], &[KeySpec::range(1, -2, TAKE)]),
    row("zadd", -4, "1.2.0", &[Write, DenyOom, Fast], &[KeySpec::one(1, UPDATE)]),
    row("zcard", 2, "1.2.0", &[ReadOnly, Fast], &[KeySpec::one(1, LOOK)]),
    row("zcount", 4, "2.0.0", &[ReadOnly, Fast], &[KeySpec::one(1, READ)]),
    row("zdiff", -3, "6.2.0", &[ReadOnly], &[KeySpec::counted(1, 1, READ)]),
    row("zdiffstore", -4, "6.2.0", &[Write, DenyOom], &[KeySpec::one(1, STORE), KeySpec::counted(2, 1, READ)]),
    row("zincrby", 4, "1.2.0", &[Write, DenyOom, Fast], &[KeySpec::one(1, CHANGE)]),
    row("zinter", -3, "6.2.0", &[ReadOnly], &[KeySpec::counted(1, 1, READ)]),
    row("zintercard", -3, "7.0.0", &[ReadOnly], &[KeySpec::counted(1, 1, READ)]),
    row("zinterstore", -4, "2.0.0", &[Write, DenyOom], &[KeySpec::one(1, STORE), KeySpec::counted(2, 1, READ)]),
    row("zlexcount", 4, "2.8.9", &[ReadOnly, Fast], &[KeySpec::one(1, READ)]),
    row("zmove", -4, "8.12.0", &[Write, DenyOom], &[KeySpec::one(1, TAKE), KeySpec::one(2, UPDATE)]),
    row("zmovemember", -6, "8.12.0", &[Write, DenyOom], &[KeySpec::one(1, TAKE), KeySpec::one(2, UPDATE)]),
    row("zmpop", -4, "7.0.0", &[Write], &[KeySpec::counted(1, 1, TAKE)]),
    row("zmscore", -3, "6.2.0", &[ReadOnly, Fast], &[KeySpec::one(1, READ)]),
    row("zpopmax", -2, "5.0.0", &[Write, Fast], &[KeySpec::one(1, TAKE)]),
    row("zpopmin", -2, "5.0.0", &[Write, Fast], &[KeySpec::one(1, TAKE)]),
    row("zrandmember", -2, "6.2.0", &[ReadOnly], &[KeySpec::one(1, READ)]).tips(&["nondeterministic_output"]),
    row("zrange", -4, "1.2.0", &[ReadOnly], &[KeySpec::one(1, READ)]),
    row("zrangebylex", -4, "2.8.9", &[ReadOnly], &[KeySpec::one(1, READ)]).deprecated("6.2.0", "`ZRANGE`"),
    row("zrangebyscore", -4, "1.0.5", &[ReadOnly], &[KeySpec::one(1, READ)]).deprecated("6.2.0", "`ZRANGE`"),
    row("zrangestore", -5, "6.2.0", &[Write, DenyOom], &[KeySpec::one(1, STORE), KeySpec::one(2, READ)]),
    row("zrank", -3, "2.0.0", &[ReadOnly, Fast], &[KeySpec::one(1, READ)]),
    row("zrem", -3, "1.2.0", &[Write, Fast], &[KeySpec::one(1, REMOVE)]),
    row("zremrangebylex", 4, "2.8.9", &[Write], &[KeySpec::one(1, REMOVE)]),
    row("zremrangebyrank", 4, "2.0.0", &[Write], &[KeySpec::one(1, REMOVE)]),
    row("zremrangebyscore", 4, "1.2.0", &[Write], &[KeySpec::one(1, REMOVE)]),
    row("zrevrange", -4, "1.2.0", &[ReadOnly], &[KeySpec::one(1, READ)]).deprecated("6.2.0", "`ZRANGE`"),
    row("zrevrangebylex", -4, "2.8.9", &[ReadOnly], &[KeySpec::one(1, READ)]).deprecated("6.2.0", "`ZRANGE`"),
    row("zrevrangebyscore", -4, "2.2.0", &[ReadOnly], &[KeySpec::one(1, READ)]).deprecated("6.2.0", "`ZRANGE`"),
    row("zrevrank", -3, "2.0.0", &[ReadOnly, Fast], &[KeySpec::one(1, READ)]),
    row("zscan", -3, "2.8.0", &[ReadOnly], &[KeySpec::one(1, READ)]).tips(&["nondeterministic_output"]),
    row("zscore", 3, "1.2.0", &[ReadOnly, Fast], &[KeySpec::one(1, READ)]),
    row("zunion", -3, "6.2.0", &[ReadOnly], &[KeySpec::counted(1, 1, READ)]),
    row("zunionstore", -4, "2.0.0", &[Write, DenyOom], &[KeySpec::one(1, STORE), KeySpec::counted(2, 1, READ)]),
];
