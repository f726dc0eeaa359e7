//! `peek KEY`: everything about a key at once.
//!
//! Invariant: no more of a value is read than is shown, but for small hashes, sets and sorted sets, which servers send
//! whole. What the server cannot tell is left out. The access statistics are those before this look at the key.

use super::view::{View, write_string};
use crate::output::grouped;
use kvclient::format::{write_raw, write_visible_line};
use kvclient::{Connection, Reply};

/// How much of a string is read, in bytes.
const VALUE_BYTES_MAX: usize = 1024;
/// How many elements of a collection are read.
const ELEMENTS_MAX: usize = 10;

/// Returns what is shown about `key`.
///
/// # Errors
///
/// Those of the connection.
pub fn peek(connection: &mut Connection, view: View, key: &[u8]) -> kvclient::Result<Vec<u8>> {
    let last = (VALUE_BYTES_MAX - 1).to_string();
    let requests: [&[&[u8]]; 8] = [
        &[b"TYPE", key],
        &[b"PTTL", key],
        &[b"OBJECT", b"ENCODING", key],
        &[b"OBJECT", b"IDLETIME", key],
        &[b"OBJECT", b"FREQ", key],
        &[b"MEMORY", b"USAGE", key],
        &[b"STRLEN", key],
        &[b"GETRANGE", key, b"0", last.as_bytes()],
    ];
    let mut replies = connection.pipeline(requests)?.into_iter();
    let mut next = || replies.next().unwrap_or(Reply::Nil);
    let (kind, ttl, encoding, idle, frequency, memory) = (next(), next(), next(), next(), next(), next());
    let (length, value) = (next(), next());
    let mut out = Vec::new();
    let kind = match &kind {
        Reply::Simple(kind) if *kind == "none" => {
            write_string(key, &mut out);
            out.extend_from_slice(b" does not exist.\n");
            return Ok(out);
        }
        Reply::Simple(kind) => kind.to_string(),
        other => {
            view.write(other, &mut out);
            return Ok(out);
        }
    };
    line(&mut out, "key");
    write_string(key, &mut out);
    text_line(&mut out, "type", &kind);
    text_line(&mut out, "ttl", &ttl_text(&ttl));
    let collection = Collection::of(&kind);
    // A second round trip, for this type alone: asked for all types at once, most replies would be errors, which servers count.
    let (size, elements) = match collection {
        None => (length, None),
        Some(collection) => {
            let mut replies = connection.pipeline(collection.requests(key))?.into_iter();
            (replies.next().unwrap_or(Reply::Nil), replies.next())
        }
    };
    if let Reply::Integer(size) = size {
        let unit = match collection {
            None if size == 1 => "byte",
            None => "bytes",
            Some(collection) => collection.unit(size),
        };
        text_line(&mut out, "size", &format!("{} {unit}", grouped(size)));
    }
    if let Reply::Integer(bytes) = memory {
        text_line(&mut out, "memory", &format!("{} bytes", grouped(bytes)));
    }
    if let Reply::Bulk(encoding) = &encoding {
        text_line(&mut out, "encoding", &String::from_utf8_lossy(encoding));
    }
    // Which of the two a server has depends on its eviction policy.
    if let Reply::Integer(seconds) = idle {
        let text = if seconds < 60 { format!("{seconds} s") } else { duration_text(seconds.saturating_mul(1000)) };
        text_line(&mut out, "idle", &text);
    }
    if let Reply::Integer(frequency) = frequency {
        text_line(&mut out, "frequency", &format!("{frequency} (0 to 255, logarithmic)"));
    }
    line(&mut out, "value");
    let total = if let Reply::Integer(size) = size { usize::try_from(size).unwrap_or(0) } else { 0 };
    match (collection, elements) {
        (None, _) => {
            if let Reply::Bulk(bytes) = &value {
                let whole = whole_characters(bytes, total);
                view.write_value(whole, INDENT, &mut out);
                more(&mut out, total.saturating_sub(whole.len()), "bytes");
            } else {
                view.write(&value, &mut out);
            }
        }
        (Some(collection), Some(elements)) => collection.write(view, elements, total, &mut out),
        (Some(_), None) => {}
    }
    if out.last() != Some(&b'\n') {
        out.push(b'\n');
    }
    Ok(out)
}

