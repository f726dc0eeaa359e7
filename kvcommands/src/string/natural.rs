//! Natural numbers of any size: what reading and writing a long double exactly takes, and no more.
//!
//! Invariant: the most significant limb is not zero; zero has no limbs. Callers bound the size: see `long_double`.

use std::cmp::Ordering;

/// Base 2^32, least significant limb first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Natural(Vec<u32>);

/// The largest power of ten in a limb, and its exponent: decimal digits go in and out nine at a time.
const CHUNK: (u32, usize) = (1_000_000_000, 9);

impl Natural {
    pub(super) fn from_u64(value: u64) -> Natural {
        let mut natural = Natural(vec![value as u32, (value >> 32) as u32]);
        natural.trim();
        natural
    }

    /// The number these ASCII digits spell.
    pub(super) fn from_digits(digits: impl Iterator<Item = u8>) -> Natural {
        let mut natural = Natural(Vec::new());
        let (mut scale, mut chunk) = (1, 0);
        for digit in digits {
            chunk = chunk * 10 + u32::from(digit - b'0');
            scale *= 10;
            if scale == CHUNK.0 {
                natural.multiply_add(scale, chunk);
                (scale, chunk) = (1, 0);
            }
        }
        natural.multiply_add(scale, chunk);
        natural
    }

    pub(super) fn multiply_by_power_of_ten(&mut self, exponent: usize) {
        for _ in 0..exponent / CHUNK.1 {
            self.multiply_add(CHUNK.0, 0);
        }
        for _ in 0..exponent % CHUNK.1 {
            self.multiply_add(10, 0);
        }
    }

    fn multiply_add(&mut self, factor: u32, addend: u32) {
        let mut carry = u64::from(addend);
        for limb in &mut self.0 {
            carry += u64::from(*limb) * u64::from(factor);
            *limb = carry as u32;
            carry >>= 32;
        }
        if carry > 0 {
            self.0.push(carry as u32);
        }
    }

    pub(super) fn shift_left(&mut self, bits: usize) {
        if self.is_zero() {
            return;
        }
        let rest = bits % 32;
        if rest > 0 {
            let mut carry = 0;
            for limb in &mut self.0 {
                let wide = u64::from(*limb) << rest | carry;
                *limb = wide as u32;
                carry = wide >> 32;
            }
            if carry > 0 {
                self.0.push(carry as u32);
            }
        }
        self.0.splice(0..0, std::iter::repeat_n(0, bits / 32));
    }

    /// Takes `other` off and answers true, unless it is the larger of the two.
    pub(super) fn subtract_if_not_less(&mut self, other: &Natural) -> bool {
        if *self < *other {
            return false;
        }
        let mut borrow = false;
        for (index, limb) in self.0.iter_mut().enumerate() {
            let (less, first) = limb.overflowing_sub(other.0.get(index).copied().unwrap_or(0));
            let (less, second) = less.overflowing_sub(u32::from(borrow));
            *limb = less;
            borrow = first | second;
        }
        self.trim();
        true
    }

    pub(super) fn is_zero(&self) -> bool {
        self.0.is_empty()
    }

    /// How many bits it takes to write the number; none for zero.
    pub(super) fn bit_length(&self) -> usize {
        let top = self.0.last().map_or(0, |limb| limb.leading_zeros() as usize);
        self.0.len() * 32 - top
    }

    pub(super) fn to_decimal(&self) -> String {
        let mut rest = self.clone();
        let mut chunks = Vec::new();
        while !rest.is_zero() {
            chunks.push(rest.divide_by_chunk());
        }
        let mut text = chunks.pop().unwrap_or(0).to_string();
        for chunk in chunks.iter().rev() {
            text.push_str(&format!("{chunk:09}"));
        }
        text
    }

    fn divide_by_chunk(&mut self) -> u32 {
        let mut remainder = 0;
        for limb in self.0.iter_mut().rev() {
            let wide = remainder << 32 | u64::from(*limb);
            *limb = (wide / u64::from(CHUNK.0)) as u32;
            remainder = wide % u64::from(CHUNK.0);
        }
        self.trim();
        remainder as u32
    }

    fn trim(&mut self) {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }
}

impl Ord for Natural {
    fn cmp(&self, other: &Natural) -> Ordering {
        let by_length = self.0.len().cmp(&other.0.len());
        by_length.then_with(|| self.0.iter().rev().cmp(other.0.iter().rev()))
    }
}

impl PartialOrd for Natural {
    fn partial_cmp(&self, other: &Natural) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Natural;

    fn natural(value: u128) -> Natural {
        Natural::from_digits(value.to_string().bytes())
    }

    proptest! {
        #[test]
        fn counts_as_u128_does(a: u64, b: u64, shift in 0_usize..64, power in 0_usize..19) {
            let (wide_a, wide_b) = (u128::from(a), u128::from(b));
            prop_assert_eq!(Natural::from_u64(a), natural(wide_a));
            prop_assert_eq!(natural(wide_a * wide_b).to_decimal(), (wide_a * wide_b).to_string());
            prop_assert_eq!(natural(wide_a) < natural(wide_b), a < b);
            prop_assert_eq!(natural(wide_a).bit_length(), 64 - a.leading_zeros() as usize);

            let mut shifted = natural(wide_a);
            shifted.shift_left(shift);
            prop_assert_eq!(shifted, natural(wide_a << shift));

            let mut scaled = natural(wide_a);
            scaled.multiply_by_power_of_ten(power);
            prop_assert_eq!(scaled, natural(wide_a * 10_u128.pow(power as u32)));

            let mut less = natural(wide_a * wide_b);
            prop_assert_eq!(less.subtract_if_not_less(&natural(wide_a)), b > 0 || a == 0);
            prop_assert_eq!(less, natural(if b > 0 { wide_a * (wide_b - 1) } else { 0 }));
        }
    }
}
