//! Commands about replicas, modules and scripts, answered by a server that has none of them; and LOLWUT.
//!
//! Invariant: nothing here touches a key, and nothing waits.

use kvproto::{Args, CommandError, Reply};

use super::help::help;
use crate::commands::info::REDIS_VERSION;
use crate::context::Context;
use kvcommands::outcome::Outcome;

/// `ROLE`: a master at offset 0 with no replicas.
pub(crate) fn role(_: Args<'_>, _: &mut Context<'_>) -> Outcome {
    Ok(Reply::Array(vec![Reply::bulk("master"), Reply::Integer(0), Reply::Array(Vec::new())]))
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

/// `MODULE LIST|HELP`
pub(crate) fn module(_: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    Ok(match ctx.spec.own_name() {
        "list" => Reply::Array(Vec::new()),
        _ => help(ctx.spec),
    })
}

/// `FUNCTION FLUSH|KILL|LIST|STATS|HELP`
pub(crate) fn function(mut args: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    args.next()?;
    match ctx.spec.own_name() {
        "flush" => {
            if !args.is_empty() && !args.eat("sync") && !args.eat("async") || !args.is_empty() {
                let text = "ERR FUNCTION FLUSH only supports SYNC|ASYNC option";
                return Err(CommandError::custom(text).into());
            }
            Ok(Reply::Ok)
        }
        "kill" => Err(CommandError::custom("NOTBUSY No scripts in execution right now.").into()),
        "list" => {
            while let Some(word) = args.next_opt() {
                if word.eq_ignore_ascii_case(b"withcode") {
                    continue;
                }
                if !word.eq_ignore_ascii_case(b"libraryname") {
                    return Err(CommandError::quoting("ERR Unknown argument ", word, "").into());
                }
                if args.next_opt().is_none() {
                    return Err(CommandError::custom("ERR library name argument was not given").into());
                }
            }
            Ok(Reply::Array(Vec::new()))
        }
        "stats" => Ok(Reply::Map(vec![
            (Reply::bulk("running_script"), Reply::Nil),
            (Reply::bulk("engines"), Reply::Map(Vec::new())),
        ])),
        _ => Ok(help(ctx.spec)),
    }
}

/// `SCRIPT EXISTS|FLUSH|KILL|HELP`
pub(crate) fn script(mut args: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    args.next()?;
    match ctx.spec.own_name() {
        "exists" => Ok(Reply::Array(std::iter::from_fn(|| args.next_opt()).map(|_| Reply::Integer(0)).collect())),
        "flush" => {
            if !args.is_empty() && !args.eat("sync") && !args.eat("async") || !args.is_empty() {
                return Err(CommandError::custom("ERR SCRIPT FLUSH only support SYNC|ASYNC option").into());
            }
            Ok(Reply::Ok)
        }
        "kill" => Err(CommandError::custom("NOTBUSY No scripts in execution right now.").into()),
        _ => Ok(help(ctx.spec)),
    }
}

/// `LOLWUT [VERSION n] [...]`: a picture and the version. The picture is a rule 30 automaton, the same every time.
pub(crate) fn lolwut(mut args: Args<'_>, _: &mut Context<'_>) -> Outcome {
    // One picture is all there is, whichever version's is asked for.
    if args.remaining() > 1 && args.eat("version") {
        args.integer()?;
    }
    const WIDTH: u32 = 63;
    let mut cells: u64 = 1 << (WIDTH / 2);
    let mut text = String::new();
    for _ in 0..16 {
        let line: String = (0..WIDTH).map(|at| if cells >> at & 1 == 1 { '#' } else { ' ' }).collect();
        text.push_str(line.trim_end());
        text.push('\n');
        cells = ((cells << 1) ^ (cells | cells >> 1)) & ((1 << WIDTH) - 1);
    }
    text.push_str(&format!("\nRedis ver. {REDIS_VERSION}\n"));
    Ok(Reply::text(text))
}

#[cfg(test)]
mod tests {
    use kvproto::spec::lookup;

    #[test]
    fn what_is_answered_here_needs_no_keys() {
        for name in ["role", "wait", "waitaof", "module", "function", "script", "lolwut"] {
            let spec = lookup(name.as_bytes()).unwrap();
            assert!(spec.key_specs.is_empty() && spec.subcommands.iter().all(|sub| sub.key_specs.is_empty()), "{name}");
        }
    }
}
