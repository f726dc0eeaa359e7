//! Value: what a key has, owned or borrowed, and until when. Invariant: a large value is shared with the table, never copied.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

/// The moment from which an entry no longer exists: absolute milliseconds since the Unix epoch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Deadline(u64);

impl Deadline {
    /// Returns the deadline `ms` milliseconds after the Unix epoch.
    ///
    /// ```
    /// use kvcore::Deadline;
    /// assert_eq!(Deadline::at_ms(1000).as_ms(), 1000);
    /// ```
    pub const fn at_ms(ms: u64) -> Self {
        Deadline(ms)
    }

    /// Returns the milliseconds since the Unix epoch.
    ///
    /// ```
    /// assert_eq!(kvcore::Deadline::at_ms(1000).as_ms(), 1000);
    /// ```
    pub const fn as_ms(self) -> u64 {
        self.0
    }

    /// Returns whether it has come at `now_ms`.
    ///
    /// ```
    /// use kvcore::Deadline;
    /// assert!(Deadline::at_ms(1000).has_passed(1000));
    /// ```
    pub const fn has_passed(self, now_ms: u64) -> bool {
        self.0 <= now_ms
    }
}

/// A value seen in place, under the store's lock.
#[derive(Clone, Copy, Debug)]
pub struct ValueRef<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) deadline: Option<Deadline>,
    pub(crate) shared: Option<&'a Arc<Vec<u8>>>,
}

impl<'a> ValueRef<'a> {
    /// Returns a value that some other [`Store`](crate::Store) than the engine holds.
    ///
    /// ```
    /// use kvcore::{Deadline, ValueRef};
    /// let value = ValueRef::new(b"value", Some(Deadline::at_ms(1000)));
    /// assert_eq!(value.len(), 5);
    /// ```
    pub fn new(bytes: &'a [u8], deadline: Option<Deadline>) -> Self {
        ValueRef { bytes, deadline, shared: None }
    }

    /// Returns the bytes.
    ///
    /// ```
    /// use kvcore::{Deadline, ValueRef};
    /// let value = ValueRef::new(b"value", Some(Deadline::at_ms(1000)));
    /// assert_eq!(value.bytes(), b"value");
    /// ```
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Returns the deadline, if it has one.
    ///
    /// ```
    /// use kvcore::{Deadline, ValueRef};
    /// let value = ValueRef::new(b"value", Some(Deadline::at_ms(1000)));
    /// assert_eq!(value.deadline(), Some(Deadline::at_ms(1000)));
    /// ```
    pub fn deadline(&self) -> Option<Deadline> {
        self.deadline
    }

    /// Returns the buffer itself, if the value is large: a clone of it costs no copy.
    ///
    /// ```
    /// use kvcore::{Deadline, ValueRef};
    /// let value = ValueRef::new(b"value", Some(Deadline::at_ms(1000)));
    /// assert!(value.shared().is_none());
    /// ```
    pub fn shared(&self) -> Option<&'a Arc<Vec<u8>>> {
        self.shared
    }

    /// Returns the value, to keep: large ones are shared, small ones copied.
    ///
    /// ```
    /// use kvcore::{Deadline, ValueRef};
    /// let value = ValueRef::new(b"value", Some(Deadline::at_ms(1000)));
    /// assert_eq!(value.to_value(), "value");
    /// ```
    #[inline]
    pub fn to_value(&self) -> Value {
        match self.shared {
            Some(shared) => Value(Kept::Shared(Arc::clone(shared))),
            None => Value::from(self.bytes),
        }
    }
}

impl Deref for ValueRef<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes
    }
}

/// Bytes taken out of the store: a value, or a key of an iterator. Reads as a `[u8]`; cloning a large one copies nothing.
///
/// ```
/// let db = kvcore::Db::in_memory();
/// db.set("greeting", "hello")?;
/// let value = db.get("greeting")?.unwrap();
/// assert_eq!(value, "hello");
/// assert_eq!(value.as_str(), Some("hello"));
/// assert_eq!(value.as_bytes(), b"hello");
/// assert_eq!(format!("{value:?}"), r#""hello""#);
/// # Ok::<(), kvcore::Error>(())
/// ```
#[derive(Clone)]
pub struct Value(Kept);

/// Two words, and no small values within it: with 15, 22 or 110 bytes inside reads of values that allocate nothing were up to 7 ns
/// faster, and all others up to 15 ns slower. What is larger is moved in other pieces than it was written in, and the processor
/// waits for each.
#[derive(Clone)]
enum Kept {
    Own(Box<[u8]>),
    Shared(Arc<Vec<u8>>),
}

impl Value {
    /// Returns the buffer, if the value is large enough to have one of its own.
    pub(crate) fn shared(&self) -> Option<&Arc<Vec<u8>>> {
        match &self.0 {
            Kept::Own(_) => None,
            Kept::Shared(shared) => Some(shared),
        }
    }

