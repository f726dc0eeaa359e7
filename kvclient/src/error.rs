//! What can go wrong between a client and its server, what became of the request then, and what to do about it.
//!
//! Invariant: no text here shows a password; and [`Error::outcome`] never says that a request was not done if it may have
//! been.

use kvproto::ProtocolError;
use std::io;
use std::time::Duration;
use thiserror::Error;

/// The outcome of a call to the server.
pub type Result<T> = std::result::Result<T, Error>;

/// What became of a request that failed; see [`Error::outcome`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// No byte of it was sent: the server has not done it. It may be sent again.
    NotSent,
    /// The server replied with an error, to the request or to the login before it: it was not done. Sending it again helps
    /// only if something changes.
    Refused,
    /// It was sent, wholly or in part, and no reply says whether it was done. Only the caller knows whether it may be done
    /// twice.
    Unknown,
    /// It was done, or of several requests at least one was; what failed is another of them, or to read the reply as the
    /// type that was asked for.
    Done,
}

/// Why a call to the server failed. `Display` says what to do; [`Error::outcome`] says whether the request was done.
#[derive(Debug, Error)]
pub enum Error {
    /// The address cannot be read. It is not shown: it may hold a password.
    #[error(
        "the server's address is wrong: {why}; write host:port, redis://[user:password@]host:port/db, line://host:port or unix:///path"
    )]
    Address {
        /// What is wrong with it.
        why: &'static str,
    },
    /// No server accepts connections there.
    #[error("cannot connect to {address}: {source}; is the server running?")]
    Connect {
        /// Host and port.
        address: String,
        /// What the system says.
        source: io::Error,
    },
    /// The server replied to the greeting (AUTH, HELLO, CLIENT SETNAME, SELECT) with an error.
    #[error("the server refused the connection: {text}; check user, password and database")]
    Refused {
        /// The server's words.
        text: String,
    },
    /// The server replied with an error. The connection stays usable.
    #[error("{0}")]
    Reply(String),
    /// The connection was closed before the request could be sent: by the server, or because of an earlier error.
    #[error("the connection to {address} is closed, nothing was sent; connect again")]
    NotConnected {
        /// Host and port.
        address: String,
    },
    /// The connection failed before a byte of the request was sent. It was closed.
    #[error("the connection to {address} failed: {source}; nothing was sent, connect again")]
    NotSent {
        /// Host and port.
        address: String,
        /// What the system says.
        source: io::Error,
    },
    /// An open transaction, or watched keys, went with the connection that was lost; the request was meant for that
    /// connection, and was not sent to a new one. The next request is.
    #[error("the {what} lost with the old connection, nothing was sent; begin the transaction again")]
    SessionLost {
        /// What was lost, with its verb.
        what: &'static str,
    },
    /// The command has other than one reply.
    #[error("{command} has no single reply, and was not sent; use {instead}")]
    NoSingleReply {
        /// The command, in capitals.
        command: String,
        /// What to use for it.
        instead: &'static str,
    },
    /// The request has no word.
    #[error("the request is empty: its first word is the command's name")]
    Empty,
    /// The server closed the connection before its reply; whether the request was done is unknown.
    #[error("the connection to {address} is closed; connect again")]
    Closed {
        /// Host and port.
        address: String,
    },
    /// No reply in time. The connection was closed; whether the request was done is unknown.
    #[error("no reply within {} s; the connection was closed, connect again", .after.as_secs_f32())]
    TimedOut {
        /// How long it was waited.
        after: Duration,
    },
    /// The connection failed; whether the last request was done is unknown.
    #[error("the connection to {address} failed: {source}; connect again")]
    Io {
        /// Host and port.
        address: String,
        /// What the system says.
        source: io::Error,
    },
    /// What came back is not the protocol that was spoken. The connection was closed; whether the request was done is
    /// unknown.
    #[error("{0}; {next}", next = next_step(.0))]
    Protocol(#[from] ProtocolError),
    /// The line protocol cannot do this. Nothing was sent.
    #[error("the line protocol has no {what}; connect to the server's redis:// port for that")]
    LineProtocol {
        /// What was asked for.
        what: &'static str,
    },
    /// The server did what was asked for, but its reply is not of the type to read it as.
    #[error("the reply is {got}, which cannot be read as {wanted}; ask for another type")]
    Type {
        /// The type.
        wanted: &'static str,
        /// What came.
        got: &'static str,
    },
    /// The command waits for EXEC, and its reply says just that: the result is in EXEC's reply.
    #[error("the command waits for EXEC; read its result from EXEC's reply, or use Client::transaction")]
    Queued,
    /// One of the requests of a pipeline or transaction failed, while others did not; it is the first of them.
    #[error("request {at} of {of}: {source}")]
    Batch {
        /// Which: from 1.
        at: usize,
        /// How many requests there were.
        of: usize,
        /// What became of all of them taken together.
        outcome: Outcome,
        /// Why it failed.
        source: Box<Error>,
    },
    /// A watched key changed each time a transaction was tried.
    #[error(
        "watched keys changed each of the {tries} times the transaction was tried; nothing was done, try again later"
    )]
    Contended {
        /// How often it was tried.
        tries: u32,
    },
}

