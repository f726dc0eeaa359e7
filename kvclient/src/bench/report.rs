//! The report as tables for people.
//!
//! Invariant: everything shown stands in the JSON, too; no table is wider than 80 columns unless names are.

use crate::bench::json::{
    Comparison, Ended, Large, LargeTimes, Machine, Report, Run, Settings, Summary, Verdict, VerdictOutcome,
};
use crate::output::grouped;
use std::fmt::Write;

/// The width of the first column, and of the others.
const LABEL_WIDTH: usize = 18;
const COLUMN_WIDTH: usize = 16;

/// Returns a whole report.
pub fn text(report: &Report) -> String {
    let mut text = String::new();
    machine(&report.machine, &mut text);
    if let Some(large_values) = &report.large {
        large(large_values, &mut text);
    } else {
        settings(&report.settings, &mut text);
    }
    for part in &report.runs {
        run(part, &mut text);
    }
    if !report.verdicts.is_empty() {
        verdicts(&report.verdicts, &mut text);
    }
    if let Some(ratios) = &report.comparison {
        comparison(ratios, &mut text);
    }
    if report.ended == Ended::Interrupted {
        line(&mut text, "Interrupted: the figures are of what ran until then.");
    }
    text
}

/// Returns why the exit code is not 0: conditions that hold, and what failed; a line each.
pub fn problems(report: &Report) -> Vec<String> {
    let failed = report.fail_if.iter().filter(|condition| condition.failed);
    let mut problems: Vec<String> = failed
        .map(|condition| {
            let value = condition.value.map_or("not measured".to_owned(), |value| format!("{value:.4}"));
            format!("--fail-if {}: {value} ({})", condition.condition, condition.server)
        })
        .collect();
    problems.extend(report.failure.iter().map(|failure| format!("the load test failed: {failure}")));
    problems
}

fn line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

fn machine(machine: &Machine, text: &mut String) {
    let Machine { cores, processor, system, kvclient_version } = machine;
    line(text, &format!("kvclient {kvclient_version} on {cores} cores of {processor}, {system}"));
}

fn settings(settings: &Settings, text: &mut String) {
    let amount = match (settings.requests_per_connection, settings.duration_ms) {
        (Some(requests), None) => format!("{} requests each", grouped(requests)),
        (None, Some(ms)) => format!("{} s", ms as f64 / 1000.0),
        (Some(requests), Some(ms)) => format!("{} requests each or {} s", grouped(requests), ms as f64 / 1000.0),
        (None, None) => String::new(),
    };
    let rate = settings.rate.map_or(String::new(), |rate| format!(", {rate} requests/s (open loop)"));
    let Settings { connections, pipeline, threads, seed, .. } = settings;
    line(
        text,
        &format!("{connections} connections, {amount}{rate}, pipeline {pipeline}, threads {threads}, seed {seed}"),
    );
    let Settings { keys, key_size, value_size, distribution, ratio, .. } = settings;
    let what = if settings.commands.is_empty() {
        format!("{:.0} % PUT", ratio * 100.0)
    } else {
        settings.commands.join(" | ")
    };
    let ttl = match (settings.ttl_s, settings.ttl_max_s) {
        (0, _) => String::new(),
        (min, Some(max)) => format!(", ttl {min}-{max} s"),
        (ttl, None) => format!(", ttl {ttl} s"),
    };
    line(text, &format!("{what}; {keys} keys of {key_size} B, {distribution}; values of {value_size} B{ttl}"));
    let reconnect = settings.reconnect.map(|requests| match requests {
        1 => "a new connection for each request".to_owned(),
        requests => format!("a new connection after {} requests", grouped(requests)),
    });
    let idle = (settings.idle > 0).then(|| format!("{} idle connections beside", grouped(settings.idle as u64)));
    let extras: Vec<String> = reconnect.into_iter().chain(idle).collect();
    if !extras.is_empty() {
        line(text, &extras.join(", "));
    }
}

fn server_name(server: &crate::bench::json::Server) -> String {
    let name = server.software.as_deref().unwrap_or("server");
    let version = server.version.as_deref().unwrap_or("of unknown version");
    format!("{name} {version} at {} ({})", server.address, server.protocol)
}

