//! What a run is judged by: the conditions of `--fail-if`, and the targets that every load test prints.
//!
//! Invariant: a condition whose value was not measured has failed, so that a gate that measures nothing does not pass.

use crate::bench::json::{self, Run, Summary, VerdictOutcome};
use std::str::FromStr;
use std::time::Duration;

/// One condition, as in `GET.p99>5ms`.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    text: String,
    /// The operation's name in capitals; `None` for all of them.
    operation: Option<String>,
    metric: Metric,
    comparison: Comparison,
    limit: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Metric {
    Rps,
    /// A time; in microseconds.
    Latency(LatencyMetric),
    Errors,
    ErrorRate,
    HitRate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LatencyMetric {
    Min,
    Mean,
    P50,
    P90,
    P95,
    P99,
    P999,
    Max,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Less,
    LessOrEqual,
    More,
    MoreOrEqual,
}

/// Returns a text without its blanks.
fn compact(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_whitespace()).collect()
}

impl FromStr for Condition {
    type Err = String;

    fn from_str(text: &str) -> Result<Condition, String> {
        let form = "write conditions as in rps<10000,mean>1ms,GET.p99>5ms,errors>0,errors>0.1%,hit<0.99";
        let compact = compact(text);
        let at = compact.find(['<', '>']).ok_or(form)?;
        let (name, rest) = compact.split_at(at);
        let (comparison, limit) = match (rest.strip_prefix("<="), rest.strip_prefix(">=")) {
            (Some(limit), _) => (Comparison::LessOrEqual, limit),
            (_, Some(limit)) => (Comparison::MoreOrEqual, limit),
            _ => (if rest.starts_with('<') { Comparison::Less } else { Comparison::More }, rest.get(1..).unwrap_or("")),
        };
        // p99.9 has a point, too.
        let (operation, name) = match name.split_once('.') {
            Some((operation, name)) if !name.is_empty() && !name.starts_with(|first: char| first.is_ascii_digit()) => {
                (Some(operation.to_ascii_uppercase()), name)
            }
            _ => (None, name),
        };
        let number = |text: &str| match text.parse::<f64>() {
            Ok(number) if number.is_finite() && number >= 0.0 => Ok(number),
            _ => Err(format!("{limit:?} is no number; {form}")),
        };
        let share = |text: &str| match text.strip_suffix('%') {
            Some(percent) => number(percent).map(|percent| percent / 100.0),
            None => number(text),
        };
        let (metric, limit) = match name {
            "rps" => (Metric::Rps, number(limit)?),
            "errors" if limit.ends_with('%') => (Metric::ErrorRate, share(limit)?),
            "errors" => (Metric::Errors, number(limit)?),
            "hit" => (Metric::HitRate, share(limit)?),
            name => {
                let metric = latency_metric(name).ok_or_else(|| {
                    format!("{name:?} is none of rps, min, mean, p50, p90, p95, p99, p99.9, max, errors, hit; {form}")
                })?;
                if !limit.ends_with('s') {
                    return Err(format!("{name} needs a unit: us, ms or s; {form}"));
                }
                (Metric::Latency(metric), parse_time(limit)?.as_secs_f64() * 1e6)
            }
        };
        Ok(Condition { text: text.trim().to_owned(), operation, metric, comparison, limit })
    }
}

fn latency_metric(name: &str) -> Option<LatencyMetric> {
    Some(match name {
        "min" => LatencyMetric::Min,
        "mean" => LatencyMetric::Mean,
        "p50" => LatencyMetric::P50,
        "p90" => LatencyMetric::P90,
        "p95" => LatencyMetric::P95,
        "p99" => LatencyMetric::P99,
        "p99.9" => LatencyMetric::P999,
        "max" => LatencyMetric::Max,
        _ => return None,
    })
}

