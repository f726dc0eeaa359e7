//! `--latency` and `--latency-history`: how long PING takes.
//!
//! Invariant: a time is that of one request on an otherwise idle connection, from before it is sent until its reply is read.

use super::bars::{Summary, Times};
use super::link::Link;
use super::{Result, Setting, checked, note_summary, print};
use crate::output::Style;
use std::fmt::Write;
use std::io;
use std::time::{Duration, Instant};
use terminal_size::terminal_size_of;

/// The time between two requests.
pub const SAMPLE_EVERY: Duration = Duration::from_millis(10);
/// How often the terminal is drawn.
const DRAW_EVERY: Duration = Duration::from_millis(100);
/// How long it measures where nobody looks on.
const DURATION_DEFAULT: Duration = Duration::from_secs(1);
/// The time of a row of the history.
const HISTORY_INTERVAL_DEFAULT: Duration = Duration::from_secs(15);

/// Measures until Ctrl-C on a terminal, for `-i` seconds or one second elsewhere, and prints the result.
pub fn run(setting: &Setting<'_>) -> Result<bool> {
    let mut link = setting.connect()?;
    let duration = setting.interval.or((!setting.draws()).then_some(DURATION_DEFAULT));
    let end = duration.map(|duration| Instant::now() + duration);
    let mut times = Times::new()?;
    let mut drawing = Drawing::default();
    let mut drawn = Instant::now();
    let is_over = || end.is_some_and(|end| Instant::now() >= end);
    while sample(&mut link, &mut times)? {
        if setting.draws() && drawn.elapsed() >= DRAW_EVERY {
            drawn = Instant::now();
            drawing.draw(&times)?;
        }
        if is_over() || !setting.wait_until(Instant::now() + SAMPLE_EVERY) || is_over() {
            break;
        }
    }
    if times.count() == 0 {
        note_summary("kvclient: no reply came");
        return Ok(false);
    }
    if setting.draws() {
        return drawing.draw(&times).map(|()| true);
    }
    print(&(line(&times.summary(), setting.style) + "\n"))?;
    Ok(true)
}

/// Prints a row for each interval until Ctrl-C.
pub fn run_history(setting: &Setting<'_>) -> Result<bool> {
    let mut link = setting.connect()?;
    let interval = setting.interval.unwrap_or(HISTORY_INTERVAL_DEFAULT);
    let mut times = Times::new()?;
    let mut start = Instant::now();
    let mut drawn = start;
    let row = |times: &Times, start: Instant| {
        let line = line(&times.summary(), setting.style);
        match setting.style {
            Style::Json | Style::QuotedJson | Style::Csv => line,
            Style::Raw => format!("{line} {:.2}", start.elapsed().as_secs_f64()),
            _ => format!("{line} -- {:.2} seconds range", start.elapsed().as_secs_f64()),
        }
    };
    while sample(&mut link, &mut times)? {
        if start.elapsed() >= interval {
            let clear = if setting.draws() { CLEAR_LINE } else { "" };
            print(&format!("{clear}{}\n", row(&times, start)))?;
            (times, start) = (Times::new()?, Instant::now());
        } else if setting.draws() && drawn.elapsed() >= DRAW_EVERY {
            drawn = Instant::now();
            let (width, _) = terminal();
            let line: String = row(&times, start).chars().take(width.saturating_sub(1)).collect();
            print(&format!("{CLEAR_LINE}{line}"))?;
        }
        if !setting.wait_until(Instant::now() + SAMPLE_EVERY) {
            break;
        }
    }
    if times.count() > 0 {
        let clear = if setting.draws() { CLEAR_LINE } else { "" };
        print(&format!("{clear}{}\n", row(&times, start)))?;
    }
    Ok(true)
}

/// Adds the time of one request; false after Ctrl-C.
pub fn sample(link: &mut Link<'_>, times: &mut Times) -> Result<bool> {
    let start = Instant::now();
    let Some(reply) = link.exchange_again(["PING"])? else { return Ok(false) };
    times.add(start.elapsed());
    checked("PING", reply).map(|_| true)
}

