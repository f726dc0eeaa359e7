//! Repair: makes a damaged store one that opens. Invariant: what is changed or removed has a durable copy before, and
//! wherever the power goes, the files are as damaged as they were or repaired; a sound store is not touched, unless its
//! time is to be set, and opens then at any moment.
//!
//! What [salvage](crate::recovery::salvage) found is written as a new snapshot, under a name that no file has. It claims to be newer
//! than anything in the log, so when it is there, all that was before counts for nothing. A new segment and a new manifest
//! follow, and only then the old files go.
//!
//! Where the store opens and only its time is set, the snapshot claims to be as new as the last transaction, and may
//! replace one that does: whichever of the two is there, the log goes on from it.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::hash::KeyHash;
use crate::io::directory;
use crate::io::disk::Directory;
use crate::log::manifest::{Known, MANIFEST, ManifestFile};
use crate::log::segment::{create_empty, segment_name};
use crate::lsn::{Lsn, NUMBER_MAX};
use crate::options::Options;
use crate::recovery::check::{Contents, FileReport, Inspection, Nature, Verdict, check_is_a_store, inspect, nature};
use crate::recovery::load::{self, Listing, UNNAMED};
use crate::recovery::salvage::{Salvaged, Way, salvage};
use crate::recovery::snapshot::{self, Head, SnapshotWriter, snapshot_name};
use crate::recovery::state::{LoadMode, RecoveredState};
use aside::Aside;
use report::drop_of;
use watched::Watched;

mod aside;
mod report;
mod watched;

pub use report::{Dropped, Kept, Repair, RepairPlan, RepairWay, TimeReset};

/// No store was written before the year 2026 began: a clock that shows an earlier time is wrong.
const WALL_MS_MIN: u64 = 1_767_225_600_000;

/// How to repair a store. The default is the plain way of [`Options::repair`](crate::Options::repair).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RepairOptions {
    salvage: bool,
    accept_loss: bool,
    reset_time: bool,
}

impl RepairOptions {
    /// Returns the plain way.
    ///
    /// ```
    /// use kvcore::{Options, RepairOptions};
    /// # let dir = tempfile::tempdir().unwrap();
    /// kvcore::Db::open(dir.path())?.set("key", "value")?;
    /// Options::new().repair_with(dir.path(), RepairOptions::new())?;
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Keeps also what is good behind the first damage of the log. Default: no.
    ///
    /// Each frame that is used has its checksums, and later transactions than those before it. No key gets a value that
    /// it never had: where only a part of a value, or a deadline, is known to have changed after a gap, the key is
    /// [left out](Kept::left_out). What is missing may have changed or removed keys that are not spoken of after it:
    /// these are counted as [possibly stale](Kept::possibly_stale). An exchange of keyspaces that is missing leaves no
    /// trace: [these names](Kept::unsure_names) are right if there was none.
    ///
    /// Of a damaged snapshot also those blocks are kept whose keyspaces' names are lost with its head.
    ///
    /// ```
    /// use kvcore::{Options, RepairOptions};
    /// # let dir = tempfile::tempdir().unwrap();
    /// kvcore::Db::open(dir.path())?.set("key", "value")?;
    /// Options::new().repair_with(dir.path(), RepairOptions::new().salvage(true))?;
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    pub fn salvage(mut self, salvage: bool) -> Self {
        self.salvage = salvage;
        self
    }

    /// Drops what comes after the first damage of the log even if that is more than what is kept, or if nothing is kept
    /// at all. Default: no.
    ///
    /// ```
    /// use kvcore::{Options, RepairOptions};
    /// # let dir = tempfile::tempdir().unwrap();
    /// kvcore::Db::open(dir.path())?.set("key", "value")?;
    /// Options::new().repair_with(dir.path(), RepairOptions::new().accept_loss(true))?;
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    pub fn accept_loss(mut self, accept: bool) -> Self {
        self.accept_loss = accept;
        self
    }

    /// Sets the store's time back to that of the wall clock, if it is ahead of it, as after a start with a wrong clock.
    /// What had expired by the old time is removed first. Also done to a sound store, which is written anew. Default: no.
    ///
    /// The wall clock must be right. One that shows a year before 2026 is not, and is refused with
    /// [`Error::NotRepairable`]. Nothing in the store proves more: its files have their times from the clock that was wrong.
    ///
    /// ```
    /// use kvcore::{Options, RepairOptions};
    /// # let dir = tempfile::tempdir().unwrap();
    /// kvcore::Db::open(dir.path())?.set("key", "value")?;
    /// Options::new().repair_with(dir.path(), RepairOptions::new().reset_time(true))?;
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    pub fn reset_time(mut self, reset: bool) -> Self {
        self.reset_time = reset;
        self
    }

