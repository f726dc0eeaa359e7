//! Commands on the value of a key: SET and GET with their variants, counters, APPEND.
//!
//! Invariant: every check of the arguments and of the old value comes before the first effect, so that a command that
//! answers with an error has changed nothing. GET, plain SET and INCR allocate nothing here.

use std::sync::Arc;

use kvcore::hooks::{ReadTxn, Txn};
use kvcore::{Deadline, ValueRef};
use kvproto::{Args, CommandError, Reply, parse_integer};

use super::expiry::{Lifetime, Notation};
use crate::gather::UNSURVEYED_BYTES_MAX;
use crate::outcome::REPLY_BYTES_MAX;
use crate::outcome::{self, Outcome};
use compare::Condition;
use long_double::LongDouble;

pub mod compare;
pub mod increx;
pub mod lcs;
mod long_double;
pub mod range;

/// `GET key`
pub fn get(mut args: Args<'_>, txn: &dyn ReadTxn) -> Outcome {
    let key = args.next()?;
    Ok(bulk_or_nil(txn.get(key)?))
}

/// `SET key value [NX|XX|IFEQ value|IFNE value|IFDEQ digest|IFDNE digest] [GET]
/// [EX seconds|PX milliseconds|EXAT unix-seconds|PXAT unix-milliseconds|KEEPTTL]`
pub fn set(mut args: Args<'_>, txn: &mut dyn Txn) -> Outcome {
    let key = args.next()?;
    let value = args.next()?;
    if args.is_empty() {
        txn.set(key, value, None)?;
        return Ok(Reply::Ok);
    }
    let options = SetOptions::parse(args, true)?;
    let until = options.lifetime.until(txn.now_ms(), "set")?;
    let old = if options.answers_old { Some(bulk_or_nil(txn.get(key)?)) } else { None };
    let current = txn.get_to_write(key)?;
    let stores = match options.only_if {
        None => true,
        Some(condition) => condition.holds(current, txn)?,
    };
    let deadline = match options.lifetime {
        Lifetime::Keyword => current.and_then(|value| value.deadline()),
        _ => until,
    };
    let answer = old.unwrap_or(if stores { Reply::Ok } else { Reply::Nil });
    if stores {
        txn.set(key, value, deadline)?;
    }
    Ok(answer)
}

/// What stands behind the value in a SET, or behind the last one in an MSETEX.
struct SetOptions<'b> {
    only_if: Option<Condition<'b>>,
    answers_old: bool,
    lifetime: Lifetime<'b>,
}

