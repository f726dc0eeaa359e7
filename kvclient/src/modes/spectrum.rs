//! `--latency-dist`: how long PING takes, as a row of colours for each interval.
//!
//! Invariant: each column stands for the same times in every row, so that a change is seen as a change of colour.

use super::bars::{Times, steps};
use super::latency::{SAMPLE_EVERY, sample};
use super::{Result, Setting, note_summary, print};
use crate::output::terminal_width;
use std::env;
use std::fmt::Write;
use std::time::{Duration, Instant};

/// The time of a row.
const INTERVAL_DEFAULT: Duration = Duration::from_secs(1);
/// Rows between two legends.
const LEGEND_EVERY: u64 = 20;
/// From none to all of the samples, by the colour's number on a terminal of 256 colours.
const COLORS: [u8; 10] = [0, 17, 18, 19, 26, 32, 37, 42, 190, 196];
/// The same without colours.
const SHADES: [char; 10] = [' ', '.', ':', '-', '=', '+', '*', '#', '%', '@'];
/// The ends of steps that the legend names, where there is room for two columns a step, and for one.
const LEGENDS: [&str; 2] = ["10us  100us 1ms   10ms  100ms 1s    10s\n", ".01.1 1ms10 .1s1s 10s\n"];

/// Prints a row for each interval until Ctrl-C.
pub fn run(setting: &Setting<'_>) -> Result<bool> {
    let mut link = setting.connect()?;
    let interval = setting.interval.unwrap_or(INTERVAL_DEFAULT);
    let has_colors = setting.draws() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let is_wide = terminal_width().is_none_or(|width| width > 2 * steps().len());
    let mut times = Times::new()?;
    let mut start = Instant::now();
    let mut rows = 0;
    let mut samples = 0;
    while sample(&mut link, &mut times)? {
        samples += 1;
        if start.elapsed() >= interval {
            if rows % LEGEND_EVERY == 0 && (setting.draws() || rows == 0) {
                print(&legend(has_colors, is_wide))?;
            }
            print(&row(&times, has_colors, is_wide))?;
            rows += 1;
            times.clear();
            start = Instant::now();
        }
        if !setting.wait_until(Instant::now() + SAMPLE_EVERY) {
            break;
        }
    }
    note_summary(&format!("{samples} samples in {rows} rows"));
    Ok(true)
}

fn legend(has_colors: bool, is_wide: bool) -> String {
    let [wide, narrow] = LEGENDS;
    let mut text = if is_wide { wide } else { narrow }.to_owned();
    text.push_str("none ");
    for level in 0..COLORS.len() {
        push(level, has_colors, &mut text);
    }
    if has_colors {
        text.push_str("\x1b[0m");
    }
    text.push_str(" all of the samples\n");
    text
}

fn row(times: &Times, has_colors: bool, is_wide: bool) -> String {
    let mut text = String::new();
    let mut below = Duration::ZERO;
    for step in steps() {
        let count = times.count_between(below, step);
        below = step;
        // Any sample at all is seen.
        let level = (count as usize * (COLORS.len() - 1)).div_ceil(times.count().max(1) as usize);
        for _ in 0..if is_wide { 2 } else { 1 } {
            push(level.min(COLORS.len() - 1), has_colors, &mut text);
        }
    }
    if has_colors {
        text.push_str("\x1b[0m");
    } else {
        text.truncate(text.trim_end().len());
    }
    text.push('\n');
    text
}

fn push(level: usize, has_colors: bool, text: &mut String) {
    if has_colors {
        let _ = write!(text, "\x1b[48;5;{}m ", COLORS.get(level).copied().unwrap_or(0));
    } else {
        text.push(SHADES.get(level).copied().unwrap_or(' '));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_has_its_columns() {
        let mut times = Times::new().unwrap();
        for us in [8, 8, 8, 900] {
            times.add(Duration::from_micros(us));
        }
        assert_eq!(row(&times, false, true), format!("##{}--\n", " ".repeat(10)));
        assert!(row(&times, true, false).ends_with("\x1b[0m\n"));
        assert!(legend(false, true).contains("none  .:-=+*#%@ all"));
    }
}
