//! `kvclient bench`: the load test.
//!
//! Invariant: whatever happens once the options are understood, what was measured until then is reported; the exit code is
//! 0 only if nothing failed, 1 if something did, and 2 if the options make no sense.
//!
//! - [`options`]: the flags; [`fail_if`]: conditions and targets.
//! - [`workload`]: what is sent; [`random`]: the Zipf distribution.
//! - [`connections`]: the event loop of a thread; [`socket`], [`replies`]: its connections and what they reply; [`timer`]:
//!   when an open loop wakes up.
//! - [`exchange`]: a connection that blocks, for what is not measured and for large values.
//! - [`stats`]: what is counted; [`json`], [`report`], [`html`]: what is shown of it.
//! - [`run`], [`large`], [`compare`]: one run, the large-value benchmark, two servers or reports.

mod compare;
mod connections;
mod exchange;
mod fail_if;
mod html;
mod json;
mod large;
mod machine;
mod options;
mod progress;
mod random;
mod replies;
mod report;
mod run;
mod socket;
mod stats;
mod timer;
mod workload;

pub use options::BenchFlags;

use crate::settings::Servers;
use crate::signals::Signals;
use crate::target::{self, Target};
use json::{Ended, Kind, Report, Run};
use kvclient::Address;
use options::Settings;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};
use workload::Workload;

const FAILED: u8 = 1;
const BAD_FLAGS: u8 = 2;

/// Runs the load test that the flags describe.
pub fn run(flags: &BenchFlags, target: &Target, servers: &Servers, signals: &Signals) -> ExitCode {
    if let (Some(from), Some(page)) = (&flags.from, &flags.html) {
        return match html::render(from, page) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("kvclient: {error}");
                FAILED.into()
            }
        };
    }
    let (plan, old) = match prepare(flags, target, servers) {
        Ok(prepared) => prepared,
        Err((code, why)) => {
            eprintln!("kvclient: {why}");
            return code.into();
        }
    };
    signals.begin_stream();
    let report = measure(flags, &plan, old.as_ref(), signals);
    signals.end_stream();
    let has_failed = report.ended == Ended::Failed
        || report.fail_if.iter().any(|condition| condition.failed)
        || report.large.as_ref().is_some_and(|large| large.cells.iter().any(|cell| cell.get.errors > 0));
    let shown = show(&report, flags.output.as_deref());
    let page =
        flags.html.as_deref().map_or(Ok(()), |path| html::write(&report, path).map_err(|error| error.to_string()));
    if let Err(why) = shown.and(page) {
        eprintln!("kvclient: {why}");
        return FAILED.into();
    }
    for problem in report::problems(&report) {
        eprintln!("kvclient: {problem}");
    }
    if has_failed { FAILED.into() } else { ExitCode::SUCCESS }
}

/// What is to be measured.
struct Plan {
    addresses: Vec<Address>,
    settings: Settings,
    workloads: Vec<Workload>,
}

/// Reads flags and files; fails with an exit code and a message.
fn prepare(flags: &BenchFlags, target: &Target, servers: &Servers) -> Result<(Plan, Option<Report>), (u8, String)> {
    let usage = |why: String| (BAD_FLAGS, why);
    let addresses = target::bench_addresses(target, flags.protocol.map(Into::into), servers)
        .map_err(|error| usage(error.to_string()))?;
    if addresses.len() > 1 && (flags.large || flags.compare.is_some()) {
        return Err(usage("--large and --compare are for one server: give -u once".to_owned()));
    }
    let mut settings = flags.settings().map_err(usage)?;
    if flags.large {
        settings = large::settings(settings.seed, flags.large_requests());
    }
    let workload = |address: &Address| Workload::new(&settings, run::wire(address)).map_err(usage);
    let workloads = if flags.large { Vec::new() } else { addresses.iter().map(workload).collect::<Result<_, _>>()? };
    let failed = |why: String| (FAILED, why);
    let old = flags.compare.as_deref().map(json::read).transpose().map_err(failed)?;
    if let (Some(old), Some(path)) = (&old, &flags.compare) {
        let path = path.display();
        if old.kind != Kind::Load {
            return Err(usage(format!(
                "--compare {path}: it is a report of several runs or of large values, not of one run"
            )));
        }
        let differences = compare::differences(&old.settings, &described(&settings));
        if !differences.is_empty() {
            return Err(usage(format!("--compare {path}: it measured something else: {}", differences.join(", "))));
        }
    }
    if let Some(path) = &flags.output {
        // Before minutes of measuring, not after them. What it holds stays until the new report is there.
        let opened = File::options().write(true).create(true).truncate(false).open(path);
        opened.map_err(|error| failed(format!("cannot write {}: {error}", path.display())))?;
    }
    Ok((Plan { addresses, settings, workloads }, old))
}

