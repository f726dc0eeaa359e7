//! What a client must know of its connection to make an equal one: login, database, name and protocol, and whether a
//! transaction is open or keys are watched, which no other connection can go on with.
//!
//! Invariant: the state follows the server's replies, never what was only sent. Commands that wait for EXEC change it when
//! EXEC's reply says that they were done.

use crate::address::Address;
use crate::connection::{Connection, Options};
use crate::error::Result;
use kvproto::resp::Version;
use kvproto::{OwnedRequest, Reply, Request};
use std::time::Duration;

/// The state of a connection, for the one that replaces it. The prompt of the program and [`Client`](crate::Client) share
/// it.
#[derive(Debug)]
pub struct SessionState {
    /// Its login and `db` are those of the connection, and of the one that replaces it.
    address: Address,
    /// So are its version and name.
    options: Options,
    /// The commands that EXEC will execute; `None` outside of MULTI.
    queued: Option<Vec<Queued>>,
    is_watching: bool,
    /// What the last connection has taken with it, until that was reported in place of sending a command.
    lost: Option<&'static str>,
    silence: Silence,
    /// The settings of the connection that its successor does not have.
    settings: Vec<&'static str>,
    /// Those that the last connection has taken with it, until that was reported.
    lost_settings: Vec<&'static str>,
}

/// A command that was queued, if it changes the connection's state.
type Queued = Option<OwnedRequest>;

/// Which commands have no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Silence {
    None,
    /// The next one.
    Next,
    All,
}

/// The commands that change the state.
const CHANGES: &[&str] = &[
    "auth",
    "hello",
    "select",
    "client",
    "reset",
    "multi",
    "exec",
    "discard",
    "watch",
    "unwatch",
    "readonly",
    "readwrite",
];
/// Those of them that can be done within a transaction.
const QUEUED_CHANGES: &[&str] = &["auth", "hello", "select", "client", "reset", "readonly", "readwrite"];
/// The settings of a connection that CLIENT turns on and off.
const CLIENT_SETTINGS: &[(&str, &str)] =
    &[("tracking", "CLIENT TRACKING"), ("no-evict", "CLIENT NO-EVICT"), ("no-touch", "CLIENT NO-TOUCH")];

impl SessionState {
    /// Returns the state of a connection that is opened with these.
    pub fn new(address: Address, options: Options) -> SessionState {
        SessionState {
            address,
            options,
            queued: None,
            is_watching: false,
            lost: None,
            silence: Silence::None,
            settings: Vec::new(),
            lost_settings: Vec::new(),
        }
    }

    /// Returns the address with the connection's login and database.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Returns the options with the connection's version and name.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Sets how long to wait for replies, on the connections to come.
    pub fn set_reply_timeout(&mut self, timeout: Option<Duration>) {
        self.options.reply_timeout = timeout;
    }

    /// Opens a connection that nothing was sent on yet; [`SessionState::restore`] makes it equal to the last one.
    pub fn open(&self) -> Result<Connection> {
        Connection::open(&self.address, self.options.clone())
    }

    /// As [`SessionState::open`]; see [`Connection::open_unless`].
    pub fn open_unless(&self, gives_up: impl Fn(Duration) -> bool) -> Result<Connection> {
        Connection::open_unless(&self.address, self.options.clone(), gives_up)
    }

    /// Restores login, protocol, name and database.
    ///
    /// # Errors
    ///
    /// As [`Connection::greet`].
    pub fn restore(&self, connection: &mut Connection) -> Result<()> {
        connection.greet(&self.address, &self.options)
    }

    /// Returns whether commands wait for EXEC.
    pub fn is_in_transaction(&self) -> bool {
        self.queued.is_some()
    }

    /// Returns whether keys are watched.
    pub fn is_watching(&self) -> bool {
        self.is_watching
    }

    /// Returns whether every request has a reply.
    pub fn is_heard(&self) -> bool {
        self.silence == Silence::None
    }

