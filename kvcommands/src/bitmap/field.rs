//! BITFIELD: integers of 1 to 64 bits at any bit of a value.
//!
//! Invariant: all operations are read and checked before the first is carried out; a field is read from and written to
//! the at most nine bytes it lies in.

use kvcore::hooks::{ReadTxn, Txn};
use kvproto::{Args, CommandError, Reply, parse_integer};

use super::{bad_offset, bit_offset, checked_offset};
use crate::outcome::{Failure, Outcome};

/// `BITFIELD key [GET encoding offset | [OVERFLOW WRAP|SAT|FAIL] SET|INCRBY encoding offset value ...]`
pub fn bitfield(mut args: Args<'_>, txn: &mut dyn Txn) -> Outcome {
    let key = args.next()?;
    let steps = parse(args)?;
    let mut grown = false;
    if let Some(end) = end_of_writes(&steps) {
        let bytes = end.div_ceil(8) as usize;
        // Long enough first, even if every write turns out to overflow and fail.
        if txn.get_to_write(key)?.map_or(0, |value| value.bytes().len()) < bytes {
            txn.write_range(key, bytes - 1, &[0])?;
            grown = true;
        }
    } else {
        txn.get(key)?;
    }
    let mut replies = Vec::with_capacity(steps.len());
    // In a value that has grown, each write counts as a change, whatever it writes.
    let mut changes = 0;
    for step in &steps {
        let (reply, wrote) = step.carry_out(key, txn)?;
        changes += u64::from(wrote || grown && step.action != Action::Get && reply != Reply::Nil);
        replies.push(reply);
    }
    if end_of_writes(&steps).is_some() {
        txn.count_changes(changes);
    }
    Ok(Reply::Array(replies))
}

/// `BITFIELD_RO key [GET encoding offset [GET encoding offset ...]]`
pub fn bitfield_ro(mut args: Args<'_>, txn: &dyn ReadTxn) -> Outcome {
    let key = args.next()?;
    let steps = parse(args)?;
    if end_of_writes(&steps).is_some() {
        return Err(CommandError::custom("ERR BITFIELD_RO only supports the GET subcommand").into());
    }
    let value = txn.get(key)?;
    let bytes = value.as_ref().map_or(&[][..], |value| value.bytes());
    Ok(Reply::Array(steps.iter().map(|step| Reply::count(step.field.read(bytes).1)).collect()))
}

/// Returns the bit behind the last one written; `None` if all steps read.
fn end_of_writes(steps: &[Step]) -> Option<u64> {
    steps.iter().filter(|step| step.action != Action::Get).map(|step| step.field.end()).max()
}

/// One operation of the request.
#[derive(Clone, Copy)]
struct Step {
    field: Field,
    action: Action,
    overflow: Overflow,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Action {
    Get,
    Set(i64),
    Add(i64),
}

/// What becomes of a number that does not fit its field.
#[derive(Clone, Copy)]
enum Overflow {
    Wrap,
    Saturate,
    Fail,
}

/// A number's place and width.
#[derive(Clone, Copy)]
struct Field {
    offset: u64,
    /// 1 to 64; to 63 if unsigned.
    bits: u32,
    signed: bool,
}

fn parse(mut args: Args<'_>) -> Result<Vec<Step>, CommandError> {
    let mut steps = Vec::with_capacity(args.remaining().div_ceil(3));
    let mut overflow = Overflow::Wrap;
    while !args.is_empty() {
        // A keyword without its arguments counts as no keyword.
        let behind = args.remaining() - 1;
        let takes = if behind >= 2 && args.eat("GET") {
            None
        } else if behind >= 3 && args.eat("SET") {
            Some(Action::Set as fn(i64) -> Action)
        } else if behind >= 3 && args.eat("INCRBY") {
            Some(Action::Add as fn(i64) -> Action)
        } else if behind >= 1 && args.eat("OVERFLOW") {
            overflow = Overflow::parse(&mut args)?;
            continue;
        } else {
            return Err(CommandError::Syntax);
        };
        let field = Field::parse(args.next()?, args.next()?)?;
        let action = match takes {
            None => Action::Get,
            Some(action) => action(args.integer()?),
        };
        steps.push(Step { field, action, overflow });
    }
    Ok(steps)
}

impl Overflow {
    fn parse(args: &mut Args<'_>) -> Result<Overflow, CommandError> {
        if args.eat("WRAP") {
            Ok(Overflow::Wrap)
        } else if args.eat("SAT") {
            Ok(Overflow::Saturate)
        } else if args.eat("FAIL") {
            Ok(Overflow::Fail)
        } else {
            Err(CommandError::custom("ERR Invalid OVERFLOW type specified"))
        }
    }
}

impl Field {
    /// From an encoding such as `u8` or `i64`, and an offset in bits or, behind a `#`, in fields.
    fn parse(encoding: &[u8], offset: &[u8]) -> Result<Field, CommandError> {
        let (signed, width) = match encoding {
            [b'i', width @ ..] => (true, parse_integer(width)),
            [b'u', width @ ..] => (false, parse_integer(width)),
            _ => (false, None),
        };
        let bits_max = if signed { 64 } else { 63 };
        let bits = width.filter(|width| (1..=bits_max).contains(width)).ok_or(CommandError::custom(
            "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.",
        ))?;
        let offset = match offset {
            [b'#', number @ ..] => parse_integer(number)
                // Clients know the product to wrap; no bit it could name lies out of reach.
                .map(|number| number.wrapping_mul(bits))
                .and_then(checked_offset)
                .ok_or_else(bad_offset)?,
            offset => bit_offset(offset)?,
        };
        Ok(Field { offset, bits: bits as u32, signed })
    }

