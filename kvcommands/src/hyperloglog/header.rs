//! What stands before the registers of a stored value, in either form.
//!
//! Invariant: `HYLL`, the form (0 dense, 1 sparse), three bytes unused, then the last estimate as 64 bits little-endian,
//! whose highest bit says that it is out of date.

/// Bytes before the registers.
pub(crate) const HEADER_BYTES: usize = 16;
/// Where the last estimate lies.
pub(crate) const CARDINALITY_AT: usize = 8;
/// Set in the last byte of the estimate when there have been changes since.
pub(crate) const UNKNOWN: u8 = 0x80;

/// What a value begins with.
pub(crate) const MAGIC: &[u8] = b"HYLL";
/// Where the form is told.
pub(crate) const FORM_AT: usize = 4;

/// The last estimate, if nothing has changed since.
pub(crate) fn known_cardinality(value: &[u8]) -> Option<u64> {
    let cardinality = u64::from_le_bytes(*value.get(CARDINALITY_AT..)?.first_chunk()?);
    i64::try_from(cardinality).is_ok().then_some(cardinality)
}
