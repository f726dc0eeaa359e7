//! A conversation that outlives its connection: connects when needed, again when the server was restarted, and restores
//! the login, the database, the connection's name and the protocol.
//!
//! Invariant: a command is sent at most once, and only to a connection in the state in which it was typed. Whether a
//! connection still stands is checked before it is sent; if it breaks afterwards that is shown, since only the user
//! knows whether it may be done twice. What a transaction or a watch has lost is not sent to a new connection. A reply that
//! is not awaited any longer takes its connection with it, so that it cannot be read as the next command's.

mod redirection;

use crate::output::{Output, Style};
use crate::signals::Signals;
use kvclient::address::Scheme;
use kvclient::session_state::{SessionState, is_client_reply, is_silencing};
use kvclient::{Address, Connection, Error, Options, Reply};
use kvproto::{OwnedRequest, Request};
use redirection::Redirection;
use std::io;
use std::time::Duration;

pub use kvclient::session_state::is_one_of;

/// How a command went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The server did it.
    Good,
    /// The server's reply is an error.
    Error,
    /// The connection broke before the reply came.
    Lost,
    /// There is no connection that it could be sent to.
    NotSent,
}

/// A conversation with one server.
#[derive(Debug)]
pub struct Session {
    state: SessionState,
    output: Output,
    signals: Signals,
    client: Option<Connection>,
    /// How many connections there were.
    connections: u64,
    was_connected: bool,
    /// The connection has its login, name and database; one that has not is given them before the next command.
    is_greeted: bool,
    /// The server refused the login, the name or the database: only what may change that is sent.
    is_refused: bool,
    /// Somebody is there to type another command.
    is_at_prompt: bool,
    /// Redirections of a cluster's nodes are followed: always, or only of the server at hand.
    follows_redirections: bool,
    is_cluster: bool,
    /// The last error reply.
    error: String,
}

/// How often a command is redirected before it is given up. While slots move, two or three are usual.
const REDIRECTIONS_MAX: usize = 8;

/// How often a stream of messages looks whether Ctrl-C was pressed.
const STREAM_TICK: Duration = Duration::from_millis(100);

/// How long after Ctrl-C the prompt waits at most for a new connection.
const REOPEN_WAIT: Duration = Duration::from_millis(200);

/// The commands whose replies are messages, until Ctrl-C.
const STREAMS: &[&str] = &["subscribe", "psubscribe", "ssubscribe", "monitor"];
/// The commands that confirm each of their words.
const UNSUBSCRIBES: &[&str] = &["unsubscribe", "punsubscribe", "sunsubscribe"];
/// The commands that may turn a refused connection into a good one.
const LOGINS: &[&str] = &["auth", "hello", "select", "reset"];

/// Commands whose errors are written by the authors of scripts and libraries.
const SCRIPTS: &[&str] = &["eval", "eval_ro", "evalsha", "evalsha_ro", "fcall", "fcall_ro"];

impl Session {
    /// A conversation not yet begun.
    pub fn new(address: Address, options: Options, output: Output, signals: Signals) -> Session {
        Session {
            state: SessionState::new(address, options),
            output,
            signals,
            client: None,
            connections: 0,
            was_connected: false,
            is_greeted: false,
            is_refused: false,
            is_at_prompt: false,
            follows_redirections: false,
            is_cluster: false,
            error: String::new(),
        }
    }

    /// The text of the reply after [`Outcome::Error`].
    pub fn error(&self) -> &str {
        &self.error
    }

    /// From now on a command that a node of a cluster redirects is sent to the node that it names, and the session stays
    /// there. The login goes with it: nodes of a cluster share it, and the node that redirects has it already.
    pub fn follow_redirections(&mut self) {
        self.follows_redirections = true;
    }

    /// Sets whether redirections are followed from this server on, if they are not always.
    pub fn set_cluster(&mut self, is_cluster: bool) {
        self.is_cluster = is_cluster;
    }

    fn follows(&self) -> bool {
        (self.follows_redirections || self.is_cluster) && !self.sends_lines()
    }

