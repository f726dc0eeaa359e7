//! A sound store, damaged in several places at once.
//!
//! Invariant: it is refused, or shows what it showed after one of its transactions, and the last one if the end of the
//! log still proves that. Refused, it is repaired, and no key has a value then that it never had.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use kvcore::RepairOptions;

use super::disk::{MemoryDisk, NOW_MS, check_goes_on, check_repair, shown};
use super::model::{Model, Shown};
use super::seal::{Head, MANIFEST, block, frame, manifest, segment_header, segment_name, snapshot_head, snapshot_name};

struct Store {
    files: BTreeMap<String, Vec<u8>>,
    /// After each transaction that the snapshot does not prove: in order.
    states: Vec<Shown>,
    /// After each transaction, from the start of the snapshot on.
    all: Vec<Shown>,
    /// The newest segment, and where in it the seal stands.
    newest: String,
    seal: usize,
}

/// A snapshot from transaction 4 on, with 5 and 6 partly in it, a log of 5 to 10 in two segments, and a manifest that was
/// written when the second was begun.
static STORE: LazyLock<Store> = LazyLock::new(|| {
    let mut model = Model::default();
    model.spaces.insert(0, ("0".to_owned(), BTreeMap::new()));
    model.spaces.insert(1, ("one".to_owned(), BTreeMap::new()));
    let entries = b"\x00\x00\x01a\x03old\x00\x00\x01\x01b\x05value\x00\x00\x00\x01c\x02xx\x00";
    model.replay(entries).unwrap();
    let snapshot = [
        block(0, 0, &snapshot_head(4, 0)),
        // As it was after 5: the log says so again.
        block(1, 1, &[&entries[..], b"\x00\x00\x01d\x01n\x00"].concat()),
        block(2, 2, &[6, 4]),
    ]
    .concat();
    let transactions: [&[u8]; 6] = [
        b"\x00\x00\x01d\x01n\x00",
        b"\x00\x00\x01a\x03new\x00\x01\x00\x01c",
        b"\x00\x01\x01e\x01m\x00",
        b"\x03\x01\x01b\x03\x02UE\x08\x02\x00\x01d\xfb\x00\x10",
        b"\x04\x01",
        b"\x00\x00\x01f\x04last\x00",
    ];
    let (mut states, mut all) = (Vec::new(), vec![model.shown(NOW_MS)]);
    let mut segments = [segment_header(2, 5), segment_header(3, 8)];
    for (lsn, records) in (5..).zip(transactions) {
        let segment = usize::from(lsn >= 8);
        let head = Head { segment: 2 + segment as u64, count: 1, first: lsn, time_ms: 9, durable: lsn - 1 };
        segments[segment].extend(frame(&head, &[records]));
        model.replay(records).unwrap();
        all.push(model.shown(NOW_MS));
        if lsn >= 6 {
            states.push(model.shown(NOW_MS));
        }
    }
    let seal = segments[1].len();
    segments[1].extend(frame(&Head { segment: 3, count: 0, first: 11, time_ms: 9, durable: 10 }, &[]));
    let [older, newer] = segments;
    let files = [(snapshot_name(4), snapshot), (segment_name(2), older), (segment_name(3), newer)];
    let files = files.into_iter().chain([(MANIFEST.to_owned(), manifest(3, 7))]);
    Store { files: files.collect(), states, all, newest: segment_name(3), seal }
});

/// Edits: `[what][file][place: 2 bytes][value]`
pub fn damage(input: &[u8]) {
    let store = &*STORE;
    let mut files = store.files.clone();
    let mut names: Vec<String> = files.keys().cloned().collect();
    // The manifest is the last one.
    names.rotate_left(1);
    for edit in input.chunks_exact(5).take(16) {
        let [what, file, low, high, value] = *edit else { continue };
        let name = &names[usize::from(file) % names.len()];
        let place = usize::from(u16::from_le_bytes([low, high]));
        let other = &names[usize::from(value) % names.len()];
        let Some(bytes) = files.get_mut(name) else { continue };
        let len = bytes.len();
        match what % 8 {
            0 | 1 if len > 0 => bytes[place % len] ^= value,
            2 if len > 0 => bytes.truncate(place % len),
            3 => bytes.resize(len + place % 4096, value),
            4 if len > 0 => {
                let from = place % len;
                bytes[from..(from + usize::from(value)).min(len)].fill(0);
            }
            5 => drop(files.remove(name)),
            6 => {
                let bytes = bytes.clone();
                files.insert(other.clone(), bytes);
            }
            _ => {
                let bytes = bytes.clone();
                let name = if value % 2 == 0 { segment_name(place as u64) } else { snapshot_name(place as u64) };
                files.insert(name, bytes);
            }
        }
    }
    let seal = &store.files[&store.newest][store.seal..];
    let sealed =
        files.get(&store.newest).and_then(|bytes| bytes.get(store.seal..)).is_some_and(|end| end.starts_with(seal));
    // A keyspace whose name is lost has another.
    let once = |key: &Vec<u8>, entry: &(Vec<u8>, u64)| {
        store.all.iter().any(|then| then.values().any(|keys| keys.get(key) == Some(entry)))
    };
    let plain = RepairOptions::new();
    for how in [plain, plain.accept_loss(true), plain.salvage(true)] {
        for (keyspace, keys) in check_repair(&files, how).unwrap_or_default() {
            let wrong = keys.iter().find(|(key, entry)| !once(key, entry));
            assert!(wrong.is_none(), "repaired to what never was: {how:?}, {keyspace}, {wrong:?}");
        }
    }
    let disk = MemoryDisk::of(&files);
    let Some(db) = disk.open() else {
        assert!(files != store.files, "a sound store is opened");
        return;
    };
    let shown = shown(&db);
    if sealed {
        assert_eq!(Some(&shown), store.states.last(), "the seal proves all of it");
    } else if !files.is_empty() {
        assert!(store.states.contains(&shown), "never so: {shown:?}");
    }
    check_goes_on(&disk, db);
}
