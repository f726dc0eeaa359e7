//! A server for a [`kvcore`] store that any Redis client can speak to, and `nc` too.
//!
//! A program that embeds a store serves it with one call, see [`Server`]; the `kvserver` program is that call with
//! flags around it, see [`program`].
//!
//! How a request travels: [`listener`](ListenUrl) -> event loop -> connection -> dispatch -> command -> store, and its
//! reply: reply batch -> outbox -> socket.
//!
//! Invariant: a loop never waits. Replies that reveal what is not durable yet wait in the outbox (durability `always`),
//! commands that take long run on a thread of their own.
#![forbid(unsafe_code)]
// Without the program nobody reads a configuration file or changes the log level.
#![cfg_attr(not(feature = "cli"), allow(dead_code))]

mod acl;
mod admin;
mod clients;
mod commands;
mod config;
mod context;
mod databases;
mod dispatch;
mod error;
mod event_loop;
mod net;
mod notify;
#[cfg(feature = "cli")]
pub mod program;
mod server;
mod session;
mod state;
mod worker;

pub use error::{Error, Result};
pub use net::listener::{BoundAddress, LineRules, ListenUrl, Place, Protocol};
pub use server::{Builder, Server};
