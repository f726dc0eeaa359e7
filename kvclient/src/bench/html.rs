//! The HTML report: one self-contained page made from the JSON of a report.
//!
//! Invariant: whatever the JSON holds, it reaches the page only as escaped text or as escaped JSON in a data block, and
//! the page's policy runs no script and applies no style but those compiled in here.

mod figures;
mod tables;

use super::json::Report;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fs;
use std::io;
use std::path::Path;

const PAGE: &str = include_str!("report.html");
const STYLE: &str = include_str!("report.css");
const SCRIPT: &str = include_str!("report.js");
/// uPlot 1.6.32, MIT licence; see vendor/uplot/README.md.
const UPLOT: &str = include_str!("../../vendor/uplot/uPlot.iife.min.js");
const UPLOT_STYLE: &str = include_str!("../../vendor/uplot/uPlot.min.css");
const UPLOT_LICENCE: &str = include_str!("../../vendor/uplot/LICENSE");

/// The version of the JSON schema that is rendered.
const VERSION: u64 = 1;

/// Why no page was made.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// The report's file could not be read.
    #[error("cannot read {path}: {source}")]
    Read { path: String, source: io::Error },
    /// The page's file could not be written.
    #[error("cannot write {path}: {source}")]
    Write { path: String, source: io::Error },
    /// The file is not JSON.
    #[error("{path} is not JSON: {source}")]
    NotJson { path: String, source: serde_json::Error },
    /// The report cannot be written as JSON.
    #[error("the report cannot be written as JSON: {0}")]
    NoJson(serde_json::Error),
    /// The JSON is something else than a report.
    #[error("this is no report of kvclient bench: its \"format\" is not \"kvclient-bench\"")]
    NotAReport,
    /// The report has a schema that this version does not know.
    #[error("the report has version {0} of the schema; this kvclient renders version {VERSION}")]
    UnknownVersion(Value),
}

/// Reads the JSON of a report from the file `from` and writes its page to the file `to`, which is replaced if it exists.
///
/// # Errors
///
/// A file cannot be read or written, or `from` is not the JSON of a report.
pub fn render(from: &Path, to: &Path) -> Result<(), RenderError> {
    let named = |path: &Path| path.display().to_string();
    let json = fs::read(from).map_err(|source| RenderError::Read { path: named(from), source })?;
    let report = serde_json::from_slice(&json).map_err(|source| RenderError::NotJson { path: named(from), source })?;
    fs::write(to, page(&report)?).map_err(|source| RenderError::Write { path: named(to), source })
}

/// Writes the page of `report` to the file `to`, which is replaced if it exists.
///
/// # Errors
///
/// The file cannot be written.
pub fn write(report: &Report, to: &Path) -> Result<(), RenderError> {
    let report = serde_json::to_value(report).map_err(RenderError::NoJson)?;
    fs::write(to, page(&report)?).map_err(|source| RenderError::Write { path: to.display().to_string(), source })
}

/// Returns the page of a report. What the report lacks, the page lacks or shows as a dash.
///
/// # Errors
///
/// `report` is not a report, or of an unknown version.
pub fn page(report: &Value) -> Result<String, RenderError> {
    if report["format"] != "kvclient-bench" {
        return Err(RenderError::NotAReport);
    }
    if report["version"] != VERSION {
        return Err(RenderError::UnknownVersion(report["version"].clone()));
    }
    // Only these may run or apply. A style attribute may not either, and none is written; scripts set styles one by one.
    let policy = format!(
        "default-src 'none'; script-src {} {}; style-src {} {}; base-uri 'none'; form-action 'none'",
        source_hash(UPLOT),
        source_hash(SCRIPT),
        source_hash(UPLOT_STYLE),
        source_hash(STYLE),
    );
    Ok(fill(
        PAGE,
        &[
            ("uplot_licence", UPLOT_LICENCE),
            ("policy", &policy),
            ("title", &tables::title(report)),
            ("uplot_style", UPLOT_STYLE),
            ("style", STYLE),
            ("body", &tables::body(report)),
            ("report", &json_block(report)),
            ("uplot", UPLOT),
            ("script", SCRIPT),
        ],
    ))
}

/// Returns `template` with each `{{name}}` replaced. What is put in is not searched for names again.
fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(template.len() + values.iter().map(|(_, value)| value.len()).sum::<usize>());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        filled.push_str(before);
        let (name, after) = after.split_once("}}").unwrap_or((after, ""));
        if let Some((_, value)) = values.iter().find(|(known, _)| *known == name) {
            filled.push_str(value);
        }
        rest = after;
    }
    filled.push_str(rest);
    filled
}

/// Returns the source expression of a Content-Security-Policy that allows exactly `text`.
fn source_hash(text: &str) -> String {
    format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)))
}

