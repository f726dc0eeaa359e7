//! Bytes to requests and replies to bytes, for every protocol kv speaks. No I/O, no clock, no store.
//!
//! Invariant of the crate: no input makes it panic, every length a peer names is checked against [`Limits`] before
//! memory is set aside for it, and reading a request or writing a short reply allocates nothing once buffers are warm.
//!
//! A request, whatever its protocol, is a list of words, the first of which names a command: [`Request`]. A reply is
//! a [`Reply`] until somebody decides how to spell it. Between the two stands the command table, [`spec::COMMANDS`].
//!
//! ```text
//! RESP request    *<words>\r\n  then for each word  $<bytes>\r\n<the bytes>\r\n
//! inline request  word word "quoted \n word" 'quoted word'\r\n
//! line request    the same words, ended by \n or \r\n; the terse style knows no quotes
//!
//! RESP reply      +text\r\n  -CODE text\r\n  :integer\r\n  $<bytes>\r\n<the bytes>\r\n  $-1\r\n
//!                 *<replies>\r\n and then that many replies  *-1\r\n
//! RESP3 adds      _\r\n null    #t\r\n bool    ,1.5\r\n double    (123\r\n big number
//!                 =<bytes>\r\ntxt:text\r\n     !<bytes>\r\nCODE text\r\n
//!                 %<pairs>\r\n map    ~<replies>\r\n set    ><replies>\r\n push    |<pairs>\r\n attributes
//! line reply      one line, in one of three styles: see [`line`]
//! ```
//!
//! A server reads like this:
//!
//! ```
//! use kvproto::{Limits, Reply, resp};
//!
//! let input = b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n";
//! let mut decoder = resp::RequestDecoder::new();
//! let mut out = Vec::new();
//! if let Some(consumed) = decoder.decode(input, &Limits::default())? {
//!     let request = decoder.request(input);
//!     let reply = match kvproto::spec::resolve(request) {
//!         Ok(spec) => Reply::bulk(spec.name),
//!         Err(error) => error.into(),
//!     };
//!     resp::encode(&reply, resp::Version::Resp2, &mut out);
//!     assert_eq!(consumed, input.len());
//! }
//! assert_eq!(out, b"$3\r\nget\r\n");
//! # Ok::<(), kvproto::ProtocolError>(())
//! ```
#![forbid(unsafe_code)]

pub mod args;
pub mod bulk;
pub mod error;
mod http;
pub mod limits;
pub mod line;
pub mod number;
pub mod quote;
pub mod reply;
pub mod request;
pub mod resp;
pub mod spec;
pub mod text;
mod words;

pub use args::Args;
pub use bulk::Bulk;
pub use error::{CommandError, ProtocolError};
pub use http::is_http_word;
pub use limits::Limits;
pub use number::{parse_float, parse_integer};
pub use reply::Reply;
pub use request::{OwnedRequest, Request};
pub use spec::Spec;
pub use text::Text;
