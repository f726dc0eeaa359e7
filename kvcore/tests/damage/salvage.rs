//! What a salvaging repair keeps of a log with holes, against a model that knows which transactions are lost.
//!
//! Invariant: the model reads nothing of the files but where each transaction stands in them.

use std::collections::{BTreeMap, BTreeSet};

use kvcore::{Error, Kept, RepairOptions};
use proptest::prelude::*;

use crate::disk::{Image, MemoryDisk, dir};
use crate::history::{State, options, shown};
use crate::holes::{Change, Damage, Effect, Moment, Place, Recorder, any_change, any_damage, damage};

/// What must be kept if these transactions are lost.
#[derive(Default, Debug)]
struct Expected {
    state: State,
    left_out: u64,
    stale: BTreeSet<(u32, u8)>,
    gaps: Vec<(u64, u64)>,
    up_to: u64,
    /// What each number is called.
    names: BTreeMap<u32, String>,
}

fn expected(recorder: &Recorder, lost: &BTreeSet<u64>) -> Expected {
    let before = |at: usize| at.checked_sub(1).map(|at| recorder.log[at].1.clone()).unwrap_or_default();
    let Moment { names, mut entries } = before(recorder.start);
    let mut names: BTreeMap<u32, (&str, u64)> = names.into_iter().map(|(name, id)| (id, (name, 0))).collect();
    let (mut settled, mut cleared): (BTreeSet<(u32, u8)>, BTreeSet<u32>) = Default::default();
    let mut left_out = BTreeSet::new();
    let mut found = Expected { up_to: recorder.start as u64, ..Expected::default() };
    for (lsn, (effects, after, _)) in (1..).zip(&recorder.log).skip(recorder.start) {
        if lost.contains(&lsn) {
            continue;
        }
        if lsn > found.up_to + 1 {
            found.gaps.push((found.up_to + 1, lsn - 1));
            settled.clear();
            cleared.clear();
        }
        found.up_to = lsn;
        for effect in effects {
            match *effect {
                Effect::Whole { id, key } => {
                    settled.insert((id, key));
                    left_out.remove(&(id, key));
                    let now = after.entries.get(&id).and_then(|entries| entries.get(&key)).cloned();
                    let entries = entries.entry(id).or_default();
                    match now {
                        Some(now) => drop(entries.insert(key, now)),
                        None => drop(entries.remove(&key)),
                    }
                }
                Effect::Part { id, key } => {
                    let entries = entries.entry(id).or_default();
                    if found.gaps.is_empty() || settled.contains(&(id, key)) || cleared.contains(&id) {
                        entries.insert(key, after.entries[&id][&key].clone());
                    } else {
                        entries.remove(&key);
                        left_out.insert((id, key));
                    }
                }
                Effect::Clear { id } | Effect::Drop { id } => {
                    entries.entry(id).or_default().clear();
                    cleared.insert(id);
                    left_out.retain(|(other, _)| *other != id);
                    if matches!(effect, Effect::Drop { .. }) {
                        entries.remove(&id);
                        names.remove(&id);
                    }
                }
                Effect::Name { id, name } => {
                    names.insert(id, (name, lsn));
                    entries.entry(id).or_default();
                }
            }
        }
    }
    found.left_out = left_out.len() as u64;
    for (id, entries) in &entries {
        let newest = |name: &str| {
            let same = names.iter().filter(|(_, (other, _))| *other == name);
            same.map(|(id, (_, at))| (*at, *id)).max()
        };
        let name = match names.get(id) {
            Some((name, at)) if newest(name) == Some((*at, *id)) => (*name).to_owned(),
            None if *id == 0 && newest("0").is_none() => "0".to_owned(),
            _ => format!("lost-{id}"),
        };
        found.names.insert(*id, name.clone());
        for (key, entry) in entries {
            found.state.insert((name.clone(), vec![*key]), entry.clone());
            if !found.gaps.is_empty() && !settled.contains(&(*id, *key)) && !cleared.contains(id) {
                found.stale.insert((*id, *key));
            }
        }
    }
    found
}

