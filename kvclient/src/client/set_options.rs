//! What SET and GETEX can be asked for beside the value.
//!
//! Invariant: a time to live is never rounded down to none: the least is a millisecond.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// When a key expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// After this time, rounded up to milliseconds.
    In(Duration),
    /// At this time, in milliseconds.
    At(SystemTime),
    /// Never.
    Never,
}

/// How [`Client::set_with`](crate::Client::set_with) sets a key; unless changed as `set` does: in any case, and the key never
/// expires.
///
/// ```
/// # let (_server, mut client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
/// use kvclient::SetOptions;
/// use std::time::Duration;
///
/// assert!(client.set_with("k", "1", &SetOptions::new().if_absent().expire_in(Duration::from_secs(60)))?);
/// assert!(client.set_with("k", "2", &SetOptions::new().if_present().keep_ttl())?);
/// assert!(!client.set_with("k", "3", &SetOptions::new().if_absent())?);
/// assert_eq!(client.get::<i64>("k")?, Some(2));
/// # Ok::<(), kvclient::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetOptions {
    condition: Option<&'static str>,
    expiry: Option<Expiry>,
    keeps_ttl: bool,
}

impl SetOptions {
    /// Returns options that set a key in any case, without an expiry.
    ///
    /// ```
    /// assert_eq!(kvclient::SetOptions::new(), kvclient::SetOptions::default());
    /// ```
    pub fn new() -> SetOptions {
        SetOptions::default()
    }

    /// Sets the key only if it does not exist.
    ///
    /// ```
    /// # let (_server, client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// # let mut client = client;
    /// use kvclient::SetOptions;
    ///
    /// assert!(client.set_with("lock", "mine", &SetOptions::new().if_absent())?);
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    #[must_use]
    pub fn if_absent(mut self) -> SetOptions {
        self.condition = Some("NX");
        self
    }

    /// Sets the key only if it exists.
    ///
    /// ```
    /// # let (_server, client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// # let mut client = client;
    /// use kvclient::SetOptions;
    ///
    /// assert!(!client.set_with("missing", "v", &SetOptions::new().if_present())?);
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    #[must_use]
    pub fn if_present(mut self) -> SetOptions {
        self.condition = Some("XX");
        self
    }

    /// Lets the key expire after `ttl`.
    ///
    /// ```
    /// # let (_server, client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// # let mut client = client;
    /// use kvclient::{SetOptions, Ttl};
    /// use std::time::Duration;
    ///
    /// client.set_with("k", "v", &SetOptions::new().expire_in(Duration::from_secs(60)))?;
    /// assert!(matches!(client.ttl("k")?, Ttl::In(_)));
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    #[must_use]
    pub fn expire_in(mut self, ttl: Duration) -> SetOptions {
        (self.expiry, self.keeps_ttl) = (Some(Expiry::In(ttl)), false);
        self
    }

    /// Lets the key expire at `time`.
    ///
    /// ```
    /// # let (_server, client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// # let mut client = client;
    /// use kvclient::{SetOptions, Ttl};
    /// use std::time::{Duration, SystemTime};
    ///
    /// let midnight = SystemTime::now() + Duration::from_secs(3_600);
    /// client.set_with("k", "v", &SetOptions::new().expire_at(midnight))?;
    /// assert!(matches!(client.ttl("k")?, Ttl::In(_)));
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    #[must_use]
    pub fn expire_at(mut self, time: SystemTime) -> SetOptions {
        (self.expiry, self.keeps_ttl) = (Some(Expiry::At(time)), false);
        self
    }

    /// Leaves the expiry of an existing key as it is.
    ///
    /// ```
    /// # let (_server, client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// # let mut client = client;
    /// use kvclient::{SetOptions, Ttl};
    /// use std::time::Duration;
    ///
    /// client.set_ex("k", "v", Duration::from_secs(60))?;
    /// client.set_with("k", "w", &SetOptions::new().keep_ttl())?;
    /// assert!(matches!(client.ttl("k")?, Ttl::In(_)));
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    #[must_use]
    pub fn keep_ttl(mut self) -> SetOptions {
        (self.expiry, self.keeps_ttl) = (None, true);
        self
    }

    /// Returns the words that say so.
    pub(super) fn words(&self) -> Vec<String> {
        let mut words: Vec<String> = self.condition.iter().map(|word| (*word).to_owned()).collect();
        match self.expiry {
            Some(Expiry::Never) | None => {}
            Some(expiry) => words.extend(expiry.words()),
        }
        if self.keeps_ttl {
            words.push("KEEPTTL".to_owned());
        }
        words
    }
}

impl Expiry {
    /// Returns the words that say so.
    pub(super) fn words(self) -> Vec<String> {
        match self {
            Expiry::In(ttl) => vec!["PX".to_owned(), milliseconds(ttl).to_string()],
            Expiry::At(time) => vec!["PXAT".to_owned(), unix_milliseconds(time).to_string()],
            Expiry::Never => vec!["PERSIST".to_owned()],
        }
    }
}

/// Returns a time to live in milliseconds, rounded up.
pub(super) fn milliseconds(ttl: Duration) -> u64 {
    u64::try_from(ttl.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

/// Returns milliseconds since 1970; 0 before.
pub(super) fn unix_milliseconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_live_is_rounded_up() {
        for (nanoseconds, wanted) in [(0, 0), (1, 1), (999_999, 1), (1_000_000, 1), (1_000_001, 2)] {
            assert_eq!(milliseconds(Duration::from_nanos(nanoseconds)), wanted);
        }
        assert_eq!(milliseconds(Duration::MAX), u64::MAX);
        assert_eq!(unix_milliseconds(UNIX_EPOCH - Duration::from_secs(1)), 0);
    }

    #[test]
    fn the_last_expiry_counts() {
        let words = |options: SetOptions| options.words().join(" ");
        assert_eq!(words(SetOptions::new()), "");
        let ten = Duration::from_secs(10);
        assert_eq!(words(SetOptions::new().if_absent().expire_in(ten)), "NX PX 10000");
        assert_eq!(words(SetOptions::new().keep_ttl().expire_at(UNIX_EPOCH + ten)), "PXAT 10000");
        assert_eq!(words(SetOptions::new().expire_in(ten).keep_ttl().if_present()), "XX KEEPTTL");
    }
}
