//! DUMP and RESTORE: a value on its way to another server, or from one.
//!
//! Invariant: a payload that was changed on the way, or that holds no string, is refused and changes nothing.

use kvcore::Deadline;
use kvcore::hooks::{ReadTxn, Txn, Usage};
use kvproto::{Args, CommandError, Reply};

use crate::outcome::Outcome;
use crate::rdb::{self, Refusal};

/// No value is longer, whatever a payload says.
const VALUE_BYTES_MAX: usize = 512 * 1024 * 1024;

/// What a byte of a payload costs in nanoseconds, nearly all of it for the checksum.
const PAYLOAD_NS: u64 = 3;

/// `DUMP key`
pub fn dump(mut args: Args<'_>, txn: &dyn ReadTxn) -> Outcome {
    let Some(value) = txn.get(args.next()?)? else { return Ok(Reply::Nil) };
    txn.charge(value.len() as u64 * PAYLOAD_NS)?;
    Ok(Reply::bulk(rdb::encode(&value)))
}

/// `RESTORE key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]`
pub fn restore(mut args: Args<'_>, txn: &mut dyn Txn) -> Outcome {
    let (key, ttl, payload) = (args.next()?, args.next()?, args.next()?);
    let (mut replace, mut absolute) = (false, false);
    let (mut idle_secs, mut frequency) = (None, None);
    while !args.is_empty() {
        if args.eat("replace") {
            replace = true;
        } else if args.eat("absttl") {
            absolute = true;
        } else if args.remaining() > 1 && frequency.is_none() && args.eat("idletime") {
            idle_secs = Some(u64::try_from(args.integer()?).map_err(|_| invalid("IDLETIME value, must be >= 0"))?);
        } else if args.remaining() > 1 && idle_secs.is_none() && args.eat("freq") {
            let range = "FREQ value, must be >= 0 and <= 255";
            frequency = Some(u8::try_from(args.integer()?).map_err(|_| invalid(range))?);
        } else {
            return Err(CommandError::Syntax.into());
        }
    }
    if !replace && txn.get_to_write(key)?.is_some() {
        return Err(CommandError::custom("BUSYKEY Target key name already exists.").into());
    }
    let ttl = kvproto::parse_integer(ttl).ok_or(CommandError::NotAnInteger)?;
    let ttl_ms = u64::try_from(ttl).map_err(|_| invalid("TTL value, must be >= 0"))?;
    txn.charge((payload.len() + rdb::unpacked_len(payload)) as u64 * PAYLOAD_NS)?;
    let value = rdb::decode(payload, VALUE_BYTES_MAX).map_err(|refusal| match refusal {
        Refusal::Footer => CommandError::custom("ERR DUMP payload version or checksum are wrong"),
        Refusal::Format => CommandError::custom("ERR Bad data format"),
    })?;
    let deadline = match ttl_ms {
        0 => None,
        at if absolute => Some(Deadline::at_ms(at)),
        from_now => Some(Deadline::at_ms(txn.now_ms().saturating_add(from_now))),
    };
    if deadline.is_some_and(|deadline| deadline.has_passed(txn.now_ms())) {
        // Nothing is restored: only what it would have replaced goes.
        txn.delete(key)?;
        return Ok(Reply::Ok);
    }
    txn.set(key, &value, deadline)?;
    // A new key, even where it replaces one.
    let idle_secs = u32::try_from(idle_secs.unwrap_or(0)).unwrap_or(u32::MAX);
    txn.set_usage(key, Usage { idle_secs, frequency })?;
    Ok(Reply::Ok)
}

fn invalid(what: &str) -> CommandError {
    CommandError::custom(format!("ERR Invalid {what}"))
}
