//! Channels, patterns, shard channels and who subscribed to them, and who monitors.
//!
//! There is no cluster, so every slot is ours, and a shard channel is a channel that patterns do not reach.
//!
//! Invariant: a message is posted under the table's lock, so two messages of one publisher reach a subscriber in order,
//! and none is posted to a connection before its subscription was acknowledged in that connection's own output.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use kvcore::hooks::Lsn;
use parking_lot::Mutex;

use crate::clients::Address;
use crate::notify::mailbox::{Kind, Mailboxes, Message};
use kvcommands::acl::User;
use kvcommands::glob;

/// All subscriptions of the server.
pub(crate) struct PubSub {
    topics: Mutex<Topics>,
    mailboxes: Arc<Mailboxes>,
}

#[derive(Debug, Default)]
struct Topics {
    channels: Subscribers,
    patterns: Subscribers,
    shard_channels: Subscribers,
    /// Connections in MONITOR, by client id.
    monitors: HashMap<u64, Address>,
}

type Subscribers = HashMap<Arc<[u8]>, HashMap<u64, Address>>;

/// A message to be published.
#[derive(Clone, Debug)]
pub(crate) struct Publication {
    /// To a shard channel.
    pub(crate) sharded: bool,
    pub(crate) channel: Box<[u8]>,
    pub(crate) payload: Box<[u8]>,
}

/// What a transaction announces when it is committed, in the order of its commands.
#[derive(Clone, Debug)]
pub(crate) enum Announcement {
    Publish(Publication),
    Subscribe(Topic, Arc<[u8]>, Address),
    Unsubscribe(Topic, Arc<[u8]>, u64),
}

/// What a subscription names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Topic {
    Channel,
    Pattern,
    /// A channel of SSUBSCRIBE.
    ShardChannel,
}

impl Topic {
    pub(crate) const ALL: [Topic; 3] = [Topic::Channel, Topic::Pattern, Topic::ShardChannel];

    /// Whether a user may have a subscription of this kind to `name`.
    pub(crate) fn is_permitted(self, name: &[u8], user: &User) -> bool {
        let command = match self {
            Topic::Channel => "subscribe",
            Topic::Pattern => "psubscribe",
            Topic::ShardChannel => "ssubscribe",
        };
        user.may_keep_subscription(command, name, self.is_pattern())
    }

    /// Whether the name is a pattern.
    pub(crate) fn is_pattern(self) -> bool {
        self == Topic::Pattern
    }
}

impl Topics {
    fn of(&mut self, topic: Topic) -> &mut Subscribers {
        match topic {
            Topic::Channel => &mut self.channels,
            Topic::Pattern => &mut self.patterns,
            Topic::ShardChannel => &mut self.shard_channels,
        }
    }

    fn named(&self, topic: Topic) -> &Subscribers {
        match topic {
            Topic::Channel => &self.channels,
            Topic::Pattern => &self.patterns,
            Topic::ShardChannel => &self.shard_channels,
        }
    }
}

impl PubSub {
    pub(crate) fn new(mailboxes: Arc<Mailboxes>) -> PubSub {
        PubSub { topics: Mutex::default(), mailboxes }
    }

    pub(crate) fn subscribe(&self, topic: Topic, name: &Arc<[u8]>, subscriber: Address) {
        let mut topics = self.topics.lock();
        topics.of(topic).entry(name.clone()).or_default().insert(subscriber.client_id, subscriber);
    }

    pub(crate) fn unsubscribe(&self, topic: Topic, name: &[u8], client_id: u64) {
        let mut topics = self.topics.lock();
        let subscribers = topics.of(topic);
        if let Some(of_name) = subscribers.get_mut(name) {
            of_name.remove(&client_id);
            if of_name.is_empty() {
                subscribers.remove(name);
            }
        }
    }

    /// Removes all subscriptions of a client.
    pub(crate) fn remove_client(&self, client_id: u64) {
        let mut topics = self.topics.lock();
        for topic in Topic::ALL {
            topics
                .of(topic)
                .retain(|_, subscribers| subscribers.remove(&client_id).is_none() || !subscribers.is_empty());
        }
        topics.monitors.remove(&client_id);
    }

    /// The clients subscribed to something that is not `permitted`.
    pub(crate) fn subscribers_beyond(&self, permitted: impl Fn(Topic, &[u8]) -> bool) -> BTreeSet<u64> {
        let topics = self.topics.lock();
        let mut beyond = BTreeSet::new();
        for topic in Topic::ALL {
            let forbidden = topics.named(topic).iter().filter(|(name, _)| !permitted(topic, name));
            beyond.extend(forbidden.flat_map(|(_, subscribers)| subscribers.keys()));
        }
        beyond
    }

