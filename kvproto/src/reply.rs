//! What was answered, before anyone decides how it is spelled.
//!
//! Invariant: a `Reply` says nothing about a protocol version or style; [`crate::resp::encode`] and
//! [`crate::line::speak`] each can spell every one of them.

use crate::bulk::Bulk;
use crate::error::{CommandError, ProtocolError};
use crate::text::Text;

/// One answer, or one message pushed by the server.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Reply {
    /// `OK`: done, and there is nothing more to tell.
    Ok,
    /// A short line of text such as `PONG` or `QUEUED`. Line ends in it are sent as blanks.
    Simple(Text),
    /// An error: its code word, a blank, its text, which may quote any bytes. Line ends in it are sent as blanks.
    Error(Text),
    /// A whole number.
    Integer(i64),
    /// A number; text in RESP2.
    Double(f64),
    /// A number by its decimal digits, which may be more than a [`Reply::Double`] holds; plain bytes in RESP2.
    Decimal(String),
    /// True or false; 1 or 0 in RESP2.
    Bool(bool),
    /// A whole number of any size, in decimal digits; text in RESP2.
    BigNumber(String),
    /// Bytes.
    Bulk(Bulk),
    /// Text for people, with a three-letter hint at its format (`txt`, `mkd`); plain bytes in RESP2.
    Verbatim {
        /// The hint.
        format: [u8; 3],
        /// The text.
        text: Vec<u8>,
    },
    /// No value.
    #[default]
    Nil,
    /// No list, which RESP2 spells differently from no value.
    NilArray,
    /// A list.
    Array(Vec<Reply>),
    /// Pairs; in RESP2 a list of keys and values in turn.
    Map(Vec<(Reply, Reply)>),
    /// A list whose order means nothing; a plain list in RESP2.
    Set(Vec<Reply>),
    /// Pairs that tell something about the reply they are sent before; left out in RESP2.
    Attribute(Vec<(Reply, Reply)>),
    /// A message that answers no request; a plain list in RESP2.
    Push(Vec<Reply>),
    /// No bytes at all: the command answers later, by pushes, or never. Within a list it is sent as [`Reply::Nil`].
    Nothing,
}

impl Reply {
    /// A bulk reply of these bytes.
    pub fn bulk(bytes: impl Into<Bulk>) -> Reply {
        Reply::Bulk(bytes.into())
    }

    /// A short line of text.
    pub fn simple(text: impl Into<Text>) -> Reply {
        Reply::Simple(text.into())
    }

    /// An error; the text begins with its code word, as in `ERR syntax error`.
    pub fn error(text: impl Into<Text>) -> Reply {
        Reply::Error(text.into())
    }

    /// A count. Counts beyond `i64::MAX` are answered as `i64::MAX`.
    pub fn count(count: impl TryInto<i64>) -> Reply {
        Reply::Integer(count.try_into().unwrap_or(i64::MAX))
    }

    /// 1 for true and 0 for false, in every protocol version.
    pub fn flag(value: bool) -> Reply {
        Reply::Integer(i64::from(value))
    }

    /// A bulk reply, or nil for `None`.
    pub fn bulk_or_nil(bytes: Option<impl Into<Bulk>>) -> Reply {
        bytes.map_or(Reply::Nil, Reply::bulk)
    }

    /// A list of bulk replies.
    pub fn bulks<I>(items: I) -> Reply
    where
        I: IntoIterator,
        I::Item: Into<Bulk>,
    {
        Reply::Array(items.into_iter().map(Reply::bulk).collect())
    }

    /// Text for people, in plain text.
    pub fn text(text: impl Into<Vec<u8>>) -> Reply {
        Reply::Verbatim { format: *b"txt", text: text.into() }
    }

    /// The bytes of all texts in it, and for each reply in it, itself included, the bytes of its place: about what it
    /// holds in memory. So a list of integers, or of lists of nothing, has a size as well.
    pub fn payload_bytes(&self) -> usize {
        self.sum(|bulk| bulk.len())
    }

    /// Returns the same without [large values](Bulk::as_large), which need not be copied to be sent.
    pub fn copied_bytes(&self) -> usize {
        self.sum(|bulk| if bulk.as_large().is_some() { 0 } else { bulk.len() })
    }

    fn sum(&self, of_bulk: fn(&Bulk) -> usize) -> usize {
        let of_pairs =
            |pairs: &[(Reply, Reply)]| pairs.iter().map(|(key, value)| key.sum(of_bulk) + value.sum(of_bulk)).sum();
        let of_parts = match self {
            Reply::Simple(text) | Reply::Error(text) => text.len(),
            Reply::BigNumber(digits) | Reply::Decimal(digits) => digits.len(),
            Reply::Bulk(bytes) => of_bulk(bytes),
            Reply::Verbatim { text, .. } => text.len(),
            Reply::Array(items) | Reply::Set(items) | Reply::Push(items) => {
                items.iter().map(|item| item.sum(of_bulk)).sum()
            }
            Reply::Map(pairs) | Reply::Attribute(pairs) => of_pairs(pairs),
            Reply::Ok
            | Reply::Integer(_)
            | Reply::Double(_)
            | Reply::Bool(_)
            | Reply::Nil
            | Reply::NilArray
            | Reply::Nothing => 0,
        };
        size_of::<Reply>() + of_parts
    }

    /// Whether this is an error.
    pub fn is_error(&self) -> bool {
        matches!(self, Reply::Error(_))
    }
}

impl From<CommandError> for Reply {
    fn from(error: CommandError) -> Reply {
        Reply::Error(error.into_text())
    }
}

impl From<ProtocolError> for Reply {
    fn from(error: ProtocolError) -> Reply {
        Reply::Error(match error {
            // As text the byte would become a character of its own.
            ProtocolError::ExpectedBulk(byte) => {
                Text::join(&[b"ERR Protocol error: expected '$', got '", &[byte][..usize::from(byte != 0)], b"'"])
            }
            error => format!("ERR {error}").into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_stays_small_enough_to_pass_by_value() {
        assert!(size_of::<Reply>() <= 40, "{}", size_of::<Reply>());
    }

    #[test]
    fn the_payload_is_the_texts_and_the_places_at_every_depth() {
        let nested = Reply::Map(vec![(Reply::bulk("abc"), Reply::Array(vec![Reply::simple("de"), Reply::Integer(7)]))]);
        let message = Reply::Push(vec![nested, Reply::Nil, Reply::text("fghi")]);
        assert_eq!(message.payload_bytes(), 9 + 8 * size_of::<Reply>());
    }

    #[test]
    fn a_count_beyond_the_integers_saturates() {
        assert_eq!(Reply::count(3_usize), Reply::Integer(3));
        assert_eq!(Reply::count(u64::MAX), Reply::Integer(i64::MAX));
    }

    #[test]
    fn a_command_error_is_answered_by_its_text() {
        assert_eq!(Reply::from(CommandError::Syntax), Reply::error("ERR syntax error"));
        assert_eq!(Reply::from(CommandError::custom("NOPERM no")), Reply::error("NOPERM no"));
    }
}
