//! Values as a person reads them: text as text, JSON indented on request, other bytes in hexadecimal.
//!
//! Invariant: what is shown holds no control character but ends of lines, none of Unicode that is invisible or turns the
//! direction of writing, and of a binary value a bounded number of rows. A quoted string, typed again, is the same bytes.

pub use crate::output::write_string;
use crate::output::{grouped, is_hidden, json_escape};
use kvclient::format::{write_pretty_with, write_visible_line};
use kvproto::Reply;
use serde::de::IgnoredAny;
use std::io::Write;

/// Binary values up to this size are shown as a string with escapes, in bytes: it can be typed again.
const ESCAPED_BYTES_MAX: usize = 16;
/// How many bytes of a binary value are shown.
const HEX_BYTES_MAX: usize = 256;
/// How many bytes a row shows at most, and how many columns a row of so many takes.
const ROW_BYTES_MAX: usize = 16;
const fn row_columns(bytes: usize) -> usize {
    "00000000 ".len() + bytes * " 00".len() + 1 + "  ||".len() + bytes
}
/// JSON that is nested deeper is shown as a string.
const JSON_DEPTH_MAX: usize = 100;

/// Begins red text.
pub const RED: &[u8] = b"\x1b[31m";
/// Ends it.
pub const PLAIN: &[u8] = b"\x1b[0m";

/// How values are shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct View {
    /// JSON is indented.
    pub json: bool,
    /// Errors are red.
    pub colors: bool,
    /// How many columns the screen has; 0 if that is not known.
    pub columns: usize,
}

impl View {
    /// Appends a reply.
    pub fn write(self, reply: &Reply, out: &mut Vec<u8>) {
        write_pretty_with(reply, &|leaf, indent, out| self.write_leaf(leaf, indent, out), out);
    }

    fn write_leaf(self, leaf: &Reply, indent: &str, out: &mut Vec<u8>) -> bool {
        match leaf {
            Reply::Bulk(bytes) => self.write_value(bytes, indent, out),
            Reply::Error(text) => self.write_error(text.as_bytes(), out),
            _ => return false,
        }
        true
    }

    /// Appends an error's text, without an end of line.
    pub fn write_error(self, text: &[u8], out: &mut Vec<u8>) {
        let (before, after) = if self.colors { (RED, PLAIN) } else { (&b""[..], &b""[..]) };
        out.extend_from_slice(before);
        out.extend_from_slice(b"(error) ");
        write_visible_line(text, out);
        out.extend_from_slice(after);
    }

    /// Appends a value, without an end of line; `indent` stands before its further lines.
    pub fn write_value(self, bytes: &[u8], indent: &str, out: &mut Vec<u8>) {
        if self.json
            && let Some(text) = json(bytes)
        {
            write_indented(&text, indent, out);
        } else if is_binary(bytes) && bytes.len() > ESCAPED_BYTES_MAX {
            self.write_hex(bytes, indent, out);
        } else {
            write_string(bytes, out);
        }
    }

    /// Appends rows of an offset, the bytes in hexadecimal, and their ASCII characters.
    fn write_hex(self, bytes: &[u8], indent: &str, out: &mut Vec<u8>) {
        let fits = |row: &usize| self.columns == 0 || indent.len() + row_columns(*row) <= self.columns;
        let row_bytes = [ROW_BYTES_MAX, 8].into_iter().find(fits).unwrap_or(4);
        let shown = bytes.get(..HEX_BYTES_MAX).unwrap_or(bytes);
        for (at, row) in shown.chunks(row_bytes).enumerate() {
            if at > 0 {
                out.push(b'\n');
                out.extend_from_slice(indent.as_bytes());
            }
            // Writing to memory cannot fail.
            let _ = write!(out, "{:08x} ", at * row_bytes);
            for column in 0..row_bytes {
                let gap = if column == row_bytes / 2 { "  " } else { " " };
                let _ = match row.get(column) {
                    Some(byte) => write!(out, "{gap}{byte:02x}"),
                    None => write!(out, "{gap}  "),
                };
            }
            out.extend_from_slice(b"  |");
            out.extend(row.iter().map(|byte| if byte.is_ascii_graphic() || *byte == b' ' { *byte } else { b'.' }));
            out.push(b'|');
        }
        if bytes.len() > shown.len() {
            let _ = write!(out, "\n{indent}... {} more bytes", grouped(bytes.len() - shown.len()));
        }
    }
}

/// Returns whether bytes are no text.
pub fn is_binary(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err() || bytes.contains(&0)
}

/// Appends lines; `indent` stands before every line but the first.
fn write_indented(text: &str, indent: &str, out: &mut Vec<u8>) {
    for (at, line) in text.lines().enumerate() {
        if at > 0 {
            out.push(b'\n');
            out.extend_from_slice(indent.as_bytes());
        }
        out.extend_from_slice(line.as_bytes());
    }
}

