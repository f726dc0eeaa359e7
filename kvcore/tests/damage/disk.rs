//! A disk in memory. Whoever holds it sees and changes every byte, and can take a copy at any moment: what a killed
//! process leaves behind.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use kvcore::{Directory, Disk, DiskFile};

/// The files of a disk, by name; those in folders by folder and name.
pub type Image = BTreeMap<String, Vec<u8>>;

/// A file: what readers see, and what would be left of it without power.
#[derive(Default)]
struct Content {
    seen: Vec<u8>,
    durable: Vec<u8>,
}

type Bytes = Arc<Mutex<Content>>;

/// Clones are the same disk. It has one directory, and no lock.
#[derive(Clone, Default)]
pub struct MemoryDisk(Arc<Mutex<BTreeMap<PathBuf, Bytes>>>);

fn name(path: &Path) -> String {
    path.strip_prefix(dir()).unwrap().to_str().unwrap().to_owned()
}

pub fn dir() -> &'static Path {
    Path::new("store")
}

impl MemoryDisk {
    pub fn of(image: &Image) -> MemoryDisk {
        let file = |(name, bytes): (&String, &Vec<u8>)| {
            let content = Content { seen: bytes.clone(), durable: bytes.clone() };
            (dir().join(name), Arc::new(Mutex::new(content)))
        };
        MemoryDisk(Arc::new(Mutex::new(image.iter().map(file).collect())))
    }

    pub fn image(&self) -> Image {
        self.files().iter().map(|(path, bytes)| (name(path), bytes.lock().unwrap().seen.clone())).collect()
    }

    /// What is left when the power goes, if names are durable at once and bytes only when they are synced.
    pub fn image_without_power(&self) -> Image {
        self.files().iter().map(|(path, bytes)| (name(path), bytes.lock().unwrap().durable.clone())).collect()
    }

    /// Nothing of this file has reached the disk.
    pub fn unsync(&self, name: &str) {
        self.files()[&dir().join(name)].lock().unwrap().durable.clear();
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Bytes>> {
        self.0.lock().unwrap()
    }
}

impl Disk for MemoryDisk {
    fn create_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
    fn open_dir(&self, path: &Path) -> io::Result<Arc<dyn Directory>> {
        Ok(Arc::new(MemoryDirectory(self.clone(), path.to_owned())))
    }
    fn rename_dir(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut files = self.files();
        let moved: Vec<_> = files.keys().filter(|path| path.starts_with(from)).cloned().collect();
        for path in moved {
            let (name, bytes) = (path.strip_prefix(from).unwrap().to_owned(), files.remove(&path).unwrap());
            files.insert(to.join(name), bytes);
        }
        Ok(())
    }
}

/// A directory of the disk, with its path.
struct MemoryDirectory(MemoryDisk, PathBuf);

impl Directory for MemoryDirectory {
    fn path(&self) -> &Path {
        &self.1
    }
    fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
        Ok(Box::new(()))
    }
    fn list(&self) -> io::Result<Vec<String>> {
        let name = |path: &PathBuf| Some(path.strip_prefix(&self.1).ok()?.iter().next()?.to_str()?.to_owned());
        let names: BTreeSet<String> = self.0.files().keys().filter_map(name).collect();
        Ok(names.into_iter().collect())
    }
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let bytes = self.0.files().get(&self.1.join(name)).cloned().ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(MemoryFile(bytes)))
    }
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.0.files().insert(self.1.join(name), Bytes::default());
        self.open(name)
    }
    fn create_folder(&self, _: &str) -> io::Result<()> {
        Ok(())
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = self.0.files();
        let bytes = files.remove(&self.1.join(from)).ok_or(io::ErrorKind::NotFound)?;
        files.insert(self.1.join(to), bytes);
        Ok(())
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.files().remove(&self.1.join(name)).map(drop).ok_or(io::ErrorKind::NotFound.into())
    }
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
    fn sync_folder(&self, _: &str) -> io::Result<()> {
        Ok(())
    }
}

struct MemoryFile(Bytes);

impl MemoryFile {
    fn content(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap()
    }
}

impl DiskFile for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.content().seen.len() as u64)
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let content = self.content();
        let from = content.seen.get(offset as usize..).unwrap_or_default();
        let read = buffer.len().min(from.len());
        buffer[..read].copy_from_slice(&from[..read]);
        Ok(read)
    }
    fn write_at(&self, written: &[u8], offset: u64) -> io::Result<()> {
        let (mut content, from) = (self.content(), offset as usize);
        let len = content.seen.len().max(from + written.len());
        content.seen.resize(len, 0);
        content.seen[from..from + written.len()].copy_from_slice(written);
        Ok(())
    }
    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        let mut content = self.content();
        let len = content.seen.len().max((offset + len) as usize);
        content.seen.resize(len, 0);
        Ok(())
    }
    fn sync(&self) -> io::Result<()> {
        let mut content = self.content();
        content.durable = content.seen.clone();
        Ok(())
    }
    fn truncate(&self, len: u64) -> io::Result<()> {
        self.content().seen.resize(len as usize, 0);
        Ok(())
    }
}
