//! OBJECT: how a value is kept and used.
//!
//! Invariant: asking is not using.

use kvcore::hooks::{Lookups, Txn};
use kvproto::{Args, Reply};

use crate::context::Context;
use kvcommands::help;
use kvcommands::outcome::Outcome;

/// `OBJECT ENCODING|FREQ|IDLETIME|REFCOUNT key`, `OBJECT HELP`
pub(crate) fn object(mut args: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    args.next()?;
    let Some(key) = args.next_opt() else { return Ok(help(ctx.spec)) };
    let by_frequency = ctx.server.runtime.policy().ends_with("lfu");
    let look = |txn: &dyn Txn| kvcommands::object(ctx.spec.own_name(), key, txn, by_frequency);
    if let Some(txn) = &ctx.txn {
        return Ok(look(&**txn)?);
    }
    let (mut reply, mut lookups) = (Reply::Nil, Lookups::default());
    let hooks = ctx.session.keyspace.hooks().with_origin(ctx.origin.for_store());
    let lsn = hooks.commit(&[key], &mut |txn| {
        reply = look(&*txn)?;
        lookups = txn.lookups();
        Ok(())
    })?;
    ctx.lookups = lookups;
    if ctx.server.awaits_durability() {
        ctx.lsn = lsn;
    }
    Ok(reply)
}
