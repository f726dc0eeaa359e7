//! `kvserver restore`: a store made from a backup.
//!
//! Invariant: the store appears only if the backup is whole and sound, and nothing is left behind otherwise; memory is bounded
//! whatever the archive says.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read};
use std::path::Path;

use kvcore::{Contents, Inspection, Options};

use super::{Error, Result, path, print};
use crate::archive::{BLOCK_BYTES, Entry, padding};

/// Makes a store in `dir`, which must not exist or be empty, from the backup `from`: an archive, a directory, or `-` for an
/// archive on standard input. All of it is on disk, and was found to be sound, when this returns.
///
/// # Errors
///
/// If the backup is not whole and sound, or a file cannot be read or written; then nothing is left behind.
pub fn restore(from: &Path, dir: &Path) -> Result<()> {
    if from.is_dir() {
        // What `Db::backup` and `kvserver backup` write is a store.
        Options::new().backup(from, dir)?;
        return print(&in_words(dir, &Options::new().inspect(dir)?));
    }
    let found = match from == Path::new("-") {
        true => read(&mut io::stdin().lock(), "standard input", dir)?,
        false => {
            let file = File::open(from).map_err(Error::reading(path(from)))?;
            read(&mut BufReader::with_capacity(1 << 20, file), &path(from), dir)?
        }
    };
    print(&in_words(dir, &found))
}

fn read(input: &mut dyn Read, what: &str, dir: &Path) -> Result<Inspection> {
    let wrong = |why: String| Error::Archive { what: what.to_owned(), why };
    let named = |error| match error {
        kvcore::Error::NotABackup { why } => wrong(why),
        error => Error::Store(error),
    };
    let mut restore = Options::new().begin_restore(dir)?;
    loop {
        let header = next_block(input, what)?;
        if header == [0; BLOCK_BYTES] {
            if next_block(input, what)? != [0; BLOCK_BYTES] {
                return Err(wrong("its end is damaged".to_owned()));
            }
            break;
        }
        let entry = Entry::of_header(&header).map_err(wrong)?;
        restore.add(&entry.name, entry.bytes, input).map_err(named)?;
        let mut zeros = [0; BLOCK_BYTES];
        let zeros = &mut zeros[..padding(entry.bytes) as usize];
        fill(input, zeros, what)?;
        if zeros.iter().any(|byte| *byte != 0) {
            return Err(wrong(format!("what follows {} is damaged", entry.name)));
        }
    }
    // `tar` and some media pad an archive with more zeros.
    let mut rest = [0; BLOCK_BYTES];
    loop {
        match input.read(&mut rest) {
            Ok(0) => break,
            Ok(read) if rest[..read].iter().all(|byte| *byte == 0) => {}
            Ok(_) => return Err(wrong("something follows its end".to_owned())),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::reading(what)(error)),
        }
    }
    restore.finish().map_err(named)
}

fn next_block(input: &mut dyn Read, what: &str) -> Result<[u8; BLOCK_BYTES]> {
    let mut block = [0; BLOCK_BYTES];
    fill(input, &mut block, what)?;
    Ok(block)
}

fn fill(input: &mut dyn Read, buffer: &mut [u8], what: &str) -> Result<()> {
    input.read_exact(buffer).map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => {
            Error::Archive { what: what.to_owned(), why: "it ends too early: it was cut short".to_owned() }
        }
        _ => Error::reading(what)(error),
    })
}

fn in_words(dir: &Path, found: &Inspection) -> String {
    let (mut keys, mut start, mut transactions, mut lsn, mut bytes) = (0, 0, 0, 0, 0);
    for file in &found.files {
        match file.contents {
            Contents::Snapshot(snapshot) => (keys, start) = (snapshot.entries, snapshot.start.get()),
            Contents::Segment(segment) => transactions += segment.transactions,
            Contents::Manifest(manifest) => lsn = manifest.durable.get(),
            _ => {}
        }
        bytes += file.bytes.unwrap_or(0);
    }
    let what = match start {
        0 => format!("{transactions} changes"),
        _ => format!("a snapshot of {keys} keys and {} changes after it", lsn - start.min(lsn)),
    };
    format!("{} is restored: {what}, up to Lsn {lsn}; {bytes} bytes in {} files\n", path(dir), found.files.len())
}
