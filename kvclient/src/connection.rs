//! One connection to a server.
//!
//! Invariant: requests and replies stay in step. Whatever could put them out of step (a timeout, a broken stream, bytes
//! that are no reply) closes the connection, and every later request fails with [`Error::NotConnected`]. Nothing is sent
//! twice.

mod line;
mod stream;

use crate::address::{Address, Scheme};
use crate::error::{Error, Result};
use crate::reconnect::Reconnect;
use kvproto::Reply;
use kvproto::resp::{ReplyDecoder, Version, encode_request};
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
pub use stream::Stream;

/// How to connect, and how long to wait.
#[derive(Clone, Debug)]
pub struct Options {
    /// The version of RESP to speak; 2 unless changed.
    pub version: Version,
    /// How long a connection may take to open, for each of the host's addresses; 5 s unless changed.
    pub connect_timeout: Duration,
    /// How long to wait for a reply, or for the server to take a request; 30 s unless changed, `None` for ever. It
    /// counts anew with each piece of a reply that arrives, so that a large one over a slow network is not cut off.
    pub reply_timeout: Option<Duration>,
    /// The largest reply accepted, in bytes; 1 GiB unless changed.
    pub reply_bytes_max: usize,
    /// The connection's name, as CLIENT SETNAME gives it; none unless changed.
    pub name: Option<String>,
    /// Speak RESP2 to a server that knows no RESP3, instead of failing; not unless changed.
    pub falls_back: bool,
    /// What a [`Client`](crate::Client) does when its connection is lost; a [`Connection`] is never opened again.
    pub reconnect: Reconnect,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            version: Version::Resp2,
            connect_timeout: Duration::from_secs(5),
            reply_timeout: Some(Duration::from_secs(30)),
            reply_bytes_max: 1 << 30,
            name: None,
            falls_back: false,
            reconnect: Reconnect::default(),
        }
    }
}

/// One connection to a server, for programs that send and receive on their own schedule; most use a
/// [`Client`](crate::Client), which has a method for each command and connects again when a connection is lost.
///
/// ```
/// # let (_server, client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
/// use kvclient::{Connection, Options, Reply};
///
/// let mut connection = Connection::connect_with(client.address(), Options::default())?;
/// connection.command(["SET", "greeting", "hello"])?;
/// // Two requests in one packet.
/// connection.queue(["GET", "greeting"]);
/// connection.queue(["STRLEN", "greeting"]);
/// connection.flush()?;
/// assert_eq!(connection.receive()?, Reply::bulk("hello"));
/// assert_eq!(connection.receive()?, Reply::Integer(5));
/// # Ok::<(), kvclient::Error>(())
/// ```
#[derive(Debug)]
pub struct Connection {
    address: Address,
    options: Options,
    /// `None` once the connection is closed.
    stream: Option<Stream>,
    decoder: ReplyDecoder,
    /// Of the line protocol: up to where the unread input was searched for a line's end.
    line_searched: usize,
    /// What arrived and was not yet read as a reply: `input[consumed..]`.
    input: Vec<u8>,
    consumed: usize,
    output: Vec<u8>,
    /// Once it is set, whatever waits for the server fails.
    interrupt: Option<Arc<AtomicBool>>,
}

/// How often a connection that can be interrupted checks whether it was.
const INTERRUPT_TICK: Duration = Duration::from_millis(100);
/// How much is read from the connection at once, in bytes.
const READ_BYTES: usize = 64 * 1024;
/// How much of a pipeline is sent before its replies are read, in bytes. It has to fit the buffers between client and
/// server: a server that cannot send stops reading, and both would wait for each other.
const PIPELINED_BYTES: usize = 16 * 1024;
/// How often at most is read what has arrived, and how much at once, to see whether the connection has ended behind it.
const ARRIVED_READS_MAX: usize = 64;
const ARRIVED_READ_BYTES: usize = 1024;

