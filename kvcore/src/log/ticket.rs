//! Ticket: a write's result before it is durable. Invariant: it yields its value only when the write is as durable as its handle
//! promises.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use crate::error::{Error, Result};
use crate::log::wal::Wal;
use crate::lsn::Lsn;
use crate::sync::{Condvar, Mutex};

/// The result of a write that was applied and logged, but is perhaps not yet as durable as its handle promises: under
/// [`Durability::Always`](crate::Durability::Always) that is on stable storage; at the weaker levels there is nothing to wait
/// for, and [`sync`](crate::Keyspace::sync) is what waits for the disk.
///
/// Many tickets can share one sync: write a thousand times, then wait for the last. Dropping a ticket does not undo its
/// write; it becomes durable soon after.
///
/// ```
/// let db = kvcore::Db::in_memory();
/// let ticket = db.deferred().increment("visits", 1)?;
/// assert_eq!(ticket.wait()?, 1); // or `.await?`
/// # Ok::<(), kvcore::Error>(())
/// ```
#[must_use = "the write is known to be durable only when its ticket has been waited for"]
pub struct Ticket<T> {
    value: Option<T>,
    lsn: Lsn,
    awaits: Awaits,
}

/// What must happen before a ticket yields its value.
enum Awaits {
    Nothing,
    /// The log is durable up to the ticket's place.
    Log(Arc<Wal>),
    Future(Pin<Box<dyn Future<Output = Result<()>> + Send>>),
}

impl<T: fmt::Debug> fmt::Debug for Ticket<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").field("value", &self.value).field("lsn", &self.lsn).finish_non_exhaustive()
    }
}

impl<T> Ticket<T> {
    /// `wal` is `None` where there is nothing to wait for.
    pub(crate) fn new(value: T, lsn: Lsn, wal: Option<Arc<Wal>>) -> Self {
        Ticket { value: Some(value), lsn, awaits: wal.map_or(Awaits::Nothing, Awaits::Log) }
    }

    /// Returns a ticket for which there is nothing to wait for.
    ///
    /// ```
    /// use kvcore::Ticket;
    /// assert_eq!(Ticket::ready(7).wait()?, 7);
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    pub fn ready(value: T) -> Self {
        Ticket::new(value, Lsn::ZERO, None)
    }

    /// Returns a ticket that yields `value` once `durable` is ready: for implementations of [`Store`](crate::Store) whose
    /// writes become durable later. An error of `durable` is the ticket's.
    ///
    /// [`wait`](Self::wait), and with it every write of the store that is not deferred, blocks its thread until `durable` is ready: so
    /// `durable` must be made ready by another thread. One that is driven by the thread that waits, as by a runtime of a single
    /// thread, never ends: it is to be awaited.
    ///
    /// ```
    /// use kvcore::Ticket;
    /// let ticket = Ticket::after(async { Ok(()) }, 7);
    /// assert_eq!(ticket.wait()?, 7);
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    pub fn after(durable: impl Future<Output = Result<()>> + Send + 'static, value: T) -> Self {
        Ticket { value: Some(value), lsn: Lsn::ZERO, awaits: Awaits::Future(Box::pin(durable)) }
    }

    pub(crate) fn lsn(&self) -> Lsn {
        self.lsn
    }

    /// Returns the ticket with another value.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// let ticket = db.deferred().append("log", "line")?.map(|len| format!("{len} bytes"));
    /// assert_eq!(ticket.wait()?, "4 bytes");
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Ticket<U> {
        Ticket { value: self.value.map(change), lsn: self.lsn, awaits: self.awaits }
    }

    /// Blocks the thread until the write is as durable as its handle promises, and returns its result. Asynchronous code awaits the
    /// ticket instead; see [`after`](Self::after) for a ticket that never ends otherwise.
    ///
    /// ```
    /// let db = kvcore::Db::in_memory();
    /// assert!(!db.deferred().delete("key")?.wait()?);
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of the log, and [`Error::Closed`]: then the outcome of the write is unknown until the store is opened again. Those of the
    /// future that it was made [`after`](Self::after).
    pub fn wait(mut self) -> Result<T> {
        match &mut self.awaits {
            Awaits::Nothing => {}
            Awaits::Log(wal) => wal.wait(self.lsn)?,
            Awaits::Future(durable) => block_on(durable.as_mut())?,
        }
        self.take()
    }

    /// Takes the value: in `wait` and in `poll`, each of which ends the ticket's life.
    fn take(&mut self) -> Result<T> {
        self.value.take().ok_or(Error::TicketUsed)
    }
}

/// Awaiting never blocks the thread and never syncs on it.
impl<T: Unpin> Future for Ticket<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let lsn = self.lsn;
        let durable = match &mut self.awaits {
            Awaits::Nothing => Some(Ok(())),
            Awaits::Log(wal) => wal.poll(lsn, context.waker(), false),
            Awaits::Future(durable) => match durable.as_mut().poll(context) {
                Poll::Pending => None,
                Poll::Ready(outcome) => {
                    // It must not be polled again.
                    self.awaits = Awaits::Nothing;
                    if outcome.is_err() {
                        self.value = None;
                    }
                    Some(outcome)
                }
            },
        };
        match durable {
            None => Poll::Pending,
            Some(Err(error)) => Poll::Ready(Err(error)),
            Some(Ok(())) => Poll::Ready(self.take()),
        }
    }
}

/// Blocks until `future` is ready.
fn block_on<R>(mut future: Pin<&mut (dyn Future<Output = R> + Send)>) -> R {
    #[derive(Default)]
    struct Woken(Mutex<bool>, Condvar);
    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            *self.0.lock() = true;
            self.1.notify_one();
        }
    }
    let woken = Arc::<Woken>::default();
    let waker = Waker::from(Arc::clone(&woken));
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        let mut is_woken = woken.0.lock();
        while !std::mem::take(&mut *is_woken) {
            woken.1.wait(&mut is_woken);
        }
    }
}
