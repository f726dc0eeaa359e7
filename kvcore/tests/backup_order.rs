//! A backup that meets a snapshot: threads are stopped at chosen file operations, so that a rare order of events is an
//! ordinary one.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test fails by panicking, and must end some time")]

use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use kvcore::{Db, Directory, Disk, DiskFile, FileDisk, Options};

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// A gate that threads pass unless it is closed.
#[derive(Default)]
struct Gate {
    /// Whether it is closed, and whether a thread waits at it.
    state: Mutex<(bool, bool)>,
    changed: Condvar,
}

impl Gate {
    fn set_closed(&self, closed: bool) {
        *self.state.lock().unwrap() = (closed, false);
        self.changed.notify_all();
    }

    fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        while state.0 {
            state.1 = true;
            self.changed.notify_all();
            state = self.changed.wait(state).unwrap();
        }
    }

    #[track_caller]
    fn until_reached(&self) {
        let waited = self.changed.wait_timeout_while(self.state.lock().unwrap(), PATIENCE, |state| !state.1).unwrap();
        assert!(!waited.1.timed_out(), "no thread has come to the gate");
    }
}

/// A real disk with a gate before each new snapshot, and one before an old one is opened.
#[derive(Clone, Default)]
struct GatedDisk {
    creating: Arc<Gate>,
    opening: Arc<Gate>,
}

struct GatedDirectory(Arc<dyn Directory>, GatedDisk);

impl Disk for GatedDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        FileDisk.create_dir(path)
    }
    fn open_dir(&self, path: &Path) -> io::Result<Arc<dyn Directory>> {
        Ok(Arc::new(GatedDirectory(FileDisk.open_dir(path)?, self.clone())))
    }
    fn rename_dir(&self, from: &Path, to: &Path) -> io::Result<()> {
        FileDisk.rename_dir(from, to)
    }
    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        FileDisk.remove_dir(path)
    }
}

impl Directory for GatedDirectory {
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
        if name.starts_with("snapshot-") {
            self.1.opening.pass();
        }
        self.0.open(name)
    }
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        if name == "snapshot.tmp" {
            self.1.creating.pass();
        }
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

/// A snapshot takes the name of the one before it if nothing was written in between. A backup that opened it after the end
/// of its own log was decided could not be opened: the snapshot knew more than the log.
#[test]
fn a_backup_that_meets_a_snapshot_of_the_same_name_opens() {
    let (root, disk) = (tempfile::tempdir().unwrap(), GatedDisk::default());
    let db = Options::new().disk(Arc::new(disk.clone())).open(root.path().join("data")).unwrap();
    db.set("early", "v").unwrap();
    db.snapshot().unwrap();
    disk.creating.set_closed(true);
    disk.opening.set_closed(true);
    let snapshot = thread::spawn({
        let db = db.clone();
        move || db.snapshot()
    });
    disk.creating.until_reached();
    let copy = root.path().join("copy");
    let backup = thread::spawn({
        let (db, copy) = (db.clone(), copy.clone());
        move || db.backup(copy)
    });
    disk.opening.until_reached();
    db.set("late", "v").unwrap();
    disk.creating.set_closed(false);
    snapshot.join().unwrap().unwrap();
    disk.opening.set_closed(false);
    backup.join().unwrap().unwrap();
    let copied = Db::open(&copy).unwrap();
    assert!(copied.get("early").unwrap().is_some());
    db.close().unwrap();
}
