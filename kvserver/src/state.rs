//! What all event loops share.
//!
//! Invariant: nothing here but counters, flags and handles changes once the loops have started; what has more to it
//! guards itself.

pub(crate) mod debug_flags;
pub(crate) mod runtime_config;
pub(crate) mod server_config;
mod store_limits;

use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::Instant;

use kvcore::hooks::Lsn;
use kvcore::{Db, Durability};
use kvproto::spec::{Flag, Trait};
use kvproto::{CommandError, OwnedRequest, Spec};

use crate::acl::{Account, Acl};
use crate::admin::backups::Backups;
use crate::admin::logging::Logging;
use crate::admin::statistics::Statistics;
use crate::clients::Address;
use crate::clients::pause::Blocked;
use crate::clients::{CLIENT_BYTES, Client, Clients};
use crate::databases::Databases;
use crate::net::listener::BoundAddress;
use crate::notify::Notify;
use crate::notify::exec::Queue;
use crate::notify::mailbox::{Changed, LoopMessage};
use crate::state::debug_flags::DebugFlags;
use crate::state::runtime_config::RuntimeConfig;
use crate::state::server_config::ServerConfig;
use kvcommands::outcome::OOM;
use kvstats::hot_keys::HotKeys;
use kvstats::slow::Slow;

/// The server as its loops and commands see it.
pub(crate) struct ServerState {
    /// What the origins of its transactions are known by.
    pub(crate) id: u64,
    pub(crate) db: Db,
    pub(crate) databases: Databases,
    /// Durability `always`: nothing leaves before what it reveals is durable.
    awaits_durability: AtomicBool,
    /// It was so at some time, so that something may still wait.
    has_awaited_durability: AtomicBool,
    pub(crate) config: ServerConfig,
    pub(crate) addresses: Vec<BoundAddress>,
    pub(crate) clients: Clients,
    pub(crate) acl: Acl,
    pub(crate) logging: Logging,
    pub(crate) backups: Backups,
    pub(crate) notify: Notify,
    pub(crate) statistics: Statistics,
    pub(crate) stopping: AtomicBool,
    /// The loops have ended, so that nobody waits for the jobs that are left.
    pub(crate) ended: AtomicBool,
    pub(crate) debug: DebugFlags,
    pub(crate) runtime: RuntimeConfig,
    pub(crate) slow: Slow,
    /// What is to be looked at before a write: bits of [`WriteCheck`].
    pub(crate) write_checks: AtomicU8,
    pub(crate) hot_keys: HotKeys,
    /// What was kept for clients when it was last counted against `maxmemory`: once in an iteration of a loop.
    pub(crate) counted_kept_bytes: AtomicU64,
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

impl ServerState {
    pub(crate) fn new(
        id: u64,
        db: Db,
        acl: Acl,
        logging: Logging,
        config: ServerConfig,
        addresses: Vec<BoundAddress>,
        notify: Notify,
    ) -> ServerState {
        ServerState {
            id,
            awaits_durability: AtomicBool::new(db.durability() == Durability::Always),
            has_awaited_durability: AtomicBool::new(db.durability() == Durability::Always),
            runtime: RuntimeConfig::new(&config, &db.limits()),
            slow: Slow::default(),
            write_checks: AtomicU8::new(0),
            hot_keys: HotKeys::default(),
            counted_kept_bytes: AtomicU64::new(0),
            backups: Backups::default(),
            databases: Databases::new(db.clone()),
            clients: Clients::new(config.clients_max, db.clone()),
            statistics: Statistics::new(notify.mailboxes.len(), db.now_ms()),
            notify,
            db,
            config,
            addresses,
            acl,
            logging,
            stopping: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            debug: DebugFlags::default(),
        }
    }

    /// Whether nothing may leave before what it reveals is durable.
    #[inline]
    pub(crate) fn awaits_durability(&self) -> bool {
        self.awaits_durability.load(Ordering::Relaxed)
    }

    /// Up to where replies may leave.
    pub(crate) fn sendable_lsn(&self) -> Lsn {
        // What waited when the promise was weakened leaves when it is durable, too.
        if self.has_awaited_durability.load(Ordering::Relaxed) { self.db.hooks().durable_lsn() } else { Lsn::ZERO }
    }

    /// Changes what a reply promises, from the next request of every loop on.
    pub(crate) fn set_durability(&self, durability: Durability) {
        let awaits = durability == Durability::Always;
        self.db.set_durability(durability);
        self.has_awaited_durability.fetch_or(awaits, Ordering::SeqCst);
        self.awaits_durability.store(awaits, Ordering::SeqCst);
    }

    /// The newest change a reply that looked at everything may reveal.
    pub(crate) fn newest(&self) -> Lsn {
        if self.awaits_durability() { self.db.hooks().last_lsn() } else { Lsn::ZERO }
    }

    /// The newest change there is: a reply that carries it leaves when that is durable, whatever is promised otherwise.
    pub(crate) fn await_newest(&self) -> Lsn {
        self.has_awaited_durability.store(true, Ordering::SeqCst);
        self.db.hooks().last_lsn()
    }

    /// Whether some requests have to wait: for the log, or for loops to hand on what was published.
    pub(crate) fn is_backlogged(&self) -> bool {
        self.db.hooks().is_backlogged() || self.notify.mailboxes.is_backlogged()
    }

