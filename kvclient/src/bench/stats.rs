//! What is counted: for each operation a latency histogram, hits, misses and errors; and the same over time.
//!
//! Invariant: hits + misses + errors of a reading operation are its requests; merging the statistics of several threads
//! gives what one thread would have counted. Times are nanoseconds.

use crate::bench::json;
use crate::bench::replies::ReplyKind;
use hdrhistogram::Histogram;
use kvclient::format::write_visible_line;
use std::collections::BTreeMap;
use std::time::Duration;

/// The longest latency that is recorded, an hour: longer ones count as this.
const LATENCY_NS_MAX: u64 = 3_600_000_000_000;
/// Decimal digits that latencies keep.
const LATENCY_DIGITS: u8 = 3;
/// The same of one interval: there may be many of them.
const INTERVAL_LATENCY_NS_MAX: u64 = 60_000_000_000;
const INTERVAL_LATENCY_DIGITS: u8 = 2;
/// Kinds of errors that are counted separately, and how much of their text is kept.
const ERROR_KINDS_MAX: usize = 16;
const ERROR_BYTES_MAX: usize = 100;
const OTHER_ERRORS: &str = "other errors";
/// Intervals of a series: the length of the first ones, and how many there may be before two become one.
pub const INTERVAL_NS_MIN: u64 = 100_000_000;
const INTERVALS_MAX: usize = 600;

/// The histogram cannot be made: its bounds are constants, so that does not happen.
pub type Result<T> = std::result::Result<T, hdrhistogram::CreationError>;

/// The requests of one operation.
#[derive(Clone, Debug)]
pub struct OperationStats {
    latency: Histogram<u64>,
    hits: u64,
    misses: u64,
    errors: BTreeMap<String, u64>,
    /// Requests that got no reply; they are among the errors.
    unanswered: u64,
}

impl OperationStats {
    /// Returns statistics of no request.
    pub fn new() -> Result<OperationStats> {
        let latency = Histogram::new_with_bounds(1, LATENCY_NS_MAX, LATENCY_DIGITS)?;
        Ok(OperationStats { latency, hits: 0, misses: 0, errors: BTreeMap::new(), unanswered: 0 })
    }

    /// Counts a reply. `text` is that of an error; `reads`: whether values and nils are hits and misses.
    pub fn record(&mut self, kind: ReplyKind, text: &[u8], reads: bool, latency_ns: u64) {
        self.latency.saturating_record(latency_ns);
        match kind {
            ReplyKind::Error => self.add_error(text, 1),
            ReplyKind::Value | ReplyKind::Other if reads => self.hits += 1,
            ReplyKind::Nil if reads => self.misses += 1,
            _ => {}
        }
    }

    /// Counts a request whose reply did not come.
    pub fn record_unanswered(&mut self, why: &str) {
        self.unanswered += 1;
        self.add_error(why.as_bytes(), 1);
    }

    fn add_error(&mut self, text: &[u8], count: u64) {
        let mut visible = Vec::new();
        write_visible_line(text.get(..ERROR_BYTES_MAX).unwrap_or(text), &mut visible);
        let kind = String::from_utf8_lossy(&visible);
        if self.errors.len() >= ERROR_KINDS_MAX && !self.errors.contains_key(kind.as_ref()) {
            *self.errors.entry(OTHER_ERRORS.to_owned()).or_default() += count;
        } else {
            *self.errors.entry(kind.into_owned()).or_default() += count;
        }
    }

    /// Adds what another thread or operation has counted.
    pub fn merge(&mut self, other: &OperationStats) {
        // Both have the same bounds.
        let _ = self.latency.add(&other.latency);
        self.hits += other.hits;
        self.misses += other.misses;
        self.unanswered += other.unanswered;
        for (kind, count) in &other.errors {
            self.add_error(kind.as_bytes(), *count);
        }
    }

