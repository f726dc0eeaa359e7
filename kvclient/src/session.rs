//! A conversation that outlives its connection: connects when needed, again when the server was restarted, and
//! remembers the keyspace it was in.
//!
//! Invariant: a command is sent at most once. Whether a connection still stands is checked before it is sent; if it
//! breaks afterwards the user is told, since only the user knows whether it may be done twice.

use crate::output::Output;
use crate::signals::Signals;
use kvclient::address::Scheme;
use kvclient::{Address, Client, Error, Options, Reply};
use kvproto::{OwnedRequest, Request};
use std::io;
use std::time::Duration;

/// How a command went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// The server did it.
    Good,
    /// The server answered with an error.
    Error,
    /// There is no connection.
    Lost,
}

/// A conversation with one server.
#[derive(Debug)]
pub struct Session {
    /// Its `db` is the keyspace last selected.
    address: Address,
    options: Options,
    output: Output,
    signals: Signals,
    client: Option<Client>,
    was_connected: bool,
    in_transaction: bool,
}

/// How often a stream of messages looks whether Ctrl-C was pressed.
const STREAM_TICK: Duration = Duration::from_millis(100);

impl Session {
    /// A conversation not yet begun.
    pub fn new(address: Address, options: Options, output: Output, signals: Signals) -> Session {
        Session { address, options, output, signals, client: None, was_connected: false, in_transaction: false }
    }

    /// Where replies go.
    pub fn output(&mut self) -> &mut Output {
        &mut self.output
    }

    /// What stands before the cursor.
    pub fn prompt(&self) -> String {
        if self.client.is_none() {
            return "not connected> ".to_owned();
        }
        let db = match self.address.db {
            0 => String::new(),
            db => format!("[{db}]"),
        };
        let transaction = if self.in_transaction { "(TX)" } else { "" };
        format!("{}{db}{transaction}> ", self.address)
    }

    /// Connects if there is no connection; false, with the reason told, if that fails.
    pub fn connect(&mut self) -> bool {
        if self.client.as_ref().is_some_and(Client::is_connected) {
            return true;
        }
        self.client = None;
        match Client::connect_with(&self.address, self.options.clone()) {
            Ok(client) => {
                if self.was_connected {
                    self.output.note(&format!("Reconnected to {}.", self.address));
                    if self.in_transaction {
                        self.output.note("The open transaction was lost with the old connection.");
                    }
                }
                self.client = Some(client);
                self.was_connected = true;
                self.in_transaction = false;
                true
            }
            Err(error) => {
                self.output.note(&error.to_string());
                false
            }
        }
    }

    /// Sends `request` and prints what comes back; of a subscription, all of it until Ctrl-C.
    pub fn run(&mut self, request: &OwnedRequest) -> io::Result<Answered> {
        self.exchange(request.as_request(), |client| client.send(request.as_request()))
    }

    /// The same for a line of the line protocol, sent as it was typed; `request` is its words.
    pub fn run_line(&mut self, request: &OwnedRequest, line: &str) -> io::Result<Answered> {
        self.exchange(request.as_request(), |client| client.send_line(line))
    }

    /// Whether lines are sent as they were typed.
    pub fn sends_lines(&self) -> bool {
        self.address.scheme == Scheme::Line
    }

    /// Whether `request` is answered by messages until Ctrl-C.
    pub fn streams(&self, request: Request<'_>) -> bool {
        is_one_of(request, &["subscribe", "psubscribe", "ssubscribe", "monitor"])
    }

    fn exchange(
        &mut self,
        request: Request<'_>,
        send: impl FnOnce(&mut Client) -> kvclient::Result<()>,
    ) -> io::Result<Answered> {
        if !self.connect() {
            return Ok(Answered::Lost);
        }
        if let Some(client) = &mut self.client
            && let Err(error) = send(client)
        {
            return Ok(self.lost(request, &error));
        }
        if is_one_of(request, &["subscribe", "psubscribe", "ssubscribe", "monitor"]) {
            return self.stream(request);
        }
        loop {
            let Some(client) = &mut self.client else {
                return Ok(Answered::Lost);
            };
            match client.receive() {
                Ok(reply @ Reply::Push(_)) => self.output.print(request, &reply)?,
                Ok(reply) => {
                    self.output.print(request, &reply)?;
                    self.remember(request, &reply);
                    return Ok(if reply.is_error() { Answered::Error } else { Answered::Good });
                }
                Err(error) => return Ok(self.lost(request, &error)),
            }
        }
    }

    /// Prints messages until Ctrl-C; the connection ends with them.
    fn stream(&mut self, request: Request<'_>) -> io::Result<Answered> {
        self.signals.begin_stream();
        let streamed = self.print_messages(request);
        self.signals.end_stream();
        streamed
    }

    fn print_messages(&mut self, request: Request<'_>) -> io::Result<Answered> {
        let Some(mut client) = self.client.take() else {
            return Ok(Answered::Lost);
        };
        let mut confirmed = false;
        while !self.signals.pressed() {
            match client.receive_within(STREAM_TICK) {
                Ok(None) => {}
                Ok(Some(reply)) => {
                    self.output.print(request, &reply)?;
                    if !confirmed && reply.is_error() {
                        // Refused: the connection is as it was.
                        self.client = Some(client);
                        return Ok(Answered::Error);
                    }
                    confirmed = true;
                }
                Err(error) => return Ok(self.lost(request, &error)),
            }
        }
        // Not a reconnection worth telling of: the next command connects anew.
        self.was_connected = false;
        self.in_transaction = false;
        Ok(Answered::Good)
    }

    /// Notes what a reply changes about the next commands.
    fn remember(&mut self, request: Request<'_>, reply: &Reply) {
        let done = *reply == Reply::Ok;
        if is_one_of(request, &["multi"]) && done {
            self.in_transaction = true;
        } else if is_one_of(request, &["exec", "discard"]) {
            self.in_transaction = false;
        } else if is_one_of(request, &["select"]) && done {
            let db = request.get(1).and_then(kvproto::parse_integer);
            if let Some(db) = db.and_then(|db| u32::try_from(db).ok()) {
                self.address.db = db;
            }
        }
    }

    /// The connection broke after `request` was sent, or while it was.
    fn lost(&mut self, request: Request<'_>, error: &Error) -> Answered {
        self.client = None;
        // These end the connection by design.
        if is_one_of(request, &["quit", "shutdown"]) && matches!(error, Error::Closed { .. }) {
            self.was_connected = false;
            return Answered::Good;
        }
        self.output.note(&format!("{error} (whether the last command was done is unknown)"));
        Answered::Lost
    }
}

/// Whether `request` is one of these commands, named in lower case.
pub fn is_one_of(request: Request<'_>, names: &[&str]) -> bool {
    names.iter().any(|name| request.name().eq_ignore_ascii_case(name.as_bytes()))
}
