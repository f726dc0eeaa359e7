//! Commands on a value as bits. Bit 0 is the highest of the first byte; what lies beyond the end is 0.
//!
//! Invariant: a write changes, and logs, the bytes its bits lie in and no others.

use std::collections::HashMap;

use kvcore::hooks::{ReadTxn, Txn};
use kvproto::{Args, CommandError, Reply, parse_integer};

use super::string::range::Span;
use crate::cost::{charge_copy, charge_scan};
use crate::gather::gather;
use crate::outcome::Outcome;

pub mod field;

/// Bits beyond the longest value clients can send have no number.
const BITS_MAX: i64 = 512 * 1024 * 1024 * 8;

/// The number of a bit, not below 0.
fn bit_offset(word: &[u8]) -> Result<u64, CommandError> {
    parse_integer(word).and_then(checked_offset).ok_or_else(bad_offset)
}

fn checked_offset(offset: i64) -> Option<u64> {
    u64::try_from(offset).ok().filter(|_| offset < BITS_MAX)
}

fn bad_offset() -> CommandError {
    CommandError::custom("ERR bit offset is not an integer or out of range")
}

/// Where a bit lies: its byte, and its mask in there.
fn place(offset: u64) -> (usize, u8) {
    // The limit on offsets makes the byte's position fit.
    ((offset / 8) as usize, 0x80 >> (offset % 8))
}

/// `SETBIT key offset value`: the bit before. The deadline stays.
pub fn setbit(mut args: Args<'_>, txn: &mut dyn Txn) -> Outcome {
    let key = args.next()?;
    let (at, mask) = place(bit_offset(args.next()?)?);
    let set = match args.next()? {
        b"0" => false,
        b"1" => true,
        _ => return Err(CommandError::custom("ERR bit is not an integer or out of range").into()),
    };
    let there = txn.get_to_write(key)?.and_then(|value| value.bytes().get(at).copied());
    let old = there.unwrap_or(0);
    let new = if set { old | mask } else { old & !mask };
    if there != Some(new) {
        txn.write_range(key, at, &[new])?;
    }
    Ok(Reply::flag(old & mask != 0))
}

/// `GETBIT key offset`
pub fn getbit(mut args: Args<'_>, txn: &dyn ReadTxn) -> Outcome {
    let key = args.next()?;
    let (at, mask) = place(bit_offset(args.next()?)?);
    let byte = txn.get(key)?.and_then(|value| value.bytes().get(at).copied());
    Ok(Reply::flag(byte.unwrap_or(0) & mask != 0))
}

/// `BITCOUNT key [start end [BYTE|BIT]]`
pub fn bitcount(mut args: Args<'_>, txn: &dyn ReadTxn) -> Outcome {
    // The arguments of a key that is not there are not looked at.
    let Some(value) = txn.get(args.next()?)? else {
        return Ok(Reply::Integer(0));
    };
    let bytes = value.bytes();
    if args.is_empty() {
        charge_scan(txn, bytes.len())?;
        return Ok(Reply::count(ones(bytes)));
    }
    if !matches!(args.remaining(), 2 | 3) {
        return Err(CommandError::Syntax.into());
    }
    let (start, end) = (args.integer()?, args.integer()?);
    // An order that can hold nothing is answered before the unit is read.
    if start < 0 && end < 0 && start > end {
        return Ok(Reply::Integer(0));
    }
    let unit = Unit::parse(&mut args)?;
    let Some(bits) = unit.span(start, end, bytes) else {
        return Ok(Reply::Integer(0));
    };
    charge_scan(txn, bits.bytes(bytes).len())?;
    let whole = ones(bits.bytes(bytes));
    let outside = (bits.first_byte(bytes) & !bits.head_mask()).count_ones()
        + (bits.last_byte(bytes) & !bits.tail_mask()).count_ones();
    Ok(Reply::count(whole - u64::from(outside)))
}

/// `BITPOS key bit [start [end [BYTE|BIT]]]`: -1 if there is no such bit. A clear bit follows the end of every value,
/// unless the client said where to stop.
pub fn bitpos(mut args: Args<'_>, txn: &dyn ReadTxn) -> Outcome {
    let key = args.next()?;
    let wanted = match args.integer()? {
        0 => false,
        1 => true,
        _ => return Err(CommandError::custom("ERR The bit argument must be 1 or 0.").into()),
    };
    // Of a key that is not there the rest is not looked at.
    let Some(value) = txn.get(key)? else {
        return Ok(Reply::Integer(if wanted { -1 } else { 0 }));
    };
    let bytes = value.bytes();
    if args.remaining() > 3 {
        return Err(CommandError::Syntax.into());
    }
    let start = if args.is_empty() { 0 } else { args.integer()? };
    let end = args.next_opt();
    let unit = Unit::parse(&mut args)?;
    let last = end.map_or(Some(-1), parse_integer).ok_or(CommandError::NotAnInteger)?;
    let Some(bits) = unit.span(start, last, bytes) else {
        return Ok(Reply::Integer(-1));
    };
    charge_scan(txn, bits.bytes(bytes).len())?;
    let found = bits.find(wanted, bytes);
    Ok(match found {
        Some(position) => Reply::count(position),
        None if !wanted && end.is_none() => Reply::count(bytes.len() as u64 * 8),
        None => Reply::Integer(-1),
    })
}