    /// From now on it is said what to type where the server refuses the login, and Ctrl-C ends the wait for a reply
    /// instead of the program.
    pub fn begin_prompt(&mut self) {
        self.is_at_prompt = true;
        self.signals.begin_prompt();
        self.output.set_interrupt(self.signals.flag());
    }

    /// Whether Ctrl-C was pressed since [`Session::clear_interrupt`].
    pub fn is_interrupted(&self) -> bool {
        self.signals.pressed()
    }

    /// Forgets that Ctrl-C was pressed.
    pub fn clear_interrupt(&self) {
        self.signals.clear();
    }

    /// Returns the server, and the database that is selected.
    pub fn address(&self) -> &Address {
        self.state.address()
    }

    /// Opens a connection that nothing was sent on yet. At the prompt Ctrl-C interrupts it.
    fn open(&self) -> kvclient::Result<Connection> {
        if self.is_at_prompt { self.open_unless(|_| self.signals.pressed()) } else { self.state.open() }
    }

    fn open_unless(&self, gives_up: impl Fn(Duration) -> bool) -> kvclient::Result<Connection> {
        let mut connection = self.state.open_unless(gives_up)?;
        connection.set_interrupt(self.signals.flag())?;
        Ok(connection)
    }

    /// Opens another connection with the same login, name, protocol and database, for what must leave this one as it is.
    pub fn open_second(&self) -> kvclient::Result<Connection> {
        let mut connection = self.open()?;
        self.state.restore(&mut connection)?;
        Ok(connection)
    }

    /// Goes over to another server, which is connected to before the old connection is given up. The connection's name and
    /// protocol stay.
    ///
    /// # Errors
    ///
    /// Those of the new connection; the old one stays then.
    pub fn connect_to(&mut self, address: Address) -> kvclient::Result<()> {
        let state = SessionState::new(address, self.state.options().clone());
        let mut before = std::mem::replace(&mut self.state, state);
        match self.open_second() {
            Ok(connection) => {
                self.client = Some(connection);
                self.connections += 1;
                (self.was_connected, self.is_greeted, self.is_refused) = (true, true, false);
                before.disconnect();
                if let Some(lost @ "watched keys were") = before.take_lost() {
                    self.output.note(&format!("The {lost} dropped with the old connection."));
                }
                self.note_lost_settings(before.take_lost_settings());
                Ok(())
            }
            Err(error) => {
                self.state = before;
                Err(error)
            }
        }
    }

    /// Returns how to make a connection like this one, unless there is none or the server refuses it.
    pub fn target(&self) -> Option<(Address, Options)> {
        let is_usable = self.client.is_some() && !self.is_refused;
        is_usable.then(|| (self.state.address().clone(), self.state.options().clone()))
    }

    /// Returns how many connections there were, the present one included.
    pub fn connections(&self) -> u64 {
        self.connections
    }

    /// Where replies go.
    pub fn output(&mut self) -> &mut Output {
        &mut self.output
    }

    /// Returns whether there is a connection.
    pub fn has_connection(&self) -> bool {
        self.client.is_some()
    }

    /// Returns what the user has to know of the connection before the next command.
    pub fn state_text(&self) -> String {
        let transaction = if self.state.is_in_transaction() { "(TX)" } else { "" };
        let refused = if self.is_refused { "(refused)" } else { "" };
        format!("{transaction}{refused}")
    }

    /// Connects and logs in if that is needed; false, with the reason shown, if it fails.
    pub fn connect(&mut self) -> bool {
        if self.is_open() {
            return self.is_greeted || self.greet();
        }
        match self.open() {
            Ok(client) => {
                if self.was_connected {
                    self.output.note(&format!("Reconnected to {}.", self.state.address()));
                }
                self.client = Some(client);
                self.connections += 1;
                self.was_connected = true;
                self.greet()
            }
            Err(_) if self.is_cancelled() => {
                let address = self.state.address();
                self.output.note(&format!("Cancelled: not connected to {address}. The next command tries again."));
                false
            }
            Err(error) => {
                self.output.note(&error.to_string());
                false
            }
        }
    }

    /// Whether there is a connection; one that has ended meanwhile is given up.
    fn is_open(&mut self) -> bool {
        let Some(client) = &mut self.client else {
            return false;
        };
        let is_open = client.is_connected();
        if !is_open || (self.is_at_prompt && !self.show_unawaited()) {
            self.give_up();
            return false;
        }
        true
    }

