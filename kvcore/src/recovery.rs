//! From a store to files, and back. Invariant: what was proven durable is loaded, or the store refuses to open.

pub(crate) mod check;
pub(crate) mod load;
pub(crate) mod repair;
pub(crate) mod salvage;
pub(crate) mod scheduler;
pub(crate) mod snapshot;
pub(crate) mod state;
