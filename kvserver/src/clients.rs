//! Who is connected: what one connection shows of itself to others (CLIENT LIST, INFO), and the list of all.
//!
//! Invariant: a loop writes what it shows with plain stores to its own clients' records, once an iteration, so that being
//! listed costs a request nothing.

pub(crate) mod pause;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use kvcore::Db;
use parking_lot::Mutex;

use self::pause::Pause;

use crate::acl::Account;
use crate::net::stream::Stream;
use kvcommands::acl::User;
use kvstats::slow::Caller;

/// The least and the most that Redis gives a client as a reply buffer.
const REPLY_BUFFER_BYTES: (usize, usize) = (1024, 16 * 1024);

/// The letters that may stand for a client's state in CLIENT LIST. Some are of what is not here, such as replicas.
pub(crate) const FLAGS: [char; 21] =
    ['A', 'B', 'E', 'I', 'M', 'N', 'O', 'P', 'R', 'S', 'T', 'U', 'b', 'c', 'd', 'e', 'i', 'r', 't', 'u', 'x'];

/// What a connection takes while it holds no bytes.
pub(crate) const CLIENT_BYTES: u64 = 1024;

/// One connection of the server, whichever loop it lives on. A place on a loop is used again, an id never: the address of
/// a connection that is gone reaches nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) loop_index: usize,
    pub(crate) slot: usize,
    pub(crate) client_id: u64,
}

/// One connection as others see it.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) id: u64,
    pub(crate) address: Address,
    /// CLIENT KILL: nothing more of it is executed, and it is no longer counted.
    killed: AtomicBool,
    /// What it held then.
    leaving_bytes: AtomicU64,
    peer: Box<str>,
    local: Box<str>,
    descriptor: i32,
    unix: bool,
    connected: Instant,
    /// As whom it acts.
    account: Mutex<Arc<Account>>,
    labels: Mutex<Labels>,
    pub(crate) shown: Shown,
}

impl Caller for Client {
    fn peer(&self) -> &str {
        &self.peer
    }

    fn name(&self) -> Box<str> {
        self.labels.lock().name.clone()
    }
}

/// Names a client gave itself.
#[derive(Debug, Default, Clone)]
pub(crate) struct Labels {
    pub(crate) name: Box<str>,
    pub(crate) library: Box<str>,
    pub(crate) library_version: Box<str>,
    pub(crate) last_command: Option<&'static str>,
}

/// What changes while a client works.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    /// Milliseconds from connecting to the last request.
    pub(crate) active_ms: AtomicU64,
    pub(crate) database: AtomicUsize,
    pub(crate) resp3: AtomicBool,
    pub(crate) channels: AtomicUsize,
    pub(crate) patterns: AtomicUsize,
    pub(crate) shard_channels: AtomicUsize,
    pub(crate) monitors: AtomicBool,
    /// Queued commands plus one; 0 outside of MULTI.
    pub(crate) queued: AtomicUsize,
    pub(crate) queued_bytes: AtomicUsize,
    pub(crate) watching: AtomicBool,
    pub(crate) watched_keys: AtomicUsize,
    /// Bytes that it has sent, and has been sent.
    pub(crate) received_bytes: AtomicU64,
    pub(crate) sent_bytes: AtomicU64,
    /// Commands of it that were carried out.
    pub(crate) commands: AtomicU64,
    pub(crate) input_bytes: AtomicUsize,
    /// Of the words of the request that is being executed, if it is one that shows this client.
    pub(crate) argument_bytes: AtomicUsize,
    pub(crate) output_bytes: AtomicUsize,
    /// Of its output, what others hold as well and count.
    pub(crate) shared_bytes: AtomicUsize,
    /// Of what it subscribed to, watches and tracks by prefix.
    pub(crate) interest_bytes: AtomicUsize,
    /// Of the names that it gave itself.
    label_bytes: AtomicUsize,
    pub(crate) parked: AtomicBool,
    pub(crate) no_evict: AtomicBool,
    pub(crate) no_touch: AtomicBool,
    /// The most bytes of replies written at once, of late.
    pub(crate) reply_peak: AtomicUsize,
    pub(crate) redirectable: AtomicBool,
    pub(crate) tracking: AtomicBool,
    pub(crate) broadcast: AtomicBool,
    pub(crate) redirect_broken: AtomicBool,
    /// Who is told in its place when what it tracks changes, or 0.
    pub(crate) redirect: AtomicU64,
}