    /// Returns the summary for the report.
    pub fn summary(&self, elapsed: Duration) -> json::Summary {
        let count = self.latency.len() + self.unanswered;
        let lookups = self.hits + self.misses;
        json::Summary {
            count,
            hits: self.hits,
            misses: self.misses,
            hit_rate: (lookups > 0).then(|| self.hits as f64 / lookups as f64),
            errors: self.errors.values().sum(),
            errors_by_kind: self.errors.clone(),
            requests_per_second: if elapsed.is_zero() { 0.0 } else { count as f64 / elapsed.as_secs_f64() },
            latency_us: (!self.latency.is_empty()).then(|| latency(&self.latency)),
            percentiles: percentiles(&self.latency),
        }
    }
}

fn us(ns: f64) -> f64 {
    // Nothing below a nanosecond was measured.
    ns.round() / 1000.0
}

fn latency(histogram: &Histogram<u64>) -> json::Latency {
    let at = |quantile| us(histogram.value_at_quantile(quantile).min(histogram.max()) as f64);
    json::Latency {
        min: us(histogram.min() as f64),
        mean: us(histogram.mean()),
        stddev: us(histogram.stdev()),
        p50: at(0.5),
        p90: at(0.9),
        p95: at(0.95),
        p99: at(0.99),
        p99_9: at(0.999),
        max: us(histogram.max() as f64),
    }
}

/// The points of the curve between two halvings of the distance to 100 %.
const POINTS_PER_HALF: u32 = 5;

/// Returns the percentile curve, each point once.
fn percentiles(histogram: &Histogram<u64>) -> Vec<json::PercentilePoint> {
    let mut points: Vec<json::PercentilePoint> = Vec::new();
    if histogram.is_empty() {
        return points;
    }
    let mut add = |percentile: f64, ns: u64| {
        if points.last().is_none_or(|last| last.percentile < percentile) {
            points.push(json::PercentilePoint { percentile, latency_us: us(ns as f64) });
        }
    };
    add(0.0, histogram.min());
    for value in histogram.iter_quantiles(POINTS_PER_HALF) {
        // The quantiles of the iteration: the last ones all belong to the maximum.
        let percentile = value.quantile_iterated_to() * 100.0;
        if percentile < 100.0 {
            add(percentile, value.value_iterated_to().clamp(histogram.min(), histogram.max()));
        }
    }
    add(100.0, histogram.max());
    points
}

/// What happened in an interval.
#[derive(Clone, Debug, Default)]
pub struct Interval {
    pub requests: u64,
    pub errors: u64,
    latency_sum_ns: u128,
    /// `None` as long as there was no reply.
    latency: Option<Histogram<u32>>,
}

impl Interval {
    /// Counts a reply.
    pub fn record(&mut self, is_error: bool, latency_ns: u64) {
        self.requests += 1;
        self.errors += u64::from(is_error);
        self.latency_sum_ns += u128::from(latency_ns);
        if self.latency.is_none() {
            self.latency = Histogram::new_with_bounds(1, INTERVAL_LATENCY_NS_MAX, INTERVAL_LATENCY_DIGITS).ok();
        }
        if let Some(latency) = &mut self.latency {
            latency.saturating_record(latency_ns);
        }
    }

    /// Counts a request whose reply did not come.
    pub fn record_unanswered(&mut self) {
        self.requests += 1;
        self.errors += 1;
    }

    /// Counts from zero again; what was allocated stays.
    pub fn clear(&mut self) {
        (self.requests, self.errors, self.latency_sum_ns) = (0, 0, 0);
        if let Some(latency) = &mut self.latency {
            latency.reset();
        }
    }

    /// Adds what happened in another one.
    pub fn merge(&mut self, other: &Interval) {
        if other.requests == 0 {
            return;
        }
        self.requests += other.requests;
        self.errors += other.errors;
        self.latency_sum_ns += other.latency_sum_ns;
        match (&mut self.latency, &other.latency) {
            (Some(latency), Some(other)) => {
                let _ = latency.add(other);
            }
            (None, other) => self.latency.clone_from(other),
            (Some(_), None) => {}
        }
    }

