//! A cache in memory: bounded, with a time to live, and each value computed once by however many threads want it.
//!
//! ```sh
//! cargo run -p kvcore --example cache
//! ```
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kvcore::{Db, Options, Policy, Result, SetOptions, Value};

const FRESH: Duration = Duration::from_secs(300);

/// A cache in front of something slow.
struct Cache {
    db: Db,
    computed: AtomicU64,
}

impl Cache {
    fn new(entries: u64) -> Result<Cache> {
        let db = Options::new().max_entries(entries).eviction(Policy::S3Fifo).in_memory()?;
        Ok(Cache { db, computed: AtomicU64::new(0) })
    }

    /// Returns the page, from the cache if it is there.
    fn page(&self, path: &str) -> Result<Value> {
        if let Some(page) = self.db.get(path)? {
            return Ok(page);
        }
        // Two threads may compute it at the same time; the first one that is done wins, and both return its page.
        let page = self.compute(path);
        let outcome = self.db.set_with(path, &page, SetOptions::new().if_absent().return_old().expires_in(FRESH))?;
        Ok(outcome.old.unwrap_or_else(|| Value::from(page.as_bytes())))
    }

    fn compute(&self, path: &str) -> String {
        self.computed.fetch_add(1, Ordering::Relaxed);
        format!("<h1>{path}</h1>")
    }
}

fn main() -> Result<()> {
    let cache = Cache::new(1000)?;
    assert_eq!(cache.page("/")?, "<h1>/</h1>");
    assert_eq!(cache.page("/")?, "<h1>/</h1>");
    assert_eq!(cache.computed.load(Ordering::Relaxed), 1);

    // The start page is wanted again and again; a robot reads 20,000 others, each once.
    for page in 0..20_000 {
        cache.page(&format!("/archive/{page}"))?;
        if page % 100 == 0 {
            cache.page("/")?;
        }
    }
    let stats = cache.db.stats();
    println!("{} entries of {} bytes; {} were evicted.", stats.entries, stats.memory_bytes, stats.evicted);
    assert!(stats.entries <= 1000);
    assert!(cache.db.exists("/")?, "what is used again and again stays");
    assert_eq!(cache.computed.load(Ordering::Relaxed), 20_001);

    // What must not go has no place in a cache; what may be dropped at any time is one call.
    cache.db.delete("/")?;
    assert_eq!(cache.page("/")?, "<h1>/</h1>");
    assert_eq!(cache.db.clear()?, stats.entries);
    Ok(())
}
