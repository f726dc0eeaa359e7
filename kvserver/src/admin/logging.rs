//! How much is logged: as the program's flag has it, as Redis' `loglevel` has it, and while the server runs.
//!
//! Invariant: a level that was asked for is in force before the request is answered, wherever the program gave the
//! server a way to set it.

use parking_lot::Mutex;
use tracing::level_filters::LevelFilter;

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogLevel(pub(crate) LevelFilter);

/// Redis' words, which are no more than these.
const WORDS: [(&str, LevelFilter); 5] = [
    ("debug", LevelFilter::TRACE),
    ("verbose", LevelFilter::DEBUG),
    ("notice", LevelFilter::INFO),
    ("warning", LevelFilter::WARN),
    ("nothing", LevelFilter::OFF),
];

impl LogLevel {
    /// The level of one of Redis' words.
    pub(crate) fn of(word: &str) -> Option<LogLevel> {
        WORDS.iter().find(|(name, _)| *name == word).map(|(_, level)| LogLevel(*level))
    }

    /// Redis' word for it; for what Redis has none for, the next that logs more.
    pub(crate) fn word(self) -> &'static str {
        WORDS.iter().rev().find(|(_, level)| *level >= self.0).map_or("debug", |(word, _)| word)
    }
}

/// Sets the level of the program's log.
type Apply = Box<dyn Fn(LevelFilter) + Send + Sync>;

/// The level in force, and the way to change it.
pub(crate) struct Logging {
    level: Mutex<LogLevel>,
    /// `None` where the log is not the server's affair: a program that embeds it.
    apply: Option<Apply>,
}

impl Default for Logging {
    fn default() -> Logging {
        Logging { level: Mutex::new(LogLevel(LevelFilter::INFO)), apply: None }
    }
}

impl Logging {
    /// A log that is at `level` and whose level `apply` sets.
    pub(crate) fn new(level: LogLevel, apply: impl Fn(LevelFilter) + Send + Sync + 'static) -> Logging {
        Logging { level: Mutex::new(level), apply: Some(Box::new(apply)) }
    }

    pub(crate) fn level(&self) -> LogLevel {
        *self.level.lock()
    }

    pub(crate) fn set(&self, level: LogLevel) {
        let mut current = self.level.lock();
        *current = level;
        if let Some(apply) = &self.apply {
            apply(level.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_is_a_level_and_each_level_has_a_word() {
        for (word, _) in WORDS {
            assert_eq!(LogLevel::of(word).map(LogLevel::word), Some(word));
        }
        assert_eq!(LogLevel::of("info"), None);
        assert_eq!(LogLevel(LevelFilter::ERROR).word(), "warning");
    }
}
