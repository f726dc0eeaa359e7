//! Ratios: of two servers that were measured in turn, or of an older report and this one.
//!
//! Invariant: a ratio is formed within a round, so that what changes on the machine from one round to the next does not
//! enter it.

use crate::bench::json::{Comparison, Ratio, Run, Settings, Summary};
use serde_json::{Map, Value};

/// Picks a metric's value.
type Pick = fn(&Summary) -> Option<f64>;

/// The metrics that are compared.
const METRICS: &[(&str, Pick)] = &[
    ("rps", |summary| Some(summary.requests_per_second)),
    ("mean", |summary| summary.latency_us.map(|latency| latency.mean)),
    ("p50", |summary| summary.latency_us.map(|latency| latency.p50)),
    ("p99", |summary| summary.latency_us.map(|latency| latency.p99)),
    ("p99.9", |summary| summary.latency_us.map(|latency| latency.p99_9)),
];

/// Returns the ratios subject / baseline, of the pairs of runs.
pub fn compare(baseline: &str, subject: &str, pairs: &[(&Run, &Run)]) -> Comparison {
    let mut ratios = Vec::new();
    let mut add = |operation: &str, metric: &str, pick: &dyn Fn(&Run) -> Option<f64>| {
        let values: Vec<(f64, f64)> = pairs
            .iter()
            .filter_map(|(old, new)| pick(old).zip(pick(new)))
            .filter(|(old, new)| *old > 0.0 && *new > 0.0)
            .collect();
        let quotients: Vec<f64> = values.iter().map(|(old, new)| new / old).collect();
        let Some(ratio) = median(&quotients) else { return };
        let column = |side: fn(&(f64, f64)) -> f64| median(&values.iter().map(side).collect::<Vec<_>>()).unwrap_or(0.0);
        ratios.push(Ratio {
            operation: operation.to_owned(),
            metric: metric.to_owned(),
            baseline: column(|pair| pair.0),
            subject: column(|pair| pair.1),
            ratio,
            ratio_min: quotients.iter().copied().fold(f64::INFINITY, f64::min),
            ratio_max: quotients.iter().copied().fold(0.0, f64::max),
        });
    };
    let operations = pairs.first().map_or(&[][..], |(_, first)| &first.operations);
    for name in operations.iter().map(|operation| operation.name.as_str()) {
        for (metric, pick) in METRICS {
            let named = |run: &Run| {
                run.operations.iter().find(|operation| operation.name == name).and_then(|found| pick(&found.summary))
            };
            add(name, metric, &named);
        }
    }
    for (metric, pick) in METRICS {
        add("all", metric, &|run| pick(&run.totals));
    }
    add("all", "cpu", &|run| run.server_cpu_us);
    Comparison { baseline: baseline.to_owned(), subject: subject.to_owned(), ratios }
}

/// Returns the settings in which two reports differ, as `pipeline 1 and 16`; nothing if the same was measured.
pub fn differences(old: &Settings, new: &Settings) -> Vec<String> {
    let fields = |settings: &Settings| {
        // Another seed chooses other keys, in the same way.
        let settings = Settings { seed: 0, ..settings.clone() };
        match serde_json::to_value(settings) {
            Ok(Value::Object(fields)) => fields,
            _ => Map::new(),
        }
    };
    let (old, new) = (fields(old), fields(new));
    let of = |fields: &Map<String, Value>, name: &str| fields.get(name).map_or("none".to_owned(), Value::to_string);
    new.keys()
        .filter(|name| old.get(*name) != new.get(*name))
        .map(|name| format!("{name} {} and {}", of(&old, name), of(&new, name)))
        .collect()
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    if sorted.len() % 2 == 1 { Some(upper) } else { sorted.get(middle - 1).map(|lower| (lower + upper) / 2.0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::json::Report;

    #[test]
    fn ratios_are_of_runs_of_the_same_round() {
        let report: Report = serde_json::from_str(include_str!("../../../docs/bench-example.json")).unwrap();
        let with_rps = |rps: f64| {
            let mut run = report.runs[0].clone();
            run.totals.requests_per_second = rps;
            run.server_cpu_us = Some(1000.0 / rps);
            run
        };
        let runs = [(100.0, 150.0), (1000.0, 2000.0), (10.0, 12.0)].map(|(old, new)| (with_rps(old), with_rps(new)));
        let pairs: Vec<(&Run, &Run)> = runs.iter().map(|(old, new)| (old, new)).collect();
        let comparison = compare("a", "b", &pairs);
        let ratio = comparison.ratios.iter().find(|ratio| ratio.operation == "all" && ratio.metric == "rps").unwrap();
        assert_eq!((ratio.baseline, ratio.subject), (100.0, 150.0));
        assert_eq!((ratio.ratio, ratio.ratio_min, ratio.ratio_max), (1.5, 1.2, 2.0));
        let cpu = comparison.ratios.iter().find(|ratio| ratio.metric == "cpu").unwrap();
        assert_eq!((cpu.baseline, cpu.subject, cpu.ratio_min), (10.0, 1000.0 / 150.0, 0.5));
        assert!(
            comparison
                .ratios
                .iter()
                .any(|ratio| ratio.operation == "GET" && ratio.metric == "p99.9" && ratio.ratio == 1.0)
        );
    }

    #[test]
    fn settings_that_differ_are_named() {
        let report: Report = serde_json::from_str(include_str!("../../../docs/bench-example.json")).unwrap();
        let same = Settings { seed: report.settings.seed + 1, ..report.settings.clone() };
        assert_eq!(differences(&report.settings, &same), [""; 0]);
        let other = Settings { pipeline: 16, rate: Some(5.0), ..same };
        assert_eq!(differences(&report.settings, &other), ["pipeline 1 and 16", "rate null and 5.0"]);
    }

    #[test]
    fn a_median_is_in_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0]), Some(2.5));
    }
}