impl<'b> SetOptions<'b> {
    /// Reads the options; of several keys, none may be about one old value.
    fn parse(mut args: Args<'b>, is_of_one_key: bool) -> Result<SetOptions<'b>, CommandError> {
        let mut options = SetOptions { only_if: None, answers_old: false, lifetime: Lifetime::Unsaid };
        while !args.is_empty() {
            if options.lifetime.take("KEEPTTL", &mut args)? {
                continue;
            } else if args.eat("NX") {
                options.require(Condition::Absent)?;
            } else if args.eat("XX") {
                options.require(Condition::Present)?;
            } else if is_of_one_key && args.eat("GET") {
                options.answers_old = true;
            } else if is_of_one_key && let Some(condition) = Condition::take(&mut args)? {
                options.require(condition)?;
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(options)
    }

    fn require(&mut self, condition: Condition<'b>) -> Result<(), CommandError> {
        if self.only_if.is_some_and(|other| !condition.may_follow(other)) {
            return Err(CommandError::Syntax);
        }
        self.only_if = Some(condition);
        Ok(())
    }
}

/// `SETNX key value`
pub fn setnx(mut args: Args<'_>, txn: &mut dyn Txn) -> Outcome {
    let key = args.next()?;
    let value = args.next()?;
    let absent = txn.get_to_write(key)?.is_none();
    if absent {
        txn.set(key, value, None)?;
    }
    Ok(Reply::flag(absent))
}

/// `SETEX key seconds value`
pub fn setex(args: Args<'_>, txn: &mut dyn Txn) -> Outcome {
    set_for(args, txn, Notation::Seconds, "setex")
}

/// `PSETEX key milliseconds value`
pub fn psetex(args: Args<'_>, txn: &mut dyn Txn) -> Outcome {
    set_for(args, txn, Notation::Milliseconds, "psetex")
}

fn set_for(mut args: Args<'_>, txn: &mut dyn Txn, notation: Notation, command: &str) -> Outcome {
    let key = args.next()?;
    let deadline = notation.deadline(args.next()?, txn.now_ms(), command)?;
    txn.set(key, args.next()?, Some(deadline))?;
    Ok(Reply::Ok)
}

/// The longest lifetime PUT takes, in seconds.
const PUT_SECONDS_MAX: i64 = i32::MAX as i64;

/// `PUT key value [ttl-seconds]`: SET as the line protocol spells it. A ttl of 0 is none.
pub fn put(mut args: Args<'_>, txn: &mut dyn Txn) -> Outcome {
    let key = args.next()?;
    let value = args.next()?;
    let seconds = match args.next_opt() {
        None => 0,
        Some(word) => parse_integer(word)
            .filter(|seconds| (0..=PUT_SECONDS_MAX).contains(seconds))
            .ok_or_else(|| CommandError::custom("ERR ttl must be an integer from 0 to 2147483647 seconds"))?,
    };
    if !args.is_empty() {
        return Err(CommandError::wrong_arity("put").into());
    }
    let deadline = (seconds > 0).then(|| {
        let ms = seconds.unsigned_abs() * 1000;
        Deadline::at_ms(txn.now_ms().saturating_add(ms))
    });
    txn.set(key, value, deadline)?;
    Ok(Reply::Ok)
}

/// `GETSET key value`
pub fn getset(mut args: Args<'_>, txn: &mut dyn Txn) -> Outcome {
    let key = args.next()?;
    let value = args.next()?;
    let old = bulk_or_nil(txn.get(key)?);
    // To clients this is GET and then SET: two uses.
    txn.get_to_write(key)?;
    txn.set(key, value, None)?;
    Ok(old)
}

/// `GETDEL key`
pub fn getdel(mut args: Args<'_>, txn: &mut dyn Txn) -> Outcome {
    let key = args.next()?;
    let Some(value) = txn.get(key)? else {
        return Ok(Reply::Nil);
    };
    let old = bulk(value);
    txn.delete(key)?;
    Ok(old)
}

/// `GETEX key [EX seconds|PX milliseconds|EXAT unix-seconds|PXAT unix-milliseconds|PERSIST]`
pub fn getex(mut args: Args<'_>, txn: &mut dyn Txn) -> Outcome {
    let key = args.next()?;
    let mut lifetime = Lifetime::Unsaid;
    while !args.is_empty() {
        if !lifetime.take("PERSIST", &mut args)? {
            return Err(CommandError::Syntax.into());
        }
    }
    // Whether the number is one is asked only of a key that is there.
    let Some(value) = txn.get(key)? else {
        return Ok(Reply::Nil);
    };
    let until = lifetime.until(txn.now_ms(), "getex")?;
    let changes = match lifetime {
        Lifetime::Unsaid => false,
        Lifetime::Keyword => value.deadline().is_some(),
        Lifetime::Until(..) => true,
    };
    let answer = bulk(value);
    if changes {
        txn.set_deadline(key, until)?;
    }
    Ok(answer)
}

/// `MGET key [key ...]`
pub fn mget(mut args: Args<'_>, txn: &dyn ReadTxn) -> Outcome {
    let mut values = Vec::with_capacity(args.remaining());
    let (mut bytes, mut is_surveyed) = (0, false);
    while let Some(key) = args.next_opt() {
        let value = txn.get(key)?;
        bytes += size_of::<Reply>() + value.as_ref().map_or(0, |value| value.bytes().len());
        if bytes > UNSURVEYED_BYTES_MAX && !is_surveyed {
            // They are locked, so their sizes stay.
            is_surveyed = true;
            let value = bulk_or_nil(value);
            if bytes + bytes_of_rest(args, txn)? > REPLY_BYTES_MAX {
                return Err(outcome::reply_too_large().into());
            }
            values.push(value);
        } else {
            values.push(bulk_or_nil(value));
        }
    }
    Ok(Reply::Array(values))
}

/// Returns how large the values of the remaining keys are in a reply, or more than may be.
fn bytes_of_rest(mut args: Args<'_>, txn: &dyn ReadTxn) -> kvcore::Result<usize> {
    let mut bytes = 0;
    while let Some(key) = args.next_opt()
        && bytes <= REPLY_BYTES_MAX
    {
        bytes += size_of::<Reply>() + txn.peek(key)?.map_or(0, |value| value.len());
    }
    Ok(bytes)
}

/// `MSET key value [key value ...]`; a key named twice keeps the last of its values.
pub fn mset(args: Args<'_>, txn: &mut dyn Txn) -> Outcome {
    for (key, value) in pairs(args, "mset")? {
        txn.set(key, value, None)?;
    }
    Ok(Reply::Ok)
}

/// `MSETNX key value [key value ...]`: all of them, or none if one of the keys is there before.
pub fn msetnx(args: Args<'_>, txn: &mut dyn Txn) -> Outcome {
    for (key, _) in pairs(args, "msetnx")? {
        if txn.get_to_write(key)?.is_some() {
            return Ok(Reply::flag(false));
        }
    }
    for (key, value) in pairs(args, "msetnx")? {
        txn.set(key, value, None)?;
    }
    Ok(Reply::flag(true))
}

fn pairs<'b>(mut args: Args<'b>, command: &str) -> Result<impl Iterator<Item = (&'b [u8], &'b [u8])>, CommandError> {
    if !args.remaining().is_multiple_of(2) {
        return Err(CommandError::wrong_arity(command));
    }
    Ok(std::iter::from_fn(move || Some((args.next_opt()?, args.next_opt()?))))
}

/// `APPEND key value`: the new length. The deadline stays.
pub fn append(mut args: Args<'_>, txn: &mut dyn Txn) -> Outcome {
    let key = args.next()?;
    let tail = args.next()?;
    let length = match txn.get_to_write(key)?.map(|value| value.bytes().len()) {
        // An empty tail makes the key too.
        None => {
            txn.set(key, tail, None)?;
            tail.len()
        }
        // To those who watch the key it has changed.
        Some(length) if tail.is_empty() => {
            txn.mark_changed(key)?;
            length
        }
        Some(length) => txn.write_range(key, length, tail)?,
    };
    Ok(Reply::count(length))
}

/// `STRLEN key`: in bytes; 0 without a key.
pub fn strlen(mut args: Args<'_>, txn: &dyn ReadTxn) -> Outcome {
    let key = args.next()?;
    let length = txn.get(key)?.map_or(0, |value| value.bytes().len());
    Ok(Reply::count(length))
}

/// `INCR key`
pub fn incr(mut args: Args<'_>, txn: &mut dyn Txn) -> Outcome {
    let key = args.next()?;
    add(key, 1, txn)
}

/// `DECR key`
pub fn decr(mut args: Args<'_>, txn: &mut dyn Txn) -> Outcome {
    let key = args.next()?;
    add(key, -1, txn)
}

/// `INCRBY key increment`
pub fn incrby(mut args: Args<'_>, txn: &mut dyn Txn) -> Outcome {
    let key = args.next()?;
    let increment = args.integer()?;
    add(key, increment, txn)
}

/// `DECRBY key decrement`
pub fn decrby(mut args: Args<'_>, txn: &mut dyn Txn) -> Outcome {
    let key = args.next()?;
    let increment =
        args.integer()?.checked_neg().ok_or_else(|| CommandError::custom("ERR decrement would overflow"))?;
    add(key, increment, txn)
}

/// No key counts as 0; the deadline stays.
fn add(key: &[u8], increment: i64, txn: &mut dyn Txn) -> Outcome {
    let (value, deadline) = match txn.get_to_write(key)? {
        None => (0, None),
        Some(value) => (parse_integer(value.bytes()).ok_or(CommandError::NotAnInteger)?, value.deadline()),
    };
    let sum = value.checked_add(increment).ok_or(CommandError::Overflow)?;
    txn.set(key, itoa::Buffer::new().format(sum).as_bytes(), deadline)?;
    Ok(Reply::Integer(sum))
}

/// `INCRBYFLOAT key increment`: the sum in plain decimal notation. No key counts as 0; the deadline stays.
pub fn incrbyfloat(mut args: Args<'_>, txn: &mut dyn Txn) -> Outcome {
    let key = args.next()?;
    let increment = args.next()?;
    let (value, deadline) = match txn.get_to_write(key)? {
        None => (LongDouble::ZERO, None),
        Some(value) => (LongDouble::parse(value.bytes()).ok_or(CommandError::NotAFloat)?, value.deadline()),
    };
    let increment = LongDouble::parse(increment).ok_or(CommandError::NotAFloat)?;
    let sum = value.plus(increment).ok_or(CommandError::NotFinite)?.to_string();
    txn.set(key, sum.as_bytes(), deadline)?;
    Ok(Reply::bulk(sum))
}

/// A value as a reply; a large one is shared, not copied.
fn bulk(value: ValueRef<'_>) -> Reply {
    match value.shared() {
        Some(shared) => Reply::bulk(Arc::clone(shared)),
        None => Reply::bulk(value.bytes()),
    }
}

#[inline]
fn bulk_or_nil(value: Option<ValueRef<'_>>) -> Reply {
    // Not `map_or`: its default would be dropped for each value that is there.
    match value {
        Some(value) => bulk(value),
        None => Reply::Nil,
    }
}

#[cfg(test)]
mod tests;
