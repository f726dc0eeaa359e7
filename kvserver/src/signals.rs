//! SIGTERM and SIGINT: the first stops the server in order, a second ends the process at once.
//!
//! Invariant: from `register` on neither signal ends the process by itself, so it comes before the first client can be
//! answered; one that arrives before `listen` is kept and acted on then.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::thread::{self, JoinHandle};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};

use crate::error::{Error, Result};
use crate::state::ServerState;

/// The thread that waits for the signals; it ends when this is dropped.
pub(crate) struct SignalThread {
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

/// Takes the signals over from the system, which would end the process.
pub(crate) fn register() -> Result<Signals> {
    Signals::new([SIGTERM, SIGINT]).map_err(|source| Error::System { what: "listen for signals", source })
}

impl SignalThread {
    /// Obeys `signals` from now on.
    pub(crate) fn listen(mut signals: Signals, state: Arc<ServerState>) -> Result<SignalThread> {
        let handle = signals.handle();
        let run = move || {
            for signal in signals.forever() {
                if state.stopping.load(SeqCst) {
                    tracing::warn!("second signal: ending at once");
                    std::process::exit(128 + signal);
                }
                tracing::info!(signal, "stopping");
                state.stop();
            }
        };
        let spawned = thread::Builder::new().name("kv-signals".to_owned()).spawn(run);
        let thread = spawned.map_err(|source| Error::System { what: "start a thread", source })?;
        Ok(SignalThread { handle, thread: Some(thread) })
    }
}

impl Drop for SignalThread {
    fn drop(&mut self) {
        self.handle.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
