//! Tests of the line protocol. Invariant: expected replies are spelled out whole, each byte of them.

use super::*;
use crate::request::OwnedRequest;
use crate::spec;

const STYLES: [Style; 3] = [Style::Terse, Style::Plain, Style::Verbose];

/// What the three styles say when `words` are answered by `reply`, without the line end.
fn spoken(words: &[&str], reply: &Reply) -> [String; 3] {
    let owned = OwnedRequest::from_words(words);
    let request = owned.as_request();
    let command = spec::lookup(request.name()).map(|spec| (spec, request));
    STYLES.map(|style| {
        let mut out = Vec::new();
        speak(style, command, reply, &mut out);
        let line = String::from_utf8(out).unwrap();
        match line.strip_suffix('\n') {
            Some(line) => line.to_owned(),
            None => {
                assert_eq!(line, "", "a line must end");
                "<nothing>".to_owned()
            }
        }
    })
}

fn keys() -> Reply {
    Reply::bulks(["k1", "k2"])
}

#[test]
fn every_row_of_the_table() {
    let error = |text: &'static str| Reply::error(text);
    for (words, reply, terse, plain, verbose) in [
        (&["PUT", "k", "v"][..], Reply::Ok, "OK stored", "OK", "Added key 'k' with value 'v'"),
        (&["set", "k", "v"], Reply::Ok, "OK stored", "OK", "Added key 'k' with value 'v'"),
        (&["GET", "k"], Reply::bulk("v"), "OK v", "v", "v"),
        (&["GET", "k"], Reply::Nil, "ERROR key not found", "(nil)", "ERR key 'k' not found"),
        (&["DELETE", "k"], Reply::Integer(1), "OK deleted", "1", "Removed key 'k'."),
        (&["REMOVE", "k"], Reply::Integer(0), "ERROR key not found", "0", "ERR key 'k' not found"),
        (&["DEL", "a", "b"], Reply::Integer(0), "OK 0", "0", "0"),
        (&["EXISTS", "k"], Reply::Integer(1), "OK 1", "1", "1"),
        (&["EXISTS", "k"], Reply::Integer(0), "OK 0", "0", "0"),
        (&["PING"], Reply::simple("PONG"), "OK PONG", "PONG", "PONG"),
        (&["PRINT"], keys(), "OK k1 k2", "k1, k2", "k1, k2"),
        (&["PRINT"], Reply::Array(vec![]), "OK", "", "Store is empty."),
        (&["KEYS", "*"], Reply::Array(vec![]), "OK", "", ""),
        (&["FLUSH"], Reply::Integer(3), "OK 3", "3", "3"),
        (&["MGET", "a", "b"], Reply::Array(vec![Reply::bulk("x"), Reply::Nil]), "OK x (nil)", "x, (nil)", "x, (nil)"),
        (&["GETDEL", "k"], Reply::Nil, "OK (nil)", "(nil)", "(nil)"),
        (&["SELECT", "1"], Reply::Ok, "OK", "OK", "OK"),
        (&["SET", "k", "v", "NX"], Reply::Nil, "OK (nil)", "(nil)", "(nil)"),
        (&["SET", "k", "v", "GET"], Reply::bulk("old"), "OK old", "old", "old"),
        (&["GET", "k"], error("ERR no"), "ERROR no", "ERR no", "ERR no"),
        (&["GET", "k"], error("WRONGTYPE no"), "ERROR WRONGTYPE no", "ERR WRONGTYPE no", "ERR WRONGTYPE no"),
        (&["QUIT"], Reply::Ok, "<nothing>", "<nothing>", "<nothing>"),
        (&["SUBSCRIBE", "c"], Reply::Nothing, "<nothing>", "<nothing>", "<nothing>"),
        (&["SET", "k", "v"], Reply::simple("QUEUED"), "OK QUEUED", "QUEUED", "QUEUED"),
        (&["DEL", "k"], Reply::simple("QUEUED"), "OK QUEUED", "QUEUED", "QUEUED"),
        (&["nope"], error("ERR unknown"), "ERROR unknown", "ERR unknown", "ERR unknown"),
    ] {
        assert_eq!(spoken(words, &reply), [terse, plain, verbose], "{words:?} {reply:?}");
    }
}

#[test]
fn an_error_about_a_line_is_spoken_without_a_command() {
    for (kind, text) in
        [(LineErrorKind::Empty, "empty command"), (LineErrorKind::UnbalancedQuotes, "unbalanced quotes in request")]
    {
        let reply = LineError { skip: 1, kind }.reply();
        assert_eq!(spoken(&[""], &reply), [format!("ERROR {text}"), format!("ERR {text}"), format!("ERR {text}")]);
    }
}

