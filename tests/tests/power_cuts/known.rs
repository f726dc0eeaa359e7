//! What the histories have found, told short.
//!
//! Each test opens with the bug and its mechanism, and failed before it was mended.

use fastrand::Rng;
use kvcore::Db;

use crate::disk::World;
use crate::history::{self, START_MS, dir, options};
use crate::sim::{Event, Fault, Plan, SimDisk};

fn open(disk: &SimDisk) -> Db {
    options(disk, START_MS).0.open(dir()).unwrap()
}

fn load(world: World) -> Db {
    history::load(&world, START_MS).unwrap()
}

fn fail(disk: &SimDisk, at: u64, seed: u64) {
    disk.plan(Plan { fault: Fault::Error, at, for_good: false }, seed);
}

/// A sync failed, and the store was opened again without a restart of the machine. The opener read from memory what had
/// not reached the disk, synced it, which did nothing, and began a new segment after it. After a power cut the log had a
/// gap, and the store did not open.
#[test]
fn what_a_failed_sync_left_in_memory_is_written_again_by_the_next_opener() {
    for seed in 0..100 {
        let disk = SimDisk::default();
        let db = open(&disk);
        db.set("a", "1").unwrap();
        // The write is the first, the sync the second.
        fail(&disk, 2, seed);
        assert!(db.set("b", "2").is_err());
        drop(db);
        disk.heal();
        let db = open(&disk);
        let found = db.get("b").unwrap();
        let after = load(disk.world().cut(&mut Rng::with_seed(seed)));
        assert_eq!(after.get("a").unwrap().unwrap(), "1");
        assert_eq!(after.get("b").unwrap(), found, "seed {seed}: what the next opener showed is durable");
    }
}

/// Closing wrote in the manifest that the newest segment was about to become shorter, and the sync of that failed. The
/// next opener read it from memory, had nothing new to write, and cut the segment. After a power cut the manifest on
/// the disk still said how long the segment had been, and the store did not open.
#[test]
fn what_a_failed_sync_left_of_the_manifest_is_not_believed() {
    let mut failed = 0;
    for seed in 0..20 {
        for at in 1..16 {
            let disk = SimDisk::default();
            let db = open(&disk);
            db.set("a", "1").unwrap();
            fail(&disk, at, seed);
            failed += u32::from(db.close().is_err());
            drop(db);
            disk.heal();
            cut_opening(&disk, seed, |after| assert_eq!(after.get("a").unwrap().unwrap(), "1"));
        }
    }
    assert!(failed > 0, "nothing failed, so nothing was looked at");
}

/// Opens the store and cuts the power after each operation of that.
fn cut_opening(disk: &SimDisk, seed: u64, check: impl Fn(&Db)) {
    let (mut world, from) = (disk.world(), disk.events());
    let _db = open(disk);
    for (i, event) in (0..).zip(disk.journal(from)) {
        if let Event::Op(op) = event {
            world.apply(&op);
            check(&load(world.cut(&mut Rng::with_seed(seed ^ i << 32))));
        }
    }
}

/// A process was killed when it had given a new segment its name, and the name was not durable yet. The next opener read the
/// name from memory and wrote in the manifest that this was the newest segment. After a power cut it was missing, and
/// the store did not open.
#[test]
fn a_name_that_is_not_durable_is_made_so_before_the_manifest_relies_on_it() {
    let mut failed = 0;
    for seed in 0..4 {
        for at in 1..16 {
            let disk = SimDisk::default();
            let db = open(&disk);
            db.set("a", "1").unwrap();
            disk.plan(Plan { fault: Fault::Error, at, for_good: true }, seed);
            // Begins a segment.
            failed += u32::from(db.snapshot().is_err());
            drop(db);
            disk.heal();
            cut_opening(&disk, seed, |after| assert_eq!(after.get("a").unwrap().unwrap(), "1"));
        }
    }
    assert!(failed > 0, "nothing failed, so nothing was looked at");
}

/// Closing wrote a seal, which says what time it is, in a segment that a snapshot had begun and nobody had written to. The
/// next opener believed the time and began another segment at the same Lsn, and the opener after that looked at this one
/// only: for it, it was earlier. The same came of a seal whose sync had failed, while the manifest knew that all
/// transactions were durable: nobody wrote the seal again.
#[test]
fn the_time_in_a_seal_is_not_forgotten() {
    let mut failed = 0;
    for seed in 0..40 {
        for at in 1..8 {
            let disk = SimDisk::default();
            let (options, clock) = options(&disk, START_MS);
            let db = options.open(dir()).unwrap();
            db.set("a", "1").unwrap();
            db.snapshot().unwrap();
            clock.advance(500);
            fail(&disk, at, seed);
            failed += u32::from(db.close().is_err());
            drop(db);
            disk.heal();
            let db = open(&disk);
            let after = load(disk.world().cut(&mut Rng::with_seed(seed)));
            assert!(after.now_ms() >= db.now_ms(), "seed {seed}, operation {at}: time ran back");
        }
    }
    assert!(failed > 0, "nothing failed, so nothing was looked at");
}

/// A snapshot removed a segment of the log, and the sync of the directory failed. Every later snapshot tried to remove the
/// same segment, which was not there, and failed: the log grew until the store was opened again.
#[test]
fn a_snapshot_that_failed_does_not_make_the_next_one_fail() {
    let mut failed = 0;
    for at in 1..40 {
        let disk = SimDisk::default();
        let db = open(&disk);
        (0..20).for_each(|i| db.set(format!("k{i}"), [1; 1000]).unwrap());
        fail(&disk, at, at);
        failed += u32::from(db.snapshot().is_err());
        disk.heal();
        if db.health().is_ok() {
            db.snapshot().unwrap();
            assert_eq!(db.stats().log_segments, 1, "with the operation {at} failing first");
        }
    }
    assert!(failed > 0, "nothing failed, so nothing was looked at");
}
