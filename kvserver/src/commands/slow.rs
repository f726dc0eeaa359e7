//! COMMANDLOG, SLOWLOG and LATENCY: what was slow, or large.
//!
//! Invariant: nothing here looks at a key, so all of it may run inside EXEC.

use std::fmt::Write as _;

use kvproto::{Args, CommandError, Reply};

use crate::context::Context;
use kvcommands::gather::gather;
use kvcommands::help;
use kvcommands::outcome::Outcome;
use kvstats::slow::{CommandLog, Entry, Event, Logged};

/// Entries SLOWLOG GET shows unless told otherwise.
const SHOWN: usize = 10;
/// Columns of a graph.
const GRAPH_COLUMNS: usize = 80;

/// `SLOWLOG GET|LEN|RESET|HELP`
pub(crate) fn slowlog(mut args: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    args.next()?;
    let log = ctx.server.slow.log(Logged::Time);
    match ctx.spec.own_name() {
        "get" => {
            let count = if args.is_empty() { Ok(SHOWN) } else { count(&mut args) };
            args.finish()?;
            shown(log, count?, ctx)
        }
        "len" => Ok(Reply::count(log.count())),
        "reset" => {
            log.clear();
            Ok(Reply::Ok)
        }
        _ => Ok(help(ctx.spec)),
    }
}

/// `COMMANDLOG GET|LEN|RESET|HELP`
pub(crate) fn commandlog(mut args: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    args.next()?;
    let slow = &ctx.server.slow;
    match ctx.spec.own_name() {
        "get" => {
            let count = count(&mut args)?;
            shown(slow.log(logged(&mut args)?), count, ctx)
        }
        "len" => Ok(Reply::count(slow.log(logged(&mut args)?).count())),
        "reset" => {
            slow.log(logged(&mut args)?).clear();
            Ok(Reply::Ok)
        }
        _ => Ok(help(ctx.spec)),
    }
}

/// How many entries to show; -1 for all.
fn count(args: &mut Args<'_>) -> Result<usize, CommandError> {
    match args.integer() {
        Ok(count @ -1..) => Ok(usize::try_from(count).unwrap_or(usize::MAX)),
        _ => Err(CommandError::custom("ERR count should be greater than or equal to -1")),
    }
}

fn logged(args: &mut Args<'_>) -> Result<Logged, CommandError> {
    Logged::named(args.next()?).ok_or_else(|| {
        CommandError::custom("ERR type should be one of the following: slow, large-request, large-reply")
    })
}

fn shown(log: &CommandLog, count: usize, ctx: &mut Context<'_>) -> Outcome {
    let entries = gather(|entries| {
        log.for_newest(count, |entry| entries.push(show(entry)));
        Ok(())
    })?;
    // As with MONITOR: it shows who wrote what.
    ctx.reveal_everything();
    Ok(Reply::Array(entries))
}

fn show(entry: &Entry) -> Reply {
    Reply::Array(vec![
        Reply::count(entry.id),
        Reply::count(entry.at_secs),
        Reply::count(entry.amount),
        Reply::Array(entry.words.iter().map(|word| Reply::bulk(&word[..])).collect()),
        Reply::bulk(entry.peer.as_bytes()),
        Reply::bulk(entry.name.as_bytes()),
    ])
}

/// `LATENCY DOCTOR|GRAPH|HISTOGRAM|HISTORY|LATEST|RESET|HELP`
pub(crate) fn latency(mut args: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    args.next()?;
    let slow = &ctx.server.slow;
    match ctx.spec.own_name() {
        "doctor" => Ok(Reply::text(doctor(ctx))),
        "graph" => {
            let name = args.next()?;
            match slow.events().into_iter().find(|(own, _)| own.as_bytes() == name) {
                Some((name, event)) => Ok(Reply::text(graph(name, &event))),
                None => Err(CommandError::quoting("ERR No samples available for event '", name, "'").into()),
            }
        }
        "histogram" => Ok(histogram(args, ctx)),
        "history" => {
            let name = args.next()?;
            let event = slow.events().into_iter().find(|(own, _)| own.as_bytes() == name);
            let samples = event.map(|(_, event)| event.samples).unwrap_or_default();
            let pair = |(at, ms)| Reply::Array(vec![Reply::count(at), Reply::count(ms)]);
            Ok(Reply::Array(samples.into_iter().map(pair).collect()))
        }
        "latest" => Ok(Reply::Array(
            slow.events()
                .into_iter()
                .filter_map(|(name, event)| {
                    let (at, ms) = *event.samples.back()?;
                    let row =
                        vec![Reply::bulk(name), Reply::count(at), Reply::count(ms), Reply::count(event.longest_ms)];
                    Some(Reply::Array(row))
                })
                .collect(),
        )),
        "reset" => {
            let names: Vec<&[u8]> = std::iter::from_fn(|| args.next_opt()).collect();
            Ok(Reply::count(slow.forget_events(|own| {
                names.is_empty() || names.iter().any(|name| own.as_bytes().eq_ignore_ascii_case(name))
            })))
        }
        _ => Ok(help(ctx.spec)),
    }
}

