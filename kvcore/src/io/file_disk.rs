//! File disk: the operating system's file system. Invariant: every file operation of a store goes through the descriptor of
//! its directory, so a directory that is moved, replaced or mounted over never changes which files are meant.
//!
//! A store's files are regular files with one name. A symbolic link could lead out of the directory, and a file with
//! several names (hard links) may be somebody else's: both are errors. New directories have mode 0700 and new files
//! 0600, so that other users of the machine can neither read the data nor take the lock.

use std::fs::{DirBuilder, File, TryLockError};
use std::io::{self, ErrorKind, IoSlice, Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};

use crate::io::disk::{Directory, Disk, DiskFile, Location, copy_bytes};

/// The file that is locked.
pub(crate) const LOCK: &str = "lock";

/// The operating system takes no more parts in one write (Linux: `IOV_MAX`).
const PARTS_MAX: usize = 1024;
/// Access for other users than the owner.
const OTHERS: u32 = 0o077;

/// The operating system's file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct FileDisk;

#[allow(clippy::disallowed_methods, reason = "this is the door to files")]
impl Disk for FileDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let missing: Vec<_> = path.ancestors().take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists()).collect();
        if let Some(above) = path.parent() {
            std::fs::create_dir_all(above)?;
        }
        match DirBuilder::new().mode(0o700).create(path) {
            Err(_) if path.is_dir() => {}
            created => created?,
        }
        // A directory is only as durable as its name in the one above.
        missing.into_iter().try_for_each(|dir| sync_dir(above(dir)))
    }

    fn open_dir(&self, path: &Path) -> io::Result<Arc<dyn Directory>> {
        let fd = rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let path = std::path::absolute(path)?;
        Ok(Arc::new(FileDirectory { path, handle: File::from(fd) }))
    }

    fn rename_dir(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)?;
        sync_dir(above(to))?;
        sync_dir(above(from))
    }

    fn obstacle(&self, path: &Path) -> Option<&'static str> {
        // A name that cannot be looked at is no obstacle: what opens or creates it tells why.
        let found = std::fs::symlink_metadata(path).ok()?;
        if found.is_symlink() {
            return Some("a symbolic link");
        }
        let holder = std::fs::metadata(above(path)).ok()?;
        (found.is_dir() && found.dev() != holder.dev()).then_some("a mount point")
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_dir(path)?;
        sync_dir(above(path))
    }
}

/// Returns the directory that holds the name `path`.
fn above(path: &Path) -> &Path {
    path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[allow(clippy::disallowed_methods, reason = "this is the door to files")]
fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// A directory of the operating system's file system.
struct FileDirectory {
    path: PathBuf,
    handle: File,
}

impl FileDirectory {
    /// Opens a file of this directory. Fails if the name is not that of a regular file, or not the file's only one.
    fn open_regular(&self, name: &str, flags: OFlags) -> io::Result<OpenFile> {
        // Without waiting: a pipe might never be opened at its other end.
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::openat(&self.handle, name, flags, Mode::RUSR | Mode::WUSR)?);
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::new(ErrorKind::InvalidInput, format!("{name} is not a regular file")));
        }
        if metadata.nlink() > 1 {
            let why =
                "has several names (hard links), so it may belong to something else: replace it by a copy of itself";
            return Err(io::Error::new(ErrorKind::InvalidInput, format!("{name} {why}")));
        }
        Ok(OpenFile { file, counts_names: metadata.nlink() > 0 })
    }

    /// Takes the lock of the directory itself, which nobody can delete as they can the lock file.
    fn lock_itself(&self, exclusively: bool) -> io::Result<FileLock> {
        let itself = FileLock(File::from(self.open_folder(".")?));
        match if exclusively { itself.0.try_lock() } else { itself.0.try_lock_shared() } {
            Err(TryLockError::WouldBlock) => {
                let file = self.open_regular(LOCK, OFlags::RDONLY).map(|lock| lock.file);
                Err(file.map_or_else(|_| taken_by(String::new()), holder))
            }
            // Not every file system can lock a directory; the lock file is left then.
            _ => Ok(itself),
        }
    }

    fn open_folder(&self, name: &str) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.handle, name, flags, Mode::empty())?)
    }
}

