//! Commands from standard input: sent ahead, many in one round trip.
//!
//! Invariant: replies are printed in the order of the commands, and whenever the input pauses none is held back. What is
//! under way is bounded, so that this side and the server never wait for each other. After a connection that broke
//! nothing more is sent.

use crate::help;
use crate::session::{Outcome, Session, is_one_of};
use crate::words::{Lines, Piece, Splitter};
use kvproto::{OwnedRequest, Reply};
use std::collections::VecDeque;
use std::io::{self, IsTerminal, Read};

/// How much is read from the input at once, in bytes.
const READ_BYTES: usize = 64 * 1024;
/// How much is sent ahead, in bytes. It has to fit the buffers between client and server: a server that cannot send its
/// replies stops reading, and both would wait for each other. A larger request goes alone.
const AHEAD_BYTES_MAX: usize = 16 * 1024;
/// Rendered replies beyond this are written, in bytes.
const RENDERED_BYTES_MAX: usize = 64 * 1024;

/// Commands under way from an input to the server.
#[derive(Debug)]
pub struct Pipe<'s> {
    session: &'s mut Session,
    /// What was sent, or is about to be, and has no reply yet.
    pending: VecDeque<Pending>,
    pending_bytes: usize,
    /// Replies that are not written yet.
    rendered: Vec<u8>,
    /// The line where the command at hand begins; from 1.
    line: u64,
    all_good: bool,
    shows_on_terminal: bool,
}

#[derive(Debug)]
struct Pending {
    line: u64,
    request: OwnedRequest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Go,
    Stop,
}

