//! Replication and what replicas say to each other: known, not executed.
//!
//! Invariant: arity, flags, categories and key positions are those clients know from Redis 7.2.

use crate::spec::Flag::{Admin, AllowBusy, Loading, NoAsyncLoading, NoMulti, NoScript, Stale};
use crate::spec::{Flag, Group, KeySpec, Spec};

const fn row(name: &'static str, arity: i32, since: &'static str, flags: &[Flag], keys: &'static [KeySpec]) -> Spec {
    Spec::unsupported(name, arity, Group::Server, since).flags(flags).keys_at(keys)
}

pub(in crate::spec) const ROWS: &[Spec] = &[
    row("failover", -1, "6.2.0", &[Admin, NoScript, Stale], &[]),
    row("psync", -3, "2.8.0", &[Admin, NoScript, NoAsyncLoading, NoMulti], &[]),
    row("replconf", -1, "3.0.0", &[Admin, NoScript, Loading, Stale, AllowBusy], &[]),
    row("replicaof", 3, "5.0.0", &[Admin, NoScript, Stale, NoAsyncLoading], &[]),
    row("slaveof", 3, "1.0.0", &[Admin, NoScript, Stale, NoAsyncLoading], &[]).deprecated("5.0.0", "`REPLICAOF`"),
    row("sync", 1, "1.0.0", &[Admin, NoScript, NoAsyncLoading, NoMulti], &[]),
];
