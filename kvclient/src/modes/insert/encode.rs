//! The input of `--pipe` as requests.
//!
//! Invariant: requests keep the order of the input, each is complete or none of it is sent but for RESP, and the line where
//! each one stands is known.

use super::super::flags::PipeFormat;
use super::resp::Scanner;
use super::rows::{ROW_BYTES_MAX, csv_fields, csv_row, is_heading, json_row};
use crate::session::is_one_of;
use crate::words::{Lines, Piece, Splitter};
use kvproto::resp::encode_request;
use memchr::{memchr, memchr_iter};
use std::collections::VecDeque;

/// Turns input into requests.
#[derive(Debug)]
pub struct Encoder {
    form: Form,
    /// Bytes of the input that were taken.
    offset: u64,
    /// The line at hand, from 1.
    line: u64,
    commands: u64,
    /// The line that the next command should stand on, if it followed the one before.
    expected_line: u64,
    places: VecDeque<(u64, u64)>,
    problems: VecDeque<String>,
    is_broken: bool,
    is_done: bool,
}

#[derive(Debug)]
enum Form {
    Resp(Scanner),
    Commands(Splitter),
    Csv { is_first: bool },
    Json { searched: usize },
}

/// Returns the format of an input by its first byte: a command does not begin with `*` or `{`. Rows of CSV look like
/// commands.
pub fn detect(text: &[u8]) -> PipeFormat {
    match text.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'*') => PipeFormat::Resp,
        Some(b'{') => PipeFormat::Json,
        _ => PipeFormat::Commands,
    }
}

impl Encoder {
    pub fn new(format: PipeFormat) -> Encoder {
        let form = match format {
            PipeFormat::Resp => Form::Resp(Scanner::default()),
            PipeFormat::Commands => Form::Commands(Splitter::new(Lines::Quoted)),
            PipeFormat::Csv => Form::Csv { is_first: true },
            PipeFormat::Json => Form::Json { searched: 0 },
        };
        Encoder {
            form,
            offset: 0,
            line: 1,
            commands: 0,
            expected_line: 0,
            places: VecDeque::new(),
            problems: VecDeque::new(),
            is_broken: false,
            is_done: false,
        }
    }

    /// Appends the requests that stand in `text`; returns how many bytes of it they take. What is left has to be at the
    /// beginning of the next text.
    pub fn take(&mut self, text: &[u8], at_end: bool, out: &mut Vec<u8>) -> usize {
        let taken = if matches!(self.form, Form::Resp(_)) {
            self.take_resp(text, at_end, out)
        } else {
            let mut taken = 0;
            while !self.is_done && !self.is_broken {
                let rest = text.get(taken..).unwrap_or_default();
                match self.take_one(rest, at_end, out) {
                    0 => break,
                    length => {
                        self.line += memchr_iter(b'\n', rest.get(..length).unwrap_or_default()).count() as u64;
                        taken += length;
                    }
                }
            }
            if text.len() - taken > ROW_BYTES_MAX {
                self.break_off(format!("line {}: it is longer than 1 GiB", self.line));
            }
            taken
        };
        self.offset += taken as u64;
        taken
    }

    fn take_resp(&mut self, text: &[u8], at_end: bool, out: &mut Vec<u8>) -> usize {
        let Form::Resp(scanner) = &mut self.form else { return 0 };
        let passed = scanner.pass(text, at_end);
        self.commands = scanner.commands;
        let taken = match &passed {
            Ok(taken) => *taken,
            Err((at, _)) => *at,
        };
        out.extend_from_slice(text.get(..taken).unwrap_or_default());
        let is_cut = at_end && (scanner.is_within() || taken < text.len());
        match passed {
            Err((at, problem)) => {
                let (offset, command) = (self.offset + at as u64, self.commands + 1);
                self.break_off(format!("byte {offset}, in command {command}: {problem}; nothing after it was sent"));
            }
            Ok(_) if is_cut => {
                let command = self.commands + 1;
                self.break_off(format!("the input ends within command {command}, which was not executed"));
            }
            // An inline command may have lacked it.
            Ok(_) if at_end && !out.is_empty() && !out.ends_with(b"\n") => out.extend_from_slice(b"\r\n"),
            Ok(_) => {}
        }
        taken
    }

    /// Takes one command or row; returns 0 if there is no whole one.
    fn take_one(&mut self, text: &[u8], at_end: bool, out: &mut Vec<u8>) -> usize {
        match &mut self.form {
            Form::Resp(_) => 0,
            Form::Commands(splitter) => {
                let Some((piece, length)) = splitter.next(text, at_end) else { return 0 };
                match piece {
                    Piece::Blank => {}
                    Piece::Bad(kind) => self.reject(&kind.to_string()),
                    Piece::Command(request) if is_one_of(request.as_request(), &["quit", "exit"]) => {
                        self.is_done = true
                    }
                    Piece::Command(request) => {
                        encode_request(request.as_request().iter(), out);
                        self.count();
                    }
                }
                length
            }
            Form::Csv { is_first } => {
                let Some((fields, length)) = csv_fields(text, at_end) else { return 0 };
                let is_first = std::mem::take(is_first);
                match fields {
                    Ok(fields) if fields.iter().all(Vec::is_empty) && fields.len() == 1 => {}
                    Ok(fields) if is_first && is_heading(&fields) => {}
                    Ok(fields) => self.set(csv_row(fields), out),
                    Err(problem) => self.reject(&problem),
                }
                length
            }
            Form::Json { searched } => {
                let found = memchr(b'\n', text.get(*searched..).unwrap_or_default()).map(|at| *searched + at + 1);
                let Some(length) = found.or((at_end && !text.is_empty()).then_some(text.len())) else {
                    *searched = text.len();
                    return 0;
                };
                *searched = 0;
                let line = text.get(..length).unwrap_or_default();
                if !line.iter().all(u8::is_ascii_whitespace) {
                    self.set(json_row(line), out);
                }
                length
            }
        }
    }

