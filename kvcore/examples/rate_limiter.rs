//! A rate limiter: so many requests in a window, per client. Counters expire by themselves.
//!
//! ```sh
//! cargo run -p kvcore --example rate_limiter
//! ```
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::time::Duration;

use kvcore::{Db, Keyspace, ManualClock, Options, Result, Ttl};

/// What becomes of a request.
#[derive(Debug, PartialEq)]
enum Verdict {
    Allowed { left: i64 },
    Refused { retry_after: Duration },
}

/// Counts the requests of each client in a window that begins with its first request. Cheap to clone.
#[derive(Clone)]
struct RateLimiter {
    counters: Keyspace,
    requests: i64,
    window: Duration,
}

impl RateLimiter {
    fn new(db: &Db, requests: i64, window: Duration) -> Result<RateLimiter> {
        Ok(RateLimiter { counters: db.keyspace("rate_limits")?, requests, window })
    }

    fn check(&self, client: &str) -> Result<Verdict> {
        // One transaction: two requests at the same time never take the same place, and no counter is left without a deadline.
        self.counters.transact(&[client], |txn| {
            let count = txn.increment(client, 1)?;
            if count == 1 {
                txn.expire(client, self.window)?;
            }
            Ok(match txn.ttl(client)? {
                Some(Ttl::In(retry_after)) if count > self.requests => Verdict::Refused { retry_after },
                _ => Verdict::Allowed { left: self.requests - count },
            })
        })
    }
}

fn main() -> Result<()> {
    // A clock that the program moves, so that nobody waits for the window. A server leaves that line out.
    let clock = Arc::new(ManualClock::at(1_700_000_000_000));
    // Counters need no disk. With one they would outlive a restart: `.open(dir)`.
    let db = Options::new().clock(clock.clone()).in_memory()?;
    let limiter = RateLimiter::new(&db, 3, Duration::from_secs(60))?;

    for left in [2, 1, 0] {
        assert_eq!(limiter.check("10.0.0.1")?, Verdict::Allowed { left });
    }
    clock.advance(20_000);
    let verdict = limiter.check("10.0.0.1")?;
    println!("The fourth request: {verdict:?}");
    assert_eq!(verdict, Verdict::Refused { retry_after: Duration::from_secs(40) });
    assert_eq!(limiter.check("10.0.0.2")?, Verdict::Allowed { left: 2 }, "others are not concerned");

    clock.advance(40_000);
    let verdict = limiter.check("10.0.0.1")?;
    println!("After the window: {verdict:?}");
    assert_eq!(verdict, Verdict::Allowed { left: 2 });

    // Sixteen threads at once: exactly three get through.
    let allowed = std::thread::scope(|scope| {
        let check = || matches!(limiter.check("10.0.0.3"), Ok(Verdict::Allowed { .. }));
        let threads: Vec<_> = (0..16).map(|_| scope.spawn(check)).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).filter(|allowed| *allowed).count()
    });
    println!("Of 16 requests at once, {allowed} were allowed.");
    assert_eq!(allowed, 3);
    Ok(())
}
