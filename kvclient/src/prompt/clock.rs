//! The time of day beside each message of a stream.
//!
//! Invariant: a time is local if the system says how, else it is marked as UTC.

use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

/// The time zone: seconds east of Greenwich; `None` if it is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Zone(Option<i64>);

impl Zone {
    /// Returns the system's time zone. The standard library does not know it, `date` does.
    pub fn local() -> Zone {
        let date = Command::new("date").arg("+%z").stdin(Stdio::null()).stderr(Stdio::null()).output();
        Zone(date.ok().and_then(|date| offset(&String::from_utf8_lossy(&date.stdout))))
    }

    /// Returns the time of day with milliseconds.
    pub fn now(self) -> String {
        self.time(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64))
    }

    fn time(self, unix_ms: i64) -> String {
        let ms = unix_ms + self.0.unwrap_or(0) * 1000;
        let (day_s, mark) = (ms.div_euclid(1000).rem_euclid(86_400), if self.0.is_none() { "Z" } else { "" });
        let (hour, minute, second) = (day_s / 3600, day_s / 60 % 60, day_s % 60);
        format!("{hour:02}:{minute:02}:{second:02}.{:03}{mark}", ms.rem_euclid(1000))
    }
}

/// Reads `+0130`.
fn offset(text: &str) -> Option<i64> {
    let text = text.trim();
    let (sign, digits) = match text.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    if digits.len() != 4 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let number: i64 = digits.parse().ok()?;
    Some(sign * (number / 100 * 3600 + number % 100 * 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_local_or_marked() {
        assert_eq!(Zone(None).time(86_400_000 + 3_723_004), "01:02:03.004Z");
        assert_eq!(Zone(offset("-0130\n")).time(3_723_004), "23:32:03.004");
        assert_eq!(Zone(offset("+0530")).time(0), "05:30:00.000");
        assert_eq!([offset(""), offset("CET"), offset("+1"), offset("+éé")], [None; 4]);
    }
}
