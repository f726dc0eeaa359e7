//! What all event loops share.
//!
//! Invariant: nothing here but counters, flags and handles changes once the loops have started; what has more to it
//! guards itself.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use kvcore::hooks::Lsn;
use kvcore::{Db, Durability};
use kvproto::{OwnedRequest, Spec};

use crate::acl::{Account, Acl};
use crate::admin::backups::Backups;
use crate::admin::counters::{self, Counter, Counters, Totals};
use crate::admin::hot_keys::HotKeys;
use crate::admin::http_refusals::HttpRefusals;
use crate::admin::logging::Logging;
use crate::admin::process;
use crate::admin::slow::Slow;
use crate::clients::Address;
use crate::clients::pause::{Held, Pause};
use crate::clients::{CLIENT_BYTES, Client, Clients};
use crate::config::settings::Settings;
use crate::config::switches::Switches;
use crate::config::tuning::Tuning;
use crate::databases::Databases;
use crate::dispatch::offload::Offload;
use crate::net::listener::BoundAddress;
use crate::notify::events::Audience;
use crate::notify::mailbox::{Changed, Mail, Mailboxes};
use crate::notify::pubsub::PubSub;
use crate::notify::tracking::TrackingTable;
use crate::notify::watch::WatchTable;

/// How the store names its thread that removes expired keys.
const SWEEPER_THREAD: &str = "kv-sweeper";

/// The server as its loops and commands see it.
pub(crate) struct ServerState {
    /// What the origins of its transactions are known by.
    pub(crate) id: u64,
    pub(crate) db: Db,
    pub(crate) databases: Databases,
    /// Durability `always`: nothing leaves before what it reveals is durable.
    gated: AtomicBool,
    /// It was so at some time, so that something may still wait.
    ever_gated: AtomicBool,
    pub(crate) settings: Settings,
    pub(crate) clients_max: AtomicUsize,
    pub(crate) addresses: Vec<BoundAddress>,
    pub(crate) clients: Clients,
    pub(crate) acl: Acl,
    pub(crate) logging: Logging,
    pub(crate) pause: Pause,
    pub(crate) backups: Backups,
    pub(crate) pubsub: Arc<PubSub>,
    pub(crate) audience: Arc<Audience>,
    pub(crate) watch: Arc<WatchTable>,
    pub(crate) tracking: Arc<TrackingTable>,
    pub(crate) mailboxes: Arc<Mailboxes>,
    pub(crate) counters: Vec<Arc<Counters>>,
    pub(crate) offload: Offload,
    pub(crate) started: Instant,
    pub(crate) started_at_ms: u64,
    /// Forty hexadecimal digits that no other run has.
    pub(crate) run_id: String,
    pub(crate) stopping: AtomicBool,
    pub(crate) switches: Switches,
    pub(crate) tuning: Tuning,
    pub(crate) slow: Slow,
    /// Counts resets of the counters.
    epoch: AtomicU64,
    /// What is to be looked at before a write: bits of [`WriteCheck`].
    pub(crate) write_checks: AtomicU8,
    /// Clients ended because all of them took too much memory.
    pub(crate) evicted_clients: AtomicU64,
    pub(crate) http_refusals: HttpRefusals,
    /// What the counters showed when they were reset.
    baseline: Counters,
    pub(crate) hot_keys: HotKeys,
    pub(crate) peak_memory_bytes: AtomicU64,
    /// When that was, in Unix seconds.
    pub(crate) peak_memory_secs: AtomicU64,
    /// What was kept for clients when it was last counted against `maxmemory`: once in an iteration of a loop.
    pub(crate) counted_kept_bytes: AtomicU64,
    expired_before: AtomicU64,
    evicted_before: AtomicU64,
    /// The system's number of the first loop's thread; 0 if it is not known.
    pub(crate) main_thread: AtomicU32,
    /// How long this server has swept a store that has no thread for it, in nanoseconds.
    pub(crate) swept_ns: AtomicU64,
    swept_ms_before: AtomicU64,
    /// Reads and writes of the loops but the first when the counters were reset.
    threaded_before: [AtomicU64; 2],
    /// Clients ended because they left too many replies unread, and because a request was too large.
    pub(crate) ended_by_output_limit: AtomicU64,
    pub(crate) ended_by_query_limit: AtomicU64,
}

/// A reason to look whether a write may run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum WriteCheck {
    /// `maxmemory` is set: there may be no room.
    Memory = 1,
    /// `min-replicas-to-write` asks for replicas, and there are none.
    Replicas = 2,
    /// EXEC has changed limits, which are given to the store when it no longer has it locked.
    Limits = 4,
}

