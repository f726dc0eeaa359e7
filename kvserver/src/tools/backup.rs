//! `kvserver backup`: a copy of a store that no server runs on.
//!
//! Invariant: the store is only read, and the copy appears when all of it is on disk.

use std::path::Path;

use kvcore::Options;

use super::{Result, path, print};

pub(super) fn backup(dir: &Path, dest: &Path) -> Result<()> {
    let report = Options::new().backup(dir, dest)?;
    print(&format!(
        "{} is on disk: everything up to Lsn {}, {} bytes in {} files\n",
        path(dest),
        report.lsn,
        report.bytes,
        report.files
    ))
}
