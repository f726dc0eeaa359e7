//! Expected sums are what redis-server 7.0.15 answered on x86-64.
//!
//! Invariant: no expected sum is computed by what is tested: it is a literal, or exact in integers.

use proptest::prelude::*;

use super::LongDouble;

#[track_caller]
fn sum(a: &str, b: &str) -> Option<String> {
    let parse = |text: &str| LongDouble::parse(text.as_bytes()).unwrap();
    parse(a).plus(parse(b)).map(|sum| sum.to_string())
}

#[test]
fn sums_show_the_digits_redis_shows() {
    for (a, b, expected) in [
        ("3.0", "1.1", "4.1"),
        ("10.5", "0.1", "10.6"),
        ("5.0e3", "2.0e2", "5200"),
        (".5", "5.", "5.5"),
        ("0.1", "0.2", "0.3"),
        ("1.0", "-1.1", "-0.1"),
        ("17179869184", "1.5", "17179869185.5"),
        ("9007199254740993", "1", "9007199254740994"),
        ("1e22", "1", "10000000000000000000000"),
        // Rounding errors show where the 64 bits end before the 17 digits do.
        ("1000000.1", "1", "1000001.10000000000002274"),
        ("18446744073709551615", "1", "18446744073709551616"),
        ("18446744073709551617", "0", "18446744073709551616"),
        // Ties go to even, in the significand and in the last digit shown.
        ("36893488147419103233", "0", "36893488147419103232"),
        ("36893488147419103235", "0", "36893488147419103236"),
        ("0x1p-18", "0", "0.00000381469726562"),
        ("0x.8p1", "-0x1", "0"),
        ("0.9999999999999999999", "0", "1"),
        ("1e-17", "0", "0.00000000000000001"),
        ("15e-18", "0", "0.00000000000000002"),
        ("4e-18", "0", "0"),
    ] {
        assert_eq!(sum(a, b).as_deref(), Some(expected), "{a} + {b}");
    }
}

#[test]
fn zero_has_no_sign() {
    for (a, b) in [
        ("-0", "0"),
        ("-0", "-0.0"),
        ("-1e-20", "0"),
        ("-1e-4950", "0"),
        ("1e20", "-1e20"),
        ("0.024390243902439025", "-0.024390243902439025"),
    ] {
        assert_eq!(sum(a, b).as_deref(), Some("0"), "{a} + {b}");
    }
}

#[test]
fn a_sum_that_is_not_finite_is_none() {
    for (a, b) in [("inf", "1"), ("1", "-Infinity"), ("inf", "-inf"), ("1e4932", "1e4932"), ("0x1p16383", "0x1p16383")]
    {
        assert_eq!(sum(a, b), None, "{a} + {b}");
    }
}

#[test]
fn what_is_no_number_or_does_not_fit_is_refused() {
    for text in [
        "",
        ".",
        "-",
        "+",
        "--1",
        "+-1",
        " 1",
        "1 ",
        "\t1",
        "1\0",
        "1x",
        "1e",
        "1e+",
        "1.2.3",
        "1_0",
        "0x",
        "0x.",
        "0xp1",
        "0x1p",
        "0b1",
        "infinit",
        "nan",
        "nan(1)",
        "\u{661}",
        "1e4933",
        "2e4932",
        "1e-4952",
        "-1e-99999999999999999999",
        "1e99999999999999999999",
        "0x1p16384",
        "0x1p-16447",
        "0x1p99999999999999999999",
    ] {
        assert_eq!(LongDouble::parse(text.as_bytes()), None, "{text:?}");
    }
}

#[test]
fn a_text_may_be_as_long_as_redis_allows_and_no_longer() {
    let zeros_then_one = |bytes: usize| format!("{:0>bytes$}", 1);
    assert_eq!(sum(&zeros_then_one(5119), "1").as_deref(), Some("2"));
    assert_eq!(LongDouble::parse(zeros_then_one(5120).as_bytes()), None);
    // The costliest ratio there is, and the largest number.
    let smallest = format!("0.{}1", "0".repeat(4949));
    assert_eq!(sum(&smallest, "0").as_deref(), Some("0"));
    let largest = format!("1{}", "0".repeat(4932));
    assert_eq!(sum(&largest, "0").map(|text| text.len()), Some(4933));
}

proptest! {
    #[test]
    fn integers_add_exactly(a in -(1_i64 << 62)..1_i64 << 62, b in -(1_i64 << 62)..1_i64 << 62) {
        prop_assert_eq!(sum(&a.to_string(), &b.to_string()), Some((a + b).to_string()));
    }

    /// Up to 17 digits in all survive the way in and out.
    #[test]
    fn short_decimals_come_back_as_they_were(integer in 1_u32..100, fraction in 0_u64..10_u64.pow(15)) {
        let text = format!("{integer}.{fraction:015}");
        let shown = sum(&text, "0").unwrap();
        prop_assert_eq!(shown, text.trim_end_matches('0').trim_end_matches('.'));
    }

    #[test]
    fn no_text_panics(text in r"[-+]?(0x)?[0-9a-f.]{0,30}([ep][-+]?[0-9]{1,6})?") {
        if let Some(number) = LongDouble::parse(text.as_bytes())
            && let Some(sum) = number.plus(number)
        {
            prop_assert!(LongDouble::parse(sum.to_string().as_bytes()).is_some());
        }
    }

    #[test]
    fn no_bytes_panic(text in prop::collection::vec(any::<u8>(), 0..20)) {
        LongDouble::parse(&text);
    }
}
