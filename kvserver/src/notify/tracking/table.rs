//! Who may hold which key in a cache of its own: the tracking table.
//!
//! Invariant: the table forgets a key when it says that the key has changed: a client that reads it again is entered
//! again. Ids of clients that are gone stay until their key changes or its list would grow.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use kvcore::hooks::Lsn;
use smallvec::SmallVec;

use crate::clients::Address;
use crate::notify::mailbox::{Stale, StaleKeys, TrackedChange};

/// A message for the client `tracker`, or for whom it redirects its messages to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) tracker: u64,
    pub(crate) stale: Stale,
    pub(crate) lsn: Lsn,
}

/// How much there is, for INFO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) keys: usize,
    /// Readers over all keys.
    pub(crate) items: usize,
    pub(crate) prefixes: usize,
    pub(crate) clients: usize,
}

/// A client that tracks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tracker {
    pub(crate) address: Address,
    /// The client that is told in its place; 0 if it is told itself.
    pub(crate) redirect: u64,
    /// It asked for all keys with certain prefixes, whether it read them or not.
    pub(crate) broadcast: bool,
    /// It need not be told of what it did itself.
    pub(crate) no_loop: bool,
}

/// The clients that read a key, and where the key stands in `order`.
#[derive(Debug)]
struct Readers {
    at: usize,
    ids: SmallVec<[u64; 2]>,
}

/// What a key takes beside its name: its places in `keys` and `order`, and its first two readers.
const KEY_BYTES: usize = 128;

/// The tracking table of a server.
#[derive(Debug, Default)]
pub(crate) struct Table {
    keys: HashMap<Arc<[u8]>, Readers>,
    /// All keys in no order, so that one can be picked at random.
    order: Vec<Arc<[u8]>>,
    /// Readers over all keys.
    items: usize,
    /// Of all keys' names.
    name_bytes: usize,
    prefixes: BTreeMap<Box<[u8]>, BTreeSet<u64>>,
    trackers: HashMap<u64, Tracker>,
}

impl Table {
    pub(crate) fn key_count(&self) -> usize {
        self.keys.len()
    }

    /// Returns what the keys take in memory, and who read them.
    pub(crate) fn bytes(&self) -> usize {
        self.name_bytes + self.keys.len() * KEY_BYTES + self.items * size_of::<u64>()
    }

    pub(crate) fn totals(&self) -> Totals {
        let Table { keys, items, prefixes, trackers, .. } = self;
        Totals { keys: keys.len(), items: *items, prefixes: prefixes.len(), clients: trackers.len() }
    }

    pub(crate) fn tracker(&self, id: u64) -> Option<Tracker> {
        self.trackers.get(&id).copied()
    }

    /// Enters a client, or changes how it tracks.
    pub(crate) fn start(&mut self, id: u64, tracker: Tracker, prefixes: &BTreeSet<Box<[u8]>>) {
        self.trackers.insert(id, tracker);
        for prefix in prefixes {
            self.prefixes.entry(prefix.clone()).or_default().insert(id);
        }
    }

    /// Forgets a client that tracked these prefixes.
    pub(crate) fn stop(&mut self, id: u64, prefixes: &BTreeSet<Box<[u8]>>) {
        self.trackers.remove(&id);
        if self.trackers.is_empty() {
            // From now on no change is noted, so nothing here would be taken out.
            self.forget_keys();
        }
        for prefix in prefixes {
            if let Some(ids) = self.prefixes.get_mut(prefix) {
                ids.remove(&id);
                if ids.is_empty() {
                    self.prefixes.remove(prefix);
                }
            }
        }
    }

    /// A client reads a key; answers whether it did not hold it before.
    pub(crate) fn remember(&mut self, key: &[u8], id: u64) -> bool {
        let Some(readers) = self.keys.get_mut(key) else {
            let key: Arc<[u8]> = key.into();
            self.name_bytes += key.len();
            self.order.push(key.clone());
            self.keys.insert(key, Readers { at: self.order.len() - 1, ids: SmallVec::from_slice(&[id]) });
            self.items += 1;
            return true;
        };
        if readers.ids.contains(&id) {
            return false;
        }
        if readers.ids.len() == readers.ids.capacity() {
            let before = readers.ids.len();
            readers.ids.retain(|id| self.trackers.contains_key(id));
            self.items -= before - readers.ids.len();
        }
        readers.ids.push(id);
        self.items += 1;
        true
    }