impl Shown {
    /// Returns what it holds beside its own record: what came and is not executed yet, what has yet to leave, what it asked
    /// to be told of, and what it is named.
    pub(crate) fn held_bytes(&self) -> usize {
        let parts =
            [&self.input_bytes, &self.queued_bytes, &self.output_bytes, &self.interest_bytes, &self.label_bytes];
        let all: usize = parts.iter().map(|part| part.load(Relaxed)).sum();
        all.saturating_sub(self.shared_bytes.load(Relaxed))
    }

    /// Whether its user may have MONITOR and tracking, as far as they are on.
    pub(crate) fn is_permitted(&self, user: &User) -> bool {
        (!self.monitors.load(Relaxed) || user.may_go_on("monitor", None))
            && (!self.tracking.load(Relaxed) || user.may_go_on("client", Some("tracking")))
    }

    /// Adds to a number that only the client's own loop writes.
    pub(crate) fn add(number: &AtomicU64, more: u64) {
        number.store(number.load(Relaxed).wrapping_add(more), Relaxed);
    }

    /// What RESET takes back.
    pub(crate) fn reset(&self) {
        self.database.store(0, Relaxed);
        for flag in [&self.resp3, &self.no_evict, &self.no_touch] {
            flag.store(false, Relaxed);
        }
    }
}

/// What kind of client TYPE selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientType {
    Normal,
    PubSub,
    /// Primaries and replicas: there are none.
    Replication,
}

impl ClientType {
    pub(crate) fn named(name: &[u8]) -> Option<ClientType> {
        Some(match name.to_ascii_lowercase().as_slice() {
            b"normal" => ClientType::Normal,
            b"pubsub" => ClientType::PubSub,
            b"primary" | b"master" | b"slave" | b"replica" => ClientType::Replication,
            _ => return None,
        })
    }
}

impl Client {
    pub(crate) fn labels(&self) -> Labels {
        self.labels.lock().clone()
    }

    /// Changes the names that it gave itself, and counts their bytes.
    pub(crate) fn label(&self, change: impl FnOnce(&mut Labels)) {
        let mut labels = self.labels.lock();
        change(&mut labels);
        let bytes = labels.name.len() + labels.library.len() + labels.library_version.len();
        self.shown.label_bytes.store(bytes, Relaxed);
    }

    /// Shows which command it sent last.
    pub(crate) fn show_command(&self, command: Option<&'static str>) {
        self.labels.lock().last_command = command;
    }

    pub(crate) fn connected(&self) -> Instant {
        self.connected
    }

    /// As whom it acts.
    pub(crate) fn account(&self) -> Arc<Account> {
        self.account.lock().clone()
    }

    /// Shows that it acts as another user.
    pub(crate) fn act_as(&self, account: &Arc<Account>) {
        *self.account.lock() = account.clone();
    }

    pub(crate) fn peer(&self) -> &str {
        &self.peer
    }

    pub(crate) fn local(&self) -> &str {
        &self.local
    }

    /// The peer's address without its port; none of a Unix socket.
    pub(crate) fn peer_host(&self) -> Option<&str> {
        let (host, _) = self.peer.rsplit_once(':').filter(|_| !self.unix)?;
        Some(host.trim_start_matches('[').trim_end_matches(']'))
    }

    pub(crate) fn database(&self) -> usize {
        self.shown.database.load(Relaxed)
    }

    /// Whether it said with CLIENT CAPA that it follows a redirection.
    pub(crate) fn can_be_redirected(&self) -> bool {
        self.shown.redirectable.load(Relaxed)
    }

    /// How long ago its last request was.
    pub(crate) fn idle(&self, now: Instant) -> Duration {
        let active = Duration::from_millis(self.shown.active_ms.load(Relaxed));
        now.saturating_duration_since(self.connected).saturating_sub(active)
    }

