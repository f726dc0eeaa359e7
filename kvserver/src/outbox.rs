//! Bytes on their way to one client: what its socket did not take yet, and what must not leave yet.
//!
//! Invariant: bytes leave in order, and none leaves before the change it reveals is durable (durability `always`).
//! An idle outbox owns no memory.

use std::collections::VecDeque;

use kvcore::Lsn;

/// Unsent bytes of one connection.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    /// How many of `bytes` have left.
    sent: usize,
    /// From each position on, the bytes wait for an Lsn; positions and Lsns ascend.
    gates: VecDeque<Gate>,
}

#[derive(Clone, Copy, Debug)]
struct Gate {
    at: usize,
    lsn: Lsn,
}

impl Outbox {
    /// Bytes that have not left.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.sent
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the allocator holds for it.
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Adds bytes that may leave once `lsn` is durable and all before them has left.
    pub(crate) fn push(&mut self, bytes: &[u8], lsn: Lsn) {
        if bytes.is_empty() {
            return;
        }
        if lsn > self.gates.back().map_or(Lsn::ZERO, |gate| gate.lsn) {
            self.gates.push_back(Gate { at: self.bytes.len(), lsn });
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// What may leave when all up to `durable` is durable.
    pub(crate) fn ready(&mut self, durable: Lsn) -> &[u8] {
        while self.gates.front().is_some_and(|gate| gate.lsn <= durable) {
            self.gates.pop_front();
        }
        let end = self.gates.front().map_or(self.bytes.len(), |gate| gate.at);
        &self.bytes[self.sent..end]
    }

    /// The newest Lsn something here waits for.
    pub(crate) fn waits_for(&self) -> Option<Lsn> {
        self.gates.back().map(|gate| gate.lsn)
    }

    /// The oldest Lsn something here waits for.
    pub(crate) fn waits_from(&self) -> Option<Lsn> {
        self.gates.front().map(|gate| gate.lsn)
    }

    /// Takes note that the first `count` unsent bytes have left.
    pub(crate) fn mark_sent(&mut self, count: usize) {
        self.sent += count;
        if self.sent == self.bytes.len() {
            self.bytes = Vec::new();
            self.gates = VecDeque::new();
            self.sent = 0;
        } else if self.sent >= 64 * 1024 && self.sent >= self.bytes.len() / 2 {
            // Moves at most as many bytes as have left since the last time, so a slow reader costs linear work.
            self.bytes.drain(..self.sent);
            for gate in &mut self.gates {
                gate.at -= self.sent;
            }
            self.sent = 0;
        }
    }

    /// Throws away all that waits for its Lsn: it will never be durable.
    pub(crate) fn discard_gated(&mut self) {
        if let Some(gate) = self.gates.front() {
            self.bytes.truncate(gate.at);
            self.gates.clear();
            self.mark_sent(0);
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
        outbox.discard_gated();
        outbox.push(b" error", Lsn::ZERO);
        assert_eq!(outbox.ready(Lsn::ZERO), b"settled error");
    }

    #[test]
    fn compaction_keeps_gates_in_place() {
        let mut outbox = Outbox::default();
        outbox.push(&vec![b'a'; 100_000], Lsn::ZERO);
        outbox.push(b"gated", Lsn::new(1));
        outbox.mark_sent(90_000);
        assert_eq!(outbox.ready(Lsn::ZERO).len(), 10_000);
        outbox.mark_sent(10_000);
        assert_eq!(outbox.ready(Lsn::ZERO), b"");
        assert_eq!(outbox.ready(Lsn::new(1)), b"gated");
    }
}
