//! A store's directory: moved, replaced or deleted while it is open, links in it, and who may read it. No store is
//! ever harmed by another one that takes its path.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and looks at files itself"
)]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use kvcore::{Db, Disk, Durability, Error, FileDisk, Location, Options};

/// Small segments, so that a few writes begin new ones.
fn open(dir: &Path) -> Db {
    Options::new().segment_bytes(4096).open(dir).unwrap()
}

fn write(db: &Db, who: &str, keys: std::ops::Range<u32>) {
    for key in keys {
        db.set(format!("{who}:{key}"), vec![b'v'; 200]).unwrap();
    }
}

/// Checks that the store in `dir` is sound and holds exactly the keys that `who` has written.
#[track_caller]
fn check(dir: &Path, who: &str, keys: u64) {
    let found = Options::new().inspect(dir).unwrap();
    assert!(found.is_sound(), "{found:?}");
    let db = open(dir);
    assert_eq!(db.stats().entries, keys, "{who}");
    (0..keys).for_each(|key| assert!(db.get(format!("{who}:{key}")).unwrap().is_some(), "{who}:{key}"));
    db.close().unwrap();
}

/// Copies a directory's files, as `cp` does.
fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// The first store worked by path: it renamed its segments over the second's and deleted its snapshot.
#[test]
fn a_moved_directory_stays_in_use_and_another_store_in_its_place_is_not_touched() {
    let root = tempfile::tempdir().unwrap();
    let (dir, moved) = (root.path().join("data"), root.path().join("moved"));
    let one = open(&dir);
    write(&one, "one", 0..100);
    assert_eq!(one.location(), Location::Unchanged);
    fs::rename(&dir, &moved).unwrap();
    assert_eq!(one.location(), Location::Moved { to: Some(moved.canonicalize().unwrap()) });
    let other = open(&dir);
    for round in 1..4 {
        write(&one, "one", round * 100..(round + 1) * 100);
        write(&other, "other", (round - 1) * 100..round * 100);
        one.snapshot().unwrap();
        other.snapshot().unwrap();
        one.verify().unwrap();
        other.verify().unwrap();
    }
    // Each is locked against a second process where it is now.
    for dir in [&dir, &moved] {
        assert!(matches!(Db::open(dir), Err(Error::Locked { .. })));
    }
    one.close().unwrap();
    other.close().unwrap();
    check(&moved, "one", 400);
    check(&dir, "other", 300);
}

#[test]
fn a_copy_in_the_place_of_a_moved_directory_is_a_store_of_its_own() {
    let root = tempfile::tempdir().unwrap();
    let (dir, moved) = (root.path().join("data"), root.path().join("moved"));
    let one = open(&dir);
    write(&one, "one", 0..100);
    fs::rename(&dir, &moved).unwrap();
    copy(&moved, &dir);
    let copied = open(&dir);
    write(&one, "one", 100..200);
    write(&copied, "one", 100..150);
    one.snapshot().unwrap();
    copied.snapshot().unwrap();
    write(&one, "one", 200..300);
    drop((one, copied));
    check(&moved, "one", 300);
    check(&dir, "one", 150);
}

#[test]
fn moved_back_it_is_unchanged() {
    let root = tempfile::tempdir().unwrap();
    let (dir, moved) = (root.path().join("data"), root.path().join("moved"));
    let db = open(&dir);
    fs::rename(&dir, &moved).unwrap();
    write(&db, "one", 0..50);
    fs::rename(&moved, &dir).unwrap();
    assert_eq!(db.location(), Location::Unchanged);
    write(&db, "one", 50..100);
    drop(db);
    check(&dir, "one", 100);
}

fn check_refused(db: &Db, what: &str) {
    let error = db.set("k", "v").unwrap_err();
    let told = error.to_string();
    assert!(matches!(error, Error::LogFailed { .. }) && told.contains("was deleted"), "{what}: {told}");
    assert!(matches!(db.health(), Err(Error::LogFailed { .. })), "{what}");
    assert!(db.get("one:0").unwrap().is_some(), "{what}: what is durable is still read");
}

type Deletion = fn(&Path);

