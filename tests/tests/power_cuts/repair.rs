//! A damaged store is repaired, and the power goes at each operation of that.
//!
//! Invariant: what the cut leaves is repaired to the same state, or opens and shows it; and of every file that was damaged
//! there is at every moment the file itself or a whole copy.
//!
//! `KV_REPAIR_STORES` is how many damaged stores to try (default 100), `KV_CUT_SEED` the first seed (default: 1).

use std::path::PathBuf;

use fastrand::Rng;
use kvcore::{RepairOptions, Verdict};

use crate::disk::World;
use crate::history::{self, START_MS};
use crate::ledger::{State, show};
use crate::sim::{Event, SimDisk};

/// At most so many lanes has a history.
const LANES: usize = 3;

/// A history's disk at its end or, if the power was cut then, at any moment.
fn some_store(seed: u64, rng: &mut Rng) -> World {
    let history = history::run(seed);
    let operations = history.events.iter().filter_map(|event| match event {
        Event::Op(op) => Some(op),
        Event::Note(_) => None,
    });
    let operations: Vec<_> = operations.collect();
    let end = if rng.bool() { operations.len() } else { rng.usize(1..=operations.len()) };
    let mut world = World::default();
    operations[..end].iter().for_each(|op| world.apply(op));
    world.cut(rng)
}

fn shown(disk: &SimDisk, what: &str) -> Vec<State> {
    shown_at(disk, START_MS, what)
}

fn shown_at(disk: &SimDisk, wall_ms: u64, what: &str) -> Vec<State> {
    let (options, _) = history::options(disk, wall_ms);
    let db = options.load(history::dir()).unwrap_or_else(|error| panic!("{what}: does not open: {error}"));
    show(&db, LANES).lanes
}

#[test]
fn repair_is_done_or_can_be_done_again_wherever_the_power_goes() {
    let stores = crate::number("KV_REPAIR_STORES", 100);
    let first = crate::number("KV_CUT_SEED", 1);
    let (mut repaired, mut cuts) = (0, 0);
    for seed in first..first + stores {
        let mut rng = Rng::with_seed(seed ^ 0xdead_beef);
        let mut world = some_store(seed, &mut rng);
        let files: Vec<PathBuf> = world.seen().into_keys().collect();
        if files.is_empty() {
            continue;
        }
        for _ in 0..rng.usize(1..=2) {
            let file = &files[rng.usize(..files.len())];
            let Some(bytes) = world.seen().remove(file) else { continue };
            let written = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0) + 1;
            match rng.u8(..8) {
                0 if files.len() > 1 => world.forget(file),
                _ => world.flip(file, rng.usize(..written * 8)),
            }
        }
        let disk = SimDisk::of(world.clone());
        let what = format!("seed {seed}");
        let (options, _) = history::options(&disk, START_MS);
        let Ok(found) = options.clone().inspect(history::dir()) else { continue };
        if found.is_sound() {
            continue;
        }
        let damaged: Vec<Vec<u8>> = found
            .files
            .iter()
            .filter(|file| file.flaw.is_some())
            .filter_map(|file| world.seen().remove(&history::dir().join(&file.name)))
            .collect();
        let how = match seed % 2 {
            0 => RepairOptions::new().accept_loss(true),
            _ => RepairOptions::new().salvage(true).accept_loss(true),
        };
        options.repair_with(history::dir(), how).unwrap_or_else(|error| panic!("{what}: {error}"));
        let expected = shown(&disk, &what);
        repaired += 1;
        let mut now = world;
        for (index, event) in disk.journal(0).iter().enumerate() {
            let Event::Op(op) = event else { continue };
            now.apply(op);
            let what = format!("{what}, cut after event {index} of its repair");
            let cut = now.cut(&mut rng);
            let files = cut.seen();
            for bytes in &damaged {
                assert!(files.values().any(|there| there == bytes), "{what}: a damaged file is nowhere");
            }
            let disk = SimDisk::of(cut);
            let (options, _) = history::options(&disk, START_MS);
            let found = options.clone().inspect(history::dir()).unwrap();
            if !matches!(found.verdict, Verdict::Refuses(_)) {
                assert!(shown(&disk, &what) == expected, "{what}: opens with another state");
            }
            options.clone().repair_with(history::dir(), how).unwrap_or_else(|error| panic!("{what}: {error}"));
            assert!(shown(&disk, &what) == expected, "{what}: repaired again to another state");
            let db = options.open(history::dir()).unwrap_or_else(|error| panic!("{what}: does not open: {error}"));
            db.set("after", "repair").unwrap();
            cuts += 1;
        }
    }
    println!("{repaired} damaged stores repaired, {cuts} power cuts on the way: the same state each time");
    assert!(repaired > 0 && cuts > 0);
}

/// A sound store's time is set back: at each moment it opens, and shows the same.
#[test]
fn a_sound_store_stays_sound_wherever_the_power_goes_while_its_time_is_set() {
    let stores = crate::number("KV_REPAIR_STORES", 100) / 2;
    let first = crate::number("KV_CUT_SEED", 1);
    let (mut set, mut cuts) = (0, 0);
    // Months behind the time of every history.
    let wall_ms = START_MS - 30_000_000_000;
    for seed in first..first + stores {
        let mut rng = Rng::with_seed(seed ^ 0x7153);
        let world = some_store(seed, &mut rng);
        let disk = SimDisk::of(world.clone());
        let what = format!("seed {seed}");
        let (options, _) = history::options(&disk, wall_ms);
        let Ok(found) = options.clone().inspect(history::dir()) else { continue };
        if !found.is_sound() {
            continue;
        }
        let before = shown_at(&disk, wall_ms, &what);
        let reset = RepairOptions::new().reset_time(true);
        let repaired = options.repair_with(history::dir(), reset).unwrap_or_else(|error| panic!("{what}: {error}"));
        if repaired.time.is_none() {
            // Nothing was ever written.
            continue;
        }
        set += 1;
        assert!(shown_at(&disk, wall_ms, &what) == before, "{what}: shows something else");
        let mut now = world;
        for (index, event) in disk.journal(0).iter().enumerate() {
            let Event::Op(op) = event else { continue };
            now.apply(op);
            let what = format!("{what}, cut after event {index} of its repair");
            let disk = SimDisk::of(now.cut(&mut rng));
            let (options, _) = history::options(&disk, wall_ms);
            let found = options.clone().inspect(history::dir()).unwrap();
            assert!(!matches!(found.verdict, Verdict::Refuses(_)), "{what}: {:?}", found.verdict);
            assert!(shown_at(&disk, wall_ms, &what) == before, "{what}: opens with another state");
            options.clone().repair_with(history::dir(), reset).unwrap_or_else(|error| panic!("{what}: {error}"));
            assert!(shown_at(&disk, wall_ms, &what) == before, "{what}: repaired again to another state");
            let db = options.open(history::dir()).unwrap_or_else(|error| panic!("{what}: does not open: {error}"));
            assert_eq!(db.now_ms(), wall_ms, "{what}");
            cuts += 1;
        }
    }
    println!("the time of {set} sound stores set, {cuts} power cuts on the way: each opens with the same state");
    assert!(set > 0 && cuts > 0);
}
