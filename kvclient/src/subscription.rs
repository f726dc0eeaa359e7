//! Messages as they are published.
//!
//! Invariant: a message is given out in the order it arrived, and none is dropped while the connection stands.

use crate::address::Scheme;
use crate::connection::Connection;
use crate::error::{Error, Result};
use kvproto::Reply;
use std::time::{Duration, Instant};

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

/// A connection that receives messages; made by [`Client::subscribe`](crate::Client::subscribe). As an iterator it waits
/// for the next message, without limit, and ends after the first error: nobody knows which messages a lost connection has
/// missed, so it is not opened again. Dropping it closes the connection.
///
/// ```
/// # let (_server, mut client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
/// let messages = client.subscribe(["news"])?;
/// client.publish("news", "rain")?;
/// client.publish("news", "end")?;
/// for message in messages {
///     let message = message?;
///     if message.payload == b"end" {
///         break;
///     }
///     assert_eq!(message.payload, b"rain");
/// }
/// # Ok::<(), kvclient::Error>(())
/// ```
#[derive(Debug)]
pub struct Subscription {
    /// Host and port.
    address: String,
    connection: Option<Connection>,
}

impl Connection {
    /// Turns this connection into one that receives what is published on `channels`.
    ///
    /// ```
    /// # let (_server, client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// # let mut connection = kvclient::Connection::connect_with(client.address(), Default::default())?;
    /// # let mut client = client;
    /// let mut messages = connection.subscribe(["news"])?;
    /// client.publish("news", "rain")?;
    /// assert_eq!(messages.next().expect("one more, or an error")?.payload, b"rain");
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn subscribe<I>(self, channels: I) -> Result<Subscription>
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        Subscription::start(self, "SUBSCRIBE", channels)
    }

    /// Turns this connection into one that receives what is published on channels that match one of `patterns`.
    ///
    /// ```
    /// # let (_server, client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// # let mut connection = kvclient::Connection::connect_with(client.address(), Default::default())?;
    /// # let mut client = client;
    /// let mut messages = connection.psubscribe(["n*"])?;
    /// client.publish("news", "rain")?;
    /// assert_eq!(messages.next().expect("one more, or an error")?.payload, b"rain");
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn psubscribe<I>(self, patterns: I) -> Result<Subscription>
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        Subscription::start(self, "PSUBSCRIBE", patterns)
    }
}

impl Subscription {
    fn start<I>(mut connection: Connection, command: &str, names: I) -> Result<Subscription>
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        if connection.address().scheme == Scheme::Line {
            return Err(Error::LineProtocol { what: "subscriptions for programs" });
        }
        let mut words = vec![command.as_bytes().to_vec()];
        words.extend(names.into_iter().map(|name| name.as_ref().to_vec()));
        connection.send(&words)?;
        // The first confirmation shows that the server agreed; the others come among the messages.
        if let Reply::Error(text) = connection.receive()? {
            return Err(Error::Reply(text.into_owned()));
        }
        connection.set_reply_timeout(None)?;
        Ok(Subscription { address: connection.address().to_string(), connection: Some(connection) })
    }

    /// Waits up to `timeout` for the next message; `None` if none came.
    ///
    /// # Errors
    ///
    /// A failure of the connection; after the first one always [`Error::NotConnected`].
    ///
    /// ```
    /// # let (_server, mut client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// use std::time::Duration;
    ///
    /// let mut messages = client.subscribe(["news"])?;
    /// assert_eq!(messages.next_within(Duration::from_millis(1))?, None);
    /// client.publish("news", "rain")?;
    /// assert_eq!(messages.next_within(Duration::from_secs(60))?.expect("a message").payload, b"rain");
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn next_within(&mut self, timeout: Duration) -> Result<Option<Message>> {
        let Some(connection) = &mut self.connection else {
            return Err(Error::NotConnected { address: self.address.clone() });
        };
        let begin = Instant::now();
        let received = loop {
            let left = timeout.saturating_sub(begin.elapsed());
            match connection.receive_within(left) {
                // A confirmation, or a piece of a message, is none.
                Ok(reply) => match reply.and_then(message) {
                    None if begin.elapsed() < timeout => {}
                    message => break Ok(message),
                },
                Err(error) => break Err(error),
            }
        };
        if received.is_err() {
            self.connection = None;
        }
        received
    }
}

impl Iterator for Subscription {
    type Item = Result<Message>;

    fn next(&mut self) -> Option<Result<Message>> {
        loop {
            match self.connection.as_mut()?.receive() {
                Ok(reply) => {
                    if let Some(message) = message(reply) {
                        return Some(Ok(message));
                    }
                }
                Err(error) => {
                    self.connection = None;
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
