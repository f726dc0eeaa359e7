//! A server for a [`kvcore`] store that any Redis client can speak to, and `nc` too.
//!
//! A program that embeds a store serves it with one call, see [`Server`]; the `kvserver` program is that call with
//! flags around it, see [`program`].
//!
//! How a request travels: [`listener`](ListenUrl) -> event loop -> connection -> dispatch -> command -> store, and its
//! reply: round -> outbox -> socket.
//!
//! Invariant: a loop never waits. Replies that reveal what is not durable yet wait in the outbox (durability `always`),
//! commands that take long run on a thread of their own.
#![forbid(unsafe_code)]

mod accept;
mod acl;
mod allocator;
mod archive;
mod backups;
mod brief_walk;
mod clients;
mod commands;
mod config;
mod configuration;
mod connection;
mod context;
mod costly;
mod counters;
mod databases;
mod digest;
mod dispatch;
mod durable_file;
mod error;
mod event_loop;
mod events;
mod eviction;
mod execute;
mod hot_keys;
mod http;
mod info;
mod listener;
mod logging;
mod mailbox;
mod newest;
mod offline;
mod offload;
mod origin;
mod outbox;
mod parameters;
mod pause;
mod process;
pub mod program;
mod pubsub;
mod ran;
mod reload;
mod round;
mod secrets;
mod server;
mod session;
mod settings;
mod signals;
mod slow;
mod state;
mod stream;
mod switches;
mod sync;
mod tracking;
mod tuning;
mod watch;
mod worker;

pub use error::{Error, Result};
pub use listener::{BoundAddress, LineRules, ListenUrl, Place, Protocol};
pub use server::{Builder, Server};
