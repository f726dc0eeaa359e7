//! The line protocol: one request a line, one line a reply, in one of three styles.
//!
//! Invariant: a reply is exactly one line, whatever bytes it shows; and no line, however wrong, makes the connection
//! unusable: a [`LineError`] says how many bytes to skip, and the next line reads as if nothing had happened. The one
//! exception is another protocol, HTTP or TLS: the connection is closed.
//!
//! | | terse | plain | verbose |
//! |---|---|---|---|
//! | PUT, SET | `OK stored` | `OK` | `Added key 'k' with value 'v'` |
//! | GET, found | `OK v` | `v` | `v` |
//! | GET, missing | `ERROR key not found` | `(nil)` | `ERR key 'k' not found` |
//! | DELETE of one key, found | `OK deleted` | `1` | `Removed key 'k'.` |
//! | DELETE of one key, missing | `ERROR key not found` | `0` | `ERR key 'k' not found` |
//! | PRINT | `OK k1 k2` | `k1, k2` | `k1, k2`; of nothing `Store is empty.` |
//! | other value, number, list | `OK v` `OK n` `OK a b` | `v` `n` `a, b` | `v` `n` `a, b` |
//! | other nil | `OK (nil)` | `(nil)` | `(nil)` |
//! | error | `ERROR <message>` | `ERR <message>` | `ERR <message>` |
//! | QUIT | nothing | nothing | nothing |
//!
//! A value that holds control characters is shown between double quotes and escaped; so is a list's item that is empty
//! or holds blanks, commas or quotes. A list within a list stands in brackets. The terse style splits words at blanks
//! and knows no quotes; the others quote as inline RESP requests do.

mod speak;

pub use speak::speak;

use crate::error::CommandError;
use crate::http::is_other_protocol;
use crate::limits::Limits;
use crate::reply::Reply;
use crate::request::{OwnedRequest, Request, SPANNED_BYTES_MAX};
use crate::spec::Spec;
use crate::words::{SplitError, Words};
use memchr::memchr;
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// How replies are worded, and whether requests may quote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// For programs: every reply begins with `OK` or `ERROR`; words cannot be quoted.
    Terse,
    /// For people and scripts: the bare values.
    Plain,
    /// For people: sentences.
    Verbose,
}

/// The text is no style's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("unknown style; use one of: terse, plain, verbose")]
pub struct UnknownStyle;

impl FromStr for Style {
    type Err = UnknownStyle;

    fn from_str(name: &str) -> Result<Style, UnknownStyle> {
        match name {
            "terse" => Ok(Style::Terse),
            "plain" => Ok(Style::Plain),
            "verbose" => Ok(Style::Verbose),
            _ => Err(UnknownStyle),
        }
    }
}

impl fmt::Display for Style {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Style::Terse => "terse",
            Style::Plain => "plain",
            Style::Verbose => "verbose",
        })
    }
}

/// A line that is no request. `Display` is the message without a code word; [`LineError::reply`] is what to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{kind}")]
pub struct LineError {
    /// How many bytes of the input to drop before reading on.
    pub skip: usize,
    /// What is wrong.
    pub kind: LineErrorKind,
}

/// What can be wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum LineErrorKind {
    /// Nothing but blanks.
    #[error("empty command")]
    Empty,
    /// The line passes its limit.
    #[error("line too long")]
    TooLong,
    /// More words than a request may have.
    #[error("too many words")]
    TooManyWords,
    /// A quote that never closes, or with a word glued behind it.
    #[error("unbalanced quotes in request")]
    UnbalancedQuotes,
    /// HTTP or TLS: close without a reply, and execute nothing that follows.
    #[error("HTTP and TLS are not spoken here")]
    OtherProtocol,
}

impl From<SplitError> for LineErrorKind {
    fn from(error: SplitError) -> LineErrorKind {
        match error {
            SplitError::UnbalancedQuotes => LineErrorKind::UnbalancedQuotes,
            SplitError::TooManyWords => LineErrorKind::TooManyWords,
        }
    }
}

impl LineError {
    /// The error to answer, by [`speak`].
    pub fn reply(&self) -> Reply {
        Reply::Error(format!("ERR {}", self.kind).into())
    }
}

