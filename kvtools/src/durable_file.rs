//! Files that are replaced as a whole: users, the configuration, a dump.
//!
//! Invariant: whenever the process or the machine stops, the file is the old one or the new one; when a call has
//! returned without an error it is the new one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Puts a file with this content and these permissions in the place of whatever is there. It is on disk when this returns.
///
/// # Errors
///
/// What the system says; the old file is then still there, or the new one is whole.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    replace_with(path, mode, &mut |file| file.write_all(bytes))
}

/// The same as [`replace`] with whatever `write` writes; if that fails, what was there stays.
///
/// # Errors
///
/// As for [`replace`], and what `write` returns.
pub fn replace_with(path: &Path, mode: u32, write: &mut dyn FnMut(&mut File) -> io::Result<()>) -> io::Result<()> {
    /// Two writers at the same time must not write the same file.
    static WRITERS: AtomicU64 = AtomicU64::new(0);
    let mut name = path.to_owned().into_os_string();
    name.push(format!(".tmp-{}-{}", std::process::id(), WRITERS.fetch_add(1, Ordering::Relaxed)));
    let new = Path::new(&name);
    let written = create(new, mode, write).and_then(|()| fs::rename(new, path));
    if written.is_err() {
        // What is left of it is of no use; that it may not be there is no further error.
        let _ = fs::remove_file(new);
    }
    written?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(dir)?.sync_all()
}

fn create(path: &Path, mode: u32, write: &mut dyn FnMut(&mut File) -> io::Result<()>) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path)?;
    write(&mut file)?;
    file.sync_all()
}
