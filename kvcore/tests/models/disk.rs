//! A disk in memory for models. Invariant: what `is_durable` finds was written and then synced, by a sync that did not
//! fail; every operation is a moment at which another thread may go on.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kvcore::{Directory, Disk, DiskFile};
use shuttle::sync::atomic::{AtomicU64, Ordering};

#[derive(Default)]
struct File {
    seen: Vec<u8>,
    durable: Vec<u8>,
    dirty: Vec<(usize, Vec<u8>)>,
}

#[derive(Default)]
struct State {
    names: BTreeMap<String, usize>,
    files: Vec<File>,
    locked: bool,
    syncs: u64,
    failing_sync: Option<u64>,
    full: bool,
}

/// All clones are one disk.
#[derive(Clone, Default)]
pub struct ModelDisk(Arc<(Mutex<State>, AtomicU64)>);

struct ModelFile(ModelDisk, usize);

fn put(bytes: &mut Vec<u8>, offset: usize, new: &[u8]) {
    let end = offset + new.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(new);
}

impl ModelDisk {
    /// The sync after the next `good` ones fails; what it was to make durable never is, and those after it are good.
    #[allow(dead_code, reason = "not all who share this file need it")]
    pub fn fail_sync_after(&self, good: u64) {
        let mut state = self.state();
        state.failing_sync = Some(state.syncs + good);
    }

    /// From now on there is no room for more, or there is again.
    #[allow(dead_code, reason = "not all who share this file need it")]
    pub fn set_full(&self, full: bool) {
        self.step().full = full;
    }

    /// Syncs until now.
    #[allow(dead_code, reason = "not all who share this file need it")]
    pub fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// Whether a power cut now would leave `bytes`.
    pub fn is_durable(&self, bytes: &str) -> bool {
        let bytes = bytes.as_bytes();
        self.state().files.iter().any(|file| file.durable.windows(bytes.len()).any(|window| window == bytes))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As `state`, after a moment at which any other thread may go on.
    fn step(&self) -> MutexGuard<'_, State> {
        self.0.1.fetch_add(1, Ordering::SeqCst);
        self.state()
    }
}

/// Frees the directory when it is dropped.
struct Lock(ModelDisk);

impl Drop for Lock {
    fn drop(&mut self) {
        self.0.state().locked = false;
    }
}

fn no_file(name: &str) -> io::Error {
    io::Error::new(ErrorKind::NotFound, name.to_owned())
}

/// The one directory of a disk.
struct ModelDirectory(ModelDisk, PathBuf);

impl Disk for ModelDisk {
    fn create_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
    fn open_dir(&self, path: &Path) -> io::Result<Arc<dyn Directory>> {
        Ok(Arc::new(ModelDirectory(self.clone(), path.to_owned())))
    }
    fn rename_dir(&self, _: &Path, _: &Path) -> io::Result<()> {
        Err(ErrorKind::Unsupported.into())
    }
}

impl Directory for ModelDirectory {
    fn path(&self) -> &Path {
        &self.1
    }
    fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
        if std::mem::replace(&mut self.0.step().locked, true) {
            return Err(io::Error::new(ErrorKind::WouldBlock, "another store"));
        }
        Ok(Box::new(Lock(self.0.clone())))
    }
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.0.step().names.keys().cloned().collect())
    }
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = *self.0.step().names.get(name).ok_or_else(|| no_file(name))?;
        Ok(Box::new(ModelFile(self.0.clone(), file)))
    }
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.0.step();
        state.files.push(File::default());
        let file = state.files.len() - 1;
        state.names.insert(name.to_owned(), file);
        Ok(Box::new(ModelFile(self.0.clone(), file)))
    }
    fn create_folder(&self, _: &str) -> io::Result<()> {
        Err(ErrorKind::Unsupported.into())
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.0.step();
        let file = state.names.remove(from).ok_or_else(|| no_file(from))?;
        state.names.insert(to.to_owned(), file);
        Ok(())
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.step().names.remove(name).map(drop).ok_or_else(|| no_file(name))
    }
    fn sync(&self) -> io::Result<()> {
        drop(self.0.step());
        Ok(())
    }
    fn sync_folder(&self, _: &str) -> io::Result<()> {
        Err(ErrorKind::Unsupported.into())
    }
}

impl DiskFile for ModelFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.state().files[self.1].seen.len() as u64)
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.0.state();
        let rest = state.files[self.1].seen.get(offset as usize..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.0.step();
        let file = &mut state.files[self.1];
        put(&mut file.seen, offset as usize, bytes);
        file.dirty.push((offset as usize, bytes.to_vec()));
        Ok(())
    }
    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        let mut state = self.0.step();
        if state.full {
            return Err(ErrorKind::StorageFull.into());
        }
        let file = &mut state.files[self.1];
        let len = file.seen.len().max((offset + len) as usize);
        file.seen.resize(len, 0);
        Ok(())
    }
    fn sync(&self) -> io::Result<()> {
        // It takes a while: what is written meanwhile it does not cover.
        let dirty = std::mem::take(&mut self.0.step().files[self.1].dirty);
        let mut state = self.0.step();
        state.syncs += 1;
        if state.failing_sync.is_some_and(|failing| state.syncs == failing + 1) {
            return Err(io::Error::other("the sync failed"));
        }
        for (offset, bytes) in dirty {
            put(&mut state.files[self.1].durable, offset, &bytes);
        }
        Ok(())
    }
    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.step().files[self.1].seen.truncate(len as usize);
        Ok(())
    }
}
