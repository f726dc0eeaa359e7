//! Commands over two databases: COPY, MOVE, SWAPDB.
//!
//! Invariant: each is one transaction over both databases, so nobody sees a key in neither or in both; and it is the
//! same alone and inside EXEC.

use kvcore::hooks::{CrossTxn, Lookups, Usage};
use kvcore::{Keyspace, LockSet};
use kvproto::{Args, CommandError, Reply, Request, parse_integer};

use crate::context::Context;
use crate::databases::DATABASES;
use crate::notify::events::Noted;
use crate::state::ServerState;
use kvcommands::outcome::{Failure, Outcome};

/// `COPY source destination [DB database] [REPLACE]`
pub(crate) fn copy(mut args: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    let (from, to) = (args.next()?, args.next()?);
    let mut replace = false;
    let mut database = ctx.session.database;
    while !args.is_empty() {
        if args.eat("replace") {
            replace = true;
        } else if args.remaining() > 1 && args.eat("db") {
            database = index(args.next()?, "ERR value is not an integer or out of range")?;
        } else {
            return Err(CommandError::Syntax.into());
        }
    }
    if database == ctx.session.database && from == to {
        return Err(same_object());
    }
    between(args.request(), ctx, (&[from], database, &[to]), &mut |txn, here, there| {
        let Some(value) = txn.get(from)? else { return Ok(Reply::flag(false)) };
        let deadline = value.deadline();
        txn.select(there)?;
        let free = txn.get_to_write(to)?.is_none() || replace;
        if free {
            txn.copy_from(here, from, to, deadline)?;
            // A new key, even where it replaces one.
            txn.set_usage(to, Usage::default())?;
        }
        txn.select(here)?;
        Ok(Reply::flag(free))
    })
}

/// `MOVE key db`
pub(crate) fn move_(mut args: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    let key = args.next()?;
    let database = index(args.next()?, "ERR value is not an integer or out of range")?;
    if database == ctx.session.database {
        return Err(same_object());
    }
    between(args.request(), ctx, (&[key], database, &[key]), &mut |txn, here, there| {
        let Some(value) = txn.get_to_write(key)? else { return Ok(Reply::flag(false)) };
        let deadline = value.deadline();
        let usage = txn.usage(key)?;
        txn.select(there)?;
        let free = txn.get_to_write(key)?.is_none();
        if free {
            txn.copy_from(here, key, key, deadline)?;
            if let Some(usage) = usage {
                txn.set_usage(key, usage)?;
            }
        }
        txn.select(here)?;
        if free {
            txn.delete(key)?;
            txn.count_changes(1);
        }
        Ok(Reply::flag(free))
    })
}

/// `SWAPDB index1 index2`: clients of one database see from now on what the other held.
pub(crate) fn swapdb(mut args: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    // Both must be numbers before either must be one of a database.
    let words = (args.next()?, args.next()?);
    number(words.0, "ERR invalid first DB index")?;
    let other = index(words.1, "ERR invalid second DB index")?;
    let one = index(words.0, "ERR invalid first DB index")?;
    let [one, other] = [open(ctx, one)?, open(ctx, other)?];
    let exchange = |txn: &mut dyn CrossTxn| {
        txn.select(one.hooks().id())?;
        txn.swap(other.hooks().id())?;
        // One change, even of a database with itself.
        txn.count_changes(1);
        Ok(())
    };
    if let Some(txn) = &mut ctx.txn {
        let swapped = exchange(&mut **txn);
        txn.select(ctx.session.keyspace.hooks().id())?;
        swapped?;
        return Ok(Reply::Ok);
    }
    let locks = LockSet::new().whole(&one).whole(&other);
    let hooks = ctx.server.db.hooks().with_origin(ctx.origin.for_store());
    let lsn = hooks.commit_across(locks, &mut |txn| exchange(txn))?;
    if ctx.server.awaits_durability() {
        ctx.lsn = lsn;
    }
    Ok(Reply::Ok)
}

/// The database a well-formed SELECT asks for.
pub(super) fn selected(request: Request<'_>) -> Option<usize> {
    let index = usize::try_from(parse_integer(request.get(1)?)?).ok()?;
    (index < DATABASES).then_some(index)
}

