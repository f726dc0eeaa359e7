//! `kvserver repair`: a damaged store made one that opens.
//!
//! Invariant: everything that is no longer in the store, or may be wrong in it, is named or counted.

use std::path::Path;

use kvcore::hooks::Lsn;
use kvcore::{Dropped, Error, Kept, Options, Repair, RepairOptions, RepairPlan, RepairWay, SomeKeys, TimeReset};
use serde_json::{Value, json};

use super::check::{in_json, in_words};
use super::line::spell;
use super::{Result, path, print, shown};

/// How the report of a dry run ends.
const UNCHANGED: &str = "nothing was changed";

/// How to repair a store.
#[derive(Debug, Clone, Copy, Default)]
pub struct RepairArguments {
    /// Only print what each way would keep and drop; change nothing.
    pub dry_run: bool,
    /// Print one JSON object instead of text.
    pub json: bool,
    /// Also keep what is good behind the first damage of the log.
    pub salvage: bool,
    /// Set the store's time back to that of this machine's clock.
    pub reset_time: bool,
    /// Drop what comes after the first damage even if that is more than what is kept.
    pub accept_loss: bool,
}

/// Makes a damaged store one that opens, with everything that is provably good, and prints what is kept and what is not.
/// Returns whether the store is sound now, or would be after a dry run.
///
/// # Errors
///
/// If the repair stops because it would drop most of the store, a file cannot be read or written, or another process holds
/// the store.
pub fn repair(dir: &Path, flags: RepairArguments) -> Result<bool> {
    let how = RepairOptions::new().salvage(flags.salvage).accept_loss(flags.accept_loss).reset_time(flags.reset_time);
    if flags.dry_run {
        let plan = Options::new().plan_repair(dir, how)?;
        let stops = !flags.accept_loss && if flags.salvage { plan.salvage_stops } else { plan.plain_stops };
        print(&if flags.json { plan_in_json(dir, &plan, stops) } else { plan_in_words(dir, &plan, flags, stops) })?;
        return Ok(!stops);
    }
    match Options::new().repair_with(dir, how) {
        Ok(repaired) => {
            print(&if flags.json { done_in_json(dir, &repaired) } else { done_in_words(dir, &repaired) })?;
            Ok(true)
        }
        Err(stopped @ Error::RepairDropsMost { .. }) if flags.json => {
            print(&format!("{}\n", json!({"dir": path(dir), "outcome": "stopped", "error": stopped.to_string()})))?;
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

fn plan_in_words(dir: &Path, plan: &RepairPlan, flags: RepairArguments, stops: bool) -> String {
    let mut report = in_words(dir, &plan.found);
    let mut line = |text: &str| report.extend([text, "\n"]);
    if plan.files.is_empty() {
        line("nothing would be done");
        line(UNCHANGED);
        return report;
    }
    let (Some(plain), Some(salvage)) = (&plan.plain, &plan.salvage) else {
        line("nothing that the store holds is damaged");
        line(&format!("would be set aside: {}", plan.files.join(", ")));
        line(UNCHANGED);
        return report;
    };
    if plan.found.is_sound() {
        line("");
        way_in_words(&plain.kept, &plain.dropped, "would be ", &mut line);
    } else {
        line("\nup to the first damage, as a plain repair does:");
        way_in_words(&plain.kept, &plain.dropped, "would be ", &mut line);
        line("\nwith --salvage:");
        way_in_words(&salvage.kept, &salvage.dropped, "would be ", &mut line);
        line("");
    }
    if let Some(time) = &plan.time {
        line(&time_in_words(time, "would be "));
    }
    line(&format!("would be set aside: {}", plan.files.join(", ")));
    if stops && flags.salvage {
        line("it would stop, because nothing would be kept: restore a backup, or use --accept-loss");
    } else if stops {
        line("a plain repair would stop, because it drops more than it keeps: use --salvage, or --accept-loss");
    } else if plan.plain_stops {
        line(if flags.salvage { "with --salvage it would be done" } else { "with --accept-loss it would be done" });
    }
    line(UNCHANGED);
    report
}

fn done_in_words(dir: &Path, repaired: &Repair) -> String {
    let mut report = in_words(dir, &repaired.found);
    let mut line = |text: &str| report.extend([text, "\n"]);
    let Some(folder) = &repaired.set_aside else {
        line("nothing was done");
        return report;
    };
    line(&format!("\ncopied to {}: {}", path(folder), repaired.files.join(", ")));
    match &repaired.kept {
        None => {
            repaired.dropped.iter().for_each(|dropped| line(&dropped_in_words(dropped)));
            line("nothing that the store holds was damaged");
        }
        Some(kept) => way_in_words(kept, &repaired.dropped, "", &mut line),
    }
    if let Some(time) = &repaired.time {
        line(&time_in_words(time, ""));
    }
    line(&format!("{} opens now; if all is well, the folder can be removed", path(dir)));
    report
}

/// `tense` stands before what is done to something.
fn way_in_words(kept: &Kept, dropped: &[Dropped], tense: &str, line: &mut impl FnMut(&str)) {
    dropped.iter().for_each(|dropped| line(&format!("{tense}{}", dropped_in_words(dropped))));
    let snapshot = match &kept.snapshot {
        Some(name) => format!("{} keys of {name}", kept.snapshot_entries),
        None => "no snapshot".to_owned(),
    };
    line(&format!("{tense}kept: {snapshot}, and {} transactions of the log; {} keys in all", kept.replayed, kept.keys));
    line(&format!(
        "the store {} that of Lsn {}: {}",
        if tense.is_empty() { "is" } else { "would be" },
        kept.up_to,
        what_it_is(kept)
    ));
    for (first, last) in &kept.gaps {
        line(&format!("{tense}missing: Lsn {first} to {last}"));
    }
    if kept.newest > kept.up_to {
        line(&format!("{tense}lost: Lsn {} to {}, or what of them is not kept", kept.up_to.get() + 1, kept.newest));
    }
    if kept.left_out.count > 0 {
        let why = "because only a part of what they were changed to is known";
        line(&format!("{tense}left out: {}, {why}", keys_in_words(&kept.left_out)));
    }
    if kept.possibly_stale.count > 0 {
        let why = "what is missing may have changed or removed them";
        line(&format!("possibly stale: {}; {why}", keys_in_words(&kept.possibly_stale)));
    }
    if kept.mixed_keys.count > 0 {
        let when = "at moments between the snapshot's start and its end";
        line(&format!("as they were {when}: {}", keys_in_words(&kept.mixed_keys)));
    }
    if !kept.unsure_names.is_empty() {
        let names: Vec<String> = kept.unsure_names.iter().map(|name| shown(name)).collect();
        line(&format!("if keyspaces were exchanged in what is missing, these have wrong names: {}", names.join(", ")));
    }
}

/// Says what a repaired store is, compared with what it was at its Lsn.
fn what_it_is(kept: &Kept) -> String {
    let parts: Vec<&str> = [
        (!kept.gaps.is_empty(), "transactions before it are missing"),
        (kept.is_partial, "keys are missing"),
        (kept.is_mixed, "some keys are as they were at later moments, of which the log is lost"),
        (!kept.unsure_names.is_empty(), "names of keyspaces may be exchanged"),
    ]
    .into_iter()
    .filter_map(|(holds, part)| holds.then_some(part))
    .collect();
    match parts[..] {
        [] => "exactly as it was then".to_owned(),
        [part] if kept.is_partial => format!("{part}; what is there is as it was then"),
        _ => parts.join("; "),
    }
}

fn dropped_in_words(dropped: &Dropped) -> String {
    let lsns = dropped.lsns.map(|(first, last)| format!(", Lsn {first} to {last}")).unwrap_or_default();
    format!("dropped: {} bytes of {}{lsns}: {}", dropped.bytes, dropped.file, dropped.why)
}

fn keys_in_words(keys: &SomeKeys) -> String {
    let example = |(keyspace, key): &(String, Vec<u8>)| format!("{}/{}", shown(keyspace), key.escape_ascii());
    let examples: Vec<String> = keys.examples.iter().map(example).collect();
    let more = if keys.count > examples.len() as u64 { ", ..." } else { "" };
    format!("{} keys ({}{more})", keys.count, examples.join(", "))
}

fn time_in_words(time: &TimeReset, tense: &str) -> String {
    let was = if tense.is_empty() { "was " } else { tense };
    let keys = if time.expired == 1 { "key" } else { "keys" };
    format!("the store's time {was}set back {time}; {tense}removed: {} {keys} that had expired", time.expired)
}

fn plan_in_json(dir: &Path, plan: &RepairPlan, stops: bool) -> String {
    let outcome = match (plan.files.is_empty(), stops) {
        (true, _) => "nothing",
        (false, false) => "would repair",
        (false, true) => "would stop",
    };
    let way = |way: &Option<RepairWay>| way.as_ref().map(|way| way_in_json(&way.kept, &way.dropped));
    let plan = json!({
        "dir": path(dir),
        "dry_run": true,
        "outcome": outcome,
        "found": in_json(dir, &plan.found),
        "plain": way(&plan.plain),
        "plain_stops": plan.plain_stops,
        "salvage_stops": plan.salvage_stops,
        "salvage": way(&plan.salvage),
        "time": plan.time.as_ref().map(time_in_json),
        "files": plan.files,
    });
    format!("{plan}\n")
}

fn done_in_json(dir: &Path, repaired: &Repair) -> String {
    let dropped: Vec<Value> = repaired.dropped.iter().map(dropped_in_json).collect();
    let done = json!({
        "dir": path(dir),
        "dry_run": false,
        "outcome": if repaired.set_aside.is_some() { "repaired" } else { "nothing" },
        "found": in_json(dir, &repaired.found),
        "set_aside": repaired.set_aside.as_ref().map(|folder| path(folder)),
        "files": repaired.files,
        "kept": repaired.kept.as_ref().map(|kept| way_in_json(kept, &[])),
        "dropped": dropped,
        "time": repaired.time.as_ref().map(time_in_json),
    });
    format!("{done}\n")
}

fn way_in_json(kept: &Kept, dropped: &[Dropped]) -> Value {
    let lsns = |(first, last): &(Lsn, Lsn)| json!([first.get(), last.get()]);
    json!({
        "keys": kept.keys,
        "snapshot": kept.snapshot,
        "snapshot_keys": kept.snapshot_entries,
        "transactions": kept.replayed,
        "up_to_lsn": kept.up_to.get(),
        "newest_lsn": kept.newest.get(),
        "partial": kept.is_partial,
        "mixed": kept.is_mixed,
        "gaps": kept.gaps.iter().map(lsns).collect::<Vec<_>>(),
        "left_out": keys_in_json(&kept.left_out),
        "possibly_stale": keys_in_json(&kept.possibly_stale),
        "mixed_keys": keys_in_json(&kept.mixed_keys),
        "unsure_names": kept.unsure_names,
        "dropped": dropped.iter().map(dropped_in_json).collect::<Vec<_>>(),
    })
}

fn dropped_in_json(dropped: &Dropped) -> Value {
    let lsns = dropped.lsns.map(|(first, last)| json!([first.get(), last.get()]));
    json!({"file": dropped.file, "bytes": dropped.bytes, "lsns": lsns, "why": dropped.why})
}

fn keys_in_json(keys: &SomeKeys) -> Value {
    let example = |(keyspace, key): &(String, Vec<u8>)| match spell(key) {
        (Some(key), _) => json!({"keyspace": keyspace, "key": key}),
        (None, base64) => json!({"keyspace": keyspace, "key_base64": base64}),
    };
    json!({"count": keys.count, "examples": keys.examples.iter().map(example).collect::<Vec<_>>()})
}

fn time_in_json(time: &TimeReset) -> Value {
    json!({"from_ms": time.from_ms, "to_ms": time.to_ms, "expired": time.expired})
}
