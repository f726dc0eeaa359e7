//! CLIENT TRACKING: clients that keep what they read are notified when it changes. Here are the table of the server, how one
//! client [tracks](Tracking), and the looking up of changes; `commands/tracking.rs` has the options of the command.
//!
//! A change is noted under its shard's lock, in the [`Origin`] of the transaction that makes it. When the command is over, with
//! no lock held, the loop looks up who read the keys and posts them their messages.
//!
//! Invariant: a key is entered in the table before it is read, and a change is looked up after it was made: so whoever
//! read the value before is told. What is told to the client whose command it was comes after the command's reply.
//! While nobody tracks, a change costs one atomic load.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use kvcore::hooks::{Change, ChangeKind, Lsn, Observer};
use parking_lot::Mutex;

use crate::clients::Clients;
use crate::databases;
use crate::notify::mailbox::{Invalidation, LoopMessage, Mailboxes, Stale, TrackedChange, What};
use crate::notify::origin::Origin;

mod session;
mod table;

pub(crate) use session::{Choice, ReadKeys, Tracking};
pub(crate) use table::Tracker;
use table::{Notice, Table, Totals};

/// Changes of no origin of this server that may wait to be looked up. With more of them, everything is told to be stale.
const FOREIGN_EVENTS_MAX: usize = 64 * 1024;
/// Keys the table remembers unless told otherwise.
const KEYS_MAX: usize = 1_000_000;
/// What the remembered keys may take in memory for each key that may be remembered. Beyond it keys are forgotten although
/// they are few, as when they are long.
const KEY_BYTES_MAX: usize = 256;

/// All that is tracked at a server.
pub(crate) struct TrackingTable {
    /// Of the server, in the origins of its transactions.
    server_id: u64,
    /// Clients that track.
    count: AtomicUsize,
    /// More keys are remembered than allowed.
    overfull: AtomicBool,
    keys_max: AtomicUsize,
    /// What the remembered keys take in memory. Changed under the lock of `table`.
    bytes: AtomicUsize,
    table: Mutex<Table>,
    /// Changes that no transaction of this server made.
    foreign: Mutex<Vec<TrackedChange>>,
    mailboxes: Arc<Mailboxes>,
}

impl TrackingTable {
    pub(crate) fn new(server_id: u64, mailboxes: Arc<Mailboxes>) -> TrackingTable {
        TrackingTable {
            server_id,
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

    /// Notes a change for loop 0 to look up.
    fn note_foreign(&self, event: TrackedChange) {
        let lsn = event.lsn;
        let mut events = self.foreign.lock();
        let is_first = events.is_empty();
        if events.len() >= FOREIGN_EVENTS_MAX {
            events.clear();
            events.push(TrackedChange { key: None, origin: 0, lsn });
        } else {
            events.push(event);
        }
        if is_first {
            self.mailboxes.of(0).post(LoopMessage::Changed);
        }
    }

    /// A client tracks from now on, or does it in another way.
    pub(crate) fn enter(&self, client_id: u64, tracker: Tracker, prefixes: &BTreeSet<Box<[u8]>>, is_new: bool) {
        if is_new {
            // Before anything is read: changes made from now on are noted.
            self.count.fetch_add(1, Ordering::SeqCst);
        }
        self.table.lock().start(client_id, tracker, prefixes);
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

    /// Looks up what was noted in `origin` and posts messages to all but the client `own`, whose messages it returns.
    /// `read`: keys it read meanwhile. The store notifies of a transaction's changes when all of it is over, and only here
    /// it is known which came before the client read the key.
    pub(crate) fn invalidate(
        &self,
        origin: &Origin,
        clients: &Clients,
        own: u64,
        read: &ReadKeys,
    ) -> Vec<Invalidation> {
        let events = origin.take_changes();
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

    /// Looks up the changes that no transaction of this server made.
    pub(crate) fn invalidate_foreign(&self, clients: &Clients) {
        let events = std::mem::take(&mut *self.foreign.lock());
        self.look_up(&events, clients, 0, &ReadKeys::new());
    }

    fn look_up(&self, events: &[TrackedChange], clients: &Clients, own: u64, read: &ReadKeys) -> Vec<Invalidation> {
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

impl TrackingTable {
    /// Leaves a change for the loop whose doing it is to look up.
    #[cold]
    fn note(&self, change: &Change<'_>) {
        let is_by_nobody = matches!(change.kind, ChangeKind::Expire | ChangeKind::Evict);
        let event = |origin| TrackedChange { key: change.key.map(Box::from), origin, lsn: change.lsn };
        match Origin::of(change.origin, self.server_id) {
            Some(origin) => origin.add_change(event(if is_by_nobody { 0 } else { origin.client_id() })),
            None => self.note_foreign(event(0)),
        }
    }
}

impl Observer for TrackingTable {
    fn is_interested(&self) -> bool {
        self.is_on()
    }

    fn changed(&self, change: &Change<'_>) {
        // What clients cannot reach they have not read.
        if self.is_on() && databases::index_of(change.keyspace).is_some() {
            self.note(change);
        }
    }
}
