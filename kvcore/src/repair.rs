//! Repair: makes a damaged store one that opens. Invariant: what is changed or removed has a durable copy before, and
//! wherever the power goes, the files are as damaged as they were or repaired; a sound store is not touched.
//!
//! What [salvage](crate::salvage) found is written as a new snapshot, under a name that no file has. It claims to be newer
//! than anything in the log, so when it is there, all that was before counts for nothing. A new segment and a new manifest
//! follow, and only then the old files go.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::Directory;
use crate::error::{Error, Result};
use crate::files::Files;
use crate::hash::KeyHash;
use crate::inspection::{
    Contents, FileReport, Inspection, Nature, SET_ASIDE, Verdict, check_is_a_store, inspect, nature,
};
use crate::lsn::{Lsn, NUMBER_MAX};
use crate::manifest::{Known, MANIFEST, ManifestFile};
use crate::options::Options;
use crate::recovery::{Listing, UNNAMED};
use crate::salvage::{Salvaged, salvage};
use crate::segment::{create_empty, segment_id, segment_name};
use crate::snapshot::{self, Head, SnapshotWriter, snapshot_name};

const COPY_BYTES: u64 = 1024 * 1024;

/// What [`Options::repair`] did.
#[derive(Debug)]
#[non_exhaustive]
pub struct Repair {
    /// The store as it was found.
    pub found: Inspection,
    /// The folder in the store's directory where the files are that were changed or removed, under their names; `None`
    /// if the store was sound and nothing was done.
    pub set_aside: Option<PathBuf>,
    /// The names of these files.
    pub files: Vec<String>,
    /// What the store holds now; `None` if nothing it holds was damaged.
    pub kept: Option<Kept>,
    /// What it no longer holds.
    pub dropped: Vec<Dropped>,
}

/// What a repaired store holds.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Kept {
    /// The snapshot it was taken from.
    pub snapshot: Option<String>,
    /// Keys in that, as far as it was good.
    pub snapshot_entries: u64,
    /// Transactions that were replayed from the log over it.
    pub replayed: u64,
    /// All changes up to here, unless [`is_partial`](Self::is_partial).
    pub up_to: Lsn,
    /// The newest change that any file speaks of: those from `up_to` to here are lost, or may be.
    pub newest: Lsn,
    /// Parts of the snapshot, or all there was before the log, are lost. What is there is right, but keys are missing.
    pub is_partial: bool,
    /// The snapshot was taken while others wrote, and the log does not reach its end: some keys are as they were at
    /// different moments after `up_to`, and a transaction of that time may be there in part.
    pub is_mixed: bool,
}

/// What a store lost of one file.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Dropped {
    /// The file's name; it is in the folder that was set aside.
    pub file: String,
    /// How many bytes of it were not used.
    pub bytes: u64,
    /// The first and the last transaction in them, as far as that can be told.
    pub lsns: Option<(Lsn, Lsn)>,
    /// Why, or what it was.
    pub why: String,
}

pub(crate) fn repair(options: &Options, dir: &Path) -> Result<Repair> {
    options.check()?;
    let dir = &Files::open_dir(&*options.disk, dir)?;
    check_is_a_store(&**dir)?;
    {
        // Taking the directory for itself would write into it.
        let _lock = Files::lock_to_read(&**dir)?;
        let found = inspect(&**dir)?;
        if found.is_sound() {
            return Ok(Repair { found, set_aside: None, files: Vec::new(), kept: None, dropped: Vec::new() });
        }
    }
    let _lock = Files::lock(&**dir)?;
    let found = inspect(&**dir)?;
    let is_in_the_way = |file: &FileReport| file.flaw.is_none() || file.contents == Contents::Leftover;
    match found.verdict {
        Verdict::Refuses(Error::Corrupt { .. }) => rewrite(options, dir, found),
        Verdict::Refuses(_) if !found.files.iter().all(is_in_the_way) => rewrite(options, dir, found),
        // Only what the store does not need is damaged.
        _ => remove_spares(options, dir, found),
    }
}

fn remove_spares(options: &Options, dir: &Arc<dyn Directory>, found: Inspection) -> Result<Repair> {
    let flawed: Vec<&FileReport> = found.files.iter().filter(|file| file.flaw.is_some()).collect();
    let aside = Aside::make(options, &**dir, flawed.iter().map(|file| file.name.clone()).collect())?;
    aside.remove_originals()?;
    let dropped = flawed.iter().map(|file| drop_of(file, 0, None, "it was damaged, and the store did not need it"));
    let dropped = dropped.collect();
    Ok(Repair { set_aside: Some(aside.path()), files: aside.names, kept: None, dropped, found })
}

