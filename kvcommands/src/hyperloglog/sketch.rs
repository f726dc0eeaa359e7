//! One stored value: the dense form of its registers, and the way from the sparse form to it.
//!
//! Invariant: a [`Sketch`] is whole after every call. The dense form is 16384 registers of 6 bits, the lowest bits of a
//! byte first.

use super::estimate::REGISTERS;
use super::header::{CARDINALITY_AT, FORM_AT, HEADER_BYTES, MAGIC, UNKNOWN};
use super::sparse;
use crate::config::HLL_SPARSE_BYTES;

const REGISTER_BITS: usize = 6;
const REGISTER_MASK: u16 = 0x3f;
const DENSE_BYTES: usize = HEADER_BYTES + REGISTERS * REGISTER_BITS / 8;
/// No sparse value is longer: each run takes at most two bytes and is of one register at least.
const SPARSE_BYTES_EVER: usize = HEADER_BYTES + 2 * REGISTERS;

/// How the registers are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Form {
    Dense,
    Sparse,
}

impl Form {
    /// What the header says; none if these bytes are no HyperLogLog.
    pub(crate) fn of(value: &[u8]) -> Option<Form> {
        if value.len() < HEADER_BYTES || !value.starts_with(MAGIC) {
            return None;
        }
        match value.get(FORM_AT)? {
            0 => (value.len() == DENSE_BYTES).then_some(Form::Dense),
            1 => Some(Form::Sparse),
            _ => None,
        }
    }
}

/// Where a register begins in a dense value: the byte, and the bit in there.
fn place(register: usize) -> (usize, usize) {
    let bit = register * REGISTER_BITS;
    (HEADER_BYTES + bit / 8, bit % 8)
}

/// The rank in a register of a dense value.
pub(crate) fn dense_register(value: &[u8], register: usize) -> u8 {
    let (at, shift) = place(register);
    let byte = |at: usize| u16::from(value.get(at).copied().unwrap_or(0));
    // Fits: it has 6 bits.
    ((byte(at) | byte(at + 1) << 8) >> shift & REGISTER_MASK) as u8
}

/// The bytes of a dense value that hold a register, and where they lie, once it is raised to `rank`; none if it is as
/// high already. The last register's second byte would lie beyond the end, and it does not reach into it.
pub(crate) fn raised(value: &[u8], register: usize, rank: u8) -> Option<(usize, smallvec::SmallVec<[u8; 2]>)> {
    if dense_register(value, register) >= rank {
        return None;
    }
    let (at, shift) = place(register);
    let held = value.get(at..)?;
    let held = &held[..held.len().min(2)];
    let old = held.iter().rev().fold(0u16, |word, byte| word << 8 | u16::from(*byte));
    let new = old & !(REGISTER_MASK << shift) | u16::from(rank) << shift;
    let needed = if shift + REGISTER_BITS > 8 { held.len() } else { 1 };
    Some((at, new.to_le_bytes()[..needed].into()))
}

/// A value being changed.
pub(crate) struct Sketch {
    bytes: Vec<u8>,
    sparse_bytes_max: usize,
}

impl Sketch {
    /// One that nothing was added to.
    pub(crate) fn new() -> Sketch {
        let mut bytes = MAGIC.to_vec();
        bytes.resize(HEADER_BYTES, 0);
        bytes[FORM_AT] = 1;
        sparse::write_zeros(REGISTERS, &mut bytes);
        Sketch { bytes, sparse_bytes_max: HLL_SPARSE_BYTES }
    }

    /// A copy of a stored value; none if it cannot be one.
    pub(crate) fn read(value: &[u8]) -> Option<Sketch> {
        let fits = Form::of(value)? == Form::Dense || value.len() <= SPARSE_BYTES_EVER;
        fits.then(|| Sketch { bytes: value.to_vec(), sparse_bytes_max: HLL_SPARSE_BYTES })
    }

    /// From now on it becomes dense when it would take more than so many bytes.
    pub(crate) fn keep_sparse_up_to(&mut self, bytes: usize) {
        self.sparse_bytes_max = bytes;
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Marks the last estimate as out of date.
    pub(crate) fn forget_cardinality(&mut self) {
        self.bytes[CARDINALITY_AT + 7] |= UNKNOWN;
    }

    /// Raises a register to `rank`, and answers whether it was lower; none if the value is corrupted.
    pub(crate) fn raise(&mut self, register: usize, rank: u8) -> Option<bool> {
        if Form::of(&self.bytes)? == Form::Sparse {
            match sparse::raise(&mut self.bytes, register, rank, self.sparse_bytes_max)? {
                sparse::Raised::Done(changed) => return Some(changed),
                sparse::Raised::NoRoom => self.make_dense()?,
            }
        }
        let Some((at, bytes)) = raised(&self.bytes, register, rank) else {
            return Some(false);
        };
        self.bytes.get_mut(at..at + bytes.len())?.copy_from_slice(&bytes);
        Some(true)
    }

    /// Changes to the dense form; none if the sparse one is corrupted.
    pub(crate) fn make_dense(&mut self) -> Option<()> {
        if Form::of(&self.bytes)? == Form::Dense {
            return Some(());
        }
        let mut dense = self.bytes.get(..HEADER_BYTES)?.to_vec();
        dense.resize(DENSE_BYTES, 0);
        dense[FORM_AT] = 0;
        let mut first = 0;
        for run in sparse::runs(self.bytes.get(HEADER_BYTES..)?) {
            if first + run.length > REGISTERS {
                return None;
            }
            for register in first..first + run.length {
                if let Some((at, bytes)) = raised(&dense, register, run.rank) {
                    dense.get_mut(at..at + bytes.len())?.copy_from_slice(&bytes);
                }
            }
            first += run.length;
        }
        if first != REGISTERS {
            return None;
        }
        self.bytes = dense;
        Some(())
    }
}
