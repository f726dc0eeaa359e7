//! Counts replies in what a server sends, without keeping them.
//!
//! Invariant: the same replies are found however the bytes are split; between two calls no more than [`LINE_BYTES_MAX`]
//! bytes are held, whatever the size of a value, and nothing is allocated for a reply that arrives whole.

use memchr::memchr;

/// What a reply is, as far as the load test is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyKind {
    /// A status, a number or a list. Over the line protocol also every value.
    Other,
    /// A value.
    Value,
    /// No value: a nil, or "key not found".
    Nil,
    /// An error; its text comes with it.
    Error,
}

/// The protocols, as far as replies are concerned. The three styles of the line protocol are read in the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// RESP2.
    Resp,
    /// One line a reply.
    Line,
}

/// The bytes are not of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not a type of RESP2.
    #[error(
        "a reply begins with byte {0:#04x}, which is no type of RESP2; is this a RESP port? For the line protocol use line://host:port"
    )]
    Type(u8),
    /// The length of a bulk or a list.
    #[error("a reply has a length that is no number")]
    Length,
    /// A line that does not end.
    #[error("a reply has a line of more than {LINE_BYTES_MAX} bytes")]
    Line,
}

/// The longest line of RESP, and how much of a line of the line protocol is looked at.
pub const LINE_BYTES_MAX: usize = 64 * 1024;

/// Finds the replies in a connection's bytes.
#[derive(Debug)]
pub struct ReplyScanner {
    wire: Wire,
    /// The beginning of a line whose end has not arrived.
    held: Vec<u8>,
    /// Bytes of a bulk, with its end of line, that have not arrived.
    skip: usize,
    /// Items that belong to the current reply and have not arrived; 0 between two replies.
    items_left: u64,
    /// What the first item of the current reply was.
    kind: ReplyKind,
}

impl ReplyScanner {
    /// Returns a scanner at the beginning of a reply.
    pub fn new(wire: Wire) -> ReplyScanner {
        ReplyScanner { wire, held: Vec::new(), skip: 0, items_left: 0, kind: ReplyKind::Other }
    }

    /// Calls `on_reply` for each reply that ends in `bytes`; the text is that of an error, and empty otherwise.
    ///
    /// # Errors
    ///
    /// After an error the scanner is out of step: close the connection.
    pub fn feed(&mut self, mut bytes: &[u8], mut on_reply: impl FnMut(ReplyKind, &[u8])) -> Result<(), Malformed> {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let skipped = self.skip.min(bytes.len());
                self.skip -= skipped;
                bytes = &bytes[skipped..];
                if self.skip == 0 {
                    self.end_item(&[], &mut on_reply);
                }
                continue;
            }
            let Some(end) = memchr(b'\n', bytes) else {
                return self.hold(bytes);
            };
            let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
            bytes = rest;
            if self.held.is_empty() {
                self.line(line, &mut on_reply)?;
            } else {
                self.hold(line)?;
                let mut held = std::mem::take(&mut self.held);
                self.line(&held, &mut on_reply)?;
                held.clear();
                self.held = held;
            }
        }
        Ok(())
    }

    /// Keeps the beginning of a line.
    fn hold(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        let room = LINE_BYTES_MAX.saturating_sub(self.held.len());
        if bytes.len() > room && self.wire == Wire::Resp {
            return Err(Malformed::Line);
        }
        self.held.extend_from_slice(&bytes[..bytes.len().min(room)]);
        Ok(())
    }

    /// Reads a line without its `\n`.
    fn line(&mut self, line: &[u8], on_reply: &mut impl FnMut(ReplyKind, &[u8])) -> Result<(), Malformed> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match self.wire {
            Wire::Resp => self.resp_line(line, on_reply),
            Wire::Line => {
                let kind = kind_of_line(line);
                on_reply(kind, if kind == ReplyKind::Error { line } else { &[] });
                Ok(())
            }
        }
    }

    fn resp_line(&mut self, line: &[u8], on_reply: &mut impl FnMut(ReplyKind, &[u8])) -> Result<(), Malformed> {
        let (&first, rest) = line.split_first().ok_or(Malformed::Type(b'\r'))?;
        let kind = match first {
            b'+' | b':' => ReplyKind::Other,
            b'-' => ReplyKind::Error,
            b'$' | b'*' if rest == b"-1" => ReplyKind::Nil,
            b'$' => ReplyKind::Value,
            b'*' => ReplyKind::Other,
            other => return Err(Malformed::Type(other)),
        };
        if self.items_left == 0 {
            self.items_left = 1;
            self.kind = kind;
        }
        match (first, kind) {
            (b'$', ReplyKind::Value) => {
                let length = parse_length(rest)?;
                self.skip =
                    usize::try_from(length).ok().and_then(|length| length.checked_add(2)).ok_or(Malformed::Length)?;
                Ok(())
            }
            (b'*', ReplyKind::Other) => {
                self.items_left = self.items_left.checked_add(parse_length(rest)?).ok_or(Malformed::Length)?;
                self.end_item(&[], on_reply);
                Ok(())
            }
            _ => {
                self.end_item(if kind == ReplyKind::Error { rest } else { &[] }, on_reply);
                Ok(())
            }
        }
    }

    /// Ends an item, and with the last one the reply.
    fn end_item(&mut self, text: &[u8], on_reply: &mut impl FnMut(ReplyKind, &[u8])) {
        self.items_left -= 1;
        if self.items_left == 0 {
            on_reply(self.kind, text);
        }
    }
}

