//! `--bigkeys`, `--memkeys` and `--hotkeys`: the keys that stand out, found by looking at each of them.
//!
//! Invariant: each key is looked at with commands that do not count as a use of it where the server has such; what could
//! not be measured is counted and said, never taken for 0.

use super::flags::ModeFlags;
use super::link::Link;
use super::walk::Scan;
use super::{Failure, Result, Setting, bytes_of, is_unknown_command, note, print};
use crate::output::{Style, json_bytes};
use kvclient::Reply;
use kvproto::quote::{HighBytes, write_quoted};
use std::collections::BTreeMap;

/// What is searched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Elements, and bytes of strings.
    Elements,
    /// Memory, in bytes.
    Memory,
}

/// The keys of one type.
#[derive(Debug, Default)]
struct Kind {
    keys: u64,
    size: u64,
    biggest: Option<(u64, Vec<u8>)>,
}

/// What was found.
#[derive(Debug, Default)]
struct Findings {
    kinds: BTreeMap<String, Kind>,
    sampled: u64,
    key_bytes: u64,
    /// Keys that have no size: their type is unknown, or the command is.
    unmeasured: u64,
}

/// How many hot keys are shown.
const HOT_KEYS: usize = 16;

/// Returns the command that measures a type, and the unit.
pub fn size_command(kind: &str) -> Option<(&'static str, &'static str)> {
    Some(match kind {
        "string" => ("STRLEN", "bytes"),
        "list" => ("LLEN", "items"),
        "set" => ("SCARD", "members"),
        "hash" => ("HLEN", "fields"),
        "zset" => ("ZCARD", "members"),
        "stream" => ("XLEN", "entries"),
        _ => return None,
    })
}

impl Measure {
    fn unit(self, kind: &str) -> &'static str {
        match self {
            Measure::Elements => size_command(kind).map_or("?", |(_, unit)| unit),
            Measure::Memory => "bytes",
        }
    }
}

/// Finds the biggest keys of each type.
pub fn run(measure: Measure, flags: &ModeFlags, setting: &Setting<'_>) -> Result<bool> {
    let mut link = setting.connect()?;
    let mut walk = Scan::begin(&mut link, flags, setting, true)?;
    let is_text = is_text(setting.style);
    if is_text {
        print("\n# Looks at every key of the database; -i 0.1 waits 0.1 s between two pages of keys (--count).\n\n")?;
    }
    let mut findings = Findings::default();
    let searched = findings.search(measure, &mut link, &mut walk, flags, setting);
    walk.end_search(searched)?;
    print(&findings.report(&walk, measure, setting.style))?;
    Ok(walk.is_complete())
}

pub fn is_text(style: Style) -> bool {
    !matches!(style, Style::Json | Style::QuotedJson | Style::Csv)
}

/// Returns a key's type; `None` if there is no such key any more.
pub fn kind_of(reply: &Reply) -> Result<Option<String>> {
    match reply {
        Reply::Error(text) if is_unknown_command(text) => Ok(None),
        Reply::Error(text) => Err(Failure::Reply { command: "TYPE", text: text.to_string() }),
        reply => {
            let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
            let kind = bytes_of(reply).filter(|kind| *kind != b"none");
            // The server may send anything.
            Ok(kind.map(|kind| match kind.iter().all(is_plain) {
                true => String::from_utf8_lossy(kind).into_owned(),
                false => quoted(kind),
            }))
        }
    }
}

