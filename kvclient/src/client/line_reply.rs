//! Lines of the line protocol as replies: what a line shows depends on the command and on the server's style.
//!
//! Invariant: a line is read as the reply that it shows, or it is an error; a value is never taken for nil, nor one item for
//! several, nor an escape for what it stands for.

use crate::connection::Connection;
use crate::error::{Error, Result};
use kvproto::{Reply, parse_integer};

/// What the line shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Anything: a text as it stands, or `(nil)`.
    Any,
    /// That it was done, in the style's words, or `(nil)` if it was not.
    Done,
    /// A whole number.
    Number,
    /// A text that is never nil and needs no quotes.
    Text,
    /// A text that always has ends of lines, and so is always quoted.
    Quoted,
    /// A list of bytes.
    Items,
    /// Bytes, which a line does not show exactly: `(nil)` may be a value, and a value may look quoted.
    Value,
}

/// Returns whether the server's style is terse, so that its replies begin with `OK`.
pub(super) fn is_terse(connection: &mut Connection) -> Result<bool> {
    match connection.command(["PING"]) {
        Ok(reply) => Ok(reply == Reply::simple("OK PONG")),
        // It may want a login first.
        Err(Error::Reply(text)) => Ok(text.starts_with("ERROR ")),
        Err(error) => Err(error),
    }
}

/// Reads a line that shows `shape`. Replies that are no line are left as they are.
pub(super) fn read(shape: Shape, reply: Reply, is_terse: bool) -> Result<Reply> {
    let Reply::Simple(line) = &reply else {
        return Ok(reply);
    };
    let unlike = Error::Type { wanted: "a reply of the line protocol", got: "a line of another form" };
    let mut text = line.as_bytes();
    let mut is_bare = false;
    if is_terse {
        let Some(rest) = text.strip_prefix(b"OK") else {
            return Err(unlike);
        };
        is_bare = rest.is_empty();
        text = rest.strip_prefix(b" ").unwrap_or(rest);
    }
    Ok(match shape {
        Shape::Any if is_bare => Reply::Ok,
        Shape::Any | Shape::Done if text == b"(nil)" => Reply::Nil,
        Shape::Done => Reply::Ok,
        Shape::Any | Shape::Text | Shape::Value => Reply::simple(text.to_vec()),
        Shape::Number => Reply::Integer(parse_integer(text).ok_or(unlike)?),
        Shape::Quoted => match quoted(text) {
            Some((bytes, b"")) => Reply::bulk(bytes),
            _ => return Err(unlike),
        },
        Shape::Items => Reply::Array(items(text, if is_terse { b" " } else { b", " }).ok_or(unlike)?),
    })
}

/// Returns the items of a list; `None` if it is none. An item `(nil)` is nil: whether it is a value that looks so has to be
/// found out otherwise.
fn items(mut text: &[u8], between: &[u8]) -> Option<Vec<Reply>> {
    let mut items = Vec::new();
    if text.is_empty() {
        return Some(items);
    }
    loop {
        if text.first() == Some(&b'"') {
            let (item, rest) = quoted(text)?;
            items.push(Reply::bulk(item));
            text = rest;
        } else {
            // An item that holds what stands between items is quoted.
            let length = text.windows(between.len()).position(|bytes| bytes == between).unwrap_or(text.len());
            let (item, rest) = text.split_at_checked(length)?;
            items.push(if item == b"(nil)" { Reply::Nil } else { Reply::bulk(item) });
            text = rest;
        }
        if text.is_empty() {
            return Some(items);
        }
        text = text.strip_prefix(between)?;
    }
}

/// Returns the bytes that `text` begins with, between double quotes, and what follows them; `None` if it does not.
fn quoted(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut rest = text.strip_prefix(b"\"")?;
    let mut bytes = Vec::new();
    loop {
        rest = match rest {
            [b'"', rest @ ..] => return Some((bytes, rest)),
            [b'\\', b'x', high, low, rest @ ..] => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                bytes.push(u8::try_from(digit(high)? * 16 + digit(low)?).ok()?);
                rest
            }
            [b'\\', escaped, rest @ ..] => {
                bytes.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'a' => 0x07,
                    b'b' => 0x08,
                    other => *other,
                });
                rest
            }
            [byte, rest @ ..] => {
                bytes.push(*byte);
                rest
            }
            [] => return None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kvproto::line::{Style, speak};

    fn list(items: &[&[u8]], style: Style) -> Reply {
        let mut line = Vec::new();
        speak(style, None, &Reply::bulks(items.iter().copied()), &mut line);
        line.pop();
        read(Shape::Items, Reply::simple(line), style == Style::Terse).unwrap()
    }

    /// What the server's own codec writes is read as it was.
    #[test]
    fn lists_are_read_as_they_were_written_in_every_style() {
        let lists: &[&[&[u8]]] = &[
            &[],
            &[b"a"],
            &[b"a", b"b"],
            &[b""],
            &[b"", b""],
            &[b"a b", b"c,d", b"e, f", b"OK", b"ERR x", b"ERROR"],
            &[b"\"", b"'", b"\\", b"\\n", b"\"a\"", b"a\\x00b"],
            &[b"\x00\x07\x08\t\r\n\x1b\x7f", b"\xff\xc3\xa9", b"(nil", b"nil)"],
        ];
        for items in lists {
            for style in [Style::Terse, Style::Plain, Style::Verbose] {
                assert_eq!(list(items, style), Reply::bulks(items.iter().copied()), "{items:?} {style}");
            }
        }
    }

    #[test]
    fn a_line_of_another_form_is_an_error() {
        for (shape, line, is_terse) in [
            (Shape::Number, "OK", true),
            (Shape::Number, "five", false),
            (Shape::Items, "\"open", false),
            (Shape::Items, "\"a\"b", false),
            (Shape::Items, "OK \"\\x4\"", true),
            (Shape::Quoted, "plain", false),
            (Shape::Any, "PONG", true),
        ] {
            assert!(matches!(read(shape, Reply::simple(line), is_terse), Err(Error::Type { .. })), "{line}");
        }
    }

    #[test]
    fn the_words_of_each_style_are_left_out() {
        for (shape, line, is_terse, wanted) in [
            (Shape::Done, "OK stored", true, Reply::Ok),
            (Shape::Done, "OK", false, Reply::Ok),
            (Shape::Done, "Added key '(nil)' with value 'v'", false, Reply::Ok),
            (Shape::Done, "OK (nil)", true, Reply::Nil),
            (Shape::Done, "(nil)", false, Reply::Nil),
            (Shape::Number, "OK -5", true, Reply::Integer(-5)),
            (Shape::Number, "7", false, Reply::Integer(7)),
            (Shape::Any, "OK", true, Reply::Ok),
            (Shape::Any, "OK QUEUED", true, Reply::simple("QUEUED")),
            (Shape::Text, "OK string", true, Reply::simple("string")),
            (Shape::Quoted, "\"a\\r\\nb\"", false, Reply::bulk("a\r\nb")),
        ] {
            assert_eq!(read(shape, Reply::simple(line), is_terse).unwrap(), wanted, "{line}");
        }
    }
}
