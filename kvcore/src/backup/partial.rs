//! Partial: a directory that is being filled with a store's files. Invariant: its final name appears only when every file
//! in it is whole and durable; until then it has a name of its own, and one that is given up is removed.
//!
//! It stands beside its final place, is called `NAME.partial-` and 16 hexadecimal digits, and is left over only by a
//! crash. Nothing ever uses such a leftover; it can be deleted.

use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::hash::KeyHash;
use crate::io::disk::{Directory, Disk, DiskFile};

pub(crate) struct Partial {
    disk: Arc<dyn Disk>,
    /// Where it will be.
    dest: PathBuf,
    /// Where it is now.
    path: PathBuf,
    dir: Arc<dyn Directory>,
    names: Vec<String>,
    is_finished: bool,
}

impl Partial {
    /// Makes an empty directory beside `dest`, which must not exist or be an empty directory that can be replaced. Missing
    /// ancestors are made.
    pub(crate) fn create(disk: Arc<dyn Disk>, dest: &Path) -> Result<Self> {
        let Some(name) = dest.file_name() else {
            return Err(Error::InvalidOption(format!(
                "{} names no directory to be made: name a new one",
                dest.display()
            )));
        };
        // Without a slash or a dot at its end, which would lead through a link.
        let dest = &dest.with_file_name(name);
        if let Some(obstacle) = disk.obstacle(dest) {
            // Found now, and not when everything has been written to the directory beside it.
            return Err(Error::InvalidOption(format!(
                "{} is {obstacle}, which cannot be replaced: name a new directory in it or elsewhere",
                dest.display()
            )));
        }
        let looking = |error| Error::io(format!("look at {}", dest.display()), error);
        match disk.open_dir(dest).and_then(|dir| dir.list()) {
            Ok(names) if names.is_empty() => {}
            Ok(_) => return Err(Error::DestinationTaken { dest: dest.to_owned() }),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) if error.kind() == ErrorKind::NotADirectory => {
                return Err(Error::DestinationTaken { dest: dest.to_owned() });
            }
            Err(error) => return Err(looking(error)),
        }
        let mut name = OsString::from(name);
        name.push(format!(".partial-{:016x}", KeyHash::random_seed()));
        let path = dest.with_file_name(name);
        let making = |error| Error::io(format!("create the directory {}", path.display()), error);
        disk.create_dir(&path).map_err(making)?;
        match disk.open_dir(&path) {
            Ok(dir) => Ok(Partial { disk, dest: dest.to_owned(), path, dir, names: Vec::new(), is_finished: false }),
            Err(error) => {
                let _ = disk.remove_dir(&path);
                Err(making(error))
            }
        }
    }

    pub(crate) fn dir(&self) -> &dyn Directory {
        &*self.dir
    }

    /// Makes a file, has `write` fill it, and makes its bytes durable.
    pub(crate) fn write(&mut self, name: &str, write: impl FnOnce(&dyn DiskFile) -> io::Result<()>) -> Result<()> {
        let failed = |error| Error::io(format!("write {name} in {}", self.path.display()), error);
        self.names.push(name.to_owned());
        let file = self.dir.create(name).map_err(failed)?;
        write(&*file).and_then(|()| file.sync()).map_err(failed)
    }

    /// Gives it its final name, durably.
    pub(crate) fn finish(mut self) -> Result<()> {
        let syncing = |error| Error::io(format!("sync {}", self.path.display()), error);
        self.dir.sync().map_err(syncing)?;
        let renaming = |error| Error::io(format!("rename {} to {}", self.path.display(), self.dest.display()), error);
        self.disk.rename_dir(&self.path, &self.dest).map_err(renaming)?;
        self.is_finished = true;
        Ok(())
    }
}

/// What was given up must not keep the room that the store may need.
impl Drop for Partial {
    fn drop(&mut self) {
        if !self.is_finished {
            // The error that it was given up for is the one to tell.
            for name in &self.names {
                let _ = self.dir.remove(name);
            }
            let _ = self.disk.remove_dir(&self.path);
        }
    }
}
