//! The power goes at each operation of a backup that is taken while others write and snapshots are written, on disks that
//! work and on disks that fail.
//!
//! Invariant: the store keeps what it promised as if there were no backup; the backup is not there, or it is whole and
//! holds all that was promised before it began.
//!
//! `KV_BACKUP_STORES` is how many histories to try (default 60), `KV_CUT_SEED` the first seed (default: 1).

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use fastrand::Rng;
use kvcore::{Db, Durability};

use crate::disk::World;
use crate::history::{self, START_MS, any_plan};
use crate::ledger::Note;
use crate::sim::{Event, SimDisk};

const COPY: &str = "copy";
/// Who a note is about.
const WRITER: usize = 0;
const BACKUP: usize = 1;
/// No writer goes on for longer.
const STEPS_MAX: usize = 60;

/// The step that a store shows: both keys are of the same one.
fn step_of(db: &Db, what: &str) -> usize {
    let number = |key: &str| -> usize {
        let Some(value) = db.get(key).unwrap() else { return 0 };
        let digits = value.iter().take_while(|byte| byte.is_ascii_digit()).copied().collect();
        String::from_utf8(digits).unwrap().parse().unwrap()
    };
    let (left, right) = (number("left"), number("right"));
    assert_eq!(left, right, "{what}: HALF of a transaction");
    left
}

/// One step, and notes of it.
fn step(db: &Db, disk: &SimDisk, number: usize, pad: usize) -> kvcore::Result<()> {
    disk.note(Note::Begun { lane: WRITER, number });
    let value = format!("{number} {}", "x".repeat(pad));
    db.transact(&["left", "right"], |txn| {
        txn.set(b"left", value.as_bytes())?;
        txn.set(b"right", value.as_bytes())
    })?;
    disk.note(Note::Promised { lane: WRITER, number });
    Ok(())
}

/// What happened, and how many steps had been promised when the backup began.
fn run(seed: u64, rng: &mut Rng) -> (Vec<Event>, usize, bool) {
    let disk = SimDisk::default();
    let (options, _) = history::options(&disk, START_MS);
    let db = options.durability(Durability::Always).open(history::dir()).unwrap();
    let before = rng.usize(1..10);
    for number in 1..=before {
        step(&db, &disk, number, rng.usize(..1500)).unwrap();
        if rng.u8(..4) == 0 {
            db.snapshot().unwrap();
        }
    }
    if rng.bool() {
        disk.plan(any_plan(rng, 60), rng.u64(..));
    }
    let (is_over, promised) = (AtomicBool::new(false), AtomicUsize::new(before));
    let pads: Vec<usize> = (0..STEPS_MAX).map(|_| rng.usize(..1500)).collect();
    let has_snapshots = rng.bool();
    let (floor, is_taken) = std::thread::scope(|scope| {
        let (db, disk, is_over, promised) = (&db, &disk, &is_over, &promised);
        scope.spawn(move || {
            for (pad, number) in pads.into_iter().zip(before + 1..) {
                if is_over.load(SeqCst) || step(db, disk, number, pad).is_err() {
                    return;
                }
                promised.store(number, SeqCst);
            }
        });
        if has_snapshots {
            scope.spawn(move || while !is_over.load(SeqCst) && db.snapshot().is_ok() {});
        }
        let floor = promised.load(SeqCst);
        disk.note(Note::Begun { lane: BACKUP, number: 1 });
        let taken = db.backup(COPY);
        match &taken {
            Ok(_) => disk.note(Note::Promised { lane: BACKUP, number: 1 }),
            Err(error) => assert!(disk.failures() > 0, "seed {seed}: on a disk that works: {error}"),
        }
        is_over.store(true, SeqCst);
        (floor, taken.is_ok())
    });
    // The store goes on, and removes what was held back.
    disk.work_again();
    if disk.failures() == 0 {
        step(&db, &disk, promised.load(SeqCst) + 1, 100).unwrap();
        db.snapshot().unwrap();
        db.verify().unwrap();
    }
    drop(db);
    (disk.journal(0), floor, is_taken)
}

fn has_copy(world: &World) -> bool {
    world.names().any(|path| path.starts_with(COPY))
}

#[test]
fn a_backup_is_whole_or_not_there_wherever_the_power_goes() {
    let histories = crate::number("KV_BACKUP_STORES", 60);
    let first = crate::number("KV_CUT_SEED", 1);
    let (mut cuts, mut copies, mut taken) = (0, 0, 0);
    for seed in first..first + histories {
        let mut rng = Rng::with_seed(seed ^ 0xbac0_0000);
        let (events, floor, is_taken) = run(seed, &mut rng);
        taken += usize::from(is_taken);
        let mut world = World::default();
        let (mut begun, mut promised, mut is_backed_up) = (0, 0, false);
        for (index, event) in events.iter().enumerate() {
            match event {
                Event::Op(op) => world.apply(op),
                Event::Note(Note::Begun { lane: WRITER, number }) => begun = *number,
                Event::Note(Note::Promised { lane: WRITER, number }) => promised = *number,
                Event::Note(Note::Promised { lane: BACKUP, .. }) => is_backed_up = true,
                Event::Note(_) => {}
            }
            let what = format!("seed {seed}, cut after event {index} ({event:?})");
            let cut = world.cut(&mut rng);
            let store = history::load(&cut, START_MS).unwrap_or_else(|error| panic!("{what}: does not open: {error}"));
            let shown = step_of(&store, &what);
            assert!(shown >= promised, "{what}: LOST: shows step {shown}, and {promised} was promised");
            assert!(shown <= begun, "{what}: PHANTOM: shows step {shown}, and {begun} is the last");
            cuts += 1;
            if !has_copy(&cut) {
                assert!(!is_backed_up, "{what}: LOST: the backup is gone");
                continue;
            }
            copies += 1;
            let (options, _) = history::options(&SimDisk::of(cut), START_MS);
            let found = options.clone().inspect(Path::new(COPY)).unwrap();
            assert!(found.is_sound(), "{what}: the backup is not whole: {found:?}");
            let copy = options.load(COPY).unwrap_or_else(|error| panic!("{what}: the backup does not open: {error}"));
            let shown = step_of(&copy, &what);
            assert!(shown >= floor, "{what}: the backup shows step {shown}, and {floor} was promised before it began");
            assert!(shown <= begun, "{what}: the backup shows step {shown}, and {begun} is the last");
        }
    }
    println!("{cuts} power cuts during {histories} backups, {taken} of which were taken; {copies} were looked at");
    assert!(cuts > 0 && copies > 0 && taken > 0);
}
