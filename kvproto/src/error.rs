//! What can be wrong with a request: the text the client gets.
//!
//! Invariant: the texts are those Redis 7 sends, byte for byte, because client libraries compare them: what is quoted of
//! a client's words is the bytes that it sent. Each is one line: line ends in quoted words become blanks.

use crate::request::Request;
use crate::text::Text;
use thiserror::Error;

/// A command that cannot be done as it was asked. [`CommandError::into_text`] is the whole error reply without the leading
/// `-`; the connection stays usable.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CommandError {
    /// The words do not fit the command's syntax.
    #[error("ERR syntax error")]
    Syntax,
    /// A word, or the value of a key, should be a 64-bit integer.
    #[error("ERR value is not an integer or out of range")]
    NotAnInteger,
    /// A word, or the value of a key, should be a number.
    #[error("ERR value is not a valid float")]
    NotAFloat,
    /// A number is outside what the command takes.
    #[error("ERR value is out of range")]
    OutOfRange,
    /// A number has to be above zero.
    #[error("ERR value is out of range, must be positive")]
    NotPositive,
    /// The sum does not fit 64 bits.
    #[error("ERR increment or decrement would overflow")]
    Overflow,
    /// The sum is no finite number.
    #[error("ERR increment would produce NaN or Infinity")]
    NotFinite,
    /// Too many words, or too few. Subcommands are named `client|list`.
    #[error("ERR wrong number of arguments for '{command}' command")]
    WrongArity {
        /// The command's name in lower case.
        command: String,
    },
    /// No such command; made by [`CommandError::unknown_command`].
    #[error("ERR unknown command '{name}', with args beginning with: {args}")]
    UnknownCommand {
        /// The name as typed, cut to 128 bytes.
        name: Text,
        /// The arguments as typed, each quoted and followed by a blank, cut to about 128 bytes.
        args: Text,
    },
    /// No such subcommand; made by [`CommandError::unknown_subcommand`].
    #[error("ERR unknown subcommand '{given}'. Try {container} HELP.")]
    UnknownSubcommand {
        /// The container's name as typed, in upper case.
        container: Text,
        /// The subcommand as typed, cut to 128 bytes.
        given: Text,
    },
    /// A lifetime that is zero, negative or beyond the end of time.
    #[error("ERR invalid expire time in '{command}' command")]
    InvalidExpire {
        /// The command's name in lower case.
        command: String,
    },
    /// The command needs a key that exists.
    #[error("ERR no such key")]
    NoSuchKey,
    /// A SCAN cursor that no SCAN handed out.
    #[error("ERR invalid cursor")]
    InvalidCursor,
    /// The value would grow too long.
    #[error("ERR string exceeds maximum allowed size (proto-max-bulk-len)")]
    StringTooLong,
    /// SELECT of a keyspace that cannot be.
    #[error("ERR DB index is out of range")]
    DbIndexOutOfRange,
    /// The key holds another kind of value.
    #[error("WRONGTYPE Operation against a key holding the wrong kind of value")]
    WrongType,
    /// Any other text, its code word (`ERR`, `NOAUTH`, ...) included.
    #[error("{0}")]
    Custom(Text),
}

/// How much of a client's own words an error quotes, in bytes.
pub const QUOTED_BYTES_MAX: usize = 128;

impl CommandError {
    /// A command of Redis that this server knows of and does not have, named in full.
    pub fn unsupported(name: &str) -> CommandError {
        CommandError::custom(format!(
            "ERR '{name}' is not supported: this server keeps strings, on one node, and runs no scripts"
        ))
    }

    /// Any text of one's own, its code word included: `CommandError::custom("NOPERM not yours")`.
    pub fn custom(text: impl Into<Text>) -> CommandError {
        CommandError::Custom(text.into())
    }

    /// As [`quoting`](Self::quoting), of the first [`QUOTED_BYTES_MAX`] bytes of the word.
    pub fn quoting_start(before: &str, word: &[u8], after: &str) -> CommandError {
        CommandError::quoting(before, beginning(word, QUOTED_BYTES_MAX), after)
    }

