//! Power cuts, simulated: at every operation of many random histories the power goes, the disk keeps some of what was
//! not synced, and the store opens again.
//!
//! Invariant: nothing promised is lost, nothing shows that never was, no transaction is half there. A failure prints
//! the seed and the cut that show it again: `KV_CUT_SEED=n KV_CUT_SEEDS=1 cargo test -p kvtests --test power_cuts`.
//!
//! `KV_CUT_POINTS` is how many cuts to try (default 20,000), `KV_CUT_SEED` the first seed (default: 1).
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

mod disk;
mod repair;
mod workload;

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use fastrand::Rng;
use kvcore::{Db, Durability, StoreExt};

use disk::{Event, SimDisk, World};
use workload::{History, Note, State};

const THREADS: usize = 8;
/// A keyspace that no lane uses.
const AFTER: &str = "after";

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().expect("a number"))
}

/// What must hold when the power is cut at some moment.
#[derive(Clone)]
struct Ledger {
    begun: Vec<usize>,
    promised: Vec<usize>,
    now_ms: u64,
}

impl Ledger {
    fn take(&mut self, note: Note) {
        match note {
            Note::Begun { lane, number } => self.begun[lane] = number,
            Note::Promised { lane, number } => self.promised[lane] = self.promised[lane].max(number),
            Note::Time(now_ms) => self.now_ms = now_ms,
        }
    }
}

/// Opens the store on what a cut left, and answers what it shows.
fn open(disk: &SimDisk, ledger: &Ledger, what: &str) -> (Db, Vec<State>) {
    let (options, _) = workload::options(disk, ledger.now_ms);
    let db = options.open(workload::dir()).unwrap_or_else(|error| panic!("{what}: does not open: {error}"));
    let shown = workload::shown(&db, ledger.begun.len());
    (db, shown)
}

/// Each lane shows one of its states, from the last promised to the last begun.
fn check(history: &History, ledger: &Ledger, shown: &[State], what: &str) {
    for (lane, (states, shown)) in history.lanes.iter().zip(shown).enumerate() {
        let alive = |state: &State| -> State {
            state.iter().filter(|(_, (_, deadline))| deadline.is_none_or(|at| at > ledger.now_ms)).map(clone).collect()
        };
        let (promised, begun) = (ledger.promised[lane], ledger.begun[lane]);
        if (promised..=begun).any(|number| alive(&states[number]) == *shown) {
            continue;
        }
        match (0..states.len()).find(|number| alive(&states[*number]) == *shown) {
            Some(number) if number < promised => {
                panic!("{what}: lane {lane} shows transaction {number}, but {promised} was promised: LOST")
            }
            Some(number) => panic!("{what}: lane {lane} shows transaction {number}, but {begun} is the last begun"),
            None => {
                panic!("{what}: lane {lane} shows a state that never was, between {promised} and {begun}: {shown:?}")
            }
        }
    }
}

fn clone<'a, K: Clone, V: Clone>((key, value): (&'a K, &'a V)) -> (K, V) {
    (key.clone(), value.clone())
}

/// Cuts the power at every operation of one history; answers how many times.
fn cut_everywhere(seed: u64) -> u64 {
    let mut rng = Rng::with_seed(seed ^ 0x00c0_ffee);
    let durability = [Durability::Always, Durability::EverySecond][usize::from(rng.u8(..3) == 0)];
    let lanes = if rng.u8(..4) == 0 { 3 } else { 1 };
    let history = workload::run(seed, lanes, 30, durability);
    let mut world = World::default();
    let mut ledger = Ledger { begun: vec![0; lanes], promised: vec![0; lanes], now_ms: workload::START_MS };
    let mut cuts = 0;
    for (index, event) in history.events.iter().enumerate() {
        match event {
            Event::Note(note) => ledger.take(*note),
            Event::Op(op) => {
                world.apply(op);
                let what = format!("seed {seed}, cut after event {index} ({durability:?}, {lanes} lanes)");
                let image = world.cut(&mut rng);
                let disk = SimDisk::of(image.clone());
                let (db, shown) = open(&disk, &ledger, &what);
                check(&history, &ledger, &shown, &what);
                cuts += 1;
                match rng.u8(..16) {
                    0 => cuts += cut_recovery(&ledger, image, &disk, &shown, &mut rng, &what),
                    1 => {
                        // A recovered store takes writes and keeps them.
                        db.keyspace(AFTER).and_then(|keyspace| keyspace.set("after", "the cut")).unwrap();
                        drop(db);
                        let (db, _) = open(&disk, &ledger, &what);
                        let after = db.keyspace(AFTER).and_then(|keyspace| keyspace.get("after")).unwrap();
                        assert_eq!(after.unwrap(), "the cut", "{what}: what was written after it");
                    }
                    _ => {}
                }
            }
        }
    }
    cuts
}

/// The power goes again while the store recovers, or right after: what it showed, or would have, stays as it is.
fn cut_recovery(ledger: &Ledger, image: World, disk: &SimDisk, shown: &[State], rng: &mut Rng, what: &str) -> u64 {
    let mut world = image;
    let mut cuts = 0;
    for (index, event) in disk.journal().iter().enumerate() {
        if let Event::Op(op) = event {
            world.apply(op);
            let what = format!("{what}, and again after event {index} of recovery");
            let (_, again) = open(&SimDisk::of(world.cut(rng)), ledger, &what);
            assert!(again == shown, "{what}: shows another state than the recovery before");
            cuts += 1;
        }
    }
    cuts
}

#[test]
fn nothing_promised_is_lost_wherever_the_power_goes() {
    let wanted = number("KV_CUT_POINTS", 20_000);
    let (first, seeds) = (number("KV_CUT_SEED", 1), number("KV_CUT_SEEDS", u64::MAX));
    let (cuts, tried) = (AtomicU64::new(0), AtomicU64::new(0));
    // Opening and closing a store is mostly waiting for its threads: many at once.
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while cuts.load(SeqCst) < wanted {
                    let offset = tried.fetch_add(1, SeqCst);
                    if offset >= seeds {
                        break;
                    }
                    cuts.fetch_add(cut_everywhere(first.wrapping_add(offset)), SeqCst);
                }
            });
        }
    });
    let (cuts, tried) = (cuts.into_inner(), tried.into_inner().min(seeds));
    println!("{cuts} cuts in {tried} histories from seed {first}: nothing lost, nothing made up");
}
