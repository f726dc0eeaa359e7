//! Times as a histogram of a few lines, and what they come to.
//!
//! Invariant: no line is wider than the terminal, nor are there more lines than it has.

use super::Result;
use hdrhistogram::Histogram;
use std::io;
use std::time::Duration;

/// The times of some requests.
#[derive(Debug)]
pub struct Times {
    /// In nanoseconds.
    histogram: Histogram<u64>,
}

impl Times {
    /// Returns no times.
    ///
    /// # Errors
    ///
    /// None: the bounds are those that a histogram may have.
    pub fn new() -> Result<Times> {
        let histogram = Histogram::new_with_bounds(1, NANOSECONDS_MAX, 3).map_err(io::Error::other)?;
        Ok(Times { histogram })
    }

    /// Adds a time.
    pub fn add(&mut self, time: Duration) {
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.histogram.saturating_record(nanoseconds.max(1));
    }

    /// Returns how many there are.
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// Forgets them.
    pub fn clear(&mut self) {
        self.histogram.reset();
    }

    /// Returns minimum, maximum, average, median and 99th percentile, in milliseconds.
    pub fn summary(&self) -> Summary {
        let ms = |nanoseconds: u64| nanoseconds as f64 / 1e6;
        let histogram = &self.histogram;
        Summary {
            min: ms(histogram.min()),
            max: ms(histogram.max()),
            average: histogram.mean() / 1e6,
            p50: ms(histogram.value_at_quantile(0.5)),
            p99: ms(histogram.value_at_quantile(0.99)),
            count: histogram.len(),
        }
    }

    /// Returns how many times lie above one bound and not above the next.
    pub fn count_between(&self, above: Duration, upto: Duration) -> u64 {
        let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.histogram.count_between(nanoseconds(above) + 1, nanoseconds(upto))
    }

    /// Returns the histogram: a line for each step of 1, 2, 5, 10, ... that times lie in.
    pub fn lines(&self, width: usize, height: usize) -> Vec<String> {
        let steps = steps();
        let mut counts: Vec<(Duration, u64)> = Vec::new();
        let mut below = Duration::ZERO;
        for step in steps {
            counts.push((step, self.count_between(below, step)));
            below = step;
        }
        let is_used = |(_, count): &(Duration, u64)| *count > 0;
        let (Some(first), Some(last)) = (counts.iter().position(is_used), counts.iter().rposition(is_used)) else {
            return Vec::new();
        };
        let mut shown = counts.get(first..=last).unwrap_or_default().to_vec();
        // The rare long times at the end are taken together.
        while shown.len() > height.max(1) {
            if let (Some((step, count)), Some(before)) = (shown.pop(), shown.last_mut()) {
                *before = (step, before.1 + count);
            }
        }
        let most = shown.iter().map(|(_, count)| *count).max().unwrap_or(1).max(1);
        let bar_width = width.saturating_sub(LABEL_WIDTH + SHARE_WIDTH + 2);
        let all = self.count().max(1);
        shown
            .iter()
            .map(|(step, count)| {
                let filled = (*count as usize * bar_width).div_ceil(most as usize).min(bar_width);
                let share = 100.0 * *count as f64 / all as f64;
                format!(
                    "{:>LABEL_WIDTH$} {}{} {share:>6.2}%",
                    label(*step),
                    "█".repeat(filled),
                    " ".repeat(bar_width - filled)
                )
            })
            .collect()
    }
}

/// What some times come to, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Summary {
    pub min: f64,
    pub max: f64,
    pub average: f64,
    pub p50: f64,
    pub p99: f64,
    pub count: u64,
}

const NANOSECONDS_MAX: u64 = 60_000_000_000;
/// `<= 500 us`.
const LABEL_WIDTH: usize = 9;
/// `100.00%`.
const SHARE_WIDTH: usize = 7;

/// Returns the ends of the steps: 10 us, 20 us, 50 us, ... 1 minute.
pub fn steps() -> Vec<Duration> {
    let mut steps: Vec<Duration> = (1..=7)
        .flat_map(|exponent| [1, 2, 5].map(|digit| Duration::from_micros(digit * 10_u64.pow(exponent))))
        .filter(|step| *step < Duration::from_nanos(NANOSECONDS_MAX))
        .collect();
    steps.push(Duration::from_nanos(NANOSECONDS_MAX));
    steps
}

/// Returns the name of a step.
fn label(step: Duration) -> String {
    let us = step.as_micros();
    match us {
        0..1_000 => format!("<= {us} us"),
        1_000..1_000_000 => format!("<= {} ms", us / 1_000),
        _ => format!("<= {} s", us / 1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use unicode_width::UnicodeWidthStr;

    #[test]
    fn the_histogram_fits_and_says_how_many_times_lie_where() {
        let mut times = Times::new().unwrap();
        assert!(times.lines(80, 10).is_empty());
        for us in [15, 15, 15, 90, 3_000] {
            times.add(Duration::from_micros(us));
        }
        let lines = times.lines(30, 10);
        assert_eq!(lines.first().unwrap(), " <= 20 us ████████████  60.00%");
        assert_eq!(lines.get(2).unwrap(), "<= 100 us ████          20.00%");
        assert!(lines.last().unwrap().starts_with("  <= 5 ms"), "{lines:?}");
        for width in 0..60 {
            for height in 0..12 {
                let lines = times.lines(width, height);
                assert!(lines.len() <= height.max(1));
                assert!(lines.iter().all(|line| line.width() <= width.max(LABEL_WIDTH + SHARE_WIDTH + 2)));
            }
        }
        let summary = times.summary();
        assert_eq!(summary.count, 5);
        assert!((summary.min - 0.015).abs() < 0.001 && (summary.p50 - 0.015).abs() < 0.001, "{summary:?}");
        assert!((summary.max - 3.0).abs() < 0.01 && (summary.average - 0.627).abs() < 0.01, "{summary:?}");
        times.add(Duration::from_secs(1000));
        assert!(times.lines(40, 3).last().unwrap().contains("<= 60 s"));
    }
}
