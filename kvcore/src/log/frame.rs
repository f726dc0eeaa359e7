//! Frame: what one write to the log carries. Invariant: a frame is whole or its checksums say it is not; a frame of
//! another segment, or of this one's file in an earlier life, or one that a client wrote as its value, never passes for
//! one of this segment.
//!
//! All integers are little-endian. A segment begins with 48 bytes:
//!
//! | at | bytes | what |
//! |---|---|---|
//! | 0 | 4 | `KVSG` |
//! | 4 | 4 | format version, 3 |
//! | 8 | 8 | segment id |
//! | 16 | 8 | Lsn of its first transaction |
//! | 24 | 8 | the store's id, the same in all its files |
//! | 32 | 8 | salt: random, and never shown to a client |
//! | 40 | 4 | CRC-32 of bytes 0..40 |
//! | 44 | 4 | zero |
//!
//! and goes on with frames, each at a multiple of 8 bytes:
//!
//! | at | bytes | what |
//! |---|---|---|
//! | 0 | 4 | the upper half of the salt |
//! | 4 | 4 | transactions in the body; 0 for a seal: all before it is durable |
//! | 8 | 8 | Lsn of the first transaction in the body |
//! | 16 | 8 | the store's time when it was written, Unix milliseconds |
//! | 24 | 8 | the newest Lsn known to be durable when it was written |
//! | 32 | 8 | bytes in the body |
//! | 40 | 4 | CRC-32 of the body, begun with the lower half of the salt |
//! | 44 | 4 | CRC-32 of bytes 0..44, begun with the lower half of the salt |
//! | 48 | | the body, then zeros up to a multiple of 8 |
//!
//! The header has a checksum of its own, so that a length is proven before memory is reserved for it, and so that a
//! frame whose body was torn can still be a witness of what was durable before it.
//!
//! The body holds every transaction from the frame's first Lsn to its last, in any order: the length of its records
//! (4 bytes), the low half of its Lsn (4 bytes), its [records](crate::log::record).
//!
//! A segment of any other version is refused.

use crate::lsn::{Lsn, NUMBER_MAX};

pub(crate) const SEGMENT_HEADER_BYTES: usize = 48;
pub(crate) const FRAME_HEADER_BYTES: usize = 48;
pub(crate) const TRANSACTION_HEADER_BYTES: usize = 8;
pub(crate) const ALIGNMENT: usize = 8;
/// One transaction's records are never longer.
pub(crate) const RECORDS_BYTES_MAX: usize = 1 << 30;

const SEGMENT_MAGIC: [u8; 4] = *b"KVSG";
const VERSION: u32 = 3;

/// The start of a segment file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SegmentHeader {
    pub(crate) id: u64,
    pub(crate) first: Lsn,
    pub(crate) store: u64,
    pub(crate) keys: FrameKeys,
}

/// What tells a segment's own frames from all other bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FrameKeys {
    mark: u32,
    seed: u32,
}

impl FrameKeys {
    pub(crate) fn salted(salt: u64) -> Self {
        // Zeros must not look like a frame.
        FrameKeys { mark: ((salt >> 32) as u32).max(1), seed: salt as u32 }
    }
}

/// The start of a segment.
pub(crate) fn segment_header(id: u64, first: Lsn, store: u64, salt: u64) -> [u8; SEGMENT_HEADER_BYTES] {
    segment_header_of(VERSION, id, first, store, salt)
}

fn segment_header_of(version: u32, id: u64, first: Lsn, store: u64, salt: u64) -> [u8; SEGMENT_HEADER_BYTES] {
    let mut bytes = [0; SEGMENT_HEADER_BYTES];
    bytes[0..4].copy_from_slice(&SEGMENT_MAGIC);
    bytes[4..8].copy_from_slice(&version.to_le_bytes());
    bytes[8..16].copy_from_slice(&id.to_le_bytes());
    bytes[16..24].copy_from_slice(&first.get().to_le_bytes());
    bytes[24..32].copy_from_slice(&store.to_le_bytes());
    bytes[32..40].copy_from_slice(&salt.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..40]);
    bytes[40..44].copy_from_slice(&crc.to_le_bytes());
    bytes
}

