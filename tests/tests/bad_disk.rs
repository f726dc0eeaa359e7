//! A disk that is full, and one that fails, under the running server: writes are refused with a reason, reads go on, INFO
//! tells why, nothing acknowledged is lost, and room, or a restart where a write or a sync had failed, brings it back.

#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use kvtests::bad_disk::{SmallDisk, failing};
use kvtests::process::{Launch, ServerProcess};
use kvtests::server_program;
use kvtests::wait;
use kvtests::wire::{Wire, bulk, request, show};
use tempfile::TempDir;

fn skipped(why: &str) {
    println!("skipped, because this machine cannot do it: {why}");
}

/// A field of INFO persistence.
fn persistence(wire: &mut Wire, field: &str) -> String {
    let text = wire.text("INFO persistence");
    let found = text.lines().find_map(|line| line.strip_prefix(field).and_then(|rest| rest.strip_prefix(':')));
    found.unwrap_or_else(|| panic!("no {field} in {text}")).to_owned()
}

fn value(number: usize, bytes: usize) -> Vec<u8> {
    let mut value = format!("{number}:").into_bytes();
    value.resize(value.len().max(bytes), b'x');
    value
}

/// Sets k0, k1, ... to values of so many bytes until one is refused; answers how many were not, and what was said.
fn write_until_refused(server: &ServerProcess, from: usize, bytes: usize) -> (usize, String) {
    let mut wire = server.connect();
    for number in from.. {
        assert!(number < 10_000, "none was refused");
        let key = format!("k{number}");
        wire.send(request(&[b"SET", key.as_bytes(), &value(number, bytes)]));
        let reply = wire.reply();
        if reply != b"+OK\r\n" {
            return (number, String::from_utf8_lossy(&reply).into_owned());
        }
    }
    unreachable!("the loop has no end")
}

fn expect_all(wire: &mut Wire, count: usize, bytes: usize) {
    for number in 0..count {
        wire.ask(&format!("GET k{number}"), bulk(value(number, bytes)));
    }
}

/// What holds while writes are refused for `why`: every further one is, at once; reads of what is safe go on.
fn expect_refusing(server: &ServerProcess, acknowledged: usize, bytes: usize, why: &str) {
    let mut wire = server.connect();
    for write in ["SET new v", "INCR counter", "APPEND k0 tail", "DEL k0", "EXPIRE k0 100", "FLUSHALL", "MSET a 1 b 2"]
    {
        let reply = String::from_utf8_lossy(&wire.command(write)).into_owned();
        assert!(reply.starts_with("-MISCONF ") && reply.contains(why), "{write}: {reply}");
    }
    wire.ask("MULTI", "+OK\r\n");
    wire.ask("SET new v", "+QUEUED\r\n");
    wire.ask("GET k0", "+QUEUED\r\n");
    let reply = wire.command("EXEC");
    assert!(reply.starts_with(b"-MISCONF "), "{}", show(&reply));
    expect_all(&mut wire, acknowledged, bytes);
    wire.ask("GET new", "$-1\r\n");
    wire.ask("PING", "+PONG\r\n");
    assert_eq!(persistence(&mut wire, "aof_last_write_status"), "err");
    let told = persistence(&mut wire, "aof_last_write_error");
    assert!(told.contains(why), "{told}");
}

/// After the restart everything acknowledged is there, and of the rest at most what was refused while it waited.
fn expect_healed(launch: &Launch, acknowledged: usize, bytes: usize) {
    let server = launch.start();
    let mut wire = server.connect();
    expect_all(&mut wire, acknowledged, bytes);
    let size = usize::try_from(wire.integer("DBSIZE")).expect("a count");
    assert!((acknowledged..=acknowledged + 1).contains(&size), "{size} keys, {acknowledged} were acknowledged");
    wire.ask("SET after v", "+OK\r\n");
    assert_eq!(persistence(&mut wire, "aof_last_write_status"), "ok");
    assert_eq!(persistence(&mut wire, "aof_last_write_error"), "");
    server.kill();
    launch.start().connect().ask("GET after", "$1\r\nv\r\n");
}

fn resp(dir: &Path, durability: &str) -> Launch {
    Launch::new(server_program!(), dir).resp().durability(durability).arguments(["--snapshot-every", "0"])
}

