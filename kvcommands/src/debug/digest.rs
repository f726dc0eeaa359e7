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
pub(super) struct Digest([u8; 20]);

impl Digest {
    /// Of a key with its value, to be added to those of others.
    pub(super) fn of_entry(key: &[u8], value: &[u8], expires: bool) -> Digest {
        let mut digest = Digest::default();
        digest.mix(key);
        digest.mix_value(value, expires);
        Digest(Sha1::digest(digest.0).into())
    }

    /// A number made of a key, to stand for where its value lies.
    pub(super) fn place_of(key: &[u8]) -> u64 {
        // As an address in a process: 47 bits, a multiple of 16.
        let bytes: [u8; 20] = Sha1::digest(key).into();
        bytes.iter().take(6).fold(0x7f, |place, byte| place << 8 | u64::from(*byte)) & 0x7fff_ffff_fff0
    }

    /// Adds a value, in order.
    pub(super) fn mix_value(&mut self, value: &[u8], expires: bool) {
        self.mix(&STRING_TYPE.to_be_bytes());
        self.mix(value);
        if expires {
            self.add(&Digest(Sha1::digest(EXPIRES).into()));
        }
    }

    /// Adds bytes so that their place in the order counts.
    pub(super) fn mix(&mut self, bytes: &[u8]) {
        self.add(&Digest(Sha1::digest(bytes).into()));
        self.0 = Sha1::digest(self.0).into();
    }

    /// Adds a digest so that the order does not count.
    pub(super) fn add(&mut self, other: &Digest) {
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

#[cfg(test)]
mod tests {
    use super::Digest;

    // The expected digests are those of redis-server 7.0.15 for the same data.
    #[test]
    fn a_digest_is_the_one_redis_gives() {
        // SET k v; DEBUG DIGEST-VALUE k
        let mut value = Digest::default();
        value.mix_value(b"v", false);
        assert_eq!(value.to_string(), "d79ee9fe5d5ad902d7f6620efc3b07b75ddd742f");
        // DEBUG DIGEST, nothing else stored
        let mut total = Digest::default();
        total.mix(&0_u32.to_be_bytes());
        total.add(&Digest::of_entry(b"k", b"v", false));
        assert_eq!(total.to_string(), "264ccf65edec66bccfa7cc659414ccca432057d2");
        assert_eq!(Digest::default().to_string(), "0".repeat(40));
    }

    #[test]
    fn the_order_of_entries_does_not_count_but_a_deadline_does() {
        let (one, two) = (Digest::of_entry(b"a", b"1", false), Digest::of_entry(b"b", b"2", false));
        let (mut there, mut back) = (one, two);
        there.add(&two);
        back.add(&one);
        assert_eq!(there, back);
        assert_ne!(one, Digest::of_entry(b"a", b"1", true));
        assert_ne!(one, Digest::of_entry(b"b", b"1", false));
    }
}
