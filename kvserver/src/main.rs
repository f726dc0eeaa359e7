//! The `kvserver` program.
//!
//! Invariant: all that it does is in `kvserver::program`, so that another package can build the same program.
#![forbid(unsafe_code)]

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    kvserver::program::run()
}
