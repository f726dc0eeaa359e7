//! What is on a disk: as readers see it, and as a power cut would leave it.
//!
//! Invariant: a cut keeps what was synced, and of the rest any part: writes torn at sectors of 512 bytes, in any order,
//! lengths with or without them, names in any order. What was dirty when a sync failed is never made durable by a later
//! one. The same operations make the same disk.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fastrand::Rng;

/// What a disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;

/// One thing done to the disk.
#[derive(Clone)]
pub enum Op {
    Create(PathBuf),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
    SyncDir(PathBuf),
    /// A directory gets another name, with all that is in it, durably.
    RenameDir(PathBuf, PathBuf),
    Write {
        file: usize,
        offset: usize,
        bytes: Arc<[u8]>,
    },
    Resize {
        file: usize,
        len: usize,
    },
    Sync {
        file: usize,
    },
    /// The sync failed: any part of what was to be made durable is, and the rest counts as written all the same.
    FailedSync {
        file: usize,
        seed: u64,
    },
    /// The power went, and came back.
    Cut {
        seed: u64,
    },
}

/// In short.
impl fmt::Debug for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Op::Create(path) => write!(f, "create {}", path.display()),
            Op::Rename(from, to) => write!(f, "rename {} to {}", from.display(), to.display()),
            Op::Remove(path) => write!(f, "remove {}", path.display()),
            Op::SyncDir(dir) => write!(f, "sync the names in {}", dir.display()),
            Op::RenameDir(from, to) => write!(f, "rename the directory {} to {}", from.display(), to.display()),
            Op::Write { file, offset, bytes } => write!(f, "write {} bytes at {offset} of file {file}", bytes.len()),
            Op::Resize { file, len } => write!(f, "make file {file} {len} bytes long"),
            Op::Sync { file } => write!(f, "sync file {file}"),
            Op::FailedSync { file, .. } => write!(f, "sync file {file}, and fail"),
            Op::Cut { .. } => write!(f, "CUT"),
        }
    }
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

/// Returns where a path leads once the directory `from` is called `to`.
fn moved(path: PathBuf, from: &Path, to: &Path) -> PathBuf {
    path.strip_prefix(from).map(|inside| to.join(inside)).unwrap_or(path.clone())
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
            Op::RenameDir(from, to) => {
                for names in [&mut self.names, &mut self.durable_names] {
                    *names =
                        std::mem::take(names).into_iter().map(|(path, file)| (moved(path, from, to), file)).collect();
                }
                self.pending_names = std::mem::take(&mut self.pending_names)
                    .into_iter()
                    .map(|change| match change {
                        NameChange::Link(path, file) => NameChange::Link(moved(path, from, to), file),
                        NameChange::Unlink(path, file) => NameChange::Unlink(moved(path, from, to), file),
                        NameChange::Rename(one, other, file) => {
                            NameChange::Rename(moved(one, from, to), moved(other, from, to), file)
                        }
                    })
                    .collect();
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
                let File { durable, pending, .. } = &mut self.files[*file];
                // Not all that is seen: what a failed sync has dropped stays in memory only.
                pending.drain(..).for_each(|change| change.apply(durable));
            }
            Op::FailedSync { file, seed } => {
                let mut rng = Rng::with_seed(*seed);
                let file = &mut self.files[*file];
                file.durable = file.cut(&mut rng);
                file.pending.clear();
                // The pages that were dropped may be read once more from the disk, or stand in memory for long.
                if rng.bool() {
                    file.seen.clone_from(&file.durable);
                }
            }
            Op::Cut { seed } => *self = self.cut(&mut Rng::with_seed(*seed)),
        }
    }

    fn name(&mut self, change: NameChange) {
        apply_name(&mut self.names, &change);
        self.pending_names.push(change);
    }

    /// The disk after the power was cut now: one of the many it can be.
    pub fn cut(&self, rng: &mut Rng) -> World {
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
        let named: BTreeSet<usize> = names.values().copied().collect();
        let file = |(index, file): (usize, &File)| {
            // Without a name it is gone.
            let data = if named.contains(&index) { file.cut(rng) } else { Vec::new() };
            File { durable: data.clone(), seen: data, pending: Vec::new() }
        };
        let files = self.files.iter().enumerate().map(file).collect();
        World { files, durable_names: names.clone(), names, pending_names: Vec::new() }
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

    pub fn names(&self) -> impl Iterator<Item = &PathBuf> {
        self.names.keys()
    }

    pub fn find(&self, path: &Path) -> Option<usize> {
        self.names.get(path).copied()
    }

    /// What readers see of a file.
    pub fn bytes(&self, file: usize) -> &[u8] {
        &self.files[file].seen
    }
}

impl Change {
    fn apply(self, data: &mut Vec<u8>) {
        match self {
            Change::Write { offset, bytes } => write(data, offset, &bytes),
            Change::Resize(len) => data.resize(len, 0),
        }
    }
}

impl File {
    /// What a cut leaves of it.
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
                _ if whole => change.clone().apply(&mut data),
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
                Change::Resize(len) if torn && rng.bool() => data.resize(*len, 0),
                _ => {}
            }
        }
        data
    }
}
