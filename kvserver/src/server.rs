//! Builds a server around an opened store, starts its threads, and ends them.
//!
//! Invariant: when `shutdown`, `wait` or drop returns, every thread is joined, every socket closed and every unix
//! socket's file removed. The store stays open: it is the caller's.

pub(crate) mod signals;

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};

use kvcore::Db;
use mio::Poll;

use crate::acl::Acl;
use crate::admin::allocator::Allocator;
use crate::admin::logging::Logging;
use crate::commands;
use crate::config::parameters::Setting;
use crate::config::rewrite;
use crate::context::jobs::{JobReceivers, Jobs};
use crate::error::{Error, Result};
use crate::event_loop::accept::Accept;
use crate::event_loop::{EventLoop, WAKER};
use crate::net::listener::{BoundAddress, ListenUrl, Listener, Listening};
use crate::net::sync::Waker;
use crate::notify::Notify;
use crate::notify::mailbox::Mailbox;
use crate::notify::origin;
use crate::server::signals::{Registered, SignalThread};
use crate::state::ServerState;
use crate::state::server_config::{SavePoint, ServerConfig};
use crate::worker;
use kvstats::process;

/// A running server.
///
/// ```
/// use kvcore::Db;
/// use kvserver::Server;
///
/// let db = Db::in_memory();
/// let server = Server::builder().store(db.clone()).listen("resp://127.0.0.1:0".parse()?).start()?;
/// println!("any Redis client can connect to {}", server.addresses()[0]);
/// db.set("k", "seen by clients at once")?;
/// server.shutdown()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Server {
    state: Arc<ServerState>,
    loops: Vec<JoinHandle<()>>,
    jobs: Arc<Jobs>,
    threads: Vec<JoinHandle<()>>,
    _signals: Option<SignalThread>,
}

/// What a server is to be like; made by [`Server::builder`].
#[derive(Default)]
#[must_use]
pub struct Builder {
    db: Option<Db>,
    places: Vec<Listening>,
    bound: Vec<Listener>,
    config: ServerConfig,
    acl: Acl,
    logging: Logging,
    /// What the configuration file says of parameters.
    said: Vec<Setting>,
    stops_on_signals: bool,
    /// Signals that the program has taken over.
    signals: Option<Registered>,
}

impl Builder {
    /// The store to serve. Required.
    pub fn store(mut self, db: Db) -> Builder {
        self.db = Some(db);
        self
    }

    /// One more place to listen.
    pub fn listen(mut self, url: ListenUrl) -> Builder {
        self.places.push(Listening { url, optional: false });
        self
    }

    /// Event loops, one thread each; at least 1. Default: one for every two cores.
    pub fn loops(mut self, count: usize) -> Builder {
        self.config.loops = count.max(1);
        self
    }

    /// Connections served at once. Default: 10,000.
    pub fn max_clients(mut self, count: usize) -> Builder {
        self.config.clients_max = count;
        self
    }

    /// No more clients than the process may have files open for: else they would take those that the log needs.
    pub(crate) fn clients_within_open_files(mut self) -> Builder {
        let possible = process::clients_possible(self.config.loops);
        if possible < self.config.clients_max {
            let wanted = self.config.clients_max;
            tracing::warn!(
                possible,
                wanted,
                "fewer files may be open than clients may connect, so fewer are served: raise the limit (ulimit -n)"
            );
            self.config.clients_max = possible;
        }
        self
    }

    /// How large a request may be. Default: as in Redis, see [`kvproto::Limits`].
    pub fn limits(mut self, limits: kvproto::Limits) -> Builder {
        self.config.limits = limits;
        self
    }

    /// The password of the user `default`, as whom every client begins: until it sends `AUTH` nothing else is done for
    /// it. An empty one means none. Default: none.
    pub fn password(self, password: impl AsRef<[u8]>) -> Builder {
        self.acl.set_password(password.as_ref());
        self
    }

    /// A file of users, one a line: `user <name> <rule> ...`, as `ACL LIST` shows them. They are loaded now and by
    /// `ACL LOAD`, and written there by `ACL SAVE`. Fails if the file cannot be read or has a fault.
    pub fn acl_file(mut self, path: impl Into<PathBuf>) -> Result<Builder> {
        self.acl.file = Some(path.into());
        self.acl.load().map_err(|why| Error::Users { why: why.into_owned() })?;
        Ok(self)
    }

    /// Allows listening beyond the loopback without a password: everyone who reaches the port can then read and
    /// change everything. Default: refused.
    pub fn allow_exposed(mut self, allow: bool) -> Builder {
        self.config.exposed_ok = allow;
        self
    }

