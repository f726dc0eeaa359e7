//! `--intrinsic-latency`: how long this machine keeps a busy program waiting, without any server.
//!
//! Invariant: nothing but the clock is read while it measures, so each pause is the system's.

use super::{Result, Setting, print};
use crate::output::Style;
use std::time::{Duration, Instant};

/// Runs between two looks at Ctrl-C.
const RUNS: u64 = 10_000;

/// Measures for `duration`, or until Ctrl-C.
pub fn run(duration: Duration, setting: &Setting<'_>) -> Result<bool> {
    let is_text = matches!(setting.style, Style::Pretty | Style::Raw | Style::Line | Style::Table);
    setting.signals.begin_stream();
    let start = Instant::now();
    let (mut runs, mut longest) = (0_u64, Duration::ZERO);
    let mut last = start;
    while last.duration_since(start) < duration && !setting.is_interrupted() {
        let before = longest;
        for _ in 0..RUNS {
            let now = Instant::now();
            longest = longest.max(now - last);
            last = now;
        }
        runs += RUNS;
        if is_text && longest > before {
            print(&format!("Max latency so far: {} microseconds.\n", longest.as_micros()))?;
            // Not what was measured.
            last = Instant::now();
        }
    }
    let average = start.elapsed().as_secs_f64() * 1e6 / (runs.max(1) as f64);
    let longest = longest.as_secs_f64() * 1e6;
    print(&match setting.style {
        Style::Json | Style::QuotedJson => {
            format!("{{\"max\":{longest:.3},\"avg\":{average:.4},\"runs\":{runs},\"unit\":\"microseconds\"}}\n")
        }
        Style::Csv => format!("{longest:.3},{average:.4},{runs}\n"),
        _ => format!(
            "\n{runs} total runs (avg latency: {average:.4} microseconds / {:.2} nanoseconds per run).\n\
             Worst run took {:.0}x longer than the average latency.\n",
            average * 1000.0,
            longest / average.max(f64::MIN_POSITIVE)
        ),
    })?;
    Ok(true)
}
