//! Replies as text: for a terminal as redis-cli shows them, or raw for other programs.
//!
//! Invariant: text for a terminal holds no control character but line ends and tabs, and nothing that turns the
//! direction of writing, whatever the server sent: a value cannot command the terminal or show as what it is not.

use kvproto::Reply;
use kvproto::number::write_double;
use kvproto::quote::{HighBytes, write_quoted};

/// Appends `reply` as lines for a terminal: strings quoted, types named, lists numbered.
pub fn write_pretty(reply: &Reply, out: &mut Vec<u8>) {
    write_indented(reply, "", &|_, _, _| false, out);
}

/// As [`write_pretty`], but each reply that is no list is first passed to `leaf`, with what stands before its further
/// lines. Returns true if it has appended the reply, without the end of its last line.
#[doc(hidden)]
pub fn write_pretty_with(reply: &Reply, leaf: Leaf<'_>, out: &mut Vec<u8>) {
    write_indented(reply, "", leaf, out);
}

/// See [`write_pretty_with`].
type Leaf<'l> = &'l dyn Fn(&Reply, &str, &mut Vec<u8>) -> bool;

/// `indent` stands before every line but the first, whose beginning the caller has written. Replies nest at most as
/// deep as the decoder accepts, so this recursion is bounded.
fn write_indented(reply: &Reply, indent: &str, leaf: Leaf<'_>, out: &mut Vec<u8>) {
    match reply {
        Reply::Array(items) => return write_items(items, ')', "(empty array)\n", indent, leaf, out),
        Reply::Set(items) => return write_items(items, '~', "(empty set)\n", indent, leaf, out),
        Reply::Push(items) => return write_items(items, ')', "(empty push)\n", indent, leaf, out),
        Reply::Map(pairs) => return write_pairs(pairs, indent, leaf, out),
        leaf_reply if leaf(leaf_reply, indent, out) => {}
        Reply::Ok => out.extend_from_slice(b"OK"),
        Reply::Simple(text) => write_visible_line(text.as_bytes(), out),
        Reply::Error(text) => {
            out.extend_from_slice(b"(error) ");
            write_visible_line(text.as_bytes(), out);
        }
        Reply::Integer(value) => out.extend_from_slice(format!("(integer) {value}").as_bytes()),
        Reply::Double(value) => {
            out.extend_from_slice(b"(double) ");
            write_double(*value, out);
        }
        Reply::Decimal(digits) => {
            out.extend_from_slice(b"(double) ");
            write_visible(digits.as_bytes(), out);
        }
        Reply::Bool(true) => out.extend_from_slice(b"(true)"),
        Reply::Bool(false) => out.extend_from_slice(b"(false)"),
        Reply::BigNumber(digits) => write_visible(digits.as_bytes(), out),
        Reply::Bulk(bytes) => write_quoted(bytes, HighBytes::Escape, out),
        Reply::Verbatim { text, .. } => write_visible(text, out),
        Reply::Nil | Reply::NilArray | Reply::Nothing | Reply::Attribute(_) => out.extend_from_slice(b"(nil)"),
    }
    out.push(b'\n');
}

fn write_items(items: &[Reply], mark: char, empty: &str, indent: &str, leaf: Leaf<'_>, out: &mut Vec<u8>) {
    if items.is_empty() {
        out.extend_from_slice(empty.as_bytes());
    }
    let width = items.len().to_string().len();
    let inner = format!("{indent}{:1$}", "", width + 2);
    for (at, item) in items.iter().enumerate() {
        let before = if at == 0 { "" } else { indent };
        out.extend_from_slice(format!("{before}{:width$}{mark} ", at + 1).as_bytes());
        write_indented(item, &inner, leaf, out);
    }
}

