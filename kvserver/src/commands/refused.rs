//! Commands about clusters and replicas, refused in Redis' own words: clients and tools match the text, and conclude from
//! it that this is one server alone.
//!
//! Invariant: nothing here touches a key or changes anything; the only request granted asks for what holds anyway.

use kvproto::{Args, CommandError, Reply};

use crate::context::Context;
use crate::outcome::Outcome;

/// The commands that are marked absent in the table and have a function here.
#[cfg(test)]
pub(crate) const NAMES: [&str; 7] = ["asking", "cluster", "failover", "readonly", "readwrite", "replicaof", "slaveof"];

/// `CLUSTER ...`, `ASKING`, `READONLY`, `READWRITE`: the error of a Redis that is not in cluster mode.
pub(crate) fn cluster(_: Args<'_>, _: &mut Context<'_>) -> Outcome {
    Err(CommandError::custom("ERR This instance has cluster support disabled").into())
}

/// `REPLICAOF host port|NO ONE`, and `SLAVEOF`: `NO ONE` is `OK`, since this server is a master already.
pub(crate) fn replicaof(mut args: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    let (host, port) = (args.next()?, args.next()?);
    if host.eq_ignore_ascii_case(b"no") && port.eq_ignore_ascii_case(b"one") {
        return Ok(Reply::Ok);
    }
    if !kvproto::parse_integer(port).is_some_and(|port| (0..=65_535).contains(&port)) {
        return Err(CommandError::custom("ERR Invalid master port").into());
    }
    Err(CommandError::absent(ctx.spec.name).into())
}

/// `FAILOVER [TO host port [FORCE]] [ABORT] [TIMEOUT milliseconds]`: there are no replicas to hand over to.
pub(crate) fn failover(mut args: Args<'_>, _: &mut Context<'_>) -> Outcome {
    if args.remaining() == 1 && args.eat("abort") {
        return Err(CommandError::custom("ERR No failover in progress.").into());
    }
    let (mut timeout, mut has_target, mut is_forced) = (0, false, false);
    while !args.is_empty() {
        if timeout == 0 && args.remaining() > 1 && args.eat("timeout") {
            timeout = args.integer()?;
            if timeout <= 0 {
                return Err(CommandError::custom("ERR FAILOVER timeout must be greater than 0").into());
            }
        } else if !has_target && args.remaining() > 2 && args.eat("to") {
            args.next()?;
            args.integer()?;
            has_target = true;
        } else if !is_forced && args.eat("force") {
            is_forced = true;
        } else {
            return Err(CommandError::Syntax.into());
        }
    }
    Err(CommandError::custom("ERR FAILOVER requires connected replicas.").into())
}
