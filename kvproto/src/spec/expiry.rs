//! Commands on how long a key lives.
//!
//! Invariant: arity, flags, categories, key positions and arguments are those clients know from Redis 7.2.

use super::{Arg, Flag, Group, KeyFlag, KeySpec, Spec};

const KEY: Arg = Arg::key("key");
const CHANGED: &[KeySpec] = &[KeySpec::one(1, &[KeyFlag::ReadWrite, KeyFlag::Update])];
const SHOWN: &[KeySpec] = &[KeySpec::one(1, &[KeyFlag::ReadOnly, KeyFlag::Access])];
/// When a deadline is set.
const CONDITION: Arg = Arg::one_of(
    "condition",
    &[Arg::token("nx", "NX"), Arg::token("xx", "XX"), Arg::token("gt", "GT"), Arg::token("lt", "LT")],
)
.optional()
.since("7.0.0");

/// A command that changes a key's deadline.
const fn changes(name: &'static str, arity: i32, since: &'static str, args: &'static [Arg]) -> Spec {
    Spec::new(name, arity, Group::Generic, since).flags(&[Flag::Write, Flag::Fast]).keys_at(CHANGED).args(args)
}

/// A command that shows a key's deadline.
const fn shows(name: &'static str, since: &'static str) -> Spec {
    Spec::new(name, 2, Group::Generic, since).flags(&[Flag::ReadOnly, Flag::Fast]).keys_at(SHOWN).args(&[KEY])
}

pub(super) const ROWS: &[Spec] = &[
    changes("expire", -3, "1.0.0", &[KEY, Arg::integer("seconds"), CONDITION])
        .summary("Lets a key live for so many seconds from now."),
    changes("expireat", -3, "1.2.0", &[KEY, Arg::unix_time("unix-time-seconds"), CONDITION])
        .summary("Lets a key live until a Unix time in seconds."),
    shows("expiretime", "7.0.0").summary("Tells the Unix time in seconds at which a key ends."),
    changes("persist", 2, "2.2.0", &[KEY]).summary("Lets a key live for ever."),
    changes("pexpire", -3, "2.6.0", &[KEY, Arg::integer("milliseconds"), CONDITION])
        .summary("Lets a key live for so many milliseconds from now."),
    changes("pexpireat", -3, "2.6.0", &[KEY, Arg::unix_time("unix-time-milliseconds"), CONDITION])
        .summary("Lets a key live until a Unix time in milliseconds."),
    shows("pexpiretime", "7.0.0").summary("Tells the Unix time in milliseconds at which a key ends."),
    shows("pttl", "2.6.0").summary("Tells how many milliseconds a key has left.").tips(&["nondeterministic_output"]),
    shows("ttl", "1.0.0").summary("Tells how many seconds a key has left.").tips(&["nondeterministic_output"]),
];