fn write_pairs(pairs: &[(Reply, Reply)], indent: &str, leaf: Leaf<'_>, out: &mut Vec<u8>) {
    if pairs.is_empty() {
        out.extend_from_slice(b"(empty hash)\n");
    }
    let width = pairs.len().to_string().len();
    let inner = format!("{indent}{:1$}", "", width + 2);
    for (at, (key, value)) in pairs.iter().enumerate() {
        let before = if at == 0 { "" } else { indent };
        out.extend_from_slice(format!("{before}{:width$}# ", at + 1).as_bytes());
        write_indented(key, &inner, leaf, out);
        // The value goes on in the key's last line, unless it takes lines of its own.
        if out.last() == Some(&b'\n') {
            out.pop();
        }
        out.extend_from_slice(b" => ");
        if takes_lines(value) {
            out.push(b'\n');
            out.extend_from_slice(inner.as_bytes());
        }
        write_indented(value, &inner, leaf, out);
    }
}

/// Whether a reply is shown on several lines.
fn takes_lines(reply: &Reply) -> bool {
    match reply {
        Reply::Array(items) | Reply::Set(items) | Reply::Push(items) => match &items[..] {
            [] => false,
            [item] => takes_lines(item),
            _ => true,
        },
        Reply::Map(pairs) => match &pairs[..] {
            [] => false,
            [(_, value)] => takes_lines(value),
            _ => true,
        },
        _ => false,
    }
}

/// Appends what `reply` holds and nothing else: no quotes, no types, a line for each item.
pub fn write_raw(reply: &Reply, out: &mut Vec<u8>) {
    write_raw_with(reply, b"\n", out);
}

/// As [`write_raw`], with `delimiter` between the items instead of the end of a line.
pub fn write_raw_with(reply: &Reply, delimiter: &[u8], out: &mut Vec<u8>) {
    match reply {
        Reply::Nil | Reply::NilArray | Reply::Nothing | Reply::Attribute(_) => {}
        Reply::Ok => out.extend_from_slice(b"OK"),
        Reply::Simple(text) => out.extend_from_slice(text.as_bytes()),
        Reply::Error(text) => {
            out.extend_from_slice(text.as_bytes());
            out.push(b'\n');
        }
        Reply::Integer(value) => out.extend_from_slice(value.to_string().as_bytes()),
        Reply::Double(value) => write_double(*value, out),
        Reply::Bool(true) => out.extend_from_slice(b"(true)"),
        Reply::Bool(false) => out.extend_from_slice(b"(false)"),
        Reply::BigNumber(digits) | Reply::Decimal(digits) => out.extend_from_slice(digits.as_bytes()),
        Reply::Bulk(bytes) => out.extend_from_slice(bytes),
        Reply::Verbatim { text, .. } => out.extend_from_slice(text),
        Reply::Array(items) | Reply::Set(items) | Reply::Push(items) => {
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.extend_from_slice(delimiter);
                }
                write_raw_with(item, delimiter, out);
            }
        }
        Reply::Map(pairs) => {
            for (at, (key, value)) in pairs.iter().enumerate() {
                if at > 0 {
                    out.extend_from_slice(delimiter);
                }
                write_raw_with(key, delimiter, out);
                out.push(b' ');
                write_raw_with(value, delimiter, out);
            }
        }
    }
}

/// Appends text for a terminal: control characters other than line ends and tabs are escaped. Text that is no UTF-8
/// is repaired, since a lone byte may be a control character to a terminal that expects another encoding.
pub fn write_visible(text: &[u8], out: &mut Vec<u8>) {
    let text = String::from_utf8_lossy(text);
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\r' if characters.peek() == Some(&'\n') => {}
            '\n' | '\t' => out.push(character as u8),
            character if character.is_control() => {
                out.extend_from_slice(format!("\\x{:02x}", character as u32).as_bytes());
            }
            character if turns_writing(character) => {
                out.extend_from_slice(format!("\\u{{{:x}}}", character as u32).as_bytes());
            }
            character => {
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
    }
}

/// As [`write_visible`], on one line: an error of several lines must not pass for several replies.
pub fn write_visible_line(text: &[u8], out: &mut Vec<u8>) {
    for (at, line) in text.split(|byte| *byte == b'\n').enumerate() {
        if at > 0 {
            out.extend_from_slice(b"\\n");
        }
        write_visible(line, out);
    }
}

