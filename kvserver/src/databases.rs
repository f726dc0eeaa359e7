//! The numbered databases that clients select: the keyspaces named "0" to "15".
//!
//! Invariant: a database once opened stays at hand, so that inside EXEC, where the store must not be asked for it,
//! it is still reached.

use std::sync::OnceLock;

use kvcommands::Needs;
use kvcore::{Db, Keyspace, LockSet};

pub(crate) use kvcommands::DATABASES;

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

    /// Adds what a command needs to a lock set, and opens databases that nobody has used. Returns all keyspaces if it needs
    /// them.
    ///
    /// # Errors
    ///
    /// Those of making a keyspace.
    pub(crate) fn lock<'q>(&self, needs: Needs<'q>, locks: &mut LockSet<'q>) -> kvcore::Result<Vec<Keyspace>> {
        match needs {
            Needs::Keys(keys) => {
                for (index, key) in keys {
                    locks.add_keys(&self.open(index)?, [key]);
                }
            }
            Needs::Whole(indexes) => {
                for index in indexes {
                    locks.add_whole(&self.open(index)?);
                }
            }
            Needs::Everything => {
                let all = self.db.keyspaces();
                all.iter().for_each(|keyspace| locks.add_whole(keyspace));
                return Ok(all);
            }
        }
        Ok(Vec::new())
    }

    /// Returns the id of the keyspace that a database is, which somebody has reached before.
    pub(crate) fn id_of(&self, index: usize) -> kvcore::Result<u32> {
        let keyspace = self.opened.get(index).and_then(OnceLock::get);
        let keyspace = keyspace.ok_or_else(|| kvcore::Error::KeyspaceNotNamed { name: index.to_string() })?;
        Ok(keyspace.hooks().id())
    }

    /// The database that a keyspace is, by its id.
    pub(crate) fn with_id(&self, keyspace_id: u32) -> Option<usize> {
        self.opened.iter().position(|slot| slot.get().is_some_and(|keyspace| keyspace.hooks().id() == keyspace_id))
    }
}