/// Returns a JSON object or array on several lines; `None` if the bytes are something else. Only white space is changed, and
/// characters that cannot be seen are escaped: numbers keep their digits, and objects the order of their members.
pub fn json(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?.trim();
    if !text.starts_with(['{', '[']) || serde_json::from_str::<IgnoredAny>(text).is_err() {
        return None;
    }
    let mut out = String::new();
    let mut depth: usize = 0;
    let mut characters = text.chars().peekable();
    let new_line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.push_str(&"  ".repeat(depth));
    };
    while let Some(character) = characters.next() {
        match character {
            '"' => {
                out.push('"');
                let mut escaped = false;
                for character in characters.by_ref() {
                    push_visible(character, &mut out);
                    if character == '"' && !escaped {
                        break;
                    }
                    escaped = character == '\\' && !escaped;
                }
            }
            '{' | '[' => {
                out.push(character);
                while characters.next_if(|next| next.is_ascii_whitespace()).is_some() {}
                if let Some(closing) = characters.next_if(|next| matches!(next, '}' | ']')) {
                    out.push(closing);
                } else {
                    depth += 1;
                    if depth > JSON_DEPTH_MAX {
                        return None;
                    }
                    new_line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                new_line(&mut out, depth);
                out.push(character);
            }
            ',' => {
                out.push(',');
                new_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            character if character.is_ascii_whitespace() => {}
            character => out.push(character),
        }
    }
    Some(out)
}

fn push_visible(character: char, out: &mut String) {
    if is_hidden(character) {
        out.push_str(&json_escape(character));
    } else {
        out.push(character);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(view: View, reply: &Reply) -> String {
        let mut out = Vec::new();
        view.write(reply, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn value(bytes: &[u8]) -> String {
        shown(View::default(), &Reply::bulk(bytes))
    }

    #[test]
    fn text_is_shown_as_text() {
        assert_eq!(value("Grüße, 世界 👩‍🚀".as_bytes()), "\"Grüße, 世界 👩‍🚀\"\n");
        assert_eq!(value(b"a\"b\\\n\t\r\x07\x08'"), "\"a\\\"b\\\\\\n\\t\\r\\a\\b'\"\n");
    }

    #[test]
    fn what_commands_a_terminal_or_cannot_be_seen_is_escaped() {
        for hidden in
            ["\x1b", "\x7f", "\u{9b}", "\u{202e}", "\u{2066}", "\u{200b}", "\u{feff}", "\u{2028}", "\u{e0041}"]
        {
            let escaped: String = hidden.bytes().map(|byte| format!("\\x{byte:02x}")).collect();
            assert_eq!(value(format!("a{hidden}b").as_bytes()), format!("\"a{escaped}b\"\n"));
            let json = json(format!("[\"{hidden}\"]").as_bytes());
            assert!(json.is_none_or(|json| !json.contains(hidden)));
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_shown_in_hexadecimal_and_bounded() {
        assert_eq!(value(b"\xff\x00a"), "\"\\xff\\x00a\"\n");
        let bytes: Vec<u8> = (0..=255).collect();
        let rows = value(&bytes[0x38..0x38 + 130]);
        let first = "00000000  38 39 3a 3b 3c 3d 3e 3f  40 41 42 43 44 45 46 47  |89:;<=>?@ABCDEFG|\n";
        assert!(rows.starts_with(first), "{rows}");
        let last = format!("00000080  b8 b9{:43}  |..|\n", "");
        assert!(rows.ends_with(&last), "{rows}");
        let long = value(&[0xff; 5000]);
        assert_eq!(long.lines().count(), 17);
        assert!(long.ends_with("\n... 4,744 more bytes\n"), "{long}");
        let narrow = |columns| {
            let view = View { columns, ..View::default() };
            shown(view, &Reply::bulk(&[0xff; 32][..])).lines().map(str::len).max().unwrap_or(0)
        };
        assert_eq!([0, 80, 77, 40, 1].map(narrow), [78, 78, 46, 30, 30]);
        let nested = shown(View::default(), &Reply::Array(vec![Reply::bulk(&[0; 20][..])]));
        assert!(nested.starts_with("1) 00000000  00") && nested.contains("\n   00000010  00"), "{nested}");
    }

    #[test]
    fn json_is_indented_on_request_and_nothing_of_it_is_lost() {
        let text = br#"{"b":[1.10,{"a": "x\"}:,\u00e9"}], "a":{},"c":[ ], "b":12345678901234567890}"#;
        let pretty = shown(View { json: true, ..View::default() }, &Reply::bulk(&text[..]));
        let wanted = "{\n  \"b\": [\n    1.10,\n    {\n      \"a\": \"x\\\"}:,\\u00e9\"\n    }\n  ],\n  \"a\": {},\n  \"c\": [],\n  \
                      \"b\": 12345678901234567890\n}\n";
        assert_eq!(pretty, wanted);
        assert!(value(text).starts_with("\"{\\\"b"));
        for other in ["{", "12", "\"a\"", "[1,]", "{} x"] {
            assert_eq!(json(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn errors_are_red_where_there_are_colours() {
        let view = View { colors: true, ..View::default() };
        assert_eq!(shown(view, &Reply::error("ERR no\x1b")), "\x1b[31m(error) ERR no\\x1b\x1b[0m\n");
        assert_eq!(shown(View::default(), &Reply::error("ERR no")), "(error) ERR no\n");
    }
}
