//! Values as bits, in conversation. Expected replies are those of redis-server 7.0.15.
//!
//! Invariant: what is fast (eight bytes at a time) is compared with what is plain (bit by bit).

use proptest::prelude::*;

use super::{Unit, first_other, ones};
use crate::shell::Shell;

const NOT_AN_INTEGER: &str = "ERR value is not an integer or out of range";
const SYNTAX: &str = "ERR syntax error";
const BAD_OFFSET: &str = "ERR bit offset is not an integer or out of range";
const BAD_BIT: &str = "ERR bit is not an integer or out of range";

#[test]
fn single_bits() {
    let shell = Shell::new();
    shell.converse(
        r#"
        GETBIT k 0            -> 0
        SETBIT k 1 1          -> 0
        GET k                 -> "@"
        EXPIRE k 7            -> 1
        SETBIT k 1 1          -> 1
        SETBIT k 7 1          -> 0
        SETBIT k 1 0          -> 1
        GET k                 -> "\x01"
        SETBIT k 23 0         -> 0
        GET k                 -> "\x01\x00\x00"
        TTL k                 -> 7
        GETBIT k 7            -> 1
        GETBIT k 8            -> 0
        GETBIT k 24           -> 0
        GETBIT k 4294967295   -> 0
        SET n 1               -> OK
        SETBIT n 6 1          -> 0
        GET n                 -> "3"
        SETBIT far 4000000 1  -> 0
        STRLEN far            -> 500001
        GETBIT far 4000000    -> 1
        SETBIT far 9 1        -> 0
        BITCOUNT far          -> 2
        "#,
    );
    shell.refuses(&[
        ("SETBIT k 1", "ERR wrong number of arguments for 'setbit' command"),
        ("GETBIT k", "ERR wrong number of arguments for 'getbit' command"),
        ("SETBIT k -1 1", BAD_OFFSET),
        ("SETBIT k x 2", BAD_OFFSET),
        ("SETBIT k #1 1", BAD_OFFSET),
        ("SETBIT k 4294967296 1", BAD_OFFSET),
        ("GETBIT k 4294967296", BAD_OFFSET),
        ("GETBIT k 1.0", BAD_OFFSET),
        ("SETBIT k 0 2", BAD_BIT),
        ("SETBIT k 0 -1", BAD_BIT),
        ("SETBIT k 0 x", BAD_BIT),
        ("SETBIT k 0 01", BAD_BIT),
    ]);
}

#[test]
fn bits_are_counted_in_ranges_of_bytes_and_bits() {
    let shell = Shell::new();
    shell.converse(
        r#"
        BITCOUNT k                 -> 0
        BITCOUNT k 1               -> 0
        BITCOUNT k x y z           -> 0
        SET k foobar               -> OK
        BITCOUNT k                 -> 26
        BITCOUNT k 0 0             -> 4
        BITCOUNT k 1 1 byte        -> 6
        BITCOUNT k 0 -5            -> 10
        BITCOUNT k 5 30 BIT        -> 17
        BITCOUNT k -6 -7           -> 0
        BITCOUNT k -6 -7 nonsense  -> 0
        BITCOUNT k -6 -15          -> 0
        BITCOUNT k 0 1000          -> 26
        BITCOUNT k 2 1             -> 0
        BITCOUNT k 1000 2000       -> 0
        BITCOUNT k 1 1 BIT         -> 1
        BITCOUNT k -1 -1 BIT       -> 0
        BITCOUNT k 0 -1 BIT        -> 26
        "#,
    );
    shell.refuses(&[
        ("BITCOUNT k 0", SYNTAX),
        ("BITCOUNT k 0 1 hello", SYNTAX),
        ("BITCOUNT k 0 1 bit x", SYNTAX),
        ("BITCOUNT k a 1", NOT_AN_INTEGER),
        ("BITCOUNT k 0 b hello", NOT_AN_INTEGER),
    ]);
}

#[test]
fn the_first_bit_is_found() {
    let shell = Shell::new();
    shell.converse(
        r#"
        BITPOS k 0               -> 0
        BITPOS k 1               -> -1
        BITPOS k 0 x             -> 0
        SET k ''                 -> OK
        BITPOS k 0               -> -1
        BITPOS k 1 0 -1 BIT      -> -1
        BITFIELD k SET u24 0 16773120 -> [0]
        BITPOS k 0               -> 12
        BITPOS k 0 0 0           -> -1
        BITPOS k 0 1             -> 12
        BITPOS k 1 2             -> -1
        BITPOS k 1 1             -> 8
        BITPOS k 0 -1            -> 16
        BITPOS k 1 -9 -99        -> 0
        BITPOS k 0 -1 -2         -> -1
        BITPOS k 1 3 11 BIT      -> 3
        BITPOS k 0 3 11 BIT      -> -1
        BITPOS k 0 3 12 bit      -> 12
        BITPOS k 1 12 -1 BIT     -> -1
        BITPOS k 0 5 6 BIT       -> -1
        BITFIELD k SET u24 0 16777215 -> [16773120]
        BITPOS k 0               -> 24
        BITPOS k 0 1             -> 24
        BITPOS k 0 0 -1          -> -1
        BITPOS k 0 0 99          -> -1
        BITPOS k 0 0 -1 BIT      -> -1
        BITPOS k 0 3             -> -1
        "#,
    );
    shell.refuses(&[
        ("BITPOS k", "ERR wrong number of arguments for 'bitpos' command"),
        ("BITPOS k 2", "ERR The bit argument must be 1 or 0."),
        ("BITPOS k x", NOT_AN_INTEGER),
        ("BITPOS k 1 x", NOT_AN_INTEGER),
        ("BITPOS k 1 0 x", NOT_AN_INTEGER),
        ("BITPOS k 1 0 x hello", SYNTAX),
        ("BITPOS k 1 0 1 hello", SYNTAX),
        ("BITPOS k 1 0 1 bit x", SYNTAX),
        ("BITPOS k 1 x 1 bit x", SYNTAX),
    ]);
}

