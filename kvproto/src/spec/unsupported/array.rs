//! Arrays of Redis 8.8: known, not executed.
//!
//! Invariant: arity, flags and key positions are those of the version that the row names.

use super::effects::{READ, REMOVE, UPDATE};
use crate::spec::Flag::{DenyOom, Fast, ReadOnly, Write};
use crate::spec::{Flag, Group, KeySpec, Spec};

const fn row(name: &'static str, arity: i32, since: &'static str, flags: &[Flag], keys: &'static [KeySpec]) -> Spec {
    Spec::unsupported(name, arity, Group::Array, since).flags(flags).keys_at(keys)
}

pub(in crate::spec) const ROWS: &[Spec] = &[
    row("arcount", 2, "8.8.0", &[ReadOnly, Fast], &[KeySpec::one(1, READ)]),
    row("ardel", -3, "8.8.0", &[Write, Fast], &[KeySpec::one(1, REMOVE)]),
    row("ardelrange", -4, "8.8.0", &[Write], &[KeySpec::one(1, REMOVE)]),
    row("arget", 3, "8.8.0", &[ReadOnly, Fast], &[KeySpec::one(1, READ)]),
    row("argetrange", 4, "8.8.0", &[ReadOnly], &[KeySpec::one(1, READ)]),
    row("argrep", -6, "8.8.0", &[ReadOnly], &[KeySpec::one(1, READ)]),
    row("arinfo", -2, "8.8.0", &[ReadOnly], &[KeySpec::one(1, READ)]),
    row("arinsert", -3, "8.8.0", &[Write, DenyOom, Fast], &[KeySpec::one(1, UPDATE)]),
    row("arlastitems", -3, "8.8.0", &[ReadOnly], &[KeySpec::one(1, READ)]),
    row("arlen", 2, "8.8.0", &[ReadOnly, Fast], &[KeySpec::one(1, READ)]),
    row("armget", -3, "8.8.0", &[ReadOnly, Fast], &[KeySpec::one(1, READ)]),
    row("armset", -4, "8.8.0", &[Write, DenyOom, Fast], &[KeySpec::one(1, UPDATE)]),
    row("arnext", 2, "8.8.0", &[ReadOnly, Fast], &[KeySpec::one(1, READ)]),
    row("arop", -5, "8.8.0", &[ReadOnly], &[KeySpec::one(1, READ)]),
    row("arring", -4, "8.8.0", &[Write, DenyOom], &[KeySpec::one(1, UPDATE)]),
    row("arscan", -4, "8.8.0", &[ReadOnly], &[KeySpec::one(1, READ)]),
    row("arseek", 3, "8.8.0", &[Write, Fast], &[KeySpec::one(1, UPDATE)]),
    row("arset", -4, "8.8.0", &[Write, DenyOom, Fast], &[KeySpec::one(1, UPDATE)]),
];
