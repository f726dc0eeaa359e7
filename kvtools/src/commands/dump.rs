//! `kvserver dump`: a store as lines of JSON.
//!
//! Invariant: the same store gives the same bytes, in the order of keyspaces' names and of keys, so that two dumps can be
//! compared line by line.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use kvcore::hooks::Scan;
use kvcore::{Db, Deadline, Options, Store};

use super::line::Line;
use super::{Error, Result, path};
use crate::durable_file;

/// Writes the store in `dir` as JSON lines, one a key, in the order of keyspaces and keys, to the file `to`, which is replaced
/// when all is written, or to standard output. The store is only read.
///
/// # Errors
///
/// If the store does not open, or the file cannot be written.
pub fn dump(dir: &Path, to: Option<&Path>) -> Result<()> {
    // In memory: the directory is only read.
    let db = Options::new().load(dir)?;
    match to {
        Some(file) => {
            // Others must not be able to read what may be secret.
            let replaced = durable_file::replace_with(file, 0o600, &mut |file| {
                let mut out = BufWriter::new(file);
                write(&db, &mut out)?;
                out.flush()
            });
            replaced.map_err(Error::writing(path(file)))
        }
        None => {
            let mut out = BufWriter::new(io::stdout().lock());
            write(&db, &mut out).and_then(|()| out.flush()).map_err(Error::writing("standard output"))
        }
    }
}

fn write(db: &Db, out: &mut dyn Write) -> io::Result<()> {
    for keyspace in db.keyspaces() {
        let mut keys = Vec::new();
        keyspace.for_each(&mut |key, _| keys.push(key.to_vec())).map_err(io::Error::other)?;
        keys.sort_unstable();
        for key in keys {
            let mut written = Ok(());
            // One that expires meanwhile is passed over.
            let read = keyspace.read(&key, &mut |value| {
                let line = Line {
                    keyspace: keyspace.name().into(),
                    key: (&key).into(),
                    value: value.bytes().into(),
                    deadline_ms: value.deadline().map(Deadline::as_ms),
                };
                written = line.write(out);
            });
            read.map_err(io::Error::other)?;
            written?;
        }
    }
    Ok(())
}
