//! HyperLogLog, in conversation and by statistics. Values and estimates are those redis-server 7.0.15 gave.
//!
//! Invariant: no bytes that a client can store make a command panic.

use proptest::prelude::*;

use super::header::HEADER_BYTES;
use super::registers::{Registers, cardinality_of};
use super::sketch::{Form, Sketch, dense_register};
use super::{estimate, sparse};
use crate::shell::Shell;
use kvproto::Reply;

const WRONG_TYPE: &str = "WRONGTYPE Key is not a valid HyperLogLog string value.";
const CORRUPTED: &str = "INVALIDOBJ Corrupted HLL object detected";
const DENSE_BYTES: usize = 12304;

fn stored(shell: &Shell, key: &str) -> Vec<u8> {
    match shell.reply(["GET", key]) {
        Reply::Bulk(bytes) => bytes.to_vec(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn elements_are_added_counted_and_merged() {
    let shell = Shell::new();
    shell.converse(
        r#"
        PFCOUNT k                 -> 0
        PFADD k                   -> 1
        PFADD k                   -> 0
        GET k                     -> "HYLL\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80\x7f\xff"
        PFCOUNT k                 -> 0
        GET k                     -> "HYLL\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x7f\xff"
        EXPIRE k 9                -> 1
        PFADD k a b c a           -> 1
        PFADD k c b               -> 0
        PFCOUNT k                 -> 3
        TTL k                     -> 9
        PFADD other c d           -> 1
        PFCOUNT k other none      -> 4
        PFMERGE k other           -> OK
        TTL k                     -> 9
        PFCOUNT k                 -> 4
        PFMERGE new               -> OK
        PFCOUNT new               -> 0
        PFMERGE new none k        -> OK
        PFCOUNT new               -> 4
        "#,
    );
    shell.run("SET k v");
    shell.refuses(&[
        ("PFADD", "ERR wrong number of arguments for 'pfadd' command"),
        ("PFCOUNT", "ERR wrong number of arguments for 'pfcount' command"),
        ("PFMERGE", "ERR wrong number of arguments for 'pfmerge' command"),
        ("PFADD k a", WRONG_TYPE),
        ("PFCOUNT k", WRONG_TYPE),
        ("PFCOUNT other k", WRONG_TYPE),
        ("PFMERGE k other", WRONG_TYPE),
        ("PFMERGE other k", WRONG_TYPE),
    ]);
}

#[test]
fn what_only_looks_like_one_is_refused() {
    let shell = Shell::new();
    let header = |form: u8| [&b"HYLL"[..], &[form], &[0; 10], &[0x80]].concat();
    let with = |form: u8, rest: &[u8]| [&header(form)[..], rest].concat();
    for value in [with(0, b""), with(2, b"\x7f\xff"), with(0, &[0; DENSE_BYTES - HEADER_BYTES - 1]), b"HYLL".to_vec()] {
        shell.reply([&b"SET"[..], b"k", &value]);
        shell.refuses(&[("PFADD k a", WRONG_TYPE), ("PFCOUNT k", WRONG_TYPE), ("PFCOUNT k none", WRONG_TYPE)]);
    }
    for runs in [&b""[..], b"\x7f", b"\x7f\xfe", b"\x7f\xff\x00", b"\x7f\xff\x80", b"\x80\x7f\xff", &[0x84; 40_000]] {
        shell.reply([&b"SET"[..], b"k", &with(1, runs)]);
        shell.refuses(&[
            ("PFCOUNT k", CORRUPTED),
            ("PFCOUNT k none", CORRUPTED),
            ("PFMERGE k", CORRUPTED),
            ("PFMERGE none k", CORRUPTED),
        ]);
    }
    // Damage that is met behind registers that can still be raised: the value stays as it was.
    let half = with(1, b"\x4c\x0b\x8c\x4a\xab\x80\x41\xa8\x00\x00");
    shell.reply([&b"SET"[..], b"k", &half]);
    shell.refuses(&[("PFADD k a b c d e f g h i j k l m n o p", CORRUPTED)]);
    assert_eq!(stored(&shell, "k"), half);
    // Registers no element can produce.
    shell.reply([&b"SET"[..], b"k", &with(0, &[0xff; DENSE_BYTES - HEADER_BYTES])]);
    shell.converse("PFADD k a -> 0\n PFCOUNT k -> 9223372036854775807\n PFMERGE k k -> OK");
}

/// A value of any length can be stored that begins like a sketch; shown run by run it would take six times its size.
#[test]
fn a_forged_value_is_not_decoded() {
    let shell = Shell::new();
    let forged = [&b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\x80"[..], &[0x80; 2 * estimate::REGISTERS + 1]].concat();
    shell.reply([&b"SET"[..], b"k", &forged]);
    shell.refuses(&[("PFDEBUG DECODE k", CORRUPTED), ("PFDEBUG TODENSE k", CORRUPTED), ("PFADD k a", CORRUPTED)]);
    shell.reply([&b"SET"[..], b"k", &forged[..forged.len() - 1]]);
    assert!(shell.run("PFDEBUG DECODE k").starts_with("\"v:1,1 v:1,1 "));
}

/// The standard error of 2^14 registers is 1.04 / 128 = 0.81 %.
#[test]
fn estimates_are_within_three_standard_errors() {
    for (seed, checkpoints) in [(1u64, 7), (2, 7), (3, 7), (4, 6), (5, 6)] {
        let mut sketch = Sketch::new();
        let mut added = 0u64;
        for power in 0..checkpoints {
            let target = 10u64.pow(power);
            while added < target {
                let (register, rank) = estimate::rank(format!("{seed}:{added}").as_bytes());
                sketch.raise(register, rank).unwrap();
                added += 1;
            }
            let estimated = cardinality_of(sketch.bytes()).unwrap();
            let off = (estimated as f64 - target as f64).abs() / target as f64;
            assert!(off <= 3.0 * 0.0081, "seed {seed}: {estimated} instead of {target}");
        }
    }
}

#[test]
fn a_sparse_value_becomes_dense_and_says_the_same() {
    let mut sketch = Sketch::new();
    let mut plain = vec![0u8; estimate::REGISTERS];
    let mut forms = Vec::new();
    for number in 0..20_000u32 {
        let (register, rank) = estimate::rank(&number.to_le_bytes());
        let rises = rank > plain[register];
        plain[register] = plain[register].max(rank);
        assert_eq!(sketch.raise(register, rank), Some(rises));
        let form = Form::of(sketch.bytes()).unwrap();
        if forms.last() != Some(&form) {
            forms.push(form);
        }
        if number % 97 == 0 {
            let mut registers = Registers::new();
            registers.take_in(sketch.bytes()).unwrap();
            let expected = plain.iter().copied().enumerate().filter(|(_, rank)| *rank > 0);
            assert!(registers.raised().eq(expected), "after {number}");
            assert_eq!(Some(registers.cardinality()), cardinality_of(sketch.bytes()));
        }
    }
    assert_eq!(forms, [Form::Sparse, Form::Dense]);
    for (register, rank) in plain.iter().enumerate() {
        assert_eq!(dense_register(sketch.bytes(), register), *rank);
    }
}

#[test]
fn an_addition_to_a_dense_value_writes_its_registers_only() {
    let shell = Shell::new();
    for number in 0..5000 {
        shell.run(&format!("PFADD k {number}"));
    }
    assert_eq!(stored(&shell, "k").len(), DENSE_BYTES);
    let mut sketch = Sketch::read(&stored(&shell, "k")).unwrap();
    for number in 5000..6000 {
        let element = number.to_string();
        let (register, rank) = estimate::rank(element.as_bytes());
        let raised = sketch.raise(register, rank).unwrap();
        assert_eq!(shell.run(&format!("PFADD k {element}")), u8::from(raised).to_string());
        if raised {
            sketch.forget_cardinality();
        }
        assert_eq!(stored(&shell, "k"), sketch.bytes());
    }
}

/// Runs of every kind, some of them cut, behind a header that is right.
fn values() -> impl Strategy<Value = Vec<u8>> {
    let runs = prop::collection::vec(
        prop_oneof![any::<u8>().prop_map(|byte| vec![byte]), Just(vec![0x7f, 0xff]), Just(vec![0x40, 0x00])],
        0..40,
    );
    prop_oneof![
        runs.prop_map(|runs| [&b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\x80"[..], &runs.concat()].concat()),
        prop::collection::vec(any::<u8>(), DENSE_BYTES - HEADER_BYTES).prop_map(|registers| [
            &b"HYLL\0\0\0\0\0\0\0\0\0\0\0\x80"[..],
            &registers
        ]
        .concat()),
        prop::collection::vec(any::<u8>(), 0..40),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn no_bytes_panic(value in values(), other in values(), elements in prop::collection::vec("[a-z]{0,9}", 0..20)) {
        let shell = Shell::new();
        let add = || shell.reply(["PFADD", "k"].into_iter().chain(elements.iter().map(String::as_str)));
        shell.reply([&b"SET"[..], b"k", &value]);
        shell.reply([&b"SET"[..], b"other", &other]);
        add();
        for command in ["PFCOUNT k", "PFCOUNT k other", "PFMERGE other k", "PFMERGE k other", "PFCOUNT k"] {
            shell.run(command);
        }
        add();
    }

    #[test]
    fn raising_keeps_every_other_register(changes in prop::collection::vec((0usize..200, 1u8..40), 0..200)) {
        let mut value = Sketch::new().bytes().to_vec();
        let mut plain = vec![0u8; estimate::REGISTERS];
        for (register, rank) in changes {
            match sparse::raise(&mut value, register, rank, usize::MAX).unwrap() {
                sparse::Raised::Done(changed) => {
                    prop_assert_eq!(changed, rank > plain[register]);
                    plain[register] = plain[register].max(rank);
                }
                sparse::Raised::NoRoom => prop_assert!(rank > 32),
            }
            let read: Vec<u8> =
                sparse::runs(&value[HEADER_BYTES..]).flat_map(|run| std::iter::repeat_n(run.rank, run.length)).collect();
            prop_assert_eq!(&read, &plain);
        }
    }
}
