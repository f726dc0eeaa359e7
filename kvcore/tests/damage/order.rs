//! Frames that are whole, and stand where they do not belong.
//!
//! Invariant: a salvaging repair uses a transaction once, and after all those before it.

use kvcore::{Kept, RepairOptions};

use crate::disk::{Image, MemoryDisk, dir};
use crate::history::{options, shown};

/// A store with these values set, each in a frame of its own, and where the frames begin.
fn frames(sets: &[(&str, &str)]) -> (Image, String, Vec<usize>) {
    let disk = MemoryDisk::default();
    let db = options(&disk).open(dir()).unwrap();
    db.hooks().wait(db.hooks().last_lsn()).unwrap();
    for (key, value) in sets {
        db.set(key, value).unwrap();
    }
    let image = disk.image();
    drop(db);
    let (name, bytes) = image.iter().find(|(name, _)| name.starts_with("wal-")).unwrap();
    let (mut starts, mut at) = (Vec::new(), 48);
    while bytes.get(at..at + 4).is_some_and(|mark| mark == &bytes[48..52]) {
        starts.push(at);
        at += (48 + u64::from_le_bytes(bytes[at + 32..at + 40].try_into().unwrap()) as usize).next_multiple_of(8);
    }
    assert_eq!(starts.len(), sets.len() + 1, "one for the name of the default keyspace");
    (image.clone(), name.clone(), starts)
}

fn salvaged(image: &Image) -> (Vec<(String, String)>, Kept) {
    let disk = MemoryDisk::of(image);
    let repaired = options(&disk).repair_with(dir(), RepairOptions::new().salvage(true));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let state = shown(&options(&disk).load(dir()).unwrap());
    (state.iter().map(|((_, key), (value, _))| (text(key), text(value))).collect(), repaired.unwrap().kept.unwrap())
}

fn gaps(kept: &Kept) -> Vec<(u64, u64)> {
    kept.gaps.iter().map(|(first, last)| (first.get(), last.get())).collect()
}

/// A whole frame that stands behind later ones, as a disk may leave it that has written a sector to a wrong place.
#[test]
fn a_frame_is_used_only_where_it_is_later_than_those_before_it() {
    let (mut image, name, starts) = frames(&[("a", "1"), ("a", "2"), ("b", "3"), ("c", "4"), ("d", "5")]);
    let log = image.get_mut(&name).unwrap();
    log.copy_within(starts[1]..starts[2], starts[3]);
    let (entries, kept) = salvaged(&image);
    let entry = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(entries, [entry("a", "2"), entry("c", "4"), entry("d", "5")]);
    assert_eq!(gaps(&kept), [(4, 4)]);
}

/// The end that a crash left was cut, and other transactions were written with its numbers: then the cut comes undone.
#[test]
fn what_a_later_segment_holds_is_not_read_from_an_earlier_one() {
    let (mut image, name, starts) = frames(&[("a", "1"), ("b", "2"), ("c", "3"), ("torn", "4"), ("old", "5")]);
    image.get_mut(&name).unwrap()[starts[4] + 50] ^= 1;
    // Nothing proves that these two were durable: each says that all before it was.
    let log = image.get_mut(&name).unwrap();
    let (torn, old) = (log[starts[4]..].to_vec(), starts[4]);
    log[old..].fill(0);
    let disk = MemoryDisk::of(&image);
    let db = options(&disk).open(dir()).unwrap();
    db.set("new", "4").unwrap();
    db.set("newer", "5").unwrap();
    db.close().unwrap();
    let mut image = disk.image();
    let log = image.get_mut(&name).unwrap();
    log.truncate(old);
    log.extend_from_slice(&torn);
    // And something that cannot be passed over.
    log[starts[2] + 50] ^= 1;
    let (entries, kept) = salvaged(&image);
    let keys: Vec<&str> = entries.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["a", "c", "new", "newer"]);
    assert_eq!(gaps(&kept), [(3, 3)]);
}
