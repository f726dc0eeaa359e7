//! Clients that are sent what others do: monitors, subscribers, trackers.
//!
//! Invariant: what one was sent is told apart from the replies to its own requests by a mark.

use super::{Gated, Numbered};

/// A client that is sent what others do.
pub struct Observer {
    pub what: &'static str,
    pub who: Numbered,
    /// The reply to its last request has not come.
    pub waits: bool,
}

/// What an observer asks for, so that all that comes before the reply was sent before.
pub const MARK: &str = "PING mark\r\n";
pub const MARK_REPLY: &str = "$4\r\nmark\r\n";

/// What an observer was sent, without the replies to its own requests, and without what a monitor is shown of requests
/// that change nothing.
pub fn told(came: &str) -> String {
    const SHOWN: [&str; 4] = ["] \"PING\" \"mark\"", "] \"CLIENT\" \"ID\"", "] \"GET\" ", "] \"MULTI\""];
    let came = came.replace("*2\r\n$4\r\npong\r\n$4\r\nmark\r\n", "").replace(MARK_REPLY, "");
    came.split_inclusive('\n').filter(|line| !SHOWN.iter().any(|shown| line.contains(shown))).collect()
}

impl Observer {
    /// One of each kind.
    pub fn all(gated: &mut Gated) -> Vec<Observer> {
        gated.prepare("CONFIG SET notify-keyspace-events KEA\r\n");
        let mut all = Vec::new();
        let mut add = |what, requests: &[&str]| {
            let mut who = gated.client();
            let mut told = String::new();
            for request in requests {
                who.client.send(format!("{request}\r\n{MARK}"));
                told += &who.client.until(MARK_REPLY);
            }
            assert!(!told.contains('-'), "{what}: {told}");
            let id = who.id;
            all.push(Observer { what, who, waits: false });
            id
        };
        add("a monitor", &["MONITOR"]);
        add("a subscriber to events", &["PSUBSCRIBE __key*"]);
        add("a subscriber to events in RESP3", &["HELLO 3", "PSUBSCRIBE __key*"]);
        add("a tracker", &["HELLO 3", "CLIENT TRACKING ON"]);
        add("a tracker of all keys", &["HELLO 3", "CLIENT TRACKING ON BCAST"]);
        let receiver = add("who a tracker redirects to", &["SUBSCRIBE __redis__:invalidate"]);
        add("a tracker that redirects", &["HELLO 3", &format!("CLIENT TRACKING ON REDIRECT {receiver}")]);
        all
    }

    pub fn reads(&self) -> bool {
        matches!(self.what, "a tracker" | "a tracker that redirects")
    }

    /// Receives all that was sent to it so far.
    pub fn catch_up(&mut self) -> String {
        self.who.client.send(MARK);
        told(&self.who.client.until(MARK_REPLY))
    }
}

/// Lets observers read `keys`, and takes what they were sent so far.
pub fn get_ready(observers: &mut [Observer], keys: &[String]) {
    for observer in observers.iter_mut().filter(|observer| observer.reads()) {
        for key in keys {
            observer.who.client.send(format!("GET {key}\r\n"));
        }
    }
    for observer in observers {
        observer.catch_up();
    }
}

/// Nothing may have been sent to the observers.
#[track_caller]
pub fn expect_untold(gated: &mut Gated, observers: &mut [Observer], what: &str) {
    for Observer { what: observer, who, waits } in observers {
        who.client.send(MARK);
        let came = gated.until_held(who, what, |came| came.contains(MARK_REPLY));
        *waits = !came.contains(MARK_REPLY);
        assert_eq!(told(&came), "", "{what}: {observer} was sent what was not durable");
    }
}

/// After [`expect_untold`]: what each was sent when syncs went on.
pub fn told_later(observers: &mut [Observer]) -> Vec<(&'static str, String)> {
    let later = |observer: &mut Observer| match observer.waits {
        true => told(&observer.who.client.until(MARK_REPLY)),
        false => String::new(),
    };
    observers.iter_mut().map(|observer| (observer.what, later(observer))).collect()
}