fn run(run: &Run, text: &mut String) {
    line(text, "");
    let loaded =
        if run.loaded_keys == 0 { String::new() } else { format!(", {} keys stored before", grouped(run.loaded_keys)) };
    line(text, &format!("{}: {:.2} s{loaded}", server_name(&run.server), run.elapsed_s));
    if run.totals.count == 0 {
        line(text, "no request was counted");
        return;
    }
    let mut columns: Vec<(&str, &Summary)> =
        run.operations.iter().map(|operation| (operation.name.as_str(), &operation.summary)).collect();
    columns.push(("all", &run.totals));
    let mut row = |label: &str, cell: &dyn Fn(&str, &Summary) -> String| {
        let _ = write!(text, "{label:LABEL_WIDTH$}");
        for (name, summary) in &columns {
            let _ = write!(text, "{:>COLUMN_WIDTH$}", cell(name, summary));
        }
        text.push('\n');
    };
    row("", &|name, _| shortened(name));
    row("requests", &|_, summary| grouped(summary.count));
    row("hits", &|_, summary| lookups(summary, summary.hits));
    row("misses", &|_, summary| lookups(summary, summary.misses));
    row("hit rate", &|_, summary| summary.hit_rate.map_or("-".to_owned(), percent));
    row("errors", &|_, summary| grouped(summary.errors));
    row("requests/s", &|_, summary| grouped(summary.requests_per_second.round() as u64));
    type Pick = fn(&crate::bench::json::Latency) -> f64;
    let rows: [(&str, Pick); 8] = [
        ("latency min", |latency| latency.min),
        ("mean", |latency| latency.mean),
        ("p50", |latency| latency.p50),
        ("p90", |latency| latency.p90),
        ("p95", |latency| latency.p95),
        ("p99", |latency| latency.p99),
        ("p99.9", |latency| latency.p99_9),
        ("max", |latency| latency.max),
    ];
    for (label, pick) in rows {
        row(label, &|_, summary| summary.latency_us.as_ref().map_or("-".to_owned(), |latency| time(pick(latency))));
    }
    if let Some(us) = run.server_cpu_us {
        line(text, &format!("processor time of the server: {us:.2} us a request"));
    }
    if run.unsent > 0 {
        line(text, &format!("{} requests were due and not sent: the rate was not kept", grouped(run.unsent)));
    }
    if run.reconnects > 0 {
        line(text, &format!("connections opened again: {}", grouped(run.reconnects)));
    }
    if run.idle_closed > 0 {
        line(text, &format!("{} of the idle connections were closed by the server", grouped(run.idle_closed)));
    }
    for operation in &run.operations {
        for (kind, count) in &operation.summary.errors_by_kind {
            line(text, &format!("error of {}, {} times: {kind}", shortened(&operation.name), grouped(*count)));
        }
    }
}

fn lookups(summary: &Summary, count: u64) -> String {
    if summary.hit_rate.is_none() { "-".to_owned() } else { grouped(count) }
}

/// A name that fits its column.
fn shortened(name: &str) -> String {
    let letters_max = COLUMN_WIDTH - 2;
    if name.chars().count() <= letters_max {
        return name.to_owned();
    }
    let begin: String = name.chars().take(letters_max - 2).collect();
    format!("{begin}..")
}

fn verdicts(verdicts: &[Verdict], text: &mut String) {
    line(text, "");
    line(
        text,
        &format!("{:LABEL_WIDTH$}{:>COLUMN_WIDTH$}{:>14}{:>14}  verdict", "target", "measured", "target", "minimum"),
    );
    for verdict in verdicts {
        let (label, show): (&str, fn(f64) -> String) = match verdict.metric.as_str() {
            "requests_per_second" => ("requests/s", |value| grouped(value.round() as u64)),
            "mean_us" => ("mean latency", time),
            "p99_us" => ("p99 latency", time),
            "error_rate" => ("errors", percent),
            "hit_rate" => ("hit rate", percent),
            other => (other, |value| value.to_string()),
        };
        let (above, at_least) = match verdict.metric.as_str() {
            "error_rate" => ("", ""),
            "mean_us" | "p99_us" => ("< ", "<= "),
            _ => ("> ", ">= "),
        };
        let outcome = match verdict.outcome {
            VerdictOutcome::TargetMet => "target met",
            VerdictOutcome::MinimumMet => "minimum met",
            VerdictOutcome::Missed => "missed",
            VerdictOutcome::NotMeasured => "not measured",
        };
        let measured = verdict.value.map_or("-".to_owned(), show);
        let (target, minimum) =
            (format!("{above}{}", show(verdict.target)), format!("{at_least}{}", show(verdict.minimum)));
        line(text, &format!("{label:LABEL_WIDTH$}{measured:>COLUMN_WIDTH$}{target:>14}{minimum:>14}  {outcome}"));
    }
}

