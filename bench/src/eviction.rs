//! Hit ratios of caches that are read through: what is not there is put there. Figures of kvcore's policies stand beside other
//! caches and two simulations, an exact LRU and S3-FIFO as published.
//!
//! Invariant: all caches hold the same number of entries and are asked for the same keys in the same order, one at a time. A
//! ratio is of the second half of the requests, when every cache is full.

use std::collections::{HashMap, HashSet, VecDeque};

use fastrand::Rng;
use kvcore::{Db, Options, Policy};

use crate::Failure;

/// A cache that holds values for keys.
trait Cache {
    /// Returns whether a key is there; if not, it is afterwards.
    fn read_through(&mut self, key: u64) -> Result<bool, Failure>;
}

/// The value of every key: its length is all that matters.
const VALUE: [u8; 200] = [b'v'; 200];

impl Cache for Db {
    fn read_through(&mut self, key: u64) -> Result<bool, Failure> {
        let key = key.to_le_bytes();
        if self.get_with(key, |_| {})?.is_some() {
            return Ok(true);
        }
        self.set(key, VALUE)?;
        Ok(false)
    }
}

impl Cache for moka::sync::Cache<u64, u64> {
    fn read_through(&mut self, key: u64) -> Result<bool, Failure> {
        let found = self.get(&key).is_some();
        if !found {
            self.insert(key, key);
        }
        Ok(found)
    }
}

impl Cache for quick_cache::sync::Cache<u64, u64> {
    fn read_through(&mut self, key: u64) -> Result<bool, Failure> {
        let found = self.get(&key).is_some();
        if !found {
            self.insert(key, key);
        }
        Ok(found)
    }
}

/// An exact LRU: a queue in which only the last place of a key counts.
struct Lru {
    capacity: usize,
    last: HashMap<u64, u64>,
    queue: VecDeque<(u64, u64)>,
    now: u64,
}

impl Cache for Lru {
    fn read_through(&mut self, key: u64) -> Result<bool, Failure> {
        self.now += 1;
        let found = self.last.insert(key, self.now).is_some();
        self.queue.push_back((key, self.now));
        while self.last.len() > self.capacity {
            let Some((key, at)) = self.queue.pop_front() else { break };
            if self.last.get(&key) == Some(&at) {
                self.last.remove(&key);
            }
        }
        Ok(found)
    }
}

/// S3-FIFO after Yang et al., "FIFO queues are all you need for cache eviction" (SOSP 2023).
struct S3Fifo {
    capacity: usize,
    /// Accesses in the queue that the key is in.
    accesses: HashMap<u64, u8>,
    small: VecDeque<u64>,
    main: VecDeque<u64>,
    ghost: VecDeque<u64>,
    ghosts: HashSet<u64>,
}

impl S3Fifo {
    fn evict(&mut self) {
        while self.small.len() * 10 >= self.capacity {
            let Some(key) = self.small.pop_front() else { break };
            if self.accesses.get(&key).is_some_and(|accesses| *accesses > 0) {
                self.accesses.insert(key, 0);
                self.main.push_back(key);
                continue;
            }
            self.accesses.remove(&key);
            self.ghost.push_back(key);
            self.ghosts.insert(key);
            while self.ghost.len() > self.capacity * 9 / 10 {
                self.ghost.pop_front().map(|key| self.ghosts.remove(&key));
            }
            return;
        }
        while let Some(key) = self.main.pop_front() {
            match self.accesses.get_mut(&key) {
                Some(accesses) if *accesses > 0 => {
                    *accesses -= 1;
                    self.main.push_back(key);
                }
                _ => {
                    self.accesses.remove(&key);
                    return;
                }
            }
        }
    }
}

impl Cache for S3Fifo {
    fn read_through(&mut self, key: u64) -> Result<bool, Failure> {
        if let Some(accesses) = self.accesses.get_mut(&key) {
            *accesses = (*accesses + 1).min(3);
            return Ok(true);
        }
        if self.accesses.len() >= self.capacity {
            self.evict();
        }
        self.accesses.insert(key, 0);
        // A key that has left the queue of ghosts by its set alone is dropped from the queue when its turn comes.
        let queue = if self.ghosts.remove(&key) { &mut self.main } else { &mut self.small };
        queue.push_back(key);
        Ok(false)
    }
}

