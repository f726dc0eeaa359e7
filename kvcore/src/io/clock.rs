//! Clock: the only door to time. Invariant: the store's time, [`Timeline::now_ms`], never runs backwards, whatever the
//! wall clock does and across restarts.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Where the store learns the time. [`SystemClock`] in production, [`ManualClock`] in tests.
///
/// ```
/// use std::sync::Arc;
/// use kvcore::{Clock, Options, SystemClock};
///
/// /// A clock that is a day ahead.
/// struct Tomorrow(SystemClock);
///
/// impl Clock for Tomorrow {
///     fn wall_ms(&self) -> u64 {
///         self.0.wall_ms() + 86_400_000
///     }
///
///     fn monotonic_ms(&self) -> u64 {
///         self.0.monotonic_ms()
///     }
/// }
///
/// let db = Options::new().clock(Arc::new(Tomorrow(SystemClock::new()))).in_memory()?;
/// assert!(db.now_ms() > SystemClock::new().wall_ms());
/// # Ok::<(), kvcore::Error>(())
/// ```
pub trait Clock: Send + Sync + 'static {
    /// Returns the milliseconds since the Unix epoch; may jump either way.
    fn wall_ms(&self) -> u64;
    /// Returns the milliseconds since some fixed moment; never runs backwards.
    fn monotonic_ms(&self) -> u64;
}

/// The operating system's clocks.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// Returns a clock whose monotonic time starts at zero now.
    ///
    /// ```
    /// use kvcore::{Clock, SystemClock};
    /// assert!(SystemClock::new().wall_ms() > 1_700_000_000_000);
    /// ```
    #[allow(clippy::disallowed_methods, reason = "this is the door to time")]
    pub fn new() -> Self {
        SystemClock { started: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "this is the door to time")]
    fn wall_ms(&self) -> u64 {
        // A clock set before 1970 reads as 1970: deadlines then lie in the future, and nothing is lost.
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
    }

    #[allow(clippy::disallowed_methods, reason = "this is the door to time")]
    fn monotonic_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }
}

/// A clock that moves only when told to: makes tests of expiry exact and instant.
#[derive(Debug)]
pub struct ManualClock {
    wall: AtomicU64,
    monotonic: AtomicU64,
}

impl ManualClock {
    /// Returns a clock that shows `wall_ms` milliseconds since the Unix epoch.
    ///
    /// ```
    /// use kvcore::{Clock, ManualClock};
    /// assert_eq!(ManualClock::at(1_700_000_000_000).wall_ms(), 1_700_000_000_000);
    /// ```
    pub fn at(wall_ms: u64) -> Self {
        ManualClock { wall: AtomicU64::new(wall_ms), monotonic: AtomicU64::new(0) }
    }

    /// Lets `ms` milliseconds pass, on the wall and monotonically.
    ///
    /// ```
    /// use kvcore::{Clock, ManualClock};
    /// let clock = ManualClock::at(1_700_000_000_000);
    /// clock.advance(1000);
    /// assert_eq!((clock.wall_ms(), clock.monotonic_ms()), (1_700_000_001_000, 1000));
    /// ```
    pub fn advance(&self, ms: u64) {
        // In this order: whoever looks at the wall first and then here, in between, finds too little time passed and
        // corrects that at the next look; the other way round it would be ahead for good.
        self.monotonic.fetch_add(ms, Ordering::SeqCst);
        self.wall.fetch_add(ms, Ordering::SeqCst);
    }

    /// Steps the wall clock alone, as an operator or NTP would.
    ///
    /// ```
    /// use kvcore::{Clock, ManualClock};
    /// let clock = ManualClock::at(1_700_000_000_000);
    /// clock.set_wall(0);
    /// assert_eq!((clock.wall_ms(), clock.monotonic_ms()), (0, 0));
    /// ```
    pub fn set_wall(&self, wall_ms: u64) {
        self.wall.store(wall_ms, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn wall_ms(&self) -> u64 {
        self.wall.load(Ordering::SeqCst)
    }

    fn monotonic_ms(&self) -> u64 {
        self.monotonic.load(Ordering::SeqCst)
    }
}

/// The store's own time: max(wall clock, floor + monotonic time since the floor was known).
///
/// Kept as one number, how far our time is ahead of the monotonic clock. It only ever grows, so the sum never falls.
pub(crate) struct Timeline {
    clock: Arc<dyn Clock>,
    ahead: AtomicI64,
}

impl Timeline {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Timeline { clock, ahead: AtomicI64::new(i64::MIN) }
    }

    /// Milliseconds since the Unix epoch, never less than before.
    pub(crate) fn now_ms(&self) -> u64 {
        self.at_least(self.clock.wall_ms())
    }

    /// Makes sure that time is not before `floor_ms` from now on, and returns the time.
    pub(crate) fn at_least(&self, floor_ms: u64) -> u64 {
        let monotonic = self.clock.monotonic_ms() as i64;
        let candidate = (floor_ms.min(i64::MAX as u64) as i64).saturating_sub(monotonic);
        let mut ahead = self.ahead.load(Ordering::Relaxed);
        // A plain load first: the wall rarely gains on the monotonic clock, and an atomic max would bounce the line.
        if candidate > ahead {
            ahead = self.ahead.fetch_max(candidate, Ordering::Relaxed).max(candidate);
        }
        monotonic.saturating_add(ahead).max(0) as u64
    }

    /// Returns how many milliseconds this time is ahead of the wall clock; 0 if it is not.
    pub(crate) fn ahead_of_wall_ms(&self) -> u64 {
        // In this order: a wall clock that goes on between the two looks can only make it less.
        self.now_ms().saturating_sub(self.clock.wall_ms())
    }

    /// Monotonic milliseconds, for intervals.
    pub(crate) fn monotonic_ms(&self) -> u64 {
        self.clock.monotonic_ms()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_never_runs_backwards_and_never_stands_still() {
        let clock = Arc::new(ManualClock::at(1_000_000));
        let time = Timeline::new(clock.clone());
        assert_eq!(time.now_ms(), 1_000_000);
        clock.set_wall(4_600_000);
        assert_eq!(time.now_ms(), 4_600_000, "a step forward is followed");
        clock.set_wall(1_000_000);
        assert_eq!(time.now_ms(), 4_600_000, "a step back is not");
        clock.advance(500);
        assert_eq!(time.now_ms(), 4_600_500, "and time goes on from there");
    }

    #[test]
    fn a_floor_from_the_log_holds() {
        let clock = Arc::new(ManualClock::at(10));
        let time = Timeline::new(clock.clone());
        assert_eq!(time.at_least(5_000), 5_000);
        clock.advance(7);
        assert_eq!(time.now_ms(), 5_007);
    }
}
