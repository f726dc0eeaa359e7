//! The words of what is being typed, and where each of them stands.
//!
//! Invariant: a text that can be sent is split into the same words as when it is sent.

/// One word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// Where it begins in the text, its quote included.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
    /// What it says, without its quotes.
    pub bytes: Vec<u8>,
    /// How it is quoted.
    pub quotes: Quotes,
}

impl AsRef<[u8]> for Word {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// How a word is quoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quotes {
    /// Not at all.
    None,
    /// Whole, from a quote of this kind to the next.
    Closed(u8),
    /// A quote of this kind was opened here and is not closed.
    Open(u8, usize),
    /// Something follows the closing quote, or the quote ends with the line: this can never be sent.
    Wrong,
}

/// The words of one command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// Its words.
    pub words: Vec<Word>,
    /// Where it begins in the text.
    pub start: usize,
    /// It begins with `#`, and is not sent.
    pub is_comment: bool,
    /// Where a pipe or the name of a file begins, which is no part of the command.
    pub aside: Option<usize>,
}

/// How lines become words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quoting {
    /// Quotes may hold blanks and ends of lines.
    Quoted,
    /// The server alone knows whether quotes mean anything.
    Unknown,
}

/// Splits a text into lines, and those into words. There is always a last line, which may be empty.
pub fn split(text: &str, quoting: Quoting) -> Vec<Line> {
    let bytes = text.as_bytes();
    let mut lines = vec![Line::default()];
    let mut at = 0;
    let mut is_counted = false;
    while let Some(&byte) = bytes.get(at) {
        if byte == b'\n' {
            at += 1;
            is_counted = false;
            lines.push(Line { start: at, ..Line::default() });
            continue;
        }
        if matches!(byte, b' ' | b'\t' | b'\r') {
            at += 1;
            continue;
        }
        let Some(line) = lines.last_mut() else { break };
        if line.words.is_empty() && byte == b'#' && quoting == Quoting::Quoted {
            line.is_comment = true;
            at = end_of_line(bytes, at);
            continue;
        }
        let word = match quoting {
            Quoting::Quoted => quoted_word(bytes, at),
            Quoting::Unknown => plain_word(bytes, at),
        };
        at = word.end;
        if quoting == Quoting::Quoted
            && !line.words.is_empty()
            && matches!(text.get(word.start..word.end), Some("|" | ">" | ">>" | "<"))
        {
            line.aside = Some(word.start);
            at = end_of_line(bytes, at);
            continue;
        }
        if word.quotes == Quotes::Wrong {
            at = end_of_line(bytes, at);
        }
        // How often the command is run is no part of it.
        let is_count = line.words.is_empty() && !is_counted && word.quotes == Quotes::None && is_count(&word.bytes);
        if is_count && at < bytes.len() && bytes.get(at) != Some(&b'\n') {
            is_counted = true;
        } else {
            line.words.push(word);
        }
    }
    lines
}

/// Whether a word is a number that stands before a command.
pub fn is_count(word: &[u8]) -> bool {
    !word.is_empty() && word.iter().all(u8::is_ascii_digit)
}

