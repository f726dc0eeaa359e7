//! HOTKEYS: begins and ends the tracking of hot keys, and shows what is known of them.
//!
//! Invariant: nothing here looks at a key, so all of it may run inside EXEC; what it shows of keys waits until all that was
//! written is durable.

use std::time::Duration;

use kvproto::{Args, CommandError, Reply};

use crate::context::Context;
use kvcommands::help;
use kvcommands::outcome::Outcome;
use kvstats::hot_keys::{Options, Report};

/// Keys that are shown, unless the client wants more or less.
const KEYS: i64 = 10;
const KEYS_MAX: i64 = 64;
const DURATION_SECS_MAX: i64 = 1_000_000;
/// Slots of a cluster: the first and the last.
const SLOTS: [i64; 2] = [0, 16_383];

/// `HOTKEYS START|STOP|GET|RESET|HELP`
pub(crate) fn hotkeys(mut args: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    args.next()?;
    let (hot_keys, server) = (&ctx.server.hot_keys, ctx.server);
    let measure = |all: bool| server.measure_all(all);
    let done = |is_done: bool, why: &'static str| {
        if is_done { Ok(Reply::Ok) } else { Err(CommandError::custom(why).into()) }
    };
    match ctx.spec.own_name() {
        "start" => {
            let options = options(args)?;
            done(
                hot_keys.start(options, server.db.now_ms(), &measure),
                "ERR hotkeys tracking session already in progress",
            )
        }
        "stop" => done(hot_keys.stop(&measure), "ERR no hotkeys tracking session in progress"),
        "reset" => done(hot_keys.reset(&measure), "ERR hotkeys tracking session in progress, stop tracking first"),
        "get" => {
            let report = hot_keys.report(&measure);
            ctx.reveal_everything();
            Ok(report.map_or(Reply::Nil, |report| Reply::Array(vec![show(report)])))
        }
        _ => Ok(help(ctx.spec)),
    }
}

/// `METRICS count [CPU] [NET] [COUNT k] [DURATION seconds] [SAMPLE ratio] [SLOTS count slot [slot ...]]`
fn options(mut args: Args<'_>) -> Result<Options, CommandError> {
    if !args.eat("metrics") {
        return Err(CommandError::custom("ERR METRICS parameter is required"));
    }
    let metrics = args.integer()?;
    let (mut by_time, mut by_bytes) = (false, false);
    loop {
        if !by_time && args.eat("cpu") {
            by_time = true;
        } else if !by_bytes && args.eat("net") {
            by_bytes = true;
        } else {
            break;
        }
    }
    if metrics != i64::from(by_time) + i64::from(by_bytes) || metrics == 0 {
        return Err(CommandError::custom("ERR METRICS count does not match number of metric types provided"));
    }
    let (mut keys, mut duration, mut sample) = (None, None, None);
    while !args.is_empty() {
        if keys.is_none() && args.eat("count") {
            keys = Some(within(args.integer()?, KEYS_MAX, "COUNT")?);
        } else if duration.is_none() && args.eat("duration") {
            duration = Some(within(args.integer()?, DURATION_SECS_MAX, "DURATION")?);
        } else if sample.is_none() && args.eat("sample") {
            sample = Some(within(args.integer()?, i64::MAX, "SAMPLE")?);
        } else if args.eat("slots") {
            return Err(CommandError::custom("ERR SLOTS parameter cannot be used in non-cluster mode"));
        } else {
            return Err(CommandError::Syntax);
        }
    }
    Ok(Options {
        by_time,
        by_bytes,
        keys: usize::try_from(keys.unwrap_or(KEYS)).unwrap_or(usize::MAX),
        duration: duration.map(|seconds| Duration::from_secs(seconds.unsigned_abs())),
        sample: sample.unwrap_or(1).unsigned_abs(),
    })
}

fn within(number: i64, max: i64, name: &str) -> Result<i64, CommandError> {
    if (1..=max).contains(&number) {
        return Ok(number);
    }
    Err(CommandError::custom(format!("ERR {name} must be between 1 and {max}")))
}

/// One map, though in an array: there is one for each node where there are several.
fn show(report: Report) -> Reply {
    let number = |number: u64| Reply::Integer(i64::try_from(number).unwrap_or(i64::MAX));
    let milliseconds = |duration: Duration| number(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
    let cpu = |seconds: f64| milliseconds(Duration::try_from_secs_f64(seconds).unwrap_or_default());
    let ranks = |keys: Vec<(Box<[u8]>, u64)>, unit: u64| {
        Reply::Array(keys.into_iter().flat_map(|(key, weight)| [Reply::bulk(&*key), number(weight / unit)]).collect())
    };
    let mut fields = vec![
        ("tracking-active", Reply::flag(report.is_active)),
        ("sample-ratio", number(report.options.sample)),
        ("selected-slots", Reply::Array(vec![Reply::Array(SLOTS.map(Reply::Integer).to_vec())])),
        ("all-commands-all-slots-us", number(report.nanos / 1000)),
        ("net-bytes-all-commands-all-slots", number(report.bytes)),
        ("collection-start-time-unix-ms", number(report.started_at_ms)),
        ("collection-duration-ms", milliseconds(report.duration)),
    ];
    if report.options.by_time {
        fields.push(("total-cpu-time-user-ms", cpu(report.user_seconds)));
        fields.push(("total-cpu-time-sys-ms", cpu(report.system_seconds)));
    }
    if report.options.by_bytes {
        fields.push(("total-net-bytes", number(report.tracked_bytes)));
    }
    if report.options.by_time {
        fields.push(("by-cpu-time-us", ranks(report.by_time, 1000)));
    }
    if report.options.by_bytes {
        fields.push(("by-net-bytes", ranks(report.by_bytes, 1)));
    }
    Reply::Map(fields.into_iter().map(|(name, value)| (Reply::bulk(name), value)).collect())
}
