//! DEBUG through a server that listens nowhere is covered by the black-box tests; here is what needs no session.
//!
//! Invariant: digests are compared with what redis-server 7.0.15 answers for the same data.

use crate::admin::digest::Digest;

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
