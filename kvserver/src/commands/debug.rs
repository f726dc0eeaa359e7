//! DEBUG: looks into the server, or disturbs it, for tests of clients and of the server itself.
//!
//! Invariant: unless the server was started with DEBUG allowed, nothing here runs. What a subcommand shows of the
//! store it sees under locks, so a digest is that of one moment.

use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use kvcore::hooks::{CrossTxn, Txn};
use kvcore::{Keyspace, LockSet};
use kvproto::{Args, CommandError, Reply, Request, parse_integer};

use crate::commands::server::write_snapshot;
use crate::context::jobs::Work;
use crate::context::{Context, Next};
use crate::state::ServerState;
use crate::state::debug_flags::DebugFlags;
use crate::state::server_config::LOOP_WORK_MAX;
use kvcommands::debug;
use kvcommands::outcome::{Failure, Outcome, store_error};

/// What the server says where DEBUG is not allowed.
pub(crate) const NOT_ALLOWED: &str = "ERR DEBUG command not allowed. If the enable-debug-command option is set to \
     \"local\", you can run it from a local connection, otherwise you need to set this option in the configuration \
     file, and then restart the server.";

/// A sleeping loop looks this often whether the server is to stop.
const SLEEP_STEP: Duration = Duration::from_millis(50);
/// POPULATE writes this many keys in one transaction.
const POPULATE_STEP: i64 = 128;

const HELP: &[(&str, &str)] = &[
    ("DIGEST", "Show a signature of everything that is stored."),
    ("DIGEST-VALUE <key> [<key> ...]", "Show a signature of each key's value and deadline."),
    ("ERROR <string>", "Reply with this error."),
    ("HOLD-COMPUTING <0|1>", "Let commands that take much computing wait before they begin, or go on."),
    ("LOADAOF", "As RELOAD NOSAVE."),
    ("LOG <message>", "Write a line to the server's log."),
    (
        "LOOP-WORK <nanoseconds>",
        "Run commands on a draft that would take an event loop longer: 0 for all that may, -1 for the usual time.",
    ),
    ("OBJECT <key>", "Show how a value is represented."),
    ("PAUSE-CRON <0|1>", "Stop, or resume, what the server does by itself once a second."),
    ("POPULATE <count> [<prefix>] [<size>]", "Create string keys named <prefix>:<number>."),
    (
        "PROTOCOL <type>",
        "Reply with a value of this type: string, integer, double, bignum, null, array, set, map, attrib, push, \
         verbatim, true, false.",
    ),
    (
        "RELOAD [NOSAVE|NOFLUSH|MERGE ...]",
        "Write a snapshot unless NOSAVE, make the log durable, read both back and fail unless they give what is stored.",
    ),
    ("REPLYBUFFER PEAK-RESET-TIME <NEVER|RESET|milliseconds>", "How long CLIENT LIST remembers the largest reply."),
    ("REPLYBUFFER RESIZING <0|1>", "Accepted: reply buffers here are never kept."),
    ("SET-ACTIVE-EXPIRE <0|1>", "Stop, or resume, removing expired keys that nobody asks for."),
    ("SLEEP <seconds>", "Let this client's event loop stand still. Decimals allowed."),
    ("STRINGMATCH-LEN <pattern> <string>", "Tell whether a glob pattern matches."),
];

