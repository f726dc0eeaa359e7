//! Snapshot: a whole store as one file. Invariant: a snapshot with its final name is complete, checksummed and durable, and
//! holds everything up to its start Lsn and nothing that is not in the log up to its end Lsn.
//!
//! The file is a row of blocks: length (4 bytes, little-endian), CRC-32 of the rest, begun with the block's number
//! (4 bytes), one byte for the kind (0 head, 1 entries, 2 foot), the body. The head and the foot are `bincode`, as are
//! the [records](crate::log::record) in the blocks between. A snapshot is fuzzy: its entries are as they were at some moment
//! between its start and its end, so the log is replayed over it from its start.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bincode::{Decode, Encode};

use crate::error::{Error, OTHER_VERSION, Result};
use crate::io::disk::{Directory, DiskFile};
use crate::log::record::Record;
use crate::lsn::{Lsn, NUMBER_MAX};
use crate::table::keyspace::KeyspaceInner;
use crate::table::scan::ShardPosition;

/// The only version that is read.
pub(crate) const VERSION: u32 = 2;
const BLOCK_HEADER_BYTES: usize = 8;
/// Entries are gathered to about this many bytes a block.
const BLOCK_BYTES: usize = 256 * 1024;
/// A block's body is never longer than the largest key, value and some change.
const BLOCK_BYTES_MAX: usize = 2 * 512 * 1024 * 1024 + BLOCK_BYTES + 4096;
/// A shard is locked for at most this many entries, and about this many bytes, at a time: a few microseconds, for which
/// a writer spins rather than sleeps.
const STEP_ENTRIES: usize = 32;
const STEP_BYTES: usize = 32 * 1024;

/// The end of a block whose length is damaged is looked for in steps of this many bytes, and so far: longer than that
/// is only a block with a large value.
const SEARCH_STEP_BYTES: usize = 64 * 1024;
const SEARCH_BYTES_MAX: u64 = 64 * 1024 * 1024;

const HEAD: u8 = 0;
const ENTRIES: u8 = 1;
const FOOT: u8 = 2;

/// What a snapshot begins with.
#[derive(Encode, Decode, Clone, Default, Debug)]
pub(crate) struct Head {
    pub(crate) version: u32,
    pub(crate) hash_seed: u64,
    pub(crate) start: u64,
    pub(crate) time_ms: u64,
    pub(crate) keyspaces: Vec<(u32, String)>,
    pub(crate) next_keyspace: u32,
    /// The store's id, the same in all its files.
    pub(crate) store: u64,
}

#[derive(Encode, Decode, Clone, Copy, Debug)]
pub(crate) struct Foot {
    pub(crate) end: u64,
    pub(crate) entries: u64,
}

/// What a snapshot is called until it is whole.
pub(crate) const UNNAMED_SNAPSHOT: &str = "snapshot.tmp";

/// The name of the snapshot that begins at an Lsn.
pub(crate) fn snapshot_name(start: Lsn) -> String {
    format!("snapshot-{:016x}.kvs", start.get())
}

/// The start Lsn in a snapshot's file name.
pub(crate) fn snapshot_start(name: &str) -> Option<Lsn> {
    let hex = name.strip_prefix("snapshot-")?.strip_suffix(".kvs")?;
    let start = (hex.len() == 16).then(|| u64::from_str_radix(hex, 16).ok())?.map(Lsn::new)?;
    // Only what we would have written: another spelling of the number, or one that no store comes to, is not ours.
    (start.get() <= NUMBER_MAX && snapshot_name(start) == name).then_some(start)
}

/// Writes one snapshot, from [`begin`](Self::begin) to [`finish`](Self::finish).
pub(crate) struct SnapshotWriter {
    dir: Arc<dyn Directory>,
    file: Box<dyn DiskFile>,
    start: Lsn,
    at: u64,
    block_number: u32,
    block: Vec<u8>,
    entries: u64,
    named: bool,
}

