//! Words a reply for people and simple programs: the table in the parent module.
//!
//! Invariant: one reply adds exactly one line, or nothing; no byte of a value can end it early.

use super::Style;
use crate::error::CommandError;
use crate::number::{parse_integer, write_double};
use crate::quote::{HighBytes, write_escaped, write_quoted};
use crate::reply::Reply;
use crate::request::Request;
use crate::spec::Spec;
use crate::text::Text;

/// Appends `reply` as one line in `style`; nothing for [`Reply::Nothing`], attributes and QUIT. `command` is what is being
/// answered, if the words named a command at all; pushes and errors about a line have none.
pub fn speak(style: Style, command: Option<(&'static Spec, Request<'_>)>, reply: &Reply, out: &mut Vec<u8>) {
    if matches!(reply, Reply::Nothing | Reply::Attribute(_)) {
        return;
    }
    let name = command.map_or("", |(spec, _)| spec.name);
    if name == "quit" && !reply.is_error() {
        return;
    }
    if let (Style::Terse, Reply::Error(text), Some((spec, request))) = (style, reply, command)
        && let Some(text) = split_at_blanks(spec, request, text)
    {
        out.extend_from_slice(b"ERROR ");
        write_text(text.as_bytes(), out);
        out.push(b'\n');
        return;
    }
    let known = match (name, command) {
        // DEL of several keys is a count like any other.
        ("del", Some((_, request))) if request.len() > 2 => false,
        (_, Some((_, request))) => speak_known(style, name, request, reply, out),
        (_, None) => false,
    };
    if !known {
        speak_any(style, reply, out);
    }
    out.push(b'\n');
}

/// The replies with a wording of their own; false if this is none of them.
fn speak_known(style: Style, name: &str, request: Request<'_>, reply: &Reply, out: &mut Vec<u8>) -> bool {
    let key = request.get(1).unwrap_or_default();
    match (style, name, reply) {
        (Style::Terse, "set" | "put", Reply::Ok) => out.extend_from_slice(b"OK stored"),
        (Style::Verbose, "set" | "put", Reply::Ok) => {
            out.extend_from_slice(b"Added key ");
            write_named(key, out);
            out.extend_from_slice(b" with value ");
            write_named(request.get(2).unwrap_or_default(), out);
        }
        (Style::Terse, "del", Reply::Integer(1..)) => out.extend_from_slice(b"OK deleted"),
        (Style::Verbose, "del", Reply::Integer(1..)) => {
            out.extend_from_slice(b"Removed key ");
            write_named(key, out);
            out.push(b'.');
        }
        (Style::Terse, "get", Reply::Nil) | (Style::Terse, "del", Reply::Integer(_)) => {
            out.extend_from_slice(b"ERROR key not found");
        }
        (Style::Verbose, "get", Reply::Nil) | (Style::Verbose, "del", Reply::Integer(_)) => {
            out.extend_from_slice(b"ERR key ");
            write_named(key, out);
            out.extend_from_slice(b" not found");
        }
        (Style::Verbose, "print", Reply::Array(keys)) if keys.is_empty() => {
            out.extend_from_slice(b"Store is empty.");
        }
        _ => return false,
    }
    true
}

/// The terse style's error for words that were meant to be one: it splits at blanks and knows no quotes. `None` if that
/// does not explain `text`.
fn split_at_blanks(spec: &Spec, request: Request<'_>, text: &Text) -> Option<String> {
    let is_about_count = text.starts_with("ERR wrong number of arguments");
    let may_be_misread = is_about_count
        || text.starts_with("ERR unknown subcommand")
        || text.starts_with("ERR ttl must be")
        || [CommandError::Syntax, CommandError::NotAnInteger, CommandError::NotAFloat]
            .iter()
            .any(|error| *text == *error.to_string());
    if !may_be_misread {
        return None;
    }
    let is_quote = |byte: Option<&u8>| matches!(byte, Some(b'"' | b'\''));
    let mut words = request.iter().skip(1);
    if let Some(word) = words.find(|word| is_quote(word.first()) || is_quote(word.last())) {
        let word = String::from_utf8_lossy(word);
        return Some(format!(
            "quotes are not accepted: this style splits at blanks, and {word} is a word with a quote in it"
        ));
    }
    if is_about_count && spec.arity > 0 && request.len() > spec.arity.unsigned_abs() as usize {
        let text = String::from_utf8_lossy(text.without_err());
        return Some(format!("{text}: blanks are not accepted in a word, and quotes do not change that"));
    }
    let word = request.get(3).filter(|_| matches!(spec.name, "set" | "put"))?;
    let is_option = parse_integer(word).is_some() || spec.args.iter().any(|arg| arg.has_token(word));
    (!is_option).then(|| {
        let word = String::from_utf8_lossy(word);
        format!("blanks are not accepted in a value: this style splits at them, and {word} is a word of its own")
    })
}