fn rewrite(options: &Options, dir: &Arc<dyn Directory>, found: Inspection) -> Result<Repair> {
    let salvaged = salvage(&**dir, options.shards)?;
    let listing = Listing::names(&**dir)?;
    let is_taken = |name: &str| listing.names.iter().any(|taken| taken == name);
    // Newer than everything there, and a name of its own.
    let mut last = salvaged.newest;
    while is_taken(&snapshot_name(last)) {
        last = last.next();
    }
    let mut segment = salvaged.newest_segment + 1;
    while is_taken(&segment_name(segment)) {
        segment += 1;
    }
    if last.get() >= NUMBER_MAX || segment > NUMBER_MAX {
        let why = "its numbers are larger than those of any store: restore it from a backup".to_owned();
        return Err(Error::NotRepairable { dir: dir.path().to_owned(), why });
    }
    let is_replaced = |name: &&String| matches!(nature(name), Nature::Segment(_) | Nature::Snapshot | Nature::Manifest);
    let aside = Aside::make(options, &**dir, listing.names.iter().filter(is_replaced).cloned().collect())?;
    for name in listing.names.iter().filter(|name| UNNAMED.contains(&name.as_str())) {
        if dir.remove(name).is_err() {
            aside.move_away(name)?;
        }
    }
    let store = salvaged.store.unwrap_or_else(KeyHash::random_seed);
    write_snapshot(dir, &salvaged, store, last)?;
    let failed = |what: &str| {
        let what = format!("{what} in {}", dir.path().display());
        move |error: io::Error| Error::io(what, error)
    };
    let newest_bytes = create_empty(&**dir, segment, last.next(), store).map_err(failed("begin a log segment"))?;
    if aside.is_to_be_moved(MANIFEST) {
        aside.move_away(MANIFEST)?;
    }
    let known = Known { store, newest: segment, durable: last, newest_bytes };
    ManifestFile::create(&**dir, known).map_err(failed("write the manifest"))?;
    aside.remove_originals()?;
    Ok(Repair {
        set_aside: Some(aside.path()),
        files: aside.names,
        dropped: dropped(&found, &salvaged),
        kept: Some(Kept {
            snapshot: salvaged.base.snapshot.clone(),
            snapshot_entries: salvaged.base.entries,
            replayed: salvaged.replayed,
            up_to: salvaged.reached,
            newest: salvaged.newest,
            is_partial: salvaged.base.is_partial,
            is_mixed: !salvaged.is_one_moment,
        }),
        found,
    })
}

fn write_snapshot(dir: &Arc<dyn Directory>, salvaged: &Salvaged, store: u64, last: Lsn) -> Result<()> {
    let tables = &salvaged.tables;
    let head = Head {
        version: snapshot::VERSION,
        hash_seed: tables.hasher.seed(),
        start: last.get(),
        time_ms: tables.floor_ms,
        keyspaces: tables.spaces.iter().map(|(id, space)| (*id, space.name.to_string())).collect(),
        next_keyspace: tables.next_keyspace,
        store,
    };
    let mut writer = SnapshotWriter::begin(Arc::clone(dir), &head)?;
    for (id, space) in &tables.spaces {
        writer.write_keyspace(*id, &|| Some(Arc::clone(space)), &|| false)?;
    }
    writer.finish(last)?;
    Ok(())
}

/// The folder where files are put before they are changed or removed.
struct Aside<'a> {
    dir: &'a dyn Directory,
    /// The folder's name.
    folder: String,
    names: Vec<String>,
    /// Those that cannot be copied, because they are no files or cannot be read. They are moved when they have to go.
    to_be_moved: Vec<String>,
}

impl<'a> Aside<'a> {
    /// Copies these files, durably.
    fn make(options: &Options, dir: &'a dyn Directory, names: Vec<String>) -> Result<Self> {
        let taken = Listing::names(dir)?.names;
        let dated = format!("{SET_ASIDE}{}", date(options.clock.wall_ms()));
        let name = (1..).map(|n| if n == 1 { dated.clone() } else { format!("{dated}-{n}") });
        let folder = name.into_iter().find(|name| !taken.contains(name)).unwrap_or(dated);
        let mut aside = Aside { dir, folder, names, to_be_moved: Vec::new() };
        let failed = |error| Error::io(format!("copy the damaged files to {}", aside.path().display()), error);
        dir.create_folder(&aside.folder).map_err(failed)?;
        let mut to_be_moved = Vec::new();
        for name in &aside.names {
            if !copy(dir, name, &aside.copy_of(name)).map_err(failed)? {
                to_be_moved.push(name.clone());
            }
        }
        dir.sync_folder(&aside.folder).map_err(failed)?;
        aside.to_be_moved = to_be_moved;
        Ok(aside)
    }

    /// Returns the folder's path.
    fn path(&self) -> PathBuf {
        self.dir.path().join(&self.folder)
    }

    /// Returns the name in the directory of a file's copy.
    fn copy_of(&self, name: &str) -> String {
        format!("{}/{name}", self.folder)
    }

    fn is_to_be_moved(&self, name: &str) -> bool {
        self.to_be_moved.iter().any(|other| other == name)
    }

    fn move_away(&self, name: &str) -> Result<()> {
        let (from, to) = (self.dir.path().join(name), self.path().join(name));
        let failed = |error| Error::io(format!("move {} to {}", from.display(), to.display()), error);
        self.dir.rename(name, &self.copy_of(name)).map_err(failed)?;
        // It is in one place or in both, never in none.
        self.dir.sync_folder(&self.folder).and_then(|()| self.dir.sync()).map_err(failed)
    }

