//! What is kept where a snapshot holds more than the log that is left.
#![allow(clippy::disallowed_methods, reason = "tests write and damage the files themselves")]

use std::path::Path;

use super::*;
use crate::io::disk::Disk;
use crate::io::file_disk::FileDisk;
use crate::log::frame::{FrameKeys, frame_header, padding, push_transaction, segment_header};
use crate::log::record::Record;
use crate::log::segment::segment_name;
use crate::recovery::snapshot::{Head, SnapshotWriter, VERSION};

const STORE: u64 = 77;

/// A snapshot of these entries, with all up to Lsn 1 and some up to Lsn 4.
fn write_snapshot(dir: &Path, entries: &[(&[u8], &[u8])]) {
    let names = vec![(0, "0".to_owned())];
    let head = Head { version: VERSION, start: 1, keyspaces: names, next_keyspace: 1, store: STORE, ..Head::default() };
    let mut tables = RecoveredState::of(&head, 1, LoadMode::Entries);
    for (key, value) in entries {
        tables.apply(&Record::Set { keyspace: 0, key, value, deadline: 0 }).unwrap();
    }
    let mut writer = SnapshotWriter::begin(FileDisk.open_dir(dir).unwrap(), &head).unwrap();
    writer.write_keyspace(0, &|| tables.spaces.get(&0).cloned(), &|| false).unwrap();
    writer.finish(Lsn::new(4)).unwrap();
}

/// A log of these transactions from Lsn 2 on, each in a frame of its own; returns where these begin.
fn write_log(dir: &Path, transactions: &[&[Record<'_>]]) -> Vec<usize> {
    let (salt, mut starts) = (0x1234_5678_9abc_def0, Vec::new());
    let mut bytes = segment_header(1, Lsn::new(2), STORE, salt).to_vec();
    for (lsn, records) in (2..).zip(transactions) {
        let (mut coded, mut body) = (Vec::new(), Vec::new());
        records.iter().for_each(|record| record.encode(&mut coded));
        push_transaction(&mut body, Lsn::new(lsn), &coded);
        let header = FrameHeader { first: Lsn::new(lsn), count: 1, time_ms: 1, durable: Lsn::new(lsn - 1) };
        let head = frame_header(FrameKeys::salted(salt), &header, [&body[..]].into_iter());
        starts.push(bytes.len());
        bytes.extend([&head[..], &body, padding(head.len() + body.len())].concat());
    }
    std::fs::write(dir.join(segment_name(1)), bytes).unwrap();
    starts
}

fn shown(found: &Salvaged) -> BTreeMap<String, (String, Option<u64>)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut shown = BTreeMap::new();
    found.tables.spaces[&0].each_shard(false, |shard| {
        for entry in shard.iter() {
            let deadline = entry.deadline().map(|deadline| deadline.as_ms());
            shown.insert(text(entry.key()), (text(&entry.value()), deadline));
        }
    });
    shown
}

/// Where the log ends before a fuzzy snapshot does, a change of a part of a value must not meet a later value.
#[test]
fn a_change_is_never_made_to_a_later_value_than_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let set = |key, value| Record::Set { keyspace: 0, key, value, deadline: 0 };
    let range = |key| Record::Range { keyspace: 0, key, offset: 0, bytes: b"x", len: 4 };
    let deadline = |key| Record::Deadline { keyspace: 0, key, deadline: 9_000_000_000_000 };
    // As they are after Lsn 4; `early` as it was after Lsn 1.
    let entries = [(&b"part"[..], &b"after 4"[..]), (b"deadline", b"after 4"), (b"early", b"1"), (b"gone", b"4")];
    write_snapshot(dir, &entries);
    let starts = write_log(
        dir,
        &[
            &[set(b"early", b"2"), set(b"whole", b"2222"), Record::Delete { keyspace: 0, key: b"gone" }],
            &[range(b"part"), deadline(b"deadline"), range(b"whole"), deadline(b"early")],
            &[set(b"part", b"after 4"), set(b"deadline", b"after 4"), set(b"gone", b"4")],
        ],
    );
    let whole = salvage(&*FileDisk.open_dir(dir).unwrap(), 1, Way::Prefix).unwrap();
    assert!(whole.is_one_moment && whole.reached == Lsn::new(4) && whole.replayed.mixed_keys.count == 0);
    let entry = |text: &str, deadline| (text.to_owned(), deadline);
    let in_time = Some(9_000_000_000_000);
    let mut expected = BTreeMap::from([
        ("part".to_owned(), entry("after 4", None)),
        ("deadline".to_owned(), entry("after 4", None)),
        ("early".to_owned(), entry("2", in_time)),
        ("whole".to_owned(), entry("x222", None)),
        ("gone".to_owned(), entry("4", None)),
    ]);
    assert_eq!(shown(&whole), expected);

    let path = dir.join(segment_name(1));
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[starts[2]] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let found = salvage(&*FileDisk.open_dir(dir).unwrap(), 1, Way::Prefix).unwrap();
    assert!(!found.is_one_moment && found.reached == Lsn::new(3) && found.newest == Lsn::new(4));
    let mixed = [("0".to_owned(), b"deadline".to_vec()), ("0".to_owned(), b"part".to_vec())];
    assert_eq!((found.replayed.mixed_keys.count, &found.replayed.mixed_keys.examples[..]), (2, &mixed[..]));
    // Deleted before the log ends; all else is as it was at some moment.
    expected.remove("gone");
    assert_eq!(shown(&found), expected);
}

