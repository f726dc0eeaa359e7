//! What the page says as text: tiles, tables and lists, and the empty places of the charts.
//!
//! Invariant: text of the report becomes markup in `escape` only; a `Cell` holds what has been through it.

use super::figures::{self, NOTHING, Unit, bytes, count, escape, grouped, latency, percent, significant, span_ms};
use serde_json::Value;
use std::fmt::Write as _;

/// A cell of a table.
struct Cell {
    html: String,
    is_number: bool,
}

impl Cell {
    fn text(text: &str) -> Cell {
        Cell { html: escape(text), is_number: false }
    }

    /// A number as `show` writes it, or a dash.
    fn number(value: Option<f64>, show: impl Fn(f64) -> String) -> Cell {
        Cell { html: escape(&value.map_or_else(|| NOTHING.to_owned(), show)), is_number: true }
    }

    /// A verdict: a sign and words, so that colour is not all that tells it.
    fn badge((class, sign, words): (&str, &str, &str)) -> Cell {
        let html = format!("<span class=\"badge {class}\"><span aria-hidden=\"true\">{sign}</span> {words}</span>");
        Cell { html, is_number: false }
    }
}

/// A table whose rows each begin with what they are about.
struct Table<'a> {
    id: &'a str,
    caption: &'a str,
    head: &'a [&'a str],
    rows: Vec<Vec<Cell>>,
}

impl Table<'_> {
    /// Returns the table in a box that scrolls when it is too wide; nothing if there are no rows.
    fn html(&self) -> String {
        let Some(first) = self.rows.first() else {
            return String::new();
        };
        let id = self.id;
        let caption = escape(self.caption);
        let mut html = format!(
            "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-labelledby=\"{id}-caption\">\n\
             <table class=\"figures\" id=\"{id}\">\n<caption id=\"{id}-caption\">{caption}</caption>\n<thead><tr>"
        );
        for (name, cell) in self.head.iter().zip(first) {
            let class = if cell.is_number { " class=\"number\"" } else { "" };
            let _ = write!(html, "<th scope=\"col\"{class}>{}</th>", escape(name));
        }
        html.push_str("</tr></thead>\n<tbody>\n");
        for row in &self.rows {
            html.push_str("<tr>");
            for (column, cell) in row.iter().enumerate() {
                let (tag, scope) = if column == 0 { ("th", " scope=\"row\"") } else { ("td", "") };
                let class = if cell.is_number { " class=\"number\"" } else { "" };
                let _ = write!(html, "<{tag}{scope}{class}>{}</{tag}>", cell.html);
            }
            html.push_str("</tr>\n");
        }
        html.push_str("</tbody>\n</table>\n</div>\n");
        html
    }
}

fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value[name].as_str().filter(|text| !text.is_empty())
}

fn number(value: &Value, name: &str) -> Option<f64> {
    value[name].as_f64()
}

fn items<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}

/// Returns names and what they stand for as a list; pairs without a value are left out.
fn pairs(id: &str, pairs: &[(&str, Option<String>)]) -> String {
    let mut html = format!("<dl class=\"pairs\" id=\"{id}\">\n");
    for (name, value) in pairs {
        if let Some(value) = value {
            let _ = writeln!(html, "<dt>{}</dt><dd>{}</dd>", escape(name), escape(value));
        }
    }
    html.push_str("</dl>\n");
    html
}

/// Returns the empty place of a chart. It is hidden until the script has drawn something in it.
fn chart(kind: &str, run: Option<usize>, broad: bool, title: &str, explanation: &str) -> String {
    let class = if broad { "chart broad" } else { "chart" };
    let run = run.map(|run| format!(" data-run=\"{run}\"")).unwrap_or_default();
    format!(
        "<figure class=\"{class}\" data-chart=\"{kind}\"{run} hidden><figcaption>{title} <span>{explanation}<span class=\"note\"></span></span></figcaption>\
         <div class=\"plot\" role=\"img\" aria-label=\"Chart: {title}. The tables hold the figures.\"></div></figure>\n"
    )
}

const WITHOUT_SCRIPT: &str =
    "<noscript><p class=\"muted\">The charts need JavaScript; the figures do not.</p></noscript>\n";

/// Returns the page's title.
pub fn title(report: &Value) -> String {
    escape(&plain_title(report))
}

