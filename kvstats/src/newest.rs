//! The newest entries of a log that is kept in memory.
//!
//! Invariant: there are never more entries than allowed when the log was last [pushed to](Newest::push) or
//! [shortened](Newest::shorten), and [`Newest::bytes`] is what they take.

use std::collections::VecDeque;

/// What a log is made of.
pub trait Entry {
    /// Returns what the entry takes in memory, in bytes, itself included.
    fn bytes(&self) -> usize;
}

/// The entries of a log, newest first.
#[derive(Debug)]
pub struct Newest<E> {
    entries: VecDeque<E>,
    bytes: usize,
}

impl<E> Default for Newest<E> {
    fn default() -> Newest<E> {
        Newest { entries: VecDeque::new(), bytes: 0 }
    }
}

impl<E: Entry> Newest<E> {
    /// Adds the newest entry, and drops the oldest ones beyond `count_max`.
    pub fn push(&mut self, entry: E, count_max: usize) {
        self.bytes += entry.bytes();
        self.entries.push_front(entry);
        self.shorten(count_max);
    }

    /// Drops the oldest entries until there are at most `count_max`.
    pub fn shorten(&mut self, count_max: usize) {
        while self.entries.len() > count_max {
            self.bytes -= self.entries.pop_back().map_or(0, |entry| entry.bytes());
        }
        if self.entries.capacity() > 4 * self.entries.len() + 16 {
            self.entries.shrink_to_fit();
        }
    }

    /// Takes an entry out.
    pub fn take(&mut self, at: usize) -> Option<E> {
        let entry = self.entries.remove(at)?;
        self.bytes -= entry.bytes();
        Some(entry)
    }

    /// Returns the entries, newest first.
    pub fn iter(&self) -> impl Iterator<Item = &E> {
        self.entries.iter()
    }

    /// Returns how many entries there are.
    pub fn count(&self) -> usize {
        self.entries.len()
    }

    /// Returns what all entries take in memory.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Entry for usize {
        fn bytes(&self) -> usize {
            *self
        }
    }

    #[test]
    fn bytes_are_those_of_the_entries_that_are_left() {
        let mut log = Newest::default();
        (1..=5).for_each(|entry| log.push(entry, 3));
        assert_eq!((log.iter().copied().collect::<Vec<_>>(), log.bytes()), (vec![5, 4, 3], 12));
        assert_eq!((log.take(1), log.take(7), log.bytes()), (Some(4), None, 8));
        log.shorten(1);
        assert_eq!((log.count(), log.bytes()), (1, 5));
        log.push(9, 0);
        assert_eq!((log.count(), log.bytes()), (0, 0));
    }
}