/// Every value was that of this key, with this deadline, in something that had a number in the log.
fn was_once(recorder: &Recorder, state: &State) {
    for ((name, key), entry) in state {
        let had = |moment: &Moment| moment.entries.values().any(|entries| entries.get(&key[0]) == Some(entry));
        assert!(recorder.log.iter().any(|(_, moment, _)| had(moment)), "{name} {key:?} never was {entry:?}");
    }
}

/// The beginning and the length of each value, for people.
fn brief(state: &State) -> String {
    let entry = |(place, entry)| {
        let (value, deadline): &(Vec<u8>, Option<u64>) = entry;
        let (name, key): &(String, Vec<u8>) = place;
        let begins = String::from_utf8_lossy(&value[..value.len().min(12)]).into_owned();
        format!("{name}/{key:?}={begins}x{}@{deadline:?}", value.len())
    };
    state.iter().map(entry).collect::<Vec<_>>().join(" ")
}

fn lsns(kept: &Kept) -> Vec<(u64, u64)> {
    kept.gaps.iter().map(|(first, last)| (first.get(), last.get())).collect()
}

fn salvage(image: &Image, how: RepairOptions) -> (MemoryDisk, Result<kvcore::Repair, Error>) {
    let disk = MemoryDisk::of(image);
    let repaired = options(&disk).repair_with(dir(), how);
    (disk, repaired)
}

fn check(changes: &[Change], damages: &[Damage]) {
    let mut recorder = Recorder::default();
    let mut db = recorder.open();
    changes.iter().for_each(|change| recorder.change(&mut db, change));
    let mut image = recorder.disk.image();
    drop(db);
    let lost = damage(&recorder, &mut image, damages);
    let how = RepairOptions::new().salvage(true);
    let (mut disk, repaired) = salvage(&image, how);
    let repaired = match repaired {
        Ok(repaired) => repaired,
        Err(Error::RepairDropsMost { salvaged_keys: 0, .. }) if expected(&recorder, &lost).state.is_empty() => {
            let repaired;
            (disk, repaired) = salvage(&image, how.accept_loss(true));
            repaired.unwrap()
        }
        // Nothing is left but a manifest or less.
        Err(Error::NoStore { .. }) if image.is_empty() => return,
        Err(error) => panic!("{error}"),
    };
    let state = shown(&options(&disk).load(dir()).unwrap());
    was_once(&recorder, &state);
    let Some(kept) = repaired.kept else { return };
    let expected = expected(&recorder, &lost);
    assert_eq!(brief(&state), brief(&expected.state), "{lost:?} of {:?}: {kept:?}", recorder.log.len());
    assert!(state == expected.state, "{lost:?} of {:?}: {kept:?}", recorder.log.len());
    assert_eq!(lsns(&kept), expected.gaps);
    assert_eq!(kept.up_to.get(), expected.up_to);
    assert_eq!((kept.left_out.count, kept.possibly_stale.count), (expected.left_out, expected.stale.len() as u64));
    assert_eq!((kept.keys, kept.possibly_stale.examples.len()), (state.len() as u64, expected.stale.len().min(10)));
    // A name that is another's is reported.
    let then = expected.up_to.checked_sub(1).map(|at| recorder.log[at as usize].1.clone()).unwrap_or_default();
    for (name, id) in then.names {
        let called = expected.names.get(&id).filter(|called| *called != name && !called.starts_with("lost-"));
        assert!(
            called.is_none_or(|called| kept.unsure_names.contains(called)),
            "{name} is called {called:?}: {kept:?}"
        );
    }
}

proptest! {
    #[test]
    fn a_salvaged_store_is_what_the_frames_that_are_left_prove(
        changes in prop::collection::vec(any_change(), 1..40),
        damages in prop::collection::vec(any_damage(), 1..4),
    ) {
        check(&changes, &damages);
    }
}

