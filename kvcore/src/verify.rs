//! Verify: whether the files give back what memory holds. Invariant: both are looked at as they are at one moment, and
//! nothing is changed but that the log is made durable.

use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::recovery::load;
use crate::recovery::state::LoadMode;
use crate::storage::StorageDirectory;
use crate::table::entry::Entry;

/// Reads the newest snapshot and the log as an opener would after a crash now, and compares; returns how many keys there
/// are. Writers wait meanwhile.
pub(crate) fn verify(engine: &Engine, storage: &StorageDirectory) -> Result<u64> {
    // Before the shards, as whoever writes a snapshot: until it is let go no file is removed.
    let _writing = storage.snapshots.writing.lock();
    if engine.is_closed() {
        return Err(Error::Closed);
    }
    let _guard = engine.context.enter()?;
    loop {
        let mut spaces = engine.spaces();
        // In the order in which transactions lock.
        spaces.sort_unstable_by_key(|space| space.id);
        let shards: Vec<Vec<_>> =
            spaces.iter().map(|space| (0..space.shard_count()).map(|shard| space.read(shard)).collect()).collect();
        let registry = engine.registry.read();
        let mut named: Vec<u32> = registry.spaces().map(|space| space.id).collect();
        named.sort_unstable();
        if named.into_iter().ne(spaces.iter().map(|space| space.id)) {
            // One was made or dropped before all were locked.
            continue;
        }
        let mut writer = storage.wal.writer.lock();
        storage.wal.flush(&mut writer, true);
        storage.wal.health()?;
        let found = load::load(&*storage.dir, engine.shards, LoadMode::Entries)?.tables;
        let now_ms = engine.context.time.now_ms();
        let is_live = |entry: &Entry| !entry.has_passed(now_ms);
        let mut keys = 0;
        if let Some((_, more)) = found.spaces.iter().find(|(id, _)| !spaces.iter().any(|space| space.log_id() == **id))
        {
            return Err(Error::NotAsWritten { dir: storage.dir.path().to_owned(), keyspace: more.name.to_string() });
        }
        for (space, shards) in spaces.iter().zip(&shards) {
            let differs =
                || Error::NotAsWritten { dir: storage.dir.path().to_owned(), keyspace: space.name.to_string() };
            let read = found.spaces.get(&space.log_id()).filter(|read| read.name == space.name).ok_or_else(differs)?;
            let mut count = 0;
            read.each_shard(false, |shard| count += shard.iter().filter(|entry| is_live(entry)).count() as u64);
            // Each of what is held in what was read, and no more in that.
            for entry in shards.iter().flat_map(|shard| shard.iter()).filter(|entry| is_live(entry)) {
                let hash = found.hasher.hash(entry.key());
                let read = read.read(read.shard_of(hash));
                let is_same = |other: &Entry| {
                    other.deadline() == entry.deadline() && other.value().bytes() == entry.value().bytes()
                };
                if count == 0 || !read.find(hash, entry.key()).is_some_and(is_same) {
                    return Err(differs());
                }
                count -= 1;
                keys += 1;
            }
            if count > 0 {
                return Err(differs());
            }
        }
        return Ok(keys);
    }
}
