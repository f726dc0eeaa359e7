//! `kvserver backup`: a copy of a store that no server runs on.
//!
//! Invariant: the store is only read, and the copy appears when all of it is on disk.

use std::path::Path;

use kvcore::Options;

use super::{Result, path, print};

/// Copies the store in `dir` to `dest`, which must not exist or be empty, and prints how much that was. All of the copy is on
/// disk when this returns.
///
/// # Errors
///
/// If the store is damaged or another process holds it, or a file cannot be read or written.
pub fn backup(dir: &Path, dest: &Path) -> Result<()> {
    let report = Options::new().backup(dir, dest)?;
    print(&format!(
        "{} is on disk: everything up to Lsn {}, {} bytes in {} files\n",
        path(dest),
        report.lsn,
        report.bytes,
        report.files
    ))
}