/// One that was given up must not keep the room that the log may need.
impl Drop for SnapshotWriter {
    fn drop(&mut self) {
        if !self.named {
            // The error that it was given up for is the one to tell; what is left goes when the store is opened.
            let _ = self.dir.remove(UNNAMED_SNAPSHOT);
        }
    }
}

/// What was written.
pub(crate) struct Written {
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
}

impl SnapshotWriter {
    /// Begins a snapshot of everything up to the head's start and perhaps later.
    pub(crate) fn begin(dir: Arc<dyn Directory>, head: &Head) -> Result<Self> {
        let creating = |error| Error::io(format!("create {}", dir.path().join(UNNAMED_SNAPSHOT).display()), error);
        let file = dir.create(UNNAMED_SNAPSHOT).map_err(creating)?;
        let mut writer = SnapshotWriter {
            dir,
            file,
            start: Lsn::new(head.start),
            at: 0,
            block_number: 0,
            block: Vec::new(),
            entries: 0,
            named: false,
        };
        writer.write_coded(HEAD, head)?;
        writer.start_block(ENTRIES);
        Ok(writer)
    }

    /// Writes what has this number in the log, locking one shard at a time for short steps. `holding` returns where it
    /// is now: two keyspaces may exchange what they hold between any two steps; a shard's table moves as it is, so a
    /// place in it stays good. Nothing is written of what was dropped. Gives up when the store is `closing`.
    pub(crate) fn write_keyspace(
        &mut self,
        log_id: u32,
        holding: &dyn Fn() -> Option<Arc<KeyspaceInner>>,
        closing: &dyn Fn() -> bool,
    ) -> Result<()> {
        let mut large = Vec::new();
        let Some(mut space) = holding() else { return Ok(()) };
        for shard in 0..space.shard_count() {
            if closing() {
                return Err(Error::Closed);
            }
            let mut position = Some(ShardPosition::default());
            while let Some(from) = position {
                let (mut left, block_from) = (STEP_ENTRIES, self.block.len());
                let mut ends = Vec::new();
                let guard = space.read(shard);
                if space.log_id() != log_id {
                    drop(guard);
                    let Some(moved) = holding() else { return Ok(()) };
                    space = moved;
                    continue;
                }
                // Tables are about half full.
                guard.warm(from.bucket, STEP_ENTRIES * 2);
                position = guard.scan(from, STEP_ENTRIES * 10, &mut |entry| {
                    let value = entry.value();
                    match value.shared() {
                        // Taken along, and written once the shard is free again.
                        Some(shared) => large.push((entry.key().to_vec(), value.deadline(), Arc::clone(shared))),
                        None => push(&mut self.block, log_id, entry.key(), &value, value.deadline()),
                    }
                    self.entries += 1;
                    if self.block.len() - ends.last().unwrap_or(&0) >= BLOCK_BYTES {
                        ends.push(self.block.len());
                    }
                    // Below none: a shard whose buckets keep moving is shown whole, whatever is returned here.
                    left = left.saturating_sub(1);
                    left > 0 && self.block.len() - block_from < STEP_BYTES
                });
                drop(guard);
                self.write_full_blocks(&ends)?;
                for (key, deadline, value) in large.drain(..) {
                    push(&mut self.block, log_id, &key, &value, deadline);
                    self.write_full_block()?;
                }
            }
        }
        Ok(())
    }

    /// Writes what has come to more than one block's bytes, as when a shard was shown whole, in blocks that end at `ends`.
    fn write_full_blocks(&mut self, ends: &[usize]) -> Result<()> {
        if ends.len() <= 1 {
            return self.write_full_block();
        }
        let gathered = std::mem::take(&mut self.block);
        let mut from = BLOCK_HEADER_BYTES + 1;
        for end in ends.iter().copied().chain([gathered.len()]) {
            self.start_block(ENTRIES);
            self.block.extend_from_slice(&gathered[from..end]);
            if end < gathered.len() {
                self.write_block()?;
            }
            from = end;
        }
        self.write_full_block()
    }

    fn write_full_block(&mut self) -> Result<()> {
        if self.block.len() >= BLOCK_BYTES { self.write_block() } else { Ok(()) }
    }

