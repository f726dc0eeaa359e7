//! A durable job queue: workers take jobs in order; the job of a worker that dies is taken again after a while.
//!
//! ```sh
//! cargo run -p kvcore --example job_queue
//! ```
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::time::Duration;

use kvcore::{Db, ManualClock, Options, Result, SetOptions};

/// How long a worker may take before its job is given to another.
const LEASE: Duration = Duration::from_secs(30);

/// Jobs are the keys `job:1`, `job:2`, ...; `tail` is the number of the last one, and up to `head` all are done. A lease is a key
/// that expires.
struct Queue {
    db: Db,
}

impl Queue {
    fn new(db: Db) -> Result<Queue> {
        for name in ["head", "tail"] {
            db.set_with(name, "0", SetOptions::new().if_absent())?;
        }
        Ok(Queue { db })
    }

    /// Adds a job and returns its number; it is on disk when this returns.
    fn push(&self, job: &str) -> Result<i64> {
        // A transaction names its keys before it begins. Where another thread has taken the number meanwhile: the next one.
        loop {
            let number = self.number("tail")? + 1;
            let key = format!("job:{number}");
            let pushed = self.db.transact(&["tail", &key], |txn| {
                let is_next =
                    txn.compare_and_set("tail", Some((number - 1).to_string().as_bytes()), number.to_string())?;
                if is_next {
                    txn.set(&key, job)?;
                }
                Ok(is_next)
            })?;
            if pushed {
                return Ok(number);
            }
        }
    }

    /// Takes the first job that nobody works on.
    fn take(&self, worker: &str) -> Result<Option<(i64, String)>> {
        for number in self.number("head")? + 1..=self.number("tail")? {
            let (job, lease) = (format!("job:{number}"), format!("lease:{number}"));
            let taken = self.db.transact(&[&*job, &*lease, "head"], |txn| {
                let Some(text) = txn.get(&job)?.map(|text| String::from_utf8_lossy(&text).into_owned()) else {
                    // It is done. If all before it are, too, the next search begins behind it.
                    txn.compare_and_set("head", Some((number - 1).to_string().as_bytes()), number.to_string())?;
                    return Ok(None);
                };
                let is_free = SetOptions::new().if_absent().expires_in(LEASE);
                Ok(txn.set_with(&lease, worker, is_free)?.written.then_some(text))
            })?;
            if let Some(text) = taken {
                return Ok(Some((number, text)));
            }
        }
        Ok(None)
    }

    /// Removes a job, if the worker still has its lease; returns whether it had.
    fn finish(&self, worker: &str, number: i64) -> Result<bool> {
        let (job, lease) = (format!("job:{number}"), format!("lease:{number}"));
        self.db.transact(&[&job, &lease], |txn| {
            if txn.get(&lease)?.is_none_or(|owner| owner.bytes() != worker.as_bytes()) {
                return Ok(false);
            }
            txn.delete(&lease)?;
            txn.delete(&job)
        })
    }

    fn number(&self, name: &str) -> Result<i64> {
        Ok(self.db.get(name)?.and_then(|number| number.as_str()?.parse().ok()).unwrap_or(0))
    }
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let (dir, clock) = (tempfile::tempdir()?, Arc::new(ManualClock::at(1_700_000_000_000)));
    let queue = Queue::new(Options::new().clock(clock.clone()).open(dir.path())?)?;
    for job in ["resize cat.png", "send mail", "rotate logs"] {
        queue.push(job)?;
    }
    let (first, text) = queue.take("worker A")?.ok_or("a job")?;
    println!("A takes {first}: {text}");
    let (second, text) = queue.take("worker B")?.ok_or("a job")?;
    println!("B takes {second}: {text}");
    assert_eq!((first, second), (1, 2));
    assert!(queue.finish("worker A", first)?);
    queue.db.close()?;

    // A restart: B's job is still B's, until its lease ends.
    let queue = Queue::new(Options::new().clock(clock.clone()).open(dir.path())?)?;
    assert_eq!(queue.take("worker C")?, Some((3, "rotate logs".to_owned())));
    assert_eq!(queue.take("worker C")?, None);
    clock.advance(LEASE.as_millis() as u64);
    let again = queue.take("worker C")?;
    println!("B is late, so C takes {again:?}");
    assert_eq!(again, Some((2, "send mail".to_owned())));
    assert!(!queue.finish("worker B", second)?, "B has lost its lease");
    assert!(queue.finish("worker C", second)?);
    Ok(())
}
