//! Values as text in double quotes, as a person reads them.
//!
//! Invariant: no character that cannot be seen or commands the terminal is shown as it is, and what is shown, typed again,
//! is the same bytes.

use super::hidden::is_hidden;
use kvclient::format::write_pretty_with;
use kvproto::Reply;

/// Appends a reply whose strings are text where they are UTF-8.
pub fn write_text(reply: &Reply, out: &mut Vec<u8>) {
    let write_leaf = |leaf: &Reply, _: &str, out: &mut Vec<u8>| match leaf {
        Reply::Bulk(bytes) => {
            write_string(bytes, out);
            true
        }
        _ => false,
    };
    write_pretty_with(reply, &write_leaf, out);
}

/// Appends a string in double quotes. Characters that cannot be seen are escaped byte by byte.
pub fn write_string(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            let mut utf8 = [0; 4];
            match character {
                '"' => out.extend_from_slice(b"\\\""),
                '\\' => out.extend_from_slice(b"\\\\"),
                '\n' => out.extend_from_slice(b"\\n"),
                '\r' => out.extend_from_slice(b"\\r"),
                '\t' => out.extend_from_slice(b"\\t"),
                '\x07' => out.extend_from_slice(b"\\a"),
                '\x08' => out.extend_from_slice(b"\\b"),
                _ if is_hidden(character) => write_escaped(character.encode_utf8(&mut utf8).as_bytes(), out),
                _ => out.extend_from_slice(character.encode_utf8(&mut utf8).as_bytes()),
            }
        }
        write_escaped(chunk.invalid(), out);
    }
    out.push(b'"');
}

fn write_escaped(bytes: &[u8], out: &mut Vec<u8>) {
    for byte in bytes {
        out.extend_from_slice(format!("\\x{byte:02x}").as_bytes());
    }
}