    /// Ends the file, makes it durable and gives it its name. The log must be durable up to `end` before.
    pub(crate) fn finish(mut self, end: Lsn) -> Result<Written> {
        self.write_block()?;
        let foot = Foot { end: end.get(), entries: self.entries };
        self.write_coded(FOOT, &foot)?;
        let (dir, name) = (Arc::clone(&self.dir), snapshot_name(self.start));
        let failed = |error| Error::io(format!("finish the snapshot {}", dir.path().join(&name).display()), error);
        self.file.sync().map_err(failed)?;
        dir.rename(UNNAMED_SNAPSHOT, &name).map_err(failed)?;
        self.named = true;
        dir.sync().map_err(failed)?;
        Ok(Written { entries: self.entries, bytes: self.at })
    }

    fn write_coded(&mut self, kind: u8, what: &impl Encode) -> Result<()> {
        self.start_block(kind);
        let coded = bincode::encode_to_vec(what, bincode::config::standard())
            .map_err(|error| Error::io("encode the snapshot", std::io::Error::other(error)))?;
        self.block.extend_from_slice(&coded);
        self.write_block()
    }

    fn start_block(&mut self, kind: u8) {
        self.block.clear();
        self.block.resize(BLOCK_HEADER_BYTES, 0);
        self.block.push(kind);
    }

    fn write_block(&mut self) -> Result<()> {
        let len = (self.block.len() - BLOCK_HEADER_BYTES) as u32;
        self.block[0..4].copy_from_slice(&len.to_le_bytes());
        let crc = checksum(self.block_number, &self.block[BLOCK_HEADER_BYTES..]);
        self.block[4..8].copy_from_slice(&crc.to_le_bytes());
        self.file
            .write_at(&self.block, self.at)
            .map_err(|error| Error::io(format!("write {}", self.dir.path().join(UNNAMED_SNAPSHOT).display()), error))?;
        self.at += self.block.len() as u64;
        self.block_number += 1;
        self.start_block(ENTRIES);
        Ok(())
    }
}

fn push(block: &mut Vec<u8>, keyspace: u32, key: &[u8], value: &[u8], deadline: Option<crate::value::Deadline>) {
    Record::Set { keyspace, key, value, deadline: deadline.map_or(0, |deadline| deadline.as_ms()) }.encode(block);
}

fn checksum(number: u32, body: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new_with_initial(number);
    crc.update(body);
    crc.finalize()
}

/// A snapshot being read. Every error is [`Error::Corrupt`] or the disk's.
pub(crate) struct SnapshotReader {
    pub(crate) path: PathBuf,
    file: Box<dyn DiskFile>,
    /// The file's length.
    pub(crate) len: u64,
    at: u64,
    block_number: u32,
    pub(crate) head: Head,
}

/// A block of entries, not yet checked: that can be done by another thread.
pub(crate) struct Block {
    path: Arc<Path>,
    at: u64,
    number: u32,
    crc: u32,
    body: Vec<u8>,
}

impl Block {
    /// Its records, if the checksum holds.
    pub(crate) fn records(&self) -> Result<&[u8]> {
        match self.body.split_first() {
            Some((&ENTRIES, records)) if checksum(self.number, &self.body) == self.crc => Ok(records),
            _ => Err(self.corrupt("a block's checksum does not match")),
        }
    }

    fn is_whole(&self) -> bool {
        checksum(self.number, &self.body) == self.crc
    }

    /// Its length in the file.
    pub(crate) fn len(&self) -> u64 {
        (BLOCK_HEADER_BYTES + self.body.len()) as u64
    }

    /// Where in the file it begins.
    pub(crate) fn offset(&self) -> u64 {
        self.at
    }

    pub(crate) fn corrupt(&self, why: &str) -> Error {
        Error::Corrupt { file: self.path.to_path_buf(), offset: self.at, why: why.to_owned() }
    }
}