/// Keys by a Zipf distribution: the n-th most popular is asked for with a probability of 1/n^exponent.
struct Zipf(Vec<f64>);

impl Zipf {
    fn new(keys: usize, exponent: f64) -> Self {
        let mut sum = 0.0;
        let cumulated = (1..=keys).map(|rank| {
            sum += (rank as f64).powf(-exponent);
            sum
        });
        let cumulated: Vec<f64> = cumulated.collect();
        Zipf(cumulated.iter().map(|part| part / sum).collect())
    }

    fn draw(&self, random: &mut Rng) -> u64 {
        let share = random.f64();
        self.0.partition_point(|part| *part < share) as u64
    }
}

/// Which keys are asked for.
#[derive(Clone, Copy)]
enum Load {
    Zipf(f64),
    /// Zipf 0.99, and after every 20,000 requests a scan of 10,000 keys that nobody asks for again.
    Scans,
    /// Zipf 0.99, whose most popular keys are others after every 50,000 requests.
    Moving,
}

fn requests(load: Load, keys: usize, count: usize) -> Vec<u64> {
    let exponent = if let Load::Zipf(exponent) = load { exponent } else { 0.99 };
    let (zipf, mut random) = (Zipf::new(keys, exponent), Rng::with_seed(0x6576_6963_7469_6f6e));
    let mut requests = Vec::with_capacity(count);
    let mut scanned = keys as u64;
    while requests.len() < count {
        let drawn = zipf.draw(&mut random);
        requests.push(match load {
            Load::Moving => (drawn + (requests.len() / 50_000 * keys / 100) as u64) % keys as u64,
            _ => drawn,
        });
        if matches!(load, Load::Scans) && requests.len() % 30_000 == 20_000 {
            requests.extend(scanned..scanned + 10_000);
            scanned += 10_000;
        }
    }
    requests
}

fn kv(capacity: usize, policy: Policy) -> Result<Db, Failure> {
    Ok(Options::new().max_entries(capacity as u64).eviction(policy).in_memory()?)
}

/// Prints the hit ratio of each cache under each load.
///
/// # Errors
///
/// When a store fails.
pub fn hit_ratios(keys: usize, count: usize, shares: &[f64]) -> Result<(), Failure> {
    let loads = [
        ("Zipf 0.99", Load::Zipf(0.99)),
        ("Zipf 1.0", Load::Zipf(1.0)),
        ("Zipf 0.99 with scans", Load::Scans),
        ("moving hot set", Load::Moving),
    ];
    println!("\nHit ratio, read through, {keys} keys, {count} requests, in %");
    let names = ["kv LRU", "kv LFU", "kv S3-FIFO", "moka", "quick_cache", "exact LRU", "S3-FIFO"];
    print!("  {:<22} {:>9}", "load", "entries");
    names.iter().for_each(|name| print!(" {name:>12}"));
    println!();
    for (name, load) in loads {
        let requests = requests(load, keys, count);
        for share in shares {
            let capacity = ((keys as f64 * share / 100.0) as usize).max(1);
            let caches: [Box<dyn Cache>; 7] = [
                Box::new(kv(capacity, Policy::Lru)?),
                Box::new(kv(capacity, Policy::Lfu)?),
                Box::new(kv(capacity, Policy::S3Fifo)?),
                Box::new(moka::sync::Cache::new(capacity as u64)),
                Box::new(quick_cache::sync::Cache::new(capacity)),
                Box::new(Lru { capacity, last: HashMap::new(), queue: VecDeque::new(), now: 0 }),
                Box::new(S3Fifo {
                    capacity,
                    accesses: HashMap::new(),
                    small: VecDeque::new(),
                    main: VecDeque::new(),
                    ghost: VecDeque::new(),
                    ghosts: HashSet::new(),
                }),
            ];
            print!("  {name:<22} {capacity:>9}");
            for mut cache in caches {
                let half = requests.len() / 2;
                let mut hits = 0;
                for (at, key) in requests.iter().enumerate() {
                    let hit = cache.read_through(*key)?;
                    hits += usize::from(hit && at >= half);
                }
                print!(" {:>12.2}", hits as f64 * 100.0 / (requests.len() - half) as f64);
            }
            println!();
        }
    }
    Ok(())
}
