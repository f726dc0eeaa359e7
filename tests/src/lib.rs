//! The harness of kv's black-box tests: what a test needs to run the real server as a process, to talk to it byte
//! by byte, and to know what it should have answered.
//!
//! Invariant: nothing in here links to the code under test except the programs in `src/bin`. Requests are spelled
//! and replies are read by a second, much simpler implementation, so that an error in the product's own codec
//! cannot hide itself.
//!
//! - [`process`]: the server as a child process: start, kill, signal, restart, read its log.
//! - [`program`]: a program in a pipe or on a pseudo-terminal, spoken to and listened to.
//! - [`wire`]: one raw TCP connection: send bytes, expect bytes.
//! - [`bad_disk`]: disks that fill up and disks that fail, under a server process.
//! - [`conversation`]: a scripted exchange, sent whole, request by request, or one byte at a time.
//! - [`linearizability`]: whether a history of concurrent operations can have happened.
//! - [`model`]: the store as a plain ordered map, to compare with.
//! - [`mod@reference`]: a Redis or a Valkey to compare with.
//! - [`screen`]: what a person sees of a program on a terminal.
//! - [`streams`]: random command streams, good and bad.
//! - [`usage`]: what the system says a process uses.
//! - [`wait`]: waiting for a condition, always with a bound.

#![forbid(unsafe_code)]

pub mod bad_disk;
pub mod conversation;
pub mod linearizability;
pub mod model;
pub mod process;
pub mod program;
pub mod reference;
pub mod screen;
pub mod streams;
pub mod usage;
pub mod wait;
pub mod wire;

/// The path of the server program that Cargo built for these tests.
///
/// A macro, because Cargo tells the path only to the test that is being compiled, not to this library.
#[macro_export]
macro_rules! server_program {
    () => {
        env!("CARGO_BIN_EXE_kvserver_under_test")
    };
}
