//! HOTKEYS: begins and ends the tracking of hot keys, and shows what is known of them.
//!
//! Invariant: nothing here looks at a key, so all of it may run inside EXEC; what it shows of keys waits until all that was
//! written is durable.

use kvproto::{Args, CommandError, Reply};

use crate::context::Context;
use kvcommands::help;
use kvcommands::outcome::Outcome;
use kvstats::hot_keys::Options;

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
            let options = Options::read(args)?;
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
            Ok(report.map_or(Reply::Nil, |report| Reply::Array(vec![report.into_reply()])))
        }
        _ => Ok(help(ctx.spec)),
    }
}
