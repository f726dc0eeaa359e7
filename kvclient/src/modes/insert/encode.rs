//! The input of `--pipe` as requests.
//!
//! Invariant: requests keep the order of the input, each is complete or none of it is sent but for RESP, and the line where
//! each one stands is known.

use super::super::flags::PipeFormat;
use super::resp::Scanner;
use super::rows::{ROW_BYTES_MAX, RowEnd, csv_fields, csv_row, is_heading, json_row};
use crate::session::is_one_of;
use crate::words::{Lines, Piece, Splitter};
use kvproto::resp::encode_request;
use memchr::{memchr, memchr_iter};
use std::collections::VecDeque;

/// How many bytes of requests are encoded at once, about.
pub const ENCODED_BYTES_MAX: usize = 1 << 20;
/// How far a quote of a command may reach, in bytes, over ends of lines.
const QUOTED_BYTES_MAX: usize = 64 << 20;
/// The mark of UTF-8 that some editors and spreadsheets put before a text.
const BOM: &[u8] = b"\xef\xbb\xbf";

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
    has_changed_form: bool,
}

#[derive(Debug)]
enum Form {
    Resp(Scanner),
    Commands { splitter: Splitter, is_in_transaction: bool },
    Csv { is_first: bool, end: RowEnd },
    Json { searched: usize },
}

/// Returns whether more of an input is needed to detect its format.
pub fn is_undecided(text: &[u8]) -> bool {
    BOM.starts_with(text) || without_bom(text).iter().all(u8::is_ascii_whitespace)
}

fn without_bom(text: &[u8]) -> &[u8] {
    text.strip_prefix(BOM).unwrap_or(text)
}

/// Returns the format of an input by its first byte: a command does not begin with `*` or `{`. Rows of CSV look like
/// commands. Commands that turn out to be the inline commands before RESP become RESP.
pub fn detect(text: &[u8]) -> PipeFormat {
    match without_bom(text).iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'*') => PipeFormat::Resp,
        Some(b'{') => PipeFormat::Json,
        _ => PipeFormat::Commands,
    }
}

impl Encoder {
    pub fn new(format: PipeFormat) -> Encoder {
        let form = match format {
            PipeFormat::Resp => Form::Resp(Scanner::new(0)),
            PipeFormat::Commands => Form::Commands { splitter: Splitter::new(Lines::Quoted), is_in_transaction: false },
            PipeFormat::Csv => Form::Csv { is_first: true, end: RowEnd::default() },
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
            has_changed_form: false,
        }
    }

