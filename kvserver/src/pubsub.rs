//! Channels, patterns and who subscribed to them.
//!
//! Invariant: a message is posted under the table's lock, so two messages of one publisher reach a subscriber in order,
//! and none is posted to a connection before its subscription was acknowledged in that connection's own output.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use kvcore::Lsn;
use parking_lot::Mutex;

use crate::glob;
use crate::mailbox::{Address, Mail, Mailbox, Message};

/// Bytes of messages on their way between loops above which no loop executes requests: a publisher must not be faster
/// than the loops that hand its messages on.
const UNDELIVERED_BYTES_MAX: usize = 8 * 1024 * 1024;

/// All subscriptions of the server.
#[derive(Debug, Default)]
pub(crate) struct PubSub {
    topics: Mutex<Topics>,
    /// Bytes of messages posted to loops that have not taken them yet.
    undelivered: AtomicUsize,
}

#[derive(Debug, Default)]
struct Topics {
    channels: Subscribers,
    patterns: Subscribers,
}

type Subscribers = HashMap<Arc<[u8]>, HashMap<u64, Address>>;

/// What a subscription names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Topic {
    Channel,
    Pattern,
}

impl Topics {
    fn of(&mut self, topic: Topic) -> &mut Subscribers {
        match topic {
            Topic::Channel => &mut self.channels,
            Topic::Pattern => &mut self.patterns,
        }
    }
}

impl PubSub {
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

    /// Posts a message to the loops of all subscribers; answers how many receive it (one that subscribed to the
    /// channel and to a matching pattern receives it twice).
    pub(crate) fn publish(&self, channel: &[u8], payload: &[u8], lsn: Lsn, mailboxes: &[Arc<Mailbox>]) -> usize {
        let topics = self.topics.lock();
        if topics.channels.is_empty() && topics.patterns.is_empty() {
            return 0;
        }
        let direct = topics.channels.get(channel).map(|subscribers| (None, subscribers));
        let matching = topics
            .patterns
            .iter()
            .filter(|(pattern, _)| glob::matches(pattern, channel))
            .map(|(pattern, subscribers)| (Some(pattern.clone()), subscribers));
        let mut receivers = 0;
        let mut shared = None;
        for (pattern, subscribers) in direct.into_iter().chain(matching) {
            receivers += subscribers.len();
            let (channel, payload): &(Arc<[u8]>, _) =
                shared.get_or_insert_with(|| (channel.into(), Arc::new(payload.to_vec())));
            let message = Message { pattern, channel: channel.clone(), payload: payload.clone(), lsn };
            let mut to = vec![Vec::new(); mailboxes.len()];
            for address in subscribers.values() {
                to[address.loop_index].push(*address);
            }
            for (mailbox, to) in mailboxes.iter().zip(to) {
                if !to.is_empty() {
                    self.undelivered.fetch_add(message.cost(), Relaxed);
                    mailbox.post(Mail::Published(message.clone(), to));
                }
            }
        }
        receivers
    }

    /// Takes note that a loop has taken a message.
    pub(crate) fn delivered(&self, message: &Message) {
        self.undelivered.fetch_sub(message.cost(), Relaxed);
    }

    /// Whether messages pile up between loops.
    pub(crate) fn is_backlogged(&self) -> bool {
        self.undelivered.load(Relaxed) > UNDELIVERED_BYTES_MAX
    }

    /// How many would receive a message published now.
    pub(crate) fn receivers(&self, channel: &[u8]) -> usize {
        let topics = self.topics.lock();
        let matching = topics.patterns.iter().filter(|(pattern, _)| glob::matches(pattern, channel));
        topics.channels.get(channel).map_or(0, HashMap::len) + matching.map(|(_, of)| of.len()).sum::<usize>()
    }

    /// Channels with at least one subscriber, in no order.
    pub(crate) fn channels(&self, pattern: Option<&[u8]>) -> Vec<Arc<[u8]>> {
        let topics = self.topics.lock();
        let wanted = |channel: &&Arc<[u8]>| pattern.is_none_or(|pattern| glob::matches(pattern, channel));
        topics.channels.keys().filter(wanted).cloned().collect()
    }

    /// How many subscribed to a channel, patterns aside.
    pub(crate) fn subscribers(&self, channel: &[u8]) -> usize {
        self.topics.lock().channels.get(channel).map_or(0, HashMap::len)
    }

    pub(crate) fn channel_count(&self) -> usize {
        self.topics.lock().channels.len()
    }

    pub(crate) fn pattern_count(&self) -> usize {
        self.topics.lock().patterns.len()
    }
}
