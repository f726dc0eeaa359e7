//! What CONFIG SET changes is in force when it is answered.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::sync::Arc;

use kvcore::{ManualClock, Options};
use support::{Client, serve};

/// How fast counters fade may be changed alone: the policy, which decides that uses are counted, stays as it is.
#[test]
fn counters_fade_as_fast_as_was_said_last() {
    let clock = Arc::new(ManualClock::at(1_700_000_000_000));
    let db = Options::new().clock(clock.clone()).in_memory().unwrap();
    let server = serve(&db);
    let mut client = Client::of(&server);
    client.ask("CONFIG SET maxmemory-policy allkeys-lfu lfu-log-factor 0", "+OK\r\n");
    client.ask("SET k v", "+OK\r\n");
    for _ in 0..100 {
        client.ask("GET k", "$1\r\nv\r\n");
    }
    let mut frequency = 105;
    for (minutes, lost) in [(0, 0), (5, 2), (1, 10), (0, 0)] {
        client.ask(&format!("CONFIG SET lfu-decay-time {minutes}"), "+OK\r\n");
        client.ask("OBJECT FREQ k", format!(":{frequency}\r\n"));
        clock.advance(600_000);
        db.hooks().note_time();
        frequency -= lost;
        client.ask("OBJECT FREQ k", format!(":{frequency}\r\n"));
    }
}
