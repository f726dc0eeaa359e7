//! Log segments: sound frames of arbitrary records, and arbitrary bytes between them.
//!
//! Invariant: a log without a fault shows what a simple reading of its records says; one with a fault is refused or cut
//! where the fault is, and what is opened goes on.

use std::collections::BTreeMap;

use kvcore::RepairOptions;

use super::disk::{MemoryDisk, check_goes_on, check_repair, shown};
use super::model::{Fault, Model};
use super::seal::{Head, MANIFEST, STORE, frame, manifest, segment_header, segment_name};

/// The log being made.
struct Log {
    files: BTreeMap<String, Vec<u8>>,
    id: u64,
    /// The Lsn of the next transaction.
    next: u64,
    time_ms: u64,
    model: Model,
    /// What was written so far is sound.
    sound: bool,
    /// A transaction held something that is no record.
    wrong: bool,
    /// There is no telling what is right.
    unsure: bool,
}

impl Log {
    fn file(&mut self) -> &mut Vec<u8> {
        let (id, next) = (self.id, self.next);
        self.files.entry(segment_name(id)).or_insert_with(|| segment_header(id, next))
    }

    fn head(&self, count: u32) -> Head {
        Head { segment: self.id, count, first: self.next, time_ms: self.time_ms, durable: 0 }
    }

    /// Adds a frame, which may claim what is not so.
    fn frame(&mut self, head: Head, transactions: &[&[u8]]) {
        let honest = head.count as usize == transactions.len() && head.first == self.next && head.segment == self.id;
        let bytes = frame(&head, transactions);
        self.file().extend_from_slice(&bytes);
        self.sound &= honest;
        let Some(next) = self.next.checked_add(transactions.len() as u64) else {
            (self.sound, self.unsure) = (false, true);
            return;
        };
        self.next = next;
        // The last one has none after it.
        self.unsure |= next == u64::MAX;
        if self.sound && !self.wrong {
            self.model.floor_ms = self.model.floor_ms.max(head.time_ms);
            for records in transactions {
                match self.model.replay(records) {
                    Ok(()) => {}
                    Err(Fault::Wrong) => self.wrong = true,
                    Err(Fault::Skipped) => self.unsure = true,
                }
            }
        }
    }
}

/// `[choice]` and then steps: `[what][length: 2 bytes, little-endian][bytes]`
pub fn log(input: &[u8]) {
    let Some((choice, mut input)) = input.split_first() else { return };
    let mut log = Log {
        // It says no more than whose files these are.
        files: BTreeMap::from([(MANIFEST.to_owned(), manifest(0, 0))]),
        // The last ones that a store takes for its own are 1 << 62.
        id: if choice & 1 == 0 { 1 } else { (1 << 62) - 100 },
        next: [1, (1 << 62) - 100, 1, u64::MAX - 3][usize::from(choice >> 1 & 3)],
        time_ms: 0,
        model: Model::default(),
        sound: true,
        wrong: false,
        // Nothing comes before, or it is missing.
        unsure: choice & 6 == 6,
    };
    if choice & 2 != 0 {
        // So that it is not missing: a snapshot that stands just before.
        let start = log.next - 1;
        let head = [&[2, 77, 253][..], &start.to_le_bytes(), &[0, 0, 0, STORE]].concat();
        let foot = [&[253][..], &start.to_le_bytes(), &[0]].concat();
        let bytes = [super::seal::block(0, 0, &head), super::seal::block(1, 2, &foot)].concat();
        log.files.insert(super::seal::snapshot_name(start), bytes);
    }
    log.file();
    for _ in 0..64 {
        let Some(([what, low, high], rest)) = input.split_first_chunk::<3>() else { break };
        let len = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
        let (bytes, rest) = rest.split_at(len);
        input = rest;
        let number = bytes.iter().take(8).rev().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
        match what % 8 {
            0 => log.frame(log.head(1), &[bytes]),
            1 => {
                let (at, bytes) = bytes.split_first().map_or((0, bytes), |(at, bytes)| (usize::from(*at), bytes));
                let (first, second) = bytes.split_at(at.min(bytes.len()));
                log.frame(log.head(2), &[first, second]);
            }
            2 => log.frame(Head { durable: log.next - 1, ..log.head(0) }, &[]),
            3 => match log.id.checked_add(1) {
                Some(id) => {
                    log.id = id;
                    log.file();
                }
                None => return,
            },
            4 => {
                // Anything that is not nothing ends the log here.
                log.file().extend_from_slice(bytes);
                let len = log.file().len().next_multiple_of(8);
                log.file().resize(len, 0);
                log.sound = false;
            }
            5 => {
                let honest = log.head(1);
                let head = match number % 5 {
                    0 => Head { count: u32::MAX, ..honest },
                    1 => Head { count: 0, ..honest },
                    2 => Head { first: number >> 8, ..honest },
                    3 => Head { segment: number >> 8, ..honest },
                    _ => Head { durable: u64::MAX, ..honest },
                };
                log.frame(head, &[bytes]);
                log.sound = false;
            }
            6 => log.time_ms = number,
            _ => {
                let name = match number % 3 {
                    0 => "wal.tmp".to_owned(),
                    1 => "snapshot.tmp".to_owned(),
                    _ => segment_name(number),
                };
                // Another file, with a name that may mean something.
                log.unsure |= number % 3 == 2 && !log.files.contains_key(&name);
                log.files.entry(name).or_insert_with(|| bytes.to_vec());
            }
        }
    }
    if log.model.floor_ms > i64::MAX as u64 {
        // 292 million years from now.
        log.unsure = true;
    }
    // Of what nobody can tell only that it does no harm.
    if !log.unsure {
        for how in [RepairOptions::new(), RepairOptions::new().salvage(true)] {
            check_repair(&log.files, how);
        }
    }
    let disk = MemoryDisk::of(&log.files);
    let opened = disk.open();
    if !log.unsure && log.sound {
        assert_eq!(opened.is_none(), log.wrong, "a sound log is read, a record that is none is told of");
    }
    let Some(db) = opened else { return };
    if !log.unsure && log.sound {
        assert_eq!(shown(&db), log.model.shown(db.now_ms()));
    }
    if !log.unsure {
        check_goes_on(&disk, db);
    }
}
