//! How much memory requests and replies may cost, counted at the allocator.

use allocation_counter::{AllocationInfo, measure};
use kvproto::line::{LineDecoder, Style, speak};
use kvproto::resp::{ReplyDecoder, RequestDecoder, Version, encode};
use kvproto::{Limits, Reply, spec};
use proptest::collection::vec;
use proptest::prelude::*;

/// What a header of a few bytes may make a decoder set aside, in bytes. (Errors are counted too, hence not zero.)
const SET_ASIDE_MAX: u64 = 64 * 1024;

#[test]
fn the_hot_path_allocates_nothing_once_warm() {
    let limits = Limits::default();
    let get = b"*2\r\n$3\r\nGET\r\n$5\r\nhello\r\n";
    let set = b"*3\r\n$3\r\nSET\r\n$5\r\nhello\r\n$5\r\nworld\r\n";
    let inline = b"SET hello \"wor ld\"\r\n";
    let line = b"SET hello world\n";
    let mut decoder = RequestDecoder::new();
    let mut lines = LineDecoder::new();
    let mut out = Vec::with_capacity(4_096);
    let mut round = |decoder: &mut RequestDecoder, out: &mut Vec<u8>| {
        out.clear();
        for input in [&get[..], set, inline] {
            assert_eq!(decoder.decode(input, &limits), Ok(Some(input.len())));
            let request = decoder.request(input);
            assert!(spec::resolve(request).is_ok_and(|spec| spec.keys(request).len() == 1));
        }
        assert_eq!(lines.decode(line, Style::Plain, &limits), Ok(Some(line.len())));
        let request = lines.request(line);
        for reply in [Reply::Ok, Reply::Integer(-12345), Reply::bulk("hello world"), Reply::Nil, Reply::Double(1.5)] {
            encode(&reply, Version::Resp3, out);
            speak(Style::Verbose, spec::lookup(b"set").map(|spec| (spec, request)), &reply, out);
        }
    };
    round(&mut decoder, &mut out);
    let cost = measure(|| round(&mut decoder, &mut out));
    assert_eq!(cost.count_total, 0);
}

/// What decoding `input` as requests and as a reply costs at the highest.
fn cost(input: &[u8]) -> [AllocationInfo; 3] {
    [
        measure(|| {
            let _ = RequestDecoder::new().decode(input, &Limits::default());
        }),
        measure(|| {
            let _ = ReplyDecoder::new(512 << 20).decode(input);
        }),
        measure(|| {
            let _ = LineDecoder::new().decode(input, Style::Plain, &Limits::default());
        }),
    ]
}

#[test]
fn a_length_alone_reserves_next_to_nothing() {
    for header in [
        &b"*1048576\r\n"[..],
        b"*1\r\n$536870912\r\n",
        b"*100000000\r\n",
        b"$536870000\r\n",
        b"%10000000\r\n",
        b"~100000000\r\n*100000000\r\n*100000000\r\n",
        b"=536870000\r\ntxt:",
    ] {
        for cost in cost(header) {
            assert!(cost.bytes_max <= SET_ASIDE_MAX, "{header:?}: {cost:?}");
        }
    }
}

#[test]
fn memory_of_an_unusual_request_is_given_back() {
    let limits = Limits::default();
    let mut decoder = RequestDecoder::new();
    let mut input = b"*500000\r\n".to_vec();
    input.extend_from_slice(&b"$1\r\nx\r\n".repeat(500_000));
    let small = b"*1\r\n$4\r\nPING\r\n";
    let cost = measure(|| {
        assert_eq!(decoder.decode(&input, &limits), Ok(Some(input.len())));
        assert_eq!(decoder.request(&input).len(), 500_000);
        assert_eq!(decoder.decode(small, &limits), Ok(Some(small.len())));
    });
    assert!(cost.bytes_current <= SET_ASIDE_MAX as i64, "{cost:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn arbitrary_bytes_cost_no_more_than_their_size_explains(
        input in prop_oneof![
            vec(any::<u8>(), 0..300),
            "[-+:$*_#,(!=%~>|0-9tf\r\n\"' ]{0,100}".prop_map(String::into_bytes),
            "([*%~>|$!=][0-9]{1,9}\r\n){0,30}".prop_map(String::into_bytes),
        ],
    ) {
        for cost in cost(&input) {
            // At most every third byte begins a reply, or every second a word; the rest is the constant above, for
            // each of the lists that may be open.
            prop_assert!(cost.bytes_max <= 32 * SET_ASIDE_MAX + 64 * input.len() as u64, "{:?}", cost);
        }
    }
}