impl Connection {
    /// Connects to `address` (see [`Address`]) with the default [`Options`].
    ///
    /// ```
    /// # let (_server, client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// # let place = client.address();
    /// use kvclient::{Connection, Reply};
    ///
    /// let mut connection = Connection::connect(&format!("redis://{place}"))?;
    /// assert_eq!(connection.command(["PING"])?, Reply::simple("PONG"));
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn connect(address: &str) -> Result<Connection> {
        Connection::connect_with(&address.parse()?, Options::default())
    }

    /// Connects, logs in and selects the keyspace as `address` says.
    ///
    /// # Errors
    ///
    /// [`Error::Connect`], or [`Error::Refused`] if the server refuses the login, the protocol's version or the keyspace.
    ///
    /// ```
    /// # let (_server, client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// use kvclient::{Connection, Options};
    ///
    /// let options = Options { name: Some("worker".to_owned()), ..Options::default() };
    /// let mut connection = Connection::connect_with(client.address(), options)?;
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn connect_with(address: &Address, options: Options) -> Result<Connection> {
        let mut connection = Connection::open(address, options.clone())?;
        connection.greet(address, &options).map_err(|error| unopened(address, error))?;
        Ok(connection)
    }

    /// Connects and sends nothing: [`Connection::greet`] logs in.
    ///
    /// ```
    /// # let (_server, client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// use kvclient::{Connection, Options};
    ///
    /// let mut connection = Connection::open(client.address(), Options::default())?;
    /// connection.greet(client.address(), &Options::default())?;
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn open(address: &Address, options: Options) -> Result<Connection> {
        let stream = Stream::open(address, &options);
        Connection::from_opened(address, options, stream)
    }

    /// As [`Connection::open`]; gives up, with an I/O error of the kind `Interrupted`, once `gives_up` returns true. It is
    /// called every 100 ms with the time that has passed.
    #[doc(hidden)]
    pub fn open_unless(address: &Address, options: Options, gives_up: impl Fn(Duration) -> bool) -> Result<Connection> {
        let stream = stream::open_unless(address, &options, INTERRUPT_TICK, gives_up);
        Connection::from_opened(address, options, stream)
    }

    fn from_opened(address: &Address, options: Options, stream: io::Result<Stream>) -> Result<Connection> {
        let stream = stream.map_err(|source| Error::Connect { address: address.to_string(), source })?;
        Ok(Connection {
            address: address.clone(),
            decoder: ReplyDecoder::new(options.reply_bytes_max),
            line_searched: 0,
            options,
            stream: Some(stream),
            input: Vec::new(),
            consumed: 0,
            output: Vec::new(),
            interrupt: None,
        })
    }

    /// The address this client is connected to.
    ///
    /// ```
    /// # let (_server, client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// # let mut connection = kvclient::Connection::connect_with(client.address(), Default::default())?;
    /// assert_eq!(connection.address(), client.address());
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Sends one request and waits for its reply. An error reply is [`Error::Reply`]; the client stays usable after
    /// it. Messages pushed meanwhile are dropped: to receive messages use [`Connection::subscribe`].
    ///
    /// ```
    /// # let (_server, client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// # let mut connection = kvclient::Connection::connect_with(client.address(), Default::default())?;
    /// use kvclient::{Error, Reply};
    ///
    /// assert_eq!(connection.command(["INCR", "n"])?, Reply::Integer(1));
    /// assert!(matches!(connection.command(["NO", "SUCH"]), Err(Error::Reply(_))));
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn command<I>(&mut self, words: I) -> Result<Reply>
    where
        I: IntoIterator,
        I::IntoIter: ExactSizeIterator,
        I::Item: AsRef<[u8]>,
    {
        self.send(words)?;
        match self.receive_answer()? {
            Reply::Error(text) => Err(Error::Reply(text.into_owned())),
            reply => Ok(reply),
        }
    }

