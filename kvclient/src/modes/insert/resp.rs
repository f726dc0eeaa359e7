//! Finds where requests end in a stream of RESP, without reading what they are.
//!
//! Invariant: every byte is passed on as it came, up to the first that cannot be part of a request.

use kvproto::parse_integer;
use memchr::memchr;

/// The longest line of a header or an inline command, in bytes.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// Where in a request the next byte stands.
#[derive(Debug, Default)]
pub struct Scanner {
    within: Within,
    /// Requests that are complete and have a reply.
    pub commands: u64,
}

#[derive(Clone, Copy, Debug, Default)]
enum Within {
    /// Between two requests.
    #[default]
    Gap,
    /// Before the length of a word; so many are left.
    Words(u64),
    /// Within a word and the end of line behind it: so many bytes, and words behind it.
    Word(u64, u64),
}

impl Scanner {
    /// Begins behind so many commands.
    pub fn new(commands: u64) -> Scanner {
        Scanner { commands, ..Scanner::default() }
    }

    /// Passes over what `text` holds of requests; returns how many bytes that is.
    ///
    /// # Errors
    ///
    /// What cannot be part of a request, and at which byte of `text` it stands.
    pub fn pass(&mut self, text: &[u8], at_end: bool) -> Result<usize, (usize, String)> {
        let mut at = 0;
        while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
            if let Within::Word(bytes, words) = self.within {
                let passed = bytes.min(rest.len() as u64);
                at += passed as usize;
                self.within = match (bytes - passed, words) {
                    (0, 0) => self.complete(),
                    (0, words) => Within::Words(words),
                    (left, words) => Within::Word(left, words),
                };
                continue;
            }
            let Some(end) = memchr(b'\n', rest.get(..LINE_BYTES_MAX).unwrap_or(rest)) else {
                if rest.len() > LINE_BYTES_MAX {
                    return Err((at, "a line of more than 64 KiB".to_owned()));
                }
                if !at_end || !matches!(self.within, Within::Gap) || rest.starts_with(b"*") {
                    break;
                }
                // The last inline command may lack its end: the server gets one.
                if !is_blank(rest) {
                    self.within = self.complete();
                }
                at = text.len();
                break;
            };
            let line = rest.get(..end).unwrap_or_default();
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            self.within = match (self.within, line) {
                // It has no reply.
                (Within::Gap, line) if is_blank(line) => Within::Gap,
                (Within::Gap, [b'*', count @ ..]) => match parse_integer(count) {
                    Some(count) if count > 0 => Within::Words(count as u64),
                    Some(_) => Within::Gap,
                    None => return Err((at, "a count of words is no number".to_owned())),
                },
                // Words that follow must not be executed as commands.
                (Within::Gap, line) if matches!(line.trim_ascii_start().first(), Some(b'*' | b'$')) => {
                    return Err((at, "no request begins so".to_owned()));
                }
                (Within::Gap, _) => self.complete(),
                (Within::Words(words), [b'$', length @ ..]) => match parse_integer(length) {
                    Some(length) if length >= 0 => Within::Word(length as u64 + 2, words - 1),
                    _ => return Err((at, "a length of a word is no number".to_owned())),
                },
                (Within::Words(_), _) => return Err((at, "`$` and the length of a word should stand here".to_owned())),
                (Within::Word(..), _) => self.within,
            };
            at += end + 1;
        }
        Ok(at)
    }

    /// Returns whether a request is begun and not complete.
    pub fn is_within(&self) -> bool {
        !matches!(self.within, Within::Gap)
    }

    fn complete(&mut self) -> Within {
        self.commands += 1;
        Within::Gap
    }
}

/// Returns whether a line has no word, by the blanks that servers know.
fn is_blank(line: &[u8]) -> bool {
    line.iter().all(|byte| byte.is_ascii_whitespace() || *byte == 0x0b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_however_they_arrive() {
        let text = b"*2\r\n$3\r\nGET\r\n$4\r\na\r\nb\r\n\r\n*0\r\n \t\r\n\x0b\nPING\r\n*1\r\n$4\r\nPING\r\n";
        for piece in 1..text.len() {
            let (mut scanner, mut kept, mut passed) = (Scanner::default(), Vec::new(), Vec::new());
            for chunk in text.chunks(piece) {
                kept.extend_from_slice(chunk);
                let count = scanner.pass(&kept, false).unwrap();
                passed.extend(kept.drain(..count));
            }
            assert_eq!((scanner.commands, scanner.is_within()), (3, false), "{piece}");
            assert_eq!(passed, text, "{piece}");
        }
    }

    #[test]
    fn what_is_no_request_is_found_where_it_stands() {
        for (text, at) in [
            (&b" *1\r\n"[..], 0),
            (b"PING\n$4\r\nPING", 5),
            (b"*1\r\nGET\r\n", 4),
            (b"*x\r\n", 0),
            (b"*1\r\n$-1\r\n", 4),
            (b"*1\r\n$x\r\n", 4),
        ] {
            assert_eq!(Scanner::default().pass(text, false).unwrap_err().0, at);
        }
        let mut scanner = Scanner::default();
        assert_eq!(scanner.pass(b"*1\r\n$4\r\nPI", true), Ok(10));
        assert!(scanner.is_within());
        let long = vec![b'x'; LINE_BYTES_MAX + 1];
        assert!(Scanner::default().pass(&long, false).is_err());
    }
}
