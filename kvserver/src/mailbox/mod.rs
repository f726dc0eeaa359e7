//! How threads speak to an event loop: a list under a short lock, and a wake-up that is sent only to a loop that sleeps;
//! and what they say.
//!
//! Invariant: a mail posted before the loop goes to sleep is seen before it sleeps, or wakes it.

use std::sync::Arc;

use kvcore::Lsn;
use kvproto::{OwnedRequest, Reply};

use crate::acl::Account;
use crate::listener::Protocol;
use crate::stream::Stream;
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sync::{Mutex, Waker};

mod address;
mod invalidation;
mod message;

pub(crate) use address::Address;
pub(crate) use invalidation::{Invalidation, Stale, StaleKeys, What};
pub(crate) use message::{Kind, Message};

/// Bytes of messages on their way between loops above which no loop executes requests: a publisher must not be faster
/// than the loops that hand its messages on.
const UNDELIVERED_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What a loop is told.
#[derive(Debug)]
pub(crate) enum Mail {
    /// A connection accepted for this loop.
    Accepted(Stream, Protocol),
    /// A message for these connections of this loop.
    Published(Message, Vec<Address>),
    /// What a parked connection waited for is done.
    Done(Box<Done>),
    /// This connection is to be closed at once: CLIENT KILL.
    Kill(Address),
    /// A message for one connection of this loop about what it tracks.
    Invalidated(Box<Invalidation>),
    /// Threads that are no loops have changed what may be tracked.
    Changed,
    /// A pause has ended or changed.
    Unpaused,
    /// Users have changed: connections that may not go on for it end.
    Users(Arc<Changed>),
    /// End: finish what was read, then close all.
    Stop,
}

/// What was taken out of a mailbox for one connection.
#[derive(Debug)]
pub(crate) enum Posted {
    /// `is_last`: no other connection of the loop is still to receive it.
    Message {
        message: Message,
        is_last: bool,
    },
    Invalidation(Invalidation),
}

/// The end of a job that ran off the loop.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) to: Address,
    pub(crate) request: OwnedRequest,
    pub(crate) reply: Reply,
    pub(crate) lsn: Lsn,
    /// How long it took, by the clock of [`Slow`](crate::slow::Slow).
    pub(crate) ticks: u64,
}

/// Users that connections may have to end for.
#[derive(Debug)]
pub(crate) struct Changed {
    pub(crate) accounts: Vec<Arc<Account>>,
    /// The client that changed them: it gets its answer before it ends.
    pub(crate) by: u64,
}

/// A loop's mail, on cache lines of its own.
#[repr(align(128))]
pub(crate) struct Mailbox {
    mails: Mutex<Vec<Mail>>,
    /// True while the loop sleeps or is about to: only then does a post cost a system call.
    asleep: AtomicBool,
    /// Whether it is the log it waits for.
    awaits_log: AtomicBool,
    waker: Waker,
}

impl Mailbox {
    pub(crate) fn new(waker: Waker) -> Mailbox {
        Mailbox {
            mails: Mutex::new(Vec::new()),
            asleep: AtomicBool::new(false),
            awaits_log: AtomicBool::new(false),
            waker,
        }
    }

    pub(crate) fn post(&self, mail: Mail) {
        self.mails.lock().push(mail);
        self.wake();
    }

    /// Wakes the loop if it sleeps; otherwise it looks again before it does.
    pub(crate) fn wake(&self) {
        if self.asleep.swap(false, Ordering::SeqCst)
            && let Err(error) = self.waker.wake()
        {
            // The loop looks into its mailbox at every tick, so this delays and does not lose.
            tracing::warn!(%error, "cannot wake an event loop");
        }
    }

    /// Wakes the loop if it sleeps until the log goes on.
    pub(crate) fn wake_for_log(&self) {
        if self.awaits_log.load(Ordering::SeqCst) {
            self.wake();
        }
    }

