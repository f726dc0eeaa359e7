//! Scripts and functions: known, not executed.
//!
//! Invariant: arity, flags, categories and key positions are those clients know from Redis 7.2.

use super::effects::{CHANGE, READ};
use crate::spec::Flag::{NoMandatoryKeys, NoScript, ReadOnly, SkipMonitor, Stale};
use crate::spec::{Flag, Group, KeySpec, Spec, Trait};

const fn row(name: &'static str, arity: i32, since: &'static str, flags: &[Flag], keys: &'static [KeySpec]) -> Spec {
    Spec::unsupported(name, arity, Group::Scripting, since).flags(flags).keys_at(keys)
}

pub(in crate::spec) const ROWS: &[Spec] = &[
    row(
        "eval",
        -3,
        "2.6.0",
        &[NoScript, Stale, SkipMonitor, NoMandatoryKeys],
        &[KeySpec::counted(2, 1, CHANGE).notes("nobody knows what the program does with them")],
    )
    .traits(&[Trait::Replicates]),
    row(
        "eval_ro",
        -3,
        "7.0.0",
        &[ReadOnly, NoScript, Stale, SkipMonitor, NoMandatoryKeys],
        &[KeySpec::counted(2, 1, READ).notes("nobody knows what the program does with them")],
    ),
    row("evalsha", -3, "2.6.0", &[NoScript, Stale, SkipMonitor, NoMandatoryKeys], &[KeySpec::counted(2, 1, CHANGE)])
        .traits(&[Trait::Replicates]),
    row(
        "evalsha_ro",
        -3,
        "7.0.0",
        &[ReadOnly, NoScript, Stale, SkipMonitor, NoMandatoryKeys],
        &[KeySpec::counted(2, 1, READ)],
    ),
    row(
        "fcall",
        -3,
        "7.0.0",
        &[NoScript, Stale, SkipMonitor, NoMandatoryKeys],
        &[KeySpec::counted(2, 1, CHANGE).notes("nobody knows what the program does with them")],
    )
    .traits(&[Trait::Replicates]),
    row(
        "fcall_ro",
        -3,
        "7.0.0",
        &[ReadOnly, NoScript, Stale, SkipMonitor, NoMandatoryKeys],
        &[KeySpec::counted(2, 1, READ).notes("nobody knows what the program does with them")],
    ),
];