/// Returns what to do about bytes that are no reply.
fn next_step(error: &ProtocolError) -> &'static str {
    match error {
        ProtocolError::ReplyTooLong => "ask for less at once, with SCAN or GETRANGE",
        ProtocolError::ReplyTooDeep => "no command is answered so: check what listens there",
        _ => "is this a RESP port? For the line protocol use line://host:port",
    }
}

impl Error {
    /// Returns what became of the request.
    ///
    /// An error reply is [`Outcome::Refused`], with one exception: `MISCONF`, with which a kv server also replies to a write
    /// that was under way when its log failed. That is [`Outcome::Unknown`].
    ///
    /// ```
    /// use kvclient::{Client, Outcome};
    /// # let (_server, mut client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    ///
    /// client.set("word", "no number")?;
    /// let error = client.incr("word").unwrap_err();
    /// match error.outcome() {
    ///     Outcome::NotSent => println!("{error}: may be sent again"),
    ///     Outcome::Refused => println!("{error}: was not done"),
    ///     Outcome::Unknown => println!("{error}: may have been done"),
    ///     Outcome::Done => println!("{error}: was done"),
    /// }
    /// assert_eq!(error.outcome(), Outcome::Refused);
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn outcome(&self) -> Outcome {
        match self {
            Error::Address { .. }
            | Error::Connect { .. }
            | Error::NotConnected { .. }
            | Error::NotSent { .. }
            | Error::SessionLost { .. }
            | Error::NoSingleReply { .. }
            | Error::Empty
            | Error::LineProtocol { .. } => Outcome::NotSent,
            Error::Reply(text) if is_unsure(text) => Outcome::Unknown,
            Error::Refused { .. } | Error::Reply(_) | Error::Contended { .. } => Outcome::Refused,
            Error::Closed { .. } | Error::TimedOut { .. } | Error::Io { .. } | Error::Protocol(_) | Error::Queued => {
                Outcome::Unknown
            }
            Error::Type { .. } => Outcome::Done,
            Error::Batch { outcome, .. } => *outcome,
        }
    }

    /// Returns whether the connection is gone, so that only connecting again helps. A [`Client`](crate::Client) does that
    /// by itself, see [`Reconnect`](crate::Reconnect).
    ///
    /// ```
    /// # let (server, mut client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// assert!(!client.execute::<()>(["NO", "SUCH", "COMMAND"]).unwrap_err().is_disconnect());
    /// server.shutdown().expect("a server that ends");
    /// assert!(client.ping().unwrap_err().is_disconnect());
    /// ```
    pub fn is_disconnect(&self) -> bool {
        match self {
            Error::Batch { source, .. } => source.is_disconnect(),
            Error::Connect { .. }
            | Error::Refused { .. }
            | Error::NotConnected { .. }
            | Error::NotSent { .. }
            | Error::Closed { .. }
            | Error::TimedOut { .. }
            | Error::Io { .. }
            | Error::Protocol(_) => true,
            Error::Address { .. }
            | Error::Reply(_)
            | Error::SessionLost { .. }
            | Error::NoSingleReply { .. }
            | Error::Empty
            | Error::LineProtocol { .. }
            | Error::Type { .. }
            | Error::Queued
            | Error::Contended { .. } => false,
        }
    }
}

/// Returns whether an error reply leaves open what became of a write. Over the line protocol the style's own word stands
/// before the code.
fn is_unsure(text: &str) -> bool {
    let text = text.strip_prefix("ERROR ").or_else(|| text.strip_prefix("ERR ")).unwrap_or(text);
    text.starts_with("MISCONF ")
}
