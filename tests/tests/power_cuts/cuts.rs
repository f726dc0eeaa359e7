//! Cuts the power at every operation of a history, and judges what is left.
//!
//! Invariant: every disk that a cut leaves opens, and keeps what was promised when the power went; opening it, cut or
//! failing at any operation, loses nothing more.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use fastrand::Rng;
use kvcore::Db;

use crate::disk::World;
use crate::history::{self, History, START_MS, any_plan, any_wall};
use crate::ledger::{Ledger, Note, Shown, show};
use crate::sim::{Event, SimDisk};

/// A keyspace that no lane uses.
const AFTER: &str = "after";

/// A moment of a history.
struct Moment<'a> {
    seed: u64,
    index: usize,
    history: &'a History,
    ledger: &'a Ledger,
    wall_ms: u64,
}

impl Moment<'_> {
    /// Panics, and keeps the disk to be looked at, with what was done before.
    fn wrong(&self, image: &World, what: &str) -> ! {
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("power_cut-{}", self.seed));
        let kept = std::fs::remove_dir_all(&dir).or_else(|_| std::fs::create_dir_all(&dir)).and_then(|()| {
            std::fs::create_dir_all(&dir)?;
            let events = self.history.events[..=self.index].iter().enumerate();
            let events: String = events.map(|(index, event)| format!("{index}: {event:?}\n")).collect();
            std::fs::write(dir.join("history.txt"), events)?;
            image
                .seen()
                .into_iter()
                .try_for_each(|(path, data)| std::fs::write(dir.join(path.file_name().unwrap()), data))
        });
        let kept = kept.map_or_else(|error| error.to_string(), |()| format!("kept in {}", dir.display()));
        panic!("cut after event {} ({}): {what}. The disk: {kept}", self.index, self.history.kind)
    }

    /// What is on the disk, judged.
    fn load(&self, image: &World, what: &str) -> Shown {
        match history::load(image, self.wall_ms) {
            Ok(db) => self.judge(image, &db, what),
            Err(error) => self.wrong(image, &format!("{what}: does not open: {error}")),
        }
    }

    fn judge(&self, image: &World, db: &Db, what: &str) -> Shown {
        let shown = show(db, self.history.courses.len());
        if let Err(wrong) = self.ledger.judge(&self.history.courses, &shown) {
            self.wrong(image, &format!("{what}: {wrong}"));
        }
        shown
    }

    fn same(&self, image: &World, shown: &Shown, before: &Shown, what: &str) {
        if shown.lanes != before.lanes {
            self.wrong(image, &format!("{what}: shows another state than before"));
        }
    }

    /// Opens the disk that a cut left and cuts again after each operation of that. Answers how many times.
    fn cut_opening(&self, image: &World, shown: &Shown, rng: &mut Rng) -> u64 {
        let disk = SimDisk::of(image.clone());
        let db = self.open(image, &disk);
        self.same(image, &self.judge(image, &db, "opened"), shown, "opened");
        let mut world = image.clone();
        let mut cuts = 0;
        for event in disk.journal(0) {
            if let Event::Op(op) = event {
                world.apply(&op);
                let again = world.cut(rng);
                self.same(&again, &self.load(&again, "cut while it opened"), shown, "cut while it opened");
                cuts += 1;
            }
        }
        cuts
    }

    /// A recovered store takes writes and keeps them.
    fn write_after(&self, image: &World, shown: &Shown, rng: &mut Rng) {
        let disk = SimDisk::of(image.clone());
        let db = self.open(image, &disk);
        db.keyspace(AFTER).and_then(|keyspace| keyspace.set("after", "the cut")).unwrap();
        let again = disk.world().cut(rng);
        self.keeps_after(&again, shown);
        drop(db);
        self.keeps_after(&disk.world().cut(rng), shown);
    }

    fn keeps_after(&self, image: &World, shown: &Shown) {
        let db = history::load(image, self.wall_ms).unwrap_or_else(|error| {
            self.wrong(image, &format!("written to after the cut, and cut again: does not open: {error}"))
        });
        self.same(image, &self.judge(image, &db, "written to after"), shown, "written to after");
        let after = db.keyspace(AFTER).and_then(|keyspace| keyspace.get("after")).unwrap();
        if after.is_none_or(|after| after != "the cut") {
            self.wrong(image, "LOST: what was written after the cut");
        }
    }

    /// Opens it on a disk that fails meanwhile. It may refuse, and may not lose anything.
    fn fail_opening(&self, image: &World, shown: &Shown, rng: &mut Rng) {
        let disk = SimDisk::of(image.clone());
        disk.plan(any_plan(rng, 24), rng.u64(..));
        let (options, _) = history::options(&disk, self.wall_ms);
        let mut is_kept = false;
        match options.clone().open(history::dir()) {
            Ok(db) => {
                self.same(
                    image,
                    &self.judge(image, &db, "opened on a failing disk"),
                    shown,
                    "opened on a failing disk",
                );
                is_kept = db.keyspace(AFTER).and_then(|keyspace| keyspace.set("after", "the cut")).is_ok();
            }
            Err(error) if disk.failures() == 0 => self.wrong(image, &format!("does not open: {error}")),
            Err(_) => {}
        }
        let check = |world: &World| match is_kept {
            true => self.keeps_after(world, shown),
            false => self.same(world, &self.load(world, "after a fault"), shown, "opened on a failing disk, and cut"),
        };
        check(&disk.world().cut(rng));
        // Or the machine runs on, and the next process opens what it finds in memory.
        disk.heal();
        drop(self.open(&disk.world(), &disk));
        check(&disk.world().cut(rng));
    }

    fn open(&self, image: &World, disk: &SimDisk) -> Db {
        let (options, _) = history::options(disk, self.wall_ms);
        options.open(history::dir()).unwrap_or_else(|error| self.wrong(image, &format!("does not open: {error}")))
    }
}

/// Cuts the power at every operation of one history, and counts them. Answers whether the disk failed in it.
pub fn everywhere(seed: u64, points: &AtomicU64) -> bool {
    let history = history::run(seed);
    let mut world = World::default();
    let mut ledger = Ledger::new(history.courses.len(), START_MS);
    for (index, event) in history.events.iter().enumerate() {
        let mut rng = Rng::with_seed(seed ^ (index as u64) << 32);
        let mut wall_ms = any_wall(&mut rng, ledger.wall_ms);
        match event {
            Event::Op(op) => world.apply(op),
            Event::Note(note) => {
                ledger.take(*note);
                match note {
                    // Where time could run back it is looked at with a clock that does.
                    Note::Seen { .. } => wall_ms = START_MS,
                    _ => continue,
                }
            }
        }
        let image = world.cut(&mut rng);
        let moment = Moment { seed, index, history: &history, ledger: &ledger, wall_ms };
        let shown = moment.load(&image, "cut");
        points.fetch_add(1, SeqCst);
        match rng.u8(..32) {
            0 => drop(points.fetch_add(moment.cut_opening(&image, &shown, &mut rng), SeqCst)),
            1 | 2 => moment.write_after(&image, &shown, &mut rng),
            3 => {
                moment.fail_opening(&image, &shown, &mut rng);
                points.fetch_add(2, SeqCst);
            }
            _ => {}
        }
    }
    history.has_failed
}
