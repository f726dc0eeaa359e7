//! What an operator looks at: INFO, statistics, logs of slow commands, backups.
//!
//! Invariant: looking changes nothing, and costs the commands that are carried out no more than an addition.

pub(crate) mod allocator;
pub(crate) mod backups;
pub(crate) mod http_refusals;
pub(crate) mod logging;
pub(crate) mod statistics;
