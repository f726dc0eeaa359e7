//! The 80-bit float in which Redis does INCRBYFLOAT: read, add, write.
//!
//! Redis counts in `long double`, which on x86-64 has a significand of 64 bits, and shows 17 digits behind the point of
//! the result, rounding errors included: 1000000.1 + 1 is 1000001.10000000000002274, and 1000001.09999999997671694 as an
//! f64. Of 10,000 sums of everyday decimals an f64 gives 8 % as Redis does, and 12 % if the digits it needs are written and
//! no more: `tests/tests/float_sums.rs` is the reason for this code.
//!
//! Invariant: reading, adding and writing each give the exact result rounded once, to nearest, ties to even. Sizes are
//! bounded before anything is computed: a text has at most [`TEXT_BYTES_MAX`] bytes, an exponent that cannot matter is
//! refused, so the largest number ever held has about 33,500 bits.

use std::cmp::Ordering;

use num_bigint::BigUint;
use num_integer::Integer;

/// Redis reads numbers through a buffer of 5 KiB, its terminator included.
const TEXT_BYTES_MAX: usize = 5 * 1024 - 1;

/// The exponent of the last bit of the smallest subnormal number.
const EXPONENT_MIN: i32 = -16_445;

/// The exponent of the last bit of the largest numbers.
const EXPONENT_MAX: i32 = 16_320;

/// Bounds for m in 10^(m-1) <= x < 10^m: beyond the first x is too large for the format, beyond the second it is zero.
const MAGNITUDES: std::ops::RangeInclusive<i64> = -4_950..=4_933;

/// What `%.17Lf` shows behind the point.
const FRACTION_DIGITS: u32 = 17;

/// A number as a value or an argument spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LongDouble {
    Finite(Finite),
    /// Of either sign: nothing can be added to it.
    Infinite,
}

/// `significand * 2^exponent`; the significand's top bit is set unless the number is zero or subnormal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Finite {
    negative: bool,
    significand: u64,
    exponent: i32,
}

impl LongDouble {
    pub(super) const ZERO: LongDouble = LongDouble::Finite(Finite::zero(false));

    /// Reads what C's `strtold` reads: decimal, hexadecimal, infinity. No blanks, nothing behind the number, no NaN, and
    /// nothing that is too large for the format or so small that it would be read as zero.
    pub(super) fn parse(text: &[u8]) -> Option<LongDouble> {
        if text.len() > TEXT_BYTES_MAX {
            return None;
        }
        let (negative, text) = sign(text);
        if text.eq_ignore_ascii_case(b"inf") || text.eq_ignore_ascii_case(b"infinity") {
            return Some(LongDouble::Infinite);
        }
        let finite = match *text {
            [b'0', b'x' | b'X', ref digits @ ..] => parse_hexadecimal(negative, digits)?,
            _ => parse_decimal(negative, text)?,
        };
        Some(LongDouble::Finite(finite))
    }

    /// The sum, unless it is infinite or not a number.
    pub(super) fn plus(self, other: LongDouble) -> Option<Finite> {
        match (self, other) {
            (LongDouble::Finite(a), LongDouble::Finite(b)) => a.plus(b),
            _ => None,
        }
    }
}

impl Finite {
    pub(super) const fn zero(negative: bool) -> Finite {
        Finite { negative, significand: 0, exponent: EXPONENT_MIN }
    }

    /// Returns the number of this sign that is farthest from zero.
    pub(super) const fn largest(negative: bool) -> Finite {
        Finite { negative, significand: u64::MAX, exponent: EXPONENT_MAX }
    }

    /// Returns whether it is below zero.
    pub(super) fn is_negative(self) -> bool {
        self.negative && self.significand != 0
    }

    /// Returns the number with the other sign.
    pub(super) fn negated(self) -> Finite {
        Finite { negative: !self.negative, ..self }
    }

    /// Returns which of two numbers is the larger one; zero has no sign.
    pub(super) fn compare(self, other: Finite) -> Ordering {
        // The top bit is set but where the exponent is the smallest, so the exponent decides first.
        let size = |number: Finite| (number.exponent, number.significand);
        match (self.is_negative(), other.is_negative()) {
            (false, false) => size(self).cmp(&size(other)),
            (true, true) => size(other).cmp(&size(self)),
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
        }
    }

    /// Rounds `wide * 2^exponent`, plus something less than one unit of `wide` if `more`. None when it is too large.
    /// Only a `wide` of at least 66 bits may have more to it: fewer would leave nothing to round.
    fn round(negative: bool, wide: u128, exponent: i32, more: bool) -> Option<Finite> {
        let length = 128 - wide.leading_zeros() as i32;
        // To 64 bits, or fewer where the last of them would lie below the smallest exponent.
        let drop = (length - 64).max(EXPONENT_MIN - exponent);
        let kept = if drop < 0 { wide << -drop } else { shift_right(wide, drop.unsigned_abs(), more) };
        let (significand, exponent) = match u64::try_from(kept) {
            Ok(0) => return Some(Finite::zero(negative)),
            Ok(significand) => (significand, exponent + drop),
            Err(_) => (1 << 63, exponent + drop + 1),
        };
        (exponent <= EXPONENT_MAX).then_some(Finite { negative, significand, exponent })
    }

    pub(super) fn plus(self, other: Finite) -> Option<Finite> {
        let (large, small) = if self.exponent >= other.exponent { (self, other) } else { (other, self) };
        // 62 bits of room below: what is shifted out still decides a tie, so it lives on in the last bit.
        let distance = large.exponent.abs_diff(small.exponent);
        let wide = u128::from(small.significand) << 62;
        let aligned = wide.checked_shr(distance).unwrap_or(0);
        let lost = wide != 0 && aligned.checked_shl(distance) != Some(wide);
        let b = aligned | u128::from(lost);
        let a = u128::from(large.significand) << 62;
        let (negative, sum) = if large.negative == small.negative {
            (large.negative, a + b)
        } else if a >= b {
            (large.negative, a - b)
        } else {
            (small.negative, b - a)
        };
        Finite::round(negative, sum, large.exponent - 62, false)
    }
}