/// `DEBUG subcommand [argument ...]`
pub(crate) fn debug(mut args: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    if !ctx.server.config.debug_allowed {
        return Err(CommandError::custom(NOT_ALLOWED).into());
    }
    let request = args.request();
    let name = args.next()?.to_ascii_lowercase();
    let switches = &ctx.server.debug;
    match (&*name, args.remaining()) {
        (b"help", 0) => Ok(help()),
        (b"sleep", 1) => Ok(sleep(args.next()?, ctx)),
        (b"set-active-expire", 1) => {
            ctx.server.db.hooks().pause_sweeping(!flag(args.next()?));
            Ok(Reply::Ok)
        }
        (b"hold-computing", 1) => {
            switches.computing_held.store(flag(args.next()?), Relaxed);
            Ok(Reply::Ok)
        }
        (b"loop-work", 1) => {
            let max = u64::try_from(args.integer()?).unwrap_or(LOOP_WORK_MAX);
            switches.loop_work_max.store(max, Relaxed);
            Ok(Reply::Ok)
        }
        (b"pause-cron", 1) => {
            switches.cron_paused.store(flag(args.next()?), Relaxed);
            Ok(Reply::Ok)
        }
        (b"replybuffer", 2) => replybuffer(args, ctx),
        (b"reload", _) => {
            let mut snapshot = true;
            while !args.is_empty() {
                if args.eat("nosave") {
                    snapshot = false;
                } else if !args.eat("merge") && !args.eat("noflush") {
                    let text = "ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.";
                    return Err(CommandError::custom(text).into());
                }
            }
            read_back(snapshot, ctx)
        }
        (b"loadaof", 0) => read_back(false, ctx),
        (b"digest", 0) => {
            let mut digest = Reply::Nil;
            locked(None, ctx, &mut |txn, keyspaces| {
                let ids = keyspaces.iter().map(|keyspace| (keyspace.name(), keyspace.hooks().id()));
                digest = debug::digest(txn, ids)?;
                Ok(())
            })?;
            Ok(digest)
        }
        (b"digest-value", _) => {
            let keys: Vec<&[u8]> = std::iter::from_fn(|| args.next_opt()).collect();
            let mut digests = Reply::Nil;
            locked(Some(&keys), ctx, &mut |txn, _| {
                digests = debug::digest_values(&keys, &*txn)?;
                Ok(())
            })?;
            Ok(digests)
        }
        (b"object", 1) => object(args.next()?, ctx),
        (b"populate", 1..=3) => populate(args, ctx),
        (b"protocol", 1) => debug::protocol(args.next()?, ctx.session.version, &mut ctx.before),
        (b"stringmatch-len", 2) => {
            let pattern = args.next()?;
            Ok(Reply::flag(kvcommands::glob::matches(pattern, args.next()?)))
        }
        (b"error", 1) => Ok(Reply::error(args.next()?.to_vec())),
        (b"log", 1) => {
            tracing::warn!("DEBUG LOG: {}", args.next()?.escape_ascii());
            Ok(Reply::Ok)
        }
        _ => Err(wrong_subcommand(request)),
    }
}

/// Redis answers so too: its DEBUG has no table of subcommands.
fn wrong_subcommand(request: Request<'_>) -> Failure {
    let word = request.get(1).unwrap_or_default();
    CommandError::quoting_start("ERR unknown subcommand or wrong number of arguments for '", word, "'. Try DEBUG HELP.")
        .into()
}

fn help() -> Reply {
    let mut lines = vec!["DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:".to_owned()];
    for (usage, summary) in HELP {
        lines.extend([(*usage).to_owned(), format!("    {summary}")]);
    }
    lines.extend(["HELP".to_owned(), "    Print this help.".to_owned()]);
    Reply::Array(lines.into_iter().map(Reply::simple).collect())
}

/// As C reads a flag: what is no number is 0.
fn flag(word: &[u8]) -> bool {
    parse_integer(word).is_some_and(|number| number != 0)
}

/// Redis stands still as a whole; here one event loop with all its clients does. A stopping server ends it.
fn sleep(word: &[u8], ctx: &Context<'_>) -> Reply {
    let seconds = std::str::from_utf8(word).ok().and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    let wanted = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    let started = Instant::now();
    while let Some(left) = wanted.checked_sub(started.elapsed()).filter(|left| !left.is_zero()) {
        if ctx.server.stopping.load(Relaxed) {
            break;
        }
        thread::sleep(left.min(SLEEP_STEP));
    }
    Reply::Ok
}

fn replybuffer(mut args: Args<'_>, ctx: &Context<'_>) -> Outcome {
    let request = args.request();
    if args.eat("peak-reset-time") {
        let reset = &ctx.server.debug.peak_reset_ms;
        if args.eat("never") {
            reset.store(u64::MAX, Relaxed);
        } else if args.eat("reset") {
            reset.store(DebugFlags::PEAK_RESET_MS, Relaxed);
        } else {
            reset.store(u64::try_from(args.integer()?).unwrap_or(u64::MAX), Relaxed);
        }
    } else if !args.eat("resizing") {
        return Err(wrong_subcommand(request));
    }
    Ok(Reply::Ok)
}

