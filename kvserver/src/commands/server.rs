//! What concerns the server as a whole: snapshots, shutting down, INFO, TIME, WAIT.
//!
//! Invariant: inside EXEC nothing here looks at the store but through the locked view.

use kvproto::{Args, CommandError, Reply};

use crate::commands::info;
use crate::context::jobs::Work;
use crate::context::{Context, Next};
use crate::databases::index_of;
use crate::state::ServerState;
use kvcommands::KeySizes;
use kvcommands::outcome::{Outcome, store_error};

pub(crate) fn save(_: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    if ctx.server.db.snapshot_status().running {
        return Err(CommandError::custom("ERR Background save already in progress").into());
    }
    ctx.next = Next::Park(Work::files(write_snapshot));
    Ok(Reply::Nothing)
}

/// Writes a snapshot, beside the loops.
pub(crate) fn write_snapshot(server: &ServerState) -> Reply {
    match server.db.snapshot() {
        Ok(_) => Reply::Ok,
        Err(error) => {
            if !matches!(error, kvcore::Error::SnapshotCancelled) {
                tracing::error!(%error, "the snapshot failed");
            }
            store_error(&error)
        }
    }
}

/// Writes a snapshot and, if that succeeds, stops the server.
fn save_and_stop(server: &ServerState) -> Reply {
    match write_snapshot(server) {
        Reply::Ok => {
            server.stop();
            Reply::Nothing
        }
        _ => Reply::error("ERR Errors trying to SHUTDOWN. Check logs."),
    }
}

/// `BGSAVE [SCHEDULE|CANCEL]`
pub(crate) fn bgsave(mut args: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    if args.remaining() == 1 && args.eat("cancel") {
        if ctx.server.db.cancel_snapshot() {
            return Ok(Reply::simple("Background saving cancelled"));
        }
        return Err(CommandError::custom("ERR Background saving is currently not in progress or scheduled").into());
    }
    if !args.is_empty() && !args.eat("schedule") {
        return Err(CommandError::Syntax.into());
    }
    args.finish()?;
    match ctx.server.db.snapshot_in_background() {
        Ok(true) => Ok(Reply::simple("Background saving started")),
        Ok(false) => Err(CommandError::custom("ERR Background save already in progress").into()),
        Err(error) => Ok(store_error(&error)),
    }
}

/// `BGREWRITEAOF`: what makes the log short here is a snapshot.
pub(crate) fn bgrewriteaof(_: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    match ctx.server.db.snapshot_in_background() {
        Ok(true) => Ok(Reply::simple("Background append only file rewriting started")),
        Ok(false) => Err(CommandError::custom("ERR Background append only file rewriting already in progress").into()),
        Err(error) => Ok(store_error(&error)),
    }
}

pub(crate) fn lastsave(_: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    Ok(Reply::count(info::last_save_seconds(ctx.server)))
}

/// `SHUTDOWN [NOSAVE|SAVE] [NOW] [FORCE] [SAFE] [FAILOVER] [ABORT]`. The log has everything, so a snapshot is only written when
/// asked for. SAFE and FAILOVER of Valkey 9.0 are about the nodes of a cluster: one node alone may always stop.
pub(crate) fn shutdown(mut args: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    let (mut save, mut nosave, mut other, mut abort) = (false, false, false, false);
    while !args.is_empty() {
        if args.eat("save") {
            save = true;
        } else if args.eat("nosave") {
            nosave = true;
        } else if ["now", "force", "safe", "failover"].iter().any(|word| args.eat(word)) {
            other = true;
        } else if args.eat("abort") {
            abort = true;
        } else {
            return Err(CommandError::Syntax.into());
        }
    }
    if (save && nosave) || (abort && (save || nosave || other)) {
        return Err(CommandError::Syntax.into());
    }
    if abort {
        return Err(CommandError::custom("ERR No shutdown in progress.").into());
    }
    tracing::info!(client = ctx.session.client.id, "a client asked for the shutdown");
    if save {
        ctx.next = Next::Park(Work::files(save_and_stop));
    } else {
        ctx.server.stop();
        ctx.next = Next::Close;
    }
    Ok(Reply::Nothing)
}

/// `TIME`: seconds and microseconds. The store's clock counts in milliseconds.
pub(crate) fn time(_: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    let now_ms = ctx.server.db.now_ms();
    let micros = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.subsec_micros() % 1000);
    Ok(Reply::Array(vec![
        Reply::bulk((now_ms / 1000).to_string()),
        Reply::bulk((now_ms % 1000 * 1000 + u64::from(micros)).to_string()),
    ]))
}

fn key_sizes(server: &ServerState) -> kvcore::Result<Vec<KeySizes>> {
    let keyspaces = server.db.keyspaces();
    kvcommands::key_sizes(keyspaces.iter().filter_map(|keyspace| Some((index_of(keyspace.name())?, keyspace))))
}

/// `INFO [section ...]`
pub(crate) fn info(mut args: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    let wanted: Vec<String> =
        std::iter::from_fn(|| args.next_opt()).map(|word| String::from_utf8_lossy(word).to_ascii_lowercase()).collect();
    if ctx.txn.is_none() && info::wants_key_sizes(&wanted) {
        ctx.next = Next::Park(Work::scan(move |worker| match key_sizes(worker.server) {
            Ok(sizes) => Reply::text(info::text(worker.server, &wanted, false, &sizes)),
            Err(error) => store_error(&error),
        }));
        return Ok(Reply::Nothing);
    }
    let text = info::text(ctx.server, &wanted, ctx.txn.is_some(), &[]);
    ctx.reveal_everything();
    Ok(Reply::text(text))
}

/// `WAIT numreplicas timeout`: no replica will ever have the writes, so there is nothing to wait for. With durability
/// `always` the answer leaves when the client's writes are on disk, as every answer does.
pub(crate) fn wait(mut args: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    args.integer()?;
    check_timeout(args.next()?)?;
    ctx.lsn = ctx.session.seen;
    Ok(Reply::Integer(0))
}

/// `WAITAOF numlocal numreplicas timeout`: how many servers have all that was written before on stable storage. With
/// `numlocal` 1 the sync is asked for and the answer leaves when it is done, however long that takes: a disk that does
/// not answer in time will not do so sooner for being asked again. Without, as inside EXEC, it tells how things are.
pub(crate) fn waitaof(mut args: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    let waits = match args.integer()? {
        0 => false,
        1 => true,
        _ => return Err(CommandError::custom("ERR value is out of range, value must between 0 and 1").into()),
    };
    if args.integer()? < 0 {
        return Err(CommandError::custom("ERR value is out of range, must be positive").into());
    }
    check_timeout(args.next()?)?;
    let db = &ctx.server.db;
    if db.is_in_memory() {
        if waits {
            let text = "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.";
            return Err(CommandError::custom(text).into());
        }
        return Ok(Reply::Array(vec![Reply::Integer(0), Reply::Integer(0)]));
    }
    let waits = waits && ctx.txn.is_none();
    if waits {
        ctx.lsn = ctx.server.await_newest();
    }
    let local = waits || db.hooks().durable_lsn() >= db.hooks().last_lsn();
    Ok(Reply::Array(vec![Reply::flag(local), Reply::Integer(0)]))
}

fn check_timeout(word: &[u8]) -> Result<(), CommandError> {
    match kvproto::parse_integer(word) {
        None => Err(CommandError::custom("ERR timeout is not an integer or out of range")),
        Some(timeout) if timeout < 0 => Err(CommandError::custom("ERR timeout is negative")),
        Some(_) => Ok(()),
    }
}
