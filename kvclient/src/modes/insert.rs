//! `--pipe`: sends what standard input holds, as fast as the server takes it, and counts the replies.
//!
//! Invariant: memory is bounded by the largest request, row or reply, however long the input is; replies are read while
//! requests are sent, so that neither side waits for the other; every error is counted, and nothing is sent twice.

mod encode;
mod replies;
mod resp;
mod rows;

use super::flags::{ModeFlags, PipeFormat};
use super::{Failure, Result, Setting, note, print};
use encode::Encoder;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use kvclient::Connection;
use kvclient::connection::Stream;
use kvclient::format::write_visible_line;
use replies::{Next, Replies};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How much is read at once, in bytes, from standard input and from the server.
const READ_BYTES: usize = 128 * 1024;
/// How many errors are shown; the others are counted.
const SHOWN_ERRORS_MAX: u64 = 10;
/// How often a wait looks whether Ctrl-C was pressed or a time limit has passed.
const TICK: Duration = Duration::from_millis(100);
/// How many places of commands are kept for errors to come.
const PLACES_MAX: usize = 64 * 1024;

/// What the sending thread and the receiving one both know.
#[derive(Debug, Default)]
struct Shared {
    /// Commands whose last byte was given to the system.
    sent: AtomicU64,
    bytes_read: AtomicU64,
    /// The receiving thread is gone: nothing more need be sent.
    is_over: AtomicBool,
    end: Mutex<Option<End>>,
    /// Where in the input commands stand: from the command of this number on, counted from 0, each stands a line after the
    /// one before, or on none that is known (0).
    places: Mutex<VecDeque<(u64, u64)>>,
    /// What was wrong with the input, by its place.
    problems: Mutex<VecDeque<String>>,
}

/// How sending came to its end.
#[derive(Debug)]
enum End {
    /// Everything was sent, and behind it the request whose reply is the last one.
    Complete,
    /// The input broke off within a request, or made no sense: so many commands before that were sent whole.
    BrokenInput(u64),
    /// Standard input.
    Input(io::Error),
    /// The connection.
    Connection(io::Error),
}

impl Shared {
    fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the line of a command; 0 if lines are not counted.
    fn line_of(&self, command: u64) -> u64 {
        self.forget(command);
        let places = Shared::lock(&self.places);
        match places.front() {
            None | Some((_, 0)) => 0,
            Some((first, line)) => line + command.saturating_sub(*first),
        }
    }

    /// Forgets the places of the commands before this one.
    fn forget(&self, command: u64) {
        let mut places = Shared::lock(&self.places);
        while places.get(1).is_some_and(|(next, _)| *next <= command) {
            places.pop_front();
        }
    }
}

/// Sends standard input to the server until its end; returns whether there was no error.
pub fn run(flags: &ModeFlags, setting: &Setting<'_>) -> Result<bool> {
    let connection = Connection::connect_with(&setting.address, setting.options.clone())?;
    setting.signals.begin_stream();
    let stream = connection.into_stream()?;
    let output = stream.try_clone()?;
    stream.set_read_timeout(Some(TICK))?;
    let mark: String = (0..replies::MARK_LENGTH).map(|_| fastrand::alphanumeric()).collect();
    let shared = Arc::new(Shared::default());
    let sender = Sender { shared: Arc::clone(&shared), output, mark: mark.clone(), format: flags.pipe_format };
    // It may wait for standard input, so nobody waits for it.
    thread::Builder::new().name("send".to_owned()).spawn(move || sender.run())?;
    let timeout = (flags.pipe_timeout > 0).then(|| Duration::from_secs(flags.pipe_timeout));
    let mut receiver = Receiver {
        shared: &shared,
        setting,
        replies: Replies::new(mark.as_bytes()),
        timeout,
        errors: 0,
        names_lines: flags.pipe_format,
        progress: Progress::new(),
    };
    let received = receiver.run(stream);
    shared.is_over.store(true, Ordering::Relaxed);
    receiver.progress.end();
    receiver.show_problems();
    receiver.errors += u64::from(received.is_err());
    let (errors, replies) = (receiver.errors, receiver.replies.count());
    if errors > SHOWN_ERRORS_MAX {
        note(&format!("kvclient: {} more errors are not shown", errors - SHOWN_ERRORS_MAX));
    }
    say(&format!("errors: {errors}, replies: {replies}\n"))?;
    Ok(received? && errors == 0)
}