/// 20,000 keys in one segment, and two bad bytes in its first frame.
fn large_store() -> (Image, Image) {
    let disk = MemoryDisk::default();
    let db = options(&disk).segment_bytes(1 << 24).open(dir()).unwrap();
    // The first frame holds the first transaction alone.
    db.hooks().wait(db.hooks().last_lsn()).unwrap();
    for from in (0..20_000).step_by(20) {
        let pairs: Vec<_> = (from..from + 20).map(|i| (format!("key{i}"), format!("value{i}"))).collect();
        db.set_many(&pairs).unwrap();
    }
    db.close().unwrap();
    let whole = disk.image();
    let mut image = whole.clone();
    let (_, log) = image.iter_mut().find(|(name, _)| name.starts_with("wal-")).unwrap();
    log[48 + 50] ^= 1;
    log[48 + 51] ^= 1;
    (whole, image)
}

/// A plain repair dropped all of these keys, and said that all was well.
#[test]
fn a_plain_repair_that_would_drop_most_stops() {
    let (whole, image) = large_store();
    let disk = MemoryDisk::of(&image);
    let plan = options(&disk).plan_repair(dir(), RepairOptions::new()).unwrap();
    assert!(plan.plain_stops && disk.image() == image, "a plan changes nothing");
    assert_eq!(plan.plain.as_ref().unwrap().kept.keys, 0);
    let salvage_kept = &plan.salvage.as_ref().unwrap().kept;
    assert_eq!((salvage_kept.keys, salvage_kept.left_out.count, salvage_kept.possibly_stale.count), (20_000, 0, 0));
    // The first transaction names the default keyspace, and nothing else.
    assert_eq!(lsns(salvage_kept), [(1, 1)]);

    let error = options(&disk).repair(dir()).unwrap_err();
    let Error::RepairDropsMost { kept_keys: 0, dropped: 1000, salvaged_keys: 20_000, .. } = error else {
        panic!("{error:?}")
    };
    let text = error.to_string();
    assert!(
        text.contains("--salvage") && text.contains("would keep 20000 keys") && text.contains("--accept-loss"),
        "{text}"
    );
    assert!(disk.image() == image, "it changed something");

    let repaired = options(&disk).repair_with(dir(), RepairOptions::new().salvage(true)).unwrap();
    assert_eq!(repaired.kept.unwrap().keys, 20_000);
    let (mine, was) = (options(&disk).load(dir()).unwrap(), options(&MemoryDisk::of(&whole)).load(dir()).unwrap());
    assert_eq!(shown(&mine), shown(&was));

    let disk = MemoryDisk::of(&image);
    let repaired = options(&disk).repair_with(dir(), RepairOptions::new().accept_loss(true)).unwrap();
    assert_eq!(repaired.kept.unwrap().keys, 0);
    assert!(shown(&options(&disk).load(dir()).unwrap()).is_empty());
}

/// Less behind the damage than before it: the plain way goes on as ever.
#[test]
fn a_plain_repair_that_keeps_most_does_not_stop() {
    let (_, mut image) = large_store();
    let (_, log) = image.iter_mut().find(|(name, _)| name.starts_with("wal-")).unwrap();
    log[48 + 50] ^= 1;
    log[48 + 51] ^= 1;
    let at = log.windows(8).position(|bytes| bytes == b"key12000").unwrap();
    log[at] ^= 1;
    let disk = MemoryDisk::of(&image);
    let plan = options(&disk).plan_repair(dir(), RepairOptions::new()).unwrap();
    let keys = |way: &Option<kvcore::RepairWay>| way.as_ref().unwrap().kept.keys;
    assert_eq!((plan.plain_stops, keys(&plan.plain), keys(&plan.salvage)), (false, 12_000, 19_980));
    assert_eq!(plan.salvage.unwrap().kept.possibly_stale.count, 12_000, "each may have been deleted");
    assert_eq!(options(&disk).repair(dir()).unwrap().kept.unwrap().keys, 12_000);
}

