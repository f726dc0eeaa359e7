//! The store as a plain ordered map: what every real one must look like from outside.
//!
//! Invariant: it is too simple to be wrong. No cleverness, no sharing, no I/O; an expired entry is removed by the
//! first call that sees a later time, and time moves only when told.

use std::collections::BTreeMap;

/// What a key holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The value's bytes.
    pub value: Vec<u8>,
    /// When it ends, in Unix milliseconds; at that very millisecond it is gone. `None`: it stays.
    pub deadline_ms: Option<u64>,
}

/// One keyspace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    entries: BTreeMap<Vec<u8>, Entry>,
    now_ms: u64,
}

/// The value was no 64-bit integer, or the sum would be none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoInteger;

impl Model {
    /// An empty one, at the time `now_ms` (Unix milliseconds).
    pub fn at(now_ms: u64) -> Self {
        Model { entries: BTreeMap::new(), now_ms }
    }

    /// Moves time to `now_ms`, never backwards, and drops what has expired.
    pub fn advance_to(&mut self, now_ms: u64) {
        self.now_ms = self.now_ms.max(now_ms);
        let now_ms = self.now_ms;
        self.entries.retain(|_, entry| entry.deadline_ms.is_none_or(|deadline| deadline > now_ms));
    }

    /// The time it is at, in Unix milliseconds.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// What `key` holds.
    pub fn get(&self, key: &[u8]) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// Sets `key`; answers what it held. A deadline that has passed removes it.
    pub fn set(&mut self, key: &[u8], value: &[u8], deadline_ms: Option<u64>) -> Option<Entry> {
        let old = self.entries.insert(key.to_vec(), Entry { value: value.to_vec(), deadline_ms });
        self.advance_to(self.now_ms);
        old
    }

    /// Sets `key`'s deadline; answers whether there was such a key. A deadline that has passed removes it.
    pub fn set_deadline(&mut self, key: &[u8], deadline_ms: Option<u64>) -> bool {
        let Some(entry) = self.entries.get_mut(key) else {
            return false;
        };
        entry.deadline_ms = deadline_ms;
        self.advance_to(self.now_ms);
        true
    }

    /// Removes `key`; answers what it held.
    pub fn delete(&mut self, key: &[u8]) -> Option<Entry> {
        self.entries.remove(key)
    }

    /// Appends to `key`, which may be new, and keeps its deadline; answers the new length.
    pub fn append(&mut self, key: &[u8], tail: &[u8]) -> usize {
        let entry = self.entries.entry(key.to_vec()).or_insert(Entry { value: Vec::new(), deadline_ms: None });
        entry.value.extend_from_slice(tail);
        entry.value.len()
    }

    /// Adds to the integer that `key` holds (0 when it is new) and keeps its deadline; answers the sum.
    ///
    /// # Errors
    ///
    /// [`NoInteger`]; the value is as it was.
    pub fn increment(&mut self, key: &[u8], by: i64) -> Result<i64, NoInteger> {
        let old = match self.entries.get(key) {
            None => 0,
            Some(entry) => integer(&entry.value).ok_or(NoInteger)?,
        };
        let sum = old.checked_add(by).ok_or(NoInteger)?;
        let entry = self.entries.entry(key.to_vec()).or_insert(Entry { value: Vec::new(), deadline_ms: None });
        entry.value = sum.to_string().into_bytes();
        Ok(sum)
    }

    /// Removes everything; answers how many keys there were.
    pub fn flush(&mut self) -> usize {
        let count = self.entries.len();
        self.entries.clear();
        count
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Every key with what it holds, in the keys' byte order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &Entry)> {
        self.entries.iter().map(|(key, entry)| (key.as_slice(), entry))
    }
}

/// The integer that `text` spells, if it is the one way in which Redis itself would spell it.
fn integer(text: &[u8]) -> Option<i64> {
    let number: i64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (number.to_string().as_bytes() == text).then_some(number)
}
