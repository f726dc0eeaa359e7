//! The bytes of a bulk reply, held as cheaply as their size allows.
//!
//! Invariant: reading one never depends on how it is held, and two with the same bytes are equal.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// Longest bytes held without an allocation.
const INLINE_BYTES_MAX: usize = 30;
/// Bytes from which on an owned vector is held so that it can be shared with what sends it. Copying fewer costs less than to
/// send them by themselves.
pub(crate) const SHARED_BYTES_MIN: usize = 64 * 1024;

/// Bytes that are part of a reply: up to 30 of them held in place, more in a vector of their own, or in one shared
/// with the store (so that a large value is not copied to be answered).
#[derive(Clone)]
pub struct Bulk(Held);

#[derive(Clone)]
enum Held {
    Inline { len: u8, bytes: [u8; INLINE_BYTES_MAX] },
    Owned(Vec<u8>),
    Shared(Arc<Vec<u8>>),
}

impl Bulk {
    fn inline(bytes: &[u8]) -> Option<Bulk> {
        let mut held = [0; INLINE_BYTES_MAX];
        held.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(Bulk(Held::Inline { len: bytes.len() as u8, bytes: held }))
    }

    /// Copies bytes; `None` if there is no memory for that.
    pub(crate) fn try_copy(bytes: &[u8]) -> Option<Bulk> {
        Bulk::inline(bytes).or_else(|| {
            let mut copy = Vec::new();
            copy.try_reserve_exact(bytes.len()).ok()?;
            copy.extend_from_slice(bytes);
            Some(Bulk::from(copy))
        })
    }

    /// Returns the bytes if they are so many that sharing them is worth it, and can be shared.
    pub fn as_large(&self) -> Option<&Arc<Vec<u8>>> {
        match &self.0 {
            Held::Shared(bytes) if bytes.len() >= SHARED_BYTES_MIN => Some(bytes),
            _ => None,
        }
    }

    /// The bytes, for a caller that wants to keep them.
    pub fn into_vec(self) -> Vec<u8> {
        match self.0 {
            Held::Owned(bytes) => bytes,
            Held::Shared(bytes) => Arc::try_unwrap(bytes).unwrap_or_else(|shared| shared.to_vec()),
            Held::Inline { .. } => self.to_vec(),
        }
    }
}

impl Deref for Bulk {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Held::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Held::Owned(bytes) => bytes,
            Held::Shared(bytes) => bytes,
        }
    }
}

impl AsRef<[u8]> for Bulk {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl PartialEq for Bulk {
    fn eq(&self, other: &Bulk) -> bool {
        **self == **other
    }
}

impl Eq for Bulk {}

impl fmt::Debug for Bulk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.escape_ascii())
    }
}

impl From<&[u8]> for Bulk {
    #[inline]
    fn from(bytes: &[u8]) -> Bulk {
        match Bulk::inline(bytes) {
            Some(bulk) => bulk,
            // Most values: without a look at how large the copy is.
            None if bytes.len() < SHARED_BYTES_MIN => Bulk(Held::Owned(bytes.to_vec())),
            None => Bulk::from(bytes.to_vec()),
        }
    }
}

impl<const N: usize> From<&[u8; N]> for Bulk {
    fn from(bytes: &[u8; N]) -> Bulk {
        Bulk::from(&bytes[..])
    }
}

impl From<&str> for Bulk {
    fn from(text: &str) -> Bulk {
        Bulk::from(text.as_bytes())
    }
}

impl From<Vec<u8>> for Bulk {
    fn from(bytes: Vec<u8>) -> Bulk {
        Bulk(if bytes.len() < SHARED_BYTES_MIN { Held::Owned(bytes) } else { Held::Shared(Arc::new(bytes)) })
    }
}

impl From<String> for Bulk {
    fn from(text: String) -> Bulk {
        Bulk::from(text.into_bytes())
    }
}

impl From<Arc<Vec<u8>>> for Bulk {
    fn from(bytes: Arc<Vec<u8>>) -> Bulk {
        Bulk(Held::Shared(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_the_same_bytes_however_it_holds_them() {
        for len in [0, 1, 29, 30, 31, 300, SHARED_BYTES_MIN - 1, SHARED_BYTES_MIN] {
            let bytes = vec![7u8; len];
            let borrowed = Bulk::from(&bytes[..]);
            assert_eq!(*borrowed, bytes[..]);
            assert_eq!(borrowed, Bulk::from(bytes.clone()));
            assert_eq!(borrowed, Bulk::from(Arc::new(bytes.clone())));
            assert_eq!(Bulk::from(Arc::new(bytes.clone())).into_vec(), bytes);
            assert_eq!(borrowed.into_vec(), bytes);
        }
    }

    #[test]
    fn large_vectors_can_be_shared() {
        assert!(Bulk::from(vec![7; SHARED_BYTES_MIN - 1]).as_large().is_none());
        assert!(Bulk::from(Arc::new(vec![7; SHARED_BYTES_MIN - 1])).as_large().is_none());
        assert!(Bulk::from(vec![7; SHARED_BYTES_MIN]).as_large().is_some());
        assert!(Bulk::from(&vec![7; SHARED_BYTES_MIN][..]).as_large().is_some());
    }

    #[test]
    fn costs_no_more_than_the_words_it_stands_for() {
        assert!(size_of::<Bulk>() <= 32);
    }
}
