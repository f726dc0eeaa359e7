//! How long transactions hold their locks to make room in a full store.
//!
//! Invariant: what is measured is the time from the end of a transaction's body to the notification of its first write, which
//! happens under the locks, when the room has been made. The thread's processor time is shown beside it: what is longer by the
//! clock alone is the scheduler's.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kvcore::hooks::{Change, ChangeKind, CrossTxn, Observer};
use kvcore::{Candidates, Deadline, Limits, LockSet, Options, Policy, SetOptions};

use crate::Failure;

/// A time by the clock, and in processor time of this thread.
#[derive(Clone, Copy)]
struct Times {
    clock: Instant,
    processor: Duration,
}

impl Times {
    fn now() -> Times {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        let processor = Duration::new(time.tv_sec.cast_unsigned(), u32::try_from(time.tv_nsec).unwrap_or(0));
        Times { clock: Instant::now(), processor }
    }
}

/// The end of a body, and how long it was from there to the first write that was observed: by the clock, and in processor time.
#[derive(Default)]
struct Watch(Mutex<(Option<Times>, [Duration; 2])>);

impl Watch {
    fn begin(&self) {
        if let Ok(mut watch) = self.0.lock() {
            *watch = (Some(Times::now()), [Duration::ZERO; 2]);
        }
    }

    fn held(&self) -> [Duration; 2] {
        self.0.lock().map(|watch| watch.1).unwrap_or_default()
    }
}

impl Observer for Watch {
    fn changed(&self, change: &Change<'_>) {
        if change.kind == ChangeKind::Evict {
            return;
        }
        if let Ok(mut watch) = self.0.lock()
            && let Some(begun) = watch.0.take()
        {
            let end = Times::now();
            watch.1 = [end.clock - begun.clock, end.processor.saturating_sub(begun.processor)];
        }
    }
}

/// Prints the longest and the median time for each policy and kind of transaction.
///
/// # Errors
///
/// When a store fails.
pub fn holds(entries: u64, rounds: u32) -> Result<(), Failure> {
    println!(
        "\nLocks held to make room, store of {entries} entries, {rounds} transactions of each kind, in microseconds"
    );
    println!(
        "  {:<29} {:<24} {:>8} {:>8} {:>9} {:>8}",
        "policy", "transaction", "median", "longest", "processor", "step"
    );
    for policy in [Policy::Lru, Policy::Lfu, Policy::S3Fifo, Policy::Random, Policy::NearestDeadline] {
        for candidates in [Candidates::All, Candidates::WithDeadline] {
            let watch = Arc::new(Watch::default());
            let db = Options::new().observer(Arc::clone(&watch) as Arc<dyn Observer>).in_memory()?;
            // Where few entries may go they are harder to find.
            for i in 0..entries {
                match candidates == Candidates::WithDeadline && i % 50 != 0 {
                    true => db.set(i.to_le_bytes(), [b'v'; 64])?,
                    false => {
                        let later = SetOptions::new().expires_in(Duration::from_secs(100_000));
                        db.set_with(i.to_le_bytes(), [b'v'; 64], later)?;
                    }
                }
            }
            db.set_limits(Limits { max_entries: Some(entries), policy, candidates, ..Limits::default() })?;
            let mut next = entries;
            for (whole, new) in [(false, 1), (false, 100), (false, 1_000), (true, 1), (true, 100), (true, 1_000)] {
                let mut times = Vec::new();
                for _ in 0..rounds {
                    let keys: Vec<[u8; 8]> = (next..next + new).map(u64::to_le_bytes).collect();
                    next += new;
                    let names: Vec<&[u8]> = keys.iter().map(|key| &key[..]).collect();
                    let locks = LockSet::new();
                    let locks = if whole { locks.whole(&db) } else { locks.keys(&db, &names) };
                    db.hooks().transact_across(locks, |txn: &mut dyn CrossTxn| {
                        let deadline = Deadline::at_ms(txn.now_ms() + 1_000_000);
                        names.iter().try_for_each(|key| txn.set(key, b"v", Some(deadline)))?;
                        watch.begin();
                        Ok(())
                    })?;
                    times.push(watch.held());
                }
                times.sort_unstable();
                let micros = |time: &[Duration; 2], of: usize| time[of].as_secs_f64() * 1e6;
                let of = |at: usize| times.get(at).map_or(0.0, |time| micros(time, 0));
                let processor = times.iter().map(|time| micros(time, 1)).fold(0.0, f64::max);
                let kind = format!("{}, {new} new", if whole { "whole keyspace" } else { "named keys" });
                let policy = format!("{policy:?}, {candidates:?}");
                let (median, longest) = (of(times.len() / 2), of(times.len().saturating_sub(1)));
                let step = db.stats().eviction_step_max;
                println!("  {policy:<29} {kind:<24} {median:>8.0} {longest:>8.0} {processor:>9.0} {step:>8}");
            }
        }
    }
    Ok(())
}
