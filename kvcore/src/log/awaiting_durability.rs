//! Awaiting durability: which keys are in doubt while the log takes no writes. Invariant: what memory holds of a key that is not in
//! doubt is on stable storage, or was never anything else.
//!
//! A shard remembers one Lsn for all its keys. That is enough while the log goes on, since it soon passes that Lsn; when it
//! does not go on, a single write would keep every key of its shard from being read.

use std::collections::HashSet;

use crate::log::frame::{FrameHeader, transactions};
use crate::log::record::Record;
use crate::lsn::Lsn;

pub(crate) enum AwaitingDurability {
    All,
    /// Of whichever keyspace.
    Keys(HashSet<Box<[u8]>>),
}

impl AwaitingDurability {
    /// `body` holds the transactions that were appended and are not durable: all after `durable` up to `last`, in any order.
    pub(crate) fn of(body: &[u8], durable: Lsn, last: Lsn) -> Self {
        let count = last.get().saturating_sub(durable.get()) as u32;
        let header = FrameHeader { first: durable.next(), count, time_ms: 0, durable };
        let mut sorted = Vec::new();
        if transactions(&header, body, &mut sorted).is_err() {
            // Some were handed on before, and are not here any more.
            return AwaitingDurability::All;
        }
        let mut keys = HashSet::new();
        for (_, mut records) in sorted {
            while !records.is_empty() {
                match Record::decode(&mut records) {
                    Ok(
                        Record::Set { key, .. }
                        | Record::Delete { key, .. }
                        | Record::Deadline { key, .. }
                        | Record::Range { key, .. }
                        | Record::Copy { key, .. },
                    ) => keys.insert(key.into()),
                    // Whole keyspaces, or the time, by which any key may have expired.
                    _ => return AwaitingDurability::All,
                };
            }
        }
        AwaitingDurability::Keys(keys)
    }

    pub(crate) fn has(&self, key: &[u8]) -> bool {
        match self {
            AwaitingDurability::All => true,
            AwaitingDurability::Keys(keys) => keys.contains(key),
        }
    }
}
