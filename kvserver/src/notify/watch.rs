//! WATCH: optimistic locking. Remembers who watches which key and marks the watchers when it changes.
//!
//! Invariant: a change of a watched key, whatever its origin, marks every watcher before the key's shard is unlocked.
//! EXEC reads the mark under that same lock, so no change can slip in between. While nobody watches, a change costs
//! one atomic load.

use std::collections::HashMap;
use std::sync::Arc;

use kvcore::Keyspace;
use kvcore::hooks::{Change, ChangeKind, Observer, Swap};

use crate::net::sync::Mutex;
use crate::net::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

#[cfg(all(test, shuttle))]
mod models;

/// Which keys are watched, and by whom.
#[derive(Debug, Default)]
pub(crate) struct WatchTable {
    /// Watched keys. Counted up before WATCH reads its key, so a later change sees it.
    count: AtomicUsize,
    /// By keyspace id.
    watchers: Mutex<HashMap<u32, WatchedKeys>>,
}

type WatchedKeys = HashMap<Box<[u8]>, Vec<Mark>>;

/// Set once something its owner watches has changed. One a session.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mark(Arc<AtomicBool>);

impl Mark {
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

impl WatchTable {
    /// Returns how many keys are watched.
    pub(crate) fn keys(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    /// Begins to watch a key, and returns whether it is there.
    pub(crate) fn watch(&self, keyspace: &Keyspace, key: &[u8], mark: &Mark) -> bool {
        // Watched first, looked at second: a change in between is noticed twice rather than not at all.
        self.add(keyspace.hooks().id(), key, mark);
        keyspace.hooks().peek(key, &mut |_| {}).unwrap_or(true)
    }

    fn add(&self, keyspace_id: u32, key: &[u8], mark: &Mark) {
        let mut watchers = self.watchers.lock();
        let marks = watchers.entry(keyspace_id).or_default().entry(key.into()).or_default();
        if marks.is_empty() {
            self.count.fetch_add(1, Ordering::SeqCst);
        }
        marks.push(mark.clone());
    }

    pub(crate) fn remove(&self, keyspace_id: u32, key: &[u8], mark: &Mark) {
        let mut watchers = self.watchers.lock();
        let Some(keys) = watchers.get_mut(&keyspace_id) else { return };
        let Some(marks) = keys.get_mut(key) else { return };
        marks.retain(|other| !Arc::ptr_eq(&other.0, &mark.0));
        if marks.is_empty() {
            keys.remove(key);
            if keys.is_empty() {
                // With the room that it had for many.
                watchers.remove(&keyspace_id);
            }
            self.count.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

impl Observer for WatchTable {
    fn is_interested(&self) -> bool {
        self.count.load(Ordering::SeqCst) != 0
    }

    fn changed(&self, change: &Change<'_>) {
        if !self.is_interested() {
            return;
        }
        // An emptied keyspace needs no mark: EXEC itself notices that a key which existed is gone, and one that comes
        // back afterwards is marked by its own change. Nor does one that expired, which may have been seen to be gone
        // when it was watched.
        if change.kind != ChangeKind::Expire
            && let Some(key) = change.key
            && let Some(marks) = self.watchers.lock().get(&change.keyspace_id).and_then(|keys| keys.get(key))
        {
            for mark in marks {
                mark.set();
            }
        }
    }

    /// A key that neither database holds is as it was, and so is one that had expired in both.
    fn swapped(&self, swap: &Swap<'_>) {
        if self.count.load(Ordering::SeqCst) == 0 {
            return;
        }
        let watchers = self.watchers.lock();
        for keys in swap.keyspaces.iter().filter_map(|(id, _)| watchers.get(id)) {
            for (_, marks) in keys.iter().filter(|(key, _)| (swap.holds)(key)) {
                marks.iter().for_each(Mark::set);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watching_ends_with_the_last_watcher() {
        let table = WatchTable::default();
        let (one, two) = (Mark::default(), Mark::default());
        table.add(0, b"k", &one);
        table.add(0, b"k", &two);
        table.remove(0, b"k", &one);
        assert_eq!(table.count.load(Ordering::SeqCst), 1);
        table.remove(0, b"k", &two);
        assert_eq!(table.count.load(Ordering::SeqCst), 0);
    }
}
