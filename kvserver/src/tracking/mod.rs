//! CLIENT TRACKING: clients that keep what they read are told when it changes.
//!
//! A change is noted under its shard's lock, on a list of the thread that makes it. When the command is over, with no
//! lock held, the loop looks up who read the keys and posts them their messages.
//!
//! Invariant: a key is entered in the table before it is read, and a change is looked up after it was made: so whoever
//! read the value before is told. What is told to the client whose command it was comes after the command's reply.
//! While nobody tracks, a change costs one atomic load.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use kvcore::hooks::{Change, ChangeKind, Lsn, Observer};
use parking_lot::Mutex;

use crate::clients::Clients;
use crate::databases;
use crate::mailbox::{Invalidation, Mail, Mailboxes, Stale, What};

mod session;
mod table;

pub(crate) use session::{Choice, KeyRead, ReadKeys, Tracking};
pub(crate) use table::Event;
pub(crate) use table::Tracker;
use table::{Notice, Table, Totals};

/// Changes by other threads than loops that may wait to be looked up. With more of them, everything is told to be stale.
const FOREIGN_EVENTS_MAX: usize = 64 * 1024;
/// Keys the table remembers unless told otherwise.
const KEYS_MAX: usize = 1_000_000;
/// What the remembered keys may take in memory for each key that may be remembered. Beyond it keys are forgotten although
/// they are few, as when they are long.
const KEY_BYTES_MAX: usize = 256;

/// What this thread has noted since it last looked.
#[derive(Default)]
struct Noted {
    /// The [`TrackingTable::id`] of the server whose loop this is; 0 for other threads.
    loop_of: u64,
    /// The client whose requests are executed now.
    origin: u64,
    events: Vec<Event>,
}

thread_local! {
    static NOTED: RefCell<Noted> = RefCell::default();
}

/// All that is tracked at a server.
pub(crate) struct TrackingTable {
    id: u64,
    /// Clients that track.
    count: AtomicUsize,
    /// More keys are remembered than allowed.
    overfull: AtomicBool,
    keys_max: AtomicUsize,
    /// What the remembered keys take in memory. Changed under the lock of `table`.
    bytes: AtomicUsize,
    table: Mutex<Table>,
    /// Changes made by threads that are no loops of this server.
    foreign: Mutex<Vec<Event>>,
    mailboxes: Arc<Mailboxes>,
}

impl TrackingTable {
    pub(crate) fn new(mailboxes: Arc<Mailboxes>) -> TrackingTable {
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        TrackingTable {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            count: AtomicUsize::new(0),
            overfull: AtomicBool::new(false),
            keys_max: AtomicUsize::new(KEYS_MAX),
            bytes: AtomicUsize::new(0),
            table: Mutex::default(),
            foreign: Mutex::default(),
            mailboxes,
        }
    }

    /// Whether anybody tracks.
    pub(crate) fn is_on(&self) -> bool {
        self.count.load(Ordering::Relaxed) != 0
    }

    /// This thread is a loop of the server: it looks up itself what it notes.
    pub(crate) fn adopt_thread(&self) {
        NOTED.with_borrow_mut(|noted| noted.loop_of = self.id);
    }

    /// From now on what this thread changes is this client's doing; 0: nobody's.
    pub(crate) fn blame(&self, client_id: u64) {
        NOTED.with_borrow_mut(|noted| noted.origin = client_id);
    }

    /// Returns what this thread has noted, for the loop that looks it up.
    pub(crate) fn take_noted(&self) -> Vec<Event> {
        NOTED.with_borrow_mut(|noted| std::mem::take(&mut noted.events))
    }

    /// Adds what another thread has noted for a client of this one.
    pub(crate) fn add_noted(&self, mut events: Vec<Event>) {
        NOTED.with_borrow_mut(|noted| noted.events.append(&mut events));
    }

