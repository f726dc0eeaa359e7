//! Commands on keys whatever their values: DEL, EXISTS, TYPE, RENAME under the locks of the keys they name; KEYS, SCAN,
//! RANDOMKEY, DBSIZE, PRINT over a whole keyspace, without changing it.
//!
//! Invariant: what is listed was alive when it was seen; no order is promised but that of PRINT.

use std::cmp::Ordering;

use kvcore::Deadline;
use kvcore::hooks::{Cursor, ReadTxn, Scan, Txn};
use kvproto::{Args, CommandError, Reply};

use crate::gather::gather;
use crate::glob;
use crate::outcome::Outcome;

/// What every key holds.
const TYPE: &str = "string";

/// `DEL key [key ...]`, also UNLINK, DELETE and REMOVE: how many were there.
pub fn del(mut args: Args<'_>, txn: &mut dyn Txn) -> Outcome {
    let mut removed = 0;
    while let Some(key) = args.next_opt() {
        removed += i64::from(txn.delete(key)?);
    }
    Ok(Reply::Integer(removed))
}

/// `EXISTS key [key ...]`: how many are there, one named twice counting twice.
pub fn exists(mut args: Args<'_>, txn: &dyn ReadTxn) -> Outcome {
    let mut found = 0;
    while let Some(key) = args.next_opt() {
        found += i64::from(txn.look(key)?.is_some());
    }
    Ok(Reply::Integer(found))
}

/// `TOUCH key [key ...]`: as EXISTS, and they count as used.
pub fn touch(mut args: Args<'_>, txn: &dyn ReadTxn) -> Outcome {
    let mut found = 0;
    while let Some(key) = args.next_opt() {
        found += i64::from(txn.get(key)?.is_some());
    }
    Ok(Reply::Integer(found))
}

/// `TYPE key`
pub fn type_(mut args: Args<'_>, txn: &dyn ReadTxn) -> Outcome {
    let key = args.next()?;
    let name = if txn.look(key)?.is_some() { TYPE } else { "none" };
    Ok(Reply::simple(name))
}

/// `RENAME key newkey`: the value and its deadline replace what `newkey` held.
pub fn rename(mut args: Args<'_>, txn: &mut dyn Txn) -> Outcome {
    let from = args.next()?;
    let to = args.next()?;
    let value = txn.get_to_write(from)?.ok_or(CommandError::NoSuchKey)?;
    if from != to {
        let deadline = value.deadline();
        put_in_place(from, to, deadline, txn)?;
    }
    Ok(Reply::Ok)
}

/// `RENAMENX key newkey`: 0, and nothing is changed, if there is a `newkey`.
pub fn renamenx(mut args: Args<'_>, txn: &mut dyn Txn) -> Outcome {
    let from = args.next()?;
    let to = args.next()?;
    let value = txn.get_to_write(from)?.ok_or(CommandError::NoSuchKey)?;
    let deadline = value.deadline();
    // A key that is renamed to itself is looked up once: it is there.
    let free = from != to && txn.get_to_write(to)?.is_none();
    if free {
        put_in_place(from, to, deadline, txn)?;
    }
    Ok(Reply::flag(free))
}

/// Gives a key a new name; what is known of its use goes with it.
fn put_in_place(from: &[u8], to: &[u8], deadline: Option<Deadline>, txn: &mut dyn Txn) -> kvcore::Result<()> {
    let usage = txn.usage(from)?;
    txn.copy(from, to, deadline)?;
    if let Some(usage) = usage {
        txn.set_usage(to, usage)?;
    }
    txn.delete(from)?;
    txn.count_changes(1);
    Ok(())
}

/// `KEYS pattern`
pub fn keys(mut args: Args<'_>, keyspace: &dyn Scan) -> Outcome {
    let pattern = args.next()?;
    let found = gather(|found| {
        keyspace.for_each(&mut |key, _| {
            if selects(pattern, key) {
                found.bulk(key);
            }
        })?;
        Ok(())
    })?;
    Ok(Reply::Array(found))
}

/// `PRINT`: all keys in the order of their bytes.
pub fn print(_: Args<'_>, keyspace: &dyn Scan) -> Outcome {
    let mut found = gather(|found| Ok(keyspace.for_each(&mut |key, _| found.bulk(key))?))?;
    found.sort_unstable_by(|a, b| match (a, b) {
        (Reply::Bulk(a), Reply::Bulk(b)) => a[..].cmp(&b[..]),
        // There are none.
        _ => Ordering::Equal,
    });
    Ok(Reply::Array(found))
}

/// `SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]`
pub fn scan(mut args: Args<'_>, keyspace: &dyn Scan) -> Outcome {
    let cursor = parse_cursor(args.next()?).ok_or(CommandError::InvalidCursor)?;
    let mut pattern = None;
    let mut count = 10;
    let mut of_type = true;
    while !args.is_empty() {
        if args.eat("COUNT") {
            count = args.integer()?;
            if count < 1 {
                return Err(CommandError::Syntax.into());
            }
        } else if args.eat("MATCH") {
            pattern = Some(args.next()?);
        } else if args.eat("TYPE") {
            of_type = args.next()?.eq_ignore_ascii_case(TYPE.as_bytes());
        } else {
            return Err(CommandError::Syntax.into());
        }
    }
    let at_least = usize::try_from(count).unwrap_or(usize::MAX);
    let mut next = Cursor::START;
    let found = gather(|found| {
        next = keyspace.scan_step(Cursor::from(cursor), at_least, &mut |key, _| {
            if of_type && pattern.is_none_or(|pattern| selects(pattern, key)) {
                found.bulk(key);
            }
        })?;
        Ok(())
    })?;
    let next = itoa::Buffer::new().format(u64::from(next)).into();
    Ok(Reply::Array(vec![Reply::Bulk(next), Reply::Array(found)]))
}

/// Redis reads a cursor with C's `strtoul`: nothing is 0, a sign is allowed, a negative number wraps.
fn parse_cursor(word: &[u8]) -> Option<u64> {
    let (negative, digits) = match word {
        [] => return Some(0),
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() {
        return None;
    }
    let value = digits.iter().try_fold(0_u64, |value, digit| {
        let digit = char::from(*digit).to_digit(10)?;
        value.checked_mul(10)?.checked_add(digit.into())
    })?;
    Some(if negative { value.wrapping_neg() } else { value })
}

/// `*` alone selects every key, the empty one too, which no pattern with a star in it matches.
fn selects(pattern: &[u8], key: &[u8]) -> bool {
    pattern == b"*" || glob::matches(pattern, key)
}

/// `RANDOMKEY`
pub fn randomkey(_: Args<'_>, keyspace: &dyn Scan) -> Outcome {
    Ok(Reply::bulk_or_nil(keyspace.random_key()?))
}

/// `DBSIZE`
pub fn dbsize(_: Args<'_>, keyspace: &dyn Scan) -> Outcome {
    Ok(Reply::count(keyspace.len()))
}

#[cfg(test)]
mod tests;
