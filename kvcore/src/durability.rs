//! Durability: what an acknowledged write has survived. Invariant: a stronger level is a superset of a weaker one.

use std::fmt;
use std::str::FromStr;

use crate::sync::atomic::{AtomicU8, Ordering};

/// When a write counts as done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub enum Durability {
    /// The write is on stable storage (one shared `fdatasync` for all that wait). Survives power loss.
    #[default]
    Always,
    /// The write is in the log's buffer, reaches the operating system within milliseconds and stable storage within
    /// about a second. A power cut loses at most that window; what is left is a prefix of the history.
    EverySecond,
    /// As `EverySecond`, but the operating system decides when it reaches stable storage.
    Os,
}

impl Durability {
    /// Returns its name in flags and configuration: `always`, `everysec` or `os`.
    ///
    /// ```
    /// assert_eq!(kvcore::Durability::EverySecond.name(), "everysec");
    /// ```
    pub const fn name(self) -> &'static str {
        match self {
            Durability::Always => "always",
            Durability::EverySecond => "everysec",
            Durability::Os => "os",
        }
    }
}

/// A level that may change while others look at it.
pub(crate) struct Promise(AtomicU8);

impl Promise {
    pub(crate) fn new(durability: Durability) -> Self {
        Promise(AtomicU8::new(durability as u8))
    }

    #[inline]
    pub(crate) fn get(&self) -> Durability {
        // Sequentially consistent, as `set` and the counter of Lsns are: a writer that finds the old level here has its Lsn
        // seen by whoever sets the new one. See `Wal::keep_window`.
        match self.0.load(Ordering::SeqCst) {
            level if level == Durability::EverySecond as u8 => Durability::EverySecond,
            level if level == Durability::Os as u8 => Durability::Os,
            _ => Durability::Always,
        }
    }

    pub(crate) fn set(&self, durability: Durability) {
        self.0.store(durability as u8, Ordering::SeqCst);
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Durability {
    type Err = crate::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "always" => Ok(Durability::Always),
            "everysec" | "every-second" => Ok(Durability::EverySecond),
            "os" | "no" => Ok(Durability::Os),
            _ => Err(crate::Error::InvalidOption(format!("durability is always, everysec or os, not {text:?}"))),
        }
    }
}