/// The databases that a queued command needs whole or in part besides its own, as far as its words are in order: what
/// EXEC must open and lock for it.
pub(super) fn others(name: &str, request: Request<'_>, server: &ServerState) -> kvcore::Result<Vec<Keyspace>> {
    let words: Vec<Option<&[u8]>> = match name {
        "copy" => (3..request.len()).map(|at| request.get(at)).collect(),
        "move" => vec![request.get(2)],
        "swapdb" => vec![request.get(1), request.get(2)],
        _ => Vec::new(),
    };
    let indexes = words.into_iter().flatten().filter_map(|word| usize::try_from(parse_integer(word)?).ok());
    indexes.filter(|index| *index < DATABASES).map(|index| server.databases.open(index)).collect()
}

/// Runs `body` with keys of the session's database and keys of another one locked, and tells it both's ids.
fn between(
    request: Request<'_>,
    ctx: &mut Context<'_>,
    (ours, database, theirs): (&[&[u8]], usize, &[&[u8]]),
    body: &mut dyn FnMut(&mut dyn CrossTxn, u32, u32) -> kvcore::Result<Reply>,
) -> Outcome {
    let here = ctx.session.keyspace.clone();
    let there = open(ctx, database)?;
    if let Some(txn) = &mut ctx.txn {
        let done = body(&mut **txn, here.hooks().id(), there.hooks().id());
        txn.select(here.hooks().id())?;
        return Ok(done?);
    }
    let locks = LockSet::new().keys(&here, ours).keys(&there, theirs);
    let mut reply = Reply::Nil;
    let (server, spec, database) = (ctx.server, ctx.spec, ctx.session.database);
    let wanted = server.notify.audience.wanted().events();
    let mut lookups = Lookups::default();
    let (uses_keys, origin) = (ctx.session.uses_keys_of(spec), ctx.origin);
    let committed = server.db.hooks().with_origin(origin.for_store()).commit_across(locks, &mut |txn| {
        txn.begin_command(uses_keys);
        if wanted.is_empty() {
            reply = body(txn, here.hooks().id(), there.hooks().id())?;
        } else {
            let mut noted = Noted::new(txn, spec, request, database, wanted, &server.databases);
            let done = body(&mut noted, here.hooks().id(), there.hooks().id());
            origin.announce(noted.finish());
            reply = done?;
        }
        lookups = txn.lookups();
        Ok(())
    });
    if !wanted.is_empty() {
        server.notify.audience.settle(origin, committed.as_ref().ok().copied());
    }
    let lsn = committed?;
    ctx.lookups = lookups;
    if server.awaits_durability() {
        ctx.lsn = lsn;
    }
    Ok(reply)
}

/// The database with this index. EXEC has opened it before it locked anything.
fn open(ctx: &Context<'_>, index: usize) -> kvcore::Result<Keyspace> {
    match &ctx.txn {
        Some(_) => ctx
            .server
            .databases
            .opened(index)
            .ok_or_else(|| kvcore::Error::KeyspaceNotNamed { name: index.to_string() }),
        None => ctx.server.databases.open(index),
    }
}

/// The number in a word, as wide as C's `int`; `error` says what it is not.
fn number(word: &[u8], error: &'static str) -> Result<i32, CommandError> {
    let number = parse_integer(word).ok_or(CommandError::custom(error))?;
    let narrow = i32::try_from(number);
    narrow.map_err(|_| match error {
        "ERR value is not an integer or out of range" => {
            CommandError::custom(format!("ERR value is out of range, value must between {} and {}", i32::MIN, i32::MAX))
        }
        error => CommandError::custom(error),
    })
}

fn index(word: &[u8], error: &'static str) -> Result<usize, CommandError> {
    let index = usize::try_from(number(word, error)?).ok().filter(|index| *index < DATABASES);
    index.ok_or(CommandError::DbIndexOutOfRange)
}

fn same_object() -> Failure {
    CommandError::custom("ERR source and destination objects are the same").into()
}