/// Nanoseconds that a position in a reply takes.
const POSITION_NS: u64 = 30;

/// `BITRANGEINTARRAY key start end [BYTE|BIT] [LIMIT count] [ZEROS]` of Redis 8.12: the positions of the set bits in a range, or
/// of the clear ones. A limit in bytes is not applied within a byte, so that the next range can begin with the next byte.
pub fn bitrangeintarray(mut args: Args<'_>, txn: &dyn ReadTxn) -> Outcome {
    let key = args.next()?;
    let (start, end) = (args.integer()?, args.integer()?);
    let (mut unit, mut limit, mut zeros) = (None, None, false);
    while !args.is_empty() {
        if unit.is_none() && args.eat("BIT") {
            unit = Some(Unit::Bit);
        } else if unit.is_none() && args.eat("BYTE") {
            unit = Some(Unit::Byte);
        } else if limit.is_none() && args.eat("LIMIT") {
            let count = usize::try_from(args.integer()?).ok().filter(|count| *count > 0);
            limit = Some(count.ok_or_else(|| CommandError::custom("ERR LIMIT must be a positive integer"))?);
        } else if !zeros && args.eat("ZEROS") {
            zeros = true;
        } else {
            return Err(CommandError::Syntax.into());
        }
    }
    let unit = unit.unwrap_or(Unit::Byte);
    let Some(value) = txn.get(key)? else {
        return Ok(Reply::Array(Vec::new()));
    };
    let bytes = value.bytes();
    // As of BITCOUNT, positions before the beginning are in order, too.
    let is_backwards = start < 0 && end < 0 && start > end;
    let Some(bits) = unit.span(start, end, bytes).filter(|_| !is_backwards) else {
        return Ok(Reply::Array(Vec::new()));
    };
    // Each byte is looked at by itself, and may give eight positions.
    let looked_at = bits.bytes(bytes).len();
    let positions_max = limit.map_or(looked_at.saturating_mul(8), |limit| limit.min(looked_at.saturating_mul(8)));
    txn.charge(looked_at as u64 + positions_max as u64 * POSITION_NS)?;
    Ok(Reply::Array(gather(|positions| {
        let mut left = limit.unwrap_or(usize::MAX);
        for (at, wanted) in bits.wanted(!zeros, bytes) {
            let mut wanted = wanted;
            while wanted != 0 && (left > 0 || unit == Unit::Byte) {
                let bit = wanted.leading_zeros();
                wanted &= !(0x80 >> bit);
                left = left.saturating_sub(1);
                positions.push(Reply::count(at + u64::from(bit)));
            }
            if left == 0 || positions.is_too_large() {
                break;
            }
        }
        Ok(())
    })?))
}

/// What positions count.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Byte,
    Bit,
}

impl Unit {
    /// The last word of the request; bytes if there is none.
    fn parse(args: &mut Args<'_>) -> Result<Unit, CommandError> {
        if args.eat("BIT") {
            Ok(Unit::Bit)
        } else if args.is_empty() || args.eat("BYTE") {
            Ok(Unit::Byte)
        } else {
            Err(CommandError::Syntax)
        }
    }

    fn span(self, start: i64, end: i64, bytes: &[u8]) -> Option<BitSpan> {
        let length = bytes.len() as u64;
        let Span { first, last } = match self {
            Unit::Bit => Span::clamped(start, end, length * 8)?,
            Unit::Byte => {
                let span = Span::clamped(start, end, length)?;
                Span { first: span.first * 8, last: span.last * 8 + 7 }
            }
        };
        Some(BitSpan { first, last })
    }
}

/// The bits from `first` to `last`, both included, all within a value.
#[derive(Clone, Copy)]
struct BitSpan {
    first: u64,
    last: u64,
}

impl BitSpan {
    /// The bytes they lie in.
    fn bytes(self, value: &[u8]) -> &[u8] {
        Span { first: self.first / 8, last: self.last / 8 }.of_bytes(value)
    }

