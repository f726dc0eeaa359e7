//! Ticket: a write's result before it is durable. Invariant: it yields its value only when the write is as durable as its handle
//! promises.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::error::Result;
use crate::lsn::Lsn;
use crate::wal::Wal;

/// The result of a write that was applied and logged, but is perhaps not yet as durable as its handle promises: under
/// [`Durability::Always`](crate::Durability::Always) that is on stable storage; at the weaker levels there is nothing to wait
/// for, and [`sync`](crate::Keyspace::sync) is what waits for the disk.
///
/// Many tickets can share one sync: write a thousand times, then wait for the last. Dropping a ticket does not undo its
/// write; it becomes durable soon after.
#[must_use = "the write is known to be durable only when its ticket has been waited for"]
pub struct Ticket<T> {
    value: Option<T>,
    lsn: Lsn,
    wal: Option<Arc<Wal>>,
}

impl<T: fmt::Debug> fmt::Debug for Ticket<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").field("value", &self.value).field("lsn", &self.lsn).finish_non_exhaustive()
    }
}

impl<T> Ticket<T> {
    /// `wal` is `None` where there is nothing to wait for.
    pub(crate) fn new(value: T, lsn: Lsn, wal: Option<Arc<Wal>>) -> Self {
        Ticket { value: Some(value), lsn, wal }
    }

    /// Returns a ticket for which there is nothing to wait for.
    pub fn ready(value: T) -> Self {
        Ticket::new(value, Lsn::ZERO, None)
    }

    pub(crate) fn lsn(&self) -> Lsn {
        self.lsn
    }

    /// Returns the ticket with another value.
    pub fn map<U>(mut self, change: impl FnOnce(T) -> U) -> Ticket<U> {
        Ticket { value: self.value.take().map(change), lsn: self.lsn, wal: self.wal.take() }
    }

    /// Blocks until the write is as durable as its handle promises, and returns its result.
    ///
    /// # Errors
    ///
    /// Those of the log: then the outcome of the write is unknown until the store is opened again.
    pub fn wait(mut self) -> Result<T> {
        if let Some(wal) = &self.wal {
            wal.wait(self.lsn)?;
        }
        self.take()
    }

    /// Takes the value: in `wait` and in `poll`, each of which ends the ticket's life.
    fn take(&mut self) -> Result<T> {
        self.value.take().ok_or(crate::Error::TicketUsed)
    }
}

/// Awaiting never blocks the thread and never syncs on it.
impl<T: Unpin> Future for Ticket<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(wal) = &self.wal {
            match wal.poll(self.lsn, context.waker()) {
                None => return Poll::Pending,
                Some(Err(error)) => return Poll::Ready(Err(error)),
                Some(Ok(())) => {}
            }
        }
        Poll::Ready(self.take())
    }
}
