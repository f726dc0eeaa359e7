//! What follows a change: messages, keyspace events, invalidations, the marks of watched keys.
//!
//! Invariant: all of it is driven by the changes that the store notifies of, and leaves the server with the Lsn of its change.

pub(crate) mod events;
pub(crate) mod mailbox;
pub(crate) mod origin;
pub(crate) mod pubsub;
pub(crate) mod tracking;
pub(crate) mod watch;
