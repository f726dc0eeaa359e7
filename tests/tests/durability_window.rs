//! Durability `everysec` under steady load: what was written becomes durable although the writes never pause.

#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use kvtests::process::Launch;
use kvtests::server_program;
use kvtests::wait;
use kvtests::wire::Wire;
use tempfile::TempDir;

/// A field of INFO persistence, as a number.
fn persistence(wire: &mut Wire, field: &str) -> u64 {
    let text = wire.text("INFO persistence");
    let found = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')?.trim().parse().ok());
    found.unwrap_or_else(|| panic!("no {field} in {text}"))
}

/// The load is so light that nothing else makes the log durable: no segment is filled and no buffer, no snapshot is due;
/// and it never pauses for so long that the log is taken for idle.
#[test]
fn everysec_makes_the_log_durable_under_writes_that_never_pause() {
    // And so again after the level was changed on the way.
    for [first, level] in [["everysec", "everysec"], ["os", "everysec"], ["always", "everysec"]] {
        let dir = TempDir::new().expect("a temporary directory");
        let server = Launch::new(server_program!(), dir.path()).resp().durability(first).start();
        let mut wire = server.connect();
        wire.ask(&format!("CONFIG SET appendfsync {level}"), "+OK\r\n");
        let done = Arc::new(AtomicBool::new(false));
        let writing = thread::spawn({
            let (address, done) = (server.address(0), Arc::clone(&done));
            move || {
                let mut wire = Wire::connect(address);
                while !done.load(Ordering::SeqCst) {
                    wire.integer("INCR n");
                    thread::sleep(Duration::from_micros(500));
                }
            }
        });
        let segments = persistence(&mut wire, "log_segments");
        for _ in 0..3 {
            let written = persistence(&mut wire, "log_last_lsn");
            wait::until_true("what was written is durable while writes go on", || {
                persistence(&mut wire, "log_durable_lsn") >= written
            });
        }
        assert_eq!(persistence(&mut wire, "log_segments"), segments, "a new segment made it durable, not the syncer");
        done.store(true, Ordering::SeqCst);
        writing.join().expect("the writer");
    }
}
