//! From elements to ranks, and from ranks to an estimate.
//!
//! Invariant: the same element gives the same register and rank on every server that shares the format; the estimate
//! depends on nothing but how many registers hold each rank.

/// Bits of a hash that name a register.
const INDEX_BITS: u32 = 14;
/// How many registers there are.
pub(crate) const REGISTERS: usize = 1 << INDEX_BITS;
/// Bits of a hash that are left for the rank.
const RANK_BITS: usize = 64 - INDEX_BITS as usize;
/// How many ranks a register of 6 bits can hold; a hash gives no more than [`RANK_BITS`] + 1.
pub(crate) const RANKS: usize = 64;

/// How many registers hold each rank.
pub(crate) type Histogram = [u32; RANKS];

/// The register an element belongs to, and its rank there: one more than the zeros its hash begins with.
pub(crate) fn rank(element: &[u8]) -> (usize, u8) {
    let hash = murmur(element, 0xadc8_3b19);
    // The bit beyond the last ends the run of zeros, so the rank is at most 51.
    let rest = hash >> INDEX_BITS | 1 << RANK_BITS;
    (hash as usize % REGISTERS, rest.trailing_zeros() as u8 + 1)
}

/// MurmurHash64A, reading little-endian.
fn murmur(bytes: &[u8], seed: u64) -> u64 {
    const M: u64 = 0xc6a4_a793_5bd1_e995;
    const R: u32 = 47;
    let mut hash = seed ^ (bytes.len() as u64).wrapping_mul(M);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let mut word = u64::from_le_bytes(*word).wrapping_mul(M);
        word ^= word >> R;
        hash = (hash ^ word.wrapping_mul(M)).wrapping_mul(M);
    }
    if !rest.is_empty() {
        let tail = rest.iter().rev().fold(0, |tail, byte| tail << 8 | u64::from(*byte));
        hash = (hash ^ tail).wrapping_mul(M);
    }
    hash ^= hash >> R;
    hash = hash.wrapping_mul(M);
    hash ^ hash >> R
}

/// The estimate by Otmar Ertl, "New cardinality estimation algorithms for HyperLogLog sketches", arXiv:1702.01284,
/// algorithm 6. It needs no correction for small or large numbers.
pub(crate) fn cardinality(histogram: &Histogram) -> u64 {
    /// 1 / (2 ln 2)
    const ALPHA: f64 = 0.721_347_520_444_481_7;
    let m = REGISTERS as f64;
    let share = |count: u32| f64::from(count) / m;
    let mut z = m * tau((m - f64::from(histogram[RANK_BITS + 1])) / m);
    for count in histogram[1..=RANK_BITS].iter().rev() {
        z = (z + f64::from(*count)) * 0.5;
    }
    z += m * sigma(share(histogram[0]));
    // Registers that no element can produce may make `z` nothing; the conversion then saturates.
    ((ALPHA * m * m / z).round() as u64).min(i64::MAX.unsigned_abs())
}

/// Corrects for registers that nothing has reached.
fn sigma(mut x: f64) -> f64 {
    if x >= 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        // Exact: the terms shrink until they no longer change the sum.
        if before == z {
            return z;
        }
    }
}

/// Corrects for registers that are full.
fn tau(mut x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if before == z {
            return z / 3.0;
        }
    }
}
