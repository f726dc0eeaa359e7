//! A client with a method for each everyday command, over connections that it opens again when they are lost.
//!
//! Invariant: a request is sent at most once, and only to a connection with the login, the database, the name and the
//! protocol that the program has asked for. What an open transaction or watched keys were meant for is not sent to another
//! connection. Requests and replies stay in step: what has other than one reply is not sent.

mod everyday;
mod line_reply;
mod pipeline;
mod scan;
mod set_options;
mod transaction;

pub use everyday::Ttl;
pub use pipeline::{Commands, Pipeline};
pub use scan::Scan;
pub use set_options::{Expiry, SetOptions};
pub use transaction::Transaction;

use crate::address::{Address, Scheme};
use crate::connection::{Batch, Connection, Options, unopened};
use crate::error::{Error, Result};
use crate::from_reply::FromReply;
use crate::reconnect::random;
use crate::session_state::{SessionState, is_queued};
use crate::subscription::Subscription;
use kvproto::{OwnedRequest, Reply};
use line_reply::Shape;
use std::fmt;
use std::thread;
use std::time::Duration;

/// A client of one server; see the crate for an overview.
///
/// It is used by one thread at a time, and blocks until the reply has come or the time set in [`Options`] has passed. Keys,
/// values and words are anything that is bytes: `&str`, `String`, `&[u8]`, `Vec<u8>`. Replies are read as the type that is
/// asked for, see [`FromReply`].
///
/// When the connection is lost, the next request opens another, and restores what the program has set up: the login, the
/// database, the connection's name and the version of the protocol; see [`Reconnect`](crate::Reconnect). A request that
/// failed is never sent again; [`Error::outcome`] says whether it was done.
///
/// Over the line protocol (`line://`) the methods give the same results. Those whose results a line cannot show exactly,
/// or not at all, return [`Error::LineProtocol`] and send nothing; each says so.
///
/// ```
/// # let (server, _) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
/// # let place = server.addresses()[0].tcp().unwrap();
/// use kvclient::{Client, SetOptions};
/// use std::time::Duration;
///
/// # let address = &format!("redis://{place}");
/// let mut client = Client::connect(address)?; // "redis://127.0.0.1:6379"
/// client.set("greeting", "hello")?;
/// assert_eq!(client.get::<String>("greeting")?, Some("hello".to_owned()));
/// assert_eq!(client.incr("visits")?, 1);
/// let once = SetOptions::new().if_absent().expire_in(Duration::from_secs(10));
/// assert!(client.set_with("lock", "mine", &once)?);
/// assert!(!client.set_with("lock", "theirs", &once)?);
/// # Ok::<(), kvclient::Error>(())
/// ```
pub struct Client {
    state: SessionState,
    /// `None` once it is lost.
    connection: Option<Connection>,
    /// Of the line protocol: replies begin with `OK`.
    is_terse: bool,
}

/// The commands with other than one reply, and what to use for them.
const NOT_ONE_REPLY: &[(&[&str], &str)] = &[
    (&["subscribe", "psubscribe"], "Client::subscribe or Client::psubscribe"),
    (
        &["ssubscribe", "monitor", "unsubscribe", "punsubscribe", "sunsubscribe"],
        "a Connection, and receive its replies",
    ),
];

impl Client {
    /// Connects to `address` with the default [`Options`]: `redis://[user:password@]host[:port][/db]`, `line://` likewise,
    /// `unix:///path` or `host:port`; see [`Address`].
    ///
    /// # Errors
    ///
    /// [`Error::Address`], [`Error::Connect`], or [`Error::Refused`] if the server refuses the login or the database.
    ///
    /// ```
    /// # let (server, _) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// # let place = server.addresses()[0].tcp().unwrap();
    /// let mut client = kvclient::Client::connect(&format!("redis://{place}/2"))?;
    /// client.ping()?;
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn connect(address: &str) -> Result<Client> {
        Client::connect_with(&address.parse()?, Options::default())
    }

