//! Recovered state: what a snapshot and the log are loaded into. Invariant: applying a record again, or to a state that already has
//! it, changes nothing more.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::Result;
use crate::hash::KeyHash;
use crate::log::frame;
use crate::log::record::Record;
use crate::log::segment_reader::Frame;
use crate::recovery::snapshot::{Block, Head};
use crate::table::access::AccessTime;
use crate::table::entry::Entry;
use crate::table::keyspace::KeyspaceInner;
use crate::value::{Deadline, Value};

const RANGE_BYTES_MAX: usize = 512 * 1024 * 1024;

/// Whether what is read is kept, or only looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LoadMode {
    Entries,
    Nothing,
}

pub(crate) struct RecoveredState {
    pub(crate) spaces: BTreeMap<u32, Arc<KeyspaceInner>>,
    pub(crate) next_keyspace: u32,
    pub(crate) hasher: KeyHash,
    /// The latest time in the files: the store's time goes on from there.
    pub(crate) floor_ms: u64,
    shards: usize,
    mode: LoadMode,
}

impl RecoveredState {
    pub(crate) fn empty(shards: usize, mode: LoadMode) -> Self {
        let hasher = KeyHash::with_seed(KeyHash::random_seed());
        RecoveredState { spaces: BTreeMap::new(), next_keyspace: 0, hasher, floor_ms: 0, shards, mode }
    }

    /// The keyspaces that a snapshot begins with, still empty.
    pub(crate) fn of(head: &Head, shards: usize, mode: LoadMode) -> Self {
        let hasher = KeyHash::with_seed(head.hash_seed);
        let spaces =
            head.keyspaces.iter().map(|(id, name)| (*id, Arc::new(KeyspaceInner::new(*id, name, shards)))).collect();
        // No number is given twice, whatever the head says.
        let after = head.keyspaces.iter().map(|(id, _)| id.saturating_add(1)).max().unwrap_or(0);
        RecoveredState {
            spaces,
            next_keyspace: head.next_keyspace.max(after),
            hasher,
            floor_ms: head.time_ms,
            shards,
            mode,
        }
    }

    /// Loads a block of a snapshot, all of it or, if it is damaged, nothing.
    pub(crate) fn load_block(&self, block: &Block) -> Result<()> {
        let mut records = block.records()?;
        let mut ready = Vec::new();
        while !records.is_empty() {
            match Record::decode(&mut records) {
                Ok(Record::Set { keyspace, key, value, deadline }) => {
                    let space =
                        self.spaces.get(&keyspace).ok_or_else(|| block.corrupt("it names an unknown keyspace"))?;
                    if self.mode == LoadMode::Entries {
                        ready.push((space, self.hasher.hash(key), Entry::new(key, value, deadline_of(deadline))));
                    }
                }
                _ => return Err(block.corrupt("it holds something else than entries")),
            }
        }
        // Entries come in runs of one shard: one lock a run.
        let mut ready = ready.into_iter().peekable();
        while let Some((space, hash, entry)) = ready.next() {
            let shard = space.shard_of(hash);
            let mut guard = space.write(shard);
            guard.put(&self.hasher, hash, entry, self.floor_ms, AccessTime::NONE, AccessTime::NONE);
            while let Some((_, hash, entry)) =
                ready.next_if(|(next, hash, _)| next.id == space.id && next.shard_of(*hash) == shard)
            {
                guard.put(&self.hasher, hash, entry, self.floor_ms, AccessTime::NONE, AccessTime::NONE);
            }
        }
        Ok(())
    }

