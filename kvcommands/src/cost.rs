//! What work costs, in nanoseconds, as commands charge for it.
//!
//! Invariant: a charge is made before the work, by lengths that are known.

use kvcore::hooks::ReadTxn;

/// Bytes that are looked at one after the other in a nanosecond, where that is all that is done: counted, compared.
const SCANNED_PER_NS: u64 = 4;
/// Bytes that are copied, or made, in a nanosecond, where that takes fresh memory.
const COPIED_PER_NS: u64 = 2;

/// Charges for looking at bytes, eight or more at a time.
pub(crate) fn charge_scan(txn: &dyn ReadTxn, bytes: usize) -> kvcore::Result<()> {
    txn.charge(bytes as u64 / SCANNED_PER_NS)
}

/// Charges for copying bytes.
pub(crate) fn charge_copy(txn: &dyn ReadTxn, bytes: usize) -> kvcore::Result<()> {
    txn.charge(bytes as u64 / COPIED_PER_NS)
}
