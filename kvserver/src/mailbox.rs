//! How threads speak to an event loop: a list under a short lock, and a wake-up that is sent only to a loop that sleeps.
//!
//! Invariant: a mail posted before the loop goes to sleep is seen before it sleeps, or wakes it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kvcore::Lsn;
use kvproto::{OwnedRequest, Reply};
use parking_lot::Mutex;

use crate::acl::Account;
use crate::listener::Protocol;
use crate::stream::Stream;
use crate::tracking::Invalidation;

/// One connection of the server, whichever loop it lives on. A place on a loop is used again, an id never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) loop_index: usize,
    pub(crate) slot: usize,
    pub(crate) client_id: u64,
}

/// A message published to a channel.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) kind: Kind,
    pub(crate) channel: Arc<[u8]>,
    pub(crate) payload: Arc<Vec<u8>>,
    /// What the publisher had seen or done when it published: the message may rest on it.
    pub(crate) lsn: Lsn,
}

/// Why a subscriber receives a message.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Channel,
    /// The pattern that matched.
    Pattern(Arc<[u8]>),
    ShardChannel,
    /// It monitors, and the payload is a line.
    Monitor,
}

impl Message {
    /// The memory it holds while it is on its way, in bytes.
    pub(crate) fn cost(&self) -> usize {
        size_of::<Message>() + self.channel.len() + self.payload.len()
    }

    /// What a subscriber is sent.
    pub(crate) fn as_reply(&self) -> Reply {
        let mut items = match &self.kind {
            Kind::Channel => vec![Reply::bulk("message")],
            Kind::Pattern(pattern) => vec![Reply::bulk("pmessage"), Reply::bulk(&**pattern)],
            Kind::ShardChannel => vec![Reply::bulk("smessage")],
            Kind::Monitor => return Reply::simple(String::from_utf8_lossy(&self.payload).into_owned()),
        };
        items.extend([&*self.channel, self.payload.as_slice()].map(Reply::bulk));
        Reply::Push(items)
    }
}

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

/// A loop's mail.
pub(crate) struct Mailbox {
    mails: Mutex<Vec<Mail>>,
    /// True while the loop sleeps or is about to: only then does a post cost a system call.
    asleep: AtomicBool,
    /// Whether it is the log it waits for.
    awaits_log: AtomicBool,
    waker: mio::Waker,
}

impl Mailbox {
    pub(crate) fn new(waker: mio::Waker) -> Mailbox {
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

    /// Says that the loop is about to sleep. It must look once more for mail and whatever else it waits for before it
    /// does: who comes later wakes it.
    pub(crate) fn set_asleep(&self, awaits_log: bool) {
        self.awaits_log.store(awaits_log, Ordering::SeqCst);
        self.asleep.store(true, Ordering::SeqCst);
    }

    pub(crate) fn set_awake(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.mails.lock().is_empty()
    }

    /// Moves all mail into `into`, which must be empty.
    pub(crate) fn take(&self, into: &mut Vec<Mail>) {
        std::mem::swap(&mut *self.mails.lock(), into);
    }
}
