//! What subscribers and monitors are told.
//!
//! Invariant: a message carries the newest change it may rest on, and leaves no sooner than that is durable.

use std::sync::Arc;

use kvcore::hooks::Lsn;
use kvproto::Reply;

use super::LoopMessage;
use crate::clients::Address;

/// A message published to a channel.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) kind: Kind,
    pub(crate) channel: Arc<[u8]>,
    pub(crate) payload: Arc<Vec<u8>>,
    /// What the publisher had seen or done when it published: the message may rest on it.
    pub(crate) lsn: Lsn,
}

/// Why a subscriber receives a message.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Channel,
    /// The pattern that matched.
    Pattern(Arc<[u8]>),
    ShardChannel,
    /// It monitors, and the payload is a line.
    Monitor,
}

impl Message {
    /// The memory it holds while it is on its way to so many connections of a loop, in bytes.
    pub(crate) fn cost(&self, receivers: usize) -> usize {
        size_of::<LoopMessage>() + receivers * size_of::<Address>() + self.channel.len() + self.payload.len()
    }

    /// What a subscriber is sent.
    pub(crate) fn as_reply(&self) -> Reply {
        let mut items = match &self.kind {
            Kind::Channel => vec![Reply::bulk("message")],
            Kind::Pattern(pattern) => vec![Reply::bulk("pmessage"), Reply::bulk(&**pattern)],
            Kind::ShardChannel => vec![Reply::bulk("smessage")],
            Kind::Monitor => return Reply::simple(String::from_utf8_lossy(&self.payload).into_owned()),
        };
        items.extend([Reply::bulk(&*self.channel), Reply::bulk(self.payload.clone())]);
        Reply::Push(items)
    }
}
