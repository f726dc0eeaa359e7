//! Entry: key, value and deadline of one element. Invariant: a small entry is one allocation of exactly its size.
//!
//! A packed entry is `[head: 4 bytes][deadline: 8 bytes, if any][key][value]`, integers little-endian; the head is the
//! key's length, with the highest bit set if there is a deadline.
//! Values of [`LARGE_VALUE_BYTES`] or more sit apart in a shared buffer with room to grow, so that appending is not
//! quadratic and a reader can take the buffer along instead of copying it under the lock.

use std::sync::Arc;

use crate::value::{Deadline, Value, ValueRef};

/// From this length on, a value is kept in a shared, growable buffer.
pub(crate) const LARGE_VALUE_BYTES: usize = 8 * 1024;

/// One element of a shard's table: 16 bytes there, the rest behind a pointer.
pub(crate) enum Entry {
    Packed(Box<[u8]>),
    Large(Box<LargeEntry>),
}

pub(crate) struct LargeEntry {
    key: Box<[u8]>,
    deadline: Option<Deadline>,
    value: Arc<Vec<u8>>,
    /// The number of the last snapshot while which the log was given the whole value.
    logged_in: u64,
}

const HEAD_BYTES: usize = 4;
const DEADLINE_BYTES: usize = 8;
/// A key has at most 512 MiB: the head's highest bit is free.
const HAS_DEADLINE: u32 = 1 << 31;

/// Where key and value of a packed entry lie; the deadline, if any, lies between the head and the key.
#[derive(Clone, Copy)]
struct Layout {
    key_at: usize,
    value_at: usize,
}

impl Layout {
    fn has_deadline(self) -> bool {
        self.key_at != HEAD_BYTES
    }
}

#[inline]
fn layout(packed: &[u8]) -> Layout {
    // Every packed entry has a head: the other arm only spares a panic.
    let head = packed.first_chunk().map_or(0, |head| u32::from_le_bytes(*head));
    let key_at = HEAD_BYTES + (head >> 31) as usize * DEADLINE_BYTES;
    Layout { key_at, value_at: key_at + (head & !HAS_DEADLINE) as usize }
}

impl Entry {
    /// Returns an entry with this value. A large one is shared with it.
    pub(crate) fn of_value(key: &[u8], value: Value, deadline: Option<Deadline>) -> Self {
        match value.shared() {
            Some(shared) => Entry::large(key, Arc::clone(shared), deadline),
            None => Entry::new(key, value.as_bytes(), deadline),
        }
    }

    pub(crate) fn new(key: &[u8], value: &[u8], deadline: Option<Deadline>) -> Self {
        if value.len() >= LARGE_VALUE_BYTES {
            return Entry::large(key, Arc::new(value.to_vec()), deadline);
        }
        let deadline_bytes = if deadline.is_some() { DEADLINE_BYTES } else { 0 };
        let mut packed = Vec::with_capacity(HEAD_BYTES + deadline_bytes + key.len() + value.len());
        let flag = if deadline.is_some() { HAS_DEADLINE } else { 0 };
        packed.extend_from_slice(&(key.len() as u32 | flag).to_le_bytes());
        if let Some(deadline) = deadline {
            packed.extend_from_slice(&deadline.as_ms().to_le_bytes());
        }
        packed.extend_from_slice(key);
        packed.extend_from_slice(value);
        Entry::Packed(packed.into_boxed_slice())
    }

    pub(crate) fn large(key: &[u8], value: Arc<Vec<u8>>, deadline: Option<Deadline>) -> Self {
        Entry::Large(Box::new(LargeEntry { key: key.into(), deadline, value, logged_in: 0 }))
    }

    /// Returns an entry of the same parts. A large value is shared.
    pub(crate) fn share(&self) -> Entry {
        match self {
            Entry::Packed(packed) => Entry::Packed(packed.clone()),
            Entry::Large(large) => Entry::large(&large.key, Arc::clone(&large.value), large.deadline),
        }
    }

    /// Whether the parts are the same. Large values are the same if they are one buffer: nobody writes into a buffer that
    /// is shared, so while both are held it has not changed either.
    pub(crate) fn is_same(&self, other: &Entry) -> bool {
        match (self, other) {
            (Entry::Packed(one), Entry::Packed(other)) => one == other,
            (Entry::Large(one), Entry::Large(other)) => {
                Arc::ptr_eq(&one.value, &other.value) && one.deadline == other.deadline && one.key == other.key
            }
            _ => false,
        }
    }

    #[inline]
    pub(crate) fn key(&self) -> &[u8] {
        match self {
            Entry::Packed(packed) => {
                let parts = layout(packed);
                &packed[parts.key_at..parts.value_at]
            }
            Entry::Large(large) => &large.key,
        }
    }

    #[inline]
    pub(crate) fn deadline(&self) -> Option<Deadline> {
        match self {
            Entry::Packed(packed) => {
                if !layout(packed).has_deadline() {
                    return None;
                }
                let bytes = packed[HEAD_BYTES..].first_chunk()?;
                Some(Deadline::at_ms(u64::from_le_bytes(*bytes)))
            }
            Entry::Large(large) => large.deadline,
        }
    }

    pub(crate) fn has_passed(&self, now_ms: u64) -> bool {
        self.deadline().is_some_and(|deadline| deadline.has_passed(now_ms))
    }

