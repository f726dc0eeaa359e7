//! A store's directory: opens it, locks it, and notices when it is moved or deleted while it is open. Invariant: a move is
//! logged once, and is no error; a deletion is one.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::io::disk::{Directory, Disk, Location};

/// Keeps other stores out of a directory until it is dropped.
pub(crate) type DirLock = Box<dyn Send + Sync>;

/// Opens a store's directory, which must exist.
pub(crate) fn open(disk: &dyn Disk, path: &Path) -> Result<Arc<dyn Directory>> {
    disk.open_dir(path).map_err(|error| Error::io(format!("open the directory {}", path.display()), error))
}

/// Opens a store's directory, which is created if it does not exist.
pub(crate) fn create(disk: &dyn Disk, path: &Path) -> Result<Arc<dyn Directory>> {
    disk.create_dir(path).map_err(|error| Error::io(format!("create the directory {}", path.display()), error))?;
    open(disk, path)
}

/// Locks a directory for this process alone.
pub(crate) fn lock(dir: &dyn Directory) -> Result<DirLock> {
    dir.lock().map_err(|error| not_locked(dir, error))
}

/// Locks a directory for a caller that changes nothing.
pub(crate) fn lock_to_read(dir: &dyn Directory) -> Result<DirLock> {
    dir.lock_to_read().map_err(|error| not_locked(dir, error))
}

fn not_locked(dir: &dyn Directory, error: std::io::Error) -> Error {
    match error.kind() {
        ErrorKind::WouldBlock => Error::Locked { dir: dir.path().to_owned(), holder: error.to_string() },
        _ => Error::io(format!("lock the directory {}", dir.path().display()), error),
    }
}

/// How often the location is checked while the log is written.
const EVERY_MS: u64 = 1_000;

pub(crate) struct LocationCheck {
    dir: Arc<dyn Directory>,
    /// When the last check was, in monotonic milliseconds, and what it found.
    checked_ms: Option<u64>,
    found: Location,
}

impl LocationCheck {
    pub(crate) fn new(dir: Arc<dyn Directory>) -> Self {
        LocationCheck { dir, checked_ms: None, found: Location::Unchanged }
    }

    /// Looks where the directory is, at most once a second.
    ///
    /// # Errors
    ///
    /// Says that the directory was deleted.
    pub(crate) fn check(&mut self, monotonic_ms: u64) -> std::result::Result<(), String> {
        let is_due = |last: u64| monotonic_ms.saturating_sub(last) >= EVERY_MS;
        if !self.checked_ms.is_none_or(is_due) {
            return Ok(());
        }
        self.checked_ms = Some(monotonic_ms);
        let found = self.dir.location();
        if found != self.found {
            self.log(&found);
            self.found = found;
        }
        match self.found {
            Location::Deleted => Err(format!("{} was deleted while the store was open", self.dir.path().display())),
            _ => Ok(()),
        }
    }

    fn log(&self, found: &Location) {
        let path = self.dir.path().display();
        match found {
            Location::Moved { to: Some(to) } => tracing::warn!(
                "the store's directory {path} was moved to {}, and stays in use there: open it by that path next time",
                to.display()
            ),
            Location::Moved { to: None } => tracing::warn!(
                "the store's directory {path} was moved, or something was mounted over it: it stays in use where it is \
                 now, and that path no longer leads to it"
            ),
            Location::Unchanged => tracing::info!("the store's directory is at {path} again"),
            // The log fails, and says why.
            Location::Deleted => {}
        }
    }
}