    /// Connects with other [`Options`]: time limits, the version of RESP, a name, how to connect again.
    ///
    /// # Errors
    ///
    /// As [`Client::connect`].
    ///
    /// ```
    /// # let (server, _) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// # let place = server.addresses()[0].tcp().unwrap();
    /// use kvclient::{Address, Client, Options, Version};
    /// use std::time::Duration;
    ///
    /// let address: Address = format!("redis://{place}").parse()?;
    /// let options = Options {
    ///     version: Version::Resp3,
    ///     connect_timeout: Duration::from_secs(1),
    ///     reply_timeout: Some(Duration::from_secs(5)),
    ///     name: Some("worker-7".to_owned()),
    ///     ..Options::default()
    /// };
    /// let mut client = Client::connect_with(&address, options)?;
    /// assert_eq!(client.client_name()?, Some("worker-7".to_owned()));
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn connect_with(address: &Address, options: Options) -> Result<Client> {
        let mut client =
            Client { state: SessionState::new(address.clone(), options), connection: None, is_terse: false };
        client.open()?;
        Ok(client)
    }

    /// Returns the address, with the login and the database that the connection has now.
    ///
    /// ```
    /// # let (_server, mut client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// client.select(3)?;
    /// assert_eq!(client.address().db, 3);
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn address(&self) -> &Address {
        self.state.address()
    }

    /// Returns the options, with the version and the name that the connection has now.
    ///
    /// ```
    /// # let (_server, mut client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// client.set_name("worker")?;
    /// assert_eq!(client.options().name.as_deref(), Some("worker"));
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn options(&self) -> &Options {
        self.state.options()
    }

    /// Sets how long to wait for replies from now on: for a command that takes long, or must not. `None` is for ever; see
    /// [`Options::reply_timeout`].
    ///
    /// ```
    /// # let (_server, mut client, _dir) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/stored.in"));
    /// use std::time::Duration;
    ///
    /// let usual = client.options().reply_timeout;
    /// client.set_reply_timeout(Some(Duration::from_secs(600)));
    /// client.save()?;
    /// client.set_reply_timeout(usual);
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn set_reply_timeout(&mut self, timeout: Option<Duration>) {
        self.state.set_reply_timeout(timeout);
        let set = self.connection.as_mut().map_or(Ok(()), |connection| connection.set_reply_timeout(timeout));
        if set.is_err() {
            self.lose(b"");
        }
    }

    /// Returns whether the connection stands, as far as this side can know without sending anything.
    ///
    /// ```
    /// # let (server, mut client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// assert!(client.is_connected());
    /// server.shutdown().expect("a server that ends");
    /// assert!(!client.is_connected());
    /// ```
    pub fn is_connected(&mut self) -> bool {
        self.connection.as_mut().is_some_and(Connection::is_connected)
    }

