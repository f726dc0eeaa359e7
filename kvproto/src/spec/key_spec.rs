//! Which words of a request are keys.
//!
//! Invariant: a position named here never lies outside the request it is applied to.

use super::flags::{FlagSet, KeyFlag};
use crate::number::parse_integer;
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
    /// As many as a word of the request says.
    Counted {
        /// Position of the word that says it.
        at: usize,
        /// Position of the first key.
        first: usize,
        /// Distance between keys, at least 1.
        step: usize,
    },
}

impl KeyRule {
    /// The keys in `request` with their positions. Words that are missing are no keys.
    pub fn of<'b>(&self, request: Request<'b>) -> Keys<'b> {
        let (first, end, step) = match *self {
            KeyRule::None => (0, 0, 1),
            KeyRule::Range { first, last, step } => {
                let end = match usize::try_from(last) {
                    Ok(last) => request.len().min(last + 1),
                    // -1 is the last word, so the end is `len`; -2 one before it.
                    Err(_) => (request.len() + 1).saturating_sub(last.unsigned_abs()),
                };
                (first, end, step)
            }
            KeyRule::Counted { at, first, step } => {
                let count = request.get(at).and_then(parse_integer).and_then(|count| usize::try_from(count).ok());
                let end = first.saturating_add(count.unwrap_or(0).saturating_mul(step));
                (first, request.len().min(end), step)
            }
        };
        Keys { request, next: first, end, step }
    }

    /// What covers all of `specs`: the keys of the commands that are executed follow each other.
    pub(super) const fn covering(specs: &[KeySpec]) -> KeyRule {
        // A channel has the place of a key, for a cluster's sake, and is none.
        if specs.is_empty() || specs[0].flags.has(KeyFlag::NotKey) {
            return KeyRule::None;
        }
        let last = &specs[specs.len() - 1];
        match (specs[0].begin, specs[0].find, last.begin, last.find) {
            (Begin::Index(first), Find::Range { step, .. }, Begin::Index(from), Find::Range { last, .. }) => {
                KeyRule::Range { first, last: if last < 0 { last } else { from as isize + last }, step }
            }
            (Begin::Index(at), Find::Counted { first, step }, ..) if specs.len() == 1 => {
                KeyRule::Counted { at, first: at + first, step }
            }
            _ => KeyRule::None,
        }
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
    /// Where they begin.
    pub begin: Begin,
    /// Which words from there on they are.
    pub find: Find,
}

/// Where a run of keys begins.
#[derive(Clone, Copy, Debug)]
pub enum Begin {
    /// At this position, the command's name being 0.
    Index(usize),
    /// Behind a keyword.
    Keyword {
        /// The keyword, in upper case.
        word: &'static str,
        /// Where the search for it starts; if negative, from the end and backwards.
        from: isize,
    },
    /// Too involved for a rule.
    Unknown,
}

/// Which words from the beginning on are keys.
#[derive(Clone, Copy, Debug)]
pub enum Find {
    /// Every `step`th word up to the last.
    Range {
        /// Position of the last key: relative to the first if 0 or more, else from the end, -1 being the last word.
        last: isize,
        /// Distance between keys.
        step: usize,
        /// If 2 or more, only this fraction of the words are keys: with 2 the first half.
        limit: usize,
    },
    /// The word at the beginning says how many there are.
    Counted {
        /// Distance from that word to the first key.
        first: usize,
        /// Distance between keys.
        step: usize,
    },
    /// Too involved for a rule.
    Unknown,
}

/// What the rows of the families are written with.
impl KeySpec {
    const fn new(begin: Begin, find: Find, flags: &[KeyFlag]) -> KeySpec {
        KeySpec { notes: None, flags: KeyFlag::set(flags), begin, find }
    }

    /// One key at `position`.
    pub(super) const fn one(position: usize, flags: &[KeyFlag]) -> KeySpec {
        KeySpec::range(position, 0, flags)
    }

    /// The words from `position` to `last`: relative to `position` if 0 or more, else from the end.
    pub(super) const fn range(position: usize, last: isize, flags: &[KeyFlag]) -> KeySpec {
        KeySpec::new(Begin::Index(position), Find::Range { last, step: 1, limit: 0 }, flags)
    }

    /// Every `step`th word from `first` to the end.
    pub(super) const fn to_end(first: usize, step: usize, flags: &[KeyFlag]) -> KeySpec {
        KeySpec::new(Begin::Index(first), Find::Range { last: -1, step, limit: 0 }, flags)
    }

    /// As many keys as the word at `position` says, every `step`th word behind it.
    pub(super) const fn counted(position: usize, step: usize, flags: &[KeyFlag]) -> KeySpec {
        KeySpec::new(Begin::Index(position), Find::Counted { first: 1, step }, flags)
    }

    /// The words behind a keyword up to `last`, or only the first part of them (see [`Find::Range`]).
    pub(super) const fn behind(
        word: &'static str,
        from: isize,
        last: isize,
        limit: usize,
        flags: &[KeyFlag],
    ) -> KeySpec {
        KeySpec::new(Begin::Keyword { word, from }, Find::Range { last, step: 1, limit }, flags)
    }

    /// Keys that no rule finds.
    pub(super) const fn unknown(flags: &[KeyFlag]) -> KeySpec {
        KeySpec::new(Begin::Unknown, Find::Unknown, flags)
    }

    pub(super) const fn notes(mut self, notes: &'static str) -> KeySpec {
        self.notes = Some(notes);
        self
    }
}
