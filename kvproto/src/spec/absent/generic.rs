//! Commands on any key that need another type or another server: known, not executed.
//!
//! Invariant: arity, flags, categories and key positions are those clients know from Redis 7.2.

use super::effects::{READ, STORE, TAKE, TAKE_SOME};
use crate::spec::Flag::{DenyOom, ReadOnly, Write};
use crate::spec::{Category, Flag, Group, KeySpec, Secrets, Spec};

const fn row(name: &'static str, arity: i32, since: &'static str, flags: &[Flag], keys: &'static [KeySpec]) -> Spec {
    Spec::absent(name, arity, Group::Generic, since).flags(flags).keys_at(keys)
}

pub(in crate::spec) const ROWS: &[Spec] = &[
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
