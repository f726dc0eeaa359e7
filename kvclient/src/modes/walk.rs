//! All keys of a database, a page at a time.
//!
//! Invariant: the walk ends when the server's cursor is 0 again, or on Ctrl-C; keys that were there all the time are seen
//! at least once.

use super::flags::ModeFlags;
use super::link::Link;
use super::{Failure, Result, Setting, bytes_of, is_unknown_command, note, note_summary, senseless};
use crate::output::Style;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use kvclient::Reply;
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

/// How many keys a page should have, unless a flag says so.
const COUNT_DEFAULT: u64 = 1000;
/// How often progress is drawn.
const DRAW_EVERY: Duration = Duration::from_millis(100);

/// Where a walk is.
#[derive(Debug)]
pub struct Scan<'s> {
    setting: &'s Setting<'s>,
    cursor: Option<Vec<u8>>,
    /// The words behind the cursor.
    options: Vec<Vec<u8>>,
    is_first: bool,
    /// The page behind which there is none was looked at.
    is_complete: bool,
    /// Keys that came so far.
    pub keys: u64,
    /// Keys there were in the beginning.
    total: u64,
    bar: Option<ProgressBar>,
    drawn: Instant,
}

impl<'s> Scan<'s> {
    /// Begins at the first key; `shows` says whether progress is shown, on a terminal.
    pub fn begin(link: &mut Link<'_>, flags: &ModeFlags, setting: &'s Setting<'s>, shows: bool) -> Result<Scan<'s>> {
        let mut options = Vec::new();
        let mut add = |name: &str, value: Vec<u8>| options.extend([name.as_bytes().to_vec(), value]);
        if let Some(pattern) = flags.pattern().map_err(Failure::Unsupported)? {
            add("MATCH", pattern);
        }
        add("COUNT", flags.count.unwrap_or(COUNT_DEFAULT).to_string().into_bytes());
        if let Some(kind) = &flags.kind {
            add("TYPE", kind.clone().into_bytes());
        }
        // Redis 7.2 and kv have it; elsewhere a key is used by being looked at.
        link.exchange(["CLIENT", "NO-TOUCH", "ON"])?;
        let total = match link.exchange(["DBSIZE"])? {
            Some(Reply::Integer(keys)) => u64::try_from(keys).unwrap_or(0),
            _ => 0,
        };
        let shows = shows && io::stderr().is_terminal() && setting.style == Style::Pretty;
        let bar = shows.then(|| {
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template("{bar:20} {percent:>3}% {wide_msg}") {
                bar.set_style(style);
            }
            bar
        });
        let cursor = flags.cursor.clone().map_or_else(|| b"0".to_vec(), String::into_bytes);
        Ok(Scan {
            setting,
            cursor: Some(cursor),
            options,
            is_first: true,
            is_complete: false,
            keys: 0,
            total,
            bar,
            drawn: Instant::now(),
        })
    }

    /// Returns the next page; `None` at the end, or after Ctrl-C.
    pub fn next(&mut self, link: &mut Link<'_>) -> Result<Option<Vec<Vec<u8>>>> {
        let Some(cursor) = self.cursor.clone() else {
            self.is_complete = true;
            return Ok(None);
        };
        if let (Some(interval), false) = (self.setting.interval, self.is_first)
            && !self.setting.wait_until(Instant::now() + interval)
        {
            return Ok(None);
        }
        self.is_first = false;
        let words: Vec<&[u8]> =
            [&b"SCAN"[..], &cursor].into_iter().chain(self.options.iter().map(Vec::as_slice)).collect();
        let (next, keys) = match link.exchange(words)? {
            None => return Ok(None),
            Some(Reply::Error(text)) if is_unknown_command(&text) => {
                return Err(Failure::Unsupported("the server has no SCAN command".to_owned()));
            }
            Some(Reply::Error(text)) => return Err(Failure::Reply { command: "SCAN", text: text.to_string() }),
            Some(Reply::Array(parts)) => match <[Reply; 2]>::try_from(parts) {
                Ok([next, Reply::Array(keys)]) => (next, keys),
                _ => return Err(senseless("SCAN")),
            },
            Some(_) => return Err(senseless("SCAN")),
        };
        let next = bytes_of(&next).ok_or_else(|| senseless("SCAN"))?.to_vec();
        self.cursor = (next != b"0").then_some(next);
        let mut page = Vec::with_capacity(keys.len());
        for key in keys {
            match key {
                Reply::Bulk(key) => page.push(key.into_vec()),
                _ => return Err(senseless("SCAN")),
            }
        }
        self.keys += page.len() as u64;
        Ok(Some(page))
    }

    /// Returns the part of the keys that were walked over, in percent.
    pub fn percent(&self) -> f64 {
        if self.is_complete {
            return 100.0;
        }
        if self.total == 0 {
            return 0.0;
        }
        // Keys may come twice, and new ones may come.
        (100.0 * self.keys as f64 / self.total as f64).min(99.99)
    }

    /// Returns whether all keys were walked over.
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Takes the progress off the terminal, and says why a search ended before its end. What it has found is shown even if
    /// the connection broke.
    ///
    /// # Errors
    ///
    /// The search's, if it has found nothing.
    pub fn end_search(&mut self, searched: Result<()>) -> Result<()> {
        self.end();
        match searched {
            Err(Failure::Client(error)) if self.keys > 0 => note(&format!("kvclient: {error}: not all keys were seen")),
            Ok(()) if !self.is_complete => note_summary("kvclient: interrupted: not all keys were seen"),
            searched => searched?,
        }
        Ok(())
    }

    /// Returns the cursor that goes on where this ended.
    pub fn cursor(&self) -> String {
        String::from_utf8_lossy(self.cursor.as_deref().unwrap_or(b"0")).into_owned()
    }

    /// Shows how far it is, and `message`, if that was not done just now.
    pub fn show(&mut self, message: impl FnOnce() -> String) {
        let Some(bar) = &self.bar else { return };
        if self.drawn.elapsed() >= DRAW_EVERY {
            self.drawn = Instant::now();
            bar.set_position(self.keys.min(self.total));
            bar.set_message(message());
        }
    }

    fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}
