//! Each store that keeps its data in files, opened as its users would open it, behind one small trait.
//!
//! Invariant: `set` returns when the promise that `promise` names holds, and not before.

use std::path::Path;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use fjall::{KeyspaceCreateOptions, PersistMode};
use kevy_embedded::AppendFsync;
use kvcore::{Db, Durability};
use redb::TableDefinition;

use crate::Failure;

/// What a write promises when it returns.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// It is durable within about a second.
    EverySecond,
    /// It is durable.
    Durable,
}

/// A store under measurement.
pub trait Store: Send + Sync {
    /// Writes one pair.
    fn set(&self, key: &[u8], value: &[u8]) -> Result<(), Failure>;
    /// Closes it in order; not timed.
    fn close(self: Box<Self>) -> Result<(), Failure>;
}

/// A store that can be opened in an empty directory.
pub struct Contender {
    /// The store and its version.
    pub name: &'static str,
    /// How it was opened.
    pub promise: &'static str,
    /// Opens it.
    pub open: fn(&Path) -> Result<Box<dyn Store>, Failure>,
}

/// Who takes part; kvcore is first.
pub fn contenders(promise: Promise) -> Vec<Contender> {
    match promise {
        Promise::EverySecond => vec![
            Contender {
                name: "kvcore",
                promise: "log; fdatasync every second",
                open: |dir| open_kv(dir, Durability::EverySecond),
            },
            Contender {
                name: "fjall 3.1",
                promise: "journal in process; SyncData every second",
                open: |dir| Fjall::open(dir, FjallSync::EverySecond),
            },
            Contender {
                name: "fjall 3.1 (default)",
                promise: "journal write() a SET; never synced",
                open: |dir| Fjall::open(dir, FjallSync::Never),
            },
            Contender {
                name: "sled 0.34",
                promise: "flush_every_ms(1000)",
                open: |dir| Sled::open(dir, Promise::EverySecond),
            },
            Contender { name: "kevy-embedded 7.0", promise: "append-only file; fsync every second", open: open_kevy },
        ],
        Promise::Durable => vec![
            Contender {
                name: "kvcore",
                promise: "log; fdatasync before return (Always)",
                open: |dir| open_kv(dir, Durability::Always),
            },
            Contender { name: "redb 4", promise: "one commit a SET, Durability::Immediate", open: Redb::open },
            Contender {
                name: "sled 0.34",
                promise: "insert, flush (sync_file_range: no device flush)",
                open: |dir| Sled::open(dir, Promise::Durable),
            },
            Contender {
                name: "fjall 3.1",
                promise: "insert, then persist(SyncData)",
                open: |dir| Fjall::open(dir, FjallSync::EveryWrite),
            },
        ],
    }
}

struct Kv(Db);

fn open_kv(dir: &Path, durability: Durability) -> Result<Box<dyn Store>, Failure> {
    Ok(Box::new(Kv(kvcore::Options::new().durability(durability).open(dir)?)))
}

impl Store for Kv {
    fn set(&self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        Ok(self.0.set(key, value)?)
    }

    fn close(self: Box<Self>) -> Result<(), Failure> {
        Ok(self.0.close()?)
    }
}

struct Kevy(kevy_embedded::Store);

fn open_kevy(dir: &Path) -> Result<Box<dyn Store>, Failure> {
    let config = kevy_embedded::Config::default().with_persist(dir).with_appendfsync(AppendFsync::EverySec);
    Ok(Box::new(Kevy(kevy_embedded::Store::open(config)?)))
}

impl Store for Kevy {
    fn set(&self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        self.0.set(key, value)?;
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<(), Failure> {
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum FjallSync {
    /// As it comes: each insert is handed to the operating system, no more.
    Never,
    /// Inserts stay in the journal's buffer; a thread syncs it every second. This is what our every-second promises.
    EverySecond,
    EveryWrite,
}

struct Fjall {
    database: fjall::Database,
    items: fjall::Keyspace,
    sync: FjallSync,
    /// Dropping the sender ends the thread that syncs.
    syncer: Option<(mpsc::Sender<()>, JoinHandle<fjall::Result<()>>)>,
}

impl Fjall {
    fn open(dir: &Path, sync: FjallSync) -> Result<Box<dyn Store>, Failure> {
        // With every write followed by persist, letting insert flush as well would only cost it a second system call.
        let database = fjall::Database::builder(dir).manual_journal_persist(sync != FjallSync::Never).open()?;
        let items = database.keyspace("items", KeyspaceCreateOptions::default)?;
        let syncer = (sync == FjallSync::EverySecond).then(|| {
            let (sender, closed) = mpsc::channel();
            let database = database.clone();
            let thread = std::thread::spawn(move || {
                while closed.recv_timeout(Duration::from_secs(1)) == Err(mpsc::RecvTimeoutError::Timeout) {
                    database.persist(PersistMode::SyncData)?;
                }
                Ok(())
            });
            (sender, thread)
        });
        Ok(Box::new(Self { database, items, sync, syncer }))
    }
}

impl Store for Fjall {
    fn set(&self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        self.items.insert(key, value)?;
        if self.sync == FjallSync::EveryWrite {
            self.database.persist(PersistMode::SyncData)?;
        }
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<(), Failure> {
        if let Some((sender, thread)) = self.syncer {
            drop(sender);
            thread.join().map_err(|_| "fjall's syncing thread panicked")??;
        }
        Ok(self.database.persist(PersistMode::SyncAll)?)
    }
}

/// On Linux its flush waits for `sync_file_range`, which leaves the data in the device's cache and metadata unwritten:
/// it promises less than an fdatasync, and the table says so. It has no stronger mode.
struct Sled {
    database: sled::Db,
    promise: Promise,
}

impl Sled {
    fn open(dir: &Path, promise: Promise) -> Result<Box<dyn Store>, Failure> {
        let every_ms = (promise == Promise::EverySecond).then_some(1000);
        Ok(Box::new(Self { database: sled::Config::new().path(dir).flush_every_ms(every_ms).open()?, promise }))
    }
}

impl Store for Sled {
    fn set(&self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        self.database.insert(key, value)?;
        if self.promise == Promise::Durable {
            self.database.flush()?;
        }
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<(), Failure> {
        self.database.flush()?;
        Ok(())
    }
}

const ITEMS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("items");

struct Redb(redb::Database);

impl Redb {
    fn open(dir: &Path) -> Result<Box<dyn Store>, Failure> {
        Ok(Box::new(Self(redb::Database::create(dir.join("items.redb"))?)))
    }
}

impl Store for Redb {
    fn set(&self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        // Immediate is the durability a transaction starts with.
        let transaction = self.0.begin_write()?;
        transaction.open_table(ITEMS)?.insert(key, value)?;
        Ok(transaction.commit()?)
    }

    fn close(self: Box<Self>) -> Result<(), Failure> {
        Ok(())
    }
}
