//! Reads RESP and inline requests.
//!
//! Invariant: incremental. However the bytes of a request arrive, each is looked at once; between two calls only the
//! places of the words found so far are kept, so a request costs no copy of its keys and values.

use crate::error::ProtocolError;
use crate::http::is_other_protocol;
use crate::limits::Limits;
use crate::number::parse_integer;
use crate::request::{Request, SPANNED_BYTES_MAX};
use crate::words::{SplitError, Words};
use memchr::memchr;

use super::ahead::{Ahead, CRLF_BYTES};

/// Reads one request after the other from the bytes of a connection.
#[derive(Clone, Debug, Default)]
pub struct RequestDecoder {
    expecting: Expecting,
    /// Where the part being read begins in the input.
    at: usize,
    /// Up to where that part was searched for its line end.
    searched: usize,
    words_left: usize,
    words: Words,
    /// Between two requests: some that are whole already.
    ahead: Ahead,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Expecting {
    /// The first byte of a request; the one before, if any, is complete.
    #[default]
    Request,
    /// `*<words>\r\n`
    Count,
    /// `$<bytes>\r\n`
    BulkLength,
    /// The bytes of a word and `\r\n`.
    Bulk { len: usize },
    /// A line of words.
    Inline,
}

impl RequestDecoder {
    /// A decoder at the beginning of a stream.
    pub fn new() -> RequestDecoder {
        RequestDecoder::default()
    }

    /// Reads on. `input` begins, on every call, at the first byte of the request that was not complete yet.
    ///
    /// `Some(consumed)`: a whole request lies in `input[..consumed]`; look at it with [`RequestDecoder::request`], drop
    /// those bytes and call again with those that follow. It has no words after an empty line or `*0`: skip it. `None`:
    /// more bytes are needed. An error is final: the connection must be closed.
    ///
    /// A request may be read, and its lengths be checked, in an earlier call than the one that answers it.
    pub fn decode(&mut self, input: &[u8], limits: &Limits) -> Result<Option<usize>, ProtocolError> {
        if let Some(used) = self.ahead.take(input) {
            return Ok(Some(used));
        }
        loop {
            let complete = match self.expecting {
                Expecting::Request => match input.first() {
                    None => return Ok(None),
                    Some(&first) => {
                        self.words.clear();
                        self.ahead.read(input, limits);
                        if let Some(used) = self.ahead.take(input) {
                            return Ok(Some(used));
                        }
                        self.begin(first);
                        false
                    }
                },
                Expecting::Count => match self.header(input, limits, ProtocolError::CountTooLong)? {
                    None => return Ok(None),
                    Some(header) => self.read_count(header, limits)?,
                },
                Expecting::BulkLength => match self.header(input, limits, ProtocolError::BulkLengthTooLong)? {
                    None => return Ok(None),
                    Some(header) => {
                        self.read_bulk_length(header, limits)?;
                        false
                    }
                },
                Expecting::Bulk { len } => {
                    let end = self.at + len;
                    if input.len() < end + CRLF_BYTES {
                        return Ok(None);
                    }
                    self.words.push(self.at, end);
                    self.move_to(end + CRLF_BYTES);
                    self.words_left -= 1;
                    self.expecting = Expecting::BulkLength;
                    self.words_left == 0
                }
                Expecting::Inline => return self.inline(input, limits),
            };
            if complete {
                self.expecting = Expecting::Request;
                return Ok(Some(self.at));
            }
        }
    }

    /// The request that was just completed; `input` is what was given to the call that completed it. Without words
    /// while a request is incomplete.
    pub fn request<'b>(&'b self, input: &'b [u8]) -> Request<'b> {
        match self.expecting {
            Expecting::Request => self.ahead.current(input).unwrap_or_else(|| self.words.request(input)),
            _ => Request::new(input, &[]),
        }
    }

    /// Whether the last call of [`decode`](Self::decode) read several requests at once, of which it answered the first.
    #[inline]
    pub fn is_ahead(&self) -> bool {
        self.ahead.is_fresh()
    }

