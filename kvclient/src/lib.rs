//! A blocking client library for kv servers, and for Redis.
//!
//! ```
//! # let (server, _) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
//! # let place = server.addresses()[0].tcp().unwrap();
//! use kvclient::{Client, Outcome, SetOptions};
//! use std::time::Duration;
//!
//! # let address = &format!("redis://{place}");
//! let mut client = Client::connect(address)?; // "redis://127.0.0.1:6379"
//! client.set("greeting", "hello")?;
//! let greeting: Option<String> = client.get("greeting")?;
//! assert_eq!(greeting.as_deref(), Some("hello"));
//! client.set_with("session", "alice", &SetOptions::new().expire_in(Duration::from_secs(1_800)))?;
//!
//! // Any command, its reply as any type.
//! let ends: (String, i64) = (client.execute(["GETRANGE", "greeting", "-2", "-1"])?, client.execute(["STRLEN", "greeting"])?);
//! assert_eq!(ends, ("lo".to_owned(), 5));
//!
//! // One round trip.
//! let (visits, ()): (i64, ()) = client.pipeline().add(["INCR", "visits"]).add(["EXPIRE", "visits", "60"]).run()?;
//! assert_eq!(visits, 1);
//!
//! // What became of a request that failed.
//! if let Err(error) = client.incr("greeting") {
//!     assert_eq!(error.outcome(), Outcome::Refused);
//! }
//! # Ok::<(), kvclient::Error>(())
//! ```
//!
//! | | |
//! |---|---|
//! | [`Client`] | a method for each everyday command, and [`execute`](Client::execute) for any other |
//! | [`FromReply`] | the types that replies can be read as |
//! | [`Client::pipeline`] | many commands in one round trip |
//! | [`Client::transaction`], [`watch`](Client::watch), [`transact`](Client::transact) | commands that are executed together, or not at all |
//! | [`Client::subscribe`], [`psubscribe`](Client::psubscribe) | messages as they are published |
//! | [`Client::scan`] | all keys, a page at a time |
//! | [`Options`], [`Reconnect`] | time limits, the protocol's version, and what is done when a connection is lost |
//! | [`Error::outcome`] | whether a request that failed was done |
//! | [`Connection`] | one connection for programs that send and receive on their own schedule |
//!
//! Invariant: no request is sent twice on the library's own account. The library needs neither flags nor line editing: with
//! `default-features = false` nothing of the program comes with it.
#![forbid(unsafe_code)]

pub mod address;
pub mod client;
pub mod connection;
pub mod error;
pub mod format;
mod from_reply;
mod reconnect;
#[doc(hidden)]
pub mod session_state;
pub mod subscription;

pub use address::Address;
pub use client::{Client, Commands, Expiry, Pipeline, Scan, SetOptions, Transaction, Ttl};
pub use connection::{Connection, Options};
pub use error::{Error, Outcome, Result};
pub use from_reply::FromReply;
pub use kvproto::Reply;
pub use kvproto::resp::Version;
pub use reconnect::Reconnect;
pub use subscription::{Message, Subscription};