/// For each command its calls, and how many took at most 1, 2, 4, ... microseconds, where that number grows.
fn histogram(mut args: Args<'_>, ctx: &Context<'_>) -> Reply {
    let names: Vec<String> =
        std::iter::from_fn(|| args.next_opt()).map(|word| String::from_utf8_lossy(word).to_ascii_lowercase()).collect();
    let slow = &ctx.server.slow;
    let wanted = |own: &str| {
        let container = own.split('|').next().unwrap_or_default();
        names.is_empty() || names.iter().any(|name| name == own || name == container)
    };
    let tracked = ctx.server.runtime.latency_tracking.load(std::sync::atomic::Ordering::Relaxed);
    let all = if tracked { ctx.server.statistics.commands() } else { Vec::new() };
    let mut pairs = Vec::new();
    for total in all.into_iter().filter(|total| total.calls > 0 && wanted(total.name)) {
        let mut rows = Vec::new();
        let mut before = 0;
        for power in 10..44 {
            // The longest duration that a histogram of two significant digits takes for this power of two.
            let nanos = (1u64 << power) + (1 << (power - 7)) - 1;
            let within = total.within(|end| slow.nanos(end) <= nanos);
            if within > before {
                rows.push((Reply::count(nanos / 1000), Reply::count(within)));
                before = within;
            }
        }
        let histogram = Reply::Map(rows);
        let value = vec![(Reply::bulk("calls"), Reply::count(total.calls)), (Reply::bulk("histogram_usec"), histogram)];
        pairs.push((Reply::bulk(total.name), Reply::Map(value)));
    }
    Reply::Map(pairs)
}

/// The history as a line of columns, the oldest to the left, with how long ago each was below it.
fn graph(name: &str, event: &Event) -> String {
    const LEVELS: [char; 4] = ['_', 'o', '#', '|'];
    let newest = event.samples.len().saturating_sub(GRAPH_COLUMNS);
    let samples: Vec<(u64, u64)> = event.samples.iter().skip(newest).copied().collect();
    let high = samples.iter().map(|sample| sample.1).max().unwrap_or(0);
    let low = samples.iter().map(|sample| sample.1).min().unwrap_or(0);
    let mut text = format!("{name} - high {high} ms, low {low} ms (all time high {} ms)\n", event.longest_ms);
    text.push_str(&"-".repeat(GRAPH_COLUMNS));
    text.push('\n');
    for (_, ms) in &samples {
        let level = (ms - low) * (LEVELS.len() as u64 - 1) / (high - low).max(1);
        text.push(LEVELS[level as usize]);
    }
    if let (Some(first), Some(last)) = (samples.first(), samples.last()) {
        let _ = write!(text, "\n\n{} samples from Unix second {} to {}\n", samples.len(), first.0, last.0);
    }
    text
}

fn doctor(ctx: &Context<'_>) -> String {
    let slow = &ctx.server.slow;
    if slow.latency_ms() == 0 {
        return "Latency monitoring is off: CONFIG SET latency-monitor-threshold <milliseconds> turns it on.\n"
            .to_owned();
    }
    let events = slow.events();
    if events.is_empty() {
        return format!("Nothing took {} ms or longer since monitoring began.\n", slow.latency_ms());
    }
    let mut text = format!("Events of {} ms or longer:\n", slow.latency_ms());
    for (name, event) in &events {
        let count = event.samples.len() as u64;
        let mean = event.samples.iter().map(|sample| sample.1).sum::<u64>() / count.max(1);
        let _ = writeln!(text, "- {name}: {count} noted, {mean} ms on average, {} ms at most.", event.longest_ms);
    }
    text.push_str(
        "SLOWLOG GET shows which commands these were. Commands that look at many keys (KEYS, large DEL, MGET) \
                   can be split; a slow disk shows in INFO persistence.\n",
    );
    text
}