    #[inline]
    pub(crate) fn value(&self) -> ValueRef<'_> {
        match self {
            Entry::Packed(packed) => {
                ValueRef { bytes: &packed[layout(packed).value_at..], deadline: self.deadline(), shared: None }
            }
            Entry::Large(large) => {
                ValueRef { bytes: &large.value, deadline: large.deadline, shared: Some(&large.value) }
            }
        }
    }

    /// The value's place in a packed entry, when `value` and `deadline` fit over it without moving anything.
    #[inline]
    pub(crate) fn overwrite(&mut self, value: &[u8], deadline: Option<Deadline>, saved: &mut Vec<u8>) -> bool {
        let Entry::Packed(packed) = self else { return false };
        let parts = layout(packed);
        if packed.len() - parts.value_at != value.len() || parts.has_deadline() != deadline.is_some() {
            return false;
        }
        saved.extend_from_slice(&packed[parts.value_at..]);
        packed[parts.value_at..].copy_from_slice(value);
        if let Some(deadline) = deadline {
            packed[HEAD_BYTES..parts.key_at].copy_from_slice(&deadline.as_ms().to_le_bytes());
        }
        true
    }

    /// Changes the deadline where it stands; a packed entry that must gain or lose one is built anew.
    pub(crate) fn set_deadline(&mut self, deadline: Option<Deadline>) {
        match self {
            Entry::Large(large) => large.deadline = deadline,
            Entry::Packed(packed) => {
                let parts = layout(packed);
                match deadline {
                    Some(deadline) if parts.has_deadline() => {
                        packed[HEAD_BYTES..parts.key_at].copy_from_slice(&deadline.as_ms().to_le_bytes());
                    }
                    None if !parts.has_deadline() => {}
                    _ => *self = Entry::new(&packed[parts.key_at..parts.value_at], &packed[parts.value_at..], deadline),
                }
            }
        }
    }

    /// The growable buffer of a large value; copied first if a reader still holds it.
    pub(crate) fn large_value_mut(&mut self) -> Option<&mut Vec<u8>> {
        match self {
            Entry::Packed(_) => None,
            Entry::Large(large) => Some(Arc::make_mut(&mut large.value)),
        }
    }

    /// Returns the number of the last snapshot while which the log was given the whole of a large value; 0 for none.
    pub(crate) fn logged_in(&self) -> u64 {
        match self {
            Entry::Packed(_) => 0,
            Entry::Large(large) => large.logged_in,
        }
    }

    pub(crate) fn set_logged_in(&mut self, snapshot: u64) {
        if let Entry::Large(large) = self {
            large.logged_in = snapshot;
        }
    }

    /// Returns whether this is its key. Also reads a byte of its second cache line and its last byte, so that these are on their
    /// way while the processor still waits for the first line.
    #[inline]
    pub(crate) fn is_of(&self, key: &[u8]) -> bool {
        if let Entry::Packed(packed) = self {
            let second = packed.get(64).copied().unwrap_or(0);
            std::hint::black_box(packed.last().map(|last| last ^ second));
        }
        self.key() == key
    }

    /// The bytes that whoever uses the entry reads first.
    #[inline]
    pub(crate) fn near(&self) -> &[u8] {
        match self {
            Entry::Packed(packed) => packed,
            Entry::Large(large) => &large.key,
        }
    }

    /// Bytes this entry takes outside the table.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Entry::Packed(packed) => packed.len(),
            Entry::Large(large) => size_of::<LargeEntry>() + large.key.len() + large.value.capacity(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_costs_sixteen_bytes_in_the_table() {
        assert_eq!(size_of::<Entry>(), 16);
    }

    #[test]
    fn parts_come_back_as_they_went_in() {
        for key_len in [0, 1, 255, 256, 70_000] {
            for value_len in [0, 1, LARGE_VALUE_BYTES - 1, LARGE_VALUE_BYTES, 100_000] {
                for deadline in [None, Some(Deadline::at_ms(0)), Some(Deadline::at_ms(u64::MAX))] {
                    let (key, value) = (vec![b'k'; key_len], vec![b'v'; value_len]);
                    let mut entry = Entry::new(&key, &value, deadline);
                    assert_eq!((entry.key(), entry.value().bytes()), (&key[..], &value[..]));
                    assert_eq!(entry.deadline(), deadline);
                    for changed in [Some(Deadline::at_ms(7)), None, Some(Deadline::at_ms(9)), Some(Deadline::at_ms(10))]
                    {
                        entry.set_deadline(changed);
                        assert_eq!((entry.key(), entry.value().bytes()), (&key[..], &value[..]));
                        assert_eq!(entry.deadline(), changed);
                    }
                }
            }
        }
    }

    #[test]
    fn overwriting_keeps_the_old_value_for_undo() {
        let mut saved = Vec::new();
        let mut entry = Entry::new(b"key", b"old", None);
        assert!(entry.overwrite(b"new", None, &mut saved));
        assert_eq!((entry.key(), entry.value().bytes(), &saved[..]), (&b"key"[..], &b"new"[..], &b"old"[..]));
        assert!(!entry.overwrite(b"longer", None, &mut saved), "another length needs another allocation");
        assert!(
            !entry.overwrite(b"two", Some(Deadline::at_ms(1)), &mut saved),
            "so does a deadline that was not there"
        );
    }
}