    /// Says that the loop is about to sleep, and then looks once more for mail and, by `is_ready`, for whatever else it
    /// waits for: who comes later wakes it. Answers whether there is something to do.
    pub(crate) fn fall_asleep(&self, awaits_log: bool, is_ready: impl FnOnce() -> bool) -> bool {
        self.awaits_log.store(awaits_log, Ordering::SeqCst);
        self.asleep.store(true, Ordering::SeqCst);
        !self.mails.lock().is_empty() || is_ready()
    }

    /// Sleeps, in a model, until it is woken.
    #[cfg(all(test, shuttle))]
    pub(crate) fn sleep(&self) {
        self.waker.sleep();
    }

    pub(crate) fn set_awake(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }

    /// Removes what is posted to one connection, in the order in which it was posted.
    fn take_of(&self, to: Address) -> Vec<Posted> {
        let mut taken = Vec::new();
        self.mails.lock().retain_mut(|mail| match mail {
            Mail::Published(message, receivers) => {
                let Some(at) = receivers.iter().position(|receiver| *receiver == to) else { return true };
                receivers.swap_remove(at);
                taken.push(Posted::Message { message: message.clone(), is_last: receivers.is_empty() });
                !receivers.is_empty()
            }
            Mail::Invalidated(invalidation) if invalidation.to == to => {
                let nothing = Invalidation::redirect_broken(to, 0);
                taken.push(Posted::Invalidation(std::mem::replace(&mut **invalidation, nothing)));
                false
            }
            _ => true,
        });
        taken
    }

    /// Moves all mail into `into`, which must be empty.
    pub(crate) fn take(&self, into: &mut Vec<Mail>) {
        std::mem::swap(&mut *self.mails.lock(), into);
    }
}

/// The mailboxes of all loops, in their order.
pub(crate) struct Mailboxes {
    of_loops: Vec<Mailbox>,
    /// Bytes of messages posted to loops that have not taken them yet.
    undelivered: AtomicUsize,
}

impl Mailboxes {
    pub(crate) fn new(of_loops: Vec<Mailbox>) -> Mailboxes {
        Mailboxes { of_loops, undelivered: AtomicUsize::new(0) }
    }

    /// How many loops there are.
    pub(crate) fn len(&self) -> usize {
        self.of_loops.len()
    }

    pub(crate) fn of(&self, loop_index: usize) -> &Mailbox {
        &self.of_loops[loop_index]
    }

    pub(crate) fn all(&self) -> &[Mailbox] {
        &self.of_loops
    }

    /// Posts the same to every loop.
    pub(crate) fn post_to_all(&self, mail: impl Fn() -> Mail) {
        self.of_loops.iter().for_each(|mailbox| mailbox.post(mail()));
    }

    /// Posts a published message to connections of one loop.
    pub(crate) fn publish(&self, loop_index: usize, message: Message, to: Vec<Address>) {
        self.undelivered.fetch_add(message.cost(to.len()), Ordering::Relaxed);
        self.of(loop_index).post(Mail::Published(message, to));
    }

    /// Sends a client word of what has changed.
    pub(crate) fn invalidate(&self, invalidation: Invalidation) {
        self.undelivered.fetch_add(invalidation.cost(), Ordering::Relaxed);
        self.of(invalidation.to.loop_index).post(Mail::Invalidated(Box::new(invalidation)));
    }

    /// Takes what is posted to a connection and has not been delivered: for the loop of that connection, between its mail
    /// and the next.
    pub(crate) fn take_of(&self, to: Address) -> Vec<Posted> {
        let taken = self.of(to.loop_index).take_of(to);
        for posted in &taken {
            self.delivered(match posted {
                Posted::Message { message, is_last: true } => message.cost(1),
                Posted::Message { .. } => size_of::<Address>(),
                Posted::Invalidation(invalidation) => invalidation.cost(),
            });
        }
        taken
    }

    /// Takes note that a loop has taken so many bytes of either.
    pub(crate) fn delivered(&self, bytes: usize) {
        self.undelivered.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Whether messages pile up between loops.
    pub(crate) fn is_backlogged(&self) -> bool {
        self.undelivered.load(Ordering::Relaxed) > UNDELIVERED_BYTES_MAX
    }
}
