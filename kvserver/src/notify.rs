//! What follows a change: messages, keyspace events, invalidations, the marks of watched keys.
//!
//! Invariant: all of it is driven by the changes that the store notifies of, and leaves the server with the Lsn of its change.

pub(crate) mod events;
pub(crate) mod exec;
pub(crate) mod mailbox;
pub(crate) mod origin;
pub(crate) mod pubsub;
pub(crate) mod tracking;
pub(crate) mod watch;

use std::sync::Arc;

use kvcore::Db;
use kvcore::hooks::{Change, Observer, Swap};

use events::Audience;
use mailbox::{Mailbox, Mailboxes};
use pubsub::PubSub;
use tracking::TrackingTable;
use watch::WatchTable;

/// Everything through which a change or a message reaches the clients of a server.
pub(crate) struct Notify {
    pub(crate) pubsub: Arc<PubSub>,
    pub(crate) audience: Arc<Audience>,
    pub(crate) watch: Arc<WatchTable>,
    pub(crate) tracking: Arc<TrackingTable>,
    pub(crate) mailboxes: Arc<Mailboxes>,
}

impl Notify {
    /// Observes the changes of `db` from now on, for the server `id` whose loops have these mailboxes.
    pub(crate) fn start(id: u64, mailboxes: Vec<Mailbox>, db: &Db) -> kvcore::Result<Notify> {
        let mailboxes = Arc::new(Mailboxes::new(mailboxes));
        let watch = Arc::new(WatchTable::default());
        let tracking = Arc::new(TrackingTable::new(id, mailboxes.clone()));
        let pubsub = Arc::new(PubSub::new(mailboxes.clone()));
        let audience = Arc::new(Audience::new(id, pubsub.clone()));
        db.hooks().observe(Arc::new(Observers { watch: watch.clone(), tracking: tracking.clone() }))?;
        Ok(Notify { pubsub, audience, watch, tracking, mailboxes })
    }
}

/// What is notified of each change: one observer of the few that a store can have.
struct Observers {
    watch: Arc<WatchTable>,
    tracking: Arc<TrackingTable>,
}

impl Observer for Observers {
    fn is_interested(&self) -> bool {
        self.watch.is_interested() || self.tracking.is_interested()
    }

    fn changed(&self, change: &Change<'_>) {
        self.watch.changed(change);
        self.tracking.changed(change);
    }

    fn swapped(&self, swap: &Swap<'_>) {
        self.watch.swapped(swap);
        self.tracking.swapped(swap);
    }
}
