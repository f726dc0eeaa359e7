//! Frames, segments and snapshots spelled from the description of their format, checksums and all.
//!
//! Invariant: what is made here of sound records, a store must read.

/// The id of every store here: a number that a snapshot's head holds in one byte.
pub const STORE: u8 = 9;
/// What the manifest is called.
pub const MANIFEST: &str = "manifest";

/// The salt of a segment, of each another one.
fn salt(segment: u64) -> u64 {
    !segment.rotate_left(32)
}

/// What the newest segment is, and up to where the log is durable: `KVMF`, version, how many there were before, the
/// store's id, and these two; not how long the segment is. In both slots.
pub fn manifest(newest: u64, durable: u64) -> Vec<u8> {
    let mut file = Vec::new();
    for written in 0..2_u64 {
        let mut slot = b"KVMF\x01\0\0\0".to_vec();
        for field in [written, STORE.into(), newest, durable, 0] {
            slot.extend_from_slice(&field.to_le_bytes());
        }
        slot.extend_from_slice(&crc32fast::hash(&slot).to_le_bytes());
        slot.resize(512, 0);
        file.extend(slot);
    }
    file
}

/// `KVSG`, version, id, first Lsn, the store's id, salt, checksum.
pub fn segment_header(id: u64, first: u64) -> Vec<u8> {
    let mut head = b"KVSG\x03\0\0\0".to_vec();
    for field in [id, first, STORE.into(), salt(id)] {
        head.extend_from_slice(&field.to_le_bytes());
    }
    head.extend_from_slice(&crc32fast::hash(&head).to_le_bytes());
    head.extend_from_slice(&[0; 4]);
    head
}

pub fn segment_name(id: u64) -> String {
    format!("wal-{id:016x}.log")
}

pub fn snapshot_name(start: u64) -> String {
    format!("snapshot-{start:016x}.kvs")
}

/// What stands in a frame's header.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    pub segment: u64,
    pub count: u32,
    pub first: u64,
    pub time_ms: u64,
    pub durable: u64,
}

/// A frame of these transactions' records.
pub fn frame(head: &Head, transactions: &[&[u8]]) -> Vec<u8> {
    let mut body = Vec::new();
    for (at, records) in transactions.iter().enumerate() {
        body.extend_from_slice(&(records.len() as u32).to_le_bytes());
        body.extend_from_slice(&(head.first.wrapping_add(at as u64) as u32).to_le_bytes());
        body.extend_from_slice(records);
    }
    let salt = salt(head.segment);
    let checksum = |bytes: &[u8]| {
        let mut crc = crc32fast::Hasher::new_with_initial(salt as u32);
        crc.update(bytes);
        crc.finalize().to_le_bytes()
    };
    let mut frame = ((salt >> 32) as u32).max(1).to_le_bytes().to_vec();
    frame.extend_from_slice(&head.count.to_le_bytes());
    frame.extend_from_slice(&head.first.to_le_bytes());
    frame.extend_from_slice(&head.time_ms.to_le_bytes());
    frame.extend_from_slice(&head.durable.to_le_bytes());
    frame.extend_from_slice(&(body.len() as u64).to_le_bytes());
    frame.extend_from_slice(&checksum(&body));
    frame.extend_from_slice(&checksum(&frame));
    frame.extend_from_slice(&body);
    frame.resize(frame.len().next_multiple_of(8), 0);
    frame
}

/// A block of a snapshot: 0 head, 1 entries, 2 foot.
pub fn block(number: u32, kind: u8, body: &[u8]) -> Vec<u8> {
    let mut crc = crc32fast::Hasher::new_with_initial(number);
    crc.update(&[kind]);
    crc.update(body);
    let mut block = (body.len() as u32 + 1).to_le_bytes().to_vec();
    block.extend_from_slice(&crc.finalize().to_le_bytes());
    block.push(kind);
    block.extend_from_slice(body);
    block
}

/// A snapshot's head: version 2, a seed, where it starts, the time, the keyspaces `0` and `one`, the next number, and the
/// store's id.
pub fn snapshot_head(start: u8, time_ms: u8) -> Vec<u8> {
    [&[2, 77, start, time_ms, 2][..], b"\x00\x010", b"\x01\x03one", &[2, STORE]].concat()
}