    /// Returns whether a request has to wait while the server [is backlogged](Self::is_backlogged): for the log if it writes,
    /// and for messages whatever it is, because monitors are shown all requests. `queued`: the commands since MULTI.
    #[cold]
    pub(crate) fn lacks_room(&self, spec: &Spec, queued: Option<&[(&'static Spec, OwnedRequest)]>) -> bool {
        let writes = |spec: &Spec| spec.is_write() || spec.traits.has(Trait::MayWrite);
        let awaits_log = match queued {
            Some(queued) => spec.traits.has(Trait::RunsQueue) && queued.iter().any(|(spec, _)| writes(spec)),
            None => writes(spec),
        };
        self.notify.mailboxes.is_backlogged() || (awaits_log && self.db.hooks().is_backlogged())
    }

    /// Returns the refusal of a command that is not taken while memory or replicas are short. EXEC does what was queued for
    /// it: `queue`.
    #[cold]
    pub(crate) fn check_writes(&self, spec: &Spec, queue: Option<&Queue>) -> Result<(), CommandError> {
        if self.write_checks.load(Ordering::Relaxed) == 0 {
            return Ok(());
        }
        self.apply_late_limits();
        let queued = queue.filter(|_| spec.traits.has(Trait::RunsQueue)).map_or(&[][..], |queue| &queue.commands);
        let any = |flag| spec.flags.has(flag) || queued.iter().any(|(spec, _)| spec.flags.has(flag));
        // Whatever would be queued is refused, as in Redis.
        let needs_room = any(Flag::DenyOom) || (queue.is_some() && !spec.traits.has(Trait::NotQueued));
        if self.has_write_check(WriteCheck::Memory) && needs_room && !self.has_room() {
            return Err(CommandError::custom(OOM));
        }
        if self.has_write_check(WriteCheck::Replicas) && any(Flag::Write) {
            return Err(CommandError::custom("NOREPLICAS Not enough good replicas to write."));
        }
        Ok(())
    }

    /// Why what waits for the log cannot be promised, if so: it has failed, or there is no space for it.
    pub(crate) fn log_failure(&self) -> Option<kvcore::Error> {
        self.db.health().err().filter(|error| !matches!(error, kvcore::Error::Closed))
    }

    /// Ends the connections that may not go on after their users changed. Who asked for it is answered before.
    pub(crate) fn disconnect_users(&self, accounts: Vec<Arc<Account>>, by: u64) {
        // The loops end them; to others they are gone at once.
        for account in &accounts {
            let user = account.user();
            let beyond = self.notify.pubsub.subscribers_beyond(|topic, name| topic.is_permitted(name, &user));
            for client in self.clients.snapshot() {
                // Who asked for it is still to be answered.
                if client.id != by
                    && Arc::ptr_eq(&client.account(), account)
                    && (account.is_removed() || beyond.contains(&client.id) || !client.shown.is_permitted(&user))
                {
                    self.clients.kill(&client);
                    self.notify.pubsub.remove_client(client.id);
                }
            }
        }
        let changed = Arc::new(Changed { accounts, by });
        self.notify.mailboxes.post_to_all(|| LoopMessage::Users(changed.clone()));
    }

    /// Tells every loop to finish what was read and end. Does not wait for it.
    pub(crate) fn stop(&self) {
        if !self.stopping.swap(true, Ordering::SeqCst) {
            self.notify.mailboxes.post_to_all(|| LoopMessage::Stop);
        }
    }

    /// Lets requests wait: CLIENT PAUSE.
    pub(crate) fn pause(&self, held: Blocked, until: Instant, now: Instant) {
        self.clients.pause.begin(held, until, now);
        self.tell_of_pause();
    }

    /// Lets requests that wait go on: CLIENT UNPAUSE.
    pub(crate) fn unpause(&self) {
        self.clients.pause.end();
        self.tell_of_pause();
    }

    fn tell_of_pause(&self) {
        self.notify.mailboxes.post_to_all(|| LoopMessage::Unpaused);
    }

    /// Has the duration and the size of every command measured, for HOTKEYS, or of large ones only.
    pub(crate) fn measure_all(&self, all: bool) {
        self.slow.watch_all(all);
        self.runtime.change_limits(|bounds| bounds.large_bytes = self.slow.large_bytes());
    }

    /// What clients and their buffers take.
    pub(crate) fn client_bytes(&self) -> u64 {
        self.statistics.held_bytes().saturating_sub(self.clients.leaving_bytes())
            + self.clients.count() as u64 * CLIENT_BYTES
    }

    /// Returns what is kept for clients beside what is their own: logs, users, keys that are tracked, messages between
    /// loops, statistics of commands and errors.
    pub(crate) fn kept_bytes(&self) -> u64 {
        let tables = self.acl.bytes() + self.notify.tracking.bytes() + self.notify.mailboxes.undelivered_bytes();
        (self.acl.log.bytes() + self.slow.bytes() + self.hot_keys.bytes() + tables + self.statistics.bytes()) as u64
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
            self.statistics.evicted_clients.fetch_add(count as u64, Ordering::Relaxed);
        }
        ended
    }

    /// Ends a connection, soon; to others it is gone at once. False if it was gone.
    pub(crate) fn end_connection(&self, client: &Client) -> bool {
        let was_there = self.clients.kill(client);
        if was_there {
            self.notify.pubsub.remove_client(client.id);
            self.notify.mailboxes.of(client.address.loop_index).post(LoopMessage::Kill(client.address));
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

    /// Starts counting from zero, as [`Statistics::reset`] says.
    pub(crate) fn reset_statistics(&self, loop_index: usize, locked: bool) {
        self.statistics.reset(loop_index, &self.db, locked);
        self.slow.reset_totals();
        self.runtime.touch();
    }
}