    /// Sends many requests with few round trips and gives their replies in order. An error reply is among them as
    /// [`Reply::Error`]; it does not stop the others.
    ///
    /// ```
    /// # let (_server, client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// # let mut connection = kvclient::Connection::connect_with(client.address(), Default::default())?;
    /// use kvclient::Reply;
    ///
    /// let replies = connection.pipeline([["INCR", "n"], ["GET", "n"]])?;
    /// assert_eq!(replies, [Reply::Integer(1), Reply::bulk("1")]);
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn pipeline<R, I>(&mut self, requests: R) -> Result<Vec<Reply>>
    where
        R: IntoIterator<Item = I>,
        I: IntoIterator,
        I::IntoIter: ExactSizeIterator,
        I::Item: AsRef<[u8]>,
    {
        let batch = self.run_batch(requests);
        match batch.failure {
            None => Ok(batch.replies),
            Some(error) => Err(error),
        }
    }

    /// Sends many requests with few round trips; the replies that came before a failure are kept.
    pub(crate) fn run_batch<R, I>(&mut self, requests: R) -> Batch
    where
        R: IntoIterator<Item = I>,
        I: IntoIterator,
        I::IntoIter: ExactSizeIterator,
        I::Item: AsRef<[u8]>,
    {
        let mut batch = Batch::default();
        // Where each request that is not sent yet begins in the output.
        let mut starts = Vec::new();
        for request in requests {
            let before = self.output.len();
            self.queue(request);
            if self.output.len() > PIPELINED_BYTES && before > 0 {
                // A large request goes alone: while the server cannot send its replies, it reads no further.
                let request = self.output.split_off(before);
                self.exchange_queued(&mut starts, &mut batch);
                if batch.failure.is_some() {
                    return batch;
                }
                self.output = request;
                starts.push(0);
            } else {
                starts.push(before);
            }
        }
        self.exchange_queued(&mut starts, &mut batch);
        batch
    }

    /// Sends the queued requests, which begin at `starts`, and receives their replies.
    fn exchange_queued(&mut self, starts: &mut Vec<usize>, batch: &mut Batch) {
        let (written, sent) = self.write_queued();
        let awaited = starts.len();
        batch.sent += starts.drain(..).filter(|start| *start < written).count();
        if let Err(error) = sent {
            batch.failure = Some(error);
            return;
        }
        for _ in 0..awaited {
            match self.receive_answer() {
                Ok(reply) => batch.replies.push(reply),
                Err(error) => {
                    batch.failure = Some(error);
                    return;
                }
            }
        }
    }

    /// Sends one request without waiting for the reply: [`Connection::receive`] gives it.
    ///
    /// ```
    /// # let (_server, client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// # let mut connection = kvclient::Connection::connect_with(client.address(), Default::default())?;
    /// use kvclient::Reply;
    ///
    /// connection.send(["INCR", "n"])?;
    /// assert_eq!(connection.receive()?, Reply::Integer(1));
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn send<I>(&mut self, words: I) -> Result<()>
    where
        I: IntoIterator,
        I::IntoIter: ExactSizeIterator,
        I::Item: AsRef<[u8]>,
    {
        self.queue(words);
        self.flush()
    }

    /// Sends a line as it is; for `line://` addresses, whose servers differ in how they quote.
    ///
    /// ```
    /// # let (_server, client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// # let mut connection = kvclient::Connection::connect_with(client.address(), Default::default())?;
    /// use kvclient::Reply;
    ///
    /// // A RESP server takes lines, too.
    /// connection.send_line("SET k 'a b'")?;
    /// assert_eq!(connection.receive()?, Reply::Ok);
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn send_line(&mut self, line: impl AsRef<[u8]>) -> Result<()> {
        self.queue_line(line);
        self.flush()
    }

    /// Waits for the next reply or pushed message, whichever comes first. An error reply is an `Ok(Reply::Error)`. A
    /// line of the line protocol is a [`Reply::Simple`], or a [`Reply::Error`] if it begins with `ERR`.
    ///
    /// ```
    /// # let (_server, client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// # let mut connection = kvclient::Connection::connect_with(client.address(), Default::default())?;
    /// use kvclient::Reply;
    ///
    /// connection.send(["INCR", "n"])?;
    /// assert_eq!(connection.receive()?, Reply::Integer(1));
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn receive(&mut self) -> Result<Reply> {
        loop {
            if let Some(reply) = self.decode()? {
                return Ok(reply);
            }
            self.fill()?;
        }
    }

