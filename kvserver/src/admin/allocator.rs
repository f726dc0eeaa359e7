//! What the allocator knows of the process' memory.
//!
//! Invariant: figures are those of an allocator only in a program that says how to read them; elsewhere they are those of the
//! operating system, and no name is shown.

use kvstats::process::Usage;

/// The allocator of the program. By default one that is not known: a program that embeds the server has its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allocator {
    pub(crate) name: fn() -> String,
    pub(crate) read: fn() -> Option<Figures>,
}

/// Bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    /// Asked for and not given back.
    pub(crate) allocated: u64,
    /// In pages that hold any of those.
    pub(crate) active: u64,
    /// Of the process' memory, with the allocator's own and what it keeps for the next to ask.
    pub(crate) resident: u64,
}

impl Default for Allocator {
    fn default() -> Allocator {
        Allocator { name: || "unknown".to_owned(), read: || None }
    }
}

impl Allocator {
    pub(crate) fn name(self) -> String {
        (self.name)()
    }

    /// Returns its figures. `used`: what the server has counted itself.
    pub(crate) fn figures(self, used: u64, usage: &Usage) -> Figures {
        let unknown = Figures { allocated: used, active: usage.resident_bytes, resident: usage.resident_bytes };
        (self.read)().unwrap_or(unknown)
    }
}
