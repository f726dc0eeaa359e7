//! What can go wrong between a client and its server, and what to do about it.
//!
//! Invariant: no text here shows a password.

use kvproto::ProtocolError;
use std::io;
use std::time::Duration;
use thiserror::Error;

/// The outcome of a call to the server.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a call to the server failed. `Display` says what to do.
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
    /// Nobody answers there.
    #[error("cannot connect to {address}: {source}; is the server running?")]
    Connect {
        /// Host and port.
        address: String,
        /// What the system says.
        source: io::Error,
    },
    /// The server answered the greeting (AUTH, HELLO, SELECT) with an error.
    #[error("the server refused the connection: {text}; check user, password and database")]
    Refused {
        /// The server's words.
        text: String,
    },
    /// The server answered with an error. The connection stays usable.
    #[error("{0}")]
    Reply(String),
    /// The connection is closed; whether the last request was done is unknown.
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
    /// What came back is not the protocol that was spoken. The connection was closed.
    #[error("{0}; {next}", next = next_step(.0))]
    Protocol(#[from] ProtocolError),
    /// The line protocol cannot do this.
    #[error("the line protocol has no {what}; connect to the server's redis:// port for that")]
    LineProtocol {
        /// What was asked for.
        what: &'static str,
    },
}

/// What to do about bytes that are no reply.
fn next_step(error: &ProtocolError) -> &'static str {
    match error {
        ProtocolError::ReplyTooLong => "ask for less at once, with SCAN or GETRANGE",
        ProtocolError::ReplyTooDeep => "no command is answered so: check what listens there",
        _ => "is this a RESP port? For the line protocol use line://host:port",
    }
}

impl Error {
    /// Whether the connection is gone, so that only connecting again helps.
    pub fn is_disconnect(&self) -> bool {
        !matches!(self, Error::Reply(_) | Error::Address { .. } | Error::LineProtocol { .. })
    }
}
