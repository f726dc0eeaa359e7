//! What `inspect` says of a damaged image is what `open` does; what `repair` leaves opens, and shows what it promises.

use kvcore::{Error, Inspection, Kept, RepairOptions, Verdict};

use crate::disk::{Image, MemoryDisk, dir};
use crate::history::{Case, State, options, shown};

/// `loaded` is what opening the image shows.
pub fn check(case: &Case, image: &Image, loaded: &Result<State, Error>, what: &str) {
    let disk = MemoryDisk::of(image);
    let found = options(&disk).inspect(dir()).unwrap_or_else(|error| panic!("{what}: cannot be inspected: {error}"));
    match (&found.verdict, loaded) {
        (Verdict::Opens | Verdict::Cuts { .. }, Ok(_)) => {}
        (Verdict::Refuses(error), Err(refused)) => assert_eq!(error.to_string(), refused.to_string(), "{what}"),
        (verdict, loaded) => panic!("{what}: inspected {verdict:?}, but {:?}", loaded.as_ref().err()),
    }
    assert!(disk.image() == *image, "{what}: inspecting changed a file");
    let plan = options(&disk).plan_repair(dir(), RepairOptions::new());
    assert!(disk.image() == *image, "{what}: planning a repair changed a file");
    let repaired = match options(&disk).repair(dir()) {
        Ok(repaired) => repaired,
        Err(Error::RepairDropsMost { .. }) => {
            assert!(plan.as_ref().unwrap().plain_stops, "{what}: stops unforeseen");
            assert!(disk.image() == *image, "{what}: a repair that stopped changed a file");
            options(&disk).repair_with(dir(), RepairOptions::new().accept_loss(true)).unwrap()
        }
        Err(Error::NotRepairable { .. }) => {
            // Nobody can tell which of them does not belong here.
            let is_foreign = image.iter().any(|(name, bytes)| case.foreign.get(name) == Some(bytes));
            assert!(is_foreign, "{what}: only for files of another store it gives up");
            assert!(disk.image() == *image, "{what}: what is not repaired is not changed");
            return;
        }
        Err(error) => panic!("{what}: cannot be repaired: {error}"),
    };
    let plan = plan.unwrap_or_else(|error| panic!("{what}: repaired, but not planned: {error}"));
    let planned = plan.plain.map(|way| way.kept);
    assert_eq!(format!("{planned:?}"), format!("{:?}", repaired.kept), "{what}: planned and done");
    let after = disk.image();
    if planned.is_some() {
        salvages(case, image, &plan.salvage.unwrap().kept, plan.salvage_stops, what);
    }
    assert_eq!(repaired.set_aside.is_none(), found.is_sound(), "{what}");
    if found.is_sound() {
        assert!(after == *image, "{what}: repair changed a sound store");
        return;
    }
    are_copied(&found, image, &after, what);
    let again = options(&disk).inspect(dir()).unwrap();
    assert!(again.is_sound() && matches!(again.verdict, Verdict::Opens), "{what}: after repair {again:?}");
    let state = options(&disk).load(dir()).unwrap_or_else(|error| panic!("{what}: does not open: {error}"));
    let state = shown(&state);
    match (loaded, &repaired.kept) {
        (Ok(loaded), kept) => assert!(kept.is_none() && state == *loaded, "{what}: what it did not need made a change"),
        (Err(_), Some(kept)) if kept.is_partial || kept.is_mixed => is_part(case, &state, kept.is_mixed, what),
        (Err(_), _) => {
            let least = least(case, image);
            let shows = case.history.iter().rposition(|known| *known == state);
            let shows = shows.unwrap_or_else(|| panic!("{what}: repaired to a state that never was: {state:?}"));
            assert!(shows >= least, "{what}: repaired to state {shows}, but {least} is there");
        }
    }
}

