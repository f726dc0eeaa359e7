//! What a refusal says of a file: missing is not damaged, and what was only reserved is no part of a torn write.

use kvcore::Verdict;

use crate::disk::{MemoryDisk, dir};
use crate::history::{cases, options};

#[test]
fn a_missing_file_is_called_missing() {
    for case in cases() {
        for gone in case.image.keys() {
            let mut image = case.image.clone();
            image.remove(gone);
            let Err(error) = options(&MemoryDisk::of(&image)).load(dir()) else { continue };
            let (text, path) = (error.to_string(), dir().join(gone).display().to_string());
            let is_named = text.starts_with(&format!("{path} is missing"));
            // A gap is seen from the files at its ends.
            let is_seen_at = ["a later segment proves", "is missing, and no snapshot", "lacks the log"];
            let is_seen_at = is_seen_at.iter().any(|seen| text.contains(seen));
            assert!(is_named || is_seen_at, "{}, without {gone}: {text}", case.name);
            assert!(!text.contains("at byte 0"), "{}, without {gone}: {text}", case.name);
        }
    }
}

#[test]
fn a_file_that_is_another_is_not_called_damaged_at_a_byte() {
    let cases = cases();
    let case = cases.iter().find(|case| case.name == "closed").unwrap();
    for (name, bytes) in &case.foreign {
        let mut image = case.image.clone();
        image.insert(name.clone(), bytes.clone());
        let Err(error) = options(&MemoryDisk::of(&image)).load(dir()) else { continue };
        assert!(!error.to_string().contains("at byte 0"), "{name}: {error}");
        assert!(error.to_string().contains("belongs to another store"), "{name}: {error}");
    }
}

#[test]
fn a_torn_write_is_as_long_as_what_was_written_of_it() {
    let cases = cases();
    let case = cases.iter().find(|case| case.name == "killed").unwrap();
    let name = case.image.keys().rfind(|name| name.starts_with("wal-")).unwrap();
    let end = case.written(name);
    let mut image = case.image.clone();
    let log = image.get_mut(name).unwrap();
    assert!(log.len() > end + 1_000, "room is reserved behind it");
    log[end] ^= 1;
    let last = log.iter().rposition(|byte| *byte != 0).unwrap() as u64;
    let found = options(&MemoryDisk::of(&image)).inspect(dir()).unwrap();
    let Verdict::Cuts { offset, bytes, .. } = found.verdict else { panic!("{:?}", found.verdict) };
    assert_eq!(offset + bytes, last + 1, "up to the last byte that is not zero");
    let db = options(&MemoryDisk::of(&image)).open(dir()).unwrap();
    assert_eq!(db.stats().recovery.cut_bytes, bytes);
    db.set("goes", "on").unwrap();
}
