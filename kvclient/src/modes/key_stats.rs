//! `--keystats`: what the keys of a database take, by memory and by elements, and how that is spread over them.
//!
//! Invariant: each key that has a type is counted once for each time SCAN returns it; memory is what MEMORY USAGE
//! returns, and a key for which it returns nothing is counted apart.

use super::flags::ModeFlags;
use super::key_sizes::{is_text, kind_of, quoted, size_command};
use super::link::Link;
use super::walk::Scan;
use super::{Failure, Result, Setting, human_bytes, is_unknown_command, print};
use crate::output::{Style, json_bytes};
use hdrhistogram::Histogram;
use kvclient::Reply;
use std::collections::BTreeMap;
use std::io;

/// How many keys are shown, unless a flag says so.
const TOP_DEFAULT: usize = 10;
/// The quantiles that are shown.
const QUANTILES: [f64; 8] = [0.0, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999, 1.0];

/// The keys of one type.
#[derive(Debug, Default)]
struct Kind {
    keys: u64,
    memory: u64,
    elements: u64,
    /// The one with most elements.
    longest: Option<(u64, Vec<u8>)>,
}

/// What was found.
#[derive(Debug)]
struct Findings {
    kinds: BTreeMap<String, Kind>,
    sampled: u64,
    key_bytes: u64,
    unmeasured: u64,
    memory: Histogram<u64>,
    /// The least and the most of it, exactly.
    memory_bounds: Option<(u64, u64)>,
    /// The keys that take most memory, the biggest first, with their types and elements.
    top: Vec<(u64, String, Option<u64>, Vec<u8>)>,
    top_max: usize,
}

/// Looks at every key.
pub fn run(flags: &ModeFlags, setting: &Setting<'_>) -> Result<bool> {
    let mut link = setting.connect()?;
    let mut walk = Scan::begin(&mut link, flags, setting, true)?;
    let mut findings = Findings {
        kinds: BTreeMap::new(),
        sampled: 0,
        key_bytes: 0,
        unmeasured: 0,
        memory: Histogram::new(3).map_err(io::Error::other)?,
        memory_bounds: None,
        top: Vec::new(),
        top_max: flags.top.unwrap_or(TOP_DEFAULT),
    };
    let searched = findings.search(&mut link, &mut walk, flags);
    walk.end_search(searched)?;
    print(&findings.report(&walk, setting.style))?;
    Ok(walk.is_complete())
}

/// Returns the number that a reply is, if it is one.
fn number(reply: Option<Reply>) -> Option<u64> {
    match reply {
        Some(Reply::Integer(value)) => u64::try_from(value).ok(),
        _ => None,
    }
}

impl Findings {
    /// Looks at every key, until the last one or Ctrl-C.
    fn search(&mut self, link: &mut Link<'_>, walk: &mut Scan<'_>, flags: &ModeFlags) -> Result<()> {
        let samples = flags.keystats_samples.map(|samples| samples.to_string());
        while let Some(keys) = walk.next(link)? {
            let Some(kinds) = link.exchange_all(keys.iter().map(|key| [&b"TYPE"[..], key]))? else { break };
            let kinds = kinds.iter().map(kind_of).collect::<Result<Vec<_>>>()?;
            let found: Vec<(Vec<u8>, String)> =
                keys.into_iter().zip(kinds).filter_map(|(key, kind)| Some((key, kind?))).collect();
            let memory = |key| match &samples {
                None => vec![&b"MEMORY"[..], b"USAGE", key],
                Some(samples) => vec![&b"MEMORY"[..], b"USAGE", key, b"SAMPLES", samples.as_bytes()],
            };
            let elements = |key, kind: &str| size_command(kind).map(|(command, _)| vec![command.as_bytes(), key]);
            let requests: Vec<Vec<&[u8]>> =
                found.iter().flat_map(|(key, kind)| [Some(memory(key)), elements(key, kind)]).flatten().collect();
            let Some(replies) = link.exchange_all(requests)? else { break };
            let mut replies = replies.into_iter();
            for (key, kind) in found {
                let memory = replies.next();
                if let Some(Reply::Error(text)) = &memory
                    && is_unknown_command(text)
                {
                    let text = "the server has no MEMORY USAGE command: --bigkeys counts elements and bytes instead";
                    return Err(Failure::Unsupported(text.to_owned()));
                }
                let elements = if size_command(&kind).is_some() { number(replies.next()) } else { None };
                self.add(key, kind, number(memory), elements);
            }
            walk.show(|| {
                let biggest = self.top.first();
                biggest
                    .map(|(memory, kind, _, key)| format!("{kind} {} {memory} bytes", quoted(key)))
                    .unwrap_or_default()
            });
        }
        Ok(())
    }