/// A range, or a deadline, is not put on a value that the gap may have changed.
#[test]
fn what_is_known_in_part_is_left_out() {
    let mut recorder = Recorder::default();
    let mut db = recorder.open();
    let set = |key, large| Change::Set { keyspace: 0, key, large, deadline: false };
    for change in [
        set(1, true),
        set(2, false),
        set(3, false),
        // Lost:
        set(1, true),
        Change::Append { keyspace: 0, key: 1 },
        Change::Deadline { keyspace: 0, key: 2, set: true },
        set(4, false),
        Change::Deadline { keyspace: 0, key: 4, set: true },
    ] {
        recorder.change(&mut db, &change);
    }
    let mut image = recorder.disk.image();
    drop(db);
    let Place { file, from } = &recorder.log[4].2;
    image.get_mut(file).unwrap()[from + 50] ^= 1;
    let (disk, repaired) = salvage(&image, RepairOptions::new().salvage(true));
    let kept = repaired.unwrap().kept.unwrap();
    assert_eq!((kept.left_out.count, kept.possibly_stale.count), (2, 1));
    assert_eq!(kept.left_out.examples, [("0".to_owned(), vec![1]), ("0".to_owned(), vec![2])]);
    assert_eq!(kept.possibly_stale.examples, [("0".to_owned(), vec![3])]);
    let state = shown(&options(&disk).load(dir()).unwrap());
    let keys: Vec<u8> = state.keys().map(|(_, key)| key[0]).collect();
    assert_eq!(keys, [3, 4]);
    assert!(state[&("0".to_owned(), vec![4])].1.is_some());
}

/// 20,000 keys in a snapshot of several blocks, and where its blocks begin.
fn snapshot_store() -> (State, Image, String, Vec<usize>) {
    let disk = MemoryDisk::default();
    let db = options(&disk).open(dir()).unwrap();
    for from in (0..20_000).step_by(100) {
        let pairs: Vec<_> = (from..from + 100).map(|i| (format!("key{i}"), format!("a value {i:>20}"))).collect();
        db.set_many(&pairs).unwrap();
    }
    db.snapshot().unwrap();
    db.set("after", "the snapshot").unwrap();
    db.close().unwrap();
    let image = disk.image();
    let (name, bytes) = image.iter().find(|(name, _)| name.starts_with("snapshot-")).unwrap();
    let (mut blocks, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        blocks.push(at);
        at += 8 + u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    }
    assert!(blocks.len() >= 5, "a head, blocks, a foot: {blocks:?}");
    let state = shown(&options(&MemoryDisk::of(&image)).load(dir()).unwrap());
    (state, image.clone(), name.clone(), blocks)
}

/// Without its length a block was lost, and all after it.
#[test]
fn a_block_of_a_snapshot_whose_length_is_damaged_is_found_by_its_checksum() {
    let (state, image, name, blocks) = snapshot_store();
    for block in &blocks {
        for byte in 0..4 {
            let mut image = image.clone();
            image.get_mut(&name).unwrap()[block + byte] ^= 0x10;
            let disk = MemoryDisk::of(&image);
            assert!(!options(&disk).inspect(dir()).unwrap().is_sound(), "{block}, {byte}");
            let repaired = options(&disk).repair(dir()).unwrap();
            assert!(!repaired.kept.unwrap().is_partial, "{block}, {byte}");
            assert!(shown(&options(&disk).load(dir()).unwrap()) == state, "{block}, {byte}: something is lost");
        }
    }
}

/// All that was left of it was whole, and was said to be all that there had been.
#[test]
fn a_snapshot_that_is_cut_between_two_blocks_is_known_to_be_a_part() {
    let (_, image, name, blocks) = snapshot_store();
    for cut_at in &blocks[1..] {
        let mut image = image.clone();
        image.get_mut(&name).unwrap().truncate(*cut_at);
        let (_, repaired) = salvage(&image, RepairOptions::new().accept_loss(true));
        let repaired = repaired.unwrap();
        assert!(repaired.kept.unwrap().is_partial, "{cut_at}");
        assert!(repaired.dropped.iter().any(|dropped| dropped.file == name), "{cut_at}: {:?}", repaired.dropped);
    }
}

