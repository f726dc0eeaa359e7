//! Damaged files: every bit flipped, every length, zeros, files that are missing, exchanged, of another store or of
//! another time. A store that opens shows what was written, exactly; otherwise it refuses and names a file, and opens once
//! it is repaired.
//!
//! Of the many images one in 41 is repaired; with `KV_DAMAGE_REPAIR_EVERY=1` every one.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod disk;
mod history;
mod holes;
mod manifest;
mod messages;
mod order;
mod repair;
mod salvage;
mod unreadable;
mod window;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};

use kvcore::{Durability, Error};

use disk::{Image, MemoryDisk, dir};
use history::{Case, cases, options, shown};

/// Files are a few KiB: nothing in them can ask for more memory than this.
const MEMORY_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// How an image may turn out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    /// Everything is there, or the store does not open.
    Nothing,
    /// The last frame may be gone too, if nothing was written after it.
    LastFrame,
    /// So may be what was written since the newest segment was begun: its witnesses were destroyed with it.
    NewestSegment,
}

/// What became of the images of one test.
#[derive(Default, Debug)]
struct Tally {
    complete: usize,
    cut: usize,
    refused: usize,
    repaired: usize,
    /// Of so many images one is inspected and repaired, too.
    repair_every: usize,
}

/// Loads one image and checks what it shows against what was written.
fn check(case: &Case, image: &Image, loss: Loss, what: &str, tally: &mut Tally) {
    let what = format!("{}: {what}", case.name);
    let disk = MemoryDisk::of(image);
    let mut outcome = None;
    let memory = allocation_counter::measure(|| {
        outcome = Some(catch_unwind(AssertUnwindSafe(|| options(&disk).load(dir()))));
    });
    let loaded = outcome.unwrap().unwrap_or_else(|_| panic!("{what}: panicked"));
    assert!(memory.bytes_max < MEMORY_BYTES_MAX, "{what}: took {} bytes", memory.bytes_max);
    assert!(disk.image() == *image, "{what}: loading changed a file");
    let loaded = loaded.map(|db| shown(&db));
    let whole = case.history.len() - 1;
    let least = match loss {
        Loss::Nothing => whole,
        Loss::LastFrame => case.last_frame_from,
        Loss::NewestSegment => case.segment_from.min(case.last_frame_from),
    };
    match &loaded {
        Ok(state) if *state == case.history[whole] => tally.complete += 1,
        Ok(state) => {
            let shows = case.history.iter().rposition(|known| known == state);
            let shows = shows.unwrap_or_else(|| panic!("{what}: shows a state that never was: {state:?}"));
            assert!(shows >= least, "{what}: shows state {shows} of {whole}, and should show {least} or refuse");
            tally.cut += 1;
        }
        Err(Error::Corrupt { file, .. }) => {
            assert!(file.starts_with(dir()), "{what}: names {}", file.display());
            tally.refused += 1;
        }
        Err(error) => panic!("{what}: {error}"),
    }
    if (tally.complete + tally.cut + tally.refused).is_multiple_of(tally.repair_every.max(1)) {
        repair::check(case, image, &loaded, &what);
        tally.repaired += 1;
    }
    // Opening is loading and then settling, and takes threads: now and then.
    if (tally.complete + tally.cut + tally.refused).is_multiple_of(61) {
        match (options(&disk).open(dir()), loaded) {
            (Ok(db), Ok(loaded)) => {
                assert!(shown(&db) == loaded, "{what}: open shows something else than load");
                db.set("after", "damage").unwrap();
                drop(db);
                repair::goes_on(image, &what);
                let db = options(&disk).open(dir()).unwrap_or_else(|error| panic!("{what}: opened once: {error}"));
                assert_eq!(db.get("after").unwrap().unwrap(), "damage", "{what}");
            }
            (Err(Error::Corrupt { .. }), Err(_)) => {
                assert!(disk.image() == *image, "{what}: a store that does not open was changed");
                repair::goes_on(image, &what);
            }
            (opened, loaded) => panic!("{what}: open {:?}, load {:?}", opened.err(), loaded.err()),
        }
    }
}

