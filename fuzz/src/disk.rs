//! A disk in memory whose files are whatever a target says.
//!
//! Invariant: what is written is there; nothing here fails, so every failure is the store's.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use kvcore::hooks::Scan;
use kvcore::{Db, Directory, Disk, DiskFile, Error, ManualClock, Options, RepairOptions, Verdict};

use super::model::Shown;

type Bytes = Arc<Mutex<Vec<u8>>>;

/// The disk; clones are the same one.
#[derive(Clone, Default)]
pub struct MemoryDisk(Arc<Mutex<BTreeMap<PathBuf, Bytes>>>);

/// The directory every store here lies in.
pub const DIR: &str = "store";
/// The wall clock of every store here.
pub const NOW_MS: u64 = 1_700_000_000_000;

impl MemoryDisk {
    pub fn of(files: &BTreeMap<String, Vec<u8>>) -> MemoryDisk {
        let disk = MemoryDisk::default();
        for (name, bytes) in files {
            disk.0.lock().unwrap().insert(Path::new(DIR).join(name), Arc::new(Mutex::new(bytes.clone())));
        }
        disk
    }

    /// Opens the store on it. An error that says anything else than "damaged" is a failure of the target.
    pub fn open(&self) -> Option<Db> {
        match self.options().open(DIR) {
            Ok(db) => Some(db),
            Err(Error::Corrupt { .. }) => None,
            Err(error) => panic!("neither opened nor refused as damaged: {error}"),
        }
    }

    fn options(&self) -> Options {
        let clock = Arc::new(ManualClock::at(NOW_MS));
        Options::new().disk(Arc::new(self.clone())).clock(clock).shards(2).segment_bytes(4096)
    }

    fn find(&self, path: &Path) -> io::Result<Bytes> {
        self.0.lock().unwrap().get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// What the store shows: names of keyspaces, keys, values and deadlines.
pub fn shown(db: &Db) -> Shown {
    let keyspaces = db.keyspaces().into_iter();
    keyspaces
        .map(|keyspace| {
            let mut keys = BTreeMap::new();
            keyspace
                .for_each(&mut |key, value| {
                    let deadline = value.deadline().map_or(0, |deadline| deadline.as_ms());
                    keys.insert(key.to_vec(), (value.bytes().to_vec(), deadline));
                })
                .unwrap();
            (keyspace.name().to_owned(), keys)
        })
        .collect()
}

/// These files are inspected as they are opened. Repaired in this way, they open, or nobody could tell what they were;
/// sound ones stay as they are. Returns what a repaired store shows.
pub fn check_repair(files: &BTreeMap<String, Vec<u8>>, how: RepairOptions) -> Option<Shown> {
    let disk = MemoryDisk::of(files);
    let found = match disk.options().inspect(DIR) {
        Ok(found) => found,
        Err(Error::NoStore { .. }) => return None,
        Err(error) => panic!("cannot be inspected: {error}"),
    };
    let refuses = matches!(found.verdict, Verdict::Refuses(_));
    assert_eq!(refuses, MemoryDisk::of(files).open().is_none(), "{found:?}");
    match disk.options().repair_with(DIR, how) {
        Ok(_) => {}
        Err(Error::NotRepairable { .. }) => return None,
        Err(Error::RepairDropsMost { .. }) if how != RepairOptions::new().accept_loss(true) => return None,
        Err(error) => panic!("cannot be repaired: {error}"),
    }
    if found.is_sound() {
        let of = MemoryDisk::of(files);
        let (kept, was) = (disk.0.lock().unwrap(), of.0.lock().unwrap());
        assert!(kept.len() == was.len(), "a sound store was changed");
        assert!(was.iter().all(|(path, bytes)| *kept[path].lock().unwrap() == *bytes.lock().unwrap()));
    }
    let db = disk.open().expect("a repaired store opens");
    let shows = shown(&db);
    check_goes_on(&disk, db);
    refuses.then_some(shows)
}

/// A store that was opened takes writes, and shows the same and them when it is opened again.
pub fn check_goes_on(disk: &MemoryDisk, db: Db) {
    let mut expected = shown(&db);
    db.set("written", "after").unwrap();
    db.close().unwrap();
    drop(db);
    expected.entry("0".to_owned()).or_default().insert(b"written".to_vec(), (b"after".to_vec(), 0));
    let again = disk.open().expect("a store that was opened opens again");
    assert_eq!(shown(&again), expected);
}

impl Disk for MemoryDisk {
    fn create_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
    fn open_dir(&self, path: &Path) -> io::Result<Arc<dyn Directory>> {
        Ok(Arc::new(MemoryDirectory(self.clone(), path.to_owned())))
    }
    fn rename_dir(&self, _: &Path, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
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
        let names: BTreeSet<String> = self.0.0.lock().unwrap().keys().filter_map(name).collect();
        Ok(names.into_iter().collect())
    }
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(MemoryFile(self.0.find(&self.1.join(name))?)))
    }
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = Bytes::default();
        self.0.0.lock().unwrap().insert(self.1.join(name), file.clone());
        Ok(Box::new(MemoryFile(file)))
    }
    fn create_folder(&self, _: &str) -> io::Result<()> {
        Ok(())
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let from = self.1.join(from);
        let file = self.0.find(&from)?;
        let mut files = self.0.0.lock().unwrap();
        files.remove(&from);
        files.insert(self.1.join(to), file);
        Ok(())
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        let path = self.1.join(name);
        self.0.find(&path)?;
        self.0.0.lock().unwrap().remove(&path);
        Ok(())
    }
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
    fn sync_folder(&self, _: &str) -> io::Result<()> {
        Ok(())
    }
}

struct MemoryFile(Bytes);

impl DiskFile for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().len() as u64)
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let bytes = self.0.lock().unwrap();
        let from = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or_default();
        let read = buffer.len().min(from.len());
        buffer[..read].copy_from_slice(&from[..read]);
        Ok(read)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut file = self.0.lock().unwrap();
        let offset = usize::try_from(offset).unwrap();
        let len = file.len().max(offset + bytes.len());
        file.resize(len, 0);
        file[offset..offset + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }
    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        let mut file = self.0.lock().unwrap();
        let len = file.len().max(usize::try_from(offset + len).unwrap());
        file.resize(len, 0);
        Ok(())
    }
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.lock().unwrap().resize(usize::try_from(len).unwrap(), 0);
        Ok(())
    }
}