    /// Returns the bytes that it lies in, as one number, and its own number. What lies beyond the end of `value` is 0.
    fn read(self, value: &[u8]) -> (u128, i128) {
        let (at, length) = self.bytes();
        let bytes = value.get(at..).unwrap_or_default();
        let raw = (0..length).fold(0, |raw, place| raw << 8 | u128::from(bytes.get(place).copied().unwrap_or(0)));
        (raw, self.number(raw >> self.shift()))
    }

    /// The bit behind it.
    fn end(self) -> u64 {
        self.offset + u64::from(self.bits)
    }

    /// The bytes it lies in: where they begin, and how many there are.
    fn bytes(self) -> (usize, usize) {
        let first = self.offset / 8;
        (first as usize, (self.end().div_ceil(8) - first) as usize)
    }

    /// How far it lies from the end of its bytes.
    fn shift(self) -> u32 {
        // Fewer than 8.
        (self.end().div_ceil(8) * 8 - self.end()) as u32
    }

    /// Its bits at the low end.
    fn mask(self) -> u128 {
        (1 << self.bits) - 1
    }

    /// The least and the greatest number it holds.
    fn range(self) -> (i128, i128) {
        if self.signed { (-(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1) } else { (0, (1 << self.bits) - 1) }
    }

    /// The number that the low bits of `raw` spell.
    fn number(self, raw: u128) -> i128 {
        let number = (raw & self.mask()).cast_signed();
        if number > self.range().1 { number - (1 << self.bits) } else { number }
    }

    /// `number` as the field keeps it, and whether it had to be changed for that; none if it does not fit and must.
    fn fit(self, number: i128, overflow: Overflow) -> Option<i128> {
        let (min, max) = self.range();
        if (min..=max).contains(&number) {
            return Some(number);
        }
        match overflow {
            Overflow::Wrap => Some(self.number(number.cast_unsigned())),
            Overflow::Saturate => Some(number.clamp(min, max)),
            Overflow::Fail => None,
        }
    }
}

/// At most 64 bits that begin anywhere in a byte.
const FIELD_BYTES_MAX: usize = 9;

impl Step {
    /// Whether it sets a field to a number so far below its range that clients know it to saturate at the other end:
    /// the way up from there to the greatest number of the field is longer than 64 bits can say.
    fn is_far_below(self) -> bool {
        let max = i64::MAX >> (64 - self.field.bits);
        match self.action {
            Action::Set(number) if self.field.signed && self.field.bits < 64 => {
                matches!(self.overflow, Overflow::Saturate) && max.checked_sub(number).is_none()
            }
            _ => false,
        }
    }

    /// Returns its reply, and whether it changed the value.
    fn carry_out(&self, key: &[u8], txn: &mut dyn Txn) -> Result<(Reply, bool), Failure> {
        let field = self.field;
        let (at, length) = field.bytes();
        let value = txn.peek(key)?;
        let (raw, old) = field.read(value.as_ref().map_or(&[][..], |value| value.bytes()));
        let wanted = match self.action {
            Action::Get => return Ok((Reply::count(old), false)),
            Action::Set(number) if field.signed => i128::from(number),
            Action::Set(number) => i128::from(number.cast_unsigned()),
            Action::Add(number) => old + i128::from(number),
        };
        let new = match field.fit(wanted, self.overflow) {
            None => return Ok((Reply::Nil, false)),
            Some(min) if self.is_far_below() => -1 - min,
            Some(new) => new,
        };
        if new != old {
            let kept = raw & !(field.mask() << field.shift());
            let changed = kept | (new.cast_unsigned() & field.mask()) << field.shift();
            let changed = changed.to_be_bytes();
            let used = changed.len() - length.min(FIELD_BYTES_MAX);
            txn.write_range(key, at, &changed[used..])?;
        }
        Ok((Reply::count(if matches!(self.action, Action::Set(_)) { old } else { new }), new != old))
    }
}

#[cfg(test)]
mod tests;
