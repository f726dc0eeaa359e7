//! Replies as JSON, one line each.
//!
//! Invariant: every line is one JSON value (RFC 8259), whatever the server sent, and no bytes of the reply are lost. It holds
//! no character that commands a terminal, turns the direction of writing, or cannot be seen.

use super::hidden::{is_hidden, json_escape};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kvproto::Reply;
use kvproto::quote::{HighBytes, write_escaped};

/// How text becomes a JSON string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strings {
    /// UTF-8 as it is; other bytes as `{"base64":"..."}`.
    Utf8,
    /// With redis-cli's escapes within the string (`\xff` is `"\\xff"`), in ASCII only.
    Escaped,
}

/// Appends `reply` as one JSON value. Replies nest at most as deep as the decoder accepts, so this recursion is bounded.
///
/// | RESP | JSON |
/// |---|---|
/// | text and bytes | string; `{"base64":"..."}` if they are not UTF-8 |
/// | integer, double | number; `"inf"`, `"-inf"` and `"nan"` are strings |
/// | big number | string of digits, so that no reader rounds it |
/// | boolean, nil | `true`, `false`, `null` |
/// | array, set, push | array |
/// | map | object; an array of `[key, value]` if a key is not UTF-8, not a scalar, or there twice |
/// | error | `{"error":"..."}` |
pub fn write_json(reply: &Reply, strings: Strings, out: &mut Vec<u8>) {
    match reply {
        Reply::Nil | Reply::NilArray | Reply::Nothing | Reply::Attribute(_) => out.extend_from_slice(b"null"),
        Reply::Ok => out.extend_from_slice(b"\"OK\""),
        Reply::Simple(text) => write_bytes(text.as_bytes(), strings, out),
        Reply::Bulk(bytes) => write_bytes(bytes, strings, out),
        Reply::Verbatim { text, .. } => write_bytes(text, strings, out),
        Reply::Error(text) => {
            out.extend_from_slice(b"{\"error\":");
            write_bytes(text.as_bytes(), strings, out);
            out.push(b'}');
        }
        Reply::Integer(value) => out.extend_from_slice(value.to_string().as_bytes()),
        Reply::Double(_) | Reply::Decimal(_) => write_number(reply, out),
        Reply::Bool(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
        Reply::BigNumber(digits) => write_text(digits, out),
        Reply::Array(items) | Reply::Set(items) | Reply::Push(items) => {
            write_list(items.iter(), out, |item, out| write_json(item, strings, out));
        }
        Reply::Map(pairs) => write_map(pairs, strings, out),
    }
}

/// Appends `text` as a JSON string.
pub fn write_text(text: &str, out: &mut Vec<u8>) {
    // A string can always be written. What serde_json escapes is hidden no more.
    let quoted = serde_json::to_string(text).unwrap_or_default();
    for part in quoted.split_inclusive(is_hidden) {
        match part.chars().next_back() {
            Some(last) if is_hidden(last) => {
                out.extend_from_slice(part.trim_end_matches(last).as_bytes());
                out.extend_from_slice(json_escape(last).as_bytes());
            }
            _ => out.extend_from_slice(part.as_bytes()),
        }
    }
}

/// Appends `bytes` as a JSON string, or as the object that stands for bytes that are not text.
pub fn write_bytes(bytes: &[u8], strings: Strings, out: &mut Vec<u8>) {
    if strings == Strings::Escaped {
        let mut escaped = Vec::new();
        write_escaped(bytes, b'"', HighBytes::Escape, &mut escaped);
        return write_text(&String::from_utf8_lossy(&escaped), out);
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => write_text(text, out),
        Err(_) => {
            out.extend_from_slice(b"{\"base64\":\"");
            out.extend_from_slice(STANDARD.encode(bytes).as_bytes());
            out.extend_from_slice(b"\"}");
        }
    }
}

/// Appends a number in as few digits as name it, or a string where JSON has no such number.
fn write_number(reply: &Reply, out: &mut Vec<u8>) {
    let text = match reply {
        Reply::Double(value) if value.is_nan() => "nan".to_owned(),
        Reply::Double(value) => format!("{value:?}"),
        Reply::Decimal(digits) => digits.clone(),
        _ => return,
    };
    let digits = text.strip_suffix(".0").unwrap_or(&text);
    if serde_json::from_str::<serde_json::Number>(digits).is_ok() {
        out.extend_from_slice(digits.as_bytes());
    } else {
        write_text(digits, out);
    }
}

fn write_list<T>(items: impl Iterator<Item = T>, out: &mut Vec<u8>, mut write: impl FnMut(T, &mut Vec<u8>)) {
    out.push(b'[');
    for (at, item) in items.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write(item, out);
    }
    out.push(b']');
}

fn write_map(pairs: &[(Reply, Reply)], strings: Strings, out: &mut Vec<u8>) {
    let mut keys: Vec<Vec<u8>> = Vec::new();
    for (key, _) in pairs {
        let Some(key) = object_key(key, strings) else { break };
        keys.push(key);
    }
    let mut distinct: Vec<&Vec<u8>> = keys.iter().collect();
    distinct.sort_unstable();
    distinct.dedup();
    if distinct.len() != pairs.len() {
        return write_list(pairs.iter(), out, |(key, value), out| {
            write_list([key, value].into_iter(), out, |item, out| write_json(item, strings, out));
        });
    }
    out.push(b'{');
    for (at, (key, (_, value))) in keys.iter().zip(pairs).enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(key);
        out.push(b':');
        write_json(value, strings, out);
    }
    out.push(b'}');
}

