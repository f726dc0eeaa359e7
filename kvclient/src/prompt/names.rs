//! Names that only the server knows: its commands, its settings, its users, and keys, fetched on a connection of their own.
//!
//! Invariant: the prompt never waits for a server longer than [`WAIT`]. What comes later is there for the next look. Nothing
//! is fetched before it is needed, and a look at keys takes a bounded number of requests.

use crate::syntax::Command;
use crate::syntax::server;
use kvclient::address::Scheme;
use kvclient::{Address, Connection, Options, Reply, Version};
use std::net::IpAddr;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long the prompt waits for names.
const WAIT: Duration = Duration::from_millis(90);
/// How long a server may take before its names are given up.
const SERVER_WAIT: Duration = Duration::from_secs(2);
/// How long an idle connection is kept.
const IDLE: Duration = Duration::from_secs(5);
/// The largest reply taken, in bytes: a description of all commands takes 300 KiB.
const REPLY_BYTES_MAX: usize = 16 << 20;
/// The bounds of a look at keys: how many requests, how long in all, how many keys each request walks, and how many found
/// are enough.
const SCANS_MAX: usize = 64;
const SCAN_TIME: Duration = Duration::from_millis(70);
const SCAN_COUNT: &str = "1000";
const KEYS_MAX: usize = 200;
/// After a connection or a login has failed, the next is tried after this: each may be one more line of a server's log.
const RETRY: Duration = Duration::from_secs(5);
/// Settings and users may change: they are fetched again after this.
const VALID: Duration = Duration::from_secs(5);
/// The name of the connection in CLIENT LIST.
const CONNECTION_NAME: &[u8] = b"kvclient-completion";

/// Whose names they are.
#[derive(Clone, Debug)]
pub struct Target {
    /// With the login and the database.
    pub address: Address,
    /// How to connect.
    pub options: Options,
    /// The number of the prompt's own connection: the next one may be to another program at the same address.
    pub connection: u64,
}

impl PartialEq for Target {
    fn eq(&self, other: &Target) -> bool {
        self.address == other.address && self.connection == other.connection
    }
}

/// What is fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Query {
    Commands,
    Settings,
    Users,
    /// Those that begin so, after the ones that an earlier look has found.
    Keys(Vec<u8>, Arc<Keys>),
}

/// What the server has replied.
#[derive(Clone, Debug)]
enum Known<T> {
    /// It was not requested yet.
    NotFetched,
    /// The reply is awaited.
    Pending,
    /// The server does not say: for good, or until then.
    Refused(Option<Instant>),
    /// What it says, and when it said so.
    Said(T, Instant),
}

impl<T> Known<T> {
    fn said(&self) -> Option<&T> {
        match self {
            Known::Said(what, _) => Some(what),
            _ => None,
        }
    }

    /// Whether it is to be requested. `valid`: how long what was said is good for.
    fn is_due(&self, valid: Option<Duration>) -> bool {
        match self {
            Known::NotFetched => true,
            Known::Pending => false,
            Known::Refused(until) => until.is_some_and(|until| until <= Instant::now()),
            Known::Said(_, at) => valid.is_some_and(|valid| at.elapsed() > valid),
        }
    }
}

/// Keys that begin alike.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// As they are, sorted.
    pub names: Vec<Vec<u8>>,
    /// Where the scan goes on; empty if these are all.
    cursor: Vec<u8>,
}

impl Keys {
    /// Whether no other key begins so.
    pub fn is_complete(&self) -> bool {
        self.cursor.is_empty()
    }
}

/// What is known of one server.
#[derive(Debug)]
struct Facts {
    commands: Known<Arc<Vec<Command>>>,
    settings: Known<Arc<Vec<String>>>,
    users: Known<Arc<Vec<Vec<u8>>>>,
    /// The keys of the last look, and what they begin with.
    keys: (Vec<u8>, Known<Arc<Keys>>),
}

