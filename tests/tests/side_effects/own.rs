//! What commands cause that the reference does not have: examples written from their documentation; and, for both, what a
//! deadline causes that has passed already.
//!
//! Invariant: an example names everything that its request causes; what it does not name must not happen.

use kvproto::spec;
use kvtests::process::{Launch, ServerProcess};
use kvtests::reference::{PROGRAM_VARIABLE, Reference};
use kvtests::server_program;
use tempfile::TempDir;

use super::cases::{Case, words};
use super::side::Side;

/// What a request causes.
#[derive(Default)]
struct Effects {
    hits: u32,
    misses: u32,
    /// Since the last save.
    changes: u32,
    /// How often keys have been used afterwards, those that differ from before; none if the key is gone or was made.
    uses: &'static [(&'static str, Option<u32>)],
    events: &'static [(&'static str, &'static str)],
    /// Keys whose WATCH fails, and of which those who have read them are notified.
    changed: &'static [&'static str],
    /// A field of CLIENT LIST.
    client: Option<(&'static str, &'static str)>,
}

/// Of every command that the reference does not have, and of SET with the options that it does not have.
fn examples() -> Vec<(&'static str, Effects)> {
    let none = Effects::default;
    let set_str =
        || Effects { changes: 1, uses: &[("str", Some(101))], events: &[("set", "str")], changed: &["str"], ..none() };
    let gone =
        || Effects { changes: 1, uses: &[("str", None)], events: &[("del", "str")], changed: &["str"], ..none() };
    let increased = || Effects {
        changes: 1,
        uses: &[("num", Some(101))],
        events: &[("incrby", "num")],
        changed: &["num"],
        ..none()
    };
    let looked_up_to_write = || Effects { uses: &[("str", Some(101))], ..none() };
    vec![
        ("put str v", set_str()),
        ("print", none()),
        ("digest str", Effects { hits: 1, uses: &[("str", Some(101))], ..none() }),
        ("digest nope", Effects { misses: 1, events: &[("keymiss", "nope")], ..none() }),
        ("delifeq str hello", gone()),
        ("delifeq str x", looked_up_to_write()),
        ("delifeq nope x", none()),
        ("delex str", gone()),
        ("delex str IFEQ hello", gone()),
        ("delex str IFEQ x", looked_up_to_write()),
        ("delex nope IFEQ x", none()),
        ("set str v IFEQ hello", set_str()),
        ("set str v IFNE x", set_str()),
        ("set str v IFEQ x", looked_up_to_write()),
        ("set str v IFEQ x GET", Effects { hits: 1, uses: &[("str", Some(102))], ..none() }),
        ("msetex 1 str v", set_str()),
        ("msetex 1 str v XX", set_str()),
        ("msetex 1 str v NX", looked_up_to_write()),
        (
            "msetex 2 str v nope w",
            Effects {
                changes: 2,
                uses: &[("str", Some(101)), ("nope", Some(5))],
                events: &[("set", "str"), ("new", "nope"), ("set", "nope")],
                changed: &["str", "nope"],
                ..none()
            },
        ),
        ("increx num BYINT 2", increased()),
        ("increx num BYFLOAT 0.5", Effects { events: &[("incrbyfloat", "num")], ..increased() }),
        ("increx num LBOUND 0 UBOUND 0 SATURATE", increased()),
        ("increx num LBOUND 0 UBOUND 0", Effects { uses: &[("num", Some(101))], ..none() }),
        ("bitrangeintarray str 0 -1", Effects { hits: 1, uses: &[("str", Some(101))], ..none() }),
        ("bitrangeintarray nope 0 -1", Effects { misses: 1, events: &[("keymiss", "nope")], ..none() }),
        ("commandlog get 10 slow", none()),
        ("commandlog len large-request", none()),
        ("commandlog reset large-reply", none()),
        ("commandlog help", none()),
        ("acl digest", none()),
        ("hotkeys reset", none()),
        ("hotkeys get", none()),
        ("hotkeys help", none()),
        ("waitaof 0 0 0", none()),
        ("help", none()),
        ("help set", none()),
        ("client capa redirect", none()),
        ("client no-touch on", Effects { client: Some(("flags", "T")), ..none() }),
        ("client setinfo lib-name mine", Effects { client: Some(("lib-name", "mine")), ..none() }),
        (
            "flush",
            Effects {
                changes: 4,
                uses: &[("str", None), ("num", None), ("vol", None), ("hll", None)],
                changed: &["str", "num", "vol"],
                ..none()
            },
        ),
    ]
}