    /// Shows what has arrived while nothing was awaited, so that it is not read as the reply to the next command; false if
    /// that is no reply.
    fn show_unawaited(&mut self) -> bool {
        while let Some(client) = &mut self.client {
            match client.take_arrived() {
                Ok(Some(reply)) => {
                    if !matches!(reply, Reply::Push(_)) {
                        self.output.note("The server sent what no command had asked for:");
                    }
                    // A terminal that is gone ends the prompt at the next reply.
                    let _ = self.output.print(OwnedRequest::from_words(["PING"]).as_request(), &reply);
                }
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
        false
    }

    /// Restores what the connection has to have; false, with the reason shown, if the server refuses.
    fn greet(&mut self) -> bool {
        let Some(client) = &mut self.client else {
            return false;
        };
        match self.state.restore(client) {
            Ok(()) => {
                (self.is_greeted, self.is_refused) = (true, false);
                let lost = self.state.take_lost_settings();
                self.note_lost_settings(lost);
                return true;
            }
            Err(error @ Error::Refused { .. }) => {
                (self.is_greeted, self.is_refused) = (false, true);
                self.output.note(&error.to_string());
            }
            Err(_) if self.is_cancelled() => {
                self.give_up();
                self.output.note("Cancelled: the server has not replied to the login. The next command tries again.");
            }
            Err(error) => {
                self.give_up();
                self.output.note(&error.to_string());
            }
        }
        false
    }

    /// Says what the new connection does not have of the old one's settings.
    fn note_lost_settings(&self, lost: Option<String>) {
        if let Some(lost) = lost {
            self.output.note(&format!("The new connection is without {lost} of the old one."));
        }
    }

    /// Forgets the connection, and what only it had.
    fn give_up(&mut self) {
        self.client = None;
        (self.is_greeted, self.is_refused) = (false, false);
        self.state.disconnect();
    }

    /// Whether Ctrl-C has ended a wait for the server.
    fn is_cancelled(&self) -> bool {
        self.is_at_prompt && self.signals.pressed()
    }

    /// Makes a connection ready for `request`; false, with the reason shown, if it must not be sent.
    pub fn is_ready_for(&mut self, request: Request<'_>) -> bool {
        let logs_in = is_one_of(request, LOGINS);
        // Before a login it need not be said once more that one is missing.
        let is_ready = (logs_in && self.is_open() && self.is_refused) || self.connect();
        if self.client.is_none() {
            return false;
        }
        let name = String::from_utf8_lossy(request.name()).to_ascii_uppercase();
        if self.is_refused {
            if !logs_in && self.is_at_prompt {
                let lost = self.state.take_lost().map(|what| format!(" The {what} lost with the old connection."));
                let hint = format!("'{name}' was not sent. AUTH logs in, SELECT chooses a database.");
                self.output.note(&(hint + &lost.unwrap_or_default()));
            }
            return logs_in;
        }
        // A login is no part of what was lost, and always possible.
        if !is_one_of(request, &["auth", "hello", "reset"])
            && let Some(what) = self.state.take_lost()
        {
            self.output.note(&format!("The {what} lost with the old connection; '{name}' was not sent."));
            return false;
        }
        is_ready
    }

    /// Sends `request` and prints what comes back; of a subscription, all of it until Ctrl-C.
    pub fn run(&mut self, request: &OwnedRequest) -> io::Result<Outcome> {
        self.exchange(request.as_request(), |client| client.send(request.as_request()), None)
    }

    /// The same for a line of the line protocol, sent as it was typed; `request` is its words.
    pub fn run_line(&mut self, request: &OwnedRequest, line: &[u8]) -> io::Result<Outcome> {
        self.exchange(request.as_request(), |client| client.send_line(line), None)
    }

    /// Sends `request`, which is no stream, or `line` if there is one; each reply is passed to `show`.
    pub fn run_shown(
        &mut self,
        request: &OwnedRequest,
        line: Option<&[u8]>,
        show: &mut dyn FnMut(Reply),
    ) -> io::Result<Outcome> {
        match line {
            Some(line) => self.exchange(request.as_request(), |client| client.send_line(line), Some(show)),
            None => self.exchange(request.as_request(), |client| client.send(request.as_request()), Some(show)),
        }
    }

    /// Whether lines are sent as they were typed.
    pub fn sends_lines(&self) -> bool {
        self.state.address().scheme == Scheme::Line
    }

    /// Whether the replies to `request` are messages until Ctrl-C.
    pub fn streams(&self, request: Request<'_>) -> bool {
        !self.state.is_in_transaction() && is_one_of(request, STREAMS)
    }

    /// Whether `request` can be sent ahead of others: it has exactly one reply, and the connection goes on after it.
    pub fn has_one_reply(&self, request: Request<'_>) -> bool {
        self.state.is_heard()
            && !self.is_refused
            // One that is redirected is sent again before the next one is sent.
            && !self.follows()
            && !is_one_of(request, &["auth", "hello", "reset"])
            && !is_one_of(request, STREAMS)
            && !is_one_of(request, UNSUBSCRIBES)
            && !is_one_of(request, &["shutdown"])
            && !is_client_reply(request)
    }

    /// Whether commands wait for EXEC.
    pub fn is_in_transaction(&self) -> bool {
        self.state.is_in_transaction()
    }

    /// The connection, if there is one.
    pub fn client(&mut self) -> Option<&mut Connection> {
        self.client.as_mut()
    }

    /// Runs `ask` on a connection in this state that has replies: this one, or outside of an open transaction, or of
    /// silence, a second one. `None` if there is none; the reason was shown.
    pub fn aside<T>(
        &mut self,
        ask: impl FnOnce(&mut Connection) -> kvclient::Result<T>,
    ) -> Option<kvclient::Result<T>> {
        if !self.connect() {
            return None;
        }
        if self.state.is_in_transaction() || !self.state.is_heard() {
            return Some(self.open_second().and_then(|mut connection| ask(&mut connection)));
        }
        let asked = ask(self.client.as_mut()?);
        if self.client.as_mut().is_some_and(|client| !client.is_connected()) {
            self.give_up();
        }
        Some(asked)
    }

    /// Returns how many keys the selected database has; `None` if the server does not say.
    pub fn count_keys(&mut self) -> Option<i64> {
        match self.aside(|connection| connection.command(["DBSIZE"]))?.ok()? {
            Reply::Integer(count) => Some(count),
            // A line, which begins with OK in the terse style.
            Reply::Simple(text) => text.to_string().trim_start_matches("OK ").parse().ok(),
            _ => None,
        }
    }

    fn exchange(
        &mut self,
        request: Request<'_>,
        send: impl Fn(&mut Connection) -> kvclient::Result<()>,
        mut show: Option<&mut dyn FnMut(Reply)>,
    ) -> io::Result<Outcome> {
        if !self.is_ready_for(request) {
            return Ok(Outcome::NotSent);
        }
        if self.is_at_prompt && self.state.is_in_transaction() && breaks_exec(request) {
            let name = String::from_utf8_lossy(request.name()).to_ascii_uppercase();
            self.output.note(&format!(
                "'{name}' was not sent: its replies cannot be told apart in those to EXEC. EXEC or DISCARD first."
            ));
            return Ok(Outcome::NotSent);
        }
        if self.state.is_heard() && !self.state.is_in_transaction() && is_silencing(request) {
            // Where it is refused, the error comes although no reply is awaited. This one is refused for the same reasons,
            // has a reply, and changes nothing.
            let probe = OwnedRequest::from_words(["CLIENT", "REPLY", "ON"]);
            let mut replies = Vec::new();
            let outcome = self.run_shown(&probe, None, &mut |reply| replies.push(reply))?;
            for reply in replies.into_iter().filter(|reply| outcome != Outcome::Good || matches!(reply, Reply::Push(_)))
            {
                match &mut show {
                    Some(show) => show(reply),
                    None => self.output.print(request, &reply)?,
                }
            }
            if outcome != Outcome::Good {
                return Ok(outcome);
            }
        }
        if let Some(client) = &mut self.client
            && let Err(error) = send(client)
        {
            return Ok(self.lose(request, &error));
        }
        if self.streams(request) {
            return self.stream(request);
        }
        if self.state.is_silent(request) {
            self.remember(request, &Reply::Ok);
            return Ok(Outcome::Good);
        }
        let confirmations = is_one_of(request, UNSUBSCRIBES) && !self.state.is_in_transaction();
        let mut awaited = if confirmations { request.len().saturating_sub(1).max(1) } else { 1 };
        let mut outcome = Outcome::Good;
        let mut redirections = 0;
        while awaited > 0 {
            let Some(client) = &mut self.client else {
                return Ok(Outcome::Lost);
            };
            let mut reply = match client.receive() {
                Ok(reply) => reply,
                Err(error) => return Ok(self.lose(request, &error)),
            };
            if let Some(redirection) = self.redirection(request, &reply) {
                redirections += 1;
                match self.follow(&redirection, redirections) {
                    Ok(()) => {
                        if let Some(client) = &mut self.client
                            && let Err(error) = send(client)
                        {
                            return Ok(self.lose(request, &error));
                        }
                        continue;
                    }
                    Err(why) => reply = not_followed(&reply, &why),
                }
            }
            if show.is_none() {
                self.output.print(request, &reply)?;
            }
            if !matches!(reply, Reply::Push(_)) || (confirmations && is_about(&reply, request)) {
                awaited -= 1;
                if let Reply::Error(text) = &reply {
                    self.error = text.to_string();
                    outcome = Outcome::Error;
                    awaited = 0;
                }
                self.remember(request, &reply);
            }
            if let Some(show) = &mut show {
                show(reply);
            }
        }
        if self.is_refused && outcome == Outcome::Good {
            // What had to wait for the login.
            self.greet();
        }
        Ok(outcome)
    }

    /// Returns where the server redirects `request` to, if redirections are followed. A login is never redirected, so
    /// whoever says so gets none.
    fn redirection(&self, request: Request<'_>, reply: &Reply) -> Option<Redirection> {
        match reply {
            Reply::Error(_) if !self.follows() || is_one_of(request, LOGINS) => None,
            // Its author may be another user of the server, and must not choose who is sent the login.
            Reply::Error(_) if is_one_of(request, SCRIPTS) && self.state.address().password.is_some() => None,
            Reply::Error(text) => Redirection::parse(&text.to_string()),
            _ => None,
        }
    }

    /// Goes over to the node that the server names.
    ///
    /// # Errors
    ///
    /// Why the session stays where it is.
    fn follow(&mut self, to: &Redirection, redirections: usize) -> std::result::Result<(), String> {
        let from = self.state.address();
        if redirections > REDIRECTIONS_MAX {
            return Err(format!("it was redirected {REDIRECTIONS_MAX} times"));
        }
        if self.state.is_in_transaction() {
            return Err(format!("a transaction stays with one node, here {from}; DISCARD ends it"));
        }
        if self.state.is_watching() {
            return Err(format!("keys are watched at {from}; UNWATCH ends that"));
        }
        if to.host.is_empty() && from.socket.is_some() {
            return Err("no host is named; connect to one with -h instead of a socket".to_owned());
        }
        let host = if to.host.is_empty() { from.host.clone() } else { to.host.clone() };
        let address = Address { host, port: to.port, socket: None, ..from.clone() };
        if self.is_at_prompt || self.output.style() == Style::Pretty {
            self.output.note(&format!("-> Redirected to slot [{}] located at {address}", to.slot));
        }
        // Other nodes name this one, and then the connection at hand will do.
        if address != *from {
            self.connect_to(address).map_err(|error| error.to_string())?;
        }
        if let (true, Some(client)) = (to.is_asking, &mut self.client) {
            client.command(["ASKING"]).map_err(|error| format!("ASKING: {error}"))?;
        }
        Ok(())
    }

    /// Goes over to the node that has `key`, if redirections are followed: for what looks at a key on connections of its
    /// own. What keeps it here shows where the key is read.
    pub fn go_to_key(&mut self, key: &[u8]) -> io::Result<()> {
        if self.follows() && !self.state.is_in_transaction() {
            let request = OwnedRequest::from_words([b"EXISTS".as_slice(), key]);
            self.run_shown(&request, None, &mut |_| {})?;
        }
        Ok(())
    }

    /// Prints messages until Ctrl-C; the connection ends with them.
    fn stream(&mut self, request: Request<'_>) -> io::Result<Outcome> {
        self.signals.begin_stream();
        let streamed = self.print_messages(request);
        self.signals.end_stream();
        streamed
    }

    fn print_messages(&mut self, request: Request<'_>) -> io::Result<Outcome> {
        let Some(mut client) = self.client.take() else {
            return Ok(Outcome::Lost);
        };
        let mut confirmed = false;
        while !self.signals.pressed() {
            match client.receive_within(STREAM_TICK) {
                Ok(None) => {}
                Ok(Some(reply)) => {
                    self.output.print(request, &reply)?;
                    if let (false, Reply::Error(text)) = (confirmed, &reply) {
                        self.error = text.to_string();
                        // Refused: the connection is as it was.
                        self.client = Some(client);
                        return Ok(Outcome::Error);
                    }
                    confirmed = true;
                }
                Err(error) => {
                    self.give_up();
                    self.output.note(&format!("{error}; no messages are received any more"));
                    return Ok(Outcome::Lost);
                }
            }
        }
        self.give_up();
        // Not a reconnection worth telling of: the next command connects anew.
        self.was_connected = false;
        Ok(Outcome::Good)
    }

    /// Notes what a reply changes about the next commands, and about the next connection.
    pub fn remember(&mut self, request: Request<'_>, reply: &Reply) {
        self.state.remember(request, reply);
    }

    /// The connection broke after `request` was sent, or while it was.
    fn lose(&mut self, request: Request<'_>, error: &Error) -> Outcome {
        // What these end is not lost, however they went.
        if is_one_of(request, &["exec", "discard", "quit", "shutdown"]) {
            self.state.end_transaction();
        }
        self.give_up();
        if is_one_of(request, &["quit", "shutdown"]) && matches!(error, Error::Closed { .. }) {
            // By design.
            self.was_connected = false;
            return Outcome::Good;
        }
        let lost = self.state.lost().map(|what| format!("; the {what} lost")).unwrap_or_default();
        if self.is_cancelled() {
            let name = String::from_utf8_lossy(request.name()).to_ascii_uppercase();
            self.output
                .note(&format!("Cancelled: '{name}' may still be done, its reply is not awaited any longer{lost}."));
            // The reply may still come, on the old connection. A server that does not reply at all may not even reply to a
            // login: that waits for the next command, and so does a connection that does not open soon.
            self.client = self.open_unless(|waited| waited >= REOPEN_WAIT).ok();
            self.connections += u64::from(self.client.is_some());
            return Outcome::Lost;
        }
        match error.outcome() {
            // It says so itself.
            kvclient::Outcome::NotSent if lost.is_empty() => self.output.note(&error.to_string()),
            kvclient::Outcome::NotSent => self.output.note(&format!("{error}{lost}")),
            _ => self.output.note(&format!("{error} (whether the last command was done is unknown{lost})")),
        }
        Outcome::Lost
    }

    /// The connection broke with several commands under way.
    pub fn lose_all(&mut self, error: &Error) {
        self.give_up();
        self.output.note(&error.to_string());
    }
}

/// Returns an error reply with the reason why it was not followed.
fn not_followed(reply: &Reply, why: &str) -> Reply {
    match reply {
        Reply::Error(text) => Reply::error(format!("{text} (not followed: {why})")),
        reply => reply.clone(),
    }
}

/// Whether EXEC would have more or fewer replies with `request`, or other commands after it.
fn breaks_exec(request: Request<'_>) -> bool {
    is_one_of(request, STREAMS) || is_one_of(request, UNSUBSCRIBES) || is_client_reply(request)
}

/// Whether a pushed message is a confirmation of `request`.
fn is_about(push: &Reply, request: Request<'_>) -> bool {
    match push {
        Reply::Push(items) => match items.first() {
            Some(Reply::Bulk(kind)) => kind.eq_ignore_ascii_case(request.name()),
            _ => false,
        },
        _ => false,
    }
}
