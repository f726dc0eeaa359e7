//! The only doors to files and time. Invariant: nothing outside this folder opens a file or reads a clock.

pub(crate) mod clock;
pub(crate) mod directory;
pub(crate) mod disk;
pub(crate) mod file_disk;