    /// Any key may have changed, by what this thread does now.
    pub(crate) fn note_flush(&self) {
        if self.is_on() {
            self.note(None, false, Lsn::ZERO);
        }
    }

    fn note(&self, key: Option<&[u8]>, by_nobody: bool, lsn: Lsn) {
        let key = key.map(Box::from);
        // While a thread ends it has no list left; it is no loop then.
        let foreign = NOTED.try_with(|noted| {
            let mut noted = noted.borrow_mut();
            if noted.loop_of != self.id {
                return Some(key.clone());
            }
            let origin = if by_nobody { 0 } else { noted.origin };
            noted.events.push(Event { key: key.clone(), origin, lsn });
            None
        });
        let Some(key) = foreign.unwrap_or(Some(key)) else { return };
        let mut events = self.foreign.lock();
        let is_first = events.is_empty();
        if events.len() >= FOREIGN_EVENTS_MAX {
            events.clear();
            events.push(Event { key: None, origin: 0, lsn });
        } else {
            events.push(Event { key, origin: 0, lsn });
        }
        if is_first {
            self.mailboxes.of(0).post(Mail::Changed);
        }
    }

    /// A client tracks from now on, or does it in another way.
    pub(crate) fn enter(&self, client_id: u64, tracker: Tracker, prefixes: &BTreeSet<Box<[u8]>>, is_new: bool) {
        if is_new {
            // Before anything is read: changes made from now on are noted.
            self.count.fetch_add(1, Ordering::SeqCst);
        }
        self.table.lock().start(client_id, tracker, prefixes);
        self.blame(client_id);
    }

    /// A client that tracked these prefixes tracks no more.
    pub(crate) fn leave(&self, client_id: u64, prefixes: &BTreeSet<Box<[u8]>>) {
        let mut table = self.table.lock();
        table.stop(client_id, prefixes);
        self.bytes.store(table.bytes(), Ordering::Relaxed);
        drop(table);
        self.count.fetch_sub(1, Ordering::SeqCst);
    }

    /// A client that tracks is about to read a key; answers whether it did not hold it before.
    pub(crate) fn remember(&self, key: &[u8], client_id: u64) -> bool {
        let mut table = self.table.lock();
        let is_new = table.remember(key, client_id);
        self.bytes.store(table.bytes(), Ordering::Relaxed);
        let (keys_max, bytes_max) = self.limits();
        if table.key_count() > keys_max || table.bytes() > bytes_max {
            self.overfull.store(true, Ordering::Relaxed);
        }
        is_new
    }

    /// Returns what the remembered keys take in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Returns how many keys may be remembered, and what they may take in memory.
    fn limits(&self) -> (usize, usize) {
        match self.keys_max() {
            0 => (usize::MAX, usize::MAX),
            keys_max => (keys_max, keys_max.saturating_mul(KEY_BYTES_MAX)),
        }
    }

    pub(crate) fn keys_max(&self) -> usize {
        self.keys_max.load(Ordering::Relaxed)
    }

    /// How many keys may be remembered; 0 for any number.
    pub(crate) fn set_keys_max(&self, max: usize) {
        self.keys_max.store(max, Ordering::Relaxed);
        // Taken back by whoever looks.
        self.overfull.store(true, Ordering::Relaxed);
    }

    pub(crate) fn totals(&self) -> Totals {
        self.table.lock().totals()
    }

    /// Looks up what this thread has noted and posts messages to all but the client `own`, whose messages it answers.
    /// `read`: keys it read meanwhile. The store tells of a transaction's changes when all of it is over, and only here
    /// it is known which came before the client read the key.
    pub(crate) fn settle(&self, clients: &Clients, own: u64, read: &ReadKeys) -> Vec<Invalidation> {
        let events = NOTED.with_borrow_mut(|noted| std::mem::take(&mut noted.events));
        if events.is_empty() && !self.overfull.load(Ordering::Relaxed) {
            return Vec::new();
        }
        self.look_up(&events, clients, own, read)
    }