    /// Returns an error that quotes a word of a client's, whole but for what stands behind a NUL, between two texts of
    /// one's own, the code word included.
    pub fn quoting(before: &str, word: &[u8], after: &str) -> CommandError {
        let word = quoted(word, word.len());
        CommandError::Custom(Text::join(&[before.as_bytes(), &word, after.as_bytes()]))
    }

    /// Returns the text of the error, its code word included.
    pub fn into_text(self) -> Text {
        match self {
            CommandError::Custom(text) => text,
            CommandError::UnknownCommand { name, args } => Text::join(&[
                b"ERR unknown command '",
                name.as_bytes(),
                b"', with args beginning with: ",
                args.as_bytes(),
            ]),
            CommandError::UnknownSubcommand { container, given } => Text::join(&[
                b"ERR unknown subcommand '",
                given.as_bytes(),
                b"'. Try ",
                container.as_bytes(),
                b" HELP.",
            ]),
            error => error.to_string().into(),
        }
    }

    /// Wrong arity of the command `name` (in lower case).
    pub fn wrong_arity(name: &str) -> CommandError {
        CommandError::WrongArity { command: name.to_owned() }
    }

    /// An expire time that `name` (in lower case) refuses.
    pub fn invalid_expire(name: &str) -> CommandError {
        CommandError::InvalidExpire { command: name.to_owned() }
    }

    /// Nobody knows the command `request` names.
    pub fn unknown_command(request: Request<'_>) -> CommandError {
        // The bound is on the bytes before a word, quotes and blanks included, as clients and tests of other servers see it.
        let mut args = Vec::new();
        let mut bytes = 0;
        for word in request.iter().skip(1) {
            if bytes >= QUOTED_BYTES_MAX {
                break;
            }
            let word = beginning(word, QUOTED_BYTES_MAX - bytes);
            bytes += word.len() + "'' ".len();
            args.extend([b"'", &*one_line_of(word), b"' "].concat());
        }
        CommandError::UnknownCommand { name: quoted(request.name(), QUOTED_BYTES_MAX).into(), args: args.into() }
    }

    /// The container `request` names has no such subcommand.
    pub fn unknown_subcommand(request: Request<'_>) -> CommandError {
        CommandError::UnknownSubcommand {
            container: quoted(request.name(), QUOTED_BYTES_MAX).to_ascii_uppercase().into(),
            given: quoted(request.get(1).unwrap_or_default(), QUOTED_BYTES_MAX).into(),
        }
    }
}

/// Returns the beginning of a client's word, at most `bytes_max` bytes of it and up to a NUL, on one line.
pub fn quoted(word: &[u8], bytes_max: usize) -> Vec<u8> {
    one_line_of(beginning(word, bytes_max))
}

/// The bytes of a word that are quoted: up to a NUL, where texts of Redis end.
fn beginning(word: &[u8], bytes_max: usize) -> &[u8] {
    let end = word.iter().take(bytes_max).position(|byte| *byte == 0);
    &word[..end.unwrap_or(word.len().min(bytes_max))]
}

fn one_line_of(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte }).collect()
}

/// A stream of bytes that is no RESP. There is no way to find the next request in it: reply with the
/// error that it converts to, close.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ProtocolError {
    /// No line end in sight after `*`.
    #[error("Protocol error: too big mbulk count string")]
    CountTooLong,
    /// What follows `*` is no number, or is above the limit on words.
    #[error("Protocol error: invalid multibulk length")]
    InvalidCount,
    /// More words than a client may send before it logs in.
    #[error("Protocol error: unauthenticated multibulk length")]
    UnauthenticatedCount,
    /// A word does not begin with `$`.
    #[error("Protocol error: expected '$', got '{}'", one_line(*.0))]
    ExpectedBulk(u8),
    /// No line end in sight after `$`.
    #[error("Protocol error: too big bulk count string")]
    BulkLengthTooLong,
    /// What follows `$` is no number, or is above the limit on a word.
    #[error("Protocol error: invalid bulk length")]
    InvalidBulkLength,
    /// A longer word than a client may send before it logs in.
    #[error("Protocol error: unauthenticated bulk length")]
    UnauthenticatedBulkLength,
    /// No line end in sight in an inline request.
    #[error("Protocol error: too big inline request")]
    InlineTooLong,
    /// A quote that never closes, or with a word glued behind it.
    #[error("Protocol error: unbalanced quotes in request")]
    UnbalancedQuotes,
    /// HTTP or TLS: close without a reply, and execute nothing that follows.
    #[error("Protocol error: HTTP and TLS are not spoken here")]
    OtherProtocol,
    /// The request as a whole passes its limit.
    #[error("Protocol error: too big request")]
    RequestTooLong,
    /// Client side: the server's reply is not RESP.
    #[error("Protocol error: the reply is not RESP (unexpected byte {0:#04x})")]
    InvalidReply(u8),
    /// Client side: a length, a number or a flag in the reply cannot be read.
    #[error("Protocol error: the reply holds an invalid length or number")]
    InvalidReplyNumber,
    /// Client side: the reply passes the size the client accepts.
    #[error("Protocol error: the reply is larger than the client accepts")]
    ReplyTooLong,
    /// Client side: arrays within arrays without end.
    #[error("Protocol error: the reply is nested too deeply")]
    ReplyTooDeep,
}

