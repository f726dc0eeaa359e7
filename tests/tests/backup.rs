//! Backups of a running server, with the real programs: BACKUP over the wire, `kvclient backup`, `kvserver backup` and
//! `kvserver restore`, and archives that are none.
//!
//! Invariant: whatever is given to `kvserver restore`, it makes a sound store or leaves nothing behind, anywhere.

#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use kvtests::process::{Launch, ServerProcess, Signal};
use kvtests::program::Program;
use kvtests::wire::{Wire, request, show};
use kvtests::{server_program, wait};
use tempfile::TempDir;

const CLIENT: &str = env!("CARGO_BIN_EXE_kvclient_under_test");
const BLOCK: usize = 512;

/// How a program ended: its exit code, what it said, and what it complained of.
type Ended = (i32, String, String);

fn run(command: &mut Command) -> Ended {
    let (code, output, errors) = Program::start(command).finish();
    assert!(!errors.contains("panicked"), "{command:?}: {errors}");
    (code.expect("an exit code"), output, errors)
}

fn server_tool(words: &[&str]) -> Ended {
    run(Command::new(server_program!()).args(words))
}

fn client(server: &ServerProcess, words: &[&str]) -> Ended {
    run(Command::new(CLIENT).args(words).args(["-u", &format!("redis://{}", server.address(0))]))
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .expect("a directory")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .collect();
    names.sort();
    names
}

fn info(wire: &mut Wire, field: &str) -> u64 {
    let text = wire.text("INFO persistence");
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).expect("a field");
    line.trim().parse().expect("a number")
}

/// The numbers that BACKUP START replies with: bytes and Lsn.
fn start(wire: &mut Wire) -> (usize, u64) {
    wire.send(request(&["BACKUP", "START"]));
    let reply = String::from_utf8(wire.reply()).expect("text");
    let words: Vec<&str> = reply.split("\r\n").collect();
    let number = |name: &str| {
        let at = words.iter().position(|word| *word == name).unwrap_or_else(|| panic!("{name} in {reply:?}"));
        words[at + 1].strip_prefix(':').expect("a number").parse::<u64>().expect("a number")
    };
    (usize::try_from(number("bytes")).expect("a length"), number("lsn"))
}

/// The next piece; empty at the end.
fn read(wire: &mut Wire) -> Vec<u8> {
    wire.send(request(&["BACKUP", "READ"]));
    let reply = wire.reply();
    assert_eq!(reply[0], b'$', "{}", show(&reply));
    let from = reply.iter().position(|byte| *byte == b'\n').expect("a header") + 1;
    reply[from..reply.len() - 2].to_vec()
}

/// A whole archive.
fn take(wire: &mut Wire) -> Vec<u8> {
    let (bytes, _) = start(wire);
    let mut archive = Vec::new();
    loop {
        let piece = read(wire);
        if piece.is_empty() {
            break;
        }
        assert!(piece.len() <= 1 << 20);
        archive.extend_from_slice(&piece);
    }
    assert_eq!(archive.len(), bytes);
    archive
}

fn dump(dir: &Path) -> String {
    let (code, dump, errors) = server_tool(&["dump", text(dir)]);
    assert_eq!(code, 0, "{errors}");
    dump
}

/// The value of a key of `0:9`'s kind in a dump, as a number.
fn number_in(dump: &str, key: &str) -> u64 {
    let key = format!("\"key\":\"{key}\",\"value\":\"");
    dump.split_once(&key)
        .map_or(0, |(_, rest)| rest.split('"').next().and_then(|number| number.parse().ok()).expect("a number"))
}

#[track_caller]
fn restores(archive: &Path, dir: &Path) -> String {
    let (code, said, errors) = server_tool(&["restore", text(archive), text(dir)]);
    assert_eq!(code, 0, "{errors}");
    let (code, checked, _) = server_tool(&["check", text(dir)]);
    assert_eq!(code, 0, "{checked}");
    said
}

/// Nothing is restored, and nothing is left in `root` that was not there.
#[track_caller]
fn refuses(root: &Path, archive: &Path, reason: &str) {
    let before = names(root);
    let (code, said, errors) = server_tool(&["restore", text(archive), text(&root.join("refused"))]);
    assert_eq!((code, said.as_str()), (1, ""), "{reason}: {errors}");
    assert!(errors.contains(reason), "{reason}: {errors}");
    assert_eq!(names(root), before, "{reason}");
}