    /// Returns a percentile of the latencies, in microseconds; `None` if there was no reply.
    pub fn latency_us(&self, quantile: f64) -> Option<f64> {
        let latency = self.latency.as_ref().filter(|latency| !latency.is_empty())?;
        Some(us(latency.value_at_quantile(quantile).min(latency.max()) as f64))
    }

    fn mean_us(&self) -> Option<f64> {
        let replies = self.latency.as_ref()?.len();
        (replies > 0).then(|| us(self.latency_sum_ns as f64 / replies as f64))
    }
}

/// What happened over time, in intervals that double in length when there are too many. All threads share one: each
/// counts in an [`Interval`] of its own and adds that when [`INTERVAL_NS_MIN`] is over, so that threads take little memory.
#[derive(Clone, Debug)]
pub struct Series {
    interval_ns: u64,
    intervals: Vec<Interval>,
}

impl Series {
    /// Returns a series without any interval.
    pub fn new() -> Series {
        Series { interval_ns: INTERVAL_NS_MIN, intervals: Vec::new() }
    }

    /// Adds what happened in the [`INTERVAL_NS_MIN`] that `at_ns` lies in.
    pub fn add(&mut self, at_ns: u64, interval: &Interval) {
        loop {
            let index = usize::try_from(at_ns / self.interval_ns).unwrap_or(usize::MAX);
            if index >= INTERVALS_MAX {
                self.double();
                continue;
            }
            if index >= self.intervals.len() {
                self.intervals.resize_with(index + 1, Interval::default);
            }
            if let Some(sum) = self.intervals.get_mut(index) {
                sum.merge(interval);
            }
            return;
        }
    }

    /// Makes one interval of every two.
    fn double(&mut self) {
        self.interval_ns *= 2;
        let mut halves = std::mem::take(&mut self.intervals).into_iter();
        while let Some(mut interval) = halves.next() {
            if let Some(second) = halves.next() {
                interval.merge(&second);
            }
            self.intervals.push(interval);
        }
    }

