//! The report as JSON: what `--output` writes and `--compare` reads; docs/bench-schema.md explains every field.
//!
//! Invariant: [`VERSION`] grows whenever a field is removed or changes its meaning; added fields leave it as it is, and
//! readers ignore fields that they do not know.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// What stands in [`Report::format`].
pub const FORMAT: &str = "kvclient-bench";
/// The version of the schema.
pub const VERSION: u32 = 1;

/// A whole report.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    pub format: String,
    pub version: u32,
    pub kind: Kind,
    pub started_unix_ms: u64,
    pub ended: Ended,
    /// Why the load test failed, if it did.
    pub failure: Option<String>,
    pub machine: Machine,
    pub settings: Settings,
    pub runs: Vec<Run>,
    pub verdicts: Vec<Verdict>,
    pub fail_if: Vec<Condition>,
    pub comparison: Option<Comparison>,
    pub large: Option<Large>,
}

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// One run against one server.
    Load,
    /// Several runs, against two servers in turn.
    Comparison,
    /// Large keys and values, one request at a time.
    Large,
}

/// How a run or the whole load test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    Completed,
    /// By Ctrl-C.
    Interrupted,
    Failed,
}

/// The machine that the load came from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Machine {
    pub cores: usize,
    pub processor: String,
    pub system: String,
    pub kvclient_version: String,
}

/// What was asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Settings {
    pub connections: usize,
    /// Requests of each connection; `None` if the time was limited instead.
    pub requests_per_connection: Option<u64>,
    pub duration_ms: Option<u64>,
    pub warmup_ms: u64,
    pub pipeline: usize,
    pub threads: usize,
    /// Requests per second of an open loop; `None` for a closed one.
    pub rate: Option<f64>,
    pub ratio: f64,
    pub keys: u64,
    pub key_size: usize,
    pub value_size: String,
    /// 0 for none; of a range, the shortest.
    pub ttl_s: u32,
    /// The longest of a range.
    #[serde(default)]
    pub ttl_max_s: Option<u32>,
    pub distribution: String,
    /// Requests that a connection carries before the next one is opened; `None` for all.
    #[serde(default)]
    pub reconnect: Option<u64>,
    /// Idle connections that were held open beside the others.
    #[serde(default)]
    pub idle: usize,
    pub seed: u64,
    /// The templates of `--command`; empty for PUT and GET.
    pub commands: Vec<String>,
}

/// A server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// Host and port, or the path of a socket.
    pub address: String,
    /// `resp` or `line`.
    pub protocol: String,
    pub database: u32,
    /// The program that its INFO names: kvserver, redis or valkey.
    pub software: Option<String>,
    pub version: Option<String>,
}

/// One run against one server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    /// From 1; of a comparison, runs of the same round belong together.
    pub round: u32,
    pub server: Server,
    pub ended: Ended,
    pub failure: Option<String>,
    /// Keys stored before the clock started.
    pub loaded_keys: u64,
    pub elapsed_s: f64,
    /// Requests of an open loop that were due, and not sent when it ended.
    #[serde(default)]
    pub unsent: u64,
    /// Connections that were opened again, as `--reconnect` says.
    #[serde(default)]
    pub reconnects: u64,
    /// Idle connections that the server had closed when the run ended.
    #[serde(default)]
    pub idle_closed: u64,
    /// The processor time of the server a request, in microseconds; `None` if its INFO does not show it, or the run
    /// was too short to measure it.
    #[serde(default)]
    pub server_cpu_us: Option<f64>,
    pub totals: Summary,
    pub operations: Vec<Operation>,
    pub series: Series,
}

/// One kind of request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Operation {
    pub name: String,
    #[serde(flatten)]
    pub summary: Summary,
}

/// Counts and times of requests that were replied to, and errors.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Summary {
    /// Requests that ended, with errors.
    pub count: u64,
    pub hits: u64,
    pub misses: u64,
    /// hits / (hits + misses); `None` if there were neither.
    pub hit_rate: Option<f64>,
    pub errors: u64,
    pub errors_by_kind: BTreeMap<String, u64>,
    pub requests_per_second: f64,
    /// `None` if no reply came.
    pub latency_us: Option<Latency>,
    pub percentiles: Vec<PercentilePoint>,
}

/// The distribution of latencies, in microseconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Latency {
    pub min: f64,
    pub mean: f64,
    pub stddev: f64,
    pub p50: f64,
    pub p90: f64,
    pub p95: f64,
    pub p99: f64,
    pub p99_9: f64,
    pub max: f64,
}

/// A point of the percentile curve: `percentile` per cent of the requests took at most `latency_us`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct PercentilePoint {
    pub percentile: f64,
    pub latency_us: f64,
}