/// A byte as one character that cannot break the line it is quoted in.
fn one_line(byte: u8) -> char {
    match byte {
        b'\r' | b'\n' => ' ',
        byte => char::from(byte),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::Reply;
    use crate::request::OwnedRequest;

    #[test]
    fn an_unknown_command_quotes_what_was_typed() {
        let owned = OwnedRequest::from_words(["foo\r\n", "bar", "b\naz"]);
        assert_eq!(
            CommandError::unknown_command(owned.as_request()).to_string(),
            "ERR unknown command 'foo  ', with args beginning with: 'bar' 'b az' "
        );
        let owned = OwnedRequest::from_words(["foo"]);
        assert_eq!(
            CommandError::unknown_command(owned.as_request()).to_string(),
            "ERR unknown command 'foo', with args beginning with: "
        );
    }

    #[test]
    fn what_an_error_quotes_is_bounded() {
        let long = "x".repeat(1000);
        let owned = OwnedRequest::from_words(vec![long; 1000]);
        let text = CommandError::unknown_command(owned.as_request()).to_string();
        assert!(text.len() < 400, "{}", text.len());
        let text = CommandError::unknown_subcommand(owned.as_request()).to_string();
        assert!(text.len() < 400, "{}", text.len());
    }

    #[test]
    fn bytes_are_quoted_as_they_came() {
        let bytes = |error: CommandError| Reply::from(error);
        let owned = OwnedRequest::from_words([&b"a\xff"[..], b"\xfeb"]);
        assert_eq!(
            bytes(CommandError::unknown_command(owned.as_request())),
            Reply::error(b"ERR unknown command 'a\xff', with args beginning with: '\xfeb' ".to_vec())
        );
        assert_eq!(
            bytes(CommandError::unknown_subcommand(owned.as_request())),
            Reply::error(b"ERR unknown subcommand '\xfeb'. Try A\xff HELP.".to_vec())
        );
        assert_eq!(
            bytes(CommandError::quoting("ERR no '", b"\xff\r\n\x00x", "'")),
            Reply::error(b"ERR no '\xff  '".to_vec())
        );
        for (byte, text) in [
            (0xff, &b"ERR Protocol error: expected '$', got '\xff'"[..]),
            (0, b"ERR Protocol error: expected '$', got ''"),
        ] {
            assert_eq!(Reply::from(ProtocolError::ExpectedBulk(byte)), Reply::error(text.to_vec()));
        }
    }

    #[test]
    fn an_unknown_subcommand_names_its_container_in_capitals() {
        let owned = OwnedRequest::from_words(["client", "Nope"]);
        assert_eq!(
            CommandError::unknown_subcommand(owned.as_request()).to_string(),
            "ERR unknown subcommand 'Nope'. Try CLIENT HELP."
        );
    }

    #[test]
    fn a_protocol_error_stays_on_one_line() {
        assert_eq!(ProtocolError::ExpectedBulk(b'\n').to_string(), "Protocol error: expected '$', got ' '");
        assert_eq!(ProtocolError::ExpectedBulk(b'x').to_string(), "Protocol error: expected '$', got 'x'");
    }
}