/// Of every command that gives a key a deadline, with one that has passed: on a key that is there, and on one that is not.
fn with_passed_deadlines() -> Vec<(&'static str, Effects)> {
    let none = Effects::default;
    let set_and_gone = || Effects {
        changes: 1,
        uses: &[("str", None)],
        events: &[("set", "str"), ("expire", "str"), ("expired", "str")],
        changed: &["str"],
        ..none()
    };
    let made_and_gone = || Effects {
        changes: 1,
        events: &[("new", "nope"), ("set", "nope"), ("expire", "nope"), ("expired", "nope")],
        changed: &["nope"],
        ..none()
    };
    let gone =
        || Effects { changes: 1, uses: &[("str", None)], events: &[("del", "str")], changed: &["str"], ..none() };
    vec![
        ("set str v EXAT 1000", set_and_gone()),
        ("set str v PXAT 1000", set_and_gone()),
        ("set str v GET PXAT 1000", Effects { hits: 1, ..set_and_gone() }),
        ("set str v XX EXAT 1000", set_and_gone()),
        ("set str v NX EXAT 1000", Effects { uses: &[("str", Some(101))], ..none() }),
        ("set nope v EXAT 1000", made_and_gone()),
        ("set nope v PXAT 1000", made_and_gone()),
        ("set nope v NX PXAT 1000", made_and_gone()),
        ("set nope v XX PXAT 1000", none()),
        (
            "set nope v GET EXAT 1000",
            Effects {
                misses: 1,
                events: &[
                    ("keymiss", "nope"),
                    ("new", "nope"),
                    ("set", "nope"),
                    ("expire", "nope"),
                    ("expired", "nope"),
                ],
                ..made_and_gone()
            },
        ),
        ("getex str EXAT 1000", Effects { hits: 1, ..gone() }),
        ("getex str PXAT 1000", Effects { hits: 1, ..gone() }),
        ("getex nope EXAT 1000", Effects { misses: 1, events: &[("keymiss", "nope")], ..none() }),
        ("expire str 0", gone()),
        ("expire str -1", gone()),
        ("pexpire str -1", gone()),
        ("expireat str 1000", gone()),
        ("pexpireat str 1000", gone()),
        ("pexpireat str 1000 GT", Effects { uses: &[("str", Some(101))], ..none() }),
        ("pexpireat str 1000 LT", gone()),
        ("expire nope 0", none()),
        ("pexpire nope -1", none()),
        ("expireat nope 1000", none()),
        ("pexpireat nope 1000", none()),
        ("restore str 1000 PAYLOAD ABSTTL REPLACE", gone()),
        ("restore nope 1000 PAYLOAD ABSTTL", none()),
        ("restore nope 1000 PAYLOAD ABSTTL REPLACE", none()),
    ]
}

/// The same, of commands that the reference does not have.
fn with_passed_deadlines_of_our_own() -> Vec<(&'static str, Effects)> {
    let none = Effects::default;
    let made_and_gone = || Effects {
        changes: 1,
        events: &[("new", "nope"), ("set", "nope"), ("expire", "nope"), ("expired", "nope")],
        changed: &["nope"],
        ..none()
    };
    vec![
        ("set nope v IFNE x EXAT 1000", made_and_gone()),
        ("msetex 1 nope v EXAT 1000", made_and_gone()),
        (
            "increx num EXAT 1000",
            Effects { changes: 1, uses: &[("num", None)], events: &[("del", "num")], changed: &["num"], ..none() },
        ),
        ("increx nope EXAT 1000", none()),
    ]
}

/// Whether there is an example of a command.
pub fn has_example(name: &str) -> bool {
    let name = name.replace('|', " ");
    examples()
        .iter()
        .any(|(line, _)| line.strip_prefix(&*name).is_some_and(|rest| rest.is_empty() || rest.starts_with(' ')))
}