/// Prints a line. That nobody reads it must not hide the errors there were.
fn say(text: &str) -> Result<()> {
    match print(text) {
        Err(Failure::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed,
    }
}

/// The thread that reads standard input and sends.
struct Sender {
    shared: Arc<Shared>,
    output: Stream,
    mark: String,
    format: Option<PipeFormat>,
}

impl Sender {
    fn run(mut self) {
        let end = match self.send(&mut io::stdin().lock()) {
            Ok(end) | Err(end) => end,
        };
        *Shared::lock(&self.shared.end) = Some(end);
    }

    /// Sends everything; both outcomes are the end.
    fn send(&mut self, input: &mut dyn Read) -> std::result::Result<End, End> {
        let mut text = Vec::new();
        let mut at_end = !read_more(input, &mut text).map_err(End::Input)?;
        while !at_end && text.len() < READ_BYTES && encode::is_undecided(&text) {
            at_end = !read_more(input, &mut text).map_err(End::Input)?;
        }
        let mut encoder = Encoder::new(self.format.unwrap_or_else(|| encode::detect(&text)));
        let mut requests = Vec::new();
        let mut counted = 0;
        loop {
            let consumed = encoder.take(&text, at_end, &mut requests);
            let is_stuck = consumed == 0 && requests.is_empty();
            let is_full = requests.len() >= encode::ENCODED_BYTES_MAX;
            counted += consumed as u64;
            self.shared.bytes_read.store(counted, Ordering::Relaxed);
            text.drain(..consumed);
            self.hand_over(&mut encoder);
            if !requests.is_empty() {
                self.output.write_all(&requests).map_err(End::Connection)?;
                requests.clear();
                requests.shrink_to(2 * READ_BYTES);
            }
            self.shared.sent.store(encoder.commands(), Ordering::Relaxed);
            self.wait_for_places();
            if self.shared.is_over.load(Ordering::Relaxed) {
                return Ok(End::Complete);
            }
            if encoder.is_broken() {
                return Ok(End::BrokenInput(encoder.commands()));
            }
            if encoder.is_done() || (at_end && (is_stuck || text.is_empty())) {
                break;
            }
            if !at_end && !is_full {
                at_end = !read_more(input, &mut text).map_err(End::Input)?;
            }
        }
        let mark = format!("*2\r\n$4\r\nECHO\r\n${}\r\n{}\r\n", self.mark.len(), self.mark);
        self.output.write_all(mark.as_bytes()).map_err(End::Connection)?;
        Ok(End::Complete)
    }

    /// Gives places and problems to the thread that shows errors.
    fn hand_over(&self, encoder: &mut Encoder) {
        Shared::lock(&self.shared.places).extend(encoder.take_places());
        Shared::lock(&self.shared.problems).extend(encoder.take_problems());
    }

    /// Waits until not too many places are kept.
    fn wait_for_places(&self) {
        // Replies come for all that was sent before, so this ends.
        while Shared::lock(&self.shared.places).len() > PLACES_MAX && !self.shared.is_over.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Reads what there is, waiting for the first byte: what is complete must not wait for more. Returns false at the end of the
/// input.
fn read_more(input: &mut dyn Read, text: &mut Vec<u8>) -> io::Result<bool> {
    let kept = text.len();
    text.resize(kept + READ_BYTES, 0);
    let read = loop {
        match input.read(text.get_mut(kept..).unwrap_or_default()) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => break read,
        }
    };
    text.truncate(kept + read.as_ref().copied().unwrap_or(0));
    read.map(|count| count > 0)
}

/// The thread that reads replies, and shows what there is to show.
struct Receiver<'s> {
    shared: &'s Shared,
    setting: &'s Setting<'s>,
    replies: Replies,
    timeout: Option<Duration>,
    errors: u64,
    names_lines: Option<PipeFormat>,
    progress: Progress,
}

impl Receiver<'_> {
    /// Reads replies until the last one; returns whether everything was sent.
    fn run(&mut self, mut stream: Stream) -> Result<bool> {
        let mut heard = Instant::now();
        let mut end = None;
        let mut is_end_shown = false;
        loop {
            let read = self.replies.read(&mut stream, READ_BYTES);
            if end.is_none() {
                end = Shared::lock(&self.shared.end).take();
            }
            let has_read = matches!(read, Ok(1..));
            match read {
                Ok(0) => return Err(self.lost(io::Error::from(io::ErrorKind::UnexpectedEof))),
                Ok(_) => heard = Instant::now(),
                Err(error) if is_timeout(&error) => {}
                Err(error) => return Err(self.lost(error)),
            }
            while let Some(next) = self.replies.next().map_err(|error| self.lost(io::Error::other(error)))? {
                match next {
                    Next::Good => {}
                    Next::Error { command, text } => self.show_error(command, &text),
                    Next::Mark => {
                        self.show_end(&mut is_end_shown)?;
                        say("Last reply received from server.\n")?;
                        return Ok(true);
                    }
                }
            }
            self.shared.forget(self.replies.count());
            self.show_problems();
            self.progress.show(self.shared, self.replies.count(), self.errors);
            match &end {
                None => heard = Instant::now(),
                Some(End::Complete) => self.show_end(&mut is_end_shown)?,
                Some(End::BrokenInput(commands)) if self.replies.count() >= *commands => return Ok(false),
                Some(End::BrokenInput(_)) => {}
                Some(End::Input(error)) => {
                    return Err(Failure::Io(io::Error::new(error.kind(), format!("standard input: {error}"))));
                }
                // What the server still said comes first: it may be why it takes no more.
                Some(End::Connection(error)) if !has_read => {
                    return Err(self.lost(io::Error::new(error.kind(), error.to_string())));
                }
                Some(End::Connection(_)) => {}
            }
            if self.setting.is_interrupted() {
                self.progress.end();
                let sent = self.shared.sent.load(Ordering::Relaxed);
                note(&format!(
                    "kvclient: interrupted after {sent} commands were sent; those without a reply may be done or not"
                ));
                return Ok(false);
            }
            if let (Some(timeout), Some(_)) = (self.timeout, &end)
                && heard.elapsed() > timeout
            {
                self.progress.end();
                note(&format!("No replies for {} seconds: exiting.", timeout.as_secs()));
                self.errors += 1;
                return Ok(false);
            }
        }
    }

    fn show_end(&mut self, is_end_shown: &mut bool) -> Result<()> {
        if !*is_end_shown {
            *is_end_shown = true;
            self.progress.end();
            say("All data transferred. Waiting for the last reply...\n")?;
        }
        Ok(())
    }

    fn lost(&self, error: io::Error) -> Failure {
        self.shared.is_over.store(true, Ordering::Relaxed);
        let (sent, replies) = (self.shared.sent.load(Ordering::Relaxed), self.replies.count());
        let what = if error.kind() == io::ErrorKind::UnexpectedEof {
            "the server closed the connection".to_owned()
        } else {
            error.to_string()
        };
        Failure::Unsupported(format!(
            "{what}: {replies} of at least {sent} commands have a reply; whether the others are done is unknown"
        ))
    }

    fn show_error(&mut self, command: u64, text: &[u8]) {
        let place = match self.names_lines {
            Some(PipeFormat::Resp) => 0,
            _ => self.shared.line_of(command),
        };
        let place = if place == 0 { format!("command {}", command + 1) } else { format!("line {place}") };
        let mut line = format!("kvclient: {place}: ").into_bytes();
        write_visible_line(text, &mut line);
        self.count_error(&String::from_utf8_lossy(&line));
    }

    /// Shows what was wrong with the input.
    fn show_problems(&mut self) {
        while let Some(problem) = { Shared::lock(&self.shared.problems).pop_front() } {
            self.count_error(&format!("kvclient: {problem}"));
        }
    }

    fn count_error(&mut self, text: &str) {
        self.errors += 1;
        if self.errors <= SHOWN_ERRORS_MAX {
            self.progress.suspend(|| note(text));
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

/// The bar on standard error, if that is a terminal.
struct Progress {
    bar: Option<ProgressBar>,
    start: Instant,
    drawn: Instant,
}

impl Progress {
    fn new() -> Progress {
        let bar = io::stderr().is_terminal().then(|| {
            let length = input_length();
            let template = match length {
                Some(_) => "{bar:20} {percent:>3}% {wide_msg}",
                None => "{wide_msg}",
            };
            let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar
        });
        Progress { bar, start: Instant::now(), drawn: Instant::now() }
    }

    fn show(&mut self, shared: &Shared, replies: u64, errors: u64) {
        let Some(bar) = &self.bar else { return };
        if self.drawn.elapsed() < TICK {
            return;
        }
        self.drawn = Instant::now();
        let bytes = shared.bytes_read.load(Ordering::Relaxed);
        let seconds = self.start.elapsed().as_secs_f64().max(1e-9);
        bar.set_position(bytes);
        let rate = replies as f64 / seconds;
        let megabytes = bytes as f64 / seconds / 1e6;
        bar.set_message(format!("{replies} replies, {rate:.0}/s, {megabytes:.1} MB/s, errors: {errors}"));
    }

    fn suspend(&self, print: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

/// Returns the length of standard input, if it is a file.
fn input_length() -> Option<u64> {
    let input = io::stdin().as_fd().try_clone_to_owned().ok()?;
    let metadata = File::from(input).metadata().ok()?;
    metadata.is_file().then_some(metadata.len())
}
