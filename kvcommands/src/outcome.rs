//! What a command comes to: its reply, or why it was not carried out.
//!
//! Invariant: every failure has a reply, and that is one line on the wire.

use kvproto::{CommandError, Reply};

/// The most bytes that a reply may have, by [`Reply::payload_bytes`]. Without a bound a request of some kilobytes could name one
/// value a thousand times.
pub const REPLY_BYTES_MAX: usize = 1024 * 1024 * 1024;

/// The error of Redis when there is no room.
pub const OOM: &str = "OOM command not allowed when used memory > 'maxmemory'.";

/// Why a command was not carried out.
#[derive(Debug)]
pub enum Failure {
    /// The client asked for something that is not a command or not allowed.
    Command(CommandError),
    /// The store could not do it.
    Store(kvcore::Error),
}

impl From<CommandError> for Failure {
    fn from(error: CommandError) -> Failure {
        Failure::Command(error)
    }
}

impl From<kvcore::Error> for Failure {
    fn from(error: kvcore::Error) -> Failure {
        Failure::Store(error)
    }
}

impl From<Failure> for Reply {
    fn from(failure: Failure) -> Reply {
        match failure {
            Failure::Command(error) => error.into(),
            Failure::Store(error) => store_error(&error),
        }
    }
}

/// How a failure of the store is told to a client. Clients gate on the first word: `MISCONF` is what they know as
/// "this server does not take writes now".
pub fn store_error(error: &kvcore::Error) -> Reply {
    use kvcore::Error;
    let text = match error {
        Error::LogFailed { .. } | Error::NoSpace { .. } | Error::TooManyOpenFiles { .. } => format!("MISCONF {error}"),
        Error::KeyTooLong { .. } | Error::ValueTooLong { .. } => {
            return Reply::error("ERR string exceeds maximum allowed size (proto-max-bulk-len)");
        }
        Error::MemoryLimit { .. } => return Reply::error(OOM),
        Error::EntryLimit { .. } => {
            return Reply::error("OOM command not allowed when the keys are as many as 'max-entries'.");
        }
        Error::NotAnInteger => return CommandError::NotAnInteger.into(),
        Error::Overflow => return Reply::error("ERR increment or decrement would overflow"),
        other => format!("ERR {other}"),
    };
    // An error is one line on the wire whatever a path or the operating system put into the text.
    Reply::error(text.replace(['\r', '\n'], " "))
}

/// What is answered instead of more than [`REPLY_BYTES_MAX`].
pub fn reply_too_large() -> CommandError {
    CommandError::custom(format!("ERR the reply would be larger than {REPLY_BYTES_MAX} bytes; ask for less at a time"))
}

/// What a command answers.
pub type Outcome = Result<Reply, Failure>;