#[test]
fn a_backup_under_load_holds_what_was_acknowledged_before_it_began() {
    for durability in ["everysec", "always"] {
        let root = TempDir::new().expect("a directory");
        let data = root.path().join("data");
        let server = Launch::new(server_program!(), &data).resp().durability(durability).start();
        let (is_over, acknowledged, begun) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
        struct Over<'a>(&'a AtomicBool);
        impl Drop for Over<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        std::thread::scope(|scope| {
            let _over = Over(&is_over);
            scope.spawn(|| {
                let mut wire = server.connect();
                for number in 1.. {
                    if is_over.load(Ordering::SeqCst) {
                        return;
                    }
                    begun.store(number, Ordering::SeqCst);
                    wire.ask(&format!("MSET left {number} right {number}"), "+OK\r\n");
                    acknowledged.store(number, Ordering::SeqCst);
                }
            });
            let mut wire = server.connect();
            for round in 0..10 {
                let last = acknowledged.load(Ordering::SeqCst);
                wait::until_true("the writer to go on", || acknowledged.load(Ordering::SeqCst) > last);
                if round % 3 == 0 {
                    wire.command("BGSAVE");
                }
                let floor = acknowledged.load(Ordering::SeqCst);
                let archive = take(&mut wire);
                let ceiling = begun.load(Ordering::SeqCst);
                let (file, dir) = (root.path().join("backup.tar"), root.path().join("restored"));
                fs::write(&file, archive).expect("a file");
                restores(&file, &dir);
                let dump = dump(&dir);
                let (left, right) = (number_in(&dump, "left"), number_in(&dump, "right"));
                assert_eq!(left, right);
                assert!((floor..=ceiling).contains(&left), "{left} of {floor} to {ceiling}");
                fs::remove_dir_all(dir).expect("a directory");
            }
        });
        let mut wire = server.connect();
        wire.ask("SELECT 3", "+OK\r\n");
        wire.ask("SET there yes PXAT 4000000000000", "+OK\r\n");
        let archive = take(&mut wire);
        assert_eq!((info(&mut wire, "backups_running"), info(&mut wire, "backups_completed")), (0, 11));
        let (file, dir) = (root.path().join("backup.tar"), root.path().join("restored"));
        fs::write(&file, archive).expect("a file");
        restores(&file, &dir);
        drop(wire);
        let mut server = server;
        assert!(server.terminate().success());
        assert_eq!(dump(&dir), dump(&data));
        // It is a store like any other.
        let server = Launch::new(server_program!(), &dir).resp().start();
        let mut wire = server.connect();
        wire.ask("SELECT 3", "+OK\r\n");
        assert_eq!(wire.text("GET there"), "yes");
    }
}

