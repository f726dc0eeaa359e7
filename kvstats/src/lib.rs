//! What a server measures about its commands and its process: counters, durations, logs of slow and large commands, the keys
//! that are used most.
//!
//! Invariant: a command that is neither slow nor large costs a few additions and comparisons, and no locked instruction; what is
//! kept is bounded.
#![forbid(unsafe_code)]

pub mod counters;
pub mod hot_keys;
pub mod newest;
pub mod process;
pub mod slow;
