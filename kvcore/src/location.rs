//! Location: notices when a store's directory is moved or deleted while it is open. Invariant: a move is logged once, and
//! is no error; a deletion is one.

use std::sync::Arc;

use crate::disk::{Directory, Location};

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
    pub(crate) fn check(&mut self, monotonic_ms: u64) -> Result<(), String> {
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