fn plain_title(report: &Value) -> String {
    let comparison = &report["comparison"];
    match (text(report, "kind"), text(comparison, "baseline"), text(comparison, "subject")) {
        (Some("comparison"), Some(baseline), Some(subject)) => format!("kvclient bench: {subject} and {baseline}"),
        (Some("large"), ..) => match text(&report["large"]["server"], "address") {
            Some(address) => format!("kvclient bench: large values on {address}"),
            None => "kvclient bench: large values".to_owned(),
        },
        _ => match report["runs"].get(0).and_then(|run| text(&run["server"], "address")) {
            Some(address) => format!("kvclient bench: {address}"),
            None => "kvclient bench".to_owned(),
        },
    }
}

/// Returns what stands in the page's `main` element.
pub fn body(report: &Value) -> String {
    let mut html = format!("<header>\n<h1>{}</h1>\n{}</header>\n", title(report), when(report));
    html.push_str(&notice(report));
    let runs = items(report, "runs");
    if let [run] = runs {
        html.push_str(&tiles(&run["totals"]));
    }
    html.push_str(&verdicts(report));
    html.push_str(&conditions(report));
    html.push_str(&comparison(&report["comparison"]));
    html.push_str(&overview(runs));
    for (index, run) in runs.iter().enumerate() {
        html.push_str(&one_run(index, run, runs.len() > 1));
    }
    html.push_str(&large(&report["large"]));
    let _ = writeln!(
        html,
        "<section>\n<div class=\"columns\">\n<div><h2>Settings</h2>\n{}</div>\n<div><h2>Machine</h2>\n\
         <p class=\"muted\">The load came from it.</p>\n{}</div>\n</div>\n</section>",
        settings(&report["settings"]),
        machine(&report["machine"]),
    );
    html.push_str(&footer(report));
    html
}

fn when(report: &Value) -> String {
    let Some(time) = report["started_unix_ms"].as_u64().and_then(figures::iso8601) else {
        return String::new();
    };
    format!("<p class=\"muted\">Started <time datetime=\"{time}\">{time}</time></p>\n")
}

/// Returns a notice about what did not end as it should.
fn notice(report: &Value) -> String {
    let what = match text(report, "ended") {
        Some("interrupted") => "Interrupted: the figures are of what was done until then.",
        Some("failed") => "Failed.",
        _ => return String::new(),
    };
    let why = text(report, "failure").map(|why| format!(" {}", escape(why))).unwrap_or_default();
    format!("<div class=\"notice\" role=\"note\"><p><strong>{what}</strong>{why}</p></div>\n")
}

fn tiles(totals: &Value) -> String {
    let latencies = &totals["latency_us"];
    let errors = number(totals, "errors");
    let tiles = [
        ("Requests/s", number(totals, "requests_per_second").map(count)),
        ("Latency, mean", number(latencies, "mean").map(latency)),
        ("Latency, p99", number(latencies, "p99").map(latency)),
        ("Requests", number(totals, "count").map(count)),
        ("Errors", errors.map(count)),
        ("Hit rate", number(totals, "hit_rate").map(percent)),
    ];
    let mut html = "<dl class=\"tiles\">\n".to_owned();
    for (name, value) in tiles {
        if let Some(value) = value {
            let class = if name == "Errors" && errors > Some(0.0) { " class=\"bad\"" } else { "" };
            let _ = writeln!(html, "<div><dt>{name}</dt><dd{class}>{}</dd></div>", escape(&value));
        }
    }
    html.push_str("</dl>\n");
    html
}

