//! Snapshot files: sound blocks of arbitrary entries, arbitrary heads and feet, and blocks that are damaged.
//!
//! Invariant: what is opened shows the entries a simple reading finds, each of them.

use std::collections::{BTreeMap, BTreeSet};

use kvcore::RepairOptions;

use super::disk::{MemoryDisk, check_goes_on, check_repair, shown};
use super::model::{Fault, Model, Record, decode};
use super::seal::{MANIFEST, block, manifest, segment_header, segment_name, snapshot_head, snapshot_name};

const START: u8 = 5;

/// `[choice]` and then blocks: `[kind][length: 2 bytes, little-endian][bytes]`
pub fn snapshot(input: &[u8]) {
    let Some((choice, mut input)) = input.split_first() else { return };
    let (own_head, own_foot, with_log) = (choice & 1 == 0, choice & 2 == 0, choice & 4 != 0);
    let mut file = Vec::new();
    let mut number = 0;
    let mut add = |file: &mut Vec<u8>, kind: u8, bytes: &[u8], damage: bool| {
        let mut block = block(number, kind, bytes);
        if damage && let Some(last) = block.last_mut() {
            *last ^= 1;
        }
        file.extend_from_slice(&block);
        number += 1;
    };
    let mut model = Model::default();
    model.spaces.insert(0, ("0".to_owned(), BTreeMap::new()));
    model.spaces.insert(1, ("one".to_owned(), BTreeMap::new()));
    let (mut sound, mut unsure) = (true, !own_head || !own_foot);
    if own_head {
        add(&mut file, 0, &snapshot_head(START, 0), false);
    }
    let mut earlier = BTreeSet::new();
    for _ in 0..32 {
        let Some(([kind, low, high], rest)) = input.split_first_chunk::<3>() else { break };
        let len = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
        let (bytes, rest) = rest.split_at(len);
        input = rest;
        add(&mut file, [1, 0, 1, 2][usize::from(kind % 4)], bytes, kind % 4 == 2);
        sound &= kind % 4 == 0;
        if kind % 4 == 0 {
            let (mut bytes, mut keys) = (bytes, BTreeSet::new());
            while !bytes.is_empty() {
                let record = decode(&mut bytes);
                match &record {
                    Some(record @ Record::Set { keyspace, key, .. }) => {
                        sound &= model.apply(record) != Err(Fault::Wrong);
                        keys.insert((*keyspace, key.clone()));
                    }
                    _ => {
                        sound = false;
                        break;
                    }
                }
            }
            // Blocks are loaded side by side: a store never writes a key to two, and if one does either may win.
            unsure |= keys.iter().any(|key| earlier.contains(key));
            earlier.extend(keys);
        }
    }
    if own_foot {
        add(&mut file, 2, &[START, 0], false);
    }
    let of_store = (MANIFEST.to_owned(), manifest(0, 0));
    let mut files = BTreeMap::from([of_store, (snapshot_name(u64::from(START)), file)]);
    if with_log {
        files.insert(segment_name(3), segment_header(3, u64::from(START) + 1));
    }
    let disk = MemoryDisk::of(&files);
    let opened = disk.open();
    if !unsure {
        for how in [RepairOptions::new(), RepairOptions::new().salvage(true)] {
            check_repair(&files, how);
        }
        assert_eq!(opened.is_some(), sound);
    }
    let Some(db) = opened else { return };
    if !unsure {
        assert_eq!(shown(&db), model.shown(db.now_ms()));
        check_goes_on(&disk, db);
    }
}