/// What a server is put together from.
pub(crate) struct Parts {
    pub(crate) id: u64,
    pub(crate) db: Db,
    pub(crate) acl: Acl,
    pub(crate) logging: Logging,
    pub(crate) settings: Settings,
    pub(crate) addresses: Vec<BoundAddress>,
    pub(crate) watch: Arc<WatchTable>,
    pub(crate) pubsub: Arc<PubSub>,
    pub(crate) audience: Arc<Audience>,
    pub(crate) tracking: Arc<TrackingTable>,
    pub(crate) mailboxes: Arc<Mailboxes>,
    pub(crate) offload: Offload,
}

impl ServerState {
    pub(crate) fn new(parts: Parts) -> ServerState {
        let Parts { id, db, acl, logging, settings, addresses, watch, tracking, pubsub, audience, mailboxes, offload } =
            parts;
        ServerState {
            id,
            gated: AtomicBool::new(db.durability() == Durability::Always),
            ever_gated: AtomicBool::new(db.durability() == Durability::Always),
            clients_max: AtomicUsize::new(settings.clients_max),
            tuning: Tuning::new(&settings, &db.limits()),
            slow: Slow::new(),
            epoch: AtomicU64::new(0),
            write_checks: AtomicU8::new(0),
            evicted_clients: AtomicU64::new(0),
            http_refusals: HttpRefusals::default(),
            main_thread: AtomicU32::new(0),
            swept_ns: AtomicU64::new(0),
            swept_ms_before: AtomicU64::new(0),
            threaded_before: Default::default(),
            ended_by_output_limit: AtomicU64::new(0),
            ended_by_query_limit: AtomicU64::new(0),
            baseline: Counters::default(),
            hot_keys: HotKeys::default(),
            peak_memory_bytes: AtomicU64::new(0),
            peak_memory_secs: AtomicU64::new(0),
            counted_kept_bytes: AtomicU64::new(0),
            expired_before: AtomicU64::new(0),
            evicted_before: AtomicU64::new(0),
            counters: (0..mailboxes.len()).map(|_| Arc::default()).collect(),
            started: Instant::now(),
            started_at_ms: db.now_ms(),
            pause: Pause::new(db.clone()),
            backups: Backups::default(),
            databases: Databases::new(db.clone()),
            db,
            settings,
            addresses,
            clients: Clients::default(),
            acl,
            logging,
            pubsub,
            audience,
            watch,
            tracking,
            mailboxes,
            offload,
            run_id: run_id(),
            stopping: AtomicBool::new(false),
            switches: Switches::default(),
        }
    }

    /// Whether nothing may leave before what it reveals is durable.
    #[inline]
    pub(crate) fn is_gated(&self) -> bool {
        self.gated.load(Ordering::Relaxed)
    }

    /// Up to where replies may leave.
    pub(crate) fn settled(&self) -> Lsn {
        // What waited when the promise was weakened leaves when it is durable, too.
        if self.ever_gated.load(Ordering::Relaxed) { self.db.hooks().durable_lsn() } else { Lsn::ZERO }
    }

    /// Changes what a reply promises, from the next request of every loop on.
    pub(crate) fn set_durability(&self, durability: Durability) {
        let gated = durability == Durability::Always;
        self.db.set_durability(durability);
        self.ever_gated.fetch_or(gated, Ordering::SeqCst);
        self.gated.store(gated, Ordering::SeqCst);
    }

    /// The newest change a reply that looked at everything may reveal.
    pub(crate) fn newest(&self) -> Lsn {
        if self.is_gated() { self.db.hooks().last_lsn() } else { Lsn::ZERO }
    }

    /// The newest change there is: a reply that carries it leaves when that is durable, whatever is promised otherwise.
    pub(crate) fn gate_on_newest(&self) -> Lsn {
        self.ever_gated.store(true, Ordering::SeqCst);
        self.db.hooks().last_lsn()
    }

    /// Whether some requests have to wait: for the log, or for loops to hand on what was published.
    pub(crate) fn is_backlogged(&self) -> bool {
        self.db.hooks().is_backlogged() || self.mailboxes.is_backlogged()
    }