    pub(crate) fn is_killed(&self) -> bool {
        self.killed.load(Relaxed)
    }

    pub(crate) fn client_type(&self) -> ClientType {
        if self.is_subscriber() { ClientType::PubSub } else { ClientType::Normal }
    }

    /// The peer as MONITOR shows it.
    pub(crate) fn shown_address(&self) -> String {
        match self.peer.strip_suffix(":0").filter(|_| self.unix) {
            Some(path) => format!("unix:{path}"),
            None => self.peer.to_string(),
        }
    }

    /// Whether it waits for published messages.
    pub(crate) fn is_subscriber(&self) -> bool {
        let shown = &self.shown;
        [&shown.channels, &shown.patterns, &shown.shard_channels].iter().any(|count| count.load(Relaxed) > 0)
    }

    /// The letters that CLIENT LIST shows of its state: those of [`FLAGS`] that are here.
    pub(crate) fn flags(&self) -> String {
        let shown = &self.shown;
        let flags: String = [
            ('O', shown.monitors.load(Relaxed)),
            ('P', self.is_subscriber()),
            ('x', shown.queued.load(Relaxed) > 0),
            ('b', shown.parked.load(Relaxed)),
            ('t', shown.tracking.load(Relaxed)),
            ('R', shown.redirect_broken.load(Relaxed)),
            ('B', shown.broadcast.load(Relaxed)),
            ('U', self.unix),
            ('e', shown.no_evict.load(Relaxed)),
            ('T', shown.no_touch.load(Relaxed)),
        ]
        .into_iter()
        .filter_map(|(flag, set)| set.then_some(flag))
        .collect();
        if flags.is_empty() { "N".to_owned() } else { flags }
    }

    /// One line of CLIENT LIST, without its line end: the fields of Redis 7.2 in their order, and between and after them those of
    /// Valkey 8.1, and `io-thread` of Redis 8.0.
    pub(crate) fn describe(&self, now: Instant, out: &mut Vec<u8>) {
        let shown = &self.shown;
        let labels = self.labels();
        let age = now.saturating_duration_since(self.connected);
        let queued = shown.queued.load(Relaxed);
        let flags = self.flags();
        let (input, output) = (shown.input_bytes.load(Relaxed), shown.output_bytes.load(Relaxed));
        let queued_bytes = shown.queued_bytes.load(Relaxed);
        // Replies are gathered in a buffer of the loop; these are the sizes that one of the client's own would have.
        let reply_peak = shown.reply_peak.load(Relaxed).min(REPLY_BUFFER_BYTES.1);
        let reply_buffer = reply_peak.next_power_of_two().max(REPLY_BUFFER_BYTES.0);
        // Writing to memory cannot fail.
        let _ = write!(
            out,
            "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={flags} capa={} db={} sub={} psub={} ssub={} multi={} \
             watch={} qbuf={input} qbuf-free=0 argv-mem={} multi-mem={queued_bytes} rbs={reply_buffer} rbp={reply_peak} obl=0 oll={} \
             omem={output} tot-mem={} events={} cmd={} user=",
            self.id,
            self.peer,
            self.local,
            self.descriptor,
            labels.name,
            age.as_secs(),
            self.idle(now).as_secs(),
            if self.can_be_redirected() { "r" } else { "" },
            self.database(),
            shown.channels.load(Relaxed),
            shown.patterns.load(Relaxed),
            shown.shard_channels.load(Relaxed),
            i64::try_from(queued).unwrap_or(i64::MAX) - 1,
            shown.watched_keys.load(Relaxed),
            shown.argument_bytes.load(Relaxed),
            usize::from(output > 0),
            CLIENT_BYTES as usize + shown.held_bytes(),
            if output > 0 { "rw" } else { "r" },
            labels.last_command.unwrap_or("NULL"),
        );
        out.extend(&*self.account().name);
        let _ = write!(
            out,
            " redir={} resp={} lib-name={} lib-ver={} io-thread={} tot-net-in={} tot-net-out={} tot-cmds={}",
            if shown.tracking.load(Relaxed) {
                i64::try_from(shown.redirect.load(Relaxed)).unwrap_or(i64::MAX)
            } else {
                -1
            },
            if shown.resp3.load(Relaxed) { 3 } else { 2 },
            labels.library,
            labels.library_version,
            self.address.loop_index,
            shown.received_bytes.load(Relaxed),
            shown.sent_bytes.load(Relaxed),
            shown.commands.load(Relaxed),
        );
    }
}

