//! How one client tracks.
//!
//! Invariant: a client has this exactly while the server's table knows it as one that tracks.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::Ordering;
use std::sync::atomic::Ordering::Relaxed;

use kvproto::spec::Flag;
use kvproto::{Request, Spec};

use super::{Tracker, TrackingTable};
use crate::session::Session;
use crate::state::ServerState;

/// Which reads count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Choice {
    /// All.
    #[default]
    Every,
    /// Those announced by CLIENT CACHING YES.
    OptIn,
    /// All but those announced by CLIENT CACHING NO.
    OptOut,
}

/// What one request did with a key it read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyRead {
    /// It held the key when it changed it, so it is told; otherwise the change came before it read the key.
    pub(crate) told: bool,
    /// It read the key after all changes of its own.
    pub(crate) holds: bool,
}

pub(crate) type ReadKeys = HashMap<Box<[u8]>, KeyRead>;

/// The tracking of one client.
#[derive(Debug, Default)]
pub(crate) struct Tracking {
    pub(crate) choice: Choice,
    pub(crate) broadcast: bool,
    pub(crate) no_loop: bool,
    /// The client that is told in its place; 0 if it is told itself.
    pub(crate) redirect: u64,
    pub(crate) prefixes: BTreeSet<Box<[u8]>>,
    /// CLIENT CACHING has announced the next request.
    pub(crate) announced: bool,
    /// Keys read by the request that is executed, or by the transaction.
    pub(crate) read: ReadKeys,
}

impl Tracking {
    fn counts_reads(&self) -> bool {
        match self.choice {
            _ if self.broadcast => false,
            Choice::Every => true,
            Choice::OptIn => self.announced,
            Choice::OptOut => !self.announced,
        }
    }
}

impl Session {
    /// Turns tracking on, or changes how it is done.
    pub(crate) fn start_tracking(&mut self, tracking: Tracking, server: &ServerState) {
        let id = self.client.id;
        let tracker = Tracker {
            address: self.client.address,
            redirect: tracking.redirect,
            broadcast: tracking.broadcast,
            no_loop: tracking.no_loop,
        };
        let table = &server.tracking;
        if self.tracking.is_none() {
            // Before anything is read: changes made from now on are noted.
            table.count.fetch_add(1, Ordering::SeqCst);
        }
        table.table.lock().start(id, tracker, &tracking.prefixes);
        table.blame(id);
        let shown = &self.client.shown;
        shown.tracking.store(true, Relaxed);
        shown.broadcast.store(tracking.broadcast, Relaxed);
        shown.redirect_broken.store(false, Relaxed);
        shown.redirect.store(tracking.redirect, Relaxed);
        self.tracking = Some(Box::new(tracking));
    }

    pub(crate) fn stop_tracking(&mut self, server: &ServerState) {
        let Some(tracking) = self.tracking.take() else { return };
        let TrackingTable { table, count, .. } = &*server.tracking;
        table.lock().stop(self.client.id, &tracking.prefixes);
        count.fetch_sub(1, Ordering::SeqCst);
        let shown = &self.client.shown;
        for flag in [&shown.tracking, &shown.broadcast, &shown.redirect_broken] {
            flag.store(false, Relaxed);
        }
    }

    /// A client that tracks is about to execute this.
    pub(crate) fn remember_keys(&mut self, spec: &Spec, request: Request<'_>, server: &ServerState) {
        let Some(tracking) = &mut self.tracking else { return };
        if spec.is_write() && !tracking.read.is_empty() {
            // In a transaction, which changes what it has read.
            for (_, key) in spec.keys(request) {
                if let Some(read) = tracking.read.get_mut(key) {
                    read.told |= read.holds;
                    read.holds = false;
                }
            }
        }
        if !spec.is_read_only() || spec.flags.has(Flag::PubSub) || !tracking.counts_reads() {
            return;
        }
        for (_, key) in spec.keys(request) {
            match tracking.read.entry(key.into()) {
                Entry::Occupied(mut read) => read.get_mut().holds = true,
                Entry::Vacant(place) => {
                    let told = !server.tracking.remember(key, self.client.id);
                    place.insert(KeyRead { told, holds: true });
                }
            }
        }
    }

    /// The keys read by the request just executed. CLIENT CACHING announces no more than one request or transaction.
    pub(crate) fn take_read_keys(&mut self) -> ReadKeys {
        let in_transaction = self.transaction.is_some();
        let about_itself = self.last_command.is_some_and(|spec| spec.name.starts_with("client|"));
        self.tracking.as_mut().map_or_else(ReadKeys::new, |tracking| {
            tracking.announced &= in_transaction || about_itself;
            std::mem::take(&mut tracking.read)
        })
    }
}