    /// Returns whether a request has to wait while the server [is backlogged](Self::is_backlogged): for the log if it writes,
    /// and for messages whatever it is, because monitors are shown all requests. `queued`: the commands since MULTI.
    #[cold]
    pub(crate) fn lacks_room(&self, spec: &Spec, queued: Option<&[(&'static Spec, OwnedRequest)]>) -> bool {
        // PFCOUNT may store what it has counted.
        let writes = |spec: &Spec| spec.is_write() || spec.name == "pfcount";
        let awaits_log = match queued {
            Some(queued) => spec.name == "exec" && queued.iter().any(|(spec, _)| writes(spec)),
            None => writes(spec),
        };
        self.mailboxes.is_backlogged() || (awaits_log && self.db.hooks().is_backlogged())
    }

    /// Why what waits for the log cannot be promised, if so: it has failed, or there is no space for it.
    pub(crate) fn log_failure(&self) -> Option<kvcore::Error> {
        self.db.health().err().filter(|error| !matches!(error, kvcore::Error::Closed))
    }

    /// Ends the connections that may not go on after their users changed. Who asked for it is answered before.
    pub(crate) fn expel(&self, accounts: Vec<Arc<Account>>, by: u64) {
        // The loops end them; to others they are gone at once.
        for account in &accounts {
            let user = account.user();
            let beyond = self.pubsub.subscribers_beyond(|topic, name| topic.is_permitted(name, &user));
            for client in self.clients.snapshot() {
                // Who asked for it is still to be answered.
                if client.id != by
                    && Arc::ptr_eq(&client.account(), account)
                    && (account.is_removed() || beyond.contains(&client.id) || !client.shown.is_permitted(&user))
                {
                    self.clients.kill(&client);
                    self.pubsub.remove_client(client.id);
                }
            }
        }
        let changed = Arc::new(Changed { accounts, by });
        self.mailboxes.post_to_all(|| Mail::Users(changed.clone()));
    }

    /// Tells every loop to finish what was read and end. Does not wait for it.
    pub(crate) fn stop(&self) {
        if !self.stopping.swap(true, Ordering::SeqCst) {
            self.mailboxes.post_to_all(|| Mail::Stop);
        }
    }

    /// Lets requests wait: CLIENT PAUSE.
    pub(crate) fn pause(&self, held: Held, until: Instant, now: Instant) {
        self.pause.begin(held, until, now);
        self.tell_of_pause();
    }

    /// Lets requests that wait go on: CLIENT UNPAUSE.
    pub(crate) fn unpause(&self) {
        self.pause.end();
        self.tell_of_pause();
    }

    fn tell_of_pause(&self) {
        self.mailboxes.post_to_all(|| Mail::Unpaused);
    }

    /// Whether there is such a user.
    pub(crate) fn has_user(&self, name: &[u8]) -> bool {
        self.acl.find(name).is_some()
    }

    /// One of the counters, over all loops, since it was reset.
    pub(crate) fn total(&self, counter: impl Fn(&Counters) -> &Counter) -> u64 {
        let sum: u64 = self.counters.iter().map(|counters| counter(counters).get()).sum();
        sum.saturating_sub(counter(&self.baseline).get())
    }

    /// Keys removed because their deadline passed, since the counters were reset.
    pub(crate) fn expired(&self) -> u64 {
        self.db.stats().expired.saturating_sub(self.expired_before.load(Ordering::Relaxed))
    }

    /// Milliseconds that removing expired keys has taken since the counters were reset: the processor's time of the
    /// store's thread, or how long this server has swept itself.
    pub(crate) fn swept_ms(&self) -> u64 {
        self.all_swept_ms().saturating_sub(self.swept_ms_before.load(Ordering::Relaxed))
    }

    fn all_swept_ms(&self) -> u64 {
        if self.db.is_in_memory() {
            self.swept_ns.load(Ordering::Relaxed) / 1_000_000
        } else {
            process::milliseconds_of_threads(SWEEPER_THREAD)
        }
    }

    /// Reads and writes of the loops but the first since the counters were reset: those that Redis calls threaded.
    pub(crate) fn threaded(&self) -> [u64; 2] {
        let all = self.all_threaded();
        [0, 1].map(|at| all[at].saturating_sub(self.threaded_before[at].load(Ordering::Relaxed)))
    }

    fn all_threaded(&self) -> [u64; 2] {
        let sum = |counter: fn(&Counters) -> &Counter| {
            self.counters.iter().skip(1).map(|counters| counter(counters).get()).sum()
        };
        [sum(|of| &of.reads), sum(|of| &of.writes)]
    }

    /// Keys removed to make room, since the counters were reset.
    pub(crate) fn evicted(&self) -> u64 {
        self.db.hooks().evicted().saturating_sub(self.evicted_before.load(Ordering::Relaxed))
    }

    /// Which counting of commands is the current one.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Relaxed)
    }

    /// Has the duration and the size of every command measured, for HOTKEYS, or of large ones only.
    pub(crate) fn measure_all(&self, all: bool) {
        self.slow.watch_all(all);
        self.tuning.change_bounds(|bounds| bounds.large_bytes = self.slow.large_bytes());
    }

    /// What all loops counted of each command that came.
    pub(crate) fn command_totals(&self) -> Vec<Totals> {
        counters::totals(self.counters.iter().map(|counters| &counters.commands), self.epoch())
    }

    /// Error replies by their code word.
    pub(crate) fn error_totals(&self) -> BTreeMap<Box<str>, u64> {
        counters::errors(self.counters.iter().map(|counters| &counters.commands), self.epoch())
    }

    /// What clients and their buffers take.
    pub(crate) fn client_bytes(&self) -> u64 {
        let held: u64 = self.counters.iter().map(|counters| counters.held_bytes.get()).sum();
        held.saturating_sub(self.clients.leaving_bytes()) + self.clients.count() as u64 * CLIENT_BYTES
    }

    /// Returns what is kept for clients beside what is their own: logs, users, keys that are tracked, messages between
    /// loops, statistics of commands and errors.
    pub(crate) fn kept_bytes(&self) -> u64 {
        let counters: usize = self.counters.iter().map(|counters| counters.commands.bytes()).sum();
        let tables = self.acl.bytes() + self.tracking.bytes() + self.mailboxes.undelivered_bytes();
        (self.acl.log.bytes() + self.slow.bytes() + self.hot_keys.bytes() + tables + counters) as u64
    }

    /// Ends the clients whose buffers hold most until all together take no more than so many bytes. Those that must not be
    /// ended for it are not counted either: others would all have to go for one of them. Answers where those that it ended
    /// are.
    pub(crate) fn evict_clients(&self, bytes_max: u64) -> Vec<Address> {
        // Each is looked at once: while they are sorted they go on.
        let holds = |client: Arc<Client>| (client.shown.held_bytes() as u64 + CLIENT_BYTES, client);
        let may_end = |client: &Arc<Client>| !client.shown.no_evict.load(Ordering::Relaxed);
        let mut clients: Vec<_> = self.clients.snapshot().into_iter().filter(may_end).map(holds).collect();
        clients.sort_unstable_by_key(|(bytes, _)| Reverse(*bytes));
        let held: u64 = clients.iter().map(|(bytes, _)| bytes).sum();
        let (mut left, mut ended) = (held, Vec::new());
        for (bytes, client) in clients {
            if left <= bytes_max {
                break;
            }
            if self.end_connection(&client) {
                ended.push(client.address);
            }
            // Ended by now even if by another loop, which has seen the same.
            left -= bytes;
        }
        if !ended.is_empty() {
            // One line for all of them: they may be many.
            let count = ended.len();
            tracing::warn!(held, left, "{count} clients are disconnected: all of them took too much memory");
            self.evicted_clients.fetch_add(count as u64, Ordering::Relaxed);
        }
        ended
    }

    /// Ends a connection, soon; to others it is gone at once. False if it was gone.
    pub(crate) fn end_connection(&self, client: &Client) -> bool {
        let was_there = self.clients.kill(client);
        if was_there {
            self.pubsub.remove_client(client.id);
            self.mailboxes.of(client.address.loop_index).post(Mail::Kill(client.address));
        }
        was_there
    }

    /// Lets every command look whether it may write, or no longer.
    pub(crate) fn set_write_check(&self, why: WriteCheck, needed: bool) {
        if needed {
            self.write_checks.fetch_or(why as u8, Ordering::Relaxed);
        } else {
            self.write_checks.fetch_and(!(why as u8), Ordering::Relaxed);
        }
    }

    pub(crate) fn has_write_check(&self, why: WriteCheck) -> bool {
        self.write_checks.load(Ordering::Relaxed) & why as u8 != 0
    }

    /// Starts counting from zero. A counter belongs to its loop, so what is reset is from where it is read.
    /// `locked`: inside EXEC, where the store's own figures cannot be looked at.
    pub(crate) fn reset_counters(&self, loop_index: usize, locked: bool) {
        let epoch = self.epoch.fetch_add(1, Ordering::Relaxed) + 1;
        self.tuning.touch();
        // This runs on that loop, so its counters may be changed here and now.
        if let Some(counters) = self.counters.get(loop_index) {
            counters.commands.begin(epoch);
        }
        self.peak_memory_bytes.store(0, Ordering::Relaxed);
        self.evicted_before.store(self.db.hooks().evicted(), Ordering::Relaxed);
        self.evicted_clients.store(0, Ordering::Relaxed);
        self.http_refusals.reset();
        self.slow.reset_totals();
        self.ended_by_output_limit.store(0, Ordering::Relaxed);
        self.ended_by_query_limit.store(0, Ordering::Relaxed);
        self.swept_ms_before.store(self.all_swept_ms(), Ordering::Relaxed);
        for (before, now) in self.threaded_before.iter().zip(self.all_threaded()) {
            before.store(now, Ordering::Relaxed);
        }
        for (index, baseline) in self.baseline.cumulative().into_iter().enumerate() {
            baseline.set(self.counters.iter().map(|counters| counters.cumulative()[index].get()).sum());
        }
        if !locked {
            self.expired_before.store(self.db.stats().expired, Ordering::Relaxed);
        }
    }
}

fn run_id() -> String {
    let digits: String = (0..3).map(|_| format!("{:016x}", RandomState::new().build_hasher().finish())).collect();
    digits[..40].to_owned()
}
