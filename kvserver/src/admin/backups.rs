//! The backups that clients are reading: BACKUP.
//!
//! Invariant: a connection has one at most, the server a few, and none outlasts its connection or a client that has stopped
//! reading: while one lasts, files that the store no longer needs keep their room on the disk.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use kvcore::{Backup, Db};
use kvproto::{CommandError, Reply};
use parking_lot::Mutex;

use kvcommands::outcome::{Outcome, store_error};
use kvtools::archive::{self, BLOCK_BYTES, Entry};

/// Limits how many run in a server at a time.
const RUNNING_MAX: usize = 4;
/// Limits the bytes in a reply to BACKUP READ.
const CHUNK_BYTES: usize = 1024 * 1024;
/// Limits how long a backup may go unread, unless `backup-timeout` says otherwise.
const TIMEOUT_SECS: u64 = 60;

/// Holds the backups that are running, by the ids of their clients.
#[derive(Debug)]
pub(crate) struct Backups {
    running: Mutex<BTreeMap<u64, Arc<Running>>>,
    /// Limits the seconds that a backup may go without a READ before it is ended; 0 for no limit.
    pub(crate) timeout_secs: AtomicU64,
    /// Counts the backups that were read to their end.
    pub(crate) completed: AtomicU64,
}

/// Holds one running backup. Whoever has work to do for it holds a reference besides the list's, so it is not idle then.
#[derive(Debug)]
pub(crate) struct Running {
    client: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Is `None` until the backup has begun.
    stream: Option<Stream>,
    used_at: Instant,
}

/// Names the work to be done for a backup, on a thread that may wait for a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    Start,
    Read,
}

impl Default for Backups {
    fn default() -> Backups {
        Backups { running: Mutex::default(), timeout_secs: AtomicU64::new(TIMEOUT_SECS), completed: AtomicU64::new(0) }
    }
}

impl Backups {
    pub(crate) fn count(&self) -> usize {
        self.running.lock().len()
    }

    /// Registers a backup for a client, before it begins.
    pub(crate) fn reserve(&self, client: u64) -> Result<Arc<Running>, CommandError> {
        let mut running = self.running.lock();
        if running.contains_key(&client) {
            return Err(CommandError::custom(
                "ERR a backup is running on this connection: read it to its end, or send BACKUP STOP",
            ));
        }
        if running.len() >= RUNNING_MAX {
            return Err(CommandError::custom(format!("ERR {RUNNING_MAX} backups are running: wait until one is done")));
        }
        let state = Mutex::new(State { stream: None, used_at: Instant::now() });
        let one = Arc::new(Running { client, state });
        running.insert(client, Arc::clone(&one));
        Ok(one)
    }

    /// Returns the backup of a client.
    pub(crate) fn of(&self, client: u64) -> Result<Arc<Running>, CommandError> {
        let found = self.running.lock().get(&client).cloned();
        found.ok_or_else(|| {
            let idle = match self.timeout_secs.load(Relaxed) {
                0 => String::new(),
                secs => format!(" (one that is not read for {secs} seconds is ended)"),
            };
            CommandError::custom(format!("ERR no backup is running on this connection: send BACKUP START{idle}"))
        })
    }

    /// Ends the backup of a client, if there is one; returns whether there was.
    pub(crate) fn end(&self, client: u64) -> bool {
        // Its files are closed when the list is free again.
        let ended = self.running.lock().remove(&client);
        ended.is_some()
    }

    /// Ends this backup, and not another that its client may have begun since.
    fn finish(&self, one: &Arc<Running>) {
        let mut running = self.running.lock();
        if running.get(&one.client).is_some_and(|other| Arc::ptr_eq(other, one)) {
            running.remove(&one.client);
        }
    }

    /// Ends the backups that nobody has read for too long. It is called about once a second.
    pub(crate) fn end_stalled(&self, now: Instant) {
        let timeout = Duration::from_secs(self.timeout_secs.load(Relaxed));
        if timeout.is_zero() {
            return;
        }
        let mut stalled = Vec::new();
        self.running.lock().retain(|client, one| {
            let is_idle = Arc::strong_count(one) == 1;
            let keep = !is_idle || now.saturating_duration_since(one.state.lock().used_at) < timeout;
            if !keep {
                stalled.push((*client, Arc::clone(one)));
            }
            keep
        });
        for (client, _) in stalled {
            tracing::warn!(client, "a backup is ended: it was not read for {} seconds", timeout.as_secs());
        }
    }