    /// Waits up to `timeout` for a reply or pushed message; `None` if none came. The connection stays usable.
    ///
    /// ```
    /// # let (_server, client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// # let mut connection = kvclient::Connection::connect_with(client.address(), Default::default())?;
    /// use std::time::Duration;
    ///
    /// assert_eq!(connection.receive_within(Duration::from_millis(1))?, None);
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn receive_within(&mut self, timeout: Duration) -> Result<Option<Reply>> {
        if let Some(reply) = self.decode()? {
            return Ok(Some(reply));
        }
        // A timeout of zero would mean none at all to the system.
        self.set_read_timeout(Some(timeout.max(Duration::from_millis(1))))?;
        let arrived = match self.read_some(READ_BYTES) {
            Ok(0) => Err(self.close(Error::Closed { address: self.address.to_string() })),
            Ok(_) => Ok(()),
            Err(error) if is_timeout(&error) => Ok(()),
            Err(source) => Err(self.broken(source)),
        };
        arrived?;
        self.set_read_timeout(self.options.reply_timeout)?;
        self.decode()
    }

    /// Makes whatever waits for the server fail once `interrupt` is set, with an I/O error of the kind `Interrupted`; the
    /// connection is closed then. [`Connection::receive_within`] may return before its timeout from now on.
    #[doc(hidden)]
    pub fn set_interrupt(&mut self, interrupt: Arc<AtomicBool>) -> Result<()> {
        self.interrupt = Some(interrupt);
        self.set_reply_timeout(self.options.reply_timeout)
    }

    /// Returns the next reply or pushed message of what [`Connection::is_connected`] has read, without waiting.
    #[doc(hidden)]
    pub fn take_arrived(&mut self) -> Result<Option<Reply>> {
        self.decode()
    }

    /// Whether the connection still stands as far as this side can know, without waiting. What has arrived is kept for
    /// [`Connection::receive`].
    ///
    /// ```
    /// # let (_server, client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// # let mut connection = kvclient::Connection::connect_with(client.address(), Default::default())?;
    /// assert!(connection.is_connected());
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn is_connected(&mut self) -> bool {
        let nonblocking =
            |client: &Connection, on| client.stream.as_ref().is_some_and(|s| s.set_nonblocking(on).is_ok());
        if !nonblocking(self, true) {
            return false;
        }
        // The end may stand behind the server's last words. More than this much of them is proof enough.
        for _ in 0..ARRIVED_READS_MAX {
            match self.read_some(ARRIVED_READ_BYTES) {
                Ok(0) => return false,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => return false,
            }
        }
        nonblocking(self, false)
    }