impl Facts {
    fn none() -> Facts {
        Facts {
            commands: Known::NotFetched,
            settings: Known::NotFetched,
            users: Known::NotFetched,
            keys: (Vec::new(), Known::NotFetched),
        }
    }
}

#[derive(Debug)]
struct Shared {
    facts: Mutex<Facts>,
    changed: Condvar,
}

impl Shared {
    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The names of the server that the prompt is connected to.
#[derive(Debug)]
pub struct Names {
    target: Option<Target>,
    /// Until when the prompt waits for all that it needs now.
    until: Option<Instant>,
    shared: Arc<Shared>,
    queries: Option<Sender<Query>>,
}

impl Names {
    /// Names of no server.
    pub fn new() -> Names {
        let shared = Shared { facts: Mutex::new(Facts::none()), changed: Condvar::new() };
        Names { target: None, until: None, shared: Arc::new(shared), queries: None }
    }

    /// From now on the names are those of this server; nothing is requested yet. Another login, or another database, counts
    /// as another server. `None`: there is no connection now, and the names stay those of the last one.
    pub fn set_target(&mut self, target: Option<Target>) {
        if target.is_none() || self.target == target {
            return;
        }
        // The thread ends when it sees that nothing more will be requested; what it still finds is not shown.
        *self = Names { target, ..Names::new() };
    }

    /// Whether keys are completed unless the user chooses: the server is on this machine.
    pub fn is_near(&self) -> bool {
        self.target.as_ref().is_some_and(|target| {
            let address = &target.address;
            let is_loopback = address.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
            address.socket.is_some() || is_loopback || address.host.eq_ignore_ascii_case("localhost")
        })
    }

    /// Begins a wait: what is needed from here on is waited for [`WAIT`] in all.
    pub fn begin_wait(&mut self) {
        self.until = Some(Instant::now() + WAIT);
    }

    /// Returns whether a line may wait for what the server says of its commands: once, and again after the server has failed
    /// to say so.
    pub fn may_wait_for_commands(&self) -> bool {
        matches!(self.shared.facts().commands, Known::NotFetched | Known::Refused(Some(_)))
    }

    /// Returns what the server says of its commands, if that was fetched.
    pub fn known_commands(&self) -> Option<Arc<Vec<Command>>> {
        self.shared.facts().commands.said().cloned()
    }

    /// Returns what the server says of its commands, waiting for it the first time.
    pub fn commands(&mut self) -> Option<Arc<Vec<Command>>> {
        self.fetch(Query::Commands, |facts| &mut facts.commands, None)
    }

    /// Requests what the server says of its commands, if that is not known yet, and does not wait for it.
    pub fn request_commands(&mut self) {
        self.until = Some(Instant::now());
        self.commands();
    }

    /// Returns the names of the server's settings.
    pub fn settings(&mut self) -> Option<Arc<Vec<String>>> {
        self.fetch(Query::Settings, |facts| &mut facts.settings, Some(VALID))
    }

    /// Returns the names of the server's users.
    pub fn users(&mut self) -> Option<Arc<Vec<Vec<u8>>>> {
        self.fetch(Query::Users, |facts| &mut facts.users, Some(VALID))
    }

    /// Returns keys that begin with `prefix`, not all of them if there are many: the next look for the same ones goes on.
    pub fn keys(&mut self, prefix: &[u8]) -> Option<Arc<Keys>> {
        let mut facts = self.shared.facts();
        let is_same = facts.keys.0 == prefix;
        let found = facts.keys.1.said().filter(|keys| is_same && !keys.is_complete()).cloned().unwrap_or_default();
        // Keys come and go: only a look that is still awaited is not begun anew. A refusal holds for all keys.
        match &facts.keys.1 {
            Known::Refused(_) => prefix.clone_into(&mut facts.keys.0),
            Known::Pending if is_same => {}
            _ => facts.keys = (prefix.to_vec(), Known::NotFetched),
        }
        drop(facts);
        self.fetch(Query::Keys(prefix.to_vec(), found), |facts| &mut facts.keys.1, None)
    }