/// Any reply, whatever was asked.
fn speak_any(style: Style, reply: &Reply, out: &mut Vec<u8>) {
    if let Reply::Error(text) = reply {
        out.extend_from_slice(match style {
            Style::Terse => b"ERROR ",
            Style::Plain | Style::Verbose => b"ERR ",
        });
        // The style's own word stands for the general code; another code tells something and stays.
        write_text(text.without_err(), out);
        return;
    }
    if style == Style::Terse {
        out.extend_from_slice(b"OK");
        if matches!(reply, Reply::Ok) || is_empty_list(reply) {
            return;
        }
        out.push(b' ');
    }
    write_value(style, reply, out);
}

fn is_empty_list(reply: &Reply) -> bool {
    match reply {
        Reply::Array(items) | Reply::Set(items) | Reply::Push(items) => items.is_empty(),
        Reply::Map(pairs) => pairs.is_empty(),
        _ => false,
    }
}

/// What a reply shows, at the top of its line.
fn write_value(style: Style, reply: &Reply, out: &mut Vec<u8>) {
    match reply {
        Reply::Bulk(bytes) => write_bytes(bytes, out),
        Reply::Verbatim { text, .. } => write_bytes(text, out),
        Reply::Simple(text) => write_text(text.as_bytes(), out),
        Reply::Error(text) => write_text(text.as_bytes(), out),
        Reply::BigNumber(digits) | Reply::Decimal(digits) => write_text(digits.as_bytes(), out),
        Reply::Ok => out.extend_from_slice(b"OK"),
        Reply::Integer(value) => {
            out.extend_from_slice(itoa::Buffer::new().format(*value).as_bytes());
        }
        Reply::Double(value) => write_double(*value, out),
        Reply::Bool(value) => out.push(if *value { b'1' } else { b'0' }),
        Reply::Nil | Reply::NilArray | Reply::Nothing | Reply::Attribute(_) => out.extend_from_slice(b"(nil)"),
        Reply::Array(items) | Reply::Set(items) | Reply::Push(items) => {
            write_items(style, items.iter(), out);
        }
        Reply::Map(pairs) => {
            write_items(style, pairs.iter().flat_map(|(key, value)| [key, value]), out);
        }
    }
}

/// The items of a list. Replies nest only as deep as the code that made them, so this recurses over no input.
fn write_items<'r>(style: Style, items: impl Iterator<Item = &'r Reply>, out: &mut Vec<u8>) {
    for (at, item) in items.enumerate() {
        if at > 0 {
            out.extend_from_slice(match style {
                Style::Terse => b" ",
                Style::Plain | Style::Verbose => b", ",
            });
        }
        match item {
            Reply::Bulk(bytes) => write_item(bytes, out),
            Reply::Verbatim { text, .. } => write_item(text, out),
            Reply::Simple(text) | Reply::Error(text) => write_item(text.as_bytes(), out),
            Reply::Array(_) | Reply::Set(_) | Reply::Push(_) | Reply::Map(_) => {
                out.push(b'[');
                write_value(style, item, out);
                out.push(b']');
            }
            item => write_value(style, item, out),
        }
    }
}

/// One item of a list, quoted if it could be taken for several, or for none.
fn write_item(bytes: &[u8], out: &mut Vec<u8>) {
    let unclear = bytes.iter().any(|byte| byte.is_ascii_control() || matches!(byte, b' ' | b',' | b'"' | b'\''));
    if unclear || bytes.is_empty() {
        write_quoted(bytes, HighBytes::Keep, out);
    } else {
        out.extend_from_slice(bytes);
    }
}

/// A value alone on its line, quoted if it would break the line.
fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    if bytes.iter().any(u8::is_ascii_control) {
        write_quoted(bytes, HighBytes::Keep, out);
    } else {
        out.extend_from_slice(bytes);
    }
}

/// A key or value within a sentence, between single quotes.
fn write_named(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'\'');
    if bytes.iter().any(u8::is_ascii_control) {
        write_escaped(bytes, b'\'', HighBytes::Keep, out);
    } else {
        out.extend_from_slice(bytes);
    }
    out.push(b'\'');
}

/// A text of the server's own; what it quotes of a client's words must not break the line.
fn write_text(text: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(text);
    for byte in &mut out[start..] {
        if byte.is_ascii_control() {
            *byte = b' ';
        }
    }
}
