//! Ratios: of two servers that were measured in turn, or of an older report and this one.
//!
//! Invariant: a ratio is formed within a round, so that what changes on the machine from one round to the next does not
//! enter it.

use crate::bench::json::{Comparison, Ratio, Run, Summary};

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
    let mut add = |operation: &str, pick: &dyn Fn(&Run) -> Option<Summary>| {
        let summaries: Vec<(Summary, Summary)> =
            pairs.iter().filter_map(|(old, new)| pick(old).zip(pick(new))).collect();
        for (metric, value) in METRICS {
            let values: Vec<(f64, f64)> = summaries
                .iter()
                .filter_map(|(old, new)| value(old).zip(value(new)))
                .filter(|(old, new)| *old > 0.0 && *new > 0.0)
                .collect();
            let quotients: Vec<f64> = values.iter().map(|(old, new)| new / old).collect();
            let Some(ratio) = median(&quotients) else { continue };
            let column =
                |pick: fn(&(f64, f64)) -> f64| median(&values.iter().map(pick).collect::<Vec<_>>()).unwrap_or(0.0);
            ratios.push(Ratio {
                operation: operation.to_owned(),
                metric: (*metric).to_owned(),
                baseline: column(|pair| pair.0),
                subject: column(|pair| pair.1),
                ratio,
                ratio_min: quotients.iter().copied().fold(f64::INFINITY, f64::min),
                ratio_max: quotients.iter().copied().fold(0.0, f64::max),
            });
        }
    };
    let named = |run: &Run, name: &str| {
        run.operations.iter().find(|operation| operation.name == name).map(|operation| operation.summary.clone())
    };
    if let Some((_, first)) = pairs.first() {
        for operation in &first.operations {
            add(&operation.name, &|run| named(run, &operation.name));
        }
    }
    add("all", &|run| Some(run.totals.clone()));
    Comparison { baseline: baseline.to_owned(), subject: subject.to_owned(), ratios }
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
            run
        };
        let runs = [(100.0, 150.0), (1000.0, 2000.0), (10.0, 12.0)].map(|(old, new)| (with_rps(old), with_rps(new)));
        let pairs: Vec<(&Run, &Run)> = runs.iter().map(|(old, new)| (old, new)).collect();
        let comparison = compare("a", "b", &pairs);
        let ratio = comparison.ratios.iter().find(|ratio| ratio.operation == "all" && ratio.metric == "rps").unwrap();
        assert_eq!((ratio.baseline, ratio.subject), (100.0, 150.0));
        assert_eq!((ratio.ratio, ratio.ratio_min, ratio.ratio_max), (1.5, 1.2, 2.0));
        assert!(
            comparison
                .ratios
                .iter()
                .any(|ratio| ratio.operation == "GET" && ratio.metric == "p99.9" && ratio.ratio == 1.0)
        );
    }

    #[test]
    fn a_median_is_in_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0]), Some(2.5));
    }
}