#[test]
fn a_connection_has_one_backup_and_a_server_a_few() {
    let root = TempDir::new().expect("a directory");
    let server = Launch::new(server_program!(), &root.path().join("data")).resp().start();
    let mut wires: Vec<Wire> = (0..5).map(|_| server.connect()).collect();
    let error = |wire: &mut Wire, line: &str, reason: &str| {
        let reply = wire.command(line);
        assert!(reply[0] == b'-' && show(&reply).contains(reason), "{line}: {}", show(&reply));
    };
    error(&mut wires[0], "BACKUP READ", "no backup is running");
    error(&mut wires[0], "BACKUP STOP", "no backup is running");
    error(&mut wires[0], "BACKUP", "wrong number of arguments");
    error(&mut wires[0], "BACKUP START x", "wrong number of arguments");
    error(&mut wires[0], "BACKUP x", "unknown subcommand");
    assert!(show(&wires[0].command("BACKUP HELP")).contains("READ"));
    wires[0].ask("MULTI", "+OK\r\n");
    error(&mut wires[0], "BACKUP START", "not allowed inside a transaction");
    wires[0].ask("DISCARD", "+OK\r\n");
    for wire in &mut wires[..4] {
        start(wire);
    }
    error(&mut wires[0], "BACKUP START", "is running on this connection");
    error(&mut wires[4], "BACKUP START", "4 backups are running");
    assert_eq!(info(&mut wires[4], "backups_running"), 4);
    // Stopped, reset, and given up by a client that goes away.
    wires[0].ask("BACKUP STOP", "+OK\r\n");
    wires[1].ask("RESET", "+RESET\r\n");
    error(&mut wires[1], "BACKUP READ", "no backup is running");
    assert_eq!(info(&mut wires[4], "backups_running"), 2);
    wires.remove(2);
    let last = wires.len() - 1;
    wait::until_true("the backup of a client that is gone to end", || info(&mut wires[last], "backups_running") == 1);
    start(&mut wires[last]);
    // Requests that wait, and a client that does not wait for their replies.
    let mut gone = server.connect();
    gone.send([request(&["BACKUP", "START"]), request(&["BACKUP", "READ"]), request(&["BACKUP", "READ"])].concat());
    drop(gone);
    wait::until_true("all that have gone to end", || info(&mut wires[last], "backups_running") == 2);
    // One whose client went away may have been read to its end before that was seen.
    let completed = info(&mut wires[0], "backups_completed");
    // One that is not read.
    assert_eq!(
        show(&wires[0].command("CONFIG GET backup-timeout")),
        show(b"*2\r\n$14\r\nbackup-timeout\r\n$2\r\n60\r\n")
    );
    wires[0].ask("CONFIG SET backup-timeout 1", "+OK\r\n");
    wait::until_true("backups that nobody reads to end", || info(&mut wires[0], "backups_running") == 0);
    error(&mut wires[last], "BACKUP READ", "not read for 1 seconds");
    assert_eq!(info(&mut wires[0], "backups_completed"), completed);
    wires[0].ask("PING", "+PONG\r\n");
}

#[test]
fn a_backup_needs_the_right_to_what_is_dangerous_and_a_store_on_disk() {
    let root = TempDir::new().expect("a directory");
    let server = Launch::new(server_program!(), &root.path().join("data")).resp().start();
    let mut wire = server.connect();
    wire.ask("ACL SETUSER app on >pass ~* +@all -@dangerous", "+OK\r\n");
    wire.ask("ACL SETUSER keeper on >pass resetkeys +backup", "+OK\r\n");
    let mut app = server.connect();
    app.ask("AUTH app pass", "+OK\r\n");
    for step in ["start", "read", "stop"] {
        let refused = format!("-NOPERM User app has no permissions to run the 'backup|{step}' command\r\n");
        app.ask(&format!("BACKUP {step}"), refused);
    }
    let mut keeper = server.connect();
    keeper.ask("AUTH keeper pass", "+OK\r\n");
    assert!(!take(&mut keeper).is_empty());
    let url = format!("redis://app:pass@{}", server.address(0));
    let file = root.path().join("file");
    let (code, _, errors) = run(Command::new(CLIENT).args(["-u", &url, "backup", text(&file)]));
    assert!(code == 1 && errors.contains("NOPERM"), "{errors}");
    assert_eq!(names(root.path()), ["data"]);

    let server = Launch::bare(server_program!()).arguments(["--memory-only"]).resp().start();
    let mut wire = server.connect();
    let reply = wire.command("BACKUP START");
    assert!(show(&reply).contains("a store in memory"), "{}", show(&reply));
    assert_eq!(info(&mut wire, "backups_running"), 0);
    let (code, _, errors) = client(&server, &["backup", text(&file)]);
    assert!(code == 1 && errors.contains("a store in memory"), "{errors}");
    assert_eq!(names(root.path()), ["data"]);
    // What a client can repeat at will does not fill the log.
    drop(wire);
    let mut server = server;
    assert!(server.terminate().success());
    assert!(!server.log().contains("ERROR"), "{}", server.log());
}