impl Metric {
    fn of(self, summary: &Summary) -> Option<f64> {
        let latency = summary.latency_us;
        match self {
            Metric::Rps => Some(summary.requests_per_second),
            Metric::Errors => (summary.count > 0).then_some(summary.errors as f64),
            Metric::ErrorRate => error_rate(summary),
            Metric::HitRate => summary.hit_rate,
            Metric::Latency(metric) => latency.map(|latency| match metric {
                LatencyMetric::Min => latency.min,
                LatencyMetric::Mean => latency.mean,
                LatencyMetric::P50 => latency.p50,
                LatencyMetric::P90 => latency.p90,
                LatencyMetric::P95 => latency.p95,
                LatencyMetric::P99 => latency.p99,
                LatencyMetric::P999 => latency.p99_9,
                LatencyMetric::Max => latency.max,
            }),
        }
    }
}

fn error_rate(summary: &Summary) -> Option<f64> {
    (summary.count > 0).then(|| summary.errors as f64 / summary.count as f64)
}

impl Condition {
    /// Checks the condition on a run.
    pub fn check(&self, run: &Run) -> json::Condition {
        let summary = match &self.operation {
            None => Some(&run.totals),
            Some(name) => {
                let operation =
                    run.operations.iter().find(|operation| compact(&operation.name).to_ascii_uppercase() == *name);
                operation.map(|operation| &operation.summary)
            }
        };
        let value = summary.and_then(|summary| self.metric.of(summary));
        let failed = value.is_none_or(|value| match self.comparison {
            Comparison::Less => value < self.limit,
            Comparison::LessOrEqual => value <= self.limit,
            Comparison::More => value > self.limit,
            Comparison::MoreOrEqual => value >= self.limit,
        });
        json::Condition {
            condition: self.text.clone(),
            server: run.server.address.clone(),
            round: run.round,
            value,
            failed,
        }
    }
}

/// The targets of the original load test: metric, target, minimum, whether more is better, and whether the target itself
/// is not enough.
const TARGETS: &[(&str, f64, f64, bool)] = &[
    ("requests_per_second", 10_000.0, 5_000.0, true),
    ("mean_us", 1_000.0, 10_000.0, false),
    ("p99_us", 5_000.0, 20_000.0, false),
    ("error_rate", 0.0, 0.0, false),
    ("hit_rate", 0.99, 0.99, true),
];

/// Returns how a run stands to the targets. A target has to be passed, a minimum to be reached; of errors there must be none.
pub fn verdicts(totals: &Summary) -> Vec<json::Verdict> {
    let verdict = |&(metric, target, minimum, more_is_better): &(&str, f64, f64, bool)| {
        let value = match metric {
            "requests_per_second" => Some(totals.requests_per_second),
            "mean_us" => totals.latency_us.map(|latency| latency.mean),
            "p99_us" => totals.latency_us.map(|latency| latency.p99),
            "error_rate" => error_rate(totals),
            _ => totals.hit_rate,
        };
        let outcome = match value {
            None => VerdictOutcome::NotMeasured,
            Some(value) => {
                let passes = if more_is_better { value > target } else { value < target || value == 0.0 };
                let reaches = if more_is_better { value >= minimum } else { value <= minimum };
                match (passes, reaches) {
                    (true, _) => VerdictOutcome::TargetMet,
                    (false, true) => VerdictOutcome::MinimumMet,
                    (false, false) => VerdictOutcome::Missed,
                }
            }
        };
        json::Verdict { metric: metric.to_owned(), value, target, minimum, outcome }
    };
    TARGETS.iter().map(verdict).collect()
}