    fn add(&mut self, key: Vec<u8>, kind: String, memory: Option<u64>, elements: Option<u64>) {
        self.sampled += 1;
        self.key_bytes += key.len() as u64;
        let of_kind = self.kinds.entry(kind.clone()).or_default();
        of_kind.keys += 1;
        if let Some(elements) = elements {
            of_kind.elements = of_kind.elements.saturating_add(elements);
            if of_kind.longest.as_ref().is_none_or(|(longest, _)| *longest < elements) {
                of_kind.longest = Some((elements, key.clone()));
            }
        }
        let Some(memory) = memory else {
            self.unmeasured += 1;
            return;
        };
        of_kind.memory = of_kind.memory.saturating_add(memory);
        // It grows as it has to.
        let _ = self.memory.record(memory);
        let (least, most) = self.memory_bounds.unwrap_or((memory, memory));
        self.memory_bounds = Some((least.min(memory), most.max(memory)));
        let at = self.top.partition_point(|(other, ..)| *other >= memory);
        // A key may come twice.
        if at < self.top_max && !self.top.iter().any(|(.., other)| *other == key) {
            self.top.insert(at, (memory, kind, elements, key));
            self.top.truncate(self.top_max);
        }
    }

    fn report(&self, walk: &Scan<'_>, style: Style) -> String {
        let unit = |kind: &str| size_command(kind).map_or("?", |(_, unit)| unit);
        let (least, most) = self.memory_bounds.unwrap_or_default();
        let quantiles = QUANTILES.map(|quantile| {
            let bytes =
                if quantile == 0.0 { least } else { self.memory.value_at_quantile(quantile).clamp(least, most) };
            (quantile, bytes)
        });
        if !is_text(style) && style != Style::Csv {
            let top: Vec<serde_json::Value> = self
                .top
                .iter()
                .map(|(memory, kind, elements, key)| {
                    let key = json_bytes(key, style);
                    serde_json::json!({ "key": key, "type": kind, "memory": memory, "elements": elements })
                })
                .collect();
            let kinds: serde_json::Map<String, serde_json::Value> = self
                .kinds
                .iter()
                .map(|(kind, found)| {
                    let value = serde_json::json!({
                        "keys": found.keys, "memory": found.memory, "elements": found.elements, "unit": unit(kind),
                        "longest_key": found.longest.as_ref().map(|(_, key)| json_bytes(key, style)),
                        "longest_elements": found.longest.as_ref().map(|(elements, _)| elements),
                    });
                    (kind.clone(), value)
                })
                .collect();
            let memory: serde_json::Map<String, serde_json::Value> =
                quantiles.iter().map(|(quantile, bytes)| (format!("{quantile}"), (*bytes).into())).collect();
            let value = serde_json::json!({
                "sampled": self.sampled, "complete": walk.is_complete(), "key_bytes": self.key_bytes,
                "unmeasured": self.unmeasured, "top": top, "types": kinds, "memory_quantiles": memory,
            });
            return format!("{value}\n");
        }
        if style == Style::Csv {
            let rows = self.top.iter().map(|(memory, kind, elements, key)| {
                let elements = elements.map(|elements| elements.to_string()).unwrap_or_default();
                format!("{memory},{kind},{elements},{}\n", quoted(key))
            });
            return "memory,type,elements,key\n".to_owned() + &rows.collect::<String>();
        }
        let mut text = "\n-------- summary -------\n\n".to_owned();
        if !walk.is_complete() {
            text += &format!("[{:05.2}%] ", walk.percent());
        }
        text += &format!("Sampled {} keys in the keyspace!\n", self.sampled);
        text += &format!("Total key length in bytes is {}\n\n", self.key_bytes);
        for (memory, kind, elements, key) in &self.top {
            let elements = elements.map(|elements| format!(", {elements} {}", unit(kind))).unwrap_or_default();
            text += &format!("{:>9} {kind} {}{elements}\n", human(*memory), quoted(key));
        }
        text += "\nkeys by type:\n";
        for (kind, found) in &self.kinds {
            let longest =
                found.longest.as_ref().map(|(elements, key)| format!("; most: {elements} in {}", quoted(key)));
            let Kind { keys, memory, elements, .. } = found;
            text += &format!(
                "{keys:>9} {kind}s take {}, with {elements} {}{}\n",
                human(*memory),
                unit(kind),
                longest.unwrap_or_default()
            );
        }
        text += "\nmemory of a key, at most, of so many of the keys:\n";
        for (quantile, bytes) in quantiles {
            text += &format!("{:>8.1}% {}\n", quantile * 100.0, human(bytes));
        }
        if self.unmeasured > 0 {
            text += &format!(
                "\n{} keys have no size: they are gone, or the server does not measure them\n",
                self.unmeasured
            );
        }
        text
    }
}

fn human(bytes: u64) -> String {
    human_bytes(i64::try_from(bytes).unwrap_or(i64::MAX))
}
