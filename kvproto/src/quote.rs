//! Bytes shown as text on one line.
//!
//! Invariant: what is written holds no control character, and reading it back as a quoted word gives the same bytes.

/// How bytes beyond ASCII are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HighBytes {
    /// As they are, so that UTF-8 text stays readable.
    Keep,
    /// As `\xNN`, as redis-cli shows them.
    Escape,
}

/// Appends `bytes` between double quotes, with `"`, `\` and control characters escaped.
pub fn write_quoted(bytes: &[u8], high: HighBytes, out: &mut Vec<u8>) {
    out.push(b'"');
    write_escaped(bytes, b'"', high, out);
    out.push(b'"');
}

/// Appends `bytes` with backslashes, control characters and the byte `quote` escaped.
pub fn write_escaped(bytes: &[u8], quote: u8, high: HighBytes, out: &mut Vec<u8>) {
    for &byte in bytes {
        match byte {
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x07 => out.extend_from_slice(b"\\a"),
            0x08 => out.extend_from_slice(b"\\b"),
            byte if byte == quote || byte == b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b' '..=b'~' => out.push(byte),
            0x80.. if high == HighBytes::Keep => out.push(byte),
            byte => {
                const DIGITS: &[u8; 16] = b"0123456789abcdef";
                let digits = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
                out.extend_from_slice(b"\\x");
                out.extend_from_slice(&digits);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quoted(bytes: &[u8], high: HighBytes) -> Vec<u8> {
        let mut out = Vec::new();
        write_quoted(bytes, high, &mut out);
        out
    }

    #[test]
    fn escapes_what_would_break_or_blur_the_line() {
        let bytes = b"a\"b\\c\n\r\t\x07\x08\x00\x1b\x7f'";
        assert_eq!(quoted(bytes, HighBytes::Escape), br#""a\"b\\c\n\r\t\a\b\x00\x1b\x7f'""#);
    }

    #[test]
    fn bytes_beyond_ascii_are_kept_or_escaped() {
        assert_eq!(quoted("é".as_bytes(), HighBytes::Keep), "\"é\"".as_bytes());
        assert_eq!(quoted("é".as_bytes(), HighBytes::Escape), br#""\xc3\xa9""#);
    }
}
