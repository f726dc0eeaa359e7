//! Numbers, times and text as a reader sees them.
//!
//! Invariant: nothing here panics or returns markup, whatever number it is given.

/// What stands where nothing was measured.
pub const NOTHING: &str = "–";

/// Returns `text` so that it is text inside an element or a quoted attribute.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(letter),
        }
    }
    escaped
}

/// Returns `value` with `decimals` digits after the point and its thousands separated by commas.
pub fn grouped(value: f64, decimals: usize) -> String {
    let plain = format!("{:.decimals$}", value.abs());
    let (whole, fraction) = plain.split_once('.').map_or((plain.as_str(), None), |(whole, rest)| (whole, Some(rest)));
    let mut text = String::with_capacity(plain.len() + plain.len() / 3 + 1);
    if value < 0.0 && plain.contains(|digit| matches!(digit, '1'..='9')) {
        text.push('-');
    }
    for (index, digit) in whole.chars().enumerate() {
        // Digits only: "inf" has none.
        if index > 0 && (whole.len() - index).is_multiple_of(3) && digit.is_ascii_digit() {
            text.push(',');
        }
        text.push(digit);
    }
    if let Some(fraction) = fraction {
        text.push('.');
        text.push_str(fraction);
    }
    text
}

/// Returns `value` with three significant digits, or with all before the point if they are more.
pub fn significant(value: f64) -> String {
    let decimals = match value.abs() {
        size if size >= 100.0 || size == 0.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    grouped(value, decimals)
}

/// Returns a number of things.
pub fn count(value: f64) -> String {
    grouped(value, 0)
}

/// Returns a share from 0 to 1 in percent, with two digits after the point, or up to six where those would show 0 % or
/// 100 % for what is not.
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    let rounded = trimmed(percent, 2);
    let hides = matches!(rounded.as_str(), "0" | "100") && percent != 0.0 && percent != 100.0;
    format!("{} %", if hides { trimmed(percent, 6) } else { rounded })
}

/// Returns `value` with up to `decimals` digits after the point.
fn trimmed(value: f64, decimals: usize) -> String {
    let text = grouped(value, decimals);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// The unit of all latencies of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Microseconds,
    Milliseconds,
}

impl Unit {
    /// Returns the unit in which latencies up to `max_us` are short.
    pub fn of(max_us: f64) -> Unit {
        if max_us < 100_000.0 { Unit::Microseconds } else { Unit::Milliseconds }
    }

    /// Returns the unit's name.
    pub fn name(self) -> &'static str {
        match self {
            Unit::Microseconds => "µs",
            Unit::Milliseconds => "ms",
        }
    }

    /// Returns a latency in this unit, without the unit's name.
    pub fn show(self, us: f64) -> String {
        match self {
            Unit::Microseconds => significant(us),
            Unit::Milliseconds => significant(us / 1000.0),
        }
    }
}

/// Returns a latency with its unit.
pub fn latency(us: f64) -> String {
    let unit = Unit::of(us * 10.0);
    format!("{} {}", unit.show(us), unit.name())
}

/// Returns a span of time with its unit.
pub fn span_ms(ms: f64) -> String {
    if ms < 1000.0 { format!("{} ms", significant(ms)) } else { format!("{} s", significant(ms / 1000.0)) }
}

/// Returns a number of bytes with a unit that divides it, or in bytes.
pub fn bytes(value: f64) -> String {
    const UNITS: [(&str, f64); 3] = [("GiB", 1_073_741_824.0), ("MiB", 1_048_576.0), ("KiB", 1024.0)];
    match UNITS.iter().find(|(_, size)| value >= *size && value % size == 0.0) {
        Some((unit, size)) => format!("{} {unit}", grouped(value / size, 0)),
        None => format!("{} bytes", grouped(value, 0)),
    }
}

/// Returns a time, given in milliseconds since 1970, as ISO 8601 in UTC; None if it lies beyond the year 9999.
pub fn iso8601(unix_ms: u64) -> Option<String> {
    let seconds = unix_ms / 1000;
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Days since 0000-03-01: years begin in March here, so that a leap day is a year's last.
    let days = days.checked_add(719_468)?;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    (year <= 9999).then(|| format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_separated() {
        let shown = [0.0, 999.0, 1000.0, -1234567.0, -0.2].map(|value| grouped(value, 0));
        assert_eq!(shown, ["0", "999", "1,000", "-1,234,567", "0"]);
        assert_eq!(grouped(1234.56, 1), "1,234.6");
        assert_eq!([f64::INFINITY, f64::NAN].map(|value| grouped(value, 0)), ["inf", "NaN"]);
    }

    #[test]
    fn latencies_have_three_digits_and_a_unit() {
        let shown = [0.0, 0.5, 44.0, 248.4, 1200.0, 12_340.0, 1_234_567.0].map(latency);
        assert_eq!(shown, ["0 µs", "0.500 µs", "44.0 µs", "248 µs", "1,200 µs", "12.3 ms", "1,235 ms"]);
        assert_eq!(Unit::of(99_999.0).show(99_999.0), "99,999");
        assert_eq!(Unit::of(250_000.0).show(240.0), "0.240");
    }

    #[test]
    fn shares_do_not_round_to_all_or_nothing() {
        let shown = [0.0, 0.5, 1.0, 0.99, 0.1234567, 0.999999, 0.0000012].map(percent);
        assert_eq!(shown, ["0 %", "50 %", "100 %", "99 %", "12.35 %", "99.9999 %", "0.00012 %"]);
    }

    #[test]
    fn times_are_iso_8601() {
        let cases = [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (1_796_051_462_000, "2026-11-30T15:11:02Z"),
            (4_107_542_399_999, "2100-02-28T23:59:59Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00Z"),
        ];
        for (ms, shown) in cases {
            assert_eq!(iso8601(ms).as_deref(), Some(shown));
        }
        assert_eq!(iso8601(u64::MAX), None);
    }
}
