//! How threads speak to an event loop: a list under a short lock, and a wake-up that is sent only to a loop that sleeps;
//! and what they say.
//!
//! Invariant: a message posted before the loop goes to sleep is seen before it sleeps, or wakes it.

use std::sync::Arc;

use kvcore::hooks::{Lookups, Lsn};
use kvproto::{OwnedRequest, Reply};

use crate::acl::Account;
use crate::clients::Address;
use crate::net::listener::Protocol;
use crate::net::stream::Stream;
use crate::net::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::net::sync::{Mutex, Waker};
use crate::notify::exec::ExecResult;

mod invalidation;
mod message;

pub(crate) use invalidation::{Invalidation, Stale, StaleKeys, TrackedChange, What};
pub(crate) use message::{Kind, Message};

/// Bytes of messages on their way between loops above which no loop executes requests: a publisher must not be faster
/// than the loops that hand its messages on.
const UNDELIVERED_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What a loop is told.
#[derive(Debug)]
pub(crate) enum LoopMessage {
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
    Message(Message),
    Invalidation(Invalidation),
}

/// How far a mailbox was searched for what is posted to one connection: it is not searched twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Searched {
    /// Which filling of the mailbox.
    filling: u64,
    messages: usize,
}

/// The end of a job that ran off the loop.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) to: Address,
    pub(crate) request: OwnedRequest,
    pub(crate) reply: Reply,
    pub(crate) lsn: Lsn,
    /// How long it took, by the clock of [`Slow`](kvstats::slow::Slow).
    pub(crate) ticks: u64,
    /// The key lookups that count.
    pub(crate) lookups: Lookups,
    /// What a command did that ran elsewhere because it was too much work for the loop.
    pub(crate) costly: Option<Costly>,
}

/// What is left to do on the loop for a command that ran elsewhere.
#[derive(Debug, Default)]
pub(crate) struct Costly {
    /// The changes that tracking is to look up.
    pub(crate) changes: Vec<TrackedChange>,
    /// Of an EXEC.
    pub(crate) exec: Option<ExecResult>,
}

/// Users that connections may have to end for.
#[derive(Debug)]
pub(crate) struct Changed {
    pub(crate) accounts: Vec<Arc<Account>>,
    /// The client that changed them: it gets its answer before it ends.
    pub(crate) by: u64,
}

#[derive(Debug, Default)]
struct Waiting {
    list: Vec<LoopMessage>,
    /// Counts how often the list was taken.
    filling: u64,
}

/// The messages of one loop, on cache lines of its own.
#[repr(align(128))]
pub(crate) struct Mailbox {
    messages: Mutex<Waiting>,
    /// True while the loop sleeps or is about to: only then does a post cost a system call.
    asleep: AtomicBool,
    /// Whether it is the log it waits for.
    awaits_log: AtomicBool,
    waker: Waker,
}

impl Mailbox {
    pub(crate) fn new(waker: Waker) -> Mailbox {
        Mailbox {
            messages: Mutex::default(),
            asleep: AtomicBool::new(false),
            awaits_log: AtomicBool::new(false),
            waker,
        }
    }

    pub(crate) fn post(&self, message: LoopMessage) {
        self.messages.lock().list.push(message);
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

    /// Says that the loop is about to sleep, and then looks once more for messages and, by `is_ready`, for whatever else it
    /// waits for: who comes later wakes it. Answers whether there is something to do.
    pub(crate) fn fall_asleep(&self, awaits_log: bool, is_ready: impl FnOnce() -> bool) -> bool {
        self.awaits_log.store(awaits_log, Ordering::SeqCst);
        self.asleep.store(true, Ordering::SeqCst);
        !self.messages.lock().list.is_empty() || is_ready()
    }

    /// Sleeps, in a model, until it is woken.
    #[cfg(all(test, shuttle))]
    pub(crate) fn sleep(&self) {
        self.waker.sleep();
    }

    pub(crate) fn set_awake(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }

    /// Removes what is posted to one connection, in the order in which it was posted; begins where `searched` ends. The
    /// messages stay, for other receivers or for nobody, so that places do not change.
    fn take_of(&self, to: Address, searched: &mut Searched) -> Vec<Posted> {
        let mut messages = self.messages.lock();
        let from = if searched.filling == messages.filling { searched.messages } else { 0 };
        *searched = Searched { filling: messages.filling, messages: messages.list.len() };
        let mut taken = Vec::new();
        for posted in messages.list.iter_mut().skip(from) {
            match posted {
                LoopMessage::Published(message, receivers) => {
                    if let Some(at) = receivers.iter().position(|receiver| *receiver == to) {
                        receivers.swap_remove(at);
                        taken.push(Posted::Message(message.clone()));
                    }
                }
                LoopMessage::Invalidated(invalidation) if invalidation.to == to => {
                    if let LoopMessage::Invalidated(invalidation) = std::mem::replace(posted, LoopMessage::Unpaused) {
                        taken.push(Posted::Invalidation(*invalidation));
                    }
                }
                _ => {}
            }
        }
        taken
    }

    /// Moves all messages into `into`, which must be empty.
    pub(crate) fn take(&self, into: &mut Vec<LoopMessage>) {
        let mut messages = self.messages.lock();
        messages.filling += 1;
        std::mem::swap(&mut messages.list, into);
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
    pub(crate) fn post_to_all(&self, message: impl Fn() -> LoopMessage) {
        self.of_loops.iter().for_each(|mailbox| mailbox.post(message()));
    }

    /// Posts a published message to connections of one loop.
    pub(crate) fn publish(&self, loop_index: usize, message: Message, to: Vec<Address>) {
        self.undelivered.fetch_add(message.cost(to.len()), Ordering::Relaxed);
        self.of(loop_index).post(LoopMessage::Published(message, to));
    }

    /// Sends a client word of what has changed.
    pub(crate) fn invalidate(&self, invalidation: Invalidation) {
        self.undelivered.fetch_add(invalidation.cost(), Ordering::Relaxed);
        self.of(invalidation.to.loop_index).post(LoopMessage::Invalidated(Box::new(invalidation)));
    }

    /// Takes what is posted to a connection and was not delivered. Only for the loop of that connection.
    pub(crate) fn take_of(&self, to: Address, searched: &mut Searched) -> Vec<Posted> {
        let taken = self.of(to.loop_index).take_of(to, searched);
        let bytes = |posted: &Posted| match posted {
            // What else it costs is counted off when the message is taken.
            Posted::Message(_) => size_of::<Address>(),
            Posted::Invalidation(invalidation) => invalidation.cost(),
        };
        self.delivered(taken.iter().map(bytes).sum());
        taken
    }

    /// Takes note that a loop has taken so many bytes of either.
    pub(crate) fn delivered(&self, bytes: usize) {
        self.undelivered.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Returns the bytes of messages on their way between loops.
    pub(crate) fn undelivered_bytes(&self) -> usize {
        self.undelivered.load(Ordering::Relaxed)
    }

    /// Whether messages pile up between loops.
    pub(crate) fn is_backlogged(&self) -> bool {
        self.undelivered_bytes() > UNDELIVERED_BYTES_MAX
    }
}
