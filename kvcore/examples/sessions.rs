//! Web sessions that expire, and survive a restart.
//!
//! ```sh
//! cargo run -p kvcore --example sessions          # in a temporary directory
//! cargo run -p kvcore --example sessions -- DIR   # in DIR: run it twice, the visits go on counting
//! ```
#![forbid(unsafe_code)]

use std::path::Path;
use std::time::Duration;

use kvcore::{Db, Keyspace, Result, SetOptions, Ttl};

/// How long a session lives after its last use.
const SESSION: Duration = Duration::from_secs(30 * 60);

/// The part of a program that knows about sessions. It is cheap to clone and may be used from any thread.
#[derive(Clone)]
struct Sessions {
    store: Keyspace,
}

impl Sessions {
    fn of(db: &Db) -> Result<Sessions> {
        Ok(Sessions { store: db.keyspace("sessions")? })
    }

    /// Begins a session; it is on disk when this returns.
    fn begin(&self, token: &str, user: &str, lifetime: Duration) -> Result<()> {
        self.store.set_with(token, user, SetOptions::new().expires_in(lifetime))?;
        Ok(())
    }

    /// Who is behind a token, if its session is still alive. Each use prolongs it.
    fn user(&self, token: &str) -> Result<Option<String>> {
        // One transaction, so that a session that ends in between is not found and then prolonged.
        self.store.transact(&[token], |txn| {
            let user = txn.get(token)?.map(|value| String::from_utf8_lossy(&value).into_owned());
            if user.is_some() {
                txn.expire(token, SESSION)?;
            }
            Ok(user)
        })
    }

    fn end(&self, token: &str) -> Result<bool> {
        self.store.delete(token)
    }
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    match std::env::args_os().nth(1) {
        Some(dir) => run(Path::new(&dir))?,
        None => run(tempfile::tempdir()?.path())?,
    }
    Ok(())
}

fn run(dir: &Path) -> Result<()> {
    println!("1. Open {} and begin three sessions.", dir.display());
    let db = Db::open(dir)?;
    let visits = db.increment("visits", 1)?;
    println!("   This directory was visited {visits} times.");
    let sessions = Sessions::of(&db)?;
    sessions.begin("token-a", "Ada", SESSION)?;
    sessions.begin("token-b", "Brian", SESSION)?;
    sessions.begin("token-c", "Cleo", Duration::from_millis(300))?;
    show(&sessions, "token-a")?;
    db.close()?;

    println!("2. Closed, as a restart would. Open it again.");
    let db = Db::open(dir)?;
    let recovered = db.stats().recovery;
    println!(
        "   Loaded {} keys from a snapshot, replayed {} changes from the log, in {:?}.",
        recovered.snapshot_entries, recovered.replayed, recovered.took
    );
    let sessions = Sessions::of(&db)?;
    show(&sessions, "token-a")?;
    show(&sessions, "token-b")?;

    println!("3. Brian logs out; Cleo's session was a short one.");
    sessions.end("token-b")?;
    std::thread::sleep(Duration::from_millis(400));
    show(&sessions, "token-b")?;
    show(&sessions, "token-c")?;

    println!("4. A snapshot replaces the log, and whatever is open closes by itself.");
    db.snapshot()?;
    println!("   It holds {} keys.", db.snapshot_status().last_entries);
    Ok(())
}

fn show(sessions: &Sessions, token: &str) -> Result<()> {
    match sessions.user(token)? {
        Some(user) => {
            let left = match sessions.store.ttl(token)? {
                Some(Ttl::In(left)) => format!("{} s", left.as_secs()),
                _ => "no time".to_owned(),
            };
            println!("   {token} is {user}, for another {left}.");
        }
        None => println!("   {token} is nobody."),
    }
    Ok(())
}
