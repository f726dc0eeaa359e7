//! The numbered databases that clients select: the keyspaces named "0" to "15".
//!
//! Invariant: a database once opened stays at hand, so that inside EXEC, where the store must not be asked for it,
//! it is still reached.

use std::sync::OnceLock;

use kvcore::{Db, Keyspace};

/// Databases that SELECT can reach.
pub(crate) const DATABASES: usize = 16;

/// The database that the keyspace of this name is, if it is one that clients can reach.
pub(crate) fn index_of(keyspace: &str) -> Option<usize> {
    keyspace.parse().ok().filter(|index| *index < DATABASES)
}

/// All of them. The first is open from the start, the others when they are first needed.
pub(crate) struct Databases {
    db: Db,
    opened: [OnceLock<Keyspace>; DATABASES],
}

impl Databases {
    pub(crate) fn new(db: Db) -> Databases {
        let opened: [OnceLock<Keyspace>; DATABASES] = Default::default();
        // Every session starts in the first.
        let _ = opened[0].set(Keyspace::clone(&db));
        Databases { db, opened }
    }

    /// The keyspace SELECT `index` reaches; `index` is below [`DATABASES`].
    pub(crate) fn open(&self, index: usize) -> kvcore::Result<Keyspace> {
        let slot = &self.opened[index];
        if let Some(keyspace) = slot.get() {
            return Ok(keyspace.clone());
        }
        let keyspace = self.db.keyspace(&index.to_string())?;
        Ok(slot.get_or_init(|| keyspace).clone())
    }

    /// The same without asking the store, as inside EXEC; nothing if no one has reached it before.
    pub(crate) fn opened(&self, index: usize) -> Option<Keyspace> {
        self.opened.get(index)?.get().cloned()
    }

    /// The database that a keyspace is, by its id.
    pub(crate) fn with_id(&self, keyspace_id: u32) -> Option<usize> {
        self.opened.iter().position(|slot| slot.get().is_some_and(|keyspace| keyspace.hooks().id() == keyspace_id))
    }
}
