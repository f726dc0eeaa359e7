//! Splits a line into words, for inline requests and the line protocol.
//!
//! Invariant: a line without quotes is split where it lies; only a line with quotes is copied, once, unquoted.

use crate::request::{Request, Span};
use memchr::memchr2;

/// The words of one line, and the memory to split the next one with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Words {
    spans: Vec<Span>,
    /// The unquoted words, if the line had quotes.
    text: Vec<u8>,
    unquoted: bool,
}

/// Why a line cannot be split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SplitError {
    UnbalancedQuotes,
    TooManyWords,
}

/// More spans, or bytes of unquoted text, than this are given back to the allocator before the next request.
const KEPT_SPANS_MAX: usize = 1024;
const KEPT_TEXT_BYTES_MAX: usize = 16 * 1024;

impl Words {
    /// Forgets the words; keeps their memory unless one request needed unusually much.
    pub(crate) fn clear(&mut self) {
        self.spans.clear();
        self.spans.shrink_to(KEPT_SPANS_MAX);
        self.text.clear();
        self.text.shrink_to(KEPT_TEXT_BYTES_MAX);
        self.unquoted = false;
    }

    /// Bytes of memory it takes.
    pub(crate) fn held_bytes(&self) -> usize {
        self.spans.capacity() * size_of::<Span>() + self.text.capacity()
    }

    /// Makes room for that many words, within reason.
    pub(crate) fn reserve(&mut self, words: usize) {
        self.spans.reserve(words.min(KEPT_SPANS_MAX));
    }

    /// One more word, lying in the input from `start` to `end`.
    pub(crate) fn push(&mut self, start: usize, end: usize) {
        self.spans.push(Span::new(start, end));
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The words as a request; `input` is what they were split from.
    pub(crate) fn request<'b>(&'b self, input: &'b [u8]) -> Request<'b> {
        Request::new(if self.unquoted { &self.text } else { input }, &self.spans)
    }

    /// Splits `line`, which begins the input, at blanks.
    pub(crate) fn split_at_blanks(&mut self, line: &[u8], words_max: usize) -> Result<(), SplitError> {
        self.clear();
        let mut at = 0;
        loop {
            while line.get(at).is_some_and(|&byte| is_blank(byte)) {
                at += 1;
            }
            if at == line.len() {
                return Ok(());
            }
            let start = at;
            while line.get(at).is_some_and(|&byte| !is_blank(byte)) {
                at += 1;
            }
            if self.spans.len() == words_max {
                return Err(SplitError::TooManyWords);
            }
            self.push(start, at);
        }
    }

    /// Splits `line`, which begins the input, at blanks outside of quotes. Within `"..."` a backslash escapes:
    /// `\n \r \t \a \b \xNN`, and any other byte stands for itself; within `'...'` only `\'` does. A quote may open
    /// within a word, but what closes it must be followed by a blank or the end of the line.
    pub(crate) fn split_quoted(&mut self, line: &[u8], words_max: usize) -> Result<(), SplitError> {
        if memchr2(b'"', b'\'', line).is_none() {
            return self.split_at_blanks(line, words_max);
        }
        self.clear();
        self.unquoted = true;
        let mut rest = line;
        loop {
            while let [byte, after @ ..] = rest {
                if !is_blank(*byte) {
                    break;
                }
                rest = after;
            }
            if rest.is_empty() {
                return Ok(());
            }
            if self.spans.len() == words_max {
                return Err(SplitError::TooManyWords);
            }
            let start = self.text.len();
            rest = unquote_word(rest, &mut self.text).ok_or(SplitError::UnbalancedQuotes)?;
            self.push(start, self.text.len());
        }
    }
}

/// The bytes between words.
pub(crate) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// Appends the word `rest` begins with to `text`; gives what follows it, or `None` if its quotes do not balance.
fn unquote_word<'l>(mut rest: &'l [u8], text: &mut Vec<u8>) -> Option<&'l [u8]> {
    loop {
        rest = match rest {
            [] => return Some(rest),
            [byte, ..] if is_blank(*byte) => return Some(rest),
            [b'"', quoted @ ..] => return closed(unquote_double(quoted, text)?),
            [b'\'', quoted @ ..] => return closed(unquote_single(quoted, text)?),
            [byte, after @ ..] => {
                text.push(*byte);
                after
            }
        };
    }
}

