//! The keys, the values and the threads.
//!
//! Invariant: nothing random and nothing allocated is made while the clock runs. Keys lie in memory in the order in which
//! a thread will use them, so fetching a key is a sequential read for every store alike.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::Failure;

/// Bytes of a key.
pub const KEY_BYTES: usize = 16;
/// One key.
pub type Key = [u8; KEY_BYTES];

/// Keys a thread goes through before it starts again: enough that no cache remembers the round before.
const SEQUENCE_LENGTH: usize = 1 << 21;

/// What every store is given.
pub struct Workload {
    keys: Vec<Key>,
    sequences: Vec<Vec<Key>>,
    value: Vec<u8>,
}

impl Workload {
    /// `keys` different keys, and for each thread its own uniformly random sequence of them.
    pub fn new(keys: usize, value_bytes: usize, threads: usize) -> Self {
        let mut random = Rng::with_seed(0x6b76_6265_6e63_6801);
        let keys: Vec<Key> = (0..keys.max(1)).map(|index| key_at(index, random.u32(..))).collect();
        let sequences =
            (0..threads).map(|_| (0..SEQUENCE_LENGTH).map(|_| keys[random.usize(..keys.len())]).collect()).collect();
        let value = (0..value_bytes).map(|_| random.u8(..)).collect();
        Self { keys, sequences, value }
    }

    /// Every key once.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// The value every key gets.
    pub fn value(&self) -> &[u8] {
        &self.value
    }

    /// The `turn`-th key of a thread.
    pub fn key(&self, thread: usize, turn: u64) -> &Key {
        &self.sequences[thread][turn as usize & (SEQUENCE_LENGTH - 1)]
    }

    /// How many threads it was made for.
    pub fn threads(&self) -> usize {
        self.sequences.len()
    }
}

/// When a round ends: each thread stops at whichever comes first.
pub struct Until {
    /// Turns of one thread.
    pub turns: u64,
    /// Time since all threads started.
    pub time: Duration,
    /// Turns between two looks at the clock, which costs some 30 ns.
    pub look_every: u64,
}

/// What one round of one store gave.
#[derive(Clone, Copy)]
pub struct Round {
    /// Operations a second, of all threads together.
    pub rate: f64,
    /// CPU seconds that the whole process spent on one of them, the store's own threads included. Suffers far less than
    /// the rate when the machine has other work.
    pub cpu: f64,
}

/// Runs `turn(thread, n)` on every thread.
pub fn run(
    threads: usize,
    until: &Until,
    turn: impl Fn(usize, u64) -> Result<(), Failure> + Sync,
) -> Result<Round, Failure> {
    let barrier = Barrier::new(threads);
    let (turn, barrier) = (&turn, &barrier);
    let work = move |thread: usize| -> Result<(u64, Instant, Instant), Failure> {
        barrier.wait();
        let start = Instant::now();
        let mut done = 0;
        while done < until.turns {
            for _ in 0..until.look_every.min(until.turns - done) {
                turn(thread, done)?;
                done += 1;
            }
            if start.elapsed() >= until.time {
                break;
            }
        }
        Ok((done, start, Instant::now()))
    };
    let cpu_before = cpu_seconds();
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|thread| scope.spawn(move || work(thread))).collect();
        let (mut turns, mut first, mut last) = (0, None::<Instant>, None::<Instant>);
        for thread in running {
            let (done, start, end) = thread.join().map_err(|_| "a measuring thread panicked")??;
            turns += done;
            first = Some(first.map_or(start, |first| first.min(start)));
            last = Some(last.map_or(end, |last| last.max(end)));
        }
        let elapsed = last.zip(first).map_or(Duration::ZERO, |(last, first)| last - first);
        let turns = turns.max(1) as f64;
        Ok(Round { rate: turns / elapsed.as_secs_f64().max(1e-9), cpu: (cpu_seconds() - cpu_before) / turns })
    })
}

/// User and system time of this process so far, in steps of 10 ms; 0 where there is no `/proc`.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The program's name, in parentheses, may hold blanks: count from behind it.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_ascii_whitespace();
    // The unit is USER_HZ, which Linux shows as 100 on every machine this runs on.
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// Returns a key of 16 hexadecimal digits: random ones first, so that keys share no prefix a tree could profit from, and
/// then its number, so that none comes twice.
fn key_at(index: usize, random: u32) -> Key {
    let digits = u64::from(random) | (index as u64) << 32;
    let mut key = [0; KEY_BYTES];
    for (place, byte) in key.iter_mut().enumerate() {
        *byte = b"0123456789abcdef"[(digits >> (4 * place)) as usize & 15];
    }
    key
}
