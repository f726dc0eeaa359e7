//! The simulated disk as the store meets it: everything done to it is in a journal, and operations fail when they are told to.
//!
//! Invariant: an operation that answers an error has done nothing, but for a write, of which a part may be there, and a
//! sync, after which nobody knows. The disk of any moment can be made again from the journal.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use fastrand::Rng;
use kvcore::{Directory, Disk, DiskFile};

use crate::disk::{Op, World};
use crate::ledger::Note;

/// How the disk fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// EIO from what changes something.
    Error,
    /// ENOSPC from what needs room.
    Full,
    /// EIO from what reads.
    Read,
    /// EIO from what makes a file durable.
    Sync,
    /// EIO from what makes names durable.
    Names,
}

/// When it fails: at the `at`th operation of the kind that can fail so, or from there on.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub fault: Fault,
    pub at: u64,
    pub for_good: bool,
}

/// What an operation does, as far as its failing is concerned.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Doing {
    Reading,
    Changing,
    /// Changing, and for that needing room.
    Growing,
    Syncing,
    /// Making names durable.
    Naming,
}

#[derive(Default)]
struct State {
    world: World,
    /// What was done, and notes of whoever uses the disk.
    journal: Vec<Event>,
    plan: Option<Plan>,
    /// Operations that could have failed as planned.
    met: u64,
    /// Operations of this process that have failed.
    failures: u64,
    /// Nothing works, and nothing is changed: the process is dead, although its threads do not know.
    frozen: bool,
    /// Some operations take a moment, in which others go on.
    dawdles: bool,
    rng: Option<Rng>,
}

/// An entry of the journal.
#[derive(Clone, Debug)]
pub enum Event {
    Op(Op),
    Note(Note),
}

/// The disk; clones are the same one.
#[derive(Clone, Default)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
    taken: Arc<AtomicBool>,
}

impl State {
    fn fails(&mut self, doing: Doing) -> Option<io::Error> {
        if self.frozen {
            self.failures += 1;
            return Some(io::Error::other("the process is dead"));
        }
        let plan = self.plan?;
        let (can_fail, errno) = match plan.fault {
            Fault::Error => (doing != Doing::Reading, rustix::io::Errno::IO),
            Fault::Full => (doing == Doing::Growing, rustix::io::Errno::NOSPC),
            Fault::Read => (doing == Doing::Reading, rustix::io::Errno::IO),
            Fault::Sync => (doing == Doing::Syncing, rustix::io::Errno::IO),
            Fault::Names => (doing == Doing::Naming, rustix::io::Errno::IO),
        };
        self.met += u64::from(can_fail);
        let fails = can_fail && (self.met == plan.at || plan.for_good && self.met > plan.at);
        fails.then(|| {
            self.failures += 1;
            errno.into()
        })
    }

    fn perform(&mut self, op: Op) {
        self.world.apply(&op);
        self.journal.push(Event::Op(op));
    }

    fn chance(&mut self) -> &mut Rng {
        self.rng.get_or_insert_with(|| Rng::with_seed(0))
    }
}