#[test]
fn the_client_writes_a_backup_that_restores() {
    let root = TempDir::new().expect("a directory");
    let data = root.path().join("data");
    let server = Launch::new(server_program!(), &data).resp().start();
    let mut wire = server.connect();
    // More than a few pieces.
    for i in 0..40 {
        wire.send(request(&["SET", &format!("large{i}"), &format!("{i}").repeat(100_000)]));
        wire.expect("+OK\r\n");
    }
    wire.ask("SAVE", "+OK\r\n");
    wire.ask("SET after it", "+OK\r\n");
    let file = root.path().join("backup.tar");
    let (code, said, errors) = client(&server, &["backup", text(&file)]);
    assert_eq!((code, said.as_str()), (0, ""), "{errors}");
    assert!(errors.contains("is a backup of everything up to Lsn"), "{errors}");
    assert_eq!(fs::metadata(&file).expect("a file").permissions().mode() & 0o777, 0o600);
    assert_eq!(names(root.path()), ["backup.tar", "data"]);
    // No request was one too many.
    assert!(!wire.text("INFO errorstats").contains("errorstat_"), "{}", wire.text("INFO errorstats"));

    let (code, _, errors) = client(&server, &["backup", text(&file)]);
    assert!(code == 1 && errors.contains("--force"), "{errors}");
    let first = fs::read(&file).expect("a file");
    wire.ask("SET more of_it", "+OK\r\n");
    let (code, _, errors) = client(&server, &["backup", "--force", text(&file)]);
    assert_eq!(code, 0, "{errors}");
    assert!(fs::read(&file).expect("a file") != first);
    // One that was killed leaves such a file, which is in nobody's way.
    fs::write(root.path().join("other.partial-0123456789abcdef"), "").expect("a file");
    let other = root.path().join("other");
    let (code, _, errors) = client(&server, &["backup", text(&other)]);
    assert_eq!(code, 0, "{errors}");
    assert_eq!(names(root.path()), ["backup.tar", "data", "other", "other.partial-0123456789abcdef"]);
    // What is not a file is never replaced.
    let directory = root.path().join("directory");
    fs::create_dir(&directory).expect("a directory");
    for words in [&["backup", text(&directory)][..], &["backup", "--force", text(&directory)]] {
        let (code, _, errors) = client(&server, words);
        assert!(code == 1 && errors.contains("is not a file: name a new file"), "{errors}");
    }
    // In a pipe.
    let piped = root.path().join("piped");
    let status = Command::new(CLIENT)
        .args(["-u", &format!("redis://{}", server.address(0)), "backup", "-"])
        .stdout(File::create(&piped).expect("a file"))
        .stderr(Stdio::null())
        .status();
    assert!(status.expect("the client").success());

    match Command::new("tar").arg("tf").arg(&file).output() {
        Ok(listed) => {
            let (listed, errors) = (String::from_utf8_lossy(&listed.stdout), String::from_utf8_lossy(&listed.stderr));
            assert!(listed.lines().any(|line| line == "manifest") && errors.is_empty(), "{listed} {errors}");
            assert!(listed.lines().any(|line| line.starts_with("snapshot-")), "{listed}");
        }
        Err(_) => println!("skipped: tar is not here"),
    }
    drop(wire);
    let mut server = server;
    assert!(server.terminate().success());
    let said = restores(&file, &root.path().join("restored"));
    assert!(said.contains("a snapshot of 40 keys and 2 changes after it"), "{said}");
    restores(&piped, &root.path().join("restored-from-pipe"));
    let restored = Command::new(server_program!())
        .args(["restore", "-", text(&root.path().join("restored-from-input"))])
        .stdin(File::open(&piped).expect("a file"))
        .stdout(Stdio::null())
        .status();
    assert!(restored.expect("the server's program").success());
    let expected = dump(&data);
    for restored in ["restored", "restored-from-pipe", "restored-from-input"] {
        let dir = root.path().join(restored);
        assert!(dump(&dir) == expected, "{restored}");
        assert_eq!(fs::metadata(&dir).expect("a directory").permissions().mode() & 0o777, 0o700);
    }
    // Nothing is written over, and nobody is there to be asked.
    let (code, _, errors) = server_tool(&["restore", text(&file), text(&data)]);
    assert!(code == 1 && errors.contains("is not an empty directory"), "{errors}");
    let (code, _, errors) = run(Command::new(CLIENT).args(["-u", "redis://127.0.0.1:1", "backup", "none"]));
    assert!(code == 1 && errors.contains("cannot connect"), "{errors}");
    let (code, _, _) = run(Command::new(CLIENT).args(["-u", "line://127.0.0.1:1", "backup", "none"]));
    assert_eq!(code, 2);
}

