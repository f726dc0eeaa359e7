//! What can be configured: flags, the configuration file, and parameters at run time.
//!
//! Invariant: a setting has one value, whichever way it was given.

pub(crate) mod parameters;
pub(crate) mod rewrite;