/// Returns the name of a metric, how its values are shown, and how a value compares with a target and with a minimum that
/// it reaches.
fn metric(name: &str) -> (&str, fn(f64) -> String, [&'static str; 2]) {
    match name {
        "requests_per_second" => ("Requests per second", count, [">", "≥"]),
        "mean_us" => ("Latency, mean", latency, ["<", "≤"]),
        "p99_us" => ("Latency, p99", latency, ["<", "≤"]),
        "error_rate" => ("Error rate", percent, ["≤", "≤"]),
        "hit_rate" => ("Hit rate", percent, [">", "≥"]),
        other => (other, significant, ["", ""]),
    }
}

fn verdicts(report: &Value) -> String {
    let rows = items(report, "verdicts").iter().map(|verdict| {
        let (name, show, [above, at_least]) = metric(text(verdict, "metric").unwrap_or(NOTHING));
        let outcome = match text(verdict, "outcome") {
            Some("target_met") => ("good", "✓", "target met"),
            Some("minimum_met") => ("fair", "~", "minimum met"),
            Some("missed") => ("bad", "✗", "missed"),
            _ => ("", NOTHING, "not measured"),
        };
        vec![
            Cell::text(name),
            // Second, where a narrow screen still shows it.
            Cell::badge(outcome),
            Cell::number(number(verdict, "value"), show),
            Cell::number(number(verdict, "target"), |value| format!("{above} {}", show(value))),
            Cell::number(number(verdict, "minimum"), |value| format!("{at_least} {}", show(value))),
        ]
    });
    let table = Table {
        id: "verdicts",
        caption: "What was reached, against the targets",
        head: &["Metric", "Verdict", "Reached", "Target", "Minimum"],
        rows: rows.collect(),
    };
    section("Verdicts", &table.html())
}

fn conditions(report: &Value) -> String {
    let rows = items(report, "fail_if").iter().map(|condition| {
        let words = text(condition, "condition").unwrap_or(NOTHING);
        let show = if is_of_latency(words) { latency } else { significant };
        let outcome = if condition["failed"] == false { ("good", "✓", "passed") } else { ("bad", "✗", "failed") };
        vec![
            Cell::text(words),
            Cell::badge(outcome),
            Cell::text(text(condition, "server").unwrap_or(NOTHING)),
            Cell::number(number(condition, "round"), count),
            Cell::number(number(condition, "value"), show),
        ]
    });
    let table = Table {
        id: "conditions",
        caption: "A run fails if one of these is true of it",
        head: &["--fail-if", "Outcome", "Server", "Round", "Measured"],
        rows: rows.collect(),
    };
    section("Conditions", &table.html())
}

/// Whether a condition, such as `GET.p99.9>5ms`, is about a latency: its value has that unit then.
fn is_of_latency(condition: &str) -> bool {
    let metric = condition.rsplit_once(['<', '>']).map_or(condition, |(metric, _)| metric);
    metric.trim().trim_end_matches('=').rsplit('.').take(2).any(|part| {
        let percentile = part.strip_prefix('p').is_some_and(|digits| digits.parse::<u32>().is_ok());
        percentile || matches!(part, "min" | "mean" | "max")
    })
}

fn section(heading: &str, inner: &str) -> String {
    if inner.is_empty() { String::new() } else { format!("<section>\n<h2>{heading}</h2>\n{inner}</section>\n") }
}

fn comparison(comparison: &Value) -> String {
    let rows = items(comparison, "ratios").iter().map(|ratio| {
        let metric = text(ratio, "metric").unwrap_or(NOTHING);
        let more_is_better = metric == "rps";
        let (name, show): (String, fn(f64) -> String) = match metric {
            "rps" => ("requests per second".to_owned(), count),
            "mean" => ("mean latency".to_owned(), latency),
            other => (format!("{other} latency"), latency),
        };
        let operation = match text(ratio, "operation") {
            Some("all") | None => "All".to_owned(),
            Some(operation) => operation.to_owned(),
        };
        let [lowest, median, highest] = ["ratio_min", "ratio", "ratio_max"].map(|name| number(ratio, name));
        let difference = match (lowest, highest) {
            // Of one round nobody knows how far the next would be.
            (Some(lowest), Some(highest)) if lowest < highest => match (lowest > 1.0, highest < 1.0) {
                (false, false) => ("", "=", "no clear difference"),
                (more, _) if more == more_is_better => ("good", "✓", "better"),
                _ => ("bad", "✗", "worse"),
            },
            _ => ("", NOTHING, "one round"),
        };
        vec![
            Cell::text(&format!("{operation}: {name}")),
            Cell::badge(difference),
            Cell::number(number(ratio, "baseline"), show),
            Cell::number(number(ratio, "subject"), show),
            Cell::number(median, |value| grouped(value, 3)),
            Cell::number(lowest, |value| grouped(value, 3)),
            Cell::number(highest, |value| grouped(value, 3)),
        ]
    });
    let table = Table {
        id: "comparison",
        caption: "Medians over the rounds; ratio: subject / baseline, its median, lowest and highest round",
        head: &["Metric", "The subject is", "Baseline", "Subject", "Ratio", "Lowest", "Highest"],
        rows: rows.collect(),
    };
    let table = table.html();
    if table.is_empty() {
        return table;
    }
    let names = pairs(
        "compared",
        &[
            ("Baseline", text(comparison, "baseline").map(str::to_owned)),
            ("Subject", text(comparison, "subject").map(str::to_owned)),
        ],
    );
    section("Comparison", &(names + &table))
}

/// Returns the largest number of those named, or 0.
fn largest<'a>(values: impl Iterator<Item = &'a Value>, name: &str) -> f64 {
    values.filter_map(|value| number(value, name)).fold(0.0, f64::max)
}

