//! What one client has said so far that matters for its next request. No I/O.
//!
//! Invariant: a session that did nothing unusual owns no heap memory of its own; the rare states are boxed.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use kvcore::Keyspace;
use kvcore::hooks::Lsn;
use kvproto::resp::Version;
use kvproto::spec::Trait;
use kvproto::{Reply, Request, Spec};

use crate::acl::Access;
use crate::clients::Address;
use crate::clients::Client;
use crate::notify::exec::Queue;
use crate::notify::mailbox::{Invalidation, Searched, What};
use crate::notify::pubsub::Topic;
use crate::notify::tracking::{ReadKeys, Tracking};
use crate::notify::watch::Mark;
use crate::state::ServerState;

mod permission;

pub(crate) use permission::{Attempt, Refusal};

/// The state of one client.
pub(crate) struct Session {
    pub(crate) client: Arc<Client>,
    pub(crate) address: Address,
    pub(crate) version: Version,
    pub(crate) database: usize,
    pub(crate) keyspace: Keyspace,
    /// As which user it acts, and what that one may do.
    pub(crate) access: Access,
    /// Between MULTI and EXEC.
    pub(crate) transaction: Option<Box<Queue>>,
    pub(crate) watched: Option<Box<Watched>>,
    /// Commands of it that were carried out.
    pub(crate) commands: Cell<u64>,
    pub(crate) subscriptions: Option<Box<Subscriptions>>,
    pub(crate) tracking: Option<Box<Tracking>>,
    pub(crate) replies: Replies,
    /// It is shown every command.
    pub(crate) monitors: bool,
    /// It was sent a message about what it, or someone for it, tracks.
    pub(crate) was_told: bool,
    /// How far its loop's mailbox was searched for what is posted to it.
    pub(crate) searched: Searched,
    /// CLIENT NO-TOUCH: its commands do not count as uses of their keys.
    pub(crate) leaves_untouched: bool,
    /// The newest change this client has made or seen. What it publishes may rest on it.
    pub(crate) seen: Lsn,
    pub(crate) last_command: Option<&'static Spec>,
    /// The command others were last shown.
    pub(crate) shown_command: Option<&'static str>,
}

/// Whether a client's requests are answered: CLIENT REPLY. What is pushed is sent in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Replies {
    On,
    Off,
    /// This request's answer is sent, and nothing more of it; the next one's is not.
    SkipNext,
    Skip,
}

impl Replies {
    /// What holds for the request after this one.
    pub(crate) fn after_request(self) -> Replies {
        match self {
            Replies::Off => Replies::Off,
            Replies::SkipNext => Replies::Skip,
            Replies::On | Replies::Skip => Replies::On,
        }
    }

    /// Whether what answers the request now executed is left out.
    pub(crate) fn are_silent(self) -> bool {
        matches!(self, Replies::Off | Replies::Skip)
    }
}

/// Keys between WATCH and EXEC.
#[derive(Default)]
pub(crate) struct Watched {
    pub(crate) mark: Mark,
    /// What they take in memory, by count and length.
    pub(crate) bytes: usize,
    /// By keyspace id.
    pub(crate) keys: BTreeMap<u32, (Keyspace, WatchedKeys)>,
}

/// Each key, and whether it existed when WATCH was answered. If one that did is gone at EXEC, expired perhaps, it has
/// changed.
pub(crate) type WatchedKeys = HashMap<Box<[u8]>, bool>;

/// What a client subscribed to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Subscriptions {
    pub(crate) channels: BTreeSet<Arc<[u8]>>,
    pub(crate) patterns: BTreeSet<Arc<[u8]>>,
    pub(crate) shard_channels: BTreeSet<Arc<[u8]>>,
    /// What they take in memory, by count and length.
    pub(crate) bytes: usize,
}

impl Subscriptions {
    pub(crate) fn is_empty(&self) -> bool {
        self.channels.is_empty() && self.patterns.is_empty() && self.shard_channels.is_empty()
    }

