//! Recovery: from files to a store. Invariant: what was proven durable is loaded or the store refuses to open; only an
//! unfinished end of the log is cut, and that is said.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

use crate::disk::Disk;
use crate::entry::{Deadline, Entry};
use crate::error::{Error, Result};
use crate::frame::{self, ALIGNMENT, FrameHeader, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::hash::KeyHash;
use crate::lsn::Lsn;
use crate::record::Record;
use crate::segment::{Segment, UNNAMED_SEGMENT, segment_id, segment_name};
use crate::snapshot::{Block, SnapshotReader, UNNAMED_SNAPSHOT, snapshot_start};
use crate::space::Space;
use crate::stats::RecoveryReport;

/// Progress is told each time this many bytes of a file have been read.
const PROGRESS_BYTES: u64 = 256 * 1024 * 1024;

/// What the files held.
pub(crate) struct Recovered {
    pub(crate) spaces: BTreeMap<u32, Arc<Space>>,
    pub(crate) next_keyspace: u32,
    pub(crate) hasher: KeyHash,
    pub(crate) segments: VecDeque<Segment>,
    /// No segment has had this id.
    pub(crate) next_segment: u64,
    pub(crate) last: Lsn,
    /// The start of the snapshot that was loaded.
    pub(crate) snapshot_start: Lsn,
    /// Up to here the log must reach: the snapshot holds part of what lies between.
    snapshot_end: Lsn,
    pub(crate) snapshot_bytes: u64,
    /// The latest time in the files: the store's time goes on from there.
    pub(crate) floor_ms: u64,
    pub(crate) report: RecoveryReport,
}

/// Loads the newest good snapshot and replays the log over it.
pub(crate) fn recover(disk: &dyn Disk, dir: &Path, shards: usize) -> Result<Recovered> {
    let names = disk.list(dir).map_err(|error| Error::io(format!("list {}", dir.display()), error))?;
    let mut ids: Vec<u64> = names.iter().filter_map(|name| segment_id(name)).collect();
    ids.sort_unstable();
    let mut state = load_snapshot(disk, dir, shards, &names, &ids)?;
    replay(disk, dir, shards, &ids, &mut state)?;
    // Files that a crash left unfinished; they never had a name that counts.
    for leftover in names.iter().filter(|name| [UNNAMED_SEGMENT, UNNAMED_SNAPSHOT].contains(&name.as_str())) {
        let path = dir.join(leftover);
        disk.remove(&path).map_err(|error| Error::io(format!("remove {}", path.display()), error))?;
    }
    state.next_segment = ids.last().map_or(1, |id| id + 1);
    Ok(state)
}

fn empty() -> Recovered {
    Recovered {
        spaces: BTreeMap::new(),
        next_keyspace: 0,
        hasher: KeyHash::with_seed(KeyHash::random_seed()),
        segments: VecDeque::new(),
        next_segment: 1,
        last: Lsn::ZERO,
        snapshot_start: Lsn::ZERO,
        snapshot_end: Lsn::ZERO,
        snapshot_bytes: 0,
        floor_ms: 0,
        report: RecoveryReport::default(),
    }
}

/// The state in the newest snapshot that is good; an older one only if the log reaches back to its start.
fn load_snapshot(disk: &dyn Disk, dir: &Path, shards: usize, names: &[String], ids: &[u64]) -> Result<Recovered> {
    let mut snapshots: Vec<(Lsn, &String)> =
        names.iter().filter_map(|name| Some((snapshot_start(name)?, name))).collect();
    snapshots.sort_unstable();
    let mut first_error = None;
    let log_begins = match ids.first() {
        Some(id) => Some(read_segment_header(disk, &dir.join(segment_name(*id)), *id)?.first),
        None => None,
    };
    let reaches = |start: Lsn| log_begins.is_some_and(|first| first <= start.next());
    while let Some((start, name)) = snapshots.pop() {
        if first_error.is_some() && !reaches(start) {
            break;
        }
        match read_snapshot(disk, dir.join(name), shards) {
            Ok(state) => return Ok(state),
            Err(error @ Error::Corrupt { .. }) => {
                tracing::warn!("{error}");
                first_error.get_or_insert(error);
            }
            Err(error) => return Err(error),
        }
    }
    match first_error {
        Some(error) if !reaches(Lsn::ZERO) => Err(error),
        _ => Ok(empty()),
    }
}

fn read_snapshot(disk: &dyn Disk, path: PathBuf, shards: usize) -> Result<Recovered> {
    tracing::info!("loading {}", path.display());
    let bytes = disk
        .open(&path)
        .and_then(|file| file.len())
        .map_err(|error| Error::io(format!("read {}", path.display()), error))?;
    let reader = SnapshotReader::open(disk, path)?;
    let head = reader.head.clone();
    let mut state = Recovered {
        next_keyspace: head.next_keyspace,
        hasher: KeyHash::with_seed(head.hash_seed),
        last: Lsn::new(head.start),
        snapshot_start: Lsn::new(head.start),
        snapshot_bytes: bytes,
        floor_ms: head.time_ms,
        ..empty()
    };
    for (id, name) in &head.keyspaces {
        state.spaces.insert(*id, Arc::new(Space::new(*id, name, shards)));
    }
    let (spaces, hasher, now_ms) = (&state.spaces, &state.hasher, state.floor_ms);
    // One thread reads; the others check, decode and insert, as many as there are processors.
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(8);
    let foot = std::thread::scope(|scope| {
        let (sender, receiver) = mpsc::sync_channel::<Block>(workers * 4);
        let receiver = Arc::new(parking_lot::Mutex::new(receiver));
        let mut loaders = Vec::with_capacity(workers);
        for _ in 0..workers {
            let receiver = Arc::clone(&receiver);
            loaders.push(scope.spawn(move || -> Result<()> {
                let mut outcome = Ok(());
                loop {
                    let next = receiver.lock().recv();
                    let Ok(block) = next else { return outcome };
                    // After a failure the rest is still taken, so that the reader does not wait for ever.
                    if outcome.is_ok() {
                        outcome = load_block(&block, spaces, hasher, now_ms);
                    }
                }
            }));
        }
        let mut told = 0;
        let foot = reader.read(&mut |block| {
            if block.offset() >= told + PROGRESS_BYTES {
                told = block.offset();
                tracing::info!("loading the snapshot: {told} of {bytes} bytes");
            }
            // The receivers outlive the sender: this can only fail after one of them panicked, which is told below.
            let _ = sender.send(block);
        });
        drop(sender);
        for loader in loaders {
            loader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        foot
    })?;
    state.report.snapshot_entries = foot.entries;
    state.snapshot_end = Lsn::new(foot.end);
    Ok(state)
}

fn load_block(block: &Block, spaces: &BTreeMap<u32, Arc<Space>>, hasher: &KeyHash, now_ms: u64) -> Result<()> {
    let mut records = block.records()?;
    let mut ready = Vec::new();
    while !records.is_empty() {
        match Record::decode(&mut records) {
            Ok(Record::Set { keyspace, key, value, deadline }) => {
                let space = spaces.get(&keyspace).ok_or_else(|| block.corrupt("it names an unknown keyspace"))?;
                ready.push((space, hasher.hash(key), Entry::new(key, value, deadline_of(deadline))));
            }
            _ => return Err(block.corrupt("it holds something else than entries")),
        }
    }
    // Entries come in runs of one shard: one lock a run.
    let mut ready = ready.into_iter().peekable();
    while let Some((space, hash, entry)) = ready.next() {
        let shard = space.shard_of(hash);
        let mut guard = space.write(shard);
        guard.put(hasher, hash, entry, now_ms);
        while let Some((_, hash, entry)) =
            ready.next_if(|(next, hash, _)| next.id == space.id && next.shard_of(*hash) == shard)
        {
            guard.put(hasher, hash, entry, now_ms);
        }
    }
    Ok(())
}

fn deadline_of(ms: u64) -> Option<Deadline> {
    (ms != 0).then(|| Deadline::at_ms(ms))
}

fn read_segment_header(disk: &dyn Disk, path: &Path, id: u64) -> Result<SegmentHeader> {
    let mut head = [0; SEGMENT_HEADER_BYTES];
    let read = disk
        .open(path)
        .and_then(|file| file.read_at(&mut head, 0))
        .map_err(|error| Error::io(format!("read {}", path.display()), error))?;
    check_segment_header(path, id, &head[..read])
}

fn check_segment_header(path: &Path, id: u64, bytes: &[u8]) -> Result<SegmentHeader> {
    let corrupt = |why: &str| Error::Corrupt { file: path.to_owned(), offset: 0, why: why.to_owned() };
    let header = SegmentHeader::decode(bytes).map_err(corrupt)?;
    if header.id != id {
        return Err(corrupt("its header names another segment: files were swapped or renamed"));
    }
    Ok(header)
}

/// Replays every segment over what the snapshot gave, and cuts an unfinished end.
fn replay(disk: &dyn Disk, dir: &Path, shards: usize, ids: &[u64], state: &mut Recovered) -> Result<()> {
    let start = state.last;
    let (mut next, mut told) = (None, 0);
    for (i, &id) in ids.iter().enumerate() {
        let path = dir.join(segment_name(id));
        let reading = |error| Error::io(format!("read {}", path.display()), error);
        let corrupt = |offset: usize, why: &str| Error::Corrupt {
            file: path.clone(),
            offset: offset as u64,
            why: why.to_owned(),
        };
        let file = disk.open(&path).map_err(reading)?;
        let mut bytes = vec![0; file.len().map_err(reading)? as usize];
        let read = file.read_at(&mut bytes, 0).map_err(reading)?;
        bytes.truncate(read);
        let header = check_segment_header(&path, id, &bytes)?;
        match next {
            None if header.first > start.next() => {
                return Err(corrupt(0, "the log before it is missing, and no snapshot covers it"));
            }
            Some(next) if header.first != next => {
                return Err(corrupt(0, "it does not follow on the segment before: part of the log is missing"));
            }
            _ => {}
        }
        let mut at = SEGMENT_HEADER_BYTES;
        let mut expected = header.first;
        let mut transactions = Vec::new();
        while let Some((frame, body, taken)) = next_frame(id, &bytes[at..], expected) {
            frame::transactions(&frame, body, &mut transactions).map_err(|why| corrupt(at, why))?;
            state.floor_ms = state.floor_ms.max(frame.time_ms);
            for &(_, mut records) in &transactions {
                if expected > start {
                    while !records.is_empty() {
                        let record = Record::decode(&mut records)
                            .map_err(|error| corrupt(at, &format!("a record cannot be read: {error}")))?;
                        apply(&record, shards, state).map_err(|why| corrupt(at, why))?;
                    }
                    state.report.replayed += 1;
                }
                expected = expected.next();
            }
            at += taken;
        }
        let is_last = i + 1 == ids.len();
        let torn = bytes[at..].iter().any(|byte| *byte != 0);
        if torn {
            if !is_last {
                return Err(corrupt(at, "a frame is damaged, and a later segment proves that it was whole"));
            }
            if let Some(proof) = proof_of_durability(id, &bytes, at, expected) {
                return Err(corrupt(at, &format!("a frame is damaged, and one at byte {proof} proves it was whole")));
            }
            let cut = bytes.len() - at;
            tracing::warn!("{}: an unfinished write of at most {cut} bytes at byte {at} was cut", path.display());
            state.report.cut_bytes += cut as u64;
        }
        if is_last && expected <= state.snapshot_end {
            return Err(corrupt(at, "the log ends here, but a snapshot proves that it went on"));
        }
        if is_last && at < bytes.len() {
            // What follows a new segment must be nothing, or it would one day look like damage.
            file.truncate(at as u64)
                .and_then(|()| file.sync())
                .map_err(|error| Error::io(format!("cut {}", path.display()), error))?;
        }
        if is_last && at == SEGMENT_HEADER_BYTES {
            disk.remove(&path).map_err(|error| Error::io(format!("remove {}", path.display()), error))?;
        } else {
            state.segments.push_back(Segment { id, first: header.first, bytes: at as u64 });
        }
        next = Some(expected);
        told += at as u64;
        if told >= PROGRESS_BYTES {
            told = 0;
            tracing::info!("replaying the log: segment {} of {}", i + 1, ids.len());
        }
    }
    match next {
        Some(next) => state.last = Lsn::new(next.get() - 1),
        None if state.snapshot_end > start => {
            let why = "the log that goes with the snapshot is missing".to_owned();
            return Err(Error::Corrupt { file: dir.to_owned(), offset: 0, why });
        }
        None => {}
    }
    Ok(())
}

/// The frame at the start of `bytes`, if it is whole and the next in order.
fn next_frame(segment: u64, bytes: &[u8], expected: Lsn) -> Option<(FrameHeader, &[u8], usize)> {
    frame::decode(segment, bytes).filter(|(frame, ..)| frame.first == expected)
}

/// Where after `at` a whole frame stands that was written when `lost` was already durable.
fn proof_of_durability(segment: u64, bytes: &[u8], at: usize, lost: Lsn) -> Option<usize> {
    (at..bytes.len())
        .step_by(ALIGNMENT)
        .find(|&later| frame::decode(segment, &bytes[later..]).is_some_and(|(frame, ..)| frame.durable >= lost))
}

/// Applies one record. Applying it again, or to a state that already has it, changes nothing more.
fn apply(record: &Record<'_>, shards: usize, state: &mut Recovered) -> std::result::Result<(), &'static str> {
    let (hasher, spaces, now_ms) = (&state.hasher, &state.spaces, state.floor_ms);
    let space = |id: u32| spaces.get(&id).ok_or("a record names an unknown keyspace");
    match *record {
        Record::Set { keyspace, key, value, deadline } => {
            let (space, hash) = (space(keyspace)?, hasher.hash(key));
            space.write(space.shard_of(hash)).put(hasher, hash, Entry::new(key, value, deadline_of(deadline)), now_ms);
        }
        Record::Delete { keyspace, key } => {
            let (space, hash) = (space(keyspace)?, hasher.hash(key));
            space.write(space.shard_of(hash)).take(hasher, hash, key);
        }
        Record::Deadline { keyspace, key, deadline } => {
            let (space, hash) = (space(keyspace)?, hasher.hash(key));
            space.write(space.shard_of(hash)).set_deadline(hasher, hash, key, deadline_of(deadline), now_ms);
        }
        Record::Range { keyspace, key, offset, bytes, len } => {
            let (space, hash) = (space(keyspace)?, hasher.hash(key));
            let len = usize::try_from(len).map_err(|_| "a length is out of range")?;
            let end = usize::try_from(offset).ok().and_then(|offset| offset.checked_add(bytes.len()));
            if end.is_none_or(|end| end > len) || len > 512 * 1024 * 1024 {
                return Err("a length is out of range");
            }
            space.write(space.shard_of(hash)).replay_range(hash, key, offset as usize, bytes, len);
        }
        Record::Flush { keyspace } => {
            let space = space(keyspace)?;
            for shard in 0..space.shard_count() {
                space.write(shard).clear();
            }
        }
        Record::Bind { keyspace, name } => {
            // A snapshot that began before may hold the name already, and entries with it; or what has this number had
            // another name, until two keyspaces exchanged what they held.
            match state.spaces.get_mut(&keyspace).map(Arc::get_mut) {
                Some(Some(space)) => space.name = name.into(),
                Some(None) => return Err("a keyspace that is in use cannot be renamed"),
                None => drop(state.spaces.insert(keyspace, Arc::new(Space::new(keyspace, name, shards)))),
            }
            state.next_keyspace = state.next_keyspace.max(keyspace.saturating_add(1));
        }
        Record::Drop { keyspace } => {
            state.spaces.remove(&keyspace);
        }
        Record::Time { ms } => state.floor_ms = state.floor_ms.max(ms),
    }
    Ok(())
}