    /// Sends any command, and reads its reply as `T`.
    ///
    /// What the command changes of the connection (AUTH, HELLO, SELECT, CLIENT SETNAME, RESET) is restored when the
    /// connection is lost. MULTI can be used so, but [`Client::transaction`] is simpler: until EXEC the replies are `QUEUED`,
    /// to be read as `()` or [`Reply`].
    ///
    /// Over the line protocol a reply is one text, without the `OK` that the terse style begins it with: it can be read as a
    /// number, `bool`, `String`, `Vec<u8>` or `()`, and `(nil)` as nil. Lists and texts are as they are shown there, with
    /// their quotes.
    ///
    /// # Errors
    ///
    /// [`Error::Reply`] if the server replies with an error; [`Error::Type`] if the reply cannot be read as `T`;
    /// [`Error::NoSingleReply`] for SUBSCRIBE, MONITOR, CLIENT REPLY and their kin, which are not sent.
    ///
    /// ```
    /// # let (_server, mut client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// client.execute::<()>(["SET", "k", "abc"])?;
    /// assert_eq!(client.execute::<String>(["GETRANGE", "k", "0", "1"])?, "ab");
    /// let (byte,): (i64,) = client.execute(["BITFIELD_RO", "k", "GET", "u8", "0"])?;
    /// let missing: Option<String> = client.execute(["GET", "missing"])?;
    /// assert_eq!((byte, missing), (97, None));
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn execute<T: FromReply>(&mut self, words: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Result<T> {
        let words: Vec<_> = words.into_iter().collect();
        let words: Vec<&[u8]> = words.iter().map(AsRef::as_ref).collect();
        self.ask(Shape::Any, &words)
    }

    /// Receives what is published on `channels`, over a connection of its own with the same login; this client stays
    /// usable. A lost connection ends the subscription with an error: nobody knows which messages were missed.
    ///
    /// # Errors
    ///
    /// As [`Client::connect`]; [`Error::LineProtocol`] over the line protocol.
    ///
    /// ```
    /// # let (_server, mut client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// let mut news = client.subscribe(["news", "weather"])?;
    /// client.publish("weather", "rain")?;
    /// let message = news.next().expect("one more, or an error")?;
    /// assert_eq!((message.channel, message.payload), (b"weather".to_vec(), b"rain".to_vec()));
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn subscribe<I>(&self, channels: I) -> Result<Subscription>
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        self.second_connection()?.subscribe(channels)
    }