    fn way(self) -> Way {
        if self.salvage { Way::Salvage } else { Way::Prefix }
    }
}

/// What a repair has to do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Work {
    Nothing,
    /// Only what the store does not need is damaged.
    RemoveSpares,
    /// The store does not open.
    Rewrite,
}

/// Looks at every file. An error if one of the store's cannot be read.
fn look_through(dir: &dyn Directory) -> Result<Inspection> {
    let dir = Watched::new(dir);
    let found = inspect(&dir);
    dir.check()?;
    found
}

fn work(found: &Inspection) -> Work {
    let is_in_the_way = |file: &FileReport| file.flaw.is_none() || file.contents == Contents::Leftover;
    match found.verdict {
        _ if found.is_sound() => Work::Nothing,
        Verdict::Refuses(Error::Corrupt { .. }) => Work::Rewrite,
        Verdict::Refuses(_) if !found.files.iter().all(is_in_the_way) => Work::Rewrite,
        _ => Work::RemoveSpares,
    }
}

/// Returns the way that is taken: of a store that opens everything is kept in the plain way.
fn way_for(work: Work, how: RepairOptions) -> Way {
    if work == Work::Rewrite { how.way() } else { Way::Prefix }
}

/// A store as it would be after a repair.
struct Future {
    salvaged: Salvaged,
    keys: u64,
    time: Option<TimeReset>,
}

impl Future {
    fn look(options: &Options, dir: &dyn Directory, how: RepairOptions, work: Work, way: Way) -> Result<Future> {
        let dir = Watched::new(dir);
        let looked = Self::look_at(options, &dir, how, work, way);
        dir.check()?;
        looked
    }

    fn look_at(options: &Options, dir: &dyn Directory, how: RepairOptions, work: Work, way: Way) -> Result<Future> {
        let mut salvaged = salvage(dir, options.shards, way)?;
        if how.reset_time && work != Work::Rewrite {
            // What an opener would be shown: an end that is cut has proven no time to anybody.
            salvaged.tables.floor_ms = load::load(dir, 1, LoadMode::Nothing)?.tables.floor_ms;
        }
        let (from_ms, to_ms) = (salvaged.tables.floor_ms, options.clock.wall_ms());
        let mut time = None;
        if how.reset_time && from_ms > to_ms {
            check_wall_clock(dir, from_ms, to_ms)?;
            time = Some(TimeReset { from_ms, to_ms, expired: expire(&salvaged.tables) });
            salvaged.tables.floor_ms = to_ms;
        }
        let keys = keys(&salvaged.tables, from_ms.max(to_ms));
        Ok(Future { salvaged, keys, time })
    }

    fn way(&self, found: &Inspection) -> RepairWay {
        let dropped = report::dropped(found, &self.salvaged);
        RepairWay { kept: report::kept(&self.salvaged, self.keys), dropped }
    }
}

/// Refuses a clock that was never set, such as one of 1970: the next start would find the store's time behind the true one.
fn check_wall_clock(dir: &dyn Directory, from_ms: u64, to_ms: u64) -> Result<()> {
    if to_ms >= WALL_MS_MIN {
        return Ok(());
    }
    let time = TimeReset { from_ms, to_ms, expired: 0 };
    let why = format!("its time would be set back {time}, and that is no right time: set this machine's clock first");
    Err(Error::NotRepairable { dir: dir.path().to_owned(), why })
}

/// Removes what has expired by the time of these tables, and returns how many keys that were.
fn expire(tables: &RecoveredState) -> u64 {
    let mut removed = 0;
    for space in tables.spaces.values() {
        for shard in 0..space.shard_count() {
            let mut shard = space.write(shard);
            let passed = shard.iter().filter(|entry| entry.has_passed(tables.floor_ms));
            let passed: Vec<Vec<u8>> = passed.map(|entry| entry.key().to_vec()).collect();
            for key in passed {
                removed += u64::from(shard.take(&tables.hasher, tables.hasher.hash(&key), &key).is_some());
            }
        }
    }
    removed
}

fn keys(tables: &RecoveredState, now_ms: u64) -> u64 {
    let mut keys = 0;
    for space in tables.spaces.values() {
        space.each_shard(false, |shard| keys += shard.live_len(&|| now_ms) as u64);
    }
    keys
}

/// Returns whether the plain way would drop more than it keeps: more good or lost transactions than keys of the snapshot
/// and transactions of the log together, or more keys than keys; or everything.
fn drops_most(found: &Inspection, plain: &RepairWay, salvaged: &RepairWay) -> bool {
    let kept = plain.kept.snapshot_entries.saturating_add(plain.kept.replayed);
    let dropped = good_behind(plain, salvaged).max(lost_behind(plain));
    dropped > kept || salvaged.kept.keys / 2 > plain.kept.keys || drops_all(found, plain)
}

