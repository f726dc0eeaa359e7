//! Manifest: a small file of what a store is known to have. Invariant: it never says more than is durable, so a log that
//! holds less than it says has been damaged.
//!
//! The frames of the log bear witness for those before them; for the end of the log, and for files that are missing, this
//! does. It has two slots, at byte 0 and at byte 512, which are written in turn, so that a torn write leaves the other.
//! In each, all integers little-endian:
//!
//! | at | bytes | what |
//! |---|---|---|
//! | 0 | 4 | `KVMF` |
//! | 4 | 4 | format version, 1 |
//! | 8 | 8 | how many were written before it |
//! | 16 | 8 | the store's id, the same in all its files |
//! | 24 | 8 | the newest segment's id, 0 before there is one |
//! | 32 | 8 | up to this Lsn the log is durable |
//! | 40 | 8 | bytes that the newest segment has at least |
//! | 48 | 4 | CRC-32 of bytes 0..48 |

use std::io;

use crate::error::{Error, Result, is_out_of_space};
use crate::io::disk::{Directory, DiskFile};
use crate::lsn::{Lsn, NUMBER_MAX};

/// What the file is called.
pub(crate) const MANIFEST: &str = "manifest";
/// What it is called until it is durable.
pub(crate) const UNNAMED_MANIFEST: &str = "manifest.tmp";

const MAGIC: [u8; 4] = *b"KVMF";
const VERSION: u32 = 1;
const SLOT_BYTES: usize = 52;
/// The slots lie in sectors of their own.
const SLOTS_AT: [usize; 2] = [0, 512];
const FILE_BYTES: usize = 1024;

/// What is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Known {
    pub(crate) store: u64,
    pub(crate) newest: u64,
    pub(crate) durable: Lsn,
    pub(crate) newest_bytes: u64,
}

/// A manifest that was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Manifest {
    pub(crate) known: Known,
    written: u64,
    /// Where a slot lies that is not good: what is known is then of some time before.
    pub(crate) damaged_at: Option<u64>,
}

/// The file, to write what becomes known.
pub(crate) struct ManifestFile {
    file: Box<dyn DiskFile>,
    known: Known,
    written: u64,
    /// Whether what is known was synced by this writer. What was read may be all that is left of a sync that failed.
    is_synced: bool,
}

fn encode(known: &Known, written: u64) -> [u8; SLOT_BYTES] {
    let mut slot = [0; SLOT_BYTES];
    slot[0..4].copy_from_slice(&MAGIC);
    slot[4..8].copy_from_slice(&VERSION.to_le_bytes());
    let fields = [written, known.store, known.newest, known.durable.get(), known.newest_bytes];
    for (at, field) in (8..).step_by(8).zip(fields) {
        slot[at..at + 8].copy_from_slice(&field.to_le_bytes());
    }
    let crc = crc32fast::hash(&slot[..48]);
    slot[48..52].copy_from_slice(&crc.to_le_bytes());
    slot
}