impl SnapshotReader {
    pub(crate) fn open(dir: &dyn Directory, name: &str) -> Result<Self> {
        let path = dir.path().join(name);
        let reading = |error| Error::io(format!("read {}", path.display()), error);
        let file = dir.open(name).map_err(reading)?;
        let len = file.len().map_err(reading)?;
        let mut reader = SnapshotReader { path, file, len, at: 0, block_number: 0, head: Head::default() };
        let shared: Arc<Path> = reader.path.clone().into();
        let block = reader.next_block(&shared)?.ok_or_else(|| reader.corrupt("it is empty"))?;
        // The version alone first: what follows it is another version's own affair.
        if reader.coded::<u32>(&block, HEAD)? != VERSION {
            return Err(block.corrupt(OTHER_VERSION));
        }
        reader.head = reader.coded(&block, HEAD)?;
        let named = reader.path.file_name().and_then(|name| snapshot_start(name.to_str()?));
        if named.is_some_and(|start| start.get() != reader.head.start) {
            return Err(block.corrupt("its head names another start: files were swapped or renamed"));
        }
        if reader.head.start > NUMBER_MAX {
            return Err(block.corrupt("its start is out of range"));
        }
        Ok(reader)
    }

    /// Opens a snapshot whose head is damaged, or only its length. Returns whether the head is good: if it is not, all that
    /// is known of it is the start, from the file's name.
    pub(crate) fn open_damaged(dir: &dyn Directory, name: &str) -> Option<(Self, bool)> {
        let path = dir.path().join(name);
        let file = dir.open(name).ok()?;
        let len = file.len().ok()?;
        let start = snapshot_start(name)?.get();
        let mut reader = SnapshotReader { path, file, len, at: 0, block_number: 0, head: Head::default() };
        let shared: Arc<Path> = reader.path.clone().into();
        let block = reader.next_block_if_possible(&shared)?;
        match reader.coded::<Head>(&block, HEAD) {
            Ok(head) if head.version == VERSION && head.start == start => {
                reader.head = head;
                Some((reader, true))
            }
            // That it is a snapshot, and where the blocks begin, the next block proves.
            Err(_) if reader.at < len && reader.next_is_whole(&shared) => {
                reader.head = Head { version: VERSION, start, ..Head::default() };
                Some((reader, false))
            }
            _ => None,
        }
    }

    /// Behind the last block that was read.
    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    /// Reads all blocks of entries, giving each to `give`, and returns the foot.
    pub(crate) fn read(mut self, give: &mut dyn FnMut(Block)) -> Result<Foot> {
        let shared: Arc<Path> = self.path.clone().into();
        let mut previous: Option<Block> = None;
        // The last block is the foot, so each is handed on only when another follows.
        while let Some(block) = self.next_block(&shared)? {
            if let Some(entries) = previous.replace(block) {
                give(entries);
            }
        }
        match previous {
            Some(foot) => {
                let read: Foot = self.coded(&foot, FOOT)?;
                let is_possible = (self.head.start..=NUMBER_MAX).contains(&read.end);
                if is_possible { Ok(read) } else { Err(foot.corrupt("its end is before its start")) }
            }
            None => Err(self.corrupt("it ends after its head")),
        }
    }

    /// As [`read`](Self::read), of a snapshot that is damaged: gives all blocks, good or not, up to the first of which both
    /// the length and something else are damaged. `None` if the foot is not there.
    pub(crate) fn read_what_is_there(mut self, give: &mut dyn FnMut(Block)) -> Option<Foot> {
        let shared: Arc<Path> = self.path.clone().into();
        let mut previous: Option<Block> = None;
        while let Some(block) = self.next_block_if_possible(&shared) {
            if let Some(entries) = previous.replace(block) {
                give(entries);
            }
        }
        let last = previous?;
        let foot = self.coded(&last, FOOT).ok();
        if foot.is_none() {
            give(last);
        }
        foot.filter(|foot: &Foot| (self.head.start..=NUMBER_MAX).contains(&foot.end))
    }