/// A write into a file that has no name any more would be acknowledged and lost.
#[test]
fn a_deleted_directory_or_file_fails_the_log_before_anything_is_acknowledged() {
    let deletions: [(&str, Deletion); 4] = [
        ("the directory", |dir| fs::remove_dir_all(dir).unwrap()),
        ("its files", |dir| files(dir).iter().for_each(|file| fs::remove_file(file).unwrap())),
        ("the newest segment", |dir| {
            fs::remove_file(files(dir).iter().rfind(|file| is_segment(file)).unwrap()).unwrap()
        }),
        ("the directory, and another store took its place", |dir| {
            fs::remove_dir_all(dir).unwrap();
            let other = open(dir);
            write(&other, "other", 0..10);
            other.close().unwrap();
        }),
    ];
    for (what, delete) in deletions {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("data");
        let db = open(&dir);
        write(&db, "one", 0..1);
        delete(&dir);
        check_refused(&db, what);
        assert!(db.close().is_err(), "{what}");
        drop(db);
        if what.contains("another store") {
            check(&dir, "other", 10);
        }
    }
}

#[test]
fn a_deleted_directory_is_noticed_at_any_durability() {
    for durability in [Durability::EverySecond, Durability::Os] {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("data");
        let db = Options::new().open(&dir).unwrap();
        db.set("one:0", "v").unwrap();
        db.set_durability(durability);
        fs::remove_dir_all(&dir).unwrap();
        assert_eq!(db.location(), Location::Deleted);
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while db.health().is_ok() {
            assert!(std::time::Instant::now() < deadline, "{durability:?}: writes go on into deleted files");
            let _ = db.set("k", "v");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        check_refused(&db, "the directory");
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn is_segment(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "log")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn only_the_owner_can_read_what_a_store_writes() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("above/data");
    let db = open(&dir);
    write(&db, "one", 0..50);
    db.snapshot().unwrap();
    write(&db, "one", 50..60);
    db.close().unwrap();
    drop(db);
    // A damaged file, so that a repair leaves copies of all of them.
    let segment = files(&dir).into_iter().rfind(|file| is_segment(file)).unwrap();
    let bytes = fs::read(&segment).unwrap();
    fs::write(&segment, &bytes[..bytes.len() / 2]).unwrap();
    let set_aside = Options::new().repair(&dir).unwrap().set_aside.expect("a damaged store");
    assert_eq!(mode(&dir), 0o700);
    assert_eq!(mode(&set_aside), 0o700);
    for file in files(&dir).into_iter().chain(files(&set_aside)).filter(|file| file.is_file()) {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

/// An operator who takes the lock file for a leftover and deletes it would let a second store in, which cuts the log.
#[test]
fn a_deleted_lock_file_lets_nobody_in() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("data");
    let db = open(&dir);
    write(&db, "one", 0..10);
    fs::remove_file(dir.join("lock")).unwrap();
    assert!(matches!(Db::open(&dir), Err(Error::Locked { .. })));
    assert!(matches!(Options::new().inspect(&dir), Err(Error::Locked { .. })));
    write(&db, "one", 10..20);
    drop(db);
    check(&dir, "one", 20);
}

/// The path that is named as its new place must lead to it.
#[test]
fn a_directory_behind_a_link_that_now_leads_elsewhere_is_not_said_to_be_there() {
    let root = tempfile::tempdir().unwrap();
    let (real, moved, link) = (root.path().join("real"), root.path().join("moved"), root.path().join("link"));
    fs::create_dir(&real).unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let db = open(&link);
    assert_eq!(db.location(), Location::Unchanged);
    fs::rename(&real, &moved).unwrap();
    fs::create_dir(&real).unwrap();
    assert_eq!(db.location(), Location::Moved { to: Some(moved.canonicalize().unwrap()) });
}

/// A directory with wider modes, as a container's volume may have, is used as it is.
#[test]
fn a_directory_that_others_can_read_still_opens() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("data");
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
    let db = open(&dir);
    write(&db, "one", 0..10);
    db.close().unwrap();
    assert_eq!(mode(&dir), 0o777);
    assert!(files(&dir).iter().all(|file| mode(file) == 0o600));
}

/// As a volume, or a copy that root has restored, may have it: the modes decide, not the owner.
#[test]
fn a_store_that_belongs_to_another_user_opens() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("data");
    let db = open(&dir);
    write(&db, "one", 0..50);
    db.snapshot().unwrap();
    db.close().unwrap();
    drop(db);
    let foreign = 65_534;
    for path in files(&dir).into_iter().chain([dir.clone()]) {
        if std::os::unix::fs::chown(&path, Some(foreign), Some(foreign)).is_err() {
            eprintln!("skipped: only root can give files away");
            return;
        }
    }
    let exposure = FileDisk.open_dir(&dir).unwrap().exposure();
    assert_eq!(exposure, None, "its modes let nobody else read it");
    check(&dir, "one", 50);
    let db = open(&dir);
    write(&db, "one", 50..90);
    db.snapshot().unwrap();
    db.backup(root.path().join("copy")).unwrap();
    db.close().unwrap();
    drop(db);
    assert_eq!(fs::metadata(&dir).unwrap().uid(), foreign);
    check(&dir, "one", 90);
    check(&root.path().join("copy"), "one", 90);
}

/// A hard link to a file outside was cut at start.
#[test]
fn a_file_with_several_names_is_refused_and_not_touched() {
    let root = tempfile::tempdir().unwrap();
    let sound = root.path().join("sound");
    let db = open(&sound);
    write(&db, "one", 0..50);
    db.snapshot().unwrap();
    write(&db, "one", 50..60);
    db.close().unwrap();
    drop(db);
    let mut names: Vec<_> = files(&sound).iter().map(|file| file.file_name().unwrap().to_owned()).collect();
    names.extend(["wal.tmp", "manifest.tmp"].map(Into::into));
    for name in names {
        let dir = root.path().join(format!("linked-{}", name.display()));
        copy(&sound, &dir);
        let outside = root.path().join(format!("outside-{}", name.display()));
        // Something that a store could take for its own.
        let content = fs::read(sound.join(&name)).unwrap_or_else(|_| b"precious".to_vec());
        fs::write(&outside, &content).unwrap();
        let _ = fs::remove_file(dir.join(&name));
        fs::hard_link(&outside, dir.join(&name)).unwrap();
        let opened = Db::open(&dir);
        // What a crash leaves is only removed, which takes a name away and nothing else.
        match name.to_str().unwrap() {
            "manifest.tmp" | "wal.tmp" => drop(opened.unwrap()),
            _ => {
                let told = opened.unwrap_err().to_string();
                assert!(told.contains("hard links"), "{}: {told}", name.display());
            }
        }
        assert_eq!(fs::read(&outside).unwrap(), content, "{}", name.display());
    }
}

/// A link led the store to a file outside, and a pipe that nobody writes to would keep it waiting for ever.
#[test]
fn what_is_no_regular_file_is_refused_and_what_it_leads_to_is_not_touched() {
    let root = tempfile::tempdir().unwrap();
    let sound = root.path().join("sound");
    let db = open(&sound);
    write(&db, "one", 0..50);
    db.snapshot().unwrap();
    write(&db, "one", 50..60);
    db.close().unwrap();
    drop(db);
    let names: Vec<_> = files(&sound).iter().map(|file| file.file_name().unwrap().to_owned()).collect();
    assert!(names.len() >= 4, "the lock, the manifest, a segment and a snapshot: {names:?}");
    for name in names {
        let content = fs::read(sound.join(&name)).unwrap();
        let outside = root.path().join(format!("outside-{}", name.display()));
        fs::write(&outside, &content).unwrap();
        for kind in ["link", "pipe", "folder"] {
            let dir = root.path().join(format!("{kind}-{}", name.display()));
            copy(&sound, &dir);
            let path = dir.join(&name);
            fs::remove_file(&path).unwrap();
            match kind {
                "link" => std::os::unix::fs::symlink(&outside, &path).unwrap(),
                "pipe" => assert!(Command::new("mkfifo").arg(&path).status().unwrap().success()),
                _ => fs::create_dir(&path).unwrap(),
            }
            let before = names_and_kinds(&dir);
            let refused = Db::open(&dir);
            assert!(refused.is_err(), "{kind} {}: opens", name.display());
            assert_eq!(names_and_kinds(&dir), before, "{kind} {}", name.display());
            assert_eq!(fs::read(&outside).unwrap(), content, "{kind} {}", name.display());
        }
    }
}

fn names_and_kinds(dir: &Path) -> Vec<(PathBuf, fs::FileType)> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let mut found: Vec<_> = entries.map(|entry| (entry.path(), entry.file_type().unwrap())).collect();
    found.sort_by(|one, other| one.0.cmp(&other.0));
    found
}

/// Between fork and exec a child holds copies of all files that its parent has open, and would hold their locks.
#[test]
fn a_closed_store_opens_again_while_the_program_starts_others() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("store");
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    let _ = Command::new("true").status();
                }
            });
        }
        let opened: Result<(), Error> = (0..150).try_for_each(|_| Options::new().open(&dir)?.close());
        ended.store(true, Ordering::Relaxed);
        opened.unwrap();
    });
}
