//! A request: the words a client sent, wherever they lie.
//!
//! Invariant: a `Span` is only ever read against the bytes it was measured on; one that does not fit reads as no
//! word rather than as a panic.

/// Where one word lies in the bytes of its request. 32 bits suffice: no request passes 4 GiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    start: u32,
    end: u32,
}

/// The longest request spans can describe, in bytes.
pub(crate) const SPANNED_BYTES_MAX: usize = u32::MAX as usize;

impl Span {
    /// The span from `start` up to `end`. The decoders refuse requests that pass [`SPANNED_BYTES_MAX`] beforehand.
    pub(crate) fn new(start: usize, end: usize) -> Span {
        debug_assert!(start <= end && end <= SPANNED_BYTES_MAX);
        Span { start: start as u32, end: end as u32 }
    }

    fn of<'b>(&self, bytes: &'b [u8]) -> Option<&'b [u8]> {
        bytes.get(self.start as usize..self.end as usize)
    }
}

/// The words of one request, borrowed from the buffer they were read into. Word 0 is the command's name as typed.
#[derive(Clone, Copy, Debug)]
pub struct Request<'b> {
    bytes: &'b [u8],
    spans: &'b [Span],
}

impl<'b> Request<'b> {
    pub(crate) fn new(bytes: &'b [u8], spans: &'b [Span]) -> Request<'b> {
        Request { bytes, spans }
    }

    /// The number of words, the command's name included.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there is no word at all, as in an empty line or `*0`. Such a request is skipped without an answer.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The command's name as it was typed; empty if there is no word.
    pub fn name(&self) -> &'b [u8] {
        self.get(0).unwrap_or_default()
    }

    /// The word at `index`, the command's name being 0.
    pub fn get(&self, index: usize) -> Option<&'b [u8]> {
        self.spans.get(index)?.of(self.bytes)
    }

    /// All words in order, the command's name first.
    pub fn iter(&self) -> Words<'b> {
        Words { request: *self, next: 0 }
    }

    /// Returns how many bytes the request has in RESP.
    pub fn resp_bytes(&self) -> usize {
        let digits = |number: usize| number.checked_ilog10().map_or(1, |log| log as usize + 1);
        let words: usize = self.iter().map(|word| "$\r\n\r\n".len() + digits(word.len()) + word.len()).sum();
        "*\r\n".len() + digits(self.len()) + words
    }

    /// A copy that outlives the buffer.
    pub fn to_owned(&self) -> OwnedRequest {
        OwnedRequest::from_words(self.iter())
    }
}

impl<'b> IntoIterator for Request<'b> {
    type Item = &'b [u8];
    type IntoIter = Words<'b>;

    fn into_iter(self) -> Words<'b> {
        self.iter()
    }
}

/// The words of a request in order; made by [`Request::iter`].
#[derive(Clone, Debug)]
pub struct Words<'b> {
    request: Request<'b>,
    next: usize,
}

impl<'b> Iterator for Words<'b> {
    type Item = &'b [u8];

    fn next(&mut self) -> Option<&'b [u8]> {
        let word = self.request.get(self.next)?;
        self.next += 1;
        Some(word)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.request.len().saturating_sub(self.next);
        (left, Some(left))
    }
}

impl ExactSizeIterator for Words<'_> {}

/// A request that owns its words: one allocation for all bytes, one for where each word lies.
#[derive(Clone, Debug)]
pub struct OwnedRequest {
    bytes: Box<[u8]>,
    spans: Box<[Span]>,
}

impl OwnedRequest {
    /// A request of these words, the first being the command's name. Words past 4 GiB in all are left out.
    pub fn from_words<I>(words: I) -> OwnedRequest
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        let mut bytes = Vec::new();
        let mut spans = Vec::new();
        for word in words {
            let start = bytes.len();
            if start + word.as_ref().len() > SPANNED_BYTES_MAX {
                break;
            }
            bytes.extend_from_slice(word.as_ref());
            spans.push(Span::new(start, bytes.len()));
        }
        OwnedRequest { bytes: bytes.into_boxed_slice(), spans: spans.into_boxed_slice() }
    }

    /// The same request, borrowed.
    pub fn as_request(&self) -> Request<'_> {
        Request::new(&self.bytes, &self.spans)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owned_request_reads_as_the_words_it_was_made_of() {
        let owned = OwnedRequest::from_words(["SET", "k", ""]);
        let request = owned.as_request();
        assert_eq!(request.len(), 3);
        assert_eq!(request.name(), b"SET");
        assert_eq!(request.get(2), Some(&b""[..]));
        assert_eq!(request.get(3), None);
        let copy = request.to_owned();
        assert!(copy.as_request().iter().eq(request.iter()));
    }

    #[test]
    fn a_request_without_words_has_an_empty_name() {
        let owned = OwnedRequest::from_words([""; 0]);
        assert!(owned.as_request().is_empty());
        assert_eq!(owned.as_request().name(), b"");
    }

    #[test]
    fn a_span_that_does_not_fit_reads_as_no_word() {
        let spans = [Span::new(2, 9)];
        assert_eq!(Request::new(b"abc", &spans).get(0), None);
    }
}
