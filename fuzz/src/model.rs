//! Records of the log read and carried out by a second, simpler implementation.
//!
//! Invariant: it shares no code with the store; it knows the format from its description alone.

use std::collections::BTreeMap;

/// Keyspaces by name: key to value and deadline, 0 for none.
pub type Shown = BTreeMap<String, Keys>;
pub type Keys = BTreeMap<Vec<u8>, (Vec<u8>, u64)>;

/// One effect.
#[derive(Debug, Clone)]
pub enum Record {
    Set { keyspace: u32, key: Vec<u8>, value: Vec<u8>, deadline: u64 },
    Delete { keyspace: u32, key: Vec<u8> },
    Deadline { keyspace: u32, key: Vec<u8>, deadline: u64 },
    Range { keyspace: u32, key: Vec<u8>, offset: u64, bytes: Vec<u8>, len: u64 },
    Flush { keyspace: u32 },
    Bind { keyspace: u32, name: String },
    Drop { keyspace: u32 },
    Time { ms: u64 },
}

/// A whole number: itself in one byte up to 250, or 251, 252, 253 and 2, 4 or 8 bytes.
fn number(input: &mut &[u8], bits: u32) -> Option<u64> {
    let (&first, rest) = input.split_first()?;
    let len = match first {
        0..=250 => 0,
        251 => 2,
        252 if bits >= 32 => 4,
        253 if bits >= 64 => 8,
        _ => return None,
    };
    let (bytes, rest) = rest.split_at_checked(len)?;
    *input = rest;
    Some(if len == 0 { u64::from(first) } else { bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)) })
}

fn bytes(input: &mut &[u8]) -> Option<Vec<u8>> {
    let len = usize::try_from(number(input, 64)?).ok()?;
    let (bytes, rest) = input.split_at_checked(len)?;
    *input = rest;
    Some(bytes.to_vec())
}

/// Takes the first record off.
pub fn decode(input: &mut &[u8]) -> Option<Record> {
    let kind = number(input, 32)?;
    if kind == 7 {
        return Some(Record::Time { ms: number(input, 64)? });
    }
    let keyspace = (kind < 7).then(|| number(input, 32))??.try_into().ok()?;
    Some(match kind {
        0 => Record::Set { keyspace, key: bytes(input)?, value: bytes(input)?, deadline: number(input, 64)? },
        1 => Record::Delete { keyspace, key: bytes(input)? },
        2 => Record::Deadline { keyspace, key: bytes(input)?, deadline: number(input, 64)? },
        3 => Record::Range {
            keyspace,
            key: bytes(input)?,
            offset: number(input, 64)?,
            bytes: bytes(input)?,
            len: number(input, 64)?,
        },
        4 => Record::Flush { keyspace },
        5 => Record::Bind { keyspace, name: String::from_utf8(bytes(input)?).ok()? },
        _ => Record::Drop { keyspace },
    })
}

/// A store as its records make it.
#[derive(Clone, Default)]
pub struct Model {
    pub spaces: BTreeMap<u32, (String, Keys)>,
    pub floor_ms: u64,
}

/// A value this long is as good a test as a longer one, and costs less.
const VALUE_BYTES_TRIED: u64 = 64 * 1024;

/// Why a record is not carried out.
#[derive(Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is no record of a sound log.
    Wrong,
    /// It may be, but is not worth the memory or has no one meaning.
    Skipped,
}

impl Model {
    pub fn apply(&mut self, record: &Record) -> Result<(), Fault> {
        use Record::{Bind, Deadline, Delete, Drop, Flush, Range, Set, Time};
        match record {
            Set { keyspace, key, value, deadline } => {
                self.keys(*keyspace)?.insert(key.clone(), (value.clone(), *deadline));
            }
            Delete { keyspace, key } => {
                self.keys(*keyspace)?.remove(key);
            }
            Deadline { keyspace, key, deadline } => {
                if let Some(entry) = self.keys(*keyspace)?.get_mut(key) {
                    entry.1 = *deadline;
                }
            }
            Range { keyspace, key, offset, bytes, len } => {
                let keys = self.keys(*keyspace)?;
                let end = offset.checked_add(bytes.len() as u64).ok_or(Fault::Wrong)?;
                if end > *len || *len > 512 << 20 {
                    return Err(Fault::Wrong);
                }
                if *len > VALUE_BYTES_TRIED {
                    return Err(Fault::Skipped);
                }
                if let Some((value, _)) = keys.get_mut(key) {
                    value.resize(*len as usize, 0);
                    value[*offset as usize..end as usize].copy_from_slice(bytes);
                }
            }
            Flush { keyspace } => self.keys(*keyspace)?.clear(),
            Bind { keyspace, name } => {
                if *keyspace == u32::MAX || self.spaces.iter().any(|(id, (other, _))| id != keyspace && other == name) {
                    return Err(Fault::Skipped);
                }
                self.spaces.entry(*keyspace).or_default().0.clone_from(name);
            }
            Drop { keyspace } => {
                self.spaces.remove(keyspace);
            }
            Time { ms } => self.floor_ms = self.floor_ms.max(*ms),
        }
        Ok(())
    }

    fn keys(&mut self, keyspace: u32) -> Result<&mut Keys, Fault> {
        self.spaces.get_mut(&keyspace).map(|(_, keys)| keys).ok_or(Fault::Wrong)
    }

    /// Carries out all records in `bytes`.
    pub fn replay(&mut self, mut bytes: &[u8]) -> Result<(), Fault> {
        while !bytes.is_empty() {
            let record = decode(&mut bytes).ok_or(Fault::Wrong)?;
            self.apply(&record)?;
        }
        Ok(())
    }

    /// What a store shows at `now_ms`; it always has its default keyspace.
    pub fn shown(&self, now_ms: u64) -> Shown {
        let alive = |(_, (_, deadline)): &(&Vec<u8>, &(Vec<u8>, u64))| *deadline == 0 || *deadline > now_ms;
        let mut shown: Shown = self
            .spaces
            .values()
            .map(|(name, keys)| {
                let keys = keys.iter().filter(alive).map(|(key, entry)| (key.clone(), entry.clone()));
                (name.clone(), keys.collect())
            })
            .collect();
        shown.entry("0".to_owned()).or_default();
        shown
    }
}
