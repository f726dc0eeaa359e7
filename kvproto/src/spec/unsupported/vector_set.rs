//! Vector sets of Redis 8.0: known, not executed.
//!
//! Invariant: arity, flags and key positions are those of the version that the row names.

use super::effects::{READ, REMOVE, UPDATE};
use crate::spec::Flag::{DenyOom, Fast, ReadOnly, Write};
use crate::spec::{Flag, Group, KeySpec, Spec};

const fn row(name: &'static str, arity: i32, since: &'static str, flags: &[Flag], keys: &'static [KeySpec]) -> Spec {
    Spec::unsupported(name, arity, Group::VectorSet, since).flags(flags).keys_at(keys)
}

pub(in crate::spec) const ROWS: &[Spec] = &[
    row("vadd", -5, "8.0.0", &[Write, DenyOom], &[KeySpec::one(1, UPDATE)]),
    row("vcard", 2, "8.0.0", &[ReadOnly, Fast], &[KeySpec::one(1, READ)]),
    row("vdim", 2, "8.0.0", &[ReadOnly, Fast], &[KeySpec::one(1, READ)]),
    row("vemb", -3, "8.0.0", &[ReadOnly, Fast], &[KeySpec::one(1, READ)]),
    row("vgetattr", 3, "8.0.0", &[ReadOnly, Fast], &[KeySpec::one(1, READ)]),
    row("vinfo", 2, "8.0.0", &[ReadOnly, Fast], &[KeySpec::one(1, READ)]),
    row("vismember", 3, "8.0.0", &[ReadOnly], &[KeySpec::one(1, READ)]),
    row("vlinks", -3, "8.0.0", &[ReadOnly, Fast], &[KeySpec::one(1, READ)]),
    row("vrandmember", -2, "8.0.0", &[ReadOnly], &[KeySpec::one(1, READ)]),
    row("vrange", -4, "8.4.0", &[ReadOnly], &[KeySpec::one(1, READ)]),
    row("vrem", 3, "8.0.0", &[Write], &[KeySpec::one(1, REMOVE)]),
    row("vsetattr", 4, "8.0.0", &[Write, Fast], &[KeySpec::one(1, UPDATE)]),
    row("vsim", -4, "8.0.0", &[ReadOnly], &[KeySpec::one(1, READ)]),
];
