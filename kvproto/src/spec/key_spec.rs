//! Which words of a request are keys.
//!
//! Invariant: a position named here never lies outside the request it is applied to.

use super::flags::{FlagSet, KeyFlag};
use crate::request::Request;

/// Which words are keys, in the short form COMMAND shows and the server locks by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyRule {
    /// None.
    None,
    /// Every `step`th word from `first` to `last`; a negative `last` counts from the end, -1 being the last word.
    Range {
        /// Position of the first key, the command's name being 0.
        first: usize,
        /// Position of the last key.
        last: isize,
        /// Distance between keys, at least 1.
        step: usize,
    },
}

impl KeyRule {
    /// The keys in `request` with their positions. Words that are missing are no keys.
    pub fn of<'b>(&self, request: Request<'b>) -> Keys<'b> {
        let (first, last, step) = match *self {
            KeyRule::None => (0, 0, 1),
            KeyRule::Range { first, last, step } => (first, last, step),
        };
        let end = match usize::try_from(last) {
            _ if *self == KeyRule::None => 0,
            Ok(last) => request.len().min(last + 1),
            // -1 is the last word, so the end is `len`; -2 one before it.
            Err(_) => (request.len() + 1).saturating_sub(last.unsigned_abs()),
        };
        Keys { request, next: first, end, step }
    }

    /// The range that covers all of `specs`: the keys of the tables' commands follow each other.
    pub(super) const fn covering(specs: &[KeySpec]) -> KeyRule {
        // A channel has the place of a key, for a cluster's sake, and is none.
        if specs.is_empty() || specs[0].flags.has(KeyFlag::NotKey) {
            return KeyRule::None;
        }
        KeyRule::Range { first: specs[0].first, last: specs[specs.len() - 1].last_from_start(), step: specs[0].step }
    }
}

/// The keys of one request with their positions; made by [`KeyRule::of`].
#[derive(Clone, Debug)]
pub struct Keys<'b> {
    request: Request<'b>,
    next: usize,
    end: usize,
    step: usize,
}

impl<'b> Iterator for Keys<'b> {
    type Item = (usize, &'b [u8]);

    fn next(&mut self) -> Option<(usize, &'b [u8])> {
        if self.next >= self.end {
            return None;
        }
        let position = self.next;
        self.next += self.step;
        Some((position, self.request.get(position)?))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.end.saturating_sub(self.next).div_ceil(self.step);
        (left, Some(left))
    }
}

impl ExactSizeIterator for Keys<'_> {}

/// A run of keys, and what the command does to them.
#[derive(Clone, Copy, Debug)]
pub struct KeySpec {
    /// A remark for readers of COMMAND, if there is one to make.
    pub notes: Option<&'static str>,
    /// What happens to these keys.
    pub flags: FlagSet<KeyFlag>,
    /// Position of the first key, the command's name being 0.
    pub first: usize,
    /// Position of the last key: relative to `first` if 0 or more, else from the end, -1 being the last word.
    pub last: isize,
    /// Distance between keys.
    pub step: usize,
}

impl KeySpec {
    /// One key at `position`.
    pub(super) const fn one(position: usize, flags: &[KeyFlag]) -> KeySpec {
        KeySpec { notes: None, flags: KeyFlag::set(flags), first: position, last: 0, step: 1 }
    }

    /// Every `step`th word from `first` to the end.
    pub(super) const fn to_end(first: usize, step: usize, flags: &[KeyFlag]) -> KeySpec {
        KeySpec { notes: None, flags: KeyFlag::set(flags), first, last: -1, step }
    }

    pub(super) const fn notes(mut self, notes: &'static str) -> KeySpec {
        self.notes = Some(notes);
        self
    }

    /// The last key's position, the command's name being 0 if it is not negative.
    const fn last_from_start(&self) -> isize {
        if self.last < 0 { self.last } else { self.first as isize + self.last }
    }
}
