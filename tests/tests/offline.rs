//! `kvserver check`, `repair`, `dump` and `load`, as an operator runs them.
//!
//! Invariant: none of them hangs, whatever lies in the directory, and none of them touches what lies outside.

#![forbid(unsafe_code)]

#[path = "offline/repair.rs"]
mod repair;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use kvtests::process::Launch;
use kvtests::program::Program;
use kvtests::server_program;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;

/// How a command ended: its exit code, what it said, and what it complained of.
type Ended = (i32, String, String);

fn run_with(words: &[&str], input: &str) -> Ended {
    let mut program = Program::start(Command::new(server_program!()).args(words));
    if !input.is_empty() {
        program.say(input);
    }
    let (code, output, errors) = program.finish();
    assert!(!errors.contains("panicked"), "{words:?}: {errors}");
    (code.expect("an exit code"), output, errors)
}

fn run(words: &[&str]) -> Ended {
    run_with(words, "")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// Everything below a directory: what a file holds, where a link leads.
fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        let kind = fs::symlink_metadata(&path).expect("a file").file_type();
        if kind.is_dir() {
            all.extend(contents(&path));
        }
        let bytes = match kind {
            kind if kind.is_file() => fs::read(&path).expect("a file's bytes"),
            kind if kind.is_symlink() => text(&fs::read_link(&path).expect("a link")).into(),
            _ => Vec::new(),
        };
        all.insert(path, bytes);
    }
    all
}

/// A store of 20 keys, each written durably after the other, in one segment of the log. It was killed.
fn store() -> TempDir {
    let dir = TempDir::new().expect("a directory");
    let server = Launch::new(server_program!(), dir.path()).resp().durability("always").start();
    let mut wire = server.connect();
    for i in 0..20 {
        wire.ask(&format!("SET key{i:02} value{i:02}"), "+OK\r\n");
    }
    server.kill();
    dir
}

fn segment(dir: &Path) -> PathBuf {
    let mut files: Vec<PathBuf> =
        fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("one").path()).collect();
    files.retain(|path| text(path).ends_with(".log"));
    files.sort();
    files.remove(0)
}

/// Damages the write of `key10`.
fn damage(dir: &Path) -> usize {
    let path = segment(dir);
    let mut bytes = fs::read(&path).expect("the log");
    let at = bytes.windows(7).position(|bytes| bytes == b"value10").expect("a value");
    bytes[at] ^= 1;
    fs::write(&path, bytes).expect("the log");
    at
}

fn keys(dir: &Path) -> Vec<String> {
    let (code, dump, errors) = run(&["dump", text(dir)]);
    assert_eq!(code, 0, "{errors}");
    dump.lines().map(|line| line.split('"').nth(7).expect("a key").to_owned()).collect()
}

