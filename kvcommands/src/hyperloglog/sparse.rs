//! The sparse form: runs of registers that hold the same rank.
//!
//! Invariant: a change keeps how many registers the runs speak of. `00nnnnnn` is a run of n+1 zeros, `01nnnnnn
//! nnnnnnnn` a longer one (the highest bits first), `1rrrrrnn` n+1 registers of rank r+1.

use super::header::HEADER_BYTES;

/// The longest run of zeros that takes one byte.
const SHORT_ZEROS_MAX: usize = 64;
/// The longest run of zeros that takes two bytes.
const LONG_ZEROS_MAX: usize = 16384;
/// The highest rank there is a run for.
const RANK_MAX: u8 = 32;
/// The longest run of a rank.
const RANKED_MAX: usize = 4;
/// How many runs behind a change are looked at for neighbours that have become one.
const MERGE_SPAN: usize = 5;

/// Registers that follow each other and hold the same rank.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) rank: u8,
    pub(crate) length: usize,
    /// How many bytes it takes.
    pub(crate) width: usize,
}

impl Run {
    /// The run that `bytes` begin with, if there are any. A missing second byte counts as 0.
    fn read(bytes: &[u8]) -> Option<Run> {
        let first = *bytes.first()?;
        Some(match first >> 6 {
            0 => Run { rank: 0, length: usize::from(first) + 1, width: 1 },
            1 => {
                let second = bytes.get(1).copied().unwrap_or(0);
                Run { rank: 0, length: (usize::from(first & 0x3f) << 8 | usize::from(second)) + 1, width: 2 }
            }
            _ => Run { rank: (first >> 2 & 0x1f) + 1, length: usize::from(first & 3) + 1, width: 1 },
        })
    }
}

/// The runs that `bytes` are made of.
pub(crate) fn runs(bytes: &[u8]) -> impl Iterator<Item = Run> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let run = Run::read(rest)?;
        rest = rest.get(run.width..).unwrap_or_default();
        Some(run)
    })
}

/// Appends so many zeros, as few bytes as they take.
pub(crate) fn write_zeros(mut length: usize, out: &mut impl Extend<u8>) {
    while length > 0 {
        let part = length.min(LONG_ZEROS_MAX);
        // Both fit: a part is at most 14 bits and one.
        if part <= SHORT_ZEROS_MAX {
            out.extend([part as u8 - 1]);
        } else {
            out.extend([0x40 | ((part - 1) >> 8) as u8, (part - 1) as u8]);
        }
        length -= part;
    }
}

/// `length` registers, at most [`RANKED_MAX`], of `rank`.
fn ranked(rank: u8, length: usize) -> u8 {
    0x80 | (rank - 1) << 2 | (length as u8 - 1)
}

/// Appends a run, which may be empty, of either kind.
fn write_run(rank: u8, length: usize, out: &mut smallvec::SmallVec<[u8; 8]>) {
    match (rank, length) {
        (_, 0) => {}
        (0, length) => write_zeros(length, out),
        (rank, length) => out.push(ranked(rank, length)),
    }
}

/// What became of an attempt to raise a register.
pub(crate) enum Raised {
    /// Whether it was lower before.
    Done(bool),
    /// It has to rise, and this form has no place for that.
    NoRoom,
}

/// Raises a register of a sparse value, header included, to `rank`; none if the value is corrupted.
pub(crate) fn raise(value: &mut Vec<u8>, register: usize, rank: u8, bytes_max: usize) -> Option<Raised> {
    if rank > RANK_MAX {
        return Some(Raised::NoRoom);
    }
    let (mut at, mut first, mut before) = (HEADER_BYTES, 0, None);
    let run = loop {
        let run = Run::read(value.get(at..)?)?;
        if register < first + run.length {
            break run;
        }
        before = Some(at);
        at += run.width;
        first += run.length;
    };
    if run.rank >= rank {
        return Some(Raised::Done(false));
    }
    if at + run.width > value.len() {
        return None;
    }
    let mut split = smallvec::SmallVec::new();
    write_run(run.rank, register - first, &mut split);
    write_run(rank, 1, &mut split);
    write_run(run.rank, first + run.length - 1 - register, &mut split);
    if split.len() > run.width && value.len() + split.len() - run.width > bytes_max {
        return Some(Raised::NoRoom);
    }
    value.splice(at..at + run.width, split);
    merge(value, before.unwrap_or(HEADER_BYTES));
    Some(Raised::Done(true))
}

/// Joins neighbours of the same rank, from the run at `at` on.
fn merge(value: &mut Vec<u8>, mut at: usize) {
    for _ in 0..MERGE_SPAN {
        let Some(run) = value.get(at..).and_then(Run::read) else { return };
        let next = value.get(at + run.width..).and_then(Run::read);
        match next {
            Some(next) if run.rank > 0 && next.rank == run.rank && run.length + next.length <= RANKED_MAX => {
                value[at + 1] = ranked(run.rank, run.length + next.length);
                value.remove(at);
            }
            _ => at += run.width,
        }
    }
}