    /// Returns the stream, for a program that speaks the protocol itself from here on. What has arrived and was not received
    /// is lost.
    ///
    /// # Errors
    ///
    /// [`Error::NotConnected`] if the connection is closed.
    ///
    /// ```
    /// # let (_server, client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// let connection = kvclient::Connection::connect_with(client.address(), Default::default())?;
    /// let stream = connection.into_stream()?;
    /// stream.set_nonblocking(true)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn into_stream(mut self) -> Result<Stream> {
        let closed = self.closed();
        self.stream.take().ok_or(closed)
    }

    /// Logs in, agrees on the protocol version, names the connection and selects the keyspace, as `address` and
    /// `options` say. For a connection made by [`Connection::open`], or after another login.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] if the server replies with an error: the connection stays usable, and is as the step before
    /// left it.
    ///
    /// ```
    /// # let (_server, client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// # let mut connection = kvclient::Connection::connect_with(client.address(), Default::default())?;
    /// use kvclient::{Address, Options};
    ///
    /// let second = Address { db: 2, ..client.address().clone() };
    /// connection.greet(&second, &Options::default())?;
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn greet(&mut self, address: &Address, options: &Options) -> Result<()> {
        for words in greeting(address, options) {
            match self.command(&words) {
                // A server before Redis 6; or one that has HELLO without RESP3.
                Err(Error::Reply(text)) if options.falls_back && says_hello(&words) && knows_no_resp3(&text) => {
                    let options = Options { version: Version::Resp2, ..options.clone() };
                    return self.greet(address, &options);
                }
                Err(Error::Reply(text)) => return Err(Error::Refused { text }),
                Err(error) => return Err(error),
                Ok(_) => {}
            }
        }
        Ok(())
    }

    /// Returns the requests that [`Connection::greet`] sends, encoded, and how many they are.
    #[doc(hidden)]
    pub fn encode_greeting(address: &Address, options: &Options) -> (Vec<u8>, usize) {
        let mut out = Vec::new();
        let requests = greeting(address, options);
        for words in &requests {
            encode(address.scheme, words, &mut out);
        }
        (out, requests.len())
    }

    /// Adds a request to those that [`Connection::flush`] sends. Whoever queues more than some KiB before it reads the
    /// replies may wait for ever: a server that cannot send reads nothing either.
    ///
    /// ```
    /// # let (_server, client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// # let mut connection = kvclient::Connection::connect_with(client.address(), Default::default())?;
    /// use kvclient::Reply;
    ///
    /// connection.queue(["INCR", "n"]);
    /// connection.queue(["INCR", "n"]);
    /// connection.flush()?;
    /// assert_eq!((connection.receive()?, connection.receive()?), (Reply::Integer(1), Reply::Integer(2)));
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn queue<I>(&mut self, words: I)
    where
        I: IntoIterator,
        I::IntoIter: ExactSizeIterator,
        I::Item: AsRef<[u8]>,
    {
        encode(self.address.scheme, words, &mut self.output);
    }

    /// Adds a line as it is; see [`Connection::queue`] and [`Connection::send_line`].
    ///
    /// ```
    /// # let (_server, client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// # let mut connection = kvclient::Connection::connect_with(client.address(), Default::default())?;
    /// use kvclient::Reply;
    ///
    /// connection.queue_line("INCR n");
    /// connection.flush()?;
    /// assert_eq!(connection.receive()?, Reply::Integer(1));
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn queue_line(&mut self, line: impl AsRef<[u8]>) {
        self.output.extend_from_slice(line.as_ref());
        self.output.push(b'\n');
    }

    /// Sends what was queued.
    ///
    /// ```
    /// # let (_server, client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// # let mut connection = kvclient::Connection::connect_with(client.address(), Default::default())?;
    /// connection.queue(["PING"]);
    /// connection.flush()?;
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn flush(&mut self) -> Result<()> {
        self.write_queued().1
    }

    /// Sends what was queued; returns how many bytes of it the system has taken, too.
    fn write_queued(&mut self) -> (usize, Result<()>) {
        let mut written = 0;
        let failure = match &mut self.stream {
            None => Some(None),
            Some(stream) => loop {
                let left = self.output.get(written..).unwrap_or_default();
                if left.is_empty() {
                    break None;
                }
                match stream.write(left) {
                    Ok(0) => break Some(Some(io::Error::from(io::ErrorKind::WriteZero))),
                    Ok(count) => written += count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted && !is_set(&self.interrupt) => {}
                    // Of a connection that can be interrupted the timeout is a tick.
                    Err(error) if is_timeout(&error) && self.interrupt.is_some() => {
                        if is_set(&self.interrupt) {
                            break Some(Some(io::Error::from(io::ErrorKind::Interrupted)));
                        }
                    }
                    Err(error) => break Some(Some(error)),
                }
            },
        };
        self.output.clear();
        self.output.shrink_to(READ_BYTES);
        let address = || self.address.to_string();
        let sent = match failure {
            None => Ok(()),
            Some(None) => Err(Error::NotConnected { address: address() }),
            Some(Some(source)) if written == 0 => {
                let error = Error::NotSent { address: address(), source };
                Err(self.close(error))
            }
            Some(Some(source)) => Err(self.broken(source)),
        };
        (written, sent)
    }

    /// Receives the next reply that is no push.
    pub(crate) fn receive_answer(&mut self) -> Result<Reply> {
        loop {
            match self.receive()? {
                Reply::Push(_) | Reply::Attribute(_) => {}
                reply => return Ok(reply),
            }
        }
    }

    /// A reply from what has arrived, if a whole one has.
    fn decode(&mut self) -> Result<Option<Reply>> {
        let unread = self.input.get(self.consumed..).unwrap_or_default();
        let decoded = match self.address.scheme {
            Scheme::Redis => self.decoder.decode(unread),
            Scheme::Line => line::decode(unread, &mut self.line_searched, self.options.reply_bytes_max),
        };
        match decoded {
            Ok(Some((reply, consumed))) => {
                self.consumed += consumed;
                if self.consumed == self.input.len() {
                    self.input.clear();
                    self.input.shrink_to(READ_BYTES);
                    self.consumed = 0;
                }
                Ok(Some(reply))
            }
            Ok(None) => {
                if self.address.scheme == Scheme::Redis {
                    self.consumed += self.decoder.release();
                }
                Ok(None)
            }
            Err(error) => Err(self.close(error.into())),
        }
    }

    /// Waits for bytes.
    fn fill(&mut self) -> Result<()> {
        let begin = Instant::now();
        loop {
            if is_set(&self.interrupt) {
                return Err(self.broken(io::ErrorKind::Interrupted.into()));
            }
            return match self.read_some(READ_BYTES) {
                Ok(0) => Err(self.close(Error::Closed { address: self.address.to_string() })),
                Ok(_) => Ok(()),
                Err(error) if is_timeout(&error) => {
                    // Of a connection that can be interrupted the timeout is a tick.
                    let is_over = self.options.reply_timeout.is_some_and(|timeout| begin.elapsed() >= timeout);
                    if self.interrupt.is_some() && !is_over {
                        continue;
                    }
                    let after = self.options.reply_timeout.unwrap_or_default();
                    Err(self.close(Error::TimedOut { after }))
                }
                Err(source) => Err(self.broken(source)),
            };
        }
    }

    /// Reads what there is, up to `bytes_max`, waiting for the first byte; 0 bytes if the connection is closed.
    fn read_some(&mut self, bytes_max: usize) -> io::Result<usize> {
        let Some(stream) = &mut self.stream else {
            return Ok(0);
        };
        self.input.drain(..self.consumed);
        self.consumed = 0;
        let held = self.input.len();
        // A server that goes on sending must not end the program.
        self.input.try_reserve(bytes_max).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
        self.input.resize(held + bytes_max, 0);
        let read = loop {
            match stream.read(&mut self.input[held..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted && !is_set(&self.interrupt) => {}
                read => break read,
            }
        };
        self.input.truncate(held + read.as_ref().copied().unwrap_or(0));
        read
    }

    /// Sets how long to wait for replies from now on; see [`Options::reply_timeout`].
    ///
    /// # Errors
    ///
    /// The system refuses to set it.
    pub fn set_reply_timeout(&mut self, timeout: Option<Duration>) -> Result<()> {
        // A timeout of zero would mean none at all to the system.
        let timeout = timeout.map(|timeout| timeout.max(Duration::from_millis(1)));
        self.options.reply_timeout = timeout;
        let set = match &self.stream {
            Some(stream) => stream.set_write_timeout(self.ticked(timeout)),
            None => return Err(self.closed()),
        };
        set.map_err(|source| self.broken(source))?;
        self.set_read_timeout(timeout)
    }

    fn set_read_timeout(&mut self, timeout: Option<Duration>) -> Result<()> {
        let set = match &self.stream {
            Some(stream) => stream.set_read_timeout(self.ticked(timeout)),
            None => return Err(self.closed()),
        };
        set.map_err(|source| self.broken(source))
    }

    /// Returns how long a call to the system may wait.
    fn ticked(&self, timeout: Option<Duration>) -> Option<Duration> {
        match &self.interrupt {
            None => timeout,
            Some(_) => Some(timeout.map_or(INTERRUPT_TICK, |timeout| timeout.min(INTERRUPT_TICK))),
        }
    }

    fn broken(&mut self, source: io::Error) -> Error {
        if source.kind() == io::ErrorKind::OutOfMemory {
            return self.close(kvproto::ProtocolError::ReplyTooLong.into());
        }
        self.close(Error::Io { address: self.address.to_string(), source })
    }

    /// Closes the connection because of `error`.
    fn close(&mut self, error: Error) -> Error {
        self.stream = None;
        // Freed, because it may be why memory ran out.
        (self.input, self.consumed) = (Vec::new(), 0);
        error
    }

    fn closed(&self) -> Error {
        Error::NotConnected { address: self.address.to_string() }
    }
}