/// Reads a length of time; without a unit it is in seconds.
pub fn parse_time(text: &str) -> Result<Duration, String> {
    let wrong = || "write a time, as in 10s, 500ms or 2m".to_owned();
    let digits_end = text.find(|letter: char| letter != '.' && !letter.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(digits_end);
    let seconds = match unit {
        "" | "s" => 1.0,
        "us" => 1e-6,
        "ms" => 1e-3,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(wrong()),
    };
    let number: f64 = digits.parse().map_err(|_| wrong())?;
    let time = Duration::try_from_secs_f64(number * seconds).map_err(|_| wrong())?;
    // Longer ones would overflow the arithmetic of nanoseconds.
    if time <= Duration::from_secs(366 * 24 * 3600) { Ok(time) } else { Err("write a time of up to a year".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn summary(rps: f64, mean: f64, p99: f64, errors: u64, hit_rate: Option<f64>) -> Summary {
        Summary {
            count: 1000,
            hits: 0,
            misses: 0,
            hit_rate,
            errors,
            errors_by_kind: BTreeMap::new(),
            requests_per_second: rps,
            latency_us: Some(json::Latency {
                min: 1.0,
                mean,
                stddev: 0.0,
                p50: mean,
                p90: p99,
                p95: p99,
                p99,
                p99_9: p99 * 2.0,
                max: p99 * 3.0,
            }),
            percentiles: Vec::new(),
        }
    }

    fn run(totals: Summary) -> Run {
        let get = json::Operation { name: "GET".to_owned(), summary: summary(1.0, 2.0, 3.0, 0, Some(1.0)) };
        Run {
            round: 1,
            server: json::Server {
                address: "h:1".to_owned(),
                protocol: "line".to_owned(),
                database: 0,
                software: None,
                version: None,
            },
            ended: json::Ended::Completed,
            failure: None,
            loaded_keys: 0,
            elapsed_s: 1.0,
            unsent: 0,
            reconnects: 0,
            idle_closed: 0,
            server_cpu_us: None,
            totals,
            operations: vec![get],
            series: json::Series { interval_ms: 100, points: Vec::new() },
        }
    }

    #[track_caller]
    fn failed(condition: &str, totals: Summary) -> bool {
        condition.parse::<Condition>().unwrap().check(&run(totals)).failed
    }

    #[test]
    fn conditions_are_compared_in_their_units() {
        let totals = || summary(20_000.0, 900.0, 4_000.0, 2, Some(0.98));
        for holds in [
            "rps<20001",
            "rps<=20000",
            "mean>0.8ms",
            "mean>=900us",
            "p99>0.003s",
            "p99.9>7ms",
            "max>11ms",
            "errors>1",
            "errors>0.1%",
            "hit<0.99",
            "hit < 99%",
            "GET.p99>2us",
            "get.rps<2",
            "PUT.p99>1s",
        ] {
            assert!(failed(holds, totals()), "{holds}");
        }
        for does_not in [
            "rps<20000",
            "rps>20000",
            "mean>1ms",
            "p99>5ms",
            "p99.9>8ms",
            "errors>2",
            "errors>0.2%",
            "hit<0.98",
            "GET.p99.9>7us",
        ] {
            assert!(!failed(does_not, totals()), "{does_not}");
        }
    }

    #[test]
    fn what_was_not_measured_has_failed() {
        assert!(failed("hit<0.99", summary(1.0, 1.0, 1.0, 0, None)));
        assert!(failed(
            "mean>1h".replace('h', "s").as_str(),
            Summary { latency_us: None, ..summary(0.0, 0.0, 0.0, 0, None) }
        ));
        assert!(failed("errors>1%", Summary { count: 0, ..summary(0.0, 0.0, 0.0, 0, None) }));
    }

    #[test]
    fn wrong_conditions_are_refused() {
        for wrong in [
            "", "rps", "rps=1", "rps<", "rps<x", "rps<-1", "mean>1", "mean>1m", "hits<1", "p98>1ms", "errors>%",
            "rps<nan", "GET.>1",
        ] {
            assert!(wrong.parse::<Condition>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn targets_are_passed_and_minimums_are_reached() {
        use VerdictOutcome::{MinimumMet, Missed, NotMeasured, TargetMet};
        let outcomes = |totals: Summary| verdicts(&totals).iter().map(|verdict| verdict.outcome).collect::<Vec<_>>();
        assert_eq!(outcomes(summary(10_001.0, 999.0, 4_999.0, 0, Some(1.0))), [TargetMet; 5]);
        let minimum = outcomes(summary(10_000.0, 1_000.0, 5_000.0, 0, Some(0.99)));
        assert_eq!(minimum, [MinimumMet, MinimumMet, MinimumMet, TargetMet, MinimumMet]);
        assert_eq!(outcomes(summary(4_999.0, 10_001.0, 20_001.0, 1, Some(0.98))), [Missed; 5]);
        let none = Summary { latency_us: None, count: 0, ..summary(0.0, 0.0, 0.0, 0, None) };
        assert_eq!(outcomes(none), [Missed, NotMeasured, NotMeasured, NotMeasured, NotMeasured]);
    }
}
