//! What concerns the server as a whole: flushing, snapshots, shutting down, INFO, TIME.
//!
//! Invariant: keyspaces are emptied all at one moment. Inside EXEC these are exactly the locked ones, and nothing
//! here looks at the store but through the locked view.

use kvcore::{Keyspace, LockSet};
use kvproto::{Args, CommandError, Reply};

use crate::commands::info;
use crate::context::jobs::Work;
use crate::context::{Context, Next};
use crate::state::ServerState;
use kvcommands::outcome::{Outcome, store_error};

/// `FLUSHDB [ASYNC|SYNC]`: either way the memory is given back at once.
pub(crate) fn flushdb(args: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    check_flush_mode(args)?;
    let keyspace = ctx.session.keyspace.clone();
    empty(&[keyspace], ctx)?;
    Ok(Reply::Ok)
}

/// `FLUSHALL [ASYNC|SYNC]`
pub(crate) fn flushall(args: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    check_flush_mode(args)?;
    if ctx.txn.is_some() {
        empty(ctx.everything, ctx)?;
    } else {
        empty(&ctx.server.db.keyspaces(), ctx)?;
    }
    Ok(Reply::Ok)
}

/// `FLUSH`: empties the database and answers how many keys it had.
pub(crate) fn flush(_: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    let keyspace = ctx.session.keyspace.clone();
    Ok(Reply::count(empty(&[keyspace], ctx)?))
}

fn check_flush_mode(mut args: Args<'_>) -> Result<(), CommandError> {
    if !args.is_empty() && !args.eat("sync") && !args.eat("async") {
        return Err(CommandError::Syntax);
    }
    args.finish()
}

/// Empties keyspaces, all at one moment.
fn empty(keyspaces: &[Keyspace], ctx: &mut Context<'_>) -> kvcore::Result<u64> {
    let mut removed = 0;
    if let Some(txn) = &mut ctx.txn {
        let mut flush = |keyspace: &Keyspace| {
            txn.select(keyspace.hooks().id())?;
            txn.clear()
        };
        let flushed = keyspaces.iter().try_for_each(|keyspace| flush(keyspace).map(|count| removed += count));
        // Whatever came of it, what follows is about the session's own database.
        txn.select(ctx.session.keyspace.hooks().id())?;
        return flushed.map(|()| removed);
    }
    let locks = keyspaces.iter().fold(LockSet::new(), LockSet::whole);
    let hooks = ctx.server.db.hooks().with_origin(ctx.origin.for_store());
    let lsn = hooks.commit_across(locks, &mut |txn| {
        removed = 0;
        for keyspace in keyspaces {
            txn.select(keyspace.hooks().id())?;
            removed += txn.clear()?;
        }
        Ok(())
    })?;
    if ctx.server.awaits_durability() {
        ctx.lsn = lsn;
    }
    Ok(removed)
}

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

/// `INFO [section ...]`
pub(crate) fn info(mut args: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    let wanted: Vec<String> =
        std::iter::from_fn(|| args.next_opt()).map(|word| String::from_utf8_lossy(word).to_ascii_lowercase()).collect();
    if ctx.txn.is_none() && info::wants_key_sizes(&wanted) {
        ctx.next = Next::Park(Work::scan(move |worker| match info::key_sizes(worker.server) {
            Ok(sizes) => Reply::text(info::text(worker.server, &wanted, false, &sizes)),
            Err(error) => store_error(&error),
        }));
        return Ok(Reply::Nothing);
    }
    let text = info::text(ctx.server, &wanted, ctx.txn.is_some(), &[]);
    ctx.reveal_everything();
    Ok(Reply::text(text))
}