/// What became of many requests.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// The replies that came, in order.
    pub replies: Vec<Reply>,
    /// How many requests were sent, the last one perhaps in part.
    pub sent: usize,
    /// Why the other replies did not come.
    pub failure: Option<Error>,
}

/// Returns the requests that log in, agree on the protocol's version, name the connection and select the keyspace.
fn greeting(address: &Address, options: &Options) -> Vec<Vec<String>> {
    let mut requests = Vec::new();
    let mut login = Vec::new();
    if let Some(password) = address.password.clone() {
        login.extend(address.user.clone());
        login.push(password);
    }
    if options.version == Version::Resp3 && address.scheme == Scheme::Redis {
        let mut words = vec!["HELLO".to_owned(), "3".to_owned()];
        if !login.is_empty() {
            if login.len() == 1 {
                login.insert(0, "default".to_owned());
            }
            words.push("AUTH".to_owned());
            words.extend(login);
        }
        requests.push(words);
    } else if !login.is_empty() {
        login.insert(0, "AUTH".to_owned());
        requests.push(login);
    }
    if let Some(name) = &options.name {
        requests.push(vec!["CLIENT".to_owned(), "SETNAME".to_owned(), name.clone()]);
    }
    if address.db != 0 {
        requests.push(vec!["SELECT".to_owned(), address.db.to_string()]);
    }
    requests
}

