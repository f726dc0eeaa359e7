//! The words of a line that somebody typed, or that came through a pipe.
//!
//! Invariant: a line is split as a server splits its inline requests.

use kvproto::line;
use kvproto::{Limits, OwnedRequest};

/// The words of a line, quoted as in a server's inline requests.
pub(crate) fn split(line: &[u8]) -> Result<OwnedRequest, line::LineErrorKind> {
    let mut ended = line.strip_suffix(b"\n").unwrap_or(line).to_vec();
    ended.push(b'\n');
    let limits = Limits { line_bytes_max: ended.len(), ..Limits::default() };
    let mut decoder = line::LineDecoder::new();
    match decoder.decode(&ended, line::Style::Plain, &limits) {
        Ok(Some(_)) => Ok(decoder.request(&ended).to_owned()),
        Ok(None) => Err(line::LineErrorKind::Empty),
        Err(error) => Err(error.kind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_split_with_or_without_their_end() {
        let words = |line: &[u8]| {
            split(line).map(|request| request.as_request().iter().map(<[u8]>::to_vec).collect::<Vec<_>>())
        };
        assert_eq!(words(b"GET \"a b\""), Ok(vec![b"GET".to_vec(), b"a b".to_vec()]));
        assert_eq!(words(b"PING\r\n"), Ok(vec![b"PING".to_vec()]));
        assert_eq!(words(b" \n"), Err(line::LineErrorKind::Empty));
        assert_eq!(words(b"GET \"a\n"), Err(line::LineErrorKind::UnbalancedQuotes));
    }
}
