//! Lists: known, not executed.
//!
//! Invariant: arity, flags, categories and key positions are those clients know from Redis 7.2, and for what came later from
//! the version that the row names.

use super::effects::{INSERT, LOOK, READ, REMOVE, TAKE, UPDATE};
use crate::spec::Flag::{Blocking, DenyOom, Fast, ReadOnly, Write};
use crate::spec::{Category, Flag, Group, KeySpec, Spec};

const fn row(name: &'static str, arity: i32, since: &'static str, flags: &[Flag], keys: &'static [KeySpec]) -> Spec {
    Spec::unsupported(name, arity, Group::List, since).flags(flags).in_categories(&[Category::List]).keys_at(keys)
}

pub(in crate::spec) const ROWS: &[Spec] = &[
    row("blmove", 6, "6.2.0", &[Write, DenyOom, Blocking], &[KeySpec::one(1, TAKE), KeySpec::one(2, INSERT)]),
    row("blmovem", -6, "8.10.0", &[Write, DenyOom, Blocking], &[KeySpec::one(1, TAKE), KeySpec::one(2, INSERT)]),
    row("blmpop", -5, "7.0.0", &[Write, Blocking], &[KeySpec::counted(2, 1, TAKE)]),
    row("blpop", -3, "2.0.0", &[Write, Blocking], &[KeySpec::range(1, -2, TAKE)]),
    row("brpop", -3, "2.0.0", &[Write, Blocking], &[KeySpec::range(1, -2, TAKE)]),
    row("brpoplpush", 4, "2.2.0", &[Write, DenyOom, Blocking], &[KeySpec::one(1, TAKE), KeySpec::one(2, INSERT)])
        .deprecated("6.2.0", "`BLMOVE`"),
    row("lindex", 3, "1.0.0", &[ReadOnly], &[KeySpec::one(1, READ)]),
    row("linsert", 5, "2.2.0", &[Write, DenyOom], &[KeySpec::one(1, INSERT)]),
    row("llen", 2, "1.0.0", &[ReadOnly, Fast], &[KeySpec::one(1, LOOK)]),
    row("lmove", 5, "6.2.0", &[Write, DenyOom], &[KeySpec::one(1, TAKE), KeySpec::one(2, INSERT)]),
    row("lmovem", -5, "8.10.0", &[Write, DenyOom], &[KeySpec::one(1, TAKE), KeySpec::one(2, INSERT)]),
    row("lmpop", -4, "7.0.0", &[Write], &[KeySpec::counted(1, 1, TAKE)]),
    row("lpop", -2, "1.0.0", &[Write, Fast], &[KeySpec::one(1, TAKE)]),
    row("lpos", -3, "6.0.6", &[ReadOnly], &[KeySpec::one(1, READ)]),
    row("lpush", -3, "1.0.0", &[Write, DenyOom, Fast], &[KeySpec::one(1, INSERT)]),
    row("lpushx", -3, "2.2.0", &[Write, DenyOom, Fast], &[KeySpec::one(1, INSERT)]),
    row("lrange", 4, "1.0.0", &[ReadOnly], &[KeySpec::one(1, READ)]),
    row("lrem", 4, "1.0.0", &[Write], &[KeySpec::one(1, REMOVE)]),
    row("lset", 4, "1.0.0", &[Write, DenyOom], &[KeySpec::one(1, UPDATE)]),
    row("ltrim", 4, "1.0.0", &[Write], &[KeySpec::one(1, REMOVE)]),
    row("rpop", -2, "1.0.0", &[Write, Fast], &[KeySpec::one(1, TAKE)]),
    row("rpoplpush", 3, "1.2.0", &[Write, DenyOom], &[KeySpec::one(1, TAKE), KeySpec::one(2, INSERT)])
        .deprecated("6.2.0", "`LMOVE`"),
    row("rpush", -3, "1.0.0", &[Write, DenyOom, Fast], &[KeySpec::one(1, INSERT)]),
    row("rpushx", -3, "2.2.0", &[Write, DenyOom, Fast], &[KeySpec::one(1, INSERT)]),
];
