//! Numbers in requests and replies, read and written as Redis clients expect.
//!
//! Invariant: an integer has exactly one spelling, so what [`parse_integer`] accepts is what was printed.

use std::io::Write;

/// Reads a decimal integer: an optional `-`, digits, nothing else. No `+`, no blanks, no needless zeros (`007`, `-0`).
pub fn parse_integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [b'1'..=b'9', ..] => {}
        _ => return None,
    }
    // Accumulated below zero, where there is room for i64::MIN as well.
    let mut value: i64 = 0;
    for &byte in digits {
        if !byte.is_ascii_digit() {
            return None;
        }
        value = value.checked_mul(10)?.checked_sub(i64::from(byte - b'0'))?;
    }
    if negative { Some(value) } else { value.checked_neg() }
}

/// The longest text that is read as a float, in bytes.
const FLOAT_BYTES_MAX: usize = 5 * 1024;

/// Reads a decimal number: `1`, `-1.5`, `.5`, `1e3`, `inf`. Blanks around it, NaN, and numbers too large for an `f64`
/// are refused. (Redis also reads hexadecimal floats; we do not.)
pub fn parse_float(text: &[u8]) -> Option<f64> {
    if text.len() > FLOAT_BYTES_MAX {
        return None;
    }
    let value: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    let overflowed = value.is_infinite() && text.iter().any(u8::is_ascii_digit);
    if value.is_nan() || overflowed {
        return None;
    }
    Some(value)
}

/// Appends `value` with 17 significant digits at most, trailing zeros dropped, the exponent only where the plain
/// spelling would be long: C's `%.17g`. Reading it back gives `value` again. NaN is written `nan`.
pub fn write_double(value: f64, out: &mut Vec<u8>) {
    if value.is_nan() {
        out.extend_from_slice(b"nan");
        return;
    }
    if value.is_infinite() {
        out.extend_from_slice(if value > 0.0 { b"inf" } else { b"-inf" });
        return;
    }
    // Scientific spelling with all 17 digits, e.g. `-1.2345678901234567e-10`: 24 bytes at most.
    let mut buffer = [0u8; 32];
    let mut unused = &mut buffer[..];
    if write!(unused, "{value:.16e}").is_err() {
        return;
    }
    let written = 32 - unused.len();
    let scientific = &buffer[..written];
    let Some(e) = scientific.iter().position(|&byte| byte == b'e') else {
        return;
    };
    let exponent = parse_integer(&scientific[e + 1..]).unwrap_or(0);
    let (negative, mantissa) = match &scientific[..e] {
        [b'-', mantissa @ ..] => (true, mantissa),
        mantissa => (false, mantissa),
    };
    if negative {
        out.push(b'-');
    }
    // The digits without the point, then without trailing zeros; one digit always stays.
    let mut digits = [0u8; 17];
    let mut count = 0;
    for (slot, &digit) in digits.iter_mut().zip(mantissa.iter().filter(|byte| byte.is_ascii_digit())) {
        *slot = digit;
        count += 1;
    }
    while count > 1 && digits[count - 1] == b'0' {
        count -= 1;
    }
    write_digits(&digits[..count], exponent, out);
}

/// Places the point, or an exponent, among the significant `digits` of a number whose first digit stands for
/// 10 to the power `exponent`.
fn write_digits(digits: &[u8], exponent: i64, out: &mut Vec<u8>) {
    let Some((&first, rest)) = digits.split_first() else {
        return;
    };
    if !(-4..17).contains(&exponent) {
        out.push(first);
        if !rest.is_empty() {
            out.push(b'.');
            out.extend_from_slice(rest);
        }
        out.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
        if exponent.abs() < 10 {
            out.push(b'0');
        }
        out.extend_from_slice(itoa::Buffer::new().format(exponent.abs()).as_bytes());
    } else if exponent < 0 {
        out.extend_from_slice(b"0.");
        for _ in 1..-exponent {
            out.push(b'0');
        }
        out.extend_from_slice(digits);
    } else {
        let whole = exponent as usize + 1;
        for at in 0..whole.max(digits.len()) {
            if at == whole {
                out.push(b'.');
            }
            out.push(digits.get(at).copied().unwrap_or(b'0'));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_have_one_spelling() {
        for (text, value) in [
            ("0", Some(0)),
            ("7", Some(7)),
            ("-7", Some(-7)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("-9223372036854775809", None),
            ("99999999999999999999999", None),
            ("", None),
            ("-", None),
            ("-0", None),
            ("007", None),
            ("+1", None),
            (" 1", None),
            ("1 ", None),
            ("1.0", None),
            ("1\0", None),
        ] {
            assert_eq!(parse_integer(text.as_bytes()), value, "{text:?}");
        }
    }

    #[test]
    fn floats_are_finite_or_say_inf() {
        for (text, value) in [
            ("1", Some(1.0)),
            ("-1.5", Some(-1.5)),
            (".5", Some(0.5)),
            ("5.", Some(5.0)),
            ("+3", Some(3.0)),
            ("1e3", Some(1000.0)),
            ("inf", Some(f64::INFINITY)),
            ("-Inf", Some(f64::NEG_INFINITY)),
            ("nan", None),
            ("1e999", None),
            ("", None),
            (" 1", None),
            ("1 ", None),
            ("1x", None),
        ] {
            assert_eq!(parse_float(text.as_bytes()), value, "{text:?}");
        }
        assert_eq!(parse_float(&[b'1'; FLOAT_BYTES_MAX + 1]), None);
    }

    /// Expected texts printed by C's printf("%.17g").
    #[test]
    fn doubles_are_spelled_as_c_spells_them() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-1.5, "-1.5"),
            (0.1, "0.10000000000000001"),
            (3.0e20, "3e+20"),
            (1e17, "1e+17"),
            (1e16, "10000000000000000"),
            (123456789012345680.0, "1.2345678901234568e+17"),
            (0.0001, "0.0001"),
            (0.00001, "1.0000000000000001e-05"),
            (1e100, "1e+100"),
            (f64::MAX, "1.7976931348623157e+308"),
            (5e-324, "4.9406564584124654e-324"),
            (1234.5, "1234.5"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
        ] {
            let mut out = Vec::new();
            write_double(value, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), text);
        }
    }
}
