//! The error of a configuration.
//!
//! Invariant: it names the place, so that the reader finds what to correct.

/// What is wrong with a configuration, and where.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{place}: {why}")]
pub struct Error {
    /// The file and, if it is about one, the number of the line; or what else said it.
    pub place: String,
    /// What is wrong, in one line.
    pub why: String,
}

/// The result of reading a configuration.
pub type Result<T> = std::result::Result<T, Error>;
