//! Durable writes from asynchronous code: each task awaits its ticket, and all of them share the syncs of the disk.
//!
//! ```sh
//! cargo run --release -p kvcore --example async_writes
//! ```
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "a program measures time by itself")]

use std::time::Instant;

use kvcore::{Db, Result};

const TASKS: usize = 64;
const WRITES: usize = 200;

/// What a handler of a web server does.
async fn visit(db: Db, page: String) -> Result<i64> {
    // The write is applied when `increment` returns, and on stable storage when the ticket is ready. Nothing here blocks
    // the executor's thread: a thread of the store syncs the disk, and wakes the task.
    db.deferred().increment(page, 1)?.await
}

/// Several keys at once, awaited the same way.
async fn transfer(db: Db, from: &str, to: &str, amount: i64) -> Result<i64> {
    let transaction = db.deferred().transact(&[from, to], |txn| {
        txn.increment(to, amount)?;
        txn.increment(from, -amount)
    })?;
    transaction.await
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let db = Db::open(dir.path())?;
    // One thread is enough. Tickets are plain futures: any executor will do.
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let started = Instant::now();
    runtime.block_on(async {
        let tasks: Vec<_> = (0..TASKS)
            .map(|task| {
                let db = db.clone();
                tokio::spawn(async move {
                    for _ in 0..WRITES {
                        visit(db.clone(), format!("page:{}", task % 8)).await?;
                    }
                    Ok::<(), kvcore::Error>(())
                })
            })
            .collect();
        for task in tasks {
            task.await??;
        }
        assert_eq!(transfer(db.clone(), "page:0", "page:1", 100).await?, (TASKS / 8 * WRITES) as i64 - 100);
        Ok::<(), Box<dyn std::error::Error>>(())
    })?;
    let (writes, took) = (TASKS * WRITES, started.elapsed());
    println!("{writes} durable writes in {took:.2?}: {:.0} a second.", writes as f64 / took.as_secs_f64());

    // What was awaited needs no close: a copy of the store's files opens with all of it.
    let copy = tempfile::tempdir()?;
    db.backup(copy.path())?;
    let copy = Db::open(copy.path())?;
    let total = (0..8).map(|page| copy.increment(format!("page:{page}"), 0)).sum::<Result<i64>>()?;
    assert_eq!(total, writes as i64);
    Ok(())
}