    fn first_byte(self, value: &[u8]) -> u8 {
        self.bytes(value).first().copied().unwrap_or(0)
    }

    fn last_byte(self, value: &[u8]) -> u8 {
        self.bytes(value).last().copied().unwrap_or(0)
    }

    /// Which bits of the first byte are not before the span.
    fn head_mask(self) -> u8 {
        0xff >> (self.first % 8)
    }

    /// Which bits of the last byte are not behind it.
    fn tail_mask(self) -> u8 {
        0xff << (7 - self.last % 8)
    }

    /// Of each byte that has bits of the span that are as wanted, where it begins and these bits.
    fn wanted(self, set: bool, value: &[u8]) -> impl Iterator<Item = (u64, u8)> {
        let bytes = self.bytes(value);
        let unlike = if set { 0x00 } else { 0xff };
        let (from, last) = (self.first / 8 * 8, bytes.len().saturating_sub(1));
        bytes.iter().enumerate().filter(move |(_, byte)| **byte != unlike).filter_map(move |(at, byte)| {
            let head = if at == 0 { self.head_mask() } else { 0xff };
            let tail = if at == last { self.tail_mask() } else { 0xff };
            let wanted = (byte ^ unlike) & head & tail;
            (wanted != 0).then(|| (from + at as u64 * 8, wanted))
        })
    }

    /// The position of the first bit that is as wanted.
    fn find(self, wanted: bool, value: &[u8]) -> Option<u64> {
        // Bits beside the span are made unlike the one wanted; then the search is for bytes that are not uniform.
        let unlike = if wanted { 0x00 } else { 0xff };
        let as_wanted = |byte: u8, mask: u8| (byte ^ unlike) & mask;
        let bytes = self.bytes(value);
        let from = self.first / 8 * 8;
        let position = |at: usize, found: u8| from + at as u64 * 8 + u64::from(found.leading_zeros());
        let (tail, head_and_middle) = bytes.split_last()?;
        let Some((head, middle)) = head_and_middle.split_first() else {
            let found = as_wanted(*tail, self.head_mask() & self.tail_mask());
            return (found != 0).then(|| position(0, found));
        };
        let found = as_wanted(*head, self.head_mask());
        if found != 0 {
            return Some(position(0, found));
        }
        if let Some(at) = first_other(middle, unlike) {
            return Some(position(at + 1, middle[at] ^ unlike));
        }
        let found = as_wanted(*tail, self.tail_mask());
        (found != 0).then(|| position(bytes.len() - 1, found))
    }
}

/// How many bits are set; eight bytes at a time.
fn ones(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let in_words: u64 = words.iter().map(|word| u64::from(u64::from_ne_bytes(*word).count_ones())).sum();
    in_words + rest.iter().map(|byte| u64::from(byte.count_ones())).sum::<u64>()
}

/// Where the first byte lies that is not `byte`; eight bytes at a time.
fn first_other(bytes: &[u8], byte: u8) -> Option<usize> {
    let (words, _) = bytes.as_chunks::<8>();
    let same = words.iter().take_while(|word| **word == [byte; 8]).count() * 8;
    bytes[same..].iter().position(|other| *other != byte).map(|at| same + at)
}

/// `BITOP AND|OR|XOR|NOT|DIFF|DIFF1|ANDOR|ONE destkey key [key ...]`: the length of the outcome. Shorter values count as filled with zeros.
pub fn bitop(mut args: Args<'_>, txn: &mut dyn Txn) -> Outcome {
    let operation = args.next()?;
    let (name, operation) = *OPERATIONS
        .iter()
        .find(|(name, _)| name.as_bytes().eq_ignore_ascii_case(operation))
        .ok_or(CommandError::Syntax)?;
    let target = args.next()?;
    if operation == Operation::Not && args.remaining() != 1 {
        return Err(CommandError::custom("ERR BITOP NOT must be called with a single source key.").into());
    }
    if operation.sets_first_apart() && args.remaining() < 2 {
        let text = format!("ERR BITOP {name} must be called with at least two source keys.");
        return Err(CommandError::custom(text).into());
    }
    // A hit or a miss each time that a key is named, but its value is looked at once.
    let mut named = args;
    while let Some(key) = named.next_opt() {
        txn.get(key)?;
    }
    let apart = if operation.sets_first_apart() { Some(args.next()?) } else { None };
    let sources = distinct(std::iter::from_fn(|| args.next_opt()));
    for (key, count) in apart.iter().map(|key| (key, 1)).chain(sources.iter().map(|(key, count)| (key, *count))) {
        let len = txn.peek(key)?.map_or(0, |value| value.len());
        charge_copy(txn, len * operation.times(count))?;
    }
    let mut outcome = Vec::new();
    // For ONE: the bits that more than one value has.
    let mut several = Vec::new();
    for (number, (key, count)) in sources.iter().enumerate() {
        let value = txn.peek(key)?;
        let bytes = value.as_ref().map_or(&b""[..], |value| value.bytes());
        for time in 0..operation.times(*count) {
            match (number, time) {
                (0, 0) => outcome.extend_from_slice(bytes),
                _ => operation.combine(&mut outcome, &mut several, bytes),
            }
        }
    }
    let apart = apart.map_or(Ok(None), |key| txn.peek(key))?;
    operation.finish(&mut outcome, &several, apart.as_ref().map_or(&[], |value| value.bytes()));
    if outcome.is_empty() {
        txn.delete(target)?;
    } else {
        // A use of its own, though it may be a source too.
        txn.get_to_write(target)?;
        txn.set(target, &outcome, None)?;
    }
    Ok(Reply::count(outcome.len()))
}