    /// Returns whether the reply to a command of this name has to be passed to [`SessionState::remember`].
    pub fn follows(&self, name: &[u8]) -> bool {
        self.queued.is_some() || CHANGES.iter().any(|change| name.eq_ignore_ascii_case(change.as_bytes()))
    }

    /// Forgets what only the last connection had. An open transaction, or watched keys, become what was lost.
    pub fn disconnect(&mut self) {
        self.silence = Silence::None;
        if self.queued.take().is_some() {
            self.lost = Some("open transaction was");
        } else if self.is_watching {
            self.lost = Some("watched keys were");
        }
        self.is_watching = false;
        self.lost_settings.append(&mut self.settings);
    }

    /// Returns, once, which settings were lost with the last connection: `CLIENT TRACKING, READONLY`.
    pub fn take_lost_settings(&mut self) -> Option<String> {
        let mut lost = std::mem::take(&mut self.lost_settings);
        lost.dedup();
        (!lost.is_empty()).then(|| lost.join(", "))
    }

    /// Forgets an open transaction and watched keys: the command that was sent ends them, however it went.
    pub fn end_transaction(&mut self) {
        (self.queued, self.is_watching) = (None, false);
    }

    /// Returns what was lost with the last connection, with its verb: `open transaction was`.
    pub fn lost(&self) -> Option<&'static str> {
        self.lost
    }

    /// Returns what was lost with the last connection, once.
    pub fn take_lost(&mut self) -> Option<&'static str> {
        self.lost.take()
    }

    /// Returns whether the server sends no reply to `request`, which was just sent; notes whether it sends those to come.
    pub fn is_silent(&mut self, request: Request<'_>) -> bool {
        if is_one_of(request, &["reset"]) {
            // It ends the silence and is heard itself.
            self.silence = Silence::None;
            return false;
        }
        let asked = if self.queued.is_none() { silence_of(request) } else { None };
        let was = self.silence;
        self.silence = match (asked, was) {
            (Some(Silence::All), _) | (None | Some(Silence::Next), Silence::All) => Silence::All,
            (Some(Silence::Next), _) => Silence::Next,
            (Some(Silence::None) | None, _) => Silence::None,
        };
        match asked {
            Some(Silence::None) => false,
            Some(_) => true,
            None => was != Silence::None,
        }
    }

    /// Notes what a reply changes about the next commands, and about the next connection.
    pub fn remember(&mut self, request: Request<'_>, reply: &Reply) {
        if is_one_of(request, &["exec", "discard"]) && request.len() == 1 {
            let queued = self.queued.take().unwrap_or_default();
            self.is_watching = false;
            if is_one_of(request, &["exec"]) {
                self.remember_executed(&queued, reply);
            }
        } else if is_queued(reply) {
            if let Some(queued) = &mut self.queued {
                let changes = is_one_of(request, QUEUED_CHANGES);
                queued.push(changes.then(|| request.to_owned()));
            }
        } else if is_done(request, reply) {
            self.apply(request);
        }
    }

    fn remember_executed(&mut self, queued: &[Queued], reply: &Reply) {
        match reply {
            Reply::Array(replies) => {
                for (request, reply) in queued.iter().zip(replies) {
                    if let Some(request) = request
                        && is_done(request.as_request(), reply)
                    {
                        self.apply(request.as_request());
                    }
                }
            }
            // A line, which shows all replies in one: `(nil)` alone if nothing was executed.
            Reply::Simple(text) if *text != "(nil)" && *text != "OK (nil)" && !text.to_string().contains("ERR") => {
                queued.iter().flatten().for_each(|request| self.apply(request.as_request()));
            }
            _ => {}
        }
    }

    /// Notes what `request`, which the server has done, changes of the connection.
    fn apply(&mut self, request: Request<'_>) {
        let word = |at: usize| request.get(at).map(|word| String::from_utf8_lossy(word).into_owned());
        match (request.name().to_ascii_lowercase().as_slice(), request.len()) {
            (b"multi", _) => self.queued = Some(Vec::new()),
            (b"watch", _) => self.is_watching = true,
            (b"unwatch", _) => self.is_watching = false,
            (b"select", _) => {
                let db = request.get(1).and_then(kvproto::parse_integer);
                if let Some(db) = db.and_then(|db| u32::try_from(db).ok()) {
                    self.address.db = db;
                }
            }
            (b"auth", 2) => (self.address.user, self.address.password) = (None, word(1)),
            (b"auth", _) => (self.address.user, self.address.password) = (word(1), word(2)),
            (b"client", 3) if is_word(request, 1, "setname") => {
                self.options.name = word(2).filter(|name| !name.is_empty());
            }
            (b"client", _) => {
                let setting = CLIENT_SETTINGS.iter().find(|(name, _)| is_word(request, 1, name));
                if let Some((_, setting)) = setting {
                    self.set(setting, is_word(request, 2, "on"));
                }
            }
            (b"readonly", _) => self.set("READONLY", true),
            (b"readwrite", _) => self.set("READONLY", false),
            (b"hello", words) => {
                match request.get(1) {
                    Some(b"3") => self.options.version = Version::Resp3,
                    Some(_) => self.options.version = Version::Resp2,
                    None => {}
                }
                let mut at = 2;
                while at < words {
                    if is_word(request, at, "auth") {
                        (self.address.user, self.address.password) = (word(at + 1), word(at + 2));
                        at += 3;
                    } else if is_word(request, at, "setname") {
                        self.options.name = word(at + 1).filter(|name| !name.is_empty());
                        at += 2;
                    } else {
                        at += 1;
                    }
                }
            }
            (b"reset", _) => {
                (self.address.user, self.address.password, self.address.db) = (None, None, 0);
                (self.options.version, self.options.name) = (Version::Resp2, None);
                (self.queued, self.is_watching, self.silence) = (None, false, Silence::None);
                self.lost = None;
                self.settings.clear();
            }
            _ => {}
        }
    }

    fn set(&mut self, setting: &'static str, on: bool) {
        self.settings.retain(|known| *known != setting);
        if on {
            self.settings.push(setting);
        }
    }
}