#[test]
fn a_reply_is_one_line_whatever_it_shows() {
    let quoted = r#""a\nb\x1b""#;
    assert_eq!(
        spoken(&["GET", "k"], &Reply::bulk("a\nb\x1b")),
        [format!("OK {quoted}"), quoted.to_owned(), quoted.to_owned()]
    );
    assert_eq!(spoken(&["SET", "a\nb", "it's"], &Reply::Ok)[2], r"Added key 'a\nb' with value 'it's'");
    assert_eq!(spoken(&["GET", "k"], &Reply::error("ERR a\r\nOK"))[1], "ERR a  OK");
    assert_eq!(spoken(&["INFO"], &Reply::text("a\r\nb"))[1], r#""a\r\nb""#);
}

#[test]
fn items_that_could_be_taken_for_several_are_quoted() {
    let items = Reply::bulks(["a b", "c,d", "e\"f", "g'h", "", "i\tj", "plain"]);
    assert_eq!(spoken(&["KEYS", "*"], &items)[1], r#""a b", "c,d", "e\"f", "g'h", "", "i\tj", plain"#);
    // A value alone needs no quotes for that.
    assert_eq!(spoken(&["GET", "k"], &Reply::bulk("a b, \"c\""))[1], "a b, \"c\"");
}

#[test]
fn lists_within_lists_stand_in_brackets() {
    let reply = Reply::Array(vec![Reply::bulk("0"), keys()]);
    assert_eq!(spoken(&["SCAN", "0"], &reply), ["OK 0 [k1 k2]", "0, [k1, k2]", "0, [k1, k2]"]);
    let map = Reply::Map(vec![(Reply::bulk("k"), Reply::Integer(1))]);
    assert_eq!(spoken(&["CONFIG", "GET"], &map)[1], "k, 1");
}

#[test]
fn a_push_is_one_line() {
    let push = Reply::Push(vec![Reply::bulk("message"), Reply::bulk("news"), Reply::bulk("hello world")]);
    assert_eq!(spoken(&[""], &push)[0], r#"OK message news "hello world""#);
    assert_eq!(spoken(&[""], &push)[1], r#"message, news, "hello world""#);
}

fn decoded(input: &[u8], style: Style, limits: &Limits) -> Vec<Result<Vec<Vec<u8>>, LineErrorKind>> {
    let mut decoder = LineDecoder::new();
    let mut rest = input;
    let mut found = Vec::new();
    loop {
        match decoder.decode(rest, style, limits) {
            Ok(None) => return found,
            Ok(Some(consumed)) => {
                let request = decoder.request(rest);
                if !request.is_empty() {
                    found.push(Ok(request.iter().map(<[u8]>::to_vec).collect()));
                }
                rest = &rest[consumed..];
            }
            Err(error) => {
                found.push(Err(error.kind));
                rest = &rest[error.skip..];
            }
        }
    }
}

fn words(words: &[&str]) -> Result<Vec<Vec<u8>>, LineErrorKind> {
    Ok(words.iter().map(|word| word.as_bytes().to_vec()).collect())
}

#[test]
fn a_line_is_a_request_and_an_empty_one_an_error() {
    let limits = Limits::default();
    for style in STYLES {
        assert_eq!(
            decoded(b"GET k\r\n\n  \r\nPING\nGET", style, &limits),
            [words(&["GET", "k"]), Err(LineErrorKind::Empty), Err(LineErrorKind::Empty), words(&["PING"]),]
        );
    }
}

#[test]
fn only_the_terse_style_leaves_quotes_alone() {
    let limits = Limits::default();
    let line = b"SET k \"a b\"\n";
    assert_eq!(decoded(line, Style::Plain, &limits), [words(&["SET", "k", "a b"])]);
    assert_eq!(decoded(line, Style::Terse, &limits), [words(&["SET", "k", "\"a", "b\""])]);
    assert_eq!(
        decoded(b"SET k \"a\nPING\n", Style::Verbose, &limits),
        [Err(LineErrorKind::UnbalancedQuotes), words(&["PING"])]
    );
}

#[test]
fn a_line_too_long_is_refused_once_and_the_next_is_read() {
    let limits = Limits { line_bytes_max: 8, args_max: 3, ..Limits::default() };
    assert_eq!(
        decoded(b"12345678\n123456789\n123456789abcdefghijkl\nPING\n", Style::Terse, &limits),
        [words(&["12345678"]), Err(LineErrorKind::TooLong), Err(LineErrorKind::TooLong), words(&["PING"]),]
    );
    assert_eq!(
        decoded(b"a b c\na b c d\nPING\n", Style::Plain, &limits),
        [words(&["a", "b", "c"]), Err(LineErrorKind::TooManyWords), words(&["PING"])]
    );
}

#[test]
fn the_terse_contract_bounds_keys_and_values() {
    let checked = |words: &[&str]| {
        let owned = OwnedRequest::from_words(words);
        let request = owned.as_request();
        let spec = spec::lookup(request.name()).unwrap();
        check_terse(spec, request, 4, 6).map_err(|error| error.to_string())
    };
    let key = Err("ERR key must be 1 to 4 printable ASCII characters".to_owned());
    let value = Err("ERR value must be 1 to 6 printable ASCII characters".to_owned());
    assert_eq!(checked(&["PUT", "1234", "123456", "60"]), Ok(()));
    assert_eq!(checked(&["PUT", "12345", "v"]), key);
    assert_eq!(checked(&["PUT", "k", "1234567"]), value);
    assert_eq!(checked(&["GET", "k\x01"]), key);
    assert_eq!(checked(&["PUT", "k", "é"]), value);
    assert_eq!(checked(&["MSET", "a", "123456", "12345", "v"]), key);
    assert_eq!(checked(&["GET", ""]), key);
    assert_eq!(checked(&["PING"]), Ok(()));
}

#[test]
fn styles_are_named_in_urls() {
    for style in STYLES {
        assert_eq!(style.to_string().parse(), Ok(style));
    }
    assert_eq!("Terse".parse::<Style>(), Err(UnknownStyle));
}