/// What happened in each interval of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Series {
    pub interval_ms: u64,
    pub points: Vec<SeriesPoint>,
}

/// One interval of a run.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct SeriesPoint {
    /// When the interval began, since the clock started.
    pub t_ms: u64,
    pub requests: u64,
    pub errors: u64,
    /// These are `None` if no reply came in the interval.
    pub mean_us: Option<f64>,
    pub p50_us: Option<f64>,
    pub p99_us: Option<f64>,
}

/// One of the targets, and whether it was met.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Verdict {
    pub metric: String,
    /// In the metric's unit: requests a second, microseconds, or a share from 0 to 1.
    pub value: Option<f64>,
    pub target: f64,
    pub minimum: f64,
    pub outcome: VerdictOutcome,
}

/// How a value stands to its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerdictOutcome {
    TargetMet,
    MinimumMet,
    Missed,
    /// There is no value: no GET ran, or no reply came.
    NotMeasured,
}

/// One condition of `--fail-if`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Condition {
    pub condition: String,
    /// The address of the server that it was checked for, and the round.
    pub server: String,
    pub round: u32,
    pub value: Option<f64>,
    pub failed: bool,
}

/// Two servers, or an older report and this one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Comparison {
    /// What the ratios are relative to.
    pub baseline: String,
    pub subject: String,
    pub ratios: Vec<Ratio>,
}

/// subject / baseline of one metric.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ratio {
    /// An operation's name, or `all`.
    pub operation: String,
    /// `rps`, `mean`, `p50`, `p99` or `p99.9`; of `all`, also `cpu`.
    pub metric: String,
    /// Medians over the rounds; requests a second, or microseconds.
    pub baseline: f64,
    pub subject: f64,
    /// The median of the rounds' ratios, the smallest and the largest.
    pub ratio: f64,
    pub ratio_min: f64,
    pub ratio_max: f64,
}

/// The large-value benchmark.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Large {
    pub server: Server,
    pub repeats: u32,
    /// Requests of each operation in a repeat.
    pub requests: u64,
    pub cells: Vec<LargeCell>,
}

/// One size of key and value.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LargeCell {
    pub key_bytes: usize,
    pub value_bytes: usize,
    pub set: LargeTimes,
    pub get: LargeTimes,
}

/// The times of one operation in a cell, over all repeats.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct LargeTimes {
    pub count: u64,
    /// Reads that found no value; their times do not count.
    pub errors: u64,
    pub mean_us: Option<f64>,
    pub p99_us: Option<f64>,
    /// The smallest and the largest mean of a repeat.
    pub mean_us_min: Option<f64>,
    pub mean_us_max: Option<f64>,
}

/// Reads a report that an earlier run has written.
///
/// # Errors
///
/// A message for the user: the file cannot be read, or is no report of a known version.
pub fn read(path: &Path) -> Result<Report, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    parse(&text).map_err(|why| format!("{} {why}", path.display()))
}

fn parse(text: &str) -> Result<Report, String> {
    /// Tells a report of a newer version from a file that is no report.
    #[derive(Deserialize)]
    struct Header {
        format: String,
        version: u32,
    }
    let not_one = |error: serde_json::Error| format!("is no report of `kvclient bench`: {error}");
    let header: Header = serde_json::from_str(text).map_err(not_one)?;
    if header.format != FORMAT {
        return Err(format!("is no report of `kvclient bench`: its format is {:?}", header.format));
    }
    if header.version != VERSION {
        return Err(format!("is a report of version {}; this program reads version {VERSION}", header.version));
    }
    serde_json::from_str(text).map_err(not_one)
}

/// Returns the report as text, with its end of line.
///
/// # Errors
///
/// A number that JSON cannot hold.
pub fn to_text(report: &Report) -> Result<String, serde_json::Error> {
    serde_json::to_string_pretty(report).map(|text| text + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../../../docs/bench-example.json");

    #[test]
    fn the_documented_example_is_a_report() {
        let report = parse(EXAMPLE).unwrap();
        assert_eq!(report.kind, Kind::Load);
        let again = parse(&to_text(&report).unwrap()).unwrap();
        assert_eq!(format!("{report:?}"), format!("{again:?}"));
    }

    #[test]
    fn other_files_are_refused_with_a_reason() {
        assert!(parse("{").unwrap_err().contains("is no report"));
        assert!(parse("{}").unwrap_err().contains("is no report"));
        assert!(parse(r#"{"format":"x","version":1}"#).unwrap_err().contains("its format is \"x\""));
        assert!(parse(r#"{"format":"kvclient-bench","version":2}"#).unwrap_err().contains("version 2"));
    }
}
