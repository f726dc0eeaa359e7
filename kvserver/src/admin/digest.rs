//! Signatures of data for DEBUG DIGEST: SHA-1, combined as Redis combines it, so that both servers' can be compared.
//!
//! Invariant: equal keys, values and databases give equal digests, in whatever order they are seen. A deadline's being
//! there counts, its time does not.

use std::fmt;

use sha1::{Digest as _, Sha1};

/// The number Redis gives to strings among its types.
const STRING_TYPE: u32 = 0;

/// What is added for a key that has a deadline.
const EXPIRES: &[u8] = b"!!expire!!";

/// Twenty bytes that stand for some data; all zeros stand for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Digest([u8; 20]);

impl Digest {
    /// Of a key with its value, to be added to those of others.
    pub(crate) fn of_entry(key: &[u8], value: &[u8], expires: bool) -> Digest {
        let mut digest = Digest::default();
        digest.mix(key);
        digest.mix_value(value, expires);
        Digest(Sha1::digest(digest.0).into())
    }

    /// A number made of a key, to stand for where its value lies.
    pub(crate) fn place_of(key: &[u8]) -> u64 {
        // As an address in a process: 47 bits, a multiple of 16.
        let bytes: [u8; 20] = Sha1::digest(key).into();
        bytes.iter().take(6).fold(0x7f, |place, byte| place << 8 | u64::from(*byte)) & 0x7fff_ffff_fff0
    }

    /// Adds a value, in order.
    pub(crate) fn mix_value(&mut self, value: &[u8], expires: bool) {
        self.mix(&STRING_TYPE.to_be_bytes());
        self.mix(value);
        if expires {
            self.add(&Digest(Sha1::digest(EXPIRES).into()));
        }
    }

    /// Adds bytes so that their place in the order counts.
    pub(crate) fn mix(&mut self, bytes: &[u8]) {
        self.add(&Digest(Sha1::digest(bytes).into()));
        self.0 = Sha1::digest(self.0).into();
    }

    /// Adds a digest so that the order does not count.
    pub(crate) fn add(&mut self, other: &Digest) {
        for (byte, other) in self.0.iter_mut().zip(other.0) {
            *byte ^= other;
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
