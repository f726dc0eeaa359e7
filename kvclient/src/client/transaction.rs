//! Transactions: commands that are executed together, or not at all if a watched key has changed.
//!
//! Invariant: MULTI, the commands and EXEC travel together, so a transaction is never left open; and what keys were watched
//! for is not sent to another connection than the one that watches them.

use super::Client;
use super::line_reply::Shape;
use super::pipeline::{Commands, all, check_all};
use crate::error::{Error, Outcome, Result};
use crate::from_reply::FromReply;
use kvproto::{OwnedRequest, Reply};

/// How often [`Client::transact`] tries.
const TRIES_MAX: u32 = 100;

/// Commands that are executed together, with none of other clients between them; made by [`Client::transaction`].
#[derive(Debug)]
pub struct Transaction<'c> {
    client: &'c mut Client,
    commands: Commands,
}

impl Client {
    /// Begins a transaction. Nothing is sent before [`Transaction::exec`].
    ///
    /// ```
    /// # let (_server, mut client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// client.mset([("alice", "10"), ("bob", "0")])?;
    /// let balances: Option<(i64, i64)> =
    ///     client.transaction().add(["DECRBY", "alice", "4"]).add(["INCRBY", "bob", "4"]).exec()?;
    /// assert_eq!(balances, Some((6, 4)));
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn transaction(&mut self) -> Transaction<'_> {
        Transaction { client: self, commands: Commands::default() }
    }

    /// Watches keys: the next transaction is executed only if none of them has changed by then.
    ///
    /// # Errors
    ///
    /// [`Error::Reply`] or a failure of the connection. If the connection is lost while keys are watched, the next request
    /// fails with [`Error::SessionLost`].
    ///
    /// ```
    /// # let (_server, mut client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// # let mut other = kvclient::Client::connect_with(client.address(), Default::default())?;
    /// client.watch(["k"])?;
    /// other.set("k", "theirs")?;
    /// assert_eq!(client.transaction().add(["SET", "k", "mine"]).exec::<()>()?, None);
    /// assert_eq!(client.get::<String>("k")?.as_deref(), Some("theirs"));
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn watch(&mut self, keys: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Result<()> {
        self.ask_about(Shape::Done, "WATCH", keys)
    }

    /// Watches no keys any more.
    ///
    /// # Errors
    ///
    /// [`Error::Reply`] or a failure of the connection.
    ///
    /// ```
    /// # let (_server, mut client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// client.watch(["k"])?;
    /// client.unwatch()?;
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn unwatch(&mut self) -> Result<()> {
        self.ask(Shape::Done, &[b"UNWATCH"])
    }

    /// Watches `keys`, has `body` read what it needs and add commands, and executes those; all of it again, up to 100 times,
    /// while other clients change one of the keys. `body` must not write by itself: it may run several times.
    ///
    /// # Errors
    ///
    /// That of `body`, then nothing is executed; [`Error::Contended`] if the keys changed each time; otherwise as
    /// [`Transaction::exec`].
    ///
    /// ```
    /// # let (_server, mut client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// client.set("price", "20")?;
    /// client.transact::<()>(["price"], |client, commands| {
    ///     let price: f64 = client.get("price")?.unwrap_or(0.0);
    ///     commands.add(["SET", "price", &(price * 1.1).round().to_string()]);
    ///     Ok(())
    /// })?;
    /// assert_eq!(client.get("price")?, Some(22));
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn transact<T: FromReply>(
        &mut self,
        keys: impl IntoIterator<Item = impl AsRef<[u8]>>,
        mut body: impl FnMut(&mut Client, &mut Commands) -> Result<()>,
    ) -> Result<T> {
        let keys: Vec<_> = keys.into_iter().collect();
        for _ in 0..TRIES_MAX {
            self.watch(&keys)?;
            let mut commands = Commands::default();
            if let Err(error) = body(self, &mut commands) {
                // If this fails, too, the first error is the one to report; a lost connection watches nothing.
                let _ = self.unwatch();
                return Err(error);
            }
            match (Transaction { client: self, commands }).exec() {
                Ok(None) => {}
                Ok(Some(done)) => return Ok(done),
                Err(error) => {
                    if error.outcome() == Outcome::NotSent {
                        let _ = self.unwatch();
                    }
                    return Err(error);
                }
            }
        }
        Err(Error::Contended { tries: TRIES_MAX })
    }
}