/// A server that dies in the middle of a backup leaves the client with an error and no file.
#[test]
fn a_backup_that_breaks_off_leaves_no_file() {
    let root = TempDir::new().expect("a directory");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("redis://{}", listener.local_addr().expect("an address"));
    for rest in [
        "",
        "$5\r\nhel",
        "$5\r\nhello\r\n$0\r\n\r\n",
        "$100\r\n0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\r\n",
        "-ERR the disk\r\n",
        "+OK\r\n",
    ] {
        let file = root.path().join("file");
        let mut program = Program::start(Command::new(CLIENT).args(["-u", &url, "backup", text(&file)]));
        let (mut stream, _) = listener.accept().expect("the client");
        let wanted = request(&["BACKUP", "START"]);
        let mut asked = vec![0; wanted.len()];
        stream.read_exact(&mut asked).expect("a request");
        assert_eq!(asked, wanted);
        stream.write_all(format!("*4\r\n$5\r\nbytes\r\n:50\r\n$3\r\nlsn\r\n:7\r\n{rest}").as_bytes()).expect("written");
        let wanted = request(&["BACKUP", "READ"]);
        let mut asked = vec![0; wanted.len()];
        stream.read_exact(&mut asked).expect("a request");
        assert_eq!(asked, wanted);
        drop(stream);
        assert_eq!(program.end().code(), Some(1), "{rest:?}");
        assert!(names(root.path()).is_empty(), "{rest:?}: {:?}", names(root.path()));
    }
}

/// A server whose replies to BACKUP a test writes itself.
struct Scripted(TcpListener);

/// The client's program in the middle of a backup, and its server's side of the connection.
struct Midway {
    program: Program,
    stream: TcpStream,
}

impl Scripted {
    const BYTES: usize = 50;

    fn new() -> Scripted {
        Scripted(TcpListener::bind("127.0.0.1:0").expect("a port"))
    }

    /// Starts a backup, which waits for the reply to START.
    fn start(&self, words: &[&str]) -> Midway {
        let url = format!("redis://{}", self.0.local_addr().expect("an address"));
        let program = Program::start(Command::new(CLIENT).args(["-u", &url, "backup"]).args(words));
        let (stream, _) = self.0.accept().expect("the client");
        stream.set_read_timeout(Some(wait::PATIENCE)).expect("a timeout");
        let mut midway = Midway { program, stream };
        midway.asked("START");
        midway
    }

    /// Starts a backup, which waits for the reply to its first READ.
    fn begin(&self, words: &[&str]) -> Midway {
        let mut midway = self.start(words);
        midway.reply(&format!("*4\r\n$5\r\nbytes\r\n:{}\r\n$3\r\nlsn\r\n:7\r\n", Self::BYTES));
        midway.asked("READ");
        midway
    }
}

impl Midway {
    fn asked(&mut self, step: &str) {
        let wanted = request(&["BACKUP", step]);
        let mut asked = vec![0; wanted.len()];
        self.stream.read_exact(&mut asked).expect("a request");
        assert_eq!(asked, wanted);
    }

    fn reply(&mut self, bytes: &str) {
        self.stream.write_all(bytes.as_bytes()).expect("written");
    }

    /// Sends all of it, and returns how the program ended.
    fn complete(mut self, byte: &str) -> Ended {
        self.reply(&format!("${}\r\n{}\r\n$0\r\n\r\n", Scripted::BYTES, byte.repeat(Scripted::BYTES)));
        let (code, output, errors) = self.program.finish();
        (code.expect("an exit code"), output, errors)
    }
}

#[test]
fn backups_that_overlap_each_publish_their_own() {
    let (root, server) = (TempDir::new().expect("a directory"), Scripted::new());
    let file = root.path().join("file");
    let first = server.begin(&[text(&file), "--force"]);
    let second = server.begin(&[text(&file), "--force"]);
    for (midway, byte) in [(first, "1"), (second, "2")] {
        let (code, _, errors) = midway.complete(byte);
        assert_eq!(code, 0, "{errors}");
        assert_eq!(fs::read_to_string(&file).expect("a file"), byte.repeat(Scripted::BYTES));
    }
    assert_eq!(names(root.path()), ["file"]);
}

#[test]
fn a_file_that_appears_during_a_backup_is_not_replaced() {
    let (root, server) = (TempDir::new().expect("a directory"), Scripted::new());
    let file = root.path().join("file");
    let midway = server.begin(&[text(&file)]);
    fs::write(&file, "of somebody else").expect("a file");
    let (code, _, errors) = midway.complete("1");
    assert!(code == 1 && errors.contains("--force"), "{errors}");
    assert_eq!(fs::read_to_string(&file).expect("a file"), "of somebody else");
    assert_eq!(names(root.path()), ["file"]);
}