/// Returns a map's key as a JSON string, if it has one.
fn object_key(key: &Reply, strings: Strings) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    match key {
        Reply::Array(_) | Reply::Set(_) | Reply::Push(_) | Reply::Map(_) | Reply::Error(_) => return None,
        key => write_json(key, strings, &mut out),
    }
    match out.first() {
        Some(b'"') => Some(out),
        // Bytes that are not text.
        Some(b'{') => None,
        _ => Some([b"\"", &out[..], b"\""].concat()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(reply: &Reply) -> String {
        written(reply, Strings::Utf8)
    }

    fn written(reply: &Reply, strings: Strings) -> String {
        let mut out = Vec::new();
        write_json(reply, strings, &mut out);
        let text = String::from_utf8(out).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        text
    }

    #[test]
    fn each_type_of_reply_has_its_type_of_json() {
        for (reply, text) in [
            (Reply::Ok, r#""OK""#),
            (Reply::simple("PONG"), r#""PONG""#),
            (Reply::bulk("a\"b\n\u{e9}\u{1}"), r#""a\"b\né\u0001""#),
            (Reply::bulk(""), r#""""#),
            (Reply::text("a\nb"), r#""a\nb""#),
            (Reply::error("ERR no"), r#"{"error":"ERR no"}"#),
            (Reply::Integer(i64::MIN), "-9223372036854775808"),
            (Reply::Double(0.1), "0.1"),
            (Reply::Double(2.0), "2"),
            (Reply::Double(-0.0), "-0"),
            (Reply::Double(1e300), "1e300"),
            (Reply::Double(f64::INFINITY), r#""inf""#),
            (Reply::Double(f64::NEG_INFINITY), r#""-inf""#),
            (Reply::Double(f64::NAN), r#""nan""#),
            (Reply::Decimal("3.14159265358979323846".to_owned()), "3.14159265358979323846"),
            (Reply::Decimal("\"x".to_owned()), r#""\"x""#),
            (Reply::BigNumber("123456789012345678901234567890".to_owned()), r#""123456789012345678901234567890""#),
            (Reply::Bool(true), "true"),
            (Reply::Bool(false), "false"),
            (Reply::Nil, "null"),
            (Reply::NilArray, "null"),
            (Reply::Array(vec![]), "[]"),
            (Reply::Map(vec![]), "{}"),
            (Reply::Set(vec![Reply::Integer(1), Reply::Nil]), "[1,null]"),
            (Reply::Push(vec![Reply::bulk("message"), Reply::Array(vec![Reply::Bool(true)])]), r#"["message",[true]]"#),
        ] {
            assert_eq!(json(&reply), text);
        }
    }

    #[test]
    fn bytes_that_are_not_text_are_kept() {
        assert_eq!(json(&Reply::bulk(&b"\xff\x00"[..])), r#"{"base64":"/wA="}"#);
        assert_eq!(
            json(&Reply::error(kvproto::Text::join(&[b"ERR '\xff'"]))),
            r#"{"error":{"base64":"RVJSICf/Jw=="}}"#
        );
    }

    #[test]
    fn characters_that_cannot_be_seen_are_escaped() {
        let hidden = "a\x1b\x7f\u{9b}\u{202e}\u{202e}\u{e0041}\u{e9}";
        let wanted = "\"a\\u001b\\u007f\\u009b\\u202e\\u202e\\udb40\\udc41\u{e9}\"";
        assert_eq!(json(&Reply::bulk(hidden)), wanted);
        assert_eq!(serde_json::from_str::<String>(wanted).unwrap(), hidden);
        assert_eq!(json(&Reply::Map(vec![(Reply::bulk("\u{9b}"), Reply::Nil)])), "{\"\\u009b\":null}");
    }

    #[test]
    fn maps_are_objects_where_their_keys_allow_it() {
        let map = |pairs: &[(Reply, i64)]| {
            json(&Reply::Map(pairs.iter().map(|(key, value)| (key.clone(), Reply::Integer(*value))).collect()))
        };
        assert_eq!(map(&[(Reply::bulk("a"), 1), (Reply::simple("b"), 2)]), r#"{"a":1,"b":2}"#);
        assert_eq!(
            map(&[(Reply::Integer(1), 1), (Reply::Bool(true), 2), (Reply::Nil, 3)]),
            r#"{"1":1,"true":2,"null":3}"#
        );
        // No key is lost to another one of the same name, nor any byte.
        assert_eq!(map(&[(Reply::bulk("1"), 1), (Reply::Integer(1), 2)]), r#"[["1",1],[1,2]]"#);
        assert_eq!(map(&[(Reply::bulk(&b"\xff"[..]), 1)]), r#"[[{"base64":"/w=="},1]]"#);
        assert_eq!(map(&[(Reply::Array(vec![]), 1)]), "[[[],1]]");
    }

    #[test]
    fn quoted_strings_hold_redis_clis_escapes_and_ascii_only() {
        assert_eq!(written(&Reply::bulk("a\"b\n\u{e9}"), Strings::Escaped), r#""a\\\"b\\n\\xc3\\xa9""#);
        assert_eq!(written(&Reply::bulk(&b"\xff"[..]), Strings::Escaped), r#""\\xff""#);
        let map = Reply::Map(vec![(Reply::bulk(&b"\xff"[..]), Reply::Nil)]);
        assert_eq!(written(&map, Strings::Escaped), r#"{"\\xff":null}"#);
    }
}
