//! Records: those of one transaction, gathered for the log. Invariant: put together in order, the parts are the records'
//! encoding, whether a value among them was copied or is shared with the table.

use std::sync::Arc;

use crate::log::record::{self, Record};
use crate::value::Deadline;

/// A value of at least this many bytes is shared with the log where it can be: below, to copy it costs less than to write it
/// in a piece of its own.
const SHARED_BYTES_MIN: usize = 64 * 1024;

/// The records of one transaction.
#[derive(Default)]
pub(crate) struct Records {
    /// All but the values that are shared.
    bytes: Vec<u8>,
    /// Where in `bytes` each of the shared values belongs.
    shared: Vec<(usize, Arc<Vec<u8>>)>,
    shared_bytes: usize,
}

/// A part of what is to be written.
pub(crate) enum Part {
    Bytes(Vec<u8>),
    Shared(Arc<Vec<u8>>),
}

impl Part {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Part::Bytes(bytes) => bytes,
            Part::Shared(shared) => shared,
        }
    }
}

impl Records {
    #[inline]
    pub(crate) fn push(&mut self, record: &Record<'_>) {
        record.encode(&mut self.bytes);
    }

    /// Adds a [`Record::Set`] with a value that the table shares.
    pub(crate) fn push_set(&mut self, keyspace: u32, key: &[u8], value: &Arc<Vec<u8>>, deadline: Option<Deadline>) {
        let deadline = deadline.map_or(0, Deadline::as_ms);
        if value.len() < SHARED_BYTES_MIN {
            return self.push(&Record::Set { keyspace, key, value, deadline });
        }
        let at = record::encode_set_without_value(keyspace, key, value.len(), deadline, &mut self.bytes);
        self.shared.push((at, Arc::clone(value)));
        self.shared_bytes += value.len();
    }

    /// Returns the length of their encoding.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() + self.shared_bytes
    }

    /// Returns their encoding, if no value in it is shared.
    #[inline]
    pub(crate) fn as_bytes(&self) -> Option<&[u8]> {
        self.shared.is_empty().then_some(&self.bytes)
    }

    /// Appends `head` and the encoding of these to `parts`.
    pub(crate) fn push_parts(&self, head: &[u8], parts: &mut Vec<Part>) {
        let (mut before, mut from) = (head.to_vec(), 0);
        for (at, value) in &self.shared {
            before.extend_from_slice(&self.bytes[from..*at]);
            parts.extend([Part::Bytes(std::mem::take(&mut before)), Part::Shared(Arc::clone(value))]);
            from = *at;
        }
        parts.push(Part::Bytes(self.bytes[from..].to_vec()));
    }

    /// Returns how many bytes of memory are kept for the next transaction.
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity() + self.shared.capacity() * size_of::<(usize, Arc<Vec<u8>>)>()
    }

    #[inline]
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        if !self.shared.is_empty() {
            self.shared.clear();
            self.shared_bytes = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_value_is_encoded_as_any_other() {
        let values = [SHARED_BYTES_MIN - 1, SHARED_BYTES_MIN, 1 << 17].map(|len| Arc::new(vec![7; len]));
        for deadline in [None, Some(Deadline::at_ms(u64::MAX))] {
            let (mut records, mut expected) = (Records::default(), Vec::new());
            let delete = Record::Delete { keyspace: 1, key: b"gone" };
            for (keyspace, value) in [1, 300, u32::MAX].into_iter().zip(&values) {
                let set = Record::Set { keyspace, key: b"key", value, deadline: deadline.map_or(0, Deadline::as_ms) };
                records.push_set(keyspace, b"key", value, deadline);
                records.push(&delete);
                set.encode(&mut expected);
                delete.encode(&mut expected);
            }
            let mut parts = Vec::new();
            records.push_parts(b"head", &mut parts);
            assert_eq!((records.len(), records.as_bytes(), parts.len()), (expected.len(), None, 5));
            let encoded: Vec<u8> = parts.iter().flat_map(|piece| piece.bytes().to_vec()).collect();
            assert_eq!(encoded, [b"head", &expected[..]].concat());
            records.clear();
            assert_eq!((records.len(), records.as_bytes()), (0, Some(&b""[..])));
        }
    }
}
