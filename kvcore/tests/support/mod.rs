//! A store's directory as tests look at it. A copy taken while the store is open is what a killed process leaves behind:
//! everything handed to the operating system, and nothing of the rest.

use std::fs;
use std::path::{Path, PathBuf};

use kvcore::Db;
use tempfile::TempDir;

pub fn copy(dir: &Path) -> TempDir {
    let to = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.path().join(entry.file_name())).unwrap();
    }
    to
}

/// The store that a killed process would find.
pub fn after_a_kill(dir: &Path) -> (TempDir, Db) {
    let copied = copy(dir);
    let db = Db::open(copied.path()).unwrap();
    (copied, db)
}

pub fn files(dir: &Path, prefix: &str) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.file_name().unwrap().to_str().unwrap().starts_with(prefix));
    paths.sort();
    paths
}
