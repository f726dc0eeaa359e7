//! A real disk whose syncs can be held up or made to fail.
//!
//! Invariant: a sync that is held up returns as soon as the test lets it.

use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};

use kvcore::{Directory, Disk, DiskFile, FileDisk};

#[derive(Clone, Copy, PartialEq)]
pub enum Sync {
    Works,
    Waits,
    Fails,
}

/// A real disk whose syncs can be held up or made to fail.
#[derive(Clone)]
pub struct SlowDisk(Arc<(Mutex<Sync>, Condvar)>);

struct SlowFile(Box<dyn DiskFile>, SlowDisk);

impl SlowDisk {
    pub fn new() -> SlowDisk {
        SlowDisk(Arc::new((Mutex::new(Sync::Works), Condvar::new())))
    }

    pub fn waits(&self) -> bool {
        *self.0.0.lock().unwrap() == Sync::Waits
    }

    pub fn set(&self, sync: Sync) {
        *self.0.0.lock().unwrap() = sync;
        self.0.1.notify_all();
    }

    fn sync(&self) -> io::Result<()> {
        let held = self.0.1.wait_while(self.0.0.lock().unwrap(), |sync| *sync == Sync::Waits).unwrap();
        if *held == Sync::Fails { Err(io::Error::other("the disk\r\nis broken")) } else { Ok(()) }
    }
}

/// A directory of the real disk whose files are [`SlowFile`]s.
struct SlowDirectory(Arc<dyn Directory>, SlowDisk);

impl Disk for SlowDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        FileDisk.create_dir(path)
    }
    fn open_dir(&self, path: &Path) -> io::Result<Arc<dyn Directory>> {
        Ok(Arc::new(SlowDirectory(FileDisk.open_dir(path)?, self.clone())))
    }
    fn rename_dir(&self, from: &Path, to: &Path) -> io::Result<()> {
        FileDisk.rename_dir(from, to)
    }
}

impl Directory for SlowDirectory {
    fn path(&self) -> &Path {
        self.0.path()
    }
    fn lock(&self) -> io::Result<Box<dyn Send + std::marker::Sync>> {
        self.0.lock()
    }
    fn list(&self) -> io::Result<Vec<String>> {
        self.0.list()
    }
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(SlowFile(self.0.open(name)?, self.1.clone())))
    }
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(SlowFile(self.0.create(name)?, self.1.clone())))
    }
    fn create_folder(&self, name: &str) -> io::Result<()> {
        self.0.create_folder(name)
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }
    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }
    fn sync_folder(&self, name: &str) -> io::Result<()> {
        self.0.sync_folder(name)
    }
}

impl DiskFile for SlowFile {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_at(bytes, offset)
    }
    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.0.allocate(offset, len)
    }
    fn sync(&self) -> io::Result<()> {
        self.1.sync()?;
        self.0.sync()
    }
    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.truncate(len)
    }
}
