//! The tables: entries, shards, and what is known of their use. Invariant: what changes a shard holds its lock.

pub(crate) mod access;
pub(crate) mod disposal;
pub(crate) mod entry;
pub(crate) mod eviction;
pub(crate) mod expiry;
pub(crate) mod keyspace;
pub(crate) mod limits;
pub(crate) mod scan;
pub(crate) mod shard;
pub(crate) mod stamps;
