//! The subcommands, and what they share.
//!
//! Invariant: a report goes to standard output, whole; the exit code is the caller's affair.

mod backup;
mod check;
mod dump;
mod line;
mod load;
mod repair;
mod restore;

use std::io;
use std::path::Path;

pub use backup::backup;
pub use check::check;
pub use dump::dump;
pub use load::load;
pub use repair::{RepairArguments, repair};
pub use restore::restore;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store refused it.
    #[error(transparent)]
    Store(#[from] kvcore::Error),
    /// A file, standard input or standard output could not be read or written.
    #[error("cannot {what}: {source}")]
    File {
        /// What was done to which file.
        what: String,
        /// What the system says.
        source: io::Error,
    },
    /// What was to be restored is no whole backup.
    #[error("{what} is not a whole backup: {why}. Nothing was restored")]
    Archive {
        /// The file.
        what: String,
        /// Where it is wrong.
        why: String,
    },
    /// A line of JSON could not be loaded.
    #[error("line {number}: {why}; the {loaded} keys before it are in the store")]
    Line {
        /// The line, counted from 1.
        number: u64,
        /// What is wrong with it.
        why: String,
        /// The keys that were loaded before it.
        loaded: u64,
    },
}

impl Error {
    fn reading(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
        let what = format!("read {}", what.into());
        |source| Error::File { what, source }
    }

    fn writing(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
        let what = format!("write {}", what.into());
        |source| Error::File { what, source }
    }
}

/// What a command returns.
pub type Result<T> = std::result::Result<T, Error>;

/// Writes a report to standard output.
fn print(report: &str) -> Result<()> {
    use io::Write;
    io::stdout().lock().write_all(report.as_bytes()).map_err(Error::writing("standard output"))
}

/// Returns a name that is not the store's own as it can be shown.
fn shown(name: &str) -> String {
    name.escape_debug().to_string()
}

fn path(path: &Path) -> String {
    path.display().to_string()
}