/// Returns a table of the runs, and all their curves in one chart, if there are several.
fn overview(runs: &[Value]) -> String {
    if runs.len() < 2 {
        return String::new();
    }
    let unit = Unit::of(largest(runs.iter().map(|run| &run["totals"]["latency_us"]), "max"));
    let rows = runs.iter().map(|run| {
        let totals = &run["totals"];
        let latencies = &totals["latency_us"];
        let shown = |name: &str| Cell::number(number(latencies, name), |us| unit.show(us));
        vec![
            Cell::number(number(run, "round"), count),
            Cell::text(&server_name(&run["server"])),
            Cell::text(text(run, "ended").unwrap_or(NOTHING)),
            Cell::number(number(totals, "requests_per_second"), count),
            Cell::number(number(totals, "errors"), count),
            shown("mean"),
            shown("p50"),
            shown("p99"),
            shown("p99_9"),
            shown("max"),
        ]
    });
    let table = Table {
        id: "runs",
        caption: &format!("All requests of each run; latency in {}", unit.name()),
        head: &["Round", "Server", "Ended", "Requests/s", "Errors", "Mean", "p50", "p99", "p99.9", "Max"],
        rows: rows.collect(),
    };
    let chart = chart("runs", None, true, "Latency distribution of all runs", "latency at each percentile");
    section("Runs", &format!("{}<div class=\"charts\">\n{chart}</div>\n", table.html()))
}

/// Returns what tells a server from another of the same report: two may differ in their protocol or database only.
fn server_name(server: &Value) -> String {
    let address = text(server, "address").unwrap_or(NOTHING);
    let protocol = match text(server, "protocol") {
        Some("resp") => "RESP",
        other => other.unwrap_or(NOTHING),
    };
    match number(server, "database") {
        Some(database) if database > 0.0 => format!("{address} ({protocol}, database {})", count(database)),
        _ => format!("{address} ({protocol})"),
    }
}

fn one_run(index: usize, run: &Value, several: bool) -> String {
    let server = &run["server"];
    let software = text(server, "software").unwrap_or("unknown");
    let version = text(server, "version").map(|version| format!(" {version}")).unwrap_or_default();
    let protocol = match text(server, "protocol") {
        Some("resp") => Some("RESP".to_owned()),
        other => other.map(str::to_owned),
    };
    let about = pairs(
        &format!("run-{index}"),
        &[
            ("Server", text(server, "address").map(str::to_owned)),
            ("Software", Some(format!("{software}{version}"))),
            ("Protocol", protocol),
            ("Database", number(server, "database").map(count)),
            ("Keys loaded before", number(run, "loaded_keys").map(count)),
            ("Elapsed", number(run, "elapsed_s").map(|seconds| span_ms(seconds * 1000.0))),
            ("Server's processor time a request", number(run, "server_cpu_us").map(latency)),
            ("Connections opened again", number(run, "reconnects").filter(|opened| *opened > 0.0).map(count)),
            ("Idle connections that were closed", number(run, "idle_closed").filter(|closed| *closed > 0.0).map(count)),
            ("Due, but not sent", number(run, "unsent").filter(|unsent| *unsent > 0.0).map(count)),
            ("Ended", text(run, "ended").filter(|ended| *ended != "completed").map(str::to_owned)),
            ("Failure", text(run, "failure").map(str::to_owned)),
        ],
    );
    let heading = if several {
        let round = number(run, "round").map(count).unwrap_or_default();
        format!("Round {}: {}", escape(&round), escape(&server_name(server)))
    } else {
        "Result".to_owned()
    };
    let mut inner = format!("{about}{}", operations(index, run));
    inner.push_str(&errors(index, run));
    inner.push_str(WITHOUT_SCRIPT);
    inner.push_str("<div class=\"charts\">\n");
    if !items(run, "operations").is_empty() {
        inner.push_str(&chart(
            "percentiles",
            Some(index),
            true,
            "Latency distribution",
            "latency at each percentile; both scales logarithmic",
        ));
    }
    let series = &run["series"];
    if !items(series, "points").is_empty() {
        let interval = number(series, "interval_ms").map(span_ms).unwrap_or_default();
        let each = format!("in intervals of {interval}");
        inner.push_str(&chart("latency", Some(index), false, "Latency over time", &each));
        inner.push_str(&chart("throughput", Some(index), false, "Throughput over time", &each));
    }
    inner.push_str("</div>\n");
    section(&heading, &inner)
}

