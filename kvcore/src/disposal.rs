//! Disposal: frees what large removals leave on a thread of its own, so that whoever removed it does not wait. Invariant: few of
//! them wait to be freed; beyond those, each is freed by the thread that removed it, so that memory does not come back more slowly
//! than it is given out.

use std::sync::OnceLock;

use crate::entry::Entry;
use crate::error::{Error, Result};
use crate::sync::{mpsc, thread};

/// What takes so many bytes takes about a millisecond to free.
pub(crate) const DISPOSED_BYTES_MIN: usize = 4 * 1024 * 1024;
const WAITING_MAX: usize = 2;

/// Only to be dropped.
type Garbage = Box<dyn Send>;

/// Where garbage goes: nowhere, until there is a thread for it.
#[derive(Default)]
pub(crate) struct Disposal(OnceLock<mpsc::SyncSender<Garbage>>);

impl Disposal {
    /// Starts the thread, if there is none yet. It ends with the store.
    pub(crate) fn start(&self) -> Result<()> {
        if self.is_on() {
            return Ok(());
        }
        let (sender, receiver) = mpsc::sync_channel::<Garbage>(WAITING_MAX);
        let run = move || {
            while let Ok(garbage) = receiver.recv() {
                drop(garbage);
            }
        };
        let spawned = thread::Builder::new().name("kv-free".into()).spawn(run);
        spawned.map_err(|error| Error::io("start a thread of the store", error))?;
        // Of two threads that are started at once, one ends here.
        let _ = self.0.set(sender);
        Ok(())
    }

    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.0.get().is_some()
    }

    /// Frees what has at least [`DISPOSED_BYTES_MIN`].
    #[cold]
    pub(crate) fn dispose(&self, garbage: impl Send + 'static) {
        if let Some(sender) = self.0.get() {
            // What is refused is dropped here.
            let _ = sender.try_send(Box::new(garbage));
        }
    }

    /// Frees an entry of any size.
    pub(crate) fn free(&self, entry: Entry) {
        if self.is_on() && entry.bytes() >= DISPOSED_BYTES_MIN {
            self.dispose(entry);
        }
    }
}
