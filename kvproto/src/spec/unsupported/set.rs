//! Sets: known, not executed.
//!
//! Invariant: arity, flags, categories and key positions are those clients know from Redis 7.2, and for what came later from
//! the version that the row names.

use super::effects::{INSERT, LOOK, READ, REMOVE, STORE, TAKE, UPDATE};
use crate::spec::Flag::{DenyOom, Fast, ReadOnly, Write};
use crate::spec::{Category, Flag, Group, KeySpec, Spec};

const fn row(name: &'static str, arity: i32, since: &'static str, flags: &[Flag], keys: &'static [KeySpec]) -> Spec {
    Spec::unsupported(name, arity, Group::Set, since).flags(flags).in_categories(&[Category::Set]).keys_at(keys)
}

pub(in crate::spec) const ROWS: &[Spec] = &[
    row("sadd", -3, "1.0.0", &[Write, DenyOom, Fast], &[KeySpec::one(1, INSERT)]),
    row("saddex", -5, "8.12.0", &[Write, DenyOom, Fast], &[KeySpec::one(1, UPDATE)]),
    row("scard", 2, "1.0.0", &[ReadOnly, Fast], &[KeySpec::one(1, LOOK)]),
    row("sdiff", -2, "1.0.0", &[ReadOnly], &[KeySpec::to_end(1, 1, READ)]).tips(&["nondeterministic_output_order"]),
    row("sdiffcard", -3, "8.10.0", &[ReadOnly], &[KeySpec::counted(1, 1, READ)]),
    row("sdiffstore", -3, "1.0.0", &[Write, DenyOom], &[KeySpec::one(1, STORE), KeySpec::to_end(2, 1, READ)]),
    row("sexpire", -6, "8.12.0", &[Write, DenyOom, Fast], &[KeySpec::one(1, UPDATE)]),
    row("sexpireat", -6, "8.12.0", &[Write, DenyOom, Fast], &[KeySpec::one(1, UPDATE)]),
    row("sexpiretime", -5, "8.12.0", &[ReadOnly, Fast], &[KeySpec::one(1, READ)]),
    row("sinter", -2, "1.0.0", &[ReadOnly], &[KeySpec::to_end(1, 1, READ)]).tips(&["nondeterministic_output_order"]),
    row("sintercard", -3, "7.0.0", &[ReadOnly], &[KeySpec::counted(1, 1, READ)]),
    row("sinterstore", -3, "1.0.0", &[Write, DenyOom], &[KeySpec::one(1, UPDATE), KeySpec::to_end(2, 1, READ)]),
    row("sismember", 3, "1.0.0", &[ReadOnly, Fast], &[KeySpec::one(1, LOOK)]),
    row("smembers", 2, "1.0.0", &[ReadOnly], &[KeySpec::one(1, READ)]).tips(&["nondeterministic_output_order"]),
    row("smismember", -3, "6.2.0", &[ReadOnly, Fast], &[KeySpec::one(1, READ)]),
    row("smove", 4, "1.0.0", &[Write, Fast], &[KeySpec::one(1, TAKE), KeySpec::one(2, INSERT)]),
    row("spersist", -5, "8.12.0", &[Write, Fast], &[KeySpec::one(1, UPDATE)]),
    row("spexpire", -6, "8.12.0", &[Write, DenyOom, Fast], &[KeySpec::one(1, UPDATE)]),
    row("spexpireat", -6, "8.12.0", &[Write, DenyOom, Fast], &[KeySpec::one(1, UPDATE)]),
    row("spexpiretime", -5, "8.12.0", &[ReadOnly, Fast], &[KeySpec::one(1, READ)]),
    row("spop", -2, "1.0.0", &[Write, Fast], &[KeySpec::one(1, TAKE)]).tips(&["nondeterministic_output"]),
    row("spttl", -5, "8.12.0", &[ReadOnly, Fast], &[KeySpec::one(1, READ)]),
    row("srandmember", -2, "1.0.0", &[ReadOnly], &[KeySpec::one(1, READ)]).tips(&["nondeterministic_output"]),
    row("srem", -3, "1.0.0", &[Write, Fast], &[KeySpec::one(1, REMOVE)]),
    row("sscan", -3, "2.8.0", &[ReadOnly], &[KeySpec::one(1, READ)]).tips(&["nondeterministic_output"]),
    row("sttl", -5, "8.12.0", &[ReadOnly, Fast], &[KeySpec::one(1, READ)]),
    row("sunion", -2, "1.0.0", &[ReadOnly], &[KeySpec::to_end(1, 1, READ)]).tips(&["nondeterministic_output_order"]),
    row("sunioncard", -3, "8.10.0", &[ReadOnly], &[KeySpec::counted(1, 1, READ)]),
    row("sunionstore", -3, "1.0.0", &[Write, DenyOom], &[KeySpec::one(1, STORE), KeySpec::to_end(2, 1, READ)]),
];