#[test]
fn a_sound_store_is_said_to_be_sound_and_left_alone() {
    let dir = store();
    let before = contents(dir.path());
    let (code, said, errors) = run(&["check", text(dir.path())]);
    assert_eq!((code, errors.as_str()), (0, ""), "{said}");
    assert!(said.contains("is sound: it opens") && said.contains("wal-0000000000000001.log  log: "), "{said}");
    let (code, said, _) = run(&["check", "--json", text(dir.path())]);
    assert!(code == 0 && said.starts_with('{') && said.contains(r#""sound":true"#), "{said}");
    let (code, said, _) = run(&["repair", text(dir.path())]);
    assert!(code == 0 && said.ends_with("nothing was done\n"), "{said}");
    assert!(contents(dir.path()) == before, "a file was changed");

    // An end that a crash tore is no damage, but it is said.
    let path = segment(dir.path());
    let mut bytes = fs::read(&path).expect("the log");
    let last = bytes.windows(7).position(|bytes| bytes == b"value19").expect("the last value");
    bytes[last] ^= 1;
    fs::write(&path, bytes).expect("the log");
    let (code, said, _) = run(&["check", text(dir.path())]);
    assert!(code == 0 && said.contains("is sound: it opens; ") && said.contains("are cut from wal-"), "{said}");
}

#[test]
fn a_damaged_store_is_refused_and_repaired() {
    let dir = store();
    let at = damage(dir.path());
    let before = contents(dir.path());
    let (code, said, _) = run(&["check", text(dir.path())]);
    assert!(code == 1 && said.contains("DAMAGED: it does not open"), "{said}");
    let line = said.lines().find(|line| line.starts_with("wal-")).expect("a line about the log");
    let offset = line.split("DAMAGED at byte ").nth(1).and_then(|rest| rest.split(':').next()).expect("an offset");
    let offset: usize = offset.parse().expect("a number");
    assert!((at - 100..at).contains(&offset), "the frame that holds byte {at}: {line}");
    assert!(line.contains("proves it was whole"), "{line}");
    let (code, said, _) = run(&["check", text(dir.path()), "--json"]);
    assert!(code == 1 && said.contains(r#""sound":false"#) && said.contains(r#""outcome":"refuses""#), "{said}");
    assert!(said.contains(&format!(r#""damage":{{"offset":{offset},"#)), "{said}");
    for refused in [run(&["dump", text(dir.path())]), run_with(&["load", text(dir.path())], "\n")] {
        assert!(refused.0 == 1 && refused.2.contains("`kvserver repair`"), "{refused:?}");
    }
    let server = Launch::new(server_program!(), dir.path()).resp().run_to_end();
    let log = String::from_utf8_lossy(&server.stderr).into_owned();
    assert!(server.status.code() == Some(1) && log.contains("`kvserver repair`"), "{log}");
    assert!(
        contents(dir.path())
            .into_iter()
            .filter(|(path, _)| !path.ends_with("lock"))
            .all(|(path, bytes)| before[&path] == bytes)
    );

    let (code, said, errors) = run(&["repair", text(dir.path())]);
    assert_eq!((code, errors.as_str()), (0, ""), "{said}");
    for part in ["\ncopied to ", "wal-0000000000000001.log, Lsn ", "\nkept: no snapshot, and ", "\nlost: Lsn "] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let (code, said, _) = run(&["check", text(dir.path())]);
    assert!(code == 0 && said.contains("put there by a repair"), "{said}");
    let after = contents(dir.path());
    for (path, bytes) in before.iter().filter(|(path, _)| !path.ends_with("lock")) {
        let copied = |copy: &PathBuf| text(copy).contains("/damaged-2") && copy.file_name() == path.file_name();
        assert!(after.iter().any(|(copy, copied_bytes)| copied(copy) && copied_bytes == bytes), "{}", path.display());
    }
    let server = Launch::new(server_program!(), dir.path()).resp().start();
    let mut wire = server.connect();
    wire.ask("GET key09", "$7\r\nvalue09\r\n");
    wire.ask("GET key10", "$-1\r\n");
    wire.ask("DBSIZE", ":10\r\n");
    wire.ask("SET key10 again", "+OK\r\n");
}

#[test]
fn a_store_that_a_server_has_is_left_to_it() {
    let dir = TempDir::new().expect("a directory");
    let server = Launch::new(server_program!(), dir.path()).resp().durability("always").start();
    let mut wire = server.connect();
    wire.ask("SET key value", "+OK\r\n");
    let before = contents(dir.path());
    for command in ["check", "repair", "dump", "load"] {
        let (code, said, errors) = run(&[command, text(dir.path())]);
        let holder = format!("is in use by process {}: close it there first", server.id());
        assert!(code == 1 && said.is_empty() && errors.contains(&holder), "{command}: {said}{errors}");
    }
    assert!(contents(dir.path()) == before, "a file was changed");
    wire.ask("GET key", "$5\r\nvalue\r\n");
}

#[test]
fn what_is_no_store_is_said_to_be_none() {
    let home = TempDir::new().expect("a directory");
    let path = |name: &str| home.path().join(name);
    fs::create_dir(path("empty")).expect("a directory");
    fs::create_dir(path("other")).expect("a directory");
    fs::write(path("other/notes\x1b[2J.txt"), "wal").expect("a file");
    fs::write(path("other/wal-1.log"), "not a name that a store gives").expect("a file");
    fs::write(path("file"), "a file").expect("a file");
    let before = contents(home.path());
    for command in ["check", "repair", "dump"] {
        for name in ["missing", "empty", "other", "file", "missing/below", "file/below"] {
            let (code, said, errors) = run(&[command, text(&path(name))]);
            assert!(
                code == 1 && said.is_empty() && errors.starts_with("kvserver: "),
                "{command} {name}: {said}{errors}"
            );
            assert!(
                !matches!(name, "empty" | "other") || errors.contains("holds no store"),
                "{command} {name}: {errors}"
            );
        }
    }
    for name in ["file", "file/below"] {
        let (code, _, errors) = run_with(&["load", text(&path(name))], "\n");
        assert!(code == 1 && errors.starts_with("kvserver: "), "{name}: {errors}");
    }
    assert!(contents(home.path()) == before, "something was made or changed");
}

#[test]
fn bad_flags_are_bad_flags() {
    for words in [
        &["check"][..],
        &["repair"],
        &["repair", "a", "--salvage", "--accept-loss"],
        &["dump"],
        &["load"],
        &["mend", "kvdata"],
        &["check", "a", "b"],
        &["check", "--nonsense", "a"],
        &["dump", "a", "--to"],
        &["--memory-only", "check", "a"],
    ] {
        let (code, said, errors) = run(words);
        assert!(code == 2 && said.is_empty() && !errors.is_empty(), "{words:?}: {said}{errors}");
    }
    let (code, help, _) = run(&["--help"]);
    assert_eq!(code, 0);
    for word in ["check", "repair", "dump", "load", "--durability"] {
        assert!(help.contains(word), "{word} is not in --help");
    }
    assert_eq!(run(&["dump", "--help"]).0, 0);
}

#[test]
fn a_dump_is_loaded_and_dumped_again_as_the_same_bytes() {
    let home = TempDir::new().expect("a directory");
    let path = |name: &str| home.path().join(name);
    let server = Launch::new(server_program!(), &path("one")).resp().start();
    let mut wire = server.connect();
    wire.ask("SET plain text", "+OK\r\n");
    wire.ask("SET session 42 PXAT 4102444800123", "+OK\r\n");
    wire.ask("SET gone soon PX 1", "+OK\r\n");
    wire.send("*3\r\n$3\r\nSET\r\n$0\r\n\r\n$0\r\n\r\n");
    assert_eq!(wire.reply(), b"+OK\r\n");
    // Keys and values of every byte, valid and invalid as text, and a large one.
    for byte in 0..=255_u8 {
        wire.send([b"*3\r\n$3\r\nSET\r\n$2\r\nb", &[byte][..], b"\r\n$3\r\n", &[byte, 0xC3, byte], b"\r\n"].concat());
        assert_eq!(wire.reply(), b"+OK\r\n");
    }
    let large = vec![0xFE; 3_000_000];
    wire.send([b"*3\r\n$3\r\nSET\r\n$5\r\nlarge\r\n$3000000\r\n", &large[..], b"\r\n"].concat());
    assert_eq!(wire.reply(), b"+OK\r\n");
    wire.ask("SELECT 7", "+OK\r\n");
    wire.ask("SET plain seven", "+OK\r\n");
    wire.ask("SELECT 15", "+OK\r\n");
    wire.ask("SET plain fifteen EX 100000", "+OK\r\n");
    let mut server = server;
    assert!(server.terminate().success());

    let dump = |store: &str, to: &str| {
        let ended = run(&["dump", text(&path(store)), "--to", text(&path(to))]);
        assert_eq!((ended.0, ended.1.as_str(), ended.2.as_str()), (0, "", ""));
        let mode = fs::metadata(path(to)).expect("the dump").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "others can read {to}");
        fs::read(path(to)).expect("the dump")
    };
    let first = dump("one", "first");
    let lines: Vec<&[u8]> = first.split(|byte| *byte == b'\n').collect();
    // The last line ends as all others do.
    assert_eq!(lines.len(), 3 + 256 + 1 + 2 + 1);
    assert!(lines.contains(&&br#"{"keyspace":"0","key":"plain","value":"text"}"#[..]));
    assert!(lines.contains(&&br#"{"keyspace":"0","key":"session","value":"42","deadline_ms":4102444800123}"#[..]));
    assert_eq!(lines[0], br#"{"keyspace":"0","key":"","value":""}"#);
    let places = ["large", "plain", "session"]
        .map(|key| lines.iter().position(|line| String::from_utf8_lossy(line).contains(&format!("\"key\":\"{key}\""))));
    assert!(places.is_sorted() && places[0].is_some(), "{places:?}");
    assert!(dump("one", "again") == first, "the same store gives another dump");

    let (code, said, errors) = run(&["load", text(&path("two")), "--from", text(&path("first"))]);
    assert_eq!((code, errors.as_str()), (0, ""));
    assert_eq!(said, format!("262 keys are on disk in {}\n", path("two").display()));
    assert!(dump("two", "second") == first, "the second dump is another");

    // Again, through pipes, over what is there, with a deadline that has passed.
    let (_, piped, _) = run(&["dump", text(&path("two"))]);
    assert_eq!(piped.lines().count(), 262);
    let more = "{\"keyspace\":\"7\",\"key\":\"plain\",\"value\":\"changed\"}\n\n{\"keyspace\":\"new\",\"key\":\"k\",\"value\":\"v\"}\n\
                {\"keyspace\":\"0\",\"key\":\"late\",\"value\":\"v\",\"deadline_ms\":1000}";
    let (code, said, _) = run_with(&["load", text(&path("two"))], more);
    assert_eq!(code, 0);
    assert!(
        said.starts_with("2 keys are on disk in ") && said.contains("beside the 262 keys that were there"),
        "{said}"
    );
    assert!(said.contains("; 1 were left out because their deadline has passed"), "{said}");
    let server = Launch::new(server_program!(), &path("two")).resp().start();
    let mut wire = server.connect();
    wire.ask("EXISTS late", ":0\r\n");
    wire.ask("PEXPIRETIME session", ":4102444800123\r\n");
    wire.ask("STRLEN large", ":3000000\r\n");
    wire.ask("SELECT 7", "+OK\r\n");
    wire.ask("GET plain", "$7\r\nchanged\r\n");
}

#[test]
fn a_bad_line_is_named_and_what_stands_before_it_is_kept() {
    let dir = TempDir::new().expect("a directory");
    let input = "{\"keyspace\":\"0\",\"key\":\"a\",\"value\":\"1\"}\n{\"keyspace\":\"0\",\"key\":\"b\",\"value\":\"2\"}\n\
                 {\"keyspace\":\"0\",\"key\":\"c\"}\n{\"keyspace\":\"0\",\"key\":\"d\",\"value\":\"4\"}\n";
    let (code, said, errors) = run_with(&["load", text(dir.path())], input);
    assert_eq!((code, said.as_str()), (1, ""));
    assert_eq!(errors, "kvserver: line 3: value or value_base64 is missing; the 2 keys before it are in the store\n");
    assert_eq!(keys(dir.path()), ["a", "b"]);
    let missing = dir.path().join("missing");
    let (code, _, errors) = run(&["load", text(dir.path()), "--from", text(&missing)]);
    assert!(code == 1 && errors.starts_with("kvserver: cannot read "), "{errors}");
    let (code, _, errors) = run(&["dump", text(dir.path()), "--to", text(&missing.join("below"))]);
    assert!(code == 1 && errors.starts_with("kvserver: cannot write "), "{errors}");
}

/// CVE-2025-27151: redis-check-aof took a path of any length into a buffer of one. Names and kinds of files that nobody
/// expects, wherever the store has a name for one of its own.
#[test]
fn cve_2025_27151_crafted_paths_and_files_are_survived() {
    let home = TempDir::new().expect("a directory");
    for words in [["check", ""], ["repair", ""], ["dump", ""], ["load", ""]] {
        for path in [
            format!("/{}", "a/".repeat(4000)),
            "b".repeat(5000),
            format!("{}/x", "../".repeat(3000)),
            "\u{1b}[2J".into(),
        ] {
            let mut program = Command::new(server_program!());
            let (code, said, errors) =
                Program::start(program.current_dir(home.path()).args([words[0], &path])).finish();
            // A name that is only strange is one that a store can have.
            let is_made = words[0] == "load" && path.len() < 100;
            assert!(code == Some(i32::from(!is_made)), "{words:?}: {code:?} {said}{errors}");
            assert!(is_made || (errors.starts_with("kvserver: ") && !errors.contains("panicked")), "{errors}");
        }
    }
    let outside = home.path().join("outside");
    fs::create_dir(&outside).expect("a directory");
    let victim = outside.join("victim");
    fs::write(&victim, "not to be touched").expect("a file");
    type Make<'a> = &'a dyn Fn(&Path);
    let kinds: [(&str, Make<'_>); 6] = [
        ("a link to a file", &|path| std::os::unix::fs::symlink(&victim, path).expect("a link")),
        ("a link to a directory", &|path| std::os::unix::fs::symlink(&outside, path).expect("a link")),
        ("a link to a device", &|path| std::os::unix::fs::symlink("/dev/zero", path).expect("a link")),
        ("a link to nothing", &|path| std::os::unix::fs::symlink("/nowhere/at/all", path).expect("a link")),
        ("a pipe", &|path| mknodat(CWD, path, FileType::Fifo, Mode::RWXU, 0).expect("a pipe")),
        ("a directory", &|path| {
            fs::create_dir(path).expect("a directory");
            fs::write(path.join("inside"), "kept").expect("a file");
        }),
    ];
    let names = [
        "lock",
        "manifest",
        "wal-0000000000000001.log",
        "wal-0000000000000000.log",
        "wal-0000000000000009.log",
        "snapshot-0000000000000004.kvs",
        "wal.tmp",
        "snapshot.tmp",
        "manifest.tmp",
        "damaged-20270115T080000Z",
        &"n".repeat(255),
    ];
    for (kind, make) in kinds {
        for name in names {
            let what = format!("{kind} named {name}");
            let dir = store();
            let path = dir.path().join(name);
            if name == "lock" {
                fs::remove_file(&path).expect("the lock");
                make(&path);
                for command in ["check", "repair", "dump", "load"] {
                    let (code, _, errors) = run(&[command, text(dir.path())]);
                    assert!(code == 1 && errors.contains("cannot lock the directory"), "{what}: {errors}");
                }
                continue;
            }
            if path.exists() {
                fs::rename(&path, home.path().join("was")).expect("a file moved away");
            }
            make(&path);
            let before = contents(dir.path());
            let (code, said, errors) = run(&["check", text(dir.path())]);
            assert!(matches!(code, 0 | 1) && errors.is_empty(), "{what}: {said}{errors}");
            assert!(contents(dir.path()) == before, "{what}: check changed something");
            let is_lost = name == "wal-0000000000000001.log";
            // Whether the manifest already knows that something was in it is a matter of time.
            let accept: &[&str] = if is_lost { &["--accept-loss"] } else { &[] };
            let (repaired, said, errors) = run(&[&["repair", text(dir.path())][..], accept].concat());
            assert_eq!((repaired, errors.as_str()), (0, ""), "{what}: {said}");
            assert!(code == 1 || contents(dir.path()) == before, "{what}: a sound store was changed");
            let (code, said, _) = run(&["check", text(dir.path())]);
            assert_eq!(code, 0, "{what}: {said}");
            let kept = keys(dir.path());
            assert_eq!(kept.len(), if is_lost { 0 } else { 20 }, "{what}: {kept:?}");
            let (code, _, errors) =
                run_with(&["load", text(dir.path())], "{\"keyspace\":\"0\",\"key\":\"z\",\"value\":\"\"}\n");
            assert_eq!(code, 0, "{what}: it does not open: {errors}");
            assert_eq!(contents(&outside).len(), 1, "{what}");
            assert_eq!(fs::read(&victim).expect("a file"), b"not to be touched", "{what}");
        }
    }
}