fn measure(flags: &BenchFlags, plan: &Plan, old: Option<&Report>, signals: &Signals) -> Report {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let kind = match (flags.large, plan.addresses.len()) {
        (true, _) => Kind::Large,
        (false, 2..) => Kind::Comparison,
        (false, _) => Kind::Load,
    };
    let mut report = Report {
        format: json::FORMAT.to_owned(),
        version: json::VERSION,
        kind,
        started_unix_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
        ended: Ended::Completed,
        failure: None,
        machine: machine::machine(),
        settings: described(&plan.settings),
        runs: Vec::new(),
        verdicts: Vec::new(),
        fail_if: Vec::new(),
        comparison: None,
        large: None,
    };
    if let (Kind::Large, Some(address)) = (kind, plan.addresses.first()) {
        let (large, failure) = large::run(address, &plan.settings, signals);
        report.large = Some(large);
        report.ended = match &failure {
            Some(_) => Ended::Failed,
            None if signals.pressed() => Ended::Interrupted,
            None => Ended::Completed,
        };
        report.failure = failure;
        return report;
    }
    let runs = measure_in_turn(plan, if kind == Kind::Load { 1 } else { flags.rounds }, signals);
    report.comparison = compared(flags, plan, old, &runs);
    report.runs = runs.into_iter().map(|(_, run)| run).collect();
    if let Some(last) = report.runs.last() {
        report.ended = last.ended;
        report.failure.clone_from(&last.failure);
    }
    report.fail_if =
        report.runs.iter().flat_map(|run| flags.fail_if.iter().map(|condition| condition.check(run))).collect();
    if kind == Kind::Load {
        report.verdicts = report
            .runs
            .first()
            .filter(|run| run.totals.count > 0)
            .map_or(Vec::new(), |run| fail_if::verdicts(&run.totals));
    }
    report
}

/// Measures every server once a round; each round begins with the server that the last one ended with. Returns each run with
/// the number of its server.
fn measure_in_turn(plan: &Plan, rounds: u32, signals: &Signals) -> Vec<(usize, Run)> {
    let mut runs = Vec::new();
    for round in 1..=rounds {
        let mut order: Vec<_> = plan.addresses.iter().zip(&plan.workloads).enumerate().collect();
        if round % 2 == 0 {
            order.reverse();
        }
        for (server, (address, workload)) in order {
            let run = run::run(address, &plan.settings, workload, round, signals);
            let is_last = run.ended != Ended::Completed;
            runs.push((server, run));
            if is_last {
                return runs;
            }
        }
    }
    runs
}

fn compared(flags: &BenchFlags, plan: &Plan, old: Option<&Report>, runs: &[(usize, Run)]) -> Option<json::Comparison> {
    if let [baseline, subject] = plan.addresses.as_slice() {
        // The two may be one server, which shows how much its figures vary.
        let of = |server: usize| runs.iter().filter(move |(number, _)| *number == server).map(|(_, run)| run);
        let pairs: Vec<(&Run, &Run)> =
            of(0).filter_map(|run| of(1).find(|other| other.round == run.round).map(|other| (run, other))).collect();
        return Some(compare::compare(&baseline.to_string(), &subject.to_string(), &pairs));
    }
    let (path, old) = flags.compare.as_ref().zip(old)?;
    let pairs: Vec<(&Run, &Run)> = old.runs.first().zip(runs.first().map(|(_, run)| run)).into_iter().collect();
    let subject = plan.addresses.first()?;
    Some(compare::compare(&path.display().to_string(), &subject.to_string(), &pairs))
}

/// Returns the settings for the report.
fn described(settings: &Settings) -> json::Settings {
    let ms = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    json::Settings {
        connections: settings.connections,
        requests_per_connection: settings.requests,
        duration_ms: settings.duration.map(ms),
        warmup_ms: ms(settings.warmup),
        pipeline: settings.pipeline,
        threads: settings.threads,
        rate: settings.rate,
        ratio: settings.ratio,
        keys: settings.keys,
        key_size: settings.key_size,
        value_size: settings.value_sizes.to_string(),
        ttl_s: settings.ttl.min,
        ttl_max_s: (settings.ttl.max > settings.ttl.min).then_some(settings.ttl.max),
        distribution: settings.distribution.to_string(),
        reconnect: settings.reconnect,
        idle: settings.idle,
        seed: settings.seed,
        commands: settings.commands.clone(),
    }
}

/// Shows the tables and writes the JSON: to the file, or to standard output; then the tables go to standard error.
fn show(report: &Report, output: Option<&Path>) -> Result<(), String> {
    let tables = report::text(report);
    let json = json::to_text(report).map_err(|error| format!("the report cannot be written as JSON: {error}"))?;
    let shown = match output {
        // Standard error may be gone; the report is not for that.
        None => {
            let _ = io::stderr().write_all(tables.as_bytes());
            io::stdout().write_all(json.as_bytes())
        }
        Some(path) => {
            let written = fs::write(path, json);
            let shown = io::stdout().write_all(tables.as_bytes());
            written.map_err(|error| format!("cannot write {}: {error}", path.display()))?;
            shown
        }
    };
    match shown {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(format!("cannot write standard output: {error}"))
        }
        _ => Ok(()),
    }
}
