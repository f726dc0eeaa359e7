//! Watched: a directory that remembers what could not be read. Invariant: what cannot be read at the moment is never taken
//! for damaged.
//!
//! Too many open files, a missing right, a second name (hard link), a disk that fails: none of that says anything about
//! the bytes, and salvage, which keeps what is good, would keep nothing of such a file.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::io::disk::{Directory, DiskFile};
use crate::sync::Mutex;

use super::is_replaced;

/// Returns an error that says the same.
fn same(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(errno) => io::Error::from_raw_os_error(errno),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

/// The first error of a file, and its name.
type Noted = Arc<Mutex<Option<(String, io::Error)>>>;

/// A directory that is only read.
pub(super) struct Watched<'a> {
    dir: &'a dyn Directory,
    noted: Noted,
}

impl<'a> Watched<'a> {
    pub(super) fn new(dir: &'a dyn Directory) -> Self {
        Watched { dir, noted: Noted::default() }
    }

    /// Returns the error that a file of the store could not be read with, if there was one. What is no regular file is
    /// none of the store's.
    pub(super) fn check(&self) -> Result<()> {
        match self.noted.lock().take() {
            Some((name, error)) => Err(Error::io(format!("read {}", self.dir.path().join(name).display()), error)),
            None => Ok(()),
        }
    }
}

fn note(noted: &Noted, name: &str, error: &io::Error) {
    noted.lock().get_or_insert_with(|| (name.to_owned(), same(error)));
}

fn unsupported() -> io::Error {
    ErrorKind::Unsupported.into()
}

impl Directory for Watched<'_> {
    fn path(&self) -> &Path {
        self.dir.path()
    }
    fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
        Err(unsupported())
    }
    fn list(&self) -> io::Result<Vec<String>> {
        self.dir.list()
    }
    fn is_file(&self, name: &str) -> io::Result<bool> {
        self.dir.is_file(name)
    }
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        match self.dir.open(name) {
            Ok(file) if is_replaced(name) => {
                Ok(Box::new(WatchedFile { file, name: name.to_owned(), noted: Arc::clone(&self.noted) }))
            }
            Ok(file) => Ok(file),
            Err(error) => {
                let is_gone = error.kind() == ErrorKind::NotFound;
                if is_replaced(name) && !is_gone && !matches!(self.dir.is_file(name), Ok(false)) {
                    note(&self.noted, name, &error);
                }
                Err(error)
            }
        }
    }
    fn create(&self, _: &str) -> io::Result<Box<dyn DiskFile>> {
        Err(unsupported())
    }
    fn create_folder(&self, _: &str) -> io::Result<()> {
        Err(unsupported())
    }
    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        Err(unsupported())
    }
    fn remove(&self, _: &str) -> io::Result<()> {
        Err(unsupported())
    }
    fn sync(&self) -> io::Result<()> {
        Err(unsupported())
    }
    fn sync_folder(&self, _: &str) -> io::Result<()> {
        Err(unsupported())
    }
}

struct WatchedFile {
    file: Box<dyn DiskFile>,
    name: String,
    noted: Noted,
}

impl DiskFile for WatchedFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len().inspect_err(|error| note(&self.noted, &self.name, error))
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset).inspect_err(|error| note(&self.noted, &self.name, error))
    }
    fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Err(unsupported())
    }
    fn allocate(&self, _: u64, _: u64) -> io::Result<()> {
        Err(unsupported())
    }
    fn sync(&self) -> io::Result<()> {
        Err(unsupported())
    }
    fn truncate(&self, _: u64) -> io::Result<()> {
        Err(unsupported())
    }
}