/// What is salvaged opens, is what was planned, and no key has a value that it never had.
fn salvages(case: &Case, image: &Image, planned: &Kept, stops: bool, what: &str) {
    let disk = MemoryDisk::of(image);
    let how = RepairOptions::new().salvage(true);
    let mut repaired = options(&disk).repair_with(dir(), how);
    assert_eq!(matches!(repaired, Err(Error::RepairDropsMost { .. })), stops, "{what}: {repaired:?}");
    if stops {
        assert!(planned.keys == 0 && disk.image() == *image, "{what}: a repair that stopped changed a file");
        repaired = options(&disk).repair_with(dir(), how.accept_loss(true));
    }
    let kept = repaired.unwrap_or_else(|error| panic!("{what}: cannot be salvaged: {error}")).kept.unwrap();
    assert_eq!(format!("{planned:?}"), format!("{kept:?}"), "{what}: planned and salvaged");
    let again = options(&disk).inspect(dir()).unwrap();
    assert!(again.is_sound() && matches!(again.verdict, Verdict::Opens), "{what}: after salvaging {again:?}");
    let state = options(&disk).load(dir()).unwrap_or_else(|error| panic!("{what}: salvaged, does not open: {error}"));
    let state = shown(&state);
    assert_eq!(kept.keys, state.len() as u64, "{what}");
    is_part(case, &state, true, what);
}

/// Takes writes and keeps them, beside what it has.
pub fn goes_on(image: &Image, what: &str) {
    let disk = MemoryDisk::of(image);
    let Ok(_) = options(&disk).repair_with(dir(), RepairOptions::new().accept_loss(true)) else { return };
    let db = options(&disk).open(dir()).unwrap_or_else(|error| panic!("{what}: does not open: {error}"));
    let mut before = shown(&db);
    db.set("after", "repair").unwrap();
    drop(db);
    before.insert(("0".to_owned(), b"after".to_vec()), (b"repair".to_vec(), None));
    assert!(shown(&options(&disk).open(dir()).unwrap()) == before, "{what}: went on with something else");
}

/// Every file that is damaged, and every other that is no longer as it was, has a copy.
fn are_copied(found: &Inspection, image: &Image, after: &Image, what: &str) {
    for (name, bytes) in image {
        let is_damaged = found.files.iter().any(|file| file.name == *name && file.flaw.is_some());
        let is_leftover = name.ends_with(".tmp");
        if is_damaged || (!is_leftover && after.get(name) != Some(bytes)) {
            let copies = after.iter().filter(|(copy, _)| copy.starts_with("damaged-20270115T080000Z/"));
            let mut copies = copies.filter(|(copy, _)| copy.ends_with(&format!("/{name}")));
            assert!(copies.any(|(_, copy)| copy == bytes), "{what}: {name} was not copied");
        }
    }
}

/// The newest state of which all that was written still stands in the image.
fn least(case: &Case, image: &Image) -> usize {
    let stands = |moment: &Image| {
        moment.iter().filter(|(name, _)| name.starts_with("wal-")).all(|(name, then)| {
            // The last record may end with a zero, and what fills a frame up is zeros.
            let written = then.iter().rposition(|byte| *byte != 0).map_or(0, |last| (last + 2).next_multiple_of(8));
            image.get(name).is_some_and(|now| now.get(..written).is_some_and(|now| then.starts_with(now)))
        })
    };
    let snapshot = case.image.keys().find(|name| name.starts_with("snapshot-"));
    let has_snapshot = snapshot.is_some_and(|name| image.get(name) == case.image.get(name));
    let from = case.snapshot_from.filter(|_| has_snapshot).unwrap_or(0);
    // Without the snapshot the log is not all that there was.
    let complete = case.complete.iter().rev().filter(|(at, _)| *at > from && (has_snapshot || snapshot.is_none()));
    complete.map(|(at, moment)| (*at, stands(moment))).find(|(_, stands)| *stands).map_or(from, |(at, _)| at)
}

/// Every key has a value that it had: all of them at some one moment, unless they are `mixed`.
fn is_part(case: &Case, state: &State, mixed: bool, what: &str) {
    let had = |then: &State, place: &(String, Vec<u8>)| {
        let (keyspace, key) = place;
        if keyspace.starts_with("lost-") {
            return then.iter().any(|((_, other), there)| other == key && there == &state[place]);
        }
        then.get(place) == state.get(place)
    };
    let is_right = if mixed {
        state.keys().all(|place| case.history.iter().any(|then| had(then, place)))
    } else {
        case.history.iter().any(|then| state.keys().all(|place| had(then, place)))
    };
    assert!(is_right, "{what}: repaired to what never was: {state:?}");
}
