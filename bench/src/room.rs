//! How long transactions hold their locks to make room in a full store.
//!
//! Invariant: what is measured is the time from the end of a transaction's body to the notification of its first write, which
//! happens under the locks, when the room has been made.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kvcore::{
    Candidates, Change, ChangeKind, Claim, CrossTxn, Deadline, Limits, Observer, Options, Policy, Scope, SetOptions,
    StoreExt,
};

use crate::Failure;

/// The end of a body, and how long it was from there to the first write that was observed.
#[derive(Default)]
struct Watch(Mutex<(Option<Instant>, Duration)>);

impl Watch {
    fn begin(&self) {
        if let Ok(mut watch) = self.0.lock() {
            *watch = (Some(Instant::now()), Duration::ZERO);
        }
    }

    fn held(&self) -> Duration {
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
            watch.1 = begun.elapsed();
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
    println!("  {:<24} {:<24} {:>8} {:>8} {:>8}", "policy", "transaction", "median", "longest", "step");
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
                    let scope = if whole { Scope::Whole } else { Scope::Keys(&names) };
                    let claims = [Claim { keyspace: &db, scope }];
                    db.update_across(&claims, |txn: &mut dyn CrossTxn| {
                        let deadline = Deadline::at_ms(txn.now_ms() + 1_000_000);
                        names.iter().try_for_each(|key| txn.set(key, b"v", Some(deadline)))?;
                        watch.begin();
                        Ok(())
                    })?;
                    times.push(watch.held());
                }
                times.sort_unstable();
                let of = |at: usize| times.get(at).map_or(0.0, |time| time.as_secs_f64() * 1e6);
                let kind = format!("{}, {new} new", if whole { "whole keyspace" } else { "named keys" });
                let policy = format!("{policy:?}, {candidates:?}");
                let (median, longest) = (of(times.len() / 2), of(times.len().saturating_sub(1)));
                let step = db.stats().eviction_step_max;
                println!("  {policy:<24} {kind:<24} {median:>8.0} {longest:>8.0} {step:>8}");
            }
        }
    }
    Ok(())
}
