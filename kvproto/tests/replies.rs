//! Every reply decodes to what was encoded: in RESP3 exactly, in RESP2 to its documented downgrade.

use kvproto::resp::{ReplyDecoder, Version, encode};
use kvproto::{ProtocolError, Reply};
use proptest::collection::vec;
use proptest::prelude::*;

const BYTES_MAX: usize = 1 << 20;

fn leaf() -> impl Strategy<Value = Reply> {
    prop_oneof![
        Just(Reply::Ok),
        Just(Reply::Nil),
        // `+OK` is Reply::Ok, so the same text is no Simple.
        "[^\r\n]{0,12}".prop_filter("is Reply::Ok", |text| text != "OK").prop_map(Reply::simple),
        "[^\r\n]{0,12}".prop_map(Reply::error),
        any::<i64>().prop_map(Reply::Integer),
        any::<f64>().prop_filter("NaN equals nothing", |value| !value.is_nan()).prop_map(Reply::Double),
        any::<bool>().prop_map(Reply::Bool),
        "-?[0-9]{1,40}".prop_map(Reply::BigNumber),
        vec(any::<u8>(), 0..80).prop_map(Reply::bulk),
        (any::<[u8; 3]>(), vec(any::<u8>(), 0..20)).prop_map(|(format, text)| Reply::Verbatim { format, text }),
    ]
}

fn reply() -> impl Strategy<Value = Reply> {
    leaf().prop_recursive(4, 60, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Reply::Array),
            vec(inner.clone(), 0..6).prop_map(Reply::Set),
            vec(inner.clone(), 0..6).prop_map(Reply::Push),
            vec((inner.clone(), inner), 0..4).prop_map(Reply::Map),
        ]
    })
}

/// What RESP2 makes of a reply.
fn downgraded(reply: &Reply) -> Reply {
    let items = |items: &[Reply]| Reply::Array(items.iter().map(downgraded).collect());
    match reply {
        Reply::Double(value) => {
            let mut text = Vec::new();
            kvproto::number::write_double(*value, &mut text);
            Reply::bulk(text)
        }
        Reply::Bool(value) => Reply::Integer((*value).into()),
        Reply::BigNumber(digits) => Reply::bulk(digits.as_str()),
        Reply::Verbatim { text, .. } => Reply::bulk(text.clone()),
        Reply::Array(list) | Reply::Set(list) | Reply::Push(list) => items(list),
        Reply::Map(pairs) => {
            Reply::Array(pairs.iter().flat_map(|(key, value)| [downgraded(key), downgraded(value)]).collect())
        }
        other => other.clone(),
    }
}

/// Reads all replies from `input`, which arrives `piece` bytes at a time.
fn decode_all(input: &[u8], piece: usize, bytes_max: usize) -> Result<Vec<Reply>, ProtocolError> {
    let mut decoder = ReplyDecoder::new(bytes_max);
    let mut buffer = Vec::new();
    let mut replies = Vec::new();
    for piece in input.chunks(piece) {
        buffer.extend_from_slice(piece);
        while let Some((reply, consumed)) = decoder.decode(&buffer)? {
            assert!(consumed > 0);
            buffer.drain(..consumed);
            replies.push(reply);
        }
        // Whether a caller lets go of what has been read makes no difference.
        if input.len().is_multiple_of(2) {
            buffer.drain(..decoder.release());
        }
    }
    Ok(replies)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_reply_decodes_to_what_was_encoded(replies in vec(reply(), 1..4), piece in 1..40usize) {
        let mut resp3 = Vec::new();
        let mut resp2 = Vec::new();
        for reply in &replies {
            encode(reply, Version::Resp3, &mut resp3);
            encode(reply, Version::Resp2, &mut resp2);
        }
        prop_assert_eq!(&decode_all(&resp3, resp3.len(), BYTES_MAX).unwrap(), &replies);
        prop_assert_eq!(&decode_all(&resp3, piece, BYTES_MAX).unwrap(), &replies);
        let downgraded: Vec<_> = replies.iter().map(downgraded).collect();
        prop_assert_eq!(&decode_all(&resp2, piece, BYTES_MAX).unwrap(), &downgraded);
    }

    #[test]
    fn a_text_of_any_bytes_stays_one_reply(text in any::<String>()) {
        for reply in [Reply::simple(text.clone()), Reply::error(text)] {
            let mut out = Vec::new();
            encode(&reply, Version::Resp2, &mut out);
            prop_assert_eq!(decode_all(&out, out.len(), BYTES_MAX).unwrap().len(), 1);
        }
    }

    #[test]
    fn doubles_survive_as_text(value in any::<f64>()) {
        let mut text = Vec::new();
        kvproto::number::write_double(value, &mut text);
        let back: f64 = std::str::from_utf8(&text).unwrap().parse().unwrap();
        prop_assert!(back == value || (back.is_nan() && value.is_nan()));
    }

    #[test]
    fn any_split_of_any_bytes_gives_the_same_replies(
        input in prop_oneof![
            vec(any::<u8>(), 0..100),
            "[-+:$*_#,(!=%~>|0-3tf\r\n]{0,60}".prop_map(String::into_bytes),
            "([*%~>|]1\r\n|[$!=]4\r\ntxt:\r\n|:1\r\n|_\r\n|#t\r\n|,1.5\r\n){0,20}".prop_map(String::into_bytes),
        ],
        piece in 1..20usize,
    ) {
        for bytes_max in [24, 200, BYTES_MAX] {
            let whole = decode_all(&input, input.len().max(1), bytes_max);
            prop_assert_eq!(&decode_all(&input, piece, bytes_max), &whole);
        }
    }
}

