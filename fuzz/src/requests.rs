//! Requests as they come over the wire: RESP, inline, lines in their three styles, and quoting.
//!
//! Invariant: what is read is what a second, simpler reader reads from the same bytes all at once.

use kvproto::line::{self, LineDecoder, LineErrorKind, Style};
use kvproto::quote::{HighBytes, write_escaped, write_quoted};
use kvproto::resp::{self, RequestDecoder, encode_request};
use kvproto::{Limits, OwnedRequest, ProtocolError, Reply, spec};

use super::memory::bounded;

/// One request as it was read, or why none could be.
type Read<E> = Result<Vec<Vec<u8>>, E>;

/// Takes the first byte off as a choice.
fn choose(input: &[u8]) -> (u8, &[u8]) {
    input.split_first().map_or((0, input), |(choice, rest)| (*choice, rest))
}

fn limits(choice: u8) -> Limits {
    match choice % 3 {
        0 => Limits::default(),
        1 => Limits::unauthenticated(),
        // So small that random requests pass them.
        _ => Limits {
            args_max: 5,
            bulk_bytes_max: 12,
            inline_bytes_max: 24,
            line_bytes_max: 24,
            request_bytes_max: 64,
            authenticated: true,
        },
    }
}

/// What the product reads from `input` when it comes in pieces of this many bytes.
fn read_resp(input: &[u8], piece: usize, limits: &Limits) -> Vec<Read<ProtocolError>> {
    let mut decoder = RequestDecoder::new();
    let (mut buffer, mut read) = (Vec::new(), Vec::new());
    for piece in input.chunks(piece) {
        buffer.extend_from_slice(piece);
        loop {
            match decoder.decode(&buffer, limits) {
                Ok(Some(consumed)) => {
                    assert!(consumed > 0 && consumed <= buffer.len());
                    let request = decoder.request(&buffer);
                    if !request.is_empty() {
                        read.push(Ok(request.iter().map(<[u8]>::to_vec).collect()));
                    }
                    buffer.drain(..consumed);
                }
                Ok(None) => {
                    assert!(decoder.bytes_wanted() > buffer.len());
                    assert!(decoder.bytes_wanted() <= limits.request_bytes_max + limits.inline_bytes_max + 4);
                    break;
                }
                Err(error) => {
                    assert!(!error.to_string().contains(['\r', '\n']));
                    read.push(Err(error));
                    return read;
                }
            }
        }
    }
    read
}

/// How the simple reader's stream ends.
#[derive(PartialEq, Debug)]
enum End {
    Whole,
    Cut,
    Broken,
}

/// The simple reader: the whole stream at once, by its grammar.
fn expected(mut input: &[u8], limits: &Limits) -> (Vec<Vec<Vec<u8>>>, End) {
    let mut read = Vec::new();
    while let Some(first) = input.first() {
        let request = if *first == b'*' { expected_array(input, limits) } else { expected_inline(input, limits) };
        match request {
            Err(end) => return (read, end),
            Ok((words, rest)) => {
                if !words.is_empty() {
                    read.push(words);
                }
                input = rest;
            }
        }
    }
    (read, End::Whole)
}

type Taken<'i> = Result<(Vec<Vec<u8>>, &'i [u8]), End>;

fn expected_inline<'i>(input: &'i [u8], limits: &Limits) -> Taken<'i> {
    let max = limits.inline_bytes_max.min(limits.request_bytes_max);
    match input.iter().position(|byte| *byte == b'\n') {
        None if input.len() <= max => Err(End::Cut),
        Some(end) if end <= max => {
            let words = split_quoted(&input[..end]).filter(|words| words.len() <= limits.args_max);
            if is_other_protocol(&input[..end], words.as_ref().map(Vec::len)) {
                return Err(End::Broken);
            }
            Ok((words.ok_or(End::Broken)?, &input[end + 1..]))
        }
        _ => Err(End::Broken),
    }
}