/// Returns `report` as JSON that no HTML parser takes for markup: these characters stand only in strings, where JSON
/// has another way to write them.
fn json_block(report: &Value) -> String {
    report.to_string().replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../../../docs/bench-example.json");

    fn example() -> Value {
        serde_json::from_str(EXAMPLE).unwrap()
    }

    #[test]
    fn what_is_not_the_default_is_among_the_settings() {
        let plain = page(&example()).unwrap();
        let mut report = example();
        for (name, value) in [("ttl_s", 60), ("ttl_max_s", 3600), ("reconnect", 10), ("idle", 500)] {
            report["settings"][name] = value.into();
        }
        (report["runs"][0]["reconnects"], report["runs"][0]["idle_closed"]) = (4_362.into(), 7.into());
        let changed = page(&report).unwrap();
        for shown in [
            "60 to 3,600 s",
            "Requests before a new connection",
            "Idle connections",
            ">4,362<",
            "Idle connections that were closed",
            "A new connection is part of the latency",
        ] {
            assert!(changed.contains(shown) && !plain.contains(shown), "{shown}");
        }
    }

    #[test]
    fn the_example_becomes_a_page_with_its_numbers_as_text() {
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("report.json");
        let to = dir.path().join("report.html");
        fs::write(&from, EXAMPLE).unwrap();
        render(&from, &to).unwrap();
        let page = fs::read_to_string(&to).unwrap();
        for shown in ["localhost:7171", "40,000", "2026-11-30T15:11:02Z", "Intel(R) Xeon(R) Processor", "target met"] {
            assert!(page.contains(shown), "{shown}");
        }
        assert!(!page.contains("{{"));
    }

    #[test]
    fn the_embedded_report_is_the_report() {
        let mut report = example();
        report["machine"]["system"] = "a</script><!--<script>&amp;\u{2028}{{script}}".into();
        let page = page(&report).unwrap();
        let (_, after) = page.split_once("id=\"report\">").unwrap();
        let (block, _) = after.split_once("</script>").unwrap();
        assert_eq!(serde_json::from_str::<Value>(block).unwrap(), report);
        assert!(!block.contains(['<', '>', '&']));
        // Three scripts and what they hold: the report's words opened none.
        assert_eq!(page.matches("<script").count(), 3);
        assert_eq!(page.matches("<!--").count(), 1);
    }

    #[test]
    fn no_file_of_the_page_ends_its_own_element() {
        for text in [UPLOT, SCRIPT] {
            assert!(!text.contains("</script") && !text.contains("<!--"));
        }
        for text in [UPLOT_STYLE, STYLE] {
            assert!(!text.contains("</style") && !text.contains("url(") && !text.contains("@import"));
        }
        assert!(!UPLOT_LICENCE.contains("-->"));
        // A parser would replace these, and the hashes would no longer match.
        assert!([UPLOT, SCRIPT, UPLOT_STYLE, STYLE].iter().all(|text| !text.contains('\r')));
    }

    #[test]
    fn other_json_is_refused() {
        for text in ["null", "[]", "{}", r#"{"format": "other", "version": 1}"#] {
            let report = serde_json::from_str(text).unwrap();
            assert!(matches!(page(&report), Err(RenderError::NotAReport)), "{text}");
        }
        let report = serde_json::from_str(r#"{"format": "kvclient-bench", "version": 2}"#).unwrap();
        assert!(matches!(page(&report), Err(RenderError::UnknownVersion(_))));
    }

    /// Every value of the example is replaced, one after the other, by values of other kinds.
    #[test]
    fn no_report_is_too_strange() {
        fn pointers(value: &Value, at: String, found: &mut Vec<String>) {
            match value {
                Value::Object(fields) => {
                    for (name, field) in fields {
                        pointers(field, format!("{at}/{name}"), found);
                    }
                }
                Value::Array(items) => {
                    for (index, item) in items.iter().enumerate() {
                        pointers(item, format!("{at}/{index}"), found);
                    }
                }
                _ => {}
            }
            if !at.is_empty() {
                found.push(at);
            }
        }
        let report = example();
        let mut found = Vec::new();
        pointers(&report, String::new(), &mut found);
        let others =
            [Value::Null, Value::from(-1e300), Value::from(u64::MAX), Value::from("<x>"), Value::Array(vec![])];
        for pointer in found.iter().filter(|pointer| *pointer != "/format" && *pointer != "/version") {
            for other in &others {
                let mut strange = report.clone();
                *strange.pointer_mut(pointer).unwrap() = other.clone();
                let shown = tables::title(&strange) + &tables::body(&strange) + &json_block(&strange);
                assert!(!shown.contains("<x>"), "{pointer}");
            }
        }
    }
}
