//! What an operator can change about the commands.
//!
//! Invariant: a plain value: a command sees one configuration from its beginning to its end.

/// How long a HyperLogLog may be in the sparse form before it becomes dense, unless that is configured: 3,000 bytes, as in Redis.
pub const HLL_SPARSE_BYTES: usize = 3000;

/// The configuration of the commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandConfig {
    /// How many bytes a HyperLogLog may have in the sparse form before it becomes dense.
    pub hll_sparse_bytes_max: usize,
}

impl Default for CommandConfig {
    fn default() -> CommandConfig {
        CommandConfig { hll_sparse_bytes_max: HLL_SPARSE_BYTES }
    }
}
