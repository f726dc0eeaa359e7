//! `kvserver check`: every file of a store, and what opening it would do.
//!
//! Invariant: nothing is changed, and what is said comes from the store's own reading.

use std::fmt::Write;
use std::path::Path;

use kvcore::{Contents, Error, FileReport, Inspection, Options, SegmentEnd, Verdict};
use serde_json::{Value, json};

use super::{Result, path, print, shown};

/// Prints for every file of the store in `dir` what is good and what is not, and whether the store opens; as one JSON object
/// if `as_json`. Changes nothing. Returns whether the store is sound.
///
/// # Errors
///
/// If the directory cannot be read, another process holds it, or standard output cannot be written.
pub fn check(dir: &Path, as_json: bool) -> Result<bool> {
    let found = Options::new().inspect(dir)?;
    let report = if as_json { format!("{}\n", in_json(dir, &found)) } else { in_words(dir, &found) };
    print(&report)?;
    Ok(found.is_sound())
}

pub(crate) fn in_words(dir: &Path, found: &Inspection) -> String {
    let mut report = String::new();
    let width = found.files.iter().map(|file| shown(&file.name).len()).max().unwrap_or(0).min(40);
    for file in &found.files {
        // Writing to a String cannot fail.
        let _ = writeln!(report, "{:width$}  {}", shown(&file.name), state(file));
    }
    let verdict = match &found.verdict {
        Verdict::Opens => "it opens, with everything that was written".to_owned(),
        Verdict::Cuts { file, offset, bytes } => {
            format!("it opens; {bytes} bytes of a write that a crash interrupted are cut from {file} at byte {offset}")
        }
        Verdict::Refuses(error) => format!("it does not open: {error}"),
        verdict => format!("{verdict:?}"),
    };
    let _ = writeln!(report, "{} is {}: {verdict}", path(dir), soundness(found));
    report
}

/// Says what is known of a store. A file that cannot be read at the moment is not damaged for that: the permission may be
/// missing, too many files may be open, or it has a second name.
fn soundness(found: &Inspection) -> &'static str {
    let is_damaged = |file: &FileReport| file.flaw.as_ref().is_some_and(|flaw| !flaw.is_unreadable);
    match &found.verdict {
        _ if found.is_sound() => "sound",
        _ if found.files.iter().any(is_damaged) => "DAMAGED",
        Verdict::Refuses(error) if !matches!(error, Error::Io { .. }) => "DAMAGED",
        _ => "not known to be sound",
    }
}

fn state(file: &FileReport) -> String {
    let contents = match file.contents {
        Contents::Segment(segment) if segment.good_bytes == 0 => "log".to_owned(),
        Contents::Segment(segment) => {
            let lsns = match segment.transactions {
                0 => format!("no transactions, Lsn {} is next", segment.first),
                many => format!("Lsn {} to {}", segment.first, segment.first.get().saturating_add(many) - 1),
            };
            let end = match segment.end {
                SegmentEnd::Sealed => "sealed",
                SegmentEnd::Open => "not sealed",
                _ => "what follows is no whole frame",
            };
            format!("log: {} frames, {lsns}, good up to byte {}, {end}", segment.frames, segment.good_bytes)
        }
        Contents::Snapshot(snapshot) if file.flaw.is_none() => format!(
            "snapshot: {} keys in {} keyspaces, Lsn {} to {}",
            snapshot.entries, snapshot.keyspaces, snapshot.start, snapshot.end
        ),
        Contents::Snapshot(_) => "snapshot".to_owned(),
        Contents::Manifest(manifest) if file.flaw.is_none() => {
            let torn =
                manifest.torn_at.map(|at| format!("; the part at byte {at} was not finished, the other is used"));
            let (newest, durable) = (manifest.newest_segment, manifest.durable);
            format!("manifest: newest segment {newest}, durable up to Lsn {durable}{}", torn.unwrap_or_default())
        }
        Contents::Manifest(_) => "manifest".to_owned(),
        Contents::Lock => "says who has the directory".to_owned(),
        Contents::Leftover => "left unfinished by a crash; opening the store removes it".to_owned(),
        Contents::SetAside => "put there by a repair".to_owned(),
        _ => "not the store's".to_owned(),
    };
    match &file.flaw {
        None => contents,
        Some(flaw) if file.bytes.is_none() || flaw.is_unreadable => format!("{contents}: {}", flaw.why),
        Some(flaw) if flaw.offset == 0 && flaw.why.starts_with("it ") => format!("{contents}: DAMAGED: {}", flaw.why),
        Some(flaw) => format!("{contents}: DAMAGED at byte {}: {}", flaw.offset, flaw.why),
    }
}

pub(crate) fn in_json(dir: &Path, found: &Inspection) -> Value {
    let open = match &found.verdict {
        Verdict::Opens => json!({"outcome": "opens"}),
        Verdict::Cuts { file, offset, bytes } => {
            json!({"outcome": "cuts", "file": file, "offset": offset, "bytes": bytes})
        }
        Verdict::Refuses(error) => json!({"outcome": "refuses", "error": error.to_string()}),
        verdict => json!({"outcome": format!("{verdict:?}")}),
    };
    let files: Vec<Value> = found.files.iter().map(file_in_json).collect();
    json!({"dir": path(dir), "sound": found.is_sound(), "open": open, "files": files})
}

fn file_in_json(file: &FileReport) -> Value {
    let (kind, holds) = match file.contents {
        Contents::Segment(segment) => (
            "segment",
            json!({
                "first_lsn": segment.first.get(),
                "frames": segment.frames,
                "transactions": segment.transactions,
                "good_bytes": segment.good_bytes,
                "end": match segment.end {
                    SegmentEnd::Sealed => "sealed",
                    SegmentEnd::Open => "open",
                    _ => "torn",
                },
            }),
        ),
        Contents::Snapshot(snapshot) => (
            "snapshot",
            json!({
                "start_lsn": snapshot.start.get(),
                "end_lsn": snapshot.end.get(),
                "keys": snapshot.entries,
                "keyspaces": snapshot.keyspaces,
            }),
        ),
        Contents::Manifest(manifest) => (
            "manifest",
            json!({
                "newest_segment": manifest.newest_segment,
                "durable_lsn": manifest.durable.get(),
                "torn_at": manifest.torn_at,
            }),
        ),
        Contents::Lock => ("lock", Value::Null),
        Contents::Leftover => ("leftover", Value::Null),
        Contents::SetAside => ("set aside", Value::Null),
        _ => ("foreign", Value::Null),
    };
    let damage = file
        .flaw
        .as_ref()
        .map(|flaw| json!({"offset": flaw.offset, "why": flaw.why, "unreadable": flaw.is_unreadable}));
    json!({"name": file.name, "bytes": file.bytes, "kind": kind, "holds": holds, "damage": damage})
}
