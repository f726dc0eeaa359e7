//! Strings that claim to be something with an inner form: payloads of RESTORE, HyperLogLogs.
//!
//! Invariant: a string that lies about itself is refused, or read as something, and nothing else happens.

use kvtests::streams::Dice;
use kvtests::wire::{bulk, request, show};

use crate::{MEBIBYTE, assert_frugal, server};

/// The checksum of DUMP: CRC-64 of Jones.
fn crc64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |crc: u64, byte| {
        (0..8).fold(
            crc ^ u64::from(*byte),
            |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0x95ac_9329_ac4b_c9b5 } else { crc >> 1 },
        )
    })
}

fn payload(body: &[u8]) -> Vec<u8> {
    let mut payload = [body, &10_u16.to_le_bytes()].concat();
    let crc = crc64(&payload);
    payload.extend(crc.to_le_bytes());
    payload
}

/// A payload that lies about lengths, or whose compressed bytes point out of what there is, with a checksum that is right.
/// The same for snapshots is with the files' own tests; random payloads against a model are in `fuzz_corpus.rs`.
#[test]
fn cve_2026_25243_crafted_payloads_for_restore() {
    let server = server();
    let mut wire = server.connect();
    let mut restore = |payload: &[u8]| {
        wire.send(request(&[b"RESTORE", b"k".as_slice(), b"0", payload, b"REPLACE"]));
        wire.reply()
    };
    assert_eq!(restore(&payload(b"\0\x05value")), b"+OK\r\n");
    // An LZF literal of five bytes, then a reference to them.
    let compressed = b"\0\xc3\x08\x0a\x04value\x60\x04";
    assert_eq!(show(&restore(&payload(compressed))), show(b"+OK\r\n"));
    assert_frugal(&server, 64 * MEBIBYTE, || {
        let bad = b"-ERR Bad data format\r\n";
        for body in [
            &b""[..],
            b"\0",
            b"\0\x06value",
            b"\0\x80\xff\xff\xff\xffvalue",
            b"\0\x81\xff\xff\xff\xff\xff\xff\xff\xffvalue",
            b"\0\x81\x7f\xff\xff\xff\xff\xff\xff\xffvalue",
            b"\0\x82value",
            b"\0\xc0",
            b"\0\xc2\0\0",
            b"\0\xc4xxxx",
            b"\0\xc3\x80\xff\xff\xff\xff\x80\xff\xff\xff\xff",
            b"\0\xc3\x03\x80\x20\0\0\0\x00\x61\xe0",
            b"\0\xc3\x03\x05\x20\x00\x00",
            b"\0\xc3\x04\x08\x00a\x20\xff",
            b"\0\xc3\x04\x80\xff\xff\xff\xff\x00a\xe0\xff",
            b"\x01\x05value",
            b"\xff\xff\xff\xff",
        ] {
            let reply = restore(&payload(body));
            assert!(reply == bad || reply.starts_with(b"-ERR DUMP payload"), "{body:02x?}: {}", show(&reply));
        }
        // Every byte of two good ones changed to every other, with the checksum put right.
        for good in [&b"\0\x05value"[..], compressed] {
            for at in 0..good.len() {
                for byte in 0..=255 {
                    let mut body = good.to_vec();
                    body[at] = byte;
                    let reply = restore(&payload(&body));
                    assert!(reply == b"+OK\r\n" || reply == bad, "{body:02x?}: {}", show(&reply));
                    let cut = restore(&payload(&body[..at]));
                    assert!(cut.starts_with(b"-ERR ") || cut == b"+OK\r\n");
                }
            }
        }
    });
    wire.ask("DEL k", ":1\r\n");
}

/// A string that looks like a HyperLogLog made PFADD and its kin write out of it. Every form with every kind of damage is
/// refused or counted, and the value stays what it is.
#[test]
fn cve_2025_32023_crafted_hyperloglogs() {
    let server = server();
    let mut wire = server.connect();
    wire.ask("PFADD good a b c", ":1\r\n");
    wire.send(request(&["GET", "good"]));
    let reply = wire.reply();
    let start = reply.iter().position(|byte| *byte == b'\n').expect("a line") + 1;
    let sparse = reply[start..reply.len() - 2].to_vec();
    assert!(sparse.starts_with(b"HYLL\x01"));
    let header = |encoding: u8| [b"HYLL", &[encoding, 0, 0, 0][..], &[0; 8]].concat();
    let dense = [header(0), vec![0; 12_288]].concat();
    let mut values = vec![
        header(0),
        header(1),
        header(2),
        dense[..dense.len() - 1].to_vec(),
        [dense.clone(), vec![0]].concat(),
        // Runs that go far beyond the last register, which made its count negative.
        [header(1), b"\x7f\xff".repeat(20_000)].concat(),
        [header(1), b"\x7f\xff\x84".repeat(100)].concat(),
        [header(1), b"\xff".repeat(20_000)].concat(),
        [header(1), vec![0x3f; 300]].concat(),
        [header(1), vec![0x7f]].concat(),
        [header(1), b"\x7f\xff\x7f".to_vec()].concat(),
        [header(1), b"\x7f\xff".repeat(1 << 18)].concat(),
    ];
    let mut dice = Dice::new(32_023);
    for _ in 0..2000 {
        let mut value = sparse.clone();
        for _ in 0..=dice.below(4) {
            let at = dice.below(value.len() as u64) as usize;
            value[at] = dice.below(256) as u8;
        }
        value.truncate(value.len() - dice.below(3) as usize);
        values.push(value);
    }
    let (mut refused, mut counted) = (0, 0);
    for value in values {
        for command in [
            &["PFADD", "k", "x", "y", "z"][..],
            &["PFCOUNT", "k"],
            &["PFCOUNT", "k", "good"],
            &["PFMERGE", "good", "k"],
            &["PFMERGE", "k", "good"],
        ] {
            wire.send(request(&[b"SET", b"k".as_slice(), &value]));
            wire.expect("+OK\r\n");
            let reply = wire.try_command(command).expect("a reply");
            match reply.first() {
                Some(b'-') => refused += 1,
                Some(b':' | b'+') => counted += 1,
                _ => panic!("{command:?}: {}", show(&reply)),
            }
            if reply.starts_with(b"-") {
                wire.send(request(&["GET", "k"]));
                wire.expect(bulk(&value));
            }
        }
        wire.send(request(&[b"SET", b"good".as_slice(), &sparse]));
        wire.expect("+OK\r\n");
        wire.ask("PFCOUNT good", ":3\r\n");
    }
    println!("{refused} refused, {counted} counted");
    assert!(refused > 100 && counted > 100);
}
