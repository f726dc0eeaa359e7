//! A program with a store of its own that serves the same store to Redis clients: clients write orders, the program sees
//! each through a watch and writes a receipt, and everything ends in order.
//!
//! ```sh
//! cargo run -p kvexamples --example serve_embedded                                    # with a client of its own
//! cargo run -p kvexamples --example serve_embedded -- --serve resp://127.0.0.1:6380   # for redis-cli -p 6380
//! ```
#![forbid(unsafe_code)]

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use kvclient::Client;
use kvcore::{Db, SetOptions, Watch, WatchEvent, WatchOptions};
use kvserver::Server;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// How long the client of this program waits for a receipt.
const PATIENCE: Duration = Duration::from_secs(10);

/// Writes the receipt of an order, unless there is one: it may be called twice for the same order.
fn confirm(db: &Db, order: &[u8], what: &[u8]) -> kvcore::Result<()> {
    let receipt = [b"receipt:", order.strip_prefix(b"order:").unwrap_or(order)].concat();
    let text = format!("confirmed: {}", String::from_utf8_lossy(what));
    db.set_with(receipt, text, SetOptions::new().if_absent())?;
    Ok(())
}

fn confirm_all(db: &Db) -> kvcore::Result<()> {
    for entry in db.prefix("order:")? {
        let (order, what) = entry?;
        confirm(db, &order, &what)?;
    }
    Ok(())
}

/// Confirms orders until the store is closed. The number of each is sent to `confirmed`.
fn confirm_orders(db: &Db, watch: Watch, confirmed: &mpsc::Sender<String>) -> kvcore::Result<()> {
    // Orders from before the last restart.
    confirm_all(db)?;
    for event in watch {
        match event? {
            WatchEvent::Change { key: Some(order), value: Some(what), .. } => {
                confirm(db, &order, &what)?;
                println!("confirmed {}", String::from_utf8_lossy(&order));
                // Nobody may be interested.
                let _ = confirmed.send(String::from_utf8_lossy(&order).into_owned());
            }
            // More orders came than the watch holds.
            WatchEvent::Missed => confirm_all(db)?,
            // An order was deleted.
            _ => {}
        }
    }
    Ok(())
}

fn main() -> Result<(), Error> {
    let dir = tempfile::tempdir()?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (serves, url) = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => (false, "resp://127.0.0.1:0"),
        ["--serve"] => (true, "resp://127.0.0.1:6380"),
        ["--serve", url] => (true, url),
        _ => return Err("usage: serve_embedded [--serve [URL]]".into()),
    };

    let db = Db::open(dir.path())?;
    // The watch begins before the first client can write.
    let watch = db.watch_with("order:", WatchOptions::new().with_values())?;
    let (sender, confirmed) = mpsc::channel();
    let worker = db.clone();
    let worker = thread::spawn(move || confirm_orders(&worker, watch, &sender));
    let mut server = Server::builder().store(db.clone()).listen(url.parse()?);
    if serves {
        server = server.stop_on_signals();
    }
    let server = server.start()?;
    let address = server.addresses()[0].clone();
    println!("serving {address}");

    // 1. The server: when it has ended, no client writes any more, and each has its replies.
    if serves {
        println!("Try: SET order:1 'three apples', then GET receipt:1. Ctrl-C ends it.");
        server.wait()?;
    } else {
        let place = address.tcp().ok_or("not a TCP address")?;
        order(&format!("redis://{place}"), &confirmed)?;
        server.shutdown()?;
    }
    // 2. The store: all of it is on disk, and the watch ends.
    let receipts = db.prefix("receipt:")?.collect::<kvcore::Result<Vec<_>>>()?.len();
    db.close()?;
    // 3. The worker. An order that it had not confirmed yet is confirmed at the next start.
    match worker.join().map_err(|_| "the worker panicked")? {
        Ok(()) | Err(kvcore::Error::Closed) => {}
        Err(error) => return Err(error.into()),
    }
    println!("ended in order, with {receipts} receipts");
    if !serves {
        let db = Db::open(dir.path())?;
        assert_eq!(db.prefix("receipt:")?.count(), 3);
        assert_eq!(db.get("receipt:2")?.as_deref(), Some(b"confirmed: two pears".as_slice()));
    }
    Ok(())
}

/// What any Redis client can do, in any language.
fn order(url: &str, confirmed: &mpsc::Receiver<String>) -> Result<(), Error> {
    let mut client = Client::connect(url)?;
    for (number, what) in [(1, "three apples"), (2, "two pears"), (3, "one melon")] {
        client.set(format!("order:{number}"), what)?;
        assert_eq!(confirmed.recv_timeout(PATIENCE)?, format!("order:{number}"));
        let receipt: Option<String> = client.get(format!("receipt:{number}"))?;
        assert_eq!(receipt, Some(format!("confirmed: {what}")));
    }
    // Both sides see the same store: a deleted order needs no receipt.
    assert!(client.delete("order:3")?);
    assert_eq!(client.dbsize()?, 5);
    Ok(())
}
