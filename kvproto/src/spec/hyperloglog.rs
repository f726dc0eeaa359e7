//! Commands that estimate how many distinct elements there were.
//!
//! Invariant: arity, flags, categories, key positions and arguments are those clients know from Redis 7.2.

use super::{Arg, Flag, Group, KeyFlag, KeySpec, Spec, Trait};

pub(super) const ROWS: &[Spec] = &[
    Spec::new("pfadd", -2, Group::HyperLogLog, "2.8.9")
        .summary("Adds elements to an estimate of how many distinct ones there were.")
        .complexity("O(1) for each element")
        .flags(&[Flag::Write, Flag::DenyOom, Flag::Fast])
        .keys_at(&[KeySpec::one(1, &[KeyFlag::ReadWrite, KeyFlag::Insert])])
        .args(&[Arg::key("key"), Arg::string("element").optional().multiple()]),
    Spec::new("pfcount", -2, Group::HyperLogLog, "2.8.9")
        .traits(&[Trait::MayWrite, Trait::Replicates])
        .summary("Estimates how many distinct elements were added to any of the keys.")
        .complexity("O(1) for one key whose estimate is known, else O(N) in the keys with a large constant")
        .flags(&[Flag::ReadOnly])
        .keys_at(&[KeySpec::to_end(1, 1, &[KeyFlag::ReadWrite, KeyFlag::Access])
            .notes("of one key, keeps the estimate in the value")])
        .args(&[Arg::key("key").multiple()]),
    Spec::new("pfdebug", 3, Group::HyperLogLog, "2.8.9")
        .summary("Shows how an estimate is kept: ENCODING, GETREG, DECODE; TODENSE changes that. For tests.")
        .complexity("O(1) with a large constant")
        .flags(&[Flag::Write, Flag::DenyOom, Flag::Admin])
        .keys_at(&[KeySpec::one(2, &[KeyFlag::ReadWrite, KeyFlag::Access])])
        .args(&[Arg::string("subcommand"), Arg::key("key")]),
    Spec::new("pfmerge", -2, Group::HyperLogLog, "2.8.9")
        .summary("Adds to the first key all that was added to the others.")
        .complexity("O(N) in the keys with a large constant")
        .flags(&[Flag::Write, Flag::DenyOom])
        .keys_at(&[
            KeySpec::one(1, &[KeyFlag::ReadWrite, KeyFlag::Access, KeyFlag::Insert]),
            KeySpec::to_end(2, 1, &[KeyFlag::ReadOnly, KeyFlag::Access]),
        ])
        .args(&[Arg::key("destkey"), Arg::key("sourcekey").key_spec(1).optional().multiple()]),
    Spec::new("pfselftest", 1, Group::HyperLogLog, "2.8.9")
        .summary("Tests registers and estimates, and fails if they are not as they should be.")
        .complexity("O(1) with a very large constant")
        .flags(&[Flag::Admin]),
];
