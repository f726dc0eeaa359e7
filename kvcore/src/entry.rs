//! Entry: key, value and deadline of one element. Invariant: a small entry is one allocation of exactly its size.
//!
//! A packed entry is `[head: 4 bytes][deadline: 8 bytes, if any][key][value]`, integers little-endian; the head is the
//! key's length, with the highest bit set if there is a deadline.
//! Values of [`LARGE_VALUE_BYTES`] or more sit apart in a shared buffer with room to grow, so that appending is not
//! quadratic and a reader can take the buffer along instead of copying it under the lock.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

/// From this length on, a value is kept in a shared, growable buffer.
pub(crate) const LARGE_VALUE_BYTES: usize = 8 * 1024;

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
    bytes: &'a [u8],
    deadline: Option<Deadline>,
    shared: Option<&'a Arc<Vec<u8>>>,
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

    /// Returns an entry with this value. A large one is shared with it.
    pub(crate) fn into_entry(self, key: &[u8], deadline: Option<Deadline>) -> Entry {
        match self.0 {
            Kept::Own(bytes) => Entry::new(key, &bytes, deadline),
            Kept::Shared(shared) => Entry::large(key, shared, deadline),
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

/// One element of a shard's table: 16 bytes there, the rest behind a pointer.
pub(crate) enum Entry {
    Packed(Box<[u8]>),
    Large(Box<LargeEntry>),
}

pub(crate) struct LargeEntry {
    key: Box<[u8]>,
    deadline: Option<Deadline>,
    value: Arc<Vec<u8>>,
    /// The number of the last snapshot while which the log was given the whole value.
    logged_in: u64,
}

const HEAD_BYTES: usize = 4;
const DEADLINE_BYTES: usize = 8;
/// A key has at most 512 MiB: the head's highest bit is free.
const HAS_DEADLINE: u32 = 1 << 31;

/// Where key and value of a packed entry lie; the deadline, if any, lies between the head and the key.
#[derive(Clone, Copy)]
struct Layout {
    key_at: usize,
    value_at: usize,
}

impl Layout {
    fn has_deadline(self) -> bool {
        self.key_at != HEAD_BYTES
    }
}

#[inline]
fn layout(packed: &[u8]) -> Layout {
    // Every packed entry has a head: the other arm only spares a panic.
    let head = packed.first_chunk().map_or(0, |head| u32::from_le_bytes(*head));
    let key_at = HEAD_BYTES + (head >> 31) as usize * DEADLINE_BYTES;
    Layout { key_at, value_at: key_at + (head & !HAS_DEADLINE) as usize }
}

impl Entry {
    pub(crate) fn new(key: &[u8], value: &[u8], deadline: Option<Deadline>) -> Self {
        if value.len() >= LARGE_VALUE_BYTES {
            return Entry::large(key, Arc::new(value.to_vec()), deadline);
        }
        let deadline_bytes = if deadline.is_some() { DEADLINE_BYTES } else { 0 };
        let mut packed = Vec::with_capacity(HEAD_BYTES + deadline_bytes + key.len() + value.len());
        let flag = if deadline.is_some() { HAS_DEADLINE } else { 0 };
        packed.extend_from_slice(&(key.len() as u32 | flag).to_le_bytes());
        if let Some(deadline) = deadline {
            packed.extend_from_slice(&deadline.0.to_le_bytes());
        }
        packed.extend_from_slice(key);
        packed.extend_from_slice(value);
        Entry::Packed(packed.into_boxed_slice())
    }

    pub(crate) fn large(key: &[u8], value: Arc<Vec<u8>>, deadline: Option<Deadline>) -> Self {
        Entry::Large(Box::new(LargeEntry { key: key.into(), deadline, value, logged_in: 0 }))
    }

    /// Returns an entry of the same parts. A large value is shared.
    pub(crate) fn share(&self) -> Entry {
        match self {
            Entry::Packed(packed) => Entry::Packed(packed.clone()),
            Entry::Large(large) => Entry::large(&large.key, Arc::clone(&large.value), large.deadline),
        }
    }

    /// Whether the parts are the same. Large values are the same if they are one buffer: nobody writes into a buffer that
    /// is shared, so while both are held it has not changed either.
    pub(crate) fn is_same(&self, other: &Entry) -> bool {
        match (self, other) {
            (Entry::Packed(one), Entry::Packed(other)) => one == other,
            (Entry::Large(one), Entry::Large(other)) => {
                Arc::ptr_eq(&one.value, &other.value) && one.deadline == other.deadline && one.key == other.key
            }
            _ => false,
        }
    }

    #[inline]
    pub(crate) fn key(&self) -> &[u8] {
        match self {
            Entry::Packed(packed) => {
                let parts = layout(packed);
                &packed[parts.key_at..parts.value_at]
            }
            Entry::Large(large) => &large.key,
        }
    }

    #[inline]
    pub(crate) fn deadline(&self) -> Option<Deadline> {
        match self {
            Entry::Packed(packed) => {
                if !layout(packed).has_deadline() {
                    return None;
                }
                let bytes = packed[HEAD_BYTES..].first_chunk()?;
                Some(Deadline(u64::from_le_bytes(*bytes)))
            }
            Entry::Large(large) => large.deadline,
        }
    }

    pub(crate) fn has_passed(&self, now_ms: u64) -> bool {
        self.deadline().is_some_and(|deadline| deadline.has_passed(now_ms))
    }

    #[inline]
    pub(crate) fn value(&self) -> ValueRef<'_> {
        match self {
            Entry::Packed(packed) => {
                ValueRef { bytes: &packed[layout(packed).value_at..], deadline: self.deadline(), shared: None }
            }
            Entry::Large(large) => {
                ValueRef { bytes: &large.value, deadline: large.deadline, shared: Some(&large.value) }
            }
        }
    }

    /// The value's place in a packed entry, when `value` and `deadline` fit over it without moving anything.
    #[inline]
    pub(crate) fn overwrite(&mut self, value: &[u8], deadline: Option<Deadline>, saved: &mut Vec<u8>) -> bool {
        let Entry::Packed(packed) = self else { return false };
        let parts = layout(packed);
        if packed.len() - parts.value_at != value.len() || parts.has_deadline() != deadline.is_some() {
            return false;
        }
        saved.extend_from_slice(&packed[parts.value_at..]);
        packed[parts.value_at..].copy_from_slice(value);
        if let Some(deadline) = deadline {
            packed[HEAD_BYTES..parts.key_at].copy_from_slice(&deadline.0.to_le_bytes());
        }
        true
    }

    /// Changes the deadline where it stands; a packed entry that must gain or lose one is built anew.
    pub(crate) fn set_deadline(&mut self, deadline: Option<Deadline>) {
        match self {
            Entry::Large(large) => large.deadline = deadline,
            Entry::Packed(packed) => {
                let parts = layout(packed);
                match deadline {
                    Some(deadline) if parts.has_deadline() => {
                        packed[HEAD_BYTES..parts.key_at].copy_from_slice(&deadline.0.to_le_bytes());
                    }
                    None if !parts.has_deadline() => {}
                    _ => *self = Entry::new(&packed[parts.key_at..parts.value_at], &packed[parts.value_at..], deadline),
                }
            }
        }
    }

    /// The growable buffer of a large value; copied first if a reader still holds it.
    pub(crate) fn large_value_mut(&mut self) -> Option<&mut Vec<u8>> {
        match self {
            Entry::Packed(_) => None,
            Entry::Large(large) => Some(Arc::make_mut(&mut large.value)),
        }
    }

    /// Returns the number of the last snapshot while which the log was given the whole of a large value; 0 for none.
    pub(crate) fn logged_in(&self) -> u64 {
        match self {
            Entry::Packed(_) => 0,
            Entry::Large(large) => large.logged_in,
        }
    }

    pub(crate) fn set_logged_in(&mut self, snapshot: u64) {
        if let Entry::Large(large) = self {
            large.logged_in = snapshot;
        }
    }

    /// Returns whether this is its key. Also reads a byte of its second cache line and its last byte, so that these are on their
    /// way while the processor still waits for the first line.
    #[inline]
    pub(crate) fn is_of(&self, key: &[u8]) -> bool {
        if let Entry::Packed(packed) = self {
            let second = packed.get(64).copied().unwrap_or(0);
            std::hint::black_box(packed.last().map(|last| last ^ second));
        }
        self.key() == key
    }

    /// The bytes that whoever uses the entry reads first.
    #[inline]
    pub(crate) fn near(&self) -> &[u8] {
        match self {
            Entry::Packed(packed) => packed,
            Entry::Large(large) => &large.key,
        }
    }

    /// Bytes this entry takes outside the table.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Entry::Packed(packed) => packed.len(),
            Entry::Large(large) => size_of::<LargeEntry>() + large.key.len() + large.value.capacity(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
                assert_eq!(value.clone().into_entry(b"key", None).value().bytes(), &bytes[..]);
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

    #[test]
    fn an_entry_costs_sixteen_bytes_in_the_table() {
        assert_eq!(size_of::<Entry>(), 16);
    }

    #[test]
    fn parts_come_back_as_they_went_in() {
        for key_len in [0, 1, 255, 256, 70_000] {
            for value_len in [0, 1, LARGE_VALUE_BYTES - 1, LARGE_VALUE_BYTES, 100_000] {
                for deadline in [None, Some(Deadline(0)), Some(Deadline(u64::MAX))] {
                    let (key, value) = (vec![b'k'; key_len], vec![b'v'; value_len]);
                    let mut entry = Entry::new(&key, &value, deadline);
                    assert_eq!((entry.key(), entry.value().bytes()), (&key[..], &value[..]));
                    assert_eq!(entry.deadline(), deadline);
                    for changed in [Some(Deadline(7)), None, Some(Deadline(9)), Some(Deadline(10))] {
                        entry.set_deadline(changed);
                        assert_eq!((entry.key(), entry.value().bytes()), (&key[..], &value[..]));
                        assert_eq!(entry.deadline(), changed);
                    }
                }
            }
        }
    }

    #[test]
    fn overwriting_keeps_the_old_value_for_undo() {
        let mut saved = Vec::new();
        let mut entry = Entry::new(b"key", b"old", None);
        assert!(entry.overwrite(b"new", None, &mut saved));
        assert_eq!((entry.key(), entry.value().bytes(), &saved[..]), (&b"key"[..], &b"new"[..], &b"old"[..]));
        assert!(!entry.overwrite(b"longer", None, &mut saved), "another length needs another allocation");
        assert!(!entry.overwrite(b"two", Some(Deadline(1)), &mut saved), "so does a deadline that was not there");
    }
}
