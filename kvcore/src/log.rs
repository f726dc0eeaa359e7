//! The write-ahead log: records in frames, frames in segments. Invariant: nothing here knows tables or transactions.

pub(crate) mod awaiting_durability;
pub(crate) mod frame;
pub(crate) mod manifest;
pub(crate) mod record;
pub(crate) mod records;
pub(crate) mod segment;
pub(crate) mod segment_reader;
pub(crate) mod stripes;
pub(crate) mod syncer;
pub(crate) mod ticket;
pub(crate) mod wal;
