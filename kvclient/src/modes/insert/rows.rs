//! Rows of CSV and lines of JSON as keys, values and times to live.
//!
//! Invariant: a row is read whole or is an error; nothing of it is guessed.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kvproto::parse_integer;
use memchr::memchr;
use serde::Deserialize;
use serde_json::value::RawValue;

/// The longest row, in bytes: that of the largest value that servers take by default, twice.
pub const ROW_BYTES_MAX: usize = 1 << 30;

/// A key to set.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    pub key: Vec<u8>,
    pub value: Vec<u8>,
    /// In seconds; `None` if it does not expire.
    pub ttl: Option<u64>,
}

impl Row {
    fn new(key: Vec<u8>, value: Vec<u8>, ttl: Option<i64>) -> Result<Row, String> {
        match ttl {
            None | Some(0) => Ok(Row { key, value, ttl: None }),
            Some(ttl) => match u64::try_from(ttl) {
                Ok(ttl) => Ok(Row { key, value, ttl: Some(ttl) }),
                Err(_) => Err("the ttl is negative".to_owned()),
            },
        }
    }

    /// Returns the words of the command that sets it.
    pub fn words(&self) -> Vec<Vec<u8>> {
        let mut words = vec![b"SET".to_vec(), self.key.clone(), self.value.clone()];
        if let Some(ttl) = self.ttl {
            words.extend([b"EX".to_vec(), ttl.to_string().into_bytes()]);
        }
        words
    }
}

/// The fields of a row, or what is wrong with it.
pub type Fields = Result<Vec<Vec<u8>>, String>;

