//! Keyspace events: which event follows from what a command does to a key, and the messages that say so.
//!
//! Invariant: a message is of a class that is wanted, and names the database of its key.

mod classes;
mod event_txn;

pub use classes::{Class, Classes};
pub use event_txn::EventTxn;

/// A message about an event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EventMessage {
    /// `__keyspace@N__:key` or `__keyevent@N__:event`.
    pub channel: Box<[u8]>,
    /// The event, or the key.
    pub payload: Box<[u8]>,
}
