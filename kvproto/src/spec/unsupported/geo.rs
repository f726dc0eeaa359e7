//! Places on the earth: known, not executed.
//!
//! Invariant: arity, flags, categories and key positions are those clients know from Redis 7.2.

use super::effects::{READ, STORE, UPDATE};
use crate::spec::Flag::{DenyOom, ReadOnly, Write};
use crate::spec::{Category, Flag, Group, KeySpec, Spec};

const fn row(name: &'static str, arity: i32, since: &'static str, flags: &[Flag], keys: &'static [KeySpec]) -> Spec {
    Spec::unsupported(name, arity, Group::Geo, since).flags(flags).in_categories(&[Category::Geo]).keys_at(keys)
}

pub(in crate::spec) const ROWS: &[Spec] = &[
    row("geoadd", -5, "3.2.0", &[Write, DenyOom], &[KeySpec::one(1, UPDATE)]),
    row("geodist", -4, "3.2.0", &[ReadOnly], &[KeySpec::one(1, READ)]),
    row("geohash", -2, "3.2.0", &[ReadOnly], &[KeySpec::one(1, READ)]),
    row("geopos", -2, "3.2.0", &[ReadOnly], &[KeySpec::one(1, READ)]),
    row(
        "georadius",
        -6,
        "3.2.0",
        &[Write, DenyOom],
        &[
            KeySpec::one(1, READ),
            KeySpec::behind("STORE", 6, 0, 0, STORE),
            KeySpec::behind("STOREDIST", 6, 0, 0, STORE),
        ],
    )
    .deprecated("6.2.0", "`GEOSEARCH`"),
    row("georadius_ro", -6, "3.2.10", &[ReadOnly], &[KeySpec::one(1, READ)]).deprecated("6.2.0", "`GEOSEARCH`"),
    row(
        "georadiusbymember",
        -5,
        "3.2.0",
        &[Write, DenyOom],
        &[
            KeySpec::one(1, READ),
            KeySpec::behind("STORE", 5, 0, 0, STORE),
            KeySpec::behind("STOREDIST", 5, 0, 0, STORE),
        ],
    )
    .deprecated("6.2.0", "`GEOSEARCH`"),
    row("georadiusbymember_ro", -5, "3.2.10", &[ReadOnly], &[KeySpec::one(1, READ)]).deprecated("6.2.0", "`GEOSEARCH`"),
    row("geosearch", -7, "6.2.0", &[ReadOnly], &[KeySpec::one(1, READ)]),
    row("geosearchstore", -8, "6.2.0", &[Write, DenyOom], &[KeySpec::one(1, STORE), KeySpec::one(2, READ)]),
];
