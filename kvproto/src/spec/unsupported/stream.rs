//! Streams: known, not executed.
//!
//! Invariant: arity, flags, categories and key positions are those clients know from Redis 7.2, and for what came later from
//! the version that the row names.

use super::effects::{INSERT, LOOK, READ, REMOVE, UPDATE};
use crate::spec::Flag::{Blocking, DenyOom, Fast, Loading, ReadOnly, Stale, Write};
use crate::spec::{Category, Flag, Group, KeySpec, Spec, indexed};

const fn row(name: &'static str, arity: i32, since: &'static str, flags: &[Flag], keys: &'static [KeySpec]) -> Spec {
    Spec::unsupported(name, arity, Group::Stream, since).flags(flags).in_categories(&[Category::Stream]).keys_at(keys)
}

pub(in crate::spec) const ROWS: &[Spec] = &[
    row("xack", -4, "5.0.0", &[Write, Fast], &[KeySpec::one(1, UPDATE)]),
    row("xackdel", -6, "8.2.0", &[Write, Fast], &[KeySpec::one(1, REMOVE)]),
    row(
        "xadd",
        -5,
        "5.0.0",
        &[Write, DenyOom, Fast],
        &[KeySpec::one(1, UPDATE).notes("may remove old entries as well")],
    )
    .tips(&["nondeterministic_output"]),
    row("xautoclaim", -6, "6.2.0", &[Write, Fast], &[KeySpec::one(1, REMOVE)]).tips(&["nondeterministic_output"]),
    row("xcfgset", -2, "8.6.0", &[Write, Fast], &[KeySpec::one(1, UPDATE)]),
    row("xclaim", -6, "5.0.0", &[Write, Fast], &[KeySpec::one(1, UPDATE)]).tips(&["nondeterministic_output"]),
    row("xdel", -3, "5.0.0", &[Write, Fast], &[KeySpec::one(1, REMOVE)]),
    row("xdelex", -5, "8.2.0", &[Write, Fast], &[KeySpec::one(1, REMOVE)]),
    row("xgroup", -2, "5.0.0", &[], &[]).in_categories(&[]).subcommands(&XGROUP_SUBCOMMANDS),
    row("xidmprecord", 5, "8.8.0", &[Write, DenyOom, Fast], &[KeySpec::one(1, UPDATE)]),
    row("xinfo", -2, "5.0.0", &[], &[]).in_categories(&[]).subcommands(&XINFO_SUBCOMMANDS),
    row("xlen", 2, "5.0.0", &[ReadOnly, Fast], &[KeySpec::one(1, LOOK)]),
    row("xnack", -7, "8.8.0", &[Write, Fast], &[KeySpec::one(1, UPDATE)]),
    row("xpending", -3, "5.0.0", &[ReadOnly], &[KeySpec::one(1, READ)]).tips(&["nondeterministic_output"]),
    row("xrange", -4, "5.0.0", &[ReadOnly], &[KeySpec::one(1, READ)]),
    row("xread", -4, "5.0.0", &[ReadOnly, Blocking], &[KeySpec::behind("STREAMS", 1, -1, 2, READ)]),
    row("xreadgroup", -7, "5.0.0", &[Write, Blocking], &[KeySpec::behind("STREAMS", 4, -1, 2, READ)]),
    row("xrevrange", -4, "5.0.0", &[ReadOnly], &[KeySpec::one(1, READ)]),
    row("xsetid", -3, "5.0.0", &[Write, DenyOom, Fast], &[KeySpec::one(1, UPDATE)]),
    row("xtrim", -4, "5.0.0", &[Write], &[KeySpec::one(1, REMOVE)]).tips(&["nondeterministic_output"]),
];

const XGROUP_SUBCOMMANDS: [Spec; 6] = indexed([
    row("xgroup|create", -5, "5.0.0", &[Write, DenyOom], &[KeySpec::one(2, INSERT)]),
    row("xgroup|createconsumer", 5, "6.2.0", &[Write, DenyOom], &[KeySpec::one(2, INSERT)]),
    row("xgroup|delconsumer", 5, "5.0.0", &[Write], &[KeySpec::one(2, REMOVE)]),
    row("xgroup|destroy", 4, "5.0.0", &[Write], &[KeySpec::one(2, REMOVE)]),
    row("xgroup|help", 2, "5.0.0", &[Loading, Stale], &[]),
    row("xgroup|setid", -5, "5.0.0", &[Write], &[KeySpec::one(2, UPDATE)]),
]);

const XINFO_SUBCOMMANDS: [Spec; 4] = indexed([
    row("xinfo|consumers", 4, "5.0.0", &[ReadOnly], &[KeySpec::one(2, READ)]).tips(&["nondeterministic_output"]),
    row("xinfo|groups", 3, "5.0.0", &[ReadOnly], &[KeySpec::one(2, READ)]),
    row("xinfo|help", 2, "5.0.0", &[Loading, Stale], &[]),
    row("xinfo|stream", -3, "5.0.0", &[ReadOnly], &[KeySpec::one(2, READ)]),
]);