/// Finds where the first row of CSV ends, in a text that grows; what was searched is not searched again.
#[derive(Debug, Default)]
pub struct RowEnd {
    searched: usize,
    within: Within,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Within {
    /// At the beginning of a field, where alone a quote opens.
    #[default]
    Start,
    Plain,
    Quotes,
    /// Behind a quote within quotes: the closing one, or the first of two.
    Quote,
}

impl RowEnd {
    /// Returns the length of the row with its end; `None` if more is needed.
    pub fn find(&mut self, text: &[u8]) -> Option<usize> {
        while let Some(rest) = text.get(self.searched..).filter(|rest| !rest.is_empty()) {
            if self.within == Within::Quotes {
                let quote = memchr(b'"', rest);
                self.searched += quote.map_or(rest.len(), |at| at + 1);
                if quote.is_some() {
                    self.within = Within::Quote;
                }
                continue;
            }
            self.searched += 1;
            self.within = match (self.within, rest.first()) {
                (_, Some(b'\n')) => return Some(self.searched),
                (_, Some(b',')) => Within::Start,
                (Within::Start | Within::Quote, Some(b'"')) => Within::Quotes,
                _ => Within::Plain,
            };
        }
        None
    }
}

/// Returns the fields of a row of CSV, with or without its end (RFC 4180: quotes, `""` within them, ends of lines too).
pub fn csv_fields(text: &[u8]) -> Fields {
    let mut fields = Vec::new();
    let mut field = Vec::new();
    let mut problem = None;
    let mut at = 0;
    // Within quotes; behind them.
    let (mut is_quoted, mut was_quoted) = (false, false);
    loop {
        let Some(&byte) = text.get(at) else {
            if is_quoted {
                problem = Some("a quote is not closed".to_owned());
            }
            break;
        };
        at += 1;
        match byte {
            b'"' if is_quoted => match text.get(at) {
                Some(b'"') => {
                    field.push(b'"');
                    at += 1;
                }
                _ => (is_quoted, was_quoted) = (false, true),
            },
            byte if is_quoted => {
                // Long values are copied in one piece.
                let rest = text.get(at - 1..).unwrap_or_default();
                let end = memchr(b'"', rest).unwrap_or(rest.len());
                debug_assert!(byte != b'"');
                field.extend_from_slice(rest.get(..end).unwrap_or_default());
                at += end - 1;
            }
            b'"' if field.is_empty() && !was_quoted => is_quoted = true,
            b',' => {
                fields.push(std::mem::take(&mut field));
                was_quoted = false;
            }
            b'\n' => break,
            b'\r' if matches!(text.get(at), Some(b'\n')) => break,
            _ if was_quoted => {
                problem.get_or_insert_with(|| "text stands behind a closing quote".to_owned());
            }
            byte => field.push(byte),
        }
    }
    fields.push(field);
    problem.map_or(Ok(fields), Err)
}

/// Returns whether the fields name the columns.
pub fn is_heading(fields: &[Vec<u8>]) -> bool {
    let names: [&[u8]; 3] = [b"key", b"value", b"ttl"];
    matches!(fields.len(), 2 | 3) && fields.iter().zip(names).all(|(field, name)| field.eq_ignore_ascii_case(name))
}

/// Returns what a row of CSV says.
pub fn csv_row(fields: Vec<Vec<u8>>) -> Result<Row, String> {
    let count = fields.len();
    let mut fields = fields.into_iter();
    match (fields.next(), fields.next(), fields.next(), fields.next()) {
        (Some(key), Some(value), None, None) => Row::new(key, value, None),
        (Some(key), Some(value), Some(ttl), None) if ttl.is_empty() => Row::new(key, value, None),
        (Some(key), Some(value), Some(ttl), None) => {
            let ttl = parse_integer(&ttl).ok_or("the ttl is not a whole number of seconds")?;
            Row::new(key, value, Some(ttl))
        }
        _ => Err(format!("a row has key,value or key,value,ttl: here are {count} fields")),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'l> {
    #[serde(borrow)]
    key: &'l RawValue,
    #[serde(borrow)]
    value: &'l RawValue,
    ttl: Option<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Base64 {
    base64: String,
}

/// Returns the bytes that a value of JSON stands for, as `--json` writes them; a number stands for the text it is.
fn json_bytes(value: &RawValue) -> Result<Vec<u8>, String> {
    let text = value.get();
    let bytes = match text.as_bytes().first() {
        Some(b'-' | b'0'..=b'9') => Ok(text.as_bytes().to_vec()),
        Some(b'{') => match serde_json::from_str(text) {
            Ok(Base64 { base64 }) => return STANDARD.decode(base64).map_err(|error| format!("base64: {error}")),
            Err(error) => Err(error),
        },
        _ => serde_json::from_str(text).map(String::into_bytes),
    };
    bytes.map_err(not_a_line)
}

/// Returns what a line of JSON says.
pub fn json_row(line: &[u8]) -> Result<Row, String> {
    let line: Line<'_> = serde_json::from_slice(line).map_err(not_a_line)?;
    Row::new(json_bytes(line.key)?, json_bytes(line.value)?, line.ttl)
}

fn not_a_line(error: serde_json::Error) -> String {
    format!(
        "not a line of {{\"key\":...,\"value\":...,\"ttl\":...}}, with strings, numbers or {{\"base64\":...}}: {error}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fields of the first row, and its length.
    fn fields(text: &str) -> (Result<Vec<String>, String>, usize) {
        let text_of =
            |fields: Vec<Vec<u8>>| fields.into_iter().map(|field| String::from_utf8(field).unwrap()).collect();
        let length = RowEnd::default().find(text.as_bytes());
        // However it arrives.
        let mut end = RowEnd::default();
        assert_eq!((0..=text.len()).find_map(|at| end.find(&text.as_bytes()[..at])), length, "{text:?}");
        let length = length.unwrap_or(text.len());
        (csv_fields(&text.as_bytes()[..length]).map(text_of), length)
    }

    #[test]
    fn csv_has_quotes_and_ends_of_lines() {
        for (text, expected, taken) in [
            ("a,b\nc", &["a", "b"][..], 4),
            ("a,b\r\nc", &["a", "b"], 5),
            ("\"a,\"\"\n\",b,", &["a,\"\n", "b", ""], 10),
            ("a", &["a"], 1),
            (",\n", &["", ""], 2),
            ("a\"b,c\n", &["a\"b", "c"], 6),
            ("\n", &[""], 1),
            ("\"\"\"\"\n,", &["\""], 5),
            ("a\rb\r\nc", &["a\rb"], 5),
        ] {
            let (fields, count) = fields(text);
            assert_eq!(
                (fields.unwrap(), count),
                (expected.iter().map(|s| (*s).to_owned()).collect(), taken),
                "{text:?}"
            );
        }
        assert!(fields("\"a").0.is_err());
        assert_eq!(fields("\"a\"b\",c\nd").1, 8);
        assert!(fields("\"a\"b,c\nd").0.is_err());
        // More may change what it is.
        for text in ["", "a,b", "\"a\"", "a\r", "\"a\n"] {
            assert_eq!(RowEnd::default().find(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn rows_have_a_key_a_value_and_perhaps_a_ttl() {
        let row = |words: &[&str]| csv_row(words.iter().map(|word| word.as_bytes().to_vec()).collect());
        let expected = |ttl| Row { key: b"k".to_vec(), value: b"v".to_vec(), ttl };
        assert_eq!(row(&["k", "v"]), Ok(expected(None)));
        assert_eq!(row(&["k", "v", ""]), Ok(expected(None)));
        assert_eq!(row(&["k", "v", "0"]), Ok(expected(None)));
        assert_eq!(row(&["k", "v", "10"]), Ok(expected(Some(10))));
        for bad in [&["k"][..], &["k", "v", "1", "2"], &["k", "v", "-1"], &["k", "v", "x"]] {
            assert!(row(bad).is_err(), "{bad:?}");
        }
        assert!(is_heading(&[b"Key".to_vec(), b"VALUE".to_vec()]) && !is_heading(&[b"key".to_vec()]));
        assert_eq!(expected(Some(10)).words(), [&b"SET"[..], b"k", b"v", b"EX", b"10"]);
    }

    #[test]
    fn json_lines_hold_text_numbers_and_bytes() {
        let row = |key: &[u8], value: &[u8], ttl| Row { key: key.to_vec(), value: value.to_vec(), ttl };
        assert_eq!(json_row(r#"{"key":"k","value":"é"}"#.as_bytes()), Ok(row(b"k", "é".as_bytes(), None)));
        assert_eq!(json_row(br#"{"value":1.5,"key":7,"ttl":3}"#), Ok(row(b"7", b"1.5", Some(3))));
        assert_eq!(json_row(br#"{"key":{"base64":"/w=="},"value":"","ttl":null}"#), Ok(row(b"\xff", b"", None)));
        for number in ["12345678901234567890123", "1.10", "1e2", "-0"] {
            let line = format!("{{\"key\":\"k\", \"value\": {number} }}");
            assert_eq!(json_row(line.as_bytes()), Ok(row(b"k", number.as_bytes(), None)));
        }
        for bad in [
            &br#"{"key":"k"}"#[..],
            br#"{"key":"k","value":true}"#,
            br#"{"key":"k","value":["v"]}"#,
            br#"{"key":"k","value":{"base64":"/w==","x":1}}"#,
            br#"{"key":"k","value":01}"#,
            br#"{"key":"k","value":null}"#,
            br#"{"key":"k","value":"v","tll":1}"#,
            br#"{"key":"k","value":"v","ttl":-1}"#,
            br#"{"key":"k","value":{"base64":"?"}}"#,
            b"x",
        ] {
            assert!(json_row(bad).is_err(), "{}", bad.escape_ascii());
        }
    }
}
