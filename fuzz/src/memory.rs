//! How much memory a piece of work holds.
//!
//! Invariant: only what the work itself allocates, on its own thread, is counted.

/// Runs `body`, which may hold at most so many bytes at a time.
pub fn bounded(bytes_max: usize, body: impl FnOnce()) {
    let cost = allocation_counter::measure(body);
    assert!(cost.bytes_max <= bytes_max as u64, "{} bytes held, {bytes_max} allowed", cost.bytes_max);
}
