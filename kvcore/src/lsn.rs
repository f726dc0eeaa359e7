//! Lsn: the place of a change in the log. Invariant: a later change has a greater Lsn, and none is ever given twice.

use std::fmt;

/// No store gets that far: a file that says so is none of ours, and sums with what is below cannot overflow.
pub(crate) const NUMBER_MAX: u64 = 1 << 62;

/// Log sequence number: the number of the transaction, counted from 1, since the store was created.
///
/// A change is durable once [`DbHooks::durable_lsn`](crate::hooks::DbHooks::durable_lsn) has reached its Lsn.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Lsn(u64);

impl Lsn {
    /// Before every change: durable from the start. An in-memory store knows only this one.
    pub const ZERO: Lsn = Lsn(0);

    /// Returns the Lsn with this number.
    ///
    /// ```
    /// use kvcore::hooks::Lsn;
    /// assert!(Lsn::new(7) > Lsn::ZERO);
    /// ```
    pub const fn new(number: u64) -> Self {
        Lsn(number)
    }

    /// Returns the number.
    ///
    /// ```
    /// assert_eq!(kvcore::hooks::Lsn::new(7).get(), 7);
    /// ```
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The Lsn of the change after this one.
    pub(crate) const fn next(self) -> Self {
        Lsn(self.0 + 1)
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
