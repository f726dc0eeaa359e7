//! Power cuts, simulated: at every operation of many random histories, on disks that work and on disks that fail, the
//! power goes, the disk keeps some of what was not synced, and the store opens again.
//!
//! Invariant: nothing promised is lost, nothing shows that never was, no transaction is half there, what was seen expired
//! stays so. A failure prints the command that shows it again.
//!
//! A million: `KV_CUT_POINTS=1000000 cargo test -p kvtests --test power_cuts nothing_promised`. That the test itself
//! finds what it should is tested by `tests/mutants.py power_cuts`.
//!
//! `KV_CUT_POINTS` is how many cuts to try (default: 200,000). `KV_CUT_SEED` is the first seed; by default the day
//! chooses it, so that every day tries others. `KV_CUT_SEEDS` is how many seeds there are to try, over and over: a
//! store's threads take turns as they like, so one seed stands for several histories, alike but for that.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

mod backup;
mod cuts;
mod disk;
mod history;
mod known;
mod ledger;
mod repair;
mod sim;
mod theme;
mod workload;

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A history waits for its store's threads most of the time: many at once.
const THREADS: usize = 16;
/// No history takes so long, with all its cuts.
const PATIENCE: Duration = Duration::from_secs(60);

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().expect("a number"))
}

/// Told at once, whatever becomes of the test: whoever runs it wants to know the seed.
fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn again(seed: u64) -> String {
    format!("KV_CUT_SEED={seed} KV_CUT_SEEDS=1 cargo test -p kvtests --test power_cuts nothing_promised")
}

fn text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "it panicked".to_owned())
}

#[test]
fn nothing_promised_is_lost_wherever_the_power_goes() {
    let days = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 86_400;
    let wanted = number("KV_CUT_POINTS", 100_000);
    let (first, seeds) = (number("KV_CUT_SEED", days * 1_000_000), number("KV_CUT_SEEDS", u64::MAX));
    tell(&format!("power cuts: {wanted} points from seed {first}"));
    let started = Instant::now();
    let (points, tried, failing) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let wrong: Mutex<Option<String>> = Mutex::new(None);
    let busy: [Mutex<Option<(u64, Instant)>>; THREADS] = Default::default();
    let (running, done) = (AtomicU64::new(THREADS as u64), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for slot in &busy {
            let (points, tried, failing, wrong, running, done) = (&points, &tried, &failing, &wrong, &running, &done);
            scope.spawn(move || {
                while points.load(SeqCst) < wanted && !done.load(SeqCst) {
                    let seed = first.wrapping_add(tried.fetch_add(1, SeqCst) % seeds);
                    *slot.lock().unwrap() = Some((seed, Instant::now()));
                    let begun = points.load(SeqCst);
                    let outcome = catch_unwind(AssertUnwindSafe(|| cuts::everywhere(seed, points)));
                    *slot.lock().unwrap() = None;
                    match outcome {
                        Ok(has_failed) => drop(failing.fetch_add(u64::from(has_failed), SeqCst)),
                        Err(panic) if !done.swap(true, SeqCst) => {
                            // Some bugs take long to show, and the others go on meanwhile.
                            let found = points.load(SeqCst);
                            let text = text(&*panic);
                            *wrong.lock().unwrap() = Some(format!(
                                "at point {found} (the history began at {begun}), seed {seed}: {text}\nagain: {}",
                                again(seed)
                            ));
                        }
                        Err(_) => tell(&format!("found as well: seed {seed}")),
                    }
                }
                running.fetch_sub(1, SeqCst);
            });
        }
        // Nothing hangs: what does is told with its seed, and takes the test along.
        while running.load(SeqCst) > 0 {
            std::thread::sleep(Duration::from_millis(20));
            for (seed, since) in busy.iter().filter_map(|slot| *slot.lock().unwrap()) {
                if since.elapsed() > PATIENCE {
                    let points = points.load(SeqCst);
                    tell(&format!("FOUND at point {points}, seed {seed}: it hangs\nagain: {}", again(seed)));
                    std::process::exit(101);
                }
            }
        }
    });
    if let Some(wrong) = wrong.into_inner().unwrap() {
        tell(&format!("FOUND {wrong}"));
        panic!("{wrong}");
    }
    tell(&format!(
        "power cuts: {} points in {} histories, in {} of which the disk failed, from seed {first}, in {:.0} s: \
         0 lost, 0 phantoms, 0 half-applied",
        points.into_inner(),
        tried.into_inner(),
        failing.into_inner(),
        started.elapsed().as_secs_f64()
    ));
}
