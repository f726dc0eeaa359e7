//! What values a parameter takes, and how they are written: numbers, amounts of memory, yes and no, words.
//!
//! Invariant: what [`Kind::normalize`] lets through is in range and written the one way CONFIG GET shows it.

use std::fmt;

/// The values of a parameter.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// `yes` or `no`.
    Bool,
    /// A whole number from the first to the second.
    Integer(i64, i64),
    /// Bytes, at least the first and at most the second; units such as `kb` and `mb` are understood.
    Memory(u64, u64),
    /// Bytes, or a percentage up to 100.
    MemoryOrPercent,
    /// One of these words.
    Word(&'static [&'static str]),
    /// Several of these words, parted by blanks.
    Words(&'static [&'static str]),
    /// Exactly `count` whole numbers from `min` to `max`, parted by blanks.
    Integers {
        /// How many.
        count: usize,
        /// The smallest.
        min: i64,
        /// The largest.
        max: i64,
    },
    /// Any number of percentages with fractions, parted by blanks.
    Percentiles,
    /// Any text.
    Text,
}

impl Kind {
    /// Returns whether a value is a list, whose elements stand as words of their own in a configuration file.
    pub fn is_list(self) -> bool {
        matches!(self, Kind::Words(_) | Kind::Integers { .. } | Kind::Percentiles)
    }

    /// Returns the value as it is kept and shown.
    ///
    /// # Errors
    /// Says why the text is no such value, in Redis' words.
    pub fn normalize(self, text: &str) -> Result<String, String> {
        match self {
            Kind::Bool => match text.to_ascii_lowercase().as_str() {
                yes_or_no @ ("yes" | "no") => Ok(yes_or_no.to_owned()),
                _ => Err("argument must be 'yes' or 'no'".to_owned()),
            },
            Kind::Integer(min, max) => match kvproto::parse_integer(text.as_bytes()) {
                Some(number) if (min..=max).contains(&number) => Ok(number.to_string()),
                Some(_) => Err(outside(min, max)),
                None => Err("argument couldn't be parsed into an integer".to_owned()),
            },
            Kind::Memory(min, max) => match memory(text) {
                Some(bytes) if (min..=max).contains(&bytes) => Ok(bytes.to_string()),
                Some(_) => Err(outside(min, max)),
                None => Err("argument must be a memory value".to_owned()),
            },
            Kind::MemoryOrPercent => match (memory(text), percent(text)) {
                (Some(bytes), _) if i64::try_from(bytes).is_ok() => Ok(bytes.to_string()),
                (None, Some(0..=100)) => Ok(text.to_owned()),
                (None, Some(_)) => Err("percentage argument must be less or equal to 100".to_owned()),
                _ => Err("argument must be a memory or percent value".to_owned()),
            },
            Kind::Word(words) => match words.iter().find(|word| word.eq_ignore_ascii_case(text)) {
                Some(word) => Ok((*word).to_owned()),
                None => Err(none_of(words)),
            },
            Kind::Words(words) => {
                let own = |word| words.iter().find(|own| own.eq_ignore_ascii_case(word)).copied();
                let found: Option<Vec<&str>> = text.split_whitespace().map(own).collect();
                found.filter(|found| !found.is_empty()).map(|found| found.join(" ")).ok_or_else(|| none_of(words))
            }
            Kind::Integers { count, min, max } => {
                let numbers: Vec<Option<i64>> = text
                    .split_whitespace()
                    .map(|word| kvproto::parse_integer(word.as_bytes()).filter(|number| (min..=max).contains(number)))
                    .collect();
                if numbers.len() != count {
                    return Err("wrong number of arguments".to_owned());
                }
                let numbers: Option<Vec<String>> =
                    numbers.into_iter().map(|number| number.map(|number| number.to_string())).collect();
                numbers
                    .map(|numbers| numbers.join(" "))
                    .ok_or_else(|| format!("elements must be between {min} and {max}."))
            }
            Kind::Percentiles => {
                let numbers = percentiles(text).ok_or("Invalid latency-tracking-info-percentiles parameters")?;
                if numbers.iter().any(|number| !(0.0..=100.0).contains(number)) {
                    return Err(
                        "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]".to_owned()
                    );
                }
                Ok(show_percentiles(&numbers))
            }
            Kind::Text => Ok(text.to_owned()),
        }
    }
}

/// As the documentation names the values.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Bool => f.write_str("`yes`, `no`"),
            Kind::Integer(min, i64::MAX | 0x7fff_ffff) => write!(f, "a number from {min}"),
            Kind::Integer(min, max) => write!(f, "a number from {min} to {max}"),
            Kind::Memory(..) => f.write_str("bytes, as in `1024`, `1kb`, `2gb`"),
            Kind::MemoryOrPercent => f.write_str("bytes, or a percentage of `maxmemory`"),
            Kind::Word(words) => write!(f, "`{}`", words.join("`, `")),
            Kind::Words(words) => write!(f, "some of `{}`", words.join("`, `")),
            Kind::Integers { count, .. } => write!(f, "{count} numbers"),
            Kind::Percentiles => f.write_str("percentages"),
            Kind::Text => f.write_str("text"),
        }
    }
}

