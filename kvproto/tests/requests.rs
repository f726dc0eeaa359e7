//! Requests read the same however their bytes are split, for RESP, inline requests and each style of line.

use kvproto::line::{LineDecoder, LineErrorKind, Style};
use kvproto::resp::{RequestDecoder, encode_request};
use kvproto::{Limits, ProtocolError};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// One request as it was read, or why none could be.
type Read<E> = Result<Vec<Vec<u8>>, E>;

/// Feeds `input` piece by piece, as a server does: a buffer from which what was consumed is dropped.
fn read_resp(input: &[u8], pieces: &[usize], limits: &Limits) -> Vec<Read<ProtocolError>> {
    let mut decoder = RequestDecoder::new();
    let mut buffer = Vec::new();
    let mut read = Vec::new();
    for piece in split(input, pieces) {
        buffer.extend_from_slice(piece);
        loop {
            match decoder.decode(&buffer, limits) {
                Ok(Some(consumed)) => {
                    assert!(consumed > 0 && consumed <= buffer.len());
                    let request = decoder.request(&buffer);
                    assert_eq!(request.len(), request.iter().count());
                    if !request.is_empty() {
                        read.push(Ok(request.iter().map(<[u8]>::to_vec).collect()));
                    }
                    buffer.drain(..consumed);
                }
                Ok(None) => {
                    assert!(decoder.request(&buffer).is_empty() || buffer.is_empty());
                    assert!(decoder.bytes_wanted() > buffer.len());
                    break;
                }
                Err(error) => {
                    read.push(Err(error));
                    return read;
                }
            }
        }
        // What is held between two calls is bounded by the limits alone.
        assert!(buffer.len() <= limits.request_bytes_max.max(limits.inline_bytes_max) + piece.len());
    }
    read
}

fn read_lines(input: &[u8], pieces: &[usize], style: Style, limits: &Limits) -> Vec<Read<LineErrorKind>> {
    let mut decoder = LineDecoder::new();
    let mut buffer = Vec::new();
    let mut read = Vec::new();
    for piece in split(input, pieces) {
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
                        // Whoever reads it closes the connection: nothing behind it is read.
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

/// `input` cut into pieces of these lengths, over and over until it is used up.
fn split<'i>(mut input: &'i [u8], pieces: &[usize]) -> Vec<&'i [u8]> {
    let mut split = Vec::new();
    for &piece in pieces.iter().cycle() {
        let (head, rest) = input.split_at(piece.clamp(1, input.len().max(1)).min(input.len()));
        split.push(head);
        input = rest;
        if input.is_empty() {
            return split;
        }
    }
    vec![input]
}

/// Limits so small that random requests pass them.
fn tight() -> Limits {
    Limits {
        args_max: 5,
        bulk_bytes_max: 12,
        inline_bytes_max: 24,
        line_bytes_max: 24,
        request_bytes_max: 64,
        authenticated: true,
    }
}

/// Streams that are RESP here and there, so that every branch of the decoder is visited.
fn resp_like() -> impl Strategy<Value = Vec<u8>> {
    let fragment = select(vec![
        &b"*"[..],
        b"*0\r\n",
        b"*1\r\n",
        b"*2\r\n",
        b"*3\r\n",
        b"*-1\r\n",
        b"*9\r\n",
        b"*x\r\n",
        b"$",
        b"$0\r\n\r\n",
        b"$1\r\na\r\n",
        b"$3\r\nGET\r\n",
        b"$5\r\nhello\r\n",
        b"$-1\r\n",
        b"$99\r\n",
        b"$11\r\n",
        b"\r\n",
        b"\r",
        b"\n",
        b"GET k\r\n",
        b"SET k \"a b\"\n",
        b"'",
        b"\"",
        b"\\x4",
        b" ",
        b"PING\n",
        b"abcdefghij",
    ]);
    vec(fragment, 0..12).prop_map(|fragments| fragments.concat())
}

