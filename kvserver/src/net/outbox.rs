//! Bytes on their way to one client: what its socket did not take yet, and what must not leave yet.
//!
//! Invariant: bytes leave in order, and none leaves before the change it reveals is durable (durability `always`).
//! It holds the memory of its unsent bytes and little more: they lie in chunks, which are not moved when more come and
//! are given back one by one. A large value is a chunk that is shared with the store: it is not copied. An idle outbox owns no
//! memory.

use std::collections::VecDeque;
use std::sync::Arc;

use kvcore::hooks::Lsn;

#[cfg(all(test, shuttle))]
mod models;

/// A chunk that begins with a small reply is small. Both are sizes an allocator has without rounding up.
const CHUNK_BYTES: usize = 16 * 1024;
const LARGE_CHUNK_BYTES: usize = 64 * 1024;
/// Behind a large value there is often no more than the end of its reply.
const NEXT_CHUNK_BYTES: usize = 512;

/// Bytes on their way out.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Piece<'a> {
    /// They are copied if they must wait.
    Bytes(&'a [u8]),
    /// A large value.
    Shared(&'a Arc<Vec<u8>>),
}

impl<'a> Piece<'a> {
    pub(crate) fn as_bytes(self) -> &'a [u8] {
        match self {
            Piece::Bytes(bytes) => bytes,
            Piece::Shared(value) => value,
        }
    }
}

impl<'a, B: AsRef<[u8]> + ?Sized> From<&'a B> for Piece<'a> {
    fn from(bytes: &'a B) -> Piece<'a> {
        Piece::Bytes(bytes.as_ref())
    }
}

#[derive(Debug)]
enum Chunk {
    Own(Vec<u8>),
    Shared(Arc<Vec<u8>>),
}

impl Chunk {
    fn bytes(&self) -> &Vec<u8> {
        match self {
            Chunk::Own(bytes) => bytes,
            Chunk::Shared(value) => value,
        }
    }
}

/// Unsent bytes of one connection.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// None is empty.
    chunks: VecDeque<Chunk>,
    /// How many bytes of the first chunk have left.
    sent: usize,
    /// Positions of the first byte that has not left, and of the end; they count from when the outbox was last empty.
    start: u64,
    end: u64,
    /// What the allocator holds for the chunks, large values included.
    capacity: usize,
    /// How many chunks are large values.
    shared: usize,
    /// From each position on, the bytes wait for an Lsn; positions and Lsns ascend.
    awaiting: VecDeque<Awaiting>,
}

#[derive(Clone, Copy, Debug)]
struct Awaiting {
    at: u64,
    lsn: Lsn,
}

impl Outbox {
    /// Bytes that have not left.
    pub(crate) fn len(&self) -> usize {
        // They are in memory, so their number fits.
        (self.end - self.start) as usize
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Returns what the allocator holds for it, in bytes, large values included.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Returns how much of that others count: of a large value each of those that hold it at the moment, the store included,
    /// counts an equal part.
    pub(crate) fn shared_bytes(&self) -> usize {
        let of_others = |chunk: &Chunk| match chunk {
            Chunk::Own(_) => 0,
            Chunk::Shared(value) => value.capacity() - value.capacity() / Arc::strong_count(value).max(1),
        };
        if self.shared == 0 { 0 } else { self.chunks.iter().map(of_others).sum() }
    }

    /// Adds bytes that may leave once `lsn` is durable and all before them has left.
    pub(crate) fn push<'p>(&mut self, piece: impl Into<Piece<'p>>, lsn: Lsn) {
        self.push_rest(piece.into(), 0, lsn);
    }

    /// Adds a piece of which so many bytes have left already: none, if others wait before it.
    pub(crate) fn push_rest(&mut self, piece: Piece<'_>, sent: usize, lsn: Lsn) {
        let unsent = piece.as_bytes().get(sent..).unwrap_or_default();
        if unsent.is_empty() {
            return;
        }
        if lsn > self.awaiting.back().map_or(Lsn::ZERO, |next| next.lsn) {
            self.awaiting.push_back(Awaiting { at: self.end, lsn });
        }
        self.end += unsent.len() as u64;
        match piece {
            Piece::Bytes(_) => self.copy(unsent),
            Piece::Shared(value) => {
                if self.chunks.is_empty() {
                    self.sent = sent;
                }
                self.shared += 1;
                self.capacity += value.capacity();
                self.chunks.push_back(Chunk::Shared(Arc::clone(value)));
            }
        }
    }

