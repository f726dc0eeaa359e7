//! The figures: which stores take part in each, and what a round of it is.
//!
//! Invariant: a store that is not being measured has no thread at work. File stores live for one round, in a directory
//! of their own that is gone before the next store opens; memory stores have no threads.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dashmap::DashMap;
use kvcore::Db;

use crate::stores::{self, Contender, Promise};
use crate::table::{self, Row};
use crate::workload::{self, Round, Until, Workload};
use crate::{Common, Failure};

/// GET, all in memory, every key present.
pub fn embedded_get(threads: usize, common: &Common) -> Result<(), Failure> {
    let workload = Workload::new(common.keys, common.value_bytes, threads);
    let kv = Db::in_memory();
    let map: DashMap<Box<[u8]>, Box<[u8]>> = DashMap::new();
    let map_same_hash: DashMap<Box<[u8]>, Box<[u8]>, foldhash::quality::RandomState> =
        DashMap::with_hasher(foldhash::quality::RandomState::default());
    for key in workload.keys() {
        kv.set(key, workload.value())?;
        map.insert(key.as_slice().into(), workload.value().into());
        map_same_hash.insert(key.as_slice().into(), workload.value().into());
    }
    let mut rows = vec![
        Row::new("kvcore get_with", "borrowed, no copy", None),
        Row::new("dashmap 6 get", "borrowed, no copy", Some(0)),
        Row::new("dashmap 6, kv's hash", "borrowed, no copy", Some(0)),
        Row::new("kvcore get", "owned value", None),
        Row::new("dashmap 6 get + clone", "owned value", Some(3)),
        Row::new("dashmap 6, kv's hash", "owned value", Some(3)),
    ];
    let until = Until { turns: u64::MAX, time: common.round_time_max(), look_every: 1024 };
    let absent = || Failure::from("a key that was stored is absent");
    for _ in 0..common.rounds {
        for (index, row) in rows.iter_mut().enumerate() {
            let round = match index {
                0 => workload::run(threads, &until, |thread, turn| {
                    kv.get_with(workload.key(thread, turn), touch)?.ok_or_else(absent)
                }),
                1 => workload::run(threads, &until, |thread, turn| {
                    map.get(workload.key(thread, turn).as_slice()).map(|value| touch(&value)).ok_or_else(absent)
                }),
                2 => workload::run(threads, &until, |thread, turn| {
                    map_same_hash
                        .get(workload.key(thread, turn).as_slice())
                        .map(|value| touch(&value))
                        .ok_or_else(absent)
                }),
                3 => workload::run(threads, &until, |thread, turn| {
                    kv.get(workload.key(thread, turn))?.map(|value| touch(&value)).ok_or_else(absent)
                }),
                4 => workload::run(threads, &until, |thread, turn| {
                    let value = map.get(workload.key(thread, turn).as_slice()).map(|value| value.clone());
                    value.map(|value| touch(&value)).ok_or_else(absent)
                }),
                _ => workload::run(threads, &until, |thread, turn| {
                    let value = map_same_hash.get(workload.key(thread, turn).as_slice()).map(|value| value.clone());
                    value.map(|value| touch(&value)).ok_or_else(absent)
                }),
            }?;
            row.rounds.push(round);
        }
    }
    let mut notes = describe(&workload, common);
    notes.push("all in memory; first and last byte of each value are read; dashmap hashes with its default (SipHash) and, for comparison, with foldhash as kv does".into());
    table::print(&format!("GET, embedded, {}", count(threads)), &notes, &rows, threads);
    Ok(())
}

/// SET over a store that already holds every key, the log made durable once a second.
pub fn embedded_set(threads: usize, writes: u64, common: &Common) -> Result<(), Failure> {
    let workload = Workload::new(common.keys, common.value_bytes, threads);
    let until = Until { turns: writes / threads as u64, time: common.round_time_max() * 10, look_every: 256 };
    let (rows, home) = file_rounds(Promise::EverySecond, &workload, workload.keys(), &until, common)?;
    let mut notes = describe(&workload, common);
    notes.push(format!(
        "each round: a new store, every key stored once (not timed), then {writes} random SETs, at most {:?}",
        until.time
    ));
    notes.push(home);
    table::print(&format!("SET, embedded, log on, durable every second, {}", count(threads)), &notes, &rows, threads);
    Ok(())
}