    fn fetch<T>(
        &mut self,
        query: Query,
        field: fn(&mut Facts) -> &mut Known<Arc<T>>,
        valid: Option<Duration>,
    ) -> Option<Arc<T>> {
        let target = self.target.clone()?;
        // Its replies are lines for people.
        if target.address.scheme == Scheme::Line {
            return None;
        }
        let mut facts = self.shared.facts();
        if field(&mut facts).is_due(valid) {
            *field(&mut facts) = Known::Pending;
            drop(facts);
            let queries = self.queries.get_or_insert_with(|| {
                let (queries, received) = mpsc::channel();
                let shared = Arc::clone(&self.shared);
                // It is not waited for: it may be held up by a server that says nothing.
                thread::spawn(move || Fetcher::new(target, shared).run(&received));
                queries
            });
            if queries.send(query).is_err() {
                return None;
            }
            facts = self.shared.facts();
        }
        let until = self.until.unwrap_or_else(|| Instant::now() + WAIT);
        while matches!(field(&mut facts), Known::Pending) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            facts = self.shared.changed.wait_timeout(facts, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        field(&mut facts).said().cloned()
    }
}

/// The thread that fetches them.
struct Fetcher {
    target: Target,
    shared: Arc<Shared>,
    connection: Option<Connection>,
    /// The error that the server has replied.
    refusal: Option<String>,
    /// When a connection or its login failed.
    failed: Option<Instant>,
    /// The server lets the connection have a name, as far as is known.
    is_nameable: bool,
}

impl Fetcher {
    fn new(target: Target, shared: Arc<Shared>) -> Fetcher {
        Fetcher { target, shared, connection: None, refusal: None, failed: None, is_nameable: true }
    }

