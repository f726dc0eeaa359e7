//! The output of one round of an event loop: the replies of all its connections, one behind the other in one buffer.
//!
//! Invariant: the parts of one connection keep their order, and a part carries the newest Lsn its bytes reveal.
//! Most bytes go from here straight into a socket, so a connection needs no output buffer of its own.

use std::ops::Range;

use kvcore::Lsn;

/// Above this the buffer's memory is given back after the round, in bytes.
const KEEP_BYTES: usize = 1024 * 1024;

/// Replies on their way out.
#[derive(Debug, Default)]
pub(crate) struct Round {
    pub(crate) bytes: Vec<u8>,
    parts: Vec<Part>,
}

/// A stretch of the buffer, up to where the next part starts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    pub(crate) slot: usize,
    pub(crate) lsn: Lsn,
    start: usize,
}

impl Round {
    /// What is written from now on is for the connection at `slot`.
    pub(crate) fn begin(&mut self, slot: usize) {
        self.open(slot, Lsn::ZERO, self.bytes.len());
    }

    /// What was written since `start` reveals `lsn`.
    pub(crate) fn gate(&mut self, start: usize, lsn: Lsn) {
        if let Some(last) = self.parts.last()
            && lsn > last.lsn
        {
            self.open(last.slot, lsn, start);
        }
    }

    fn open(&mut self, slot: usize, lsn: Lsn, start: usize) {
        if self.parts.last().is_some_and(|last| last.start == start) {
            self.parts.pop();
        }
        self.parts.push(Part { slot, lsn, start });
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Where part `index` lies in the buffer.
    pub(crate) fn range(&self, index: usize) -> Range<usize> {
        self.parts[index].start..self.parts.get(index + 1).map_or(self.bytes.len(), |next| next.start)
    }

    pub(crate) fn clear(&mut self) {
        self.parts.clear();
        self.bytes.clear();
        if self.bytes.capacity() > KEEP_BYTES {
            self.bytes = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_split_where_the_lsn_rises_and_empty_ones_vanish() {
        let mut round = Round::default();
        round.begin(1);
        round.begin(2);
        round.bytes.extend(b"a");
        let start = round.len();
        round.bytes.extend(b"b");
        round.gate(start, Lsn::new(7));
        let start = round.len();
        round.bytes.extend(b"c");
        round.gate(start, Lsn::new(3));
        round.begin(3);
        round.bytes.extend(b"d");
        let seen: Vec<_> = (0..round.parts().len())
            .map(|index| (round.parts()[index].slot, round.parts()[index].lsn.get(), &round.bytes[round.range(index)]))
            .collect();
        assert_eq!(seen, [(2, 0, &b"a"[..]), (2, 7, b"bc"), (3, 0, b"d")]);
    }
}