#[test]
fn the_nil_list_of_resp2_is_told_from_nil() {
    assert_eq!(decode_all(b"*-1\r\n$-1\r\n_\r\n", 3, BYTES_MAX).unwrap(), [Reply::NilArray, Reply::Nil, Reply::Nil]);
}

#[test]
fn attributes_are_read_and_dropped() {
    let input = b"|1\r\n+ttl\r\n:9\r\n*2\r\n|1\r\n+a\r\n*0\r\n:1\r\n:2\r\n";
    assert_eq!(decode_all(input, 1, BYTES_MAX).unwrap(), [Reply::Array(vec![Reply::Integer(1), Reply::Integer(2)])]);
}

#[test]
fn a_reply_nested_without_end_is_refused() {
    let input = b"*1\r\n".repeat(100_000);
    assert_eq!(decode_all(&input, 1_000, BYTES_MAX), Err(ProtocolError::ReplyTooDeep));
}

#[test]
fn a_reply_too_large_is_refused_before_it_arrives() {
    for input in [&b"$1048577\r\n"[..], b"*1048577\r\n", b"%400000\r\n", b"*9223372036854775807\r\n"] {
        assert_eq!(decode_all(input, 4, BYTES_MAX), Err(ProtocolError::ReplyTooLong));
    }
    let endless = vec![b'+'; BYTES_MAX + 2];
    assert_eq!(decode_all(&endless, 4_096, BYTES_MAX), Err(ProtocolError::ReplyTooLong));
}

#[test]
fn what_a_reply_takes_in_memory_is_bounded_too() {
    let items = BYTES_MAX / size_of::<Reply>();
    for (item, count) in
        [(&b"_\r\n"[..], items), (b"*0\r\n", items), (b"$4\r\nword\r\n", BYTES_MAX / (size_of::<Reply>() + 4))]
    {
        let list = |count: usize| [format!("*{count}\r\n").as_bytes(), &item.repeat(count)].concat();
        for piece in [1_000, usize::MAX] {
            assert!(decode_all(&list(count), piece, BYTES_MAX).is_ok_and(|replies| replies.len() == 1), "{piece}");
            assert_eq!(decode_all(&list(count + 1), piece, BYTES_MAX), Err(ProtocolError::ReplyTooLong), "{piece}");
        }
    }
    // Attributes are dropped, and take nothing any more.
    let many = [b"*2\r\n", &*b"|1\r\n+a\r\n$4\r\nword\r\n".repeat(items / 3), b":1\r\n", b"_\r\n"].concat();
    assert!(decode_all(&many, 1_000, BYTES_MAX * 4).is_ok_and(|replies| replies.len() == 1));
    // After an error the decoder begins anew, whatever it is given.
    let mut decoder = ReplyDecoder::new(BYTES_MAX);
    assert!(decoder.decode(b"*2\r\n:1\r\n:x\r\n").is_err());
    assert_eq!((decoder.decode(b""), decoder.release()), (Ok(None), 0));
    // A long string behind a long list.
    let list = [b"*2\r\n*1000\r\n", &*b"_\r\n".repeat(1000), b"$1048000\r\n"].concat();
    assert_eq!(decode_all(&list, 1_000, BYTES_MAX), Err(ProtocolError::ReplyTooLong));
}

#[test]
fn a_line_is_bounded_however_large_a_reply_may_be() {
    let line = |len: usize| [&b"*2\r\n:1\r\n+"[..], &vec![b'x'; len - 1], b"\r\n"].concat();
    let longest = 1 << 20;
    for piece in [1_000, longest, usize::MAX] {
        assert!(decode_all(&line(longest), piece, usize::MAX).is_ok_and(|replies| replies.len() == 1), "{piece}");
        assert_eq!(decode_all(&line(longest + 2), piece, usize::MAX), Err(ProtocolError::ReplyTooLong), "{piece}");
    }
    for kind in b"+-:$*_#,(!=%~>|" {
        let endless = [&[*kind][..], &vec![b'1'; longest + 2]].concat();
        assert_eq!(decode_all(&endless, 1_000, usize::MAX), Err(ProtocolError::ReplyTooLong));
    }
}
