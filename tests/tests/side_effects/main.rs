//! Every command of the table to redis-server and to kvserver, in many situations: what it causes besides its reply is
//! the same.
//!
//! What is compared: hits and misses, how often or how recently each key was used, changes since the last save, whether
//! a WATCH fails, tracking invalidations, keyspace events, the rows of commandstats and errorstats, the client's line of
//! CLIENT LIST, and the types of the reply in both versions of the protocol.
//!
//! Invariant: what may differ is listed in [`reasons`], each with its reason; everything else fails. It needs
//! `redis-server` of Redis 7.0 and says so, and passes, where there is none. `KV_REFERENCE` names another program, such as
//! `valkey-server`. `KV_EFFECTS_SEED` repeats a run, `KV_EFFECTS_CASES` is the number of cases a command.
//! With odd seeds, or `KV_EFFECTS_LOOP_WORK=0`, kvserver runs on drafts, off its event loop, all that may be too much work for
//! the loop.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use kvtests::process::Launch;
use kvtests::reference::{PROGRAM_VARIABLE, Reference};
use kvtests::server_program;
use kvtests::streams::Dice;
use kvtests::wire::Wire;
use tempfile::TempDir;

use cases::Case;
use side::{Observed, Side};

mod cases;
mod own;
mod reasons;
mod side;

/// Cases of each command.
const CASES: u64 = 8;
/// Examples that a failure shows of each kind of difference.
const SHOWN: usize = 2;

fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

/// One thing that a case causes on one side and not, or otherwise, on the other.
struct Difference<'c> {
    case: &'c Case,
    aspect: String,
    reference: String,
    kv: String,
}

#[test]
fn what_a_command_causes_is_what_it_causes_in_redis() {
    let Some(reference) = Reference::start(&[]) else {
        println!("skipped: no redis-server of version 7.0 in PATH, and {PROGRAM_VARIABLE} names no other");
        return;
    };
    let dir = TempDir::new().expect("a directory");
    let kv = Launch::new(server_program!(), dir.path()).resp().durability("os").arguments(["--enable-debug"]).start();
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970");
    let seed = number_from("KV_EFFECTS_SEED").unwrap_or(since_1970.as_secs() / (24 * 60 * 60));
    let count = number_from("KV_EFFECTS_CASES").unwrap_or(CASES) as usize;
    let only = std::env::var("KV_EFFECTS_ONLY").ok();
    let mut sides = [Side::connect(reference.address()), Side::connect(kv.address(0))];
    if let Some(work) = number_from("KV_EFFECTS_LOOP_WORK").or((seed % 2 == 1).then_some(0)) {
        assert_eq!(Wire::connect(kv.address(0)).command(&format!("debug loop-work {work}")), b"+OK\r\n");
    }
    let payload = sides[0].payload();
    let mut dice = Dice::new(seed);
    let mut cases = Vec::new();
    for spec in cases::rows() {
        if reasons::left_out(spec).is_some() || only.as_ref().is_some_and(|only| spec.name != only) {
            continue;
        }
        if sides[0].knows(spec.name) {
            cases.extend(cases::of(spec, count, &payload, &mut dice));
        } else {
            assert!(own::has_example(spec.name), "{}: write an example of what it causes", spec.name);
        }
    }
    // Changing the policy takes time on neither side, but what was known of the keys may be forgotten.
    cases.sort_by_key(|case| case.by_frequency);
    let [reference, kv] = observe_both(&mut sides, &cases);
    let checks: usize = reference.iter().map(BTreeMap::len).sum();
    let differences = compare(&cases, &reference, &kv);
    println!("seed {seed}: {} cases, {checks} checks, {} differ", cases.len(), differences.len());
    assert!(
        differences.is_empty(),
        "KV_EFFECTS_SEED={seed}: {} checks differ\n{}",
        differences.len(),
        report(&differences)
    );
}

/// Carries out all cases on both servers at the same time.
fn observe_both(sides: &mut [Side; 2], cases: &[Case]) -> [Vec<Observed>; 2] {
    let [one, other] = sides;
    let observe = |side: &mut Side| cases.iter().map(|case| side.observe(case)).collect::<Vec<_>>();
    std::thread::scope(|scope| {
        let other = scope.spawn(move || observe(other));
        [observe(one), other.join().expect("the other side")]
    })
}

fn compare<'c>(cases: &'c [Case], reference: &[Observed], kv: &[Observed]) -> Vec<Difference<'c>> {
    let mut differences = Vec::new();
    for (case, (reference, kv)) in cases.iter().zip(reference.iter().zip(kv)) {
        for (aspect, expected) in reference {
            let Some(found) = kv.get(aspect) else { continue };
            if expected != found && reasons::may_differ(case, aspect, expected, found).is_none() {
                differences.push(Difference {
                    case,
                    aspect: aspect.clone(),
                    reference: expected.clone(),
                    kv: found.clone(),
                });
            }
        }
    }
    differences
}

/// The differences by command and aspect, the most frequent first.
fn report(differences: &[Difference<'_>]) -> String {
    let mut kinds: BTreeMap<(&str, &str), Vec<&Difference<'_>>> = BTreeMap::new();
    for difference in differences {
        kinds.entry((difference.case.spec.name, &difference.aspect)).or_default().push(difference);
    }
    let mut text = String::new();
    for ((command, aspect), all) in kinds {
        text.push_str(&format!("{command}: {aspect}: {} times\n", all.len()));
        for Difference { case, reference, kv, .. } in all.iter().take(SHOWN) {
            text.push_str(&format!("  {}\n    reference {reference}\n    kv        {kv}\n", case.shown()));
        }
    }
    text
}
