//! One damaged slot of the manifest leaves a sound store one that opens, and takes nothing from what the other proves.

use std::panic::{AssertUnwindSafe, catch_unwind};

use kvcore::{Durability, RepairOptions};

use crate::disk::{Image, MemoryDisk, dir};
use crate::history::{State, cases, options, shown};

const SLOTS_AT: [usize; 2] = [0, 512];
const SLOT_BYTES: usize = 52;

/// What is done to a slot.
type Damage = Box<dyn Fn(&mut [u8])>;

/// Sound stores by name, each with what it shows.
fn sound() -> Vec<(String, Image, State)> {
    let mut stores = Vec::new();
    let mut add = |name: &str, image: Image| {
        let state = shown(&options(&MemoryDisk::of(&image)).load(dir()).unwrap());
        stores.push((name.to_owned(), image, state));
    };
    for case in cases() {
        add(case.name, case.image);
    }
    // Opened and closed at once, and again; closed after writes at every level.
    let disk = MemoryDisk::default();
    for life in 0..4 {
        options(&disk).open(dir()).unwrap().close().unwrap();
        add(&format!("life {life}, nothing written"), disk.image());
    }
    for durability in [Durability::Always, Durability::EverySecond, Durability::Os] {
        let disk = MemoryDisk::default();
        for life in 0..3 {
            let db = options(&disk).durability(durability).open(dir()).unwrap();
            add(&format!("{durability}, life {life}, just opened"), disk.image());
            for i in 0..20 {
                db.set(format!("k{i}"), [life; 300]).unwrap();
            }
            db.with_durability(Durability::Always).set("last", "x").unwrap();
            add(&format!("{durability}, life {life}, after rotations"), disk.image());
            if life == 1 {
                db.snapshot().unwrap();
                add(&format!("{durability}, life {life}, after a snapshot"), disk.image());
            }
            db.close().unwrap();
            add(&format!("{durability}, life {life}, closed"), disk.image());
        }
    }
    // Just created, and just repaired: one slot alone was ever written.
    let disk = MemoryDisk::of(&cases()[0].image);
    let log = disk.image().into_keys().find(|name| name.starts_with("wal-")).unwrap();
    let mut image = disk.image();
    image.get_mut(&log).unwrap()[70] ^= 1;
    let disk = MemoryDisk::of(&image);
    options(&disk).repair_with(dir(), RepairOptions::new().accept_loss(true)).unwrap();
    let repaired = disk.image().into_iter().filter(|(name, _)| !name.contains('/')).collect();
    add("repaired", repaired);
    stores
}

#[test]
fn a_sound_store_with_one_damaged_slot_opens_complete() {
    let mut refused = Vec::new();
    let mut images = 0;
    for (name, image, state) in sound() {
        for at in SLOTS_AT {
            let mut damages: Vec<(String, Damage)> = Vec::new();
            for bit in 0..SLOT_BYTES * 8 {
                damages.push((format!("bit {bit}"), Box::new(move |slot| slot[bit / 8] ^= 1 << (bit % 8))));
            }
            for byte in [0, 255] {
                damages.push((format!("all {byte}"), Box::new(move |slot| slot.fill(byte))));
            }
            for (what, damage) in damages {
                let mut damaged = image.clone();
                damage(&mut damaged.get_mut("manifest").unwrap()[at..at + SLOT_BYTES]);
                let loaded = catch_unwind(AssertUnwindSafe(|| options(&MemoryDisk::of(&damaged)).load(dir()))).unwrap();
                images += 1;
                match loaded {
                    Ok(db) => assert!(shown(&db) == state, "{name}, slot at {at}, {what}: shows something else"),
                    Err(error) => refused.push(format!("{name}, slot at {at}, {what}: {error}")),
                }
            }
        }
    }
    println!("{images} images");
    let some = &refused[..refused.len().min(5)];
    assert!(refused.is_empty(), "{} of {images} were refused, as\n{}", refused.len(), some.join("\n"));
}

/// After a clean close each slot by itself proves the whole log.
#[test]
fn a_damaged_log_is_refused_by_either_slot_alone() {
    for case in cases().iter().filter(|case| case.name.contains("closed")) {
        let log = case.image.keys().rfind(|name| name.starts_with("wal-")).unwrap();
        let end = case.written(log);
        for at in SLOTS_AT {
            let mut image = case.image.clone();
            image.get_mut("manifest").unwrap()[at + 20] ^= 1;
            for from in (48..end - 64).step_by(8) {
                let mut destroyed = image.clone();
                destroyed.get_mut(log).unwrap()[from..].fill(0);
                if let Ok(db) = options(&MemoryDisk::of(&destroyed)).load(dir()) {
                    // Nothing but the seal was there.
                    let whole = case.history.last().unwrap();
                    assert!(shown(&db) == *whole, "{}, slot at {at}, zeros from byte {from}: cut", case.name);
                }
            }
        }
    }
}
