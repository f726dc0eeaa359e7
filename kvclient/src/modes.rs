//! The modes: what `kvclient` does with a server beside sending commands. One file each; here is what they share.
//!
//! Invariant: a mode ends on Ctrl-C with what it has found so far. It moves the cursor only where standard output is a
//! terminal, and it writes nothing to the server but what `--pipe` reads.

mod bars;
mod flags;
mod insert;
mod intrinsic;
mod key_sizes;
mod key_stats;
mod latency;
mod link;
mod scan;
mod spectrum;
mod stat;
mod walk;

pub use flags::{Mode, ModeFlags, seconds, unquoted};

use crate::output::{Output, Style};
use crate::signals::Signals;
use kvclient::address::Scheme;
use kvclient::format::write_visible_line;
use kvclient::{Address, Options, Reply};
use kvproto::Text;
use link::Link;
use std::io::{self, IsTerminal, Write};
use std::thread;
use std::time::{Duration, Instant};

/// Why a mode ended without a result.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The server or the connection.
    #[error("{0}")]
    Client(#[from] kvclient::Error),
    /// Standard input or output.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// An error reply, or a reply that makes no sense.
    #[error("{command}: {text}")]
    Reply { command: &'static str, text: String },
    /// The server cannot do it, with what to do instead.
    #[error("{0}")]
    Unsupported(String),
    /// The mode needs another port.
    #[error("{0} needs the server's redis:// port: name it with -u")]
    LineProtocol(&'static str),
}

type Result<T> = std::result::Result<T, Failure>;

/// What a mode is given.
#[derive(Clone, Debug)]
pub struct Setting<'s> {
    /// The server.
    pub address: Address,
    /// How to connect.
    pub options: Options,
    /// Ctrl-C.
    pub signals: &'s Signals,
    /// How results are shown.
    pub style: Style,
    /// Where results go that are shown as replies are.
    pub output: Output,
    /// How long to wait, or to measure; each mode says what for.
    pub interval: Option<Duration>,
    /// How often, where a mode repeats something.
    pub repeat: Option<i64>,
}

/// Runs a mode until its end or Ctrl-C; returns whether everything was good.
///
/// # Errors
///
/// See [`Failure`].
pub fn run(mode: Mode, flags: &ModeFlags, setting: &Setting<'_>) -> Result<bool> {
    if setting.address.scheme == Scheme::Line && mode.needs_resp() {
        return Err(Failure::LineProtocol(mode.name()));
    }
    match mode {
        Mode::Stat => stat::run(setting),
        Mode::Latency => latency::run(setting),
        Mode::LatencyHistory => latency::run_history(setting),
        Mode::LatencyDist => spectrum::run(setting),
        Mode::IntrinsicLatency(duration) => intrinsic::run(duration, setting),
        Mode::BigKeys => key_sizes::run(key_sizes::Measure::Elements, flags, setting),
        Mode::MemKeys => key_sizes::run(key_sizes::Measure::Memory, flags, setting),
        Mode::KeyStats => key_stats::run(flags, setting),
        Mode::HotKeys => key_sizes::run_hot(flags, setting),
        Mode::Scan => scan::run(flags, setting),
        Mode::Pipe => insert::run(flags, setting),
    }
}

impl Setting<'_> {
    /// Connects and logs in. From here on Ctrl-C is noted, and ends the mode rather than the program: before, there is nothing to
    /// show, and a server that does not reply must not keep the program.
    fn connect(&self) -> Result<Link<'_>> {
        let link = Link::connect(self)?;
        self.signals.begin_stream();
        Ok(link)
    }

    /// Returns whether Ctrl-C was pressed.
    fn is_interrupted(&self) -> bool {
        self.signals.pressed()
    }

    /// Returns whether results are drawn in place.
    fn draws(&self) -> bool {
        self.style == Style::Pretty && io::stdout().is_terminal()
    }

    /// Waits until `until`, or Ctrl-C; returns whether to go on.
    fn wait_until(&self, until: Instant) -> bool {
        while !self.is_interrupted() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            thread::sleep(left.min(TICK));
        }
        false
    }
}

/// How often a wait looks whether Ctrl-C was pressed.
const TICK: Duration = Duration::from_millis(50);

/// Writes a line, or several, to standard output at once.
fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// Tells the user something that is no result.
fn note(text: &str) {
    // It may hold the server's words.
    let mut line = Vec::new();
    write_visible_line(text.as_bytes(), &mut line);
    line.push(b'\n');
    // Standard error may be gone; there is nowhere else to say so.
    let _ = io::stderr().write_all(&line);
}

/// Tells the user what came of a mode that Ctrl-C has ended.
fn note_summary(text: &str) {
    // The terminal has written ^C into the line.
    if io::stderr().is_terminal() {
        note("");
    }
    note(text);
}

/// Returns whether an error reply says that the server does not have the command.
fn is_unknown_command(text: &Text) -> bool {
    let text = text.to_string().to_ascii_lowercase();
    text.contains("unknown command") || text.contains("unknown subcommand") || text.contains("unsupported")
}

/// Returns a reply that is an error as a failure of `command`.
fn checked(command: &'static str, reply: Reply) -> Result<Reply> {
    match reply {
        Reply::Error(text) => Err(Failure::Reply { command, text: text.to_string() }),
        reply => Ok(reply),
    }
}

/// Returns a reply that is no sensible one to `command` as a failure.
fn senseless(command: &'static str) -> Failure {
    Failure::Reply { command, text: "the server's reply makes no sense".to_owned() }
}

/// Returns the bytes of a text.
fn bytes_of(reply: &Reply) -> Option<&[u8]> {
    match reply {
        Reply::Ok => Some(b"OK"),
        Reply::Bulk(bytes) => Some(bytes),
        Reply::Simple(text) => Some(text.as_bytes()),
        Reply::Verbatim { text, .. } => Some(text),
        _ => None,
    }
}

/// Returns a size as people read it: `1003B`, `4.03K`, `1.20M`.
fn human_bytes(bytes: i64) -> String {
    const UNITS: [&str; 5] = ["K", "M", "G", "T", "P"];
    let mut value = bytes as f64;
    if value.abs() < 1024.0 {
        return format!("{bytes}B");
    }
    let mut unit = "";
    for next in UNITS {
        if value.abs() < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, next);
    }
    format!("{value:.2}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        for (bytes, text) in
            [(0, "0B"), (1023, "1023B"), (1024, "1.00K"), (-2048, "-2.00K"), (1 << 20, "1.00M"), (i64::MAX, "8192.00P")]
        {
            assert_eq!(human_bytes(bytes), text);
        }
    }

    #[test]
    fn an_unknown_command_is_distinguished_from_other_errors() {
        assert!(is_unknown_command(&Text::from("ERR unknown command 'TYPE', with args beginning with: ")));
        assert!(is_unknown_command(&Text::from("ERR Unknown subcommand or wrong number of arguments for 'USAGE'")));
        assert!(!is_unknown_command(&Text::from("ERR value is not an integer or out of range")));
    }
}
