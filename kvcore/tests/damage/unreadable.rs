//! Repair of stores whose files cannot be read at the moment, and of those of which nothing would be left.
//!
//! Invariant: a sound store that cannot be read is never made an empty one.
#![allow(clippy::disallowed_methods, reason = "tests make links themselves")]

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kvcore::{Directory, Disk, DiskFile, Error, Options, RepairOptions};

use crate::disk::{Image, MemoryDisk, dir};
use crate::history::{options, shown};

fn every_way() -> [RepairOptions; 3] {
    [RepairOptions::new(), RepairOptions::new().salvage(true), RepairOptions::new().accept_loss(true)]
}

fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    files.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

/// As `cp -al` leaves a store: every file has two names, and none of them is opened.
#[test]
fn a_store_of_hard_links_is_not_repaired() {
    let home = tempfile::tempdir().unwrap();
    let (store, copy) = (home.path().join("store"), home.path().join("copy"));
    let db = Options::new().open(&store).unwrap();
    db.set("key", "value").unwrap();
    db.snapshot().unwrap();
    db.set("other", "value").unwrap();
    db.close().unwrap();
    std::fs::create_dir(&copy).unwrap();
    for path in contents(&store).into_keys().filter(|path| !path.ends_with("lock")) {
        std::fs::hard_link(&path, copy.join(path.file_name().unwrap())).unwrap();
    }
    let before = contents(&copy);
    for how in every_way() {
        for error in [
            Options::new().plan_repair(&copy, how).map(drop).unwrap_err(),
            Options::new().repair_with(&copy, how).map(drop).unwrap_err(),
        ] {
            assert!(matches!(error, Error::Io { .. }) && error.to_string().contains("hard links"), "{error}");
        }
        let mut after = contents(&copy);
        // Repair takes the directory for itself before it looks at what it would change.
        after.retain(|path, _| !path.ends_with("lock"));
        assert!(after == before, "{how:?}: a file was changed");
    }
}

/// A disk on which one file cannot be opened, or not be read from some byte on.
#[derive(Clone)]
struct Unreadable {
    disk: MemoryDisk,
    name: String,
    /// `None`: it cannot be opened.
    from: Option<u64>,
    errno: i32,
}

struct UnreadableDirectory(Arc<dyn Directory>, Unreadable);

struct UnreadableFile(Box<dyn DiskFile>, u64, i32);

impl Disk for Unreadable {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir(path)
    }
    fn open_dir(&self, path: &Path) -> io::Result<Arc<dyn Directory>> {
        Ok(Arc::new(UnreadableDirectory(self.disk.open_dir(path)?, self.clone())))
    }
    fn rename_dir(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename_dir(from, to)
    }
}

impl Directory for UnreadableDirectory {
    fn path(&self) -> &Path {
        self.0.path()
    }
    fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
        self.0.lock()
    }
    fn list(&self) -> io::Result<Vec<String>> {
        self.0.list()
    }
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = self.0.open(name)?;
        match self.1.from {
            _ if name != self.1.name => Ok(file),
            None => Err(io::Error::from_raw_os_error(self.1.errno)),
            Some(from) => Ok(Box::new(UnreadableFile(file, from, self.1.errno))),
        }
    }
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.0.create(name)
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

impl DiskFile for UnreadableFile {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        match offset + buffer.len() as u64 > self.1 {
            true => Err(io::Error::from_raw_os_error(self.2)),
            false => self.0.read_at(buffer, offset),
        }
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_at(bytes, offset)
    }
    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.0.allocate(offset, len)
    }
    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }
    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.truncate(len)
    }
}

fn sound_store() -> Image {
    let disk = MemoryDisk::default();
    let db = options(&disk).open(dir()).unwrap();
    for i in 0..20 {
        db.set(format!("early{i}"), "value").unwrap();
    }
    db.snapshot().unwrap();
    for i in 0..20 {
        db.set(format!("late{i}"), "value").unwrap();
    }
    db.close().unwrap();
    disk.image()
}