    /// Receives what is published on channels that match one of `patterns`; see [`Client::subscribe`].
    ///
    /// # Errors
    ///
    /// As [`Client::subscribe`].
    ///
    /// ```
    /// # let (_server, mut client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// let mut messages = client.psubscribe(["news.*"])?;
    /// client.publish("news.local", "rain")?;
    /// let message = messages.next().expect("one more, or an error")?;
    /// assert_eq!(message.pattern, Some(b"news.*".to_vec()));
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn psubscribe<I>(&self, patterns: I) -> Result<Subscription>
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        self.second_connection()?.psubscribe(patterns)
    }

    fn second_connection(&self) -> Result<Connection> {
        if self.is_line() {
            return Err(Error::LineProtocol { what: "subscriptions for programs" });
        }
        Connection::connect_with(self.state.address(), self.state.options().clone())
    }

    fn is_line(&self) -> bool {
        self.state.address().scheme == Scheme::Line
    }

    /// Sends a request and reads its reply as `T`; over the line protocol `shape` says what the line shows.
    fn ask<T: FromReply>(&mut self, shape: Shape, words: &[&[u8]]) -> Result<T> {
        if shape == Shape::Value && self.is_line() {
            return Err(Error::LineProtocol { what: "exact reply to this command" });
        }
        let reply = self.call(words)?;
        let is_queued = self.state.is_in_transaction() && is_queued(&reply);
        let reply = match (is_queued, self.is_line()) {
            (true, _) => Reply::simple("QUEUED"),
            (false, true) => line_reply::read(shape, reply, self.is_terse)?,
            (false, false) => reply,
        };
        T::from_reply(reply).map_err(|error| if is_queued { Error::Queued } else { error })
    }

    /// Sends a request and returns its reply as it came, errors included.
    fn call(&mut self, words: &[&[u8]]) -> Result<Reply> {
        check_one_reply(words)?;
        let name = words.first().copied().unwrap_or_default();
        let connection = self.ready(name)?;
        let reply = match connection.send(words) {
            Ok(()) => connection.receive_answer(),
            Err(error) => Err(error),
        };
        match &reply {
            Ok(reply) => self.remember(words, reply),
            Err(_) => self.lose(name),
        }
        reply
    }

    /// Sends many requests; all of them were checked by [`check_one_reply`].
    ///
    /// # Errors
    ///
    /// Only if none was sent.
    fn call_all(&mut self, requests: &[OwnedRequest]) -> Result<Batch> {
        let Some(first) = requests.first() else {
            return Ok(Batch::default());
        };
        let connection = self.ready(first.as_request().name())?;
        let batch = connection.run_batch(requests.iter().map(OwnedRequest::as_request));
        for (request, reply) in requests.iter().zip(&batch.replies) {
            if self.state.follows(request.as_request().name()) {
                self.state.remember(request.as_request(), reply);
            }
        }
        if batch.failure.is_some() {
            // The last that was sent may have ended a transaction.
            let last = batch.sent.checked_sub(1).and_then(|last| requests.get(last));
            self.lose(last.map_or(b"", |last| last.as_request().name()));
        }
        Ok(batch)
    }

    fn remember(&mut self, words: &[&[u8]], reply: &Reply) {
        if words.first().is_some_and(|name| self.state.follows(name)) {
            self.state.remember(OwnedRequest::from_words(words).as_request(), reply);
        }
    }

    /// Returns a connection that a command of this name may be sent to.
    fn ready(&mut self, name: &[u8]) -> Result<&mut Connection> {
        if self.connection.is_some() && !self.is_connected() {
            self.lose(b"");
        }
        // A login is no part of what was lost, and always possible.
        let logs_in = [&b"auth"[..], b"hello", b"reset"].iter().any(|login| name.eq_ignore_ascii_case(login));
        if !logs_in && let Some(what) = self.state.take_lost() {
            return Err(Error::SessionLost { what });
        }
        if self.connection.is_none() {
            self.connect_again()?;
        }
        let address = self.state.address();
        self.connection.as_mut().ok_or_else(|| Error::NotConnected { address: address.to_string() })
    }

    /// Gives up a connection that is lost, after a command of this name was sent.
    fn lose(&mut self, name: &[u8]) {
        // What these end is not lost, however they went.
        if [&b"exec"[..], b"discard"].iter().any(|end| name.eq_ignore_ascii_case(end)) {
            self.state.end_transaction();
        }
        self.state.disconnect();
        self.connection = None;
    }

    fn connect_again(&mut self) -> Result<()> {
        let policy = self.state.options().reconnect.clone();
        let mut last = Error::NotConnected { address: self.state.address().to_string() };
        for attempt in 1..=policy.attempts {
            match self.open() {
                Ok(()) => return Ok(()),
                // The server will say the same again, unless it says that it is starting.
                Err(Error::Refused { text }) if !text.contains("LOADING") => return Err(Error::Refused { text }),
                Err(error) => last = error,
            }
            if attempt < policy.attempts {
                thread::sleep(policy.wait(attempt, random()));
            }
        }
        Err(last)
    }

    /// Opens a connection and restores what it has to have.
    fn open(&mut self) -> Result<()> {
        let unopened = |error| unopened(self.state.address(), error);
        let mut connection = self.state.open()?;
        self.state.restore(&mut connection).map_err(unopened)?;
        if self.is_line() {
            self.is_terse = line_reply::is_terse(&mut connection).map_err(unopened)?;
        }
        self.connection = Some(connection);
        Ok(())
    }
}

/// Does not show passwords that wait for EXEC.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("address", self.state.address())
            .field("is_in_transaction", &self.state.is_in_transaction())
            .field("has_connection", &self.connection.is_some())
            .finish()
    }
}

/// Refuses a request that has no word, or other than one reply.
fn check_one_reply(words: &[&[u8]]) -> Result<()> {
    let Some(name) = words.first() else {
        return Err(Error::Empty);
    };
    let is_name = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
    if is_name("client") && words.get(1).is_some_and(|word| word.eq_ignore_ascii_case(b"reply")) {
        return Err(Error::NoSingleReply { command: "CLIENT REPLY".to_owned(), instead: "a Connection" });
    }
    match NOT_ONE_REPLY.iter().find(|(names, _)| names.iter().any(|other| is_name(other))) {
        Some((_, instead)) => {
            Err(Error::NoSingleReply { command: String::from_utf8_lossy(name).to_ascii_uppercase(), instead })
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
