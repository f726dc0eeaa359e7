//! BACKUP: the whole store, as an archive that the client reads piece by piece.
//!
//! Invariant: the server writes to no file, whatever a client says; what may wait for a file is done off the loop.

use kvproto::{Args, CommandError, Reply};

use crate::admin::backups::Step;
use crate::context::jobs::Work;
use crate::context::{Context, Next};
use kvcommands::help;
use kvcommands::outcome::Outcome;

/// `BACKUP START|READ|STOP|HELP`
pub(crate) fn backup(mut args: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    args.next()?;
    let (backups, client) = (&ctx.server.backups, ctx.session.client.id);
    let (one, step) = match ctx.spec.own_name() {
        "start" => (backups.reserve(client)?, Step::Start),
        "read" => (backups.of(client)?, Step::Read),
        "stop" => {
            return match backups.end(client) {
                true => Ok(Reply::Ok),
                false => Err(CommandError::custom("ERR no backup is running on this connection").into()),
            };
        }
        _ => return Ok(help(ctx.spec)),
    };
    // Whatever is in a backup is durable.
    ctx.next = Next::Park(Work::files(move |server| server.backups.step(&server.db, &one, step)));
    Ok(Reply::Nothing)
}