    /// Makes a keyspace, or gives one that is there another name.
    pub(crate) fn bind(&mut self, keyspace: u32, name: &str) -> Result<(), &'static str> {
        // A snapshot that began before may hold the name already, and entries with it; or what has this number had
        // another name, until two keyspaces exchanged what they held.
        match self.spaces.get_mut(&keyspace).map(Arc::get_mut) {
            Some(Some(space)) => space.name = name.into(),
            Some(None) => return Err("a keyspace that is in use cannot be renamed"),
            None => drop(self.spaces.insert(keyspace, Arc::new(KeyspaceInner::new(keyspace, name, self.shards)))),
        }
        self.next_keyspace = self.next_keyspace.max(keyspace.saturating_add(1));
        Ok(())
    }

    /// Returns the value of a key, if it is there.
    pub(crate) fn value(&self, keyspace: u32, key: &[u8]) -> Option<Value> {
        let (space, hash) = (self.spaces.get(&keyspace)?, self.hasher.hash(key));
        let shard = space.read(space.shard_of(hash));
        shard.find(hash, key).map(|entry| entry.value().to_value())
    }

    /// Applies one record.
    pub(crate) fn apply(&mut self, record: &Record<'_>) -> Result<(), &'static str> {
        let (hasher, spaces, now_ms) = (&self.hasher, &self.spaces, self.floor_ms);
        let space = |id: u32| spaces.get(&id).ok_or("a record names an unknown keyspace");
        check(record)?;
        match *record {
            Record::Set { keyspace, .. }
            | Record::Delete { keyspace, .. }
            | Record::Deadline { keyspace, .. }
            | Record::Range { keyspace, .. }
                if self.mode == LoadMode::Nothing =>
            {
                space(keyspace)?;
            }
            Record::Copy { keyspace, from_keyspace, .. } if self.mode == LoadMode::Nothing => {
                space(from_keyspace)?;
                space(keyspace)?;
            }
            Record::Set { keyspace, key, value, deadline } => {
                let (space, hash) = (space(keyspace)?, hasher.hash(key));
                let entry = Entry::new(key, value, deadline_of(deadline));
                space.write(space.shard_of(hash)).put(hasher, hash, entry, now_ms, AccessTime::NONE, AccessTime::NONE);
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
                let mut shard = space.write(space.shard_of(hash));
                shard.replay_range(hash, key, offset as usize, bytes, len as usize);
            }
            Record::Copy { keyspace, key, from_keyspace, from, deadline } => {
                let space = space(keyspace)?;
                let value = self.value(from_keyspace, from).ok_or("a record copies a key that is not there")?;
                let (hash, entry) = (hasher.hash(key), Entry::of_value(key, value, deadline_of(deadline)));
                space.write(space.shard_of(hash)).put(hasher, hash, entry, now_ms, AccessTime::NONE, AccessTime::NONE);
            }
            Record::Flush { keyspace } => {
                let space = space(keyspace)?;
                for shard in 0..space.shard_count() {
                    space.write(shard).clear();
                }
            }
            Record::Bind { keyspace, name } => self.bind(keyspace, name)?,
            Record::Drop { keyspace } => drop(self.spaces.remove(&keyspace)),
            Record::Time { ms } => self.floor_ms = self.floor_ms.max(ms),
        }
        Ok(())
    }
}

/// Whether a record's numbers make sense.
fn check(record: &Record<'_>) -> Result<(), &'static str> {
    let Record::Range { offset, bytes, len, .. } = *record else { return Ok(()) };
    let end = usize::try_from(offset).ok().and_then(|offset| offset.checked_add(bytes.len()));
    let is_possible = usize::try_from(len).is_ok_and(|len| len <= RANGE_BYTES_MAX && end.is_some_and(|end| end <= len));
    if is_possible { Ok(()) } else { Err("a length is out of range") }
}

/// The transactions of a whole frame, in order, if all their records can be read and make sense: of a frame all is good
/// or nothing.
pub(crate) fn transactions_of<'a>(frame: &Frame<'a>) -> Result<Vec<&'a [u8]>, String> {
    let mut transactions = Vec::new();
    frame::transactions(&frame.header, frame.body, &mut transactions)?;
    let transactions: Vec<_> = transactions.into_iter().map(|(_, records)| records).collect();
    for mut records in transactions.iter().copied() {
        while !records.is_empty() {
            check(&decode(&mut records)?)?;
        }
    }
    Ok(transactions)
}

/// Takes the first record off `records`.
pub(crate) fn decode<'a>(records: &mut &'a [u8]) -> Result<Record<'a>, String> {
    Record::decode(records).map_err(|error| format!("a record cannot be read: {error}"))
}

fn deadline_of(ms: u64) -> Option<Deadline> {
    (ms != 0).then(|| Deadline::at_ms(ms))
}