    fn next_block(&mut self, path: &Arc<Path>) -> Result<Option<Block>> {
        if self.at == self.len {
            return Ok(None);
        }
        let mut head = [0; BLOCK_HEADER_BYTES];
        let header_bytes = self.read_at(&mut head, self.at)?;
        let len = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let left = self.len - self.at;
        if header_bytes < head.len() || len > BLOCK_BYTES_MAX || (BLOCK_HEADER_BYTES + len) as u64 > left {
            return Err(self.corrupt("a block is cut short"));
        }
        let mut body = vec![0; len];
        if self.read_at(&mut body, self.at + BLOCK_HEADER_BYTES as u64)? < len {
            return Err(self.corrupt("a block is cut short"));
        }
        let crc = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
        let block = Block { path: Arc::clone(path), at: self.at, number: self.block_number, crc, body };
        self.at += (BLOCK_HEADER_BYTES + len) as u64;
        self.block_number += 1;
        Ok(Some(block))
    }

    /// The next block, whole or not, of a snapshot that is damaged. If its length cannot be right, or nothing whole
    /// follows on it, it is as long as its checksum says.
    fn next_block_if_possible(&mut self, path: &Arc<Path>) -> Option<Block> {
        let before = (self.at, self.block_number);
        let block = self.next_block(path).ok();
        match block {
            Some(None) => return None,
            Some(Some(block)) if block.is_whole() || self.next_is_whole(path) => return Some(block),
            _ => {}
        }
        let after = (self.at, self.block_number);
        (self.at, self.block_number) = before;
        self.block_by_checksum(path).or_else(|| {
            (self.at, self.block_number) = after;
            block.flatten()
        })
    }

    /// Whether a whole block stands here, or the file ends.
    fn next_is_whole(&mut self, path: &Arc<Path>) -> bool {
        let before = (self.at, self.block_number);
        let next = self.next_block(path);
        (self.at, self.block_number) = before;
        next.is_ok_and(|block| block.is_none_or(|block| block.is_whole()))
    }

    /// The next block, if its length is all that is damaged: the first bytes that have its checksum, and on which a whole
    /// block follows. Nobody can have written these bytes as a value: they begin where the block does.
    fn block_by_checksum(&mut self, path: &Arc<Path>) -> Option<Block> {
        let (at, number) = (self.at, self.block_number);
        let mut head = [0; BLOCK_HEADER_BYTES];
        let read = self.read_at(&mut head, at).ok()?;
        if read < head.len() {
            return None;
        }
        let crc = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
        let begins = at + BLOCK_HEADER_BYTES as u64;
        let mut hasher = crc32fast::Hasher::new_with_initial(number);
        let (mut len, mut step) = (0, vec![0; SEARCH_STEP_BYTES]);
        while len < SEARCH_BYTES_MAX {
            let read = self.read_at(&mut step, begins + len).ok().filter(|read| *read > 0)?;
            for byte in &step[..read] {
                hasher.update(std::slice::from_ref(byte));
                len += 1;
                if hasher.clone().finalize() != crc {
                    continue;
                }
                (self.at, self.block_number) = (begins + len, number + 1);
                if self.next_is_whole(path) {
                    let mut body = vec![0; len as usize];
                    let whole = self.read_at(&mut body, begins).ok()? == body.len();
                    return whole.then(|| Block { path: Arc::clone(path), at, number, crc, body });
                }
                (self.at, self.block_number) = (at, number);
            }
        }
        None
    }

    fn coded<T: Decode<()>>(&self, block: &Block, kind: u8) -> Result<T> {
        match block.body.split_first() {
            Some((&found, coded)) if found == kind && checksum(block.number, &block.body) == block.crc => {
                bincode::decode_from_slice(coded, bincode::config::standard().with_limit::<{ 64 * 1024 * 1024 }>())
                    .map(|(what, _)| what)
                    .map_err(|error| block.corrupt(&error.to_string()))
            }
            _ => Err(block.corrupt("a block's checksum does not match, or the file is cut short")),
        }
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> Result<usize> {
        self.file.read_at(buffer, at).map_err(|error| Error::io(format!("read {}", self.path.display()), error))
    }

    fn corrupt(&self, why: &str) -> Error {
        Error::Corrupt { file: self.path.clone(), offset: self.at, why: why.to_owned() }
    }
}
