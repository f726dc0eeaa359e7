//! Parts of a value: SETRANGE, GETRANGE and its old name SUBSTR; and how commands count positions, which BITCOUNT and
//! BITPOS share.
//!
//! Invariant: a [`Span`] lies within the value it was made for, whatever positions the client named.

use kvcore::hooks::{ReadTxn, Txn};
use kvproto::{Args, CommandError, Reply};

use super::bulk;
use crate::cost::charge_copy;
use crate::outcome::Outcome;

/// `SETRANGE key offset value`: the length afterwards. The deadline stays.
pub fn setrange(mut args: Args<'_>, txn: &mut dyn Txn) -> Outcome {
    let key = args.next()?;
    let offset = args.integer()?;
    let bytes = args.next()?;
    let offset = usize::try_from(offset).map_err(|_| CommandError::custom("ERR offset is out of range"))?;
    let length = txn.get_to_write(key)?.map_or(0, |value| value.bytes().len());
    let length = match bytes {
        // Nothing to write makes no key, and lengthens none.
        [] => length,
        bytes => txn.write_range(key, offset, bytes)?,
    };
    Ok(Reply::count(length))
}

/// `GETRANGE key start end` and `SUBSTR key start end`: both ends are part of the range.
pub fn getrange(mut args: Args<'_>, txn: &dyn ReadTxn) -> Outcome {
    let key = args.next()?;
    let (start, end) = (args.integer()?, args.integer()?);
    let Some(value) = txn.get(key)? else {
        return Ok(Reply::bulk(&b""[..]));
    };
    let bytes = value.bytes();
    Ok(match Span::of(start, end, bytes.len() as u64) {
        // A whole large value is shared instead of copied.
        Some(span) if span.len() == bytes.len() as u64 => bulk(value),
        Some(span) => {
            charge_copy(txn, span.len() as usize)?;
            Reply::bulk(span.of_bytes(bytes))
        }
        None => Reply::bulk(&b""[..]),
    })
}

/// The units of a value from `first` to `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) first: u64,
    pub(crate) last: u64,
}

impl Span {
    /// What lies from `start` to `end` in a value of `length` units, negative positions counting from its end; none if
    /// that is empty.
    pub(crate) fn of(start: i64, end: i64, length: u64) -> Option<Span> {
        // Both before the beginning would otherwise meet at the first unit.
        if start < 0 && end < 0 && start > end {
            return None;
        }
        Span::clamped(start, end, length)
    }

    /// The same, but positions before the beginning mean the first unit, in whatever order they are.
    pub(crate) fn clamped(start: i64, end: i64, length: u64) -> Option<Span> {
        let from_start = |position: i64| match u64::try_from(position) {
            Ok(position) => position,
            Err(_) => length.saturating_sub(position.unsigned_abs()),
        };
        let first = from_start(start);
        let last = from_start(end).min(length.checked_sub(1)?);
        (first <= last).then_some(Span { first, last })
    }

    /// How many units it has; never 0.
    pub(crate) fn len(self) -> u64 {
        self.last - self.first + 1
    }

    /// Those bytes, if the units are bytes.
    pub(crate) fn of_bytes(self, bytes: &[u8]) -> &[u8] {
        // Both fit: they are positions in a value in memory.
        bytes.get(self.first as usize..=self.last as usize).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