/// The server for once on a disk that fails by `rules`, and then on one that does not.
fn on_a_failing_disk(rules: &[&str], bytes: usize, why: &str) {
    let dir = TempDir::new().expect("a temporary directory");
    let launch = resp(dir.path(), "always");
    let failing = match failing(launch.clone(), rules) {
        Ok(failing) => failing,
        Err(why) => return skipped(&why),
    };
    let server = failing.start();
    let (acknowledged, refusal) = write_until_refused(&server, 0, bytes);
    assert!(acknowledged > 0, "it failed before it had begun: {refusal}");
    assert!(refusal.starts_with("-MISCONF ") && refusal.contains(why), "{refusal}");
    expect_refusing(&server, acknowledged, bytes, why);
    // What failed is never tried again, whether or not it would be good now.
    expect_refusing(&server, acknowledged, bytes, why);
    let reply = server.connect().command("SAVE");
    assert!(reply.starts_with(b"-MISCONF "), "{}", show(&reply));
    // It ends in order, and says that something may be lost.
    let mut server = server;
    let status = server.terminate();
    assert_eq!(status.code(), Some(1), "{}", server.log());
    assert!(server.log().lines().any(|line| line.starts_with("kvserver: the log failed")), "{}", server.log());
    assert!(!server.log().contains("the log goes on"), "{}", server.log());
    expect_healed(&launch, acknowledged, bytes);
}

#[test]
fn a_disk_whose_syncs_fail() {
    on_a_failing_disk(&["fdatasync:error=EIO:when=5+"], 100, "Input/output error");
}

#[test]
fn a_disk_one_of_whose_syncs_fails() {
    on_a_failing_disk(&["fdatasync:error=EIO:when=5"], 100, "Input/output error");
}

#[test]
fn a_disk_whose_writes_fail() {
    on_a_failing_disk(&["pwritev:error=EIO:when=5+"], 100, "Input/output error");
}

/// As on a file system that reserves nothing.
#[test]
fn a_disk_one_of_whose_writes_finds_no_space() {
    on_a_failing_disk(&["pwritev:error=ENOSPC:when=5"], 100, "No space left on device");
}

#[test]
fn a_disk_that_cannot_reserve_room_for_a_reason_that_does_not_pass() {
    on_a_failing_disk(&["fallocate:error=EIO:when=2"], 200_000, "Input/output error");
}

#[test]
fn room_that_cannot_be_reserved_for_a_while() {
    const BYTES: usize = 200_000;
    let dir = TempDir::new().expect("a temporary directory");
    let launch = resp(dir.path(), "always");
    let failing = match failing(launch.clone(), &["fallocate:error=ENOSPC:when=2..6"]) {
        Ok(failing) => failing,
        Err(why) => return skipped(&why),
    };
    let server = failing.start();
    let (acknowledged, refusal) = write_until_refused(&server, 0, BYTES);
    assert!(refusal.starts_with("-MISCONF ") && refusal.contains("free some disk space"), "{refusal}");
    let mut wire = server.connect();
    expect_all(&mut wire, acknowledged, BYTES);
    // The one that was refused while it waited: there or not, it is not shown before that is certain.
    let refused = wire.command(&format!("GET k{acknowledged}"));
    assert!(refused.starts_with(b"-MISCONF ") || refused == bulk(value(acknowledged, BYTES)), "{}", show(&refused));
    let mut wire = server.connect();
    wait::until_true("writes that are taken again", || wire.command("SET after v") == b"+OK\r\n");
    assert_eq!(persistence(&mut wire, "aof_last_write_status"), "ok");
    server.kill();
    let server = launch.start();
    let mut wire = server.connect();
    expect_all(&mut wire, acknowledged, BYTES);
    wire.ask("GET after", "$1\r\nv\r\n");
}

/// The log wants a new file, and the process may open no more.
#[test]
fn too_many_open_files_are_called_that() {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};
    let dir = TempDir::new().expect("a temporary directory");
    let server = resp(dir.path(), "always").start();
    let mut wire = server.connect();
    wire.ask("SET k v", "+OK\r\n");
    let pid = Pid::from_raw(i32::try_from(server.id()).expect("a process id"));
    let open = Path::new("/proc").join(server.id().to_string()).join("fd");
    let lowest_free = (0..).find(|fd| !open.join(fd.to_string()).exists());
    let limited = |files| Rlimit { current: files, maximum: Some(1024) };
    prlimit(pid, Resource::Nofile, limited(lowest_free)).expect("a limit");
    // A snapshot begins with a new segment.
    let reply = String::from_utf8_lossy(&wire.command("SAVE")).into_owned();
    assert!(reply.starts_with('-'), "{reply}");
    let refused = "too many files are open, writes are refused";
    let log = wait::until("word of it", || Some(server.log()).filter(|log| log.contains(refused)));
    for told in [reply, log] {
        assert!(told.contains("Too many open files"), "{told}");
        assert!(!told.contains("no space") && !told.contains("disk space"), "{told}");
    }
    prlimit(pid, Resource::Nofile, limited(Some(1024))).expect("a limit");
    wait::until_true("writes that are taken again", || wire.command("SET k 3") == b"+OK\r\n");
    wire.ask("SAVE", "+OK\r\n");
}

