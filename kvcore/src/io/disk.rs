//! Disk: the only door to files. Invariant: nothing else in the crate opens, reads, writes or syncs one, and a store works
//! through one open [`Directory`] for as long as it is open: a path is resolved once.
//!
//! What a crash keeps is the contract that recovery builds on: bytes written and then [synced](DiskFile::sync), and names
//! created, renamed or removed and then [synced](Directory::sync). Everything else may be there, partly there or not.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file system, as far as the store needs one.
///
/// ```
/// use kvcore::{Disk, FileDisk};
/// # let root = tempfile::tempdir().unwrap();
/// # let path = root.path().join("data");
/// let disk = FileDisk;
/// disk.create_dir(&path)?;
/// assert!(disk.open_dir(&path)?.list()?.is_empty());
/// # Ok::<(), std::io::Error>(())
/// ```
pub trait Disk: Send + Sync + 'static {
    /// Creates a directory and its missing ancestors, durably. Does nothing if the directory exists.
    ///
    /// # Errors
    ///
    /// If the file system refuses it.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Opens a directory that exists.
    ///
    /// # Errors
    ///
    /// If the file system refuses it.
    fn open_dir(&self, path: &Path) -> io::Result<Arc<dyn Directory>>;
    /// Renames a directory, durably; an empty directory of the new name is replaced.
    ///
    /// # Errors
    ///
    /// If the new name belongs to anything but an empty directory, or lies on another file system.
    fn rename_dir(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Returns what `path` names if that is a symbolic link or a mount point: [`rename_dir`](Self::rename_dir) can replace
    /// neither, even where it leads to an empty directory. Defaults to `None`.
    fn obstacle(&self, path: &Path) -> Option<&'static str> {
        let _ = path;
        None
    }
    /// Removes an empty directory. Defaults to an error of kind `Unsupported`.
    ///
    /// # Errors
    ///
    /// If the file system refuses it.
    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let _ = path;
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// An open directory. Every method concerns the directory that was opened, wherever it has been moved since, and never
/// another one that has taken its path.
///
/// A name is that of a file in it, or `folder/file` for a file in one of its folders.
///
/// ```
/// use kvcore::{Disk, FileDisk};
/// # let root = tempfile::tempdir().unwrap();
/// # let path = root.path().join("data");
/// let disk = FileDisk;
/// disk.create_dir(&path)?;
/// let dir = disk.open_dir(&path)?;
/// dir.create("file")?.sync()?;
/// dir.sync()?;
/// assert_eq!(dir.list()?, ["file"]);
/// # Ok::<(), std::io::Error>(())
/// ```
pub trait Directory: Send + Sync {
    /// Returns the path that the directory was opened by, for messages.
    fn path(&self) -> &Path;
    /// Locks the directory for this process alone, until the returned value is dropped.
    ///
    /// # Errors
    ///
    /// An error of kind `WouldBlock` if another process has locked it; its text names the holder.
    fn lock(&self) -> io::Result<Box<dyn Send + Sync>>;
    /// Locks the directory against [`lock`](Self::lock) for a process that only reads, until the returned value is
    /// dropped. Several may hold it. Fails as `lock` does. Defaults to `lock`.
    ///
    /// # Errors
    ///
    /// As from [`lock`](Self::lock).
    fn lock_to_read(&self) -> io::Result<Box<dyn Send + Sync>> {
        self.lock()
    }
    /// Returns the names in the directory, in no order.
    ///
    /// # Errors
    ///
    /// If the file system refuses it.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Returns whether a name is that of a file, and not of a folder, a link, a pipe or the like. Defaults to true.
    ///
    /// # Errors
    ///
    /// If the file system refuses it.
    fn is_file(&self, name: &str) -> io::Result<bool> {
        let _ = name;
        Ok(true)
    }
    /// Opens a file for reading, and for writing where that is permitted.
    ///
    /// # Errors
    ///
    /// If the file system refuses it.
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;
    /// Creates an empty file and opens it for writing. A file of this name is emptied.
    ///
    /// # Errors
    ///
    /// If the file system refuses it.
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;
    /// Creates a folder, durably. Does nothing if it exists.
    ///
    /// # Errors
    ///
    /// If the file system refuses it.
    fn create_folder(&self, name: &str) -> io::Result<()>;
    /// Renames a file, or whatever else has the name. A file that has the new name is replaced.
    ///
    /// # Errors
    ///
    /// If the file system refuses it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    ///
    /// # Errors
    ///
    /// If the file system refuses it.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes the names in the directory durable.
    ///
    /// # Errors
    ///
    /// If the file system refuses it.
    fn sync(&self) -> io::Result<()>;
    /// Makes the names in one of its folders durable.
    ///
    /// # Errors
    ///
    /// If the file system refuses it.
    fn sync_folder(&self, name: &str) -> io::Result<()>;
    /// Returns whether the directory is still where it was opened. Defaults to [`Location::Unchanged`].
    fn location(&self) -> Location {
        Location::Unchanged
    }
    /// Returns what lets other users of the machine read the directory or its files, if anything does. Defaults to
    /// `None`.
    fn exposure(&self) -> Option<String> {
        None
    }
}