fn outside(min: impl std::fmt::Display, max: impl std::fmt::Display) -> String {
    format!("argument must be between {min} and {max} inclusive")
}

/// Reads bytes written as `1024`, `1k` (a thousand), `1kb` (1024) and so on up to `g` and `gb`.
pub fn memory(text: &str) -> Option<u64> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let unit = match text.get(digits..)?.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" => 1000,
        "kb" => 1024,
        "m" => 1000 * 1000,
        "mb" => 1024 * 1024,
        "g" => 1000 * 1000 * 1000,
        "gb" => 1024 * 1024 * 1024,
        _ => return None,
    };
    text[..digits].parse::<u64>().ok()?.checked_mul(unit)
}

fn none_of(words: &[&str]) -> String {
    format!("argument(s) must be one of the following: {}", words.join(", "))
}

/// Reads numbers that are parted by blanks.
pub fn percentiles(text: &str) -> Option<Vec<f64>> {
    text.split_whitespace().map(|word| word.parse().ok()).collect()
}

/// Writes numbers as [`percentiles`] reads them, with six digits behind the point at most.
pub fn show_percentiles(numbers: &[f64]) -> String {
    let shown: Vec<String> = numbers.iter().map(|number| show_percentile(*number)).collect();
    shown.join(" ")
}

/// Writes `99.9` for 99.9 and `50` for 50.
pub fn show_percentile(number: f64) -> String {
    let text = format!("{number:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn percent(text: &str) -> Option<i64> {
    kvproto::parse_integer(text.strip_suffix('%')?.as_bytes()).filter(|percent| *percent >= 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_of_memory_have_units_of_thousands_and_of_1024() {
        let read = |text| memory(text);
        assert_eq!(read("0"), Some(0));
        assert_eq!(read("10b"), Some(10));
        assert_eq!(read("1K"), Some(1000));
        assert_eq!(read("1kb"), Some(1024));
        assert_eq!(read("3Mb"), Some(3 << 20));
        assert_eq!(read("2g"), Some(2_000_000_000));
        assert_eq!(read("2GB"), Some(2 << 30));
        for wrong in ["", "-1", "1tb", "mb", "1.5gb", " 1", "1 mb", "99999999999999999999", "18446744073709551615kb"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn values_out_of_range_or_of_another_kind_are_refused_in_redis_words() {
        let refused = |kind: Kind, text: &str| kind.normalize(text).unwrap_err();
        assert_eq!(refused(Kind::Bool, "1"), "argument must be 'yes' or 'no'");
        assert_eq!(refused(Kind::Integer(-1, 9), "x"), "argument couldn't be parsed into an integer");
        assert_eq!(refused(Kind::Integer(-1, 9), "10"), "argument must be between -1 and 9 inclusive");
        assert_eq!(refused(Kind::Memory(1024, 4096), "5kb"), "argument must be between 1024 and 4096 inclusive");
        assert_eq!(refused(Kind::Memory(0, 9), "x"), "argument must be a memory value");
        assert_eq!(refused(Kind::MemoryOrPercent, "200%"), "percentage argument must be less or equal to 100");
        assert_eq!(refused(Kind::MemoryOrPercent, "x"), "argument must be a memory or percent value");
        assert_eq!(refused(Kind::Word(&["a", "b"]), "c"), "argument(s) must be one of the following: a, b");
        for words in ["c", "a c", ""] {
            assert_eq!(refused(Kind::Words(&["a", "b"]), words), "argument(s) must be one of the following: a, b");
        }
        let three = Kind::Integers { count: 3, min: -2000, max: 2000 };
        assert_eq!(refused(three, "1 2"), "wrong number of arguments");
        assert_eq!(refused(three, "1 2 2001"), "elements must be between -2000 and 2000.");
        assert_eq!(refused(Kind::Percentiles, "50 x"), "Invalid latency-tracking-info-percentiles parameters");
        let outside = "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]";
        for words in ["101", "-1", "nan", "inf"] {
            assert_eq!(refused(Kind::Percentiles, words), outside);
        }
    }

    #[test]
    fn a_value_is_shown_one_way_however_it_was_written() {
        let shown = |kind: Kind, text: &str| kind.normalize(text).unwrap();
        assert_eq!(shown(Kind::Bool, "YES"), "yes");
        assert_eq!(shown(Kind::Memory(0, u64::MAX), "1kb"), "1024");
        assert_eq!(shown(Kind::MemoryOrPercent, "5%"), "5%");
        assert_eq!(shown(Kind::Word(&["noeviction"]), "NoEviction"), "noeviction");
        assert_eq!(shown(Kind::Words(&["now", "save"]), " SAVE  now"), "save now");
        assert_eq!(shown(Kind::Integers { count: 3, min: -2000, max: 2000 }, "0 200  800"), "0 200 800");
        assert_eq!(shown(Kind::Percentiles, "50.0 99 99.90 0"), "50 99 99.9 0");
        assert_eq!(shown(Kind::Percentiles, ""), "");
    }
}