/// What was durable when the log failed and had not left, because its client did not read, is still sent.
#[test]
fn an_answer_that_is_durable_outlives_the_log_in_a_full_socket() {
    const PART_BYTES: usize = 256 * 1024;
    let dir = TempDir::new().expect("a temporary directory");
    let server = match failing(resp(dir.path(), "always"), &["fdatasync:error=EIO:when=30+"]) {
        Ok(failing) => failing.start(),
        Err(why) => return skipped(&why),
    };
    let (mut slow, mut other) = (server.connect(), server.connect());
    let part = value(0, PART_BYTES);
    other.send(request(&[b"SET", &b"part"[..], &part]));
    other.expect("+OK\r\n");
    let id = slow.integer("CLIENT ID");
    let mut asked = 0;
    wait::until_true("the socket is full", || {
        slow.send(request(&["GET", "part"]));
        asked += 1;
        // It was answered once it is seen to have asked for something else.
        slow.send(request(&["TTL", "part"]));
        let list = format!("CLIENT LIST ID {id}");
        wait::until_true("it is answered", || other.text(&list).contains(" cmd=ttl "));
        !other.text(&list).contains(" omem=0 ")
    });
    slow.send(request(&["SET", "x", "1"]));
    wait::until_true("it is durable", || other.command("GET x") == b"$1\r\n1\r\n");
    let (_, refusal) = write_until_refused(&server, 0, 100);
    assert!(refusal.starts_with("-MISCONF "), "{refusal}");
    for _ in 0..asked {
        slow.expect(bulk(&part));
        slow.expect(":-1\r\n");
    }
    slow.expect("+OK\r\n");
    slow.ask("PING", "+PONG\r\n");
}

/// Below `always` a write is answered before it is on the disk; the failure is told from then on.
#[test]
fn a_disk_whose_writes_fail_below_always() {
    let dir = TempDir::new().expect("a temporary directory");
    let launch = resp(dir.path(), "everysec");
    let failing = match failing(launch.clone(), &["pwritev:error=EIO:when=5+"]) {
        Ok(failing) => failing,
        Err(why) => return skipped(&why),
    };
    let server = failing.start();
    let mut wire = server.connect();
    let mut acknowledged = 0;
    wait::until_true("a refused write", || {
        let reply = wire.command(&format!("SET k{acknowledged} {acknowledged}"));
        acknowledged += usize::from(reply == b"+OK\r\n");
        reply.starts_with(b"-MISCONF ")
    });
    assert_eq!(persistence(&mut wire, "aof_last_write_status"), "err");
    wire.ask("GET k0", "$1\r\n0\r\n");
    server.kill();
    // A prefix of the history is there.
    let server = launch.start();
    let mut wire = server.connect();
    let size = usize::try_from(wire.integer("DBSIZE")).expect("a count");
    assert!(size <= acknowledged);
    for number in 0..size {
        wire.ask(&format!("GET k{number}"), bulk(number.to_string()));
    }
    wire.ask("SET after v", "+OK\r\n");
}

/// Takes all the room there is.
fn fill(path: &Path) {
    let mut file = File::create(path).expect("a file on the small disk");
    let chunk = vec![1; 64 * 1024];
    // In smaller and smaller pieces, so that not even a small file finds room.
    for piece in [chunk.len(), 4096, 512] {
        while file.write_all(&chunk[..piece]).and_then(|()| file.sync_data()).is_ok() {}
    }
}

