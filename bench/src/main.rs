//! Measures kvcore beside other embedded stores. One subcommand is one figure.
//!
//! Invariant: everything that is compared is measured in the same run, in turn (A B A B ...), with the same keys and
//! values, and the median is printed with the lowest and highest round beside it. A ratio across two runs means nothing.
//!
//! One peer asks for a newer compiler than it needs: `cargo run --release --ignore-rust-version -- owned-get`. With
//! `--no-default-features` every store uses the system's allocator instead of mimalloc.
#![forbid(unsafe_code)]

mod eviction;
mod figures;
mod owned;
mod room;
mod stores;
mod table;
mod workload;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

/// The same allocator for every store.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What the tables call it.
const ALLOCATOR_NAME: &str = if cfg!(feature = "mimalloc") { "mimalloc" } else { "the system's allocator" };

/// Whatever a store can fail with.
pub type Failure = Box<dyn Error + Send + Sync>;

/// Measures kvcore beside other embedded stores, in turn, in one run.
#[derive(Parser)]
#[command(name = "kvbench")]
struct Flags {
    #[command(subcommand)]
    figure: Figure,
}

#[derive(Subcommand)]
enum Figure {
    /// GET from memory: kvcore and dashmap.
    EmbeddedGet {
        /// Threads that read at the same time.
        #[arg(long, default_value_t = 2)]
        threads: usize,
        #[command(flatten)]
        common: Common,
    },
    /// GET of values to keep, from memory: kvcore and kevy-embedded.
    OwnedGet {
        #[command(flatten)]
        owned: owned::Owned,
    },
    /// SET with the log on, made durable once a second: kvcore, fjall, sled and kevy-embedded.
    EmbeddedSet {
        /// Threads that write at the same time.
        #[arg(long, default_value_t = 2)]
        threads: usize,
        /// Writes of one round, over all threads.
        #[arg(long, default_value_t = 2_000_000)]
        writes: u64,
        #[command(flatten)]
        common: Common,
    },
    /// Hit ratios of caches at a limit: kvcore's policies, moka, quick_cache, and simulations of an exact LRU and S3-FIFO.
    HitRatio {
        /// Different keys.
        #[arg(long, default_value_t = 500_000)]
        keys: usize,
        /// Keys that are asked for.
        #[arg(long, default_value_t = 3_000_000)]
        requests: usize,
        /// Entries the caches hold, in percent of the keys; may be given more than once.
        #[arg(long, default_values_t = [0.1, 1.0, 5.0, 10.0])]
        capacity: Vec<f64>,
    },
    /// How long a transaction holds its locks to make room, by policy and by what it claims.
    Room {
        /// Entries of the full store.
        #[arg(long, default_value_t = 1_000_000)]
        entries: u64,
        /// Transactions of each kind.
        #[arg(long, default_value_t = 200)]
        rounds: u32,
    },
    /// SET that returns when it is durable: kvcore, redb, sled and fjall.
    DurableSet {
        /// Threads that write at the same time; may be given more than once.
        #[arg(long, default_values_t = [64, 1])]
        threads: Vec<usize>,
        #[command(flatten)]
        common: Common,
    },
}

/// What every figure takes.
#[derive(clap::Args, Clone)]
pub struct Common {
    /// Rounds of each store; the median is printed.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Longest time one round may take, in seconds.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Number of different keys (16 bytes each).
    #[arg(long, default_value_t = 1_000_000)]
    keys: usize,
    /// Bytes of a value.
    #[arg(long, default_value_t = 100)]
    value_bytes: usize,
    /// Measure only the stores whose names begin so: for a profiler.
    #[arg(long, default_value = "")]
    only: String,
    /// Where the stores keep their files while they are measured [default: beside this program].
    #[arg(long)]
    dir: Option<PathBuf>,
}

impl Common {
    fn round_time_max(&self) -> Duration {
        Duration::from_secs_f64(self.seconds.clamp(0.01, 3600.0))
    }
}

fn main() -> ExitCode {
    let outcome = match Flags::parse().figure {
        Figure::EmbeddedGet { threads, common } => figures::embedded_get(threads, &common),
        Figure::OwnedGet { owned } => owned::owned_get(&owned),
        Figure::EmbeddedSet { threads, writes, common } => figures::embedded_set(threads, writes, &common),
        Figure::HitRatio { keys, requests, capacity } => eviction::hit_ratios(keys, requests, &capacity),
        Figure::Room { entries, rounds } => room::holds(entries, rounds),
        Figure::DurableSet { threads, common } => {
            threads.iter().try_for_each(|&threads| figures::durable_set(threads, &common))
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("kvbench: {failure}");
            ExitCode::FAILURE
        }
    }
}
