//! When a client connects again, and how long it waits between its attempts.
//!
//! Invariant: a wait is at least half of what the doubling gives, and at most [`Reconnect::longest_wait`].

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// What a [`Client`](crate::Client) does when its connection is lost: how often it tries to connect again before a request,
/// and how long it waits between two attempts.
///
/// It is on by default, because it repeats nothing: a request goes to a new connection only if no byte of it was sent
/// before, and only once that connection has the login, the database, the name and the protocol of the old one. A request
/// whose reply did not come is never sent again; its error has [`Outcome::Unknown`](crate::Outcome::Unknown). So all that
/// it costs is time, which is bounded: with the defaults four attempts and less than two seconds of waiting between them.
///
/// The first connection is not retried: a wrong address is reported at once.
///
/// ```
/// use kvclient::{Options, Reconnect};
/// use std::time::Duration;
///
/// // A service that can wait until its server was restarted.
/// let patient = Options {
///     reconnect: Reconnect { attempts: 30, longest_wait: Duration::from_secs(5), ..Reconnect::default() },
///     ..Options::default()
/// };
/// // A request fails at once if there is no connection.
/// let never = Options { reconnect: Reconnect::never(), ..Options::default() };
/// # let _ = (patient, never);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reconnect {
    /// How often to try for one request; 0: never. 4 unless changed.
    pub attempts: u32,
    /// How long to wait after the first attempt that failed; it doubles with each. 100 ms unless changed. Each wait is
    /// shortened by up to its half, at random, so that the clients of a server that was restarted do not all come at once.
    pub first_wait: Duration,
    /// The longest wait; 1 s unless changed.
    pub longest_wait: Duration,
}

impl Default for Reconnect {
    fn default() -> Reconnect {
        Reconnect { attempts: 4, first_wait: Duration::from_millis(100), longest_wait: Duration::from_secs(1) }
    }
}

impl Reconnect {
    /// Returns the policy of a client that never connects again.
    ///
    /// ```
    /// assert_eq!(kvclient::Reconnect::never().attempts, 0);
    /// ```
    pub fn never() -> Reconnect {
        Reconnect { attempts: 0, ..Reconnect::default() }
    }

    /// Returns how long to wait after `failed` attempts, from 1. `random` is any number, evenly distributed.
    pub(crate) fn wait(&self, failed: u32, random: u64) -> Duration {
        let doubled = 2_u32.checked_pow(failed.saturating_sub(1)).and_then(|times| self.first_wait.checked_mul(times));
        let whole = doubled.unwrap_or(self.longest_wait).min(self.longest_wait);
        let half = whole / 2;
        // Of the other half a random part, in 65,536ths.
        let part = (random % 65_537) as u32;
        let other = u64::try_from((whole - half).as_nanos()).unwrap_or(u64::MAX);
        half + Duration::from_nanos(u64::try_from(u128::from(other) * u128::from(part) / 65_536).unwrap_or(other))
    }
}

/// Returns a number that differs between threads, processes and calls.
pub(crate) fn random() -> u64 {
    // The standard library keys its hash tables with random numbers, a different one each time.
    RandomState::new().hash_one(0_u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_are_shortened_by_half_at_most() {
        let policy = Reconnect {
            attempts: 9,
            first_wait: Duration::from_millis(100),
            longest_wait: Duration::from_millis(1_000),
        };
        for (failed, whole) in
            [(1, 100), (2, 200), (3, 400), (4, 800), (5, 1_000), (6, 1_000), (33, 1_000), (u32::MAX, 1_000)]
        {
            let whole = Duration::from_millis(whole);
            assert_eq!(policy.wait(failed, 0), whole / 2, "{failed}");
            assert_eq!(policy.wait(failed, 65_536), whole, "{failed}");
            for random in [1, 4_711, u64::MAX, random()] {
                let wait = policy.wait(failed, random);
                assert!(wait >= whole / 2 && wait <= whole, "{failed} {wait:?}");
            }
        }
    }

    #[test]
    fn no_bounds_are_too_large_or_too_small() {
        let widest = Reconnect { attempts: 1, first_wait: Duration::MAX, longest_wait: Duration::MAX };
        assert!(widest.wait(7, u64::MAX) >= Duration::MAX / 2);
        let none = Reconnect { attempts: 1, first_wait: Duration::ZERO, longest_wait: Duration::ZERO };
        assert_eq!(none.wait(7, u64::MAX), Duration::ZERO);
    }
}
