//! How one client tracks.
//!
//! Invariant: a client has this exactly while the server's table knows it as one that tracks.

use std::collections::{BTreeSet, HashMap};

/// Which reads count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Choice {
    /// All.
    #[default]
    Every,
    /// Those announced by CLIENT CACHING YES.
    OptIn,
    /// All but those announced by CLIENT CACHING NO.
    OptOut,
}

/// What one request did with a key it read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyRead {
    /// It held the key when it changed it, so it is told; otherwise the change came before it read the key.
    pub(crate) told: bool,
    /// It read the key after all changes of its own.
    pub(crate) holds: bool,
    /// It did not hold the key before the request.
    pub(crate) is_new: bool,
}

pub(crate) type ReadKeys = HashMap<Box<[u8]>, KeyRead>;

/// The tracking of one client.
#[derive(Debug, Default)]
pub(crate) struct Tracking {
    pub(crate) choice: Choice,
    pub(crate) broadcast: bool,
    pub(crate) no_loop: bool,
    /// The client that is told in its place; 0 if it is told itself.
    pub(crate) redirect: u64,
    pub(crate) prefixes: BTreeSet<Box<[u8]>>,
    /// What they take in memory, by count and length.
    pub(crate) bytes: usize,
    /// CLIENT CACHING has announced the next request.
    pub(crate) announced: bool,
    /// Keys read by the request that is executed, or by the transaction.
    pub(crate) read: ReadKeys,
}

impl Tracking {
    /// Forgets what the transaction did with the keys that it read: it runs again from its beginning.
    pub(crate) fn begin_reads_again(&mut self) {
        for read in self.read.values_mut() {
            (read.told, read.holds) = (!read.is_new, false);
        }
    }

    /// Whether the table remembers what the request reads that is executed now.
    pub(crate) fn counts_reads(&self) -> bool {
        match self.choice {
            _ if self.broadcast => false,
            Choice::Every => true,
            Choice::OptIn => self.announced,
            Choice::OptOut => !self.announced,
        }
    }
}