    fn copy(&mut self, mut bytes: &[u8]) {
        let mut small = CHUNK_BYTES;
        match self.chunks.back_mut() {
            Some(Chunk::Own(last)) => {
                let (fits, rest) = bytes.split_at(bytes.len().min(last.capacity() - last.len()));
                last.extend_from_slice(fits);
                bytes = rest;
            }
            Some(Chunk::Shared(_)) => small = NEXT_CHUNK_BYTES,
            None => {}
        }
        while !bytes.is_empty() {
            let rooms = [small, CHUNK_BYTES, LARGE_CHUNK_BYTES];
            let room = rooms.into_iter().find(|room| bytes.len() <= *room).unwrap_or(LARGE_CHUNK_BYTES);
            let (fits, rest) = bytes.split_at(bytes.len().min(room));
            let mut chunk = Vec::with_capacity(room);
            chunk.extend_from_slice(fits);
            self.capacity += chunk.capacity();
            self.chunks.push_back(Chunk::Own(chunk));
            bytes = rest;
        }
    }

    /// Takes note that all up to `durable` is durable.
    pub(crate) fn advance(&mut self, durable: Lsn) {
        while self.awaiting.front().is_some_and(|next| next.lsn <= durable) {
            self.awaiting.pop_front();
        }
    }

    /// The first of what may leave when all up to `durable` is durable: none only if nothing may.
    pub(crate) fn ready(&mut self, durable: Lsn) -> &[u8] {
        self.advance(durable);
        let Some(first) = self.chunks.front() else { return &[] };
        let unsent = first.bytes().get(self.sent..).unwrap_or_default();
        match self.awaiting.front() {
            Some(next) => &unsent[..unsent.len().min((next.at - self.start) as usize)],
            None => unsent,
        }
    }

    /// The newest Lsn something here waits for.
    pub(crate) fn waits_for(&self) -> Option<Lsn> {
        self.awaiting.back().map(|next| next.lsn)
    }

    /// The oldest Lsn something here waits for.
    pub(crate) fn waits_from(&self) -> Option<Lsn> {
        self.awaiting.front().map(|next| next.lsn)
    }

    /// Takes note that the first `count` bytes of what was [`ready`](Outbox::ready) have left.
    pub(crate) fn mark_sent(&mut self, count: usize) {
        self.sent += count;
        self.start += count as u64;
        if self.chunks.front().is_some_and(|first| self.sent == first.bytes().len())
            && let Some(first) = self.chunks.pop_front()
        {
            self.forget(&first);
            self.sent = 0;
        }
        if self.is_empty() {
            *self = Outbox::default();
        }
    }

    /// Takes a chunk that is gone out of the sums.
    fn forget(&mut self, chunk: &Chunk) {
        self.capacity -= chunk.bytes().capacity();
        self.shared -= usize::from(matches!(chunk, Chunk::Shared(_)));
    }