    /// Posts a message to the loops of all subscribers of a channel, or of a shard channel, which no pattern reaches.
    /// Returns how many receive it: a client that subscribed to the channel and to a matching pattern receives it twice.
    pub(crate) fn publish(&self, sharded: bool, channel: &[u8], payload: &[u8], lsn: Lsn) -> usize {
        if sharded { self.publish_to_shard(channel, payload, lsn) } else { self.publish_to_all(channel, payload, lsn) }
    }

    fn publish_to_all(&self, channel: &[u8], payload: &[u8], lsn: Lsn) -> usize {
        let topics = self.topics.lock();
        if topics.channels.is_empty() && topics.patterns.is_empty() {
            return 0;
        }
        let direct = topics.channels.get(channel).map(|subscribers| (Kind::Channel, subscribers));
        let matching = topics
            .patterns
            .iter()
            .filter(|(pattern, _)| glob::matches(pattern, channel))
            .map(|(pattern, subscribers)| (Kind::Pattern(pattern.clone()), subscribers));
        let mut receivers = 0;
        let mut shared = None;
        for (kind, subscribers) in direct.into_iter().chain(matching) {
            receivers += subscribers.len();
            let (channel, payload): &(Arc<[u8]>, _) =
                shared.get_or_insert_with(|| (channel.into(), Arc::new(payload.to_vec())));
            let message = Message { kind, channel: channel.clone(), payload: payload.clone(), lsn };
            self.post(&message, subscribers);
        }
        receivers
    }

    fn publish_to_shard(&self, channel: &[u8], payload: &[u8], lsn: Lsn) -> usize {
        let topics = self.topics.lock();
        let Some(subscribers) = topics.shard_channels.get(channel) else { return 0 };
        let message =
            Message { kind: Kind::ShardChannel, channel: channel.into(), payload: Arc::new(payload.to_vec()), lsn };
        self.post(&message, subscribers);
        subscribers.len()
    }

    /// Carries out what a transaction announces that was committed at `lsn`. Returns how many receive each publication; 0
    /// for other announcements.
    pub(crate) fn carry_out(&self, announcements: &[Announcement], lsn: Lsn) -> Vec<usize> {
        let carry_out = |announcement: &Announcement| match announcement {
            Announcement::Publish(Publication { sharded, channel, payload }) => {
                self.publish(*sharded, channel, payload, lsn)
            }
            Announcement::Subscribe(topic, name, subscriber) => {
                self.subscribe(*topic, name, *subscriber);
                0
            }
            Announcement::Unsubscribe(topic, name, client_id) => {
                self.unsubscribe(*topic, name, *client_id);
                0
            }
        };
        announcements.iter().map(carry_out).collect()
    }

    pub(crate) fn add_monitor(&self, monitor: Address) {
        self.topics.lock().monitors.insert(monitor.client_id, monitor);
    }

    pub(crate) fn remove_monitor(&self, client_id: u64) {
        self.topics.lock().monitors.remove(&client_id);
    }

    pub(crate) fn show_to_monitors(&self, line: Vec<u8>, lsn: Lsn) {
        let topics = self.topics.lock();
        let message = Message { kind: Kind::Monitor, channel: Arc::default(), payload: Arc::new(line), lsn };
        self.post(&message, &topics.monitors);
    }

    /// Posts a message to each loop that has some of these subscribers.
    fn post(&self, message: &Message, subscribers: &HashMap<u64, Address>) {
        let mut to = vec![Vec::new(); self.mailboxes.len()];
        for address in subscribers.values() {
            to[address.loop_index].push(*address);
        }
        for (loop_index, to) in to.into_iter().enumerate().filter(|(_, to)| !to.is_empty()) {
            self.mailboxes.publish(loop_index, message.clone(), to);
        }
    }

    /// Returns the names of this kind that clients other than `but` have subscribed to, in no order.
    pub(crate) fn names(&self, topic: Topic, but: u64) -> Vec<Arc<[u8]>> {
        let topics = self.topics.lock();
        let named = topics.named(topic).iter();
        named.filter(|(_, of)| of.keys().any(|id| *id != but)).map(|(name, _)| name.clone()).collect()
    }

    /// Returns how many clients other than `but` have subscribed to a name itself.
    pub(crate) fn subscribers(&self, topic: Topic, name: &[u8], but: u64) -> usize {
        self.topics.lock().named(topic).get(name).map_or(0, |of| of.len() - usize::from(of.contains_key(&but)))
    }

    /// How many names of this kind have a subscriber.
    pub(crate) fn count(&self, topic: Topic) -> usize {
        self.topics.lock().named(topic).len()
    }
}