    /// Takes a key out, with those who read it.
    fn take(&mut self, key: &[u8]) -> SmallVec<[u64; 2]> {
        let Some(readers) = self.keys.remove(key) else { return SmallVec::new() };
        self.order.swap_remove(readers.at);
        if let Some(moved) = self.order.get(readers.at)
            && let Some(other) = self.keys.get_mut(moved)
        {
            other.at = readers.at;
        }
        self.items -= readers.ids.len();
        self.name_bytes -= key.len();
        readers.ids
    }

    /// Tells who has to hear of these changes, in their order; what was broadcast comes last, a message a prefix.
    pub(crate) fn tell(&mut self, events: &[TrackedChange], notices: &mut Vec<Notice>) {
        // Several keyspaces emptied at once are one message, which waits for the last of them.
        let flush_lsn = events.iter().filter(|event| event.key.is_none()).map(|event| event.lsn).max();
        let mut flushed = false;
        for event in events {
            match (&event.key, flush_lsn) {
                (Some(key), _) => self.tell_readers(key, event.origin, event.lsn, notices),
                (None, Some(lsn)) if !flushed => {
                    flushed = true;
                    self.forget_keys();
                    notices.extend(self.trackers.keys().map(|id| Notice { tracker: *id, stale: Stale::All, lsn }));
                }
                (None, _) => {}
            }
        }
        if !self.prefixes.is_empty() {
            self.broadcast(events, notices);
        }
    }

    fn forget_keys(&mut self) {
        self.keys = HashMap::new();
        self.order = Vec::new();
        (self.items, self.name_bytes) = (0, 0);
    }

    fn tell_readers(&mut self, key: &[u8], origin: u64, lsn: Lsn, notices: &mut Vec<Notice>) {
        let readers = self.take(key);
        if readers.is_empty() {
            return;
        }
        let keys: StaleKeys = Arc::new([key.into()]);
        for id in readers {
            if let Some(tracker) = self.trackers.get(&id)
                // It may have read the key before it asked for prefixes instead.
                && !tracker.broadcast
                && !(tracker.no_loop && id == origin)
            {
                notices.push(Notice { tracker: id, stale: Stale::Keys(keys.clone()), lsn });
            }
        }
    }

    fn broadcast(&self, events: &[TrackedChange], notices: &mut Vec<Notice>) {
        // Each key once; it was the last change that tells whose doing it was.
        let mut changed: BTreeMap<&[u8], (u64, Lsn)> = BTreeMap::new();
        for event in events {
            if let Some(key) = &event.key {
                let (origin, lsn) = changed.entry(key).or_default();
                (*origin, *lsn) = (event.origin, event.lsn.max(*lsn));
            }
        }
        for (prefix, ids) in &self.prefixes {
            let with_prefix = || changed.range(&**prefix..).take_while(|(key, _)| key.starts_with(prefix));
            let list = |spared: u64| -> Option<(StaleKeys, Lsn)> {
                let told = || with_prefix().filter(|(_, (origin, _))| spared == 0 || *origin != spared);
                let lsn = told().map(|(_, (_, lsn))| *lsn).max()?;
                Some((told().map(|(key, _)| Box::from(*key)).collect(), lsn))
            };
            let Some(all) = list(0) else { continue };
            for (id, tracker) in ids.iter().filter_map(|id| Some((*id, self.trackers.get(id)?))) {
                let told = if tracker.no_loop { list(id) } else { Some(all.clone()) };
                if let Some((keys, lsn)) = told {
                    notices.push(Notice { tracker: id, stale: Stale::Keys(keys), lsn });
                }
            }
        }
    }

    /// Forgets keys at random until there are at most `max`, which take at most `bytes_max`; their readers are notified as if
    /// they had changed.
    pub(crate) fn shrink_to(&mut self, max: usize, bytes_max: usize, notices: &mut Vec<Notice>) {
        while self.order.len() > max || (self.bytes() > bytes_max && !self.order.is_empty()) {
            let at = fastrand::usize(..self.order.len());
            let key = self.order[at].clone();
            self.tell_readers(&key, 0, Lsn::ZERO, notices);
        }
        if self.order.capacity() > 4 * self.order.len() + 64 {
            self.order.shrink_to_fit();
            self.keys.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests;