/// Returns two tables of the operations: how many, and how fast.
fn operations(index: usize, run: &Value) -> String {
    let totals = &run["totals"];
    let mut summaries: Vec<(&str, &Value)> = items(run, "operations")
        .iter()
        .map(|operation| (text(operation, "name").unwrap_or(NOTHING), operation))
        .collect();
    summaries.push(("All", totals));
    let unit = Unit::of(number(&totals["latency_us"], "max").unwrap_or_default());
    let counts = summaries.iter().map(|(name, summary)| {
        let mut row = vec![Cell::text(name)];
        row.extend(["count", "hits", "misses", "errors"].map(|name| Cell::number(number(summary, name), count)));
        row.push(Cell::number(number(summary, "hit_rate"), percent));
        row.push(Cell::number(number(summary, "requests_per_second"), count));
        row
    });
    let latencies = summaries.iter().map(|(name, summary)| {
        let mut row = vec![Cell::text(name)];
        row.extend(
            ["min", "mean", "stddev", "p50", "p90", "p95", "p99", "p99_9", "max"]
                .map(|name| Cell::number(number(&summary["latency_us"], name), |us| unit.show(us))),
        );
        row
    });
    let counts = Table {
        id: &format!("operations-{index}"),
        caption: "Requests",
        head: &["Operation", "Count", "Hits", "Misses", "Errors", "Hit rate", "Requests/s"],
        rows: counts.collect(),
    };
    let latencies = Table {
        id: &format!("latency-{index}"),
        caption: &format!("Latency in {}", unit.name()),
        head: &["Operation", "Min", "Mean", "Std. dev.", "p50", "p90", "p95", "p99", "p99.9", "Max"],
        rows: latencies.collect(),
    };
    counts.html() + &latencies.html()
}

/// Returns the errors of each operation by their text, the most frequent first.
fn errors(index: usize, run: &Value) -> String {
    let mut kinds: Vec<(&str, &str, f64)> = Vec::new();
    for operation in items(run, "operations") {
        let name = text(operation, "name").unwrap_or(NOTHING);
        let by_kind = operation["errors_by_kind"].as_object().into_iter().flatten();
        kinds.extend(by_kind.map(|(kind, times)| (name, kind.as_str(), times.as_f64().unwrap_or_default())));
    }
    kinds.sort_by(|a, b| b.2.total_cmp(&a.2));
    let rows = kinds.into_iter().map(|(operation, kind, times)| {
        vec![Cell::text(kind), Cell::text(operation), Cell::number(Some(times), count)]
    });
    Table {
        id: &format!("errors-{index}"),
        caption: "Errors by their text",
        head: &["Error", "Operation", "Count"],
        rows: rows.collect(),
    }
    .html()
}

fn large(large: &Value) -> String {
    let cells = items(large, "cells");
    if cells.is_empty() {
        return String::new();
    }
    let both = |name: &str| {
        largest(cells.iter().map(|cell| &cell["set"]), name).max(largest(cells.iter().map(|cell| &cell["get"]), name))
    };
    let unit = Unit::of(both("p99_us").max(both("mean_us_max")));
    let server = &large["server"];
    let version = text(server, "version").map(|version| format!(" {version}")).unwrap_or_default();
    let mut inner = pairs(
        "large-about",
        &[
            ("Server", text(server, "address").map(str::to_owned)),
            ("Software", text(server, "software").map(|software| format!("{software}{version}"))),
            ("Repeats", number(large, "repeats").map(count)),
            ("Requests of each operation in a repeat", number(large, "requests").map(count)),
        ],
    );
    inner.push_str(WITHOUT_SCRIPT);
    inner.push_str("<div class=\"charts\">\n");
    inner.push_str(&chart("large-set", None, false, "SET", "mean latency over the value's size"));
    inner.push_str(&chart("large-get", None, false, "GET", "mean latency over the value's size"));
    inner.push_str("</div>\n");
    let rows = cells.iter().map(|cell| {
        let sum = |name: &str| Some(number(&cell["set"], name)? + number(&cell["get"], name)?);
        let mut row =
            vec![Cell::number(number(cell, "key_bytes"), bytes), Cell::number(number(cell, "value_bytes"), bytes)];
        for operation in ["set", "get"] {
            row.extend(
                ["mean_us", "p99_us", "mean_us_min", "mean_us_max"]
                    .map(|name| Cell::number(number(&cell[operation], name), |us| unit.show(us))),
            );
        }
        row.extend(["count", "errors"].map(|name| Cell::number(sum(name), count)));
        row
    });
    let table = Table {
        id: "large",
        caption: &format!("Latency in {} over all repeats; low and high: the means of the repeats", unit.name()),
        head: &[
            "Key", "Value", "SET mean", "SET p99", "SET low", "SET high", "GET mean", "GET p99", "GET low", "GET high",
            "Requests", "Errors",
        ],
        rows: rows.collect(),
    };
    inner.push_str(&table.html());
    section("Large values", &inner)
}