/// A locked file. It is unlocked, not only closed: a process that this one is starting holds a copy of every open file until
/// it executes its program, and the lock with it.
struct FileLock(File);

impl Drop for FileLock {
    fn drop(&mut self) {
        // If this fails, closing the file is the other way.
        let _ = self.0.unlock();
    }
}

/// Returns an error that names the process that holds the lock, which has written its name into the lock file.
fn holder(lock: File) -> io::Error {
    let mut holder = String::new();
    // The holder's name is a courtesy; without it the lock is as good.
    let _ = lock.take(100).read_to_string(&mut holder);
    taken_by(holder)
}

fn taken_by(holder: String) -> io::Error {
    let holder = if holder.is_empty() { "another process".to_owned() } else { holder };
    io::Error::new(ErrorKind::WouldBlock, holder)
}

fn not_locked(lock: File, refused: TryLockError) -> io::Error {
    match refused {
        TryLockError::WouldBlock => holder(lock),
        TryLockError::Error(error) => error,
    }
}

impl Directory for FileDirectory {
    fn path(&self) -> &Path {
        &self.path
    }

    fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
        let itself = self.lock_itself(true)?;
        let mut file = self.open_regular(LOCK, OFlags::CREATE | OFlags::RDWR)?.file;
        match file.try_lock() {
            Ok(()) => {
                file.set_len(0)?;
                file.rewind()?;
                write!(file, "process {}", std::process::id())?;
                Ok(Box::new((FileLock(file), itself)))
            }
            Err(refused) => Err(not_locked(file, refused)),
        }
    }

    fn lock_to_read(&self) -> io::Result<Box<dyn Send + Sync>> {
        let itself = self.lock_itself(false)?;
        let file = match self.open_regular(LOCK, OFlags::RDONLY) {
            Ok(file) => file.file,
            // No process has ever opened it, as with a copy of the other files alone.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Box::new(itself)),
            Err(error) => return Err(error),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(Box::new((FileLock(file), itself))),
            Err(refused) => Err(not_locked(file, refused)),
        }
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.handle)? {
            // The store's own names are plain ASCII; any other file is not the store's.
            if let Ok(name) = entry?.file_name().to_str().map(str::to_owned)
                && name != "."
                && name != ".."
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn is_file(&self, name: &str) -> io::Result<bool> {
        let found = rustix::fs::statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(FileType::from_raw_mode(found.st_mode).is_file())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = self.open_regular(name, OFlags::RDWR).or_else(|error| match error.kind() {
            // What is only read need not be writable.
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => self.open_regular(name, OFlags::RDONLY),
            _ => Err(error),
        });
        Ok(Box::new(file?))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        // A new file is the store's own, with the modes and the one name that it must have, whatever was there.
        match rustix::fs::unlinkat(&self.handle, name, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(Box::new(self.open_regular(name, OFlags::CREATE | OFlags::EXCL | OFlags::RDWR)?))
    }

    fn create_folder(&self, name: &str) -> io::Result<()> {
        match rustix::fs::mkdirat(&self.handle, name, Mode::RWXU) {
            Err(rustix::io::Errno::EXIST) => drop(self.open_folder(name)?),
            created => created?,
        }
        self.sync()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.handle, from, &self.handle, to)?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.handle, name, AtFlags::empty())?)
    }

    fn sync(&self) -> io::Result<()> {
        self.handle.sync_all()
    }

    fn sync_folder(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::fsync(self.open_folder(name)?)?)
    }

    #[allow(clippy::disallowed_methods, reason = "this is the door to files")]
    fn location(&self) -> Location {
        let Ok(own) = self.handle.metadata().map(|own| (own.dev(), own.ino())) else { return Location::Unchanged };
        let leads_here = |path: &Path| std::fs::metadata(path).map(|found| (found.dev(), found.ino()) == own);
        match leads_here(&self.path) {
            Ok(true) => return Location::Unchanged,
            Ok(false) => {}
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            // That it cannot be looked at says nothing about where it is.
            Err(_) => return Location::Unchanged,
        }
        // Network file systems say of a directory that somebody else has moved that it is deleted: only an empty one is.
        let lock = rustix::fs::statat(&self.handle, LOCK, AtFlags::SYMLINK_NOFOLLOW);
        let link = std::fs::read_link(format!("/proc/self/fd/{}", self.handle.as_raw_fd())).ok();
        let has_no_name = self.handle.metadata().is_ok_and(|own| own.nlink() == 0)
            || link.as_ref().is_some_and(|link| link.to_string_lossy().ends_with(" (deleted)"));
        if has_no_name && lock.is_err_and(|error| error == rustix::io::Errno::NOENT) {
            return Location::Deleted;
        }
        Location::Moved { to: link.filter(|link| leads_here(link).unwrap_or(false)) }
    }

    fn exposure(&self) -> Option<String> {
        let mode = self.handle.metadata().ok()?.mode();
        if mode & OTHERS == 0 {
            return None;
        }
        let is_open = |name: &String| {
            let found = rustix::fs::statat(&self.handle, name.as_str(), AtFlags::SYMLINK_NOFOLLOW);
            found.is_ok_and(|found| found.st_mode & OTHERS != 0)
        };
        // Without the right to search the directory nobody reaches its files, whatever their modes.
        let can_enter = mode & 0o011 != 0;
        let names = if can_enter { self.list().unwrap_or_default() } else { Vec::new() };
        let open = names.iter().filter(|name| is_open(name)).count();
        let path = self.path.display();
        Some(format!(
            "other users of this machine have access to {path} (mode {:04o}) and {open} files in it: chmod -R go= {path}",
            mode & 0o7777
        ))
    }
}

