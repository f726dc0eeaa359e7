//! Commands on how long a key lives.
//!
//! Invariant: arity, flags, categories, key positions and arguments are those clients know from Redis 7.2.

use super::{Arg, Category, Flag, Group, KeyFlag, KeySpec, Spec};

pub(super) const ROWS: &[Spec] = &[
    Spec::new("expire", -3, Group::Generic, "1.0.0")
        .summary("Lets a key live for so many seconds from now.")
        .complexity("O(1)")
        .flags(&[Flag::Write, Flag::Fast])
        .in_categories(&[Category::Keyspace])
        .keys_at(&[KeySpec::one(1, &[KeyFlag::ReadWrite, KeyFlag::Update])])
        .args(&[
            Arg::key("key"),
            Arg::integer("seconds"),
            Arg::one_of(
                "condition",
                &[Arg::token("nx", "NX"), Arg::token("xx", "XX"), Arg::token("gt", "GT"), Arg::token("lt", "LT")],
            )
            .optional()
            .since("7.0.0"),
        ]),
    Spec::new("expireat", -3, Group::Generic, "1.2.0")
        .summary("Lets a key live until a Unix time in seconds.")
        .complexity("O(1)")
        .flags(&[Flag::Write, Flag::Fast])
        .in_categories(&[Category::Keyspace])
        .keys_at(&[KeySpec::one(1, &[KeyFlag::ReadWrite, KeyFlag::Update])])
        .args(&[
            Arg::key("key"),
            Arg::unix_time("unix-time-seconds"),
            Arg::one_of(
                "condition",
                &[Arg::token("nx", "NX"), Arg::token("xx", "XX"), Arg::token("gt", "GT"), Arg::token("lt", "LT")],
            )
            .optional()
            .since("7.0.0"),
        ]),
    Spec::new("expiretime", 2, Group::Generic, "7.0.0")
        .summary("Tells the Unix time in seconds at which a key ends.")
        .complexity("O(1)")
        .flags(&[Flag::ReadOnly, Flag::Fast])
        .in_categories(&[Category::Keyspace])
        .keys_at(&[KeySpec::one(1, &[KeyFlag::ReadOnly, KeyFlag::Access])])
        .args(&[Arg::key("key")]),
    Spec::new("persist", 2, Group::Generic, "2.2.0")
        .summary("Lets a key live for ever.")
        .complexity("O(1)")
        .flags(&[Flag::Write, Flag::Fast])
        .in_categories(&[Category::Keyspace])
        .keys_at(&[KeySpec::one(1, &[KeyFlag::ReadWrite, KeyFlag::Update])])
        .args(&[Arg::key("key")]),
    Spec::new("pexpire", -3, Group::Generic, "2.6.0")
        .summary("Lets a key live for so many milliseconds from now.")
        .complexity("O(1)")
        .flags(&[Flag::Write, Flag::Fast])
        .in_categories(&[Category::Keyspace])
        .keys_at(&[KeySpec::one(1, &[KeyFlag::ReadWrite, KeyFlag::Update])])
        .args(&[
            Arg::key("key"),
            Arg::integer("milliseconds"),
            Arg::one_of(
                "condition",
                &[Arg::token("nx", "NX"), Arg::token("xx", "XX"), Arg::token("gt", "GT"), Arg::token("lt", "LT")],
            )
            .optional()
            .since("7.0.0"),
        ]),
    Spec::new("pexpireat", -3, Group::Generic, "2.6.0")
        .summary("Lets a key live until a Unix time in milliseconds.")
        .complexity("O(1)")
        .flags(&[Flag::Write, Flag::Fast])
        .in_categories(&[Category::Keyspace])
        .keys_at(&[KeySpec::one(1, &[KeyFlag::ReadWrite, KeyFlag::Update])])
        .args(&[
            Arg::key("key"),
            Arg::unix_time("unix-time-milliseconds"),
            Arg::one_of(
                "condition",
                &[Arg::token("nx", "NX"), Arg::token("xx", "XX"), Arg::token("gt", "GT"), Arg::token("lt", "LT")],
            )
            .optional()
            .since("7.0.0"),
        ]),
    Spec::new("pexpiretime", 2, Group::Generic, "7.0.0")
        .summary("Tells the Unix time in milliseconds at which a key ends.")
        .complexity("O(1)")
        .flags(&[Flag::ReadOnly, Flag::Fast])
        .in_categories(&[Category::Keyspace])
        .keys_at(&[KeySpec::one(1, &[KeyFlag::ReadOnly, KeyFlag::Access])])
        .args(&[Arg::key("key")]),
    Spec::new("pttl", 2, Group::Generic, "2.6.0")
        .summary("Tells how many milliseconds a key has left.")
        .complexity("O(1)")
        .flags(&[Flag::ReadOnly, Flag::Fast])
        .in_categories(&[Category::Keyspace])
        .tips(&["nondeterministic_output"])
        .keys_at(&[KeySpec::one(1, &[KeyFlag::ReadOnly, KeyFlag::Access])])
        .args(&[Arg::key("key")]),
    Spec::new("ttl", 2, Group::Generic, "1.0.0")
        .summary("Tells how many seconds a key has left.")
        .complexity("O(1)")
        .flags(&[Flag::ReadOnly, Flag::Fast])
        .in_categories(&[Category::Keyspace])
        .tips(&["nondeterministic_output"])
        .keys_at(&[KeySpec::one(1, &[KeyFlag::ReadOnly, KeyFlag::Access])])
        .args(&[Arg::key("key")]),
];
