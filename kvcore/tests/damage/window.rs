//! Under steady load the manifest is brought up to date about once a second: what is older has a witness even if the
//! whole end of a crashed log is destroyed, and what the manifest says is always durable.
#![allow(clippy::disallowed_methods, reason = "a test that waits must end some time")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use kvcore::{Db, Durability, ManualClock};

use crate::disk::{Image, MemoryDisk, dir};
use crate::history::options;

const STEP_MS: u64 = 100;
/// A second, and the step in which it ends.
const WINDOW_MS: u64 = 1_000 + 2 * STEP_MS;
const WRITES: u64 = 60;

fn log_of(image: &Image) -> &String {
    image.keys().rfind(|name| name.starts_with("wal-")).unwrap()
}

/// Bytes of the newest segment up to the last that is not zero.
fn written(image: &Image) -> usize {
    image[log_of(image)].iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

/// Writes for some seconds by the store's clock without ever being idle; returns the files, and where the log ended after
/// each write.
fn under_load(durability: Durability) -> (Image, Vec<usize>) {
    let (disk, clock) = (MemoryDisk::default(), Arc::new(ManualClock::at(1_800_000_000_000)));
    let options = options(&disk).segment_bytes(1 << 20).clock(clock.clone()).durability(durability);
    let db = options.open(dir()).unwrap();
    let mut ends = Vec::new();
    for i in 0..WRITES {
        db.set("k", format!("{i}")).unwrap();
        let what = "the write in the log";
        wait_for(what, || written(&disk.image()) > ends.last().copied().unwrap_or(0));
        ends.push(written(&disk.image()));
        clock.advance(STEP_MS);
        let lsn = db.hooks().last_lsn();
        if durability == Durability::EverySecond && i % 10 == 9 {
            // Wakes the syncer, whose second has passed on the store's clock alone.
            sync_is_due(&db, lsn, &mut ends, &disk);
        }
        let after_a_cut = MemoryDisk::of(&disk.image_without_power());
        crate::history::options(&after_a_cut).load(dir()).unwrap_or_else(|error| panic!("write {i}: {error}"));
    }
    let image = disk.image();
    drop(db);
    (image, ends)
}

fn sync_is_due(db: &Db, lsn: kvcore::hooks::Lsn, ends: &mut [usize], disk: &MemoryDisk) {
    let mut more = 0;
    wait_for("the sync of the last second", || {
        // Each is a frame of its own, or part of one.
        db.set("more", format!("{more}")).unwrap();
        more += 1;
        std::thread::sleep(Duration::from_millis(1));
        db.hooks().durable_lsn() >= lsn
    });
    // They end where this write does.
    let mut before = 0;
    wait_for("the end of the log", || {
        let now = written(&disk.image());
        std::mem::replace(&mut before, now) == now
    });
    *ends.last_mut().unwrap() = before;
}

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(60), "waited in vain for: {what}");
        std::thread::yield_now();
    }
}

#[test]
fn what_is_older_than_a_second_has_a_witness_under_load() {
    for (durability, window_ms) in [(Durability::Always, WINDOW_MS), (Durability::EverySecond, 2 * WINDOW_MS)] {
        let (image, ends) = under_load(durability);
        let whole = options(&MemoryDisk::of(&image)).load(dir()).unwrap();
        assert_eq!(whole.get("k").unwrap().unwrap(), format!("{}", WRITES - 1).as_str());
        let mut cut = 0;
        for (i, end) in ends.iter().enumerate() {
            let mut destroyed = image.clone();
            let name = log_of(&image).clone();
            destroyed.get_mut(&name).unwrap()[*end..].fill(0);
            let loaded = options(&MemoryDisk::of(&destroyed)).load(dir());
            // The next write is the first that is destroyed.
            let age_ms = (WRITES - (i as u64 + 1)) * STEP_MS;
            if age_ms > window_ms {
                let refusal = loaded.err().unwrap_or_else(|| panic!("{durability}: {age_ms} ms of the log were cut"));
                assert!(refusal.to_string().contains("the manifest proves"), "{refusal}");
            } else {
                cut += usize::from(loaded.is_ok());
            }
        }
        assert!(cut > 0, "{durability}: the last frames cannot be told from a write that was never finished");
    }
}
