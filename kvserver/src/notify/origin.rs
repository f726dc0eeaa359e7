//! Origin: what the server gives to its transactions, and the store hands back to the server's observers. It says whose
//! transaction it is, and has room for what follows from it once it is committed.
//!
//! Invariant: only the thread that owns it uses it, for one transaction at a time. What an observer leaves in it is taken by
//! that thread after the commit, and leaves the server with the Lsn of its change.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use kvcore::hooks;

use crate::notify::mailbox::TrackedChange;
use crate::notify::pubsub::Announcement;

/// The origin of what one event loop, or one of the threads for costly commands, changes.
#[derive(Debug)]
pub(crate) struct Origin {
    /// A store may serve several servers.
    server_id: u64,
    client_id: Cell<u64>,
    announced: RefCell<Option<Announced>>,
    /// Changes that tracking is still to look up.
    changes: RefCell<Vec<TrackedChange>>,
}

/// Returns a number that no other server of this process has.
pub(crate) fn next_server_id() -> u64 {
    static NEXT_ID: AtomicU64 = AtomicU64::new(1);
    NEXT_ID.fetch_add(1, Relaxed)
}

/// What a transaction announces when it is committed.
#[derive(Debug, Default)]
pub(crate) struct Announced {
    pub(crate) announcements: Vec<Announcement>,
    /// How many receive each of those that were carried out.
    pub(crate) receivers: Vec<usize>,
}

impl Origin {
    pub(crate) fn new(server_id: u64) -> Origin {
        Origin { server_id, client_id: Cell::new(0), announced: RefCell::default(), changes: RefCell::default() }
    }

    /// Returns the origin of a change, if it is one of this server.
    pub(crate) fn of(origin: hooks::Origin<'_>, server_id: u64) -> Option<&Origin> {
        origin.get::<Origin>().filter(|origin| origin.server_id == server_id)
    }

    /// Returns it as the store takes it.
    #[inline]
    pub(crate) fn for_store(&self) -> hooks::Origin<'_> {
        hooks::Origin::new(self)
    }

    /// The client whose requests are executed now; 0 for none.
    pub(crate) fn client_id(&self) -> u64 {
        self.client_id.get()
    }

    /// Makes what follows a client's doing; 0: nobody's.
    #[inline]
    pub(crate) fn set_client(&self, client_id: u64) {
        self.client_id.set(client_id);
    }

    /// Leaves what a transaction announces for its commit to carry out, instead of what was left before.
    pub(crate) fn announce(&self, announcements: Vec<Announcement>) {
        self.announced.replace(Some(Announced { announcements, receivers: Vec::new() }));
    }

    /// Calls `carry_out` with what the transaction announces; returns whether it does.
    pub(crate) fn with_announced(&self, carry_out: impl FnOnce(&mut Announced)) -> bool {
        self.announced.borrow_mut().as_mut().map(carry_out).is_some()
    }

    /// Takes what the transaction announces and the commit has not carried out.
    pub(crate) fn take_announced(&self) -> Announced {
        self.announced.take().unwrap_or_default()
    }

    /// Adds a change that tracking is to look up.
    pub(crate) fn add_change(&self, change: TrackedChange) {
        self.changes.borrow_mut().push(change);
    }

    /// Adds the changes of a transaction that ran on another thread.
    pub(crate) fn add_changes(&self, mut changes: Vec<TrackedChange>) {
        self.changes.borrow_mut().append(&mut changes);
    }

    /// Forgets the changes that tracking was to look up.
    #[inline]
    pub(crate) fn forget_changes(&self) {
        self.changes.borrow_mut().clear();
    }

    /// Takes the changes that tracking is to look up.
    pub(crate) fn take_changes(&self) -> Vec<TrackedChange> {
        self.changes.take()
    }
}
