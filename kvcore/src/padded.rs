//! Padded: keeps what one thread writes off the cache lines that others read. Invariant: nothing else lies on its lines.

use std::ops::Deref;

/// Two lines of 64 bytes: processors fetch them in pairs.
#[derive(Default)]
#[repr(align(128))]
pub(crate) struct Padded<T>(pub(crate) T);

impl<T> Deref for Padded<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
