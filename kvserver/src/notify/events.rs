//! Keyspace events: what happened to which key, told to whoever subscribed to `__keyspace@0__:key` or
//! `__keyevent@0__:event`; and the one word that says whether anybody has to be told anything.
//!
//! A command's events are gathered while it runs ([`EventTxn`](kvcommands::events::EventTxn)), left in its [`Origin`], and published when the store's observers
//! are notified of its changes, under the locks of their keys: so the events of a key come in the order of its changes,
//! whichever event loop made them. What other origins change, expiry and the program around the server, is named by its
//! kind.
//!
//! Invariant: while nobody wants events and nobody monitors, a command costs one relaxed load here. An event carries
//! the Lsn of its change, so nobody hears of what a crash can take back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use kvcore::Db;
use kvcore::hooks::{Change, ChangeKind, Lsn, Observer};
use parking_lot::Mutex;

use crate::databases;
use crate::notify::origin::{Announced, Origin};
use crate::notify::pubsub::{Announcement, PubSub, Publication};
use kvcommands::events::{Class, Classes, EventMessage};

/// Returns messages about events as what their transaction announces.
pub(crate) fn announcements(messages: Vec<EventMessage>) -> impl Iterator<Item = Announcement> {
    messages.into_iter().map(|EventMessage { channel, payload }| {
        Announcement::Publish(Publication { sharded: false, channel, payload })
    })
}

/// Who has to be told of what commands do.
pub(crate) struct Audience {
    /// Of the server, in the origins of its transactions.
    server_id: u64,
    /// The classes of events wanted, in the low half, and how many monitor, in the high half.
    word: AtomicU64,
    /// Whether the store tells it of changes: from the first time on that somebody wants events.
    observes: Mutex<bool>,
    pubsub: Arc<PubSub>,
}

/// One look at the audience.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted(u64);

const ONE_MONITOR: u64 = 1 << 32;

impl Wanted {
    pub(crate) fn is_monitored(self) -> bool {
        self.0 >= ONE_MONITOR
    }

    pub(crate) fn events(self) -> Classes {
        Classes::from_bits(self.0 as u32)
    }
}

impl Audience {
    pub(crate) fn new(server_id: u64, pubsub: Arc<PubSub>) -> Audience {
        Audience { server_id, word: AtomicU64::new(0), observes: Mutex::new(false), pubsub }
    }

    pub(crate) fn wanted(&self) -> Wanted {
        Wanted(self.word.load(Relaxed))
    }

    /// Changes which events are wanted: those that come after it.
    pub(crate) fn want(self: &Arc<Audience>, classes: Classes, db: &Db) -> kvcore::Result<()> {
        let mut observes = self.observes.lock();
        if !*observes && !classes.is_empty() {
            db.hooks().observe(self.clone())?;
            *observes = true;
        }
        // The update never declines.
        let _ = self
            .word
            .fetch_update(Relaxed, Relaxed, |word| Some(word & !u64::from(u32::MAX) | u64::from(classes.bits())));
        Ok(())
    }

    pub(crate) fn add_monitor(&self) {
        self.word.fetch_add(ONE_MONITOR, Relaxed);
    }

    pub(crate) fn remove_monitor(&self) {
        self.word.fetch_sub(ONE_MONITOR, Relaxed);
    }

    /// Carries out what a transaction announces and no change of it has carried out, if it was committed. Returns how many
    /// receive each announcement that was carried out.
    pub(crate) fn publish(&self, origin: &Origin, committed: Option<Lsn>) -> Vec<usize> {
        let Announced { announcements, mut receivers } = origin.take_announced();
        if let Some(lsn) = committed {
            receivers.extend(self.pubsub.carry_out(&announcements, lsn));
        }
        receivers
    }

    /// What a change is called that is not a command's.
    fn name(kind: ChangeKind) -> Option<(Class, &'static str)> {
        match kind {
            ChangeKind::Set => Some((Class::String, "set")),
            ChangeKind::Deadline => Some((Class::Generic, "expire")),
            ChangeKind::Delete => Some((Class::Generic, "del")),
            ChangeKind::Expire => Some((Class::Expired, "expired")),
            ChangeKind::Evict => Some((Class::Evicted, "evicted")),
            // An emptied keyspace has no event.
            _ => None,
        }
    }
}

impl Observer for Audience {
    fn is_interested(&self) -> bool {
        !self.wanted().events().is_empty()
    }

    fn changed(&self, change: &Change<'_>) {
        let wanted = self.wanted().events();
        if wanted.is_empty() {
            return;
        }
        if !matches!(change.kind, ChangeKind::Expire | ChangeKind::Evict)
            && let Some(origin) = Origin::of(change.origin, self.server_id)
        {
            // The first change of a commit publishes for all of them. A command that changes nothing publishes later.
            let has_announced = origin.with_announced(|announced| {
                let announcements = std::mem::take(&mut announced.announcements);
                announced.receivers.extend(self.pubsub.carry_out(&announcements, change.lsn));
            });
            if has_announced {
                return;
            }
        }
        let database = databases::index_of(change.keyspace);
        if let (Some((class, name)), Some(key), Some(database)) = (Audience::name(change.kind), change.key, database) {
            let mut messages = Vec::new();
            wanted.describe(class, name, database, key, &mut messages);
            self.pubsub.carry_out(&announcements(messages).collect::<Vec<_>>(), change.lsn);
        }
    }
}
