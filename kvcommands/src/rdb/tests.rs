//! Payloads of redis-server 7.0.15, payloads of ours, and payloads of nobody.
//!
//! Invariant: what was made by DUMP comes back; nothing else panics or is believed.

use proptest::prelude::*;

use super::{Refusal, crc64, decode, decompress, encode, encoded_len, unpacked_len};

const MAX: usize = 1024 * 1024;

/// A body with the footer that goes with it.
fn sealed(body: &[u8], version: u16) -> Vec<u8> {
    let mut payload = [body, &version.to_le_bytes()].concat();
    let crc = crc64(&payload);
    payload.extend_from_slice(&crc.to_le_bytes());
    payload
}

#[test]
fn the_checksum_is_the_known_one() {
    assert_eq!(crc64(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
}

#[test]
fn payloads_are_those_of_redis() {
    for (value, payload) in [
        (&b""[..], &b"\x00\x00\x0a\x00]\x9b\x5c@\x0f\x7f\xa2\xda"[..]),
        (&b"a"[..], &b"\x00\x01a\x0a\x00\xbf\xfe\xef\x9b\x8f6}\xb4"[..]),
        (&b"abc"[..], &b"\x00\x03abc\x0a\x00\xd9\xac0=Ar\xa2\xe2"[..]),
        (&b"0"[..], &b"\x00\xc0\x00\x0a\x00\x98@\xa7x\xf8P\x03\x08"[..]),
        (&b"-1"[..], &b"\x00\xc0\xff\x0a\x00\x0c\x93~$\x85\x08\x9d\xc5"[..]),
        (&b"127"[..], &b"\x00\xc0\x7f\x0a\x00\x0d\xb5\xeb1RT\xc5\x14"[..]),
        (&b"128"[..], &b"\x00\xc1\x80\x00\x0a\x00\xebz\xb3\xb5\x10\xcfKe"[..]),
        (&b"-128"[..], &b"\x00\xc0\x80\x0a\x00\x99f2m/\x0c[\xd9"[..]),
        (&b"-129"[..], &b"\x00\xc1\x7f\xff\x0a\x00\x17`\x82(T\x80\x84\x80"[..]),
        (&b"32767"[..], &b"\x00\xc1\xff\x7f\x0a\x00IZ7\xda\x17\xf4\xd5+"[..]),
        (&b"-32768"[..], &b"\x00\xc1\x00\x80\x0a\x00\xb5@\x06GS\xbb\x1a\xce"[..]),
        (&b"32768"[..], &b"\x00\xc2\x00\x80\x00\x00\x0a\x00E\xd8.\xed\xd5\xbd\xa9\x10"[..]),
        (&b"2147483647"[..], &b"\x00\xc2\xff\xff\xff\x7f\x0a\x00,t\xe5\x9e\xe0.\xad\xa1"[..]),
        (&b"-2147483648"[..], &b"\x00\xc2\x00\x00\x00\x80\x0a\x00\xc7O\x87>3U\x81\x87"[..]),
        (&b"2147483648"[..], &b"\x00\x0a2147483648\x0a\x00\xe7\xb1)\xa3L\x1dv\xee"[..]),
        (&b"007"[..], &b"\x00\x03007\x0a\x00rX\xe2{Li\xba\xd9"[..]),
        (&b"12345678901234567890"[..], &b"\x00\x1412345678901234567890\x0a\x00\xbd7$>\xe8=\xf2\xb1"[..]),
        (&b"hello world \xff\x00"[..], &b"\x00\x0ehello world \xff\x00\x0a\x00{\xba\xadKI\xebOi"[..]),
    ] {
        assert_eq!(encode(value), payload, "{}", value.escape_ascii());
        assert_eq!(decode(payload, MAX).as_deref(), Ok(value));
    }
}

#[test]
fn what_redis_compressed_is_read() {
    let mut payload: &[u8] = b"\x00\xc3\x15A\x90\x0aabcdefghija\xe0\xff\x09\xe1r\x0d\x01ij\x0a\x00\xdcs\xe81b\x84\xf4j";
    assert_eq!(decode(payload, MAX).unwrap(), b"abcdefghij".repeat(40));
    assert_eq!(unpacked_len(payload), 400);
    assert_eq!(decode(payload, 399), Err(Refusal::Format), "longer than allowed");
    payload = &payload[..payload.len() - 1];
    assert_eq!(decode(payload, MAX), Err(Refusal::Footer));
}

#[test]
fn a_payload_that_was_changed_or_is_too_new_is_refused() {
    let good = sealed(b"\0\x03abc", 11);
    assert_eq!(decode(&good, MAX).unwrap(), b"abc");
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        assert_eq!(decode(&bad, MAX), Err(Refusal::Footer), "byte {at}");
        assert_eq!(decode(&good[..at], MAX), Err(Refusal::Footer), "cut at {at}");
    }
    assert_eq!(decode(&sealed(b"\0\x03abc", 12), MAX), Err(Refusal::Footer));
}

#[test]
fn a_body_that_is_no_string_is_refused() {
    for body in [
        &b""[..],
        b"\0",
        b"\x01\x00",
        b"\x04\x01\x01a",
        b"\0\x04abc",
        b"\0\x80\xff\xff\xff\xff",
        b"\0\x81\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\0\x82",
        b"\0\xc4",
        b"\0\xc2abc",
        b"\0\xc3\x02\x80\xff\xff\xff\xff\x00a",
        b"\0\xc3\x03\x05\x20\x00\x00",
        b"\0\xc3\xc0\x05\x00",
        b"\0\xc3\x02\x02\x00a",
        b"\0\xc3\x02\x00\x00a",
    ] {
        assert_eq!(decode(&sealed(body, 9), MAX), Err(Refusal::Format), "{}", body.escape_ascii());
    }
    assert_eq!((unpacked_len(b"\0\x03abc"), unpacked_len(b"\0"), unpacked_len(b"")), (0, 0, 0));
    assert!(unpacked_len(b"\0\xc3\x02\x80\xff\xff\xff\xff\x00a") < 1000, "no more than the bytes can stand for");
}

proptest! {
    #[test]
    fn every_value_comes_back(value in proptest::collection::vec(any::<u8>(), 0..40_000)) {
        let payload = encode(&value);
        prop_assert_eq!(encoded_len(&value), payload.len() - 11);
        prop_assert_eq!(decode(&payload, MAX), Ok(value));
    }

    #[test]
    fn every_integer_comes_back(number: i64) {
        for number in [number, number >> 32, number >> 48, number >> 56] {
            let text = number.to_string().into_bytes();
            let payload = encode(&text);
            prop_assert_eq!(encoded_len(&text), payload.len() - 11);
            prop_assert_eq!(decode(&payload, MAX), Ok(text));
        }
    }

    #[test]
    fn no_payload_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), count in 0..500_usize) {
        let _ = (decode(&bytes, MAX), unpacked_len(&bytes));
        let _ = decode(&sealed(&bytes, 10), MAX);
        let _ = decode(&sealed(&[b"\0", &bytes[..]].concat(), 10), MAX);
        let _ = decode(&sealed(&[b"\0\xc3", &bytes[..]].concat(), 10), MAX);
        if let Some(out) = decompress(&bytes, count) {
            prop_assert_eq!(out.len(), count);
        }
    }
}