    /// Returns the bytes.
    ///
    /// ```
    /// let value = kvcore::Value::from(&b"value"[..]);
    /// assert_eq!(value.as_bytes(), b"value");
    /// ```
    pub fn as_bytes(&self) -> &[u8] {
        self
    }

    /// Returns the bytes as text, if they are UTF-8.
    ///
    /// ```
    /// let value = kvcore::Value::from(&b"value"[..]);
    /// assert_eq!(value.as_str(), Some("value"));
    /// ```
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(self).ok()
    }

    /// Returns the bytes as an owned vector; copies only what is still shared.
    ///
    /// ```
    /// let value = kvcore::Value::from(&b"value"[..]);
    /// assert_eq!(value.into_vec(), b"value");
    /// ```
    pub fn into_vec(self) -> Vec<u8> {
        match self.0 {
            Kept::Own(bytes) => bytes.into_vec(),
            Kept::Shared(shared) => Arc::try_unwrap(shared).unwrap_or_else(|shared| shared.to_vec()),
        }
    }
}

impl Deref for Value {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Kept::Own(bytes) => bytes,
            Kept::Shared(shared) => shared,
        }
    }
}

impl AsRef<[u8]> for Value {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl From<Value> for Vec<u8> {
    fn from(value: Value) -> Self {
        value.into_vec()
    }
}

impl<T: AsRef<[u8]> + ?Sized> PartialEq<T> for Value {
    fn eq(&self, other: &T) -> bool {
        **self == *other.as_ref()
    }
}

impl Eq for Value {}

impl PartialEq<Value> for [u8] {
    fn eq(&self, other: &Value) -> bool {
        *self == **other
    }
}

impl PartialEq<Value> for str {
    fn eq(&self, other: &Value) -> bool {
        self.as_bytes() == &**other
    }
}

impl PartialEq<Value> for &str {
    fn eq(&self, other: &Value) -> bool {
        self.as_bytes() == &**other
    }
}

impl Hash for Value {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl Default for Value {
    fn default() -> Self {
        Value::from(&[][..])
    }
}

impl From<&[u8]> for Value {
    #[inline]
    fn from(bytes: &[u8]) -> Self {
        Value(Kept::Own(bytes.into()))
    }
}

/// Text as text, with quotes and escapes; bytes that are not UTF-8 as `\xNN`.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_str() {
            Some(text) => write!(f, "{text:?}"),
            None => write!(f, "\"{}\"", self.escape_ascii()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::entry::{Entry, LARGE_VALUE_BYTES};

    /// Around the lengths at which the representation changes.
    const LENGTHS: [usize; 6] = [0, 1, 100, LARGE_VALUE_BYTES - 1, LARGE_VALUE_BYTES, LARGE_VALUE_BYTES + 1];

    #[test]
    fn a_value_is_two_words() {
        assert_eq!(size_of::<Value>(), 16);
    }

    #[test]
    fn a_value_is_its_bytes_however_it_holds_them() {
        let hash = |hashed: &dyn Fn(&mut std::hash::DefaultHasher)| {
            let mut hasher = std::hash::DefaultHasher::new();
            hashed(&mut hasher);
            hasher.finish()
        };
        for len in LENGTHS {
            let bytes: Vec<u8> = (0..len).map(|at| at as u8 ^ 0x5a).collect();
            let entry = Entry::new(b"key", &bytes, None);
            let ways = [
                Value::from(&bytes[..]),
                entry.value().to_value(),
                Value(Kept::Own(bytes.clone().into())),
                Value(Kept::Shared(Arc::new(bytes.clone()))),
            ];
            assert_eq!(ways[1].shared().is_some(), len >= LARGE_VALUE_BYTES);
            for value in &ways {
                assert_eq!((value.as_bytes(), value.len()), (&bytes[..], len));
                assert_eq!(value.clone().into_vec(), bytes);
                assert_eq!(Entry::of_value(b"key", value.clone(), None).value().bytes(), &bytes[..]);
                assert_eq!(format!("{value:?}"), format!("{:?}", ways[0]));
                assert_eq!(hash(&|hasher| value.hash(hasher)), hash(&|hasher| bytes[..].hash(hasher)));
                assert!(ways.iter().all(|other| value == other));
                assert!(*value != [&bytes[..], b"!"].concat());
                if let Some((last, rest)) = bytes.split_last() {
                    assert!(*value != rest && *value != [rest, &[last ^ 1]].concat());
                }
            }
        }
        assert_eq!(Value::default(), "");
    }

    proptest::proptest! {
        #[test]
        fn values_compare_as_vectors_do(
            one in proptest::collection::vec(0_u8..3, 0..40),
            other in proptest::collection::vec(0_u8..3, 0..40),
        ) {
            let (value, other_value) = (Value::from(&one[..]), Value::from(&other[..]));
            proptest::prop_assert_eq!(&*value, &one[..]);
            proptest::prop_assert_eq!(value == other, one == other);
            proptest::prop_assert_eq!(value == other_value, one == other);
            proptest::prop_assert_eq!(value.into_vec(), one);
        }
    }
}