/// HTTP or TLS, after which nothing is read.
fn is_other_protocol(line: &[u8], split: Option<usize>) -> bool {
    let text = String::from_utf8_lossy(line).to_ascii_uppercase();
    let words: Vec<&str> = text.split([' ', '\t', '\n', '\r']).filter(|word| !word.is_empty()).collect();
    let version = words.get(2).and_then(|word| word.strip_prefix("HTTP/")).unwrap_or_default().as_bytes();
    let is_http =
        words.len() == 3 && matches!(version, [major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit());
    line.starts_with(b"\x16\x03") || (is_http && split.is_none_or(|words| words == 3))
}

fn expected_array<'i>(input: &'i [u8], limits: &Limits) -> Taken<'i> {
    let max = limits.inline_bytes_max.min(limits.request_bytes_max);
    // A header: its kind, its number, where it ends.
    let header = |at: usize| -> Result<(Option<u8>, Option<i64>, usize), End> {
        match input[at..].iter().position(|byte| *byte == b'\r') {
            None if input.len() - at <= max => Err(End::Cut),
            Some(len) if len <= max && at + len + 2 <= input.len() => {
                let line = &input[at..at + len];
                let number = std::str::from_utf8(line.get(1..).unwrap_or_default())
                    .ok()
                    .and_then(|digits| digits.parse::<i64>().ok().filter(|number| number.to_string() == digits));
                Ok((line.first().copied(), number, at + len + 2))
            }
            Some(len) if len <= max => Err(End::Cut),
            _ => Err(End::Broken),
        }
    };
    let (_, count, mut at) = header(0)?;
    let count = usize::try_from(count.ok_or(End::Broken)?).unwrap_or(0);
    if count > limits.args_max {
        return Err(End::Broken);
    }
    let mut words = Vec::new();
    while words.len() < count {
        let (kind, len, start) = header(at)?;
        let len = len.filter(|_| kind == Some(b'$')).and_then(|len| usize::try_from(len).ok()).ok_or(End::Broken)?;
        if len > limits.bulk_bytes_max || start + len + 2 > limits.request_bytes_max {
            return Err(End::Broken);
        }
        at = start + len + 2;
        if at > input.len() {
            return Err(End::Cut);
        }
        words.push(input[start..start + len].to_vec());
    }
    Ok((words, &input[at..]))
}

/// Splits a line as a state machine, one byte at a time.
pub(super) fn split_quoted(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    #[derive(PartialEq)]
    enum In {
        Blanks,
        Word,
        Double,
        Single,
        Closed,
    }
    let (mut words, mut word, mut state, mut at) = (Vec::new(), Vec::new(), In::Blanks, 0);
    let hex = |at: usize| char::from(*line.get(at)?).to_digit(16);
    while let Some(&byte) = line.get(at) {
        at += 1;
        let blank = b" \t\r\n".contains(&byte);
        match state {
            In::Blanks | In::Word | In::Closed if blank => {
                if state != In::Blanks {
                    words.push(std::mem::take(&mut word));
                }
                state = In::Blanks;
            }
            In::Closed => return None,
            In::Blanks | In::Word => match byte {
                b'"' => state = In::Double,
                b'\'' => state = In::Single,
                byte => {
                    word.push(byte);
                    state = In::Word;
                }
            },
            In::Double => match (byte, line.get(at)) {
                (b'"', _) => state = In::Closed,
                (b'\\', Some(&escaped)) => {
                    at += 1;
                    word.push(match (escaped, hex(at), hex(at + 1)) {
                        (b'x', Some(high), Some(low)) => {
                            at += 2;
                            (high * 16 + low) as u8
                        }
                        (b'n', ..) => b'\n',
                        (b'r', ..) => b'\r',
                        (b't', ..) => b'\t',
                        (b'a', ..) => 7,
                        (b'b', ..) => 8,
                        (other, ..) => other,
                    });
                }
                _ => word.push(byte),
            },
            In::Single => match (byte, line.get(at)) {
                (b'\'', _) => state = In::Closed,
                (b'\\', Some(b'\'')) => {
                    at += 1;
                    word.push(b'\'');
                }
                _ => word.push(byte),
            },
        }
    }
    match state {
        In::Double | In::Single => return None,
        In::Word | In::Closed => words.push(word),
        In::Blanks => {}
    }
    Some(words)
}

fn check_resp(input: &[u8], piece: usize, limits: &Limits) {
    let whole = read_resp(input, input.len().max(1), limits);
    assert_eq!(read_resp(input, piece, limits), whole, "in pieces of {piece}");
    assert_eq!(read_resp(input, 1, limits), whole, "byte by byte");
    let (expected, end) = expected(input, limits);
    let broken = whole.last().is_some_and(Result::is_err);
    assert_eq!(broken, end == End::Broken, "{end:?}: {whole:?}");
    let read: Vec<_> = whole.into_iter().filter_map(Result::ok).collect();
    assert_eq!(read, expected);
    // What was read reads the same when it is written by the book.
    let mut written = Vec::new();
    for words in &read {
        encode_request(words, &mut written);
    }
    let again: Vec<_> =
        read_resp(&written, written.len().max(1), &Limits::default()).into_iter().map(Result::unwrap).collect();
    assert_eq!(again, read);
    // A guess.
    let _ = resp::second_word(input);
    for words in &read {
        check_spec(words);
    }
    // A header of a few bytes reserves next to nothing.
    bounded(32 * input.len() + (64 << 10), || {
        let _ = RequestDecoder::new().decode(input, limits);
    });
}