#[test]
fn a_file_that_cannot_be_read_now_is_not_taken_for_a_damaged_one() {
    let image = sound_store();
    let (io, no_access, too_many_open) = (5, 13, 24);
    for name in image.keys() {
        for (from, errno) in [(None, too_many_open), (None, no_access), (None, io), (Some(0), io), (Some(60), io)] {
            // The manifest is read in one piece.
            let disk = Unreadable { disk: MemoryDisk::of(&image), name: name.clone(), from, errno };
            let options = options(&disk.disk).disk(Arc::new(disk.clone()));
            for how in every_way() {
                let what = format!("{name} from {from:?}, {errno}, {how:?}");
                let error = options.clone().plan_repair(dir(), how).map(drop).unwrap_err();
                let Error::Io { source, .. } = &error else { panic!("{what}: {error}") };
                assert_eq!(source.raw_os_error(), Some(errno), "{what}: {error}");
                assert!(error.to_string().contains(name), "{what}: {error}");
                let error = options.clone().repair_with(dir(), how).map(drop).unwrap_err();
                assert!(matches!(error, Error::Io { .. }), "{what}: {error}");
                assert!(disk.disk.image() == image, "{what}: a file was changed");
            }
        }
    }
}

/// Nothing in the files is good, and something was: nobody makes that an empty store unasked.
#[test]
fn a_repair_that_would_keep_nothing_stops() {
    let image = sound_store();
    let all_noise: Image = image
        .iter()
        .map(|(name, bytes)| (name.clone(), (0..bytes.len()).map(|i| (i * 37 + 11) as u8).collect()))
        .collect();
    let manifest_alone: Image = image
        .iter()
        .filter(|(name, _)| *name == "manifest")
        .map(|(name, bytes)| (name.clone(), bytes.clone()))
        .collect();
    for (what, image) in [("noise", all_noise), ("the manifest", manifest_alone)] {
        for how in [RepairOptions::new(), RepairOptions::new().salvage(true)] {
            let disk = MemoryDisk::of(&image);
            let plan = options(&disk).plan_repair(dir(), how).unwrap();
            assert!(plan.plain_stops && plan.salvage_stops, "{what}: {plan:?}");
            let error = options(&disk).repair_with(dir(), how).unwrap_err();
            assert!(matches!(error, Error::RepairDropsMost { kept_keys: 0, salvaged_keys: 0, .. }), "{what}: {error}");
            assert!(error.to_string().contains("--accept-loss"), "{what}: {error}");
            assert!(disk.image() == image, "{what}: a file was changed");
        }
        let disk = MemoryDisk::of(&image);
        options(&disk).repair_with(dir(), RepairOptions::new().accept_loss(true)).unwrap();
        assert!(shown(&options(&disk).load(dir()).unwrap()).is_empty());
    }
}

/// The manifest knows of more transactions than are kept, and none of those is good anywhere.
#[test]
fn a_repair_that_loses_more_than_it_keeps_stops() {
    let disk = MemoryDisk::default();
    let db = options(&disk).segment_bytes(1 << 20).open(dir()).unwrap();
    for i in 0..20 {
        db.set(format!("key{i:02}"), "value").unwrap();
    }
    db.close().unwrap();
    for (cut_at, stops) in [("key03", true), ("key15", false)] {
        let mut image = disk.image();
        let (_, log) = image.iter_mut().find(|(name, _)| name.starts_with("wal-")).unwrap();
        let at = log.windows(5).position(|bytes| bytes == cut_at.as_bytes()).unwrap();
        log[at..].fill(0);
        let disk = MemoryDisk::of(&image);
        assert_eq!(options(&disk).plan_repair(dir(), RepairOptions::new()).unwrap().plain_stops, stops, "{cut_at}");
        let repaired = options(&disk).repair(dir());
        assert_eq!(matches!(repaired, Err(Error::RepairDropsMost { .. })), stops, "{cut_at}: {repaired:?}");
        assert_eq!(disk.image() == image, stops, "{cut_at}");
    }
}