/// Reads one request after the other from the lines of a connection.
#[derive(Clone, Debug, Default)]
pub struct LineDecoder {
    /// Up to where the line was searched for its end.
    searched: usize,
    /// Within a line that was refused as too long: its rest is dropped.
    skipping: bool,
    words: Words,
}

impl LineDecoder {
    /// A decoder at the beginning of a stream.
    pub fn new() -> LineDecoder {
        LineDecoder::default()
    }

    /// Bytes of memory it takes, beside its own size.
    pub fn held_bytes(&self) -> usize {
        self.words.held_bytes()
    }

    /// Reads on. `input` begins, on every call, at the first byte not consumed or skipped yet.
    ///
    /// `Some(consumed)`: look at [`LineDecoder::request`], drop those bytes and call again. A request without words is
    /// what is left of a line already refused: skip it without an answer. `None`: more bytes are needed. After an
    /// error drop [`LineError::skip`] bytes, answer the error, and call again.
    pub fn decode(&mut self, input: &[u8], style: Style, limits: &Limits) -> Result<Option<usize>, LineError> {
        if self.skipping {
            return Ok(self.skip_line(input));
        }
        let line_bytes_max = limits.line_bytes_max.min(SPANNED_BYTES_MAX - 1);
        let window = &input[..input.len().min(line_bytes_max + 1)];
        let unseen = window.get(self.searched..).unwrap_or_default();
        let Some(found) = memchr(b'\n', unseen) else {
            self.searched = window.len();
            if input.len() <= line_bytes_max {
                return Ok(None);
            }
            self.searched = 0;
            self.skipping = true;
            return Err(LineError { skip: window.len(), kind: LineErrorKind::TooLong });
        };
        let end = self.searched + found;
        self.searched = 0;
        let line = &window[..end];
        let skip = end + 1;
        let split = match style {
            Style::Terse => self.words.split_at_blanks(line, limits.args_max),
            Style::Plain | Style::Verbose => self.words.split_quoted(line, limits.args_max),
        };
        if is_other_protocol(line, split.is_ok().then_some(self.words.len())) {
            return Err(LineError { skip: input.len(), kind: LineErrorKind::OtherProtocol });
        }
        split.map_err(|error| LineError { skip, kind: error.into() })?;
        if self.words.is_empty() {
            return Err(LineError { skip, kind: LineErrorKind::Empty });
        }
        Ok(Some(skip))
    }

    /// The request that was just read; `input` is what was given to the call that read it.
    pub fn request<'b>(&'b self, input: &'b [u8]) -> Request<'b> {
        self.words.request(input)
    }

    /// Drops the rest of a refused line.
    fn skip_line(&mut self, input: &[u8]) -> Option<usize> {
        self.words.clear();
        match memchr(b'\n', input) {
            Some(end) => {
                self.skipping = false;
                Some(end + 1)
            }
            None if input.is_empty() => None,
            None => Some(input.len()),
        }
    }
}

/// Returns the words of `text`, quoted as in the styles that quote. An end of line within quotes belongs to its word;
/// elsewhere it separates words.
///
/// # Errors
///
/// When quotes do not balance, or there are more than `words_max` words.
pub fn split_text(text: &[u8], words_max: usize) -> Result<OwnedRequest, LineErrorKind> {
    if text.len() >= SPANNED_BYTES_MAX {
        return Err(LineErrorKind::TooLong);
    }
    let mut words = Words::default();
    words.split_quoted(text, words_max)?;
    Ok(words.request(text).to_owned())
}

/// The terse style's contract: keys of 1 to `key_bytes_max` and other words of 1 to `value_bytes_max` bytes, all of
/// them printable ASCII. (Blanks cannot occur: the style splits at them.)
pub fn check_terse(
    spec: &Spec,
    request: Request<'_>,
    key_bytes_max: usize,
    value_bytes_max: usize,
) -> Result<(), CommandError> {
    let mut keys = spec.keys(request).peekable();
    for (position, word) in request.iter().enumerate().skip(1) {
        let is_key = keys.next_if(|(key_position, _)| *key_position == position).is_some();
        let (what, bytes_max) = if is_key { ("key", key_bytes_max) } else { ("value", value_bytes_max) };
        if word.is_empty() || word.len() > bytes_max || !word.iter().all(u8::is_ascii_graphic) {
            return Err(CommandError::custom(format!(
                "ERR {what} must be 1 to {bytes_max} printable ASCII characters"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
