//! Who was refused what lately: ACL LOG, and the counts of INFO.
//!
//! Invariant: a bounded number of entries, each of bounded size, whatever clients try.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use kvproto::Reply;
use parking_lot::Mutex;

use kvcommands::gather::gather;
use kvcommands::outcome::Outcome;
use kvstats::newest::{self, Newest};

/// Refusals of one kind less than this apart are one entry, in milliseconds.
const GROUPED_MS: u64 = 60_000;
/// How many of the newest entries are compared with a refusal.
const COMPARED: usize = 10;
/// Entries kept, unless set otherwise.
const ENTRIES: usize = 128;
/// How much of a command, a key, a channel or a user's name is kept, in bytes.
const NAME_BYTES_MAX: usize = 1024;
/// How much of what CLIENT LIST shows of a client is kept, in bytes: all of it, with the longest names and addresses.
const CLIENT_BYTES_MAX: usize = 2048;

/// Why something was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    Command,
    Key,
    Channel,
    Auth,
}

impl Reason {
    pub(crate) const ALL: [Reason; 4] = [Reason::Auth, Reason::Command, Reason::Key, Reason::Channel];

    /// The field of INFO that counts these.
    pub(crate) fn info_name(self) -> &'static str {
        match self {
            Reason::Command => "acl_access_denied_cmd",
            Reason::Key => "acl_access_denied_key",
            Reason::Channel => "acl_access_denied_channel",
            Reason::Auth => "acl_access_denied_auth",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Reason::Command => "command",
            Reason::Key => "key",
            Reason::Channel => "channel",
            Reason::Auth => "auth",
        }
    }
}

/// Something that was refused.
#[derive(Debug)]
pub(crate) struct Refused<'r> {
    pub(crate) reason: Reason,
    pub(crate) in_multi: bool,
    /// The command, the key, the channel.
    pub(crate) object: &'r [u8],
    pub(crate) user: &'r [u8],
    /// The client, as CLIENT LIST shows it.
    pub(crate) client: Vec<u8>,
    pub(crate) now_ms: u64,
}

#[derive(Debug)]
struct Entry {
    id: u64,
    count: u64,
    reason: Reason,
    in_multi: bool,
    object: Box<[u8]>,
    user: Box<[u8]>,
    client: Box<[u8]>,
    created_ms: u64,
    updated_ms: u64,
}

/// The log, newest entry first.
#[derive(Debug)]
pub(crate) struct Log {
    kept: Mutex<Kept>,
    /// What the entries take in memory.
    bytes: AtomicUsize,
    /// `acllog-max-len`
    pub(crate) entries_max: AtomicUsize,
    counts: [AtomicU64; Reason::ALL.len()],
}

#[derive(Debug, Default)]
struct Kept {
    next_id: u64,
    entries: Newest<Entry>,
}

impl Default for Log {
    fn default() -> Log {
        Log {
            kept: Mutex::default(),
            bytes: AtomicUsize::new(0),
            entries_max: AtomicUsize::new(ENTRIES),
            counts: Default::default(),
        }
    }
}

impl Log {
    /// Logs a refusal.
    pub(crate) fn add(&self, refused: Refused<'_>) {
        let Refused { reason, in_multi, object, user, client, now_ms } = refused;
        self.counts[reason as usize].fetch_add(1, Relaxed);
        let [object, user] = [object, user].map(|name| &name[..name.len().min(NAME_BYTES_MAX)]);
        let client: Box<[u8]> = client[..client.len().min(CLIENT_BYTES_MAX)].into();
        let kept = &mut *self.kept.lock();
        let Kept { next_id, entries } = kept;
        let same = |entry: &Entry| {
            (entry.reason, entry.in_multi) == (reason, in_multi)
                && now_ms.abs_diff(entry.updated_ms) <= GROUPED_MS
                && *entry.object == *object
                && *entry.user == *user
        };
        let same = entries.iter().take(COMPARED).position(same);
        let entry = match same.and_then(|at| entries.take(at)) {
            Some(entry) => Entry { count: entry.count + 1, client, updated_ms: now_ms, ..entry },
            None => {
                let id = *next_id;
                *next_id += 1;
                Entry {
                    id,
                    count: 1,
                    reason,
                    in_multi,
                    object: object.into(),
                    user: user.into(),
                    client,
                    created_ms: now_ms,
                    updated_ms: now_ms,
                }
            }
        };
        entries.push(entry, self.entries_max.load(Relaxed));
        self.bytes.store(entries.bytes(), Relaxed);
    }

    /// Drops the oldest entries until there are at most `count`.
    fn shorten(&self, count: usize) {
        let entries = &mut self.kept.lock().entries;
        entries.shorten(count);
        self.bytes.store(entries.bytes(), Relaxed);
    }

    /// How many entries are kept from now on.
    pub(crate) fn set_entries_max(&self, count: usize) {
        self.entries_max.store(count, Relaxed);
        self.shorten(count);
    }

    /// Returns what the entries take in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }

    /// Forgets all entries; the counts stay.
    pub(crate) fn reset(&self) {
        self.shorten(0);
    }

    /// How often something was refused for this reason.
    pub(crate) fn count(&self, reason: Reason) -> u64 {
        self.counts[reason as usize].load(Relaxed)
    }

    /// The newest entries, as ACL LOG shows them.
    pub(crate) fn show(&self, count: usize, now_ms: u64) -> Outcome {
        let kept = self.kept.lock();
        Ok(Reply::Array(gather(|entries| {
            kept.entries.iter().take(count).for_each(|entry| entries.push(entry.show(now_ms)));
            Ok(())
        })?))
    }
}

impl newest::Entry for Entry {
    fn bytes(&self) -> usize {
        size_of::<Entry>() + self.object.len() + self.user.len() + self.client.len()
    }
}

impl Entry {
    fn show(&self, now_ms: u64) -> Reply {
        #[expect(clippy::cast_precision_loss, reason = "an age beyond 2^53 milliseconds is told well enough")]
        let age = now_ms.saturating_sub(self.updated_ms) as f64 / 1000.0;
        let fields = [
            ("count", Reply::count(self.count)),
            ("reason", Reply::bulk(self.reason.name())),
            ("context", Reply::bulk(if self.in_multi { "multi" } else { "toplevel" })),
            ("object", Reply::bulk(&*self.object)),
            ("username", Reply::bulk(&*self.user)),
            ("age-seconds", Reply::Double(age)),
            ("client-info", Reply::bulk(&*self.client)),
            ("entry-id", Reply::count(self.id)),
            ("timestamp-created", Reply::count(self.created_ms)),
            ("timestamp-last-updated", Reply::count(self.updated_ms)),
        ];
        Reply::Map(fields.into_iter().map(|(name, value)| (Reply::bulk(name), value)).collect())
    }
}