/// Two bad bytes in the head of the only snapshot.
#[test]
fn a_snapshot_without_a_good_head_is_salvaged() {
    let (state, mut image, name, _) = snapshot_store();
    let bytes = image.get_mut(&name).unwrap();
    bytes[10] ^= 1;
    bytes[11] ^= 1;
    let disk = MemoryDisk::of(&image);
    let error = options(&disk).repair(dir()).unwrap_err();
    assert!(matches!(error, Error::RepairDropsMost { salvaged_keys: 20_001, .. }), "{error:?}");
    assert!(disk.image() == image, "it changed something");
    let repaired = options(&disk).repair_with(dir(), RepairOptions::new().salvage(true)).unwrap();
    assert_eq!(repaired.kept.unwrap().keys, 20_001);
    assert!(shown(&options(&disk).load(dir()).unwrap()) == state);
}

/// One bad bit there, and all of the segment was lost.
#[test]
fn a_segment_without_a_good_header_is_salvaged() {
    let disk = MemoryDisk::default();
    let db = options(&disk).segment_bytes(1 << 20).open(dir()).unwrap();
    for i in 0..20 {
        db.set(format!("key{i:02}"), "value").unwrap();
    }
    let state = shown(&db);
    db.close().unwrap();
    let whole = disk.image();
    let name = whole.keys().find(|name| name.starts_with("wal-")).unwrap();
    for (bit, with_manifest) in (0..48 * 8).flat_map(|bit| [(bit, true), (bit, false)]) {
        let what = format!("bit {bit}, manifest {with_manifest}");
        let mut image = whole.clone();
        image.get_mut(name).unwrap()[bit / 8] ^= 1 << (bit % 8);
        if !with_manifest {
            image.remove("manifest");
        }
        let (disk, repaired) = salvage(&image, RepairOptions::new().salvage(true));
        if (32..40).contains(&(bit / 8)) {
            assert!(matches!(repaired, Err(Error::RepairDropsMost { salvaged_keys: 0, .. })), "{what}: {repaired:?}");
            assert!(disk.image() == image, "{what}: a file was changed");
            continue;
        }
        // The last four bytes mean nothing.
        let is_sound = with_manifest && bit / 8 >= 44;
        let repaired = repaired.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(repaired.kept.map(|kept| (kept.keys, kept.gaps.len())), (!is_sound).then_some((20, 0)), "{what}");
        assert!(shown(&options(&disk).load(dir()).unwrap()) == state, "{what}: something is lost");
    }
}

/// A damaged header does not make a segment of another store one of this.
#[test]
fn a_segment_of_another_store_is_not_salvaged_for_its_damaged_header() {
    let store = |key: &str| {
        let disk = MemoryDisk::default();
        let db = options(&disk).open(dir()).unwrap();
        db.set(key, "value").unwrap();
        db.close().unwrap();
        disk.image()
    };
    let (mut image, other) = (store("ours"), store("theirs"));
    let (name, bytes) = other.iter().find(|(name, _)| name.starts_with("wal-")).unwrap();
    let mut bytes = bytes.clone();
    bytes[4] ^= 1;
    image.insert(name.replace('1', "2"), bytes);
    let (disk, repaired) = salvage(&image, RepairOptions::new().salvage(true));
    assert!(repaired.unwrap().set_aside.is_some());
    let state = shown(&options(&disk).load(dir()).unwrap());
    assert_eq!(state.keys().map(|(_, key)| key.clone()).collect::<Vec<_>>(), [b"ours".to_vec()]);
}

