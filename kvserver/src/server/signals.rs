//! Signals. SIGTERM and SIGINT: the first stops the server in order, a second ends the process at once. SIGHUP reloads
//! what can be reloaded. SIGUSR1 and SIGUSR2 have no meaning here: the log says so.
//!
//! SIGPIPE is ignored by every Rust program; SIGQUIT is left to the system, which ends the process and, where it is set
//! up for that, keeps an image of its memory.
//!
//! Invariant: no signal that is taken over ends the process by itself. SIGHUP, SIGUSR1 and SIGUSR2 are taken over before
//! anything else is done, SIGTERM and SIGINT before the first client can be answered; one that arrives before `listen`
//! is kept and acted on then.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::{Handle, Signals};

use crate::error::{Error, Result};
use crate::state::ServerState;

/// The threads that act on signals; they end when this is dropped.
pub(crate) struct SignalThread {
    handle: Handle,
    thread: Option<JoinHandle<()>>,
    reloading: Option<JoinHandle<()>>,
}

/// What SIGHUP does.
type Reload = Box<dyn Fn(&ServerState) + Send>;

/// Signals that were taken over from the system, which would end the process, and what SIGHUP reloads.
pub(crate) struct Registered {
    signals: Signals,
    reload: Option<Reload>,
}

impl Registered {
    /// Takes over the signals that must not end the program even while it starts.
    pub(crate) fn while_starting() -> Result<Registered> {
        Self::new(&[SIGHUP, SIGUSR1, SIGUSR2])
    }

    /// Takes over those that stop the server, and no others.
    pub(crate) fn to_stop() -> Result<Registered> {
        Self::new(&[SIGTERM, SIGINT])
    }

    fn new(signals: &[i32]) -> Result<Registered> {
        Ok(Registered { signals: Signals::new(signals).map_err(cannot_listen)?, reload: None })
    }

    /// Sets what SIGHUP reloads.
    pub(crate) fn reloading(mut self, reload: impl Fn(&ServerState) + Send + 'static) -> Registered {
        self.reload = Some(Box::new(reload));
        self
    }

    /// Takes over those that stop the server, too.
    pub(crate) fn and_to_stop(self) -> Result<Registered> {
        for signal in [SIGTERM, SIGINT] {
            self.signals.add_signal(signal).map_err(cannot_listen)?;
        }
        Ok(self)
    }
}

fn cannot_listen(source: std::io::Error) -> Error {
    Error::System { what: "listen for signals", source }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(run);
    spawned.map_err(|source| Error::System { what: "start a thread", source })
}

impl SignalThread {
    /// Acts on signals from now on.
    pub(crate) fn listen(registered: Registered, state: Arc<ServerState>) -> Result<SignalThread> {
        let Registered { mut signals, reload } = registered;
        let handle = signals.handle();
        let (hangups, received) = mpsc::channel();
        // On a thread of its own: a file that does not answer must not keep the server from being stopped.
        let reloading = reload
            .map(|reload| {
                let state = state.clone();
                spawn("kv-reload", move || reload_when_told(&reload, &state, &received))
            })
            .transpose()?;
        let run = move || {
            for signal in signals.forever() {
                act(signal, &state, &hangups);
            }
        };
        Ok(SignalThread { handle, thread: Some(spawn("kv-signals", run)?), reloading })
    }
}

fn act(signal: i32, state: &ServerState, hangups: &Sender<()>) {
    match signal {
        SIGTERM | SIGINT => {
            if state.stopping.load(SeqCst) {
                tracing::warn!("second signal: ending at once");
                std::process::exit(128 + signal);
            }
            tracing::info!(signal, "stopping");
            state.stop();
        }
        // Fails only where nothing is to be reloaded: there nobody takes this signal over.
        SIGHUP => drop(hangups.send(())),
        SIGUSR1 => tracing::warn!("SIGUSR1 has no meaning here and is ignored"),
        SIGUSR2 => tracing::warn!("SIGUSR2 has no meaning here and is ignored"),
        _ => {}
    }
}

fn reload_when_told(reload: &Reload, state: &ServerState, hangups: &Receiver<()>) {
    while hangups.recv().is_ok() {
        // Those that came meanwhile ask for the same.
        while hangups.try_recv().is_ok() {}
        reload(state);
    }
}

impl Drop for SignalThread {
    fn drop(&mut self) {
        self.handle.close();
        // The sender of hangups ends with the first thread.
        for thread in [self.thread.take(), self.reloading.take()].into_iter().flatten() {
            let _ = thread.join();
        }
    }
}