    /// The requests that were read at once, if the first of them was just completed; `input` begins with it.
    pub fn ahead<'b>(&'b self, input: &'b [u8]) -> impl Iterator<Item = Request<'b>> {
        self.ahead.all(input)
    }

    /// Forgets what was read ahead, so that the next input may begin at any request: at the one that was just completed,
    /// say, if that is to be read again.
    pub fn forget_ahead(&mut self) {
        self.ahead.forget();
    }

    /// How long the input should be for the next call to get any further, in bytes. A hint on how much to read at
    /// once for a large word, and already checked against the limits; but it is the peer that chose it, so let the
    /// buffer grow as bytes arrive rather than all at once.
    pub fn bytes_wanted(&self) -> usize {
        match self.expecting {
            Expecting::Request => 1,
            Expecting::Bulk { len } => self.at + len + CRLF_BYTES,
            Expecting::Count | Expecting::BulkLength => self.searched + CRLF_BYTES,
            Expecting::Inline => self.searched + 1,
        }
    }

    /// Bytes of memory it takes, beside its own size.
    pub fn held_bytes(&self) -> usize {
        self.words.held_bytes() + self.ahead.held_bytes()
    }

    fn begin(&mut self, first: u8) {
        self.move_to(0);
        self.expecting = if first == b'*' { Expecting::Count } else { Expecting::Inline };
    }

    fn move_to(&mut self, at: usize) {
        self.at = at;
        self.searched = at;
    }

