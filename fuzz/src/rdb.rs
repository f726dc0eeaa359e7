//! RESTORE payloads.
//!
//! Invariant: a payload is taken exactly if a simple reading finds a string in it, and then for that string; DUMP's own
//! payload gives it again.

use kvproto::Reply;

use super::served::{exchange, go_on, words};

/// CRC-64 of Jones, bit by bit.
fn crc64(bytes: &[u8]) -> u64 {
    let mut crc = 0_u64;
    for byte in bytes {
        for bit in 0..8 {
            let mut out = crc >> 63 == 1;
            if byte >> bit & 1 == 1 {
                out = !out;
            }
            crc <<= 1;
            if out {
                crc ^= 0xad93_d235_94c9_35a9;
            }
        }
    }
    crc.reverse_bits()
}

/// What a first byte says follows.
enum Length {
    Bytes(u64),
    Number(usize),
    Compressed,
}

fn big_endian(input: &mut &[u8], len: usize) -> Option<u64> {
    let (bytes, rest) = input.split_at_checked(len)?;
    *input = rest;
    Some(bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
}

fn length(input: &mut &[u8]) -> Option<Length> {
    let first = big_endian(input, 1)?;
    Some(match first {
        0..=0x3f => Length::Bytes(first),
        0x40..=0x7f => Length::Bytes((first & 0x3f) << 8 | big_endian(input, 1)?),
        0x80 => Length::Bytes(big_endian(input, 4)?),
        0x81 => Length::Bytes(big_endian(input, 8)?),
        0xc0 => Length::Number(1),
        0xc1 => Length::Number(2),
        0xc2 => Length::Number(4),
        0xc3 => Length::Compressed,
        _ => return None,
    })
}

fn plain(input: &mut &[u8]) -> Option<usize> {
    match length(input)? {
        Length::Bytes(len) => usize::try_from(len).ok(),
        _ => None,
    }
}

fn string(mut input: &[u8]) -> Option<Vec<u8>> {
    match length(&mut input)? {
        Length::Bytes(len) => Some(input.get(..usize::try_from(len).ok()?)?.to_vec()),
        Length::Number(len) => {
            let bytes = input.get(..len)?;
            let value = bytes.iter().rev().fold(0_i64, |sum, byte| sum << 8 | i64::from(*byte));
            let unused = 64 - 8 * len as u32;
            Some((value << unused >> unused).to_string().into_bytes())
        }
        Length::Compressed => {
            let (compressed, len) = (plain(&mut input)?, plain(&mut input)?);
            let mut input = input.get(..compressed)?;
            let mut out: Vec<u8> = Vec::new();
            while let Some((&control, rest)) = input.split_first() {
                input = rest;
                if control < 32 {
                    let (literal, rest) = input.split_at_checked(usize::from(control) + 1)?;
                    out.extend_from_slice(literal);
                    input = rest;
                } else {
                    let mut run = usize::from(control >> 5) + 2;
                    if control >> 5 == 7 {
                        run += big_endian(&mut input, 1)? as usize;
                    }
                    let back = (usize::from(control & 31) << 8) + big_endian(&mut input, 1)? as usize + 1;
                    for _ in 0..run {
                        out.push(out[out.len().checked_sub(back)?]);
                    }
                }
            }
            (out.len() == len).then_some(out)
        }
    }
}

/// `[choice][payload]`, without version and checksum unless the choice is odd.
pub fn restore(input: &[u8]) {
    let Some((choice, payload)) = input.split_first() else { return };
    let mut payload = payload.to_vec();
    if choice & 1 == 0 {
        payload.extend_from_slice(&u16::from(choice >> 1 & 15).to_le_bytes());
        payload.extend_from_slice(&crc64(&payload).to_le_bytes());
    }
    let body = payload.split_last_chunk::<8>().and_then(|(rest, crc)| {
        let (body, version) = rest.split_last_chunk::<2>()?;
        (u16::from_le_bytes(*version) <= 11 && crc64(rest).to_le_bytes() == *crc).then_some(body)
    });
    let expected = body.map(|body| body.strip_prefix(&[0]).and_then(string));
    let put =
        |key: &str, payload: &[u8]| vec![b"RESTORE".to_vec(), key.as_bytes().to_vec(), b"0".to_vec(), payload.to_vec()];
    let replies = exchange(&[put("a", &payload), words(&["GET", "a"]), words(&["DUMP", "a"])]);
    match expected {
        None => assert_eq!(replies[0], Reply::error("ERR DUMP payload version or checksum are wrong")),
        Some(None) => assert_eq!(replies[0], Reply::error("ERR Bad data format")),
        Some(Some(value)) => {
            assert!(value.len() <= 88 * payload.len(), "three bytes stand for 264 at most");
            // Values of the server that is asked have a bound of their own.
            if replies[0] != Reply::Ok && value.len() > 256 * 1024 {
                return;
            }
            assert_eq!(replies[..2], [Reply::Ok, Reply::bulk(value.clone())]);
            let Reply::Bulk(dump) = &replies[2] else { panic!("{:?}", replies[2]) };
            let replies = go_on(&[put("b", dump), words(&["GET", "b"])]);
            assert_eq!(replies, [Reply::Ok, Reply::bulk(value)]);
        }
    }
    if !matches!(replies[0], Reply::Ok) {
        assert_eq!(replies[1], Reply::Nil, "a refused payload changes nothing");
    }
}
