//! CLIENT PAUSE: for a while requests wait, all of them or those that may write, and nothing expires.
//!
//! Invariant: while nothing is paused a request pays one relaxed load for it. A paused connection is out of its loop's
//! iterations until the pause ends or changes; nobody polls for that: a change wakes the loops, an end has its time.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::time::{Duration, Instant};

use kvcore::Db;
use kvproto::spec::Trait;
use kvproto::{OwnedRequest, Spec};
use parking_lot::Mutex;

/// Which requests wait; those of `Write` do so in `All`, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Blocked {
    /// Those that may write or publish.
    Write = 1,
    All = 2,
}

/// The pause of a server.
pub(crate) struct Pause {
    db: Db,
    /// 0, or a [`Blocked`].
    held: AtomicU8,
    /// Counts beginnings and ends: whoever waits looks again when it has moved.
    changes: AtomicU64,
    current: Mutex<Option<(Blocked, Instant)>>,
}

impl Pause {
    pub(crate) fn new(db: Db) -> Pause {
        Pause { db, held: AtomicU8::new(0), changes: AtomicU64::new(0), current: Mutex::new(None) }
    }

    /// Pauses until `until`, or longer if that was asked for before. A pause of everything stays one.
    pub(crate) fn begin(&self, held: Blocked, until: Instant, now: Instant) {
        let mut current = self.current.lock();
        let before = current.filter(|(_, until)| *until > now);
        let (held, until) = before.map_or((held, until), |(old, ends)| (held.max(old), until.max(ends)));
        self.change(&mut current, (until > now).then_some((held, until)));
    }

    pub(crate) fn end(&self) {
        self.change(&mut self.current.lock(), None);
    }

    fn change(&self, current: &mut Option<(Blocked, Instant)>, to: Option<(Blocked, Instant)>) {
        *current = to;
        self.db.hooks().suspend_expiry(to.is_some());
        self.held.store(to.map_or(0, |(held, _)| held as u8), SeqCst);
        self.changes.fetch_add(1, SeqCst);
    }

    /// Whether anything may be paused.
    pub(crate) fn is_on(&self) -> bool {
        self.held.load(Relaxed) != 0
    }

    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(SeqCst)
    }

    /// When it ends; ends it if that is now.
    pub(crate) fn until(&self, now: Instant) -> Option<Instant> {
        if !self.is_on() {
            return None;
        }
        let mut current = self.current.lock();
        if current.is_some_and(|(_, until)| until <= now) {
            self.change(&mut current, None);
        }
        current.map(|(_, until)| until)
    }

    /// Returns which requests wait, and for how long still.
    pub(crate) fn current(&self, now: Instant) -> Option<(Blocked, Duration)> {
        let (held, until) = (*self.current.lock())?;
        let left = until.saturating_duration_since(now);
        (!left.is_zero()).then_some((held, left))
    }

    /// Whether a request has to wait. `queued`: the commands since MULTI, which EXEC would
    /// carry out.
    pub(crate) fn blocks(&self, spec: &Spec, queued: Option<&[(&'static Spec, OwnedRequest)]>) -> bool {
        if self.until(Instant::now()).is_none() {
            return false;
        }
        // What is refused when it is queued need not wait for that.
        let writes = |spec: &Spec| {
            (spec.is_write() || spec.traits.has(Trait::Replicates)) && !(spec.unsupported && queued.is_some())
        };
        self.held.load(SeqCst) == Blocked::All as u8
            || writes(spec)
            || (spec.traits.has(Trait::RunsQueue)
                && queued.is_some_and(|queued| queued.iter().any(|(spec, _)| writes(spec))))
    }
}

impl Drop for Pause {
    /// The store may outlive the server.
    fn drop(&mut self) {
        if self.is_on() {
            self.db.hooks().suspend_expiry(false);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod tests {
    use std::time::Duration;

    use super::*;

    fn spec(name: &str) -> &'static Spec {
        kvproto::spec::lookup(name.as_bytes()).unwrap()
    }

    #[test]
    fn a_pause_of_writes_holds_what_may_write_until_it_ends() {
        let (pause, now) = (Pause::new(Db::in_memory()), Instant::now());
        assert!(!pause.blocks(spec("set"), None));
        pause.begin(Blocked::Write, now + Duration::from_secs(100), now);
        let held = |name| pause.blocks(spec(name), None);
        assert_eq!(["set", "get", "publish", "exec", "client"].map(held), [true, false, true, false, false]);
        let queued = ["get", "set"].map(|name| (spec(name), OwnedRequest::from_words(["x"])));
        assert!(pause.blocks(spec("exec"), Some(&queued)));
        pause.end();
        assert!(!pause.is_on() && !held("set"));
    }

    #[test]
    fn a_second_pause_neither_shortens_nor_loosens_the_first() {
        let (pause, now) = (Pause::new(Db::in_memory()), Instant::now());
        let at = |seconds| now + Duration::from_secs(seconds);
        pause.begin(Blocked::All, at(100), now);
        pause.begin(Blocked::Write, at(50), now);
        assert!(pause.blocks(spec("get"), None));
        assert_eq!(pause.until(now), Some(at(100)));
        let changes = pause.changes();
        assert_eq!(pause.until(at(100)), None);
        assert!(!pause.is_on() && pause.changes() > changes);
        pause.begin(Blocked::Write, now, now);
        assert!(!pause.is_on(), "a pause of no length");
    }
}