impl Pipe<'_> {
    pub fn new(session: &mut Session) -> Pipe<'_> {
        let (pending, rendered) = (VecDeque::new(), Vec::new());
        let shows_on_terminal = io::stdout().is_terminal();
        Pipe { session, pending, pending_bytes: 0, rendered, line: 1, all_good: true, shows_on_terminal }
    }

    /// Runs the commands that `input` holds; returns whether all of them were good. If the output is closed, that holds for
    /// those whose replies have come.
    pub fn run(mut self, input: &mut dyn Read) -> io::Result<bool> {
        match self.run_all(input) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe && !self.all_good => Ok(false),
            Err(error) => Err(error),
            Ok(()) => Ok(self.all_good),
        }
    }

    fn run_all(&mut self, input: &mut dyn Read) -> io::Result<()> {
        let lines = if self.session.sends_lines() { Lines::AsTyped } else { Lines::Quoted };
        let mut splitter = Splitter::new(lines);
        let mut text = Vec::new();
        let mut start = 0;
        let mut at_end = false;
        loop {
            match splitter.next(&text[start..], at_end) {
                Some((piece, length)) => {
                    let typed = &text[start..start + length];
                    if self.line == 1 && is_resp(typed) {
                        self.fail(1, "the input is RESP, not commands; kvclient --pipe sends it. Nothing was sent")?;
                        break;
                    }
                    if self.take(piece, typed)? == Next::Stop {
                        break;
                    }
                    self.line += typed.iter().filter(|&&byte| byte == b'\n').count() as u64;
                    start += length;
                }
                None => {
                    // The input may pause here.
                    if self.receive_all()? == Next::Stop || at_end {
                        break;
                    }
                    text.drain(..start);
                    start = 0;
                    at_end = !read_more(input, &mut text)?;
                }
            }
        }
        self.write_rendered()
    }

    fn take(&mut self, piece: Piece, typed: &[u8]) -> io::Result<Next> {
        let request = match piece {
            Piece::Blank => return Ok(Next::Go),
            Piece::Command(request) => request,
            Piece::Bad(kind) => {
                let next = self.receive_all()?;
                if self.session.is_in_transaction() {
                    // EXEC would execute the rest of it.
                    self.fail(self.line, &format!("{kind}; the transaction was given up, nothing after it was sent"))?;
                    return Ok(Next::Stop);
                }
                self.fail(self.line, &kind.to_string())?;
                return Ok(next);
            }
        };
        let words = request.as_request();
        if is_one_of(words, &["quit", "exit"]) {
            self.receive_all()?;
            return Ok(Next::Stop);
        }
        if is_one_of(words, &["help", "?"]) {
            let next = self.receive_all()?;
            match help::text(words) {
                Ok(text) => self.rendered.extend_from_slice(text.as_bytes()),
                Err(text) => self.fail(self.line, &text)?,
            }
            return Ok(next);
        }
        if !self.session.has_one_reply(words) {
            return self.run_alone(&request, typed);
        }
        if self.pending_bytes + typed.len() > AHEAD_BYTES_MAX && self.receive_all()? == Next::Stop {
            return Ok(Next::Stop);
        }
        if self.pending.is_empty() {
            if !self.session.is_ready_for(words) {
                self.fail(self.line, "not sent, nor is anything after it")?;
                return Ok(Next::Stop);
            }
            if !self.session.has_one_reply(words) {
                // The server refuses the login: this command may change that.
                return self.run_alone(&request, typed);
            }
        }
        let as_typed = self.session.sends_lines();
        if let Some(client) = self.session.client() {
            if as_typed {
                client.queue_line(without_end(typed));
            } else {
                client.queue(words);
            }
        }
        self.pending_bytes += typed.len();
        self.pending.push_back(Pending { line: self.line, request });
        Ok(Next::Go)
    }

    /// Runs a command that has more than one reply, or none.
    fn run_alone(&mut self, request: &OwnedRequest, typed: &[u8]) -> io::Result<Next> {
        if self.receive_all()? == Next::Stop {
            return Ok(Next::Stop);
        }
        self.write_rendered()?;
        let outcome = if self.session.sends_lines() {
            self.session.run_line(request, without_end(typed))?
        } else {
            self.session.run(request)?
        };
        match outcome {
            Outcome::Good => return Ok(Next::Go),
            Outcome::Error => {
                let text = self.session.error().to_owned();
                self.fail(self.line, &text)?;
            }
            Outcome::Lost => self.fail(self.line, "nothing after it was sent")?,
            Outcome::NotSent => self.fail(self.line, "not sent, nor is anything after it")?,
        }
        Ok(if outcome == Outcome::Error { Next::Go } else { Next::Stop })
    }

    /// Sends what is queued and prints the reply to each command.
    fn receive_all(&mut self) -> io::Result<Next> {
        if self.pending.is_empty() {
            self.write_rendered()?;
            return Ok(Next::Go);
        }
        self.pending_bytes = 0;
        let mut received = self.session.client().map_or(Ok(()), |client| client.flush());
        while let (Ok(()), Some(client), Some(pending)) = (&received, self.session.client(), self.pending.front()) {
            match client.receive() {
                Ok(reply) => {
                    let is_push = matches!(reply, Reply::Push(_));
                    let request = pending.request.as_request();
                    if !is_push {
                        self.session.remember(request, &reply);
                    }
                    let line = pending.line;
                    self.show(&reply, line)?;
                    if !is_push {
                        self.pending.pop_front();
                    }
                }
                Err(error) => received = Err(error),
            }
        }
        self.write_rendered()?;
        let Err(error) = received else {
            return Ok(Next::Go);
        };
        self.session.lose_all(&error);
        if let (Some(first), Some(last)) = (self.pending.front(), self.pending.back()) {
            let (first, last) = (first.line, last.line);
            let which = if first == last { format!("line {first}") } else { format!("lines {first} to {last}") };
            let text = format!("kvclient: {which}: no reply; what was done is unknown, and nothing after it was sent");
            self.session.output().note(&text);
        }
        self.all_good = false;
        Ok(Next::Stop)
    }

    /// Prints the reply to the first pending command.
    fn show(&mut self, reply: &Reply, line: u64) -> io::Result<()> {
        let Some(pending) = self.pending.front() else {
            return Ok(());
        };
        // On a terminal an error is seen once: with its line, below.
        if !(reply.is_error() && self.shows_on_terminal) {
            self.session.output().render(pending.request.as_request(), reply, &mut self.rendered);
        }
        if let Reply::Error(text) = reply {
            self.fail(line, &text.to_string())?;
        }
        if self.rendered.len() > RENDERED_BYTES_MAX {
            self.write_rendered()?;
        }
        Ok(())
    }

    /// Says what is wrong with a line.
    fn fail(&mut self, line: u64, text: &str) -> io::Result<()> {
        self.all_good = false;
        // Before what was wrong, what was right before it.
        let written = self.write_rendered();
        self.session.output().note(&format!("kvclient: line {line}: {text}"));
        written
    }

    fn write_rendered(&mut self) -> io::Result<()> {
        if !self.rendered.is_empty() {
            self.session.output().write(&self.rendered)?;
            self.rendered.clear();
            self.rendered.shrink_to(RENDERED_BYTES_MAX);
        }
        Ok(())
    }
}

/// Returns whether a line is how a request of RESP begins: `*`, a number, and both characters that end a line.
fn is_resp(line: &[u8]) -> bool {
    let digits = line.strip_prefix(b"*").and_then(|rest| rest.strip_suffix(b"\r\n"));
    digits.is_some_and(|digits| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit))
}

/// A line without its end.
fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Reads on; false at the end of the input.
fn read_more(input: &mut dyn Read, text: &mut Vec<u8>) -> io::Result<bool> {
    let held = text.len();
    text.resize(held + READ_BYTES, 0);
    let read = loop {
        match input.read(&mut text[held..]) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => break read,
        }
    };
    text.truncate(held + read.as_ref().copied().unwrap_or(0));
    read.map(|count| count > 0)
}
