//! Iter: reading a whole keyspace entry by entry. Invariant: between two calls of `next` no lock is held, so the loop's body
//! may read and write the same store.

use std::collections::{HashSet, VecDeque};
use std::fmt;

use crate::error::{Error, Result};
use crate::keyspace::Keyspace;
use crate::store::Store;
use crate::table::scan::{Cursor, ShardPosition};
use crate::value::Value;

/// Where a [scan](crate::Keyspace::scan) stands. Opaque: only the keyspace of the store that made it can use it, for as long as the
/// store is open. Others refuse it ([`Error::ForeignPosition`]).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScanPosition(Box<[u8]>);

impl ScanPosition {
    /// Returns a position that means something to the store that makes it.
    ///
    /// ```
    /// assert_eq!(kvcore::ScanPosition::new(*b"key").as_bytes(), b"key");
    /// ```
    pub fn new(bytes: impl Into<Box<[u8]>>) -> Self {
        ScanPosition(bytes.into())
    }

    /// Returns a position of the engine's: in a keyspace of a store that is open.
    pub(crate) fn of_cursor(opening_id: u64, space_id: u32, cursor: Cursor) -> Self {
        let mut bytes = [0; OWNER_BYTES + size_of::<u64>()];
        bytes[..OWNER_BYTES].copy_from_slice(&owner(opening_id, space_id));
        bytes[OWNER_BYTES..].copy_from_slice(&cursor.get().to_le_bytes());
        ScanPosition::new(bytes)
    }

    /// Returns where that stands, if it is of this keyspace.
    pub(crate) fn cursor_of(&self, opening_id: u64, space_id: u32) -> Result<Cursor> {
        let cursor = self.0.strip_prefix(&owner(opening_id, space_id)).ok_or(Error::ForeignPosition)?;
        cursor.try_into().map(|bytes| Cursor::from(u64::from_le_bytes(bytes))).map_err(|_| Error::ForeignPosition)
    }

    /// Returns what it was made of.
    ///
    /// ```
    /// assert_eq!(kvcore::ScanPosition::new(*b"key").as_bytes(), b"key");
    /// ```
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

const OWNER_BYTES: usize = size_of::<u64>() + size_of::<u32>();

/// What the engine's positions begin with.
fn owner(opening_id: u64, space_id: u32) -> [u8; OWNER_BYTES] {
    let mut owner = [0; OWNER_BYTES];
    owner[..8].copy_from_slice(&opening_id.to_le_bytes());
    owner[8..].copy_from_slice(&space_id.to_le_bytes());
    owner
}

/// Some entries of a scan, and where it goes on.
#[derive(Clone, Debug)]
pub struct ScanPage {
    /// Keys and their values.
    pub entries: Vec<(Value, Value)>,
    /// The position behind them; `None` at the end.
    pub next: Option<ScanPosition>,
}

/// An iterator over entries: `Result<(key, value)>`. After an error it ends.
pub struct Entries<'a>(Box<dyn Iterator<Item = Result<(Value, Value)>> + Send + 'a>);

impl<'a> Entries<'a> {
    /// Returns an iterator of the store's own: for implementations of [`Store`].
    ///
    /// ```
    /// use kvcore::{Entries, Value};
    /// let entry = (Value::from(&b"key"[..]), Value::from(&b"value"[..]));
    /// assert_eq!(Entries::new([Ok(entry)].into_iter()).count(), 1);
    /// ```
    pub fn new(entries: impl Iterator<Item = Result<(Value, Value)>> + Send + 'a) -> Self {
        Entries(Box::new(entries))
    }

    /// Returns an iterator over what [`Store::scan`] returns: a key that is there from beginning to end is shown at least once, and
    /// again where the scan returns it again.
    ///
    /// ```
    /// use kvcore::{Db, Entries};
    /// let db = Db::in_memory();
    /// db.set("key", "value")?;
    /// assert_eq!(Entries::scanning(&db, b"k").count(), 1);
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    pub fn scanning<S: Store + ?Sized>(store: &'a S, prefix: &[u8]) -> Self {
        let (prefix, mut next, mut found) = (prefix.to_vec(), Some(None), VecDeque::new());
        Entries::new(std::iter::from_fn(move || {
            while found.is_empty() {
                match store.scan(next.take()?.as_ref(), STEP_ENTRIES, &prefix) {
                    Ok(page) => {
                        found.extend(page.entries);
                        next = page.next.map(Some);
                    }
                    Err(error) => return Some(Err(error)),
                }
            }
            found.pop_front().map(Ok)
        }))
    }
}

impl fmt::Debug for Entries<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entries").finish_non_exhaustive()
    }
}

impl Iterator for Entries<'_> {
    type Item = Result<(Value, Value)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

/// An iterator over keys. After an error it ends.
#[derive(Debug)]
pub struct Keys<'a>(pub(crate) Entries<'a>);

impl Iterator for Keys<'_> {
    type Item = Result<Value>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|entry| entry.map(|(key, _)| key))
    }
}

/// Entries read under one lock: some ten microseconds.
const STEP_ENTRIES: usize = 128;

/// Iterates over a keyspace of the engine, shard by shard. Each key is shown once: a key never changes its shard, and of the
/// shard that is being read it is known which keys were shown, should the table be rebuilt meanwhile.
pub(crate) struct ShardEntries {
    keyspace: Keyspace,
    prefix: Vec<u8>,
    shard: usize,
    position: ShardPosition,
    /// What was read of the current shard, if that took more than one step.
    shown: HashSet<Value>,
    found: VecDeque<(Value, Value)>,
    is_over: bool,
}

impl ShardEntries {
    pub(crate) fn new(keyspace: Keyspace, prefix: &[u8]) -> Self {
        ShardEntries {
            keyspace,
            prefix: prefix.to_vec(),
            shard: 0,
            position: ShardPosition::default(),
            shown: HashSet::new(),
            found: VecDeque::new(),
            is_over: false,
        }
    }

    /// Reads on until something is found or all is read.
    fn step(&mut self) -> Result<()> {
        while self.found.is_empty() && self.shard < self.keyspace.space.shard_count() {
            let (prefix, shown, found) = (&self.prefix, &self.shown, &mut self.found);
            let next = self.keyspace.read_shard(self.shard, self.position, STEP_ENTRIES, &mut |key, value| {
                if key.starts_with(prefix) {
                    let key = Value::from(key);
                    if !shown.contains(&key) {
                        found.push_back((key, value.to_value()));
                    }
                }
            })?;
            match next {
                Some(position) => {
                    self.position = position;
                    self.shown.extend(self.found.iter().map(|(key, _)| key.clone()));
                }
                None => {
                    (self.shard, self.position) = (self.shard + 1, ShardPosition::default());
                    self.shown.clear();
                }
            }
        }
        Ok(())
    }
}

impl Iterator for ShardEntries {
    type Item = Result<(Value, Value)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.found.is_empty()
            && !self.is_over
            && let Err(error) = self.step()
        {
            self.is_over = true;
            return Some(Err(error));
        }
        self.found.pop_front().map(Ok)
    }
}
