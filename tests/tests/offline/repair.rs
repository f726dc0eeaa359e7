//! `kvserver repair` of a store from which a plain repair would drop most, and of one whose time is wrong.
//!
//! Invariant: what it says before is what it does.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use kvcore::{Clock, Deadline, ManualClock, Options, SetOptions, SystemClock};
use kvtests::process::Launch;
use kvtests::server_program;
use tempfile::TempDir;

use crate::{contents, keys, run, segment, text};

/// A store of 20 keys, each in a frame of its own behind the first, which names the default keyspace.
fn twenty_keys() -> TempDir {
    let dir = TempDir::new().expect("a directory");
    let db = Options::new().open(dir.path()).expect("a store");
    db.hooks().wait(db.hooks().last_lsn()).expect("the name is on disk");
    for i in 0..20 {
        db.set(format!("key{i:02}"), format!("value{i:02}")).expect("written");
    }
    db.close().expect("closed");
    dir
}

/// Damages the first write of the log, which names the default keyspace.
fn damage_the_first(dir: &Path) {
    let path = segment(dir);
    let mut bytes = fs::read(&path).expect("the log");
    // Behind the headers of the segment and of the frame.
    bytes[48 + 50] ^= 1;
    bytes[48 + 51] ^= 1;
    fs::write(&path, bytes).expect("the log");
}

