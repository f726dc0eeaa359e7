//! The matcher against a model that cannot be wrong about backtracking: it tries every way there is.
//!
//! Invariant: the model shares no code with the matcher.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{matches, matches_ignoring_case};

/// One element of a pattern: any run of bytes, or one byte out of a set.
enum Element {
    Star,
    OneOf(Box<[bool; 256]>),
}

/// The model parses first, into sets of bytes, and matches afterwards.
fn parse(pattern: &[u8]) -> Vec<Element> {
    let mut rest = pattern.iter().copied().peekable();
    let mut elements = Vec::new();
    while let Some(byte) = rest.next() {
        let mut set = Box::new([false; 256]);
        match byte {
            b'*' => {
                elements.push(Element::Star);
                continue;
            }
            b'?' => set.fill(true),
            b'\\' => set[usize::from(rest.next().unwrap_or(b'\\'))] = true,
            b'[' => {
                let negated = rest.next_if_eq(&b'^').is_some();
                while let Some(start) = rest.next() {
                    let mut ahead = rest.clone();
                    match (start, ahead.next(), ahead.next()) {
                        (b'\\', Some(escaped), _) => {
                            set[usize::from(escaped)] = true;
                            rest.next();
                        }
                        (b']', ..) => break,
                        (_, Some(b'-'), Some(end)) => {
                            let (a, b) = (start as i8, end as i8);
                            for member in a.min(b)..=a.max(b) {
                                set[usize::from(member as u8)] = true;
                            }
                            rest.next();
                            rest.next();
                        }
                        _ => set[usize::from(start)] = true,
                    }
                }
                if negated {
                    set.iter_mut().for_each(|member| *member = !*member);
                }
            }
            literal => set[usize::from(literal)] = true,
        }
        elements.push(Element::OneOf(set));
    }
    elements
}

fn model(elements: &[Element], text: &[u8]) -> bool {
    match elements {
        [] => text.is_empty(),
        [Element::Star, rest @ ..] => (0..=text.len()).any(|taken| model(rest, &text[taken..])),
        [Element::OneOf(set), rest @ ..] => {
            text.split_first().is_some_and(|(&byte, text)| set[usize::from(byte)] && model(rest, text))
        }
    }
}

/// Redis' one exception to all of the above.
fn model_matches(pattern: &[u8], text: &[u8]) -> bool {
    if text.is_empty() {
        return pattern.is_empty();
    }
    model(&parse(pattern), text)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn agrees_with_the_model(
        pattern in r"[ab*?\[\]\^\\-]{0,9}",
        text in r"[abc\]\\-]{0,7}",
    ) {
        prop_assert_eq!(
            matches(pattern.as_bytes(), text.as_bytes()),
            model_matches(pattern.as_bytes(), text.as_bytes())
        );
    }

    #[test]
    fn agrees_with_the_model_on_any_bytes(
        pattern in prop::collection::vec(any::<u8>(), 0..12),
        text in prop::collection::vec(any::<u8>(), 0..8),
    ) {
        prop_assert_eq!(matches(&pattern, &text), model_matches(&pattern, &text));
        matches_ignoring_case(&pattern, &text);
    }

    #[test]
    fn a_text_escaped_matches_itself_alone(text in prop::collection::vec(any::<u8>(), 0..12)) {
        let escaped: Vec<u8> = text.iter().flat_map(|&byte| [b'\\', byte]).collect();
        prop_assert!(matches(&escaped, &text));
        let mut longer = text.clone();
        longer.push(b'x');
        prop_assert!(!matches(&escaped, &longer));
    }
}