    /// Throws away all that waits for its Lsn: it will never be durable.
    pub(crate) fn discard_awaiting(&mut self) {
        let Some(next) = self.awaiting.pop_front() else { return };
        self.awaiting.clear();
        while self.end > next.at
            && let Some(mut last) = self.chunks.pop_back()
        {
            let waiting = (self.end - next.at) as usize;
            match &mut last {
                // What waits never begins within a large value.
                Chunk::Own(bytes) if bytes.len() > waiting => {
                    bytes.truncate(bytes.len() - waiting);
                    self.end = next.at;
                    self.chunks.push_back(last);
                }
                all => {
                    self.end -= all.bytes().len() as u64;
                    self.forget(&last);
                }
            }
        }
        if self.is_empty() {
            *self = Outbox::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settled_bytes_leave_and_gated_ones_wait() {
        let mut outbox = Outbox::default();
        outbox.push(b"settled ", Lsn::ZERO);
        outbox.push(b"first ", Lsn::new(5));
        outbox.push(b"read after it ", Lsn::new(3));
        outbox.push(b"second", Lsn::new(9));
        assert_eq!(outbox.ready(Lsn::new(4)), b"settled ");
        outbox.mark_sent(8);
        assert_eq!(outbox.ready(Lsn::new(4)), b"");
        assert_eq!(outbox.ready(Lsn::new(5)), b"first read after it ");
        assert_eq!(outbox.waits_for(), Some(Lsn::new(9)));
        outbox.mark_sent(20);
        assert_eq!(outbox.ready(Lsn::new(9)), b"second");
        outbox.mark_sent(6);
        assert!(outbox.is_empty());
        assert_eq!((outbox.capacity(), outbox.waits_for()), (0, None));
    }

    #[test]
    fn what_can_never_be_durable_is_thrown_away() {
        let mut outbox = Outbox::default();
        outbox.push(b"settled", Lsn::ZERO);
        outbox.push(b"lost", Lsn::new(5));
        outbox.discard_awaiting();
        outbox.push(b" error", Lsn::ZERO);
        assert_eq!(outbox.ready(Lsn::ZERO), b"settled error");
    }

    #[test]
    fn what_is_durable_is_kept_though_it_has_not_left() {
        let mut outbox = Outbox::default();
        outbox.push(b"durable", Lsn::new(5));
        outbox.push(b"lost", Lsn::new(6));
        outbox.advance(Lsn::new(5));
        assert_eq!(outbox.waits_from(), Some(Lsn::new(6)));
        outbox.discard_awaiting();
        assert_eq!((outbox.waits_for(), outbox.ready(Lsn::ZERO)), (None, &b"durable"[..]));
    }

    #[test]
    fn chunks_leave_one_by_one_and_gates_keep_their_place() {
        let mut outbox = Outbox::default();
        outbox.push(&[b'a'; 100_000], Lsn::ZERO);
        outbox.push(b"gated", Lsn::new(1));
        outbox.push(&[b'b'; 5], Lsn::ZERO);
        outbox.mark_sent(LARGE_CHUNK_BYTES);
        outbox.mark_sent(30_000);
        assert_eq!(outbox.ready(Lsn::ZERO).len(), 100_000 - LARGE_CHUNK_BYTES - 30_000);
        outbox.mark_sent(100_000 - LARGE_CHUNK_BYTES - 30_000);
        assert_eq!(outbox.capacity(), LARGE_CHUNK_BYTES);
        assert_eq!(outbox.ready(Lsn::ZERO), b"");
        assert_eq!((outbox.len(), outbox.ready(Lsn::new(1))), (10, &b"gatedbbbbb"[..]));
        outbox.mark_sent(10);
        assert_eq!((outbox.capacity(), outbox.len()), (0, 0));
    }

    #[test]
    fn it_holds_no_more_than_its_bytes_and_a_chunk() {
        let mut outbox = Outbox::default();
        for bytes in [1, 100, 20_000, 3, 1_000_000, 7, 16_384, 50] {
            outbox.push(&vec![b'x'; bytes], Lsn::ZERO);
            assert!(outbox.capacity() < outbox.len() + LARGE_CHUNK_BYTES, "{} for {}", outbox.capacity(), outbox.len());
        }
        let mut left = outbox.len();
        while left > 0 {
            let count = outbox.ready(Lsn::ZERO).len().min(5000);
            assert!(count > 0);
            outbox.mark_sent(count);
            left -= count;
            assert_eq!(outbox.len(), left);
        }
    }

    #[test]
    fn a_large_value_is_held_once_and_leaves_in_its_place() {
        let value = Arc::new(vec![b'v'; 100_000]);
        let mut outbox = Outbox::default();
        // Some of it has left when the socket was full.
        outbox.push_rest(Piece::Shared(&value), 40_000, Lsn::ZERO);
        outbox.push(b"\r\n", Lsn::ZERO);
        outbox.push(Piece::Shared(&value), Lsn::new(1));
        outbox.push(b"\r\n", Lsn::ZERO);
        assert_eq!(Arc::strong_count(&value), 3);
        assert_eq!((outbox.len(), outbox.ready(Lsn::ZERO).len()), (160_004, 60_000));
        let own_part = 2 * (value.capacity() / 3) + 2 * NEXT_CHUNK_BYTES;
        assert_eq!(outbox.capacity(), 2 * value.capacity() + 2 * NEXT_CHUNK_BYTES);
        assert_eq!(outbox.capacity() - outbox.shared_bytes(), own_part);
        outbox.mark_sent(60_000);
        assert_eq!(outbox.ready(Lsn::ZERO), b"\r\n");
        outbox.mark_sent(2);
        assert_eq!(outbox.ready(Lsn::ZERO), b"");
        assert_eq!(outbox.ready(Lsn::new(1)).len(), 100_000);
        outbox.mark_sent(99_999);
        assert_eq!((outbox.ready(Lsn::new(1)), Arc::strong_count(&value)), (&b"v"[..], 2));
        outbox.mark_sent(1);
        assert_eq!((outbox.ready(Lsn::ZERO), Arc::strong_count(&value)), (&b"\r\n"[..], 1));
        // What waits for the log is thrown away, what has been sent in part is not.
        let mut outbox = Outbox::default();
        outbox.push_rest(Piece::Shared(&value), 99_990, Lsn::ZERO);
        outbox.push(b" kept", Lsn::ZERO);
        outbox.push(b"lost", Lsn::new(1));
        outbox.push(Piece::Shared(&value), Lsn::new(2));
        outbox.discard_awaiting();
        assert_eq!((outbox.len(), Arc::strong_count(&value)), (15, 2));
        outbox.mark_sent(10);
        assert_eq!(outbox.ready(Lsn::ZERO), b" kept");
    }

    #[test]
    fn what_is_thrown_away_may_end_within_a_chunk() {
        for settled in [0, 1, 16_384, 40_000] {
            let mut outbox = Outbox::default();
            outbox.push(&vec![b's'; settled], Lsn::ZERO);
            for lsn in 1..10 {
                outbox.push(&[b'g'; 9000], Lsn::new(lsn));
            }
            outbox.discard_awaiting();
            assert_eq!((outbox.len(), outbox.waits_for()), (settled, None));
            outbox.push(b"end", Lsn::ZERO);
            assert_eq!(outbox.len(), settled + 3);
        }
    }
}
