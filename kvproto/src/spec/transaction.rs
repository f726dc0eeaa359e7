//! Transactions.
//!
//! Invariant: arity, flags, categories, key positions and arguments are those clients know from Redis 7.2.

use super::{Arg, Flag, Group, KeyFlag, KeySpec, Spec, Trait};

pub(super) const ROWS: &[Spec] = &[
    Spec::new("discard", 1, Group::Transactions, "2.0.0")
        .traits(&[Trait::NotQueued])
        .summary("Drops the queued commands and leaves the transaction.")
        .complexity("O(N) in the queued commands")
        .flags(&[Flag::NoScript, Flag::Loading, Flag::Stale, Flag::Fast, Flag::AllowBusy]),
    Spec::new("exec", 1, Group::Transactions, "1.2.0")
        .traits(&[Trait::RunsQueue, Trait::NotQueued])
        .summary("Runs the queued commands as one, unless a watched key has changed.")
        .complexity("That of the queued commands")
        .flags(&[Flag::NoScript, Flag::Loading, Flag::Stale, Flag::SkipSlowLog]),
    Spec::new("multi", 1, Group::Transactions, "1.2.0")
        .traits(&[Trait::NotQueued])
        .summary("Opens a transaction: what follows is queued until EXEC.")
        .flags(&[Flag::NoScript, Flag::Loading, Flag::Stale, Flag::Fast, Flag::AllowBusy]),
    Spec::new("unwatch", 1, Group::Transactions, "2.2.0").summary("Forgets the watched keys.").flags(&[
        Flag::NoScript,
        Flag::Loading,
        Flag::Stale,
        Flag::Fast,
        Flag::AllowBusy,
    ]),
    Spec::new("watch", -2, Group::Transactions, "2.2.0")
        .traits(&[Trait::NotQueued])
        .summary("Remembers keys: the next EXEC does nothing if one of them changes first.")
        .complexity("O(N) in the keys given")
        .flags(&[Flag::NoScript, Flag::Loading, Flag::Stale, Flag::Fast, Flag::AllowBusy])
        .keys_at(&[KeySpec::to_end(1, 1, &[KeyFlag::ReadOnly])])
        .args(&[Arg::key("key").multiple()]),
];