/// The names were lost with the snapshot's head, and nothing was said of it.
#[test]
fn names_that_are_lost_with_the_snapshot_are_told() {
    let disk = MemoryDisk::default();
    let db = options(&disk).open(dir()).unwrap();
    db.keyspace("1").unwrap();
    db.swap("0", "1").unwrap();
    db.set("zero", "0").unwrap();
    db.keyspace("1").unwrap().set("one", "1").unwrap();
    db.snapshot().unwrap();
    for i in 0..5 {
        db.keyspace("1").unwrap().set(format!("one{i}"), "1").unwrap();
    }
    db.close().unwrap();
    let mut image = disk.image();
    let (_, bytes) = image.iter_mut().find(|(name, _)| name.starts_with("snapshot-")).unwrap();
    bytes[10] ^= 1;
    bytes[11] ^= 1;
    for how in [RepairOptions::new().salvage(true), RepairOptions::new().accept_loss(true)] {
        let (disk, repaired) = salvage(&image, how);
        let kept = repaired.unwrap().kept.unwrap();
        let state = shown(&options(&disk).load(dir()).unwrap());
        assert!(
            state.contains_key(&("0".to_owned(), b"one0".to_vec())),
            "nothing tells that it was called 1: {state:?}"
        );
        assert_eq!(kept.unsure_names, ["0"], "{how:?}: {kept:?}");
    }
}

/// Only one keyspace can be seen, and it was exchanged with one that nobody sees.
#[test]
fn a_keyspace_that_was_made_and_exchanged_in_a_gap_is_thought_of() {
    let mut recorder = Recorder::default();
    let mut db = recorder.open();
    recorder.change(&mut db, &Change::Swap { one: 0, other: 1 });
    recorder.change(&mut db, &Change::Set { keyspace: 1, key: 1, large: false, deadline: false });
    let mut image = recorder.disk.image();
    drop(db);
    assert_eq!(recorder.log.len(), 4);
    for lost in &recorder.log[1..3] {
        image.get_mut(&lost.2.file).unwrap()[lost.2.from + 50] ^= 1;
    }
    let (disk, repaired) = salvage(&image, RepairOptions::new().salvage(true));
    let kept = repaired.unwrap().kept.unwrap();
    let state = shown(&options(&disk).load(dir()).unwrap());
    assert!(state.contains_key(&("0".to_owned(), vec![1])), "{state:?}");
    assert_eq!((lsns(&kept), kept.unsure_names), (vec![(2, 3)], vec!["0".to_owned()]));
}

/// The default keyspace was called 1, and 1 was given to another: it is not called 0 for that.
#[test]
fn a_keyspace_that_lost_its_name_is_not_taken_for_the_default() {
    let mut recorder = Recorder::default();
    let mut db = recorder.open();
    for change in [
        Change::Set { keyspace: 1, key: 1, large: false, deadline: false },
        Change::Swap { one: 0, other: 1 },
        Change::Set { keyspace: 1, key: 2, large: false, deadline: false },
        Change::Set { keyspace: 2, key: 1, large: false, deadline: false },
        // Lost:
        Change::Swap { one: 0, other: 2 },
        Change::Drop { keyspace: 2 },
        // Lost, too; so nothing is left that is called 0.
        Change::Drop { keyspace: 1 },
        Change::Set { keyspace: 1, key: 3, large: false, deadline: false },
    ] {
        recorder.change(&mut db, &change);
    }
    let mut image = recorder.disk.image();
    drop(db);
    assert_eq!(recorder.log.len(), 12);
    let lost = BTreeSet::from([8, 10]);
    for lsn in &lost {
        let Place { file, from } = &recorder.log[*lsn as usize - 1].2;
        image.get_mut(file).unwrap()[from + 50] ^= 1;
    }
    let (disk, repaired) = salvage(&image, RepairOptions::new().salvage(true));
    repaired.unwrap();
    let state = shown(&options(&disk).load(dir()).unwrap());
    assert_eq!(brief(&state), brief(&expected(&recorder, &lost).state));
    // What had number 0 was called 1, and is now called by its number.
    assert!(state.contains_key(&("lost-0".to_owned(), vec![2])), "{state:?}");
}