    /// How many subscriptions a client is told it has: those to shard channels are counted by themselves.
    pub(crate) fn count(&self, topic: Topic) -> usize {
        match topic {
            Topic::Channel | Topic::Pattern => self.channels.len() + self.patterns.len(),
            Topic::ShardChannel => self.shard_channels.len(),
        }
    }

    /// All names with what they are.
    pub(crate) fn all(&self) -> impl Iterator<Item = (Topic, &[u8])> {
        Topic::ALL.into_iter().flat_map(|topic| self.of(topic).iter().map(move |name| (topic, &**name)))
    }

    pub(crate) fn of(&self, topic: Topic) -> &BTreeSet<Arc<[u8]>> {
        match topic {
            Topic::Channel => &self.channels,
            Topic::Pattern => &self.patterns,
            Topic::ShardChannel => &self.shard_channels,
        }
    }

    pub(crate) fn of_mut(&mut self, topic: Topic) -> &mut BTreeSet<Arc<[u8]>> {
        match topic {
            Topic::Channel => &mut self.channels,
            Topic::Pattern => &mut self.patterns,
            Topic::ShardChannel => &mut self.shard_channels,
        }
    }
}

impl Session {
    pub(crate) fn new(client: Arc<Client>, address: Address, keyspace: Keyspace, access: Access) -> Session {
        Session {
            client,
            address,
            version: Version::Resp2,
            database: 0,
            keyspace,
            access,
            transaction: None,
            watched: None,
            commands: Cell::new(0),
            subscriptions: None,
            tracking: None,
            replies: Replies::On,
            monitors: false,
            was_told: false,
            searched: Searched::default(),
            leaves_untouched: false,
            seen: Lsn::ZERO,
            last_command: None,
            shown_command: None,
        }
    }

    pub(crate) fn is_subscribed(&self) -> bool {
        self.subscriptions.is_some()
    }

    /// Whether a command of this client uses the keys that it reads and writes. TOUCH always does.
    pub(crate) fn uses_keys_of(&self, spec: &Spec) -> bool {
        !self.leaves_untouched || spec.traits.has(Trait::AlwaysUses)
    }

    /// A request has been executed and answered.
    pub(crate) fn after_request(&mut self) {
        if self.replies != Replies::On {
            self.replies = self.replies.after_request();
        }
    }

    /// What it subscribed to, watches and tracks by prefix, in bytes.
    pub(crate) fn interest_bytes(&self) -> usize {
        self.subscriptions.as_ref().map_or(0, |subscriptions| subscriptions.bytes)
            + self.watched.as_ref().map_or(0, |watched| watched.bytes)
            + self.tracking.as_ref().map_or(0, |tracking| tracking.bytes)
    }

    /// Whether it waits for what others do.
    pub(crate) fn is_listening(&self) -> bool {
        self.is_subscribed() || self.monitors
    }

    /// Whether others send it something unasked: it is then held to other limits.
    pub(crate) fn is_told_unasked(&self) -> bool {
        self.is_listening() || self.was_told
    }

    /// Turns tracking on, or changes how it is done.
    pub(crate) fn start_tracking(&mut self, tracking: Tracking, server: &ServerState) {
        tracking.begin(&self.client, &server.notify.tracking, self.tracking.is_none());
        self.tracking = Some(Box::new(tracking));
    }

    pub(crate) fn stop_tracking(&mut self, server: &ServerState) {
        if let Some(tracking) = self.tracking.take() {
            tracking.end(&self.client, &server.notify.tracking);
        }
    }

    /// Remembers the keys that a request of a client that tracks is about to read.
    pub(crate) fn remember_keys(&mut self, spec: &Spec, request: Request<'_>, server: &ServerState) {
        if let Some(tracking) = &mut self.tracking {
            tracking.remember_keys(spec, request, self.client.id, &server.notify.tracking);
        }
    }