    /// Appends the requests that stand in `text`, about [`ENCODED_BYTES_MAX`] of them; returns how many bytes of it they
    /// take. What is left has to be at the beginning of the next text.
    pub fn take(&mut self, text: &[u8], at_end: bool, out: &mut Vec<u8>) -> usize {
        let mut taken = 0;
        if self.offset == 0 {
            if !at_end && text.len() < BOM.len() && BOM.starts_with(text) {
                return 0;
            }
            taken = text.len() - without_bom(text).len();
            self.offset = taken as u64;
        }
        while !self.is_done && !self.is_broken && out.len() < ENCODED_BYTES_MAX {
            let rest = text.get(taken..).unwrap_or_default();
            let length = match &self.form {
                Form::Resp(_) => self.take_resp(rest, at_end, out),
                _ => self.take_one(rest, at_end, out),
            };
            if length == 0 && !std::mem::take(&mut self.has_changed_form) {
                if rest.len() > ROW_BYTES_MAX {
                    self.break_off(format!("line {}: it is longer than 1 GiB", self.line));
                }
                break;
            }
            if !matches!(self.form, Form::Resp(_)) {
                self.line += memchr_iter(b'\n', rest.get(..length).unwrap_or_default()).count() as u64;
            }
            taken += length;
            self.offset += length as u64;
        }
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
            Form::Commands { splitter, is_in_transaction } => {
                let Some((piece, length)) = splitter.next(text, at_end) else {
                    if text.len() > QUOTED_BYTES_MAX && memchr(b'\n', text).is_some() {
                        // Its lines are not commands: they may as well be a value.
                        self.give_up("a quote that is open for more than 64 MiB");
                    }
                    return 0;
                };
                match piece {
                    Piece::Blank => {}
                    // EXEC would execute the rest of it.
                    Piece::Bad(kind) if *is_in_transaction => {
                        self.give_up(&format!("{kind}; the transaction was given up"));
                    }
                    Piece::Bad(kind) => self.reject(&kind.to_string()),
                    // What follows are words of requests, which must not be executed.
                    Piece::Command(_) if is_resp_header(text) => {
                        self.become_resp();
                        return 0;
                    }
                    Piece::Command(request) if is_one_of(request.as_request(), &["quit", "exit"]) => {
                        self.is_done = true
                    }
                    Piece::Command(request) => {
                        let words = request.as_request();
                        *is_in_transaction = match is_in_transaction {
                            true => !is_one_of(words, &["exec", "discard", "reset"]),
                            false => words.name().eq_ignore_ascii_case(b"multi"),
                        };
                        encode_request(words.iter(), out);
                        self.count();
                    }
                }
                length
            }
            Form::Csv { is_first, end } => {
                let Some(length) = end.find(text).or((at_end && !text.is_empty()).then_some(text.len())) else {
                    return 0;
                };
                *end = RowEnd::default();
                let fields = csv_fields(text.get(..length).unwrap_or_default());
                if fields.as_ref().is_ok_and(|fields| fields.len() == 1 && fields.iter().all(Vec::is_empty)) {
                    return length;
                }
                let is_first = std::mem::take(is_first);
                match fields {
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

    /// Gives up at the line at hand.
    fn give_up(&mut self, problem: &str) {
        self.break_off(format!("line {}: {problem}; nothing after it was sent", self.line));
    }

    /// Takes what follows for RESP.
    fn become_resp(&mut self) {
        self.form = Form::Resp(Scanner::new(self.commands));
        self.places.push_back((self.commands, 0));
        self.has_changed_form = true;
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

    /// Returns, once, from which command on, counted from 0, each stands a line after the one before, and where; 0 if lines
    /// are not counted from there on.
    pub fn take_places(&mut self) -> VecDeque<(u64, u64)> {
        std::mem::take(&mut self.places)
    }

    /// Returns, once, what was wrong with the input.
    pub fn take_problems(&mut self) -> VecDeque<String> {
        std::mem::take(&mut self.problems)
    }
}

/// Returns whether a text begins with a number of words or bytes of RESP, as no command does.
fn is_resp_header(text: &[u8]) -> bool {
    let line = memchr(b'\n', text).and_then(|end| text.get(..end)).unwrap_or_default();
    matches!(line.trim_ascii(), [b'*' | b'$', digits @ ..] if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit))
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
            if encoder.is_broken() || encoder.is_done() {
                return (String::from_utf8(out).unwrap(), encoder);
            }
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

    /// RESP after inline commands, and after the time stamps of an append-only file, was executed line by line: words of
    /// its requests were commands.
    #[test]
    fn resp_behind_inline_commands_is_resp() {
        let set = requests(&[&["SET", "k", "FLUSHALL\r\n*1\r\nPING"]]);
        for piece in [1, 2, 7, 1000] {
            let text = format!("SELECT 0\r\n{set}PING\r\n");
            let (out, mut encoder) = encoded(PipeFormat::Commands, text.as_bytes(), piece);
            assert_eq!(out, requests(&[&["SELECT", "0"]]) + &set + "PING\r\n");
            assert_eq!((encoder.commands(), encoder.take_places().pop_back()), (3, Some((1, 0))));
            let text = format!("#TS:1\r\n{set}*x\r\n");
            let (out, mut encoder) = encoded(PipeFormat::Commands, text.as_bytes(), piece);
            assert_eq!(out, set);
            let problem = encoder.take_problems().pop_front().unwrap();
            assert!(problem.starts_with(&format!("byte {}, in command 2: ", text.len() - 4)), "{problem}");
            // What may be words of a request that was cut off.
            for text in ["PING\n *1\r\n$8\r\nFLUSHALL\r\n", "PING\n$8\r\nFLUSHALL\r\n"] {
                let (out, mut encoder) = encoded(PipeFormat::Commands, text.as_bytes(), piece);
                assert_eq!((out, encoder.take_problems().len()), (requests(&[&["PING"]]), 1), "{text:?}");
            }
        }
    }

    #[test]
    fn a_bad_line_of_a_transaction_ends_the_input() {
        let (out, mut encoder) = encoded(PipeFormat::Commands, b"MULTI\nSET a 1\nSET b 'x'y\nEXEC\nPING\n", 5);
        assert_eq!(out, requests(&[&["MULTI"], &["SET", "a", "1"]]));
        assert!(encoder.is_broken() && encoder.take_problems().front().unwrap().contains("transaction"));
        let (out, encoder) = encoded(PipeFormat::Commands, b"multi\nexec\nSET b 'x'y\nPING\n", 5);
        assert_eq!(out, requests(&[&["multi"], &["exec"], &["PING"]]));
        assert!(!encoder.is_broken());
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_input() {
        let expected = requests(&[&["SET", "a", "1"]]);
        for (format, text) in [
            (PipeFormat::Csv, "\u{feff}key,value\na,1"),
            (PipeFormat::Csv, "\n\nkey,value\na,1"),
            (PipeFormat::Json, "\u{feff}{\"key\":\"a\",\"value\":\"1\"}"),
            (PipeFormat::Commands, "\u{feff}SET a 1"),
            (PipeFormat::Resp, &format!("\u{feff}{expected}")),
        ] {
            for piece in [1, 2, 4, 1000] {
                let (out, mut encoder) = encoded(format, text.as_bytes(), piece);
                assert_eq!((out.as_str(), encoder.commands()), (expected.as_str(), 1), "{format:?} {piece}");
                assert!(encoder.take_problems().is_empty());
            }
            if format != PipeFormat::Csv {
                assert_eq!(detect(text.as_bytes()), format);
            }
        }
        assert!(is_undecided(b"") && is_undecided(b"\xef\xbb") && is_undecided("\u{feff} \n".as_bytes()));
        assert!(!is_undecided("\u{feff}{".as_bytes()) && !is_undecided(b"x"));
    }

    #[test]
    fn a_quote_that_is_never_closed_does_not_hold_the_whole_input() {
        let text = [b"PING\nSET k \"x\n".to_vec(), vec![b'y'; QUOTED_BYTES_MAX]].concat();
        let mut encoder = Encoder::new(PipeFormat::Commands);
        let mut out = Vec::new();
        encoder.take(&text, false, &mut out);
        assert_eq!(out, requests(&[&["PING"]]).as_bytes());
        assert!(encoder.is_broken() && encoder.take_problems().front().unwrap().starts_with("line 2: a quote"));
    }

    #[test]
    fn not_much_is_encoded_at_once() {
        let text = b"PING\n".repeat(ENCODED_BYTES_MAX / 5);
        let mut encoder = Encoder::new(PipeFormat::Commands);
        let mut out = Vec::new();
        let taken = encoder.take(&text, true, &mut out);
        assert!(taken < text.len() && out.len() < ENCODED_BYTES_MAX + 100, "{}", out.len());
    }

    #[test]
    fn formats_are_detected_by_their_first_byte() {
        assert_eq!(detect(b"*1\r\n"), PipeFormat::Resp);
        assert_eq!(detect(b"\n {\"key\""), PipeFormat::Json);
        assert_eq!(detect(b"SET a 1"), PipeFormat::Commands);
        assert_eq!(detect(b""), PipeFormat::Commands);
    }
}
