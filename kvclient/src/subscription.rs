//! Messages as they are published.
//!
//! Invariant: a message is given out in the order it arrived, and none is dropped while the connection stands.

use crate::address::Scheme;
use crate::client::Client;
use crate::error::{Error, Result};
use kvproto::Reply;

/// A published message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The pattern that matched, for subscriptions to patterns.
    pub pattern: Option<Vec<u8>>,
    /// The channel it was published on.
    pub channel: Vec<u8>,
    /// What was published.
    pub payload: Vec<u8>,
}

/// A connection that receives messages; made by [`Client::subscribe`]. As an iterator it waits for the next message,
/// without limit, and ends after the first error. Dropping it closes the connection.
#[derive(Debug)]
pub struct Subscription {
    client: Option<Client>,
}

impl Client {
    /// Turns this connection into one that receives what is published on `channels`.
    pub fn subscribe<I>(self, channels: I) -> Result<Subscription>
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        Subscription::start(self, "SUBSCRIBE", channels)
    }

    /// Turns this connection into one that receives what is published on channels that match one of `patterns`.
    pub fn psubscribe<I>(self, patterns: I) -> Result<Subscription>
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        Subscription::start(self, "PSUBSCRIBE", patterns)
    }
}

impl Subscription {
    fn start<I>(mut client: Client, command: &str, names: I) -> Result<Subscription>
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        if client.address().scheme == Scheme::Line {
            return Err(Error::LineProtocol { what: "subscriptions for programs" });
        }
        let mut words = vec![command.as_bytes().to_vec()];
        words.extend(names.into_iter().map(|name| name.as_ref().to_vec()));
        client.send(&words)?;
        // The first confirmation shows that the server agreed; the others come among the messages.
        if let Reply::Error(text) = client.receive()? {
            return Err(Error::Reply(text.into_owned()));
        }
        client.set_read_timeout(None)?;
        Ok(Subscription { client: Some(client) })
    }
}

impl Iterator for Subscription {
    type Item = Result<Message>;

    fn next(&mut self) -> Option<Result<Message>> {
        loop {
            match self.client.as_mut()?.receive() {
                Ok(reply) => {
                    if let Some(message) = message(reply) {
                        return Some(Ok(message));
                    }
                }
                Err(error) => {
                    self.client = None;
                    return Some(Err(error));
                }
            }
        }
    }
}

/// The message in a push (RESP3) or a list (RESP2), if it is one and no confirmation.
fn message(reply: Reply) -> Option<Message> {
    let (Reply::Push(items) | Reply::Array(items)) = reply else {
        return None;
    };
    let mut words = Vec::with_capacity(items.len());
    for item in items {
        match item {
            Reply::Bulk(bytes) => words.push(bytes.into_vec()),
            _ => return None,
        }
    }
    let mut words = words.into_iter();
    match (words.next()?.as_slice(), words.len()) {
        (b"message", 2) => Some(Message { pattern: None, channel: words.next()?, payload: words.next()? }),
        (b"pmessage", 3) => {
            Some(Message { pattern: Some(words.next()?), channel: words.next()?, payload: words.next()? })
        }
        _ => None,
    }
}