#[test]
fn what_commands_cause_that_redis_does_not_have() {
    let (kv, _dir) = start();
    let mut side = Side::connect(kv.address(0));
    let mut wrong = String::new();
    for (line, effects) in examples().iter().chain(&with_passed_deadlines_of_our_own()) {
        check(&mut side, line, effects, &mut wrong);
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// A SET that gave a missing key a deadline that had passed left no trace: no change was counted, no WATCH failed, and no
/// client that tracked the key was notified. Redis makes the key, and expires it when it is next looked at.
#[test]
fn what_a_deadline_causes_that_has_passed() {
    let (kv, _dir) = start();
    // Later ones do not make the key.
    let reference = if std::env::var(PROGRAM_VARIABLE).is_err() { Reference::start(&[]) } else { None };
    let mut sides = vec![Side::connect(kv.address(0))];
    sides.extend(reference.as_ref().map(|reference| Side::connect(reference.address())));
    let mut wrong = String::new();
    for (line, effects) in with_passed_deadlines() {
        for side in &mut sides {
            check(side, line, &effects, &mut wrong);
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

fn start() -> (ServerProcess, TempDir) {
    let dir = TempDir::new().expect("a directory");
    let launch = Launch::new(server_program!(), dir.path()).resp().durability("os");
    (launch.arguments(["--enable-debug"]).start(), dir)
}

/// Carries out an example, alone and inside MULTI, and adds to `wrong` what it causes otherwise. The word PAYLOAD stands
/// for a payload of RESTORE.
fn check(side: &mut Side, line: &str, effects: &Effects, wrong: &mut String) {
    for in_multi in [false, true] {
        let spec = spec::lookup(line.split(' ').next().unwrap_or_default().as_bytes()).expect("a command");
        let mut request = words(line);
        for word in request.iter_mut().filter(|word| *word == b"PAYLOAD") {
            *word = side.payload();
        }
        let requests = if in_multi { vec![words("multi"), request, words("exec")] } else { vec![request] };
        let case =
            Case { spec, requests, resp3: in_multi, in_multi, tracks: false, with_expired: false, by_frequency: true };
        let seen = side.observe(&case);
        for (aspect, expected) in effects.expected() {
            if seen[&aspect] != expected {
                wrong.push_str(&format!("{}: {aspect}: {} instead of {expected}\n", case.shown(), seen[&aspect]));
            }
        }
    }
}

impl Effects {
    /// By what is observed.
    fn expected(&self) -> Vec<(String, String)> {
        let used = |key: &str, before: &str| match self.uses.iter().find(|(other, _)| *other == key) {
            Some((_, Some(uses))) => format!("{key}={uses}"),
            Some((_, None)) => format!("{key}=$-1"),
            None => format!("{key}={before}"),
        };
        let uses = [("str", "100"), ("num", "100"), ("vol", "100"), ("hll", "100"), ("nope", "$-1")];
        let uses: Vec<String> = uses.iter().map(|(key, before)| used(key, before)).collect();
        let events: Vec<String> = self
            .events
            .iter()
            .map(|(name, key)| format!("__keyspace@0__:{key}|{name} __keyevent@0__:{name}|{key}"))
            .collect();
        let mut expected = vec![
            ("keyspace_hits", self.hits.to_string()),
            ("keyspace_misses", self.misses.to_string()),
            ("rdb_changes_since_last_save", self.changes.to_string()),
            ("total_error_replies", "0".to_owned()),
            ("use", uses.join(" ")),
            ("events", events.join(" ")),
            ("watches that fail", self.changed.join(" ")),
        ];
        // An emptied keyspace is one message, not one a key.
        if self.changed.len() < 3 {
            let mut changed = self.changed.to_vec();
            changed.sort_unstable();
            expected.push(("invalidations", changed.join(" ")));
        }
        let mut expected: Vec<(String, String)> =
            expected.into_iter().map(|(aspect, value)| (aspect.to_owned(), value)).collect();
        if let Some((field, value)) = self.client {
            expected.push((format!("client {field}"), value.to_owned()));
        }
        expected
    }
}
