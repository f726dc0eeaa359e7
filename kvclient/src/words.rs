//! The commands of a text that was typed, pasted, or came through a pipe.
//!
//! Invariant: every byte belongs to one piece, in order. A command is a line, split as a server splits its inline
//! requests; an end of line within quotes belongs to its word. A line that cannot be split ends at its own end,
//! whatever quotes it opened, so that it takes no other line with it.

use kvproto::line::{self, LineErrorKind};
use kvproto::{Limits, OwnedRequest};

/// What a part of the text is.
#[derive(Debug)]
pub(crate) enum Piece {
    /// Nothing, or a comment: a line whose first word begins with `#`.
    Blank,
    /// The words of a command.
    Command(OwnedRequest),
    /// One line that is no command.
    Bad(LineErrorKind),
}

/// How lines become commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lines {
    /// Quotes may hold ends of lines.
    Quoted,
    /// Each line is sent as it stands: the server alone knows whether it has quotes.
    AsTyped,
}

/// Finds one piece after the other. What was searched while more text was needed is not searched again.
#[derive(Debug)]
pub(crate) struct Splitter {
    lines: Lines,
    searched: usize,
    within: Within,
}

/// What the next byte is a part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Within {
    /// Blanks before the first word.
    Start,
    Comment,
    /// Blanks.
    Gap,
    Word,
    Quotes {
        mark: u8,
        /// The byte before was a backslash.
        escaped: bool,
        /// A quote that opens within a word may be an apostrophe: it does not hold ends of lines.
        opened_in_word: bool,
    },
    /// Behind a closing quote, where only a blank may be.
    Closed,
    /// A line that is wrong, up to its end.
    Broken,
}

impl Splitter {
    pub(crate) fn new(lines: Lines) -> Splitter {
        Splitter { lines, searched: 0, within: Within::Start }
    }

    /// Returns the first piece of `text` and its length with its end of line; on every call `text` begins where the last
    /// piece ended. `None` if more text is needed: of the end of the text (`at_end`) that is so only if it is empty.
    pub(crate) fn next(&mut self, text: &[u8], at_end: bool) -> Option<(Piece, usize)> {
        if text.is_empty() {
            return None;
        }
        while let Some(&byte) = text.get(self.searched) {
            if byte == b'\n' && self.ends_line() {
                let end = self.searched;
                return Some(self.found(&text[..end], text));
            }
            self.within = if byte == b'\n' { self.within } else { self.after(byte) };
            self.searched += 1;
        }
        if !at_end {
            return None;
        }
        if matches!(self.within, Within::Quotes { .. }) && self.lines == Lines::Quoted {
            self.within = Within::Broken;
        }
        Some(self.found(text, text))
    }

    /// Whether the end of line at hand ends the piece.
    fn ends_line(&mut self) -> bool {
        if self.lines == Lines::AsTyped {
            return true;
        }
        match &mut self.within {
            Within::Quotes { opened_in_word: true, .. } => {
                self.within = Within::Broken;
                true
            }
            Within::Quotes { escaped, .. } => {
                *escaped = false;
                false
            }
            _ => true,
        }
    }

    fn after(&self, byte: u8) -> Within {
        let is_blank = matches!(byte, b' ' | b'\t' | b'\r');
        let is_quote = matches!(byte, b'"' | b'\'');
        match self.within {
            Within::Start if is_blank => Within::Start,
            Within::Start if byte == b'#' => Within::Comment,
            Within::Start | Within::Gap if is_quote => {
                Within::Quotes { mark: byte, escaped: false, opened_in_word: false }
            }
            Within::Gap | Within::Word | Within::Closed if is_blank => Within::Gap,
            Within::Word if is_quote => Within::Quotes { mark: byte, escaped: false, opened_in_word: true },
            Within::Start | Within::Gap | Within::Word => Within::Word,
            Within::Quotes { mark, escaped: false, .. } if byte == mark => Within::Closed,
            Within::Quotes { mark, escaped, opened_in_word } => {
                // Within single quotes a backslash escapes nothing but the quote.
                let escapes = byte == b'\\' && (!escaped || mark == b'\'');
                Within::Quotes { mark, escaped: escapes, opened_in_word }
            }
            Within::Closed => Within::Broken,
            within @ (Within::Comment | Within::Broken) => within,
        }
    }