fn end_of_line(bytes: &[u8], from: usize) -> usize {
    bytes.iter().skip(from).position(|&byte| byte == b'\n').map_or(bytes.len(), |length| from + length)
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

fn plain_word(bytes: &[u8], start: usize) -> Word {
    let length = bytes.iter().skip(start).position(|&byte| is_blank(byte)).unwrap_or(bytes.len() - start);
    let end = start + length;
    Word { start, end, bytes: bytes.get(start..end).unwrap_or_default().to_vec(), quotes: Quotes::None }
}

fn quoted_word(bytes: &[u8], start: usize) -> Word {
    let mut said = Vec::new();
    let mut at = start;
    loop {
        let Some(&byte) = bytes.get(at).filter(|byte| !is_blank(**byte)) else {
            return Word { start, end: at, bytes: said, quotes: Quotes::None };
        };
        if !matches!(byte, b'"' | b'\'') {
            said.push(byte);
            at += 1;
            continue;
        }
        let opened = at;
        // A quote that opens within a word may be an apostrophe: it does not hold ends of lines.
        let limit = if opened > start { end_of_line(bytes, opened) } else { bytes.len() };
        let Some(end) = unquote(bytes.get(..limit).unwrap_or_default(), opened, &mut said) else {
            let quotes = if limit < bytes.len() { Quotes::Wrong } else { Quotes::Open(byte, opened) };
            return Word { start, end: limit, bytes: said, quotes };
        };
        let is_wrong = bytes.get(end).is_some_and(|&byte| !is_blank(byte));
        let quotes = match is_wrong {
            true => Quotes::Wrong,
            false if opened == start => Quotes::Closed(byte),
            false => Quotes::None,
        };
        return Word { start, end, bytes: said, quotes };
    }
}

/// Appends what stands between the quote at `opened` and the one that closes it; returns where that ends, or `None` if none
/// closes it.
fn unquote(bytes: &[u8], opened: usize, said: &mut Vec<u8>) -> Option<usize> {
    let quote = *bytes.get(opened)?;
    let mut at = opened + 1;
    loop {
        let rest = bytes.get(at..)?;
        let (byte, length) = match rest {
            [] => return None,
            [byte, ..] if *byte == quote => return Some(at + 1),
            [b'\\', b'x', high, low, ..] if quote == b'"' && high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
                (digit(*high)? * 16 + digit(*low)?, 4)
            }
            [b'\\', escaped, ..] if quote == b'"' => (unescaped(*escaped), 2),
            [b'\\', b'\'', ..] => (b'\'', 2),
            [byte, ..] => (*byte, 1),
        };
        said.push(byte);
        at += length;
    }
}

fn unescaped(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        byte => byte,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<Vec<(String, Quotes)>> {
        let word = |word: &Word| (String::from_utf8_lossy(&word.bytes).into_owned(), word.quotes);
        split(text, Quoting::Quoted).iter().map(|line| line.words.iter().map(word).collect()).collect()
    }

    fn plain(word: &str) -> (String, Quotes) {
        (word.to_owned(), Quotes::None)
    }

    #[test]
    fn words_lie_between_blanks_or_quotes() {
        assert_eq!(words("GET k"), [[plain("GET"), plain("k")]]);
        assert_eq!(words("GET \"a b\\x00\\n\""), [[plain("GET"), ("a b\0\n".to_owned(), Quotes::Closed(b'"'))]]);
        assert_eq!(words("GET 'it\\'s'"), [[plain("GET"), ("it's".to_owned(), Quotes::Closed(b'\''))]]);
        assert_eq!(words("GET a\"b\""), [[plain("GET"), plain("ab")]]);
        assert_eq!(words("GET \"a b"), [[plain("GET"), ("a b".to_owned(), Quotes::Open(b'"', 4))]]);
        assert_eq!(words("GET 'a'b c"), [[plain("GET"), ("a".to_owned(), Quotes::Wrong)]]);
        assert_eq!(
            words("GET it's\nGET b"),
            [vec![plain("GET"), ("its".to_owned(), Quotes::Wrong)], vec![plain("GET"), plain("b")]]
        );
        assert_eq!(words("SET a \"b\nc\"\n")[0][2], ("b\nc".to_owned(), Quotes::Closed(b'"')));
        assert_eq!(words("# GET 'a\nGET"), [vec![], vec![plain("GET")]]);
        let piped = &split("GET a | wc -c\nGET '|' >b", Quoting::Quoted);
        assert_eq!((piped[0].words.len(), piped[0].aside), (2, Some(6)));
        assert_eq!((piped[1].words.len(), piped[1].aside), (3, None));
        assert_eq!(words("5 INCR k"), [[plain("INCR"), plain("k")]]);
        assert_eq!(words("5"), [[plain("5")]]);
        assert_eq!(words("5 5 INCR k")[0][0], plain("5"));
        assert_eq!(split("GET it's", Quoting::Unknown)[0].words[1].bytes, b"it's");
        assert_eq!(split(" é x", Quoting::Quoted)[0].words[1].start, 4);
    }
}