    fn run(mut self, queries: &Receiver<Query>) {
        loop {
            match queries.recv_timeout(IDLE) {
                Ok(query) => self.find(query),
                Err(RecvTimeoutError::Timeout) => self.connection = None,
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn find(&mut self, query: Query) {
        /// Without any reply it is requested once more when it is needed again.
        fn known<T>(found: Option<T>, refusal: Option<&str>) -> Known<Arc<T>> {
            match (found, refusal) {
                (Some(found), _) => Known::Said(Arc::new(found), Instant::now()),
                (None, Some(text)) if is_lasting(text) => Known::Refused(None),
                (None, Some(_)) => Known::Refused(Some(Instant::now() + RETRY)),
                (None, None) => Known::NotFetched,
            }
        }
        self.refusal = None;
        match query {
            Query::Commands => {
                let commands = self.commands();
                self.shared.facts().commands = known(commands, self.refusal.as_deref());
            }
            Query::Settings => {
                let settings = self.settings();
                self.shared.facts().settings = known(settings, self.refusal.as_deref());
            }
            Query::Users => {
                let users = self.command(&[b"ACL", b"USERS"]).map(|reply| sorted(names(&reply)));
                self.shared.facts().users = known(users, self.refusal.as_deref());
            }
            Query::Keys(prefix, found) => {
                if self.shared.facts().keys.0 != prefix {
                    // Nobody waits for these any more.
                    return;
                }
                let keys = self.keys(&prefix, &found);
                let mut facts = self.shared.facts();
                if facts.keys.0 == prefix {
                    facts.keys.1 = known(keys, self.refusal.as_deref());
                }
            }
        }
        self.shared.changed.notify_all();
    }

    /// Sends a command and returns its reply; `None` if that is an error, or none comes.
    fn command(&mut self, words: &[&[u8]]) -> Option<Reply> {
        // A connection that has ended meanwhile is opened again, once.
        for is_last in [self.connection.is_none(), true] {
            if self.connection.is_none() {
                if self.failed.is_some_and(|at| at.elapsed() < RETRY) {
                    return None;
                }
                let options = Options {
                    version: Version::Resp2,
                    connect_timeout: SERVER_WAIT,
                    reply_timeout: Some(SERVER_WAIT),
                    reply_bytes_max: REPLY_BYTES_MAX,
                    name: None,
                    ..self.target.options.clone()
                };
                let connected = Connection::connect_with(&self.target.address, options);
                self.failed = connected.is_err().then(Instant::now);
                let mut connection = connected.ok()?;
                // A server that does not allow that sees it once only: it may log each try.
                if self.is_nameable {
                    self.is_nameable = connection.command([&b"CLIENT"[..], b"SETNAME", CONNECTION_NAME]).is_ok();
                }
                self.connection = Some(connection);
            }
            match self.connection.as_mut()?.command(words) {
                Ok(reply) => return Some(reply),
                Err(kvclient::Error::Reply(text)) => {
                    self.refusal = Some(text);
                    return None;
                }
                Err(_) => self.connection = None,
            }
            if is_last {
                break;
            }
        }
        None
    }

    fn commands(&mut self) -> Option<Vec<Command>> {
        let list = self.command(&[b"COMMAND"])?;
        // Servers before 7.0 do not explain their commands.
        let docs = self.command(&[b"COMMAND", b"DOCS"]).unwrap_or_default();
        Some(server::commands(&list, &docs)).filter(|commands| !commands.is_empty())
    }

    fn settings(&mut self) -> Option<Vec<String>> {
        let reply = self.command(&[b"CONFIG", b"GET", b"*"])?;
        // Names and values in turn; the values may be secrets, and are dropped here.
        let names = names(&reply).into_iter().step_by(2).filter_map(|name| String::from_utf8(name).ok());
        Some(sorted(names.filter(|name| server::is_name(name)).collect()))
    }

    /// Goes on from the keys that were `found` before.
    fn keys(&mut self, prefix: &[u8], found: &Keys) -> Option<Keys> {
        let pattern = pattern_of(prefix);
        let begun = Instant::now();
        let mut cursor = if found.is_complete() { b"0".to_vec() } else { found.cursor.clone() };
        let mut keys = found.names.clone();
        for _ in 0..SCANS_MAX {
            let reply = self.command(&[b"SCAN", &cursor, b"MATCH", &pattern, b"COUNT", SCAN_COUNT.as_bytes()])?;
            let Reply::Array(parts) = reply else { return None };
            let (Some(Reply::Bulk(next)), Some(Reply::Array(found))) = (parts.first(), parts.get(1)) else {
                return None;
            };
            keys.extend(found.iter().filter_map(|key| match key {
                Reply::Bulk(key) => Some(key.to_vec()),
                _ => None,
            }));
            cursor = next.to_vec();
            if cursor == b"0" || keys.len() >= KEYS_MAX || begun.elapsed() > SCAN_TIME {
                break;
            }
        }
        let is_complete = cursor == b"0" && keys.len() <= KEYS_MAX;
        let mut keys = sorted(keys);
        keys.truncate(KEYS_MAX);
        Some(Keys { names: keys, cursor: if is_complete { Vec::new() } else { cursor } })
    }
}

/// The glob pattern of whatever begins with `prefix`.
fn pattern_of(prefix: &[u8]) -> Vec<u8> {
    let mut pattern = Vec::with_capacity(prefix.len() + 1);
    for &byte in prefix {
        if matches!(byte, b'*' | b'?' | b'[' | b']' | b'^' | b'-' | b'\\') {
            pattern.push(b'\\');
        }
        pattern.push(byte);
    }
    pattern.push(b'*');
    pattern
}

/// Whether an error will be the same the next time.
fn is_lasting(error: &str) -> bool {
    ["NOPERM", "ERR unknown command", "ERR unknown subcommand"].iter().any(|begin| error.starts_with(begin))
}

/// The elements of a list, as they are.
fn names(reply: &Reply) -> Vec<Vec<u8>> {
    match reply {
        Reply::Array(items) | Reply::Set(items) => items.iter().map(name).collect(),
        Reply::Map(pairs) => pairs.iter().flat_map(|(key, value)| [name(key), name(value)]).collect(),
        _ => Vec::new(),
    }
}

fn name(reply: &Reply) -> Vec<u8> {
    match reply {
        Reply::Bulk(bytes) => bytes.to_vec(),
        other => server::text(other).unwrap_or_default().into_bytes(),
    }
}

fn sorted<T: Ord>(mut names: Vec<T>) -> Vec<T> {
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn names_of(address: &str) -> Names {
        let mut names = Names::new();
        let target = Target { address: address.parse().unwrap(), options: Options::default(), connection: 1 };
        names.set_target(Some(target));
        names
    }

    /// A server that replies with `reply` to each command; returns its address, and how many connections there were.
    fn fake(mut reply: impl FnMut(&[String]) -> Option<&'static str> + Send + 'static) -> (String, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&accepted);
        thread::spawn(move || {
            for stream in listener.incoming() {
                count.fetch_add(1, Ordering::SeqCst);
                let mut stream = BufReader::new(stream.unwrap());
                while let Some(words) = read_request(&mut stream) {
                    if let Some(reply) = reply(&words) {
                        stream.get_mut().write_all(reply.as_bytes()).unwrap();
                    }
                }
            }
        });
        (address, accepted)
    }

    fn read_request(stream: &mut impl BufRead) -> Option<Vec<String>> {
        let mut line = || {
            let mut line = String::new();
            (stream.read_line(&mut line).ok()? > 0).then(|| line.trim_end().to_owned())
        };
        let count: usize = line()?.strip_prefix('*')?.parse().ok()?;
        // The words of these tests hold no end of a line.
        (0..count).map(|_| line().and_then(|_| line())).collect()
    }

    /// Looks until there is something: a slow machine may need a second look.
    fn found<T>(mut look: impl FnMut() -> Option<T>) -> T {
        for _ in 0..1000 {
            if let Some(found) = look() {
                return found;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("nothing was found");
    }

    #[test]
    fn a_login_that_fails_is_not_tried_at_each_keystroke() {
        let (address, accepted) = fake(|_| Some("-WRONGPASS invalid password\r\n"));
        let mut names = names_of(&format!("redis://:old@{address}"));
        for look in 0..20 {
            assert_eq!(names.users(), None);
            assert_eq!(names.keys(look.to_string().as_bytes()), None);
        }
        assert_eq!(accepted.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn what_is_not_permitted_is_requested_once() {
        let scans = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&scans);
        let (address, _) = fake(move |words| {
            count.fetch_add(usize::from(words[0] == "SCAN"), Ordering::SeqCst);
            Some("-NOPERM this user has no permissions\r\n")
        });
        let mut names = names_of(&format!("redis://{address}"));
        names.keys(b"a");
        found(|| matches!(names.shared.facts().keys.1, Known::Refused(None)).then_some(()));
        for prefix in [b"a", b"b", b"c"] {
            assert_eq!(names.keys(prefix), None);
        }
        assert_eq!(scans.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_scan_that_is_not_over_goes_on_at_the_next_look() {
        let (address, _) = fake(|words| match (words[0].as_str(), words.get(1).map(String::as_str)) {
            ("SCAN", Some("0")) => Some("*2\r\n$1\r\n7\r\n*1\r\n$2\r\nk1\r\n"),
            // The bound of one look ends it here.
            ("SCAN", Some("7")) => {
                thread::sleep(SCAN_TIME);
                Some("*2\r\n$1\r\n8\r\n*0\r\n")
            }
            ("SCAN", Some("8")) => Some("*2\r\n$1\r\n0\r\n*1\r\n$2\r\nk2\r\n"),
            _ => Some("+OK\r\n"),
        });
        let mut names = names_of(&format!("redis://{address}"));
        let first = found(|| names.keys(b"k"));
        assert_eq!((first.names.as_slice(), first.is_complete()), (&[b"k1".to_vec()][..], false));
        let all = found(|| names.keys(b"k"));
        assert_eq!((all.names.as_slice(), all.is_complete()), (&[b"k1".to_vec(), b"k2".to_vec()][..], true));
    }

    #[test]
    fn users_are_fetched_again() {
        let mut names = names_of("redis://127.0.0.1");
        let long_ago = Instant::now().checked_sub(VALID * 2).unwrap();
        assert!(Known::Said((), long_ago).is_due(Some(VALID)));
        assert!(!Known::Said((), Instant::now()).is_due(Some(VALID)));
        assert!(!Known::Said((), long_ago).is_due(None));
        names.shared.facts().users = Known::Refused(Some(long_ago));
        assert!(names.shared.facts().users.is_due(Some(VALID)));
        names.shared.facts().users = Known::Refused(None);
        assert_eq!(names.users(), None);
    }

    #[test]
    fn a_prefix_is_no_pattern() {
        assert_eq!(pattern_of(b"a[*?\\"), b"a\\[\\*\\?\\\\*");
    }

    #[test]
    fn names_are_fetched_from_the_server() {
        let (server, mut client) = include!("../../doctests/server.in");
        let place = server.addresses()[0].tcp().unwrap();
        for key in ["user:1", "user:2", "use*", "other"] {
            client.set(key, "x").unwrap();
        }
        let mut names = names_of(&format!("redis://{place}"));
        assert!(names.is_near());
        let keys = |names: &mut Names, prefix: &str| {
            found(|| names.keys(prefix.as_bytes()))
                .names
                .iter()
                .map(|key| String::from_utf8_lossy(key).into_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(keys(&mut names, "user:"), ["user:1", "user:2"]);
        assert_eq!(keys(&mut names, "use*"), ["use*"]);
        assert_eq!(keys(&mut names, ""), ["other", "use*", "user:1", "user:2"]);
        assert!(names.known_commands().is_none());
        let commands = found(|| names.commands());
        assert!(commands.iter().any(|command| command.name == "set" && command.args.len() > 2));
        assert!(found(|| names.settings()).iter().any(|name| name == "maxmemory"));
        assert_eq!(*found(|| names.users()), [b"default".to_vec()]);
        drop(server);
    }

    #[test]
    fn names_are_fetched_anew_for_a_new_connection() {
        let mut names = names_of("redis://127.0.0.1");
        names.shared.facts().users = Known::Said(Arc::new(vec![b"alice".to_vec()]), Instant::now());
        let mut target = names.target.clone();
        names.set_target(target.clone());
        assert!(names.users().is_some());
        names.set_target(None);
        assert!(names.users().is_some(), "the names stay while there is no connection");
        // The connection was lost and made again while one command ran.
        target.as_mut().unwrap().connection = 2;
        names.set_target(target);
        assert!(matches!(names.shared.facts().users, Known::NotFetched));
    }

    #[test]
    fn a_server_that_says_nothing_holds_nobody_up() {
        let requests = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&requests);
        let (address, accepted) = fake(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
            None
        });
        let mut names = names_of(&format!("redis://{address}"));
        names.begin_wait();
        assert_eq!(names.keys(b"a"), None);
        assert_eq!(names.users(), None);
        // The query is not sent a second time while it is open.
        assert_eq!(names.keys(b"a"), None);
        assert!(
            matches!(names.shared.facts().keys.1, Known::Pending),
            "the server was given up while the prompt waited"
        );
        found(|| (requests.load(Ordering::SeqCst) > 0).then_some(()));
        assert_eq!((accepted.load(Ordering::SeqCst), requests.load(Ordering::SeqCst)), (1, 1));
    }

    #[test]
    fn only_a_server_on_this_machine_is_near() {
        for (address, near) in [
            ("redis://127.0.0.1", true),
            ("redis://localhost", true),
            ("redis://[::1]", true),
            ("unix:///s", true),
            ("redis://10.0.0.1", false),
            ("redis://example.org", false),
        ] {
            assert_eq!(names_of(address).is_near(), near, "{address}");
        }
    }
}