/// Returns a key as it is shown.
pub fn quoted(key: &[u8]) -> String {
    let mut out = Vec::new();
    write_quoted(key, HighBytes::Escape, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

impl Findings {
    /// Looks at every key, until the last one or Ctrl-C.
    fn search(
        &mut self,
        measure: Measure,
        link: &mut Link<'_>,
        walk: &mut Scan<'_>,
        flags: &ModeFlags,
        setting: &Setting<'_>,
    ) -> Result<()> {
        let samples = flags.memkeys_samples.map(|samples| samples.to_string());
        let mut has_type = true;
        while let Some(keys) = walk.next(link)? {
            let kinds = if has_type {
                let Some(replies) = link.exchange_all(keys.iter().map(|key| [&b"TYPE"[..], key]))? else { break };
                has_type = !replies.iter().any(|reply| matches!(reply, Reply::Error(text) if is_unknown_command(text)));
                replies.iter().map(kind_of).collect::<Result<Vec<_>>>()?
            } else {
                Vec::new()
            };
            let kinds = if has_type { kinds } else { vec![Some("string".to_owned()); keys.len()] };
            // Keys that were deleted meanwhile have no type.
            let found: Vec<(Vec<u8>, String)> =
                keys.into_iter().zip(kinds).filter_map(|(key, kind)| Some((key, kind?))).collect();
            let requests: Vec<Vec<&[u8]>> = found
                .iter()
                .filter_map(|(key, kind)| match (measure, &samples) {
                    (Measure::Elements, _) => size_command(kind).map(|(command, _)| vec![command.as_bytes(), key]),
                    (Measure::Memory, None) => Some(vec![b"MEMORY", b"USAGE", key]),
                    (Measure::Memory, Some(samples)) => {
                        Some(vec![b"MEMORY", b"USAGE", key, b"SAMPLES", samples.as_bytes()])
                    }
                })
                .collect();
            let Some(replies) = link.exchange_all(requests)? else { break };
            let mut replies = replies.into_iter();
            for (key, kind) in &found {
                let is_measured = measure == Measure::Memory || size_command(kind).is_some();
                let size = match if is_measured { replies.next() } else { None } {
                    Some(Reply::Integer(size)) => u64::try_from(size).ok(),
                    Some(Reply::Error(text)) if measure == Measure::Memory && is_unknown_command(&text) => {
                        let text =
                            "the server has no MEMORY USAGE command: --bigkeys counts elements and bytes instead";
                        return Err(Failure::Unsupported(text.to_owned()));
                    }
                    // Deleted, or of another type, since it was looked at; or its type is unknown.
                    _ => None,
                };
                if let Some(line) = self.add(key, kind, size, measure)
                    && is_text(setting.style)
                    && !setting.draws()
                {
                    print(&format!("[{:05.2}%] {line}\n", walk.percent()))?;
                }
            }
            walk.show(|| self.progress(measure));
        }
        Ok(())
    }

    /// Adds a key; returns what to say if it is the biggest of its type so far.
    fn add(&mut self, key: &[u8], kind: &str, size: Option<u64>, measure: Measure) -> Option<String> {
        self.sampled += 1;
        self.key_bytes += key.len() as u64;
        let of_kind = self.kinds.entry(kind.to_owned()).or_default();
        of_kind.keys += 1;
        let Some(size) = size else {
            self.unmeasured += 1;
            return None;
        };
        of_kind.size = of_kind.size.saturating_add(size);
        if of_kind.biggest.as_ref().is_some_and(|(biggest, _)| *biggest >= size) {
            return None;
        }
        of_kind.biggest = Some((size, key.to_vec()));
        Some(format!("Biggest {kind:<6} found so far {} with {size} {}", quoted(key), measure.unit(kind)))
    }

    /// Returns the biggest key of all types on one line.
    fn progress(&self, measure: Measure) -> String {
        let biggest: Vec<String> = self
            .kinds
            .iter()
            .filter_map(|(kind, found)| {
                let (size, key) = found.biggest.as_ref()?;
                Some(format!("{kind} {} {size} {}", quoted(key), measure.unit(kind)))
            })
            .collect();
        biggest.join(", ")
    }

    fn report(&self, walk: &Scan<'_>, measure: Measure, style: Style) -> String {
        match style {
            Style::Json | Style::QuotedJson => return self.json(walk, measure, style),
            Style::Csv => return self.csv(measure),
            _ => {}
        }
        let mut text = "\n-------- summary -------\n\n".to_owned();
        if !walk.is_complete() {
            text += &format!("[{:05.2}%] ", walk.percent());
        }
        let sampled = self.sampled;
        text += &format!("Sampled {sampled} keys in the keyspace!\n");
        let mean = |sum: u64, count: u64| if count == 0 { 0.0 } else { sum as f64 / count as f64 };
        text += &format!(
            "Total key length in bytes is {} (avg len {:.2})\n\n",
            self.key_bytes,
            mean(self.key_bytes, sampled)
        );
        for (kind, found) in &self.kinds {
            if let Some((size, key)) = &found.biggest {
                text += &format!("Biggest {kind:>6} found {} has {size} {}\n", quoted(key), measure.unit(kind));
            }
        }
        if !self.kinds.is_empty() {
            text.push('\n');
        }
        for (kind, found) in &self.kinds {
            text += &format!(
                "{} {kind}s with {} {} ({:05.2}% of keys, avg size {:.2})\n",
                found.keys,
                found.size,
                measure.unit(kind),
                100.0 * mean(found.keys, sampled),
                mean(found.size, found.keys)
            );
        }
        if self.unmeasured > 0 {
            text += &format!(
                "\n{} keys have no size: they are gone, or the server does not measure them\n",
                self.unmeasured
            );
        }
        text
    }

    fn json(&self, walk: &Scan<'_>, measure: Measure, style: Style) -> String {
        let kinds: serde_json::Map<String, serde_json::Value> = self
            .kinds
            .iter()
            .map(|(kind, found)| {
                let (size, key) = found.biggest.as_ref().map(|(size, key)| (*size, json_bytes(key, style))).unzip();
                let value = serde_json::json!({
                    "keys": found.keys, "size": found.size, "unit": measure.unit(kind),
                    "biggest_key": key, "biggest_size": size,
                });
                (kind.clone(), value)
            })
            .collect();
        let value = serde_json::json!({
            "sampled": self.sampled, "complete": walk.is_complete(), "key_bytes": self.key_bytes,
            "unmeasured": self.unmeasured, "types": kinds,
        });
        format!("{value}\n")
    }

    fn csv(&self, measure: Measure) -> String {
        let mut text = "type,keys,size,unit,biggest_size,biggest_key\n".to_owned();
        for (kind, found) in &self.kinds {
            let (size, key) = found.biggest.as_ref().map(|(size, key)| (*size, quoted(key))).unzip();
            text += &format!(
                "{kind},{},{},{},{},{}\n",
                found.keys,
                found.size,
                measure.unit(kind),
                size.map(|size| size.to_string()).unwrap_or_default(),
                key.unwrap_or_default()
            );
        }
        text
    }
}

/// The keys with the highest access counters.
#[derive(Debug, Default)]
struct HotKeys {
    /// The hottest first.
    keys: Vec<(i64, Vec<u8>)>,
    /// Keys that were deleted before they were looked at.
    failed: u64,
}

impl HotKeys {
    /// Looks at every key, until the last one or Ctrl-C.
    fn search(&mut self, link: &mut Link<'_>, walk: &mut Scan<'_>) -> Result<()> {
        while let Some(keys) = walk.next(link)? {
            let Some(replies) = link.exchange_all(keys.iter().map(|key| [&b"OBJECT"[..], b"FREQ", key]))? else {
                break;
            };
            for (key, reply) in keys.into_iter().zip(replies) {
                match reply {
                    Reply::Integer(counter) => {
                        let at = self.keys.partition_point(|(other, _)| *other >= counter);
                        // A key may come twice.
                        if at < HOT_KEYS && !self.keys.iter().any(|(_, other)| *other == key) {
                            self.keys.insert(at, (counter, key));
                            self.keys.truncate(HOT_KEYS);
                        }
                    }
                    Reply::Error(text) if !is_no_such_key(&text.to_string()) => {
                        return Err(Failure::Unsupported(no_counters(&text.to_string())));
                    }
                    // Deleted since SCAN returned it.
                    _ => self.failed += 1,
                }
            }
            walk.show(|| {
                self.keys.first().map(|(counter, key)| format!("{} {counter}", quoted(key))).unwrap_or_default()
            });
        }
        Ok(())
    }
}

/// Finds the keys with the highest access counters.
pub fn run_hot(flags: &ModeFlags, setting: &Setting<'_>) -> Result<bool> {
    let mut link = setting.connect()?;
    let mut walk = Scan::begin(&mut link, flags, setting, true)?;
    let is_text = is_text(setting.style);
    if is_text {
        print("\n# Looks at every key of the database; -i 0.1 waits 0.1 s between two pages of keys (--count).\n\n")?;
    }
    let mut hot = HotKeys::default();
    let searched = hot.search(&mut link, &mut walk);
    walk.end_search(searched)?;
    if hot.failed > 0 {
        note(&format!("kvclient: {} keys were gone before they could be looked at", hot.failed));
    }
    let rows: Vec<String> = hot
        .keys
        .iter()
        .map(|(counter, key)| match setting.style {
            Style::Json | Style::QuotedJson => {
                format!("{}\n", serde_json::json!({ "key": json_bytes(key, setting.style), "counter": counter }))
            }
            Style::Csv => format!("{counter},{}\n", quoted(key)),
            _ => format!("hot key found with counter: {counter}\tkeyname: {}\n", quoted(key)),
        })
        .collect();
    let heading = if is_text {
        let percent = if walk.is_complete() { String::new() } else { format!("[{:05.2}%] ", walk.percent()) };
        format!("\n-------- summary -------\n\n{percent}Sampled {} keys in the keyspace!\n", walk.keys)
    } else if setting.style == Style::Csv {
        "counter,key\n".to_owned()
    } else {
        String::new()
    };
    print(&(heading + &rows.concat()))?;
    Ok(walk.is_complete())
}

fn is_no_such_key(error: &str) -> bool {
    error.contains("no such key")
}

fn no_counters(error: &str) -> String {
    format!(
        "{error}\n--hotkeys needs the server to count uses: CONFIG SET maxmemory-policy allkeys-lfu (or volatile-lfu), and \
         some time of use after that. Without it, HOTKEYS of kv and Redis 8.6 samples the commands themselves."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_that_a_server_made_up_are_escaped() {
        let shown = |kind: &'static str| kind_of(&Reply::simple(kind)).unwrap();
        assert_eq!(shown("none"), None);
        assert_eq!(shown("ReJSON-RL").unwrap(), "ReJSON-RL");
        assert_eq!(shown("a\u{1b}[31m,\"b").unwrap(), r#""a\x1b[31m,\"b""#);
    }
}