/// SET that returns when durable. Stores start empty, which helps the trees: less to rewrite.
pub fn durable_set(threads: usize, common: &Common) -> Result<(), Failure> {
    let workload = Workload::new(common.keys, common.value_bytes, threads);
    let until = Until { turns: u64::MAX, time: common.round_time_max(), look_every: 1 };
    let (rows, home) = file_rounds(Promise::Durable, &workload, &[], &until, common)?;
    let mut notes = describe(&workload, common);
    notes.push(format!(
        "each round: a new, empty store, random SETs for {:?}; every SET is durable when it returns",
        until.time
    ));
    notes.push(home);
    table::print(&format!("SET, embedded, durable, {}", count(threads)), &notes, &rows, threads);
    Ok(())
}

/// Measures every contender in turn, `rounds` times. Answers the rows and where the files lay.
fn file_rounds(
    promise: Promise,
    workload: &Workload,
    preload: &[workload::Key],
    until: &Until,
    common: &Common,
) -> Result<(Vec<Row>, String), Failure> {
    let home = home(common.dir.as_deref())?;
    let mut contenders = stores::contenders(promise);
    contenders.retain(|contender| contender.name.starts_with(&common.only));
    let mut rows: Vec<Row> = contenders
        .iter()
        .enumerate()
        .map(|(index, contender)| Row::new(contender.name, contender.promise, (index > 0).then_some(0)))
        .collect();
    for _ in 0..common.rounds {
        for (contender, row) in contenders.iter().zip(&mut rows) {
            row.rounds.push(file_round(contender, workload, preload, until, home.path())?);
        }
    }
    Ok((rows, format!("files in {} ({})", home.path().display(), filesystem_of(home.path()))))
}

fn file_round(
    contender: &Contender,
    workload: &Workload,
    preload: &[workload::Key],
    until: &Until,
    home: &Path,
) -> Result<Round, Failure> {
    let dir = tempfile::tempdir_in(home)?;
    let store = (contender.open)(dir.path())?;
    for key in preload {
        store.set(key, workload.value())?;
    }
    if !preload.is_empty() {
        // Let what was preloaded reach the disk, so that no store pays for it while it is timed.
        std::thread::sleep(Duration::from_millis(1500));
    }
    let round = workload::run(workload.threads(), until, |thread, turn| {
        store.set(workload.key(thread, turn), workload.value())
    })?;
    store.close()?;
    Ok(round)
}

/// What a reader of a value does at least: read it.
pub(crate) fn touch(value: &[u8]) {
    black_box((value.first().copied(), value.last().copied()));
}

pub(crate) fn count(threads: usize) -> String {
    if threads == 1 { "1 thread".to_owned() } else { format!("{threads} threads") }
}

fn describe(workload: &Workload, common: &Common) -> Vec<String> {
    vec![format!(
        "{} keys of {} B, values of {} B, uniformly random, precomputed; median of {} rounds taken in turn; {}",
        workload.keys().len(),
        workload::KEY_BYTES,
        workload.value().len(),
        common.rounds,
        crate::ALLOCATOR_NAME
    )]
}

/// A new directory that is removed at the end. By default beside this program: `/tmp` may be memory.
fn home(dir: Option<&Path>) -> Result<tempfile::TempDir, Failure> {
    let parent = match dir {
        Some(dir) => dir.to_owned(),
        None => std::env::current_exe()?.parent().map_or_else(|| PathBuf::from("."), Path::to_owned),
    };
    std::fs::create_dir_all(&parent)?;
    Ok(tempfile::Builder::new().prefix("kvbench-").tempdir_in(parent)?)
}

/// The type of the file system a path lies on, or "unknown file system".
fn filesystem_of(path: &Path) -> String {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ').skip(1);
            Some((words.next()?, words.next()?))
        })
        .filter(|(mount, _)| path.starts_with(mount))
        .max_by_key(|(mount, _)| mount.len())
        .map_or_else(|| "unknown file system".to_owned(), |(_, kind)| kind.to_owned())
}