/// Every pattern of up to five of the bytes that mean something, against every text of up to three.
#[test]
fn agrees_with_the_model_on_every_short_pattern() {
    let patterns = words(br"a*?[]^-\", 5);
    let texts = words(b"ab]", 3);
    for pattern in &patterns {
        let elements = parse(pattern);
        for text in &texts {
            let expected = if text.is_empty() { pattern.is_empty() } else { model(&elements, text) };
            let (pattern_shown, text_shown) = (pattern.escape_ascii(), text.escape_ascii());
            assert_eq!(matches(pattern, text), expected, "{pattern_shown} on {text_shown}");
        }
    }
}

fn words(alphabet: &[u8], length_max: usize) -> Vec<Vec<u8>> {
    let mut all = vec![Vec::new()];
    let mut newest = 0..1;
    for _ in 0..length_max {
        let start = all.len();
        for index in newest {
            for &byte in alphabet {
                let mut word: Vec<u8> = all[index].clone();
                word.push(byte);
                all.push(word);
            }
        }
        newest = start..all.len();
    }
    all
}

#[test]
fn patterns_people_write() {
    for (pattern, text, expected) in [
        ("h?llo", "hello", true),
        ("h*llo", "heeeello", true),
        ("h[ae]llo", "hallo", true),
        ("h[ae]llo", "hillo", false),
        ("h[^e]llo", "hallo", true),
        ("h[^e]llo", "hello", false),
        ("h[a-b]llo", "hbllo", true),
        ("h[b-a]llo", "hallo", true),
        ("user:*:name", "user:42:name", true),
        ("user:*:name", "user:42:names", false),
        ("*", "anything", true),
        ("**", "", false),
        ("a**", "a", true),
        (r"a\*c", "a*c", true),
        (r"a\*c", "abc", false),
        (r"a\", r"a\", true),
        (r"[\]]", "]", true),
        ("[a-", "-", true),
        ("[", "[", false),
        ("[]", "]", false),
        ("[^]", "x", true),
        ("", "", true),
        ("", "x", false),
    ] {
        assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} on {text}");
    }
}

#[test]
fn case_is_ignored_only_when_asked() {
    assert!(!matches(b"SAVE", b"save"));
    assert!(matches_ignoring_case(b"S*E", b"save"));
    assert!(matches_ignoring_case(b"[A-C]x", b"bX"));
    assert!(matches_ignoring_case(br"\A", b"a"));
    // Redis' exceptions: an escape inside a class is exact, and a range keeps the order it had before folding.
    assert!(!matches_ignoring_case(br"[\A]", b"a"));
    assert!(!matches_ignoring_case(b"[Z-a]", b"m"));
}

/// A key that one client stored cost each KEYS of another minutes: the product of the lengths is bounded, and not small.
#[test]
fn long_repetitions_cost_no_more_than_a_multiple_of_the_sum_of_the_lengths() {
    let text = b"a".repeat(1 << 20);
    let ends = |middle: &[u8]| [b"*", middle, b"b*"].concat();
    for pattern in [
        ends(&b"a".repeat(1 << 19)),
        ends(&b"?".repeat(1 << 19)),
        ends(&b"[ab]".repeat(1 << 17)),
        [b"*[", &*b"b".repeat(1 << 19), b"]"].concat(),
    ] {
        let started = Instant::now();
        assert!(!matches(&pattern, &text));
        assert!(started.elapsed() < Duration::from_secs(10), "{} bytes", pattern.len());
    }
    // What is not made for it is matched, however long it is.
    let mut text: Vec<u8> =
        (0..1 << 20_u32).map(|number: u32| (number.wrapping_mul(2_654_435_761) >> 24) as u8 | 0x80).collect();
    let needle = text[900_000..1_000_000].to_vec();
    assert!(matches(&[b"*", &*needle, b"*"].concat(), &text));
    text[950_000] = b'x';
    assert!(!matches(&[b"*", &*needle, b"*"].concat(), &text));
}

#[test]
fn short_patterns_and_texts_never_come_to_the_bound() {
    let late = [&*b"a".repeat(100_000), b"b"].concat();
    for length in 1..16 {
        assert!(matches(&[b"*", &*b"a".repeat(length), b"b"].concat(), &late), "{length}");
    }
    let late = [&*b"a".repeat(255), b"b"].concat();
    for length in 1..250 {
        assert!(matches(&[b"*", &*b"a".repeat(length), b"b*"].concat(), &late), "{length}");
    }
}

/// A matcher that tries every way needs 2^30 steps and more here; CVE-2022-36021 was this pattern.
#[test]
fn many_stars_cost_no_more_than_the_product_of_the_lengths() {
    let pattern = [b"a*".repeat(500), b"b".to_vec()].concat();
    let text = b"a".repeat(20_000);
    let started = Instant::now();
    assert!(!matches(&pattern, &text));
    assert!(started.elapsed() < Duration::from_secs(5));
}
