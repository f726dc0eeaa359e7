//! HyperLogLog: PFADD, PFCOUNT, PFMERGE. An estimate of how many distinct elements were added, in at most 12 KiB.
//!
//! Invariant: a value is checked before it is believed, since any client can store its bytes; what is stored is byte
//! for byte what Redis stores, so values move between servers.

use kvcore::ValueRef;
use kvcore::hooks::Txn;
use kvproto::{Args, CommandError, Reply};
use std::collections::HashSet;

use crate::config::CommandConfig;
use crate::outcome::Outcome;
use header::{CARDINALITY_AT, UNKNOWN, known_cardinality};
use registers::Registers;
use sketch::{Form, Sketch};

pub(crate) mod estimate;
pub(crate) mod header;
pub(crate) mod registers;
pub(crate) mod sketch;
pub(crate) mod sparse;

/// What looking at all registers costs, about, in nanoseconds.
const REGISTERS_NS: u64 = 20_000;
/// What adding an element to a sparse sketch costs, about, in nanoseconds.
const ELEMENT_NS: u64 = 500;

fn not_one() -> CommandError {
    CommandError::custom("WRONGTYPE Key is not a valid HyperLogLog string value.")
}

pub(crate) fn corrupted() -> CommandError {
    CommandError::custom("INVALIDOBJ Corrupted HLL object detected")
}

/// The form of a value that claims to be one of ours.
pub(crate) fn form_of(value: ValueRef<'_>) -> Result<Form, CommandError> {
    Form::of(value.bytes()).ok_or_else(not_one)
}

/// `PFADD key [element ...]`: 1 if the estimate may have changed. The deadline stays.
pub fn pfadd(mut args: Args<'_>, txn: &mut dyn Txn, config: &CommandConfig) -> Outcome {
    let key = args.next()?;
    txn.charge(args.remaining() as u64 * ELEMENT_NS)?;
    // Each register that rises counts as a change, and the making of a sketch as one.
    let (mut sketch, deadline, mut changes) = match txn.get_to_write(key)? {
        None => (Sketch::new(), None, 1),
        Some(value) if form_of(value)? == Form::Dense => return add_to_dense(key, args, txn),
        Some(value) => {
            txn.charge(value.len() as u64)?;
            (Sketch::read(value.bytes()).ok_or_else(corrupted)?, value.deadline(), 0)
        }
    };
    sketch.keep_sparse_up_to(config.hll_sparse_bytes_max);
    while let Some(element) = args.next_opt() {
        let (register, rank) = estimate::rank(element);
        changes += u64::from(sketch.raise(register, rank).ok_or_else(corrupted)?);
    }
    if changes > 0 {
        sketch.forget_cardinality();
        txn.set(key, sketch.bytes(), deadline)?;
        txn.count_changes(changes);
    }
    Ok(Reply::flag(changes > 0))
}

/// Writes, and so logs, no more than the bytes of the registers that rise.
fn add_to_dense(key: &[u8], mut args: Args<'_>, txn: &mut dyn Txn) -> Outcome {
    let mut changes = 0;
    while let Some(element) = args.next_opt() {
        let (register, rank) = estimate::rank(element);
        let raised = txn.peek(key)?.and_then(|value| sketch::raised(value.bytes(), register, rank));
        if let Some((at, bytes)) = raised {
            txn.write_range(key, at, &bytes)?;
            changes += 1;
        }
    }
    let flag_at = CARDINALITY_AT + 7;
    let flags = txn.peek(key)?.and_then(|value| value.bytes().get(flag_at).copied()).unwrap_or(UNKNOWN);
    if changes > 0 && flags & UNKNOWN == 0 {
        txn.write_range(key, flag_at, &[flags | UNKNOWN])?;
    }
    txn.count_changes(changes);
    Ok(Reply::flag(changes > 0))
}

/// `PFCOUNT key [key ...]`: how many distinct elements were added to any of them. Of one key, the answer is kept in the
/// value for the next time.
pub fn pfcount(mut args: Args<'_>, txn: &mut dyn Txn) -> Outcome {
    if args.remaining() > 1 {
        let mut union = Registers::new();
        let mut known = HashSet::new();
        while let Some(key) = args.next_opt() {
            if let Some(value) = txn.get(key)?
                && known.insert(key)
            {
                form_of(value)?;
                txn.charge(REGISTERS_NS + value.len() as u64)?;
                union.take_in(value.bytes()).ok_or_else(corrupted)?;
            }
        }
        return Ok(Reply::count(union.cardinality()));
    }
    let key = args.next()?;
    let Some(value) = txn.get(key)? else {
        return Ok(Reply::Integer(0));
    };
    form_of(value)?;
    if let Some(known) = known_cardinality(value.bytes()) {
        return Ok(Reply::count(known));
    }
    txn.charge(REGISTERS_NS + value.len() as u64)?;
    let cardinality = registers::cardinality_of(value.bytes()).ok_or_else(corrupted)?;
    txn.write_range(key, CARDINALITY_AT, &cardinality.to_le_bytes())?;
    Ok(Reply::count(cardinality))
}

/// `PFMERGE destkey [sourcekey ...]`: what was added to any of the keys, the first included, was added to the first.
pub fn pfmerge(mut args: Args<'_>, txn: &mut dyn Txn, config: &CommandConfig) -> Outcome {
    let target = args.next()?;
    let mut union = Registers::new();
    let mut dense = false;
    let (mut sketch, mut deadline) = (Sketch::new(), None);
    if let Some(value) = txn.get(target)? {
        dense |= form_of(value)? == Form::Dense;
        txn.charge(2 * (REGISTERS_NS + value.len() as u64))?;
        union.take_in(value.bytes()).ok_or_else(corrupted)?;
        (sketch, deadline) = (Sketch::read(value.bytes()).ok_or_else(corrupted)?, value.deadline());
    }
    let mut known = HashSet::from([target]);
    while let Some(key) = args.next_opt() {
        if let Some(value) = txn.get(key)?
            && known.insert(key)
        {
            dense |= form_of(value)? == Form::Dense;
            txn.charge(REGISTERS_NS + value.len() as u64)?;
            union.take_in(value.bytes()).ok_or_else(corrupted)?;
        }
    }
    if dense {
        sketch.make_dense().ok_or_else(corrupted)?;
    }
    sketch.keep_sparse_up_to(config.hll_sparse_bytes_max);
    for (register, rank) in union.raised() {
        sketch.raise(register, rank).ok_or_else(corrupted)?;
    }
    sketch.forget_cardinality();
    // A use of its own, though it is a source too.
    txn.get_to_write(target)?;
    txn.set(target, sketch.bytes(), deadline)?;
    Ok(Reply::Ok)
}

#[cfg(test)]
mod tests;