    /// Does one step of a backup; returns the reply to its client.
    pub(crate) fn step(&self, db: &Db, one: &Arc<Running>, step: Step) -> Reply {
        let mut state = one.state.lock();
        let done = match step {
            Step::Start => start(db, &mut state.stream),
            Step::Read => read(&mut state.stream),
        };
        state.used_at = Instant::now();
        drop(state);
        match done {
            Ok(reply) => {
                if matches!(&reply, Reply::Bulk(bytes) if bytes.is_empty()) {
                    self.completed.fetch_add(1, Relaxed);
                    self.finish(one);
                }
                reply
            }
            Err(failure) => {
                self.finish(one);
                failure.into()
            }
        }
    }
}

fn start(db: &Db, stream: &mut Option<Stream>) -> Outcome {
    let backup = match db.begin_backup() {
        Ok(backup) => backup,
        Err(error) => {
            // Only what the server's owner has to look at. Other failures depend on the server's options or on room that is
            // reported elsewhere, and a client can repeat them at will.
            if matches!(error, kvcore::Error::Io { .. } | kvcore::Error::Corrupt { .. }) {
                tracing::error!(%error, "a backup could not be begun");
            }
            return Err(error.into());
        }
    };
    let stream = stream.insert(Stream::new(backup));
    Ok(Reply::Map(vec![
        (Reply::bulk("bytes"), Reply::count(stream.bytes)),
        (Reply::bulk("lsn"), Reply::count(stream.backup.lsn().get())),
        (Reply::bulk("files"), Reply::count(stream.entries.len())),
    ]))
}

fn read(stream: &mut Option<Stream>) -> Outcome {
    let Some(stream) = stream else { return Ok(store_error(&kvcore::Error::Closed)) };
    match stream.next_chunk() {
        Ok(chunk) => Ok(Reply::bulk(chunk)),
        Err(error) => {
            tracing::error!(%error, "a backup could not be read and is ended");
            Err(error.into())
        }
    }
}

/// Produces the bytes of the archive, piece by piece.
#[derive(Debug)]
struct Stream {
    backup: Backup,
    entries: Vec<Entry>,
    /// Counts the bytes of the whole archive.
    bytes: u64,
    /// Says which file is being read, and how far: its header, its bytes and its padding are one piece.
    file: usize,
    at: u64,
}

impl Stream {
    fn new(backup: Backup) -> Stream {
        let modified = backup.time_ms() / 1000;
        let entry = |file: &kvcore::BackupFile| Entry { name: file.name().to_owned(), bytes: file.bytes(), modified };
        let entries: Vec<Entry> = backup.files().iter().map(entry).collect();
        let bytes = entries.iter().map(piece_bytes).sum::<u64>() + archive::END.len() as u64;
        Stream { backup, entries, bytes, file: 0, at: 0 }
    }

    /// Returns the next bytes; none at the end.
    fn next_chunk(&mut self) -> kvcore::Result<Vec<u8>> {
        let mut chunk = Vec::with_capacity(CHUNK_BYTES.min(self.bytes as usize));
        while chunk.len() < CHUNK_BYTES {
            let room = (CHUNK_BYTES - chunk.len()) as u64;
            let (Some(entry), Some(file)) = (self.entries.get(self.file), self.backup.files().get(self.file)) else {
                // Behind the last file.
                let end = archive::END.len() as u64;
                let step = room.min(end.saturating_sub(self.at));
                chunk.resize(chunk.len() + step as usize, 0);
                self.at += step;
                return Ok(chunk);
            };
            let header = BLOCK_BYTES as u64;
            if self.at < header {
                let bytes = entry.header();
                let rest = &bytes[self.at as usize..];
                let step = rest.len().min(room as usize);
                chunk.extend_from_slice(&rest[..step]);
                self.at += step as u64;
            } else if self.at < header + entry.bytes {
                let (from, held) = (self.at - header, chunk.len());
                let step = room.min(entry.bytes - from);
                chunk.resize(held + step as usize, 0);
                file.read_at(&mut chunk[held..], from)?;
                self.at += step;
            } else {
                let step = room.min(piece_bytes(entry) - self.at);
                chunk.resize(chunk.len() + step as usize, 0);
                self.at += step;
                if self.at == piece_bytes(entry) {
                    (self.file, self.at) = (self.file + 1, 0);
                }
            }
        }
        Ok(chunk)
    }
}

/// Returns how many bytes a file takes in the archive.
fn piece_bytes(entry: &Entry) -> u64 {
    BLOCK_BYTES as u64 + entry.bytes + archive::padding(entry.bytes)
}