    /// Obeys DEBUG, with which every client can read everything and bring the server to a halt: for tests only.
    /// Default: refused.
    pub fn debug_commands(mut self, allow: bool) -> Builder {
        self.config.debug_allowed = allow;
        self
    }

    /// Sets in how many seconds a connection has to log in where a password is needed; 0 for any number. 30 unless set.
    /// One that does not is closed, so that those who know no password cannot take all connections.
    pub fn login_timeout(mut self, seconds: u64) -> Builder {
        self.config.login_timeout_secs = seconds;
        self
    }

    /// SIGTERM and SIGINT stop the server as SHUTDOWN does; a second one ends the process at once. They are taken over
    /// before the first client is answered, and not given back. Default: they are left to the program.
    pub fn stop_on_signals(mut self) -> Builder {
        self.stops_on_signals = true;
        self
    }

    /// As [`stop_on_signals`](Builder::stop_on_signals), and acts on `signals`, too.
    pub(crate) fn obey_signals(mut self, signals: Registered) -> Builder {
        self.signals = Some(signals);
        self.stop_on_signals()
    }

    /// When snapshots are due by time, in seconds and changes; and the directory that CONFIG GET shows.
    pub(crate) fn kept_in(mut self, dir: String, save_points: Vec<SavePoint>) -> Builder {
        self.config.dir = dir;
        self.config.save_points = save_points;
        self
    }

    /// One more place to listen, if there is such an address.
    pub(crate) fn listening(mut self, place: Listening) -> Builder {
        self.places.push(place);
        self
    }

    /// What flags and the configuration file say of parameters.
    pub(crate) fn settings(mut self, settings: Vec<Setting>) -> Builder {
        self.said = settings;
        self
    }

    /// What CONFIG REWRITE writes, and what it says of users, and whether these begin with all channels.
    pub(crate) fn configured(mut self, path: PathBuf, users: &[u8], all_channels: bool) -> Result<Builder> {
        self.acl.all_channels.store(all_channels, Ordering::Relaxed);
        if !users.is_empty() {
            self.acl.adopt(users, &path).map_err(|why| Error::Users { why: why.into_owned() })?;
        }
        self.config.config_file = Some(path);
        Ok(self)
    }

    /// The allocator of the program, where it is known.
    pub(crate) fn allocator(mut self, allocator: Allocator) -> Builder {
        self.config.allocator = allocator;
        self
    }

    /// The log whose level CONFIG SET changes.
    pub(crate) fn logging(mut self, logging: Logging) -> Builder {
        self.logging = logging;
        self
    }

    /// Where it listens, once bound.
    pub(crate) fn bound_urls(&self) -> Vec<ListenUrl> {
        self.bound.iter().map(Listener::url).collect()
    }

