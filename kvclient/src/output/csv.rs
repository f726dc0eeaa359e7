//! Replies as comma-separated values, one line each, with redis-cli's quoting.
//!
//! Invariant: every reply is one line, and no two different lists of scalars have the same line.

use kvproto::Reply;
use kvproto::number::write_double;
use kvproto::quote::{HighBytes, write_quoted};

/// Appends `reply` as one line without its end: text in double quotes with redis-cli's escapes (`\"`, `\n`, `\xff`),
/// numbers and booleans bare, nil as `NULL`, an error as `ERROR` and its text. Lists and maps are flat, however they nest.
/// Replies nest at most as deep as the decoder accepts, so this recursion is bounded.
pub fn write_csv(reply: &Reply, out: &mut Vec<u8>) {
    match reply {
        Reply::Nil | Reply::NilArray | Reply::Nothing | Reply::Attribute(_) => out.extend_from_slice(b"NULL"),
        Reply::Ok => out.extend_from_slice(b"\"OK\""),
        Reply::Simple(text) => write_quoted(text.as_bytes(), HighBytes::Escape, out),
        Reply::Bulk(bytes) => write_quoted(bytes, HighBytes::Escape, out),
        Reply::Verbatim { text, .. } => write_quoted(text, HighBytes::Escape, out),
        Reply::Error(text) => {
            out.extend_from_slice(b"ERROR,");
            write_quoted(text.as_bytes(), HighBytes::Escape, out);
        }
        Reply::Integer(value) => out.extend_from_slice(value.to_string().as_bytes()),
        Reply::Double(value) => write_double(*value, out),
        Reply::Decimal(digits) | Reply::BigNumber(digits) => {
            // Digits, unless the server sent something else.
            if digits.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b',')) {
                out.extend_from_slice(digits.as_bytes());
            } else {
                write_quoted(digits.as_bytes(), HighBytes::Escape, out);
            }
        }
        Reply::Bool(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
        Reply::Array(items) | Reply::Set(items) | Reply::Push(items) => write_items(items.iter(), out),
        Reply::Map(pairs) => write_items(pairs.iter().flat_map(|(key, value)| [key, value]), out),
    }
}

fn write_items<'r>(items: impl Iterator<Item = &'r Reply>, out: &mut Vec<u8>) {
    for (at, item) in items.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write_csv(item, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_redis_clis() {
        for (reply, line) in [
            (Reply::Ok, r#""OK""#),
            (Reply::bulk("a\"b,\n\u{e9}"), r#""a\"b,\n\xc3\xa9""#),
            (Reply::Integer(-1), "-1"),
            (Reply::Double(1.5), "1.5"),
            (Reply::Bool(true), "true"),
            (Reply::Nil, "NULL"),
            (Reply::BigNumber("12345678901234567890".to_owned()), "12345678901234567890"),
            (Reply::BigNumber("1\n2".to_owned()), r#""1\n2""#),
            (Reply::error("ERR no"), r#"ERROR,"ERR no""#),
            (Reply::Array(vec![]), ""),
            (Reply::Array(vec![Reply::bulk("a"), Reply::Nil, Reply::Integer(1)]), r#""a",NULL,1"#),
            (
                Reply::Map(vec![(Reply::bulk("k"), Reply::bulks(["a", "b"])), (Reply::bulk("l"), Reply::Nil)]),
                r#""k","a","b","l",NULL"#,
            ),
        ] {
            let mut out = Vec::new();
            write_csv(&reply, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), line);
        }
    }
}
