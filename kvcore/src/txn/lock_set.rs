//! Lock set: what a transaction locks, and so what it may use. Invariant: it is built once for a transaction; from then on its
//! keyspaces lie in the order of their ids, and its shards in the order in which they are locked.

use std::fmt;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::hash::KeyHash;
use crate::table::keyspace::KeyspaceInner;

/// The keys, and the whole keyspaces, that a transaction over several keyspaces locks; it may use nothing else. See
/// [`Db::transact_across`](crate::Db::transact_across).
///
/// # Examples
///
/// ```
/// use kvcore::{Db, LockSet};
/// let db = Db::in_memory();
/// let (orders, log) = (db.keyspace("orders")?, db.keyspace("log")?);
/// let locks = LockSet::new().keys(&orders, ["1", "2"]).whole(&log);
/// let removed = db.transact_across(locks, |txn| txn.clear(&log))?;
/// assert_eq!(removed, 0);
/// # Ok::<(), kvcore::Error>(())
/// ```
#[derive(Clone, Default)]
#[must_use = "it locks nothing by itself"]
pub struct LockSet<'k> {
    /// The store of all of them.
    store_id: u64,
    is_mixed: bool,
    /// The id of the keyspace that was named first.
    first: u32,
    parts: Vec<Part<'k>>,
    /// Of which part, and which shard of its keyspace.
    shards: SmallVec<[(usize, usize); 8]>,
}

/// What is locked of one keyspace.
#[derive(Clone)]
struct Part<'k> {
    space: SpaceRef<'k>,
    is_whole: bool,
    /// In the order in which they were named.
    keys: Keys<'k>,
    /// Theirs; sorted when the set is.
    hashes: SmallVec<[u64; 4]>,
}

/// The caller's list, or our own.
#[derive(Clone)]
enum Keys<'k> {
    Borrowed(&'k [&'k [u8]]),
    Added(Vec<&'k [u8]>),
}

/// Borrowed where the caller holds it anyway: to count references costs something where many threads do.
#[derive(Clone)]
enum SpaceRef<'k> {
    Borrowed(&'k KeyspaceInner),
    Shared(Arc<KeyspaceInner>),
}

impl Part<'_> {
    fn space(&self) -> &KeyspaceInner {
        match &self.space {
            SpaceRef::Borrowed(space) => space,
            SpaceRef::Shared(space) => space,
        }
    }
}

impl<'k> Part<'k> {
    fn keys(&self) -> &[&'k [u8]] {
        match &self.keys {
            Keys::Borrowed(keys) => keys,
            Keys::Added(keys) => keys,
        }
    }

    fn add(&mut self, hasher: &KeyHash, key: &'k [u8]) {
        self.hashes.push(hasher.hash(key));
        match &mut self.keys {
            Keys::Borrowed(keys) => self.keys = Keys::Added(keys.iter().copied().chain([key]).collect()),
            Keys::Added(keys) => keys.push(key),
        }
    }
}

impl<'k> LockSet<'k> {
    /// Returns an empty set, to which [keys](Self::keys) and [keyspaces](Self::whole) are added. Calls inside the transaction
    /// speak of the keyspace that is added first, where they do not name one.
    ///
    /// # Examples
    ///
    /// ```
    /// use kvcore::{Db, Error, LockSet};
    /// let nothing = Db::in_memory().transact_across(LockSet::new(), |_| Ok(()));
    /// assert!(matches!(nothing, Err(Error::EmptyLockSet)));
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the set of some keys of one keyspace, ready to be locked.
    pub(crate) fn of_keys(store_id: u64, space: &'k KeyspaceInner, hasher: &KeyHash, keys: &'k [&'k [u8]]) -> Self {
        let hashes = keys.iter().map(|key| hasher.hash(key)).collect();
        Self::of_part(store_id, space, false, keys, hashes)
    }

    /// Returns the set of one whole keyspace, ready to be locked.
    pub(crate) fn of_space(store_id: u64, space: &'k KeyspaceInner) -> Self {
        Self::of_part(store_id, space, true, &[], SmallVec::new())
    }

    fn of_part(
        store_id: u64,
        space: &'k KeyspaceInner,
        is_whole: bool,
        keys: &'k [&'k [u8]],
        hashes: SmallVec<[u64; 4]>,
    ) -> Self {
        let part = Part { space: SpaceRef::Borrowed(space), is_whole, keys: Keys::Borrowed(keys), hashes };
        let mut set =
            LockSet { store_id, is_mixed: false, first: space.id, parts: vec![part], shards: SmallVec::new() };
        set.order();
        set
    }

    /// Adds keys of a keyspace.
    pub(crate) fn lock_keys(
        &mut self,
        store_id: u64,
        space: &Arc<KeyspaceInner>,
        hasher: &KeyHash,
        keys: impl Iterator<Item = &'k [u8]>,
    ) {
        let part = self.part_to_add(store_id, space);
        keys.for_each(|key| part.add(hasher, key));
    }