/// What stands before the further lines of a value.
const INDENT: &str = "           ";

fn line(out: &mut Vec<u8>, name: &str) {
    if !out.is_empty() {
        out.push(b'\n');
    }
    out.extend_from_slice(format!("{name:11}").as_bytes());
}

fn text_line(out: &mut Vec<u8>, name: &str, text: &str) {
    line(out, name);
    // The server's words.
    write_visible_line(text.as_bytes(), out);
}

fn more(out: &mut Vec<u8>, left: usize, unit: &str) {
    if left > 0 {
        out.extend_from_slice(format!("\n{INDENT}... {} more {unit}", grouped(left)).as_bytes());
    }
}

/// Returns the beginning of a longer text without the part of a character that it ends with.
fn whole_characters(bytes: &[u8], total: usize) -> &[u8] {
    if bytes.len() >= total {
        return bytes;
    }
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => bytes.get(..error.valid_up_to()).unwrap_or(bytes),
        _ => bytes,
    }
}

fn ttl_text(ttl: &Reply) -> String {
    match ttl {
        Reply::Integer(-1) => "none".to_owned(),
        Reply::Integer(ms) if *ms >= 0 => format!("{} ({} ms)", duration_text(*ms), grouped(*ms)),
        _ => "unknown".to_owned(),
    }
}

/// Returns a duration in its two largest units.
pub fn duration_text(ms: i64) -> String {
    let seconds = ms / 1000;
    let (days, hours, minutes, rest) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    if days > 0 {
        format!("{days} d {hours} h")
    } else if hours > 0 {
        format!("{hours} h {minutes} min")
    } else if minutes > 0 {
        format!("{minutes} min {rest} s")
    } else {
        format!("{rest}.{} s", ms % 1000 / 100)
    }
}

/// A type of value that has elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Collection {
    Hash,
    List,
    Set,
    SortedSet,
    Stream,
}

impl Collection {
    fn of(kind: &str) -> Option<Collection> {
        match kind {
            "hash" => Some(Collection::Hash),
            "list" => Some(Collection::List),
            "set" => Some(Collection::Set),
            "zset" => Some(Collection::SortedSet),
            "stream" => Some(Collection::Stream),
            _ => None,
        }
    }

    /// The requests for the number of elements, and for the first ones.
    fn requests(self, key: &[u8]) -> [Vec<Vec<u8>>; 2] {
        let count = ELEMENTS_MAX.to_string();
        let last = (ELEMENTS_MAX - 1).to_string();
        let (size, range): (&str, Vec<&str>) = match self {
            Collection::Hash => ("HLEN", vec!["HSCAN", "0", "COUNT", &count]),
            Collection::List => ("LLEN", vec!["LRANGE", "0", &last]),
            Collection::Set => ("SCARD", vec!["SSCAN", "0", "COUNT", &count]),
            Collection::SortedSet => ("ZCARD", vec!["ZRANGE", "0", &last, "WITHSCORES"]),
            Collection::Stream => ("XLEN", vec!["XRANGE", "-", "+", "COUNT", &count]),
        };
        let mut words: Vec<Vec<u8>> = range.into_iter().map(|word| word.as_bytes().to_vec()).collect();
        words.insert(1, key.to_vec());
        [vec![size.as_bytes().to_vec(), key.to_vec()], words]
    }

    fn unit(self, count: i64) -> &'static str {
        match (self, count) {
            (Collection::Hash, 1) => "field",
            (Collection::Hash, _) => "fields",
            (Collection::Set | Collection::SortedSet, 1) => "member",
            (Collection::Set | Collection::SortedSet, _) => "members",
            (Collection::Stream, 1) => "entry",
            (Collection::Stream, _) => "entries",
            (Collection::List, 1) => "element",
            (Collection::List, _) => "elements",
        }
    }

    /// Appends the first elements, one a line.
    fn write(self, view: View, reply: Reply, total: usize, out: &mut Vec<u8>) {
        let items = match (self, reply) {
            (Collection::Hash | Collection::Set, Reply::Array(mut page)) => match page.pop() {
                Some(Reply::Array(items)) => items,
                _ => Vec::new(),
            },
            (_, Reply::Array(items)) => items,
            (_, other) => return view.write(&other, out),
        };
        let words = match self {
            Collection::Hash => 2,
            // RESP3 sends pairs.
            Collection::SortedSet if matches!(items.first(), Some(Reply::Bulk(_))) => 2,
            _ => 1,
        };
        let mut shown = 0;
        for element in items.chunks(words).take(ELEMENTS_MAX) {
            if shown > 0 {
                out.extend_from_slice(format!("\n{INDENT}").as_bytes());
            }
            shown += 1;
            let element = match element {
                [Reply::Array(pair)] => pair.as_slice(),
                element => element,
            };
            for (at, word) in element.iter().enumerate() {
                if at > 0 {
                    out.extend_from_slice(b"  ");
                }
                write_word(word, out);
            }
        }
        let left = total.saturating_sub(shown);
        more(out, left, self.unit(i64::try_from(left).unwrap_or(i64::MAX)));
    }
}

