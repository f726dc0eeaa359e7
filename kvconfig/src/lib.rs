//! Text forms of a configuration: values and their kinds, directives, files of lines as in Redis' `redis.conf`.
//!
//! What the directives do to a server is the server's affair.
//!
//! Invariant: whatever a text holds, reading it changes nothing and does not panic; an error says where and what is wrong.
#![forbid(unsafe_code)]

mod directive;
mod error;
pub mod file;
pub mod value;

pub use directive::{Directive, Place};
pub use error::{Error, Result};
pub use file::ConfigFile;
pub use value::Kind;