impl SegmentHeader {
    /// `Err` says what is wrong with it.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, &'static str> {
        let head = bytes.first_chunk::<SEGMENT_HEADER_BYTES>().ok_or("the segment header is cut short")?;
        if head[0..4] != SEGMENT_MAGIC {
            return Err("it does not begin as a log segment does");
        }
        if crc32fast::hash(&head[..40]) != u32_at(head, 40) {
            return Err("the segment header's checksum does not match, or another version of the store wrote it");
        }
        if u32_at(head, 4) != VERSION {
            return Err(crate::error::OTHER_VERSION);
        }
        let (id, first) = (u64_at(head, 8), Lsn::new(u64_at(head, 16)));
        if id > NUMBER_MAX || first == Lsn::ZERO || first > Lsn::new(NUMBER_MAX) {
            return Err("the segment header's numbers are out of range");
        }
        Ok(SegmentHeader { id, first, store: u64_at(head, 24), keys: FrameKeys::salted(u64_at(head, 32)) })
    }

    /// Returns the keys of the frames behind a damaged header, if they are as they were; a whole frame proves that.
    pub(crate) fn keys_of_damaged(bytes: &[u8]) -> Option<FrameKeys> {
        let head = bytes.first_chunk::<SEGMENT_HEADER_BYTES>()?;
        let is_damaged = crc32fast::hash(&head[..40]) != u32_at(head, 40) && Self::decode(bytes).is_err();
        is_damaged.then(|| FrameKeys::salted(u64_at(head, 32)))
    }

    /// Returns the header that was damaged to `bytes`, if its segment is one of this store's.
    ///
    /// `first` is the first transaction that was found in it. It is this store's if its checksum is right for what is known
    /// of the header, or if it names the store.
    pub(crate) fn of_damaged(bytes: &[u8], id: u64, first: Lsn, store: Option<u64>) -> Option<Self> {
        let (head, keys) = (bytes.first_chunk::<SEGMENT_HEADER_BYTES>()?, Self::keys_of_damaged(bytes)?);
        let named = u64_at(head, 24);
        let (store, salt) = (store.unwrap_or(named), u64_at(head, 32));
        let matches = |first: Lsn| segment_header(id, first, store, salt)[40..44] == head[40..44];
        // Frames may be lost before the one that was found.
        let named_first = Lsn::new(u64_at(head, 16));
        let is_first = named_first > Lsn::ZERO && named_first <= first && matches(named_first);
        let first = if is_first { named_first } else { first };
        let is_ours = named == store || matches(first);
        is_ours.then_some(SegmentHeader { id, first, store, keys })
    }
}

/// A frame's header, without its checksums.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FrameHeader {
    pub(crate) first: Lsn,
    /// 0 for a seal.
    pub(crate) count: u32,
    pub(crate) time_ms: u64,
    pub(crate) durable: Lsn,
}

/// The header of a frame with this body, given in parts. Behind the body come [zeros](padding).
pub(crate) fn frame_header<'b>(
    keys: FrameKeys,
    header: &FrameHeader,
    body: impl Iterator<Item = &'b [u8]> + Clone,
) -> [u8; FRAME_HEADER_BYTES] {
    let body_len: usize = body.clone().map(<[u8]>::len).sum();
    let mut head = [0; FRAME_HEADER_BYTES];
    head[0..4].copy_from_slice(&keys.mark.to_le_bytes());
    head[4..8].copy_from_slice(&header.count.to_le_bytes());
    head[8..16].copy_from_slice(&header.first.get().to_le_bytes());
    head[16..24].copy_from_slice(&header.time_ms.to_le_bytes());
    head[24..32].copy_from_slice(&header.durable.get().to_le_bytes());
    head[32..40].copy_from_slice(&(body_len as u64).to_le_bytes());
    head[40..44].copy_from_slice(&checksum(keys.seed, body).to_le_bytes());
    let crc = checksum(keys.seed, [&head[..44]].into_iter());
    head[44..48].copy_from_slice(&crc.to_le_bytes());
    head
}

/// What a frame's length lacks to the place of the next one.
pub(crate) fn padding(len: usize) -> &'static [u8] {
    &[0; ALIGNMENT][..len.next_multiple_of(ALIGNMENT) - len]
}

/// The frame header at the start of `bytes`, and how long its body is.
pub(crate) fn decode_header(keys: FrameKeys, bytes: &[u8]) -> Option<(FrameHeader, u64)> {
    let head = bytes.first_chunk::<FRAME_HEADER_BYTES>()?;
    if u32_at(head, 0) != keys.mark || checksum(keys.seed, [&head[..44]].into_iter()) != u32_at(head, 44) {
        return None;
    }
    let header = FrameHeader {
        count: u32_at(head, 4),
        first: Lsn::new(u64_at(head, 8)),
        time_ms: u64_at(head, 16),
        durable: Lsn::new(u64_at(head, 24)),
    };
    Some((header, u64_at(head, 32)))
}

/// Whether `frame`, from its header to the end of its body, is as it was written, given that its header decodes.
pub(crate) fn is_whole(keys: FrameKeys, frame: &[u8]) -> bool {
    let Some((head, body)) = frame.split_first_chunk::<FRAME_HEADER_BYTES>() else { return false };
    checksum(keys.seed, [body].into_iter()) == u32_at(head, 40)
}

