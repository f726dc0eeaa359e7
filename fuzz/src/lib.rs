//! What must hold whatever bytes arrive: one function for each target, fed by libFuzzer (`fuzz_targets/`) and, over the
//! saved corpus and random changes of it, by the ordinary test `tests/tests/fuzz_corpus.rs`.
//!
//! Invariant: a body asserts more than "no panic", it needs nothing but public doors of the crates, and the same bytes
//! always do the same.

#![forbid(unsafe_code)]
#![allow(missing_docs, reason = "a target's name and its file's header say what it is")]
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a target fails by panicking")]

mod damage;
mod disk;
mod glob;
mod log;
mod memory;
mod model;
mod rdb;
mod replies;
mod requests;
mod seal;
mod served;
mod snapshot;
mod users;

/// A target: its name, which is its corpus' directory too, and its body.
pub struct Target {
    pub name: &'static str,
    pub body: fn(&[u8]),
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target { name: "resp_requests", body: requests::resp },
    Target { name: "inline", body: requests::inline },
    Target { name: "lines", body: requests::lines },
    Target { name: "quoting", body: requests::quoting },
    Target { name: "replies", body: replies::replies },
    Target { name: "log", body: log::log },
    Target { name: "snapshot", body: snapshot::snapshot },
    Target { name: "damage", body: damage::damage },
    Target { name: "restore", body: rdb::restore },
    Target { name: "globs", body: glob::globs },
    Target { name: "acl_rules", body: users::acl_rules },
    Target { name: "commands", body: served::commands },
];

/// Runs the target of that name.
pub fn run(name: &str, input: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name);
    (target.unwrap_or_else(|| panic!("no target is named {name}")).body)(input);
}
