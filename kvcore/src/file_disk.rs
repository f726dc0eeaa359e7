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

use rustix::fs::{AtFlags, Mode, OFlags};

use crate::disk::{Directory, Disk, DiskFile, Location, copy_bytes};

/// The file that is locked.
pub(crate) const LOCK: &str = "lock";

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
            Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => {}
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
    /// Opens a file of this directory, unless something else has its name.
    fn open_regular(&self, name: &str, flags: OFlags) -> io::Result<File> {
        // Without waiting: a pipe might never be opened at its other end.
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::openat(&self.handle, name, flags, Mode::RUSR | Mode::WUSR)?);
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::new(ErrorKind::InvalidInput, "it is not a regular file"));
        }
        if metadata.nlink() > 1 {
            let why = "it has several names (hard links), so it may belong to something else: replace it by a copy";
            return Err(io::Error::new(ErrorKind::InvalidInput, why));
        }
        Ok(file)
    }

    fn open_folder(&self, name: &str) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.handle, name, flags, Mode::empty())?)
    }
}

/// Returns an error that names the process that holds the lock.
fn holder(file: File, refused: TryLockError) -> io::Error {
    match refused {
        TryLockError::WouldBlock => {
            let mut holder = String::new();
            // The holder's name is a courtesy; without it the lock is as good.
            let _ = file.take(100).read_to_string(&mut holder);
            let holder = if holder.is_empty() { "another process".to_owned() } else { holder };
            io::Error::new(ErrorKind::WouldBlock, holder)
        }
        TryLockError::Error(error) => error,
    }
}

impl Directory for FileDirectory {
    fn path(&self) -> &Path {
        &self.path
    }

    fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
        let mut file = self.open_regular(LOCK, OFlags::CREATE | OFlags::RDWR)?;
        match file.try_lock() {
            Ok(()) => {
                file.set_len(0)?;
                file.rewind()?;
                write!(file, "process {}", std::process::id())?;
                Ok(Box::new(file))
            }
            Err(refused) => Err(holder(file, refused)),
        }
    }

    fn lock_to_read(&self) -> io::Result<Box<dyn Send + Sync>> {
        let file = match self.open_regular(LOCK, OFlags::RDONLY) {
            Ok(file) => file,
            // No process has ever opened it, as with a copy of the other files alone.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Box::new(())),
            Err(error) => return Err(error),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(Box::new(file)),
            Err(refused) => Err(holder(file, refused)),
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

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = self.open_regular(name, OFlags::RDWR).or_else(|error| match error.kind() {
            // What is only read need not be writable.
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => self.open_regular(name, OFlags::RDONLY),
            _ => Err(error),
        });
        Ok(Box::new(file?))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        // Emptied only once it is known to be the store's own.
        let file = self.open_regular(name, OFlags::CREATE | OFlags::RDWR)?;
        file.set_len(0)?;
        Ok(Box::new(file))
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
        let Ok(own) = self.handle.metadata() else { return Location::Unchanged };
        let at_path = std::fs::metadata(&self.path).ok().map(|found| (found.dev(), found.ino()));
        if at_path == Some((own.dev(), own.ino())) {
            return Location::Unchanged;
        }
        let link = std::fs::read_link(format!("/proc/self/fd/{}", self.handle.as_raw_fd())).ok();
        // Not every file system counts the names of a directory.
        let is_deleted = |link: &PathBuf| link.to_string_lossy().ends_with(" (deleted)") && !link.exists();
        if own.nlink() == 0 || link.as_ref().is_some_and(is_deleted) {
            return Location::Deleted;
        }
        Location::Moved { to: link.filter(|link| *link != self.path) }
    }

    fn exposure(&self) -> Option<String> {
        let mode = self.handle.metadata().ok()?.mode();
        // Without the right to search the directory nobody reaches its files, whatever their modes.
        let can_enter = mode & 0o011 != 0;
        let is_open = |name: &String| {
            let found = rustix::fs::statat(&self.handle, name.as_str(), AtFlags::SYMLINK_NOFOLLOW);
            found.is_ok_and(|found| found.st_mode & OTHERS != 0)
        };
        let open = if can_enter { self.list().ok()?.iter().filter(|name| is_open(name)).count() } else { 0 };
        if mode & OTHERS == 0 {
            return None;
        }
        let path = self.path.display();
        Some(format!(
            "other users of this machine have access to {path} (mode {:04o}) and {open} files in it: chmod -R go= {path}",
            mode & 0o7777
        ))
    }
}

impl DiskFile for File {
    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, mut buffer: &mut [u8], mut offset: u64) -> io::Result<usize> {
        let mut read = 0;
        while !buffer.is_empty() {
            match FileExt::read_at(self, buffer, offset) {
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
        self.write_all_at(bytes, offset)
    }

    fn write_parts_at(&self, mut parts: &mut [IoSlice<'_>], mut offset: u64) -> io::Result<()> {
        // So that empty parts are none.
        IoSlice::advance_slices(&mut parts, 0);
        while !parts.is_empty() {
            match rustix::io::pwritev(self, parts, offset) {
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
        match rustix::fs::fallocate(self, rustix::fs::FallocateFlags::empty(), offset, len) {
            // Some file systems cannot reserve room; there, a full disk shows itself in the write.
            Err(rustix::io::Errno::OPNOTSUPP) => self.set_len(self.metadata()?.len().max(offset + len)),
            done => Ok(done?),
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }

    fn is_deleted(&self) -> io::Result<bool> {
        Ok(self.metadata()?.nlink() == 0)
    }

    fn copy_from(&self, source: &dyn DiskFile, len: u64) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        if let Some(source) = source.descriptor()
            && rustix::fs::ioctl_ficlone(self, source).is_ok()
        {
            // The blocks are shared until one of the two is written to.
            return match self.metadata()?.len() < len {
                true => Err(ErrorKind::UnexpectedEof.into()),
                false => self.set_len(len),
            };
        }
        copy_bytes(source, self, len)
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.as_fd())
    }
}