/// Whatever the server is asked for and does not send.
#[test]
fn a_backup_that_is_interrupted_leaves_no_file() {
    let (root, server) = (TempDir::new().expect("a directory"), Scripted::new());
    let file = root.path().join("file");
    for signal in [Signal::INT, Signal::TERM] {
        for is_begun in [false, true] {
            let mut midway = match is_begun {
                false => server.start(&[text(&file)]),
                true => server.begin(&[text(&file)]),
            };
            assert_eq!(names(root.path()).len(), 1, "{:?}", names(root.path()));
            midway.program.signal(signal);
            assert_eq!(midway.program.end().code(), Some(1), "{signal:?} {is_begun}");
            assert!(names(root.path()).is_empty(), "{signal:?} {is_begun}: {:?}", names(root.path()));
        }
    }
}

/// A header as `tar` writes it, with any words in it.
fn header(name: &str, bytes: &[u8], kind: u8, link: &str) -> [u8; BLOCK] {
    let mut header = [0; BLOCK];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[100..107].copy_from_slice(b"0000600");
    header[108..115].copy_from_slice(b"0000000");
    header[116..123].copy_from_slice(b"0000000");
    header[124..124 + bytes.len()].copy_from_slice(bytes);
    header[136..147].copy_from_slice(b"00000000000");
    header[156] = kind;
    header[157..157 + link.len()].copy_from_slice(link.as_bytes());
    header[257..265].copy_from_slice(b"ustar\x0000");
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    header
}

