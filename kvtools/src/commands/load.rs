//! `kvserver load`: lines of JSON into a store.
//!
//! Invariant: what is said to be loaded is on stable storage, and a line is never believed to be longer than any key and
//! value can make it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use kvcore::{Db, Deadline, Durability, Keyspace, Options, SetOptions};

use super::line::Line;
use super::{Error, Result, path, print};

/// The longest key and the longest value, each of letters that are escaped with a second one, and some names.
const LINE_BYTES_MAX: u64 = 2 * 2 * 512 * 1024 * 1024 + 1024 * 1024;

/// What was read.
#[derive(Default)]
struct Counts {
    lines: u64,
    loaded: u64,
    passed: u64,
}

/// Reads JSON lines as [`dump`](crate::dump) writes them, from a file or standard input, into the store in `dir`, which is made
/// if it is not there. All of them are on disk when this returns, those before a line that is refused, too.
///
/// # Errors
///
/// If a line cannot be read, the store does not open, or the input cannot be read.
pub fn load(dir: &Path, from: Option<&Path>) -> Result<()> {
    let mut input: Box<dyn BufRead> = match from {
        Some(file) => Box::new(BufReader::new(File::open(file).map_err(Error::reading(path(file)))?)),
        None => Box::new(io::stdin().lock()),
    };
    // Closing it makes all of it durable at once.
    let db = Options::new().durability(Durability::Os).open(dir)?;
    let before = db.stats().entries;
    let mut counts = Counts::default();
    let read = read(&db, &mut input, &mut counts);
    // What stands before a bad line is kept, too.
    db.close()?;
    read?;
    let merged = match before {
        0 => String::new(),
        many => format!(", beside the {many} keys that were there or in their place"),
    };
    let passed = match counts.passed {
        0 => String::new(),
        many => format!("; {many} were left out because their deadline has passed"),
    };
    print(&format!("{} keys are on disk in {}{merged}{passed}\n", counts.loaded, path(dir)))
}

fn read(db: &Db, input: &mut dyn BufRead, counts: &mut Counts) -> Result<()> {
    let mut keyspaces: HashMap<String, Keyspace> = HashMap::new();
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        let read = input.take(LINE_BYTES_MAX).read_until(b'\n', &mut bytes).map_err(Error::reading("the input"))?;
        if read == 0 {
            return Ok(());
        }
        counts.lines += 1;
        let (number, loaded) = (counts.lines, counts.loaded);
        let wrong = |why: String| Error::Line { number, why, loaded };
        if read as u64 == LINE_BYTES_MAX && bytes.last() != Some(&b'\n') {
            return Err(wrong(format!("it is longer than {LINE_BYTES_MAX} bytes")));
        }
        if bytes.trim_ascii().is_empty() {
            continue;
        }
        let line = Line::read(&bytes).map_err(wrong)?;
        let deadline = line.deadline_ms.map(Deadline::at_ms);
        if line.deadline_ms.is_some_and(|deadline_ms| deadline_ms <= db.now_ms()) {
            counts.passed += 1;
            continue;
        }
        let keyspace = match keyspaces.get(&*line.keyspace) {
            Some(keyspace) => keyspace,
            None => {
                let keyspace = db.keyspace(&line.keyspace).map_err(|error| wrong(error.to_string()))?;
                keyspaces.entry(line.keyspace.clone().into_owned()).or_insert(keyspace)
            }
        };
        let options = deadline.map_or(SetOptions::new(), |deadline| SetOptions::new().expires_at(deadline));
        keyspace.set_with(&line.key, &line.value, options).map_err(|error| wrong(error.to_string()))?;
        counts.loaded += 1;
    }
}
