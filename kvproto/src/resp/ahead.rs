//! Reads ahead: requests that are whole and nothing unusual, as nearly all are, several at once.
//!
//! Invariant: what is read here reads the same, word for word, by the [decoder](super::decode) that can stop anywhere and
//! knows every error. Where it might not, nothing is read here.

use crate::limits::Limits;
use crate::number::parse_integer;
use crate::request::{Request, Span};
use memchr::memchr;

/// The line end after a header and after the bytes of a word.
pub(super) const CRLF_BYTES: usize = 2;
/// This many requests are read at once: as many as there is sense in fetching the memory of together.
const REQUESTS_MAX: usize = 16;
/// Requests of more words are read word by word, so that what is looked at twice when the rest is late stays little.
const WORDS_MAX: usize = 16;
/// The longest header [`header`] reads, with its line end.
const HEADER_BYTES_MAX: usize = 1 + 7 + CRLF_BYTES;

/// Requests that lie one after the other in the input, and which of them is current.
#[derive(Clone, Debug, Default)]
pub(super) struct Ahead {
    /// The words of all of them, each measured from the beginning of its own request.
    spans: Vec<Span>,
    requests: Vec<Place>,
    /// How many of them were taken. The last one taken is the current one.
    taken: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Place {
    spans_begin: usize,
    spans_end: usize,
    bytes: usize,
}

impl Ahead {
    /// Reads what `input` begins with.
    pub(super) fn read(&mut self, input: &[u8], limits: &Limits) {
        self.forget();
        let mut rest = input;
        while !rest.is_empty() && self.requests.len() < REQUESTS_MAX {
            let spans_begin = self.spans.len();
            let Some(bytes) = self.read_one(rest, limits) else { break };
            self.requests.push(Place { spans_begin, spans_end: self.spans.len(), bytes });
            rest = &rest[bytes..];
        }
    }

    /// Bytes of memory it takes.
    pub(super) fn held_bytes(&self) -> usize {
        self.spans.capacity() * size_of::<Span>() + self.requests.capacity() * size_of::<Place>()
    }

    pub(super) fn forget(&mut self) {
        self.spans.clear();
        self.requests.clear();
        self.taken = 0;
    }

    /// Goes on to the next request, if `input` is long enough to begin with it; answers how many bytes it has.
    #[inline]
    pub(super) fn take(&mut self, input: &[u8]) -> Option<usize> {
        let bytes = self.requests.get(self.taken).map(|place| place.bytes).filter(|bytes| *bytes <= input.len())?;
        self.taken += 1;
        Some(bytes)
    }

    /// The current request, with which `input` begins.
    #[inline]
    pub(super) fn current<'b>(&'b self, input: &'b [u8]) -> Option<Request<'b>> {
        let Place { spans_begin, spans_end, .. } = *self.requests.get(self.taken.checked_sub(1)?)?;
        Some(Request::new(input, self.spans.get(spans_begin..spans_end)?))
    }

    /// Whether there are several, and the first of them is current.
    #[inline]
    pub(super) fn is_fresh(&self) -> bool {
        self.taken == 1 && self.requests.len() > 1
    }

    /// All there are, if the first of them is current; `input` begins with it.
    pub(super) fn all<'b>(&'b self, input: &'b [u8]) -> impl Iterator<Item = Request<'b>> {
        let mut start = 0;
        let requests = if self.taken == 1 { &self.requests[..] } else { &[] };
        requests.iter().map_while(move |&Place { spans_begin, spans_end, bytes }| {
            let request = Request::new(input.get(start..)?, self.spans.get(spans_begin..spans_end)?);
            start += bytes;
            Some(request)
        })
    }

    /// Reads the words of one request; answers how many bytes it has.
    #[inline]
    fn read_one(&mut self, input: &[u8], limits: &Limits) -> Option<usize> {
        let (count, mut at) = header(input, b'*')?;
        if count == 0 || count > limits.args_max.min(WORDS_MAX) || limits.inline_bytes_max < HEADER_BYTES_MAX {
            return None;
        }
        let (begin, input) = (self.spans.len(), &input[..input.len().min(limits.request_bytes_max)]);
        for _ in 0..count {
            let word = header(&input[at..], b'$').filter(|(len, _)| *len <= limits.bulk_bytes_max);
            let end = word.map(|(len, head)| (at + head, at + head + len));
            let Some((start, end)) = end.filter(|(_, end)| end + CRLF_BYTES <= input.len()) else {
                self.spans.truncate(begin);
                return None;
            };
            self.spans.push(Span::new(start, end));
            at = end + CRLF_BYTES;
        }
        Some(at)
    }
}

/// The second word of the request of several words that `input` begins with: for most commands, their key. A guess,
/// for whoever wants to fetch what the request will need: it checks no more than it must.
pub fn second_word(input: &[u8]) -> Option<&[u8]> {
    let (_, head) = header(input, b'*').filter(|(words, _)| *words > 1)?;
    let (len, name) = header(input.get(head..)?, b'$')?;
    let after = input.get(head + name + len + CRLF_BYTES..)?;
    let (len, head) = header(after, b'$')?;
    after.get(head..head + len)
}

/// The number in a header line that begins with `kind`, and how long the line is. `None` if it is not whole, or odd, or
/// has more than seven digits.
#[inline(always)]
fn header(input: &[u8], kind: u8) -> Option<(usize, usize)> {
    // Nearly all there are have up to three digits, and something behind them: then one look at the input is enough.
    if let Some(&[first, x, y, z, end, ..]) = input.first_chunk::<8>() {
        let digit = |byte: u8| usize::from(byte.wrapping_sub(b'0'));
        let (a, b, c) = (digit(x), digit(y), digit(z));
        if first == kind && a <= 9 {
            if y == b'\r' {
                return Some((a, 4));
            }
            if a != 0 && b <= 9 {
                if z == b'\r' {
                    return Some((a * 10 + b, 5));
                }
                if c <= 9 && end == b'\r' {
                    return Some((a * 100 + b * 10 + c, 6));
                }
            }
        }
    }
    other_header(input, kind)
}

/// A header of any length, and the last one of the input.
fn other_header(input: &[u8], kind: u8) -> Option<(usize, usize)> {
    let window = &input[..input.len().min(HEADER_BYTES_MAX)];
    let end = memchr(b'\r', window)?;
    if window[0] != kind || input.len() < end + CRLF_BYTES {
        return None;
    }
    let number = usize::try_from(parse_integer(&window[1..end])?).ok()?;
    Some((number, end + CRLF_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_word_of_a_request() {
        assert_eq!(second_word(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$2\r\nxx\r\n"), Some(&b"a"[..]));
        assert_eq!(second_word(b"*2\r\n$3\r\nGET\r\n$12\r\nabcdefghijkl\r\n"), Some(&b"abcdefghijkl"[..]));
        assert_eq!(
            second_word(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$99999999\r\n"),
            Some(&b"a"[..]),
            "that is all it reads"
        );
    }

    #[test]
    fn no_second_word_where_it_is_not_sure() {
        for input in [
            &b""[..],
            b"GET a\r\n",
            b"*1\r\n$4\r\nPING\r\n",
            b"*1\r\n$4\r\nPING\r\n*2\r\n$3\r\nGET\r\n$1\r\na\r\n",
            b"*1\r\n$4\r\nPING\r\n$1\r\na\r\n",
            b"*2\r\n",
            b"*2\r\n$3\r\nGET\r\n$2\r\na",
            b"*2\r\n$3\r\nGET\r\n$99999999\r\n",
            b"*2\r\nx",
        ] {
            assert_eq!(second_word(input), None, "{input:?}");
        }
    }
}