/// Returns what the times come to, on one line. The first four words of raw output and CSV are redis-cli's, in fractions of
/// milliseconds: minimum, maximum, average, number of samples; behind them stand median and 99th percentile.
fn line(summary: &Summary, style: Style) -> String {
    let Summary { min, max, average, p50, p99, count } = summary;
    match style {
        Style::Raw => format!("{min:.3} {max:.3} {average:.3} {count} {p50:.3} {p99:.3}"),
        Style::Csv => format!("{min:.3},{max:.3},{average:.3},{count},{p50:.3},{p99:.3}"),
        Style::Json | Style::QuotedJson => format!(
            "{{\"min\":{min:.3},\"max\":{max:.3},\"avg\":{average:.3},\"count\":{count},\"p50\":{p50:.3},\"p99\":{p99:.3}}}"
        ),
        Style::Pretty | Style::Line | Style::Table => format!(
            "min: {min:.3}, max: {max:.3}, avg: {average:.3}, p50: {p50:.3}, p99: {p99:.3} ms ({count} samples)"
        ),
    }
}

/// Goes to the first column and clears the line.
const CLEAR_LINE: &str = "\r\x1b[2K";

/// Returns the width and height of the terminal.
fn terminal() -> (usize, usize) {
    terminal_size_of(io::stdout()).map_or((80, 24), |(width, height)| (width.0.into(), height.0.into()))
}

/// What stands on the terminal.
#[derive(Debug, Default)]
struct Drawing {
    lines: usize,
}

impl Drawing {
    /// Draws the figures and the histogram over what was drawn before.
    fn draw(&mut self, times: &Times) -> Result<()> {
        print(&self.frame(times, terminal()))
    }

    /// Returns what draws them on a terminal of this width and height, and scrolls it only when it is drawn for the first time.
    fn frame(&mut self, times: &Times, (width, height): (usize, usize)) -> String {
        // A line that fills the last column may move the cursor to the next one.
        let width = width.saturating_sub(1);
        let Summary { min, max, average, p50, p99, count } = times.summary();
        let mut lines = vec![
            format!("min {min:.3}  avg {average:.3}  max {max:.3} ms"),
            format!("p50 {p50:.3}  p99 {p99:.3} ms  ({count} samples)"),
        ];
        lines.extend(times.lines(width.min(100), height.saturating_sub(lines.len() + 2)));
        // The cursor stands below them.
        lines.truncate(height.saturating_sub(1));
        let mut text = String::new();
        if self.lines > 0 {
            let _ = write!(text, "\x1b[{}A", self.lines);
        }
        // A terminal may keep what is cleared from its first row on, as if it had been scrolled away.
        text.push('\r');
        for line in &lines {
            text.extend(line.chars().take(width));
            text.push_str("\x1b[K\n");
        }
        text.push_str("\x1b[J");
        self.lines = lines.len();
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_drawn_in_place() {
        let mut times = Times::new().unwrap();
        for us in [15, 150, 1_500, 15_000] {
            times.add(Duration::from_micros(us));
        }
        for height in 1..20 {
            let mut drawing = Drawing::default();
            drawing.frame(&times, (40, height));
            let text = drawing.frame(&times, (40, height));
            let lines = text.matches('\n').count();
            // The cursor goes up as far as it came down, which leaves the row below for it.
            assert!(lines < height.max(1), "{height}: {text:?}");
            assert_eq!(text.starts_with(&format!("\x1b[{lines}A")), lines > 0, "{text:?}");
            // Nothing is cleared that is drawn again.
            assert_eq!(text.find("\x1b[J"), Some(text.len() - 3), "{text:?}");
        }
    }

    #[test]
    fn scripts_find_redis_clis_fields_first() {
        let summary = Summary { min: 0.01, max: 2.0, average: 0.5, p50: 0.4, p99: 1.9, count: 7 };
        assert_eq!(line(&summary, Style::Raw), "0.010 2.000 0.500 7 0.400 1.900");
        assert_eq!(line(&summary, Style::Csv), "0.010,2.000,0.500,7,0.400,1.900");
        assert_eq!(
            line(&summary, Style::Json),
            r#"{"min":0.010,"max":2.000,"avg":0.500,"count":7,"p50":0.400,"p99":1.900}"#
        );
        assert_eq!(
            line(&summary, Style::Pretty),
            "min: 0.010, max: 2.000, avg: 0.500, p50: 0.400, p99: 1.900 ms (7 samples)"
        );
    }
}