/// The first bytes of TLS, in a line of few bytes, followed by a line that is too long.
#[test]
fn nothing_is_read_behind_another_protocol_however_it_is_split() {
    let input = [&[22, 3, b'\n'][..], &[0; 25]].concat();
    let expected = vec![Err(LineErrorKind::OtherProtocol)];
    for pieces in [&[1][..], &[2, 7], &[input.len()]] {
        assert_eq!(read_lines(&input, pieces, Style::Plain, &tight()), expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_split_of_any_resp_stream_gives_the_same_requests(
        input in prop_oneof![resp_like(), vec(any::<u8>(), 0..200)],
        pieces in vec(1..20usize, 1..6),
    ) {
        for limits in [Limits::default(), Limits::unauthenticated(), tight()] {
            let whole = read_resp(&input, &[input.len()], &limits);
            prop_assert_eq!(&read_resp(&input, &pieces, &limits), &whole);
            prop_assert_eq!(&read_resp(&input, &[1], &limits), &whole);
        }
    }

    #[test]
    fn requests_read_as_they_were_written(
        requests in vec(vec(vec(any::<u8>(), 0..40), 1..6), 0..6),
        pieces in vec(1..50usize, 1..6),
    ) {
        let mut input = Vec::new();
        for request in &requests {
            encode_request(request, &mut input);
        }
        let expected: Vec<_> = requests.into_iter().map(Ok).collect();
        prop_assert_eq!(read_resp(&input, &pieces, &Limits::default()), expected);
    }

    #[test]
    fn any_split_of_any_lines_gives_the_same_requests(
        input in prop_oneof![resp_like(), vec(any::<u8>(), 0..200), "[a-c \"'\\\\\n\r]{0,120}".prop_map(String::into_bytes)],
        pieces in vec(1..20usize, 1..6),
    ) {
        for style in [Style::Terse, Style::Plain, Style::Verbose] {
            for limits in [Limits::default(), tight()] {
                let whole = read_lines(&input, &[input.len()], style, &limits);
                prop_assert_eq!(&read_lines(&input, &pieces, style, &limits), &whole);
                prop_assert_eq!(&read_lines(&input, &[1], style, &limits), &whole);
                // One answer for each line, whatever is in it; one more for a line too long whose end is not in sight.
                let lines = input.iter().filter(|byte| **byte == b'\n').count();
                let ends_early = whole.last() == Some(&Err(LineErrorKind::OtherProtocol));
                prop_assert!(whole.len() == lines || whole.len() == lines + 1 || (ends_early && whole.len() < lines));
            }
        }
    }

    #[test]
    fn quoted_words_read_as_they_were_written(
        words in vec(vec(any::<u8>(), 0..20), 1..6),
        pieces in vec(1..50usize, 1..6),
    ) {
        use kvproto::quote::{HighBytes, write_quoted};
        let mut line = Vec::new();
        for word in &words {
            write_quoted(word, HighBytes::Keep, &mut line);
            line.push(b' ');
        }
        line.extend_from_slice(b"\r\n");
        let limits = Limits::default();
        prop_assert_eq!(read_lines(&line, &pieces, Style::Plain, &limits), vec![Ok(words.clone())]);
        prop_assert_eq!(read_resp(&line, &pieces, &limits), vec![Ok(words)]);
    }
}

fn error_of(input: &[u8], limits: &Limits) -> String {
    match read_resp(input, &[input.len()], limits).pop() {
        Some(Err(error)) => error.to_string(),
        other => format!("{other:?}"),
    }
}

#[test]
fn protocol_errors_are_worded_as_redis_words_them() {
    let limits = Limits::default();
    let long = vec![b'1'; 70_000];
    let long_after = |prefix: &[u8]| [prefix, &long].concat();
    for (input, error) in [
        (b"*x\r\n".to_vec(), "invalid multibulk length"),
        (b"*1048577\r\n".to_vec(), "invalid multibulk length"),
        (b"*\r\n".to_vec(), "invalid multibulk length"),
        (b"*1\r\nx\r\n".to_vec(), "expected '$', got 'x'"),
        (b"*1\r\n:1\r\n".to_vec(), "expected '$', got ':'"),
        (b"*1\r\n\r\n".to_vec(), "expected '$', got ' '"),
        (b"*1\r\n$x\r\n".to_vec(), "invalid bulk length"),
        (b"*1\r\n$-1\r\n".to_vec(), "invalid bulk length"),
        (b"*1\r\n$536870913\r\n".to_vec(), "invalid bulk length"),
        (b"*1\r\n$99999999999999999999\r\n".to_vec(), "invalid bulk length"),
        (b"GET \"k\r\n".to_vec(), "unbalanced quotes in request"),
        (b"GET 'k'x\r\n".to_vec(), "unbalanced quotes in request"),
        (long_after(b"*"), "too big mbulk count string"),
        (long_after(b"*1\r\n$"), "too big bulk count string"),
        (long_after(b"GET "), "too big inline request"),
    ] {
        assert_eq!(error_of(&input, &limits), format!("Protocol error: {error}"));
    }
}

#[test]
fn a_client_that_has_not_logged_in_may_send_little() {
    let limits = Limits::unauthenticated();
    for (input, error) in
        [(&b"*11\r\n"[..], "unauthenticated multibulk length"), (b"*1\r\n$16385\r\n", "unauthenticated bulk length")]
    {
        assert_eq!(error_of(input, &limits), format!("Protocol error: {error}"));
    }
    assert_eq!(read_resp(b"*1\r\n$4\r\nPING\r\n", &[3], &limits), [Ok(vec![b"PING".to_vec()])]);
}

#[test]
fn limits_hold_exactly() {
    let limits = tight();
    let read = |words: &[&[u8]]| {
        let mut input = Vec::new();
        encode_request(words, &mut input);
        read_resp(&input, &[7], &limits).pop()
    };
    assert!(matches!(read(&[b"a", b"b", b"c", b"d", b"e"]), Some(Ok(_))));
    assert_eq!(read(&[b"a", b"b", b"c", b"d", b"e", b"f"]), Some(Err(ProtocolError::InvalidCount)));
    assert!(matches!(read(&[&[b'x'; 12]]), Some(Ok(_))));
    assert_eq!(read(&[&[b'x'; 13]]), Some(Err(ProtocolError::InvalidBulkLength)));
    // 4 bytes of count, then 5 + 12 + 2 for each word of 12.
    assert!(matches!(read(&[&[b'x'; 12], &[b'x'; 12], &[b'x'; 12]]), Some(Ok(_))));
    assert_eq!(read(&[&[b'x'; 12], &[b'x'; 12], &[b'x'; 12], b""]), Some(Err(ProtocolError::RequestTooLong)));
    let inline = |len: usize| read_resp(&[vec![b'x'; len], b"\n".to_vec()].concat(), &[7], &limits).pop();
    assert!(matches!(inline(24), Some(Ok(_))));
    assert_eq!(inline(25), Some(Err(ProtocolError::InlineTooLong)));
}
