//! Waiting for a condition.
//!
//! Invariant: every wait has a bound and says what it waited for when the bound passes. The short pause between
//! two looks only keeps the core free; no test depends on its length.

use std::thread;
use std::time::{Duration, Instant};

/// How long a test waits for something that should happen at once, before it fails. Generous, because a loaded
/// machine is slow, and costs nothing while things work.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(2);

/// Looks until `look` answers something, for at most [`PATIENCE`].
///
/// # Panics
///
/// When the bound passes; the message names `what`.
#[track_caller]
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain for: {what}");
        thread::sleep(PAUSE);
    }
}

/// Looks until `look` is true, for at most [`PATIENCE`].
///
/// # Panics
///
/// When the bound passes; the message names `what`.
#[track_caller]
pub fn until_true(what: &str, mut look: impl FnMut() -> bool) {
    until(what, || look().then_some(()));
}

/// The life of one key with a TTL, as its client sees it.
///
/// The deadline the server chose lies between "when the request was sent plus the TTL" and "when the reply came
/// plus the TTL". Before the first the key must be there, after the second it must not, in between either is
/// right; so a test that uses this never fails because the machine was slow.
#[derive(Debug)]
pub struct Lifetime {
    sent: Instant,
    acknowledged: Instant,
    ttl: Duration,
}

/// The server's clock counts whole milliseconds and is not the test's clock.
const CLOCK_SLACK: Duration = Duration::from_millis(15);

impl Lifetime {
    /// Runs `set`, which gives a key the time to live `ttl` and returns when that was acknowledged.
    pub fn begin(ttl: Duration, set: impl FnOnce()) -> Self {
        let sent = Instant::now();
        set();
        Lifetime { sent, acknowledged: Instant::now(), ttl }
    }

    /// Asks `is_there` until the key is gone.
    ///
    /// # Panics
    ///
    /// When the key was gone before its deadline, or still there after it.
    #[track_caller]
    pub fn watch(self, mut is_there: impl FnMut() -> bool) {
        loop {
            let asked = Instant::now();
            let there = is_there();
            let answered = Instant::now();
            if !there {
                assert!(
                    answered + CLOCK_SLACK >= self.sent + self.ttl,
                    "gone {:?} after it was set, its TTL is {:?}",
                    answered - self.sent,
                    self.ttl
                );
                return;
            }
            assert!(
                asked <= self.acknowledged + self.ttl + CLOCK_SLACK,
                "still there {:?} after it was set, its TTL is {:?}",
                asked - self.acknowledged,
                self.ttl
            );
            thread::sleep(PAUSE);
        }
    }
}