    /// The header line at the current place, without its line end, once that has arrived. Moves behind it.
    fn header<'i>(
        &mut self,
        input: &'i [u8],
        limits: &Limits,
        too_long: ProtocolError,
    ) -> Result<Option<&'i [u8]>, ProtocolError> {
        // A line within its bound ends inside this window, so the answer is the same however the bytes arrive.
        let line_bytes_max = limits.inline_bytes_max.min(limits.request_bytes_max);
        let window_end = self.at.saturating_add(line_bytes_max).saturating_add(1);
        let window = &input[..input.len().min(window_end)];
        let unseen = window.get(self.searched..).unwrap_or_default();
        let Some(found) = unseen.iter().position(|&byte| byte == b'\r') else {
            if input.len() >= window_end {
                return Err(too_long);
            }
            self.searched = window.len();
            return Ok(None);
        };
        let end = self.searched + found;
        // The byte after `\r` is taken for `\n` unseen, as Redis does; it only has to have arrived.
        if input.len() < end + CRLF_BYTES {
            self.searched = end;
            return Ok(None);
        }
        let line = input.get(self.at..end);
        self.move_to(end + CRLF_BYTES);
        Ok(line)
    }

    /// Reads `*<words>`; true if there are none, so that the request is complete.
    fn read_count(&mut self, header: &[u8], limits: &Limits) -> Result<bool, ProtocolError> {
        let count = parse_integer(header.get(1..).unwrap_or_default()).ok_or(ProtocolError::InvalidCount)?;
        // A negative count means no words, as in Redis.
        let count = usize::try_from(count).unwrap_or(0);
        if count > limits.args_max {
            return Err(if limits.authenticated {
                ProtocolError::InvalidCount
            } else {
                ProtocolError::UnauthenticatedCount
            });
        }
        self.words.reserve(count);
        self.words_left = count;
        self.expecting = Expecting::BulkLength;
        Ok(count == 0)
    }

    /// Reads `$<bytes>`.
    fn read_bulk_length(&mut self, header: &[u8], limits: &Limits) -> Result<(), ProtocolError> {
        let (first, digits) = match header {
            [first, digits @ ..] => (*first, digits),
            // The line is empty: its first byte is the `\r` that ends it.
            [] => (b'\r', header),
        };
        if first != b'$' {
            return Err(ProtocolError::ExpectedBulk(first));
        }
        let len =
            parse_integer(digits).and_then(|len| usize::try_from(len).ok()).ok_or(ProtocolError::InvalidBulkLength)?;
        if len > limits.bulk_bytes_max {
            return Err(if limits.authenticated {
                ProtocolError::InvalidBulkLength
            } else {
                ProtocolError::UnauthenticatedBulkLength
            });
        }
        let end = self.at.saturating_add(len).saturating_add(CRLF_BYTES);
        if end > limits.request_bytes_max.min(SPANNED_BYTES_MAX) {
            return Err(ProtocolError::RequestTooLong);
        }
        self.expecting = Expecting::Bulk { len };
        Ok(())
    }

    /// Reads a line of words, once its end has arrived.
    fn inline(&mut self, input: &[u8], limits: &Limits) -> Result<Option<usize>, ProtocolError> {
        let line_bytes_max = limits.inline_bytes_max.min(limits.request_bytes_max).min(SPANNED_BYTES_MAX - 1);
        let window = &input[..input.len().min(line_bytes_max + 1)];
        let unseen = window.get(self.searched..).unwrap_or_default();
        let Some(found) = memchr(b'\n', unseen) else {
            if input.len() > line_bytes_max {
                return Err(ProtocolError::InlineTooLong);
            }
            self.searched = window.len();
            return Ok(None);
        };
        let end = self.searched + found;
        let line = &window[..end];
        let split = self.words.split_quoted(line, limits.args_max);
        if is_other_protocol(line, split.is_ok().then_some(self.words.len())) {
            return Err(ProtocolError::OtherProtocol);
        }
        split.map_err(|error| match error {
            SplitError::UnbalancedQuotes => ProtocolError::UnbalancedQuotes,
            SplitError::TooManyWords => ProtocolError::InlineTooLong,
        })?;
        self.expecting = Expecting::Request;
        Ok(Some(end + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of requests, read one after the other, and which of them were read at once with others.
    fn names(decoder: &mut RequestDecoder, mut input: &[u8]) -> Vec<(Vec<u8>, usize)> {
        let mut names = Vec::new();
        while let Ok(Some(used)) = decoder.decode(input, &Limits::default()) {
            names.push((decoder.request(input).name().to_vec(), decoder.ahead(input).count()));
            input = &input[used..];
        }
        names
    }

    #[test]
    fn whole_requests_are_read_at_once_up_to_one_that_is_not() {
        let mut decoder = RequestDecoder::new();
        let input = b"*1\r\n$1\r\na\r\n*1\r\n$1\r\nb\r\nc d\r\n*1\r\n$1\r\ne\r\n*1\r\n$1\r\nf";
        let read = names(&mut decoder, input);
        assert_eq!(read, [("a", 2), ("b", 0), ("c", 0), ("e", 1)].map(|(name, ahead)| (name.into(), ahead)));
        assert!(decoder.request(b"*1\r\n$1\r\nf").is_empty());
    }

    #[test]
    fn what_was_read_ahead_lies_one_behind_the_other() {
        let input = b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n".repeat(40);
        let mut decoder = RequestDecoder::new();
        assert_eq!(decoder.decode(&input, &Limits::default()), Ok(Some(input.len() / 40)));
        assert!(decoder.is_ahead());
        let words: Vec<Vec<_>> = decoder.ahead(&input).map(|request| request.iter().collect()).collect();
        assert!(words.len() > 1 && words.iter().all(|words| *words == [&b"GET"[..], b"a"]), "{words:?}");
        assert_eq!(names(&mut RequestDecoder::new(), &input).len(), 40);
    }

    #[test]
    fn forgotten_requests_are_read_again() {
        let input = b"*1\r\n$1\r\na\r\n*1\r\n$1\r\nb\r\n";
        let mut decoder = RequestDecoder::new();
        assert!(decoder.decode(input, &Limits::default()).is_ok());
        decoder.forget_ahead();
        let read: Vec<_> = names(&mut decoder, input).into_iter().map(|(name, _)| name).collect();
        assert_eq!(read, [b"a", b"b"]);
    }
}
