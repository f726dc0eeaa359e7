//! Commands on any key that need another type or another server: known, not executed.
//!
//! Invariant: arity, flags, categories and key positions are those clients know from Redis 7.2, and for what came later from
//! the version that the row names.

use super::effects::{LOOK, READ, STORE, TAKE, TAKE_SOME, UPDATE};
use crate::spec::Flag::{DenyOom, Fast, ReadOnly, Write};
use crate::spec::{Category, Flag, Group, KeySpec, Secrets, Spec, indexed};

const fn row(name: &'static str, arity: i32, since: &'static str, flags: &[Flag], keys: &'static [KeySpec]) -> Spec {
    Spec::unsupported(name, arity, Group::Generic, since).flags(flags).keys_at(keys)
}

pub(in crate::spec) const ROWS: &[Spec] = &[
    row("bless", -2, "8.12.0", &[], &[]).subcommands(&BLESS_SUBCOMMANDS),
    row("migrate", -6, "2.6.0", &[Write], &[KeySpec::one(3, TAKE), KeySpec::behind("KEYS", -2, -1, 0, TAKE_SOME)])
        .in_categories(&[Category::Keyspace, Category::Dangerous])
        .secrets(Secrets::After(&[("AUTH", 1), ("AUTH2", 2)]))
        .tips(&["nondeterministic_output"]),
    row(
        "sort",
        -2,
        "1.0.0",
        &[Write, DenyOom],
        &[
            KeySpec::one(1, READ),
            KeySpec::unknown(READ).notes("what BY and GET name depends on the elements"),
            KeySpec::unknown(STORE).notes("STORE may stand anywhere"),
        ],
    )
    .in_categories(&[Category::Set, Category::SortedSet, Category::List, Category::Dangerous]),
    row(
        "sort_ro",
        -2,
        "7.0.0",
        &[ReadOnly],
        &[KeySpec::one(1, READ), KeySpec::unknown(READ).notes("what BY and GET name depends on the elements")],
    )
    .in_categories(&[Category::Set, Category::SortedSet, Category::List, Category::Dangerous]),
];

const BLESS_SUBCOMMANDS: [Spec; 4] = indexed([
    row("bless|clear", 4, "8.12.0", &[Write, Fast], &[KeySpec::one(2, UPDATE)]).in_categories(&[Category::Keyspace]),
    row("bless|get", 3, "8.12.0", &[Fast], &[KeySpec::one(2, LOOK)]).in_categories(&[Category::Keyspace]),
    row("bless|scan", -4, "8.12.0", &[], &[]).in_categories(&[Category::Keyspace]).tips(&[
        "nondeterministic_output",
        "request_policy:special",
        "response_policy:special",
    ]),
    row("bless|set", 4, "8.12.0", &[Write, DenyOom, Fast], &[KeySpec::one(2, UPDATE)])
        .in_categories(&[Category::Keyspace]),
]);