/// Returns whether nothing would be kept of files in which there is something, or was.
fn drops_all(found: &Inspection, way: &RepairWay) -> bool {
    let keeps_nothing = way.kept.snapshot_entries == 0 && way.kept.replayed == 0;
    let holds = |file: &FileReport| matches!(file.contents, Contents::Segment(_) | Contents::Snapshot(_));
    let has_bytes = |file: &FileReport| file.flaw.is_some() && file.bytes.is_some_and(|bytes| bytes > 0);
    keeps_nothing && (lost_behind(way) > 0 || found.files.iter().any(|file| holds(file) && has_bytes(file)))
}

/// Transactions that the files speak of, behind all that is kept.
fn lost_behind(way: &RepairWay) -> u64 {
    way.kept.newest.get().saturating_sub(way.kept.up_to.get())
}

/// Transactions in good frames that the plain way would drop.
fn good_behind(plain: &RepairWay, salvaged: &RepairWay) -> u64 {
    salvaged.kept.replayed.saturating_sub(plain.kept.replayed)
}

pub(crate) fn plan(options: &Options, dir: &Path, how: RepairOptions) -> Result<RepairPlan> {
    options.check()?;
    let dir = &*directory::open(&*options.disk, dir)?;
    check_is_a_store(dir)?;
    let _lock = directory::lock_to_read(dir)?;
    let found = look_through(dir)?;
    let work = work(&found);
    let mut plan = RepairPlan {
        found,
        plain: None,
        salvage: None,
        plain_stops: false,
        salvage_stops: false,
        files: Vec::new(),
        time: None,
    };
    if work == Work::RemoveSpares {
        plan.files = spares(&plan.found).map(|file| file.name.clone()).collect();
    }
    if work != Work::Rewrite && !how.reset_time {
        return Ok(plan);
    }
    let look = |way| -> Result<_> {
        // One at a time: each takes the memory of the store.
        let future = Future::look(options, dir, how, work, way)?;
        if way == way_for(work, how) && (work == Work::Rewrite || future.time.is_some()) {
            Numbers::choose(dir, &Listing::names(dir)?, &future.salvaged, work != Work::Rewrite)?;
        }
        Ok((future.way(&plan.found), future.time))
    };
    let (plain, time) = look(Way::Prefix)?;
    if work != Work::Rewrite && time.is_none() {
        return Ok(plan);
    }
    let (salvaged, salvaged_time) = look(Way::Salvage)?;
    plan.files = Listing::names(dir)?.names.into_iter().filter(|name| is_replaced(name)).collect();
    // What is in the way of a file, and is none, is moved.
    let in_the_way = spares(&plan.found).filter(|file| file.contents == Contents::Leftover);
    plan.files.extend(in_the_way.map(|file| file.name.clone()));
    plan.plain_stops = work == Work::Rewrite && drops_most(&plan.found, &plain, &salvaged);
    plan.salvage_stops = work == Work::Rewrite && drops_all(&plan.found, &salvaged);
    plan.time = if way_for(work, how) == Way::Salvage { salvaged_time } else { time };
    (plan.plain, plan.salvage) = (Some(plain), Some(salvaged));
    Ok(plan)
}

pub(crate) fn repair(options: &Options, dir: &Path, how: RepairOptions) -> Result<Repair> {
    options.check()?;
    let dir = &directory::open(&*options.disk, dir)?;
    check_is_a_store(&**dir)?;
    {
        // Taking the directory for itself would write into it.
        let _lock = directory::lock_to_read(&**dir)?;
        let found = look_through(&**dir)?;
        match work(&found) {
            // It opens for nobody, so nothing is written to it until it is repaired.
            Work::Rewrite if !how.accept_loss => stop_if_most_is_dropped(options, &**dir, how, &found)?,
            Work::Nothing => {
                let future = || Future::look(options, &**dir, how, Work::Nothing, Way::Prefix);
                if !how.reset_time || future()?.time.is_none() {
                    return Ok(Repair::nothing(found));
                }
            }
            _ => {}
        }
    }
    let _lock = directory::lock(&**dir)?;
    let found = look_through(&**dir)?;
    let work = work(&found);
    let way = way_for(work, how);
    if work == Work::Rewrite || how.reset_time {
        let future = Future::look(options, &**dir, how, work, way)?;
        if work == Work::Rewrite || future.time.is_some() {
            return rewrite(options, dir, found, work, future);
        }
    }
    match work {
        Work::Nothing => Ok(Repair::nothing(found)),
        _ => remove_spares(options, dir, found),
    }
}

