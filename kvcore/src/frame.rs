//! Frame: what one write to the log carries. Invariant: a frame is whole or its checksum says it is not; a frame of
//! another segment, or of this one's file in an earlier life, never passes for one of this segment.
//!
//! All integers are little-endian. A segment begins with 32 bytes:
//!
//! | at | bytes | what |
//! |---|---|---|
//! | 0 | 4 | `KVSG` |
//! | 4 | 4 | format version, 1 |
//! | 8 | 8 | segment id |
//! | 16 | 8 | Lsn of its first transaction |
//! | 24 | 4 | CRC-32 of bytes 0..24 |
//! | 28 | 4 | zero |
//!
//! and goes on with frames, each at a multiple of 8 bytes:
//!
//! | at | bytes | what |
//! |---|---|---|
//! | 0 | 4 | `KVF1` |
//! | 4 | 4 | transactions in the body; 0 for a seal: all before it is durable |
//! | 8 | 8 | Lsn of the first transaction in the body |
//! | 16 | 8 | the store's time when it was written, Unix milliseconds |
//! | 24 | 8 | the newest Lsn known to be durable when it was written |
//! | 32 | 8 | bytes in the body |
//! | 40 | 4 | CRC-32, begun with the segment id, of bytes 0..40 and the body |
//! | 44 | 4 | zero |
//! | 48 | | the body, then zeros up to a multiple of 8 |
//!
//! The body holds every transaction from the frame's first Lsn to its last, in any order: the length of its records
//! (4 bytes), the low half of its Lsn (4 bytes), its [records](crate::record).

use crate::lsn::{Lsn, NUMBER_MAX};

pub(crate) const SEGMENT_HEADER_BYTES: usize = 32;
pub(crate) const FRAME_HEADER_BYTES: usize = 48;
pub(crate) const TRANSACTION_HEADER_BYTES: usize = 8;
pub(crate) const ALIGNMENT: usize = 8;
/// One transaction's records are never longer.
pub(crate) const RECORDS_BYTES_MAX: usize = 1 << 30;

const SEGMENT_MAGIC: [u8; 4] = *b"KVSG";
const FRAME_MAGIC: [u8; 4] = *b"KVF1";
const VERSION: u32 = 1;

/// The start of a segment file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SegmentHeader {
    pub(crate) id: u64,
    pub(crate) first: Lsn,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        bytes[0..4].copy_from_slice(&SEGMENT_MAGIC);
        bytes[4..8].copy_from_slice(&VERSION.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.id.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.first.get().to_le_bytes());
        let crc = crc32fast::hash(&bytes[..24]);
        bytes[24..28].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// `Err` says what is wrong with it.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, &'static str> {
        let head = bytes.first_chunk::<SEGMENT_HEADER_BYTES>().ok_or("the segment header is cut short")?;
        if head[0..4] != SEGMENT_MAGIC {
            return Err("it does not begin as a log segment does");
        }
        if crc32fast::hash(&head[..24]) != u32_at(head, 24) {
            return Err("the segment header's checksum does not match");
        }
        if u32_at(head, 4) != VERSION {
            return Err("it was written by a newer version of the store");
        }
        let header = SegmentHeader { id: u64_at(head, 8), first: Lsn::new(u64_at(head, 16)) };
        if header.id > NUMBER_MAX || header.first > Lsn::new(NUMBER_MAX) {
            return Err("the segment header's numbers are out of range");
        }
        Ok(header)
    }
}

/// A frame's header, without its checksum.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FrameHeader {
    pub(crate) first: Lsn,
    /// 0 for a seal.
    pub(crate) count: u32,
    pub(crate) time_ms: u64,
    pub(crate) durable: Lsn,
}

/// Fills in the header of a frame whose body already lies behind [`FRAME_HEADER_BYTES`] bytes of room, and pads it.
pub(crate) fn seal_in_place(segment_id: u64, header: &FrameHeader, frame: &mut Vec<u8>) {
    let body_len = frame.len() - FRAME_HEADER_BYTES;
    let head = &mut frame[..FRAME_HEADER_BYTES];
    head.fill(0);
    head[0..4].copy_from_slice(&FRAME_MAGIC);
    head[4..8].copy_from_slice(&header.count.to_le_bytes());
    head[8..16].copy_from_slice(&header.first.get().to_le_bytes());
    head[16..24].copy_from_slice(&header.time_ms.to_le_bytes());
    head[24..32].copy_from_slice(&header.durable.get().to_le_bytes());
    head[32..40].copy_from_slice(&(body_len as u64).to_le_bytes());
    let crc = checksum(segment_id, &frame[..40], &frame[FRAME_HEADER_BYTES..]);
    frame[40..44].copy_from_slice(&crc.to_le_bytes());
    frame.resize(frame.len().next_multiple_of(ALIGNMENT), 0);
}

/// The frame at the start of `bytes`, its body, and how many bytes it takes; `None` if there is no whole frame.
pub(crate) fn decode(segment_id: u64, bytes: &[u8]) -> Option<(FrameHeader, &[u8], usize)> {
    let head = bytes.first_chunk::<FRAME_HEADER_BYTES>()?;
    if head[0..4] != FRAME_MAGIC {
        return None;
    }
    // Believed only as far as there are bytes.
    let body_len = usize::try_from(u64_at(head, 32)).ok()?;
    let body = bytes.get(FRAME_HEADER_BYTES..FRAME_HEADER_BYTES.checked_add(body_len)?)?;
    if checksum(segment_id, &head[..40], body) != u32_at(head, 40) {
        return None;
    }
    let header = FrameHeader {
        count: u32_at(head, 4),
        first: Lsn::new(u64_at(head, 8)),
        time_ms: u64_at(head, 16),
        durable: Lsn::new(u64_at(head, 24)),
    };
    Some((header, body, (FRAME_HEADER_BYTES + body_len).next_multiple_of(ALIGNMENT).min(bytes.len())))
}

