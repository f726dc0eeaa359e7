//! A cache of settings that follows the store: one thread changes them, another keeps a copy that is never behind for long.
//!
//! `cargo run -p kvcore --example watch`

use std::collections::BTreeMap;
use std::thread;

use kvcore::{Db, Result, WatchEvent, WatchOptions};

type Settings = BTreeMap<String, String>;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Reads all settings: at the beginning, and whenever changes were missed.
fn read_all(db: &Db) -> Result<Settings> {
    db.prefix("settings:")?.map(|entry| entry.map(|(key, value)| (text(&key), text(&value)))).collect()
}

fn main() -> Result<()> {
    let db = Db::in_memory();
    db.set("settings:colour", "red")?;

    // The watch begins before the first reading, so that no change falls between the two.
    let mut watch = db.watch_with("settings:", WatchOptions::new().with_values())?;
    let mut settings = read_all(&db)?;

    let writer = db.clone();
    let thread = thread::spawn(move || -> Result<()> {
        writer.set("settings:colour", "blue")?;
        writer.set("settings:size", "large")?;
        writer.set("visits", "1")?; // not watched
        writer.delete("settings:size")?;
        writer.set("settings:done", "yes")
    });
    while !settings.contains_key("settings:done") {
        match watch.next() {
            Some(Ok(WatchEvent::Change { key: Some(key), value: Some(value), .. })) => {
                settings.insert(text(&key), text(&value));
            }
            // Deleted, expired or evicted.
            Some(Ok(WatchEvent::Change { key: Some(key), .. })) => {
                settings.remove(&text(&key));
            }
            // Cleared, or read too slowly.
            Some(Ok(_)) => settings = read_all(&db)?,
            Some(Err(error)) => return Err(error),
            None => break, // the store was closed
        }
    }
    thread.join().expect("the writer ends")?;
    assert_eq!(settings, read_all(&db)?);
    for (key, value) in &settings {
        println!("{key} = {value}");
    }
    Ok(())
}