/// Runs `damage` for each file of each case, on all processors.
fn sweep(title: &str, damage: impl Fn(&Case, &str, &mut dyn FnMut(Image, Loss, String)) + Sync) {
    let cases = cases();
    // A number that has nothing in common with eight bits, nor with sectors. 1 takes two minutes for all tests.
    let all = std::env::var("KV_DAMAGE_REPAIR_EVERY").ok().map_or(41, |text| text.parse().unwrap());
    let repair_every = if matches!(title, "files" | "others") { 1 } else { all };
    let work: Vec<(&Case, &String)> =
        cases.iter().flat_map(|case| case.image.keys().map(move |name| (case, name))).collect();
    let next = AtomicUsize::new(0);
    let tallies = std::thread::scope(|scope| {
        let work = || {
            let mut tally = Tally { repair_every, ..Tally::default() };
            while let Some((case, name)) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                damage(case, name, &mut |image, loss, what| {
                    check(case, &image, loss, &format!("{name}: {what}"), &mut tally)
                });
            }
            tally
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    let sum = |figure: fn(&Tally) -> usize| tallies.iter().map(figure).sum::<usize>();
    let (complete, cut, refused) = (sum(|t| t.complete), sum(|t| t.cut), sum(|t| t.refused));
    let repaired = sum(|t| t.repaired);
    println!(
        "{title}: {} images: {complete} complete, {cut} cut, {refused} refused; {repaired} inspected and repaired",
        complete + cut + refused
    );
    assert!(complete + cut + refused > 0);
}

/// The image with other bytes in one of its files.
fn with(case: &Case, name: &str, change: impl FnOnce(&mut Vec<u8>)) -> Image {
    let mut image = case.image.clone();
    change(image.get_mut(name).unwrap());
    image
}

#[test]
fn an_undamaged_image_is_complete() {
    for case in cases() {
        let mut tally = Tally::default();
        check(&case, &case.image, Loss::Nothing, "as it was", &mut tally);
        assert_eq!(tally.complete, 1, "{}", case.name);
    }
}

#[test]
fn every_flipped_bit_is_harmless_or_refused_or_cuts_the_last_frame() {
    sweep("bits", |case, name, check| {
        for at in 0..case.image[name].len() {
            // Beyond the last byte that was written all bytes are alike: eight bits of each sixteenth will do.
            if at > case.written(name) + 64 && at % 16 != 0 {
                continue;
            }
            for bit in 0..8 {
                let flipped = with(case, name, |bytes| bytes[at] ^= 1 << bit);
                check(flipped, Loss::LastFrame, format!("bit {bit} of byte {at}"));
            }
        }
    });
}

#[test]
fn a_file_of_any_length_loses_nothing_unseen() {
    sweep("lengths", |case, name, check| {
        for len in 0..case.image[name].len() {
            check(with(case, name, |bytes| bytes.truncate(len)), Loss::LastFrame, format!("cut to {len} bytes"));
        }
        for more in [1, 7, 8, 512, 5000] {
            let zeros = with(case, name, |bytes| bytes.resize(bytes.len() + more, 0));
            check(zeros, Loss::Nothing, format!("{more} zeros more"));
            let noise = with(case, name, |bytes| bytes.extend((0..more).map(|i| (i * 37 + 11) as u8)));
            check(noise, Loss::Nothing, format!("{more} bytes of noise more"));
        }
        let twice = with(case, name, |bytes| bytes.extend(bytes.clone()));
        check(twice, Loss::Nothing, "twice".to_owned());
    });
}

#[test]
fn zeros_lose_nothing_that_has_a_witness() {
    sweep("zeros", |case, name, check| {
        let len = case.image[name].len();
        for at in 0..=case.written(name) {
            let loss = if case.is_newest(name) { Loss::NewestSegment } else { Loss::Nothing };
            check(with(case, name, |bytes| bytes[at..].fill(0)), loss, format!("zeros from byte {at}"));
        }
        for sector in (0..len).step_by(512) {
            let end = len.min(sector + 512);
            // One sector may hold the last frames all together.
            let loss = if case.is_newest(name) { Loss::NewestSegment } else { Loss::Nothing };
            for byte in [0, 255] {
                let lost = with(case, name, |bytes| bytes[sector..end].fill(byte));
                check(lost, loss, format!("sector {sector} all {byte}"));
            }
        }
    });
}

#[test]
fn missing_and_exchanged_files_are_missed() {
    sweep("files", |case, name, check| {
        let names: Vec<&String> = case.image.keys().collect();
        let without = |gone: &dyn Fn(&str) -> bool| -> Image {
            case.image
                .iter()
                .filter(|(name, _)| !gone(name))
                .map(|(name, bytes)| (name.clone(), bytes.clone()))
                .collect()
        };
        check(without(&|other| other == name), Loss::Nothing, "missing".to_owned());
        check(without(&|other| other.starts_with("wal-")), Loss::Nothing, "no log".to_owned());
        check(without(&|other| other != "manifest"), Loss::Nothing, "the manifest alone".to_owned());
        for other in &names {
            let mut swapped = case.image.clone();
            swapped.insert(name.to_owned(), case.image[*other].clone());
            check(swapped.clone(), Loss::Nothing, format!("overwritten by {other}"));
            swapped.insert((*other).clone(), case.image[name].clone());
            check(swapped, Loss::Nothing, format!("exchanged with {other}"));
        }
        for id in 0..12 {
            for prefix in ["wal-", "snapshot-"] {
                let ending = if prefix == "wal-" { "log" } else { "kvs" };
                let copied = format!("{prefix}{id:016x}.{ending}");
                let mut image = case.image.clone();
                image.insert(copied.clone(), case.image[name].clone());
                check(image.clone(), Loss::Nothing, format!("copied to {copied}"));
                if copied != name {
                    image.remove(name);
                    check(image, Loss::Nothing, format!("renamed to {copied}"));
                }
            }
        }
        for leftover in ["wal.tmp", "snapshot.tmp", "manifest.tmp"] {
            let mut image = case.image.clone();
            image.insert(leftover.to_owned(), case.image[name].clone());
            check(image, Loss::Nothing, format!("copied to {leftover}"));
        }
    });
}

#[test]
fn files_of_another_store_or_another_time_are_known() {
    sweep("others", |case, name, check| {
        if let Some(foreign) = case.foreign.get(name) {
            check(with(case, name, |bytes| bytes.clone_from(foreign)), Loss::Nothing, "of another store".to_owned());
        }
        for (name, foreign) in &case.foreign {
            let mut image = case.image.clone();
            image.entry(name.clone()).or_insert_with(|| foreign.clone());
            check(image, Loss::Nothing, format!("with {name} of another store"));
        }
        // As if the writes since then had never reached the disk.
        for (moment, earlier) in case.earlier().enumerate() {
            if let Some(bytes) = earlier.get(name) {
                let stale = with(case, name, |now| now.clone_from(bytes));
                check(stale, Loss::NewestSegment, format!("as it was at moment {moment}"));
            }
        }
    });
}

/// A client's value cannot pass for a frame, nor for the witness of one, where a torn write leaves it standing.
#[test]
fn a_value_that_imitates_a_frame_is_no_witness() {
    for case in cases().iter().filter(|case| case.last_frame_from < case.history.len() - 1) {
        let mut frames = Vec::new();
        for salt in [0..8, u64::MAX - 8..u64::MAX].into_iter().flatten() {
            frames.extend(forged(salt));
        }
        // And real ones of another store, every byte of which is known, and which has come further than this one.
        let other = MemoryDisk::of(&case.foreign);
        let db = options(&other).segment_bytes(1 << 20).open(dir()).unwrap();
        (0..100).for_each(|i| db.set("n", format!("{i}")).unwrap());
        let (_, newest) = other.image().into_iter().rfind(|(name, _)| name.starts_with("wal-")).unwrap();
        frames.extend_from_slice(&newest[..20_000]);
        let disk = MemoryDisk::of(&case.image);
        let db = options(&disk).segment_bytes(1 << 20).open(dir()).unwrap();
        for shift in 0..8 {
            db.set("k", "before").unwrap();
            let before = disk.image();
            db.set("k", [&vec![b'x'; 512 + shift], &frames[..]].concat()).unwrap();
            let mut image = disk.image();
            let (name, newest) = image.iter_mut().rfind(|(name, _)| name.starts_with("wal-")).unwrap();
            // The frame's first sectors never reached the disk; all that the value says did.
            let value = newest.windows(512).rposition(|bytes| bytes.iter().all(|byte| *byte == b'x')).unwrap() - shift;
            let torn = (value - 80) / 512 * 512..value / 512 * 512 + 512;
            newest[torn.clone()].copy_from_slice(&before[name][torn]);
            let found = options(&MemoryDisk::of(&image)).load(dir());
            let found = found.unwrap_or_else(|error| panic!("{}: took a value for a witness: {error}", case.name));
            assert_eq!(found.get("k").unwrap().unwrap(), "before", "{}, {shift}", case.name);
        }
    }
}

/// A seal as anybody who has read the source could write it, who takes the segment's salt for this number.
fn forged(salt: u64) -> Vec<u8> {
    let checksum = |bytes: &[u8]| {
        let mut crc = crc32fast::Hasher::new_with_initial(salt as u32);
        crc.update(bytes);
        crc.finalize().to_le_bytes()
    };
    let mark = ((salt >> 32) as u32).max(1);
    let mut frame = [mark.to_le_bytes(), [0; 4]].concat();
    for field in [1_000, 0, 1 << 40, 0_u64] {
        frame.extend_from_slice(&field.to_le_bytes());
    }
    frame.extend_from_slice(&checksum(b""));
    frame.extend_from_slice(&checksum(&frame));
    frame
}

/// A process that is killed may leave what only the operating system has seen. Once a store has shown it, it stays.
#[test]
fn what_recovery_found_is_durable_before_it_counts() {
    let disk = MemoryDisk::default();
    let db = options(&disk).durability(Durability::Os).open(dir()).unwrap();
    // A segment of its own, filled to its last byte.
    db.with_durability(Durability::Always).set("large", [7; 20_000]).unwrap();
    let filled = disk.image();
    drop(db);
    for image in cases().iter().map(|case| &case.image).chain([&filled]) {
        let disk = MemoryDisk::of(image);
        disk.unsync(image.keys().rfind(|name| name.starts_with("wal-")).unwrap());
        let db = options(&disk).open(dir()).unwrap();
        let after = MemoryDisk::of(&disk.image_without_power());
        assert_eq!(shown(&options(&after).load(dir()).unwrap()), shown(&db));
    }
}

/// A file of a version that this one does not know is refused, whatever else is good about it.
#[test]
fn another_version_is_refused_by_name() {
    for case in cases() {
        for (name, bytes) in case.image.iter().filter(|(name, _)| name.ends_with(".log") || name.ends_with(".kvs")) {
            for version in [0, 1, 200] {
                let mut bytes = bytes.clone();
                if name.ends_with(".log") {
                    bytes[4] = version;
                    let crc = crc32fast::hash(&bytes[..40]);
                    bytes[40..44].copy_from_slice(&crc.to_le_bytes());
                } else {
                    // Length, checksum begun with the block's number, kind, and first of all the version.
                    bytes[9] = version;
                    let len = u32::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
                    let crc = crc32fast::hash(&bytes[8..8 + len]);
                    bytes[4..8].copy_from_slice(&crc.to_le_bytes());
                }
                let image = with(&case, name, |now| now.clone_from(&bytes));
                match options(&MemoryDisk::of(&image)).load(dir()) {
                    Err(error) => {
                        let text = error.to_string();
                        assert!(text.contains("written by another version of the store"), "{}: {text}", case.name);
                        assert!(text.contains("open it with the version that wrote it"), "{}: {text}", case.name);
                    }
                    // The log reaches back to its beginning, so that nothing is lost without the snapshot.
                    Ok(db) => {
                        assert!(name.ends_with(".kvs"), "{}: {name}", case.name);
                        assert_eq!(shown(&db), *case.history.last().unwrap(), "{}", case.name);
                    }
                }
            }
        }
    }
}
