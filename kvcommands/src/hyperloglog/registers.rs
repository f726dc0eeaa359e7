//! All registers side by side, one byte each: what the union of several values is made of.
//!
//! Invariant: whatever the bytes of a value, reading it touches each register at most as often as the value says, and
//! a value that does not speak of every register exactly once is refused.

use super::estimate::{self, Histogram, RANKS, REGISTERS};
use super::header::HEADER_BYTES;
use super::sketch::{Form, dense_register};
use super::sparse;

/// The rank in each register.
pub(crate) struct Registers(Vec<u8>);

impl Registers {
    pub(crate) fn new() -> Registers {
        Registers(vec![0; REGISTERS])
    }

    /// Raises each register to what it is in a value; none if the value is corrupted.
    pub(crate) fn take_in(&mut self, value: &[u8]) -> Option<()> {
        match Form::of(value)? {
            Form::Dense => {
                for (register, rank) in self.0.iter_mut().enumerate() {
                    *rank = (*rank).max(dense_register(value, register));
                }
            }
            Form::Sparse => {
                let mut first = 0;
                for run in sparse::runs(value.get(HEADER_BYTES..)?) {
                    if run.rank > 0 {
                        for rank in self.0.get_mut(first..first + run.length)? {
                            *rank = (*rank).max(run.rank);
                        }
                    }
                    first += run.length;
                    if first > REGISTERS {
                        return None;
                    }
                }
                if first != REGISTERS {
                    return None;
                }
            }
        }
        Some(())
    }

    pub(crate) fn cardinality(&self) -> u64 {
        let mut histogram: Histogram = [0; RANKS];
        for rank in &self.0 {
            histogram[usize::from(*rank) % RANKS] += 1;
        }
        estimate::cardinality(&histogram)
    }

    /// The registers that something has reached, with their ranks.
    pub(crate) fn raised(&self) -> impl Iterator<Item = (usize, u8)> {
        self.0.iter().copied().enumerate().filter(|(_, rank)| *rank > 0)
    }
}

/// The estimate for one value; none if it is corrupted.
pub(crate) fn cardinality_of(value: &[u8]) -> Option<u64> {
    let mut histogram: Histogram = [0; RANKS];
    match Form::of(value)? {
        Form::Dense => {
            for register in 0..REGISTERS {
                histogram[usize::from(dense_register(value, register))] += 1;
            }
        }
        Form::Sparse => {
            let mut first = 0;
            for run in sparse::runs(value.get(HEADER_BYTES..)?) {
                histogram[usize::from(run.rank)] += run.length as u32;
                first += run.length;
                if first > REGISTERS {
                    return None;
                }
            }
            if first != REGISTERS {
                return None;
            }
        }
    }
    Some(estimate::cardinality(&histogram))
}
