//! OBJECT: how a value is kept and used.
//!
//! Invariant: encoding and references follow from the value alone, not from how it came about. Asking is not using.

use kvcore::hooks::{Lookups, Txn};
use kvproto::{Args, CommandError, Reply, parse_integer};

use super::help::help;
use crate::context::Context;
use kvcommands::outcome::Outcome;

/// Redis keeps a short string and its header in one allocation, up to this many bytes of text.
const EMBEDDED_BYTES_MAX: usize = 44;
/// Redis keeps the integers below this once for all keys, and counts their references without end.
const SHARED_INTEGERS: i64 = 10_000;
/// How often a key counts as used in Redis when it has just been made.
const FREQUENCY_FIRST: u8 = 5;

/// The name of the encoding Redis would choose for a value that was just SET. (There a value that was appended to, or
/// written into, stays `raw` whatever its length; here nothing remembers that.)
pub(crate) fn encoding_of(value: &[u8]) -> &'static str {
    match value {
        value if parse_integer(value).is_some() => "int",
        value if value.len() <= EMBEDDED_BYTES_MAX => "embstr",
        _ => "raw",
    }
}

/// `OBJECT ENCODING|FREQ|IDLETIME|REFCOUNT key`, `OBJECT HELP`
pub(crate) fn object(mut args: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    args.next()?;
    let Some(key) = args.next_opt() else { return Ok(help(ctx.spec)) };
    let by_frequency = ctx.server.tuning.policy().ends_with("lfu");
    let subcommand = ctx.spec.own_name();
    let mut reply = Reply::Nil;
    let mut look = |txn: &mut dyn Txn| {
        reply = match (txn.look(key)?, txn.usage(key)?) {
            (Some(value), Some(usage)) => match subcommand {
                "encoding" => Reply::bulk(encoding_of(&value)),
                "refcount" => {
                    let shared = parse_integer(&value).is_some_and(|number| (0..SHARED_INTEGERS).contains(&number));
                    Reply::Integer(if shared { i64::from(i32::MAX) } else { 1 })
                }
                "idletime" if by_frequency => {
                    policy_error("An LFU maxmemory policy is selected, idle time not tracked")
                }
                "idletime" => Reply::Integer(usage.idle_secs.into()),
                _ if by_frequency => Reply::Integer(usage.frequency.unwrap_or(FREQUENCY_FIRST).into()),
                _ => policy_error("An LFU maxmemory policy is not selected, access frequency not tracked"),
            },
            _ => Reply::Nil,
        };
        Ok(())
    };
    match &mut ctx.txn {
        Some(txn) => look(&mut **txn)?,
        None => {
            let mut lookups = Lookups::default();
            let hooks = ctx.session.keyspace.hooks().with_origin(ctx.origin.for_store());
            let lsn = hooks.commit(&[key], &mut |txn| {
                look(txn)?;
                lookups = txn.lookups();
                Ok(())
            })?;
            ctx.lookups = lookups;
            if ctx.server.awaits_durability() {
                ctx.lsn = lsn;
            }
        }
    }
    Ok(reply)
}

fn policy_error(what: &str) -> Reply {
    CommandError::custom(format!(
        "ERR {what}. Please note that when switching between policies at runtime LRU and LFU data will take some time \
         to adjust."
    ))
    .into()
}