fn decode(slot: &[u8]) -> Option<(Known, u64)> {
    let slot = slot.first_chunk::<SLOT_BYTES>()?;
    let u64_at = |at: usize| slot[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    let crc = slot[48..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
    if slot[0..4] != MAGIC || slot[4..8] != VERSION.to_le_bytes() || crc32fast::hash(&slot[..48]) != crc {
        return None;
    }
    let known =
        Known { store: u64_at(16), newest: u64_at(24), durable: Lsn::new(u64_at(32)), newest_bytes: u64_at(40) };
    let are_possible = [known.newest, known.durable.get(), u64_at(8)].iter().all(|number| *number <= NUMBER_MAX);
    are_possible.then(|| (known, u64_at(8)))
}

/// Returns the bytes of a manifest file that holds this in both of its parts.
pub(crate) fn manifest_bytes(known: &Known) -> [u8; FILE_BYTES] {
    let mut bytes = [0; FILE_BYTES];
    // Both, so that damage to one of them alone never takes the manifest away.
    for (at, written) in SLOTS_AT.into_iter().zip(0..) {
        bytes[at..at + SLOT_BYTES].copy_from_slice(&encode(known, written));
    }
    bytes
}

impl Manifest {
    /// One that says no more than whose files these are.
    pub(crate) fn of_store(store: u64) -> Self {
        let known = Known { store, newest: 0, durable: Lsn::ZERO, newest_bytes: 0 };
        Manifest { known, written: 0, damaged_at: None }
    }

    /// Reads the manifest of a directory that holds `names`; `None` if it has none.
    pub(crate) fn read(dir: &dyn Directory, names: &[String]) -> Result<Option<Self>> {
        if !names.iter().any(|name| name == MANIFEST) {
            return Ok(None);
        }
        let path = dir.path().join(MANIFEST);
        let mut bytes = [0; FILE_BYTES];
        let read = dir
            .open(MANIFEST)
            .and_then(|file| file.read_at(&mut bytes, 0))
            .map_err(|error| Error::io(format!("read {}", path.display()), error))?;
        let bytes = &bytes[..read];
        let slots = SLOTS_AT.map(|at| bytes.get(at..).and_then(decode));
        let Some(&(mut known, written)) = slots.iter().flatten().max_by_key(|(_, written)| *written) else {
            let why = "neither of its two parts is good".to_owned();
            return Err(Error::Corrupt { file: path, offset: 0, why });
        };
        let damaged = SLOTS_AT.into_iter().zip(slots).find(|(_, slot)| slot.is_none());
        if damaged.is_some() {
            // Lengths go down as well as up; all else only grows.
            known.newest_bytes = 0;
        }
        Ok(Some(Manifest { known, written, damaged_at: damaged.map(|(at, _)| at as u64) }))
    }

    /// Opens the file of this manifest to write on.
    pub(crate) fn reopen(&self, dir: &dyn Directory) -> io::Result<ManifestFile> {
        let file = dir.open(MANIFEST)?;
        Ok(ManifestFile { file, known: self.known, written: self.written, is_synced: false })
    }
}

impl ManifestFile {
    /// Writes the first manifest of a store, or one in the place of another.
    pub(crate) fn create(dir: &dyn Directory, known: Known) -> io::Result<Self> {
        let file = dir.create(UNNAMED_MANIFEST)?;
        file.write_at(&manifest_bytes(&known), 0)?;
        file.sync()?;
        dir.rename(UNNAMED_MANIFEST, MANIFEST)?;
        dir.sync()?;
        Ok(ManifestFile { file, known, written: SLOTS_AT.len() as u64 - 1, is_synced: true })
    }

    pub(crate) fn store(&self) -> u64 {
        self.known.store
    }

    /// The newest segment's id.
    pub(crate) fn newest(&self) -> u64 {
        self.known.newest
    }

    /// What it says to be durable.
    pub(crate) fn durable(&self) -> Lsn {
        self.known.durable
    }

    /// Writes what is known now, durably.
    pub(crate) fn write(&mut self, known: Known) -> io::Result<()> {
        if known == self.known && self.is_synced {
            return Ok(());
        }
        self.put(&known)?;
        self.make_durable(known)
    }

    /// Writes the older slot. Fails without harm: the other one stays as it is.
    fn put(&self, known: &Known) -> io::Result<()> {
        let written = self.written + 1;
        let slot = SLOTS_AT[(written % 2) as usize];
        self.file.write_at(&encode(known, written), slot as u64)
    }

    /// Makes what was [put](Self::put) durable.
    fn make_durable(&mut self, known: Known) -> io::Result<()> {
        self.file.sync()?;
        if self.file.is_deleted()? {
            return Err(io::Error::other("it was deleted while the store was open"));
        }
        (self.known, self.written, self.is_synced) = (known, self.written + 1, true);
        Ok(())
    }

    /// A new segment, of this length at least, is there, and everything before it is durable.
    pub(crate) fn note_segment(&mut self, newest: u64, newest_bytes: u64, durable: Lsn) -> io::Result<()> {
        self.write(Known { newest, newest_bytes, durable, ..self.known })
    }

    /// The log is durable up to here.
    pub(crate) fn note_durable(&mut self, durable: Lsn) -> io::Result<()> {
        self.write(Known { durable, ..self.known })
    }

    /// As [`note_durable`](Self::note_durable), where nothing depends on it. Returns false if there is no room for it, as on
    /// a full disk that never writes in place.
    pub(crate) fn try_note_durable(&mut self, durable: Lsn) -> io::Result<bool> {
        let known = Known { durable, ..self.known };
        match self.put(&known) {
            Err(error) if is_out_of_space(&error) => Ok(false),
            put => put.and_then(|()| self.make_durable(known)).map(|()| true),
        }
    }

    /// The newest segment is about to become shorter; it is durable up to here.
    pub(crate) fn note_cut(&mut self, durable: Lsn) -> io::Result<()> {
        self.write(Known { durable, newest_bytes: 0, ..self.known })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_flipped_bit_of_a_slot_is_seen() {
        let known = Known { store: 1, newest: 2, durable: Lsn::new(3), newest_bytes: 4 };
        let slot = encode(&known, 5);
        assert_eq!(decode(&slot), Some((known, 5)));
        for bit in 0..slot.len() * 8 {
            let mut damaged = slot;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&damaged), None);
        }
        assert_eq!(decode(&slot[..slot.len() - 1]), None);
        assert_eq!(decode(&[0; SLOT_BYTES]), None);
    }
}