#[test]
fn values_are_combined() {
    let shell = Shell::new();
    shell.reply(["SET", "a", "\x01\x02\x0f"]);
    shell.reply(["SET", "b", "\x03\x01"]);
    shell.converse(
        r#"
        SET t old EX 9        -> OK
        BITOP AND t a b       -> 3
        GET t                 -> "\x01\x00\x00"
        TTL t                 -> -1
        BITOP or t b a        -> 3
        GET t                 -> "\x03\x03\x0f"
        BITOP XOR t a b       -> 3
        GET t                 -> "\x02\x03\x0f"
        BITOP xor t a a       -> 3
        GET t                 -> "\x00\x00\x00"
        BITOP NOT t b         -> 2
        GET t                 -> "\xfc\xfe"
        BITOP NOT t t         -> 2
        GET t                 -> "\x03\x01"
        BITOP AND t a none    -> 3
        GET t                 -> "\x00\x00\x00"
        BITOP AND t none a b  -> 3
        GET t                 -> "\x00\x00\x00"
        BITOP OR t none a     -> 3
        GET t                 -> "\x01\x02\x0f"
        BITOP OR t none none  -> 0
        EXISTS t              -> 0
        BITOP NOT t none      -> 0
        "#,
    );
    shell.reply(["SET", "c", "\x02\x02\x01\u{1}"]);
    shell.converse(
        r#"
        BITOP DIFF t a b      -> 3
        GET t                 -> "\x00\x02\x0f"
        BITOP diff t a b c    -> 4
        GET t                 -> "\x00\x00\x0e\x00"
        BITOP DIFF1 t a b c   -> 4
        GET t                 -> "\x02\x01\x00\x01"
        BITOP ANDOR t a b c   -> 4
        GET t                 -> "\x01\x02\x01\x00"
        BITOP ONE t a b c     -> 4
        GET t                 -> "\x00\x01\x0e\x01"
        BITOP ONE t a         -> 3
        GET t                 -> "\x01\x02\x0f"
        BITOP DIFF t none a   -> 3
        GET t                 -> "\x00\x00\x00"
        BITOP DIFF1 t none a  -> 3
        GET t                 -> "\x01\x02\x0f"
        BITOP ANDOR t a none  -> 3
        GET t                 -> "\x00\x00\x00"
        BITOP ONE t none none -> 0
        EXISTS t              -> 0
        "#,
    );
    shell.run("SET k v");
    shell.refuses(&[
        ("BITOP AND k", "ERR wrong number of arguments for 'bitop' command"),
        ("BITOP NAND k a b", SYNTAX),
        ("BITOP NOT k a b", "ERR BITOP NOT must be called with a single source key."),
        ("BITOP DIFF k a", "ERR BITOP DIFF must be called with at least two source keys."),
        ("BITOP diff1 k a", "ERR BITOP DIFF1 must be called with at least two source keys."),
        ("BITOP andor k a", "ERR BITOP ANDOR must be called with at least two source keys."),
    ]);
}

/// The plain reading of a range, from the definition: positions are bits, or the bits of bytes.
fn bits_in(bytes: &[u8], start: i64, end: i64, unit: Unit) -> Vec<(u64, bool)> {
    let length = bytes.len() as i64 * if unit == Unit::Bit { 8 } else { 1 };
    let place = |position: i64| if position < 0 { (length + position).max(0) } else { position };
    (0..bytes.len() as i64 * 8)
        .filter(|bit| {
            let position = if unit == Unit::Bit { *bit } else { bit / 8 };
            place(start) <= position && position <= place(end)
        })
        .map(|bit| (bit as u64, bytes[bit as usize / 8] >> (7 - bit % 8) & 1 == 1))
        .collect()
}

