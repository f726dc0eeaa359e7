//! How one client tracks.
//!
//! Invariant: a client has this exactly while the server's table knows it as one that tracks.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::Ordering::Relaxed;

use kvproto::spec::Flag;
use kvproto::{Request, Spec};

use super::{Tracker, TrackingTable};
use crate::clients::Client;

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
    /// It did not hold the key before the request.
    pub(crate) is_new: bool,
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
    /// What they take in memory, by count and length.
    pub(crate) bytes: usize,
    /// CLIENT CACHING has announced the next request.
    pub(crate) announced: bool,
    /// Keys read by the request that is executed, or by the transaction.
    pub(crate) read: ReadKeys,
}

impl Tracking {
    /// Has the table know that `client` tracks in this way from now on. `is_new`: it did not track before.
    pub(crate) fn begin(&self, client: &Client, table: &TrackingTable, is_new: bool) {
        let tracker = Tracker {
            address: client.address,
            redirect: self.redirect,
            broadcast: self.broadcast,
            no_loop: self.no_loop,
        };
        table.enter(client.id, tracker, &self.prefixes, is_new);
        let shown = &client.shown;
        shown.tracking.store(true, Relaxed);
        shown.broadcast.store(self.broadcast, Relaxed);
        shown.redirect_broken.store(false, Relaxed);
        shown.redirect.store(self.redirect, Relaxed);
    }

    /// Has the table forget that `client` tracks.
    pub(crate) fn end(&self, client: &Client, table: &TrackingTable) {
        table.leave(client.id, &self.prefixes);
        let shown = &client.shown;
        for flag in [&shown.tracking, &shown.broadcast, &shown.redirect_broken] {
            flag.store(false, Relaxed);
        }
    }

    /// Remembers the keys that a request reads, before it reads them.
    pub(crate) fn remember_keys(&mut self, spec: &Spec, request: Request<'_>, client_id: u64, table: &TrackingTable) {
        if spec.is_write() && !self.read.is_empty() {
            // In a transaction, which changes what it has read.
            for (_, key) in spec.keys(request) {
                if let Some(read) = self.read.get_mut(key) {
                    read.told |= read.holds;
                    read.holds = false;
                }
            }
        }
        if !spec.is_read_only() || spec.flags.has(Flag::PubSub) || !self.counts_reads() {
            return;
        }
        for (_, key) in spec.keys(request) {
            match self.read.entry(key.into()) {
                Entry::Occupied(mut read) => read.get_mut().holds = true,
                Entry::Vacant(place) => {
                    let is_new = table.remember(key, client_id);
                    place.insert(KeyRead { told: !is_new, holds: true, is_new });
                }
            }
        }
    }

    /// Forgets what the transaction did with the keys that it read: it runs again from its beginning.
    pub(crate) fn begin_reads_again(&mut self) {
        for read in self.read.values_mut() {
            (read.told, read.holds) = (!read.is_new, false);
        }
    }

    /// Whether the table remembers what the request reads that is executed now.
    pub(crate) fn counts_reads(&self) -> bool {
        match self.choice {
            _ if self.broadcast => false,
            Choice::Every => true,
            Choice::OptIn => self.announced,
            Choice::OptOut => !self.announced,
        }
    }
}