/// What the command table says about a request points into the request.
fn check_spec(words: &[Vec<u8>]) {
    let owned = OwnedRequest::from_words(words);
    let request = owned.as_request();
    match spec::resolve(request) {
        Ok(spec) => {
            assert!(spec.keys(request).all(|(position, _)| position < request.len()), "{words:?}");
            assert!(spec.find_keys(request).into_iter().all(|(position, _)| position < request.len()), "{words:?}");
            let _ = line::check_terse(spec, request, 256, 256);
        }
        Err(error) => {
            let text = error.to_string();
            assert!(!text.contains(['\r', '\n']) && text.len() < 2048, "{text}");
        }
    }
}

/// `[choice][stream]`
pub fn resp(input: &[u8]) {
    let (choice, input) = choose(input);
    check_resp(input, usize::from(choice / 3) + 1, &limits(choice));
}

/// As [`resp`], with the stream's lines all inline.
pub fn inline(input: &[u8]) {
    let (choice, input) = choose(input);
    let lines: Vec<u8> = input
        .split_inclusive(|byte| *byte == b'\n')
        .flat_map(|line| if line.starts_with(b"*") { &line[1..] } else { line })
        .copied()
        .collect();
    check_resp(&lines, usize::from(choice / 3) + 1, &limits(choice));
}

fn read_lines(input: &[u8], piece: usize, style: Style, limits: &Limits) -> Vec<Read<LineErrorKind>> {
    let mut decoder = LineDecoder::new();
    let (mut buffer, mut read) = (Vec::new(), Vec::new());
    for piece in input.chunks(piece) {
        buffer.extend_from_slice(piece);
        loop {
            match decoder.decode(&buffer, style, limits) {
                Ok(Some(consumed)) => {
                    assert!(consumed > 0 && consumed <= buffer.len());
                    let request = decoder.request(&buffer);
                    if !request.is_empty() {
                        read.push(Ok(request.iter().map(<[u8]>::to_vec).collect()));
                    }
                    buffer.drain(..consumed);
                }
                Ok(None) => break,
                Err(error) => {
                    assert!(error.skip > 0 && error.skip <= buffer.len());
                    read.push(Err(error.kind));
                    if error.kind == LineErrorKind::OtherProtocol {
                        return read;
                    }
                    buffer.drain(..error.skip);
                }
            }
        }
        assert!(buffer.len() <= limits.line_bytes_max);
    }
    read
}

fn expected_line(line: &[u8], ended: bool, style: Style, limits: &Limits) -> Option<Read<LineErrorKind>> {
    if line.len() > limits.line_bytes_max {
        return Some(Err(LineErrorKind::TooLong));
    }
    if !ended {
        return None;
    }
    let words = match style {
        Style::Terse => {
            let words = line.split(|byte| b" \t\r\n".contains(byte)).filter(|word| !word.is_empty());
            Some(words.map(<[u8]>::to_vec).collect())
        }
        _ => split_quoted(line),
    };
    if is_other_protocol(line, words.as_ref().map(Vec::len).filter(|words| *words <= limits.args_max)) {
        return Some(Err(LineErrorKind::OtherProtocol));
    }
    Some(match words {
        // Which of two faults is told of is the reader's choice.
        None => Err(LineErrorKind::UnbalancedQuotes),
        Some(words) if words.len() > limits.args_max => Err(LineErrorKind::TooManyWords),
        Some(words) if words.is_empty() => Err(LineErrorKind::Empty),
        Some(words) => Ok(words),
    })
}