    /// The piece `line`, which `text` begins with.
    fn found(&mut self, line: &[u8], text: &[u8]) -> (Piece, usize) {
        let within = std::mem::replace(&mut self.within, Within::Start);
        self.searched = 0;
        let past = |end: usize| (end + 1).min(text.len());
        let is_comment = line.trim_ascii_start().starts_with(b"#");
        let piece = match within {
            _ if is_comment || line.trim_ascii().is_empty() => Piece::Blank,
            _ if self.lines == Lines::AsTyped => Piece::Command(split_roughly(line)),
            Within::Broken => {
                let end = text.iter().position(|&byte| byte == b'\n').unwrap_or(text.len());
                return (Piece::Bad(LineErrorKind::UnbalancedQuotes), past(end));
            }
            _ => match line::split_text(line, Limits::default().args_max) {
                Ok(request) => Piece::Command(request),
                Err(kind) => Piece::Bad(kind),
            },
        };
        (piece, past(line.len()))
    }
}

/// The words of a line whose quotes may mean nothing.
pub(crate) fn split_roughly(line: &[u8]) -> OwnedRequest {
    line::split_text(line, Limits::default().args_max).unwrap_or_else(|_| {
        OwnedRequest::from_words(line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each piece of `text`: its words, `#` for a blank one, `!` for a bad one. Whatever pieces the text comes in.
    #[track_caller]
    fn pieces(lines: Lines, text: &str) -> Vec<String> {
        let text = text.as_bytes();
        let found: Vec<Vec<String>> = [1, 3, text.len().max(1)].map(|step| in_steps(lines, text, step)).to_vec();
        assert!(found.iter().all(|other| *other == found[0]), "{found:?}");
        found.into_iter().next().unwrap()
    }

    fn in_steps(lines: Lines, text: &[u8], step: usize) -> Vec<String> {
        let mut splitter = Splitter::new(lines);
        let (mut start, mut end, mut found) = (0, 0, Vec::new());
        loop {
            match splitter.next(&text[start..end], end == text.len()) {
                Some((piece, length)) => {
                    assert!(length > 0);
                    start += length;
                    found.push(match piece {
                        Piece::Blank => "#".to_owned(),
                        Piece::Bad(_) => "!".to_owned(),
                        Piece::Command(request) => {
                            let words =
                                request.as_request().iter().map(|word| String::from_utf8_lossy(word).into_owned());
                            words.collect::<Vec<_>>().join("|")
                        }
                    });
                }
                None if end == text.len() => break,
                None => end = (end + step).min(text.len()),
            }
        }
        assert_eq!(start, text.len());
        found
    }

    #[test]
    fn a_command_is_a_line() {
        let quoted = |text| pieces(Lines::Quoted, text);
        assert_eq!(quoted("PING\r\nGET \"a b\"\n\n # SET it's\nGET k"), ["PING", "GET|a b", "#", "#", "GET|k"]);
        assert_eq!(quoted(""), [""; 0]);
        assert_eq!(quoted("\n"), ["#"]);
        assert_eq!(quoted("GET #k"), ["GET|#k"]);
    }

    #[test]
    fn quotes_hold_ends_of_lines() {
        let quoted = |text| pieces(Lines::Quoted, text);
        assert_eq!(quoted("SET k 'a\n\n#b' \nPING"), ["SET|k|a\n\n#b", "PING"]);
        assert_eq!(quoted("SET k \"a\\\"\nb\\\\\"\nPING\n"), ["SET|k|a\"\nb\\", "PING"]);
        assert_eq!(quoted("SET k 'a\\\\\\'\nb'\nPING\n"), ["SET|k|a\\\\'\nb", "PING"]);
        assert_eq!(quoted("SET k \"a\\\nb\""), ["SET|k|a\nb"]);
    }

    #[test]
    fn a_bad_line_takes_no_other_with_it() {
        let quoted = |text| pieces(Lines::Quoted, text);
        assert_eq!(quoted("SET a 'x\nPING\nGET k"), ["!", "PING", "GET|k"]);
        assert_eq!(quoted("SET a 'x\nSET b 'y'\nPING"), ["!", "SET|b|y", "PING"]);
        assert_eq!(quoted("SET a 'x'y\nPING"), ["!", "PING"]);
        assert_eq!(quoted("SET a don't\nSET b dogs' x\nPING"), ["!", "!", "PING"]);
        assert_eq!(quoted("SET a \"x"), ["!"]);
    }

    #[test]
    fn lines_that_are_sent_as_typed_are_never_bad() {
        assert_eq!(
            pieces(Lines::AsTyped, "PUT a don't\nPUT b \"x y\"\n# c\nPUT c 'x"),
            ["PUT|a|don't", "PUT|b|x y", "#", "PUT|c|'x"]
        );
    }
}