fn settings(settings: &Value) -> String {
    let sized = |name: &str| text(settings, name).map(|size| format!("{size} bytes"));
    let commands: Vec<&str> = items(settings, "commands").iter().filter_map(Value::as_str).collect();
    let load = match number(settings, "rate") {
        Some(rate) => format!("open loop, {} requests per second", count(rate)),
        None => "closed loop".to_owned(),
    };
    pairs(
        "settings",
        &[
            ("Connections", number(settings, "connections").map(count)),
            ("Requests per connection", number(settings, "requests_per_connection").map(count)),
            ("Duration", number(settings, "duration_ms").map(span_ms)),
            ("Warm-up", number(settings, "warmup_ms").map(|ms| if ms > 0.0 { span_ms(ms) } else { "none".to_owned() })),
            ("Pipeline", number(settings, "pipeline").map(count)),
            ("Threads", number(settings, "threads").map(count)),
            ("Load", settings.is_object().then_some(load)),
            ("Commands", (!commands.is_empty()).then(|| commands.join("; "))),
            ("Share of PUT", number(settings, "ratio").filter(|_| commands.is_empty()).map(percent)),
            ("Keys", number(settings, "keys").map(count)),
            ("Key size", number(settings, "key_size").map(bytes)),
            ("Value size", sized("value_size")),
            (
                "Time to live",
                number(settings, "ttl_s").map(|shortest| match number(settings, "ttl_max_s") {
                    Some(longest) => format!("{} to {} s", count(shortest), count(longest)),
                    None if shortest > 0.0 => format!("{} s", count(shortest)),
                    None => "none".to_owned(),
                }),
            ),
            ("Requests before a new connection", number(settings, "reconnect").map(count)),
            ("Idle connections", number(settings, "idle").filter(|idle| *idle > 0.0).map(count)),
            ("Distribution of keys", text(settings, "distribution").map(str::to_owned)),
            ("Seed", settings["seed"].as_u64().map(|seed| seed.to_string())),
        ],
    )
}

fn machine(machine: &Value) -> String {
    pairs(
        "machine",
        &[
            ("Processor", text(machine, "processor").map(str::to_owned)),
            ("Cores", number(machine, "cores").map(count)),
            ("System", text(machine, "system").map(str::to_owned)),
            ("kvclient", text(machine, "kvclient_version").map(str::to_owned)),
        ],
    )
}

fn footer(report: &Value) -> String {
    let from = match (text(report, "kind"), number(&report["settings"], "rate")) {
        (Some("large"), _) | (_, None) => {
            "Latency runs from when a request is sent to when its reply is read, error replies among them."
        }
        (_, Some(_)) => {
            "Latency runs from when a request was due to when its reply is read, so what it waited because the server was \
             behind is part of it."
        }
    };
    let connect = match number(&report["settings"], "reconnect") {
        Some(_) => " A new connection is part of the latency of the request that needs it.",
        None => "",
    };
    format!("<footer><p>{from}{connect} The report's JSON is embedded in this page.</p></footer>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_of_latencies_are_told_from_others() {
        for condition in ["p99>5ms", "p99.9>5ms", "mean>1ms", "GET.p99>5ms", "SET {k} {v}.p99.9>5ms", "PUT.max>1s"] {
            assert!(is_of_latency(condition), "{condition}");
        }
        for condition in ["rps<10000", "errors>0", "GET.errors>0.1%", "hit<0.99", "GET.hit<0.99", ""] {
            assert!(!is_of_latency(condition), "{condition}");
        }
    }
}
