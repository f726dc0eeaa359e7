//! Disposal: frees large things that were removed, on a thread of its own, so that the thread that removed them does not wait.
//! Invariant: few things wait to be freed; what comes beyond them is freed by the thread that removed it, so that memory does not
//! come back more slowly than it is given out.

use std::sync::OnceLock;

use crate::error::{Error, Result};
use crate::sync::{mpsc, thread};
use crate::table::entry::Entry;

/// What takes so many bytes takes about a millisecond to free.
pub(crate) const DISPOSED_BYTES_MIN: usize = 4 * 1024 * 1024;
const WAITING_MAX: usize = 2;

/// Only to be dropped.
type Garbage = Box<dyn Send>;

/// Where garbage goes: nowhere, until there is a thread for it.
#[derive(Default)]
pub(crate) struct Disposal(OnceLock<mpsc::SyncSender<Garbage>>);

impl Disposal {
    /// Starts the thread, if there is none yet. It ends when the last handle of the store is dropped.
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

    /// Frees what takes so many bytes.
    pub(crate) fn free(&self, bytes: usize, garbage: impl Send + 'static) {
        if bytes >= DISPOSED_BYTES_MIN
            && let Some(sender) = self.0.get()
        {
            // What is refused is dropped here.
            let _ = sender.try_send(Box::new(garbage));
        }
    }

    /// Frees entries.
    pub(crate) fn free_entries(&self, entries: impl AsRef<[Entry]> + Send + 'static) {
        let bytes = if self.is_on() { entries.as_ref().iter().map(Entry::bytes).sum() } else { 0 };
        self.free(bytes, entries);
    }
}
