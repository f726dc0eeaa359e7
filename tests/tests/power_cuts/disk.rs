//! A disk in memory that knows what a power cut would keep of it.
//!
//! Invariant: a cut keeps what was synced, and of the rest any part: writes torn at sectors of 512 bytes, in any order,
//! lengths with or without them, names in any order. Everything done to the disk is in its journal, so that the disk of
//! any moment can be made again.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use fastrand::Rng;
use kvcore::{Disk, DiskFile};

/// What a disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;

/// One thing done to the disk.
#[derive(Clone, Debug)]
pub enum Op {
    Create(PathBuf),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
    SyncDir(PathBuf),
    Write { file: usize, offset: usize, bytes: Arc<[u8]> },
    Resize { file: usize, len: usize },
    Sync { file: usize },
}

/// A file: what readers see, what is durable, and what was done in between.
#[derive(Clone, Default)]
struct File {
    seen: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Write { offset: usize, bytes: Arc<[u8]> },
    Resize(usize),
}

#[derive(Clone)]
enum NameChange {
    Link(PathBuf, usize),
    Rename(PathBuf, PathBuf, usize),
    Unlink(PathBuf, usize),
}

/// All files and names. Cheap to clone: bytes that were written are shared.
#[derive(Clone, Default)]
pub struct World {
    files: Vec<File>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    pending_names: Vec<NameChange>,
}

impl NameChange {
    fn is_in(&self, dir: &Path) -> bool {
        match self {
            NameChange::Link(path, _) | NameChange::Unlink(path, _) => path.parent() == Some(dir),
            NameChange::Rename(from, to, _) => from.parent() == Some(dir) || to.parent() == Some(dir),
        }
    }
}

fn write(data: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if data.len() < end {
        data.resize(end, 0);
    }
    data[offset..end].copy_from_slice(bytes);
}

fn apply_name(names: &mut BTreeMap<PathBuf, usize>, change: &NameChange) {
    match change {
        NameChange::Link(path, file) => {
            names.insert(path.clone(), *file);
        }
        NameChange::Rename(from, to, file) => {
            if names.get(from) == Some(file) {
                names.remove(from);
            }
            names.insert(to.clone(), *file);
        }
        NameChange::Unlink(path, file) => {
            if names.get(path) == Some(file) {
                names.remove(path);
            }
        }
    }
}

impl World {
    pub fn apply(&mut self, op: &Op) {
        match op {
            Op::Create(path) => {
                // An emptied file is a new one under the same name.
                self.files.push(File::default());
                self.name(NameChange::Link(path.clone(), self.files.len() - 1));
            }
            Op::Rename(from, to) => self.name(NameChange::Rename(from.clone(), to.clone(), self.names[from])),
            Op::Remove(path) => self.name(NameChange::Unlink(path.clone(), self.names[path])),
            Op::SyncDir(dir) => {
                // The names in this directory alone; a name that goes from one to another is durable with either.
                for change in std::mem::take(&mut self.pending_names) {
                    if change.is_in(dir) {
                        apply_name(&mut self.durable_names, &change);
                    } else {
                        self.pending_names.push(change);
                    }
                }
            }
            Op::Write { file, offset, bytes } => {
                let file = &mut self.files[*file];
                write(&mut file.seen, *offset, bytes);
                file.pending.push(Change::Write { offset: *offset, bytes: bytes.clone() });
            }
            Op::Resize { file, len } => {
                let file = &mut self.files[*file];
                file.seen.resize(*len, 0);
                file.pending.push(Change::Resize(*len));
            }
            Op::Sync { file } => {
                let file = &mut self.files[*file];
                file.durable.clone_from(&file.seen);
                file.pending.clear();
            }
        }
    }

    fn name(&mut self, change: NameChange) {
        apply_name(&mut self.names, &change);
        self.pending_names.push(change);
    }

    /// Each file with its bytes, as readers see them.
    pub fn seen(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        self.names.iter().map(|(path, file)| (path.clone(), self.files[*file].seen.clone())).collect()
    }

    /// One bit of a file is another, as if it had always been so.
    pub fn flip(&mut self, path: &Path, bit: usize) {
        let file = &mut self.files[self.names[path]];
        for bytes in [&mut file.seen, &mut file.durable] {
            if let Some(byte) = bytes.get_mut(bit / 8) {
                *byte ^= 1 << (bit % 8);
            }
        }
    }

    /// Nothing has this name, as if it had never been there.
    pub fn forget(&mut self, path: &Path) {
        self.names.remove(path);
        self.durable_names.remove(path);
    }