/// All connections, by id: in the order in which they came.
pub(crate) struct Clients {
    /// Connections served at once; further ones are refused.
    pub(crate) max: AtomicUsize,
    pub(crate) pause: Pause,
    next_id: AtomicU64,
    connected: AtomicUsize,
    /// Held by those that were killed and are not closed yet. Changed under the lock of `all`.
    leaving_bytes: AtomicU64,
    all: Mutex<BTreeMap<u64, Arc<Client>>>,
}

impl Clients {
    pub(crate) fn new(max: usize, db: Db) -> Clients {
        Clients {
            max: AtomicUsize::new(max),
            pause: Pause::new(db),
            next_id: AtomicU64::new(0),
            connected: AtomicUsize::new(0),
            leaving_bytes: AtomicU64::new(0),
            all: Mutex::default(),
        }
    }

    pub(crate) fn connect(
        &self,
        stream: &Stream,
        loop_index: usize,
        slot: usize,
        account: Arc<Account>,
    ) -> Arc<Client> {
        let (peer, local) = stream.names();
        let id = self.next_id.fetch_add(1, Relaxed) + 1;
        let client = Arc::new(Client {
            id,
            address: Address { loop_index, slot, client_id: id },
            killed: AtomicBool::new(false),
            leaving_bytes: AtomicU64::new(0),
            peer,
            local,
            descriptor: stream.as_fd().as_raw_fd(),
            unix: stream.is_unix(),
            connected: Instant::now(),
            account: Mutex::new(account),
            labels: Mutex::default(),
            shown: Shown::default(),
        });
        self.all.lock().insert(client.id, client.clone());
        client
    }

    /// The counterpart of [`Clients::connect`] and [`Clients::admit`].
    pub(crate) fn disconnect(&self, client: &Client) {
        let mut all = self.all.lock();
        if all.remove(&client.id).is_some() {
            self.leave();
        } else {
            self.leaving_bytes.fetch_sub(client.leaving_bytes.swap(0, Relaxed), Relaxed);
        }
    }

    /// Strikes a client off, as if it were gone already, and what it holds with it; its loop has yet to close it. False if
    /// it is gone.
    pub(crate) fn kill(&self, client: &Client) -> bool {
        client.killed.store(true, Relaxed);
        let mut all = self.all.lock();
        let was_there = all.remove(&client.id).is_some();
        if was_there {
            self.leave();
            let bytes = client.shown.held_bytes() as u64;
            client.leaving_bytes.store(bytes, Relaxed);
            self.leaving_bytes.fetch_add(bytes, Relaxed);
        }
        was_there
    }

    /// What is held by clients that are not counted any more.
    pub(crate) fn leaving_bytes(&self) -> u64 {
        self.leaving_bytes.load(Relaxed)
    }

    /// Counts one more accepted connection, unless there are `max` already.
    pub(crate) fn admit(&self, max: usize) -> bool {
        self.connected.fetch_update(Relaxed, Relaxed, |count| (count < max).then_some(count + 1)).is_ok()
    }

    /// Counts one accepted connection less.
    pub(crate) fn leave(&self) {
        self.connected.fetch_sub(1, Relaxed);
    }

    pub(crate) fn count(&self) -> usize {
        self.connected.load(Relaxed)
    }

    pub(crate) fn snapshot(&self) -> Vec<Arc<Client>> {
        self.all.lock().values().cloned().collect()
    }

    pub(crate) fn find(&self, id: u64) -> Option<Arc<Client>> {
        self.all.lock().get(&id).cloned()
    }
}