/// A regular file that is open.
struct OpenFile {
    file: File,
    /// Whether the file system counts a file's names, so that no name left means deleted.
    counts_names: bool,
}

impl DiskFile for OpenFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, mut buffer: &mut [u8], mut offset: u64) -> io::Result<usize> {
        let mut read = 0;
        while !buffer.is_empty() {
            match FileExt::read_at(&self.file, buffer, offset) {
                Ok(0) => break,
                Ok(n) => {
                    buffer = &mut buffer[n..];
                    offset += n as u64;
                    read += n;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn write_parts_at(&self, mut parts: &mut [IoSlice<'_>], mut offset: u64) -> io::Result<()> {
        // So that empty parts are none.
        IoSlice::advance_slices(&mut parts, 0);
        while !parts.is_empty() {
            match rustix::io::pwritev(&self.file, &parts[..parts.len().min(PARTS_MAX)], offset) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => {
                    offset += written as u64;
                    IoSlice::advance_slices(&mut parts, written);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&self.file, rustix::fs::FallocateFlags::empty(), offset, len) {
            // Some file systems cannot reserve room; there, a full disk shows itself in the write.
            Err(rustix::io::Errno::OPNOTSUPP) => self.file.set_len(self.file.metadata()?.len().max(offset + len)),
            done => Ok(done?),
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn is_deleted(&self) -> io::Result<bool> {
        Ok(self.counts_names && self.file.metadata()?.nlink() == 0)
    }

    fn copy_from(&self, source: &dyn DiskFile, len: u64) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        if let Some(source) = source.descriptor()
            && rustix::fs::ioctl_ficlone(&self.file, source).is_ok()
        {
            // The blocks are shared until one of the two is written to.
            return match self.file.metadata()?.len() < len {
                true => Err(ErrorKind::UnexpectedEof.into()),
                false => self.file.set_len(len),
            };
        }
        copy_bytes(source, self, len)
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.file.as_fd())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_parts_than_one_write_takes_are_all_written() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let dir = FileDisk.open_dir(dir.path()).expect("opens");
        let file = dir.create("parts").expect("creates");
        let bytes: Vec<[u8; 3]> =
            (0..3 * PARTS_MAX as u32 + 1).map(|part| [part as u8, (part >> 8) as u8, 7]).collect();
        let mut parts: Vec<IoSlice<'_>> = bytes.iter().map(|part| IoSlice::new(part)).collect();
        file.write_parts_at(&mut parts, 5).expect("writes");
        let mut read = vec![0; 3 * bytes.len()];
        assert_eq!(file.read_at(&mut read, 5).expect("reads"), read.len());
        assert!(read == bytes.concat());
    }
}