    /// Takes the keys read by the request just executed. CLIENT CACHING announces no more than one request or transaction.
    pub(crate) fn take_read_keys(&mut self) -> ReadKeys {
        let about_itself = self.last_command.is_some_and(|spec| spec.traits.has(Trait::AboutClient));
        let goes_on = self.transaction.is_some() || about_itself;
        self.tracking.as_mut().map_or_else(ReadKeys::new, |tracking| {
            tracking.announced &= goes_on;
            std::mem::take(&mut tracking.read)
        })
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

    pub(crate) fn start_monitoring(&mut self, server: &ServerState) {
        self.monitors = true;
        self.client.shown.monitors.store(true, Relaxed);
        server.notify.pubsub.add_monitor(self.address);
        server.notify.audience.add_monitor();
    }

    /// Takes note of a command that could not be queued or carried out.
    pub(crate) fn spoil_transaction(&mut self) {
        if let Some(queue) = &mut self.transaction {
            queue.spoiled = true;
        }
    }

    /// Counts one command that was carried out.
    #[inline]
    pub(crate) fn count_command(&self) {
        self.commands.set(self.commands.get().wrapping_add(1));
    }

    /// Forgets all watched keys.
    pub(crate) fn unwatch(&mut self, server: &ServerState) {
        if let Some(watched) = self.watched.take() {
            for (keyspace_id, (_, keys)) in &watched.keys {
                for key in keys.keys() {
                    server.notify.watch.remove(*keyspace_id, key, &watched.mark);
                }
            }
            self.client.shown.watching.store(false, Relaxed);
            self.client.shown.watched_keys.store(0, Relaxed);
        }
    }

    /// Ends MULTI, with or without EXEC.
    pub(crate) fn end_transaction(&mut self, server: &ServerState) -> Option<Box<Queue>> {
        let queue = self.transaction.take();
        self.unwatch(server);
        self.client.shown.queued.store(0, Relaxed);
        self.client.shown.queued_bytes.store(0, Relaxed);
        queue
    }

    pub(crate) fn stop_monitoring(&mut self, server: &ServerState) {
        if std::mem::take(&mut self.monitors) {
            self.client.shown.monitors.store(false, Relaxed);
            server.notify.audience.remove_monitor();
            server.notify.pubsub.remove_monitor(self.client.id);
        }
    }

    /// Ends all subscriptions, and MONITOR, without telling the client.
    pub(crate) fn stop_listening(&mut self, server: &ServerState) {
        self.stop_monitoring(server);
        if let Some(subscriptions) = self.subscriptions.take() {
            for topic in Topic::ALL {
                for name in subscriptions.of(topic) {
                    server.notify.pubsub.unsubscribe(topic, name, self.client.id);
                }
            }
            self.show_subscriptions();
        }
    }

    /// Shows others how much this client listens to.
    pub(crate) fn show_subscriptions(&self) {
        let (shown, held) = (&self.client.shown, self.subscriptions.as_deref());
        shown.channels.store(held.map_or(0, |held| held.channels.len()), Relaxed);
        shown.patterns.store(held.map_or(0, |held| held.patterns.len()), Relaxed);
        shown.shard_channels.store(held.map_or(0, |held| held.shard_channels.len()), Relaxed);
    }

    /// Lets go of all that ties this client to what happens in the server.
    pub(crate) fn detach(&mut self, server: &ServerState) {
        self.stop_tracking(server);
        self.end_transaction(server);
        self.stop_listening(server);
        server.backups.end(self.client.id);
    }

    /// Ends all that others send this client, which is closed: nobody counts it as a receiver any more. Its output is held to
    /// the limits that it had.
    pub(crate) fn depart(&mut self, server: &ServerState) {
        self.was_told |= self.is_listening();
        self.detach(server);
    }

    /// RESET: as it was when the connection was opened. The client library stays named.
    pub(crate) fn reset(&mut self, server: &ServerState) {
        self.detach(server);
        self.database = 0;
        self.keyspace = Keyspace::clone(&server.db);
        self.version = Version::Resp2;
        self.replies = Replies::On;
        self.leaves_untouched = false;
        self.forget_user(server);
        self.client.label(|labels| labels.name = Box::default());
        self.client.shown.reset();
    }

    /// Leaves nothing of this client behind in the server.
    pub(crate) fn end(&mut self, server: &ServerState) {
        self.detach(server);
        server.clients.disconnect(&self.client);
    }
}