/// A gap inside of what a fuzzy snapshot spans: what it says of a part is on no value that may be another.
#[test]
fn after_a_gap_only_what_was_logged_whole_is_changed_in_part() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let set = |key, value| Record::Set { keyspace: 0, key, value, deadline: 0 };
    let range = |key| Record::Range { keyspace: 0, key, offset: 0, bytes: b"x", len: 4 };
    let entries = [(&b"set"[..], &b"4"[..]), (b"early", b"1"), (b"gone", b"4"), (b"cut", b"1111")];
    write_snapshot(dir, &entries);
    let starts = write_log(
        dir,
        &[
            &[set(b"early", b"2"), set(b"whole", b"2222"), Record::Delete { keyspace: 0, key: b"gone" }],
            &[set(b"set", b"3")],
            &[set(b"set", b"4444"), set(b"cut", b"4444")],
            &[range(b"set"), range(b"whole"), Record::Deadline { keyspace: 0, key: b"new", deadline: 9 }],
            &[set(b"later", b"6")],
        ],
    );
    let path = dir.join(segment_name(1));
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[starts[1]] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let found = salvage(&*FileDisk.open_dir(dir).unwrap(), 1, Way::Salvage).unwrap();
    assert!(!found.is_one_moment && found.reached == Lsn::new(6));
    let entry = |key: &str, value: &str| (key.to_owned(), (value.to_owned(), None));
    let expected = [entry("set", "x444"), entry("early", "2"), entry("cut", "4444"), entry("later", "6")];
    assert_eq!(shown(&found), BTreeMap::from(expected));
    let replayed = &found.replayed;
    assert_eq!((replayed.count, &replayed.gaps[..]), (4, &[(Lsn::new(3), Lsn::new(3))][..]));
    assert_eq!((replayed.left_out.count, replayed.possibly_stale.count), (2, 1), "whole and new; early");
}

/// A record that copies another key's value is applied where that value is known, and nowhere else.
#[test]
fn after_a_gap_only_what_is_known_is_copied() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let set = |key, value| Record::Set { keyspace: 0, key, value, deadline: 0 };
    let copy = |from, key| Record::Copy { keyspace: 0, key, from_keyspace: 0, from, deadline: 7 };
    write_snapshot(dir, &[(&b"old"[..], &b"1"[..]), (b"kept", b"1"), (b"target", b"1")]);
    let starts = write_log(
        dir,
        &[
            &[set(b"lost", b"2")],
            &[set(b"old", b"3")],
            &[set(b"new", b"4")],
            // What `old` was is lost with Lsn 3.
            &[copy(b"old", b"target"), copy(b"new", b"from new")],
            // And so is what `target` was made of it, though `target` has been spoken of.
            &[copy(b"target", b"third"), copy(b"from new", b"fourth")],
            &[Record::Range { keyspace: 0, key: b"target", offset: 0, bytes: b"x", len: 4 }],
        ],
    );
    let path = dir.join(segment_name(1));
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[starts[1]] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let found = salvage(&*FileDisk.open_dir(dir).unwrap(), 1, Way::Salvage).unwrap();
    let entry = |key: &str, value: &str, deadline| (key.to_owned(), (value.to_owned(), deadline));
    let expected = [
        entry("old", "1", None),
        entry("kept", "1", None),
        entry("lost", "2", None),
        entry("new", "4", None),
        entry("from new", "4", Some(7)),
        entry("fourth", "4", Some(7)),
    ];
    assert_eq!(shown(&found), BTreeMap::from(expected));
    let replayed = &found.replayed;
    assert_eq!((replayed.left_out.count, replayed.possibly_stale.count), (2, 3), "target, third; old, kept, lost");
}

/// What is copied may be lost although nothing of the log is: with a part of the snapshot.
#[test]
fn a_copy_of_what_the_snapshot_has_lost_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let set = |key, value| Record::Set { keyspace: 0, key, value, deadline: 0 };
    let copy = |from, key| Record::Copy { keyspace: 0, key, from_keyspace: 0, from, deadline: 0 };
    write_snapshot(dir, &[(&b"kept"[..], &b"1"[..]), (b"a", b"1"), (b"b", b"1")]);
    write_log(
        dir,
        &[&[copy(b"lost", b"a"), copy(b"lost", b"b"), copy(b"kept", b"c")], &[set(b"a", b"3")], &[set(b"later", b"4")]],
    );
    let found = salvage(&*FileDisk.open_dir(dir).unwrap(), 1, Way::Prefix).unwrap();
    assert!(found.is_one_moment);
    let entry = |key: &str, value: &str| (key.to_owned(), (value.to_owned(), None));
    assert_eq!(
        shown(&found),
        BTreeMap::from([entry("kept", "1"), entry("a", "3"), entry("c", "1"), entry("later", "4")])
    );
    let left_out = &found.replayed.left_out;
    assert_eq!((left_out.count, &left_out.examples[..]), (1, &[("0".to_owned(), b"b".to_vec())][..]));
}