/// As `%.17Lf` with the zeros at the end trimmed; zero has no sign.
impl std::fmt::Display for Finite {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sign = if self.negative { "-" } else { "" };
        let Ok(places) = u32::try_from(-self.exponent) else {
            let integer = BigUint::from(self.significand) << self.exponent.unsigned_abs();
            return write!(out, "{sign}{integer}");
        };
        let one = 10_u128.pow(FRACTION_DIGITS);
        // Less than 2^121 before the shift.
        let scaled = shift_right(u128::from(self.significand) * one, places, false);
        match (scaled / one, scaled % one) {
            (0, 0) => out.write_str("0"),
            (integer, 0) => write!(out, "{sign}{integer}"),
            (integer, fraction) => {
                let digits = format!("{fraction:017}");
                write!(out, "{sign}{integer}.{}", digits.trim_end_matches('0'))
            }
        }
    }
}

/// Returns `wide / 2^places`, and if `more` something less than one unit of `wide`, rounded to nearest, ties to even.
fn shift_right(wide: u128, places: u32, more: bool) -> u128 {
    match places {
        0 => wide,
        1..=127 => {
            let (kept, dropped, half) = (wide >> places, wide & ((1 << places) - 1), 1 << (places - 1));
            let up = dropped > half || dropped == half && (more || kept & 1 == 1);
            kept + u128::from(up)
        }
        _ => 0,
    }
}

fn sign(text: &[u8]) -> (bool, &[u8]) {
    match *text {
        [b'-', ref rest @ ..] => (true, rest),
        [b'+', ref rest @ ..] => (false, rest),
        _ => (false, text),
    }
}

/// Splits `123.45e6` into its integer digits, its fraction digits and its exponent, 0 if there is none.
fn split_number<'t>(text: &'t [u8], is_digit: fn(&u8) -> bool, mark: u8) -> Option<(&'t [u8], &'t [u8], i64)> {
    let run = |text: &'t [u8]| {
        let length = text.iter().take_while(|byte| is_digit(byte)).count();
        text.split_at(length)
    };
    let (integer, rest) = run(text);
    let (fraction, rest) = match *rest {
        [b'.', ref rest @ ..] => run(rest),
        _ => (&[][..], rest),
    };
    if integer.is_empty() && fraction.is_empty() {
        return None;
    }
    let exponent = match *rest {
        [] => 0,
        [first, ref rest @ ..] if first.eq_ignore_ascii_case(&mark) => {
            let (negative, digits) = sign(rest);
            if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
                return None;
            }
            let size = digits
                .iter()
                .fold(0_i64, |value, digit| value.saturating_mul(10).saturating_add(i64::from(digit - b'0')));
            if negative { -size } else { size }
        }
        _ => return None,
    };
    Some((integer, fraction, exponent))
}

fn parse_decimal(negative: bool, text: &[u8]) -> Option<Finite> {
    let (integer, fraction, exponent) = split_number(text, u8::is_ascii_digit, b'e')?;
    let digits = integer.iter().chain(fraction).copied();
    let count = match digits.clone().position(|digit| digit != b'0') {
        None => return Some(Finite::zero(negative)),
        Some(zeros) => integer.len() + fraction.len() - zeros,
    };
    let exponent = exponent.saturating_sub(fraction.len() as i64);
    if !MAGNITUDES.contains(&exponent.saturating_add(count as i64)) {
        return None;
    }
    // The number is a ratio of naturals, scaled so that the quotient has 67 or 68 bits: more than rounding looks at.
    let digits: Vec<u8> = digits.collect();
    let mut numerator = BigUint::parse_bytes(&digits, 10)?;
    let mut denominator = BigUint::from(10_u32).pow(u32::try_from(exponent.unsigned_abs()).ok()?);
    if exponent >= 0 {
        numerator *= std::mem::replace(&mut denominator, BigUint::from(1_u32));
    }
    let scale = numerator.bits() as i32 - denominator.bits() as i32 - 67;
    if scale > 0 {
        denominator <<= scale
    } else {
        numerator <<= -scale
    }
    let (quotient, rest) = numerator.div_rem(&denominator);
    let finite = Finite::round(negative, u128::try_from(quotient).ok()?, scale, rest != BigUint::ZERO)?;
    (finite.significand != 0).then_some(finite)
}

fn parse_hexadecimal(negative: bool, text: &[u8]) -> Option<Finite> {
    let (integer, fraction, exponent) = split_number(text, u8::is_ascii_hexdigit, b'p')?;
    let exponent = exponent.saturating_sub(4 * fraction.len() as i64);
    let (mut wide, mut skipped, mut more) = (0_u128, 0, false);
    for &digit in integer.iter().chain(fraction) {
        let value = char::from(digit).to_digit(16).unwrap_or(0);
        if wide >> 120 == 0 {
            wide = wide << 4 | u128::from(value);
        } else {
            skipped += 4;
            more |= value != 0;
        }
    }
    if wide == 0 {
        return Some(Finite::zero(negative));
    }
    // Far beyond either end of the format, and far from overflowing an i32.
    let exponent = exponent.saturating_add(skipped).clamp(-1_000_000, 1_000_000);
    let finite = Finite::round(negative, wide, exponent as i32, more)?;
    (finite.significand != 0).then_some(finite)
}

#[cfg(test)]
mod tests;