    /// Binds every listener now, so that a mistake shows before a store is opened. Who connects waits for the start.
    pub(crate) fn bind(mut self) -> Result<Builder> {
        for Listening { url, optional } in self.places.drain(..) {
            // Who has to prove who it is may come from anywhere.
            let exposed_ok = self.config.exposed_ok || !self.acl.is_open();
            match Listener::bind(&url, exposed_ok) {
                Ok(listener) => self.bound.push(listener),
                Err(error) if optional && error.is_about_the_address() => {
                    tracing::info!(%error, "not listening there");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(self)
    }

    /// Binds every listener, then starts the threads. Fails, with nothing left running, if a listener cannot be bound.
    pub fn start(self) -> Result<Server> {
        let Builder { db, bound: listeners, config, acl, logging, said, stops_on_signals, signals, .. } =
            self.bind()?;
        let db = db.ok_or(Error::NoStore)?.hooks().without_waiting_for_room();
        let signals = match signals {
            Some(signals) => Some(signals.and_to_stop()?),
            None if stops_on_signals => Some(Registered::to_stop()?),
            None => None,
        };
        let cannot = |what| move |source| Error::System { what, source };
        let mut polls = Vec::new();
        let mut mailboxes = Vec::new();
        for _ in 0..config.loops {
            let poll = Poll::new().map_err(cannot("wait for events"))?;
            let waker = Waker::new(poll.registry(), WAKER).map_err(cannot("wake an event loop"))?;
            mailboxes.push(Mailbox::new(waker));
            polls.push(poll);
        }
        let addresses = listeners.iter().map(|listener| listener.address.clone()).collect();
        let mut accept = Some(Accept::new(listeners, polls[0].registry()).map_err(cannot("watch a listener"))?);
        let id = origin::next_server_id();
        let notify = Notify::start(id, mailboxes, &db)?;
        db.hooks().free_in_background()?;
        // From here on it is known who is used when.
        db.hooks().note_time();
        let state = Arc::new(ServerState::new(id, db, acl, logging, config, addresses, notify));
        let assign = |setting: &Setting| {
            let fault = |why| setting.place.fault(format!("'{}': {why}", setting.row.name));
            setting.row.assign(&state, &setting.value).map_err(fault)
        };
        // What a flag says was so at the start: CONFIG REWRITE does not write it.
        let (flags, lines): (Vec<_>, Vec<_>) = said.iter().partition(|setting| setting.place == kvconfig::Place::Flag);
        flags.into_iter().try_for_each(assign)?;
        let _ = state.runtime.at_start.set(rewrite::values(&state));
        lines.into_iter().try_for_each(assign)?;
        if state.db.limits().max_entries.is_some() || state.db.limits().max_memory.is_some() {
            state.apply_limits()?;
        }
        wake_loops_when_durable(&state);

        let signals = signals.map(|signals| SignalThread::listen(signals, state.clone())).transpose()?;
        let (jobs, receivers) = Jobs::new();
        let jobs = Arc::new(jobs);
        let mut server = Server {
            state: state.clone(),
            loops: Vec::new(),
            jobs: jobs.clone(),
            threads: Vec::new(),
            _signals: signals,
        };
        let worker = state.clone();
        let JobReceivers { waiting, computing } = receivers;
        let guard = StopOnPanic(state.clone());
        let run = move || {
            let _guard = guard;
            worker::run(&worker, &waiting, &commands::table());
        };
        server.threads.push(spawn("kv-jobs".to_owned(), run)?);
        for number in 0..jobs.computing_threads {
            let (worker, computing) = (state.clone(), computing.clone());
            let guard = StopOnPanic(state.clone());
            let run = move || {
                let _guard = guard;
                worker::compute(&worker, &computing, &commands::table());
            };
            server.threads.push(spawn(format!("kv-compute-{number}"), run)?);
        }
        for (index, poll) in polls.into_iter().enumerate() {
            let event_loop = EventLoop::new(index, poll, state.clone(), accept.take(), commands::table(), jobs.clone());
            let guard = StopOnPanic(state.clone());
            let run = move || {
                let _guard = guard;
                event_loop.run();
            };
            server.loops.push(spawn(format!("kv-loop-{index}"), run)?);
        }
        Ok(server)
    }
}

fn spawn(name: String, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    let spawned = thread::Builder::new().name(name).spawn(run);
    spawned.map_err(|source| Error::System { what: "start a thread", source })
}

/// Replies that wait for the log leave when the syncer says so. The store may outlive the server.
fn wake_loops_when_durable(state: &Arc<ServerState>) {
    let server: Weak<ServerState> = Arc::downgrade(state);
    state.db.hooks().on_durable(Arc::new(move || {
        if let Some(server) = server.upgrade() {
            for mailbox in server.notify.mailboxes.all() {
                mailbox.wake_for_log();
            }
        }
    }));
}

/// A loop that panics must not leave its clients hanging on a server that looks alive.
struct StopOnPanic(Arc<ServerState>);

impl Drop for StopOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.stop();
        }
    }
}

impl Server {
    /// A server with no store and no listener yet.
    pub fn builder() -> Builder {
        Builder::default()
    }

    #[cfg(test)]
    pub(crate) fn state(&self) -> &ServerState {
        &self.state
    }

    /// Where it listens, in the order of the calls of [`Builder::listen`].
    #[must_use]
    pub fn addresses(&self) -> &[BoundAddress] {
        &self.state.addresses
    }

    /// Stops: accepts nothing more, executes and answers what was read, closes every connection. Clients that do not
    /// take their replies are waited for 5 seconds at most.
    pub fn shutdown(mut self) -> Result<()> {
        self.state.stop();
        self.join()
    }

    /// Serves until a client sends SHUTDOWN or, with [`Builder::stop_on_signals`], the process gets SIGTERM or SIGINT.
    pub fn wait(mut self) -> Result<()> {
        self.join()
    }

    /// Waits for the threads: the loops first, since they give the others their work.
    fn join(&mut self) -> Result<()> {
        let mut outcome = Ok(());
        for handle in self.loops.drain(..) {
            if handle.join().is_err() {
                outcome = Err(Error::LoopPanicked);
            }
        }
        self.state.ended.store(true, Ordering::Relaxed);
        self.jobs.end();
        for handle in self.threads.drain(..) {
            if handle.join().is_err() {
                outcome = Err(Error::LoopPanicked);
            }
        }
        outcome
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.state.stop();
        let _ = self.join();
    }
}
