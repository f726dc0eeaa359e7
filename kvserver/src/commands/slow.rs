//! COMMANDLOG, SLOWLOG and LATENCY: what was slow, or large.
//!
//! Invariant: nothing here looks at a key, so all of it may run inside EXEC.

use kvproto::{Args, CommandError, Reply};

use crate::context::Context;
use kvcommands::gather::gather;
use kvcommands::help;
use kvcommands::outcome::Outcome;
use kvstats::slow::{CommandLog, Logged};

/// Entries SLOWLOG GET shows unless told otherwise.
const SHOWN: usize = 10;

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
        log.for_newest(count, |entry| entries.push(entry.to_reply()));
        Ok(())
    })?;
    // As with MONITOR: it shows who wrote what.
    ctx.reveal_everything();
    Ok(Reply::Array(entries))
}

/// `LATENCY DOCTOR|GRAPH|HISTOGRAM|HISTORY|LATEST|RESET|HELP`
pub(crate) fn latency(mut args: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    args.next()?;
    let slow = &ctx.server.slow;
    match ctx.spec.own_name() {
        "doctor" => Ok(Reply::text(slow.doctor())),
        "graph" => {
            let name = args.next()?;
            match slow.events().into_iter().find(|(own, _)| own.as_bytes() == name) {
                Some((name, event)) => Ok(Reply::text(event.graph(name))),
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