/// A repair kept none of these keys, said that all was well, and could not be tried before.
#[test]
fn a_repair_that_would_drop_most_stops_and_names_both_ways() {
    let dir = twenty_keys();
    damage_the_first(dir.path());
    let before = contents(dir.path());
    let (code, said, errors) = run(&["repair", "--dry-run", text(dir.path())]);
    assert_eq!((code, errors.as_str()), (1, ""), "{said}");
    for part in [
        "would be kept: no snapshot, and 0 transactions of the log; 0 keys in all",
        "with --salvage:",
        "would be kept: no snapshot, and 20 transactions of the log; 20 keys in all",
        "would be missing: Lsn 1 to 1",
        "a plain repair would stop",
        "nothing was changed",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!said.contains("stale"), "{said}");
    let (code, said, _) = run(&["repair", "--dry-run", "--json", text(dir.path())]);
    assert_eq!(code, 1);
    for part in [
        r#""outcome":"would stop""#,
        r#""plain_stops":true"#,
        r#""gaps":[],"keys":0,"#,
        r#""gaps":[[1,1]],"keys":20,"left_out":{"count":0,"#,
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(run(&["repair", "--dry-run", "--salvage", text(dir.path())]).0, 0);
    assert_eq!(run(&["repair", "--dry-run", "--accept-loss", text(dir.path())]).0, 0);

    let (code, said, errors) = run(&["repair", text(dir.path())]);
    assert!(code == 1 && said.is_empty(), "{said}");
    assert!(errors.contains("--salvage` (`RepairOptions::salvage`) would keep 20 keys"), "{errors}");
    assert!(errors.contains("--accept-loss"), "{errors}");
    let (code, said, _) = run(&["repair", "--json", text(dir.path())]);
    assert!(code == 1 && said.contains(r#""outcome":"stopped""#), "{said}");
    assert!(contents(dir.path()) == before, "a file was changed");

    let (code, said, errors) = run(&["repair", "--salvage", "--json", text(dir.path())]);
    assert_eq!((code, errors.as_str()), (0, ""), "{said}");
    assert!(said.contains(r#""outcome":"repaired""#) && said.contains(r#""keys":20,"#), "{said}");
    assert_eq!(keys(dir.path()).len(), 20);
    let server = Launch::new(server_program!(), dir.path()).resp().start();
    let mut wire = server.connect();
    wire.ask("GET key00", "$7\r\nvalue00\r\n");
    wire.ask("DBSIZE", ":20\r\n");

    let dir = twenty_keys();
    damage_the_first(dir.path());
    let (code, said, _) = run(&["repair", "--accept-loss", text(dir.path())]);
    assert!(code == 0 && said.contains("; 0 keys in all"), "{said}");
    assert!(keys(dir.path()).is_empty());
}

#[test]
fn what_a_salvaging_repair_cannot_be_sure_of_is_counted() {
    let dir = TempDir::new().expect("a directory");
    let server = Launch::new(server_program!(), dir.path()).resp().durability("always").start();
    let mut wire = server.connect();
    for request in ["SET early 1", "SET changed 1", "SET lost 1", "SET late 1"] {
        wire.ask(request, "+OK\r\n");
    }
    wire.ask("EXPIRE changed 100000", ":1\r\n");
    server.kill();
    let path = segment(dir.path());
    let mut bytes = fs::read(&path).expect("the log");
    let at = bytes.windows(4).position(|bytes| bytes == b"lost").expect("a key");
    bytes[at] ^= 1;
    fs::write(&path, bytes).expect("the log");
    let (code, said, errors) = run(&["repair", "--salvage", text(dir.path())]);
    assert_eq!((code, errors.as_str()), (0, ""), "{said}");
    for part in [
        "\nleft out: 1 keys (0/changed), because only a part",
        "\npossibly stale: 1 keys (0/early); what is missing may have",
        "\nmissing: Lsn 4 to 4\n",
        "\nthe store is that of Lsn 6: transactions before it are missing\n",
        ", Lsn 4 to 4: it is damaged from byte ",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(keys(dir.path()), ["early", "late"]);
}

/// As after a start while the clock was wrong: the store's time stays there.
#[test]
fn a_stores_time_is_set_back() {
    let dir = TempDir::new().expect("a directory");
    let (now_ms, hour_ms) = (SystemClock::new().wall_ms(), 3_600_000);
    let wrong = Arc::new(ManualClock::at(4_102_444_800_000));
    let db = Options::new().open(dir.path()).expect("a store");
    db.set("forever", "1").expect("written");
    let in_an_hour = SetOptions::new().expires_at(Deadline::at_ms(now_ms + hour_ms));
    db.set_with("expired by then", "1", in_an_hour).expect("written");
    drop(db);
    let db = Options::new().clock(wrong).open(dir.path()).expect("a store");
    db.set("written then", "1").expect("written");
    drop(db);
    let server = Launch::new(server_program!(), dir.path()).resp().start();
    let mut wire = server.connect();
    wire.ask("SET session 1", "+OK\r\n");
    wire.ask(&format!("PEXPIREAT session {}", now_ms + hour_ms), ":1\r\n");
    wire.ask("EXISTS session", ":0\r\n");
    let mut server = server;
    assert!(server.terminate().success());

    let before = contents(dir.path());
    assert_eq!(run(&["repair", text(dir.path())]).0, 0);
    let (code, said, errors) = run(&["repair", "--reset-time", "--dry-run", text(dir.path())]);
    assert_eq!((code, errors.as_str()), (0, ""), "{said}");
    assert!(
        said.contains("the store's time would be set back from 2100-01-01T00:00:0") && said.contains("; 2 keys in all"),
        "{said}"
    );
    assert!(contents(dir.path()) == before, "a file was changed");
    let (code, said, errors) = run(&["repair", "--reset-time", text(dir.path())]);
    assert_eq!((code, errors.as_str()), (0, ""), "{said}");
    assert!(
        said.contains("the store's time was set back from 2100-01-01T00:00:0") && said.contains("\ncopied to "),
        "{said}"
    );
    assert_eq!(keys(dir.path()), ["forever", "written then"]);
    let (code, said, _) = run(&["repair", "--reset-time", text(dir.path())]);
    assert!(code == 0 && said.ends_with("nothing was done\n"), "{said}");
    let (code, said, _) = run(&["repair", "--dry-run", text(dir.path())]);
    assert!(code == 0 && said.ends_with("nothing would be done\nnothing was changed\n"), "{said}");
    let server = Launch::new(server_program!(), dir.path()).resp().start();
    let mut wire = server.connect();
    wire.ask("SET session 1", "+OK\r\n");
    wire.ask(&format!("PEXPIREAT session {}", now_ms + hour_ms), ":1\r\n");
    wire.ask("EXISTS session", ":1\r\n");
}

/// As `cp -al` leaves it: it was repaired to an empty store.
#[test]
fn a_store_of_hard_links_is_left_alone() {
    let (dir, home) = (twenty_keys(), TempDir::new().expect("a directory"));
    for path in contents(dir.path()).into_keys().filter(|path| !path.ends_with("lock")) {
        fs::hard_link(&path, home.path().join(path.file_name().expect("a name"))).expect("a link");
    }
    let before = contents(home.path());
    for words in [&["repair"][..], &["repair", "--salvage"], &["repair", "--accept-loss"], &["repair", "--dry-run"]] {
        let (code, said, errors) = run(&[words, &[text(home.path())]].concat());
        assert!(code == 1 && said.is_empty() && errors.contains("(hard links)"), "{words:?}: {said}{errors}");
        let mut after = contents(home.path());
        after.retain(|path, _| !path.ends_with("lock"));
        assert!(after == before, "{words:?}: a file was changed");
    }
}

/// It was called damaged, and a repair was the next thing to try.
#[test]
fn a_store_that_cannot_be_read_is_not_called_damaged() {
    let (dir, home) = (twenty_keys(), TempDir::new().expect("a directory"));
    let names: Vec<_> = contents(dir.path()).into_keys().filter(|path| !path.ends_with("lock")).collect();
    let linked = segment(dir.path());
    fs::hard_link(&linked, home.path().join("outside")).expect("a link");
    let (code, said, errors) = run(&["check", text(dir.path())]);
    assert_eq!((code, errors.as_str()), (1, ""), "{said}");
    let (name, last) = (linked.file_name().expect("a name").to_string_lossy(), said.lines().last().expect("a verdict"));
    assert!(!said.contains("DAMAGED"), "{said}");
    let tells =
        |line: &str| line.starts_with(&*name) && line.contains("(hard links)") && line.contains("copy of itself");
    assert!(said.lines().any(tells), "{said}");
    assert!(
        last.contains("is not known to be sound: it does not open: cannot ") && last.contains("(hard links)"),
        "{last}"
    );
    let (_, said, _) = run(&["check", "--json", text(dir.path())]);
    assert_eq!(said.matches(r#""unreadable":true"#).count(), 1, "{said}");
    assert_eq!(said.matches(r#""damage":null"#).count(), names.len(), "the others, and the lock: {said}");

    // What is damaged besides is called so.
    let manifest = dir.path().join("manifest");
    let bytes = fs::read(&manifest).expect("the manifest");
    fs::write(&manifest, vec![7; bytes.len()]).expect("written");
    let (code, said, _) = run(&["check", text(dir.path())]);
    assert!(code == 1 && said.lines().last().is_some_and(|last| last.contains(" is DAMAGED: ")), "{said}");
    fs::write(&manifest, bytes).expect("written");
    fs::remove_file(home.path().join("outside")).expect("removed");
    assert_eq!(run(&["check", text(dir.path())]).0, 0);
}

/// A folder with the name of a file that is not finished is moved, and that was not said before.
#[test]
fn a_dry_run_names_every_file_that_is_set_aside() {
    let dir = twenty_keys();
    let path = segment(dir.path());
    let mut bytes = fs::read(&path).expect("the log");
    let at = bytes.windows(5).position(|bytes| bytes == b"key15").expect("a key");
    bytes[at] ^= 1;
    fs::write(&path, bytes).expect("the log");
    fs::create_dir(dir.path().join("wal.tmp")).expect("a folder");
    let files = |words: &[&str]| {
        let (code, said, errors) = run(&[words, &[text(dir.path())][..]].concat());
        assert_eq!((code, errors.as_str()), (0, ""), "{said}");
        let from = said.find(r#""files":["#).expect("a list of files in the last object");
        let list = &said[from + 9..];
        list[..list.find(']').expect("its end")].to_owned()
    };
    let planned = files(&["repair", "--dry-run", "--json"]);
    assert!(planned.contains(r#""wal.tmp""#), "{planned}");
    assert_eq!(files(&["repair", "--json"]), planned);
}
