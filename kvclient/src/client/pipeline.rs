//! Many requests in one round trip.
//!
//! Invariant: each request has a result of its own, in order, whatever becomes of the connection on the way; and nothing is
//! sent if one of the requests could put requests and replies out of step.

use super::{Client, check_one_reply, line_reply, line_reply::Shape};
use crate::connection::Batch;
use crate::error::{Error, Outcome, Result};
use crate::from_reply::FromReply;
use kvproto::{OwnedRequest, Reply};

/// Requests to be sent together, by a [`Pipeline`] or a [`Transaction`](crate::Transaction).
#[derive(Default)]
pub struct Commands {
    requests: Vec<OwnedRequest>,
}

impl Commands {
    /// Adds a command. Its words are checked when the commands are sent.
    ///
    /// ```
    /// let mut commands = kvclient::Commands::default();
    /// commands.add(["SET", "k", "1"]).add(["INCR", "k"]);
    /// assert_eq!(commands.len(), 2);
    /// ```
    pub fn add(&mut self, words: impl IntoIterator<Item = impl AsRef<[u8]>>) -> &mut Commands {
        self.requests.push(OwnedRequest::from_words(words));
        self
    }

    /// Returns how many commands there are.
    ///
    /// ```
    /// let mut commands = kvclient::Commands::default();
    /// commands.add(["PING"]);
    /// assert_eq!(commands.len(), 1);
    /// ```
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    /// Returns whether there are no commands.
    ///
    /// ```
    /// assert!(kvclient::Commands::default().is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Returns the requests; none are left.
    pub(super) fn take(&mut self) -> Vec<OwnedRequest> {
        std::mem::take(&mut self.requests)
    }
}

/// Does not show the words: they may hold passwords.
impl std::fmt::Debug for Commands {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} commands", self.requests.len())
    }
}

/// Commands that are sent together and whose replies are read together; made by [`Client::pipeline`]. A pipeline is no
/// transaction: other clients' commands may come between, and a command that fails stops none of the others.
#[derive(Debug)]
pub struct Pipeline<'c> {
    client: &'c mut Client,
    commands: Commands,
}

impl Client {
    /// Begins a pipeline: commands that are sent with few round trips.
    ///
    /// ```
    /// # let (_server, mut client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// let ((), visits, name): ((), i64, Option<String>) = client
    ///     .pipeline()
    ///     .add(["SET", "greeting", "hello"])
    ///     .add(["INCR", "visits"])
    ///     .add(["GET", "name"])
    ///     .run()?;
    /// assert_eq!((visits, name), (1, None));
    ///
    /// let mut many = client.pipeline();
    /// for key in 0..1_000 {
    ///     many.add(["SET", &key.to_string(), "value"]);
    /// }
    /// many.run::<()>()?;
    /// assert_eq!(client.dbsize()?, 1_002);
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn pipeline(&mut self) -> Pipeline<'_> {
        Pipeline { client: self, commands: Commands::default() }
    }
}

impl Pipeline<'_> {
    /// Adds a command.
    ///
    /// ```
    /// # let (_server, mut client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// client.pipeline().add(["SET", "k", "v"]).add(["EXPIRE", "k", "60"]).run::<()>()?;
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn add(&mut self, words: impl IntoIterator<Item = impl AsRef<[u8]>>) -> &mut Self {
        self.commands.add(words);
        self
    }

    /// Sends the commands and reads their replies, taken together as a list, as `T`: a tuple, a `Vec`, or `()`. None of the
    /// commands is left afterwards.
    ///
    /// # Errors
    ///
    /// The error of the only command there is; or [`Error::Batch`] with the first command that failed: what became of the
    /// others, [`Pipeline::results`] tells. [`Error::Type`] if the replies are not a `T`.
    ///
    /// ```
    /// # let (_server, mut client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// let numbers: Vec<i64> = client.pipeline().add(["INCR", "n"]).add(["INCR", "n"]).run()?;
    /// assert_eq!(numbers, [1, 2]);
    /// let error = client.pipeline().add(["SET", "n", "x"]).add(["INCR", "n"]).run::<()>().unwrap_err();
    /// assert_eq!(error.to_string(), "request 2 of 2: ERR value is not an integer or out of range");
    /// // SET was done.
    /// assert_eq!(error.outcome(), kvclient::Outcome::Done);
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn run<T: FromReply>(&mut self) -> Result<T> {
        all(self.results()?)
    }

    /// Sends the commands and returns the result of each: its reply, or why there is none. None of the commands is left
    /// afterwards.
    ///
    /// # Errors
    ///
    /// Only if nothing was sent at all.
    ///
    /// ```
    /// # let (_server, mut client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// use kvclient::{Outcome, Reply};
    ///
    /// let results = client.pipeline().add(["SET", "n", "x"]).add(["INCR", "n"]).add(["GET", "n"]).results()?;
    /// assert_eq!(*results[0].as_ref().unwrap(), Reply::Ok);
    /// assert_eq!(results[1].as_ref().unwrap_err().outcome(), Outcome::Refused);
    /// assert_eq!(*results[2].as_ref().unwrap(), Reply::bulk("x"));
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn results(&mut self) -> Result<Vec<Result<Reply>>> {
        let requests = self.commands.take();
        check_all(&requests)?;
        let batch = self.client.call_all(&requests)?;
        let mut results = results(requests.len(), batch, self.client);
        if self.client.is_line() {
            let is_terse = self.client.is_terse;
            results = results
                .into_iter()
                .map(|result| result.and_then(|reply| line_reply::read(Shape::Any, reply, is_terse)))
                .collect();
        }
        Ok(results)
    }
}

/// Refuses requests that could put requests and replies out of step.
pub(super) fn check_all(requests: &[OwnedRequest]) -> Result<()> {
    for request in requests {
        let first: Vec<&[u8]> = request.as_request().iter().take(2).collect();
        check_one_reply(&first)?;
    }
    Ok(())
}

/// Returns the result of each of `count` requests.
pub(super) fn results(count: usize, batch: Batch, client: &Client) -> Vec<Result<Reply>> {
    let address = client.address();
    let mut results: Vec<_> = batch
        .replies
        .into_iter()
        .map(|reply| match reply {
            Reply::Error(text) => Err(Error::Reply(text.into_owned())),
            reply => Ok(reply),
        })
        .collect();
    let mut failure = batch.failure;
    while results.len() < count {
        let was_sent = results.len() < batch.sent;
        results.push(Err(match failure.take() {
            Some(error) => error,
            None if was_sent => Error::Closed { address: address.to_string() },
            None => Error::NotConnected { address: address.to_string() },
        }));
    }
    results
}

/// Reads all results, taken together, as `T`.
pub(super) fn all<T: FromReply>(results: Vec<Result<Reply>>) -> Result<T> {
    let of = results.len();
    let outcome = together(&results);
    let mut replies = Vec::with_capacity(of);
    for (at, result) in (1..).zip(results) {
        match result {
            Ok(reply) => replies.push(reply),
            Err(error) if of == 1 => return Err(error),
            Err(error) => return Err(Error::Batch { at, of, outcome, source: Box::new(error) }),
        }
    }
    T::from_reply(Reply::Array(replies))
}

/// Returns what became of several requests taken together: the least certain of them counts.
fn together(results: &[Result<Reply>]) -> Outcome {
    let has =
        |wanted| results.iter().any(|result| result.as_ref().map_or_else(Error::outcome, |_| Outcome::Done) == wanted);
    [Outcome::Unknown, Outcome::Done, Outcome::Refused]
        .into_iter()
        .find(|outcome| has(*outcome))
        .unwrap_or(Outcome::NotSent)
}