impl SimDisk {
    pub fn of(world: World) -> SimDisk {
        SimDisk { state: Arc::new(Mutex::new(State { world, ..State::default() })), taken: Arc::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn note(&self, note: Note) {
        self.state().journal.push(Event::Note(note));
    }

    /// What was done since event `from`.
    pub fn journal(&self, from: usize) -> Vec<Event> {
        self.state().journal[from..].to_vec()
    }

    pub fn events(&self) -> usize {
        self.state().journal.len()
    }

    pub fn world(&self) -> World {
        self.state().world.clone()
    }

    /// From now on fails as planned; `seed` decides what is left of a write that failed.
    pub fn plan(&self, plan: Plan, seed: u64) {
        let mut state = self.state();
        (state.plan, state.met, state.rng) = (Some(plan), 0, Some(Rng::with_seed(seed)));
    }

    /// From now on some operations take a moment.
    pub fn dawdle(&self, dawdles: bool) {
        self.state().dawdles = dawdles;
    }

    /// Waits now and then, without the state: whoever uses the disk beside this one goes on meanwhile.
    fn pause(&self) {
        let pauses = {
            let mut state = self.state();
            state.dawdles && state.chance().u8(..4) == 0
        };
        if pauses {
            std::thread::sleep(Duration::from_micros(100));
        }
    }

    /// How many operations of this process have failed.
    pub fn failures(&self) -> u64 {
        self.state().failures
    }

    /// The process that uses the disk dies: whatever its threads still do has no effect.
    pub fn freeze(&self) {
        self.state().frozen = true;
    }

    /// No more operations fail; that some have is not forgotten.
    pub fn work_again(&self) {
        self.state().plan = None;
    }

    /// Everything works again, as for a new process.
    pub fn heal(&self) {
        let mut state = self.state();
        (state.plan, state.failures, state.frozen) = (None, 0, false);
    }

    /// A new process finds what the last one left; the disk still fails as planned.
    pub fn thaw(&self) {
        let mut state = self.state();
        (state.failures, state.frozen) = (0, false);
    }

    /// The power goes and comes back. Whoever used the disk must be dead.
    pub fn cut(&self, seed: u64) {
        self.state().perform(Op::Cut { seed });
    }

    fn perform(&self, doing: Doing, op: Op) -> io::Result<()> {
        self.pause();
        let mut state = self.state();
        match state.fails(doing) {
            Some(error) => Err(error),
            None => {
                state.perform(op);
                Ok(())
            }
        }
    }

    fn find(&self, path: &Path) -> io::Result<usize> {
        let mut state = self.state();
        match state.fails(Doing::Reading) {
            Some(error) => Err(error),
            None => state.world.find(path).ok_or_else(|| io::ErrorKind::NotFound.into()),
        }
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
    fn open_dir(&self, path: &Path) -> io::Result<Arc<dyn Directory>> {
        Ok(Arc::new(SimDirectory { disk: self.clone(), path: path.to_owned() }))
    }
    fn rename_dir(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.perform(Doing::Changing, Op::RenameDir(from.to_owned(), to.to_owned()))
    }
}

/// A directory of the disk. Its files are found by path: no history moves a directory that is open.
struct SimDirectory {
    disk: SimDisk,
    path: PathBuf,
}

impl Directory for SimDirectory {
    fn path(&self) -> &Path {
        &self.path
    }
    fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
        if self.disk.taken.swap(true, Ordering::SeqCst) {
            return Err(io::Error::new(io::ErrorKind::WouldBlock, "this test"));
        }
        Ok(Box::new(Taken(self.disk.taken.clone())))
    }
    fn list(&self) -> io::Result<Vec<String>> {
        let mut state = self.disk.state();
        match state.fails(Doing::Reading) {
            Some(error) => Err(error),
            None => {
                let name =
                    |path: &PathBuf| Some(path.strip_prefix(&self.path).ok()?.iter().next()?.to_str()?.to_owned());
                let names: BTreeSet<String> = state.world.names().filter_map(name).collect();
                Ok(names.into_iter().collect())
            }
        }
    }
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(SimFile { disk: self.disk.clone(), file: self.disk.find(&self.path.join(name))? }))
    }
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let path = self.path.join(name);
        self.disk.perform(Doing::Growing, Op::Create(path.clone()))?;
        let file = self.disk.state().world.find(&path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(SimFile { disk: self.disk.clone(), file }))
    }
    fn create_folder(&self, _: &str) -> io::Result<()> {
        Ok(())
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let (from, to) = (self.path.join(from), self.path.join(to));
        self.disk.find(&from)?;
        self.disk.perform(Doing::Changing, Op::Rename(from, to))
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        let path = self.path.join(name);
        self.disk.find(&path)?;
        self.disk.perform(Doing::Changing, Op::Remove(path))
    }
    fn sync(&self) -> io::Result<()> {
        self.disk.perform(Doing::Naming, Op::SyncDir(self.path.clone()))
    }
    fn sync_folder(&self, name: &str) -> io::Result<()> {
        self.disk.perform(Doing::Naming, Op::SyncDir(self.path.join(name)))
    }
}

struct SimFile {
    disk: SimDisk,
    file: usize,
}

impl DiskFile for SimFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.state().world.bytes(self.file).len() as u64)
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.state();
        if let Some(error) = state.fails(Doing::Reading) {
            return Err(error);
        }
        let seen = state.world.bytes(self.file);
        let from = seen.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
        let read = buffer.len().min(from.len());
        buffer[..read].copy_from_slice(&from[..read]);
        Ok(read)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let (file, offset) = (self.file, usize::try_from(offset).unwrap());
        self.disk.pause();
        let mut state = self.disk.state();
        let failed = state.fails(Doing::Growing);
        // A short write, and then the error.
        let frozen = state.frozen;
        let written = match &failed {
            Some(_) if frozen => 0,
            Some(_) => state.chance().usize(..=bytes.len()),
            None => bytes.len(),
        };
        if written > 0 || failed.is_none() {
            state.perform(Op::Write { file, offset, bytes: bytes[..written].into() });
        }
        failed.map_or(Ok(()), Err)
    }
    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        let len = usize::try_from((offset + len).max(self.len()?)).unwrap();
        self.disk.perform(Doing::Growing, Op::Resize { file: self.file, len })
    }
    fn sync(&self) -> io::Result<()> {
        self.disk.pause();
        let mut state = self.disk.state();
        let failed = state.fails(Doing::Syncing);
        if failed.is_none() {
            state.perform(Op::Sync { file: self.file });
        } else if !state.frozen {
            let seed = state.chance().u64(..);
            state.perform(Op::FailedSync { file: self.file, seed });
        }
        failed.map_or(Ok(()), Err)
    }
    fn truncate(&self, len: u64) -> io::Result<()> {
        self.disk.perform(Doing::Changing, Op::Resize { file: self.file, len: usize::try_from(len).unwrap() })
    }
}