    /// Removes all files of which there are copies, but for the manifest, which was replaced.
    fn remove_originals(&self) -> Result<()> {
        for name in self.names.iter().filter(|name| *name != MANIFEST) {
            let removing = |error| Error::io(format!("remove {}", self.dir.path().join(name).display()), error);
            match self.is_to_be_moved(name) {
                true => self.move_away(name)?,
                false => self.dir.remove(name).map_err(removing)?,
            }
        }
        let syncing = |error| Error::io(format!("remove damaged files in {}", self.dir.path().display()), error);
        self.dir.sync().map_err(syncing)
    }
}

/// Copies a file durably. Returns false if it is not a file or cannot be read to its end.
fn copy(dir: &dyn Directory, from: &str, to: &str) -> io::Result<bool> {
    let Ok(source) = dir.open(from) else { return Ok(false) };
    let Ok(len) = source.len() else { return Ok(false) };
    let target = dir.create(to)?;
    let (mut at, mut buffer) = (0, vec![0; len.clamp(1, COPY_BYTES) as usize]);
    loop {
        match source.read_at(&mut buffer, at) {
            Ok(0) => break,
            Ok(read) => {
                target.write_at(&buffer[..read], at)?;
                at += read as u64;
            }
            Err(_) => return Ok(false),
        }
    }
    target.sync()?;
    Ok(true)
}

/// What was not used of each file.
fn dropped(found: &Inspection, salvaged: &Salvaged) -> Vec<Dropped> {
    let mut dropped = Vec::new();
    let (start, reached) = (salvaged.base.start, salvaged.reached);
    for file in &found.files {
        match file.contents {
            Contents::Segment(report) => {
                let last = Lsn::new(report.first.get().saturating_add(report.transactions).saturating_sub(1));
                let used = segment_id(&file.name).and_then(|id| salvaged.used.get(&id).copied());
                match used {
                    Some(at) if at < report.good_bytes || file.flaw.is_some() => {
                        let lsns = (reached < salvaged.newest).then_some((reached.next(), salvaged.newest));
                        dropped.push(drop_of(file, at, lsns, "it is damaged here"));
                    }
                    Some(_) => {}
                    // What the snapshot stands for, or nothing.
                    None if file.flaw.is_none() && (last <= start || report.frames == 0) => {}
                    None if report.frames == 0 => dropped.push(drop_of(file, 0, None, "nothing in it could be used")),
                    None if last <= start => dropped.push(drop_of(file, 0, None, "the snapshot holds what was in it")),
                    None => {
                        let lsns = (report.transactions > 0).then_some((report.first, last));
                        dropped.push(drop_of(file, 0, lsns, "what comes before it in the log is missing"));
                    }
                }
            }
            Contents::Snapshot(_) => {
                let is_base = salvaged.base.snapshot.as_ref() == Some(&file.name);
                if is_base && salvaged.base.lost_bytes > 0 {
                    let why = "keys are missing that stood here in the snapshot";
                    let bytes = salvaged.base.lost_bytes;
                    dropped.push(Dropped { bytes, ..drop_of(file, 0, None, why) });
                } else if !is_base && file.flaw.is_some() {
                    dropped.push(drop_of(file, 0, None, "the snapshot could not be used"));
                }
            }
            Contents::Manifest(_) if file.flaw.is_some() => {
                dropped.push(drop_of(file, 0, None, "it was written anew"));
            }
            _ => {}
        }
    }
    dropped
}

fn drop_of(file: &FileReport, used: u64, lsns: Option<(Lsn, Lsn)>, why: &str) -> Dropped {
    let why = file.flaw.as_ref().map_or_else(|| why.to_owned(), |flaw| format!("{why}: {}", flaw.why));
    Dropped { file: file.name.clone(), bytes: file.bytes.map_or(0, |bytes| bytes - used.min(bytes)), lsns, why }
}

/// A time in Unix milliseconds as the date and the time of day in UTC, `20261125T224713Z`.
fn date(ms: u64) -> String {
    let (days, second) = (ms / 86_400_000, ms / 1000 % 86_400);
    // Years begin in March, so that a leap day is the last of its year; 400 of them have 146,097 days. After H. Hinnant,
    // "chrono-compatible low-level date algorithms".
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let year = era * 400 + year + u64::from(month <= 2);
    format!("{year:04}{month:02}{day:02}T{:02}{:02}{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    #[test]
    fn dates_are_those_of_the_calendar() {
        for (ms, date) in [
            (0, "19700101T000000Z"),
            (951_782_400_000, "20000229T000000Z"),
            (1_709_251_199_999, "20240229T235959Z"),
            (1_709_251_200_000, "20240301T000000Z"),
            (1_800_000_000_000, "20270115T080000Z"),
        ] {
            assert_eq!(super::date(ms), date);
        }
    }
}
