//! The server while its data directory is moved, replaced, mounted over or deleted: neither the server nor another one
//! that takes the path loses anything, and the operator is warned.
#![forbid(unsafe_code)]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use kvtests::process::{Launch, ServerProcess};
use kvtests::server_program;
use kvtests::wait;
use kvtests::wire::{Wire, bulk};
use tempfile::TempDir;

fn launch(dir: &Path) -> Launch {
    Launch::new(server_program!(), dir).durability("always").resp()
}

/// Writes until the log of the server says `wanted`: the location is checked once a second while the log is written.
#[track_caller]
fn write_until_logged(server: &ServerProcess, wire: &mut Wire, wanted: &str) {
    wait::until_true(wanted, || {
        wire.integer("INCR writes");
        server.log().contains(wanted)
    });
}

#[test]
fn a_moved_directory_stays_in_use_and_another_server_can_take_its_path() {
    let root = TempDir::new().expect("a temporary directory");
    let (dir, moved) = (root.path().join("data"), root.path().join("moved"));
    let first = launch(&dir).start();
    let mut wire = first.connect();
    wire.ask("SET k first", "+OK\r\n");
    assert!(wire.text("INFO persistence").contains("data_directory:unchanged\r\n"));
    fs::rename(&dir, &moved).expect("the directory is moved");
    let info = wire.text("INFO persistence");
    let moved_to = moved.canonicalize().expect("it exists");
    assert!(info.contains("data_directory:moved\r\n"), "{info}");
    assert!(info.contains(&format!("data_directory_moved_to:{}\r\n", moved_to.display())), "{info}");
    let second = launch(&dir).start();
    let mut other = second.connect();
    other.ask("SET k second", "+OK\r\n");
    write_until_logged(&first, &mut wire, "was moved to");
    for wire in [&mut wire, &mut other] {
        wire.ask("SAVE", "+OK\r\n");
    }
    wire.ask("SET k first-again", "+OK\r\n");
    first.kill();
    second.kill();
    for (dir, value) in [(&moved, "first-again"), (&dir, "second")] {
        let mut server = launch(dir).start();
        server.connect().ask("GET k", bulk(value));
        assert_eq!(server.terminate().code(), Some(0), "{}", server.log());
    }
}

#[test]
fn a_deleted_directory_fails_the_log_and_reads_go_on() {
    let root = TempDir::new().expect("a temporary directory");
    let dir = root.path().join("data");
    let mut server = launch(&dir).start();
    let mut wire = server.connect();
    wire.ask("SET k v", "+OK\r\n");
    fs::remove_dir_all(&dir).expect("the directory is deleted");
    let refused = String::from_utf8(wire.command("SET other w")).expect("text");
    assert!(refused.starts_with("-MISCONF ") && refused.contains("was deleted"), "{refused}");
    let mut wire = server.connect();
    wire.ask("GET k", bulk("v"));
    let info = wire.text("INFO persistence");
    assert!(info.contains("data_directory:deleted\r\n") && info.contains("aof_last_write_status:err\r\n"), "{info}");
    assert_eq!(server.terminate().code(), Some(1), "what was in memory only is lost, and that is said");
}

/// Needs the right to mount, in a mount namespace of the server's own.
#[test]
fn a_directory_that_is_mounted_over_stays_in_use() {
    let root = TempDir::new().expect("a temporary directory");
    let dir = root.path().join("data");
    let can_mount =
        std::process::Command::new("unshare").args(["-m", "true"]).status().is_ok_and(|status| status.success());
    if !can_mount {
        println!("skipped: no right to mount, or no `unshare`");
        return;
    }
    let server = launch(&dir).within(["unshare", "-m"]).start();
    let mut wire = server.connect();
    wire.ask("SET k v", "+OK\r\n");
    let mounted = std::process::Command::new("nsenter")
        .args(["-m", "-t", &server.id().to_string(), "mount", "-t", "tmpfs", "none"])
        .arg(&dir)
        .status()
        .expect("nsenter stands beside unshare");
    assert!(mounted.success(), "a mount over the directory");
    assert!(wire.text("INFO persistence").contains("data_directory:moved\r\n"));
    write_until_logged(&server, &mut wire, "mounted over it");
    wire.ask("SAVE", "+OK\r\n");
    wire.ask("SET k under-the-mount", "+OK\r\n");
    server.kill();
    // Outside the namespace nothing is mounted.
    launch(&dir).start().connect().ask("GET k", bulk("under-the-mount"));
}

#[test]
fn modes_that_let_others_read_the_data_are_warned_of() {
    let root = TempDir::new().expect("a temporary directory");
    let dir = root.path().join("data");
    let mut server = launch(&dir).start();
    assert!(!server.startup_log().contains("other users"), "{}", server.log());
    server.connect().ask("SET k v", "+OK\r\n");
    assert_eq!(server.terminate().code(), Some(0));
    fs::set_permissions(&dir, Permissions::from_mode(0o755)).expect("its owner may");
    let mut server = launch(&dir).start();
    let log = server.startup_log();
    assert!(log.contains("mode 0755") && log.contains("chmod -R go="), "{log}");
}