/// Where an open [`Directory`] is now.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Location {
    /// Its path leads to it.
    #[default]
    Unchanged,
    /// Its path leads to nothing, or to another directory: it was moved, replaced, or mounted over.
    Moved {
        /// Where it is now, as far as known.
        to: Option<PathBuf>,
    },
    /// It was deleted: nothing that is written there lasts.
    Deleted,
}

/// An open file.
///
/// ```
/// use kvcore::{Disk, FileDisk};
/// # let root = tempfile::tempdir().unwrap();
/// # let path = root.path().join("data");
/// let disk = FileDisk;
/// disk.create_dir(&path)?;
/// let file = disk.open_dir(&path)?.create("file")?;
/// file.write_at(b"bytes", 0)?;
/// file.sync()?;
/// assert_eq!(file.len()?, 5);
/// # Ok::<(), std::io::Error>(())
/// ```
pub trait DiskFile: Send + Sync {
    /// Returns the length in bytes.
    ///
    /// # Errors
    ///
    /// If the file system refuses it.
    fn len(&self) -> io::Result<u64>;
    /// Returns whether the file has no bytes.
    ///
    /// # Errors
    ///
    /// If the file system refuses it.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Reads up to `buffer.len()` bytes from `offset`; fewer only at the end of the file.
    ///
    /// # Errors
    ///
    /// If the file system refuses it.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all bytes at `offset`.
    ///
    /// # Errors
    ///
    /// If the file system refuses it.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Writes all bytes of all parts, one part behind the other, from `offset` on. By default each by itself.
    ///
    /// # Errors
    ///
    /// If the file system refuses it.
    fn write_parts_at(&self, parts: &mut [IoSlice<'_>], mut offset: u64) -> io::Result<()> {
        for part in parts.iter().filter(|part| !part.is_empty()) {
            self.write_at(part, offset)?;
            offset += part.len() as u64;
        }
        Ok(())
    }
    /// Reserves room, so that writing there cannot fail for want of space; the file is at least that long after it,
    /// and reads as zeros where nothing was written.
    ///
    /// # Errors
    ///
    /// If the file system refuses it.
    fn allocate(&self, offset: u64, len: u64) -> io::Result<()>;
    /// Makes what was written durable, with the length (`fdatasync`).
    ///
    /// # Errors
    ///
    /// If the file system refuses it.
    fn sync(&self) -> io::Result<()>;
    /// Cuts the file to `len` bytes.
    ///
    /// # Errors
    ///
    /// If the file system refuses it.
    fn truncate(&self, len: u64) -> io::Result<()>;
    /// Returns whether the file has lost its last name, so that it is gone once it is closed. Defaults to false.
    ///
    /// # Errors
    ///
    /// If the file system refuses it.
    fn is_deleted(&self) -> io::Result<bool> {
        Ok(false)
    }
    /// Makes this file, which is empty, a copy of the first `len` bytes of `source`. Fails if `source` is shorter.
    ///
    /// # Errors
    ///
    /// If `source` is shorter; if the file system refuses it.
    fn copy_from(&self, source: &dyn DiskFile, len: u64) -> io::Result<()> {
        copy_bytes(source, self, len)
    }
    /// Returns the file's descriptor, where it has one, so that the operating system can clone it.
    fn descriptor(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        None
    }
}

const COPY_BYTES: u64 = 1024 * 1024;

/// Copies the first `len` bytes of a file to the start of another.
pub(crate) fn copy_bytes(source: &dyn DiskFile, target: &(impl DiskFile + ?Sized), len: u64) -> io::Result<()> {
    let (mut at, mut buffer) = (0, vec![0; len.clamp(1, COPY_BYTES) as usize]);
    while at < len {
        let step = buffer.len().min((len - at) as usize);
        let read = source.read_at(&mut buffer[..step], at)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        target.write_at(&buffer[..read], at)?;
        at += read as u64;
    }
    Ok(())
}