fn parse_length(digits: &[u8]) -> Result<u64, Malformed> {
    if digits.is_empty() || digits.len() > 18 {
        return Err(Malformed::Length);
    }
    let mut length = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return Err(Malformed::Length);
        }
        length = length * 10 + u64::from(digit - b'0');
    }
    Ok(length)
}

/// What a line is, in whichever style: values of the load test hold letters and digits only, so none looks like an error.
fn kind_of_line(line: &[u8]) -> ReplyKind {
    let is_error = line.starts_with(b"ERR ") || line.starts_with(b"ERROR ");
    let is_miss = line == b"(nil)"
        || line == b"OK (nil)"
        || line == b"ERROR key not found"
        || (line.starts_with(b"ERR key '") && line.ends_with(b"' not found"));
    match (is_miss, is_error) {
        (true, _) => ReplyKind::Nil,
        (false, true) => ReplyKind::Error,
        (false, false) => ReplyKind::Value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The replies in `bytes`, which must be the same in whatever pieces they arrive.
    #[track_caller]
    fn scan(wire: Wire, bytes: &[u8]) -> Result<Vec<(ReplyKind, String)>, Malformed> {
        let whole = in_pieces(wire, bytes, bytes.len().max(1));
        for step in [1, 2, 3, 7] {
            assert_eq!(in_pieces(wire, bytes, step), whole, "in steps of {step}");
        }
        whole
    }

    fn in_pieces(wire: Wire, bytes: &[u8], step: usize) -> Result<Vec<(ReplyKind, String)>, Malformed> {
        let mut scanner = ReplyScanner::new(wire);
        let mut found = Vec::new();
        for piece in bytes.chunks(step) {
            scanner.feed(piece, |kind, text| found.push((kind, String::from_utf8_lossy(text).into_owned())))?;
        }
        Ok(found)
    }

    fn plain(kinds: &[ReplyKind]) -> Vec<(ReplyKind, String)> {
        kinds.iter().map(|&kind| (kind, String::new())).collect()
    }

    #[test]
    fn replies_of_resp_are_counted() {
        use ReplyKind::{Error, Nil, Other, Value};
        let found = scan(Wire::Resp, b"+OK\r\n:12\r\n$3\r\na\nb\r\n$0\r\n\r\n$-1\r\n*-1\r\n*0\r\n").unwrap();
        assert_eq!(found, plain(&[Other, Other, Value, Value, Nil, Nil, Other]));
        let found = scan(Wire::Resp, b"*2\r\n*2\r\n$1\r\na\r\n-ERR x\r\n$-1\r\n-ERR no such\r\n+PONG\r\n").unwrap();
        assert_eq!(found, [(Other, String::new()), (Error, "ERR no such".to_owned()), (Other, String::new())]);
        // The last one is not whole.
        assert_eq!(scan(Wire::Resp, b"+OK\r\n*2\r\n+a\r\n").unwrap(), plain(&[Other]));
    }

    #[test]
    fn what_is_not_resp_is_an_error() {
        assert_eq!(scan(Wire::Resp, b"ERROR x\n"), Err(Malformed::Type(b'E')));
        for wrong in ["$x\r\n", "$-2\r\n", "*\r\n", "$9999999999999999999\r\n"] {
            assert_eq!(scan(Wire::Resp, wrong.as_bytes()), Err(Malformed::Length), "{wrong}");
        }
        assert_eq!(scan(Wire::Resp, b"\r\n"), Err(Malformed::Type(b'\r')));
        assert_eq!(scan(Wire::Resp, &[b'+'; LINE_BYTES_MAX + 1]), Err(Malformed::Line));
    }

    #[test]
    fn replies_of_every_style_of_the_line_protocol_are_told_apart() {
        use ReplyKind::{Error, Nil, Value};
        let misses = "ERROR key not found\n(nil)\r\nERR key 'key:01' not found\n";
        assert_eq!(scan(Wire::Line, misses.as_bytes()).unwrap(), plain(&[Nil; 3]));
        let values = "OK abc\nabc\nAdded key 'k' with value 'v'\n\nOK stored\nERRabc\n";
        assert_eq!(scan(Wire::Line, values.as_bytes()).unwrap(), plain(&[Value; 6]));
        let found = scan(Wire::Line, b"ERROR value too long\nERR x\n").unwrap();
        assert_eq!(found, [(Error, "ERROR value too long".to_owned()), (Error, "ERR x".to_owned())]);
    }

    #[test]
    fn a_long_line_is_one_reply() {
        let line = [vec![b'x'; 3 * LINE_BYTES_MAX], b"\nERR x\n".to_vec()].concat();
        let mut scanner = ReplyScanner::new(Wire::Line);
        let mut found = Vec::new();
        for piece in line.chunks(1000) {
            scanner.feed(piece, |kind, _| found.push(kind)).unwrap();
            assert!(scanner.held.len() <= LINE_BYTES_MAX);
        }
        assert_eq!(found, [ReplyKind::Value, ReplyKind::Error]);
    }
}