/// The keys, each once and in the order in which they come first, and how often each comes.
fn distinct<'k>(keys: impl Iterator<Item = &'k [u8]>) -> Vec<(&'k [u8], usize)> {
    let (mut distinct, mut places) = (Vec::new(), HashMap::new());
    for key in keys {
        let place = *places.entry(key).or_insert(distinct.len());
        match distinct.get_mut(place) {
            Some((_, count)) => *count += 1,
            None => distinct.push((key, 1)),
        }
    }
    distinct
}

const OPERATIONS: [(&str, Operation); 8] = [
    ("AND", Operation::And),
    ("OR", Operation::Or),
    ("XOR", Operation::Xor),
    ("NOT", Operation::Not),
    ("DIFF", Operation::Diff),
    ("DIFF1", Operation::Diff1),
    ("ANDOR", Operation::AndOr),
    ("ONE", Operation::One),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    And,
    Or,
    Xor,
    Not,
    /// The bits of the first value that no other has.
    Diff,
    /// The bits that others have and the first value has not.
    Diff1,
    /// The bits of the first value that any other has.
    AndOr,
    /// The bits that exactly one value has.
    One,
}

impl Operation {
    /// Whether the first value is not one of those that are combined.
    fn sets_first_apart(self) -> bool {
        matches!(self, Operation::Diff | Operation::Diff1 | Operation::AndOr)
    }

    /// How often a value that is named `count` times has to be worked in.
    fn times(self, count: usize) -> usize {
        match self {
            // Twice is as good as not at all, save for the length.
            Operation::Xor => 2 - count % 2,
            Operation::One => count.min(2),
            _ => 1,
        }
    }

    /// Works `value` into `outcome`, which becomes as long as the longer of the two.
    fn combine(self, outcome: &mut Vec<u8>, several: &mut Vec<u8>, value: &[u8]) {
        extend(outcome, value.len());
        if self == Operation::One {
            extend(several, outcome.len());
            for ((several, one), other) in several.iter_mut().zip(&*outcome).zip(value) {
                *several |= one & other;
            }
        }
        let (both, beyond) = outcome.split_at_mut(value.len());
        let pairs = both.iter_mut().zip(value);
        match self {
            Operation::And => {
                pairs.for_each(|(byte, other)| *byte &= other);
                beyond.fill(0);
            }
            Operation::Xor => pairs.for_each(|(byte, other)| *byte ^= other),
            // Has one source, which is the outcome already.
            Operation::Not => {}
            _ => pairs.for_each(|(byte, other)| *byte |= other),
        }
    }

    /// Makes `outcome` what the command stores: `apart` is the first value if that was set apart.
    fn finish(self, outcome: &mut Vec<u8>, several: &[u8], apart: &[u8]) {
        extend(outcome, apart.len());
        match self {
            Operation::Not => outcome.iter_mut().for_each(|byte| *byte = !*byte),
            Operation::One => outcome.iter_mut().zip(several).for_each(|(byte, several)| *byte &= !several),
            _ if self.sets_first_apart() => {
                let first = apart.iter().copied().chain(std::iter::repeat(0));
                for (byte, first) in outcome.iter_mut().zip(first) {
                    *byte = match self {
                        Operation::Diff => first & !*byte,
                        Operation::Diff1 => *byte & !first,
                        _ => first & *byte,
                    };
                }
            }
            _ => {}
        }
    }
}

/// Makes a value at least so long, with zeros.
fn extend(bytes: &mut Vec<u8>, len: usize) {
    if bytes.len() < len {
        bytes.resize(len, 0);
    }
}

#[cfg(test)]
mod tests;