fn comparison(comparison: &Comparison, text: &mut String) {
    line(text, "");
    line(text, &format!("{} compared with {}", comparison.subject, comparison.baseline));
    line(
        text,
        &format!("{:LABEL_WIDTH$}{:>COLUMN_WIDTH$}{:>COLUMN_WIDTH$}{:>8}  spread", "", "baseline", "subject", "ratio"),
    );
    for ratio in &comparison.ratios {
        let show = |value: f64| if ratio.metric == "rps" { grouped(value.round() as u64) } else { time(value) };
        let label = format!("{} {}", shortened(&ratio.operation), ratio.metric);
        line(
            text,
            &format!(
                "{label:LABEL_WIDTH$}{:>COLUMN_WIDTH$}{:>COLUMN_WIDTH$}{:>8.3}  {:.3} to {:.3}",
                show(ratio.baseline),
                show(ratio.subject),
                ratio.ratio,
                ratio.ratio_min,
                ratio.ratio_max
            ),
        );
    }
}

fn large(large: &Large, text: &mut String) {
    line(text, "");
    let Large { repeats, requests, .. } = large;
    line(
        text,
        &format!("{}: {repeats} repeats of {requests} SET and {requests} GET a cell", server_name(&large.server)),
    );
    line(
        text,
        &format!("{:>8}{:>9}{:>12}{:>12}{:>12}{:>12}", "key", "value", "SET mean", "SET p99", "GET mean", "GET p99"),
    );
    let cell = |value: Option<f64>| value.map_or("-".to_owned(), time);
    for row in &large.cells {
        let size = |bytes: usize| format!("{} KB", bytes / 1024);
        let times = |times: &LargeTimes| format!("{:>12}{:>12}", cell(times.mean_us), cell(times.p99_us));
        line(
            text,
            &format!("{:>8}{:>9}{}{}", size(row.key_bytes), size(row.value_bytes), times(&row.set), times(&row.get)),
        );
        if row.get.errors > 0 {
            line(
                text,
                &format!("{} GET of these found no value: is the server short of memory?", grouped(row.get.errors)),
            );
        }
    }
}

/// Returns a time, given in microseconds, in the unit that suits it.
pub fn time(us: f64) -> String {
    if us < 10.0 {
        format!("{us:.1} us")
    } else if us < 1_000.0 {
        format!("{us:.0} us")
    } else if us < 1_000_000.0 {
        format!("{:.2} ms", us / 1_000.0)
    } else {
        format!("{:.2} s", us / 1_000_000.0)
    }
}

/// Returns a share as per cent. Only a whole is shown as 100 %.
fn percent(share: f64) -> String {
    let text = format!("{:.2} %", share * 100.0);
    if share < 1.0 && text == "100.00 %" { "99.99 %".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::json;

    #[test]
    fn numbers_are_readable() {
        assert_eq!([0.5, 12.0, 1_500.0, 2_000_000.0].map(time), ["0.5 us", "12 us", "1.50 ms", "2.00 s"]);
        assert_eq!([0.0, 0.999_999, 1.0].map(percent), ["0.00 %", "99.99 %", "100.00 %"]);
    }

    #[test]
    fn the_example_fits_a_terminal() {
        let report: json::Report = serde_json::from_str(include_str!("../../../docs/bench-example.json")).unwrap();
        let shown = text(&report);
        assert!(shown.lines().all(|line| line.len() <= 80), "{shown}");
        for expected in
            ["PUT", "GET", "10,000", "100.00 %", "target met", "p99.9", "kvserver 0.1.0 at localhost:7171 (line)"]
        {
            assert!(shown.contains(expected), "{expected}: {shown}");
        }
    }
}