/// `rest` as what follows a closing quote: a blank, or nothing.
fn closed(rest: &[u8]) -> Option<&[u8]> {
    match rest {
        [byte, ..] if !is_blank(*byte) => None,
        rest => Some(rest),
    }
}

fn unquote_double<'l>(mut rest: &'l [u8], text: &mut Vec<u8>) -> Option<&'l [u8]> {
    loop {
        let (byte, after) = match rest {
            [] => return None,
            [b'"', after @ ..] => return Some(after),
            [b'\\', b'x', high, low, after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                (hex_digit(*high) * 16 + hex_digit(*low), after)
            }
            [b'\\', escaped, after @ ..] => (unescape(*escaped), after),
            [byte, after @ ..] => (*byte, after),
        };
        text.push(byte);
        rest = after;
    }
}

fn unquote_single<'l>(mut rest: &'l [u8], text: &mut Vec<u8>) -> Option<&'l [u8]> {
    loop {
        let (byte, after) = match rest {
            [] => return None,
            [b'\'', after @ ..] => return Some(after),
            [b'\\', b'\'', after @ ..] => (b'\'', after),
            [byte, after @ ..] => (*byte, after),
        };
        text.push(byte);
        rest = after;
    }
}

fn unescape(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        byte => byte,
    }
}

/// The value of a hexadecimal digit; the caller has checked that it is one.
fn hex_digit(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        b'A'..=b'F' => digit - b'A' + 10,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quote::{HighBytes, write_quoted};

    fn split(line: &[u8]) -> Result<Vec<Vec<u8>>, SplitError> {
        let mut words = Words::default();
        words.split_quoted(line, 100)?;
        Ok(words.request(line).iter().map(<[u8]>::to_vec).collect())
    }

    #[test]
    fn words_are_what_lies_between_blanks() {
        assert_eq!(split(b""), Ok(vec![]));
        assert_eq!(split(b" \t "), Ok(vec![]));
        assert_eq!(split(b" SET\tk  v "), Ok(vec![b"SET".to_vec(), b"k".to_vec(), b"v".to_vec()]));
    }

    #[test]
    fn quotes_hold_blanks_and_escapes() {
        assert_eq!(
            split(br#"a "b c\n\x41\q\"" 'd "e\n\'' "" f"g h""#),
            Ok(vec![b"a".to_vec(), b"b c\nAq\"".to_vec(), b"d \"e\\n'".to_vec(), b"".to_vec(), b"fg h".to_vec(),])
        );
        // Not two hexadecimal digits: the backslash only drops away.
        assert_eq!(split(br#""\xg1""#), Ok(vec![b"xg1".to_vec()]));
    }

    #[test]
    fn quotes_must_balance() {
        for line in [&b"\"a"[..], b"'a", b"\"a\"b", b"'a'b", b"\"a\\\"", b"a \"", b"\"a\"\"b\""] {
            assert_eq!(split(line), Err(SplitError::UnbalancedQuotes), "{line:?}");
        }
    }

    #[test]
    fn the_number_of_words_is_bounded() {
        let mut words = Words::default();
        assert_eq!(words.split_quoted(b"a b", 2), Ok(()));
        assert_eq!(words.split_quoted(b"a b c", 2), Err(SplitError::TooManyWords));
        assert_eq!(words.split_quoted(b"a b 'c'", 2), Err(SplitError::TooManyWords));
    }

    #[test]
    fn every_byte_survives_quoting_and_splitting() {
        let bytes: Vec<u8> = (0..=255).collect();
        for high in [HighBytes::Keep, HighBytes::Escape] {
            let mut line = Vec::new();
            write_quoted(&bytes, high, &mut line);
            assert_eq!(split(&line), Ok(vec![bytes.clone()]));
        }
    }
}