    /// Adds a whole keyspace.
    pub(crate) fn lock_whole(&mut self, store_id: u64, space: &Arc<KeyspaceInner>) {
        self.part_to_add(store_id, space).is_whole = true;
    }

    fn part_to_add(&mut self, store_id: u64, space: &Arc<KeyspaceInner>) -> &mut Part<'k> {
        if self.parts.is_empty() {
            (self.store_id, self.first) = (store_id, space.id);
        }
        self.is_mixed |= self.store_id != store_id;
        let at = self.parts.iter().position(|part| part.space().id == space.id).unwrap_or(self.parts.len());
        if at == self.parts.len() {
            let (space, keys) = (SpaceRef::Shared(Arc::clone(space)), Keys::Borrowed(&[]));
            self.parts.push(Part { space, is_whole: false, keys, hashes: SmallVec::new() });
        }
        &mut self.parts[at]
    }

    /// Brings what was added into the order in which it is locked.
    pub(crate) fn order(&mut self) {
        self.parts.sort_unstable_by_key(|part| part.space().id);
        self.shards.clear();
        for (at, part) in self.parts.iter_mut().enumerate() {
            part.hashes.sort_unstable();
            part.hashes.dedup();
            let shards = self.shards.len();
            if part.is_whole {
                self.shards.extend((0..part.space().shard_count()).map(|shard| (at, shard)));
            } else {
                self.shards.extend(part.hashes.iter().map(|hash| (at, part.space().shard_of(*hash))));
                self.shards[shards..].sort_unstable();
            }
        }
        self.shards.dedup();
    }

    /// Returns whether all of it belongs to that store.
    pub(crate) fn is_of(&self, store_id: u64) -> bool {
        self.parts.is_empty() || (self.store_id == store_id && !self.is_mixed)
    }

    /// Returns the keyspace that was added first.
    pub(crate) fn first(&self) -> Option<&KeyspaceInner> {
        self.space(self.first)
    }

    pub(crate) fn space(&self, space_id: u32) -> Option<&KeyspaceInner> {
        self.part(space_id).map(Part::space)
    }

    pub(crate) fn spaces(&self) -> impl Iterator<Item = &KeyspaceInner> {
        self.parts.iter().map(Part::space)
    }

    /// Returns the shards to lock, in their order.
    pub(crate) fn shards(&self) -> impl ExactSizeIterator<Item = (&KeyspaceInner, usize)> {
        self.shards.iter().map(|&(part, shard)| (self.parts[part].space(), shard))
    }

    /// Returns the keys of those keyspaces that are not locked whole, in the order in which they were added.
    pub(crate) fn named_keys(&self) -> impl Iterator<Item = (&KeyspaceInner, &'k [u8])> {
        let parts = self.parts.iter().filter(|part| !part.is_whole);
        parts.flat_map(|part| part.keys().iter().map(|key| (part.space(), *key)))
    }

    /// Returns the keyspace's id and the hash of each such key, sorted.
    pub(crate) fn named_hashes(&self) -> Vec<(u32, u64)> {
        let parts = self.parts.iter().filter(|part| !part.is_whole);
        parts.flat_map(|part| part.hashes.iter().map(|hash| (part.space().id, *hash))).collect()
    }

    /// Returns the keyspaces that are locked whole.
    pub(crate) fn whole_spaces(&self) -> impl Iterator<Item = &KeyspaceInner> {
        self.parts.iter().filter(|part| part.is_whole).map(Part::space)
    }

    pub(crate) fn is_whole(&self, space_id: u32) -> bool {
        self.part(space_id).is_some_and(|part| part.is_whole)
    }

    pub(crate) fn has_whole(&self) -> bool {
        self.parts.iter().any(|part| part.is_whole)
    }

    /// Returns whether the key with this hash is in it. That its shard is locked is not enough: which keys share a shard is
    /// chance.
    #[inline]
    pub(crate) fn has(&self, space_id: u32, hash: u64) -> bool {
        self.part(space_id).is_some_and(|part| part.is_whole || part.hashes.binary_search(&hash).is_ok())
    }

    /// Returns how many keys it may name at most.
    pub(crate) fn keys_max(&self) -> u64 {
        if self.has_whole() { u64::MAX } else { self.parts.iter().map(|part| part.hashes.len() as u64).sum() }
    }

    fn part(&self, space_id: u32) -> Option<&Part<'k>> {
        self.parts.iter().find(|part| part.space().id == space_id)
    }
}

impl fmt::Debug for LockSet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = f.debug_map();
        for part in &self.parts {
            match part.is_whole {
                true => parts.entry(&part.space().name, &"whole"),
                false => parts.entry(&part.space().name, &format_args!("{} keys", part.keys().len())),
            };
        }
        parts.finish()
    }
}
