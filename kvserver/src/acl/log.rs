//! Who was refused what lately: ACL LOG, and the counts of INFO.
//!
//! Invariant: a bounded number of entries, each of bounded size, whatever clients try.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use kvproto::Reply;
use parking_lot::Mutex;

/// Refusals of one kind less than this apart are one entry, in milliseconds.
const GROUPED_MS: u64 = 60_000;
/// How many of the newest entries are compared with a refusal.
const COMPARED: usize = 10;
/// Entries kept, unless set otherwise.
const ENTRIES: usize = 128;
/// How much of a name is kept, in bytes.
const NAME_BYTES_MAX: usize = 1024;

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
    client: Vec<u8>,
    created_ms: u64,
    updated_ms: u64,
}

/// The log, newest entry first.
#[derive(Debug)]
pub(crate) struct Log {
    entries: Mutex<(VecDeque<Entry>, u64)>,
    /// `acllog-max-len`
    pub(crate) entries_max: AtomicUsize,
    counts: [AtomicU64; Reason::ALL.len()],
}

impl Default for Log {
    fn default() -> Log {
        Log { entries: Mutex::default(), entries_max: AtomicUsize::new(ENTRIES), counts: Default::default() }
    }
}

impl Log {
    /// Takes note of a refusal.
    pub(crate) fn add(&self, refused: Refused<'_>) {
        let Refused { reason, in_multi, object, user, client, now_ms } = refused;
        self.counts[reason as usize].fetch_add(1, Relaxed);
        let [object, user] = [object, user].map(|name| &name[..name.len().min(NAME_BYTES_MAX)]);
        let (entries, next_id) = &mut *self.entries.lock();
        let same = |entry: &Entry| {
            (entry.reason, entry.in_multi) == (reason, in_multi)
                && now_ms.abs_diff(entry.updated_ms) <= GROUPED_MS
                && *entry.object == *object
                && *entry.user == *user
        };
        let entry = match entries.iter().take(COMPARED).position(same).and_then(|at| entries.remove(at)) {
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
        entries.push_front(entry);
        entries.truncate(self.entries_max.load(Relaxed));
    }

    /// How many entries are kept from now on.
    pub(crate) fn set_entries_max(&self, count: usize) {
        self.entries_max.store(count, Relaxed);
        self.entries.lock().0.truncate(count);
    }

    /// Forgets all entries; the counts stay.
    pub(crate) fn reset(&self) {
        self.entries.lock().0.clear();
    }

    /// How often something was refused for this reason.
    pub(crate) fn count(&self, reason: Reason) -> u64 {
        self.counts[reason as usize].load(Relaxed)
    }

    /// The newest entries, as ACL LOG shows them.
    pub(crate) fn show(&self, count: usize, now_ms: u64) -> Reply {
        let entries = self.entries.lock();
        Reply::Array(entries.0.iter().take(count).map(|entry| entry.show(now_ms)).collect())
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