impl Repair {
    fn nothing(found: Inspection) -> Repair {
        Repair { found, set_aside: None, files: Vec::new(), kept: None, dropped: Vec::new(), time: None }
    }
}

fn stop_if_most_is_dropped(
    options: &Options,
    dir: &dyn Directory,
    how: RepairOptions,
    found: &Inspection,
) -> Result<()> {
    let salvaged = Future::look(options, dir, how, Work::Rewrite, Way::Salvage)?.way(found);
    let plain = Future::look(options, dir, how, Work::Rewrite, Way::Prefix)?.way(found);
    let stops = match how.way() {
        Way::Prefix => drops_most(found, &plain, &salvaged),
        Way::Salvage => drops_all(found, &salvaged),
    };
    if !stops {
        return Ok(());
    }
    let (kept_keys, salvaged_keys) = (plain.kept.keys, salvaged.kept.keys);
    let (dropped, lost) = (good_behind(&plain, &salvaged), lost_behind(&plain));
    Err(Error::RepairDropsMost { dir: dir.path().to_owned(), kept_keys, dropped, lost, salvaged_keys })
}

fn spares(found: &Inspection) -> impl Iterator<Item = &FileReport> {
    found.files.iter().filter(|file| file.flaw.is_some())
}

fn is_replaced(name: &str) -> bool {
    matches!(nature(name), Nature::Segment(_) | Nature::Snapshot | Nature::Manifest)
}

fn remove_spares(options: &Options, dir: &Arc<dyn Directory>, found: Inspection) -> Result<Repair> {
    let aside = Aside::make(options, &**dir, spares(&found).map(|file| file.name.clone()).collect())?;
    aside.remove_originals(None)?;
    let why = "it was damaged, and the store did not need it";
    let dropped = spares(&found).map(|file| drop_of(file, 0, None, why)).collect();
    Ok(Repair { set_aside: Some(aside.path()), files: aside.names, kept: None, dropped, time: None, found })
}

/// The numbers of the files that a store is written to.
struct Numbers {
    /// The snapshot stands for everything up to here.
    last: Lsn,
    segment: u64,
}

impl Numbers {
    fn choose(dir: &dyn Directory, listing: &Listing<'_>, salvaged: &Salvaged, opens: bool) -> Result<Numbers> {
        let is_taken = |name: &str| listing.names.iter().any(|taken| taken == name);
        // Newer than everything there, and a name of its own. Where nothing is lost, the log goes on from its end.
        let mut last = if opens { salvaged.reached } else { salvaged.newest };
        while !opens && is_taken(&snapshot_name(last)) {
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
        Ok(Numbers { last, segment })
    }
}

fn rewrite(
    options: &Options,
    dir: &Arc<dyn Directory>,
    found: Inspection,
    work: Work,
    future: Future,
) -> Result<Repair> {
    let salvaged = &future.salvaged;
    let opens = work != Work::Rewrite;
    let listing = Listing::names(&**dir)?;
    let Numbers { last, segment } = Numbers::choose(&**dir, &listing, salvaged, opens)?;
    let aside = Aside::make(options, &**dir, listing.names.iter().filter(|name| is_replaced(name)).cloned().collect())?;
    let mut moved = Vec::new();
    for name in listing.names.iter().filter(|name| UNNAMED.contains(&name.as_str())) {
        if dir.remove(name).is_err() {
            aside.move_away(name)?;
            moved.push(name.clone());
        }
    }
    let failed = |what: &str| {
        let what = format!("{what} in {}", dir.path().display());
        move |error: io::Error| Error::io(what, error)
    };
    let store = salvaged.store.unwrap_or_else(KeyHash::random_seed);
    let snapshot = snapshot_name(last);
    if aside.is_to_be_moved(&snapshot) {
        aside.move_away(&snapshot)?;
    }
    write_snapshot(dir, salvaged, store, last)?;
    let newest_bytes = create_empty(&**dir, segment, last.next(), store).map_err(failed("begin a log segment"))?;
    if aside.is_to_be_moved(MANIFEST) {
        aside.move_away(MANIFEST)?;
    }
    let known = Known { store, newest: segment, durable: last, newest_bytes };
    ManifestFile::create(&**dir, known).map_err(failed("write the manifest"))?;
    aside.remove_originals(Some(&snapshot))?;
    let RepairWay { kept, dropped } = future.way(&found);
    let set_aside = Some(aside.path());
    let files = [aside.names, moved].concat();
    Ok(Repair { set_aside, files, dropped, kept: Some(kept), time: future.time, found })
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
