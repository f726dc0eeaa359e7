//! Listeners, sockets, and the output that waits for one.
//!
//! Invariant: nothing here knows a command, a session or the server.

pub(crate) mod listener;
pub(crate) mod outbox;
pub(crate) mod stream;
pub(crate) mod sync;
