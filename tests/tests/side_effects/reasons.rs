//! What is not compared, and why.
//!
//! Invariant: each entry has its reason, and covers no more than the reason does.

use kvproto::Spec;

use super::cases::Case;

/// Why a command is left out, if it is.
pub fn left_out(spec: &Spec) -> Option<&'static str> {
    Some(match spec.name {
        "shutdown" | "quit" | "client|kill" | "client|reply" | "client|pause" | "monitor" => {
            "it ends the conversation, or holds it up"
        }
        "save" | "bgsave" | "bgrewriteaof" => "while a child of Redis writes, uses of keys are not noted there",
        "hotkeys|start" | "hotkeys|stop" => "done twice, it is an error the second time",
        "config|resetstat" => "it resets what is compared",
        name if name.starts_with("debug") => "it looks into what each server is made of",
        name if name.starts_with("backup|") => "it reads a backup that another command must have begun",
        _ => return None,
    })
}

/// Why a command is not tried inside MULTI, if it is not.
pub fn not_in_multi(spec: &Spec) -> Option<&'static str> {
    spec.name.ends_with("subscribe").then_some(
        "Redis writes a confirmation for each channel where EXEC has announced one reply: clients lose count",
    )
}

/// Why an aspect of a case may differ, if it may.
pub fn may_differ(case: &Case, aspect: &str, reference: &str, kv: &str) -> Option<&'static str> {
    let says = |word: &str| case.requests.iter().flatten().any(|other| other.eq_ignore_ascii_case(word.as_bytes()));
    Some(match (case.spec.name, aspect) {
        ("command|docs" | "command|info", "reply") => "each server describes its own commands",
        ("command|getkeys" | "command|getkeysandflags", _) if case.spec.arity == -3 => {
            "7.2 takes one word less than 7.0, which it then refuses"
        }
        ("client|list", "reply" | "commandstats" | "errorstats" | "total_error_replies")
            if says("type") && says("id") =>
        {
            "Redis takes one filter; here, as in Valkey 8.1, a client is listed for which all that are given hold"
        }
        ("function|stats", "reply") => "there is no engine of scripts here to describe",
        ("function|flush", "rdb_changes_since_last_save") => "there are no functions here, so nothing changes",
        ("memory|stats", "reply") => "the tables of a database, which it describes one by one, are not as in Redis",
        ("scan", "keyspace_hits" | "keyspace_misses" | "events") if says("type") => {
            "Redis looks up each key again for its type; here all are strings"
        }
        ("randomkey", "events" | "expired_keys") if case.with_expired => {
            "it is chance whether it meets the expired key"
        }
        ("keys" | "scan", "events" | "expired_keys") if case.with_expired => {
            "an expired key that a pattern leaves out, or a step does not reach, may go all the same"
        }
        ("memory|usage", "reply" | "events" | "expired_keys") if case.with_expired => {
            "Redis shows what an expired key takes; here it is gone"
        }
        ("restore" | "bitop", "events" | "expired_keys" | "rdb_changes_since_last_save")
            if case.with_expired && (says("replace") || case.spec.name == "bitop") =>
        {
            "Redis deletes an expired key that is replaced; here it has expired"
        }
        ("restore", _) if says("9223372036854775807") => {
            "the time overflows in Redis, which then deletes the key; here it lives as long as can be said"
        }
        (_, "events") if case.with_expired && is_same_in_another_order(reference, kv) => {
            "Redis removes an expired key when a command meets it; here it is removed after the command"
        }
        ("bitfield", "events" | "invalidations" | "watches that fail") if says("fail") => {
            "a value that an overflow has only made longer has changed; Redis notifies nobody"
        }
        ("scan", "reply") => "which keys a step returns follows from each server's tables",
        ("swapdb", "invalidations" | "pushes") => {
            "Redis notifies nobody, though each key may now have another value; here clients drop what they have read"
        }
        _ => return None,
    })
}

fn is_same_in_another_order(one: &str, other: &str) -> bool {
    let sorted = |events: &str| {
        let mut events: Vec<String> = events.split(' ').map(str::to_owned).collect();
        events.sort();
        events
    };
    sorted(one) == sorted(other)
}