/// The marks that make a terminal show what follows from right to left, or in another order.
fn turns_writing(character: char) -> bool {
    matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pretty(reply: &Reply) -> String {
        let mut out = Vec::new();
        write_pretty(reply, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn raw(reply: &Reply) -> String {
        let mut out = Vec::new();
        write_raw(reply, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn list(words: &[&str]) -> Reply {
        Reply::bulks(words.iter().copied())
    }

    #[test]
    fn single_replies_name_their_type() {
        for (reply, shown) in [
            (Reply::Ok, "OK\n"),
            (Reply::simple("PONG"), "PONG\n"),
            (Reply::error("ERR no"), "(error) ERR no\n"),
            (Reply::Integer(-1), "(integer) -1\n"),
            (Reply::Double(0.5), "(double) 0.5\n"),
            (Reply::Bool(true), "(true)\n"),
            (Reply::Bool(false), "(false)\n"),
            (Reply::bulk("a\"b\n\u{e9}"), "\"a\\\"b\\n\\xc3\\xa9\"\n"),
            (Reply::Nil, "(nil)\n"),
            (Reply::NilArray, "(nil)\n"),
            (Reply::Array(vec![]), "(empty array)\n"),
            (Reply::Set(vec![]), "(empty set)\n"),
            (Reply::Map(vec![]), "(empty hash)\n"),
            (Reply::Push(vec![]), "(empty push)\n"),
            (Reply::text("a\nb"), "a\nb\n"),
        ] {
            assert_eq!(pretty(&reply), shown);
        }
    }

    #[test]
    fn lists_are_numbered_and_nest() {
        let nested = Reply::Array(vec![
            Reply::Integer(1),
            Reply::Array(vec![list(&["a", "b"]), Reply::Nil]),
            Reply::Set(vec![Reply::bulk("c")]),
        ]);
        assert_eq!(pretty(&nested), "1) (integer) 1\n2) 1) 1) \"a\"\n      2) \"b\"\n   2) (nil)\n3) 1~ \"c\"\n");
    }

    #[test]
    fn numbers_of_a_long_list_are_aligned() {
        let words: Vec<String> = (0..10).map(|at| at.to_string()).collect();
        let shown = pretty(&Reply::bulks(words.iter().map(String::as_str)));
        assert!(shown.starts_with(" 1) \"0\"\n 2) \"1\"\n"), "{shown}");
        assert!(shown.ends_with("10) \"9\"\n"), "{shown}");
    }

    #[test]
    fn maps_show_their_pairs() {
        let map = Reply::Map(vec![
            (Reply::bulk("k"), Reply::Integer(1)),
            (Reply::bulk("l"), list(&["a", "b"])),
            (Reply::bulk("m"), Reply::Map(vec![(Reply::bulk("n"), Reply::Nil)])),
        ]);
        assert_eq!(
            pretty(&map),
            "1# \"k\" => (integer) 1\n\
             2# \"l\" => \n   1) \"a\"\n   2) \"b\"\n\
             3# \"m\" => 1# \"n\" => (nil)\n"
        );
    }

    #[test]
    fn raw_output_is_what_the_reply_holds() {
        for (reply, shown) in [
            (Reply::bulk("a\"b\n"), "a\"b\n"),
            (Reply::Nil, ""),
            (Reply::Integer(3), "3"),
            (Reply::error("ERR no"), "ERR no\n"),
            (list(&["a", "b"]), "a\nb"),
            (Reply::Map(vec![(Reply::bulk("k"), Reply::Integer(1))]), "k 1"),
        ] {
            assert_eq!(raw(&reply), shown);
        }
    }

    #[test]
    fn a_reply_cannot_command_the_terminal() {
        let attack = "\x1b]0;owned\x07\u{9b}31m\u{202e}";
        for reply in [
            Reply::simple(attack),
            Reply::error(attack),
            Reply::bulk(attack),
            Reply::text(attack),
            Reply::Array(vec![Reply::bulk(attack), Reply::simple(attack)]),
        ] {
            let shown = pretty(&reply);
            assert!(shown.chars().all(|c| c == '\n' || !c.is_control() && c != '\u{202e}'), "{shown:?}");
            assert!(shown.contains("\\x1b"), "{shown:?}");
        }
    }
}