#[test]
fn what_is_no_whole_archive_is_refused_and_leaves_nothing() {
    let root = TempDir::new().expect("a directory");
    let inside = root.path().join("a/b");
    fs::create_dir_all(&inside).expect("a directory");
    let server = Launch::new(server_program!(), &root.path().join("data")).resp().start();
    let mut wire = server.connect();
    (0..20).for_each(|i| wire.ask(&format!("SET key{i} value{i}"), "+OK\r\n"));
    wire.ask("SAVE", "+OK\r\n");
    (0..20).for_each(|i| wire.ask(&format!("SET key{i} again{i}"), "+OK\r\n"));
    let whole = take(&mut wire);
    let file = inside.join("archive");
    let write = |bytes: &[u8]| fs::write(&file, bytes).expect("a file");

    // Cut at every boundary, and beside it.
    let boundaries = (0..whole.len()).step_by(BLOCK);
    assert!(boundaries.len() > 10);
    for end in boundaries.flat_map(|at| [at, at + 1, at + BLOCK - 1]).filter(|end| *end < whole.len()) {
        write(&whole[..end]);
        refuses(&inside, &file, "is not a whole backup");
    }
    // A byte of each block is another one.
    for at in (0..whole.len() - 2 * BLOCK).step_by(BLOCK) {
        let block = &whole[at..at + BLOCK];
        // Zeros that mean nothing may be there in a segment; elsewhere none are.
        if let Some(byte) = block.iter().position(|byte| *byte != 0) {
            let mut damaged = whole.clone();
            damaged[at + byte] ^= 0x40;
            write(&damaged);
            refuses(&inside, &file, "is not a whole backup");
        }
    }
    write(&[&whole[..], b"x"].concat());
    refuses(&inside, &file, "something follows its end");
    write(b"");
    refuses(&inside, &file, "ends too early");
    write(&[0xff; 4096]);
    refuses(&inside, &file, "not an archive");
    refuses(&inside, &inside.join("nothing"), "cannot read");

    // Entries that lead elsewhere, or claim what they like, before those of a good archive.
    let size = b"00000000004".as_slice();
    let hostile: Vec<(&str, [u8; BLOCK], &str)> = vec![
        ("above", header("../x", size, b'0', ""), "no file of a store"),
        ("absolute", header(&format!("{}/x", text(root.path()))[..], size, b'0', ""), "no file of a store"),
        ("below", header("below/manifest", size, b'0', ""), "no file of a store"),
        ("nameless", header("", size, b'0', ""), "no file of a store"),
        ("the lock", header("lock", size, b'0', ""), "no file of a store"),
        ("a link", header("manifest", b"00000000000", b'2', "/etc/passwd"), "not one that a backup writes"),
        ("a hard link", header("manifest", b"00000000000", b'1', "../archive"), "not one that a backup writes"),
        ("a directory", header("manifest", b"00000000000", b'5', ""), "not one that a backup writes"),
        ("a device", header("manifest", b"00000000000", b'3', ""), "not one that a backup writes"),
        ("a long name", header("manifest", size, b'L', ""), "not one that a backup writes"),
        ("an extension", header("manifest", size, b'x', ""), "not one that a backup writes"),
        ("no length", header("manifest", b"zzzzzzzzzzz", b'0', ""), "damaged"),
        ("too long", header("manifest", b"77777777777", b'0', ""), "in the middle of manifest"),
        (
            "longer than any",
            header("manifest", b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", b'0', ""),
            "in the middle",
        ),
        (
            "of all there is",
            header("manifest", b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff", b'0', ""),
            "in the middle",
        ),
        ("negative", header("manifest", &[0xff; 12], b'0', ""), "damaged"),
    ];
    let before = names(root.path());
    for (what, header, reason) in hostile {
        let file = inside.join("archive");
        fs::write(&file, [&header[..], b"evil", &[0; BLOCK - 4], &whole].concat()).expect("a file");
        println!("{what}");
        refuses(&inside, &file, reason);
        assert_eq!(
            (names(root.path()), names(&root.path().join("a"))),
            (before.clone(), vec!["b".to_owned()]),
            "{what}"
        );
    }
    // The first file twice.
    let length = std::str::from_utf8(&whole[124..135]).expect("digits");
    let piece = BLOCK + usize::from_str_radix(length, 8).expect("a number").next_multiple_of(BLOCK);
    write(&[&whole[..piece], &whole].concat());
    refuses(&inside, &file, "twice");
    // And after all this the archive itself.
    write(&[&whole[..], &[0; 10_240]].concat());
    restores(&file, &inside.join("restored"));
}

#[test]
fn a_closed_store_is_copied_by_the_program() {
    let root = TempDir::new().expect("a directory");
    let (data, copy) = (root.path().join("data"), root.path().join("copy"));
    let server = Launch::new(server_program!(), &data).resp().start();
    let mut wire = server.connect();
    (0..20).for_each(|i| wire.ask(&format!("SET key{i} value{i}"), "+OK\r\n"));
    let (code, _, errors) = server_tool(&["backup", text(&data), text(&copy)]);
    assert!(code == 1 && errors.contains("is in use by"), "{errors}");
    drop(wire);
    let mut server = server;
    assert!(server.terminate().success());
    let (code, said, errors) = server_tool(&["backup", text(&data), text(&copy)]);
    assert_eq!(code, 0, "{errors}");
    assert!(said.contains("everything up to Lsn"), "{said}");
    assert!(dump(&copy) == dump(&data));
    let (code, _, errors) = server_tool(&["backup", text(&data), text(&copy)]);
    assert!(code == 1 && errors.contains("is not an empty directory"), "{errors}");
    restores(&copy, &root.path().join("restored"));
    assert!(dump(&root.path().join("restored")) == dump(&data));
    // What cannot be replaced is refused before anything is written.
    let link = root.path().join("link");
    for leads_to in ["nothing", "empty"] {
        fs::create_dir_all(root.path().join("empty")).expect("a directory");
        symlink(leads_to, &link).expect("a link");
        let (code, _, errors) = server_tool(&["backup", text(&data), text(&link)]);
        assert!(code == 1 && errors.contains("is a symbolic link, which cannot be replaced: name a new"), "{errors}");
        fs::remove_file(&link).expect("a link");
    }
    fs::remove_dir(root.path().join("empty")).expect("a directory");
    if cfg!(target_os = "linux") {
        let (code, _, errors) = server_tool(&["backup", text(&data), "/proc/."]);
        assert!(
            code == 1 && errors.contains("/proc is a mount point, which cannot be replaced: name a new"),
            "{errors}"
        );
    }
    let (code, _, errors) = server_tool(&["backup", text(root.path()), text(&root.path().join("none"))]);
    assert!(code == 1 && errors.contains("holds no store"), "{errors}");
    assert_eq!(names(root.path()), ["copy", "data", "restored"]);
}