    /// Returns the series for the report.
    pub fn report(&self) -> json::Series {
        let interval_ms = self.interval_ns / 1_000_000;
        let point = |(interval, t_ms): (&Interval, u64)| json::SeriesPoint {
            t_ms,
            requests: interval.requests,
            errors: interval.errors,
            mean_us: interval.mean_us(),
            p50_us: interval.latency_us(0.5),
            p99_us: interval.latency_us(0.99),
        };
        let begins = (0..).map(|index| index * interval_ms);
        json::Series { interval_ms, points: self.intervals.iter().zip(begins).map(point).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_summed_up() {
        let mut stats = OperationStats::new().unwrap();
        for micros in 1..=1000 {
            stats.record(ReplyKind::Value, b"", true, micros * 1000);
        }
        stats.record(ReplyKind::Nil, b"", true, 1_000_000);
        stats.record(ReplyKind::Error, b"ERR a\x1b", true, 1_000_000);
        stats.record_unanswered("the connection was closed");
        let summary = stats.summary(Duration::from_secs(2));
        assert_eq!((summary.count, summary.hits, summary.misses, summary.errors), (1003, 1000, 1, 2));
        assert_eq!(summary.requests_per_second, 501.5);
        assert!((summary.hit_rate.unwrap() - 1000.0 / 1001.0).abs() < 1e-9);
        assert_eq!(summary.errors_by_kind.keys().collect::<Vec<_>>(), ["ERR a\\x1b", "the connection was closed"]);
        let latency = summary.latency_us.unwrap();
        for (found, expected) in [
            (latency.min, 1.0),
            (latency.mean, 501.5),
            (latency.p50, 501.0),
            (latency.p90, 902.0),
            (latency.p99, 992.0),
            (latency.max, 1000.0),
        ] {
            assert!((found - expected).abs() <= expected / 500.0, "{found} {expected}");
        }
    }

    #[test]
    fn a_curve_ascends_from_the_least_to_the_greatest() {
        let mut stats = OperationStats::new().unwrap();
        assert!(stats.summary(Duration::ZERO).percentiles.is_empty());
        assert!(stats.summary(Duration::ZERO).latency_us.is_none());
        let mut rng = fastrand::Rng::with_seed(3);
        for _ in 0..10_000 {
            stats.record(ReplyKind::Other, b"", false, rng.u64(1_000..10_000_000));
        }
        let summary = stats.summary(Duration::from_secs(1));
        let curve = &summary.percentiles;
        assert!(curve.len() > 20 && curve.len() < 200, "{}", curve.len());
        for pair in curve.windows(2) {
            assert!(pair[0].percentile < pair[1].percentile && pair[0].latency_us <= pair[1].latency_us, "{pair:?}");
        }
        let latency = summary.latency_us.unwrap();
        assert_eq!((curve[0].percentile, curve[0].latency_us), (0.0, latency.min));
        let last = curve.last().unwrap();
        assert_eq!((last.percentile, last.latency_us), (100.0, latency.max));
        // What is no lookup has neither hits nor misses.
        assert_eq!((summary.hits, summary.misses, summary.hit_rate), (0, 0, None));
    }

    #[test]
    fn kinds_of_errors_are_bounded() {
        let mut stats = OperationStats::new().unwrap();
        for number in 0..100 {
            stats.record(ReplyKind::Error, format!("ERR {number}").as_bytes(), false, 1);
        }
        let mut other = stats.clone();
        other.merge(&stats);
        let summary = other.summary(Duration::from_secs(1));
        assert_eq!((summary.errors, summary.count), (200, 200));
        assert!(summary.errors_by_kind.len() <= ERROR_KINDS_MAX + 1);
        assert_eq!(summary.errors_by_kind[OTHER_ERRORS], 2 * (100 - ERROR_KINDS_MAX as u64));
    }

    /// An interval of one request.
    fn interval(is_error: bool, latency_ns: u64) -> Interval {
        let mut interval = Interval::default();
        interval.record(is_error, latency_ns);
        interval
    }

    #[test]
    fn a_series_is_bounded_and_loses_nothing() {
        let mut series = Series::new();
        let mut requests = 0;
        for step in 0..5_000 {
            series.add(step * 70_000_000, &interval(step % 10 == 0, 1_000_000));
            requests += 1;
        }
        let report = series.report();
        assert!(report.points.len() <= INTERVALS_MAX);
        assert_eq!(report.interval_ms, 800);
        assert_eq!(report.points.iter().map(|point| point.requests).sum::<u64>(), requests);
        assert_eq!(report.points.iter().map(|point| point.errors).sum::<u64>(), 500);
        assert_eq!(report.points[2].t_ms, 1600);
        assert_eq!(report.points[0].mean_us, Some(1000.0));
    }

    #[test]
    fn intervals_of_threads_are_merged_by_time() {
        let mut unanswered = Interval::default();
        unanswered.record_unanswered();
        let parts =
            [(120_000_000_000, interval(false, 1_000)), (0, interval(true, 3_000)), (350_000_000, unanswered.clone())];
        for order in [[0, 1, 2], [1, 2, 0], [2, 0, 1]] {
            let mut series = Series::new();
            for part in order {
                let (at, interval) = &parts[part];
                series.add(*at, interval);
            }
            // A thread that was idle adds its interval, too.
            series.add(120_700_000_000, &Interval::default());
            let report = series.report();
            assert_eq!((report.interval_ms, report.points.len()), (400, 302));
            assert_eq!((report.points[0].requests, report.points[0].errors), (2, 2));
            assert_eq!(report.points[300].requests, 1);
            assert_eq!((report.points[301].requests, report.points[1].p50_us), (0, None));
        }
    }

    #[test]
    fn an_interval_that_is_cleared_counts_from_zero() {
        let mut cleared = interval(true, 5_000);
        cleared.clear();
        assert_eq!((cleared.requests, cleared.errors, cleared.latency_us(0.5), cleared.mean_us()), (0, 0, None, None));
        cleared.record_unanswered();
        assert_eq!((cleared.requests, cleared.errors, cleared.latency_us(0.5)), (1, 1, None));
        cleared.record(false, 1_000);
        assert_eq!(cleared.mean_us(), Some(1.0));
    }
}
