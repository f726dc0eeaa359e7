//! Disk: the only door to files. Invariant: nothing else in the crate opens, reads, writes or syncs one.
//!
//! What a crash keeps is the contract that recovery builds on: bytes written and then [synced](DiskFile::sync), and names
//! created, renamed or removed and then [synced](Disk::sync_dir). Everything else may be there, partly there or not.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, IoSlice, Read, Seek, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// A file system, as far as the store needs one.
pub trait Disk: Send + Sync + 'static {
    /// Makes a directory and those above it, durably, if they are not there.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// Takes the directory for this process alone, until the answer is dropped. An error of kind `WouldBlock` means
    /// that it is taken, and its text says by whom.
    fn lock(&self, dir: &Path) -> io::Result<Box<dyn Send + Sync>>;
    /// Keeps the directory from being taken by [`lock`](Self::lock) until the answer is dropped, for somebody who only
    /// reads. Others may do the same; the same error tells that it is taken. By default as `lock`.
    fn lock_to_read(&self, dir: &Path) -> io::Result<Box<dyn Send + Sync>> {
        self.lock(dir)
    }
    /// The names in a directory, in no order.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Opens a file to read it.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Opens a file to write it, made empty.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Gives a file, or whatever else has that name, another one; a file replaces the file that had it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
}

/// An open file.
pub trait DiskFile: Send + Sync {
    /// Its length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether it has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Reads up to `buffer.len()` bytes from `offset`; fewer only at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all bytes at `offset`.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Writes all bytes of all parts, one part behind the other, from `offset` on. By default each by itself.
    fn write_parts_at(&self, parts: &mut [IoSlice<'_>], mut offset: u64) -> io::Result<()> {
        for part in parts.iter().filter(|part| !part.is_empty()) {
            self.write_at(part, offset)?;
            offset += part.len() as u64;
        }
        Ok(())
    }
    /// Reserves room, so that writing there cannot fail for want of space; the file is at least that long after it,
    /// and reads as zeros where nothing was written.
    fn allocate(&self, offset: u64, len: u64) -> io::Result<()>;
    /// Makes what was written durable, with the length (`fdatasync`).
    fn sync(&self) -> io::Result<()>;
    /// Cuts the file to `len` bytes.
    fn truncate(&self, len: u64) -> io::Result<()>;
}

/// The file that is locked.
pub(crate) const LOCK: &str = "lock";

/// Opens a file, unless something else has its name.
#[allow(clippy::disallowed_methods, reason = "this is the door to files")]
fn open_regular(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    // Without waiting: a pipe might never be opened at its other end.
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let file = options.truncate(false).custom_flags(flags.bits() as i32).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(ErrorKind::InvalidInput, "it is not a regular file")),
    }
}

/// What says who has the directory.
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

/// The operating system's file system. A store's files are regular files: under one of their names a symbolic link, which
/// could lead out of the directory, is an error, and so is anything else.
#[derive(Clone, Copy, Debug, Default)]
pub struct FileDisk;

#[allow(clippy::disallowed_methods, reason = "this is the door to files")]
impl Disk for FileDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let missing: Vec<_> = dir.ancestors().take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists()).collect();
        std::fs::create_dir_all(dir)?;
        // A directory is only as durable as its name in the one above.
        for dir in missing {
            let above = dir.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
            self.sync_dir(above)?;
        }
        Ok(())
    }

    fn lock(&self, dir: &Path) -> io::Result<Box<dyn Send + Sync>> {
        let mut file = open_regular(OpenOptions::new().create(true).read(true).write(true), &dir.join(LOCK))?;
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

    fn lock_to_read(&self, dir: &Path) -> io::Result<Box<dyn Send + Sync>> {
        let file = match open_regular(OpenOptions::new().read(true), &dir.join(LOCK)) {
            Ok(file) => file,
            // Nobody has ever opened it, as with a copy of the other files alone.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Box::new(())),
            Err(error) => return Err(error),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(Box::new(file)),
            Err(refused) => Err(holder(file, refused)),
        }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            // The store's own names are plain ASCII; any other file is not ours.
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = open_regular(OpenOptions::new().read(true).write(true), path).or_else(|error| match error.kind() {
            // What is only read need not be writable.
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                open_regular(OpenOptions::new().read(true), path)
            }
            _ => Err(error),
        });
        Ok(Box::new(file?))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = open_regular(OpenOptions::new().read(true).write(true).create(true), path)?;
        file.set_len(0)?;
        Ok(Box::new(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
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
}
