//! CLIENT TRACKING as one session does it: what it reads is remembered for it.
//!
//! Invariant: a key is remembered before it is read.

use std::collections::hash_map::Entry;
use std::sync::atomic::Ordering::Relaxed;

use kvproto::resp::Version;
use kvproto::spec::Flag;
use kvproto::spec::Trait;
use kvproto::{Reply, Request, Spec};

use super::Session;
use crate::notify::mailbox::{Invalidation, What};
use crate::notify::tracking::{KeyRead, ReadKeys, Tracker, Tracking};
use crate::state::ServerState;

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
        server.notify.tracking.enter(id, tracker, &tracking.prefixes, self.tracking.is_none());
        let shown = &self.client.shown;
        shown.tracking.store(true, Relaxed);
        shown.broadcast.store(tracking.broadcast, Relaxed);
        shown.redirect_broken.store(false, Relaxed);
        shown.redirect.store(tracking.redirect, Relaxed);
        self.tracking = Some(Box::new(tracking));
    }

    pub(crate) fn stop_tracking(&mut self, server: &ServerState) {
        let Some(tracking) = self.tracking.take() else { return };
        server.notify.tracking.leave(self.client.id, &tracking.prefixes);
        let shown = &self.client.shown;
        for flag in [&shown.tracking, &shown.broadcast, &shown.redirect_broken] {
            flag.store(false, Relaxed);
        }
    }

    /// Returns what this client is sent of an invalidation, in this version of the protocol; `subscribed`: whether it has a
    /// subscription.
    pub(crate) fn invalidated(
        &mut self,
        invalidation: &Invalidation,
        version: Version,
        subscribed: bool,
    ) -> Option<Reply> {
        if matches!(invalidation.what, What::RedirectBroken(_)) && self.tracking.is_some() {
            self.client.shown.redirect_broken.store(true, Relaxed);
        }
        let reply = invalidation.as_reply(version, subscribed);
        self.was_told |= reply.is_some();
        reply
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
                    let is_new = server.notify.tracking.remember(key, self.client.id);
                    place.insert(KeyRead { told: !is_new, holds: true, is_new });
                }
            }
        }
    }

    /// The keys read by the request just executed. CLIENT CACHING announces no more than one request or transaction.
    pub(crate) fn take_read_keys(&mut self) -> ReadKeys {
        let in_transaction = self.transaction.is_some();
        let about_itself = self.last_command.is_some_and(|spec| spec.traits.has(Trait::AboutClient));
        self.tracking.as_mut().map_or_else(ReadKeys::new, |tracking| {
            tracking.announced &= in_transaction || about_itself;
            std::mem::take(&mut tracking.read)
        })
    }
}
