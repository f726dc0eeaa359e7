//! A small blocking client for kv servers, and for Redis.
//!
//! One connection, one request at a time: [`Client::command`]. Many requests in one round trip:
//! [`Client::pipeline`]. Messages as they are published: [`Client::subscribe`]. Every wait has a limit, set in
//! [`Options`].
//!
//! Invariant: nothing is ever sent twice on the client's own account. After an error that leaves the connection in
//! doubt (no reply in time, a broken stream) it is closed and says so.
//!
//! ```no_run
//! # fn main() -> kvclient::Result<()> {
//! let mut client = kvclient::Client::connect("redis://127.0.0.1:6379")?;
//! client.command(["SET", "greeting", "hello"])?;
//! assert_eq!(client.command(["GET", "greeting"])?, kvclient::Reply::bulk("hello"));
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

pub mod address;
pub mod client;
pub mod error;
pub mod format;
pub mod subscription;

pub use address::Address;
pub use client::{Client, Options};
pub use error::{Error, Result};
pub use kvproto::Reply;
pub use subscription::{Message, Subscription};