/// Redis throws away what it holds and loads what it wrote. Here what was written is loaded beside what is held, and has
/// to be the same.
fn read_back(snapshot: bool, ctx: &mut Context<'_>) -> Outcome {
    if ctx.txn.is_some() {
        return Err(CommandError::custom("ERR DEBUG RELOAD and LOADAOF are not allowed inside a transaction").into());
    }
    if ctx.server.db.is_in_memory() {
        return Ok(Reply::Ok);
    }
    ctx.next = Next::Park(Work::files(move |server| match if snapshot { write_snapshot(server) } else { Reply::Ok } {
        Reply::Ok => verify(server),
        failed => failed,
    }));
    Ok(Reply::Nothing)
}

fn verify(server: &ServerState) -> Reply {
    match server.db.verify() {
        Ok(keys) => {
            tracing::info!("read back {keys} keys, as they were written");
            Reply::Ok
        }
        Err(error) => {
            tracing::error!(%error, "what was written could not be read back");
            store_error(&error)
        }
    }
}

/// Looks at what is locked, given the keyspaces concerned.
type Look<'l> = dyn FnMut(&mut dyn CrossTxn, &[Keyspace]) -> kvcore::Result<()> + 'l;

/// Runs `look` with these keys of the session's database locked, or all databases whole. What EXEC has locked for a
/// DEBUG is all of that.
fn locked<'k>(keys: Option<&'k [&'k [u8]]>, ctx: &mut Context<'_>, look: &mut Look<'_>) -> kvcore::Result<()> {
    if let Some(txn) = &mut ctx.txn {
        let looked = look(&mut **txn, ctx.everything);
        txn.select(ctx.session.keyspace.hooks().id())?;
        return looked;
    }
    let keyspaces = if keys.is_some() { vec![ctx.session.keyspace.clone()] } else { ctx.server.db.keyspaces() };
    let add = |locks: LockSet<'k>, keyspace| match keys {
        Some(keys) => locks.keys(keyspace, keys),
        None => locks.whole(keyspace),
    };
    let locks = keyspaces.iter().fold(LockSet::new(), add);
    let hooks = ctx.server.db.hooks().with_origin(ctx.origin.for_store());
    let lsn = hooks.commit_across(locks, &mut |txn| look(txn, &keyspaces))?;
    if ctx.server.awaits_durability() {
        ctx.lsn = lsn;
    }
    Ok(())
}

fn object(key: &[u8], ctx: &mut Context<'_>) -> Outcome {
    let mut shown = None;
    locked(Some(&[key]), ctx, &mut |txn, _| {
        shown = debug::object(key, &*txn)?;
        Ok(())
    })?;
    Ok(Reply::simple(shown.ok_or(CommandError::NoSuchKey)?))
}

/// `POPULATE count [prefix] [size]`: keys that are there already stay as they are.
fn populate(mut args: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    if ctx.txn.is_some() {
        return Err(CommandError::custom("ERR DEBUG POPULATE is not allowed inside a transaction").into());
    }
    let out_of_range = || CommandError::custom("ERR value is out of range, must be positive");
    let count = Some(args.integer()?).filter(|count| *count >= 0).ok_or_else(out_of_range)?;
    let prefix = args.next_opt().unwrap_or(b"key");
    let size = if args.is_empty() { 0 } else { usize::try_from(args.integer()?).map_err(|_| out_of_range())? };
    if size > ctx.server.config.limits.bulk_bytes_max {
        return Err(out_of_range().into());
    }
    let keyspace = &ctx.session.keyspace;
    let mut first = 0;
    while first < count {
        let numbers = first..count.min(first.saturating_add(POPULATE_STEP));
        first = numbers.end;
        let keys: Vec<Vec<u8>> =
            numbers.clone().map(|number| [prefix, b":", number.to_string().as_bytes()].concat()).collect();
        let words: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        ctx.server.db.hooks().await_room()?;
        let hooks = keyspace.hooks().with_origin(ctx.origin.for_store());
        let lsn = hooks.commit(&words, &mut |txn: &mut dyn Txn| {
            for (key, number) in words.iter().zip(numbers.clone()) {
                if txn.peek(key)?.is_none() {
                    let mut value = format!("value:{number}").into_bytes();
                    if size > 0 {
                        value.resize(size, 0);
                    }
                    txn.set(key, &value, None)?;
                }
            }
            Ok(())
        })?;
        if ctx.server.awaits_durability() {
            ctx.lsn = lsn;
        }
    }
    Ok(Reply::Ok)
}
