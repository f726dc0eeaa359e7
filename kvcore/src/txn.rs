//! Transactions: locks, changes, undo, commit. Invariant: a transaction applies and logs all of its effects, or none.

pub(crate) mod context;
pub(crate) mod evict;
pub(crate) mod lock_set;
pub(crate) mod locked;
pub(crate) mod traits;
