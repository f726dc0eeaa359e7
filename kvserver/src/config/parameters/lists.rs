//! The two parameters whose values are lists: when snapshots are due, and how much clients may leave unread.
//!
//! Invariant: what is shown reads back as the same.

use std::fmt::Write as _;
use std::time::Duration;

use crate::state::runtime_config::OutputLimits;
use crate::state::server_config::{OutputLimit, SavePoint};
use kvconfig::value::memory;

/// `normal 0 0 0 slave 0 0 0 pubsub 33554432 8388608 60`
pub(crate) fn show_output_limits(output: &OutputLimits) -> String {
    let mut text = String::new();
    for (class, limit) in [("normal", output.normal), ("slave", output.replica), ("pubsub", output.subscriber)] {
        let (hard, soft, seconds) = (limit.hard_bytes, limit.soft_bytes, limit.soft_for.as_secs());
        // Writing to a String cannot fail.
        let _ = write!(text, "{}{class} {hard} {soft} {seconds}", if text.is_empty() { "" } else { " " });
    }
    text
}

/// `class hard soft seconds`, as often as wanted; other classes stay as they are.
pub(crate) fn output_limits(mut output: OutputLimits, value: &str) -> Result<OutputLimits, String> {
    let words: Vec<&str> = value.split_whitespace().collect();
    if words.is_empty() || !words.len().is_multiple_of(4) {
        return Err("Wrong number of arguments in buffer limit configuration.".to_owned());
    }
    for group in words.chunks_exact(4) {
        let class = match group[0].to_ascii_lowercase().as_str() {
            "normal" => &mut output.normal,
            "slave" | "replica" => &mut output.replica,
            "pubsub" => &mut output.subscriber,
            _ => return Err("Invalid client class specified in buffer limit configuration.".to_owned()),
        };
        let bytes = |word: &str| memory(word).and_then(|bytes| usize::try_from(bytes).ok());
        let seconds = group[3].parse::<u32>().ok();
        let (Some(hard_bytes), Some(soft_bytes), Some(seconds)) = (bytes(group[1]), bytes(group[2]), seconds) else {
            return Err("Error in hard, soft or soft_seconds setting in buffer limit configuration.".to_owned());
        };
        *class = OutputLimit { hard_bytes, soft_bytes, soft_for: Duration::from_secs(seconds.into()) };
    }
    Ok(output)
}

/// `900 1 300 100`
pub(crate) fn show_save_points(points: &[SavePoint]) -> String {
    let pairs: Vec<String> =
        points.iter().map(|point| format!("{} {}", point.after.as_secs(), point.changes)).collect();
    pairs.join(" ")
}

/// Pairs of seconds and changes; none for no snapshot by time.
pub(crate) fn save_points(value: &str) -> Result<Vec<SavePoint>, String> {
    let numbers: Option<Vec<u32>> = value.split_whitespace().map(|word| word.parse().ok()).collect();
    let wrong = || "Invalid save parameters".to_owned();
    let numbers = numbers.filter(|numbers| numbers.len().is_multiple_of(2)).ok_or_else(wrong)?;
    let points: Vec<SavePoint> = numbers
        .chunks_exact(2)
        .map(|pair| SavePoint { after: Duration::from_secs(pair[0].into()), changes: pair[1].into() })
        .collect();
    if points.iter().any(|point| point.after.is_zero()) { Err(wrong()) } else { Ok(points) }
}
