//! A live dashboard over a server: a page that shows the counters `counter:*` as they change.
//!
//! The server notifies one connection of each changed key (client-side caching, with a prefix), and the dashboard sends every
//! open page the counters as server-sent events. However many pages there are, the server has two clients.
//!
//! ```sh
//! cargo run -p kvexamples --example dashboard                    # starts a server and a page, and reads the page's events
//! cargo run -p kvexamples --example dashboard -- --serve 127.0.0.1:8000 --url redis://127.0.0.1:6379
//! ```
//!
//! Then `redis-cli INCR counter:visits`. Without `--url` it starts a server of its own.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::thread;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use futures_util::stream;
use kvclient::{Client, Connection, FromReply, Options, Reply, Version};
use kvserver::Server;
use tokio::net::TcpListener;
use tokio::sync::watch::{self, Receiver, Sender};

type Error = Box<dyn std::error::Error + Send + Sync>;
type Counters = BTreeMap<String, String>;

const PREFIX: &str = "counter:";

/// Keeps the counters up to date until the connection to the server ends.
fn follow(url: &str, counters: &Sender<Counters>) -> Result<(), Error> {
    let options = Options { version: Version::Resp3, ..Options::default() };
    let mut changes = Connection::connect_with(&url.parse()?, options)?;
    changes.command(["CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", PREFIX])?;
    // Nothing may change for long.
    changes.set_reply_timeout(None)?;
    let mut client = Client::connect(url)?;
    // First the notifications, then the keys: a change in between is read twice, and none is missed.
    let mut changed = None;
    loop {
        let keys = match &changed {
            Some(keys) => Vec::clone(keys),
            None => client.scan().matching(format!("{PREFIX}*")).collect::<Result<_, _>>()?,
        };
        let values: Vec<Option<Vec<u8>>> = if keys.is_empty() { Vec::new() } else { client.mget(&keys)? };
        counters.send_modify(|counters| {
            if changed.is_none() {
                counters.clear();
            }
            for (key, value) in keys.iter().zip(values) {
                let key = String::from_utf8_lossy(key.strip_prefix(PREFIX.as_bytes()).unwrap_or(key)).into_owned();
                match value {
                    Some(value) => counters.insert(key, String::from_utf8_lossy(&value).into_owned()),
                    None => counters.remove(&key), // deleted, expired or evicted
                };
            }
        });
        changed = next_change(&mut changes)?;
    }
}

/// Waits for the next notification; returns the keys that it names, or `None` if all keys may have changed.
fn next_change(changes: &mut Connection) -> Result<Option<Vec<Vec<u8>>>, Error> {
    loop {
        if let Reply::Push(mut words) = changes.receive()?
            && words.len() == 2
            && words[0] == Reply::bulk("invalidate")
            && let Some(keys) = words.pop()
        {
            return Ok(Option::from_reply(keys)?);
        }
    }
}

async fn page() -> impl IntoResponse {
    Html(include_str!("dashboard.html"))
}

/// Sends the counters now, and again whenever they have changed; a page that reads slowly skips what is out of date.
async fn events(State(mut counters): State<Receiver<Counters>>) -> impl IntoResponse {
    counters.mark_changed();
    let events = stream::unfold(counters, async |mut counters| {
        counters.changed().await.ok()?;
        let event = serde_json::to_string(&*counters.borrow_and_update()).map(|json| Event::default().data(json));
        Some((event, counters))
    });
    Sse::new(events).keep_alive(KeepAlive::default())
}

/// Serves the page until nobody sends counters any more.
async fn serve(listener: TcpListener, counters: Receiver<Counters>) -> Result<(), Error> {
    // Open pages' streams end then, too: nothing keeps a connection open.
    let mut until = counters.clone();
    let stop = async move { while until.changed().await.is_ok() {} };
    let app = axum::Router::new().route("/", get(page)).route("/events", get(events)).with_state(counters);
    Ok(axum::serve(listener, app).with_graceful_shutdown(stop).await?)
}

fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (serves, address, url) = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => (false, "127.0.0.1:0", None),
        ["--serve"] => (true, "127.0.0.1:8000", None),
        ["--serve", address] => (true, address, None),
        ["--serve", address, "--url", url] => (true, address, Some(url.to_owned())),
        _ => return Err("usage: dashboard [--serve [ADDRESS [--url URL]]]".into()),
    };
    let server = Server::builder().store(kvcore::Db::in_memory()).listen("resp://127.0.0.1:0".parse()?).start()?;
    let own = format!("redis://{}", server.addresses()[0].tcp().ok_or("not a TCP address")?);

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (sender, receiver) = watch::channel(Counters::new());
    let listener = runtime.block_on(TcpListener::bind(address))?;
    let address = listener.local_addr()?;
    if serves {
        println!("Open http://{address}/");
        let url = url.unwrap_or_else(|| {
            println!("and change counters: kvclient -u {own} INCR counter:visits");
            own
        });
        thread::spawn(move || {
            loop {
                if let Err(error) = follow(&url, &sender) {
                    eprintln!("{error}; trying again in a second");
                    // What is not known is not shown.
                    sender.send_replace(Counters::new());
                }
                thread::sleep(Duration::from_secs(1));
            }
        });
        return runtime.block_on(serve(listener, receiver));
    }

    let mut client = Client::connect(&own)?;
    client.set("counter:visits", "41")?;
    client.set("other", "not shown")?;
    let follower = thread::spawn(move || follow(&own, &sender));
    let pages = thread::spawn(move || runtime.block_on(serve(listener, receiver)));

    let agent = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(10))).build().new_agent();
    assert!(agent.get(format!("http://{address}/")).call()?.body_mut().read_to_string()?.contains("EventSource"));
    let stream = agent.get(format!("http://{address}/events")).call()?;
    let mut lines = BufReader::new(stream.into_body().into_reader()).lines();
    // What a page shows becomes what it is to be: a page may skip steps, and never stops before the last.
    let mut shows = |wanted: &[(&str, &str)]| -> Result<(), Error> {
        loop {
            let line = lines.next().ok_or("the events have ended")??;
            let Some(json) = line.strip_prefix("data: ") else { continue };
            println!("{json}");
            let counters: Counters = serde_json::from_str(json)?;
            if counters.iter().map(|(key, value)| (key.as_str(), value.as_str())).eq(wanted.iter().copied()) {
                return Ok(());
            }
        }
    };
    shows(&[("visits", "41")])?;
    client.incr("counter:visits")?;
    client.set("other", "still not shown")?;
    shows(&[("visits", "42")])?;
    client.incr_by("counter:orders", 7)?;
    shows(&[("orders", "7"), ("visits", "42")])?;
    client.delete("counter:visits")?;
    shows(&[("orders", "7")])?;
    client.flush()?;
    shows(&[])?;

    // The server first: then the follower ends, with it the events, and with them the pages.
    server.shutdown()?;
    let ended = follower.join().map_err(|_| "the follower panicked")?;
    println!("the end: {}", ended.err().ok_or("the follower has ended without a reason")?);
    pages.join().map_err(|_| "the server of the pages panicked")??;
    Ok(())
}