/// Appends a part of an element on one line, however large it is.
fn write_word(word: &Reply, out: &mut Vec<u8>) {
    const WORD_BYTES_MAX: usize = 100;
    match word {
        Reply::Bulk(bytes) => {
            let shown = whole_characters(bytes.get(..WORD_BYTES_MAX).unwrap_or(bytes), bytes.len());
            write_string(shown, out);
            if shown.len() < bytes.len() {
                out.extend_from_slice(format!("... {} more bytes", grouped(bytes.len() - shown.len())).as_bytes());
            }
        }
        Reply::Array(words) => {
            for (at, word) in words.iter().enumerate() {
                if at > 0 {
                    out.push(b' ');
                }
                write_word(word, out);
            }
        }
        // The server's words, whatever they are.
        other => {
            let mut text = Vec::new();
            write_raw(other, &mut text);
            write_visible_line(&text, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_their_two_largest_units() {
        let texts = [0, 59_940, 61_000, 3_723_000, 90_000_000].map(duration_text);
        assert_eq!(texts, ["0.0 s", "59.9 s", "1 min 1 s", "1 h 2 min", "1 d 1 h"]);
        assert_eq!(ttl_text(&Reply::Integer(1_500)), "1.5 s (1,500 ms)");
    }

    #[test]
    fn a_character_is_not_cut_in_two() {
        assert_eq!(whole_characters("aé".get(..).unwrap().as_bytes().get(..2).unwrap(), 3), b"a");
        assert_eq!(whole_characters(b"\xffa", 9), b"\xffa");
        assert_eq!(whole_characters(b"a\xc3", 2), b"a\xc3");
    }

    #[test]
    fn elements_are_bounded() {
        let page = |count: usize| {
            let words = (0..count * 2).map(|at| Reply::bulk(at.to_string())).collect();
            Reply::Array(vec![Reply::bulk("0"), Reply::Array(words)])
        };
        let mut out = Vec::new();
        Collection::Hash.write(View::default(), page(20), 20, &mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("\"0\"  \"1\"\n           \"2\"  \"3\"\n"), "{text}");
        assert!(text.ends_with("\"18\"  \"19\"\n           ... 10 more fields"), "{text}");
        let mut out = Vec::new();
        let pairs = vec![Reply::Array(vec![Reply::bulk("a"), Reply::Double(1.5)])];
        Collection::SortedSet.write(View::default(), Reply::Array(pairs), 1, &mut out);
        assert_eq!(out, b"\"a\"  1.5");
        let mut out = Vec::new();
        let large = vec![Reply::bulk(vec![b'x'; 1000])];
        Collection::List.write(View::default(), Reply::Array(large), 1, &mut out);
        assert!(out.ends_with(b"x\"... 900 more bytes"));
    }

    #[test]
    fn no_part_of_an_element_commands_the_terminal() {
        let hidden = "a\x1b[2J\u{9b}\u{202e}\n";
        let verbatim = Reply::Verbatim { format: *b"txt", text: hidden.as_bytes().into() };
        for part in [Reply::simple(hidden), Reply::error(hidden), verbatim, Reply::BigNumber(hidden.to_owned())] {
            let mut out = Vec::new();
            Collection::List.write(View::default(), Reply::Array(vec![part]), 1, &mut out);
            let text = String::from_utf8(out).unwrap();
            assert!(text.starts_with("a\\x1b[2J\\x9b\\u{202e}\\n"), "{text}");
        }
    }
}