impl Transaction<'_> {
    /// Adds a command.
    ///
    /// ```
    /// # let (_server, mut client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// let mut transaction = client.transaction();
    /// for name in ["a", "b"] {
    ///     transaction.add(["INCR", name]);
    /// }
    /// assert_eq!(transaction.exec::<Vec<i64>>()?, Some(vec![1, 1]));
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn add(&mut self, words: impl IntoIterator<Item = impl AsRef<[u8]>>) -> &mut Self {
        self.commands.add(words);
        self
    }

    /// Executes the commands and reads their replies, taken together as a list, as `T`; `None` if a watched key has changed,
    /// so that nothing was done. None of the commands is left afterwards, and no keys are watched.
    ///
    /// # Errors
    ///
    /// [`Error::Reply`] or [`Error::Batch`] if a command failed. The server does not execute anything if a command cannot be
    /// one (an unknown name, a wrong number of words): then the outcome is [`Outcome::Refused`]. It executes the others if
    /// one fails on its key: then it is [`Outcome::Done`]. If the connection is lost before EXEC was sent, nothing was done
    /// ([`Outcome::NotSent`]), afterwards it is [`Outcome::Unknown`]. [`Error::LineProtocol`] over the line protocol.
    ///
    /// ```
    /// # let (_server, mut client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// use kvclient::Outcome;
    ///
    /// let done: Option<((), i64)> = client.transaction().add(["SET", "n", "41"]).add(["INCR", "n"]).exec()?;
    /// assert_eq!(done, Some(((), 42)));
    /// let error = client.transaction().add(["INCR", "n"]).add(["INCR"]).exec::<()>().unwrap_err();
    /// assert_eq!(error.outcome(), Outcome::Refused);
    /// assert_eq!(client.get("n")?, Some(42));
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn exec<T: FromReply>(&mut self) -> Result<Option<T>> {
        match self.results()? {
            Some(results) => all(results).map(Some),
            None => Ok(None),
        }
    }

    /// Executes the commands and returns the result of each; `None` if a watched key has changed.
    ///
    /// # Errors
    ///
    /// As [`Transaction::exec`], but not if a command fails on its key: that is its result.
    ///
    /// ```
    /// # let (_server, mut client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// let results = client.transaction().add(["SET", "n", "x"]).add(["INCR", "n"]).results()?.expect("no watched keys");
    /// assert!(results[0].is_ok() && results[1].is_err());
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn results(&mut self) -> Result<Option<Vec<Result<Reply>>>> {
        let commands = self.commands.take();
        if self.client.is_line() {
            return Err(Error::LineProtocol { what: "transactions for programs" });
        }
        check_all(&commands)?;
        let of = commands.len();
        let mut requests = Vec::with_capacity(of + 2);
        requests.push(OwnedRequest::from_words(["MULTI"]));
        requests.extend(commands);
        requests.push(OwnedRequest::from_words(["EXEC"]));
        let batch = self.client.call_all(&requests)?;
        if let Some(error) = batch.failure {
            // It is reported here, and nothing of it is left for the next request.
            self.client.state.take_lost();
            return Err(self.without_reply(error, batch.sent == requests.len()));
        }
        let mut replies = batch.replies.into_iter();
        let executed = replies.next_back().unwrap_or_default();
        let refused = replies.enumerate().find_map(|(at, reply)| match reply {
            Reply::Error(text) => Some((at, Error::Reply(text.into_owned()))),
            _ => None,
        });
        match (executed, refused) {
            (Reply::Array(replies), _) => Ok(Some(replies.into_iter().map(FromReply::from_reply).collect())),
            (Reply::Nil | Reply::NilArray, _) => Ok(None),
            // Why it was refused says more than that it was; 0 is MULTI itself.
            (Reply::Error(_), Some((0, error))) => Err(error),
            (Reply::Error(_), Some((at, error))) => {
                Err(Error::Batch { at, of, outcome: Outcome::Refused, source: Box::new(error) })
            }
            (Reply::Error(text), None) => Err(Error::Reply(text.into_owned())),
            (reply, _) => FromReply::from_reply(reply).map(|()| None),
        }
    }

    /// Returns the error for a transaction whose reply did not come.
    fn without_reply(&self, error: Error, was_sent: bool) -> Error {
        if was_sent || error.outcome() == Outcome::NotSent {
            return error;
        }
        // A transaction whose EXEC the server does not see is given up with its connection.
        Error::NotSent { address: self.client.address().to_string(), source: std::io::Error::other(error) }
    }
}