/// Appends a transaction to a body.
#[inline]
pub(crate) fn push_transaction(body: &mut Vec<u8>, lsn: Lsn, records: &[u8]) {
    body.reserve(TRANSACTION_HEADER_BYTES + records.len());
    body.extend_from_slice(&transaction_header(lsn, records.len()));
    body.extend_from_slice(records);
}

/// Returns the header of a transaction whose records have this many bytes.
#[inline]
pub(crate) fn transaction_header(lsn: Lsn, records_len: usize) -> [u8; TRANSACTION_HEADER_BYTES] {
    (u64::from(records_len as u32) | lsn.get() << 32).to_le_bytes()
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

fn checksum<'b>(seed: u32, parts: impl Iterator<Item = &'b [u8]>) -> u32 {
    let mut crc = crc32fast::Hasher::new_with_initial(seed);
    parts.for_each(|part| crc.update(part));
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

    const KEYS: FrameKeys = FrameKeys { mark: 0x1234_5678, seed: 9 };

    fn sample(body: &[u8]) -> (FrameHeader, Vec<u8>) {
        let header = FrameHeader { first: Lsn::new(5), count: 2, time_ms: 77, durable: Lsn::new(4) };
        let head = frame_header(KEYS, &header, body.chunks(2));
        (header, [&head[..], body, padding(head.len() + body.len())].concat())
    }

    /// The header and the body of the frame at the start of `bytes`, if it is whole.
    fn decode(keys: FrameKeys, bytes: &[u8]) -> Option<(FrameHeader, &[u8])> {
        let (header, body_len) = decode_header(keys, bytes)?;
        let frame = bytes.get(..FRAME_HEADER_BYTES + usize::try_from(body_len).ok()?)?;
        is_whole(keys, frame).then(|| (header, &frame[FRAME_HEADER_BYTES..]))
    }

    #[test]
    fn a_frame_comes_back_whole_and_aligned() {
        let (header, frame) = sample(b"hello");
        assert_eq!(frame.len() % ALIGNMENT, 0);
        assert_eq!(decode(KEYS, &frame), Some((header, &b"hello"[..])));
    }

    #[test]
    fn any_flipped_bit_that_matters_is_seen() {
        let (header, frame) = sample(b"hello");
        for bit in 0..frame.len() * 8 {
            let mut damaged = frame.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let harmless = bit >= (FRAME_HEADER_BYTES + 5) * 8;
            match decode(KEYS, &damaged) {
                None => assert!(!harmless, "bit {bit}"),
                Some((read, body)) => assert!(harmless && read == header && body == b"hello", "bit {bit}"),
            }
            let in_header = bit < FRAME_HEADER_BYTES * 8;
            assert_eq!(decode_header(KEYS, &damaged).is_none(), in_header, "bit {bit}: a length is proven first");
        }
        for len in 0..FRAME_HEADER_BYTES + 5 {
            assert_eq!(decode(KEYS, &frame[..len]), None);
        }
    }

    #[test]
    fn another_segments_frame_is_none_of_ours() {
        let (_, frame) = sample(b"hello");
        for other in [FrameKeys { mark: 7, ..KEYS }, FrameKeys { seed: 8, ..KEYS }] {
            assert_eq!(decode(other, &frame), None);
        }
        assert_eq!(decode(FrameKeys::salted(1), &[0; 96]), None, "and nothing is no frame");
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
        let bytes = segment_header(3, Lsn::new(10), 77, u64::MAX);
        let header = SegmentHeader::decode(&bytes).expect("decodes");
        assert_eq!((header.id, header.first, header.store), (3, Lsn::new(10), 77));
        assert_eq!(header.keys, FrameKeys::salted(u64::MAX));
        for bit in 0..44 * 8 {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(SegmentHeader::decode(&damaged).is_err());
        }
        for len in 0..bytes.len() {
            assert!(SegmentHeader::decode(&bytes[..len]).is_err());
        }
        for version in [0, VERSION - 1, VERSION + 1, u32::MAX] {
            let decoded = SegmentHeader::decode(&segment_header_of(version, 3, Lsn::new(10), 77, 5));
            assert_eq!(decoded, Err(crate::error::OTHER_VERSION), "version {version}");
        }
        for (id, first) in [(u64::MAX, 1), (1, u64::MAX), (1, 0)] {
            let beyond = segment_header(id, Lsn::new(first), 77, 1);
            assert!(SegmentHeader::decode(&beyond).is_err(), "no store has so many");
        }
    }
}
