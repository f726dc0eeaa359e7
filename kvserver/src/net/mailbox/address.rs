//! Where mail goes to.
//!
//! Invariant: an address of a connection that is gone reaches nobody: its id is never used again.

/// One connection of the server, whichever loop it lives on. A place on a loop is used again, an id never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) loop_index: usize,
    pub(crate) slot: usize,
    pub(crate) client_id: u64,
}