    /// Remembers once more what a client has read by a command that ran on another thread. If a key has changed meanwhile,
    /// the client was sent that before its reply, which may show the value before: returns, or posts, that it is to be
    /// sent again, after the reply.
    pub(crate) fn remember_again(&self, clients: &Clients, own: u64, read: &ReadKeys) -> Vec<Invalidation> {
        let mut table = self.table.lock();
        let stale: Vec<Box<[u8]>> = read
            .iter()
            .filter(|(key, read)| read.holds && table.remember(key, own))
            .map(|(key, _)| key.clone())
            .collect();
        self.bytes.store(table.bytes(), Ordering::Relaxed);
        if stale.is_empty() {
            return Vec::new();
        }
        let notice = Notice { tracker: own, stale: Stale::Keys(stale.into()), lsn: Lsn::ZERO };
        match address(notice, &table, clients) {
            Some(invalidation) if invalidation.tracker.is_none() => vec![invalidation],
            elsewhere => {
                elsewhere.into_iter().for_each(|invalidation| self.mailboxes.invalidate(invalidation));
                Vec::new()
            }
        }
    }

    /// Looks up what other threads have noted.
    pub(crate) fn settle_foreign(&self, clients: &Clients) {
        let events = std::mem::take(&mut *self.foreign.lock());
        self.look_up(&events, clients, 0, &ReadKeys::new());
    }

    fn look_up(&self, events: &[Event], clients: &Clients, own: u64, read: &ReadKeys) -> Vec<Invalidation> {
        let mut notices = Vec::new();
        let mut table = self.table.lock();
        table.tell(events, &mut notices);
        if !read.is_empty() {
            notices.retain(|notice| notice.tracker != own || !is_old_news(&notice.stale, read));
            for (key, _) in read.iter().filter(|(_, read)| read.holds) {
                table.remember(key, own);
            }
        }
        if self.overfull.swap(false, Ordering::Relaxed) {
            let (keys_max, bytes_max) = self.limits();
            table.shrink_to(keys_max, bytes_max, &mut notices);
        }
        self.bytes.store(table.bytes(), Ordering::Relaxed);
        // Posted under the lock: once a client has left the table, all that it is sent is in its mailbox.
        let mut to_own = Vec::new();
        for invalidation in notices.into_iter().filter_map(|notice| address(notice, &table, clients)) {
            if invalidation.to.client_id == own && invalidation.tracker.is_none() {
                to_own.push(invalidation);
            } else {
                self.mailboxes.invalidate(invalidation);
            }
        }
        to_own
    }
}

/// Whether a client has read the key only after it changed.
fn is_old_news(stale: &Stale, read: &ReadKeys) -> bool {
    match stale {
        Stale::Keys(keys) => keys.iter().all(|key| read.get(key).is_some_and(|read| !read.told)),
        Stale::All => false,
    }
}

/// Finds out whom a notice goes to.
fn address(notice: Notice, table: &Table, clients: &Clients) -> Option<Invalidation> {
    let Notice { tracker, stale, lsn } = notice;
    let Tracker { address: tracker, redirect, .. } = table.tracker(tracker)?;
    if redirect == 0 {
        return Some(Invalidation { to: tracker, tracker: None, what: What::Stale(stale), lsn });
    }
    let invalidation = match clients.find(redirect) {
        Some(client) => Invalidation { to: client.address, tracker: Some(tracker), what: What::Stale(stale), lsn },
        None => Invalidation::redirect_broken(tracker, redirect),
    };
    Some(invalidation)
}

impl Observer for TrackingTable {
    fn changed(&self, change: &Change<'_>) {
        // What clients cannot reach they have not read.
        if self.is_on() && databases::index_of(change.keyspace).is_some() {
            let by_nobody = matches!(change.kind, ChangeKind::Expire | ChangeKind::Evict);
            self.note(change.key, by_nobody, change.lsn);
        }
    }
}