proptest! {
    #[test]
    fn counting_and_finding_agree_with_reading_bit_by_bit(
        bytes in prop::collection::vec(prop_oneof![3 => Just(0u8), 3 => Just(0xffu8), 1 => any::<u8>()], 0..40),
        start in -330i64..330,
        end in -330i64..330,
        in_bits in any::<bool>(),
    ) {
        let unit = if in_bits { Unit::Bit } else { Unit::Byte };
        let bits = bits_in(&bytes, start, end, unit);
        let shell = Shell::new();
        shell.reply([&b"SET"[..], b"k", &bytes]);
        let unit = if in_bits { "BIT" } else { "BYTE" };
        // BITCOUNT and BITRANGEINTARRAY mind the order of positions before the beginning.
        let backwards = start < 0 && end < 0 && start > end;
        let set = bits.iter().filter(|(_, set)| *set && !backwards).count();
        prop_assert_eq!(shell.run(&format!("BITCOUNT k {start} {end} {unit}")), set.to_string());
        for (wanted, zeros) in [(false, "ZEROS"), (true, "")] {
            let found = bits.iter().filter(|(_, set)| *set == wanted && !backwards).map(|(at, _)| at.to_string());
            let request = format!("BITRANGEINTARRAY k {start} {end} {unit} {zeros}");
            let found = found.collect::<Vec<_>>().join(", ");
            prop_assert_eq!(shell.run(request.trim_end()), format!("[{found}]"));
            let first = bits.iter().find(|(_, set)| *set == wanted).map_or(-1, |(at, _)| *at as i64);
            let wanted = u8::from(wanted);
            prop_assert_eq!(shell.run(&format!("BITPOS k {wanted} {start} {end} {unit}")), first.to_string());
        }
    }

    #[test]
    fn eight_bytes_at_a_time_are_the_same_bytes(bytes in prop::collection::vec(0u8..2, 0..70), byte in 0u8..2) {
        prop_assert_eq!(ones(&bytes), bytes.iter().map(|byte| u64::from(byte.count_ones())).sum::<u64>());
        prop_assert_eq!(first_other(&bytes, byte), bytes.iter().position(|other| *other != byte));
    }
}

/// Redis 8.12: examples that follow from its documentation.
#[test]
fn positions_of_bits() {
    let shell = Shell::new();
    shell.converse(
        r#"
        BITRANGEINTARRAY none 0 -1            -> []
        SETBIT k 1 1                          -> 0
        SETBIT k 9 1                          -> 0
        SETBIT k 10 1                         -> 0
        SETBIT k 23 1                         -> 0
        BITRANGEINTARRAY k 0 -1               -> [1, 9, 10, 23]
        BITRANGEINTARRAY k 0 -1 BYTE          -> [1, 9, 10, 23]
        BITRANGEINTARRAY k 1 1                -> [9, 10]
        BITRANGEINTARRAY k -1 -1              -> [23]
        BITRANGEINTARRAY k 9 9 BIT            -> [9]
        BITRANGEINTARRAY k 2 -2 BIT           -> [9, 10]
        BITRANGEINTARRAY k 0 -1 BIT           -> [1, 9, 10, 23]
        BITRANGEINTARRAY k 0 0 ZEROS          -> [0, 2, 3, 4, 5, 6, 7]
        BITRANGEINTARRAY k 7 11 bit zeros     -> [7, 8, 11]
        BITRANGEINTARRAY k 0 -1 BIT LIMIT 2   -> [1, 9]
        BITRANGEINTARRAY k 0 -1 LIMIT 1       -> [1]
        BITRANGEINTARRAY k 0 -1 LIMIT 2       -> [1, 9, 10]
        BITRANGEINTARRAY k 0 -1 ZEROS LIMIT 1 -> [0, 2, 3, 4, 5, 6, 7]
        BITRANGEINTARRAY k 0 -1 LIMIT 100     -> [1, 9, 10, 23]
        BITRANGEINTARRAY k 3 9                -> []
        BITRANGEINTARRAY k 1 0                -> []
        BITRANGEINTARRAY k -1 0               -> []
        "#,
    );
    shell.refuses(&[
        ("BITRANGEINTARRAY k 0", "ERR wrong number of arguments for 'bitrangeintarray' command"),
        ("BITRANGEINTARRAY k x 0", NOT_AN_INTEGER),
        ("BITRANGEINTARRAY k 0 x", NOT_AN_INTEGER),
        ("BITRANGEINTARRAY k 0 -1 LIMIT x", NOT_AN_INTEGER),
        ("BITRANGEINTARRAY k 0 -1 LIMIT 0", "ERR LIMIT must be a positive integer"),
        ("BITRANGEINTARRAY none 0 -1 LIMIT -1", "ERR LIMIT must be a positive integer"),
        ("BITRANGEINTARRAY k 0 -1 LIMIT", SYNTAX),
        ("BITRANGEINTARRAY k 0 -1 BIT BYTE", SYNTAX),
        ("BITRANGEINTARRAY k 0 -1 ZEROS ZEROS", SYNTAX),
        ("BITRANGEINTARRAY k 0 -1 NONSENSE", SYNTAX),
    ]);
}
