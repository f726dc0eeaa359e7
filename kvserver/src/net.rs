//! Sockets, event loops, and the threads beside them: bytes come in here, and replies leave.
//!
//! Invariant: a loop never waits for a client, the disk or a thread; what may take long is handed on.

pub(crate) mod accept;
pub(crate) mod connection;
pub(crate) mod event_loop;
pub(crate) mod execute;
pub(crate) mod http;
pub(crate) mod listener;
pub(crate) mod mailbox;
pub(crate) mod offload;
pub(crate) mod outbox;
pub(crate) mod round;
pub(crate) mod signals;
pub(crate) mod stream;
pub(crate) mod sync;
pub(crate) mod worker;