/// Appends a transaction to a body.
#[inline]
pub(crate) fn push_transaction(body: &mut Vec<u8>, lsn: Lsn, records: &[u8]) {
    let head = u64::from(records.len() as u32) | lsn.get() << 32;
    body.reserve(TRANSACTION_HEADER_BYTES + records.len());
    body.extend_from_slice(&head.to_le_bytes());
    body.extend_from_slice(records);
}

/// Sorts the transactions in a frame's body by their Lsns, which must be all from the frame's first to its last. An
/// `Err` after a matching checksum means that the writer was wrong.
pub(crate) fn transactions<'a>(
    header: &FrameHeader,
    mut body: &'a [u8],
    sorted: &mut Vec<(u32, &'a [u8])>,
) -> Result<(), &'static str> {
    sorted.clear();
    while let Some((head, rest)) = body.split_first_chunk::<TRANSACTION_HEADER_BYTES>() {
        let head = u64::from_le_bytes(*head);
        let records = rest.get(..head as u32 as usize).ok_or("a transaction is longer than its frame")?;
        let place = ((head >> 32) as u32).wrapping_sub(header.first.get() as u32);
        sorted.push((place, records));
        body = &rest[records.len()..];
    }
    sorted.sort_unstable_by_key(|(place, _)| *place);
    let complete = sorted.len() == header.count as usize && sorted.iter().zip(0..).all(|((place, _), i)| *place == i);
    if complete && body.is_empty() { Ok(()) } else { Err("a frame does not hold the transactions that it counts") }
}

fn checksum(segment_id: u64, head: &[u8], body: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new_with_initial((segment_id ^ (segment_id >> 32)) as u32);
    crc.update(head);
    crc.update(body);
    crc.finalize()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |four| u32::from_le_bytes(*four))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |eight| u64::from_le_bytes(*eight))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(body: &[u8]) -> (FrameHeader, Vec<u8>) {
        let header = FrameHeader { first: Lsn::new(5), count: 2, time_ms: 77, durable: Lsn::new(4) };
        let mut frame = vec![0xAA; FRAME_HEADER_BYTES];
        frame.extend_from_slice(body);
        seal_in_place(9, &header, &mut frame);
        (header, frame)
    }

    #[test]
    fn a_frame_comes_back_whole_and_aligned() {
        let (header, frame) = sample(b"hello");
        assert_eq!(frame.len() % ALIGNMENT, 0);
        assert_eq!(decode(9, &frame), Some((header, &b"hello"[..], frame.len())));
    }

    #[test]
    fn any_flipped_bit_that_matters_is_seen() {
        let (header, frame) = sample(b"hello");
        for bit in 0..frame.len() * 8 {
            let mut damaged = frame.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let harmless = (44 * 8..48 * 8).contains(&bit) || bit >= (FRAME_HEADER_BYTES + 5) * 8;
            match decode(9, &damaged) {
                None => assert!(!harmless, "bit {bit}"),
                Some((read, body, _)) => assert!(harmless && read == header && body == b"hello", "bit {bit}"),
            }
        }
        assert_eq!(decode(8, &frame), None, "another segment's frame is none of ours");
        for len in 0..FRAME_HEADER_BYTES + 5 {
            assert_eq!(decode(9, &frame[..len]), None);
        }
    }

    #[test]
    fn transactions_of_a_body_are_sorted_and_complete() {
        let header =
            |count| FrameHeader { first: Lsn::new(u64::from(u32::MAX)), count, time_ms: 0, durable: Lsn::ZERO };
        let mut body = Vec::new();
        for (ahead, records) in [(2, &b"third"[..]), (0, b"first"), (1, b"")] {
            push_transaction(&mut body, Lsn::new(u64::from(u32::MAX) + ahead), records);
        }
        let longer = [&body[..], &[0]].concat();
        let mut sorted = Vec::new();
        assert_eq!(transactions(&header(3), &body, &mut sorted), Ok(()));
        assert_eq!(sorted, [(0, &b"first"[..]), (1, b""), (2, b"third")]);
        assert!(transactions(&header(2), &body, &mut sorted).is_err(), "one too many");
        assert!(transactions(&header(4), &body, &mut sorted).is_err(), "one too few");
        assert!(transactions(&header(3), &body[..body.len() - 1], &mut sorted).is_err(), "one cut short");
        assert!(transactions(&header(3), &longer, &mut sorted).is_err(), "something left over");
    }

    #[test]
    fn a_segment_header_tells_its_damage() {
        let header = SegmentHeader { id: 3, first: Lsn::new(10) };
        let bytes = header.encode();
        assert_eq!(SegmentHeader::decode(&bytes), Ok(header));
        for bit in 0..28 * 8 {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(SegmentHeader::decode(&damaged).is_err());
        }
        for (id, first) in [(u64::MAX, 1), (1, u64::MAX)] {
            let beyond = SegmentHeader { id, first: Lsn::new(first) }.encode();
            assert!(SegmentHeader::decode(&beyond).is_err(), "no store has so many");
        }
    }
}