/// Returns whether `request` is one of these commands, named in lower case.
pub fn is_one_of(request: Request<'_>, names: &[&str]) -> bool {
    names.iter().any(|name| request.name().eq_ignore_ascii_case(name.as_bytes()))
}

/// Returns whether `request` is CLIENT REPLY, which changes what is replied to.
pub fn is_client_reply(request: Request<'_>) -> bool {
    silence_of(request).is_some()
}

/// Returns whether `request` is CLIENT REPLY OFF or SKIP.
pub fn is_silencing(request: Request<'_>) -> bool {
    silence_of(request).is_some_and(|silence| silence != Silence::None)
}

fn is_word(request: Request<'_>, at: usize, name: &str) -> bool {
    request.get(at).is_some_and(|word| word.eq_ignore_ascii_case(name.as_bytes()))
}

/// Returns what CLIENT REPLY asks for; `None` if `request` is another command.
fn silence_of(request: Request<'_>) -> Option<Silence> {
    if !(is_one_of(request, &["client"]) && is_word(request, 1, "reply") && request.len() == 3) {
        return None;
    }
    [("on", Silence::None), ("off", Silence::All), ("skip", Silence::Next)]
        .into_iter()
        .find_map(|(word, silence)| is_word(request, 2, word).then_some(silence))
}

/// Returns whether the reply says that a command waits for EXEC.
pub fn is_queued(reply: &Reply) -> bool {
    matches!(reply, Reply::Simple(text) if text == "QUEUED" || text == "OK QUEUED")
}

/// Returns whether the reply says that a command that changes the connection's state was done.
fn is_done(request: Request<'_>, reply: &Reply) -> bool {
    match reply {
        Reply::Ok => true,
        Reply::Simple(text) if text == "OK" => true,
        Reply::Simple(text) if is_one_of(request, &["reset"]) => text.as_bytes().ends_with(b"RESET"),
        Reply::Map(_) | Reply::Array(_) | Reply::Simple(_) => is_one_of(request, &["hello"]),
        _ => false,
    }
}