    fn set(&mut self, row: Result<super::rows::Row, String>, out: &mut Vec<u8>) {
        match row {
            Ok(row) => {
                encode_request(row.words(), out);
                self.count();
            }
            Err(problem) => self.reject(&problem),
        }
    }

    /// Counts a command, which stands at the line at hand.
    fn count(&mut self) {
        if self.line != self.expected_line {
            self.places.push_back((self.commands, self.line));
        }
        self.expected_line = self.line + 1;
        self.commands += 1;
    }

    fn reject(&mut self, problem: &str) {
        self.problems.push_back(format!("line {}: {problem}", self.line));
    }

    fn break_off(&mut self, problem: String) {
        self.problems.push_back(problem);
        self.is_broken = true;
    }

    /// Returns how many commands there were.
    pub fn commands(&self) -> u64 {
        self.commands
    }

    /// Returns whether the rest of the input cannot be sent.
    pub fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Returns whether a command said that the input ends here.
    pub fn is_done(&self) -> bool {
        self.is_done
    }

    /// Returns, once, from which command on, counted from 0, each stands a line after the one before, and where.
    pub fn take_places(&mut self) -> VecDeque<(u64, u64)> {
        std::mem::take(&mut self.places)
    }

    /// Returns, once, what was wrong with the input.
    pub fn take_problems(&mut self) -> VecDeque<String> {
        std::mem::take(&mut self.problems)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The requests of an input that arrives in pieces, and the encoder after it.
    fn encoded(format: PipeFormat, text: &[u8], piece: usize) -> (String, Encoder) {
        let mut encoder = Encoder::new(format);
        let (mut kept, mut out) = (Vec::new(), Vec::new());
        for chunk in text.chunks(piece) {
            kept.extend_from_slice(chunk);
            let taken = encoder.take(&kept, false, &mut out);
            kept.drain(..taken);
        }
        encoder.take(&kept, true, &mut out);
        (String::from_utf8(out).unwrap(), encoder)
    }

    fn requests(requests: &[&[&str]]) -> String {
        let mut out = Vec::new();
        for request in requests {
            encode_request(request.iter(), &mut out);
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_format_becomes_the_same_requests() {
        let expected = requests(&[&["SET", "a", "1"], &["SET", "b", "x y", "EX", "9"]]);
        for (format, text) in [
            (PipeFormat::Resp, expected.as_str()),
            (PipeFormat::Commands, "SET a 1\n\n# b\nSET b 'x y' EX 9"),
            (PipeFormat::Csv, "key,value,ttl\r\na,1,\r\n\r\nb,\"x y\",9"),
            (PipeFormat::Json, "{\"key\":\"a\",\"value\":1}\n\n{\"key\":\"b\",\"value\":\"x y\",\"ttl\":9}"),
        ] {
            for piece in 1..text.len() {
                let (out, mut encoder) = encoded(format, text.as_bytes(), piece);
                assert_eq!((out.as_str(), encoder.commands()), (expected.as_str(), 2), "{format:?} {piece}");
                assert!(encoder.take_problems().is_empty() && !encoder.is_broken());
            }
        }
    }

    #[test]
    fn lines_are_known_and_bad_ones_skipped() {
        let (out, mut encoder) =
            encoded(PipeFormat::Commands, b"PING\nPING\n\nGET 'x'y\nGET 'a\nb'\nGET c\nquit\nPING", 4);
        assert_eq!(out, requests(&[&["PING"], &["PING"], &["GET", "a\nb"], &["GET", "c"]]));
        assert_eq!(encoder.take_places(), [(0, 1), (2, 5), (3, 7)]);
        assert_eq!(encoder.take_problems(), ["line 4: unbalanced quotes in request"]);
        assert!(encoder.is_done());
        let (out, mut encoder) = encoded(PipeFormat::Csv, b"a,1\nb\nc,2,x\nd,3\n", 5);
        assert_eq!(out, requests(&[&["SET", "a", "1"], &["SET", "d", "3"]]));
        assert_eq!(encoder.take_problems().len(), 2);
        assert_eq!(encoder.take_places(), [(0, 1), (1, 4)]);
    }

    #[test]
    fn resp_that_breaks_off_is_reported() {
        let (_, mut encoder) = encoded(PipeFormat::Resp, b"*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPI", 3);
        assert_eq!(encoder.take_problems(), ["the input ends within command 2, which was not executed"]);
        let (out, mut encoder) = encoded(PipeFormat::Resp, b"PING\r\n*1\r\nPING\r\nPING\r\n", 100);
        assert_eq!(out, "PING\r\n*1\r\n");
        assert!(encoder.take_problems().front().unwrap().starts_with("byte 10, in command 2:"));
        assert!(encoder.is_broken());
        assert_eq!(encoded(PipeFormat::Resp, b"PING", 100).0, "PING\r\n");
    }

    #[test]
    fn formats_are_detected_by_their_first_byte() {
        assert_eq!(detect(b"*1\r\n"), PipeFormat::Resp);
        assert_eq!(detect(b"\n {\"key\""), PipeFormat::Json);
        assert_eq!(detect(b"SET a 1"), PipeFormat::Commands);
        assert_eq!(detect(b""), PipeFormat::Commands);
    }
}
