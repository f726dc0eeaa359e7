//! BITFIELD, in conversation. Expected replies are those of redis-server 7.0.15.
//!
//! Invariant: every width meets every alignment, and every kind of overflow.

use crate::shell::Shell;

const NOT_AN_INTEGER: &str = "ERR value is not an integer or out of range";
const SYNTAX: &str = "ERR syntax error";
const BAD_OFFSET: &str = "ERR bit offset is not an integer or out of range";
const BAD_TYPE: &str =
    "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.";

#[test]
fn fields_are_read_set_and_counted_up() {
    let shell = Shell::new();
    shell.converse(
        r#"
        BITFIELD k                                          -> []
        BITFIELD k GET u8 100                               -> [0]
        BITFIELD k OVERFLOW SAT                             -> []
        EXISTS k                                            -> 0
        BITFIELD k SET i8 0 -100                            -> [0]
        BITFIELD k SET i8 0 101 GET i8 0                    -> [-100, 101]
        BITFIELD k SET u8 #1 255 GET u16 0                  -> [0, 26111]
        BITFIELD k INCRBY u8 #1 1 INCRBY i5 3 -17           -> [0, -12]
        EXPIRE k 5                                          -> 1
        BITFIELD k SET i64 3 -9223372036854775808 GET i64 3 -> [-6917529027641081856, -9223372036854775808]
        TTL k                                               -> 5
        BITFIELD_RO k GET u1 3 GET u63 4                    -> [1, 0]
        BITFIELD_RO k GET u8 #-9223372036854775808          -> [112]
        BITFIELD_RO k OVERFLOW FAIL                         -> []
        STRLEN k                                            -> 9
        BITFIELD new OVERFLOW FAIL INCRBY u2 100 4          -> [nil]
        STRLEN new                                          -> 13
        BITFIELD new SET u8 80000 7                         -> [0]
        STRLEN new                                          -> 10001
        BITFIELD new GET u8 80000 INCRBY u8 #10000 -8       -> [7, 255]
        "#,
    );
}

#[test]
fn what_overflows_wraps_saturates_or_fails() {
    Shell::new().converse(
        r#"
        BITFIELD k SET u8 0 250 OVERFLOW SAT INCRBY u8 0 10         -> [0, 255]
        BITFIELD k OVERFLOW FAIL INCRBY u8 0 1 GET u8 0             -> [nil, 255]
        BITFIELD k INCRBY u8 0 1 OVERFLOW SAT INCRBY u8 0 -1        -> [0, 0]
        BITFIELD k SET i8 0 200 GET i8 0                            -> [0, -56]
        BITFIELD k OVERFLOW SAT SET i8 0 200 SET i8 0 -200 GET i8 0 -> [-56, 127, -128]
        BITFIELD k OVERFLOW SAT SET i8 64 -9223372036854775680 GET i8 64 -> [0, -128]
        BITFIELD k OVERFLOW SAT SET i8 64 -9223372036854775681 GET i8 64 -> [-128, 127]
        BITFIELD k OVERFLOW SAT SET u8 0 -1 GET u8 0                -> [128, 255]
        BITFIELD k OVERFLOW FAIL SET u8 0 256 GET u8 0              -> [nil, 255]
        BITFIELD k SET i64 0 9223372036854775807                    -> [-72057594037927936]
        BITFIELD k OVERFLOW FAIL INCRBY i64 0 1                     -> [nil]
        BITFIELD k OVERFLOW SAT INCRBY i64 0 1                      -> [9223372036854775807]
        BITFIELD k OVERFLOW WRAP INCRBY i64 0 1                     -> [-9223372036854775808]
        BITFIELD k OVERFLOW SAT INCRBY i64 0 -9223372036854775808   -> [-9223372036854775808]
        BITFIELD k SET u63 1 -1 GET u63 1                           -> [0, 9223372036854775807]
        "#,
    );
}

#[test]
fn bad_fields_change_nothing() {
    let shell = Shell::new();
    shell.run("SET k abc EX 9");
    let good = "BITFIELD k SET u8 0 1";
    for (rest, error) in [
        ("GET", SYNTAX),
        ("GET u8", SYNTAX),
        ("SET u8 0", SYNTAX),
        ("INCRBY u8 0", SYNTAX),
        ("OVERFLOW", SYNTAX),
        ("nonsense u8 0", SYNTAX),
        ("OVERFLOW never", "ERR Invalid OVERFLOW type specified"),
        ("GET u64 0", BAD_TYPE),
        ("GET i65 0", BAD_TYPE),
        ("GET u0 0", BAD_TYPE),
        ("GET i-1 0", BAD_TYPE),
        ("GET U8 0", BAD_TYPE),
        ("GET 8 x", BAD_TYPE),
        ("GET '' 0", BAD_TYPE),
        ("GET u8 -1", BAD_OFFSET),
        ("GET u8 ''", BAD_OFFSET),
        ("GET u8 #", BAD_OFFSET),
        ("GET u8 #-1", BAD_OFFSET),
        ("GET u8 4294967296", BAD_OFFSET),
        ("GET u8 #536870912", BAD_OFFSET),
        ("GET u63 #9223372036854775807", BAD_OFFSET),
        ("GET u1 #-9223372036854775808", BAD_OFFSET),
        ("SET u8 x y", BAD_OFFSET),
        ("SET u8 0 y", NOT_AN_INTEGER),
        ("INCRBY u8 0 1.5", NOT_AN_INTEGER),
    ] {
        shell.refuses(&[(&format!("{good} {rest}"), error)]);
    }
    shell.refuses(&[
        ("BITFIELD_RO k SET u8 0 1", "ERR BITFIELD_RO only supports the GET subcommand"),
        ("BITFIELD_RO k GET u8 0 INCRBY u8 0 1", "ERR BITFIELD_RO only supports the GET subcommand"),
        ("BITFIELD_RO k SET u8 0 x", NOT_AN_INTEGER),
    ]);
}

#[test]
fn every_width_at_every_bit_touches_its_own_bits_only() {
    let shell = Shell::new();
    for background in [0x00, 0xff_u8] {
        for bits in 1..=64u32 {
            for offset in 0..8 {
                shell.reply([&b"SET"[..], b"k", &[background; 10]]);
                let inverse = if background == 0 { -1 } else { 0 };
                let old = if background == 0 { 0 } else { -1 };
                let before = shell.run(&format!("BITFIELD k SET i{bits} {offset} {inverse} GET i{bits} {offset}"));
                assert_eq!(before, format!("[{old}, {inverse}]"), "i{bits} at {offset}");
                let last = offset + bits - 1;
                let (set, beside) = if background == 0 { (bits, 0) } else { (0, 80 - bits) };
                shell.converse(&format!(
                    "BITCOUNT k -> {}\n BITCOUNT k {offset} {last} BIT -> {set}\n STRLEN k -> 10",
                    set + beside
                ));
            }
        }
    }
}
