//! The output of one iteration of an event loop: the replies of all its connections, one behind the other in one buffer.
//!
//! Invariant: the parts of one connection keep their order, and a part carries the newest Lsn its bytes reveal.
//! Most bytes go from here straight into a socket, so a connection needs no output buffer of its own. Large values are not
//! copied into the buffer: each is a part of its own, shared with the store.

use std::ops::Range;
use std::sync::Arc;

use kvcore::hooks::Lsn;
use kvproto::resp::Output;

use crate::net::outbox::Piece;

/// Above this the buffer's memory is given back after the iteration, in bytes.
const KEEP_BYTES: usize = 1024 * 1024;
/// And above this that of its parts.
const KEEP_PARTS: usize = 16 * 1024;

/// Replies on their way out.
#[derive(Debug, Default)]
pub(crate) struct ReplyBatch {
    pub(crate) bytes: Vec<u8>,
    parts: Vec<Part>,
    /// Bytes of the large values.
    shared_bytes: usize,
}

/// A large value, or a stretch of the buffer, up to where the next part starts.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) slot: usize,
    pub(crate) lsn: Lsn,
    start: usize,
    /// If there is one, the stretch is empty.
    value: Option<Arc<Vec<u8>>>,
}

impl ReplyBatch {
    /// What is written from now on is for the connection at `slot`.
    pub(crate) fn begin(&mut self, slot: usize) {
        self.open(slot, Lsn::ZERO);
    }

    /// Marks what is written from now on as revealing `lsn`.
    pub(crate) fn await_durable(&mut self, lsn: Lsn) {
        if let Some(last) = self.parts.last()
            && lsn > last.lsn
        {
            self.open(last.slot, lsn);
        }
    }

    fn open(&mut self, slot: usize, lsn: Lsn) {
        let start = self.bytes.len();
        if self.parts.last().is_some_and(|last| last.start == start && last.value.is_none()) {
            self.parts.pop();
        }
        self.parts.push(Part { slot, lsn, start, value: None });
    }

    /// Returns how many bytes it has, those of large values included.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() + self.shared_bytes
    }

    pub(crate) fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Returns what these parts consist of, in order. Stretches of the buffer that lie side by side are one piece.
    pub(crate) fn pieces(&self, parts: Range<usize>) -> impl Iterator<Item = Piece<'_>> {
        let mut rest = self.parts.get(parts.clone()).unwrap_or_default();
        let end = self.parts.get(parts.end).map_or(self.bytes.len(), |next| next.start);
        std::iter::from_fn(move || {
            let (first, others) = rest.split_first()?;
            if let Some(value) = &first.value {
                rest = others;
                return Some(Piece::Shared(value));
            }
            let side_by_side = rest.iter().take_while(|part| part.value.is_none()).count();
            rest = rest.get(side_by_side..).unwrap_or_default();
            let stop = rest.first().map_or(end, |next| next.start);
            Some(Piece::Bytes(self.bytes.get(first.start..stop).unwrap_or_default()))
        })
        .filter(|piece| !piece.as_bytes().is_empty())
    }

    pub(crate) fn clear(&mut self) {
        self.parts.clear();
        if self.parts.capacity() > KEEP_PARTS {
            self.parts = Vec::new();
        }
        self.bytes.clear();
        self.shared_bytes = 0;
        if self.bytes.capacity() > KEEP_BYTES {
            self.bytes = Vec::new();
        }
    }
}

impl Output for ReplyBatch {
    fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    fn share(&mut self, value: &Arc<Vec<u8>>) {
        let Some(Part { slot, lsn, .. }) = self.parts.last() else { return };
        let (slot, lsn, start) = (*slot, *lsn, self.bytes.len());
        self.shared_bytes += value.len();
        self.parts.push(Part { slot, lsn, start, value: Some(Arc::clone(value)) });
        self.parts.push(Part { slot, lsn, start, value: None });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(batch: &ReplyBatch) -> Vec<(usize, u64, Vec<u8>)> {
        let of = |index: usize, part: &Part| {
            let bytes = batch.pieces(index..index + 1).flat_map(|piece| piece.as_bytes().to_vec()).collect();
            (part.slot, part.lsn.get(), bytes)
        };
        batch.parts().iter().enumerate().map(|(index, part)| of(index, part)).collect()
    }

    #[test]
    fn parts_split_where_the_lsn_rises_and_empty_ones_vanish() {
        let mut batch = ReplyBatch::default();
        batch.begin(1);
        batch.begin(2);
        batch.bytes.extend(b"a");
        batch.await_durable(Lsn::new(7));
        batch.bytes.extend(b"b");
        batch.await_durable(Lsn::new(3));
        batch.bytes.extend(b"c");
        batch.begin(3);
        batch.bytes.extend(b"d");
        assert_eq!(seen(&batch), [(2, 0, b"a".to_vec()), (2, 7, b"bc".to_vec()), (3, 0, b"d".to_vec())]);
    }

    #[test]
    fn a_large_value_is_a_part_of_its_own_and_stretches_side_by_side_are_one_piece() {
        let (mut batch, value) = (ReplyBatch::default(), Arc::new(vec![b'v'; 70_000]));
        batch.begin(1);
        batch.bytes.extend(b"a");
        batch.await_durable(Lsn::new(7));
        batch.bytes.extend(b"b");
        batch.share(&value);
        batch.share(&value);
        batch.bytes.extend(b"c");
        batch.begin(2);
        batch.share(&value);
        assert_eq!((batch.len(), batch.bytes.len()), (210_003, 3));
        let slots: Vec<_> = batch.parts().iter().map(|part| (part.slot, part.lsn.get())).collect();
        assert_eq!(slots[..2], [(1, 0), (1, 7)]);
        assert!(slots[2..slots.len() - 3].iter().all(|part| *part == (1, 7)));
        let first_of_2 = slots.iter().position(|part| part.0 == 2).unwrap();
        let pieces: Vec<_> = batch.pieces(0..first_of_2).collect();
        assert!(matches!(pieces[..], [Piece::Bytes(b"ab"), Piece::Shared(_), Piece::Shared(_), Piece::Bytes(b"c")]));
        assert_eq!(batch.pieces(first_of_2..slots.len()).map(|piece| piece.as_bytes().len()).sum::<usize>(), 70_000);
    }
}
