//! Ranges of values, in conversation. Expected replies are those of redis-server 7.0.15.
//!
//! Invariant: every kind of position (inside, negative, beyond either end, extreme) meets every other.

use super::Span;
use crate::shell::Shell;
use kvcore::Options;

const NOT_AN_INTEGER: &str = "ERR value is not an integer or out of range";

#[test]
fn setrange_overwrites_fills_and_lengthens() {
    Shell::new().converse(
        r#"
        SETRANGE k 0 ''     -> 0
        SETRANGE k 5 ''     -> 0
        EXISTS k            -> 0
        SETRANGE k 3 ab     -> 5
        GET k               -> "\x00\x00\x00ab"
        PEXPIRE k 70        -> 1
        SETRANGE k 0 xyz    -> 5
        SETRANGE k 9 ''     -> 5
        GET k               -> "xyzab"
        SETRANGE k 4 cd     -> 6
        GET k               -> "xyzacd"
        SETRANGE k 6 !      -> 7
        PTTL k              -> 70
        SET n 1234          -> OK
        SETRANGE n 1 x      -> 4
        GET n               -> "1x34"
        SETRANGE big 100000 x -> 100001
        GETRANGE big 99999 100001 -> "\x00x"
        "#,
    );
}

#[test]
fn setrange_refuses_what_would_not_fit() {
    let shell = Shell::with_options(Options::new().value_bytes_max(10));
    let too_long = "ERR string exceeds maximum allowed size (proto-max-bulk-len)";
    for prepare in ["DEL k", "SET k 123 EX 5"] {
        shell.run(prepare);
        shell.refuses(&[
            ("SETRANGE k 0", "ERR wrong number of arguments for 'setrange' command"),
            ("SETRANGE k 0 a b", "ERR wrong number of arguments for 'setrange' command"),
            ("SETRANGE k x a", NOT_AN_INTEGER),
            ("SETRANGE k 9223372036854775808 a", NOT_AN_INTEGER),
            ("SETRANGE k -1 a", "ERR offset is out of range"),
            ("SETRANGE k -1 ''", "ERR offset is out of range"),
            ("SETRANGE k 10 a", too_long),
            ("SETRANGE k 9 ab", too_long),
            ("SETRANGE k 9223372036854775807 ab", too_long),
        ]);
    }
    shell.converse("SETRANGE k 9 a -> 10\n SETRANGE k 9223372036854775807 '' -> 10");
}

#[test]
fn getrange_and_substr_take_positions_from_both_ends() {
    let shell = Shell::new();
    shell.converse(
        r#"
        GETRANGE k 0 -1       -> ""
        SET k ''              -> OK
        GETRANGE k 0 -1       -> ""
        GETRANGE k 0 0        -> ""
        SET k Hello           -> OK
        GETRANGE k 0 3        -> "Hell"
        GETRANGE k 0 -1       -> "Hello"
        GETRANGE k -4 -1      -> "ello"
        GETRANGE k -4 -5      -> ""
        GETRANGE k 5 3        -> ""
        GETRANGE k 5 5000     -> ""
        GETRANGE k -5000 10000 -> "Hello"
        GETRANGE k -100 -99   -> "H"
        GETRANGE k -99 -100   -> ""
        GETRANGE k 0 -100     -> "H"
        GETRANGE k 0 9223372036854775807 -> "Hello"
        GETRANGE k -9223372036854775808 -9223372036854775807 -> "H"
        GETRANGE k 9223372036854775807 9223372036854775807 -> ""
        SUBSTR k 1 2          -> "el"
        SUBSTR k -1 -1        -> "o"
        "#,
    );
    shell.refuses(&[
        ("GETRANGE k 0", "ERR wrong number of arguments for 'getrange' command"),
        ("SUBSTR k 0", "ERR wrong number of arguments for 'substr' command"),
        ("GETRANGE k x 1", NOT_AN_INTEGER),
        ("GETRANGE k 1 1.5", NOT_AN_INTEGER),
        ("GETRANGE new x 1", NOT_AN_INTEGER),
    ]);
}

#[test]
fn a_span_lies_within_its_value() {
    let positions = [i64::MIN, i64::MIN + 1, -9, -4, -3, -2, -1, 0, 1, 2, 3, 4, 9, i64::MAX];
    for length in [0, 1, 3, u64::MAX >> 1] {
        for start in positions {
            for end in positions {
                for span in [Span::of(start, end, length), Span::clamped(start, end, length)].into_iter().flatten() {
                    assert!(span.first <= span.last && span.last < length, "{start} {end} of {length}: {span:?}");
                }
            }
        }
    }
}
