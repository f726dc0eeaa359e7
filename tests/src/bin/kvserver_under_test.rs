//! The server program, built once more as a program of the tests, so that Cargo builds it before them and tells
//! them where it is. It is the same `main` as kvserver's own.

#![forbid(unsafe_code)]

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    kvserver::program::run()
}