/// `[choice][stream]`, in each style.
pub fn lines(input: &[u8]) {
    let (choice, input) = choose(input);
    let limits = limits(choice);
    for style in [Style::Terse, Style::Plain, Style::Verbose] {
        let whole = read_lines(input, input.len().max(1), style, &limits);
        assert_eq!(read_lines(input, usize::from(choice / 3) + 1, style, &limits), whole);
        assert_eq!(read_lines(input, 1, style, &limits), whole);
        // One answer for each line, and the right one.
        let mut expected: Vec<_> = input
            .split_inclusive(|byte| *byte == b'\n')
            .filter_map(|line| match line.strip_suffix(b"\n") {
                Some(line) => expected_line(line, true, style, &limits),
                None => expected_line(line, false, style, &limits),
            })
            .collect();
        if let Some(last) = expected.iter().position(|read| *read == Err(LineErrorKind::OtherProtocol)) {
            expected.truncate(last + 1);
        }
        let told = |read: &Read<LineErrorKind>| match read {
            Err(LineErrorKind::TooManyWords) => Err(LineErrorKind::UnbalancedQuotes),
            other => other.clone(),
        };
        assert_eq!(whole.iter().map(told).collect::<Vec<_>>(), expected.iter().map(told).collect::<Vec<_>>());
        for words in whole.iter().flatten() {
            check_spoken(words, style);
        }
    }
}

/// Whatever is answered to it, the answer is one line.
fn check_spoken(words: &[Vec<u8>], style: Style) {
    let owned = OwnedRequest::from_words(words);
    let command = spec::resolve(owned.as_request()).ok().map(|spec| (spec, owned.as_request()));
    let text = String::from_utf8_lossy(words.last().map_or(&[][..], Vec::as_slice)).into_owned();
    let items = || words.iter().map(|word| Reply::bulk(&word[..])).collect::<Vec<_>>();
    for reply in [
        Reply::Ok,
        Reply::Nil,
        Reply::Integer(1),
        Reply::Integer(0),
        Reply::error(text.clone()),
        Reply::simple(text.clone()),
        Reply::text(text.clone()),
        Reply::bulk(text.as_str()),
        Reply::Array(items()),
        Reply::Push(vec![Reply::Array(items()), Reply::Nil, Reply::Bool(true)]),
        Reply::Map(vec![(Reply::bulk(text.as_str()), Reply::Set(items()))]),
    ] {
        let mut out = Vec::new();
        line::speak(style, command, &reply, &mut out);
        let silent = command.is_some_and(|(spec, _)| spec.name == "quit") && !reply.is_error();
        assert_eq!(out.iter().filter(|byte| byte.is_ascii_control()).count(), usize::from(!silent), "{reply:?}");
        assert!(silent || out.ends_with(b"\n"), "{reply:?}");
    }
}

/// Any words, quoted either way, read as they were: `[choice][words, a zero byte between two]`
pub fn quoting(input: &[u8]) {
    let (choice, input) = choose(input);
    let high = if choice & 1 == 0 { HighBytes::Keep } else { HighBytes::Escape };
    let separator = choice & 2;
    let words: Vec<&[u8]> = input.split(|byte| *byte == separator).collect();
    let mut line = Vec::new();
    for word in &words {
        let start = line.len();
        write_quoted(word, high, &mut line);
        assert!(line[start..].iter().all(|byte| !byte.is_ascii_control()));
        assert!(high == HighBytes::Keep || line[start..].is_ascii());
        line.push(b' ');
        let mut escaped = Vec::new();
        write_escaped(word, b'\'', high, &mut escaped);
        assert!(escaped.iter().all(|byte| !byte.is_ascii_control()));
    }
    line.extend_from_slice(b"\r\n");
    let expected: Vec<Vec<u8>> = words.iter().map(|word| word.to_vec()).collect();
    let limits = Limits { inline_bytes_max: 1 << 30, line_bytes_max: 1 << 30, ..Limits::default() };
    assert_eq!(split_quoted(&line[..line.len() - 2]), Some(expected.clone()));
    assert_eq!(read_resp(&line, line.len(), &limits), [Ok(expected.clone())]);
    assert_eq!(read_lines(&line, line.len(), Style::Plain, &limits), [Ok(expected)]);
    // As it stands it may be no request; it is read the same by both.
    let typed: Vec<u8> = input.iter().copied().filter(|byte| *byte != b'\n').collect();
    let read = match &read_lines(&[&typed[..], b"\n"].concat(), typed.len() + 1, Style::Plain, &limits)[..] {
        [Ok(words)] => Some(words.clone()),
        [Err(LineErrorKind::Empty)] => Some(Vec::new()),
        [Err(LineErrorKind::UnbalancedQuotes)] => None,
        [Err(LineErrorKind::OtherProtocol)] => return,
        other => panic!("{other:?}"),
    };
    assert_eq!(read, split_quoted(&typed));
}
