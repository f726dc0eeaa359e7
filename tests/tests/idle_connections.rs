//! Ten thousand clients that are connected and mostly silent cost nobody anything.
//!
//! Alone in its file, because its descriptors would be missing in the other tests of its process.

#![forbid(unsafe_code)]

use kvtests::process::Launch;
use kvtests::server_program;
use kvtests::wire::Wire;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tempfile::TempDir;

/// Descriptors that a process needs beside its connections.
const SPARE: u64 = 200;

#[test]
fn ten_thousand_idle_connections_are_no_problem() {
    let wanted = 10_000_u64;
    // Client and server are two processes, so each needs the descriptors once; both inherit the same hard limit.
    let limit = getrlimit(Resource::Nofile);
    let hard = limit.maximum.unwrap_or(u64::MAX);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
        .expect("a soft limit as high as the hard one");
    let count = wanted.min(hard.saturating_sub(SPARE));
    if count < wanted {
        println!("reduced to {count} connections: the hard limit of open files is {hard}");
    }

    let dir = TempDir::new().expect("a temporary directory");
    let launch = Launch::new(server_program!(), dir.path()).resp().arguments(["--max-clients", "20000"]);
    let server = launch.start();
    let mut connections: Vec<Wire> = (0..count).map(|_| server.connect()).collect();
    let mut busy = server.connect();
    for number in 0..1000 {
        busy.ask(&format!("SET k {number}"), "+OK\r\n");
    }
    let clients = busy.text("INFO clients");
    let connected: u64 = clients
        .lines()
        .find_map(|line| line.strip_prefix("connected_clients:"))
        .and_then(|number| number.parse().ok())
        .unwrap_or_else(|| panic!("no connected_clients in {clients}"));
    assert!(connected > count, "{connected} of {count} idle connections and a busy one");
    // Every one of them is still served: all ask before anyone is answered.
    for wire in &mut connections {
        wire.send("*1\r\n$4\r\nPING\r\n");
    }
    for wire in &mut connections {
        wire.expect("+PONG\r\n");
    }
}
