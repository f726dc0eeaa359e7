//! Reads that take the value along, as a `Vec` or a `Value`: kvcore beside kevy-embedded, by length of the values and number of keys.
//!
//! Invariant: every store holds the same keys and values, in memory only, and the value's first and last byte are read after the
//! store has returned it. A share of writes, if there is one, falls on the same turns of every store.

use kevy_embedded::Config;
use kvcore::Db;

use crate::Failure;
use crate::figures::{count, touch};
use crate::table::{self, Row};
use crate::workload::{self, Round, Until, Workload};

/// What is read, by whom and for how long.
#[derive(clap::Args)]
pub struct Owned {
    /// Threads that read at the same time.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Numbers of keys: one that no cache holds, and one that every thread keeps coming back to.
    #[arg(long, default_values_t = [1_000_000, 16])]
    keys: Vec<usize>,
    /// Lengths of the values, in bytes.
    #[arg(long, default_values_t = [8, 64, 100, 1000])]
    value_bytes: Vec<usize>,
    /// Writes among a hundred operations.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=100))]
    writes: u64,
    /// Rounds of each store; the median is printed. Many short ones show less of what else the machine does.
    #[arg(long, default_value_t = 25, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Time of one round, in milliseconds.
    #[arg(long, default_value_t = 200)]
    millis: u64,
}

/// A store in memory.
trait Memory: Sync {
    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), Failure>;
    /// Takes a copy of the value, looks at it and drops it.
    fn take(&self, key: &[u8]) -> Result<(), Failure>;
}

impl Memory for Db {
    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        Ok(self.set(key, value)?)
    }

    fn take(&self, key: &[u8]) -> Result<(), Failure> {
        let value = self.get(key)?.ok_or("a key that was stored is absent")?;
        touch(&value);
        Ok(())
    }
}

impl Memory for kevy_embedded::Store {
    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        self.set(key, value)?;
        Ok(())
    }

    fn take(&self, key: &[u8]) -> Result<(), Failure> {
        let value = self.get(key)?.ok_or("a key that was stored is absent")?;
        touch(&value);
        Ok(())
    }
}

/// Prints a table for each number of keys and length of values.
///
/// # Errors
///
/// When a store fails.
pub fn owned_get(owned: &Owned) -> Result<(), Failure> {
    for &keys in &owned.keys {
        for &value_bytes in &owned.value_bytes {
            one(owned, &Workload::new(keys, value_bytes, owned.threads))?;
        }
    }
    Ok(())
}

fn one(owned: &Owned, workload: &Workload) -> Result<(), Failure> {
    let kv = Db::in_memory();
    let kevy = kevy_embedded::Store::open(Config::default().without_aof())?;
    // By default all keys are behind one lock; this is kvcore's number of shards.
    let kevy_sharded = kevy_embedded::Store::open(Config::default().without_aof().with_shards(256))?;
    for key in workload.keys() {
        kv.put(key, workload.value())?;
        kevy.put(key, workload.value())?;
        kevy_sharded.put(key, workload.value())?;
    }
    let mut rows = [
        Row::new("kvcore", "owned value", None),
        Row::new("kevy-embedded 7.0", "owned value", Some(0)),
        Row::new("kevy-embedded 7.0", "owned value, 256 shards", Some(0)),
    ];
    for number in 0..u64::from(owned.rounds) {
        // Each round goes on elsewhere in the sequences: a short one would find in the caches what the last one left there.
        let from = number * 500_009;
        rows[0].rounds.push(round(&kv, owned, workload, from)?);
        rows[1].rounds.push(round(&kevy, owned, workload, from)?);
        rows[2].rounds.push(round(&kevy_sharded, owned, workload, from)?);
    }
    let notes = [format!(
        "{} keys of {} B, values of {} B, {} % writes, uniformly random; median of {} rounds of {} ms taken in turn; {}",
        workload.keys().len(),
        workload::KEY_BYTES,
        workload.value().len(),
        owned.writes,
        owned.rounds,
        owned.millis,
        crate::ALLOCATOR_NAME
    )];
    table::print(&format!("GET, embedded, owned, {}", count(owned.threads)), &notes, &rows, owned.threads);
    Ok(())
}

fn round<S: Memory>(store: &S, owned: &Owned, workload: &Workload, from: u64) -> Result<Round, Failure> {
    let until = Until { turns: u64::MAX, time: std::time::Duration::from_millis(owned.millis), look_every: 1024 };
    workload::run(owned.threads, &until, |thread, turn| {
        let key = workload.key(thread, from + turn);
        // Spread over the turns; a multiplication costs every store the same.
        if owned.writes > 0 && (turn.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) % 100 < owned.writes {
            return store.put(key, workload.value());
        }
        store.take(key)
    })
}