    /// The disk after the power was cut now: one of the many it can be.
    pub fn cut(&self, rng: &mut Rng) -> World {
        let mut after = World { files: Vec::with_capacity(self.files.len()), ..World::default() };
        for file in &self.files {
            let data = file.cut(rng);
            after.files.push(File { durable: data.clone(), seen: data, pending: Vec::new() });
        }
        let mut names = self.durable_names.clone();
        let mut changes = self.pending_names.clone();
        match rng.u8(..4) {
            0 => changes.clear(),
            1 => {}
            2 => changes.truncate(rng.usize(..=changes.len())),
            _ => {
                changes.retain(|_| rng.bool());
                rng.shuffle(&mut changes);
            }
        }
        changes.iter().for_each(|change| apply_name(&mut names, change));
        after.durable_names.clone_from(&names);
        after.names = names;
        after
    }
}

impl File {
    fn cut(&self, rng: &mut Rng) -> Vec<u8> {
        let mut data = self.durable.clone();
        let style = rng.u8(..4);
        let kept = rng.usize(..=self.pending.len());
        for (index, change) in self.pending.iter().enumerate() {
            let (whole, torn) = match style {
                0 => (false, false),
                1 => (true, false),
                2 => (index < kept, index == kept),
                _ => (false, true),
            };
            match change {
                Change::Write { offset, bytes } if whole => write(&mut data, *offset, bytes),
                Change::Write { offset, bytes } if torn => {
                    let mut at = 0;
                    while at < bytes.len() {
                        let end = (SECTOR_BYTES - (offset + at) % SECTOR_BYTES + at).min(bytes.len());
                        if rng.bool() {
                            write(&mut data, offset + at, &bytes[at..end]);
                        }
                        at = end;
                    }
                }
                Change::Resize(len) if whole || (torn && rng.bool()) => data.resize(*len, 0),
                _ => {}
            }
        }
        data
    }
}

#[derive(Default)]
struct State {
    world: World,
    /// What was done, and notes of whoever uses the disk.
    journal: Vec<Event>,
}

/// An entry of the journal.
#[derive(Clone, Debug)]
pub enum Event {
    Op(Op),
    Note(crate::workload::Note),
}

/// The disk; clones are the same one.
#[derive(Clone, Default)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
    taken: Arc<AtomicBool>,
}

impl SimDisk {
    pub fn of(world: World) -> SimDisk {
        SimDisk { state: Arc::new(Mutex::new(State { world, ..State::default() })), taken: Arc::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn note(&self, note: crate::workload::Note) {
        self.state().journal.push(Event::Note(note));
    }

    pub fn journal(&self) -> Vec<Event> {
        self.state().journal.clone()
    }

    fn perform(&self, op: Op) -> io::Result<()> {
        let mut state = self.state();
        state.world.apply(&op);
        state.journal.push(Event::Op(op));
        Ok(())
    }

    fn find(&self, path: &Path) -> io::Result<usize> {
        self.state().world.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// The directory is the taker's until this is dropped.
struct Taken(Arc<AtomicBool>);

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

impl Disk for SimDisk {
    fn create_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
    fn lock(&self, _: &Path) -> io::Result<Box<dyn Send + Sync>> {
        if self.taken.swap(true, Ordering::SeqCst) {
            return Err(io::Error::new(io::ErrorKind::WouldBlock, "this test"));
        }
        Ok(Box::new(Taken(self.taken.clone())))
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let name = |path: &PathBuf| Some(path.strip_prefix(dir).ok()?.iter().next()?.to_str()?.to_owned());
        let names: BTreeSet<String> = self.state().world.names.keys().filter_map(name).collect();
        Ok(names.into_iter().collect())
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(SimFile { disk: self.clone(), file: self.find(path)? }))
    }
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.perform(Op::Create(path.to_owned()))?;
        self.open(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.find(from)?;
        self.perform(Op::Rename(from.to_owned(), to.to_owned()))
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.find(path)?;
        self.perform(Op::Remove(path.to_owned()))
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.perform(Op::SyncDir(dir.to_owned()))
    }
}

struct SimFile {
    disk: SimDisk,
    file: usize,
}

impl DiskFile for SimFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.state().world.files[self.file].seen.len() as u64)
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.disk.state();
        let seen = &state.world.files[self.file].seen;
        let from = seen.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
        let read = buffer.len().min(from.len());
        buffer[..read].copy_from_slice(&from[..read]);
        Ok(read)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disk.perform(Op::Write { file: self.file, offset: usize::try_from(offset).unwrap(), bytes: bytes.into() })
    }
    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        let len = usize::try_from((offset + len).max(self.len()?)).unwrap();
        self.disk.perform(Op::Resize { file: self.file, len })
    }
    fn sync(&self) -> io::Result<()> {
        self.disk.perform(Op::Sync { file: self.file })
    }
    fn truncate(&self, len: u64) -> io::Result<()> {
        self.disk.perform(Op::Resize { file: self.file, len: usize::try_from(len).unwrap() })
    }
}
