//! `kvclient`: talks to a kv or Redis server from the terminal, a script or a pipe.
//!
//! Invariant: nothing but the list of the program's modules and one call is in here.

#![forbid(unsafe_code)]

mod backup;
mod bench;
mod directives;
mod flags;
mod help;
mod manual;
mod modes;
mod output;
mod pipe;
mod program;
mod prompt;
mod session;
mod settings;
mod signals;
mod syntax;
mod target;
mod words;

fn main() -> std::process::ExitCode {
    program::run()
}