#[test]
fn a_full_disk_and_one_with_room_again() {
    const BYTES: usize = 50_000;
    let scratch = TempDir::new().expect("a temporary directory");
    let disk = match SmallDisk::new(scratch.path(), 48) {
        Ok(disk) => disk,
        Err(why) => return skipped(&why),
    };
    let launch = disk.mounted(resp(&disk.data(), "always"));
    let server = launch.start();
    let mut before = 0;
    let mut wire = server.connect();
    while before < 100 {
        wire.send(request(&[b"SET", format!("k{before}").as_bytes(), &value(before, BYTES)]));
        wire.expect("+OK\r\n");
        before += 1;
    }
    let filler = disk.seen_by(server.id(), "filler");
    fill(&filler);
    let (acknowledged, refusal) = write_until_refused(&server, before, BYTES);
    assert!(refusal.starts_with("-MISCONF ") && refusal.contains("No space left on device"), "{refusal}");
    expect_refusing(&server, acknowledged, BYTES, "No space left on device");

    // A snapshot finds no room either; it fails, says so, and leaves nothing that takes room.
    let reply = wire.command("SAVE");
    assert!(reply.starts_with(b"-"), "{}", show(&reply));
    assert_eq!(persistence(&mut wire, "rdb_last_bgsave_status"), "err");
    assert!(persistence(&mut wire, "rdb_last_bgsave_error").contains("o space"), "it says why");
    assert!(!disk.seen_by(server.id(), "data/snapshot.tmp").exists());

    // Room: writes go on by themselves, with nothing lost.
    fs::remove_file(&filler).expect("the filler");
    wait::until_true("writes that are taken again", || wire.command("SET after v") == b"+OK\r\n");
    assert_eq!(persistence(&mut wire, "aof_last_write_status"), "ok");
    expect_all(&mut wire, acknowledged, BYTES);
    wire.ask("SAVE", "+OK\r\n");
    assert_eq!(persistence(&mut wire, "rdb_last_bgsave_status"), "ok");
    assert_eq!(persistence(&mut wire, "rdb_last_bgsave_error"), "");

    // Full again, and killed there: it starts when there is room, and says so before.
    fill(&filler);
    let (acknowledged, _) = write_until_refused(&server, acknowledged, BYTES);
    server.kill();
    let output = launch.run_to_end();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(
        told.lines().last().is_some_and(|line| line.starts_with("kvserver: ") && line.contains("No space")),
        "{told}"
    );
    assert!(told.contains("free some disk space"), "{told}");
    disk.run(&["rm", &filler_inside(&disk)]).expect("the filler");
    let server = launch.start();
    let mut wire = server.connect();
    expect_all(&mut wire, acknowledged, BYTES);
    wire.ask("GET after", "$1\r\nv\r\n");
    wire.ask("SET again v", "+OK\r\n");
}

/// The filler as a program sees it that runs with the disk mounted.
fn filler_inside(disk: &SmallDisk) -> String {
    disk.data().with_file_name("filler").display().to_string()
}

/// Carries out commands in turn, again and again, until one is refused, and returns which that was. Its outcome is unknown
/// from then on.
fn until_refused<'a>(wire: &mut Wire, commands: &[&'a str]) -> &'a str {
    for command in commands.iter().cycle().take(1_000) {
        let reply = wire.command(command);
        if reply.starts_with(b"-MISCONF ") {
            return command;
        }
        assert!(!reply.starts_with(b"-"), "{command}: {}", show(&reply));
    }
    panic!("none of {commands:?} was refused");
}

/// A change of a deadline, a cleared or exchanged database, an expiry: when its outcome is unknown, no reply of whichever
/// command shows it; and what it does not concern is read as before.
#[test]
fn what_is_in_doubt_is_shown_by_no_reply() {
    let of_key =
        "GET k, TTL k, PEXPIRETIME k, EXISTS k, TYPE k, STRLEN k, MGET x k, GETRANGE k 0 1, OBJECT ENCODING k, DUMP k";
    let of_database = format!("{of_key}, DBSIZE, KEYS *, SCAN 0, RANDOMKEY, EXISTS x, GET x");
    for (commands, doubtful) in [
        (&["EXPIRE k 1000", "PERSIST k"][..], of_key),
        (&["DEL k", "SET k v"], of_key),
        (&["FLUSHDB", "SET k v"], of_key),
        (&["FLUSHDB"], &*of_database),
        (&["FLUSHALL"], &*of_database),
        (&["SWAPDB 0 1"], &*of_database),
        (&["MOVE k 1", "COPY k0 k REPLACE"], of_key),
        (&["SET k v PX 1", "GET k"], of_key),
    ] {
        let dir = TempDir::new().expect("a temporary directory");
        let launch = resp(dir.path(), "always");
        let failing = match failing(launch.clone(), &["fdatasync:error=EIO:when=20+"]) {
            Ok(failing) => failing,
            Err(why) => return skipped(&why),
        };
        let server = failing.start();
        let mut wire = server.connect();
        wire.ask("MSET k v k0 v", "+OK\r\n");
        wire.ask("SELECT 2", "+OK\r\n");
        wire.ask("SET sure v", "+OK\r\n");
        wire.ask("SELECT 0", "+OK\r\n");
        let refused = until_refused(&mut wire, commands);
        for command in doubtful.split(", ") {
            // Whoever is refused so is disconnected, too: which replies were lost with it is not known.
            let reply = server.connect().command(command);
            assert!(reply.starts_with(b"-MISCONF "), "{refused} is in doubt, and {command} shows {}", show(&reply));
        }
        let sure = if commands == ["FLUSHALL"] { None } else { Some("$1\r\nv\r\n") };
        let mut wire = server.connect();
        wire.ask("SELECT 2", "+OK\r\n");
        if let Some(sure) = sure {
            wire.ask("GET sure", sure);
        }
        server.kill();
        let server = launch.start();
        let mut wire = server.connect();
        wire.ask("SELECT 2", "+OK\r\n");
        wire.ask("GET sure", sure.unwrap_or("$-1\r\n"));
        wire.ask("SET k v", "+OK\r\n");
    }
}