/// Appends a request as the protocol writes it.
fn encode<I>(scheme: Scheme, words: I, out: &mut Vec<u8>)
where
    I: IntoIterator,
    I::IntoIter: ExactSizeIterator,
    I::Item: AsRef<[u8]>,
{
    match scheme {
        Scheme::Redis => encode_request(words, out),
        Scheme::Line => {
            for (at, word) in words.into_iter().enumerate() {
                if at > 0 {
                    out.push(b' ');
                }
                line::write_word(word.as_ref(), out);
            }
            out.push(b'\n');
        }
    }
}

/// Returns what a connection that broke while it was greeted is: one that could not be opened. Nothing but the greeting was
/// sent on it.
pub(crate) fn unopened(address: &Address, error: Error) -> Error {
    match error {
        Error::Refused { .. } | Error::Connect { .. } => error,
        error => Error::Connect { address: address.to_string(), source: io::Error::other(error) },
    }
}

/// Whether there is an interrupt, and it is set.
fn is_set(interrupt: &Option<Arc<AtomicBool>>) -> bool {
    interrupt.as_ref().is_some_and(|interrupt| interrupt.load(Ordering::Relaxed))
}

/// Systems disagree on what a timed-out read is called.
fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn says_hello(words: &[String]) -> bool {
    words.first().is_some_and(|name| name == "HELLO")
}

/// Returns whether the text of HELLO's refusal says that the server speaks RESP2 alone.
fn knows_no_resp3(text: &str) -> bool {
    text.starts_with("NOPROTO") || text.to_ascii_lowercase().starts_with("err unknown command")
}

#[cfg(test)]
mod tests;
