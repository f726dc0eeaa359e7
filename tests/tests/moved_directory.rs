//! The server while its data directory is moved, replaced or deleted: neither the server nor another one that takes the
//! path loses anything, and the operator learns of it.
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use kvtests::process::{Launch, ServerProcess};
use kvtests::server_program;
use kvtests::wait;
use kvtests::wire::{Wire, bulk};
use tempfile::TempDir;

fn start(dir: &Path) -> ServerProcess {
    Launch::new(server_program!(), dir).durability("always").resp().start()
}

fn persistence(wire: &mut Wire) -> String {
    wire.info("persistence")
}

#[test]
fn a_moved_directory_is_reported_and_stays_in_use() {
    let root = TempDir::new().expect("a temporary directory");
    let (dir, moved) = (root.path().join("data"), root.path().join("moved"));
    let mut first = start(&dir);
    let mut wire = Wire::connect(first.address(0));
    wire.ask("SET k first", "+OK\r\n");
    assert!(persistence(&mut wire).contains("data_directory:unchanged\r\n"));
    fs::rename(&dir, &moved).expect("the directory is moved");
    let info = persistence(&mut wire);
    let moved_to = moved.canonicalize().expect("it exists");
    assert!(info.contains("data_directory:moved\r\n"), "{info}");
    assert!(info.contains(&format!("data_directory_moved_to:{}\r\n", moved_to.display())), "{info}");
    let mut second = start(&dir);
    let mut other = Wire::connect(second.address(0));
    other.ask("SET k second", "+OK\r\n");
    // The location is checked once a second while the log is written.
    wait::until("a warning", || {
        wire.ask("INCR n", bulk_integer);
        first.log().contains("was moved to").then_some(())
    });
    for wire in [&mut wire, &mut other] {
        wire.ask("SAVE", "+OK\r\n");
    }
    wire.ask("SET k first-again", "+OK\r\n");
    first.kill();
    second.kill();
    for (dir, value) in [(&moved, "first-again"), (&dir, "second")] {
        let mut server = start(dir);
        Wire::connect(server.address(0)).ask("GET k", bulk(value));
        server.terminate();
    }
}
